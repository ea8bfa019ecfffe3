//! Shapes of the HTTP control API, shared by the engine, the API server, the client and third parties.
//!
//! Contract: every type serialises to exactly the JSON that the API documents. Requests ([`CreateCall`], [`Play`],
//! [`Gather`], [`flow::Flow`]) are read with `from_json`, which reports every fault at once, each with a JSON pointer
//! (RFC 6901); unknown fields are faults. What is read is valid by itself; whether a named trunk or prompt exists is
//! for the engine to say.
//!
//! This crate does no I/O and reads no clock.
//!
//! ```
//! use control_api_types::CreateCall;
//! let body = serde_json::json!({ "to": "+628761234", "timeout_s": 0, "colour": "red" });
//! let faults = CreateCall::from_json(&body).unwrap_err();
//! let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
//! assert_eq!(pointers, ["/timeout_s", "/trunk", "/colour"]);
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod action;
mod amd;
mod ask;
mod bridge;
mod call;
mod create;
mod dial;
mod endpoint;
pub mod event;
mod fault;
mod filter;
pub mod flow;
mod id;
mod play;
mod problem;
mod queue;
mod recording;
mod resource;
mod route;
mod say;
mod scope;
mod stir;
mod time;
mod timeline;
mod trace;
mod trunk;
mod variable;
pub mod webhook;

pub use action::{Dtmf, Gather, HangupReason, Reject, Transfer, TransferMode};
pub use amd::{Amd, AmdEvidence, AmdParameters, AmdReport, AmdResult};
pub use ask::{StepAnswer, Then, WebhookStep};
pub use bridge::{
    Bridge, BridgeCall, BridgeDtmf, BridgeMember, CreateBridge, JoinBridge, MAX_BRIDGED, Mute, MuteDirection,
    OnEnd, Role,
};
pub use call::{Call, CallStatus, Codec, Direction, Disposition, EndedBy, MediaSummary};
pub use create::{CreateCall, EarlyMedia, FlowRef, MAX_DIGITS};
pub use dial::{DialEnd, DialStep, DialTarget, DialTo, DialToOne, GiveFlow, MAX_TARGETS, TransferEnd};
pub use endpoint::{Endpoint, EndpointContact, EndpointMedia, PutEndpoint, SipTransport};
pub use event::{EndpointGone, Event, EventData};
pub use fault::{Fault, Faults, Fields};
pub use filter::{EventTypes, NoSuchType};
pub use id::{CallId, Cursor, InvalidId, PlayId, RecordingId};
pub use play::{MAX_PLAYLIST, Play, PlayStarted, Sound, Source, Tone};
pub use problem::{Code, Problem};
pub use queue::{Announce, Callback, CallbackKey, MAX_QUEUES, Queue, QueueResource, QueuedCall};
pub use recording::{
    Record, RecordAccepted, RecordAction, RecordOptions, RecordStep, Recording, RecordingEnd,
    RecordingFormat, RecordingStatus,
};
pub use resource::{
    Drain, FlowResource, FlowSummary, Gateway, GatewayState, Health, Lateness, Limits, LimitsPatch, Node,
    NodeCalls, NodeMedia, Page, Prompt, Readiness, Reloaded, Trunk, TrunkOrigin, TrunkState,
};
pub use route::RouteAnswer;
pub use say::{CreatePrompt, Say};
pub use scope::{Scope, Scopes, UnknownScope};
pub use stir::{Attestation, Stir, TrunkAttest, Verify, Verstat};
pub use time::Timestamp;
pub use timeline::{CallTimeline, TimelineEntry, TimelineEvent, TimelineItem, TimelinePlay};
pub use trace::{CallTrace, TraceDirection, TraceMessage};
pub use trunk::{
    CallerIdChoice, GatewaySettings, Identity, NumberFormatSettings, RedirectTo, ReliableProvisionals,
    Secret, Srtp, TrunkSettings,
};
pub use variable::{MAX_VARIABLES, MAX_VARIABLES_BYTES, Variable, Variables};
pub use webhook::{CreateWebhook, Webhook, WebhookStatus};
