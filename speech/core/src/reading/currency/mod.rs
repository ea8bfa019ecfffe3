//! Amounts of money: `199 CNY`, `USD 1,234.50`, `$5`, `Rp 15.000`.

mod table;

use self::table::CURRENCIES;
use super::{MAX_NUMBER, Rules};
use crate::language::Language;

/// A currency, and what it is called.
struct Currency {
    /// ISO 4217.
    code: &'static str,
    /// Decimals that its smaller unit takes.
    places: usize,
    /// One, and more than one.
    en: [&'static str; 2],
    id: &'static str,
    vi: &'static str,
    zh: &'static str,
    minor: Option<Minor>,
}

/// The smaller unit, if it has a name in these languages.
struct Minor {
    en: [&'static str; 2],
    id: &'static str,
    vi: &'static str,
    zh: &'static str,
}

/// What people write instead of a code. A yen's sign is a yuan's in Chinese.
const SIGNS: [(&str, &str); 20] = [
    ("US$", "USD"),
    ("S$", "SGD"),
    ("HK$", "HKD"),
    ("NT$", "TWD"),
    ("A$", "AUD"),
    ("C$", "CAD"),
    ("R$", "BRL"),
    ("$", "USD"),
    ("€", "EUR"),
    ("£", "GBP"),
    ("¥", "JPY"),
    ("￥", "CNY"),
    ("元", "CNY"),
    ("₫", "VND"),
    ("đ", "VND"),
    ("Rp", "IDR"),
    ("RM", "MYR"),
    ("₹", "INR"),
    ("₩", "KRW"),
    ("฿", "THB"),
];

impl Currency {
    fn of(code: &str, language: Language) -> Option<&'static Self> {
        let code = match SIGNS.iter().find(|(sign, _)| *sign == code.trim_end_matches('.')) {
            Some((_, "JPY")) if language == Language::Chinese => "CNY",
            Some((_, code)) => code,
            None => code,
        };
        CURRENCIES.iter().find(|currency| currency.code.eq_ignore_ascii_case(code))
    }
}

/// What is said for an amount; `None` when it is none, or its currency is not known.
pub(super) fn read(rules: &Rules, text: &str) -> Option<String> {
    let (is_negative, text) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let first = text.find(|c: char| c.is_ascii_digit())?;
    let last = text.rfind(|c: char| c.is_ascii_digit())?;
    let (before, number, after) = (text[..first].trim(), &text[first..=last], text[last + 1..].trim());
    let (is_negative, before) = match before.strip_suffix('-') {
        Some(before) => (true, before.trim_end()),
        None => (is_negative, before),
    };
    let code = match (before, after) {
        ("", code) | (code, "") => code,
        _ => return None,
    };
    let currency = Currency::of(code, rules.language)?;
    let Amount { whole, decimals } = Amount::read(number, rules.grouping)?;
    let mut words = vec![];
    if is_negative && (whole > 0 || decimals.bytes().any(|b| b != b'0')) {
        words.push(rules.minus.to_owned());
    }
    words.push(match minor_count(currency, &decimals) {
        Some(minor) => in_units(rules, currency, whole, minor)?,
        None => in_decimals(rules, currency, whole, &decimals),
    });
    Some(words.join(rules.space))
}

/// How many of the smaller unit the decimals are; `None` when they are not whole ones, or it has no name.
fn minor_count(currency: &Currency, decimals: &str) -> Option<u64> {
    let decimals = decimals.trim_end_matches('0');
    if decimals.is_empty() {
        return Some(0);
    }
    currency.minor.as_ref()?;
    if decimals.len() > currency.places {
        return None;
    }
    format!("{decimals:0<places$}", places = currency.places).parse().ok()
}

fn in_units(rules: &Rules, currency: &Currency, whole: u64, minor: u64) -> Option<String> {
    let major = format!("{}{}{}", (rules.count)(whole), rules.space, unit(rules, currency, whole == 1));
    if minor == 0 {
        return Some(major);
    }
    if rules.language == Language::Chinese && currency.code == "CNY" {
        let major = if whole == 0 { String::new() } else { major };
        return Some(major + &jiao_and_fen(rules, whole, minor));
    }
    let names = currency.minor.as_ref()?;
    let name = match rules.language {
        Language::English => names.en[usize::from(minor != 1)],
        Language::Indonesian => names.id,
        Language::Vietnamese => names.vi,
        Language::Chinese => names.zh,
    };
    let small = format!("{}{}{name}", (rules.count)(minor), rules.space);
    if whole == 0 {
        return Some(small);
    }
    let and = if rules.language == Language::English { "and " } else { "" };
    Some(format!("{major}{}{and}{small}", rules.space))
}

/// A tenth of a yuan has a name of its own, and a zero is said where there is none of it.
fn jiao_and_fen(rules: &Rules, whole: u64, minor: u64) -> String {
    let (jiao, fen) = (minor / 10, minor % 10);
    let mut words = String::new();
    match jiao {
        0 if whole > 0 => words.push_str(rules.digits[0]),
        0 => {}
        jiao => words.push_str(&format!("{}角", (rules.count)(jiao))),
    }
    if fen > 0 {
        // After more than itself the two is the last digit of a number, and not a number of things.
        let fen =
            if jiao > 0 || whole > 0 { rules.digits[fen as usize].to_owned() } else { (rules.count)(fen) };
        words.push_str(&format!("{fen}分"));
    }
    words
}

fn in_decimals(rules: &Rules, currency: &Currency, whole: u64, decimals: &str) -> String {
    let mut words = vec![(rules.cardinal)(whole), rules.point.to_owned()];
    words.extend(decimals.bytes().map(|b| rules.digits[usize::from(b - b'0')].to_owned()));
    words.push(unit(rules, currency, false).to_owned());
    words.join(rules.space)
}

fn unit(rules: &Rules, currency: &Currency, is_one: bool) -> &'static str {
    match rules.language {
        Language::English => currency.en[usize::from(!is_one)],
        Language::Indonesian => currency.id,
        Language::Vietnamese => currency.vi,
        Language::Chinese => currency.zh,
    }
}

/// A number as it is written.
struct Amount {
    whole: u64,
    decimals: String,
}

impl Amount {
    /// Points and commas group thousands where they can: every group of three digits, and the mark that the language groups
    /// with, or one that is there twice. Otherwise one of them is before decimals.
    fn read(number: &str, grouping: char) -> Option<Self> {
        let number: String =
            number.chars().filter(|c| !matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\'')).collect();
        if !number.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b',')) {
            return None;
        }
        let last = number.rfind(['.', ',']);
        let (whole, decimals) = match last {
            None => (number.as_str(), ""),
            Some(at) => {
                let mark = char::from(number.as_bytes()[at]);
                let is_grouping =
                    groups_of_three(&number, mark) && (mark == grouping || number.matches(mark).count() > 1);
                if is_grouping { (number.as_str(), "") } else { (&number[..at], &number[at + 1..]) }
            }
        };
        if let Some(mark) = whole.chars().find(|c| !c.is_ascii_digit())
            && !groups_of_three(whole, mark)
        {
            return None;
        }
        let whole = whole.replace(['.', ','], "").parse().ok().filter(|whole| *whole <= MAX_NUMBER)?;
        Some(Self { whole, decimals: decimals.to_owned() })
    }
}

fn groups_of_three(number: &str, mark: char) -> bool {
    let mut groups = number.split(mark);
    let is_digits = |group: &str| group.bytes().all(|b| b.is_ascii_digit());
    let first = groups.next().is_some_and(|first| (1..=3).contains(&first.len()) && is_digits(first));
    first && groups.all(|group| group.len() == 3 && is_digits(group))
}
