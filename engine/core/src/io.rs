//! What goes into an [`Engine`](crate::Engine), what comes out, and what it refuses.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use control_api_types::{
    Call, CallId, CallStatus, EventData, Fault, Recording, RecordingEnd, RouteAnswer, StepAnswer,
};
use media_core::dtmf::Dial;
use media_core::record::{self, Track};
use media_core::srtp::Suite;
use media_core::{
    BridgeId, Digit, Keys, LegConfig, LegId, MediaEvent, MediaStats, Member, Negotiated, Program,
};

use sip_core::guard::Known;
use sip_stir::{Chain, NoChain};

use crate::prompt::Playlist;

/// Something the outside reports.
#[derive(Debug, Clone)]
pub enum Input {
    /// From the SIP shell.
    Sip(sip_core::Input),
    /// From the media shell.
    Media {
        /// The leg that [`Output::Media`] named.
        leg: LegId,
        /// What happened to it.
        input: MediaInput,
    },
    /// The bridge of an [`Output::Bridge`] could not be made or changed, and will not be: it ends.
    BridgeFailed {
        /// Which.
        bridge: BridgeId,
    },
    /// The journal has the call of an [`Output::Accept`]: it may begin.
    Accepted {
        /// Which call.
        call: CallId,
    },
    /// The answer to [`Output::FetchCertificate`].
    Certificate {
        /// The leg that asked.
        leg: LegId,
        /// What lies there.
        result: Result<Arc<Chain>, NoChain>,
    },
    /// The answer to [`Output::AskRoute`].
    RouteAnswered {
        /// The leg that asked.
        leg: LegId,
        /// What the web server says.
        answer: Result<RouteAnswer, NoAnswer>,
    },
    /// The answer to [`Output::AskStep`].
    StepAnswered {
        /// The leg that asked.
        leg: LegId,
        /// Its question.
        question: u64,
        /// What the web server says.
        answer: Result<StepAnswer, NoAnswer>,
    },
}

/// Why a web server that was asked about a call tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It did not answer in time.
    #[error("the webhook did not answer in time")]
    Timeout,
    /// It could not be reached, or may not be.
    #[error("the webhook could not be reached")]
    Unreachable,
    /// It answered with this HTTP status.
    #[error("the webhook answered with HTTP status {0}")]
    Status(u16),
    /// It answered something that is no answer.
    #[error(
        "the webhook's answer is not an object with what it may hold: a flow or a rejection of a call, variables, a next step"
    )]
    Unreadable,
    /// It names a flow that is not stored.
    #[error("the webhook names a flow that does not exist")]
    UnknownFlow,
    /// Its flow uses what is not there.
    #[error("the webhook's flow has faults")]
    FaultyFlow,
    /// It names a step that its flow does not have.
    #[error("the webhook names a step that does not exist")]
    UnknownStep,
}

/// What the media shell reports of a leg.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaInput {
    /// The answer to [`MediaCommand::Open`]: the address that RTP is received at.
    Opened(std::net::SocketAddr),
    /// The answer to [`MediaCommand::Open`]: no port or no room.
    OpenFailed,
    /// An event of the leg.
    Event(MediaEvent),
    /// What a [`MediaCommand::Run`] plays is not to be had: nothing runs now. Every other end of a play is an event.
    Unplayable {
        /// The id of the play.
        play: u64,
        /// Why, for a person to read.
        why: Arc<str>,
    },
    /// The handshake with a browser is over: its media runs, encrypted by this.
    Secured(Suite),
    /// There will be no handshake, for this reason: the call ends.
    Unsecured {
        /// For a person to read.
        why: String,
    },
    /// A recording is over.
    Recorded(Box<Recording>),
    /// A command did not reach the leg: its thread does not keep up. The call ends.
    Lost,
    /// The answer to [`MediaCommand::Close`], and the last of the leg. Unasked, it ends the call.
    Closed(MediaStats),
}

/// What the media shell is to do with a leg.
#[derive(Debug, Clone)]
pub enum MediaCommand {
    /// Bind ports; answered by [`MediaInput::Opened`] or [`MediaInput::OpenFailed`].
    Open,
    /// Start media as negotiated; comes again when the peer changes its mind.
    Start {
        /// What a new leg is made of; of no effect on one that runs.
        config: LegConfig,
        /// What to send where.
        negotiated: Negotiated,
    },
    /// Run a program; replaces the one that runs.
    Run(Program<Playlist>),
    /// Stop the prompt.
    StopPlay,
    /// Forget the keys that were pressed and that nothing has gathered.
    ForgetKeys,
    /// A key that the peer pressed and told of by SIP. The leg tells whether it counts, as an event.
    Press {
        /// Which.
        digit: Digit,
        /// How long.
        duration_ms: u16,
    },
    /// Find out who answers, before the answer: then only tones and announcements are told.
    Classify(media_core::classify::Parameters),
    /// The call is answered, for the one that is classified.
    Answered,
    /// Record what is heard and sent from now on; answered by [`MediaInput::Recorded`] when that is over.
    Record {
        /// Which of the leg's two recordings.
        track: Track,
        /// The recording as the API shows it.
        recording: Box<Recording>,
        /// When it is over by itself.
        plan: record::Recording,
        /// Whether a tone tells the peer that it begins.
        beep: bool,
    },
    /// Leave out of a recording what comes from now on, or take it in again.
    PauseRecording(Track, bool),
    /// End a recording, for this reason.
    StopRecording(Track, RecordingEnd),
    /// Send digits in the media; [`MediaEvent::DialEnded`] follows.
    Dial(Dial),
    /// End the leg; answered by [`MediaInput::Closed`], after the last events.
    Close,
}

/// What a bridge is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgePlan {
    /// Its legs.
    pub members: Vec<Member>,
    /// What becomes of the keys that are pressed in it.
    pub keys: Keys,
}

/// Something the engine wants done or tells. Outputs are in order.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send a SIP message.
    Transmit(sip_core::Transmit),
    /// Find out where a target is and come back with [`sip_core::Input::Resolved`].
    Resolve {
        /// To be repeated in the answer.
        query: sip_core::QueryId,
        /// What is asked.
        question: sip_core::Question,
    },
    /// Do something with a media leg.
    Media {
        /// Which.
        leg: LegId,
        /// What.
        command: MediaCommand,
    },
    /// Let these legs hear each other, and no longer those of the same bridge that are not among them.
    Bridge {
        /// Which bridge.
        bridge: BridgeId,
        /// Who hears whom; `None` ends it.
        plan: Option<BridgePlan>,
    },
    /// Write the accepted call to the journal, then come back with [`Input::Accepted`].
    Accept(Box<Call>),
    /// Get the certificates that lie at this URL, which a caller named, and come back with [`Input::Certificate`].
    FetchCertificate {
        /// To be repeated in the answer.
        leg: LegId,
        /// `https://`, unless the settings allow else.
        url: String,
    },
    /// POST the call to this URL, and come back with [`Input::RouteAnswered`].
    AskRoute {
        /// To be repeated in the answer.
        leg: LegId,
        /// Of the route.
        url: String,
        /// The longest wait.
        timeout: Duration,
        /// What to post.
        call: Box<Call>,
    },
    /// POST the call to this URL, and come back with [`Input::StepAnswered`].
    AskStep {
        /// To be repeated in the answer.
        leg: LegId,
        /// To be repeated, too.
        question: u64,
        /// Of the flow's step.
        url: String,
        /// The longest wait.
        timeout: Duration,
        /// What to post.
        call: Box<Call>,
    },
    /// A SIP dialog, known by its Call-ID, is one of this call's.
    Dialog {
        /// The call.
        call: CallId,
        /// The dialog.
        sip_call_id: String,
    },
    /// Publish an event of a call.
    Event(CallEvent),
    /// The last of a call: its CDR. Write it to the journal, then publish it as `call.ended`.
    Ended {
        /// The CDR.
        call: Box<Call>,
        /// The number of the `call.ended` event.
        seq: u64,
        /// When, in Unix milliseconds.
        at_unix_ms: u64,
    },
    /// Tell the door before the endpoint something.
    Door(DoorNews),
    /// Publish an event that is about no call.
    NodeEvent {
        /// What happened.
        data: EventData,
        /// When, in Unix milliseconds.
        at_unix_ms: u64,
    },
}

/// What the [`Guard`](sip_core::guard::Guard) before the endpoint has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DoorNews {
    /// Who is expected from now on.
    Known(Box<Known>),
    /// A password of this source was refused that it made for a nonce of ours
    /// ([`Verdict::Refused`](sip_core::digest::Verdict)).
    Refused(IpAddr),
    /// This source has shown that it knows a password.
    Proven(IpAddr),
}

/// One event of a call, `call.ended` excepted.
#[derive(Debug, Clone, PartialEq)]
pub struct CallEvent {
    /// Whose.
    pub call: CallId,
    /// What the originator gave to be repeated in every event.
    pub client_state: Option<Arc<str>>,
    /// From 1, without gaps.
    pub seq: u64,
    /// When, in Unix milliseconds.
    pub at_unix_ms: u64,
    /// What happened.
    pub data: EventData,
}

/// Why a command was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request asks for what is not there or makes no sense: every fault, with its place.
    #[error("the request has {} fault(s)", .0.len())]
    Validation(Vec<Fault>),
    /// A live call has this id already.
    #[error("a call with this id exists")]
    Conflict,
    /// The queue is full.
    #[error("the call queue is full")]
    QueueFull {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// There is no room for it now.
    #[error("{what}")]
    NoRoom {
        /// For what, and what makes room.
        what: String,
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The engine takes no new calls.
    #[error("the engine drains and takes no new calls")]
    Draining,
    /// The configuration file has it, and only changes there last.
    #[error("it is in the configuration file: change it there")]
    Configured,
    /// No live call, flow or prompt of this name.
    #[error("not found")]
    NotFound,
    /// The call cannot do this in its state.
    #[error("the call {call} is {status}: {need}")]
    WrongState {
        /// Which call.
        call: CallId,
        /// The state that it is in.
        status: CallStatus,
        /// What the command needs.
        need: &'static str,
    },
}
