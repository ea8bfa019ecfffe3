//! Digest access authentication (RFC 3261 section 22, RFC 7616, RFC 8760; RFC 2617 and RFC 2069 peers).

mod algorithm;
mod client;
mod fields;
mod verifier;

pub use algorithm::{Algorithm, Ha1, Hash};
pub use client::{Authorization, Counted, Credentials, Exchange, answer, strongest_of_each_realm};
pub use fields::{Challenge, Qop, QopOffer};
pub use verifier::{Verdict, Verifier};

#[cfg(test)]
mod vectors;
