//! A trunk with SRTP, and baresip as the carrier: over UDP and TLS, in both directions.

use carrier::baresip::{self, Baresip, Setup};
use carrier::engine::Engine;
use control_api_types::flow::Flow;
use control_api_types::{CallId, Disposition, SipTransport};
use serde_json::json;

use crate::baresip::seconds_of_tone;
use crate::lab::{Lab, Story};
use crate::pki::Pki;

/// The phone's number, which is whom the engine calls.
const NUMBER: &str = "+628761234";
/// Hertz of what the engine says, for so many seconds.
const PROMPT: u32 = 1_000;
const SECONDS: f64 = 1.5;

struct Trunk {
    lab: Lab,
    phone: Baresip,
    transport: SipTransport,
    _pki: Pki,
}

impl Trunk {
    /// `srtp`: the key of the trunk; `mediaenc`: what baresip does.
    async fn new(transport: SipTransport, srtp: &str, mediaenc: &str) -> Self {
        let pki = Pki::new();
        let certificate = std::env::temp_dir().join(format!("carillon-test-srtp-{}.pem", std::process::id()));
        let both = [pki.certificate(), pki.key()].map(|file| std::fs::read_to_string(file).unwrap());
        std::fs::write(&certificate, both.concat()).unwrap();
        let setup = Setup { certificate: Some(certificate), ..Setup::saying(Baresip::TONE).unwrap() };
        let setup = setup.listening().unwrap();
        let mut at = setup.listen;
        let mut phone = Baresip::with(setup).await.unwrap_or_else(|error| panic!("{error}"));
        if transport == SipTransport::Tls {
            at.set_port(at.port() + 1);
        }
        let mediaenc = if mediaenc.is_empty() { String::new() } else { format!(";mediaenc={mediaenc}") };
        let account =
            format!("<sip:{NUMBER}@{at};transport={transport}>;regint=0;answermode=manual{mediaenc}");
        phone.tell("uanew", &account).await.unwrap_or_else(|error| panic!("{error}"));
        let config = format!(
            r#"
            [[trunks]]
            name = "t"
            uri = "sip:{at};transport={transport}"
            srtp = "{srtp}"

            [[routes]]
            match = {{ called = "100" }}
            flow = "says"
            "#
        );
        let engine = Engine::start_secure(&config, &pki.certificate(), &pki.key()).await;
        let lab = Lab::with(engine.unwrap_or_else(|error| panic!("{error}"))).await;
        lab.engine.client().upload_prompt("tone", baresip::tone(PROMPT, SECONDS).unwrap()).await.unwrap();
        let flow = Flow::from_json(&says()).unwrap();
        lab.engine.client().put_flow("says", &flow).await.unwrap();
        Self { lab, phone, transport, _pki: pki }
    }

    async fn until(&mut self, kind: &str) -> baresip::Event {
        self.phone.until(kind).await.unwrap_or_else(|error| panic!("{error}\n{}", self.lab.engine.log()))
    }

    /// The engine calls, is answered, and both talk.
    async fn is_called(&mut self) -> Story {
        let call = self.lab.place(json!({ "flow": says(), "record": true })).await;
        self.until("CALL_INCOMING").await;
        self.phone.tell("accept", "").await.unwrap_or_else(|error| panic!("{error}"));
        self.until("CALL_CLOSED").await;
        self.hears_and_is_heard(&call).await
    }

    /// The phone calls and is answered, and both talk.
    async fn calls(&mut self) -> Story {
        self.dial().await;
        self.until("CALL_ESTABLISHED").await;
        let call = self.lab.incoming().await;
        self.until("CALL_CLOSED").await;
        self.lab.story(&call).await
    }

    async fn dial(&mut self) {
        let at = match self.transport {
            SipTransport::Tls => self.lab.engine.secure().unwrap().tls,
            SipTransport::Udp | SipTransport::Tcp | SipTransport::Ws | SipTransport::Wss => {
                self.lab.engine.sip_addr()
            }
        };
        let uri = format!("sip:100@{at};transport={}", self.transport);
        self.phone.tell("dial", &uri).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// What the engine has recorded is the phone, and what the phone has heard is the engine.
    async fn hears_and_is_heard(&mut self, call: &CallId) -> Story {
        let story = self.lab.story(call).await;
        assert_eq!(story.cdr.disposition, Some(Disposition::Answered), "{:?}", story.cdr);
        let heard = seconds_of_tone(&self.phone.heard().unwrap(), PROMPT);
        assert!((SECONDS - 0.2..=SECONDS).contains(&heard), "{heard} s of the prompt");
        let recordings = self.lab.engine.client().recordings().await.unwrap();
        let recording = recordings.iter().find(|recording| recording.call_id == *call).unwrap();
        let recording = self.lab.engine.client().recording_audio(&recording.id).await.unwrap();
        let file = std::env::temp_dir().join(format!("carillon-test-srtp-{}.wav", call));
        std::fs::write(&file, recording).unwrap();
        // Where the engine says nothing, the phone alone is in it.
        let heard = seconds_of_tone(&file, Baresip::TONE);
        std::fs::remove_file(&file).unwrap();
        assert!(heard >= 0.6, "{heard} s of the phone");
        let media = story.cdr.media.as_ref().unwrap();
        assert_eq!(media.packets_lost, 0, "{media:?}");
        story
    }

    /// No key that the phone has seen is in what the engine writes.
    async fn keys_are_secret(&self, call: &CallId) {
        let seen = self.phone.output();
        let keys: Vec<&str> = seen
            .split("inline:")
            .skip(1)
            .map(|rest| rest.split(['|', '\r', '\n', ' ']).next().unwrap())
            .collect();
        assert!(keys.len() >= 2, "the phone shows its SIP messages: {seen}");
        let trace = self.lab.engine.client().trace(call).await.unwrap();
        let written = trace.messages.iter().map(|message| message.raw.as_str()).collect::<String>()
            + &self.lab.engine.log();
        assert!(written.contains("inline:*"), "{written}");
        for key in keys {
            assert!(!written.contains(key), "a key is written: {written}");
        }
    }

    async fn close(self) {
        self.phone.quit().await.unwrap();
        self.lab.stop().await;
    }
}

/// Says something, listens for a second, and hangs up.
fn says() -> serde_json::Value {
    json!({ "start": "say", "steps": {
        "say": { "verb": "play", "prompt": "tone", "next": "wait" },
        "wait": { "verb": "pause", "ms": 1000, "next": "bye" },
        "bye": { "verb": "hangup" },
    } })
}

/// The phone is called: the suite, and how many INVITEs it took.
async fn called(transport: SipTransport, srtp: &str, mediaenc: &str) -> (bool, u32) {
    let mut trunk = Trunk::new(transport, srtp, mediaenc).await;
    let story = trunk.is_called().await;
    if story.cdr.srtp.is_some() {
        trunk.keys_are_secret(&story.cdr.id).await;
    }
    trunk.close().await;
    (story.cdr.srtp.is_some(), story.cdr.attempts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_is_called_with_srtp() {
    for transport in [SipTransport::Udp, SipTransport::Tls] {
        assert_eq!(called(transport, "required", "srtp-mand").await, (true, 1), "{transport}");
        // It refuses SRTP beside plain RTP.
        assert_eq!(called(transport, "optional", "srtp-mand").await, (true, 2), "{transport}");
    }
    assert_eq!(called(SipTransport::Udp, "required", "srtp").await, (true, 1));
    assert_eq!(called(SipTransport::Udp, "optional", "srtp").await, (true, 1));
    assert_eq!(called(SipTransport::Udp, "optional", "").await, (false, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_calls_with_srtp() {
    for (transport, srtp, mediaenc, secure) in [
        (SipTransport::Udp, "required", "srtp-mand", true),
        (SipTransport::Tls, "required", "srtp-mand", true),
        (SipTransport::Tls, "optional", "srtp-mand", true),
        (SipTransport::Udp, "optional", "srtp", true),
        (SipTransport::Udp, "optional", "", false),
    ] {
        let mut trunk = Trunk::new(transport, srtp, mediaenc).await;
        let story = trunk.calls().await;
        assert_eq!(story.cdr.disposition, Some(Disposition::Answered), "{:?}", story.cdr);
        assert_eq!(story.cdr.srtp.is_some(), secure, "{transport} {srtp} {mediaenc}");
        let heard = seconds_of_tone(&trunk.phone.heard().unwrap(), PROMPT);
        assert!((SECONDS - 0.2..=SECONDS).contains(&heard), "{srtp} {mediaenc}: {heard} s of the prompt");
        let media = story.cdr.media.as_ref().unwrap();
        assert!(media.packets_received >= 50 && media.packets_lost == 0, "{media:?}");
        if secure {
            trunk.keys_are_secret(&story.cdr.id).await;
        }
        trunk.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused() {
    for (srtp, mediaenc) in [("required", ""), ("off", "srtp-mand")] {
        let mut trunk = Trunk::new(SipTransport::Udp, srtp, mediaenc).await;
        trunk.dial().await;
        let closed = trunk.until("CALL_CLOSED").await;
        assert!(closed.field("param").starts_with("488"), "{srtp} {mediaenc}: {closed:?}");
        let call = trunk.lab.incoming().await;
        assert_eq!(trunk.lab.story(&call).await.cdr.disposition, Some(Disposition::Incompatible));
        trunk.close().await;
    }
}
