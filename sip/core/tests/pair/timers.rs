//! Session timers (RFC 4028): refreshed by either end, by UPDATE or re-INVITE, and what becomes of those that are not.

use crate::net::*;
use crate::requests::{answer_to, in_dialog, request};
use sip_core::*;

const ALLOW_UPDATE: &str = "Allow: INVITE, ACK, BYE, UPDATE\n";

/// A call of `a` to a scripted peer, which answers with these header lines. Returns its id and the INVITE.
fn calling_r(net: &mut Net, more: &str) -> (SessionId, Message) {
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    answer_with_sdp(net, &invite, more);
    net.expect_raw(R, "ACK");
    (a, invite)
}

/// A 200 of `r` with a description.
fn answer_with_sdp(net: &mut Net, invite: &Message, more: &str) {
    let more = format!("Contact: <sip:r@{R}>\nContent-Type: application/sdp\n{more}");
    let text = response_to(invite, 200, "r1", &more);
    net.send_raw(R, A, &text.replace("Content-Length: 0\n\n", "Content-Length: 3\n\nv=0"));
}

/// The last message with this label has these values of Session-Expires.
fn expires(net: &Net, label: &str) -> Option<String> {
    net.last(label).header(Name::SessionExpires).map(str::to_owned)
}

/// A call of `r` to `b` with these header lines, answered and acknowledged. Returns the 200.
fn called_with(net: &mut Net, more: &str) -> Message {
    answer_calls(net, B);
    let more = format!("Contact: <sip:r@{R}>\n{more}");
    net.send_raw(R, B, &request("INVITE", &format!("{R};branch=z9hG4bK-t"), &more));
    let ok = net.expect_raw(R, "200 INVITE");
    net.send_raw(R, B, &in_dialog(&ok, "ACK", 5, ""));
    ok
}

#[test]
fn a_call_between_two_of_us_is_refreshed_by_the_caller_for_as_long_as_it_lasts() {
    let mut net = Net::pair();
    let (a, _) = net.established();
    assert_eq!(expires(&net, "INVITE").as_deref(), Some("1800"));
    assert_eq!(expires(&net, "200 INVITE").as_deref(), Some("1800;refresher=uac"));
    assert!(net.last("INVITE").headers(Name::Supported).any(|tag| tag == "timer"));
    assert!(net.last("200 INVITE").headers(Name::Require).any(|tag| tag == "timer"));
    net.run_for(secs(86_400) + secs(1));
    assert_eq!(net.count("UPDATE"), 96, "every 900 seconds");
    assert_eq!(net.count("200 UPDATE"), 96);
    assert!(net.wire.iter().filter(|seen| seen.label() == "UPDATE").all(|seen| seen.from == addr(A)));
    assert_eq!(expires(&net, "UPDATE").as_deref(), Some("1800;refresher=uac"));
    assert_eq!(expires(&net, "200 UPDATE").as_deref(), Some("1800;refresher=uac"));
    assert_eq!(net.story(A), ["180", "answered"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_lost_refresh_is_repeated_and_a_peer_that_is_gone_is_hung_up_before_the_end() {
    let mut net = Net::pair();
    let (_, _) = net.established();
    net.lose("UPDATE", 5);
    net.run_for(secs(1000));
    assert_eq!(net.count("200 UPDATE"), 1);
    // From now on `b` hears nothing.
    for label in ["UPDATE", "BYE"] {
        net.lose(label, 10_000);
    }
    net.run_for(secs(1800));
    assert_eq!(net.story(A).last().unwrap(), "ended Local SessionExpired");
    let refreshed = net.times("200 UPDATE")[0];
    let by = |at: &str| net.wire.iter().find(|seen| seen.label() == "BYE" && seen.from == addr(at)).unwrap();
    assert_eq!(by(A).at - refreshed, secs(932), "a refresh that nobody answers for 32 seconds");
    assert_eq!(by(B).at - refreshed, secs(1768), "32 seconds before the end");
    for at in [A, B] {
        assert_eq!(by(at).message.reasons().map(|reason| reason.cause).collect::<Vec<_>>(), [408]);
    }
    assert_eq!(net.story(B).last().unwrap(), "ended Local SessionExpired");
    net.run_until_quiet();
    assert_eq!(net.count("INVITE"), 1);
}

#[test]
fn who_answers_refreshes_where_the_caller_wants_that_or_cannot() {
    for (more, written) in [
        ("Supported: timer\nSession-Expires: 600;refresher=uas\n", "600;refresher=uas"),
        ("Session-Expires: 600\n", "600;refresher=uas"),
        ("Supported: timer\n", "1800;refresher=uas"),
    ] {
        let mut net = Net::pair();
        let ok = called_with(&mut net, &format!("{ALLOW_UPDATE}{more}"));
        assert_eq!(ok.header(Name::SessionExpires), Some(written), "{more}");
        assert!(ok.headers(Name::Require).next().is_none());
        let interval = ok.session_expires().unwrap().unwrap().interval;
        net.run_for(interval / 2);
        let update = net.expect_raw(R, "UPDATE");
        assert_eq!(update.header(Name::SessionExpires).unwrap(), written.replace("uas", "uac"));
        net.send_raw(
            R,
            B,
            &response_to(&update, 200, "", &format!("Session-Expires: {}\n", written.replace("uas", "uac"))),
        );
        net.run_for(interval / 2 - ms(1));
        assert!(net.receive_raw(R).is_none(), "counted from the refresh");
        net.run_for(ms(1));
        net.expect_raw(R, "UPDATE");
        let b = net.session(B);
        net.hangup(B, b);
        net.run_for(secs(100));
    }
}

#[test]
fn a_caller_that_does_not_refresh_is_hung_up() {
    let mut net = Net::pair();
    let ok = called_with(&mut net, "Supported: timer\nSession-Expires: 90;refresher=uac\n");
    assert_eq!(ok.header(Name::SessionExpires), Some("90;refresher=uac"));
    // A third of the interval is less than 32 seconds here.
    net.run_for(ms(59_999));
    assert_eq!(net.story(B), ["incoming", "confirmed"]);
    let refreshed = in_dialog(&ok, "UPDATE", 6, "Supported: timer\nSession-Expires: 120;refresher=uac\n");
    assert_eq!(answer_to(&mut net, &refreshed).header(Name::SessionExpires), Some("120;refresher=uac"));
    net.run_for(ms(87_999));
    assert_eq!(net.story(B), ["incoming", "confirmed"], "the new interval counts");
    net.run_for(ms(1));
    net.expect_raw(R, "BYE");
    assert_eq!(net.story(B)[2..], ["ended Local SessionExpired"]);
    net.run_until_quiet();
}

#[test]
fn roles_may_change_with_a_refresh() {
    let mut net = Net::pair();
    let ok = called_with(
        &mut net,
        &format!("{ALLOW_UPDATE}Supported: timer\nSession-Expires: 200;refresher=uac\n"),
    );
    let over_to_b = in_dialog(&ok, "UPDATE", 6, "Supported: timer\nSession-Expires: 200;refresher=uas\n");
    assert_eq!(answer_to(&mut net, &over_to_b).header(Name::SessionExpires), Some("200;refresher=uas"));
    net.run_for(secs(100));
    let update = net.expect_raw(R, "UPDATE");
    // And back: the answer to our refresh may say that the other side is to do it.
    net.send_raw(R, B, &response_to(&update, 200, "", "Session-Expires: 200;refresher=uas\n"));
    net.run_for(secs(167));
    assert!(net.receive_raw(R).is_none());
    net.run_for(secs(1));
    net.expect_raw(R, "BYE");
    net.run_until_quiet();
}

#[test]
fn without_session_timers_a_call_lasts() {
    // The peer has none.
    let mut net = Net::pair();
    let (a, _) = calling_r(&mut net, ALLOW_UPDATE);
    net.run_for(secs(80_000));
    assert!(net.receive_raw(R).is_none());
    net.hangup(A, a);
    net.run_until_quiet();
    // We have none.
    let mut net = Net::new();
    net.add_with(A, Transport::Udp, |config| config.session_refresh = None);
    net.add_with(B, Transport::Udp, |config| config.session_refresh = None);
    let (a, _) = net.established();
    assert_eq!((expires(&net, "INVITE"), expires(&net, "200 INVITE")), (None, None));
    assert!(!net.last("INVITE").headers(Name::Supported).any(|tag| tag == "timer"));
    net.run_for(secs(80_000));
    assert_eq!(net.count("UPDATE"), 0);
    net.hangup(A, a);
    net.run_until_quiet();
    let required = "Supported: timer\nRequire: timer\nSession-Expires: 600\nContact: <sip:r@10.0.0.3>\n";
    let answer = answer_to(&mut net, &request("INVITE", &format!("{R};branch=z9hG4bK-t"), required));
    assert_eq!((answer.status(), answer.header(Name::Unsupported)), (Some(420), Some("timer")));
    let call = Invite { session_interval: Some(secs(0)), ..invite(R) };
    let mut net = Net::pair();
    let a = net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.run_for(secs(0));
    assert_eq!(expires(&net, "INVITE"), None, "a call may do without");
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_call_may_have_an_interval_of_its_own() {
    let mut net = Net::pair();
    let call = Invite { session_interval: Some(secs(300)), ..invite(B) };
    answer_calls(&mut net, B);
    let a = net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.run_for(secs(601));
    assert_eq!(net.count("UPDATE"), 4);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn an_interval_too_small_is_refused_with_what_is_wanted_and_asked_for_again() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    for (n, min) in [(1, 2400), (2, 3600)] {
        let invite = net.expect_raw(R, "INVITE");
        assert_eq!(invite.cseq().unwrap().number, n);
        net.send_raw(R, A, &response_to(&invite, 422, "r1", &format!("Min-SE: {min}\n")));
        net.expect_raw(R, "ACK");
    }
    assert_eq!(expires(&net, "INVITE").as_deref(), Some("3600"));
    assert_eq!(net.last("INVITE").min_se(), Ok(Some(secs(3600))));
    let invite = net.expect_raw(R, "INVITE");
    answer_with_sdp(&mut net, &invite, "Session-Expires: 3600;refresher=uas\n");
    assert_eq!(net.story(A), ["answered"]);
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_422_that_makes_no_sense_fails_the_call() {
    for more in ["", "Min-SE: 90\n", "Min-SE: 4294967295\n", "Min-SE: x\n"] {
        let mut net = Net::pair();
        net.call(A, R);
        net.run_for(secs(0));
        let invite = net.expect_raw(R, "INVITE");
        net.send_raw(R, A, &response_to(&invite, 422, "r1", more));
        assert_eq!(net.story(A), ["failed Response(422)"], "{more}");
        net.run_until_quiet();
    }
    // One that always wants more is given up.
    let mut net = Net::pair();
    net.call(A, R);
    net.run_for(secs(0));
    let mut min = 2000;
    while net.story(A).is_empty() {
        let invite = net.expect_raw(R, "INVITE");
        net.send_raw(R, A, &response_to(&invite, 422, "r1", &format!("Min-SE: {min}\n")));
        min += 1;
    }
    assert_eq!((net.story(A), min), (vec!["failed Response(422)".to_owned()], 2005));
    net.run_until_quiet();
}

#[test]
fn callers_that_ask_for_too_little_are_told_what_is_wanted() {
    let mut net = Net::pair();
    answer_calls(&mut net, B);
    let more = format!("Contact: <sip:r@{R}>\nSupported: timer\nSession-Expires: 89\n");
    let short = request("INVITE", &format!("{R};branch=z9hG4bK-s"), &more).replace("1@r", "2@r");
    let answer = answer_to(&mut net, &short);
    assert_eq!((answer.status(), answer.min_se()), (Some(422), Ok(Some(secs(90)))));
    assert!(net.story(B).is_empty(), "nobody rings for it");
    let ok = called_with(&mut net, "Supported: timer\nSession-Expires: 2400\nMin-SE: 2000\n");
    assert_eq!(ok.header(Name::SessionExpires), Some("2000;refresher=uac"), "not below its Min-SE");
    let refresh = in_dialog(&ok, "UPDATE", 6, "Supported: timer\nSession-Expires: 10\n");
    assert_eq!(answer_to(&mut net, &refresh).status(), Some(422));
    let b = net.session(B);
    net.hangup(B, b);
    net.run_for(secs(40));
}

#[test]
fn peers_without_update_are_refreshed_by_a_re_invite_with_what_is_agreed() {
    let mut net = Net::pair();
    let (a, first) = calling_r(&mut net, "Session-Expires: 200;refresher=uac\nRequire: timer\n");
    for n in 2..5 {
        net.run_for(secs(100));
        let invite = net.expect_raw(R, "INVITE");
        assert_eq!((invite.cseq().unwrap().number, invite.body()), (n, first.body()));
        assert_eq!(invite.header(Name::SessionExpires), Some("200;refresher=uac"));
        answer_with_sdp(&mut net, &invite, "Session-Expires: 200;refresher=uac\n");
        net.expect_raw(R, "ACK");
    }
    assert_eq!(net.story(A), ["answered"], "the user has no part in it");
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_refresh_that_is_refused_is_tried_again_until_the_end() {
    let mut net = Net::pair();
    let (_, _) = calling_r(&mut net, &format!("{ALLOW_UPDATE}Session-Expires: 800;refresher=uac\n"));
    net.run_for(secs(400));
    let mut refused = 0;
    for _ in 0..400 {
        while let Some(message) = net.receive_raw(R) {
            if message.method() == Some(&Method::Update) {
                net.send_raw(R, A, &response_to(&message, 500, "", ""));
                refused += 1;
            }
        }
        net.run_for(secs(1));
    }
    assert!((3..12).contains(&refused), "{refused}: not once and not a storm");
    assert_eq!(net.story(A), ["answered", "ended Local SessionExpired"]);
    assert_eq!(net.times("BYE")[0], secs(768));
    net.run_until_quiet();
}

#[test]
fn a_422_to_a_refresh_is_heeded() {
    let mut net = Net::pair();
    let (a, _) = calling_r(&mut net, &format!("{ALLOW_UPDATE}Session-Expires: 200;refresher=uac\n"));
    net.run_for(secs(100));
    let update = net.expect_raw(R, "UPDATE");
    net.send_raw(R, A, &response_to(&update, 422, "", "Min-SE: 2000\n"));
    let update = net.expect_raw(R, "UPDATE");
    assert_eq!(update.header(Name::SessionExpires), Some("2000;refresher=uac"));
    assert_eq!(update.min_se(), Ok(Some(secs(2000))));
    net.send_raw(R, A, &response_to(&update, 200, "", "Session-Expires: 2000;refresher=uac\n"));
    net.run_for(secs(999));
    assert!(net.receive_raw(R).is_none());
    net.run_for(secs(1));
    net.expect_raw(R, "UPDATE");
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_481_to_a_refresh_ends_the_call_at_once() {
    let mut net = Net::pair();
    let (_, _) = calling_r(&mut net, &format!("{ALLOW_UPDATE}Session-Expires: 200;refresher=uac\n"));
    net.run_for(secs(100));
    let update = net.expect_raw(R, "UPDATE");
    net.send_raw(R, A, &response_to(&update, 481, "", ""));
    net.expect_raw(R, "BYE");
    assert_eq!(net.story(A), ["answered", "ended Local Forgotten"]);
    net.run_until_quiet();
}

#[test]
fn an_offer_of_ours_is_a_refresh_too() {
    let mut net = Net::pair();
    let (a, _) = calling_r(&mut net, "Session-Expires: 200;refresher=uac\n");
    net.run_for(secs(99));
    net.act(A, |endpoint, now| endpoint.offer(now, a, Some(Body::sdp("v=0 hold"))).unwrap());
    net.run_for(secs(1));
    let invite = net.expect_raw(R, "INVITE");
    assert_eq!(invite.header(Name::SessionExpires), Some("200;refresher=uac"));
    while let Some(message) = net.receive_raw(R) {
        assert_eq!(message.as_bytes(), invite.as_bytes(), "the refresh that is due waits for it");
    }
    answer_with_sdp(&mut net, &invite, "Session-Expires: 200;refresher=uac\n");
    net.expect_raw(R, "ACK");
    net.run_for(ms(99_999));
    assert!(net.receive_raw(R).is_none(), "counted from the answer");
    net.run_for(ms(1));
    assert_eq!(&net.expect_raw(R, "INVITE").body()[..], b"v=0 hold");
    net.hangup(A, a);
    net.run_for(secs(300));
}

#[test]
fn a_refresh_that_crosses_a_re_invite_gives_way_and_comes_again() {
    let mut net = Net::pair();
    let (a, first) = calling_r(&mut net, "Session-Expires: 200;refresher=uac\n");
    net.run_for(secs(100));
    let refresh = net.expect_raw(R, "INVITE");
    // Theirs came first, for them.
    let theirs = format!(
        "INVITE sip:alice@{A} SIP/2.0\nVia: SIP/2.0/UDP {R};branch=z9hG4bK-x\nFrom: <sip:bob@{R}>;tag=r1\n\
         To: {}\nCall-ID: {}\nCSeq: 1 INVITE\nContact: <sip:r@{R}>\nContent-Length: 0\n\n",
        first.header(Name::From).unwrap(),
        first.header(Name::CallId).unwrap(),
    );
    net.send_raw(R, A, &theirs);
    assert_eq!(net.receive_raw(R).unwrap().status(), Some(491));
    net.send_raw(R, A, &response_to(&refresh, 491, "", ""));
    net.expect_raw(R, "ACK");
    net.run_for(secs(5));
    let again = net.expect_raw(R, "INVITE");
    assert_eq!(again.body(), first.body());
    answer_with_sdp(&mut net, &again, "Session-Expires: 200;refresher=uac\n");
    assert_eq!(net.story(A), ["answered"]);
    net.hangup(A, a);
    net.run_for(secs(300));
}

#[test]
fn rubbish_for_intervals_makes_no_storm() {
    for more in [
        "Session-Expires: 0;refresher=uac\n",
        "Session-Expires: 1\n",
        "Session-Expires: x;refresher=uac\n",
        "Session-Expires: 99999999999999999999;refresher=uac\n",
    ] {
        let mut net = Net::pair();
        let (a, _) = calling_r(&mut net, &format!("{ALLOW_UPDATE}{more}"));
        for _ in 0..200 {
            net.run_for(secs(1));
            while let Some(message) = net.receive_raw(R) {
                if message.is_request() {
                    net.send_raw(R, A, &response_to(&message, 200, "", more));
                }
            }
        }
        assert!(net.count("UPDATE") <= 5, "{more}: {}", net.count("UPDATE"));
        net.hangup(A, a);
        net.run_for(secs(300));
    }
}
