//! Requests from the network: which transaction, which call, or which refusal (RFC 3261 section 8.2).

use std::time::Instant;

use bytes::Bytes;

use super::answer::ACCEPT;
use super::{ALLOW, Answer, Endpoint, Event, RequestId};
use crate::capability::{self, Extension, Extensions};
use crate::dialog;
use crate::session::{Refresh, Reliable, SessionId};
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
        let unsupported = capability::unsupported(&request);
        // A registrar knows its own extensions (RFC 3327, RFC 5626).
        if !unsupported.is_empty() && *method != Method::Register {
            let headers = [(Name::Unsupported, unsupported.as_str())];
            return self.layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(420) });
        }
        let describes = match method {
            Method::Invite | Method::Update | Method::Prack => true,
            Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Options
            | Method::Register
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Info
            | Method::Refer
            | Method::Message
            | Method::Extension(_) => false,
        };
        if describes && request.has_unsupported_body() {
            let headers = [(Name::Accept, ACCEPT), (Name::AcceptEncoding, "identity")];
            return self.layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(415) });
        }
        // RFC 3891 section 3: "if a Replaces header field is present in a request other than INVITE, the UAS MUST reject the
        // request with a 400 Bad Request response."
        if *method != Method::Invite && request.header(Name::Replaces).is_some() {
            let answer = Answer { reason: "Replaces Outside INVITE", ..Answer::new(400) };
            return self.layer.respond(now, server, &answer);
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
        let tag = Extension::Reliable.tag();
        let requires = Extensions::named(&request, Name::Require).has(Extension::Reliable);
        let supports = requires || Extensions::named(&request, Name::Supported).has(Extension::Reliable);
        match self.layer.config.reliable {
            Reliable::Off if requires => {
                let headers = [(Name::Unsupported, tag)];
                return self.layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(420) });
            }
            Reliable::Required if !supports => {
                let headers = [(Name::Require, tag)];
                return self.layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(421) });
            }
            Reliable::Off | Reliable::Supported | Reliable::Required => {}
        }
        let timer = Extension::Timer;
        if self.layer.config.session_refresh.is_none()
            && Extensions::named(&request, Name::Require).has(timer)
        {
            let headers = [(Name::Unsupported, timer.tag())];
            return self.layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(420) });
        }
        let replaces = match self.sessions.replaced_by(&request) {
            Ok(replaces) => replaces,
            Err((status, reason)) => {
                return self.layer.respond(now, server, &Answer { reason, ..Answer::new(status) });
            }
        };
        if let Some(min) = Refresh::new(self.layer.config.session_refresh).too_small(&request) {
            let min = min.as_secs().to_string();
            let headers = [(Name::MinSe, min.as_str())];
            return self.layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(422) });
        }
        if self.sessions.admit(&self.layer).is_err() {
            let headers = [(Name::RetryAfter, "5")];
            return self.layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(503) });
        }
        self.sessions.receive_invite(&mut self.layer, now, server, hop, request, replaces);
        // At once: the user may take longer than the 200 ms of RFC 3261 section 17.2.1. After the event: who dismisses the
        // call has it told nothing else.
        self.layer.respond(now, server, &Answer::new(100));
    }

    /// RFC 3261 section 9.2.
    fn serve_cancel(&mut self, now: Instant, server: ServerId, cancel: &Message) {
        match self.layer.cancelled_by(cancel) {
            None => self.layer.respond(now, server, &Answer::new(481)),
            Some((invite, session)) => {
                // "the To tag of the response to the CANCEL and the To tag in the response to the original request
                // SHOULD be the same".
                let to_tag = session.and_then(|id| self.sessions.tag(id));
                self.layer.respond(now, server, &Answer { to_tag, ..Answer::new(200) });
                if let Some(id) = session {
                    self.sessions.receive_cancel(&mut self.layer, now, id, invite, cancel);
                }
            }
        }
    }
}
