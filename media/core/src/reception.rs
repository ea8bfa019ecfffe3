//! What arrives from one peer, counted as RFC 3550 counts it (appendices A.1, A.3 and A.8).

use std::time::Instant;

use crate::rtcp::ReportBlock;
use crate::rtp::Header;
use crate::{SeqNo, Ssrc};

/// A.1: packets in sequence before a source is believed.
const MIN_SEQUENTIAL: u8 = 2;
/// Packets in sequence of another source, none of ours between them, before it takes the place of ours: more than ours loses
/// in a row when two send at once.
const TAKES_OVER: u8 = 5;
/// A.1: largest gap forward that is loss and not a restart.
const MAX_DROPOUT: u16 = 3000;
/// A.1: largest step back that is reordering and not a restart.
const MAX_MISORDER: u16 = 100;

/// Counters of everything received, over all sources and restarts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Totals {
    pub(crate) received: u64,
    pub(crate) lost: u64,
    /// Runs of packets missing one after the other, when they were first missed.
    pub(crate) gaps: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) jitter_ms: f32,
}

/// Reception from one peer, whatever sources it uses one after the other. One is measured at a time, and of two that send at
/// once the first; all that comes is counted.
#[derive(Debug, Default)]
pub(crate) struct Reception {
    source: Option<Source>,
    /// Another source that has sent since the last packet of this one: what it would go on with, and how many were in
    /// sequence.
    candidate: Option<(Ssrc, SeqNo, u8)>,
    /// Of sources and sequences that are over.
    closed: Totals,
    /// Of packets before the source was believed or after a jump that was not confirmed.
    unconfirmed: u64,
}

/// One synchronisation source.
#[derive(Debug)]
struct Source {
    ssrc: Ssrc,
    standing: Standing,
    jitter: Jitter,
}

#[derive(Debug)]
enum Standing {
    /// Not yet [`MIN_SEQUENTIAL`] packets in sequence.
    Probation {
        in_sequence: u8,
        last: SeqNo,
    },
    Valid(Sequence),
}

/// An unbroken numbering.
#[derive(Debug)]
struct Sequence {
    base: SeqNo,
    highest: SeqNo,
    /// Wraps of the sequence number, shifted to the upper 16 bits.
    cycles: u32,
    /// Bit `n`: packet `highest - n` has arrived.
    window: u64,
    /// Where a restarted sequence would go on.
    restart: Option<SeqNo>,
    gaps: u32,
    received: u32,
    duplicated: u32,
    reordered: u32,
    expected_prior: u32,
    received_prior: u32,
}

/// Interarrival jitter (A.8).
#[derive(Debug, Default)]
struct Jitter {
    /// Arrival of the first packet: the origin of arrival times.
    origin: Option<Instant>,
    transit: Option<u32>,
    /// Sixteen times the estimate, in timestamp units.
    scaled: u32,
    clock: u32,
}

impl Reception {
    /// Counts one packet. `clock` is the timestamp rate of `header`, or `None` when its timestamp does not follow the
    /// sampling instant (all packets of an RFC 4733 event carry the time of its start) and so says nothing of jitter.
    pub(crate) fn receive(&mut self, now: Instant, header: &Header, clock: Option<u32>) {
        let is_other = self.source.as_ref().is_some_and(|source| source.ssrc != header.ssrc);
        if is_other {
            self.unconfirmed += 1;
            // Events may have a source of their own beside the sound's.
            let Some(clock) = clock else { return };
            let in_sequence = match self.candidate {
                Some((ssrc, seq, in_sequence)) if (ssrc, seq) == (header.ssrc, header.seq) => in_sequence + 1,
                Some(_) | None => 1,
            };
            self.candidate = Some((header.ssrc, header.seq.next(), in_sequence));
            if in_sequence >= TAKES_OVER {
                self.close();
                self.unconfirmed -= u64::from(MIN_SEQUENTIAL);
                let source = self.source.insert(Source::new(header.ssrc));
                source.standing = Standing::Valid(Sequence::confirmed_at(header.seq));
                source.jitter.receive(now, header.timestamp.0, clock);
            }
            return;
        }
        self.candidate = None;
        let source = self.source.get_or_insert_with(|| Source::new(header.ssrc));
        match &mut source.standing {
            Standing::Probation { in_sequence, last } => {
                *in_sequence = if header.seq == last.next() { *in_sequence + 1 } else { 1 };
                *last = header.seq;
                self.unconfirmed += 1;
                if *in_sequence >= MIN_SEQUENTIAL {
                    // Unlike A.1, the packets that passed the probation count as received: they were.
                    self.unconfirmed -= u64::from(MIN_SEQUENTIAL);
                    source.standing = Standing::Valid(Sequence::confirmed_at(header.seq));
                }
            }
            Standing::Valid(sequence) => match sequence.place(header.seq) {
                Place::Counted => {}
                Place::Jump => self.unconfirmed += 1,
                Place::Restart => {
                    self.unconfirmed -= 1;
                    sequence.close_into(&mut self.closed);
                    *sequence = Sequence::confirmed_at(header.seq);
                }
            },
        }
        if let Some(clock) = clock {
            source.jitter.receive(now, header.timestamp.0, clock);
        }
    }

    /// The report block on the source, without its sender report members; starts the next reporting interval (A.3). `None`
    /// if nothing has come since the last one (6.4: one block for each source that has been received from since).
    pub(crate) fn report(&mut self) -> Option<ReportBlock> {
        let source = self.source.as_mut()?;
        match &mut source.standing {
            Standing::Probation { .. } => None,
            Standing::Valid(sequence) if sequence.received == sequence.received_prior => None,
            Standing::Valid(sequence) => {
                let expected = sequence.expected();
                let expected_interval = expected.wrapping_sub(sequence.expected_prior);
                let received_interval = sequence.received.wrapping_sub(sequence.received_prior);
                sequence.expected_prior = expected;
                sequence.received_prior = sequence.received;
                let lost_interval = expected_interval.saturating_sub(received_interval);
                let fraction_lost = match expected_interval {
                    0 => 0,
                    // At most 255 when not a packet came.
                    expected => (u64::from(lost_interval) * 256 / u64::from(expected)).min(255) as u8,
                };
                Some(ReportBlock {
                    ssrc: source.ssrc,
                    fraction_lost,
                    cumulative_lost: expected.wrapping_sub(sequence.received) as i32,
                    highest_seq: sequence.cycles | u32::from(sequence.highest.0),
                    jitter: source.jitter.scaled >> 4,
                    lsr: 0,
                    dlsr: 0,
                })
            }
        }
    }

    /// The source says that it leaves (RFC 3550, 6.3.4): what comes next, even under its name, is another stream.
    pub(crate) fn leave(&mut self, ssrc: Ssrc) {
        if self.source.as_ref().is_some_and(|source| source.ssrc == ssrc) {
            self.close();
        }
    }

    /// Everything so far.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = self.closed;
        if let Some(source) = &self.source {
            match &source.standing {
                Standing::Probation { .. } => {}
                Standing::Valid(sequence) => sequence.close_into(&mut totals),
            }
            totals.jitter_ms = source.jitter.ms().unwrap_or(totals.jitter_ms);
        }
        totals.received += self.unconfirmed;
        totals
    }

    /// Adds up the source that is over.
    fn close(&mut self) {
        let Totals { received, lost, gaps, duplicated, reordered, jitter_ms } = self.totals();
        let received = received - self.unconfirmed;
        self.closed = Totals { received, lost, gaps, duplicated, reordered, jitter_ms };
        self.source = None;
        self.candidate = None;
    }
}

impl Source {
    fn new(ssrc: Ssrc) -> Self {
        let standing = Standing::Probation { in_sequence: 0, last: SeqNo::default() };
        Self { ssrc, standing, jitter: Jitter::default() }
    }
}

enum Place {
    /// In sequence, after a gap, late or a duplicate.
    Counted,
    /// Far away: lost track, or a stray packet.
    Jump,
    /// The second packet of a new numbering.
    Restart,
}

impl Sequence {
    /// A numbering whose first [`MIN_SEQUENTIAL`] packets end with `seq`.
    fn confirmed_at(seq: SeqNo) -> Self {
        let before = MIN_SEQUENTIAL - 1;
        Self {
            base: SeqNo(seq.0.wrapping_sub(u16::from(before))),
            highest: seq,
            cycles: if seq.0 < u16::from(before) { 1 << 16 } else { 0 },
            window: (1 << MIN_SEQUENTIAL) - 1,
            restart: None,
            gaps: 0,
            received: u32::from(MIN_SEQUENTIAL),
            duplicated: 0,
            reordered: 0,
            expected_prior: 0,
            received_prior: 0,
        }
    }

    fn place(&mut self, seq: SeqNo) -> Place {
        let ahead = seq.0.wrapping_sub(self.highest.0);
        let behind = self.highest.0.wrapping_sub(seq.0);
        if ahead == 0 {
            self.duplicated += 1;
        } else if ahead < MAX_DROPOUT {
            if seq.0 < self.highest.0 {
                self.cycles = self.cycles.wrapping_add(1 << 16);
            }
            self.highest = seq;
            self.gaps += u32::from(ahead > 1);
            self.window = self.window.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
        } else if behind <= MAX_MISORDER {
            match 1_u64.checked_shl(u32::from(behind)) {
                Some(bit) if self.window & bit != 0 => self.duplicated += 1,
                Some(bit) => {
                    self.window |= bit;
                    self.reordered += 1;
                }
                None => self.reordered += 1,
            }
        } else if self.restart == Some(seq) {
            return Place::Restart;
        } else {
            self.restart = Some(seq.next());
            return Place::Jump;
        }
        self.received = self.received.wrapping_add(1);
        Place::Counted
    }

    fn expected(&self) -> u32 {
        (self.cycles | u32::from(self.highest.0)).wrapping_sub(u32::from(self.base.0)).wrapping_add(1)
    }

    fn close_into(&self, totals: &mut Totals) {
        totals.received += u64::from(self.received);
        let once = self.received.saturating_sub(self.duplicated);
        totals.lost += u64::from(self.expected().saturating_sub(once));
        totals.gaps += u64::from(self.gaps);
        totals.duplicated += u64::from(self.duplicated);
        totals.reordered += u64::from(self.reordered);
    }
}

impl Jitter {
    fn receive(&mut self, now: Instant, timestamp: u32, clock: u32) {
        // In another clock the transit has another origin.
        if clock != self.clock {
            *self = Self { clock, ..Self::default() };
        }
        let origin = *self.origin.get_or_insert(now);
        let elapsed = now.saturating_duration_since(origin);
        let arrival = elapsed.as_micros() as u64 * u64::from(clock) / 1_000_000;
        let transit = (arrival as u32).wrapping_sub(timestamp);
        if let Some(previous) = self.transit.replace(transit) {
            // A.8, in integers: J += |D| - (J + 8) / 16, with J kept sixteenfold.
            let d = (transit.wrapping_sub(previous) as i32).unsigned_abs();
            self.scaled = self.scaled.saturating_add(d).saturating_sub(self.scaled.saturating_add(8) >> 4);
        }
    }

    fn ms(&self) -> Option<f32> {
        self.transit.map(|_| self.scaled as f32 / 16.0 / (self.clock as f32 / 1000.0))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::MediaTime;

    const CLOCK: u32 = 8000;

    /// Feeds sequence numbers as packets exactly 20 ms apart.
    fn feed(reception: &mut Reception, ssrc: u32, seqs: impl IntoIterator<Item = u16>) {
        let start = crate::epoch();
        for (n, seq) in seqs.into_iter().enumerate() {
            let n = n as u32;
            let header = Header {
                marker: false,
                pt: 0,
                seq: SeqNo(seq),
                timestamp: MediaTime(n * 160),
                ssrc: Ssrc(ssrc),
            };
            reception.receive(start + Duration::from_millis(20) * n, &header, Some(CLOCK));
        }
    }

    fn totals_of(seqs: impl IntoIterator<Item = u16>) -> Totals {
        let mut reception = Reception::default();
        feed(&mut reception, 1, seqs);
        Totals { gaps: 0, ..reception.totals() }
    }

    fn totals(received: u64, lost: u64, duplicated: u64, reordered: u64) -> Totals {
        // How often packets were missed is the subject of a test of its own.
        Totals { received, lost, gaps: 0, duplicated, reordered, jitter_ms: 0.0 }
    }

    #[test]
    fn everything_in_order() {
        assert_eq!(totals_of(100..200), totals(100, 0, 0, 0));
    }

    #[test]
    fn nothing_and_one() {
        assert_eq!(Reception::default().totals(), totals(0, 0, 0, 0));
        assert_eq!(totals_of([5]), totals(1, 0, 0, 0), "received, though not yet believed");
    }

    #[test]
    fn wrapping_is_no_loss() {
        assert_eq!(totals_of((65530..=65535).chain(0..10)), totals(16, 0, 0, 0));
        assert_eq!(totals_of((65535..=65535).chain(0..10)), totals(11, 0, 0, 0), "wrap inside the probation");
        let mut reception = Reception::default();
        feed(&mut reception, 1, (65530..=65535).chain(0..10));
        assert_eq!(reception.report().unwrap().highest_seq, 1 << 16 | 9);
    }

    #[test]
    fn loss_duplicates_and_reordering_are_told_apart() {
        assert_eq!(totals_of([1, 2, 3, 6, 7]), totals(5, 2, 0, 0));
        assert_eq!(totals_of([1, 2, 3, 3, 2, 4, 4, 4]), totals(8, 0, 4, 0));
        assert_eq!(totals_of([1, 2, 4, 3, 5]), totals(5, 0, 0, 1));
        assert_eq!(totals_of([1, 2, 4, 3, 3, 6]), totals(6, 1, 1, 1));
        assert_eq!(
            totals_of((0..100).chain([20])),
            totals(101, 0, 0, 1),
            "beyond the window: held to be late"
        );
    }

    #[test]
    fn probation_starts_again_until_two_in_sequence() {
        assert_eq!(totals_of([10, 50, 51, 52]), totals(4, 0, 0, 0));
    }

    #[test]
    fn a_stray_packet_is_no_loss_and_two_in_sequence_are_a_restart() {
        assert_eq!(totals_of((0..50).chain([30_000]).chain(50..60)), totals(61, 0, 0, 0));
        assert_eq!(totals_of((0..50).chain([52]).chain(30_000..30_010)), totals(61, 2, 0, 0));
    }

    #[test]
    fn losses_in_a_row_are_one_gap() {
        let mut reception = Reception::default();
        feed(&mut reception, 1, [1, 2, 4, 5, 9, 10]);
        assert_eq!((reception.totals().lost, reception.totals().gaps), (4, 2));
    }

    #[test]
    fn a_source_that_left_and_comes_back_has_lost_nothing_meanwhile() {
        let mut reception = Reception::default();
        feed(&mut reception, 1, 1..10);
        reception.leave(Ssrc(2));
        assert!(reception.report().is_some(), "somebody else");
        reception.leave(Ssrc(1));
        assert_eq!(reception.report(), None);
        feed(&mut reception, 1, 500..505);
        assert_eq!((reception.totals().received, reception.totals().lost), (14, 0));
    }

    #[test]
    fn another_source_starts_anew_and_the_totals_go_on() {
        let mut reception = Reception::default();
        feed(&mut reception, 1, [1, 2, 4]);
        feed(&mut reception, 2, 40_000..40_005);
        assert_eq!(Totals { gaps: 0, ..reception.totals() }, totals(8, 1, 0, 0));
        let block = reception.report().unwrap();
        assert_eq!((block.ssrc, block.cumulative_lost, block.highest_seq), (Ssrc(2), 0, 40_004));
    }

    #[test]
    fn of_two_sources_at_once_the_first_is_measured() {
        let start = crate::epoch();
        let packet = |reception: &mut Reception, n: u32, ssrc, seq: u32, clock| {
            let (seq, timestamp) = (SeqNo(seq as u16), MediaTime(n * 160));
            let header = Header { marker: false, pt: 0, seq, timestamp, ssrc: Ssrc(ssrc) };
            reception.receive(start + Duration::from_millis(20) * n, &header, clock);
        };
        let mut reception = Reception::default();
        // Of the first every third packet is lost.
        for n in 0..300 {
            if n % 3 != 2 {
                packet(&mut reception, n, 1, n, Some(CLOCK));
            }
            packet(&mut reception, n, 2, 500 + n, Some(CLOCK));
        }
        assert_eq!((reception.totals().received, reception.totals().lost), (500, 99));
        assert_eq!(reception.report().map(|block| block.ssrc), Some(Ssrc(1)));
        // The first is over, and the keys of a third change nothing.
        for n in 300..400 {
            packet(&mut reception, n, 2, 500 + n, Some(CLOCK));
            packet(&mut reception, n, 3, 90 + n, None);
        }
        assert_eq!((reception.totals().received, reception.totals().lost), (700, 99));
        assert_eq!(reception.report().map(|block| block.ssrc), Some(Ssrc(2)));
    }

    #[test]
    fn another_clock_is_no_jitter() {
        let mut reception = Reception::default();
        let start = crate::epoch();
        for n in 0..100_u32 {
            let (units, clock) = if n < 50 { (160, 8_000) } else { (960, 48_000) };
            let timestamp = MediaTime(n * units);
            let header = Header { marker: false, pt: 0, seq: SeqNo(n as u16), timestamp, ssrc: Ssrc(1) };
            reception.receive(start + Duration::from_millis(20) * n, &header, Some(clock));
            assert_eq!(reception.totals().jitter_ms, 0.0, "packet {n}");
        }
    }

    #[test]
    fn report_counts_the_interval_and_the_whole() {
        let mut reception = Reception::default();
        assert_eq!(reception.report(), None);
        feed(&mut reception, 1, [0, 1, 2, 3, 4, 5, 8, 9]);
        let block = reception.report().unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (51, 2), "two of ten, in 1/256");
        feed(&mut reception, 1, 10..20);
        let block = reception.report().unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 2));
        assert_eq!(reception.report(), None, "nothing has come since");
        feed(&mut reception, 1, [19, 19, 19]);
        let block = reception.report().unwrap();
        assert_eq!(
            (block.fraction_lost, block.cumulative_lost),
            (0, -1),
            "duplicates count as received (A.3)"
        );
    }

    #[test]
    fn jitter_follows_the_formula() {
        // Packets alternately on time and 10 ms late: |D| is 80 units from the second packet on.
        let start = crate::epoch();
        let mut reception = Reception::default();
        let mut model = 0.0_f64;
        for n in 0..200_u32 {
            let late = Duration::from_millis(if n % 2 == 1 { 10 } else { 0 });
            let header = Header {
                marker: false,
                pt: 0,
                seq: SeqNo(n as u16),
                timestamp: MediaTime((n * 160).wrapping_sub(1000)),
                ssrc: Ssrc(1),
            };
            reception.receive(start + Duration::from_millis(20) * n + late, &header, Some(CLOCK));
            if n > 0 {
                model += (80.0 - model) / 16.0;
            }
        }
        assert!((f64::from(reception.totals().jitter_ms) - model / 8.0).abs() < 0.1);
        // An event packet with its old timestamp leaves the jitter alone.
        let before = reception.totals().jitter_ms;
        let header =
            Header { marker: true, pt: 101, seq: SeqNo(200), timestamp: MediaTime(5), ssrc: Ssrc(1) };
        reception.receive(start + Duration::from_secs(9), &header, None);
        assert_eq!(reception.totals().jitter_ms, before);
    }
}
