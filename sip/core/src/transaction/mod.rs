//! The transaction layer (RFC 3261 section 17, RFC 6026).
//!
//! One state diagram, one file: [`client_invite`], [`client`], [`server_invite`], [`server`] are pure tables from
//! (state, input) to (state, actions). [`layer`] holds the running ones and does what they ask for.

mod client;
mod client_invite;
pub(crate) mod compose;
mod key;
mod layer;
mod locate;
mod machine;
mod server;
mod server_invite;
mod size;

pub(crate) use key::{Branch, ClientKey, parse_token};
pub(crate) use layer::{Outcome, Path, Received, Report, ServerId, TimerKey, TransactionLayer, User};
pub(crate) use locate::{Asker, Located};
pub(crate) use machine::StatusClass;
pub use machine::Timer;
