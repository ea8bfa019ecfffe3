//! Session-Expires and Min-SE (RFC 4028 sections 4 and 5).

use std::fmt;
use std::time::Duration;

use super::scalar::expires;
use crate::grammar::{find_outside, split_outside, trim};
use crate::name::Name;
use crate::{Params, ParseError};

/// Who refreshes a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresher {
    /// The client of the transaction that carries the header.
    Uac,
    /// Its server.
    Uas,
}

/// How long a session lasts without a refresh, and whose the refresh is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExpires {
    /// Whole seconds.
    pub interval: Duration,
    /// Whose the refresh is; a request may leave it open.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads `1800;refresher=uac`. A refresher that is neither is none.
    pub fn parse(value: &str) -> Result<SessionExpires, ParseError> {
        let mut parts = split_outside(value, b';');
        let interval = expires(parts.next().unwrap_or_default());
        let interval = interval.map_err(|_| ParseError::Malformed(Name::SessionExpires))?;
        let refresher = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let value = trim(value);
            match trim(name).eq_ignore_ascii_case("refresher") {
                true if value.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
                true if value.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
                true | false => None,
            }
        });
        Ok(SessionExpires { interval, refresher })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refresher = match self.refresher {
            Some(Refresher::Uac) => ";refresher=uac",
            Some(Refresher::Uas) => ";refresher=uas",
            None => "",
        };
        write!(f, "{}{refresher}", self.interval.as_secs())
    }
}

/// Min-SE, which may have parameters.
pub(crate) fn min_se(value: &str) -> Result<Duration, ParseError> {
    let at = find_outside(value, |b| b == b';').unwrap_or(value.len());
    Params::parse(value[at..].into())?;
    expires(&value[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_refreshers() {
        let read = |text: &str| SessionExpires::parse(text);
        let expires = |secs, refresher| Ok(SessionExpires { interval: Duration::from_secs(secs), refresher });
        assert_eq!(read("1800"), expires(1800, None));
        assert_eq!(read(" 90 ; x=y; Refresher = UAS "), expires(90, Some(Refresher::Uas)));
        assert_eq!(read("90;refresher=me"), expires(90, None));
        assert_eq!(read("99999999999;refresher=uac"), expires(u64::from(u32::MAX), Some(Refresher::Uac)));
        for text in ["", "x", "-1", ";refresher=uac", "1 2"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read("90;refresher=uas").unwrap().to_string(), "90;refresher=uas");
        assert_eq!(min_se("120;x=1"), Ok(Duration::from_secs(120)));
        assert!(min_se("120;=").is_err() && min_se("").is_err());
    }
}
