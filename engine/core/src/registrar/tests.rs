//! The registrar as phones see it.

use bytes::Bytes;
use sip_core::digest::{Challenge, Credentials, Exchange, Hash, answer};

use super::*;

const REALM: &str = "pbx.example.com";

/// A registrar with the endpoint `alice` (user name `1001`, password `secret`), at 192.0.2.1.
struct Desk {
    now: Instant,
    clock: Clock,
    registrar: Registrar,
}

/// A phone: what it writes into every REGISTER.
#[derive(Clone)]
struct Phone {
    username: &'static str,
    password: &'static str,
    uri: &'static str,
    aor: &'static str,
    from: &'static str,
    via: &'static str,
    call_id: String,
    cseq: u32,
    hop: Hop,
}

fn hop(transport: Transport, remote: &str) -> Hop {
    Hop { transport, local: "192.0.2.1:5060".parse().unwrap(), remote: remote.parse().unwrap() }
}

impl Phone {
    fn alice() -> Self {
        Self {
            username: "1001",
            password: "secret",
            uri: "sip:pbx.example.com",
            aor: "sip:alice@pbx.example.com",
            from: "sip:alice@pbx.example.com",
            via: "SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1",
            call_id: "call".into(),
            cseq: 0,
            hop: hop(Transport::Udp, "192.0.2.7:5060"),
        }
    }

    fn request(&self, method: &str, lines: &str) -> Message {
        let Self { uri, aor, from, via, call_id, cseq, .. } = self;
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: {via}\r\nFrom: <{from}>;tag=1\r\nTo: <{aor}>\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    /// The line that answers the strongest challenge of a reply.
    fn answer(&self, reply: &Reply, method: &Method) -> String {
        let challenges: Vec<_> = reply.headers.iter().map(|(_, value)| value.as_str()).collect();
        let challenge = sip_core::digest::strongest_of_each_realm(challenges).remove(0);
        let exchange = Exchange { method, uri: self.uri, body: b"", cnonce: "c", nc: 1 };
        let credentials = Credentials::new(self.username, self.password);
        format!("Authorization: {}\r\n", answer(&challenge, &credentials, &exchange))
    }
}

impl Desk {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of a test")]
        let now = Instant::now();
        let domain = Some("pbx.example.com".parse().unwrap());
        let addresses = [[192, 0, 2, 1].into()].into();
        let verifier = Verifier::new(REALM, [3; 32], now, Registrar::NONCE_LIFETIME, Hash::ALL.into());
        let mut registrar = Registrar::new(REALM, domain, addresses, verifier);
        let alice = Account {
            username: "1001".into(),
            ha1: Ha1::new("1001", REALM, "secret"),
            ..Account::new("alice", REALM, "")
        };
        registrar.put(Account { max_contacts: 3, ..alice }).unwrap();
        registrar.put(Account::new("bob", REALM, "hidden")).unwrap();
        Self { now, clock: Clock::new(now, 1_800_000_000_000), registrar }
    }

    /// Sends a REGISTER, and again with an answer when it is challenged.
    fn register(&mut self, phone: &mut Phone, lines: &str) -> Outcome {
        phone.cseq += 1;
        let first = self.send(phone, lines);
        if first.reply.status != 401 {
            return first;
        }
        phone.cseq += 1;
        let authorization = phone.answer(&first.reply, &Method::Register);
        self.send(phone, &format!("{authorization}{lines}"))
    }

    fn send(&mut self, phone: &Phone, lines: &str) -> Outcome {
        let request = phone.request("REGISTER", lines);
        self.registrar.register(self.now, &self.clock, phone.hop, &request)
    }

    #[track_caller]
    fn check(&mut self, phone: &mut Phone, lines: &str, status: u16) -> Reply {
        let outcome = self.register(phone, lines);
        assert_eq!(outcome.reply.status, status, "{lines}");
        outcome.reply
    }

    fn contacts(&self) -> Vec<String> {
        self.registrar.contacts("alice").iter().map(|binding| binding.contact.to_string()).collect()
    }
}

fn header<'a>(reply: &'a Reply, name: &str) -> Vec<&'a str> {
    reply.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

#[test]
fn a_phone_registers_refreshes_and_leaves() {
    let mut desk = Desk::new();
    let mut phone = Phone::alice();
    let contact = "Contact: <sip:alice@192.0.2.7:5060>;q=0.5\r\n";
    let outcome = desk.register(&mut phone, &format!("{contact}Expires: 600\r\nUser-Agent: Desk 7\r\n"));
    assert_eq!(outcome.reply.status, 200);
    assert_eq!(header(&outcome.reply, "Contact"), ["<sip:alice@192.0.2.7:5060>;expires=600;q=0.500"]);
    assert_eq!(header(&outcome.reply, "Date"), ["Fri, 15 Jan 2027 08:00:00 GMT"]);
    let told: Vec<_> = outcome.changes.iter().map(|change| (&*change.aor, change.gone)).collect();
    assert_eq!(told, [("alice", None)]);
    let view = desk.registrar.contacts("alice")[0].view(&desk.clock);
    assert_eq!((view.user_agent.as_deref(), view.source.as_str()), (Some("Desk 7"), "192.0.2.7:5060"));
    assert_eq!(view.expires_at.unix_ms() - view.registered_at.unix_ms(), 600_000);

    desk.now += Duration::from_millis(200_500);
    let query = desk.check(&mut phone, "", 200);
    assert_eq!(header(&query, "Contact"), ["<sip:alice@192.0.2.7:5060>;expires=400;q=0.500"]);
    let refresh = desk.register(&mut phone, contact);
    assert_eq!(header(&refresh.reply, "Contact"), ["<sip:alice@192.0.2.7:5060>;expires=3600;q=0.500"]);
    assert_eq!(refresh.changes, [], "a refresh is no news");

    let gone = desk.register(&mut phone, "Contact: <sip:alice@192.0.2.7:5060>;expires=0\r\n");
    assert_eq!((gone.reply.status, header(&gone.reply, "Contact").len()), (200, 0));
    assert_eq!(gone.changes[0].gone, Some(control_api_types::event::EndpointGone::Unregistered));
    assert_eq!((desk.registrar.registered(), desk.registrar.next_expiry()), (0, None));
}

#[test]
fn the_strongest_challenge_comes_first_and_every_hash_is_taken() {
    let mut desk = Desk::new();
    let phone = Phone { cseq: 1, ..Phone::alice() };
    let challenges = desk.send(&phone, "").reply;
    let names: Vec<_> = header(&challenges, "WWW-Authenticate")
        .iter()
        .map(|value| Challenge::parse(value).unwrap().algorithm.to_string())
        .collect();
    assert_eq!(names, ["SHA-512-256", "SHA-256", "MD5"]);
    for (n, (name, value)) in challenges.headers.iter().enumerate() {
        let only = Reply { status: 401, headers: vec![(name.clone(), value.clone())] };
        let phone = Phone { call_id: n.to_string(), ..phone.clone() };
        // All three are one nonce, whose count 1 can be used once.
        let authorization = phone.answer(&only, &Method::Register);
        let status = desk.send(&phone, &authorization).reply.status;
        assert_eq!(status, if n == 0 { 200 } else { 401 }, "{value}");
        let again = Desk::new().register(&mut phone.clone(), "").reply.status;
        assert_eq!(again, 200);
    }
}

#[test]
fn unknown_users_and_wrong_passwords_look_alike() {
    let mut desk = Desk::new();
    let mut seen = Vec::new();
    for (username, password, aor) in [
        ("1001", "wrong", "sip:alice@pbx.example.com"),
        ("alice", "secret", "sip:alice@pbx.example.com"),
        ("nobody", "secret", "sip:nobody@pbx.example.com"),
        ("nobody", "", "sip:nobody@pbx.example.com"),
    ] {
        let mut phone = Phone { username, password, aor, from: aor, ..Phone::alice() };
        let outcome = desk.register(&mut phone, "Contact: <sip:x@192.0.2.7>\r\n");
        assert_eq!(outcome.proof, Proof::Wrong, "{username}");
        let shape: Vec<_> = outcome
            .reply
            .headers
            .iter()
            .map(|(name, value)| {
                let challenge = Challenge::parse(value).unwrap();
                (name.clone(), value.len(), challenge.stale, challenge.algorithm)
            })
            .collect();
        seen.push((outcome.reply.status, shape));
    }
    assert_eq!(seen[0].0, 401);
    assert!(seen.iter().all(|reply| *reply == seen[0]), "{seen:?}");
    assert_eq!(desk.registrar.counts().unauthenticated, 4);
    assert_eq!(desk.registrar.registered(), 0);
}

#[test]
fn nobody_registers_for_another_or_elsewhere() {
    let mut desk = Desk::new();
    for (uri, aor, from, status) in [
        ("sip:pbx.example.com", "sip:bob@pbx.example.com", "sip:bob@pbx.example.com", 403),
        ("sip:pbx.example.com", "sip:alice@pbx.example.com", "sip:bob@pbx.example.com", 403),
        ("sip:pbx.example.com", "sip:carol@pbx.example.com", "sip:carol@pbx.example.com", 403),
        ("sip:pbx.example.com", "sip:alice@other.example", "sip:alice@other.example", 404),
        ("sip:other.example", "sip:alice@pbx.example.com", "sip:alice@pbx.example.com", 404),
        ("sip:192.0.2.1", "sip:1001@192.0.2.1", "sip:alice@PBX.example.com", 200),
    ] {
        let mut phone = Phone { uri, aor, from, ..Phone::alice() };
        desk.check(&mut phone, "Contact: <sip:alice@192.0.2.7>\r\n", status);
    }
    let mut account = desk.registrar.account("alice").unwrap().clone();
    account.transports = vec![Transport::Tls, Transport::Wss];
    desk.registrar.put(account).unwrap();
    assert_eq!(desk.contacts(), Vec::<String>::new(), "it may not be there any more");
    desk.check(&mut Phone::alice(), "Contact: <sip:alice@192.0.2.7>\r\n", 403);
    let tls = Phone { hop: hop(Transport::Tls, "192.0.2.7:40000"), ..Phone::alice() };
    desk.check(&mut tls.clone(), "Contact: <sip:alice@192.0.2.7>\r\n", 200);
}

#[test]
fn expiry_has_its_bounds() {
    let mut desk = Desk::new();
    let phone = &mut Phone::alice();
    let short = desk.check(phone, "Contact: <sip:alice@192.0.2.7>;expires=59\r\n", 423);
    assert_eq!(header(&short, "Min-Expires"), ["60"]);
    desk.check(phone, "Contact: <sip:alice@192.0.2.7>\r\nExpires: 1\r\n", 423);
    for (lines, expected) in [
        ("Contact: <sip:alice@192.0.2.7>;expires=60\r\nExpires: 1\r\n", "60"),
        ("Contact: <sip:alice@192.0.2.7>;expires=soon\r\nExpires: 70\r\n", "3600"),
        ("Contact: <sip:alice@192.0.2.7>\r\nExpires: later\r\n", "3600"),
        ("Contact: <sip:alice@192.0.2.7>\r\n", "3600"),
        ("Contact: <sip:alice@192.0.2.7>;expires=99999999999\r\n", "3600"),
        ("Contact: <sip:alice@192.0.2.7>;expires=4294967295\r\n", "7200"),
    ] {
        let reply = desk.check(phone, lines, 200);
        assert_eq!(header(&reply, "Contact"), [format!("<sip:alice@192.0.2.7>;expires={expected}")]);
    }
}

#[test]
fn a_star_takes_all_by_its_rules() {
    let mut desk = Desk::new();
    let phone = &mut Phone::alice();
    desk.check(phone, "Contact: <sip:alice@192.0.2.7>, <sip:alice@192.0.2.8>\r\n", 200);
    for bad in [
        "Contact: *\r\n",
        "Contact: *\r\nExpires: 60\r\n",
        "Contact: *, <sip:alice@192.0.2.7>\r\nExpires: 0\r\n",
        "Contact: *\r\nContact: *\r\nExpires: 0\r\n",
    ] {
        desk.check(phone, bad, 400);
    }
    assert_eq!(desk.contacts().len(), 2);
    let late = &mut Phone { cseq: 0, ..phone.clone() };
    desk.check(late, "Contact: *\r\nExpires: 0\r\n", 500);
    assert_eq!(desk.contacts().len(), 2, "the REGISTER before it comes later");
    let other = &mut Phone { call_id: "other".into(), ..Phone::alice() };
    let gone = desk.register(other, "Contact: *\r\nExpires: 0\r\n");
    assert_eq!((gone.reply.status, gone.changes.len(), desk.contacts().len()), (200, 2, 0));
}

#[test]
fn a_late_request_changes_nothing_at_all() {
    let mut desk = Desk::new();
    let phone = &mut Phone::alice();
    desk.check(phone, "Contact: <sip:alice@192.0.2.7>\r\n", 200);
    let late = &mut Phone { cseq: 0, ..phone.clone() };
    desk.check(late, "Contact: <sip:alice@192.0.2.9>, <sip:alice@192.0.2.7>;expires=0\r\n", 500);
    assert_eq!(desk.contacts(), ["sip:alice@192.0.2.7"]);
    let another = &mut Phone { cseq: 0, ..phone.clone() };
    desk.check(another, "Contact: <sip:alice@192.0.2.9>\r\n", 200);
    assert_eq!(desk.contacts(), ["sip:alice@192.0.2.7", "sip:alice@192.0.2.9"], "each binding has its order");
}

#[test]
fn contacts_are_bounded_and_the_stalest_goes() {
    let mut desk = Desk::new();
    let phone = &mut Phone::alice();
    for host in 1..=4 {
        desk.now += Duration::from_secs(1);
        desk.check(phone, &format!("Contact: <sip:alice@192.0.2.{host}>\r\n"), 200);
    }
    let hosts: Vec<_> = (2..=4).map(|host| format!("sip:alice@192.0.2.{host}")).collect();
    assert_eq!(desk.contacts(), hosts);
    let many: String = (10..14).map(|host| format!("Contact: <sip:alice@192.0.2.{host}>\r\n")).collect();
    desk.check(phone, &many, 403);
    assert_eq!(desk.contacts(), hosts);
}

#[test]
fn path_is_kept_echoed_and_followed() {
    let mut desk = Desk::new();
    let phone = &mut Phone::alice();
    let lines =
        "Contact: <sip:alice@10.0.0.7>\r\nPath: <sip:near@192.0.2.50;lr>, <sip:far@192.0.2.51;lr>\r\n";
    let unsupported = desk.check(phone, lines, 420);
    assert_eq!(header(&unsupported, "Unsupported"), ["path"]);
    let reply = desk.check(phone, &format!("{lines}Supported: gruu, path\r\n"), 200);
    assert_eq!(header(&reply, "Path"), ["<sip:near@192.0.2.50;lr>, <sip:far@192.0.2.51;lr>"]);
    let binding = &desk.registrar.contacts("alice")[0];
    assert_eq!(binding.path.len(), 2);
    let target = binding.target().unwrap();
    assert_eq!((target.host.as_str(), target.flow), ("192.0.2.50", None));
    let unknown = desk.check(phone, "Require: path, outbound, gruu, x\r\n", 420);
    assert_eq!(header(&unknown, "Unsupported"), ["gruu, x"]);
    let nodes: String = (0..9).map(|n| format!("Path: <sip:192.0.2.{n};lr>\r\n")).collect();
    desk.check(phone, &format!("Supported: path\r\n{nodes}"), 400);
}

#[test]
fn outbound_replaces_by_instance_and_ends_with_its_stream() {
    let mut desk = Desk::new();
    let phone = &mut Phone { hop: hop(Transport::Ws, "198.51.100.9:40001"), ..Phone::alice() };
    let contact = |host: &str, reg_id: &str| {
        format!(
            "Contact: <sip:alice@{host}.invalid;transport=ws>;+sip.instance=\"<urn:uuid:1>\";reg-id={reg_id}\r\n\
             Supported: outbound, path\r\n"
        )
    };
    let reply = desk.check(phone, &contact("a", "1"), 200);
    assert_eq!(header(&reply, "Require"), ["outbound"]);
    assert_eq!(header(&reply, "Flow-Timer"), ["120"]);
    assert_eq!(
        header(&reply, "Contact"),
        ["<sip:alice@a.invalid;transport=ws>;expires=3600;+sip.instance=\"<urn:uuid:1>\";reg-id=1"]
    );
    assert_eq!(desk.registrar.contacts("alice")[0].target().unwrap().flow, Some(phone.hop));
    let second =
        &mut Phone { hop: hop(Transport::Ws, "198.51.100.9:40002"), call_id: "2".into(), ..Phone::alice() };
    desk.check(second, &contact("b", "2"), 200);
    // The same flow from a new page: another contact, another Call-ID, another connection.
    let third =
        &mut Phone { hop: hop(Transport::Ws, "198.51.100.9:40003"), call_id: "3".into(), ..Phone::alice() };
    let changes = desk.register(third, &contact("c", "1")).changes;
    assert_eq!(changes[0].gone, Some(control_api_types::event::EndpointGone::Replaced));
    assert_eq!(desk.contacts(), ["sip:alice@b.invalid;transport=ws", "sip:alice@c.invalid;transport=ws"]);

    assert_eq!(desk.registrar.stream_failed(Transport::Ws, "198.51.100.9:40001".parse().unwrap()), []);
    let gone = desk.registrar.stream_failed(Transport::Ws, "198.51.100.9:40002".parse().unwrap());
    assert_eq!(gone[0].gone, Some(control_api_types::event::EndpointGone::FlowFailed));
    assert_eq!(desk.contacts(), ["sip:alice@c.invalid;transport=ws"]);

    for (lines, status) in [
        (contact("d", "0"), 400),
        (contact("d", "x"), 400),
        (format!("{}Contact: <sip:alice@192.0.2.7>\r\n", contact("d", "1")), 400),
        (format!("{}Path: <sip:edge@192.0.2.50;lr>\r\n", contact("d", "1")), 439),
        (format!("{}Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK0\r\n", contact("d", "1")), 439),
        (format!("{}Path: <sip:edge@192.0.2.50;lr;ob>\r\n", contact("d", "1")), 200),
        // Without the option tag or the instance a reg-id says nothing.
        ("Contact: <sip:alice@e.invalid>;reg-id=0\r\nSupported: outbound\r\n".to_owned(), 200),
        ("Contact: <sip:alice@f.invalid>;reg-id=0;+sip.instance=\"<1>\"\r\n".to_owned(), 200),
    ] {
        desk.check(third, &lines, status);
    }
}

#[test]
fn phones_behind_nats_are_reached_where_they_are() {
    let rport = "SIP/2.0/UDP 10.0.0.7:5060;rport;branch=z9hG4bK1";
    let plain = "SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK1";
    for (transport, source, via, contact, by_flow) in [
        (Transport::Udp, "192.0.2.7:5060", rport, "sip:a@192.0.2.7", false),
        (Transport::Udp, "192.0.2.7:5070", rport, "sip:a@192.0.2.7", true),
        (Transport::Udp, "192.0.2.7:5070", plain, "sip:a@192.0.2.7", false),
        (Transport::Udp, "192.0.2.7:5060", plain, "sip:a@10.0.0.7", true),
        (Transport::Udp, "10.0.0.7:5060", plain, "sip:a@10.0.0.7", false),
        (Transport::Udp, "192.0.2.7:5060", plain, "sip:a@198.51.100.1", false),
        (Transport::Udp, "192.0.2.7:5060", plain, "sip:a@phone.example", false),
        (Transport::Udp, "192.0.2.7:5060", plain, "sip:a@x.invalid", true),
        (Transport::Tcp, "192.0.2.7:40000", plain, "sip:a@192.0.2.7:5060;transport=tcp", false),
        (Transport::Tcp, "192.0.2.7:40000", plain, "sip:a@10.0.0.7:5060;transport=tcp", true),
        (Transport::Tls, "192.0.2.7:40000", plain, "sip:a@192.0.2.7:5061;transport=tls", true),
        (Transport::Wss, "192.0.2.7:40000", plain, "sip:a@192.0.2.7;transport=ws", true),
    ] {
        let mut desk = Desk::new();
        let phone = &mut Phone { via, hop: hop(transport, source), ..Phone::alice() };
        desk.check(phone, &format!("Contact: <{contact}>\r\n"), 200);
        let target = desk.registrar.contacts("alice")[0].target().unwrap();
        assert_eq!(target.flow.is_some(), by_flow, "{transport} {source} {via} {contact}");
        let gone = desk.registrar.stream_failed(transport, source.parse().unwrap());
        assert_eq!(gone.len() == 1, by_flow && transport != Transport::Udp, "{transport} {contact}");
    }
}

#[test]
fn rubbish_is_refused_and_keeps_nothing() {
    let mut desk = Desk::new();
    let long = "x".repeat(600);
    for lines in [
        "Contact: <tel:+1>".to_owned(),
        "Contact: <sip:>".to_owned(),
        "Contact: sip:a@b;;".to_owned(),
        "Contact: <sip:a@192.0.2.7>;q=2".to_owned(),
        "Contact: <sip:a@192.0.2.7>;q=0.1234".to_owned(),
        "Contact: <sip:a@192.0.2.7>;q=1.1".to_owned(),
        "Contact: <sip:a@192.0.2.7>;q=-0.1".to_owned(),
        "Contact: <sip:a@192.0.2.7>;q=0.+1".to_owned(),
        format!("Contact: <sip:{long}@192.0.2.7>"),
        "Supported: path\r\nPath: <tel:1>\r\nContact: <sip:a@192.0.2.7>".to_owned(),
        "Supported: path\r\nPath: rubbish\r\nContact: <sip:a@192.0.2.7>".to_owned(),
    ] {
        desk.check(&mut Phone::alice(), &format!("{lines}\r\n"), 400);
        assert_eq!(desk.registrar.registered(), 0, "{lines}");
    }
    let long_id = &mut Phone { call_id: long.clone(), ..Phone::alice() };
    desk.check(long_id, "Contact: <sip:a@192.0.2.7>\r\n", 400);
    for line in
        ["Authorization: rubbish", "Authorization: Digest username=\"1001\", realm=\"pbx.example.com\""]
    {
        let refused = desk.send(&Phone::alice(), &format!("{line}\r\n"));
        assert_eq!((refused.reply.status, refused.proof), (401, Proof::None), "{line}");
    }
    let agent = format!("Contact: <sip:a@192.0.2.7>\r\nUser-Agent: {}\r\n", "é".repeat(100));
    desk.check(&mut Phone::alice(), &agent, 200);
    let kept = desk.registrar.contacts("alice")[0].user_agent.clone().unwrap();
    assert_eq!(&*kept, "é".repeat(64));
}

#[test]
fn names_are_unique_and_changes_of_password_throw_out() {
    let mut desk = Desk::new();
    for (name, username) in [("1001", "x"), ("x", "alice"), ("x", "1001")] {
        let account = Account { username: username.into(), ..Account::new(name, REALM, "") };
        assert!(desk.registrar.put(account).is_err(), "{name} {username}");
    }
    desk.check(&mut Phone::alice(), "Contact: <sip:alice@192.0.2.7>\r\n", 200);
    let account = desk.registrar.account("alice").unwrap().clone();
    let kept = desk.registrar.put(Account { caller_id: Some("+62".into()), ..account.clone() }).unwrap();
    assert_eq!((kept.len(), desk.contacts().len()), (0, 1));
    let changed = Account { ha1: Ha1::new("1001", REALM, "new"), ..account };
    let gone = desk.registrar.put(changed).unwrap();
    assert_eq!(gone[0].gone, Some(control_api_types::event::EndpointGone::Deleted));
    desk.check(&mut Phone::alice(), "", 401);
    assert!(desk.registrar.remove("alice").is_some() && desk.registrar.remove("alice").is_none());
    desk.check(&mut Phone::alice(), "", 401);
}

#[test]
fn a_caller_proves_who_it_is_for_whom_it_calls() {
    let mut desk = Desk::new();
    let phone =
        Phone { uri: "sip:100@pbx.example.com", aor: "sip:100@pbx.example.com", cseq: 1, ..Phone::alice() };
    let invite = |desk: &mut Desk, phone: &Phone, lines: &str| {
        let request = phone.request("INVITE", lines);
        desk.registrar.caller(desk.now, phone.hop, &request).0
    };
    let challenge = invite(&mut desk, &phone, "").unwrap_err();
    assert_eq!(challenge.status, 401);
    let authorization = phone.answer(&challenge, &Method::Invite);
    let elsewhere = Phone { uri: "sip:+1900@pbx.example.com", ..phone.clone() };
    assert_eq!(
        invite(&mut desk, &elsewhere, &authorization).unwrap_err().status,
        401,
        "made for another number"
    );
    let challenge = invite(&mut desk, &phone, "").unwrap_err();
    let authorization = phone.answer(&challenge, &Method::Invite);
    assert_eq!(invite(&mut desk, &phone, &authorization).as_deref(), Ok("alice"));
    assert_eq!(invite(&mut desk, &phone, &authorization).unwrap_err().status, 401, "a replay");
    let masked = Phone { from: "sip:bob@pbx.example.com", ..phone.clone() };
    let challenge = invite(&mut desk, &masked, "").unwrap_err();
    let authorization = masked.answer(&challenge, &Method::Invite);
    assert_eq!(invite(&mut desk, &masked, &authorization).unwrap_err().status, 403);
}
