//! Calls on record: by the API, from the answer on, and by a step of the flow.

use control_api_types::{CallStatus, Record, RecordAction, RecordOptions};
use engine_core::Refusal;
use serde_json::{Value, json};

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::World;

const PATIENT: Script = &[(100, Answer(Good))];

fn record(world: &mut World, action: RecordAction) -> Result<String, Refusal> {
    let record = Record { action, options: RecordOptions::default() };
    let id = world.id("c1");
    let done = world.engine.record(world.now, &id, record).map(|id| id.to_string());
    world.pump();
    done
}

fn wrong_state(result: Result<String, Refusal>) -> &'static str {
    match result {
        Err(Refusal::WrongState { need, .. }) => need,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_api_starts_pauses_and_stops() {
    let mut world = World::new();
    world.call("c1", PATIENT, json!({}));
    assert_eq!(wrong_state(record(&mut world, RecordAction::Start)), "only an answered call is recorded");
    world.run_for(1_000);
    let not_yet = "it is not on record: start that first";
    for action in [RecordAction::Pause, RecordAction::Resume, RecordAction::Stop] {
        assert_eq!(wrong_state(record(&mut world, action)), not_yet);
    }
    let first = record(&mut world, RecordAction::Start).unwrap();
    assert_eq!(
        wrong_state(record(&mut world, RecordAction::Start)),
        "it is on record already: stop that first"
    );
    world.run_for(1_000);
    for action in [RecordAction::Pause, RecordAction::Resume] {
        assert_eq!(record(&mut world, action).unwrap(), first);
    }
    assert_eq!(world.media.pauses, [true, false]);
    world.run_for(1_000);
    assert_eq!(record(&mut world, RecordAction::Stop).unwrap(), first);
    let second = record(&mut world, RecordAction::Start).unwrap();
    assert_ne!(first, second);
    world.run_for(500);
    world.engine.hangup(world.now, &world.id("c1"), control_api_types::HangupReason::Normal).unwrap();
    world.run();
    world.check(
        "c1",
        "initiated
         answered PCMA
         records - wav 1
         recorded - stopped 2000
         records - wav 1
         recorded - hangup 500
         ended completed answered by api 200",
    );
    assert_eq!(world.cdr("c1").recording_ids, [first, second]);
    assert!(matches!(record(&mut world, RecordAction::Start), Err(Refusal::NotFound)));
}

#[test]
fn a_call_is_on_record_from_its_answer_on() {
    let mut world = World::new();
    let script: Script = &[(100, Ring), (2_000, Answer(Good)), (3_000, Hangup)];
    world.call("c1", script, json!({"record": {"format": "ogg", "channels": 2, "max_s": 60}}));
    world.call("c2", PATIENT, json!({"record": true, "max_duration_s": 2}));
    world.call("c3", &[(100, Reject(486))], json!({"record": true}));
    world.run();
    world.check(
        "c1",
        "initiated
         ringing 180
         answered PCMA
         records - ogg 2
         recorded - hangup 1000
         ended completed answered by remote 200",
    );
    world.check(
        "c2",
        "initiated
         answered PCMA
         records - wav 1
         recorded - hangup 2000
         ended completed answered by engine 200",
    );
    assert_eq!(world.cdr("c3").status, CallStatus::Busy);
    assert!(world.cdr("c3").recording_ids.is_empty());
}

fn voicemail(record: Value) -> Value {
    let mut step = json!({"verb": "record", "next": "told"});
    step.as_object_mut().unwrap().extend(record.as_object().unwrap().clone());
    json!({"flow": {"start": "mail", "steps": {
        "mail": step,
        "told": {"verb": "notify", "data": "{mail.reason} {mail.duration_ms}", "next": "ask"},
        "ask": {"verb": "gather", "max": 1, "timeout_ms": 500, "next": "bye"},
        "bye": {"verb": "hangup"},
    }}})
}

#[test]
fn a_step_records_up_to_a_terminator_and_its_digits_are_nobody_elses() {
    let mut world = World::new();
    // More digits than a collect takes do not end it.
    let mut script = vec![(100, Answer(Good))];
    script.extend((0..34).map(|n| (1_000 + n * 200, Press('5'))));
    script.push((10_000, Press('#')));
    world.call("c1", script.leak(), voicemail(json!({"max_s": 60, "format": "ogg"})));
    world.run();
    let story = &world.stories[&world.id("c1")].lines;
    let rest: Vec<_> = story.iter().filter(|line| !line.starts_with("dtmf 5")).map(String::as_str).collect();
    assert_eq!(
        rest[..6],
        ["initiated", "answered PCMA", "step mail record", "records mail ogg 1", "dtmf # 100", rest[5]]
    );
    assert!(rest[5].starts_with("recorded mail terminator 98"), "{}", rest[5]);
    assert_eq!(
        rest[6..],
        [
            "step told notify",
            &format!("notify {:?}", rest[5].trim_start_matches("recorded mail ")),
            "step ask gather",
            "gathered ask \"\" timeout",
            "step bye hangup",
            "ended completed answered by engine 200",
        ]
    );
    let cdr = world.cdr("c1");
    assert_eq!(cdr.variables["mail.recording_id"].to_string(), cdr.recording_ids[0]);
}

#[test]
fn a_step_records_as_long_as_it_may_beside_the_recording_of_the_call() {
    let mut world = World::new();
    let mut body = voicemail(json!({"max_s": 3, "terminators": ""}));
    body["record"] = json!(true);
    world.call("c1", &[(100, Answer(Good)), (1_000, Press('#')), (8_000, Hangup)], body);
    world.run();
    world.check(
        "c1",
        r#"initiated
         answered PCMA
         records - wav 1
         step mail record
         records mail wav 1
         dtmf # 100
         recorded mail max-length 3000
         step told notify
         notify "max-length 3000"
         step ask gather
         gathered ask "" timeout
         step bye hangup
         recorded - hangup 3500
         ended completed answered by engine 200"#,
    );
}

#[test]
fn a_flow_that_records_for_ever_is_ended() {
    let mut world = World::new();
    let flow = json!({"start": "a", "steps": {"a": {"verb": "record", "max_s": 1, "next": "a"}}});
    world.call("c1", PATIENT, json!({"flow": flow}));
    world.run();
    assert_eq!(world.cdr("c1").sip_reason.as_deref(), Some("flow-limit"));
    assert_eq!(world.cdr("c1").recording_ids.len(), 100);
}
