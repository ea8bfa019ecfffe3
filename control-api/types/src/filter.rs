//! Which types of events somebody wants to hear of.

use crate::{
    EventData,
    fault::{Faults, kind},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::fmt;

/// Most patterns of one filter: there are hardly more types.
const MAX_PATTERNS: usize = 64;

/// Names of event types, or beginnings of names with `*`: `call.*`, `trunk.up`, `*`. Each means at least one type that there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = Vec<String>, min_items = 1, max_items = 64, examples(json!(["call.*", "trunk.down"])))]
pub struct EventTypes(Vec<String>);

/// A pattern that means no type there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NoSuchType {
    /// What was asked for.
    pub pattern: String,
    /// What is most like it, the most alike first.
    pub nearest: Vec<&'static str>,
}

impl fmt::Display for NoSuchType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pattern, nearest } = self;
        write!(f, "no type of event is called {pattern:?}; the nearest: {}", nearest.join(", "))
    }
}

impl EventTypes {
    /// Every type.
    #[must_use]
    pub fn all() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// The patterns of a list with commas in between, as a query has them: `call.*,trunk.up`.
    pub fn from_list(list: &str) -> Result<Self, Vec<NoSuchType>> {
        let patterns = list.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
        let (mut types, mut wrong) = (Vec::new(), Vec::new());
        for pattern in patterns {
            match check(pattern) {
                Ok(()) if types.iter().any(|known| known == pattern) => {}
                Ok(()) => types.push(pattern.to_owned()),
                Err(no_such) => wrong.push(no_such),
            }
        }
        match (types.is_empty(), wrong.is_empty()) {
            (_, false) => Err(wrong),
            (true, true) => Ok(Self::all()),
            (false, true) => Ok(Self(types)),
        }
    }

    /// Whether events of this type are among them.
    #[must_use]
    pub fn contains(&self, kind: &str) -> bool {
        self.0.iter().any(|pattern| means(pattern, kind))
    }

    /// The patterns.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(crate) fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let read = |value: &Value, at: &str, faults: &mut Faults| {
            let Some(pattern) = value.as_str() else {
                faults.push(at, format_args!("must be a string, not {}", kind(value)));
                return None;
            };
            match check(pattern) {
                Ok(()) => Some(pattern.to_owned()),
                Err(no_such) => {
                    faults.push(at, no_such);
                    None
                }
            }
        };
        crate::fault::list(value, pointer, 1..=MAX_PATTERNS, "types of events", read, faults).map(Self)
    }
}

impl<'de> Deserialize<'de> for EventTypes {
    /// What was stored or answered is taken as it is: another version may know other types.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}

fn means(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => kind.starts_with(beginning),
        None => kind == pattern,
    }
}

fn check(pattern: &str) -> Result<(), NoSuchType> {
    if EventData::TYPES.iter().any(|kind| means(pattern, kind)) {
        return Ok(());
    }
    // Of something long no more than the beginning is told back, or compared.
    let pattern: String = pattern.chars().take(64).collect();
    let mut nearest: Vec<_> = EventData::TYPES.iter().map(|kind| (distance(&pattern, kind), *kind)).collect();
    nearest.sort_unstable();
    Err(NoSuchType { nearest: nearest.into_iter().take(3).map(|(_, kind)| kind).collect(), pattern })
}

/// How many characters must be put in, taken out or changed to make one of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, of_a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, of_b) in b.iter().enumerate() {
            let changed = diagonal + usize::from(of_a != *of_b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_names_or_beginnings_of_names() {
        for (list, kind, wanted) in [
            ("", "call.ringing", true),
            ("call.*", "call.ringing", true),
            ("call.*", "trunk.up", false),
            ("call.ringing, engine.draining", "engine.draining", true),
            ("call.dtmf", "call.dtmf.sent", false),
            ("*", "events.dropped", true),
        ] {
            assert_eq!(EventTypes::from_list(list).unwrap().contains(kind), wanted, "{list} {kind}");
        }
    }

    #[test]
    fn what_is_no_type_is_told_with_the_nearest() {
        for (list, nearest) in [("call.rining", "call.ringing"), ("call.amd,trunk.u", "trunk.up")] {
            let wrong = EventTypes::from_list(list).unwrap_err();
            assert_eq!(wrong[0].nearest[0], nearest, "{wrong:?}");
        }
        let told = EventTypes::from_list("call.dtfm").unwrap_err()[0].to_string();
        assert!(
            told.starts_with("no type of event is called \"call.dtfm\"; the nearest: call.dtmf, "),
            "{told}"
        );
    }

    #[test]
    fn the_distance_is_that_of_levenshtein() {
        for (a, b, expected) in [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
