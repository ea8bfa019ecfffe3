//! Others that are called for a call by its flow: who answers first, what the caller hears, and every way out.

use control_api_types::{CallStatus, Disposition, HangupReason};
use serde_json::{Value, json};
use sip_core::Name;

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::{World, limits};

const ANSWERED: Script = &[(100, Answer(Good))];
const PICKED_UP: Script = &[(100, Ring), (1_000, Answer(Good))];
const BUSY: Script = &[(100, Reject(486))];
const RINGS: Script = &[(100, Ring)];

/// A world with these customers beside the caller.
fn world(customers: &[(&str, Script)]) -> World {
    let mut world = World::new();
    for (number, script) in customers {
        world.carrier.customer(number, script);
    }
    world
}

/// A flow that dials, and tells by a notify how that ended.
fn dials(dial: Value) -> Value {
    let mut dial = dial;
    let step = dial.as_object_mut().unwrap();
    step.insert("verb".into(), "dial".into());
    step.entry("trunk").or_insert("jkt".into());
    step.entry("on")
        .or_insert(json!({"ended": "ended", "busy": "busy", "no-answer": "no-answer", "failed": "failed"}));
    let told = |outcome: &str| json!({"verb": "notify", "data": outcome, "next": "bye"});
    json!({"flow": {"start": "dial", "steps": {
        "dial": dial, "bye": {"verb": "hangup"},
        "ended": told("ended"), "busy": told("busy"), "no-answer": told("no-answer"), "failed": told("failed"),
    }}})
}

impl World {
    /// The id of the call that was made to this number for another.
    #[track_caller]
    fn branch(&self, to: &str) -> String {
        let live = self.engine.calls().find(|call| call.to == to).map(|call| call.id.to_string());
        let ended = || {
            let told = self.stories.values().filter_map(|story| story.ended.as_ref());
            told.into_iter().find(|call| call.to == to).map(|call| call.id.to_string())
        };
        live.or_else(ended).unwrap_or_else(|| panic!("nobody has called {to}"))
    }

    #[track_caller]
    fn check_branch(&self, to: &str, story: &str) {
        self.check(&self.branch(to), story);
    }

    fn ends(&mut self, id: &str) {
        let id = self.id(id);
        self.engine.hangup(self.now, &id, HangupReason::Normal).unwrap();
        self.pump();
    }

    #[track_caller]
    fn nothing_is_left(&mut self) {
        self.run();
        assert_eq!((self.bridges.len(), self.engine.bridges().count()), (0, 0));
        assert_eq!((self.carrier.live(), self.media.open_ports()), (0, 0));
        assert_eq!((self.engine.load().live, self.engine.load().queued), (0, 0));
    }
}

#[test]
fn the_first_that_answers_is_bridged_and_the_others_are_called_off() {
    let mut world = world(&[("21", BUSY), ("22", PICKED_UP), ("23", RINGS)]);
    let play = json!({"tone": "ringback", "loop": 0});
    world.call("a", ANSWERED, dials(json!({"to": ["21", "22", {"to": "23"}], "play": play})));
    world.run_for(3_000);
    let winner = world.branch("22");
    let hearing: Vec<_> = world.bridges.values().flatten().collect();
    assert_eq!(hearing, [(&1, &vec![3]), (&3, &vec![1])]);
    // Who rang for nothing has not missed a call.
    let reason = world.cancels[0].header(Name::Reason);
    assert_eq!(reason, Some("SIP;cause=200;text=\"Call completed elsewhere\""));
    world.ends(&winner);
    world.nothing_is_left();
    world.check(
        "a",
        &format!(
            "initiated
            answered PCMA
            step dial dial
            plays p-1 ringback/itu
            bridged with {winner}
            played p-1 stopped
            unbridged
            step ended notify
            notify \"ended\"
            step bye hangup
            ended completed answered by engine 200"
        ),
    );
    world.check_branch("21", "initiated\nended busy busy by remote 486");
    let story = "initiated\nringing 180\nanswered PCMA\nbridged with a\nunbridged\nended completed answered by api 200";
    world.check_branch("22", story);
    world.check_branch("23", "initiated\nringing 180\nended canceled canceled by engine 487");
    for number in ["21", "22", "23"] {
        let cdr = world.cdr(&world.branch(number)).clone();
        assert_eq!(cdr.parent_call_id, Some(world.id("a")), "{number}");
        assert_eq!((cdr.trunk.as_deref(), cdr.cause_call_id), (Some("jkt"), None), "{number}");
    }
}

#[test]
fn who_answers_is_hung_up_with_the_caller() {
    let mut world = world(&[("22", PICKED_UP)]);
    world.call("a", &[(100, Answer(Good)), (4_000, Hangup)], dials(json!({"to": "22"})));
    world.nothing_is_left();
    let cdr = world.cdr(&world.branch("22")).clone();
    assert_eq!((cdr.disposition, cdr.cause_call_id), (Some(Disposition::Answered), Some(world.id("a"))));
    world.check(
        "a",
        &format!(
            "initiated\nanswered PCMA\nstep dial dial\nbridged with {}\nunbridged
            ended completed answered by remote 200",
            cdr.id
        ),
    );
}

#[test]
fn where_nobody_answers_the_flow_goes_on_by_what_says_most() {
    const GONE: Script = &[(100, Reject(404))];
    const AWAY: Script = &[(100, Reject(480))];
    for (scripts, outcome) in [
        (&[BUSY][..], "busy"),
        (&[GONE, RINGS, BUSY], "busy"),
        (&[RINGS], "no-answer"),
        (&[AWAY, GONE], "no-answer"),
        (&[GONE, GONE], "failed"),
    ] {
        let mut world = World::new();
        let numbers: Vec<String> = (0..scripts.len()).map(|n| format!("2{n}")).collect();
        for (number, script) in numbers.iter().zip(scripts) {
            world.carrier.customer(number, script);
        }
        world.call("a", ANSWERED, dials(json!({"to": numbers, "timeout_s": 5})));
        world.nothing_is_left();
        let end = "step bye hangup\nended completed answered by engine 200";
        let story = format!(
            "initiated\nanswered PCMA\nstep dial dial\nstep {outcome} notify\nnotify {outcome:?}\n{end}"
        );
        world.check("a", &story);
        for number in &numbers {
            assert!(world.cdr(&world.branch(number)).status != CallStatus::Completed, "{number}");
        }
    }
}

#[test]
fn the_end_of_the_caller_ends_what_rings_for_him() {
    let mut world = world(&[("22", RINGS), ("23", &[])]);
    world.call("a", &[(100, Answer(Good)), (2_000, Hangup)], dials(json!({"to": ["22", "23"]})));
    world.run_for(2_300);
    let told: Vec<_> = world.cancels.iter().map(|cancel| cancel.header(Name::Reason)).collect();
    assert_eq!(told, [None, None], "nobody has answered elsewhere");
    world.nothing_is_left();
    world.check("a", "initiated\nanswered PCMA\nstep dial dial\nended completed answered by remote 200");
    world.check_branch("22", "initiated\nringing 180\nended canceled canceled by engine 487");
    for number in ["22", "23"] {
        assert_eq!(world.cdr(&world.branch(number)).cause_call_id, Some(world.id("a")));
    }
}

#[test]
fn one_that_is_waiting_for_its_turn_is_taken_back() {
    let mut world =
        World::with(|config| config.limits = control_api_types::Limits { max_calls: 1, ..limits() });
    world.carrier.customer("22", RINGS);
    world.call("a", &[(100, Answer(Good)), (2_000, Hangup)], dials(json!({"to": ["22"]})));
    world.run_for(1_000);
    assert_eq!((world.engine.load().live, world.engine.load().queued), (1, 1));
    world.nothing_is_left();
    world.check_branch("22", "ended canceled canceled by engine");
}

#[test]
fn whom_nobody_can_call_is_told_and_the_others_are_called() {
    let mut world = world(&[("22", BUSY)]);
    let to = json!(["endpoint:nobody", {"to": "sip:x@192.0.2.2", "trunk": "none"}, "{unset}", "22"]);
    world.call("a", ANSWERED, dials(json!({"to": to})));
    world.call("b", ANSWERED, dials(json!({"to": "endpoint:nobody"})));
    world.nothing_is_left();
    let end = |outcome: &str| {
        format!(
            "step {outcome} notify\nnotify {outcome:?}\nstep bye hangup\nended completed answered by engine 200"
        )
    };
    world.check(
        "a",
        &format!(
            "initiated
            answered PCMA
            step dial dial
            failed dial dial endpoint:nobody: there is no endpoint \"nobody\"
            failed dial dial sip:x@192.0.2.2: there is no trunk \"none\"
            failed dial dial : must be 1 to 256 bytes long, not 0
            {}",
            end("busy")
        ),
    );
    let nobody = "failed dial dial endpoint:nobody: there is no endpoint \"nobody\"";
    world.check("b", &format!("initiated\nanswered PCMA\nstep dial dial\n{nobody}\n{}", end("failed")));
}

#[test]
fn early_media_of_one_is_heard_until_another_answers() {
    const SPEAKS: Script = &[(100, EarlyMedia)];
    const LATER: Script = &[(100, Ring), (2_000, EarlyMedia), (3_000, Answer(Good))];
    let mut world = world(&[("21", SPEAKS), ("22", LATER)]);
    let play = json!({"tone": "ringback", "loop": 0});
    let body = json!({"to": ["21", "22"], "early_media": "connect", "play": play});
    world.call("a", ANSWERED, dials(body));
    world.run_for(1_500);
    let hearing: Vec<_> = world.bridges.values().flatten().collect();
    assert_eq!(hearing, [(&1, &vec![2]), (&2, &vec![])], "the caller hears, and is not heard");
    assert_eq!(world.engine.bridges().count(), 0, "no bridge of the API");
    world.run_for(3_000);
    let hearing: Vec<_> = world.bridges.values().flatten().collect();
    assert_eq!(hearing, [(&1, &vec![3]), (&3, &vec![1])]);
    world.ends("a");
    world.nothing_is_left();
    let winner = world.branch("22");
    world.check(
        "a",
        &format!(
            "initiated\nanswered PCMA\nstep dial dial\nplays p-1 ringback/itu\nplayed p-1 stopped
            bridged with {winner}\nunbridged\nended completed answered by api 200"
        ),
    );
}

#[test]
fn ringback_comes_back_when_who_was_heard_early_is_lost() {
    let mut world = world(&[("21", &[(100, EarlyMedia), (1_000, Reject(486))]), ("22", RINGS)]);
    let play = json!({"tone": "ringback", "loop": 0});
    let body = json!({"to": ["21", "22"], "early_media": "connect", "play": play, "timeout_s": 3});
    world.call("a", ANSWERED, dials(body));
    world.nothing_is_left();
    world.check(
        "a",
        "initiated\nanswered PCMA\nstep dial dial\nplays p-1 ringback/itu\nplayed p-1 stopped\nplays p-2 ringback/itu
        step busy notify\nnotify \"busy\"\nstep bye hangup\nplayed p-2 stopped\nended completed answered by engine 200",
    );
}

#[test]
fn an_answer_without_early_media_is_met_and_no_answer_is_heard_in_silence() {
    let mut world = world(&[("22", &[(100, EarlyMedia), (1_000, Answer(Good))])]);
    world.call("a", ANSWERED, dials(json!({"to": "22"})));
    world.run_for(600);
    assert_eq!(world.bridges.len(), 0, "early media is ignored unless the step wants it");
    world.run_for(1_000);
    assert_eq!(world.bridges.len(), 1);
    world.ends("a");
    world.nothing_is_left();
}

#[test]
fn a_dial_goes_round_with_what_variables_say() {
    let mut world = world(&[("22", BUSY), ("23", PICKED_UP)]);
    let flow = json!({"start": "first", "steps": {
        "first": {"verb": "set", "variables": {"who": "22"}, "next": "dial"},
        "dial": {"verb": "dial", "to": "{who}", "trunk": "{trunk}", "on": {"busy": "next", "ended": "bye"}},
        "next": {"verb": "set", "variables": {"who": "23"}, "next": "dial"},
        "bye": {"verb": "hangup"},
    }});
    world.call("a", ANSWERED, json!({"flow": flow}));
    world.run_for(3_000);
    let winner = world.branch("23");
    world.ends(&winner);
    world.nothing_is_left();
    world.check(
        "a",
        &format!(
            "initiated\nanswered PCMA\nstep first set\nstep dial dial\nstep next set\nstep dial dial
            bridged with {winner}\nunbridged\nstep bye hangup\nended completed answered by engine 200"
        ),
    );
}

#[test]
fn a_full_queue_and_a_drain_leave_nobody_to_reach() {
    let mut world =
        World::with(|config| config.limits = control_api_types::Limits { max_queued: 1, ..limits() });
    world.carrier.customer("22", RINGS);
    world.call("a", ANSWERED, dials(json!({"to": ["22", "22"], "timeout_s": 2})));
    world.nothing_is_left();
    world.check(
        "a",
        "initiated\nanswered PCMA\nstep dial dial\nfailed dial dial 22: the call queue is full
        step no-answer notify\nnotify \"no-answer\"\nstep bye hangup\nended completed answered by engine 200",
    );
}

#[test]
fn a_bridge_that_media_cannot_make_is_told_and_the_one_who_answered_is_hung_up() {
    let mut world = world(&[("22", PICKED_UP)]);
    world.makes_bridges = false;
    world.call("a", ANSWERED, dials(json!({"to": "22"})));
    world.nothing_is_left();
    let winner = world.branch("22");
    world.check(
        "a",
        &format!(
            "initiated\nanswered PCMA\nstep dial dial\nbridged with {winner}\nunbridged
            bridge failed dial the media threads have no room for the bridge
            step failed notify\nnotify \"failed\"\nstep bye hangup\nended completed answered by engine 200"
        ),
    );
    assert_eq!(world.cdr(&winner).sip_reason.as_deref(), Some("bridge-failed"));
}
