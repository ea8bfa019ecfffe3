//! From parts to bytes.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memchr3;

use super::{Message, reason_phrase};
use crate::headers::Rport;
use crate::name::Name;
use crate::{Method, Uri};

/// Writes one message straight into a buffer, which is cut off as [`Bytes`] at the end: with room reserved, nothing is
/// allocated.
///
/// No value can open a line of its own: CR, LF and NUL in it are written as spaces. Content-Length is always written, last.
#[derive(Debug)]
pub struct MessageBuilder<'b> {
    out: &'b mut BytesMut,
}

/// What [`MessageBuilder::reply`] answers with.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The status code.
    pub status: u16,
    /// The reason phrase; the usual one where it is empty.
    pub reason: &'a str,
    /// Our tag, added to To where the request has none; a 100 needs none.
    pub to_tag: Option<&'a str>,
    /// Where the request came from; written into its topmost Via as RFC 3261 section 18.2.1 and RFC 3581 ask.
    pub source: Option<SocketAddr>,
}

impl<'a> Reply<'a> {
    /// The usual phrase, no tag, no source.
    pub fn new(status: u16) -> Reply<'a> {
        Reply { status, reason: "", to_tag: None, source: None }
    }
}

impl<'b> MessageBuilder<'b> {
    /// Begins a request. What an abandoned builder left in the buffer is discarded.
    pub fn request(out: &'b mut BytesMut, method: &Method, uri: &Uri) -> MessageBuilder<'b> {
        out.clear();
        MessageBuilder { out }.text(format_args!("{method} {uri} SIP/2.0")).end_line()
    }

    /// Begins a response; an empty reason writes the usual one.
    pub fn response(out: &'b mut BytesMut, status: u16, reason: &str) -> MessageBuilder<'b> {
        out.clear();
        let reason = if reason.is_empty() { reason_phrase(status) } else { reason };
        MessageBuilder { out }.text(format_args!("SIP/2.0 {status} {reason}")).end_line()
    }

    /// Begins a response to `request` with what RFC 3261 section 8.2.6.2 copies: "The From field of the response MUST
    /// equal the From header field of the request", and so Call-ID, CSeq, Via in order, and To with our tag.
    pub fn reply(out: &'b mut BytesMut, request: &Message, reply: Reply<'_>) -> MessageBuilder<'b> {
        let mut builder = MessageBuilder::response(out, reply.status, reply.reason);
        let mut source = reply.source;
        for value in request.headers(Name::Via) {
            builder = match source.take() {
                Some(source) => builder.top_via(request, value, source),
                None => builder.name(Name::Via).plain(value).end_line(),
            };
        }
        builder = builder.copy(request, Name::From);
        if let Some(to) = request.header(Name::To) {
            builder = match reply.to_tag {
                Some(tag) if request.to_tag().is_none() => {
                    builder.name(Name::To).plain(to).plain(";tag=").plain(tag).end_line()
                }
                Some(_) | None => builder.name(Name::To).plain(to).end_line(),
            };
        }
        builder = builder.copy(request, Name::CallId).copy(request, Name::CSeq);
        // RFC 3261 section 8.2.6.1: "any Timestamp header field present in the request MUST be copied into this 100".
        if reply.status == 100 { builder.copy(request, Name::Timestamp) } else { builder }
    }

    /// The topmost Via with what the server saw.
    ///
    /// RFC 3261 section 18.2.1: "If the host portion of the 'sent-by' parameter contains a domain name, or if it
    /// contains an IP address that differs from the packet source address, the server MUST add a 'received' parameter".
    /// RFC 3581 section 4: when rport was asked for, both are filled in.
    fn top_via(mut self, request: &Message, value: &str, source: SocketAddr) -> MessageBuilder<'b> {
        let Ok(via) = request.top_via() else { return self.header(Name::Via, value) };
        let asked = via.rport().is_some();
        if !asked && via.host().ip() == Some(source.ip()) && via.received().is_none() {
            return self.header(Name::Via, value);
        }
        self = self.name(Name::Via);
        let params_at = value.find(';').unwrap_or(value.len());
        self = self.plain(value[..params_at].trim_end());
        for (name, param) in via.params().iter() {
            let (received, rport) =
                (name.eq_ignore_ascii_case("received"), name.eq_ignore_ascii_case("rport"));
            if received || rport {
                continue;
            }
            self = match param {
                Some(param) => self.plain(";").plain(name).plain("=").plain(param),
                None => self.plain(";").plain(name),
            };
        }
        self = self.text(format_args!(";received={}", source.ip()));
        match via.rport() {
            Some(Rport::Asked | Rport::Port(_)) => {
                self.text(format_args!(";rport={}", source.port())).end_line()
            }
            None => self.end_line(),
        }
    }

    /// Adds a header line.
    pub fn header(self, name: Name<'_>, value: impl fmt::Display) -> MessageBuilder<'b> {
        self.name(name).text(value).end_line()
    }

    /// Copies every line of this name from another message, in order.
    pub fn copy(mut self, from: &Message, name: Name<'_>) -> MessageBuilder<'b> {
        for value in from.rows_of(name) {
            self = self.name(name).plain(value).end_line();
        }
        self
    }

    /// Ends the message without a body.
    pub fn finish(self) -> Bytes {
        self.finish_lines(&[])
    }

    /// Ends the message with a body and its Content-Type.
    pub fn body(self, content_type: &str, body: &[u8]) -> Bytes {
        self.header(Name::ContentType, content_type).finish_lines(body)
    }

    fn finish_lines(self, body: &[u8]) -> Bytes {
        let builder = self.header(Name::ContentLength, body.len()).end_line();
        builder.out.put_slice(body);
        builder.out.split().freeze()
    }

    fn name(self, name: Name<'_>) -> MessageBuilder<'b> {
        self.plain(name.as_str()).plain(": ")
    }

    /// As [`Self::text`] for what is a string already, without the machinery of formatting.
    fn plain(self, text: &str) -> MessageBuilder<'b> {
        put_on_one_line(self.out, text);
        self
    }

    fn text(self, text: impl fmt::Display) -> MessageBuilder<'b> {
        // The writer below never fails.
        let _ = write!(OneLine(self.out), "{text}");
        self
    }

    fn end_line(self) -> MessageBuilder<'b> {
        self.out.put_slice(b"\r\n");
        self
    }
}

/// Keeps what is written on one line.
struct OneLine<'b>(&'b mut BytesMut);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        put_on_one_line(self.0, text);
        Ok(())
    }
}

fn put_on_one_line(out: &mut BytesMut, text: &str) {
    let mut rest = text.as_bytes();
    // Of the control characters only these part lines or end strings at careless readers.
    while let Some(at) = memchr3(b'\r', b'\n', 0, rest) {
        out.put_slice(&rest[..at]);
        out.put_u8(b' ');
        rest = &rest[at + 1..];
    }
    out.put_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &[u8] = b"INVITE sip:bob@biloxi.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP pc33.atlanta.com:5066;rport;branch=z9hG4bK776, SIP/2.0/TCP b.c;branch=z9hG4bK2\r\n\
        Via: SIP/2.0/UDP d;branch=z9hG4bK3\r\n\
        To: Bob <sip:bob@biloxi.com>\r\nFrom: Alice <sip:alice@atlanta.com>;tag=1928\r\n\
        Call-ID: a84b4c76e66710@pc33\r\nCSeq: 314159 INVITE\r\nTimestamp: 54\r\n\r\n";

    fn reply(reply: Reply<'_>) -> Message {
        let request = Message::parse(Bytes::from_static(INVITE)).unwrap();
        let mut out = BytesMut::new();
        Message::parse(MessageBuilder::reply(&mut out, &request, reply).finish()).unwrap()
    }

    #[test]
    fn a_reply_copies_what_it_must_and_marks_the_top_via() {
        let source = Some("192.0.2.7:40000".parse().unwrap());
        let r = reply(Reply { source, to_tag: Some("314"), ..Reply::new(180) });
        assert_eq!((r.status(), r.reason()), (Some(180), "Ringing"));
        assert_eq!(
            r.headers(Name::Via).collect::<Vec<_>>(),
            [
                "SIP/2.0/UDP pc33.atlanta.com:5066;branch=z9hG4bK776;received=192.0.2.7;rport=40000",
                "SIP/2.0/TCP b.c;branch=z9hG4bK2",
                "SIP/2.0/UDP d;branch=z9hG4bK3",
            ]
        );
        assert_eq!(r.header(Name::To), Some("Bob <sip:bob@biloxi.com>;tag=314"));
        assert_eq!(r.header(Name::From), Some("Alice <sip:alice@atlanta.com>;tag=1928"));
        assert_eq!((r.header(Name::CSeq), r.header(Name::Timestamp)), (Some("314159 INVITE"), None));
        assert_eq!(r.header(Name::ContentLength), Some("0"));
    }

    #[test]
    fn a_100_copies_timestamp_and_needs_no_tag() {
        let r = reply(Reply::new(100));
        assert_eq!((r.header(Name::Timestamp), r.to_tag()), (Some("54"), None));
    }

    #[test]
    fn no_value_opens_a_line() {
        let mut out = BytesMut::new();
        let bytes = MessageBuilder::response(&mut out, 200, "OK\r\nX-A: 1")
            .header(Name::Other("X-B"), "a\r\nX-C: \n2\0")
            .body("text/plain", b"\r\n\x00hi");
        assert_eq!(
            bytes,
            "SIP/2.0 200 OK  X-A: 1\r\nX-B: a  X-C:  2 \r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n\r\n\0hi"
        );
    }

    #[test]
    fn the_buffer_is_cut_and_used_again() {
        let mut out = BytesMut::with_capacity(1024);
        let first = MessageBuilder::response(&mut out, 200, "").finish();
        let second = MessageBuilder::response(&mut out, 404, "").finish();
        assert!(first.starts_with(b"SIP/2.0 200 OK\r\n") && second.starts_with(b"SIP/2.0 404 Not Found\r\n"));
    }
}
