//! What is known of names, for as long as it holds, and longer while nobody can be asked.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::dns::Told;
use super::records::{Found, Key};

/// Least and longest times that records are kept. A TTL of zero would mean a question per call, and a carrier that has
/// moved must be found within the hour whatever its TTL says.
const KEPT_LEAST: Duration = Duration::from_secs(5);
const KEPT_MOST: Duration = Duration::from_secs(3_600);

/// The same for what is not there: RFC 2308 section 5 has the SOA record say how long; a name that a carrier has just
/// set up is found after five minutes.
const NOTHING_LEAST: Duration = Duration::from_secs(5);
const NOTHING_MOST: Duration = Duration::from_secs(300);

/// How long a failure is remembered: RFC 2308 section 7.1 allows five minutes, but calls wait for the servers to come back.
const FAILURE: Duration = Duration::from_secs(5);

/// How long records are used beyond their time while nobody can be asked (RFC 8767 section 5: "the maximum stale timer
/// … suggested 1 to 3 days"), and how long between two questions then ("The attempt to refresh … no more frequently
/// than every 30 seconds").
const STALE_MOST: Duration = Duration::from_secs(86_400);
const STALE_FOR: Duration = Duration::from_secs(30);

/// Records are looked up again before their time is over when they are used in its last fifth, so that a busy trunk's
/// calls never wait for a name server.
const AGING: u32 = 5;

/// Names and kinds remembered. Trunks are few; names from peers' headers are not.
const ENTRIES: usize = 4_096;

#[derive(Debug)]
struct Entry {
    found: Found,
    aging_from: Instant,
    fresh_until: Instant,
    stale_until: Instant,
    used: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: BTreeMap<Key, Entry>,
}

impl Cache {
    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<&Found> {
        self.entries.get(key).filter(|entry| now < entry.fresh_until).map(|entry| &entry.found)
    }

    /// What was found last, however long ago.
    pub(super) fn last(&self, key: &Key) -> Option<&Found> {
        self.entries.get(key).map(|entry| &entry.found)
    }

    /// Notes that an answer was made of these. Gives how long the answer holds, and those to look up again soon.
    pub(super) fn touch(&mut self, keys: Vec<Key>, now: Instant) -> (Duration, Vec<Key>) {
        let (mut holds, mut aging) = (KEPT_MOST, Vec::new());
        for key in keys {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.used = now;
            if entry.found != Found::Failed {
                holds = holds.min(entry.fresh_until.saturating_duration_since(now));
                if entry.aging_from <= now {
                    aging.push(key);
                }
            }
        }
        (holds.max(KEPT_LEAST), aging)
    }

    /// Takes what was told of a key; true when it had to be made up from what was known before.
    pub(super) fn learn(&mut self, key: Key, now: Instant, told: Told) -> bool {
        let (found, kept) = match told {
            Told::Records(records, ttl) => (Found::Records(records), ttl.clamp(KEPT_LEAST, KEPT_MOST)),
            Told::Nothing(ttl) => (Found::Nothing, ttl.clamp(NOTHING_LEAST, NOTHING_MOST)),
            Told::Failed => match self.entries.get_mut(&key) {
                Some(entry) if !entry.found.records().is_empty() && now < entry.stale_until => {
                    entry.fresh_until = now + STALE_FOR;
                    entry.aging_from = entry.fresh_until - STALE_FOR / AGING;
                    return true;
                }
                Some(_) | None => (Found::Failed, FAILURE),
            },
        };
        if self.entries.len() >= ENTRIES && !self.entries.contains_key(&key) {
            self.make_room(now);
        }
        let fresh_until = now + kept;
        let entry = Entry {
            found,
            aging_from: fresh_until - kept / AGING,
            fresh_until,
            stale_until: fresh_until + STALE_MOST,
            used: now,
        };
        self.entries.insert(key, entry);
        false
    }

    /// Lets go of what is of no use any more, else of what was not used for the longest time.
    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, entry| match entry.found {
            Found::Records(_) => now < entry.stale_until,
            Found::Nothing | Found::Failed => now < entry.fresh_until,
        });
        if self.entries.len() >= ENTRIES
            && let Some(idlest) = self.entries.iter().min_by_key(|(_, entry)| entry.used)
        {
            let idlest = idlest.0.clone();
            self.entries.remove(&idlest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::records::{Kind, Record};

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn key(n: usize) -> Key {
        Key { name: format!("{n}.example."), kind: Kind::A }
    }

    fn address(ttl: u64) -> Told {
        Told::Records(vec![Record::Address([192, 0, 2, 1].into())], secs(ttl))
    }

    /// How long each kind of news is kept, to the second.
    #[test]
    fn times_to_live_have_a_floor_and_a_ceiling() {
        let now = Instant::now();
        for (told, kept) in [
            (address(60), 60),
            (address(0), 5),
            (address(604_800), 3_600),
            (Told::Nothing(secs(30)), 30),
            (Told::Nothing(secs(0)), 5),
            (Told::Nothing(secs(86_400)), 300),
            (Told::Failed, 5),
        ] {
            let mut cache = Cache::default();
            assert!(!cache.learn(key(1), now, told.clone()));
            assert!(cache.get(&key(1), now + secs(kept - 1)).is_some(), "{told:?}");
            assert!(cache.get(&key(1), now + secs(kept)).is_none(), "{told:?}");
        }
    }

    #[test]
    fn records_outlive_their_servers_by_a_day() {
        let (mut cache, mut now) = (Cache::default(), Instant::now());
        cache.learn(key(1), now, address(60));
        let end = now + secs(60 + 86_400);
        now += secs(60);
        while now < end {
            assert!(cache.learn(key(1), now, Told::Failed), "used beyond its time");
            assert_eq!(cache.get(&key(1), now).map(|found| found.records().len()), Some(1));
            now += secs(30);
            assert!(cache.get(&key(1), now).is_none(), "asked again every half minute");
        }
        assert!(!cache.learn(key(1), now, Told::Failed));
        assert_eq!(cache.get(&key(1), now), Some(&Found::Failed));
    }

    #[test]
    fn a_name_that_is_gone_is_gone_at_once() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.learn(key(1), now, address(5));
        cache.learn(key(1), now + secs(5), Told::Nothing(secs(60)));
        assert_eq!(cache.get(&key(1), now + secs(5)), Some(&Found::Nothing));
        assert!(!cache.learn(key(1), now + secs(65), Told::Failed), "it has nothing to go on with");
    }

    #[test]
    fn an_answer_holds_as_long_as_the_first_of_its_records_to_end_and_is_renewed_before() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.learn(key(1), now, address(100));
        cache.learn(key(2), now, Told::Nothing(secs(200)));
        assert_eq!(cache.touch(vec![key(1), key(2)], now), (secs(100), vec![]));
        assert_eq!(cache.touch(vec![key(1), key(2)], now + secs(79)), (secs(21), vec![]));
        assert_eq!(cache.touch(vec![key(1), key(2)], now + secs(80)), (secs(20), vec![key(1)]));
    }

    #[test]
    fn names_of_strangers_do_not_push_out_those_in_use() {
        let (mut cache, mut now) = (Cache::default(), Instant::now());
        cache.learn(key(0), now, address(3_600));
        for n in 1..3 * ENTRIES {
            now += Duration::from_millis(100);
            cache.learn(key(n), now, address(3_600));
            cache.touch(vec![key(0)], now);
            assert!(cache.entries.len() <= ENTRIES);
        }
        assert!(cache.get(&key(0), now).is_some());
    }
}
