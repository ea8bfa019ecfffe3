//! Band-limited conversion between sample rates.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{
    Async, FixedAsync, Indexing, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction, calculate_cutoff,
};

/// Half the filter spans this many samples of the lower of the two rates. 256 with a Blackman-Harris window
/// puts the -6 dB point at 0.968 of its Nyquist frequency. Going to 8 kHz: flat to 3.7 kHz, and below -90 dB from 4 kHz
/// on, which G.711 cannot show (its own noise lies 38 dB below the signal).
const TAPS: usize = 256;
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris;

/// Up to this many phases the filter bank holds each phase of the ratio itself, so that nothing is
/// interpolated: all the rates in use (11.025 kHz needs most: 640 to 16 kHz). Odd rates get 128 phases and cubic
/// interpolation.
const MAX_EXACT_PHASES: usize = 640;

/// Input samples per step. Any number does; this one keeps the buffers in the L2 cache.
const CHUNK: usize = 2048;

/// A stream of mono samples on its way to another rate. Its delay is removed: sample 0 in is sample 0 out, and the
/// last sample in is within the last sample out.
#[derive(Debug)]
pub(crate) enum Resampler {
    /// The source has the rate: its samples are not touched.
    Same {
        rate: u32,
        output: Vec<f32>,
    },
    Sinc(Box<Sinc>),
}

#[derive(Debug)]
pub(crate) struct Sinc {
    sinc: Async<f32>,
    from: u32,
    to: u32,
    /// Input that does not fill a chunk yet.
    pending: Vec<f32>,
    chunk: Vec<f32>,
    received: u64,
    /// Samples of the filter's delay that still have to be dropped.
    delay: usize,
    output: Vec<f32>,
}

impl Resampler {
    pub(crate) fn new(from: u32, to: u32) -> Resampler {
        if from == to {
            return Resampler::Same { rate: to, output: Vec::new() };
        }
        let ratio = f64::from(to) / f64::from(from);
        // The filter's length counts input samples: when going down it is stretched to span the same time.
        let taps = ((TAPS as f64 * (1.0 / ratio).max(1.0)).ceil() as usize).next_multiple_of(8);
        let divisor = gcd(from, to);
        let (n, d) = ((from / divisor) as usize, (to / divisor) as usize);
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
            from,
            to,
            pending: vec![0.0; lead],
            chunk,
            received: 0,
            delay: first - 1,
            output: Vec::new(),
        }))
    }

    /// Samples per second of what comes out.
    pub(crate) fn rate(&self) -> u32 {
        match self {
            Resampler::Same { rate, .. } => *rate,
            Resampler::Sinc(sinc) => sinc.to,
        }
    }

    pub(crate) fn push(&mut self, samples: &[f32]) {
        match self {
            Resampler::Same { output, .. } => output.extend_from_slice(samples),
            Resampler::Sinc(sinc) => sinc.push(samples),
        }
    }

    pub(crate) fn finish(self) -> Vec<f32> {
        match self {
            Resampler::Same { output, .. } => output,
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
        let expected = (self.received * u64::from(self.to)).div_ceil(u64::from(self.from)) as usize;
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

    fn resample(from: u32, to: u32, samples: &[f32]) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to);
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

    const RATES: [u32; 11] =
        [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 44_056];

    /// Every way from one of the rates to a codec's.
    fn ways() -> impl Iterator<Item = (u32, u32)> {
        let ways = RATES.into_iter().flat_map(|from| [(from, 8_000), (from, 16_000)]);
        ways.filter(|(from, to)| from != to)
    }

    #[test]
    fn the_band_is_flat_and_in_phase() {
        for (from, to) in ways() {
            // At the odd rate a delay of the 128th part of a sample remains: -48 dB of "error" at 3.6 kHz, -42 dB at 7.2.
            let floor = if from == 44_056 { -40.0 } else { -60.0 };
            let nyquist = f64::from(from.min(to)) / 2.0;
            for share in [0.0125, 0.075, 0.25, 0.5, 0.85, 0.9] {
                let hz = share * nyquist;
                let out = resample(from, to, &tone(from, hz, 1.0));
                assert!(out.len().abs_diff(to as usize) <= 1, "{from} to {to}: {} samples", out.len());
                let ideal = tone(to, hz, 1.0);
                let error: Vec<f32> = out.iter().zip(&ideal).map(|(a, b)| a - b).collect();
                assert!(level(&error) < floor, "{from} to {to}, tone {hz}: error {:.1} dB", level(&error));
            }
        }
    }

    #[test]
    fn what_lies_above_vanishes() {
        for (from, to) in ways() {
            for share in [1.025, 1.125, 1.25, 1.5, 1.975, 2.75] {
                let hz = share * f64::from(to) / 2.0;
                if hz < f64::from(from) / 2.0 {
                    let out = resample(from, to, &tone(from, hz, 1.0));
                    assert!(level(&out) < -80.0, "{from} to {to}, tone {hz}: {:.1} dB", level(&out));
                }
            }
        }
    }

    #[test]
    fn going_up_adds_nothing_above() {
        // The image of a tone of 3 kHz at 8 kHz would lie at 5 kHz.
        let out = resample(8_000, 16_000, &tone(8_000, 3_000.0, 1.0));
        let image: f64 = out.iter().zip(tone(16_000, 5_000.0, 1.0)).map(|(a, b)| f64::from(a * b)).sum();
        assert!(image.abs() / out.len() as f64 * 8.0 < 1e-4, "{image}");
    }

    #[test]
    fn a_click_stays_where_it_is_up_to_the_last_sample() {
        for (from, to) in ways() {
            for at_ms in [0, 1, 500, 999] {
                let mut samples = vec![0.0; from as usize];
                samples[(at_ms * from / 1_000) as usize] = 1.0;
                let out = resample(from, to, &samples);
                let peak = (0..out.len()).max_by(|a, b| out[*a].abs().total_cmp(&out[*b].abs())).unwrap();
                assert!(
                    peak.abs_diff((at_ms * to / 1_000) as usize) <= 1,
                    "{from} to {to}: {at_ms} ms came out at sample {peak}"
                );
            }
        }
    }

    #[test]
    fn the_same_rate_passes_untouched_and_short_clips_survive() {
        let samples = tone(8_000, 440.0, 0.1);
        assert_eq!(resample(8_000, 8_000, &samples), samples);
        for length in [0, 1, 5, 6, 7, 100] {
            assert_eq!(resample(48_000, 8_000, &vec![0.1; length]).len(), length.div_ceil(6));
            assert_eq!(resample(48_000, 16_000, &vec![0.1; length]).len(), length.div_ceil(3));
        }
    }
}
