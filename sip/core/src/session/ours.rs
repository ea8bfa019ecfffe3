//! Offers of ours in a dialog: by re-INVITE once the call is answered, by UPDATE before (RFC 3261 section 14.1, RFC 3311
//! section 5.1).
//!
//! ```text
//!            offer                2xx: answered; 300–699: refused
//!   Idle ────────────▶ Sent ─────────────────────────────────────▶ Idle
//!                      │ ▲ └┐ 401, 407: again                       ▲
//!                  491 │ │  └┘                                      │
//!                      ▼ │ after the time of §14.1                  │
//!                    BackOff ── an offer of theirs comes: refused ──┘
//! ```
//!
//! The call is over while a re-INVITE is out: it is CANCELled, as soon as a provisional response allows that, and its 2xx
//! still gets an ACK.

use std::time::Instant;

use super::*;
use crate::dialog::{Ack, Waiting};
use crate::transaction::StatusClass;

/// How long a re-INVITE may wait for its final response once there is a provisional one: what RFC 3261 section 16.6 gives
/// proxies as timer C, "MUST be larger than 3 minutes".
const REINVITE_LIMIT: Duration = Duration::from_secs(181);

/// How often an offer is made again after a 491. RFC 3261 section 14.1 has "once more"; of two ends that keep colliding the
/// third time is settled by chance, and a peer that refuses everything so is not asked for as long as the call lasts.
const AGAIN: u8 = 3;

#[derive(Debug)]
pub(super) enum Ours {
    Idle,
    Sent(Box<Sent>),
    BackOff {
        body: Option<Body>,
        refresh: bool,
        /// How often it was refused with 491.
        refused: u8,
    },
}

/// A re-INVITE or UPDATE under way.
#[derive(Debug)]
pub(super) struct Sent {
    dialog: DialogId,
    carrier: Carrier,
    /// The offer; without one a re-INVITE asks for theirs.
    body: Option<Body>,
    /// `None` while it waits for an address.
    request: Option<SentRequest>,
    phase: Phase,
    /// What is agreed, to refresh the session: the user knows nothing of it.
    refresh: bool,
    /// The user's offer, to be made when the refresh is over.
    next: Option<Option<Body>>,
    /// How often it was refused with 491.
    refused: u8,
}

#[derive(Debug)]
struct SentRequest {
    key: ClientKey,
    cseq: u32,
    authorization: Lines,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Calling,
    Proceeding,
    /// To be cancelled, after the first provisional response.
    CancelLater,
    Cancelling,
}

impl Sent {
    fn method(&self) -> Method {
        if self.carrier == Carrier::Update { Method::Update } else { Method::Invite }
    }
}

impl Ours {
    pub(super) fn is_sent(&self) -> bool {
        match self {
            Self::Sent(_) => true,
            Self::Idle | Self::BackOff { .. } => false,
        }
    }

    /// The method and body of a request that waits to be sent in this dialog.
    pub(super) fn unsent(&self, at: DialogId) -> Option<(Method, Option<Body>)> {
        match self {
            Self::Sent(sent) if sent.dialog == at && sent.request.is_none() => {
                Some((sent.method(), sent.body.clone()))
            }
            Self::Sent(_) | Self::Idle | Self::BackOff { .. } => None,
        }
    }

    /// It has been sent.
    pub(super) fn sent(&mut self, key: ClientKey, cseq: u32, authorization: Lines) {
        if let Self::Sent(sent) = self {
            sent.request = Some(SentRequest { key, cseq, authorization });
        }
    }
}

impl Session {
    /// Offers anew. While the last offer waits to be made again, this one takes its place.
    pub(crate) fn offer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        body: Option<Body>,
    ) -> Result<(), Error> {
        match &mut self.ours {
            Ours::Sent(sent) if sent.refresh && sent.next.is_none() => {
                sent.next = Some(body);
                Ok(())
            }
            Ours::Sent(_) => Err(Error::OfferPending),
            Ours::BackOff { body: waiting, refresh, refused } => {
                *waiting = body;
                (*refresh, *refused) = (false, 0);
                Ok(())
            }
            Ours::Idle => self.send_offer(layer, now, body, false, 0),
        }
    }

    /// A re-INVITE with what is agreed, to refresh the session. One of the user's that is under way does as well.
    pub(super) fn refresh_by_reinvite(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let Ok(at) = self.call_dialog() else { return };
        let agreed = self.dialog(at).and_then(|dialog| dialog.exchange.local().cloned());
        if let (Ours::Idle, Some(body)) = (&self.ours, agreed) {
            // An offer of theirs under way does as well, and else the next try comes in time.
            let _ = self.send_offer(layer, now, Some(body), true, 0);
        }
    }

    /// The refresh is over: the user's offer that waited for it.
    fn offer_next(&mut self, layer: &mut TransactionLayer, now: Instant, next: Option<Option<Body>>) {
        if let Some(body) = next {
            self.ours = Ours::BackOff { body, refresh: false, refused: 0 };
            self.offer_again(layer, now);
        }
    }

    fn send_offer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        body: Option<Body>,
        refresh: bool,
        refused: u8,
    ) -> Result<(), Error> {
        let (at, carrier) = match &self.state {
            State::Established(at) => (*at, Carrier::Invite),
            State::Inviting(_) | State::Invited(_) => {
                // RFC 3311 section 5.1 of an UPDATE: "It MAY be sent for both early and confirmed dialogs"; of several early
                // ones, in the latest.
                let dialog = self.dialogs.last().ok_or(Error::WrongState)?;
                if body.is_none() || !dialog.peer.allows(&Method::Update) {
                    return Err(Error::WrongState);
                }
                (dialog.id, Carrier::Update)
            }
            // RFC 3261 section 14.1: a UAC "MUST NOT initiate a new INVITE transaction within a dialog while another
            // INVITE transaction is in progress in either direction".
            State::Answered(_) => return Err(Error::OfferPending),
            State::Over => return Err(Error::WrongState),
        };
        // RFC 3311 section 5.1 has a callee wait with its UPDATE until it "has received a PRACK for that reliable provisional
        // response", the one with its answer.
        let is_unconfirmed = self.invited().is_ok_and(|invited| invited.provisionals.holds_answer());
        if is_unconfirmed || !self.theirs.is_idle() {
            return Err(Error::OfferPending);
        }
        let dialog = self.dialog(at).filter(|dialog| dialog.exchange.is_agreed());
        let Some(dialog) = dialog else { return Err(Error::OfferPending) };
        dialog.exchange.offer(carrier);
        self.auth.begin();
        let phase = Phase::Calling;
        let sent = Sent { dialog: at, carrier, body, request: None, phase, refresh, next: None, refused };
        self.ours = Ours::Sent(Box::new(sent));
        if carrier == Carrier::Invite {
            self.set_timer(layer, SessionTimer::ReinviteTimeout, now + REINVITE_LIMIT);
        }
        self.send_in_dialog(layer, now, at, Waiting::Offer);
        Ok(())
    }

    /// What the transaction of a re-INVITE or UPDATE tells.
    pub(super) fn offer_outcome(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: DialogId,
        key: ClientKey,
        outcome: Outcome,
    ) {
        if let Some(gone) = self.gone.iter().find(|gone| gone.invite == key) {
            return layer.transmit(gone.ack.clone());
        }
        if let Some(ack) = self.dialog(at).and_then(|dialog| dialog.ack(key)) {
            // The 2xx again.
            if let Some(transmit) = ack.transmit.clone() {
                layer.transmit(transmit);
            }
            return;
        }
        let Ours::Sent(sent) = &mut self.ours else { return };
        if sent.request.as_ref().is_none_or(|request| request.key != key) {
            return;
        }
        match outcome {
            Outcome::Response { response, .. } => {
                let status = response.status().unwrap_or_default();
                match StatusClass::of(status) {
                    StatusClass::Provisional => match sent.phase {
                        Phase::Calling => sent.phase = Phase::Proceeding,
                        Phase::CancelLater => self.cancel_reinvite(layer, now, key),
                        Phase::Proceeding | Phase::Cancelling => {}
                    },
                    StatusClass::Success => self.offer_accepted(layer, now, at, key, &response),
                    StatusClass::Failure => self.offer_rejected(layer, now, at, status, Some(&response)),
                }
            }
            // RFC 3261 section 12.2.1.2: no response is a 408, and 8.1.3.1: a transport error is a 503.
            Outcome::TimedOut => self.offer_rejected(layer, now, at, 408, None),
            Outcome::TransportFailed => self.offer_rejected(layer, now, at, 503, None),
        }
    }

    /// The offer is out of the way, one way or another.
    fn take_sent(&mut self, layer: &mut TransactionLayer) -> Option<Box<Sent>> {
        self.cancel_timer(layer, SessionTimer::ReinviteTimeout);
        match std::mem::replace(&mut self.ours, Ours::Idle) {
            Ours::Sent(sent) => Some(sent),
            Ours::Idle | Ours::BackOff { .. } => None,
        }
    }

    fn offer_accepted(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: DialogId,
        key: ClientKey,
        response: &Message,
    ) {
        let Some(sent) = self.take_sent(layer) else { return };
        let is_over = self.is_over();
        let (Some(request), Some(dialog)) = (sent.request, self.dialog(at)) else { return };
        dialog.refresh_target(response);
        let (refresh, next) = (sent.refresh, sent.next);
        let known = dialog.exchange.remote().cloned();
        let ack = (sent.carrier == Carrier::Invite).then(|| {
            dialog.acks.push(Ack { invite: key, transmit: None });
            let SentRequest { key: invite, cseq, authorization } = request;
            Waiting::Ack { invite, cseq, authorization, body: None }
        });
        let body = response.sdp();
        dialog.exchange.fall_back();
        match (sent.body, ack, body) {
            // Ours asked for theirs, and the ACK waits for our answer.
            (None, Some(Waiting::Ack { invite, cseq, authorization, .. }), Some(offer)) if !is_over => {
                // Nothing stands in the way of it: the exchange has just fallen back.
                if dialog.exchange.take_offer(Carrier::Success).is_ok() {
                    let source = theirs::Source::Success { invite, cseq, authorization };
                    self.await_user(layer, now, at, source, Some(offer.clone()));
                }
                self.emit(layer, SessionEvent::OfferAnswered { body: Some(offer) });
            }
            (local, ack, answer) => {
                if local.is_some() && answer.is_some() {
                    dialog.exchange.agree(local, answer.clone());
                }
                if let Some(ack) = ack {
                    self.send_in_dialog(layer, now, at, ack);
                }
                // A peer may describe itself anew in its answer to a refresh.
                let is_news = !refresh || answer.is_some() && answer != known;
                if !is_over && is_news {
                    self.emit(layer, SessionEvent::OfferAnswered { body: answer });
                }
            }
        }
        if !is_over {
            self.refreshed_by_us(layer, now, response);
            self.offer_next(layer, now, next);
        }
    }

    fn offer_rejected(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: DialogId,
        status: u16,
        response: Option<&Message>,
    ) {
        let challenged = response.is_some_and(|response| match status {
            422 => self.refresh.raise(response),
            _ => self.auth.accept_challenge(response, layer.random()),
        });
        let Some(mut sent) = self.take_sent(layer) else { return };
        let is_established = match self.state {
            State::Established(_) => true,
            State::Inviting(_) | State::Invited(_) | State::Answered(_) => false,
            State::Over => return,
        };
        let cancelled = match sent.phase {
            Phase::Calling | Phase::Proceeding => false,
            Phase::CancelLater | Phase::Cancelling => true,
        };
        if challenged && !cancelled {
            sent.request = None;
            sent.phase = Phase::Calling;
            if sent.carrier == Carrier::Invite {
                self.set_timer(layer, SessionTimer::ReinviteTimeout, now + REINVITE_LIMIT);
            }
            self.ours = Ours::Sent(sent);
            return self.send_in_dialog(layer, now, at, Waiting::Offer);
        }
        if let Some(dialog) = self.dialog(at) {
            dialog.exchange.fall_back();
        }
        match status {
            // RFC 3261 section 14.1: "the UAC SHOULD attempt the re-INVITE once more" after a random time.
            491 if !cancelled && (sent.next.is_some() || sent.refused < AGAIN) => {
                let (body, refresh, refused) = match sent.next {
                    Some(next) => (next, false, 0),
                    None => (sent.body, sent.refresh, sent.refused + 1),
                };
                self.ours = Ours::BackOff { body, refresh, refused };
                self.wait_to_offer_again(layer, now);
            }
            // RFC 3261 section 12.2.1.2 has these end the dialog: "For INVITE initiated dialogs, terminating the dialog
            // consists of sending a BYE." RFC 5057 section 5.1 adds others (404, 410, 416, 482 to 485, 502, 604), which
            // are borne on purpose: peers say them of the request, and of a call that stands all the same.
            408 | 481 if is_established => {
                let cause = match (status, sent.refresh) {
                    (481, _) => EndCause::Forgotten,
                    (_, true) => EndCause::SessionExpired,
                    (_, false) => EndCause::Timeout,
                };
                self.send_bye(layer, now, at, None);
                self.end(layer, now, Side::Local, None, cause);
            }
            // Another try comes before the session ends.
            _ if sent.refresh => self.offer_next(layer, now, sent.next),
            _ => self.emit(layer, SessionEvent::OfferRefused { status }),
        }
    }

    /// RFC 3261 section 14.1: "If the UAC is the owner of the Call-ID of the dialog ID (meaning it generated the value), T
    /// has a randomly chosen value between 2.1 and 4 seconds in units of 10 ms", otherwise "between 0 and 2 seconds".
    fn wait_to_offer_again(&self, layer: &mut TransactionLayer, now: Instant) {
        let (from, to) = match self.caller {
            Side::Local => (210, 400),
            Side::Remote => (0, 200),
        };
        let units = from + layer.random() % (to - from + 1);
        self.set_timer(layer, SessionTimer::OfferAgain, now + Duration::from_millis(10 * units));
    }

    pub(super) fn offer_again(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let Ours::BackOff { body, refresh, refused } = &self.ours else { return };
        let (body, refresh, refused) = (body.clone(), *refresh, *refused);
        match self.send_offer(layer, now, body, refresh, refused) {
            Ok(()) => {}
            Err(Error::OfferPending) => self.wait_to_offer_again(layer, now),
            Err(_) => self.give_way(layer),
        }
    }

    /// An offer of the peer's has come first: ours, made for what is in force now, is not made again.
    pub(super) fn give_way(&mut self, layer: &mut TransactionLayer) {
        if let Ours::BackOff { refresh, .. } = self.ours {
            self.ours = Ours::Idle;
            self.cancel_timer(layer, SessionTimer::OfferAgain);
            if !refresh {
                self.emit(layer, SessionEvent::OfferRefused { status: 491 });
            }
        }
    }

    fn cancel_reinvite(&mut self, layer: &mut TransactionLayer, now: Instant, key: ClientKey) {
        let Ours::Sent(sent) = &mut self.ours else { return };
        sent.phase = Phase::Cancelling;
        if layer.send_cancel(now, key, self.id, None) {
            self.transactions += 1;
        }
        let deadline = now + layer.config.timers.transaction_timeout();
        self.set_timer(layer, SessionTimer::ReinviteTimeout, deadline);
    }

    pub(super) fn reinvite_timeout(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let Ours::Sent(sent) = &mut self.ours else { return };
        let (at, key) = (sent.dialog, sent.request.as_ref().map(|request| request.key));
        match (sent.phase, key) {
            (Phase::Proceeding, Some(key)) => self.cancel_reinvite(layer, now, key),
            (Phase::Calling, Some(_)) => sent.phase = Phase::CancelLater,
            (Phase::CancelLater | Phase::Cancelling, Some(key)) => {
                layer.abandon(key);
                self.offer_rejected(layer, now, at, 408, None);
            }
            (_, None) => self.offer_rejected(layer, now, at, 503, None),
        }
    }

    /// The call is over.
    pub(super) fn drop_ours(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let Ours::Sent(sent) = &mut self.ours else {
            self.ours = Ours::Idle;
            return;
        };
        let key = sent.request.as_ref().map(|request| request.key);
        match (sent.carrier, key, sent.phase) {
            (Carrier::Invite, Some(_), Phase::Calling) => sent.phase = Phase::CancelLater,
            (Carrier::Invite, Some(key), Phase::Proceeding) => self.cancel_reinvite(layer, now, key),
            (Carrier::Invite, Some(_), Phase::CancelLater | Phase::Cancelling) => {}
            (_, _, _) => self.ours = Ours::Idle,
        }
    }

    /// The dialog of an offer is gone: another fork answered, it hung up, or its INVITE was refused.
    pub(super) fn forsake_ours(&mut self, layer: &mut TransactionLayer) {
        let Ours::Sent(sent) = &self.ours else { return };
        let at = sent.dialog;
        if self.dialog(at).is_none() {
            self.ours = Ours::Idle;
            self.emit(layer, SessionEvent::OfferRefused { status: 481 });
        }
    }
}
