//! The shared pieces of the grammar of RFC 3261 section 25.1: tokens, white space, quoted strings, separators.

use std::borrow::Cow;

use bytestring::ByteString;

/// "token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~")"
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

const fn is_token_byte(b: u8) -> bool {
    TOKEN[b as usize]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        table[b] = (b as u8).is_ascii_alphanumeric()
            || matches!(b as u8, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        b += 1;
    }
    table
};

/// Space and tab; line folds have become spaces before any value is read.
pub(crate) fn is_space(c: char) -> bool {
    c == ' ' || c == '\t'
}

pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// The part of `whole` that `part` borrows, without a copy.
pub(crate) fn share(whole: &ByteString, part: &str) -> ByteString {
    whole.slice_ref(part)
}

/// The first place outside quoted strings and angle brackets where `wanted` stands. `None` too when a quote stays open.
pub(crate) fn find_outside(text: &str, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let mut scan = Outside::default();
    text.bytes().position(|b| scan.is_outside(b) && wanted(b))
}

/// Whether every quoted string and every angle bracket of `text` is closed.
pub(crate) fn is_balanced(text: &str) -> bool {
    let mut scan = Outside::default();
    text.bytes().for_each(|b| {
        scan.is_outside(b);
    });
    scan == Outside::Plain
}

/// Where a scan stands in a header field value.
#[derive(Clone, Copy, Default, PartialEq)]
enum Outside {
    #[default]
    Plain,
    Angle,
    Quoted {
        angle: bool,
    },
    Escaped {
        angle: bool,
    },
}

impl Outside {
    /// Takes the next byte; true when that byte is neither inside quotes or brackets nor one of them.
    fn is_outside(&mut self, b: u8) -> bool {
        let before = *self;
        *self = match (before, b) {
            (Outside::Plain, b'"') => Outside::Quoted { angle: false },
            (Outside::Plain, b'<') => Outside::Angle,
            (Outside::Angle, b'"') => Outside::Quoted { angle: true },
            (Outside::Angle, b'>') => Outside::Plain,
            (Outside::Quoted { angle }, b'\\') => Outside::Escaped { angle },
            (Outside::Quoted { angle: false }, b'"') => Outside::Plain,
            (Outside::Quoted { angle: true }, b'"') => Outside::Angle,
            (Outside::Escaped { angle }, _) => Outside::Quoted { angle },
            (state, _) => state,
        };
        before == Outside::Plain && *self == Outside::Plain
    }
}

/// Parts a value at the commas outside quoted strings and angle brackets; empty elements are left out.
pub(crate) fn split_commas(value: &str) -> impl Iterator<Item = &str> + Clone {
    split_outside(value, b',').filter(|part| !part.is_empty())
}

/// Parts a value at `separator` outside quoted strings and angle brackets; the parts are trimmed.
pub(crate) fn split_outside(value: &str, separator: u8) -> impl Iterator<Item = &str> + Clone {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        match find_outside(text, |b| b == separator) {
            Some(at) => {
                rest = Some(&text[at + 1..]);
                Some(trim(&text[..at]))
            }
            None => {
                rest = None;
                Some(trim(text))
            }
        }
    })
}

/// The quoted string at the start of `text`, quotes included, and what follows it.
pub(crate) fn take_quoted(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, b) in text.bytes().enumerate().skip(1) {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(text.split_at(at + 1)),
            _ => {}
        }
    }
    None
}

/// The text of a token or quoted string: quotes removed, "quoted-pair"s undone.
pub fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    Cow::Owned(out)
}

/// `text` as a quoted string.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// "1*DIGIT", refusing signs, which `str::parse` accepts.
pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_part_only_outside_quotes_and_brackets() {
        let parts = |v| split_commas(v).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            parts(r#""a, \"b" <sip:x,y@h>;p="1,2" , <sip:z>"#),
            [r#""a, \"b" <sip:x,y@h>;p="1,2""#, "<sip:z>"]
        );
        assert_eq!(parts("a,,b,"), ["a", "b"]);
    }

    #[test]
    fn quoting_undoes_unquoting() {
        for text in ["", "plain", r#"J "Rosenberg" \"#] {
            assert_eq!(unquote(&quote(text)), text);
        }
        assert_eq!(unquote("token"), "token");
        assert_eq!(take_quoted(r#""a\"b" rest"#), Some((r#""a\"b""#, " rest")));
        assert_eq!(take_quoted(r#""open"#), None);
    }

    #[test]
    fn numbers_have_no_sign() {
        assert_eq!(number::<u32>("+1"), None);
        assert_eq!(number::<u32>("0068"), Some(68));
        assert_eq!(number::<u32>("4294967296"), None);
    }
}
