//! Endpoints: phones that register here, are called by name, and call.

use std::net::SocketAddr;

use control_api_types::{CallStatus, EventData, PutEndpoint};
use engine_core::{Account, Input, Refusal, RegistrarConfig, Route, RouteAction, RouteMatch};
use serde_json::json;
use sip_core::digest::{Credentials, Exchange, answer, strongest_of_each_realm};
use sip_core::{Hop, Message, Method, Name, Transport};

use crate::carrier::{Act::*, Answer, Carrier, Script};
use crate::world::{ENGINE, World};

const REALM: &str = "carillon";
/// Where the phones of alice are.
pub(crate) const DESK: &str = "192.0.2.21:5060";
pub(crate) const SOFT: &str = "192.0.2.22:5060";
const HOME: &str = "192.0.2.23:5060";

/// A world with the endpoints `alice` and `bob`, whose password is `secret`, and phones that act by these scripts.
pub(crate) fn world(phones: &[(&str, Script)]) -> World {
    let route = |endpoint: Option<&str>, called: &str, action| Route {
        matches: RouteMatch {
            endpoint: endpoint.map(Into::into),
            called: Some(called.into()),
            ..RouteMatch::default()
        },
        action,
    };
    let mut world = World::with(|config| {
        let account = |name| Account::new(name, REALM, "secret");
        let accounts = vec![account("alice"), account("bob")];
        let tcp = sip_core::Listener { transport: Transport::Tcp, ..config.sip.listeners[0] };
        config.sip.listeners.push(tcp);
        config.registrar = RegistrarConfig { accounts, ..RegistrarConfig::default() };
        config.routes = vec![
            route(Some("bob"), "100", RouteAction::Reject(410)),
            route(Some("*"), "100", RouteAction::Park),
            route(None, "200", RouteAction::Park),
        ];
    });
    for &(address, script) in phones {
        let mut phone = Carrier::new(address.parse().unwrap());
        phone.customer("alice", script);
        world.phones.push(phone);
    }
    world
}

pub(crate) fn udp(remote: &str) -> Hop {
    Hop { transport: Transport::Udp, local: ENGINE.parse().unwrap(), remote: remote.parse().unwrap() }
}

/// Registers alice by hand from an address where nobody else is; the answer's status.
pub(crate) fn register(world: &mut World, hop: Hop, number: u32, lines: &str) -> u16 {
    register_as(world, hop, number, "secret", lines)
}

fn register_as(world: &mut World, hop: Hop, number: u32, password: &str, lines: &str) -> u16 {
    register_user(world, hop, number, ("alice", password), lines)
}

/// Registers a user with this password.
pub(crate) fn register_user(
    world: &mut World,
    hop: Hop,
    number: u32,
    (user, password): (&str, &str),
    lines: &str,
) -> u16 {
    let mut status = 0;
    let mut authorization = String::new();
    for cseq in [2 * number, 2 * number + 1] {
        let protocol = hop.transport.via_token();
        let text = format!(
            "REGISTER sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/{protocol} {};branch=z9hG4bK{protocol}{number}.{cseq}\r\n\
             From: <sip:{user}@192.0.2.1>;tag=1\r\nTo: <sip:{user}@192.0.2.1>\r\nCall-ID: {}\r\n\
             CSeq: {cseq} REGISTER\r\n{authorization}{lines}\r\nContent-Length: 0\r\n\r\n",
            hop.remote, hop.remote
        );
        let message = Message::parse(text.into_bytes().into()).unwrap();
        world.strays.clear();
        world.engine.handle_input(world.now, Input::Sip(sip_core::Input::Message { hop, message }));
        world.pump();
        let reply =
            world.strays.iter().find(|sent| sent.payload.starts_with(b"SIP/2.0 ")).expect("an answer");
        let reply = Message::parse(reply.payload.clone()).unwrap();
        status = reply.status().unwrap();
        let Some(challenge) = strongest_of_each_realm(reply.rows_of(Name::WwwAuthenticate)).pop() else {
            break;
        };
        let exchange =
            Exchange { method: &Method::Register, uri: "sip:192.0.2.1", body: b"", cnonce: "c", nc: 1 };
        let credentials = Credentials::new(user, password);
        authorization = format!("Authorization: {}\r\n", answer(&challenge, &credentials, &exchange));
    }
    status
}

const OFFICE: &str = "192.0.2.20:5060";

/// Registers alice at these contacts, each with its parameters.
pub(crate) fn at(world: &mut World, contacts: &[(&str, &str)]) {
    let lines: Vec<_> =
        contacts.iter().map(|(address, params)| format!("Contact: <sip:alice@{address}>{params}")).collect();
    assert_eq!(register(world, udp(OFFICE), 1, &lines.join("\r\n")), 200);
}

/// JsSIP reads no other challenge than the first, and baresip 1 gives up at the first that it does not know.
#[test]
fn one_challenge_that_every_phone_knows_unless_others_are_wanted() {
    let mut world = world(&[]);
    register_as(&mut world, udp(OFFICE), 1, "guess", "Contact: <sip:alice@192.0.2.20>");
    let reply = world.strays.iter().find(|sent| sent.payload.starts_with(b"SIP/2.0 401")).unwrap();
    let reply = Message::parse(reply.payload.clone()).unwrap();
    let challenges: Vec<_> = reply.headers(Name::WwwAuthenticate).collect();
    assert!(matches!(challenges[..], [only] if only.contains("algorithm=MD5")), "{challenges:?}");
}

#[expect(clippy::wildcard_enum_match_arm, reason = "any other event is a failure")]
fn told(world: &mut World) -> Vec<String> {
    let events = std::mem::take(&mut world.node_events).into_iter();
    let line = |event| match event {
        EventData::EndpointRegistered { name, contact } => format!("{name} at {contact}"),
        EventData::EndpointUnregistered { name, contact, reason } => format!("{name} {reason} {contact}"),
        other => panic!("{other:?} is about no endpoint"),
    };
    events.map(line).collect()
}

#[test]
fn contacts_come_and_go_with_events() {
    let mut world = world(&[]);
    at(&mut world, &[(DESK, ";expires=60"), (SOFT, "")]);
    assert_eq!(
        told(&mut world),
        ["alice at sip:alice@192.0.2.21:5060", "alice at sip:alice@192.0.2.22:5060"]
    );
    let shown = world.engine.endpoint("alice").unwrap();
    let contacts: Vec<_> = shown.contacts.iter().map(|contact| contact.uri.as_str()).collect();
    assert_eq!(contacts, ["sip:alice@192.0.2.21:5060", "sip:alice@192.0.2.22:5060"]);
    world.run_for(59_999);
    assert_eq!(told(&mut world), [""; 0]);
    world.run_for(1);
    assert_eq!(told(&mut world), ["alice expired sip:alice@192.0.2.21:5060"]);
    assert_eq!(register(&mut world, udp(OFFICE), 2, "Contact: *\r\nExpires: 0"), 200);
    assert_eq!(told(&mut world), ["alice unregistered sip:alice@192.0.2.22:5060"]);
    assert_eq!(register_as(&mut world, udp(OFFICE), 3, "guess", "Contact: <sip:alice@192.0.2.22>"), 401);
    assert_eq!(world.engine.registrar_counts().0.unauthenticated, 1);
    assert_eq!((told(&mut world).len(), world.engine.poll_timeout()), (0, world.engine.poll_timeout()));
}

#[test]
fn every_contact_rings_and_the_first_answer_takes_the_call() {
    let mut world = world(&[
        (DESK, &[(100, Ring)]),
        (SOFT, &[(50, Ring), (2_000, Answer(Answer::Good)), (5_000, Hangup)]),
        (HOME, &[(200, Reject(486))]),
    ]);
    at(&mut world, &[(DESK, ""), (SOFT, ""), (HOME, "")]);
    world.originate("c", json!({"to": "endpoint:alice", "from": "100"})).unwrap();
    world.run_for(1_000);
    assert_eq!(world.phones.iter().map(|phone| phone.invites.len()).sum::<usize>(), 3);
    world.run();
    world.check("c", "initiated\nringing 180\nanswered PCMA\nended completed answered by remote 200");
    let cdr = world.cdr("c");
    assert_eq!(
        (cdr.endpoint.as_deref(), cdr.attempts, cdr.to.as_str()),
        (Some("alice"), 3, "endpoint:alice")
    );
    assert_eq!(world.cancels.len(), 1);
    // RFC 3326 section 2, and how phones tell it from a missed call.
    assert_eq!(
        world.cancels[0].header(Name::Reason),
        Some("SIP;cause=200;text=\"Call completed elsewhere\"")
    );
    assert_eq!(world.phones[0].cancels, 1);
    assert_eq!(world.phones.iter().map(Carrier::live).sum::<usize>(), 0);
}

#[test]
fn an_address_of_record_of_ours_is_the_endpoint() {
    let mut world = world(&[(DESK, &[(0, Answer(Answer::Good)), (1_000, Hangup)])]);
    at(&mut world, &[(DESK, "")]);
    world.originate("c", json!({"to": "sip:alice@192.0.2.1"})).unwrap();
    world.run();
    assert_eq!(world.cdr("c").endpoint.as_deref(), Some("alice"));
    assert_eq!(world.phones[0].invites.len(), 1);
}

#[test]
fn who_is_not_registered_is_unreachable_at_once() {
    let mut world = world(&[]);
    let before = world.now;
    world.originate("c", json!({"to": "endpoint:alice"})).unwrap();
    assert_eq!((world.now, world.engine.calls().count()), (before, 0));
    world.check("c", "ended failed unreachable by engine 480 q850 20");
    let Err(Refusal::Validation(faults)) = world.originate("d", json!({"to": "endpoint:carol"})) else {
        panic!("there is no carol")
    };
    assert_eq!(faults[0].pointer, "/to");
    let Err(Refusal::Validation(faults)) =
        world.originate("e", json!({"to": "endpoint:alice", "trunk": "jkt"}))
    else {
        panic!("endpoints need no trunk")
    };
    assert_eq!(faults[0].pointer, "/trunk");
}

#[test]
fn the_best_refusal_is_told_and_a_6xx_ends_it_for_all() {
    let refusals: [(Script, Script, &str); 3] = [
        (&[(100, Reject(404))], &[(200, Reject(486))], "initiated\nended busy busy by remote 486"),
        (&[(100, Reject(486))], &[(200, Reject(480))], "initiated\nended busy busy by remote 486"),
        (&[(50, Ring)], &[(200, Reject(603))], "initiated\nringing 180\nended failed rejected by remote 603"),
    ];
    for (first, second, story) in refusals {
        let mut world = world(&[(DESK, first), (SOFT, second)]);
        at(&mut world, &[(DESK, ""), (SOFT, "")]);
        world.originate("c", json!({"to": "endpoint:alice"})).unwrap();
        world.run();
        world.check("c", story);
        assert_eq!(world.phones.iter().map(Carrier::live).sum::<usize>(), 0);
    }
}

#[test]
fn preferred_contacts_ring_first_for_their_share_of_the_time() {
    let mut world = world(&[
        (DESK, &[(100, Ring)]),
        (SOFT, &[(1_000, Reject(486))]),
        (HOME, &[(100, Ring), (3_000, Answer(Answer::Good)), (4_000, Hangup)]),
    ]);
    at(&mut world, &[(DESK, ";q=0.9"), (SOFT, ";q=0.9"), (HOME, ";q=0.2")]);
    world.originate("c", json!({"to": "endpoint:alice", "timeout_s": 20})).unwrap();
    world.run_for(9_900);
    assert_eq!(world.phones.iter().map(|phone| phone.invites.len()).collect::<Vec<_>>(), [1, 1, 0]);
    world.run_for(200);
    assert_eq!((world.phones[2].invites.len(), world.phones[0].cancels), (1, 1));
    assert_eq!(world.cancels[0].header(Name::Reason), None, "nobody has answered");
    world.run();
    world.check("c", "initiated\nringing 180\nanswered PCMA\nended completed answered by remote 200");
}

#[test]
fn everybody_rings_out() {
    let mut world = world(&[(DESK, &[(100, Ring)]), (SOFT, &[(100, Reject(503))])]);
    at(&mut world, &[(DESK, ";q=0.9"), (SOFT, ";q=0.2")]);
    world.originate("c", json!({"to": "endpoint:alice", "timeout_s": 20})).unwrap();
    world.run();
    // Nobody has said so: it was our own clock.
    world.check("c", "initiated\nringing 180\nended no-answer no-answer by engine");
}

#[test]
fn the_early_media_of_a_phone_that_refuses_makes_room_for_another_ones() {
    let mut world = world(&[
        (DESK, &[(100, EarlyMedia), (500, Reject(486))]),
        (SOFT, &[(1_000, EarlyMedia), (2_000, Answer(Answer::Good)), (3_000, Hangup)]),
    ]);
    at(&mut world, &[(DESK, ""), (SOFT, "")]);
    world.originate("c", json!({"to": "endpoint:alice", "early_media": "connect"})).unwrap();
    let status = |world: &World| world.engine.call(&world.id("c")).unwrap().status;
    let heard = |world: &World| world.media.remote(1).unwrap().1.ip().to_string();
    world.run_for(400);
    assert_eq!((status(&world), heard(&world)), (CallStatus::EarlyMedia, "192.0.2.21".to_owned()));
    world.run_for(400);
    assert_eq!(status(&world), CallStatus::Initiated);
    world.run_for(600);
    assert_eq!((status(&world), heard(&world)), (CallStatus::EarlyMedia, "192.0.2.22".to_owned()));
    world.run();
    world.check(
        "c",
        "initiated
        early-media
        early-media
        answered PCMA
        ended completed answered by remote 200",
    );
}

#[test]
fn a_phone_that_cannot_be_connected_to_is_called_by_its_stream_and_leaves_with_it() {
    let mut world = world(&[]);
    let remote: SocketAddr = "198.51.100.7:40000".parse().unwrap();
    let hop = Hop { transport: Transport::Tcp, local: ENGINE.parse().unwrap(), remote };
    assert_eq!(register(&mut world, hop, 1, "Contact: <sip:alice@10.0.0.7:5060;transport=tcp>"), 200);
    world.strays.clear();
    world.originate("c", json!({"to": "endpoint:alice"})).unwrap();
    let invite = world.strays.iter().find(|sent| sent.payload.starts_with(b"INVITE sip:alice@10.0.0.7:5060"));
    let invite = invite.expect("an INVITE");
    assert_eq!((invite.remote, invite.reply_on), (remote, Some(hop)));
    told(&mut world);
    world.engine.handle_input(world.now, Input::Sip(sip_core::Input::StreamEnded { hop }));
    world.pump();
    assert_eq!(told(&mut world), ["alice flow-failed sip:alice@10.0.0.7:5060;transport=tcp"]);
    world.run_for(10);
    world.originate("d", json!({"to": "endpoint:alice"})).unwrap();
    world.check("d", "ended failed unreachable by engine 480 q850 20");
}

#[test]
fn a_path_is_the_way_to_a_phone() {
    let mut world = world(&[]);
    let lines = "Supported: path\r\nPath: <sip:edge.1@198.51.100.1;lr>, <sip:198.51.100.2;lr>\r\n\
                 Contact: <sip:alice@10.0.0.7>";
    assert_eq!(register(&mut world, udp("198.51.100.1:5060"), 1, lines), 200);
    world.strays.clear();
    world.originate("c", json!({"to": "endpoint:alice"})).unwrap();
    let sent = &world.strays[0];
    let invite = Message::parse(sent.payload.clone()).unwrap();
    assert_eq!(sent.remote, "198.51.100.1:5060".parse().unwrap());
    assert_eq!(invite.request_uri_str(), "sip:alice@10.0.0.7");
    assert_eq!(
        invite.headers(Name::Route).collect::<Vec<_>>(),
        ["<sip:edge.1@198.51.100.1;lr>", "<sip:198.51.100.2;lr>"]
    );
}

/// Somebody calls `number` from the first phone; the answer, and the story if there is one.
pub(crate) fn call(
    world: &mut World,
    number: &str,
    caller: Option<(&str, &str, &str)>,
) -> (u16, Option<String>) {
    let before: Vec<_> = world.stories.keys().cloned().collect();
    let now = world.now;
    let phone = &mut world.phones[0];
    phone.account =
        caller.map(|(from, username, password)| (from.into(), Credentials::new(username, password)));
    let session = phone.call(now, ENGINE.parse().unwrap(), number, None, &[(5_000, Hangup)]);
    world.run_for(1_000);
    let new = world.stories.keys().find(|id| !before.contains(id)).map(|id| id.to_string());
    let outcome = world.phones[0].outcomes.get(&session).copied().unwrap_or(0);
    (outcome, new)
}

#[test]
fn a_call_of_an_endpoint_is_taken_over_by_its_other_phones_only() {
    let mut world = world(&[(DESK, &[]), (SOFT, &[])]);
    let (_, id) = call(&mut world, "100", Some(("sip:alice@192.0.2.1", "alice", "secret")));
    let id = world.id(&id.unwrap());
    world.engine.answer(world.now, &id).unwrap();
    world.run_for(100);
    let place = world.phones[0].place_of(world.phones[0].session());
    assert!(place.is_some());
    let mut takes = |name: &str, password: &str| {
        let phone = &mut world.phones[1];
        phone.account = Some((format!("sip:{name}@192.0.2.1"), Credentials::new(name, password)));
        phone.replaces = place.clone();
        let session = phone.call(world.now, ENGINE.parse().unwrap(), "100", None, &[(1_000, Hangup)]);
        world.run_for(100);
        world.phones[1].outcomes.get(&session).copied()
    };
    assert_eq!(takes("bob", "secret"), Some(403));
    assert_eq!(takes("alice", "guess"), Some(401));
    assert_eq!(takes("alice", "secret"), Some(200));
    world.run();
    assert_eq!(world.phones[0].byes, 1);
    assert_eq!(world.stories[&id].lines.last().unwrap(), "ended completed answered by remote 200");
}

#[test]
fn endpoints_call_by_their_routes_once_they_have_proven_who_they_are() {
    let alice = |host: &str| format!("sip:alice@{host}");
    let (ours, other) = (alice("192.0.2.1"), alice("192.0.2.99"));
    for registered in [false, true] {
        let mut world = world(&[(DESK, &[])]);
        if registered {
            assert_eq!(register(&mut world, udp(DESK), 1, &format!("Contact: <sip:alice@{DESK}>")), 200);
        }
        let (status, id) = call(&mut world, "100", Some((&ours, "alice", "secret")));
        let id = id.expect("alice's call is taken");
        assert_eq!(status, 0, "it is parked");
        let taken = world.engine.call(&world.id(&id)).unwrap();
        assert_eq!(
            (taken.endpoint.as_deref(), taken.from.as_str(), taken.to.as_str()),
            (Some("alice"), "alice", "100")
        );
        for (number, from, username, password, status) in [
            ("100", &*ours, "alice", "wrong", 401),
            ("100", &*ours, "nobody", "secret", 401),
            ("100", "sip:bob@192.0.2.1", "alice", "secret", 403),
            ("100", "sip:bob@192.0.2.1", "bob", "secret", 410),
            // From elsewhere and as somebody else's alice she is a stranger, with no route for her.
            ("100", &*other, "alice", "secret", if registered { 403 } else { 404 }),
            ("999", &*ours, "alice", "secret", 404),
        ] {
            let refused = call(&mut world, number, Some((from, username, password)));
            assert_eq!(refused, (status, None), "{number} {from} {username}");
        }
        // Routes for everybody are for strangers too, but not under the name of an endpoint.
        let stranger = call(&mut world, "200", Some(("sip:+62811@198.51.100.1", "x", "x")));
        assert_eq!(stranger.1.is_some(), !registered, "its address is that of alice");
        assert_eq!(call(&mut world, "200", Some((&ours, "x", "x"))), (401, None));
    }
}

#[test]
fn other_requests_are_answered_as_they_should_be() {
    let mut world = world(&[]);
    for (method, status) in [("OPTIONS", 200), ("MESSAGE", 405), ("SUBSCRIBE", 489), ("FOO", 501)] {
        let text = format!(
            "{method} sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {OFFICE};branch=z9hG4bK{method}\r\n\
             From: <sip:alice@192.0.2.1>;tag=1\r\nTo: <sip:192.0.2.1>\r\nCall-ID: {method}\r\n\
             CSeq: 1 {method}\r\nEvent: presence\r\nContact: <sip:alice@{OFFICE}>\r\nContent-Length: 0\r\n\r\n"
        );
        let message = Message::parse(text.into_bytes().into()).unwrap();
        world.strays.clear();
        let input = sip_core::Input::Message { hop: udp(OFFICE), message };
        world.engine.handle_input(world.now, Input::Sip(input));
        world.pump();
        let reply = Message::parse(world.strays[0].payload.clone()).unwrap();
        assert_eq!(reply.status(), Some(status), "{method}");
        assert_eq!(reply.header(Name::Allow).is_some(), status != 489, "{method}");
    }
}

#[test]
fn a_configuration_read_again_changes_its_own_endpoints_only() {
    let mut world = world(&[]);
    let now = world.now;
    let configured = |name: &str, password: &str| Account {
        configured: true,
        ..Account::new(name, &RegistrarConfig::default().realm, password)
    };
    let config = |accounts| RegistrarConfig { accounts, ..RegistrarConfig::default() };
    let names = |world: &World| world.engine.endpoints().map(|shown| shown.name).collect::<Vec<_>>();
    let alice = configured("alice", "secret");
    world.engine.set_endpoints(now, config(vec![alice.clone(), configured("old", "x")])).unwrap();
    let carol = world.engine.account_of("carol", &PutEndpoint::new("carol", "pass")).unwrap();
    world.engine.put_account(now, carol).unwrap();
    at(&mut world, &[(DESK, "")]);
    told(&mut world);

    // Who takes another's name over has it, in whichever order they stand.
    let swapped = Account { username: "old".into(), ..configured("new", "x") };
    world.engine.set_endpoints(now, config(vec![swapped, alice.clone()])).unwrap();
    world.pump();
    assert_eq!(names(&world), ["alice", "bob", "carol", "new"]);
    assert_eq!(told(&mut world), [""; 0], "alice is where she was");

    let taken = Account { username: "carol".into(), ..configured("dave", "x") };
    world.engine.set_endpoints(now, config(vec![taken])).unwrap_err();
    assert_eq!(names(&world), ["alice", "bob", "carol", "new"], "all of it or nothing");
    let elsewhere = RegistrarConfig { realm: "pbx.example".into(), ..RegistrarConfig::default() };
    world.engine.set_endpoints(now, elsewhere).unwrap();
    assert_eq!(names(&world), ["alice", "bob", "carol", "new"], "another realm waits for a restart");

    world
        .engine
        .set_endpoints(now, config(vec![configured("alice", "another"), configured("carol", "y")]))
        .unwrap();
    world.pump();
    assert_eq!(told(&mut world), ["alice deleted sip:alice@192.0.2.21:5060"], "by the old password");
    assert!(world.engine.endpoint("carol").unwrap().configured, "what the file has is the file's");
    world.engine.set_endpoints(now, config(Vec::new())).unwrap();
    assert_eq!(names(&world), ["bob"], "the configuration did not make him");
}

#[test]
fn endpoints_are_managed_while_they_are_used() {
    let mut world = world(&[]);
    let now = world.now;
    let put = PutEndpoint::new("carol", "pass");
    let made = world.engine.account_of("carol", &put).unwrap();
    world.engine.put_account(now, made.clone()).unwrap();
    assert_eq!((made.name.as_str(), made.configured), ("carol", false));
    let changed = PutEndpoint { password: None, caller_id: Some("+62".into()), ..put };
    let changed = world.engine.account_of("carol", &changed).unwrap();
    assert_eq!((changed.ha1, changed.caller_id.as_deref()), (made.ha1, Some("+62")));
    let nobody = PutEndpoint { password: None, ..PutEndpoint::new("dave", "") };
    assert!(matches!(world.engine.account_of("dave", &nobody), Err(Refusal::Validation(_))));
    let taken = PutEndpoint { username: Some("alice".into()), ..PutEndpoint::new("dave", "x") };
    assert!(matches!(world.engine.account_of("dave", &taken), Err(Refusal::Validation(_))));
    assert_eq!(world.engine.delete_endpoint(now, "carol"), Ok(()));
    assert_eq!(world.engine.delete_endpoint(now, "carol"), Err(Refusal::NotFound));
}

#[test]
fn a_phone_is_asked_to_answer_by_itself_where_its_endpoint_says_so() {
    let mut world = world(&[(DESK, &[(100, Answer(Answer::Good)), (1_000, Hangup)])]);
    at(&mut world, &[(DESK, "")]);
    let told = |world: &World, call: usize| {
        let header = |name| world.phones[0].requests[call].rows().find(|(row, _)| row.as_str() == name);
        ["Call-Info", "Alert-Info"].map(|name| header(name).map(|(_, value)| value.to_string()))
    };
    world.originate("a", json!({"to": "endpoint:alice"})).unwrap();
    world.run();
    assert_eq!(told(&world, 0), [None, None]);
    let alice = Account { auto_answer: true, ..Account::new("alice", REALM, "secret") };
    world.engine.put_account(world.now, alice).unwrap();
    world.originate("b", json!({"to": "endpoint:alice"})).unwrap();
    world.run();
    let both = ["<sip:192.0.2.1>;answer-after=0", "<http://192.0.2.1>;info=alert-autoanswer"];
    assert_eq!(told(&world, 1), both.map(|value| Some(value.to_owned())));
    let own = json!({"Alert-Info": "<urn:alert:service:normal>"});
    world.originate("c", json!({"to": "endpoint:alice", "headers": own})).unwrap();
    world.run();
    let [_, alert] = told(&world, 2);
    assert_eq!(alert.as_deref(), Some("<urn:alert:service:normal>"), "what the request says comes first");
}
