//! Who calls, signed and verified: what the engine hands to `sip_stir`, and what becomes of its verdicts.

use std::sync::Arc;

use control_api_types::{Attestation, Fault, Stir, TrunkAttest, Verify, Verstat};
use sip_core::{Message, Name, Scheme, Uri};
use sip_stir::{
    Chain, Claims, Failure, NoChain, Number, Party, Pending, Request, Signer, SigningFailed, Verified,
    Verifier,
};

use crate::config::TrunkConfig;

/// How the engine signs its calls and verifies those of others.
#[derive(Debug, Clone)]
pub struct StirConfig {
    /// How outbound calls are signed; `None`: not at all.
    pub signing: Option<Signing>,
    /// What becomes of calls from trunks that say nothing else.
    pub verify: Verify,
    /// Whose signatures are believed, and for how long.
    pub settings: sip_stir::Settings,
}

impl Default for StirConfig {
    /// Neither.
    fn default() -> Self {
        Self { signing: None, verify: Verify::Off, settings: sip_stir::Settings::default() }
    }
}

impl StirConfig {
    /// What a trunk wants of it and does not get.
    pub fn lacks(&self, trunk: &TrunkConfig) -> Vec<Fault> {
        let fault = |pointer: &str, detail: &str| Fault { pointer: pointer.into(), detail: detail.into() };
        let unsigned = match trunk.attest {
            Some(TrunkAttest::Full | TrunkAttest::Partial | TrunkAttest::Gateway) => self.signing.is_none(),
            Some(TrunkAttest::Off) | None => false,
        };
        let unbelieved = match trunk.verify {
            Some(Verify::Permissive | Verify::Strict) => self.settings.anchors.is_empty(),
            Some(Verify::Off) | None => false,
        };
        let key = unsigned.then(|| fault("/attest", "needs a key in [stir]"));
        let anchors = unbelieved.then(|| {
            fault("/verify", "needs trust_anchors = [\"ca.pem\"] in [stir]: nobody is believed without")
        });
        key.into_iter().chain(anchors).collect()
    }
}

/// The key that calls are signed with.
#[derive(Debug, Clone)]
pub struct Signing {
    /// The key, with the URL of its certificate.
    pub signer: Arc<Signer>,
    /// How well callers are known, where neither the trunk nor the call says.
    pub attest: Attestation,
}

/// What will be said about an outbound call when it is signed.
#[derive(Debug, Clone)]
pub(crate) struct Assertion {
    pub(crate) attest: Attestation,
    pub(crate) orig: Party,
    pub(crate) dest: Party,
    /// Where the call comes from: this node and the trunk.
    pub(crate) origid: Arc<str>,
}

/// An inbound call whose identity is to be verified.
#[derive(Debug)]
pub(crate) struct Unverified {
    /// What could be told without the certificate.
    pub(crate) read: Result<Pending, Failure>,
    pub(crate) strict: bool,
}

/// The engine's part in both.
#[derive(Debug)]
pub(crate) struct Identities {
    signing: Option<Signing>,
    verify: Verify,
    verifier: Verifier,
}

impl Identities {
    pub(crate) fn new(config: StirConfig) -> Self {
        let StirConfig { signing, verify, settings } = config;
        Self { signing, verify, verifier: Verifier::new(settings) }
    }

    pub(crate) fn set(&mut self, config: StirConfig) {
        let StirConfig { signing, verify, settings } = config;
        (self.signing, self.verify) = (signing, verify);
        self.verifier.set(settings);
    }

    /// How well the caller of a call is known that says nothing itself; `None`: it is not signed. Without a trunk nobody
    /// on the way has asked for it.
    pub(crate) fn attest(&self, trunk: Option<&TrunkConfig>) -> Option<Attestation> {
        let signing = self.signing.as_ref()?;
        match trunk?.attest {
            None => Some(signing.attest),
            Some(TrunkAttest::Full) => Some(Attestation::Full),
            Some(TrunkAttest::Partial) => Some(Attestation::Partial),
            Some(TrunkAttest::Gateway) => Some(Attestation::Gateway),
            Some(TrunkAttest::Off) => None,
        }
    }

    /// Whether there is a key.
    pub(crate) fn can_sign(&self) -> bool {
        self.signing.is_some()
    }

    /// The Identity header of an INVITE that leaves now. `None` once the key is gone.
    pub(crate) fn identity(
        &self,
        assertion: &Assertion,
        unix_ms: u64,
    ) -> Result<Option<String>, SigningFailed> {
        let Some(Signing { signer, attest: _ }) = &self.signing else { return Ok(None) };
        let Assertion { attest, orig, dest, origid } = assertion;
        let claims = Claims {
            attest: match attest {
                Attestation::Full => sip_stir::Attestation::Full,
                Attestation::Partial => sip_stir::Attestation::Partial,
                Attestation::Gateway => sip_stir::Attestation::Gateway,
            },
            dest: vec![dest.clone()],
            iat: unix_ms / 1000,
            orig: orig.clone(),
            origid: origid.to_string(),
        };
        signer.identity(&claims).map(Some)
    }

    /// Reads the identity of a call from a trunk; `None` if nobody wants to know.
    pub(crate) fn read(&self, verify: Option<Verify>, unix_ms: u64, invite: &Message) -> Option<Unverified> {
        let strict = match verify.unwrap_or(self.verify) {
            Verify::Off => return None,
            Verify::Permissive => false,
            Verify::Strict => true,
        };
        let values: Vec<_> = invite.headers(Name::Identity).collect();
        let called = match invite.request_uri() {
            Ok(uri) => party(&uri),
            Err(_) => Party::Uri(invite.request_uri_str().to_owned()),
        };
        let request = Request {
            identities: &values,
            from: invite.from().ok().map(|from| party(from.uri())),
            asserted: asserted(invite),
            to: invite.to().map_or_else(|_| called.clone(), |to| party(to.uri())),
            called,
            call: &invite.call_id().unwrap_or_default(),
        };
        Some(Unverified { read: self.verifier.read(unix_ms / 1000, &request), strict })
    }

    pub(crate) fn finish(
        &mut self,
        unix_ms: u64,
        pending: Pending,
        chain: Result<&Chain, NoChain>,
    ) -> Result<Verified, Failure> {
        self.verifier.finish(unix_ms / 1000, pending, chain)
    }
}

/// The number in P-Asserted-Identity, of whose up to two values one may be a tel URI (RFC 3325 section 9.1).
fn asserted(invite: &Message) -> Option<Party> {
    let mut parties =
        invite.addresses(Name::PAssertedIdentity).take(2).flatten().map(|value| party(value.uri()));
    let first = parties.next()?;
    match first {
        Party::Number(_) => Some(first),
        Party::Uri(_) => parties.find(|party| party.number().is_some()).or(Some(first)),
    }
}

/// Whom a URI names.
pub(crate) fn party(uri: &Uri) -> Party {
    match (uri.scheme(), uri.host()) {
        (Scheme::Sip | Scheme::Sips, Some(host)) => Party::of_sip(uri.user(), &host.to_string()),
        (Scheme::Tel, _) => {
            let number = uri.user().and_then(Number::canonical);
            number.map_or_else(|| Party::Uri(uri.to_string()), Party::Number)
        }
        (Scheme::Sip | Scheme::Sips | Scheme::Other, _) => Party::Uri(uri.to_string()),
    }
}

/// A verdict as the call shows it; `claim` is what was read before it failed.
pub(crate) fn view(verdict: &Result<Verified, Failure>, claim: Option<&Verified>) -> Stir {
    let told = verdict.as_ref().ok().or(claim);
    let verstat = match verdict {
        Ok(_) => Verstat::Passed,
        Err(failure) => match failure.verstat() {
            sip_stir::Verstat::Passed => Verstat::Passed,
            sip_stir::Verstat::Failed => Verstat::Failed,
            sip_stir::Verstat::None => Verstat::None,
        },
    };
    Stir {
        verstat,
        attest: told.map(|told| match told.attest {
            sip_stir::Attestation::Full => Attestation::Full,
            sip_stir::Attestation::Partial => Attestation::Partial,
            sip_stir::Attestation::Gateway => Attestation::Gateway,
        }),
        orig: told.map(|told| told.orig.to_string()),
        x5u: told.map(|told| told.x5u.clone()),
        reason: verdict.as_ref().err().map(Failure::to_string),
    }
}
