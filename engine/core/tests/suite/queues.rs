//! Callers who wait in queues: what they hear, which keys count, and every way out.

use std::sync::Arc;

use control_api_types::{Gather, GiveFlow, Play, Queue};
use engine_core::{QueueLoad, Refusal};
use serde_json::{Value, json};

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::World;

const PATIENT: Script = &[(100, Answer(Good))];

/// The flow of every caller: it waits, and notes how that ended.
fn flow() -> Value {
    let note = |how: &str| json!({"verb": "notify", "data": how, "next": "bye"});
    json!({"start": "wait", "steps": {
        "wait": {"verb": "enqueue", "queue": "sales", "data": {"customer": "{customer}"},
            "on": {"ended": "ended", "callback": "callback", "timeout": "timeout", "closed": "closed"}},
        "ended": note("ended"), "callback": note("callback"), "timeout": note("timeout"), "closed": note("closed"),
        "bye": {"verb": "hangup"},
    }})
}

fn queue(settings: Value) -> Arc<Queue> {
    Arc::new(Queue::from_json(&settings).unwrap())
}

/// A world with the queue `sales` of these settings.
fn with_queue(settings: Value) -> World {
    let mut world = World::new();
    world.put_prompt("long", 8_000);
    let queue = queue(settings);
    assert_eq!(world.engine.check_queue("sales", &queue), Ok(()));
    world.engine.put_queue("sales", queue);
    world
}

impl World {
    /// Somebody calls and comes to the queue 120 ms later: his INVITE and his answer are on their way for 10 ms each.
    fn waits(&mut self, id: &str, script: Script) {
        self.call(id, script, json!({"flow": flow(), "variables": {"customer": id}}));
    }

    /// An agent who is held in silence.
    fn agent(&mut self, id: &str) {
        let flow = json!({"start": "hold", "steps": {"hold": {"verb": "park"}}});
        self.call(id, PATIENT, json!({"flow": flow}));
    }

    /// Who waits, in order, and for how long.
    fn queued(&self) -> Vec<(String, u32, u64)> {
        let calls = self.engine.queued_calls(self.now, "sales");
        calls.map(|(_, call)| (call.call_id.to_string(), call.position, call.waited_ms)).collect()
    }

    fn is_empty(&self) -> bool {
        self.engine.queue_load(self.now, "sales") == QueueLoad::default() && self.queued().is_empty()
    }
}

#[test]
fn a_caller_hears_music_until_his_patience_ends() {
    let mut world = with_queue(json!({"hold_music": "music", "max_wait_s": 60}));
    world.waits("c", PATIENT);
    world.run_for(20_120);
    assert_eq!(world.queued(), [("c".to_owned(), 1, 20_000)]);
    assert_eq!(world.engine.call(&world.id("c")).unwrap().queue.as_deref(), Some("sales"));
    let load = world.engine.queue_load(world.now, "sales");
    assert_eq!((load.waiting, load.longest.unwrap().as_millis()), (1, 20_000));
    world.run();
    world.check(
        "c",
        r#"initiated
           answered PCMA
           step wait enqueue
           enqueued sales 1 {"customer":"c"}
           plays p-1 music
           step timeout notify
           notify "timeout"
           step bye hangup
           played p-1 stopped
           ended completed answered by engine 200"#,
    );
    let cdr = world.cdr("c");
    let answered = cdr.answered_at.unwrap().unix_ms();
    assert_eq!(cdr.ended_at.unwrap().unix_ms() - answered, 60_000);
    assert_eq!(cdr.queue, None, "it was not in the queue any more when it ended");
    assert!(world.is_empty());
}

#[test]
fn keys_other_than_the_one_and_the_one_too_early_do_nothing_at_all() {
    let mut world = with_queue(json!({
        "hold_music": "music", "max_wait_s": 60,
        "callback": {"key": "1", "min_wait_s": 10, "notice": "hello"},
    }));
    // At 0.5 s the right key too early, at 11 s a wrong one, at 12 s the right one.
    let script: Script = &[
        (100, Answer(Good)),
        (500, Press('1')),
        (11_000, Press('2')),
        (11_500, Press('0')),
        (12_000, Press('1')),
    ];
    world.waits("c", script);
    world.run_for(11_900);
    assert_eq!(world.queued().len(), 1);
    world.run_for(400);
    assert!(world.is_empty(), "who hears the notice waits no longer");
    let refused = world.bridge("c", json!({"with": "c"}));
    assert!(matches!(refused, Err(Refusal::Validation(_))), "{refused:?}");
    world.run();
    world.check(
        "c",
        r#"initiated
           answered PCMA
           step wait enqueue
           enqueued sales 1 {"customer":"c"}
           plays p-1 music
           dtmf 1 100
           dtmf 2 100
           dtmf 0 100
           dtmf 1 100
           callback sales 1 after 11890
           played p-1 stopped
           plays p-2 hello
           played p-2 completed
           step callback notify
           notify "callback"
           step bye hangup
           ended completed answered by engine 200"#,
    );
}

#[test]
fn keys_pressed_while_waiting_answer_nothing_afterwards() {
    let mut world = with_queue(json!({
        "hold_music": "music", "max_wait_s": 60, "callback": {"key": "*", "notice": "hello"},
    }));
    let flow = json!({"start": "wait", "steps": {
        "wait": {"verb": "enqueue", "queue": "sales", "next": "rate"},
        "rate": {"verb": "gather", "max": 1, "timeout_ms": 1000},
    }});
    let script: Script = &[(100, Answer(Good)), (500, Press('7')), (900, Press('*'))];
    world.call("c", script, json!({"flow": flow}));
    world.run();
    world.check(
        "c",
        r#"initiated
           answered PCMA
           step wait enqueue
           enqueued sales 1
           plays p-1 music
           dtmf 7 100
           dtmf * 100
           callback sales * after 790
           played p-1 stopped
           plays p-2 hello
           played p-2 completed
           step rate gather
           gathered rate "" timeout
           ended completed answered by engine 200"#,
    );
}

#[test]
fn announcements_tell_the_place_and_the_music_goes_on_where_it_was() {
    let mut world = with_queue(json!({
        "hold_music": "music", "max_wait_s": 60,
        "announce": {"every_s": 20, "position": true,
            "play": {"playlist": [{"prompt": "hello"}, {"prompt": "place-{position}"}]}},
    }));
    world.put_prompt("place-1", 500);
    world.put_prompt("place-2", 700);
    world.waits("first", PATIENT);
    world.run_for(10_000);
    world.waits("second", PATIENT);
    world.run_for(15_000);
    world.hang_up("first");
    world.run();
    world.check(
        "second",
        r#"initiated
           answered PCMA
           step wait enqueue
           enqueued sales 2 {"customer":"second"}
           plays p-1 music
           played p-1 stopped
           plays p-2 hello place-1
           played p-2 completed
           plays p-3 music
           played p-3 stopped
           plays p-4 hello place-1
           played p-4 completed
           plays p-5 music
           step timeout notify
           notify "timeout"
           step bye hangup
           played p-5 stopped
           ended completed answered by engine 200"#,
    );
    let first = &world.stories[&world.id("first")].lines;
    assert!(first.contains(&"plays p-2 hello place-1".to_owned()), "{first:?}");
    // 20 s of music, 1.5 s of announcement, music from 20 s on for 18.48 s: media tick every 20 ms.
    let offsets: Vec<u32> = world.media.offsets.clone();
    assert_eq!(offsets.iter().filter(|offset| **offset > 0).count(), 3, "{offsets:?}");
    assert!(offsets.contains(&20_000), "{offsets:?}");
    assert!(offsets.contains(&38_480), "{offsets:?}");
}

#[test]
fn the_place_may_be_said() {
    let mut world = with_queue(json!({
        "hold_music": "music", "max_wait_s": 12,
        "announce": {"every_s": 5, "position": true,
            "play": {"say": {"text": "{customer}, you are number {position}", "language": "en"}}},
    }));
    world.waits("Ana", PATIENT);
    world.waits("Bob", &[(100, Answer(Good)), (8_000, Hangup)]);
    world.run();
    let mut said = world.media.speech.said.clone();
    said.sort();
    assert_eq!(
        said,
        [
            "ana en-us 100: Ana, you are number 1",
            "ana en-us 100: Ana, you are number 1",
            "ana en-us 100: Bob, you are number 2",
        ]
    );
    let variables = &world.cdr("Ana").variables;
    assert_eq!(variables.keys().collect::<Vec<_>>(), ["customer"], "nothing is left of it");
}

#[test]
fn an_announcement_that_is_longer_than_its_interval_is_not_cut_off_by_the_next() {
    let mut world = with_queue(json!({
        "hold_music": "music", "max_wait_s": 21, "announce": {"every_s": 5, "play": "long"},
    }));
    world.waits("c", PATIENT);
    world.run();
    let plays =
        |what: &str| world.stories[&world.id("c")].lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!((plays(" long"), plays(" music"), plays("completed")), (2, 2, 2));
}

#[test]
fn a_bridge_takes_the_caller_out_of_the_queue_and_his_flow_goes_on_afterwards() {
    let mut world = with_queue(json!({"hold_music": "music", "max_wait_s": 60}));
    world.agent("agent");
    world.waits("c", PATIENT);
    world.waits("next", PATIENT);
    world.run_for(5_000);
    let before = world.now;
    world.bridge("agent", json!({"with": "c", "on_end": "continue"})).unwrap();
    assert_eq!(world.now, before, "in the same input");
    assert!(world.stories[&world.id("c")].lines.contains(&"bridged with agent".to_owned()));
    assert!(world.stories[&world.id("agent")].lines.contains(&"bridged with c".to_owned()));
    assert_eq!(
        world.queued().iter().map(|(id, place, _)| (id.as_str(), *place)).collect::<Vec<_>>(),
        [("next", 1)]
    );
    assert_eq!(world.engine.call(&world.id("c")).unwrap().queue, None);
    // His patience does not count any more.
    world.run_for(70_000);
    world.agent("another");
    world.run_for(300);
    world.leave_only_bridge("c");
    world.run_for(1_000);
    world.hang_up("agent");
    world.hang_up("another");
    world.run();
    world.check(
        "c",
        r#"initiated
           answered PCMA
           step wait enqueue
           enqueued sales 1 {"customer":"c"}
           plays p-1 music
           bridged with agent
           played p-1 stopped
           unbridged
           step ended notify
           notify "ended"
           step bye hangup
           ended completed answered by engine 200"#,
    );
    world.check(
        "agent",
        r#"initiated
           answered PCMA
           step hold park
           bridged with c
           unbridged
           ended completed answered by api 200"#,
    );
}

impl World {
    /// Takes a call out of the bridge that it is in.
    fn leave_only_bridge(&mut self, call: &str) {
        let bridge = self.engine.call(&self.id(call)).unwrap().bridge_id.clone().unwrap();
        assert_eq!(self.leave(&bridge, call), Ok(true));
    }
}

#[test]
fn without_a_word_of_on_end_the_flow_of_who_waited_goes_on_and_others_are_hung_up() {
    let mut world = with_queue(json!({"hold_music": "music", "max_wait_s": 60}));
    world.agent("agent");
    world.waits("c", PATIENT);
    world.run_for(1_000);
    world.bridge("c", json!({"with": "agent"})).unwrap();
    world.run_for(1_000);
    world.hang_up("c");
    world.run();
    assert_eq!(world.cdr("agent").cause_call_id, Some(world.id("c")));
    world.agent("agent-2");
    world.waits("c2", PATIENT);
    world.run_for(1_000);
    world.bridge("agent-2", json!({"with": "c2"})).unwrap();
    world.run_for(1_000);
    world.hang_up("agent-2");
    world.run();
    let story = &world.stories[&world.id("c2")].lines;
    assert!(story.contains(&"notify \"ended\"".to_owned()), "{story:?}");
    assert_eq!(world.cdr("c2").cause_call_id, None, "its own flow has ended it");
}

#[test]
fn a_room_takes_the_caller_out_of_the_queue_though_nobody_is_in_it() {
    let mut world = with_queue(json!({
        "hold_music": "music", "max_wait_s": 60, "callback": {"key": "1", "notice": "hello"},
    }));
    let script: Script = &[(100, Answer(Good)), (5_000, Press('1'))];
    world.waits("c", script);
    world.run_for(1_000);
    world.create_bridge(json!({"id": "room", "calls": ["c"]})).unwrap();
    assert!(world.is_empty());
    world.run_for(1_000);
    let story = &world.stories[&world.id("c")].lines;
    assert_eq!(story.last().unwrap(), "played p-1 stopped", "the music of the queue is over: {story:?}");
    world.run_for(70_000);
    let story = &world.stories[&world.id("c")].lines;
    assert_eq!(story.last().unwrap(), "dtmf 1 100", "neither patience nor key counts: {story:?}");
    world.hang_up("c");
    world.run();
}

#[test]
fn another_flow_takes_the_caller_out_of_the_queue() {
    let mut world = with_queue(json!({"hold_music": "music", "max_wait_s": 60}));
    world.waits("c", &[(100, Answer(Good)), (1_000, Press('7'))]);
    world.run_for(2_000);
    let given = json!({"flow": {"start": "rate", "steps": {"rate": {"verb": "gather", "max": 1, "timeout_ms": 1000}}}});
    let id = world.id("c");
    world.engine.give_flow(world.now, &id, GiveFlow::from_json(&given).unwrap()).unwrap();
    assert!(world.is_empty());
    world.run();
    world.check(
        "c",
        r#"initiated
           answered PCMA
           step wait enqueue
           enqueued sales 1 {"customer":"c"}
           plays p-1 music
           dtmf 7 100
           step rate gather
           played p-1 stopped
           gathered rate "" timeout
           ended completed answered by engine 200"#,
    );
    assert_eq!(world.cdr("c").queue, None);
}

#[test]
fn who_hangs_up_leaves_the_queue_at_once_and_the_cdr_names_it() {
    let mut world = with_queue(json!({"hold_music": "music", "max_wait_s": 60}));
    world.waits("a", &[(100, Answer(Good)), (3_000, Hangup)]);
    world.waits("b", PATIENT);
    world.run_for(2_000);
    assert_eq!(world.queued().iter().map(|(id, ..)| id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    world.run_for(1_200);
    assert_eq!(
        world.queued().iter().map(|(id, place, _)| (id.as_str(), *place)).collect::<Vec<_>>(),
        [("b", 1)]
    );
    world.hang_up("b");
    assert!(world.is_empty(), "though the far side has not confirmed it yet");
    world.run();
    assert_eq!(world.cdr("a").queue.as_deref(), Some("sales"));
    assert_eq!(world.cdr("b").queue.as_deref(), Some("sales"));
}

#[test]
fn a_queue_that_is_deleted_lets_everybody_go_and_none_is_closed_from_the_start() {
    let mut world = with_queue(json!({"hold_music": "music", "max_wait_s": 60}));
    for id in ["a", "b"] {
        world.waits(id, PATIENT);
    }
    let mut lost = flow();
    lost["steps"]["wait"]["queue"] = json!("{where}");
    world.call("c", PATIENT, json!({"flow": lost, "variables": {"where": "nowhere"}}));
    world.run_for(1_000);
    assert!(world.engine.delete_queue(world.now, "sales"));
    assert!(!world.engine.delete_queue(world.now, "sales"));
    assert!(world.is_empty());
    world.run();
    for id in ["a", "b", "c"] {
        let story = &world.stories[&world.id(id)].lines;
        assert!(story.contains(&"notify \"closed\"".to_owned()), "{id}: {story:?}");
        assert_eq!(story.iter().any(|line| line.starts_with("enqueued")), id != "c");
    }
}

#[test]
fn who_waits_keeps_his_settings_and_who_comes_later_has_the_new_ones() {
    let mut world = with_queue(json!({"hold_music": "music", "max_wait_s": 60}));
    world.waits("before", PATIENT);
    world.run_for(1_000);
    world.engine.put_queue("sales", queue(json!({"hold_music": "hello", "max_wait_s": 5})));
    world.waits("after", PATIENT);
    world.run();
    for (id, music, waited) in [("before", "plays p-1 music", 60_000), ("after", "plays p-1 hello", 5_000)] {
        let story = &world.stories[&world.id(id)].lines;
        assert!(story.contains(&music.to_owned()), "{story:?}");
        let cdr = world.cdr(id);
        assert_eq!(cdr.ended_at.unwrap().unix_ms() - cdr.answered_at.unwrap().unix_ms(), waited);
    }
}

#[test]
fn the_api_does_not_play_over_the_queue_and_what_is_gone_is_silence() {
    let mut world = with_queue(json!({
        "hold_music": "music", "max_wait_s": 60, "announce": {"every_s": 10, "play": "hello"},
        "callback": {"key": "1", "notice": "hello"},
    }));
    world.engine.delete_prompt("music");
    let script: Script = &[(100, Answer(Good)), (15_000, Press('1'))];
    world.waits("c", script);
    world.run_for(1_000);
    let id = world.id("c");
    let play = world.engine.play(world.now, &id, Play::once("hello"));
    assert!(matches!(play, Err(Refusal::WrongState { .. })), "{play:?}");
    let stop = world.engine.stop_play(world.now, &id);
    assert!(matches!(stop, Err(Refusal::WrongState { .. })), "{stop:?}");
    let gather = Gather::from_json(&json!({"max": 1})).unwrap();
    assert!(matches!(world.engine.gather(world.now, &id, gather), Err(Refusal::WrongState { .. })));
    world.run_for(10_000);
    world.engine.delete_prompt("hello");
    world.run();
    world.check(
        "c",
        r#"initiated
           answered PCMA
           step wait enqueue
           enqueued sales 1 {"customer":"c"}
           played p-1 error
           plays p-2 hello
           played p-2 completed
           played p-3 error
           dtmf 1 100
           callback sales 1 after 14890
           played p-4 error
           step callback notify
           notify "callback"
           step bye hangup
           ended completed answered by engine 200"#,
    );
}

#[test]
fn a_bridge_that_media_cannot_make_is_told_and_the_flow_goes_on() {
    let mut world = with_queue(json!({"hold_music": "music", "max_wait_s": 60}));
    world.makes_bridges = false;
    world.agent("agent");
    world.waits("c", PATIENT);
    world.run_for(1_000);
    world.bridge("agent", json!({"with": "c"})).unwrap();
    world.run();
    let story = &world.stories[&world.id("c")].lines;
    let told = "bridge failed wait the media threads have no room for the bridge".to_owned();
    assert!(story.contains(&told) && story.contains(&"notify \"ended\"".to_owned()), "{story:?}");
}

#[test]
fn what_a_queue_plays_has_to_be_there() {
    let world = World::new();
    let settings = queue(json!({
        "hold_music": {"playlist": [{"prompt": "music"}, {"prompt": "gone"}]}, "max_wait_s": 1,
        "announce": {"every_s": 5, "play": {"prompt": "place-{position}"}},
        "callback": {"key": "1", "notice": {"url": "https://a/{b"}},
    }));
    let faults = world.engine.check_queue("sales", &settings).unwrap_err();
    let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(pointers, ["/hold_music/playlist/1/prompt", "/callback/notice/url"]);
}

/// Hundreds wait, and leave from everywhere: places stay whole.
#[test]
fn a_long_queue_keeps_its_order() {
    let mut world = with_queue(json!({"hold_music": "music", "max_wait_s": 3600}));
    for n in 0..300 {
        world.waits(&format!("c{n}"), PATIENT);
    }
    world.run_for(1_000);
    for n in (0..300).filter(|n| n % 3 != 0) {
        world.hang_up(&format!("c{n}"));
    }
    let queued = world.queued();
    let expected: Vec<_> = (0..300).step_by(3).map(|n| format!("c{n}")).collect();
    assert_eq!(queued.iter().map(|(id, ..)| id.clone()).collect::<Vec<_>>(), expected);
    assert!(queued.iter().zip(1..).all(|((_, place, _), n)| *place == n));
    assert!(world.engine.delete_queue(world.now, "sales"));
    world.run();
    assert!(world.is_empty());
}
