//! INFO in calls (RFC 6086).

use crate::net::*;
use crate::requests::{answer_to, called_by_r, in_dialog};
use sip_core::*;

pub(crate) fn relay() -> Body {
    Body { content_type: "application/dtmf-relay".into(), bytes: "Signal=5\r\nDuration=160\r\n".into() }
}

#[test]
fn what_one_end_sends_the_other_is_told() {
    let mut net = Net::pair();
    let (a, b) = net.established();
    for (at, id) in [(A, a), (B, b)] {
        net.act(at, |endpoint, now| endpoint.info(now, id, relay()).unwrap());
        net.run_for(secs(0));
        assert_eq!(net.story(at).last().unwrap(), "info answered 200");
    }
    for at in [A, B] {
        let info = net.phone(at).events.iter().find_map(|(_, event)| {
            if let Event::Session { event: SessionEvent::Info { content_type, body }, .. } = event {
                return Some((content_type.clone(), body.clone()));
            }
            None
        });
        assert_eq!(info, Some(("application/dtmf-relay".into(), "Signal=5\r\nDuration=160\r\n".into())));
    }
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn packages_that_nobody_asked_for_are_refused_and_an_empty_info_tells_nothing() {
    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    let package = answer_to(&mut net, &in_dialog(&ok, "INFO", 6, "Info-Package: conf\n"));
    assert_eq!((package.status(), package.rows_of(Name::RecvInfo).next()), (Some(469), Some("")));
    assert_eq!(answer_to(&mut net, &in_dialog(&ok, "INFO", 7, "")).status(), Some(200));
    assert_eq!(net.story(B), ["incoming", "confirmed"]);
    let b = net.session(B);
    net.hangup(B, b);
    net.run_for(secs(40));
}

#[test]
fn what_nobody_understands_is_refused_unless_it_may_be_passed_over() {
    let mut net = Net::pair();
    let ok = called_by_r(&mut net);
    for (cseq, lines, status) in [
        (6, "Content-Type: Application/DTMF-Relay ;x=1\n", 200),
        (7, "Content-Type: application/x-nothing\n", 415),
        (8, "Content-Type: application/dtmf-relay\nContent-Encoding: gzip\n", 415),
        (9, "", 415),
        (10, "Content-Type: application/x-nothing\nContent-Disposition: info;handling=optional\n", 200),
    ] {
        let lines = format!("{lines}Content-Length: 3\n");
        let answer = answer_to(&mut net, &format!("{}abc", in_dialog(&ok, "INFO", cseq, &lines)));
        assert_eq!(answer.status(), Some(status), "{lines}");
        let accept: Vec<_> = answer.headers(Name::Accept).collect();
        assert_eq!(accept == ["application/dtmf-relay"], status == 415, "{accept:?}");
    }
    assert_eq!(net.story(B), ["incoming", "confirmed", "info"]);
    let b = net.session(B);
    net.hangup(B, b);
    net.run_for(secs(40));
}

#[test]
fn an_info_that_is_refused_or_ignored_leaves_the_call_alone() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let early = net.act(A, |endpoint, now| endpoint.info(now, a, relay()));
    assert_eq!(early, Err(Error::WrongState));
    net.send_raw(R, A, &response_to(&invite, 200, "r1", &format!("Contact: <sip:r@{R}>\n")));
    for _ in 0..2 {
        net.act(A, |endpoint, now| endpoint.info(now, a, relay()).unwrap());
    }
    net.run_for(secs(0));
    let first = net.expect_raw(R, "INFO");
    net.send_raw(R, A, &response_to(&first, 415, "", ""));
    net.run_for(secs(33));
    assert_eq!(net.story(A), ["answered", "info answered 415", "info answered 408"]);
    // As many as a call may have under way.
    for _ in 0..16 {
        net.act(A, |endpoint, now| endpoint.info(now, a, relay()).unwrap());
    }
    let seventeenth = net.act(A, |endpoint, now| endpoint.info(now, a, relay()));
    assert_eq!(seventeenth, Err(Error::TooManyRequests));
    net.hangup(A, a);
    net.run_until_quiet();
}

#[test]
fn a_481_to_an_info_ends_the_call() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 200, "r1", &format!("Contact: <sip:r@{R}>\n")));
    net.act(A, |endpoint, now| endpoint.info(now, a, relay()).unwrap());
    net.run_for(secs(0));
    let info = net.expect_raw(R, "INFO");
    net.send_raw(R, A, &response_to(&info, 481, "", ""));
    net.expect_raw(R, "BYE");
    assert_eq!(net.story(A), ["answered", "info answered 481", "ended Local Forgotten"]);
    net.run_until_quiet();
}
