//! Why a message is refused, and how that is answered.

use crate::name::Name;

/// Why bytes are no SIP message, or why a message or a part of it breaks the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Nothing but line breaks: a keep-alive.
    #[error("nothing but line breaks")]
    Empty,
    /// The start line and header fields together exceed [`crate::MAX_HEAD`], or a text exceeds what it is read into.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The most that is read.
        limit: usize,
    },
    /// The message ends before the empty line that ends the header fields.
    #[error("no empty line after the header fields")]
    HeadEnd,
    /// A line of the head ends otherwise than in CRLF.
    #[error("a carriage return or line feed stands alone")]
    LineBreak,
    /// Neither a request line nor a status line.
    #[error("the start line is malformed")]
    StartLine,
    /// A SIP version other than 2.0.
    #[error("the SIP version is not 2.0")]
    Version,
    /// A status code outside 100 to 699.
    #[error("the status code is not between 100 and 699")]
    Status,
    /// A header line without a name and a colon.
    #[error("a header line has no name")]
    HeaderLine,
    /// Content-Length is no number, or differs from itself.
    #[error("Content-Length is not one number")]
    ContentLength,
    /// A message on a stream without Content-Length; only a datagram has an end of its own.
    #[error("no Content-Length on a stream")]
    NoContentLength,
    /// The body is shorter than Content-Length says.
    #[error("{present} bytes of body where Content-Length says {declared}")]
    BodyShort {
        /// What Content-Length says.
        declared: usize,
        /// What came.
        present: usize,
    },
    /// The body is longer than this end takes.
    #[error("a body of {declared} bytes where at most {limit} are taken")]
    BodyLong {
        /// What Content-Length says.
        declared: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// A header field that every message must carry is absent.
    #[error("{0} is missing")]
    Missing(Name<'static>),
    /// A header field that may stand once stands again.
    #[error("{0} stands more than once")]
    Repeated(Name<'static>),
    /// The value of this header field breaks its grammar or its bounds.
    #[error("{0} is malformed")]
    Malformed(Name<'static>),
    /// The Request-URI breaks the grammar.
    #[error("the Request-URI is malformed")]
    RequestUri,
    /// The Request-URI has a scheme that is not served.
    #[error("the scheme of the Request-URI is not served")]
    Scheme,
    /// CSeq names another method than the request line.
    #[error("CSeq and the request line name different methods")]
    MethodMismatch,
    /// Not a method token.
    #[error("not a method")]
    Method,
    /// Not a URI.
    #[error("not a URI")]
    Uri,
    /// Not a host, or not a host and port.
    #[error("not a host")]
    Host,
    /// Not a name-addr or addr-spec.
    #[error("not an address")]
    NameAddr,
    /// Not a Via value.
    #[error("not a Via value")]
    Via,
    /// Not a CSeq value, or 2^31 and above.
    #[error("not a CSeq value")]
    CSeq,
    /// Not a list of parameters.
    #[error("not a list of parameters")]
    Params,
    /// Not a number in the range its field has.
    #[error("not a number in range")]
    Number,
    /// Not digest challenge or credentials, or of a kind that is not supported.
    #[error("not a digest challenge or digest credentials that are supported")]
    Digest,
}

impl ParseError {
    /// The status and reason phrase of the answer to a request refused for this. Never answer a response, nor an ACK.
    pub fn status(&self) -> (u16, &'static str) {
        match self {
            ParseError::Version => (505, "Version Not Supported"),
            ParseError::Scheme => (416, "Unsupported URI Scheme"),
            ParseError::TooLong { .. } | ParseError::BodyLong { .. } => (513, "Message Too Large"),
            // RFC 3261 section 21.4.1: "The Reason-Phrase SHOULD identify the syntax problem in more detail".
            ParseError::HeadEnd => (400, "Header Fields Not Terminated"),
            ParseError::StartLine | ParseError::Method | ParseError::Status => (400, "Malformed Start Line"),
            ParseError::LineBreak | ParseError::HeaderLine => (400, "Malformed Header Line"),
            ParseError::ContentLength
            | ParseError::NoContentLength
            | ParseError::BodyShort { .. }
            | ParseError::Malformed(Name::ContentLength) => (400, "Bad Content-Length"),
            ParseError::Missing(Name::From) => (400, "Missing From"),
            ParseError::Missing(Name::To) => (400, "Missing To"),
            ParseError::Missing(Name::CallId) => (400, "Missing Call-ID"),
            ParseError::Missing(Name::CSeq) => (400, "Missing CSeq"),
            ParseError::Missing(_) => (400, "Missing Header Field"),
            ParseError::Repeated(_) => (400, "Repeated Header Field"),
            ParseError::Malformed(Name::From) => (400, "Malformed From"),
            ParseError::Malformed(Name::To) => (400, "Malformed To"),
            ParseError::Malformed(Name::Via) => (400, "Malformed Via"),
            ParseError::Malformed(Name::CSeq) => (400, "Malformed CSeq"),
            ParseError::Malformed(Name::Contact) => (400, "Malformed Contact"),
            ParseError::Malformed(_) => (400, "Malformed Header Field"),
            ParseError::RequestUri => (400, "Malformed Request-URI"),
            ParseError::MethodMismatch => (400, "CSeq Method Mismatch"),
            ParseError::Empty
            | ParseError::Uri
            | ParseError::Host
            | ParseError::NameAddr
            | ParseError::Via
            | ParseError::CSeq
            | ParseError::Params
            | ParseError::Number
            | ParseError::Digest => (400, "Bad Request"),
        }
    }
}
