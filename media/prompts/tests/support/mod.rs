//! What the tests of whole files share.

use std::f64::consts::TAU;

use media_prompts::{Error, Limits, NARROW, Speech, WIDE, decode};

pub(crate) fn tone(rate: u32, hz: f64, amplitude: f64, seconds: f64) -> Vec<f64> {
    let samples = (seconds * f64::from(rate)) as usize;
    (0..samples).map(|n| amplitude * (TAU * hz * n as f64 / f64::from(rate)).sin()).collect()
}

pub(crate) fn decoded(file: &[u8]) -> Speech {
    let [speech] = decode(file, &Limits::default(), [NARROW]).unwrap();
    speech
}

pub(crate) fn refused(file: &[u8]) -> Error {
    decode(file, &Limits::default(), [NARROW, WIDE]).unwrap_err()
}

/// Power of what differs from a tone at 8 kHz, in dB against that tone, away from the filter's edges.
pub(crate) fn distortion(speech: &Speech, hz: f64, amplitude: f64) -> f64 {
    let ideal = tone(8_000, hz, amplitude, speech.duration().as_secs_f64());
    let range = 400..speech.samples().len().min(ideal.len()) - 400;
    let error: f64 = range.clone().map(|n| (f64::from(speech.samples()[n]) - ideal[n]).powi(2)).sum();
    10.0 * (error / range.len() as f64 / (amplitude * amplitude / 2.0)).max(1e-12).log10()
}
