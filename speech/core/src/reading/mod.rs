//! Readings: what is written one way and said another.

mod currency;
mod date;
mod en;
mod id;
mod vi;
mod zh;

use std::fmt;

use self::date::Date;
use crate::language::Language;

/// Largest whole number that is said as one, and not one digit after the other: no amount of money is larger.
pub(crate) const MAX_NUMBER: u64 = 999_999_999_999_999;
/// Most characters that a reading looks at. Longer than any number, name or address that somebody would want to hear.
const MAX_READ: usize = 256;

/// How something is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Digit by digit.
    Digits,
    /// Letter by letter.
    Letters,
    /// As a date.
    Date,
    /// As an amount of money.
    Currency,
}

impl Reading {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Digits, Self::Letters, Self::Date, Self::Currency];

    /// By the name that stands before the colon.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reading| reading.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Letters => "letters",
            Self::Date => "date",
            Self::Currency => "currency",
        }
    }

    /// What is said for `text` in a language; `None` when it cannot be read so.
    #[must_use]
    pub fn read(self, language: Language, text: &str) -> Option<String> {
        let text = text.trim();
        if text.chars().count() > MAX_READ {
            return None;
        }
        let rules = Rules::of(language);
        match self {
            Self::Digits => digits(rules, text),
            Self::Letters => letters(rules, text),
            Self::Date => Some((rules.date)(Date::read(text, rules.day_first)?)),
            Self::Currency => currency::read(rules, text),
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a language says.
pub(crate) struct Rules {
    pub(crate) language: Language,
    pub(crate) digits: [&'static str; 10],
    /// Before decimals.
    point: &'static str,
    /// Before what is below zero.
    minus: &'static str,
    /// `+` of a telephone number.
    plus: &'static str,
    star: &'static str,
    hash: &'static str,
    /// What stands between words.
    space: &'static str,
    /// A whole number.
    cardinal: fn(u64) -> String,
    /// A number of things; Chinese has a two of its own for them.
    count: fn(u64) -> String,
    date: fn(Date) -> String,
    /// What groups thousands in writing; the other one of point and comma is before decimals.
    grouping: char,
    /// Whether 03/04 is in April.
    day_first: bool,
}

impl Rules {
    pub(crate) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &en::RULES,
            Language::Indonesian => &id::RULES,
            Language::Vietnamese => &vi::RULES,
            Language::Chinese => &zh::RULES,
        }
    }
}

/// A whole number in words; `None` beyond fifteen digits.
///
/// ```
/// use speech_core::{Language, cardinal};
/// assert_eq!(cardinal(Language::Vietnamese, 1_005).unwrap(), "một nghìn không trăm lẻ năm");
/// ```
#[must_use]
pub fn cardinal(language: Language, number: u64) -> Option<String> {
    (number <= MAX_NUMBER).then(|| (Rules::of(language).cardinal)(number))
}

/// A digit of any script that people write telephone numbers in: full-width ones come from Chinese keyboards.
fn digit(c: char) -> Option<usize> {
    let c = match c {
        '\u{ff10}'..='\u{ff19}' => u32::from(c) - 0xff10,
        c => c.to_digit(10)?,
    };
    usize::try_from(c).ok()
}

/// Separators of numbers say nothing.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, '-' | '(' | ')' | '/' | '.' | ',' | '_' | '\u{2010}'..='\u{2015}')
}

fn digits(rules: &Rules, text: &str) -> Option<String> {
    let mut words = Vec::new();
    for c in text.chars() {
        match c {
            '+' => words.push(rules.plus.to_owned()),
            '*' => words.push(rules.star.to_owned()),
            '#' => words.push(rules.hash.to_owned()),
            c if is_separator(c) => {}
            c => match digit(c) {
                Some(digit) => words.push(rules.digits[digit].to_owned()),
                None if c.is_alphanumeric() => words.extend(c.to_uppercase().map(String::from)),
                None => {}
            },
        }
    }
    (!words.is_empty()).then(|| words.join(rules.space))
}

/// Letters with commas between: synthesisers pause there, and take a single A for the letter and not for the article.
fn letters(rules: &Rules, text: &str) -> Option<String> {
    let mut words = Vec::new();
    for c in text.chars() {
        match digit(c) {
            Some(digit) => words.push(rules.digits[digit].to_owned()),
            None if c.is_alphanumeric() => words.push(c.to_uppercase().collect()),
            None => {}
        }
    }
    (!words.is_empty()).then(|| words.join(", "))
}

/// Whole numbers by groups of three digits, for the languages that count so: the words of each group that is not zero,
/// with its name, the largest first.
fn thousands(number: u64, names: &[&str], group: impl Fn(u64, usize) -> String) -> Vec<String> {
    let mut words = Vec::new();
    for (index, name) in names.iter().enumerate().rev() {
        let value = number / 1000_u64.pow(u32::try_from(index).unwrap_or(0)) % 1000;
        if value > 0 {
            let said = group(value, index);
            words.push(if name.is_empty() { said } else { format!("{said} {name}") });
        }
    }
    words
}
