//! Listens for keys in the sound of a leg.

use super::{Detector, Key};
use crate::resample::Resampler;

const RATE: u32 = 8000;
/// [`crate::Ptime::MAX`], 60 ms.
const LONGEST: usize = 480;

/// A [`Detector`] with what brings the sound of any codec to its rate.
#[derive(Debug, Clone)]
pub struct Listener {
    detector: Detector,
    resampler: Option<(u32, Resampler)>,
}

impl Default for Listener {
    fn default() -> Self {
        Self::new()
    }
}

impl Listener {
    /// A listener that has heard nothing.
    pub fn new() -> Self {
        Self { detector: Detector::new(), resampler: None }
    }

    /// Takes the next sound, at `rate`.
    pub(crate) fn hear(&mut self, rate: u32, sound: &[i16], heard: impl FnMut(Key)) {
        if rate == RATE {
            self.resampler = None;
            return self.detector.push(sound, heard);
        }
        if self.resampler.as_ref().is_none_or(|(from, _)| *from != rate) {
            self.resampler = Resampler::new(rate, RATE).map(|resampler| (rate, resampler));
        }
        let Some((_, resampler)) = &mut self.resampler else { return };
        let mut narrow = [0; LONGEST];
        let samples = resampler.process(sound, &mut narrow);
        self.detector.push(&narrow[..samples], heard);
    }

    /// Whether a key is down.
    pub(crate) fn key_is_down(&self) -> bool {
        self.detector.is_down()
    }

    /// The key that is down, if any, comes up.
    pub(crate) fn flush(&mut self) -> Option<Key> {
        self.detector.flush()
    }
}
