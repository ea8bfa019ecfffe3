//! Dates as they are written.

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
}

impl Date {
    /// Reads `2026-01-16` (ISO 8601, with a time of day after it or without), `20260116`, `2026/1/16`, `2026.1.16`,
    /// `2026年1月16日`, and the day and month in the order of the language: `16/1/2026` or `1/16/2026`. Where only one order
    /// gives a date, it is that one.
    pub(crate) fn read(text: &str, day_first: bool) -> Option<Self> {
        let text = text.split(['T', ' ']).next()?;
        if text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Self::new(&text[..4], &text[4..6], &text[6..]);
        }
        let parts: Vec<&str> = match text.strip_suffix('日') {
            Some(text) => text.split(['年', '月']).collect(),
            None => {
                let separator = text.chars().find(|c| matches!(c, '-' | '/' | '.'))?;
                text.split(separator).collect()
            }
        };
        let [first, second, third] = parts[..] else { return None };
        if first.len() == 4 {
            return Self::new(first, second, third);
        }
        if third.len() != 4 {
            return None;
        }
        let (as_day_first, as_month_first) =
            (Self::new(third, second, first), Self::new(third, first, second));
        if day_first { as_day_first.or(as_month_first) } else { as_month_first.or(as_day_first) }
    }

    fn new(year: &str, month: &str, day: &str) -> Option<Self> {
        let number = |text: &str, most| {
            let is_number = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| text.parse::<u16>().ok()).flatten()
        };
        let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
        let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 => 28 + u16::from(is_leap),
            _ => return None,
        };
        if year == 0 || !(1..=days).contains(&day) {
            return None;
        }
        Some(Self { year, month: u8::try_from(month).ok()?, day: u8::try_from(day).ok()? })
    }
}
