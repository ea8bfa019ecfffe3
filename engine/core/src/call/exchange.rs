//! Offers and answers of a call that is answered, or has early media (RFC 3264): hold and resume by either side, changes
//! of codec and address. What was agreed stays in force until something else is.

use media_core::sdp::LocalSdes;

use super::*;

/// How often an offer of ours that lost against one of the peer's is made again.
const TRIES: u8 = 3;

/// How long such an offer waits: the peer's exchange is over by then, ACK and all, unless packets are lost.
const PAUSE: Duration = Duration::from_secs(1);

/// The media session as both sides have described it.
#[derive(Debug)]
pub(super) struct Exchange {
    /// What our description in force was written from.
    local: LocalMedia,
    /// Our description in force.
    sent: Bytes,
    /// What is agreed.
    negotiated: Negotiated,
    /// The last version of a description of ours, in force or not.
    version: u64,
    /// An offer of ours without an answer.
    offered: Option<Offered>,
    /// One that is to be made again.
    wish: Option<Wish>,
    /// Whether the peer keeps us from sending.
    held: bool,
}

#[derive(Debug)]
struct Offered {
    local: LocalMedia,
    body: Bytes,
    /// Why we offer.
    motive: Motive,
}

#[derive(Debug, Clone, Copy)]
struct Wish {
    direction: Direction,
    tries: u8,
}

#[derive(Debug, Clone, Copy)]
enum Motive {
    /// To hold the peer or to go on; so many tries are left.
    Hold { tries: u8 },
    /// The peer asked for an offer.
    Asked,
}

impl Exchange {
    pub(super) fn new(local: LocalMedia, sent: Bytes, negotiated: Negotiated) -> Self {
        let version = local.session_version;
        Self { local, sent, negotiated, version, offered: None, wish: None, held: false }
    }

    pub(super) fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// What a further description of ours is written from.
    fn next(&mut self, direction: Direction) -> LocalMedia {
        self.version += 1;
        let mut local = self.local.clone();
        if let (Some(LocalSrtp::Dtls(dtls)), Some(webrtc)) = (&mut local.srtp, self.negotiated.webrtc()) {
            dtls.role = Some(webrtc.role);
        }
        LocalMedia { direction, session_version: self.version, ..local }
    }

    /// Writes the offer that the peer asks for. Who asks may hand it to somebody else (RFC 3725), to whom our rollover counter
    /// is zero (RFC 3711 §3.3.1): so it is, under keys that are new.
    fn asked(&mut self, random: &mut ChaCha20Rng) -> Result<Body, SdpError> {
        let mut local = self.next(self.local.direction);
        renew(&mut local, random);
        self.write(local, Motive::Asked)
    }

    /// Writes an offer of ours.
    fn offer(&mut self, direction: Direction, motive: Motive) -> Result<Body, SdpError> {
        let local = self.next(direction);
        self.write(local, motive)
    }

    fn write(&mut self, local: LocalMedia, motive: Motive) -> Result<Body, SdpError> {
        let body = Bytes::from(sdp::offer_again(&local, &self.sent)?);
        self.offered = Some(Offered { local, body: body.clone(), motive });
        Ok(Body::sdp(body))
    }

    /// Takes an offer of the peer's, and gives the answer.
    pub(super) fn answer(&mut self, offer: &[u8], random: &mut ChaCha20Rng) -> Result<Body, SdpError> {
        let mut local = self.next(self.local.direction);
        let (mut body, mut negotiated) = sdp::answer(offer, &local)?;
        // Who comes with another key may be somebody else, to whom the call was moved, and who would take our rollover
        // counter to be zero (RFC 3711 §3.3.1). So it is, under a key that is new as well. A browser with another user name
        // restarts ICE, and the answer has new credentials, too (RFC 8839 §4.4.1.1.1).
        if is_another(negotiated.srtp.as_ref(), self.negotiated.srtp.as_ref()) {
            renew(&mut local, random);
            (body, negotiated) = sdp::answer(offer, &local)?;
        }
        let body = Bytes::from(body);
        self.agree(local, body.clone(), negotiated);
        Ok(Body::sdp(body))
    }

    /// What a peer is told that takes the place of the one before: the answer to its offer or, where it makes none, ours.
    pub(super) fn begin_anew(
        &mut self,
        offer: Option<&[u8]>,
        random: &mut ChaCha20Rng,
    ) -> Result<Body, SdpError> {
        match offer {
            Some(offer) => {
                let body = self.answer(offer, random)?;
                (self.offered, self.wish) = (None, None);
                Ok(body)
            }
            None => {
                let mut local = self.next(self.local.direction);
                renew(&mut local, random);
                let body = Bytes::from(sdp::offer(&local));
                self.offered = Some(Offered { local, body: body.clone(), motive: Motive::Asked });
                self.wish = None;
                Ok(Body::sdp(body))
            }
        }
    }

    /// Whether an offer of ours waits for its answer.
    pub(super) fn is_offering(&self) -> bool {
        self.offered.is_some()
    }

    fn agree(&mut self, local: LocalMedia, sent: Bytes, negotiated: Negotiated) {
        self.local = local;
        self.sent = sent;
        self.negotiated = negotiated;
    }

    /// Whether the peer holds us.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Whether we hold the peer.
    pub(super) fn holds(&self) -> bool {
        !self.local.direction.receives()
    }
}

/// Whether the peer comes with other keys, or with another user name of ICE, than `before`.
fn is_another(now: Option<&Keying>, before: Option<&Keying>) -> bool {
    match (now, before) {
        (None, _) => false,
        (Some(Keying::Sdes(keys)), Some(Keying::Sdes(before))) => keys.receive != before.receive,
        (Some(Keying::Dtls(webrtc)), Some(Keying::Dtls(before))) => {
            webrtc.ice.remote_ufrag != before.ice.remote_ufrag
        }
        (Some(Keying::Sdes(_) | Keying::Dtls(_)), _) => true,
    }
}

/// Replaces our keys, or what a browser finds us by.
fn renew(local: &mut LocalMedia, random: &mut ChaCha20Rng) {
    match &mut local.srtp {
        None => {}
        Some(LocalSrtp::Sdes(sdes)) => {
            *sdes = LocalSdes::new(sdes.policy, |octets| random.fill_bytes(octets));
        }
        Some(LocalSrtp::Dtls(dtls)) => dtls.ice = Credentials::generate(|octets| random.fill_bytes(octets)),
    }
}

impl LiveCall {
    /// Holds the peer (it hears what is played and is not heard), or takes it back.
    pub(crate) fn hold(&mut self, ctx: &mut Context<'_>, on: bool) -> Result<(), Refusal> {
        let (State::Connected(_), Some(exchange)) = (&self.state, &self.exchange) else {
            return Err(self.wrong_state("only an answered call can be held and taken back"));
        };
        if exchange.offered.is_some() || exchange.wish.is_some() {
            return Err(self.wrong_state("a change of its media is under way"));
        }
        if exchange.holds() == on {
            return Ok(());
        }
        let direction = if on { Direction::SendOnly } else { Direction::SendRecv };
        if !self.offer(ctx, Wish { direction, tries: TRIES }) {
            if let Some(exchange) = &mut self.exchange {
                exchange.offered = None;
            }
            return Err(self.wrong_state("the peer changes its media just now"));
        }
        Ok(())
    }

    /// Makes an offer of ours; whether it could be sent.
    fn offer(&mut self, ctx: &mut Context<'_>, wish: Wish) -> bool {
        let Wish { direction, tries } = wish;
        let (Some(exchange), Some(session)) = (&mut self.exchange, self.sessions.first().copied()) else {
            return false;
        };
        exchange
            .offer(direction, Motive::Hold { tries })
            .is_ok_and(|body| ctx.endpoint.offer(ctx.now, session, Some(body)).is_ok())
    }

    /// The peer offers, or asks for an offer.
    pub(super) fn offered(&mut self, ctx: &mut Context<'_>, session: SessionId, offer: Option<Bytes>) {
        let early = offer.as_ref().and_then(|offer| self.early_offer(ctx, session, offer));
        if let Some(answer) = early {
            // As below.
            match answer {
                Ok(body) => drop(ctx.endpoint.accept_offer(ctx.now, session, body)),
                Err(_) => drop(ctx.endpoint.refuse_offer(ctx.now, session, 488)),
            }
            return;
        }
        let Some(exchange) = self.exchange_with(session) else {
            // RFC 3261 §14.2: "If the new session description is not acceptable, the UAS can reject it by returning a
            // 488", and the call goes on as it is. An error means that the offer is void already.
            let _ = ctx.endpoint.refuse_offer(ctx.now, session, 488);
            return;
        };
        let answer = match &offer {
            Some(offer) => exchange.answer(offer, ctx.random),
            None => exchange.asked(ctx.random),
        };
        match answer {
            // An error means that the offer is void already; what we have agreed to is in force all the same, for the
            // peer may have seen it.
            Ok(body) => drop(ctx.endpoint.accept_offer(ctx.now, session, body)),
            Err(_) => drop(ctx.endpoint.refuse_offer(ctx.now, session, 488)),
        }
        self.apply(ctx);
    }

    /// Our offer is answered.
    pub(super) fn offer_answered(&mut self, ctx: &mut Context<'_>, answer: Option<Bytes>) {
        let Some(exchange) = &mut self.exchange else { return };
        let Some(Offered { local, body, motive: _ }) = exchange.offered.take() else { return };
        // A peer that answers without a description means the one it gave before.
        let Some(answer) = answer else { return };
        let held = exchange.holds();
        match sdp::accept_answer_to(&local, &body, &answer) {
            Ok(negotiated) => {
                exchange.agree(local, body, negotiated);
                if exchange.holds() != held {
                    self.record.held = !held;
                    self.emit(ctx, holding(HoldBy::Local, !held));
                }
                self.apply(ctx);
            }
            Err(error) => {
                // The peer has moved to something that we cannot follow.
                self.record.sip_reason = Some(error.to_string());
                let reason = Reason { protocol: ReasonProtocol::Sip, cause: 488, text: None };
                self.release_sessions(ctx, None, Some(reason));
                self.end(ctx, Evidence::Answered, EndedBy::Engine);
            }
        }
    }

    /// Our offer is refused, and what was agreed stays.
    pub(super) fn offer_refused(&mut self, ctx: &mut Context<'_>, status: u16) {
        let Some(exchange) = &mut self.exchange else { return };
        let Some(Offered { local, body: _, motive: Motive::Hold { tries } }) = exchange.offered.take() else {
            return;
        };
        // An offer of the peer's was faster: ours, written anew, may be taken after it.
        if status == 491 && tries > 0 {
            exchange.wish = Some(Wish { direction: local.direction, tries: tries - 1 });
            return ctx.timers.set(self.leg, CallTimer::Offer, ctx.now + PAUSE);
        }
        self.emit(ctx, EventData::CallHoldFailed { sip_status: status });
    }

    /// It is time for another try.
    pub(super) fn offer_again(&mut self, ctx: &mut Context<'_>) {
        let Some(exchange) = &mut self.exchange else { return };
        let Some(wish) = exchange.wish.take() else { return };
        if !self.offer(ctx, wish) {
            self.offer_refused(ctx, 491);
        }
    }

    /// The peer has taken back what it asked for.
    pub(super) fn offer_withdrawn(&mut self) {
        if let Some(exchange) = &mut self.exchange
            && let Some(Offered { motive: Motive::Asked, .. }) = exchange.offered
        {
            exchange.offered = None;
        }
    }

    /// The exchange of the session that the call goes on with.
    pub(super) fn exchange_with(&mut self, session: SessionId) -> Option<&mut Exchange> {
        let goes_on = self.activity().is_some() && self.sessions.contains(&session);
        if let State::Inviting(inviting) = &mut self.state {
            let early = inviting.early.as_mut().filter(|early| early.session == session);
            return early.and_then(|early| early.exchange.as_deref_mut());
        }
        self.exchange.as_deref_mut().filter(|_| goes_on)
    }

    /// Brings the media in line with what is agreed, and tells when the peer holds us or takes us back.
    pub(super) fn apply(&mut self, ctx: &mut Context<'_>) {
        let (negotiated, change) = match (&self.state, &mut self.exchange) {
            (State::Inviting(inviting), _) => match &inviting.early {
                Some(Early { exchange: Some(exchange), runs: true, .. }) => {
                    (exchange.negotiated.clone(), None)
                }
                Some(Early { .. }) | None => return,
            },
            (State::Connected(_), Some(exchange)) => {
                let held = exchange.local.direction.sends() && !exchange.negotiated.direction.sends();
                let changed = std::mem::replace(&mut exchange.held, held) != held;
                (exchange.negotiated.clone(), changed.then_some(held))
            }
            (_, _) => return,
        };
        self.start_media(ctx, negotiated);
        if let Some(held) = change {
            self.emit(ctx, holding(HoldBy::Remote, held));
        }
    }
}

fn holding(by: HoldBy, on: bool) -> EventData {
    if on { EventData::CallHeld { by } } else { EventData::CallResumed { by } }
}
