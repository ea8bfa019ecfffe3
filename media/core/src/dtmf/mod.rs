//! DTMF beyond the RTP events that arrive (those are `telephone_event.rs`): the tones, and a detector that hears them.

mod detector;
mod tones;

pub use detector::Detector;
pub use tones::{HIGH_HZ, LOW_HZ};

use crate::Digit;

/// What a key did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// It was pressed.
    Down(Digit),
    /// It was released.
    Up {
        /// The key.
        digit: Digit,
        /// How long it was down, as far as heard.
        duration_ms: u16,
    },
}
