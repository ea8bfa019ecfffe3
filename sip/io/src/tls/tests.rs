//! What people are told of a handshake that failed.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{explain, provider};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn trusting(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    roots
}

fn server(
    authority: &Authority,
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
    client_ca: Option<&Authority>,
) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    change(&mut params);
    let certificate = params.signed_by(&key, authority).unwrap();
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(issuer) => builder.with_client_cert_verifier(
            rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(trusting(issuer)),
                provider(),
            )
            .build()
            .unwrap(),
        ),
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
}

/// What each end says of a handshake between the two: the server, then the client.
async fn shake(server: Arc<ServerConfig>, client: ClientConfig) -> (Option<String>, Option<String>) {
    let (ours, theirs) = tokio::io::duplex(65_536);
    let name = ServerName::try_from("sip.example.com").unwrap();
    let (accepted, connected) = tokio::join!(
        TlsAcceptor::from(server).accept(theirs),
        TlsConnector::from(Arc::new(client)).connect(name, ours)
    );
    let told = |error: std::io::Error| explain(&error, "sip.example.com");
    (accepted.err().map(told), connected.err().map(told))
}

fn client(authority: &Authority) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusting(authority))
        .with_no_client_auth()
}

#[tokio::test]
async fn each_failure_has_its_reason_and_its_mend() {
    let (ours, other, renewed) = (authority("ours"), authority("other"), authority("ours"));
    let expired = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    };
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(2999, 1, 1);
    let name = "sip.example.com";
    let cases = [
        (server(&ours, name, expired, None), ["expired", "days ago", "renewed"]),
        (server(&ours, name, early, None), ["not valid yet", "clock", "?"]),
        (server(&renewed, name, |_| {}, None), ["another key", "[sip.tls]", "ca"]),
        (server(&other, name, |_| {}, None), ["issuer that is not trusted", "[sip.tls]", "ca"]),
        (
            server(&ours, "other.example.com", |_| {}, None),
            ["other.example.com", "not to sip.example.com", "name"],
        ),
    ];
    for (server, wanted) in cases {
        let (_, told) = shake(server, client(&ours)).await;
        let told = told.expect("the handshake fails");
        assert!(wanted.iter().all(|part| told.contains(part)), "{told}");
    }
    assert_eq!(shake(server(&ours, name, |_| {}, None), client(&ours)).await, (None, None));
}

#[tokio::test]
async fn both_ends_are_told_of_a_missing_client_certificate() {
    let ours = authority("ours");
    let wants_one = server(&ours, "sip.example.com", |_| {}, Some(&ours));
    let only = |version| {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(trusting(&ours))
            .with_no_client_auth()
    };
    let (server, client) = shake(wants_one.clone(), only(&TLS12)).await;
    assert!(server.unwrap().contains("client_ca"));
    assert!(client.unwrap().contains("wants a certificate of ours"));
    // With TLS 1.3 the client is done before the server has looked.
    let (server, client) = shake(wants_one, only(&TLS13)).await;
    assert!(server.unwrap().contains("client_ca"));
    assert_eq!(client, None);
}

#[tokio::test]
async fn what_is_not_tls_is_called_so() {
    use tokio::io::AsyncWriteExt;
    let ours = authority("ours");
    let (near, mut far) = tokio::io::duplex(65_536);
    far.write_all(b"SIP/2.0 400 Bad Request\r\n\r\n").await.unwrap();
    let name = ServerName::try_from("sip.example.com").unwrap();
    let error = TlsConnector::from(Arc::new(client(&ours))).connect(name, near).await.unwrap_err();
    assert!(explain(&error, "x").contains("is the port right?"), "{}", explain(&error, "x"));
}
