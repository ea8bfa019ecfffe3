//! Phones behind a NAT, which do not know what address they have for others: every request has to go where theirs come
//! from.

use crate::net::*;
use sip_core::*;

/// What the phone believes that its address is; for us it is `r`.
const PRIVATE: &str = "192.168.1.5:5060";
/// Where its requests come from once the NAT has forgotten it.
const MOVED: &str = "10.0.0.4:6000";

/// A call from `a` to the phone that registered by this transport from `r`, and its INVITE.
fn called(net: &mut Net, transport: Transport, contact: &str) -> (SessionId, Message) {
    let flow = Hop { transport, local: addr(A), remote: addr(R) };
    let call = Invite {
        request_uri: uri(contact),
        target: Target { flow: Some(flow), ..target(PRIVATE) },
        ..invite(PRIVATE)
    };
    let id = net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    (id, invite)
}

/// Something that the phone says over its flow.
fn say(net: &mut Net, to: &str, transport: Transport, text: &str) {
    let hop = Hop { transport, local: addr(to), remote: addr(R) };
    net.input(to, arrival(hop, text.replace('\n', "\r\n").into()));
}

#[test]
fn what_follows_an_invite_to_a_flow_takes_the_flow() {
    for (transport, contact) in [
        (Transport::Udp, "sip:bob@192.168.1.5:5060"),
        // Also where a name cannot be looked up from here.
        (Transport::Udp, "sip:bob@phone.home.arpa"),
        (Transport::Tcp, "sip:bob@192.168.1.5:5060;transport=tcp"),
        (Transport::Tls, "sips:bob@192.168.1.5:5061"),
    ] {
        let mut net = Net::new();
        net.add(A, transport);
        let (id, invite) = called(&mut net, transport, contact);
        let reliable = format!("Contact: <{contact}>\nRequire: 100rel\nRSeq: 1\n");
        say(&mut net, A, transport, &response_with(&invite, 183, "phone", &reliable, "answer"));
        let prack = net.expect_raw(R, "PRACK");
        say(&mut net, A, transport, &response_to(&prack, 200, "", ""));
        let here = format!("Contact: <{contact}>\n");
        say(&mut net, A, transport, &response_to(&invite, 200, "phone", &here));
        let ack = net.expect_raw(R, "ACK");
        assert_eq!(ack.request_uri().unwrap().as_str(), contact, "it is the phone's name all the same");
        // Its Contact may change, and is no more reachable than before.
        net.offer(A, id, "again");
        let reinvite = net.expect_raw(R, "INVITE");
        let there = here.replace("bob@", "bob2@");
        say(&mut net, A, transport, &response_with(&reinvite, 200, "", &there, "and again"));
        net.expect_raw(R, "ACK");
        net.hangup(A, id);
        let bye = net.expect_raw(R, "BYE");
        assert!(bye.request_uri().unwrap().as_str().contains("bob2@"));
        say(&mut net, A, transport, &response_to(&bye, 200, "", ""));
        assert!(net.wire.iter().all(|seen| seen.to == addr(R)), "{contact}");
        assert!(net.phone(A).queries.is_empty(), "{contact}");
        net.run_until_quiet();
    }
}

/// An INVITE to `b` from a caller whose Via and Contact say these.
fn invite_from(via: &str, contact: &str, more: &str) -> String {
    invite_of_caller(more, "offer")
        .replace(&format!("UDP {R};"), &format!("UDP {via};"))
        .replace(&format!("Contact: <sip:r@{R}>"), &format!("Contact: <{contact}>"))
}

/// Where the BYE goes at the end of a call from `r`.
fn bye_of(net: &mut Net, via: &str, contact: &str, more: &str) -> std::net::SocketAddr {
    answer_calls(net, B);
    net.send_raw(R, B, &invite_from(via, contact, more));
    let ok = net.last("200 INVITE");
    net.send_raw(R, B, &of_caller(&ok, "ACK", 1, "", ""));
    let b = net.session(B);
    net.hangup(B, b);
    net.wire.last().unwrap().to
}

#[test]
fn a_caller_behind_a_nat_is_hung_up_where_it_called_from() {
    let private = "sip:r@192.168.1.5:5060";
    let elsewhere = "sip:r@10.0.0.7:5060";
    let record_route = "Record-Route: <sip:10.0.0.8:5070;lr>\n";
    for (via, contact, more, expected) in [
        (format!("{PRIVATE};rport"), private, "", R),
        (PRIVATE.to_owned(), private, "", R),
        // Another port of the same host, as behind a NAT on this machine.
        ("10.0.0.3:5999;rport".to_owned(), "sip:r@10.0.0.3:5999", "", R),
        // Without rport that is no NAT, but somebody who sends by another port than he receives by.
        ("10.0.0.3:5999".to_owned(), "sip:r@10.0.0.3:5999", "", "10.0.0.3:5999"),
        // Nor is that one, with an address that is good everywhere: a cluster that sends by another than it receives by.
        ("203.0.113.5".to_owned(), "sip:r@203.0.113.5", "", "203.0.113.5:5060"),
        ("203.0.113.5;rport".to_owned(), "sip:r@203.0.113.5", "", R),
        // And that one is of our own network.
        ("10.9.0.3".to_owned(), "sip:r@10.9.0.3", "", "10.9.0.3:5060"),
        // Somebody who knows his address, or has a proxy that does.
        (format!("{PRIVATE};rport"), elsewhere, "", "10.0.0.7:5060"),
        (R.to_owned(), elsewhere, "", "10.0.0.7:5060"),
        (format!("{PRIVATE};rport"), private, record_route, "10.0.0.8:5070"),
        (
            format!("{PRIVATE};rport"),
            "sip:r@192.168.1.5:5070",
            "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK-9\n",
            "192.168.1.5:5070",
        ),
    ] {
        let mut net = Net::pair();
        assert_eq!(bye_of(&mut net, &via, contact, more), addr(expected), "{via} {contact} {more}");
    }
}

#[test]
fn a_phone_that_gets_another_address_in_mid_call_is_followed() {
    let mut net = Net::pair();
    let (id, invite) = called(&mut net, Transport::Udp, "sip:bob@192.168.1.5:5060");
    let here = "Contact: <sip:bob@192.168.1.5:5060>\n";
    net.send_raw(R, A, &response_with(&invite, 200, "phone", here, "answer"));
    net.expect_raw(R, "ACK");
    // A stranger who does not know the call moves nothing, nor does what comes late.
    net.send_raw("10.0.0.5:5060", A, &of_callee(&invite, "stranger", "INFO", 8, "", ""));
    net.send_raw(MOVED, A, &of_callee(&invite, "phone", "INFO", 7, "", ""));
    net.send_raw(R, A, &of_callee(&invite, "phone", "INFO", 6, "", ""));
    net.hangup(A, id);
    let bye = net.expect_raw(MOVED, "BYE");
    net.send_raw(MOVED, A, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn nothing_moves_a_call_to_another_transport() {
    let mut net = Net::new();
    net.add_with(A, Transport::Tls, |config| {
        config.listeners.push(Listener { transport: Transport::Udp, ..config.listeners[0] });
    });
    let (id, invite) = called(&mut net, Transport::Tls, "sip:bob@192.168.1.5:5061;transport=tls");
    let here = "Contact: <sip:bob@192.168.1.5:5061;transport=tls>\n";
    say(&mut net, A, Transport::Tls, &response_with(&invite, 200, "phone", here, "answer"));
    net.expect_raw(R, "ACK");
    net.send_raw(MOVED, A, &of_callee(&invite, "phone", "INFO", 7, "", ""));
    net.last("200 INFO");
    net.hangup(A, id);
    let bye = net.expect_raw(R, "BYE");
    assert!(bye.header(Name::Via).unwrap().starts_with("SIP/2.0/TLS "));
    say(&mut net, A, Transport::Tls, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn who_knows_its_address_is_not_followed() {
    let mut net = Net::pair();
    let (id, invite) = net.answered_by_r("");
    net.send_raw(MOVED, A, &of_callee(&invite, "r1", "INFO", 1, "", ""));
    net.hangup(A, id);
    net.expect_raw(R, "BYE");
}
