//! Flows: what an answered call does by itself.

mod check;
mod run;

pub(crate) use check::{check, check_sounds};
pub(crate) use run::{Diversion, Next, Run, insert};
