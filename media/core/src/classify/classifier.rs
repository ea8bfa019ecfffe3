//! An analyser as a tap of a leg.

use super::{Analyser, Finding, Parameters};
use crate::resample::Resampler;

const RATE: u32 = 8000;
/// Samples of the longest packet time: that of a frame at 48 kHz, at 8 kHz.
const LONGEST: usize = crate::Leg::MAX_FRAME / 6;

/// An [`Analyser`] with what brings the sound of any codec to its rate.
#[derive(Debug)]
pub struct Classifier {
    analyser: Analyser,
    resampler: Option<(u32, Resampler)>,
}

impl Classifier {
    /// A classifier of a call that is not answered yet.
    pub fn new(parameters: Parameters) -> Self {
        Self { analyser: Analyser::new(parameters), resampler: None }
    }

    /// See [`Analyser::answered`].
    pub fn answered(&mut self) {
        self.analyser.answered();
    }

    /// Takes the next sound, at `rate`.
    pub(crate) fn hear(&mut self, rate: u32, sound: &[i16]) {
        if rate == RATE {
            self.resampler = None;
            return self.analyser.push(sound);
        }
        if self.resampler.as_ref().is_none_or(|(from, _)| *from != rate) {
            self.resampler = Resampler::new(rate, RATE).map(|resampler| (rate, resampler));
        }
        let Some((_, resampler)) = &mut self.resampler else { return };
        let mut narrow = [0; LONGEST];
        let samples = resampler.process(sound, &mut narrow);
        self.analyser.push(&narrow[..samples]);
    }

    pub(crate) fn poll(&mut self) -> Option<Finding> {
        self.analyser.poll()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.analyser.is_done()
    }
}
