//! Offers and answers in calls that stand: hold, changes of codec, late offers.

use control_api_types::HangupReason;
use engine_core::{Refusal, Route, RouteAction, RouteMatch};
use media_core::{Codec, Direction};
use serde_json::json;
use sip_core::{Endpoint, EndpointConfig, Listener, Transport};

use crate::carrier::{Act::*, Answer, Change, Script};
use crate::world::{ENGINE, World};

/// A call that is answered after 100 ms and does this afterwards.
fn answered(script: Script) -> World {
    let mut world = World::new();
    world.call("a", script, json!({}));
    world.run_for(300);
    world
}

fn hang_up(world: &mut World) {
    let id = world.id("a");
    world.engine.hangup(world.now, &id, HangupReason::Normal).unwrap();
    world.run();
}

#[test]
fn the_api_holds_a_call_and_takes_it_back() {
    let mut world = answered(&[(100, Answer(Answer::Good))]);
    let id = world.id("a");
    for (on, offered, direction) in
        [(true, "offered sendonly", Direction::SendOnly), (false, "offered sendrecv", Direction::SendRecv)]
    {
        world.engine.hold(world.now, &id, on).unwrap();
        assert!(
            matches!(world.engine.hold(world.now, &id, !on), Err(Refusal::WrongState { .. })),
            "under way"
        );
        world.run_for(100);
        assert_eq!(world.carrier.offers.pop().unwrap(), offered);
        assert_eq!(world.media.direction(1), Some(direction));
        world.engine.hold(world.now, &id, on).unwrap();
        world.run_for(100);
        assert!(world.carrier.offers.is_empty(), "there is nothing to change");
    }
    hang_up(&mut world);
    world.check(
        "a",
        "initiated
        answered PCMA
        held by local
        resumed by local
        ended completed answered by api 200",
    );
    assert!(matches!(world.engine.hold(world.now, &id, true), Err(Refusal::NotFound)));
}

#[test]
fn a_hold_that_the_peer_refuses_changes_nothing() {
    let mut world = answered(&[(100, Answer(Answer::Good))]);
    world.carrier.refuses_offers = Some(488);
    let id = world.id("a");
    world.engine.hold(world.now, &id, true).unwrap();
    world.run_for(100);
    assert_eq!(world.media.direction(1), Some(Direction::SendRecv));
    // And it can be tried again.
    world.carrier.refuses_offers = None;
    world.engine.hold(world.now, &id, true).unwrap();
    world.run_for(100);
    assert_eq!(world.media.direction(1), Some(Direction::SendOnly));
    hang_up(&mut world);
    world.check(
        "a",
        "initiated
        answered PCMA
        hold failed 488
        held by local
        ended completed answered by api 200",
    );
}

#[test]
fn the_peer_holds_in_every_way_and_takes_back() {
    const SENDRECV: Change = Change::Direction(Direction::SendRecv);
    for (change, answer, direction) in [
        (Change::Direction(Direction::SendOnly), "200 recvonly", Direction::RecvOnly),
        (Change::Direction(Direction::Inactive), "200 inactive", Direction::Inactive),
        (Change::Zero, "200 recvonly", Direction::RecvOnly),
    ] {
        let mut world = World::new();
        let script: Script = Box::leak(Box::new([
            (100, Answer(Answer::Good)),
            (500, Offer(change)),
            (1000, Offer(SENDRECV)),
            (1500, Hangup),
        ]));
        world.call("a", script, json!({}));
        world.run_for(800);
        assert_eq!(world.media.direction(1), Some(direction), "{change:?}");
        world.run_for(400);
        assert_eq!(world.media.direction(1), Some(Direction::SendRecv), "{change:?}");
        world.run();
        assert_eq!(world.carrier.offers, [answer, "200 sendrecv"], "{change:?}");
        world.check(
            "a",
            "initiated
            answered PCMA
            held by remote
            resumed by remote
            ended completed answered by remote 200",
        );
    }
}

#[test]
fn wideband_is_offered_alone_or_asked_for_in_mid_call() {
    let mut world = World::new();
    let hello = json!({"start": "say", "steps": {"say": {"verb": "play", "prompt": "hello", "next": "stay"},
        "stay": {"verb": "park"}}});
    let script: &[_] = &[(100, Answer(Answer::Good)), (3_000, Hangup)];
    world.call("wide", script, json!({"codecs": ["g722"], "flow": hello}));
    world.run_for(2_000);
    assert_eq!(world.media.remote(1).unwrap().0, Codec::G722);
    world.run();
    world.check(
        "wide",
        "initiated
         answered G722
         step say play
         plays p-1 hello
         played p-1 completed
         step stay park
         ended completed answered by remote 200",
    );

    let mut world =
        answered(&[(100, Answer(Answer::Good)), (500, Offer(Change::Codec(Codec::G722))), (1500, Hangup)]);
    assert_eq!(world.media.remote(1).unwrap().0, Codec::Pcma);
    world.run_for(500);
    assert_eq!(world.media.remote(1).unwrap().0, Codec::G722);
    world.run();
    assert_eq!(world.carrier.offers, ["200 sendrecv"]);
}

#[test]
fn the_peer_changes_the_codec_and_what_cannot_be_understood_changes_nothing() {
    let mut world = answered(&[
        (100, Answer(Answer::Good)),
        (500, Offer(Change::Codec(Codec::Pcmu))),
        (1000, Offer(Change::Garbage)),
        (1500, Offer(Change::Ask)),
        (2000, Hangup),
    ]);
    assert_eq!(world.media.remote(1).unwrap().0, Codec::Pcma);
    world.run_for(500);
    assert_eq!(world.media.remote(1).unwrap().0, Codec::Pcmu);
    world.run();
    assert_eq!(world.carrier.offers, ["200 sendrecv", "488", "200 sendrecv"]);
    assert_eq!(world.cdr("a").disposition, Some(control_api_types::Disposition::Answered));
}

#[test]
fn both_hold_at_once() {
    // The engine's INVITE takes 10 ms each way, as everything.
    let mut world =
        answered(&[(100, Answer(Answer::Good)), (500, Offer(Change::Direction(Direction::SendOnly)))]);
    world.run_for(205);
    let id = world.id("a");
    world.engine.hold(world.now, &id, true).unwrap();
    world.run_for(10_000);
    assert_eq!(world.media.direction(1), Some(Direction::Inactive), "{:?}", world.carrier.offers);
    hang_up(&mut world);
    let told = &world.stories[&id].lines;
    assert!(
        told.contains(&"held by local".to_owned()) && told.contains(&"held by remote".to_owned()),
        "{told:?}"
    );
}

fn late_offer(owes_answers: bool) -> World {
    let route = Route { matches: RouteMatch::default(), action: RouteAction::Flow("menu".into()) };
    let mut world = World::with_routes(vec![route]);
    let flow = json!({"start": "wait", "steps": {"wait": {"verb": "park"}}});
    world.put_flow("menu", flow).unwrap();
    world.carrier.owes_answers = owes_answers;
    world.carrier.call(world.now, ENGINE.parse().unwrap(), "100", Some(vec![]), &[(900, Hangup)]);
    world.run();
    world
}

#[test]
fn a_caller_without_an_offer_is_given_ours() {
    let world = late_offer(false);
    let id = world.stories.keys().next().unwrap().to_string();
    world.check(
        &id,
        "initiated
        ringing 180
        answered PCMA
        step wait park
        ended completed answered by remote 200",
    );
    assert!(world.cdr(&id).media.is_some());
}

#[test]
fn a_caller_who_never_answers_our_offer_is_hung_up() {
    let world = late_offer(true);
    let id = world.stories.keys().next().unwrap().to_string();
    world.check(&id, "initiated\nringing 180\nended failed incompatible by engine 200");
    assert_eq!(world.cdr(&id).answered_at, None);
    assert_eq!((world.carrier.live(), world.media.open_ports()), (0, 0));
}

/// A call through a trunk that leaves the offer to the callee.
fn call_without_offer(script: Script) -> World {
    let mut world = World::with(|config| config.trunks[0].late_offer = true);
    let flow = json!({"start": "ask", "steps": {
        "ask": {"verb": "gather", "max": 1, "on": {"5": "bye"}}, "bye": {"verb": "hangup"}}});
    world.call("a", script, json!({"flow": flow, "early_media": "connect"}));
    world.run();
    let invite = &world.carrier.requests[0];
    assert!(invite.body().is_empty() && invite.content_type().is_none());
    assert_eq!((world.carrier.live(), world.media.open_ports()), (0, 0));
    world
}

#[test]
fn a_trunk_may_leave_the_offer_to_the_callee() {
    // What a provisional response describes that is not reliable is no offer (RFC 3261 section 13.2.1).
    let world =
        call_without_offer(&[(0, Ring), (50, EarlyMedia), (100, Answer(Answer::Good)), (500, Press('5'))]);
    world.check(
        "a",
        "initiated
        ringing 180
        ringing 183
        answered PCMU
        step ask gather
        dtmf 5 100
        gathered ask \"5\" max
        step bye hangup
        ended completed answered by engine 200",
    );
    assert!(world.cdr("a").media.is_some());
}

#[test]
fn a_callee_who_owes_the_offer_or_makes_none_that_can_be_understood_is_hung_up() {
    for answer in [Answer::Missing, Answer::Garbage] {
        let script: Script = Box::leak(Box::new([(100, Answer(answer))]));
        let world = call_without_offer(script);
        world.check("a", "initiated\nended failed incompatible by engine 200");
    }
}

#[test]
fn the_callee_may_offer_before_its_answer_where_that_is_acknowledged() {
    for (early_media, runs) in [("connect", true), ("ignore", false)] {
        let mut world = World::with(|config| config.trunks[0].late_offer = true);
        let address = world.carrier.address;
        let listener = Listener { transport: Transport::Udp, bound: address, advertised: address };
        world.carrier.endpoint = Endpoint::new(EndpointConfig::new(vec![listener]), [3; 32]);
        let script: Script = &[(100, EarlyMedia), (500, Answer(Answer::Good)), (1_000, Hangup)];
        world.call("a", script, json!({"early_media": early_media}));
        world.run_for(300);
        assert_eq!(world.carrier.offers, ["200 sendrecv"], "PRACK has brought the answer");
        assert_eq!(world.media.remote(1).is_some(), runs);
        world.run();
        world.check(
            "a",
            "initiated
            ringing 183
            early-media
            answered PCMU
            ended completed answered by remote 200",
        );
    }
}
