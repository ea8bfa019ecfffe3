//! Calls that go as they should.

use crate::net::*;
use sip_core::*;

#[test]
fn a_call_is_answered_and_the_caller_hangs_up() {
    let mut net = Net::pair();
    let (a, _) = net.established();
    net.hangup(A, a);
    net.run_until_quiet();
    assert_eq!(
        net.ladder(),
        ["> INVITE", "< 100 INVITE", "< 180 INVITE", "< 200 INVITE", "> ACK", "> BYE", "< 200 BYE"]
    );
    assert_eq!(net.story(A), ["180", "answered", "ended Local Bye"]);
    assert_eq!(net.story(B), ["incoming", "confirmed", "ended Remote Bye"]);
}

#[test]
fn the_callee_hangs_up() {
    let mut net = Net::pair();
    let (_, b) = net.established();
    net.hangup(B, b);
    net.run_until_quiet();
    assert_eq!(net.ladder()[5..], ["< BYE", "> 200 BYE"]);
    assert_eq!(net.story(A), ["180", "answered", "ended Remote Bye"]);
    assert_eq!(net.story(B), ["incoming", "confirmed", "ended Local Bye"]);
}

#[test]
fn the_reason_of_a_bye_reaches_the_peer() {
    let mut net = Net::pair();
    let (a, _) = net.established();
    let reason = Reason { protocol: ReasonProtocol::Q850, cause: 16, text: Some("Normal".into()) };
    net.act(A, |endpoint, now| {
        endpoint.hangup(now, a, Hangup { reason: Some(reason), ..Hangup::default() }).unwrap()
    });
    net.run_until_quiet();
    assert_eq!(net.last("BYE").header(Name::Reason), Some("Q.850;cause=16;text=\"Normal\""));
    let ended = net.phone(B).events.last().cloned();
    assert!(
        matches!(ended, Some((_, Event::Session { event: SessionEvent::Ended { q850: Some(16), .. }, .. }))),
        "{ended:?}"
    );
}

#[test]
fn requests_of_a_dialog_agree_with_its_invite() {
    let mut net = Net::pair();
    let (a, _) = net.established();
    net.hangup(A, a);
    net.run_until_quiet();
    let (invite, ok, ack, bye) =
        (net.last("INVITE"), net.last("200 INVITE"), net.last("ACK"), net.last("BYE"));
    for request in [&ack, &bye] {
        assert_eq!(request.header(Name::CallId), invite.header(Name::CallId));
        assert_eq!(request.header(Name::From), invite.header(Name::From));
        assert_eq!(request.header(Name::To), ok.header(Name::To));
        assert_eq!(request.request_uri_str(), "sip:bob@10.0.0.2:5060");
        assert_ne!(request.top_via().unwrap().branch(), invite.top_via().unwrap().branch());
    }
    assert_eq!(ack.cseq().unwrap().number, invite.cseq().unwrap().number);
    assert!(bye.cseq().unwrap().number > invite.cseq().unwrap().number);
    assert_eq!(invite.header(Name::Other("X-Campaign")), Some("7"));
    assert_eq!(invite.max_forwards(), Ok(Some(70)));
    assert_eq!(ok.body().as_ref(), b"v=0 answer");
}

#[test]
fn the_call_id_is_known_at_once() {
    let mut net = Net::pair();
    let a = net.call(A, B);
    let call_id = net.phone(A).endpoint.session_call_id(a).cloned();
    assert_eq!(call_id.as_deref(), net.last("INVITE").header(Name::CallId));
    net.hangup(A, a);
}

#[test]
fn a_call_is_unheard_until_the_first_response_of_whatever_kind() {
    let mut net = Net::new();
    net.add(A, Transport::Udp);
    let a = net.call(A, R);
    net.run_for(std::time::Duration::from_millis(100));
    let invite = net.expect_raw(R, "INVITE");
    assert!(net.phone(A).endpoint.is_unheard(a));
    net.send_raw(R, A, &response_to(&invite, 100, "", ""));
    net.run_for(std::time::Duration::from_secs(1));
    assert!(!net.phone(A).endpoint.is_unheard(a), "100 Trying is no event, but an answer");
    assert!(net.story(A).is_empty());
}

#[test]
fn a_rejected_call_says_why() {
    let mut net = Net::pair();
    net.react(B, |phone, now, event| {
        if let Event::Session { id, event: SessionEvent::Incoming { .. } } = event {
            let headers =
                [("Retry-After".to_owned(), "18".to_owned()), ("Reason".into(), "Q.850;cause=17".into())];
            phone.endpoint.reject(now, *id, 486, &headers).unwrap();
        }
    });
    net.call(A, B);
    net.run_until_quiet();
    assert_eq!(net.ladder(), ["> INVITE", "< 100 INVITE", "< 486 INVITE", "> ACK"]);
    let failed = net.phone(A).events.pop().unwrap().1;
    let Event::Session { event: SessionEvent::Failed(failure), .. } = failed else { panic!("{failed:?}") };
    let Failure { cause, reason_phrase, q850, retry_after, contacts, message } = failure;
    assert_eq!((cause, reason_phrase.as_str()), (FailureCause::Response(486), "Busy Here"));
    assert_eq!((q850, retry_after, contacts), (Some(17), Some(secs(18)), vec![]));
    assert_eq!(message.unwrap().status(), Some(486));
    assert_eq!(net.story(B), ["incoming", "failed Response(486)"]);
}

#[test]
fn hanging_up_an_inbound_call_that_is_not_answered_declines_it() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    net.call(A, B);
    net.run_for(secs(1));
    let b = net.session(B);
    net.hangup(B, b);
    net.run_until_quiet();
    assert_eq!(net.story(A), ["180", "failed Response(603)"]);
}

#[test]
fn early_media_comes_once_however_often_it_is_repeated() {
    let mut net = Net::pair();
    net.react(B, |phone, now, event| {
        if let Event::Session { id, event: SessionEvent::Incoming { .. } } = event {
            phone.endpoint.ring(now, *id, 183, Some(Body::sdp(&b"early"[..]))).unwrap();
            phone.endpoint.ring(now, *id, 183, Some(Body::sdp(&b"early"[..]))).unwrap();
            phone.endpoint.ring(now, *id, 180, None).unwrap();
        }
    });
    let a = net.call(A, B);
    net.run_for(secs(1));
    assert_eq!(net.story(A), ["183 with body", "180"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn the_route_of_proxies_is_kept_and_reversed() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let routes = "Record-Route: <sip:10.0.0.9;lr>\nRecord-Route: <sip:10.0.0.8:5070;lr>\n\
                  Contact: <sip:bob@phone.example.com>\n";
    net.send_raw(R, A, &response_to(&invite, 200, "r1", routes));
    // The first of the reversed list is the next hop.
    let ack = net.expect_raw("10.0.0.8:5070", "ACK");
    assert_eq!(ack.request_uri_str(), "sip:bob@phone.example.com");
    assert_eq!(ack.headers(Name::Route).collect::<Vec<_>>(), ["<sip:10.0.0.8:5070;lr>", "<sip:10.0.0.9;lr>"]);
    net.hangup(A, a);
    let bye = net.expect_raw("10.0.0.8:5070", "BYE");
    assert_eq!(bye.headers(Name::Route).count(), 2);
    net.send_raw("10.0.0.8:5070", A, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn a_strict_router_gets_the_target_in_the_last_route() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let routes =
        "Record-Route: <sip:10.0.0.9;lr>, <sip:10.0.0.8:5070>\nContact: <sip:bob@phone.example.com>\n";
    net.send_raw(R, A, &response_to(&invite, 200, "r1", routes));
    let ack = net.expect_raw("10.0.0.8:5070", "ACK");
    assert_eq!(ack.request_uri_str(), "sip:10.0.0.8:5070");
    assert_eq!(
        ack.headers(Name::Route).collect::<Vec<_>>(),
        ["<sip:10.0.0.9;lr>", "<sip:bob@phone.example.com>"]
    );
    net.hangup(A, a);
    let bye = net.expect_raw("10.0.0.8:5070", "BYE");
    net.send_raw("10.0.0.8:5070", A, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn the_callee_keeps_the_record_route_in_order() {
    let mut net = Net::pair();
    answer_calls(&mut net, B);
    net.send_raw(
        R,
        B,
        &format!(
            "INVITE sip:bob@10.0.0.2 SIP/2.0\nVia: SIP/2.0/UDP {R};branch=z9hG4bK1\nFrom: <sip:x@y>;tag=f\n\
         To: <sip:bob@10.0.0.2>\nCall-ID: 1\nCSeq: 1 INVITE\nContact: <sip:x@10.0.0.7>\n\
         Record-Route: <sip:10.0.0.8:5070;lr>\nRecord-Route: <sip:10.0.0.9;lr>\n\n"
        ),
    );
    let ok = net.expect_raw(R, "200 INVITE");
    assert_eq!(ok.headers(Name::RecordRoute).count(), 2);
    let to = ok.header(Name::To).unwrap().to_owned();
    net.send_raw(
        R,
        B,
        &format!(
            "ACK sip:bob@10.0.0.2 SIP/2.0\nVia: SIP/2.0/UDP {R};branch=z9hG4bK2\nFrom: <sip:x@y>;tag=f\n\
         To: {to}\nCall-ID: 1\nCSeq: 1 ACK\n\n"
        ),
    );
    let b = net.session(B);
    net.hangup(B, b);
    let bye = net.expect_raw("10.0.0.8:5070", "BYE");
    assert_eq!(bye.headers(Name::Route).collect::<Vec<_>>(), ["<sip:10.0.0.8:5070;lr>", "<sip:10.0.0.9;lr>"]);
    assert_eq!(bye.request_uri_str(), "sip:x@10.0.0.7");
    net.send_raw("10.0.0.8:5070", B, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn a_trunk_by_name_is_looked_up_and_its_next_address_tried_after_a_transport_error() {
    let mut net = Net::pair();
    answer_calls(&mut net, B);
    let mut call = invite(B);
    call.target.host = "trunk.example.com".into();
    let a = net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    assert_eq!(net.phone(A).queries[0].1, "trunk.example.com");
    net.resolve(A, &[R, B]);
    assert_eq!(net.wire.last().unwrap().to, addr(R));
    net.input(
        A,
        Input::TransportError {
            transport: Transport::Udp,
            remote: addr(R),
            kind: TransportErrorKind::Refused,
        },
    );
    assert_eq!(net.story(A), ["180", "answered"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_message_that_could_not_be_sent_fails_its_own_call_only() {
    let mut net = Net::pair();
    let calls = [net.call(A, R), net.call(A, R), net.call(A, R)];
    let invites: Vec<_> = net.wire.iter().map(|seen| seen.message.as_bytes().clone()).collect();
    assert_eq!(invites.len(), calls.len());
    net.input(A, Input::Unsent { payload: invites[1].clone(), kind: TransportErrorKind::Unreachable });
    assert_eq!(net.story(A), ["failed Transport"]);
    let last = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&last, 486, "r", ""));
    net.run_for(secs(0));
    assert_eq!(net.story(A), ["failed Transport", "failed Response(486)"]);
    // What is no request of ours, or of a transaction that is over, changes nothing.
    for payload in [invites[1].clone(), "rubbish".into(), "SIP/2.0 200 OK\r\n\r\n".into()] {
        net.input(A, Input::Unsent { payload, kind: TransportErrorKind::Local });
    }
    assert_eq!(net.story(A).len(), 2);
    net.hangup(A, calls[0]);
    net.run_until_quiet();
}

#[test]
fn a_503_of_one_address_leads_to_the_next() {
    let mut net = Net::pair();
    answer_calls(&mut net, B);
    let mut call = invite(B);
    call.target.host = "trunk.example.com".into();
    let a = net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.resolve(A, &[R, B]);
    let first = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&first, 503, "r1", ""));
    net.run_for(secs(1));
    assert_eq!(net.story(A), ["180", "answered"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_name_without_addresses_fails_the_call() {
    let mut net = Net::pair();
    let mut call = invite(B);
    call.target.host = "nowhere.example.com".into();
    net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.resolve(A, &[]);
    net.run_until_quiet();
    assert_eq!(net.story(A), ["failed Resolve"]);
}

#[test]
fn hanging_up_while_the_name_is_looked_up_sends_nothing() {
    let mut net = Net::pair();
    let mut call = invite(B);
    call.target.host = "trunk.example.com".into();
    let a = net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.hangup(A, a);
    net.resolve(A, &[B]);
    net.run_until_quiet();
    assert_eq!(net.story(A), ["failed Cancelled"]);
    assert!(net.wire.is_empty());
}

#[test]
fn ack_and_bye_wait_for_the_name_in_the_contact() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 200, "r1", "Contact: <sip:bob@phone.example.com:5099>\n"));
    net.hangup(A, a);
    assert_eq!(net.count("ACK"), 0);
    net.resolve(A, &["10.0.0.7:5099"]);
    net.expect_raw("10.0.0.7:5099", "ACK");
    let bye = net.expect_raw("10.0.0.7:5099", "BYE");
    net.send_raw("10.0.0.7:5099", A, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn a_call_over_tcp_names_tcp_and_comes_back_on_the_stream() {
    let mut net = Net::new();
    net.add(A, Transport::Tcp);
    net.add(B, Transport::Tcp);
    answer_calls(&mut net, B);
    let mut call = invite(B);
    call.target.transport = Some(Transport::Tcp);
    let a = net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.run_for(secs(1));
    net.hangup(A, a);
    net.run_until_quiet();
    assert!(net.last("INVITE").header(Name::Via).unwrap().starts_with("SIP/2.0/TCP 10.0.0.1:5060;"));
    assert_eq!(net.last("INVITE").header(Name::Contact), Some("<sip:alice@10.0.0.1:5060;transport=tcp>"));
    assert_eq!(net.story(B), ["incoming", "confirmed", "ended Remote Bye"]);
}

#[test]
fn header_fields_that_the_endpoint_writes_are_refused() {
    let mut net = Net::pair();
    for (name, value) in [("Via", "x"), ("call-id", "x"), ("X-A", "b\r\nc"), ("X A", "b")] {
        let mut call = invite(B);
        call.headers = vec![("X-Fine".into(), "1".into()), (name.into(), value.into())];
        let refused = net.act(A, |endpoint, now| endpoint.invite(now, call));
        assert_eq!(refused, Err(Error::Header { index: 1 }), "{name}");
    }
    assert_eq!(net.phone(A).endpoint.sessions(), 0);
}
