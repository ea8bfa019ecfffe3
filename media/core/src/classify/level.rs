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
/// Bounds of the floor as a mean square: below is digital silence (-70 dB), and a voice that starts with the call must
/// not be taken for noise (-38 dB).
const FLOOR_MIN: f32 = 53.7;
const FLOOR_MAX: f32 = 85_000.0;
/// The mean square of a sine at full scale.
const FULL: f32 = 32_768.0 * 32_768.0 / 2.0;

/// The level of each hop against a floor that follows the noise.
#[derive(Debug)]
pub(super) struct Level {
    above_floor: f32,
    silence: f32,
    smooth: f32,
    /// The lowest of each span; the last one is still being filled.
    minima: [f32; SPANS],
    hops: u8,
}

impl Level {
    pub(super) fn new(parameters: &Parameters) -> Self {
        Self {
            above_floor: 10f32.powf(parameters.above_floor_db / 10.0),
            silence: FULL * 10f32.powf(parameters.silence_db / 10.0),
            smooth: 0.0,
            minima: [f32::MAX; SPANS],
            hops: 0,
        }
    }

    /// Takes the mean square of a hop; whether it is sound rather than silence.
    pub(super) fn hop(&mut self, power: f32) -> bool {
        self.smooth = 0.5 * self.smooth + 0.5 * power;
        power > self.silence && power > self.floor() * self.above_floor
    }

    /// The hop just taken may tell of the noise.
    pub(super) fn learn(&mut self) {
        self.hops += 1;
        if self.hops == SPAN {
            self.hops = 0;
            self.minima.rotate_left(1);
            self.minima[SPANS - 1] = f32::MAX;
        }
        let lowest = &mut self.minima[SPANS - 1];
        *lowest = lowest.min(self.smooth);
    }

    /// The mean square of the noise.
    pub(super) fn floor(&self) -> f32 {
        let lowest = self.minima.iter().copied().fold(f32::MAX, f32::min);
        (lowest.min(FLOOR_MAX) * MINIMUM_BIAS).clamp(FLOOR_MIN, FLOOR_MAX)
    }
}

/// A mean square in dB relative to a sine at full scale.
pub(super) fn decibels(power: f32) -> f32 {
    10.0 * (power.max(1e-3) / FULL).log10()
}
