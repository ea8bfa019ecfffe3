//! Header field values with a structure of their own.

mod cseq;
mod name_addr;
mod scalar;
mod via;

pub use cseq::CSeq;
pub use name_addr::{Contact, NameAddr};
pub(crate) use scalar::{expires, max_forwards, q850_cause, retry_after};
pub use via::{Rport, Via};
