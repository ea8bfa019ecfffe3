//! TLS over real loopback sockets, with certificates of every kind.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use sip_core::{Hop, Input, Method, Transmit, Transport, TransportErrorKind};
use sip_io::{ClientTls, Inbox, Limits, ListenAddr, ServerTls, TlsError, Transports};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pki::{Flaw, Pki, certificates};
use crate::support::{any_v6, local, next, next_message, request, transmit, until, within};

fn listening(at: SocketAddr, tls: ServerTls, limits: Limits) -> (Transports, Inbox, SocketAddr) {
    let listen = ListenAddr::new(Transport::Tls, at).tls(tls);
    let (transports, inbox) = Transports::bind(&[listen], limits).unwrap();
    let ours = transports.listeners()[0].bound;
    (transports, inbox, ours)
}

/// Listens too, for messages need an address to leave from.
fn calling(pki: &Pki, client: ClientTls) -> (Transports, Inbox, SocketAddr) {
    let listen = ListenAddr::new(Transport::Tls, local(0)).tls(pki.server());
    let (transports, inbox) = Transports::bind_with(&[listen], client, Limits::default()).unwrap();
    let ours = transports.listeners()[0].bound;
    (transports, inbox, ours)
}

async fn connect(pki: &Pki, to: SocketAddr) -> TlsStream<TcpStream> {
    let config = pki.foreign_client(None, &[&TLS12, &TLS13]);
    let stream = TcpStream::connect(to).await.unwrap();
    within(TlsConnector::from(config).connect(ServerName::from(to.ip()), stream)).await.unwrap()
}

async fn read_exactly(stream: &mut TlsStream<TcpStream>, length: usize) -> String {
    let mut buffer = vec![0; length];
    within(stream.read_exact(&mut buffer)).await.unwrap();
    String::from_utf8(buffer).unwrap()
}

fn reply(hop: Hop, payload: &str) -> Transmit {
    Transmit { reply_on: Some(hop), ..transmit(Transport::Tls, hop.local, hop.remote, payload) }
}

fn named(name: &str, transmit: Transmit) -> Transmit {
    Transmit { server_name: Some(name.to_owned().into()), ..transmit }
}

#[track_caller]
fn check_error(input: &Input, remote: SocketAddr, expected: TransportErrorKind) {
    match input {
        Input::TransportError { transport: Transport::Tls, remote: reported, kind } => {
            assert_eq!((*reported, *kind), (remote, expected));
        }
        other => panic!("a transport error, not {other:?}"),
    }
}

#[tokio::test]
async fn messages_arrive_however_they_are_cut_in_both_versions_and_families() {
    let pki = Pki::new();
    let mut addresses = vec![local(0)];
    addresses.extend(any_v6());
    for (at, version) in addresses.into_iter().flat_map(|at| [(at, &TLS12), (at, &TLS13)]) {
        let (transports, mut inbox, ours) = listening(at, pki.server(), Limits::default());
        let stream = TcpStream::connect(ours).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let config = pki.foreign_client(None, &[version]);
        let mut peer =
            within(TlsConnector::from(config).connect(ServerName::from(ours.ip()), stream)).await.unwrap();

        // Two in one record.
        let both = request("INFO", "one", Some("t"), "body") + &request("BYE", "two", Some("t"), "");
        peer.write_all(both.as_bytes()).await.unwrap();
        let (_, first) = next_message(&mut inbox).await;
        let (hop, second) = next_message(&mut inbox).await;
        assert_eq!([first.call_id().unwrap(), second.call_id().unwrap()], ["one", "two"]);
        assert_eq!(second.method(), Some(&Method::Bye));
        let from = peer.get_ref().0.local_addr().unwrap();
        assert_eq!(hop, Hop { transport: Transport::Tls, local: ours, remote: from });

        // A record for each byte.
        for byte in request("INVITE", "slow", None, "v=0\r\n").bytes() {
            peer.write_all(&[byte]).await.unwrap();
            peer.flush().await.unwrap();
        }
        assert_eq!(next_message(&mut inbox).await.1.body(), "v=0\r\n");

        assert!(transports.transmit(reply(hop, "answer")).is_none());
        assert_eq!(read_exactly(&mut peer, 6).await, "answer");
        // A keepalive.
        peer.write_all(b"\r\n\r\n").await.unwrap();
        assert_eq!(read_exactly(&mut peer, 2).await, "\r\n");
    }
}

#[tokio::test]
async fn records_may_be_cut_anywhere() {
    let pki = Pki::new();
    let (_transports, mut inbox, ours) = listening(local(0), pki.server(), Limits::default());
    // What a TLS client writes, through a relay that hands it on byte by byte.
    let relay = tokio::net::TcpListener::bind(local(0)).await.unwrap();
    let relayed = relay.local_addr().unwrap();
    let relaying = tokio::spawn(async move {
        let (client, _) = relay.accept().await.unwrap();
        let server = TcpStream::connect(ours).await.unwrap();
        server.set_nodelay(true).unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut byte = [0];
        while matches!(from_client.read(&mut byte).await, Ok(1)) {
            to_server.write_all(&byte).await.unwrap();
            tokio::task::yield_now().await;
        }
        back.abort();
    });
    let mut peer = connect(&pki, relayed).await;
    peer.write_all(request("OPTIONS", "cut", None, "").as_bytes()).await.unwrap();
    assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), "cut");
    drop(peer);
    within(relaying).await.unwrap();
}

#[tokio::test]
async fn a_server_is_reached_by_name_and_by_address_over_a_connection_for_each() {
    let pki = Pki::new();
    let (server, mut arrivals, theirs) = listening(local(0), pki.server(), Limits::default());
    let (client, mut answers, ours) = calling(&pki, pki.client());
    for call in ["one", "two"] {
        let message = transmit(Transport::Tls, ours, theirs, &request("OPTIONS", call, None, ""));
        assert!(client.transmit(named("localhost", message)).is_none());
        let (hop, message) = next_message(&mut arrivals).await;
        assert_eq!(message.call_id().unwrap(), call);
        assert!(server.transmit(reply(hop, &request("OPTIONS", "back", None, ""))).is_none());
        assert_eq!(next_message(&mut answers).await.0.remote, theirs);
    }
    assert_eq!(client.counts().connections, 1);
    // What was proven of the name was not proven of the address.
    let message = transmit(Transport::Tls, ours, theirs, &request("OPTIONS", "three", None, ""));
    assert!(client.transmit(message).is_none());
    next_message(&mut arrivals).await;
    assert_eq!(client.counts().connections, 2);
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_gets_no_message() {
    let pki = Pki::new();
    let stranger = Pki::new();
    let good = pki.issue("good", &["localhost"], Flaw::None);
    let cases = [
        ("expired", pki.issue("expired", &["localhost"], Flaw::Expired), "localhost", false),
        ("early", pki.issue("early", &["localhost"], Flaw::NotYetValid), "localhost", false),
        ("name", pki.issue("name", &["sip.example.com"], Flaw::None), "localhost", false),
        ("stranger", stranger.issue("stranger", &["localhost"], Flaw::None), "localhost", false),
        ("no name at all", good.clone(), "not a name", false),
        ("good", good, "localhost", true),
    ];
    for (case, identity, name, trusted) in cases {
        let tls = ServerTls { identity, client_ca: None };
        let (_server, mut arrivals, theirs) = listening(local(0), tls, Limits::default());
        let (client, mut inbox, ours) = calling(&pki, pki.client());
        let message =
            || named(name, transmit(Transport::Tls, ours, theirs, &request("OPTIONS", "x", None, "")));
        assert!(client.transmit(message()).is_none());
        if trusted {
            assert_eq!(next_message(&mut arrivals).await.1.call_id().unwrap(), "x", "{case}");
        } else {
            check_error(&next(&mut inbox).await, theirs, TransportErrorKind::Handshake);
            assert_eq!(client.counts().failed_handshakes, 1, "{case}");
            assert!(arrivals.try_recv().is_none(), "{case}");
            // Unless somebody said so.
            let (lenient, _inbox, ours) = calling(&pki, ClientTls { verify: false, ..pki.client() });
            let message = Transmit { local: ours, ..message() };
            if name == "localhost" {
                assert!(lenient.transmit(message).is_none());
                assert_eq!(next_message(&mut arrivals).await.1.call_id().unwrap(), "x", "{case}");
            }
        }
    }
}

#[tokio::test]
async fn clients_show_a_certificate_where_one_is_asked_for() {
    let pki = Pki::new();
    let stranger = Pki::new();
    let tls = ServerTls { client_ca: Some(pki.ca.clone()), ..pki.server() };
    let (server, mut arrivals, theirs) = listening(local(0), tls, Limits::default());
    let shown = [
        (None, false),
        (Some(stranger.issue("stranger", &["client"], Flaw::None)), false),
        (Some(pki.issue("old", &["client"], Flaw::Expired)), false),
        (Some(pki.issue("client", &["client"], Flaw::None)), true),
    ];
    for (number, (identity, welcome)) in (0..).zip(shown) {
        let (client, mut inbox, ours) = calling(&pki, ClientTls { identity, ..pki.client() });
        let message = transmit(Transport::Tls, ours, theirs, &request("OPTIONS", "x", None, ""));
        assert!(client.transmit(message).is_none());
        if welcome {
            next_message(&mut arrivals).await;
        } else {
            // With TLS 1.3 the client learns of it only when it has begun to talk.
            assert!(matches!(next(&mut inbox).await, Input::TransportError { .. }));
            until(&server, |counts| counts.failed_handshakes == number + 1).await;
            assert!(arrivals.try_recv().is_none());
        }
    }
}

/// Real sockets on tokio's clock, which jumps ahead only when every task waits.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_never_finished_is_given_up() {
    let pki = Pki::new();
    let (transports, _inbox, ours) = listening(local(0), pki.server(), Limits::default());
    // Nothing; the head of a record that never comes; what is not TLS.
    for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"OPTIONS sip:x SIP/2.0\r\n\r\n"] {
        let mut peer = TcpStream::connect(ours).await.unwrap();
        peer.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        let _ = peer.read_to_end(&mut rest).await;
    }
    until(&transports, |counts| counts.failed_handshakes == 3).await;
    assert_eq!(transports.counts().connections, 0);
}

#[tokio::test]
async fn handshakes_under_way_are_bounded_and_the_rest_goes_on() {
    let pki = Pki::new();
    let limits = Limits { source_handshakes: 3, handshake: Duration::from_secs(600), ..Limits::default() };
    let (transports, mut inbox, ours) = listening(local(0), pki.server(), limits);
    let mut known = connect(&pki, ours).await;
    known.write_all(request("OPTIONS", "before", None, "").as_bytes()).await.unwrap();
    next_message(&mut inbox).await;

    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(ours).await.unwrap());
    }
    until(&transports, |counts| counts.refused_source_connections == 47).await;
    known.write_all(request("OPTIONS", "during", None, "").as_bytes()).await.unwrap();
    assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), "during");
    drop(silent);
    until(&transports, |counts| counts.failed_handshakes == 3).await;
    let mut late = connect(&pki, ours).await;
    late.write_all(request("OPTIONS", "after", None, "").as_bytes()).await.unwrap();
    assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), "after");
}

#[tokio::test]
async fn a_new_certificate_is_shown_after_a_reload_and_nobody_is_cut_off() {
    let pki = Pki::new();
    let (transports, mut inbox, ours) = listening(local(0), pki.server(), Limits::default());
    let shown = |peer: &TlsStream<TcpStream>| peer.get_ref().1.peer_certificates().unwrap()[0].clone();
    let mut old = connect(&pki, ours).await;
    let renewed = pki.server().identity;
    let new = certificates(&renewed.cert).remove(0);
    assert_ne!(shown(&old), new);
    assert_ne!(shown(&connect(&pki, ours).await), new, "not before it is asked to");
    transports.tls_files().reload().unwrap();
    assert_eq!(shown(&connect(&pki, ours).await), new);
    old.write_all(request("OPTIONS", "old", None, "").as_bytes()).await.unwrap();
    assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), "old");

    // A certificate that is half copied.
    std::fs::write(&renewed.cert, "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    let error = transports.tls_files().reload().unwrap_err().to_string();
    assert!(error.contains("server.pem"), "{error}");
    assert_eq!(shown(&connect(&pki, ours).await), new);
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_reason() {
    let pki = Pki::new();
    let good = pki.server();
    assert!(good.check().is_ok());
    let other = pki.issue("other", &["localhost"], Flaw::None);
    let with = |cert: &str, key: &str| {
        let mut tls = good.clone();
        tls.identity.cert = pki.path(cert);
        tls.identity.key = pki.path(key);
        tls
    };
    std::fs::write(pki.path("empty.pem"), "").unwrap();
    std::fs::write(pki.path("torn.pem"), "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n")
        .unwrap();
    let check = |tls: ServerTls, wanted: &[&str]| {
        let error = tls.check().unwrap_err();
        let text = error.to_string();
        assert!(wanted.iter().all(|part| text.contains(part)), "{text}");
        error
    };
    let missing = check(with("nowhere.pem", "server.key"), &["nowhere.pem", "No such file"]);
    assert!(matches!(missing, TlsError::Read { .. }));
    check(with("empty.pem", "server.key"), &["empty.pem", "no certificate"]);
    check(with("torn.pem", "server.key"), &["torn.pem", "no PEM file"]);
    check(with("server.pem", "server.pem"), &["server.pem", "no private key"]);
    check(with("server.pem", "other.key"), &["server.pem", "other.key", "issued for"]);
    check(ServerTls { client_ca: Some(pki.path("empty.pem")), ..good.clone() }, &["empty.pem"]);

    assert!(other.expires().unwrap() > std::time::SystemTime::now());
    let expired = pki.issue("expired", &["localhost"], Flaw::Expired);
    let new_year = std::time::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    assert_eq!(expired.expires().unwrap(), new_year);

    let error =
        Transports::bind(&[ListenAddr::new(Transport::Wss, local(0))], Limits::default()).unwrap_err();
    assert!(error.to_string().contains("needs a certificate"), "{error}");
}
