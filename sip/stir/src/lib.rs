//! Sans-IO STIR/SHAKEN: who calls, signed by the network that the call comes from.
//!
//! A [`Signer`] turns the [`Claims`] of an outbound call into the value of its Identity header. A [`Verifier`] takes an
//! inbound INVITE in two steps, because the certificate lies elsewhere: [`Verifier::read`] checks everything that needs
//! no certificate and names its URL, [`Verifier::finish`] checks the rest once the shell has fetched the [`Chain`].
//!
//! ```
//! use sip_stir::{Attestation, Claims, NoChain, Number, Party, Request, Settings, Signer, Verifier, origid};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Known to everybody: from the drafts of RFC 8225.
//! let key = b"-----BEGIN EC PRIVATE KEY-----
//! MHcCAQEEIFeZ1R208QCvcu5GuYyMfG4W7sH4m99/7eHSDLpdYllFoAoGCCqGSM49
//! AwEHoUQDQgAE8HNbQd/TmvCKwPKHkMF9fScavGeH78YTU8qLS8I5HLHSSmlATLcs
//! lQMhNC/OhlWBYC626nIlo7XeebYS7Sb37g==
//! -----END EC PRIVATE KEY-----";
//! let signer = Signer::new(key, "https://cert.example.org/passport.cer")?;
//! let number = |text| Number::canonical(text).map(Party::Number).ok_or("no number");
//! let claims = Claims {
//!     attest: Attestation::Full,
//!     dest: vec![number("+1 212-555-1213")?],
//!     iat: 1_800_000_000,
//!     orig: number("+1 215 555 1212")?,
//!     origid: origid(&["node-1", "trunk-1"]),
//! };
//! let identity = signer.identity(&claims)?;
//!
//! let request = Request {
//!     identities: &[&identity],
//!     from: Some(number("+12155551212")?),
//!     asserted: None,
//!     to: number("12125551213")?,
//!     called: number("12125551213")?,
//!     call: "call-id@example.org",
//! };
//! let mut verifier = Verifier::new(Settings::default());
//! let pending = verifier.read(1_800_000_005, &request)?;
//! assert_eq!(pending.x5u(), "https://cert.example.org/passport.cer");
//! // Here the shell fetches the certificate; this time in vain.
//! let failure = verifier.finish(1_800_000_006, pending, Err(NoChain::Unavailable)).unwrap_err();
//! assert_eq!((failure.status(), failure.phrase()), (436, "Bad Identity Info"));
//! # Ok(())
//! # }
//! ```
//!
//! It reads no clock and no network. One thing is drawn from outside: the nonce of an ECDSA signature, by aws-lc's own
//! generator inside [`Signer::identity`]. A nonce that could be foreseen gives the private key away, no state follows from
//! it, and the signer is a value that the shell makes and hands in; so it is left where it is safest.
//!
//! What it does not do: fetch, revocation lists, PASSporTs other than `shaken` (`div`, `rph`, RFC 8225's base), signing in
//! compact form. `docs/sip.md` has a table of RFC sections.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod authority;
mod chain;
mod failure;
mod identity;
mod party;
mod passport;
mod replay;
mod sign;
mod verify;

pub use chain::{Anchors, AnchorsError, Chain, ChainError};
pub use failure::{Failure, Verstat};
pub use identity::{Identity, MAX_IDENTITY, Malformed, Token};
pub use party::{Number, Party};
pub use passport::{Attestation, Claims, Passport};
pub use sign::{Signer, SignerError, SigningFailed, origid};
pub use verify::{NoChain, Pending, Request, Settings, Verified, Verifier};

/// Whether a PASSporT's `x5u` can name `url`: absolute, of one of the schemes, and safe to stand in a header's `<>`.
pub(crate) fn is_url(url: &str, http: bool) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://").filter(|_| http));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && url.len() <= MAX_URL
        && url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b'\\'))
}

/// Longest URL of a certificate, in octets. Those in use are below 150.
const MAX_URL: usize = 1024;
