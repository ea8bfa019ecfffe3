//! How long packets must wait so that the others of their stream are in time.

/// Microseconds: the unit of everything here, whatever the codec's clock.
pub(super) type Micros = i64;

/// Width of a bin of the histogram: a quarter of the usual packet time, below which no change can be heard.
const BIN: Micros = 5_000;

/// Bins: delays beyond 400 ms are all the same, for no conversation bears them (ITU-T G.114).
const BINS: usize = 80;

/// Share of the packets that shall be in time. The rest is not lost: a late packet that nothing overtook is played as soon
/// as it is there, and the delay grows by what was concealed meanwhile.
const IN_TIME: f32 = 0.97;

/// Packets after which the past has faded to 1/e: ten seconds of the usual ones. A jump of the jitter then shows in the
/// target within `(1 - IN_TIME) * MEMORY` packets, a third of a second.
const MEMORY: f32 = 500.0;

/// Where the first guess lies, and the number of packets that it weighs: what a link over the internet needs.
const FIRST_GUESS: Micros = 40_000;
const FIRST_WEIGHT: f32 = 5.0;

/// The fastest packet of the last two seconds, in steps, is what delays are measured against: short enough to follow clocks
/// that differ by 1000 ppm within 2 ms, long enough to span the pauses between phrases.
const STEP: Micros = 500_000;
const STEPS: usize = 4;

/// Measures the delay of packets against the fastest, and says how long to wait.
#[derive(Debug)]
pub(super) struct Delays {
    /// The smallest transits of the last steps: the newest first.
    fastest: [Micros; STEPS],
    /// When the newest step began; `None` before the first packet.
    began: Option<Micros>,
    share: [f32; BINS],
    packets: f32,
    min: Micros,
    max: Micros,
    /// What the target is at most.
    ceiling: Micros,
    /// What it is longer by, and for how many packets still.
    reserve: (Micros, u32),
    target: Micros,
}

impl Delays {
    /// Between `min` and `max`; the target keeps away from that by `margin`, so that a delay may exceed it a little without
    /// anything being thrown away.
    pub(super) fn new(min: Micros, max: Micros, margin: Micros) -> Self {
        let ceiling = (max - margin).max(min);
        let mut share = [0.0; BINS];
        share[bin(FIRST_GUESS - 1)] = 1.0;
        let target = FIRST_GUESS.clamp(min, ceiling);
        Self {
            fastest: [0; STEPS],
            began: None,
            share,
            packets: FIRST_WEIGHT,
            min,
            max,
            ceiling,
            reserve: (0, 0),
            target,
        }
    }

    /// Another source, or another clock: what is known of the fastest packet is void, the jitter of the path is not.
    pub(super) fn restart(&mut self) {
        self.began = None;
    }

    /// Takes a packet whose transit time (its arrival less its timestamp, with an unknown constant) is `transit`.
    pub(super) fn observe(&mut self, now: Micros, transit: Micros) {
        match &mut self.began {
            None => {
                self.began = Some(now);
                self.fastest = [transit; STEPS];
            }
            Some(began) => {
                let steps = (now - *began).max(0) / STEP;
                if steps > 0 {
                    *began += steps * STEP;
                    let steps = usize::try_from(steps).unwrap_or(STEPS).min(STEPS);
                    self.fastest.copy_within(..STEPS - steps, steps);
                    self.fastest[..steps].fill(transit);
                }
                self.fastest[0] = self.fastest[0].min(transit);
            }
        }
        let keep = 1.0 - 1.0 / (self.packets + 1.0);
        self.packets = (self.packets + 1.0).min(MEMORY);
        self.share.iter_mut().for_each(|share| *share *= keep);
        self.share[bin(transit - self.fastest())] += 1.0 - keep;
        let reserve = match &mut self.reserve {
            (_, 0) => 0,
            (reserve, packets) => {
                *packets -= 1;
                *reserve
            }
        };
        self.target = (self.quantile() + reserve).clamp(self.min, self.ceiling);
    }

    /// Waits longer by `time`, for as long as the past is remembered: a packet was lost, and the one behind it tells what it said
    /// if there is time to wait for that.
    pub(super) fn reserve(&mut self, time: Micros) {
        self.reserve = (time, MEMORY as u32);
    }

    /// The transit time of the fastest packet lately.
    pub(super) fn fastest(&self) -> Micros {
        self.fastest.iter().copied().min().unwrap_or_default()
    }

    /// Whether anything has come since the beginning or a restart.
    pub(super) fn is_known(&self) -> bool {
        self.began.is_some()
    }

    /// How long the fastest packet shall wait.
    pub(super) fn target(&self) -> Micros {
        self.target
    }

    pub(super) fn max(&self) -> Micros {
        self.max
    }

    fn quantile(&self) -> Micros {
        let mut left = 1.0 - IN_TIME;
        // From the long end: few bins are looked at, and rounding cannot hide the rare ones.
        for (number, share) in self.share.iter().enumerate().rev() {
            left -= share;
            if left < 0.0 {
                return (number as Micros + 1) * BIN;
            }
        }
        BIN
    }
}

fn bin(delay: Micros) -> usize {
    usize::try_from(delay / BIN).unwrap_or(0).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Micros = 20_000;
    const MAX: Micros = 200_000;

    /// Feeds packets of 20 ms with these delays; when it ends.
    fn feed(delays: &mut Delays, from: Micros, transits: impl IntoIterator<Item = Micros>) -> Micros {
        let mut now = from;
        for transit in transits {
            delays.observe(now + transit, transit);
            now += 20_000;
        }
        now
    }

    /// A delay from 0 to `width`, any order.
    fn spread(n: Micros, width: Micros) -> Micros {
        n * 7_919 % width
    }

    #[test]
    fn without_jitter_the_target_falls_to_the_least_within_seconds() {
        let mut delays = Delays::new(MIN, MAX, 0);
        assert_eq!(delays.target(), FIRST_GUESS);
        feed(&mut delays, 0, [3_000; 250]);
        assert_eq!(delays.target(), MIN);
    }

    #[test]
    fn the_target_covers_the_jitter_and_follows_it_up_and_down() {
        let mut delays = Delays::new(MIN, MAX, 0);
        let now = feed(&mut delays, 0, (0..500).map(|n| spread(n, 30_000)));
        assert_eq!(delays.target(), 30_000);
        let now = feed(&mut delays, now, (0..50).map(|n| spread(n, 100_000)));
        assert!((60_000..=100_000).contains(&delays.target()), "within a second: {}", delays.target());
        let now = feed(&mut delays, now, (0..450).map(|n| spread(n, 100_000)));
        assert!((95_000..=100_000).contains(&delays.target()), "within ten: {}", delays.target());
        feed(&mut delays, now, (0..2_500).map(|n| spread(n, 20_000)));
        assert_eq!(delays.target(), 20_000, "and back within a minute");
    }

    #[test]
    fn the_target_stays_in_its_bounds() {
        let mut delays = Delays::new(MIN, MAX, 0);
        feed(&mut delays, 0, (0..500).map(|n| spread(n, 1_000_000)));
        assert_eq!(delays.target(), MAX);
    }

    #[test]
    fn the_reference_follows_a_clock_that_drifts() {
        let mut delays = Delays::new(MIN, MAX, 0);
        for drift in [4, -4] {
            // 200 ppm of 20 ms are 4 us a packet.
            feed(&mut delays, 0, (0..30_000).map(|n| n * drift + spread(n, 10_000)));
            assert_eq!(delays.target(), MIN);
            delays.restart();
        }
    }
}
