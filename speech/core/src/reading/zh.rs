//! Mandarin Chinese, in simplified characters. Numbers go by groups of four digits.

use super::{Date, Rules};
use crate::language::Language;

pub(super) const RULES: Rules = Rules {
    language: Language::Chinese,
    digits: DIGITS,
    point: "点",
    minus: "负",
    plus: "加",
    star: "星号",
    hash: "井号",
    space: "",
    cardinal: |number| groups(number, "二"),
    count,
    date,
    grouping: ',',
    day_first: false,
};

const DIGITS: [&str; 10] = ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"];

/// Of things there are 两 and not 二: alone, and before hundreds, thousands and groups.
fn count(number: u64) -> String {
    if number == 2 { "两".to_owned() } else { groups(number, "两") }
}

/// `two`: how it is said before hundreds, thousands and groups.
fn groups(number: u64, two: &str) -> String {
    if number < 10 {
        return DIGITS[number as usize].to_owned();
    }
    let mut words = String::new();
    let mut is_gap = false;
    for (index, name) in ["", "万", "亿", "万亿"].iter().enumerate().rev() {
        let unit = 10_000_u64.pow(u32::try_from(index).unwrap_or(0));
        let value = number / unit % 10_000;
        if value == 0 {
            is_gap = !words.is_empty();
            continue;
        }
        // A zero is said for places that are left out.
        if is_gap || !words.is_empty() && value < 1_000 {
            words.push_str(DIGITS[0]);
            is_gap = false;
        }
        if value == 2 && index > 0 {
            words.push_str(two);
        } else {
            words.push_str(&group(value, two, words.is_empty()));
        }
        // 一万亿 is one 万 of 亿.
        let is_last_of_pair = index == 3 && !(number / 100_000_000).is_multiple_of(10_000);
        words.push_str(if is_last_of_pair { "万" } else { name });
    }
    words
}

/// Up to four digits. `is_first`: ten and its like are 十 and not 一十.
fn group(value: u64, two: &str, is_first: bool) -> String {
    let mut words = String::new();
    let mut is_gap = false;
    for (unit, name) in [(1000, "千"), (100, "百"), (10, "十"), (1, "")] {
        let digit = (value / unit % 10) as usize;
        if digit == 0 {
            is_gap |= !words.is_empty();
            continue;
        }
        if is_gap {
            words.push_str(DIGITS[0]);
            is_gap = false;
        }
        let is_bare_ten = unit == 10 && digit == 1 && words.is_empty() && is_first;
        if !is_bare_ten {
            words.push_str(if digit == 2 && unit >= 100 { two } else { DIGITS[digit] });
        }
        words.push_str(name);
    }
    words
}

fn date(date: Date) -> String {
    let year: String = date.year.to_string().bytes().map(|b| DIGITS[usize::from(b - b'0')]).collect();
    format!("{year}年{}月{}日", groups(date.month.into(), "二"), groups(date.day.into(), "二"))
}
