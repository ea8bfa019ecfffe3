//! What is said: a text with variables, pauses and readings goes in, words and silences come out.
//!
//! Contract: a [`Template`] is parsed once, which tells every fault with its place and its mend, and expanded as often as
//! its variables change. Nothing of it knows calls, sound or synthesisers: whoever has the pieces has them spoken. Input and
//! output are bounded ([`MAX_TEXT`], [`MAX_SPOKEN`], [`MAX_SILENCE`]); what a variable holds is never read as markup.
//!
//! Four languages have readings: English, Indonesian, Vietnamese and Chinese. What they say, and how ties were broken, is
//! told in `README.md`; in any other language digits and letters are set apart and the rest stays as it is written.
//!
//! This crate does no I/O and reads no clock.
//!
//! ```
//! use speech_core::{Language, Piece, Template};
//! let template = Template::parse("Hello {name},{stop:1s} you owe {currency:{sum} CNY}.").unwrap();
//! let value = |name: &str| match name {
//!     "name" => Some("Ana".into()),
//!     "sum" => Some("199".into()),
//!     _ => None,
//! };
//! let pieces = template.expand(Some(Language::English), value);
//! let said: Vec<String> = pieces.iter().map(Piece::to_string).collect();
//! assert_eq!(said, ["Hello Ana,", "[1000 ms]", "you owe one hundred and ninety-nine yuan."]);
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod expand;
mod language;
mod reading;
mod ssml;
mod template;
mod voice;

pub use expand::{MAX_SPOKEN, Piece};
pub use language::Language;
pub use reading::{Reading, cardinal};
pub use template::{MAX_SILENCE, MAX_STOP, MAX_TEXT, Reason, Template, TemplateError};
pub use voice::{Voice, Voices};
