//! Inbound calls: routes, flows that answer, calls that wait for the API.

use control_api_types::EndedBy;
use engine_core::{Refusal, Route, RouteAction, RouteMatch};
use serde_json::json;
use sip_core::SessionId;

use crate::carrier::{Act::*, Script};
use crate::world::{ENGINE, World};

fn route(called: Option<&str>, action: RouteAction) -> Route {
    Route { matches: RouteMatch { called: called.map(Into::into), ..RouteMatch::default() }, action }
}

fn world() -> World {
    let trunk = |name: &str, action| Route {
        matches: RouteMatch { trunk: Some(name.into()), called: Some("7*".into()), ..RouteMatch::default() },
        action,
    };
    let mut world = World::with_routes(vec![
        trunk("dead", RouteAction::Park),
        trunk("jkt", RouteAction::Flow("menu".into())),
        route(Some("100"), RouteAction::Flow("menu".into())),
        route(Some("101"), RouteAction::Flow("gone".into())),
        route(Some("2*"), RouteAction::Park),
        route(Some("300"), RouteAction::Reject(410)),
    ]);
    world
        .put_flow(
            "menu",
            json!({"start": "ask", "steps": {
                "ask": {"verb": "gather", "play": {"prompt": "hello"}, "max": 1, "on": {"5": "ok"}},
                "ok": {"verb": "hangup"}}}),
        )
        .unwrap();
    world
}

/// A customer calls `number`; the call's id is made by the engine.
fn call(world: &mut World, number: &str, script: Script) -> (SessionId, Option<String>) {
    let before: Vec<_> = world.stories.keys().cloned().collect();
    let session = world.carrier.call(world.now, ENGINE.parse().unwrap(), number, None, script);
    world.run_for(100);
    let new = world.stories.keys().find(|id| !before.contains(id)).map(|id| id.to_string());
    (session, new)
}

#[test]
fn what_a_carrier_tells_of_the_caller_is_told_and_bounded() {
    let told = |headers: Vec<(String, String)>| {
        let mut world = world();
        world.carrier.headers = headers;
        let (_, id) = call(&mut world, "200", &[(500, Hangup)]);
        world.run();
        world.cdr(&id.unwrap()).headers.clone()
    };
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let sent = pairs(&[
        ("p-asserted-identity", "<sip:+6221@carrier.example>"),
        ("P-Asserted-Identity", "<tel:+6221>"),
        ("Privacy", "id"),
        ("X-Order", "17"),
        ("Subject", "not told"),
    ]);
    let expected = pairs(&[
        ("P-Asserted-Identity", "<sip:+6221@carrier.example>, <tel:+6221>"),
        ("Privacy", "id"),
        ("X-Order", "17"),
    ]);
    assert_eq!(told(sent).into_iter().collect::<Vec<_>>(), expected);
    let many = told((0..100).map(|n| (format!("X-{n}"), "v".repeat(10))).collect());
    assert_eq!(many.len(), 32);
    let large = told((0..20).map(|n| (format!("X-{n}"), "v".repeat(500))).collect());
    assert!(large.values().map(String::len).sum::<usize>() <= 4_096 && large.len() == 8, "{large:?}");
}

#[test]
fn numbers_are_matched_and_shown_as_they_are_dialled() {
    for (user, called) in [
        ("%2B2200", "+2200"),
        ("2200;npdi=yes", "2200"),
        ("+2-2.0(0)", "+2200"),
        ("10%30", "100"),
        ("2%20b", "2 b"),
    ] {
        let mut world = world();
        let (_, id) = call(&mut world, user, &[(500, Hangup)]);
        let id = id.unwrap_or_else(|| panic!("{user} is not taken"));
        world.run();
        assert_eq!(world.cdr(&id).to, called, "{user}");
    }
}

#[test]
fn texts_that_nobody_has_for_a_number_are_not_kept() {
    for (user, caller, taken) in [
        ("2".repeat(256), "x".repeat(256), true),
        ("2".repeat(257), "x".to_owned(), false),
        ("2".to_owned(), "x".repeat(257), false),
        ("2%0A".to_owned(), "x".to_owned(), false),
        ("2".to_owned(), "x%00".to_owned(), false),
    ] {
        let mut world = world();
        world.carrier.caller = caller;
        let (session, id) = call(&mut world, &user, &[(500, Hangup)]);
        assert_eq!(id.is_some(), taken, "{user}");
        assert_eq!(world.carrier.outcomes.get(&session), if taken { None } else { Some(&400) }, "{user}");
        world.run();
    }
}

#[test]
fn the_door_is_told_who_the_routes_and_trunks_are_for() {
    let from = |source: Option<&str>, trunk: Option<&str>| Route {
        matches: RouteMatch {
            source: source.map(|network| network.parse().unwrap()),
            trunk: trunk.map(Into::into),
            ..RouteMatch::default()
        },
        action: RouteAction::Park,
    };
    for (routes, networks, anywhere) in [
        (vec![], &[][..], false),
        (vec![from(Some("10.0.0.0/8"), None), from(None, Some("jkt"))], &["10.0.0.0/8"], false),
        (
            vec![from(Some("10.0.0.0/8"), Some("jkt")), route(Some("100"), RouteAction::Park)],
            &["10.0.0.0/8"],
            true,
        ),
    ] {
        let mut world = World::with_routes(routes);
        world.pump();
        let networks: Vec<_> = networks.iter().map(|network| network.parse().unwrap()).collect();
        assert_eq!((&world.known.networks, world.known.calls_from_anywhere), (&networks, anywhere));
        assert!(world.known.addresses.contains(&world.carrier.address.ip()), "a trunk's gateway");
    }
}

#[test]
fn a_trunk_with_a_public_address_of_ours_is_told_it_when_it_calls() {
    let mut world = World::with(|config| {
        config.trunks[0].public_ip = Some("198.51.100.7".parse().unwrap());
        config.routes = vec![route(Some("100"), RouteAction::Flow("menu".into()))];
    });
    world.put_flow("menu", json!({"start": "end", "steps": {"end": {"verb": "hangup"}}})).unwrap();
    call(&mut world, "100", &[]);
    world.run();
    let contact = world.carrier.answers[0].header(sip_core::Name::Contact).unwrap();
    assert_eq!(contact, "<sip:100@198.51.100.7:5060>");
}

#[test]
fn a_route_answers_into_a_flow() {
    let mut world = world();
    let (session, id) = call(&mut world, "100", &[(1_500, Press('5'))]);
    let id = id.unwrap();
    assert_eq!(world.engine.trunks(world.now).next().unwrap().calls, 1, "it came from the trunk's address");
    let call = world.engine.calls().next().unwrap();
    assert_eq!(world.dialogs[&call.id], [call.sip_call_id.clone().unwrap()], "its messages can be told");
    world.run();
    world.check(
        &id,
        r#"initiated
           ringing 180
           answered PCMU
           step ask gather
           plays p-1 hello
           played p-1 completed
           dtmf 5 100
           gathered ask "5" max
           step ok hangup
           ended completed answered by engine 200"#,
    );
    let cdr = world.cdr(&id);
    assert_eq!((cdr.to.as_str(), cdr.from.as_str(), cdr.trunk.as_deref()), ("100", "+62811", Some("jkt")));
    assert_eq!(world.carrier.outcomes[&session], 200);
    assert_eq!((world.carrier.live(), world.engine.load().live), (0, 0));
}

#[test]
fn a_caller_may_stay_as_long_as_the_node_lets_callers() {
    let mut world = World::with(|config| {
        config.routes = vec![route(None, RouteAction::Park)];
        config.inbound_max_duration = std::time::Duration::from_secs(86_400);
    });
    let (_, id) = call(&mut world, "200", &[]);
    let id = world.id(&id.unwrap());
    world.engine.answer(world.now, &id).unwrap();
    world.run_for(86_399_000);
    assert!(world.engine.call(&id).is_some(), "14,400 s are no more than the default");
    world.run_for(2_000);
    let cdr = world.cdr(id.as_str());
    assert_eq!((cdr.ended_by, cdr.sip_reason.as_deref()), (Some(EndedBy::Engine), None));
}

#[test]
fn what_no_route_wants_leaves_no_trace() {
    let mut world = world();
    for (number, status) in [("999", 404), ("300", 410), ("101", 480)] {
        let (session, id) = call(&mut world, number, &[]);
        assert_eq!((world.carrier.outcomes[&session], id), (status, None), "{number}");
    }
    let mut strangers = World::with_routes(vec![Route {
        matches: RouteMatch { trunk: Some("dead".into()), ..RouteMatch::default() },
        action: RouteAction::Park,
    }]);
    let (session, id) = call(&mut strangers, "100", &[]);
    assert_eq!((strangers.carrier.outcomes[&session], id), (403, None));
    assert_eq!(world.engine.load().live, 0);
}

#[test]
fn the_trunk_of_a_call_is_known_by_its_address() {
    let mut world = world();
    let (session, id) = call(&mut world, "777", &[(500, Hangup)]);
    assert_eq!(world.carrier.outcomes[&session], 200, "the route of the other trunk does not apply");
    world.run();
    assert_eq!(world.cdr(&id.unwrap()).ended_by, Some(control_api_types::EndedBy::Remote));
}

#[test]
fn a_parked_call_is_answered_rung_or_rejected_by_the_api() {
    let mut world = world();
    let (answered, id) = call(&mut world, "200", &[]);
    let id = world.id(&id.unwrap());
    assert_eq!(world.engine.call(&id).unwrap().status, control_api_types::CallStatus::Initiated);
    let now = world.now;
    world.engine.ring(now, &id).unwrap();
    world.engine.ring(now, &id).unwrap();
    world.run_for(1_000);
    let now = world.now;
    world.engine.answer(now, &id).unwrap();
    assert!(matches!(world.engine.answer(now, &id), Err(Refusal::WrongState { .. })));
    assert!(matches!(world.engine.reject(now, &id, 486), Err(Refusal::WrongState { .. })));
    world.run_for(1_000);
    assert_eq!(world.carrier.outcomes[&answered], 200);
    let now = world.now;
    world.engine.hangup(now, &id, control_api_types::HangupReason::Normal).unwrap();

    let (refused, other) = call(&mut world, "201", &[]);
    let other = world.id(&other.unwrap());
    let now = world.now;
    assert!(matches!(world.engine.reject(now, &other, 200), Err(Refusal::Validation(_))));
    world.engine.reject(now, &other, 486).unwrap();

    let (hung_up, third) = call(&mut world, "202", &[]);
    let third = world.id(&third.unwrap());
    let now = world.now;
    world.engine.hangup(now, &third, control_api_types::HangupReason::Rejected).unwrap();
    world.run();
    assert_eq!((world.carrier.outcomes[&refused], world.carrier.outcomes[&hung_up]), (486, 603));
    world.check(id.as_str(), "initiated\nringing 180\nanswered PCMU\nended completed answered by api 200");
    world.check(other.as_str(), "initiated\nended busy busy by api 486");
    world.check(third.as_str(), "initiated\nended canceled canceled by api 603");
}

#[test]
fn a_caller_who_gives_up_has_missed_us() {
    let mut world = world();
    let (_, id) = call(&mut world, "200", &[(2_000, Hangup)]);
    world.run();
    world.check(&id.unwrap(), "initiated\nended no-answer no-answer by remote 487");
}

#[test]
fn nobody_waits_for_the_api_for_ever() {
    let mut world = world();
    let (session, id) = call(&mut world, "200", &[]);
    world.run();
    world.check(&id.unwrap(), "initiated\nended no-answer no-answer by engine 480");
    assert_eq!(world.carrier.outcomes[&session], 480);
}

#[test]
fn an_offer_that_cannot_be_answered_is_incompatible() {
    let mut world = world();
    let body = b"v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 6000 RTP/AVP 18\r\n";
    let session = world.carrier.call(world.now, ENGINE.parse().unwrap(), "100", Some(body.to_vec()), &[]);
    world.run_for(100);
    world.run();
    assert_eq!(world.carrier.outcomes[&session], 488);
    let id = world.stories.keys().next().unwrap().to_string();
    world.check(&id, "initiated\nringing 180\nended failed incompatible by engine 488");
}

#[test]
fn no_room_and_no_new_calls_are_503() {
    let mut world = world();
    let limits = control_api_types::Limits { max_calls: 1, ..world.engine.limits() };
    let now = world.now;
    world.engine.set_limits(now, limits);
    let (_, first) = call(&mut world, "200", &[]);
    assert!(first.is_some());
    let (second, none) = call(&mut world, "200", &[]);
    assert_eq!((world.carrier.outcomes[&second], none), (503, None));
    let now = world.now;
    world.engine.set_limits(now, control_api_types::Limits { max_calls: 9, ..limits });
    world.engine.drain(now, true);
    let (third, none) = call(&mut world, "200", &[]);
    assert_eq!((world.carrier.outcomes[&third], none), (503, None));
    world.run();
    world.check(&first.unwrap(), "initiated\nended failed limit-reached by engine 480");
    assert!(world.engine.is_drained());
}
