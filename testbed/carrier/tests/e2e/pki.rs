//! An authority that has issued one certificate, for this machine.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData as _};
use sha2::{Digest as _, Sha256};

/// PEM files in a folder of their own, which is removed when this is dropped.
pub(crate) struct Pki {
    folder: PathBuf,
    /// The hash by which Chromium is told to trust the certificate: SHA-256 of its public key, in Base64.
    pub(crate) fingerprint: String,
}

impl Pki {
    pub(crate) fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("carillon-test-pki-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned)).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let fingerprint = BASE64_STANDARD.encode(Sha256::digest(key.subject_public_key_info()));
        let pki = Self { folder, fingerprint };
        for (path, pem) in [(pki.certificate(), certificate.pem()), (pki.key(), key.serialize_pem())] {
            std::fs::write(path, pem).unwrap();
        }
        pki
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }
}

impl Drop for Pki {
    fn drop(&mut self) {
        // Nobody is left to tell; what cannot be removed stays among the temporary files.
        _ = std::fs::remove_dir_all(&self.folder);
    }
}
