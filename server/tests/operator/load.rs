//! Very many at once: originates, requests beyond the rate, and events that nobody reads. Calls do not mind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use carrier::{Act, Answers, Behaviour, Carrier, CarrierConfig, Subscriber};
use futures_util::{StreamExt as _, stream};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Carillon, Folder, Ports, Stream, carrier, items, run};

/// Requests under way at a time: what a control plane's connections carry.
const AT_ONCE: usize = 100;
/// RTP ports of these engines: each call takes two, which rest for seconds when it has ended.
const RTP_PORTS: &str = "[30000, 32699]";

/// A configuration with these addresses and many RTP ports; `api` are further lines of `[api]`.
fn config(ports: &Ports, api: &str, rest: &str) -> String {
    let few = format!("[{}, {}]", ports.media, ports.media + 99);
    ports.config(rest).replace(&few, RTP_PORTS).replace("[sip]", &format!("{api}\n[sip]"))
}

/// Posts calls of these names, many at a time; those that were accepted, and those that found no place.
async fn originate(carillon: &Carillon, ids: &[String]) -> (BTreeSet<String>, BTreeSet<String>) {
    let post = |id: &String| {
        let id = id.clone();
        async move {
            let answer = carillon.post("/v1/calls", &json!({"id": id, "to": "+6281", "trunk": "t"})).await;
            (id, answer)
        }
    };
    let answers: Vec<_> = stream::iter(ids).map(post).buffer_unordered(AT_ONCE).collect().await;
    let (mut accepted, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for (id, answer) in answers {
        if answer.status == StatusCode::ACCEPTED {
            assert_eq!(answer.body["status"], "queued", "{answer:?}");
            accepted.insert(id);
        } else {
            answer.problem(503, "queue-full");
            assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1);
            refused.insert(id);
        }
    }
    (accepted, refused)
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

/// Reads on until each of these calls has ended: of each, the numbers of its events from 1 without a gap; and when each began, in
/// that order, in milliseconds of the hour.
async fn until_ended(events: &mut Stream, calls: &BTreeSet<String>) -> Vec<i64> {
    let mut numbers: BTreeMap<String, u64> = BTreeMap::new();
    let (mut ended, mut begun) = (BTreeSet::new(), Vec::new());
    while ended.len() < calls.len() {
        let event = events.next().await.unwrap();
        let call = event["call_id"].as_str().unwrap().to_owned();
        let last = numbers.entry(call.clone()).or_default();
        assert_eq!(event["seq"], *last + 1, "{call}: {event}");
        *last += 1;
        match event["type"].as_str().unwrap() {
            "call.initiated" => begun.push(ms_of_the_hour(event["occurred_at"].as_str().unwrap())),
            "call.ended" => assert!(ended.insert(call.clone()), "{call} ends once"),
            _ => {}
        }
        assert!(calls.contains(&call), "nobody else called: {call}");
    }
    begun
}

/// Of `2026-01-01T00:12:34.567Z`.
fn ms_of_the_hour(time: &str) -> i64 {
    let number = |from: usize, to: usize| time[from..to].parse::<i64>().unwrap();
    (number(14, 16) * 60 + number(17, 19)) * 1000 + number(20, 23)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_originates_at_once_are_paced_and_none_is_lost() {
    const CALLS: usize = 1_000;
    const MAX_CPS: usize = 100;
    let answers = Answers { ring_ms: 10, then: vec![Act::HangUp], ..Answers::default() };
    let customers = vec![Subscriber::new("*", Behaviour::Answers(answers))];
    let far = Carrier::start(CarrierConfig { customers, ..CarrierConfig::default() }).await.unwrap();
    let limits = format!("[limits]\nmax_calls = 200\nmax_cps = {MAX_CPS}\nmax_queued = {CALLS}\n");
    let trunk = format!("[[trunks]]\nname = \"t\"\nuri = \"sip:{}\"\n", far.addr());
    let (folder, ports) = (Folder::new(), Ports::free());
    folder.write("carillon.toml", &config(&ports, "", &format!("{limits}{trunk}")));
    let carillon = Carillon::open(folder, ports).await;
    let mut events = Stream::open(carillon.request(Method::GET, "/v1/events?types=call.*")).await;

    let (accepted, refused) = originate(&carillon, &names("c", CALLS)).await;
    assert_eq!((accepted.len(), refused.len()), (CALLS, 0), "there is room for all of them");
    let begun = until_ended(&mut events, &accepted).await;
    assert_eq!(begun.len(), CALLS);
    // However they came, no second has more than it may; a turn may be late and the next one early, 20 ms together.
    for (n, pair) in begun.iter().zip(&begun[MAX_CPS..]).enumerate() {
        let apart = (pair.1 - pair.0).rem_euclid(3_600_000);
        assert!(apart >= 1_000 - 25, "{MAX_CPS} calls from the {n}th began within {apart} ms");
    }
    let totals = far.wait_for(|progress| progress.ended == CALLS as u64).await.unwrap();
    assert_eq!(totals.live, 0);
    let cdrs = |count: usize| {
        carillon.until("/v1/cdrs?limit=1000", move |page| page["items"].as_array().unwrap().len() >= count)
    };
    let told: BTreeSet<String> =
        items(cdrs(CALLS).await).iter().map(|cdr| cdr["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, accepted, "each in one CDR");

    // One begins each second: the rest fills the queue.
    const QUEUE: usize = 100;
    let patch = json!({"max_cps": 1, "max_queued": QUEUE});
    carillon.send(carillon.request(Method::PATCH, "/v1/limits").json(&patch)).await.ok(200);
    let (accepted, refused) = originate(&carillon, &names("d", 3 * QUEUE)).await;
    assert!((QUEUE..2 * QUEUE).contains(&accepted.len()), "{} accepted", accepted.len());
    for id in refused.iter().take(10) {
        carillon.get(&format!("/v1/calls/{id}")).await.problem(404, "not-found");
    }
    let patch = json!({"max_cps": MAX_CPS});
    carillon.send(carillon.request(Method::PATCH, "/v1/limits").json(&patch)).await.ok(200);
    until_ended(&mut events, &accepted).await;
    let all = (CALLS + accepted.len()) as u64;
    far.wait_for(|progress| progress.ended == all).await.unwrap();
    assert_eq!(far.calls().await.unwrap().len() as u64, all, "what was refused never left");
    carillon.check_no_panic().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_and_a_client_that_floods_do_not_touch_calls() {
    const STEADY: usize = 20;
    const NOISY: usize = 80;
    const RATE: usize = 400;
    let (_far, trunk) = carrier().await;
    let (folder, ports) = (Folder::new(), Ports::free());
    folder.write("carillon.toml", &config(&ports, &format!("rate_limit = {RATE}"), &trunk));
    let new = ["token", "new", "--config", "carillon.toml", "--name", "flood", "--scopes", "read"];
    let token = run(&folder, &new, &[]).await;
    assert_eq!(token.code, Some(0), "{}", token.stderr);
    let token = token.stdout.trim().to_owned();
    let carillon = Arc::new(Carillon::open(folder, ports).await);
    carillon.upload_tone("music").await;
    let music =
        json!({"start": "a", "steps": {"a": {"verb": "park", "play": {"prompt": "music", "loop": 0}}}});
    let steady = names("steady", STEADY);
    for id in &steady {
        let body = json!({"id": id, "to": "+6281", "trunk": "t", "flow": music});
        carillon.post("/v1/calls", &body).await.ok(202);
    }
    for id in &steady {
        carillon.until_call(id, "in-progress").await;
    }

    // It takes none of what it asked for, until later.
    let mut stalled = Stream::open(carillon.request(Method::GET, "/v1/events")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let flood = |_| {
        let (carillon, token, stop) = (Arc::clone(&carillon), token.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut answered, mut refused) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let request = carillon.anonymous(Method::GET, "/v1/limits").bearer_auth(&token);
                let answer = carillon.send(request).await;
                if answer.status == StatusCode::OK {
                    answered += 1;
                } else {
                    answer.problem(429, "rate-limited");
                    assert!(answer.headers.contains_key("retry-after"));
                    refused += 1;
                }
            }
            (answered, refused)
        })
    };
    let floods: Vec<_> = (0..8).map(flood).collect();
    // Each tells two thousand events before it is cut off: more than are kept for anybody.
    let noise = json!({"start": "a", "steps": {"a": {"verb": "notify", "data": "x", "next": "a"}}});
    for id in names("noisy", NOISY) {
        let body = json!({"id": id, "to": "+6281", "trunk": "t", "flow": noise});
        carillon.post("/v1/calls", &body).await.ok(202);
    }
    let ended = carillon.cdrs(NOISY).await;
    assert!(ended.iter().all(|cdr| cdr["sip_reason"] == "flow-limit"), "the steady ones go on: {ended:?}");
    stop.store(true, Ordering::Relaxed);
    let (mut answered, mut refused) = (0, 0);
    for flood in floods {
        let (yes, no): (usize, usize) = flood.await.unwrap();
        (answered, refused) = (answered + yes, refused + no);
    }
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused");

    for id in &steady {
        carillon.delete(&format!("/v1/calls/{id}")).await.ok(202);
    }
    let cdrs = carillon.cdrs(NOISY + STEADY).await;
    for id in &steady {
        let cdr = cdrs.iter().find(|cdr| cdr["id"] == json!(id)).unwrap();
        assert_eq!((&cdr["status"], &cdr["ended_by"]), (&json!("completed"), &json!("api")));
        let at = |name: &str| ms_of_the_hour(cdr[name].as_str().unwrap());
        // A packet each 20 ms, whatever else went on.
        let due = (at("ended_at") - at("answered_at")).rem_euclid(3_600_000) / 20;
        let sent = cdr["media"]["packets_sent"].as_i64().unwrap();
        assert!((due - 5 - due / 50..=due + 5).contains(&sent), "{id}: {sent} of {due} packets");
    }

    // The reader goes on: it is told how many it has missed, and of everything else nothing is missing.
    let mut last: Option<u64> = None;
    let mut dropped = 0;
    let mut numbers: BTreeMap<String, u64> = BTreeMap::new();
    let mut left: BTreeSet<&str> = steady.iter().map(String::as_str).collect();
    while !left.is_empty() {
        let event = stalled.next().await.unwrap();
        let cursor: u64 = event["cursor"].as_str().unwrap().parse().unwrap();
        let lost = event["data"]["count"].as_u64().filter(|_| event["type"] == "events.dropped");
        if let Some(last) = last {
            assert_eq!(cursor - last, lost.unwrap_or(1), "{event}");
        }
        last = Some(cursor);
        if let Some(lost) = lost {
            dropped += lost;
            numbers.clear();
            continue;
        }
        let Some(call) = event["call_id"].as_str() else { continue };
        let seq = event["seq"].as_u64().unwrap();
        if let Some(before) = numbers.insert(call.to_owned(), seq) {
            assert_eq!(seq, before + 1, "{event}");
        }
        if event["type"] == "call.ended" {
            left.remove(call);
        }
    }
    assert!(dropped > 0, "more was told than is kept");
    carillon.check_no_panic().await;
}
