//! Sans-IO SIP: messages, transactions, dialogs, INVITE sessions, registration
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod digest;
mod endpoint;
mod framing;
mod grammar;
mod headers;
mod message;
mod method;
mod name;
mod params;
mod registration;
mod session;
mod timers;
mod transport;
mod uri;

pub use endpoint::{
    EndpointConfig, Event, Input, Listener, Output, QueryId, RequestId, ResolveError, Transmit,
    TransportErrorKind,
};
pub use framing::{Frame, FrameError, Framer, FramerLimits};
pub use grammar::{quote, unquote};
pub use headers::{CSeq, Contact, NameAddr, Rport, Via};
pub use message::{MAX_HEAD, Message, MessageBuilder, ParseError, Reply, reason_phrase};
pub use method::Method;
pub use name::Name;
pub use params::Params;
pub use registration::{Register, RegistrationEvent, RegistrationId};
pub use session::{
    Body, EndCause, Failure, FailureCause, Hangup, Invite, Reason, ReasonProtocol, SessionEvent, SessionId,
    Side, Target,
};
pub use timers::Timers;
pub use transport::{Hop, Transport};
pub use uri::{Host, Scheme, Uri, unescape};

pub use bytestring::ByteString;
