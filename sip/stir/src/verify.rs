//! The verification service (RFC 8224 section 6.2).

use std::time::Duration;

use crate::chain::{Anchors, Chain, ChainError};
use crate::failure::Failure;
use crate::identity::Identity;
use crate::party::Party;
use crate::passport::{Attestation, PPT, Passport};
use crate::replay::Replays;

/// Most Identity headers of one request that are looked at; a call that was diverted has one per hop.
const MAX_HEADERS: usize = 8;

/// How to verify.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who is believed. Nobody by default.
    pub anchors: Anchors,
    /// How far `iat` may lie from now, either way. RFC 8224 section 12.1 recommends 60 s.
    pub freshness: Duration,
    /// Whether `x5u` may be `http://`: in tests only.
    pub allow_http: bool,
    /// Most PASSporTs that are remembered against replay, 100 octets each.
    pub replay_capacity: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            anchors: Anchors::default(),
            freshness: Duration::from_secs(60),
            allow_http: false,
            // 546 verified calls per second over the two minutes that a PASSporT can be fresh.
            replay_capacity: 1 << 16,
        }
    }
}

/// What verification needs of an INVITE.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The values of its Identity headers.
    pub identities: &'a [&'a str],
    /// From.
    pub from: Option<Party>,
    /// P-Asserted-Identity (RFC 3325).
    pub asserted: Option<Party>,
    /// To.
    pub to: Party,
    /// The Request-URI.
    pub called: Party,
    /// The Call-ID.
    pub call: &'a str,
}

/// A PASSporT that is right as far as it can be told without its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    passport: Passport,
    call: String,
}

impl Pending {
    /// Where the certificate lies.
    pub fn x5u(&self) -> &str {
        &self.passport.x5u
    }

    /// What the PASSporT says, without proof.
    pub fn claim(&self) -> Verified {
        let Passport { x5u, claims, .. } = &self.passport;
        Verified {
            attest: claims.attest,
            orig: claims.orig.clone(),
            origid: claims.origid.clone(),
            x5u: x5u.clone(),
        }
    }
}

/// Why the shell has no chain for an `x5u`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoChain {
    /// It could not be fetched.
    #[error("the certificate could not be fetched")]
    Unavailable,
    /// What was fetched is none.
    #[error(transparent)]
    Unusable(#[from] ChainError),
}

impl NoChain {
    fn failure(self) -> Failure {
        match self {
            Self::Unavailable => Failure::Info("the certificate could not be fetched"),
            // RFC 8224 section 6.2.2: 437 is for a credential that was acquired and is not supported.
            Self::Unusable(ChainError::NoCertificate) => {
                Failure::Credential("there is no certificate at x5u")
            }
            Self::Unusable(ChainError::TooLong) => {
                Failure::Credential("there are too many certificates at x5u")
            }
            Self::Unusable(ChainError::Malformed) => Failure::Credential("the certificate cannot be read"),
            Self::Unusable(ChainError::Critical) => {
                Failure::Credential("a certificate has a critical extension that is not known")
            }
            Self::Unusable(ChainError::NotEs256) => {
                Failure::Credential("the certificate's key is not one for ES256")
            }
        }
    }
}

/// Who calls, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How well the signer knows the caller.
    pub attest: Attestation,
    /// Who calls.
    pub orig: Party,
    /// Where the call came from, in the signer's terms.
    pub origid: String,
    /// Where the signer's certificate lies.
    pub x5u: String,
}

/// Verifies inbound calls.
#[derive(Debug)]
pub struct Verifier {
    settings: Settings,
    replays: Replays,
}

impl Verifier {
    /// A verifier that has seen nothing.
    pub fn new(settings: Settings) -> Self {
        Self { replays: Replays::new(settings.replay_capacity), settings }
    }

    /// Verifies by these settings from now on; what was seen stays seen.
    pub fn set(&mut self, settings: Settings) {
        self.replays.set_capacity(settings.replay_capacity);
        self.settings = settings;
    }

    /// Everything that can be checked without the certificate, at `now` in Unix seconds.
    pub fn read(&self, now: u64, request: &Request<'_>) -> Result<Pending, Failure> {
        let identity = choose(request.identities)?;
        let passport = Passport::read(&identity).map_err(Failure::Invalid)?;
        if !crate::is_url(&passport.x5u, self.settings.allow_http) {
            return Err(Failure::Info("the PASSporT's x5u is not an https:// URL"));
        }
        if identity.info != passport.x5u {
            return Err(Failure::Info("the Identity header's info is not the PASSporT's x5u"));
        }
        self.is_fresh(now, &passport)?;
        let claims = &passport.claims;
        // The caller that is shown is From's; who asserts another one has not vouched for that. P-Asserted-Identity
        // stands in where From names no number: it is anonymous, or a user at a host.
        let shown = match (&request.from, &request.asserted) {
            (Some(Party::Uri(_)) | None, Some(asserted @ Party::Number(_))) => Some(asserted),
            (from, asserted) => from.as_ref().or(asserted.as_ref()),
        };
        if shown != Some(&claims.orig) {
            return Err(Failure::Invalid("the PASSporT's orig is not the caller"));
        }
        if !claims.dest.contains(&request.to) && !claims.dest.contains(&request.called) {
            return Err(Failure::Invalid("the PASSporT's dest is not who is called"));
        }
        Ok(Pending { passport, call: request.call.to_owned() })
    }

    /// The rest, with what lies at [`Pending::x5u`].
    pub fn finish(
        &mut self,
        now: u64,
        pending: Pending,
        chain: Result<&Chain, NoChain>,
    ) -> Result<Verified, Failure> {
        let chain = chain.map_err(NoChain::failure)?;
        let Pending { passport, call } = &pending;
        chain.authorize(now, &self.settings.anchors, passport.claims.orig.number())?;
        if !chain.has_signed(passport.signed.as_bytes(), &passport.signature) {
            return Err(Failure::Invalid("the PASSporT's signature is not the certificate's"));
        }
        // Made at most one window ahead of now, and fresh for one more.
        let until = now + 2 * self.settings.freshness.as_secs();
        if !self.replays.note(now, until, &passport.signed, &passport.signature, call) {
            return Err(Failure::Invalid("the PASSporT was used by another call"));
        }
        Ok(pending.claim())
    }

    fn is_fresh(&self, now: u64, passport: &Passport) -> Result<(), Failure> {
        if now.abs_diff(passport.claims.iat) <= self.settings.freshness.as_secs() {
            Ok(())
        } else {
            Err(Failure::Stale)
        }
    }
}

/// The header of type `shaken`. RFC 8224 section 6.2: headers of types that are not supported are ignored. One that cannot
/// be read at all is told of only if there is no better one.
fn choose<'a>(values: &[&'a str]) -> Result<Identity<'a>, Failure> {
    let mut failure = Failure::Missing;
    for value in values.iter().take(MAX_HEADERS) {
        match Identity::parse(value) {
            Ok(identity) if identity.ppt.is_some_and(|ppt| ppt.eq_ignore_ascii_case(PPT)) => {
                return Ok(identity);
            }
            Ok(_) => {}
            Err(malformed) => failure = Failure::Invalid(malformed.0),
        }
    }
    Err(failure)
}
