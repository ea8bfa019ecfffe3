//! Calls from one engine to another.

use crate::app::{DEAD, TestApp, wav};
use control_api_client::{CdrFilter, Client, EventFilter, Events};
use control_api_types::{
    Call, CallId, CallStatus, Code, CreateCall, Direction, Disposition, EndedBy, Event, EventData, Gather,
    HangupReason, Play, event::PlayEnd,
};
use serde_json::json;
use std::time::Duration;

/// The next event that `pick` takes.
pub(crate) async fn wait<T>(events: &mut Events, pick: impl Fn(&Event) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = pick(&events.next().await.unwrap().unwrap()) {
                return found;
            }
        }
    };
    tokio::time::timeout(DEAD, found).await.unwrap()
}

pub(crate) async fn ended(events: &mut Events, id: &CallId) -> Call {
    wait(events, |event| match &event.data {
        EventData::CallEnded(call) if call.id == *id => Some(call.as_ref().clone()),
        _ => None,
    })
    .await
}

/// The id of the next call that comes in.
pub(crate) async fn incoming(events: &mut Events, client: &Client) -> CallId {
    let id = wait(events, |event| match &event.data {
        EventData::CallInitiated { .. } => event.call_id.clone(),
        _ => None,
    })
    .await;
    assert_eq!(client.call(&id).await.unwrap().direction, Direction::Inbound);
    id
}

pub(crate) struct Pair {
    pub(crate) near: TestApp,
    pub(crate) far: TestApp,
}

impl Pair {
    pub(crate) async fn start() -> Self {
        Self { near: TestApp::start().await, far: TestApp::start().await }
    }

    pub(crate) fn request(&self) -> CreateCall {
        CreateCall {
            client_state: Some("mine".into()),
            ..CreateCall::to(format!("sip:bob@{}", self.far.sip))
        }
    }

    pub(crate) async fn stop(self) {
        self.near.stop().await;
        self.far.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_answered_played_to_and_hung_up() {
    let pair = Pair::start().await;
    let (near, far) = (pair.near.client(), pair.far.client());
    near.upload_prompt("tone", wav()).await.unwrap();
    let mut near_events = near.events(EventFilter::default()).await.unwrap();
    let mut far_events = far.events(EventFilter::default()).await.unwrap();

    let call = near.originate(&pair.request()).await.unwrap();
    assert_eq!((call.direction, call.disposition), (Direction::Outbound, None));
    let answered_by = incoming(&mut far_events, &far).await;
    far.ring(&answered_by).await.unwrap();
    wait(&mut near_events, |event| {
        matches!(event.data, EventData::CallRinging { sip_status: 180 }).then_some(())
    })
    .await;
    let early = near.play(&call.id, &Play::once("tone")).await.unwrap_err();
    assert_eq!(early.code(), Some(Code::WrongState));
    far.answer(&answered_by).await.unwrap();
    wait(&mut near_events, |event| matches!(event.data, EventData::CallAnswered { .. }).then_some(())).await;

    let unknown = near.play(&call.id, &Play::once("nothing")).await.unwrap_err();
    assert_eq!(unknown.code(), Some(Code::Validation));
    let play_id = near.play(&call.id, &Play { plays: 0, ..Play::once("tone") }).await.unwrap();
    let started = wait(&mut near_events, |event| match &event.data {
        EventData::CallPlayStarted { play_id, source } => Some((play_id.clone(), source.clone())),
        _ => None,
    })
    .await;
    assert_eq!(started, (play_id, Play::once("tone").source));
    near.stop_play(&call.id).await.unwrap();
    let reason = wait(&mut near_events, |event| match &event.data {
        EventData::CallPlayEnded { reason, .. } => Some(*reason),
        _ => None,
    })
    .await;
    assert_eq!(reason, PlayEnd::Stopped);
    let gather = Gather::from_json(&json!({"max": 1, "timeout_ms": 100})).unwrap();
    near.gather(&call.id, &gather).await.unwrap();
    wait(&mut near_events, |event| matches!(event.data, EventData::CallGatherEnded { .. }).then_some(()))
        .await;

    near.hangup(&call.id, HangupReason::Normal).await.unwrap();
    let cdr = ended(&mut near_events, &call.id).await;
    assert_eq!((cdr.status, cdr.disposition), (CallStatus::Completed, Some(Disposition::Answered)));
    assert_eq!((cdr.ended_by, cdr.client_state.as_deref()), (Some(EndedBy::Api), Some("mine")));
    let other = ended(&mut far_events, &answered_by).await;
    assert_eq!(other.ended_by, Some(EndedBy::Remote));

    assert_eq!(near.call(&call.id).await.unwrap(), cdr);
    assert_eq!(
        near.hangup(&call.id, HangupReason::Normal).await.unwrap(),
        cdr,
        "hanging up again changes nothing"
    );
    let page = near.cdrs(&CdrFilter::default()).await.unwrap();
    assert_eq!(page.items, std::slice::from_ref(&cdr));
    let later = CdrFilter {
        from: Some(control_api_types::Timestamp::from_unix_ms(u64::MAX)),
        ..CdrFilter::default()
    };
    assert!(near.cdrs(&later).await.unwrap().items.is_empty());
    assert_eq!(near.play(&call.id, &Play::once("tone")).await.unwrap_err().code(), Some(Code::WrongState));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_call_says_why() {
    let pair = Pair::start().await;
    let (near, far) = (pair.near.client(), pair.far.client());
    let mut near_events = near.events(EventFilter::default()).await.unwrap();
    let mut far_events = far.events(EventFilter::default()).await.unwrap();
    let call = near.originate(&pair.request()).await.unwrap();
    let refused = incoming(&mut far_events, &far).await;
    far.reject(&refused, 486).await.unwrap();
    let cdr = ended(&mut near_events, &call.id).await;
    assert_eq!(
        (cdr.status, cdr.disposition, cdr.sip_status),
        (CallStatus::Busy, Some(Disposition::Busy), Some(486))
    );
    ended(&mut far_events, &refused).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_id_never_makes_two_calls() {
    let pair = Pair::start().await;
    let near = pair.near.client();
    let request = CreateCall { id: Some("order-7".parse().unwrap()), ..pair.request() };
    let call = near.originate(&request).await.unwrap();
    assert_eq!(near.originate(&request).await.unwrap().created_at, call.created_at);
    let other = CreateCall { timeout_s: 5, ..request };
    assert_eq!(near.originate(&other).await.unwrap_err().code(), Some(Code::InUse));
    let shown = pair.near.get("/v1/calls/order-7").await;
    assert_eq!(shown.ok(200)["id"], "order-7");
    pair.near.get("/v1/calls/order-8").await.problem(404, "not-found");
    pair.near.get("/v1/calls/no%20id").await.problem(404, "not-found");
    let unknown = "order-8".parse().unwrap();
    assert_eq!(near.hangup(&unknown, HangupReason::Normal).await.unwrap_err().code(), Some(Code::NotFound));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_engine_does_not_know_is_a_fault() {
    let app = TestApp::start().await;
    let answer = app.post("/v1/calls", &json!({"to": "+6281", "trunk": "none", "flow": "none"})).await;
    answer.problem(422, "validation");
    assert_eq!(answer.pointers(), ["/trunk", "/flow"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_of_one_call_ends_with_it() {
    let pair = Pair::start().await;
    let near = pair.near.client();
    let request = CreateCall { timeout_s: 600, ..pair.request() };
    let mut events = near.events(EventFilter::default()).await.unwrap();
    let call = near.originate(&request).await.unwrap();
    wait(&mut events, |event| matches!(event.data, EventData::CallInitiated { .. }).then_some(())).await;
    let path = format!("/v1/calls/{}/events", call.id);
    let stream = pair.near.request(reqwest::Method::GET, &path).send().await.unwrap();
    near.hangup(&call.id, HangupReason::Normal).await.unwrap();
    let text = tokio::time::timeout(DEAD, stream.text()).await.unwrap().unwrap();
    assert!(text.contains("event: call.ended\n"), "{text}");
    pair.near.get("/v1/calls/unknown/events").await.problem(404, "not-found");
    tokio::time::timeout(Duration::from_secs(60), pair.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_bridged_and_each_learns_of_it() {
    let pair = Pair::start().await;
    let (near, far) = (pair.near.client(), pair.far.client());
    let mut near_events = near.events(EventFilter::default()).await.unwrap();
    let mut far_events = far.events(EventFilter::default()).await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..2 {
        let call = near.originate(&pair.request()).await.unwrap().id;
        far.answer(&incoming(&mut far_events, &far).await).await.unwrap();
        wait(&mut near_events, |event| matches!(event.data, EventData::CallAnswered { .. }).then_some(()))
            .await;
        calls.push(call);
    }
    let [a, b] = calls.as_slice() else { panic!("two calls") };
    let app = &pair.near;

    let faulty =
        app.post("/v1/bridges", &json!({"id": "room", "calls": [a, "nobody"], "hold_music": "none"})).await;
    faulty.problem(422, "validation");
    assert_eq!(faulty.pointers(), ["/hold_music", "/calls/1"]);
    let body = json!({"id": "room", "calls": [a]});
    let made = app.post("/v1/bridges", &body).await;
    assert_eq!(made.headers["location"], "/v1/bridges/room");
    let made = made.ok(201).clone();
    assert_eq!(made["calls"], json!([{"call_id": a, "role": "talk", "on_end": "hangup"}]));
    assert_eq!(app.post("/v1/bridges", &body).await.ok(201), &made, "the same again is the same");
    app.post("/v1/bridges", &json!({"id": "room"})).await.problem(409, "in-use");
    app.post("/v1/bridges/none/calls", &json!({"call_id": b})).await.problem(404, "not-found");
    let joined = app.post("/v1/bridges/room/calls", &json!({"call_id": b, "on_end": "park"})).await;
    assert_eq!(joined.ok(202)["calls"].as_array().unwrap().len(), 2);
    for other in [b, a] {
        let with = wait(&mut near_events, |event| match &event.data {
            EventData::CallBridged { bridge_id, with, .. } if bridge_id == "room" => with.clone(),
            _ => None,
        })
        .await;
        assert_eq!(with, *other);
    }
    assert_eq!(near.call(a).await.unwrap().bridge_id.as_deref(), Some("room"));
    app.post(&format!("/v1/calls/{a}/bridge"), &json!({"with": b})).await.problem(409, "wrong-state");
    app.post(&format!("/v1/calls/{a}/mute"), &json!({"direction": "both"})).await.ok(202);
    app.post(&format!("/v1/calls/{a}/unmute"), &json!({"direction": "both"})).await.ok(202);
    app.post(&format!("/v1/calls/{a}/mute"), &json!({"direction": "up"})).await.problem(422, "validation");
    assert_eq!(app.get("/v1/bridges").await.ok(200)["items"][0]["id"], "room");
    assert_eq!(app.get("/v1/bridges/room").await.ok(200)["calls"][1]["call_id"], json!(b));

    let remove = |path: String| app.send(app.request(reqwest::Method::DELETE, &path));
    remove("/v1/bridges/room/calls/nobody".to_owned()).await.problem(404, "not-found");
    remove(format!("/v1/bridges/room/calls/{b}")).await.ok(204);
    // One talker is left: the bridge is over, and with it the call that was to end with it.
    let cdr = ended(&mut near_events, a).await;
    assert_eq!((cdr.ended_by, cdr.cause_call_id), (Some(EndedBy::Api), None));
    remove("/v1/bridges/room".to_owned()).await.problem(404, "not-found");
    app.get("/v1/bridges/room").await.problem(404, "not-found");
    let there = near.call(b).await.unwrap();
    assert_eq!((there.status, there.bridge_id), (CallStatus::InProgress, None));
    near.hangup(b, HangupReason::Normal).await.unwrap();
    ended(&mut near_events, b).await;
    pair.stop().await;
}
