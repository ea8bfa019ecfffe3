//! Band-limited conversion to 8 kHz.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{
    Async, FixedAsync, Indexing, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction, calculate_cutoff,
};

use crate::RATE;

/// Half the filter spans this many samples of the lower of the two rates. 256 with a Blackman-Harris window
/// puts the -6 dB point at 0.968 of its Nyquist frequency: flat to 3.7 kHz, and below -90 dB from 4 kHz on,
/// which G.711 cannot show (its own noise lies 38 dB below the signal).
const TAPS: usize = 256;
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris;

/// Up to this many phases the filter bank holds each phase of the ratio itself, so that nothing is
/// interpolated: all the rates in use (11.025 kHz needs most: 320). Odd rates get 128 phases and cubic
/// interpolation.
const MAX_EXACT_PHASES: usize = 512;

/// Input samples per step. Any number does; this one keeps the buffers in the L2 cache.
const CHUNK: usize = 2048;

/// A stream of mono samples on its way to 8 kHz. Its delay is removed: sample 0 in is sample 0 out, and the
/// last sample in is within the last sample out.
#[derive(Debug)]
pub(crate) enum Resampler {
    /// The source has 8 kHz: its samples are not touched.
    Same {
        output: Vec<f32>,
    },
    Sinc(Box<Sinc>),
}

#[derive(Debug)]
pub(crate) struct Sinc {
    sinc: Async<f32>,
    rate: u32,
    /// Input that does not fill a chunk yet.
    pending: Vec<f32>,
    chunk: Vec<f32>,
    received: u64,
    /// Samples of the filter's delay that still have to be dropped.
    delay: usize,
    output: Vec<f32>,
}

impl Resampler {
    pub(crate) fn new(rate: u32) -> Resampler {
        if rate == RATE {
            return Resampler::Same { output: Vec::new() };
        }
        let ratio = f64::from(RATE) / f64::from(rate);
        // The filter's length counts input samples: when going down it is stretched to span the same time.
        let taps = ((TAPS as f64 * (1.0 / ratio).max(1.0)).ceil() as usize).next_multiple_of(8);
        let divisor = gcd(rate, RATE);
        let (n, d) = ((rate / divisor) as usize, (RATE / divisor) as usize);
        let (phases, interpolation, late) = if d <= MAX_EXACT_PHASES {
            (d, SincInterpolationType::Nearest, 1)
        } else {
            (128, SincInterpolationType::Cubic, 0)
        };
        // The filter's k-th output, counted from 1, stands at the input time k * n / d - taps / 2, late by
        // one phase (left out where it is the 128th part of a sample). With some silence before the input,
        // one output meets its first sample exactly; those before it are dropped.
        let first = (1..)
            .find(|k| (k * n + late) % d == 0 && (k * n + late) / d >= taps / 2)
            .expect("n and d have no common divisor, so every d-th k divides");
        let lead = (first * n + late) / d - taps / 2;
        let parameters = SincInterpolationParameters::new(taps, WINDOW)
            .f_cutoff(calculate_cutoff(TAPS, WINDOW))
            .oversampling_factor(phases)
            .interpolation(interpolation);
        let sinc = Async::new_sinc(ratio, 1.0, &parameters, CHUNK, 1, FixedAsync::Input)
            .expect("ratio is finite and positive, CHUNK is not 0, there is one channel");
        let chunk = vec![0.0; sinc.output_frames_max()];
        Resampler::Sinc(Box::new(Sinc {
            sinc,
            rate,
            pending: vec![0.0; lead],
            chunk,
            received: 0,
            delay: first - 1,
            output: Vec::new(),
        }))
    }

    pub(crate) fn push(&mut self, samples: &[f32]) {
        match self {
            Resampler::Same { output } => output.extend_from_slice(samples),
            Resampler::Sinc(sinc) => sinc.push(samples),
        }
    }

    pub(crate) fn finish(self) -> Vec<f32> {
        match self {
            Resampler::Same { output } => output,
            Resampler::Sinc(sinc) => sinc.finish(),
        }
    }
}

impl Sinc {
    fn push(&mut self, samples: &[f32]) {
        self.received += samples.len() as u64;
        self.pending.extend_from_slice(samples);
        let mut used = 0;
        while self.pending.len() - used >= CHUNK {
            self.step(used, CHUNK);
            used += CHUNK;
        }
        self.pending.drain(..used);
    }

    fn finish(mut self: Box<Self>) -> Vec<f32> {
        let expected = (self.received * u64::from(RATE)).div_ceil(u64::from(self.rate)) as usize;
        // The tail, then silence until the last sample has come out of the filter.
        let mut left = self.pending.len();
        while self.output.len() < expected {
            self.step(0, left);
            left = 0;
        }
        self.output.truncate(expected);
        self.output
    }

    /// Filters `valid` samples of `pending` from `from` on, followed by silence up to a whole chunk.
    fn step(&mut self, from: usize, valid: usize) {
        let input = &self.pending[from..from + valid];
        let frames = self.chunk.len();
        let mut indexing = Indexing::new();
        if valid < CHUNK {
            indexing = indexing.partial_len(valid);
        }
        let input =
            SequentialSlice::new(input, 1, valid).expect("the slice has `valid` frames of one channel");
        let mut output = SequentialSlice::new_mut(&mut self.chunk, 1, frames)
            .expect("the chunk has `frames` frames of one channel");
        let (_, written) = self
            .sinc
            .process_into_buffer(&input, &mut output, Some(&indexing))
            .expect("both buffers have the sizes that the resampler asks for");
        let skip = self.delay.min(written);
        self.delay -= skip;
        self.output.extend_from_slice(&self.chunk[skip..written]);
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn resample(rate: u32, samples: &[f32]) -> Vec<f32> {
        let mut resampler = Resampler::new(rate);
        for part in samples.chunks(1152) {
            resampler.push(part);
        }
        resampler.finish()
    }

    fn tone(rate: u32, hz: f64, seconds: f64) -> Vec<f32> {
        let samples = (seconds * f64::from(rate)) as usize;
        (0..samples).map(|n| (0.5 * (TAU * hz * n as f64 / f64::from(rate)).sin()) as f32).collect()
    }

    /// Level of `samples` against a sine of amplitude 0.5, in dB, without the filter's edges.
    fn level(samples: &[f32]) -> f64 {
        let middle = &samples[800..samples.len() - 800];
        let power = middle.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / middle.len() as f64;
        10.0 * (power / 0.125).max(1e-12).log10()
    }

    const RATES: [u32; 10] = [11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 44_056];

    #[test]
    fn the_speech_band_is_flat_and_in_phase() {
        for rate in RATES {
            // At the odd rate a delay of the 128th part of a sample remains: -48 dB of "error" at 3.6 kHz.
            let floor = if rate == 44_056 { -45.0 } else { -60.0 };
            for hz in [50.0, 300.0, 1_000.0, 2_000.0, 3_400.0, 3_600.0] {
                let out = resample(rate, &tone(rate, hz, 1.0));
                assert!((out.len() as i64 - 8_000).abs() <= 1, "{rate}: {} samples", out.len());
                let ideal = tone(RATE, hz, 1.0);
                let error: Vec<f32> = out.iter().zip(&ideal).map(|(a, b)| a - b).collect();
                assert!(level(&error) < floor, "{rate} Hz, tone {hz}: error {:.1} dB", level(&error));
            }
        }
    }

    #[test]
    fn what_lies_above_vanishes() {
        for rate in RATES {
            for hz in [4_100.0, 4_500.0, 5_000.0, 6_000.0, 7_900.0, 11_000.0] {
                if hz < f64::from(rate) / 2.0 {
                    let out = resample(rate, &tone(rate, hz, 1.0));
                    assert!(level(&out) < -80.0, "{rate} Hz, tone {hz}: {:.1} dB", level(&out));
                }
            }
        }
    }

    #[test]
    fn a_click_stays_where_it_is_up_to_the_last_sample() {
        for rate in RATES {
            for at_ms in [0, 1, 500, 999] {
                let mut samples = vec![0.0; rate as usize];
                samples[(at_ms * rate / 1_000) as usize] = 1.0;
                let out = resample(rate, &samples);
                let peak = (0..out.len()).max_by(|a, b| out[*a].abs().total_cmp(&out[*b].abs())).unwrap();
                assert!(
                    peak.abs_diff(at_ms as usize * 8) <= 1,
                    "{rate}: {at_ms} ms came out at sample {peak}"
                );
            }
        }
    }

    #[test]
    fn eight_kilohertz_passes_untouched_and_short_clips_survive() {
        let samples = tone(RATE, 440.0, 0.1);
        assert_eq!(resample(RATE, &samples), samples);
        for length in [0, 1, 5, 6, 7, 100] {
            assert_eq!(resample(48_000, &vec![0.1; length]).len(), length.div_ceil(6));
        }
    }
}
