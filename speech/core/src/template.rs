//! Texts with variables, pauses and readings.

use std::fmt;
use std::time::Duration;

use crate::language::Language;
use crate::reading::Reading;
use crate::ssml;

/// Longest text, bytes.
pub const MAX_TEXT: usize = 4096;
/// Longest pause.
pub const MAX_STOP: Duration = Duration::from_secs(60);
/// Longest silence of one text in all: longer ones are two steps of a flow, and would be kept as audio.
pub const MAX_SILENCE: Duration = Duration::from_secs(120);

/// A text whose marks have been understood.
///
/// `{name}` is a variable, `{stop:1s}` a pause, `{digits:…}`, `{letters:…}`, `{date:…}` and `{currency:…}` readings of what
/// they hold, which may be a variable; `{{` and `}}` are the braces themselves. A text that begins with `<speak>` is SSML of
/// the subset that `README.md` tells, with the same braces in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub(crate) nodes: Vec<Node>,
}

/// One part of a text, and how fast it is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) what: What,
    /// Per cent of the usual speed.
    pub(crate) rate: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Part(Part),
    Stop(Duration),
    Reading {
        reading: Reading,
        parts: Vec<Part>,
        /// Where it begins, in characters from 1.
        at: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Variable(String),
}

/// Something in a text that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {reason}")]
pub struct TemplateError {
    /// Where, in characters from 1.
    pub at: usize,
    /// What is wrong and what would be right.
    pub reason: Reason,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is longer than [`MAX_TEXT`].
    TooLong,
    /// A brace is not closed.
    Unclosed,
    /// What stands in braces is not a name.
    Name,
    /// `{name:…}` is no reading.
    Unknown {
        /// The name, cut where it is long.
        name: String,
    },
    /// The time of a pause.
    Stop,
    /// The pauses together are longer than [`MAX_SILENCE`].
    Silence,
    /// A reading within a reading, or a pause in one.
    Nested,
    /// A reading of nothing.
    Empty,
    /// The text that a reading holds cannot be read so.
    Unreadable {
        /// How it was to be read.
        reading: Reading,
        /// What it holds.
        text: String,
    },
    /// A tag that is not of the subset of SSML.
    Tag {
        /// Its name.
        name: String,
    },
    /// A tag without an attribute it needs, or with one that is not known.
    Attribute {
        /// The tag.
        tag: &'static str,
        /// What may be there.
        wanted: &'static str,
    },
    /// Tags that do not close in order.
    Unbalanced,
    /// `&` begins no entity.
    Entity,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a text has at most {MAX_TEXT} bytes"),
            Self::Unclosed => f.write_str("this brace is not closed; write \"{{\" for the brace itself"),
            Self::Name => f.write_str(
                "a variable's name is letters, digits, _, - and . (write \"{{\" for the brace itself)",
            ),
            Self::Unknown { name } => {
                write!(f, "there is no reading {name:?}; there are stop")?;
                Reading::ALL.iter().try_for_each(|reading| write!(f, ", {reading}"))
            }
            Self::Stop => {
                write!(f, "a pause is 10ms to {}s, as in {{stop:1s}} or {{stop:500ms}}", MAX_STOP.as_secs())
            }
            Self::Silence => write!(f, "a text has at most {} s of pauses", MAX_SILENCE.as_secs()),
            Self::Nested => {
                f.write_str("a reading holds text and variables, as in {digits:{phone}}, and nothing else")
            }
            Self::Empty => f.write_str("there is nothing to read in it"),
            Self::Unreadable { reading, text } => {
                let wanted = match reading {
                    Reading::Digits | Reading::Letters => "something to spell",
                    Reading::Date => "a day such as 2026-01-16",
                    Reading::Currency => "an amount such as 199 CNY",
                };
                write!(f, "{text:?} is not {wanted}")
            }
            Self::Tag { name } => {
                let known = ssml::TAGS.join(", ");
                write!(f, "{name:?} is not understood; of SSML there are {known}")
            }
            Self::Attribute { tag, wanted } => write!(f, "<{tag}> has {wanted}, and nothing else"),
            Self::Unbalanced => f.write_str("its tags do not close in order, one <speak> around all"),
            Self::Entity => f.write_str("write &amp; for the sign itself"),
        }
    }
}

impl Template {
    /// Understands a text, or tells the first thing in it that means nothing.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEXT {
            return Err(TemplateError { at: 1, reason: Reason::TooLong });
        }
        let nodes = if ssml::is_ssml(text) {
            ssml::parse(text)?
        } else {
            let text: Vec<Char> = text.chars().enumerate().map(|(n, c)| Char { c, at: n + 1 }).collect();
            marks(&text, 100)?
        };
        let mut silence = Duration::ZERO;
        for node in &nodes {
            if let What::Stop(time) = node.what {
                silence += time;
            }
        }
        if silence > MAX_SILENCE {
            return Err(TemplateError { at: 1, reason: Reason::Silence });
        }
        Ok(Self { nodes })
    }

    /// Whether what its readings hold can be read in `language`, as far as it is written there and not in variables.
    pub fn check(&self, language: Option<Language>) -> Result<(), TemplateError> {
        for node in &self.nodes {
            let What::Reading { reading, parts, at } = &node.what else { continue };
            let [Part::Text(text)] = &parts[..] else { continue };
            if let Some(language) = language
                && reading.read(language, text).is_none()
            {
                let reason = Reason::Unreadable { reading: *reading, text: text.clone() };
                return Err(TemplateError { at: *at, reason });
            }
        }
        Ok(())
    }

    /// The names of its variables, in the order in which they stand there.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().flat_map(|node| node.parts()).filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Whether it says the same every time.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.variables().next().is_none()
    }
}

impl Node {
    fn parts(&self) -> &[Part] {
        match &self.what {
            What::Part(part) => std::slice::from_ref(part),
            What::Reading { parts, .. } => parts,
            What::Stop(_) => &[],
        }
    }
}

/// A character and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Char {
    pub(crate) c: char,
    pub(crate) at: usize,
}

/// Understands the braces of a text.
pub(crate) fn marks(text: &[Char], rate: u16) -> Result<Vec<Node>, TemplateError> {
    let mut nodes = Vec::new();
    let mut rest = text;
    while let Some(mark) = next(&mut rest)? {
        let what = match mark {
            Mark::Part(part) => What::Part(part),
            Mark::Stop(time) => What::Stop(time),
            Mark::Reading { reading, held, at } => What::Reading { reading, parts: parts(held, at)?, at },
        };
        push(&mut nodes, Node { what, rate });
    }
    Ok(nodes)
}

/// What a reading that begins at `at` holds: text and variables.
pub(crate) fn parts(held: &[Char], at: usize) -> Result<Vec<Part>, TemplateError> {
    let mut nodes = Vec::new();
    let mut rest = held;
    while let Some(mark) = next(&mut rest)? {
        match mark {
            Mark::Part(part) => push(&mut nodes, Node { what: What::Part(part), rate: 100 }),
            Mark::Stop(_) | Mark::Reading { .. } => {
                return Err(TemplateError { at, reason: Reason::Nested });
            }
        }
    }
    let parts: Vec<Part> = nodes
        .into_iter()
        .filter_map(|node| match node.what {
            What::Part(part) => Some(part),
            What::Stop(_) | What::Reading { .. } => None,
        })
        .collect();
    let is_empty = parts.iter().all(|part| matches!(part, Part::Text(text) if text.trim().is_empty()));
    if is_empty { Err(TemplateError { at, reason: Reason::Empty }) } else { Ok(parts) }
}

/// Adds a node; text after text is one.
pub(crate) fn push(nodes: &mut Vec<Node>, node: Node) {
    if let (Some(Node { what: What::Part(Part::Text(before)), rate }), What::Part(Part::Text(text))) =
        (nodes.last_mut(), &node.what)
        && *rate == node.rate
    {
        before.push_str(text);
        return;
    }
    nodes.push(node);
}

/// One thing of a text.
enum Mark<'a> {
    Part(Part),
    Stop(Duration),
    Reading { reading: Reading, held: &'a [Char], at: usize },
}

/// Takes the first thing off a text.
fn next<'a>(rest: &mut &'a [Char]) -> Result<Option<Mark<'a>>, TemplateError> {
    let text = *rest;
    let Some(&Char { c, at }) = text.first() else { return Ok(None) };
    let brace = text.iter().position(|char| matches!(char.c, '{' | '}')).unwrap_or(text.len());
    if brace > 0 {
        *rest = &text[brace..];
        return Ok(Some(Mark::Part(Part::Text(string(&text[..brace])))));
    }
    let doubled = text.get(1).is_some_and(|next| next.c == c);
    if c == '}' || doubled {
        // A single closing brace stands for itself.
        *rest = &text[if doubled { 2 } else { 1 }..];
        return Ok(Some(Mark::Part(Part::Text(c.to_string()))));
    }
    let fault = |reason| Err(TemplateError { at, reason });
    let after = &text[1..];
    let Some(end) = after.iter().position(|char| matches!(char.c, '}' | ':' | '{')) else {
        return fault(Reason::Unclosed);
    };
    let name = string(&after[..end]);
    if after[end].c != ':' {
        *rest = &after[end + 1..];
        return match after[end].c {
            '}' if is_name(&name) => Ok(Some(Mark::Part(Part::Variable(name)))),
            _ => fault(Reason::Name),
        };
    }
    let held = &after[end + 1..];
    let Some(close) = closing(held) else { return fault(Reason::Unclosed) };
    *rest = &held[close + 1..];
    let held = &held[..close];
    if name == "stop" {
        return match duration(&string(held)) {
            Some(time) => Ok(Some(Mark::Stop(time))),
            None => fault(Reason::Stop),
        };
    }
    match Reading::named(&name) {
        Some(reading) => Ok(Some(Mark::Reading { reading, held, at })),
        None => fault(Reason::Unknown { name: name.chars().take(32).collect() }),
    }
}

/// Where the brace closes that was open before `text`. Nothing in a reading needs a brace of its own, so none is escaped there.
fn closing(text: &[Char]) -> Option<usize> {
    let mut depth = 0;
    for (at, char) in text.iter().enumerate() {
        match char.c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn string(text: &[Char]) -> String {
    text.iter().map(|char| char.c).collect()
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.chars().count())
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// A time such as `1s`, `1.5s` or `500ms`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.trim().strip_suffix("ms") {
        Some(number) => (number, 1.0),
        None => (text.trim().strip_suffix('s')?, 1000.0),
    };
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let ms = number.parse::<f64>().ok()? * unit;
    let time = Duration::try_from_secs_f64(ms / 1000.0).ok()?;
    (Duration::from_millis(10)..=MAX_STOP).contains(&time).then_some(time)
}
