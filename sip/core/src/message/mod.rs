//! Messages: what a request or response carries, read in place.

mod body;
mod build;
mod error;
mod parse;
mod reason;
mod validate;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

pub use build::{MessageBuilder, Reply};
pub use error::ParseError;
pub use parse::MAX_HEAD;
pub(crate) use parse::content_length;
pub use reason::reason_phrase;

use crate::grammar::{self, share, split_commas};
use crate::headers::{
    self, CSeq, Contact, Diversion, HistoryInfo, NameAddr, Privacy, RAck, Reason, ReferTo, Replaces,
    SessionExpires, SessionIdentifier, UserToUser, Via, Warning,
};
use crate::name::Name;
use crate::{Method, Uri};

/// A request or response over the one buffer it came in: parsing notes where each header field lies and copies nothing.
///
/// Header fields are reached by [`Name`] in any spelling. Folded lines read as one line. Bytes of the head that are not
/// UTF-8 read as `_`. Typed access checks the grammar of the one value; [`Message::validate`] checks what every message
/// must carry.
#[derive(Clone)]
pub struct Message {
    /// The message as it came, without what surrounds it.
    raw: Bytes,
    /// Start line and header lines, each with its CRLF; a part of `raw` unless lines had to be unfolded.
    head: ByteString,
    start: StartLine,
    rows: Vec<Row>,
    body: Bytes,
}

#[derive(Clone)]
enum StartLine {
    Request { method: Method, uri: Span },
    Response { status: u16, reason: Span },
}

/// A part of the head.
#[derive(Clone, Copy)]
struct Span {
    start: u16,
    end: u16,
}

/// One header line.
#[derive(Clone, Copy)]
struct Row {
    name: Span,
    value: Span,
    /// [`Name::code`]
    code: u8,
}

impl Message {
    fn text(&self, span: Span) -> &str {
        &self.head[usize::from(span.start)..usize::from(span.end)]
    }

    fn row_name(&self, row: Row) -> Name<'_> {
        Name::from_code(row.code, self.text(row.name))
    }

    /// Whether this is a request.
    pub fn is_request(&self) -> bool {
        match self.start {
            StartLine::Request { .. } => true,
            StartLine::Response { .. } => false,
        }
    }

    /// The method of a request; that of a response's request stands in [`Message::cseq`].
    pub fn method(&self) -> Option<&Method> {
        match &self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The Request-URI as written; empty in a response.
    pub fn request_uri_str(&self) -> &str {
        match self.start {
            StartLine::Request { uri, .. } => self.text(uri),
            StartLine::Response { .. } => "",
        }
    }

    /// The Request-URI.
    pub fn request_uri(&self) -> Result<Uri, ParseError> {
        Uri::parse(share(&self.head, self.request_uri_str())).map_err(|_| ParseError::RequestUri)
    }

    /// The status of a response, 100 to 699.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Request { .. } => None,
            StartLine::Response { status, .. } => Some(status),
        }
    }

    /// The reason phrase of a response, perhaps empty.
    pub fn reason(&self) -> &str {
        match self.start {
            StartLine::Request { .. } => "",
            StartLine::Response { reason, .. } => self.text(reason),
        }
    }

    /// Every header line in order, as written.
    pub fn rows(&self) -> impl Iterator<Item = (Name<'_>, &str)> {
        self.rows.iter().map(|row| (self.row_name(*row), self.text(row.value)))
    }

    /// The lines of one name, as written.
    pub fn rows_of<'m>(&'m self, name: Name<'m>) -> impl Iterator<Item = &'m str> + Clone {
        let code = name.code();
        let of_name = move |row: &&Row| {
            row.code == code
                && (code != Name::OTHER || self.text(row.name).eq_ignore_ascii_case(name.as_str()))
        };
        self.rows.iter().filter(of_name).map(|row| self.text(row.value))
    }

    /// The values of one name over all its lines. Lines are parted at commas where [`Name::is_list`] allows.
    pub fn headers<'m>(&'m self, name: Name<'m>) -> impl Iterator<Item = &'m str> + Clone {
        let is_list = name.is_list();
        self.rows_of(name).flat_map(move |row| {
            let (list, single) = if is_list { (row, None) } else { ("", Some(row)) };
            split_commas(list).chain(single)
        })
    }

    /// The first value of one name.
    pub fn header<'m>(&'m self, name: Name<'m>) -> Option<&'m str> {
        self.headers(name).next()
    }

    fn required(&self, name: Name<'static>) -> Result<&str, ParseError> {
        self.header(name).ok_or(ParseError::Missing(name))
    }

    fn typed<T>(
        &self,
        name: Name<'static>,
        read: impl FnOnce(ByteString) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        read(share(&self.head, self.required(name)?)).map_err(|_| ParseError::Malformed(name))
    }

    /// The topmost Via value.
    pub fn top_via(&self) -> Result<Via, ParseError> {
        self.typed(Name::Via, Via::parse)
    }

    /// Every Via value, topmost first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via, ParseError>> {
        self.headers(Name::Via)
            .map(|v| Via::parse(share(&self.head, v)).map_err(|_| ParseError::Malformed(Name::Via)))
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr, ParseError> {
        self.typed(Name::From, NameAddr::parse)
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr, ParseError> {
        self.typed(Name::To, NameAddr::parse)
    }

    /// The tag of From.
    pub fn from_tag(&self) -> Option<ByteString> {
        self.tag_of(Name::From)
    }

    /// The tag of To.
    pub fn to_tag(&self) -> Option<ByteString> {
        self.tag_of(Name::To)
    }

    fn tag_of(&self, name: Name<'static>) -> Option<ByteString> {
        // Nothing follows the address, as in the To of all that begins something: this is asked of every message.
        if self.header(name)?.ends_with('>') {
            return None;
        }
        let addr = self.typed(name, NameAddr::parse).ok()?;
        addr.tag().map(|tag| share(&self.head, tag))
    }

    /// CSeq.
    pub fn cseq(&self) -> Result<CSeq, ParseError> {
        self.typed(Name::CSeq, CSeq::parse)
    }

    /// Call-ID, compared byte by byte.
    pub fn call_id(&self) -> Result<ByteString, ParseError> {
        let text = self.required(Name::CallId)?;
        match text.is_empty() || text.contains(grammar::is_space) {
            true => Err(ParseError::Malformed(Name::CallId)),
            false => Ok(share(&self.head, text)),
        }
    }

    /// Every Contact value.
    pub fn contacts(&self) -> impl Iterator<Item = Result<Contact, ParseError>> {
        self.headers(Name::Contact)
            .map(|v| Contact::parse(share(&self.head, v)).map_err(|_| ParseError::Malformed(Name::Contact)))
    }

    /// The values of Route, Record-Route, Path, P-Asserted-Identity and other fields made of addresses.
    pub fn addresses(&self, name: Name<'static>) -> impl Iterator<Item = Result<NameAddr, ParseError>> {
        self.headers(name)
            .map(move |v| NameAddr::parse(share(&self.head, v)).map_err(|_| ParseError::Malformed(name)))
    }

    fn number<T>(
        &self,
        name: Name<'static>,
        read: impl FnOnce(&str) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        self.header(name).map(read).transpose().map_err(|_| ParseError::Malformed(name))
    }

    /// Max-Forwards.
    pub fn max_forwards(&self) -> Result<Option<u8>, ParseError> {
        self.number(Name::MaxForwards, headers::max_forwards)
    }

    /// Expires; more than 2^32-1 seconds read as that.
    pub fn expires(&self) -> Result<Option<Duration>, ParseError> {
        self.number(Name::Expires, headers::expires)
    }

    /// Min-Expires.
    pub fn min_expires(&self) -> Result<Option<Duration>, ParseError> {
        self.number(Name::MinExpires, headers::expires)
    }

    /// Retry-After, without its comment and parameters.
    pub fn retry_after(&self) -> Result<Option<Duration>, ParseError> {
        self.number(Name::RetryAfter, headers::retry_after)
    }

    /// RSeq: the number of a reliable provisional response (RFC 3262 section 7.1).
    pub(crate) fn rseq(&self) -> Result<Option<u32>, ParseError> {
        self.number(Name::RSeq, headers::rseq)
    }

    /// RAck: which reliable provisional response a PRACK is for.
    pub(crate) fn rack(&self) -> Result<Option<RAck>, ParseError> {
        self.number(Name::RAck, RAck::parse)
    }

    /// Every Reason that can be read (RFC 3326).
    pub fn reasons(&self) -> impl Iterator<Item = Reason> {
        self.headers(Name::Reason).filter_map(|value| Reason::parse(value).ok())
    }

    /// The cause of the first Reason value whose protocol is Q.850.
    pub fn q850_cause(&self) -> Option<u8> {
        self.reasons().find_map(|reason| reason.q850())
    }

    /// Every Warning that can be read.
    pub fn warnings(&self) -> impl Iterator<Item = Warning> {
        self.headers(Name::Warning).filter_map(|value| Warning::parse(value).ok())
    }

    /// The Contacts of a 3xx in the order to try them: by falling `q`, which is 1 where there is none, and as they stand
    /// where it is the same. Those that are no addresses are left out; lifetimes say nothing here.
    pub fn redirects(&self) -> Vec<NameAddr> {
        let mut contacts: Vec<_> =
            self.contacts().filter_map(|contact| contact.ok()?.addr().cloned()).collect();
        contacts.sort_by_key(|contact| {
            std::cmp::Reverse(contact.params().get("q").and_then(headers::qvalue).unwrap_or(1000))
        });
        contacts
    }

    /// What the caller wants hidden (RFC 3323).
    pub fn privacy(&self) -> Privacy {
        self.header(Name::Privacy).map_or_else(Privacy::default, Privacy::parse)
    }

    /// Who sent the call on (RFC 5806), the latest first.
    pub fn diversions(&self) -> impl Iterator<Item = Result<Diversion, ParseError>> {
        self.headers(Name::Diversion).map(|value| Diversion::parse(share(&self.head, value)))
    }

    /// The targets that the call was sent to (RFC 7044), the latest last.
    pub fn history(&self) -> impl Iterator<Item = Result<HistoryInfo, ParseError>> {
        self.headers(Name::HistoryInfo).map(|value| HistoryInfo::parse(share(&self.head, value)))
    }

    /// What the other end's application sends ours (RFC 7433).
    pub fn user_to_user(&self) -> impl Iterator<Item = Result<UserToUser, ParseError>> {
        self.headers(Name::UserToUser).map(UserToUser::parse)
    }

    /// Session-ID (RFC 7989).
    pub fn session_identifier(&self) -> Result<Option<SessionIdentifier>, ParseError> {
        self.header(Name::SessionId).map(SessionIdentifier::parse).transpose()
    }

    /// Session-Expires (RFC 4028).
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, ParseError> {
        self.header(Name::SessionExpires).map(SessionExpires::parse).transpose()
    }

    /// Min-SE (RFC 4028).
    pub fn min_se(&self) -> Result<Option<Duration>, ParseError> {
        self.number(Name::MinSe, headers::min_se)
    }

    /// The dialog to be replaced (RFC 3891).
    pub fn replaces(&self) -> Result<Option<Replaces>, ParseError> {
        let mut values = self.rows_of(Name::Replaces);
        let value = values.next().map(|value| Replaces::parse(share(&self.head, value))).transpose()?;
        match values.next() {
            // RFC 3891 section 3: "If more than one Replaces header field is present in an INVITE … the UAS MUST reject the
            // request with a 400 Bad Request response."
            Some(_) => Err(ParseError::Repeated(Name::Replaces)),
            None => Ok(value),
        }
    }

    /// Whom to call (RFC 3515).
    pub fn refer_to(&self) -> Result<Option<ReferTo>, ParseError> {
        self.header(Name::ReferTo).map(|value| ReferTo::parse(share(&self.head, value))).transpose()
    }

    /// The package of an Event header and its id (RFC 6665): `("refer", Some("93"))`.
    pub fn event(&self) -> Option<(&str, Option<&str>)> {
        self.header(Name::Event).and_then(headers::event)
    }

    /// Content-Type as written.
    pub fn content_type(&self) -> Option<&str> {
        self.header(Name::ContentType)
    }

    /// The body, perhaps empty.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The message as it came.
    pub fn as_bytes(&self) -> &Bytes {
        &self.raw
    }
}

impl PartialEq for Message {
    /// By the bytes as they came.
    fn eq(&self, other: &Message) -> bool {
        self.raw == other.raw
    }
}

impl Eq for Message {}

impl fmt::Debug for Message {
    /// The start line only: header fields hold credentials and phone numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.start {
            StartLine::Request { method, .. } => write!(f, "Message({method} …, {} bytes)", self.raw.len()),
            StartLine::Response { status, .. } => write!(f, "Message({status}, {} bytes)", self.raw.len()),
        }
    }
}
