//! How loud it is, and how loud it is when nobody speaks.

use super::Parameters;

/// Samples of a hop: 10 ms.
pub(super) const HOP: usize = 80;
/// Hops of one of the [`SPANS`] whose minima make the floor: 250 ms.
const SPAN: u8 = 25;
/// A floor is the lowest level of the last 1.5 s: longer than the longest stretch of speech without a dip between sounds.
const SPANS: usize = 6;
/// The minimum of a fluctuating power lies below its mean; this much for white noise in windows of 25 ms.
const MINIMUM_BIAS: f32 = 1.6;
/// Bounds of the floor as a mean square: below is digital silence (-70 dB), above (-25 dB) nobody could be understood.
const FLOOR_MIN: f32 = 53.7;
const FLOOR_MAX: f32 = 1_700_000.0;
/// The upper bound (-38 dB) until the floor is known over [`SPANS_KNOWN`]: a voice or a tone that starts with the call must
/// not be taken for noise.
const FLOOR_MAX_AT_FIRST: f32 = 85_000.0;
const SPANS_KNOWN: usize = 3;
/// The mean square of a sine at full scale.
const FULL: f32 = 32_768.0 * 32_768.0 / 2.0;

/// The level of each hop against a floor that follows the noise.
#[derive(Debug)]
pub(super) struct Level {
    above_floor: f32,
    silence: f32,
    /// The power of the last three hops.
    recent: [f32; 3],
    /// The lowest of each span; the last one is still being filled.
    minima: [f32; SPANS],
    hops: u8,
}

impl Level {
    pub(super) fn new(parameters: &Parameters) -> Self {
        Self {
            above_floor: 10f32.powf(parameters.above_floor_db / 10.0),
            silence: FULL * 10f32.powf(parameters.silence_db / 10.0),
            recent: [0.0; 3],
            minima: [f32::MAX; SPANS],
            hops: 0,
        }
    }

    /// Takes the mean square of a hop; whether it is sound rather than silence.
    pub(super) fn hop(&mut self, power: f32) -> bool {
        self.recent.rotate_left(1);
        self.recent[2] = power;
        let mean = self.mean();
        mean > self.silence && mean > self.floor() * self.above_floor
    }

    /// The hop just taken may tell of the noise.
    pub(super) fn learn(&mut self) {
        self.hops += 1;
        if self.hops == SPAN {
            self.hops = 0;
            self.minima.rotate_left(1);
            self.minima[SPANS - 1] = f32::MAX;
        }
        let mean = self.mean();
        let lowest = &mut self.minima[SPANS - 1];
        *lowest = lowest.min(mean);
    }

    fn mean(&self) -> f32 {
        self.recent.iter().sum::<f32>() / self.recent.len() as f32
    }

    /// The mean square of the noise.
    pub(super) fn floor(&self) -> f32 {
        let lowest = self.minima.iter().copied().fold(f32::MAX, f32::min);
        let is_known = self.minima[SPANS - SPANS_KNOWN] < f32::MAX;
        let highest = if is_known { FLOOR_MAX } else { FLOOR_MAX_AT_FIRST };
        (lowest.min(highest) * MINIMUM_BIAS).clamp(FLOOR_MIN, highest)
    }
}

/// A mean square in dB relative to a sine at full scale.
pub(super) fn decibels(power: f32) -> f32 {
    10.0 * (power.max(1e-3) / FULL).log10()
}
