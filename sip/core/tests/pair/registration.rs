//! REGISTER: refresh, refusal, retry, removal.

use std::time::Duration;

use crate::net::*;
use sip_core::digest::{Authorization, Credentials, Hash, Verdict, Verifier};
use sip_core::*;

fn register(password: &str) -> Register {
    Register {
        registrar: target(B),
        aor: uri("sip:trunk@example.com"),
        credentials: Some(Credentials::new("trunk", password)),
        expires: secs(3600),
        contact_user: "line1".into(),
    }
}

fn start(net: &mut Net, register: Register) -> RegistrationId {
    let id = net.act(A, |endpoint, now| endpoint.register(now, register));
    net.run_for(secs(0));
    id
}

/// Has `b` be a registrar with digest, whose user's password is `secret`.
fn registrar(net: &mut Net) {
    let mut verifier =
        Verifier::new("example.com", [7; 32], net.now, secs(600), vec![Hash::Sha256, Hash::Md5]);
    net.react(B, move |phone, now, event| {
        let Event::Request { id, hop, request } = event else { return };
        let answer = request.header(Name::Authorization).map(|value| Authorization::parse(value).unwrap());
        let verdict = answer.map(|answer| {
            let ha1 = verifier.ha1(&answer.username, "secret");
            verifier.verify(now, hop.remote.ip(), &answer, &Method::Register, b"", Some(&ha1))
        });
        let (status, headers) = match verdict {
            Some(Verdict::Accepted) => {
                (200, vec![("Expires".to_owned(), request.header(Name::Expires).unwrap().into())])
            }
            None | Some(Verdict::Refused | Verdict::Foreign | Verdict::Stale) => {
                let challenges = verifier.challenges(now, hop.remote.ip(), verdict == Some(Verdict::Stale));
                let line = |c: &sip_core::digest::Challenge| ("WWW-Authenticate".to_owned(), c.to_string());
                (401, challenges.iter().map(line).collect())
            }
        };
        phone.endpoint.respond(now, *id, status, &headers, None).unwrap();
    });
}

/// Has `b` answer every REGISTER like this.
fn answer_all(net: &mut Net, status: u16, headers: &'static [(&'static str, &'static str)]) {
    net.react(B, move |phone, now, event| {
        let Event::Request { id, .. } = event else { return };
        let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        phone.endpoint.respond(now, *id, status, &headers, None).unwrap();
    });
}

fn retry_in(net: &mut Net) -> Duration {
    match net.phone(A).events.last() {
        Some((
            _,
            Event::Registration { event: RegistrationEvent::Failed { retry_in: Some(wait), .. }, .. },
        )) => *wait,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_registers_with_digest_and_refreshes_before_the_end_with_the_same_call_id() {
    let mut net = Net::pair();
    registrar(&mut net);
    start(&mut net, register("secret"));
    assert_eq!(net.ladder(), ["> REGISTER", "< 401 REGISTER", "> REGISTER", "< 200 REGISTER"]);
    assert_eq!(net.story(A), ["registered 3600s"]);
    net.run_for(secs(3600));
    // The nonce has expired meanwhile: challenged as stale, answered, registered.
    assert_eq!(net.story(A), ["registered 3600s", "registered 3600s"]);
    let refresh = net.times("REGISTER")[2];
    assert!((secs(2700)..secs(3240)).contains(&refresh), "{refresh:?}");
    let registers: Vec<_> = net.wire.iter().filter(|seen| seen.label() == "REGISTER").collect();
    for (at, seen) in registers.iter().enumerate() {
        assert_eq!(seen.message.header(Name::CallId), registers[0].message.header(Name::CallId));
        assert_eq!(seen.message.cseq().unwrap().number, at as u32 + 1);
        assert_eq!(seen.message.request_uri_str(), "sip:example.com");
        assert_eq!(seen.message.header(Name::Contact), Some("<sip:line1@10.0.0.1:5060>"));
    }
}

#[test]
fn the_registrar_decides_on_the_lifetime() {
    let mut net = Net::pair();
    let contact = "<sip:line1@10.0.0.1:5060>;expires=60, <sip:other@10.9.9.9>;expires=900";
    net.add(R, Transport::Udp);
    answer_all(&mut net, 200, &[("Expires", "1800")]);
    start(&mut net, register("secret"));
    assert_eq!(net.story(A), ["registered 1800s"]);

    let mut net = Net::pair();
    let mut to_r = register("secret");
    to_r.registrar = target(R);
    start(&mut net, to_r);
    let request = net.expect_raw(R, "REGISTER");
    net.send_raw(R, A, &response_to(&request, 200, "x", &format!("Contact: {contact}\nExpires: 1800\n")));
    assert_eq!(net.story(A), ["registered 60s"]);
    net.run_for(secs(60));
    assert!((secs(45)..secs(54)).contains(&net.times("REGISTER")[1]));
}

#[test]
fn a_wrong_password_stops_for_good() {
    let mut net = Net::pair();
    registrar(&mut net);
    start(&mut net, register("guess"));
    net.run_for(secs(100_000));
    assert_eq!(net.count("REGISTER"), 2);
    assert_eq!(net.story(A), ["failed Some(401) for good"]);
    assert_eq!(net.phone(A).endpoint.poll_timeout(), None);
}

#[test]
fn forbidden_and_unknown_stop_for_good() {
    for status in [403, 404] {
        let mut net = Net::pair();
        answer_all(&mut net, status, &[]);
        start(&mut net, register("secret"));
        net.run_for(secs(100_000));
        assert_eq!(net.count("REGISTER"), 1);
        assert_eq!(net.story(A), [format!("failed Some({status}) for good")]);
    }
}

#[test]
fn an_interval_too_brief_is_raised() {
    let mut net = Net::pair();
    net.react(B, |phone, now, event| {
        let Event::Request { id, request, .. } = event else { return };
        let asked: u64 = request.header(Name::Expires).unwrap().parse().unwrap();
        let (status, header) =
            if asked < 7200 { (423, ("Min-Expires", "7200")) } else { (200, ("Expires", "7200")) };
        phone.endpoint.respond(now, *id, status, &[(header.0.into(), header.1.into())], None).unwrap();
    });
    start(&mut net, register("secret"));
    assert_eq!(net.ladder(), ["> REGISTER", "< 423 REGISTER", "> REGISTER", "< 200 REGISTER"]);
    assert_eq!(net.story(A), ["registered 7200s"]);
}

#[test]
fn a_registrar_that_never_has_enough_is_not_asked_without_end() {
    let mut net = Net::pair();
    answer_all(&mut net, 423, &[("Min-Expires", "3600")]);
    start(&mut net, register("secret"));
    assert_eq!(net.count("REGISTER"), 1);
    assert_eq!(net.story(A), ["failed Some(423), again later"]);
}

#[test]
fn failures_that_may_pass_are_retried_with_growing_waits() {
    let mut net = Net::pair();
    answer_all(&mut net, 500, &[]);
    start(&mut net, register("secret"));
    for limit in [5, 10, 20, 40, 80, 160, 300, 300].map(secs) {
        let wait = retry_in(&mut net);
        assert!((limit / 2..=limit).contains(&wait), "{wait:?} of {limit:?}");
        let before = net.count("REGISTER");
        net.run_for(wait - ms(1));
        assert_eq!(net.count("REGISTER"), before);
        net.run_for(ms(1));
        assert_eq!(net.count("REGISTER"), before + 1);
    }
    // One success begins anew.
    answer_all(&mut net, 200, &[("Expires", "100")]);
    net.run_for(secs(301));
    answer_all(&mut net, 500, &[]);
    net.run_for(secs(90));
    let _ = retry_in(&mut net);
}

#[test]
fn retry_after_is_honoured() {
    let mut net = Net::pair();
    answer_all(&mut net, 503, &[("Retry-After", "120")]);
    start(&mut net, register("secret"));
    let wait = retry_in(&mut net);
    assert!((secs(120)..secs(132)).contains(&wait), "{wait:?}");
}

#[test]
fn a_silent_registrar_is_retried_after_timer_f() {
    let mut net = Net::pair();
    let mut silent = register("secret");
    silent.registrar = target(R);
    start(&mut net, silent);
    net.run_for(secs(32));
    assert_eq!(net.story(A), ["failed None, again later"]);
    assert_eq!(net.count("REGISTER"), 11);
}

#[test]
fn the_next_address_is_tried_before_waiting() {
    let mut net = Net::pair();
    registrar(&mut net);
    let mut named = register("secret");
    named.registrar.host = "registrar.example.com".into();
    start(&mut net, named);
    net.resolve(A, &[R, B]);
    net.run_for(secs(32));
    assert_eq!(net.story(A), ["registered 3600s"]);
}

#[test]
fn a_503_of_one_address_leads_to_the_next() {
    let mut net = Net::pair();
    registrar(&mut net);
    let mut named = register("secret");
    named.registrar.host = "registrar.example.com".into();
    start(&mut net, named);
    net.resolve(A, &[R, B]);
    let first = net.expect_raw(R, "REGISTER");
    // An answer that names another method is not for this request.
    net.send_raw(R, A, &response_to(&first, 200, "x", "").replace("1 REGISTER", "1 OPTIONS"));
    assert!(net.story(A).is_empty());
    net.send_raw(R, A, &response_to(&first, 503, "x", ""));
    net.run_for(secs(1));
    assert_eq!(net.story(A), ["registered 3600s"]);
}

#[test]
fn unregistering_removes_the_binding() {
    let mut net = Net::pair();
    registrar(&mut net);
    let id = start(&mut net, register("secret"));
    net.act(A, |endpoint, now| endpoint.unregister(now, id).unwrap());
    net.run_until_quiet();
    assert_eq!(net.last("REGISTER").header(Name::Expires), Some("0"));
    assert_eq!(net.story(A), ["registered 3600s", "unregistered"]);
    let gone = net.act(A, |endpoint, now| endpoint.unregister(now, id));
    assert_eq!(gone, Err(Error::UnknownRegistration));
}

#[test]
fn unregistering_waits_for_the_answer_to_the_request_under_way() {
    let mut net = Net::pair();
    let mut slow = register("secret");
    slow.registrar = target(R);
    let id = start(&mut net, slow);
    net.act(A, |endpoint, now| endpoint.unregister(now, id).unwrap());
    assert_eq!(net.count("REGISTER"), 1);
    let request = net.expect_raw(R, "REGISTER");
    net.send_raw(R, A, &response_to(&request, 200, "x", "Expires: 3600\n"));
    let removal = net.expect_raw(R, "REGISTER");
    assert_eq!(removal.header(Name::Expires), Some("0"));
    net.send_raw(R, A, &response_to(&removal, 200, "x", ""));
    net.run_until_quiet();
    assert_eq!(net.story(A), ["unregistered"]);
}

#[test]
fn unregistering_ends_even_if_nobody_answers() {
    let mut net = Net::pair();
    registrar(&mut net);
    let id = start(&mut net, register("secret"));
    net.lose("REGISTER", u32::MAX);
    net.act(A, |endpoint, now| endpoint.unregister(now, id).unwrap());
    net.run_until_quiet();
    assert_eq!(net.story(A), ["registered 3600s", "unregistered"]);
}

#[test]
fn the_way_of_a_registration_over_udp_is_kept_open_while_it_lasts() {
    let mut net = Net::pair();
    registrar(&mut net);
    let id = start(&mut net, register("secret"));
    net.run_for(secs(120));
    let times: Vec<_> = net.keepalives.iter().map(|(at, ..)| *at).collect();
    assert!((4..=5).contains(&times.len()), "{times:?}");
    let apart = |pair: &[Duration]| pair[1] - pair[0];
    assert!(times.windows(2).all(|pair| (secs(24)..=secs(29)).contains(&apart(pair))), "{times:?}");
    assert!(times.windows(3).any(|three| apart(&three[..2]) != apart(&three[1..])), "at random: {times:?}");
    assert!(net.keepalives.iter().all(|&(_, from, to)| (from, to) == (addr(A), addr(B))));

    net.act(A, |endpoint, now| endpoint.unregister(now, id).unwrap());
    net.run_until_quiet();
    assert_eq!(net.keepalives.len(), times.len(), "it is over");
}

#[test]
fn nothing_is_kept_open_over_streams_or_where_nobody_wants_us() {
    let mut net = Net::new();
    net.add(A, Transport::Tcp);
    net.add(B, Transport::Tcp);
    registrar(&mut net);
    let over_tcp = Target { transport: Some(Transport::Tcp), ..target(B) };
    start(&mut net, Register { registrar: over_tcp, ..register("secret") });
    net.run_for(secs(120));
    assert_eq!(net.keepalives, []);

    let mut net = Net::pair();
    answer_all(&mut net, 403, &[]);
    start(&mut net, register("secret"));
    net.run_for(secs(120));
    assert_eq!(net.keepalives, []);
}
