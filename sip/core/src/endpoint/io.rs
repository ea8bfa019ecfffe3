//! What goes into an [`Endpoint`](super::Endpoint) and what comes out.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use crate::outgoing::{OutgoingId, OutgoingOutcome};
use crate::registration::{RegistrationEvent, RegistrationId};
use crate::session::{SessionEvent, SessionId, SessionTimer};
use crate::transaction::Timer;
use crate::transport::{Destination, Hop, Transport};
use crate::watch::WatchId;
use crate::{Message, ParseError};

/// Something the outside reports.
#[derive(Clone)]
pub enum Input {
    /// A message arrived.
    Message {
        /// The way it came.
        hop: Hop,
        /// The message, parsed.
        message: Message,
    },
    /// Bytes arrived that are no SIP message.
    Malformed {
        /// The way they came.
        hop: Hop,
        /// The bytes of the one datagram or frame.
        bytes: Bytes,
        /// Why they were refused.
        error: ParseError,
    },
    /// Something sent to this peer could not be delivered, or a stream to it broke.
    TransportError {
        /// The protocol.
        transport: Transport,
        /// The peer's address, as in [`Transmit::remote`].
        remote: SocketAddr,
        /// What went wrong.
        kind: TransportErrorKind,
    },
    /// This one message could not be sent, which says nothing about others to the same peer.
    Unsent {
        /// The message, as in [`Transmit::payload`].
        payload: Bytes,
        /// What went wrong.
        kind: TransportErrorKind,
    },
    /// A stream is no more, for whatever reason. What was to be sent by it is told apart, as a
    /// [`TransportError`](Self::TransportError).
    StreamEnded {
        /// Which.
        hop: Hop,
    },
    /// The answer to [`Output::Resolve`].
    Resolved {
        /// Which question.
        query: QueryId,
        /// Where the target is.
        result: Result<Destinations, ResolveError>,
    },
}

impl fmt::Debug for Input {
    /// Without what is in messages, as [`Transmit`] has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { hop, message } => {
                f.debug_struct("Message").field("hop", hop).field("message", message).finish()
            }
            Self::Malformed { hop, bytes, error } => f
                .debug_struct("Malformed")
                .field("hop", hop)
                .field("bytes", &Hidden(bytes))
                .field("error", error)
                .finish(),
            Self::TransportError { transport, remote, kind } => f
                .debug_struct("TransportError")
                .field("transport", transport)
                .field("remote", remote)
                .field("kind", kind)
                .finish(),
            Self::Unsent { payload, kind } => {
                f.debug_struct("Unsent").field("payload", &Hidden(payload)).field("kind", kind).finish()
            }
            Self::StreamEnded { hop } => f.debug_struct("StreamEnded").field("hop", hop).finish(),
            Self::Resolved { query, result } => {
                f.debug_struct("Resolved").field("query", query).field("result", result).finish()
            }
        }
    }
}

/// Why a transport could not deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportErrorKind {
    /// Nobody listens there.
    Refused,
    /// No way there.
    Unreachable,
    /// The stream was reset or closed by the peer.
    Closed,
    /// No connection within the transport's own limit.
    TimedOut,
    /// TLS or WebSocket could not be agreed on: a certificate that is not trusted, or something else that answers there.
    Handshake,
    /// A local limit: send queue full, no socket of that family, message too large.
    Local,
}

/// What is asked of the resolver (RFC 3263 section 4). TLS peers have to prove that they are the `host` asked for,
/// whatever names the records led through (RFC 5922 section 4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// A host name, never an IP literal.
    pub host: String,
    /// The port, when the target names one; then SRV records do not apply.
    pub port: Option<u16>,
    /// The transport, when the target names one; then NAPTR records do not apply.
    pub transport: Option<Transport>,
    /// Only transports over TLS will do: the target is a SIPS URI.
    pub secure: bool,
}

/// Where a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destinations {
    /// In the order in which they are to be tried; never empty.
    pub list: Vec<Destination>,
    /// How long the answer holds: the least TTL of the records it is made of.
    pub valid_for: Duration,
}

/// Why a name gave no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name does not exist, or has no address.
    #[error("no such name")]
    NotFound,
    /// The name servers did not answer in time, or answered with a failure.
    #[error("the name could not be looked up now")]
    Unavailable,
}

/// One question to the resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// Something the endpoint wants done or tells.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send these bytes.
    Transmit(Transmit),
    /// Find out where a target is and come back with [`Input::Resolved`].
    Resolve {
        /// To be repeated in the answer.
        query: QueryId,
        /// What is asked.
        question: Question,
    },
    /// Something happened that the user of the endpoint acts on.
    Event(Event),
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerKind {
    /// A timer of RFC 3261 table 4 or RFC 6026.
    Transaction(Timer),
    /// A timer of a call.
    Session(SessionTimer),
    /// The refresh or the next try of a registration, or what keeps its way open.
    Registration,
    /// The next question where a watched target is.
    Watch,
}

/// One message to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The protocol.
    pub transport: Transport,
    /// The listener (datagrams) or the stream's own address to send from.
    pub local: SocketAddr,
    /// Where to.
    pub remote: SocketAddr,
    /// The message, shared with the retransmission buffer; or the empty lines that keep a NAT open.
    pub payload: Bytes,
    /// The stream to use while it is open; otherwise open one to `remote`.
    pub reply_on: Option<Hop>,
    /// The name that `remote` was found by: what a TLS server is asked for (SNI) and what its certificate must be made
    /// out to (RFC 5922 section 7.3), and a WebSocket server's `Host`. Without one that is the address.
    pub server_name: Option<ByteString>,
}

impl fmt::Debug for Transmit {
    /// As a [`Message`] has it: header fields hold credentials and phone numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, local, remote, payload, reply_on, server_name } = self;
        f.debug_struct("Transmit")
            .field("transport", transport)
            .field("local", local)
            .field("remote", remote)
            .field("payload", &Hidden(payload))
            .field("reply_on", reply_on)
            .field("server_name", server_name)
            .finish()
    }
}

/// What a log may have of a message: what it is and its length.
struct Hidden<'a>(&'a Bytes);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Message::parse(self.0.clone()) {
            Ok(message) => message.fmt(f),
            Err(_) => write!(f, "({} bytes)", self.0.len()),
        }
    }
}

/// A request that the endpoint itself does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What the endpoint tells its user.
#[derive(Debug, Clone)]
pub enum Event {
    /// Something happened to a call.
    Session {
        /// Which.
        id: SessionId,
        /// What.
        event: SessionEvent,
    },
    /// Something happened to a registration of ours.
    Registration {
        /// Which.
        id: RegistrationId,
        /// What.
        event: RegistrationEvent,
    },
    /// A watched target is located, or has moved.
    Located {
        /// Which.
        id: WatchId,
        /// All its addresses, of every transport; IPv4 addresses as such.
        addresses: BTreeSet<IpAddr>,
    },
    /// What became of a request of ours outside any dialog; see [`Endpoint::request`](super::Endpoint::request).
    Response {
        /// Which.
        id: OutgoingId,
        /// What.
        outcome: OutgoingOutcome,
    },
    /// A request outside any dialog that nobody else takes (REGISTER, MESSAGE, …):
    /// answer with [`Endpoint::respond`](super::Endpoint::respond).
    Request {
        /// For the answer.
        id: RequestId,
        /// The way it came.
        hop: Hop,
        /// The request.
        request: Message,
    },
}
