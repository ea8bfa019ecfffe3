//! What a leg is made of.

use std::sync::Arc;
use std::time::Instant;

use crate::{MediaTime, RtpTimeout, SeqNo, Ssrc};

/// Maps the caller's [`Instant`]s to NTP time for RTCP sender reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NtpClock {
    at: Instant,
    ntp: u64,
}

impl NtpClock {
    /// Seconds from the NTP epoch (1900) to the Unix epoch (1970).
    const UNIX_EPOCH: u64 = 2_208_988_800;

    /// A clock that reads `unix_ms` milliseconds since 1970 at `at`.
    pub fn from_unix_ms(at: Instant, unix_ms: u64) -> Self {
        let seconds = unix_ms / 1000 + Self::UNIX_EPOCH;
        let fraction = ((unix_ms % 1000) << 32) / 1000;
        Self { at, ntp: (seconds << 32) | fraction }
    }

    /// The 64-bit NTP timestamp (32.32 fixed point) of `now`; instants before `at` read as `at`.
    pub fn ntp(self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.at);
        let fraction = (u64::from(elapsed.subsec_nanos()) << 32) / 1_000_000_000;
        self.ntp.wrapping_add((elapsed.as_secs() << 32) | fraction)
    }
}

/// What a leg is made of. The random members must come from a CSPRNG in production (RFC 3550, 5.1 and 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegConfig {
    /// Our synchronisation source, random.
    pub ssrc: Ssrc,
    /// Sequence number of the first packet, random.
    pub first_seq: SeqNo,
    /// Timestamp of the first packet, random.
    pub first_timestamp: MediaTime,
    /// RTCP canonical name, at most 255 octets are sent (RFC 3550, 6.5.1).
    pub cname: Arc<str>,
    /// Wall clock for RTCP.
    pub clock: NtpClock,
    /// Seeds the randomness of the RTCP interval (RFC 3550, 6.3.1).
    pub rtcp_seed: u64,
    /// How long the peer may be silent.
    pub rtp_timeout: RtpTimeout,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn wall_clock_in_ntp() {
        let start = crate::epoch();
        let clock = NtpClock::from_unix_ms(start, 1_700_000_000_250);
        assert_eq!(clock.ntp(start), (1_700_000_000 + 2_208_988_800) << 32 | 1 << 30);
        let later = start + Duration::from_millis(1_500);
        assert_eq!(clock.ntp(later) - clock.ntp(start), 3 << 31);
    }
}
