//! One call: its state machine, from acceptance to its CDR.
//!
//! ```text
//! outbound  Accepting → Queued → Opening → Inviting ──────────┐
//! inbound   Accepting → Screening → Offered → Opening ────────┼→ Connected → Ending → Over
//!                         (without an offer)    └→ Answering ─┘
//!                         (from every state ─────────────────────────────→ Ending)
//! ```
//!
//! Beside its state a call owns a media leg and its SIP sessions: one, or before the answer one for each branch of its
//! [hunt]. `Ending` lasts until all are gone, but no longer than its timer, so that the CDR has the last evidence and
//! statistics and yet no peer can hold it back.

mod amd;
mod ask;
mod branch;
mod bridged;
mod dialling;
mod ending;
mod exchange;
mod given;
mod hunt;
mod media;
mod queued;
mod recording;
mod screening;
mod setup;
mod takeover;
mod transfer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use control_api_types::event::{DtmfMethod, HoldBy};
use control_api_types::flow::Flow;
use control_api_types::{
    AmdParameters, Call, CallId, CallStatus, EarlyMedia, EndedBy, EventData, HangupReason, Play,
    RecordOptions, RecordingEnd, Srtp, Timestamp,
};
use media_core::ice::Credentials;
use media_core::sdp::{Fingerprint, Keying, LocalDtls, LocalSrtp, SrtpPolicy};
use media_core::{
    Codec, Direction, LegConfig, LegId, LocalMedia, MediaTime, Negotiated, NtpClock, Ptime, RtpTimeout,
    SdpError, SeqNo, Ssrc, sdp,
};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use sip_core::{
    Body, EndCause, Endpoint, Error, Failure, FailureCause, Hangup, Reason, ReasonProtocol, Refer, ReferId,
    ReferProgress, ReferTo, SessionEvent, SessionId, Side,
};

use self::amd::Amd;
pub(crate) use self::branch::{CallOff, Standing};
use self::bridged::InBridge;
pub(crate) use self::bridged::{Parting, Partner, Wish};
use self::dialling::Dialling;
use self::exchange::Exchange;
pub(crate) use self::hunt::{Branch, BranchMedia, Group, Search, Template, fails_over, tells_caller};
use self::hunt::{Hunt, Loss, Lost, Verdict};
use self::media::{Activity, Media, Programs};
use self::recording::Recordings;
pub(crate) use self::screening::Questions;
use self::screening::Screening;
pub(crate) use self::transfer::HandOver;
use self::transfer::Transfer;
use crate::cdr;
use crate::clock::Clock;
use crate::dial::{Called, Dial, to_api};
use crate::disposition::{Evidence, final_status};
use crate::io::{CallEvent, MediaCommand, Output, Refusal};
use crate::keypress::Keypress;
use crate::prompt::Prompts;
use crate::queue::Queues;
use crate::registrar::Registrar;
use crate::stir::{Assertion, Identities};
use crate::timers::{CallTimer, Timers};
use crate::trunk::{NoWay, Sign, TrunkId, Trunks};

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
    pub(crate) trunks: &'a mut Trunks,
    pub(crate) registrar: &'a Registrar,
    pub(crate) random: &'a mut ChaCha20Rng,
    pub(crate) flows: &'a BTreeMap<String, Arc<Flow>>,
    pub(crate) prompts: &'a Prompts,
    pub(crate) queues: &'a mut Queues,
    pub(crate) identities: &'a mut Identities,
    pub(crate) rtp_timeout: RtpTimeout,
    pub(crate) fingerprint: Option<Fingerprint>,
}

impl Context<'_> {
    /// What happens to this session happens to this call.
    pub(crate) fn attach(&mut self, session: SessionId, leg: LegId, call: &CallId) {
        self.sessions.insert(session, leg);
        if let Some(id) = self.endpoint.session_call_id(session) {
            let sip_call_id = id.to_string();
            self.outputs.push_back(Output::Dialog { call: call.clone(), sip_call_id });
        }
    }
}

impl Context<'_> {
    fn timestamp(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.clock.unix_ms(self.now))
    }

    fn sign(&mut self, trunk: Option<TrunkId>, gateway: &str, sign: Sign) {
        if let Some(trunk) = trunk {
            self.trunks.sign(self.now, trunk, gateway, sign, self.random);
        }
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
    /// Its SIP sessions, each until its terminal event or until it is of no interest any more.
    sessions: BTreeSet<SessionId>,
    /// Offer and answer, once both sides have described the media.
    exchange: Option<Box<Exchange>>,
    transfer: Option<Transfer>,
    media: Media,
    programs: Programs,
    amd: Amd,
    /// Digits that are being sent.
    dialling: Option<Dialling>,
    in_bridge: InBridge,
    wish: Option<Wish>,
    /// What it hears until one answers who is called for it, and the program that plays it.
    meanwhile: Option<Play>,
    heard_meanwhile: Option<u64>,
    recordings: Recordings,
    /// Number of the last event.
    seq: u64,
    trunk: Option<TrunkId>,
    plan: Plan,
    marks: Marks,
}

/// What to do once answered.
#[derive(Debug)]
pub(crate) struct Plan {
    /// `None` parks the call.
    pub(crate) flow: Option<Arc<Flow>>,
    /// How it is recorded, if it is.
    pub(crate) record: Option<RecordOptions>,
    pub(crate) max_duration: Duration,
    /// Whether it is found out who answers, and by what.
    pub(crate) amd: Option<AmdParameters>,
}

/// Moments that are measured.
#[derive(Debug, Default)]
struct Marks {
    /// Counted in by the gates.
    admitted: Option<Instant>,
    invited: Option<Instant>,
    /// The last branches of the hunt were sent.
    tried: Option<Instant>,
    /// First ringing, progress or answer.
    progress: Option<Instant>,
    /// The provisional statuses that `call.ringing` has told.
    rung: Vec<u16>,
}

#[derive(Debug)]
enum State {
    /// The journal does not have the call yet.
    Accepting(Origin),
    /// Outbound: waits for its turn.
    Queued(Box<Dial>),
    /// The media port is being opened, for the offer or the answer.
    Opening(Origin),
    /// Outbound: INVITEs are out.
    Inviting(Box<Inviting>),
    /// Inbound: something about it is being found out.
    Screening(Screening),
    /// Inbound: waits for the API.
    Offered(Box<Offer>),
    /// Inbound: our 200 offers, for the caller did not; the answer comes with the ACK.
    Answering(Box<(LocalMedia, Bytes)>),
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
    /// `None`: the caller wants ours.
    pub(crate) sdp: Option<Bytes>,
    pub(crate) codecs: Vec<Codec>,
    pub(crate) srtp: Srtp,
    /// Whether it is a browser's, and so answered with ICE and DTLS.
    pub(crate) webrtc: bool,
    /// Whether a route answers it; otherwise the API does.
    pub(crate) answer: bool,
    /// What has to be found out first.
    pub(crate) questions: Questions,
}

#[derive(Debug)]
struct Inviting {
    hunt: Hunt,
    template: Template,
    /// The offer, the same in every branch: only one of them is answered. `None`: the callee offers.
    offer: Option<Body>,
    local: LocalMedia,
    /// What branches that are browsers are offered in place of [`LocalMedia::srtp`].
    dtls: Option<LocalDtls>,
    failover: Duration,
    early_media: EarlyMedia,
    early: Option<Early>,
    /// What is signed of it.
    assertion: Option<Assertion>,
}

/// The callee's description before the answer.
#[derive(Debug)]
struct Early {
    /// Whose: the first that gave one.
    session: SessionId,
    sdp: Bytes,
    /// What it comes to, unless it is unusable, which is no reason to give up before the final one.
    exchange: Option<Box<Exchange>>,
    /// Whether media runs by it.
    runs: bool,
}

impl LiveCall {
    /// An outbound call; its record goes to the journal.
    pub(crate) fn outbound(
        ctx: &mut Context<'_>,
        leg: LegId,
        record: Call,
        trunk: Option<TrunkId>,
        dial: Dial,
        plan: Plan,
        queue_timeout: Duration,
    ) -> Self {
        ctx.timers.set(leg, CallTimer::Queue, ctx.now + queue_timeout);
        Self::new(
            ctx,
            leg,
            record,
            trunk,
            State::Accepting(Origin::Outbound(Box::new(dial))),
            plan,
            BTreeSet::new(),
        )
    }

    /// An inbound call; its record goes to the journal.
    pub(crate) fn inbound(
        ctx: &mut Context<'_>,
        leg: LegId,
        record: Call,
        trunk: Option<TrunkId>,
        session: SessionId,
        offer: Offer,
        plan: Plan,
    ) -> Self {
        ctx.timers.set(leg, CallTimer::Ring, ctx.now + OFFER_TIMEOUT);
        ctx.attach(session, leg, &record.id);
        let state = State::Accepting(Origin::Inbound(Box::new(offer)));
        let mut call = Self::new(ctx, leg, record, trunk, state, plan, BTreeSet::from([session]));
        call.marks.admitted = Some(ctx.now);
        call
    }

    fn new(
        ctx: &mut Context<'_>,
        leg: LegId,
        record: Call,
        trunk: Option<TrunkId>,
        state: State,
        plan: Plan,
        sessions: BTreeSet<SessionId>,
    ) -> Self {
        ctx.outputs.push_back(Output::Accept(Box::new(record.clone())));
        Self {
            leg,
            record,
            state,
            sessions,
            exchange: None,
            transfer: None,
            media: Media::None,
            programs: Programs::default(),
            amd: Amd::of(plan.amd),
            dialling: None,
            in_bridge: InBridge::default(),
            wish: None,
            meanwhile: None,
            heard_meanwhile: None,
            recordings: Recordings::default(),
            seq: 0,
            trunk,
            plan,
            marks: Marks::default(),
        }
    }

    pub(crate) fn record(&self) -> &Call {
        &self.record
    }

    pub(crate) fn trunk(&self) -> Option<TrunkId> {
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

    /// Whether its trunk was tried: an INVITE has left, or has come.
    pub(crate) fn is_telling(&self) -> bool {
        self.marks.invited.is_some()
    }

    /// From the INVITE to the first sign of life beyond 100 Trying.
    pub(crate) fn post_dial_delay(&self) -> Option<Duration> {
        Some(self.marks.progress?.saturating_duration_since(self.marks.invited?))
    }

    /// Something happened to a SIP session.
    pub(crate) fn on_session(&mut self, ctx: &mut Context<'_>, id: SessionId, event: SessionEvent) {
        match event {
            SessionEvent::Provisional { status, body, .. } => self.provisional(ctx, id, status, body),
            SessionEvent::Answered { body, .. } => self.answered(ctx, id, body),
            // The engine takes new sessions; an inbound call is answered when our 200 leaves.
            SessionEvent::Incoming { .. } => {}
            SessionEvent::Confirmed { body } => self.confirmed(ctx, body),
            SessionEvent::Offered { body, .. } => self.offered(ctx, id, body),
            SessionEvent::OfferAnswered { body } => self.offer_answered(ctx, body),
            SessionEvent::OfferRefused { status } => self.offer_refused(ctx, status),
            SessionEvent::OfferWithdrawn => self.offer_withdrawn(),
            SessionEvent::Referred(referred) => self.referred(ctx, id, referred.refer, referred.to),
            SessionEvent::Info { content_type, body } => {
                // Other branches of the hunt may say what they like.
                if self.exchange_with(id).is_some()
                    && let Some(key) = Keypress::read(&content_type, &body)
                {
                    self.pressed(ctx, key);
                }
            }
            SessionEvent::ReferProgress { refer, progress } => self.transfer_progress(ctx, refer, progress),
            SessionEvent::InfoAnswered { status } => self.info_answered(ctx, status),
            SessionEvent::Failed(failure) => {
                self.session_over(ctx, id);
                match &self.state {
                    State::Inviting(_) => {
                        let verdict = self.branch_failed(ctx, id, Loss::Failed(failure));
                        self.follow(ctx, verdict);
                    }
                    State::Accepting(_)
                    | State::Queued(_)
                    | State::Opening(_)
                    | State::Screening(_)
                    | State::Offered(_)
                    | State::Answering(_)
                    | State::Connected(_)
                    | State::Ending(_)
                    | State::Over => self.failed(ctx, failure),
                }
            }
            SessionEvent::Ended { by, q850, cause, .. } => {
                self.session_over(ctx, id);
                self.record.q850_cause = q850.or(self.record.q850_cause);
                if let State::Ending(_) = self.state {
                    return self.finish_if_released(ctx);
                }
                if let Some(words) = ending::words(cause) {
                    self.record.sip_reason = Some(words.to_owned());
                }
                let by = match by {
                    Side::Remote => EndedBy::Remote,
                    Side::Local => EndedBy::Engine,
                };
                let evidence = match (&self.state, by) {
                    // It was answered with an offer that nobody has answered.
                    (State::Answering(_), EndedBy::Remote) => Evidence::CallerGaveUp,
                    (State::Answering(_), _) => Evidence::Network,
                    (_, _) => Evidence::Answered,
                };
                self.end(ctx, evidence, by);
            }
        }
    }

    /// What an answered call does.
    fn activity(&self) -> Option<&Activity> {
        if let State::Connected(activity) = &self.state { Some(activity) } else { None }
    }

    pub(crate) fn wrong_state(&self, need: &'static str) -> Refusal {
        Refusal::WrongState { call: self.record.id.clone(), status: self.record.status, need }
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
    direction: control_api_types::Direction,
    to: String,
    from: String,
    at: Timestamp,
    node: &Arc<str>,
) -> Call {
    Call {
        id,
        status: match direction {
            control_api_types::Direction::Outbound => CallStatus::Queued,
            control_api_types::Direction::Inbound => CallStatus::Initiated,
        },
        direction,
        to,
        from,
        trunk: None,
        endpoint: None,
        gateway: None,
        attempts: 0,
        sip_call_id: None,
        headers: BTreeMap::new(),
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
        parent_call_id: None,
        codec: None,
        srtp: None,
        bridge_id: None,
        queue: None,
        muted: None,
        held: false,
        recording_ids: Vec::new(),
        amd: None,
        variables: BTreeMap::new(),
        client_state: None,
        media: None,
        stir: None,
        node: Arc::clone(node),
    }
}
