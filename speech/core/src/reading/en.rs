//! English, with "and" before the tens, and dates as they are written in America.

use super::{Date, Rules, thousands};
use crate::language::Language;

pub(super) const RULES: Rules = Rules {
    language: Language::English,
    digits: DIGITS,
    point: "point",
    minus: "minus",
    plus: "plus",
    star: "star",
    hash: "hash",
    space: " ",
    cardinal,
    count: cardinal,
    date,
    grouping: ',',
    day_first: false,
};

const DIGITS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const TEENS: [&str; 10] = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn cardinal(number: u64) -> String {
    if number == 0 {
        return DIGITS[0].to_owned();
    }
    let is_alone = number < 1000;
    let groups = ["", "thousand", "million", "billion", "trillion"];
    thousands(number, &groups, |value, index| {
        let (hundreds, rest) = (value / 100, value % 100);
        let mut words = Vec::new();
        if hundreds > 0 {
            words.push(format!("{} hundred", DIGITS[hundreds as usize]));
        }
        if rest > 0 {
            // "One hundred and one", and "one thousand and one" too.
            if hundreds > 0 || (index == 0 && !is_alone) {
                words.push("and".to_owned());
            }
            words.push(below_hundred(rest));
        }
        words.join(" ")
    })
    .join(" ")
}

fn below_hundred(number: u64) -> String {
    let (ten, one) = ((number / 10) as usize, (number % 10) as usize);
    match (ten, one) {
        (0, one) => DIGITS[one].to_owned(),
        (1, one) => TEENS[one].to_owned(),
        (ten, 0) => TENS[ten].to_owned(),
        (ten, one) => format!("{}-{}", TENS[ten], DIGITS[one]),
    }
}

fn date(date: Date) -> String {
    let mark = match (date.day % 10, date.day) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        (_, _) => "th",
    };
    format!("{} {}{mark}, {}", MONTHS[usize::from(date.month) - 1], date.day, date.year)
}
