//! Calls whose peer is replaced by another (RFC 3891).

use engine_core::{Route, RouteAction, RouteMatch};
use media_core::Direction;
use serde_json::json;
use sip_core::{Replaces, SessionId};

use crate::carrier::{Act::*, Answer::*, Change, Script, Transfers};
use crate::world::{BACKUP, DELAY, ENGINE, World, trunk};

/// Whose calls the engine takes from nobody: only those that replace others come through.
fn world() -> World {
    World::with(|config| config.trunks.push(trunk("other", BACKUP)))
}

/// A call `a` that is answered and stands at a gather, and who has it.
fn answered(world: &mut World) -> SessionId {
    let flow = json!({"start": "ask", "steps": {
        "ask": {"verb": "gather", "max": 1, "timeout_ms": 600_000, "on": {"5": "bye"}},
        "bye": {"verb": "hangup"},
    }});
    world.call("a", &[(100, Answer(Good))], json!({"flow": flow}));
    world.run_for(300);
    world.carrier.session()
}

/// Somebody at the carrier calls the engine to take a place; how that came out.
fn takes(world: &mut World, place: Option<Replaces>, body: Option<Vec<u8>>, script: Script) -> Option<u16> {
    assert!(place.is_some());
    world.carrier.replaces = place;
    let session = world.carrier.call(world.now, ENGINE.parse().unwrap(), "100", body, script);
    world.run_for(100);
    world.carrier.outcomes.get(&session).copied()
}

#[test]
fn the_call_goes_on_with_who_takes_the_place_of_its_peer() {
    let mut world = world();
    let old = answered(&mut world);
    let place = world.carrier.place_of(old);
    let before = world.media.remote(1).unwrap();
    assert_eq!(takes(&mut world, place, None, &[(500, Press('5'))]), Some(200));
    assert_eq!(world.carrier.byes, 1, "the one before is hung up");
    assert_ne!(world.media.remote(1).unwrap().1, before.1, "media goes to the new one");
    let call = world.engine.call(&world.id("a")).unwrap();
    assert_eq!(call.sip_call_id.as_ref(), world.dialogs[&world.id("a")].last());
    world.run();
    world.check(
        "a",
        "initiated
        answered PCMA
        step ask gather
        dtmf 5 100
        gathered ask \"5\" max
        step bye hangup
        ended completed answered by engine 200",
    );
    assert_eq!((world.stories.len(), world.dialogs[&world.id("a")].len()), (1, 2));
    assert_eq!((world.carrier.live(), world.media.open_ports()), (0, 0));
}

#[test]
fn who_takes_a_place_without_an_offer_answers_ours() {
    for owes_answer in [false, true] {
        let mut world = world();
        let old = answered(&mut world);
        let place = world.carrier.place_of(old);
        let before = world.media.remote(1).unwrap();
        world.carrier.owes_answers = owes_answer;
        takes(&mut world, place, Some(vec![]), &[(2_000, Hangup)]);
        if !owes_answer {
            assert_ne!(world.media.remote(1).unwrap().1, before.1);
        }
        world.run();
        let cdr = world.cdr("a");
        let by = if owes_answer { "engine" } else { "remote" };
        assert_eq!(cdr.ended_by.unwrap().as_str(), by);
        assert_eq!(cdr.disposition, Some(control_api_types::Disposition::Answered));
        assert_eq!(cdr.sip_reason.is_some(), owes_answer, "{:?}", cdr.sip_reason);
        assert_eq!((world.carrier.live(), world.media.open_ports()), (0, 0));
    }
}

#[test]
fn what_was_going_on_with_the_one_before_is_over() {
    let mut world = world();
    world.carrier.transfers = Transfers::Taken(&[]);
    world.call("a", &[(100, Answer(Good)), (300, Offer(Change::Direction(Direction::SendOnly)))], json!({}));
    world.run_for(500);
    let old = world.carrier.session();
    let id = world.id("a");
    let transfer = control_api_types::Transfer::from_json(&json!({"to": "sip:bob@192.0.2.9"})).unwrap();
    world.engine.transfer(world.now, &id, &transfer).unwrap();
    world.run_for(100);
    let place = world.carrier.place_of(old);
    assert_eq!(takes(&mut world, place, None, &[]), Some(200));
    assert_eq!(world.media.direction(1), Some(Direction::SendRecv));
    world.carrier.transfers = Transfers::Taken(&[(100, 200)]);
    world.engine.transfer(world.now, &id, &transfer).unwrap();
    world.run();
    world.check(
        "a",
        "initiated
        answered PCMA
        held by remote
        transfer 100
        resumed by remote
        transfer 100
        transfer 200
        ended completed answered by api 200",
    );
}

#[test]
fn nobody_takes_a_call_of_another_trunk_or_with_an_offer_that_is_none() {
    let mut world = world();
    let old = answered(&mut world);
    let place = world.carrier.place_of(old);
    assert_eq!(takes(&mut world, place.clone(), Some(b"v=0\r\nnonsense".to_vec()), &[]), Some(488));
    // The carrier's other gateway is another trunk's.
    world.backup.replaces = place.clone();
    let session = world.backup.call(world.now, ENGINE.parse().unwrap(), "100", None, &[]);
    world.run_for(100);
    assert_eq!(world.backup.outcomes.get(&session), Some(&403));
    assert_eq!((world.carrier.live(), world.carrier.byes), (1, 0), "the call stands");
    // And who has it may still be replaced.
    assert_eq!(takes(&mut world, place.clone(), None, &[(500, Hangup)]), Some(200));
    assert_eq!(takes(&mut world, place, None, &[]), Some(481), "it is gone");
    world.run();
    assert_eq!(world.cdr("a").ended_by, Some(control_api_types::EndedBy::Remote));
}

#[test]
fn a_stranger_is_told_once_and_takes_nothing() {
    let mut world = world();
    let old = answered(&mut world);
    let mut stranger = crate::carrier::Carrier::new("192.0.2.77:5060".parse().unwrap());
    stranger.replaces = world.carrier.place_of(old);
    let session = stranger.call(world.now, ENGINE.parse().unwrap(), "100", None, &[]);
    world.phones.push(stranger);
    world.run_for(100);
    assert_eq!(world.phones[0].outcomes.get(&session), Some(&403));
    assert_eq!(world.carrier.live(), 1);
    world.run();
}

#[test]
fn a_call_that_rings_is_not_picked_up() {
    let mut world = world();
    world.call("a", &[(0, Ring), (2_000, Answer(Good)), (3_000, Hangup)], json!({}));
    world.run_for(100);
    let invite = &world.carrier.requests[0];
    let place = Replaces {
        call_id: invite.call_id().unwrap(),
        to_tag: invite.from_tag().unwrap(),
        from_tag: world.carrier.ringing[0].clone(),
        early_only: false,
    };
    assert_eq!(takes(&mut world, Some(place), None, &[]), Some(603));
    world.run();
    world.check("a", "initiated\nringing 180\nanswered PCMA\nended completed answered by remote 200");
}

#[test]
fn a_call_whose_end_is_under_way_is_not_taken() {
    let route = Route { matches: RouteMatch::default(), action: RouteAction::Park };
    let mut world = World::with_routes(vec![route]);
    let old = answered(&mut world);
    let place = world.carrier.place_of(old);
    let id = world.id("a");
    // The INVITE and our BYE cross.
    world.carrier.replaces = place;
    let session = world.carrier.call(world.now, ENGINE.parse().unwrap(), "100", None, &[]);
    world.run_for(DELAY.as_millis() as u64 / 2);
    world.engine.hangup(world.now, &id, control_api_types::HangupReason::Normal).unwrap();
    world.run();
    assert_eq!(world.carrier.outcomes.get(&session), Some(&603));
    assert_eq!(world.stories.len(), 1, "no call of its own");
}
