//! Tones to prompts.

use media_core::tone::Signal;
use media_core::{Codec, Decoder, Encoded, Encoder, Prompt};

/// Milliseconds in one packet of every codec.
const FRAME_MS: usize = 20;

/// Rounds among which the one is sought that joins itself best.
const ROUNDS: usize = 12;

/// A seam is good enough when what is heard after it differs by less than this from what would be heard without one: the
/// noise of G.722 itself is a quarter of it.
const SEAM: f64 = 30.0;

/// A tone, so many dB louder or softer than its network sends it, to be played any number of times without a seam.
///
/// A codec that remembers should end a round in the state that it began it in, or its decoder errs for a moment at every
/// seam. It hardly ever does to the bit, so some rounds are encoded in a row, and the one is taken after which it errs least.
pub fn tone(signal: &Signal, volume_db: i8, codecs: &[Codec]) -> Prompt {
    let encoded = |codec: &Codec| {
        let pcm = signal.pcm(codec.sample_rate(), f64::from(volume_db));
        let (mut encoder, mut decoder) = (Encoder::for_prompt(*codec), Decoder::new(*codec));
        // From the silence that a stream begins with nothing is to be had.
        let first = encode(&mut encoder, *codec, &pcm);
        decode(&mut decoder, *codec, &first);
        let mut best = (f64::INFINITY, first);
        for _ in 0..ROUNDS {
            let payload = encode(&mut encoder, *codec, &pcm);
            let heard = decode(&mut decoder, *codec, &payload);
            let mut looped = Decoder::new(*codec);
            decode(&mut looped, *codec, &payload);
            let after_itself = decode(&mut looped, *codec, &payload);
            let apart = |(a, b): (&i16, &i16)| f64::from(i32::from(*a) - i32::from(*b)).powi(2);
            let seam = codec.sample_rate() as usize / 50;
            let error = heard.iter().zip(&after_itself).take(seam).map(apart).sum::<f64>() / seam as f64;
            if error.sqrt() < best.0 {
                best = (error.sqrt(), payload);
            }
            if best.0 < SEAM {
                break;
            }
        }
        Encoded::new(*codec, best.1)
    };
    Prompt::in_codecs(codecs.iter().map(encoded).collect())
}

fn encode(encoder: &mut Encoder, codec: Codec, pcm: &[i16]) -> Vec<u8> {
    let mut payload = Vec::new();
    for frame in pcm.chunks(codec.sample_rate() as usize / 1_000 * FRAME_MS) {
        let at = payload.len();
        payload.resize(at + codec.octets_per_ms() * FRAME_MS, 0);
        encoder.encode(frame, &mut payload[at..]);
    }
    payload
}

fn decode(decoder: &mut Decoder, codec: Codec, payload: &[u8]) -> Vec<i16> {
    let mut pcm = Vec::new();
    for frame in payload.chunks(codec.octets_per_ms() * FRAME_MS) {
        let at = pcm.len();
        pcm.resize(at + codec.sample_rate() as usize / 1_000 * FRAME_MS, 0);
        decoder.decode(frame, &mut pcm[at..]);
    }
    pcm
}

#[cfg(test)]
mod tests {
    use media_core::tone::Tone;

    use super::*;

    #[test]
    fn the_seam_of_an_endless_tone_cannot_be_heard() {
        let signal = Tone::Dial.signal(None).unwrap();
        let prompt = tone(signal, 0, &Codec::ALL);
        assert_eq!(prompt.duration(), signal.period());
        // Opus keeps what is heard, not the wave.
        for codec in [Codec::Pcma, Codec::Pcmu, Codec::G722, Codec::L16] {
            let once = prompt.encoded(codec).unwrap().payload();
            let thrice = Encoded::new(codec, once.repeat(3)).decode();
            // What is heard around the second seam, against the tone itself; whichever delay of the codec fits best is right.
            let (rate, pcm) = (codec.sample_rate() as usize, signal.pcm(codec.sample_rate(), 0.0).repeat(3));
            let noise = |delay: usize| {
                let around = 2 * rate - rate / 100..2 * rate + rate / 100;
                let apart = |n: usize| f64::from(i32::from(thrice[n]) - i32::from(pcm[n - delay])).powi(2);
                (around.clone().map(apart).sum::<f64>() / around.len() as f64).sqrt()
            };
            let least = (0..60).map(noise).fold(f64::INFINITY, f64::min);
            // The tone has 5,100: this is 34 dB below it, for a fiftieth of a second.
            assert!(least < 100.0, "{codec:?}: {least}");
        }
    }

    #[test]
    fn volume_counts() {
        let peak = |db| {
            let prompt = tone(Tone::Busy.signal(Some("id")).unwrap(), db, &[Codec::Pcma]);
            prompt.encodings()[0].decode().into_iter().max().unwrap()
        };
        let ratio = f64::from(peak(0)) / f64::from(peak(-20));
        assert!((9.5..10.5).contains(&ratio), "{ratio}");
    }
}
