//! Timer values (RFC 3261 table 4) and the one ordered queue of running timers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The base values that every SIP timer derives from (RFC 3261 section 17.1.1.1 and table 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Round-trip time estimate.
    pub t1: Duration,
    /// Longest interval between retransmissions of non-INVITE requests and INVITE responses.
    pub t2: Duration,
    /// Longest time a message stays in the network.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Timers {
    /// 64*T1: timers B, F, H, J, L, M, the wait for an ACK and the wait after a CANCEL.
    pub fn transaction_timeout(&self) -> Duration {
        self.t1 * 64
    }

    /// Timer D: "at least 32 seconds for unreliable transports, and a value of zero seconds for reliable transports".
    pub fn wait_for_response_retransmits(&self, reliable: bool) -> Duration {
        if reliable { Duration::ZERO } else { self.transaction_timeout().max(Duration::from_secs(32)) }
    }

    /// Timers I and K: T4, zero over reliable transports.
    pub fn wait_for_retransmits(&self, reliable: bool) -> Duration {
        if reliable { Duration::ZERO } else { self.t4 }
    }

    /// The interval that follows `interval`: "MIN(2*T, T2)".
    pub fn back_off(&self, interval: Duration) -> Duration {
        (interval * 2).min(self.t2)
    }
}

/// Running timers, ordered by deadline. A timer is named by its key: setting it again moves it.
///
/// Every operation is O(log n); two timers with one deadline fire in the order of their keys.
#[derive(Debug)]
pub(crate) struct TimerQueue<K> {
    by_deadline: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K: Ord + Copy> TimerQueue<K> {
    pub(crate) fn new() -> Self {
        Self { by_deadline: BTreeSet::new(), by_key: BTreeMap::new() }
    }

    /// Starts the timer, or moves it when it runs already.
    pub(crate) fn set(&mut self, key: K, deadline: Instant) {
        if let Some(old) = self.by_key.insert(key, deadline) {
            self.by_deadline.remove(&(old, key));
        }
        self.by_deadline.insert((deadline, key));
    }

    /// Stops the timer, if it runs.
    pub(crate) fn cancel(&mut self, key: K) {
        if let Some(deadline) = self.by_key.remove(&key) {
            self.by_deadline.remove(&(deadline, key));
        }
    }

    /// The next timer and its deadline.
    pub(crate) fn next(&self) -> Option<(Instant, K)> {
        self.by_deadline.first().copied()
    }

    /// Takes the next timer whose deadline has come.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<K> {
        let (_, key) = self.next().filter(|(deadline, _)| *deadline <= now)?;
        self.cancel(key);
        Some(key)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need one instant to count from")]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_of_deadline_and_then_of_key() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut queue = TimerQueue::new();
        queue.set('c', at(20));
        queue.set('b', at(10));
        queue.set('a', at(20));
        assert_eq!(queue.next(), Some((at(10), 'b')));
        assert_eq!(queue.pop_expired(at(9)), None);
        let fired: Vec<char> = std::iter::from_fn(|| queue.pop_expired(at(20))).collect();
        assert_eq!(fired, ['b', 'a', 'c']);
    }

    #[test]
    fn a_timer_set_again_moves_and_a_cancelled_one_never_fires() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut queue = TimerQueue::new();
        queue.set('a', at(10));
        queue.set('a', at(30));
        queue.set('b', at(20));
        queue.cancel('b');
        queue.cancel('b');
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.pop_expired(at(29)), None);
        assert_eq!(queue.pop_expired(at(30)), Some('a'));
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn defaults_are_those_of_table_4() {
        let timers = Timers::default();
        assert_eq!(timers.transaction_timeout(), Duration::from_secs(32));
        assert_eq!(timers.wait_for_response_retransmits(false), Duration::from_secs(32));
        assert_eq!(timers.wait_for_response_retransmits(true), Duration::ZERO);
        assert_eq!(timers.wait_for_retransmits(false), Duration::from_secs(5));
        assert_eq!(timers.back_off(Duration::from_secs(2)), Duration::from_secs(4));
        assert_eq!(timers.back_off(Duration::from_secs(4)), Duration::from_secs(4));
    }
}
