//! Webhooks, as a receiver sees them that checks signatures with the reference library: in order, signed, again after
//! failures and restarts, and never at the expense of a call.

use std::collections::{BTreeMap, BTreeSet};

use carrier::process::free_addr;
use reqwest::Method;
use serde_json::{Value, json};

use crate::python::Receiver;
use crate::support::{Carillon, carrier, items};

/// What lets webhooks go to this machine, and a second attempt come soon.
const LOCAL: &str =
    "[http]\nallow_plain = true\nallow_private = [\"127.0.0.1\"]\n[webhooks]\nretry_s = [1]\n";
/// Of the caller's choice, as the reference has it in its examples.
const OWN_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Those that were taken: each event once, by call in the order in which they came.
fn by_call(posts: &[Value]) -> BTreeMap<String, Vec<&Value>> {
    let mut calls: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for post in posts.iter().filter(|post| post["status"] == 204) {
        let event = &post["event"];
        assert_eq!(post["id"], event["id"], "the message is the event");
        calls.entry(event["call_id"].as_str().unwrap_or_default().to_owned()).or_default().push(event);
    }
    calls
}

/// Every event of the call came, in order and once.
#[track_caller]
fn check_whole(events: &[&Value]) {
    let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>(), "{events:#?}");
    assert_eq!(events.last().unwrap()["type"], "call.ended");
}

fn ended(posts: &[Value]) -> usize {
    posts.iter().filter(|post| post["status"] == 204 && post["event"]["type"] == "call.ended").count()
}

#[tokio::test]
async fn events_come_signed_in_order_and_again_after_an_error() {
    let (_carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&format!("{LOCAL}{trunk}")).await;
    let receiver = Receiver::start(0).await;

    let made =
        carillon.post("/v1/webhooks", &json!({"url": receiver.url("/ok/a"), "events": ["call.*"]})).await;
    let location = made.headers["location"].to_str().unwrap().to_owned();
    let made = made.ok(201);
    let secret = made["secret"].as_str().unwrap();
    receiver.expect("/ok/a", secret).await;
    let body = json!({"url": receiver.url("/flaky/b"), "events": ["call.ended", "call.answered"], "secret": OWN_SECRET});
    assert!(
        carillon.post("/v1/webhooks", &body).await.ok(201).get("secret").is_none(),
        "whoever chose it knows it"
    );
    receiver.expect("/flaky/b", OWN_SECRET).await;
    receiver.expect("/ok/own", OWN_SECRET).await;

    let call = json!({
        "to": "+621007", "trunk": "t", "webhook_url": receiver.url("/ok/own"), "webhook_secret": OWN_SECRET,
        "flow": {"start": "bye", "steps": {"bye": {"verb": "hangup"}}},
    });
    let id = carillon.post("/v1/calls", &call).await.ok(202)["id"].as_str().unwrap().to_owned();
    let unsigned =
        json!({"to": "+621007", "trunk": "t", "webhook_url": receiver.url("/ok/bare"), "flow": call["flow"]});
    carillon.post("/v1/calls", &unsigned).await.ok(202);

    for (path, verified) in [("/ok/own", json!(true)), ("/ok/bare", json!("unsigned"))] {
        let posts = receiver.until(path, |posts| ended(posts) == 1).await;
        assert!(posts.iter().all(|post| post["verified"] == verified), "{posts:#?}");
        let calls = by_call(&posts);
        assert_eq!(calls.len(), 1, "no other call's events");
        calls.values().for_each(|events| check_whole(events));
    }
    let posts = receiver.until("/ok/a", |posts| ended(posts) == 2).await;
    assert!(posts.iter().all(|post| post["verified"] == true), "{posts:#?}");
    by_call(&posts).values().for_each(|events| check_whole(events));

    let posts = receiver.until("/flaky/b", |posts| ended(posts) == 2).await;
    let of_call: Vec<_> = posts.iter().filter(|post| post["event"]["call_id"] == id.as_str()).collect();
    let story: Vec<_> =
        of_call.iter().map(|post| (post["event"]["type"].as_str().unwrap(), &post["status"])).collect();
    let tries = |kind| {
        [(kind, &json!(500)), (kind, &json!(500)), (kind, &json!(204))]
            .map(|(kind, status)| (kind, status.clone()))
    };
    let expected: Vec<_> = ["call.answered", "call.ended"].into_iter().flat_map(tries).collect();
    assert_eq!(story.iter().map(|(kind, status)| (*kind, (*status).clone())).collect::<Vec<_>>(), expected);
    assert!(posts.iter().all(|post| post["verified"] == true), "each attempt is signed anew");

    let shown = carillon.until(&location, |webhook| webhook["pending"] == 0).await;
    assert_eq!((&shown["status"], &shown["dropped"]), (&json!("enabled"), &json!(0)));
    assert!(shown["last_delivered_at"].is_string() && shown.get("last_error").is_none(), "{shown}");
    let list = items(carillon.get("/v1/webhooks").await.ok(200));
    assert!(list.len() == 2 && list.iter().all(|webhook| webhook.get("secret").is_none()), "{list:?}");
    assert_eq!(carillon.delete(&location).await.status, 204);
    carillon.get(&location).await.problem(404, "not-found");
    let log = carillon.folder.read("log");
    assert!(!log.contains(&secret[6..]) && !log.contains(&OWN_SECRET[6..]), "no secret in the log");
    carillon.check_no_panic().await;
}

#[tokio::test]
async fn a_receiver_that_is_down_and_a_kill_of_the_engine_cost_no_event_and_no_call() {
    const CALLS: usize = 20;
    let (_carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&format!("{LOCAL}{trunk}")).await;
    // Nobody listens there yet.
    let port = free_addr().unwrap().port();
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let slow = Receiver::start(0).await;
    for (url, events) in [
        (at("/ok/all"), json!(["call.*"])),
        (slow.url("/silent/x"), json!(["*"])),
        (slow.url("/error/x"), json!(["*"])),
    ] {
        let body = json!({"url": url, "events": events, "secret": OWN_SECRET});
        carillon.post("/v1/webhooks", &body).await.ok(201);
    }
    for number in 0..CALLS {
        let call = json!({
            "to": "+621007", "trunk": "t", "id": format!("c{number}"), "webhook_url": at("/ok/own"),
            "flow": {"start": "bye", "steps": {"bye": {"verb": "hangup"}}},
        });
        carillon.post("/v1/calls", &call).await.ok(202);
    }
    // All of them go their way and end while not one event is taken by anybody.
    let cdrs = carillon.cdrs(CALLS).await;
    assert!(cdrs.iter().all(|cdr| cdr["disposition"] == "answered"), "{cdrs:?}");
    let waits = |webhook: &Value| {
        webhook["pending"].as_u64() >= Some(3 * CALLS as u64) && webhook["last_error"].is_string()
    };
    let page = carillon
        .until("/v1/webhooks", |page| {
            page["items"].as_array().unwrap().iter().filter(|one| waits(one)).count() >= 2
        })
        .await;
    assert!(items(page).iter().all(|webhook| webhook.get("last_delivered_at").is_none()));

    let (folder, ports) = carillon.kill().await;
    let receiver = Receiver::start(port).await;
    receiver.expect("/ok/all", OWN_SECRET).await;
    let carillon = Carillon::open(folder, ports).await;
    for path in ["/ok/all", "/ok/own"] {
        let posts = receiver.until(path, |posts| ended(posts) == CALLS).await;
        let calls = by_call(&posts);
        assert_eq!(calls.len(), CALLS);
        calls.values().for_each(|events| check_whole(events));
    }
    carillon
        .until("/v1/webhooks", |page| page["items"].as_array().unwrap().iter().any(|one| one["pending"] == 0))
        .await;
    carillon.check_no_panic().await;
}

#[tokio::test]
async fn what_has_no_room_is_counted_and_told() {
    let (_carrier, trunk) = carrier().await;
    let port = free_addr().unwrap().port();
    let carillon = Carillon::start(&format!("{LOCAL}max_pending = 10\n{trunk}")).await;
    let body = json!({"url": format!("http://127.0.0.1:{port}/ok/a"), "events": ["*"]});
    let made = carillon.post("/v1/webhooks", &body).await.ok(201);
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let flow = json!({"start": "bye", "steps": {"bye": {"verb": "hangup"}}});
    for _ in 0..8 {
        carillon.post("/v1/calls", &json!({"to": "+621007", "trunk": "t", "flow": flow})).await.ok(202);
    }
    carillon.cdrs(8).await;
    let full = carillon.get(&path).await.ok(200);
    assert_eq!(full["pending"], 10, "{full}");
    let dropped = full["dropped"].as_u64().unwrap();
    assert!(dropped > 0, "{full}");

    let receiver = Receiver::start(port).await;
    receiver.expect("/ok/a", made["secret"].as_str().unwrap()).await;
    carillon.until(&path, |webhook| webhook["pending"] == 0).await;
    // The first event that finds room again is preceded by the report.
    carillon.post("/v1/calls", &json!({"to": "+621007", "trunk": "t", "flow": flow})).await.ok(202);
    let posts = receiver
        .until("/ok/a", |posts| posts.iter().any(|post| post["event"]["type"] == "events.dropped"))
        .await;
    let report = posts.iter().find(|post| post["event"]["type"] == "events.dropped").unwrap();
    assert_eq!((&report["event"]["data"]["count"], &report["verified"]), (&json!(dropped), &json!(true)));
    let metrics = carillon.get("/metrics").await.ok(200);
    let line = format!("\ncarillon_webhook_events_lost_total{{reason=\"dropped\"}} {dropped}\n");
    assert!(metrics.as_str().unwrap().contains(&line), "{metrics}");
}

#[tokio::test]
async fn a_server_that_wants_no_more_is_left_alone() {
    let carillon = Carillon::start(LOCAL).await;
    let receiver = Receiver::start(0).await;
    let made = carillon
        .post("/v1/webhooks", &json!({"url": receiver.url("/gone/a"), "events": ["engine.*"]}))
        .await
        .ok(201);
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    carillon.post("/v1/drain", &json!({})).await.ok(202);
    let disabled = carillon.until(&path, |webhook| webhook["status"] == "disabled").await;
    assert_eq!((&disabled["pending"], &disabled["last_error"]), (&json!(0), &json!("HTTP status 410")));
    let (folder, ports) = carillon.kill().await;
    let carillon = Carillon::open(folder, ports).await;
    assert_eq!(carillon.get(&path).await.ok(200)["status"], "disabled", "a restart does not forget");
    carillon.post("/v1/drain", &json!({})).await.ok(202);
    // A second webhook hears of it, the disabled one does not.
    assert_eq!(receiver.until("/gone/a", |posts| !posts.is_empty()).await.len(), 1);
}

#[tokio::test]
async fn webhooks_go_where_they_may_and_name_events_that_there_are() {
    let carillon = Carillon::start("").await;
    let mut details = BTreeSet::new();
    for (url, events, pointer) in [
        ("http://hooks.example/", json!(["*"]), "/url"),
        ("https://127.0.0.1/", json!(["*"]), "/url"),
        ("https://[::ffff:10.0.0.1]/", json!(["*"]), "/url"),
        ("https://169.254.169.254/latest", json!(["*"]), "/url"),
        ("https://hooks.example/", json!(["call.dtfm"]), "/events/0"),
    ] {
        let answer = carillon.post("/v1/webhooks", &json!({"url": url, "events": events})).await;
        answer.problem(422, "validation");
        let faults = answer.faults();
        assert!(faults.len() == 1 && faults[0].starts_with(&format!("{pointer} ")), "{url}: {faults:?}");
        details.extend(faults);
    }
    assert!(details.iter().any(|fault| fault.contains("the nearest: call.dtmf")), "{details:?}");
    let call = json!({"to": "sip:bob@127.0.0.1:9", "webhook_url": "https://10.0.0.1/"});
    let answer = carillon.post("/v1/calls", &call).await;
    answer.problem(422, "validation");
    assert!(answer.faults()[0].starts_with("/webhook_url the address is not of the public internet"));
    let filter = carillon.send(carillon.request(Method::GET, "/v1/events?types=call.*,call.dtfm")).await;
    filter.problem(422, "validation");
    assert!(
        filter.faults()[0]
            .starts_with("?types no type of event is called \"call.dtfm\"; the nearest: call.dtmf")
    );
    carillon.check_untouched().await;
}
