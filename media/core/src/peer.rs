//! Where the peer is: signalled, then learned (symmetric RTP, RFC 4961).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long nothing must have come from where the peer was before he may be elsewhere: well over a packet time and its jitter,
/// so that two who send at once do not take turns; soon enough that a call whose NAT forgot it is not given up.
const MOVED: Duration = Duration::from_secs(2);

/// The peer's address on one of our sockets.
///
/// Only the signalled host is listened to, so nobody else can draw the stream to himself; its port is learned, because a
/// NAT in between may have changed it, and learned anew when it falls silent, because the NAT may change it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// As signalled; nothing has come from it yet.
    Signalled(SocketAddr),
    /// Where valid packets come from, and when the last one did.
    Latched { signalled: SocketAddr, heard: SocketAddr, at: Instant },
}

impl Peer {
    /// Where to send.
    pub(crate) fn addr(self) -> SocketAddr {
        match self {
            Self::Signalled(addr) | Self::Latched { heard: addr, .. } => addr,
        }
    }

    /// Whether a datagram from `from` may be the peer's.
    pub(crate) fn admits(self, now: Instant, from: SocketAddr) -> bool {
        match self {
            Self::Signalled(addr) => from.ip().to_canonical() == addr.ip(),
            Self::Latched { signalled, heard, .. } => {
                from == heard || self.may_have_moved(now) && from.ip().to_canonical() == signalled.ip()
            }
        }
    }

    /// Whether it has been heard, and so long ago that its packets may come from another port by now.
    pub(crate) fn may_have_moved(self, now: Instant) -> bool {
        match self {
            Self::Signalled(_) => false,
            Self::Latched { at, .. } => now.saturating_duration_since(at) >= MOVED,
        }
    }

    /// Learns the port from a valid packet from `from`, which is admitted.
    pub(crate) fn latch(&mut self, now: Instant, from: SocketAddr) {
        match self {
            Self::Signalled(signalled) => {
                *self = Self::Latched { signalled: *signalled, heard: from, at: now };
            }
            Self::Latched { heard, at, .. } => (*heard, *at) = (from, now),
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
    fn port_is_learned_from_the_signalled_host_only() {
        let now = crate::epoch();
        let mut peer = Peer::signal(None, addr("192.0.2.1:1000"));
        assert!(!peer.admits(now, addr("192.0.2.2:1000")));
        assert!(peer.admits(now, addr("[::ffff:192.0.2.1]:4000")), "as a dual-stack socket shows it");
        assert!(peer.admits(now, addr("192.0.2.1:5000")));
        assert!(!peer.may_have_moved(now + 10 * MOVED), "not there yet");
        peer.latch(now, addr("192.0.2.1:5000"));
        assert_eq!(peer.addr(), addr("192.0.2.1:5000"));
        assert!(!peer.admits(now, addr("192.0.2.1:1000")));
        assert_eq!(Peer::signal(Some(peer), addr("192.0.2.1:1000")), peer);
        let moved = Peer::signal(Some(peer), addr("192.0.2.1:1002"));
        assert_eq!(moved, Peer::Signalled(addr("192.0.2.1:1002")));
    }

    #[test]
    fn another_port_of_the_host_is_learned_once_the_first_is_silent() {
        let mut now = crate::epoch();
        let mut peer = Peer::signal(None, addr("192.0.2.1:1000"));
        peer.latch(now, addr("192.0.2.1:5000"));
        now += MOVED / 2;
        peer.latch(now, addr("192.0.2.1:5000"));
        now += MOVED - Duration::from_millis(1);
        assert!(!peer.admits(now, addr("192.0.2.1:6000")));
        now += Duration::from_millis(1);
        assert!(peer.admits(now, addr("192.0.2.1:6000")));
        assert!(!peer.admits(now, addr("192.0.2.2:5000")), "never another host");
        peer.latch(now, addr("192.0.2.1:6000"));
        assert_eq!(peer.addr(), addr("192.0.2.1:6000"));
        assert!(!peer.admits(now, addr("192.0.2.1:5000")));
    }
}
