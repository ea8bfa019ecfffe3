//! Strangers.

use crate::net::*;
use sip_core::*;

#[test]
fn a_dismissed_caller_is_told_once_for_each_invite_and_nothing_is_kept() {
    let mut net = Net::pair();
    net.react(B, |phone, now, event| {
        if let Event::Session { id, event: SessionEvent::Incoming { .. } } = event {
            phone.endpoint.dismiss(now, *id, 403, &[]).unwrap();
            assert_eq!(phone.endpoint.dismiss(now, *id, 403, &[]), Err(Error::UnknownSession));
        }
    });
    let invite = format!(
        "INVITE sip:bob@{B} SIP/2.0\nVia: SIP/2.0/UDP {R};branch=z9hG4bK-1\nMax-Forwards: 70\n\
         From: <sip:r@y>;tag=f\nTo: <sip:bob@{B}>\nCall-ID: 1@r\nCSeq: 5 INVITE\nContact: <sip:r@{R}>\n\n"
    );
    for invites in 1..=2 {
        net.send_raw(R, B, &invite);
        net.run_for(secs(60));
        assert_eq!(net.count("403 INVITE"), invites, "nobody acknowledges it, and it is not repeated");
        assert_eq!(net.wire.len(), invites, "and it is all that a forged source gets");
        let endpoint = &net.phone(B).endpoint;
        assert_eq!((endpoint.transactions(), endpoint.sessions()), (0, 0));
    }
    let ack = invite
        .replace("INVITE", "ACK")
        .replace(&format!("<sip:bob@{B}>\n"), &format!("<sip:bob@{B}>;tag=x\n"));
    net.send_raw(R, B, &ack);
    net.run_until_quiet();
}
