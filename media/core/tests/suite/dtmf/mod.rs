//! The detector of in-band DTMF against ITU-T Q.24, noise, speech, and tones that others make.

mod dial_tone;
mod hearing;
mod peers;
mod q24;
mod sending;
mod talk_off;

use media_core::Digit;
use media_core::dtmf::{Detector, Key};
use media_core::g711;

/// The codec that everything goes through before it is heard.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Law {
    A,
    Mu,
}

impl Law {
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::Mu];

    pub(crate) fn pass(self, samples: &[f64]) -> Vec<i16> {
        let linear = samples.iter().map(|sample| sample.round().clamp(-32768.0, 32767.0) as i16);
        match self {
            Self::A => linear.map(|s| g711::decode_alaw(g711::encode_alaw(s))).collect(),
            Self::Mu => linear.map(|s| g711::decode_ulaw(g711::encode_ulaw(s))).collect(),
        }
    }

    /// The amplitude of a sine at 0 dBm0: the overload point is 3.14 dBm0 in A-law and 3.17 in µ-law (G.711, tables 1 and 2).
    pub(crate) fn amplitude(self, dbm0: f64) -> f64 {
        let (overload, centibels) = match self {
            Self::A => (32_768.0, 31.4),
            Self::Mu => (32_636.0, 31.7),
        };
        overload * 10_f64.powf((dbm0 - centibels / 10.0) / 20.0)
    }
}

/// Everything that keys did in `pcm`, heard in packets.
pub(crate) fn keys(pcm: &[i16]) -> Vec<Key> {
    let mut detector = Detector::new();
    let mut keys = Vec::new();
    for packet in pcm.chunks(160) {
        detector.push(packet, |key| keys.push(key));
    }
    keys.extend(detector.flush());
    keys
}

/// The digits in `pcm`.
pub(crate) fn digits(pcm: &[i16]) -> String {
    keys(pcm)
        .into_iter()
        .filter_map(|key| match key {
            Key::Down(_) => None,
            Key::Up { digit, .. } => Some(digit.as_char()),
        })
        .collect()
}

/// Two tones, as they are to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signal {
    pub(crate) digit: Digit,
    pub(crate) ms: f64,
    /// Level of each tone.
    pub(crate) low_dbm0: f64,
    pub(crate) high_dbm0: f64,
    /// What the frequencies are multiplied by, and what is added to them.
    pub(crate) low_off: f64,
    pub(crate) high_off: f64,
}

impl Signal {
    pub(crate) fn new(digit: Digit) -> Self {
        Self { digit, ms: 60.0, low_dbm0: -10.0, high_dbm0: -10.0, low_off: 0.0, high_off: 0.0 }
    }

    pub(crate) fn ms(self, ms: f64) -> Self {
        Self { ms, ..self }
    }

    pub(crate) fn levels(self, low_dbm0: f64, high_dbm0: f64) -> Self {
        Self { low_dbm0, high_dbm0, ..self }
    }

    /// Adds this signal to `audio` from `start_ms` on; `breaks` are spans in it that are silent.
    pub(crate) fn add_to(&self, audio: &mut [f64], start_ms: f64, law: Law, phases: (f64, f64)) {
        let (low, high) = self.digit.tones();
        let (low, high) = (f64::from(low) + self.low_off, f64::from(high) + self.high_off);
        let (a, b) = (law.amplitude(self.low_dbm0), law.amplitude(self.high_dbm0));
        let first = (start_ms * 8.0).round() as usize;
        let last = first + (self.ms * 8.0).round() as usize;
        for n in first..last.min(audio.len()) {
            let t = (n - first) as f64 / 8000.0 * std::f64::consts::TAU;
            audio[n] += a * (low * t + phases.0).sin() + b * (high * t + phases.1).sin();
        }
    }
}

/// Noise and choices that are the same in every run.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        chance.unit();
        chance.unit();
        chance
    }

    /// From 0 to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        // Xorshift64*.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normally distributed, of variance 1.
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    pub(crate) fn phases(&mut self) -> (f64, f64) {
        (self.unit() * std::f64::consts::TAU, self.unit() * std::f64::consts::TAU)
    }
}

/// A dialled string with noise around it.
fn dialled() -> Vec<i16> {
    let mut chance = Chance::new(9);
    let mut audio: Vec<f64> = (0..8 * 2000).map(|_| 100.0 * chance.normal()).collect();
    for (n, digit) in Digit::ALL.into_iter().enumerate() {
        Signal::new(digit).add_to(&mut audio, 100.0 + n as f64 * 113.3, Law::A, chance.phases());
    }
    Law::A.pass(&audio)
}

#[test]
fn it_does_not_matter_how_the_audio_is_cut() {
    let pcm = dialled();
    let whole = keys(&pcm);
    assert_eq!(whole.len(), 32);
    for length in [1, 7, 40, 41, 80, 161, 480, pcm.len()] {
        let mut detector = Detector::new();
        let mut keys = Vec::new();
        for part in pcm.chunks(length) {
            detector.push(part, |key| keys.push(key));
            detector.push(&[], |_| unreachable!("nothing was heard"));
        }
        assert_eq!(keys, whole, "{length}");
    }
}

#[test]
fn hearing_allocates_nothing() {
    let pcm = dialled();
    let mut detector = Detector::new();
    let mut keys = 0;
    let counts = alloc_count::count(|| {
        for part in pcm.chunks(160) {
            detector.push(part, |_| keys += 1);
        }
    });
    assert_eq!((counts.allocs, keys), (0, 32));
}

#[test]
fn a_key_that_is_held_when_the_audio_ends_comes_up() {
    let mut audio = vec![0.0; 8 * 300];
    Signal::new(Digit::D7).ms(300.0).add_to(&mut audio, 100.0, Law::Mu, (0.0, 0.0));
    let mut detector = Detector::new();
    let mut keys = Vec::new();
    detector.push(&Law::Mu.pass(&audio), |key| keys.push(key));
    assert_eq!((&keys[..], detector.is_down()), (&[Key::Down(Digit::D7)][..], true));
    assert_eq!(detector.flush(), Some(Key::Up { digit: Digit::D7, duration_ms: 190 }));
    assert_eq!((detector.flush(), detector.is_down()), (None, false));
}

/// A key that follows another without a pause ends it.
#[test]
fn keys_without_a_pause_between_them_are_told_apart() {
    let mut audio = vec![0.0; 8 * 500];
    for (n, digit) in [Digit::D1, Digit::D2, Digit::D5].into_iter().enumerate() {
        Signal::new(digit).add_to(&mut audio, 50.0 + n as f64 * 60.0, Law::A, (1.0, 2.0));
    }
    assert_eq!(digits(&Law::A.pass(&audio)), "125");
}

/// Noise, one tone alone, steps and rubbish.
#[test]
fn what_is_no_key_is_not_heard() {
    let mut chance = Chance::new(3);
    for rms in [30.0, 300.0, 3_000.0, 30_000.0] {
        let noise: Vec<f64> = (0..8000 * 60).map(|_| rms * chance.normal()).collect();
        assert_eq!(digits(&Law::A.pass(&noise)), "", "{rms}");
    }
    for hz in (200..3400).step_by(3) {
        let tone: Vec<f64> =
            (0..1600).map(|n| 8_000.0 * (f64::from(n * hz) / 8000.0 * std::f64::consts::TAU).sin()).collect();
        assert_eq!(digits(&Law::Mu.pass(&tone)), "", "{hz} Hz");
    }
    let steps: Vec<i16> = (0..80_000).map(|n| if n / 57 % 2 == 0 { i16::MIN } else { i16::MAX }).collect();
    assert_eq!(digits(&steps), "");
}
