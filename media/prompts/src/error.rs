//! Why a file cannot become a prompt.

use std::time::Duration;

/// Why a file cannot become a prompt. Every message names what was found and the mend, as it is shown to
/// the person who uploaded the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Zero bytes.
    #[error("the file is empty (0 bytes)")]
    Empty,
    /// More bytes than [`Limits::max_bytes`](crate::Limits::max_bytes).
    #[error("the file has {bytes} bytes; the limit is {max_bytes}")]
    TooLarge {
        /// Size of the file.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// More audio than [`Limits::max_duration`](crate::Limits::max_duration).
    #[error("the audio is longer than the limit of {} s", max_duration.as_secs_f32())]
    TooLong {
        /// The limit.
        max_duration: Duration,
    },
    /// The bytes are something else than audio.
    #[error("this is not audio: it looks like {looks_like} ({})", crate::SEND)]
    NotAudio {
        /// What the content looks like, with its article: "a PNG image".
        looks_like: &'static str,
    },
    /// Audio, but of a format that is not decoded here.
    #[error("{format} audio is not supported ({})", crate::SEND)]
    UnsupportedFormat {
        /// The format's name.
        format: &'static str,
    },
    /// A WAV file whose samples are neither linear PCM, float nor G.711.
    #[error(
        "the WAV file holds {} (format tag 0x{tag:04x}); \
         linear PCM, float, A-law and \u{b5}-law are supported",
        crate::wav::codec_name(*tag)
    )]
    UnsupportedWavCodec {
        /// `wFormatTag` of the `fmt ` chunk.
        tag: u16,
    },
    /// A sample rate outside what prompts are made of.
    #[error("a sample rate of {hz} Hz is not supported ({} to {} Hz are)", crate::MIN_RATE, crate::MAX_RATE)]
    UnsupportedRate {
        /// The rate of the file.
        hz: u32,
    },
    /// More channels than are mixed down, or a layout of them that is not.
    #[error(
        "audio of {channels} channels in this layout is not supported (send mono or stereo; \
         up to {} channels are mixed down where their layout does not matter)",
        crate::MAX_CHANNELS
    )]
    UnsupportedChannels {
        /// Channels of the file.
        channels: usize,
    },
    /// An MP3 whose bytes hold an ID3 tag only.
    #[error("the MP3 file holds an ID3 tag and no audio")]
    OnlyTag,
    /// The right container, no sample in it.
    #[error("the {container} file holds no audio")]
    NoAudio {
        /// "MP3", "WAV", "FLAC", "Ogg" or "Ogg/Opus".
        container: &'static str,
    },
    /// The file announces more audio than it holds: an interrupted upload or copy.
    #[error(
        "the {container} file is truncated: {} ms of the announced {} ms are there",
        found.as_millis(), announced.as_millis()
    )]
    Truncated {
        /// "MP3", "WAV", "FLAC", "Ogg" or "Ogg/Opus".
        container: &'static str,
        /// What the header promises.
        announced: Duration,
        /// What could be decoded.
        found: Duration,
    },
    /// The container or the coded audio is damaged.
    #[error("the {container} file is damaged: {reason}")]
    Damaged {
        /// "MP3", "WAV", "FLAC", "Ogg" or "Ogg/Opus".
        container: &'static str,
        /// The decoder's reason.
        reason: &'static str,
    },
}
