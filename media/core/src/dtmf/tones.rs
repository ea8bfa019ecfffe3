//! The tones of the keys (ITU-T Q.23).

use crate::Digit;

/// The frequency of each row of keys.
pub const LOW_HZ: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
/// The frequency of each column of keys.
pub const HIGH_HZ: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];

/// The keypad, row by row.
const KEYS: [[Digit; 4]; 4] = [
    [Digit::D1, Digit::D2, Digit::D3, Digit::A],
    [Digit::D4, Digit::D5, Digit::D6, Digit::B],
    [Digit::D7, Digit::D8, Digit::D9, Digit::C],
    [Digit::Star, Digit::D0, Digit::Pound, Digit::D],
];

impl Digit {
    /// The key in `row` and `column`, both below four.
    pub(crate) const fn at(row: usize, column: usize) -> Self {
        KEYS[row][column]
    }

    /// The low and the high tone of the key, in hertz.
    pub fn tones(self) -> (f32, f32) {
        let place = KEYS.as_flattened().iter().position(|key| *key == self).unwrap_or_default();
        (LOW_HZ[place / 4], HIGH_HZ[place % 4])
    }
}
