//! Deadlines of calls, in one ordered set.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use media_core::LegId;

/// What a deadline of a call is for. A call has at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallTimer {
    /// The longest wait for admission.
    Queue,
    /// The longest time from the INVITE to an answer, in either direction.
    Ring,
    /// The longest silence of a gateway while there is another one to try.
    Failover,
    /// The longest answered call.
    Duration,
    /// The next try of an offer that lost against one of the peer's.
    Offer,
    /// A `pause` step of the flow, or its wait for a beep.
    Pause,
    /// The longest wait in a queue.
    Wait,
    /// The next announcement in a queue.
    Announce,
    /// The next digit that is sent by INFO.
    Dial,
    /// The longest wait for the peer's confirmation and the last media statistics of a call that ends.
    Release,
}

impl CallTimer {
    const ALL: [Self; 10] = [
        Self::Queue,
        Self::Ring,
        Self::Failover,
        Self::Duration,
        Self::Offer,
        Self::Pause,
        Self::Wait,
        Self::Announce,
        Self::Dial,
        Self::Release,
    ];
}

type Key = (LegId, CallTimer);

/// Every pending deadline. Setting one again replaces it.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Instant, Key)>,
    set: BTreeMap<Key, Instant>,
}

impl Timers {
    pub(crate) fn set(&mut self, leg: LegId, timer: CallTimer, at: Instant) {
        let key = (leg, timer);
        if let Some(old) = self.set.insert(key, at) {
            self.due.remove(&(old, key));
        }
        self.due.insert((at, key));
    }

    pub(crate) fn cancel(&mut self, leg: LegId, timer: CallTimer) {
        let key = (leg, timer);
        if let Some(old) = self.set.remove(&key) {
            self.due.remove(&(old, key));
        }
    }

    pub(crate) fn cancel_all(&mut self, leg: LegId) {
        for timer in CallTimer::ALL {
            self.cancel(leg, timer);
        }
    }

    pub(crate) fn next(&self) -> Option<(Instant, CallTimer)> {
        self.due.first().map(|&(at, (_, timer))| (at, timer))
    }

    /// Takes the earliest deadline that has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Key> {
        let &(at, key) = self.due.first()?;
        if at > now {
            return None;
        }
        self.cancel(key.0, key.1);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn fires_in_order_replaces_and_cancels() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of a test")]
        let t0 = Instant::now();
        let at = |s| t0 + Duration::from_secs(s);
        let mut timers = Timers::default();
        timers.set(LegId(1), CallTimer::Ring, at(5));
        timers.set(LegId(2), CallTimer::Queue, at(3));
        timers.set(LegId(1), CallTimer::Ring, at(2));
        for timer in CallTimer::ALL {
            timers.set(LegId(3), timer, at(1));
        }
        timers.cancel_all(LegId(3));
        assert_eq!(timers.next(), Some((at(2), CallTimer::Ring)));
        assert_eq!(timers.pop_due(at(1)), None);
        assert_eq!(timers.pop_due(at(9)), Some((LegId(1), CallTimer::Ring)));
        assert_eq!(timers.pop_due(at(9)), Some((LegId(2), CallTimer::Queue)));
        assert_eq!(timers.pop_due(at(9)), None);
        assert!(timers.due.is_empty() && timers.set.is_empty());
    }
}
