//! Calls that are given a flow in the middle.

use control_api_types::{BridgeCall, Call, GiveFlow, HangupReason, Queue};
use engine_core::Refusal;
use serde_json::{Value, json};

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::World;

const ANSWERED: Script = &[(100, Answer(Good))];

/// A flow of one step, which hangs up after it.
fn only(step: Value) -> Value {
    json!({"start": "x", "steps": {"x": step}})
}

impl World {
    fn give(&mut self, id: &str, body: Value) -> Result<Call, Refusal> {
        let id = self.id(id);
        let result = self.engine.give_flow(self.now, &id, GiveFlow::from_json(&body).unwrap());
        self.pump();
        result
    }

    #[track_caller]
    fn does_not_give(&mut self, id: &str, body: Value, expected: &str) {
        let refusal = self.give(id, body).unwrap_err();
        let told = if let Refusal::WrongState { need, .. } = &refusal {
            (*need).to_owned()
        } else if let Refusal::Validation(faults) = &refusal {
            format!("{} {}", faults[0].pointer, faults[0].detail)
        } else {
            refusal.to_string()
        };
        assert_eq!(told, expected);
    }
}

#[test]
fn a_parked_call_begins_a_stored_flow_with_variables() {
    let mut world = World::new();
    let flow = json!({"start": "say", "steps": {
        "say": {"verb": "notify", "data": "{kept} {new}", "next": "play"},
        "play": {"verb": "play", "prompt": "hello"}}});
    world.put_flow("menu", flow).unwrap();
    world.call("a", ANSWERED, json!({"variables": {"kept": "k", "new": "old"}}));
    world.run_for(300);
    let shown = world.give("a", json!({"flow": "menu", "variables": {"new": "n"}})).unwrap();
    assert_eq!(shown.variables["new"].to_string(), "n");
    world.run();
    world.check(
        "a",
        "initiated\nanswered PCMA\nstep say notify\nnotify \"k n\"\nstep play play\nplays p-2 hello
        played p-2 completed\nended completed answered by engine 200",
    );
}

#[test]
fn whatever_the_flow_before_does_ends() {
    let gather =
        json!({"verb": "gather", "max": 1, "retries": 3, "timeout_ms": 500, "play": {"prompt": "music"}});
    let record = json!({"verb": "record", "max_s": 60, "silence_ms": 500});
    for (step, before, after) in [
        (gather, "plays p-1 music", "played p-1 stopped\ngathered x \"\" stopped"),
        (json!({"verb": "play", "prompt": "music"}), "plays p-1 music", "played p-1 stopped"),
        (json!({"verb": "pause", "ms": 60_000}), "", ""),
        (json!({"verb": "park", "play": {"prompt": "music"}}), "plays p-1 music", "played p-1 stopped"),
        (record, "records x wav 1", "recorded x stopped 1700"),
        (json!({"verb": "amd"}), "", ""),
    ] {
        let mut world = World::new();
        let verb = step["verb"].as_str().unwrap().to_owned();
        world.call("a", ANSWERED, json!({"flow": only(step)}));
        world.run_for(1_820);
        let flow = only(json!({"verb": "pause", "ms": 3_000}));
        world.give("a", json!({"flow": flow})).unwrap();
        world.run();
        let story = world.stories[&world.id("a")].lines.clone();
        let mut expected: Vec<String> =
            format!("initiated\nanswered PCMA\nstep x {verb}\n{before}\nstep x pause\n{after}")
                .lines()
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect();
        expected.push("ended completed answered by engine 200".to_owned());
        let story: Vec<_> = story.into_iter().filter(|line| !line.starts_with("amd")).collect();
        assert_eq!(story, expected, "{verb}");
        let cdr = world.cdr("a");
        let length = cdr.ended_at.unwrap().unix_ms() - cdr.answered_at.unwrap().unix_ms();
        assert!((4_600..4_800).contains(&length), "{verb}: {length} ms, the new flow has its whole time");
    }
}

#[test]
fn who_waits_in_a_queue_leaves_it_for_the_flow() {
    let mut world = World::new();
    let queue = json!({"hold_music": "music", "max_wait_s": 5});
    world.engine.put_queue("sales", std::sync::Arc::new(Queue::from_json(&queue).unwrap()));
    let wait = json!({"verb": "enqueue", "queue": "sales"});
    world.call("a", ANSWERED, json!({"flow": only(wait)}));
    world.run_for(1_000);
    assert_eq!(world.engine.queued_calls(world.now, "sales").count(), 1);
    world.give("a", json!({"flow": only(json!({"verb": "pause", "ms": 8_000}))})).unwrap();
    assert_eq!(world.engine.queued_calls(world.now, "sales").count(), 0);
    world.run();
    let cdr = world.cdr("a");
    let length = cdr.ended_at.unwrap().unix_ms() - cdr.answered_at.unwrap().unix_ms();
    assert!((8_700..9_000).contains(&length), "{length} ms: the longest wait of the queue ends nothing");
}

#[test]
fn those_whom_the_flow_before_has_called_are_called_off() {
    let mut world = World::new();
    world.carrier.customer("22", &[(100, Ring)]);
    let dial = |to: &str| only(json!({"verb": "dial", "to": to, "trunk": "jkt", "timeout_s": 5}));
    world.call("a", ANSWERED, json!({"flow": dial("22")}));
    world.run_for(1_000);
    world.carrier.customer("23", &[(100, Ring), (1_000, Answer(Good))]);
    world.give("a", json!({"flow": dial("23")})).unwrap();
    world.run_for(3_000);
    assert_eq!(world.bridges.len(), 1);
    let calls: Vec<_> = world.engine.calls().map(|call| call.to.clone()).collect();
    assert!(!calls.contains(&"22".to_owned()), "{calls:?}");
    world.hang_up_given("a");
    world.run();
    assert_eq!((world.carrier.live(), world.media.open_ports()), (0, 0));
}

impl World {
    fn hang_up_given(&mut self, id: &str) {
        let id = self.id(id);
        self.engine.hangup(self.now, &id, HangupReason::Normal).unwrap();
    }
}

#[test]
fn who_is_not_answered_or_is_bridged_is_given_none() {
    let mut world = World::new();
    world.call("a", ANSWERED, json!({}));
    world.call("b", ANSWERED, json!({"variables": {"x": "x".repeat(4_000)}}));
    world.call("ringing", &[(0, Ring)], json!({}));
    world.run_for(300);
    let flow = only(json!({"verb": "park"}));
    world.does_not_give("nobody", json!({"flow": flow}), "not found");
    world.does_not_give("a", json!({"flow": "none"}), "/flow there is no flow \"none\"");
    let gone = json!({"flow": only(json!({"verb": "play", "prompt": "gone"}))});
    world.does_not_give("a", gone, "/flow/steps/x/prompt there is no prompt \"gone\"");
    let many: serde_json::Map<_, _> = (0..16).map(|n| (format!("v{n}"), json!("y".repeat(4_000)))).collect();
    let too_many = "/variables with those that it has the call would have too many (256, 64 KiB)";
    world.does_not_give("b", json!({"flow": flow, "variables": many}), too_many);
    world.does_not_give("ringing", json!({"flow": flow}), "only an answered call can be given a flow");
    let id = world.id("a");
    world.engine.bridge(world.now, &id, &BridgeCall::from_json(&json!({"with": "b"})).unwrap()).unwrap();
    world.does_not_give("a", json!({"flow": flow}), "it is in a bridge; take it out first");
    for id in ["a", "ringing"] {
        world.hang_up_given(id);
    }
    world.run();
    world.check(
        "a",
        "initiated\nanswered PCMA\nbridged with b\nunbridged\nended completed answered by api 200",
    );
}
