//! Host names to addresses, by the system's resolver, without keeping anybody waiting.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sip_core::{Destination, Destinations, Input, QueryId, Question, ResolveError, Transport};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::counters::Counters;
use crate::inbox::{InboxGone, Intake};
use crate::limits::Limits;

/// Questions not yet looked at.
const QUEUE: usize = 1_024;

/// Names looked up at once. Each takes a thread of tokio's blocking pool, for longer than [`Limits::lookup`] if the
/// name servers are dead; 32 leave most of that pool's 512 threads to others even then.
const LOOKUPS: usize = 32;

/// Questions waiting for names under way, all names together.
const WAITING: usize = 65_536;

/// Names remembered. Trunks are few; names from peers' headers are not.
const CACHED: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) query: QueryId,
    pub(crate) question: Question,
}

/// The port of a target that names none (RFC 3263 section 4.2: the default for the transport; without one, UDP's).
fn port(port: Option<u16>, transport: Option<Transport>) -> u16 {
    port.unwrap_or_else(|| transport.unwrap_or(Transport::Udp).default_port())
}

/// Which addresses are of use to us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Families {
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

impl Families {
    fn contain(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

type Found = Result<Vec<IpAddr>, ResolveError>;

struct Resolver<L> {
    lookup: L,
    families: Families,
    lookup_limit: Duration,
    kept: Duration,
    failure_kept: Duration,
    intake: Intake,
    counters: Arc<Counters>,
    cache: BTreeMap<String, (Instant, Found)>,
    under_way: BTreeMap<String, Vec<(QueryId, Transport, u16)>>,
    waiting: usize,
}

/// Starts the resolver's task. It ends when the questions' sender is dropped or the inbox is.
pub(crate) fn start(
    families: Families,
    limits: &Limits,
    intake: Intake,
    counters: Arc<Counters>,
    tasks: &mut JoinSet<()>,
) -> mpsc::Sender<Asked> {
    start_with(system_lookup, families, limits, intake, counters, tasks)
}

async fn system_lookup(host: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
}

fn start_with<L, F>(
    lookup: L,
    families: Families,
    limits: &Limits,
    intake: Intake,
    counters: Arc<Counters>,
    tasks: &mut JoinSet<()>,
) -> mpsc::Sender<Asked>
where
    L: Fn(String) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
{
    let (questions, asked) = mpsc::channel(QUEUE);
    let resolver = Resolver {
        lookup,
        families,
        lookup_limit: limits.lookup,
        kept: limits.lookup_kept,
        failure_kept: limits.failure_kept,
        intake,
        counters,
        cache: BTreeMap::new(),
        under_way: BTreeMap::new(),
        waiting: 0,
    };
    tasks.spawn(async move {
        // The inbox is gone: there is nobody left to tell.
        let _ = resolver.run(asked).await;
    });
    questions
}

impl<L, F> Resolver<L>
where
    L: Fn(String) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
{
    async fn run(mut self, mut asked: mpsc::Receiver<Asked>) -> Result<(), InboxGone> {
        let mut lookups: JoinSet<(String, Found)> = JoinSet::new();
        loop {
            tokio::select! {
                question = asked.recv(), if lookups.len() < LOOKUPS => match question {
                    Some(question) => self.ask(question, &mut lookups).await?,
                    None => return Ok(()),
                },
                Some(done) = lookups.join_next() => {
                    // A lookup neither panics nor is aborted while the set lives.
                    if let Ok((host, found)) = done {
                        self.learn(host, found).await?;
                    }
                }
            }
        }
    }

    async fn ask(&mut self, asked: Asked, lookups: &mut JoinSet<(String, Found)>) -> Result<(), InboxGone> {
        let Asked { query, question } = asked;
        let transport = question.transport.unwrap_or(Transport::Udp);
        let port = port(question.port, question.transport);
        let host = question.host.to_ascii_lowercase();
        match self.cache.get(&host) {
            Some((until, found)) if Instant::now() < *until => {
                let found = found.clone();
                return self.answer(query, transport, port, found).await;
            }
            Some(_) | None => {}
        }
        if self.waiting >= WAITING {
            return self.answer(query, transport, port, Err(ResolveError::Unavailable)).await;
        }
        self.waiting += 1;
        let queries = self.under_way.entry(host.clone()).or_default();
        queries.push((query, transport, port));
        if queries.len() == 1 {
            self.counters.lookups.increment();
            let (lookup, limit, families) = ((self.lookup)(host.clone()), self.lookup_limit, self.families);
            lookups.spawn(async move { (host, find(lookup, limit, families).await) });
        }
        Ok(())
    }

    async fn learn(&mut self, host: String, found: Found) -> Result<(), InboxGone> {
        let queries = self.under_way.remove(&host).unwrap_or_default();
        self.waiting -= queries.len();
        let now = Instant::now();
        if self.cache.len() >= CACHED {
            self.cache.retain(|_, (until, _)| now < *until);
        }
        if self.cache.len() < CACHED {
            let kept = if found.is_ok() { self.kept } else { self.failure_kept };
            self.cache.insert(host, (now + kept, found.clone()));
        }
        for (query, transport, port) in queries {
            self.answer(query, transport, port, found.clone()).await?;
        }
        Ok(())
    }

    async fn answer(
        &self,
        query: QueryId,
        transport: Transport,
        port: u16,
        found: Found,
    ) -> Result<(), InboxGone> {
        let destination = |ip| Destination { transport, address: SocketAddr::new(ip, port) };
        let result = found.map(|addresses| Destinations {
            list: addresses.into_iter().map(destination).collect(),
            valid_for: self.kept,
        });
        self.intake.deliver(Input::Resolved { query, result }).await
    }
}

async fn find(
    lookup: impl Future<Output = io::Result<Vec<IpAddr>>>,
    limit: Duration,
    families: Families,
) -> Found {
    match timeout(limit, lookup).await {
        Ok(Ok(mut addresses)) => {
            addresses.retain(|address| families.contain(*address));
            if addresses.is_empty() { Err(ResolveError::NotFound) } else { Ok(addresses) }
        }
        // The standard library gives getaddrinfo's EAI_AGAIN as nothing but its text.
        Ok(Err(error)) if error.to_string().contains("Temporary failure") => Err(ResolveError::Unavailable),
        Ok(Err(_)) => Err(ResolveError::NotFound),
        Err(_) => Err(ResolveError::Unavailable),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use super::*;
    use crate::inbox::{self, Inbox};

    const BOTH: Families = Families { v4: true, v6: true };

    /// A resolver over a table of names, on tokio's paused clock: `slow.example` takes a minute.
    struct Bench {
        questions: mpsc::Sender<Asked>,
        inbox: Inbox,
        asked: Arc<AtomicUsize>,
        next: u64,
        _tasks: JoinSet<()>,
    }

    impl Bench {
        fn new(families: Families) -> Bench {
            let limits = Limits::default();
            let counters = Arc::new(Counters::default());
            let (intake, inbox) = inbox::channel(&limits, counters.clone());
            let mut tasks = JoinSet::new();
            let asked = Arc::new(AtomicUsize::new(0));
            let lookup = {
                let asked = asked.clone();
                move |host: String| {
                    asked.fetch_add(1, SeqCst);
                    async move {
                        match host.as_str() {
                            "both.example" => {
                                Ok(vec!["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()])
                            }
                            "slow.example" => {
                                tokio::time::sleep(Duration::from_secs(60)).await;
                                Ok(vec!["192.0.2.2".parse().unwrap()])
                            }
                            "busy.example" => Err(io::Error::other("Temporary failure in name resolution")),
                            _ => Err(io::Error::other("Name or service not known")),
                        }
                    }
                }
            };
            let questions = start_with(lookup, families, &limits, intake, counters, &mut tasks);
            Bench { questions, inbox, asked, next: 0, _tasks: tasks }
        }

        async fn ask(&mut self, host: &str, port: u16) -> u64 {
            self.next += 1;
            let question =
                Question { host: host.to_owned(), port: Some(port), transport: None, secure: false };
            self.questions.send(Asked { query: QueryId(self.next), question }).await.unwrap();
            self.next
        }

        async fn answer(&mut self) -> (u64, Result<Vec<SocketAddr>, ResolveError>) {
            match self.inbox.recv().await {
                Some(Input::Resolved { query, result }) => {
                    (query.0, result.map(|found| found.list.iter().map(|at| at.address).collect()))
                }
                other => panic!("an answer, not {other:?}"),
            }
        }

        #[track_caller]
        fn was_asked(&self, times: usize) {
            assert_eq!(self.asked.load(SeqCst), times, "look-ups");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_keep_their_order_and_get_the_port() {
        let mut bench = Bench::new(BOTH);
        let query = bench.ask("Both.Example", 5070).await;
        let expected = vec!["[2001:db8::1]:5070".parse().unwrap(), "192.0.2.1:5070".parse().unwrap()];
        assert_eq!(bench.answer().await, (query, Ok(expected)));
    }

    #[tokio::test(start_paused = true)]
    async fn only_families_that_we_listen_on_are_given() {
        let mut bench = Bench::new(Families { v4: true, v6: false });
        bench.ask("both.example", 5060).await;
        assert_eq!(bench.answer().await.1, Ok(vec!["192.0.2.1:5060".parse().unwrap()]));
        let mut none = Bench::new(Families { v4: false, v6: false });
        none.ask("both.example", 5060).await;
        assert_eq!(none.answer().await.1, Err(ResolveError::NotFound));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_half_a_minute_and_a_failure_for_five_seconds() {
        let mut bench = Bench::new(BOTH);
        for (host, kept) in [("both.example", 30), ("nowhere.example", 5)] {
            let before = bench.asked.load(SeqCst);
            for _ in 0..3 {
                bench.ask(host, 5060).await;
                bench.answer().await.1.err();
            }
            bench.was_asked(before + 1);
            tokio::time::advance(Duration::from_secs(kept)).await;
            bench.ask(host, 5060).await;
            bench.answer().await.1.err();
            bench.was_asked(before + 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn questions_for_a_name_under_way_share_its_look_up() {
        let mut bench = Bench::new(BOTH);
        let queries = [bench.ask("slow.example", 1).await, bench.ask("slow.example", 2).await];
        let fast = bench.ask("both.example", 3).await;
        assert_eq!(bench.answer().await.0, fast, "nobody waits for another's name");
        // The limit of five seconds comes before the minute that this name takes.
        assert_eq!(bench.answer().await, (queries[0], Err(ResolveError::Unavailable)));
        assert_eq!(bench.answer().await, (queries[1], Err(ResolveError::Unavailable)));
        bench.was_asked(2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_not_is_told_from_servers_that_do_not_answer() {
        let mut bench = Bench::new(BOTH);
        bench.ask("nowhere.example", 5060).await;
        assert_eq!(bench.answer().await.1, Err(ResolveError::NotFound));
        bench.ask("busy.example", 5060).await;
        assert_eq!(bench.answer().await.1, Err(ResolveError::Unavailable));
    }

    #[test]
    fn a_target_without_port_means_the_transports_default() {
        assert_eq!(port(None, None), 5060);
        assert_eq!(port(None, Some(Transport::Tcp)), 5060);
        assert_eq!(port(Some(5080), Some(Transport::Udp)), 5080);
    }
}
