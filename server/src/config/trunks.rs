//! `[[trunks]]`: read as the API reads them, with each fault where it stands in the file.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use control_api_types::{Fault, Secret, TrunkSettings};
use engine_core::{StirConfig, TrunkConfig};
use serde_json::Value;
use sip_core::Transport;
use toml::Spanned;
use toml::de::DeValue;

use super::check::Checks;
use super::fault::SpanFault;

/// What trunks need of the rest of the file.
pub(super) struct Around<'s> {
    /// Transports that there are listeners of.
    pub(super) served: Vec<Transport>,
    /// How calls are signed and verified.
    pub(super) stir: &'s StirConfig,
}

/// The trunks of a file.
pub(super) fn read(
    trunks: Option<Spanned<DeValue<'_>>>,
    around: &Around<'_>,
    folder: &Path,
    faults: &mut Checks,
) -> Vec<TrunkSettings> {
    // That it is a list of tables is checked with the rest of the file.
    let Some(DeValue::Array(entries)) = trunks.map(Spanned::into_inner) else { return Vec::new() };
    let mut names = BTreeSet::new();
    let mut trunks = Vec::new();
    for entry in entries.iter() {
        let json = to_json(entry.get_ref());
        let called = match json.get("name").and_then(Value::as_str) {
            Some(name) => format!("trunk {name:?}"),
            None => "a trunk".to_owned(),
        };
        let mut note = |found: Vec<Fault>| {
            faults.0.extend(found.into_iter().map(|Fault { pointer, detail }| SpanFault {
                span: place(entry, &pointer),
                reason: format!("{called}: {}: {detail}", pointer.trim_start_matches('/').replace('/', ".")),
            }));
        };
        let settings = TrunkSettings::from_file(&json).and_then(|settings| with_password(settings, folder));
        match settings {
            Ok(settings) => {
                match TrunkConfig::from_settings(&settings, &around.served) {
                    Ok(trunk) => note(around.stir.lacks(&trunk)),
                    Err(found) => note(found),
                }
                if !names.insert(settings.name.clone()) {
                    note(vec![Fault { pointer: "/name".into(), detail: "is configured twice".into() }]);
                }
                trunks.push(settings);
            }
            Err(found) => note(found),
        }
    }
    trunks
}

/// Reads the password from its file, if it stands in one.
fn with_password(settings: TrunkSettings, folder: &Path) -> Result<TrunkSettings, Vec<Fault>> {
    let Some(file) = &settings.password_file else { return Ok(settings) };
    let path = folder.join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let password = Some(Secret(text.trim_end_matches(['\r', '\n']).to_owned()));
            Ok(TrunkSettings { password, password_file: None, ..settings })
        }
        Err(error) => {
            let detail = format!("{}: {error}", path.display());
            Err(vec![Fault { pointer: "/password_file".into(), detail }])
        }
    }
}

fn to_json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from)
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(yes) => (*yes).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(members) => {
            let member = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                (key.to_string(), to_json(value.get_ref()))
            };
            Value::Object(members.iter().map(member).collect())
        }
    }
}

/// Where a JSON pointer leads, or as far as there is something.
fn place(entry: &Spanned<DeValue<'_>>, pointer: &str) -> Range<usize> {
    let mut at = entry;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let next = match at.get_ref() {
            DeValue::Table(members) => members.get(step.as_str()),
            DeValue::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => None,
        };
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    at.span()
}
