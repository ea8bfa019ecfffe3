//! Sans-IO engine: calls, flows, trunks, admission and CDRs, as one value that owns the SIP endpoint.
//!
//! An [`Engine`] is driven with `(now, input)` and drained: after each [`Engine::handle_input`],
//! [`Engine::handle_timeout`] or command, take everything from [`Engine::poll_output`] and wake up again at
//! [`Engine::poll_timeout`]. It reads no clock, opens no socket and draws no randomness of its own.
//!
//! ```
//! # use std::time::Instant;
//! use control_api_types::{CallId, CreateCall, Limits};
//! use engine_core::{Clock, Engine, EngineConfig, Input, MediaCommand, MediaInput, Output, StirConfig};
//! use sip_core::{EndpointConfig, Listener, Transport};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let now = Instant::now();
//! let address = "192.0.2.1:5060".parse()?;
//! let listener = Listener { transport: Transport::Udp, bound: address, advertised: address };
//! let config = EngineConfig {
//!     node: "node-1".into(),
//!     clock: Clock::new(now, 1_800_000_000_000),
//!     sip: EndpointConfig::new(vec![listener]),
//!     trunks: Vec::new(),
//!     routes: Vec::new(),
//!     registrar: Default::default(),
//!     limits: Limits { max_calls: 100, max_cps: 10, max_queued: 10, queue_timeout_s: 60, drain_timeout_s: 60 },
//!     stir: StirConfig::default(),
//!     rtp_timeout: Default::default(),
//!     fingerprint: None,
//!     inbound_max_duration: EngineConfig::INBOUND_MAX_DURATION,
//! };
//! let mut engine = Engine::new(now, config, [7; 32])?; // the seed comes from the operating system
//! let call = engine.originate(now, CallId::new("call-1")?, CreateCall::to("sip:bob@192.0.2.9"))?;
//! let mut sent = None;
//! while let Some(output) = engine.poll_output() {
//!     match output {
//!         // Journal first …
//!         Output::Accept(call) => engine.handle_input(now, Input::Accepted { call: call.id }),
//!         // … then a port for the offer …
//!         Output::Media { leg, command: MediaCommand::Open } => {
//!             let input = MediaInput::Opened("192.0.2.1:10000".parse()?);
//!             engine.handle_input(now, Input::Media { leg, input });
//!         }
//!         // … then the INVITE.
//!         Output::Transmit(transmit) => sent = Some(transmit),
//!         _ => {}
//!     }
//! }
//! assert!(sent.ok_or("nothing was sent")?.payload.starts_with(b"INVITE sip:bob@192.0.2.9 SIP/2.0\r\n"));
//! assert!(engine.call(&call.id).is_some() && engine.poll_timeout().is_some());
//! # Ok(())
//! # }
//! ```
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
//! - The API may play and gather when no flow runs or the flow stands at `park`, `pause`, `bridge` or `amd`; otherwise 409.
//! - A call is bridged when it is parked, by the API or at a `park` step, or waits in a queue; otherwise 409. One that is taken out of a bridge is
//!   not hung up. A bridge that somebody has been in ends when nobody waits in it any more. Only who came to a bridge that has met two talkers is told `call.bridged`.
//! - `call.gather.ended` is told once per gather, after its retries.
//! - A drain ends queued calls at once and the rest at its deadline, both as `limit-reached` if unanswered.
//! - A flow that hardly waits, or sets more variables than a call may have, is hung up; the CDR has `sip_reason` `flow-limit`.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod admission;
mod bridge;
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
mod keypress;
mod number;
mod prompt;
mod queue;
mod registrar;
mod route;
mod say;
mod settings;
mod stir;
mod timers;
mod trunk;
mod variables;

pub use admission::Capacity;
pub use cdr::crash_ended;
pub use clock::Clock;
pub use config::{
    ConfigError, EngineConfig, GatewayConfig, OnError, Probing, RegistrarConfig, Route, RouteAction,
    RouteMatch, TrunkConfig, Webhook,
};
pub use dial::from_api as codec_from_api;
pub use engine::{Engine, QueueLoad, TimerKind};
pub use io::{BridgePlan, CallEvent, DoorNews, Input, MediaCommand, MediaInput, NoAnswer, Output, Refusal};
pub use number::{NumberError, NumberFormat};
pub use prompt::{Audio, Playlist, PromptId};
pub use registrar::{Account, NameTaken, RegistrarCounts};
pub use say::{Utterance, utterance};
pub use stir::{Signing, StirConfig};
pub use timers::CallTimer;
