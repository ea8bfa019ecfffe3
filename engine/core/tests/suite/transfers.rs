//! Calls that are handed over by REFER.

use control_api_types::{Fault, HangupReason, Transfer};
use engine_core::{NumberFormat, Refusal, Route, RouteAction, RouteMatch};
use serde_json::{Value, json};

use crate::carrier::{Act::*, Answer::*, Script, Transfers};
use crate::world::{ENGINE, World};

const ANSWERED: Script = &[(100, Answer(Good))];

/// A call `a` that is answered.
fn answered(transfers: Transfers) -> World {
    let mut world = World::with(|config| {
        config.trunks[0].number_format = NumberFormat { strip: "+".into(), ..NumberFormat::default() };
    });
    world.carrier.transfers = transfers;
    world.call("a", ANSWERED, json!({}));
    world.run_for(300);
    world
}

impl World {
    fn transfer(&mut self, id: &str, body: Value) -> Result<(), Refusal> {
        let transfer = Transfer::from_json(&body).unwrap();
        let id = self.id(id);
        let result = self.engine.transfer(self.now, &id, &transfer);
        self.pump();
        result
    }

    #[track_caller]
    fn refuses_transfer(&mut self, id: &str, body: Value, expected: &str) {
        let refusal = self.transfer(id, body).unwrap_err();
        if let Refusal::WrongState { need, .. } = refusal {
            return assert_eq!(need, expected);
        }
        let fault = Fault { pointer: "/to".into(), detail: expected.into() };
        assert_eq!(refusal, Refusal::Validation(vec![fault]));
    }
}

fn hang_up(world: &mut World, id: &str) {
    let id = world.id(id);
    world.engine.hangup(world.now, &id, HangupReason::Normal).unwrap();
}

#[test]
fn the_call_ends_when_the_customer_has_reached_the_other() {
    let mut world = answered(Transfers::Taken(&[(500, 180), (600, 180), (2000, 200)]));
    world.transfer("a", json!({"to": "+62815"})).unwrap();
    world.run();
    assert_eq!(world.carrier.referred[0].to_string(), "<sip:62815@192.0.2.2:5060>");
    // What is said twice is told once.
    world.check(
        "a",
        "initiated
        answered PCMA
        transfer 100
        transfer 180
        transfer 200
        ended completed answered by api 200",
    );
    assert_eq!((world.carrier.live(), world.media.open_ports()), (0, 0));
}

#[test]
fn the_call_goes_on_when_it_is_declined_fails_or_nothing_comes_of_it() {
    for (transfers, told) in [
        (Transfers::Refused(603), "transfer 603"),
        (Transfers::Refused(405), "transfer 405"),
        (Transfers::Taken(&[(500, 486)]), "transfer 100\ntransfer 486"),
        (Transfers::Ignored, "transfer 408"),
        // The subscription is over after ten minutes.
        (Transfers::Taken(&[(500, 183)]), "transfer 100\ntransfer 183\ntransfer 408"),
    ] {
        let mut world = answered(transfers);
        let flow = "initiated\nanswered PCMA";
        world.transfer("a", json!({"to": "sip:bob@192.0.2.9"})).unwrap();
        world.run_for(700_000);
        assert!(world.engine.calls().next().is_some(), "{transfers:?}");
        assert_eq!(world.carrier.referred[0].to_string(), "<sip:bob@192.0.2.9>");
        // And it may be tried again.
        world.carrier.transfers = Transfers::Taken(&[(300, 200)]);
        world.transfer("a", json!({"to": "sip:carol@192.0.2.9"})).unwrap();
        world.run();
        let end = "transfer 100\ntransfer 200\nended completed answered by api 200";
        world.check("a", &format!("{flow}\n{told}\n{end}"));
    }
}

#[test]
fn a_customer_who_hangs_up_in_the_middle_ends_it() {
    let mut world = World::new();
    world.carrier.transfers = Transfers::Taken(&[(500, 180), (5000, 200)]);
    world.call("a", &[(100, Answer(Good)), (2000, Hangup)], json!({}));
    world.run_for(300);
    world.transfer("a", json!({"to": "sip:bob@192.0.2.9", "mode": "blind"})).unwrap();
    world.run();
    world.check(
        "a",
        "initiated
        answered PCMA
        transfer 100
        transfer 180
        ended completed answered by remote 200",
    );
}

#[test]
fn one_transfer_at_a_time_of_an_answered_call_to_somebody() {
    let mut world = answered(Transfers::Taken(&[]));
    world.call("b", &[(0, Ring)], json!({}));
    world.run_for(100);
    let nowhere = "there is no live call \"c\"";
    for (id, body, expected) in [
        ("b", json!({"to": "1"}), "only an answered call can be transferred"),
        ("a", json!({"to": "c", "mode": "attended"}), nowhere),
        ("a", json!({"to": "a", "mode": "attended"}), "a call cannot be handed over to itself"),
        ("a", json!({"to": "b", "mode": "attended"}), "the call to hand over to must be answered"),
        ("a", json!({"to": "sip:@"}), "\"sip:@\" is no SIP URI (RFC 3261 section 19.1)"),
    ] {
        world.refuses_transfer(id, body, expected);
    }
    assert!(world.carrier.referred.is_empty());
    world.transfer("a", json!({"to": "1"})).unwrap();
    world.refuses_transfer("a", json!({"to": "1"}), "a transfer of it is under way");
    world.run_for(1000);
    world.refuses_transfer("a", json!({"to": "1"}), "a transfer of it is under way");
    hang_up(&mut world, "b");
    hang_up(&mut world, "a");
    world.run();
    assert_eq!(world.transfer("a", json!({"to": "1"})), Err(Refusal::NotFound));
}

#[test]
fn a_number_that_the_trunk_does_not_dial_is_no_target() {
    let mut world = World::with(|config| {
        let deny = vec!["0900*".into()];
        config.trunks[0].number_format = NumberFormat { deny, ..NumberFormat::default() };
    });
    world.call("a", ANSWERED, json!({}));
    world.run_for(300);
    for to in ["0900123", "sip:0900123@192.0.2.2", "sip:%30900-123@192.0.2.2"] {
        let number = world.transfer("a", json!({"to": to}));
        assert!(matches!(number, Err(Refusal::Validation(_))), "{to}: {number:?}");
    }
    hang_up(&mut world, "a");
    world.run();
}

#[test]
fn a_caller_is_transferred_once_he_has_acknowledged_our_answer() {
    let route = Route { matches: RouteMatch::default(), action: RouteAction::Flow("wait".into()) };
    let mut world = World::with_routes(vec![route]);
    world.put_flow("wait", json!({"start": "wait", "steps": {"wait": {"verb": "park"}}})).unwrap();
    world.carrier.transfers = Transfers::Taken(&[(100, 200)]);
    world.carrier.call(world.now, ENGINE.parse().unwrap(), "100", None, &[]);
    world.run_for(25);
    let id = world.stories.keys().next().unwrap().to_string();
    world.refuses_transfer(&id, json!({"to": "1"}), "the far side takes no requests just now");
    world.run_for(100);
    world.transfer(&id, json!({"to": "1"})).unwrap();
    world.run();
    assert_eq!(world.carrier.referred[0].to_string(), "<sip:1@192.0.2.2:5060>");
    assert_eq!(world.cdr(&id).disposition, Some(control_api_types::Disposition::Answered));
}

#[test]
fn an_attended_transfer_names_the_dialog_to_replace() {
    let mut world = answered(Transfers::Taken(&[(500, 200)]));
    // Who is replaced hangs up (RFC 3891 section 3).
    world.call("b", &[(100, Answer(Good)), (1000, Hangup)], json!({}));
    world.run_for(300);
    world.transfer("a", json!({"to": "b", "mode": "attended"})).unwrap();
    world.run();
    let to = &world.carrier.referred[0];
    let replaces = to.replaces.as_ref().unwrap();
    let invite = world.carrier.requests.last().unwrap();
    assert_eq!(Some(&replaces.call_id), invite.call_id().ok().as_ref());
    assert_eq!(Some(&*replaces.from_tag), invite.from_tag().as_deref());
    assert!(!replaces.to_tag.is_empty() && !replaces.early_only);
    assert_eq!(to.address.uri().host().unwrap().to_string(), "192.0.2.2");
    world.check(
        "a",
        "initiated
        answered PCMA
        transfer 100
        transfer 200
        ended completed answered by api 200",
    );
    world.check("b", "initiated\nanswered PCMA\nended completed answered by remote 200");
}

/// A flow that transfers its call, and tells how that came out.
fn transferring(to: &str) -> Value {
    let told = |outcome: &str| json!({"verb": "notify", "data": outcome, "next": "bye"});
    json!({"flow": {"start": "hand", "steps": {
        "hand": {"verb": "transfer", "to": to, "on": {"ok": "ok", "failed": "failed"}},
        "ok": told("ok"), "failed": told("failed"), "bye": {"verb": "hangup"},
    }}, "variables": {"who": "62815"}})
}

#[test]
fn a_flow_transfers_its_call_and_goes_on_by_what_came_of_it() {
    for (transfers, told, outcome) in [
        (Transfers::Taken(&[(500, 180), (2000, 200)]), "transfer 100\ntransfer 180\ntransfer 200", "ok"),
        (Transfers::Taken(&[(500, 486)]), "transfer 100\ntransfer 486", "failed"),
        (Transfers::Refused(603), "transfer 603", "failed"),
        (Transfers::Ignored, "transfer 408", "failed"),
    ] {
        let mut world = World::new();
        world.carrier.transfers = transfers;
        world.call("a", ANSWERED, transferring("{who}"));
        world.run();
        assert_eq!(world.carrier.referred[0].to_string(), "<sip:62815@192.0.2.2:5060>");
        let end = format!("step {outcome} notify\nnotify {outcome:?}\nstep bye hangup");
        world.check(
            "a",
            &format!(
                "initiated\nanswered PCMA\nstep hand transfer\n{told}\n{end}
                ended completed answered by engine 200"
            ),
        );
    }
}

#[test]
fn a_flow_is_told_when_nobody_can_be_asked_for_it() {
    let mut world = World::with(|config| {
        let deny = vec!["0900*".into()];
        config.trunks[0].number_format = NumberFormat { deny, ..NumberFormat::default() };
    });
    world.call("a", ANSWERED, transferring("0900123"));
    world.call("b", ANSWERED, transferring("{unset}"));
    world.run();
    assert!(world.carrier.referred.is_empty());
    let end =
        "step failed notify\nnotify \"failed\"\nstep bye hangup\nended completed answered by engine 200";
    for (id, why) in [
        ("a", "0900123: \"0900123\" matches a pattern of the trunk's number_format.deny"),
        ("b", ": must be 1 to 256 bytes long, not 0"),
    ] {
        world.check(
            id,
            &format!("initiated\nanswered PCMA\nstep hand transfer\nfailed hand transfer {why}\n{end}"),
        );
    }
}
