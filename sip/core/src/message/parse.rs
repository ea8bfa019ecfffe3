//! From bytes to a [`Message`].

use std::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;
use memchr::{memchr, memchr2, memmem};

use super::{Message, ParseError, Row, Span, StartLine};
use crate::Method;
use crate::grammar::{self, is_space, share};
use crate::name::Name;

/// Most bytes of start line and header fields together: what 16 bits index, and more than any datagram holds.
pub const MAX_HEAD: usize = 65_535;

/// An INVITE of a real phone or carrier has 12 to 25 header lines: room that makes the usual message one allocation.
const USUAL_ROWS: usize = 28;

/// What reading a head tolerates.
#[derive(Clone, Copy, PartialEq)]
enum Rigour {
    /// The grammar.
    Strict,
    /// Lines that break it are passed over, so that what is left can be answered.
    Salvage,
}

impl Message {
    /// Reads one message: a datagram, or what [`crate::Framer`] cut from a stream.
    ///
    /// Checked are the start line, the shape of every header line and Content-Length. A body without Content-Length
    /// reaches to the end of the datagram; bytes beyond Content-Length are discarded (RFC 3261 section 18.3).
    pub fn parse(bytes: Bytes) -> Result<Message, ParseError> {
        read(bytes, Rigour::Strict)
    }

    /// What can be read of a request that [`Message::parse`] refused, to be answered with
    /// [`ParseError::status`]: never a response, nor an ACK, nor a request without Via or CSeq. It has no body.
    pub fn salvage(bytes: Bytes) -> Option<Message> {
        let message = read(bytes, Rigour::Salvage).ok()?;
        message.is_answerable().then_some(message)
    }

    /// Whether an error response can be made for it: a request, but no ACK, with Via and CSeq to copy. From, To and
    /// Call-ID may be missing (RFC 4475 section 3.3.1: "Ideally, it will respond with a 400 Bad Request error").
    pub fn is_answerable(&self) -> bool {
        self.method().is_some_and(|method| *method != Method::Ack)
            && self.header(Name::Via).is_some()
            && self.header(Name::CSeq).is_some()
    }
}

fn read(bytes: Bytes, rigour: Rigour) -> Result<Message, ParseError> {
    // RFC 3261 section 7.5: "Implementations processing SIP messages over stream-oriented transports MUST ignore any
    // CRLF appearing before the start-line"; harmless in a datagram.
    let begin = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).ok_or(ParseError::Empty)?;
    let (head_end, body_start) = match memmem::find(&bytes[begin..], b"\r\n\r\n") {
        Some(at) => (begin + at + 2, begin + at + 4),
        None if rigour == Rigour::Salvage => (bytes.len(), bytes.len()),
        None => return Err(ParseError::HeadEnd),
    };
    if head_end - begin > MAX_HEAD {
        return Err(ParseError::TooLong { limit: MAX_HEAD });
    }
    let head = text(&bytes, begin..head_end);
    let (head, start, rows) = match index(&head, rigour)? {
        Indexed::Flat(start, rows) => (head, start, rows),
        Indexed::Folded => {
            let head = unfold(&head);
            match index(&head, rigour)? {
                Indexed::Flat(start, rows) => (head, start, rows),
                // `unfold` leaves no line that begins with a space.
                Indexed::Folded => return Err(ParseError::HeaderLine),
            }
        }
    };
    let mut message = Message { raw: bytes.slice(begin..), head, start, rows, body: Bytes::new() };
    let present = bytes.len() - body_start;
    let length = match rigour {
        Rigour::Salvage => 0,
        Rigour::Strict => content_length(message.rows_of(Name::ContentLength))?.unwrap_or(present),
    };
    if length > present {
        return Err(ParseError::BodyShort { declared: length, present });
    }
    message.body = bytes.slice(body_start..body_start + length);
    message.raw.truncate(body_start + length - begin);
    Ok(message)
}

/// The one value of Content-Length, if any. RFC 4475 section 3.3.9: a second one makes the message malformed.
pub(crate) fn content_length<'a>(
    mut rows: impl Iterator<Item = &'a str>,
) -> Result<Option<usize>, ParseError> {
    let Some(value) = rows.next() else { return Ok(None) };
    match (grammar::number(value), rows.next()) {
        (Some(length), None) => Ok(Some(length)),
        (Some(_) | None, _) => Err(ParseError::ContentLength),
    }
}

/// The head as text. What is no UTF-8 becomes `_`, byte for byte: a character that a token may hold, so that a display
/// name in Latin-1 costs its umlauts and not the call.
fn text(bytes: &Bytes, head: Range<usize>) -> ByteString {
    ByteString::try_from(bytes.slice(head.clone())).unwrap_or_else(|_| {
        let mut repaired = String::with_capacity(head.len());
        for chunk in bytes[head].utf8_chunks() {
            repaired.push_str(chunk.valid());
            repaired.extend(chunk.invalid().iter().map(|_| '_'));
        }
        repaired.into()
    })
}

/// RFC 3261 section 7.3.1: "The line break and the whitespace at the beginning of the next line are treated as a single
/// SP character": here as three, so that nothing moves.
fn unfold(head: &str) -> ByteString {
    head.replace("\r\n ", "   ").replace("\r\n\t", "   ").into()
}

enum Indexed {
    Flat(StartLine, Vec<Row>),
    Folded,
}

fn index(head: &ByteString, rigour: Rigour) -> Result<Indexed, ParseError> {
    let (first, mut at) = line(head, 0, rigour)?;
    let start = match start_line(head, first) {
        Ok(start) => start,
        Err(error) if rigour == Rigour::Strict => return Err(error),
        Err(error) => rough_request(head, first).ok_or(error)?,
    };
    let mut rows = Vec::with_capacity(USUAL_ROWS);
    while at < head.len() {
        if matches!(head.as_bytes()[at], b' ' | b'\t') {
            return Ok(Indexed::Folded);
        }
        let (this, next) = line(head, at, rigour)?;
        match row(head, this) {
            Some(row) => rows.push(row),
            None if rigour == Rigour::Strict => return Err(ParseError::HeaderLine),
            None => {}
        }
        at = next;
    }
    Ok(Indexed::Flat(start, rows))
}

/// The line that begins at `at`, without its CRLF, and where the next begins.
fn line(head: &str, at: usize, rigour: Rigour) -> Result<(&str, usize), ParseError> {
    let rest = &head.as_bytes()[at..];
    match rigour {
        Rigour::Strict => {
            // A lone CR or LF inside a value could pass for a line break at the next hop.
            let end = memchr2(b'\r', b'\n', rest).ok_or(ParseError::HeadEnd)?;
            if rest.get(end..end + 2) != Some(b"\r\n") {
                return Err(ParseError::LineBreak);
            }
            Ok((&head[at..at + end], at + end + 2))
        }
        Rigour::Salvage => {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &head[at..at + end];
            Ok((line.strip_suffix('\r').unwrap_or(line), (at + end + 1).min(head.len())))
        }
    }
}

/// Positions fit in 16 bits: a head is at most [`MAX_HEAD`] long.
fn span(head: &str, part: &str) -> Span {
    let start = part.as_ptr() as usize - head.as_ptr() as usize;
    Span { start: start as u16, end: (start + part.len()) as u16 }
}

fn row(head: &str, line: &str) -> Option<Row> {
    let (name, value) = line.split_at(memchr(b':', line.as_bytes())?);
    let name = name.trim_end_matches(is_space);
    if !grammar::is_token(name) {
        return None;
    }
    let value = grammar::trim(&value[1..]);
    let value = if value.is_empty() { Span { start: 0, end: 0 } } else { span(head, value) };
    Some(Row { name: span(head, name), value, code: Name::parse(name).code() })
}

fn start_line(head: &ByteString, line: &str) -> Result<StartLine, ParseError> {
    // No method holds a slash, so this tells the two apart.
    if line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("SIP/")) {
        return status_line(head, line);
    }
    // "Request-Line = Method SP Request-URI SP SIP-Version CRLF", single spaces and none at the end.
    let (method, rest) = line.split_once(' ').ok_or(ParseError::StartLine)?;
    let (uri, version) = rest.rsplit_once(' ').ok_or(ParseError::StartLine)?;
    if !is_sip_version(version) || uri.is_empty() || uri.contains(is_space) {
        return Err(ParseError::StartLine);
    }
    let method = method_of(head, method)?;
    if !version[4..].eq_ignore_ascii_case("2.0") {
        return Err(ParseError::Version);
    }
    Ok(StartLine::Request { method, uri: span(head, uri) })
}

fn method_of(head: &ByteString, text: &str) -> Result<Method, ParseError> {
    match Method::known(text) {
        Some(method) => Ok(method),
        None => Method::parse(share(head, text)),
    }
}

/// "SIP-Version = "SIP" "/" 1*DIGIT "." 1*DIGIT"
fn is_sip_version(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("SIP/"))
        && text[4..].split_once('.').is_some_and(|(major, minor)| digits(major) && digits(minor))
}

/// "Status-Line = SIP-Version SP Status-Code SP Reason-Phrase CRLF"; the phrase and the space before it may be missing.
fn status_line(head: &ByteString, line: &str) -> Result<StartLine, ParseError> {
    let (version, rest) = line.split_once(' ').ok_or(ParseError::StartLine)?;
    if !is_sip_version(version) {
        return Err(ParseError::StartLine);
    }
    if &version[4..] != "2.0" {
        return Err(ParseError::Version);
    }
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let status = grammar::number(code).filter(|status| code.len() == 3 && (100..700).contains(status));
    let status = status.ok_or(ParseError::Status)?;
    let reason = if reason.is_empty() { Span { start: 0, end: 0 } } else { span(head, reason) };
    Ok(StartLine::Response { status, reason })
}

/// A request line that is refused, read as far as an answer needs it.
fn rough_request(head: &ByteString, line: &str) -> Option<StartLine> {
    let (method, rest) = line.trim_start_matches(is_space).split_once(is_space)?;
    let method = method_of(head, method).ok()?;
    let rest = grammar::trim(rest);
    let uri = if rest.is_empty() { Span { start: 0, end: 0 } } else { span(head, rest) };
    Some(StartLine::Request { method, uri })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Result<Message, ParseError> {
        Message::parse(Bytes::from_static(text.as_bytes()))
    }

    const HEAD: &str = "BYE sip:a@b SIP/2.0\r\n";

    #[test]
    fn header_lines() {
        let m = parse(
            "BYE sip:a@b SIP/2.0\r\nK : a, \"b,c\" ,\r\n d\r\nSupported:e\r\nDate: Sat, 13 Nov\r\n\
             WWW-Authenticate: Digest a=\"1\", b=2\r\nwww-authenticate: Digest c\r\nX-List: 1, 2\r\nSubject:\r\n\r\n",
        )
        .unwrap();
        assert_eq!(m.headers(Name::Supported).collect::<Vec<_>>(), ["a", "\"b,c\"", "d", "e"]);
        assert_eq!(m.headers(Name::Date).collect::<Vec<_>>(), ["Sat, 13 Nov"]);
        assert_eq!(m.headers(Name::WwwAuthenticate).collect::<Vec<_>>(), ["Digest a=\"1\", b=2", "Digest c"]);
        assert_eq!(m.header(Name::Other("x-list")), Some("1, 2"));
        assert_eq!(m.header(Name::Subject), Some(""));
        assert_eq!(m.header(Name::Contact), None);
        assert_eq!(m.rows().count(), 7);
        assert!(m.as_bytes().windows(4).any(|w| w == b"\r\n d"), "the bytes stay as they came");
    }

    #[test]
    fn bodies_of_datagrams() {
        let body = |text| parse(text).map(|m| m.body().clone());
        assert_eq!(body("BYE sip:a@b SIP/2.0\r\n\r\nrest").unwrap(), "rest");
        assert_eq!(body("BYE sip:a@b SIP/2.0\r\nl: 2\r\n\r\nrest").unwrap(), "re");
        assert_eq!(
            body("BYE sip:a@b SIP/2.0\r\nl: 5\r\n\r\nrest"),
            Err(ParseError::BodyShort { declared: 5, present: 4 })
        );
        for length in ["-1", "+1", "x", "", "99999999999999999999", "1\r\nl: 1"] {
            let text = format!("{HEAD}Content-Length: {length}\r\n\r\nrest");
            assert_eq!(Message::parse(text.into()).map(|_| ()), Err(ParseError::ContentLength), "{length}");
        }
    }

    #[test]
    fn start_lines() {
        for (text, error) in [
            ("", ParseError::Empty),
            ("\r\n\r\n", ParseError::Empty),
            ("BYE sip:a@b SIP/2.0\r\n", ParseError::HeadEnd),
            ("BYE sip:a@b\r\n\r\n", ParseError::StartLine),
            ("BYE  SIP/2.0\r\n\r\n", ParseError::StartLine),
            ("BYE sip:a@b HTTP/1.1\r\n\r\n", ParseError::StartLine),
            ("B(YE sip:a@b SIP/2.0\r\n\r\n", ParseError::Method),
            ("BYE sip:a@b SIP/3.0\r\n\r\n", ParseError::Version),
            ("SIP/3.0 200 OK\r\n\r\n", ParseError::Version),
            ("SIP/2.0 99 Low\r\n\r\n", ParseError::Status),
            ("SIP/2.0 700 High\r\n\r\n", ParseError::Status),
            ("SIP/2.0 0200 OK\r\n\r\n", ParseError::Status),
            ("SIP/2.0\r\n\r\n", ParseError::StartLine),
            ("BYE sip:a@b SIP/2.0\r\nno colon\r\n\r\n", ParseError::HeaderLine),
            ("BYE sip:a@b SIP/2.0\r\n: no name\r\n\r\n", ParseError::HeaderLine),
            ("BYE sip:a@b SIP/2.0\r\na: b\nc: d\r\n\r\n", ParseError::LineBreak),
            ("BYE sip:a@b SIP/2.0\r\na: b\rc\r\n\r\n", ParseError::LineBreak),
            ("\u{fe}\u{ff}", ParseError::HeadEnd),
        ] {
            assert_eq!(parse(text).map(|_| ()), Err(error), "{text:?}");
        }
        assert_eq!(parse("\r\n\r\nsIp/2.0 180\r\n\r\n").unwrap().status(), Some(180));
    }

    #[test]
    fn a_head_that_is_not_utf_8_is_repaired_byte_for_byte() {
        let m = Message::parse(Bytes::from_static(
            b"BYE sip:a@b SIP/2.0\r\nf: J\xf6rg <sip:j@h>;tag=1\r\n\r\n\xff",
        ))
        .unwrap();
        assert_eq!(m.header(Name::From), Some("J_rg <sip:j@h>;tag=1"));
        assert_eq!((m.from_tag().as_deref(), m.body().as_ref()), (Some("1"), b"\xff".as_slice()));
    }

    #[test]
    fn a_head_beyond_16_bits_is_refused() {
        let text = format!("{HEAD}X: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        assert_eq!(Message::parse(text.into()).map(|_| ()), Err(ParseError::TooLong { limit: MAX_HEAD }));
    }

    #[test]
    fn what_can_be_answered_is_salvaged() {
        let salvage = |text: &'static str| Message::salvage(Bytes::from_static(text.as_bytes()));
        let m = salvage("BYE  sip:a@b\r\nv: SIP/2.0/UDP h\r\nnonsense\r\nCSeq: 1 BYE\nl: 99\r\n").unwrap();
        assert_eq!((m.method(), m.header(Name::CSeq)), (Some(&Method::Bye), Some("1 BYE")));
        assert!(m.body().is_empty());
        assert!(
            salvage("ACK  sip:a@b\r\nv: SIP/2.0/UDP h\r\nCSeq: 1 ACK\r\n\r\n").is_none(),
            "an ACK is never answered"
        );
        assert!(salvage("SIP/2.0 9 x\r\nv: SIP/2.0/UDP h\r\nCSeq: 1 ACK\r\n\r\n").is_none());
        assert!(salvage("BYE  sip:a@b\r\nCSeq: 1 BYE\r\n\r\n").is_none());
    }
}
