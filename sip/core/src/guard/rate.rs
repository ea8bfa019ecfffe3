//! Token buckets, many to a table that does not grow.

use std::hash::{DefaultHasher, Hasher};
use std::time::{Duration, Instant};

use crate::net::Source;

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run; at least 1.
    pub per_second: u32,
    /// At once, after a rest; at least 1.
    pub burst: u32,
}

/// A token bucket as one moment: when it will be full again (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    pub(super) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    fn has(&self, now: Instant, rate: Rate) -> bool {
        let debt = self.full_at.saturating_duration_since(now);
        debt <= interval(rate) * (rate.burst.max(1) - 1)
    }

    fn spend(&mut self, now: Instant, rate: Rate) {
        self.full_at = self.full_at.max(now) + interval(rate);
    }

    /// Takes a token; false when there is none.
    pub(super) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let has = self.has(now, rate);
        if has {
            self.spend(now, rate);
        }
        has
    }
}

/// Takes a token from both, or from neither.
pub(super) fn take_both(now: Instant, one: (&mut Bucket, Rate), other: (&mut Bucket, Rate)) -> bool {
    let both = one.0.has(now, one.1) && other.0.has(now, other.1);
    if both {
        one.0.spend(now, one.1);
        other.0.spend(now, other.1);
    }
    both
}

fn interval(rate: Rate) -> Duration {
    Duration::from_secs(1) / rate.per_second.max(1)
}

/// The buckets of one source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Requests for new work.
    pub(super) work: Bucket,
    /// Messages that show our mark.
    pub(super) marked: Bucket,
    /// Answers of the guard.
    pub(super) answers: Bucket,
    /// Nothing more is said of this source until then.
    pub(super) silent_until: Instant,
}

/// A fixed number of slots. Which one is a source's is a keyed hash: nobody can aim at the slot of another, nothing is
/// ever evicted, and a source that changes its address at will finds slots as empty as it left them. Sources that share
/// one share its rates.
#[derive(Debug)]
pub(super) struct Slots {
    key: [u8; 16],
    slots: Box<[Slot]>,
}

impl Slots {
    /// 8,192 slots of 64 bytes: two of a hundred busy sources share one in every other table.
    const COUNT: usize = 8_192;

    pub(super) fn new(now: Instant, key: [u8; 16]) -> Self {
        let bucket = Bucket::new(now);
        let slot = Slot { work: bucket, marked: bucket, answers: bucket, silent_until: now };
        Self { key, slots: vec![slot; Self::COUNT].into_boxed_slice() }
    }

    pub(super) fn of(&mut self, source: Source) -> &mut Slot {
        // `DefaultHasher::new` has no key of its own; the secret goes in first.
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.key);
        hasher.write(&source.octets());
        &mut self.slots[hasher.finish() as usize % Self::COUNT]
    }
}
