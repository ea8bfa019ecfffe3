//! One stream's way from payloads to samples and back, whatever its codec.

use super::opus::Effort;
use super::{Codec, g711, g722, l16, opus};

/// Turns the payloads of one stream into samples. Nothing allocates after [`Decoder::new`].
#[derive(Debug)]
pub struct Decoder(Decoding);

#[derive(Debug)]
enum Decoding {
    Pcmu,
    Pcma,
    G722(Box<g722::Decoder>),
    Opus(opus::Decoder),
    L16,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new(codec: Codec) -> Self {
        Self(match codec {
            Codec::Pcmu => Decoding::Pcmu,
            Codec::Pcma => Decoding::Pcma,
            Codec::G722 => Decoding::G722(Box::default()),
            Codec::Opus => Decoding::Opus(opus::Decoder::new()),
            Codec::L16 => Decoding::L16,
        })
    }

    /// Decodes `payload` to the front of `pcm`, at [`Codec::sample_rate`], and returns how many samples that were; what
    /// does not fit into `pcm` is left out. A packet of Opus is decoded whole or, damaged or too long for `pcm`, not at all.
    pub fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> usize {
        match &mut self.0 {
            Decoding::Pcmu => each(payload, pcm, g711::decode_ulaw),
            Decoding::Pcma => each(payload, pcm, g711::decode_alaw),
            Decoding::G722(decoder) => {
                let octets = payload.len().min(pcm.len() / 2);
                decoder.decode(&payload[..octets], &mut pcm[..octets * 2]);
                octets * 2
            }
            Decoding::Opus(decoder) => decoder.decode(payload, pcm),
            Decoding::L16 => l16::decode(payload, pcm),
        }
    }

    /// Makes up what was lost, where the codec itself can, at the front of `pcm`, and returns how many samples that were: 0
    /// for codecs that cannot.
    pub fn conceal(&mut self, pcm: &mut [i16]) -> usize {
        match &mut self.0 {
            Decoding::Opus(decoder) => decoder.conceal(pcm),
            Decoding::Pcmu | Decoding::Pcma | Decoding::G722(_) | Decoding::L16 => 0,
        }
    }

    /// Whether a packet tells what the one before it said.
    pub(crate) fn tells_twice(&self, packet: &[u8]) -> bool {
        match &self.0 {
            Decoding::Opus(_) => opus::tells_twice(packet),
            Decoding::Pcmu | Decoding::Pcma | Decoding::G722(_) | Decoding::L16 => false,
        }
    }

    /// Decodes what a packet says about the one before it, which was lost and as long as `pcm`, and returns how many samples
    /// that were: 0 for codecs whose packets say nothing. The packet itself is decoded after this.
    pub fn recover(&mut self, next: &[u8], pcm: &mut [i16]) -> usize {
        match &mut self.0 {
            Decoding::Opus(decoder) => decoder.recover(next, pcm),
            Decoding::Pcmu | Decoding::Pcma | Decoding::G722(_) | Decoding::L16 => 0,
        }
    }
}

/// Turns samples into the payloads of one stream. Nothing allocates after [`Encoder::new`].
#[derive(Debug)]
pub struct Encoder(Encoding);

#[derive(Debug)]
enum Encoding {
    Pcmu,
    Pcma,
    G722(Box<g722::Encoder>),
    Opus(opus::Encoder),
    L16,
}

impl Encoder {
    /// An encoder at the beginning of a stream that is encoded as it comes.
    pub fn new(codec: Codec) -> Self {
        Self::with(codec, Effort::Live)
    }

    /// An encoder of what is kept, and may take its time: every 20 ms become the same number of octets,
    /// [`Codec::octets_per_ms`].
    pub fn for_prompt(codec: Codec) -> Self {
        Self::with(codec, Effort::Prompt)
    }

    fn with(codec: Codec, effort: Effort) -> Self {
        Self(match codec {
            Codec::Pcmu => Encoding::Pcmu,
            Codec::Pcma => Encoding::Pcma,
            Codec::G722 => Encoding::G722(Box::default()),
            Codec::Opus => Encoding::Opus(opus::Encoder::new(effort)),
            Codec::L16 => Encoding::L16,
        })
    }

    /// Encodes `pcm`, one packet time at [`Codec::sample_rate`], to the front of `payload` and returns how many octets that
    /// were; what does not fit into `payload` is left out. Opus knows packets of 20 ms only, and makes them as short as
    /// `payload` is.
    pub fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> usize {
        match &mut self.0 {
            Encoding::Pcmu => each(pcm, payload, g711::encode_ulaw),
            Encoding::Pcma => each(pcm, payload, g711::encode_alaw),
            Encoding::G722(encoder) => {
                let octets = (pcm.len() / 2).min(payload.len());
                encoder.encode(&pcm[..octets * 2], &mut payload[..octets]);
                octets
            }
            Encoding::Opus(encoder) => encoder.encode(pcm, payload),
            Encoding::L16 => l16::encode(pcm, payload),
        }
    }

    /// Samples that the packets so far do not hold yet.
    pub(crate) fn lookahead(&self) -> usize {
        match &self.0 {
            Encoding::Opus(encoder) => encoder.lookahead(),
            Encoding::Pcmu | Encoding::Pcma | Encoding::G722(_) | Encoding::L16 => 0,
        }
    }

    /// The peer says that of a hundred packets it loses so many: Opus protects itself, the others cannot.
    pub fn expect_loss(&mut self, percent: u8) {
        match &mut self.0 {
            Encoding::Opus(encoder) => encoder.expect_loss(percent),
            Encoding::Pcmu | Encoding::Pcma | Encoding::G722(_) | Encoding::L16 => {}
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

    fn tone(codec: Codec) -> Vec<i16> {
        (0..codec.sample_rate() / 10).map(|n| ((n as f32 / 4.0).sin() * 8_000.0) as i16).collect()
    }

    #[test]
    fn packets_go_there_and_back() {
        for codec in Codec::ALL {
            for (mut encoder, prompt) in [(Encoder::new(codec), false), (Encoder::for_prompt(codec), true)] {
                let mut decoder = Decoder::new(codec);
                let (mut payload, mut heard) = ([0; 640], [0; 960]);
                let mut count = 0;
                for frame in tone(codec).chunks(codec.sample_rate() as usize / 50) {
                    let octets = encoder.encode(frame, &mut payload);
                    if prompt || codec != Codec::Opus {
                        assert_eq!(octets, codec.octets_per_ms() * 20, "{codec:?}");
                    }
                    count = decoder.decode(&payload[..octets], &mut heard);
                    assert_eq!(count, frame.len(), "{codec:?}");
                }
                let loud = heard[..count].iter().map(|sample| sample.unsigned_abs()).max();
                assert!(loud > Some(6_000), "{codec:?}: {loud:?}");
            }
        }
    }

    #[test]
    fn nothing_overflows() {
        for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::L16] {
            assert_eq!(Encoder::new(codec).encode(&tone(codec), &mut [0; 10]), 10, "{codec:?}");
            assert_eq!(Decoder::new(codec).decode(&[1; 640], &mut [0; 12]), 12, "{codec:?}");
        }
        let frame = &tone(Codec::Opus)[..320];
        for room in [0, 1, 2, 10, 1_500] {
            assert!(Encoder::new(Codec::Opus).encode(frame, &mut vec![0; room]) <= room);
        }
    }
}
