//! Reading `text/event-stream` (HTML Living Standard, §9.2.6), which comes in pieces of any size.

/// Largest message: an event is a few KiB, a whole call with its variables at most 2 MiB.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// One message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// The stream is not one of events, or a message is too large.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken;

#[derive(Debug, Default)]
pub(crate) struct Parser {
    bytes: Vec<u8>,
    /// How much of `bytes` has been read.
    read: usize,
    /// Up to where no line ends.
    searched: usize,
    message: Message,
}

impl Parser {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.searched -= self.read;
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, Broken> {
        loop {
            let Some(end) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.bytes.len();
                let size = self.bytes.len() - self.read + self.message.data.len();
                return if size > MAX_MESSAGE { Err(Broken) } else { Ok(None) };
            };
            let line = &self.bytes[self.read..self.searched + end];
            let line = std::str::from_utf8(line).map_err(|_| Broken)?.trim_end_matches('\r');
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.message.id = Some(value.to_owned()),
                "data" => {
                    if !self.message.data.is_empty() {
                        self.message.data.push('\n');
                    }
                    self.message.data.push_str(value);
                }
                // Comments, `event` (it is in the data), `retry` (we have our own) and fields yet unknown.
                _ => {}
            }
            let blank = line.is_empty();
            self.searched += end + 1;
            self.read = self.searched;
            if blank && self.message != Message::default() {
                return Ok(Some(std::mem::take(&mut self.message)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: Option<&str>, data: &str) -> Message {
        Message { id: id.map(str::to_owned), data: data.to_owned() }
    }

    fn all(parser: &mut Parser) -> Vec<Message> {
        std::iter::from_fn(|| parser.next().unwrap()).collect()
    }

    const STREAM: &str =
        ":\n\nid: 7\nevent: call.ended\ndata: {\"a\":1}\n\nid:8\r\ndata:x\r\ndata: y\r\n\r\n: hm\nid: 9\n\n";

    fn expected() -> Vec<Message> {
        vec![message(Some("7"), "{\"a\":1}"), message(Some("8"), "x\ny"), message(Some("9"), "")]
    }

    #[test]
    fn messages_in_pieces_of_any_size() {
        for size in 1..=STREAM.len() {
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for piece in STREAM.as_bytes().chunks(size) {
                parser.push(piece);
                found.extend(all(&mut parser));
            }
            assert_eq!(found, expected(), "pieces of {size}");
        }
    }

    #[test]
    fn a_message_without_end_is_refused() {
        let mut parser = Parser::default();
        parser.push(b"data: ");
        let piece = vec![b'x'; 64 * 1024];
        let broken = (0..100).any(|_| {
            parser.push(&piece);
            parser.next() == Err(Broken)
        });
        assert!(broken);
    }

    #[test]
    fn what_is_not_text_is_refused() {
        let mut parser = Parser::default();
        parser.push(b"data: \xff\n\n");
        assert_eq!(parser.next(), Err(Broken));
    }
}
