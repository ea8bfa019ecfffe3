//! How many requests a token may make.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A steady rate and how far a burst may run ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second in the long run, at least 1.
    pub per_second: u32,
    /// Requests at once after a rest, at least 1.
    pub burst: u32,
}

impl Default for Rate {
    /// Above what one engine can use (3,000 call set-ups per second and core), below what would starve its neighbours.
    fn default() -> Self {
        Self { per_second: 5_000, burst: 10_000 }
    }
}

/// The Generic Cell Rate Algorithm (ITU-T I.371): one number says when the next request would be due at the steady
/// rate, and a request is refused if that lies more than a burst ahead.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// The theoretical arrival time, nanoseconds since the start.
    due: AtomicU64,
}

impl Bucket {
    /// Takes one request at `now`, the time since the start, or says how long to wait for it.
    pub(crate) fn take(&self, now: Duration, rate: Rate) -> Result<(), Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let interval = 1_000_000_000 / u64::from(rate.per_second.max(1));
        let ahead = interval * u64::from(rate.burst.max(1) - 1);
        let taken = self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
            let due = due.max(now);
            (due - now <= ahead).then(|| due.saturating_add(interval))
        });
        taken.map(|_| ()).map_err(|due| Duration::from_nanos(due - now - ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_steady_rate() {
        let rate = Rate { per_second: 10, burst: 3 };
        let bucket = Bucket::default();
        let at = |ms| Duration::from_millis(ms);
        for _ in 0..3 {
            assert_eq!(bucket.take(at(1_000), rate), Ok(()));
        }
        assert_eq!(bucket.take(at(1_000), rate), Err(at(100)));
        assert_eq!(bucket.take(at(1_060), rate), Err(at(40)));
        assert_eq!(bucket.take(at(1_100), rate), Ok(()));
        assert_eq!(bucket.take(at(1_100), rate), Err(at(100)));
        // After a long rest the burst is whole again, and no larger.
        let taken = (0..10).filter(|_| bucket.take(at(60_000), rate).is_ok()).count();
        assert_eq!(taken, 3);
    }
}
