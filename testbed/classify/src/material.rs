//! Who speaks, and what is said.

/// What makes a voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Engine {
    /// espeak-ng: formants, many variants of voice.
    Espeak,
    /// flite: recorded diphones and units of four people.
    Flite,
    /// festival: recorded diphones and units of others.
    Festival,
    /// Debian's prompts for Asterisk: one person in each package, recorded; the texts are names of files.
    Recorded,
}

/// A voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Speaker {
    pub(crate) engine: Engine,
    pub(crate) language: &'static str,
    pub(crate) name: &'static str,
}

pub(crate) const fn speaker(engine: Engine, language: &'static str, name: &'static str) -> Speaker {
    Speaker { engine, language, name }
}

impl Speaker {
    /// Whose voice it is, whatever the language: of espeak-ng's voices what follows the language.
    pub(crate) fn person(&self) -> &'static str {
        match self.engine {
            Engine::Espeak => self.name.split_once('+').map_or(self.name, |(_, variant)| variant),
            Engine::Flite | Engine::Festival | Engine::Recorded => self.name,
        }
    }
}

/// How a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A person's one or two words.
    Hello,
    /// A person's whole sentence.
    Sentence,
    /// A person who begins, stops and begins again.
    Hesitant,
    /// A company's greeting by a person, who then waits.
    Company,
    /// A recorded greeting.
    Recording,
}

/// What is said; `|` parts sentences.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    pub(crate) language: &'static str,
    pub(crate) manner: Manner,
    pub(crate) words: &'static str,
}

pub(crate) const fn text(language: &'static str, manner: Manner, words: &'static str) -> Text {
    Text { language, manner, words }
}

/// What a part of the corpus is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Material {
    /// What all random choices of the part hang on.
    pub(crate) seed: &'static str,
    pub(crate) speakers: &'static [Speaker],
    pub(crate) texts: &'static [Text],
    /// Files of Debian's asterisk-moh-opsound-wav.
    pub(crate) music: &'static [&'static str],
}

impl Material {
    /// What can be said in a manner: by whom and which of the texts in the speaker's language.
    pub(crate) fn speakers_of(&self, manner: Manner) -> Vec<Speaker> {
        let speaks = |speaker: &&Speaker| self.texts_of(**speaker, manner).next().is_some();
        self.speakers.iter().filter(speaks).copied().collect()
    }

    pub(crate) fn texts_of(&self, speaker: Speaker, manner: Manner) -> impl Iterator<Item = Text> {
        let fits = move |text: &&Text| text.language == speaker.language && text.manner == manner;
        self.texts.iter().filter(fits).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::{development, held_out};

    #[test]
    fn the_parts_share_no_voice_no_text_no_prompt_no_music_and_no_seed() {
        fn disjoint<T: Ord + std::fmt::Debug>(what: &str, a: Vec<T>, b: Vec<T>) {
            let (a, b) = (BTreeSet::from_iter(a), BTreeSet::from_iter(b));
            let both: Vec<&T> = a.intersection(&b).collect();
            assert!(both.is_empty(), "{what} in both parts: {both:?}");
            assert!(!a.is_empty() && !b.is_empty());
        }
        let parts = [development::MATERIAL, held_out::MATERIAL];
        let [persons, words, prompts, music, seeds] = [0, 1, 2, 3, 4].map(|what| {
            parts.map(|part| -> Vec<String> {
                let texts = |recorded: bool| {
                    part.texts.iter().filter(move |text| (text.language == "files") == recorded)
                };
                match what {
                    0 => part.speakers.iter().map(|speaker| speaker.person().to_lowercase()).collect(),
                    1 => texts(false).map(|text| text.words.to_lowercase()).collect(),
                    2 => texts(true).flat_map(|text| text.words.split('|')).map(str::to_owned).collect(),
                    3 => part.music.iter().map(|name| (*name).to_owned()).collect(),
                    _ => vec![part.seed.to_owned()],
                }
            })
        });
        for (what, [a, b]) in
            [("voices", persons), ("texts", words), ("prompts", prompts), ("music", music), ("seeds", seeds)]
        {
            disjoint(what, a, b);
        }
    }
}
