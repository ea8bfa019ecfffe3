//! Reliable provisional responses and what goes with them (RFC 3262), UPDATE before the answer (RFC 3311).

use crate::net::*;
use sip_core::*;

/// Has an endpoint ring every call with these, and answer it later.
fn ring_with(net: &mut Net, at: &str, responses: &'static [(u16, &'static str)], answer_after: u64) {
    net.react(at, move |phone, now, event| {
        let Event::Session { id, event: SessionEvent::Incoming { .. } } = event else { return };
        let id = *id;
        for (status, text) in responses {
            let body = (!text.is_empty()).then(|| sdp(text));
            phone.endpoint.ring(now, id, *status, body).unwrap();
        }
        phone.plans.push((
            ms(answer_after),
            Box::new(move |phone, now| {
                // The caller may have given up.
                let _ = phone.endpoint.answer(now, id, Some(sdp("of the 200")));
            }),
        ));
    });
}

#[test]
fn early_media_is_the_answer_once_it_is_acknowledged() {
    let mut net = Net::pair();
    ring_with(&mut net, B, &[(183, "early")], 3_000);
    let a = net.call(A, B);
    net.run_for(secs(5));
    assert_eq!(
        net.ladder(),
        ["> INVITE", "< 100 INVITE", "< 183 INVITE", "> PRACK", "< 200 PRACK", "< 200 INVITE", "> ACK"]
    );
    assert_eq!(net.story(A), ["183 with body", "answered"]);
    let (ringing, prack) = (net.last("183 INVITE"), net.last("PRACK"));
    let rseq = ringing.header(Name::RSeq).unwrap();
    assert_eq!(ringing.header(Name::Require), Some("100rel"));
    assert_eq!(prack.header(Name::RAck), Some(&*format!("{rseq} 1 INVITE")));
    assert_eq!((prack.cseq().unwrap().number, prack.to_tag()), (2, ringing.to_tag()));
    // RFC 3261 section 13.2.1: no description after the answer; the user is told which is in force.
    assert!(net.last("200 INVITE").body().is_empty());
    let events = net.phone(A).events.clone();
    let Event::Session { event: SessionEvent::Answered { body, .. }, .. } = &events[1].1 else { panic!() };
    assert_eq!(body.as_deref(), Some(&b"early"[..]));
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn without_a_body_or_where_it_is_off_nothing_is_acknowledged() {
    for (reliable, responses) in
        [(Reliable::Supported, &[(180, "")][..]), (Reliable::Off, &[(183, "early")][..])]
    {
        let mut net = Net::new();
        net.add(A, Transport::Udp);
        net.add_with(B, Transport::Udp, |config| config.reliable = reliable);
        ring_with(&mut net, B, responses, 1_000);
        let a = net.call(A, B);
        net.run_for(secs(5));
        assert_eq!(net.count("PRACK"), 0);
        assert_eq!(net.last("200 INVITE").sdp().as_deref(), Some(&b"of the 200"[..]));
        net.hangup(A, a);
        net.run_until_quiet();
    }
}

#[test]
fn a_caller_that_requires_it_gets_every_ring_reliably() {
    let mut net = Net::pair();
    ring_with(&mut net, B, &[(180, ""), (181, ""), (183, "early")], 5_000);
    let mut call = invite(B);
    call.reliable = Reliable::Required;
    let a = net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.run_for(secs(1));
    // One after the other.
    assert_eq!(
        net.ladder()[2..],
        [
            "< 180 INVITE",
            "> PRACK",
            "< 200 PRACK",
            "< 181 INVITE",
            "> PRACK",
            "< 200 PRACK",
            "< 183 INVITE",
            "> PRACK",
            "< 200 PRACK"
        ]
    );
    let rseqs: Vec<u32> = net
        .wire
        .iter()
        .filter_map(|seen| seen.message.header(Name::RSeq))
        .map(|rseq| rseq.parse().unwrap())
        .collect();
    assert_eq!([rseqs[1] - rseqs[0], rseqs[2] - rseqs[1]], [1, 1]);
    assert_eq!(net.story(A), ["180", "181", "183 with body"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn who_cannot_what_is_required_is_told_so() {
    let mut net = Net::new();
    net.add_with(A, Transport::Udp, |config| config.reliable = Reliable::Off);
    net.add_with(B, Transport::Udp, |config| config.reliable = Reliable::Required);
    net.send_raw(R, B, &invite_of_caller("", "r offer"));
    assert_eq!(net.expect_raw(R, "421 INVITE").header(Name::Require), Some("100rel"));
    let text = invite_of_caller("Require: 100rel\n", "r offer").replace(B, A);
    net.send_raw(R, A, &text);
    assert_eq!(net.expect_raw(R, "420 INVITE").header(Name::Unsupported), Some("100rel"));
}

/// A calls R with what it says of reliable responses; the INVITE.
fn call_r_with(net: &mut Net, reliable: Reliable) -> Message {
    let mut call = invite(R);
    call.reliable = reliable;
    net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.run_for(ms(0));
    net.expect_raw(R, "INVITE")
}

#[test]
fn a_callee_that_requires_it_is_called_again_with_it() {
    let mut net = Net::new();
    net.add(A, Transport::Udp);
    net.add_with(B, Transport::Udp, |config| config.reliable = Reliable::Required);
    ring_with(&mut net, B, &[(183, "early")], 1_000);
    let mut call = invite(B);
    call.reliable = Reliable::Off;
    let a = net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.run_for(secs(2));
    assert_eq!(
        net.ladder()[..7],
        ["> INVITE", "< 421 INVITE", "> ACK", "> INVITE", "< 100 INVITE", "< 183 INVITE", "> PRACK"]
    );
    assert_eq!(net.story(A), ["183 with body", "answered"]);
    let again = net.last("INVITE");
    assert_eq!((again.cseq().unwrap().number, again.header(Name::Require)), (2, None));
    assert!(again.headers(Name::Supported).any(|tag| tag == "100rel"));
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_421_that_makes_no_sense_fails_the_call() {
    for (reliable, more) in [
        (Reliable::Off, ""),
        (Reliable::Off, "Require: timer\n"),
        (Reliable::Off, "Require: 100rel, x-unknown\n"),
        // It has what it asks for.
        (Reliable::Supported, "Require: 100rel\n"),
        (Reliable::Required, "Require: 100rel\n"),
    ] {
        let mut net = Net::pair();
        let invite = call_r_with(&mut net, reliable);
        net.send_raw(R, A, &response_to(&invite, 421, "r1", more));
        assert_eq!(net.story(A), ["failed Response(421)"], "{more}");
        net.run_until_quiet();
    }
    // One that asks again for what it got is not asked for ever.
    let mut net = Net::pair();
    let mut invite = call_r_with(&mut net, Reliable::Off);
    for (to_tag, story) in [("r1", &[][..]), ("r2", &["failed Response(421)".to_owned()])] {
        net.send_raw(R, A, &response_to(&invite, 421, to_tag, "Require: 100rel\n"));
        assert_eq!(net.story(A), story);
        net.expect_raw(R, "ACK");
        if story.is_empty() {
            invite = net.expect_raw(R, "INVITE");
        }
    }
    net.run_until_quiet();
}

#[test]
fn a_lost_response_and_a_lost_prack_come_again() {
    let mut net = Net::pair();
    ring_with(&mut net, B, &[(183, "early")], 20_000);
    net.lose("183 INVITE", 2);
    net.lose("PRACK", 1);
    net.lose("200 PRACK", 1);
    let a = net.call(A, B);
    net.run_for(secs(15));
    assert_eq!(net.times("183 INVITE"), [0, 500, 1_500].map(ms));
    // The first is lost, the second's answer is lost, the third is answered.
    assert_eq!(net.times("PRACK"), [1_500, 2_000, 3_000].map(ms));
    assert_eq!(net.times("200 PRACK"), [2_000, 3_000].map(ms));
    assert_eq!(net.story(A), ["183 with body"]);
    net.run_for(secs(15));
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn without_a_prack_the_call_is_refused() {
    let mut net = Net::pair();
    ring_with(&mut net, B, &[(183, "early")], 40_000);
    net.lose("PRACK", u32::MAX);
    net.call(A, B);
    net.run_until_quiet();
    assert_eq!(net.times("183 INVITE"), [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500].map(ms));
    assert_eq!(net.times("504 INVITE"), [secs(32)]);
    assert_eq!(net.story(A), ["183 with body", "failed Response(504)"]);
    assert_eq!(net.story(B), ["incoming", "failed Response(504)"]);
}

#[test]
fn the_200_waits_for_the_prack_of_a_description() {
    let mut net = Net::pair();
    ring_with(&mut net, B, &[(183, "early"), (180, "")], 100);
    net.lose("PRACK", 2);
    let a = net.call(A, B);
    net.run_for(secs(10));
    assert_eq!(net.times("200 INVITE"), [ms(1_500)]);
    assert_eq!(net.count("180 INVITE"), 0, "what has waited is out of date");
    assert_eq!(net.story(A), ["183 with body", "answered"]);
    // And an answer that waits can be taken back.
    let mut net2 = Net::pair();
    ring_with(&mut net2, B, &[(183, "early")], 100);
    net2.lose("PRACK", u32::MAX);
    net2.call(A, B);
    net2.run_for(secs(1));
    let b = net2.session(B);
    let again = net2.act(B, |endpoint, now| endpoint.answer(now, b, None));
    assert_eq!(again, Err(Error::WrongState));
    net2.hangup(B, b);
    net2.run_until_quiet();
    assert_eq!(net2.story(A), ["183 with body", "failed Response(603)"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_200_does_not_wait_for_the_prack_of_a_mere_ring_which_may_come_later() {
    let mut net = Net::pair();
    net.react(B, |phone, now, event| {
        let Event::Session { id, event: SessionEvent::Incoming { .. } } = event else { return };
        phone.endpoint.ring(now, *id, 180, None).unwrap();
        phone.endpoint.answer(now, *id, Some(sdp("answer"))).unwrap();
    });
    net.send_raw(R, B, &invite_of_caller("Require: 100rel\n", "r offer"));
    let ringing = net.expect_raw(R, "180 INVITE");
    let ok = net.expect_raw(R, "200 INVITE");
    let rack = |add: u32| {
        let rseq: u32 = ringing.header(Name::RSeq).unwrap().parse().unwrap();
        format!("RAck: {} 1 INVITE\n", rseq + add)
    };
    net.send_raw(R, B, &of_caller(&ok, "PRACK", 2, &rack(1), ""));
    net.expect_raw(R, "481 PRACK");
    net.send_raw(R, B, &of_caller(&ok, "PRACK", 3, &rack(0), ""));
    net.expect_raw(R, "200 PRACK");
    net.send_raw(R, B, &of_caller(&ok, "PRACK", 4, &rack(0), ""));
    net.expect_raw(R, "481 PRACK");
    net.send_raw(R, B, &of_caller(&ok, "ACK", 1, "", ""));
    net.send_raw(R, B, &of_caller(&ok, "BYE", 5, "", ""));
    net.run_until_quiet();
    assert_eq!(net.count("180 INVITE"), 1, "not repeated after the 200");
}

#[test]
fn only_the_right_prack_counts() {
    let mut net = Net::pair();
    ring_with(&mut net, B, &[(183, "early")], 60_000);
    net.send_raw(R, B, &invite_of_caller("Supported: 100rel\n", "r offer"));
    let ringing = net.expect_raw(R, "183 INVITE");
    let rseq = ringing.header(Name::RSeq).unwrap();
    for (cseq, rack, status) in [
        (2, "RAck: 1 1 INVITE\n".to_owned(), 481),
        (3, format!("RAck: {rseq} 9 INVITE\n"), 481),
        (4, format!("RAck: {rseq} 1 UPDATE\n"), 400),
        (5, String::new(), 400),
        (6, format!("RAck: {rseq} 1 INVITE\n"), 200),
        (7, format!("RAck: {rseq} 1 INVITE\n"), 481),
    ] {
        net.send_raw(R, B, &of_caller(&ringing, "PRACK", cseq, &rack, ""));
        net.expect_raw(R, &format!("{status} PRACK"));
    }
    let rang = net.count("183 INVITE");
    net.run_for(secs(50));
    assert_eq!(net.count("183 INVITE"), rang, "acknowledged");
    net.send_raw(R, B, &of_caller(&ringing, "BYE", 8, "", ""));
    net.run_until_quiet();
}

#[test]
fn responses_out_of_order_wait_for_the_one_before_and_repetitions_are_not_told() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    assert_eq!(invite.header(Name::Supported), Some("100rel"));
    let more = |rseq| format!("Contact: <sip:{R}>\nRequire: 100rel\nRSeq: {rseq}\n");
    let ring = |net: &mut Net, status, rseq: u32| {
        net.send_raw(R, A, &response_to(&invite, status, "r1", &more(rseq)));
        let prack = net.receive_raw(R);
        if let Some(prack) = &prack {
            net.send_raw(R, A, &response_to(prack, 200, "", ""));
        }
        prack.map(|prack| prack.header(Name::RAck).unwrap().to_owned())
    };
    assert_eq!(ring(&mut net, 180, 7).as_deref(), Some("7 1 INVITE"));
    assert_eq!(ring(&mut net, 180, 7), None);
    assert_eq!(ring(&mut net, 182, 9), None, "8 is missing");
    assert_eq!(ring(&mut net, 181, 8).as_deref(), Some("8 1 INVITE"));
    assert_eq!(ring(&mut net, 182, 9).as_deref(), Some("9 1 INVITE"));
    assert_eq!(ring(&mut net, 181, 8), None);
    // A reliable response of an INVITE counts from anywhere, but not from nowhere.
    net.send_raw(R, A, &response_to(&invite, 180, "r2", &more(0)));
    assert!(net.receive_raw(R).is_none());
    assert_eq!(net.story(A), ["180", "181", "182", "180"]);
    net.hangup(A, a);
    net.run_for(secs(100));
}

#[test]
fn the_first_reliable_description_is_the_answer_and_later_ones_are_not_told() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let more = |rseq| format!("Contact: <sip:{R}>\nRequire: 100rel\nRSeq: {rseq}\n");
    net.send_raw(R, A, &response_with(&invite, 183, "r1", &more(1), "answer"));
    net.send_raw(R, A, &response_with(&invite, 183, "r1", &more(2), "another"));
    net.send_raw(R, A, &response_with(&invite, 180, "r1", "", "yet another"));
    net.send_raw(R, A, &response_with(&invite, 200, "r1", &format!("Contact: <sip:{R}>\n"), "and one"));
    let mut bodies = Vec::new();
    for (_, event) in &net.phone(A).events {
        if let Event::Session { event: SessionEvent::Provisional { body, .. }, .. }
        | Event::Session { event: SessionEvent::Answered { body, .. }, .. } = event
        {
            bodies.push(body.clone());
        }
    }
    assert_eq!(bodies, [Some("answer".into()), None, Some("answer".into())]);
    assert_eq!(net.count("PRACK"), 2);
    net.hangup(A, a);
}

#[test]
fn a_challenged_prack_is_sent_again() {
    let mut net = Net::pair();
    net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let more = format!("Contact: <sip:{R}>\nRequire: 100rel\nRSeq: 1\n");
    net.send_raw(R, A, &response_to(&invite, 180, "r1", &more));
    let prack = net.expect_raw(R, "PRACK");
    let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n1\"\n";
    net.send_raw(R, A, &response_to(&prack, 407, "", challenge));
    let again = net.expect_raw(R, "PRACK");
    assert!(again.header(Name::ProxyAuthorization).is_some());
    assert_eq!(again.header(Name::RAck), prack.header(Name::RAck));
    net.send_raw(R, A, &response_to(&again, 407, "", challenge));
    assert!(net.receive_raw(R).is_none(), "and no third time");
}

#[test]
fn an_offer_in_a_prack_is_the_users_to_answer() {
    let mut net = Net::pair();
    ring_with(&mut net, B, &[(183, "early"), (180, "")], 60_000);
    net.send_raw(R, B, &invite_of_caller("Require: 100rel\n", "r offer"));
    let ringing = net.expect_raw(R, "183 INVITE");
    let rack = |response: &Message| format!("RAck: {} 1 INVITE\n", response.header(Name::RSeq).unwrap());
    net.send_raw(R, B, &of_caller(&ringing, "PRACK", 2, &rack(&ringing), "second offer"));
    assert_eq!(net.story(B), ["incoming", "offered: second offer"]);
    let b = net.session(B);
    let early = net.act(B, |endpoint, now| endpoint.answer(now, b, None));
    assert_eq!(early, Err(Error::OfferPending));
    net.act(B, |endpoint, now| endpoint.accept_offer(now, b, sdp("second answer")).unwrap());
    net.run_for(secs(0));
    let next = net.expect_raw(R, "180 INVITE");
    net.send_raw(R, B, &of_caller(&next, "PRACK", 3, &rack(&next), "second offer"));
    let ok = net.expect_raw(R, "200 PRACK");
    assert_eq!(ok.sdp().as_deref(), Some(&b"second answer"[..]), "nothing new is answered inside");
    net.act(B, |endpoint, now| endpoint.answer(now, b, Some(sdp("x"))).unwrap());
    net.run_for(secs(0));
    let ok = net.expect_raw(R, "200 INVITE");
    assert!(ok.body().is_empty());
    net.send_raw(R, B, &of_caller(&ok, "ACK", 1, "", ""));
    net.send_raw(R, B, &of_caller(&ok, "BYE", 4, "", ""));
    net.run_until_quiet();
}

/// A call of `a` to `b` that rings with an acknowledged description.
fn ringing() -> (Net, SessionId, SessionId) {
    let mut net = Net::pair();
    ring_with(&mut net, B, &[(183, "early")], 60_000);
    let a = net.call(A, B);
    net.run_for(secs(1));
    let b = net.session(B);
    net.react(B, |_, _, _| {});
    net.news(A);
    net.news(B);
    (net, a, b)
}

#[test]
fn before_the_answer_either_side_offers_by_update() {
    for from in [A, B] {
        let (mut net, a, b) = ringing();
        let (to, ours, theirs) = if from == A { (B, a, b) } else { (A, b, a) };
        net.offer(from, ours, "new");
        assert_eq!(net.news(to), ["offered: new"]);
        net.act(to, |endpoint, now| endpoint.accept_offer(now, theirs, sdp("good")).unwrap());
        net.run_for(secs(1));
        assert_eq!(net.news(from), ["offer answered: good"]);
        net.offer(from, ours, "newer");
        net.act(to, |endpoint, now| endpoint.refuse_offer(now, theirs, 488).unwrap());
        net.run_for(secs(1));
        assert_eq!(net.news(from), ["offer refused 488"]);
        assert_eq!((net.count("UPDATE"), net.count("INVITE")), (2, 1));
        net.act(B, |endpoint, now| endpoint.answer(now, b, None).unwrap());
        net.run_for(secs(1));
        assert_eq!(net.news(A).last().unwrap(), "answered");
        net.hangup(A, a);
        net.run_until_quiet();
    }
}

#[test]
fn a_call_that_rings_on_after_a_prack_says_so_anew() {
    for (asks, again) in [("Require", Some(1)), ("Supported", None)] {
        let mut net = Net::pair();
        ring_with(&mut net, B, &[(183, "early")], 100_000);
        net.send_raw(R, B, &invite_of_caller(&format!("{asks}: 100rel\n"), "offer"));
        let first = net.expect_raw(R, "183 INVITE");
        let rseq: u32 = first.header(Name::RSeq).unwrap().parse().unwrap();
        net.send_raw(R, B, &of_caller(&first, "PRACK", 2, &format!("RAck: {rseq} 1 INVITE\n"), ""));
        net.run_for(ms(60_100));
        let rseqs: Vec<Option<u32>> = net
            .wire
            .iter()
            .filter(|seen| seen.label() == "183 INVITE")
            .map(|seen| seen.message.header(Name::RSeq).map(|rseq| rseq.parse().unwrap()))
            .collect();
        assert_eq!(rseqs, [Some(rseq), again.map(|add| rseq + add)], "{asks}");
        let b = net.session(B);
        net.hangup(B, b);
    }
}

#[test]
fn an_update_of_the_callee_waits_for_the_prack_of_its_answer() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    let more = "Supported: 100rel\nAllow: UPDATE\n";
    net.send_raw(R, B, &invite_of_caller(more, "offer"));
    let b = net.session(B);
    net.act(B, |endpoint, now| endpoint.ring(now, b, 183, Some(sdp("answer"))).unwrap());
    let early = net.act(B, |endpoint, now| endpoint.offer(now, b, Some(sdp("again"))));
    assert_eq!(early, Err(Error::OfferPending));
    net.run_for(secs(0));
    let ringing = net.expect_raw(R, "183 INVITE");
    let rack = format!("RAck: {} 1 INVITE\n", ringing.header(Name::RSeq).unwrap());
    net.send_raw(R, B, &of_caller(&ringing, "PRACK", 2, &rack, ""));
    net.offer(B, b, "again");
    net.expect_raw(R, "UPDATE");
}

#[test]
fn the_first_reliable_response_to_an_invite_without_an_offer_has_one() {
    for (asks, refused) in [("Supported", false), ("Require", true)] {
        let mut net = Net::new();
        net.add_with(B, Transport::Udp, |config| config.reliable = Reliable::Required);
        net.send_raw(R, B, &invite_of_caller(&format!("{asks}: 100rel\n"), ""));
        let b = net.session(B);
        let bare = net.act(B, |endpoint, now| endpoint.ring(now, b, 180, None));
        assert_eq!(bare, if refused { Err(Error::WrongState) } else { Ok(()) });
        net.act(B, |endpoint, now| endpoint.ring(now, b, 183, Some(sdp("offer"))).unwrap());
        net.run_for(secs(0));
        assert_eq!(net.count("180 INVITE"), usize::from(!refused));
        assert!(
            net.wire
                .iter()
                .filter(|seen| seen.label() == "180 INVITE")
                .all(|seen| seen.message.header(Name::RSeq).is_none())
        );
        let ringing = net.last("183 INVITE");
        assert_eq!((ringing.header(Name::Require), &ringing.body()[..]), (Some("100rel"), &b"offer"[..]));
        net.hangup(B, b);
        net.expect_raw(R, "603 INVITE");
    }
}

#[test]
fn an_update_that_crosses_the_answer_is_answered_after_it() {
    let (mut net, a, b) = ringing();
    net.offer(A, a, "new");
    let answer = net.act(B, |endpoint, now| endpoint.answer(now, b, None));
    assert_eq!(answer, Err(Error::OfferPending), "one after the other");
    net.act(B, |endpoint, now| endpoint.accept_offer(now, b, sdp("good")).unwrap());
    net.act(B, |endpoint, now| endpoint.answer(now, b, None).unwrap());
    net.run_for(secs(1));
    assert_eq!(net.news(A), ["offer answered: good", "answered"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn an_invitation_expires_at_both_ends() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    let mut call = invite(B);
    call.expires = Some(secs(20));
    net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.run_for(secs(1));
    assert_eq!(net.last("INVITE").header(Name::Expires), Some("20"));
    net.run_until_quiet();
    assert_eq!(net.story(A), ["180", "failed Cancelled"]);
    assert_eq!(net.story(B), ["incoming", "failed Cancelled"]);
    assert_eq!(net.times("487 INVITE"), [secs(20)]);

    let mut net = Net::pair();
    ring_only(&mut net, B);
    net.send_raw(R, B, &invite_of_caller("Expires: 5\n", "r offer"));
    net.run_for(secs(6));
    assert_eq!(net.times("487 INVITE")[0], secs(5));
    assert_eq!(net.story(B), ["incoming", "failed Cancelled"]);

    // An answer in time is not undone.
    let mut net = Net::pair();
    let (_, ok) = net.called_by_r("Expires: 5\n");
    net.run_for(secs(60));
    net.send_raw(R, B, &of_caller(&ok, "BYE", 2, "", ""));
    net.run_until_quiet();
    assert_eq!(net.story(B), ["incoming", "confirmed", "ended Remote Bye"]);
}
