//! A corpus of answered calls, and how well `media_core::classify` tells who answered.
//!
//! Voices are made by espeak-ng, flite and festival, and taken from Debian's prompts for Asterisk; tones are generated;
//! rooms, other people, music, comfort noise, levels, codecs and lost packets are put on top. Every item is a recipe whose
//! random choices hang on its name, so the sound is made anew each time and always alike.
//!
//! There are two parts, [`Part::Development`] that parameters are chosen on and [`Part::HeldOut`] that they are judged by.
//! **The rule: no voice (of espeak-ng: no variant, in whatever language), no text, no recorded prompt, no music and no
//! seed is in both**, which a test of this crate asserts. The held-out part is evaluated once after it was committed, and
//! nothing is ever changed because of what it shows; whoever changes parameters after that makes a new one.
//!
//! How often each kind of answer comes is not in the corpus but in a [`Mix`], by which items are weighted.

mod development;
mod held_out;
mod material;
mod measure;
mod once_held_out;
mod random;
mod recipe;
mod sound;
mod tune;

pub use measure::{Figures, Mix, Outcome, make, measure};
pub use recipe::{Item, Kind, Part, Recipe, recipes};
pub use tune::tune;
