//! Several destinations of one target (RFC 3263 section 4.3): which is tried, which is avoided.

use crate::net::*;
use sip_core::*;

const NAME: &str = "sip.example.com";

/// A call from `a` to the name, which is at these addresses.
fn call(net: &mut Net, addresses: &[&str]) -> SessionId {
    let mut invite = invite(B);
    invite.target = Target { host: NAME.into(), ..Target::default() };
    let id = net.act(A, |endpoint, now| endpoint.invite(now, invite).unwrap());
    net.resolve(A, addresses);
    id
}

/// Where the INVITEs since the last question went, one after the other.
fn tried(net: &mut Net) -> Vec<String> {
    let mut tried: Vec<String> = Vec::new();
    for seen in net.wire.drain(..).filter(|seen| seen.label() == "INVITE") {
        let to = seen.to.to_string();
        if tried.last() != Some(&to) {
            tried.push(to);
        }
    }
    tried
}

fn pair() -> Net {
    let mut net = Net::pair();
    answer_calls(&mut net, B);
    net
}

#[test]
fn after_one_call_has_waited_for_a_dead_address_the_next_ones_do_not() {
    let mut net = pair();
    call(&mut net, &[R, B]);
    net.run_for(secs(33));
    assert_eq!(tried(&mut net), [R, B]);
    for _ in 0..3 {
        call(&mut net, &[R, B]);
        net.run_for(secs(5));
        assert_eq!(tried(&mut net), [B], "the dead address is tried last");
    }
}

#[test]
fn a_dead_address_is_tried_again_after_a_minute_by_one_call_only() {
    let mut net = pair();
    call(&mut net, &[R, B]);
    net.run_for(secs(32 + 60));
    tried(&mut net);
    call(&mut net, &[R, B]);
    call(&mut net, &[R, B]);
    // Before the first retransmission.
    net.run_for(ms(400));
    assert_eq!(tried(&mut net), [R, B]);
}

#[test]
fn an_address_that_answers_again_is_the_first_again() {
    let mut net = pair();
    call(&mut net, &[R, B]);
    net.run_for(secs(32 + 60));
    while net.receive_raw(R).is_some() {}
    call(&mut net, &[R, B]);
    let probe = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&probe, 486, "x", ""));
    tried(&mut net);
    call(&mut net, &[R, B]);
    net.run_for(secs(1));
    assert_eq!(tried(&mut net), [R]);
}

#[test]
fn a_retry_after_keeps_other_requests_away_for_as_long() {
    let mut net = pair();
    call(&mut net, &[R, B]);
    let first = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&first, 503, "x", "Retry-After: 120\n"));
    net.run_for(secs(119));
    tried(&mut net);
    call(&mut net, &[R, B]);
    net.run_for(ms(500));
    assert_eq!(tried(&mut net), [B]);
    net.run_for(secs(1));
    call(&mut net, &[R, B]);
    net.run_for(ms(400));
    assert_eq!(tried(&mut net), [R]);
}

#[test]
fn a_503_without_retry_after_is_that_requests_own_affair() {
    let mut net = pair();
    call(&mut net, &[R, B]);
    let first = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&first, 503, "x", ""));
    net.run_for(secs(1));
    assert_eq!(tried(&mut net), [R, B]);
    call(&mut net, &[R, B]);
    net.run_for(ms(400));
    assert_eq!(tried(&mut net), [R]);
}

#[test]
fn an_only_address_is_tried_however_often_it_failed() {
    let mut net = pair();
    for _ in 0..3 {
        call(&mut net, &[R]);
        net.run_for(secs(40));
        assert_eq!(tried(&mut net), [R]);
    }
}

#[test]
fn a_refused_connection_leads_to_the_next_transport() {
    let mut net = Net::new();
    net.add_with(A, Transport::Udp, |config| {
        config.listeners.push(Listener { transport: Transport::Tcp, ..config.listeners[0] });
    });
    net.add(B, Transport::Udp);
    answer_calls(&mut net, B);
    let mut invite = invite(B);
    invite.target = Target { host: NAME.into(), ..Target::default() };
    net.act(A, |endpoint, now| endpoint.invite(now, invite).unwrap());
    let list = vec![
        Destination { transport: Transport::Tcp, address: addr(R) },
        Destination { transport: Transport::Udp, address: addr(B) },
    ];
    net.resolve_to(A, list);
    let refused = TransportErrorKind::Refused;
    net.input(A, Input::TransportError { transport: Transport::Tcp, remote: addr(R), kind: refused });
    net.run_for(secs(1));
    assert_eq!(net.story(A), ["180", "answered"]);
    let contact = net.last("INVITE").header(Name::Contact).unwrap().to_owned();
    assert!(!contact.contains("transport=tcp"), "the Contact is that of the way taken");
    assert_eq!(tried(&mut net), [R, B]);
}

#[test]
fn an_info_that_nobody_answers_says_nothing_of_the_gateway() {
    let mut net = Net::pair();
    let (a, _) = net.answered_by_r("");
    net.act(A, |endpoint, now| endpoint.info(now, a, crate::info::relay()).unwrap());
    net.run_for(secs(33));
    assert_eq!(net.story(A).last().unwrap(), "info answered 408");
    net.hangup(A, a);
    let bye = net.expect_raw(R, "BYE");
    net.send_raw(R, A, &response_to(&bye, 200, "", ""));
    net.wire.clear();
    call(&mut net, &[R, B]);
    net.run_for(ms(100));
    assert_eq!(tried(&mut net), [R]);
}
