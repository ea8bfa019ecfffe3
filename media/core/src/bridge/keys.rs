//! Keys among the sound of others (RFC 4733): every stroke goes out once, under numbers and in a clock of ours.

use std::ops::Range;

use crate::rtp::Header;
use crate::{MediaTime, SeqNo, Ssrc};

/// What a packet of an event says (RFC 4733, 2.3), beside which key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// The key has come up.
    pub(crate) end: bool,
    /// How long the stroke, or this segment of it, has lasted, in the clock of the event.
    pub(crate) duration: u16,
}

/// Where in the payload of an event its duration is.
pub(crate) const DURATION: Range<usize> = 2..4;
/// The longest duration that a packet can tell; a longer stroke goes on as a further segment (2.5.1.3).
const SEGMENT: u32 = 0xFFFF;
/// The longest stroke that is followed: a minute at 48 kHz, in segments.
const MAX_SEGMENTS: u32 = 45;
/// Sequence numbers at most this far back are late packets (RFC 3550, A.1: MAX_MISORDER), others a restarted stream.
const LATE: Range<i16> = -100..0;
/// A stroke of which nothing has come for so long is over, and its end was lost: three updates (2.5.1.2).
const PATIENCE_MS: u32 = 150;

impl Told {
    /// `None` for what is no event.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let [_, flags, d0, d1, ..] = *payload else { return None };
        Some(Self { end: flags & 0x80 != 0, duration: u16::from_be_bytes([d0, d1]) })
    }
}

/// From the clock of an event that was heard to the clock of those that we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clocks {
    pub(crate) theirs: u32,
    pub(crate) ours: u32,
}

impl Clocks {
    fn scale(self, units: u32) -> u32 {
        let scaled = u64::from(units) * u64::from(self.ours) / u64::from(self.theirs.max(1));
        u32::try_from(scaled).unwrap_or(u32::MAX)
    }

    /// A duration that stays in one segment.
    pub(crate) fn duration(self, units: u16) -> u16 {
        u16::try_from(self.scale(units.into())).unwrap_or(u16::MAX)
    }
}

/// The keys that are relayed into a stream of other sound. All packets of an event carry the time of its beginning
/// (2.2.1), theirs in their streams, ours in ours. One stroke at a time: who presses while another's key is down is sent
/// when that is up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RelayedKeys {
    /// The last stroke that was sent.
    latest: Option<Stroke>,
    /// When a packet of it was sent last, in our stream.
    heard: MediaTime,
}

#[derive(Debug, Clone, Copy)]
struct Stroke {
    ssrc: Ssrc,
    /// When it begins, in their stream and in ours.
    theirs: MediaTime,
    ours: MediaTime,
    newest: SeqNo,
    /// Whether the key is down.
    down: bool,
}

impl RelayedKeys {
    /// Our time and duration of the packet with `header`, if it is to be sent; a stroke that begins with it begins at
    /// `present`, which counts at `clock`.
    pub(crate) fn stamp(
        &mut self,
        header: &Header,
        told: Told,
        clocks: Clocks,
        present: MediaTime,
        clock: u32,
    ) -> Option<(MediaTime, u16)> {
        let since = present.distance_from(self.heard).unsigned_abs();
        let is_recent = since < clock / 1000 * PATIENCE_MS;
        let (stroke, past) = match self.latest.map(|latest| (latest, latest.past(header))) {
            Some((latest, Some(past))) => (latest, past),
            Some((latest, None)) if latest.ssrc == header.ssrc => {
                if LATE.contains(&header.seq.distance_from(latest.newest)) {
                    return None;
                }
                (Stroke::new(header, present), 0)
            }
            // The end of another's is likely one of those that are said again.
            Some((latest, None)) if is_recent && (latest.down || told.end) => return None,
            Some((_, None)) | None => (Stroke::new(header, present), 0),
        };
        let newest = match header.seq.distance_from(stroke.newest) > 0 {
            true => header.seq,
            false => stroke.newest,
        };
        self.latest = Some(Stroke { newest, down: stroke.down && !told.end, ..stroke });
        self.heard = present;
        let units = clocks.scale(past * SEGMENT + u32::from(told.duration));
        let segment = units.saturating_sub(1) / SEGMENT;
        let duration = u16::try_from(units - segment * SEGMENT).unwrap_or(u16::MAX);
        Some((stroke.ours.plus(segment * SEGMENT), duration))
    }
}

impl Stroke {
    /// One that begins with the packet of `header`.
    fn new(header: &Header, ours: MediaTime) -> Self {
        Self { ssrc: header.ssrc, theirs: header.timestamp, ours, newest: header.seq, down: true }
    }

    /// How many segments of the stroke are over with the packet of `header`, if it is of this stroke.
    fn past(&self, header: &Header) -> Option<u32> {
        let since = u32::try_from(header.timestamp.distance_from(self.theirs)).ok()?;
        let is_of_it = self.ssrc == header.ssrc && since % SEGMENT == 0 && since / SEGMENT <= MAX_SEGMENTS;
        is_of_it.then_some(since / SEGMENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAME: Clocks = Clocks { theirs: 8_000, ours: 8_000 };

    struct Sent {
        keys: RelayedKeys,
        /// Milliseconds.
        now: u32,
        /// What went out: our time, and duration.
        sent: Vec<(u32, u16)>,
    }

    impl Sent {
        fn new() -> Self {
            Self { keys: RelayedKeys::default(), now: 0, sent: Vec::new() }
        }

        /// 20 ms pass; then this comes. Our time is the milliseconds times 8.
        fn hears(&mut self, ssrc: u32, seq: u16, timestamp: u32, end: bool, duration: u16, clocks: Clocks) {
            self.now += 20;
            let present = MediaTime(self.now * 8);
            let header = Header {
                marker: false,
                pt: 101,
                seq: SeqNo(seq),
                timestamp: MediaTime(timestamp),
                ssrc: Ssrc(ssrc),
            };
            let stamped = self.keys.stamp(&header, Told { end, duration }, clocks, present, 8_000);
            self.sent.extend(stamped.map(|(time, duration)| (time.0, duration)));
        }
    }

    /// How many strokes the far side takes it for.
    fn strokes(sent: &Sent) -> usize {
        let mut times: Vec<u32> = sent.sent.iter().map(|(time, _)| *time).collect();
        times.dedup();
        times.len()
    }

    #[test]
    fn a_late_end_is_no_new_stroke() {
        let mut sent = Sent::new();
        sent.hears(1, 10, 0, false, 160, SAME);
        sent.hears(1, 11, 0, true, 320, SAME);
        sent.hears(1, 13, 900, false, 160, SAME);
        sent.hears(1, 12, 0, true, 320, SAME);
        sent.hears(1, 14, 900, true, 320, SAME);
        assert_eq!(strokes(&sent), 2, "{:?}", sent.sent);
    }

    #[test]
    fn two_who_press_at_once_are_two_strokes_one_after_the_other() {
        let mut sent = Sent::new();
        for n in 1..=4 {
            sent.hears(1, n, 0, n == 4, n * 160, SAME);
            sent.hears(2, 500 + n, 70_000, false, n * 160, SAME);
        }
        sent.hears(1, 5, 0, true, 640, SAME);
        sent.hears(2, 505, 70_000, true, 800, SAME);
        sent.hears(1, 6, 0, true, 640, SAME);
        assert_eq!(strokes(&sent), 2, "{:?}", sent.sent);
        assert_eq!(sent.sent.last().unwrap().1, 800);
    }

    #[test]
    fn who_falls_silent_with_his_key_down_keeps_nobody_waiting() {
        let mut sent = Sent::new();
        sent.hears(1, 1, 0, false, 160, SAME);
        sent.now += PATIENCE_MS;
        sent.hears(2, 1, 77, true, 160, SAME);
        assert_eq!(strokes(&sent), 2);
    }

    #[test]
    fn durations_are_brought_to_our_clock() {
        let mut sent = Sent::new();
        sent.hears(1, 1, 0, false, 960, Clocks { theirs: 48_000, ours: 8_000 });
        sent.hears(1, 2, 5_000, true, 160, Clocks { theirs: 8_000, ours: 48_000 });
        assert_eq!(sent.sent.iter().map(|(_, duration)| *duration).collect::<Vec<_>>(), [160, 960]);
    }

    #[test]
    fn a_long_stroke_has_more_segments_in_a_faster_clock_and_fewer_in_a_slower_one() {
        let up = Clocks { theirs: 8_000, ours: 48_000 };
        let mut sent = Sent::new();
        // Two seconds of 8 kHz are 96,000 units of ours.
        sent.hears(1, 1, 0, false, 10_000, up);
        sent.hears(1, 2, 0, true, 16_000, up);
        let (begin, _) = sent.sent[0];
        assert_eq!(sent.sent[1], (begin + SEGMENT, (96_000 - SEGMENT) as u16));

        let down = Clocks { theirs: 48_000, ours: 8_000 };
        let mut sent = Sent::new();
        sent.hears(1, 1, 9, false, 0xFFFF, down);
        sent.hears(1, 2, 9 + SEGMENT, true, 30_465, down);
        let (begin, _) = sent.sent[0];
        assert_eq!(sent.sent[1], (begin, 16_000));
    }

    #[test]
    fn a_source_that_was_forgotten_or_has_begun_anew_is_heard() {
        let mut sent = Sent::new();
        for ssrc in 1..=5 {
            sent.hears(ssrc, 40_000, 0, true, 160, SAME);
            sent.now += PATIENCE_MS;
        }
        sent.hears(5, 7, 300, true, 160, SAME);
        assert_eq!(strokes(&sent), 6, "{:?}", sent.sent);
    }
}
