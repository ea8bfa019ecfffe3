//! Trunks that come, change and go while calls are up, and what their settings put on the wire.

use std::time::Duration;

use control_api_types::{EventData, Identity, TrunkState};
use engine_core::{Refusal, TrunkConfig};
use serde_json::json;
use sip_core::{Target, digest::Credentials};

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::{BACKUP, CARRIER, World, trunk};

const SHORT: Script = &[(100, Ring), (500, Answer(Good)), (1_500, Hangup)];
const LONG: Script = &[(100, Answer(Good)), (5_000, Hangup)];

fn registering(password: &str) -> TrunkConfig {
    TrunkConfig {
        register: Some(Duration::from_secs(60)),
        credentials: Some(Credentials::new("alice", password)),
        ..trunk("jkt", CARRIER)
    }
}

fn put(world: &mut World, config: TrunkConfig) {
    let now = world.now;
    world.engine.put_trunk(now, config).unwrap();
    world.pump();
}

fn state(world: &World) -> TrunkState {
    world.engine.trunks(world.now).find(|trunk| trunk.name == "jkt").unwrap().state
}

#[test]
fn a_trunk_that_changes_keeps_its_calls_and_sends_new_ones_elsewhere() {
    let mut world = World::new();
    world.call("before", LONG, json!({}));
    world.run_for(500);
    put(&mut world, trunk("jkt", BACKUP));
    world.backup.customer("7", SHORT);
    world.originate("after", json!({"to": "7", "trunk": "jkt"})).unwrap();
    world.run_for(300);
    assert_eq!(world.engine.trunks(world.now).next().unwrap().calls, 2, "both are counted");
    world.run();
    world.check("before", "initiated\nanswered PCMA\nended completed answered by remote 200");
    world.check("after", "initiated\nringing 180\nanswered PCMA\nended completed answered by remote 200");
    assert_eq!(world.cdr("after").gateway.as_deref(), Some(&*format!("sip:{BACKUP}")));
    let view = world.engine.trunks(world.now).next().unwrap();
    assert_eq!((view.calls, view.asr), (0, Some(1.0)));
    assert!(world.node_events.is_empty());
}

#[test]
fn a_trunk_that_goes_leaves_its_calls_alone() {
    let mut world = World::with(|config| config.limits.max_calls = 1);
    world.call("live", LONG, json!({}));
    world.call("queued", SHORT, json!({}));
    world.run_for(500);
    let now = world.now;
    assert!(world.engine.delete_trunk(now, "jkt"));
    assert!(!world.engine.delete_trunk(now, "jkt"));
    let Err(Refusal::Validation(faults)) = world.originate("late", json!({"to": "1", "trunk": "jkt"})) else {
        panic!("there is no such trunk any more")
    };
    assert_eq!(faults[0].pointer, "/trunk");
    world.run();
    world.check("live", "initiated\nanswered PCMA\nended completed answered by remote 200");
    world.check("queued", "ended failed blocked by engine");
    assert_eq!(world.cdr("queued").sip_reason.as_deref(), Some("Trunk Deleted"));
    put(&mut world, trunk("jkt", CARRIER));
    world.call("again", SHORT, json!({}));
    world.run();
    world.check("again", "initiated\nringing 180\nanswered PCMA\nended completed answered by remote 200");
}

#[test]
fn a_disabled_trunk_takes_no_calls_and_is_not_registered() {
    let mut world = World::new();
    put(&mut world, registering("secret"));
    world.run_for(100);
    assert_eq!((state(&world), world.carrier.bindings()), (TrunkState::Up, 1));
    world.call("live", LONG, json!({}));
    world.run_for(500);
    put(&mut world, TrunkConfig { enabled: false, ..registering("secret") });
    world.run_for(100);
    assert_eq!((state(&world), world.carrier.bindings()), (TrunkState::Disabled, 0));
    let Err(Refusal::Validation(faults)) = world.originate("late", json!({"to": "1", "trunk": "jkt"})) else {
        panic!("a disabled trunk takes no calls")
    };
    assert_eq!(faults[0].detail, "trunk \"jkt\" is disabled");
    put(&mut world, TrunkConfig { enabled: false, ..registering("other") });
    world.run_for(100);
    assert_eq!((state(&world), world.carrier.bindings()), (TrunkState::Disabled, 0));
    put(&mut world, registering("other"));
    world.run_for(100);
    assert_eq!((state(&world), world.carrier.bindings()), (TrunkState::Up, 1));
    world.run();
    world.check("live", "initiated\nanswered PCMA\nended completed answered by remote 200");
    let (up, trunk) = (EventData::TrunkUp { trunk: "jkt".into() }, "jkt".to_owned());
    let down = EventData::TrunkDown { trunk, reason: "disabled".into() };
    assert_eq!(world.node_events, [up.clone(), down, up]);
}

#[test]
fn a_refused_registration_is_told_once_and_tried_again_on_demand() {
    let mut world = World::new();
    world.carrier.registrar = 403;
    put(&mut world, registering("wrong"));
    world.run_for(3_600_000);
    assert_eq!((state(&world), world.carrier.registers), (TrunkState::Rejected, 1), "an hour without a try");
    put(&mut world, registering("wrong"));
    world.run_for(1_000);
    assert_eq!((state(&world), world.carrier.registers), (TrunkState::Rejected, 2), "even as it was");
    world.carrier.registrar = 200;
    put(&mut world, registering("right"));
    world.run_for(1_000);
    assert_eq!(state(&world), TrunkState::Up);
    let rejected = EventData::TrunkRejected { trunk: "jkt".into(), sip_status: Some(403) };
    let up = EventData::TrunkUp { trunk: "jkt".into() };
    assert_eq!(world.node_events, [rejected.clone(), rejected, up], "once for each try");
}

#[test]
fn calls_that_never_left_count_in_no_ratio() {
    let mut world = World::new();
    world.carrier.registrar = 403;
    put(&mut world, registering("wrong"));
    world.run_for(1_000);
    for id in ["a", "b"] {
        world.call(id, SHORT, json!({}));
        world.run_for(100);
        world.check(id, "ended failed blocked by engine");
    }
    let view = world.engine.trunks(world.now).find(|trunk| trunk.name == "jkt").unwrap();
    assert_eq!((view.asr, view.ner), (None, None));
}

#[test]
fn a_change_that_the_registrar_need_not_know_registers_nothing() {
    let mut world = World::new();
    put(&mut world, registering("secret"));
    world.run_for(1_000);
    put(&mut world, TrunkConfig { failover: Duration::from_secs(1), ..registering("secret") });
    world.run_for(1_000);
    assert_eq!((state(&world), world.carrier.registers), (TrunkState::Up, 1));
    put(&mut world, registering("new"));
    world.run_for(1_000);
    assert_eq!((state(&world), world.carrier.registers), (TrunkState::Up, 3), "taken back and made anew");
}

#[test]
fn caller_ids_in_turn_identity_and_headers_are_on_the_wire() {
    let mut world = World::with(|config| {
        config.trunks[0].caller_ids = vec!["+6221".into(), "+6222".into()];
        config.trunks[0].caller_ids_in_turn = true;
        config.trunks[0].identity = Identity::Pai;
        config.trunks[0].headers = vec![("X-Site".into(), "jkt".into())];
        config.trunks[0].public_ip = Some("198.51.100.7".parse().unwrap());
        config.trunks[0].gateways[0].target.public_ip = config.trunks[0].public_ip;
    });
    let shown: Vec<_> = ["a", "b", "c"]
        .into_iter()
        .map(|id| {
            world.call(id, SHORT, json!({}));
            world.engine.call(&world.id(id)).unwrap().from.clone()
        })
        .collect();
    assert_eq!(shown, ["+6221", "+6222", "+6221"]);
    for _ in 0..3 {
        world.originate("refused", json!({"to": "1", "trunk": "jkt", "flow": "missing"})).unwrap_err();
    }
    world.call("d", SHORT, json!({}));
    assert_eq!(world.engine.call(&world.id("d")).unwrap().from, "+6222", "what is refused takes no turn");
    world.run_for(100);
    let invite = &world.carrier.requests[2];
    assert_eq!(invite.header(sip_core::Name::parse("X-Site")), Some("jkt"));
    let asserted = invite.header(sip_core::Name::parse("P-Asserted-Identity"));
    assert_eq!(asserted, Some("<sip:+6221@192.0.2.2>"));
    assert!(invite.header(sip_core::Name::Contact).unwrap().contains("@198.51.100.7:5060"));
    let sdp = String::from_utf8(invite.body().to_vec()).unwrap();
    assert!(sdp.contains("c=IN IP4 198.51.100.7"), "{sdp}");
}

#[test]
fn everything_of_a_trunk_goes_by_its_outbound_proxy() {
    let mut world = World::with(|config| {
        let target = |host: &str| Target { host: host.into(), port: Some(5060), ..Target::default() };
        config.trunks = vec![TrunkConfig {
            outbound_proxy: Some(target("192.0.2.2")),
            ..TrunkConfig::new("jkt", target("198.51.100.9"))
        }];
    });
    world.call("c1", SHORT, json!({}));
    world.run();
    world.check("c1", "initiated\nringing 180\nanswered PCMA\nended completed answered by remote 200");
    let invite = &world.carrier.requests[0];
    assert_eq!(invite.request_uri_str(), "sip:1000@198.51.100.9:5060");
    assert_eq!(invite.header(sip_core::Name::Route), Some("<sip:192.0.2.2:5060;lr>"));
}
