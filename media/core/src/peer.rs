//! Where the peer is: signalled, then learned (symmetric RTP, RFC 4961).

use std::net::SocketAddr;

/// The peer's address on one of our sockets.
///
/// Only the signalled host is listened to, so nobody else can draw the stream to himself; its port is learned, because a
/// NAT in between may have changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// As signalled; nothing has come from it yet.
    Signalled(SocketAddr),
    /// Where a valid packet came from.
    Latched { signalled: SocketAddr, heard: SocketAddr },
}

impl Peer {
    /// Where to send.
    pub(crate) fn addr(self) -> SocketAddr {
        match self {
            Self::Signalled(addr) | Self::Latched { heard: addr, .. } => addr,
        }
    }

    /// Whether a datagram from `from` may be the peer's.
    pub(crate) fn admits(self, from: SocketAddr) -> bool {
        match self {
            Self::Signalled(addr) => from.ip().to_canonical() == addr.ip(),
            Self::Latched { heard, .. } => from == heard,
        }
    }

    /// Learns the port from a valid packet from `from`, which is admitted.
    pub(crate) fn latch(&mut self, from: SocketAddr) {
        match *self {
            Self::Signalled(signalled) => *self = Self::Latched { signalled, heard: from },
            Self::Latched { .. } => {}
        }
    }

    /// The peer after a further offer and answer: what was learned stays as long as the signalled address does.
    pub(crate) fn signal(previous: Option<Self>, addr: SocketAddr) -> Self {
        match previous {
            Some(latched @ Self::Latched { signalled, .. }) if signalled == addr => latched,
            Some(Self::Latched { .. } | Self::Signalled(_)) | None => Self::Signalled(addr),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn port_is_learned_once_and_only_from_the_signalled_host() {
        let mut peer = Peer::signal(None, addr("192.0.2.1:1000"));
        assert!(!peer.admits(addr("192.0.2.2:1000")));
        assert!(peer.admits(addr("[::ffff:192.0.2.1]:4000")), "as a dual-stack socket shows it");
        assert!(peer.admits(addr("192.0.2.1:5000")));
        peer.latch(addr("192.0.2.1:5000"));
        peer.latch(addr("192.0.2.1:6000"));
        assert_eq!(peer.addr(), addr("192.0.2.1:5000"));
        assert!(!peer.admits(addr("192.0.2.1:1000")));
        assert_eq!(Peer::signal(Some(peer), addr("192.0.2.1:1000")), peer);
        let moved = Peer::signal(Some(peer), addr("192.0.2.1:1002"));
        assert_eq!(moved, Peer::Signalled(addr("192.0.2.1:1002")));
    }
}
