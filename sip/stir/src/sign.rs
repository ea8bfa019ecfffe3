//! The authentication service (RFC 8224 section 6.1).

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use crate::passport::{self, Claims};

/// Signs the claims of calls with one key.
pub struct Signer {
    key: EcdsaKeyPair,
    x5u: String,
    header: String,
}

/// What a [`Signer`] cannot be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// The text holds no private key in PEM form.
    #[error("there is no private key in PEM form")]
    NoKey,
    /// The key is for something else.
    #[error("the key is not one for ES256 (ECDSA on the curve P-256)")]
    NotEs256,
    /// The URL of the certificate is none.
    #[error("x5u must be an https:// URL")]
    Url,
}

/// The library could not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call could not be signed")]
pub struct SigningFailed;

impl Signer {
    /// A signer with the private key in `pem` (PKCS#8, or SEC 1 as RFC 5915 has it) whose certificate chain is published
    /// at `x5u`.
    pub fn new(pem: &[u8], x5u: &str) -> Result<Self, SignerError> {
        if !crate::is_url(x5u, false) {
            return Err(SignerError::Url);
        }
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| SignerError::NoKey)?;
        let key = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der())
            .map_err(|_| SignerError::NotEs256)?;
        Ok(Self { key, x5u: x5u.to_owned(), header: passport::header(x5u) })
    }

    /// The value of the call's Identity header.
    pub fn identity(&self, claims: &Claims) -> Result<String, SigningFailed> {
        let mut value = format!("{}.{}", self.header, claims.encode());
        let digest = digest::digest(&digest::SHA256, value.as_bytes());
        let signature = self.key.sign_digest(&digest).map_err(|_| SigningFailed)?;
        value.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut value);
        value.push_str(";info=<");
        value.push_str(&self.x5u);
        value.push_str(">;alg=ES256;ppt=shaken");
        Ok(value)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("x5u", &self.x5u).finish_non_exhaustive()
    }
}

/// An `origid` (RFC 8588 section 5) for a place that calls come from, such as a node and its trunk: a UUID that is the same
/// at every start and tells nobody else the names.
pub fn origid(place: &[&str]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in place {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let digest = context.finish();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    // RFC 9562 section 5.8: version 8 is for what applications make by their own rules.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origid_is_a_uuid_of_its_own() {
        let id = origid(&["node-1", "jkt"]);
        assert_eq!(id, origid(&["node-1", "jkt"]));
        assert_ne!(id, origid(&["node-1j", "kt"]));
        let parts: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!((parts, &id[14..15]), (vec![8, 4, 4, 4, 12], "8"));
    }
}
