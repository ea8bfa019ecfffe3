//! Sound in the place of what is lost: the waveform goes on in its period and fades (in the manner of ITU-T G.711,
//! Appendix I, at any rate).

use super::noise::Noise;
use super::pitch;

/// The longest period, as of Appendix I; the lowest male voices have 15 ms.
pub(super) const MAX_PERIOD_MS: usize = 15;
/// The shortest, likewise: higher voices are continued by two or three of their periods.
const MIN_PERIOD_MS: usize = 5;
/// Over how much the period is looked for. Appendix I takes 20 ms; the latest 10 are more like what would have come.
const WINDOW_MS: usize = 10;
/// Periods that are repeated at most.
const MAX_PERIODS: usize = 3;
/// After how long one more is. Appendix I takes 10 ms; the last period is the most like what would have come, and it is only
/// after 20 that it sounds like a machine.
const PERIOD_LASTS_MS: usize = 20;
/// How long the sound goes on as loud as it was, and until when it has faded.
const LOUD_MS: usize = 10;
const FADED_MS: usize = 60;
/// Beyond three periods of the longest there is the quarter of one that they are joined with.
pub(super) const PAST_MS: usize = MAX_PERIODS * MAX_PERIOD_MS + MAX_PERIOD_MS.div_ceil(4);

/// Continues a sound.
#[derive(Debug)]
pub(super) struct Concealer {
    rate: u32,
    /// What was heard last.
    past: Box<[i16]>,
    lag: usize,
    cycle: Cycle,
    /// The cycle before, while it fades into this one, and samples until it is gone.
    leaving: Option<(Cycle, usize)>,
    /// Samples made up so far.
    made: usize,
    /// By how much the last sample heard lies above where the cycle begins.
    step: f32,
}

/// Goes round in the last periods of what was heard.
#[derive(Debug, Clone, Copy)]
struct Cycle {
    periods: usize,
    at: usize,
}

impl Concealer {
    pub(super) fn new(rate: u32) -> Self {
        let ms = rate as usize / 1000;
        // Silence that has faded long ago.
        Self {
            rate,
            past: vec![0; PAST_MS * ms].into(),
            lag: MAX_PERIOD_MS * ms,
            cycle: Cycle { periods: MAX_PERIODS, at: 0 },
            leaving: None,
            made: FADED_MS * ms,
            step: 0.0,
        }
    }

    /// Begins where `heard` ends; it is at least [`PAST_MS`] long.
    pub(super) fn begin(&mut self, heard: &[i16]) {
        let from = heard.len() - self.past.len();
        self.past.copy_from_slice(&heard[from..]);
        let ms = self.rate as usize / 1000;
        let found =
            pitch::find(&self.past, WINDOW_MS * ms, MIN_PERIOD_MS * ms, MAX_PERIOD_MS * ms, self.rate);
        self.lag = found.lag;
        self.cycle = Cycle { periods: 1, at: 0 };
        self.leaving = None;
        self.made = 0;
        let last = self.past[self.past.len() - 1];
        self.step = f32::from(last) - f32::from(self.past[self.past.len() - 1 - self.lag]);
    }

    /// Samples made up since [`Concealer::begin`].
    pub(super) fn made(&self) -> usize {
        self.made
    }

    /// The period of what was heard.
    pub(super) fn period(&self) -> usize {
        self.lag
    }

    /// Whether the sound has gone over to noise.
    pub(super) fn faded(&self) -> bool {
        self.made >= self.samples(FADED_MS)
    }

    /// Goes on.
    pub(super) fn fill(&mut self, out: &mut [i16], noise: &mut Noise) {
        if self.faded() {
            return out.iter_mut().for_each(|out| *out = noise.next() as i16);
        }
        let join = self.join();
        let loud = self.samples(LOUD_MS);
        let fading = (self.samples(FADED_MS) - loud) as f32;
        for out in out {
            let periods = (self.made / self.samples(PERIOD_LASTS_MS) + 1).min(MAX_PERIODS);
            if periods > self.cycle.periods {
                self.leaving = Some((self.cycle, join));
                self.cycle.periods = periods;
            }
            let mut sound = self.sample(self.cycle, join);
            self.cycle.advance(self.lag);
            if let Some((mut cycle, left)) = self.leaving.take() {
                let weight = left as f32 / (join + 1) as f32;
                sound += (self.sample(cycle, join) - sound) * weight;
                cycle.advance(self.lag);
                self.leaving = (left > 1).then_some((cycle, left - 1));
            }
            if self.made < join {
                sound += self.step * (join - self.made) as f32 / (join + 1) as f32;
            }
            let gain = 1.0 - (self.made.saturating_sub(loud) as f32 / fading).min(1.0);
            *out = (sound * gain + noise.next() * (1.0 - gain)) as i16;
            self.made += 1;
        }
    }

    /// A quarter of a period.
    fn join(&self) -> usize {
        (self.lag / 4).max(1)
    }

    fn samples(&self, ms: usize) -> usize {
        self.rate as usize / 1000 * ms
    }

    /// The sample of the cycle, whose end goes over into its beginning.
    fn sample(&self, cycle: Cycle, join: usize) -> f32 {
        let length = cycle.periods * self.lag;
        let start = self.past.len() - length;
        let sample = f32::from(self.past[start + cycle.at]);
        match (cycle.at + join).checked_sub(length) {
            None => sample,
            Some(into) => {
                let before = f32::from(self.past[start - join + into]);
                sample + (before - sample) * (into + 1) as f32 / (join + 1) as f32
            }
        }
    }
}

impl Cycle {
    fn advance(&mut self, lag: usize) {
        self.at = (self.at + 1) % (self.periods * lag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(n: usize) -> f32 {
        (n as f32 * 150.0 / 8_000.0 * std::f32::consts::TAU).sin() * 8_000.0
    }

    #[test]
    fn a_tone_goes_on_and_fades_within_sixty_milliseconds() {
        let mut concealer = Concealer::new(8_000);
        let heard: Vec<i16> = (0..600).map(|n| tone(n) as i16).collect();
        concealer.begin(&heard);
        let mut noise = Noise::new();
        noise.describe(&[127]);
        let mut out = [0; 640];
        concealer.fill(&mut out, &mut noise);
        for (n, sample) in out[..80].iter().enumerate() {
            let wanted = tone(600 + n);
            assert!((f32::from(*sample) - wanted).abs() < 1_200.0, "{n}: {sample} for {wanted}");
        }
        let loudest = |part: &[i16]| part.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!((3_500..7_000).contains(&loudest(&out[240..320])), "{}", loudest(&out[240..320]));
        assert!(concealer.faded());
        assert_eq!(loudest(&out[480..]), 0);
        let steps = out.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap();
        assert!(steps < 1_500, "no click: {steps}");
    }

    #[test]
    fn any_past_is_continued() {
        for rate in [8_000, 16_000, 48_000] {
            let mut concealer = Concealer::new(rate);
            let mut random = 1_u32;
            let heard: Vec<i16> = std::iter::repeat_with(|| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 16) as i16
            })
            .take(rate as usize / 1000 * 60)
            .collect();
            let mut out = vec![0; rate as usize / 5];
            concealer.fill(&mut out, &mut Noise::new());
            assert!(out.iter().all(|sample| *sample == 0), "silence before the beginning");
            concealer.begin(&heard);
            concealer.fill(&mut out, &mut Noise::new());
            assert!(concealer.faded());
        }
    }
}
