//! Responses, from what differs between them.

use std::time::Instant;

use bytes::BytesMut;
use bytestring::ByteString;

use crate::session::{Body, Refresh};
use crate::transaction::{ServerId, TransactionLayer, compose};
use crate::transport::Hop;
use crate::{Message, MessageBuilder, Method, Name, Reply, SessionIdentifier};

/// The methods we serve in a call.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE, REFER, NOTIFY";

/// The bodies we understand.
pub(crate) const ACCEPT: &str = "application/sdp, multipart/mixed";

/// A response to be.
#[derive(Debug, Clone)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// The usual phrase where it is empty.
    pub(crate) reason: &'a str,
    /// The tag for To, where the request has none; a new one when `None`.
    pub(crate) to_tag: Option<u64>,
    /// With one, the response makes or refreshes a dialog.
    pub(crate) contact: Option<ByteString>,
    pub(crate) headers: &'a [(Name<'a>, &'a str)],
    pub(crate) body: Option<&'a Body>,
}

impl Answer<'_> {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, reason: "", to_tag: None, contact: None, headers: &[], body: None }
    }

    fn write(
        &self,
        request: &Message,
        hop: Hop,
        tag: u64,
        identifier: Option<SessionIdentifier>,
        server: &str,
    ) -> bytes::Bytes {
        let tag = format!("{tag:016x}");
        let reply = Reply {
            status: self.status,
            reason: self.reason,
            to_tag: (self.status > 100).then_some(tag.as_str()),
            source: Some(hop.remote),
        };
        let mut out: BytesMut = compose::buffer(self.body.map_or(0, |body| body.bytes.len()));
        let mut builder = MessageBuilder::reply(&mut out, request, reply);
        if let Some(contact) = &self.contact {
            // RFC 3261 section 12.1.1: "The UAS MUST copy all Record-Route header field values from the request into
            // the response" that makes a dialog, which is the one with a Contact.
            builder = builder.copy(request, Name::RecordRoute).header(Name::Contact, contact);
        }
        if let Some(identifier) = identifier {
            builder = builder.header(Name::SessionId, identifier);
        }
        for (name, value) in self.headers {
            builder = builder.header(*name, value);
        }
        builder = builder.header(Name::Server, server);
        match self.body {
            Some(body) => builder.body(&body.content_type, &body.bytes),
            None => builder.finish(),
        }
    }
}

impl TransactionLayer {
    /// Answers the request of a transaction; nothing happens when it has a final response.
    pub(crate) fn respond(&mut self, now: Instant, server: ServerId, answer: &Answer<'_>) {
        let tag = match answer.to_tag {
            Some(tag) => tag,
            None => self.tag(),
        };
        let Some((hop, request)) = self.request(server) else { return };
        let identifier = self.identifier(server);
        let response = answer.write(request, hop, tag, identifier, &self.config.user_agent);
        self.send_response(now, server, answer.status, response);
    }

    /// What we can do (RFC 3261 section 11.2).
    pub(crate) fn respond_options(&mut self, now: Instant, server: ServerId) {
        let supported = Refresh::new(self.config.session_refresh).extensions().value();
        let headers = [(Name::Allow, ALLOW), (Name::Accept, ACCEPT), (Name::Supported, supported.as_str())];
        self.respond(now, server, &Answer { headers: &headers, ..Answer::new(200) });
    }

    /// Refuses a request about events that belongs to no dialog. The one package that we serve begins with a REFER in a
    /// call.
    pub(crate) fn respond_stray(
        &mut self,
        now: Instant,
        server: ServerId,
        method: &Method,
        event: Option<(&str, Option<&str>)>,
    ) {
        let (allow, allow_events) = ([(Name::Allow, ALLOW)], [(Name::AllowEvents, "refer")]);
        let is_ours = event.is_some_and(|(package, _)| package == "refer");
        let answer = if *method == Method::Publish {
            Answer { headers: &allow, ..Answer::new(405) }
        } else if *method == Method::Refer {
            Answer { reason: "REFER Outside A Call", ..Answer::new(403) }
        } else if !is_ours {
            // RFC 6665 section 8.3.2: 489 "is used to indicate that the server did not understand the event package specified
            // in an "Event" header field".
            Answer { headers: &allow_events, ..Answer::new(489) }
        } else if *method == Method::Notify {
            Answer::new(481)
        } else {
            // RFC 3515 section 2.4.4 lets a subscription to this package begin with a REFER only.
            Answer::new(403)
        };
        self.respond(now, server, &answer);
    }

    /// Answers without keeping anything (RFC 3261 section 8.2.7). The tag is the same for all, so that it is the same
    /// for retransmissions.
    pub(crate) fn respond_statelessly(&mut self, hop: Hop, request: &Message, answer: &Answer<'_>) {
        // RFC 4475 section 3.1.2.1 asks for a 400 although the Via cannot be read; where it came from is all there is then.
        let reply_to = request.top_via().map_or(hop.remote, |via| compose::reply_address(hop, &via));
        let response = answer.write(request, hop, self.stateless_tag, None, &self.config.user_agent);
        self.transmit(compose::reply(hop, reply_to, response));
    }
}
