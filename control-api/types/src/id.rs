//! Identifiers.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr, sync::Arc};

/// An identifier that is not 1 to 64 characters of `A-Z a-z 0-9 _ . -`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 characters of A-Z a-z 0-9 _ . -")]
pub struct InvalidId;

/// Whether `text` may be an id chosen by a caller, or the name of a prompt or flow.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
        #[schema(value_type = String, pattern = "^[A-Za-z0-9_.-]{1,64}$", examples($example))]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id, if `text` is one.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                if is_id(text) { Ok(Self(text.into())) } else { Err(InvalidId) }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id! {
    /// A call's id: a ULID, or chosen by the caller. Cheap to clone.
    CallId, "01JD3W8Z5T0Q9K4M7N2P6R8S1V"
}

text_id! {
    /// A recording's id: a ULID.
    RecordingId, "01JD3W8Z5T0Q9K4M7N2P6R8S1W"
}

text_id! {
    /// One playing of a prompt.
    PlayId, "p-1"
}

/// A position in the stream of events; in JSON a string of decimal digits, to be treated as opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, examples("1763707483120000042"))]
pub struct Cursor(pub u64);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Cursor {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_plain() {
        for good in ["a", "A-b_c.9", &"x".repeat(64)] {
            assert_eq!(CallId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert_eq!(CallId::new(bad), Err(InvalidId), "{bad:?}");
            assert!(serde_json::from_value::<CallId>(bad.into()).is_err());
        }
    }

    #[test]
    fn a_cursor_is_a_string_that_keeps_all_64_bits() {
        let json = serde_json::to_value(Cursor(u64::MAX)).unwrap();
        assert_eq!(json, "18446744073709551615");
        assert_eq!(serde_json::from_value::<Cursor>(json).unwrap(), Cursor(u64::MAX));
    }
}
