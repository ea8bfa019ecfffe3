//! An authority that has issued one certificate, for this machine.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// PEM files in a folder of their own, which is removed when this is dropped.
pub(crate) struct Pki {
    folder: PathBuf,
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
        let pki = Self { folder };
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
