//! The whole shell on loopback: journal, sockets, threads and task.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use control_api_types::{CallId, CallStatus, CreateCall, EventData, HangupReason, Limits};
use tokio::sync::oneshot;

use crate::task::Task;
use crate::{CallQuery, Config, Delivery, Engine, Error, Subscription};

/// An engine in a folder of its own. No call begins: each waits in the queue for ever.
struct Bench {
    folder: PathBuf,
    engine: Engine,
}

impl Bench {
    async fn start(name: &str) -> Bench {
        let folder = std::env::temp_dir().join(format!("carillon-runtime-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = Config {
            node: "n1".into(),
            sip_listen: vec![sip_io::ListenAddr::udp("127.0.0.1:0".parse().unwrap())],
            sip_tls: sip_io::ClientTls::default(),
            user_agent: "test".into(),
            media: media_io::MediaConfig {
                ip: "127.0.0.1".parse().unwrap(),
                port_range: 20_000..=20_099,
                shards: 1,
                pin: false,
                realtime: false,
                max_legs: 1,
            },
            media_public_ip: None,
            rtp_timeout: Default::default(),
            inbound_max_duration: Duration::from_secs(60),
            limits: Limits {
                max_calls: 0,
                max_cps: 1,
                max_queued: 100,
                queue_timeout_s: 60,
                drain_timeout_s: 60,
            },
            trace: crate::TraceConfig::default(),
            name_servers: Vec::new(),
            guard: sip_core::guard::GuardConfig::default(),
            cdr_retention: Duration::from_secs(3600),
            trunks: Vec::new(),
            routes: Vec::new(),
            stir: Default::default(),
            http: Default::default(),
            webhooks: Default::default(),
            sounds: Default::default(),
            speech: Default::default(),
            registrar: Default::default(),
            database: folder.join("carillon.db"),
            media_dir: folder.clone(),
            recordings: Default::default(),
        };
        Bench { engine: Engine::start(config).await.unwrap(), folder }
    }

    /// Originates a call and hangs it up before the journal can have it.
    async fn originate_and_hang_up(&self, id: &str, body: u8) -> Result<CallStatus, Error> {
        let (tell, told) = oneshot::channel();
        let id = CallId::new(id).unwrap();
        let act = move |task: &mut Task, now: Instant| {
            let request = CreateCall { id: Some(id.clone()), ..CreateCall::to("sip:bob@127.0.0.1") };
            task.originate(now, request, [body; 32], tell);
            task.core.hangup(now, &id, HangupReason::Normal).unwrap();
        };
        self.engine.ask(act).await.unwrap();
        told.await.unwrap().map(|call| call.status)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// The ids of `call.ended` up to that of `last`.
async fn ends(events: &mut Subscription, last: &str) -> Vec<String> {
    let mut ended = Vec::new();
    while ended.last().is_none_or(|id| id != last) {
        if let Some(Delivery::Event(event)) = events.next().await
            && let EventData::CallEnded(call) = &event.data
        {
            ended.push(call.id.to_string());
        }
    }
    ended
}

#[tokio::test]
async fn an_id_used_before_ends_no_second_time() {
    let bench = Bench::start("ends").await;
    let mut events = bench.engine.subscribe(None).unwrap();
    assert_eq!(bench.originate_and_hang_up("a", 1).await.unwrap(), CallStatus::Queued);
    let again = bench.originate_and_hang_up("a", 2).await;
    assert!(matches!(again, Err(Error::IdTaken)), "{again:?}");
    assert_eq!(bench.originate_and_hang_up("b", 1).await.unwrap(), CallStatus::Queued);
    assert_eq!(ends(&mut events, "b").await, ["a", "b"]);
}

#[tokio::test]
async fn the_same_request_twice_at_once_is_one_call() {
    let bench = Bench::start("twice").await;
    for n in 0..20 {
        let request = |user: &str| CreateCall {
            id: Some(CallId::new(&format!("c{n}")).unwrap()),
            ..CreateCall::to(format!("sip:{user}@127.0.0.1"))
        };
        let (one, other) =
            tokio::join!(bench.engine.originate(request("bob")), bench.engine.originate(request("bob")));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.0.id, other.0.id);
        assert!(one.1 != other.1, "one of them has made it");
        let another = bench.engine.originate(request("eve")).await;
        assert!(matches!(another, Err(Error::IdTaken)), "{another:?}");
    }
}

#[tokio::test]
async fn live_calls_are_listed_by_the_status_they_have_now() {
    let bench = Bench::start("list").await;
    for id in ["a", "b", "c"] {
        let id = Some(CallId::new(id).unwrap());
        bench.engine.originate(CreateCall { id, ..CreateCall::to("sip:bob@127.0.0.1") }).await.unwrap();
    }
    bench.engine.hangup(&CallId::new("b").unwrap(), HangupReason::Normal).await.unwrap();
    let list = async |status, cursor, limit| {
        let query = CallQuery { status: Some(status), cursor, limit };
        let page = bench.engine.calls(query).await.unwrap();
        (page.items.iter().map(|call| call.id.to_string()).collect::<Vec<_>>(), page.next_cursor)
    };
    let (first, cursor) = list(CallStatus::Queued, None, 1).await;
    let (rest, end) = list(CallStatus::Queued, cursor, 2).await;
    assert_eq!((first, rest, end), (vec!["c".to_owned()], vec!["a".to_owned()], None));
    assert_eq!(list(CallStatus::InProgress, None, 9).await, (vec![], None));
}

#[tokio::test]
async fn a_call_that_has_ended_is_never_shown_as_it_was_accepted() {
    let bench = Bench::start("stale").await;
    for n in 0..50 {
        let id = CallId::new(&format!("c{n}")).unwrap();
        let request = CreateCall { id: Some(id.clone()), ..CreateCall::to("sip:bob@127.0.0.1") };
        bench.engine.originate(request).await.unwrap();
        assert!(bench.engine.hangup(&id, HangupReason::Normal).await.unwrap().status.is_final());
        let shown = bench.engine.call(&id).await.unwrap().unwrap();
        assert!(shown.status.is_final(), "{n}: {:?}", shown.status);
    }
}

#[tokio::test]
async fn nothing_is_lost_when_more_waits_than_one_batch_takes() {
    let bench = Bench::start("batch").await;
    // The task does not run while these are sent: they wait, several batches of them.
    let mut answers = Vec::new();
    for n in 0..1000 {
        let (tell, told) = oneshot::channel();
        bench.engine.send(Box::new(move |_, _| tell.send(n).unwrap())).await.unwrap();
        answers.push(told);
    }
    for (n, told) in answers.into_iter().enumerate() {
        assert_eq!(told.await, Ok(n));
    }
}
