//! Request bodies: what is accepted, and the pointer and words of each fault.

use control_api_types::{
    Codec, CreateCall, Dtmf, Fault, FlowRef, Gather, HangupReason, Play, Say, Sound, Source, Tone, Transfer,
    TransferMode,
    flow::{Flow, Outcome, Test, Verb},
};
use serde_json::{Value, json};

/// Checks that `faults` are exactly those at these pointers, each mentioning the words beside it.
#[track_caller]
fn check(faults: &[Fault], expected: &[(&str, &str)]) {
    let found: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    let pointers: Vec<_> = expected.iter().map(|(pointer, _)| *pointer).collect();
    assert_eq!(found, pointers, "{faults:#?}");
    for (fault, (_, words)) in faults.iter().zip(expected) {
        assert!(fault.detail.contains(words), "{:?} does not mention {words:?}", fault.detail);
    }
}

fn flow_of(step: Value) -> Value {
    json!({"start": "a", "steps": {"a": step, "b": {"verb": "hangup"}}})
}

#[test]
fn a_call_with_every_field() {
    let body = json!({
        "id": "order-7.1", "to": "+62876123", "from": "+6221555", "trunk": "jkt-1", "timeout_s": 20,
        "max_duration_s": 600, "codecs": ["pcma", "OPUS"], "headers": {"X-Campaign": "42"}, "early_media": "connect",
        "flow": flow_of(json!({"verb": "play", "prompt": "hello", "next": "b"})),
        "variables": {"name": "Budi", "age": 41, "vip": true}, "client_state": "opaque",
    });
    let call = CreateCall::from_json(&body).unwrap();
    assert_eq!(call.codecs, Some(vec![Codec::Pcma, Codec::Opus]));
    assert!(matches!(call.flow, Some(FlowRef::Inline(_))));
    // What is written again reads as the same: it is what the journal keeps.
    let written = serde_json::to_value(&call).unwrap();
    assert_eq!(CreateCall::from_json(&written).unwrap(), call);
}

#[test]
fn defaults_of_a_call() {
    let call = CreateCall::from_json(&json!({"to": "sip:bob@192.0.2.7"})).unwrap();
    assert_eq!(call, CreateCall::to("sip:bob@192.0.2.7"));
    assert_eq!((call.timeout_s, call.max_duration_s), (30, 14_400));
}

#[test]
fn every_fault_of_a_call_is_reported() {
    let body = json!({
        "id": "no spaces", "to": "call bob", "timeout_s": 0, "max_duration_s": "long", "codecs": ["PCMU", "GSM"],
        "headers": {"Via": "x", "X-A": "two\r\nlines", "X B": "y"}, "early_media": "maybe",
        "variables": {"1x": 1, "list": []}, "client_state": 7, "colour": "red",
    });
    let faults = CreateCall::from_json(&body).unwrap_err();
    check(
        &faults,
        &[
            ("/id", "1 to 64 characters"),
            ("/to", "number"),
            ("/timeout_s", "from 1 to 600, not 0"),
            ("/max_duration_s", "not a string"),
            ("/codecs/1", "PCMU, PCMA, G722, opus, L16"),
            ("/headers/Via", "written by the engine"),
            ("/headers/X-A", "one line"),
            ("/headers/X B", "name"),
            ("/early_media", "ignore, connect"),
            ("/variables/1x", "letter"),
            ("/variables/list", "not a list"),
            ("/client_state", "not a number"),
            ("/colour", "allowed here: id, to, from, timeout_s, trunk"),
        ],
    );
}

#[test]
fn faults_of_a_call_one_by_one() {
    let table: &[(Value, &str, &str)] = &[
        (json!([]), "", "must be an object, not a list"),
        (json!({}), "/to", "is required"),
        (json!({"to": "+6281"}), "/trunk", "is required"),
        (json!({"to": "sip:"}), "/to", "number"),
        (json!({"to": "sip:a@b\r\nX: y"}), "/to", "number"),
        (json!({"to": "+"}), "/to", "number"),
        (json!({"to": "sip:a@b", "from": "<script>"}), "/from", "user name"),
        (json!({"to": "sip:a@b", "timeout_s": 1.5}), "/timeout_s", "not 1.5"),
        (json!({"to": "sip:a@b", "timeout_s": -1}), "/timeout_s", "not -1"),
        (json!({"to": "sip:a@b", "codecs": []}), "/codecs", "1 to 8"),
        (json!({"to": "sip:a@b", "codecs": ["PCMU", "PCMU"]}), "/codecs/1", "twice"),
        (json!({"to": "sip:a@b", "client_state": "x".repeat(4097)}), "/client_state", "not 4097"),
        (json!({"to": "sip:a@b", "flow": "a b"}), "/flow", "name"),
        (json!({"to": "sip:a@b", "flow": {"start": "a"}}), "/flow/steps", "is required"),
        (json!({"to": "sip:a@b", "headers": {"l": "0"}}), "/headers/l", "written by the engine"),
    ];
    for (body, pointer, words) in table {
        check(&CreateCall::from_json(body).unwrap_err(), &[(pointer, words)]);
    }
}

#[test]
fn play_and_gather() {
    assert_eq!(Play::from_json(&json!({"prompt": "hello"})).unwrap(), Play::once("hello"));
    let endless =
        Play::from_json(&json!({"prompt": "music", "loop": 0, "offset_ms": 20, "barge_in": true})).unwrap();
    assert_eq!((endless.plays, endless.offset_ms, endless.barge_in), (0, 20, true));

    let gather = Gather::from_json(&json!({"max": 4})).unwrap();
    assert_eq!((gather.min, gather.terminators.as_str(), gather.timeout_ms), (1, "#", 5000));
    assert!(gather.barge_in);
    let faults =
        Gather::from_json(&json!({"min": 5, "max": 4, "terminators": "x", "save_as": "a-b", "retries": 11}));
    check(
        &faults.unwrap_err(),
        &[("/min", "greater"), ("/terminators", "0-9"), ("/retries", "0 to 10"), ("/save_as", "letter")],
    );
}

#[test]
fn everything_that_can_be_played() {
    let prompt = |prompt: &str| Sound::Prompt { prompt: prompt.to_owned() };
    let url = |url: &str| Sound::Url { url: url.to_owned() };
    let tone = |tone, country: Option<&str>| Sound::Tone { tone, country: country.map(str::to_owned) };
    let list = || vec![prompt("hello"), url("https://a.example/x.mp3"), tone(Tone::Beep, None)];
    for (body, play) in [
        (json!({"url": "https://a.example/{lang}.ogg"}), Play::of(url("https://a.example/{lang}.ogg"))),
        (json!({"url": "{music}"}), Play::of(url("{music}"))),
        (
            json!({"say": {"text": "Hi {name}", "language": "en"}}),
            Play::of(Sound::Say { say: Say::of("Hi {name}", "en") }),
        ),
        (
            json!({"say": {"text": "a", "language": "{lang}", "voice": "ana", "rate": 200}}),
            Play::of(Sound::Say {
                say: Say { voice: Some("ana".into()), rate: 200, ..Say::of("a", "{lang}") },
            }),
        ),
        (json!({"tone": "ringback", "country": "id"}), Play::of(tone(Tone::Ringback, Some("id")))),
        (
            json!({"tone": "sit", "volume_db": -6}),
            Play { volume_db: -6, ..Play::of(tone(Tone::SpecialInformation, None)) },
        ),
        (
            json!({"playlist": [{"prompt": "hello"}, {"url": "https://a.example/x.mp3"}, {"tone": "beep"}], "loop": 2}),
            Play { plays: 2, ..Play::of(Source::Playlist { playlist: list() }) },
        ),
    ] {
        assert_eq!(Play::from_json(&body).unwrap(), play, "{body}");
        let written = serde_json::to_value(&play).unwrap();
        assert_eq!(Play::from_json(&written).unwrap(), play, "{written}");
        assert_eq!(serde_json::from_value::<Source>(written).unwrap(), play.source);
    }
    for (body, faults) in [
        (json!({}), &[("/prompt", "another of: prompt, url, say, tone, playlist")][..]),
        (json!({"say": {"text": "hi"}}), &[("/say/language", "required")]),
        (
            json!({"say": {"text": "", "language": 1, "voice": "", "rate": 49, "x": 1}}),
            &[
                ("/say/text", "1 to 4096"),
                ("/say/language", "a string"),
                ("/say/voice", "1 to 64"),
                ("/say/rate", "from 50 to 200, not 49"),
                ("/say/x", "allowed"),
            ],
        ),
        (json!({"say": "hi"}), &[("/say", "an object")]),
        (
            json!({"say": {"text": "hi", "language": "en"}, "url": "https://a"}),
            &[("/say", "cannot stand beside url")],
        ),
        (json!({"prompt": "a", "tone": "busy"}), &[("/tone", "cannot stand beside prompt")]),
        (json!({"prompt": "a", "country": "id"}), &[("/country", "allowed")]),
        (json!({"tone": "ring"}), &[("/tone", "must be one of: dial, ringback, busy")]),
        (json!({"tone": "busy", "country": "ID"}), &[("/country", "small letters")]),
        (json!({"tone": "busy", "country": "idn"}), &[("/country", "2 to 2")]),
        (json!({"prompt": "a", "volume_db": 21}), &[("/volume_db", "from -40 to 20, not 21")]),
        (json!({"prompt": "a", "volume_db": -1.5}), &[("/volume_db", "not -1.5")]),
        (json!({"url": "ftp://a.example/x"}), &[("/url", "https://")]),
        (json!({"url": "https:///x"}), &[("/url", "no host")]),
        (json!({"url": "https://a.example/a b"}), &[("/url", "%20")]),
        (json!({"url": 7}), &[("/url", "a string")]),
        (json!({"playlist": []}), &[("/playlist", "1 to 64")]),
        (json!({"playlist": vec![json!({"tone": "beep"}); 65]}), &[("/playlist", "not 65")]),
        (json!({"playlist": {"prompt": "a"}}), &[("/playlist", "a list")]),
        (json!({"playlist": [{"prompt": "a"}], "url": "https://a"}), &[("/url", "beside playlist")]),
        (
            json!({"playlist": ["a", {"prompt": ""}, {"prompt": "a", "loop": 2}, {"tone": "beep", "x": 1}]}),
            &[
                ("/playlist/0", "an object"),
                ("/playlist/0/prompt", "required"),
                ("/playlist/1/prompt", "1 to 64"),
                ("/playlist/2/loop", "allowed"),
                ("/playlist/3/x", "allowed"),
            ],
        ),
    ] {
        check(&Play::from_json(&body).unwrap_err(), faults);
    }
}

#[test]
fn digits_to_send() {
    let least = Dtmf::from_json(&json!({"digits": "12w3"})).unwrap();
    assert_eq!(least, Dtmf::of("12w3"));
    assert_eq!((least.duration_ms, least.method), (100, None));
    let all = json!({"digits": "0*#aDwW,", "duration_ms": 20_000, "method": "info"});
    assert_eq!(serde_json::to_value(Dtmf::from_json(&all).unwrap()).unwrap(), all);
    for (body, pointer, words) in [
        (json!({}), "/digits", "required"),
        (json!({"digits": ""}), "/digits", "1 to 64"),
        (json!({"digits": "1".repeat(65)}), "/digits", "1 to 64"),
        (json!({"digits": "1-2"}), "/digits", "0-9 * # A-D"),
        (json!({"digits": "E"}), "/digits", "0-9 * # A-D"),
        (json!({"digits": "w,"}), "/digits", "a digit beside the pauses"),
        (json!({"digits": "1", "duration_ms": 39}), "/duration_ms", "40 to 20000"),
        (json!({"digits": "1", "method": "sms"}), "/method", "rfc4733, inband, info"),
        (json!({"digits": "1", "gap_ms": 1}), "/gap_ms", "allowed here: digits, duration_ms, method"),
    ] {
        check(&Dtmf::from_json(&body).unwrap_err(), &[(pointer, words)]);
    }
    let step =
        |digits: &str| Flow::from_json(&flow_of(json!({"verb": "dtmf", "digits": digits, "next": "b"})));
    assert!(step("{pin}#").is_ok());
    check(&step("1x").unwrap_err(), &[("/steps/a/digits", "0-9 * # A-D")]);
}

#[test]
fn transfers() {
    for (body, mode) in [
        (json!({"to": "+628761234"}), TransferMode::Blind),
        (json!({"to": "sip:bob@192.0.2.7", "mode": "blind"}), TransferMode::Blind),
        (json!({"to": "call-7", "mode": "attended"}), TransferMode::Attended),
    ] {
        let transfer = Transfer::from_json(&body).unwrap();
        assert_eq!(transfer, Transfer { to: body["to"].as_str().unwrap().into(), mode });
    }
    for (body, faults) in [
        (json!({"mode": "warm"}), &[("/mode", "blind, attended"), ("/to", "required")][..]),
        (json!({"to": "call-7"}), &[("/to", "a number")]),
        (json!({"to": "endpoint:bob"}), &[("/to", "a number")]),
        (json!({"to": "sip:a>b"}), &[("/to", "sip: URI")]),
        (json!({"to": "sip:bob@192.0.2.7", "mode": "attended"}), &[("/to", "id of the call")]),
        (json!({"to": "1", "calls": 2}), &[("/calls", "allowed")]),
    ] {
        check(&Transfer::from_json(&body).unwrap_err(), faults);
    }
}

#[test]
fn faults_of_a_flow_point_at_the_step() {
    let table: &[(Value, &str, &str)] = &[
        (
            json!({"verb": "fly", "to": "x"}),
            "/steps/a/verb",
            "known: play, say, gather, record, dtmf, pause, park, set, branch, notify",
        ),
        (json!({"prompt": "x"}), "/steps/a/verb", "is required"),
        (json!("play"), "/steps/a", "must be an object"),
        (json!({"verb": "play", "prompt": "x", "next": "nowhere"}), "/steps/a/next", "no step \"nowhere\""),
        (
            json!({"verb": "play", "prompt": "x", "on": {"1": "b"}}),
            "/steps/a/on",
            "allowed here: verb, prompt",
        ),
        (json!({"verb": "hangup", "next": "b"}), "/steps/a/next", "allowed here: verb, reason"),
        (json!({"verb": "hangup", "reason": "tired"}), "/steps/a/reason", "normal, busy, rejected"),
        (json!({"verb": "pause"}), "/steps/a/ms", "is required"),
        (json!({"verb": "pause", "ms": 0}), "/steps/a/ms", "1 to 3600000"),
        (json!({"verb": "notify"}), "/steps/a/data", "is required"),
        (json!({"verb": "notify", "data": {"x": "y".repeat(4096)}}), "/steps/a/data", "4096 bytes"),
        (json!({"verb": "set", "variables": {"a b": 1}}), "/steps/a/variables/a b", "letter"),
        (json!({"verb": "park", "play": {"prompt": ""}}), "/steps/a/play/prompt", "1 to 64"),
        (json!({"verb": "gather", "max": 1, "on": {"1": "c"}}), "/steps/a/on/1", "no step \"c\""),
        (json!({"verb": "gather", "max": 1, "on": {"12": "b"}}), "/steps/a/on/12", "never match"),
        (json!({"verb": "gather", "max": 2, "on": {"1#": "b"}}), "/steps/a/on/1#", "# is a terminator"),
        (json!({"verb": "gather", "max": 2, "on": {"x/y": "b"}}), "/steps/a/on/x~1y", "digits"),
        (json!({"verb": "gather", "max": 2, "on": {"1": 2}}), "/steps/a/on/1", "name of a step"),
        (json!({"verb": "enqueue"}), "/steps/a/queue", "is required"),
        (json!({"verb": "enqueue", "queue": 1}), "/steps/a/queue", "must be a string"),
        (json!({"verb": "enqueue", "queue": "q", "data": "y".repeat(4096)}), "/steps/a/data", "4096 bytes"),
        (
            json!({"verb": "enqueue", "queue": "q", "on": {"failed": "b"}}),
            "/steps/a/on/failed",
            "ended, callback, timeout and closed",
        ),
        (json!({"verb": "branch", "cases": []}), "/steps/a/cases", "1 to 100"),
        (
            json!({"verb": "branch", "cases": [{"if": {"var": "x", "op": "exists"}, "then": "c"}]}),
            "/steps/a/cases/0/then",
            "no step",
        ),
        (
            json!({"verb": "branch", "cases": [{"if": {"var": "x", "op": "like", "value": 1}, "then": "b"}]}),
            "/steps/a/cases/0/if/op",
            "known: eq",
        ),
        (
            json!({"verb": "branch", "cases": [{"if": {"var": "x", "op": "lt", "value": "a"}, "then": "b"}]}),
            "/steps/a/cases/0/if/value",
            "must be a number",
        ),
        (
            json!({"verb": "branch", "cases": [{"if": {"var": "x", "op": "matches", "value": "("}, "then": "b"}]}),
            "/steps/a/cases/0/if/value",
            "regular expression",
        ),
        (
            json!({"verb": "branch", "cases": [{"if": {"var": "x", "op": "matches", "value": "(((a{99}){99}){99})"},
                "then": "b"}]}),
            "/steps/a/cases/0/if/value",
            "regular expression",
        ),
        (
            json!({"verb": "branch", "cases": [{"if": {"var": "x", "op": "exists", "value": 1}, "then": "b"}]}),
            "/steps/a/cases/0/if/value",
            "allowed here: var, op",
        ),
        (
            json!({"verb": "branch", "cases": [{"if": {"var": "x", "op": "eq", "value": 1}, "then": "b"}],
                "on": {"timeout": "b"}}),
            "/steps/a/on/timeout",
            "else",
        ),
    ];
    for (step, pointer, words) in table {
        check(&Flow::from_json(&flow_of(step.clone())).unwrap_err(), &[(pointer, words)]);
    }
}

#[test]
fn a_flow_needs_its_start() {
    check(
        &Flow::from_json(&json!({"start": "x", "steps": {}})).unwrap_err(),
        &[("/start", "no step \"x\""), ("/steps", "1 to 1000")],
    );
    let faults = Flow::from_json(&json!({"start": "x", "steps": {"a b": {"verb": "hangup"}}})).unwrap_err();
    check(&faults, &[("/start", "no step"), ("/steps/a b", "name")]);
}

#[test]
fn several_bad_steps_are_all_named() {
    let body = json!({"start": "a", "steps": {
        "a": {"verb": "play", "prompt": 7, "next": "b"},
        "b": {"verb": "gather", "max": 0},
        "c": {"verb": "sing"},
    }});
    let faults = Flow::from_json(&body).unwrap_err();
    check(&faults, &[("/steps/a/prompt", "string"), ("/steps/b/max", "1 to 32"), ("/steps/c/verb", "sing")]);
}

#[test]
fn the_targets_of_a_step_with_other_faults_are_checked_in_the_same_pass() {
    let body = json!({"start": "ask", "steps": {
        "ask": {"verb": "gather", "max": 99, "on": {"1": "nowhere"}, "next": "gone"},
    }});
    let faults = Flow::from_json(&body).unwrap_err();
    check(
        &faults,
        &[("/steps/ask/max", "1 to 32"), ("/steps/ask/next", "gone"), ("/steps/ask/on/1", "nowhere")],
    );
}

#[test]
fn a_flow_reads_back_and_is_followed() {
    let body = json!({"start": "menu", "steps": {
        "menu": {"verb": "gather", "play": {"prompt": "menu"}, "max": 2, "retries": 1, "save_as": "choice",
                 "on": {"1": "one", "timeout": "bye", "else": "sort"}, "next": "bye"},
        "one": {"verb": "set", "variables": {"picked": "one"}, "next": "note"},
        "note": {"verb": "notify", "data": {"choice": "{choice}"}, "next": "wait"},
        "wait": {"verb": "pause", "ms": 500, "next": "hold"},
        "hold": {"verb": "park", "play": {"prompt": "music", "loop": 0}},
        "sort": {"verb": "branch", "cases": [
            {"if": {"var": "choice", "op": "in", "value": ["2", 3]}, "then": "one"},
            {"if": {"var": "menu.digits", "op": "exists"}, "then": "bye"}], "on": {"else": "menu"}},
        "bye": {"verb": "hangup", "reason": "busy"},
    }});
    let flow = Flow::from_json(&body).unwrap();
    assert_eq!(Flow::from_json(&serde_json::to_value(&flow).unwrap()).unwrap(), flow);
    let sounds: Vec<_> = flow.sounds().collect();
    let prompt = |prompt: &str| Sound::Prompt { prompt: prompt.to_owned() };
    let expected =
        [("/steps/hold/play".to_owned(), &prompt("music")), ("/steps/menu/play".to_owned(), &prompt("menu"))];
    assert_eq!(sounds, expected);

    let menu = &flow.steps["menu"];
    assert_eq!(menu.follow(Outcome::Digits("1")), Some("one"));
    assert_eq!(menu.follow(Outcome::Digits("7")), Some("sort"));
    assert_eq!(menu.follow(Outcome::Timeout), Some("bye"));
    assert_eq!(flow.steps["wait"].follow(Outcome::Done), Some("hold"));
    assert_eq!(flow.steps["bye"].follow(Outcome::Done), None);
    assert_eq!(flow.steps["bye"].verb, Verb::Hangup { reason: Some(HangupReason::Busy) });
}

#[test]
fn tests_of_variables() {
    let test = |op: &str, value: Value| {
        let case = json!({"if": {"var": "x", "op": op, "value": value}, "then": "b"});
        let flow = Flow::from_json(&flow_of(json!({"verb": "branch", "cases": [case]}))).unwrap();
        let Verb::Branch { cases } = &flow.steps["a"].verb else { panic!("a branch was written") };
        cases[0].condition.test.clone()
    };
    let number = |n: u64| control_api_types::Variable::Number(n.into());
    assert!(test("eq", json!("5")).holds(Some(&number(5))));
    assert!(!test("ne", json!(5)).holds(Some(&"5".into())));
    assert!(test("ne", json!(5)).holds(None));
    assert!(test("lt", json!(10)).holds(Some(&"9.5".into())));
    assert!(!test("gt", json!(10)).holds(Some(&"ten".into())));
    assert!(test("in", json!(["1", 2])).holds(Some(&number(2))));
    assert!(test("matches", json!("^62[0-9]+$")).holds(Some(&"62811".into())));
    assert!(!test("matches", json!("^62$")).holds(None));
    assert!(Test::Exists.holds(Some(&"".into())) && !Test::Exists.holds(None));
}
