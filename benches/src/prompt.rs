//! The prompt of every playing call: speech-like sound, made here, and what must arrive of it.

use media_core::Codec;
use media_prompts::Limits;

const RATE: u32 = 8_000;
const SECONDS: u32 = 30;

/// Its name at the engine.
pub(crate) const NAME: &str = "bench";

/// A WAV file of 30 s of [`sound`], mono, 8 kHz, 16 bit.
pub(crate) fn wav() -> Vec<u8> {
    let samples = RATE * SECONDS;
    let sound = sound(RATE, samples).flat_map(i16::to_le_bytes);
    let octets = samples * 2;
    let mut file = Vec::with_capacity(44 + octets as usize);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + octets).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&RATE.to_le_bytes());
    file.extend_from_slice(&(RATE * 2).to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&octets.to_le_bytes());
    file.extend(sound);
    file
}

/// Syllables of a low tone, its overtones and some noise.
pub(crate) fn sound(rate: u32, samples: u32) -> impl Iterator<Item = i16> {
    let mut noise = 0x2545_F491_u32;
    (0..samples).map(move |n| {
        let t = f64::from(n) / f64::from(rate);
        let syllable = (t * 4.0 * std::f64::consts::PI).sin().abs();
        let pitch = 110.0 + 40.0 * (t * 0.7).sin();
        let voice: f64 =
            (1..=8).map(|k| (f64::from(k) * pitch * t * std::f64::consts::TAU).sin() / f64::from(k)).sum();
        // xorshift (Marsaglia 2003)
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        let hiss = f64::from(noise) / f64::from(u32::MAX) - 0.5;
        ((0.15 + syllable * (voice + hiss * 0.5)) * 5000.0) as i16
    })
}

/// The octets that a call must receive, over and over.
pub(crate) fn encoded(wav: &[u8], codec: Codec) -> anyhow::Result<Vec<u8>> {
    let prepared = media_prompts::prepare(wav, &Limits::default(), &[codec])?;
    let prompt = prepared.prompt.encoded(codec).ok_or_else(|| anyhow::anyhow!("no prompt in {codec:?}"))?;
    Ok(prompt.payload().to_vec())
}
