//! What every message must carry.

use super::{Message, ParseError};
use crate::headers::Via;
use crate::name::Name;
use crate::uri::Scheme;

/// Header fields that stand at most once (RFC 3261 section 7.3.1 allows repetition only of lists).
const SINGLE: [Name<'static>; 8] = [
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::MaxForwards,
    Name::ContentType,
    Name::ContentLength,
    Name::Expires,
];

impl Message {
    /// Checks the header fields that every message carries, and the Request-URI of a request.
    ///
    /// Refused requests are answered with [`ParseError::status`] when [`Message::is_answerable`]; refused responses are
    /// dropped. Max-Forwards, the From tag and the branch cookie may be missing: elements of RFC 2543 send none.
    pub fn validate(&self) -> Result<(), ParseError> {
        // One pass finds repetitions; a message without any is the rule.
        let mut seen = [false; SINGLE.len()];
        for row in &self.rows {
            if let Some(at) = SINGLE.iter().position(|name| name.code() == row.code)
                && std::mem::replace(&mut seen[at], true)
            {
                return Err(ParseError::Repeated(SINGLE[at]));
            }
        }
        let via = self.top_via()?;
        let cseq = self.cseq()?;
        self.call_id()?;
        self.from()?;
        self.to()?;
        self.max_forwards()?;
        let Some(method) = self.method() else {
            // RFC 3261 section 8.1.3.3: "If more than one Via header field value is present in a response, the UAC
            // SHOULD discard the message." Nothing else is judged: a 486 with an odd Contact is still a 486.
            return match self.headers(Name::Via).nth(1) {
                Some(_) => Err(ParseError::Repeated(Name::Via)),
                None => Ok(()),
            };
        };
        // RFC 3261 section 8.1.1.5: "The method MUST match that of the request."
        if *method != cseq.method {
            return Err(ParseError::MethodMismatch);
        }
        // RFC 4475 section 3.2.1: a branch of the cookie alone names no transaction.
        if via.branch() == Some(Via::COOKIE) {
            return Err(ParseError::Malformed(Name::Via));
        }
        let uri = self.request_uri()?;
        match uri.scheme() {
            Scheme::Sip | Scheme::Sips | Scheme::Tel => {}
            Scheme::Other => return Err(ParseError::Scheme),
        }
        // RFC 3261 section 19.1.1, table 1: headers are "not allowed" in a Request-URI.
        if uri.headers().next().is_some() {
            return Err(ParseError::RequestUri);
        }
        self.contacts().try_for_each(|contact| contact.map(drop))
    }
}
