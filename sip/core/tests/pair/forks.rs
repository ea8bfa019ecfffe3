//! Early dialogs: several callees of one INVITE, each with its own way, numbers and exchange.

use crate::net::*;
use sip_core::*;

/// Which dialog each provisional response and the answer was told for.
fn dialogs(net: &mut Net) -> Vec<(String, Option<DialogId>)> {
    let of = |event: &Event| match event {
        Event::Session { event: SessionEvent::Provisional { dialog, status, .. }, .. } => {
            Some((status.to_string(), *dialog))
        }
        Event::Session { event: SessionEvent::Answered { dialog, .. }, .. } => {
            Some(("answered".into(), Some(*dialog)))
        }
        Event::Session { event: SessionEvent::Offered { dialog, .. }, .. } => {
            Some(("offered".into(), Some(*dialog)))
        }
        Event::Session { .. }
        | Event::Registration { .. }
        | Event::Located { .. }
        | Event::Request { .. }
        | Event::Response { .. } => None,
    };
    net.phone(A).events.iter().filter_map(|(_, event)| of(event)).collect()
}

fn reliable(rseq: u32, contact: &str) -> String {
    format!("Contact: <sip:{contact}>\nRequire: 100rel\nRSeq: {rseq}\nAllow: UPDATE, INVITE\n")
}

#[test]
fn forks_are_told_apart_and_have_their_own_ways_and_numbers() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let (one, two) = ("10.0.0.11:5060", "10.0.0.12:5060");
    let route = "Record-Route: <sip:10.0.0.21:5070;lr>\n";
    net.send_raw(R, A, &response_with(&invite, 183, "f1", &reliable(10, one), "one"));
    net.send_raw(R, A, &response_with(&invite, 183, "f2", &(reliable(500, two) + route), "two"));
    net.send_raw(R, A, &response_to(&invite, 180, "f1", ""));
    net.send_raw(R, A, &response_to(&invite, 182, "", ""));
    let id = |n| Some(DialogId(n));
    let told = [("183", id(0)), ("183", id(1)), ("180", id(0)), ("182", None)];
    assert_eq!(dialogs(&mut net), told.map(|(what, id)| (what.to_owned(), id)));
    // Each PRACK goes its own way, with the numbers of its own dialog.
    let first = net.expect_raw(one, "PRACK");
    let second = net.expect_raw("10.0.0.21:5070", "PRACK");
    assert_eq!((first.cseq().unwrap().number, second.cseq().unwrap().number), (2, 2));
    assert_eq!(first.header(Name::RAck), Some("10 1 INVITE"));
    assert_eq!(second.header(Name::RAck), Some("500 1 INVITE"));
    assert_eq!(second.request_uri_str(), format!("sip:{two}"));
    assert_eq!((first.to_tag().as_deref(), second.to_tag().as_deref()), (Some("f1"), Some("f2")));
    for (from, prack) in [(one, &first), ("10.0.0.21:5070", &second)] {
        net.send_raw(from, A, &response_to(prack, 200, "", ""));
    }
    // Requests of each find their dialog; numbers of one say nothing about the other.
    net.send_raw(R, A, &of_callee(&invite, "f1", "INFO", 900, "", ""));
    net.send_raw(R, A, &of_callee(&invite, "f2", "INFO", 5, "", ""));
    net.send_raw(R, A, &of_callee(&invite, "f1", "INFO", 899, "", ""));
    for status in [200, 200, 500] {
        net.expect_raw(R, &format!("{status} INFO"));
    }
    net.send_raw(R, A, &of_callee(&invite, "f2", "UPDATE", 6, "", "two anew"));
    assert_eq!(dialogs(&mut net).last().unwrap(), &("offered".to_owned(), id(1)));
    // The user has one offer to answer at a time.
    net.send_raw(R, A, &of_callee(&invite, "f1", "UPDATE", 901, "", "one anew"));
    net.expect_raw(R, "500 UPDATE");
    // The first answers: the offer of the second is void, and so is its dialog.
    net.send_raw(R, A, &response_to(&invite, 200, "f1", &format!("Contact: <sip:{one}>\n")));
    net.expect_raw(one, "ACK");
    net.expect_raw(R, "481 UPDATE");
    assert_eq!(net.story(A)[4..], ["offered: two anew", "withdrawn", "answered"]);
    assert_eq!(dialogs(&mut net).last().unwrap(), &("answered".to_owned(), id(0)));
    let events = net.phone(A).events.clone();
    let Some((_, Event::Session { event: SessionEvent::Answered { body, .. }, .. })) = events.last() else {
        panic!()
    };
    assert_eq!(body.as_deref(), Some(&b"one"[..]), "the answer of the one that answers");
    net.send_raw(R, A, &of_callee(&invite, "f2", "INFO", 7, "", ""));
    net.expect_raw(R, "481 INFO");
    // The second answers all the same, and is hung up, its own way.
    net.send_raw(R, A, &response_to(&invite, 200, "f2", &(format!("Contact: <sip:{two}>\n") + route)));
    net.expect_raw("10.0.0.21:5070", "ACK");
    let bye = net.expect_raw("10.0.0.21:5070", "BYE");
    net.send_raw(R, A, &response_to(&bye, 200, "", ""));
    net.hangup(A, a);
    let bye = net.expect_raw(one, "BYE");
    net.send_raw(R, A, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn a_fork_that_lost_cannot_change_the_call() {
    let mut net = Net::pair();
    net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    for fork in ["f1", "f2"] {
        net.send_raw(R, A, &response_with(&invite, 200, fork, &format!("Contact: <sip:{R}>\n"), "answer"));
    }
    for (cseq, method) in [(1, "UPDATE"), (2, "INVITE"), (3, "INFO")] {
        net.send_raw(R, A, &of_callee(&invite, "f2", method, cseq, "", "mine"));
        net.expect_raw(R, &format!("481 {method}"));
    }
    assert_eq!(net.story(A), ["answered"]);
}

#[test]
fn a_200_with_another_way_than_its_ringing_counts() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 180, "f1", "Contact: <sip:10.0.0.11>\n"));
    net.send_raw(R, A, &response_to(&invite, 200, "f1", "Contact: <sip:10.0.0.12>\n"));
    net.expect_raw("10.0.0.12:5060", "ACK");
    net.hangup(A, a);
    let bye = net.expect_raw("10.0.0.12:5060", "BYE");
    net.send_raw(R, A, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn a_tag_that_changes_is_another_callee() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let contact = format!("Contact: <sip:{R}>\n");
    net.send_raw(R, A, &response_with(&invite, 183, "ringing", &contact, "early"));
    net.send_raw(R, A, &response_with(&invite, 200, "answering", &contact, "answer"));
    assert_eq!(net.expect_raw(R, "ACK").to_tag().as_deref(), Some("answering"));
    assert_eq!(net.story(A), ["183 with body", "answered"]);
    assert_eq!(dialogs(&mut net).last().unwrap().1, Some(DialogId(1)));
    net.hangup(A, a);
    let bye = net.expect_raw(R, "BYE");
    assert_eq!(bye.to_tag().as_deref(), Some("answering"));
    net.send_raw(R, A, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn more_forks_than_anybody_has_are_told_and_not_kept() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    for n in 0..100 {
        net.send_raw(R, A, &response_to(&invite, 180, &format!("f{n}"), &reliable(1, R)));
    }
    assert_eq!(net.count("PRACK"), 16);
    assert_eq!(dialogs(&mut net).iter().filter(|(_, dialog)| dialog.is_some()).count(), 16);
    net.hangup(A, a);
    let cancel = net.expect_raw(R, "CANCEL");
    net.send_raw(R, A, &response_to(&cancel, 200, "f1", ""));
    net.send_raw(R, A, &response_to(&invite, 487, "f1", ""));
    net.run_until_quiet();
    assert_eq!(net.story(A).last().unwrap(), "failed Cancelled");
}

#[test]
fn a_callee_that_hangs_up_while_it_rings_ends_the_call_when_it_is_the_last() {
    let mut net = Net::pair();
    net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    for fork in ["f1", "f2"] {
        net.send_raw(R, A, &response_to(&invite, 180, fork, &format!("Contact: <sip:{R}>\n")));
    }
    net.send_raw(R, A, &of_callee(&invite, "f1", "BYE", 1, "", ""));
    net.expect_raw(R, "200 BYE");
    assert_eq!(net.count("CANCEL"), 0, "another rings still");
    net.send_raw(R, A, &of_callee(&invite, "f2", "BYE", 2, "Reason: Q.850;cause=17\n", ""));
    net.expect_raw(R, "200 BYE");
    net.expect_raw(R, "CANCEL");
    net.send_raw(R, A, &response_to(&invite, 487, "f2", ""));
    net.expect_raw(R, "ACK");
    assert_eq!(net.story(A).last().unwrap(), "failed Response(487)");
    net.run_for(secs(100));
}

#[test]
fn a_new_invite_after_a_challenge_has_new_early_dialogs() {
    let mut net = Net::pair();
    net.call(A, R);
    net.run_for(secs(0));
    let first = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&first, 183, "r1", &reliable(7, R)));
    let prack = net.expect_raw(R, "PRACK");
    net.send_raw(R, A, &response_to(&prack, 200, "", ""));
    net.send_raw(
        R,
        A,
        &response_to(&first, 407, "r1", "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\n"),
    );
    let second = net.expect_raw(R, "INVITE");
    // The same tag and a lower RSeq: another dialog all the same.
    net.send_raw(R, A, &response_to(&second, 180, "r1", &reliable(3, R)));
    assert_eq!(net.expect_raw(R, "PRACK").header(Name::RAck), Some("3 2 INVITE"));
    assert_eq!(net.story(A), ["183", "180"]);
}

/// Answers what `a` asks of its forks until it asks nothing more, and counts the BYEs.
fn hung_up(net: &mut Net) -> usize {
    let mut byes = 0;
    while let Some(request) = net.receive_raw(R) {
        if request.method() == Some(&Method::Bye) {
            byes += 1;
            net.send_raw(R, A, &response_to(&request, 200, "", ""));
        }
    }
    byes
}

#[test]
fn a_late_fork_that_answers_wins_and_more_than_are_kept_are_hung_up() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let here = format!("Contact: <sip:{R}>\n");
    for n in 0..20 {
        net.send_raw(R, A, &response_to(&invite, 180, &format!("f{n}"), &here));
    }
    net.send_raw(R, A, &response_with(&invite, 200, "f19", &here, "answer"));
    assert_eq!(net.story(A).last().unwrap(), "answered");
    assert_eq!(net.expect_raw(R, "ACK").to_tag().as_deref(), Some("f19"));
    for n in 0..40 {
        net.send_raw(R, A, &response_with(&invite, 200, &format!("late{n}"), &here, "answer"));
    }
    assert_eq!((net.count("ACK"), hung_up(&mut net)), (41, 40));
    // Without end only for who answers the BYEs.
    net.run_for(secs(10));
    for n in 0..200 {
        net.send_raw(R, A, &response_with(&invite, 200, &format!("rude{n}"), &here, "answer"));
    }
    assert!(net.count("ACK") < 120, "{}", net.count("ACK"));
    hung_up(&mut net);
    net.hangup(A, a);
    assert_eq!(hung_up(&mut net), 1);
    net.run_until_quiet();
}

#[test]
fn a_late_fork_that_answers_a_cancelled_call_is_hung_up() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let here = format!("Contact: <sip:{R}>\n");
    for n in 0..20 {
        net.send_raw(R, A, &response_to(&invite, 180, &format!("f{n}"), &here));
    }
    net.hangup(A, a);
    let cancel = net.expect_raw(R, "CANCEL");
    net.send_raw(R, A, &response_to(&cancel, 200, "f1", ""));
    for n in (0..20).rev() {
        net.send_raw(R, A, &response_with(&invite, 200, &format!("f{n}"), &here, "answer"));
    }
    assert_eq!((net.count("ACK"), hung_up(&mut net)), (20, 20));
    assert_eq!(net.story(A).last().unwrap(), "failed Cancelled");
    net.run_until_quiet();
}

/// An INVITE without a body, and a fork that offers reliably.
fn offered_by_f1(net: &mut Net) -> Message {
    net.act(A, |endpoint, now| endpoint.invite(now, Invite { body: None, ..invite(R) }).unwrap());
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_with(&invite, 183, "f1", &reliable(1, R), "f1 offer"));
    assert_eq!(net.story(A).last().unwrap(), "offered: f1 offer");
    invite
}

#[test]
fn a_fork_that_hangs_up_while_its_offer_waits_leaves_the_others_ringing() {
    let mut net = Net::pair();
    let invite = offered_by_f1(&mut net);
    net.send_raw(R, A, &response_to(&invite, 180, "f2", &format!("Contact: <sip:{R}>\n")));
    net.send_raw(R, A, &of_callee(&invite, "f1", "BYE", 1, "", ""));
    net.expect_raw(R, "200 BYE");
    net.run_for(secs(20));
    assert_eq!(net.story(A).last().unwrap(), "withdrawn");
    assert_eq!((net.count("CANCEL"), net.count("PRACK")), (0, 0));
    net.send_raw(R, A, &response_with(&invite, 200, "f2", &format!("Contact: <sip:{R}>\n"), "f2 offer"));
    assert_eq!(net.story(A).last().unwrap(), "answered");
}

#[test]
fn an_offer_of_the_invite_before_does_not_cancel_the_one_after() {
    let mut net = Net::pair();
    let first = offered_by_f1(&mut net);
    let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\n";
    net.send_raw(R, A, &response_to(&first, 407, "f1", challenge));
    assert_eq!(net.story(A).last().unwrap(), "withdrawn");
    let second = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_with(&second, 183, "g1", &reliable(1, R), "g1 offer"));
    assert_eq!(net.story(A).last().unwrap(), "offered: g1 offer");
}

#[test]
fn our_offer_to_a_fork_of_the_invite_before_is_refused() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let first = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_with(&first, 183, "f1", &reliable(1, R), "answer"));
    let prack = net.expect_raw(R, "PRACK");
    net.send_raw(R, A, &response_to(&prack, 200, "", ""));
    net.offer(A, a, "again");
    net.expect_raw(R, "UPDATE");
    let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\n";
    net.send_raw(R, A, &response_to(&first, 407, "f1", challenge));
    assert_eq!(net.story(A).last().unwrap(), "offer refused 481");
}
