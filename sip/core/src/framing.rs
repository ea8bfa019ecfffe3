//! Messages out of a byte stream (RFC 3261 section 18.3, keep-alives of RFC 5626 section 3.5.1).

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use crate::ParseError;
use crate::message::{MAX_HEAD, content_length};
use crate::name::Name;

/// Cuts a byte stream into messages. What it holds is bounded by the two limits, however the bytes arrive.
#[derive(Debug)]
pub struct Framer {
    limits: FramerLimits,
    buffer: BytesMut,
    state: State,
}

/// How much of one message is taken.
#[derive(Clone, Copy, Debug)]
pub struct FramerLimits {
    /// Start line and header fields, empty line included; at most [`MAX_HEAD`].
    pub head: usize,
    /// The body.
    pub body: usize,
}

impl Default for FramerLimits {
    /// The most a datagram could carry, for the head and for the body.
    fn default() -> FramerLimits {
        FramerLimits { head: MAX_HEAD, body: 65_535 }
    }
}

/// What the stream brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The bytes of one message, for [`crate::Message::parse`].
    Message(Bytes),
    /// A line break between messages: the pong that answers our ping, or the first half of a ping.
    Pong,
    /// The second line break in a row, which makes a ping: "the server … MUST respond with a single CRLF".
    Ping,
}

/// The stream cannot be read further: answer the message where that is possible, then close.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct FrameError {
    /// Why.
    pub error: ParseError,
    /// The head of the message, for [`crate::Message::salvage`]; cut off where it was too long.
    pub head: Bytes,
}

/// Where the stream stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Between messages, after this many line breaks.
    Between { breaks: Breaks },
    /// In a head whose first bytes hold no end.
    Head { scanned: usize },
    /// The whole message has this length.
    Body { total: usize },
    /// After an error: the place of the next message is unknown.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Breaks {
    Even,
    Odd,
}

impl Framer {
    /// A framer at the begin of a stream.
    pub fn new(limits: FramerLimits) -> Framer {
        let limits = FramerLimits { head: limits.head.min(MAX_HEAD), body: limits.body };
        Framer { limits, buffer: BytesMut::new(), state: State::Between { breaks: Breaks::Even } }
    }

    /// The buffer to read the socket into; drain [`Framer::next_frame`] after each read.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Appends bytes; drain [`Framer::next_frame`] afterwards.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, or `None` until more bytes come. After an error there is none.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            match self.state {
                State::Between { breaks } => match self.between(breaks) {
                    Between::Frame(frame) => return Ok(Some(frame)),
                    Between::Message => self.state = State::Head { scanned: 0 },
                    Between::Wait => return Ok(None),
                },
                State::Head { scanned } => {
                    if !self.head(scanned)? {
                        return Ok(None);
                    }
                }
                State::Body { total } => {
                    if self.buffer.len() < total {
                        return Ok(None);
                    }
                    self.state = State::Between { breaks: Breaks::Even };
                    return Ok(Some(Frame::Message(self.buffer.split_to(total).freeze())));
                }
                State::Broken => {
                    self.buffer.clear();
                    return Ok(None);
                }
            }
        }
    }

    fn between(&mut self, breaks: Breaks) -> Between {
        match (self.buffer.first(), self.buffer.get(1)) {
            (None, _) | (Some(b'\r'), None) => Between::Wait,
            (Some(b'\r'), Some(b'\n')) => {
                self.buffer.advance(2);
                let (breaks, frame) = match breaks {
                    Breaks::Even => (Breaks::Odd, Frame::Pong),
                    Breaks::Odd => (Breaks::Even, Frame::Ping),
                };
                self.state = State::Between { breaks };
                Between::Frame(frame)
            }
            (Some(_), _) => Between::Message,
        }
    }

    /// Looks for the end of the head; false until it is there.
    fn head(&mut self, scanned: usize) -> Result<bool, FrameError> {
        const END: &[u8] = b"\r\n\r\n";
        // The end may have begun in bytes that were looked at before.
        let from = scanned.saturating_sub(END.len() - 1);
        let window = &self.buffer[..self.buffer.len().min(self.limits.head)];
        let Some(at) = memmem::find(&window[from..], END) else {
            if self.buffer.len() >= self.limits.head {
                return Err(self.broken(ParseError::TooLong { limit: self.limits.head }, self.limits.head));
            }
            self.state = State::Head { scanned: self.buffer.len() };
            return Ok(false);
        };
        let head = from + at + END.len();
        // RFC 3261 section 18.3: "The Content-Length header field MUST be used with stream oriented transports."
        let length = match content_length(content_length_rows(&self.buffer[..head])) {
            Ok(Some(length)) if length <= self.limits.body => length,
            Ok(Some(declared)) => {
                return Err(self.broken(ParseError::BodyLong { declared, limit: self.limits.body }, head));
            }
            Ok(None) => return Err(self.broken(ParseError::NoContentLength, head)),
            Err(error) => return Err(self.broken(error, head)),
        };
        self.state = State::Body { total: head + length };
        Ok(true)
    }

    fn broken(&mut self, error: ParseError, head: usize) -> FrameError {
        self.state = State::Broken;
        let head = self.buffer.split_to(head.min(self.buffer.len())).freeze();
        self.buffer.clear();
        FrameError { error, head }
    }
}

enum Between {
    Frame(Frame),
    Message,
    Wait,
}

/// The values of Content-Length in a head that is otherwise unread.
fn content_length_rows(head: &[u8]) -> impl Iterator<Item = &str> {
    let mut lines = head.split(|b| *b == b'\n').peekable();
    std::iter::from_fn(move || {
        loop {
            let line = lines.next()?;
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, value) = (line[..colon].trim_ascii_end(), line[colon + 1..].trim_ascii());
            if !std::str::from_utf8(name).is_ok_and(|name| Name::parse(name) == Name::ContentLength) {
                continue;
            }
            // A folded value stands on the next line; a fold after the value leaves it as it is.
            let folded = lines.next_if(|next| matches!(next.first(), Some(b' ' | b'\t')));
            let value = match (value.is_empty(), folded) {
                (true, Some(folded)) => folded.trim_ascii(),
                (true, None) | (false, _) => value,
            };
            // What is no text is no number either.
            return Some(std::str::from_utf8(value).unwrap_or("?"));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FramerLimits = FramerLimits { head: 200, body: 20 };

    /// All frames of the input, fed in pieces of `step` bytes.
    fn frames(input: &[u8], step: usize) -> (Vec<Frame>, Option<ParseError>) {
        let mut framer = Framer::new(LIMITS);
        let mut frames = Vec::new();
        for piece in input.chunks(step) {
            framer.push(piece);
            loop {
                match framer.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(e) => return (frames, Some(e.error)),
                }
            }
        }
        (frames, None)
    }

    fn check(input: &str, expected: &[Frame], error: Option<ParseError>) {
        for step in [1, 2, 3, 7, input.len().max(1)] {
            assert_eq!(frames(input.as_bytes(), step), (expected.to_vec(), error), "step {step}: {input:?}");
        }
    }

    fn message(text: &'static str) -> Frame {
        Frame::Message(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn messages_bodies_and_keep_alives() {
        let (one, two) = ("A b SIP/2.0\r\nl: 3\r\n\r\nxyz", "B b SIP/2.0\r\nContent-Length : 0\r\n\r\n");
        check(&format!("{one}{two}"), &[message(one), message(two)], None);
        check(
            &format!("\r\n\r\n{one}\r\n{two}\r\n\r\n\r\n"),
            &[
                Frame::Pong,
                Frame::Ping,
                message(one),
                Frame::Pong,
                message(two),
                Frame::Pong,
                Frame::Ping,
                Frame::Pong,
            ],
            None,
        );
        let folded = "A b SIP/2.0\r\nContent-Length:\r\n\t2\r\n\r\nok";
        check(folded, &[message(folded)], None);
        check("A b SIP/2.0\r\nl: 5\r\n\r\nxyz", &[], None);
    }

    #[test]
    fn what_has_no_end_breaks_the_stream() {
        let with = |value: &str| format!("A b SIP/2.0\r\n{value}\r\n\r\n");
        check(&with("X: 1"), &[], Some(ParseError::NoContentLength));
        check(&with("l: -1"), &[], Some(ParseError::ContentLength));
        check(&with("l: 1\r\nContent-Length: 1"), &[], Some(ParseError::ContentLength));
        check(&with("l: 99999999999999999999999"), &[], Some(ParseError::ContentLength));
        check(&with("l: 21"), &[], Some(ParseError::BodyLong { declared: 21, limit: 20 }));
        check(&with(&"x".repeat(300)), &[], Some(ParseError::TooLong { limit: 200 }));
    }

    #[test]
    fn nothing_is_kept_after_an_error() {
        let mut framer = Framer::new(LIMITS);
        framer.push(b"A b SIP/2.0\r\n\r\nmore");
        let broken = framer.next_frame().unwrap_err();
        assert_eq!(broken.head, "A b SIP/2.0\r\n\r\n");
        framer.push(&[b'x'; 1000]);
        assert_eq!(framer.next_frame(), Ok(None));
        assert!(framer.buffer().is_empty());
    }
}
