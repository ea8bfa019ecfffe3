//! DTMF beyond the RTP events that arrive (those are `telephone_event.rs`): tones and a detector that hears them, what is one
//! stroke though it comes in several ways, and sending by events and tones.

mod detector;
mod dial_tone;
mod dialler;
mod keypad;
mod listener;
mod tones;

pub use detector::Detector;
pub(crate) use dialler::Turn;
pub use dialler::{BadDialString, Dial, DialBy, DialEnd, DialItem, DialString, Dialler, GAP_MS};
pub(crate) use keypad::Keypad;
pub use keypad::Method;
pub use listener::Listener;
pub use tones::{HIGH_HZ, LOW_HZ};

use crate::Digit;

/// What a key did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// It was pressed: the first that is heard of it.
    Down(Digit),
    /// It was released.
    Up {
        /// The key.
        digit: Digit,
        /// How long it was down, as far as heard.
        duration_ms: u16,
    },
}
