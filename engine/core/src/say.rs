//! Texts that are said in a call: checked when they are given, put together from its variables when they are due.

use std::borrow::Cow;
use std::sync::Arc;

use control_api_types::{Call, Fault, Faults, Say};
use speech_core::{Language, Piece, Template, Voice, Voices};

use crate::variables;

/// What a voice is to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utterance {
    /// Who says it.
    pub voice: Voice,
    /// How fast, in per cent of the usual speed.
    pub rate: u16,
    /// Words and silences in order; at least one.
    pub pieces: Arc<[Piece]>,
}

/// Notes what of a text, whose object is at `at`, means nothing or can be said by nobody. What variables bring is known when
/// it is said.
pub(crate) fn check(say: &Say, at: &str, voices: &Voices, faults: &mut Faults) {
    let template = match Template::parse(&say.text) {
        Ok(template) => Some(template),
        Err(error) => {
            faults.push(format!("{at}/text"), error);
            None
        }
    };
    let mut named = |member: &str, text: &str| {
        if let Err(bad) = variables::check(text) {
            faults.push(format!("{at}/{member}"), bad);
        }
        variables::is_literal(text)
    };
    let is_known = named("language", &say.language);
    let voice = say.voice.as_deref().filter(|voice| named("voice", voice));
    if !is_known {
        return;
    }
    let language = say.language.as_str();
    if voices.find(language, None).is_none() {
        faults.push(format!("{at}/language"), nobody(language, voices));
    } else if voice.is_some_and(|voice| voices.find(language, Some(voice)).is_none()) {
        let names = voices.names(language).join(", ");
        let detail = format!("no voice of this name speaks {language:?}; there are {names}");
        faults.push(format!("{at}/voice"), detail);
    }
    if let Some(Err(error)) = template.map(|template| template.check(Language::of_tag(language))) {
        faults.push(format!("{at}/text"), error);
    }
}

fn nobody(language: &str, voices: &Voices) -> String {
    if voices.all().is_empty() {
        return "nothing speaks here: install espeak-ng, or name voices in [speech] of the configuration"
            .to_owned();
    }
    format!("nothing speaks {language:?}; there are {}", voices.languages().join(", "))
}

/// What is said for a text without variables, whose object is at `at`.
pub fn utterance(say: &Say, at: &str, voices: &Voices) -> Result<Utterance, Vec<Fault>> {
    let mut faults = Faults::default();
    check(say, at, voices, &mut faults);
    for (member, text) in [("language", Some(&say.language)), ("voice", say.voice.as_ref())] {
        if text.is_some_and(|text| !variables::is_literal(text)) {
            faults.push(format!("{at}/{member}"), "has no variables here: there is no call to have them");
        }
    }
    let template = Template::parse(&say.text).ok();
    if let Some(name) = template.as_ref().and_then(|template| template.variables().next()) {
        let detail = format!("there is no call here whose {{{name}}} could be said");
        faults.push(format!("{at}/text"), detail);
    }
    let voice = voices.find(&say.language, say.voice.as_deref());
    let said = voice
        .zip(template)
        .and_then(|(voice, template)| spoken(say, &say.language, &template, voice.clone(), |_| None));
    if said.is_none() {
        faults.push(format!("{at}/text"), "there is nothing to say in it");
    }
    faults.into_result(said)
}

/// What is said in a call; `None` when nothing is left of it. The error is for a person to read.
pub(crate) fn in_call(say: &Say, call: &Call, voices: &Voices) -> Result<Option<Utterance>, String> {
    let language = variables::render(&say.language, call);
    let name = say.voice.as_deref().map(|name| variables::render(name, call));
    let Some(voice) = voices.find(&language, name.as_deref()) else {
        return Err(match name.filter(|_| voices.find(&language, None).is_some()) {
            Some(name) => format!("no voice {name:?} speaks {language:?}"),
            None => nobody(&language, voices),
        });
    };
    let template = Template::parse(&say.text).map_err(|error| error.to_string())?;
    let value = |name: &str| variables::lookup(call, name).map(|value| Cow::Owned(value.to_string()));
    Ok(spoken(say, &language, &template, voice.clone(), value))
}

fn spoken<'a>(
    say: &Say,
    language: &str,
    template: &Template,
    voice: Voice,
    value: impl FnMut(&str) -> Option<Cow<'a, str>>,
) -> Option<Utterance> {
    let pieces = template.expand(Language::of_tag(language), value);
    (!pieces.is_empty()).then(|| Utterance { voice, rate: say.rate, pieces: pieces.into() })
}
