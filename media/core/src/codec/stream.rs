//! One stream's way from payloads to samples and back, whatever its codec.

use super::{Codec, g711, g722};

/// Turns the payloads of one stream into samples. Nothing allocates after [`Decoder::new`].
#[derive(Debug, Clone)]
pub struct Decoder(Decoding);

#[derive(Debug, Clone)]
enum Decoding {
    Pcmu,
    Pcma,
    G722(Box<g722::Decoder>),
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new(codec: Codec) -> Self {
        Self(match codec {
            Codec::Pcmu => Decoding::Pcmu,
            Codec::Pcma => Decoding::Pcma,
            Codec::G722 => Decoding::G722(Box::default()),
        })
    }

    /// Decodes `payload` to the front of `pcm`, at [`Codec::sample_rate`], and returns how many samples that were; what
    /// does not fit into `pcm` is left out.
    pub fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> usize {
        match &mut self.0 {
            Decoding::Pcmu => each(payload, pcm, g711::decode_ulaw),
            Decoding::Pcma => each(payload, pcm, g711::decode_alaw),
            Decoding::G722(decoder) => {
                let octets = payload.len().min(pcm.len() / 2);
                decoder.decode(&payload[..octets], &mut pcm[..octets * 2]);
                octets * 2
            }
        }
    }
}

/// Turns samples into the payloads of one stream. Nothing allocates after [`Encoder::new`].
#[derive(Debug, Clone)]
pub struct Encoder(Encoding);

#[derive(Debug, Clone)]
enum Encoding {
    Pcmu,
    Pcma,
    G722(Box<g722::Encoder>),
}

impl Encoder {
    /// An encoder at the beginning of a stream.
    pub fn new(codec: Codec) -> Self {
        Self(match codec {
            Codec::Pcmu => Encoding::Pcmu,
            Codec::Pcma => Encoding::Pcma,
            Codec::G722 => Encoding::G722(Box::default()),
        })
    }

    /// Encodes `pcm`, one packet time at [`Codec::sample_rate`], to the front of `payload` and returns how many octets that
    /// were; what does not fit into `payload` is left out.
    pub fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> usize {
        match &mut self.0 {
            Encoding::Pcmu => each(pcm, payload, g711::encode_ulaw),
            Encoding::Pcma => each(pcm, payload, g711::encode_alaw),
            Encoding::G722(encoder) => {
                let octets = (pcm.len() / 2).min(payload.len());
                encoder.encode(&pcm[..octets * 2], &mut payload[..octets]);
                octets
            }
        }
    }
}

/// Converts as many as there is room for; how many that were.
fn each<T: Copy, U>(from: &[T], to: &mut [U], convert: impl Fn(T) -> U) -> usize {
    let n = from.len().min(to.len());
    for (to, from) in to.iter_mut().zip(from) {
        *to = convert(*from);
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_goes_there_and_back_and_nothing_overflows() {
        for codec in Codec::ALL {
            let tone: Vec<i16> =
                (0..codec.sample_rate() / 50).map(|n| ((n as f32 / 4.0).sin() * 8_000.0) as i16).collect();
            let (mut payload, mut heard) = ([0; 640], [0; 1920]);
            let octets = Encoder::new(codec).encode(&tone, &mut payload);
            assert_eq!(octets, codec.octets_per_ms() * 20, "{codec:?}");
            assert_eq!(Decoder::new(codec).decode(&payload[..octets], &mut heard), tone.len(), "{codec:?}");
            let loud = heard[tone.len() / 2..tone.len()].iter().map(|sample| sample.unsigned_abs()).max();
            assert!(loud > Some(6_000), "{codec:?}");
            assert_eq!(Encoder::new(codec).encode(&tone, &mut payload[..10]), 10);
            assert_eq!(Decoder::new(codec).decode(&payload[..octets], &mut heard[..12]), 12);
        }
    }
}
