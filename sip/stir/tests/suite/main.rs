//! Signing and verifying as the engine does it, with certificates made here.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod pki;
mod rubbish;
mod verification;
