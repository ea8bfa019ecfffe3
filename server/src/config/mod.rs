//! The configuration file: read once into immutable values, every fault with `file:line: reason`.
//!
//! Three steps: TOML to [`file::File`] (unknown keys and wrong types refused where they stand), scalars overridden
//! by `CARILLON__SECTION__KEY` environment variables, then [`check`] and [`trunks`] turn it into what the shells take and
//! report everything that is well-formed but wrong.

mod check;
mod endpoints;
mod environment;
mod fault;
mod file;
mod listen;
mod speech;
mod stir;
mod trunks;
mod webhooks;

use std::path::{Path, PathBuf};

pub(crate) use check::{Api, Config};
pub(crate) use fault::Faults;

/// Reads, overrides and checks the configuration at `path`.
pub(crate) fn load(
    path: &Path,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, Faults> {
    let text = std::fs::read_to_string(path).map_err(|error| Faults::whole_file(path, &error))?;
    parse(path, &text, environment)
}

fn parse(
    path: &Path,
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, Faults> {
    let environment: Vec<_> = environment.collect();
    let source = fault::Source { path, text, environment: &environment };
    let mut table = toml::de::DeTable::parse(text).map_err(|error| Faults::from_toml(source, &error))?;
    environment::apply(table.get_mut(), &environment, |index| source.place_of_variable(index))
        .map_err(|reasons| Faults::from_environment(source, reasons))?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_owned);
    let trunks = table.get_ref().get("trunks").cloned();
    let file = <file::File as serde::Deserialize>::deserialize(toml::Deserializer::from(table))
        .map_err(|error| Faults::from_toml(source, &error))?;
    check::check(file, trunks, &folder).map_err(|faults| Faults::at_spans(source, faults))
}

#[cfg(test)]
mod tests;
