//! The transports over real loopback sockets.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails on the unexpected")]

mod guard;
mod name_servers;
mod names;
mod pki;
mod support;
mod tcp;
mod tls;
mod udp;
mod web_socket;
