//! Datagrams over real loopback sockets.

use crate::support::{any_v6, local, next, next_message, request, transmit, until, within};
use sip_core::{Input, Method, Transport, TransportErrorKind};
use sip_io::{Error, Limits, ListenAddr, Transports};
use tokio::net::UdpSocket;

#[tokio::test]
async fn a_message_is_parsed_and_an_answer_goes_back_the_same_way() {
    let (transports, mut inbox) = Transports::bind(&[ListenAddr::udp(local(0))], Limits::default()).unwrap();
    let ours = transports.listeners()[0].bound;
    let peer = UdpSocket::bind(local(0)).await.unwrap();

    peer.send_to(request("OPTIONS", "c1", None, "").as_bytes(), ours).await.unwrap();
    let (hop, message) = next_message(&mut inbox).await;
    assert_eq!(message.method(), Some(&Method::Options));
    assert_eq!((hop.transport, hop.local, hop.remote), (Transport::Udp, ours, peer.local_addr().unwrap()));

    let echo = String::from_utf8(message.as_bytes().to_vec()).unwrap();
    assert!(transports.transmit(transmit(Transport::Udp, hop.local, hop.remote, &echo)).is_none());
    let mut buffer = [0; 2_000];
    let (length, from) = within(peer.recv_from(&mut buffer)).await.unwrap();
    assert_eq!((&buffer[..length], from), (echo.as_bytes(), ours));
    assert_eq!((transports.counts().received, transports.counts().sent), (1, 1));
}

#[tokio::test]
async fn several_listeners_send_from_their_own_address() {
    let both = [ListenAddr::udp(local(0)), ListenAddr::udp(local(0))];
    let (transports, _inbox) = Transports::bind(&both, Limits::default()).unwrap();
    let peer = UdpSocket::bind(local(0)).await.unwrap();
    for listener in transports.listeners() {
        let to = peer.local_addr().unwrap();
        assert!(transports.transmit(transmit(Transport::Udp, listener.bound, to, "x")).is_none());
        let (_, from) = within(peer.recv_from(&mut [0; 10])).await.unwrap();
        assert_eq!(from, listener.bound);
    }
}

#[tokio::test]
async fn ipv6_beside_ipv4() {
    let Some(v6) = any_v6() else {
        println!("skipped: this machine has no ::1");
        return;
    };
    let both = [ListenAddr::udp(local(0)), ListenAddr::udp(v6), ListenAddr::tcp(v6)];
    let (transports, mut inbox) = Transports::bind(&both, Limits::default()).unwrap();
    let ours = transports.listeners()[1].bound;
    let peer = UdpSocket::bind(v6).await.unwrap();
    peer.send_to(request("OPTIONS", "c1", None, "").as_bytes(), ours).await.unwrap();
    let (hop, _) = next_message(&mut inbox).await;
    assert_eq!(hop.local, ours);
    // A wrong local address still finds a socket of the right family.
    let sent = transmit(Transport::Udp, local(9), hop.remote, "x");
    assert!(transports.transmit(sent).is_none());
    let (_, from) = within(peer.recv_from(&mut [0; 10])).await.unwrap();
    assert_eq!(from, ours);
}

#[tokio::test]
async fn garbage_is_reported_and_keepalives_are_not() {
    let (transports, mut inbox) = Transports::bind(&[ListenAddr::udp(local(0))], Limits::default()).unwrap();
    let ours = transports.listeners()[0].bound;
    let peer = UdpSocket::bind(local(0)).await.unwrap();
    for datagram in [&b""[..], b"\r\n\r\n", b"\0\0\0\0", b"not SIP at all"] {
        peer.send_to(datagram, ours).await.unwrap();
    }
    match next(&mut inbox).await {
        Input::Malformed { hop, bytes, .. } => {
            assert_eq!((&bytes[..], hop.remote), (&b"not SIP at all"[..], peer.local_addr().unwrap()));
        }
        other => panic!("malformed, not {other:?}"),
    }
    assert_eq!((transports.counts().malformed, transports.counts().received), (1, 0));
}

#[tokio::test]
async fn a_flood_of_invites_cannot_push_out_a_bye() {
    let limits = Limits { new_work: 3, rest: 2, ..Limits::default() };
    let (transports, mut inbox) = Transports::bind(&[ListenAddr::udp(local(0))], limits).unwrap();
    let ours = transports.listeners()[0].bound;
    let peer = UdpSocket::bind(local(0)).await.unwrap();
    for n in 0..50 {
        peer.send_to(request("INVITE", &format!("new{n}"), None, "").as_bytes(), ours).await.unwrap();
    }
    for n in 0..5 {
        peer.send_to(request("BYE", &format!("old{n}"), Some("t"), "").as_bytes(), ours).await.unwrap();
    }
    until(&transports, |counts| counts.received == 55).await;

    let counts = transports.counts();
    assert_eq!((counts.dropped_new_work, counts.dropped_rest), (47, 3));
    let mut order = Vec::new();
    while let Some(Input::Message { message, .. }) = inbox.try_recv() {
        order.push(message.call_id().unwrap().to_string());
    }
    assert_eq!(order, ["old0", "old1", "new0", "new1", "new2"], "what exists comes first");
}

#[tokio::test]
async fn requests_of_known_calls_and_responses_are_no_new_work() {
    let limits = Limits { new_work: 1, ..Limits::default() };
    let (transports, mut inbox) = Transports::bind(&[ListenAddr::udp(local(0))], limits).unwrap();
    let ours = transports.listeners()[0].bound;
    let peer = UdpSocket::bind(local(0)).await.unwrap();
    let response =
        request("X", "response", None, "").replacen("X sip:bob@127.0.0.1 SIP/2.0", "SIP/2.0 200 OK", 1);
    let of_known_calls = [
        request("ACK", "ack", None, ""),
        request("CANCEL", "cancel", None, ""),
        request("INVITE", "reinvite", Some("t"), ""),
        request("INFO", "info", Some("t"), ""),
        response,
    ];
    let new = ["REGISTER", "INVITE", "OPTIONS", "BYE"].map(|method| request(method, "new", None, ""));
    for message in new.iter().chain(&of_known_calls) {
        peer.send_to(message.as_bytes(), ours).await.unwrap();
    }
    until(&transports, |counts| counts.received == 9).await;
    assert_eq!((transports.counts().dropped_new_work, transports.counts().dropped_rest), (3, 0));
    for call in ["ack", "cancel", "reinvite", "info", "response", "new"] {
        assert_eq!(next_message(&mut inbox).await.1.call_id().unwrap(), call);
    }
}

#[tokio::test]
async fn what_cannot_leave_is_reported() {
    let (transports, mut inbox) = Transports::bind(&[ListenAddr::udp(local(0))], Limits::default()).unwrap();
    let ours = transports.listeners()[0].bound;
    let too_long = "x".repeat(70_000);
    for (to, payload) in [("[::1]:5060", "no socket of that family"), ("127.0.0.1:5060", &too_long)] {
        let remote = to.parse().unwrap();
        let report = match transports.transmit(transmit(Transport::Udp, ours, remote, payload)) {
            Some(at_once) => at_once,
            None => next(&mut inbox).await,
        };
        match report {
            Input::Unsent { payload: reported, kind } => {
                assert_eq!((&reported[..], kind), (payload.as_bytes(), TransportErrorKind::Local));
            }
            other => panic!("a report, not {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_taken_address_and_a_missing_public_address_are_named() {
    let (transports, _inbox) = Transports::bind(&[ListenAddr::udp(local(0))], Limits::default()).unwrap();
    let taken = transports.listeners()[0].bound;
    let error = Transports::bind(&[ListenAddr::udp(taken)], Limits::default()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on udp {taken}: ")), "{error}");

    let every = "0.0.0.0:0".parse().unwrap();
    let error = Transports::bind(&[ListenAddr::udp(every)], Limits::default()).unwrap_err();
    assert!(matches!(error, Error::NoPublicAddress { .. }));
    let public = ListenAddr::udp(every).public("192.0.2.7".parse().unwrap());
    let (transports, _inbox) = Transports::bind(&[public], Limits::default()).unwrap();
    let listener = transports.listeners()[0];
    assert_eq!(listener.advertised.to_string(), format!("192.0.2.7:{}", listener.bound.port()));
}

#[tokio::test]
async fn the_inbox_ends_with_the_transports() {
    let all = [ListenAddr::udp(local(0)), ListenAddr::tcp(local(0))];
    let (transports, mut inbox) = Transports::bind(&all, Limits::default()).unwrap();
    let bound = transports.listeners()[0].bound;
    drop(transports);
    assert!(within(inbox.recv()).await.is_none());
    UdpSocket::bind(bound).await.expect("the port is free again");
}
