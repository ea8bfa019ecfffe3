//! The HTTP control API over the engine.
//!
//! [`router`] makes the whole API from one table of routes: the scopes in front of the handlers and the OpenAPI
//! document come from the same entries. [`serve`] runs it on a listener. [`Tokens`] is who may call it; [`add_token`]
//! is `carillon token new`.
//!
//! Handlers read requests (every fault at once), ask [`engine_runtime::Engine`], and write answers; they hold no
//! state of their own but the idempotency keys being answered. TLS and the console are not here.
#![forbid(unsafe_code)]

mod app;
mod bridges;
mod calls;
mod connections;
mod docs;
mod endpoints;
mod events;
mod failure;
mod flows;
mod idempotency;
mod node;
mod params;
mod prompts;
mod queues;
mod rate;
mod recordings;
mod route;
mod routes;
mod serve;
mod tokens;
mod trunks;
mod webhooks;

pub use app::{ApiConfig, ReloadOrder, Reloads};
pub use connections::Tls;
pub use rate::Rate;
pub use serve::{router, serve};
pub use tokens::{TokenError, Tokens, add_token};
