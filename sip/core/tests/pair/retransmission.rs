//! Who repeats what, when, and for how long.

use std::time::Duration;

use crate::net::*;
use sip_core::*;

/// Intervals that double from 500 ms, as points in time, until `until`.
fn doubling(cap: Duration, until: Duration) -> Vec<Duration> {
    let (mut at, mut interval, mut times) = (Duration::ZERO, ms(500), vec![Duration::ZERO]);
    while at + interval < until {
        at += interval;
        times.push(at);
        interval = (interval * 2).min(cap);
    }
    times
}

#[test]
fn an_unanswered_invite_is_repeated_with_doubling_intervals_and_fails_after_64_t1() {
    let mut net = Net::pair();
    net.call(A, R);
    net.run_until_quiet();
    assert_eq!(net.times("INVITE"), [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500].map(ms));
    assert_eq!(net.story(A), ["failed Timeout"]);
    assert_eq!(net.phone(A).events[0].0, secs(32));
}

#[test]
fn a_provisional_response_stops_the_repetition() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    net.lose("INVITE", 2);
    let a = net.call(A, B);
    net.run_for(secs(600));
    assert_eq!(net.times("INVITE"), [0, 500, 1_500].map(ms));
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_ringing_callee_repeats_its_provisional_response_every_minute() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    let a = net.call(A, B);
    net.run_for(secs(190));
    assert_eq!(net.times("180 INVITE"), [0, 60, 120, 180].map(secs));
    assert_eq!(net.story(A), ["180"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_repeated_invite_gets_the_last_provisional_response_and_makes_one_session() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    net.lose("100 INVITE", 1);
    net.lose("180 INVITE", 1);
    let a = net.call(A, B);
    net.run_for(secs(5));
    assert_eq!(net.times("180 INVITE"), [0, 500].map(ms));
    assert_eq!(net.story(B), ["incoming"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_lost_200_comes_again_and_the_call_stands() {
    let mut net = Net::pair();
    net.lose("200 INVITE", 3);
    let (a, _) = {
        answer_calls(&mut net, B);
        let a = net.call(A, B);
        net.run_for(secs(10));
        (a, net.session(B))
    };
    assert_eq!(net.times("200 INVITE"), [0, 500, 1_500, 3_500].map(ms));
    assert_eq!(net.story(A), ["180", "answered"]);
    assert_eq!(net.story(B), ["incoming", "confirmed"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_lost_ack_is_sent_again_for_each_repeated_200() {
    let mut net = Net::pair();
    answer_calls(&mut net, B);
    net.lose("ACK", 2);
    let a = net.call(A, B);
    net.run_for(secs(10));
    assert_eq!(net.times("ACK"), [0, 500, 1_500].map(ms));
    assert_eq!(net.story(A), ["180", "answered"], "told once");
    assert_eq!(net.story(B), ["incoming", "confirmed"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn without_an_ack_the_200_is_repeated_up_to_t2_and_the_call_ended_with_a_bye() {
    let mut net = Net::pair();
    answer_calls(&mut net, B);
    net.lose("ACK", u32::MAX);
    net.call(A, B);
    net.run_until_quiet();
    assert_eq!(net.times("200 INVITE"), doubling(secs(4), secs(32)));
    assert_eq!(net.times("BYE"), [secs(32)]);
    assert_eq!(net.story(A), ["180", "answered", "ended Remote Bye"]);
    assert_eq!(net.story(B), ["incoming", "ended Local AckTimeout"]);
}

#[test]
fn a_refusal_is_repeated_until_its_ack() {
    let mut net = Net::pair();
    net.react(B, |phone, now, event| {
        if let Event::Session { id, event: SessionEvent::Incoming { .. } } = event {
            phone.endpoint.reject(now, *id, 486, &[]).unwrap();
        }
    });
    net.lose("486 INVITE", 1);
    net.lose("ACK", 2);
    net.call(A, B);
    net.run_until_quiet();
    assert_eq!(net.times("486 INVITE"), [0, 500, 1_500, 3_500].map(ms));
    assert_eq!(net.times("ACK"), [500, 1_500, 3_500].map(ms));
    assert_eq!(net.story(A), ["failed Response(486)"]);
}

#[test]
fn an_unanswered_bye_is_repeated_up_to_t2_for_64_t1() {
    let mut net = Net::pair();
    let (a, _) = net.established();
    net.lose("BYE", u32::MAX);
    net.hangup(A, a);
    assert_eq!(net.story(A), ["180", "answered", "ended Local Bye"], "whatever becomes of the BYE");
    net.run_for(secs(100));
    assert_eq!(net.times("BYE"), doubling(secs(4), secs(32)));
    assert_eq!(net.phone(A).endpoint.sessions(), 0);
    let b = net.session(B);
    net.hangup(B, b);
    net.run_for(secs(100));
    assert_eq!(net.phone(B).endpoint.sessions(), 0);
}

#[test]
fn over_tcp_nothing_but_the_200_is_repeated() {
    let mut net = Net::new();
    net.add(A, Transport::Tcp);
    let mut call = invite(R);
    call.target.transport = Some(Transport::Tcp);
    net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.run_until_quiet();
    assert_eq!(net.times("INVITE"), [secs(0)]);
    assert_eq!(net.phone(A).events[0].0, secs(32));

    let mut net = Net::new();
    net.add(A, Transport::Tcp);
    net.add(B, Transport::Tcp);
    answer_calls(&mut net, B);
    net.lose("ACK", 1);
    net.lose("BYE", 1);
    let mut call = invite(B);
    call.target.transport = Some(Transport::Tcp);
    let a = net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.run_for(secs(10));
    // RFC 3261 section 13.3.1.4: the 2xx is repeated even so, for a hop behind may be UDP.
    assert_eq!(net.times("200 INVITE"), [0, 500].map(ms));
    net.hangup(A, a);
    net.run_for(secs(40));
    assert_eq!(net.count("BYE"), 1);
    let b = net.session(B);
    net.hangup(B, b);
    net.run_until_quiet();
}

#[test]
fn transactions_linger_as_long_as_the_rfc_says_and_no_longer() {
    let mut net = Net::pair();
    let (a, _) = net.established();
    net.hangup(A, a);
    // INVITE: timers M and L; BYE: timers K and J.
    assert_eq!((net.phone(A).endpoint.transactions(), net.phone(B).endpoint.transactions()), (2, 2));
    net.run_for(ms(5_001));
    assert_eq!((net.phone(A).endpoint.transactions(), net.phone(B).endpoint.transactions()), (1, 2));
    net.run_for(secs(27));
    assert_eq!((net.phone(A).endpoint.transactions(), net.phone(B).endpoint.transactions()), (0, 0));
    assert_eq!(net.phone(A).endpoint.poll_timeout(), None);
    assert_eq!(net.phone(B).endpoint.poll_timeout(), None);
}
