//! Indonesian.

use super::{Date, Rules, thousands};
use crate::language::Language;

pub(super) const RULES: Rules = Rules {
    language: Language::Indonesian,
    digits: DIGITS,
    point: "koma",
    minus: "minus",
    plus: "plus",
    star: "bintang",
    hash: "pagar",
    space: " ",
    cardinal,
    count: cardinal,
    date,
    grouping: '.',
    day_first: true,
};

const DIGITS: [&str; 10] =
    ["nol", "satu", "dua", "tiga", "empat", "lima", "enam", "tujuh", "delapan", "sembilan"];
const MONTHS: [&str; 12] = [
    "Januari",
    "Februari",
    "Maret",
    "April",
    "Mei",
    "Juni",
    "Juli",
    "Agustus",
    "September",
    "Oktober",
    "November",
    "Desember",
];

fn cardinal(number: u64) -> String {
    if number == 0 {
        return DIGITS[0].to_owned();
    }
    let groups = ["", "ribu", "juta", "miliar", "triliun"];
    let mut words = thousands(number, &groups, |value, _| below_thousand(value));
    // One of a thousand, a hundred or ten is "se-" before it; one of a million is not.
    for group in words.iter_mut().filter(|group| *group == "satu ribu") {
        *group = "seribu".to_owned();
    }
    words.join(" ")
}

fn below_thousand(number: u64) -> String {
    let mut words = Vec::new();
    match number / 100 {
        0 => {}
        1 => words.push("seratus".to_owned()),
        hundreds => words.push(format!("{} ratus", DIGITS[hundreds as usize])),
    }
    match number % 100 {
        0 => {}
        10 => words.push("sepuluh".to_owned()),
        11 => words.push("sebelas".to_owned()),
        rest @ 12..=19 => words.push(format!("{} belas", DIGITS[(rest % 10) as usize])),
        rest => {
            if rest >= 20 {
                words.push(format!("{} puluh", DIGITS[(rest / 10) as usize]));
            }
            if !rest.is_multiple_of(10) {
                words.push(DIGITS[(rest % 10) as usize].to_owned());
            }
        }
    }
    words.join(" ")
}

fn date(date: Date) -> String {
    let month = MONTHS[usize::from(date.month) - 1];
    format!("{} {month} {}", cardinal(date.day.into()), cardinal(date.year.into()))
}
