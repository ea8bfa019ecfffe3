//! Finding the period of a voice.

/// Rate of the coarse search: the fundamental and the first formant of any voice lie below 2 kHz.
const COARSE_RATE: usize = 4_000;

/// Coarse samples at most: 40 ms.
const COARSE_MAX: usize = 160;

/// A period, and how alike the sound is one period apart, -1.0 to 1.0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pitch {
    pub(super) lag: usize,
    pub(super) likeness: f32,
}

/// The lag from `min` to `max` samples at which the last `window` samples of `sound` are most like what came before them.
/// `sound` is at least `window + max` long and at most 40 ms are looked at.
pub(super) fn find(sound: &[i16], window: usize, min: usize, max: usize, rate: u32) -> Pitch {
    let step = (rate as usize / COARSE_RATE).max(1);
    let needed = ((window + max) / step).min(COARSE_MAX);
    let mut coarse = [0.0_f32; COARSE_MAX];
    let tail = &sound[sound.len().saturating_sub(needed * step)..];
    for (coarse, part) in coarse.iter_mut().zip(tail.chunks_exact(step)) {
        // A mean is a poor low pass, and enough: what it lets through is found out at the full rate.
        *coarse = part.iter().map(|sample| f32::from(*sample)).sum();
    }
    let coarse = &coarse[..needed.min(tail.len() / step)];
    let rough = best(min.div_ceil(step).max(1)..=max / step, |lag| likeness_f(coarse, window / step, lag));
    let around = (rough.lag * step).saturating_sub(step).max(min)..=(rough.lag * step + step).min(max);
    best(around, |lag| {
        let at = sound.len().saturating_sub(window);
        likeness(&sound[at..], &sound[at.saturating_sub(lag)..])
    })
}

/// How alike two sounds are, as far as the shorter goes: the normalised correlation.
pub(super) fn likeness(a: &[i16], b: &[i16]) -> f32 {
    let (mut cross, mut aa, mut bb) = (0.0_f32, 1.0_f32, 1.0_f32);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f32::from(*a), f32::from(*b));
        cross += a * b;
        aa += a * a;
        bb += b * b;
    }
    cross / (aa * bb).sqrt()
}

fn likeness_f(sound: &[f32], window: usize, lag: usize) -> f32 {
    let at = sound.len().saturating_sub(window);
    let (mut cross, mut aa, mut bb) = (0.0_f32, 1.0_f32, 1.0_f32);
    for (a, b) in sound[at..].iter().zip(&sound[at.saturating_sub(lag)..]) {
        cross += a * b;
        aa += a * a;
        bb += b * b;
    }
    cross / (aa * bb).sqrt()
}

fn best(lags: std::ops::RangeInclusive<usize>, likeness: impl Fn(usize) -> f32) -> Pitch {
    let mut best = Pitch { lag: *lags.start(), likeness: f32::NEG_INFINITY };
    for lag in lags {
        let likeness = likeness(lag);
        if likeness > best.likeness {
            best = Pitch { lag, likeness };
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_of_a_voice_is_found_at_every_rate() {
        for rate in [8_000_u32, 16_000, 48_000] {
            for hz in [80.0_f32, 123.0, 200.0, 310.0] {
                let pulse = |n: usize| {
                    let phase = n as f32 * hz / rate as f32;
                    (1..8).map(|k| (phase * k as f32 * std::f32::consts::TAU).cos()).sum::<f32>() * 2_000.0
                };
                let per_ms = rate as usize / 1000;
                let sound: Vec<i16> = (0..per_ms * 40).map(|n| pulse(n) as i16).collect();
                let pitch = find(&sound, per_ms * 20, per_ms * 5 / 2, per_ms * 15, rate);
                let period = rate as f32 / hz;
                let periods = (pitch.lag as f32 / period).round().max(1.0);
                assert!((pitch.lag as f32 - periods * period).abs() < 1.5, "{rate} {hz}: {pitch:?}");
                assert!(pitch.likeness > 0.95, "{rate} {hz}: {pitch:?}");
            }
        }
    }

    #[test]
    fn silence_has_no_period_and_does_no_harm() {
        let pitch = find(&[0; 400], 160, 20, 120, 8_000);
        assert!((20..=120).contains(&pitch.lag) && pitch.likeness < 0.1, "{pitch:?}");
    }
}
