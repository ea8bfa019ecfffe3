//! From monotonic time to wall clock, by arithmetic.

use std::time::{Duration, Instant};

use control_api_types::Timestamp;

/// One instant whose wall-clock time is known: turns every other [`Instant`] into Unix milliseconds without reading a
/// clock. The shell hands in a fresh one when the machine's clock is stepped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    instant: Instant,
    unix_ms: u64,
}

impl Clock {
    /// `instant` happened at `unix_ms` milliseconds after 1970-01-01T00:00:00Z.
    pub fn new(instant: Instant, unix_ms: u64) -> Self {
        Self { instant, unix_ms }
    }

    /// The wall-clock time of `instant`, in Unix milliseconds.
    pub fn unix_ms(&self, instant: Instant) -> u64 {
        match instant.checked_duration_since(self.instant) {
            Some(later) => self.unix_ms.saturating_add(millis(later)),
            None => self.unix_ms.saturating_sub(millis(self.instant.duration_since(instant))),
        }
    }
}

impl Clock {
    /// The wall-clock time of `instant` as Date has it (RFC 3261 §20.17): `Sat, 13 Nov 2010 23:29:00 GMT`.
    pub fn date(&self, instant: Instant) -> String {
        Timestamp::from_unix_ms(self.unix_ms(instant)).http_date()
    }
}

/// Whole milliseconds of a duration, saturating.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_both_directions() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of a test")]
        let origin = Instant::now() + Duration::from_secs(100);
        let clock = Clock::new(origin, 1_800_000_000_000);
        assert_eq!(clock.unix_ms(origin + Duration::from_micros(1_999)), 1_800_000_000_001);
        assert_eq!(clock.unix_ms(origin - Duration::from_secs(1)), 1_799_999_999_000);
        assert_eq!(clock.date(origin), "Fri, 15 Jan 2027 08:00:00 GMT");
    }
}
