//! Header fields that the users of both ends read and write, and those that the endpoint keeps through a call.

use crate::net::*;
use crate::requests::{called_by_r, request};
use sip_core::*;

#[test]
fn both_halves_of_the_session_id_stay_through_the_call() {
    let mut net = Net::pair();
    let (a, b) = net.established();
    net.act(A, |endpoint, now| endpoint.info(now, a, crate::info::relay()).unwrap());
    net.run_for(secs(0));
    net.hangup(B, b);
    net.run_until_quiet();
    let caller = net.last("INVITE").session_identifier().unwrap().unwrap();
    let callee = net.last("200 INVITE").session_identifier().unwrap().unwrap();
    assert_eq!((caller.remote, callee.remote), (0, caller.local));
    assert!(callee.local != 0 && callee.local != caller.local);
    for (label, local, remote) in [
        ("180 INVITE", callee.local, caller.local),
        ("ACK", caller.local, callee.local),
        ("INFO", caller.local, callee.local),
        ("200 INFO", callee.local, caller.local),
        ("BYE", callee.local, caller.local),
        ("200 BYE", caller.local, callee.local),
    ] {
        let identifier = net.last(label).session_identifier().unwrap();
        assert_eq!(identifier, Some(SessionIdentifier { local, remote }), "{label}");
    }
    // A CANCEL and the ACK of a refusal say what their INVITE says.
    ring_only(&mut net, B);
    let a = net.call(A, B);
    net.run_for(secs(1));
    net.hangup(A, a);
    net.run_until_quiet();
    let invite = net.last("INVITE").session_identifier();
    assert_eq!(net.last("CANCEL").session_identifier(), invite);
    assert_eq!(net.last("ACK").session_identifier(), invite);
    assert_eq!(
        net.last("487 INVITE").session_identifier().unwrap().unwrap().remote,
        invite.unwrap().unwrap().local
    );
}

#[test]
fn peers_without_a_session_id_are_nil_and_it_can_be_switched_off() {
    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    let identifier = ok.session_identifier().unwrap().unwrap();
    assert_eq!(identifier.remote, 0);
    let b = net.session(B);
    net.hangup(B, b);
    assert_eq!(net.last("BYE").session_identifier(), Ok(Some(identifier)));
    let mut net = Net::new();
    net.add_with(A, Transport::Udp, |config| config.session_ids = false);
    net.add_with(B, Transport::Udp, |config| config.session_ids = false);
    let (a, _) = net.established();
    net.hangup(A, a);
    net.run_until_quiet();
    assert!(net.wire.iter().all(|seen| seen.message.header(Name::SessionId).is_none()));
}

#[test]
fn a_3xx_tells_its_contacts_in_order_and_what_else_a_refusal_says_is_there_to_read() {
    let mut net = Net::pair();
    net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let more = "Contact: <sip:low@h>;q=0.2, <sip:first@h>, <sip:x@h>;q=0.9;expires=60\n\
                Contact: <sip:second@h>;q=1.0\nContact: <sip:third@h>;q=0.9\nRetry-After: 30\n\
                Warning: 399 gw \"Try elsewhere\"\nReason: SIP;cause=302\nReason: Q.850;cause=3;text=\"No route\"\n\
                Error-Info: <sip:sorry@h>\nX-Carrier: 7\n";
    net.send_raw(R, A, &response_to(&invite, 302, "r1", more));
    let Some((_, Event::Session { event: SessionEvent::Failed(failure), .. })) = net.phone(A).events.pop()
    else {
        panic!()
    };
    let users: Vec<_> = failure.contacts.iter().map(|contact| contact.uri().user().unwrap()).collect();
    assert_eq!(users, ["first", "second", "x", "third", "low"]);
    assert_eq!((failure.q850, failure.retry_after), (Some(3), Some(secs(30))));
    let message = failure.message.unwrap();
    assert_eq!(message.reasons().map(|reason| reason.cause).collect::<Vec<_>>(), [302, 3]);
    assert_eq!(message.warnings().next().unwrap().text, "Try elsewhere");
    assert_eq!(message.header(Name::Other("X-Carrier")), Some("7"));
}

#[test]
fn only_a_3xx_has_contacts_to_follow() {
    for (status, count) in [(302, 1), (486, 0)] {
        let mut net = Net::pair();
        net.call(A, R);
        net.run_for(secs(0));
        let invite = net.expect_raw(R, "INVITE");
        net.send_raw(R, A, &response_to(&invite, status, "r1", "Contact: <sip:x@h>\n"));
        let Some((_, Event::Session { event: SessionEvent::Failed(failure), .. })) =
            net.phone(A).events.pop()
        else {
            panic!()
        };
        assert_eq!(failure.contacts.len(), count, "{status}");
    }
}

#[test]
fn header_fields_of_the_answer_and_of_the_bye_are_read_and_those_of_our_bye_written() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let more = format!("Contact: <sip:r@{R}>\nP-Asserted-Identity: <tel:+62811>\nX-Leg: 9\n");
    net.send_raw(R, A, &response_to(&invite, 200, "r1", &more));
    let Some((_, Event::Session { event: SessionEvent::Answered { response, .. }, .. })) =
        net.phone(A).events.pop()
    else {
        panic!()
    };
    assert_eq!(response.header(Name::Other("X-Leg")), Some("9"));
    let who = response.addresses(Name::PAssertedIdentity).next().unwrap().unwrap();
    assert_eq!(who.uri().user(), Some("+62811"));
    let hangup = Hangup {
        reason: Some(Reason { protocol: ReasonProtocol::Q850, cause: 16, text: None }),
        headers: vec![("Reason".into(), "SIP;cause=200".into()), ("X-Cdr".into(), "1".into())],
        ..Hangup::default()
    };
    let bad = Hangup { headers: vec![("CSeq".into(), "1".into())], ..Hangup::default() };
    let refused = net.act(A, |endpoint, now| endpoint.hangup(now, a, bad));
    assert_eq!(refused, Err(Error::Header { index: 0 }));
    net.act(A, |endpoint, now| endpoint.hangup(now, a, hangup).unwrap());
    net.run_for(secs(0));
    let bye = net.expect_raw(R, "BYE");
    assert_eq!(bye.reasons().map(|reason| reason.cause).collect::<Vec<_>>(), [16, 200]);
    assert_eq!(bye.header(Name::Other("X-Cdr")), Some("1"));
    net.send_raw(R, A, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();

    let (mut net, text) = (Net::pair(), "Reason: Q.850;cause=31\nX-Note: bye\n");
    let ok = called_by_r(&mut net);
    net.send_raw(R, B, &crate::requests::in_dialog(&ok, "BYE", 6, text));
    let Some((_, Event::Session { event: SessionEvent::Ended { q850, bye, .. }, .. })) =
        net.phone(B).events.pop()
    else {
        panic!()
    };
    assert_eq!((q850, bye.unwrap().header(Name::Other("X-Note"))), (Some(31), Some("bye")));
}

#[test]
fn an_unanswered_call_is_refused_with_the_users_header_fields() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    let contact = format!("Contact: <sip:r@{R}>\n");
    net.send_raw(R, B, &request("INVITE", &format!("{R};branch=z9hG4bK-h"), &contact));
    let b = net.session(B);
    let headers = vec![("Retry-After".into(), "60".into())];
    let hangup = Hangup { status: Some(480), headers, ..Hangup::default() };
    net.act(B, |endpoint, now| endpoint.hangup(now, b, hangup).unwrap());
    net.run_for(secs(0));
    assert_eq!(net.expect_raw(R, "480 INVITE").retry_after(), Ok(Some(secs(60))));
}

#[test]
fn what_is_sent_and_received_shows_nothing_of_its_content_in_a_log() {
    let mut net = Net::pair();
    let act = |endpoint: &mut Endpoint, now| {
        endpoint.invite(now, invite(R)).unwrap();
        std::iter::from_fn(|| endpoint.poll_output()).collect::<Vec<_>>()
    };
    let outputs = net.act(A, act);
    let [Output::Transmit(transmit)] = &outputs[..] else { panic!() };
    let (hop, payload) =
        (Hop { transport: Transport::Udp, local: addr(A), remote: addr(R) }, &transmit.payload);
    let unsent = Input::Unsent { payload: payload.clone(), kind: TransportErrorKind::Local };
    let malformed = Input::Malformed { hop, bytes: payload.slice(20..), error: ParseError::Number };
    let logged = format!("{outputs:?} {unsent:?} {malformed:?}");
    assert!(logged.contains("INVITE") && !logged.contains("bob") && !logged.contains("SIP/2.0"), "{logged}");
}
