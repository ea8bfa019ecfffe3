//! The audio codecs: their names and numbers here, a file each for their arithmetic, and [`Decoder`] and [`Encoder`] over all.

pub mod g711;
pub mod g722;
mod l16;
pub(crate) mod opus;
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
    /// Opus: wideband at 24 kbit/s as we send it, whatever a peer sends.
    Opus,
    /// Linear samples at 16 kHz: wideband, 256 kbit/s.
    L16,
}

impl Codec {
    /// Every codec there is.
    pub const ALL: [Self; 5] = [Self::Pcma, Self::Pcmu, Self::G722, Self::Opus, Self::L16];

    /// What is offered unless something else is asked for, in that order. L16 is for whoever knows the line bears it.
    pub const DEFAULT: [Self; 4] = [Self::Pcma, Self::Pcmu, Self::G722, Self::Opus];

    /// Encoding name of `a=rtpmap` (RFC 3551, 6; RFC 7587, 7), matched without regard to case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
            Self::L16 => "L16",
        }
    }

    /// The codec of an `a=rtpmap` encoding name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// The payload type of our offers: the static one of RFC 3551, 6, or one of the dynamic range (96 to 127).
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::Opus => 96,
            Self::L16 => 97,
        }
    }

    /// RTP timestamp units per second.
    pub const fn clock_rate(self) -> u32 {
        match self {
            // RFC 3551, 4.5.2: "Even though the actual sampling rate for G.722 audio is 16,000 Hz, the RTP clock rate for
            // the G722 payload format is 8,000 Hz because that value was erroneously assigned in RFC 1890".
            Self::Pcmu | Self::Pcma | Self::G722 => 8000,
            // RFC 7587, 4.1: "a 48000 Hz clock rate for all modes of Opus and all sampling rates".
            Self::Opus => 48_000,
            Self::L16 => l16::SAMPLE_RATE,
        }
    }

    /// Samples of audio per second.
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
            Self::G722 => g722::SAMPLE_RATE,
            Self::Opus => opus::SAMPLE_RATE,
            Self::L16 => l16::SAMPLE_RATE,
        }
    }

    /// Octets of one millisecond of encoded audio, as prompts hold it.
    pub const fn octets_per_ms(self) -> usize {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8,
            Self::Opus => opus::BITRATE as usize / 8_000,
            Self::L16 => 32,
        }
    }

    /// Octets of one millisecond that a peer may send.
    pub(crate) const fn received_octets_per_ms(self) -> usize {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 | Self::L16 => self.octets_per_ms(),
            // What our descriptions allow a peer on average, twice.
            Self::Opus => opus::MAX_BITRATE as usize / 8_000 * 2,
        }
    }

    /// The smallest piece of encoded audio that can be sent.
    pub(crate) const fn grain(self) -> Grain {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => Grain { octets: 1, eighths: 1 },
            Self::Opus => Grain { octets: opus::FRAME_OCTETS, eighths: opus::FRAME_MS as usize * 8 },
            Self::L16 => Grain { octets: 4, eighths: 1 },
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
            Self::Opus => {
                for packet in frame.chunks_mut(opus::SILENCE.len()) {
                    packet.copy_from_slice(&opus::SILENCE[..packet.len()]);
                }
            }
            Self::L16 => frame.fill(0),
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
