//! Where the peer is: signalled, then learned (symmetric RTP, RFC 4961).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::rtp::Header;
use crate::{SeqNo, Ssrc};

/// How long nothing must have come from where the peer was before he may be elsewhere: well over a packet time and its jitter,
/// so that two who send at once do not take turns; soon enough that a call whose NAT forgot it is not given up.
const MOVED: Duration = Duration::from_secs(2);

/// Packets in sequence, one after the other, before another port than the signalled one is believed.
const IN_SEQUENCE: u8 = 3;

/// The peer's address on one of our sockets.
///
/// RFC 4961 has both sides send from where they receive, so the signalled address is the peer's whenever anything comes from
/// it. A NAT in between may have changed the port, before the call or in the middle of it, and only the packets tell. Whoever
/// is followed to another port gets the stream, so not much may be believed: another host never, for anybody could send from
/// there; another port of the signalled host only while the peer is silent, and at the third packet in sequence. The host of
/// a carrier is that of all its calls: what is left of an earlier one on our port must not take this one over, and does not,
/// because it has to be heard alone, and yields to the first packet from where the peer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    signalled: SocketAddr,
    /// Where the last valid packet came from, and when.
    heard: Option<(SocketAddr, Instant)>,
    candidate: Option<Candidate>,
}

/// Another port of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    from: SocketAddr,
    ssrc: Ssrc,
    next: SeqNo,
    in_sequence: u8,
}

impl Peer {
    /// Where to send.
    pub(crate) fn addr(self) -> SocketAddr {
        self.heard.map_or(self.signalled, |(heard, _)| heard)
    }

    /// Whether a datagram from `from` may be the peer's. If it is RTP, `rtp` has its header; RTCP comes too seldom to be
    /// waited for, and has no numbers.
    pub(crate) fn admits(
        &mut self,
        now: Instant,
        from: SocketAddr,
        rtp: impl FnOnce() -> Option<Header>,
    ) -> bool {
        let silent = match self.heard {
            Some((heard, _)) if heard == from => return true,
            Some((_, at)) => now.saturating_duration_since(at) >= MOVED,
            None => true,
        };
        if self.is_signalled(from) {
            return true;
        }
        if !silent || from.ip().to_canonical() != self.signalled.ip() {
            return false;
        }
        let Some(Header { ssrc, seq, .. }) = rtp() else { return true };
        let goes_on = self
            .candidate
            .filter(|candidate| candidate.from == from && candidate.ssrc == ssrc && candidate.next == seq);
        let in_sequence = goes_on.map_or(0, |candidate| candidate.in_sequence).saturating_add(1);
        self.candidate = Some(Candidate { from, ssrc, next: seq.next(), in_sequence });
        in_sequence >= IN_SEQUENCE
    }

    /// Whether it is heard where it is signalled to be, so that no packet of its comes from another port. Before that, and
    /// once it has been silent, one may come from any.
    pub(crate) fn is_settled(self, now: Instant) -> bool {
        self.heard
            .is_some_and(|(heard, at)| self.is_signalled(heard) && now.saturating_duration_since(at) < MOVED)
    }

    /// Learns the port from a valid packet from `from`, which is admitted.
    pub(crate) fn latch(&mut self, now: Instant, from: SocketAddr) {
        self.heard = Some((from, now));
        self.candidate = None;
    }

    /// The peer after a further offer and answer: what was learned stays as long as the signalled address does.
    pub(crate) fn signal(previous: Option<Self>, addr: SocketAddr) -> Self {
        match previous {
            Some(peer) if peer.signalled == addr => peer,
            Some(_) | None => Self { signalled: addr, heard: None, candidate: None },
        }
    }

    /// As a dual-stack socket shows it, too.
    fn is_signalled(self, addr: SocketAddr) -> bool {
        (addr.ip().to_canonical(), addr.port()) == (self.signalled.ip(), self.signalled.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MediaTime;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn header(seq: u16) -> Header {
        Header { marker: false, pt: 8, seq: SeqNo(seq), timestamp: MediaTime(0), ssrc: Ssrc(7) }
    }

    /// Packets with these numbers come from `from`, each latched if it is admitted; which were.
    fn come(peer: &mut Peer, now: Instant, from: &str, seqs: impl IntoIterator<Item = u16>) -> Vec<u16> {
        let from = addr(from);
        let mut admits = |seq: &u16| {
            let admitted = peer.admits(now, from, || Some(header(*seq)));
            if admitted {
                peer.latch(now, from);
            }
            admitted
        };
        seqs.into_iter().filter(|seq| admits(seq)).collect()
    }

    #[test]
    fn port_is_learned_from_the_signalled_host_only() {
        let now = crate::epoch();
        let mut peer = Peer::signal(None, addr("192.0.2.1:1000"));
        assert_eq!(come(&mut peer, now, "192.0.2.2:1000", 1..10), []);
        assert!(!peer.is_settled(now), "not heard yet");
        let mut dual = peer;
        assert_eq!(come(&mut dual, now, "[::ffff:192.0.2.1]:1000", 1..3), [1, 2], "of a dual-stack socket");
        assert!(dual.is_settled(now), "it is where it said");
        assert_eq!(come(&mut peer, now, "[::ffff:192.0.2.1]:4000", 1..6), [3, 4, 5]);
        assert_eq!(peer.addr(), addr("[::ffff:192.0.2.1]:4000"));
        assert_eq!(Peer::signal(Some(peer), addr("192.0.2.1:1000")), peer);
        let moved = Peer::signal(Some(peer), addr("192.0.2.1:1002"));
        assert_eq!(moved, Peer::signal(None, addr("192.0.2.1:1002")));
    }

    #[test]
    fn another_port_of_the_host_is_learned_once_the_first_is_silent() {
        let mut now = crate::epoch();
        let mut peer = Peer::signal(None, addr("192.0.2.1:1000"));
        assert_eq!(come(&mut peer, now, "192.0.2.1:1000", [1]), [1]);
        now += MOVED - Duration::from_millis(1);
        assert_eq!(come(&mut peer, now, "192.0.2.1:6000", 10..20), []);
        assert!(peer.is_settled(now));
        now += Duration::from_millis(1);
        assert!(!peer.is_settled(now));
        assert_eq!(come(&mut peer, now, "192.0.2.2:1000", 10..20), [], "never another host");
        assert_eq!(come(&mut peer, now, "192.0.2.1:6000", [10, 12, 13, 30, 31, 32, 33]), [32, 33]);
        assert_eq!(peer.addr(), addr("192.0.2.1:6000"));
        assert_eq!(come(&mut peer, now, "192.0.2.1:7000", 50..60), []);
    }

    #[test]
    fn where_the_peer_said_it_is_it_is_at_once() {
        let now = crate::epoch();
        let mut peer = Peer::signal(None, addr("192.0.2.1:1000"));
        assert_eq!(come(&mut peer, now, "192.0.2.1:5000", 1..10).len(), 7);
        assert!(!peer.is_settled(now), "it may yet come from there");
        assert_eq!(come(&mut peer, now, "192.0.2.1:1000", [900]), [900]);
        assert_eq!(peer.addr(), addr("192.0.2.1:1000"));
        assert_eq!(come(&mut peer, now, "192.0.2.1:5000", 10..100), [], "however long the stray goes on");
        assert!(peer.is_settled(now));
    }

    #[test]
    fn two_strays_at_once_are_neither_of_them_the_peer() {
        let now = crate::epoch();
        let mut peer = Peer::signal(None, addr("192.0.2.1:1000"));
        for seq in 0..100 {
            assert_eq!(come(&mut peer, now, "192.0.2.1:5000", [seq]), []);
            assert_eq!(come(&mut peer, now, "192.0.2.1:6000", [seq]), []);
        }
        assert!(
            peer.admits(now, addr("192.0.2.1:6001"), || None),
            "reports are too seldom to be in sequence"
        );
    }
}
