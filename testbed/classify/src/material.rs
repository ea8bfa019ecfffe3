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
    pub(crate) music: &'static [Music],
    /// Two kinds of steady noise; the second comes half as often again.
    pub(crate) noises: [Noise; 2],
    /// What is said twice comes twice as often.
    pub(crate) codecs: &'static [Codec],
}

/// Music on hold and in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Music {
    /// A file of Debian's asterisk-moh-opsound-wav.
    File(&'static str),
    /// Plucked strings: broken chords of a key, in hertz of its lowest note and notes a minute.
    Strings { hertz: u32, tempo: u32 },
}

/// What is steady behind what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Noise {
    White,
    /// Falls with 3 dB an octave, like rooms and streets.
    Pink,
    /// Falls with 6 dB an octave, like a moving car.
    Brown,
    /// A fan, whose blades are heard as 120 Hz and its harmonics under its wind.
    Fan,
}

/// What the far end's codec is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Codec {
    ALaw,
    MuLaw,
    G722,
    Opus,
    /// Full rate (06.10), and A-law from the mobile network on.
    Gsm,
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

    use super::Material;
    use crate::random::hash;
    use crate::recipe::Part;

    #[test]
    fn the_held_out_part_is_the_one_that_was_frozen() {
        // Another one has no figures in docs/classification.md until it is frozen, with its hash here, and evaluated once.
        assert_eq!(hash(include_str!("held_out.rs")), 0x8BF1_7E21_F50B_38F2);
    }

    #[test]
    fn the_parts_share_nothing() {
        fn disjoint<T: Ord + std::fmt::Debug>(what: &str, a: Vec<T>, b: Vec<T>) {
            let (a, b) = (BTreeSet::from_iter(a), BTreeSet::from_iter(b));
            let both: Vec<&T> = a.intersection(&b).collect();
            assert!(both.is_empty(), "{what} in both parts: {both:?}");
            assert!(!a.is_empty() && !b.is_empty());
        }
        type Names = fn(&Material) -> Vec<String>;
        let told: [(&str, Names); 6] = [
            ("voices", |of| of.speakers.iter().map(|speaker| speaker.person().to_lowercase()).collect()),
            ("sentences and prompts", |of| {
                of.texts.iter().flat_map(|text| text.words.split('|')).map(str::to_lowercase).collect()
            }),
            ("music", |of| of.music.iter().map(|music| format!("{music:?}")).collect()),
            ("noises", |of| of.noises.iter().map(|noise| format!("{noise:?}")).collect()),
            ("codecs", |of| of.codecs.iter().map(|codec| format!("{codec:?}")).collect()),
            ("seeds", |of| vec![of.seed.to_owned()]),
        ];
        for (what, names) in told {
            let [development, held_out] = [Part::Development, Part::HeldOut]
                .map(|part| part.materials().iter().flat_map(names).collect());
            disjoint(what, development, held_out);
        }
    }
}
