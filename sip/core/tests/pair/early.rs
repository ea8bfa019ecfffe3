//! Requests in dialogs that are not confirmed yet.

use crate::net::*;
use sip_core::*;

/// A request of the callee `r` in the early dialog of an INVITE from `a`.
fn early(invite: &Message, method: &str, cseq: u32, body: &str) -> String {
    format!(
        "{method} sip:alice@{A} SIP/2.0\nVia: SIP/2.0/UDP {R};branch=z9hG4bK-{method}-{cseq}\nFrom: {};tag=callee\n\
         To: {}\nCall-ID: {}\nCSeq: {cseq} {method}\nContact: <sip:bob@{R}>\nContent-Length: {}\n\n{body}",
        invite.header(Name::To).unwrap(),
        invite.header(Name::From).unwrap(),
        invite.header(Name::CallId).unwrap(),
        body.len(),
    )
}

#[test]
fn a_carrier_that_refreshes_while_it_rings_keeps_the_call() {
    let mut net = Net::pair();
    net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    let contact = format!("Contact: <sip:bob@{R}>\n");
    net.send_raw(R, A, &response_to(&invite, 183, "callee", &contact));
    for (cseq, (method, body, status)) in [
        ("UPDATE", "", 200),
        ("OPTIONS", "", 200),
        ("INFO", "", 200),
        ("UPDATE", "v=0", 491),
        ("REFER", "", 403),
    ]
    .into_iter()
    .enumerate()
    {
        net.send_raw(R, A, &early(&invite, method, cseq as u32 + 1, body));
        let answer = net.receive_raw(R).unwrap();
        assert_eq!(answer.status(), Some(status), "{method} {body:?}");
    }
    net.send_raw(R, A, &response_to(&invite, 200, "callee", &contact));
    net.expect_raw(R, "ACK");
    assert_eq!(net.story(A), ["183", "answered"]);
}

#[test]
fn an_offer_while_the_first_waits_for_its_answer_is_put_off() {
    let mut net = Net::pair();
    ring_only(&mut net, B);
    net.call(A, B);
    net.run_for(secs(0));
    let ringing = net.last("180 INVITE");
    let update = format!(
        "UPDATE sip:bob@{B} SIP/2.0\nVia: SIP/2.0/UDP {R};branch=z9hG4bK-u\nFrom: {}\nTo: {}\nCall-ID: {}\n\
         CSeq: 9 UPDATE\nContent-Length: 3\n\nv=0",
        ringing.header(Name::From).unwrap(),
        ringing.header(Name::To).unwrap(),
        ringing.header(Name::CallId).unwrap(),
    );
    net.send_raw(R, B, &update);
    let answer = net.expect_raw(R, "500 UPDATE");
    assert!(answer.retry_after().unwrap().is_some());
}
