//! Admission: how many calls at a time, how many a second, and who waits.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use media_core::LegId;

use crate::trunk::TrunkId;

/// How long an unused turn is kept, so that a late wake-up loses no rate. 20 ms is many wake-ups of the shell, yet
/// lets no second see more than 2 % above the limit.
const CATCH_UP: Duration = Duration::from_millis(20);

/// Limits of concurrency and rate; `None` is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Capacity {
    /// Most calls at a time.
    pub max_calls: Option<u32>,
    /// Most new calls per second.
    pub max_cps: Option<f64>,
}

/// One gate: counts the calls that are inside and spaces those that enter.
#[derive(Debug)]
pub(crate) struct Gate {
    capacity: Capacity,
    calls: u32,
    /// When the next call is due by the rate (virtual scheduling of a token bucket).
    turn: Option<Instant>,
}

/// Whether a call may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admit {
    Now,
    /// The rate allows it then.
    At(Instant),
    /// Not before another call ends.
    Full,
}

impl Gate {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self { capacity, calls: 0, turn: None }
    }

    pub(crate) fn set_capacity(&mut self, capacity: Capacity) {
        self.capacity = capacity;
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls
    }

    /// Whether one more call fits at once, whatever the rate.
    pub(crate) fn has_room(&self) -> bool {
        self.capacity.max_calls.is_none_or(|max| self.calls < max)
    }

    pub(crate) fn admit(&self, now: Instant) -> Admit {
        match self.turn {
            _ if !self.has_room() => Admit::Full,
            Some(turn) if self.capacity.max_cps.is_some() && turn > now => Admit::At(turn),
            Some(_) | None => Admit::Now,
        }
    }

    /// Counts a paced call in.
    pub(crate) fn enter(&mut self, now: Instant) {
        self.calls += 1;
        let interval = self.capacity.max_cps.map(|cps| Duration::from_secs_f64(1.0 / cps.clamp(0.001, 1e6)));
        self.turn = interval.map(|interval| {
            let floor = now.checked_sub(CATCH_UP).unwrap_or(now);
            self.turn.map_or(now, |turn| turn.max(floor)) + interval
        });
    }

    /// Counts a call in that nobody paces: an inbound one.
    pub(crate) fn enter_unpaced(&mut self) {
        self.calls += 1;
    }

    pub(crate) fn leave(&mut self) {
        debug_assert!(self.calls > 0, "a call leaves the gates that it entered");
        self.calls = self.calls.saturating_sub(1);
    }
}

/// Calls that wait for their turn. Trunks take turns, so that a full one holds up nobody else; the calls of one trunk
/// keep the order in which they came, which is that of their legs.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: BTreeMap<Option<TrunkId>, BTreeSet<LegId>>,
    /// Whose turn it was last.
    last: Option<TrunkId>,
    /// When the next call is due, if that is known.
    next_turn: Option<Instant>,
}

impl Queue {
    pub(crate) fn push(&mut self, trunk: Option<TrunkId>, leg: LegId) {
        self.waiting.entry(trunk).or_default().insert(leg);
    }

    pub(crate) fn remove(&mut self, trunk: Option<TrunkId>, leg: LegId) {
        if let Some(legs) = self.waiting.get_mut(&trunk) {
            legs.remove(&leg);
            if legs.is_empty() {
                self.waiting.remove(&trunk);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn next_turn(&self) -> Option<Instant> {
        self.next_turn
    }

    pub(crate) fn set_next_turn(&mut self, turn: Option<Instant>) {
        self.next_turn = turn;
    }

    /// Takes the call whose turn it is among the trunks that `admit`; otherwise notes when the first of them will.
    pub(crate) fn pop(
        &mut self,
        admit: impl Fn(Option<TrunkId>) -> Admit,
    ) -> Option<(Option<TrunkId>, LegId)> {
        let after = self.waiting.range((Bound::Excluded(self.last), Bound::Unbounded));
        let upto = self.waiting.range(..=self.last);
        let mut turn = None;
        for (&trunk, legs) in after.chain(upto) {
            match (admit(trunk), legs.first()) {
                (Admit::Now, Some(&leg)) => {
                    self.last = trunk;
                    self.remove(trunk, leg);
                    return Some((trunk, leg));
                }
                (Admit::At(at), _) => turn = Some(turn.map_or(at, |turn: Instant| turn.min(at))),
                (Admit::Full, _) | (Admit::Now, None) => {}
            }
        }
        self.next_turn = turn;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of a test")]
        Instant::now()
    }

    fn entered(gate: &mut Gate, from: Instant, span: Duration, step: Duration) -> u32 {
        let (mut now, mut count) = (from, 0);
        while now < from + span {
            while gate.admit(now) == Admit::Now {
                gate.enter(now);
                count += 1;
            }
            now += step;
        }
        count
    }

    #[test]
    fn the_rate_holds_in_every_second_however_late_the_wake_ups_are() {
        for cps in [1.0, 10.0, 200.0, 1000.0] {
            for step_us in [100, 1_000, 7_000] {
                let t0 = origin();
                let mut gate = Gate::new(Capacity { max_calls: None, max_cps: Some(cps) });
                // Idle for a while: no credit beyond CATCH_UP may build up.
                gate.enter(t0);
                for second in 5..10 {
                    let from = t0 + Duration::from_secs(second);
                    let count =
                        entered(&mut gate, from, Duration::from_secs(1), Duration::from_micros(step_us));
                    assert!(f64::from(count) <= cps * 1.02 + 1.0, "{count} calls at {cps} cps");
                    assert!(f64::from(count) >= cps * 0.97 - 1.0, "{count} calls at {cps} cps");
                }
            }
        }
    }

    #[test]
    fn concurrency_is_a_hard_limit() {
        let now = origin();
        let mut gate = Gate::new(Capacity { max_calls: Some(2), max_cps: None });
        gate.enter(now);
        gate.enter_unpaced();
        assert_eq!(gate.admit(now), Admit::Full);
        gate.leave();
        assert_eq!(gate.admit(now), Admit::Now);
        gate.set_capacity(Capacity { max_calls: Some(1), max_cps: None });
        assert_eq!(gate.admit(now), Admit::Full);
    }

    #[test]
    fn trunks_take_turns_and_a_full_one_is_passed_over() {
        let mut queue = Queue::default();
        for (trunk, leg) in [(Some(0), 1), (Some(0), 2), (Some(1), 3), (None, 4), (Some(2), 5), (Some(1), 6)]
        {
            queue.push(trunk.map(TrunkId), LegId(leg));
        }
        let t1 = origin() + Duration::from_secs(1);
        let admit = |trunk| match trunk {
            Some(TrunkId(0)) => Admit::At(t1),
            Some(TrunkId(2)) => Admit::Full,
            Some(_) | None => Admit::Now,
        };
        queue.remove(Some(TrunkId(1)), LegId(9));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(admit)).map(|(_, leg)| leg.0).collect();
        assert_eq!(order, [3, 4, 6]);
        assert_eq!(queue.next_turn(), Some(t1));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(|_| Admit::Now)).map(|(_, leg)| leg.0).collect();
        assert_eq!(order, [5, 1, 2]);
        assert!(queue.is_empty());
    }
}
