//! URIs of the schemes sip, sips and tel; others are carried as text.

mod compare;
mod host;

use std::fmt::{self, Write as _};
use std::str::FromStr;

use bytestring::ByteString;

pub use host::Host;
pub(crate) use host::{host_port, ipv6};

use crate::grammar::{self, share};
use crate::params::Params;
use crate::{ParseError, Transport};

/// A place in the text of a [`Uri`], whose length fits in 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Span {
    start: u16,
    end: u16,
}

impl Span {
    fn of(whole: &str, part: &str) -> Span {
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        // `Uri::parse` refuses texts longer than 16 bits can index.
        Span { start: start as u16, end: (start + part.len()) as u16 }
    }

    fn get(self, whole: &str) -> &str {
        &whole[usize::from(self.start)..usize::from(self.end)]
    }
}

/// A scheme, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RFC 3261 section 19.1
    Sip,
    /// RFC 3261 section 19.1
    Sips,
    /// RFC 3966
    Tel,
    /// Anything else: text without structure.
    Other,
}

/// A URI as it stood on the wire, with its parts marked. Clones share the text.
///
/// `==` compares the spelling; [`Uri::is_equivalent`] compares as RFC 3261 section 19.1.4 says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri {
    text: ByteString,
    scheme: Scheme,
    parts: Parts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Parts {
    /// sip and sips.
    Sip {
        user: Option<Span>,
        password: Option<Span>,
        host: Span,
        port: Option<u16>,
        params: Span,
        headers: Span,
    },
    /// tel.
    Tel { number: Span, params: Span },
    /// Any other scheme.
    Opaque,
}

impl Uri {
    /// Reads a URI. sip, sips and tel are checked against their grammar, other schemes for characters only.
    pub fn parse(text: ByteString) -> Result<Uri, ParseError> {
        if text.len() > usize::from(u16::MAX) {
            return Err(ParseError::TooLong { limit: usize::from(u16::MAX) });
        }
        let (name, rest) = text.split_once(':').ok_or(ParseError::Uri)?;
        let scheme = scheme(name)?;
        if rest.is_empty() || rest.bytes().any(|b| b <= b' ' || matches!(b, b'<' | b'>' | b'"' | 0x7f)) {
            return Err(ParseError::Uri);
        }
        let parts = match scheme {
            Scheme::Sip | Scheme::Sips => sip_parts(&text, rest)?,
            Scheme::Tel => tel_parts(&text, rest)?,
            Scheme::Other => Parts::Opaque,
        };
        Ok(Uri { scheme, parts, text })
    }

    /// `sip:user@host:port`; the user is escaped where it must be.
    pub fn sip(user: Option<&str>, host: &Host, port: Option<u16>) -> Uri {
        Uri::of_host(Scheme::Sip, user, host, port)
    }

    /// `sips:user@host:port`; the user is escaped where it must be.
    pub fn sips(user: Option<&str>, host: &Host, port: Option<u16>) -> Uri {
        Uri::of_host(Scheme::Sips, user, host, port)
    }

    fn of_host(scheme: Scheme, user: Option<&str>, host: &Host, port: Option<u16>) -> Uri {
        let mut text = String::from(if scheme == Scheme::Sips { "sips:" } else { "sip:" });
        if let Some(user) = user {
            escape(user, USER, &mut text);
            text.push('@');
        }
        // Writing into a String cannot fail.
        let _ = write!(text, "{host}");
        if let Some(port) = port {
            let _ = write!(text, ":{port}");
        }
        let text = ByteString::from(text);
        let colon = text.find(':').map_or(0, |at| at + 1);
        let rest = &text[colon..];
        // Sound by construction: the user is escaped and a `Host` is a host. A longer text than fits a message falls
        // back to the opaque form, which has the same spelling.
        let parts = sip_parts(&text, rest).unwrap_or(Parts::Opaque);
        Uri { scheme, parts, text }
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The user part as written, escapes kept (see [`unescape`]); the number of a tel URI.
    pub fn user(&self) -> Option<&str> {
        match self.parts {
            Parts::Sip { user, .. } => user.map(|span| span.get(&self.text)),
            Parts::Tel { number, .. } => Some(number.get(&self.text)),
            Parts::Opaque => None,
        }
    }

    /// The password, which nobody should send (RFC 3261 section 19.1.1: "NOT RECOMMENDED").
    pub fn password(&self) -> Option<&str> {
        match self.parts {
            Parts::Sip { password, .. } => password.map(|span| span.get(&self.text)),
            Parts::Tel { .. } | Parts::Opaque => None,
        }
    }

    /// The host of a sip or sips URI.
    pub fn host(&self) -> Option<Host> {
        match self.parts {
            Parts::Sip { host, .. } => Host::parse(&share(&self.text, host.get(&self.text))).ok(),
            Parts::Tel { .. } | Parts::Opaque => None,
        }
    }

    /// The port, where one is written.
    pub fn port(&self) -> Option<u16> {
        match self.parts {
            Parts::Sip { port, .. } => port,
            Parts::Tel { .. } | Parts::Opaque => None,
        }
    }

    /// The parameters of a sip, sips or tel URI.
    pub fn params(&self) -> Params {
        match self.parts {
            Parts::Sip { params, .. } | Parts::Tel { params, .. } => {
                Params::trusted(share(&self.text, params.get(&self.text)))
            }
            Parts::Opaque => Params::default(),
        }
    }

    /// The value of one parameter; empty for a flag such as `lr`.
    pub fn param(&self, name: &str) -> Option<&str> {
        let (Parts::Sip { params, .. } | Parts::Tel { params, .. }) = self.parts else { return None };
        params.get(&self.text).split(';').skip(1).find_map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The transport that the URI asks for: its `transport` parameter, made secure by the scheme sips; `None` when it
    /// leaves that open.
    ///
    /// The deprecated "transport=tls" means TLS for one hop (RFC 3261 section 26.2.2).
    ///
    /// # Errors
    /// The parameter's value, when it names a transport that we do not speak.
    pub fn transport(&self) -> Result<Option<Transport>, &str> {
        let named = match self.param("transport") {
            Some(token) => Some(Transport::from_token(token).ok_or(token)?),
            None => None,
        };
        match self.scheme() {
            Scheme::Sips => Ok(Some(named.unwrap_or(Transport::Tls).secured())),
            Scheme::Sip | Scheme::Tel | Scheme::Other => Ok(named),
        }
    }

    /// The headers after `?`, names and values as written.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = match self.parts {
            Parts::Sip { headers, .. } => headers.get(&self.text),
            Parts::Tel { .. } | Parts::Opaque => "",
        };
        text.split('&').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")))
    }

    /// The value of a header after `?`, escapes undone.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut headers = self.headers().filter(|(n, _)| unescape(n).eq_ignore_ascii_case(name));
        headers.next().map(|(_, value)| unescape(value))
    }

    /// The same URI with a header added or replaced, escaped. Only sip and sips URIs have headers; others stay as they are.
    #[must_use]
    pub fn with_header(&self, name: &str, value: &str) -> Uri {
        let mut text = self.headers_text_without(name);
        if !text.is_empty() {
            text.push('&');
        }
        escape(name, "", &mut text);
        text.push('=');
        escape(value, "", &mut text);
        self.with_headers_text(&text)
    }

    /// The same URI without this header.
    #[must_use]
    pub fn without_header(&self, name: &str) -> Uri {
        self.with_headers_text(&self.headers_text_without(name))
    }

    /// The same URI with a parameter added or replaced; an empty value writes a flag. An opaque URI stays as it is.
    #[must_use]
    pub fn with_param(&self, name: &str, value: &str) -> Uri {
        let params = self.params().with(name, value);
        self.rebuilt(&params, self.headers_text())
    }

    /// The same URI as it may stand in a request line: without headers and without a `method` parameter
    /// (RFC 3261 section 19.1.1, table 1).
    #[must_use]
    pub fn to_request_uri(&self) -> Uri {
        if self.headers_text().is_empty() && self.param("method").is_none() {
            return self.clone();
        }
        self.rebuilt(&self.params().without("method"), "")
    }

    fn headers_text(&self) -> &str {
        match self.parts {
            Parts::Sip { headers, .. } => headers.get(&self.text),
            Parts::Tel { .. } | Parts::Opaque => "",
        }
    }

    fn headers_text_without(&self, name: &str) -> String {
        let other = |part: &&str| {
            let (n, _) = part.split_once('=').unwrap_or((part, ""));
            !unescape(n).eq_ignore_ascii_case(name)
        };
        self.headers_text().split('&').filter(other).collect::<Vec<_>>().join("&")
    }

    fn with_headers_text(&self, headers: &str) -> Uri {
        match self.scheme {
            Scheme::Sip | Scheme::Sips => self.rebuilt(&self.params(), headers),
            Scheme::Tel | Scheme::Other => self.clone(),
        }
    }

    fn rebuilt(&self, params: &Params, headers: &str) -> Uri {
        let (Parts::Sip { params: old, .. } | Parts::Tel { params: old, .. }) = self.parts else {
            return self.clone();
        };
        let question = if headers.is_empty() { "" } else { "?" };
        let text = format!("{}{params}{question}{headers}", &self.text[..usize::from(old.start)]);
        // A parameter that does not fit the grammar changes nothing.
        Uri::parse(text.into()).unwrap_or_else(|_| self.clone())
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn scheme(name: &str) -> Result<Scheme, ParseError> {
    let sound = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !sound {
        return Err(ParseError::Uri);
    }
    Ok(match name {
        _ if name.eq_ignore_ascii_case("sip") => Scheme::Sip,
        _ if name.eq_ignore_ascii_case("sips") => Scheme::Sips,
        _ if name.eq_ignore_ascii_case("tel") => Scheme::Tel,
        _ => Scheme::Other,
    })
}

/// "SIP-URI = "sip:" [ userinfo ] hostport uri-parameters [ headers ]"
fn sip_parts(text: &str, rest: &str) -> Result<Parts, ParseError> {
    // Only the user part may hold ";" and "?", and nothing but the separator may be a bare "@": look for it first.
    let (user, password, rest) = match rest.split_once('@') {
        Some((userinfo, rest)) => {
            let (user, password) = match userinfo.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (userinfo, None),
            };
            if user.is_empty() || !is_sound(user, USER) || !password.is_none_or(|p| is_sound(p, PASSWORD)) {
                return Err(ParseError::Uri);
            }
            (Some(user), password, rest)
        }
        None => (None, None, rest),
    };
    let (before, headers) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
    let (address, params) = before.split_at(before.find(';').unwrap_or(before.len()));
    let (host, port) = host_port(address).map_err(|_| ParseError::Uri)?;
    Host::parse_str(host).map_err(|_| ParseError::Uri)?;
    check_params(params)?;
    let headers = headers.strip_prefix('?').unwrap_or(headers);
    let sound = |part: &str| {
        part.split_once('=').is_some_and(|(name, value)| !name.is_empty() && is_sound(value, HEADER))
    };
    if !headers.is_empty() && !headers.split('&').all(sound) {
        return Err(ParseError::Uri);
    }
    let span = |part| Span::of(text, part);
    Ok(Parts::Sip {
        user: user.map(span),
        password: password.map(span),
        host: span(host),
        port,
        params: span(params),
        headers: span(headers),
    })
}

/// RFC 3966 section 3: digits with visual separators, then parameters.
fn tel_parts(text: &str, rest: &str) -> Result<Parts, ParseError> {
    let (number, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
    let digits = number.strip_prefix('+').unwrap_or(number);
    let sound = |b: u8| b.is_ascii_hexdigit() || matches!(b, b'*' | b'#' | b'-' | b'.' | b'(' | b')');
    if !digits.bytes().any(|b| b.is_ascii_hexdigit() || matches!(b, b'*' | b'#'))
        || !digits.bytes().all(sound)
    {
        return Err(ParseError::Uri);
    }
    check_params(params)?;
    Ok(Parts::Tel { number: Span::of(text, number), params: Span::of(text, params) })
}

fn check_params(params: &str) -> Result<(), ParseError> {
    let sound = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, "-"));
        !name.is_empty() && !value.is_empty() && is_sound(name, PARAM) && is_sound(value, PARAM)
    };
    if params.split(';').skip(1).all(sound) { Ok(()) } else { Err(ParseError::Uri) }
}

// What each part may hold beside "unreserved" and escapes (RFC 3261 section 25.1).
const USER: &str = "&=+$,;?/";
const PASSWORD: &str = "&=+$,";
const PARAM: &str = "[]/:&+$";
const HEADER: &str = "[]/?:+$";

fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

/// Whether `text` holds nothing but unreserved characters, those of `extra`, and complete escapes.
fn is_sound(text: &str, extra: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    bytes.iter().enumerate().all(|(at, &b)| match b {
        b'%' => hex(at + 1) && hex(at + 2),
        // Raw UTF-8 in a user part is against the grammar, yet sent by real phones and harmless to carry.
        _ => is_unreserved(b) || extra.as_bytes().contains(&b) || !b.is_ascii(),
    })
}

/// Writes `text` with escapes for what is neither unreserved nor in `extra`.
fn escape(text: &str, extra: &str, out: &mut String) {
    for b in text.bytes() {
        if is_unreserved(b) || extra.as_bytes().contains(&b) {
            out.push(char::from(b));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(out, "%{b:02X}");
        }
    }
}

/// Undoes the escapes of a URI part. Bytes that are not UTF-8 become U+FFFD.
pub fn unescape(text: &str) -> String {
    let bytes: Vec<u8> = compare::units(text).map(|unit| unit.byte).collect();
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

impl FromStr for Uri {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Uri, ParseError> {
        Uri::parse(grammar::trim(text).into())
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
