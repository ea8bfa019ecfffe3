//! The session description in a body, alone or among other parts (RFC 2046 section 5.1, RFC 5621).

use bytes::Bytes;
use memchr::memmem;

use super::Message;
use crate::grammar::{split_outside, trim, unquote};
use crate::name::Name;
use crate::params::Params;

/// How deep multiparts within multiparts are read.
const MAX_DEPTH: u8 = 3;

/// Parts of one multipart that are read; further ones are passed over.
const MAX_PARTS: usize = 16;

/// What a body or a part of one is to us.
enum Found {
    Description(Bytes),
    /// Nothing of ours, and nobody minds.
    Nothing,
    /// Nothing of ours, and the sender insists.
    Unsupported,
}

impl Message {
    /// The session description (`application/sdp`), also out of a multipart body; `None` when there is none.
    pub fn sdp(&self) -> Option<Bytes> {
        match self.find_description() {
            Found::Description(sdp) => Some(sdp),
            Found::Nothing | Found::Unsupported => None,
        }
    }

    /// Whether the body of this request must be refused with a 415: RFC 3261 section 8.2.3: "If there are any bodies whose
    /// type … language … or encoding … are not understood, and that body part is not optional (as indicated by the
    /// Content-Disposition header field), the UAS MUST reject the request with a 415 (Unsupported Media Type)".
    pub(crate) fn has_unsupported_body(&self) -> bool {
        match self.find_description() {
            Found::Unsupported => true,
            Found::Description(_) | Found::Nothing => false,
        }
    }

    /// Whether the body is of one of these media types, plain. `None`: it is not, and nobody minds.
    pub(crate) fn is_of_type(&self, types: &[String]) -> Option<bool> {
        let value = self.content_type().unwrap_or_default();
        let media_type = trim(value.split(';').next().unwrap_or_default());
        let is_known = types.iter().any(|known| known.eq_ignore_ascii_case(media_type));
        match is_known && !self.is_encoded() {
            true => Some(true),
            false if is_optional(self.header(Name::ContentDisposition)) => None,
            false => Some(false),
        }
    }

    fn is_encoded(&self) -> bool {
        !self.headers(Name::ContentEncoding).all(|encoding| encoding.eq_ignore_ascii_case("identity"))
    }

    fn find_description(&self) -> Found {
        if self.body.is_empty() {
            return Found::Nothing;
        }
        // A body without a type is what calls are about; RFC 2543 elements send it.
        let content_type = self.content_type().unwrap_or("application/sdp");
        find(content_type, self.header(Name::ContentDisposition), self.is_encoded(), &self.body, MAX_DEPTH)
    }
}

fn find(content_type: &str, disposition: Option<&str>, encoded: bool, body: &Bytes, depth: u8) -> Found {
    let (media_type, params) = content_type.split_at(content_type.find(';').unwrap_or(content_type.len()));
    let media_type = trim(media_type);
    if !encoded && media_type.eq_ignore_ascii_case("application/sdp") {
        return Found::Description(body.clone());
    }
    let is_multipart = media_type.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
    if is_multipart && !encoded && depth > 0 {
        let params = Params::parse(params.into()).unwrap_or_default();
        let Some(boundary) = params.get("boundary").map(unquote) else { return Found::Unsupported };
        let mut found = Found::Nothing;
        let mut unsupported = false;
        for part in parts(body, &boundary).take(MAX_PARTS) {
            match find_in_part(&part, depth - 1) {
                Found::Description(sdp) => {
                    if let Found::Nothing = found {
                        found = Found::Description(sdp);
                    }
                }
                Found::Nothing => {}
                Found::Unsupported => unsupported = true,
            }
        }
        // RFC 2046 section 5.1.4: the parts of an alternative stand for the same thing, and one of them will do.
        let is_alternative = media_type.eq_ignore_ascii_case("multipart/alternative");
        return match found {
            Found::Description(sdp) if is_alternative || !unsupported => Found::Description(sdp),
            Found::Nothing if !unsupported => Found::Nothing,
            Found::Description(_) | Found::Nothing | Found::Unsupported => Found::Unsupported,
        };
    }
    if is_optional(disposition) { Found::Nothing } else { Found::Unsupported }
}

/// RFC 3261 section 20.11: "If the handling parameter is missing, the value "required" SHOULD be assumed."
fn is_optional(disposition: Option<&str>) -> bool {
    let mut params = disposition.into_iter().flat_map(|value| split_outside(value, b';').skip(1));
    params.any(|param| {
        let (name, value) = param.split_once('=').unwrap_or((param, ""));
        trim(name).eq_ignore_ascii_case("handling") && unquote(trim(value)).eq_ignore_ascii_case("optional")
    })
}

/// One part: header lines, an empty line, the body. RFC 2046 section 5.1: a part without header lines is plain text.
fn find_in_part(part: &Bytes, depth: u8) -> Found {
    let (head, body) = if part.starts_with(b"\r\n") {
        (&[][..], part.slice(2..))
    } else {
        match memmem::find(part, b"\r\n\r\n") {
            Some(at) => (&part[..at], part.slice(at + 4..)),
            None => (&part[..], Bytes::new()),
        }
    };
    let head = String::from_utf8_lossy(head);
    let (mut content_type, mut disposition, mut encoded) = ("text/plain", None, false);
    for line in head.split("\r\n") {
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (Name::parse(trim(name)), trim(value));
        if name == Name::ContentType {
            content_type = value;
        } else if name == Name::ContentDisposition {
            disposition = Some(value);
        } else if name == Name::ContentEncoding {
            encoded |= !value.eq_ignore_ascii_case("identity");
        } else if name == Name::Other("Content-Transfer-Encoding") {
            // The transfer encodings that change nothing.
            encoded |= !["7bit", "8bit", "binary"].iter().any(|plain| plain.eq_ignore_ascii_case(value));
        }
    }
    find(content_type, disposition, encoded, &body, depth)
}

/// The parts between the lines of the boundary; what stands before the first and after the last is no part.
fn parts<'b>(body: &'b Bytes, boundary: &str) -> impl Iterator<Item = Bytes> + 'b {
    let delimiter = format!("--{boundary}").into_bytes();
    let mut at = start_of_line(body, 0, &delimiter);
    std::iter::from_fn(move || {
        let after = at? + delimiter.len();
        if body[after..].starts_with(b"--") {
            return None;
        }
        // "transport padding" may follow the boundary on its line.
        let start = after + memmem::find(&body[after..], b"\r\n")? + 2;
        at = start_of_line(body, start, &delimiter);
        // The line break before a boundary belongs to the boundary. Without a closing one the rest is taken as it is.
        let end = at.map_or(body.len(), |next| next.saturating_sub(2)).max(start);
        Some(body.slice(start..end))
    })
}

/// Where the delimiter stands next at the start of a line.
fn start_of_line(body: &[u8], from: usize, delimiter: &[u8]) -> Option<usize> {
    let mut from = from;
    loop {
        let at = from + memmem::find(&body[from..], delimiter)?;
        if at == 0 || body[..at].ends_with(b"\r\n") {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(head: &str, body: &str) -> Message {
        let text = format!("INVITE sip:a@b SIP/2.0\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len());
        Message::parse(text.into()).unwrap()
    }

    fn mixed(parts: &[&str]) -> Message {
        let mut body = String::from("preamble, to be ignored\r\n");
        for part in parts {
            body += &format!("--a b--c\r\n{part}\r\n");
        }
        message("Content-Type: multipart/mixed; boundary=\"a b--c\"\r\n", &(body + "--a b--c--\r\nepilogue"))
    }

    const SDP: &str = "Content-Type: application/sdp\r\n\r\nv=0\r\no=-\r\n";

    #[test]
    fn a_description_alone_in_any_case_and_with_parameters() {
        for head in ["Content-Type: Application/SDP;x=1\r\n", "c: application/sdp\r\n", ""] {
            let message = message(head, "v=0\r\n");
            assert_eq!(message.sdp().as_deref(), Some(&b"v=0\r\n"[..]), "{head}");
            assert!(!message.has_unsupported_body());
        }
        assert_eq!(message("Content-Type: application/sdp\r\n", "").sdp(), None);
    }

    #[test]
    fn among_other_parts_it_is_found_byte_by_byte() {
        let isup = "Content-Type: application/ISUP;version=itu-t92+\r\n\
            Content-Disposition: signal; handling=optional\r\n\r\n\u{1}\u{0}--a b--c inside a line";
        let message = mixed(&[isup, SDP, "\r\nno header lines here"]);
        // The last part is text that nobody said is optional.
        assert!(message.has_unsupported_body());
        let message = mixed(&[isup, SDP]);
        assert_eq!(message.sdp().as_deref(), Some(&b"v=0\r\no=-\r\n"[..]));
        assert!(!message.has_unsupported_body());
        let required = isup.replace("optional", "required");
        assert!(mixed(&[&required, SDP]).has_unsupported_body());
        assert!(!mixed(&[isup]).has_unsupported_body());
        assert_eq!(mixed(&[isup]).sdp(), None);
    }

    #[test]
    fn of_alternatives_one_will_do_and_multiparts_nest() {
        let inner = "Content-Type: multipart/alternative;boundary=in\r\n\r\n\
            --in\r\nContent-Type: application/new\r\n\r\nx\r\n--in\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--in--";
        assert_eq!(mixed(&[inner]).sdp().as_deref(), Some(&b"v=0"[..]));
    }

    #[test]
    fn unknown_types_and_encodings_are_unsupported_unless_optional() {
        assert!(message("Content-Type: application/json\r\n", "{}").has_unsupported_body());
        let optional = "Content-Type: application/json\r\nContent-Disposition: x;handling=\"OPTIONAL\"\r\n";
        assert!(!message(optional, "{}").has_unsupported_body());
        let zipped = "Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n";
        assert!(message(zipped, "v=0").has_unsupported_body());
        assert_eq!(message(zipped, "v=0").sdp(), None);
    }

    #[test]
    fn rubbish_is_survived() {
        for body in [
            "",
            "--b",
            "--b\r\n",
            "--b\r\n--b\r\n--b--",
            "--b--",
            "--b\r\nContent-Type: application/sdp",
            "-",
        ] {
            let message = message("Content-Type: multipart/mixed;boundary=b\r\n", body);
            assert_eq!(message.sdp().filter(|sdp| !sdp.is_empty()), None, "{body}");
        }
        let deep = (0..9).fold(SDP.to_owned(), |inner, n| {
            format!("Content-Type: multipart/mixed;boundary=b{n}\r\n\r\n--b{n}\r\n{inner}\r\n--b{n}--")
        });
        assert!(mixed(&[&deep]).has_unsupported_body());
        assert!(message("Content-Type: multipart/mixed\r\n", "--b\r\n").has_unsupported_body());
    }
}
