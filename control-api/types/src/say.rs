//! What is said: a text, and how.

use crate::{
    Fault,
    fault::{self, Faults, Fields},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest text, in bytes.
const MAX_TEXT: usize = 4096;
/// The usual speed.
const USUAL: u16 = 100;

/// Something to be said by a synthesiser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Say {
    /// The text. `{name}` inserts a variable of the call; `{stop:1s}` is a pause; `{digits:…}`, `{letters:…}`, `{date:…}` and
    /// `{currency:…}` read what they hold, which may be a variable; `{{` is a brace. A text that begins with `<speak>` is SSML:
    /// `p`, `s`, `break`, `say-as`, `sub` and `prosody rate` are understood.
    #[schema(min_length = 1, max_length = 4096)]
    pub text: String,
    /// The language, as a tag such as `en`, `id`, `vi`, `zh` or `en-gb`; in a call it may have variables.
    #[schema(min_length = 1, max_length = 64)]
    pub language: String,
    /// The voice by name; without it the first that speaks the language. In a call it may have variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub voice: Option<String>,
    /// How fast, in per cent of the usual speed.
    #[serde(default = "usual", skip_serializing_if = "is_usual")]
    #[schema(required = false, default = 100, minimum = 50, maximum = 200)]
    pub rate: u16,
}

fn usual() -> u16 {
    USUAL
}

fn is_usual(rate: &u16) -> bool {
    *rate == USUAL
}

impl Say {
    /// Says `text` in a language, by its first voice and as fast as usual.
    pub fn of(text: impl Into<String>, language: impl Into<String>) -> Self {
        Self { text: text.into(), language: language.into(), voice: None, rate: USUAL }
    }

    pub(crate) fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults);
        let say = Self::read_fields(&mut fields);
        fields.finish();
        say
    }

    pub(crate) fn read_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let text = fields.str("text", 1..=MAX_TEXT);
        let text = fields.required("text", text).map(str::to_owned);
        let language = fields.str("language", 1..=64);
        let language = fields.required("language", language).map(str::to_owned);
        let voice = fields.str("voice", 1..=64).map(str::to_owned);
        let rate = fields.u32_in("rate", 50..=200).and_then(|rate| u16::try_from(rate).ok()).unwrap_or(USUAL);
        Some(Self { text: text?, language: language?, voice, rate })
    }
}

/// A prompt that is said instead of uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatePrompt {
    /// Its name: letters, digits, `_`, `-` and `.`, at most 64.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// What it says. It has no variables: nobody's call is there to have them.
    pub say: Say,
}

impl CreatePrompt {
    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, |value, pointer, faults| {
            let mut fields = Fields::new(value, pointer, faults);
            let name = fields.str("name", 1..=64);
            let name = fields.required("name", name).map(str::to_owned);
            let say = fields.nested("say", Say::read);
            let say = fields.required("say", say);
            fields.finish();
            Some(Self { name: name?, say: say? })
        })
    }
}
