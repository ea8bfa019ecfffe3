//! From a file to prompts, in one step.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use media_core::{Codec, Encoded, Prompt};
use sha2::Digest as _;

use crate::level::amplify;
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

impl FromStr for Sha256 {
    type Err = NotSha256;

    fn from_str(text: &str) -> Result<Self, NotSha256> {
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8).ok_or(NotSha256);
        let mut hash = [0; 32];
        if text.len() != 64 {
            return Err(NotSha256);
        }
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(hash))
    }
}

/// Not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 64 hexadecimal digits")]
pub struct NotSha256;

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
    /// The audio in every codec asked for.
    pub prompt: Arc<Prompt>,
}

/// Decodes, levels and encodes a file.
pub fn prepare(bytes: &[u8], limits: &Limits, codecs: &[Codec]) -> Result<Prepared, Error> {
    prepare_at(bytes, limits, codecs, 0)
}

/// The same, so many dB louder or softer than prompts are.
pub fn prepare_at(bytes: &[u8], limits: &Limits, codecs: &[Codec], volume_db: i8) -> Result<Prepared, Error> {
    let [narrow, wide] =
        decode(bytes, limits, [NARROW, WIDE])?.map(|speech| amplify(normalise(speech), volume_db));
    let speech = |codec: Codec| if codec.sample_rate() == NARROW { &narrow } else { &wide };
    Ok(Prepared {
        sha256: Sha256::of(bytes),
        duration: narrow.duration(),
        source_rate: narrow.source_rate(),
        source_channels: narrow.source_channels(),
        prompt: Arc::new(Prompt::in_codecs(
            codecs.iter().map(|codec| encode(speech(*codec), *codec)).collect(),
        )),
    })
}

/// Encodes speech in one codec.
///
/// # Panics
/// When the speech is not of the codec's sample rate: it would play at another speed.
pub fn encode(speech: &Speech, codec: Codec) -> Encoded {
    assert_eq!(speech.rate(), codec.sample_rate(), "{codec:?} is fed at its own rate");
    Encoded::of(codec, speech.pcm16().collect())
}
