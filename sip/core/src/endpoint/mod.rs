//! The endpoint: everything SIP between the wire and the calls, as one value.

mod answer;
mod config;
mod error;
mod io;
mod receive;

use std::net::IpAddr;
use std::time::Instant;

pub use answer::ALLOW;
pub(crate) use answer::Answer;
pub use config::{EndpointConfig, Listener};
pub use error::Error;
pub use io::{
    Destinations, Event, Input, Output, QueryId, Question, RequestId, ResolveError, TimerKind, Transmit,
    TransportErrorKind,
};

use crate::guard::Seal;
use crate::outgoing::{Outgoing, OutgoingId, Outgoings};
use crate::registration::{Register, RegistrationId, Registrations};
use crate::session::{
    Body, Hangup, Invite, Refer, ReferId, Session, SessionId, Sessions, Target, check_headers,
};
use crate::transaction::{Asker, Report, ServerId, TimerKey, TransactionLayer, User};
use crate::transport::Destination;
use crate::watch::{WatchId, Watches};
use crate::{ByteString, Name, ReferTo, Replaces};

/// A SIP user agent without sockets, clock or threads: transactions, dialogs, INVITE sessions and registrations.
///
/// Hand in what arrives with [`handle_input`](Self::handle_input) and commands with their methods; after each, take
/// everything from [`poll_output`](Self::poll_output), and call [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) says so.
#[derive(Debug)]
pub struct Endpoint {
    layer: TransactionLayer,
    sessions: Sessions,
    registrations: Registrations,
    watches: Watches,
    outgoings: Outgoings,
}

impl Endpoint {
    /// An endpoint at rest. `seed` is where tags, branches, Call-IDs and nonces of ours come from: nobody may guess it.
    pub fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
        Self {
            layer: TransactionLayer::new(config, seed),
            sessions: Sessions::default(),
            registrations: Registrations::default(),
            watches: Watches::default(),
            outgoings: Outgoings::default(),
        }
    }

    /// Something arrived, or a question was answered.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Message { hop, message } if message.is_request() => {
                self.receive_request(now, hop, message)
            }
            Input::Message { hop, message } => {
                if let Some(report) = self.layer.receive_response(now, hop, message) {
                    self.report(now, report);
                }
            }
            Input::Malformed { hop, bytes, error } => self.receive_malformed(hop, bytes, error),
            Input::TransportError { transport, remote, kind } => {
                let clients = self.layer.clients_towards(transport, remote);
                if !clients.is_empty() && kind != TransportErrorKind::Local {
                    self.layer.avoid(now, Destination { transport, address: remote }, None);
                }
                for key in clients {
                    if let Some(report) = self.layer.client_failed(now, key) {
                        self.report(now, report);
                    }
                }
                if kind != TransportErrorKind::Local {
                    let to = Destination { transport, address: remote };
                    self.registrations.stream_broke(&mut self.layer, now, to);
                }
            }
            // Requests find another way by themselves. Whoever registered by it is not reached by it any more.
            Input::StreamEnded { hop } => {
                let to = Destination { transport: hop.transport, address: hop.remote };
                self.registrations.stream_broke(&mut self.layer, now, to);
            }
            // A response is sent again when its request is.
            Input::Unsent { payload, kind: _ } => {
                if let Some(report) = self.layer.unsent(now, payload) {
                    self.report(now, report);
                }
            }
            Input::Resolved { query, result } => match self.layer.take_query(query) {
                Some(Asker::Invite(id)) => self.sessions.target_resolved(&mut self.layer, now, id, result),
                Some(Asker::Dialog(id, dialog)) => {
                    self.sessions.dialog_resolved(&mut self.layer, now, id, dialog, result);
                }
                Some(Asker::Watch(id)) => self.watches.resolved(&mut self.layer, now, id, result),
                Some(Asker::Register(id)) => self.registrations.resolved(&mut self.layer, now, id, result),
                Some(Asker::Outgoing(id)) => self.outgoings.resolved(&mut self.layer, now, id, result),
                None => {}
            },
        }
        self.settle();
    }

    /// Fires every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.layer.timers.pop_expired(now) {
            match key {
                TimerKey::Client(key, timer) => {
                    if let Some(report) = self.layer.client_timer(now, key, timer) {
                        self.report(now, report);
                    }
                }
                TimerKey::Server(id, timer) => self.layer.server_timer(now, id, timer),
                TimerKey::Session(id, timer) => self.sessions.timer(&mut self.layer, now, id, timer),
                TimerKey::Watch(id) => self.watches.ask(&mut self.layer, id),
                TimerKey::Registration(id) => self.registrations.timer(&mut self.layer, now, id),
                TimerKey::Keepalive(id) => self.registrations.keep_open(&mut self.layer, now, id),
            }
        }
        self.settle();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, and for what.
    pub fn poll_timeout(&self) -> Option<(Instant, TimerKind)> {
        let (deadline, key) = self.layer.timers.next()?;
        let kind = match key {
            TimerKey::Client(_, timer) | TimerKey::Server(_, timer) => TimerKind::Transaction(timer),
            TimerKey::Session(_, timer) => TimerKind::Session(timer),
            TimerKey::Registration(_) | TimerKey::Keepalive(_) => TimerKind::Registration,
            TimerKey::Watch(_) => TimerKind::Watch,
        };
        Some((deadline, kind))
    }

    /// The next thing to do; call until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.layer.poll_output()
    }

    fn report(&mut self, now: Instant, report: Report) {
        match report.user {
            User::Invite(_) | User::Cancel(_) | User::Dialog(..) => {
                self.sessions.report(&mut self.layer, now, report);
            }
            User::Register(id) => {
                self.registrations.outcome(&mut self.layer, now, id, report.key, report.outcome);
            }
            User::Outgoing(id) => {
                self.outgoings.outcome(&mut self.layer, now, id, report.key, report.outcome);
            }
        }
    }

    /// Hangs up calls whose place another has taken, and lets go of sessions whose last transaction is over.
    fn settle(&mut self) {
        while let Some((now, replaced)) = self.layer.pop_displaced() {
            self.sessions.give_place(&mut self.layer, now, replaced);
        }
        while let Some((user, key)) = self.layer.pop_ended() {
            match user {
                User::Invite(id) | User::Cancel(id) | User::Dialog(id, ..) => {
                    self.sessions.transaction_ended(&mut self.layer, id, key);
                }
                User::Register(_) | User::Outgoing(_) => {}
            }
        }
    }

    /// Places a call.
    pub fn invite(&mut self, now: Instant, invite: Invite) -> Result<SessionId, Error> {
        let result = self.sessions.invite(&mut self.layer, now, invite);
        self.settle();
        result
    }

    /// Ends a call in whatever state it is: CANCEL, BYE or a final response. Ending one that is over is no error.
    pub fn hangup(&mut self, now: Instant, id: SessionId, hangup: Hangup) -> Result<(), Error> {
        self.command(id, |session, layer| session.hangup(layer, now, &hangup))
    }

    fn command<R>(
        &mut self,
        id: SessionId,
        act: impl FnOnce(&mut Session, &mut TransactionLayer) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let result = self.sessions.command(&mut self.layer, id, act);
        self.settle();
        result
    }

    /// Inbound: the address that the caller is told in Via and Contact instead of the one that the listener advertises, as
    /// [`Target::public_ip`](crate::Target::public_ip) is for calls of ours. Before [`ring`](Self::ring) and
    /// [`answer`](Self::answer).
    pub fn set_public_ip(&mut self, id: SessionId, public_ip: IpAddr) -> Result<(), Error> {
        self.command(id, |session, _| session.set_public_ip(public_ip))
    }

    /// Inbound: sends a provisional response, 101 to 199, perhaps with early media. Whether it is a reliable one (RFC 3262)
    /// [`EndpointConfig::reliable`] and the caller say; then the body is the answer and that of
    /// [`answer`](Self::answer) of no effect, or, where the INVITE has none, our offer, answered in
    /// [`OfferAnswered`](crate::SessionEvent::OfferAnswered); and while it is not acknowledged, a few more may wait.
    pub fn ring(
        &mut self,
        now: Instant,
        id: SessionId,
        status: u16,
        body: Option<Body>,
    ) -> Result<(), Error> {
        self.command(id, |session, layer| session.ring(layer, now, status, body.as_ref()))
    }

    /// Inbound: sends the 200, with the answer, or with our offer where the INVITE has none. It waits for the PRACK of a
    /// provisional response that described before.
    pub fn answer(&mut self, now: Instant, id: SessionId, body: Option<Body>) -> Result<(), Error> {
        self.command(id, |session, layer| session.answer(layer, now, body.as_ref()))
    }

    /// Offers anew: by re-INVITE in an answered call, by UPDATE before, where the first exchange is over and the peer takes
    /// UPDATE. Without a body a re-INVITE asks for the peer's offer.
    /// [`OfferAnswered`](crate::SessionEvent::OfferAnswered) or [`OfferRefused`](crate::SessionEvent::OfferRefused)
    /// follows, unless the call ends. A 491 is followed by another try, after the time of RFC 3261 section 14.1; until then
    /// another offer takes this one's place.
    pub fn offer(&mut self, now: Instant, id: SessionId, body: Option<Body>) -> Result<(), Error> {
        self.command(id, |session, layer| session.offer(layer, now, body))
    }

    /// Answers the offer of an [`Offered`](crate::SessionEvent::Offered), or makes the one it asks for.
    pub fn accept_offer(&mut self, now: Instant, id: SessionId, body: Body) -> Result<(), Error> {
        self.command(id, |session, layer| session.accept_offer(layer, now, body))
    }

    /// Refuses the offer of an [`Offered`](crate::SessionEvent::Offered) with 300 to 699, 488 as a rule; what was agreed
    /// before goes on. One in a provisional response cannot be refused: the call is given up.
    pub fn refuse_offer(&mut self, now: Instant, id: SessionId, status: u16) -> Result<(), Error> {
        self.command(id, |session, layer| session.refuse_offer(layer, now, status))
    }

    /// Sends the ACK with our answer to the offer in a 2xx: after [`Answered`](crate::SessionEvent::Answered) to an INVITE
    /// without a body, and after [`OfferAnswered`](crate::SessionEvent::OfferAnswered) to an [`offer`](Self::offer) without
    /// one.
    pub fn acknowledge(&mut self, now: Instant, id: SessionId, body: Body) -> Result<(), Error> {
        self.command(id, |session, layer| session.acknowledge(layer, now, body))
    }

    /// Sends an INFO in an answered call; [`InfoAnswered`](crate::SessionEvent::InfoAnswered) follows.
    pub fn info(&mut self, now: Instant, id: SessionId, body: Body) -> Result<(), Error> {
        self.command(id, |session, layer| session.info(layer, now, body))
    }

    /// Asks the peer of an answered call to call somebody: a transfer. [`ReferProgress`](crate::SessionEvent::ReferProgress)
    /// follows, up to a final one, unless the call ends before; it goes on until it is hung up.
    pub fn refer(&mut self, now: Instant, id: SessionId, refer: Refer) -> Result<ReferId, Error> {
        self.command(id, |session, layer| session.refer(layer, now, refer))
    }

    /// Accepts a [`Referred`](crate::SessionEvent::Referred): the peer is told 202, and 100 for a start. To call is the
    /// user's; how it goes is told with [`refer_progress`](Self::refer_progress).
    pub fn accept_refer(&mut self, now: Instant, id: SessionId, refer: ReferId) -> Result<(), Error> {
        self.command(id, |session, layer| session.accept_refer(layer, now, refer))
    }

    /// Refuses a [`Referred`](crate::SessionEvent::Referred) with 300 to 699: 603, 403, …
    pub fn refuse_refer(
        &mut self,
        now: Instant,
        id: SessionId,
        refer: ReferId,
        status: u16,
    ) -> Result<(), Error> {
        self.command(id, |session, layer| session.refuse_refer(layer, now, refer, status))
    }

    /// Tells the peer how the call goes that it asked for: its status, 200 and above being the last, and the reason phrase,
    /// the usual one where it is empty. [`Error::UnknownRequest`] where the peer does not want to know (any more).
    pub fn refer_progress(
        &mut self,
        now: Instant,
        id: SessionId,
        refer: ReferId,
        status: u16,
        reason: &str,
    ) -> Result<(), Error> {
        self.command(id, |session, layer| session.refer_progress(layer, now, refer, status, reason))
    }

    /// How somebody would be told to call the peer of an answered call and take our place in it: the Refer-To of an
    /// attended transfer.
    pub fn refer_to(&self, id: SessionId) -> Option<ReferTo> {
        self.sessions.refer_to(id)
    }

    /// The call whose dialog a Replaces names, as that of a REFER does which hands one call of a peer's to another of its
    /// calls (RFC 5589 section 7).
    pub fn replaced(&self, replaces: &Replaces) -> Option<SessionId> {
        self.sessions.replaced(replaces)
    }

    /// Inbound: refuses with 300 to 699 and these header fields (a challenge, a Retry-After, a Contact).
    pub fn reject(
        &mut self,
        now: Instant,
        id: SessionId,
        status: u16,
        headers: &[(String, String)],
    ) -> Result<(), Error> {
        self.command(id, |session, layer| session.reject(layer, now, status, headers))
    }

    /// Inbound: refuses as [`reject`](Self::reject) does, but once and without keeping anything: for strangers, since a
    /// refusal repeated until its ACK is eleven datagrams to whoever owns a forged source address. One that is lost
    /// leaves a caller over UDP to its own timers.
    pub fn dismiss(
        &mut self,
        now: Instant,
        id: SessionId,
        status: u16,
        headers: &[(String, String)],
    ) -> Result<(), Error> {
        self.command(id, |session, layer| session.dismiss(layer, now, status, headers))
    }

    /// Keeps an address of record registered until [`unregister`](Self::unregister).
    pub fn register(&mut self, now: Instant, register: Register) -> RegistrationId {
        self.registrations.register(&mut self.layer, now, register)
    }

    /// Removes the binding at the registrar; [`RegistrationEvent::Unregistered`](crate::RegistrationEvent) follows.
    pub fn unregister(&mut self, now: Instant, id: RegistrationId) -> Result<(), Error> {
        self.registrations.unregister(&mut self.layer, now, id)
    }

    /// Sends a request outside any dialog: an OPTIONS that asks whether a trunk is alive. Exactly one
    /// [`Event::Response`] follows, unless it is [abandoned](Self::abandon). Challenges are answered; after a timeout, a
    /// failure of the transport or a 503 the target's next address is asked. Each address has 64*T1 to answer: who wants
    /// to know sooner abandons.
    pub fn request(&mut self, now: Instant, outgoing: Outgoing) -> Result<OutgoingId, Error> {
        let result = self.outgoings.request(&mut self.layer, now, outgoing);
        self.settle();
        result
    }

    /// Gives up a request of ours: nothing is told about it any more. One that is over already is no error.
    pub fn abandon(&mut self, id: OutgoingId) {
        self.outgoings.abandon(&mut self.layer, id);
        self.settle();
    }

    /// Requests outside dialogs of ours whose outcome is not told yet.
    pub fn outgoing_requests(&self) -> usize {
        self.outgoings.len()
    }

    /// Has a target located at once and whenever that has changed: [`Event::Located`] tells its addresses.
    pub fn watch(&mut self, target: Target) -> WatchId {
        self.watches.watch(&mut self.layer, target)
    }

    /// Stops watching a target. Stopping twice is no error.
    pub fn unwatch(&mut self, id: WatchId) {
        self.watches.unwatch(&mut self.layer, id);
    }

    /// Answers an [`Event::Request`]; a status of 101 to 199 may come before the final one.
    pub fn respond(
        &mut self,
        now: Instant,
        id: RequestId,
        status: u16,
        headers: &[(String, String)],
        body: Option<Body>,
    ) -> Result<(), Error> {
        let server = ServerId(id.0);
        if !(101..700).contains(&status) {
            return Err(Error::Status { status });
        }
        check_headers(headers)?;
        if self.layer.request(server).is_none() {
            return Err(Error::UnknownRequest);
        }
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (Name::parse(name), value.as_str())).collect();
        let answer = Answer { headers: &headers, body: body.as_ref(), ..Answer::new(status) };
        self.layer.respond(now, server, &answer);
        Ok(())
    }

    /// What tells tags and branches of ours from others, for a [`Guard`](crate::guard::Guard).
    pub fn seal(&self) -> Seal {
        self.layer.seal.clone()
    }

    /// The Call-ID of a call that is not over.
    pub fn session_call_id(&self, id: SessionId) -> Option<&ByteString> {
        self.sessions.call_id(id)
    }

    /// Outbound: whether nothing at all has come back yet, not even 100 Trying; a caller that has other ways to the same
    /// callee may give up on such a one early.
    pub fn is_unheard(&self, id: SessionId) -> bool {
        self.sessions.is_unheard(id)
    }

    /// Calls without a terminal event yet, and those that were hung up here before the ACK that their BYE has to wait for.
    pub fn live_sessions(&self) -> usize {
        self.sessions.live()
    }

    /// Calls that take memory: live ones, and those that linger until the network has forgotten them.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Requests of ours that wait for a final response; counted one by one.
    pub fn unanswered(&self) -> usize {
        self.layer.unanswered()
    }

    /// Client and server transactions running.
    pub fn transactions(&self) -> usize {
        self.layer.len()
    }
}
