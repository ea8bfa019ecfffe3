//! Variables of a call.

use crate::fault::{Faults, join, kind};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use std::{collections::BTreeMap, fmt};

/// The variables of a call by name: given at its creation, set by its flow.
pub type Variables = BTreeMap<String, Variable>;

/// Most variables of a call, and so most that one request or step may give.
pub const MAX_VARIABLES: usize = 256;
/// Most bytes of all variables of a call, names and values together.
pub const MAX_VARIABLES_BYTES: usize = 64 * 1024;
/// Longest text of one variable, bytes.
const MAX_TEXT: usize = 4096;

/// A variable's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Variable {
    /// Text, at most 4 KiB.
    Text(String),
    /// A number, written as it came.
    #[schema(value_type = f64)]
    Number(Number),
    /// True or false.
    Flag(bool),
}

impl Variable {
    /// Bytes that it takes under this name, of [`MAX_VARIABLES_BYTES`].
    #[must_use]
    pub fn size(&self, name: &str) -> usize {
        // A number has at most as many digits as its text in JSON; longer than 32 none is written.
        let value = match self {
            Self::Text(text) => text.len(),
            Self::Number(_) => 32,
            Self::Flag(_) => 5,
        };
        name.len() + value
    }
}

impl fmt::Display for Variable {
    /// As it is inserted for `{name}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => fmt::Display::fmt(number, f),
            Self::Flag(flag) => fmt::Display::fmt(flag, f),
        }
    }
}

impl From<&str> for Variable {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Whether `{name}` may stand for a variable: a letter or `_`, then letters, digits and `_`, at most 64.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What a message says about a bad name.
pub(crate) const NAME_RULE: &str = "names are a letter or _, then letters, digits and _, at most 64";

pub(crate) fn read_variable(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Variable> {
    match value {
        Value::String(text) if text.len() > MAX_TEXT => {
            faults.push(pointer, format_args!("must be at most {MAX_TEXT} bytes long, not {}", text.len()));
            None
        }
        Value::String(text) => Some(Variable::Text(text.clone())),
        Value::Number(number) => Some(Variable::Number(number.clone())),
        Value::Bool(flag) => Some(Variable::Flag(*flag)),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            faults
                .push(pointer, format_args!("must be a string, a number or a boolean, not {}", kind(value)));
            None
        }
    }
}

pub(crate) fn read_variables(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Variables> {
    let Some(members) = value.as_object() else {
        faults.push(pointer, format_args!("must be an object, not {}", kind(value)));
        return None;
    };
    if members.len() > MAX_VARIABLES {
        faults.push(pointer, format_args!("at most {MAX_VARIABLES} variables, not {}", members.len()));
        return None;
    }
    let mut variables = Variables::new();
    for (name, value) in members {
        let at = join(pointer, name);
        if !is_name(name) {
            faults.push(at, NAME_RULE);
        } else if let Some(variable) = read_variable(value, &at, faults) {
            variables.insert(name.clone(), variable);
        }
    }
    let size: usize = variables.iter().map(|(name, variable)| variable.size(name)).sum();
    if size > MAX_VARIABLES_BYTES {
        faults.push(pointer, format_args!("must be at most {MAX_VARIABLES_BYTES} bytes in all, not {size}"));
    }
    Some(variables)
}
