//! From a text and its variables to words and silences.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::language::Language;
use crate::reading::Reading;
use crate::template::{MAX_SILENCE, Part, Template, What};

/// Most bytes of words that one text becomes; what goes beyond is cut. Twice what may be written, as readings are longer.
pub const MAX_SPOKEN: usize = 8192;

/// Something to be said, or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    /// Words, never empty and without control characters.
    Words {
        /// As they are written for a synthesiser.
        text: String,
        /// How fast, in per cent of the usual speed.
        rate: u16,
    },
    /// Nothing for so long.
    Silence(Duration),
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words { text, .. } => f.write_str(text),
            Self::Silence(time) => write!(f, "[{} ms]", time.as_millis()),
        }
    }
}

impl Template {
    /// What is said in `language`; without one that has readings, digits and letters are set apart and the rest is as it is
    /// written. A variable that `value` does not know says nothing. What cannot be read as it should is said as it is.
    pub fn expand<'a>(
        &self,
        language: Option<Language>,
        mut value: impl FnMut(&str) -> Option<Cow<'a, str>>,
    ) -> Vec<Piece> {
        let mut spoken = Spoken::default();
        for node in &self.nodes {
            match &node.what {
                What::Stop(time) => spoken.pause(*time),
                What::Part(Part::Text(text)) => spoken.say(text, node.rate),
                What::Part(Part::Variable(name)) => {
                    if let Some(value) = value(name) {
                        spoken.say(&value, node.rate);
                    }
                }
                What::Reading { reading, parts, .. } => {
                    let mut text = String::new();
                    for part in parts {
                        match part {
                            Part::Text(literal) => text.push_str(literal),
                            Part::Variable(name) => text.push_str(&value(name).unwrap_or_default()),
                        }
                        text.truncate(text.floor_char_boundary(MAX_SPOKEN));
                    }
                    let read = match language {
                        Some(language) => reading.read(language, &text),
                        None => reading.set_apart(&text),
                    };
                    match read {
                        Some(words) => {
                            let words = if spoken.begins_sentence() { capitalised(&words) } else { words };
                            spoken.say(&words, node.rate);
                        }
                        None => spoken.say(&text, node.rate),
                    }
                }
            }
        }
        spoken.finish()
    }
}

#[derive(Default)]
struct Spoken {
    pieces: Vec<Piece>,
    text: String,
    rate: u16,
    bytes: usize,
    silence: Duration,
}

impl Spoken {
    fn say(&mut self, words: &str, rate: u16) {
        if rate != self.rate {
            self.flush();
            self.rate = rate;
        }
        let room = MAX_SPOKEN - self.bytes;
        let words = &words[..words.floor_char_boundary(room)];
        self.bytes += words.len();
        // Controls would be commands to some synthesisers, and end the text of others.
        self.text.extend(words.chars().map(|c| if c.is_control() { ' ' } else { c }));
    }

    fn pause(&mut self, time: Duration) {
        self.flush();
        let time = time.min(MAX_SILENCE - self.silence);
        self.silence += time;
        match self.pieces.last_mut() {
            Some(Piece::Silence(before)) => *before += time,
            Some(Piece::Words { .. }) | None => self.pieces.push(Piece::Silence(time)),
        }
    }

    /// Whether what comes next is the first word of a sentence.
    fn begins_sentence(&self) -> bool {
        let before = match (self.text.trim_end(), self.pieces.iter().rev().find_map(words)) {
            ("", Some(before)) => before,
            (before, _) => before,
        };
        before.is_empty() || before.ends_with(['.', '!', '?', '…'])
    }

    fn flush(&mut self) {
        let text = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.text.clear();
        // Nothing can be said of signs alone, and some synthesisers would name them.
        if text.chars().any(char::is_alphanumeric) {
            self.pieces.push(Piece::Words { text, rate: self.rate });
        }
    }

    fn finish(mut self) -> Vec<Piece> {
        self.flush();
        self.pieces
    }
}

fn words(piece: &Piece) -> Option<&str> {
    match piece {
        Piece::Words { text, .. } => Some(text),
        Piece::Silence(_) => None,
    }
}

fn capitalised(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

impl Reading {
    /// In a language without rules: characters apart, and nothing that needs words.
    fn set_apart(self, text: &str) -> Option<String> {
        let space = match self {
            Self::Digits => " ",
            Self::Letters => ", ",
            Self::Date | Self::Currency => return None,
        };
        let apart: Vec<String> =
            text.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_uppercase().collect()).collect();
        Some(apart.join(space))
    }
}
