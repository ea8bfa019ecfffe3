//! A seeded network emulator that is itself sans-IO: payloads go in with the time they were sent at and come out
//! when they are due, so a test on a virtual clock sees exact numbers under loss.
//!
//! A [`Link`] is one direction between two ends. It is deterministic: the same seed, impairments and sends give the
//! same deliveries. Every send draws the same number of random values whatever is switched on, so changing one
//! impairment does not move the others: the payloads lost with `loss: 0.1` are lost with jitter added too.
//!
//! ```
//! use netem::{Impairments, Link};
//! use std::time::{Duration, Instant};
//!
//! let start = Instant::now(); // any instant: the link only adds to it
//! let mut link = Link::new(7, Impairments { delay: Duration::from_millis(20), ..Impairments::NONE });
//! link.send(start, "hello");
//! let due = link.poll_timeout().expect("one payload is under way");
//! assert_eq!(due, start + Duration::from_millis(20));
//! assert_eq!(link.recv(start), None);
//! assert_eq!(link.recv(due), Some("hello"));
//! ```
//!
//! It does not model bandwidth, addresses or sizes: a payload is any value.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// How many times as many seeds a long run tries.
const LONG: u64 = 50;

/// The seeds that a test tries: `count` of them, or many more in a long run (`CARILLON_LONG` is set: `make test-long`).
#[must_use]
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    0..if std::env::var_os("CARILLON_LONG").is_some() { count * LONG } else { count }
}

/// What a link does to payloads. Probabilities are 0.0 to 1.0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairments {
    /// Share of payloads that are lost.
    pub loss: f64,
    /// Losses come in runs of this mean length (Gilbert's two-state model) instead of one by one.
    pub mean_burst: Option<f64>,
    /// Share of the delivered payloads that arrive twice.
    pub duplicate: f64,
    /// Time every payload takes.
    pub delay: Duration,
    /// Extra time of up to this much, uniformly drawn for each payload. A payload that jitter would let overtake an
    /// earlier one waits for it, as in a queue.
    pub jitter: Duration,
    /// Share of payloads held back by `hold`, so that later ones overtake them.
    pub reorder: f64,
    /// How long a reordered payload is held back.
    pub hold: Duration,
    /// Payloads under way at once; more are dropped, as by a full router.
    pub capacity: usize,
}

impl Impairments {
    /// A perfect link: everything arrives once, at once, in order. The capacity of 65,536 is far above what a test
    /// keeps under way, yet bounds its memory.
    pub const NONE: Impairments = Impairments {
        loss: 0.0,
        mean_burst: None,
        duplicate: 0.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        reorder: 0.0,
        hold: Duration::ZERO,
        capacity: 65_536,
    };
}

impl Default for Impairments {
    fn default() -> Self {
        Self::NONE
    }
}

/// What happened on a link so far: `sent + duplicated == lost + overflowed + delivered + under way`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls of [`Link::send`].
    pub sent: u64,
    /// Payloads lost by chance.
    pub lost: u64,
    /// Payloads (or their copies) dropped because the link was full.
    pub overflowed: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Payloads held back so that others overtake them.
    pub reordered: u64,
    /// Payloads handed out by [`Link::recv`], copies included.
    pub delivered: u64,
}

/// One direction of an emulated path, carrying values of type `T`.
#[derive(Debug)]
pub struct Link<T> {
    impairments: Impairments,
    rng: ChaCha8Rng,
    /// In a run of losses ([`Impairments::mean_burst`]).
    losing: bool,
    /// Due time of the latest payload that keeps its order.
    in_order_until: Option<Instant>,
    /// Ordered by due time, then by order of sending.
    under_way: BTreeMap<(Instant, u64), T>,
    next: u64,
    stats: Stats,
}

impl<T: Clone> Link<T> {
    /// A link whose every decision follows from `seed`.
    pub fn new(seed: u64, impairments: Impairments) -> Self {
        Link {
            impairments,
            rng: ChaCha8Rng::seed_from_u64(seed),
            losing: false,
            in_order_until: None,
            under_way: BTreeMap::new(),
            next: 0,
            stats: Stats::default(),
        }
    }

    /// Changes what happens to payloads sent from now on; those under way stay as they are.
    pub fn set_impairments(&mut self, impairments: Impairments) {
        self.impairments = impairments;
    }

    /// Puts a payload on the link at time `now`.
    pub fn send(&mut self, now: Instant, payload: T) {
        let draw: [f64; 5] = std::array::from_fn(|_| unit(&mut self.rng));
        let [lose, duplicate, jitter, copy_jitter, reorder] = draw;
        self.stats.sent += 1;
        if self.loses(lose) {
            self.stats.lost += 1;
            return;
        }
        let reordered = reorder < self.impairments.reorder;
        if duplicate < self.impairments.duplicate {
            self.stats.duplicated += 1;
            let due = self.due(now, copy_jitter);
            self.enqueue(due, payload.clone());
        }
        let due = if reordered {
            self.stats.reordered += 1;
            now + self.impairments.delay + self.impairments.jitter.mul_f64(jitter) + self.impairments.hold
        } else {
            self.due(now, jitter)
        };
        self.enqueue(due, payload);
    }

    /// The next payload that has arrived by `now`.
    pub fn recv(&mut self, now: Instant) -> Option<T> {
        let first = self.under_way.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        self.stats.delivered += 1;
        Some(first.remove())
    }

    /// When the next payload arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((due, _), _)| *due)
    }

    /// Payloads under way, due or not.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn loses(&mut self, draw: f64) -> bool {
        let rate = self.impairments.loss;
        self.losing = match self.impairments.mean_burst {
            None => draw < rate,
            Some(_) if rate >= 1.0 => true,
            // Gilbert: a run ends with probability 1/b; it begins so often that the long-run share of losses is `rate`.
            Some(burst) if self.losing => draw >= 1.0 / burst.max(1.0),
            Some(burst) => draw < rate / (burst.max(1.0) * (1.0 - rate)),
        };
        self.losing
    }

    /// The due time of a payload that keeps its place in the order.
    fn due(&mut self, now: Instant, jitter: f64) -> Instant {
        let drawn = now + self.impairments.delay + self.impairments.jitter.mul_f64(jitter);
        let due = self.in_order_until.map_or(drawn, |earlier| drawn.max(earlier));
        self.in_order_until = Some(due);
        due
    }

    fn enqueue(&mut self, due: Instant, payload: T) {
        if self.under_way.len() >= self.impairments.capacity {
            self.stats.overflowed += 1;
            return;
        }
        self.under_way.insert((due, self.next), payload);
        self.next += 1;
    }
}

/// Uniform in `0.0..1.0`: the upper 53 bits, as many as an `f64` holds exactly.
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Sends `count` numbers, one per `step`, and returns all arrivals as (milliseconds after the start, number).
    fn run(seed: u64, impairments: Impairments, count: u32, step: Duration) -> (Vec<(u128, u32)>, Stats) {
        let start = Instant::now();
        let mut link = Link::new(seed, impairments);
        let mut arrivals = Vec::new();
        for n in 0..count {
            link.send(start + step * n, n);
            drain(&mut link, start, Some(start + step * n), &mut arrivals);
        }
        drain(&mut link, start, None, &mut arrivals);
        (arrivals, link.stats())
    }

    /// Notes what arrives up to and including `until`, each at its due time.
    fn drain(link: &mut Link<u32>, start: Instant, until: Option<Instant>, arrivals: &mut Vec<(u128, u32)>) {
        while let Some(due) = link.poll_timeout().filter(|due| until.is_none_or(|until| *due <= until)) {
            while let Some(n) = link.recv(due) {
                arrivals.push(((due - start).as_millis(), n));
            }
        }
    }

    fn numbers(arrivals: &[(u128, u32)]) -> Vec<u32> {
        arrivals.iter().map(|(_, n)| *n).collect()
    }

    #[test]
    fn a_perfect_link_delivers_everything_at_once_in_order() {
        let (arrivals, stats) = run(1, Impairments::NONE, 100, MS);
        let expected: Vec<(u128, u32)> = (0..100).map(|n| (u128::from(n), n)).collect();
        assert_eq!(arrivals, expected);
        assert_eq!(stats, Stats { sent: 100, delivered: 100, ..Stats::default() });
    }

    #[test]
    fn nothing_arrives_before_it_is_due() {
        let start = Instant::now();
        let mut link = Link::new(1, Impairments { delay: 20 * MS, ..Impairments::NONE });
        link.send(start, 'a');
        assert_eq!(link.recv(start + 19 * MS), None);
        assert_eq!(link.recv(start + 20 * MS), Some('a'));
        assert_eq!(link.poll_timeout(), None);
    }

    #[test]
    fn a_seed_gives_exact_numbers() {
        let impairments = Impairments {
            loss: 0.2,
            duplicate: 0.2,
            delay: 30 * MS,
            jitter: 10 * MS,
            reorder: 0.4,
            hold: 45 * MS,
            ..Impairments::NONE
        };
        let (arrivals, stats) = run(42, impairments, 12, 10 * MS);
        assert_eq!(arrivals, EXACT);
        assert_eq!(stats, EXACT_STATS);
        assert_eq!(run(42, impairments, 12, 10 * MS), (arrivals.clone(), stats), "the same again");
        assert_ne!(run(43, impairments, 12, 10 * MS).0, arrivals, "another seed is another network");
    }

    #[test]
    fn loss_and_duplication_keep_to_their_rates() {
        let (arrivals, stats) =
            run(9, Impairments { loss: 0.1, duplicate: 0.05, ..Impairments::NONE }, 100_000, MS);
        // Five standard deviations: sqrt(n p q) is 95 for the losses and 65 for the copies.
        assert!(stats.lost.abs_diff(10_000) < 475, "{stats:?}");
        assert!(stats.duplicated.abs_diff(4_500) < 325, "{stats:?}");
        assert_eq!(stats.sent + stats.duplicated, stats.lost + stats.delivered);
        assert_eq!(arrivals.len() as u64, stats.delivered);
    }

    #[test]
    fn bursts_keep_the_rate_and_the_mean_length() {
        let impairments = Impairments { loss: 0.1, mean_burst: Some(4.0), ..Impairments::NONE };
        let (arrivals, stats) = run(9, impairments, 200_000, MS);
        let arrived = numbers(&arrivals);
        let bursts = arrived.windows(2).filter(|pair| pair[1] - pair[0] > 1).count() as f64;
        let mean = stats.lost as f64 / bursts;
        assert!((0.09..0.11).contains(&(stats.lost as f64 / 200_000.0)), "{stats:?}");
        assert!((3.8..4.2).contains(&mean), "mean burst {mean}");
    }

    #[test]
    fn a_dead_link_delivers_nothing_with_and_without_bursts() {
        for mean_burst in [None, Some(3.0)] {
            let (arrivals, stats) =
                run(3, Impairments { loss: 1.0, mean_burst, ..Impairments::NONE }, 50, MS);
            assert!(arrivals.is_empty());
            assert_eq!(stats.lost, 50);
        }
    }

    #[test]
    fn jitter_spreads_arrivals_and_keeps_the_order() {
        let impairments = Impairments { delay: 50 * MS, jitter: 40 * MS, ..Impairments::NONE };
        let (arrivals, _) = run(5, impairments, 1_000, 20 * MS);
        assert_eq!(numbers(&arrivals), (0..1_000).collect::<Vec<_>>());
        let transit: Vec<u128> = arrivals.iter().map(|(at, n)| at - u128::from(*n) * 20).collect();
        assert!(transit.iter().all(|ms| (50..=90).contains(ms)));
        assert!(transit.iter().any(|ms| *ms < 55) && transit.iter().any(|ms| *ms > 85));
    }

    #[test]
    fn reordered_payloads_are_overtaken() {
        let impairments = Impairments { reorder: 0.1, hold: 50 * MS, ..Impairments::NONE };
        let (arrivals, stats) = run(5, impairments, 1_000, 20 * MS);
        let late = numbers(&arrivals).windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!((60..150).contains(&stats.reordered), "{stats:?}");
        assert!(late > 50, "{late} inversions");
        assert_eq!(stats.delivered, 1_000);
    }

    #[test]
    fn the_same_payloads_are_lost_whatever_else_happens_to_them() {
        let plain = Impairments { loss: 0.2, ..Impairments::NONE };
        let (alone, _) = run(11, plain, 500, MS);
        let (with_jitter, _) =
            run(11, Impairments { jitter: 30 * MS, reorder: 0.3, hold: MS, ..plain }, 500, MS);
        let mut sorted = numbers(&with_jitter);
        sorted.sort_unstable();
        assert_eq!(sorted, numbers(&alone));
    }

    #[test]
    fn a_full_link_drops_and_counts() {
        let (arrivals, stats) =
            run(1, Impairments { delay: 100 * MS, capacity: 3, ..Impairments::NONE }, 10, MS);
        assert_eq!(numbers(&arrivals), [0, 1, 2]);
        assert_eq!(stats.overflowed, 7);
    }

    #[test]
    fn an_outage_can_begin_and_end() {
        let start = Instant::now();
        let mut link = Link::new(1, Impairments::NONE);
        link.send(start, 1);
        link.set_impairments(Impairments { loss: 1.0, ..Impairments::NONE });
        link.send(start, 2);
        link.set_impairments(Impairments::NONE);
        link.send(start, 3);
        assert_eq!((link.recv(start), link.recv(start), link.recv(start)), (Some(1), Some(3), None));
    }

    /// 1, 3, 4 and 11 are lost, 0 and 10 held back, 6 comes twice. ChaCha8 and the order of the draws decide this.
    const EXACT: &[(u128, u32)] =
        &[(59, 2), (79, 0), (87, 5), (92, 6), (92, 6), (100, 7), (110, 8), (128, 9), (178, 10)];
    const EXACT_STATS: Stats =
        Stats { sent: 12, lost: 4, overflowed: 0, duplicated: 1, reordered: 2, delivered: 9 };
}
