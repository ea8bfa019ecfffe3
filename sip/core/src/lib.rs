//! Sans-IO SIP: messages, transactions, dialogs, INVITE sessions, registration.
//!
//! # Messages
//!
//! A [`Message`] lies over the buffer it came in; reading copies nothing. Three kinds of faults are told apart:
//!
//! - [`Message::parse`] fails: the bytes are no SIP message. [`Message::salvage`] says whether they can be answered.
//! - [`Message::validate`] fails: something every message carries is missing or broken. [`ParseError::status`] is the
//!   answer to such a request; such a response is dropped.
//! - a typed accessor fails: one header field is broken, which matters to whoever needs it.
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use sip_core::{Message, MessageBuilder, Name, Reply};
//!
//! let datagram = Bytes::from_static(
//!     b"OPTIONS sip:bob@biloxi.com SIP/2.0\r\nv: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK77\r\n\
//!       f: <sip:alice@atlanta.com>;tag=1928\r\nt: <sip:bob@biloxi.com>\r\ni: a84b4c76\r\nCSeq: 1 OPTIONS\r\n\r\n",
//! );
//! let request = Message::parse(datagram)?;
//! request.validate()?;
//! assert_eq!(request.from()?.uri().user(), Some("alice"));
//!
//! let mut buffer = BytesMut::with_capacity(2048);
//! let reply = Reply { to_tag: Some("314"), ..Reply::new(200) };
//! let bytes = MessageBuilder::reply(&mut buffer, &request, reply).header(Name::Allow, "INVITE, BYE").finish();
//! assert!(bytes.starts_with(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK77\r\n"));
//! # Ok::<(), sip_core::ParseError>(())
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod authenticator;
mod dialog;
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
mod transaction;
mod transport;
mod uri;

pub use endpoint::{
    Endpoint, EndpointConfig, Error, Event, Input, Listener, Output, QueryId, RequestId, ResolveError, TimerKind,
    Transmit, TransportErrorKind,
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
    SessionTimer, Side, Target,
};
pub use timers::Timers;
pub use transaction::Timer;
pub use transport::{Hop, Transport};
pub use uri::{Host, Scheme, Uri, unescape};

pub use bytestring::ByteString;
