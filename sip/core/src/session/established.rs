//! Requests in dialogs, early and confirmed: how ours find their way, and which part of a call the peer's are for.

use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use super::requests::Errand;
use super::*;
use crate::capability::Extensions;
use crate::dialog::{NextHop, Waiting};
use crate::endpoint::{ALLOW, Answer};
use crate::transaction::{Asker, Located, User};
use crate::transport::Destination;
use crate::{Host, Name};

/// Requests of one dialog that may wait for an address. PRACKs beyond it are left to their responses' repetitions.
const MAX_WAITING: usize = 8;

/// Requests of ours.
impl Session {
    /// Looks for the next hop of a dialog that has only the way its first message took.
    pub(super) fn find_next_hop(&mut self, layer: &mut TransactionLayer, at: DialogId) {
        let (id, public_ip) = (self.id, self.public_ip);
        let Some(dialog) = self.dialog(at) else { return };
        let NextHop::Unsought(fallback) = &dialog.next_hop else { return };
        let fallback = fallback.clone();
        let is_only_way =
            |host: &Host, transport| dialog.keeps_to(&fallback) || fallback.is_only_way_to(host, transport);
        let next_hop = dialog.next_hop_uri().filter(|(host, _, transport, _)| !is_only_way(host, *transport));
        let Some((host, port, transport, secure)) = next_hop else {
            dialog.next_hop = NextHop::Known(fallback);
            return;
        };
        // RFC 3263 section 4.1 would have a numeric host without a transport parameter reached by UDP; a peer that is
        // called over TCP and leaves the parameter out means TCP.
        let transport = transport.unwrap_or(fallback.transport);
        dialog.next_hop = match layer.locate(Asker::Dialog(id, at), &host, port, Some(transport), secure) {
            // What cannot be meant says nothing.
            None => NextHop::Known(fallback),
            Some(Located::At(destination)) => {
                NextHop::Known(path_to(layer, destination, None, fallback, public_ip))
            }
            Some(Located::Asked(_)) => {
                let name = host.to_string().into();
                NextHop::Asked { name, fallback, waiting: Vec::new() }
            }
        };
    }

    pub(super) fn dialog_resolved(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: DialogId,
        result: Result<Destinations, ResolveError>,
    ) {
        let public_ip = self.public_ip;
        let Some(dialog) = self.dialog(at) else { return };
        let NextHop::Asked { name, fallback, waiting } = &mut dialog.next_hop else { return };
        let (name, fallback, waiting) = (name.clone(), fallback.clone(), std::mem::take(waiting));
        // The target may have moved meanwhile.
        let is_it = |(host, _, _, _): (Host, _, _, _)| host.to_string() == *name;
        if !dialog.next_hop_uri().is_some_and(is_it) {
            dialog.next_hop = NextHop::Unsought(fallback);
            for request in waiting {
                self.send_in_dialog(layer, now, at, request);
            }
            return;
        }
        // A name that cannot be looked up must not leave a call without ACK or BYE: the way the first message took will do.
        let path = match result.ok().and_then(|found| layer.in_order(now, found.list).pop_front()) {
            Some(destination) => path_to(layer, destination, Some(name), fallback, public_ip),
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
        at: DialogId,
        reason: Option<ByteString>,
    ) {
        self.auth.begin();
        if let Some(dialog) = self.dialog(at) {
            dialog.bye_reason = reason;
            self.send_in_dialog(layer, now, at, Waiting::Bye);
        }
    }

    /// Sends a request in a dialog, as soon as its next hop is known.
    pub(super) fn send_in_dialog(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: DialogId,
        request: Waiting,
    ) {
        self.find_next_hop(layer, at);
        let Some(dialog) = self.dialogs.iter_mut().find(|dialog| dialog.id == at) else { return };
        let path = match &mut dialog.next_hop {
            NextHop::Known(path) => path.clone(),
            NextHop::Asked { waiting, .. } => {
                let droppable = match request {
                    Waiting::Prack { .. } => true,
                    Waiting::Ack { .. } | Waiting::Bye | Waiting::Offer | Waiting::Other(_) => false,
                };
                if !droppable || waiting.len() < MAX_WAITING {
                    waiting.push(request);
                }
                return;
            }
            NextHop::Unsought(_) => return,
        };
        let user_agent = (Name::UserAgent, layer.config.user_agent.as_str().into());
        let uuid = self.uuid;
        let branch = layer.branch();
        let (method, purpose, bytes) = match request {
            Waiting::Ack { invite, cseq, authorization, body } => {
                let bytes =
                    dialog.request(&Method::Ack, cseq, &path, branch, authorization, body.as_ref(), uuid);
                if let Some(ack) = dialog.ack(invite) {
                    // A copy: what is kept for half a minute is no larger than it must be.
                    ack.transmit = Some(path.transmit(Bytes::copy_from_slice(&bytes)));
                }
                return layer.transmit(path.transmit(bytes));
            }
            Waiting::Bye => {
                let mut headers = self.auth.lines(&Method::Bye, dialog.request_uri().as_str(), b"");
                headers.push(user_agent);
                headers.extend(dialog.bye_reason.clone().map(|reason| (Name::Reason, reason)));
                let headers = with_others(headers, &self.bye_headers);
                let cseq = dialog.next_cseq();
                let bytes = dialog.request(&Method::Bye, cseq, &path, branch, headers, None, uuid);
                (Method::Bye, Purpose::Bye, bytes)
            }
            Waiting::Prack { rack, body } => {
                let octets = body.as_ref().map_or(&[][..], |body| &body.bytes);
                let mut headers = self.auth.lines(&Method::Prack, dialog.request_uri().as_str(), octets);
                headers.push((Name::RAck, rack.to_string().into()));
                let cseq = dialog.next_cseq();
                let bytes = dialog.request(&Method::Prack, cseq, &path, branch, headers, body.as_ref(), uuid);
                (Method::Prack, Purpose::Prack, bytes)
            }
            Waiting::Offer => {
                // The offer may have been given up while the address was looked up.
                let Some((method, body)) = self.ours.unsent(at) else { return };
                let octets = body.as_ref().map_or(&[][..], |body| &body.bytes);
                let authorization = self.auth.lines(&method, dialog.request_uri().as_str(), octets);
                let mut headers = authorization.clone();
                headers.push((Name::Contact, contact(self.user.as_deref(), &path, self.secure).into()));
                headers.push((Name::Allow, ByteString::from_static(ALLOW)));
                // Without 100rel: nobody rings in a call that stands, and a re-INVITE needs no provisional responses.
                headers.push((Name::Supported, in_dialog(&self.refresh).value().into()));
                headers.extend(self.refresh.lines());
                headers.push(user_agent);
                let cseq = dialog.next_cseq();
                let bytes = dialog.request(&method, cseq, &path, branch, headers, body.as_ref(), uuid);
                self.ours.sent(ClientKey::new(branch, &method), cseq, authorization);
                (method, Purpose::Offer, bytes)
            }
            Waiting::Other(number) => {
                let Some(request) = self.requests.get(number) else { return };
                let method = request.method.clone();
                let octets = request.body.as_ref().map_or(&[][..], |body| &body.bytes);
                let mut headers = self.auth.lines(&method, dialog.request_uri().as_str(), octets);
                // REFER, NOTIFY and UPDATE refresh the peer's idea of where we are; INFO does not.
                if method != Method::Info {
                    headers.push((Name::Contact, contact(self.user.as_deref(), &path, self.secure).into()));
                }
                headers.push(user_agent);
                if request.errand == Errand::Refresh {
                    headers.push((Name::Supported, in_dialog(&self.refresh).value().into()));
                    headers.extend(self.refresh.lines());
                }
                let headers = with_others(headers, &request.headers);
                let cseq = dialog.next_cseq();
                let bytes =
                    dialog.request(&method, cseq, &path, branch, headers, request.body.as_ref(), uuid);
                if let Errand::Refer(id) = request.errand {
                    self.refers.sent(id, cseq);
                }
                (method, Purpose::Other(number), bytes)
            }
        };
        layer.send_request(now, branch, method, path, bytes, User::Dialog(self.id, at, purpose));
        self.transactions += 1;
    }

    /// The session is over whatever the peer says to the BYE, but a challenge wants it again.
    pub(super) fn bye_outcome(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: DialogId,
        outcome: Outcome,
    ) {
        let (challenged, is_final) = match outcome {
            Outcome::Response { response, .. } => {
                let is_final = response.status().is_some_and(|status| status >= 200);
                (self.auth.accept_challenge(&response, layer.random()), is_final)
            }
            Outcome::TimedOut | Outcome::TransportFailed => (false, true),
        };
        if challenged {
            self.send_in_dialog(layer, now, at, Waiting::Bye);
        } else if is_final {
            self.retire(at);
        }
    }

    /// The transaction of an INVITE is over: no 2xx of it comes any more.
    pub(super) fn forget_invite(&mut self, key: ClientKey) {
        if self.invite.as_ref().is_some_and(|invite| invite.key == key) {
            self.invite = None;
        }
        for dialog in &mut self.dialogs {
            dialog.acks.retain(|ack| ack.invite != key);
        }
        self.gone.retain(|gone| gone.invite != key);
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
        let dialog = self.dialogs.iter_mut().find(|dialog| dialog.remote_tag() == from_tag.as_deref());
        let Some(dialog) = dialog else {
            return self.receive_stray(layer, now, server, hop, request);
        };
        dialog.learn_uuid(request);
        let at = dialog.id;
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        if !dialog.accept_cseq(number) {
            return layer.respond(now, server, &Answer::new(500));
        }
        if let Some(way) = layer.path_back(hop) {
            dialog.follow(told(way, self.public_ip));
        }
        let allow = [(Name::Allow, ALLOW)];
        if matches!(method, Method::Invite | Method::Update)
            && let Some(min) = self.refresh.too_small(request)
        {
            let min = min.as_secs().to_string();
            let headers = [(Name::MinSe, min.as_str())];
            return layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(422) });
        }
        match method {
            Method::Bye => {
                layer.respond(now, server, &Answer::new(200));
                self.receive_bye(layer, now, at, request);
            }
            // Also the dialog of a fork that lost is over for everything but its BYE.
            _ if self.is_told_over() || !self.is_live(at) => layer.respond(now, server, &Answer::new(481)),
            Method::Options => layer.respond_options(now, server),
            Method::Info => self.receive_info(layer, now, server, request),
            Method::Refer => self.receive_refer(layer, now, server, at, request),
            Method::Notify => self.receive_notify(layer, now, server, request),
            Method::Subscribe => self.receive_subscribe(layer, now, server, request),
            Method::Update => self.receive_update(layer, now, server, at, hop, request),
            Method::Invite => self.receive_reinvite(layer, now, server, at, number, request),
            Method::Prack => self.receive_prack(layer, now, server, at, hop, request),
            Method::Extension(_) => {
                layer.respond(now, server, &Answer { headers: &allow, ..Answer::new(501) });
            }
            Method::Ack | Method::Cancel | Method::Register | Method::Publish | Method::Message => {
                layer.respond(now, server, &Answer { headers: &allow, ..Answer::new(405) });
            }
        }
    }

    /// A request in a dialog that we do not know. While our INVITE is not answered it may be an early one whose first
    /// response is lost, of which carriers make use: a 481 would end the call.
    fn receive_stray(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        hop: Hop,
        request: &Message,
    ) {
        let State::Inviting(_) = &self.state else {
            // RFC 3261 section 12.2.2: "If the request … does not match any existing dialogs … 481".
            return layer.respond(now, server, &Answer::new(481));
        };
        match request.method() {
            Some(Method::Options) => layer.respond_options(now, server),
            Some(Method::Info) => layer.respond(now, server, &Answer::new(200)),
            Some(Method::Update) if request.sdp().is_none() => self.agree_to(layer, now, server, hop, None),
            // RFC 3311 section 5.2: with an offer of ours unanswered "the UAS MUST reject the UPDATE with a 491".
            Some(Method::Update) => layer.respond(now, server, &Answer::new(491)),
            Some(_) | None => layer.respond(now, server, &Answer::new(481)),
        }
    }

    /// The 200 to an INVITE or UPDATE, with our description where there is one to be said.
    pub(super) fn agree_to(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        hop: Hop,
        body: Option<&Body>,
    ) {
        let contact = self.contact_back(layer, hop);
        let supported = in_dialog(&self.refresh).value();
        let timer = self.refreshed_by_them(layer, now, server);
        let mut headers: SmallVec<[_; 4]> = SmallVec::new();
        headers.push((Name::Allow, ALLOW));
        headers.push((Name::Supported, supported.as_str()));
        headers.extend(timer.iter().map(|(name, value)| (*name, &**value)));
        let to_tag = Some(self.tag);
        layer.respond(now, server, &Answer { to_tag, contact, headers: &headers, body, ..Answer::new(200) });
    }

    /// The Contact of our responses to what came this way.
    pub(super) fn contact_back(&self, layer: &TransactionLayer, hop: Hop) -> Option<ByteString> {
        self.path_back(layer, hop).map(|path| contact(self.user.as_deref(), &path, self.secure).into())
    }
}

/// Header fields of ours, and then the user's.
#[expect(clippy::map_identity, reason = "it shortens the lifetime of the names, which are static in ours")]
fn with_others(ours: Lines, others: &[(String, String)]) -> impl Iterator<Item = (Name<'_>, ByteString)> {
    let others = others.iter().map(|(name, value)| (Name::parse(name), value.as_str().into()));
    ours.into_iter().map(|(name, value)| -> (Name<'_>, ByteString) { (name, value) }).chain(others)
}

/// What we support within a dialog.
fn in_dialog(refresh: &Refresh) -> Extensions {
    refresh.extensions().without(crate::capability::Extension::Reliable)
}

/// The path to a destination; over the stream of the `fallback` where that leads to the same host, and all of the
/// `fallback` where no listener suits.
fn path_to(
    layer: &TransactionLayer,
    to: Destination,
    server_name: Option<ByteString>,
    fallback: Path,
    public_ip: Option<IpAddr>,
) -> Path {
    let Destination { transport, address } = to;
    let stream = fallback.stream.filter(|stream| stream.remote.ip() == address.ip());
    let Some(path) = layer.path(transport, address, Some(fallback.local), stream) else { return fallback };
    // A numeric host of the same address is the peer whose name is known already.
    let server_name = server_name.or(fallback.server_name.filter(|_| fallback.remote.ip() == address.ip()));
    Path { server_name, is_open: fallback.is_open, ..told(path, public_ip) }
}
