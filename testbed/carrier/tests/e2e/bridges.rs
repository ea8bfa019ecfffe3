//! Two baresips that are bridged hear each other.

use std::time::Duration;

use carrier::baresip::{Baresip, wav};
use control_api_types::{
    BridgeCall, CallId, Codec, CreateCall, EndedBy, HangupReason, Record, RecordOptions,
};
use serde_json::{Value, json};

use crate::baresip::seconds_of_tone;
use crate::lab::Lab;

/// What each says, in hertz.
const TONES: [u32; 2] = [440, 620];
/// How long they talk.
const TALK: Duration = Duration::from_secs(4);

/// Who may register. What sarah says is encrypted, and the others know nothing of that.
const ENDPOINTS: &str = r#"
    [[endpoints]]
    name = "alice"
    password = "secret"
    codecs = ["PCMA", "PCMU", "G722", "opus", "L16"]

    [[endpoints]]
    name = "bob"
    password = "secret"
    codecs = ["PCMA", "PCMU", "G722", "opus", "L16"]

    [[endpoints]]
    name = "carol"
    password = "secret"

    [[endpoints]]
    name = "sarah"
    password = "secret"
    srtp = "required"
"#;

/// A phone that the engine calls.
async fn phone(lab: &mut Lab, name: &str, hertz: u32, codec: Codec, count: usize) -> (Baresip, CallId) {
    let (mut phone, call) = rings(lab, name, hertz, codec, count, json!({})).await;
    phone.tell("accept", "").await.unwrap_or_else(|error| panic!("{error}"));
    lab.reached(&call, "call.answered").await;
    (phone, call)
}

/// A phone that rings; `more` are further fields of the request.
async fn rings(
    lab: &mut Lab,
    name: &str,
    hertz: u32,
    codec: Codec,
    count: usize,
    more: Value,
) -> (Baresip, CallId) {
    let mut phone = Baresip::saying(hertz).await.unwrap_or_else(|error| panic!("{error}"));
    let format = match codec {
        Codec::G722 | Codec::L16 => format!("{codec}/16000/1"),
        Codec::Opus => "opus/48000/2".to_owned(),
        Codec::Pcma | Codec::Pcmu => format!("{codec}/8000/1"),
    };
    let at = lab.engine.sip_addr();
    let mediaenc = if name == "sarah" { ";mediaenc=srtp-mand" } else { "" };
    let account = format!(
        "<sip:{name}@{at};transport=udp>;auth_pass=secret;regint=60;answermode=manual;audio_codecs={format}{mediaenc}"
    );
    phone.tell("uanew", &account).await.unwrap_or_else(|error| panic!("{error}"));
    lab.happened("endpoint.registered", count).await;
    let mut create = json!({ "to": format!("endpoint:{name}"), "from": "+62211" });
    create.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let create = CreateCall::from_json(&create).unwrap();
    let call = lab.engine.client().originate(&create).await.unwrap().id;
    phone.until("CALL_INCOMING").await.unwrap_or_else(|error| panic!("{error}"));
    (phone, call)
}

async fn hear_each_other(name: &str, codecs: [Codec; 2]) {
    let mut lab = Lab::new(ENDPOINTS).await;
    let (mut alice, a) = phone(&mut lab, name, TONES[0], codecs[0], 1).await;
    let (mut bob, b) = phone(&mut lab, "bob", TONES[1], codecs[1], 2).await;
    let bridge = BridgeCall::from_json(&json!({ "with": b })).unwrap();
    lab.engine.client().bridge(&a, &bridge).await.unwrap();
    lab.reached(&a, "call.bridged").await;
    lab.reached(&b, "call.bridged").await;
    // They talk.
    tokio::time::sleep(TALK).await;
    lab.engine.client().hangup(&b, HangupReason::Normal).await.unwrap();
    for phone in [&mut alice, &mut bob] {
        phone.until("CALL_CLOSED").await.unwrap_or_else(|error| panic!("{error}"));
    }
    let story = lab.story(&a).await;
    assert_eq!((story.cdr.ended_by, &story.cdr.cause_call_id), (Some(EndedBy::Engine), &Some(b.clone())));
    assert_eq!(story.cdr.codec, Some(codecs[0]));
    assert_eq!(story.cdr.srtp.is_some(), name == "sarah");
    let told: Vec<&str> = story.kinds().into_iter().filter(|kind| kind.contains("bridged")).collect();
    assert_eq!(told, ["call.bridged", "call.unbridged"]);
    let other = lab.story(&b).await.cdr;
    assert_eq!((other.codec, other.srtp), (Some(codecs[1]), None));
    for (phone, own, other) in [(&alice, TONES[0], TONES[1]), (&bob, TONES[1], TONES[0])] {
        let recording = phone.heard().unwrap();
        let heard = seconds_of_tone(&recording, other);
        let most = TALK.as_secs_f64() + 0.5;
        assert!((TALK.as_secs_f64() - 1.0..most).contains(&heard), "{codecs:?}: {heard} s of {other} Hz");
        let echo = seconds_of_tone(&recording, own);
        assert!(echo == 0.0, "{codecs:?}: {echo} s of its own voice");
    }
    for phone in [alice, bob] {
        phone.quit().await.unwrap();
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_phones_of_one_codec_hear_each_other() {
    hear_each_other("alice", [Codec::Pcma, Codec::Pcma]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_phones_of_different_codecs_hear_each_other() {
    hear_each_other("alice", [Codec::Pcmu, Codec::Pcma]).await;
    hear_each_other("alice", [Codec::Pcma, Codec::G722]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_with_srtp_and_one_without_hear_each_other() {
    hear_each_other("sarah", [Codec::Pcma, Codec::Pcma]).await;
    hear_each_other("sarah", [Codec::Pcma, Codec::G722]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conference_is_joined_when_answered_and_goes_on_without_who_leaves() {
    const THIRD: u32 = 900;
    let mut lab = Lab::new(ENDPOINTS).await;
    let (alice, a) = phone(&mut lab, "alice", TONES[0], Codec::Pcma, 1).await;
    let (bob, b) = phone(&mut lab, "bob", TONES[1], Codec::Pcmu, 2).await;
    let bridge = BridgeCall::from_json(&json!({ "with": b, "with_on_end": "continue" })).unwrap();
    lab.engine.client().bridge(&a, &bridge).await.unwrap();
    lab.reached(&a, "call.bridged").await;
    let recording = Record::start(RecordOptions { channels: 2, ..RecordOptions::default() });
    let recording = lab.engine.client().record(&a, &recording).await.unwrap();
    let room = lab.engine.client().call(&a).await.unwrap().bridge_id.unwrap();
    // It rings while they talk.
    let flow = json!({ "flow": { "start": "in", "steps": {
        "in": { "verb": "bridge", "bridge_id": room, "next": "out" },
        "out": { "verb": "hangup" },
    } } });
    let (mut carol, c) = rings(&mut lab, "carol", THIRD, Codec::G722, 3, flow).await;
    lab.reached(&c, "call.ringing").await;
    tokio::time::sleep(TALK).await;
    carol.tell("accept", "").await.unwrap_or_else(|error| panic!("{error}"));
    lab.reached(&c, "call.bridged").await;
    tokio::time::sleep(TALK / 2).await;
    lab.engine.client().hangup(&b, HangupReason::Normal).await.unwrap();
    lab.reached(&b, "call.ended").await;
    tokio::time::sleep(TALK).await;
    lab.engine.client().hangup(&a, HangupReason::Normal).await.unwrap();

    let answered = ["call.initiated", "call.ringing", "call.answered"];
    let with = |rest: &[&'static str]| [&answered[..], rest].concat();
    let alices = with(&[
        "call.bridged",
        "call.recording.started",
        "call.unbridged",
        "call.recording.ended",
        "call.ended",
    ]);
    let mut story = lab.story(&a).await.kinds();
    // The end of the recording is told by the writer, before the end of the call.
    if let Some(at) = story.iter().position(|kind| *kind == "call.recording.ended") {
        story.remove(at);
        story.insert(story.len() - 1, "call.recording.ended");
    }
    assert_eq!(story, alices);
    assert_eq!(lab.story(&b).await.kinds(), with(&["call.bridged", "call.unbridged", "call.ended"]));
    let carols = with(&["call.flow.step", "call.bridged", "call.unbridged", "call.flow.step", "call.ended"]);
    assert_eq!(lab.story(&c).await.kinds(), carols);

    // What alice has heard, in the second channel: bob alone before carol came, carol alone after he left.
    let file = std::env::temp_dir().join(format!("carillon-test-conference-{}.wav", std::process::id()));
    std::fs::write(&file, lab.engine.client().recording_audio(&recording).await.unwrap()).unwrap();
    let mut reader = hound::WavReader::open(&file).unwrap();
    let rate = reader.spec().sample_rate;
    let samples: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
    let channel = |at: usize| samples.iter().skip(at).step_by(2).copied().collect::<Vec<i16>>();
    for (name, samples, hertz, least) in [
        ("herself", channel(0), TONES[0], 2.0 * TALK.as_secs_f64()),
        ("bob", channel(1), TONES[1], 0.6 * TALK.as_secs_f64()),
        ("carol", channel(1), THIRD, 0.6 * TALK.as_secs_f64()),
    ] {
        std::fs::write(&file, wav(rate, &samples).unwrap()).unwrap();
        let heard = seconds_of_tone(&file, hertz);
        assert!(heard >= least, "{name}: {heard} s of {hertz} Hz");
    }
    std::fs::remove_file(&file).unwrap();
    for phone in [alice, bob, carol] {
        phone.quit().await.unwrap();
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn phones_of_opus_and_of_linear_samples_hear_others_and_each_other() {
    hear_each_other("alice", [Codec::Opus, Codec::Opus]).await;
    hear_each_other("alice", [Codec::Opus, Codec::Pcma]).await;
    hear_each_other("alice", [Codec::L16, Codec::Pcma]).await;
}
