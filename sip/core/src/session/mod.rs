//! INVITE sessions (RFC 3261 sections 9, 13, 15): calls from the INVITE to their one terminal event.
//!
//! ```text
//!   outbound   Inviting ──2xx: ACK──────────────────▶ Established ──BYE──▶ Over
//!              │  300–699, timeout, CANCEL                                  ▲
//!              └────────────────────────────────────────────────────────────┤
//!   inbound    Invited ──answer: 2xx──▶ Answered ──ACK──▶ Established ──BYE─┤
//!              │ reject, CANCEL             │ no ACK: BYE                   │
//!              └────────────────────────────┴───────────────────────────────┘
//! ```
//!
//! A session that is over stays while its client transactions run: a 2xx may still come, from the same callee (it is
//! acknowledged again) or from another fork (it is acknowledged and hung up).

mod established;
mod event;
mod inbound;
mod outbound;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use smallvec::SmallVec;

pub use event::{
    Body, EndCause, Failure, FailureCause, Hangup, Invite, SessionEvent, SessionId, Side, Target,
};

use crate::authenticator::{Authenticator, Lines};
use crate::dialog::Dialog;
use crate::endpoint::{Destinations, Error, Event, ResolveError};
use crate::transaction::{
    ClientKey, Outcome, Path, Report, ServerId, TimerKey, TransactionLayer, User, parse_token,
};
use crate::transport::Hop;
use crate::{Message, Method};
use inbound::{Answered, Invited};
use outbound::Inviting;
pub(crate) use outbound::{check_headers, check_request_headers};

/// The timers of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionTimer {
    /// Outbound: 64*T1 after the CANCEL "the client SHOULD then consider the original transaction cancelled"
    /// (RFC 3261 section 9.1).
    CancelTimeout,
    /// Inbound: a provisional response is repeated every minute, so that proxies do not give up (section 13.3.1.1).
    RepeatProvisional,
    /// Inbound: the 2xx is repeated until its ACK comes (section 13.3.1.4).
    RepeatAnswer,
    /// Inbound: 64*T1 without an ACK.
    AckTimeout,
}

impl SessionTimer {
    const ALL: [Self; 4] =
        [Self::CancelTimeout, Self::RepeatProvisional, Self::RepeatAnswer, Self::AckTimeout];
}

/// RFC 3261 section 13.3.1.1: "the UAS MUST send a non-100 provisional response at every minute".
const PROVISIONAL_INTERVAL: Duration = Duration::from_secs(60);

/// Dialogs that one INVITE may make by forking. Beyond it a 2xx is left to its sender's own timeout.
const MAX_FORKS: usize = 16;

#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    call_id: ByteString,
    /// The tag of our From or To: finds the session, and cannot be guessed.
    tag: u64,
    auth: Authenticator,
    state: State,
    /// What answers to an INVITE of ours need, as long as they may come.
    invite: Option<SentInvite>,
    /// The dialog of the call, and then those of forks that answered too late.
    dialogs: SmallVec<[Dialog; 1]>,
    /// Client transactions running.
    transactions: u32,
}

#[derive(Debug)]
enum State {
    /// Outbound, no final response yet.
    Inviting(Box<Inviting>),
    /// Inbound, no final response yet.
    Invited(Invited),
    /// Inbound, the 2xx is not acknowledged yet.
    Answered(Answered),
    Established,
    /// The terminal event is out.
    Over,
}

/// An INVITE under way or answered.
#[derive(Debug)]
struct SentInvite {
    key: ClientKey,
    path: Path,
    /// Our From, tag included.
    from: ByteString,
    cseq: u32,
    authorization: Lines,
}

impl Session {
    fn emit(&self, layer: &mut TransactionLayer, event: SessionEvent) {
        layer.event(Event::Session { id: self.id, event });
    }

    /// The terminal event of a call that was not answered.
    fn fail(&mut self, layer: &mut TransactionLayer, failure: Failure) {
        self.state = State::Over;
        self.emit(layer, SessionEvent::Failed(failure));
    }

    /// The terminal event of a call that was.
    fn end(&mut self, layer: &mut TransactionLayer, by: Side, q850: Option<u8>, cause: EndCause) {
        self.state = State::Over;
        self.emit(layer, SessionEvent::Ended { by, q850, cause });
    }

    fn set_timer(&self, layer: &mut TransactionLayer, timer: SessionTimer, deadline: Instant) {
        layer.timers.set(TimerKey::Session(self.id, timer), deadline);
    }

    fn cancel_timer(&self, layer: &mut TransactionLayer, timer: SessionTimer) {
        layer.timers.cancel(TimerKey::Session(self.id, timer));
    }

    fn is_over(&self) -> bool {
        match self.state {
            State::Over => true,
            State::Inviting(_) | State::Invited(_) | State::Answered(_) | State::Established => false,
        }
    }

    /// Nothing more can come for it.
    fn is_finished(&self) -> bool {
        self.is_over() && self.transactions == 0 && self.dialogs.iter().all(Dialog::is_located)
    }
}

/// Every session, and where messages find theirs.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: BTreeMap<SessionId, Session>,
    by_tag: BTreeMap<u64, SessionId>,
    /// Those that are not over.
    live: usize,
    next: u64,
}

impl Sessions {
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Live ones and those that linger.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn call_id(&self, id: SessionId) -> Option<&ByteString> {
        self.sessions.get(&id).map(|session| &session.call_id)
    }

    pub(crate) fn is_unheard(&self, id: SessionId) -> bool {
        match self.sessions.get(&id).map(|session| &session.state) {
            Some(State::Inviting(inviting)) => !inviting.heard,
            Some(State::Invited(_) | State::Answered(_) | State::Established | State::Over) | None => false,
        }
    }

    /// The tag of our end.
    pub(crate) fn tag(&self, id: SessionId) -> Option<u64> {
        self.sessions.get(&id).map(|session| session.tag)
    }

    /// The session that an in-dialog request is for: by our tag, and then by the rest of the dialog id.
    pub(crate) fn of_request(&self, request: &Message) -> Option<SessionId> {
        let tag = parse_token(&request.to_tag()?)?;
        let id = *self.by_tag.get(&tag)?;
        let session = self.sessions.get(&id)?;
        (request.call_id().ok()? == session.call_id).then_some(id)
    }

    fn add(&mut self, id: SessionId, session: Session) {
        self.by_tag.insert(session.tag, id);
        self.sessions.insert(id, session);
        self.live += 1;
    }

    fn next_id(&mut self) -> SessionId {
        let id = SessionId(self.next);
        self.next += 1;
        id
    }

    /// Does something to a session, and clears up after it when that ended it.
    fn with<R>(
        &mut self,
        layer: &mut TransactionLayer,
        id: SessionId,
        act: impl FnOnce(&mut Session, &mut TransactionLayer) -> R,
    ) -> Option<R> {
        let session = self.sessions.get_mut(&id)?;
        let was_over = session.is_over();
        let result = act(session, layer);
        if session.is_over() && !was_over {
            self.live -= 1;
            for timer in SessionTimer::ALL {
                session.cancel_timer(layer, timer);
            }
        }
        if session.is_finished() {
            self.by_tag.remove(&session.tag);
            self.sessions.remove(&id);
        }
        Some(result)
    }
}

/// Commands.
impl Sessions {
    pub(crate) fn invite(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        invite: Invite,
    ) -> Result<SessionId, Error> {
        self.admit(layer)?;
        let id = self.next_id();
        let session = outbound::begin(layer, id, invite)?;
        self.add(id, session);
        self.with(layer, id, |session, layer| session.start(layer, now));
        Ok(id)
    }

    /// Whether there is room for another session.
    pub(crate) fn admit(&self, layer: &TransactionLayer) -> Result<(), Error> {
        if self.live >= layer.config.max_sessions {
            return Err(Error::TooManySessions);
        }
        if layer.is_full() {
            return Err(Error::TooManyTransactions);
        }
        Ok(())
    }

    pub(crate) fn hangup(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: SessionId,
        hangup: &Hangup,
    ) -> Result<(), Error> {
        self.with(layer, id, |session, layer| session.hangup(layer, now, hangup))
            .ok_or(Error::UnknownSession)?
    }

    pub(crate) fn ring(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: SessionId,
        status: u16,
        body: Option<&Body>,
    ) -> Result<(), Error> {
        self.with(layer, id, |session, layer| session.ring(layer, now, status, body))
            .ok_or(Error::UnknownSession)?
    }

    pub(crate) fn answer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: SessionId,
        body: Option<&Body>,
    ) -> Result<(), Error> {
        self.with(layer, id, |session, layer| session.answer(layer, now, body))
            .ok_or(Error::UnknownSession)?
    }

    pub(crate) fn reject(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: SessionId,
        status: u16,
        headers: &[(String, String)],
    ) -> Result<(), Error> {
        self.with(layer, id, |session, layer| session.reject(layer, now, status, headers))
            .ok_or(Error::UnknownSession)?
    }

    pub(crate) fn dismiss(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: SessionId,
        status: u16,
        headers: &[(String, String)],
    ) -> Result<(), Error> {
        self.with(layer, id, |session, layer| session.dismiss(layer, now, status, headers))
            .ok_or(Error::UnknownSession)?
    }
}

/// What comes up from the transaction layer.
impl Sessions {
    /// A new INVITE outside any dialog, checked and admitted.
    pub(crate) fn receive_invite(
        &mut self,
        layer: &mut TransactionLayer,
        server: ServerId,
        hop: Hop,
        request: Message,
    ) {
        let id = self.next_id();
        let tag = layer.tag();
        layer.attach(server, id);
        self.add(id, inbound::begin(id, tag, server, &request));
        self.with(layer, id, |session, layer| {
            session.emit(layer, SessionEvent::Incoming { hop, request });
        });
    }

    /// A request in the dialog of a session; `server` waits for its answer.
    pub(crate) fn receive_request(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: SessionId,
        server: ServerId,
        hop: Hop,
        request: &Message,
    ) {
        self.with(layer, id, |session, layer| session.receive_request(layer, now, server, hop, request));
    }

    /// The ACK for a 2xx.
    pub(crate) fn receive_ack(&mut self, layer: &mut TransactionLayer, now: Instant, ack: &Message) {
        if let Some(id) = self.of_request(ack) {
            self.with(layer, id, |session, layer| session.receive_ack(layer, now));
        }
    }

    /// A CANCEL for the INVITE of this session; it is answered already.
    pub(crate) fn receive_cancel(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: SessionId,
        cancel: &Message,
    ) {
        self.with(layer, id, |session, layer| session.receive_cancel(layer, now, cancel));
    }

    /// A client transaction of a session tells something.
    pub(crate) fn report(&mut self, layer: &mut TransactionLayer, now: Instant, report: Report) {
        let Report { user, key, outcome } = report;
        match user {
            User::Invite(id) => {
                self.with(layer, id, |session, layer| session.invite_outcome(layer, now, key, outcome));
            }
            User::Bye(id, dialog) => {
                if let Outcome::Response { response, .. } = outcome {
                    self.with(layer, id, |session, layer| {
                        session.bye_response(layer, now, dialog, &response)
                    });
                }
            }
            User::Cancel(_) | User::Register(_) | User::Outgoing(_) => {}
        }
    }

    /// A client transaction of this session is over.
    pub(crate) fn transaction_ended(&mut self, layer: &mut TransactionLayer, id: SessionId) {
        self.with(layer, id, |session, _| session.transactions = session.transactions.saturating_sub(1));
    }

    pub(crate) fn timer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: SessionId,
        timer: SessionTimer,
    ) {
        self.with(layer, id, |session, layer| match timer {
            SessionTimer::CancelTimeout => session.cancel_timeout(layer),
            SessionTimer::RepeatProvisional => session.repeat_provisional(layer, now),
            SessionTimer::RepeatAnswer => session.repeat_answer(layer, now),
            SessionTimer::AckTimeout => session.ack_timeout(layer, now),
        });
    }

    /// Where an INVITE's target is.
    pub(crate) fn target_resolved(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: SessionId,
        result: Result<Destinations, ResolveError>,
    ) {
        self.with(layer, id, |session, layer| session.target_resolved(layer, now, result));
    }

    /// Where a dialog's next hop is.
    pub(crate) fn dialog_resolved(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: SessionId,
        dialog: usize,
        result: Result<Destinations, ResolveError>,
    ) {
        self.with(layer, id, |session, layer| session.dialog_resolved(layer, now, dialog, result));
    }
}

/// A failure with nothing to say but its cause.
fn failure(cause: FailureCause) -> Failure {
    Failure { cause, reason_phrase: String::new(), q850: None, retry_after: None }
}

/// The Contact of this end of `path`.
pub(crate) fn contact(user: Option<&str>, path: &Path) -> String {
    let at = if user.is_some() { "@" } else { "" };
    let user = user.unwrap_or_default();
    match path.transport.uri_parameter() {
        None => format!("<sip:{user}{at}{}>", path.advertised),
        Some(transport) => format!("<sip:{user}{at}{};transport={transport}>", path.advertised),
    }
}
