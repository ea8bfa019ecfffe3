//! Identifiers and units of media: newtypes, so that samples, sequence numbers and milliseconds cannot be mixed.

use std::time::Duration;

/// Names one leg between the engine and the media shells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u64);

/// Names one bridge between the engine and the media shells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgeId(pub u64);

/// Synchronisation source identifier (RFC 3550, 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ssrc(pub u32);

/// RTP sequence number: 16 bits that wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNo(pub u16);

impl SeqNo {
    /// The sequence number after this one.
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// How far this number lies after `earlier`; negative when it lies before. The shorter way round the circle counts.
    pub fn distance_from(self, earlier: Self) -> i16 {
        self.0.wrapping_sub(earlier.0) as i16
    }
}

/// RTP timestamp: media time in units of the codec's clock, 32 bits that wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MediaTime(pub u32);

impl MediaTime {
    /// The time `units` later.
    pub fn plus(self, units: u32) -> Self {
        Self(self.0.wrapping_add(units))
    }

    /// Units from `earlier` to this time; negative when it lies before. The shorter way round the circle counts.
    pub fn distance_from(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }
}

/// Milliseconds of media in one packet, [`Ptime::MIN`] to [`Ptime::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ptime(u8);

impl Ptime {
    /// 10 ms: shorter packets are all header.
    pub const MIN: Self = Self(10);
    /// 20 ms, what RFC 3551, 4.5 recommends and everyone sends.
    pub const DEFAULT: Self = Self(20);
    /// 60 ms: longer packets make one loss audible as a word.
    pub const MAX: Self = Self(60);

    /// 40 ms: longer packets of L16 would not fit into an Ethernet frame.
    pub(crate) const MAX_OF_L16: Self = Self(40);

    /// `ms` as a packet time, or `None` outside 10 to 60.
    pub fn new(ms: u8) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&ms).then_some(Self(ms))
    }

    /// Milliseconds.
    pub fn ms(self) -> u8 {
        self.0
    }

    /// The same as a [`Duration`].
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.0))
    }
}

impl Default for Ptime {
    fn default() -> Self {
        Self::DEFAULT
    }
}
