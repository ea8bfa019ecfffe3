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
    /// A byte stream under TLS.
    Tls,
    /// WebSocket (RFC 7118): a message is one frame.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// The token of the Via header's `sent-protocol`, upper case.
    pub const fn via_token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The name in lower case, as configuration and logs have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The value of a URI's `transport` parameter, lower case. RFC 7118 section 5.2.2 defines "ws" and nothing else for
    /// WebSocket, secure or not. "tls" is deprecated by RFC 3261 section 26.2.2 in favour of SIPS, and is what everybody
    /// writes who means TLS for one hop.
    pub const fn uri_token(self) -> &'static str {
        match self {
            Self::Ws | Self::Wss => "ws",
            Self::Udp | Self::Tcp | Self::Tls => self.name(),
        }
    }

    /// The `transport` parameter that a URI needs for this one to be used; `None` for the one used without.
    pub const fn uri_parameter(self) -> Option<&'static str> {
        match self {
            Self::Udp => None,
            Self::Tcp | Self::Tls | Self::Ws | Self::Wss => Some(self.uri_token()),
        }
    }

    /// The transport that a name or a Via token names, in any case; `None` for one that we do not speak.
    pub fn from_token(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.name().eq_ignore_ascii_case(token))
    }

    /// Whether the transport itself delivers or reports failure (RFC 3261 section 17: "reliable transport").
    pub const fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp | Self::Tls | Self::Ws | Self::Wss => true,
        }
    }

    /// Whether nobody on the way reads along.
    pub const fn is_secure(self) -> bool {
        match self {
            Self::Tls | Self::Wss => true,
            Self::Udp | Self::Tcp | Self::Ws => false,
        }
    }

    /// Whether it is WebSocket, where only the client opens connections: a peer that came by one is reached by no other.
    pub const fn is_web_socket(self) -> bool {
        match self {
            Self::Ws | Self::Wss => true,
            Self::Udp | Self::Tcp | Self::Tls => false,
        }
    }

    /// What a SIPS URI makes of it (RFC 3261 section 26.2.2: TLS on every hop; RFC 7118 section 5.2.2).
    pub const fn secured(self) -> Self {
        match self {
            Self::Udp | Self::Tcp | Self::Tls => Self::Tls,
            Self::Ws | Self::Wss => Self::Wss,
        }
    }

    /// The port that a URI without one means (RFC 3261 section 19.1.2, RFC 7118 section 5.3).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One place where a target can be reached: an answer of RFC 3263.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// The protocol.
    pub transport: Transport,
    /// Address and port.
    pub address: SocketAddr,
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
