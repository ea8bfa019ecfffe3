//! Certificates of callers' networks: fetched once, kept as long as their server says, within bounds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media_core::LegId;
use reqwest::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderMap};
use sip_stir::{Chain, NoChain};
use tokio::sync::{Semaphore, mpsc};

use super::{Client, Failure};
use crate::task::Answer;

/// Largest chain, in bytes: three certificates in PEM take 4 KiB.
const MAX_CHAIN: usize = 64 * 1024;
/// Longest fetch, its wait for a turn included. The caller hears nothing meanwhile.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Most fetches under way.
const FETCHES: usize = 16;
/// Most URLs that are fetched or wait for it. Callers name them, so one more is as good as one that cannot be had.
const WAITING: usize = 128;
/// Most URLs whose outcome is kept. A national market has some thousand signers, a trunk brings calls of a few hundred.
const KEPT: usize = 2_048;
/// How long a chain is kept whose server says nothing (RFC 9111 section 4.2.2 leaves it to the cache), and at most.
const LIFETIME: Duration = Duration::from_secs(3_600);
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// How long a URL without a usable chain is not asked again.
const NEGATIVE: Duration = Duration::from_secs(30);

type Outcome = Result<Arc<Chain>, NoChain>;

/// What came of a fetch.
#[derive(Debug)]
pub(crate) struct Fetched {
    url: String,
    outcome: Outcome,
    lifetime: Duration,
}

/// The cache, and the fetches that fill it.
#[derive(Debug)]
pub(crate) struct Certificates {
    client: Client,
    turns: Arc<Semaphore>,
    tell: mpsc::Sender<Answer>,
    cache: Cache,
}

impl Certificates {
    pub(crate) fn new(client: Client, tell: mpsc::Sender<Answer>) -> Self {
        Self { client, turns: Arc::new(Semaphore::new(FETCHES)), tell, cache: Cache::default() }
    }

    /// What lies at `url`, if that is known; otherwise [`Self::fetched`] tells for whom the answer is.
    pub(crate) fn ask(&mut self, now: Instant, leg: LegId, url: String) -> Option<Outcome> {
        match self.cache.ask(now, leg, &url) {
            Asked::Known(outcome) => Some(outcome),
            Asked::Wait => None,
            Asked::Fetch => {
                let (client, turns, tell) = (self.client.clone(), Arc::clone(&self.turns), self.tell.clone());
                tokio::spawn(async move {
                    let fetching = tokio::spawn(fetch(client, turns, url.clone()));
                    let (outcome, lifetime) =
                        fetching.await.unwrap_or((Err(NoChain::Unavailable), Duration::ZERO));
                    // Only a stopped engine does not listen.
                    let _ = tell.send(Answer::Certificate(Fetched { url, outcome, lifetime })).await;
                });
                None
            }
        }
    }

    /// Keeps what came, and tells who waits for it.
    pub(crate) fn fetched(&mut self, now: Instant, fetched: Fetched) -> (Vec<LegId>, Outcome) {
        let Fetched { url, outcome, lifetime } = fetched;
        (self.cache.keep(now, &url, outcome.clone(), lifetime), outcome)
    }
}

async fn fetch(client: Client, turns: Arc<Semaphore>, url: String) -> (Outcome, Duration) {
    let mut has_turn = false;
    let fetching = async {
        // The semaphore is never closed.
        let _turn = turns.acquire().await;
        has_turn = true;
        client.send(&url, None, MAX_CHAIN).await
    };
    let fetched = tokio::time::timeout(TIMEOUT, fetching).await.unwrap_or(Err(Failure::Timeout));
    if !has_turn {
        // Nobody asked its server: the next call may.
        return (Err(NoChain::Unavailable), Duration::ZERO);
    }
    match fetched {
        Ok((headers, body)) => match Chain::read(&body) {
            Ok(chain) => (Ok(Arc::new(chain)), lifetime(&headers, LIFETIME)),
            Err(error) => {
                tracing::debug!(url, %error, "no certificate of a caller's network");
                (Err(NoChain::Unusable(error)), NEGATIVE)
            }
        },
        Err(error) => {
            tracing::debug!(url, %error, "no certificate of a caller's network");
            (Err(NoChain::Unavailable), NEGATIVE)
        }
    }
}

/// How long a response may be used (RFC 9111 section 4.2.1); `unsaid` where its server says nothing. A chain is verified
/// for each call all the same, so that none outlives its validity.
pub(crate) fn lifetime(headers: &HeaderMap, unsaid: Duration) -> Duration {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let date = |name| {
        jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text(name)?).ok().map(|at| at.as_second())
    };
    let mut control = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<_> = control.by_ref().flat_map(|value| value.split(',')).map(str::trim).collect();
    let is = |directive: &&str, name: &str| {
        directive.split('=').next().is_some_and(|part| part.eq_ignore_ascii_case(name))
    };
    if directives.iter().any(|directive| is(directive, "no-store") || is(directive, "no-cache")) {
        return Duration::ZERO;
    }
    let seconds = |text: &str| text.trim().trim_matches('"').parse::<u64>().ok();
    let max_age = directives
        .iter()
        .find(|directive| is(directive, "max-age"))
        .and_then(|directive| seconds(directive.split_once('=')?.1));
    let age = text(AGE).and_then(seconds).unwrap_or(0);
    let fresh = match max_age {
        Some(max_age) => Duration::from_secs(max_age.saturating_sub(age)),
        None if headers.contains_key(EXPIRES) => match (date(EXPIRES), date(DATE)) {
            (Some(expires), Some(date)) => {
                Duration::from_secs(u64::try_from(expires.saturating_sub(date)).unwrap_or(0))
            }
            // RFC 9111 section 5.3: what is no date, "0" above all, is in the past.
            (None, _) | (_, None) => Duration::ZERO,
        },
        None => unsaid,
    };
    fresh.min(LONGEST)
}

/// What is known of URLs.
#[derive(Debug, Default)]
struct Cache {
    entries: BTreeMap<String, Entry>,
    /// Entries that wait for a fetch.
    waiting: usize,
}

#[derive(Debug)]
enum Entry {
    Waiting(Vec<LegId>),
    Known { outcome: Outcome, until: Instant },
}

#[derive(Debug)]
enum Asked {
    Known(Outcome),
    /// Somebody else has asked for it.
    Wait,
    Fetch,
}

impl Cache {
    fn ask(&mut self, now: Instant, leg: LegId, url: &str) -> Asked {
        match self.entries.get_mut(url) {
            Some(Entry::Waiting(legs)) => {
                legs.push(leg);
                return Asked::Wait;
            }
            Some(Entry::Known { outcome, until }) if now < *until => return Asked::Known(outcome.clone()),
            Some(Entry::Known { .. }) | None => {}
        }
        if self.waiting >= WAITING {
            return Asked::Known(Err(NoChain::Unavailable));
        }
        self.entries.insert(url.to_owned(), Entry::Waiting(vec![leg]));
        self.waiting += 1;
        Asked::Fetch
    }

    fn keep(&mut self, now: Instant, url: &str, outcome: Outcome, lifetime: Duration) -> Vec<LegId> {
        let Some(Entry::Waiting(legs)) = self.entries.remove(url) else { return Vec::new() };
        self.waiting -= 1;
        if !lifetime.is_zero() {
            self.make_room(now);
            self.entries.insert(url.to_owned(), Entry::Known { outcome, until: now + lifetime });
        }
        legs
    }

    /// Forgets what is over, and if that is nothing, failures before chains and then what would be over first.
    fn make_room(&mut self, now: Instant) {
        if self.entries.len() - self.waiting < KEPT {
            return;
        }
        self.entries.retain(|_, entry| match entry {
            Entry::Waiting(_) => true,
            Entry::Known { until, .. } => now < *until,
        });
        if self.entries.len() - self.waiting < KEPT {
            return;
        }
        let known = self.entries.iter().filter_map(|(url, entry)| match entry {
            Entry::Waiting(_) => None,
            Entry::Known { outcome, until } => Some((outcome.is_ok(), *until, url)),
        });
        if let Some(url) = known.min().map(|(.., url)| url.clone()) {
            self.entries.remove(&url);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn servers_say_how_long() {
        const DAY: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
        for (pairs, seconds) in [
            (&[][..], 3_600),
            (&[("cache-control", "public, max-age=60")], 60),
            (&[("cache-control", "max-age=60"), ("age", "50")], 10),
            (&[("cache-control", "max-age=60"), ("age", "70")], 0),
            (&[("cache-control", "max-age=99999999999")], 24 * 3_600),
            (&[("cache-control", "max-age=x")], 3_600),
            (&[("cache-control", "No-Store")], 0),
            (&[("cache-control", "max-age=60, no-cache")], 0),
            (&[("date", DAY), ("expires", "Thu, 01 Jan 2026 00:01:00 GMT")], 60),
            (&[("date", DAY), ("expires", "Wed, 31 Dec 2025 00:01:00 GMT")], 0),
            (&[("date", DAY), ("expires", "0")], 0),
            (&[("date", DAY), ("expires", "0"), ("cache-control", "max-age=5")], 5),
        ] {
            assert_eq!(lifetime(&headers(pairs), LIFETIME).as_secs(), seconds, "{pairs:?}");
        }
    }

    #[test]
    fn one_fetch_serves_all_and_outcomes_are_kept() {
        let now = Instant::now();
        let mut cache = Cache::default();
        assert!(matches!(cache.ask(now, LegId(1), "a"), Asked::Fetch));
        assert!(matches!(cache.ask(now, LegId(2), "a"), Asked::Wait));
        let outcome = Err(NoChain::Unavailable);
        assert_eq!(cache.keep(now, "a", outcome, NEGATIVE), [LegId(1), LegId(2)]);
        let later = now + NEGATIVE - Duration::from_millis(1);
        assert!(matches!(cache.ask(later, LegId(3), "a"), Asked::Known(Err(NoChain::Unavailable))));
        assert!(matches!(cache.ask(now + NEGATIVE, LegId(3), "a"), Asked::Fetch));
        assert_eq!(cache.keep(now, "a", Err(NoChain::Unavailable), Duration::ZERO), [LegId(3)]);
        assert!(cache.entries.is_empty() && cache.waiting == 0);
    }

    #[test]
    fn callers_cannot_fill_it() {
        let now = Instant::now();
        let mut cache = Cache::default();
        for n in 0..WAITING {
            assert!(matches!(cache.ask(now, LegId(1), &n.to_string()), Asked::Fetch));
        }
        assert!(matches!(cache.ask(now, LegId(1), "more"), Asked::Known(Err(NoChain::Unavailable))));
        assert!(matches!(cache.ask(now, LegId(1), "0"), Asked::Wait), "those under way are shared");
        for n in 0..WAITING {
            cache.keep(now, &n.to_string(), Err(NoChain::Unavailable), NEGATIVE);
        }
        for n in 0..2 * KEPT {
            let url = format!("u{n}");
            assert!(matches!(cache.ask(now, LegId(1), &url), Asked::Fetch));
            cache.keep(now, &url, Err(NoChain::Unavailable), NEGATIVE);
            assert!(cache.entries.len() <= KEPT);
        }
        assert_eq!(cache.waiting, 0);
    }
}
