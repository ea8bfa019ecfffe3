//! `CARILLON__API__LISTEN=…` sets the scalar `listen` of `[api]`, whatever the file says.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

const PREFIX: &str = "CARILLON__";

/// Writes the overrides into the parsed file. Lists (`[[trunks]]`) have no variables: a place in a list is no name.
pub(super) fn apply<'a>(file: &mut DeTable<'a>, environment: &'a [(String, String)]) -> Result<(), Vec<String>> {
    let mut faults = Vec::new();
    for (name, value) in environment {
        let Some(place) = name.strip_prefix(PREFIX) else { continue };
        let Some((section, key)) = place.split_once("__") else {
            faults.push(format!("environment variable {name}: expected {PREFIX}SECTION__KEY"));
            continue;
        };
        let section = section.to_ascii_lowercase();
        let entry = file
            .entry(unspanned(Cow::Owned(section.clone())))
            .or_insert_with(|| unspanned(DeValue::Table(DeTable::new())));
        if let DeValue::Table(table) = entry.get_mut() {
            table.insert(unspanned(Cow::Owned(key.to_ascii_lowercase())), read(value));
        } else {
            faults.push(format!("environment variable {name}: {section:?} is not a section with keys"));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// A variable's value as TOML would read it (`true`, `5`, `["udp:…"]`), or else as the string it is.
fn read(value: &str) -> Spanned<DeValue<'_>> {
    let parsed = DeValue::parse(value).map_or_else(|_| DeValue::String(Cow::Borrowed(value)), Spanned::into_inner);
    unspanned(parsed)
}

/// Stands on no line of the file.
fn unspanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}
