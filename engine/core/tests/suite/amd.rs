//! Who answers: events, flow, record, over what the far end really says.

use control_api_types::{AmdEvidence, AmdReport, AmdResult};
use serde_json::{Value, json};

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::World;

const SPEECH: f32 = -1.0;
const SILENCE: f32 = 0.0;
const HELLO: Script =
    &[(100, Answer(Good)), (200, Say(&[(500, SILENCE), (480, SPEECH), (4000, SILENCE)])), (9000, Hangup)];
const MAILBOX: Script = &[
    (100, Answer(Good)),
    (200, Say(&[(500, SILENCE), (5000, SPEECH), (400, SILENCE), (400, 1000.0), (3000, SILENCE)])),
    (20_000, Hangup),
];
const QUIET_MAILBOX: Script =
    &[(100, Answer(Good)), (200, Say(&[(500, SILENCE), (5000, SPEECH), (6000, SILENCE)])), (20_000, Hangup)];

fn flow(amd: Value) -> Value {
    let mut amd = amd;
    amd["verb"] = "amd".into();
    amd["on"] = json!({"human": "person", "machine": "message", "fax": "bye"});
    amd["next"] = "bye".into();
    json!({"start": "who", "steps": {
        "who": amd,
        "person": {"verb": "play", "prompt": "hello", "next": "bye"},
        "message": {"verb": "play", "prompt": "music", "next": "bye"},
        "bye": {"verb": "hangup"},
    }})
}

#[test]
fn a_human_is_spoken_to_at_once() {
    let mut world = World::new();
    world.call("c1", HELLO, json!({"flow": flow(json!({}))}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step who amd
           amd human short-greeting 1820
           step person play
           plays p-1 hello
           played p-1 completed
           step bye hangup
           ended completed answered by engine 200"#,
    );
    let report = AmdReport {
        result: Some(AmdResult::Human),
        ms: Some(1820),
        evidence: Some(AmdEvidence::ShortGreeting),
        ..AmdReport::default()
    };
    assert_eq!(world.cdr("c1").amd, Some(report));
}

#[test]
fn a_message_is_left_after_the_beep() {
    let mut world = World::new();
    world.call("c1", MAILBOX, json!({"amd": {}, "flow": flow(json!({"wait_for_beep_ms": 30_000}))}));
    world.call("c2", MAILBOX, json!({"amd": {"machine_greeting_ms": 2000}, "flow": flow(json!({}))}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step who amd
           amd machine long-greeting 4050
           beep 6340 390 1000
           step message play
           plays p-1 music
           played p-1 completed
           step bye hangup
           ended completed answered by engine 200"#,
    );
    // Without waiting for it; the beep is told all the same.
    world.check(
        "c2",
        r#"initiated
           answered PCMA
           step who amd
           amd machine long-greeting 2540
           step message play
           plays p-1 music
           beep 6340 390 1000
           played p-1 completed
           step bye hangup
           ended completed answered by engine 200"#,
    );
    assert!(world.cdr("c1").amd.as_ref().unwrap().beep_ms.is_some());
}

#[test]
fn a_beep_that_does_not_come_is_not_waited_for_longer_than_asked() {
    let mut world = World::new();
    world.call("c1", QUIET_MAILBOX, json!({"flow": flow(json!({"wait_for_beep_ms": 4000}))}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step who amd
           amd machine long-greeting 4050
           step message play
           plays p-1 music
           played p-1 completed
           step bye hangup
           ended completed answered by engine 200"#,
    );
}

#[test]
fn a_beep_is_waited_for_no_longer_than_it_is_listened_for() {
    let mut world = World::new();
    let flow = flow(json!({"wait_for_beep_ms": 30_000, "beep_wait_ms": 1000}));
    world.call("c1", QUIET_MAILBOX, json!({"flow": flow}));
    world.run();
    // The mailbox hangs up 20 s after the answer, long before 30 s of waiting would be over.
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step who amd
           amd machine long-greeting 4050
           step message play
           plays p-1 music
           played p-1 completed
           step bye hangup
           ended completed answered by engine 200"#,
    );
}

#[test]
fn tones_before_the_answer_are_evidence_of_calls_that_fail() {
    let sit: Script = &[
        (100, EarlyMedia),
        (
            200,
            Say(&[
                (200, SILENCE),
                (380, 985.2),
                (280, 1370.6),
                (380, 1776.7),
                (500, SILENCE),
                (3000, SPEECH),
            ]),
        ),
        (6000, Reject(404)),
    ];
    let busy: Script = &[
        (100, EarlyMedia),
        (
            200,
            Say(&[(500, 425.0), (500, SILENCE), (500, 425.0), (500, SILENCE), (500, 425.0), (500, SILENCE)]),
        ),
        (6000, Reject(486)),
    ];
    let mut world = World::new();
    let request = json!({"amd": {"enabled": true}, "early_media": "connect"});
    world.call("sit", sit, request.clone());
    world.call("busy", busy, request.clone());
    world.call("unasked", busy, json!({"amd": {"enabled": false}, "early_media": "connect"}));
    world.run();
    world.check("sit", "initiated\nearly-media\nended failed invalid-number by remote 404");
    let heard = |world: &World, id: &str| world.cdr(id).amd.as_ref().map(|amd| amd.early_media.clone());
    assert_eq!(heard(&world, "sit"), Some(vec![AmdEvidence::SitVacant, AmdEvidence::Announcement]));
    assert_eq!(heard(&world, "busy"), Some(vec![AmdEvidence::Busy]));
    assert_eq!(heard(&world, "unasked"), None);
}

#[test]
fn what_rang_before_the_answer_does_not_count_as_the_answer() {
    let script: Script = &[
        (100, EarlyMedia),
        (
            200,
            Say(&[
                (1000, 425.0),
                (4000, SILENCE),
                (1000, 425.0),
                (1800, SILENCE),
                (480, SPEECH),
                (4000, SILENCE),
            ]),
        ),
        (7600, Answer(Good)),
        (16_000, Hangup),
    ];
    let mut world = World::new();
    world.call("c1", script, json!({"amd": {}, "early_media": "connect", "flow": flow(json!({}))}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           early-media
           answered PCMA
           step who amd
           amd human short-greeting 1700
           step person play
           plays p-1 hello
           played p-1 completed
           step bye hangup
           ended completed answered by engine 200"#,
    );
    assert_eq!(world.cdr("c1").amd.as_ref().unwrap().early_media, [AmdEvidence::Ringback]);
}
