//! Header field values that are one number, perhaps with company.

use std::time::Duration;

use crate::ParseError;
use crate::grammar::{self, trim};

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

/// RSeq (RFC 3262 section 7.1): a number from 1 to 2^32-1.
pub(crate) fn rseq(text: &str) -> Result<u32, ParseError> {
    grammar::number(trim(text)).filter(|number| *number > 0).ok_or(ParseError::Number)
}

/// "qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )", in thousandths. Longer fractions are cut.
pub(crate) fn qvalue(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
    let thousandths = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match (whole, thousandths) {
        ("0" | "", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
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
    fn preferences() {
        for (text, thousandths) in [
            ("1", 1000),
            ("1.000", 1000),
            ("0", 0),
            ("0.5", 500),
            ("0.07", 70),
            (".25", 250),
            ("0.12345", 123),
        ] {
            assert_eq!(qvalue(text), Some(thousandths), "{text}");
        }
        for text in ["1.1", "2", "0,5", "-1", "0.x", "00"] {
            assert_eq!(qvalue(text), None, "{text}");
        }
    }
}
