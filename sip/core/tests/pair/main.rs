//! Endpoints against each other, and against scripted rude peers, on a virtual clock over an emulated network.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod authentication;
mod calls;
mod dismissal;
mod early;
mod failover;
mod lossy;
mod net;
mod outgoing;
mod races;
mod registration;
mod requests;
mod retransmission;
mod rude;
mod transports;
