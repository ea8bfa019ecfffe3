//! Sending digits: by the API and by flows, in the media and by INFO.

use control_api_types::Dtmf;
use control_api_types::event::DtmfMethod;
use engine_core::Refusal;
use serde_json::json;

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::{World, trunk};

const PATIENT: Script = &[(100, Answer(Good))];
const KEYLESS: Script = &[(100, Answer(Keyless))];

fn dtmf(digits: &str, method: Option<DtmfMethod>) -> Dtmf {
    Dtmf { method, ..Dtmf::of(digits) }
}

/// A world whose trunk `jkt` sends digits by `method`.
fn world(method: DtmfMethod) -> World {
    World::with(|config| {
        for trunk in &mut config.trunks {
            trunk.dtmf = method;
        }
    })
}

#[test]
fn the_api_sends_digits_one_string_at_a_time() {
    let mut world = World::new();
    world.call("c1", PATIENT, json!({"flow": {"start": "a", "steps": {"a": {"verb": "park"}}}}));
    let id = world.id("c1");
    let early = world.engine.dtmf(world.now, &id, &Dtmf::of("1"));
    assert!(matches!(early, Err(Refusal::WrongState { .. })), "{early:?}");
    world.run_for(1_000);
    world.engine.dtmf(world.now, &id, &Dtmf::of("12w3")).unwrap();
    world.run_for(200);
    let again = world.engine.dtmf(world.now, &id, &Dtmf::of("4"));
    assert!(matches!(again, Err(Refusal::WrongState { .. })), "{again:?}");
    world.run_for(2_000);
    world.engine.dtmf(world.now, &id, &dtmf("*", Some(DtmfMethod::Inband))).unwrap();
    world.run_for(1_000);
    let bad = world.engine.dtmf(world.now, &id, &Dtmf::of("1x"));
    assert!(matches!(&bad, Err(Refusal::Validation(faults)) if faults[0].pointer == "/digits"), "{bad:?}");
    // The call ends while they are on their way.
    world.engine.dtmf(world.now, &id, &Dtmf::of("98,7")).unwrap();
    world.run_for(1_000);
    world.engine.hangup(world.now, &id, control_api_types::HangupReason::Normal).unwrap();
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step a park
           sent "123" rfc4733
           sent "*" inband
           sent "98" rfc4733 only
           ended completed answered by api 200"#,
    );
}

#[test]
fn a_flow_sends_digits_with_variables_and_goes_on_when_they_are_sent() {
    let mut world = World::new();
    let flow = json!({"start": "pin", "steps": {
        "pin": {"verb": "dtmf", "digits": "w{pin}#", "duration_ms": 80, "next": "none"},
        "none": {"verb": "dtmf", "digits": "{pin}x", "next": "again", "on": {"failed": "bye"}},
        "again": {"verb": "park"},
        "bye": {"verb": "hangup"},
    }});
    world.call("c1", PATIENT, json!({"flow": flow, "variables": {"pin": "4711"}}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step pin dtmf
           sent "4711#" rfc4733
           step none dtmf
           sent "" rfc4733 only: 'x' is neither a key (0-9 * # A-D) nor a pause (w: 0.5 s, W: 1 s, comma: 2 s)
           step bye hangup
           ended completed answered by engine 200"#,
    );
}

#[test]
fn who_has_agreed_to_no_events_gets_tones_unless_events_are_asked_for() {
    let mut world = World::new();
    let flow = json!({"start": "a", "steps": {
        "a": {"verb": "dtmf", "digits": "1", "next": "b"},
        "b": {"verb": "dtmf", "digits": "2", "method": "rfc4733", "next": "c"},
        "c": {"verb": "hangup"},
    }});
    world.call("c1", KEYLESS, json!({"flow": flow}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step a dtmf
           sent "1" inband
           step b dtmf
           sent "" rfc4733 only: the far side has not agreed to telephone events: use inband or info
           step c hangup
           ended completed answered by engine 200"#,
    );
}

#[test]
fn info_is_sent_digit_by_digit_each_after_the_answer_to_the_one_before() {
    let mut world = world(DtmfMethod::Info);
    let flow = json!({"start": "a", "steps": {
        "a": {"verb": "dtmf", "digits": "1w#", "duration_ms": 160, "next": "b"},
        "b": {"verb": "hangup"},
    }});
    world.call("c1", PATIENT, json!({"flow": flow}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step a dtmf
           sent "1#" info
           step b hangup
           ended completed answered by engine 200"#,
    );
    let [(first, one), (second, pound)] = &world.carrier.told[..] else { panic!("{:?}", world.carrier.told) };
    assert_eq!(one, "Signal=1\r\nDuration=160\r\n");
    assert_eq!(pound, "Signal=#\r\nDuration=160\r\n");
    // Its duration, the gap, and the pause.
    assert_eq!(second.duration_since(*first).as_millis(), 160 + 100 + 500);
}

#[test]
fn info_that_nobody_answers_ends_and_so_does_one_whose_call_is_over() {
    let mut world = world(DtmfMethod::Info);
    let flow = json!({"start": "a", "steps": {"a": {"verb": "dtmf", "digits": "12", "next": "b"}, "b": {"verb": "hangup"}}});
    world.call("c1", PATIENT, json!({"flow": flow}));
    world.run_for(150);
    world.deafen(true);
    world.run_for(40_000);
    world.deafen(false);
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step a dtmf
           sent "1" info only
           step b hangup
           ended completed answered by engine 200"#,
    );
    let flow = json!({"start": "a", "steps": {"a": {"verb": "dtmf", "digits": "12,,,34"}}});
    world.call("c2", PATIENT, json!({"flow": flow}));
    world.run_for(2_000);
    world.engine.hangup(world.now, &world.id("c2"), control_api_types::HangupReason::Normal).unwrap();
    world.run();
    world.check(
        "c2",
        r#"initiated
           answered PCMA
           step a dtmf
           sent "12" info only
           ended completed answered by api 200"#,
    );
}

/// With `inband` the carrier is told of no events, so that it sends tones, too.
#[test]
fn events_are_offered_unless_the_trunk_is_inband() {
    for (method, offered) in
        [(DtmfMethod::Rfc4733, true), (DtmfMethod::Info, true), (DtmfMethod::Inband, false)]
    {
        let mut world = world(method);
        let flow = json!({"start": "a", "steps": {"a": {"verb": "dtmf", "digits": "1"}}});
        world.call("c1", PATIENT, json!({"flow": flow}));
        world.run();
        let offer = String::from_utf8(world.carrier.requests[0].body().to_vec()).unwrap();
        assert_eq!(offer.contains("telephone-event"), offered, "{method}");
        world.check(
            "c1",
            &format!(
                "initiated\n answered PCMA\n step a dtmf\n sent \"1\" {method}\n ended completed answered by engine 200"
            ),
        );
    }
    assert_eq!(trunk("t", "192.0.2.1:5060").dtmf, DtmfMethod::Rfc4733);
}
