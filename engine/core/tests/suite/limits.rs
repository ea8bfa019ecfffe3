//! What is taken, when it begins, and what trunks have to say about it.

use std::time::Duration;

use control_api_types::{CallStatus, EventData, Limits, TrunkState};
use engine_core::{Capacity, NumberFormat, Refusal, Route, RouteAction, RouteMatch, TrunkConfig};
use serde_json::json;
use sip_core::{Target, digest::Credentials, guard::Known};

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::{CARRIER, ENGINE, NAME, World, limits, trunk};

const SHORT: Script = &[(100, Ring), (500, Answer(Good)), (1_500, Hangup)];
const LONG: Script = &[(100, Answer(Good)), (600_000, Hangup)];

#[test]
fn the_rate_and_the_number_of_calls_are_limits() {
    let mut world = World::with(|config| {
        config.limits = Limits { max_calls: 30, max_cps: 20, max_queued: 200, ..limits() };
    });
    for n in 0..150 {
        world.call(&format!("c{n}"), SHORT, json!({}));
    }
    world.run();
    assert_eq!(world.stories.values().filter(|story| story.ended.is_some()).count(), 150);
    assert!((25..=30).contains(&world.most_live), "{} live", world.most_live);
    let invites = &world.carrier.invites;
    assert_eq!(invites.len(), 150);
    for (n, &at) in invites.iter().enumerate() {
        let within = invites[n..].iter().take_while(|&&other| other < at + Duration::from_secs(1)).count();
        assert!(within <= 21, "{within} calls in a second");
    }
    assert_eq!((world.engine.load().live, world.engine.load().queued), (0, 0));
}

#[test]
fn a_full_trunk_holds_up_nobody_else() {
    let mut world = World::with(|config| {
        config.trunks[0].capacity = Capacity { max_calls: Some(1), max_cps: None };
        config.trunks.push(trunk("free", CARRIER));
    });
    world.call("first", LONG, json!({}));
    world.call("second", SHORT, json!({}));
    world.call("third", SHORT, json!({}));
    world.call("other", SHORT, json!({"trunk": "free"}));
    world.run_for(10_000);
    let status = |world: &World, id: &str| world.engine.call(&world.id(id)).map(|call| call.status);
    assert_eq!(status(&world, "second"), Some(CallStatus::Queued));
    assert_eq!(status(&world, "other"), None, "it has come and gone");
    assert_eq!(world.engine.trunks(world.now).next().unwrap().calls, 1);
    hangup(&mut world, "first");
    world.run_for(600);
    assert_eq!(status(&world, "second"), Some(CallStatus::InProgress), "the queue keeps its order");
    assert_eq!(status(&world, "third"), Some(CallStatus::Queued));
    world.run();
    world.check("third", "initiated\nringing 180\nanswered PCMA\nended completed answered by remote 200");
}

#[test]
fn the_queue_is_bounded_in_length_and_time() {
    let mut world = World::with(|config| {
        config.limits =
            Limits { max_calls: 1, max_cps: 10, max_queued: 2, queue_timeout_s: 5, drain_timeout_s: 1 };
    });
    world.call("live", LONG, json!({}));
    world.call("queued", SHORT, json!({}));
    world.call("canceled", SHORT, json!({}));
    let full = world.originate("full", json!({"to": "1000", "trunk": "jkt"}));
    assert_eq!(full, Err(Refusal::QueueFull { retry_after: Duration::from_secs(1) }));
    world.run_for(1_000);
    hangup(&mut world, "canceled");
    world.check("canceled", "ended canceled canceled by api");
    world.run_for(5_000);
    world.check("queued", "ended failed limit-reached by engine");
    assert!(!world.stories.contains_key(&world.id("full")), "nothing is half-done");
    hangup(&mut world, "live");
    world.run();
}

#[test]
fn every_fault_is_told_with_its_place_and_nothing_is_kept() {
    let mut world = World::with(|config| {
        config.trunks[0].caller_ids = vec!["+6221".into()];
        config.trunks[0].number_format =
            NumberFormat { allow: vec!["62*".into()], ..NumberFormat::default() };
    });
    let flow = json!({"start": "a", "steps": {
        "a": {"verb": "play", "prompt": "missing", "next": "b"},
        "b": {"verb": "notify", "data": "{oops"}}});
    for (body, at) in [
        (
            json!({"to": "+1555", "trunk": "jkt", "from": "+1", "flow": flow}),
            vec!["/flow/steps/a/prompt", "/flow/steps/b/data", "/to", "/from"],
        ),
        (json!({"to": "+62", "trunk": "nowhere", "flow": "nothing"}), vec!["/trunk", "/flow"]),
        (json!({"to": "sip:x@y;transport=sctp"}), vec!["/to"]),
        (json!({"to": "+62"}), vec!["/trunk"]),
    ] {
        let Err(Refusal::Validation(faults)) = world.originate("c1", body) else { panic!("{at:?}") };
        assert_eq!(faults.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(), at);
    }
    let Err(faults) =
        world.put_flow("f", json!({"start": "a", "steps": {"a": {"verb": "play", "prompt": "missing"}}}))
    else {
        panic!("the prompt does not exist")
    };
    assert_eq!(faults[0].pointer, "/steps/a/prompt");
    assert!(world.stories.is_empty() && world.engine.calls().next().is_none());
    assert_eq!(world.originate("c1", json!({"to": "+62", "trunk": "jkt"})).unwrap().from, "+6221");
    assert_eq!(world.originate("c1", json!({"to": "+62", "trunk": "jkt"})), Err(Refusal::Conflict));
}

fn registering(registrar: u16) -> World {
    let mut world = World::with(|config| {
        let mut trunk = trunk("reg", CARRIER);
        trunk.register = Some(Duration::from_secs(60));
        trunk.credentials = Some(Credentials::new("alice", "secret"));
        config.trunks.push(trunk);
    });
    world.carrier.registrar = registrar;
    world
}

fn state(world: &World) -> TrunkState {
    world.engine.trunks(world.now).last().unwrap().state
}

#[test]
fn calls_wait_for_the_first_registration() {
    let mut world = registering(200);
    world.call("c1", SHORT, json!({"trunk": "reg"}));
    assert_eq!(state(&world), TrunkState::Registering);
    assert_eq!(world.engine.call(&world.id("c1")).unwrap().status, CallStatus::Queued);
    world.run();
    world.check("c1", "initiated\nringing 180\nanswered PCMA\nended completed answered by remote 200");
    assert_eq!(world.cdr("c1").from, "alice", "a trunk without caller ids shows its user");
    let view = world.engine.trunks(world.now).last().unwrap();
    assert!(view.registered_until.is_some());
    assert_eq!(
        (view.state, view.asr, view.ner, view.pdd_ms),
        (TrunkState::Up, Some(1.0), Some(1.0), Some(120))
    );
    assert_eq!(world.node_events, [EventData::TrunkUp { trunk: "reg".into() }], "refreshes change nothing");
    let now = world.now;
    world.engine.stop(now);
    world.run_for(1_000);
    assert_eq!(state(&world), TrunkState::Down);
}

#[test]
fn a_trunk_by_name_is_called_and_calls_from_where_its_name_leads() {
    let named = |name: &str, host: &str| {
        TrunkConfig::new(
            name,
            Target { host: host.into(), port: Some(5060), transport: None, ..Target::default() },
        )
    };
    let mut world = World::with(|config| {
        config.trunks = vec![named("known", NAME), named("unknown", "no.such.name")];
        let matches = RouteMatch { trunk: Some("known".into()), ..RouteMatch::default() };
        config.routes = vec![Route { matches, action: RouteAction::Park }];
    });
    let caller = |world: &mut World| {
        let session = world.carrier.call(world.now, ENGINE.parse().unwrap(), "1", None, &[(500, Hangup)]);
        world.run_for(100);
        world.carrier.outcomes.get(&session).copied()
    };
    assert_eq!(world.known, Known::default(), "nothing is known about the name yet");
    assert_eq!(caller(&mut world), None, "it is located before any call goes there");
    world.call("c1", SHORT, json!({"trunk": "known"}));
    world.call("c2", SHORT, json!({"trunk": "unknown"}));
    let addresses = [world.carrier.address.ip()].into();
    assert_eq!(world.known, Known { addresses, ..Known::default() });
    world.run();
    world.check("c1", "initiated\nringing 180\nanswered PCMA\nended completed answered by remote 200");
    world.check("c2", "initiated\nended failed network-error by engine");
    assert_eq!(world.cdr("c2").sip_reason.as_deref(), Some("Name Not Resolved"));
}

#[test]
fn calls_on_a_refused_trunk_fail_without_an_invite() {
    for (registrar, trunk_state, disposition) in
        [(403, TrunkState::Rejected, "blocked"), (503, TrunkState::Down, "network-error")]
    {
        let mut world = registering(registrar);
        world.call("c1", SHORT, json!({"trunk": "reg"}));
        world.run();
        assert_eq!(state(&world), trunk_state);
        world.check("c1", &format!("ended failed {disposition} by engine"));
        assert_eq!(world.cdr("c1").sip_reason.as_deref(), Some("Trunk Not Registered"));
        assert!(world.carrier.invites.is_empty());
        assert_eq!(world.node_events.len(), 1);
    }
}

#[test]
fn a_drain_lets_live_calls_end_and_hangs_up_the_rest() {
    let mut world = World::with(|config| config.limits.max_calls = 2);
    world.call("short", SHORT, json!({}));
    world.call("long", LONG, json!({}));
    world.call("queued", SHORT, json!({}));
    world.run_for(1_000);
    let now = world.now;
    world.engine.drain(now, true);
    world.pump();
    world.check("queued", "ended failed limit-reached by engine");
    assert_eq!(world.originate("late", json!({"to": "1000", "trunk": "jkt"})), Err(Refusal::Draining));
    assert!(world.engine.is_draining() && !world.engine.is_drained());
    world.run();
    world.check("short", "initiated\nringing 180\nanswered PCMA\nended completed answered by remote 200");
    world.check("long", "initiated\nanswered PCMA\nended completed answered by engine 200");
    let cdr = world.cdr("long");
    assert_eq!(cdr.ended_at.unwrap().unix_ms() - cdr.created_at.unix_ms(), 31_000);
    assert!(world.engine.is_drained());
    assert_eq!(world.node_events, [EventData::EngineDraining {}]);
    let now = world.now;
    world.engine.drain(now, false);
    world.call("after", SHORT, json!({}));
    world.run();
    world.check("after", "initiated\nringing 180\nanswered PCMA\nended completed answered by remote 200");
}

#[track_caller]
fn hangup(world: &mut World, id: &str) {
    let (now, id) = (world.now, world.id(id));
    world.engine.hangup(now, &id, control_api_types::HangupReason::Normal).unwrap();
    world.pump();
}
