//! Requests from the network: which transaction, which call, or which refusal (RFC 3261 section 8.2).

use std::time::Instant;

use bytes::Bytes;

use super::{ALLOW, Answer, Endpoint, Event, RequestId};
use crate::dialog;
use crate::session::SessionId;
use crate::transaction::{Received, ServerId};
use crate::transport::Hop;
use crate::{Message, Method, Name, ParseError};

impl Endpoint {
    /// Bytes that the parser refused: a request is told what is wrong, without keeping anything.
    pub(super) fn receive_malformed(&mut self, hop: Hop, bytes: Bytes, error: ParseError) {
        if let Some(request) = Message::salvage(bytes) {
            self.refuse_malformed(hop, &request, error);
        }
    }

    fn refuse_malformed(&mut self, hop: Hop, request: &Message, error: ParseError) {
        if request.is_answerable() {
            let (status, reason) = error.status();
            self.layer.respond_statelessly(hop, request, &Answer { reason, ..Answer::new(status) });
        }
    }

    pub(super) fn receive_request(&mut self, now: Instant, hop: Hop, request: Message) {
        if let Err(error) = request.validate() {
            return self.refuse_malformed(hop, &request, error);
        }
        let session = self.sessions.of_request(&request);
        let known = session.is_some()
            || request.method() == Some(&Method::Cancel) && self.layer.cancelled_by(&request).is_some();
        match self.layer.receive_request(now, hop, &request, known) {
            Received::Absorbed => {}
            Received::Ack => self.sessions.receive_ack(&mut self.layer, now, &request),
            // `validate` has read every header field that names a transaction.
            Received::Malformed => {}
            // RFC 3261 section 8.2.2.2: "the UAS core SHOULD generate a 482 (Loop Detected) response".
            Received::Merged => self.layer.respond_statelessly(hop, &request, &Answer::new(482)),
            Received::Full => {
                let headers = [(Name::RetryAfter, "5")];
                let answer = Answer { headers: &headers, ..Answer::new(503) };
                self.layer.respond_statelessly(hop, &request, &answer);
            }
            Received::New(server) => self.serve(now, server, session, hop, request),
        }
    }

    /// A new request, in a transaction of its own.
    fn serve(
        &mut self,
        now: Instant,
        server: ServerId,
        session: Option<SessionId>,
        hop: Hop,
        request: Message,
    ) {
        let Some(method) = request.method() else { return };
        if *method == Method::Cancel {
            return self.serve_cancel(now, server, &request);
        }
        // RFC 3261 section 8.2.2.3: "If a UAS does not understand an option-tag listed in a Require header field, it
        // MUST respond by generating a response with status code 420 (Bad Extension)". We understand none.
        let required = request.headers(Name::Require).collect::<Vec<_>>().join(", ");
        if !required.is_empty() {
            let headers = [(Name::Unsupported, required.as_str())];
            return self.layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(420) });
        }
        // Max-Forwards 0 is for proxies to refuse. RFC 4475 section 3.3.11: "An endpoint should process the request as if
        // the Max-Forwards field value were still positive."
        if let Some(id) = session {
            return self.sessions.receive_request(&mut self.layer, now, id, server, hop, &request);
        }
        if request.to_tag().is_some() {
            return self.layer.respond(now, server, &Answer::new(481));
        }
        match method {
            Method::Invite => self.serve_invite(now, server, hop, request),
            Method::Options => self.layer.respond_options(now, server),
            Method::Register | Method::Message => {
                self.layer.event(Event::Request { id: RequestId(server.0), hop, request });
            }
            Method::Subscribe | Method::Notify | Method::Publish | Method::Refer => {
                self.layer.respond_stray(now, server, method, request.event());
            }
            // They belong in a dialog.
            Method::Ack | Method::Bye | Method::Cancel | Method::Prack | Method::Info | Method::Update => {
                self.layer.respond(now, server, &Answer::new(481));
            }
            Method::Extension(_) => {
                // RFC 3261 section 21.5.2: "501 (Not Implemented) … is the appropriate response when a UAS does not
                // recognize the request method".
                let headers = [(Name::Allow, ALLOW)];
                self.layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(501) });
            }
        }
    }

    fn serve_invite(&mut self, now: Instant, server: ServerId, hop: Hop, request: Message) {
        // RFC 3261 section 8.1.1.8: Contact "MUST be present and contain exactly one SIP or SIPS URI in any request that
        // can result in the establishment of a dialog"; without it, or with a broken route, no BYE finds back.
        let reason = match (dialog::contact(&request), dialog::routes(&request)) {
            (None, _) => "Missing Contact",
            (Some(_), None) => "Malformed Record-Route",
            (Some(_), Some(_)) => "",
        };
        if !reason.is_empty() {
            return self.layer.respond(now, server, &Answer { reason, ..Answer::new(400) });
        }
        if self.sessions.admit(&self.layer).is_err() {
            let headers = [(Name::RetryAfter, "5")];
            return self.layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(503) });
        }
        // At once: the user may take longer than the 200 ms of RFC 3261 section 17.2.1.
        self.layer.respond(now, server, &Answer::new(100));
        self.sessions.receive_invite(&mut self.layer, server, hop, request);
    }

    /// RFC 3261 section 9.2.
    fn serve_cancel(&mut self, now: Instant, server: ServerId, cancel: &Message) {
        match self.layer.cancelled_by(cancel) {
            None => self.layer.respond(now, server, &Answer::new(481)),
            Some((_, session)) => {
                // "the To tag of the response to the CANCEL and the To tag in the response to the original request
                // SHOULD be the same".
                let to_tag = session.and_then(|id| self.sessions.tag(id));
                self.layer.respond(now, server, &Answer { to_tag, ..Answer::new(200) });
                if let Some(id) = session {
                    self.sessions.receive_cancel(&mut self.layer, now, id, cancel);
                }
            }
        }
    }
}
