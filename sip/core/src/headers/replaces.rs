//! Replaces (RFC 3891) and Refer-To (RFC 3515): which dialog, and whom to call in its stead.

use std::fmt;

use bytestring::ByteString;

use super::{NameAddr, Params};
use crate::grammar::{find_outside, is_space, share, trim};
use crate::name::Name;
use crate::{Method, ParseError};

/// The dialog that an INVITE is to take the place of, as its recipient sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    /// The Call-ID.
    pub call_id: ByteString,
    /// The tag of the recipient's end.
    pub to_tag: ByteString,
    /// The tag of the other end.
    pub from_tag: ByteString,
    /// Only while the recipient has not answered.
    pub early_only: bool,
}

impl Replaces {
    /// Reads a value. RFC 3891 section 6.1: it "MUST contain exactly one to-tag and exactly one from-tag".
    pub fn parse(text: ByteString) -> Result<Replaces, ParseError> {
        const REFUSED: ParseError = ParseError::Malformed(Name::Replaces);
        let at = find_outside(&text, |b| b == b';').ok_or(REFUSED)?;
        let call_id = trim(&text[..at]);
        if call_id.is_empty() || call_id.contains(is_space) || call_id.contains(',') {
            return Err(REFUSED);
        }
        let params = Params::parse(share(&text, &text[at..])).map_err(|_| REFUSED)?;
        let tag = |wanted: &str| {
            let mut tags = params.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            let tag = tags.next()?.1.filter(|tag| !tag.is_empty())?;
            tags.next().is_none().then(|| ByteString::from(tag))
        };
        Ok(Replaces {
            call_id: call_id.into(),
            to_tag: tag("to-tag").ok_or(REFUSED)?,
            from_tag: tag("from-tag").ok_or(REFUSED)?,
            early_only: params.has("early-only"),
        })
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Replaces { call_id, to_tag, from_tag, early_only } = self;
        let flag = if *early_only { ";early-only" } else { "" };
        write!(f, "{call_id};to-tag={to_tag};from-tag={from_tag}{flag}")
    }
}

/// Whom a REFER asks to be called, and which dialog that call is to replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferTo {
    /// The address; its URI is without the Replaces.
    pub address: NameAddr,
    /// What the INVITE is to say; in the header it is escaped in the URI.
    pub replaces: Option<Replaces>,
}

impl ReferTo {
    /// A plain (blind) transfer to this address.
    pub fn new(address: impl Into<NameAddr>) -> ReferTo {
        ReferTo { address: address.into(), replaces: None }
    }

    /// Reads a value. The URI may carry other headers and a method; those stay in it.
    pub fn parse(text: ByteString) -> Result<ReferTo, ParseError> {
        const REFUSED: ParseError = ParseError::Malformed(Name::ReferTo);
        let address = NameAddr::parse(text).map_err(|_| REFUSED)?;
        let Some(value) = address.uri().header("Replaces") else {
            return Ok(ReferTo { address, replaces: None });
        };
        let replaces = Replaces::parse(value.into()).map_err(|_| REFUSED)?;
        let uri = address.uri().without_header("Replaces");
        Ok(ReferTo { address: address.with_uri(uri), replaces: Some(replaces) })
    }

    /// What the referee is to send: INVITE unless the URI says otherwise (RFC 3515 section 2.1).
    pub fn method(&self) -> Method {
        let method = self.address.uri().param("method");
        method.and_then(|method| Method::parse(method.into()).ok()).unwrap_or(Method::Invite)
    }
}

impl fmt::Display for ReferTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.replaces {
            Some(replaces) => {
                let uri = self.address.uri().with_header("Replaces", &replaces.to_string());
                self.address.clone().with_uri(uri).fmt(f)
            }
            None => self.address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaces(text: &str) -> Result<Replaces, ParseError> {
        Replaces::parse(text.into())
    }

    #[test]
    fn replaces_names_a_dialog() {
        let text = "98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff";
        let read = replaces(text).unwrap();
        assert_eq!(
            (&*read.call_id, &*read.to_tag, &*read.from_tag),
            ("98732@sip.example.com", "ff87ff", "r33th4x0r")
        );
        assert!(!read.early_only);
        let early = Replaces { early_only: true, ..read };
        assert_eq!(early.to_string(), "98732@sip.example.com;to-tag=ff87ff;from-tag=r33th4x0r;early-only");
        assert_eq!(replaces(&early.to_string()), Ok(early));
        for text in [
            "",
            "a",
            "a;to-tag=1",
            "a;from-tag=1",
            "a;to-tag=;from-tag=1",
            "a;to-tag;from-tag=1",
            "a;to-tag=1;to-tag=2;from-tag=1",
            ";to-tag=1;from-tag=2",
            "a b;to-tag=1;from-tag=2",
            "a;to-tag=1;from-tag=2, b;to-tag=1;from-tag=2",
        ] {
            assert!(replaces(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refer_to_carries_replaces_escaped() {
        let text = "<sips:a8342043f@atlanta.example.com?Replaces=12345601%40atlanta.example.com%3bfrom-tag%3d314159%3bto-tag%3d1234567>";
        let read = ReferTo::parse(text.into()).unwrap();
        assert_eq!(read.address.uri().as_str(), "sips:a8342043f@atlanta.example.com");
        let replaces = read.replaces.clone().unwrap();
        assert_eq!((&*replaces.call_id, &*replaces.to_tag), ("12345601@atlanta.example.com", "1234567"));
        assert_eq!(ReferTo::parse(read.to_string().into()), Ok(read));
    }

    #[test]
    fn refer_to_keeps_the_rest_of_its_uri() {
        let text = "\"B\" <sip:b@h;method=BYE?X-A=1&Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2&X-B=%20>;p=1";
        let read = ReferTo::parse(text.into()).unwrap();
        assert_eq!(read.address.to_string(), "\"B\" <sip:b@h;method=BYE?X-A=1&X-B=%20>;p=1");
        assert_eq!((read.method(), ReferTo::new(read.address.uri().clone()).replaces), (Method::Bye, None));
        assert_eq!(ReferTo::parse("sip:b@h".into()).unwrap().method(), Method::Invite);
        for text in ["", "<>", "<sip:b@h?Replaces=x>", "<sip:b@h?Replaces=>"] {
            assert!(ReferTo::parse(text.into()).is_err(), "{text}");
        }
    }
}
