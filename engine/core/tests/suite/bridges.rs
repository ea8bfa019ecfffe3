//! Calls that are bridged: by the API, by flows, and what their ends do to each other.

use control_api_types::{
    Bridge, BridgeCall, CreateBridge, HangupReason, JoinBridge, MuteDirection, Play, Role,
};
use engine_core::Refusal;
use media_core::Direction;
use media_core::dtmf::DialBy;
use serde_json::{Value, json};

use crate::carrier::{Act::*, Answer::*, Change, Script};
use crate::world::World;

const ANSWERED: Script = &[(100, Answer(Good))];

/// Answered calls of these names.
fn answered(calls: &[(&str, Script)]) -> World {
    let mut world = World::new();
    for (id, script) in calls {
        world.call(id, script, json!({}));
    }
    world.run_for(300);
    world
}

fn parked(calls: &[&str]) -> World {
    answered(&calls.iter().map(|id| (*id, ANSWERED)).collect::<Vec<_>>())
}

impl World {
    pub(crate) fn bridge(&mut self, id: &str, body: Value) -> Result<(), Refusal> {
        let id = self.id(id);
        let result = self.engine.bridge(self.now, &id, &BridgeCall::from_json(&body).unwrap());
        self.pump();
        result
    }

    pub(crate) fn create_bridge(&mut self, body: Value) -> Result<Bridge, Refusal> {
        let result = self.engine.create_bridge(self.now, CreateBridge::from_json(&body).unwrap());
        self.pump();
        result
    }

    pub(crate) fn join(&mut self, bridge: &str, body: Value) -> Result<Bridge, Refusal> {
        let result = self.engine.join_bridge(self.now, bridge, JoinBridge::from_json(&body).unwrap());
        self.pump();
        result
    }

    pub(crate) fn leave(&mut self, bridge: &str, call: &str) -> Result<bool, Refusal> {
        let call = self.id(call);
        let result = self.engine.leave_bridge(self.now, bridge, &call);
        self.pump();
        result
    }

    pub(crate) fn hang_up(&mut self, id: &str) {
        let id = self.id(id);
        self.engine.hangup(self.now, &id, HangupReason::Normal).unwrap();
        self.pump();
    }

    /// Who hears whom, in the only bridge there is; legs are numbered in the order of the calls.
    #[track_caller]
    fn hearing(&self) -> Vec<(u64, Vec<u64>)> {
        assert_eq!(self.bridges.len(), 1, "{:?}", self.bridges);
        self.bridges.values().flatten().map(|(leg, heard)| (*leg, heard.clone())).collect()
    }

    fn bridge_of(&self, id: &str) -> Option<String> {
        self.engine.call(&self.id(id)).and_then(|call| call.bridge_id.clone())
    }

    /// All have hung up, and nothing is left.
    #[track_caller]
    fn is_over(&mut self) {
        self.run();
        assert_eq!(self.bridges.len(), 0);
        assert_eq!(self.engine.bridges().count(), 0);
        assert_eq!((self.carrier.live(), self.media.open_ports()), (0, 0));
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, expected: &str) {
    let refusal = result.unwrap_err();
    let told = if let Refusal::WrongState { need, .. } = &refusal {
        (*need).to_owned()
    } else if let Refusal::Validation(faults) = &refusal {
        faults[0].detail.clone()
    } else {
        refusal.to_string()
    };
    assert_eq!(told, expected);
}

#[test]
fn two_hear_each_other_and_the_end_of_one_ends_the_other() {
    let mut world = parked(&["a", "b"]);
    world.bridge("a", json!({"with": "b"})).unwrap();
    assert_eq!(world.hearing(), [(1, vec![2]), (2, vec![1])]);
    assert_eq!(world.bridge_of("a"), world.bridge_of("b"));
    assert!(world.bridge_of("a").is_some());
    world.run_for(1_000);
    world.hang_up("b");
    world.is_over();
    world.check(
        "a",
        "initiated
        answered PCMA
        bridged with b
        unbridged
        ended completed answered by engine 200",
    );
    world.check(
        "b",
        "initiated
        answered PCMA
        bridged with a
        unbridged
        ended completed answered by api 200",
    );
    assert_eq!(world.cdr("a").cause_call_id, Some(world.id("b")));
    assert_eq!(world.cdr("b").cause_call_id, None);
}

#[test]
fn a_remote_end_and_what_on_end_says() {
    for (on_end, rest) in [
        ("hangup", "unbridged\nended completed answered by engine 200"),
        ("continue", "unbridged\nplays p-1 hello\nplayed p-1 completed\nended completed answered by api 200"),
        ("park", "unbridged\nplays p-1 hello\nplayed p-1 completed\nended completed answered by api 200"),
    ] {
        let mut world = answered(&[("a", ANSWERED), ("b", &[(100, Answer(Good)), (2_000, Hangup)])]);
        world.bridge("a", json!({"with": "b", "on_end": on_end})).unwrap();
        world.run_for(4_000);
        if on_end != "hangup" {
            assert_eq!(world.bridge_of("a"), None);
            let id = world.id("a");
            world.engine.play(world.now, &id, Play::once("hello")).unwrap();
            world.run_for(2_000);
            world.hang_up("a");
        }
        world.is_over();
        world.check("a", &format!("initiated\nanswered PCMA\nbridged with b\n{rest}"));
        let story =
            "initiated\nanswered PCMA\nbridged with a\nunbridged\nended completed answered by remote 200";
        world.check("b", story);
    }
}

#[test]
fn both_hang_up_at_once() {
    let script: Script = &[(100, Answer(Good)), (1_000, Hangup)];
    let mut world = answered(&[("a", script), ("b", script)]);
    world.bridge("a", json!({"with": "b"})).unwrap();
    world.is_over();
    for id in ["a", "b"] {
        let cdr = world.cdr(id);
        assert_eq!(cdr.disposition, Some(control_api_types::Disposition::Answered), "{id}");
        assert!(cdr.bridge_id.is_some(), "{id}: the CDR names the bridge it ended in");
    }
    world.hang_up_ended("a");
}

impl World {
    fn hang_up_ended(&mut self, id: &str) {
        let id = self.id(id);
        assert_eq!(self.engine.hangup(self.now, &id, HangupReason::Normal), Err(Refusal::NotFound));
    }
}

#[test]
fn who_ends_or_waits_for_something_is_not_bridged() {
    let mut world = parked(&["a", "b", "c", "d"]);
    world.call("ringing", &[(0, Ring)], json!({}));
    let busy =
        json!({"flow": {"start": "a", "steps": {"a": {"verb": "gather", "max": 1, "timeout_ms": 60_000}}}});
    world.call("busy", ANSWERED, busy);
    world.run_for(300);
    refused(world.bridge("a", json!({"with": "nobody"})), "there is no live call nobody");
    refused(world.bridge("nobody", json!({"with": "a"})), "not found");
    refused(world.bridge("a", json!({"with": "a"})), "a call cannot be bridged with itself");
    refused(world.bridge("a", json!({"with": "ringing"})), "only an answered call can be bridged");
    let need = "its flow is busy; a call is bridged when it is parked or waits in a queue";
    refused(world.bridge("busy", json!({"with": "a"})), need);
    world.bridge("a", json!({"with": "b"})).unwrap();
    let need = "it is in a bridge already; take it out first";
    refused(world.bridge("a", json!({"with": "c"})), need);
    refused(world.bridge("c", json!({"with": "b"})), need);
    refused(world.create_bridge(json!({"calls": ["c", "a"]})), need);
    let named = world.bridge("c", json!({"with": "b"})).unwrap_err().to_string();
    assert_eq!(named, format!("the call b is in-progress: {need}"));
    // One that has hung up, and whose media has not told its end.
    world.media.tells_end = false;
    world.hang_up("c");
    assert!(world.engine.call(&world.id("c")).is_some());
    refused(world.bridge("d", json!({"with": "c"})), "only an answered call can be bridged");
    world.media.tells_end = true;
    for id in ["a", "d", "ringing", "busy"] {
        world.hang_up(id);
    }
    world.is_over();
}

#[test]
fn a_third_joins_and_leaves_and_the_bridge_is_deleted() {
    let mut world = parked(&["a", "b", "c"]);
    let made = world.create_bridge(json!({"id": "room", "calls": ["a", "b"]})).unwrap();
    assert_eq!((made.id.as_str(), made.calls.len()), ("room", 2));
    // The same again is the same; another is not.
    assert_eq!(world.create_bridge(json!({"id": "room", "calls": ["a", "b"]})).unwrap(), made);
    assert_eq!(world.create_bridge(json!({"id": "room"})), Err(Refusal::Conflict));
    world.join("room", json!({"call_id": "c", "on_end": "park"})).unwrap();
    assert_eq!(world.hearing(), [(1, vec![2, 3]), (2, vec![1, 3]), (3, vec![1, 2])]);
    assert_eq!(world.leave("room", "a"), Ok(true));
    assert_eq!(world.leave("room", "a"), Ok(false));
    assert_eq!(world.hearing(), [(2, vec![3]), (3, vec![2])]);
    assert_eq!(world.bridge_of("a"), None, "it is on its own, and not hung up");
    assert!(world.engine.delete_bridge(world.now, "room"));
    assert!(!world.engine.delete_bridge(world.now, "room"));
    world.run_for(1_000);
    assert_eq!(world.join("room", json!({"call_id": "a"})), Err(Refusal::NotFound));
    assert_eq!(world.leave("room", "a"), Err(Refusal::NotFound));
    world.hang_up("a");
    world.hang_up("c");
    world.is_over();
    world.check(
        "b",
        "initiated
        answered PCMA
        bridged with a
        unbridged
        ended completed answered by api 200",
    );
    assert_eq!(world.cdr("b").cause_call_id, None);
    world.check(
        "c",
        "initiated
        answered PCMA
        bridged with a b
        unbridged
        ended completed answered by api 200",
    );
}

#[test]
fn whoever_comes_first_hears_music_until_the_second_comes() {
    let mut world = parked(&["a", "b", "c"]);
    refused(
        world.create_bridge(json!({"calls": ["x"], "hold_music": "none"})),
        "there is no prompt \"none\"",
    );
    world.create_bridge(json!({"id": "room", "hold_music": "music"})).unwrap();
    world.join("room", json!({"call_id": "a"})).unwrap();
    // Who only listens is no company.
    world.join("room", json!({"call_id": "c", "role": "listen"})).unwrap();
    world.run_for(12_000);
    assert_eq!(world.bridges.len(), 0);
    world.join("room", json!({"call_id": "b"})).unwrap();
    assert_eq!(world.hearing(), [(1, vec![2]), (2, vec![1]), (3, vec![1, 2])]);
    world.run_for(100);
    world.hang_up("a");
    world.is_over();
    world.check(
        "a",
        "initiated
        answered PCMA
        plays p-1 music
        bridged with c b
        played p-1 stopped
        unbridged
        ended completed answered by api 200",
    );
    assert_eq!(world.cdr("c").cause_call_id, Some(world.id("a")));
}

#[test]
fn a_supervisor_listens_whispers_and_barges() {
    let mut world = parked(&["a", "b", "s"]);
    world.create_bridge(json!({"id": "room", "calls": ["a", "b"]})).unwrap();
    world.join("room", json!({"call_id": "s", "role": "listen"})).unwrap();
    assert_eq!(world.hearing(), [(1, vec![2]), (2, vec![1]), (3, vec![1, 2])]);
    let whisper = json!({"call_id": "s", "role": "whisper", "whisper_to": ["b"]});
    let shown = world.join("room", whisper).unwrap();
    assert_eq!(shown.calls.len(), 3);
    assert_eq!(world.hearing(), [(1, vec![2]), (2, vec![1, 3]), (3, vec![1, 2])]);
    world.join("room", json!({"call_id": "s", "role": "barge"})).unwrap();
    assert_eq!(world.hearing(), [(1, vec![2, 3]), (2, vec![1, 3]), (3, vec![1, 2])]);
    // A listener who goes changes nothing for the others; two listeners do not make a conversation.
    world.join("room", json!({"call_id": "s", "role": "listen", "on_end": "park"})).unwrap();
    world.join("room", json!({"call_id": "s", "role": "listen", "on_end": "park"})).unwrap();
    world.hang_up("b");
    world.run_for(1_000);
    assert_eq!(world.bridges.len(), 0);
    assert!(world.engine.call(&world.id("s")).is_some_and(|call| call.bridge_id.is_none()));
    world.hang_up("s");
    world.is_over();
    world.check(
        "s",
        "initiated
        answered PCMA
        bridged with a b
        role whisper hangup b
        role barge hangup
        role listen park
        unbridged
        ended completed answered by api 200",
    );
    assert_eq!(world.cdr("a").cause_call_id, Some(world.id("b")));
}

#[test]
fn a_whisper_is_for_members_who_are_named_where_no_agent_talks() {
    let mut world = parked(&["a", "b", "s", "x"]);
    world.create_bridge(json!({"id": "room", "calls": ["a", "b"]})).unwrap();
    let whisper = |to: Value| json!({"call_id": "s", "role": "whisper", "whisper_to": to});
    let need = "name the calls that are to hear it: no call of an endpoint talks in this bridge";
    refused(world.join("room", whisper(json!([]))), need);
    let need = "x is not another call of this bridge";
    refused(world.join("room", whisper(json!(["b", "x"]))), need);
    refused(world.join("room", whisper(json!(["s"]))), "s is not another call of this bridge");
    assert_eq!(world.bridge_of("s"), None);
    let shown = world.join("room", whisper(json!(["b"]))).unwrap();
    assert_eq!(shown.calls[2].whisper_to, [world.id("b")]);
    for id in ["a", "x"] {
        world.hang_up(id);
    }
    world.is_over();
}

#[test]
fn a_change_that_ends_the_bridge_is_answered_with_the_change() {
    let mut world = parked(&["a", "b"]);
    world.create_bridge(json!({"id": "room", "calls": ["a", "b"]})).unwrap();
    let shown = world.join("room", json!({"call_id": "b", "role": "listen", "on_end": "park"})).unwrap();
    assert_eq!((shown.calls.len(), shown.calls[1].role), (2, Role::Listen));
    assert_eq!(world.engine.bridge_by_id("room"), None);
    world.hang_up("b");
    world.is_over();
}

#[test]
fn mute_and_hold_are_heard_in_the_bridge() {
    let mut world = parked(&["a", "b"]);
    world.create_bridge(json!({"calls": ["a", "b"], "hold_music": "music"})).unwrap();
    let a = world.id("a");
    world.engine.mute(world.now, &a, MuteDirection::In, true).unwrap();
    world.pump();
    assert_eq!(world.hearing(), [(1, vec![2]), (2, vec![])]);
    let shown = |world: &World| world.engine.call(&world.id("a")).map(|call| (call.muted, call.held));
    assert_eq!(shown(&world), Some((Some(MuteDirection::In), false)));
    world.engine.mute(world.now, &a, MuteDirection::In, true).unwrap();
    world.engine.mute(world.now, &a, MuteDirection::Both, true).unwrap();
    world.pump();
    assert_eq!(world.hearing(), [(1, vec![]), (2, vec![])]);
    world.engine.mute(world.now, &a, MuteDirection::Both, false).unwrap();
    world.pump();
    assert_eq!(world.hearing(), [(1, vec![2]), (2, vec![1])]);
    world.engine.hold(world.now, &a, true).unwrap();
    world.run_for(500);
    assert_eq!(world.hearing(), [(1, vec![]), (2, vec![])], "it hears music instead");
    assert_eq!(shown(&world), Some((None, true)));
    world.engine.hold(world.now, &a, false).unwrap();
    world.run_for(500);
    assert_eq!(world.hearing(), [(1, vec![2]), (2, vec![1])]);
    world.hang_up("a");
    world.is_over();
    world.check(
        "a",
        "initiated
        answered PCMA
        bridged with b
        muted in
        muted both
        unmuted
        held by local
        plays p-1 music
        resumed by local
        played p-1 stopped
        unbridged
        ended completed answered by api 200",
    );
    // There is nobody for it to hear meanwhile.
    world.check(
        "b",
        "initiated
        answered PCMA
        bridged with a
        plays p-1 music
        played p-1 stopped
        unbridged
        ended completed answered by engine 200",
    );
    let id = world.id("a");
    assert_eq!(world.engine.mute(world.now, &id, MuteDirection::In, true), Err(Refusal::NotFound));
}

#[test]
fn who_is_held_by_the_other_phone_hears_music() {
    let script: Script = &[
        (100, Answer(Good)),
        (1_000, Offer(Change::Direction(Direction::SendOnly))),
        (2_000, Offer(Change::Direction(Direction::SendRecv))),
    ];
    let mut world = answered(&[("a", ANSWERED), ("b", script), ("c", ANSWERED)]);
    world.create_bridge(json!({"id": "x", "calls": ["a", "b"], "hold_music": "music"})).unwrap();
    world.run_for(2_500);
    world.hang_up("c");
    world.hang_up("a");
    world.is_over();
    world.check(
        "a",
        "initiated
        answered PCMA
        bridged with b
        plays p-1 music
        played p-1 stopped
        unbridged
        ended completed answered by api 200",
    );
    world.check(
        "b",
        "initiated
        answered PCMA
        bridged with a
        held by remote
        resumed by remote
        unbridged
        ended completed answered by engine 200",
    );
}

#[test]
fn who_comes_on_hold_hears_music_and_again_after_an_announcement() {
    let mut world = parked(&["a", "b"]);
    let a = world.id("a");
    world.engine.hold(world.now, &a, true).unwrap();
    world.run_for(200);
    world.create_bridge(json!({"calls": ["a", "b"], "hold_music": "music"})).unwrap();
    world.run_for(200);
    world.engine.play(world.now, &a, Play::once("hello")).unwrap();
    world.run_for(3_000);
    // What the API plays is not cut off when the hold is over.
    world.engine.play(world.now, &a, Play::once("hello")).unwrap();
    world.engine.hold(world.now, &a, false).unwrap();
    world.run_for(3_000);
    world.hang_up("a");
    world.is_over();
    world.check(
        "a",
        "initiated
        answered PCMA
        held by local
        bridged with b
        plays p-1 music
        played p-1 stopped
        plays p-2 hello
        played p-2 completed
        plays p-3 music
        played p-3 stopped
        plays p-4 hello
        resumed by local
        played p-4 completed
        unbridged
        ended completed answered by api 200",
    );
}

#[test]
fn keys_that_are_not_sent_on_in_the_media_are_sent_anew() {
    let keyless: Script = &[(100, Answer(Keyless)), (2_000, Info("application/dtmf-relay", "Signal=7\r\n"))];
    let pressing: Script = &[(100, Answer(Good)), (1_000, Press('5'))];
    for (dtmf, expected) in [
        // Events as tones to who has none, INFO as events to all who have.
        ("relay", vec![(2, '5', DialBy::Tones), (1, '7', DialBy::Events), (3, '7', DialBy::Events)]),
        ("consume", vec![]),
    ] {
        let mut world = answered(&[("a", pressing), ("b", keyless), ("c", ANSWERED)]);
        world.create_bridge(json!({"calls": ["a", "b", "c"], "dtmf": dtmf})).unwrap();
        world.run_for(3_000);
        assert_eq!(world.media.dials, expected);
        world.hang_up("a");
        world.hang_up("b");
        world.is_over();
    }
}

#[test]
fn who_was_parked_with_music_is_parked_with_it_again() {
    let mut world = World::new();
    let flow = json!({"start": "wait", "steps": {"wait": {
        "verb": "park", "play": {"prompt": "music", "loop": 0}}}});
    world.call("a", ANSWERED, json!({"flow": flow}));
    world.call("b", ANSWERED, json!({}));
    world.run_for(300);
    world.bridge("a", json!({"with": "b", "on_end": "continue"})).unwrap();
    world.run_for(300);
    world.hang_up("b");
    world.run_for(300);
    world.hang_up("a");
    world.is_over();
    world.check(
        "a",
        "initiated
        answered PCMA
        step wait park
        plays p-1 music
        bridged with b
        played p-1 stopped
        unbridged
        plays p-2 music
        played p-2 hangup
        ended completed answered by api 200",
    );
}

#[test]
fn a_flow_bridges_its_call_and_goes_on_after_it() {
    let mut world = parked(&["agent"]);
    let flow = json!({"start": "ask", "steps": {
        "ask": {"verb": "bridge", "call_id": "{who}", "on": {"ended": "bye"}},
        "bye": {"verb": "play", "prompt": "hello"},
    }});
    world.call("a", ANSWERED, json!({"flow": flow, "variables": {"who": "agent"}}));
    world.run_for(300);
    assert_eq!(world.hearing(), [(1, vec![2]), (2, vec![1])]);
    world.hang_up("agent");
    world.is_over();
    world.check(
        "a",
        "initiated
        answered PCMA
        step ask bridge
        bridged with agent
        unbridged
        step bye play
        plays p-1 hello
        played p-1 completed
        ended completed answered by engine 200",
    );
    assert_eq!(world.cdr("a").cause_call_id, None);
}

#[test]
fn a_flow_that_finds_nobody_to_be_bridged_with_goes_on() {
    for (verb, why) in [
        (json!({"call_id": "nobody"}), "there is no live call \"nobody\""),
        (json!({"bridge_id": "none"}), "there is no bridge \"none\""),
        (json!({"call_id": "a"}), "a call cannot be bridged with itself"),
    ] {
        let mut step = json!({"verb": "bridge", "next": "again"});
        step.as_object_mut().unwrap().extend(verb.as_object().unwrap().clone());
        let mut world = World::new();
        let flow = json!({"start": "ask", "steps": {"ask": step, "again": {"verb": "hangup"}}});
        world.call("a", ANSWERED, json!({"flow": flow}));
        world.is_over();
        let story = format!("initiated\nanswered PCMA\nstep ask bridge\nbridge failed ask {why}");
        world.check("a", &format!("{story}\nstep again hangup\nended completed answered by engine 200"));
    }
    // The outcome is `failed`, and `ended` where nothing is said of that.
    for (on, then) in [(json!({"failed": "no", "ended": "yes"}), "no"), (json!({"ended": "yes"}), "yes")] {
        let mut world = World::new();
        let step = json!({"verb": "bridge", "bridge_id": "none", "on": on});
        let hangup = json!({"verb": "hangup"});
        let flow = json!({"start": "ask", "steps": {"ask": step, "no": hangup, "yes": hangup}});
        world.call("a", ANSWERED, json!({"flow": flow}));
        world.is_over();
        assert!(world.stories[&world.id("a")].lines.contains(&format!("step {then} hangup")));
    }
    // One that asks again and again is a circle.
    let mut world = World::new();
    let circle = json!({"start": "a", "steps": {"a": {"verb": "bridge", "call_id": "x", "next": "a"}}});
    world.call("a", ANSWERED, json!({"flow": circle}));
    world.is_over();
    assert_eq!(world.cdr("a").sip_reason.as_deref(), Some("flow-limit"));
}

#[test]
fn a_flow_takes_its_call_into_a_conference() {
    let mut world = parked(&["a", "b"]);
    world.create_bridge(json!({"id": "room", "calls": ["a", "b"]})).unwrap();
    let flow = json!({"start": "in", "steps": {"in": {"verb": "bridge", "bridge_id": "room"}}});
    world.call("c", ANSWERED, json!({"flow": flow}));
    world.run_for(300);
    assert_eq!(world.hearing().len(), 3);
    assert_eq!(world.leave("room", "c"), Ok(true));
    world.run_for(1_000);
    assert!(world.engine.call(&world.id("c")).is_none(), "its flow has no next step");
    world.hang_up("a");
    world.is_over();
}

#[test]
fn media_that_fails_ends_the_bridge_and_a_leg_that_dies_ends_its_call() {
    let mut world = parked(&["a", "b"]);
    world.makes_bridges = false;
    world.bridge("a", json!({"with": "b", "on_end": "park"})).unwrap();
    world.run_for(1_000);
    world.check(
        "b",
        "initiated\nanswered PCMA\nbridged with a\nunbridged\nended completed answered by engine 200",
    );
    assert_eq!(world.bridge_of("a"), None);
    world.hang_up("a");
    world.is_over();
    assert_eq!(world.cdr("b").sip_reason.as_deref(), Some("bridge-failed"));
    assert_eq!(world.cdr("a").sip_reason, None);

    let mut world = parked(&["a", "b"]);
    world.bridge("a", json!({"with": "b"})).unwrap();
    world.lose_leg(2);
    world.is_over();
    assert_eq!(world.cdr("a").cause_call_id, Some(world.id("b")));
}

#[test]
fn a_room_that_everybody_has_left_is_over() {
    let mut world = parked(&["a", "b", "c", "d"]);
    // One hangs up, one is taken out, and one only listens.
    world.create_bridge(json!({"id": "one", "calls": ["a"], "hold_music": "music"})).unwrap();
    world.create_bridge(json!({"id": "two", "calls": ["b"]})).unwrap();
    world.create_bridge(json!({"id": "three", "calls": ["c"]})).unwrap();
    world.join("three", json!({"call_id": "d", "role": "listen"})).unwrap();
    world.run_for(500);
    world.hang_up("a");
    assert_eq!(world.engine.bridge_by_id("one"), None);
    assert_eq!(world.leave("two", "b"), Ok(true));
    assert_eq!(world.engine.bridge_by_id("two"), None);
    world.hang_up("c");
    assert!(world.engine.bridge_by_id("three").is_some(), "somebody waits there");
    world.hang_up("d");
    assert_eq!(world.engine.bridges().count(), 0);
    world.hang_up("b");
    world.is_over();
    world.check(
        "c",
        "initiated
        answered PCMA
        ended completed answered by api 200",
    );
}

#[test]
fn members_that_end_at_once_leave_the_others_alone() {
    let mut world = World::new();
    let seconds = json!({"max_duration_s": 10});
    for (id, extra) in [("a", &seconds), ("b", &seconds), ("c", &json!({})), ("d", &json!({}))] {
        world.call(id, ANSWERED, extra.clone());
    }
    world.run_for(300);
    world.create_bridge(json!({"id": "room", "calls": ["a", "b", "c", "d"]})).unwrap();
    // So late that both deadlines have come.
    world.now += std::time::Duration::from_secs(11);
    world.pump();
    assert_eq!(world.hearing(), [(3, vec![4]), (4, vec![3])]);
    world.run_for(1_000);
    assert_eq!(world.hearing(), [(3, vec![4]), (4, vec![3])]);
    world.hang_up("c");
    world.is_over();
    assert_eq!(world.cdr("d").cause_call_id, Some(world.id("c")));
}

#[test]
fn who_has_ended_is_not_bridged_with_who_comes() {
    let mut world = World::new();
    // One waits in a room until its time is over; the flow of the other comes in at that moment.
    world.call("a", ANSWERED, json!({"max_duration_s": 10}));
    world.run_for(10);
    let flow = json!({"start": "wait", "steps": {
        "wait": {"verb": "pause", "ms": 9_000, "next": "in"},
        "in": {"verb": "bridge", "bridge_id": "room", "next": "stay"},
        "stay": {"verb": "park"},
    }});
    world.call("b", ANSWERED, json!({"flow": flow}));
    world.run_for(300);
    world.create_bridge(json!({"id": "room", "calls": ["a"]})).unwrap();
    world.now += std::time::Duration::from_secs(11);
    world.pump();
    world.run_for(1_000);
    world.check(
        "a",
        "initiated
        answered PCMA
        ended completed answered by engine 200",
    );
    world.hang_up("b");
    world.is_over();
}

#[test]
fn bridges_that_nobody_is_in_are_bounded() {
    let mut world = World::with(|config| config.limits.max_calls = 3);
    for _ in 0..3 {
        world.create_bridge(json!({})).unwrap();
    }
    let need = "3 bridges wait for their first call, as many as calls may be (max_calls): delete some, or name a call";
    refused(world.create_bridge(json!({})), need);
    assert!(matches!(world.create_bridge(json!({})), Err(Refusal::NoRoom { .. })));
    // Calls are bounded themselves: bridges of theirs are not refused.
    for id in ["a", "b", "c"] {
        world.call(id, ANSWERED, json!({}));
    }
    world.run_for(300);
    world.create_bridge(json!({"calls": ["c"]})).unwrap();
    world.bridge("a", json!({"with": "b"})).unwrap();
    world.hang_up("a");
    world.hang_up("c");
    world.run_for(1_000);
    assert_eq!(world.engine.bridges().count(), 3);
    let ids: Vec<String> = world.engine.bridges().map(|bridge| bridge.id).collect();
    assert!(ids.iter().all(|id| world.engine.delete_bridge(world.now, id)));
    world.create_bridge(json!({})).unwrap();
}
