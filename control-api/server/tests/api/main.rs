//! The API over a real engine, on loopback.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the event it waits for")]

mod app;
mod calls;
mod dials;
mod events;
mod http;
mod idempotency;
mod library;
mod queues;
mod timeline;
mod trunks;
