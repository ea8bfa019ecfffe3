//! What an [`Endpoint`](super::Endpoint) is told once, at its construction.

use std::net::SocketAddr;

use crate::session::{Reliable, SessionRefresh};
use crate::timers::Timers;
use crate::transport::Transport;

/// One local address that messages arrive at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// The protocol.
    pub transport: Transport,
    /// The address the socket is bound to.
    pub bound: SocketAddr,
    /// The address peers are told in Via and Contact; differs from `bound` behind a static NAT.
    pub advertised: SocketAddr,
}

/// The fixed settings of an endpoint.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// The value of `User-Agent` in requests and `Server` in responses.
    pub user_agent: String,
    /// The first listener of a transport and address family is the one requests leave by.
    pub listeners: Vec<Listener>,
    /// Whether our provisional responses to calls are acknowledged.
    pub reliable: Reliable,
    /// Session timers (RFC 4028); `None` switches them off. On, a call whose peer knows them is refreshed, and ends when it
    /// is not.
    pub session_refresh: Option<SessionRefresh>,
    /// Whether calls carry a Session-ID (RFC 7989), by which both ends and all between find the same call in their logs.
    pub session_ids: bool,
    /// The media types of INFOs that the user understands, and is told of. Others are refused with 415.
    pub info_types: Vec<String>,
    /// Timer values; the defaults are those of RFC 3261 table 4.
    pub timers: Timers,
    /// Requests with more bytes leave over TCP where the target leaves the transport open and there is a TCP listener, and
    /// as a datagram after all when that fails (RFC 3261 section 18.1.1: 1,300 bytes). `None`: never.
    pub largest_datagram: Option<usize>,
    /// Most transactions at once, client and server together. Beyond it requests are answered 503 without state.
    pub max_transactions: usize,
    /// Most live sessions at once, inbound and outbound together. Beyond it INVITEs are answered 503.
    pub max_sessions: usize,
    /// Most requests of ours outside dialogs ([`Endpoint::request`](super::Endpoint::request)) without an outcome.
    pub max_requests: usize,
}

impl EndpointConfig {
    /// Settings for these listeners with room for 10,000 calls, each with a handful of transactions lingering.
    pub fn new(listeners: Vec<Listener>) -> Self {
        Self {
            user_agent: concat!("carillon/", env!("CARGO_PKG_VERSION")).to_owned(),
            listeners,
            reliable: Reliable::default(),
            session_refresh: Some(SessionRefresh::default()),
            session_ids: true,
            info_types: Vec::new(),
            timers: Timers::default(),
            largest_datagram: Some(1_300),
            max_transactions: 400_000,
            max_sessions: 10_000,
            // A probe for each gateway of a large carrier, several times over.
            max_requests: 1_000,
        }
    }
}
