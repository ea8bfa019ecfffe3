//! The end of the process, in order and not, and the next start.

use carrier::Outcome;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Carillon, Stream, carrier, tone};

fn call(id: &str, to: &str) -> Value {
    json!({"id": id, "to": to, "trunk": "t"})
}

async fn keyed(carillon: &Carillon, key: &str, body: &Value) -> Answer {
    carillon.send(carillon.request(Method::POST, "/v1/calls").header("idempotency-key", key).json(body)).await
}

#[tokio::test]
async fn sigterm_lets_live_calls_end_by_themselves() {
    let (carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&trunk).await;
    carillon.upload_tone("tone").await;
    carillon.post("/v1/calls", &call("live", "+62817")).await.ok(202);
    carillon.until_call("live", "in-progress").await;
    let mut events = Stream::open(carillon.request(Method::GET, "/v1/events")).await;
    carillon.terminate();
    events.until("engine.draining").await;
    let refused = carillon.post("/v1/calls", &call("new", "+62817")).await;
    assert!(!refused.problem(503, "draining").is_empty());
    assert!(refused.headers.contains_key("retry-after"));
    let ready = carillon.get("/readyz").await.ok(503);
    assert_eq!((&ready["ready"], ready["reasons"].as_array().unwrap().is_empty()), (&json!(false), false));
    carillon.get("/healthz").await.ok(200);
    assert_eq!(carillon.get("/v1/calls/live").await.ok(200)["status"], "in-progress");
    // The customer hangs up when he has heard something: the live call still takes commands.
    carillon.post("/v1/calls/live/play", &json!({"prompt": "tone"})).await.ok(202);
    let last = events.until("call.ended").await["data"].clone();
    assert_eq!((&last["disposition"], &last["ended_by"]), (&json!("answered"), &json!("remote")));
    let (status, folder, ports) = carillon.ended().await;
    assert_eq!(status.code(), Some(0));
    carrier.wait_for(|progress| progress.ended == 1).await.unwrap();
    assert_eq!(carrier.calls().await.unwrap()[0].outcome, Outcome::CustomerHungUp);

    let again = Carillon::open(folder, ports).await;
    assert_eq!(again.cdrs(0).await, [last], "one CDR, and nothing of the refused call");
    again.get("/v1/calls/new").await.problem(404, "not-found");
    again.check_no_panic().await;
}

#[tokio::test]
async fn at_the_drain_timeout_the_rest_is_hung_up() {
    let (carrier, trunk) = carrier().await;
    let limits = "[limits]\nmax_calls = 2\ndrain_timeout_s = 1\n";
    let carillon = Carillon::start(&format!("{trunk}{limits}")).await;
    carillon.post("/v1/calls", &call("talking", "+62811")).await.ok(202);
    carillon.post("/v1/calls", &call("ringing", "+62819")).await.ok(202);
    carillon.until_call("talking", "in-progress").await;
    carillon.until_call("ringing", "ringing").await;
    carillon.post("/v1/calls", &call("waiting", "+62811")).await.ok(202);
    carillon.terminate();
    let (status, folder, ports) = carillon.ended().await;
    assert_eq!(status.code(), Some(0));
    carrier.wait_for(|progress| progress.ended == 2).await.unwrap();
    let outcomes: Vec<_> =
        carrier.calls().await.unwrap().into_iter().map(|call| (call.called, call.outcome)).collect();
    for told in [("62811", Outcome::CallerHungUp), ("62819", Outcome::Cancelled)] {
        assert!(
            outcomes.iter().any(|(called, outcome)| (called.trim_start_matches('+'), *outcome) == told),
            "{outcomes:?}"
        );
    }

    let again = Carillon::open(folder, ports).await;
    let mut cdrs = again.cdrs(0).await;
    cdrs.sort_by_key(|cdr| cdr["id"].to_string());
    let ends: Vec<_> =
        cdrs.iter().map(|cdr| (cdr["id"].as_str().unwrap(), cdr["ended_by"].as_str().unwrap())).collect();
    assert_eq!(ends, [("ringing", "engine"), ("talking", "engine"), ("waiting", "engine")]);
    assert_eq!(cdrs[1]["disposition"], "answered");
    assert!(cdrs[1]["media"]["packets_sent"].as_u64().unwrap() > 0, "{}", cdrs[1]);
    again.check_no_panic().await;
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let (carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&trunk).await;
    carillon.post("/v1/calls", &call("live", "+62811")).await.ok(202);
    carillon.until_call("live", "in-progress").await;
    let mut events = Stream::open(carillon.request(Method::GET, "/v1/events")).await;
    carillon.terminate();
    events.until("engine.draining").await;
    carillon.terminate();
    let (status, folder, ports) = carillon.ended().await;
    assert_eq!(status.code(), Some(0));
    carrier.wait_for(|progress| progress.ended == 1).await.unwrap();
    assert_eq!(carrier.calls().await.unwrap()[0].outcome, Outcome::CallerHungUp, "not left to a timeout");
    let again = Carillon::open(folder, ports).await;
    assert_eq!(again.cdrs(0).await[0]["disposition"], "answered");
}

#[tokio::test]
async fn a_carrier_that_says_nothing_costs_no_cdr() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let trunk = format!("[[trunks]]\nname = \"t\"\nuri = \"sip:{}\"\n", silent.local_addr().unwrap());
    let carillon = Carillon::start(&trunk).await;
    carillon.post("/v1/calls", &call("lost", "+62811")).await.ok(202);
    carillon.until_call("lost", "initiated").await;
    let mut events = Stream::open(carillon.request(Method::GET, "/v1/events")).await;
    carillon.terminate();
    events.until("engine.draining").await;
    carillon.terminate();
    let ended = events.until("call.ended").await["data"].clone();
    assert_eq!((&ended["ended_by"], &ended["disposition"]), (&json!("engine"), &json!("limit-reached")));
    let (status, folder, ports) = carillon.ended().await;
    assert_eq!(status.code(), Some(0));
    let again = Carillon::open(folder, ports).await;
    assert_eq!(again.cdrs(0).await, [ended]);
}

#[tokio::test]
async fn after_sigkill_the_next_start_ends_every_open_call_once() {
    let (carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&format!("{trunk}[limits]\nmax_calls = 1\n")).await;
    let prompt = carillon.upload_tone("tone").await;
    let flow = json!({"start": "a", "steps": {"a": {"verb": "play", "prompt": "tone"}}});
    carillon.send(carillon.request(Method::PUT, "/v1/flows/greet").json(&flow)).await.ok(200);
    carillon.post("/v1/calls", &call("over", "+62811")).await.ok(202);
    carillon.until_call("over", "in-progress").await;
    carillon.delete("/v1/calls/over").await.ok(202);
    let over = carillon.until_call("over", "completed").await;
    let live = json!({"id": "live", "to": "+62811", "trunk": "t", "client_state": "row 7"});
    carillon.post("/v1/calls", &live).await.ok(202);
    carillon.until_call("live", "in-progress").await;
    carillon.post("/v1/calls", &call("waiting", "+62811")).await.ok(202);
    let keyed_body = json!({"to": "+62811", "trunk": "t"});
    let first = keyed(&carillon, "k1", &keyed_body).await.ok(202);
    let mut events =
        Stream::open(carillon.request(Method::GET, "/v1/events?types=engine.*,call.ended")).await;
    carillon.delete("/v1/calls/waiting").await.ok(200);
    let old_cursor = events.until("call.ended").await["cursor"].as_str().unwrap().to_owned();
    let (folder, ports) = carillon.kill().await;

    let again = Carillon::open(folder, ports).await;
    let cdrs = again.cdrs(0).await;
    let ended: Vec<_> =
        cdrs.iter().map(|cdr| (cdr["id"].as_str().unwrap(), cdr["disposition"].as_str().unwrap())).collect();
    let key_id = first["id"].as_str().unwrap();
    assert_eq!(
        ended,
        [
            ("over", "answered"),
            ("waiting", "canceled"),
            ("live", "internal-error"),
            (key_id, "internal-error")
        ]
    );
    assert_eq!(cdrs[0], over);
    assert_eq!((&cdrs[2]["status"], &cdrs[2]["ended_by"]), (&json!("failed"), &json!("engine")));
    assert_eq!(cdrs[2]["client_state"], "row 7");
    assert_eq!(again.get("/v1/calls/live").await.ok(200), cdrs[2]);

    // Cursors of the run before have expired, as the contract says; those of this run begin with the ends of the crash.
    let expired = again.get(&format!("/v1/events?cursor={old_cursor}")).await;
    assert!(expired.problem(410, "cursor-expired").contains("/v1/cdrs"), "{expired:?}");
    let floor = first_cursor(&again).await;
    let mut events =
        Stream::open(again.request(Method::GET, &format!("/v1/events?cursor={floor}&types=call.*"))).await;
    for cdr in &cdrs[2..] {
        let event = events.next().await.unwrap();
        assert_eq!((&event["type"], &event["data"]), (&json!("call.ended"), cdr));
    }

    // The same requests answer as before, and place nothing.
    assert_eq!(again.post("/v1/calls", &live).await.ok(202), cdrs[2]);
    let other = again.post("/v1/calls", &call("live", "+62819")).await;
    assert!(!other.problem(409, "in-use").is_empty());
    let replayed = keyed(&again, "k1", &keyed_body).await;
    assert_eq!(replayed.headers["idempotent-replayed"], "true");
    assert_eq!(replayed.ok(202), first);
    keyed(&again, "k1", &call("x", "+62811")).await.problem(422, "key-reused");
    assert_eq!(again.get("/v1/node").await.ok(200)["calls"], json!({"live": 0, "queued": 0}));

    // Prompts and flows are still there, and do their work.
    assert_eq!(again.get("/v1/prompts/tone").await.ok(200), prompt);
    assert_eq!(again.send(again.upload("tone", tone())).await.ok(201), prompt);
    let greeted = json!({"id": "greeted", "to": "+62817", "trunk": "t", "flow": "greet"});
    again.post("/v1/calls", &greeted).await.ok(202);
    assert_eq!(again.until_call("greeted", "completed").await["disposition"], "answered");
    again.check_no_panic().await;

    // A third start ends nothing twice.
    again.terminate();
    let (status, folder, ports) = again.ended().await;
    assert_eq!(status.code(), Some(0));
    let third = Carillon::open(folder, ports).await;
    let cdrs = third.cdrs(0).await;
    assert_eq!(
        cdrs.iter().map(|cdr| &cdr["id"]).collect::<Vec<_>>(),
        ["over", "waiting", "live", key_id, "greeted"]
    );
    drop(carrier);
}

/// The cursor before the first event of this run: cursors begin with the run's start in ms.
async fn first_cursor(carillon: &Carillon) -> u64 {
    let mut events = Stream::open(carillon.request(Method::GET, "/v1/events")).await;
    carillon.post("/v1/drain", &json!({})).await.ok(202);
    let cursor: u64 = events.until("engine.draining").await["cursor"].as_str().unwrap().parse().unwrap();
    carillon.delete("/v1/drain").await.ok(200);
    cursor / 1_000_000 * 1_000_000
}
