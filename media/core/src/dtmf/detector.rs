//! Hearing keys in the audio itself, within the limits of ITU-T Q.24 and deaf to speech.
//!
//! Every 5 ms the last 20 ms, under a Hann window, are correlated with the eight tones. What that gives for a tone of
//! constant level is its level times the part of the window that it fills, so the moments at which the result passes half
//! its height are the edges of the tone, and differ from one end to the other by its duration, whatever its alignment.
//! A key is down once both its tones have been above half their height for [`SHORTEST`] frames, and for a run of frames
//! in the middle of these they are
//!
//! - steady in level (within [`FLAT`] of the highest) and in phase ([`COHERENT`]);
//! - within [`TOLERANCE`] of their frequencies, which the advance of the phase from frame to frame tells to a hertz;
//! - loud enough ([`LEAST`]) and not too different in level ([`TWIST`]);
//! - [`PURE`]: almost all of the energy there is, but for a dial tone's (`dial_tone.rs`). Speech has harmonics; this is what
//!   tells it from keys.
//!
//! A key is up after [`SHORTEST_PAUSE`] frames without it. Nothing allocates.

use std::f32::consts::TAU;
use std::ops::Range;
use std::sync::LazyLock;

use super::dial_tone::{DialTone, Heard};
use super::{HIGH_HZ, Key, LOW_HZ};
use crate::Digit;

const RATE: f32 = 8000.0;
/// 20 ms: long enough that the lobes of a Hann window keep the rows (73 Hz apart) from each other, and short enough that
/// four whole windows fit into the shortest signal at any alignment.
pub(super) const WINDOW: usize = 160;
/// 5 ms: how exactly durations are known. A fourth of the window, so that the windows add up to a constant.
pub(super) const HOP: usize = 40;
const HOP_MS: u16 = 5;

/// A signal of 40 ms is above half its height in 8 or 9 frames, one of 25 ms in 5 or 6. Q.24: 40 ms is to be taken by all,
/// 20 to 25 ms by none.
const SHORTEST: usize = 7;
/// Frames in a row that the tones must fill: a signal of 40 ms has 4 at any alignment.
const SHORTEST_RUN: usize = 4;
/// A break of 20 ms is below half the height in 3 or 4 frames, a pause of 30 ms in 5 or 6. Q.24: breaks of up to 10 to 20 ms
/// are to be bridged, pauses from 30 or 40 ms on are to be noticed.
const SHORTEST_PAUSE: u16 = 5;
/// Q.24: to be taken up to 1.5 % and 4 Hz (which is 2.1 % of the lowest tone), to be refused from 3 % on.
const TOLERANCE: f32 = 0.025;
/// The amplitude of −28 dBm0. Q.24: each tone is to be taken down to −27 dBm, and refused from −29 dBm (NTT) or −30 dBm on.
const LEAST: f32 = 22_750.0 * 0.039_81;
/// 10 dB and a little, as a ratio of amplitudes. Q.24: 4 to 10 dB between the tones are to be taken.
const TWIST: f32 = 3.35;
/// Of the highest level in the run. Echoes of 20 ms, 10 dB down (AT&T), step by 0.32.
const FLAT: f32 = 0.68;
/// Part of the phases' advance that goes the same way: 1 for tones, 0 for noise.
const COHERENT: f32 = 0.97;
/// Part of the energy that the two tones are. Noise 12 dB below them leaves 0.94 of it on average and never less than 0.89
/// in what the tests try; the most that five voices in two hours of speech get to is 0.82.
const PURE: f32 = 0.86;
/// The same while the key is held: the frames at its end are filled by half.
const HELD: f32 = 0.35;

/// The taps of the eight tones, cosines before sines, under the window.
static BANK: LazyLock<Bank> = LazyLock::new(Bank::new);

pub(super) struct Bank {
    taps: [[f32; 16]; WINDOW],
    window: [f32; WINDOW],
}

impl Bank {
    fn new() -> Self {
        let mut bank = Self { taps: [[0.0; 16]; WINDOW], window: [0.0; WINDOW] };
        for n in 0..WINDOW {
            let weight = 0.5 - 0.5 * (TAU * (n as f32 + 0.5) / WINDOW as f32).cos();
            // Sums of the window are 1, and a tone's amplitude is twice its correlation.
            let unit = weight * 2.0 / WINDOW as f32;
            bank.window[n] = unit;
            for tone in 0..8 {
                let (sin, cos) = (TAU * frequency(tone) / RATE * n as f32).sin_cos();
                bank.taps[n][tone] = 2.0 * unit * cos;
                bank.taps[n][tone + 8] = -2.0 * unit * sin;
            }
        }
        bank
    }

    pub(super) fn get() -> &'static Self {
        &BANK
    }

    /// The mean square of a window.
    pub(super) fn power(&self, samples: &[f32; WINDOW]) -> f32 {
        let mut powers = [0.0_f32; 8];
        for (samples, window) in samples.chunks_exact(8).zip(self.window.chunks_exact(8)) {
            for n in 0..8 {
                powers[n] += samples[n] * samples[n] * window[n];
            }
        }
        powers.iter().sum()
    }
}

/// Rows first, then columns.
fn frequency(tone: usize) -> f32 {
    if tone < 4 { LOW_HZ[tone] } else { HIGH_HZ[tone - 4] }
}

/// What one window holds of the eight tones.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    /// Amplitude and phase of each tone, real parts before imaginary ones.
    tones: [f32; 16],
    /// Mean square of everything but a dial tone.
    power: f32,
    /// The loudest row and column.
    pair: Pair,
}

/// A row and a column, as numbers of tones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Pair {
    low: usize,
    high: usize,
}

impl Pair {
    fn digit(self) -> Digit {
        Digit::at(self.low, self.high - 4)
    }
}

/// Hears DTMF keys in 8 kHz audio.
///
/// A key goes down about 45 ms after its tone has begun, and up about 40 ms after it has ended.
#[derive(Debug, Clone)]
pub struct Detector {
    /// The last window, of which the last hop is being filled.
    samples: [f32; WINDOW],
    filled: usize,
    /// The last frames, the newest last.
    frames: [Frame; SHORTEST],
    dial_tone: DialTone,
    held: Option<Held>,
}

/// A key that is down.
#[derive(Debug, Clone, Copy)]
struct Held {
    pair: Pair,
    /// Amplitudes of its tones.
    low: f32,
    high: f32,
    /// Frames from its beginning to the last in which it was heard.
    frames: u16,
    /// Frames since.
    missed: u16,
}

impl Default for Detector {
    fn default() -> Self {
        Self::new()
    }
}

impl Detector {
    /// A detector that has heard silence so far.
    pub fn new() -> Self {
        Self {
            samples: [0.0; WINDOW],
            filled: WINDOW - HOP,
            frames: [Frame::default(); SHORTEST],
            dial_tone: DialTone::new(),
            held: None,
        }
    }

    /// Takes the next samples, as many as there are, and tells `heard` what keys do meanwhile.
    pub fn push(&mut self, pcm: &[i16], mut heard: impl FnMut(Key)) {
        let mut rest = pcm;
        while !rest.is_empty() {
            let n = rest.len().min(WINDOW - self.filled);
            let (now, later) = rest.split_at(n);
            for (sample, pcm) in self.samples[self.filled..].iter_mut().zip(now) {
                *sample = f32::from(*pcm);
            }
            self.filled += n;
            rest = later;
            if self.filled == WINDOW {
                self.frames.copy_within(1.., 0);
                let mut frame = Frame::of(&self.samples);
                let window = Heard {
                    samples: &self.samples,
                    power: frame.power,
                    tones: (frame.square(frame.pair.low) + frame.square(frame.pair.high)) / 2.0,
                    held: self.held.is_some(),
                };
                if let Some(power) = self.dial_tone.take_away(&window, LEAST * LEAST) {
                    frame.power = power;
                }
                self.frames[SHORTEST - 1] = frame;
                self.samples.copy_within(HOP.., 0);
                self.filled = WINDOW - HOP;
                self.judge(&mut heard);
            }
        }
    }

    /// The key that is down, if any, comes up: the audio has ended.
    pub fn flush(&mut self) -> Option<Key> {
        let held = self.held.take();
        *self = Self::new();
        held.map(Held::up)
    }

    /// Whether a key is down.
    pub fn is_down(&self) -> bool {
        self.held.is_some()
    }

    fn judge(&mut self, heard: &mut impl FnMut(Key)) {
        let newest = &self.frames[SHORTEST - 1];
        if let Some(held) = &mut self.held {
            if held.goes_on_in(newest) {
                held.frames = held.frames.saturating_add(held.missed + 1);
                held.missed = 0;
                return;
            }
            held.missed += 1;
            if held.missed >= SHORTEST_PAUSE {
                heard(held.up());
                self.held = None;
            }
        }
        if let Some(begun) = begins(&self.frames)
            && self.held.is_none_or(|held| held.pair != begun.pair)
        {
            if let Some(held) = self.held.replace(begun) {
                heard(held.up());
            }
            heard(Key::Down(begun.pair.digit()));
        }
    }
}

impl Held {
    fn goes_on_in(&self, frame: &Frame) -> bool {
        let (low, high) = (frame.amplitude(self.pair.low), frame.amplitude(self.pair.high));
        let tones = (low * low + high * high) / 2.0;
        low >= self.low / 2.0 && high >= self.high / 2.0 && tones >= HELD * frame.power
    }

    fn up(self) -> Key {
        Key::Up { digit: self.pair.digit(), duration_ms: self.frames.saturating_mul(HOP_MS) }
    }
}

/// The key that all of `frames` show, if they do.
fn begins(frames: &[Frame; SHORTEST]) -> Option<Held> {
    let pair = frames[SHORTEST / 2].pair;
    let newest = frames[SHORTEST - 1].amplitude(pair.low).min(frames[SHORTEST - 1].amplitude(pair.high));
    if newest < LEAST / 2.0 {
        return None;
    }
    let amplitudes = |tone| frames.each_ref().map(|frame| frame.amplitude(tone));
    let (lows, highs) = (amplitudes(pair.low), amplitudes(pair.high));
    let highest = |levels: &[f32]| levels.iter().copied().fold(0.0_f32, f32::max);
    let (low, high) = (highest(&lows), highest(&highs));
    let above = |n: usize, part: f32| lows[n] >= part * low && highs[n] >= part * high;
    if !(0..SHORTEST).all(|n| above(n, 0.5)) {
        return None;
    }
    let runs = (0..=SHORTEST - SHORTEST_RUN).map(|first| first..first + SHORTEST_RUN);
    let flat = |run: &Range<usize>| run.clone().all(|n| above(n, FLAT) && frames[n].pair == pair);
    // The frequencies as the run that is filled best tells them: at an edge, the phase advances less than it should.
    let least = |run: &Range<usize>| run.clone().map(|n| lows[n] * highs[n]).fold(f32::INFINITY, f32::min);
    let best = runs.clone().filter(flat).max_by(|one, other| least(one).total_cmp(&least(other)))?;
    let (low_gain, high_gain) = (steady(&frames[best.clone()], pair.low)?, steady(&frames[best], pair.high)?);
    let pure = runs.filter(flat).any(|run| {
        run.into_iter().all(|n| {
            let (low, high) = (lows[n] / low_gain, highs[n] / high_gain);
            (low * low + high * high) / 2.0 >= PURE * frames[n].power
        })
    });
    let (low_level, high_level) = (low / low_gain, high / high_gain);
    let loud = low_level >= LEAST && high_level >= LEAST;
    let twist = high_level <= low_level * TWIST && low_level <= high_level * TWIST;
    (pure && loud && twist).then_some(Held { pair, low, high, frames: SHORTEST as u16, missed: 0 })
}

/// Whether `tone` keeps a frequency in `run`, and the right one; then the part of its amplitude that the window shows.
fn steady(run: &[Frame], tone: usize) -> Option<f32> {
    let (mut re, mut im, mut whole) = (0.0, 0.0, 0.0);
    for two in run.windows(2) {
        let ([a, b], [c, d]) = (two[0].phasor(tone), two[1].phasor(tone));
        let product = [c * a + d * b, d * a - c * b];
        re += product[0];
        im += product[1];
        whole += product[0].hypot(product[1]);
    }
    // Each window counts its phase from its own beginning.
    let (sin, cos) = (TAU * (frequency(tone) * HOP as f32 / RATE).fract()).sin_cos();
    let advance = (im * cos - re * sin).atan2(re * cos + im * sin);
    let off = advance / TAU * RATE / HOP as f32;
    if re.hypot(im) < COHERENT * whole || off.abs() > TOLERANCE * frequency(tone) {
        return None;
    }
    // The spectrum of a Hann window near its middle, sinc(x) / (1 - x²), to the fourth power of x.
    let bins = off * WINDOW as f32 / RATE;
    let square = bins * bins;
    Some(1.0 - 0.644_9 * square + 0.166_8 * square * square)
}

impl Frame {
    fn of(samples: &[f32; WINDOW]) -> Self {
        let bank = Bank::get();
        let power = bank.power(samples);
        // Two tones of the least amplitude have the square of it as their power; at their edges a fourth is left.
        if power < LEAST * LEAST / 8.0 {
            return Self { power, ..Self::default() };
        }
        let mut tones = [0.0_f32; 16];
        for (sample, taps) in samples.iter().zip(&bank.taps) {
            for n in 0..16 {
                tones[n] += *sample * taps[n];
            }
        }
        let mut frame = Self { tones, power, pair: Pair::default() };
        frame.pair = Pair { low: frame.loudest(0), high: frame.loudest(4) };
        frame
    }

    fn loudest(&self, first: usize) -> usize {
        (first..first + 4).fold(
            first,
            |best, tone| {
                if self.square(tone) > self.square(best) { tone } else { best }
            },
        )
    }

    fn phasor(&self, tone: usize) -> [f32; 2] {
        [self.tones[tone], self.tones[tone + 8]]
    }

    fn square(&self, tone: usize) -> f32 {
        let [re, im] = self.phasor(tone);
        re * re + im * im
    }

    fn amplitude(&self, tone: usize) -> f32 {
        self.square(tone).sqrt()
    }
}
