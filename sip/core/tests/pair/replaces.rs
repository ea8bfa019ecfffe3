//! Replaces (RFC 3891): a call that takes another's place.

use crate::net::*;
use crate::requests::{answer_to, called_by_r, request};
use sip_core::*;

/// An INVITE of a third party to `b` with these header lines.
fn third(more: &str) -> String {
    let plain = request("INVITE", &format!("{R};branch=z9hG4bK-third"), &format!("Contact: <sip:t@{R}>\n"));
    let third = plain.replace("1@r", "third@r").replace("tag=f", "tag=t");
    third.replace("Content-Length", &format!("{more}Content-Length"))
}

/// What `b` is to be told to replace the call that `r` made to it.
fn replaces(ok: &Message) -> Replaces {
    Replaces {
        call_id: ok.call_id().unwrap(),
        to_tag: ok.to_tag().unwrap(),
        from_tag: ok.from_tag().unwrap(),
        early_only: false,
    }
}

fn line(replaces: &Replaces) -> String {
    format!("Require: replaces\nReplaces: {replaces}\n")
}

#[test]
fn an_answered_call_is_replaced_when_the_new_one_is_answered() {
    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    let old = net.session(B);
    ring_only(&mut net, B);
    net.send_raw(R, B, &third(&line(&replaces(&ok))));
    net.expect_raw(R, "180 INVITE");
    let Some((_, Event::Session { id: new, event: SessionEvent::Incoming { replaces: told, .. } })) =
        net.phone(B).events.last().cloned()
    else {
        panic!("{:?}", net.story(B))
    };
    assert_eq!(told, Some(old));
    assert_ne!(new, old);
    assert_eq!(net.count("BYE"), 0, "not before it is answered");
    net.act(B, |endpoint, now| endpoint.answer(now, new, None).unwrap());
    net.run_for(secs(0));
    let bye = net.last("BYE");
    assert_eq!((bye.call_id(), bye.from_tag()), (ok.call_id(), ok.to_tag()));
    assert_eq!(net.story(B)[3..], ["ended Local Replaced"]);
    net.act(B, |endpoint, now| endpoint.hangup(now, new, Hangup::default()).unwrap());
    net.run_for(secs(100));
}

#[test]
fn while_the_answer_waits_for_a_prack_the_old_call_stands() {
    for comes in [true, false] {
        let mut net = Net::pair();
        let ok = called_by_r(&mut net);
        ring_only(&mut net, B);
        net.send_raw(R, B, &third(&format!("Supported: 100rel\n{}", line(&replaces(&ok)))));
        let Some((_, Event::Session { id: new, .. })) = net.phone(B).events.last().cloned() else { panic!() };
        net.act(B, |endpoint, now| {
            endpoint.ring(now, new, 183, Some(sdp("offer"))).unwrap();
            endpoint.answer(now, new, None).unwrap();
        });
        net.run_for(secs(0));
        assert_eq!((net.count("200 INVITE"), net.count("BYE")), (1, 0));
        if comes {
            let ringing = net.expect_raw(R, "183 INVITE");
            let rack = format!(
                "RAck: {} {}\n",
                ringing.header(Name::RSeq).unwrap(),
                ringing.header(Name::CSeq).unwrap()
            );
            let prack = of_caller(&ringing, "PRACK", 9, &rack, "answer");
            net.send_raw(R, B, &prack);
            net.expect_raw(R, "200 INVITE");
            assert_eq!(net.last("BYE").call_id(), ok.call_id());
        } else {
            net.run_for(secs(40));
            assert_eq!((net.count("504 INVITE") > 0, net.count("BYE")), (true, 0));
            let old = net.session(B);
            net.hangup(B, old);
        }
        net.run_for(secs(100));
    }
}

#[test]
fn a_new_call_that_is_refused_leaves_the_old_one() {
    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    ring_only(&mut net, B);
    net.send_raw(R, B, &third(&line(&replaces(&ok))));
    let Some((_, Event::Session { id: new, .. })) = net.phone(B).events.last().cloned() else { panic!() };
    net.act(B, |endpoint, now| endpoint.reject(now, new, 486, &[]).unwrap());
    net.run_for(secs(40));
    assert_eq!(net.count("BYE"), 0);
    assert_eq!(net.story(B), ["incoming", "confirmed", "incoming", "failed Response(486)"]);
    let old = net.session(B);
    net.hangup(B, old);
    net.run_for(secs(40));
}

#[test]
fn calls_that_cannot_be_replaced_are_told_apart() {
    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    let good = replaces(&ok);
    for (more, status) in [
        (line(&Replaces { call_id: "other".into(), ..good.clone() }), 481),
        (line(&Replaces { to_tag: "0123456789abcdef".into(), ..good.clone() }), 481),
        (line(&Replaces { from_tag: "x".into(), ..good.clone() }), 481),
        (line(&Replaces { early_only: true, ..good.clone() }), 486),
        ("Replaces: nonsense\n".into(), 400),
        (format!("Replaces: {good}\nReplaces: {good}\n"), 400),
        (format!("Require: join\nJoin: {good}\n"), 420),
    ] {
        let answer = answer_to(&mut net, &third(&more));
        assert_eq!(answer.status(), Some(status), "{more}");
        net.run_for(secs(40));
        while net.receive_raw(R).is_some() {}
    }
    assert_eq!(net.story(B), ["incoming", "confirmed"]);
    let options = request("OPTIONS", &format!("{R};branch=z9hG4bK-o"), &format!("Replaces: {good}\n"));
    assert_eq!(answer_to(&mut net, &options).status(), Some(400), "only an INVITE replaces");
    net.send_raw(R, B, &of_caller(&ok, "INFO", 50, &format!("Replaces: {good}\n"), ""));
    assert_eq!(net.expect_raw(R, "400 INFO").reason(), "Replaces Outside INVITE");
    // A call that is over.
    let b = net.session(B);
    net.hangup(B, b);
    assert_eq!(net.expect_raw(R, "BYE").call_id(), ok.call_id());
    assert_eq!(answer_to(&mut net, &third(&line(&good))).status(), Some(603));
    net.run_for(secs(100));
}

#[test]
fn a_call_that_rings_here_is_not_replaced_and_one_that_we_make_is() {
    // RFC 3891 section 3: an early dialog "that was not initiated by this UA" is not there to be replaced.
    let mut net = Net::pair();
    ring_only(&mut net, B);
    net.send_raw(
        R,
        B,
        &request("INVITE", &format!("{R};branch=z9hG4bK-e"), &format!("Contact: <sip:r@{R}>\n")),
    );
    let ringing = net.expect_raw(R, "180 INVITE");
    assert_eq!(answer_to(&mut net, &third(&line(&replaces(&ringing)))).status(), Some(481));
    net.run_for(secs(40));
    let b = net.session(B);
    net.hangup(B, b);
    net.run_for(secs(40));

    let mut net = Net::pair();
    let old = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 180, "r1", &format!("Contact: <sip:r@{R}>\n")));
    answer_calls(&mut net, A);
    let picked_up = Replaces {
        call_id: invite.call_id().unwrap(),
        to_tag: invite.from_tag().unwrap(),
        from_tag: "r1".into(),
        early_only: true,
    };
    net.send_raw(R, A, &third(&line(&picked_up)).replace(B, A));
    net.expect_raw(R, "200 INVITE");
    let cancel = net.last("CANCEL");
    assert_eq!(cancel.call_id(), invite.call_id());
    assert_eq!(net.story(A), ["180", "incoming"]);
    net.send_raw(R, A, &response_to(&invite, 487, "r1", ""));
    assert_eq!(net.story(A)[2..], ["failed Cancelled"]);
    let _ = old;
    net.run_for(secs(100));
}

#[test]
fn an_attended_transfer_from_end_to_end() {
    // `b` holds two calls: `a` called it, and it called `r`. It has `a` call `r` in its stead.
    let mut net = Net::pair();
    let (a, b) = net.established();
    let consultation = net.call(B, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, B, &response_to(&invite, 200, "r1", &format!("Contact: <sip:r@{R}>\n")));
    let to = net.phone(B).endpoint.refer_to(consultation).unwrap();
    let expected = Replaces {
        call_id: invite.call_id().unwrap(),
        to_tag: "r1".into(),
        from_tag: invite.from_tag().unwrap(),
        early_only: false,
    };
    let address = NameAddr::new(uri(&format!("sip:r@{R}")));
    assert_eq!(to, ReferTo { address, replaces: Some(expected.clone()) });
    net.act(B, |endpoint, now| endpoint.refer(now, b, Refer::new(to.clone())).unwrap());
    net.run_for(secs(0));
    let Some((_, Event::Session { event: SessionEvent::Referred(referred), .. })) =
        net.phone(A).events.last().cloned()
    else {
        panic!("{:?}", net.story(A))
    };
    let Referred { refer, to: told, .. } = *referred;
    assert_eq!(told, to);
    net.act(A, |endpoint, now| endpoint.accept_refer(now, a, refer).unwrap());
    let transferred = Invite {
        request_uri: told.address.uri().clone(),
        replaces: told.replaces.clone(),
        ..crate::net::invite(R)
    };
    let new = net.act(A, |endpoint, now| endpoint.invite(now, transferred).unwrap());
    net.run_for(secs(0));
    let asked = net.expect_raw(R, "INVITE");
    assert_eq!(asked.replaces(), Ok(Some(expected)));
    assert!(asked.headers(Name::Require).any(|tag| tag == "replaces"));
    net.send_raw(R, A, &response_to(&asked, 200, "r2", &format!("Contact: <sip:r@{R}>\n")));
    net.act(A, |endpoint, now| endpoint.refer_progress(now, a, refer, 200, "").unwrap());
    net.run_for(secs(0));
    let story = net.story(B);
    assert_eq!(story.last().unwrap(), "refer Done(200)", "{story:?}");
    for (at, id) in [(B, b), (B, consultation), (A, new)] {
        net.hangup(at, id);
    }
    net.run_for(secs(100));
}
