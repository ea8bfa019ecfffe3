//! CSeq (RFC 3261 section 20.16), and RAck, which quotes one (RFC 3262 section 7.2).

use std::fmt;

use bytestring::ByteString;

use crate::grammar::{self, share, trim};
use crate::{Method, ParseError};

/// The number and method that order the requests of a dialog.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Below 2^31.
    pub number: u32,
    /// The method of the request, also in its responses.
    pub method: Method,
}

impl CSeq {
    /// RFC 3261 section 8.1.1.5: "The sequence number value MUST be expressible as a 32-bit unsigned integer and MUST
    /// be less than 2**31."
    pub const LIMIT: u32 = 1 << 31;

    /// A value. `number` is below [`CSeq::LIMIT`].
    pub fn new(number: u32, method: Method) -> CSeq {
        CSeq { number, method }
    }

    /// Reads `number method`.
    pub fn parse(text: ByteString) -> Result<CSeq, ParseError> {
        let (number, method) = text.split_once(grammar::is_space).ok_or(ParseError::CSeq)?;
        let number = grammar::number(number).filter(|n| *n < CSeq::LIMIT).ok_or(ParseError::CSeq)?;
        let method = trim(method);
        let method = match Method::known(method) {
            Some(method) => method,
            None => Method::parse(share(&text, method)).map_err(|_| ParseError::CSeq)?,
        };
        Ok(CSeq { number, method })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// Which reliable provisional response a PRACK acknowledges: its RSeq, and the CSeq of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RAck {
    pub(crate) rseq: u32,
    /// The number of the INVITE; no other method has reliable provisional responses.
    pub(crate) cseq: u32,
}

impl RAck {
    /// Reads `rseq cseq INVITE`.
    pub(crate) fn parse(text: &str) -> Result<RAck, ParseError> {
        let (rseq, cseq) = trim(text).split_once(grammar::is_space).ok_or(ParseError::Number)?;
        let cseq = CSeq::parse(trim(cseq).into())?;
        let rseq = grammar::number(rseq).ok_or(ParseError::Number)?;
        if cseq.method == Method::Invite {
            Ok(RAck { rseq, cseq: cseq.number })
        } else {
            Err(ParseError::Method)
        }
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} INVITE", self.rseq, self.cseq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_spaces() {
        let read = |text: &str| CSeq::parse(text.into());
        assert_eq!(read("0009   INVITE"), Ok(CSeq::new(9, Method::Invite)));
        assert_eq!(read("2147483647 FOO"), Ok(CSeq::new(CSeq::LIMIT - 1, Method::Extension("FOO".into()))));
        for text in
            ["2147483648 INVITE", "36893488147419103232 REGISTER", "-1 BYE", "1", "1 ", "BYE 1", "1 B YE", ""]
        {
            assert_eq!(read(text), Err(ParseError::CSeq), "{text}");
        }
    }

    #[test]
    fn racks() {
        assert_eq!(RAck::parse(" 776656  1 INVITE"), Ok(RAck { rseq: 776_656, cseq: 1 }));
        assert_eq!(RAck { rseq: 7, cseq: 2 }.to_string(), "7 2 INVITE");
        for text in ["", "1", "1 1", "1 1 UPDATE", "x 1 INVITE", "1 -1 INVITE", "4294967296 1 INVITE"] {
            assert!(RAck::parse(text).is_err(), "{text}");
        }
    }
}
