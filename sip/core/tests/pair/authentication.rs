//! 401 and 407 for calls; registrations have their own page.

use crate::net::*;
use sip_core::digest::{Authorization, Credentials, Hash, Verdict, Verifier};
use sip_core::*;

/// Has `b` challenge every INVITE with 407, and ring and answer those that know `secret`.
fn challenge_calls(net: &mut Net, hash: Hash, lifetime: std::time::Duration) {
    let mut verifier = Verifier::new("carrier", [7; 32], net.now, lifetime, vec![hash]);
    net.react(B, move |phone, now, event| {
        let Event::Session { id, event: SessionEvent::Incoming { hop, request, .. } } = event else { return };
        let answer =
            request.header(Name::ProxyAuthorization).map(|value| Authorization::parse(value).unwrap());
        let verdict = answer.map(|answer| {
            let ha1 = verifier.ha1(&answer.username, "secret");
            verifier.verify(now, hop.remote.ip(), &answer, &Method::Invite, request.body(), Some(&ha1))
        });
        match verdict {
            Some(Verdict::Accepted) => phone.endpoint.answer(now, *id, None).unwrap(),
            None | Some(Verdict::Refused | Verdict::Foreign | Verdict::Stale) => {
                let challenges = verifier.challenges(now, hop.remote.ip(), verdict == Some(Verdict::Stale));
                let headers: Vec<_> =
                    challenges.iter().map(|c| ("Proxy-Authenticate".to_owned(), c.to_string())).collect();
                phone.endpoint.reject(now, *id, 407, &headers).unwrap();
            }
        }
    });
}

#[test]
fn a_407_is_answered_with_a_new_cseq_and_branch_and_the_same_call_id_and_tag() {
    for hash in [Hash::Md5, Hash::Sha256, Hash::Sha512_256] {
        let mut net = Net::pair();
        challenge_calls(&mut net, hash, secs(60));
        let a = net.call(A, B);
        net.run_for(secs(0));
        assert_eq!(net.story(A), ["answered"], "{hash:?}");
        let invites: Vec<_> = net
            .wire
            .iter()
            .filter(|seen| seen.label() == "INVITE")
            .map(|seen| seen.message.clone())
            .collect();
        let [first, second] = &invites[..] else { panic!("{:?}", net.ladder()) };
        assert_eq!(first.header(Name::CallId), second.header(Name::CallId));
        assert_eq!(first.header(Name::From), second.header(Name::From));
        assert_eq!(first.header(Name::To), second.header(Name::To));
        assert_ne!(first.header(Name::Via), second.header(Name::Via));
        assert_eq!((first.cseq().unwrap().number, second.cseq().unwrap().number), (1, 2));
        net.hangup(A, a);
        net.run_until_quiet();
    }
}

#[test]
fn the_ack_carries_the_credentials_of_its_invite_and_the_bye_counts_on() {
    let mut net = Net::pair();
    challenge_calls(&mut net, Hash::Md5, secs(60));
    let a = net.call(A, B);
    net.run_for(secs(0));
    net.hangup(A, a);
    net.run_until_quiet();
    let credentials = |label| net.last(label).header(Name::ProxyAuthorization).unwrap().to_owned();
    assert_eq!(credentials("ACK"), credentials("INVITE"));
    let counted = Authorization::parse(&credentials("BYE")).unwrap().counted.unwrap();
    assert_eq!(counted.nc, 2);
}

#[test]
fn a_wrong_password_fails_the_call_after_one_try() {
    let mut net = Net::pair();
    challenge_calls(&mut net, Hash::Sha256, secs(60));
    let mut call = invite(B);
    call.credentials = Some(Credentials::new("alice", "guess"));
    net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.run_until_quiet();
    assert_eq!(net.count("INVITE"), 2);
    assert_eq!(net.story(A), ["failed Response(407)"]);
}

#[test]
fn without_credentials_a_challenge_fails_the_call() {
    let mut net = Net::pair();
    challenge_calls(&mut net, Hash::Sha256, secs(60));
    let mut call = invite(B);
    call.credentials = None;
    net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
    net.run_until_quiet();
    assert_eq!(net.count("INVITE"), 1);
    assert_eq!(net.story(A), ["failed Response(407)"]);
}

#[test]
fn a_stale_nonce_is_replaced() {
    let mut net = Net::pair();
    let call = net.call(A, R);
    net.run_for(secs(0));
    let challenge = |nonce: &str, stale: bool| {
        format!(
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", stale={stale}, qop=\"auth,auth-int\"\n"
        )
    };
    let first = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&first, 401, "x", &challenge("n1", false)));
    let second = net.expect_raw(R, "INVITE");
    assert!(second.header(Name::Authorization).unwrap().contains("nonce=\"n1\""));
    net.send_raw(R, A, &response_to(&second, 401, "x", &challenge("n2", true)));
    let third = net.expect_raw(R, "INVITE");
    assert!(third.header(Name::Authorization).unwrap().contains("nonce=\"n2\""));
    net.send_raw(R, A, &response_to(&third, 401, "x", &challenge("n3", false)));
    assert_eq!(net.story(A), ["failed Response(401)"]);
    let _ = call;
    net.run_until_quiet();
}

#[test]
fn a_challenged_bye_is_sent_again_with_credentials() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 200, "r1", &format!("Contact: <sip:{R}>\n")));
    let reason = Reason { protocol: ReasonProtocol::Q850, cause: 16, text: None };
    net.act(A, |endpoint, now| {
        endpoint.hangup(now, a, Hangup { reason: Some(reason), ..Hangup::default() }).unwrap()
    });
    net.run_for(secs(0));
    let bye = net.expect_raw(R, "BYE");
    let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n1\"\n";
    net.send_raw(R, A, &response_to(&bye, 407, "", challenge));
    let again = net.expect_raw(R, "BYE");
    assert!(again.header(Name::ProxyAuthorization).is_some());
    assert_eq!(again.header(Name::Reason), bye.header(Name::Reason));
    assert!(bye.q850_cause().is_some());
    assert_eq!(again.cseq().unwrap().number, bye.cseq().unwrap().number + 1);
    net.send_raw(R, A, &response_to(&again, 407, "", challenge));
    net.run_until_quiet();
    assert_eq!(net.count("BYE"), 2);
}
