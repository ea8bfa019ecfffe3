//! One call: its state machine, from acceptance to its CDR.
//!
//! ```text
//! outbound  Accepting → Queued → Opening → Inviting ─┐
//! inbound   Accepting ─┬──────── Opening ────────────┴→ Connected → Ending → Over
//!                      └ Offered ──↑       (from every state ───────→ Ending)
//! ```
//!
//! Beside its state a call owns a SIP session and a media leg. `Ending` lasts until both are gone, but no longer than
//! its timer, so that the CDR has the last evidence and statistics and yet no peer can hold it back.

mod media;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use control_api_types::flow::Flow;
use control_api_types::{
    Call, CallId, CallStatus, Direction, EarlyMedia, EndedBy, EventData, HangupReason, Timestamp,
};
use media_core::{
    Codec, LegConfig, LegId, LocalMedia, MediaTime, Negotiated, NtpClock, Ptime, SeqNo, Ssrc, sdp,
};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use sip_core::{
    Body, Endpoint, Error, Failure, FailureCause, Hangup, Reason, ReasonProtocol, SessionEvent, SessionId,
    Side,
};

use self::media::{Activity, Media, Programs};
use crate::cdr;
use crate::clock::Clock;
use crate::dial::{Dial, to_api};
use crate::disposition::Evidence;
use crate::io::{CallEvent, MediaCommand, Output, Refusal};
use crate::prompt::Prompts;
use crate::timers::{CallTimer, Timers};
use crate::trunk::TrunkIndex;

/// How long an inbound call may wait for the API to answer it: as long as proxies keep ringing (RFC 3261 §16.6 item 11,
/// timer C: "MUST be larger than 3 minutes").
const OFFER_TIMEOUT: Duration = Duration::from_secs(180);

/// How long the end of a call waits for the peer's last word and for the media statistics: a few retransmissions.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// When an INVITE that nobody answers at all has failed for certain (RFC 3261 §17.1.1.2, timer B: 64*T1 = 32 s). A
/// shorter ring timeout waits for that, because silence is a failure of the network and not a missing answer.
const SILENCE: Duration = Duration::from_secs(33);

/// What a call touches outside itself while it handles one input.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) clock: &'a Clock,
    pub(crate) endpoint: &'a mut Endpoint,
    pub(crate) sessions: &'a mut BTreeMap<SessionId, LegId>,
    pub(crate) outputs: &'a mut VecDeque<Output>,
    pub(crate) timers: &'a mut Timers,
    pub(crate) random: &'a mut ChaCha20Rng,
    pub(crate) prompts: &'a Prompts,
}

impl Context<'_> {
    fn timestamp(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.clock.unix_ms(self.now))
    }

    fn media(&mut self, leg: LegId, command: MediaCommand) {
        self.outputs.push_back(Output::Media { leg, command });
    }
}

/// A call from its acceptance to its CDR.
#[derive(Debug)]
pub(crate) struct LiveCall {
    leg: LegId,
    /// The call as the API shows it, and in the end its CDR.
    record: Call,
    state: State,
    /// Its SIP session, until the terminal event.
    session: Option<SessionId>,
    media: Media,
    programs: Programs,
    /// Number of the last event.
    seq: u64,
    trunk: Option<TrunkIndex>,
    plan: Plan,
    marks: Marks,
}

/// What to do once answered.
#[derive(Debug)]
pub(crate) struct Plan {
    /// `None` parks the call.
    pub(crate) flow: Option<Arc<Flow>>,
    pub(crate) max_duration: Duration,
}

/// Moments that are measured.
#[derive(Debug, Default)]
struct Marks {
    /// Counted in by the gates.
    admitted: Option<Instant>,
    invited: Option<Instant>,
    /// First ringing, progress or answer.
    progress: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// The journal does not have the call yet.
    Accepting(Origin),
    /// Outbound: waits for its turn.
    Queued(Box<Dial>),
    /// The media port is being opened, for the offer or the answer.
    Opening(Origin),
    /// Outbound: the INVITE is out.
    Inviting(Inviting),
    /// Inbound: waits for the API.
    Offered(Box<Offer>),
    /// Answered.
    Connected(Activity),
    /// Decided; waits for the last word of SIP and media.
    Ending(Evidence),
    /// The CDR is out.
    Over,
}

/// Where a call comes from, with what it needs to be set up.
#[derive(Debug)]
enum Origin {
    Outbound(Box<Dial>),
    Inbound(Box<Offer>),
}

/// An inbound call's offer.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) sdp: Bytes,
    pub(crate) codecs: Vec<Codec>,
    /// Whether a route answers it; otherwise the API does.
    pub(crate) answer: bool,
}

#[derive(Debug)]
struct Inviting {
    local: LocalMedia,
    early_media: EarlyMedia,
    early: Early,
}

/// Session descriptions before the answer.
#[derive(Debug)]
enum Early {
    None,
    /// There was one, and its audio is of no interest before the answer.
    Heard {
        sdp: Bytes,
    },
    /// Media runs as this one said.
    Connected {
        sdp: Bytes,
    },
}

impl LiveCall {
    /// An outbound call; its record goes to the journal.
    pub(crate) fn outbound(
        ctx: &mut Context<'_>,
        leg: LegId,
        record: Call,
        trunk: Option<TrunkIndex>,
        dial: Dial,
        plan: Plan,
        queue_timeout: Duration,
    ) -> Self {
        ctx.timers.set(leg, CallTimer::Queue, ctx.now + queue_timeout);
        Self::new(ctx, leg, record, trunk, State::Accepting(Origin::Outbound(Box::new(dial))), plan, None)
    }

    /// An inbound call; its record goes to the journal.
    pub(crate) fn inbound(
        ctx: &mut Context<'_>,
        leg: LegId,
        record: Call,
        trunk: Option<TrunkIndex>,
        session: SessionId,
        offer: Offer,
        plan: Plan,
    ) -> Self {
        ctx.timers.set(leg, CallTimer::Ring, ctx.now + OFFER_TIMEOUT);
        ctx.sessions.insert(session, leg);
        let state = State::Accepting(Origin::Inbound(Box::new(offer)));
        let mut call = Self::new(ctx, leg, record, trunk, state, plan, Some(session));
        call.marks.admitted = Some(ctx.now);
        call
    }

    fn new(
        ctx: &mut Context<'_>,
        leg: LegId,
        record: Call,
        trunk: Option<TrunkIndex>,
        state: State,
        plan: Plan,
        session: Option<SessionId>,
    ) -> Self {
        ctx.outputs.push_back(Output::Accept(Box::new(record.clone())));
        Self {
            leg,
            record,
            state,
            session,
            media: Media::None,
            programs: Programs::default(),
            seq: 0,
            trunk,
            plan,
            marks: Marks::default(),
        }
    }

    pub(crate) fn record(&self) -> &Call {
        &self.record
    }

    pub(crate) fn trunk(&self) -> Option<TrunkIndex> {
        self.trunk
    }

    /// Whether the gates count it.
    pub(crate) fn is_admitted(&self) -> bool {
        self.marks.admitted.is_some()
    }

    pub(crate) fn is_queued(&self) -> bool {
        matches!(self.state, State::Queued(_))
    }

    /// Whether it waits to begin: for the journal or for its turn.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Accepting(Origin::Outbound(_)) | State::Queued(_))
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// From the INVITE to the first sign of life beyond 100 Trying.
    pub(crate) fn post_dial_delay(&self) -> Option<Duration> {
        Some(self.marks.progress?.saturating_duration_since(self.marks.invited?))
    }

    // Towards the answer.

    /// The journal has the call.
    pub(crate) fn accepted(&mut self, ctx: &mut Context<'_>) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Accepting(Origin::Outbound(dial)) => self.state = State::Queued(dial),
            State::Accepting(Origin::Inbound(offer)) => {
                self.emit_initiated(ctx);
                let answer = offer.answer;
                self.state = State::Offered(offer);
                if answer {
                    // Both are right: the call was just offered.
                    let _ = self.ring(ctx);
                    let _ = self.answer(ctx);
                }
            }
            state @ (State::Queued(_)
            | State::Opening(_)
            | State::Inviting(_)
            | State::Offered(_)
            | State::Connected(_)
            | State::Ending(_)
            | State::Over) => self.state = state,
        }
    }

    /// Its turn has come; `refusal` tells why the trunk cannot be used.
    pub(crate) fn begin(&mut self, ctx: &mut Context<'_>, refusal: Option<Evidence>) {
        let State::Queued(dial) = std::mem::replace(&mut self.state, State::Over) else {
            debug_assert!(false, "only queued calls are given a turn");
            return;
        };
        self.marks.admitted = Some(ctx.now);
        ctx.timers.cancel(self.leg, CallTimer::Queue);
        ctx.timers.set(self.leg, CallTimer::Ring, ctx.now + dial.ring_timeout);
        self.state = State::Opening(Origin::Outbound(dial));
        match refusal {
            Some(evidence) => {
                self.record.sip_reason = Some("Trunk Not Registered".to_owned());
                self.end(ctx, evidence, EndedBy::Engine);
            }
            None => self.open_media(ctx),
        }
    }

    /// The media port is open.
    fn opened(&mut self, ctx: &mut Context<'_>, addr: SocketAddr) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Opening(Origin::Outbound(dial)) => self.invite(ctx, *dial, addr),
            State::Opening(Origin::Inbound(offer)) => self.accept_offer(ctx, *offer, addr),
            state @ (State::Accepting(_)
            | State::Queued(_)
            | State::Inviting(_)
            | State::Offered(_)
            | State::Connected(_)
            | State::Ending(_)
            | State::Over) => self.state = state,
        }
    }

    fn invite(&mut self, ctx: &mut Context<'_>, dial: Dial, addr: SocketAddr) {
        let Dial { mut invite, codecs, ring_timeout, early_media, from: _ } = dial;
        let local = local_media(ctx, addr, codecs);
        invite.body = Some(Body::sdp(sdp::offer(&local)));
        self.state = State::Inviting(Inviting { local, early_media, early: Early::None });
        match ctx.endpoint.invite(ctx.now, invite) {
            Ok(session) => {
                self.session = Some(session);
                ctx.sessions.insert(session, self.leg);
                self.marks.invited = Some(ctx.now);
                ctx.timers.set(self.leg, CallTimer::Ring, ctx.now + ring_timeout);
                self.record.sip_call_id = ctx.endpoint.session_call_id(session).map(|id| id.to_string());
                self.emit_initiated(ctx);
            }
            Err(error) => {
                let full = matches!(error, Error::TooManySessions | Error::TooManyTransactions);
                self.record.sip_reason = Some(error.to_string());
                self.end(ctx, if full { Evidence::Limit } else { Evidence::Internal }, EndedBy::Engine);
            }
        }
    }

    fn emit_initiated(&mut self, ctx: &mut Context<'_>) {
        self.record.status = CallStatus::Initiated;
        let Call { to, from, trunk, .. } = &self.record;
        let data = EventData::CallInitiated { to: to.clone(), from: from.clone(), trunk: trunk.clone() };
        self.emit(ctx, data);
    }

    /// Something happened to the SIP session.
    pub(crate) fn on_session(&mut self, ctx: &mut Context<'_>, event: SessionEvent) {
        match event {
            SessionEvent::Provisional { status, body } => self.provisional(ctx, status, body),
            SessionEvent::Answered { body, .. } => self.answered(ctx, body),
            // The engine takes new sessions; an inbound call is answered when our 200 leaves.
            SessionEvent::Incoming { .. } | SessionEvent::Confirmed => {}
            SessionEvent::Failed(failure) => {
                self.session_over(ctx);
                self.failed(ctx, failure);
            }
            SessionEvent::Ended { by, q850, cause: _ } => {
                self.session_over(ctx);
                self.record.q850_cause = q850.or(self.record.q850_cause);
                if let State::Ending(_) = self.state {
                    return self.finish_if_released(ctx);
                }
                let by = match by {
                    Side::Remote => EndedBy::Remote,
                    Side::Local => EndedBy::Engine,
                };
                self.end(ctx, Evidence::Answered, by);
            }
        }
    }

    fn session_over(&mut self, ctx: &mut Context<'_>) {
        if let Some(session) = self.session.take() {
            ctx.sessions.remove(&session);
        }
    }

    fn provisional(&mut self, ctx: &mut Context<'_>, status: u16, body: Option<Bytes>) {
        let State::Inviting(inviting) = &mut self.state else { return };
        self.record.sip_status = Some(status);
        if matches!(status, 180..=183) {
            self.marks.progress.get_or_insert(ctx.now);
        }
        let early = body.filter(|_| matches!(inviting.early, Early::None));
        let mut start = None;
        if let Some(sdp) = &early {
            start = match inviting.early_media {
                // An unusable description is no reason to give up before the final one.
                EarlyMedia::Connect => sdp::accept_answer(&inviting.local, sdp).ok(),
                EarlyMedia::Ignore => None,
            };
            inviting.early = match start {
                Some(_) => Early::Connected { sdp: sdp.clone() },
                None => Early::Heard { sdp: sdp.clone() },
            };
        }
        if status == 180 && self.record.ringing_at.is_none() {
            self.record.ringing_at = Some(ctx.timestamp());
            self.record.status = CallStatus::Ringing;
            self.emit(ctx, EventData::CallRinging { sip_status: status });
        }
        if early.is_some() {
            self.record.status = CallStatus::EarlyMedia;
            self.emit(ctx, EventData::CallEarlyMedia {});
        }
        if let Some(negotiated) = start {
            self.start_media(ctx, negotiated);
        }
    }

    fn answered(&mut self, ctx: &mut Context<'_>, body: Option<Bytes>) {
        // Crossed with our CANCEL: the endpoint hangs up by itself.
        let State::Inviting(Inviting { local, early, .. }) = &self.state else { return };
        self.marks.progress.get_or_insert(ctx.now);
        self.record.sip_status = Some(200);
        // RFC 3261 §13.2.1: "the answer MUST be in a reliable non-failure message", so the 2xx decides; "That same exact
        // answer MAY also be placed in any provisional responses sent prior to the answer", and a peer that leaves it out
        // of the 2xx then is understood.
        let agreed = match (body, early) {
            (Some(sdp), Early::Connected { sdp: early }) if sdp == *early => Ok(None),
            (None, Early::Connected { .. }) => Ok(None),
            (Some(sdp), Early::None | Early::Heard { .. } | Early::Connected { .. }) => {
                sdp::accept_answer(local, &sdp).map(Some).map_err(|error| error.to_string())
            }
            (None, Early::Heard { sdp }) => {
                sdp::accept_answer(local, sdp).map(Some).map_err(|error| error.to_string())
            }
            (None, Early::None) => Err("no SDP answer".to_owned()),
        };
        match agreed {
            Ok(negotiated) => {
                if let Some(negotiated) = negotiated {
                    self.start_media(ctx, negotiated);
                }
                self.converse(ctx);
            }
            Err(why) => {
                self.record.sip_reason = Some(why);
                // RFC 3261 §13.2.2.4, of an offer in a 2xx that is not acceptable: "the UAC core MUST generate a valid
                // answer in the ACK and then send a BYE immediately". The endpoint has sent the ACK.
                let reason = Reason { protocol: ReasonProtocol::Sip, cause: 488, text: None };
                self.release_session(ctx, None, Some(reason));
                self.end(ctx, Evidence::Incompatible, EndedBy::Engine);
            }
        }
    }

    /// Answers an inbound call, now that the port is known.
    fn accept_offer(&mut self, ctx: &mut Context<'_>, offer: Offer, addr: SocketAddr) {
        let local = local_media(ctx, addr, offer.codecs);
        match (sdp::answer(&offer.sdp, &local), self.session) {
            (Ok((answer, negotiated)), Some(session)) => {
                if ctx.endpoint.answer(ctx.now, session, Some(Body::sdp(answer))).is_err() {
                    self.release_session(ctx, Some(500), None);
                    return self.end(ctx, Evidence::Internal, EndedBy::Engine);
                }
                self.record.sip_status = Some(200);
                self.start_media(ctx, negotiated);
                self.converse(ctx);
            }
            (Err(error), _) => {
                self.record.sip_reason = Some(error.to_string());
                self.release_session(ctx, Some(488), None);
                self.end(ctx, Evidence::Incompatible, EndedBy::Engine);
            }
            // The session's end has ended the call before.
            (Ok(_), None) => self.end(ctx, Evidence::Internal, EndedBy::Engine),
        }
    }

    /// Answered, with media running.
    fn converse(&mut self, ctx: &mut Context<'_>) {
        self.state = State::Connected(Activity::Parked);
        self.record.status = CallStatus::InProgress;
        self.record.answered_at = Some(ctx.timestamp());
        ctx.timers.cancel(self.leg, CallTimer::Ring);
        ctx.timers.set(self.leg, CallTimer::Duration, ctx.now + self.plan.max_duration);
        self.emit(ctx, EventData::CallAnswered { codec: self.record.codec });
        if let Some(flow) = self.plan.flow.take() {
            self.start_flow(ctx, flow);
        }
    }

    fn open_media(&mut self, ctx: &mut Context<'_>) {
        self.media = Media::Opening;
        ctx.media(self.leg, MediaCommand::Open);
    }

    fn start_media(&mut self, ctx: &mut Context<'_>, negotiated: Negotiated) {
        self.media = Media::Running;
        self.record.codec = Some(to_api(negotiated.codec));
        let config = LegConfig {
            // RFC 3550 §5.1: "The initial value of the sequence number SHOULD be random (unpredictable)"; so are the
            // timestamp's and the SSRC.
            ssrc: Ssrc(ctx.random.next_u32()),
            first_seq: SeqNo(ctx.random.next_u32() as u16),
            first_timestamp: MediaTime(ctx.random.next_u32()),
            // RFC 7022 §4.2: a name for one session is at least 96 random bits, and tells nothing about the host.
            cname: format!("{:016x}{:08x}", ctx.random.next_u64(), ctx.random.next_u32()).into(),
            clock: NtpClock::from_unix_ms(ctx.now, ctx.clock.unix_ms(ctx.now)),
            rtcp_seed: ctx.random.next_u64(),
        };
        ctx.media(self.leg, MediaCommand::Start { config, negotiated });
    }

    // Commands of the API.

    /// Tells an inbound caller that it rings.
    pub(crate) fn ring(&mut self, ctx: &mut Context<'_>) -> Result<(), Refusal> {
        let (State::Offered(_), Some(session)) = (&self.state, self.session) else {
            return Err(self.wrong_state("only an unanswered inbound call can ring"));
        };
        if self.record.ringing_at.is_none() && ctx.endpoint.ring(ctx.now, session, 180, None).is_ok() {
            self.record.ringing_at = Some(ctx.timestamp());
            self.record.status = CallStatus::Ringing;
            self.record.sip_status = Some(180);
            self.emit(ctx, EventData::CallRinging { sip_status: 180 });
        }
        Ok(())
    }

    /// Answers an inbound call as soon as its media port is open.
    pub(crate) fn answer(&mut self, ctx: &mut Context<'_>) -> Result<(), Refusal> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Offered(offer) => {
                self.state = State::Opening(Origin::Inbound(offer));
                self.open_media(ctx);
                Ok(())
            }
            state @ (State::Accepting(_)
            | State::Queued(_)
            | State::Opening(_)
            | State::Inviting(_)
            | State::Connected(_)
            | State::Ending(_)
            | State::Over) => {
                self.state = state;
                Err(self.wrong_state("only an unanswered inbound call can be answered"))
            }
        }
    }

    /// Refuses an inbound call with `status`.
    pub(crate) fn reject(&mut self, ctx: &mut Context<'_>, status: u16) -> Result<(), Refusal> {
        let State::Offered(_) = &self.state else {
            return Err(self.wrong_state("only an unanswered inbound call can be rejected"));
        };
        self.release_session(ctx, Some(status), None);
        self.end(ctx, Evidence::Response { status, q850: None }, EndedBy::Api);
        Ok(())
    }

    /// Ends the call in any state; a call that ends already goes on ending.
    pub(crate) fn hangup(
        &mut self,
        ctx: &mut Context<'_>,
        reason: HangupReason,
        by: EndedBy,
        unanswered: Evidence,
    ) {
        let (status, cause) = match reason {
            HangupReason::Normal => (480, 16),
            HangupReason::Busy => (486, 17),
            HangupReason::Rejected => (603, 21),
        };
        let evidence = match &self.state {
            State::Connected(_) => Evidence::Answered,
            State::Accepting(_)
            | State::Queued(_)
            | State::Opening(_)
            | State::Inviting(_)
            | State::Offered(_) => unanswered,
            State::Ending(_) | State::Over => return,
        };
        let reason = Reason { protocol: ReasonProtocol::Q850, cause, text: None };
        self.release_session(ctx, Some(status), (evidence == Evidence::Answered).then_some(reason));
        self.end(ctx, evidence, by);
    }

    fn wrong_state(&self, need: &'static str) -> Refusal {
        Refusal::WrongState { status: self.record.status, need }
    }

    // Towards the end.

    /// A deadline has come.
    pub(crate) fn on_timer(&mut self, ctx: &mut Context<'_>, timer: CallTimer) {
        match timer {
            CallTimer::Queue => self.end(ctx, Evidence::Limit, EndedBy::Engine),
            CallTimer::Ring => {
                let evidence = match self.state {
                    // The media shell owes us a port for the whole ring timeout.
                    State::Opening(_) => Evidence::Internal,
                    State::Accepting(_) | State::Queued(_) | State::Inviting(_) | State::Offered(_) => {
                        Evidence::RingTimeout
                    }
                    State::Connected(_) | State::Ending(_) | State::Over => return,
                };
                self.release_session(ctx, Some(480), None);
                self.end(ctx, evidence, EndedBy::Engine);
            }
            CallTimer::Duration => {
                self.hangup(ctx, HangupReason::Normal, EndedBy::Engine, Evidence::Internal);
            }
            CallTimer::Pause => self.pause_over(ctx),
            CallTimer::Release => {
                self.session_over(ctx);
                self.finish(ctx);
            }
        }
    }

    fn failed(&mut self, ctx: &mut Context<'_>, failure: Failure) {
        let Failure { cause, reason_phrase, q850, retry_after: _ } = failure;
        let (evidence, by) = match cause {
            FailureCause::Response(status) => {
                self.record.sip_status = Some(status);
                self.record.q850_cause = q850;
                (Evidence::Response { status, q850 }, EndedBy::Remote)
            }
            FailureCause::Timeout | FailureCause::Transport | FailureCause::Resolve => {
                (Evidence::Network, EndedBy::Engine)
            }
            // Nothing came back, not even to the INVITE that we gave up.
            FailureCause::Cancelled if reason_phrase.is_empty() && self.is_unheard() => {
                (Evidence::Network, EndedBy::Engine)
            }
            // RFC 3261 §9.2: a canceled INVITE is answered 487.
            FailureCause::Cancelled => {
                self.record.sip_status = Some(487);
                (Evidence::CallerGaveUp, EndedBy::Remote)
            }
        };
        let words = match cause {
            FailureCause::Cancelled if evidence == Evidence::Network => Some("No Response".to_owned()),
            FailureCause::Response(_) | FailureCause::Cancelled if reason_phrase.is_empty() => None,
            FailureCause::Response(_) | FailureCause::Cancelled => Some(reason_phrase),
            FailureCause::Timeout => Some("No Response".to_owned()),
            FailureCause::Transport => Some("Transport Failure".to_owned()),
            FailureCause::Resolve => Some("Name Not Resolved".to_owned()),
        };
        self.record.sip_reason = words.or(self.record.sip_reason.take());
        match (&mut self.state, evidence) {
            // What the peer or the network says about a call that rang out is better evidence than our own clock;
            // 487 only confirms our CANCEL.
            (State::Ending(decided @ Evidence::RingTimeout), better @ Evidence::Network) => {
                *decided = better;
                self.finish_if_released(ctx);
            }
            (State::Ending(decided @ Evidence::RingTimeout), better @ Evidence::Response { status, .. })
                if status != 487 && self.marks.invited.is_some() =>
            {
                *decided = better;
                self.record.ended_by = Some(EndedBy::Remote);
                self.finish_if_released(ctx);
            }
            (State::Ending(_), _) => self.finish_if_released(ctx),
            (_, evidence) => self.end(ctx, evidence, by),
        }
    }

    /// Whether no response beyond 100 Trying has come for our INVITE.
    fn is_unheard(&self) -> bool {
        self.marks.invited.is_some() && self.record.sip_status.is_none()
    }

    /// Hangs up in the SIP sense; `status` is for an inbound call that is not answered.
    fn release_session(&mut self, ctx: &mut Context<'_>, status: Option<u16>, reason: Option<Reason>) {
        if let Some(session) = self.session {
            // Unknown only if it is over, which is what we want.
            let _ = ctx.endpoint.hangup(ctx.now, session, Hangup { status, reason });
        }
    }

    /// Decides how the call ended. The CDR follows when SIP and media are done with it.
    fn end(&mut self, ctx: &mut Context<'_>, evidence: Evidence, by: EndedBy) {
        ctx.timers.cancel_all(self.leg);
        self.record.ended_at = Some(ctx.timestamp());
        self.record.ended_by = Some(by);
        self.state = State::Ending(evidence);
        self.close_media(ctx);
        let silence = self.marks.invited.filter(|_| evidence == Evidence::RingTimeout).map(|at| at + SILENCE);
        let release = ctx.now + RELEASE_TIMEOUT;
        ctx.timers.set(self.leg, CallTimer::Release, silence.map_or(release, |silence| silence.max(release)));
        self.finish_if_released(ctx);
    }

    fn finish_if_released(&mut self, ctx: &mut Context<'_>) {
        if self.session.is_none() && self.media.is_gone() {
            self.finish(ctx);
        }
    }

    /// Puts out the CDR, the last event of the call.
    fn finish(&mut self, ctx: &mut Context<'_>) {
        let State::Ending(evidence) = self.state else { return };
        ctx.timers.cancel_all(self.leg);
        cdr::close(&mut self.record, evidence, self.media.stats());
        self.state = State::Over;
        self.seq += 1;
        ctx.outputs.push_back(Output::Ended {
            call: Box::new(self.record.clone()),
            seq: self.seq,
            at_unix_ms: ctx.clock.unix_ms(ctx.now),
        });
    }

    /// Ends the call at once, whatever state a panic has left it in.
    pub(crate) fn abandon(&mut self, ctx: &mut Context<'_>) {
        if self.record.status.is_final() {
            self.state = State::Over;
            return;
        }
        self.release_session(ctx, Some(500), None);
        self.session_over(ctx);
        self.end(ctx, Evidence::Internal, EndedBy::Engine);
        self.finish(ctx);
    }

    fn emit(&mut self, ctx: &mut Context<'_>, data: EventData) {
        self.seq += 1;
        ctx.outputs.push_back(Output::Event(CallEvent {
            call: self.record.id.clone(),
            client_state: self.record.client_state.clone(),
            seq: self.seq,
            at_unix_ms: ctx.clock.unix_ms(ctx.now),
            data,
        }));
    }
}

/// A record of a call that begins.
pub(crate) fn record(
    id: CallId,
    direction: Direction,
    to: String,
    from: String,
    at: Timestamp,
    node: &Arc<str>,
) -> Call {
    Call {
        id,
        status: match direction {
            Direction::Outbound => CallStatus::Queued,
            Direction::Inbound => CallStatus::Initiated,
        },
        direction,
        to,
        from,
        trunk: None,
        sip_call_id: None,
        created_at: at,
        ringing_at: None,
        answered_at: None,
        ended_at: None,
        disposition: None,
        sip_status: None,
        sip_reason: None,
        q850_cause: None,
        ended_by: None,
        cause_call_id: None,
        codec: None,
        bridge_id: None,
        recording_ids: Vec::new(),
        variables: BTreeMap::new(),
        client_state: None,
        media: None,
        node: Arc::clone(node),
    }
}

fn local_media(ctx: &mut Context<'_>, addr: SocketAddr, codecs: Vec<Codec>) -> LocalMedia {
    LocalMedia {
        addr,
        codecs,
        ptime: Ptime::DEFAULT,
        telephone_event: true,
        rtcp_mux: true,
        // RFC 8866 §5.2 wants a numeric string; 63 bits keep out of the way of peers that read it as signed.
        session_id: ctx.random.next_u64() >> 1,
        session_version: 1,
    }
}
