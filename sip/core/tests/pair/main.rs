//! Endpoints against each other, and against scripted rude peers, on a virtual clock over an emulated network.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agreement;
mod authentication;
mod calls;
mod delayed;
mod dismissal;
mod early;
mod failover;
mod forks;
mod headers;
mod info;
mod lossy;
mod nat;
mod negotiation;
mod net;
mod offers;
mod outgoing;
mod public_ip;
mod races;
mod refer;
mod registration;
mod reliable;
mod replaces;
mod requests;
mod retransmission;
mod rude;
mod timers;
mod transports;
mod watch;
