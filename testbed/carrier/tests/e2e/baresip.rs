//! A phone that registers here, is called, and calls: baresip over UDP, TCP and TLS.

use std::path::Path;

use carrier::baresip::{self, Baresip, Event};
use carrier::engine::Engine;
use control_api_types::flow::Flow;
use control_api_types::{
    CallId, Codec, Disposition, EndedBy, EventData, HangupReason, Record, RecordOptions, RecordingId,
    SipTransport, event::DtmfMethod,
};
use serde_json::{Value, json};

use crate::lab::{Lab, Story};
use crate::pesq;
use crate::pki::Pki;

/// Hertz of the prompt.
const PROMPT: u32 = 1_000;

/// Seconds of it.
const SECONDS: f64 = 1.5;

/// An engine that knows the endpoint `alice`, and her phone.
struct Desk {
    lab: Lab,
    phone: Baresip,
    transport: SipTransport,
    /// Whose certificate the engine shows.
    _pki: Pki,
}

impl Desk {
    /// Registered over this transport.
    async fn new(transport: SipTransport) -> Self {
        let mut desk = Self::unregistered(transport).await;
        desk.register("secret").await;
        desk.lab.happened("endpoint.registered", 1).await;
        let endpoint = desk.lab.engine.client().endpoint("alice").await.unwrap();
        let [contact] = endpoint.contacts.as_slice() else { panic!("one contact: {:?}", endpoint.contacts) };
        assert_eq!(contact.transport, transport);
        assert!(contact.user_agent.as_deref().is_some_and(|agent| agent.starts_with("baresip")));
        desk
    }

    async fn unregistered(transport: SipTransport) -> Self {
        let config = r#"
            [[endpoints]]
            name = "alice"
            password = "secret"
            codecs = ["PCMA", "PCMU", "G722", "opus", "L16"]

            [[routes]]
            match = { endpoint = "alice", called = "100" }
            flow = "keys"

            [[routes]]
            match = { endpoint = "alice", called = "200" }
            park = true
        "#;
        let pki = Pki::new();
        let engine = Engine::start_secure(config, &pki.certificate(), &pki.key()).await;
        let lab = Lab::with(engine.unwrap_or_else(|error| panic!("{error}"))).await;
        lab.engine.client().upload_prompt("tone", baresip::tone(PROMPT, SECONDS).unwrap()).await.unwrap();
        let flow = json!({ "start": "keys", "steps": {
            "keys": { "verb": "gather", "play": { "prompt": "tone" }, "max": 4, "timeout_ms": 20_000,
                      "inter_digit_ms": 20_000, "barge_in": false, "on": { "else": "more" } },
            "more": { "verb": "park" },
        } });
        lab.engine.client().put_flow("keys", &Flow::from_json(&flow).unwrap()).await.unwrap();
        let phone = Baresip::start().await.unwrap_or_else(|error| panic!("{error}"));
        Self { lab, phone, transport, _pki: pki }
    }

    async fn register(&mut self, password: &str) {
        self.register_with(password, "").await;
    }

    /// With more parameters of its account.
    async fn register_with(&mut self, password: &str, more: &str) {
        let account =
            format!("<{}>;auth_pass={password};regint=60;answermode=manual{more}", self.at("alice"));
        self.tell("uanew", &account).await;
    }

    /// The address of record of a user at the engine.
    fn at(&self, user: &str) -> String {
        let host = match self.transport {
            SipTransport::Tls => self.lab.engine.secure().unwrap().tls,
            SipTransport::Udp | SipTransport::Tcp | SipTransport::Ws | SipTransport::Wss => {
                self.lab.engine.sip_addr()
            }
        };
        format!("sip:{user}@{host};transport={}", self.transport)
    }

    async fn tell(&mut self, command: &str, params: &str) {
        self.phone.tell(command, params).await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn until(&mut self, kind: &str) -> Event {
        self.phone.until(kind).await.unwrap_or_else(|error| panic!("{error}\n{}", self.lab.engine.log()))
    }

    async fn call(&self, more: Value) -> CallId {
        let mut body = json!({ "to": "endpoint:alice", "from": "+62211" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let create = control_api_types::CreateCall::from_json(&body).unwrap();
        self.lab.engine.client().originate(&create).await.unwrap().id
    }

    /// Begins to record what the phone says, in a channel of its own.
    async fn record(&self, call: &CallId) -> RecordingId {
        let record = Record::start(RecordOptions { channels: 2, ..RecordOptions::default() });
        self.lab.engine.client().record(call, &record).await.unwrap()
    }

    /// The phone has heard the prompt and the engine the phone's tone, in this codec.
    async fn has_heard_and_said(&mut self, call: &CallId, codec: Codec, recording: &RecordingId) {
        let story = self.lab.story(call).await;
        assert_eq!(story.cdr.codec, Some(codec));
        let media = story.cdr.media.unwrap();
        // Its packets of L16 last for 40 ms, whatever it is asked for.
        assert!(media.packets_sent >= 80 && media.packets_received >= 40, "{codec}: {media:?}");
        assert_eq!(media.packets_lost, 0, "{codec}");
        let heard = seconds_of_tone(&self.phone.heard().unwrap(), PROMPT);
        assert!((SECONDS - 0.1..=SECONDS).contains(&heard), "{codec}: it heard {heard} s of the prompt");
        let file = std::env::temp_dir().join(format!("carillon-test-said-{}.wav", call.as_str()));
        std::fs::write(&file, self.lab.engine.client().recording_audio(recording).await.unwrap()).unwrap();
        let said = seconds_of_tone(&file, Baresip::TONE);
        assert!(said >= SECONDS - 0.2, "{codec}: it is heard for {said} s");
        std::fs::remove_file(&file).unwrap();
    }

    /// Ends both; the phone unregisters.
    async fn close(mut self) {
        self.phone.quit().await.unwrap();
        self.lab.happened("endpoint.unregistered", 1).await;
        assert_eq!(self.lab.engine.client().endpoint("alice").await.unwrap().contacts, []);
        self.lab.stop().await;
    }
}

fn ended(story: &Story) -> (Option<Disposition>, Option<EndedBy>) {
    (story.cdr.disposition, story.cdr.ended_by)
}

/// Seconds of a recording in which there is this tone and next to nothing else, by pieces of 20 ms.
pub(crate) fn seconds_of_tone(recording: &Path, hertz: u32) -> f64 {
    let mut reader = hound::WavReader::open(recording).unwrap();
    let spec = reader.spec();
    let samples: Vec<f64> = reader
        .samples::<i16>()
        .map(|sample| f64::from(sample.unwrap()))
        .step_by(usize::from(spec.channels))
        .collect();
    let piece = spec.sample_rate as usize / 50;
    let is_tone = |piece: &&[f64]| {
        let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
        for (at, sample) in piece.iter().enumerate() {
            let phase = at as f64 * f64::from(hertz) / f64::from(spec.sample_rate) * std::f64::consts::TAU;
            re += sample * phase.cos();
            im += sample * phase.sin();
            all += sample * sample;
        }
        let of_tone = (re * re + im * im) * 2.0 / piece.len() as f64;
        all / piece.len() as f64 > 1_000.0 && of_tone > 0.98 * all
    };
    samples.chunks_exact(piece).filter(is_tone).count() as f64 * 0.02
}

#[tokio::test(flavor = "multi_thread")]
async fn is_called_and_hears_the_prompt() {
    let flow = json!({ "start": "say", "steps": {
        "say": { "verb": "play", "prompt": "tone", "next": "wait" },
        "wait": { "verb": "pause", "ms": 300, "next": "bye" },
        "bye": { "verb": "hangup" },
    } });
    for transport in [SipTransport::Udp, SipTransport::Tcp, SipTransport::Tls] {
        let mut desk = Desk::new(transport).await;
        let call = desk.call(json!({ "flow": flow })).await;
        let incoming = desk.until("CALL_INCOMING").await;
        assert!(incoming.field("peeruri").contains("+62211"), "{incoming:?}");
        desk.lab.reached(&call, "call.ringing").await;
        desk.tell("accept", "").await;
        desk.until("CALL_ESTABLISHED").await;
        desk.until("CALL_CLOSED").await;
        let story = desk.lab.story(&call).await;
        assert_eq!(story.kinds().first_chunk(), Some(&["call.initiated", "call.ringing", "call.answered"]));
        assert_eq!(ended(&story), (Some(Disposition::Answered), Some(EndedBy::Engine)));
        let media = story.cdr.media.unwrap();
        assert!(media.packets_sent >= 80 && media.packets_received >= 50, "{transport}: {media:?}");
        assert_eq!(media.packets_lost, 0);
        let heard = seconds_of_tone(&desk.phone.heard().unwrap(), PROMPT);
        assert!((SECONDS - 0.1..=SECONDS).contains(&heard), "{transport}: {heard} s of the tone");
        desk.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hears_speech_in_wideband_and_speaks_it() {
    let mut desk = Desk::unregistered(SipTransport::Udp).await;
    desk.register_with("secret", ";audio_codecs=G722/16000/1").await;
    desk.lab.happened("endpoint.registered", 1).await;
    let speech = std::fs::read(pesq::SPEECH).unwrap_or_else(|error| panic!("{}: {error}", pesq::SPEECH));
    desk.lab.engine.client().upload_prompt("speech", speech).await.unwrap();
    let flow = json!({ "start": "say", "steps": {
        "say": { "verb": "play", "prompt": "speech", "next": "wait" },
        "wait": { "verb": "pause", "ms": 300, "next": "bye" },
        "bye": { "verb": "hangup" },
    } });
    let call = desk.call(json!({ "flow": flow })).await;
    desk.until("CALL_INCOMING").await;
    desk.tell("accept", "").await;
    desk.until("CALL_CLOSED").await;
    let story = desk.lab.story(&call).await;
    assert_eq!(ended(&story), (Some(Disposition::Answered), Some(EndedBy::Engine)));
    assert_eq!(story.cdr.codec, Some(Codec::G722));
    let media = story.cdr.media.unwrap();
    assert!(media.packets_sent >= 350 && media.packets_received >= 300, "{media:?}");
    assert_eq!(media.packets_lost, 0);
    let recording = desk.phone.heard().unwrap();
    pesq::check("G722", &recording);

    desk.tell("dial", "200").await;
    desk.lab.happened("call.initiated", 2).await;
    let calls = desk.lab.engine.client().calls(&Default::default()).await.unwrap();
    let call = calls.items[0].id.clone();
    desk.lab.engine.client().answer(&call).await.unwrap();
    desk.until("CALL_ESTABLISHED").await;
    desk.tell("hangup", "").await;
    assert_eq!(desk.lab.story(&call).await.cdr.codec, Some(Codec::G722));
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hears_and_is_heard_in_opus() {
    hears_and_is_heard(Codec::Opus, "opus/48000/2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hears_and_is_heard_in_linear_samples() {
    hears_and_is_heard(Codec::L16, "L16/16000/1").await;
}

/// It is called, and it calls: it hears the prompt, and its own tone is on the engine's record. `format` is how it calls the
/// codec, the only one that it has.
async fn hears_and_is_heard(codec: Codec, format: &str) {
    let mut desk = Desk::unregistered(SipTransport::Udp).await;
    desk.register_with("secret", &format!(";audio_codecs={format}")).await;
    desk.lab.happened("endpoint.registered", 1).await;
    let flow = json!({ "start": "say", "steps": {
        "say": { "verb": "play", "prompt": "tone", "next": "wait" },
        "wait": { "verb": "pause", "ms": 500, "next": "bye" },
        "bye": { "verb": "hangup" },
    } });
    let call = desk.call(json!({ "flow": flow })).await;
    desk.until("CALL_INCOMING").await;
    desk.tell("accept", "").await;
    desk.lab.reached(&call, "call.answered").await;
    let recording = desk.record(&call).await;
    desk.until("CALL_CLOSED").await;
    desk.has_heard_and_said(&call, codec, &recording).await;

    desk.tell("dial", "100").await;
    desk.until("CALL_ESTABLISHED").await;
    desk.lab.happened("call.initiated", 2).await;
    let call = desk.lab.engine.client().calls(&Default::default()).await.unwrap().items[0].id.clone();
    let recording = desk.record(&call).await;
    desk.lab.reached(&call, "call.play.ended").await;
    desk.tell("sndcode", "7").await;
    desk.lab.reached(&call, "call.dtmf").await;
    desk.tell("hangup", "").await;
    desk.until("CALL_CLOSED").await;
    desk.has_heard_and_said(&call, codec, &recording).await;
    assert_eq!(desk.lab.story(&call).await.digits(), "7", "{codec}");
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn is_called_and_is_sent_keys() {
    const KEYS: &str = "1159*#";
    let mut desk = Desk::new(SipTransport::Udp).await;
    let flow = json!({ "start": "keys", "steps": {
        "keys": { "verb": "dtmf", "digits": KEYS, "next": "bye" },
        "bye": { "verb": "hangup" },
    } });
    let call = desk.call(json!({ "flow": flow })).await;
    desk.until("CALL_INCOMING").await;
    desk.tell("accept", "").await;
    for key in KEYS.chars() {
        let pressed = desk.until("CALL_DTMF_START").await;
        assert_eq!(pressed.field("param"), key.to_string(), "{pressed:?}");
    }
    desk.until("CALL_CLOSED").await;
    let story = desk.lab.story(&call).await;
    let sent = EventData::CallDtmfSent {
        digits: KEYS.into(),
        method: DtmfMethod::Rfc4733,
        complete: true,
        error: None,
    };
    assert!(story.events.iter().any(|event| event.data == sent), "{:?}", story.kinds());
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_presses_keys_holds_and_hangs_up() {
    for transport in [SipTransport::Udp, SipTransport::Tcp, SipTransport::Tls] {
        let mut desk = Desk::new(transport).await;
        desk.tell("dial", "100").await;
        desk.until("CALL_ESTABLISHED").await;
        let call = desk.lab.incoming().await;
        desk.lab.reached(&call, "call.play.ended").await;
        for (count, key) in ["1", "#"].into_iter().enumerate() {
            desk.tell("sndcode", key).await;
            desk.lab.reached_again(&call, "call.dtmf", count + 1).await;
        }
        desk.tell("hold", "").await;
        desk.lab.reached(&call, "call.held").await;
        desk.tell("resume", "").await;
        desk.lab.reached(&call, "call.resumed").await;
        desk.tell("sndcode", "5").await;
        desk.lab.reached_again(&call, "call.dtmf", 3).await;
        desk.tell("hangup", "").await;
        let story = desk.lab.story(&call).await;
        assert_eq!(ended(&story), (Some(Disposition::Answered), Some(EndedBy::Remote)), "{transport}");
        assert_eq!((story.digits().as_str(), story.cdr.endpoint.as_deref()), ("1#5", Some("alice")));
        let heard = seconds_of_tone(&desk.phone.heard().unwrap(), PROMPT);
        assert!((SECONDS - 0.1..=SECONDS).contains(&heard), "{transport}: {heard} s of the tone");
        desk.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn we_hold_a_phone_and_hang_up() {
    let mut desk = Desk::new(SipTransport::Udp).await;
    let call = desk.call(json!({})).await;
    desk.until("CALL_INCOMING").await;
    desk.tell("accept", "").await;
    desk.lab.reached(&call, "call.answered").await;
    desk.lab.engine.client().hold(&call).await.unwrap();
    desk.lab.reached(&call, "call.held").await;
    desk.lab.engine.client().unhold(&call).await.unwrap();
    desk.lab.reached(&call, "call.resumed").await;
    desk.lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
    desk.until("CALL_CLOSED").await;
    assert_eq!(ended(&desk.lab.story(&call).await), (Some(Disposition::Answered), Some(EndedBy::Api)));
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_end_while_they_ring() {
    for transport in [SipTransport::Udp, SipTransport::Tls] {
        let mut desk = Desk::new(transport).await;
        // We give up.
        let call = desk.call(json!({})).await;
        desk.until("CALL_INCOMING").await;
        desk.lab.reached(&call, "call.ringing").await;
        desk.lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
        desk.until("CALL_CLOSED").await;
        assert_eq!(ended(&desk.lab.story(&call).await), (Some(Disposition::Canceled), Some(EndedBy::Api)));
        // It is busy.
        let call = desk.call(json!({})).await;
        desk.until("CALL_INCOMING").await;
        desk.tell("hangup", "").await;
        assert_eq!(ended(&desk.lab.story(&call).await), (Some(Disposition::Busy), Some(EndedBy::Remote)));
        // It gives up.
        desk.tell("dial", "200").await;
        desk.lab.happened("call.initiated", 3).await;
        let calls = desk.lab.engine.client().calls(&Default::default()).await.unwrap();
        let call = calls.items[0].id.clone();
        desk.lab.engine.client().ring(&call).await.unwrap();
        desk.until("CALL_RINGING").await;
        desk.tell("hangup", "").await;
        assert_eq!(ended(&desk.lab.story(&call).await), (Some(Disposition::NoAnswer), Some(EndedBy::Remote)));
        desk.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_registers_nothing() {
    let mut desk = Desk::unregistered(SipTransport::Tcp).await;
    desk.register("guess").await;
    let failed = desk.until("REGISTER_FAIL").await;
    assert!(failed.field("param").starts_with("401"), "{failed:?}");
    assert_eq!(desk.lab.engine.client().endpoint("alice").await.unwrap().contacts, []);
}
