//! The door over real sockets: who is let in, who is answered, who hears nothing.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::support::{local, next_message, request, until, within};
use bytes::Bytes;
use sip_core::guard::{Guard, GuardConfig, Known, Rate};
use sip_core::{Endpoint, EndpointConfig, Message};
use sip_io::{Inbox, Limits, ListenAddr, Transports};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// The source that is expected; everybody else on this machine is a stranger.
const KNOWN: [u8; 4] = [127, 0, 0, 2];
const STRANGER: [u8; 4] = [127, 0, 0, 3];

fn guarded(limits: Limits, config: GuardConfig) -> (Transports, Inbox, SocketAddr) {
    let listen = [ListenAddr::udp(local(0)), ListenAddr::tcp(local(0))];
    let (transports, inbox) = Transports::bind(&listen, limits).unwrap();
    transports.set_guard(Guard::new(Instant::now(), config, [7; 32]));
    let endpoint = Endpoint::new(EndpointConfig::new(transports.listeners()), [9; 32]);
    transports.set_seal(endpoint.seal());
    transports.set_known(Known { addresses: [IpAddr::from(KNOWN)].into(), ..Known::default() });
    let udp = transports.listeners()[0].bound;
    (transports, inbox, udp)
}

async fn udp(from: [u8; 4]) -> UdpSocket {
    UdpSocket::bind(SocketAddr::from((from, 0))).await.unwrap()
}

async fn tcp(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(to).await.unwrap()
}

/// As `request`, from a Via that asks to be answered where it came from, with what telephones add.
fn from_stranger(method: &str, call: &str, to_tag: Option<&str>) -> String {
    request(method, call, to_tag, "").replace(";branch", ";rport;branch").replace(
        "Max-Forwards: 70",
        "Max-Forwards: 70\r\nUser-Agent: some telephone\r\nAllow: INVITE, ACK, CANCEL, BYE",
    )
}

fn status(answer: &[u8]) -> Option<u16> {
    Message::parse(Bytes::copy_from_slice(answer)).unwrap().status()
}

#[tokio::test]
async fn a_stranger_is_refused_without_anybody_behind_the_door_hearing_of_it() {
    let (transports, mut inbox, ours) = guarded(Limits::default(), GuardConfig::default());
    let (stranger, known) = (udp(STRANGER).await, udp(KNOWN).await);
    let mut buffer = [0; 2_000];
    for n in 0..100 {
        let invite = from_stranger("INVITE", &format!("c{n}"), None);
        stranger.send_to(invite.as_bytes(), ours).await.unwrap();
    }
    until(&transports, |counts| counts.refused_stranger + counts.refused_rate == 100).await;
    let answered = transports.counts().refusals_answered;
    assert_eq!(answered, u64::from(GuardConfig::default().answers.burst));
    for _ in 0..answered {
        let (length, _) = within(stranger.recv_from(&mut buffer)).await.unwrap();
        assert_eq!(status(&buffer[..length]), Some(403));
    }
    assert!(stranger.try_recv_from(&mut buffer).is_err(), "and not one more");

    known.send_to(request("INVITE", "welcome", None, "").as_bytes(), ours).await.unwrap();
    assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), "welcome");
    assert!(inbox.try_recv().is_none());
}

#[tokio::test]
async fn a_tag_that_is_not_ours_opens_nothing() {
    let (transports, mut inbox, ours) = guarded(Limits::default(), GuardConfig::default());
    let stranger = udp(STRANGER).await;
    for method in ["BYE", "ACK", "INVITE", "INFO"] {
        let message = from_stranger(method, method, Some("0123456789abcdef"));
        stranger.send_to(message.as_bytes(), ours).await.unwrap();
    }
    until(&transports, |counts| counts.refused_stray == 4).await;
    assert!(inbox.try_recv().is_none());
}

#[tokio::test]
async fn over_a_stream_a_stranger_is_answered_and_the_stream_closed() {
    let (transports, mut inbox, _) = guarded(Limits::default(), GuardConfig::default());
    let ours = transports.listeners()[1].bound;
    let mut stream = tcp(STRANGER, ours).await;
    stream.write_all(request("INVITE", "c", None, "").as_bytes()).await.unwrap();
    stream.write_all(request("INVITE", "d", None, "").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(status(&answer), Some(403));
    assert_eq!(transports.counts().refusals_answered, 1, "the second was not read");

    let mut known = tcp(KNOWN, ours).await;
    known.write_all(request("INVITE", "welcome", None, "").as_bytes()).await.unwrap();
    assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), "welcome");
}

#[tokio::test]
async fn a_stranger_has_few_connections_and_the_known_have_theirs() {
    let limits = Limits { source_connections: 2, ..Limits::default() };
    let (transports, mut inbox, _) = guarded(limits, GuardConfig::default());
    let ours = transports.listeners()[1].bound;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(tcp(STRANGER, ours).await);
    }
    until(&transports, |counts| counts.refused_source_connections == 3).await;
    let mut known = tcp(KNOWN, ours).await;
    known.write_all(request("INVITE", "welcome", None, "").as_bytes()).await.unwrap();
    assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), "welcome");
}

#[tokio::test]
async fn a_banned_source_is_not_read() {
    let config = GuardConfig { ban_after: 3, ..GuardConfig::default() };
    let (transports, mut inbox, ours) = guarded(Limits::default(), config);
    let stranger = udp(STRANGER).await;
    for _ in 0..10 {
        stranger.send_to(b"rubbish\r\n\r\n", ours).await.unwrap();
    }
    until(&transports, |counts| counts.refused_rubbish == 10).await;
    assert_eq!(transports.counts().refused_banned, 0, "anybody may have sent those");
    for n in 11..=13 {
        let mut connection = tcp(STRANGER, transports.listeners()[1].bound).await;
        connection.write_all(b"rubbish\r\n\r\n").await.unwrap();
        until(&transports, |counts| counts.refused_rubbish == n).await;
    }
    stranger.send_to(b"rubbish\r\n\r\n", ours).await.unwrap();
    until(&transports, |counts| counts.refused_banned == 1).await;
    let connection = tcp(STRANGER, transports.listeners()[1].bound).await;
    until(&transports, |counts| counts.refused_banned == 2).await;
    drop(connection);
    assert!(inbox.try_recv().is_none());
}

#[tokio::test]
async fn when_nobody_reads_the_known_are_told_503_and_calls_have_their_room() {
    let limits = Limits { new_work: 8, ..Limits::default() };
    let (transports, mut inbox, ours) = guarded(limits, GuardConfig::default());
    let known = udp(KNOWN).await;
    for n in 0..50 {
        let invite = from_stranger("INVITE", &format!("c{n}"), None);
        known.send_to(invite.as_bytes(), ours).await.unwrap();
        known.send_to(request("CANCEL", &format!("c{n}"), None, "").as_bytes(), ours).await.unwrap();
    }
    until(&transports, |counts| counts.received == 100).await;
    let counts = transports.counts();
    assert_eq!((counts.refused_overload, counts.refusals_answered), (43, 43));
    assert_eq!((counts.dropped_new_work, counts.dropped_rest), (0, 0));
    let mut buffer = [0; 2_000];
    for _ in 0..43 {
        let (length, _) = within(known.recv_from(&mut buffer)).await.unwrap();
        let answer = Message::parse(Bytes::copy_from_slice(&buffer[..length])).unwrap();
        assert_eq!(answer.status(), Some(503));
        assert!(answer.retry_after().unwrap().is_some());
    }
    for _ in 0..50 {
        assert_eq!(next_message(&mut inbox).await.1.method().unwrap().as_str(), "CANCEL");
    }
}

#[tokio::test(start_paused = true)]
async fn new_work_that_waited_too_long_means_503_until_the_queue_is_empty() {
    let (transports, mut inbox, ours) = guarded(Limits::default(), GuardConfig::default());
    let known = udp(KNOWN).await;
    let invite = |call: &str| request("INVITE", call, None, "").into_bytes();
    for call in ["a", "b"] {
        known.send_to(&invite(call), ours).await.unwrap();
    }
    until(&transports, |counts| counts.received == 2).await;
    tokio::time::advance(Limits::default().behind * 2).await;
    assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), "a");
    known.send_to(&invite("c"), ours).await.unwrap();
    until(&transports, |counts| counts.refused_overload == 1).await;
    assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), "b");
    known.send_to(&invite("d"), ours).await.unwrap();
    assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), "d");
}

#[tokio::test]
async fn a_known_source_above_its_rate_keeps_its_calls() {
    let known_rate = Rate { per_second: 1, burst: 5 };
    let (transports, mut inbox, ours) =
        guarded(Limits::default(), GuardConfig { known: known_rate, ..GuardConfig::default() });
    let known = udp(KNOWN).await;
    for n in 0..20 {
        known.send_to(request("INVITE", &format!("c{n}"), None, "").as_bytes(), ours).await.unwrap();
    }
    until(&transports, |counts| counts.received == 20).await;
    assert!(transports.counts().refused_rate >= 14, "{:?}", transports.counts());
    for n in 0..5 {
        assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), format!("c{n}"));
    }
}
