//! Against web servers on this host, which is as private as a place can be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use control_api_types::{Call, FlowRef, RouteAnswer};
use engine_core::NoAnswer;
use media_core::LegId;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use sip_stir::{ChainError, NoChain};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::task::Answer;

/// A web server that answers each request, by its head, with these bytes; nothing at all if there are none.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

type Respond = fn(&str) -> Vec<u8>;

impl Server {
    async fn plain(respond: Respond) -> Server {
        Server::start(None, respond).await
    }

    async fn start(tls: Option<tokio_rustls::TlsAcceptor>, respond: Respond) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (count, tls) = (Arc::clone(&count), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &count, respond).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &count, respond).await;
                            }
                        }
                    }
                });
            }
        });
        Server { address, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, count: &AtomicUsize, respond: Respond) {
    let mut request = vec![0; 8192];
    let read = stream.read(&mut request).await.unwrap_or(0);
    count.fetch_add(1, Ordering::SeqCst);
    let answer = respond(&String::from_utf8_lossy(&request[..read]));
    if answer.is_empty() {
        // Until whoever waits for it has given up.
        let _ = stream.read(&mut request).await;
    }
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}

fn ok(body: &[u8], headers: &str) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into()
}

fn local() -> HttpConfig {
    HttpConfig { allow_private: vec!["127.0.0.1".parse().unwrap()], allow_plain: true, ca: None }
}

async fn get(config: &HttpConfig, url: &str) -> Result<Vec<u8>, String> {
    let client = Client::new(config, true).unwrap();
    client.send(url, None, 1_000).await.map(|(_, body)| body).map_err(|failure| failure.to_string())
}

#[tokio::test]
async fn only_the_public_internet_is_asked() {
    let server = Server::plain(|_| ok(b"secret", "")).await;
    let plain = HttpConfig { allow_plain: true, ..HttpConfig::default() };
    let port = server.address.port();
    let (private, scheme) = (Err(Refused::Address.to_string()), Err(Refused::Scheme.to_string()));
    for (config, url, expected) in [
        (&plain, format!("http://127.0.0.1:{port}/"), &private),
        (&plain, format!("http://localhost:{port}/"), &private),
        (&plain, format!("http://[::ffff:127.0.0.1]:{port}/"), &private),
        (&plain, format!("http://2130706433:{port}/"), &private),
        (&plain, format!("http://0x7f.1:{port}/"), &private),
        (&plain, "http://169.254.169.254/latest/meta-data/".into(), &private),
        (&plain, "ftp://127.0.0.1/".into(), &scheme),
        (&HttpConfig::default(), format!("http://127.0.0.1:{port}/"), &scheme),
        (&HttpConfig::default(), "no url".into(), &scheme),
        (&local(), format!("http://localhost:{port}/"), &Ok(b"secret".to_vec())),
    ] {
        assert_eq!(&get(config, &url).await, expected, "{url}");
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn redirects_keep_to_the_rules() {
    let server = Server::plain(|request| match request.split(' ').nth(1).unwrap_or_default() {
        "/there" => ok(b"here", ""),
        "/relative" => redirect("/there"),
        "/loop" => redirect("/loop"),
        "/private" => redirect("http://127.0.0.2/"),
        "/scheme" => redirect("file:///etc/passwd"),
        _ => redirect("http://10.0.0.1/"),
    })
    .await;
    for (path, expected) in [
        ("/relative", Ok(b"here".to_vec())),
        ("/loop", Err(Refused::Redirects.to_string())),
        ("/private", Err(Refused::Address.to_string())),
        ("/other", Err(Refused::Address.to_string())),
    ] {
        assert_eq!(get(&local(), &server.url(path)).await, expected, "{path}");
    }
    assert!(get(&local(), &server.url("/scheme")).await.is_err());
    let strict = Client::new(&local(), false).unwrap();
    let failure = strict.send(&server.url("/relative"), Some(b"{}".to_vec()), 10).await.unwrap_err();
    assert_eq!(failure.to_string(), "HTTP status 302", "what is posted stays where it was sent to");
}

#[tokio::test]
async fn answers_are_bounded() {
    let server = Server::plain(|request| match request.split(' ').nth(1).unwrap_or_default() {
        "/fits" => ok(&[b'x'; 1_000], ""),
        "/large" => ok(&[b'x'; 1_001], ""),
        _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
    })
    .await;
    assert_eq!(get(&local(), &server.url("/fits")).await.unwrap().len(), 1_000);
    let told = get(&local(), &server.url("/large")).await;
    assert_eq!(told, Err("the answer is larger than 1000 bytes".to_owned()));
    assert_eq!(get(&local(), &server.url("/none")).await, Err("HTTP status 404".to_owned()));
}

#[tokio::test]
async fn a_server_proves_who_it_is() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let config = tokio_rustls::rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let server = Server::start(Some(Arc::new(config).into()), |_| ok(b"proven", "")).await;
    let url = format!("https://localhost:{}/", server.address.port());
    let known = HttpConfig { ca: Some(certificate.pem().into()), allow_plain: false, ..local() };
    assert_eq!(get(&known, &url).await, Ok(b"proven".to_vec()));
    let other = format!("https://127.0.0.1:{}/", server.address.port());
    assert!(get(&known, &other).await.is_err(), "it is not who it should be");
    let unknown = HttpConfig { ca: None, ..known };
    assert!(get(&unknown, &url).await.is_err(), "nobody vouches for it");
    assert_eq!(server.asked(), 1);
}

/// What the task gets, or a test that hangs.
async fn next(answers: &mut mpsc::Receiver<Answer>) -> Answer {
    tokio::time::timeout(Duration::from_secs(30), answers.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn certificates_are_fetched_once() {
    let server = Server::plain(|request| match request.split(' ').nth(1).unwrap_or_default() {
        "/chain" => {
            let key = KeyPair::generate().unwrap();
            let pem = CertificateParams::default().self_signed(&key).unwrap().pem();
            ok(pem.as_bytes(), "Cache-Control: max-age=60\r\n")
        }
        "/page" => ok(b"<html>", ""),
        _ => b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec(),
    })
    .await;
    let (tell, mut answers) = mpsc::channel(8);
    let mut certificates = Certificates::new(Client::new(&local(), true).unwrap(), tell);
    let now = Instant::now();
    for (path, expected) in [
        ("/chain", None),
        ("/page", Some(NoChain::Unusable(ChainError::NoCertificate))),
        ("/broken", Some(NoChain::Unavailable)),
    ] {
        let before = server.asked();
        for leg in [LegId(1), LegId(2)] {
            assert!(certificates.ask(now, leg, server.url(path)).is_none());
        }
        let Answer::Certificate(fetched) = next(&mut answers).await else { panic!("{path}") };
        let (legs, outcome) = certificates.fetched(now, fetched);
        assert_eq!((legs, outcome.err()), (vec![LegId(1), LegId(2)], expected), "{path}");
        let kept = certificates.ask(now, LegId(3), server.url(path));
        assert_eq!(kept.map(|outcome| outcome.err()), Some(expected), "{path}");
        assert_eq!(server.asked() - before, 1, "{path}");
    }
}

fn call() -> Box<Call> {
    Box::new(
        serde_json::from_value(json!({
            "id": "c1", "status": "initiated", "direction": "inbound", "to": "100", "from": "+62811",
            "created_at": "2026-01-01T00:00:00Z", "node": "n1",
        }))
        .unwrap(),
    )
}

#[tokio::test]
async fn routes_are_asked() {
    let server = Server::plain(|request| match request.split(' ').nth(1).unwrap_or_default() {
        "/menu" if request.starts_with("POST ") && request.contains(r#""from":"+62811""#) => {
            ok(br#"{"flow": "menu"}"#, "")
        }
        "/busy" => ok(br#"{"reject": 486}"#, ""),
        "/rubbish" => ok(b"<html>", ""),
        "/fault" => ok(br#"{"reject": 200}"#, ""),
        "/large" => ok(&[b' '; 300_000], ""),
        "/silent" => Vec::new(),
        _ => b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec(),
    })
    .await;
    let (tell, mut answers) = mpsc::channel(8);
    let questions = Questions::new(Client::new(&local(), false).unwrap(), tell, None);
    let menu = RouteAnswer::Flow { flow: FlowRef::Name("menu".into()), variables: Default::default() };
    for (url, timeout_ms, expected) in [
        (server.url("/menu"), 30_000, Ok(menu)),
        (server.url("/busy"), 30_000, Ok(RouteAnswer::Reject { reject: 486 })),
        (server.url("/rubbish"), 30_000, Err(NoAnswer::Unreadable)),
        (server.url("/fault"), 30_000, Err(NoAnswer::Unreadable)),
        (server.url("/large"), 30_000, Err(NoAnswer::Unreadable)),
        (server.url("/oops"), 30_000, Err(NoAnswer::Status(500))),
        (server.url("/silent"), 50, Err(NoAnswer::Timeout)),
        ("http://127.0.0.2/".into(), 30_000, Err(NoAnswer::Unreachable)),
    ] {
        questions.ask_route(LegId(7), url.clone(), Duration::from_millis(timeout_ms), call());
        let Answer::Route(leg, answer) = next(&mut answers).await else { panic!("{url}") };
        assert_eq!((leg, answer), (LegId(7), expected), "{url}");
    }
}
