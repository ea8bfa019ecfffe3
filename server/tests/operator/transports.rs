//! Every transport of SIP on both address families, with clients that are not ours; certificates and their renewal.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use carrier::process::free_addr_of;
use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::support::{Carillon, DEAD, Folder, Ports, run};

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEAD, future).await.expect("it happens")
}

/// Issues certificates for this machine into a folder.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, folder: &Folder, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        folder.write("ca.pem", &self.0.pem());
        folder.write("cert.pem", &certificate.pem());
        folder.write("key.pem", &key.serialize_pem());
        certificate.der().clone()
    }

    async fn connect(&self, to: SocketAddr) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(to).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        within(connector.connect(ServerName::from(to.ip()), stream)).await.unwrap()
    }
}

fn options(transport: &str, to: SocketAddr) -> String {
    format!(
        "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/{transport} client.invalid;rport;branch=z9hG4bK{transport}{}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@client.invalid>;tag=1\r\nTo: <sip:{to}>\r\nCall-ID: {transport}-{}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        to.port(),
        to.port()
    )
}

#[track_caller]
fn check_answer(answer: &str, transport: &str) {
    assert!(answer.starts_with("SIP/2.0 200 "), "{transport}: {answer}");
    assert!(answer.contains(&format!("SIP/2.0/{transport} client.invalid")), "{answer}");
}

async fn over_stream(mut stream: impl AsyncRead + AsyncWrite + Unpin, transport: &str, to: SocketAddr) {
    stream.write_all(options(transport, to).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        assert_ne!(within(stream.read_buf(&mut answer)).await.unwrap(), 0, "it closed the stream");
    }
    check_answer(std::str::from_utf8(&answer).unwrap(), transport);
}

async fn over_web_socket(stream: impl AsyncRead + AsyncWrite + Unpin, transport: &str, to: SocketAddr) {
    let mut request = format!("{}://{to}/", transport.to_lowercase()).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "sip".parse().unwrap());
    let (mut socket, response) = within(client_async(request, stream)).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "sip");
    socket.send(Message::text(options(transport, to))).await.unwrap();
    let answer = within(socket.next()).await.unwrap().unwrap();
    check_answer(answer.to_text().unwrap(), transport);
}

/// Free ports of TCP, one for each transport, which UDP has as well.
fn ports(ip: IpAddr) -> Vec<(&'static str, SocketAddr)> {
    ["udp", "tcp", "tls", "ws", "wss"].map(|transport| (transport, free_addr_of(ip).unwrap())).into()
}

const SERVED: &str = "[sip.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
                      [sip.guard]\nallow = [\"127.0.0.0/8\", \"::1\"]\n";

/// A configuration that listens on these.
fn config(ports: &Ports, listen: &[(&str, SocketAddr)], rest: &str) -> String {
    let listen: Vec<_> =
        listen.iter().map(|(transport, at)| format!("{{ addr = \"{transport}:{at}\" }}")).collect();
    let (before, after) = ports.config(rest).split_once("listen = [\"udp:").map_or_else(
        || panic!("the configuration has no listeners"),
        |(before, after)| (before.to_owned(), after.split_once('\n').unwrap().1.to_owned()),
    );
    format!("{before}listen = [{}]\n{after}", listen.join(", "))
}

#[tokio::test]
async fn options_is_answered_over_every_transport_in_both_families() {
    let authority = Authority::new();
    let (folder, api) = (Folder::new(), Ports::free());
    authority.issue(&folder, |_| {});
    let mut listen = ports("127.0.0.1".parse().unwrap());
    if TcpListener::bind("[::1]:0").is_ok() {
        listen.extend(ports("::1".parse().unwrap()));
    } else {
        println!("IPv6 is skipped: this machine has no ::1");
    }
    folder.write("carillon.toml", &config(&api, &listen, SERVED));
    let carillon = Carillon::open(folder, api).await;
    for (transport, at) in listen {
        match transport {
            "udp" => {
                let socket = UdpSocket::bind((at.ip(), 0)).await.unwrap();
                socket.send_to(options("UDP", at).as_bytes(), at).await.unwrap();
                let mut answer = vec![0; 65_535];
                let (length, from) = within(socket.recv_from(&mut answer)).await.unwrap();
                assert_eq!(from, at);
                check_answer(std::str::from_utf8(&answer[..length]).unwrap(), "UDP");
            }
            "tcp" => over_stream(TcpStream::connect(at).await.unwrap(), "TCP", at).await,
            "tls" => over_stream(authority.connect(at).await, "TLS", at).await,
            "ws" => over_web_socket(TcpStream::connect(at).await.unwrap(), "WS", at).await,
            "wss" => over_web_socket(authority.connect(at).await, "WSS", at).await,
            other => panic!("{other}"),
        }
    }
    carillon.check_no_panic().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_at_sighup_and_connections_stay() {
    let authority = Authority::new();
    let (folder, api) = (Folder::new(), Ports::free());
    let old = authority.issue(&folder, |_| {});
    let listen: Vec<_> = ports("127.0.0.1".parse().unwrap())
        .into_iter()
        .filter(|(transport, _)| *transport == "tls")
        .collect();
    let at = listen[0].1;
    folder.write("carillon.toml", &config(&api, &listen, SERVED));
    let carillon = Carillon::open(folder, api).await;
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let connected = authority.connect(at).await;
    assert_eq!(shown(&connected), old);

    let new = authority.issue(&carillon.folder, |_| {});
    carillon.reload();
    let renewed = async {
        while shown(&authority.connect(at).await) != new {
            tokio::task::yield_now().await;
        }
    };
    within(renewed).await;
    over_stream(connected, "TLS", at).await;

    carillon.folder.write("cert.pem", "half a certif");
    carillon.reload();
    let refused = async {
        while !carillon.folder.read("log").contains("configuration not reloaded") {
            tokio::task::yield_now().await;
        }
    };
    within(refused).await;
    assert_eq!(shown(&authority.connect(at).await), new, "the old one stays");
}

#[tokio::test]
async fn certificates_are_checked_and_their_end_is_told() {
    let authority = Authority::new();
    let (folder, api) = (Folder::new(), Ports::free());
    let listen: Vec<_> = ports("127.0.0.1".parse().unwrap())
        .into_iter()
        .filter(|(transport, _)| *transport == "wss")
        .collect();
    folder.write("carillon.toml", &config(&api, &listen, SERVED));
    const CHECK: &[&str] = &["check-config", "--config", "carillon.toml"];
    const DOCTOR: &[&str] = &["doctor", "--config", "carillon.toml"];

    let told = run(&folder, CHECK, &[]).await;
    assert_eq!(told.code, Some(2));
    assert!(told.stderr.contains("cert.pem: No such file or directory"), "{}", told.stderr);

    authority.issue(&folder, |_| {});
    let other = KeyPair::generate().unwrap().serialize_pem();
    let key = folder.read("key.pem");
    folder.write("key.pem", &other);
    let told = run(&folder, CHECK, &[]).await;
    assert_eq!(told.code, Some(2));
    assert!(told.stderr.contains("is this the key that the first certificate"), "{}", told.stderr);
    folder.write("key.pem", &key);

    let told = run(&folder, CHECK, &[]).await;
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""));
    let told = run(&folder, DOCTOR, &[]).await;
    assert!(told.stdout.contains("cert.pem: expires in "), "{}", told.stdout);

    authority.issue(&folder, |params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let told = run(&folder, DOCTOR, &[]).await;
    assert!(told.stdout.contains("cert.pem: expired "), "{}", told.stdout);
    assert_ne!(told.code, Some(0));
}
