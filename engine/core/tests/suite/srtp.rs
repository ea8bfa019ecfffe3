//! Calls with encrypted media, and those that are refused for want of it.

use control_api_types::{HangupReason, Srtp};
use engine_core::{Route, RouteAction, RouteMatch};
use media_core::Direction;
use media_core::sdp::{LocalSrtp, SrtpPolicy};
use serde_json::json;

use crate::carrier::{Act::*, Answer, Change, Script};
use crate::world::{ENGINE, World};

const GOOD: Script = &[(100, Answer(Answer::Good))];

/// A world whose trunks are so, and customers so.
fn world(trunks: Srtp, customers: Option<SrtpPolicy>) -> World {
    let mut world = World::with(|config| {
        config.trunks.iter_mut().for_each(|trunk| trunk.srtp = trunks);
        let matches = RouteMatch { called: Some("200".into()), ..RouteMatch::default() };
        config.routes = vec![Route { matches, action: RouteAction::Park }];
    });
    world.carrier.srtp = customers.map(|policy| {
        let mut n = 0xC0;
        LocalSrtp::new(policy, |octets| {
            n += 1;
            octets.fill(n);
        })
    });
    world
}

/// Calls a customer and returns the suite, by the engine's media and its call.
fn outbound(world: &mut World, script: Script) -> Option<String> {
    world.call("a", script, json!({}));
    world.run_for(300);
    let suite = world.media.srtp(1).map(|keys| keys.suite().name().to_owned());
    assert_eq!(world.engine.call(&world.id("a")).unwrap().srtp, suite);
    let id = world.id("a");
    world.engine.hangup(world.now, &id, HangupReason::Normal).unwrap();
    world.run();
    assert_eq!(world.cdr("a").srtp, suite);
    suite
}

#[test]
fn calls_to_a_trunk_are_encrypted_where_both_can() {
    use SrtpPolicy::{Optional, Required};
    for (trunks, profile) in [(Srtp::Optional, "RTP/AVP"), (Srtp::Required, "RTP/SAVP")] {
        for customers in [Optional, Required] {
            let mut world = world(trunks, Some(customers));
            assert_eq!(outbound(&mut world, GOOD).as_deref(), Some("AEAD_AES_256_GCM"));
            let offer = String::from_utf8_lossy(world.carrier.requests[0].body()).into_owned();
            assert!(offer.contains(&format!(" {profile} ")) && offer.contains("\r\na=crypto:4 "), "{offer}");
        }
    }
    assert_eq!(outbound(&mut world(Srtp::Optional, None), GOOD), None);
    assert_eq!(outbound(&mut world(Srtp::Off, Some(Optional)), GOOD), None);
}

#[test]
fn who_refuses_srtp_beside_plain_rtp_is_called_again_with_srtp_alone() {
    for status in [488, 606] {
        let mut world = world(Srtp::Optional, Some(SrtpPolicy::Required));
        world.carrier.insists = Some(status);
        world.call("a", GOOD, json!({}));
        world.run_for(500);
        let keys = world.media.srtp(1).unwrap();
        let id = world.id("a");
        // What is offered later is SRTP alone as well, under the same keys.
        world.engine.hold(world.now, &id, true).unwrap();
        world.run_for(500);
        assert_eq!(world.media.srtp(1), Some(keys));
        let call = world.engine.call(&id).unwrap();
        assert_eq!((call.attempts, call.sip_status), (2, Some(200)));
        world.engine.hangup(world.now, &id, HangupReason::Normal).unwrap();
        world.run();
    }
}

#[test]
fn a_refusal_that_is_not_about_srtp_is_told_after_one_more_try() {
    for (trunks, attempts) in [(Srtp::Off, 1), (Srtp::Optional, 2), (Srtp::Required, 1)] {
        let mut world = world(trunks, None);
        world.call("a", &[(100, Reject(488))], json!({}));
        world.run();
        let cdr = world.cdr("a");
        let disposition = cdr.disposition.map(|disposition| disposition.as_str());
        assert_eq!((cdr.attempts, cdr.sip_status, disposition), (attempts, Some(488), Some("incompatible")));
    }
}

#[test]
fn who_asks_for_an_offer_gets_new_keys() {
    let mut world = world(Srtp::Optional, Some(SrtpPolicy::Optional));
    world.call("a", &[(100, Answer(Answer::Good)), (1000, Offer(Change::Ask))], json!({}));
    world.run_for(500);
    let first = world.media.srtp(1).unwrap();
    world.run_for(1000);
    assert_ne!(world.media.srtp(1).unwrap().send, first.send);
}

#[test]
fn every_call_has_keys_of_its_own() {
    let mut world = world(Srtp::Required, Some(SrtpPolicy::Required));
    for id in ["a", "b"] {
        world.call(id, GOOD, json!({}));
    }
    world.run_for(300);
    let [a, b] = [1, 2].map(|leg| world.media.srtp(leg).unwrap().send);
    assert_ne!(a, b);
}

#[test]
fn a_plain_answer_ends_a_call_that_must_be_encrypted() {
    let mut world = world(Srtp::Required, Some(SrtpPolicy::Required));
    world.call("a", &[(100, Answer(Answer::Plain))], json!({}));
    world.run_for(300);
    assert!(world.media.srtp(1).is_none(), "nothing is sent in the clear");
    world.run();
    let cdr = world.cdr("a");
    assert_eq!(cdr.sip_reason.as_deref(), Some("the peer has no SRTP, and srtp is required here"));
    assert_eq!(world.carrier.byes, 1);
}

#[test]
fn an_inbound_call_is_answered_as_its_trunk_says_or_refused_with_488() {
    use SrtpPolicy::{Optional, Required};
    for (trunks, customers, outcome, secure) in [
        (Srtp::Off, None, 200, false),
        (Srtp::Off, Some(Optional), 200, false),
        (Srtp::Off, Some(Required), 488, false),
        (Srtp::Optional, None, 200, false),
        (Srtp::Optional, Some(Optional), 200, true),
        (Srtp::Optional, Some(Required), 200, true),
        (Srtp::Required, None, 488, false),
        (Srtp::Required, Some(Optional), 200, true),
        (Srtp::Required, Some(Required), 200, true),
    ] {
        let mut world = world(trunks, customers);
        let session = world.carrier.call(world.now, ENGINE.parse().unwrap(), "200", None, &[(2000, Hangup)]);
        world.run_for(50);
        let id = world.stories.keys().next().unwrap().clone();
        let answered = world.engine.answer(world.now, &id.to_string().parse().unwrap());
        assert_eq!(answered.is_ok(), outcome == 200, "what cannot be answered is refused at once");
        world.run_for(500);
        assert_eq!(world.media.srtp(1).is_some(), secure, "{trunks:?} {customers:?}");
        assert_eq!(world.carrier.outcomes[&session], outcome, "{trunks:?} {customers:?}");
        world.run();
    }
}

#[test]
fn hold_keeps_the_keys_and_a_new_key_of_the_peers_is_answered_with_a_new_one() {
    let mut world = world(Srtp::Optional, Some(SrtpPolicy::Optional));
    world.call(
        "a",
        &[
            (100, Answer(Answer::Good)),
            (1000, Offer(Change::Direction(Direction::SendOnly))),
            (2000, Offer(Change::Rekey(9))),
            (3000, Offer(Change::Direction(Direction::SendRecv))),
        ],
        json!({}),
    );
    world.run_for(500);
    let first = world.media.srtp(1).unwrap();
    let id = world.id("a");
    world.engine.hold(world.now, &id, true).unwrap();
    world.run_for(1000);
    assert_eq!(world.media.srtp(1), Some(first.clone()), "held by either side");
    world.run_for(1000);
    let second = world.media.srtp(1).unwrap();
    assert!(second.receive != first.receive && second.send != first.send);
    world.run_for(1000);
    assert_eq!(world.media.srtp(1), Some(second));
    assert_eq!(world.carrier.offers.len(), 4, "{:?}", world.carrier.offers);
}
