//! The health of gateways: probes, what calls tell, and who is called meanwhile.

use std::time::Duration;

use control_api_types::{EventData, GatewayState, HangupReason, Trunk, TrunkState};
use engine_core::Probing;
use serde_json::json;

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::{BACKUP, CARRIER, PENDING, World, trunk_over};

const SHORT: Script = &[(100, Answer(Good)), (500, Hangup)];
const PROBING: Probing = Probing { interval: Duration::from_secs(10), down_after: 3, up_after: 2 };

/// The trunk `two` over the carrier and its backup, probed or not. Customer 1 is at both.
fn two(probing: Option<Probing>, first: Script) -> World {
    over(&[CARRIER, BACKUP], probing, first)
}

fn over(gateways: &[&str], probing: Option<Probing>, first: Script) -> World {
    let mut world = World::with(|config| {
        config.trunks = vec![trunk_over("two", gateways)];
        config.trunks[0].probing = probing;
    });
    world.carrier.customer("1", first);
    world.backup.customer("1", SHORT);
    world
}

fn view(world: &World) -> Trunk {
    world.engine.trunks(world.now).next().unwrap()
}

fn states(world: &World) -> (TrunkState, Vec<GatewayState>) {
    let view = view(world);
    (view.state, view.gateways.iter().map(|gateway| gateway.state).collect())
}

/// Places a call, and tells how it ended, at which gateway, after how many INVITEs.
fn call(world: &mut World) -> (String, Option<String>, u32) {
    let id = format!("c{}", world.stories.len());
    world.originate(&id, json!({"to": "1", "trunk": "two"})).unwrap();
    while world.engine.call(&world.id(&id)).is_some() {
        world.run_for(100);
    }
    let cdr = world.cdr(&id);
    let gateway = cdr.gateway.as_deref().map(|uri| uri.trim_start_matches("sip:").to_owned());
    (cdr.disposition.unwrap().to_string(), gateway, cdr.attempts)
}

fn answered_at(gateway: &str, attempts: u32) -> (String, Option<String>, u32) {
    ("answered".to_owned(), Some(gateway.to_owned()), attempts)
}

fn up() -> EventData {
    EventData::TrunkUp { trunk: "two".into() }
}

fn down(reason: &str) -> EventData {
    EventData::TrunkDown { trunk: "two".into(), reason: reason.to_owned() }
}

#[test]
fn probes_find_gateways_up_down_and_up_again() {
    use GatewayState::{Down, Unmonitored, Up};
    let mut world = two(Some(PROBING), SHORT);
    assert_eq!(states(&world), (TrunkState::Unmonitored, vec![Unmonitored; 2]));
    world.run_for(2_100);
    assert_eq!(states(&world), (TrunkState::Up, vec![Up; 2]));
    assert_eq!(view(&world).gateways[0].rtt_ms.map(f32::round), Some(20.0), "both ways of the link");

    // Three probes at most 11 s apart, each given 4 s.
    world.cut = vec![CARRIER];
    world.run_for(37_100);
    assert_eq!(states(&world), (TrunkState::Up, vec![Down, Up]));
    assert_eq!(call(&mut world), answered_at(BACKUP, 1), "nobody is sent to the dead gateway");

    world.cut = vec![CARRIER, BACKUP];
    world.run_for(37_100);
    assert_eq!(states(&world), (TrunkState::Down, vec![Down; 2]));

    world.cut = vec![];
    world.run_for(22_100);
    assert_eq!(states(&world), (TrunkState::Up, vec![Up; 2]));
    assert_eq!(call(&mut world), answered_at(CARRIER, 1));
    let reason = format!("sip:{CARRIER}: no answer to OPTIONS; sip:{BACKUP}: no answer to OPTIONS");
    assert_eq!(world.node_events, [up(), down(&reason), up()], "once each");
}

#[test]
fn when_all_gateways_are_down_they_are_tried_as_a_last_resort() {
    let mut world = two(Some(PROBING), SHORT);
    world.cut = vec![CARRIER, BACKUP];
    world.run_for(40_000);
    assert_eq!(states(&world).0, TrunkState::Down);
    // OPTIONS was not answered; INVITE is.
    world.cut = vec![];
    assert_eq!(call(&mut world), answered_at(CARRIER, 1));
}

#[test]
fn calls_find_out_about_gateways_that_are_not_probed() {
    let mut world = two(None, SHORT);
    world.cut = vec![CARRIER];
    for _ in 0..3 {
        assert_eq!(call(&mut world), answered_at(BACKUP, 2));
    }
    assert_eq!(
        states(&world),
        (TrunkState::Unmonitored, vec![GatewayState::Down, GatewayState::Unmonitored])
    );
    assert_eq!(call(&mut world), answered_at(BACKUP, 1), "three in a row are enough");
    assert!(world.node_events.is_empty(), "the trunk can be used");
    // It rests for half a minute, give or take a tenth; then one call finds out.
    world.run_for(33_000);
    assert_eq!(call(&mut world), answered_at(BACKUP, 2));
    assert_eq!(call(&mut world), answered_at(BACKUP, 1));
    world.cut = vec![];
    world.run_for(33_000);
    assert_eq!(call(&mut world), answered_at(CARRIER, 1));
}

#[test]
fn a_gateway_that_asks_to_be_left_alone_is() {
    let mut world = two(None, &[(0, RejectFor(503, 20))]);
    assert_eq!(call(&mut world), answered_at(BACKUP, 2));
    world.carrier.customer("1", SHORT);
    for _ in 0..5 {
        assert_eq!(call(&mut world), answered_at(BACKUP, 1));
    }
    assert_eq!(world.carrier.invites.len(), 1, "not even a try");
    world.run_for(22_000);
    assert_eq!(call(&mut world), answered_at(CARRIER, 1));
}

#[test]
fn a_trunk_whose_only_gateway_asks_to_be_left_alone_rests() {
    let mut world = over(&[CARRIER], None, &[(0, RejectFor(503, 20))]);
    let refused = ("congestion".to_owned(), Some(CARRIER.to_owned()), 1);
    assert_eq!(call(&mut world), refused);
    assert_eq!(call(&mut world), ("congestion".to_owned(), None, 0), "refused at once, without an INVITE");
    let last = world.id("c1");
    assert_eq!(
        world.stories[&last].ended.as_ref().unwrap().sip_reason.as_deref(),
        Some("Trunk Asked To Wait")
    );
    assert_eq!(states(&world).0, TrunkState::Down);
    world.run_for(22_000);
    world.carrier.customer("1", SHORT);
    assert_eq!(call(&mut world), answered_at(CARRIER, 1));
    let reason = format!("sip:{CARRIER}: 503, asked to be left alone");
    assert_eq!(world.node_events, [down(&reason), up()]);
}

#[test]
fn what_leads_to_the_next_gateway_takes_this_one_out() {
    for (status, script) in
        [(500, &[(50, Reject(500))]), (502, &[(50, Reject(502))]), (408, &[(50, Reject(408))])]
    {
        let mut world = two(None, script);
        for _ in 0..3 {
            assert_eq!(call(&mut world), answered_at(BACKUP, 2));
        }
        assert_eq!(states(&world).1, [GatewayState::Down, GatewayState::Unmonitored], "{status}");
        assert_eq!(call(&mut world), answered_at(BACKUP, 1), "{status}");
    }
    // What the customer does says nothing against the gateway.
    let mut world = two(None, &[(50, RejectBecause(503, 17))]);
    for _ in 0..5 {
        assert_eq!(call(&mut world), ("busy".to_owned(), Some(CARRIER.to_owned()), 1));
    }
    assert_eq!(states(&world).1[0], GatewayState::Unmonitored);
}

#[test]
fn a_call_that_is_taken_back_says_nothing_against_its_gateway() {
    // The 200 crosses our CANCEL, and no ringing came before it.
    let mut world = over(&[CARRIER], None, &[(50, Answer(Good))]);
    for n in 0..5 {
        let id = format!("c{n}");
        world.originate(&id, json!({"to": "1", "trunk": "two"})).unwrap();
        world.run_for(65);
        let (now, of) = (world.now, world.id(&id));
        world.engine.hangup(now, &of, HangupReason::Normal).unwrap();
        world.run_for(1_000);
        assert_eq!(world.cdr(&id).sip_reason, None);
    }
    assert_eq!((world.carrier.byes, world.carrier.live()), (5, 0));
    assert_eq!(states(&world).1, [GatewayState::Unmonitored]);

    // Nothing was sent: its name is being looked up.
    let mut unresolved = World::with(|config| {
        config.trunks = vec![trunk_over("two", &[CARRIER])];
        config.trunks[0].gateways[0].target.host = PENDING.into();
    });
    for n in 0..5 {
        let id = format!("c{n}");
        unresolved.originate(&id, json!({"to": "1", "trunk": "two", "timeout_s": 1})).unwrap();
        unresolved.run_for(1_000);
        unresolved.check(&id, "initiated\nended no-answer no-answer by engine");
        assert_eq!(unresolved.cdr(&id).sip_reason, None);
    }
    assert_eq!(states(&unresolved).1, [GatewayState::Unmonitored]);
}
