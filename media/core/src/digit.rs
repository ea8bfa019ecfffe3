//! Keys of a telephone and small sets and strings of them.

use std::fmt;

/// One of the sixteen DTMF keys; the discriminant is the event code of RFC 4733, 3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the name says it")]
pub enum Digit {
    D0,
    D1,
    D2,
    D3,
    D4,
    D5,
    D6,
    D7,
    D8,
    D9,
    Star,
    Pound,
    A,
    B,
    C,
    D,
}

impl Digit {
    /// All digits in the order of their event codes.
    pub const ALL: [Self; 16] = [
        Self::D0,
        Self::D1,
        Self::D2,
        Self::D3,
        Self::D4,
        Self::D5,
        Self::D6,
        Self::D7,
        Self::D8,
        Self::D9,
        Self::Star,
        Self::Pound,
        Self::A,
        Self::B,
        Self::C,
        Self::D,
    ];

    /// The digit of an RFC 4733 event code; `None` above 15.
    pub fn from_event_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The RFC 4733 event code, 0 to 15.
    pub const fn event_code(self) -> u8 {
        self as u8
    }

    /// The digit written as `0`–`9`, `*`, `#` or `A`–`D` (either case).
    pub fn from_char(c: char) -> Option<Self> {
        Self::ALL.into_iter().find(|digit| digit.as_char() == c.to_ascii_uppercase())
    }

    /// `0`–`9`, `*`, `#` or `A`–`D`.
    pub const fn as_char(self) -> char {
        b"0123456789*#ABCD"[self as usize] as char
    }
}

impl fmt::Display for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_char())
    }
}

/// A set of digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DigitSet(u16);

impl DigitSet {
    /// The set without digits.
    pub const EMPTY: Self = Self(0);

    /// This set and `digit`.
    #[must_use]
    pub const fn with(self, digit: Digit) -> Self {
        Self(self.0 | 1 << digit.event_code())
    }

    /// Whether `digit` is in the set.
    pub const fn contains(self, digit: Digit) -> bool {
        self.0 & 1 << digit.event_code() != 0
    }
}

impl FromIterator<Digit> for DigitSet {
    fn from_iter<I: IntoIterator<Item = Digit>>(digits: I) -> Self {
        digits.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for DigitSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Digit::ALL.into_iter().filter(|digit| self.contains(*digit))).finish()
    }
}

/// A string of up to [`Digits::CAPACITY`] digits, held inline.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Digits {
    /// Four bits a digit, the first digit lowest.
    codes: [u64; 2],
    len: u8,
}

impl Digits {
    /// The most digits one collect gathers and the type-ahead buffer holds.
    pub const CAPACITY: usize = 32;

    /// The string without digits.
    pub const fn new() -> Self {
        Self { codes: [0; 2], len: 0 }
    }

    /// Number of digits.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `digit`; `false` when full.
    pub fn push(&mut self, digit: Digit) -> bool {
        let at = self.len();
        if at == Self::CAPACITY {
            return false;
        }
        self.codes[at / 16] |= u64::from(digit.event_code()) << (at % 16 * 4);
        self.len += 1;
        true
    }

    /// Takes the first digit off.
    pub(crate) fn pop_front(&mut self) -> Option<Digit> {
        let first = self.iter().next()?;
        *self = self.iter().skip(1).collect();
        Some(first)
    }

    /// The digits in order.
    pub fn iter(&self) -> impl Iterator<Item = Digit> + use<> {
        let codes = self.codes;
        (0..self.len())
            .filter_map(move |at| Digit::from_event_code((codes[at / 16] >> (at % 16 * 4)) as u8 & 0xF))
    }
}

impl FromIterator<Digit> for Digits {
    /// The first [`Digits::CAPACITY`] digits.
    fn from_iter<I: IntoIterator<Item = Digit>>(digits: I) -> Self {
        let mut string = Self::new();
        for digit in digits {
            if !string.push(digit) {
                break;
            }
        }
        string
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|digit| write!(f, "{digit}"))
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digits({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_is_its_event_code_and_its_character() {
        for (code, character) in "0123456789*#ABCD".chars().enumerate() {
            let digit = Digit::from_event_code(code as u8).unwrap();
            assert_eq!(usize::from(digit.event_code()), code);
            assert_eq!(digit.as_char(), character);
            assert_eq!(Digit::from_char(character.to_ascii_lowercase()), Some(digit));
        }
        assert_eq!(Digit::from_event_code(16), None, "flash is no digit");
        assert_eq!(Digit::from_char('E'), None);
    }

    #[test]
    fn digits_hold_thirty_two_and_no_more() {
        let mut digits: Digits = Digit::ALL.into_iter().chain(Digit::ALL).collect();
        assert_eq!(digits.to_string(), "0123456789*#ABCD0123456789*#ABCD");
        assert!(!digits.push(Digit::D1));
        assert_eq!(digits.pop_front(), Some(Digit::D0));
        assert!(digits.push(Digit::Star));
        assert_eq!(digits.to_string(), "123456789*#ABCD0123456789*#ABCD*");
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: DigitSet = [Digit::Pound, Digit::D0].into_iter().collect();
        assert!(set.contains(Digit::Pound) && set.contains(Digit::D0) && !set.contains(Digit::Star));
    }
}
