//! Who offended how often, and who is shut out for it. Both tables are bounded; the oldest entry makes room.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::net::Source;

/// Sources remembered, in either table: about half a megabyte in all.
const CAPACITY: usize = 4_096;

/// Values that all last equally long.
#[derive(Debug)]
struct Recent<V> {
    lasts: Duration,
    values: BTreeMap<Source, (Instant, V)>,
    /// In order of ending, which is that of beginning.
    order: VecDeque<(Instant, Source)>,
}

impl<V> Recent<V> {
    fn new(lasts: Duration) -> Self {
        Self { lasts, values: BTreeMap::new(), order: VecDeque::new() }
    }

    fn get_mut(&mut self, now: Instant, source: Source) -> Option<&mut V> {
        self.values.get_mut(&source).filter(|(until, _)| now < *until).map(|(_, value)| value)
    }

    fn insert(&mut self, now: Instant, source: Source, value: V) {
        while self.order.front().is_some_and(|(until, _)| *until <= now || self.order.len() >= CAPACITY) {
            if let Some((until, oldest)) = self.order.pop_front()
                // A newer entry of the same source has its own place in the order.
                && self.values.get(&oldest).is_some_and(|(its, _)| *its == until)
            {
                self.values.remove(&oldest);
            }
        }
        let until = now + self.lasts;
        self.values.insert(source, (until, value));
        self.order.push_back((until, source));
    }

    fn remove(&mut self, source: Source) {
        self.values.remove(&source);
    }

    fn len(&self) -> usize {
        self.order.len()
    }
}

#[derive(Debug)]
pub(super) struct Offences {
    ban_after: u32,
    counts: Recent<u32>,
    bans: Recent<()>,
}

impl Offences {
    pub(super) fn new(ban_after: u32, within: Duration, ban: Duration) -> Self {
        Self { ban_after, counts: Recent::new(within), bans: Recent::new(ban) }
    }

    pub(super) fn is_banned(&mut self, now: Instant, source: Source) -> bool {
        self.bans.get_mut(now, source).is_some()
    }

    /// Counts one. Returns whether it was one too many, and the source is banned from now on.
    pub(super) fn count(&mut self, now: Instant, source: Source) -> bool {
        let count = match self.counts.get_mut(now, source) {
            Some(count) => {
                *count += 1;
                *count
            }
            None => {
                self.counts.insert(now, source, 1);
                1
            }
        };
        let is_banned = count >= self.ban_after;
        if is_banned {
            self.counts.remove(source);
            self.bans.insert(now, source, ());
        }
        is_banned
    }

    pub(super) fn forget(&mut self, source: Source) {
        self.counts.remove(source);
    }

    /// Entries held; for the tests of their bound.
    pub(super) fn len(&self) -> usize {
        self.counts.len() + self.bans.len()
    }
}
