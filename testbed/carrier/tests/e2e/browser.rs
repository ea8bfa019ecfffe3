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
use carrier::chromium::Chromium;
use carrier::engine::Engine;
use control_api_types::flow::Flow;
use control_api_types::{CallId, Disposition, EndedBy, HangupReason, SipTransport};
use serde_json::json;
use tokio::sync::{Mutex, mpsc};

use crate::lab::Lab;
use crate::pki::Pki;

/// Longer than this nothing takes.
const DEADLINE: Duration = Duration::from_secs(30);

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
        let chromium = Chromium::open(&url, fingerprint).unwrap_or_else(|error| panic!("{error}"));
        Self { chromium, told, acts }
    }

    async fn act(&self, act: &str) {
        self.acts.send(act.to_owned()).await.unwrap();
    }

    /// Waits until the page tells this, whatever it tells before.
    async fn until(&mut self, words: &str) {
        let mut before = Vec::new();
        loop {
            match tokio::time::timeout(DEADLINE, self.told.recv()).await {
                Ok(Some(told)) if told == words => return,
                Ok(told) => before.extend(told),
                Err(_) => panic!("no {words:?}, but {before:?}\n{}", self.chromium.output()),
            }
        }
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

        [[routes]]
        match = { endpoint = "alice" }
        flow = "waits"
    "#;
    let engine = Engine::start_secure(config, &pki.certificate(), &pki.key()).await;
    engine.unwrap_or_else(|error| panic!("{error}"))
}

async fn call(lab: &Lab) -> CallId {
    let body = json!({ "to": "endpoint:alice", "from": "+62211" });
    let create = control_api_types::CreateCall::from_json(&body).unwrap();
    lab.engine.client().originate(&create).await.unwrap().id
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
    // It wants to talk, but not without keys for the media.
    let answered = call(&lab).await;
    browser.until("call remote").await;
    browser.act("answer").await;
    check(&mut lab, &answered, Disposition::Incompatible, EndedBy::Remote).await;
    // And it calls with keys, which we do not have.
    let flow = json!({ "start": "wait", "steps": { "wait": { "verb": "park" } } });
    lab.engine.client().put_flow("waits", &Flow::from_json(&flow).unwrap()).await.unwrap();
    browser.act("dial 100").await;
    browser.until("failed remote Incompatible SDP").await;
    lab.happened("call.ended", 4).await;

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
