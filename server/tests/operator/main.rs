//! The binary as its operator sees it: processes, signals, files, HTTP. The far end of calls is the simulated carrier,
//! or a telephone in the test itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it expects; all else fails it")]

mod bad_input;
mod command_line;
mod described;
mod documents;
mod endpoints;
mod events;
mod examples;
mod flood;
mod identity;
mod inbound;
mod limits;
mod phone;
mod python;
mod recordings;
mod stopping;
mod support;
mod torture;
mod trace;
mod transports;
mod trunks;
mod web;
mod webhooks;
