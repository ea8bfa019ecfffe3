//! G.722 at 64 kbit/s (ITU-T G.722, 09/2012): 16 kHz audio, split by a quadrature mirror filter into two bands of 8 kHz,
//! each coded by ADPCM, six bits of the lower and two of the higher band in an octet.
//!
//! Exact in every bit: the blocks below are those of clause 6 of the recommendation with its names in their comments.
//! Values that the recommendation keeps in 16 bits are `i32` here and saturate where it says so; where it saturates and
//! the operands' bounds make an overflow impossible, nothing is written. Samples are 16-bit linear PCM.
//!
//! Both directions adapt to what they have coded: they are values with a memory, one per stream. A decoder that begins in
//! the middle, or misses packets, comes back to the encoder's state within some tens of milliseconds, for that memory leaks.

/// Samples per second of what is coded.
pub const SAMPLE_RATE: u32 = 16_000;

/// Codes of silence, repeated as long as it lasts: whatever a decoder has heard before, a fifth of a second later it gives
/// no sample beyond 6 (-75 dB of the overload point).
///
/// One code alone would not do. Repeated, even the one that stands for no difference drives the predictor to the edge of
/// its stability, where its rounding keeps up a hum ten times as loud. These are the best of 6,000 random rows of the smallest
/// differences, by the loudest sample that ten decoders end with, five after speech and five after noise.
pub const SILENCE: [u8; 16] =
    [0x7D, 0xFD, 0xDF, 0x7F, 0xFD, 0x5F, 0xFF, 0x7D, 0x5F, 0xFF, 0xFD, 0xFD, 0xFF, 0x5F, 0xFD, 0xFD];

/// Linear to G.722.
#[derive(Debug, Clone)]
pub struct Encoder {
    analysis: Lines,
    low: Low,
    high: High,
}

/// G.722 to linear.
#[derive(Debug, Clone)]
pub struct Decoder {
    synthesis: Lines,
    low: Low,
    high: High,
}

impl Encoder {
    /// One at rest: silence came before.
    pub const fn new() -> Self {
        Self { analysis: Lines::EMPTY, low: Low::RESET, high: High::RESET }
    }

    /// Codes `samples` into `codes`, two samples an octet, as far as both reach.
    pub fn encode(&mut self, samples: &[i16], codes: &mut [u8]) {
        let (pairs, _) = samples.as_chunks();
        for (pairs, codes) in pairs.chunks(BLOCK).zip(codes.chunks_mut(BLOCK)) {
            // 6.2.1.1: x_A runs over the newest sample and every other one before, x_B over those between.
            let count = pairs.len().min(codes.len());
            for (at, [first, second]) in pairs.iter().enumerate() {
                self.analysis.set(at, [*second, *first]);
            }
            for ([a, b], code) in self.analysis.sums().zip(&mut codes[..count]) {
                let low = self.low.encode(limit((a + b) >> 14));
                let high = self.high.encode(limit((a - b) >> 14));
                *code = high << 6 | low;
            }
            self.analysis.advance(count);
        }
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// One at rest: silence came before.
    pub const fn new() -> Self {
        Self { synthesis: Lines::EMPTY, low: Low::RESET, high: High::RESET }
    }

    /// Decodes `codes` into `samples`, two samples an octet, as far as both reach.
    pub fn decode(&mut self, codes: &[u8], samples: &mut [i16]) {
        let (pairs, _) = samples.as_chunks_mut();
        for (codes, pairs) in codes.chunks(BLOCK).zip(pairs.chunks_mut(BLOCK)) {
            let count = codes.len().min(pairs.len());
            for (at, code) in codes[..count].iter().enumerate() {
                let low = limit(self.low.decode(code & 0x3F));
                let high = limit(self.high.decode(code >> 6));
                // 6.2.2.3. Sum and difference of what has 15 bits have 16.
                self.synthesis.set(at, [low - high, low + high].map(|value| value as i16));
            }
            for (sums, pair) in self.synthesis.sums().zip(&mut pairs[..count]) {
                *pair = sums.map(|sum| saturate(sum >> 11) as i16);
            }
            self.synthesis.advance(count);
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Half the taps of the quadrature mirror filter.
const TAPS: usize = 12;

/// Pairs of samples that are filtered at once: 4 ms.
const BLOCK: usize = 32;

/// The coefficients of even number of table 11, in steps of 2^-13, the one of the oldest sample first. Those of odd number are
/// the same the other way round.
const QMF_A: [i16; TAPS] = [-11, 53, -156, 362, -805, 3876, 951, -210, 32, 12, -11, 3];
const QMF_B: [i16; TAPS] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// What the quadrature mirror filter runs over, a line for each half of its taps: its memory, the oldest first, and
/// then a block.
#[derive(Debug, Clone)]
struct Lines([[i16; TAPS - 1 + BLOCK]; 2]);

impl Lines {
    const EMPTY: Self = Self([[0; TAPS - 1 + BLOCK]; 2]);

    /// The values of place `at` in the block.
    fn set(&mut self, at: usize, values: [i16; 2]) {
        for (line, value) in self.0.iter_mut().zip(values) {
            line[TAPS - 1 + at] = value;
        }
    }

    /// The filtered block.
    fn sums(&self) -> impl Iterator<Item = [i32; 2]> {
        let [a, b] = &self.0;
        a.windows(TAPS).zip(b.windows(TAPS)).map(|(a, b)| [dot(a, &QMF_A), dot(b, &QMF_B)])
    }

    /// Takes what was set into the memory.
    fn advance(&mut self, count: usize) {
        for line in &mut self.0 {
            line.copy_within(count..count + TAPS - 1, 0);
        }
    }
}

/// Cannot overflow: the magnitudes of the taps add up to less than 2^13.
fn dot(samples: &[i16], taps: &[i16; TAPS]) -> i32 {
    samples.iter().zip(taps).map(|(sample, tap)| i32::from(*sample) * i32::from(*tap)).sum()
}

/// Product of two fractions of 16 bits.
fn mult(a: i32, b: i32) -> i32 {
    (a * b) >> 15
}

/// To 16 bits.
fn saturate(value: i32) -> i32 {
    value.clamp(-0x8000, 0x7FFF)
}

/// LIMIT: to 15 bits.
fn limit(value: i32) -> i32 {
    value.clamp(-0x4000, 0x3FFF)
}

/// The lower band.
#[derive(Debug, Clone)]
struct Low {
    predictor: Predictor,
    scale: Scale<18_432, 8>,
}

impl Low {
    const RESET: Self = Self { predictor: Predictor::RESET, scale: Scale { log: 0, linear: 32 } };

    fn encode(&mut self, sample: i32) -> u8 {
        // SUBTRA, QUANTL. A negative difference is judged by its one's complement.
        let difference = saturate(sample - self.predictor.estimate);
        let magnitude = if difference < 0 { !difference } else { difference };
        // A level is passed when `(level * scale) >> 12 <= magnitude`, which is when it is at most this.
        let passed = (((magnitude + 1) << 12) - 1) / self.scale.linear;
        let interval = usize::from(INTERVALS[(passed as usize).min(INTERVALS.len() - 1)]);
        let code = if difference < 0 { IL_NEGATIVE } else { IL_POSITIVE }[interval];
        self.adapt(code);
        code
    }

    /// RECONS of the decoder with all six bits; what is fed back uses four, so that the others may be lost (5.3.1).
    fn decode(&mut self, code: u8) -> i32 {
        let difference = mult(self.scale.linear, QM6[usize::from(code & 0x3F)]);
        let sample = self.predictor.estimate + difference;
        self.adapt(code);
        sample
    }

    fn adapt(&mut self, code: u8) {
        // INVQAL, LOGSCL, SCALEL.
        let (level, step) = INVERSE_LOW[usize::from(code >> 2 & 0xF)];
        let difference = mult(self.scale.linear, level);
        self.scale.adapt(step);
        self.predictor.adapt(difference);
    }
}

/// The higher band.
#[derive(Debug, Clone)]
struct High {
    predictor: Predictor,
    scale: Scale<22_528, 10>,
}

impl High {
    const RESET: Self = Self { predictor: Predictor::RESET, scale: Scale { log: 0, linear: 8 } };

    fn encode(&mut self, sample: i32) -> u8 {
        // SUBTRA, QUANTH.
        let difference = saturate(sample - self.predictor.estimate);
        let magnitude = if difference < 0 { !difference } else { difference };
        let outer = magnitude >= (Q2 * self.scale.linear) >> 12;
        let code = match (difference < 0, outer) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        };
        self.adapt(code);
        code
    }

    fn decode(&mut self, code: u8) -> i32 {
        let estimate = self.predictor.estimate;
        estimate + self.adapt(code)
    }

    /// INVQAH, LOGSCH, SCALEH; the difference that the code stands for.
    fn adapt(&mut self, code: u8) -> i32 {
        let (level, step) = INVERSE_HIGH[usize::from(code & 3)];
        let difference = mult(self.scale.linear, level);
        self.scale.adapt(step);
        self.predictor.adapt(difference);
        difference
    }
}

/// The quantiser's scale factor, which follows the size of what it quantises: `log` in the domain where it leaks, never
/// above `CEILING`, and the same `linear`, smaller by `SHIFT` octaves.
#[derive(Debug, Clone)]
struct Scale<const CEILING: i32, const SHIFT: i32> {
    log: i32,
    linear: i32,
}

impl<const CEILING: i32, const SHIFT: i32> Scale<CEILING, SHIFT> {
    fn adapt(&mut self, step: i32) {
        // LOGSCL and LOGSCH, then SCALEL and SCALEH.
        self.log = (((self.log * 127) >> 7) + step).clamp(0, CEILING);
        let mantissa = ILB[(self.log >> 6 & 31) as usize];
        let octaves = SHIFT - (self.log >> 11);
        self.linear = if octaves < 0 { mantissa << -octaves } else { mantissa >> octaves } << 2;
    }
}

/// The adaptive predictor of a band: two poles and six zeros.
#[derive(Debug, Clone)]
struct Predictor {
    /// Of the poles.
    a: [i32; 2],
    /// Of the zeros.
    b: [i32; 6],
    /// The quantised differences before, the newest first.
    differences: [i32; 6],
    /// The partially reconstructed signal before.
    partial: [i32; 2],
    /// The reconstructed signal before.
    reconstructed: i32,
    /// What the zeros say of the next sample.
    zeros: i32,
    /// What all say of it.
    estimate: i32,
}

impl Predictor {
    const RESET: Self = Self {
        a: [0; 2],
        b: [0; 6],
        differences: [0; 6],
        partial: [0; 2],
        reconstructed: 0,
        zeros: 0,
        estimate: 0,
    };

    /// Block 4 of clause 6.2.1.3: takes the quantised difference and predicts the next sample.
    fn adapt(&mut self, difference: i32) {
        // RECONS, PARREC.
        let reconstructed = saturate(self.estimate + difference);
        let partial = saturate(self.zeros + difference);

        // UPPOL2, UPPOL1. Signs agree where the exclusive or is not negative.
        let [a1, a2] = self.a;
        let like_last = (partial ^ self.partial[0]) >= 0;
        let like_last_but_one = (partial ^ self.partial[1]) >= 0;
        let slope = saturate(a1 << 2);
        let slope = if like_last { saturate(-slope) } else { slope } >> 7;
        let a2 = slope + if like_last_but_one { 128 } else { -128 } + mult(a2, 32_512);
        let a2 = a2.clamp(-12_288, 12_288);
        let bound = 15_360 - a2;
        let a1 = if like_last { 192 } else { -192 } + mult(a1, 32_640);
        let a1 = a1.clamp(-bound, bound);
        self.a = [a1, a2];

        // UPZERO. A coefficient leaks 1/256 of itself and moves by 128: it stays in 16 bits.
        let gain = if difference == 0 { 0 } else { 128 };
        for (b, before) in self.b.iter_mut().zip(&self.differences) {
            let towards = if (difference ^ before) < 0 { -gain } else { gain };
            *b = mult(*b, 32_640) + towards;
        }

        // DELAYA.
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        self.partial = [partial, self.partial[0]];

        // FILTEZ, in the order of the recommendation, the oldest first: every sum saturates.
        self.zeros = self
            .b
            .iter()
            .zip(&self.differences)
            .rev()
            .fold(0, |sum, (b, difference)| saturate(sum + mult(*b, saturate(2 * difference))));
        // FILTEP, PREDIC.
        let poles = mult(a1, saturate(2 * reconstructed)) + mult(a2, saturate(2 * self.reconstructed));
        self.reconstructed = reconstructed;
        self.estimate = saturate(saturate(poles) + self.zeros);
    }
}

/// Table 14: the decision levels of the lower band's quantiser, from the second interval on.
const Q6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219,
    1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// How many decision levels a magnitude has passed, by that magnitude in steps of the levels.
static INTERVALS: [u8; Q6[28] as usize + 1] = {
    let mut intervals = [0; Q6[28] as usize + 1];
    let mut at = 0;
    let mut passed = 0;
    while at < intervals.len() {
        if at == Q6[passed] as usize {
            passed += 1;
        }
        intervals[at] = passed as u8;
        at += 1;
    }
    intervals
};

/// Table 16: the codes of its intervals, from the innermost out.
const IL_NEGATIVE: [u8; 30] = [
    63, 62, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7,
    6, 5, 4,
];
const IL_POSITIVE: [u8; 30] = [
    61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36,
    35, 34, 33, 32,
];

/// What the upper four bits of the lower band's code stand for: the output level (QM4 of table 14) and the step of the
/// scale factor (WL by RIL).
const INVERSE_LOW: [(i32, i32); 16] = [
    (0, -60),
    (-20_456, 3042),
    (-12_896, 1198),
    (-8968, 538),
    (-6288, 334),
    (-4240, 172),
    (-2584, 58),
    (-1200, -30),
    (20_456, 3042),
    (12_896, 1198),
    (8968, 538),
    (6288, 334),
    (4240, 172),
    (2584, 58),
    (1200, -30),
    (0, -60),
];

/// The output levels of all six bits (QM6). The four codes that no encoder sends have one.
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032,
    -1688, -1360, -1040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512, 12_280, 11_192, 10_232, 9360,
    8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040,
    728, 432, 136, -432, -136,
];

/// Table 17: the decision level of the higher band's quantiser.
const Q2: i32 = 564;

/// What the higher band's code stands for: the output level (QM2) and the step of the scale factor (WH).
const INVERSE_HIGH: [(i32, i32); 4] = [(-7408, 798), (-1616, -214), (7408, 798), (1616, -214)];

/// Table 15: 2^(n/32) in steps of 2^-11.
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    fn encoded(samples: &[i16]) -> Vec<u8> {
        let mut codes = vec![0; samples.len() / 2];
        Encoder::new().encode(samples, &mut codes);
        codes
    }

    fn decoded(codes: &[u8]) -> Vec<i16> {
        let mut samples = vec![0; codes.len() * 2];
        Decoder::new().decode(codes, &mut samples);
        samples
    }

    /// Xorshift (Marsaglia 2003).
    fn noise() -> impl Iterator<Item = u32> {
        std::iter::successors(Some(0x2545_F491_u32), |x| {
            let x = x ^ (x << 13);
            let x = x ^ (x >> 17);
            Some(x ^ (x << 5))
        })
        .skip(1)
    }

    /// FNV-1a, 64 bits.
    fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
        bytes
            .into_iter()
            .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
    }

    // The sequences of appendix II are not free to be copied. These stand for them: they drive every branch of the blocks,
    // the saturations among them, and the expected digests are of what the C code of the ITU-T software tool library
    // (G.191, its QMF included) makes of them.

    #[test]
    fn five_seconds_beyond_all_bounds_encode_as_by_the_reference() {
        let samples: Vec<i16> = noise()
            .take(80_000)
            .enumerate()
            .map(|(n, random)| {
                let random = random as i16;
                match n / 1000 % 5 {
                    0 => random,
                    1 => random >> 6,
                    2 => {
                        if random < 0 {
                            i16::MIN
                        } else {
                            i16::MAX
                        }
                    }
                    3 => {
                        if n / 16 % 2 == 0 {
                            i16::MAX
                        } else {
                            i16::MIN
                        }
                    }
                    _ => 0,
                }
            })
            .collect();
        let codes = encoded(&samples);
        assert_eq!(codes[..12], [0x22, 0x84, 0x22, 0x8B, 0x26, 0x84, 0xA0, 0x96, 0xA1, 0x22, 0xA7, 0x16]);
        assert_eq!(digest(codes), 0x71EE_EBCA_8397_3527);
    }

    #[test]
    fn five_seconds_of_random_octets_decode_as_by_the_reference() {
        let codes: Vec<u8> = noise().take(40_000).map(|random| random as u8).collect();
        let samples = decoded(&codes);
        assert_eq!(samples[..8], [0, 0, -1, -1, -1, 0, 0, -1]);
        assert_eq!(digest(samples.into_iter().flat_map(i16::to_le_bytes)), 0x9572_FB92_09C9_A5BF);
    }

    #[test]
    fn it_does_not_matter_how_a_stream_is_cut() {
        let samples: Vec<i16> = noise().take(4_000).map(|random| random as i16 >> 2).collect();
        let whole = encoded(&samples);
        for cut in [1, 7, 31, 32, 33, 160, 480] {
            let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
            let (mut codes, mut heard) = (Vec::new(), Vec::new());
            for piece in samples.chunks(2 * cut) {
                let mut out = vec![0; piece.len() / 2];
                encoder.encode(piece, &mut out);
                let mut back = vec![0; piece.len()];
                decoder.decode(&out, &mut back);
                codes.extend(out);
                heard.extend(back);
            }
            assert_eq!(codes, whole, "in pieces of {cut}");
            assert_eq!(heard, decoded(&whole), "in pieces of {cut}");
        }
    }

    #[test]
    fn the_shorter_of_both_buffers_rules() {
        let samples = [1000; 101];
        let mut codes = [0; 70];
        Encoder::new().encode(&samples, &mut codes);
        assert_eq!(codes[..50], encoded(&samples[..100]));
        assert_eq!(codes[50..], [0; 20]);
        let mut few = [7; 61];
        Decoder::new().decode(&codes, &mut few);
        assert_eq!(few[..60], decoded(&codes)[..60]);
        assert_eq!(few[60], 7);
    }

    #[test]
    fn a_tone_comes_back_22_samples_later() {
        for hz in [200.0, 1000.0, 3000.0, 6000.0] {
            let tone = |n: f64| 8000.0 * (TAU * hz * n / f64::from(SAMPLE_RATE)).sin();
            let samples: Vec<i16> = (0..16_000).map(|n| tone(f64::from(n)) as i16).collect();
            let heard = decoded(&encoded(&samples));
            let (mut signal, mut error) = (0.0, 0.0);
            for (n, sample) in heard.iter().enumerate().skip(1600) {
                let ideal = tone(n as f64 - 22.0);
                signal += ideal * ideal;
                error += (ideal - f64::from(*sample)).powi(2);
            }
            let ratio = 10.0 * f64::log10(signal / error);
            // Six bits in the lower band, two in the higher.
            assert!(ratio > if hz < 4000.0 { 30.0 } else { 12.0 }, "{hz} Hz: {ratio:.1} dB");
        }
    }

    #[test]
    fn zeros_stay_next_to_zero() {
        let heard = decoded(&encoded(&[0; 32_000]));
        assert!(heard.iter().all(|sample| sample.abs() <= 4), "{:?}", heard.iter().max());
    }

    proptest! {
        #[test]
        fn silence_quietens_every_decoder(before in prop::collection::vec(any::<u8>(), 0..2000), phase in 0usize..16) {
            let mut decoder = Decoder::new();
            decoder.decode(&before, &mut vec![0; before.len() * 2]);
            let silence: Vec<u8> = SILENCE.into_iter().cycle().skip(phase).take(8000).collect();
            let mut heard = vec![0; 16_000];
            decoder.decode(&silence, &mut heard);
            let loudest = heard[4000..].iter().map(|sample: &i16| sample.unsigned_abs()).max();
            prop_assert!(loudest <= Some(12), "{loudest:?}");
        }

        /// Two decoders that have heard different things hear the same again soon.
        #[test]
        fn what_was_lost_is_forgotten(lost in prop::collection::vec(any::<u8>(), 0..400), seed in 0usize..1000) {
            let codes = encoded(&rumble(seed, 32_000));
            let mut late = Decoder::new();
            late.decode(&lost, &mut vec![0; lost.len() * 2]);
            let mut heard = vec![0; codes.len() * 2];
            late.decode(&codes, &mut heard);
            let apart = decoded(&codes).iter().zip(&heard).skip(16_000).map(|(a, b)| a.abs_diff(*b)).max();
            prop_assert_eq!(apart, Some(0));
        }
    }

    /// Noise tilted towards the lower frequencies as speech is.
    fn rumble(seed: usize, count: usize) -> Vec<i16> {
        let random =
            noise().skip(seed).take(count).map(|random| f64::from(random) / f64::from(u32::MAX) - 0.5);
        let low_pass = random.scan(0.0, |state, random| {
            *state = 0.9 * *state + random;
            Some(*state)
        });
        low_pass.map(|sample| (sample * 6000.0) as i16).collect()
    }
}
