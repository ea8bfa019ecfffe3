//! Who can say what.

use std::sync::Arc;

use crate::language::primary;

/// One voice that speaks one language.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Voice {
    /// Its name; the same name may speak several languages.
    pub name: Arc<str>,
    /// The language, as a tag in small letters: `en`, `en-us`, `vi`.
    pub language: Arc<str>,
}

/// Voices in the order in which they are preferred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voices(Arc<[Voice]>);

impl Voices {
    /// These, the preferred first.
    pub fn new(voices: impl IntoIterator<Item = Voice>) -> Self {
        Self(voices.into_iter().collect())
    }

    /// All, the preferred first.
    #[must_use]
    pub fn all(&self) -> &[Voice] {
        &self.0
    }

    /// The voice for a language: of this name if one is named. A voice of the very tag goes before one of the same language
    /// elsewhere, so `en-gb` is said by an American voice only when there is no British one.
    #[must_use]
    pub fn find(&self, language: &str, name: Option<&str>) -> Option<&Voice> {
        let language = language.to_ascii_lowercase();
        let named = || self.0.iter().filter(move |voice| name.is_none_or(|name| *voice.name == *name));
        named()
            .find(|voice| *voice.language == *language)
            .or_else(|| named().find(|voice| primary(&voice.language) == primary(&language)))
    }

    /// What may be asked for: each language once, in order of its tag.
    #[must_use]
    pub fn languages(&self) -> Vec<&str> {
        let mut tags: Vec<&str> = self.0.iter().map(|voice| primary(&voice.language)).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    /// The names of the voices of a language, the preferred first.
    #[must_use]
    pub fn names(&self, language: &str) -> Vec<&str> {
        let language = language.to_ascii_lowercase();
        let of = self.0.iter().filter(|voice| primary(&voice.language) == primary(&language));
        let mut names: Vec<&str> = Vec::new();
        for name in of.map(|voice| &*voice.name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_very_tag_goes_before_the_language_and_the_first_before_the_next() {
        let voice = |name: &str, language: &str| Voice { name: name.into(), language: language.into() };
        let voices = Voices::new([
            voice("ana", "en-us"),
            voice("bob", "en-gb"),
            voice("bob", "fr"),
            voice("mei", "cmn"),
        ]);
        let found = |language, name| voices.find(language, name).map(|voice| &*voice.name);
        for (language, name, expected) in [
            ("en", None, Some("ana")),
            ("EN-GB", None, Some("bob")),
            ("en-au", None, Some("ana")),
            ("en", Some("bob"), Some("bob")),
            ("en", Some("mei"), None),
            ("zh", None, Some("mei")),
            ("zh-CN", Some("mei"), Some("mei")),
            ("fr-CA", None, Some("bob")),
            ("de", None, None),
            ("", None, None),
        ] {
            assert_eq!(found(language, name), expected, "{language} {name:?}");
        }
        assert_eq!(voices.languages(), ["en", "fr", "zh"]);
        assert_eq!(voices.names("en-us"), ["ana", "bob"]);
    }
}
