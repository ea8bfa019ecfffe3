//! Receiving DTMF digits as RTP events (RFC 4733): one key stroke for each digit, whatever happens to its packets.
//!
//! All packets of an event carry the RTP timestamp of its start, which tells one stroke from the next; the sequence number
//! tells a late packet from a new stroke. A stroke is over at its first E bit, or else when another event begins or
//! packets stop coming. Several events packed into one packet (2.5.1.5) do not occur with DTMF: only the first is read.

use std::time::{Duration, Instant};

use crate::dtmf::Key;
use crate::rtp::Packet;
use crate::{Digit, MediaTime, Ptime, SeqNo};

/// The recommended interval between updates of a running event (RFC 4733, 2.5.1.2); three of them in a row without a packet
/// mean that it is over and its end was lost.
const UPDATE_INTERVAL: Duration = Duration::from_millis(50);
const LOST_UPDATES: u32 = 3;
/// The longest duration a packet can express; a longer event goes on as a further segment (2.5.1.3).
const LONGEST_SEGMENT: i32 = 0xFFFF;
/// After this long without a packet of the last event, a packet with the marker bit begins a stroke whatever its numbers
/// say: peers that play recorded digits (test tools, announcement servers) repeat numbers and step back in them. Longer
/// than a late packet takes that any jitter buffer would wait for.
const QUIET: Duration = Duration::from_millis(250);
/// Sequence numbers at most this far back are late packets (RFC 3550, A.1: MAX_MISORDER), others a restarted stream.
const LATE: std::ops::Range<i16> = -100..0;

/// The receiver of one stream of events.
#[derive(Debug, Default)]
pub(crate) struct Receiver(State);

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Down(Stroke),
    /// The last stroke, remembered for its retransmissions.
    Up {
        stroke: Stroke,
        ended: Ended,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// By the E bit.
    Said,
    /// Because packets stopped coming.
    Inferred,
}

#[derive(Debug, Clone, Copy)]
struct Stroke {
    digit: Digit,
    /// RTP timestamp of the current segment.
    segment: MediaTime,
    /// Timestamp units of the segments before.
    before: u32,
    /// Timestamp units of the current segment so far.
    duration: u16,
    clock: u32,
    newest: SeqNo,
    heard: Instant,
}

/// The payload of an event packet (RFC 4733, 2.3).
#[derive(Debug, Clone, Copy)]
struct Event {
    digit: Digit,
    end: bool,
    duration: u16,
}

impl Event {
    /// `None` for what is malformed or no digit.
    fn parse(payload: &[u8]) -> Option<Self> {
        let [code, flags, d0, d1, ..] = *payload else { return None };
        let digit = Digit::from_event_code(code)?;
        Some(Self { digit, end: flags & 0x80 != 0, duration: u16::from_be_bytes([d0, d1]) })
    }
}

/// What one packet can bring about, in order: the end of the stroke before, a stroke's beginning, and its end.
pub(crate) type Keys = [Option<Key>; 3];
const NOTHING: Keys = [None; 3];

impl Receiver {
    /// Takes an event packet whose timestamps run at `clock`.
    pub(crate) fn receive(&mut self, now: Instant, packet: &Packet<'_>, clock: u32) -> Keys {
        let Some(event) = Event::parse(packet.payload) else { return NOTHING };
        let header = &packet.header;
        let (stroke, ended) = match &mut self.0 {
            State::Idle => return self.press(now, packet, event, clock, None),
            State::Down(stroke) => (stroke, None),
            State::Up { stroke, ended } => (stroke, Some(*ended)),
        };
        let begins = header.marker && !event.end && now.saturating_duration_since(stroke.heard) >= QUIET;
        if begins && ended == Some(Ended::Said) {
            return self.press(now, packet, event, clock, None);
        }
        if header.timestamp == stroke.segment {
            // A further packet of the same stroke: the timestamp alone decides.
            stroke.duration = stroke.duration.max(event.duration);
        } else if !begins && LATE.contains(&header.seq.distance_from(stroke.newest)) {
            return NOTHING;
        } else if ended != Some(Ended::Said) && stroke.continues_in(header.timestamp, event.digit) {
            stroke.before = stroke.before.saturating_add(header.timestamp.0.wrapping_sub(stroke.segment.0));
            stroke.segment = header.timestamp;
            stroke.duration = event.duration;
        } else {
            let unfinished = ended.is_none().then(|| stroke.up());
            return self.press(now, packet, event, clock, unfinished);
        }
        if header.seq.distance_from(stroke.newest) > 0 {
            stroke.newest = header.seq;
        }
        stroke.heard = now;
        match (ended, event.end) {
            (None, true) => [None, None, self.release(Ended::Said)],
            (None, false) | (Some(_), _) => NOTHING,
        }
    }

    /// Ends a stroke whose end was lost.
    pub(crate) fn handle_timeout(&mut self, now: Instant, ptime: Ptime) -> Option<Key> {
        let patience = ptime.duration().max(UPDATE_INTERVAL) * LOST_UPDATES;
        match &self.0 {
            State::Down(stroke) if now.saturating_duration_since(stroke.heard) >= patience => {
                self.release(Ended::Inferred)
            }
            State::Idle | State::Down(_) | State::Up { .. } => None,
        }
    }

    /// Ends the stroke if there is one.
    pub(crate) fn flush(&mut self) -> Option<Key> {
        self.release(Ended::Inferred)
    }

    /// Whether a key is down.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.0, State::Down(_))
    }

    fn press(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        event: Event,
        clock: u32,
        unfinished: Option<Key>,
    ) -> Keys {
        self.0 = State::Down(Stroke {
            digit: event.digit,
            segment: packet.header.timestamp,
            before: 0,
            duration: event.duration,
            clock,
            newest: packet.header.seq,
            heard: now,
        });
        let up = if event.end { self.release(Ended::Said) } else { None };
        [unfinished, Some(Key::Down(event.digit)), up]
    }

    fn release(&mut self, ended: Ended) -> Option<Key> {
        let State::Down(stroke) = self.0 else { return None };
        self.0 = State::Up { stroke, ended };
        Some(stroke.up())
    }
}

impl Stroke {
    /// Whether an event of `digit` at `timestamp` is a further segment: it begins where this one stops.
    fn continues_in(&self, timestamp: MediaTime, digit: Digit) -> bool {
        let distance = timestamp.distance_from(self.segment);
        digit == self.digit && (distance == i32::from(self.duration) || distance == LONGEST_SEGMENT)
    }

    fn up(&self) -> Key {
        let units = u64::from(self.before) + u64::from(self.duration);
        let ms = units * 1000 / u64::from(self.clock.max(1));
        Key::Up { digit: self.digit, duration_ms: u16::try_from(ms).unwrap_or(u16::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Ssrc;
    use crate::rtp::Header;

    const CLOCK: u32 = 8000;

    /// One event packet on the wire.
    #[derive(Debug, Clone, Copy)]
    struct Sent {
        seq: u16,
        timestamp: u32,
        code: u8,
        end: bool,
        duration: u16,
        marker: bool,
    }

    fn sent(seq: u16, timestamp: u32, code: u8, end: bool, duration: u16) -> Sent {
        Sent { seq, timestamp, code, end, duration, marker: false }
    }

    struct Ear {
        receiver: Receiver,
        start: Instant,
        keys: Vec<Key>,
    }

    impl Ear {
        fn new() -> Self {
            Self { receiver: Receiver::default(), start: crate::epoch(), keys: Vec::new() }
        }

        fn hear(&mut self, ms: u64, sent: Sent) {
            let [d0, d1] = sent.duration.to_be_bytes();
            let payload = [sent.code, if sent.end { 0x80 } else { 0 } | 10, d0, d1];
            let (seq, timestamp) = (SeqNo(sent.seq), MediaTime(sent.timestamp));
            let header = Header { marker: sent.marker, pt: 101, seq, timestamp, ssrc: Ssrc(1) };
            let now = self.start + Duration::from_millis(ms);
            let packet = Packet { header, payload: &payload };
            self.keys.extend(self.receiver.receive(now, &packet, CLOCK).into_iter().flatten());
        }

        fn wait_until(&mut self, ms: u64) {
            let now = self.start + Duration::from_millis(ms);
            self.keys.extend(self.receiver.handle_timeout(now, Ptime::DEFAULT));
        }
    }

    fn heard(packets: &[Sent]) -> Vec<Key> {
        let mut ear = Ear::new();
        for (n, packet) in packets.iter().enumerate() {
            ear.hear(n as u64 * 20, *packet);
        }
        ear.keys
    }

    fn up(digit: Digit, duration_ms: u16) -> Key {
        Key::Up { digit, duration_ms }
    }

    #[test]
    fn a_digit_and_its_retransmitted_end_is_one_stroke() {
        let packets: Vec<Sent> = (0..5).map(|n| sent(n, 800, 5, false, 160 * (n + 1))).collect();
        let ends = (5..8).map(|n| sent(n, 800, 5, true, 960));
        let keys = heard(&packets.into_iter().chain(ends).collect::<Vec<_>>());
        assert_eq!(keys, [Key::Down(Digit::D5), up(Digit::D5, 120)]);
    }

    #[test]
    fn a_lone_end_is_a_stroke() {
        assert_eq!(heard(&[sent(9, 1, 11, true, 800)]), [Key::Down(Digit::Pound), up(Digit::Pound, 100)]);
    }

    #[test]
    fn without_an_end_the_next_event_ends_it() {
        let keys =
            heard(&[sent(1, 0, 1, false, 160), sent(2, 0, 1, false, 320), sent(9, 4000, 1, true, 480)]);
        assert_eq!(keys, [Key::Down(Digit::D1), up(Digit::D1, 40), Key::Down(Digit::D1), up(Digit::D1, 60)]);
    }

    #[test]
    fn without_an_end_silence_ends_it() {
        let mut ear = Ear::new();
        ear.hear(0, sent(1, 0, 1, false, 160));
        ear.wait_until(149);
        assert_eq!(ear.keys, [Key::Down(Digit::D1)]);
        assert!(ear.receiver.is_down());
        ear.wait_until(150);
        ear.wait_until(500);
        assert_eq!(ear.keys, [Key::Down(Digit::D1), up(Digit::D1, 20)]);
        // What comes of it later is old news.
        ear.hear(600, sent(5, 0, 1, true, 800));
        assert_eq!(ear.keys.len(), 2);
    }

    #[test]
    fn late_packets_of_an_earlier_digit_are_ignored() {
        let keys = heard(&[
            sent(1, 0, 1, true, 160),
            sent(5, 4000, 2, false, 160),
            sent(2, 0, 1, true, 160),
            sent(6, 4000, 2, true, 320),
            sent(3, 0, 1, true, 160),
        ]);
        assert_eq!(keys, [Key::Down(Digit::D1), up(Digit::D1, 20), Key::Down(Digit::D2), up(Digit::D2, 40)]);
    }

    #[test]
    fn the_end_may_overtake() {
        let keys = heard(&[sent(3, 0, 7, true, 480), sent(1, 0, 7, false, 160), sent(2, 0, 7, false, 320)]);
        assert_eq!(keys, [Key::Down(Digit::D7), up(Digit::D7, 60)]);
    }

    #[test]
    fn a_key_held_for_twenty_seconds_is_one_stroke() {
        let keys = heard(&[
            sent(1, 100, 9, false, 160),
            sent(2, 100, 9, false, 0xFFFF),
            sent(3, 100 + 0xFFFF, 9, false, 160),
            // The last packet of the second segment is lost.
            sent(5, 100 + 2 * 0xFFFF, 9, false, 28_930),
            sent(6, 100 + 2 * 0xFFFF, 9, true, 28_930),
        ]);
        assert_eq!(keys, [Key::Down(Digit::D9), up(Digit::D9, 20_000)]);
    }

    #[test]
    fn segments_of_a_stroke_that_was_given_up_stay_part_of_it() {
        let mut ear = Ear::new();
        ear.hear(0, sent(1, 0, 9, false, 0xFFFF));
        ear.wait_until(200);
        ear.hear(220, sent(9, 0xFFFF, 9, false, 1600));
        ear.hear(240, sent(10, 0xFFFF, 9, true, 1760));
        assert_eq!(ear.keys, [Key::Down(Digit::D9), up(Digit::D9, 8191)]);
    }

    #[test]
    fn a_stream_that_starts_over_is_heard() {
        // Sequence and timestamp jump back, as when the peer's media source changes.
        let keys = heard(&[sent(40_000, 900_000, 1, true, 160), sent(7, 300, 2, true, 160)]);
        assert_eq!(keys, [Key::Down(Digit::D1), up(Digit::D1, 20), Key::Down(Digit::D2), up(Digit::D2, 20)]);
    }

    #[test]
    fn recorded_digits_are_heard_in_any_order_and_again() {
        // First sequence numbers and timestamps of SIPp's recordings of the keys 1, 2 and 3, each ten packets long.
        let recordings = [(1, 7984, 13_280), (2, 8042, 23_200), (3, 8087, 31_040)];
        let mut ear = Ear::new();
        let mut ms = 0;
        for key in [2, 1, 1, 3, 2, 2] {
            let (code, seq, timestamp) = recordings[key - 1];
            for n in 0..10 {
                let end = n >= 7;
                let duration = n.min(7) * 320;
                let packet = sent(seq + n.min(7), timestamp, code, end, duration);
                ear.hear(ms, Sent { marker: n == 0, ..packet });
                ms += 20;
            }
            ms += 300;
        }
        let digits = [Digit::D2, Digit::D1, Digit::D1, Digit::D3, Digit::D2, Digit::D2];
        let expected: Vec<Key> =
            digits.into_iter().flat_map(|digit| [Key::Down(digit), up(digit, 280)]).collect();
        assert_eq!(ear.keys, expected);
    }

    #[test]
    fn retransmitted_ends_that_were_held_up_are_no_new_stroke() {
        let mut ear = Ear::new();
        ear.hear(0, Sent { marker: true, ..sent(1, 0, 5, false, 160) });
        ear.hear(20, sent(2, 0, 5, true, 320));
        ear.hear(1500, sent(3, 0, 5, true, 320));
        ear.hear(1500, Sent { marker: true, ..sent(4, 0, 5, true, 320) });
        assert_eq!(ear.keys, [Key::Down(Digit::D5), up(Digit::D5, 40)]);
    }

    #[test]
    fn what_is_no_digit_is_ignored() {
        assert_eq!(heard(&[sent(1, 0, 16, true, 160), sent(2, 9, 255, true, 160)]), []);
        let header = Header { marker: false, pt: 101, seq: SeqNo(1), timestamp: MediaTime(0), ssrc: Ssrc(1) };
        let packet = Packet { header, payload: &[1, 0x80, 0] };
        assert_eq!(Receiver::default().receive(crate::epoch(), &packet, CLOCK), NOTHING);
    }

    /// A train of digits as a telephone sends it: updates every 20 ms, the end three times, 40 ms and more apart.
    fn train(digits: &[(u8, u16, u32)], first_seq: u16, first_time: u32) -> Vec<Vec<Sent>> {
        let (mut seq, mut timestamp) = (first_seq, first_time);
        digits
            .iter()
            .map(|&(code, updates, pause)| {
                let mut next_seq = || {
                    seq = seq.wrapping_add(1);
                    seq
                };
                let mut packets: Vec<Sent> =
                    (1..=updates).map(|n| sent(next_seq(), timestamp, code, false, n * 160)).collect();
                let duration = (updates + 1) * 160;
                packets.extend((0..3).map(|_| sent(next_seq(), timestamp, code, true, duration)));
                // Audio in the pause takes its sequence numbers.
                seq = seq.wrapping_add((pause / 160) as u16);
                timestamp = timestamp.wrapping_add(u32::from(duration) + pause);
                packets
            })
            .collect()
    }

    proptest! {
        #[test]
        fn every_digit_of_which_one_packet_arrives_is_heard_once(
            digits in prop::collection::vec((0u8..16, 1u16..20, (320u32..4000).prop_map(|p| p / 160 * 160)), 1..20),
            first_seq: u16,
            first_time: u32,
            fates in prop::collection::vec((0u8..10, 0u8..10, 0usize..4), 500),
        ) {
            let mut fates = fates.into_iter().cycle();
            let mut expected = Vec::new();
            let mut ear = Ear::new();
            let mut clock = 0;
            for packets in train(&digits, first_seq, first_time) {
                // Lose three in ten, but never all; double one in ten; let packets overtake within the digit.
                let mut arriving = Vec::new();
                for (n, packet) in packets.iter().enumerate() {
                    let (lost, doubled, shift) = fates.next().unwrap();
                    let spared = n + 1 == packets.len() && arriving.is_empty();
                    if lost >= 3 || spared {
                        arriving.push((n + shift, *packet));
                        if doubled == 0 {
                            arriving.push((n + 3 + shift, *packet));
                        }
                    }
                }
                arriving.sort_by_key(|(at, _)| *at);
                for (_, packet) in arriving {
                    clock += 20;
                    ear.wait_until(clock);
                    ear.hear(clock, packet);
                }
                expected.push(Digit::from_event_code(packets[0].code).unwrap());
            }
            ear.wait_until(clock + 1000);
            let heard: Vec<Digit> = ear.keys.iter().filter_map(|key| match key {
                Key::Up { digit, .. } => Some(*digit),
                Key::Down(_) => None,
            }).collect();
            prop_assert_eq!(heard, expected);
            prop_assert_eq!(ear.keys.len(), digits.len() * 2);
        }

        #[test]
        fn any_bytes_are_a_key_or_not(packets in prop::collection::vec((any::<(u16, u32)>(),
            prop::collection::vec(any::<u8>(), 0..6)), 0..40)) {
            let mut receiver = Receiver::default();
            let now = crate::epoch();
            for ((seq, timestamp), payload) in packets {
                let (seq, timestamp) = (SeqNo(seq), MediaTime(timestamp));
                let header = Header { marker: false, pt: 101, seq, timestamp, ssrc: Ssrc(1) };
                receiver.receive(now, &Packet { header, payload: &payload }, CLOCK);
            }
        }
    }
}
