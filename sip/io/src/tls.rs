//! What TLS is done with: certificates, keys and roots out of PEM files, for both ends of a connection.
//!
//! rustls over aws-lc-rs, TLS 1.2 and 1.3. Servers are verified (RFC 5922 section 7.3) against the name that their
//! address was found by; two things differ from that RFC: identities written as a URI in the certificate are not read,
//! and wildcards are matched, for carriers use them though section 7.2 forbids it.

mod explain;
#[cfg(test)]
mod tests;
mod unverified;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode;

pub(crate) use explain::explain;

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// PEM: our certificate first, then those of its issuers, the root not needed.
    pub cert: PathBuf,
    /// PEM: the private key, not encrypted.
    pub key: PathBuf,
}

/// What a listener of TLS or WSS shows to its clients, and asks of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Shown to every client.
    pub identity: Identity,
    /// PEM: who issues the clients' certificates. With it a client without one is turned away; without it none is asked
    /// for.
    pub client_ca: Option<PathBuf>,
}

/// How servers that we connect to are verified, and what we show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// PEM: whose certificates are trusted; `None` means those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Shown to servers that ask for a certificate.
    pub identity: Option<Identity>,
    /// False accepts every certificate: the connection is encrypted, but to whom is not known.
    pub verify: bool,
}

impl Default for ClientTls {
    fn default() -> ClientTls {
        ClientTls { ca: None, identity: None, verify: true }
    }
}

/// Why a certificate, a key or a list of roots cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file is missing or not readable.
    #[error("{}: {source}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not PEM.
    #[error("{}: this is no PEM file: {source} (it should have lines such as -----BEGIN CERTIFICATE-----)", .file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// PEM without what was looked for.
    #[error("{}: there is no {wanted} in this file", .file.display())]
    Empty {
        /// The file.
        file: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// A certificate that cannot be read, or one that no root can be made of.
    #[error("{}: certificate {number} of the file cannot be used: {reason}", .file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// Which, counted from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// The certificate and the key are not a pair, or of a kind that is not supported.
    #[error("{} and {}: {source} (is this the key that the first certificate of the file was issued for?)",
        .identity.cert.display(), .identity.key.display())]
    Identity {
        /// Both files.
        identity: Box<Identity>,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The issuers of client certificates cannot be used.
    #[error("{}: {reason}", .file.display())]
    ClientCa {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The provider of the cryptography refuses TLS 1.2 and 1.3.
    #[error("TLS cannot be set up: {0}")]
    Provider(rustls::Error),
}

impl TlsError {
    /// The file that it is about.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Read { file, .. }
            | Self::Pem { file, .. }
            | Self::Empty { file, .. }
            | Self::Certificate { file, .. }
            | Self::ClientCa { file, .. } => Some(file),
            Self::Identity { identity, .. } => Some(&identity.cert),
            Self::Provider(_) => None,
        }
    }
}

impl Identity {
    fn load(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let chain = certificates(&self.cert)?;
        let bytes = read(&self.key)?;
        let file = self.key.clone();
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(key) => Ok((chain, key)),
            Err(pem::Error::NoItemsFound) => {
                Err(TlsError::Empty { file, wanted: "private key that is not encrypted" })
            }
            Err(source) => Err(TlsError::Pem { file, source }),
        }
    }

    fn unusable(&self, source: rustls::Error) -> TlsError {
        TlsError::Identity { identity: Box::new(self.clone()), source }
    }

    /// When the first certificate of the chain expires: none is of use after that.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn expires(&self) -> Result<SystemTime, TlsError> {
        let chain = certificates(&self.cert)?;
        let mut earliest = None;
        for (number, der) in (1..).zip(&chain) {
            let certificate = Certificate::from_der(der).map_err(|error| TlsError::Certificate {
                file: self.cert.clone(),
                number,
                reason: error.to_string(),
            })?;
            let since_1970 = certificate.tbs_certificate().validity().not_after.to_unix_duration();
            let end = SystemTime::UNIX_EPOCH + since_1970;
            earliest = Some(earliest.map_or(end, |earliest: SystemTime| earliest.min(end)));
        }
        earliest.ok_or_else(|| TlsError::Empty { file: self.cert.clone(), wanted: "certificate" })
    }
}

impl ServerTls {
    /// Reads the files: an error is what [`Transports::bind`](crate::Transports::bind) would fail with.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn check(&self) -> Result<(), TlsError> {
        self.load().map(drop)
    }

    /// What the files say, for a listener of one's own.
    ///
    /// # Errors
    /// As [`ServerTls::check`].
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Provider)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let roots = Arc::new(roots(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|error| TlsError::ClientCa { file: file.clone(), reason: error.to_string() })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let (chain, key) = self.identity.load()?;
        let config = builder.with_single_cert(chain, key).map_err(|error| self.identity.unusable(error))?;
        Ok(Arc::new(config))
    }
}

impl ClientTls {
    /// Reads the files: an error is what [`Transports::bind`](crate::Transports::bind) would fail with.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn check(&self) -> Result<(), TlsError> {
        self.load().map(drop)
    }

    pub(crate) fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Provider)?;
        let builder = if self.verify {
            builder.with_root_certificates(match &self.ca {
                Some(file) => roots(file)?,
                None => system_roots(),
            })
        } else {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(unverified::Anyone::new(provider())))
        };
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.load()?;
                builder.with_client_auth_cert(chain, key).map_err(|error| identity.unusable(error))?
            }
        };
        Ok(Arc::new(config))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|source| TlsError::Read { file: file.to_owned(), source })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(file)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { file: file.to_owned(), source })?;
    if chain.is_empty() {
        return Err(TlsError::Empty { file: file.to_owned(), wanted: "certificate" });
    }
    Ok(chain)
}

fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for (number, certificate) in (1..).zip(certificates(file)?) {
        store.add(certificate).map_err(|error| TlsError::Certificate {
            file: file.to_owned(),
            number,
            reason: error.to_string(),
        })?;
    }
    Ok(store)
}

/// What the system trusts. None at all shows with the first server, as an issuer that is not known.
fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a part of the system's trusted certificates cannot be read");
    }
    let mut store = RootCertStore::empty();
    // Systems carry some that nobody can use any more; the others do not suffer for it.
    let (usable, ignored) = store.add_parsable_certificates(found.certs);
    tracing::debug!(usable, ignored, "certificates that the system trusts");
    store
}
