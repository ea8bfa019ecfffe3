//! What calls say: texts with the variables of their call, refused where nothing can come of them.

use std::sync::Arc;

use control_api_types::{Play, flow::Flow};
use engine_core::{Refusal, Utterance};
use serde_json::{Value, json};
use speech_core::{Piece, Voice, Voices};

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::World;

/// What has been said, each as `VOICE RATE: WORDS`.
#[derive(Default)]
pub(crate) struct Speech {
    pub(crate) said: Vec<String>,
}

impl Speech {
    /// A tenth of a second a word.
    pub(crate) fn say(&mut self, said: &Arc<Utterance>) -> u32 {
        let words = said.pieces.iter().map(Piece::to_string).collect::<Vec<_>>().join("|");
        self.said.push(format!("{} {} {}: {words}", said.voice.name, said.voice.language, said.rate));
        let ms = |piece: &Piece| match piece {
            Piece::Words { text, .. } => text.split(' ').count() * 100,
            Piece::Silence(time) => time.as_millis() as usize,
        };
        said.pieces.iter().map(ms).sum::<usize>() as u32
    }
}

pub(crate) fn voices() -> Voices {
    let voices = [("ana", "en-us"), ("bob", "en-gb"), ("siti", "id"), ("lan", "vi"), ("mei", "cmn")];
    Voices::new(voices.map(|(name, language)| Voice { name: name.into(), language: language.into() }))
}

fn faults(result: Result<impl std::fmt::Debug, Refusal>) -> Vec<String> {
    let Err(Refusal::Validation(faults)) = result else { panic!("{result:?}") };
    faults.into_iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect()
}

#[test]
fn a_flow_speaks_the_language_and_the_variables_of_its_call() {
    let mut world = World::new();
    let flow = json!({"start": "ask", "steps": {
        "ask": {"verb": "gather", "max": 1, "on": {"2": "id"}, "play":
            {"playlist": [{"say": {"text": "English, one", "language": "en"}}, {"say": {"text": "Indonesia, dua", "language": "id"}}]}},
        "id": {"verb": "set", "variables": {"lang": "id"}, "next": "owed"},
        "owed": {"verb": "say", "text": "{name}{stop:500ms} {currency:{sum} IDR}, {date:{due}}", "language": "{lang}", "rate": 80, "next": "gone"},
        "gone": {"verb": "say", "text": "{nobody}", "language": "en", "next": "dumb"},
        "dumb": {"verb": "say", "text": "x", "language": "{name}", "next": "bye"},
        "bye": {"verb": "play", "say": {"text": "Bye", "language": "en-GB"}},
    }});
    let script: Script = &[(100, Answer(Good)), (250, Press('2'))];
    let variables = json!({"name": "Ana", "sum": 2500, "due": "2026-01-16"});
    world.call("c1", script, json!({"flow": flow, "variables": variables}));
    world.run();
    world.check(
        "c1",
        r#"initiated
           answered PCMA
           step ask gather
           plays p-1 en:"English, one" id:"Indonesia, dua"
           played p-1 barge-in
           dtmf 2 100
           gathered ask "2" max
           step id set
           step owed say
           plays p-2 {lang}:"{name}{stop:500ms} {currency:{sum} IDR}, {date:{due}}"
           played p-2 completed
           step gone say
           played p-3 error
           step dumb say
           played p-4 error
           step bye play
           plays p-5 en-GB:"Bye"
           played p-5 completed
           ended completed answered by engine 200"#,
    );
    assert_eq!(
        world.media.speech.said,
        [
            "ana en-us 100: English, one",
            "siti id 100: Indonesia, dua",
            "siti id 80: Ana|[500 ms]|dua ribu lima ratus rupiah, enam belas Januari dua ribu dua puluh enam",
            "bob en-gb 100: Bye",
        ]
    );
}

#[test]
fn a_step_that_says_nothing_it_could_is_refused_with_its_place() {
    let mut world = World::new();
    let steps = |step: Value| Flow::from_json(&json!({"start": "a", "steps": {"a": step}})).unwrap();
    for (step, expected) in [
        (
            json!({"verb": "say", "text": "a {stop:1}", "language": "en"}),
            "/steps/a/text: at character 3: a pause is",
        ),
        (
            json!({"verb": "say", "text": "{date:soon}", "language": "en"}),
            "/steps/a/text: at character 1: \"soon\" is not a day",
        ),
        (
            json!({"verb": "say", "text": "a", "language": "de"}),
            "/steps/a/language: nothing speaks \"de\"; there are en, id, vi, zh",
        ),
        (
            json!({"verb": "say", "text": "a", "language": "en", "voice": "mei"}),
            "/steps/a/voice: no voice of this name speaks \"en\"; there are ana, bob",
        ),
        (json!({"verb": "say", "text": "a", "language": "{"}), "/steps/a/language: \"{\" at character 1"),
        (
            json!({"verb": "play", "say": {"text": "{x:1}", "language": "en"}}),
            "/steps/a/say/text: at character 1: there is no reading \"x\"",
        ),
        (
            json!({"verb": "gather", "max": 1, "play": {"playlist": [{"say": {"text": "a", "language": "de"}}]}}),
            "/steps/a/play/playlist/0/say/language: nothing speaks",
        ),
        (
            json!({"verb": "park", "play": {"say": {"text": "{", "language": "en"}}}),
            "/steps/a/play/say/text: at character 1",
        ),
    ] {
        let faults = world.engine.check_flow(&steps(step)).unwrap_err();
        let told: Vec<_> =
            faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect();
        assert!(told.len() == 1 && told[0].starts_with(expected), "{expected}: {told:?}");
    }
    world.engine.set_voices(Voices::default());
    let faults =
        world.engine.check_flow(&steps(json!({"verb": "say", "text": "a", "language": "en"}))).unwrap_err();
    assert!(faults[0].detail.contains("install espeak-ng"), "{faults:?}");
}

#[test]
fn the_api_says_texts_with_the_variables_of_the_call() {
    let mut world = World::new();
    let script: Script = &[(100, Answer(Good)), (4_000, Hangup)];
    world.call("c1", script, json!({"variables": {"position": 3}}));
    world.run_for(500);
    let say = |text: &str| Play::from_json(&json!({"say": {"text": text, "language": "en"}})).unwrap();
    let id = "c1".parse().unwrap();
    world.engine.play(world.now, &id, say("You are number {position}.")).unwrap();
    assert_eq!(faults(world.engine.play(world.now, &id, say("{stop:x}"))).len(), 1);
    world.run();
    assert_eq!(world.media.speech.said, ["ana en-us 100: You are number 3."]);
}
