//! What answered calls do: flows, and the API's commands beside them.

use control_api_types::{Gather, Play};
use engine_core::{Input, MediaInput, Refusal};
use media_core::{CollectEnd, Digits, LegId, MediaEvent};
use serde_json::{Value, json};

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::World;

const PATIENT: Script = &[(100, Answer(Good))];

#[test]
fn a_menu_plays_collects_and_hangs_up() {
    let mut world = World::new();
    let flow = json!({"start": "greet", "steps": {
        "greet": {"verb": "gather", "play": {"prompt": "hello"}, "max": 1, "save_as": "choice", "on": {"1": "thanks", "else": "bye"}},
        "thanks": {"verb": "notify", "data": {"chose": "{greet.digits}", "who": "{name}", "{": "{{}}"}, "next": "music"},
        "music": {"verb": "play", "prompt": "music", "next": "bye"},
        "bye": {"verb": "hangup"},
    }});
    let script: Script = &[(100, Ring), (1_000, Answer(Good)), (1_500, Press('1'))];
    world.call("c1", script, json!({"flow": flow, "variables": {"name": "Ana"}}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           ringing 180
           answered PCMA
           step greet gather
           plays p-1 hello
           played p-1 barge-in
           dtmf 1 100
           gathered greet "1" max
           step thanks notify
           notify {"chose":"1","who":"Ana","{":"{}"}
           step music play
           plays p-2 music
           played p-2 completed
           step bye hangup
           ended completed answered by engine 200"#,
    );
    let variables = serde_json::to_value(&world.cdr("c1").variables).unwrap();
    assert_eq!(variables, json!({"choice": "1", "greet.digits": "1", "name": "Ana"}));
}

#[test]
fn keys_of_info_count_like_those_in_the_media() {
    const RELAY: &str = "application/dtmf-relay";
    let mut world = World::new();
    let flow = json!({"start": "greet", "steps": {
        "greet": {"verb": "gather", "play": {"prompt": "music"}, "max": 3, "on": {"5*1": "bye"}},
        "bye": {"verb": "hangup"},
    }});
    let script: Script = &[
        (100, Answer(Keyless)),
        (300, Info("application/x-nothing", "<nothing/>")),
        (400, Info(RELAY, "Signal=5\r\nDuration=160\r\n")),
        (500, Info(RELAY, "Signal=16\r\nDuration=160\r\n")),
        (600, Info("application/dtmf", "10")),
        (700, Info("application/dtmf", "1")),
    ];
    world.call("c1", script, json!({"flow": flow}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step greet gather
           plays p-1 music
           played p-1 barge-in
           dtmf 5 160 info
           dtmf * 100 info
           dtmf 1 100 info
           gathered greet "5*1" max
           step bye hangup
           ended completed answered by engine 200"#,
    );
    assert_eq!(world.carrier.infos, [415, 200, 200, 200, 200]);
}

#[test]
fn a_gateway_that_sends_keys_both_ways_presses_each_once() {
    let mut world = World::new();
    let flow = json!({"start": "pin", "steps": {
        "pin": {"verb": "gather", "max": 4, "terminators": "#", "timeout_ms": 2000}}});
    let script: Script = &[
        (100, Answer(Good)),
        (400, Info("application/dtmf", "1")),
        (410, Press('1')),
        (700, Press('2')),
        (710, Info("application/dtmf", "2")),
        (900, Press('#')),
    ];
    world.call("c1", script, json!({"flow": flow}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step pin gather
           dtmf 1 100
           dtmf 2 100
           dtmf # 100
           gathered pin "12" terminator
           ended completed answered by engine 200"#,
    );
    assert_eq!(world.carrier.infos, [200, 200], "each is acknowledged");
}

/// Telephone-event was agreed, yet the keys come by INFO only.
#[test]
fn info_is_heard_of_whoever_agreed_to_events_and_sends_none() {
    let mut world = World::new();
    let flow = json!({"start": "pin", "steps": {"pin": {"verb": "gather", "max": 3, "timeout_ms": 2000}}});
    let script: Script = &[
        (100, Answer(Good)),
        (400, Info("application/dtmf", "4")),
        (600, Info("application/dtmf", "4")),
        (800, Info("application/dtmf-relay", "Signal=2\r\nDuration=200\r\n")),
    ];
    world.call("c1", script, json!({"flow": flow}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step pin gather
           dtmf 4 100 info
           dtmf 4 100 info
           dtmf 2 200 info
           gathered pin "442" max
           ended completed answered by engine 200"#,
    );
}

#[test]
fn a_gather_replays_on_timeout_and_on_no_match() {
    let mut world = World::new();
    let flow = json!({"start": "ask", "steps": {
        "ask": {"verb": "gather", "play": {"prompt": "hello"}, "max": 1, "retries": 2, "timeout_ms": 1000,
                "on": {"1": "bye", "else": "wrong", "timeout": "late"}},
        "wrong": {"verb": "hangup"}, "late": {"verb": "hangup"}, "bye": {"verb": "hangup"},
    }});
    // Prompt and silence take 2 s; then a 7, which nobody expects; then silence again.
    let script: Script = &[(0, Answer(Good)), (3_500, Press('7'))];
    world.call("c1", script, json!({"flow": flow}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step ask gather
           plays p-1 hello
           played p-1 completed
           plays p-2 hello
           played p-2 completed
           dtmf 7 100
           plays p-3 hello
           played p-3 completed
           gathered ask "" timeout
           step late hangup
           ended completed answered by engine 200"#,
    );
    assert!(world.cdr("c1").variables.is_empty(), "nothing was entered");
}

#[test]
fn digits_with_terminator_and_too_few_of_them() {
    let mut world = World::new();
    let flow = |retries: u32| {
        json!({"start": "pin", "steps": {
            "pin": {"verb": "gather", "min": 3, "max": 6, "retries": retries, "timeout_ms": 2000, "inter_digit_ms": 500,
                    "on": {"timeout": "late"}, "next": "ok"},
            "ok": {"verb": "hangup"}, "late": {"verb": "hangup"},
        }})
    };
    let script: Script =
        &[(0, Answer(Good)), (200, Press('1')), (300, Press('2')), (400, Press('3')), (500, Press('#'))];
    world.call("whole", script, json!({"flow": flow(0)}));
    world.call("few", &[(0, Answer(Good)), (200, Press('1'))], json!({"flow": flow(0)}));
    world.run();
    world.check(
        "whole",
        r#"initiated
           answered PCMA
           step pin gather
           dtmf 1 100
           dtmf 2 100
           dtmf 3 100
           dtmf # 100
           gathered pin "123" terminator
           step ok hangup
           ended completed answered by engine 200"#,
    );
    world.check(
        "few",
        r#"initiated
           answered PCMA
           step pin gather
           dtmf 1 100
           gathered pin "1" timeout
           step late hangup
           ended completed answered by engine 200"#,
    );
}

#[test]
fn hanging_up_half_way_ends_what_runs_first() {
    let mut world = World::new();
    let flow = json!({"start": "ask", "steps": {
        "ask": {"verb": "gather", "play": {"prompt": "music"}, "max": 1, "retries": 5, "next": "ask"}}});
    world.call("c1", &[(0, Answer(Good)), (1_000, Hangup)], json!({"flow": flow}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step ask gather
           plays p-1 music
           played p-1 hangup
           gathered ask "" hangup
           ended completed answered by remote 200"#,
    );
}

#[test]
fn pauses_branches_and_a_stored_flow_that_changes_meanwhile() {
    let mut world = World::new();
    let version = |word: &str| {
        json!({"start": "wait", "steps": {
            "wait": {"verb": "pause", "ms": 5000, "next": "vip"},
            "vip": {"verb": "branch", "cases": [{"if": {"var": "tier", "op": "in", "value": ["gold", "silver"]}, "then": "yes"}], "on": {"else": "no"}},
            "yes": {"verb": "notify", "data": {"word": word}}, "no": {"verb": "hangup", "reason": "rejected"},
        }})
    };
    world.put_flow("tiers", version("old")).unwrap();
    world.call("gold", PATIENT, json!({"flow": "tiers", "variables": {"tier": "gold"}}));
    world.call("tin", PATIENT, json!({"flow": "tiers", "variables": {"tier": "tin"}}));
    world.run_for(1_000);
    world.put_flow("tiers", version("new")).unwrap();
    world.run();
    world.check(
        "gold",
        r#"initiated
           answered PCMA
           step wait pause
           step vip branch
           step yes notify
           notify {"word":"old"}
           ended completed answered by engine 200"#,
    );
    world.check(
        "tin",
        "initiated\nanswered PCMA\nstep wait pause\nstep vip branch\nstep no hangup\nended completed answered by engine 200",
    );
    let cdr = world.cdr("gold");
    assert_eq!(cdr.ended_at.unwrap().unix_ms() - cdr.answered_at.unwrap().unix_ms(), 5_000);
}

#[test]
fn a_flow_that_never_waits_is_cut_off() {
    let mut world = World::new();
    let flow = json!({"start": "a", "steps": {"a": {"verb": "set", "variables": {"x": 1}, "next": "a"}}});
    world.call("c1", PATIENT, json!({"flow": flow}));
    world.run();
    let story = &world.stories[&world.id("c1")];
    assert_eq!(story.lines.len(), 2 + 1_000 + 1);
    assert_eq!(world.cdr("c1").sip_reason.as_deref(), Some("flow-limit"));
}

#[test]
fn a_prompt_that_has_gone_is_an_error_and_the_flow_goes_on() {
    let mut world = World::new();
    let flow = json!({"start": "a", "steps": {
        "a": {"verb": "play", "prompt": "hello", "next": "b"},
        "b": {"verb": "gather", "play": {"prompt": "music"}, "max": 1, "timeout_ms": 500, "on": {"timeout": "c"}},
        "c": {"verb": "play", "prompt": "never-{there}"},
    }});
    world.call("c1", PATIENT, json!({"flow": flow}));
    world.media.lose_prompt("hello");
    world.media.lose_prompt("music");
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step a play
           played p-1 error
           step b gather
           played p-2 error
           gathered b "" timeout
           step c play
           played p-4 error
           ended completed answered by engine 200"#,
    );
}

#[test]
fn a_parked_call_does_what_the_api_says() {
    let mut world = World::new();
    world.call("c1", PATIENT, json!({}));
    world.run_for(1_000);
    assert_eq!(play(&mut world, "c1", "hello").unwrap(), "p-1");
    world.run_for(500);
    assert_eq!(play(&mut world, "c1", "music").unwrap(), "p-2");
    world.run_for(500);
    let (now, id) = (world.now, world.id("c1"));
    world.engine.stop_play(now, &id).unwrap();
    world.run_for(500);
    gather(&mut world, "c1", json!({"play": {"prompt": "hello"}, "max": 2, "timeout_ms": 300, "retries": 1}))
        .unwrap();
    world.run_for(10_000);
    assert!(play(&mut world, "c1", "nothing").is_err());
    let now = world.now;
    world.engine.hangup(now, &id, control_api_types::HangupReason::Normal).unwrap();
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           plays p-1 hello
           played p-1 stopped
           plays p-2 music
           played p-2 stopped
           plays p-3 hello
           played p-3 completed
           plays p-4 hello
           played p-4 completed
           gathered - "" timeout
           ended completed answered by api 200"#,
    );
}

#[test]
fn the_api_keeps_its_hands_off_a_flow_that_uses_the_media() {
    let mut world = World::new();
    let flow = json!({"start": "a", "steps": {
        "a": {"verb": "play", "prompt": "music", "next": "b"},
        "b": {"verb": "park", "play": {"prompt": "hello", "loop": 0}},
    }});
    world.call("c1", PATIENT, json!({"flow": flow}));
    assert!(matches!(play(&mut world, "c1", "hello"), Err(Refusal::WrongState { .. })), "not answered yet");
    world.run_for(1_000);
    assert!(matches!(play(&mut world, "c1", "hello"), Err(Refusal::WrongState { .. })), "the flow plays");
    // Stopping the prompt is no harm: the flow goes on to its next step.
    let (now, id) = (world.now, world.id("c1"));
    world.engine.stop_play(now, &id).unwrap();
    world.run_for(100);
    assert_eq!(play(&mut world, "c1", "music").unwrap(), "p-3", "it is parked now");
    world.run_for(6_000);
    let now = world.now;
    world.engine.hangup(now, &id, control_api_types::HangupReason::Normal).unwrap();
    world.run();
    world.check(
        "c1",
        "initiated
         answered PCMA
         step a play
         plays p-1 music
         played p-1 stopped
         step b park
         plays p-2 hello
         played p-2 stopped
         plays p-3 music
         played p-3 completed
         ended completed answered by api 200",
    );
    assert!(matches!(play(&mut world, "c1", "hello"), Err(Refusal::NotFound)));
}

#[test]
fn playlists_tones_and_urls_are_played_and_what_is_missing_does_not_stop_the_flow() {
    let mut world = World::new();
    let flow = json!({"start": "a", "steps": {
        "a": {"verb": "play", "loop": 2, "next": "b",
              "playlist": [{"prompt": "hello"}, {"tone": "ringback", "country": "id"}]},
        "b": {"verb": "play", "url": "https://web.example/{to}.mp3", "next": "c"},
        "c": {"verb": "gather", "max": 1, "timeout_ms": 500, "play": {"url": "https://web.example/gone"}, "next": "d"},
        "d": {"verb": "park", "play": {"tone": "busy", "loop": 0}},
    }});
    world.media_has("https://web.example/1000.mp3", 300);
    world.call("c1", PATIENT, json!({"flow": flow}));
    world.run_for(20_000);
    let unknown =
        json!({"playlist": [{"prompt": "hello"}, {"prompt": "gone"}, {"tone": "dial", "country": "xx"}]});
    let Err(Refusal::Validation(faults)) = play_json(&mut world, "c1", unknown) else {
        panic!("two are not there")
    };
    let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(pointers, ["/playlist/1/prompt", "/playlist/2/country"]);
    let (now, id) = (world.now, world.id("c1"));
    world.engine.hangup(now, &id, control_api_types::HangupReason::Normal).unwrap();
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step a play
           plays p-1 hello ringback/id
           played p-1 completed
           step b play
           plays p-2 https://web.example/1000.mp3
           played p-2 completed
           step c gather
           played p-3 error
           gathered c "" timeout
           step d park
           plays p-5 busy/itu
           played p-5 hangup
           ended completed answered by api 200"#,
    );
}

#[test]
fn what_the_api_gathers_and_cannot_keep_is_told_and_ends_nothing() {
    let mut world = World::new();
    let full: serde_json::Map<_, _> = (0..256).map(|n| (format!("v{n}"), json!(n))).collect();
    let script: Script = &[(100, Answer(Good)), (1_000, Press('5'))];
    world.call("c1", script, json!({"variables": full}));
    world.run_for(500);
    gather(&mut world, "c1", json!({"max": 1, "save_as": "choice"})).unwrap();
    world.run_for(2_000);
    assert!(world.engine.call(&world.id("c1")).is_some(), "no flow runs away here");
    let (now, id) = (world.now, world.id("c1"));
    world.engine.hangup(now, &id, control_api_types::HangupReason::Normal).unwrap();
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           dtmf 5 100
           gathered - "5" max: the call has as many variables as it may have (256, 64 KiB): the digits are in no variable
           ended completed answered by api 200"#,
    );
}

#[test]
fn a_gather_is_not_repeated_in_the_place_of_what_came_after_it() {
    let mut world = World::new();
    world.call("c1", PATIENT, json!({}));
    world.run_for(500);
    gather(&mut world, "c1", json!({"max": 1, "retries": 3, "timeout_ms": 60_000})).unwrap();
    let (now, id) = (world.now, world.id("c1"));
    // Its end is on its way when the API wants something else.
    world.engine.play(now, &id, Play::once("hello")).unwrap();
    let ended = MediaEvent::CollectEnded { id: 1, digits: Digits::new(), reason: CollectEnd::Timeout };
    let input = MediaInput::Event(ended);
    world.engine.handle_input(now, Input::Media { leg: LegId(1), input });
    world.pump();
    world.run_for(3_000);
    assert_eq!(world.media.runs, 2);
    world.engine.hangup(world.now, &id, control_api_types::HangupReason::Normal).unwrap();
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           gathered - "" stopped
           plays p-2 hello
           played p-2 completed
           ended completed answered by api 200"#,
    );
}

fn play(world: &mut World, id: &str, prompt: &str) -> Result<String, Refusal> {
    play_json(world, id, json!({"prompt": prompt}))
}

fn play_json(world: &mut World, id: &str, body: Value) -> Result<String, Refusal> {
    let (now, id) = (world.now, world.id(id));
    let result = world.engine.play(now, &id, Play::from_json(&body).unwrap());
    world.pump();
    result.map(|id| id.to_string())
}

fn gather(world: &mut World, id: &str, body: Value) -> Result<(), Refusal> {
    let (now, id) = (world.now, world.id(id));
    let result = world.engine.gather(now, &id, Gather::from_json(&body).unwrap());
    world.pump();
    result
}
