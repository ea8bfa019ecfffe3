//! Calls come and go for a long time, and the engine is the size it was.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use carrier::engine::Engine;
use carrier::{Carrier, CarrierConfig, Talk};
use control_api_client::{EventFilter, Events};
use control_api_types::flow::Flow;
use control_api_types::{CallId, CreateCall, EventData, HangupReason};
use serde_json::json;

use crate::pesq::SPEECH;

/// Calls begun in a second.
const RATE: u64 = 20;
/// Longer than any call of the test lasts.
const DEADLINE: Duration = Duration::from_secs(60);
/// What the events of the ring and the records of ended calls may still take, when the first half has filled them.
const GROWTH_KIB: u64 = 8 << 10;

/// How many calls fill every ring that keeps the recent past: traces and events.
const FILLING: u64 = 12_500;
/// What a call leaves in them: 6 KiB of SIP messages, and some eight events.
const LEFT_KIB: u64 = 11;

/// How long: in a long run until every ring that keeps the recent past is full, and as long again; or so many seconds as
/// `CARILLON_CHURN_S` says.
fn length() -> Duration {
    let seconds = std::env::var("CARILLON_CHURN_S").ok().map(|seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(if is_long() { 30 * 60 } else { 12 }))
}

/// Whether it is long enough to see what grows.
fn is_long() -> bool {
    std::env::var_os("CARILLON_LONG").is_some() || std::env::var_os("CARILLON_CHURN_S").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_come_and_go_and_leave_nothing_behind() {
    // Customers of every kind: who answer, press keys, hang up, are busy or never answer.
    let carrier =
        Carrier::start(CarrierConfig { talk: Talk::Tone, ..CarrierConfig::default() }).await.unwrap();
    let config = format!(
        "[[trunks]]\nname = \"t\"\nuri = \"sip:{}\"\nregister = false\nmax_cps = 1000\n",
        carrier.addr()
    );
    let engine = Engine::start(&config).await.unwrap_or_else(|error| panic!("{error}"));
    engine.client().upload_prompt("speech", std::fs::read(SPEECH).unwrap()).await.unwrap();
    let flow = json!({ "start": "ask", "steps": {
        "ask": { "verb": "gather", "play": { "prompt": "speech" }, "max": 1, "timeout_ms": 500, "on": { "1": "wait" } },
        "wait": { "verb": "pause", "ms": 300 },
    } });
    engine.client().put_flow("ivr", &Flow::from_json(&flow).unwrap()).await.unwrap();
    let events = engine.client().events(EventFilter::default()).await.unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let ends = tokio::spawn(until_drained(events, Arc::clone(&count)));

    let files_before = open_files(&engine);
    let mut begun = HashSet::new();
    let mut sizes = Vec::new();
    let mut clock = tokio::time::interval(Duration::from_secs(1) / RATE as u32);
    for n in 0..length().as_secs() * RATE {
        clock.tick().await;
        // Every last two digits of the town in turn, and every seventh call is hung up by the API soon.
        let create =
            json!({ "to": format!("+6287600{:02}", n % 23), "trunk": "t", "flow": "ivr", "timeout_s": 3 });
        let call = engine.client().originate(&CreateCall::from_json(&create).unwrap()).await.unwrap().id;
        if n % 7 == 0 {
            engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
        }
        begun.insert(call);
        if n % (RATE * 5) == 0 {
            sizes.push((resident_kib(&engine), open_files(&engine)));
        }
    }
    let all_ended = async {
        while count.load(Ordering::Relaxed) < begun.len() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, all_ended).await.expect("every call ends");
    // Were an end told twice, it would have been before the drain.
    engine.client().drain().await.unwrap();
    let ended = ends.await.unwrap();
    let distinct: HashSet<_> = ended.iter().cloned().collect();
    assert_eq!(distinct.len(), ended.len(), "a call ended twice");
    assert_eq!(distinct, begun, "every call ended, and nobody else's");
    eprintln!("{} calls; resident KiB and open files over the time: {sizes:?}", begun.len());

    // Ports rest for a while, but what is open is closed.
    let files_after = open_files(&engine);
    assert!(files_after <= files_before + 4, "{files_before} files were open before, {files_after} are now");
    let metrics = engine.client().metrics().await.unwrap();
    assert!(
        metrics.lines().any(|line| line.starts_with("carillon_media_legs") && line.ends_with(" 0")),
        "{metrics}"
    );
    if is_long() {
        let (first, second) = sizes.split_at(sizes.len() / 2);
        let peak = |sizes: &[(u64, usize)]| sizes.iter().map(|(kib, _)| *kib).max().unwrap();
        let files = |sizes: &[(u64, usize)]| sizes.iter().map(|(_, files)| *files).max().unwrap();
        let (before, after) = (peak(first), peak(second));
        let half = begun.len() as u64 / 2;
        let filled = half.min(FILLING.saturating_sub(half));
        assert!(
            after <= before + GROWTH_KIB + filled * LEFT_KIB,
            "{before} KiB at most in the first half, {after} KiB in the second"
        );
        assert!(files(second) <= files(first) + 50, "{sizes:?}");
    }
}

/// The calls that end until the engine drains, counted as they do.
async fn until_drained(mut events: Events, count: Arc<AtomicUsize>) -> Vec<CallId> {
    let mut ended = Vec::new();
    while let Some(event) = events.next().await {
        let event = event.unwrap();
        let kind = event.data.kind();
        if let EventData::CallEnded(call) = event.data {
            ended.push(call.id);
            count.fetch_add(1, Ordering::Relaxed);
        }
        assert_ne!(kind, "events.dropped");
        if kind == "engine.draining" {
            return ended;
        }
    }
    panic!("the events ended before the drain")
}

fn resident_kib(engine: &Engine) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", engine.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    resident.split_whitespace().next().unwrap().parse().unwrap()
}

fn open_files(engine: &Engine) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", engine.pid())).unwrap().count()
}
