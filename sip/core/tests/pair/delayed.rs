//! Calls in which the callee offers: an INVITE without a body.

use crate::net::*;
use sip_core::*;

fn bodyless(to: &str) -> Invite {
    Invite { body: None, ..invite(to) }
}

/// Has `b` answer every call with an offer.
fn offer_in_answer(net: &mut Net) {
    net.react(B, |phone, now, event| {
        if let Event::Session { id, event: SessionEvent::Incoming { .. } } = event {
            phone.endpoint.answer(now, *id, Some(sdp("b offer"))).unwrap();
        }
    });
}

#[test]
fn the_offer_comes_in_the_200_and_the_answer_in_the_ack() {
    let mut net = Net::pair();
    offer_in_answer(&mut net);
    let a = net.act(A, |endpoint, now| endpoint.invite(now, bodyless(B)).unwrap());
    net.run_for(secs(3));
    assert_eq!(net.count("ACK"), 0);
    assert_eq!(net.times("200 INVITE"), [0, 500, 1_500].map(ms));
    let refused = net.act(A, |endpoint, now| endpoint.refuse_offer(now, a, 488));
    assert_eq!(refused, Err(Error::WrongState), "an offer in a 2xx cannot be refused");
    let pending = net.act(A, |endpoint, now| endpoint.offer(now, a, Some(sdp("x"))));
    assert_eq!(pending, Err(Error::OfferPending));
    net.lose("ACK", 1);
    net.act(A, |endpoint, now| endpoint.acknowledge(now, a, sdp("a answer")).unwrap());
    net.run_for(secs(60));
    assert_eq!(net.count("ACK"), 2, "the one that was lost, and again for the next 200");
    assert_eq!(net.story(A), ["answered"]);
    assert_eq!(net.story(B), ["incoming", "confirmed: a answer"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn who_hangs_up_instead_of_answering_acknowledges_first() {
    let mut net = Net::pair();
    offer_in_answer(&mut net);
    let a = net.act(A, |endpoint, now| endpoint.invite(now, bodyless(B)).unwrap());
    net.run_for(secs(1));
    net.hangup(A, a);
    net.run_until_quiet();
    let after: Vec<_> = net.ladder().into_iter().skip_while(|label| label != "> ACK").collect();
    assert_eq!(after, ["> ACK", "> BYE", "< 200 BYE"]);
    assert_eq!(net.story(A), ["answered", "ended Local Bye"]);
    assert_eq!(net.story(B), ["incoming", "confirmed", "ended Remote Bye"]);
}

#[test]
fn who_never_answers_the_offer_has_no_call() {
    let mut net = Net::pair();
    offer_in_answer(&mut net);
    net.act(A, |endpoint, now| endpoint.invite(now, bodyless(B)).unwrap());
    net.run_until_quiet();
    assert_eq!((net.times("ACK")[0], net.times("BYE")), (secs(10), vec![secs(10)]));
    assert_eq!(net.story(A), ["answered", "ended Local OfferTimeout"]);
}

#[test]
fn the_callee_hangs_up_while_the_ack_waits() {
    let mut net = Net::pair();
    let a = net.act(A, |endpoint, now| endpoint.invite(now, bodyless(R)).unwrap());
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_with(&invite, 200, "r1", &format!("Contact: <sip:{R}>\n"), "r offer"));
    net.send_raw(R, A, &of_callee(&invite, "r1", "BYE", 1, "", ""));
    net.expect_raw(R, "200 BYE");
    let late = net.act(A, |endpoint, now| endpoint.acknowledge(now, a, sdp("late")));
    assert_eq!(late, Err(Error::WrongState));
    net.run_until_quiet();
    assert_eq!(net.story(A), ["answered", "ended Remote Bye"]);
}

#[test]
fn a_200_without_the_offer_is_acknowledged_all_the_same() {
    let mut net = Net::pair();
    let a = net.act(A, |endpoint, now| endpoint.invite(now, bodyless(R)).unwrap());
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 200, "r1", &format!("Contact: <sip:{R}>\n")));
    net.expect_raw(R, "ACK");
    // And there is a way on from there.
    net.offer(A, a, "a offer");
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_with(&invite, 200, "", "", "r answer"));
    assert_eq!(net.story(A), ["answered", "offer answered: r answer"]);
}

#[test]
fn the_offer_comes_in_a_reliable_response_and_the_answer_in_the_prack() {
    let mut net = Net::pair();
    net.react(B, |phone, now, event| {
        if let Event::Session { id, event: SessionEvent::Incoming { .. } } = event {
            let id = *id;
            phone.endpoint.ring(now, id, 183, Some(sdp("b offer"))).unwrap();
            phone.plans.push((
                secs(5),
                Box::new(move |phone, now| {
                    let _ = phone.endpoint.answer(now, id, Some(sdp("no matter")));
                }),
            ));
        }
    });
    let a = net.act(A, |endpoint, now| endpoint.invite(now, bodyless(B)).unwrap());
    net.run_for(ms(600));
    assert_eq!(net.story(A), ["183", "offered: b offer"]);
    net.act(A, |endpoint, now| endpoint.accept_offer(now, a, sdp("a answer")).unwrap());
    net.run_for(secs(10));
    assert_eq!(net.times("183 INVITE"), [0, 500].map(ms));
    assert_eq!(net.last("PRACK").sdp().as_deref(), Some(&b"a answer"[..]));
    assert_eq!(net.story(A), ["183", "offered: b offer", "answered"]);
    assert_eq!(net.story(B), ["incoming", "offer answered: a answer", "confirmed"]);
    assert!(net.last("200 INVITE").body().is_empty() && net.last("ACK").body().is_empty());
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn an_offer_in_a_response_that_is_refused_gives_the_call_up() {
    for refuses in [true, false] {
        let mut net = Net::pair();
        net.react(B, |phone, now, event| {
            if let Event::Session { id, event: SessionEvent::Incoming { .. } } = event {
                phone.endpoint.ring(now, *id, 183, Some(sdp("b offer"))).unwrap();
            }
        });
        let a = net.act(A, |endpoint, now| endpoint.invite(now, bodyless(B)).unwrap());
        net.run_for(secs(1));
        if refuses {
            net.act(A, |endpoint, now| endpoint.refuse_offer(now, a, 488).unwrap());
        }
        net.run_until_quiet();
        let told = net.story(A);
        assert_eq!(told.first().unwrap(), "183");
        assert_eq!(told.last().unwrap(), "failed Cancelled");
        assert_eq!(told.contains(&"withdrawn".to_owned()), !refuses);
        assert_eq!((net.count("PRACK"), net.count("CANCEL")), (1, 1));
    }
}

#[test]
fn an_unreliable_response_cannot_offer() {
    let mut net = Net::pair();
    net.react(B, |phone, now, event| {
        if let Event::Session { id, event: SessionEvent::Incoming { .. } } = event {
            phone.endpoint.ring(now, *id, 183, Some(sdp("too early"))).unwrap();
            phone.endpoint.answer(now, *id, Some(sdp("b offer"))).unwrap();
        }
    });
    let call = Invite { reliable: Reliable::Off, ..bodyless(B) };
    let a = net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.run_for(secs(0));
    assert!(net.last("183 INVITE").body().is_empty());
    assert_eq!(net.last("200 INVITE").sdp().as_deref(), Some(&b"b offer"[..]));
    net.act(A, |endpoint, now| endpoint.acknowledge(now, a, sdp("a answer")).unwrap());
    net.run_for(secs(0));
    assert_eq!(net.story(B), ["incoming", "confirmed: a answer"]);
}

#[test]
fn what_looks_like_an_offer_in_an_unreliable_response_is_none() {
    let mut net = Net::pair();
    net.act(A, |endpoint, now| endpoint.invite(now, bodyless(R)).unwrap());
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let contact = format!("Contact: <sip:{R}>\n");
    net.send_raw(R, A, &response_with(&invite, 183, "r1", &contact, "too early"));
    net.send_raw(R, A, &response_with(&invite, 200, "r1", &contact, "r offer"));
    assert_eq!(net.story(A), ["183", "answered"]);
    assert!(net.receive_raw(R).is_none(), "no ACK before the answer");
}

#[test]
fn a_description_among_other_parts_is_found() {
    let mut net = Net::pair();
    answer_calls(&mut net, B);
    let parts = "--x\nContent-Type: application/isup\nContent-Disposition: signal;handling=optional\n\n?\n\
                 --x\nContent-Type: application/sdp\n\nr offer\n--x--";
    // On the wire each line break takes two bytes.
    let length = parts.len() + parts.matches('\n').count();
    let text = invite_of_caller("", "").replace(
        "Content-Length: 0\n\n",
        &format!("Content-Type: multipart/mixed;boundary=x\nContent-Length: {length}\n\n{parts}"),
    );
    net.send_raw(R, B, &text);
    let ok = net.expect_raw(R, "200 INVITE");
    assert_eq!(ok.sdp().as_deref(), Some(&b"v=0 answer"[..]));
    net.send_raw(R, B, &of_caller(&ok, "ACK", 1, "", ""));
    // It was the offer, and is in force.
    net.send_raw(R, B, &of_caller(&ok, "INVITE", 2, "", "r offer"));
    net.expect_raw(R, "200 INVITE");
    net.send_raw(R, B, &of_caller(&ok, "ACK", 2, "", ""));
    assert_eq!(net.story(B), ["incoming", "confirmed"]);
    let required = text.replace("optional", "required").replace("E-1", "E-9").replace("1@r", "9@r");
    net.send_raw(R, B, &required);
    net.expect_raw(R, "415 INVITE");
}
