//! An engine with a trunk, and what it tells of its calls.

use std::net::SocketAddr;
use std::time::Duration;

use carrier::engine::Engine;
use control_api_client::{EventFilter, Events};
use control_api_types::flow::Flow;
use control_api_types::{Call, CallId, CreateCall, Event, EventData, TrunkState};
use serde_json::{Value, json};

/// Longer than this nothing takes.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Lab {
    pub(crate) engine: Engine,
    events: Events,
    seen: Vec<Event>,
}

/// A call from its first event to its last.
pub(crate) struct Story {
    pub(crate) events: Vec<Event>,
    pub(crate) cdr: Call,
}

impl Story {
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.events.iter().map(|event| event.data.kind()).collect()
    }

    pub(crate) fn digits(&self) -> String {
        let digit = |event: &Event| {
            if let EventData::CallDtmf { digit, .. } = event.data { Some(digit) } else { None }
        };
        self.events.iter().filter_map(digit).collect()
    }
}

impl Lab {
    /// An engine with one trunk, `t`, that needs no registration.
    pub(crate) async fn calling(peer: SocketAddr) -> Self {
        Self::calling_with(peer, "").await
    }

    /// The same with further settings of the trunk.
    pub(crate) async fn calling_with(peer: SocketAddr, settings: &str) -> Self {
        Self::new(&format!("[[trunks]]\nname = \"t\"\nuri = \"sip:{peer}\"\nregister = false\n{settings}"))
            .await
    }

    /// The same with an account for challenges.
    pub(crate) async fn calling_as(peer: SocketAddr, username: &str, password: &str) -> Self {
        let account = format!("username = \"{username}\"\npassword = \"{password}\"\n");
        Self::calling_with(peer, &account).await
    }

    pub(crate) async fn new(config: &str) -> Self {
        Self::with(Engine::start(config).await.unwrap_or_else(|error| panic!("{error}"))).await
    }

    pub(crate) async fn with(engine: Engine) -> Self {
        let events = engine.client().events(EventFilter::default()).await.unwrap();
        Self { engine, events, seen: Vec::new() }
    }

    /// An engine that answers at `100` and waits, and at `200` leaves callers to the API.
    pub(crate) async fn answering() -> Self {
        // The trunk is where callers come from, so that they are no strangers.
        let lab = Self::new(
            r#"
            [[trunks]]
            name = "callers"
            uri = "sip:127.0.0.1:9"

            [[routes]]
            match = { called = "100" }
            flow = "waits"

            [[routes]]
            match = { called = "200" }
            park = true
            "#,
        )
        .await;
        let flow = json!({ "start": "wait", "steps": { "wait": { "verb": "park" } } });
        lab.engine.client().put_flow("waits", &Flow::from_json(&flow).unwrap()).await.unwrap();
        lab
    }

    /// How many calls have begun as far as events were read.
    pub(crate) fn calls_begun(&self) -> usize {
        self.seen.iter().filter(|event| event.data.kind() == "call.initiated").count()
    }

    /// Waits until the trunk is in this state, in which it may have been before anybody subscribed to events.
    pub(crate) async fn trunk_is(&self, wanted: TrunkState) {
        let reached = async {
            while self.engine.client().trunk("t").await.unwrap().state != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(DEADLINE, reached).await.is_err() {
            panic!("the trunk is not {wanted}; the engine's log:\n{}", self.engine.log());
        }
    }

    /// Places a call through the trunk; `more` are further fields of the request.
    pub(crate) async fn place(&self, more: Value) -> CallId {
        let mut body = json!({ "to": "+628761234", "trunk": "t" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let create = CreateCall::from_json(&body).unwrap();
        self.engine.client().originate(&create).await.unwrap_or_else(|error| panic!("{error}")).id
    }

    /// Waits until what has happened so far is enough.
    async fn until(&mut self, enough: impl Fn(&[Event]) -> bool) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !enough(&self.seen) {
            match tokio::time::timeout_at(deadline, self.events.next()).await {
                Ok(event) => self.seen.push(event.unwrap().unwrap()),
                Err(_) => panic!("it never came; events: {:#?}\nlog:\n{}", self.seen, self.engine.log()),
            }
        }
    }

    /// Waits for an event of a call of this kind.
    pub(crate) async fn reached(&mut self, call: &CallId, kind: &str) {
        self.told(call, |data| data.kind() == kind).await;
    }

    /// Waits for an event of a call.
    pub(crate) async fn told(&mut self, call: &CallId, is_it: impl Fn(&EventData) -> bool) {
        self.until(|seen| {
            seen.iter().any(|event| event.call_id.as_ref() == Some(call) && is_it(&event.data))
        })
        .await;
    }

    /// Waits for an event that is not of a call, so many of them since the start.
    pub(crate) async fn happened(&mut self, kind: &str, count: usize) {
        self.until(|seen| seen.iter().filter(|event| event.data.kind() == kind).count() >= count).await;
    }

    /// Waits for an event of a call, so many of them since the start.
    pub(crate) async fn reached_again(&mut self, call: &CallId, kind: &str, count: usize) {
        let of_call = |event: &&Event| event.call_id.as_ref() == Some(call) && event.data.kind() == kind;
        self.until(|seen| seen.iter().filter(of_call).count() >= count).await;
    }

    /// The first event of this kind, which has [happened](Self::happened).
    pub(crate) fn first(&self, kind: &str) -> EventData {
        let first = self.seen.iter().find(|event| event.data.kind() == kind);
        first.map(|event| event.data.clone()).unwrap()
    }

    /// How many contacts of endpoints there are by what the events have told.
    pub(crate) async fn contacts_told(&mut self) -> usize {
        let told = |seen: &[Event], kind: &str| seen.iter().filter(|event| event.data.kind() == kind).count();
        // A drain is the last thing to be told, after all that was.
        self.engine.client().drain().await.unwrap();
        self.happened("engine.draining", 1).await;
        told(&self.seen, "endpoint.registered") - told(&self.seen, "endpoint.unregistered")
    }

    /// Waits for a call from outside.
    pub(crate) async fn incoming(&mut self) -> CallId {
        let initiated = |event: &&Event| event.data.kind() == "call.initiated";
        self.until(|seen| seen.iter().any(|event| initiated(&event))).await;
        self.seen.iter().find(initiated).and_then(|event| event.call_id.clone()).unwrap()
    }

    /// Waits until so many calls have ended, and tells them all.
    pub(crate) async fn stories(&mut self, count: usize) -> Vec<Story> {
        let ended = |seen: &[Event]| -> Vec<CallId> {
            let ends = seen.iter().filter(|event| event.data.kind() == "call.ended");
            ends.filter_map(|event| event.call_id.clone()).collect()
        };
        self.until(|seen| ended(seen).len() >= count).await;
        let mut stories = Vec::new();
        for call in ended(&self.seen) {
            stories.push(self.story(&call).await);
        }
        stories
    }

    /// Everything about a call once it has ended.
    pub(crate) async fn story(&mut self, call: &CallId) -> Story {
        self.reached(call, "call.ended").await;
        let of_call = self.seen.iter().filter(|event| event.call_id.as_ref() == Some(call));
        let events: Vec<_> = of_call.cloned().collect();
        // Numbered from 1 without a gap, the end last, and the CDR in the store is the one that was told.
        let numbers: Vec<_> = events.iter().map(|event| event.seq).collect();
        assert_eq!(numbers, (1..=events.len() as u64).map(Some).collect::<Vec<_>>());
        let Some(EventData::CallEnded(cdr)) = events.last().map(|event| &event.data) else {
            panic!("something came after the end: {events:#?}");
        };
        let cdr = (**cdr).clone();
        assert_eq!(self.engine.client().call(call).await.unwrap(), cdr);
        Story { events, cdr }
    }

    /// SIGTERM; it must end well.
    pub(crate) async fn stop(self) {
        let status = self.engine.stop().await.unwrap();
        assert!(status.success(), "{status}");
    }
}
