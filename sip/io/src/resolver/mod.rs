//! Where targets are (RFC 3263), without keeping anybody waiting.
//!
//! [`locate`] knows the way from a question through NAPTR, SRV and address records; [`cache`] keeps records, [`dns`]
//! asks for those that are missing. One task brings them together: a question whose records are known is answered at
//! once, whatever else is waited for; others wait for their own records only, and for no longer than
//! [`Limits::lookup`](crate::Limits).

mod cache;
mod dns;
mod locate;
mod records;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_core::{Destination, Destinations, Input, QueryId, Question, ResolveError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::counters::Counters;
use crate::inbox::{InboxGone, Intake};
use crate::limits::Limits;
use cache::Cache;
use dns::{Dns, Source, Told};
pub(crate) use locate::Reach;
use locate::{Step, fixed, locate};
use records::{Found, Key};

/// Questions not yet looked at.
const QUEUE: usize = 1_024;

/// Questions waiting for records: five seconds of calls at 1,500 a second to names that nobody has asked for before.
const WAITING: usize = 8_192;

/// Records looked up at once, each with a socket of its own. A quarter is kept for names that have been found before:
/// trunks have, and must not wait behind whatever names strangers write into their headers.
const LOOKUPS: usize = 128;
const LOOKUPS_OF_STRANGERS: usize = LOOKUPS * 3 / 4;

/// How long the answer of the hosts file holds: its changes are seen as soon.
const FIXED: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) query: QueryId,
    pub(crate) question: Question,
}

/// A question that waits for records.
#[derive(Debug)]
struct Waiting {
    question: Question,
    until: Instant,
    /// How many of its records are missing.
    missing: usize,
}

/// A record set that is looked up, or waits for its turn, and who wants it.
type UnderWay = BTreeMap<Key, Vec<QueryId>>;

type Lookups = JoinSet<(Key, Told)>;

struct Resolver<S> {
    source: S,
    servers: watch::Receiver<Vec<SocketAddr>>,
    reach: Reach,
    limit: Duration,
    intake: Intake,
    counters: Arc<Counters>,
    draw: Draw,
    cache: Cache,
    waiting: BTreeMap<QueryId, Waiting>,
    deadlines: BTreeSet<(Instant, QueryId)>,
    under_way: UnderWay,
    /// Those of them whose turn has not come, names that have been found before apart.
    known: VecDeque<Key>,
    strangers: VecDeque<Key>,
}

/// Starts the resolver's task, which asks these name servers, or those of the system while there are none. It ends when
/// the questions' sender is dropped or the inbox is.
pub(crate) fn start(
    reach: Reach,
    servers: watch::Receiver<Vec<SocketAddr>>,
    limits: &Limits,
    intake: Intake,
    counters: Arc<Counters>,
    tasks: &mut JoinSet<()>,
) -> mpsc::Sender<Asked> {
    let source = Dns::new(servers.borrow().clone());
    start_with(source, reach, servers, limits, intake, counters, tasks)
}

fn start_with(
    source: impl Source + Send + Sync + 'static,
    reach: Reach,
    servers: watch::Receiver<Vec<SocketAddr>>,
    limits: &Limits,
    intake: Intake,
    counters: Arc<Counters>,
    tasks: &mut JoinSet<()>,
) -> mpsc::Sender<Asked> {
    let (questions, asked) = mpsc::channel(QUEUE);
    let resolver = Resolver {
        source,
        servers,
        reach,
        limit: limits.lookup,
        intake,
        counters,
        draw: Draw::default(),
        cache: Cache::default(),
        waiting: BTreeMap::new(),
        deadlines: BTreeSet::new(),
        under_way: BTreeMap::new(),
        known: VecDeque::new(),
        strangers: VecDeque::new(),
    };
    tasks.spawn(async move {
        // The inbox is gone: there is nobody left to tell.
        let _ = resolver.run(asked).await;
    });
    questions
}

impl<S: Source> Resolver<S> {
    async fn run(mut self, mut asked: mpsc::Receiver<Asked>) -> Result<(), InboxGone> {
        let mut lookups = Lookups::new();
        loop {
            self.start_lookups(&mut lookups);
            let deadline = self.deadlines.first().copied();
            let late = async {
                match deadline {
                    Some((at, _)) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                asked = asked.recv() => match asked {
                    Some(asked) => self.ask(asked).await?,
                    None => return Ok(()),
                },
                Some(done) = lookups.join_next() => {
                    // A lookup neither panics nor is aborted while the set lives.
                    if let Ok((key, told)) = done {
                        self.learn(key, told).await?;
                    }
                }
                () = late => if let Some((_, query)) = deadline {
                    self.give_up(query).await?;
                }
            }
        }
    }

    async fn ask(&mut self, asked: Asked) -> Result<(), InboxGone> {
        let Asked { query, question } = asked;
        // Without a sender the transports are gone.
        if self.servers.has_changed().unwrap_or(false) {
            let servers = self.servers.borrow_and_update().clone();
            self.source.ask_servers(servers);
        }
        if let Some(addresses) = self.source.fixed(&question.host) {
            let found = fixed(&question, &self.reach, &addresses);
            return self.tell(query, found, FIXED).await;
        }
        if self.waiting.len() >= WAITING {
            return self.tell(query, Err(ResolveError::Unavailable), Duration::ZERO).await;
        }
        let until = Instant::now() + self.limit;
        self.advance(query, Waiting { question, until, missing: 0 }).await
    }

    /// Answers a question, or has it wait for the records that are missing.
    async fn advance(&mut self, query: QueryId, mut waiting: Waiting) -> Result<(), InboxGone> {
        let now = Instant::now();
        let (cache, draw) = (&self.cache, &mut self.draw);
        match locate(&waiting.question, &self.reach, |key| cache.get(key, now), |most| draw.draw(most)) {
            Step::Done { result, used } => self.answer(query, result, used).await,
            Step::Ask(keys) => {
                waiting.missing = keys.len();
                self.deadlines.insert((waiting.until, query));
                self.waiting.insert(query, waiting);
                for key in keys {
                    self.want(key, Some(query));
                }
                Ok(())
            }
        }
    }

    /// Has a key looked up, unless it is already.
    fn want(&mut self, key: Key, query: Option<QueryId>) {
        if let Some(wanted) = self.under_way.get_mut(&key) {
            return wanted.extend(query);
        }
        self.under_way.insert(key.clone(), query.into_iter().collect());
        match self.cache.last(&key) {
            Some(Found::Records(_)) => self.known.push_back(key),
            Some(Found::Nothing | Found::Failed) | None => self.strangers.push_back(key),
        }
    }

    fn start_lookups(&mut self, lookups: &mut Lookups) {
        while lookups.len() < LOOKUPS {
            let key = match self.known.pop_front() {
                Some(key) => key,
                None if lookups.len() >= LOOKUPS_OF_STRANGERS => return,
                None => match self.strangers.pop_front() {
                    Some(key) => key,
                    None => return,
                },
            };
            let wanted = self.under_way.get(&key).map(Vec::as_slice).unwrap_or_default();
            // Those who wanted it have given up meanwhile. (Nobody wants what is looked up again before its time.)
            if !wanted.is_empty() && !wanted.iter().any(|query| self.waiting.contains_key(query)) {
                self.under_way.remove(&key);
                continue;
            }
            self.counters.lookups.increment();
            let lookup = self.source.look_up(&key);
            lookups.spawn(async move { (key, lookup.await) });
        }
    }

    async fn learn(&mut self, key: Key, told: Told) -> Result<(), InboxGone> {
        if told == Told::Failed {
            self.counters.failed_lookups.increment();
        }
        let wanted = self.under_way.remove(&key).unwrap_or_default();
        if self.cache.learn(key, Instant::now(), told) {
            self.counters.stale_answers.increment();
        }
        for query in wanted {
            let Some(waiting) = self.waiting.get_mut(&query) else { continue };
            waiting.missing = waiting.missing.saturating_sub(1);
            if waiting.missing == 0
                && let Some(waiting) = self.stop_waiting(query)
            {
                self.advance(query, waiting).await?;
            }
        }
        Ok(())
    }

    /// The time of a question is over: it is answered from what is there, old or not.
    async fn give_up(&mut self, query: QueryId) -> Result<(), InboxGone> {
        let Some(Waiting { question, .. }) = self.stop_waiting(query) else { return Ok(()) };
        let (cache, draw) = (&self.cache, &mut self.draw);
        let known = |key: &Key| Some(cache.last(key).unwrap_or(&Found::Failed));
        match locate(&question, &self.reach, known, |most| draw.draw(most)) {
            Step::Done { result, used } => self.answer(query, result, used).await,
            // Nothing is missing where everything counts as known.
            Step::Ask(_) => self.tell(query, Err(ResolveError::Unavailable), Duration::ZERO).await,
        }
    }

    fn stop_waiting(&mut self, query: QueryId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&query)?;
        self.deadlines.remove(&(waiting.until, query));
        Some(waiting)
    }

    async fn answer(
        &mut self,
        query: QueryId,
        result: Result<Vec<Destination>, ResolveError>,
        used: Vec<Key>,
    ) -> Result<(), InboxGone> {
        let (holds, aging) = self.cache.touch(used, Instant::now());
        for key in aging {
            self.want(key, None);
        }
        self.tell(query, result, holds).await
    }

    async fn tell(
        &self,
        query: QueryId,
        result: Result<Vec<Destination>, ResolveError>,
        valid_for: Duration,
    ) -> Result<(), InboxGone> {
        let result = result.map(|list| Destinations { list, valid_for });
        self.intake.deliver(Input::Resolved { query, result }).await
    }
}

/// Chance, for shares of load: a keyed hash over a counter, with the key from the operating system.
#[derive(Default)]
struct Draw {
    key: RandomState,
    drawn: u64,
}

impl Draw {
    /// A number from 0 to `most`, which counts.
    fn draw(&mut self, most: u32) -> u32 {
        self.drawn += 1;
        // The remainder is at most `most`.
        (self.key.hash_one(self.drawn) % (u64::from(most) + 1)) as u32
    }
}
