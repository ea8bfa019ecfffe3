//! From 8, 16 or 48 kHz to another of them, in fixed ratios: a polyphase filter of linear phase, in 16-bit arithmetic.
//!
//! Between 0 and 3.4 kHz (7 kHz between 16 and 48 kHz) it is flat within 0.1 dB, and what that leaves as images lies 60 dB
//! down or more. On the way down so does everything from half the lower rate on, for what folds back is heard among speech.
//! On the way up the filter is half way down at half the lower rate: what is sent of narrowband speech between 3.4 and 4 kHz
//! is worth more than freedom from its faint images just above, 0.09 to 0.14 of wideband PESQ from A-law to Opus.
//!
//! From 8 kHz it delays by 2 ms and to 8 kHz by 3 ms, from 16 to 48 kHz by 1 ms and back by 2 ms.
//!
//! The taps are worked out by the compiler: samples of sinc under a Kaiser window, in an array of fixed size for each
//! phase, so that a sum over them becomes a few multiply-and-add instructions over whole registers. All arithmetic is of
//! integers and the same on every machine.

use std::f64::consts::PI;

/// A stream of one rate on its way to another; a value with a memory of a few milliseconds, one per stream.
///
/// Nothing allocates. How a stream is cut makes no difference, so long as the pieces are whole milliseconds.
#[derive(Debug, Clone)]
pub struct Resampler {
    ratio: Ratio,
    /// The samples that the filter still reaches back to, and behind them room for the next millisecond.
    line: [i16; LINE],
}

/// What becomes of a millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ratio {
    /// One rate, in samples a millisecond: nothing.
    Same(usize),
    From8To16,
    From8To48,
    From16To48,
    From16To8,
    From48To8,
    From48To16,
}

/// Taps in each phase on the way up: 4 ms of 8 kHz.
const UP: usize = 32;
/// Taps in each phase on the way down, where the lower rate is 8 kHz: 6 ms of it.
const NARROW: usize = 48;
/// The same, where it is 16 kHz: 4 ms of it.
const WIDE: usize = 64;

static UP_BY_2: Up<UP, 2> = Up::DESIGN;
static UP_BY_3: Up<UP, 3> = Up::DESIGN;
static UP_BY_6: Up<UP, 6> = Up::DESIGN;
static NARROW_BY_2: Down<NARROW, 2> = Down::design(3_680.0 / 8_000.0);
static NARROW_BY_6: Down<NARROW, 6> = Down::design(3_680.0 / 8_000.0);
static WIDE_BY_3: Down<WIDE, 3> = Down::design(7_480.0 / 16_000.0);

/// Samples in a millisecond of the highest rate.
const MOST: usize = 48;
/// The longest filter at its higher rate, and a millisecond.
const LINE: usize = NARROW * 6 + MOST;

impl Resampler {
    /// Between two rates in hertz, each of them 8000, 16000 or 48000 (`None` for any other). Between a rate and itself
    /// nothing is done or delayed.
    pub const fn new(from: u32, to: u32) -> Option<Self> {
        let ratio = match (from, to) {
            (8_000, 8_000) | (16_000, 16_000) | (48_000, 48_000) => Ratio::Same(from as usize / 1000),
            (8_000, 16_000) => Ratio::From8To16,
            (8_000, 48_000) => Ratio::From8To48,
            (16_000, 48_000) => Ratio::From16To48,
            (16_000, 8_000) => Ratio::From16To8,
            (48_000, 8_000) => Ratio::From48To8,
            (48_000, 16_000) => Ratio::From48To16,
            _ => return None,
        };
        Some(Self { ratio, line: [0; LINE] })
    }

    /// Brings `input` to the other rate, at the front of `output`, and returns how many samples that were.
    ///
    /// A millisecond is the smallest thing it knows: what `input` holds beyond a whole number of them is left out, and so
    /// is what `output` has no room for.
    pub fn process(&mut self, input: &[i16], output: &mut [i16]) -> usize {
        match self.ratio {
            Ratio::Same(per_ms) => {
                let count = input.len().min(output.len()) / per_ms * per_ms;
                output[..count].copy_from_slice(&input[..count]);
                count
            }
            Ratio::From8To16 => self.up::<8, 16, UP, 2>(&UP_BY_2, input, output),
            Ratio::From8To48 => self.up::<8, 48, UP, 6>(&UP_BY_6, input, output),
            Ratio::From16To48 => self.up::<16, 48, UP, 3>(&UP_BY_3, input, output),
            Ratio::From16To8 => self.down::<16, 8, NARROW, 2>(&NARROW_BY_2, input, output),
            Ratio::From48To8 => self.down::<48, 8, NARROW, 6>(&NARROW_BY_6, input, output),
            Ratio::From48To16 => self.down::<48, 16, WIDE, 3>(&WIDE_BY_3, input, output),
        }
    }

    /// Forgets what it has heard, as at the beginning of another stream.
    pub const fn reset(&mut self) {
        self.line = [0; LINE];
    }

    /// `PHASES` samples for each one: every phase of the filter over the same past.
    fn up<const FROM: usize, const TO: usize, const TAPS: usize, const PHASES: usize>(
        &mut self,
        filter: &Up<TAPS, PHASES>,
        input: &[i16],
        output: &mut [i16],
    ) -> usize {
        let past = TAPS - 1;
        let (input, _) = input.as_chunks::<FROM>();
        let (output, _) = output.as_chunks_mut::<TO>();
        for (input, output) in input.iter().zip(output.iter_mut()) {
            self.line[past..past + FROM].copy_from_slice(input);
            let (output, _) = output.as_chunks_mut::<PHASES>();
            for (window, output) in self.line.windows(TAPS).zip(output) {
                let Some(window) = window.first_chunk() else { continue };
                for (taps, sample) in filter.0.iter().zip(output) {
                    *sample = rounded(dot(taps, window));
                }
            }
            self.line.copy_within(FROM..past + FROM, 0);
        }
        input.len().min(output.len()) * TO
    }

    /// One sample for every `PHASES`: the whole filter over them and the past.
    fn down<const FROM: usize, const TO: usize, const TAPS: usize, const PHASES: usize>(
        &mut self,
        filter: &Down<TAPS, PHASES>,
        input: &[i16],
        output: &mut [i16],
    ) -> usize {
        let past = TAPS * PHASES - 1;
        let (input, _) = input.as_chunks::<FROM>();
        let (output, _) = output.as_chunks_mut::<TO>();
        for (input, output) in input.iter().zip(output.iter_mut()) {
            self.line[past..past + FROM].copy_from_slice(input);
            for (window, sample) in self.line.windows(TAPS * PHASES).step_by(PHASES).zip(output) {
                let (parts, _) = window.as_chunks::<TAPS>();
                let sum = filter.0.iter().zip(parts).map(|(taps, part)| dot(taps, part)).sum();
                *sample = rounded(sum);
            }
            self.line.copy_within(FROM..past + FROM, 0);
        }
        input.len().min(output.len()) * TO
    }
}

/// Of a tap that says 1.
const BITS: u32 = 15;

/// A low-pass filter of `TAPS * PHASES` taps at the higher rate, reversed, so that the past can be walked forwards: by phase,
/// each of which has a gain of one.
struct Up<const TAPS: usize, const PHASES: usize>([[i16; TAPS]; PHASES]);

/// The same with the taps in their order; all together have a gain of one.
struct Down<const TAPS: usize, const PHASES: usize>([[i16; TAPS]; PHASES]);

impl<const TAPS: usize, const PHASES: usize> Up<TAPS, PHASES> {
    /// The one that halves the amplitude at half the lower rate.
    const DESIGN: Self = {
        let mut up = [[0; TAPS]; PHASES];
        let mut n = 1;
        while n < TAPS * PHASES {
            up[n % PHASES][TAPS - 1 - n / PHASES] = nearest(tap::<TAPS, PHASES>(n, 0.5));
            n += 1;
        }
        Self(up)
    };
}

impl<const TAPS: usize, const PHASES: usize> Down<TAPS, PHASES> {
    /// One that halves the amplitude at `cutoff`, in parts of the lower rate.
    const fn design(cutoff: f64) -> Self {
        let mut down = [[0; TAPS]; PHASES];
        let mut n = 1;
        while n < TAPS * PHASES {
            let reversed = TAPS * PHASES - 1 - n;
            down[reversed / TAPS][reversed % TAPS] = nearest(tap::<TAPS, PHASES>(n, cutoff) / PHASES as f64);
            n += 1;
        }
        Self(down)
    }
}

/// Tap `n` of a filter that halves the amplitude at `cutoff`, in parts of the lower rate.
///
/// The middle is at tap `TAPS * PHASES / 2`, and tap 0 is zero: so the delay is a whole number of samples, of either rate.
const fn tap<const TAPS: usize, const PHASES: usize>(n: usize, cutoff: f64) -> f64 {
    let half = (TAPS / 2) as f64;
    // In samples of the lower rate.
    let t = n as f64 / PHASES as f64 - half;
    let x = 2.0 * PI * cutoff * t;
    let sinc = if n == TAPS * PHASES / 2 { 1.0 } else { sine(x) / x };
    2.0 * cutoff * sinc * kaiser(t / half)
}

/// The Kaiser window at `at` between -1 and 1, for a stop band 64 dB down.
const fn kaiser(at: f64) -> f64 {
    const BETA: f64 = 6.1;
    bessel(BETA * BETA * (1.0 - at * at) / 4.0) / bessel(BETA * BETA / 4.0)
}

/// The modified Bessel function of order zero, of twice the square root of `quarter`: a series of positive members.
const fn bessel(quarter: f64) -> f64 {
    let (mut sum, mut member, mut k) = (1.0, 1.0, 1.0);
    while member > 1e-17 * sum {
        member *= quarter / (k * k);
        sum += member;
        k += 1.0;
    }
    sum
}

/// The sine, which the compiler does not have.
const fn sine(x: f64) -> f64 {
    let turns = (x / (2.0 * PI)) as i64 as f64;
    let x = x - turns * 2.0 * PI;
    let (mut sum, mut member, mut k) = (x, x, 1.0);
    while k < 40.0 {
        member *= -x * x / ((2.0 * k) * (2.0 * k + 1.0));
        sum += member;
        k += 1.0;
    }
    sum
}

/// 1 itself, as the tap in the middle is on the way up, becomes the nearest there is.
const fn nearest(tap: f64) -> i16 {
    let tap = tap * (1_u32 << BITS) as f64;
    (if tap < 0.0 { tap - 0.5 } else { tap + 0.5 }) as i16
}

/// In two halves, for each of which an `i32` is wide enough whatever the samples (there is a test).
fn dot<const TAPS: usize>(taps: &[i16; TAPS], samples: &[i16; TAPS]) -> i64 {
    let half = |taps: &[i16], samples: &[i16]| -> i32 {
        taps.iter().zip(samples).map(|(tap, sample)| i32::from(*tap) * i32::from(*sample)).sum()
    };
    let ((taps, more_taps), (samples, more)) = (taps.split_at(TAPS / 2), samples.split_at(TAPS / 2));
    i64::from(half(taps, samples)) + i64::from(half(more_taps, more))
}

fn rounded(sum: i64) -> i16 {
    ((sum + (1 << (BITS - 1))) >> BITS).clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    const PAIRS: [(u32, u32); 6] = [
        (8_000, 16_000),
        (8_000, 48_000),
        (16_000, 48_000),
        (16_000, 8_000),
        (48_000, 8_000),
        (48_000, 16_000),
    ];

    fn resampled(from: u32, to: u32, samples: &[i16]) -> Vec<i16> {
        let mut out = vec![0; samples.len() * to as usize / from as usize];
        let count = Resampler::new(from, to).unwrap().process(samples, &mut out);
        assert_eq!(count, out.len());
        out
    }

    fn sine_wave(hz: f64, rate: u32) -> Vec<i16> {
        let rate = f64::from(rate);
        (0..rate as u32 / 5)
            .map(|n| (16_000.0 * (TAU * hz * f64::from(n) / rate).cos()).round() as i16)
            .collect()
    }

    /// What of `samples` is a wave of `hz`, in dB of a wave 16,000 high; after the beginning, over whole periods of 10 Hz.
    fn level(samples: &[i16], hz: f64, rate: u32) -> f64 {
        let steady = &samples[samples.len() / 2..];
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in steady.iter().enumerate() {
            let angle = TAU * hz * n as f64 / f64::from(rate);
            re += f64::from(*sample) * angle.cos();
            im += f64::from(*sample) * angle.sin();
        }
        20.0 * (2.0 * re.hypot(im) / steady.len() as f64 / 16_000.0).log10()
    }

    /// The power of what is not a wave of `hz`, in dB of a wave 16,000 high.
    fn rest(samples: &[i16], hz: f64, rate: u32) -> f64 {
        let steady = &samples[samples.len() / 2..];
        let power = steady.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / steady.len() as f64;
        let wave = 16_000.0 * 10_f64.powf(level(samples, hz, rate) / 20.0);
        10.0 * ((power - wave * wave / 2.0).max(1e-3) / (16_000.0 * 16_000.0 / 2.0)).log10()
    }

    /// The frequencies from 10 Hz to `last` Hz.
    fn sweep(last: u32) -> impl Iterator<Item = f64> {
        (1..=last / 10).step_by(7).chain([last / 10]).map(|tens| f64::from(tens) * 10.0)
    }

    fn pass_band(from: u32, to: u32) -> u32 {
        if from.min(to) == 8_000 { 3_400 } else { 7_000 }
    }

    #[test]
    fn the_pass_band_is_flat_and_nothing_else_comes_out() {
        for (from, to) in PAIRS {
            for hz in sweep(pass_band(from, to)) {
                let heard = resampled(from, to, &sine_wave(hz, from));
                let flat = level(&heard, hz, to);
                assert!(flat.abs() < 0.1, "{from} to {to}: {hz} Hz at {flat:.3} dB");
                let rest = rest(&heard, hz, to);
                assert!(rest < -60.0, "{from} to {to}: beside {hz} Hz {rest:.1} dB");
            }
        }
    }

    #[test]
    fn on_the_way_up_no_frequency_leaves_an_image_but_beside_half_the_rate() {
        for (from, to) in PAIRS.into_iter().filter(|(from, to)| from < to) {
            let beside = from * 3 / 40;
            for hz in sweep(from / 2 - 10) {
                let heard = resampled(from, to, &sine_wave(hz, from));
                let images = (1..=to / from)
                    .flat_map(|n| [f64::from(n * from) - hz, f64::from(n * from) + hz])
                    .filter(|image| (f64::from(from / 2 + beside)..f64::from(to / 2)).contains(image));
                for image in images {
                    let level = level(&heard, image, to);
                    assert!(
                        level < -60.0,
                        "{from} to {to}: {hz} Hz has an image at {image} Hz of {level:.1} dB"
                    );
                }
            }
        }
    }

    #[test]
    fn on_the_way_down_what_does_not_fit_is_gone() {
        for (from, to) in PAIRS.into_iter().filter(|(from, to)| from > to) {
            for hz in sweep(from / 2 - 10).filter(|hz| *hz > f64::from(to / 2)) {
                let heard = resampled(from, to, &sine_wave(hz, from));
                let steady = &heard[heard.len() / 2..];
                let power =
                    steady.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / steady.len() as f64;
                let left = 10.0 * (power.max(1e-3) * 2.0 / 16_000_f64.powi(2)).log10();
                assert!(left < -60.0, "{from} to {to}: of {hz} Hz {left:.1} dB are left");
            }
        }
    }

    #[test]
    fn it_delays_by_what_it_says() {
        for (from, to) in PAIRS {
            let mut click = vec![0; from as usize / 100];
            click[0] = 20_000;
            let heard = resampled(from, to, &click);
            let loudest = heard.iter().enumerate().max_by_key(|(_, sample)| sample.unsigned_abs()).unwrap().0;
            let delay_ms = match (from, to) {
                (_, 8_000) => 3,
                (8_000, _) | (48_000, _) => 2,
                (_, _) => 1,
            };
            assert_eq!(loudest, delay_ms * to as usize / 1000, "{from} to {to}");
        }
    }

    #[test]
    fn no_sum_overflows_and_what_is_too_loud_is_clipped() {
        fn check<const TAPS: usize, const PHASES: usize>(phases: &[[i16; TAPS]; PHASES]) {
            for taps in phases.iter().flat_map(|taps| taps.chunks(TAPS / 2)) {
                let most: i64 = taps.iter().map(|tap| i64::from(tap.unsigned_abs()) << 15).sum();
                assert!(most < i64::from(i32::MAX), "{most}");
            }
        }
        check(&UP_BY_2.0);
        check(&UP_BY_3.0);
        check(&UP_BY_6.0);
        check(&NARROW_BY_2.0);
        check(&NARROW_BY_6.0);
        check(&WIDE_BY_3.0);
        for (from, to) in PAIRS {
            // A square wave overshoots.
            let square: Vec<i16> =
                (0..from / 50).map(|n| if n * 1000 / from % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
            let heard = resampled(from, to, &square);
            assert!(heard.contains(&i16::MAX) && heard.contains(&i16::MIN), "{from} to {to}");
        }
    }

    #[test]
    fn the_same_rate_is_left_alone_and_an_unknown_one_refused() {
        let samples: Vec<i16> = (0..160).collect();
        for rate in [8_000, 16_000] {
            assert_eq!(resampled(rate, rate, &samples), samples);
        }
        assert!(Resampler::new(8_000, 44_100).is_none());
        assert!(Resampler::new(0, 8_000).is_none());
    }

    #[test]
    fn the_shorter_of_both_buffers_rules_and_a_broken_millisecond_is_left_out() {
        let mut out = [7; 100];
        assert_eq!(Resampler::new(8_000, 16_000).unwrap().process(&[9; 8 * 20 + 7], &mut out), 96);
        assert_eq!(out[96..], [7; 4]);
        assert_eq!(Resampler::new(48_000, 8_000).unwrap().process(&[9; 48 * 3 + 47], &mut out), 24);
        assert_eq!(Resampler::new(48_000, 16_000).unwrap().process(&[9; 47], &mut out), 0);
        assert_eq!(Resampler::new(48_000, 48_000).unwrap().process(&[9; 97], &mut out), 96);
    }

    proptest! {
        #[test]
        fn how_a_stream_is_cut_makes_no_difference(
            pair in prop::sample::select(PAIRS.to_vec()),
            cuts in prop::collection::vec(1usize..60, 1..12),
            seed in any::<u32>(),
        ) {
            let (from, to) = pair;
            let total: usize = cuts.iter().sum();
            let per_ms = from as usize / 1000;
            let samples: Vec<i16> =
                (0..(total * per_ms) as u32).map(|n| (seed ^ n).wrapping_mul(2_654_435_761).rotate_left(9) as i16).collect();
            let whole = resampled(from, to, &samples);
            let mut resampler = Resampler::new(from, to).unwrap();
            let mut pieces = Vec::new();
            let mut rest = &samples[..];
            for cut in cuts {
                let (piece, after) = rest.split_at(cut * per_ms);
                let mut out = vec![0; cut * to as usize / 1000];
                prop_assert_eq!(resampler.process(piece, &mut out), out.len());
                pieces.extend(out);
                rest = after;
            }
            prop_assert_eq!(&pieces, &whole);
            resampler.reset();
            let mut again = vec![0; whole.len()];
            resampler.process(&samples, &mut again);
            prop_assert_eq!(again, whole);
        }
    }
}
