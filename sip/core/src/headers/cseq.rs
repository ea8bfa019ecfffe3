//! CSeq (RFC 3261 section 20.16).

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
}
