//! Sans-IO engine: calls, flows, trunks, admission and CDRs, as one value that owns the SIP endpoint.
//!
//! An [`Engine`] is driven with `(now, input)` and drained: after each [`Engine::handle_input`],
//! [`Engine::handle_timeout`] or command, take everything from [`Engine::poll_output`] and wake up again at
//! [`Engine::poll_timeout`]. It reads no clock, opens no socket and draws no randomness of its own.
//!
//! What it promises:
//! - An accepted call ([`Output::Accept`]) ends in exactly one [`Output::Ended`], its CDR, whatever the way out.
//! - No INVITE leaves before the journal has the call ([`Input::Accepted`]).
//! - The events of a call are numbered from 1 without gaps; `call.ended` has the last number.
//! - The limits of the engine and of each trunk are never exceeded by calls that it begins.
//!
//! What it does not do: audio (the media shell runs programs; the engine knows prompts by id), storage, idempotency
//! across restarts, delivery of events.
//!
//! Choices that the contract leaves open:
//! - A call for a trunk whose first registration is under way waits in the queue; for one that is down it fails as
//!   `network-error`, for one that is rejected as `blocked`, without an INVITE.
//! - The API may play and gather when no flow runs or the flow stands at `park` or `pause`; otherwise 409.
//! - `call.gather.ended` is told once per gather, after its retries.
//! - A drain ends queued calls at once and the rest at its deadline, both as `limit-reached` if unanswered.
//! - A flow that loops without waiting is hung up; the CDR has `sip_reason` `flow-limit`.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod admission;
mod call;
mod cdr;
mod clock;
mod config;
mod dial;
mod disposition;
mod engine;
mod flow;
mod id;
mod io;
mod number;
mod prompt;
mod route;
mod timers;
mod trunk;
mod variables;

pub use admission::Capacity;
pub use cdr::crash_ended;
pub use clock::Clock;
pub use config::{
    ConfigError, EngineConfig, Network, NotANetwork, Route, RouteAction, RouteMatch, TrunkConfig,
};
pub use disposition::{Evidence, final_status};
pub use engine::{Engine, TimerKind};
pub use io::{CallEvent, Input, MediaCommand, MediaInput, Output, Refusal};
pub use number::{NumberError, NumberFormat};
pub use prompt::PromptId;
pub use timers::CallTimer;
