//! The level of a prompt: measured as speech, brought to one loudness, never clipped.

use crate::Speech;

/// Where prompts are brought to: active-speech level in dB against the overload point of 16-bit linear audio.
/// The test speech of ITU-T P.830 lies at -26 dBov; announcements heard on loudspeakers and in the street
/// want more, and speech's crest of 15 to 18 dB still fits under the overload point at -20.
pub const TARGET_DBOV: f32 = -20.0;

/// A prompt this near to the target is left as it is, bit for bit: the ear does not hear one decibel.
pub const TOLERANCE_DB: f32 = 1.0;

/// Most that a prompt is raised: beyond it one lifts the noise of the room, not a voice.
pub const MAX_GAIN_DB: f32 = 20.0;

/// No sample leaves above this. 1 dB is left for the peaks between the samples that the far end's filter
/// restores, and the encoders' own overload points (-0.17 dB in \u{b5}-law) are kept away.
pub const CEILING_DBOV: f32 = -1.0;

/// Below this a prompt is silence, and stays so.
pub const SILENCE_DBOV: f32 = -60.0;

/// ITU-T P.56 counts as active what lies above the active level minus this margin.
const ACTIVITY_MARGIN_DB: f32 = 15.9;

/// Blocks in a second in which level is judged. 20 ms are shorter than a syllable, longer than a pitch period.
const BLOCKS: usize = 50;

/// How often the reach of the limiter to either side of a peak fits into a second: 5 ms are one pitch period of a low
/// voice, so that the gain does not follow the waveform itself.
const LIMITER_REACHES: usize = 200;

/// The active-speech level in dBov: the mean power of the blocks that are within the margin of ITU-T P.56
/// below that very mean. Pauses do not count. None for silence.
pub fn active_level(speech: &Speech) -> Option<f32> {
    let blocks: Vec<f64> = speech
        .samples()
        .chunks(speech.rate as usize / BLOCKS)
        .map(|block| block.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / block.len() as f64)
        .collect();
    let margin = f64::from(10f32.powf(-ACTIVITY_MARGIN_DB / 10.0));
    let mut level = 0.0;
    // The threshold only rises, so the set of active blocks only shrinks and this ends.
    loop {
        let (mut sum, mut active) = (0.0, 0usize);
        for power in blocks.iter().filter(|power| **power >= level * margin) {
            sum += power;
            active += 1;
        }
        let next = if active == 0 { 0.0 } else { sum / active as f64 };
        if next <= level {
            break;
        }
        level = next;
    }
    let dbov = 10.0 * level.max(f64::MIN_POSITIVE).log10() as f32;
    (dbov >= SILENCE_DBOV).then_some(dbov)
}

/// Brings a prompt to [`TARGET_DBOV`] with one gain for the whole, and holds single peaks under
/// [`CEILING_DBOV`].
pub fn normalise(mut speech: Speech) -> Speech {
    let gain_db = match active_level(&speech) {
        Some(level) if (TARGET_DBOV - level).abs() > TOLERANCE_DB => (TARGET_DBOV - level).min(MAX_GAIN_DB),
        Some(_) | None => 0.0,
    };
    if gain_db != 0.0 {
        let gain = amplitude(gain_db);
        speech.samples.iter_mut().for_each(|s| *s *= gain);
    }
    limit(&mut speech.samples, amplitude(CEILING_DBOV), speech.rate as usize / LIMITER_REACHES);
    speech
}

/// Makes a prompt so many dB louder or softer, and holds single peaks under [`CEILING_DBOV`].
pub fn amplify(mut speech: Speech, db: i8) -> Speech {
    if db != 0 {
        let gain = amplitude(f32::from(db));
        speech.samples.iter_mut().for_each(|s| *s *= gain);
        limit(&mut speech.samples, amplitude(CEILING_DBOV), speech.rate as usize / LIMITER_REACHES);
    }
    speech
}

fn amplitude(db: f32) -> f32 {
    10f32.powf(db / 20.0)
}

/// Turns the gain down around peaks above the ceiling, smoothly and ahead of them.
///
/// The gain that each sample needs is held over the reach to both sides (a running minimum), then averaged
/// over the same reach. Every value that goes into the average around a peak has that peak in its own reach,
/// so the average is never above what the peak needs: no overshoot is left to clip.
fn limit(samples: &mut [f32], ceiling: f32, reach: usize) {
    let peak = samples.iter().fold(0f32, |peak, s| peak.max(s.abs()));
    if peak <= ceiling {
        return;
    }
    let needed: Vec<f32> = samples.iter().map(|s| (ceiling / s.abs()).min(1.0)).collect();
    let window = |n: usize, length: usize| n.saturating_sub(reach)..(n + reach + 1).min(length);
    let held: Vec<f32> = (0..needed.len())
        .map(|n| needed[window(n, needed.len())].iter().fold(1.0f32, |least, gain| least.min(*gain)))
        .collect();
    for (n, sample) in samples.iter_mut().enumerate() {
        let around = &held[window(n, held.len())];
        *sample *= around.iter().sum::<f32>() / around.len() as f32;
        // Rounding in the sum may leave an excess of one part in a million.
        *sample = sample.clamp(-ceiling, ceiling);
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    fn tone(amplitude: f32, seconds: f32) -> Vec<f32> {
        (0..(seconds * 8_000.0) as usize)
            .map(|n| amplitude * (TAU * 440.0 * n as f32 / 8_000.0).sin())
            .collect()
    }

    fn speech(samples: Vec<f32>) -> Speech {
        Speech { samples, rate: 8_000, source_rate: 8_000, source_channels: 1 }
    }

    #[test]
    fn pauses_do_not_count() {
        let talk = tone(0.2, 1.0);
        let alone = active_level(&speech(talk.clone())).unwrap();
        assert!((alone - (20.0 * 0.2f32.log10() - 3.01)).abs() < 0.05, "{alone}");
        let mut with_pauses = vec![0.0; 40_000];
        with_pauses.extend(talk);
        with_pauses.extend(vec![0.0001; 40_000]);
        let level = active_level(&speech(with_pauses)).unwrap();
        assert!((level - alone).abs() < 0.1, "{level} against {alone}");
    }

    #[test]
    fn loud_and_soft_meet_at_the_target() {
        for amplitude in [0.02, 0.05, 0.3, 0.99, 3.0] {
            let level = active_level(&normalise(speech(tone(amplitude, 1.0)))).unwrap();
            assert!((level - TARGET_DBOV).abs() < 0.1, "{amplitude}: {level}");
        }
    }

    #[test]
    fn a_prompt_at_its_level_is_not_touched() {
        let samples = tone(amplitude(TARGET_DBOV + 3.01 + 0.9), 1.0);
        assert_eq!(normalise(speech(samples.clone())).samples, samples);
    }

    #[test]
    fn a_volume_is_met_unless_it_overloads() {
        let talk = speech(tone(0.1, 1.0));
        let before = active_level(&talk).unwrap();
        for db in [-30, -6, 0, 6, 12] {
            let level = active_level(&amplify(talk.clone(), db)).unwrap();
            assert!((level - before - f32::from(db)).abs() < 0.1, "{db}: {level}");
        }
        assert_eq!(amplify(talk.clone(), 0), talk);
        let ceiling = amplitude(CEILING_DBOV);
        assert!(amplify(talk, 20).samples.iter().all(|s| s.abs() <= ceiling));
    }

    #[test]
    fn silence_stays_silence() {
        for samples in [vec![], vec![0.0; 8_000], tone(0.0005, 1.0)] {
            assert_eq!(active_level(&speech(samples.clone())), None);
            assert_eq!(normalise(speech(samples.clone())).samples, samples);
        }
    }

    #[test]
    fn the_gain_is_bounded() {
        let level = active_level(&normalise(speech(tone(0.003, 1.0)))).unwrap();
        let raised = level - (20.0 * 0.003f32.log10() - 3.01);
        assert!((raised - MAX_GAIN_DB).abs() < 0.1, "{raised}");
    }

    #[test]
    fn peaks_are_held_without_clipping_and_the_rest_is_left_alone() {
        // Soft speech with a loud click in it: the click must not keep the speech soft, nor clip.
        let mut samples = tone(0.02, 2.0);
        samples[8_000] = 0.9;
        samples[15_999] = -0.9;
        let out = normalise(speech(samples.clone())).samples;
        let ceiling = amplitude(CEILING_DBOV);
        assert!(out.iter().all(|s| s.abs() <= ceiling));
        assert!(out[8_000] > ceiling * 0.99, "the click itself is at the ceiling: {}", out[8_000]);
        let gain = out[4_000 + 5] / samples[4_000 + 5];
        assert!(gain > 3.0, "{gain}");
        for n in 1_000..7_900 {
            assert!((out[n] - samples[n] * gain).abs() < 1e-5, "sample {n} is outside the limiter's reach");
        }
    }
}
