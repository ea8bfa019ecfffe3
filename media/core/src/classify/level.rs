//! How loud it is, and how loud it is when nobody speaks.

use super::Parameters;

/// Samples of a hop: 10 ms.
pub(super) const HOP: usize = 80;
/// Hops of a span: 250 ms.
const SPAN: u8 = 25;
/// So many spans in a row that do not go up and down are noise, however loud: no sound of speech goes on for 750 ms.
const SPANS: usize = 3;
/// How much louder the loudest 30 ms of such a span are than its softest (3.5 dB): noise is steadier; a voice that reads off
/// is not, for three spans in a row.
const STEADY: f32 = 2.24;
/// Where sound has begun, what is softer by this much (3 dB) still belongs to it.
const HOLDS_ON: f32 = 0.5;
/// The softest 30 ms of noise lie this much below its mean (2 dB).
const MINIMUM_BIAS: f32 = 1.6;
/// Bounds of the floor as a mean square: below is digital silence (-70 dB), above (-25 dB) nobody could be understood.
const FLOOR_MIN: f32 = 53.7;
const FLOOR_MAX: f32 = 1_700_000.0;
/// The upper bound (-38 dB) until the floor is known over [`SPANS`]: a voice or a tone that starts with the call must not
/// be taken for noise.
const FLOOR_MAX_AT_FIRST: f32 = 85_000.0;
/// The mean square of a sine at full scale.
const FULL: f32 = 32_768.0 * 32_768.0 / 2.0;

/// The level of each hop against a floor that follows the noise: down at once, up when it is steady.
#[derive(Debug)]
pub(super) struct Level {
    above_floor: f32,
    silence: f32,
    /// The last hop was sound.
    sounds: bool,
    /// The power of the last three hops.
    recent: [f32; 3],
    /// The floor that each of the last spans allows.
    spans: [f32; SPANS],
    span: Span,
}

/// The span that is being filled.
#[derive(Debug, Clone, Copy)]
struct Span {
    softest: f32,
    loudest: f32,
    hops: u8,
}

const EMPTY: Span = Span { softest: f32::MAX, loudest: 0.0, hops: 0 };

impl Level {
    pub(super) fn new(parameters: &Parameters) -> Self {
        Self {
            above_floor: 10f32.powf(parameters.above_floor_db / 10.0),
            silence: FULL * 10f32.powf(parameters.silence_db / 10.0),
            sounds: false,
            recent: [0.0; 3],
            spans: [f32::MAX; SPANS],
            span: EMPTY,
        }
    }

    /// Takes the mean square of a hop; whether it is sound rather than silence.
    pub(super) fn hop(&mut self, power: f32) -> bool {
        self.recent.rotate_left(1);
        self.recent[2] = power;
        let mean = self.mean();
        let least = self.silence.max(self.floor() * self.above_floor);
        self.sounds = mean > if self.sounds { HOLDS_ON * least } else { least };
        self.sounds
    }

    /// The hop just taken may tell of the noise.
    pub(super) fn learn(&mut self) {
        let mean = self.mean();
        // Silence of digits is no noise: what comes after it may be the first of it.
        if mean < FLOOR_MIN {
            return;
        }
        let span = &mut self.span;
        (span.softest, span.loudest) = (span.softest.min(mean), span.loudest.max(mean));
        span.hops += 1;
        if span.hops == SPAN {
            let Span { softest, loudest, .. } = std::mem::replace(&mut self.span, EMPTY);
            let steady = loudest <= STEADY * softest;
            let allowed = if steady { softest } else { softest.min(self.lowest()) };
            self.spans.rotate_left(1);
            self.spans[SPANS - 1] = allowed;
        }
    }

    /// The mean square of the last 30 ms.
    pub(super) fn mean(&self) -> f32 {
        self.recent.iter().sum::<f32>() / self.recent.len() as f32
    }

    fn lowest(&self) -> f32 {
        self.spans.iter().copied().fold(self.span.softest, f32::min)
    }

    /// The mean square of the noise.
    pub(super) fn floor(&self) -> f32 {
        let is_known = self.spans[0] < f32::MAX;
        let highest = if is_known { FLOOR_MAX } else { FLOOR_MAX_AT_FIRST };
        (self.lowest().min(highest) * MINIMUM_BIAS).clamp(FLOOR_MIN, highest)
    }
}

/// A mean square in dB relative to a sine at full scale.
pub(super) fn decibels(power: f32) -> f32 {
    10.0 * (power.max(1e-3) / FULL).log10()
}
