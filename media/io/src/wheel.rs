//! The wheel: which leg is due in which millisecond. Plain data; time is a tick number handed in.

use media_core::Ptime;

/// Slots of 1 ms. One more than the longest packet time would do; 64 make the set of occupied slots one word.
const SLOTS: u64 = 64;

/// No leg: the end of a list.
const NIL: u32 = u32::MAX;

/// Every leg that sends stands in exactly one slot, that of its next packet. Slots are lists through an array
/// of links, so that nothing is allocated after construction and a leg leaves in constant time.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: [Slot; SLOTS as usize],
    /// Bit n: slot n has a leg.
    occupied: u64,
    links: Vec<Link>,
    /// No leg is due before this tick.
    next: u64,
    /// Of all legs.
    cost: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    first: u32,
    last: u32,
    /// Of all its legs.
    cost: u64,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
    slot: Option<u8>,
    /// Of a turn ([`crate::cost`]).
    cost: u32,
}

impl Wheel {
    /// A wheel for the legs `0..legs`.
    pub(crate) fn new(legs: usize) -> Wheel {
        Wheel {
            slots: [Slot { first: NIL, last: NIL, cost: 0 }; SLOTS as usize],
            occupied: 0,
            links: vec![Link { before: NIL, after: NIL, slot: None, cost: 0 }; legs],
            next: 0,
            cost: 0,
        }
    }

    /// The next tick at which a leg is due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        if self.occupied == 0 {
            return None;
        }
        let ahead = self.occupied.rotate_right((self.next % SLOTS) as u32).trailing_zeros();
        Some(self.next + u64::from(ahead))
    }

    /// Takes a leg that is due at `tick`, in the order in which they were armed.
    pub(crate) fn take(&mut self, tick: u64) -> Option<u32> {
        self.next = self.next.max(tick);
        let leg = self.slots[(tick % SLOTS) as usize].first;
        if leg == NIL {
            return None;
        }
        self.remove(leg);
        Some(leg)
    }

    /// What a turn of every leg costs together.
    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    /// Starts a leg: its first turn is due within one packet time from `now` on, in the slot whose legs cost the
    /// least, so that the work of all is spread over the time.
    pub(crate) fn start(&mut self, leg: u32, now: u64, ptime: Ptime, cost: u32) {
        // Ticks that nobody waits for are over; those that somebody still waits for must be caught up with
        // first.
        self.next = self.next_due().map_or(now, |due| due.min(now)).max(self.next);
        let ticks = self.next..self.next + u64::from(ptime.ms());
        let tick = ticks.min_by_key(|tick| self.slots[(tick % SLOTS) as usize].cost).unwrap_or(self.next);
        self.arm(leg, tick, cost);
    }

    /// Puts a leg whose turn costs so much into the slot of `tick`, which lies less than one turn of the wheel ahead.
    pub(crate) fn arm(&mut self, leg: u32, tick: u64, cost: u32) {
        debug_assert!(tick >= self.next && tick - self.next < SLOTS);
        self.remove(leg);
        let number = (tick % SLOTS) as usize;
        let slot = &mut self.slots[number];
        self.links[leg as usize] = Link { before: slot.last, after: NIL, slot: Some(number as u8), cost };
        match slot.last {
            NIL => slot.first = leg,
            last => self.links[last as usize].after = leg,
        }
        slot.last = leg;
        slot.cost += u64::from(cost);
        self.cost += u64::from(cost);
        self.occupied |= 1 << number;
    }

    /// Takes a leg out, wherever it stands.
    pub(crate) fn remove(&mut self, leg: u32) {
        let Link { before, after, slot, cost } = self.links[leg as usize];
        let Some(number) = slot else { return };
        let slot = &mut self.slots[usize::from(number)];
        match before {
            NIL => slot.first = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NIL => slot.last = before,
            after => self.links[after as usize].before = before,
        }
        slot.cost -= u64::from(cost);
        if slot.first == NIL {
            self.occupied &= !(1 << number);
        }
        self.cost -= u64::from(cost);
        self.links[leg as usize].slot = None;
    }
}

#[cfg(test)]
mod tests {
    use media_core::Codec;

    use super::*;
    use crate::cost;

    fn ptime(ms: u8) -> Ptime {
        Ptime::new(ms).unwrap()
    }

    /// Runs the wheel over `ticks` and returns how many legs were due in each.
    fn run(wheel: &mut Wheel, ticks: std::ops::Range<u64>, ptimes: &[u8]) -> Vec<usize> {
        ticks
            .map(|tick| {
                assert!(wheel.next_due().is_none_or(|due| due >= tick), "a leg was missed before {tick}");
                let mut due = 0;
                while let Some(leg) = wheel.take(tick) {
                    due += 1;
                    wheel.arm(leg, tick + u64::from(ptimes[leg as usize]), 1);
                }
                due
            })
            .collect()
    }

    #[test]
    fn the_longest_packet_time_is_less_than_a_turn() {
        assert!(u64::from(Ptime::MAX.ms()) < SLOTS);
    }

    #[test]
    fn legs_are_spread_evenly_whenever_they_start() {
        let ptimes = [20; 1_000];
        let mut wheel = Wheel::new(1_000);
        for leg in 0..1_000 {
            wheel.start(leg, 5, ptime(20), 1);
        }
        assert_eq!(run(&mut wheel, 5..105, &ptimes), [50; 100]);
    }

    /// What the turns in each of the next `ticks` cost.
    fn costs(wheel: &Wheel, ticks: std::ops::Range<u64>) -> Vec<u64> {
        ticks.map(|tick| wheel.slots[(tick % SLOTS) as usize].cost).collect()
    }

    #[test]
    fn the_dear_and_the_cheap_are_spread_by_what_they_cost() {
        // Some of every kind, in every order.
        let dear = cost::PACKET + cost::EAR + cost::decode(Codec::Opus);
        for order in 0..3 {
            let mut wheel = Wheel::new(2_000);
            for leg in 0..1_000 {
                wheel.start(leg, 9, ptime(20), if leg % 10 == order * 4 { dear } else { cost::PACKET });
            }
            let costs = costs(&wheel, 9..29);
            let (least, most) = (costs.iter().min().unwrap(), costs.iter().max().unwrap());
            assert!(most - least <= dear.into(), "{costs:?}");
            assert_eq!(wheel.cost(), costs.iter().sum());
        }
        // A conference in Opus has its slot to itself until the others have caught up with it.
        let mut wheel = Wheel::new(1_000);
        let conference = 4 * (cost::PACKET + cost::encode(Codec::Opus));
        wheel.start(999, 0, ptime(20), conference);
        for leg in 0..500 {
            wheel.start(leg, 0, ptime(20), cost::PACKET);
        }
        assert_eq!(costs(&wheel, 0..1), [u64::from(conference)]);
    }

    #[test]
    fn a_leg_is_weighed_anew_at_each_turn() {
        let mut wheel = Wheel::new(3);
        wheel.start(0, 0, ptime(20), cost::PACKET);
        assert_eq!(wheel.take(0), Some(0));
        let dear = cost::PACKET + cost::decode(Codec::Opus);
        wheel.arm(0, 20, dear);
        assert_eq!(costs(&wheel, 20..21), [u64::from(dear)]);
        assert_eq!(wheel.cost(), dear.into());
        // It gets cheaper, and goes.
        assert_eq!(wheel.take(20), Some(0));
        wheel.arm(0, 40, cost::REST);
        assert_eq!(wheel.cost(), cost::REST.into());
        wheel.remove(0);
        assert_eq!((wheel.cost(), costs(&wheel, 0..SLOTS)), (0, vec![0; SLOTS as usize]));
        // What costs nothing is in its slot all the same.
        wheel.arm(1, 50, 0);
        wheel.arm(2, 50, 0);
        wheel.remove(1);
        assert_eq!(wheel.next_due(), Some(50));
    }

    #[test]
    fn every_leg_keeps_its_own_rhythm() {
        let ptimes: Vec<u8> = (0..51).map(|n| 10 + n).collect();
        let mut wheel = Wheel::new(ptimes.len());
        let mut sent = vec![Vec::new(); ptimes.len()];
        for tick in 0..10_000u64 {
            if let Some(ms) = ptimes.get(tick as usize) {
                wheel.start(tick as u32, tick, ptime(*ms), 1);
            }
            while let Some(leg) = wheel.take(tick) {
                sent[leg as usize].push(tick);
                wheel.arm(leg, tick + u64::from(ptimes[leg as usize]), 1);
            }
        }
        for (leg, (sent, ms)) in sent.iter().zip(&ptimes).enumerate() {
            assert!(sent[0] >= leg as u64 && sent[0] < leg as u64 + u64::from(*ms));
            assert!(sent.windows(2).all(|pair| pair[1] - pair[0] == u64::from(*ms)), "leg {leg}");
            assert!(sent.len() as u64 >= (10_000 - sent[0]) / u64::from(*ms));
        }
    }

    #[test]
    fn an_empty_wheel_wakes_nobody_and_starts_where_time_is() {
        let mut wheel = Wheel::new(2);
        assert_eq!(wheel.next_due(), None);
        wheel.start(0, 1_000_000, ptime(20), 1);
        assert_eq!(wheel.next_due(), Some(1_000_000));
        wheel.remove(0);
        wheel.remove(0);
        assert_eq!(wheel.next_due(), None);
        wheel.start(1, 2_000_003, ptime(20), 1);
        assert_eq!(wheel.next_due(), Some(2_000_003));
    }

    #[test]
    fn a_leg_that_starts_while_the_wheel_is_late_waits_for_its_turn() {
        let mut wheel = Wheel::new(2);
        wheel.start(0, 100, ptime(20), 1);
        wheel.start(1, 180, ptime(20), 1);
        assert_eq!(wheel.next_due(), Some(100), "the late leg is not overtaken");
        assert_eq!(run(&mut wheel, 100..200, &[20, 20]).iter().sum::<usize>(), 10);
    }

    #[test]
    fn a_leg_leaves_from_anywhere_in_its_slot() {
        for gone in 0..3 {
            let mut wheel = Wheel::new(3);
            for leg in 0..3 {
                wheel.arm(leg, 7, 1);
            }
            wheel.remove(gone);
            let left: Vec<u32> = std::iter::from_fn(|| wheel.take(7)).collect();
            assert_eq!(left, (0..3).filter(|leg| *leg != gone).collect::<Vec<_>>());
        }
    }
}
