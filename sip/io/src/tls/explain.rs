//! Why a handshake failed, and what to do about it.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// What went wrong between us and `server`, and the mend. Of everything else the system's own words.
#[expect(clippy::wildcard_enum_match_arm, reason = "rustls's enums grow")]
pub(crate) fn explain(error: &io::Error, server: &str) -> String {
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else {
        return error.to_string();
    };
    match error {
        Error::InvalidCertificate(error) => certificate(error, server),
        Error::NoCertificatesPresented => {
            "it showed no certificate (clients of this listener need one of client_ca)".to_owned()
        }
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                "it wants a certificate of ours (set cert and key in [sip.tls])".to_owned()
            }
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied => {
                format!("it does not accept our certificate: {alert:?} (is its issuer known there?)")
            }
            AlertDescription::CertificateExpired => {
                "it says that our certificate has expired (renew the cert and reload)".to_owned()
            }
            AlertDescription::ProtocolVersion => "it speaks neither TLS 1.2 nor 1.3".to_owned(),
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
                format!("it has no cipher in common with us, or wants a certificate of ours: {alert:?}")
            }
            other => format!("it ended the handshake: {other:?}"),
        },
        Error::PeerIncompatible(what) => {
            format!("it has no version or cipher in common with us: {what:?} (TLS 1.2 and 1.3 are spoken)")
        }
        Error::InvalidMessage(_) => "what answers there is not TLS (is the port right?)".to_owned(),
        other => other.to_string(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rustls's enums grow")]
fn certificate(error: &CertificateError, server: &str) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let since = match error {
                CertificateError::ExpiredContext { time, not_after } => {
                    let days = time.as_secs().saturating_sub(not_after.as_secs()) / 86_400;
                    format!(" {days} days ago")
                }
                _ => String::new(),
            };
            format!("its certificate expired{since} (it must be renewed there; is our clock right?)")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet (is our clock right?)".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "its certificate is of an issuer that is not trusted (set ca in [sip.tls] to the issuer's certificate)"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "its certificate is of an issuer with the name of a trusted one but another key (was the issuer's \
             certificate renewed? set ca in [sip.tls] to the new one)"
                .to_owned()
        }
        CertificateError::NotValidForName => {
            format!("its certificate is not made out to {server} (use the name that the certificate has)")
        }
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "its certificate is made out to {}, not to {server} (use the name that the certificate has)",
            if presented.is_empty() { "no name at all".to_owned() } else { presented.join(", ") }
        ),
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not made for this end of a TLS connection (its extended key usage is wrong)".to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}
