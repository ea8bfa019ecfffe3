//! Vietnamese, as the north says it where the two differ (nghìn and tỷ, but lẻ, which both understand).

use super::{Date, Rules};
use crate::language::Language;

pub(super) const RULES: Rules = Rules {
    language: Language::Vietnamese,
    digits: DIGITS,
    point: "phẩy",
    minus: "âm",
    plus: "cộng",
    star: "sao",
    hash: "thăng",
    space: " ",
    cardinal,
    count: cardinal,
    date,
    grouping: '.',
    day_first: true,
};

const DIGITS: [&str; 10] = ["không", "một", "hai", "ba", "bốn", "năm", "sáu", "bảy", "tám", "chín"];

fn cardinal(number: u64) -> String {
    match number {
        0..10 => DIGITS[number as usize].to_owned(),
        10..20 => match number % 10 {
            0 => "mười".to_owned(),
            5 => "mười lăm".to_owned(),
            one => format!("mười {}", DIGITS[one as usize]),
        },
        20..100 => {
            let tens = DIGITS[(number / 10) as usize];
            match number % 10 {
                0 => format!("{tens} mươi"),
                1 => format!("{tens} mươi mốt"),
                4 => format!("{tens} mươi tư"),
                5 => format!("{tens} mươi lăm"),
                one => format!("{tens} mươi {}", DIGITS[one as usize]),
            }
        }
        100..1_000 => above(number, 100, "trăm", after_hundred),
        1_000..1_000_000 => above(number, 1_000, "nghìn", after_thousand),
        1_000_000..1_000_000_000 => above(number, 1_000_000, "triệu", after_hundred),
        _ => above(number, 1_000_000_000, "tỷ", after_hundred),
    }
}

fn above(number: u64, unit: u64, name: &str, after: fn(u64) -> String) -> String {
    let many = cardinal(number / unit);
    match number % unit {
        0 => format!("{many} {name}"),
        rest => format!("{many} {name} {}", after(rest)),
    }
}

/// Units alone are told to be units.
fn after_hundred(rest: u64) -> String {
    if rest < 10 { format!("lẻ {}", cardinal(rest)) } else { cardinal(rest) }
}

/// The hundreds are said even if there are none.
fn after_thousand(rest: u64) -> String {
    if rest < 100 { format!("không trăm {}", after_hundred(rest)) } else { cardinal(rest) }
}

fn date(date: Date) -> String {
    // The first ten days are called by their own word; so is the fourth month.
    let first = if date.day <= 10 { "mùng " } else { "" };
    let month = if date.month == 4 { "tư".to_owned() } else { cardinal(date.month.into()) };
    format!("ngày {first}{} tháng {month} năm {}", cardinal(date.day.into()), cardinal(date.year.into()))
}
