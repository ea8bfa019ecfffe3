//! The API over a real engine, on loopback.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod app;
mod calls;
mod events;
mod http;
mod idempotency;
mod library;
