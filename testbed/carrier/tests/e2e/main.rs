//! `carillon` itself against real peers, through its own API: SIPp, Kamailio, baresip, a browser, and ears that know
//! PESQ.
//!
//! A program that is missing is a failure that says how to get it, never a test that is passed over.
#![expect(clippy::unwrap_used, reason = "a test")]

mod amd;
mod audio;
mod baresip;
mod bridges;
mod browser;
mod churn;
mod dials;
mod kamailio;
mod lab;
mod loss;
mod pesq;
mod pki;
mod proxy;
mod queues;
mod quirks;
mod relay;
mod sipp;
mod speech;
mod srtp;
mod table;
mod wire;
