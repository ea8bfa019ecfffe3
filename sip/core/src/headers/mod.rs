//! Header field values with a structure of their own.

mod cseq;
mod identity;
mod name_addr;
mod reason;
mod replaces;
mod scalar;
mod session_expires;
mod session_identifier;
mod via;

pub use cseq::CSeq;
pub(crate) use cseq::RAck;
pub use identity::{Diversion, HistoryInfo, Privacy, PrivacyValue, UserToUser};
pub use name_addr::{Contact, NameAddr};
pub(crate) use reason::event;
pub use reason::{Reason, ReasonProtocol, Warning};
pub use replaces::{ReferTo, Replaces};
pub(crate) use scalar::{expires, max_forwards, qvalue, retry_after, rseq};
pub(crate) use session_expires::min_se;
pub use session_expires::{Refresher, SessionExpires};
pub use session_identifier::SessionIdentifier;
pub use via::{Rport, Via};

use crate::params::Params;
