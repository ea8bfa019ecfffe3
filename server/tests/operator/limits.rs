//! Full limits: who waits, who is refused, and what they are told.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Carillon, Stream, carrier};

fn call(id: &str) -> Value {
    json!({"id": id, "to": "+6281", "trunk": "t"})
}

#[tokio::test]
async fn above_max_calls_a_call_waits_and_above_max_queued_it_is_refused() {
    let (carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&format!("{trunk}[limits]\nmax_calls = 1\nmax_queued = 1\n")).await;
    carillon.post("/v1/calls", &call("first")).await.ok(202);
    carillon.until_call("first", "in-progress").await;
    let second = carillon.post("/v1/calls", &call("second")).await.ok(202);
    assert_eq!((&second["status"], &second["sip_call_id"]), (&json!("queued"), &json!(null)));
    let third = carillon.post("/v1/calls", &call("third")).await;
    assert!(!third.problem(503, "queue-full").is_empty());
    assert_eq!(third.body["retryable"], true);
    assert!(third.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1);
    carillon.get("/v1/calls/third").await.problem(404, "not-found");
    let node = carillon.get("/v1/node").await.ok(200);
    assert_eq!(node["calls"], json!({"live": 1, "queued": 1}));

    carillon.delete("/v1/calls/first").await.ok(202);
    carillon.until_call("second", "in-progress").await;
    // What was refused may come again, with the same id.
    carillon.post("/v1/calls", &call("third")).await.ok(202);
    // A call that never left the queue is over at once.
    let cancelled = carillon.delete("/v1/calls/third").await.ok(200);
    assert_eq!((&cancelled["status"], &cancelled["sip_call_id"]), (&json!("canceled"), &json!(null)));
    carillon.delete("/v1/calls/second").await.ok(202);
    carillon.until_call("second", "completed").await;
    let ended: Vec<_> = carillon.cdrs(3).await.iter().map(|cdr| cdr["id"].clone()).collect();
    assert_eq!(ended, ["first", "third", "second"]);
    assert_eq!(carrier.wait_for(|progress| progress.ended == 2).await.unwrap().live, 0);
    carillon.check_no_panic().await;
}

#[tokio::test]
async fn a_call_that_waits_too_long_ends() {
    let (carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&format!("{trunk}[limits]\nmax_calls = 1\nqueue_timeout_s = 1\n")).await;
    carillon.post("/v1/calls", &call("first")).await.ok(202);
    carillon.until_call("first", "in-progress").await;
    carillon.post("/v1/calls", &call("second")).await.ok(202);
    let ended = carillon.until_call("second", "failed").await;
    assert_eq!((&ended["disposition"], &ended["ended_by"]), (&json!("limit-reached"), &json!("engine")));
    assert_eq!((&ended["sip_call_id"], &ended["sip_status"]), (&json!(null), &json!(null)));
    assert_eq!(carillon.get("/v1/calls/first").await.ok(200)["status"], "in-progress");
    assert_eq!(carillon.cdrs(1).await, [ended]);
    assert_eq!(carrier.totals().await.unwrap().live, 1, "the carrier never heard of it");
}

#[tokio::test]
async fn calls_are_paced() {
    let (_carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&format!("{trunk}[limits]\nmax_cps = 10\n")).await;
    let mut events = Stream::open(carillon.request(Method::GET, "/v1/events?types=call.initiated")).await;
    const CALLS: usize = 6;
    for n in 0..CALLS {
        carillon.post("/v1/calls", &call(&format!("c{n}"))).await.ok(202);
    }
    let (mut order, mut times) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let event = events.next().await.unwrap();
        order.push(event["call_id"].as_str().unwrap().to_owned());
        times.push(ms_of_the_hour(event["occurred_at"].as_str().unwrap()));
    }
    assert_eq!(order, ["c0", "c1", "c2", "c3", "c4", "c5"], "first come, first served");
    // A turn is 100 ms; a late one may be followed by an early one, 20 ms together.
    let hour = 3_600_000;
    let span = (times[CALLS - 1] + hour - times[0]) % hour;
    assert!(span >= 100 * (CALLS as u32 - 1) - 21, "{times:?}");
}

/// Of `2026-01-01T00:12:34.567Z`.
fn ms_of_the_hour(time: &str) -> u32 {
    let number = |from: usize, to: usize| time[from..to].parse::<u32>().unwrap();
    (number(14, 16) * 60 + number(17, 19)) * 1000 + number(20, 23)
}
