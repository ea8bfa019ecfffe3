//! The engine's shell: drives the sans-IO engine with sockets, media threads, the journal and the clock.
//!
//! [`Engine::start`] opens the journal (ending what a crash left open), binds sockets, starts the media threads and
//! spawns one task that owns [`engine_core::Engine`]. The [`Engine`] handle asks that task questions; nothing else
//! touches the core. A call is in the journal before its INVITE leaves, and its end before `call.ended` is published.
//!
//! It knows nothing of HTTP (see the control API's server) nor of campaigns.
#![forbid(unsafe_code)]

mod bridging;
mod config;
mod endpoints;
mod engine;
mod events;
mod flows;
mod handshakes;
mod http;
mod journal;
mod metrics;
mod prompts;
mod quality;
mod queues;
mod recordings;
mod sounds;
mod speech;
mod start;
mod task;
#[cfg(test)]
mod tests;
mod timeline;
mod trace;
mod trunks;
mod webhooks;

pub use config::{Config, Reload};
pub use engine::{CallQuery, CdrQuery, Engine, Error};
pub use engine_core::Refusal;
pub use events::{Delivery, Expired, Subscription};
pub use http::HttpConfig;
pub use journal::{JournalError, StoredAnswer};
pub use media_io::record::RecordError;
pub use media_prompts;
pub use prompts::PromptError;
pub use recordings::{RecordingQuery, RecordingSettings};
pub use sounds::SoundConfig;
pub use speech::{OpenaiConfig, SpeechConfig, SpeechError, Synthesiser, VoiceConfig};
pub use speech_core;
pub use start::StartError;
pub use trace::{HepConfig, HepSecret, TraceConfig};
pub use webhooks::WebhookConfig;
