//! Header field values that are one number, perhaps with company.

use std::time::Duration;

use crate::ParseError;
use crate::grammar::{self, split_outside, take_quoted, trim};

/// "delta-seconds", saturating: RFC 3261 section 20.19 gives Expires 32 bits, and a larger wish is still "very long".
fn delta_seconds(text: &str) -> Result<Duration, ParseError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseError::Number);
    }
    Ok(Duration::from_secs(u64::from(text.parse().unwrap_or(u32::MAX))))
}

/// Expires, Min-Expires and the `expires` parameter of a Contact.
pub(crate) fn expires(text: &str) -> Result<Duration, ParseError> {
    delta_seconds(trim(text))
}

/// Retry-After (RFC 3261 section 20.33): seconds, then an optional comment and parameters, which say nothing here.
pub(crate) fn retry_after(text: &str) -> Result<Duration, ParseError> {
    let end = text.find(|c| grammar::is_space(c) || matches!(c, '(' | ';')).unwrap_or(text.len());
    delta_seconds(&text[..end])
}

/// RFC 3261 section 20.22: "The Max-Forwards value is an integer in the range 0-255".
pub(crate) fn max_forwards(text: &str) -> Result<u8, ParseError> {
    grammar::number(trim(text)).ok_or(ParseError::Number)
}

/// The cause of one Reason value (RFC 3326) when its protocol is Q.850.
pub(crate) fn q850_cause(value: &str) -> Option<u8> {
    let mut parts = split_outside(value, b';');
    if !parts.next()?.eq_ignore_ascii_case("Q.850") {
        return None;
    }
    parts.find_map(|part| {
        let (name, cause) = part.split_once('=')?;
        // Some gateways quote the number.
        let cause = trim(cause);
        let cause =
            take_quoted(cause).filter(|_| cause.starts_with('"')).map_or(cause, |(q, _)| q.trim_matches('"'));
        // Q.850 numbers its causes with seven bits.
        grammar::number(cause).filter(|c| trim(name).eq_ignore_ascii_case("cause") && *c < 128)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds() {
        assert_eq!(expires("3600"), Ok(Duration::from_secs(3600)));
        assert_eq!(expires("99999999999999999999"), Ok(Duration::from_secs(u64::from(u32::MAX))));
        assert_eq!(expires("-1"), Err(ParseError::Number));
        assert_eq!(retry_after("120 (I'm in a meeting);duration=60"), Ok(Duration::from_secs(120)));
        assert_eq!(retry_after("18000;duration=3600"), Ok(Duration::from_secs(18000)));
        assert_eq!(retry_after("soon"), Err(ParseError::Number));
    }

    #[test]
    fn hops() {
        assert_eq!(max_forwards("0068"), Ok(68));
        assert_eq!(max_forwards("300"), Err(ParseError::Number));
    }

    #[test]
    fn causes() {
        assert_eq!(q850_cause(r#"Q.850 ;cause=16 ;text="Terminated; cause=1""#), Some(16));
        assert_eq!(q850_cause(r#"q.850;text="x;cause=3";cause="17""#), Some(17));
        assert_eq!(q850_cause("SIP;cause=200"), None);
        assert_eq!(q850_cause("Q.850;cause=500"), None);
    }
}
