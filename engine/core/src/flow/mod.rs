//! Flows: what an answered call does by itself.

mod check;
mod run;

pub(crate) use check::check;
pub(crate) use run::{Diversion, Next, Run};
