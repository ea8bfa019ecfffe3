//! What is said, as it is heard at the far end: an IVR in three languages, built with HTTP alone, against espeak-ng itself.

use std::io::Write;
use std::process::{Command, Stdio};

use carrier::baresip::wav;
use carrier::{Act, Answers, Behaviour, Carrier, CarrierConfig, CodecName, Subscriber};
use control_api_types::flow::Flow;
use control_api_types::{CreatePrompt, EventData, Say};
use media_core::{Codec, Digits};
use serde_json::json;

use crate::lab::{Lab, Story};

/// What each customer presses, what espeak-ng calls the voice, and what it is to say.
const CUSTOMERS: [(&str, char, &str, &str); 3] = [
    ("+6281", '1', "en-us", "Ana, you owe one thousand two hundred and fifty yuan by January 16th, 2026."),
    (
        "+6282",
        '2',
        "id",
        "Ana, tagihan Anda seribu dua ratus lima puluh yuan, tanggal enam belas Januari dua ribu dua puluh enam.",
    ),
    ("+6283", '3', "cmn-latn-pinyin", "Ana,您欠一千两百五十元,到期日二零二六年一月十六日。"),
];

fn menu() -> Flow {
    let say = |text: &str, language: &str| json!({"say": {"text": text, "language": language}});
    let chosen = |language: &str| json!({"verb": "set", "variables": {"lang": language}, "next": language});
    let owed = |text: &str| json!({"verb": "say", "text": text, "language": "{lang}", "next": "wait"});
    Flow::from_json(&json!({"start": "menu", "steps": {
        "menu": {"verb": "gather", "max": 1, "play": {"playlist": [
            say("For English, press 1.{stop:300ms}", "en"),
            say("Untuk bahasa Indonesia, tekan 2.", "id"),
            say("中文请按三。", "zh"),
        ]}, "on": {"1": "english", "2": "indonesian", "3": "chinese", "else": "bye", "timeout": "bye"}},
        "english": chosen("en"),
        "indonesian": chosen("id"),
        "chinese": chosen("zh"),
        "en": owed("{name}, you owe {currency:{sum} CNY} by {date:{due}}."),
        "id": owed("{name}, tagihan Anda {currency:{sum} CNY}, tanggal {date:{due}}."),
        "zh": owed("{name},您欠{currency:{sum} CNY},到期日{date:{due}}。"),
        "wait": {"verb": "pause", "ms": 300, "next": "bye"},
        "bye": {"verb": "hangup"},
    }}))
    .unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// What espeak-ng says by itself, as a prompt of these words would be heard in A-law.
fn said_by_espeak(voice: &str, words: &str) -> Vec<i16> {
    let mut espeak = Command::new("espeak-ng")
        .args(["-v", voice, "-b", "1", "--stdin", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("espeak-ng: {error}: `apt-get install espeak-ng`, or `make test`"));
    espeak.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
    let file = espeak.wait_with_output().unwrap().stdout;
    // Its header has 44 octets, and lengths that are not true.
    let samples: Vec<i16> =
        file[44..].chunks_exact(2).map(|octets| i16::from_le_bytes([octets[0], octets[1]])).collect();
    let limits = media_prompts::Limits::default();
    let file = wav(22_050, &samples).unwrap();
    let prepared = media_prompts::prepare(&file, &limits, &[Codec::Pcma]).unwrap();
    prepared.prompt.encoded(Codec::Pcma).unwrap().decode()
}

/// How alike what was heard and what was said are where they fit best, from 0 to 1.
fn likeness(heard: &[i16], said: &[i16]) -> f64 {
    // A tenth of a second of its loudest part is found in what was heard; the rest is compared where that puts it.
    const PART: usize = 800;
    let power = |part: &[i16]| part.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
    let product = |one: &[i16], other: &[i16]| -> f64 {
        one.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum()
    };
    let alike =
        |one: &[i16], other: &[i16]| product(one, other) / (power(one) * power(other)).sqrt().max(1.0);
    let starts = (0..said.len() - PART).step_by(PART);
    let loudest =
        starts.max_by(|a, b| power(&said[*a..a + PART]).total_cmp(&power(&said[*b..b + PART]))).unwrap();
    let found = (loudest..heard.len() - PART)
        .max_by(|a, b| {
            let part = &said[loudest..loudest + PART];
            alike(&heard[*a..a + PART], part).total_cmp(&alike(&heard[*b..b + PART], part))
        })
        .unwrap();
    let heard = &heard[found - loudest..];
    let both = heard.len().min(said.len());
    assert!(both + 400 > said.len(), "{both} of {} samples were heard", said.len());
    alike(&heard[..both], &said[..both])
}

/// How long after its step each play began, in ms: the first of a text waits for the synthesiser, later ones do not.
fn waits(story: &Story) -> Vec<u64> {
    let begun = |pair: &[control_api_types::Event]| match (&pair[0].data, &pair[1].data) {
        (EventData::CallFlowStep { .. }, EventData::CallPlayStarted { .. }) => {
            Some(pair[1].occurred_at.unix_ms() - pair[0].occurred_at.unix_ms())
        }
        (_, _) => None,
    };
    story.events.windows(2).filter_map(begun).collect()
}

fn steps(story: &Story) -> Vec<&str> {
    fn step(event: &control_api_types::Event) -> Option<&str> {
        if let EventData::CallFlowStep { step, .. } = &event.data { Some(step) } else { None }
    }
    story.events.iter().filter_map(step).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ivr_speaks_the_language_that_was_chosen() {
    let folder = std::env::temp_dir().join(format!("carillon-test-speech-{}", std::process::id()));
    let customers = CUSTOMERS.map(|(number, key, ..)| {
        let mut keys = Digits::new();
        assert!(keys.push(media_core::Digit::from_char(key).unwrap()));
        let then = vec![Act::HearMs(500), Act::Press(keys)];
        Subscriber::new(number, Behaviour::Answers(Answers { then, ..Answers::default() }))
    });
    let carrier = Carrier::start(CarrierConfig {
        codecs: vec![CodecName(Codec::Pcma)],
        customers: customers.into(),
        record: Some(folder.clone()),
        ..CarrierConfig::default()
    })
    .await
    .unwrap();
    let mut lab = Lab::calling(carrier.addr()).await;
    lab.engine.client().put_flow("ivr", &menu()).await.unwrap();
    for (ended, (number, key, voice, words)) in CUSTOMERS.into_iter().enumerate() {
        let variables = json!({"name": "Ana", "sum": 1250, "due": "2026-01-16"});
        let call = lab.place(json!({"to": number, "flow": "ivr", "variables": variables})).await;
        let story = lab.story(&call).await;
        assert_eq!(
            story.kinds(),
            [
                "call.initiated",
                "call.ringing",
                "call.answered",
                "call.flow.step",
                "call.play.started",
                "call.play.ended",
                "call.dtmf",
                "call.gather.ended",
                "call.flow.step",
                "call.flow.step",
                "call.play.started",
                "call.play.ended",
                "call.flow.step",
                "call.flow.step",
                "call.ended",
            ],
            "{number}"
        );
        assert_eq!(story.digits(), key.to_string());
        let [chosen, language] = [["english", "en"], ["indonesian", "id"], ["chinese", "zh"]][ended];
        assert_eq!(steps(&story), ["menu", chosen, language, "wait", "bye"]);
        carrier.wait_for(|progress| progress.ended == ended as u64 + 1).await.unwrap();
        let report = carrier.calls().await.unwrap().into_iter().find(|call| call.called == number).unwrap();
        let mut reader = hound::WavReader::open(report.recording.unwrap()).unwrap();
        let heard: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        let said = said_by_espeak(voice, words);
        let likeness = likeness(&heard, &said);
        let waits = waits(&story);
        eprintln!("{voice}: {} ms, likeness {likeness:.4}; began after {waits:?} ms", said.len() / 8);
        assert!(likeness > 0.99, "{voice}: {likeness}");
    }

    // The same as prompts: fixed texts alone.
    let client = lab.engine.client();
    let prompt =
        |text: &str, language: &str| CreatePrompt { name: "owed".into(), say: Say::of(text, language) };
    let made = client.say_prompt(&prompt("You owe {currency:199 CNY}.", "en")).await.unwrap();
    let said = said_by_espeak("en-us", "You owe one hundred and ninety-nine yuan.");
    assert!(made.duration_ms.abs_diff(said.len() as u64 / 8) <= 20, "{made:?}");
    assert_eq!(client.say_prompt(&prompt("You owe {currency:199 CNY}.", "en")).await.unwrap().id, made.id);
    for (text, language, expected) in [
        ("Hello {name}", "en", "/say/text there is no call here"),
        ("{stop:x}", "en", "/say/text at character 1: a pause is"),
        ("Hello", "xx", "/say/language nothing speaks \"xx\"; there are"),
        ("...", "en", "/say/text there is nothing to say"),
    ] {
        let refused = client.say_prompt(&prompt(text, language)).await.unwrap_err().to_string();
        assert!(refused.contains("422") && refused.contains(expected), "{text}: {refused}");
    }
    let refused = client.say_prompt(&prompt("Something else.", "en")).await.unwrap_err().to_string();
    assert!(refused.contains("in-use"), "{refused}");
    lab.stop().await;
    std::fs::remove_dir_all(&folder).unwrap();
}
