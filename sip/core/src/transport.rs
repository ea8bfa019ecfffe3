//! Where a message came by and where it goes: transports and 5-tuples.

use std::fmt;
use std::net::SocketAddr;

/// A transport protocol SIP runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams; the transaction layer retransmits.
    Udp,
    /// A byte stream; the transaction layer sends each message once.
    Tcp,
}

impl Transport {
    /// The token of the Via header's `sent-protocol`, upper case.
    pub const fn via_token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }

    /// The value of a URI's `transport` parameter, lower case.
    pub const fn uri_token(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }

    /// The transport that a Via or URI token names, in any case; `None` for one that we do not speak.
    pub fn from_token(token: &str) -> Option<Self> {
        [Self::Udp, Self::Tcp].into_iter().find(|transport| transport.uri_token().eq_ignore_ascii_case(token))
    }

    /// Whether the transport itself delivers or reports failure (RFC 3261 section 17: "reliable transport").
    pub const fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp => true,
        }
    }

    /// The port that a SIP URI without one means (RFC 3261 section 19.1.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri_token())
    }
}

/// One 5-tuple: the way a message came, or the stream it is to go out on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hop {
    /// The protocol.
    pub transport: Transport,
    /// Our address: the listener's for datagrams, the stream's own for streams.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
}
