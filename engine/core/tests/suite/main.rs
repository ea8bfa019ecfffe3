//! The engine against a simulated carrier, in virtual time.
#![expect(clippy::unwrap_used, reason = "tests")]

mod amd;
mod bridges;
mod browser;
mod carrier;
mod dials;
mod dtmf;
mod endpoints;
mod exchange;
mod failover;
mod faults;
mod flows;
mod gateways;
mod given;
mod inbound;
mod limits;
mod outbound;
mod queues;
mod random;
mod recordings;
mod redirects;
mod referrals;
mod registration;
mod speech;
mod srtp;
mod stir;
mod takeover;
mod together;
mod transfers;
mod trunks;
mod webhooks;
mod world;
