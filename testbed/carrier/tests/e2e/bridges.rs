//! Two baresips that are bridged hear each other.

use std::time::Duration;

use carrier::baresip::Baresip;
use control_api_types::{BridgeCall, CallId, Codec, CreateCall, EndedBy, HangupReason};
use serde_json::json;

use crate::baresip::seconds_of_tone;
use crate::lab::Lab;

/// What each says, in hertz.
const TONES: [u32; 2] = [440, 620];
/// How long they talk.
const TALK: Duration = Duration::from_secs(4);

/// A phone that the engine calls.
async fn phone(lab: &mut Lab, name: &str, hertz: u32, codec: Codec, count: usize) -> (Baresip, CallId) {
    let mut phone = Baresip::saying(hertz).await.unwrap_or_else(|error| panic!("{error}"));
    let format = match codec {
        Codec::G722 | Codec::L16 => format!("{codec}/16000/1"),
        Codec::Opus => "opus/48000/2".to_owned(),
        Codec::Pcma | Codec::Pcmu => format!("{codec}/8000/1"),
    };
    let at = lab.engine.sip_addr();
    let account = format!(
        "<sip:{name}@{at};transport=udp>;auth_pass=secret;regint=60;answermode=manual;audio_codecs={format}"
    );
    phone.tell("uanew", &account).await.unwrap_or_else(|error| panic!("{error}"));
    lab.happened("endpoint.registered", count).await;
    let create =
        CreateCall::from_json(&json!({ "to": format!("endpoint:{name}"), "from": "+62211" })).unwrap();
    let call = lab.engine.client().originate(&create).await.unwrap().id;
    phone.until("CALL_INCOMING").await.unwrap_or_else(|error| panic!("{error}"));
    phone.tell("accept", "").await.unwrap_or_else(|error| panic!("{error}"));
    lab.reached(&call, "call.answered").await;
    (phone, call)
}

async fn hear_each_other(codecs: [Codec; 2]) {
    let config = r#"
        [[endpoints]]
        name = "alice"
        password = "secret"

        [[endpoints]]
        name = "bob"
        password = "secret"
    "#;
    let mut lab = Lab::new(config).await;
    let (mut alice, a) = phone(&mut lab, "alice", TONES[0], codecs[0], 1).await;
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
    let told: Vec<&str> = story.kinds().into_iter().filter(|kind| kind.contains("bridged")).collect();
    assert_eq!(told, ["call.bridged", "call.unbridged"]);
    assert_eq!(lab.story(&b).await.cdr.codec, Some(codecs[1]));
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
    hear_each_other([Codec::Pcma, Codec::Pcma]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_phones_of_different_codecs_hear_each_other() {
    hear_each_other([Codec::Pcmu, Codec::Pcma]).await;
    hear_each_other([Codec::Pcma, Codec::G722]).await;
}
