//! A browser's user agent over secure WebSocket: JsSIP in Chromium, which neither knows its own address nor can be connected
//! to.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Html;
use axum::routing::{get, post};
use carrier::baresip::{self, Baresip};
use carrier::chromium::Chromium;
use carrier::engine::Engine;
use control_api_client::CallFilter;
use control_api_types::event::DtmfMethod;
use control_api_types::flow::Flow;
use control_api_types::{
    BridgeCall, CallId, CallStatus, Codec, CreateCall, Disposition, EndedBy, EventData, HangupReason,
    SipTransport, Transfer,
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

use crate::baresip::seconds_of_tone;
use crate::lab::Lab;
use crate::pki::Pki;

/// Longer than this nothing takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the browser says, what it is played, and what others say, in hertz.
const TONE: u32 = 620;
const PROMPT: u32 = 1_000;

const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><script type="module" src="/phone.js"></script>"#;

/// What page and test tell each other.
struct Line {
    told: mpsc::Sender<String>,
    acts: Mutex<mpsc::Receiver<String>>,
}

/// The page with the phone, and Chromium showing it.
struct Browser {
    chromium: Chromium,
    told: mpsc::Receiver<String>,
    acts: mpsc::Sender<String>,
}

impl Browser {
    async fn open(engine: &Engine, fingerprint: &str) -> Self {
        let (told_by_page, told) = mpsc::channel(64);
        let (acts, acts_of_page) = mpsc::channel(64);
        let line = Arc::new(Line { told: told_by_page, acts: Mutex::new(acts_of_page) });
        let script = script();
        let app = axum::Router::new()
            .route("/", get(async || Html(PAGE)))
            .route("/phone.js", get(async move || ([("content-type", "text/javascript")], script.clone())))
            .route(
                "/told",
                post(async |State(line): State<Arc<Line>>, words: String| {
                    // The test may have seen enough.
                    _ = line.told.send(words).await;
                }),
            )
            .route(
                "/act",
                get(async |State(line): State<Arc<Line>>| {
                    line.acts.lock().await.recv().await.unwrap_or_default()
                }),
            )
            .with_state(line);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let page: SocketAddr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let wss = engine.secure().unwrap().wss;
        let url = format!("http://{page}/?socket=wss://{wss}&uri=sip:alice@{wss}&password=secret");
        let chromium = Chromium::open(&url, fingerprint, &baresip::tone(TONE, 10.0).unwrap())
            .unwrap_or_else(|error| panic!("{error}"));
        Self { chromium, told, acts }
    }

    async fn act(&self, act: &str) {
        self.acts.send(act.to_owned()).await.unwrap();
    }

    /// Waits until the page tells this, whatever it tells before.
    async fn until(&mut self, words: &str) {
        let told = self.tells(words).await;
        assert_eq!(told, words);
    }

    /// Waits until the page tells something that begins so.
    async fn tells(&mut self, words: &str) -> String {
        let mut before = Vec::new();
        loop {
            match tokio::time::timeout(DEADLINE, self.told.recv()).await {
                Ok(Some(told)) if told.starts_with(words) => return told,
                Ok(told) => before.extend(told),
                Err(_) => panic!("no {words:?}, but {before:?}\n{}", self.chromium.output()),
            }
        }
    }

    /// What it hears in so many seconds.
    async fn hears(&mut self, seconds: u32) -> Heard {
        self.act(&format!("listen {seconds}")).await;
        let told = self.tells("heard ").await;
        let heard: Value = serde_json::from_str(told.trim_start_matches("heard ")).unwrap();
        let number = |name: &str| heard[name].as_f64().unwrap_or_else(|| panic!("{name} in {heard}"));
        Heard {
            packets: number("packets"),
            lost: number("lost"),
            energy: number("energy"),
            hertz: number("hertz"),
            codec: heard["codec"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// What Chromium has counted, and what it has heard.
#[derive(Debug)]
struct Heard {
    packets: f64,
    lost: f64,
    energy: f64,
    /// The loudest frequency, most of the time.
    hertz: f64,
    codec: String,
}

impl Heard {
    /// A tone, without a packet lost.
    fn is(&self, seconds: u32, hertz: u32) {
        // The page takes longer to look than it waits.
        assert!(self.packets >= f64::from(seconds * 50) - 5.0 && self.lost == 0.0, "{self:?}");
        assert!(self.energy > 0.0 && (self.hertz - f64::from(hertz)).abs() < 15.0, "{self:?}");
    }
}

/// The phone in one script.
fn script() -> String {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../browser/setup.sh");
    let made = Command::new(setup).output().unwrap();
    let complaints = String::from_utf8_lossy(&made.stderr);
    assert!(
        made.status.success(),
        "setup.sh needs node and npm (`apt-get install nodejs npm`): {complaints}"
    );
    std::fs::read_to_string(String::from_utf8(made.stdout).unwrap().trim()).unwrap()
}

async fn engine(pki: &Pki) -> Engine {
    let config = r#"
        [[endpoints]]
        name = "alice"
        password = "secret"
        transports = ["wss"]

        [[endpoints]]
        name = "bob"
        password = "secret"
        codecs = ["PCMA"]

        [[routes]]
        match = { endpoint = "alice", called = "200" }
        park = true

        [[routes]]
        match = { endpoint = "alice" }
        flow = "says"
    "#;
    let engine = Engine::start_secure(config, &pki.certificate(), &pki.key()).await;
    engine.unwrap_or_else(|error| panic!("{error}"))
}

async fn call(lab: &Lab) -> CallId {
    call_with(lab, json!({})).await
}

async fn call_with(lab: &Lab, more: Value) -> CallId {
    let mut body = json!({ "to": "endpoint:alice", "from": "+62211" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let create = control_api_types::CreateCall::from_json(&body).unwrap();
    lab.engine.client().originate(&create).await.unwrap().id
}

/// Plays until a key is pressed, then waits.
fn says() -> Flow {
    let flow = json!({ "start": "greet", "steps": {
        "greet": {
            "verb": "gather",
            "play": { "prompt": "tone", "loop": 0 },
            "max": 1,
            "timeout_ms": 60_000,
            "barge_in": true,
            "on": { "5": "wait" },
        },
        "wait": { "verb": "park" },
    } });
    Flow::from_json(&flow).unwrap()
}

async fn check(lab: &mut Lab, call: &CallId, disposition: Disposition, by: EndedBy) {
    let cdr = lab.story(call).await.cdr;
    assert_eq!((cdr.disposition, cdr.ended_by), (Some(disposition), Some(by)), "{cdr:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_registers_is_rung_and_unregisters() {
    let pki = Pki::new();
    let mut lab = Lab::with(engine(&pki).await).await;
    let mut browser = Browser::open(&lab.engine, &pki.fingerprint).await;
    browser.until("registered").await;
    lab.happened("endpoint.registered", 1).await;
    let endpoint = lab.engine.client().endpoint("alice").await.unwrap();
    let [contact] = endpoint.contacts.as_slice() else { panic!("one contact: {:?}", endpoint.contacts) };
    assert_eq!(contact.transport, SipTransport::Wss);
    // Only its own connection leads there.
    assert!(contact.uri.contains(".invalid"), "{contact:?}");
    assert!(contact.user_agent.as_deref().is_some_and(|agent| agent.starts_with("JsSIP")), "{contact:?}");

    // It rings, and we give up.
    let given_up = call(&lab).await;
    browser.until("call remote").await;
    lab.reached(&given_up, "call.ringing").await;
    lab.engine.client().hangup(&given_up, HangupReason::Normal).await.unwrap();
    browser.until("failed remote Canceled").await;
    check(&mut lab, &given_up, Disposition::Canceled, EndedBy::Api).await;
    // It declines.
    let declined = call(&lab).await;
    browser.until("call remote").await;
    browser.act("decline").await;
    check(&mut lab, &declined, Disposition::Busy, EndedBy::Remote).await;

    browser.act("unregister").await;
    browser.until("unregistered").await;
    lab.happened("endpoint.unregistered", 1).await;
    let gone = call(&lab).await;
    check(&mut lab, &gone, Disposition::Unreachable, EndedBy::Engine).await;
    browser.chromium.close().await.unwrap();
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_is_closed_is_gone_and_one_that_does_not_trust_us_never_comes() {
    let (pki, other) = (Pki::new(), Pki::new());
    let mut lab = Lab::with(engine(&pki).await).await;
    let mut stranger = Browser::open(&lab.engine, &other.fingerprint).await;
    stranger.until("disconnected").await;
    stranger.chromium.close().await.unwrap();
    let mut browser = Browser::open(&lab.engine, &pki.fingerprint).await;
    browser.until("registered").await;
    lab.happened("endpoint.registered", 1).await;
    browser.chromium.close().await.unwrap();
    // Its binding ends with its connection.
    lab.happened("endpoint.unregistered", 1).await;
    assert_eq!(lab.engine.client().endpoint("alice").await.unwrap().contacts, []);
    lab.stop().await;
}

/// A phone that says a tone in A-law, called and answered.
async fn bob(lab: &mut Lab) -> (Baresip, CallId) {
    let mut bob = Baresip::start().await.unwrap_or_else(|error| panic!("{error}"));
    let at = lab.engine.sip_addr();
    let account = format!(
        "<sip:bob@{at};transport=udp>;auth_pass=secret;regint=60;answermode=manual;audio_codecs=PCMA/8000/1"
    );
    bob.register(&account).await.unwrap_or_else(|error| panic!("{error}"));
    lab.happened("endpoint.registered", 2).await;
    let create = CreateCall::from_json(&json!({ "to": "endpoint:bob", "from": "+62211" })).unwrap();
    let call = lab.engine.client().originate(&create).await.unwrap().id;
    bob.until("CALL_INCOMING").await.unwrap_or_else(|error| panic!("{error}"));
    bob.tell("accept", "").await.unwrap_or_else(|error| panic!("{error}"));
    lab.reached(&call, "call.answered").await;
    (bob, call)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_hears_presses_talks_is_transferred_and_hung_up() {
    let pki = Pki::new();
    let mut lab = Lab::with(engine(&pki).await).await;
    lab.engine.client().upload_prompt("tone", baresip::tone(PROMPT, 2.0).unwrap()).await.unwrap();
    lab.engine.client().put_flow("says", &says()).await.unwrap();
    let mut browser = Browser::open(&lab.engine, &pki.fingerprint).await;
    browser.until("registered").await;
    lab.happened("endpoint.registered", 1).await;

    // It is called by a flow, and hears it.
    let a = call_with(&lab, json!({ "flow": says(), "codecs": ["opus", "PCMA"] })).await;
    browser.until("call remote").await;
    browser.act("answer").await;
    browser.until("connection connected").await;
    lab.reached(&a, "call.answered").await;
    let heard = browser.hears(10).await;
    heard.is(10, PROMPT);
    assert_eq!(heard.codec, "audio/opus");
    // It presses a key, which the flow has waited for.
    browser.act("press 5").await;
    let is_key = |data: &EventData| {
        matches!(data, EventData::CallDtmf { digit: '5', method: DtmfMethod::Rfc4733, .. })
    };
    lab.told(&a, is_key).await;
    lab.reached(&a, "call.gather.ended").await;
    // It talks to a phone of A-law.
    let (mut bob, b) = bob(&mut lab).await;
    let bridge = BridgeCall::from_json(&json!({ "with": b, "on_end": "park" })).unwrap();
    lab.engine.client().bridge(&a, &bridge).await.unwrap();
    lab.reached(&a, "call.bridged").await;
    browser.hears(5).await.is(5, Baresip::TONE);
    // It holds, and takes the call back.
    for (act, kind) in [("hold", "call.held"), ("unhold", "call.resumed")] {
        browser.act(act).await;
        lab.reached(&a, kind).await;
        browser.until(&format!("{act} local")).await;
    }
    browser.hears(3).await.is(3, Baresip::TONE);
    lab.engine.client().hangup(&b, HangupReason::Normal).await.unwrap();
    bob.until("CALL_CLOSED").await.unwrap_or_else(|error| panic!("{error}"));
    let heard = seconds_of_tone(&bob.heard().unwrap(), TONE);
    assert!(heard >= 6.0, "{heard} s of the browser");
    let story = lab.story(&b).await;
    assert_eq!(story.cdr.codec, Some(Codec::Pcma));
    bob.quit().await.unwrap();

    // It is transferred, and so calls, and hears another call's flow.
    let at = lab.engine.secure().unwrap().wss;
    let to = json!({ "to": format!("sip:100@{at};transport=ws"), "mode": "blind" });
    lab.engine.client().transfer(&a, &Transfer::from_json(&to).unwrap()).await.unwrap();
    browser.until("referred").await;
    browser.until("call local").await;
    browser.until("connection connected").await;
    let story = lab.story(&a).await;
    let media = story.cdr.media.as_ref().unwrap();
    assert_eq!((story.cdr.codec, media.packets_lost), (Some(Codec::Opus), 0), "{media:?}");
    let suite = story.cdr.srtp.as_deref();
    assert!(suite.is_some_and(|suite| suite.contains("AES")), "{suite:?}");
    browser.hears(3).await.is(3, PROMPT);
    let calls = lab.engine.client().calls(&CallFilter::default()).await.unwrap().items;
    let c = calls.iter().find(|call| call.status == CallStatus::InProgress).unwrap().id.clone();
    // And hung up.
    lab.engine.client().hangup(&c, HangupReason::Normal).await.unwrap();
    browser.until("ended remote Terminated").await;
    let story = lab.story(&c).await;
    assert_eq!(
        (story.cdr.disposition, story.cdr.ended_by),
        (Some(Disposition::Answered), Some(EndedBy::Api))
    );

    // It calls, and the API answers.
    browser.act("dial 200").await;
    browser.until("call local").await;
    lab.happened("call.initiated", 4).await;
    let calls = lab.engine.client().calls(&CallFilter::default()).await.unwrap().items;
    let d = calls.iter().find(|call| call.ended_at.is_none()).unwrap().id.clone();
    lab.engine.client().answer(&d).await.unwrap();
    browser.until("connection connected").await;
    lab.reached(&d, "call.answered").await;
    browser.act("hangup").await;
    check(&mut lab, &d, Disposition::Answered, EndedBy::Remote).await;
    browser.chromium.close().await.unwrap();
    lab.stop().await;
}
