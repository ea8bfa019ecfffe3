//! Audio files to prompts: bytes of an MP3, WAV, FLAC, Ogg/Vorbis or Ogg/Opus file in, encoded audio out, ready to be
//! sliced into packets by any number of legs.
//!
//! [`prepare`] does it all: recognise the container by its content, decode, mix down to mono, convert to
//! the rates of the codecs, 8 and 16 kHz, with a band-limited filter, bring speech to one level ([`level`])
//! and encode once per codec. The steps are public too: [`decode`], [`normalise`], [`encode`].
//!
//! ```
//! use media_core::Codec;
//! use media_prompts::{Limits, prepare};
//!
//! # let mp3 = include_bytes!("../../../testbed/prompts/welcome.mp3");
//! let prepared = prepare(mp3, &Limits::default(), &[Codec::Pcmu, Codec::Pcma])?;
//! assert_eq!(prepared.prompt.encodings().len(), 2);
//!
//! let error = prepare(b"\x89PNG\r\n\x1a\n...", &Limits::default(), &[Codec::Pcmu]).unwrap_err();
//! assert_eq!(error.to_string(), "this is not audio: it looks like a PNG image (send MP3, WAV, FLAC, or Ogg with Vorbis or Opus)");
//! # Ok::<(), media_prompts::Error>(())
//! ```
//!
//! Everything here is plain computation over bytes in memory: callers put it on a thread that may take its
//! time, keep the files, and cache the results by [`Prepared::sha256`].
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod decode;
mod error;
pub mod level;
mod ogg;
mod opus;
mod prepare;
mod resample;
mod sniff;
mod source;
mod tone;
mod wav;

pub use decode::{Limits, Speech, decode};
pub use error::Error;
pub use level::normalise;
pub use prepare::{NotSha256, Prepared, Sha256, encode, prepare, prepare_at};
pub use tone::tone;

/// Sample rate of the narrowband codecs in Hz.
pub const NARROW: u32 = 8_000;

/// Sample rate of the wideband codecs in Hz.
pub const WIDE: u32 = 16_000;

/// Lowest sample rate taken from a file.
pub const MIN_RATE: u32 = 4_000;

/// Highest sample rate taken from a file: the filter's memory and time grow with it.
pub const MAX_RATE: u32 = 192_000;

/// Most channels of a file.
pub const MAX_CHANNELS: usize = 8;

/// What every refusal of a format names as the mend.
const SEND: &str = "send MP3, WAV, FLAC, or Ogg with Vorbis or Opus";
