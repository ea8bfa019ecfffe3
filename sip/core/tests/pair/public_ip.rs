//! A trunk that is told another address of ours than the listener's: in every Via and Contact of a call, or the carrier's
//! ACK and BYE go nowhere.

use crate::net::*;
use sip_core::*;

const PUBLIC: &str = "198.51.100.1";

/// Every Via and Contact that `at` has written about itself says the public address.
fn check_told(net: &Net, at: &str) {
    let ours = net.wire.iter().filter(|seen| seen.from == addr(at));
    for seen in ours {
        let vias = seen.message.top_via().ok().filter(|_| seen.message.is_request());
        let hosts = vias.map(|via| via.host().to_string());
        let contacts = seen.message.contacts().map(|contact| contact.unwrap().addr().unwrap().uri().clone());
        for host in hosts.into_iter().chain(contacts.map(|uri| uri.host().unwrap().to_string())) {
            assert_eq!(host, PUBLIC, "{} at {:?}", seen.label(), seen.at);
        }
    }
}

#[test]
fn a_carrier_that_calls_is_told_the_public_address_from_the_first_ring_to_the_bye() {
    let mut net = Net::pair();
    net.react(B, |phone, now, event| {
        if let Event::Session { id, event: SessionEvent::Incoming { .. } } = event {
            phone.endpoint.set_public_ip(*id, PUBLIC.parse().unwrap()).unwrap();
            phone.endpoint.ring(now, *id, 180, None).unwrap();
            let late = phone.endpoint.set_public_ip(*id, PUBLIC.parse().unwrap());
            assert_eq!(late, Err(Error::WrongState));
            phone.endpoint.answer(now, *id, Some(sdp("answer"))).unwrap();
        }
    });
    net.send_raw(R, B, &invite_of_caller("", "offer"));
    let ok = net.expect_raw(R, "200 INVITE");
    net.send_raw(R, B, &of_caller(&ok, "ACK", 1, "", ""));
    net.send_raw(R, B, &of_caller(&ok, "UPDATE", 2, "", ""));
    net.expect_raw(R, "200 UPDATE");
    let b = net.session(B);
    net.offer(B, b, "again");
    let reinvite = net.expect_raw(R, "INVITE");
    net.send_raw(R, B, &response_with(&reinvite, 200, "", &format!("Contact: <sip:r@{R}>\n"), "so"));
    net.hangup(B, b);
    let bye = net.expect_raw(R, "BYE");
    net.send_raw(R, B, &response_to(&bye, 200, "", ""));
    check_told(&net, B);
    assert_eq!(net.wire.iter().filter(|seen| seen.message.contacts().next().is_some()).count(), 4);
    net.run_until_quiet();
}

#[test]
fn a_carrier_that_is_called_is_told_it_again_when_it_refreshes_the_call() {
    let mut net = Net::pair();
    let target = Target { public_ip: PUBLIC.parse().ok(), ..target(R) };
    let a = net.act(A, |endpoint, now| endpoint.invite(now, Invite { target, ..invite(R) }).unwrap());
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let here = format!("Contact: <sip:r@{R}>\n");
    net.send_raw(R, A, &response_with(&invite, 200, "r1", &here, "answer"));
    net.expect_raw(R, "ACK");
    net.send_raw(R, A, &of_callee(&invite, "r1", "UPDATE", 1, "", ""));
    net.expect_raw(R, "200 UPDATE");
    net.send_raw(R, A, &of_callee(&invite, "r1", "INVITE", 2, "", "answer"));
    net.expect_raw(R, "200 INVITE");
    net.send_raw(R, A, &of_callee(&invite, "r1", "ACK", 2, "", ""));
    net.hangup(A, a);
    let bye = net.expect_raw(R, "BYE");
    net.send_raw(R, A, &response_to(&bye, 200, "", ""));
    check_told(&net, A);
    net.run_until_quiet();
}

#[test]
fn a_callers_scheme_is_answered_in_kind() {
    for (to, from, scheme) in [("sips", "sip", "<sips:"), ("sip", "sips", "<sips:"), ("sip", "sip", "<sip:")]
    {
        let mut net = Net::new();
        net.add(B, Transport::Tls);
        answer_calls(&mut net, B);
        let text = invite_of_caller("", "offer")
            .replace("INVITE sip:", &format!("INVITE {to}:"))
            .replace("Contact: <sip:", &format!("Contact: <{from}:"));
        let hop = Hop { transport: Transport::Tls, local: addr(B), remote: addr(R) };
        net.input(B, arrival(hop, text.replace('\n', "\r\n").into()));
        let ok = net.last("200 INVITE");
        assert!(ok.header(Name::Contact).unwrap().starts_with(scheme), "{to} {from}");
    }
}
