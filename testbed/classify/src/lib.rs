//! A corpus of answered calls, and how well `media_core::classify` tells who answered.
//!
//! Voices are made by espeak-ng and flite, and taken from Debian's asterisk-core-sounds; tones are generated; noise,
//! levels, G.711 and lost packets are put on top. Every item is a recipe whose random choices hang on its name, so the
//! sound is made anew each time and always alike. Voices and texts are split by a hash of their names into a development
//! part, which the parameters were chosen on, and a held-out part, which they are judged by: no voice and no text is in
//! both, and nothing may ever be changed because of an item of the held-out part.
//!
//! `cargo run -p classify` prints the figures of both parts. They tell how far the rules are from being wrong on sound of this kind, not what a
//! carrier's customers sound like.

mod measure;
mod random;
mod recipe;
mod sound;
mod words;

pub use measure::{Figures, Outcome, make, measure};
pub use recipe::{Item, Kind, Part, Recipe, recipes};
