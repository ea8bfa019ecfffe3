//! Parameters of header field values and URIs: `;name=value;flag`.

use std::fmt::{self, Write as _};

use bytestring::ByteString;

use crate::ParseError;
use crate::grammar::{self, share, trim};

/// Parameters as they stood on the wire, read when asked for. Names are compared case-insensitively.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Params {
    /// Empty, or begins with `;`.
    text: ByteString,
}

impl Params {
    /// No parameters.
    pub fn new() -> Params {
        Params::default()
    }

    /// Reads `;name=value…`, or nothing. Names must be tokens; values are tokens, hosts or quoted strings.
    pub fn parse(text: ByteString) -> Result<Params, ParseError> {
        let rest = trim(&text);
        if rest.is_empty() {
            return Ok(Params::default());
        }
        let Some(list) = rest.strip_prefix(';') else { return Err(ParseError::Params) };
        if !grammar::is_balanced(list) {
            return Err(ParseError::Params);
        }
        for part in grammar::split_outside(list, b';') {
            let (name, value) = pair(part);
            let sound = match value {
                None => true,
                Some(v) if v.starts_with('"') => matches!(grammar::take_quoted(v), Some((_, ""))),
                Some(v) => {
                    !v.is_empty() && !v.bytes().any(|b| matches!(b, b' ' | b'\t' | b'"' | b',' | b'<' | b'>'))
                }
            };
            if !grammar::is_token(name) || !sound {
                return Err(ParseError::Params);
            }
        }
        let text = share(&text, rest);
        Ok(Params { text })
    }

    /// Takes text that is known to be sound.
    pub(crate) fn trusted(text: ByteString) -> Params {
        Params { text }
    }

    /// Every parameter in order; the value as written, quotes included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let list = self.text.strip_prefix(';');
        list.into_iter().flat_map(|list| grammar::split_outside(list, b';')).map(pair)
    }

    /// The value of a parameter; empty for a flag without value. Quotes are kept, see [`crate::unquote`].
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.unwrap_or(""))
    }

    /// Whether the parameter is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The same parameters with this one added or replaced; an empty value writes a flag.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Params {
        let mut text = self.without(name).text.to_string();
        text.push(';');
        text.push_str(name);
        if !value.is_empty() {
            text.push('=');
            text.push_str(value);
        }
        Params { text: text.into() }
    }

    /// The same parameters without this one.
    #[must_use]
    pub fn without(&self, name: &str) -> Params {
        if !self.has(name) {
            return self.clone();
        }
        let mut text = String::with_capacity(self.text.len());
        for (n, value) in self.iter().filter(|(n, _)| !n.eq_ignore_ascii_case(name)) {
            text.push(';');
            text.push_str(n);
            if let Some(value) = value {
                // Writing into a String cannot fail.
                let _ = write!(text, "={value}");
            }
        }
        Params { text: text.into() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// As written, from the first `;`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn pair(part: &str) -> (&str, Option<&str>) {
    match part.split_once('=') {
        Some((name, value)) => (trim(name), Some(trim(value))),
        None => (part, None),
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(text: &str) -> Result<Params, ParseError> {
        Params::parse(text.into())
    }

    #[test]
    fn reads_flags_spaces_and_quotes() {
        let p = params(r#" ; tag = 98asjd8 ;lr; x="a;b=\"c" "#).unwrap();
        assert_eq!(p.get("TAG"), Some("98asjd8"));
        assert_eq!(p.get("lr"), Some(""));
        assert_eq!(p.get("x"), Some(r#""a;b=\"c""#));
        assert_eq!(p.get("y"), None);
        assert!(params("").unwrap().is_empty());
    }

    #[test]
    fn refuses_what_is_no_parameter() {
        for text in [";;", ";", "tag=1", ";a b", ";a=\"open", ";a=\"q\"x", ";=v", ";a=", ";a=1,2", ";a=b c"] {
            assert_eq!(params(text), Err(ParseError::Params), "{text}");
        }
    }

    #[test]
    fn replaces_and_removes() {
        let p = params(";a=1;b").unwrap();
        assert_eq!(p.with("A", "2").as_str(), ";b;A=2");
        assert_eq!(p.without("a").as_str(), ";b");
        assert_eq!(Params::new().with("lr", "").as_str(), ";lr");
    }
}
