//! Wall-clock times as the API shows them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A moment in milliseconds since the Unix epoch; in JSON an RFC 3339 string in UTC with milliseconds,
/// `2026-11-21T06:44:43.120Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime, examples("2026-11-21T06:44:43.120Z"))]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last moment in the year 9999 that is in that year in every time zone.
    const LAST_MS: u64 = 253_402_207_200_999;

    /// The moment `ms` milliseconds after the Unix epoch; later than the year 9999 becomes its end.
    #[must_use]
    pub fn from_unix_ms(ms: u64) -> Self {
        Self(ms.min(Self::LAST_MS))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// As header fields of HTTP and SIP have it: `Sat, 13 Nov 2010 23:29:00 GMT`.
    #[must_use]
    pub fn http_date(self) -> String {
        let at = i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        at.unwrap_or(jiff::Timestamp::MAX).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        write!(f, "{:.3}", at.unwrap_or(jiff::Timestamp::MAX))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    /// Reads RFC 3339 with any offset; parts of a millisecond are dropped, times before 1970 become 1970.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at: jiff::Timestamp = text.parse()?;
        Ok(Self::from_unix_ms(u64::try_from(at.as_millisecond()).unwrap_or(0)))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn milliseconds_are_always_written() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_007, "2023-11-14T22:13:20.007Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (Timestamp::LAST_MS, "9999-12-30T22:00:00.999Z"),
        ] {
            let at = Timestamp::from_unix_ms(ms);
            assert_eq!(serde_json::to_value(at).unwrap(), text);
            assert_eq!(text.parse::<Timestamp>().unwrap(), at);
        }
        assert_eq!(Timestamp::from_unix_ms(u64::MAX).unix_ms(), Timestamp::LAST_MS);
    }

    #[test]
    fn offsets_are_read_and_nonsense_is_refused() {
        assert_eq!("1970-01-01T07:00:00+07:00".parse::<Timestamp>().unwrap().unix_ms(), 0);
        assert_eq!("1969-12-31T23:59:59Z".parse::<Timestamp>().unwrap().unix_ms(), 0);
        for bad in ["", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }
}
