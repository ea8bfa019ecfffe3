//! Calls that are changed while they stand: re-INVITEs and UPDATEs from both sides.

use crate::net::*;
use netem::Impairments;
use sip_core::*;

/// Has an endpoint accept every offer at once, with a description that quotes it.
fn accept_offers(net: &mut Net, at: &str) {
    net.react(at, |phone, now, event| {
        let Event::Session { id, event } = event else { return };
        match event {
            SessionEvent::Incoming { .. } => {
                phone.endpoint.answer(now, *id, Some(sdp("v=0 answer"))).unwrap();
            }
            SessionEvent::Offered { body, .. } => {
                let body = body.as_deref().map_or("none".into(), String::from_utf8_lossy);
                phone.endpoint.accept_offer(now, *id, sdp(&format!("re {body}"))).unwrap();
            }
            SessionEvent::Provisional { .. }
            | SessionEvent::Answered { .. }
            | SessionEvent::Confirmed { .. }
            | SessionEvent::OfferWithdrawn
            | SessionEvent::OfferAnswered { .. }
            | SessionEvent::OfferRefused { .. }
            | SessionEvent::Info { .. }
            | SessionEvent::InfoAnswered { .. }
            | SessionEvent::Referred(_)
            | SessionEvent::ReferProgress { .. }
            | SessionEvent::Failed(_)
            | SessionEvent::Ended { .. } => {}
        }
    });
}

/// A call between endpoints that accept whatever they are offered.
fn obliging() -> (Net, SessionId, SessionId) {
    let mut net = Net::pair();
    accept_offers(&mut net, A);
    accept_offers(&mut net, B);
    let a = net.call(A, B);
    net.run_for(secs(0));
    let b = net.session(B);
    net.news(A);
    net.news(B);
    (net, a, b)
}

/// A call between `a` and `b` that nobody reacts in.
fn standing() -> (Net, SessionId, SessionId) {
    let mut net = Net::pair();
    let (a, b) = net.established();
    net.react(B, |_, _, _| {});
    net.news(A);
    net.news(B);
    (net, a, b)
}

fn accept(net: &mut Net, at: &str, id: SessionId, text: &str) -> Result<(), Error> {
    let result = net.act(at, |endpoint, now| endpoint.accept_offer(now, id, sdp(text)));
    net.run_for(secs(0));
    result
}

#[test]
fn either_side_changes_the_call() {
    for (from, to) in [(A, B), (B, A)] {
        let (mut net, a, b) = obliging();
        let id = if from == A { a } else { b };
        net.wire.clear();
        net.offer(from, id, "hold");
        assert_eq!(net.news(from), ["offer answered: re hold"]);
        assert_eq!(net.news(to), ["offered: hold"]);
        let labels: Vec<_> = net.wire.iter().map(|seen| (seen.from == addr(from), seen.label())).collect();
        let expected = [(true, "INVITE"), (false, "100 INVITE"), (false, "200 INVITE"), (true, "ACK")];
        assert_eq!(labels, expected.map(|(ours, label)| (ours, label.to_owned())));
        let (invite, ok) = (net.last("INVITE"), net.last("200 INVITE"));
        assert!(invite.to_tag().is_some() && invite.contacts().count() == 1 && ok.contacts().count() == 1);
        assert!(invite.header(Name::Allow).is_some() && ok.header(Name::Allow).is_some());
        assert_eq!(net.last("ACK").cseq().unwrap().number, invite.cseq().unwrap().number);
        // And once more, and then it ends.
        net.offer(from, id, "resume");
        assert_eq!(net.news(from), ["offer answered: re resume"]);
        net.hangup(A, a);
        net.run_until_quiet();
    }
}

#[test]
fn a_refused_offer_leaves_the_call_as_it_was() {
    let (mut net, a, b) = standing();
    net.offer(A, a, "hold");
    assert_eq!(net.news(B), ["offered: hold"]);
    net.act(B, |endpoint, now| endpoint.refuse_offer(now, b, 488).unwrap());
    net.run_for(secs(1));
    assert_eq!(net.news(A), ["offer refused 488"]);
    // What was agreed before is in force: the first offer again is no news to `b`.
    net.offer(A, a, "v=0 offer");
    assert_eq!(net.news(A), ["offer answered: v=0 answer"]);
    assert!(net.news(B).is_empty());
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn what_says_nothing_new_is_answered_inside() {
    let mut net = Net::pair();
    let (b, ok) = net.called_by_r("Allow: INVITE, UPDATE\n");
    for (method, cseq) in [("INVITE", 2), ("UPDATE", 3), ("INVITE", 4)] {
        net.send_raw(R, B, &of_caller(&ok, method, cseq, "", "r offer"));
        let answer = net.expect_raw(R, &format!("200 {method}"));
        assert_eq!(answer.sdp().as_deref(), Some(&b"v=0 answer"[..]));
        if method == "INVITE" {
            net.send_raw(R, B, &of_caller(&ok, "ACK", cseq, "", ""));
        }
    }
    assert_eq!(net.story(B), ["incoming", "confirmed"]);
    net.send_raw(R, B, &of_caller(&ok, "UPDATE", 5, "", "r offer changed"));
    assert_eq!(net.story(B).last().unwrap(), "offered: r offer changed");
    accept(&mut net, B, b, "b anew").unwrap();
    assert_eq!(net.expect_raw(R, "200 UPDATE").sdp().as_deref(), Some(&b"b anew"[..]));
    // Now that is what says nothing new.
    net.send_raw(R, B, &of_caller(&ok, "INVITE", 6, "", "r offer changed"));
    assert_eq!(net.expect_raw(R, "200 INVITE").sdp().as_deref(), Some(&b"b anew"[..]));
    net.send_raw(R, B, &of_caller(&ok, "ACK", 6, "", ""));
    net.send_raw(R, B, &of_caller(&ok, "BYE", 7, "", ""));
    net.run_until_quiet();
    assert_eq!(net.count("200 INVITE"), 4, "none is repeated after its ACK");
}

#[test]
fn of_two_offers_at_once_both_are_put_off_and_made_again() {
    for seed in netem::seeds(20) {
        let mut net = Net::impaired(seed, Impairments { delay: ms(20), ..Impairments::NONE });
        net.add(A, Transport::Udp);
        net.add(B, Transport::Udp);
        accept_offers(&mut net, A);
        accept_offers(&mut net, B);
        let a = net.call(A, B);
        net.run_for(secs(1));
        let b = net.session(B);
        net.news(A);
        net.news(B);
        let start = net.time();
        net.wire.clear();
        net.act(A, |endpoint, now| endpoint.offer(now, a, Some(sdp("a's"))).unwrap());
        net.act(B, |endpoint, now| endpoint.offer(now, b, Some(sdp("b's"))).unwrap());
        net.run_for(secs(10));
        assert_eq!(net.count("491 INVITE"), 2);
        let again: Vec<_> = net.wire.iter().filter(|seen| seen.label() == "INVITE").skip(2).collect();
        // The callee waits less than the owner of the Call-ID, whose offer is void when that of the callee is taken.
        let waited = again[0].at - start - ms(40);
        assert!(again[0].from == addr(B) && waited <= secs(2), "{waited:?}");
        assert_eq!(waited.as_millis() % 10, 0);
        assert_eq!(again.len(), 1);
        assert_eq!(net.news(A), ["offer refused 491", "offered: b's"]);
        assert_eq!(net.news(B), ["offer answered: re b's"]);
        net.hangup(A, a);
        net.run_until_quiet();
    }
}

#[test]
fn a_peer_that_always_says_491_is_asked_four_times() {
    let mut net = Net::pair();
    let (a, _) = net.answered_by_r("");
    net.act(A, |endpoint, now| endpoint.offer(now, a, Some(sdp("x"))).unwrap());
    for again in 0..4 {
        net.run_for(secs(4));
        let reinvite = net.last("INVITE");
        assert_eq!(net.story(A), ["answered"], "{again}");
        net.send_raw(R, A, &response_to(&reinvite, 491, "", ""));
    }
    net.run_for(secs(60));
    let invites = net.wire.iter().filter(|seen| seen.label() == "INVITE");
    let numbers: std::collections::BTreeSet<_> =
        invites.map(|seen| seen.message.cseq().unwrap().number).collect();
    assert_eq!((numbers.len(), net.story(A).last().unwrap().as_str()), (5, "offer refused 491"));
    net.hangup(A, a);
}

#[test]
fn an_update_before_the_one_before_is_answered_is_put_off() {
    let mut net = Net::pair();
    let (b, ok) = net.called_by_r("");
    net.send_raw(R, B, &of_caller(&ok, "UPDATE", 2, "", "new offer"));
    net.send_raw(R, B, &of_caller(&ok, "UPDATE", 3, "", ""));
    let put_off = net.expect_raw(R, "500 UPDATE");
    assert!(put_off.retry_after().unwrap().is_some());
    accept(&mut net, B, b, "so be it").unwrap();
    net.expect_raw(R, "200 UPDATE");
    net.send_raw(R, B, &of_caller(&ok, "UPDATE", 4, "", ""));
    net.expect_raw(R, "200 UPDATE");
}

#[test]
fn the_owner_of_the_call_id_waits_longer() {
    let (mut shortest, mut longest) = (secs(9), secs(0));
    for seed in 0..40 {
        let mut net = Net::impaired(seed, Impairments::NONE);
        net.add(A, Transport::Udp);
        let (a, _) = net.answered_by_r("");
        net.offer(A, a, "hold");
        let invite = net.expect_raw(R, "INVITE");
        net.send_raw(R, A, &response_to(&invite, 491, "", ""));
        let refused = net.time();
        // An offer made meanwhile takes its place.
        net.offer(A, a, "hold after all");
        net.run_for(secs(5));
        let again = net.expect_raw(R, "INVITE");
        assert_eq!(again.sdp().as_deref(), Some(&b"hold after all"[..]));
        assert_eq!(again.cseq().unwrap().number, invite.cseq().unwrap().number + 1);
        let waited = *net.times("INVITE").iter().find(|at| **at > refused).unwrap() - refused;
        assert!((ms(2_100)..=secs(4)).contains(&waited), "{waited:?}");
        (shortest, longest) = (shortest.min(waited), longest.max(waited));
    }
    assert!(shortest < ms(2_500) && longest > ms(3_600), "{shortest:?} {longest:?}");
}

#[test]
fn a_second_offer_before_the_first_is_answered_is_put_off() {
    let mut net = Net::pair();
    let (b, ok) = net.called_by_r("");
    net.send_raw(R, B, &of_caller(&ok, "INVITE", 2, "", "second"));
    for (cseq, method) in [(3, "INVITE"), (4, "UPDATE")] {
        net.send_raw(R, B, &of_caller(&ok, method, cseq, "", "third"));
        let busy = net.expect_raw(R, &format!("500 {method}"));
        assert!(busy.retry_after().unwrap().unwrap() <= secs(10));
    }
    net.send_raw(R, B, &of_caller(&ok, "ACK", 3, "", ""));
    accept(&mut net, B, b, "yes").unwrap();
    assert_eq!(net.expect_raw(R, "200 INVITE").cseq().unwrap().number, 2);
    // While the 2xx waits for its ACK there is no room either: RFC 5407 section 3.1.4.
    net.send_raw(R, B, &of_caller(&ok, "INVITE", 5, "", "fourth"));
    net.expect_raw(R, "491 INVITE");
    net.send_raw(R, B, &of_caller(&ok, "ACK", 5, "", ""));
    net.send_raw(R, B, &of_caller(&ok, "ACK", 2, "", ""));
    net.send_raw(R, B, &of_caller(&ok, "INVITE", 6, "", "fifth"));
    accept(&mut net, B, b, "yes").unwrap();
    net.expect_raw(R, "200 INVITE");
    net.send_raw(R, B, &of_caller(&ok, "ACK", 6, "", ""));
    net.send_raw(R, B, &of_caller(&ok, "BYE", 7, "", ""));
    net.run_until_quiet();
    assert_eq!(
        net.story(B)[2..],
        ["offered: second", "offered: fifth", "ended Remote Bye"],
        "what is put off is not told"
    );
}

#[test]
fn while_ours_is_out_theirs_is_put_off() {
    let mut net = Net::pair();
    let (b, ok) = net.called_by_r("Allow: UPDATE\n");
    net.offer(B, b, "ours");
    let ours = net.expect_raw(R, "INVITE");
    for (cseq, method) in [(2, "INVITE"), (3, "UPDATE")] {
        net.send_raw(R, B, &of_caller(&ok, method, cseq, "", "theirs"));
        net.expect_raw(R, &format!("491 {method}"));
    }
    net.send_raw(R, B, &of_caller(&ok, "ACK", 2, "", ""));
    // An UPDATE that offers nothing collides with nothing.
    net.send_raw(R, B, &of_caller(&ok, "UPDATE", 4, "", ""));
    net.expect_raw(R, "200 UPDATE");
    let pending = net.act(B, |endpoint, now| endpoint.offer(now, b, Some(sdp("more"))));
    assert_eq!(pending, Err(Error::OfferPending));
    net.send_raw(R, B, &response_with(&ours, 200, "", &format!("Contact: <sip:{R}>\n"), "r says"));
    net.expect_raw(R, "ACK");
    assert_eq!(net.story(B).last().unwrap(), "offer answered: r says");
    net.send_raw(R, B, &of_caller(&ok, "BYE", 5, "", ""));
    net.run_until_quiet();
}

#[test]
fn a_user_that_does_not_answer_refuses_after_ten_seconds() {
    let mut net = Net::pair();
    let (b, ok) = net.called_by_r("");
    for (cseq, method) in [(2, "INVITE"), (3, "UPDATE")] {
        net.send_raw(R, B, &of_caller(&ok, method, cseq, "", "well?"));
        net.run_for(ms(9_999));
        assert_eq!(net.count(&format!("488 {method}")), 0);
        net.run_for(ms(1));
        net.expect_raw(R, &format!("488 {method}"));
        net.send_raw(R, B, &of_caller(&ok, "ACK", cseq, "", ""));
        assert_eq!(accept(&mut net, B, b, "late"), Err(Error::WrongState));
    }
    assert_eq!(net.story(B)[2..], ["offered: well?", "withdrawn", "offered: well?", "withdrawn"]);
    net.send_raw(R, B, &of_caller(&ok, "BYE", 4, "", ""));
    net.run_until_quiet();
}

#[test]
fn a_cancelled_offer_is_withdrawn_and_the_call_goes_on() {
    let mut net = Net::pair();
    let (b, ok) = net.called_by_r("");
    net.send_raw(R, B, &of_caller(&ok, "INVITE", 2, "", "no, wait"));
    net.send_raw(R, B, &of_caller(&ok, "CANCEL", 2, "", ""));
    net.expect_raw(R, "487 INVITE");
    net.send_raw(R, B, &of_caller(&ok, "ACK", 2, "", ""));
    assert_eq!(net.story(B)[2..], ["offered: no, wait", "withdrawn"]);
    net.offer(B, b, "instead");
    net.expect_raw(R, "INVITE");
    net.send_raw(R, B, &of_caller(&ok, "BYE", 3, "", ""));
    net.run_until_quiet();
}

#[test]
fn asking_for_their_offer() {
    let (mut net, a, b) = obliging();
    net.offer(A, a, "");
    assert_eq!(net.news(B), ["offered"]);
    assert_eq!(net.news(A), ["offer answered: re none"]);
    let oks = net.count("200 INVITE");
    assert_eq!(net.count("ACK"), 1, "the ACK waits for the answer");
    net.act(A, |endpoint, now| endpoint.acknowledge(now, a, sdp("fine")).unwrap());
    net.run_for(secs(60));
    assert_eq!((net.count("ACK"), net.count("200 INVITE")), (2, oks));
    assert_eq!(net.last("ACK").sdp().as_deref(), Some(&b"fine"[..]));
    assert_eq!(net.news(B), ["offer answered: fine"]);
    let twice = net.act(A, |endpoint, now| endpoint.acknowledge(now, a, sdp("fine")));
    assert_eq!(twice, Err(Error::WrongState));
    // What they agreed on is in force at both ends.
    net.offer(B, b, "re none");
    assert!(net.news(A).is_empty());
    assert_eq!(net.news(B), ["offer answered: fine"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn an_offer_in_a_200_that_is_never_acknowledged_ends_the_call() {
    let (mut net, a, _) = obliging();
    net.offer(A, a, "");
    net.news(A);
    net.run_until_quiet();
    assert_eq!(net.news(A), ["ended Local OfferTimeout"]);
    assert_eq!(net.news(B), ["offered", "offer answered", "ended Remote Bye"]);
    assert_eq!(net.times("BYE"), [secs(10)]);
}

#[test]
fn a_lost_ack_of_a_re_invite_comes_again() {
    let (mut net, a, _) = obliging();
    net.lose("ACK", 2);
    net.lose("200 INVITE", 1);
    net.offer(A, a, "hold");
    net.run_for(secs(60));
    assert_eq!(net.news(A), ["offer answered: re hold"]);
    assert_eq!(net.times("200 INVITE")[1..], [0, 500, 1_500, 3_500].map(ms));
    assert_eq!(net.times("ACK")[1..], [500, 1_500, 3_500].map(ms));
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn without_an_ack_a_re_invite_ends_the_call() {
    let (mut net, a, _) = obliging();
    net.lose("ACK", u32::MAX);
    net.offer(A, a, "hold");
    net.run_until_quiet();
    assert_eq!(net.times("BYE"), [secs(32)]);
    assert_eq!(net.news(B), ["offered: hold", "ended Local AckTimeout"]);
}

#[test]
fn only_what_says_that_the_call_is_gone_ends_it() {
    for (status, ends) in [(408, Some("Timeout")), (481, Some("Forgotten")), (500, None), (404, None)] {
        let mut net = Net::pair();
        let (a, _) = net.answered_by_r("");
        net.offer(A, a, "hold");
        let invite = net.expect_raw(R, "INVITE");
        net.send_raw(R, A, &response_to(&invite, status, "", ""));
        net.expect_raw(R, "ACK");
        let last = net.story(A).pop().unwrap();
        match ends {
            Some(cause) => assert_eq!(last, format!("ended Local {cause}")),
            None => {
                assert_eq!(last, format!("offer refused {status}"));
                net.hangup(A, a);
            }
        }
        let bye = net.expect_raw(R, "BYE");
        net.send_raw(R, A, &response_to(&bye, 200, "", ""));
        net.run_until_quiet();
    }
}

#[test]
fn a_re_invite_without_any_answer_ends_the_call_and_a_transport_error_does_not() {
    let mut net = Net::pair();
    let (a, _) = net.answered_by_r("");
    net.offer(A, a, "hold");
    let error = Input::TransportError {
        transport: Transport::Udp,
        remote: addr(R),
        kind: TransportErrorKind::Refused,
    };
    net.input(A, error);
    assert_eq!(net.news(A), ["answered", "offer refused 503"]);
    net.offer(A, a, "hold");
    net.run_until_quiet();
    assert_eq!(net.news(A), ["ended Local Timeout"]);
}

#[test]
fn a_challenged_re_invite_is_sent_again_and_its_ack_has_the_credentials() {
    let mut net = Net::pair();
    let (a, _) = net.answered_by_r("");
    net.offer(A, a, "hold");
    let first = net.expect_raw(R, "INVITE");
    let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n1\"\n";
    net.send_raw(R, A, &response_to(&first, 407, "", challenge));
    net.expect_raw(R, "ACK");
    let again = net.expect_raw(R, "INVITE");
    assert_eq!(again.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    assert_eq!(again.sdp(), first.sdp());
    net.send_raw(R, A, &response_with(&again, 200, "", &format!("Contact: <sip:{R}>\n"), "ok"));
    let ack = net.expect_raw(R, "ACK");
    assert_eq!(ack.header(Name::ProxyAuthorization), again.header(Name::ProxyAuthorization));
    assert_eq!(net.news(A), ["answered", "offer answered: ok"]);
}

#[test]
fn hanging_up_cancels_a_re_invite_and_sends_the_bye_at_once() {
    let mut net = Net::pair();
    let (a, _) = net.answered_by_r("");
    net.offer(A, a, "hold");
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 100, "", ""));
    net.hangup(A, a);
    let cancel = net.expect_raw(R, "CANCEL");
    let bye = net.expect_raw(R, "BYE");
    for request in [&cancel, &bye] {
        net.send_raw(R, A, &response_to(request, 200, "", ""));
    }
    // A 200 has crossed both: it is acknowledged, and that is all.
    net.send_raw(R, A, &response_with(&invite, 200, "", &format!("Contact: <sip:{R}>\n"), "ok"));
    net.expect_raw(R, "ACK");
    net.send_raw(R, A, &response_with(&invite, 200, "", &format!("Contact: <sip:{R}>\n"), "ok"));
    net.expect_raw(R, "ACK");
    net.run_until_quiet();
    assert_eq!(net.news(A), ["answered", "ended Local Bye"]);
}

#[test]
fn a_re_invite_that_is_never_answered_is_forgotten_after_the_call() {
    // With and without a provisional response, and with one that comes after the BYE.
    for provisional in [Some(secs(0)), None, Some(secs(3))] {
        let mut net = Net::pair();
        let (a, _) = net.answered_by_r("");
        net.offer(A, a, "hold");
        let invite = net.expect_raw(R, "INVITE");
        let trying = response_to(&invite, 100, "", "");
        if provisional == Some(secs(0)) {
            net.send_raw(R, A, &trying);
        }
        net.hangup(A, a);
        if provisional == Some(secs(3)) {
            net.run_for(secs(3));
            assert_eq!(net.count("CANCEL"), 0, "nothing came that could be cancelled");
            net.send_raw(R, A, &trying);
        }
        net.expect_raw(R, "BYE");
        net.run_until_quiet();
        assert_eq!(net.count("CANCEL") > 0, provisional.is_some());
        assert_eq!(net.news(A), ["answered", "ended Local Bye"]);
    }
}

#[test]
fn a_re_invite_that_rings_for_ever_is_cancelled_and_the_call_goes_on() {
    let mut net = Net::pair();
    let (a, _) = net.answered_by_r("");
    net.offer(A, a, "hold");
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 180, "", ""));
    net.run_for(secs(182));
    let cancel = net.expect_raw(R, "CANCEL");
    net.send_raw(R, A, &response_to(&cancel, 200, "", ""));
    net.send_raw(R, A, &response_to(&invite, 487, "", ""));
    assert_eq!(net.news(A), ["answered", "offer refused 487"]);
    net.offer(A, a, "again");
    net.expect_raw(R, "INVITE");
}

#[test]
fn a_bye_answers_what_is_pending() {
    let mut net = Net::pair();
    let (b, ok) = net.called_by_r("");
    net.send_raw(R, B, &of_caller(&ok, "INVITE", 2, "", "hold"));
    net.send_raw(R, B, &of_caller(&ok, "BYE", 3, "", ""));
    net.expect_raw(R, "200 BYE");
    net.expect_raw(R, "487 INVITE");
    net.send_raw(R, B, &of_caller(&ok, "ACK", 2, "", ""));
    assert_eq!(accept(&mut net, B, b, "late"), Err(Error::UnknownSession));
    net.run_until_quiet();
    assert_eq!(net.news(B), ["incoming", "confirmed", "offered: hold", "ended Remote Bye"]);

    let (mut net, a, b) = standing();
    net.offer(A, a, "hold");
    net.hangup(B, b);
    net.run_until_quiet();
    assert_eq!(net.count("487 INVITE"), 1);
    assert_eq!(net.news(A), ["offer refused 487", "ended Remote Bye"]);
}

#[test]
fn the_target_moves_with_an_accepted_offer_only() {
    let mut net = Net::pair();
    let (b, ok) = net.called_by_r("");
    let moved = |cseq, to: &str| {
        of_caller(&ok, "INVITE", cseq, "", &format!("offer {cseq}"))
            .replace(&format!("Contact: <sip:r@{R}>"), &format!("Contact: <sip:r@{to}>"))
    };
    net.send_raw(R, B, &moved(2, "10.0.0.7:5060"));
    net.act(B, |endpoint, now| endpoint.refuse_offer(now, b, 488).unwrap());
    net.send_raw(R, B, &of_caller(&ok, "ACK", 2, "", ""));
    net.offer(B, b, "here?");
    let here = net.expect_raw(R, "INVITE");
    // The 2xx to a re-INVITE of ours moves it as well.
    net.send_raw(R, B, &response_with(&here, 200, "", "Contact: <sip:r@10.0.0.8:5060>\n", "no, there"));
    net.expect_raw("10.0.0.8:5060", "ACK");
    net.send_raw(R, B, &moved(3, "10.0.0.9:5060"));
    accept(&mut net, B, b, "yes").unwrap();
    net.send_raw(R, B, &of_caller(&ok, "ACK", 3, "", ""));
    net.hangup(B, b);
    let bye = net.expect_raw("10.0.0.9:5060", "BYE");
    net.send_raw("10.0.0.9:5060", B, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn commands_in_the_wrong_state_do_nothing() {
    let (mut net, a, _) = standing();
    let sent = net.wire.len();
    net.act(A, |endpoint, now| {
        assert_eq!(endpoint.accept_offer(now, a, sdp("x")), Err(Error::WrongState));
        assert_eq!(endpoint.refuse_offer(now, a, 488), Err(Error::WrongState));
        assert_eq!(endpoint.refuse_offer(now, a, 200), Err(Error::Status { status: 200 }));
        assert_eq!(endpoint.acknowledge(now, a, sdp("x")), Err(Error::WrongState));
    });
    assert_eq!(net.wire.len(), sent);
    let mut net = Net::pair();
    let a = net.call(A, R);
    let early = net.act(A, |endpoint, now| endpoint.offer(now, a, Some(sdp("x"))));
    assert_eq!(early, Err(Error::WrongState));
}

#[test]
fn bodies_that_we_cannot_read_are_refused_where_they_must_be_read() {
    let mut net = Net::pair();
    let (_, ok) = net.called_by_r("");
    let odd = |disposition: &str| {
        of_caller(&ok, "INVITE", 2, disposition, "x").replace("application/sdp", "application/x-odd")
    };
    net.send_raw(R, B, &odd(""));
    let refused = net.expect_raw(R, "415 INVITE");
    assert!(refused.headers(Name::Accept).any(|accept| accept == "application/sdp"));
    net.send_raw(R, B, &of_caller(&ok, "ACK", 2, "", ""));
    let optional = odd("Content-Disposition: session;handling=optional\n")
        .replace("E-2", "E-3")
        .replace("2 INV", "3 INV");
    net.send_raw(R, B, &optional);
    assert_eq!(net.story(B).last().unwrap(), "offered");
}
