//! Requests of ours outside dialogs: OPTIONS that ask whether somebody is there.

use crate::net::*;
use sip_core::digest::{Authorization, Credentials, Hash, Verdict, Verifier};
use sip_core::*;

fn options(to: Target) -> Outgoing {
    Outgoing {
        method: Method::Options,
        request_uri: uri("sip:trunk.example.com"),
        to: NameAddr::new(uri("sip:trunk.example.com")).with_tag("stale"),
        from: NameAddr::new(uri("sip:probe@example.com")),
        target: to,
        route: vec![],
        headers: vec![("X-Probe".into(), "1".into())],
        body: None,
        credentials: None,
    }
}

fn ask(net: &mut Net, outgoing: Outgoing) -> OutgoingId {
    let id = net.act(A, |endpoint, now| endpoint.request(now, outgoing).unwrap());
    net.run_for(secs(0));
    id
}

fn named() -> Target {
    Target { host: "trunk.example.com".into(), ..Target::default() }
}

#[test]
fn options_is_answered_and_carries_what_it_must() {
    let mut net = Net::pair();
    let id = ask(&mut net, options(target(B)));
    let request = net.last("OPTIONS");
    assert_eq!(request.request_uri_str(), "sip:trunk.example.com");
    assert_eq!(request.header(Name::Contact), Some("<sip:probe@10.0.0.1:5060>"));
    assert_eq!(request.header(Name::Accept), Some("application/sdp"));
    assert_eq!(request.header(Name::Other("X-Probe")), Some("1"));
    assert_eq!(request.max_forwards(), Ok(Some(70)));
    assert!(request.to_tag().is_none() && request.from_tag().is_some());
    assert_eq!(net.story(A), ["response 200"]);
    let Some((_, Event::Response { id: told, outcome: OutgoingOutcome::Response { hop, response } })) =
        net.phone(A).events.pop()
    else {
        panic!()
    };
    assert_eq!((told, hop.remote), (id, addr(B)));
    assert!(response.headers(Name::Allow).any(|method| method == "INVITE"));
    net.run_until_quiet();
}

#[test]
fn one_that_is_lost_is_repeated_and_one_that_nobody_answers_times_out() {
    let mut net = Net::pair();
    net.lose("OPTIONS", 3);
    ask(&mut net, options(target(B)));
    net.run_for(secs(5));
    assert_eq!(net.story(A), ["response 200"]);
    net.lose("200 OPTIONS", 100);
    ask(&mut net, options(target(B)));
    net.run_for(ms(31_999));
    assert_eq!(net.story(A).len(), 1);
    net.run_for(ms(1));
    assert_eq!(net.story(A)[1..], ["no response"]);
    net.run_until_quiet();
}

#[test]
fn any_final_response_is_an_outcome_and_a_provisional_one_is_none() {
    for status in [200, 302, 401, 404, 405, 483, 503, 603] {
        let mut net = Net::pair();
        ask(&mut net, options(target(R)));
        let request = net.expect_raw(R, "OPTIONS");
        net.send_raw(R, A, &response_to(&request, 100, "", ""));
        assert!(net.story(A).is_empty());
        let answer = response_to(&request, status, "r", "Retry-After: 9\n");
        net.send_raw(R, A, &answer);
        net.send_raw(R, A, &answer);
        assert_eq!(net.story(A), [format!("response {status}")]);
        net.run_until_quiet();
    }
}

#[test]
fn a_challenge_is_answered_once() {
    for (password, end) in [("secret", "response 200"), ("wrong", "response 401")] {
        let mut net = Net::pair();
        let mut verifier = Verifier::new("carrier", [7; 32], net.now, secs(60), vec![Hash::Sha256]);
        net.react(B, move |phone, now, event| {
            let Event::Request { id, hop, request } = event else { return };
            let answer =
                request.header(Name::Authorization).map(|value| Authorization::parse(value).unwrap());
            let verdict = answer.map(|answer| {
                let ha1 = verifier.ha1(&answer.username, "secret");
                verifier.verify(now, hop.remote.ip(), &answer, &Method::Message, request.body(), Some(&ha1))
            });
            let challenges: Vec<_> = match verdict {
                Some(Verdict::Accepted) => vec![],
                None | Some(Verdict::Refused | Verdict::Foreign | Verdict::Stale) => verifier
                    .challenges(now, hop.remote.ip(), false)
                    .iter()
                    .map(|c| ("WWW-Authenticate".to_owned(), c.to_string()))
                    .collect(),
            };
            let status = if challenges.is_empty() { 200 } else { 401 };
            phone.endpoint.respond(now, *id, status, &challenges, None).unwrap();
        });
        let body = Body { content_type: "text/plain".into(), bytes: "hello".into() };
        let message = Outgoing {
            method: Method::Message,
            body: Some(body),
            credentials: Some(Credentials::new("alice", password)),
            ..options(target(B))
        };
        ask(&mut net, message);
        assert_eq!(net.story(A), [end]);
        assert_eq!(net.count("MESSAGE"), 2);
        let cseqs: Vec<_> = net.wire.iter().filter(|seen| seen.label() == "MESSAGE").collect();
        assert_eq!(cseqs[0].message.call_id(), cseqs[1].message.call_id());
        assert_eq!(cseqs[1].message.cseq().unwrap().number, 2);
        assert_eq!(&cseqs[1].message.body()[..], b"hello");
        net.run_until_quiet();
    }
}

#[test]
fn the_next_address_is_asked_after_a_503_a_timeout_and_a_broken_transport() {
    let mut net = Net::pair();
    ask(&mut net, options(named()));
    net.resolve(A, &[R, "10.0.0.8:5060", "10.0.0.9:5060", B]);
    let request = net.expect_raw(R, "OPTIONS");
    net.send_raw(R, A, &response_to(&request, 503, "r", ""));
    net.expect_raw("10.0.0.8:5060", "OPTIONS");
    let broken = Input::TransportError {
        transport: Transport::Udp,
        remote: addr("10.0.0.8:5060"),
        kind: TransportErrorKind::Refused,
    };
    net.input(A, broken);
    net.expect_raw("10.0.0.9:5060", "OPTIONS");
    assert!(net.story(A).is_empty());
    net.run_for(secs(32));
    assert_eq!(net.story(A), ["response 200"]);
    net.run_until_quiet();
}

#[test]
fn without_an_address_or_a_listener_there_is_an_outcome_at_once() {
    let mut net = Net::pair();
    ask(&mut net, options(named()));
    net.resolve(A, &[]);
    ask(&mut net, options(named()));
    net.resolve(A, &["[2001:db8::1]:5060"]);
    ask(&mut net, options(Target { host: "not a host".into(), ..Target::default() }));
    ask(&mut net, options(Target { transport: Some(Transport::Tcp), ..target(B) }));
    assert_eq!(net.story(A), ["no address", "unreachable", "no address", "unreachable"]);
    net.run_until_quiet();
}

#[test]
fn an_abandoned_one_tells_nothing_and_is_not_repeated() {
    let mut net = Net::pair();
    let resolving = ask(&mut net, options(named()));
    let sent = ask(&mut net, options(target(R)));
    let request = net.expect_raw(R, "OPTIONS");
    for id in [resolving, sent, sent] {
        net.act(A, |endpoint, _| endpoint.abandon(id));
    }
    net.resolve(A, &[B]);
    net.send_raw(R, A, &response_to(&request, 200, "r", ""));
    net.run_until_quiet();
    assert!(net.story(A).is_empty());
    assert_eq!(net.count("OPTIONS"), 1);
}

#[test]
fn what_is_not_for_this_command_is_refused() {
    let mut net = Net::new();
    net.add_with(A, Transport::Udp, |config| config.max_requests = 2);
    let mut refused =
        |outgoing: Outgoing| net.act(A, |endpoint, now| endpoint.request(now, outgoing)).unwrap_err();
    for method in [Method::Invite, Method::Ack, Method::Cancel, Method::Bye, Method::Register, Method::Refer]
    {
        assert_eq!(refused(Outgoing { method, ..options(target(R)) }), Error::Method);
    }
    for name in ["Via", "Route", "Max-Forwards", "X y", "i"] {
        let headers = vec![("X-A".into(), "1".into()), (name.into(), "1".into())];
        assert_eq!(refused(Outgoing { headers, ..options(target(R)) }), Error::Header { index: 1 });
    }
    ask(&mut net, options(target(R)));
    ask(&mut net, options(target(R)));
    let third = net.act(A, |endpoint, now| endpoint.request(now, options(target(R))));
    assert_eq!(third, Err(Error::TooManyRequests));
    net.run_until_quiet();
    ask(&mut net, options(target(R)));
    net.run_until_quiet();
    assert_eq!(net.story(A), ["no response"; 3]);
}

#[test]
fn a_preloaded_route_is_carried_in_order() {
    let mut net = Net::pair();
    let route = ["<sip:p1@10.0.0.3;lr>", "<sip:p2.example.com;lr>"].map(|text| text.parse().unwrap());
    ask(&mut net, Outgoing { route: route.into(), ..options(target(R)) });
    let request = net.expect_raw(R, "OPTIONS");
    let routes: Vec<_> = request.headers(Name::Route).collect();
    assert_eq!(routes, ["<sip:p1@10.0.0.3;lr>", "<sip:p2.example.com;lr>"]);
    net.run_until_quiet();
}
