//! Sound at 8 kHz: voices, tones, noise, and what a telephone line does to them.

use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use media_core::g711;

use crate::random::Random;
use crate::words::{Engine, Speaker};

pub(crate) const RATE: u32 = 8000;

/// Where Debian puts the recorded voices.
const RECORDED: &str = "/usr/share/asterisk/sounds";

/// What `speaker` makes of `words`, without the silence at either end.
pub(crate) fn say(speaker: Speaker, words: &str, speed: u32, pitch: u32) -> anyhow::Result<Vec<f32>> {
    let wav = match speaker.engine {
        Engine::Recorded => {
            let path = format!("{RECORDED}/{}/{words}.wav", speaker.name);
            std::fs::read(&path).with_context(|| format!("{path} (install asterisk-core-sounds-*-wav)"))?
        }
        Engine::Espeak => output(Command::new("espeak-ng").args([
            "-v",
            speaker.name,
            "-s",
            &speed.to_string(),
            "-p",
            &pitch.to_string(),
            "--stdout",
            words,
        ]))?,
        Engine::Flite => {
            let stretch = format!("duration_stretch={}", 160.0 / speed as f32);
            output(Command::new("flite").args([
                "-voice",
                speaker.name,
                "--setf",
                &stretch,
                "-t",
                words,
                "-o",
                "/dev/stdout",
            ]))?
        }
    };
    let (rate, samples) = parse(&wav).with_context(|| format!("{words:?} by {}", speaker.name))?;
    let samples = trimmed(&to_8k(&samples, rate));
    ensure!(samples.len() > 800, "{words:?} by {} is nearly nothing", speaker.name);
    Ok(samples)
}

fn output(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} (is it installed?)"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// 16-bit mono WAV; what is written to a pipe states no length, so the data goes on to the end.
fn parse(wav: &[u8]) -> anyhow::Result<(u32, Vec<f32>)> {
    let mut rate = None;
    let mut rest = wav.get(12..).context("no WAV")?;
    while let Some((head, body)) = rest.split_at_checked(8) {
        let length = u32::from_le_bytes(head[4..8].try_into()?) as usize;
        match &head[..4] {
            b"fmt " => {
                ensure!(body.len() >= 16 && body[2] == 1 && body[14] == 16, "not 16-bit mono");
                rate = Some(u32::from_le_bytes(body[4..8].try_into()?));
            }
            b"data" => {
                let data = body.get(..length).unwrap_or(body);
                let samples =
                    data.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])));
                return Ok((rate.context("data before the format")?, samples.collect()));
            }
            _ => {}
        }
        rest = body.get(length + length % 2..).unwrap_or(&[]);
    }
    bail!("no data in the WAV")
}

/// By a windowed sinc with its edge at 3.6 kHz, a table of it for each place between two samples.
fn to_8k(samples: &[f32], rate: u32) -> Vec<f32> {
    const HALF: usize = 48;
    const PLACES: usize = 160;
    if rate == RATE {
        return samples.to_vec();
    }
    let cutoff = 2.0 * 3600.0 / rate as f32;
    let kernel: Vec<[f32; 2 * HALF]> = (0..PLACES)
        .map(|place| {
            std::array::from_fn(|tap| {
                let t = tap as f32 - (HALF - 1) as f32 - place as f32 / PLACES as f32;
                let x = std::f32::consts::PI * cutoff * t;
                let sinc = if x.abs() < 1e-5 { 1.0 } else { x.sin() / x };
                let window = 0.5 + 0.5 * (std::f32::consts::PI * t / HALF as f32).cos();
                sinc * window * cutoff
            })
        })
        .collect();
    let padded = [&[0.0; HALF - 1][..], samples, &[0.0; HALF + 1]].concat();
    let step = rate as usize * PLACES / RATE as usize;
    (0..samples.len() * PLACES / step)
        .map(|n| {
            let (at, place) = (n * step / PLACES, n * step % PLACES);
            padded[at..at + 2 * HALF].iter().zip(&kernel[place]).map(|(sample, weight)| sample * weight).sum()
        })
        .collect()
}

fn trimmed(samples: &[f32]) -> Vec<f32> {
    let loudest = samples.iter().fold(0.0f32, |loudest, sample| loudest.max(sample.abs()));
    let heard = |sample: &f32| sample.abs() > 0.02 * loudest;
    let (Some(first), Some(last)) = (samples.iter().position(heard), samples.iter().rposition(heard)) else {
        return Vec::new();
    };
    samples[first..=last].to_vec()
}

/// `samples` at `db`: their loudest 30 % of 20 ms, which are speech, relative to a sine at full scale.
pub(crate) fn at_level(mut samples: Vec<f32>, db: f32) -> Vec<f32> {
    let mut powers: Vec<f32> = samples.chunks(160).map(mean_square).collect();
    powers.sort_by(|a, b| b.total_cmp(a));
    let loud = &powers[..(powers.len() * 3 / 10).max(1)];
    let level = loud.iter().sum::<f32>() / loud.len() as f32;
    let gain = (mean_square_at(db) / level.max(1e-6)).sqrt();
    samples.iter_mut().for_each(|sample| *sample *= gain);
    samples
}

fn mean_square(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32
}

fn mean_square_at(db: f32) -> f32 {
    32_768.0 * 32_768.0 / 2.0 * 10f32.powf(db / 10.0)
}

pub(crate) fn silence(ms: u32) -> Vec<f32> {
    vec![0.0; (ms * RATE / 1000) as usize]
}

/// `tones` together at `db` in all, with edges of 2 ms.
pub(crate) fn tone(ms: u32, tones: &[f32], db: f32) -> Vec<f32> {
    let length = (ms * RATE / 1000) as usize;
    let amplitude = 32_768.0 * 10f32.powf(db / 20.0) / (tones.len() as f32).sqrt();
    (0..length)
        .map(|n| {
            let edge = (n.min(length - n) as f32 / 16.0).min(1.0);
            let sum: f32 =
                tones.iter().map(|hz| (std::f32::consts::TAU * hz * n as f32 / RATE as f32).sin()).sum();
            sum * amplitude * edge
        })
        .collect()
}

/// What lies behind everything that is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Noise {
    /// Digital silence.
    None,
    White(f32),
    /// Falls with 3 dB an octave, like rooms and streets.
    Pink(f32),
}

pub(crate) fn add_noise(samples: &mut [f32], noise: Noise, random: &mut Random) {
    let mut rows = [0.0f32; 3];
    let mut background: Vec<f32> = (0..samples.len())
        .map(|_| {
            let white = random.unit() * 2.0 - 1.0;
            match noise {
                Noise::None => 0.0,
                Noise::White(_) => white,
                Noise::Pink(_) => {
                    // Three poles that follow -3 dB an octave within a decibel over the telephone band.
                    rows[0] = 0.99765 * rows[0] + white * 0.0990460;
                    rows[1] = 0.96300 * rows[1] + white * 0.2965164;
                    rows[2] = 0.57000 * rows[2] + white * 1.0526913;
                    rows.iter().sum::<f32>() + white * 0.1848
                }
            }
        })
        .collect();
    let db = match noise {
        Noise::None => return,
        Noise::White(db) | Noise::Pink(db) => db,
    };
    let gain = (mean_square_at(db) / mean_square(&background)).sqrt();
    background.iter_mut().for_each(|sample| *sample *= gain);
    samples.iter_mut().zip(background).for_each(|(sample, noise)| *sample += noise);
}

/// What is left of it after the codec, with frames lost and concealed by the frame before, fading.
pub(crate) fn transmit(samples: &[f32], a_law: bool, loss_percent: u32, random: &mut Random) -> Vec<i16> {
    let mut out: Vec<i16> = samples
        .iter()
        .map(|sample| {
            let linear = sample.clamp(-32_768.0, 32_767.0) as i16;
            if a_law {
                g711::decode_alaw(g711::encode_alaw(linear))
            } else {
                g711::decode_ulaw(g711::encode_ulaw(linear))
            }
        })
        .collect();
    for frame in 1..out.len() / 160 {
        if random.between(1, 100) <= loss_percent {
            for n in frame * 160..(frame + 1) * 160 {
                out[n] = out[n - 160] / 2;
            }
        }
    }
    out
}
