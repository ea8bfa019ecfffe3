//! Connections over real loopback sockets.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{any_v6, local, next, next_message, request, transmit, until, within};
use sip_core::{Hop, Input, Method, Transmit, Transport, TransportErrorKind};
use sip_io::{Inbox, Limits, ListenAddr, Transports};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn listening(limits: Limits) -> (Transports, Inbox, SocketAddr) {
    let (transports, inbox) = Transports::bind(&[ListenAddr::tcp(local(0))], limits).unwrap();
    let ours = transports.listeners()[0].bound;
    (transports, inbox, ours)
}

fn reply(hop: Hop, payload: &str) -> Transmit {
    Transmit { reply_on: Some(hop), ..transmit(Transport::Tcp, hop.local, hop.remote, payload) }
}

async fn read_exactly(stream: &mut TcpStream, length: usize) -> String {
    let mut buffer = vec![0; length];
    within(stream.read_exact(&mut buffer)).await.unwrap();
    String::from_utf8(buffer).unwrap()
}

#[track_caller]
fn check_error(input: Option<Input>, remote: SocketAddr, expected: TransportErrorKind) {
    match input {
        Some(Input::TransportError { transport: Transport::Tcp, remote: reported, kind }) => {
            assert_eq!((reported, kind), (remote, expected));
        }
        other => panic!("a transport error, not {other:?}"),
    }
}

#[tokio::test]
async fn a_message_arrives_byte_by_byte() {
    let (_transports, mut inbox, ours) = listening(Limits::default());
    let mut peer = TcpStream::connect(ours).await.unwrap();
    peer.set_nodelay(true).unwrap();
    for byte in request("INVITE", "slow", None, "v=0\r\n").bytes() {
        peer.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let (hop, message) = next_message(&mut inbox).await;
    assert_eq!(message.body(), "v=0\r\n");
    assert_eq!(hop, Hop { transport: Transport::Tcp, local: ours, remote: peer.local_addr().unwrap() });
}

#[tokio::test]
async fn two_messages_in_one_segment_and_the_answer_on_the_same_stream() {
    let (transports, mut inbox, ours) = listening(Limits::default());
    let mut peer = TcpStream::connect(ours).await.unwrap();
    let both = request("INFO", "one", Some("t"), "body") + &request("BYE", "two", Some("t"), "");
    peer.write_all(both.as_bytes()).await.unwrap();
    let (_, first) = next_message(&mut inbox).await;
    let (hop, second) = next_message(&mut inbox).await;
    assert_eq!([first.call_id().unwrap(), second.call_id().unwrap()], ["one", "two"]);
    assert_eq!((&first.body()[..], second.method()), (&b"body"[..], Some(&Method::Bye)));

    assert!(transports.transmit(reply(hop, "answer")).is_none());
    assert_eq!(read_exactly(&mut peer, 6).await, "answer");
}

#[tokio::test]
async fn ipv6() {
    let Some(v6) = any_v6() else {
        println!("skipped: this machine has no ::1");
        return;
    };
    let (transports, mut inbox) = Transports::bind(&[ListenAddr::tcp(v6)], Limits::default()).unwrap();
    let ours = transports.listeners()[0].bound;
    // To ourselves: an outgoing connection and an accepted one.
    assert!(
        transports
            .transmit(transmit(Transport::Tcp, ours, ours, &request("OPTIONS", "six", None, "")))
            .is_none()
    );
    let (hop, _) = next_message(&mut inbox).await;
    assert_eq!(hop.local, ours);
    assert!(hop.remote.is_ipv6());
}

#[tokio::test]
async fn requests_to_a_peer_share_one_connection() {
    let (transports, mut inbox, ours) = listening(Limits::default());
    let server = TcpListener::bind(local(0)).await.unwrap();
    let remote = server.local_addr().unwrap();
    for payload in ["one", "two"] {
        assert!(transports.transmit(transmit(Transport::Tcp, ours, remote, payload)).is_none());
    }
    let (mut peer, from) = within(server.accept()).await.unwrap();
    assert_eq!(from.ip(), ours.ip());
    assert_eq!(read_exactly(&mut peer, 6).await, "onetwo");

    // What the peer sends on it carries the stream's own addresses, and an answer on that hop finds it.
    peer.write_all(request("OPTIONS", "back", None, "").as_bytes()).await.unwrap();
    let (hop, _) = next_message(&mut inbox).await;
    assert_eq!((hop.local, hop.remote), (from, remote));
    assert!(transports.transmit(reply(hop, "three")).is_none());
    assert_eq!(read_exactly(&mut peer, 5).await, "three");
    assert_eq!(transports.counts().connections, 1);
}

#[tokio::test]
async fn an_answer_opens_a_connection_when_its_stream_is_gone() {
    let (transports, mut inbox, ours) = listening(Limits::default());
    let server = TcpListener::bind(local(0)).await.unwrap();
    let mut peer = TcpStream::connect(ours).await.unwrap();
    peer.write_all(request("OPTIONS", "gone", None, "").as_bytes()).await.unwrap();
    let (hop, _) = next_message(&mut inbox).await;
    drop(peer);
    // The address from the Via, which the core gives as the remote.
    let again = || Transmit { remote: server.local_addr().unwrap(), ..reply(hop, "answer") };
    let accepted = async {
        // Until our side has seen the stream end, an answer may still be put on it and be lost with it.
        loop {
            assert!(transports.transmit(again()).is_none());
            tokio::select! {
                accepted = server.accept() => return accepted.unwrap().0,
                () = tokio::task::yield_now() => {}
            }
        }
    };
    let mut accepted = within(accepted).await;
    assert_eq!(read_exactly(&mut accepted, 6).await, "answer");
}

#[tokio::test]
async fn a_refused_connection_is_a_transport_error() {
    let (transports, mut inbox, ours) = listening(Limits::default());
    let free = std::net::TcpListener::bind(local(0)).unwrap().local_addr().unwrap();
    assert!(transports.transmit(transmit(Transport::Tcp, ours, free, "x")).is_none());
    check_error(Some(next(&mut inbox).await), free, TransportErrorKind::Refused);
    assert_eq!(transports.counts().dropped_sends, 1);
    // And the next attempt is a new one.
    assert!(transports.transmit(transmit(Transport::Tcp, ours, free, "x")).is_none());
    check_error(Some(next(&mut inbox).await), free, TransportErrorKind::Refused);
}

#[tokio::test]
async fn a_reset_stream_is_a_transport_error_and_a_closed_one_is_not() {
    let (_transports, mut inbox, ours) = listening(Limits::default());
    let mut closing = TcpStream::connect(ours).await.unwrap();
    closing.write_all(request("OPTIONS", "closing", None, "").as_bytes()).await.unwrap();
    let (closed, _) = next_message(&mut inbox).await;
    drop(closing);
    match within(inbox.recv()).await {
        Some(Input::StreamEnded { hop }) => assert_eq!(hop, closed, "its end is told, and nothing else"),
        other => panic!("the end of a stream, not {other:?}"),
    }

    let mut resetting = TcpStream::connect(ours).await.unwrap();
    let remote = resetting.local_addr().unwrap();
    resetting.write_all(request("OPTIONS", "resetting", None, "").as_bytes()).await.unwrap();
    next_message(&mut inbox).await;
    resetting.set_zero_linger().unwrap();
    drop(resetting);
    check_error(Some(next(&mut inbox).await), remote, TransportErrorKind::Closed);
}

#[tokio::test]
async fn keepalives_are_answered_with_one_line_break() {
    let (_transports, mut inbox, ours) = listening(Limits::default());
    let mut peer = TcpStream::connect(ours).await.unwrap();
    peer.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(read_exactly(&mut peer, 2).await, "\r\n");
    // And the stream goes on.
    peer.write_all(request("OPTIONS", "after", None, "").as_bytes()).await.unwrap();
    assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), "after");
}

#[tokio::test]
async fn a_stream_that_cannot_be_divided_is_reported_and_closed_after_the_answer() {
    let (transports, mut inbox, ours) = listening(Limits { message_size: 1_000, ..Limits::default() });
    let no_length = request("OPTIONS", "x", None, "").replace("Content-Length: 0\r\n", "");
    for bytes in [no_length, request("OPTIONS", "x", None, &"y".repeat(1_001))] {
        let mut peer = TcpStream::connect(ours).await.unwrap();
        peer.write_all(bytes.as_bytes()).await.unwrap();
        let hop = match next(&mut inbox).await {
            Input::Malformed { hop, .. } => hop,
            other => panic!("malformed, not {other:?}"),
        };
        assert!(transports.transmit(reply(hop, "400")).is_none());
        assert_eq!(read_exactly(&mut peer, 3).await, "400");
        let mut rest = Vec::new();
        // Closed, or reset because we did not read all of it.
        let _ = within(peer.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
    }
    assert_eq!(transports.counts().broken_streams, 2);
}

#[tokio::test]
async fn a_full_send_queue_drops_and_counts() {
    let (transports, mut inbox, ours) = listening(Limits { trunk_send_queue: 4, ..Limits::default() });
    // It accepts and never reads: the kernel's buffers fill, then the queue.
    let server = TcpListener::bind(local(0)).await.unwrap();
    let remote = server.local_addr().unwrap();
    let large = "x".repeat(1 << 20);
    let dropped = async {
        while transports.counts().dropped_sends == 0 {
            assert!(transports.transmit(transmit(Transport::Tcp, ours, remote, &large)).is_none());
            tokio::task::yield_now().await;
        }
    };
    within(dropped).await;
    // One lost message does not end the other transactions with this peer.
    assert!(inbox.try_recv().is_none());
}

/// A real socket on tokio's clock, which jumps ahead only when every task waits.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_a_transport_error() {
    let (transports, mut inbox, ours) = listening(Limits::default());
    let server = TcpListener::bind(local(0)).await.unwrap();
    let remote = server.local_addr().unwrap();
    let larger_than_all_buffers = "x".repeat(64 << 20);
    assert!(transports.transmit(transmit(Transport::Tcp, ours, remote, &larger_than_all_buffers)).is_none());
    check_error(inbox.recv().await, remote, TransportErrorKind::TimedOut);
    assert_eq!(transports.counts().connections, 1, "it was writing that took too long, not connecting");
}

#[tokio::test]
async fn connections_are_limited_both_ways() {
    let (transports, mut inbox, ours) = listening(Limits { connections: 1, ..Limits::default() });
    let mut first = TcpStream::connect(ours).await.unwrap();
    first.write_all(request("OPTIONS", "first", None, "").as_bytes()).await.unwrap();
    next_message(&mut inbox).await;

    let mut second = TcpStream::connect(ours).await.unwrap();
    assert_eq!(within(second.read(&mut [0; 1])).await.unwrap_or(0), 0, "closed at once");
    let remote = second.local_addr().unwrap();
    assert!(transports.transmit(transmit(Transport::Tcp, ours, remote, "x")).is_none());
    check_error(Some(next(&mut inbox).await), remote, TransportErrorKind::Local);
    assert_eq!(transports.counts().refused_connections, 2);
}

#[tokio::test]
async fn a_flood_on_a_stream_waits_and_loses_nothing_of_known_calls() {
    let (transports, mut inbox, ours) = listening(Limits { new_work: 1, rest: 2, ..Limits::default() });
    let mut peer = TcpStream::connect(ours).await.unwrap();
    let flood: String = (0..20)
        .map(|n| request("INVITE", "new", None, "") + &request("BYE", &format!("old{n}"), Some("t"), ""))
        .collect();
    peer.write_all(flood.as_bytes()).await.unwrap();
    until(&transports, |counts| counts.dropped_new_work > 0).await;
    let mut known = Vec::new();
    while known.len() < 20 {
        let (_, message) = next_message(&mut inbox).await;
        if message.method() == Some(&Method::Bye) {
            known.push(message.call_id().unwrap().to_string());
        }
    }
    assert_eq!(known, (0..20).map(|n| format!("old{n}")).collect::<Vec<_>>());
    assert_eq!(transports.counts().dropped_rest, 0);
}

/// Real sockets on tokio's clock, which jumps ahead only when every task waits.
#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed() {
    let limits = Limits { first_message: Duration::from_secs(30), ..Limits::default() };
    let (transports, _inbox, ours) = listening(limits);
    let mut peer = TcpStream::connect(ours).await.unwrap();
    assert_eq!(peer.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(transports.counts().idle_closed, 1);
}

/// Real sockets on tokio's clock, which jumps ahead only when every task waits.
#[tokio::test(start_paused = true)]
async fn a_server_is_pinged_and_one_that_stops_answering_is_an_error() {
    let (transports, mut inbox, ours) = listening(Limits::default());
    let server = TcpListener::bind(local(0)).await.unwrap();
    let remote = server.local_addr().unwrap();
    assert!(transports.transmit(transmit(Transport::Tcp, ours, remote, "x")).is_none());
    let (mut peer, _) = server.accept().await.unwrap();
    assert_eq!(read_exactly(&mut peer, 1).await, "x");
    let read_ping = async |peer: &mut TcpStream| {
        let mut ping = [0; 4];
        peer.read_exact(&mut ping).await.unwrap();
        assert_eq!(&ping, b"\r\n\r\n");
    };
    // A server that knows nothing of pongs stays connected,
    for _ in 0..3 {
        read_ping(&mut peer).await;
    }
    // and one that gave one is held to it.
    peer.write_all(b"\r\n").await.unwrap();
    read_ping(&mut peer).await;
    check_error(inbox.recv().await, remote, TransportErrorKind::TimedOut);
    assert_eq!(transports.counts().dead_connections, 1);
    assert_eq!(peer.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn queued_messages_leave_when_the_transports_are_closed() {
    let (transports, _inbox, ours) = listening(Limits::default());
    let server = TcpListener::bind(local(0)).await.unwrap();
    let remote = server.local_addr().unwrap();
    assert!(transports.transmit(transmit(Transport::Tcp, ours, remote, "BYE")).is_none());
    within(transports.close()).await;
    let (mut peer, _) = within(server.accept()).await.unwrap();
    let mut all = String::new();
    within(peer.read_to_string(&mut all)).await.unwrap();
    assert_eq!(all, "BYE");
}
