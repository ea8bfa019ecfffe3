//! From a file to prompts, in one step.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use media_core::{Codec, Prompt, g711, g722};
use sha2::Digest as _;

use crate::{Error, Limits, NARROW, Speech, WIDE, decode, normalise};

/// SHA-256 of a file's bytes: the identity of its content. Displays as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Sha256 {
        Sha256(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

/// A file, ready to be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Hash of the file's bytes.
    pub sha256: Sha256,
    /// How long one playing lasts.
    pub duration: Duration,
    /// Sample rate of the file in Hz.
    pub source_rate: u32,
    /// Channels of the file.
    pub source_channels: usize,
    /// One prompt per codec asked for, in that order.
    pub prompts: Vec<Arc<Prompt>>,
}

impl Prepared {
    /// The prompt encoded in `codec`.
    pub fn prompt(&self, codec: Codec) -> Option<&Arc<Prompt>> {
        self.prompts.iter().find(|prompt| prompt.codec() == codec)
    }
}

/// Decodes, levels and encodes a file.
pub fn prepare(bytes: &[u8], limits: &Limits, codecs: &[Codec]) -> Result<Prepared, Error> {
    let [narrow, wide] = decode(bytes, limits, [NARROW, WIDE])?.map(normalise);
    let speech = |codec| match codec {
        Codec::Pcmu | Codec::Pcma => &narrow,
        Codec::G722 => &wide,
    };
    Ok(Prepared {
        sha256: Sha256::of(bytes),
        duration: narrow.duration(),
        source_rate: narrow.source_rate(),
        source_channels: narrow.source_channels(),
        prompts: codecs.iter().map(|codec| Arc::new(encode(speech(*codec), *codec))).collect(),
    })
}

/// Encodes speech in one codec.
///
/// # Panics
/// When the speech is not of the codec's sample rate: it would play at another speed.
pub fn encode(speech: &Speech, codec: Codec) -> Prompt {
    assert_eq!(speech.rate(), codec.sample_rate(), "{codec:?} is fed at its own rate");
    let payload: Vec<u8> = match codec {
        Codec::Pcmu => speech.pcm16().map(g711::encode_ulaw).collect(),
        Codec::Pcma => speech.pcm16().map(g711::encode_alaw).collect(),
        Codec::G722 => {
            let mut samples: Vec<i16> = speech.pcm16().collect();
            // An octet is two samples. The filters' delay, 22 samples of silence at the start, is what the octets of
            // silence after the prompt bring out at the end.
            samples.resize(samples.len().next_multiple_of(2), 0);
            let mut codes = vec![0; samples.len() / 2];
            g722::Encoder::new().encode(&samples, &mut codes);
            codes
        }
    };
    Prompt::new(codec, payload)
}
