//! An engine with a trunk, and what it tells of its calls.

use std::net::SocketAddr;
use std::time::Duration;

use carrier::engine::Engine;
use control_api_client::{EventFilter, Events};
use control_api_types::{Call, CallId, CreateCall, Cursor, Event, EventData};
use serde_json::{Value, json};

/// Longer than this nothing takes.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Lab {
    pub(crate) engine: Engine,
    events: Events,
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
        let digit = |event: &Event| match event.data {
            EventData::CallDtmf { digit, .. } => Some(digit),
            _ => None,
        };
        self.events.iter().filter_map(digit).collect()
    }
}

impl Lab {
    /// An engine with one trunk, `t`, that needs no registration.
    pub(crate) async fn calling(peer: SocketAddr) -> Self {
        Self::new(&format!("[[trunks]]\nname = \"t\"\nuri = \"sip:{peer}\"\nregister = false\n")).await
    }

    /// The same with an account for challenges.
    pub(crate) async fn calling_as(peer: SocketAddr, username: &str, password: &str) -> Self {
        let account = format!("username = \"{username}\"\npassword = \"{password}\"\n");
        Self::new(&format!("[[trunks]]\nname = \"t\"\nuri = \"sip:{peer}\"\nregister = false\n{account}")).await
    }

    pub(crate) async fn new(config: &str) -> Self {
        let engine = Engine::start(config).await.unwrap_or_else(|error| panic!("{error}"));
        // From the very first event on.
        let filter = EventFilter { cursor: Some(Cursor(0)), ..EventFilter::default() };
        let events = engine.client().events(filter).await.unwrap();
        Self { engine, events }
    }

    /// Places a call through the trunk; `more` are further fields of the request.
    pub(crate) async fn place(&self, more: Value) -> CallId {
        let mut body = json!({ "to": "+628761234", "trunk": "t" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let create = CreateCall::from_json(&body).unwrap();
        self.engine.client().originate(&create).await.unwrap_or_else(|error| panic!("{error}")).id
    }

    /// The next event that `wanted` says yes to.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let next = async {
            loop {
                let event = self.events.next().await.unwrap().unwrap();
                if wanted(&event) {
                    return event;
                }
            }
        };
        match tokio::time::timeout(DEADLINE, next).await {
            Ok(event) => event,
            Err(_) => panic!("it never came; the engine's log:\n{}", self.engine.log()),
        }
    }

    /// Waits for one event of a call.
    pub(crate) async fn reached(&mut self, call: &CallId, kind: &str) {
        self.until(|event| event.call_id.as_ref() == Some(call) && event.data.kind() == kind).await;
    }

    /// Everything about a call once it has ended, from a subscription of its own.
    pub(crate) async fn story(&self, call: &CallId) -> Story {
        let filter = EventFilter {
            call_id: Some(call.clone()),
            cursor: Some(Cursor(0)),
            ..EventFilter::default()
        };
        let mut stream = self.engine.client().events(filter).await.unwrap();
        let mut events = Vec::new();
        let all = async {
            loop {
                let event = stream.next().await.unwrap().unwrap();
                let cdr = match &event.data {
                    EventData::CallEnded(cdr) => Some((**cdr).clone()),
                    _ => None,
                };
                events.push(event);
                if let Some(cdr) = cdr {
                    return cdr;
                }
            }
        };
        let Ok(cdr) = tokio::time::timeout(DEADLINE, all).await else {
            panic!("the call never ended; the engine's log:\n{}", self.engine.log());
        };
        // Numbered from 1 without a gap, and the CDR in the store is the one that was told.
        let numbers: Vec<_> = events.iter().map(|event| event.seq).collect();
        assert_eq!(numbers, (1..=events.len() as u64).map(Some).collect::<Vec<_>>());
        assert_eq!(self.engine.client().call(call).await.unwrap(), cdr);
        Story { events, cdr }
    }

    /// SIGTERM; it must end well.
    pub(crate) async fn stop(self) {
        let status = self.engine.stop().await.unwrap();
        assert!(status.success(), "{status}");
    }
}
