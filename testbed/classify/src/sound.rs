//! Sound at 8 kHz: voices, tones, noise, and what a telephone line does to them.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail, ensure};
use media_core::{Decoder, Encoder, Resampler, g711, g722};

use crate::material::{Codec, Engine, Music, Noise, Speaker};
use crate::random::Random;

pub(crate) const RATE: u32 = 8000;

/// Where Debian puts the recorded voices.
const RECORDED: &str = "/usr/share/asterisk/sounds";
/// And music.
const MUSIC: &str = "/usr/share/asterisk/moh";

/// How something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Delivery {
    /// Words a minute; the voices of festival have one speed each.
    pub(crate) speed: u32,
    /// espeak-ng's, 0 to 99.
    pub(crate) pitch: u32,
    /// How much the pitch goes up and down, in percent of what it would do; espeak-ng's only.
    pub(crate) range: u32,
}

/// What `speaker` makes of `words`, without the silence at either end.
pub(crate) fn say(speaker: Speaker, words: &str, delivery: Delivery) -> anyhow::Result<Vec<f32>> {
    let Delivery { speed, pitch, range } = delivery;
    let wav = match speaker.engine {
        Engine::Recorded => recording(&format!("{RECORDED}/{}/{words}", speaker.name))?,
        Engine::Espeak => output(Command::new("espeak-ng").args([
            "-m",
            "-v",
            speaker.name,
            "-s",
            &speed.to_string(),
            "-p",
            &pitch.to_string(),
            "--stdout",
            &format!("<prosody range=\"{range}%\">{words}</prosody>"),
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
        Engine::Festival => festival(speaker, words)?,
    };
    let (rate, samples) = parse(&wav).with_context(|| format!("{words:?} by {}", speaker.name))?;
    let samples = trimmed(&to_8k(&samples, rate));
    ensure!(samples.len() > 800, "{words:?} by {} is nearly nothing", speaker.name);
    Ok(samples)
}

/// Music on hold, from its beginning.
pub(crate) fn music(music: Music) -> anyhow::Result<Vec<f32>> {
    match music {
        Music::File(name) => {
            let wav = recording(&format!("{MUSIC}/{name}"))?;
            let (rate, samples) = parse(&wav).with_context(|| name.to_owned())?;
            Ok(to_8k(&samples, rate))
        }
        Music::Strings { hertz, tempo } => Ok(strings(hertz as f32, tempo)),
    }
}

/// Half a minute of broken chords (I, vi, IV, V) on plucked strings: Karplus and Strong, "Digital synthesis of plucked-string
/// and drum timbres", 1983.
fn strings(hertz: f32, tempo: u32) -> Vec<f32> {
    const CHORDS: [[i32; 6]; 4] =
        [[0, 7, 12, 16, 12, 7], [-3, 4, 9, 12, 9, 4], [5, 12, 17, 21, 17, 12], [7, 14, 19, 23, 19, 14]];
    let mut random = Random::of(&format!("strings of {hertz} Hz"));
    let step = (RATE * 60 / tempo) as usize;
    let mut sound = vec![0.0; RATE as usize * 30];
    for (n, start) in (0..sound.len()).step_by(step).enumerate() {
        let pitch = hertz * 2f32.powf(CHORDS[n / 6 % 4][n % 6] as f32 / 12.0);
        let mut string: Vec<f32> =
            (0..(RATE as f32 / pitch) as usize).map(|_| random.unit() * 2.0 - 1.0).collect();
        let length = string.len();
        for (at, sample) in sound[start..].iter_mut().take(6 * step).enumerate() {
            let (this, next) = (string[at % length], string[(at + 1) % length]);
            *sample += this * 4000.0;
            string[at % length] = 0.498 * (this + next);
        }
    }
    sound
}

/// One of Asterisk's files, which are WAV or GSM full rate.
fn recording(path: &str) -> anyhow::Result<Vec<u8>> {
    match std::fs::read(format!("{path}.wav")) {
        Ok(wav) => Ok(wav),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => output(
            Command::new("sox")
                .arg(format!("{path}.gsm"))
                .args(["-e", "signed", "-b", "16", "-t", "wav", "-"]),
        )
        .with_context(|| format!("{path} (scripts/packages.sh installs Asterisk's prompts and music)")),
        Err(error) => Err(error).with_context(|| path.to_owned()),
    }
}

/// Festival takes a second to start and says the same words in the same way, so what it said is kept while the process lives.
fn festival(speaker: Speaker, words: &str) -> anyhow::Result<Vec<u8>> {
    static SAID: Mutex<BTreeMap<(Speaker, String), Vec<u8>>> = Mutex::new(BTreeMap::new());
    let key = (speaker, words.to_owned());
    if let Some(wav) = SAID.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(wav.clone());
    }
    let wav = filter(
        Command::new("text2wave").args(["-eval", &format!("(voice_{})", speaker.name), "-"]),
        words.as_bytes(),
    )?;
    SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(key, wav.clone());
    Ok(wav)
}

fn output(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} (is it installed?)"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// 16-bit mono WAV; what is written to a pipe states no length, or too much: then the data goes on to the end.
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
                let data = body.get(..length).filter(|data| !data.is_empty()).unwrap_or(body);
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
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Background {
    /// Digital silence.
    None,
    Steady(Noise),
    /// Other people, or music: over and over.
    Sound(Vec<f32>),
}

/// Puts `background` at `db` behind `samples`. With `comfort_db` it is only there while `samples` sound: in their pauses
/// a far end that sends no silence leaves comfort noise at that level.
pub(crate) fn add_background(
    samples: &mut [f32],
    background: &Background,
    db: f32,
    comfort_db: Option<f32>,
    random: &mut Random,
) {
    let mut rows = [0.0f32; 3];
    let noise: Vec<f32> = (0..samples.len())
        .map(|n| {
            let white = random.unit() * 2.0 - 1.0;
            match background {
                Background::None => 0.0,
                Background::Steady(Noise::White) => white,
                Background::Steady(Noise::Pink) => {
                    // Three poles that follow -3 dB an octave within a decibel over the telephone band.
                    rows[0] = 0.99765 * rows[0] + white * 0.0990460;
                    rows[1] = 0.96300 * rows[1] + white * 0.2965164;
                    rows[2] = 0.57000 * rows[2] + white * 1.0526913;
                    rows.iter().sum::<f32>() + white * 0.1848
                }
                Background::Steady(Noise::Brown) => {
                    // A pole at 20 Hz: below it nothing goes on growing.
                    rows[0] = 0.984 * rows[0] + white;
                    rows[0]
                }
                Background::Steady(Noise::Fan) => {
                    rows[0] = 0.9 * rows[0] + white;
                    let turn = std::f32::consts::TAU * 120.0 * n as f32 / RATE as f32;
                    let blades: f32 = (1..=4).map(|k| (k as f32 * turn).sin() / k as f32).sum();
                    rows[0] + 0.6 * blades
                }
                Background::Sound(sound) => sound[n % sound.len()],
            }
        })
        .collect();
    let gain = (mean_square_at(db) / mean_square(&noise).max(1e-6)).sqrt();
    let comfort = comfort_db.map(|db| (3.0 * mean_square_at(db)).sqrt());
    // As far ends do, from the first loud moment until 200 ms after the last.
    let mut hangover = 0u32;
    for (sample, noise) in samples.iter_mut().zip(noise) {
        hangover = if sample.abs() > 30.0 { RATE / 5 } else { hangover.saturating_sub(1) };
        *sample += match comfort {
            Some(comfort) if hangover == 0 => (random.unit() * 2.0 - 1.0) * comfort,
            Some(_) | None => noise * gain,
        };
    }
}

/// What is left of it after the codec, with frames lost and concealed by the frame before, fading.
pub(crate) fn transmit(
    samples: &[f32],
    codec: Codec,
    loss_percent: u32,
    random: &mut Random,
) -> anyhow::Result<Vec<i16>> {
    let linear: Vec<i16> = samples.iter().map(|sample| sample.clamp(-32_768.0, 32_767.0) as i16).collect();
    let mut out = match codec {
        Codec::ALaw => {
            linear.into_iter().map(|sample| g711::decode_alaw(g711::encode_alaw(sample))).collect()
        }
        Codec::MuLaw => {
            linear.into_iter().map(|sample| g711::decode_ulaw(g711::encode_ulaw(sample))).collect()
        }
        Codec::G722 => by_g722(&linear),
        Codec::Opus => by_opus(&linear),
        Codec::Gsm => {
            by_gsm(&linear)?.into_iter().map(|sample| g711::decode_alaw(g711::encode_alaw(sample))).collect()
        }
    };
    ensure!(
        samples.len().abs_diff(out.len()) < 320,
        "{codec:?} left {} of {} samples",
        out.len(),
        samples.len()
    );
    for frame in 1..out.len() / 160 {
        if random.between(1, 100) <= loss_percent {
            for n in frame * 160..(frame + 1) * 160 {
                out[n] = out[n - 160] / 2;
            }
        }
    }
    Ok(out)
}

/// A gateway makes it wideband, the engine narrow again. Up and down again delays by 6 ms, which nobody is told.
fn by_g722(narrow: &[i16]) -> Vec<i16> {
    let (Some(mut up), Some(mut down)) = (Resampler::new(8000, 16_000), Resampler::new(16_000, 8000)) else {
        return Vec::new();
    };
    let mut wide = vec![0; narrow.len() * 2];
    let length = up.process(narrow, &mut wide);
    let mut codes = vec![0; length / 2];
    g722::Encoder::new().encode(&wide[..length], &mut codes);
    g722::Decoder::new().decode(&codes, &mut wide[..length]);
    let mut out = vec![0; narrow.len()];
    let length = down.process(&wide[..length], &mut out);
    out.truncate(length);
    out
}

/// At 24 kbit/s, from a narrowband line; delays by 6.5 ms and more, which nobody is told.
fn by_opus(narrow: &[i16]) -> Vec<i16> {
    let (Some(mut up), Some(mut down)) = (Resampler::new(8000, 16_000), Resampler::new(16_000, 8000)) else {
        return Vec::new();
    };
    let (mut encoder, mut decoder) =
        (Encoder::new(media_core::Codec::Opus), Decoder::new(media_core::Codec::Opus));
    let (mut wide, mut packet, mut heard, mut frame) = ([0; 320], [0; 640], [0; 320], [0; 160]);
    let mut out = Vec::with_capacity(narrow.len());
    for chunk in narrow.chunks_exact(160) {
        let length = up.process(chunk, &mut wide);
        let octets = encoder.encode(&wide[..length], &mut packet);
        let count = decoder.decode(&packet[..octets], &mut heard);
        let length = down.process(&heard[..count], &mut frame);
        out.extend_from_slice(&frame[..length]);
    }
    out
}

/// By the codec of sox, which is that of Jutta Degener and Carsten Bormann.
fn by_gsm(linear: &[i16]) -> anyhow::Result<Vec<i16>> {
    const RAW: [&str; 9] = ["-t", "raw", "-r", "8000", "-e", "signed", "-b", "16", "-L"];
    const GSM: [&str; 4] = ["-t", "gsm", "-r", "8000"];
    let mut samples = Vec::with_capacity(linear.len() * 2);
    samples.extend(linear.iter().flat_map(|sample| sample.to_le_bytes()));
    let coded =
        filter(Command::new("sox").arg("-D").args(RAW).args(["-c", "1", "-"]).args(GSM).arg("-"), &samples)?;
    let decoded = filter(Command::new("sox").arg("-D").args(GSM).arg("-").args(RAW).arg("-"), &coded)?;
    Ok(decoded
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .take(linear.len())
        .collect())
}

/// What a program makes of what it is given.
fn filter(command: &mut Command, input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?} (is it installed?)"))?;
    let mut to = child.stdin.take().context("no standard input")?;
    let (written, output) = std::thread::scope(|scope| {
        // Both at once, for neither pipe holds all of it; dropping the end of it ends the input.
        let writer = scope.spawn(move || to.write_all(input));
        let output = child.wait_with_output();
        (writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), output)
    });
    let output = output?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    written?;
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_lets_a_tone_through_as_long_as_it_was() {
        let sound = tone(2000, &[500.0], -20.0);
        for codec in [Codec::ALaw, Codec::MuLaw, Codec::G722, Codec::Opus, Codec::Gsm] {
            let heard = transmit(&sound, codec, 0, &mut Random::of("codec")).unwrap();
            assert!(heard.len().abs_diff(sound.len()) < 320, "{codec:?}: {} samples", heard.len());
            let heard: Vec<f32> = heard[1600..14_400].iter().map(|sample| f32::from(*sample)).collect();
            let change = 10.0 * (mean_square(&heard) / mean_square(&sound[1600..14_400])).log10();
            assert!(change.abs() < 1.5, "{codec:?}: {change:.1} dB");
        }
    }
}
