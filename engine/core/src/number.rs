//! Numbers: what a trunk may dial, and the form in which it wants them.

use control_api_types::MAX_DIGITS;
use sip_core::unescape;

/// How a trunk wants numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumberFormat {
    /// Removed from the front of the number when it is there.
    pub strip: String,
    /// Put before it then.
    pub prefix: String,
    /// Patterns of the numbers that may be dialled; empty: all. Patterns are matched against the number without its
    /// `+`, before `strip` and `prefix`: `*` stands for any digits, `?` for one.
    pub allow: Vec<String>,
    /// Patterns of the numbers that may not be dialled, whatever `allow` says.
    pub deny: Vec<String>,
}

/// Why a number cannot be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NumberError {
    /// Not digits with an optional leading `+`.
    #[error("is neither a number (digits, with or without a leading +) nor a sip: URI")]
    NotANumber,
    /// Longer than any number is.
    #[error("has more than {MAX_DIGITS} digits")]
    TooLong,
    /// No pattern of `number_format.allow` matches.
    #[error("matches no pattern of the trunk's number_format.allow")]
    NotAllowed,
    /// A pattern of `number_format.deny` matches.
    #[error("matches a pattern of the trunk's number_format.deny")]
    Denied,
    /// The user of a URI begins like a number and is none, so that no pattern can tell what a gateway makes of it.
    #[error("names no number, and the trunk's number_format.deny cannot be held against it")]
    Doubtful,
}

impl NumberFormat {
    /// The user part that the trunk gets for `number`.
    pub fn dial(&self, number: &str) -> Result<String, NumberError> {
        let digits = digits(number)?;
        if self.deny.iter().any(|pattern| matches(pattern, digits)) {
            return Err(NumberError::Denied);
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|pattern| matches(pattern, digits)) {
            return Err(NumberError::NotAllowed);
        }
        let bare = number.strip_prefix(self.strip.as_str()).unwrap_or(number);
        Ok(format!("{}{bare}", self.prefix))
    }
}

impl NumberFormat {
    /// Whether a call may go to this user of a URI, escapes and all: one that the API names, or a redirection. A number is
    /// in the carrier's form, so that what `allow` does not know is refused; a name is no number, and so is allowed where
    /// all numbers are.
    pub fn check_user(&self, user: &str) -> Result<(), NumberError> {
        let number = number_of(user);
        match self.dial(&number) {
            Ok(_) => Ok(()),
            Err(NumberError::NotANumber) if !self.allow.is_empty() => Err(NumberError::NotAllowed),
            Err(NumberError::NotANumber) => {
                let is_name = number.chars().next().is_none_or(|first| first.is_ascii_alphabetic());
                if self.deny.is_empty() || is_name { Ok(()) } else { Err(NumberError::Doubtful) }
            }
            Err(error) => Err(error),
        }
    }
}

/// What a gateway dials for the user part of a URI: without parameters (RFC 3261 §19.1.6), escapes undone, and without
/// the visual separators of RFC 3966 §5.1.1.
pub(crate) fn number_of(user: &str) -> String {
    let number = user.split(';').next().unwrap_or_default();
    let mut number = unescape(number);
    let is_dialled = |c: char| c.is_ascii_digit() || matches!(c, '+' | '*' | '#' | '-' | '.' | '(' | ')');
    if number.chars().all(is_dialled) {
        number.retain(|c| !matches!(c, '-' | '.' | '(' | ')'));
    }
    number
}

/// The digits of a number; `*` and `#` are dialled by service codes.
fn digits(number: &str) -> Result<&str, NumberError> {
    let digits = number.strip_prefix('+').unwrap_or(number);
    match digits.len() {
        0 => Err(NumberError::NotANumber),
        _ if !digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'*' | b'#')) => {
            Err(NumberError::NotANumber)
        }
        n if n > MAX_DIGITS => Err(NumberError::TooLong),
        _ => Ok(digits),
    }
}

/// Glob over ASCII: `*` any run, `?` any one character. Linear: one place to come back to is enough for `*`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.strip_prefix('+').unwrap_or(pattern).as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            Some(_) | None => match star {
                Some((after, at)) => {
                    star = Some((after, at + 1));
                    p = after;
                    t = at + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("62*", "6287", true),
            ("62*", "62", true),
            ("62*", "162", false),
            ("*", "", true),
            ("*99", "1999", true),
            ("1*2*3", "1402223", true),
            ("1*2*3", "14022234", false),
            ("1??", "123", true),
            ("1??", "12", false),
            ("+62*", "628", true),
            ("", "", true),
            ("", "1", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn dialling() {
        let format = NumberFormat {
            strip: "+".into(),
            prefix: "00".into(),
            allow: vec!["62*".into()],
            deny: vec!["62900*".into()],
        };
        assert_eq!(format.dial("+62876"), Ok("0062876".into()));
        assert_eq!(format.dial("62876"), Ok("0062876".into()));
        assert_eq!(format.dial("+1555"), Err(NumberError::NotAllowed));
        assert_eq!(format.dial("+629001"), Err(NumberError::Denied));
        assert_eq!(NumberFormat::default().dial("+62876"), Ok("+62876".into()));
        for bad in ["", "+", "12 34", "+62-876", "abc", "1@evil", "1\r\n2"] {
            assert_eq!(NumberFormat::default().dial(bad), Err(NumberError::NotANumber), "{bad}");
        }
        assert_eq!(NumberFormat::default().dial(&"1".repeat(MAX_DIGITS + 1)), Err(NumberError::TooLong));
    }

    #[test]
    fn users_of_uris_are_held_against_the_same_patterns_however_they_are_written() {
        use NumberError::{Denied, Doubtful, NotAllowed, TooLong};
        let format = |allow: &[&str], deny: &[&str]| NumberFormat {
            allow: allow.iter().map(ToString::to_string).collect(),
            deny: deny.iter().map(ToString::to_string).collect(),
            ..NumberFormat::default()
        };
        let (open, allow, deny) = (format(&[], &[]), format(&["62*"], &[]), format(&[], &["1900*"]));
        for (user, of_allow, of_deny) in [
            ("+62876", Ok(()), Ok(())),
            ("62876;npdi=yes", Ok(()), Ok(())),
            ("+1900123", Err(NotAllowed), Err(Denied)),
            ("+1900123;phone-context=example.com", Err(NotAllowed), Err(Denied)),
            ("%31900123", Err(NotAllowed), Err(Denied)),
            ("%2B1%39%30%30123", Err(NotAllowed), Err(Denied)),
            ("1-900-123", Err(NotAllowed), Err(Denied)),
            ("+1(900)1.23", Err(NotAllowed), Err(Denied)),
            // What a gateway makes of these, nobody knows.
            ("1%20900123", Err(NotAllowed), Err(Doubtful)),
            ("1900123%3Bx", Err(NotAllowed), Err(Doubtful)),
            ("%20", Err(NotAllowed), Err(Doubtful)),
            ("++1900123", Err(NotAllowed), Err(Doubtful)),
            ("-", Err(NotAllowed), Ok(())),
            ("bob", Err(NotAllowed), Ok(())),
            ("", Err(NotAllowed), Ok(())),
        ] {
            assert_eq!(allow.check_user(user), of_allow, "{user} under allow");
            assert_eq!(deny.check_user(user), of_deny, "{user} under deny");
            assert_eq!(open.check_user(user), Ok(()), "{user}");
        }
        assert_eq!(open.check_user(&"1".repeat(MAX_DIGITS + 1)), Err(TooLong));
    }
}
