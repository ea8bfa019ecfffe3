//! The pool of RTP ports: even ones, each with the next odd one for RTCP.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// How long a released pair rests while there are others: a peer whose BYE was lost has stopped by then, and so
/// its packets do not reach the next leg on this port. That leg drops them as a stranger's if its peer is another
/// host, but two calls of one carrier come from the same.
const REST: Duration = Duration::from_secs(5);

/// How long it rests at least: what the last peer had in flight is over by then.
const QUARANTINE: Duration = Duration::from_millis(500);

/// "RTP SHOULD use an even destination port number and the corresponding RTCP stream SHOULD use the next
/// higher (odd) destination port number" ([RFC 3550, 11](https://www.rfc-editor.org/rfc/rfc3550#section-11)).
#[derive(Debug)]
pub(crate) struct PortPool {
    free: Vec<u16>,
    /// Released pairs in the order of their release.
    resting: VecDeque<(Instant, u16)>,
}

impl PortPool {
    /// A pool of the pairs that lie wholly within `range`.
    pub(crate) fn new(range: &RangeInclusive<u16>) -> PortPool {
        let (first, last) = (u32::from(*range.start()).next_multiple_of(2), u32::from(*range.end()));
        // Port 0 means "any" to the kernel.
        let free =
            (first..last).step_by(2).filter_map(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        PortPool { free: free.collect(), resting: VecDeque::new() }
    }

    /// Pairs that could be taken at once.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// Pairs in quarantine.
    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }

    /// A free pair, chosen by `random` so that nobody can guess where the next call's audio goes.
    pub(crate) fn take(&mut self, now: Instant, random: u32) -> Option<u16> {
        while let Some((released, port)) = self.resting.front().copied() {
            let rest = if self.free.is_empty() { QUARANTINE } else { REST };
            if now < released + rest {
                break;
            }
            self.resting.pop_front();
            self.free.push(port);
        }
        if self.free.is_empty() {
            return None;
        }
        Some(self.free.swap_remove(random as usize % self.free.len()))
    }

    /// Gives a pair back.
    pub(crate) fn release(&mut self, now: Instant, port: u16) {
        self.resting.push_back((now, port));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_even_and_whole() {
        for (range, expected) in [
            (10_000..=10_005, vec![10_000, 10_002, 10_004]),
            (10_001..=10_004, vec![10_002]),
            (10_001..=10_002, vec![]),
            (0..=3, vec![2]),
            (65_532..=65_535, vec![65_532, 65_534]),
        ] {
            assert_eq!(PortPool::new(&range).free, expected);
        }
    }

    #[test]
    fn a_released_pair_rests_before_it_is_used_again() {
        let now = Instant::now();
        let mut pool = PortPool::new(&(20_000..=20_003));
        let mut taken: Vec<u16> = (0..2).map_while(|_| pool.take(now, 7)).collect();
        taken.sort();
        assert_eq!(taken, [20_000, 20_002]);
        assert_eq!(pool.take(now, 7), None);
        pool.release(now, 20_002);
        assert_eq!((pool.free(), pool.resting()), (0, 1));
        assert_eq!(pool.take(now + QUARANTINE - Duration::from_millis(1), 7), None);
        assert_eq!(pool.take(now + QUARANTINE, 7), Some(20_002), "the last there is");
        let mut pool = PortPool::new(&(20_000..=20_005));
        let released = pool.take(now, 0).unwrap();
        pool.release(now, released);
        let others: Vec<u16> =
            (0..2).map_while(|_| pool.take(now + REST - Duration::from_millis(1), 7)).collect();
        assert!(others.len() == 2 && !others.contains(&released), "{released}: {others:?}");
        pool.release(now, others[0]);
        let both: Vec<u16> = (0..2).map_while(|_| pool.take(now + REST, 7)).collect();
        assert_eq!(both.len(), 2);
    }
}
