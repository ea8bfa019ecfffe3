//! Bridges that the media threads have not been told of yet, for want of room in their order queues.
//!
//! A queue that is full is empty again within a few packets, and so a change is offered again before it counts as failed; the
//! end of a bridge is offered until it is taken, for until then its legs go on hearing each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use engine_core::BridgePlan;
use media_core::BridgeId;
use media_io::Error;

/// How long what was not taken waits before it is offered again: half a packet.
const AGAIN: Duration = Duration::from_millis(10);

/// How long a bridge may take to be made or changed: beyond that its media threads are stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// What bridges are to be, until the media threads know. There is one entry a bridge, and an ended one is kept only while it
/// holds a place in its media thread: no more than there are legs.
#[derive(Debug, Default)]
pub(crate) struct Bridging {
    ended: BTreeSet<BridgeId>,
    wanted: BTreeMap<BridgeId, Wanted>,
    again: Option<Instant>,
}

#[derive(Debug)]
struct Wanted {
    plan: BridgePlan,
    since: Instant,
}

impl Bridging {
    /// What a bridge is to be from now on; `None` ends it. [`Bridging::offer`] has it done.
    pub(crate) fn want(&mut self, now: Instant, bridge: BridgeId, plan: Option<BridgePlan>) {
        match plan {
            Some(plan) => {
                let since = self.wanted.get(&bridge).map_or(now, |wanted| wanted.since);
                self.wanted.insert(bridge, Wanted { plan, since });
            }
            None => {
                self.wanted.remove(&bridge);
                self.ended.insert(bridge);
            }
        }
    }

    /// When what is left is to be offered again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.again
    }

    /// Offers all that is left, ends before all else: whose legs a new bridge takes may still be in an old one. Those that
    /// cannot be, with the reason.
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        mut media: impl FnMut(BridgeId, Option<&BridgePlan>) -> Result<(), Error>,
    ) -> Vec<(BridgeId, Error)> {
        self.ended.retain(|bridge| matches!(media(*bridge, None), Err(Error::Busy { .. })));
        let leaving = !self.ended.is_empty();
        let mut failed = Vec::new();
        self.wanted.retain(|bridge, Wanted { plan, since }| match media(*bridge, Some(plan)) {
            Ok(()) => false,
            Err(Error::Busy { .. }) if now < *since + PATIENCE => true,
            Err(Error::Bridged(_)) if leaving && now < *since + PATIENCE => true,
            Err(error) => {
                failed.push((*bridge, error));
                false
            }
        });
        self.again = (leaving || !self.wanted.is_empty()).then(|| now + AGAIN);
        failed
    }
}

#[cfg(test)]
mod tests {
    use media_core::{Keys, LegId};

    use super::*;

    const A: BridgeId = BridgeId(1);
    const B: BridgeId = BridgeId(2);

    fn plan() -> Option<BridgePlan> {
        Some(BridgePlan { members: Vec::new(), keys: Keys::Relayed })
    }

    /// What was offered, and how it was answered.
    fn offer(
        bridging: &mut Bridging,
        now: Instant,
        answer: impl Fn(BridgeId, bool) -> Result<(), Error>,
    ) -> (Vec<(u64, bool)>, Vec<u64>) {
        let mut offered = Vec::new();
        let failed = bridging.offer(now, |bridge, plan| {
            offered.push((bridge.0, plan.is_some()));
            answer(bridge, plan.is_some())
        });
        (offered, failed.into_iter().map(|(bridge, _)| bridge.0).collect())
    }

    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn what_a_busy_thread_did_not_take_is_offered_again_until_it_does() {
        let (mut bridging, now) = (Bridging::default(), start());
        bridging.want(now, A, plan());
        assert_eq!(
            offer(&mut bridging, now, |_, _| Err(Error::Busy { shard: 0 })),
            (vec![(1, true)], vec![])
        );
        assert_eq!(bridging.due(), Some(now + AGAIN));
        assert_eq!(offer(&mut bridging, now + AGAIN, |_, _| Ok(())), (vec![(1, true)], vec![]));
        assert_eq!(bridging.due(), None);
        assert_eq!(offer(&mut bridging, now + AGAIN, |_, _| Ok(())), (vec![], vec![]));
    }

    #[test]
    fn a_bridge_that_no_thread_takes_for_a_second_has_failed() {
        let (mut bridging, now) = (Bridging::default(), start());
        bridging.want(now, A, plan());
        let busy = |_, _| Err(Error::Busy { shard: 0 });
        assert!(offer(&mut bridging, now, busy).1.is_empty());
        // A change of it does not begin the second anew.
        bridging.want(now + PATIENCE / 2, A, plan());
        assert!(offer(&mut bridging, now + PATIENCE - AGAIN, busy).1.is_empty());
        assert_eq!(offer(&mut bridging, now + PATIENCE, busy).1, [1]);
        assert_eq!(bridging.due(), None);
        // What is wrong for another reason fails at once.
        bridging.want(now, B, plan());
        assert_eq!(offer(&mut bridging, now, |_, _| Err(Error::BridgeFull { max: 64 })).1, [2]);
    }

    #[test]
    fn an_end_is_never_given_up_and_comes_before_the_bridges_that_take_its_legs() {
        let (mut bridging, now) = (Bridging::default(), start());
        bridging.want(now, B, plan());
        bridging.want(now, A, plan());
        bridging.want(now, B, None);
        let busy_ends = |_, is_plan: bool| match is_plan {
            true => Err(Error::Bridged(LegId(7))),
            false => Err(Error::Busy { shard: 0 }),
        };
        let both = vec![(2, false), (1, true)];
        assert_eq!(offer(&mut bridging, now, busy_ends), (both.clone(), vec![]));
        assert_eq!(offer(&mut bridging, now + AGAIN, |_, _| Ok(())), (both, vec![]));
        bridging.want(now, A, None);
        for second in 0..100 {
            let at = now + Duration::from_secs(second);
            assert_eq!(
                offer(&mut bridging, at, |_, _| Err(Error::Busy { shard: 0 })),
                (vec![(1, false)], vec![])
            );
            assert_eq!(bridging.due(), Some(at + AGAIN));
        }
        // One that never was is as good as ended.
        assert_eq!(
            offer(&mut bridging, now, |bridge, _| Err(Error::NotBridged(bridge))),
            (vec![(1, false)], vec![])
        );
        assert_eq!(bridging.due(), None);
    }
}
