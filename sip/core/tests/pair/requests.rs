//! Requests from anybody: which are served, which are refused and how, and where the answer goes.

use crate::net::*;
use sip_core::*;

/// A request of `r` to `b`; `more` are header lines ending in LF.
pub(crate) fn request(method: &str, via: &str, more: &str) -> String {
    format!(
        "{method} sip:bob@{B} SIP/2.0\nVia: SIP/2.0/UDP {via}\nMax-Forwards: 70\nFrom: <sip:r@y>;tag=f\n\
         To: <sip:bob@{B}>\nCall-ID: 1@r\nCSeq: 5 {method}\n{more}Content-Length: 0\n\n"
    )
}

fn via() -> String {
    format!("{R};branch=z9hG4bK-r-1")
}

/// A request of `r` in the dialog that this 200 made.
pub(crate) fn in_dialog(ok: &Message, method: &str, cseq: u32, more: &str) -> String {
    format!(
        "{method} sip:bob@{B} SIP/2.0\nVia: SIP/2.0/UDP {R};branch=z9hG4bK-{method}-{cseq}\nFrom: {}\nTo: {}\n\
         Call-ID: {}\nCSeq: {cseq} {method}\n{more}\n",
        ok.header(Name::From).unwrap(),
        ok.header(Name::To).unwrap(),
        ok.header(Name::CallId).unwrap(),
    )
}

/// A call of `r` to `b`, answered and acknowledged. Returns the 200.
pub(crate) fn called_by_r(net: &mut Net) -> Message {
    answer_calls(net, B);
    net.send_raw(R, B, &request("INVITE", &via(), &format!("Contact: <sip:r@{R}>\n")));
    let ok = net.expect_raw(R, "200 INVITE");
    net.send_raw(R, B, &in_dialog(&ok, "ACK", 5, ""));
    ok
}

/// The one answer to a request of `r`.
pub(crate) fn answer_to(net: &mut Net, text: &str) -> Message {
    net.send_raw(R, B, text);
    let answer = net.receive_raw(R).expect("an answer");
    assert!(net.receive_raw(R).is_none(), "one answer");
    answer
}

#[test]
fn options_tells_what_we_can() {
    let mut net = Net::pair();
    let ok = answer_to(&mut net, &request("OPTIONS", &via(), ""));
    assert_eq!(ok.status(), Some(200));
    assert_eq!(ok.header(Name::Allow), Some("INVITE"));
    assert_eq!(ok.headers(Name::Allow).count(), 10);
    assert_eq!(ok.header(Name::Accept), Some("application/sdp"));
    assert!(ok.rows_of(Name::Supported).next().is_some());
    assert!(ok.to_tag().is_some());
    net.run_until_quiet();
}

#[test]
fn unknown_methods_are_501_and_strays_of_a_dialog_481() {
    for (method, status) in [("FOO", 501), ("BYE", 481), ("CANCEL", 481), ("INFO", 481), ("PRACK", 481)] {
        let mut net = Net::pair();
        let answer = answer_to(&mut net, &request(method, &via(), ""));
        assert_eq!(answer.status(), Some(status), "{method}");
        assert_eq!(answer.header(Name::Allow).is_some(), status == 501);
        net.run_until_quiet();
    }
}

#[test]
fn requests_about_events_outside_a_call_are_refused_and_what_is_served_is_named() {
    for (method, event, status) in [
        ("SUBSCRIBE", "", 489),
        ("SUBSCRIBE", "Event: presence\n", 489),
        ("SUBSCRIBE", "Event: refer\n", 403),
        ("NOTIFY", "", 489),
        ("NOTIFY", "Event: message-summary\n", 489),
        ("NOTIFY", "o: refer;id=1\nSubscription-State: active\n", 481),
        ("PUBLISH", "Event: presence\n", 405),
        ("REFER", "Refer-To: <sip:x@y>\n", 403),
    ] {
        let mut net = Net::pair();
        let answer = answer_to(&mut net, &request(method, &via(), event));
        assert_eq!(answer.status(), Some(status), "{method} {event}");
        assert_eq!(answer.header(Name::AllowEvents), (status == 489).then_some("refer"));
        assert_eq!(answer.header(Name::Allow).is_some(), status == 405);
        assert!(net.story(B).is_empty(), "the user has no part in it");
        net.run_until_quiet();
    }
}

#[test]
fn a_cancel_for_nothing_and_a_cancel_in_a_call_change_nothing() {
    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    for (cancel, status) in [
        (request("CANCEL", &format!("{R};branch=z9hG4bK-other"), ""), 481),
        (in_dialog(&ok, "CANCEL", 5, ""), 481),
        // For the INVITE that is answered already: "the CANCEL request has no effect" (RFC 3261 section 9.2).
        (request("CANCEL", &via(), ""), 200),
    ] {
        assert_eq!(answer_to(&mut net, &cancel).status(), Some(status));
    }
    for stray in ["ACK", "ACK"] {
        net.send_raw(R, B, &in_dialog(&ok, stray, 77, ""));
    }
    net.send_raw(R, B, &in_dialog(&ok, "ACK", 78, "").replace("tag=f", "tag=g"));
    assert!(net.receive_raw(R).is_none());
    assert_eq!(net.story(B), ["incoming", "confirmed"]);
    let b = net.session(B);
    net.hangup(B, b);
    net.run_for(secs(40));
}

#[test]
fn an_ack_without_a_call_is_not_answered() {
    let mut net = Net::pair();
    net.send_raw(R, B, &request("ACK", &via(), ""));
    assert!(net.receive_raw(R).is_none());
    net.run_until_quiet();
}

#[test]
fn extensions_that_are_required_are_refused_by_name() {
    let mut net = Net::pair();
    let more = format!("Contact: <sip:{R}>\nRequire: 100rel\nRequire: x-new, y\n");
    let answer = answer_to(&mut net, &request("INVITE", &via(), &more));
    assert_eq!(answer.status(), Some(420));
    assert_eq!(answer.headers(Name::Unsupported).collect::<Vec<_>>(), ["x-new", "y"]);
}

#[test]
fn max_forwards_of_zero_is_served_by_the_addressee() {
    let mut net = Net::pair();
    let text = request("OPTIONS", &via(), "").replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert_eq!(answer_to(&mut net, &text).status(), Some(200));
}

#[test]
fn an_invite_without_contact_is_malformed() {
    let mut net = Net::pair();
    assert_eq!(answer_to(&mut net, &request("INVITE", &via(), "")).status(), Some(400));
}

#[test]
fn malformed_requests_are_answered_without_state_and_malformed_responses_dropped() {
    let mut net = Net::pair();
    let broken = request("INVITE", &via(), "").replace("CSeq: 5 INVITE", "CSeq: 5 BYE");
    assert_eq!(answer_to(&mut net, &broken).status(), Some(400));
    let shapeless = request("OPTIONS", &via(), "no colon here\n");
    assert_eq!(answer_to(&mut net, &shapeless).status(), Some(400));
    let version = request("OPTIONS", &via(), "").replace("SIP/2.0\n", "SIP/7.0\n");
    assert_eq!(answer_to(&mut net, &version).status(), Some(505));
    net.send_raw(R, B, "SIP/2.0 200 OK\n\n");
    net.send_raw(R, B, &request("ACK", &via(), "").replace("CSeq: 5 ACK", "CSeq: x"));
    assert!(net.receive_raw(R).is_none());
    assert_eq!(net.phone(B).endpoint.transactions(), 0);
}

#[test]
fn answers_go_where_the_request_came_from_when_it_asks_for_that() {
    let mut net = Net::pair();
    // Behind a NAT: the packet comes from `r`, whatever the Via says.
    let answer = answer_to(&mut net, &request("OPTIONS", "192.168.1.5:5099;rport;branch=z9hG4bK1", ""));
    let via = answer.top_via().unwrap();
    assert_eq!((via.received(), via.rport()), (Some(addr(R).ip()), Some(Rport::Port(5060))));
}

#[test]
fn without_rport_answers_go_to_the_sent_by_port_of_the_source() {
    let mut net = Net::pair();
    net.send_raw(R, B, &request("OPTIONS", "192.168.1.5:5099;branch=z9hG4bK1", ""));
    let answer = net.expect_raw("10.0.0.3:5099", "200 OPTIONS");
    assert_eq!(answer.top_via().unwrap().received(), Some(addr(R).ip()));
}

#[test]
fn a_repeated_request_gets_the_same_answer_and_is_told_once() {
    let mut net = Net::pair();
    let text = request("MESSAGE", &via(), "");
    net.send_raw(R, B, &text);
    net.send_raw(R, B, &text);
    assert_eq!(net.story(B), ["request MESSAGE"]);
    assert!(net.receive_raw(R).is_none());
    let Some((_, Event::Request { id, .. })) = net.phone(B).events.pop() else { panic!() };
    net.act(B, |endpoint, now| endpoint.respond(now, id, 202, &[], None).unwrap());
    net.run_for(secs(1));
    let first = net.expect_raw(R, "202 MESSAGE");
    net.send_raw(R, B, &text);
    assert_eq!(net.expect_raw(R, "202 MESSAGE").as_bytes(), first.as_bytes());
    let again = net.act(B, |endpoint, now| endpoint.respond(now, id, 200, &[], None));
    assert_eq!(again, Err(Error::UnknownRequest));
    net.run_until_quiet();
}

#[test]
fn a_request_that_the_user_forgets_takes_no_memory_for_ever() {
    let mut net = Net::pair();
    net.send_raw(R, B, &request("MESSAGE", &via(), ""));
    net.run_until_quiet();
    assert!(net.receive_raw(R).is_none());
}

#[test]
fn a_call_that_comes_by_two_ways_rings_once() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    let more = format!("Contact: <sip:r@{R}>\n");
    net.send_raw(R, B, &request("INVITE", &via(), &more));
    net.expect_raw(R, "180 INVITE");
    let other_way = request("INVITE", &format!("{R};branch=z9hG4bK-r-2"), &more);
    assert_eq!(answer_to(&mut net, &other_way).status(), Some(482));
    assert_eq!(net.story(B), ["incoming"]);
    // Another try of the same caller is no copy.
    net.send_raw(R, B, &other_way.replace("r-2", "r-3").replace("CSeq: 5", "CSeq: 6"));
    assert_eq!(net.story(B), ["incoming", "incoming"]);
}

#[test]
fn a_message_that_comes_by_two_ways_is_told_once() {
    let mut net = Net::pair();
    net.send_raw(R, B, &request("MESSAGE", &via(), ""));
    let other_way = request("MESSAGE", &format!("{R};branch=z9hG4bK-r-2"), "");
    assert_eq!(answer_to(&mut net, &other_way).status(), Some(482));
    assert_eq!(net.story(B), ["request MESSAGE"]);
    net.run_until_quiet();
}

/// We forward nothing, and so cannot loop: a proxy that sends a call of ours back to us, by a number that is ours, makes
/// a spiral (RFC 3261 section 6), and it is a call like any other.
#[test]
fn a_call_of_ours_that_a_proxy_sends_back_rings_here() {
    let mut net = Net::pair();
    answer_calls(&mut net, A);
    net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let forwarded = String::from_utf8(invite.as_bytes().to_vec()).unwrap().replace("\r\n", "\n");
    let hop = format!("Via: SIP/2.0/UDP {R};branch=z9hG4bK-p\nVia:");
    let forwarded = forwarded.replacen("Via:", &hop, 1).replace("Max-Forwards: 70", "Max-Forwards: 69");
    net.send_raw(R, A, &forwarded);
    let ok = net.expect_raw(R, "200 INVITE");
    let back = String::from_utf8(ok.as_bytes().to_vec()).unwrap().replace("\r\n", "\n");
    let (top, rest) = back.split_once("Via:").unwrap();
    net.send_raw(R, A, &format!("{top}{}", &rest[rest.find("Via:").unwrap()..]));
    assert_eq!(net.story(A), ["incoming", "answered", "confirmed"]);
    let sessions: Vec<_> = net
        .phone(A)
        .events
        .iter()
        .filter_map(|(_, event)| if let Event::Session { id, .. } = event { Some(*id) } else { None })
        .collect();
    net.hangup(A, sessions[0]);
    net.run_until_quiet();
    assert_eq!(net.story(A)[3..], ["ended Local Bye", "ended Remote Bye"]);
}

#[test]
fn every_request_of_ours_carries_max_forwards_70() {
    let mut net = Net::pair();
    let (a, _) = net.established();
    net.hangup(A, a);
    ring_only(&mut net, B);
    let a = net.call(A, B);
    net.hangup(A, a);
    net.run_until_quiet();
    let requests: Vec<_> = net.wire.iter().filter(|seen| seen.message.is_request()).collect();
    let methods: std::collections::BTreeSet<_> = requests.iter().map(|seen| seen.label()).collect();
    assert!(methods.iter().eq(&["ACK", "BYE", "CANCEL", "INVITE"]), "{methods:?}");
    assert!(requests.iter().all(|seen| seen.message.max_forwards() == Ok(Some(70))));
}

#[test]
fn a_cancel_gets_in_where_new_calls_do_not() {
    let mut net = Net::new();
    net.add_with(B, Transport::Udp, |config| config.max_transactions = 8);
    ring_only(&mut net, B);
    net.send_raw(R, B, &request("INVITE", &via(), &format!("Contact: <sip:r@{R}>\n")));
    for n in 0..9 {
        let message =
            request("MESSAGE", &format!("{R};branch=z9hG4bK-{n}"), "").replace("1@r", &n.to_string());
        net.send_raw(R, B, &message);
    }
    assert_eq!(net.phone(B).endpoint.transactions(), 7);
    net.send_raw(R, B, &request("CANCEL", &via(), ""));
    net.expect_raw(R, "487 INVITE");
    assert_eq!(net.story(B).last().unwrap(), "failed Cancelled");
}

#[test]
fn peers_of_rfc_2543_without_a_branch_are_served() {
    let mut net = Net::pair();
    answer_calls(&mut net, B);
    let old = |method: &str, to: &str| {
        request(method, R, &format!("Contact: <sip:r@{R}>\n"))
            .replace(&format!("To: <sip:bob@{B}>"), &format!("To: {to}"))
    };
    let plain = format!("<sip:bob@{B}>");
    net.send_raw(R, B, &old("INVITE", &plain));
    net.send_raw(R, B, &old("INVITE", &plain));
    let ok = net.expect_raw(R, "200 INVITE");
    net.send_raw(R, B, &old("ACK", ok.header(Name::To).unwrap()));
    assert_eq!(net.story(B), ["incoming", "confirmed"]);
    let bye = in_dialog(&ok, "BYE", 6, "");
    net.send_raw(R, B, &bye);
    net.run_until_quiet();
    assert_eq!(net.story(B), ["incoming", "confirmed", "ended Remote Bye"]);
}

#[test]
fn requests_in_a_call_are_answered_and_do_not_drop_it() {
    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    for (cseq, method, status) in [
        (6, "OPTIONS", 200),
        (7, "INFO", 200),
        (9, "UPDATE", 200),
        (10, "REFER", 400),
        (11, "FOO", 501),
        (4, "INFO", 500),
    ] {
        let answer = answer_to(&mut net, &in_dialog(&ok, method, cseq, &format!("Contact: <sip:r@{R}>\n")));
        assert_eq!(answer.status(), Some(status), "{method}");
    }
    assert_eq!(net.story(B), ["incoming", "confirmed"]);
    assert_eq!(answer_to(&mut net, &in_dialog(&ok, "BYE", 12, "")).status(), Some(200));
    net.run_until_quiet();
}

#[test]
fn an_update_moves_the_remote_target() {
    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    answer_to(&mut net, &in_dialog(&ok, "UPDATE", 6, "Contact: <sip:moved@10.0.0.7:5071>\n"));
    let b = net.session(B);
    net.hangup(B, b);
    let bye = net.expect_raw("10.0.0.7:5071", "BYE");
    assert_eq!(bye.request_uri_str(), "sip:moved@10.0.0.7:5071");
    net.send_raw("10.0.0.7:5071", B, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn a_bye_with_another_tag_or_call_id_does_not_end_the_call() {
    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    let bye = in_dialog(&ok, "BYE", 6, "");
    assert_eq!(answer_to(&mut net, &bye.replace(";tag=f", ";tag=g")).status(), Some(481));
    assert_eq!(answer_to(&mut net, &bye.replace("1@r", "2@r").replace("BYE-6", "BYE-7")).status(), Some(481));
    assert_eq!(net.story(B), ["incoming", "confirmed"]);
    let b = net.session(B);
    net.hangup(B, b);
    net.run_for(secs(40));
}

#[test]
fn responses_that_are_not_ours_are_dropped() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let ok = response_to(&invite, 486, "r1", "");
    for forged in [
        ok.replace("UDP 10.0.0.1:5060", "UDP 10.0.0.1:5061"),
        ok.replace("UDP 10.0.0.1:5060", "UDP 10.9.9.9:5060"),
        ok.replace("branch=z9hG4bK", "branch=z9hG4bk"),
        ok.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        ok.replacen("Via:", "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK0\nVia:", 1),
        ok.replacen("From:", "Via: SIP/2.0/UDP 10.8.8.8:5060;branch=z9hG4bK0\nFrom:", 1),
    ] {
        assert_ne!(forged, ok);
        net.send_raw(R, A, &forged);
        assert!(net.story(A).is_empty(), "{forged}");
    }
    net.send_raw(R, A, &ok);
    assert_eq!(net.story(A), ["failed Response(486)"]);
    let _ = a;
    net.run_until_quiet();
}

#[test]
fn beyond_the_most_sessions_calls_are_503_both_ways() {
    let mut net = Net::new();
    net.add(A, Transport::Udp);
    net.add_with(B, Transport::Udp, |config| config.max_sessions = 1);
    let (a, _) = net.established();
    net.call(A, B);
    net.run_for(secs(0));
    assert_eq!(net.story(A).last().unwrap(), "failed Response(503)");
    assert!(net.last("503 INVITE").header(Name::RetryAfter).is_some());
    let refused = net.act(B, |endpoint, now| endpoint.invite(now, invite(A)));
    assert_eq!(refused, Err(Error::TooManySessions));
    net.hangup(A, a);
    net.run_for(secs(0));
    net.call(A, B);
    net.run_for(secs(0));
    assert_eq!(net.story(B).last().unwrap(), "confirmed", "an ended call makes room at once");
}

#[test]
fn beyond_the_most_transactions_new_requests_are_503_without_state_and_a_bye_still_gets_in() {
    let mut net = Net::new();
    net.add(A, Transport::Udp);
    net.add_with(B, Transport::Udp, |config| config.max_transactions = 16);
    let (a, _) = net.established();
    for n in 0..20 {
        let message =
            request("MESSAGE", &format!("{R};branch=z9hG4bK-{n}"), "").replace("1@r", &n.to_string());
        net.send_raw(R, B, &message);
    }
    assert_eq!(net.phone(B).endpoint.transactions(), 14);
    assert_eq!(net.count("503 MESSAGE"), 7);
    net.hangup(A, a);
    assert_eq!(net.story(B).last().unwrap(), "ended Remote Bye");
    net.run_for(secs(100));
    assert_eq!(net.phone(B).endpoint.transactions(), 0);
}
