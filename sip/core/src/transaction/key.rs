//! What a message's transaction is found by.

use std::fmt::{self, Write as _};

use crate::{Message, Method, Via};

/// The branch of a request of ours: the magic cookie and a sealed number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Branch(pub(crate) u64);

impl Branch {
    /// Reads a branch that may be one of ours.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(Via::COOKIE)?;
        parse_token(digits).map(Self)
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:016x}", Via::COOKIE, self.0)
    }
}

/// Reads a number that was written as `{:016x}`: branches and tags of ours.
pub(crate) fn parse_token(digits: &str) -> Option<u64> {
    let ours = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if ours { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// What a response's client transaction is found by (RFC 3261 section 17.1.3): the branch, and the method because
/// "a CANCEL request constitutes a different transaction but shares the same value of the branch parameter".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientKey {
    pub(super) branch: Branch,
    pub(super) kind: Kind,
}

/// The kinds of client transaction that may share a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Invite,
    Cancel,
    Other,
}

impl Kind {
    fn of(method: &Method) -> Self {
        if *method == Method::Invite {
            Self::Invite
        } else if *method == Method::Cancel {
            Self::Cancel
        } else {
            Self::Other
        }
    }
}

impl ClientKey {
    /// The first in order, to begin a range with.
    pub(super) const LOWEST: Self = Self { branch: Branch(0), kind: Kind::Invite };

    /// The keys that this branch may be part of.
    pub(super) fn all_of(branch: Branch) -> std::ops::RangeInclusive<Self> {
        Self { branch, kind: Kind::Invite }..=Self { branch, kind: Kind::Other }
    }

    pub(crate) fn new(branch: Branch, method: &Method) -> Self {
        Self { branch, kind: Kind::of(method) }
    }

    /// The key of the transaction that a response with this top Via and CSeq method belongs to.
    pub(super) fn of_response(via: &Via, method: &Method) -> Option<Self> {
        Branch::parse(via.branch()?).map(|branch| Self::new(branch, method))
    }
}

/// What a request's server transaction is found by (RFC 3261 section 17.2.3).
///
/// The text is method, sent-by and branch, or for a request of an RFC 2543 element everything that section 17.2.3
/// compares instead. NUL parts them; whoever writes one into a field meets its own transactions only, as who repeats a
/// field does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerKey(Box<str>);

impl ServerKey {
    /// The key of `request` as if its method were `method`: an ACK or a CANCEL is looked up as INVITE.
    /// `None` when a header field it is made of is missing or malformed.
    pub(super) fn of(request: &Message, via: &Via, method: &Method) -> Option<Self> {
        let mut text = String::with_capacity(128);
        // Writing into a String cannot fail.
        let _ = write!(text, "{method}\0{}\0{}\0", via.host(), via.port().unwrap_or(0));
        text.make_ascii_lowercase();
        match via.branch() {
            Some(branch) if branch.starts_with(Via::COOKIE) => text.push_str(branch),
            branch => {
                // "The INVITE request matches a transaction if the Request-URI, To tag, From tag, Call-ID, CSeq, and
                // top Via header field match". The To tag is left out: that of an ACK is ours, and a Call-ID and
                // From tag are not used again with another.
                let from = request.from().ok()?;
                let _ = write!(
                    text,
                    "{}\0{}\0{}\0{}\0{}",
                    branch.unwrap_or_default(),
                    request.request_uri_str(),
                    from.tag().unwrap_or_default(),
                    request.call_id().ok()?,
                    request.cseq().ok()?.number
                );
            }
        }
        Some(Self(text.into()))
    }
}

/// What copies of one request share that came by different ways (RFC 3261 section 8.2.2.2): From tag, Call-ID and CSeq.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MergeKey(Box<str>);

impl MergeKey {
    /// The key of a request outside any dialog; others cannot merge. A CANCEL shares the CSeq of its INVITE.
    pub(super) fn of(request: &Message) -> Option<Self> {
        if request.to_tag().is_some() || request.method() == Some(&Method::Cancel) {
            return None;
        }
        let tag = request.from_tag()?;
        let cseq = request.cseq().ok()?;
        Some(Self(format!("{tag}\0{}\0{cseq}", request.call_id().ok()?).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(start: &str, via: &str, call_id: &str) -> Message {
        let method = start.split(' ').next().unwrap();
        let text = format!(
            "{start} SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n\
             Call-ID: {call_id}\r\nCSeq: 7 {method}\r\n\r\n"
        );
        Message::parse(text.into()).unwrap()
    }

    fn key(message: &Message) -> ServerKey {
        let method = message.method().filter(|method| **method != Method::Ack).unwrap_or(&Method::Invite);
        ServerKey::of(message, &message.top_via().unwrap(), method).unwrap()
    }

    #[test]
    fn branch_sent_by_and_method_tell_transactions_apart() {
        let invite = key(&request("INVITE sip:x@y", "h:5060;branch=z9hG4bKa", "1"));
        assert_eq!(invite, key(&request("INVITE sip:x@y", "H:5060;branch=z9hG4bKa", "2")));
        assert_eq!(invite, key(&request("ACK sip:x@y", "h:5060;branch=z9hG4bKa", "1")));
        assert_ne!(invite, key(&request("CANCEL sip:x@y", "h:5060;branch=z9hG4bKa", "1")));
        assert_ne!(invite, key(&request("INVITE sip:x@y", "h:5061;branch=z9hG4bKa", "1")));
        assert_ne!(invite, key(&request("INVITE sip:x@y", "h:5060;branch=z9hG4bKA", "1")));
    }

    #[test]
    fn without_the_cookie_the_header_fields_decide() {
        let invite = key(&request("INVITE sip:x@y", "h;branch=1", "1"));
        assert_eq!(invite, key(&request("ACK sip:x@y", "h;branch=1", "1")));
        assert_ne!(invite, key(&request("INVITE sip:x@y", "h;branch=1", "2")));
        assert_ne!(invite, key(&request("INVITE sip:z@y", "h;branch=1", "1")));
    }

    #[test]
    fn branches_of_ours_are_recognised() {
        let branch = Branch(0x0123_4567_89ab_cdef);
        assert_eq!(branch.to_string(), "z9hG4bK0123456789abcdef");
        assert_eq!(Branch::parse(&branch.to_string()), Some(branch));
        for other in ["z9hG4bK0123456789ABCDEF", "z9hG4bK123", "0123456789abcdef", "z9hG4bK+123456789abcdef"]
        {
            assert_eq!(Branch::parse(other), None, "{other}");
        }
    }
}
