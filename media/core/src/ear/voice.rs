//! The codecs that a peer may send, each brought to the sample rate of the ear.

use crate::{Codec, Decoder, Resampler};

/// Samples of the longest packet, at the highest sample rate of a codec.
const MOST: usize = super::MAX_PACKET_MS * 16;

/// One of them.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) codec: Codec,
    decoder: Decoder,
    /// Of the ear's samples.
    rate: u32,
    /// Where the codec has another sample rate than the ear: the way there, and what is decoded before it goes.
    way: Option<Box<(Resampler, [i16; MOST])>>,
}

impl Voice {
    /// `codec` for an ear whose samples are at `rate`; `None` where there is no way between the two.
    pub(super) fn new(codec: Codec, rate: u32) -> Option<Self> {
        let way = match codec.sample_rate() == rate {
            true => None,
            false => Some(Box::new((Resampler::new(codec.sample_rate(), rate)?, [0; MOST]))),
        };
        Some(Self { codec, decoder: Decoder::new(codec), rate, way })
    }

    /// Another stream begins.
    pub(super) fn begin(&mut self) {
        if let Some(way) = &mut self.way {
            way.0.reset();
        }
    }

    /// Decodes a packet to the front of `pcm`, and returns how many samples that were.
    pub(super) fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> usize {
        self.bring(pcm, |decoder, decoded| decoder.decode(payload, decoded))
    }

    /// Whether a packet tells what the one before it said.
    pub(super) fn tells_twice(&self, payload: &[u8]) -> bool {
        self.decoder.tells_twice(payload)
    }

    /// What `next` says about the lost packet before it, which was as long as `pcm`; 0: nothing.
    pub(super) fn recover(&mut self, next: &[u8], pcm: &mut [i16]) -> usize {
        self.bring(pcm, |decoder, decoded| decoder.recover(next, decoded))
    }

    /// Makes up what was lost, where the codec itself can.
    pub(super) fn conceal(&mut self, pcm: &mut [i16]) -> usize {
        self.bring(pcm, |decoder, decoded| decoder.conceal(decoded))
    }

    /// What is decoded, at the ear's rate: at most as long as `pcm`.
    fn bring(&mut self, pcm: &mut [i16], decode: impl FnOnce(&mut Decoder, &mut [i16]) -> usize) -> usize {
        match self.way.as_deref_mut() {
            Some((resampler, decoded)) => {
                let most = pcm.len() * self.codec.sample_rate() as usize / self.rate as usize;
                let most = most.min(decoded.len());
                let count = decode(&mut self.decoder, &mut decoded[..most]);
                resampler.process(&decoded[..count], pcm)
            }
            None => decode(&mut self.decoder, pcm),
        }
    }
}
