//! Reading request bodies so that every fault is reported, not only the first.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{fmt::Display, ops::RangeInclusive};

/// One thing wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Fault {
    /// Where: a JSON pointer (RFC 6901) into the body, `/steps/greet/on/1`; for a query parameter `?name`.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

/// The faults found so far, at most [`Faults::MAX`]: a hostile body must not be answered with a larger one.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// As many as a person would read.
    pub const MAX: usize = 100;

    /// Notes a fault.
    pub fn push(&mut self, pointer: impl Into<String>, detail: impl Display) {
        if self.0.len() < Self::MAX {
            self.0.push(Fault { pointer: pointer.into(), detail: detail.to_string() });
        }
    }

    /// `value` if nothing was found, otherwise the faults.
    pub fn into_result<T>(self, value: Option<T>) -> Result<T, Vec<Fault>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) | None => Err(self.0),
        }
    }
}

/// Reads one value found at a pointer; `None` only if it noted a fault.
pub(crate) type Reader<T> = fn(&Value, &str, &mut Faults) -> Option<T>;

/// Runs a reader over a whole body.
pub(crate) fn read<T>(body: &Value, reader: Reader<T>) -> Result<T, Vec<Fault>> {
    let mut faults = Faults::default();
    let value = reader(body, "", &mut faults);
    faults.into_result(value)
}

/// Reads a list of `length` items, each with `reader`; every item is read, so that every fault is told. `what` they are, in
/// the plural.
pub(crate) fn list<T>(
    value: &Value,
    pointer: &str,
    length: RangeInclusive<usize>,
    what: &str,
    mut reader: impl FnMut(&Value, &str, &mut Faults) -> Option<T>,
    faults: &mut Faults,
) -> Option<Vec<T>> {
    let Some(items) = value.as_array() else {
        faults.push(pointer, format_args!("must be a list of {what}, not {}", kind(value)));
        return None;
    };
    if !length.contains(&items.len()) {
        let (min, max, is) = (length.start(), length.end(), items.len());
        faults.push(pointer, format_args!("must hold {min} to {max} {what}, not {is}"));
        return None;
    }
    let read = |(n, item): (usize, &Value)| reader(item, &format!("{pointer}/{n}"), faults);
    items.iter().enumerate().map(read).collect::<Vec<_>>().into_iter().collect()
}

/// `parent` extended by one member or index.
pub(crate) fn join(parent: &str, key: &str) -> String {
    // RFC 6901 §3: "~" is encoded as "~0" and "/" as "~1".
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// How messages call the type of a value.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads the members of one JSON object. `null` counts as absent. Each method notes what is wrong with its member;
/// [`Fields::finish`] notes the members that nobody asked for.
#[derive(Debug)]
pub struct Fields<'a> {
    members: Option<&'a Map<String, Value>>,
    pointer: &'a str,
    known: Vec<&'static str>,
    faults: &'a mut Faults,
}

impl<'a> Fields<'a> {
    /// Starts reading `value`, which stands at `pointer` and must be an object.
    pub fn new(value: &'a Value, pointer: &'a str, faults: &'a mut Faults) -> Self {
        let members = value.as_object();
        if members.is_none() {
            faults.push(pointer, format_args!("must be an object, not {}", kind(value)));
        }
        Self { members, pointer, known: Vec::with_capacity(12), faults }
    }

    /// Notes a fault of the member `key`.
    pub fn fault(&mut self, key: &str, detail: impl Display) {
        self.faults.push(join(self.pointer, key), detail);
    }

    /// Notes a fault of the member `inner` of the member `key`.
    pub fn fault_in(&mut self, key: &str, inner: &str, detail: impl Display) {
        self.faults.push(join(&join(self.pointer, key), inner), detail);
    }

    /// Whether the member is there; does not mark it as known.
    pub fn has(&self, key: &str) -> bool {
        self.members.is_some_and(|members| members.get(key).is_some_and(|value| !value.is_null()))
    }

    /// The member as it is.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.members?.get(key).filter(|value| !value.is_null())
    }

    /// Notes that `key` is missing if `value` is none and the member is absent.
    pub fn required<T>(&mut self, key: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() && self.members.is_some() && !self.has(key) {
            self.fault(key, "is required");
        }
        value
    }

    /// A string of `length` bytes.
    pub fn str(&mut self, key: &'static str, length: RangeInclusive<usize>) -> Option<&'a str> {
        let value = self.value(key)?;
        let Some(text) = value.as_str() else {
            self.fault(key, format_args!("must be a string, not {}", kind(value)));
            return None;
        };
        if !length.contains(&text.len()) {
            let (min, max, is) = (length.start(), length.end(), text.len());
            self.fault(key, format_args!("must be {min} to {max} bytes long, not {is}"));
            return None;
        }
        Some(text)
    }

    /// A whole number in `range`.
    pub fn u32_in(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.value(key)?;
        let number = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n));
        if number.is_none() {
            let (min, max) = (range.start(), range.end());
            let is = if value.is_number() { value.to_string() } else { kind(value).to_owned() };
            self.fault(key, format_args!("must be a whole number from {min} to {max}, not {is}"));
        }
        number
    }

    /// A whole number in `range`, which may be below zero.
    pub fn i8_in(&mut self, key: &'static str, range: RangeInclusive<i8>) -> Option<i8> {
        let value = self.value(key)?;
        let number = value.as_i64().and_then(|n| i8::try_from(n).ok()).filter(|n| range.contains(n));
        if number.is_none() {
            let (min, max) = (range.start(), range.end());
            let is = if value.is_number() { value.to_string() } else { kind(value).to_owned() };
            self.fault(key, format_args!("must be a whole number from {min} to {max}, not {is}"));
        }
        number
    }

    /// `true` or `false`.
    pub fn bool(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        if value.as_bool().is_none() {
            self.fault(key, format_args!("must be true or false, not {}", kind(value)));
        }
        value.as_bool()
    }

    /// One of a few words.
    pub fn word<T: Copy + Display>(&mut self, key: &'static str, words: &[T]) -> Option<T> {
        let value = self.value(key)?;
        let found = words.iter().copied().find(|word| value.as_str() == Some(word.to_string().as_str()));
        if found.is_none() {
            let list = words.iter().map(T::to_string).collect::<Vec<_>>().join(", ");
            self.fault(key, format_args!("must be one of: {list}"));
        }
        found
    }

    /// A member with a reader of its own.
    pub(crate) fn nested<T>(&mut self, key: &'static str, reader: Reader<T>) -> Option<T> {
        let value = self.value(key)?;
        reader(value, &join(self.pointer, key), self.faults)
    }

    /// Notes every member that was not read, with the names of those that may be there.
    pub fn finish(self) {
        for key in self.members.into_iter().flat_map(Map::keys) {
            if !self.known.contains(&key.as_str()) {
                let detail = format!("unknown field; allowed here: {}", self.known.join(", "));
                self.faults.push(join(self.pointer, key), detail);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pointers_are_escaped() {
        let mut faults = Faults::default();
        Fields::new(&json!({"a/b": 1, "c~d": 2}), "/x", &mut faults).finish();
        let pointers: Vec<_> = faults.0.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/x/a~1b", "/x/c~0d"]);
    }

    #[test]
    fn the_number_of_faults_is_bounded() {
        let body: Map<String, Value> = (0..5_000).map(|n| (format!("k{n}"), json!(n))).collect();
        let body = Value::Object(body);
        let mut faults = Faults::default();
        Fields::new(&body, "", &mut faults).finish();
        assert_eq!(faults.into_result(Some(())).unwrap_err().len(), Faults::MAX);
    }

    #[test]
    fn null_is_absent() {
        let body = json!({"n": null});
        let mut faults = Faults::default();
        let mut fields = Fields::new(&body, "", &mut faults);
        assert_eq!(fields.u32_in("n", 1..=2), None);
        fields.finish();
        assert!(faults.into_result(Some(())).is_ok());
    }
}
