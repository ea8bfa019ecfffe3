//! Who calls and who is called, in the canonical forms that signatures cover.

use std::fmt;

/// A telephone number in canonical form (RFC 8224 section 8.3): digits, `*` and `#`, without `+` and separators.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(String);

/// Most digits of a number. E.164 allows 15; prefixes and private plans come on top.
const MAX_DIGITS: usize = 40;

impl Number {
    /// The canonical form of what a user part, a tel URI's number or a person's notation says; `None` when that is no
    /// telephone number. Nothing is added: a number in national format stays in it.
    pub fn canonical(text: &str) -> Option<Self> {
        // What follows a semicolon are parameters (`;npdi`, `;phone-context=`), which identify nobody.
        let text = text.split(';').next().unwrap_or_default().trim();
        let text = text.strip_prefix('+').unwrap_or(text);
        let mut digits = String::with_capacity(text.len().min(MAX_DIGITS));
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' | b'*' | b'#' if digits.len() < MAX_DIGITS => digits.push(char::from(byte)),
                // RFC 3966 section 3: visual-separator = "-" / "." / "(" / ")"; people also write spaces.
                b'-' | b'.' | b'(' | b')' | b' ' => {}
                _ => return None,
            }
        }
        (!digits.is_empty()).then_some(Self(digits))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One end of a call: a number, or a URI where there is none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// `tn`.
    Number(Number),
    /// `uri`.
    Uri(String),
}

impl Party {
    /// The party that a SIP URI names. A user part that reads as a number is one (RFC 8224 section 8.1 leaves the
    /// decision to policy: carriers send numbers without `+` and without `user=phone`); else the URI counts, without
    /// port and parameters, its host in lower case (section 8.5).
    pub fn of_sip(user: Option<&str>, host: &str) -> Self {
        let user = user.map(unescape);
        if let Some(number) = user.as_deref().and_then(Number::canonical) {
            return Self::Number(number);
        }
        let host = host.to_ascii_lowercase();
        Self::Uri(match user {
            Some(user) => format!("sip:{user}@{host}"),
            None => format!("sip:{host}"),
        })
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) => Some(number),
            Self::Uri(_) => None,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Uri(uri) => f.write_str(uri),
        }
    }
}

/// Replaces `%HH` of printable ASCII; everything else stays as it is.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.filter(u8::is_ascii_graphic) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 3..];
            }
            None => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_canonical() {
        for (text, canonical) in [
            ("+1-215-555-1212", Some("12155551212")),
            ("12155551212", Some("12155551212")),
            ("+62 (811) 22.33", Some("628112233")),
            ("+12155551212;npdi;rn=+12155550000", Some("12155551212")),
            ("*67#", Some("*67#")),
            ("911", Some("911")),
            ("", None),
            ("+", None),
            ("++1", None),
            ("1+2", None),
            ("alice", None),
            ("١٢٣", None),
            ("12345678901234567890123456789012345678901", None),
        ] {
            let number = Number::canonical(text);
            assert_eq!(number.as_ref().map(Number::as_str), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_a_uri() {
        for (user, host, party) in [
            (Some("+12155551212"), "a.example", "12155551212"),
            (Some("%2B1215%23"), "a.example", "1215#"),
            (Some("alice"), "A.Example", "sip:alice@a.example"),
            (Some("a%20%e4%zz%"), "a.example", "sip:a%20%e4%zz%@a.example"),
            (None, "A.Example", "sip:a.example"),
        ] {
            assert_eq!(Party::of_sip(user, host).to_string(), party);
        }
    }
}
