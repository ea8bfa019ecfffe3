//! From the numbers of a received stream to those of ours.

use crate::rtp::Header;
use crate::{MediaTime, SeqNo, Ssrc};

/// A step in the source's numbers that is no loss or reordering but another stream (RFC 3550, A.1: MAX_DROPOUT and
/// MAX_MISORDER).
const SAME_STREAM: std::ops::Range<i16> = -100..3000;

/// How one source's numbers become ours. What the source lost stays lost in our numbering, so that our peer can tell it and
/// report it; what we leave out leaves no gap in it. Timestamps keep every gap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Relay {
    ssrc: Ssrc,
    seq_offset: u16,
    timestamp_offset: u32,
    /// The newest packet of the source.
    newest: SeqNo,
    /// What comes late from before has no number of ours: the source's first packet after the last one that was left out. It
    /// follows the newest at the distance that no late packet of the same stream has, because numbers wrap.
    floor: SeqNo,
}

impl Relay {
    /// A source whose packet with `header` goes out as `seq` and `timestamp`.
    pub(crate) fn new(header: &Header, seq: SeqNo, timestamp: MediaTime) -> Self {
        Self {
            ssrc: header.ssrc,
            seq_offset: seq.0.wrapping_sub(header.seq.0),
            timestamp_offset: timestamp.0.wrapping_sub(header.timestamp.0),
            newest: header.seq,
            floor: header.seq,
        }
    }

    /// Whether the packet with `header` goes on with this source's stream.
    pub(crate) fn continues(&self, header: &Header) -> bool {
        self.ssrc == header.ssrc && SAME_STREAM.contains(&header.seq.distance_from(self.newest))
    }

    /// Our numbers of a packet that continues; `None` when it comes too late for one.
    pub(crate) fn stamp(&mut self, header: &Header) -> Option<(SeqNo, MediaTime)> {
        if header.seq.distance_from(self.floor) < 0 {
            return None;
        }
        if header.seq.distance_from(self.newest) > 0 {
            self.newest = header.seq;
            if self.newest.distance_from(self.floor) > -SAME_STREAM.start {
                self.floor = SeqNo(self.newest.0.wrapping_add_signed(SAME_STREAM.start));
            }
        }
        Some((
            SeqNo(header.seq.0.wrapping_add(self.seq_offset)),
            header.timestamp.plus(self.timestamp_offset),
        ))
    }

    /// The packet with `header`, which continues, is not sent on.
    pub(crate) fn leave_out(&mut self, header: &Header) {
        if header.seq.distance_from(self.newest) > 0 {
            self.newest = header.seq;
            self.floor = header.seq.next();
            self.seq_offset = self.seq_offset.wrapping_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(seq: u16, timestamp: u32) -> Header {
        Header { marker: false, pt: 0, seq: SeqNo(seq), timestamp: MediaTime(timestamp), ssrc: Ssrc(1) }
    }

    /// A source whose packet 65,534 at 1,000 is our 10 at 50.
    fn relay() -> Relay {
        Relay::new(&header(65_534, 1_000), SeqNo(10), MediaTime(50))
    }

    fn stamped(relay: &mut Relay, seq: u16, timestamp: u32) -> Option<(u16, u32)> {
        relay.stamp(&header(seq, timestamp)).map(|(seq, timestamp)| (seq.0, timestamp.0))
    }

    #[test]
    fn numbers_wrap_and_losses_and_disorder_stay_what_they_are() {
        let mut relay = relay();
        assert_eq!(stamped(&mut relay, 65_534, 1_000), Some((10, 50)));
        assert_eq!(stamped(&mut relay, 0, 1_320), Some((12, 370)), "one is lost");
        assert_eq!(stamped(&mut relay, 65_535, 1_160), Some((11, 210)), "or was late");
        assert_eq!(stamped(&mut relay, 1, 5_000), Some((13, 4_050)), "silence in between");
    }

    #[test]
    fn every_packet_of_hours_is_sent_on() {
        let mut relay = relay();
        let mut ours = (10_u16, 50_u32);
        for n in 0..400_000_u32 {
            let seq = 65_534_u16.wrapping_add(n as u16);
            if n % 50_000 == 49_999 {
                relay.leave_out(&header(seq, 1_000 + n * 160));
                ours.1 += 160;
                continue;
            }
            assert!(relay.continues(&header(seq, 0)), "packet {n}");
            assert_eq!(stamped(&mut relay, seq, 1_000 + n * 160), Some(ours), "packet {n}");
            ours = (ours.0.wrapping_add(1), ours.1 + 160);
            if n % 50_000 == 25_000 {
                let (late, seq) = (ours.0.wrapping_sub(100), seq.wrapping_sub(99));
                assert_eq!(stamped(&mut relay, seq, 0).map(|(seq, _)| seq), Some(late), "99 late at {n}");
            }
        }
    }

    #[test]
    fn what_is_left_out_leaves_no_gap_but_in_time() {
        let mut relay = relay();
        assert_eq!(stamped(&mut relay, 65_534, 1_000), Some((10, 50)));
        relay.leave_out(&header(65_535, 1_160));
        relay.leave_out(&header(65_535, 1_160));
        relay.leave_out(&header(0, 1_160));
        assert_eq!(stamped(&mut relay, 1, 1_480), Some((11, 530)));
        assert_eq!(stamped(&mut relay, 65_533, 840), None, "its number is another's now");
        assert_eq!(stamped(&mut relay, 2, 1_640), Some((12, 690)));
    }

    #[test]
    fn another_source_and_a_restart_do_not_continue() {
        let relay = relay();
        assert!(relay.continues(&header(50, 9_000)));
        assert!(relay.continues(&header(65_500, 0)));
        assert!(!relay.continues(&header(30_000, 0)));
        assert!(!relay.continues(&Header { ssrc: Ssrc(2), ..header(65_535, 1_160) }));
    }
}
