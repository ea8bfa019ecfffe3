//! Two things at once: CANCEL and 200, BYE and BYE, several forks. No call may be left off the hook.

use crate::net::*;
use sip_core::*;

#[test]
fn a_ringing_call_is_cancelled() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    let a = net.call(A, B);
    net.run_for(secs(10));
    net.hangup(A, a);
    net.run_until_quiet();
    assert_eq!(net.ladder()[3..], ["> CANCEL", "< 200 CANCEL", "< 487 INVITE", "> ACK"]);
    assert_eq!(net.story(A), ["180", "failed Cancelled"]);
    assert_eq!(net.story(B), ["incoming", "failed Cancelled"]);
    let (invite, cancel) = (net.last("INVITE"), net.last("CANCEL"));
    for name in [Name::Via, Name::From, Name::To, Name::CallId] {
        assert_eq!(cancel.header(name), invite.header(name), "{name}");
    }
    assert_eq!(cancel.cseq().unwrap().number, invite.cseq().unwrap().number);
    assert_eq!(cancel.request_uri_str(), invite.request_uri_str());
}

#[test]
fn cancel_waits_for_the_first_provisional_response() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    net.lose("INVITE", 2);
    let a = net.call(A, B);
    net.hangup(A, a);
    net.run_for(ms(1_499));
    assert_eq!(net.count("CANCEL"), 0);
    net.run_until_quiet();
    assert_eq!(net.times("CANCEL"), [ms(1_500)]);
    assert_eq!(net.story(A), ["failed Cancelled"]);
    assert_eq!(net.story(B), ["incoming", "failed Cancelled"]);
}

#[test]
fn hanging_up_a_call_that_nobody_takes_ends_with_timer_b() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.hangup(A, a);
    net.run_until_quiet();
    assert_eq!(net.count("CANCEL"), 0);
    assert_eq!(net.story(A), ["failed Timeout"]);
}

#[test]
fn a_200_that_crosses_the_cancel_is_acknowledged_and_hung_up() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    let a = net.call(A, B);
    net.run_for(secs(1));
    let b = net.session(B);
    // Both at once: neither has seen the other's.
    net.act(A, |endpoint, now| endpoint.hangup(now, a, Hangup::default()).unwrap());
    net.act(B, |endpoint, now| endpoint.answer(now, b, None).unwrap());
    net.run_until_quiet();
    assert_eq!(
        net.ladder()[3..],
        ["> CANCEL", "< 200 INVITE", "< 200 CANCEL", "> ACK", "> BYE", "< 200 BYE"]
    );
    assert_eq!(net.story(A), ["180", "failed Cancelled"]);
    assert_eq!(net.story(B), ["incoming", "confirmed", "ended Remote Bye"]);
}

#[test]
fn a_200_long_after_the_cancel_is_acknowledged_and_hung_up() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 180, "r1", ""));
    net.hangup(A, a);
    let cancel = net.expect_raw(R, "CANCEL");
    net.send_raw(R, A, &response_to(&cancel, 200, "r1", ""));
    net.run_for(secs(30));
    net.send_raw(R, A, &response_to(&invite, 200, "r1", &format!("Contact: <sip:{R}>\n")));
    net.expect_raw(R, "ACK");
    let bye = net.expect_raw(R, "BYE");
    net.send_raw(R, A, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
    assert_eq!(net.story(A), ["180", "failed Cancelled"]);
}

#[test]
fn a_cancel_without_final_response_is_given_up_after_64_t1() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 180, "r1", ""));
    net.run_for(secs(3));
    net.hangup(A, a);
    net.run_until_quiet();
    let (at, _) = net.phone(A).events.last().unwrap().clone();
    assert_eq!((at, net.story(A)), (secs(35), vec!["180".into(), "failed Cancelled".into()]));
}

#[test]
fn a_refusal_that_crosses_the_cancel_counts() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 180, "r1", ""));
    net.hangup(A, a);
    net.send_raw(R, A, &response_to(&invite, 486, "r1", ""));
    net.expect_raw(R, "ACK");
    net.run_until_quiet();
    assert_eq!(net.story(A), ["180", "failed Response(486)"]);
}

#[test]
fn the_first_fork_that_answers_wins_and_the_others_are_hung_up() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let contact = format!("Contact: <sip:{R}>\n");
    for fork in ["f1", "f2", "f3"] {
        net.send_raw(R, A, &response_to(&invite, 180, fork, ""));
    }
    net.send_raw(R, A, &response_to(&invite, 200, "f2", &contact));
    assert_eq!(net.expect_raw(R, "ACK").to_tag().as_deref(), Some("f2"));
    net.send_raw(R, A, &response_to(&invite, 200, "f1", &contact));
    assert_eq!(net.expect_raw(R, "ACK").to_tag().as_deref(), Some("f1"));
    let bye = net.expect_raw(R, "BYE");
    assert_eq!(bye.to_tag().as_deref(), Some("f1"));
    net.send_raw(R, A, &response_to(&bye, 200, "", ""));
    // Both repeat their 200: each gets its ACK again, and no second BYE.
    for fork in ["f1", "f2"] {
        net.send_raw(R, A, &response_to(&invite, 200, fork, &contact));
        assert_eq!(net.expect_raw(R, "ACK").to_tag().as_deref(), Some(fork));
        assert!(net.receive_raw(R).is_none());
    }
    assert_eq!(net.story(A), ["180", "180", "180", "answered"]);
    // The winner hangs up, then a fork answers that is later still.
    net.hangup(A, a);
    let bye = net.expect_raw(R, "BYE");
    assert_eq!(bye.to_tag().as_deref(), Some("f2"));
    net.send_raw(R, A, &response_to(&bye, 200, "", ""));
    net.run_for(secs(20));
    net.send_raw(R, A, &response_to(&invite, 200, "f3", &contact));
    assert_eq!(net.expect_raw(R, "ACK").to_tag().as_deref(), Some("f3"));
    let bye = net.expect_raw(R, "BYE");
    assert_eq!(bye.to_tag().as_deref(), Some("f3"));
    net.send_raw(R, A, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn a_bye_of_a_fork_that_lost_does_not_end_the_call() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let contact = format!("Contact: <sip:{R}>\n");
    net.send_raw(R, A, &response_to(&invite, 200, "f1", &contact));
    net.send_raw(R, A, &response_to(&invite, 200, "f2", &contact));
    let lost = net.expect_raw(R, "BYE");
    // It hangs up itself, while our BYE is on its way.
    net.send_raw(
        R,
        A,
        &format!(
            "BYE sip:{A} SIP/2.0\nVia: SIP/2.0/UDP {R};branch=z9hG4bKx\nFrom: {}\nTo: {}\nCall-ID: {}\nCSeq: 1 BYE\n\n",
            lost.header(Name::To).unwrap(),
            lost.header(Name::From).unwrap(),
            lost.header(Name::CallId).unwrap(),
        ),
    );
    net.expect_raw(R, "200 BYE");
    net.send_raw(R, A, &response_to(&lost, 200, "", ""));
    assert_eq!(net.story(A), ["answered"]);
    net.hangup(A, a);
    let bye = net.expect_raw(R, "BYE");
    assert_eq!(bye.to_tag().as_deref(), Some("f1"));
    net.send_raw(R, A, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn crossing_byes_are_both_answered() {
    let mut net = Net::pair();
    let (a, b) = net.established();
    net.act(A, |endpoint, now| endpoint.hangup(now, a, Hangup::default()).unwrap());
    net.act(B, |endpoint, now| endpoint.hangup(now, b, Hangup::default()).unwrap());
    net.run_until_quiet();
    assert_eq!((net.count("BYE"), net.count("200 BYE")), (2, 2));
    assert_eq!(net.story(A), ["180", "answered", "ended Local Bye"]);
    assert_eq!(net.story(B), ["incoming", "confirmed", "ended Local Bye"]);
}

#[test]
fn a_bye_answered_481_ends_the_call_all_the_same() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 200, "r1", &format!("Contact: <sip:{R}>\n")));
    net.hangup(A, a);
    let bye = net.expect_raw(R, "BYE");
    net.send_raw(R, A, &response_to(&bye, 481, "", ""));
    net.run_until_quiet();
    assert_eq!(net.story(A), ["answered", "ended Local Bye"]);
}

#[test]
fn the_callee_hangs_up_before_the_ack_and_its_bye_waits_for_it() {
    let mut net = Net::pair();
    net.react(B, |phone, now, event| {
        if let Event::Session { id, event: SessionEvent::Incoming { .. } } = event {
            phone.endpoint.answer(now, *id, None).unwrap();
            phone.endpoint.hangup(now, *id, Hangup::default()).unwrap();
        }
    });
    net.lose("ACK", 1);
    net.call(A, B);
    net.run_for(ms(499));
    assert_eq!(net.count("BYE"), 0);
    assert_eq!(net.story(B), ["incoming", "ended Local Bye"]);
    net.run_until_quiet();
    assert_eq!(net.times("BYE"), [ms(500)]);
    assert_eq!(net.story(A), ["answered", "ended Remote Bye"]);
}

#[test]
fn a_bye_before_the_ack_ends_the_call() {
    let mut net = Net::pair();
    answer_calls(&mut net, B);
    net.lose("ACK", u32::MAX);
    let a = net.call(A, B);
    net.run_for(ms(100));
    net.hangup(A, a);
    net.run_until_quiet();
    assert_eq!(net.count("200 INVITE"), 1, "not repeated after the BYE");
    assert_eq!(net.story(B), ["incoming", "ended Remote Bye"]);
}

#[test]
fn a_bye_to_a_ringing_callee_terminates_the_invite() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    net.call(A, B);
    net.run_for(secs(1));
    let ringing = net.last("180 INVITE");
    let bye = format!(
        "BYE sip:bob@{B} SIP/2.0\nVia: SIP/2.0/UDP {R};branch=z9hG4bKx\nFrom: {}\nTo: {}\nCall-ID: {}\nCSeq: 2 BYE\n\n",
        ringing.header(Name::From).unwrap(),
        ringing.header(Name::To).unwrap(),
        ringing.header(Name::CallId).unwrap(),
    );
    let tag = ringing.from_tag().unwrap();
    net.send_raw(A, B, &bye.replace(&*tag, "stranger").replace("bKx", "bKy"));
    assert_eq!((net.count("481 BYE"), net.story(B)), (1, vec!["incoming".to_owned()]));
    net.send_raw(A, B, &bye);
    net.run_until_quiet();
    assert_eq!((net.count("200 BYE"), net.count("487 INVITE")), (1, 1));
    assert_eq!(net.story(B), ["incoming", "failed Cancelled"]);
    assert_eq!(net.story(A), ["180", "failed Response(487)"]);
}

#[test]
fn hanging_up_twice_is_no_error() {
    let mut net = Net::pair();
    let (a, _) = net.established();
    net.hangup(A, a);
    net.hangup(A, a);
    net.run_until_quiet();
    assert_eq!(net.count("BYE"), 1);
    let gone = net.act(A, |endpoint, now| endpoint.hangup(now, a, Hangup::default()));
    assert_eq!(gone, Err(Error::UnknownSession));
}
