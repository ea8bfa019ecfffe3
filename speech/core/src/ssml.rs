//! The subset of SSML 1.1 (W3C Recommendation, 7 September 2010) that a text may be written in.
//!
//! It is understood here and becomes the same words and silences as the marks in braces, so nothing of what a caller or a
//! variable writes reaches a synthesiser as markup.

use std::time::Duration;

use crate::reading::Reading;
use crate::template::{Char, Node, Reason, TemplateError, What, duration, marks, parts, push};

/// The elements that are understood.
pub(crate) const TAGS: [&str; 7] = ["speak", "p", "s", "break", "say-as", "sub", "prosody"];

/// How deep they may be nested.
const MAX_DEPTH: usize = 16;
/// The pause after a paragraph.
const AFTER_PARAGRAPH: Duration = Duration::from_millis(600);
/// The pause after a sentence.
const AFTER_SENTENCE: Duration = Duration::from_millis(300);
/// A `<break/>` that does not say how long it is, and one of medium strength (section 3.2.3).
const BREAK: Duration = Duration::from_millis(500);

/// Whether a text is SSML.
pub(crate) fn is_ssml(text: &str) -> bool {
    text.trim_start()
        .strip_prefix("<speak")
        .is_some_and(|rest| rest.starts_with(['>', ' ', '\n', '\t', '\r']))
}

/// An element that is open.
enum Open {
    Speak,
    Paragraph,
    Sentence,
    /// With the speed around it.
    Prosody(u16),
    /// What it holds is read so.
    SayAs(Reading),
    /// What it holds is not said.
    Sub,
}

impl Open {
    fn tag(&self) -> &'static str {
        match self {
            Self::Speak => "speak",
            Self::Paragraph => "p",
            Self::Sentence => "s",
            Self::Prosody(_) => "prosody",
            Self::SayAs(_) => "say-as",
            Self::Sub => "sub",
        }
    }
}

pub(crate) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let chars: Vec<Char> = text.chars().enumerate().map(|(n, c)| Char { c, at: n + 1 }).collect();
    let mut reader = Reader { nodes: Vec::new(), open: Vec::new(), rate: 100, is_over: false };
    let mut rest = &chars[..];
    while let Some(&first) = rest.first() {
        if first.c != '<' {
            let end = rest.iter().position(|char| char.c == '<').unwrap_or(rest.len());
            reader.text(&rest[..end])?;
            rest = &rest[end..];
            continue;
        }
        let end = rest.iter().position(|char| char.c == '>');
        let Some(end) = end else { return Err(TemplateError { at: first.at, reason: Reason::Unbalanced }) };
        let tag: String = rest[1..end].iter().map(|char| char.c).collect();
        reader.tag(&tag, first.at)?;
        rest = &rest[end + 1..];
    }
    if !reader.is_over {
        return Err(TemplateError { at: 1, reason: Reason::Unbalanced });
    }
    Ok(reader.nodes)
}

struct Reader {
    nodes: Vec<Node>,
    open: Vec<Open>,
    rate: u16,
    is_over: bool,
}

impl Reader {
    fn text(&mut self, text: &[Char]) -> Result<(), TemplateError> {
        let is_blank = text.iter().all(|char| char.c.is_whitespace());
        let at = text.first().map_or(1, |char| char.at);
        let Some(open) = self.open.last() else {
            return if is_blank { Ok(()) } else { Err(TemplateError { at, reason: Reason::Unbalanced }) };
        };
        match open {
            Open::Sub => {}
            Open::SayAs(reading) => {
                let what = What::Reading { reading: *reading, parts: parts(&decoded(text)?, at)?, at };
                self.put(what);
            }
            Open::Speak | Open::Paragraph | Open::Sentence | Open::Prosody(_) => {
                marks(&decoded(text)?, self.rate)?.into_iter().for_each(|node| push(&mut self.nodes, node));
            }
        }
        Ok(())
    }

    fn put(&mut self, what: What) {
        push(&mut self.nodes, Node { what, rate: self.rate });
    }

    fn tag(&mut self, tag: &str, at: usize) -> Result<(), TemplateError> {
        let fault = |reason| Err(TemplateError { at, reason });
        if let Some(name) = tag.strip_prefix('/') {
            return match self.open.pop() {
                Some(open) if open.tag() == name.trim() => {
                    self.close(&open);
                    Ok(())
                }
                Some(_) | None => fault(Reason::Unbalanced),
            };
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name = tag.split_whitespace().next().unwrap_or_default();
        let attributes = attributes(&tag[tag.find(name).unwrap_or(0) + name.len()..]);
        let attribute = |tag, wanted| TemplateError { at, reason: Reason::Attribute { tag, wanted } };
        let opened = match (name, attributes.as_deref()) {
            // Its version, language and name space change nothing here.
            ("speak", Some(_)) => Open::Speak,
            ("p", Some([])) => Open::Paragraph,
            ("s", Some([])) => Open::Sentence,
            ("break", Some(given)) => {
                let time = break_time(given).ok_or_else(|| {
                    attribute(
                        "break",
                        "time=\"500ms\", or strength none, x-weak, weak, medium, strong, x-strong",
                    )
                })?;
                if !time.is_zero() && !matches!(self.open.last(), None | Some(Open::Sub | Open::SayAs(_))) {
                    self.put(What::Stop(time));
                }
                return if is_empty && !self.open.is_empty() { Ok(()) } else { fault(Reason::Unbalanced) };
            }
            ("say-as", Some(given)) => {
                let reading = say_as(given).ok_or_else(|| {
                    attribute("say-as", "interpret-as=\"digits\", \"characters\", \"date\" or \"currency\"")
                })?;
                Open::SayAs(reading)
            }
            ("sub", Some([(name, alias)])) if name == "alias" => {
                let alias: Vec<Char> = alias.chars().map(|c| Char { c, at }).collect();
                self.text(&alias)?;
                Open::Sub
            }
            ("sub", _) => return Err(attribute("sub", "alias=\"what is said instead\"")),
            ("prosody", Some([(name, rate)])) if name == "rate" => {
                let rate = prosody_rate(rate).ok_or_else(|| {
                    attribute("prosody", "rate=\"50%\" to \"200%\", or x-slow, slow, medium, fast, x-fast")
                })?;
                Open::Prosody(std::mem::replace(&mut self.rate, rate))
            }
            ("prosody", _) => return Err(attribute("prosody", "rate=\"80%\"")),
            (name, _) => return fault(Reason::Tag { name: name.chars().take(32).collect() }),
        };
        // One <speak> is around all, and nothing stands in what is read or replaced.
        let is_outermost = matches!(opened, Open::Speak);
        let holds_text = matches!(self.open.last(), Some(Open::Sub | Open::SayAs(_)));
        if is_outermost != self.open.is_empty() || self.is_over || holds_text || self.open.len() >= MAX_DEPTH
        {
            return fault(Reason::Unbalanced);
        }
        if is_empty {
            self.close(&opened);
        } else {
            self.open.push(opened);
        }
        Ok(())
    }

    fn close(&mut self, open: &Open) {
        match open {
            Open::Speak => self.is_over = true,
            Open::Paragraph => self.put(What::Stop(AFTER_PARAGRAPH)),
            Open::Sentence => self.put(What::Stop(AFTER_SENTENCE)),
            Open::Prosody(before) => self.rate = *before,
            Open::SayAs(_) | Open::Sub => {}
        }
    }
}

/// The attributes of a tag; `None`: it is not written as XML is.
fn attributes(text: &str) -> Option<Vec<(String, String)>> {
    let mut attributes = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, after) = after[1..].split_once(quote)?;
        let value: Vec<Char> = value.chars().map(|c| Char { c, at: 1 }).collect();
        let value = decoded(&value).ok()?.iter().map(|char| char.c).collect();
        attributes.push((name.trim().to_owned(), value));
        rest = after.trim_start();
    }
    Some(attributes)
}

fn break_time(given: &[(String, String)]) -> Option<Duration> {
    match given {
        [] => Some(BREAK),
        [(name, time)] if name == "time" => duration(time),
        [(name, strength)] if name == "strength" => Some(match strength.as_str() {
            "none" => Duration::ZERO,
            "x-weak" => Duration::from_millis(100),
            "weak" => Duration::from_millis(250),
            "medium" => BREAK,
            "strong" => Duration::from_millis(750),
            "x-strong" => Duration::from_millis(1000),
            _ => return None,
        }),
        _ => None,
    }
}

fn say_as(given: &[(String, String)]) -> Option<Reading> {
    let [(name, reading)] = given else { return None };
    let reading = match reading.as_str() {
        "digits" | "telephone" => Reading::Digits,
        "characters" | "spell-out" => Reading::Letters,
        "date" => Reading::Date,
        "currency" => Reading::Currency,
        _ => return None,
    };
    (name == "interpret-as").then_some(reading)
}

/// Section 3.2.4 leaves the speeds of the words to the synthesiser.
fn prosody_rate(rate: &str) -> Option<u16> {
    let percent = match rate {
        "x-slow" => 50,
        "slow" => 75,
        "medium" | "default" => 100,
        "fast" => 125,
        "x-fast" => 175,
        rate => rate.strip_suffix('%')?.parse().ok()?,
    };
    (50..=200).contains(&percent).then_some(percent)
}

/// A text with its entities as the characters that they are (XML 1.0 section 4.6, and 4.1 for those by number).
fn decoded(text: &[Char]) -> Result<Vec<Char>, TemplateError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(&Char { c, at }) = rest.first() {
        if c != '&' {
            decoded.push(Char { c, at });
            rest = &rest[1..];
            continue;
        }
        let fault = TemplateError { at, reason: Reason::Entity };
        let end = rest.iter().take(10).position(|char| char.c == ';').ok_or_else(|| fault.clone())?;
        let name: String = rest[1..end].iter().map(|char| char.c).collect();
        let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        let c = match name.as_str() {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            name => match name.strip_prefix("#x") {
                Some(digits) => number(digits, 16),
                None => name.strip_prefix('#').and_then(|digits| number(digits, 10)),
            },
        };
        decoded.push(Char { c: c.ok_or(fault)?, at });
        rest = &rest[end + 1..];
    }
    Ok(decoded)
}
