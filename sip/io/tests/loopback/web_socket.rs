//! SIP over WebSocket (RFC 7118), secure and not, against a client that is not ours.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use sip_core::{Hop, Input, Transmit, Transport, TransportErrorKind};
use sip_io::{Inbox, Limits, ListenAddr, Transports};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::pki::Pki;
use crate::support::{any_v6, local, next, next_message, request, transmit, until, within};

fn listening(listen: ListenAddr, limits: Limits) -> (Transports, Inbox, SocketAddr) {
    let (transports, inbox) = Transports::bind(&[listen], limits).unwrap();
    let ours = transports.listeners()[0].bound;
    (transports, inbox, ours)
}

fn ws() -> ListenAddr {
    ListenAddr::new(Transport::Ws, local(0))
}

/// Upgrades as a browser does, with these header fields.
async fn upgrade<S>(
    stream: S,
    uri: &str,
    fields: &[(&'static str, &str)],
) -> Result<WebSocketStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = uri.into_client_request().unwrap();
    for (name, value) in fields {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    within(client_async(request, stream)).await.map(|(socket, _)| socket)
}

const SIP: (&str, &str) = ("sec-websocket-protocol", "sip");

async fn browser(to: SocketAddr) -> WebSocketStream<TcpStream> {
    upgrade(TcpStream::connect(to).await.unwrap(), &format!("ws://{to}/"), &[SIP]).await.unwrap()
}

async fn receive<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Message {
    within(socket.next()).await.expect("the connection lives").unwrap()
}

fn reply(hop: Hop, payload: &str) -> Transmit {
    Transmit { reply_on: Some(hop), ..transmit(hop.transport, hop.local, hop.remote, payload) }
}

/// Messages both ways over one connection.
async fn check<S: AsyncRead + AsyncWrite + Unpin>(
    mut peer: WebSocketStream<S>,
    transports: &Transports,
    inbox: &mut Inbox,
    transport: Transport,
) {
    peer.send(Message::text(request("OPTIONS", "text", None, ""))).await.unwrap();
    let (hop, message) = next_message(inbox).await;
    assert_eq!((hop.transport, message.call_id().unwrap().as_ref()), (transport, "text"));
    peer.send(Message::binary(request("INVITE", "binary", None, "v=0\r\n"))).await.unwrap();
    assert_eq!(next_message(inbox).await.1.body(), "v=0\r\n");

    assert!(transports.transmit(reply(hop, "SIP/2.0 200 OK")).is_none());
    assert_eq!(receive(&mut peer).await, Message::text("SIP/2.0 200 OK"));
    // What is not UTF-8 cannot be text.
    let latin = Transmit { payload: Bytes::from_static(b"caf\xe9"), ..reply(hop, "") };
    assert!(transports.transmit(latin).is_none());
    assert_eq!(receive(&mut peer).await, Message::binary(&b"caf\xe9"[..]));

    peer.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
    assert_eq!(receive(&mut peer).await, Message::Pong(Bytes::from_static(b"?")));
    peer.send(Message::text("\r\n\r\n")).await.unwrap();
    assert_eq!(receive(&mut peer).await, Message::text("\r\n"));
}

#[tokio::test]
async fn messages_are_frames_in_both_families_secure_and_not() {
    let pki = Pki::new();
    let mut addresses = vec![local(0)];
    addresses.extend(any_v6());
    for at in addresses {
        let (transports, mut inbox, ours) = listening(ListenAddr::new(Transport::Ws, at), Limits::default());
        check(browser(ours).await, &transports, &mut inbox, Transport::Ws).await;

        let listen = ListenAddr::new(Transport::Wss, at).tls(pki.server());
        let (transports, mut inbox, ours) = listening(listen, Limits::default());
        let connector = TlsConnector::from(pki.foreign_client(None, &[&TLS13]));
        let stream = TcpStream::connect(ours).await.unwrap();
        let stream = within(connector.connect(ServerName::from(ours.ip()), stream)).await.unwrap();
        let peer = upgrade(stream, &format!("wss://{ours}/"), &[SIP]).await.unwrap();
        check(peer, &transports, &mut inbox, Transport::Wss).await;
    }
}

#[tokio::test]
async fn only_sip_from_known_pages_may_upgrade() {
    let listen =
        ListenAddr { origins: vec!["https://desk.example.com".into()], path: Some("/sip".into()), ..ws() };
    let (transports, _inbox, ours) = listening(listen, Limits::default());
    let page = ("origin", "https://desk.example.com");
    type Case<'a> = (&'a str, &'a [(&'static str, &'a str)], u16);
    let cases: [Case<'_>; 7] = [
        ("/sip", &[SIP, page], 101),
        ("/sip", &[("sec-websocket-protocol", "chat, SIP"), page], 101),
        ("/sip?token=1", &[SIP, ("origin", "HTTPS://desk.example.com")], 101),
        ("/sip", &[page], 400),
        ("/", &[SIP, page], 404),
        ("/sip", &[SIP], 403),
        ("/sip", &[SIP, ("origin", "https://evil.example.com")], 403),
    ];
    let mut refused = 0;
    for (path, fields, expected) in cases {
        let stream = TcpStream::connect(ours).await.unwrap();
        let status = match upgrade(stream, &format!("ws://{ours}{path}"), fields).await {
            Ok(_) => 101,
            // The client is satisfied only if the server has chosen what it offered.
            Err(Error::Protocol(_)) if expected == 101 => 101,
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(other) => panic!("{path} {fields:?}: {other}"),
        };
        assert_eq!(status, expected, "{path} {fields:?}");
        refused += u64::from(expected != 101);
        until(&transports, |counts| counts.failed_handshakes == refused).await;
    }
}

#[tokio::test]
async fn what_is_no_upgrade_is_told_so() {
    let (transports, mut inbox, ours) = listening(ws(), Limits::default());
    let head = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    let cases = [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "HTTP/1.1 426 "),
        (format!("POST / HTTP/1.1\r\n{head}\r\n"), "HTTP/1.1 405 "),
        (format!("GET / HTTP/1.1\r\n{}\r\n", head.replace("13", "8")), "HTTP/1.1 426 "),
        (format!("GET / HTTP/1.1\r\n{head}\r\n"), "HTTP/1.1 400 "),
        ("OPTIONS sip:x SIP/2.0\r\nVia: x\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        (format!("\u{0}\u{1}{}", "x".repeat(64)), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(20_000)), "HTTP/1.1 400 "),
    ];
    for (bytes, answer) in cases {
        let mut peer = TcpStream::connect(ours).await.unwrap();
        // The longest is refused before all of it is written.
        let _ = peer.write_all(bytes.as_bytes()).await;
        let mut text = Vec::new();
        let _ = within(peer.read_to_end(&mut text)).await;
        let text = String::from_utf8(text).unwrap();
        let reset_is_fine = text.is_empty() && bytes.len() > 64_000;
        assert!(text.starts_with(answer) || reset_is_fine, "{text:?} to {:.40?}", bytes);
    }
    until(&transports, |counts| counts.failed_handshakes == 7).await;
    assert!(inbox.try_recv().is_none());
}

#[tokio::test]
async fn frames_that_break_the_rules_end_the_connection_and_nothing_else() {
    let limits = Limits { message_size: 2_000, ..Limits::default() };
    let (transports, mut inbox, ours) = listening(ws(), limits);
    let mut good = browser(ours).await;

    let mut large = browser(ours).await;
    large.send(Message::text(request("OPTIONS", "large", None, &"x".repeat(2_000)))).await.unwrap();
    assert!(matches!(within(large.next()).await, None | Some(Ok(Message::Close(_)) | Err(_))));
    until(&transports, |counts| counts.broken_streams == 1).await;

    // A frame without a mask, which no client may send.
    let mut rude = browser(ours).await;
    rude.get_mut().write_all(b"\x81\x02hi").await.unwrap();
    until(&transports, |counts| counts.broken_streams == 2).await;

    // Not SIP, but one frame: the next is read all the same.
    good.send(Message::text("hello")).await.unwrap();
    assert!(matches!(next(&mut inbox).await, Input::Malformed { .. }));
    good.send(Message::text(request("OPTIONS", "good", None, ""))).await.unwrap();
    assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), "good");
}

#[tokio::test]
async fn a_browser_that_left_is_not_connected_to() {
    let (transports, mut inbox, ours) = listening(ws(), Limits::default());
    let mut peer = browser(ours).await;
    peer.send(Message::text(request("OPTIONS", "x", None, ""))).await.unwrap();
    let (hop, _) = next_message(&mut inbox).await;
    peer.close(None).await.unwrap();
    while within(peer.next()).await.is_some() {}
    drop(peer);
    let told = async {
        loop {
            assert!(transports.transmit(reply(hop, "late")).is_none());
            tokio::select! {
                input = next(&mut inbox) => return Some(input),
                () = tokio::task::yield_now() => {}
            }
        }
    };
    match within(told).await {
        Some(Input::TransportError { transport: Transport::Ws, remote, kind }) => {
            assert_eq!((remote, kind), (hop.remote, TransportErrorKind::Closed));
        }
        other => panic!("an error, not {other:?}"),
    }
    assert_eq!(transports.counts().connections, 1);
}

#[tokio::test]
async fn we_are_clients_as_well() {
    let pki = Pki::new();
    let cases =
        [(ws(), "127.0.0.1"), (ListenAddr::new(Transport::Wss, local(0)).tls(pki.server()), "localhost")];
    for (listen, name) in cases {
        let transport = listen.transport;
        let (server, mut arrivals, theirs) = listening(listen.clone(), Limits::default());
        let (client, mut inbox) = Transports::bind_with(&[listen], pki.client(), Limits::default()).unwrap();
        let ours = client.listeners()[0].bound;
        let message = Transmit {
            server_name: (name == "localhost").then(|| name.to_owned().into()),
            ..transmit(transport, ours, theirs, &request("OPTIONS", "x", None, ""))
        };
        assert!(client.transmit(message).is_none());
        let (hop, _) = next_message(&mut arrivals).await;
        assert!(server.transmit(reply(hop, &request("OPTIONS", "back", None, ""))).is_none());
        let (hop, _) = next_message(&mut inbox).await;
        assert_eq!((hop.transport, hop.remote), (transport, theirs));
    }
    // A server of something else.
    let (_server, _inbox, theirs) = listening(ListenAddr::tcp(local(0)), Limits::default());
    let (client, mut inbox, ours) = listening(ws(), Limits::default());
    assert!(client.transmit(transmit(Transport::Ws, ours, theirs, "x")).is_none());
    match next(&mut inbox).await {
        Input::TransportError { kind: TransportErrorKind::Handshake, .. } => {}
        other => panic!("an error, not {other:?}"),
    }
}

/// Real sockets on tokio's clock, which jumps ahead only when every task waits.
#[tokio::test(start_paused = true)]
async fn a_browser_is_pinged_and_one_that_does_not_answer_is_gone() {
    let (transports, mut inbox, ours) = listening(ws(), Limits::default());
    let mut peer = browser(ours).await;
    peer.send(Message::text(request("REGISTER", "x", None, ""))).await.unwrap();
    next_message(&mut inbox).await;
    // Reading is what answers pings. Ten minutes of silence would end a connection that is not pinged.
    let stay = tokio::time::timeout(std::time::Duration::from_secs(1_200), async {
        while let Some(Ok(message)) = peer.next().await {
            assert!(matches!(message, Message::Ping(_)));
        }
    });
    assert!(stay.await.is_err(), "it was closed");
    assert_eq!(transports.counts().dead_connections, 0);
    // From here on it does not read. Its machine is there still, so nothing but the pong is missing.
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(transports.counts().dead_connections, 1);
}
