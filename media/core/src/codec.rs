//! The audio codecs a leg can send.

use crate::Ptime;

/// An audio codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Codec {
    /// Every codec there is, in the order offered by default.
    pub const ALL: [Self; 2] = [Self::Pcma, Self::Pcmu];

    /// Encoding name of `a=rtpmap` (RFC 3551, 6), matched without regard to case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
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
        }
    }

    /// RTP timestamp units per second.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
        }
    }

    /// Octets of one millisecond of encoded audio.
    pub const fn octets_per_ms(self) -> usize {
        match self {
            Self::Pcmu | Self::Pcma => 8,
        }
    }

    /// RTP timestamp units in one packet.
    pub(crate) fn units(self, ptime: Ptime) -> u32 {
        self.clock_rate() / 1000 * u32::from(ptime.ms())
    }

    /// The octet that decodes to silence.
    pub(crate) const fn silence(self) -> u8 {
        match self {
            Self::Pcmu => 0xFF,
            Self::Pcma => 0xD5,
        }
    }
}
