//! Addresses in From, To, Contact, Route, Record-Route and their kin (RFC 3261 section 20.10).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bytestring::ByteString;

use crate::grammar::{self, is_token, share, take_quoted, trim, unquote};
use crate::params::Params;
use crate::uri::Uri;
use crate::{ParseError, quote};

/// `"display name" <uri>;params`, or `uri;params` as some fields allow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameAddr {
    /// As written, quotes included; empty where there is none.
    display: ByteString,
    uri: Uri,
    params: Params,
}

impl NameAddr {
    /// `<uri>`
    pub fn new(uri: Uri) -> NameAddr {
        NameAddr { display: ByteString::new(), uri, params: Params::new() }
    }

    /// Reads name-addr or addr-spec with the field's parameters.
    pub fn parse(text: ByteString) -> Result<NameAddr, ParseError> {
        let value = trim(&text);
        let (display, rest) = match value.starts_with('"') {
            true => take_quoted(value).map(|(d, rest)| (d, trim(rest))).ok_or(ParseError::NameAddr)?,
            false => match value.split_once('<') {
                Some((display, _)) => (trim(display), &value[display.len()..]),
                None => return NameAddr::addr_spec(&text, value),
            },
        };
        let rest = rest.strip_prefix('<').ok_or(ParseError::NameAddr)?;
        let (uri, params) = rest.split_once('>').ok_or(ParseError::NameAddr)?;
        // "display-name = *(token LWS) / quoted-string"; unquoted UTF-8 beside that is harmless and common.
        let sound = |word: &str| word.is_empty() || !word.is_ascii() || is_token(word);
        if !display.starts_with('"') && !display.split(grammar::is_space).all(sound) {
            return Err(ParseError::NameAddr);
        }
        Ok(NameAddr {
            display: share(&text, display),
            uri: Uri::parse(share(&text, uri)).map_err(|_| ParseError::NameAddr)?,
            params: Params::parse(share(&text, params))?,
        })
    }

    /// RFC 3261 section 20: "If the URI contains a comma, question mark or semicolon, the URI MUST be enclosed in angle
    /// brackets. If the URI is not enclosed in angle brackets, any semicolon-delimited parameters are
    /// header-parameters, not URI parameters."
    fn addr_spec(text: &ByteString, value: &str) -> Result<NameAddr, ParseError> {
        let (uri, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let uri = trim(uri);
        if uri.contains(['?', ',']) {
            return Err(ParseError::NameAddr);
        }
        Ok(NameAddr {
            display: ByteString::new(),
            uri: Uri::parse(share(text, uri)).map_err(|_| ParseError::NameAddr)?,
            params: Params::parse(share(text, params))?,
        })
    }

    /// The display name without quotes and escapes.
    pub fn display(&self) -> Option<Cow<'_, str>> {
        (!self.display.is_empty()).then(|| unquote(&self.display))
    }

    /// The URI.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The parameters behind the brackets.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The tag parameter of From and To.
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    /// The same address under this display name; empty removes it.
    #[must_use]
    pub fn with_display(mut self, display: &str) -> NameAddr {
        self.display = if display.is_empty() { ByteString::new() } else { quote(display).into() };
        self
    }

    /// The same address of another URI.
    #[must_use]
    pub fn with_uri(mut self, uri: Uri) -> NameAddr {
        self.uri = uri;
        self
    }

    /// The same address with this tag.
    #[must_use]
    pub fn with_tag(self, tag: &str) -> NameAddr {
        self.with_param("tag", tag)
    }

    /// The same address with a parameter added or replaced; an empty value writes a flag.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: &str) -> NameAddr {
        self.params = self.params.with(name, value);
        self
    }

    /// The same address without this parameter.
    #[must_use]
    pub fn without_param(mut self, name: &str) -> NameAddr {
        self.params = self.params.without(name);
        self
    }
}

impl From<Uri> for NameAddr {
    fn from(uri: Uri) -> NameAddr {
        NameAddr::new(uri)
    }
}

impl FromStr for NameAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<NameAddr, ParseError> {
        NameAddr::parse(text.into())
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.display.is_empty() { "" } else { " " };
        write!(f, "{}{space}<{}>{}", self.display, self.uri, self.params)
    }
}

/// One value of Contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// `*`: every binding, in a REGISTER that removes them (RFC 3261 section 10.2.2).
    All,
    /// One address.
    Addr(NameAddr),
}

impl Contact {
    /// Reads `*` or an address.
    pub fn parse(text: ByteString) -> Result<Contact, ParseError> {
        if trim(&text) == "*" { Ok(Contact::All) } else { NameAddr::parse(text).map(Contact::Addr) }
    }

    /// The address, unless it is `*`.
    pub fn addr(&self) -> Option<&NameAddr> {
        match self {
            Contact::All => None,
            Contact::Addr(addr) => Some(addr),
        }
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contact::All => f.write_str("*"),
            Contact::Addr(addr) => addr.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> NameAddr {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn name_addr_and_addr_spec() {
        let a = addr(r#""J Rosenberg \\\"" <sip:j@example.com;lr> ; tag = 98 "#);
        assert_eq!(a.display().unwrap(), r#"J Rosenberg \""#);
        assert_eq!((a.tag(), a.uri().param("lr")), (Some("98"), Some("")));
        let b = addr("sip:j@example.com;tag=1");
        assert_eq!((b.uri().as_str(), b.tag(), b.display()), ("sip:j@example.com", Some("1"), None));
        assert_eq!(addr("caller<sip:c@h>").display().unwrap(), "caller");
        assert_eq!(addr(r#""<a>,;" <sip:c@h>"#).display().unwrap(), "<a>,;");
        assert_eq!(addr("Jörg <sip:j@h>").display().unwrap(), "Jörg");
        assert_eq!(addr("J. M. Doe <tel:+1>").display().unwrap(), "J. M. Doe");
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "sip:user@example.com?Route=x",
            "sip:a,b@h",
            r#""Mr. J. User <sip:j@h>"#,
            "Bell, A <sip:a@h>",
            "\"W\" < sip:a@h >",
            "<sip:a@h",
            "sip:a@h>",
            "<sip:a@h>tag=1",
            "<>",
            "<sip:a@h>;;",
            "\"a\"\"b\" <sip:a@h>",
        ] {
            assert!(text.parse::<NameAddr>().is_err(), "{text}");
        }
    }

    #[test]
    fn written_with_brackets() {
        let a = addr("sip:j@h;tag=1").with_display("Jo \"J\"").with_tag("2");
        assert_eq!(a.to_string(), r#""Jo \"J\"" <sip:j@h>;tag=2"#);
        assert_eq!(Contact::parse(" * ".into()), Ok(Contact::All));
    }
}
