//! Requests in dialogs, ours and the peer's: ACK, BYE, and what else may come.

use std::time::Instant;

use bytestring::ByteString;
use smallvec::SmallVec;

use super::*;
use crate::Name;
use crate::dialog::{NextHop, Waiting};
use crate::endpoint::{ALLOW, Answer};
use crate::transaction::{Asker, Located};
use crate::transport::Destination;

/// Requests of ours.
impl Session {
    /// Looks for the next hop of a dialog that has only the way its first message took.
    pub(super) fn find_next_hop(&mut self, layer: &mut TransactionLayer, at: usize) {
        let Some(dialog) = self.dialogs.get_mut(at) else { return };
        let NextHop::Known(fallback) = &dialog.next_hop else { return };
        let Some((host, port, transport, secure)) = dialog.next_hop_uri() else { return };
        if fallback.is_only_way_to(&host, transport) {
            return;
        }
        let fallback = fallback.clone();
        // RFC 3263 section 4.1 would have a numeric host without a transport parameter reached by UDP; a peer that is
        // called over TCP and leaves the parameter out means TCP.
        let transport = transport.unwrap_or(fallback.transport);
        let asker = Asker::Dialog(self.id, at);
        dialog.next_hop = match layer.locate(asker, &host, port, Some(transport), secure) {
            Located::At(destination) => NextHop::Known(path_to(layer, destination, None, fallback)),
            Located::Asked(_) => {
                let name = host.to_string().into();
                NextHop::Asked { name, fallback, waiting: SmallVec::new() }
            }
        };
    }

    pub(super) fn dialog_resolved(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: usize,
        result: Result<Destinations, ResolveError>,
    ) {
        let Some(dialog) = self.dialogs.get_mut(at) else { return };
        let NextHop::Asked { name, fallback, waiting } = &mut dialog.next_hop else { return };
        let (name, fallback, waiting) = (name.clone(), fallback.clone(), std::mem::take(waiting));
        // A name that cannot be looked up must not leave a call without ACK or BYE: the way the 2xx came will do.
        let path = match result.ok().and_then(|found| layer.in_order(now, found.list).pop_front()) {
            Some(destination) => path_to(layer, destination, Some(name), fallback),
            None => fallback,
        };
        dialog.next_hop = NextHop::Known(path);
        for request in waiting {
            self.send_in_dialog(layer, now, at, request);
        }
    }

    pub(super) fn send_bye(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: usize,
        reason: Option<ByteString>,
    ) {
        self.auth.begin();
        self.send_in_dialog(layer, now, at, Waiting::Bye { reason });
    }

    /// Sends a request in a dialog, as soon as its next hop is known.
    pub(super) fn send_in_dialog(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: usize,
        request: Waiting,
    ) {
        let Some(dialog) = self.dialogs.get_mut(at) else { return };
        let path = match &mut dialog.next_hop {
            NextHop::Known(path) => path.clone(),
            NextHop::Asked { waiting, .. } => return waiting.push(request),
        };
        let branch = layer.branch();
        match request {
            Waiting::Ack { cseq, authorization } => {
                let ack = path.transmit(dialog.request(&Method::Ack, cseq, &path, branch, authorization));
                dialog.ack = Some(ack.clone());
                layer.transmit(ack);
            }
            Waiting::Bye { reason } => {
                let mut headers = self.auth.lines(&Method::Bye, dialog.request_uri().as_str(), b"");
                headers.push((Name::UserAgent, layer.config.user_agent.as_str().into()));
                headers.extend(reason.map(|reason| (Name::Reason, reason)));
                let cseq = dialog.next_cseq();
                let bye = dialog.request(&Method::Bye, cseq, &path, branch, headers);
                layer.send_request(now, branch, Method::Bye, path, bye, User::Bye(self.id, at));
                self.transactions += 1;
            }
        }
    }

    /// The session is over whatever the peer says to the BYE, but a challenge wants it again.
    pub(super) fn bye_response(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: usize,
        response: &Message,
    ) {
        if self.auth.accept_challenge(response, layer.random()) {
            self.send_in_dialog(layer, now, at, Waiting::Bye { reason: None });
        }
    }
}

/// Requests of the peer's.
impl Session {
    pub(super) fn receive_request(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        hop: Hop,
        request: &Message,
    ) {
        let Some(method) = request.method() else { return };
        if *method == Method::Bye && self.receive_early_bye(layer, now, request) {
            return layer.respond(now, server, &Answer::new(200));
        }
        let from_tag = request.from_tag();
        let dialog = self.dialogs.iter_mut().position(|dialog| dialog.remote_tag() == from_tag.as_deref());
        let Some(at) = dialog else {
            return self.receive_early_request(layer, now, server, hop, request);
        };
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        if !self.dialogs[at].accept_cseq(number) {
            return layer.respond(now, server, &Answer::new(500));
        }
        let allow = [(Name::Allow, ALLOW)];
        match method {
            Method::Bye => {
                layer.respond(now, server, &Answer::new(200));
                // A fork that lost is being taken down anyway.
                if at == 0 {
                    self.receive_bye(layer, request);
                }
            }
            _ if self.is_over() => layer.respond(now, server, &Answer::new(481)),
            Method::Options => layer.respond_options(now, server),
            Method::Info => layer.respond(now, server, &Answer::new(200)),
            Method::Update if request.body().is_empty() => {
                if self.dialogs[at].refresh_target(request) {
                    self.find_next_hop(layer, at);
                }
                accept_update(layer, now, server, hop);
            }
            // A changed session description; RFC 3261 section 14.2: "If the new session description is not acceptable,
            // the UAS can reject it by returning a 488", and the session stays as it is.
            Method::Invite | Method::Update => layer.respond(now, server, &Answer::new(488)),
            Method::Extension(_) => {
                layer.respond(now, server, &Answer { headers: &allow, ..Answer::new(501) });
            }
            Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Prack
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Refer
            | Method::Message => {
                layer.respond(now, server, &Answer { headers: &allow, ..Answer::new(405) });
            }
        }
    }

    /// A request that matches no confirmed dialog. While the call is not answered it belongs to an early one, of which
    /// carriers make use: a 481 would end the call (RFC 5057 section 5.1).
    fn receive_early_request(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        hop: Hop,
        request: &Message,
    ) {
        let retry_after = [(Name::RetryAfter, "5")];
        let refusal = match &self.state {
            // RFC 3311 section 5.2: with an offer of ours unanswered "the UAS MUST reject the UPDATE with a 491",
            State::Inviting(_) => Answer::new(491),
            // and with one of the peer's "with a 500 response", and "MUST include a Retry-After header field".
            State::Invited(_) => Answer { headers: &retry_after, ..Answer::new(500) },
            // RFC 3261 section 12.2.2: "If the request … does not match any existing dialogs … 481".
            State::Answered(_) | State::Established | State::Over => {
                return layer.respond(now, server, &Answer::new(481));
            }
        };
        match request.method() {
            Some(Method::Options) => layer.respond_options(now, server),
            Some(Method::Info) => layer.respond(now, server, &Answer::new(200)),
            Some(Method::Update) if request.body().is_empty() => accept_update(layer, now, server, hop),
            Some(Method::Update) => layer.respond(now, server, &refusal),
            Some(_) | None => layer.respond(now, server, &Answer::new(481)),
        }
    }
}

/// Answers an UPDATE that changes nothing about the session (RFC 3311 section 5.2).
fn accept_update(layer: &mut TransactionLayer, now: Instant, server: ServerId, hop: Hop) {
    let contact = layer.path_back(hop).map(|path| ByteString::from(contact(None, &path)));
    let headers = [(Name::Allow, ALLOW)];
    layer.respond(now, server, &Answer { contact, headers: &headers, ..Answer::new(200) });
}

/// The path to a destination; over the stream of the `fallback` where that leads to the same host, and all of the
/// `fallback` where no listener suits. From the same listener the peer is told the same address as before.
fn path_to(
    layer: &TransactionLayer,
    to: Destination,
    server_name: Option<ByteString>,
    fallback: Path,
) -> Path {
    let Destination { transport, address } = to;
    let stream = fallback.stream.filter(|stream| stream.remote.ip() == address.ip());
    let Some(path) = layer.path(transport, address, Some(fallback.local), stream) else { return fallback };
    let same_listener = (path.transport, path.local) == (fallback.transport, fallback.local);
    let advertised = if same_listener { fallback.advertised } else { path.advertised };
    // A numeric host of the same address is the peer whose name is known already.
    let server_name = server_name.or(fallback.server_name.filter(|_| fallback.remote.ip() == address.ip()));
    Path { advertised, server_name, ..path }
}
