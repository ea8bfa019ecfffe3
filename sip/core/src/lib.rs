//! Sans-IO SIP: messages, transactions, dialogs, INVITE sessions, registration
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod endpoint;
mod registration;
mod session;
mod timers;
mod transport;

pub use endpoint::{
    EndpointConfig, Event, Input, Listener, Output, QueryId, RequestId, ResolveError, Transmit,
    TransportErrorKind,
};
pub use registration::{Register, RegistrationEvent, RegistrationId};
pub use session::{
    Body, EndCause, Failure, FailureCause, Hangup, Invite, Reason, ReasonProtocol, SessionEvent, SessionId,
    Side, Target,
};
pub use timers::Timers;
pub use transport::{Hop, Transport};
