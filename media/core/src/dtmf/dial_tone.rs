//! Keys pressed into a dial tone: the tone is known by what it has been, and then its energy does not count.
//!
//! Most of what speech has above 600 Hz could pass for a key now and then: what it has below is what tells it from keys. So
//! nothing is taken away before something low has stood alone for [`SURE`] frames, and not for longer than [`LASTING`]
//! frames after it last did, in which no key was down. Silence and keys are not filtered at all.
//!
//! The limit is ours: each of a key's tones may be 15 dB weaker than each of a dial tone's, which at the nominal −10 dBm0 of
//! E.180 is the least that most of Q.24's columns want to be taken (−25 dBm).

use super::detector::{Bank, HOP, WINDOW};

/// Frames in which a sound must have little of keys before it is looked at.
const OTHER: u8 = 10;
/// How much, as a part of its power.
const LITTLE: f32 = 0.1;
/// Frames until the filter and the window show nothing of what was before.
const SETTLING: u8 = 8;
/// Frames in which the tone must stand alone then. No syllable hums for as long without anything above.
const SURE: u8 = 60;
/// Frames in which it must stand alone to be there still.
const STILL: u8 = 8;
/// A second.
const LASTING: u8 = 200;
/// The part of a dial tone that is above the edge of the filter, at most: noise, 17 dB down.
const REST: f32 = 0.02;

/// One window of sound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard<'a> {
    pub(super) samples: &'a [f32; WINDOW],
    /// Mean square of everything.
    pub(super) power: f32,
    /// Of the loudest pair of a key's tones.
    pub(super) tones: f32,
    /// Whether a key is down.
    pub(super) held: bool,
}

/// What is known of a dial tone.
#[derive(Debug, Clone)]
pub(super) struct DialTone {
    stage: Stage,
    filter: HighPass,
    /// The last window of what the filter lets through.
    samples: [f32; WINDOW],
}

/// Frames are counted from the beginning of the stage.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// For so many frames it has been something else than a key.
    Any { other: u8 },
    /// It may be a dial tone: the filter runs.
    Perhaps { frames: u8 },
    /// It is one, or was so many frames ago; the last `alone` frames have nothing else.
    Known { ago: u8, alone: u8 },
}

impl DialTone {
    pub(super) fn new() -> Self {
        Self { stage: Stage::NOTHING, filter: HighPass::default(), samples: [0.0; WINDOW] }
    }

    /// Takes the newest hop of a window; `least` is the power of the weakest key. Returns the power of the window without the
    /// dial tone that is or was just now there, if one was.
    pub(super) fn take_away(&mut self, heard: &Heard<'_>, least: f32) -> Option<f32> {
        let Heard { samples, power, tones, held } = *heard;
        if let Stage::Any { other } = &mut self.stage {
            *other = if power >= least && tones <= LITTLE * power { *other + 1 } else { 0 };
            if *other >= OTHER {
                (self.stage, self.filter) = (Stage::Perhaps { frames: 0 }, HighPass::default());
            }
            return None;
        }
        self.samples.copy_within(HOP.., 0);
        for (filtered, sample) in self.samples[WINDOW - HOP..].iter_mut().zip(&samples[WINDOW - HOP..]) {
            *filtered = self.filter.pass(*sample);
        }
        let rest = Bank::get().power(&self.samples);
        let is_dial_tone = power >= least && rest <= REST * power;
        match self.stage {
            Stage::Any { .. } => None,
            Stage::Perhaps { frames } if frames >= SETTLING && !is_dial_tone => {
                self.stage = Stage::NOTHING;
                None
            }
            Stage::Perhaps { frames } if frames >= SETTLING + SURE => {
                self.stage = Stage::Known { ago: 0, alone: 0 };
                Some(rest)
            }
            Stage::Perhaps { frames } => {
                self.stage = Stage::Perhaps { frames: frames + 1 };
                None
            }
            Stage::Known { ago: LASTING, .. } => {
                self.stage = Stage::NOTHING;
                None
            }
            Stage::Known { ago, alone } => {
                let alone = if is_dial_tone { (alone + 1).min(STILL) } else { 0 };
                let ago = match (alone, held) {
                    (STILL, _) => 0,
                    (_, true) => ago,
                    (_, false) => ago + 1,
                };
                self.stage = Stage::Known { ago, alone };
                Some(rest)
            }
        }
    }
}

impl Stage {
    const NOTHING: Self = Self::Any { other: 0 };
}

/// Above 670 Hz everything within 0.1 dB, at 300 to 440 Hz 45 dB less, at 459 Hz (450 and 2 %) 36 dB: an elliptic filter of
/// the fifth order.
#[derive(Debug, Clone, Default)]
struct HighPass([[f32; 2]; 3]);

/// Its sections: three coefficients of the numerator and two of the denominator.
const SECTIONS: [[f32; 5]; 3] = [
    [0.472_094_7, -0.472_094_7, 0.0, -0.408_455_88, 0.0],
    [1.0, -1.950_674, 1.0, -1.303_115_7, 0.575_808_3],
    [1.0, -1.889_984_8, 1.0, -1.676_643_6, 0.901_887_06],
];

impl HighPass {
    fn pass(&mut self, sample: f32) -> f32 {
        SECTIONS.iter().zip(&mut self.0).fold(sample, |x, ([b0, b1, b2, a1, a2], [one, two])| {
            let y = b0 * x + *one;
            (*one, *two) = (b1 * x - a1 * y + *two, b2 * x - a2 * y);
            y
        })
    }
}
