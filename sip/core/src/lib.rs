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
//!
//! # Calls
//!
//! An [`Endpoint`] is a user agent as one value: transactions, dialogs, INVITE sessions, registrations. It is handed the
//! time with everything it is told; after each input and each command, take all its outputs; call it again when
//! [`Endpoint::poll_timeout`] says so. Retransmission, authentication, forks, the race of CANCEL and 200 and the
//! repeated ACK stay inside; every call ends in exactly one of [`SessionEvent::Failed`] and [`SessionEvent::Ended`].
//!
//! Bodies are the user's; the endpoint knows from the message whether one is an offer or an answer, and lets only one offer
//! be on its way. A call that stands is changed with [`Endpoint::offer`], which ends in
//! [`SessionEvent::OfferAnswered`] or [`SessionEvent::OfferRefused`]; what the peer wants to change comes as
//! [`SessionEvent::Offered`] and is answered with [`Endpoint::accept_offer`] or [`Endpoint::refuse_offer`]. Two offers
//! at once, repetitions, PRACK and descriptions that say nothing new stay inside. Where the INVITE or the offer has no
//! body the peer offers, and [`Endpoint::acknowledge`] answers.
//!
//! ```
//! use std::net::SocketAddr;
//! use std::time::Instant;
//! use sip_core::*;
//!
//! let (here, there): (SocketAddr, SocketAddr) = ("192.0.2.1:5060".parse()?, "192.0.2.2:5060".parse()?);
//! let listener = |at| Listener { transport: Transport::Udp, bound: at, advertised: at };
//! let mut caller = Endpoint::new(EndpointConfig::new(vec![listener(here)]), [1; 32]);
//! let mut callee = Endpoint::new(EndpointConfig::new(vec![listener(there)]), [2; 32]);
//!
//! let now = Instant::now(); // a shell reads the clock before every call
//! let call = caller.invite(now, Invite {
//!     request_uri: "sip:bob@192.0.2.2".parse()?,
//!     to: "<sip:bob@192.0.2.2>".parse()?,
//!     from: "<sip:alice@192.0.2.1>".parse()?,
//!     target: Target { host: "192.0.2.2".into(), port: None, transport: None, ..Target::default() },
//!     route: vec![],
//!     headers: vec![],
//!     body: Some(Body::sdp("v=0\r\n")),
//!     reliable: Reliable::Supported,
//!     replaces: None,
//!     session_interval: None,
//!     expires: None,
//!     credentials: None,
//! })?;
//!
//! // What one sends, the other gets: a network without loss.
//! let mut story = vec![];
//! loop {
//!     let (output, from, to) = if let Some(output) = caller.poll_output() {
//!         (output, here, &mut callee)
//!     } else if let Some(output) = callee.poll_output() {
//!         (output, there, &mut caller)
//!     } else {
//!         break;
//!     };
//!     match output {
//!         Output::Transmit(Transmit { transport, remote, payload, .. }) => {
//!             let hop = Hop { transport, local: remote, remote: from };
//!             to.handle_input(now, Input::Message { hop, message: Message::parse(payload)? });
//!         }
//!         Output::Event(Event::Session { id, event: SessionEvent::Incoming { .. } }) => {
//!             callee.answer(now, id, Some(Body::sdp("v=0\r\n")))?;
//!         }
//!         Output::Event(Event::Session { id, event: SessionEvent::Answered { .. } }) => {
//!             story.push("answered");
//!             caller.hangup(now, id, Hangup::default())?;
//!         }
//!         Output::Event(Event::Session { event: SessionEvent::Ended { .. }, .. }) => story.push("ended"),
//!         Output::Event(_) | Output::Resolve { .. } => {}
//!     }
//! }
//! assert_eq!(story, ["answered", "ended", "ended"]);
//! # let _ = call;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The door
//!
//! A shell asks a [`guard::Guard`] about every message before it hands it on: rates per source, bans, scanners, and what
//! only claims to belong to a call.
//!
//! # What it does not do
//!
//! It opens no socket, looks up no name, reads no clock and no SDP, and is no proxy. What is covered of
//! which RFC is in `docs/sip.md`.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod authenticator;
mod capability;
mod dialog;
pub mod digest;
mod endpoint;
mod framing;
mod grammar;
pub mod guard;
mod headers;
mod message;
mod method;
mod name;
mod net;
mod outgoing;
mod params;
mod registration;
mod session;
mod timers;
mod transaction;
mod transport;
mod uri;
mod watch;

pub use endpoint::{
    ALLOW, Destinations, Endpoint, EndpointConfig, Error, Event, Input, Listener, Output, QueryId, Question,
    RequestId, ResolveError, TimerKind, Transmit, TransportErrorKind,
};
pub use framing::{Frame, FrameError, Framer, FramerLimits};
pub use grammar::{quote, unquote};
pub use headers::{
    CSeq, Contact, Diversion, HistoryInfo, NameAddr, Privacy, PrivacyValue, Reason, ReasonProtocol, ReferTo,
    Refresher, Replaces, Rport, SessionExpires, SessionIdentifier, UserToUser, Via, Warning,
};
pub use message::{MAX_HEAD, Message, MessageBuilder, ParseError, Reply, reason_phrase};
pub use method::Method;
pub use name::Name;
pub use net::{Network, NotANetwork, Source, is_unicast, private_network};
pub use outgoing::{Outgoing, OutgoingId, OutgoingOutcome};
pub use params::Params;
pub use registration::{Outbound, Register, RegistrationEvent, RegistrationId};
pub use session::{
    Body, DialogId, EndCause, Failure, FailureCause, Hangup, Invite, Refer, ReferId, ReferProgress, Referred,
    Reliable, SessionEvent, SessionId, SessionRefresh, SessionTimer, Side, Target, own_in_invite,
};
pub use timers::Timers;
pub use transaction::Timer;
pub use transport::{Destination, Hop, Transport};
pub use uri::{Host, Scheme, Uri, unescape};
pub use watch::WatchId;

pub use bytestring::ByteString;
