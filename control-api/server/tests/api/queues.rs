//! Queues, as those who own them see them.

use crate::app::{Settings, TestApp, wav};
use crate::calls::{Pair, ended, incoming, wait};
use control_api_client::EventFilter;
use control_api_types::{CreateCall, Event, EventData, FlowRef, HangupReason, Queue, flow::Flow};
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;

fn queue(max_wait_s: u32) -> Queue {
    let body = json!({
        "hold_music": "music", "max_wait_s": max_wait_s,
        "announce": {"every_s": 30, "position": true, "play": {"prompt": "place-{position}"}},
        "callback": {"key": "*", "min_wait_s": 5, "notice": {"tone": "beep"}},
    });
    Queue::from_json(&body).unwrap()
}

#[tokio::test]
async fn queues_are_checked_whole_kept_and_deleted() {
    let app = TestApp::start().await;
    let put = |body| app.request(Method::PUT, "/v1/queues/sales").json(&body);
    let bad = app.send(put(json!({"hold_music": "x", "max_wait_s": 0, "colour": 1}))).await;
    bad.problem(422, "validation");
    assert_eq!(bad.pointers(), ["/max_wait_s", "/colour"]);
    let missing = app.send(put(json!({"hold_music": {"playlist": [{"prompt": "gone"}]}, "max_wait_s": 9,
        "callback": {"key": "1", "notice": "lost"}})));
    let missing = missing.await;
    missing.problem(422, "validation");
    assert_eq!(missing.pointers(), ["/hold_music/playlist/0/prompt", "/callback/notice/prompt"]);
    app.get("/v1/queues/sales").await.problem(404, "not-found");
    app.get("/v1/queues/sales/calls").await.problem(404, "not-found");

    let client = app.client();
    let lost = json!({"start": "a", "steps": {"a": {"verb": "enqueue", "queue": "sales"}}});
    let flow = app.send(app.request(Method::PUT, "/v1/flows/wait").json(&lost)).await;
    flow.problem(422, "validation");
    assert_eq!(flow.pointers(), ["/steps/a/queue"]);

    client.upload_prompt("music", wav()).await.unwrap();
    assert_eq!(client.put_queue("sales", &queue(60)).await.unwrap().version, 1);
    let stored = client.put_queue("sales", &queue(90)).await.unwrap();
    assert_eq!((stored.version, stored.waiting, stored.longest_wait_ms), (2, 0, None));
    assert_eq!(*stored.queue, queue(90));
    assert_eq!(client.queue("sales").await.unwrap(), stored);
    let shown = app.get("/v1/queues/sales").await.ok(200).clone();
    assert_eq!(shown["hold_music"], json!({"prompt": "music", "loop": 0, "offset_ms": 0}));
    assert_eq!(shown["announce"]["every_s"], 30);
    assert_eq!(app.get("/v1/queues/sales/calls").await.ok(200), &json!({"items": [], "next_cursor": null}));
    app.get("/v1/queues/sales/calls?cursor=x").await.problem(422, "validation");
    client.put_flow("wait", &Flow::from_json(&lost).unwrap()).await.unwrap();
    let metrics = app.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("carillon_queue_calls{queue=\"sales\"} 0\n"), "{metrics}");

    let reader = app.token("reader", "read").await;
    let read = app.anonymous(Method::GET, "/v1/queues").bearer_auth(&reader);
    assert_eq!(app.send(read).await.ok(200)["items"][0]["name"], "sales");
    let forbidden = app.anonymous(Method::DELETE, "/v1/queues/sales").bearer_auth(&reader);
    app.send(forbidden).await.problem(403, "forbidden");

    // They outlive the process, and so does the flow, though what they need has gone by then.
    client.delete_prompt("music").await.unwrap();
    let folder = app.stop().await;
    let app = TestApp::start_with(Settings::default(), folder).await;
    assert_eq!(app.client().queue("sales").await.unwrap(), stored);
    app.client().delete_queue("sales").await.unwrap();
    app.get("/v1/queues/sales").await.problem(404, "not-found");
    let folder = app.stop().await;
    let app = TestApp::start_with(Settings::default(), folder).await;
    assert_eq!(app.client().queues().await.unwrap(), []);
    let flow = FlowRef::Name("wait".into());
    let call = CreateCall { flow: Some(flow), ..CreateCall::to("sip:nobody@127.0.0.1:9") };
    app.client().originate(&call).await.unwrap();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_listed_in_order_and_picked_by_a_bridge() {
    let pair = Pair::start().await;
    let (near, far) = (pair.near.client(), pair.far.client());
    near.upload_prompt("music", wav()).await.unwrap();
    near.put_queue("sales", &queue(600)).await.unwrap();
    let wait_flow = json!({"start": "a", "steps": {
        "a": {"verb": "enqueue", "queue": "sales", "data": {"vip": "{vip}"}, "on": {"ended": "b"}},
        "b": {"verb": "notify", "data": "met", "next": "c"},
        "c": {"verb": "hangup"},
    }});
    let wait_flow = FlowRef::Inline(Arc::new(Flow::from_json(&wait_flow).unwrap()));
    let mut near_events = near.events(EventFilter::default()).await.unwrap();
    let mut far_events = far.events(EventFilter::default()).await.unwrap();
    let mut calls = Vec::new();
    // The first is the agent, who is parked.
    for flow in [None, Some(wait_flow.clone()), Some(wait_flow)] {
        let request = CreateCall { flow, ..pair.request() };
        let call = near.originate(&request).await.unwrap().id;
        far.answer(&incoming(&mut far_events, &far).await).await.unwrap();
        let answered = |event: &Event| {
            let is_it = event.call_id.as_ref() == Some(&call);
            (is_it && matches!(event.data, EventData::CallAnswered { .. })).then_some(())
        };
        wait(&mut near_events, answered).await;
        calls.push(call);
    }
    let [agent, first, second] = calls.as_slice() else { panic!("three calls") };
    let position = wait(&mut near_events, |event| match &event.data {
        EventData::CallEnqueued { queue, position, .. } if event.call_id.as_ref() == Some(second) => {
            assert_eq!(queue, "sales");
            Some(*position)
        }
        _ => None,
    })
    .await;
    assert_eq!(position, 2);
    let listed = near.queued_calls("sales").await.unwrap();
    let places: Vec<_> = listed.iter().map(|call| (call.position, &call.call_id)).collect();
    assert_eq!(places, [(1, first), (2, second)]);
    assert_eq!(listed[0].client_state.as_deref(), Some("mine"));
    assert_eq!(listed[0].data, Some(json!({"vip": ""})));
    let page = pair.near.get("/v1/queues/sales/calls?limit=1").await.ok(200).clone();
    assert_eq!(page["items"][0]["call_id"], json!(first));
    let rest = format!("/v1/queues/sales/calls?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let rest = pair.near.get(&rest).await.ok(200).clone();
    assert_eq!((&rest["items"][0]["call_id"], &rest["next_cursor"]), (&json!(second), &json!(null)));
    assert_eq!(near.queue("sales").await.unwrap().waiting, 2);
    assert_eq!(near.call(first).await.unwrap().queue.as_deref(), Some("sales"));

    pair.near.post(&format!("/v1/calls/{agent}/bridge"), &json!({"with": first})).await.ok(202);
    let places: Vec<_> = near
        .queued_calls("sales")
        .await
        .unwrap()
        .into_iter()
        .map(|call| (call.position, call.call_id))
        .collect();
    assert_eq!(places, [(1, second.clone())]);
    near.hangup(agent, HangupReason::Normal).await.unwrap();
    wait(&mut near_events, |event| match &event.data {
        EventData::CallNotify(data) if event.call_id.as_ref() == Some(first) => {
            assert_eq!(data, "met");
            Some(())
        }
        _ => None,
    })
    .await;
    ended(&mut near_events, first).await;
    near.hangup(second, HangupReason::Normal).await.unwrap();
    assert_eq!(ended(&mut near_events, second).await.queue.as_deref(), Some("sales"));
    pair.stop().await;
}
