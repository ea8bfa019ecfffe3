//! Certificate chains and the anchors that they are trusted by (RFC 8226, RFC 5280).

use std::fmt;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::authority::Authority;
use crate::failure::Failure;
use crate::party::Number;

/// Most certificates of a chain. SHAKEN's have two or three.
const MAX_CERTIFICATES: usize = 8;

/// What lies at an `x5u`: the certificate of the signer, and those between it and the anchor.
pub struct Chain {
    key: ParsedPublicKey,
    /// The signer's first.
    certificates: Vec<(CertificateDer<'static>, Authority)>,
}

/// What no [`Chain`] can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Neither PEM nor DER of a certificate.
    #[error("there is no certificate")]
    NoCertificate,
    /// More certificates than a chain may have.
    #[error("there are more than {MAX_CERTIFICATES} certificates")]
    TooLong,
    /// A certificate cannot be read.
    #[error("a certificate cannot be read")]
    Malformed,
    /// A certificate has a critical extension that is not known.
    #[error("a certificate has a critical extension that is not known")]
    Critical,
    /// The first certificate's key is for something else.
    #[error("the certificate's key is not one for ES256 (ECDSA on the curve P-256)")]
    NotEs256,
}

impl Chain {
    /// Reads certificates in PEM, the signer's first (RFC 8555 section 9.1, application/pem-certificate-chain), or one
    /// in DER (RFC 2585, application/pkix-cert).
    pub fn read(bytes: &[u8]) -> Result<Self, ChainError> {
        let certificates = certificates(bytes)?;
        let mut read = Vec::with_capacity(certificates.len());
        let mut key = None;
        for der in certificates {
            let certificate = Certificate::from_der(&der).map_err(|_| ChainError::Malformed)?;
            if key.is_none() {
                let spki = EndEntityCert::try_from(&der).map_err(unusable)?.subject_public_key_info();
                let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, spki.as_ref());
                key = Some(parsed.map_err(|_| ChainError::NotEs256)?);
            }
            let authority = Authority::of(certificate.tbs_certificate().extensions());
            read.push((der, authority));
        }
        Ok(Self { key: key.ok_or(ChainError::NoCertificate)?, certificates: read })
    }

    /// Whether the signer's key made this signature.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }

    /// Whether the chain leads to an anchor at `now`, and all of it may speak for `orig`.
    pub(crate) fn authorize(
        &self,
        now: u64,
        anchors: &Anchors,
        orig: Option<&Number>,
    ) -> Result<(), Failure> {
        let ders: Vec<_> = self.certificates.iter().map(|(der, _)| der.clone()).collect();
        let (signer, intermediates) = ders.split_first().ok_or(Failure::Credential(UNREADABLE))?;
        let signer = EndEntityCert::try_from(signer).map_err(|_| Failure::Credential(UNREADABLE))?;
        let path = signer
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors.anchors,
                intermediates,
                UnixTime::since_unix_epoch(Duration::from_secs(now)),
                AnyUse,
                None,
                None,
            )
            .map_err(|error| Failure::Credential(reason(&error)))?;
        for authority in self.path(&path) {
            if matches!(authority, Authority::Constrained) {
                return Err(Failure::Credential(
                    "the certificate constrains claims in a way that is not supported",
                ));
            }
            // RFC 9060 section 4: what is delegated is encompassed by what the parent has, so that each list on the way
            // covers the number.
            if !authority.covers(orig) {
                return Err(Failure::Credential("the certificate has no authority over the calling number"));
            }
        }
        Ok(())
    }

    fn path<'a>(&'a self, path: &'a VerifiedPath<'_>) -> impl Iterator<Item = &'a Authority> {
        let of_path = |der: &CertificateDer<'_>| {
            path.intermediate_certificates().any(|certificate| certificate.der() == *der)
        };
        let mut certificates = self.certificates.iter();
        let signer = certificates.next();
        let others = certificates.filter(move |(der, _)| of_path(der));
        signer.into_iter().chain(others).map(|(_, authority)| authority)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}

const UNREADABLE: &str = "the certificate cannot be read";

fn unusable(error: webpki::Error) -> ChainError {
    if error == webpki::Error::UnsupportedCriticalExtension {
        ChainError::Critical
    } else {
        ChainError::Malformed
    }
}

fn reason(error: &webpki::Error) -> &'static str {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "theirs, and non-exhaustive: some causes have better words"
    )]
    match error {
        webpki::Error::CertExpired { .. } => "a certificate has expired",
        webpki::Error::CertNotValidYet { .. } => "a certificate is not valid yet",
        // The latter: an authority of the same name.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            "the certificate leads to none of the trust anchors"
        }
        webpki::Error::UnsupportedCriticalExtension => {
            "a certificate has a critical extension that is not known"
        }
        webpki::Error::CaUsedAsEndEntity => "the certificate is one of an authority",
        _ => "the certificate chain is not valid",
    }
}

/// RFC 8226 gives certificates no extended key usage, and asks nothing of one that they may have.
struct AnyUse;

impl ExtendedKeyUsageValidator for AnyUse {
    fn validate(&self, mut iter: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        iter.try_for_each(|id| id.map(drop))
    }
}

/// The authorities whose certificates are believed.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    anchors: Vec<TrustAnchor<'static>>,
}

/// What cannot be an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no certificate in PEM form that could be a trust anchor")]
pub struct AnchorsError;

impl Anchors {
    /// Adds all certificates of a PEM file, or one in DER.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), AnchorsError> {
        let ders = pem(bytes).ok_or(AnchorsError)?;
        let ders = if ders.is_empty() { vec![CertificateDer::from(bytes.to_vec())] } else { ders };
        for der in ders {
            let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| AnchorsError)?;
            self.anchors.push(anchor.to_owned());
        }
        Ok(())
    }

    /// Whether nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }
}

fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    let certificates = pem(bytes).ok_or(ChainError::Malformed)?;
    match certificates.len() {
        // DER of a SEQUENCE.
        0 if bytes.first() == Some(&0x30) => Ok(vec![CertificateDer::from(bytes.to_vec())]),
        0 => Err(ChainError::NoCertificate),
        1..=MAX_CERTIFICATES => Ok(certificates),
        _ => Err(ChainError::TooLong),
    }
}

/// Every certificate of a PEM text; `None` when a section is broken. Sections of other kinds are left out.
fn pem(bytes: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes)
        .filter_map(|section| match section {
            Ok((SectionKind::Certificate, der)) => Some(Some(CertificateDer::from(der))),
            Ok(_) => None,
            Err(_) => Some(None),
        })
        .take(MAX_PEM)
        .collect()
}

/// Most certificates that are read of one text. No list of authorities is near it.
const MAX_PEM: usize = 1024;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};

    use super::*;

    const PUBLIC: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8HNbQd/TmvCKwPKHkMF9fScavGeH\
        78YTU8qLS8I5HLHSSmlATLcslQMhNC/OhlWBYC626nIlo7XeebYS7Sb37g==";
    const HEADER: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9j\
        ZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9";

    /// Whether this token was signed by the key that RFC 8225 publishes in appendix A, put into a certificate.
    fn is_signed(pem: &str, claims: &str, signature: &str) -> bool {
        let key = KeyPair::from_pem(pem).unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let chain = Chain::read(certificate.pem().as_bytes()).unwrap();
        let signature: [u8; 64] = URL_SAFE_NO_PAD.decode(signature).unwrap().try_into().unwrap();
        let mut other = signature;
        other[63] ^= 1;
        assert!(!chain.has_signed(format!("{HEADER}.{claims}").as_bytes(), &other));
        chain.has_signed(format!("{HEADER}.{claims}").as_bytes(), &signature)
    }

    /// The pair of keys in the drafts of RFC 8225; the public one stands in appendix A.2 of the RFC too.
    const DRAFT_KEY: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIFeZ1R208QCvcu5GuYyMfG4W7sH4m99/7eHSDLpdYllFoAoGCCqGSM49
AwEHoUQDQgAE8HNbQd/TmvCKwPKHkMF9fScavGeH78YTU8qLS8I5HLHSSmlATLcs
lQMhNC/OhlWBYC626nIlo7XeebYS7Sb37g==
-----END EC PRIVATE KEY-----";

    #[test]
    fn the_example_of_the_drafts_of_rfc_8225() {
        let public = KeyPair::from_pem(DRAFT_KEY).unwrap().subject_public_key_info();
        assert_eq!(public, STANDARD.decode(PUBLIC).unwrap());
        const CLAIMS: &str = "eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI\
            6IjE0NDMyMDgzNDUiLCJvcmlnIjp7InRuIjoiMTIxNTU1NTEyMTIifX0";
        const SIGNATURE: &str = "rq3pjT1hoRwakEGjHCnWSwUnshd0-zJ6F1VOgFWSjHBr8Qjpjlk-cpFYpFYsojN\
            CpTzO3QfPOlckGaS6hEck7w";
        assert!(is_signed(DRAFT_KEY, CLAIMS, SIGNATURE));
    }

    /// The published RFC has `iat` as a number and another signature. It fits neither the public key beside it nor the
    /// private one, which are no pair.
    #[test]
    fn the_example_of_rfc_8225_is_wrong() {
        const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgi7q2TZvN9VDFg8Vy
qCP06bETrR2v8MRvr89rn4i+UAahRANCAAQWfaj1HUETpoNCrOtp9KA8o0V79IuW
ARKt9C1cFPkyd3FBP4SeiNZxQhDrD0tdBHls3/wFe8++K2FrPyQF9vuh
-----END PRIVATE KEY-----";
        const CLAIMS: &str = "eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI\
            6MTQ3MTM3NTQxOCwib3JpZyI6eyJ0biI6IjEyMTU1NTUxMjEyIn19";
        const SIGNATURE: &str = "VLBCIVDCaeK6M4hLJb6SHQvacAQVvoiiEOWQ_iUkqk79UD81fHQ0E1b3_GluIkb\
            a7UWYRM47ZbNFdOJquE35cw";
        for key in [KEY, DRAFT_KEY] {
            assert!(!is_signed(key, CLAIMS, SIGNATURE));
        }
    }
}
