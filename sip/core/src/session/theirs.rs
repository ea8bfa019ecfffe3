//! Offers of the peer's that wait for the user, and the re-INVITE that waits for its ACK (RFC 3261 section 14.2, RFC 3311
//! section 5.2, RFC 3262 section 5).
//!
//! ```text
//!           INVITE, UPDATE, PRACK,           accepted: 2xx, PRACK, ACK
//!           reliable 1xx, 2xx                refused, timed out, taken back
//!   Idle ────────────────────────▶ Asked ──────────────────────────────────▶ Idle
//!                                    │ an INVITE is accepted                  ▲
//!                                    └──▶ Unacknowledged ── ACK ──────────────┤
//!                                              │ 64*T1 without one: BYE       │
//!                                              └──────────────────────────────┘
//! ```

use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::Name;
use crate::dialog::Waiting;
use crate::endpoint::Answer;
use crate::headers::RAck;
use exchange::Collision;

/// How long the user has to answer an offer: far less than the 32 seconds after which the peer gives up, and far more than
/// a machine needs.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) enum Theirs {
    Idle,
    /// The user is asked; the offer is `None` where ours is wanted.
    Asked {
        dialog: DialogId,
        source: Source,
        offer: Option<Bytes>,
    },
    /// The 2xx of a re-INVITE is out, with our offer where that was wanted.
    Unacknowledged {
        dialog: DialogId,
        server: ServerId,
        cseq: u32,
        interval: Duration,
        offer: Option<Body>,
    },
}

/// What carried the offer, and so how to answer it.
#[derive(Debug)]
pub(super) enum Source {
    Invite {
        server: ServerId,
        cseq: u32,
    },
    /// An UPDATE or a PRACK.
    Request {
        server: ServerId,
    },
    /// A reliable provisional response.
    Provisional {
        rack: RAck,
    },
    /// The 2xx to an INVITE of ours.
    Success {
        invite: ClientKey,
        cseq: u32,
        authorization: Lines,
    },
}

impl Theirs {
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Idle => true,
            Self::Asked { .. } | Self::Unacknowledged { .. } => false,
        }
    }
}

/// What comes in.
impl Session {
    pub(super) fn receive_reinvite(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        at: DialogId,
        cseq: u32,
        request: &Message,
    ) {
        let offer = request.sdp();
        let collision = match &self.state {
            State::Established(id) if *id == at => self.collision(at, Carrier::Invite, offer.as_ref()),
            // "A UAS that receives a second INVITE before it sends the final response to a first INVITE with a lower CSeq
            // sequence number on the same dialog MUST return a 500".
            State::Invited(_) => Err(Collision::Busy),
            // "A UAS that receives an INVITE on a dialog while an INVITE it had sent on that dialog is in progress MUST
            // return a 491". RFC 5407 section 3.1.4 has the same for a 2xx that is not acknowledged yet.
            State::Inviting(_) | State::Answered(_) => Err(Collision::Glare),
            State::Established(_) | State::Over => return layer.respond(now, server, &Answer::new(481)),
        };
        match collision {
            Err(collision) => refuse(layer, now, server, collision),
            Ok(refreshed) => {
                layer.attach(server, self.id);
                layer.respond(now, server, &Answer::new(100));
                match refreshed {
                    Some(ours) => self.accept_reinvite(layer, now, server, at, cseq, &ours, None),
                    None => {
                        self.await_user(layer, now, at, Source::Invite { server, cseq }, offer.clone());
                        self.emit(layer, SessionEvent::Offered { dialog: at, body: offer });
                    }
                }
            }
        }
    }

    pub(super) fn receive_update(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        at: DialogId,
        hop: Hop,
        request: &Message,
    ) {
        let Some(offer) = request.sdp() else {
            // RFC 3311 section 5.2: "A UAS that receives an UPDATE before it has generated a final response to a previous
            // UPDATE on the same dialog MUST return a 500 response to the new UPDATE, and MUST include a Retry-After".
            if self.owes_update(layer, at) {
                return refuse(layer, now, server, Collision::Busy);
            }
            if let Some(dialog) = self.dialog(at) {
                dialog.refresh_target(request);
            }
            return self.agree_to(layer, now, server, hop, None);
        };
        self.receive_offer(layer, now, server, at, Carrier::Update, hop, request, offer);
    }

    /// Whether an UPDATE in this dialog waits for its answer.
    fn owes_update(&self, layer: &TransactionLayer, at: DialogId) -> bool {
        match &self.theirs {
            Theirs::Asked { dialog, source: Source::Request { server }, .. } => {
                let request = layer.request(*server).map(|(_, request)| request);
                *dialog == at && request.and_then(Message::method) == Some(&Method::Update)
            }
            Theirs::Asked { .. } | Theirs::Unacknowledged { .. } | Theirs::Idle => false,
        }
    }

    /// An UPDATE or PRACK with an offer.
    #[expect(clippy::too_many_arguments, reason = "they are what a request is")]
    pub(super) fn receive_offer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        at: DialogId,
        carrier: Carrier,
        hop: Hop,
        request: &Message,
        offer: Bytes,
    ) {
        match self.collision(at, carrier, Some(&offer)) {
            Err(collision) => refuse(layer, now, server, collision),
            Ok(Some(ours)) => {
                if carrier == Carrier::Update
                    && let Some(dialog) = self.dialog(at)
                {
                    dialog.refresh_target(request);
                }
                self.agree_to(layer, now, server, hop, Some(&ours));
            }
            Ok(None) => {
                self.await_user(layer, now, at, Source::Request { server }, Some(offer.clone()));
                self.emit(layer, SessionEvent::Offered { dialog: at, body: Some(offer) });
            }
        }
    }

    /// Takes an offer in, unless another is under way. `Some`: it says nothing new and is answered with this, and nothing
    /// is under way then.
    fn collision(
        &mut self,
        at: DialogId,
        carrier: Carrier,
        offer: Option<&Bytes>,
    ) -> Result<Option<Body>, Collision> {
        match self.theirs {
            Theirs::Asked { .. } => return Err(Collision::Busy),
            Theirs::Unacknowledged { .. } => return Err(Collision::Glare),
            Theirs::Idle => {}
        }
        if self.ours.is_sent() {
            return Err(Collision::Glare);
        }
        let dialog = self.dialog(at).ok_or(Collision::Busy)?;
        if let Some(ours) = offer.and_then(|offer| dialog.exchange.refresh(offer)) {
            return Ok(Some(ours.clone()));
        }
        dialog.exchange.take_offer(carrier).map(|()| None)
    }

    /// The user has its time to answer. The exchange has taken the offer in; one of ours that waits to be made again is
    /// void, so that the user has one to think of.
    pub(super) fn await_user(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        dialog: DialogId,
        source: Source,
        offer: Option<Bytes>,
    ) {
        self.give_way(layer);
        self.theirs = Theirs::Asked { dialog, source, offer };
        // With timers shorter than those of the RFC, what carried the offer does not wait that long.
        let patience = PATIENCE.min(layer.config.timers.transaction_timeout() / 2);
        self.set_timer(layer, SessionTimer::OfferTimeout, now + patience);
    }

    /// The peer takes its re-INVITE back. Returns whether it was that one.
    pub(super) fn cancel_theirs(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        invite: ServerId,
    ) -> bool {
        match &self.theirs {
            Theirs::Asked { source: Source::Invite { server, .. }, .. } if *server == invite => {
                self.withdraw(layer, now, 487);
                true
            }
            Theirs::Asked { .. } | Theirs::Unacknowledged { .. } | Theirs::Idle => false,
        }
    }

    /// The ACK of a re-INVITE.
    pub(super) fn reinvite_acknowledged(&mut self, layer: &mut TransactionLayer, ack: &Message) {
        let number = ack.cseq().map_or(0, |cseq| cseq.number);
        match &mut self.theirs {
            Theirs::Unacknowledged { dialog, cseq, offer, .. } if *cseq == number => {
                let (at, offer) = (*dialog, offer.take());
                self.theirs = Theirs::Idle;
                self.cancel_timer(layer, SessionTimer::RepeatAnswer);
                self.cancel_timer(layer, SessionTimer::AckTimeout);
                let Some(offer) = offer else { return };
                let body = ack.sdp();
                if let Some(dialog) = self.dialog(at) {
                    dialog.exchange.fall_back();
                    if body.is_some() {
                        dialog.exchange.agree(Some(offer), body.clone());
                    }
                }
                self.emit(layer, SessionEvent::OfferAnswered { body });
            }
            Theirs::Unacknowledged { .. } | Theirs::Asked { .. } | Theirs::Idle => {}
        }
    }

    /// Returns the transaction whose 2xx is to be sent again, and after what time the next time.
    pub(super) fn repeat_reinvite_answer(
        &mut self,
        layer: &TransactionLayer,
    ) -> Option<(ServerId, Duration)> {
        match &mut self.theirs {
            Theirs::Unacknowledged { server, interval, .. } => {
                *interval = layer.config.timers.back_off(*interval);
                Some((*server, *interval))
            }
            Theirs::Asked { .. } | Theirs::Idle => None,
        }
    }
}

/// What the user, or the time, makes of it.
impl Session {
    pub(crate) fn accept_offer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        body: Body,
    ) -> Result<(), Error> {
        match &self.theirs {
            Theirs::Asked { source: Source::Success { .. }, .. }
            | Theirs::Unacknowledged { .. }
            | Theirs::Idle => Err(Error::WrongState),
            Theirs::Asked { .. } => {
                self.answer_theirs(layer, now, body);
                Ok(())
            }
        }
    }

    pub(crate) fn acknowledge(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        body: Body,
    ) -> Result<(), Error> {
        match &self.theirs {
            Theirs::Asked { source: Source::Success { .. }, .. } => {
                self.answer_theirs(layer, now, body);
                Ok(())
            }
            Theirs::Asked { .. } | Theirs::Unacknowledged { .. } | Theirs::Idle => Err(Error::WrongState),
        }
    }

    pub(crate) fn refuse_offer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        status: u16,
    ) -> Result<(), Error> {
        if !(300..700).contains(&status) {
            return Err(Error::Status { status });
        }
        match &self.theirs {
            Theirs::Asked { source: Source::Success { .. }, .. }
            | Theirs::Unacknowledged { .. }
            | Theirs::Idle => Err(Error::WrongState),
            Theirs::Asked { .. } => {
                self.refuse_theirs(layer, now, status);
                Ok(())
            }
        }
    }

    /// The offer is no longer the user's to answer.
    fn take_asked(&mut self, layer: &mut TransactionLayer) -> Option<(DialogId, Source, Option<Bytes>)> {
        match std::mem::replace(&mut self.theirs, Theirs::Idle) {
            Theirs::Asked { dialog, source, offer } => {
                self.cancel_timer(layer, SessionTimer::OfferTimeout);
                Some((dialog, source, offer))
            }
            other @ (Theirs::Idle | Theirs::Unacknowledged { .. }) => {
                self.theirs = other;
                None
            }
        }
    }

    fn answer_theirs(&mut self, layer: &mut TransactionLayer, now: Instant, body: Body) {
        let Some((at, source, offer)) = self.take_asked(layer) else { return };
        match source {
            Source::Invite { server, cseq } => {
                self.accept_reinvite(layer, now, server, at, cseq, &body, Some(offer));
            }
            Source::Request { server } => {
                let Some((hop, request)) = layer.request(server) else { return };
                if let Some(dialog) = self.dialog(at) {
                    if request.method() == Some(&Method::Update) {
                        dialog.refresh_target(request);
                    }
                    dialog.exchange.agree(Some(body.clone()), offer);
                }
                self.agree_to(layer, now, server, hop, Some(&body));
                self.go_on_ringing(layer, now);
            }
            Source::Provisional { rack } => {
                if let Some(dialog) = self.dialog(at) {
                    dialog.exchange.agree(Some(body.clone()), offer);
                }
                self.send_prack(layer, now, at, rack, Some(body));
            }
            Source::Success { invite, cseq, authorization } => {
                if let Some(dialog) = self.dialog(at) {
                    dialog.exchange.agree(Some(body.clone()), offer);
                }
                let ack = Waiting::Ack { invite, cseq, authorization, body: Some(body) };
                self.send_in_dialog(layer, now, at, ack);
            }
        }
    }

    /// The 200 to a re-INVITE: with an answer to this offer, with an offer where the peer has made none (`Some(None)`), or
    /// with our description unchanged (`None`).
    #[expect(clippy::too_many_arguments, reason = "they are what a request is")]
    fn accept_reinvite(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        at: DialogId,
        cseq: u32,
        body: &Body,
        offer: Option<Option<Bytes>>,
    ) {
        let Some((hop, request)) = layer.request(server) else { return };
        let Some(dialog) = self.dialog(at) else { return };
        dialog.refresh_target(request);
        let mut ours = None;
        match offer {
            None => {}
            Some(None) => {
                dialog.exchange.offer(Carrier::Success);
                ours = Some(body.clone());
            }
            Some(offer @ Some(_)) => dialog.exchange.agree(Some(body.clone()), offer),
        }
        self.agree_to(layer, now, server, hop, Some(body));
        let interval = layer.config.timers.t1;
        self.theirs = Theirs::Unacknowledged { dialog: at, server, cseq, interval, offer: ours };
        self.set_timer(layer, SessionTimer::RepeatAnswer, now + interval);
        self.set_timer(layer, SessionTimer::AckTimeout, now + layer.config.timers.transaction_timeout());
    }

    fn refuse_theirs(&mut self, layer: &mut TransactionLayer, now: Instant, status: u16) {
        let Some((at, source, _)) = self.take_asked(layer) else { return };
        if let Some(dialog) = self.dialog(at) {
            dialog.exchange.fall_back();
        }
        match source {
            Source::Invite { server, .. } | Source::Request { server } => {
                layer.respond(now, server, &Answer { to_tag: Some(self.tag), ..Answer::new(status) });
                self.go_on_ringing(layer, now);
            }
            // An offer in a response cannot be refused: the call is given up.
            Source::Provisional { rack } => {
                self.send_prack(layer, now, at, rack, None);
                self.cancel(layer, now, None);
            }
            Source::Success { invite, cseq, authorization } => {
                let ack = Waiting::Ack { invite, cseq, authorization, body: None };
                self.send_in_dialog(layer, now, at, ack);
            }
        }
    }

    /// The user need not answer any more.
    fn withdraw(&mut self, layer: &mut TransactionLayer, now: Instant, status: u16) {
        self.refuse_theirs(layer, now, status);
        self.emit(layer, SessionEvent::OfferWithdrawn);
    }

    /// The user has not answered.
    pub(super) fn offer_timeout(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let owed = match &self.theirs {
            Theirs::Asked { dialog, source: Source::Success { .. }, .. } => Some(*dialog),
            Theirs::Asked { .. } | Theirs::Unacknowledged { .. } | Theirs::Idle => None,
        };
        match owed {
            None => self.withdraw(layer, now, 488),
            // RFC 3261 section 13.2.2.4 has an ACK with an answer, "and then send a BYE immediately"; there is no answer.
            Some(at) => {
                self.refuse_theirs(layer, now, 488);
                self.send_bye(layer, now, at, None);
                self.end(layer, now, Side::Local, None, EndCause::OfferTimeout);
            }
        }
    }

    /// The call is over. RFC 3261 section 15.1.2: "A UAS … MUST still respond to any pending requests received for that
    /// dialog. It is RECOMMENDED that a 487 (Request Terminated) response be generated to those pending requests."
    pub(super) fn drop_theirs(&mut self, layer: &mut TransactionLayer, now: Instant) {
        match &self.theirs {
            Theirs::Asked { source: Source::Provisional { .. }, .. }
            | Theirs::Unacknowledged { .. }
            | Theirs::Idle => {}
            Theirs::Asked { .. } => self.refuse_theirs(layer, now, 487),
        }
        self.theirs = Theirs::Idle;
    }

    /// The dialog of an offer is gone: another fork answered, it hung up, or its INVITE was refused.
    pub(super) fn forsake_theirs(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let gone = match &self.theirs {
            Theirs::Asked { dialog, .. } => {
                let at = *dialog;
                self.dialog(at).is_none()
            }
            Theirs::Unacknowledged { .. } | Theirs::Idle => false,
        };
        if !gone {
            return;
        }
        let Some((_, source, _)) = self.take_asked(layer) else { return };
        match source {
            Source::Invite { server, .. } | Source::Request { server } => {
                layer.respond(now, server, &Answer { to_tag: Some(self.tag), ..Answer::new(481) });
            }
            // Other forks may still ring.
            Source::Provisional { .. } | Source::Success { .. } => {}
        }
        self.emit(layer, SessionEvent::OfferWithdrawn);
    }
}

fn refuse(layer: &mut TransactionLayer, now: Instant, server: ServerId, collision: Collision) {
    match collision {
        Collision::Glare => layer.respond(now, server, &Answer::new(491)),
        Collision::Busy => {
            // "a Retry-After header field with a randomly chosen value of between 0 and 10 seconds"
            let seconds = (layer.random() % 11).to_string();
            let headers = [(Name::RetryAfter, seconds.as_str())];
            layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(500) });
        }
    }
}
