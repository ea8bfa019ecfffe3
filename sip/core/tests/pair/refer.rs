//! Transfers: REFER both ways, and what is told of them.

use crate::net::*;
use crate::requests::{answer_to, called_by_r, in_dialog};
use sip_core::*;

fn to_carol() -> Refer {
    Refer::new(ReferTo::new(uri("sip:carol@example.com")))
}

fn refer(net: &mut Net, at: &str, id: SessionId, refer: Refer) -> ReferId {
    let refer = net.act(at, |endpoint, now| endpoint.refer(now, id, refer).unwrap());
    net.run_for(secs(0));
    refer
}

/// The REFER that this endpoint was told of last.
fn referred(net: &mut Net, at: &str) -> ReferId {
    let referred = |(_, event): &(std::time::Duration, Event)| {
        if let Event::Session { event: SessionEvent::Referred(referred), .. } = event {
            return Some(referred.refer);
        }
        None
    };
    net.phone(at).events.iter().rev().find_map(referred).unwrap()
}

fn progress(net: &mut Net, at: &str, id: SessionId, refer: ReferId, status: u16, reason: &str) {
    net.act(at, |endpoint, now| endpoint.refer_progress(now, id, refer, status, reason).unwrap());
    net.run_for(secs(0));
}

/// What `a` was told after its call was answered.
fn told(net: &mut Net) -> Vec<String> {
    let story = net.story(A);
    let at = story.iter().position(|word| word == "answered").unwrap();
    story[at + 1..].to_vec()
}

/// A call of `a` to a scripted peer, answered. Returns its id and the INVITE.
fn calling_r(net: &mut Net) -> (SessionId, Message) {
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 200, "r1", &format!("Contact: <sip:r@{R}>\n")));
    net.expect_raw(R, "ACK");
    (a, invite)
}

/// A request of `r` in the call that `a` made.
fn by_r(invite: &Message, method: &str, cseq: u32, more: &str, body: &str) -> String {
    format!(
        "{method} sip:alice@{A} SIP/2.0\nVia: SIP/2.0/UDP {R};branch=z9hG4bK-{method}-{cseq}\n\
         From: <sip:bob@{R}>;tag=r1\nTo: {}\nCall-ID: {}\nCSeq: {cseq} {method}\n{more}Content-Length: {}\n\n{body}",
        invite.header(Name::From).unwrap(),
        invite.header(Name::CallId).unwrap(),
        body.len(),
    )
}

fn notify(invite: &Message, cseq: u32, event: &str, state: &str, status: &str) -> String {
    let more = format!("Event: {event}\nSubscription-State: {state}\nContent-Type: message/sipfrag\n");
    // Without its line end: LF becomes CRLF on the way, and would change the length.
    by_r(invite, "NOTIFY", cseq, &more, &format!("SIP/2.0 {status}"))
}

/// Sends a request of `r` to `a`; returns the status of the answer.
fn status_of(net: &mut Net, text: &str) -> u16 {
    net.send_raw(R, A, text);
    net.receive_raw(R).expect("an answer").status().expect("a response")
}

#[test]
fn a_transfer_is_told_from_the_first_notify_to_the_last() {
    let mut net = Net::pair();
    let (a, b) = net.established();
    let by: NameAddr = "<sip:alice@example.com>".parse().unwrap();
    let refer_out =
        Refer { referred_by: Some(by.clone()), headers: vec![("X-Note".into(), "7".into())], ..to_carol() };
    refer(&mut net, A, a, refer_out);
    let request = net.last("REFER");
    assert_eq!(request.header(Name::ReferTo), Some("<sip:carol@example.com>"));
    assert_eq!(request.header(Name::Other("X-Note")), Some("7"));
    assert!(request.header(Name::Contact).is_some(), "a target refresh has a Contact");
    let Some((_, Event::Session { event: SessionEvent::Referred(referred), .. })) =
        net.phone(B).events.last().cloned()
    else {
        panic!("{:?}", net.story(B))
    };
    let Referred { refer: id, to, referred_by, .. } = *referred;
    assert_eq!((to.address.uri().as_str(), to.replaces), ("sip:carol@example.com", None));
    assert_eq!(referred_by, Some(by));
    net.act(B, |endpoint, now| endpoint.accept_refer(now, b, id).unwrap());
    net.run_for(secs(0));
    let first = net.last("NOTIFY");
    assert_eq!(first.header(Name::Event), Some("refer"));
    assert_eq!(first.header(Name::SubscriptionState), Some("active;expires=600"));
    assert_eq!(first.content_type(), Some("message/sipfrag;version=2.0"));
    assert_eq!(&first.body()[..], b"SIP/2.0 100 Trying\r\n");
    progress(&mut net, B, b, id, 180, "");
    progress(&mut net, B, b, id, 200, "Fine\r\nX: 1");
    let last = net.last("NOTIFY");
    assert_eq!(last.header(Name::SubscriptionState), Some("terminated;reason=noresource"));
    assert_eq!(&last.body()[..], b"SIP/2.0 200 Fine  X: 1\r\n");
    assert_eq!(
        told(&mut net),
        ["refer Accepted", "refer Trying(100)", "refer Trying(180)", "refer Done(200)"]
    );
    let again = net.act(B, |endpoint, now| endpoint.refer_progress(now, b, id, 200, ""));
    assert_eq!(again, Err(Error::UnknownRequest));
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn the_callee_may_refer_the_caller_as_well() {
    let mut net = Net::pair();
    let (a, b) = net.established();
    refer(&mut net, B, b, to_carol());
    let id = referred(&mut net, A);
    net.act(A, |endpoint, now| endpoint.accept_refer(now, a, id).unwrap());
    progress(&mut net, A, a, id, 486, "");
    let story = net.story(B);
    let story: Vec<_> = story.iter().filter(|word| word.starts_with("refer ")).collect();
    assert_eq!(story, ["refer Accepted", "refer Trying(100)", "refer Done(486)"]);
    net.hangup(B, b);
    net.run_until_quiet();
}

#[test]
fn a_refusal_leaves_the_call_as_it_was() {
    for status in [403, 603] {
        let mut net = Net::pair();
        let (a, b) = net.established();
        refer(&mut net, A, a, to_carol());
        let id = referred(&mut net, B);
        let odd = net.act(B, |endpoint, now| endpoint.refuse_refer(now, b, id, 200));
        assert_eq!(odd, Err(Error::Status { status: 200 }));
        net.act(B, |endpoint, now| endpoint.refuse_refer(now, b, id, status).unwrap());
        net.run_for(secs(100));
        assert_eq!(told(&mut net), [format!("refer Refused({status})")]);
        assert_eq!(net.count("NOTIFY"), 0);
        let late = net.act(B, |endpoint, now| endpoint.accept_refer(now, b, id));
        assert_eq!(late, Err(Error::UnknownRequest));
        net.hangup(A, a);
        net.run_until_quiet();
    }
}

#[test]
fn without_a_subscription_nothing_is_notified() {
    let mut net = Net::pair();
    let (a, b) = net.established();
    refer(&mut net, A, a, Refer { subscribe: false, ..to_carol() });
    assert_eq!(net.last("REFER").header(Name::ReferSub), Some("false"));
    let id = referred(&mut net, B);
    net.act(B, |endpoint, now| endpoint.accept_refer(now, b, id).unwrap());
    net.run_for(secs(100));
    assert_eq!(net.last("202 REFER").header(Name::ReferSub), Some("false"));
    assert_eq!((net.count("NOTIFY"), told(&mut net)), (0, vec!["refer Unknown".to_owned()]));
    let none = net.act(B, |endpoint, now| endpoint.refer_progress(now, b, id, 200, ""));
    assert_eq!(none, Err(Error::UnknownRequest));
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn several_transfers_at_once_are_told_apart() {
    let mut net = Net::pair();
    let (a, b) = net.established();
    let first = refer(&mut net, A, a, to_carol());
    let first_in = referred(&mut net, B);
    let second = refer(&mut net, A, a, to_carol());
    let second_in = referred(&mut net, B);
    let second_cseq = net.last("REFER").cseq().unwrap().number;
    for id in [first_in, second_in] {
        net.act(B, |endpoint, now| endpoint.accept_refer(now, b, id).unwrap());
        net.run_for(secs(0));
    }
    progress(&mut net, B, b, second_in, 200, "");
    assert_eq!(net.last("NOTIFY").header(Name::Event).unwrap(), format!("refer;id={second_cseq}"));
    progress(&mut net, B, b, first_in, 404, "");
    assert_eq!(net.last("NOTIFY").header(Name::Event), Some("refer"));
    let finals: Vec<_> = net
        .phone(A)
        .events
        .iter()
        .filter_map(|(_, event)| {
            if let Event::Session { event: SessionEvent::ReferProgress { refer, progress }, .. } = event {
                return progress.is_final().then_some((*refer, *progress));
            }
            None
        })
        .collect();
    assert_eq!(finals, [(second, ReferProgress::Done(200)), (first, ReferProgress::Done(404))]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn transfers_are_bounded_on_both_sides() {
    let mut net = Net::pair();
    let (a, _) = net.established();
    for _ in 0..8 {
        refer(&mut net, A, a, to_carol());
    }
    let ninth = net.act(A, |endpoint, now| endpoint.refer(now, a, to_carol()));
    assert_eq!(ninth, Err(Error::TooManyRequests));
    // Those that `b` does not answer make room again.
    net.run_for(secs(33));
    assert_eq!(told(&mut net), ["refer Refused(408)"; 8]);
    refer(&mut net, A, a, to_carol());
    assert_eq!(net.story(B).iter().filter(|word| *word == "referred").count(), 9);
    net.hangup(A, a);
    net.run_until_quiet();

    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    for n in 0..9 {
        net.send_raw(R, B, &in_dialog(&ok, "REFER", 10 + n, "Refer-To: <sip:x@y>\n"));
    }
    let refused = net.receive_raw(R).unwrap();
    assert_eq!((refused.status(), refused.cseq().unwrap().number), (Some(500), 18));
    assert!(refused.header(Name::RetryAfter).is_some() && net.receive_raw(R).is_none());
    let b = net.session(B);
    net.hangup(B, b);
    net.run_for(secs(40));
    assert_eq!(net.count("487 REFER"), 8, "what waits is answered when the call ends");
}

#[test]
fn a_peer_that_accepts_and_goes_silent_is_given_up() {
    let mut net = Net::pair();
    let (a, _) = calling_r(&mut net);
    refer(&mut net, A, a, to_carol());
    let request = net.expect_raw(R, "REFER");
    net.send_raw(R, A, &response_to(&request, 202, "", ""));
    net.run_for(ms(31_999));
    assert_eq!(told(&mut net), ["refer Accepted"]);
    net.run_for(ms(1));
    assert_eq!(told(&mut net), ["refer Accepted", "refer Unknown"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_subscription_that_is_not_kept_up_ends() {
    let mut net = Net::pair();
    let (a, invite) = calling_r(&mut net);
    refer(&mut net, A, a, to_carol());
    let request = net.expect_raw(R, "REFER");
    net.send_raw(R, A, &response_to(&request, 202, "", ""));
    assert_eq!(status_of(&mut net, &notify(&invite, 1, "refer", "active;expires=60", "100 Trying")), 200);
    net.run_for(secs(59));
    assert_eq!(status_of(&mut net, &notify(&invite, 2, "refer", "active;expires=60", "180 Ringing")), 200);
    net.run_for(ms(59_999));
    assert_eq!(told(&mut net), ["refer Accepted", "refer Trying(100)", "refer Trying(180)"]);
    net.run_for(ms(1));
    assert_eq!(told(&mut net)[3..], ["refer Unknown"]);
    assert_eq!(status_of(&mut net, &notify(&invite, 3, "refer", "active;expires=60", "200 OK")), 481);
    net.hangup(A, a);
    net.run_for(secs(40));
}

#[test]
fn a_notify_may_come_before_the_202() {
    let mut net = Net::pair();
    let (a, invite) = calling_r(&mut net);
    refer(&mut net, A, a, to_carol());
    let request = net.expect_raw(R, "REFER");
    let id = request.cseq().unwrap().number;
    let first = notify(&invite, 1, &format!("refer;id={id}"), "active;expires=60", "100 Trying");
    assert_eq!(status_of(&mut net, &first), 200);
    net.send_raw(R, A, &response_to(&request, 202, "", ""));
    let last = notify(&invite, 2, "refer", "terminated;reason=noresource", "200 OK");
    assert_eq!(status_of(&mut net, &last), 200);
    assert_eq!(told(&mut net), ["refer Trying(100)", "refer Done(200)"]);
    // Even the last one may.
    refer(&mut net, A, a, to_carol());
    let request = net.expect_raw(R, "REFER");
    assert_eq!(status_of(&mut net, &notify(&invite, 3, "refer", "terminated", "603 Decline")), 200);
    net.send_raw(R, A, &response_to(&request, 202, "", ""));
    net.run_for(secs(50));
    assert_eq!(told(&mut net)[2..], ["refer Done(603)"]);
    net.hangup(A, a);
    net.run_for(secs(40));
}

#[test]
fn odd_notifies_are_answered_and_harmless() {
    let mut net = Net::pair();
    let (a, invite) = calling_r(&mut net);
    refer(&mut net, A, a, to_carol());
    let request = net.expect_raw(R, "REFER");
    net.send_raw(R, A, &response_to(&request, 202, "", ""));
    for (cseq, event, state, fragment, status) in [
        (1, "presence", "active", "200 OK", 489),
        (2, "refer;id=99", "active", "200 OK", 481),
        (3, "refer", "active;expires=99999999999999999999", "whatever", 200),
        (4, "refer", "", "99 Low", 200),
        (5, "refer", ";;;", "1000 High", 200),
        (6, "refer", "active", "", 200),
    ] {
        let text = notify(&invite, cseq, event, state, fragment);
        assert_eq!(status_of(&mut net, &text), status, "{event} {state} {fragment}");
    }
    assert_eq!(told(&mut net), ["refer Accepted"]);
    let bare = by_r(&invite, "NOTIFY", 7, "Event: refer\nSubscription-State: terminated\n", "");
    assert_eq!(status_of(&mut net, &bare), 200);
    assert_eq!(told(&mut net), ["refer Accepted", "refer Unknown"]);
    net.hangup(A, a);
    net.run_for(secs(40));
}

#[test]
fn refers_that_cannot_be_done_are_refused() {
    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    for (cseq, more, status) in [
        (10, "", 400),
        (11, "Refer-To: <sip:x@y>\nRefer-To: <sip:z@y>\n", 400),
        (12, "Refer-To: garbage\n", 400),
        (13, "Refer-To: <sip:x@y?Replaces=x>\n", 400),
        (14, "Refer-To: <http://example.com>\n", 416),
        (15, "Refer-To: <sip:x@y>\nRequire: x-new\n", 420),
    ] {
        let answer = answer_to(&mut net, &in_dialog(&ok, "REFER", cseq, more));
        assert_eq!(answer.status(), Some(status), "{more}");
    }
    assert_eq!(net.story(B), ["incoming", "confirmed"]);
    let b = net.session(B);
    net.hangup(B, b);
    net.run_for(secs(40));
}

#[test]
fn a_transfer_that_hangs_up_at_once_ends_with_the_call() {
    let mut net = Net::pair();
    let (a, b) = net.established();
    refer(&mut net, A, a, to_carol());
    let id = referred(&mut net, B);
    net.act(B, |endpoint, now| endpoint.accept_refer(now, b, id).unwrap());
    net.hangup(A, a);
    assert_eq!(net.story(B).last().unwrap(), "ended Remote Bye");
    let late = net.act(B, |endpoint, now| endpoint.refer_progress(now, b, id, 200, ""));
    assert!(late.is_err());
    net.run_until_quiet();

    // And while the REFER waits for the user.
    let mut net = Net::pair();
    let (a, _) = net.established();
    refer(&mut net, A, a, to_carol());
    net.hangup(A, a);
    assert_eq!(net.count("487 REFER"), 1);
    net.run_until_quiet();
    assert_eq!(told(&mut net), ["ended Local Bye"]);
}

#[test]
fn a_transfer_survives_losses() {
    let mut net = Net::pair();
    let (a, b) = net.established();
    for label in ["REFER", "202 REFER", "NOTIFY", "200 NOTIFY"] {
        net.lose(label, 2);
    }
    let outgoing = net.act(A, |endpoint, now| endpoint.refer(now, a, to_carol()).unwrap());
    net.run_for(secs(5));
    let id = referred(&mut net, B);
    net.act(B, |endpoint, now| endpoint.accept_refer(now, b, id).unwrap());
    net.run_for(secs(10));
    net.act(B, |endpoint, now| endpoint.refer_progress(now, b, id, 200, "").unwrap());
    net.run_for(secs(20));
    assert_eq!(told(&mut net).last().unwrap(), "refer Done(200)", "{outgoing:?} {:?}", net.ladder());
    assert_eq!(net.story(B).iter().filter(|word| *word == "referred").count(), 1);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_subscription_can_be_refreshed_given_up_and_runs_out() {
    // The id of the first may be left out, and need not be.
    for (subscription, expires, ends_after) in
        [("refer", Some("0"), 0), ("refer;id=10", Some("60"), 60), ("", None, 600)]
    {
        let mut net = Net::pair();
        let ok = called_by_r(&mut net);
        let b = net.session(B);
        net.send_raw(R, B, &in_dialog(&ok, "REFER", 10, "Refer-To: <sip:x@y>\n"));
        let id = referred(&mut net, B);
        net.act(B, |endpoint, now| endpoint.accept_refer(now, b, id).unwrap());
        net.run_for(secs(0));
        let first = net.expect_raw(R, "NOTIFY");
        net.send_raw(R, B, &response_to(&first, 200, "", ""));
        if let Some(expires) = expires {
            for (cseq, event, status) in [(11, "refer;id=9", 403), (12, "x", 489), (13, subscription, 200)] {
                let more = format!("Event: {event}\nExpires: {expires}\n");
                net.send_raw(R, B, &in_dialog(&ok, "SUBSCRIBE", cseq, &more));
                net.expect_raw(R, &format!("{status} SUBSCRIBE"));
            }
            let second = net.expect_raw(R, "NOTIFY");
            net.send_raw(R, B, &response_to(&second, 200, "", ""));
        }
        if ends_after > 0 {
            net.run_for(secs(ends_after) - ms(1));
            assert!(net.last("NOTIFY").header(Name::SubscriptionState).unwrap().starts_with("active"));
            net.run_for(ms(1));
        }
        let last = net.last("NOTIFY");
        assert_eq!(last.header(Name::SubscriptionState), Some("terminated;reason=timeout"), "{expires:?}");
        let late = net.act(B, |endpoint, now| endpoint.refer_progress(now, b, id, 200, ""));
        assert_eq!(late, Err(Error::UnknownRequest));
        net.hangup(B, b);
        net.run_for(secs(40));
    }
}

#[test]
fn the_notifies_of_the_second_have_an_id_also_when_the_first_was_refused() {
    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    let b = net.session(B);
    net.send_raw(R, B, &in_dialog(&ok, "REFER", 10, "Refer-To: <sip:x@y>\n"));
    let first = referred(&mut net, B);
    net.act(B, |endpoint, now| endpoint.refuse_refer(now, b, first, 603).unwrap());
    net.send_raw(R, B, &in_dialog(&ok, "REFER", 11, "Refer-To: <sip:x@y>\n"));
    let second = referred(&mut net, B);
    net.act(B, |endpoint, now| endpoint.accept_refer(now, b, second).unwrap());
    net.run_for(secs(0));
    assert_eq!(net.expect_raw(R, "NOTIFY").header(Name::Event), Some("refer;id=11"));
    net.hangup(B, b);
}

#[test]
fn a_refused_notify_ends_the_subscription_and_not_the_call() {
    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    let b = net.session(B);
    net.send_raw(R, B, &in_dialog(&ok, "REFER", 10, "Refer-To: <sip:x@y>\n"));
    let id = referred(&mut net, B);
    net.act(B, |endpoint, now| endpoint.accept_refer(now, b, id).unwrap());
    net.run_for(secs(0));
    let first = net.expect_raw(R, "NOTIFY");
    net.send_raw(R, B, &response_to(&first, 481, "", ""));
    let late = net.act(B, |endpoint, now| endpoint.refer_progress(now, b, id, 200, ""));
    assert_eq!(late, Err(Error::UnknownRequest));
    assert_eq!(net.story(B), ["incoming", "confirmed", "referred"]);
    net.hangup(B, b);
    net.run_for(secs(40));
}

#[test]
fn a_481_to_a_refer_ends_the_call() {
    let mut net = Net::pair();
    let (a, _) = calling_r(&mut net);
    refer(&mut net, A, a, to_carol());
    let request = net.expect_raw(R, "REFER");
    net.send_raw(R, A, &response_to(&request, 481, "", ""));
    net.expect_raw(R, "BYE");
    assert_eq!(told(&mut net), ["refer Refused(481)", "ended Local Forgotten"]);
    net.run_until_quiet();
}

#[test]
fn a_refer_is_for_answered_calls() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    let a = net.call(A, B);
    net.run_for(secs(0));
    let early = net.act(A, |endpoint, now| endpoint.refer(now, a, to_carol()));
    assert_eq!(early, Err(Error::WrongState));
    let bad = Refer { headers: vec![("Via".into(), "x".into())], ..to_carol() };
    net.hangup(A, a);
    let (a, _) = net.established();
    let refused = net.act(A, |endpoint, now| endpoint.refer(now, a, bad));
    assert_eq!(refused, Err(Error::Header { index: 0 }));
    net.hangup(A, a);
    net.run_until_quiet();
}
