//! The caller's side up to the final answer: provisional responses, challenges, fail-over, CANCEL, forks.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use super::*;
use crate::capability::{Extension, Extensions, unsupported};
use crate::dialog::{Ack, Caller, NextHop, Waiting};
use crate::endpoint::{ALLOW, QueryId};
use crate::grammar::is_token;
use crate::headers::RAck;
use crate::transaction::{Asker, Located, StatusClass, User, compose};
use crate::transport::Destination;
use crate::{Name, NameAddr, SessionIdentifier};

/// An outbound call without a final answer.
#[derive(Debug)]
pub(super) struct Inviting {
    invite: Invite,
    /// Our From, tag included.
    from: ByteString,
    cseq: u32,
    /// Where the target is, as far as not tried yet.
    destinations: VecDeque<Destination>,
    /// Whether the network has answered anything yet, if only 100 or a challenge.
    pub(super) heard: bool,
    /// What each callee has told; the one without a dialog stands for all that make none.
    early: SmallVec<[Early; 1]>,
    phase: Phase,
}

/// The provisional responses of one callee.
#[derive(Debug)]
struct Early {
    dialog: Option<DialogId>,
    /// The last one told, to leave out its repetitions.
    told: Option<(u16, Option<Bytes>)>,
    /// The RSeq of the last reliable one.
    rseq: Option<u32>,
}

#[derive(Debug)]
enum Phase {
    /// The target's name is being looked up.
    Resolving(QueryId),
    /// No response yet.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// Hung up before a provisional response: "the client MUST wait for the arrival of a provisional response before
    /// sending the request" (RFC 3261 section 9.1).
    CancelLater { reason: Option<ByteString> },
    /// CANCEL is sent, because this side gave up.
    Cancelling { by: Side },
}

/// Header fields of every message that the endpoint writes itself.
const OWN: [Name<'static>; 7] =
    [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq, Name::ContentLength, Name::ContentType];

/// And those that make or change a dialog.
const OWN_IN_INVITE: [Name<'static>; 8] = [
    Name::Supported,
    Name::Require,
    Name::Expires,
    Name::RSeq,
    Name::RAck,
    Name::Replaces,
    Name::SessionExpires,
    Name::MinSe,
];

/// And those of a request.
const OWN_IN_REQUEST: [Name<'static>; 8] = [
    Name::Contact,
    Name::MaxForwards,
    Name::Route,
    Name::RecordRoute,
    Name::Allow,
    Name::UserAgent,
    Name::Authorization,
    Name::ProxyAuthorization,
];

/// Header fields that an [`Invite`] cannot give, for the endpoint writes them itself.
pub fn own_in_invite() -> impl Iterator<Item = Name<'static>> {
    [&OWN[..], &OWN_IN_REQUEST, &OWN_IN_INVITE].into_iter().flatten().copied()
}

/// Whether header fields of the user's can be sent as they are: in a response, Contact is the user's, for the bindings
/// of a registrar or where else to ask (RFC 3261 sections 10.3 and 21.3).
pub(crate) fn check_headers(headers: &[(String, String)]) -> Result<(), Error> {
    check_against(headers, &OWN)
}

/// The same for a request.
pub(crate) fn check_request_headers(headers: &[(String, String)]) -> Result<(), Error> {
    check_headers(headers)?;
    check_against(headers, &OWN_IN_REQUEST)
}

fn check_against(headers: &[(String, String)], own: &[Name<'static>]) -> Result<(), Error> {
    let sound = |(name, value): &(String, String)| {
        is_token(name) && !value.contains(['\r', '\n', '\0']) && !own.contains(&Name::parse(name))
    };
    match headers.iter().position(|header| !sound(header)) {
        Some(index) => Err(Error::Header { index }),
        None => Ok(()),
    }
}

pub(super) fn begin(
    layer: &mut TransactionLayer,
    id: SessionId,
    mut invite: Invite,
) -> Result<Session, Error> {
    check_request_headers(&invite.headers)?;
    check_against(&invite.headers, &OWN_IN_INVITE)?;
    invite.request_uri = invite.request_uri.to_request_uri();
    let refresh = match (invite.session_interval, layer.config.session_refresh) {
        (None, settings) => settings,
        (Some(interval), _) if interval.is_zero() => None,
        (Some(interval), settings) => Some(SessionRefresh { interval, ..settings.unwrap_or_default() }),
    };
    let tag = layer.tag();
    let call_id = ByteString::from(format!("{:016x}{:016x}", layer.random(), layer.random()));
    let inviting = Inviting {
        from: invite.from.clone().with_tag(&format!("{tag:016x}")).to_string().into(),
        cseq: 1,
        destinations: VecDeque::new(),
        heard: false,
        early: SmallVec::new(),
        phase: Phase::Calling,
        invite,
    };
    Ok(Session {
        id,
        call_id,
        tag,
        uuid: layer.uuid(),
        caller: Side::Local,
        user: inviting.invite.from.uri().user().map(ByteString::from),
        public_ip: inviting.invite.target.public_ip,
        secure: is_secure(&inviting.invite),
        auth: Authenticator::new(inviting.invite.credentials.clone()),
        state: State::Inviting(Box::new(inviting)),
        invite: None,
        dialogs: Vec::new(),
        gone: Vec::new(),
        next_dialog: 0,
        ours: Ours::Idle,
        theirs: Theirs::Idle,
        requests: Requests::default(),
        refers: Refers::default(),
        refresh: Refresh::new(refresh),
        replaces: None,
        bye_headers: Vec::new(),
        transactions: 0,
    })
}

impl Inviting {
    /// Whether reliable provisional responses, which the INVITE did not offer, are what a 421 wants.
    fn lacked(&self, response: &Message) -> bool {
        self.invite.reliable == Reliable::Off
            && Extensions::named(response, Name::Require).has(Extension::Reliable)
            && unsupported(response).is_empty()
    }
}

/// Whether a SIPS URI is asked for, by name or as the first hop.
fn is_secure(invite: &Invite) -> bool {
    let first = invite.route.first().map(NameAddr::uri);
    std::iter::once(&invite.request_uri).chain(first).any(|uri| uri.scheme() == Scheme::Sips)
}

impl Session {
    /// Finds the target, and sends the INVITE when that needs no question.
    pub(super) fn start(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let State::Inviting(inviting) = &mut self.state else { return };
        if let Some(expires) = inviting.invite.expires {
            layer.timers.set(TimerKey::Session(self.id, SessionTimer::Expires), now + expires);
        }
        let secure = inviting.invite.request_uri.scheme() == Scheme::Sips;
        match layer.locate_target(Asker::Invite(self.id), &inviting.invite.target, secure) {
            None => self.fail(layer, now, Failure::new(FailureCause::Resolve)),
            Some(Located::At(destination)) => {
                inviting.destinations.push_back(destination);
                self.try_next(layer, now, Failure::new(FailureCause::Transport));
            }
            Some(Located::Asked(query)) => inviting.phase = Phase::Resolving(query),
        }
    }

    pub(super) fn target_resolved(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        result: Result<Destinations, ResolveError>,
    ) {
        let State::Inviting(inviting) = &mut self.state else { return };
        inviting.phase = Phase::Calling;
        inviting.destinations = result.map(|found| layer.in_order(now, found.list)).unwrap_or_default();
        self.try_next(layer, now, Failure::new(FailureCause::Resolve));
    }

    /// Sends the INVITE to the next destination of the target; without one the call fails.
    fn try_next(&mut self, layer: &mut TransactionLayer, now: Instant, without: Failure) {
        let State::Inviting(inviting) = &mut self.state else { return };
        match layer.next_path(&inviting.invite.target, &mut inviting.destinations) {
            Some(path) => {
                self.auth.begin();
                self.send_invite(layer, now, path);
            }
            None => self.fail(layer, now, without),
        }
    }

    fn send_invite(&mut self, layer: &mut TransactionLayer, now: Instant, path: Path) {
        // What an INVITE before this one made is over with its final response.
        self.dialogs.clear();
        self.forsake(layer, now);
        let State::Inviting(inviting) = &mut self.state else { return };
        inviting.early.clear();
        let invite = &inviting.invite;
        let body = invite.body.as_ref().map_or(&[][..], |body| &body.bytes);
        let authorization = self.auth.lines(&Method::Invite, invite.request_uri.as_str(), body);
        let branch = layer.branch();
        let mut out = compose::buffer(body.len());
        let mut builder = compose::request(&mut out, &Method::Invite, &invite.request_uri, &path, branch);
        for route in &invite.route {
            builder = builder.header(Name::Route, format_args!("<{}>", route.uri()));
        }
        builder = builder
            .header(Name::From, &inviting.from)
            .header(Name::To, invite.to.clone().without_param("tag"))
            .header(Name::CallId, &self.call_id)
            .header(Name::CSeq, format_args!("{} INVITE", inviting.cseq));
        if let Some(local) = self.uuid {
            builder = builder.header(Name::SessionId, SessionIdentifier { local, remote: 0 });
        }
        builder = builder
            .header(Name::Contact, contact(self.user.as_deref(), &path, self.secure))
            .header(Name::Allow, ALLOW)
            .header(Name::UserAgent, &layer.config.user_agent);
        let supported = match invite.reliable {
            Reliable::Off => self.refresh.extensions().without(Extension::Reliable),
            Reliable::Supported | Reliable::Required => self.refresh.extensions(),
        };
        builder = builder.header(Name::Supported, supported.value());
        if invite.reliable == Reliable::Required {
            builder = builder.header(Name::Require, Extension::Reliable.tag());
        }
        if let Some(replaces) = &invite.replaces {
            // Where the callee does not know it, a second call would only disturb.
            builder =
                builder.header(Name::Require, Extension::Replaces.tag()).header(Name::Replaces, replaces);
        }
        for (name, value) in self.refresh.lines() {
            builder = builder.header(name, value);
        }
        if let Some(expires) = invite.expires {
            builder = builder.header(Name::Expires, expires.as_secs());
        }
        for (name, value) in &authorization {
            builder = builder.header(*name, value);
        }
        for (name, value) in &invite.headers {
            builder = builder.header(Name::parse(name), value);
        }
        let request = match &invite.body {
            Some(body) => builder.body(&body.content_type, &body.bytes),
            None => builder.finish(),
        };
        inviting.phase = Phase::Calling;
        let user = User::Invite(self.id);
        let key = layer.send_request(now, branch, Method::Invite, path.clone(), request, user);
        self.transactions += 1;
        let (from, cseq, offered) = (inviting.from.clone(), inviting.cseq, inviting.invite.body.is_some());
        self.invite = Some(Box::new(SentInvite { key, path, from, cseq, authorization, offered }));
    }

    /// Gives up an outbound call.
    pub(super) fn cancel(&mut self, layer: &mut TransactionLayer, now: Instant, reason: Option<ByteString>) {
        let State::Inviting(inviting) = &mut self.state else { return };
        match inviting.phase {
            Phase::Resolving(query) => {
                layer.take_query(query);
                self.fail(layer, now, Failure::new(FailureCause::Cancelled));
            }
            Phase::Calling => inviting.phase = Phase::CancelLater { reason },
            Phase::Proceeding => self.send_cancel(layer, now, Side::Local, reason),
            Phase::CancelLater { .. } | Phase::Cancelling { .. } => {}
        }
    }

    fn send_cancel(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        by: Side,
        reason: Option<ByteString>,
    ) {
        let (State::Inviting(inviting), Some(sent)) = (&mut self.state, &self.invite) else { return };
        inviting.phase = Phase::Cancelling { by };
        if layer.send_cancel(now, sent.key, self.id, reason.as_deref()) {
            self.transactions += 1;
        }
        self.set_timer(layer, SessionTimer::CancelTimeout, now + layer.config.timers.transaction_timeout());
    }

    pub(super) fn cancel_timeout(&mut self, layer: &mut TransactionLayer, now: Instant) {
        if let Some(sent) = &self.invite {
            layer.abandon(sent.key);
        }
        let cause = self.given_up();
        self.fail(layer, now, Failure::new(cause));
    }

    /// What a call failed of that ends without an answer after its CANCEL.
    fn given_up(&self) -> FailureCause {
        match &self.state {
            State::Inviting(inviting) => match inviting.phase {
                Phase::Cancelling { by: Side::Remote } => FailureCause::Response(487),
                Phase::Cancelling { by: Side::Local }
                | Phase::Resolving(_)
                | Phase::Calling
                | Phase::Proceeding
                | Phase::CancelLater { .. } => FailureCause::Cancelled,
            },
            State::Invited(_) | State::Answered(_) | State::Established(_) | State::Over => {
                FailureCause::Cancelled
            }
        }
    }

    /// A callee says BYE while it rings, which RFC 3261 section 15 forbids it. Its dialog is over, and the call too when
    /// there is no other.
    pub(super) fn early_bye(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        from: DialogId,
        bye: &Message,
    ) {
        let State::Inviting(inviting) = &mut self.state else { return };
        self.dialogs.retain(|dialog| dialog.id != from);
        inviting.early.retain(|early| early.dialog != Some(from));
        self.forsake(layer, now);
        let State::Inviting(inviting) = &self.state else { return };
        match inviting.phase {
            Phase::Calling | Phase::Proceeding if self.dialogs.is_empty() => {
                let reason = bye.header(Name::Reason).map(ByteString::from);
                self.send_cancel(layer, now, Side::Remote, reason);
            }
            Phase::Resolving(_)
            | Phase::Calling
            | Phase::Proceeding
            | Phase::CancelLater { .. }
            | Phase::Cancelling { .. } => {}
        }
    }

    /// What the INVITE's transaction tells.
    pub(super) fn invite_outcome(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        key: ClientKey,
        outcome: Outcome,
    ) {
        if self.invite.as_ref().is_none_or(|sent| sent.key != key) {
            return;
        }
        match outcome {
            Outcome::Response { hop, response } => {
                let status = response.status().unwrap_or_default();
                if let State::Inviting(inviting) = &mut self.state {
                    inviting.heard = true;
                }
                match StatusClass::of(status) {
                    StatusClass::Provisional => self.provisional(layer, now, hop, status, &response),
                    StatusClass::Success => self.success(layer, now, hop, &response),
                    StatusClass::Failure => self.rejected(layer, now, status, &response),
                }
            }
            Outcome::TimedOut => self.unreached(layer, now, FailureCause::Timeout),
            Outcome::TransportFailed => self.unreached(layer, now, FailureCause::Transport),
        }
    }

    fn provisional(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        hop: Hop,
        status: u16,
        response: &Message,
    ) {
        let State::Inviting(inviting) = &mut self.state else { return };
        match &mut inviting.phase {
            Phase::Resolving(_) | Phase::Cancelling { .. } => return,
            Phase::CancelLater { reason } => {
                let reason = reason.take();
                return self.send_cancel(layer, now, Side::Local, reason);
            }
            Phase::Calling | Phase::Proceeding => inviting.phase = Phase::Proceeding,
        }
        if status == 100 {
            return;
        }
        let id = response.to_tag().and_then(|_| self.dialog_of(hop, response));
        let (State::Inviting(inviting), Some(sent)) = (&mut self.state, &self.invite) else { return };
        let early = match inviting.early.iter_mut().position(|early| early.dialog == id) {
            Some(at) => &mut inviting.early[at],
            None => {
                inviting.early.push(Early { dialog: id, told: None, rseq: None });
                let last = inviting.early.len() - 1;
                &mut inviting.early[last]
            }
        };
        let cseq = sent.cseq;
        let dialog = self.dialogs.iter_mut().find(|dialog| Some(dialog.id) == id);
        let is_reliable = Extensions::named(response, Name::Require).has(Extension::Reliable);
        let rseq = if is_reliable { response.rseq().ok().flatten() } else { None };
        let mut body = response.sdp();
        let mut prack = None;
        let mut offer = None;
        if let Some(dialog) = dialog {
            if let Some(rseq) = rseq {
                // RFC 3262 section 4: one that "is not one higher than the value of the sequence number" is either a
                // repetition or has overtaken another, which will come again, and it after that.
                if early.rseq.is_some_and(|last| rseq != last.wrapping_add(1)) {
                    return;
                }
                early.rseq = Some(rseq);
                let rack = RAck { rseq, cseq };
                match (dialog.exchange.turn(), body.clone()) {
                    (Turn::Open, Some(theirs)) => {
                        offer = dialog
                            .exchange
                            .take_offer(Carrier::Provisional)
                            .is_ok()
                            .then_some((rack, theirs));
                        body = None;
                    }
                    (Turn::Ours(Carrier::Invite), Some(answer)) => {
                        dialog.exchange.agree(inviting.invite.body.clone(), Some(answer));
                        prack = Some(rack);
                    }
                    (turn, _) => {
                        if turn != Turn::Ours(Carrier::Invite) {
                            body = None;
                        }
                        prack = Some(rack);
                    }
                }
            } else {
                // RFC 3261 section 13.2.1: "The UAC MUST treat the first session description it receives as the answer, and
                // MUST ignore any session descriptions in subsequent responses".
                // And an offer comes "in the first reliable non-failure message".
                match dialog.exchange.turn() {
                    Turn::Ours(Carrier::Invite) => {}
                    Turn::Open | Turn::Agreed | Turn::Ours(_) | Turn::Theirs(_) => body = None,
                }
            }
        }
        let is_repeated = early
            .told
            .as_ref()
            .is_some_and(|(told, description)| *told == status && (body.is_none() || body == *description));
        if !is_repeated {
            // A copy: what is kept outlives the buffer of the message.
            early.told = Some((status, body.as_deref().map(Bytes::copy_from_slice)));
            self.emit(layer, SessionEvent::Provisional { dialog: id, status, body });
        }
        let Some(at) = id else { return };
        if let Some(rack) = prack {
            self.send_prack(layer, now, at, rack, None);
        }
        if let Some((rack, offer)) = offer {
            if self.theirs.is_idle() {
                self.await_user(layer, now, at, theirs::Source::Provisional { rack }, Some(offer.clone()));
                self.emit(layer, SessionEvent::Offered { dialog: at, body: Some(offer) });
            } else if let Some(dialog) = self.dialog(at) {
                // The user has another fork's to answer first; this one comes again.
                dialog.exchange.fall_back();
                let State::Inviting(inviting) = &mut self.state else { return };
                inviting.early.retain(|early| early.dialog != id);
            }
        }
    }

    /// The dialog that a response to our INVITE is from, made if it is new (RFC 3261 section 12.1.2).
    fn dialog_of(&mut self, hop: Hop, response: &Message) -> Option<DialogId> {
        let path = self.way_of(hop)?;
        let tag = response.to_tag();
        if let Some(dialog) = self.dialogs.iter_mut().find(|dialog| dialog.remote_tag() == tag.as_deref()) {
            return dialog.relearn(response, path).then_some(dialog.id);
        }
        if self.is_full_of_forks() {
            return None;
        }
        self.new_dialog(path, response)
    }

    /// The way back to whom a response to our INVITE is from, where it names no other.
    fn way_of(&self, hop: Hop) -> Option<Path> {
        let path = &self.invite.as_ref()?.path;
        Some(Path { stream: path.transport.is_reliable().then_some(hop), ..path.clone() })
    }

    fn new_dialog(&mut self, path: Path, response: &Message) -> Option<DialogId> {
        let sent = self.invite.as_ref()?;
        let id = DialogId(self.next_dialog);
        let caller = Caller { call_id: &self.call_id, from: &sent.from, cseq: sent.cseq };
        let turn = if sent.offered { Turn::Ours(Carrier::Invite) } else { Turn::Open };
        let dialog = Dialog::of_response(id, caller, turn, response, path)?;
        self.add_dialog(dialog);
        self.next_dialog += 1;
        Some(id)
    }

    fn is_full_of_forks(&self) -> bool {
        self.dialogs.len() + self.gone.len() >= MAX_FORKS
    }

    /// Makes room for an answer: a dialog that is early is known by its tag again when it answers too.
    fn drop_early(&mut self, layer: &mut TransactionLayer, now: Instant) -> bool {
        let Some(at) = self.dialogs.iter().position(|dialog| dialog.acks.is_empty()) else { return false };
        let dropped = self.dialogs.remove(at).id;
        if let State::Inviting(inviting) = &mut self.state {
            inviting.early.retain(|early| early.dialog != Some(dropped));
        }
        self.forsake(layer, now);
        true
    }

    /// One answer more than are kept: it gets its ACK and its BYE by the way that it came, and again when it comes again.
    fn hang_up_unkept(&mut self, layer: &mut TransactionLayer, now: Instant, hop: Hop, response: &Message) {
        // Whoever answers once with so many tags is left to its own timeout.
        if self.transactions >= MAX_HANGING_UP {
            return;
        }
        let Some(sent) = &self.invite else { return };
        let (invite, cseq, authorization) = (sent.key, sent.cseq, sent.authorization.clone());
        let at = self.way_of(hop).and_then(|path| self.new_dialog(path, response));
        let Some(dialog) = at.and_then(|at| self.dialog(at)) else { return };
        if let NextHop::Unsought(path) = &dialog.next_hop {
            dialog.next_hop = NextHop::Known(path.clone());
        }
        let at = dialog.id;
        self.send_in_dialog(layer, now, at, Waiting::Ack { invite, cseq, authorization, body: None });
        self.send_bye(layer, now, at, None);
        self.dialogs.retain(|dialog| dialog.id != at);
    }

    /// Any 2xx: the first, its repetitions, those of other forks.
    fn success(&mut self, layer: &mut TransactionLayer, now: Instant, hop: Hop, response: &Message) {
        let Some(sent) = &self.invite else { return };
        let (invite, cseq, authorization) = (sent.key, sent.cseq, sent.authorization.clone());
        let tag = response.to_tag();
        let mut gone = self.gone.iter().filter(|gone| gone.invite == invite);
        if let Some(gone) = gone.find(|gone| gone.tag == tag) {
            return layer.transmit(gone.ack.clone());
        }
        let known = self.dialogs.iter_mut().find(|dialog| dialog.remote_tag() == tag.as_deref());
        if let Some(ack) = known.and_then(|dialog| dialog.ack(invite)) {
            if let Some(ack) = ack.transmit.clone() {
                layer.transmit(ack);
            }
            return;
        }
        let wanted = match &self.state {
            State::Inviting(inviting) => match inviting.phase {
                Phase::Calling | Phase::Proceeding => true,
                Phase::Resolving(_) | Phase::CancelLater { .. } | Phase::Cancelling { .. } => false,
            },
            State::Invited(_) | State::Answered(_) | State::Established(_) | State::Over => false,
        };
        let is_inviting = match self.state {
            State::Inviting(_) => true,
            State::Invited(_) | State::Answered(_) | State::Established(_) | State::Over => false,
        };
        let is_known = self.dialogs.iter().any(|dialog| dialog.remote_tag() == tag.as_deref());
        if !is_known && self.is_full_of_forks() && !self.drop_early(layer, now) {
            return self.hang_up_unkept(layer, now, hop, response);
        }
        let Some(at) = self.dialog_of(hop, response) else {
            // Without a tag, a target or a sound route there is no dialog to send an ACK or a BYE in.
            if is_inviting {
                let cause = FailureCause::Response(response.status().unwrap_or_default());
                self.fail(layer, now, Failure::new(cause));
            }
            return;
        };
        if let Some(dialog) = self.dialog(at) {
            dialog.acks.push(Ack { invite, transmit: None });
        }
        let ack = Waiting::Ack { invite, cseq, authorization, body: None };
        if !wanted {
            // The 2xx crossed our CANCEL: the call exists now, and only a BYE ends it. And "the UAC core considers the
            // INVITE transaction completed 64*T1 seconds after the reception of the first 2xx"; until then another fork
            // may answer, and must not be left off the hook.
            self.send_in_dialog(layer, now, at, ack);
            self.send_bye(layer, now, at, None);
            if is_inviting {
                let cause = self.given_up();
                self.fail(layer, now, Failure::new(cause));
            }
            return;
        }
        let State::Inviting(inviting) = std::mem::replace(&mut self.state, State::Established(at)) else {
            return;
        };
        self.cancel_timer(layer, SessionTimer::Expires);
        self.refreshed_by_us(layer, now, response);
        // The early dialogs that did not win are over; one that answers still is known by its tag again.
        self.dialogs.retain(|dialog| dialog.id == at);
        self.forsake(layer, now);
        let body = self.answer_of(at, inviting.invite.body, response);
        let is_offer =
            self.dialog(at).is_some_and(|dialog| dialog.exchange.turn() == Turn::Open) && body.is_some();
        if is_offer && let Waiting::Ack { invite, cseq, authorization, .. } = ack {
            if let Some(dialog) = self.dialog(at) {
                // Open: nothing stands in its way.
                let _ = dialog.exchange.take_offer(Carrier::Success);
            }
            let source = theirs::Source::Success { invite, cseq, authorization };
            self.await_user(layer, now, at, source, body.clone());
        } else {
            self.send_in_dialog(layer, now, at, ack);
        }
        let (call_id, response) = (self.call_id.to_string(), response.clone());
        self.emit(layer, SessionEvent::Answered { dialog: at, call_id, body, response });
    }

    /// The callee's description, as of the 2xx.
    fn answer_of(&mut self, at: DialogId, ours: Option<Body>, response: &Message) -> Option<Bytes> {
        let body = response.sdp();
        let dialog = self.dialog(at)?;
        match dialog.exchange.turn() {
            Turn::Ours(Carrier::Invite) => {
                dialog.exchange.agree(ours, body.clone());
                body
            }
            Turn::Open => {
                if body.is_none() {
                    dialog.exchange.agree(None, None);
                }
                body
            }
            Turn::Agreed | Turn::Ours(_) | Turn::Theirs(_) => dialog.exchange.remote().cloned(),
        }
    }

    /// Offers in dialogs that are gone.
    fn forsake(&mut self, layer: &mut TransactionLayer, now: Instant) {
        self.forsake_theirs(layer, now);
        self.forsake_ours(layer);
    }

    fn rejected(&mut self, layer: &mut TransactionLayer, now: Instant, status: u16, response: &Message) {
        let (State::Inviting(inviting), Some(sent)) = (&mut self.state, &self.invite) else { return };
        let path = sent.path.clone();
        let failure = Failure {
            cause: FailureCause::Response(status),
            reason_phrase: response.reason().to_owned(),
            q850: response.q850_cause(),
            retry_after: response.retry_after().ok().flatten(),
            contacts: if (300..400).contains(&status) { response.redirects() } else { vec![] },
            message: Some(Box::new(response.clone())),
        };
        match inviting.phase {
            // RFC 3261 section 22.1: "it MUST increment the CSeq header field value"; Call-ID, From and To stay.
            Phase::Calling | Phase::Proceeding
                if matches!(status, 401 | 407) && self.auth.accept_challenge(response, layer.random()) =>
            {
                inviting.cseq += 1;
                self.send_invite(layer, now, path);
            }
            // RFC 4028 section 7.3: "the UAC … MAY retry the request" with what the 422 wants, in a new transaction.
            Phase::Calling | Phase::Proceeding if status == 422 && self.refresh.raise(response) => {
                inviting.cseq += 1;
                self.send_invite(layer, now, path);
            }
            // RFC 3261 section 21.4.16: "Extension Required", and what is required "is not listed in a Supported header
            // field in the request"; a user that only does not offer it has it all the same.
            Phase::Calling | Phase::Proceeding if status == 421 && inviting.lacked(response) => {
                inviting.invite.reliable = Reliable::Supported;
                inviting.cseq += 1;
                self.send_invite(layer, now, path);
            }
            // RFC 3263 section 4.3: a 503 is a failure of the server, and the next address is tried.
            Phase::Calling | Phase::Proceeding if status == 503 => {
                inviting.cseq += 1;
                self.try_next(layer, now, failure);
            }
            Phase::CancelLater { .. } | Phase::Cancelling { .. } if matches!(status, 401 | 407 | 487) => {
                let cause = self.given_up();
                self.fail(layer, now, Failure { cause, ..failure });
            }
            Phase::Resolving(_)
            | Phase::Calling
            | Phase::Proceeding
            | Phase::CancelLater { .. }
            | Phase::Cancelling { .. } => self.fail(layer, now, failure),
        }
        if self.is_over() {
            // After a 300 to 699 its transaction lets no 2xx through any more.
            self.invite = None;
            self.dialogs.clear();
        }
    }

    /// No response, or no way to the target.
    fn unreached(&mut self, layer: &mut TransactionLayer, now: Instant, cause: FailureCause) {
        let State::Inviting(inviting) = &mut self.state else { return };
        match inviting.phase {
            Phase::Calling | Phase::Proceeding | Phase::Resolving(_) => {
                inviting.cseq += 1;
                self.try_next(layer, now, Failure::new(cause));
            }
            // Nobody has said anything: that the user has given up meanwhile is not what the call failed of.
            Phase::CancelLater { .. } => self.fail(layer, now, Failure::new(cause)),
            Phase::Cancelling { .. } => {
                let cause = self.given_up();
                self.fail(layer, now, Failure::new(cause));
            }
        }
    }
}
