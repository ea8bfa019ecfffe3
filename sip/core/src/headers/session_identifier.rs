//! Session-ID (RFC 7989): the same two UUIDs in every message of a call, whatever border elements make of Call-ID and
//! tags, so that the logs of both ends can be laid side by side.

use std::fmt;

use crate::ParseError;
use crate::grammar::{split_outside, trim};
use crate::name::Name;

/// The UUIDs of the two ends of a call, from the point of view of who writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionIdentifier {
    /// The writer's.
    pub local: u128,
    /// The other end's; zero, "the nil UUID", while it is not known.
    pub remote: u128,
}

impl SessionIdentifier {
    /// An identifier for a new call out of two random numbers. RFC 7989 section 4.1: "endpoints
    /// MUST generate version 4 (random) or version 5 (SHA-1) UUIDs".
    pub fn random(high: u64, low: u64) -> SessionIdentifier {
        const VERSION: u128 = 0xf << 76;
        const VARIANT: u128 = 0b11 << 62;
        let bits = u128::from(high) << 64 | u128::from(low);
        SessionIdentifier { local: bits & !VERSION & !VARIANT | 4 << 76 | 0b10 << 62, remote: 0 }
    }

    /// Reads `local;remote=…`; peers of RFC 7329 leave the remote one out.
    pub fn parse(value: &str) -> Result<SessionIdentifier, ParseError> {
        const REFUSED: ParseError = ParseError::Malformed(Name::SessionId);
        let mut parts = split_outside(value, b';');
        let local = parts.next().and_then(uuid).ok_or(REFUSED)?;
        let remote = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            trim(name).eq_ignore_ascii_case("remote").then(|| uuid(trim(value)))
        });
        match remote {
            Some(remote) => Ok(SessionIdentifier { local, remote: remote.ok_or(REFUSED)? }),
            None => Ok(SessionIdentifier { local, remote: 0 }),
        }
    }
}

/// "sess-uuid = 32(DIGIT / %x61-66)"; capitals are read too.
fn uuid(digits: &str) -> Option<u128> {
    let sound = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if sound { u128::from_str_radix(digits, 16).ok() } else { None }
}

impl fmt::Display for SessionIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x};remote={:032x}", self.local, self.remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_two_uuids() {
        let text = "ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2";
        let read = SessionIdentifier::parse(text).unwrap();
        assert_eq!(read.local, 0xab30_317f_1a78_4dc4_8ff8_24d0_d371_5d86);
        assert_eq!(read.to_string(), text);
        assert_eq!(SessionIdentifier::parse("AB30317f1a784dc48ff824d0d3715d86").unwrap().remote, 0);
        for text in
            ["", "ab", "ab30317f1a784dc48ff824d0d3715d8g", "ab30317f1a784dc48ff824d0d3715d86;remote=1"]
        {
            assert!(SessionIdentifier::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn new_ones_are_of_version_4() {
        for (high, low) in [(0, 0), (u64::MAX, u64::MAX), (0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321)] {
            let text = SessionIdentifier::random(high, low).to_string();
            assert_eq!(&text[12..13], "4");
            assert!("89ab".contains(&text[16..17]), "{text}");
            assert!(text.ends_with(";remote=00000000000000000000000000000000"));
        }
    }
}
