//! The resolver's task over scripted name servers, on tokio's paused clock.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use sip_core::{Listener, Transport};

use super::records::{Kind, Record};
use super::*;
use crate::inbox::{self, Inbox};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// How the name servers behave; a test changes it as it goes.
#[derive(Debug, Default)]
struct Behaviour {
    /// They do not answer at all.
    down: bool,
    /// What was asked for.
    asked: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Script(Arc<Mutex<Behaviour>>);

impl Source for Script {
    fn ask_servers(&mut self, _servers: Vec<SocketAddr>) {}

    fn fixed(&mut self, host: &str) -> Option<Vec<IpAddr>> {
        (host == "fixed.example").then(|| vec!["192.0.2.50".parse().unwrap(), "::1".parse().unwrap()])
    }

    /// Names that begin with `hang` get no answer, `trunk` has addresses for a minute, everything else has none for half
    /// a minute; each answer takes 10 ms.
    fn look_up(&self, key: &Key) -> impl Future<Output = Told> + Send + 'static {
        let mut behaviour = self.0.lock().unwrap();
        behaviour.asked.push(format!("{:?} {}", key.kind, key.name));
        let hangs = behaviour.down || key.name.starts_with("hang");
        let is_trunk = key.name.starts_with("trunk") && key.kind == Kind::A;
        async move {
            if hangs {
                tokio::time::sleep(secs(3)).await;
                return Told::Failed;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            match is_trunk {
                true => Told::Records(vec![Record::Address("192.0.2.1".parse().unwrap())], secs(60)),
                false => Told::Nothing(secs(30)),
            }
        }
    }
}

struct Bench {
    script: Script,
    questions: mpsc::Sender<Asked>,
    inbox: Inbox,
    counters: Arc<Counters>,
    next: u64,
    _servers: watch::Sender<Vec<SocketAddr>>,
    _tasks: JoinSet<()>,
}

impl Bench {
    fn new() -> Bench {
        let limits = Limits::default();
        let counters = Arc::new(Counters::default());
        let (intake, inbox) = inbox::channel(&limits, counters.clone());
        let (servers, asked) = watch::channel(Vec::new());
        let (script, mut tasks) = (Script::default(), JoinSet::new());
        let at = "192.0.2.9:5060".parse().unwrap();
        let reach = Reach::of(&[Listener { transport: Transport::Udp, bound: at, advertised: at }]);
        let questions =
            start_with(script.clone(), reach, asked, &limits, intake, counters.clone(), &mut tasks);
        Bench { script, questions, inbox, counters, next: 0, _servers: servers, _tasks: tasks }
    }

    /// Asks where the host is, at port 5060: one record set.
    async fn ask(&mut self, host: &str) -> u64 {
        self.ask_for(host, Some(5060)).await
    }

    async fn ask_for(&mut self, host: &str, port: Option<u16>) -> u64 {
        self.next += 1;
        let question = Question { host: host.to_owned(), port, transport: None, secure: false };
        self.questions.send(Asked { query: QueryId(self.next), question }).await.unwrap();
        self.next
    }

    async fn answer(&mut self) -> (u64, Result<Destinations, ResolveError>) {
        match self.inbox.recv().await {
            Some(Input::Resolved { query, result }) => (query.0, result),
            other => panic!("an answer, not {other:?}"),
        }
    }

    /// Asks and waits for the answer.
    async fn find(&mut self, host: &str) -> Result<Destinations, ResolveError> {
        let query = self.ask(host).await;
        loop {
            let (of, result) = self.answer().await;
            if of == query {
                return result;
            }
        }
    }

    fn asked(&self) -> usize {
        self.script.0.lock().unwrap().asked.len()
    }

    fn set_down(&self, down: bool) {
        self.script.0.lock().unwrap().down = down;
    }
}

#[tokio::test(start_paused = true)]
async fn questions_for_records_under_way_share_the_look_up() {
    let mut bench = Bench::new();
    let queries = [bench.ask("trunk.example").await, bench.ask("Trunk.Example").await];
    for query in queries {
        let (of, result) = bench.answer().await;
        assert_eq!((of, result.unwrap().list.len()), (query, 1));
    }
    assert_eq!(bench.asked(), 1);
    bench.find("trunk.example").await.unwrap();
    assert_eq!(bench.asked(), 1, "the cache knows it");
}

#[tokio::test(start_paused = true)]
async fn the_hosts_file_answers_without_any_look_up() {
    let mut bench = Bench::new();
    bench.ask_for("fixed.example", None).await;
    let found = bench.answer().await.1.unwrap();
    let at = Destination { transport: Transport::Udp, address: "192.0.2.50:5060".parse().unwrap() };
    assert_eq!((found.list, bench.asked()), (vec![at], 0));
}

#[tokio::test(start_paused = true)]
async fn names_that_hang_keep_nobody_else_waiting() {
    let mut bench = Bench::new();
    bench.find("trunk.example").await.unwrap();
    let hanging: Vec<u64> = {
        let mut hanging = Vec::new();
        for n in 0..1_000 {
            hanging.push(bench.ask(&format!("hang{n}.example")).await);
        }
        hanging
    };
    // What is known is answered at once, and what was known is looked up again at once.
    let before = Instant::now();
    let known = bench.ask("trunk.example").await;
    assert_eq!(bench.answer().await.0, known);
    assert_eq!(Instant::now(), before);
    // All the others end, each at its own time and none later than the limit.
    for _ in &hanging {
        let (of, result) = bench.answer().await;
        assert!(hanging.contains(&of));
        assert_eq!(result, Err(ResolveError::Unavailable));
    }
    assert_eq!(Instant::now(), before + secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_trunk_whose_records_have_run_out_does_not_wait_behind_strangers() {
    let mut bench = Bench::new();
    bench.find("trunk.example").await.unwrap();
    tokio::time::advance(secs(60)).await;
    for n in 0..1_000 {
        bench.ask(&format!("hang{n}.example")).await;
    }
    let before = Instant::now();
    let trunk = bench.ask("trunk.example").await;
    assert_eq!(bench.answer().await.0, trunk, "the first of all");
    assert!(Instant::now() < before + Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn a_name_in_use_is_looked_up_again_before_its_time_and_nobody_waits() {
    let mut bench = Bench::new();
    bench.find("trunk.example").await.unwrap();
    for _ in 0..100 {
        tokio::time::advance(secs(10)).await;
        let before = Instant::now();
        bench.find("trunk.example").await.unwrap();
        assert_eq!(Instant::now(), before, "no call waits");
        // Until what was asked for by the way is there.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!((17..=21).contains(&bench.asked()), "every 50 to 60 seconds: {}", bench.asked());
}

#[tokio::test(start_paused = true)]
async fn while_the_servers_are_down_what_was_known_goes_on() {
    let mut bench = Bench::new();
    bench.find("trunk.example").await.unwrap();
    bench.set_down(true);
    tokio::time::advance(secs(3_600)).await;
    for _ in 0..10 {
        let found = bench.find("trunk.example").await.unwrap();
        assert_eq!(found.valid_for, secs(30), "to be asked again soon");
        tokio::time::advance(secs(30)).await;
    }
    assert_eq!(bench.find("other.example").await, Err(ResolveError::Unavailable));
    let counts = bench.counters.snapshot();
    assert!(counts.stale_answers >= 10 && counts.failed_lookups > counts.stale_answers, "{counts:?}");
    // A day later nothing is left of it.
    tokio::time::advance(secs(86_400)).await;
    assert_eq!(bench.find("trunk.example").await, Err(ResolveError::Unavailable));
    bench.set_down(false);
    tokio::time::advance(secs(5)).await;
    bench.find("trunk.example").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_question_that_takes_many_rounds_ends_in_time_with_what_there_is() {
    let mut bench = Bench::new();
    bench.set_down(true);
    let before = Instant::now();
    bench.ask_for("trunk.example", None).await;
    // NAPTR takes three seconds to fail, SRV would take three more.
    assert_eq!(bench.answer().await.1, Err(ResolveError::Unavailable));
    assert_eq!(Instant::now(), before + secs(5));
}

#[tokio::test(start_paused = true)]
async fn more_questions_than_can_wait_are_refused_at_once() {
    let mut bench = Bench::new();
    let (mut refused, before) = (0, Instant::now());
    for n in 0..2 * WAITING {
        bench.ask(&format!("hang{n}.example")).await;
        while let Some(input) = bench.inbox.try_recv() {
            assert!(matches!(input, Input::Resolved { result: Err(ResolveError::Unavailable), .. }));
            refused += usize::from(Instant::now() == before);
        }
    }
    while Instant::now() == before {
        bench.answer().await.1.unwrap_err();
        refused += usize::from(Instant::now() == before);
    }
    assert_eq!(refused, WAITING);
}
