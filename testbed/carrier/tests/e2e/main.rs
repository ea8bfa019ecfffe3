//! `carillon` itself against real peers, through its own API: SIPp, Kamailio, and ears that know PESQ.
//!
//! A program that is missing is a failure that says how to get it, never a test that is passed over.
#![expect(clippy::unwrap_used, reason = "a test")]

mod kamailio;
mod lab;
mod pesq;
mod quirks;
mod sipp;
mod wire;
