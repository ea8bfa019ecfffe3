//! Which one or two tones the last 32 ms consist of, if they consist of tones.

use std::f32::consts::PI;
use std::sync::LazyLock;

/// Samples of a window: 32 ms, so that two windows fit into the shortest beep with room to spare.
pub(super) const WINDOW: usize = 256;
const HALF: usize = WINDOW / 2;
/// 8000 / 256.
const BIN_HZ: f32 = 31.25;
/// The telephone band, in bins: 250 to 3625 Hz. Mains hum and the edges of the band are nobody's tone.
const LOWEST: usize = 8;
/// What lies below still counts against a tone, down to 125 Hz: there the voices are that sound like one above.
const LOWEST_HEARD: usize = 4;
const HIGHEST: usize = 116;
/// Bins to either side of a peak that belong to its tone: the main lobe of a Hann window is two wide, the third takes in
/// a second tone that is too near to have a peak of its own (440 and 480 Hz).
const LOBE: usize = 3;
/// The part of the power that one or two tones must hold. Vowels leave more than this between their harmonics; a tone
/// 12 dB above white noise has 0.95.
const TONAL: f32 = 0.88;
/// A second tone has at least this part of the power of the first (-12 dB); both of any pair in use are nearly alike.
const SECOND: f32 = 0.06;

/// One or two tones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tones {
    /// Hz.
    pub(super) low: f32,
    /// Hz, if there are two.
    pub(super) high: Option<f32>,
}

struct Tables {
    /// Hann.
    window: [f32; WINDOW],
    /// cos and sin of 2πk/256.
    twiddle: [(f32, f32); HALF],
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
    window: std::array::from_fn(|n| 0.5 - 0.5 * (2.0 * PI * n as f32 / WINDOW as f32).cos()),
    twiddle: std::array::from_fn(|k| {
        let angle = 2.0 * PI * k as f32 / WINDOW as f32;
        (angle.cos(), angle.sin())
    }),
});

/// The tones in `samples`, unless something else holds more of their power than tones may leave. `noise` is the mean
/// square of the noise floor, which is not held against a tone.
pub(super) fn tones(samples: &[f32; WINDOW], noise: f32) -> Option<Tones> {
    let power = power(samples);
    let all: f32 = power[LOWEST_HEARD..=HIGHEST].iter().sum();
    // Parseval over half the spectrum; 0.375 is the mean square of the window. White noise fills the band evenly.
    let floor = noise * 0.375 * (WINDOW * HALF) as f32 * (HIGHEST - LOWEST_HEARD + 1) as f32 / HALF as f32;
    let all = (all - floor).max(0.25 * all);
    let (first, first_power) = strongest(&power, None)?;
    let (second, second_power) = strongest(&power, Some(first))?;
    if all <= 0.0 || first_power + second_power < TONAL * all {
        return None;
    }
    let first_hz = frequency(&power, first);
    if second_power < SECOND * first_power {
        return Some(Tones { low: first_hz, high: None });
    }
    let second_hz = frequency(&power, second);
    Some(Tones { low: first_hz.min(second_hz), high: Some(first_hz.max(second_hz)) })
}

/// The highest peak away from `beside`, and the power of its lobe.
fn strongest(power: &[f32; HALF], beside: Option<usize>) -> Option<(usize, f32)> {
    let free = |bin: usize| beside.is_none_or(|peak| bin.abs_diff(peak) > LOBE);
    let peak = (LOWEST..=HIGHEST).filter(|bin| free(*bin)).max_by(|a, b| power[*a].total_cmp(&power[*b]))?;
    // At an edge the highest may be the slope of something beyond.
    if beside.is_none() && power[peak] < power[peak - 1].max(power[peak + 1]) {
        return None;
    }
    let lobe = (peak - LOBE..=peak + LOBE).filter(|bin| free(*bin)).map(|bin| power[bin]).sum();
    Some((peak, lobe))
}

/// Where between the bins a tone lies: for a Hann window the ratio of the two highest bins tells exactly
/// (Grandke, "Interpolation algorithms for discrete Fourier transforms of weighted signals", 1983).
fn frequency(power: &[f32; HALF], peak: usize) -> f32 {
    let (below, at, above) = (power[peak - 1].sqrt(), power[peak].sqrt(), power[peak + 1].sqrt());
    let offset = |neighbour: f32| (2.0 * neighbour - at) / (neighbour + at);
    let offset = if above > below { offset(above) } else { -offset(below) };
    (peak as f32 + offset.clamp(-0.5, 0.5)) * BIN_HZ
}

/// The power in each bin, by a complex transform of half the length over even and odd samples.
fn power(samples: &[f32; WINDOW]) -> [f32; HALF] {
    let tables = &*TABLES;
    let mut re = [0.0f32; HALF];
    let mut im = [0.0f32; HALF];
    for n in 0..HALF {
        // Bit-reversed order: 128 = 2^7.
        let place = (n as u8).reverse_bits() as usize >> 1;
        re[place] = samples[2 * n] * tables.window[2 * n];
        im[place] = samples[2 * n + 1] * tables.window[2 * n + 1];
    }
    let mut span = 1;
    while span < HALF {
        let stride = HALF / span;
        for start in (0..HALF).step_by(2 * span) {
            for k in 0..span {
                let (cos, sin) = tables.twiddle[k * stride];
                let (a, b) = (start + k, start + k + span);
                let (x, y) = (re[b] * cos + im[b] * sin, im[b] * cos - re[b] * sin);
                (re[b], im[b]) = (re[a] - x, im[a] - y);
                (re[a], im[a]) = (re[a] + x, im[a] + y);
            }
        }
        span *= 2;
    }
    let mut power = [0.0f32; HALF];
    for k in 1..HALF {
        let mirror = HALF - k;
        let (even_re, even_im) = (0.5 * (re[k] + re[mirror]), 0.5 * (im[k] - im[mirror]));
        let (odd_re, odd_im) = (0.5 * (im[k] + im[mirror]), 0.5 * (re[mirror] - re[k]));
        let (cos, sin) = tables.twiddle[k];
        let (x, y) = (even_re + odd_re * cos + odd_im * sin, even_im + odd_im * cos - odd_re * sin);
        power[k] = x * x + y * y;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(tones: &[(f32, f32)]) -> [f32; WINDOW] {
        std::array::from_fn(|n| {
            tones
                .iter()
                .map(|(hz, amplitude)| amplitude * (2.0 * PI * hz * n as f32 / 8000.0 + 0.7).sin())
                .sum()
        })
    }

    #[test]
    fn the_transform_is_the_sum_that_defines_it() {
        let samples: [f32; WINDOW] = std::array::from_fn(|n| ((n * n * 31 + n * 7) % 257) as f32 - 128.0);
        let fast = power(&samples);
        for (k, fast) in fast.into_iter().enumerate().skip(1) {
            let (mut re, mut im) = (0.0f64, 0.0f64);
            for (n, (sample, weight)) in samples.iter().zip(&TABLES.window).enumerate() {
                let angle = std::f64::consts::TAU * (k * n) as f64 / WINDOW as f64;
                re += f64::from(sample * weight) * angle.cos();
                im -= f64::from(sample * weight) * angle.sin();
            }
            let slow = re * re + im * im;
            assert!((f64::from(fast) - slow).abs() <= 1e-3 * slow + 1.0, "bin {k}: {fast} and {slow}");
        }
    }

    #[test]
    fn one_tone_is_measured_to_the_hertz() {
        for hz in [350.0, 425.0, 440.0, 913.8, 985.2, 1100.0, 1428.5, 1776.7, 2100.0, 2200.0] {
            let tones = tones(&sum(&[(hz, 1000.0)]), 0.0).unwrap();
            assert!((tones.low - hz).abs() < 1.0 && tones.high.is_none(), "{hz}: {tones:?}");
        }
    }

    #[test]
    fn two_tones_are_told_apart_and_three_are_none() {
        let two = tones(&sum(&[(480.0, 1000.0), (620.0, 800.0)]), 0.0).unwrap();
        assert!((two.low - 480.0).abs() < 5.0 && (two.high.unwrap() - 620.0).abs() < 5.0, "{two:?}");
        assert_eq!(tones(&sum(&[(500.0, 1000.0), (1000.0, 1000.0), (1500.0, 1000.0)]), 0.0), None);
        assert_eq!(tones(&[0.0; WINDOW], 0.0), None);
    }
}
