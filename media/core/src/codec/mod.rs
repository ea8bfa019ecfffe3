//! The audio codecs: their names and numbers here, a file each for their arithmetic, and [`Decoder`] and [`Encoder`] over all.

pub mod g711;
pub mod g722;
mod stream;

pub use stream::{Decoder, Encoder};

use crate::Ptime;

/// An audio codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s: wideband.
    G722,
}

impl Codec {
    /// Every codec there is, in the order offered by default.
    pub const ALL: [Self; 3] = [Self::Pcma, Self::Pcmu, Self::G722];

    /// Encoding name of `a=rtpmap` (RFC 3551, 6), matched without regard to case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
        }
    }

    /// The codec of an `a=rtpmap` encoding name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// The static payload type of RFC 3551, 6.
    pub const fn static_pt(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
        }
    }

    /// RTP timestamp units per second.
    pub const fn clock_rate(self) -> u32 {
        match self {
            // RFC 3551, 4.5.2: "Even though the actual sampling rate for G.722 audio is 16,000 Hz, the RTP clock rate for
            // the G722 payload format is 8,000 Hz because that value was erroneously assigned in RFC 1890".
            Self::Pcmu | Self::Pcma | Self::G722 => 8000,
        }
    }

    /// Samples of audio per second.
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
            Self::G722 => g722::SAMPLE_RATE,
        }
    }

    /// Octets of one millisecond of encoded audio.
    pub const fn octets_per_ms(self) -> usize {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8,
        }
    }

    /// The smallest piece of encoded audio that can be sent.
    pub(crate) const fn grain(self) -> Grain {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => Grain { octets: 1, eighths: 1 },
        }
    }

    /// RTP timestamp units in one packet.
    pub(crate) fn units(self, ptime: Ptime) -> u32 {
        self.clock_rate() / 1000 * u32::from(ptime.ms())
    }

    /// Fills `frame` with silence.
    pub(crate) fn fill_silence(self, frame: &mut [u8]) {
        match self {
            Self::Pcmu => frame.fill(0xFF),
            Self::Pcma => frame.fill(0xD5),
            Self::G722 => {
                for part in frame.chunks_mut(g722::SILENCE.len()) {
                    part.copy_from_slice(&g722::SILENCE[..part.len()]);
                }
            }
        }
    }
}

/// The smallest piece of encoded audio that can be sent: a frame, or a sample where there are none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grain {
    pub(crate) octets: usize,
    /// How long it lasts, in eighths of a millisecond.
    pub(crate) eighths: usize,
}
