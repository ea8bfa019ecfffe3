//! REGISTER: refresh, refusal, retry, removal.

use std::time::Duration;

use crate::net::*;
use sip_core::digest::{Authorization, Credentials, Hash, Verdict, Verifier};
use sip_core::*;

fn register(password: &str) -> Register {
    Register {
        credentials: Some(Credentials::new("trunk", password)),
        contact_user: "line1".into(),
        ..Register::new(target(B), uri("sip:trunk@example.com"))
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
    for status in [403, 404, 405, 410, 416, 501, 604] {
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

/// Has `r` answer every REGISTER that has come by now; returns the last one.
fn answer_raw(net: &mut Net, status: u16, more: &str) -> Message {
    let request = net.expect_raw(R, "REGISTER");
    net.send_raw(R, A, &response_to(&request, status, "x", more));
    request
}

fn to_r() -> Register {
    Register { registrar: target(R), ..register("secret") }
}

fn contacts(request: &Message) -> Vec<String> {
    request.headers(Name::Contact).map(str::to_owned).collect()
}

/// What the last success told beside the lifetime.
fn told(net: &mut Net) -> (Vec<String>, Option<String>) {
    match net.phone(A).events.last() {
        Some((
            _,
            Event::Registration {
                event: RegistrationEvent::Registered { service_route, seen_at, .. }, ..
            },
        )) => (service_route.iter().map(ToString::to_string).collect(), seen_at.map(|at| at.to_string())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_service_route_is_told_in_order_and_until_it_is_gone() {
    let mut net = Net::pair();
    start(&mut net, to_r());
    let routes = "Service-Route: <sip:p2.example.com;lr>, <sip:10.1.1.1:5070;lr>\nService-Route: <sip:p3.example.com;lr>\n";
    answer_raw(&mut net, 200, &format!("Expires: 60\n{routes}"));
    let all = ["<sip:p2.example.com;lr>", "<sip:10.1.1.1:5070;lr>", "<sip:p3.example.com;lr>"];
    assert_eq!(told(&mut net).0, all);
    net.run_for(secs(54));
    answer_raw(&mut net, 200, "Expires: 60\nService-Route: <sip:broken\n");
    assert_eq!(told(&mut net).0, [""; 0], "a route with a hole in it leads elsewhere");
    net.run_for(secs(54));
    answer_raw(&mut net, 200, "Expires: 60\n");
    assert_eq!(told(&mut net).0, [""; 0]);
}

#[test]
fn through_an_outbound_proxy() {
    let mut net = Net::pair();
    let proxy = NameAddr::new(uri(&format!("sip:{R};lr")));
    start(&mut net, Register { route: vec![proxy], ..to_r() });
    let request = answer_raw(&mut net, 200, "Expires: 60\n");
    assert_eq!(request.header(Name::Route), Some("<sip:10.0.0.3:5060;lr>"));
    assert_eq!(request.request_uri_str(), "sip:example.com");
}

#[test]
fn a_flow_of_rfc_5626_is_asked_for_and_given_up_where_the_first_hop_cannot() {
    let mut net = Net::pair();
    let outbound = Outbound { instance: "urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF".into(), reg_id: 1 };
    start(&mut net, Register { outbound: Some(outbound), ..to_r() });
    let request = answer_raw(&mut net, 439, "");
    let contact = "<sip:line1@10.0.0.1:5060>;reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"";
    assert_eq!(contacts(&request), [contact]);
    assert!(request.headers(Name::Supported).eq(["path", "outbound"]));
    let request = answer_raw(&mut net, 200, "Expires: 60\n");
    assert_eq!(contacts(&request), ["<sip:line1@10.0.0.1:5060>"]);
    assert!(request.headers(Name::Supported).eq(["path"]));
    assert_eq!(net.story(A), ["registered 60s"]);
}

/// The last REGISTER that has come to `r`: one that waited for its answer was sent again.
fn last_register(net: &mut Net) -> Message {
    let first = net.expect_raw(R, "REGISTER");
    std::iter::from_fn(|| net.receive_raw(R)).last().unwrap_or(first)
}

/// A response that says where its request came from.
fn seen_from(request: &Message, status: u16, from: (&str, u16), more: &str) -> String {
    let via = format!(";rport={};received={};branch", from.1, from.0);
    response_to(request, status, "x", more).replace(";rport;branch", &via)
}

#[test]
fn behind_a_nat_the_contact_is_the_address_that_the_registrar_sees() {
    let mut net = Net::pair();
    start(&mut net, Register { contact_as_seen: true, ..to_r() });
    // A challenge tells it already.
    let request = net.expect_raw(R, "REGISTER");
    let challenge = "WWW-Authenticate: Digest realm=\"r\",nonce=\"1\",qop=\"auth\"\n";
    net.send_raw(R, A, &seen_from(&request, 401, ("203.0.113.9", 1024), challenge));
    let request = net.expect_raw(R, "REGISTER");
    assert_eq!(contacts(&request), ["<sip:line1@203.0.113.9:1024>"]);
    net.send_raw(R, A, &seen_from(&request, 200, ("203.0.113.9", 1024), "Expires: 60\n"));
    assert_eq!(told(&mut net).1.as_deref(), Some("203.0.113.9:1024"));
    // The NAT has forgotten us and gives another port: the old binding is removed with the refresh that finds out.
    net.run_for(secs(54));
    let request = last_register(&mut net);
    net.send_raw(R, A, &seen_from(&request, 200, ("203.0.113.9", 2048), "Expires: 60\n"));
    let request = net.expect_raw(R, "REGISTER");
    let both = ["<sip:line1@203.0.113.9:2048>", "<sip:line1@203.0.113.9:1024>;expires=0"];
    assert_eq!(contacts(&request), both);
    net.send_raw(R, A, &seen_from(&request, 200, ("203.0.113.9", 2048), "Expires: 60\n"));
    net.run_for(secs(54));
    assert_eq!(contacts(&net.expect_raw(R, "REGISTER")), ["<sip:line1@203.0.113.9:2048>"]);
}

#[test]
fn an_address_that_changes_with_every_response_is_not_followed_without_end() {
    let mut net = Net::pair();
    start(&mut net, Register { contact_as_seen: true, ..to_r() });
    let mut port = 1_000;
    while let Some(request) = net.receive_raw(R) {
        port += 1;
        net.send_raw(R, A, &seen_from(&request, 200, ("203.0.113.9", port), "Expires: 60\n"));
    }
    assert_eq!((net.count("REGISTER"), net.story(A)), (4, vec!["registered 60s".to_owned()]));
}

#[test]
fn without_the_option_the_address_seen_is_only_told() {
    let mut net = Net::pair();
    start(&mut net, to_r());
    let request = net.expect_raw(R, "REGISTER");
    net.send_raw(R, A, &seen_from(&request, 200, ("203.0.113.9", 1024), "Expires: 60\n"));
    assert_eq!(told(&mut net).1.as_deref(), Some("203.0.113.9:1024"));
    net.run_for(secs(54));
    assert_eq!(contacts(&net.expect_raw(R, "REGISTER")), ["<sip:line1@10.0.0.1:5060>"]);
}

#[test]
fn nonces_that_are_always_stale_are_a_fault_that_may_pass() {
    let mut net = Net::pair();
    const STALE: &[(&str, &str)] =
        &[("WWW-Authenticate", "Digest realm=\"r\",nonce=\"1\",qop=\"auth\",stale=true")];
    answer_all(&mut net, 401, STALE);
    start(&mut net, register("secret"));
    assert_eq!((net.count("REGISTER"), net.story(A)), (5, vec!["failed Some(401), again later".to_owned()]));
}

#[test]
fn what_a_registrar_says_cannot_have_us_storm_it() {
    // Retry at once, refresh at once, always a little more: in an hour of each.
    let growing = |net: &mut Net| {
        let mut least = 3_600;
        net.react(B, move |phone, now, event| {
            let Event::Request { id, .. } = event else { return };
            least += 1;
            let header = ("Min-Expires".to_owned(), least.to_string());
            phone.endpoint.respond(now, *id, 423, &[header], None).unwrap();
        });
    };
    type Case<'a> = (&'a str, &'a dyn Fn(&mut Net), usize);
    let cases: [Case; 4] = [
        ("Retry-After: 0", &|net| answer_all(net, 503, &[("Retry-After", "0")]), 30),
        ("Expires: 1", &|net| answer_all(net, 200, &[("Expires", "1")]), 361),
        ("Expires: 0", &|net| answer_all(net, 200, &[("Expires", "0")]), 30),
        ("Min-Expires grows", &growing, 4 * 30),
    ];
    for (what, behave, most) in cases {
        let mut net = Net::pair();
        behave(&mut net);
        start(&mut net, register("secret"));
        net.run_for(secs(3_600));
        let count = net.count("REGISTER");
        assert!((10..=most).contains(&count), "{what}: {count}");
    }
}

/// A net in which `a` speaks TCP, registered at `r` for an hour.
fn registered_over_tcp() -> Net {
    let mut net = Net::new();
    net.add(A, Transport::Tcp);
    let registrar = Target { transport: Some(Transport::Tcp), ..target(R) };
    start(&mut net, Register { registrar, ..register("secret") });
    tcp_ok(&mut net);
    assert_eq!(net.story(A), ["registered 3600s"]);
    net
}

fn tcp_ok(net: &mut Net) {
    let request = net.expect_raw(R, "REGISTER");
    let hop = Hop { transport: Transport::Tcp, local: addr(A), remote: addr(R) };
    let text = response_to(&request, 200, "x", "Expires: 3600\n").replace('\n', "\r\n");
    net.input(A, arrival(hop, text.into()));
}

fn stream_ended(transport: Transport, remote: &str) -> Input {
    Input::StreamEnded { hop: Hop { transport, local: addr(A), remote: addr(remote) } }
}

fn break_stream(net: &mut Net) {
    net.input(A, stream_ended(Transport::Tcp, R));
}

#[test]
fn a_stream_that_breaks_after_a_while_is_replaced_within_a_second() {
    for broken in [
        stream_ended(Transport::Tcp, R),
        Input::TransportError {
            transport: Transport::Tcp,
            remote: addr(R),
            kind: TransportErrorKind::TimedOut,
        },
    ] {
        let mut net = registered_over_tcp();
        net.run_for(secs(600));
        net.input(A, broken);
        net.run_for(secs(1));
        assert_eq!(net.count("REGISTER"), 2);
        tcp_ok(&mut net);
        assert_eq!(net.story(A), ["registered 3600s", "registered 3600s"]);
    }
}

#[test]
fn a_stream_that_never_holds_is_replaced_ever_more_slowly() {
    let mut net = registered_over_tcp();
    for limit in [5, 10, 20, 40, 80, 160, 300, 300].map(secs) {
        let before = net.count("REGISTER");
        break_stream(&mut net);
        // Nobody is to believe that calls come meanwhile.
        assert_eq!(net.story(A).last().unwrap(), "failed None, again later");
        let mut waited = secs(0);
        while net.count("REGISTER") == before {
            net.run_for(ms(100));
            waited += ms(100);
        }
        assert!((limit / 2..=limit + ms(100)).contains(&waited), "{waited:?} of {limit:?}");
        tcp_ok(&mut net);
    }
}

#[test]
fn somebody_elses_stream_is_no_affair_of_ours() {
    let mut net = registered_over_tcp();
    net.run_for(secs(600));
    net.input(A, stream_ended(Transport::Tcp, B));
    net.input(A, stream_ended(Transport::Udp, R));
    net.run_for(secs(600));
    assert_eq!(net.count("REGISTER"), 1);
}

#[test]
fn refreshes_go_where_the_binding_is_unless_that_was_a_detour() {
    let mut net = Net::pair();
    net.add(R, Transport::Udp);
    for at in [B, R] {
        net.react(at, |phone, now, event| {
            let Event::Request { id, .. } = event else { return };
            phone.endpoint.respond(now, *id, 200, &[("Expires".into(), "100".into())], None).unwrap();
        });
    }
    let named = |net: &mut Net, answer: &[&str]| {
        net.resolve(A, answer);
        net.run_for(ms(1));
        let sent = net.wire.iter().rev().find(|seen| seen.label() == "REGISTER");
        sent.unwrap().to.to_string()
    };
    let registrar = Target { host: "registrar.example.com".into(), ..Target::default() };
    start(&mut net, Register { registrar, ..register("secret") });
    // The records of equal weight come in another order each time.
    assert_eq!(named(&mut net, &[B, R]), B);
    net.run_for(secs(95));
    assert_eq!(named(&mut net, &[R, B]), B);
    // Where the first did not answer, the next refresh asks the records again.
    net.lose("REGISTER", 11);
    net.run_for(secs(95));
    named(&mut net, &[B, R]);
    net.run_for(secs(33));
    assert_eq!(net.last("REGISTER").header(Name::Expires), Some("3600"));
    net.run_for(secs(90));
    // And after a minute B is no longer avoided.
    assert_eq!(named(&mut net, &[B, R]), B);
}

#[test]
fn a_register_too_large_for_a_datagram_does_not_learn_the_port_of_its_stream() {
    let mut net = Net::new();
    net.add_with(A, Transport::Udp, |config| {
        config.listeners.push(Listener { transport: Transport::Tcp, ..config.listeners[0] });
    });
    let registrar = Target { transport: None, ..target(R) };
    let route = vec![NameAddr::new(uri(&format!("sip:{}@{R};lr", "x".repeat(1_300))))];
    start(&mut net, Register { registrar, route, contact_as_seen: true, ..register("secret") });
    let request = net.expect_raw(R, "REGISTER");
    let via = request.header(Name::Via).unwrap();
    assert!(via.starts_with("SIP/2.0/TCP "), "{via}");
    let hop = Hop { transport: Transport::Tcp, local: addr(A), remote: addr(R) };
    let text = seen_from(&request, 200, ("10.0.0.1", 40_000), "Expires: 3600\n");
    net.input(A, arrival(hop, text.replace('\n', "\r\n").into()));
    assert_eq!(net.story(A), ["registered 3600s"]);
    assert_eq!(net.count("REGISTER"), 1, "the Contact is as good as it was");
}

#[test]
fn an_address_of_record_under_sips_is_registered_and_reached_under_sips() {
    let mut net = Net::new();
    net.add(A, Transport::Tls);
    let registrar = Target { transport: Some(Transport::Tls), ..target(R) };
    start(&mut net, Register { registrar, aor: uri("sips:alice@example.com"), ..register("secret") });
    let request = net.expect_raw(R, "REGISTER");
    assert_eq!(request.request_uri_str(), "sips:example.com");
    assert_eq!(contacts(&request), [format!("<sips:line1@{A}>")]);
}
