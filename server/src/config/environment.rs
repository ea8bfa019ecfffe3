//! `CARILLON__API__LISTEN=…` sets the scalar `listen` of `[api]`, whatever the file says.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

const PREFIX: &str = "CARILLON__";

/// Writes the overrides into the parsed file. Lists (`[[trunks]]`) have no variables: a place in a list is no name.
///
/// What the n-th variable sets stands at `place(n)`, so that a fault in it leads back to the variable.
pub(super) fn apply<'a>(
    file: &mut DeTable<'a>,
    environment: &'a [(String, String)],
    place: impl Fn(usize) -> Range<usize>,
) -> Result<(), Vec<String>> {
    let mut faults = Vec::new();
    for (index, (name, value)) in environment.iter().enumerate() {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let Some((section, key)) = path.split_once("__") else {
            faults.push(format!("environment variable {name}: expected {PREFIX}SECTION__KEY"));
            continue;
        };
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        let at = place(index);
        let entry = file
            .entry(Spanned::new(at.clone(), Cow::Owned(section.clone())))
            .or_insert_with(|| Spanned::new(at.clone(), DeValue::Table(DeTable::new())));
        if let DeValue::Table(table) = entry.get_mut() {
            // Taken out first: a map that has the key keeps it as it stands in the file.
            table.remove(key.as_str());
            table.insert(Spanned::new(at.clone(), Cow::Owned(key)), moved(read(value), &at));
        } else {
            faults.push(format!("environment variable {name}: {section:?} is not a section with keys"));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// A variable's value as TOML would read it (`true`, `5`, `["udp:…"]`), or else as the string it is.
fn read(value: &str) -> DeValue<'_> {
    DeValue::parse(value).map_or_else(|_| DeValue::String(Cow::Borrowed(value)), Spanned::into_inner)
}

/// The value, standing at `at` with everything in it.
fn moved<'a>(value: DeValue<'a>, at: &Range<usize>) -> Spanned<DeValue<'a>> {
    let DeValue::Array(items) = value else { return Spanned::new(at.clone(), value) };
    let items = items.into_iter().map(|item| moved(item.into_inner(), at)).collect();
    Spanned::new(at.clone(), DeValue::Array(items))
}
