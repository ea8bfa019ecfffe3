//! All sessions of an endpoint: where messages and commands find theirs, and how many there may be.

use std::collections::BTreeMap;

use super::*;
use crate::transaction::{Report, User, parse_token};

/// Every session, and where messages find theirs.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: BTreeMap<SessionId, Box<Session>>,
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
            Some(State::Invited(_) | State::Answered(_) | State::Established(_) | State::Over) | None => {
                false
            }
        }
    }

    /// The tag of our end.
    pub(crate) fn tag(&self, id: SessionId) -> Option<u64> {
        self.sessions.get(&id).map(|session| session.tag)
    }

    /// The session that an in-dialog request is for: by our tag, and then by the rest of the dialog id.
    pub(crate) fn of_request(&self, request: &Message) -> Option<SessionId> {
        let session = self.of_dialog(&request.to_tag()?, &request.call_id().ok()?)?;
        Some(session.id)
    }

    /// The session with this tag of ours.
    pub(super) fn of_dialog(&self, our_tag: &str, call_id: &str) -> Option<&Session> {
        let id = self.by_tag.get(&parse_token(our_tag)?)?;
        self.sessions.get(id).map(Box::as_ref).filter(|session| session.call_id == call_id)
    }

    pub(super) fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id).map(Box::as_ref)
    }

    fn add(&mut self, id: SessionId, session: Session) {
        self.by_tag.insert(session.tag, id);
        self.sessions.insert(id, Box::new(session));
        self.live += 1;
    }

    fn next_id(&mut self) -> SessionId {
        let id = SessionId(self.next);
        self.next += 1;
        id
    }

    /// Does something to a session, and clears up after it when that ended it.
    pub(super) fn with<R>(
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
            for timer in SessionTimer::ALL.into_iter().filter(|timer| !timer.outlives()) {
                session.cancel_timer(layer, timer);
            }
        }
        if session.is_finished() {
            for timer in SessionTimer::ALL {
                session.cancel_timer(layer, timer);
            }
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

    /// Has a session do what its user wants.
    pub(crate) fn command<R>(
        &mut self,
        layer: &mut TransactionLayer,
        id: SessionId,
        act: impl FnOnce(&mut Session, &mut TransactionLayer) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.with(layer, id, act).ok_or(Error::UnknownSession)?
    }
}

/// What comes up from the transaction layer.
impl Sessions {
    /// A new INVITE outside any dialog, checked and admitted.
    pub(crate) fn receive_invite(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        hop: Hop,
        request: Message,
        replaces: Option<SessionId>,
    ) {
        let id = self.next_id();
        let tag = layer.tag();
        layer.attach(server, id);
        self.add(id, inbound::begin(layer, id, tag, server, &request, replaces));
        self.with(layer, id, |session, layer| {
            layer.identify(server, session.uuid);
            session.arrive(layer, now, hop, request);
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
        self.with(layer, id, |session, layer| {
            layer.identify(server, session.uuid);
            session.receive_request(layer, now, server, hop, request);
        });
    }

    /// The ACK for a 2xx.
    pub(crate) fn receive_ack(&mut self, layer: &mut TransactionLayer, now: Instant, ack: &Message) {
        if let Some(id) = self.of_request(ack) {
            self.with(layer, id, |session, layer| session.receive_ack(layer, now, ack));
        }
    }

    /// A CANCEL for this INVITE of the session; it is answered already.
    pub(crate) fn receive_cancel(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: SessionId,
        invite: ServerId,
        cancel: &Message,
    ) {
        self.with(layer, id, |session, layer| session.receive_cancel(layer, now, invite, cancel));
    }

    /// A client transaction of a session tells something.
    pub(crate) fn report(&mut self, layer: &mut TransactionLayer, now: Instant, report: Report) {
        let Report { user, key, outcome } = report;
        match user {
            User::Invite(id) => {
                self.with(layer, id, |session, layer| session.invite_outcome(layer, now, key, outcome));
            }
            User::Dialog(id, dialog, purpose) => {
                self.with(layer, id, |session, layer| match purpose {
                    Purpose::Bye => session.bye_outcome(layer, now, dialog, outcome),
                    Purpose::Prack => session.prack_outcome(layer, now, dialog, outcome),
                    Purpose::Offer => session.offer_outcome(layer, now, dialog, key, outcome),
                    Purpose::Other(number) => session.other_outcome(layer, now, dialog, number, outcome),
                });
            }
            User::Cancel(_) | User::Register(_) | User::Outgoing(_) => {}
        }
    }

    /// A client transaction of this session is over.
    pub(crate) fn transaction_ended(&mut self, layer: &mut TransactionLayer, id: SessionId, key: ClientKey) {
        self.with(layer, id, |session, _| {
            session.transactions = session.transactions.saturating_sub(1);
            session.forget_invite(key);
        });
    }

    pub(crate) fn timer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: SessionId,
        timer: SessionTimer,
    ) {
        self.with(layer, id, |session, layer| session.fire(layer, now, timer));
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
        dialog: DialogId,
        result: Result<Destinations, ResolveError>,
    ) {
        self.with(layer, id, |session, layer| session.dialog_resolved(layer, now, dialog, result));
    }
}
