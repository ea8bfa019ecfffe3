//! RTCP compound packets (RFC 3550, 6), read and written in place, and when to send them.

use std::time::{Duration, Instant};

use crate::{MediaTime, Ssrc};

const VERSION: u8 = 2;
const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
/// SDES item type of the canonical name.
const CNAME: u8 = 1;
const BLOCK_LEN: usize = 24;

/// What a sender says of itself (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// NTP timestamp, 32.32 fixed point.
    pub ntp: u64,
    /// The same instant on the media clock.
    pub timestamp: MediaTime,
    /// Packets sent.
    pub packets: u32,
    /// Payload octets sent.
    pub octets: u32,
}

/// What a receiver says of one source (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: Ssrc,
    /// Loss since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Loss in all, 24 bits signed on the wire; negative when duplicates outnumber losses.
    pub cumulative_lost: i32,
    /// Highest sequence number received, wraps in the upper 16 bits.
    pub highest_seq: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the NTP timestamp of the last sender report from the source, 0 if none.
    pub lsr: u32,
    /// Time since that report, in 1/65536 s.
    pub dlsr: u32,
}

/// A compound packet as we send it: a report, our canonical name, and a goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compound<'a> {
    /// Our source.
    pub ssrc: Ssrc,
    /// Makes the report a sender report.
    pub sender: Option<SenderInfo>,
    /// What we say of the peer.
    pub report: Option<ReportBlock>,
    /// Canonical name; of a longer one the characters within the first 255 octets are sent (6.5: it is UTF-8).
    pub cname: &'a str,
    /// Whether we leave.
    pub bye: bool,
}

impl Compound<'_> {
    /// Writes the packet; its length, or `None` if `out` is too short.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let mut out = Writer { out, len: 0 };
        let kind = if self.sender.is_some() { SR } else { RR };
        let start = out.begin(u8::from(self.report.is_some()), kind)?;
        out.put(&self.ssrc.0.to_be_bytes())?;
        if let Some(sender) = self.sender {
            out.put(&sender.ntp.to_be_bytes())?;
            for word in [sender.timestamp.0, sender.packets, sender.octets] {
                out.put(&word.to_be_bytes())?;
            }
        }
        if let Some(block) = self.report {
            let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7F_FFFF) as u32 & 0xFF_FFFF;
            let loss = u32::from(block.fraction_lost) << 24 | lost;
            for word in [block.ssrc.0, loss, block.highest_seq, block.jitter, block.lsr, block.dlsr] {
                out.put(&word.to_be_bytes())?;
            }
        }
        out.end(start)?;

        // 6.1: "An SDES packet containing a CNAME item MUST be included in each compound RTCP packet".
        let start = out.begin(1, SDES)?;
        let cname = &self.cname.as_bytes()[..self.cname.floor_char_boundary(255)];
        out.put(&self.ssrc.0.to_be_bytes())?;
        out.put(&[CNAME, cname.len() as u8])?;
        out.put(cname)?;
        // 6.5: the list of items ends with a null octet and fills its last word with nulls.
        out.put(&[0; 4][..4 - (out.len - start) % 4])?;
        out.end(start)?;

        if self.bye {
            let start = out.begin(1, BYE)?;
            out.put(&self.ssrc.0.to_be_bytes())?;
            out.end(start)?;
        }
        Some(out.len)
    }
}

struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.out.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    fn begin(&mut self, count: u8, kind: u8) -> Option<usize> {
        let start = self.len;
        self.put(&[VERSION << 6 | count, kind, 0, 0])?;
        Some(start)
    }

    /// Fills in the length: words after the first.
    fn end(&mut self, start: usize) -> Option<()> {
        let words = ((self.len - start) / 4 - 1) as u16;
        self.out.get_mut(start + 2..start + 4)?.copy_from_slice(&words.to_be_bytes());
        Some(())
    }
}

/// One packet of a received compound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// SR or RR.
    Report {
        /// Who reports.
        ssrc: Ssrc,
        /// Of an SR.
        sender: Option<SenderInfo>,
        /// On whom.
        blocks: Blocks<'a>,
    },
    /// The CNAME of the first SDES chunk.
    Cname {
        /// Whose.
        ssrc: Ssrc,
        /// UTF-8 if the peer keeps to 6.5.
        cname: &'a [u8],
    },
    /// The first source that leaves.
    Bye {
        /// Which.
        ssrc: Ssrc,
    },
}

/// The report blocks of one report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

impl Iterator for Blocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.0.split_first_chunk::<BLOCK_LEN>()?;
        self.0 = rest;
        let loss = word(block, 4)?;
        Some(ReportBlock {
            ssrc: Ssrc(word(block, 0)?),
            fraction_lost: (loss >> 24) as u8,
            // Sign extension of 24 bits.
            cumulative_lost: (loss << 8) as i32 >> 8,
            highest_seq: word(block, 8)?,
            jitter: word(block, 12)?,
            lsr: word(block, 16)?,
            dlsr: word(block, 20)?,
        })
    }
}

/// The packets of a compound that we know, or `None` if `datagram` is not RTCP (the checks of RFC 3550, A.2).
pub fn parse(datagram: &[u8]) -> Option<Packets<'_>> {
    // A.2: version 2, no padding on the first packet, which is a report.
    let [first, SR | RR, ..] = *datagram else { return None };
    if first >> 6 != VERSION || first & 0x20 != 0 {
        return None;
    }
    // A.2: "The length fields of the individual RTCP packets must add up to the overall length of the compound RTCP
    // packet as received."
    let mut rest = datagram;
    while !rest.is_empty() {
        rest = split(rest)?.1;
    }
    Some(Packets(datagram))
}

/// Iterator of [`parse`].
#[derive(Debug, Clone)]
pub struct Packets<'a>(&'a [u8]);

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        while !self.0.is_empty() {
            let (packet, rest) = split(self.0)?;
            self.0 = rest;
            if let Some(packet) = read(packet) {
                return Some(packet);
            }
        }
        None
    }
}

/// The first packet of a compound, header included, and what follows it.
fn split(compound: &[u8]) -> Option<(&[u8], &[u8])> {
    let [first, _, l0, l1, ..] = *compound else { return None };
    if first >> 6 != VERSION {
        return None;
    }
    compound.split_at_checked((usize::from(u16::from_be_bytes([l0, l1])) + 1) * 4)
}

fn read(packet: &[u8]) -> Option<Packet<'_>> {
    let [first, kind, _, _, ..] = *packet else { return None };
    let count = usize::from(first & 0x1F);
    match kind {
        SR | RR => {
            let ssrc = Ssrc(word(packet, 4)?);
            let (sender, blocks_at) = if kind == SR {
                let ntp = u64::from(word(packet, 8)?) << 32 | u64::from(word(packet, 12)?);
                let timestamp = MediaTime(word(packet, 16)?);
                let (packets, octets) = (word(packet, 20)?, word(packet, 24)?);
                (Some(SenderInfo { ntp, timestamp, packets, octets }), 28)
            } else {
                (None, 8)
            };
            let blocks = packet.get(blocks_at..blocks_at + count * BLOCK_LEN)?;
            Some(Packet::Report { ssrc, sender, blocks: Blocks(blocks) })
        }
        SDES if count > 0 => {
            let ssrc = Ssrc(word(packet, 4)?);
            let mut items = packet.get(8..)?;
            // A null octet ends the items.
            while let [kind @ 1..=255, len, rest @ ..] = items {
                let (text, rest) = rest.split_at_checked(usize::from(*len))?;
                if *kind == CNAME {
                    return Some(Packet::Cname { ssrc, cname: text });
                }
                items = rest;
            }
            None
        }
        BYE if count > 0 => Some(Packet::Bye { ssrc: Ssrc(word(packet, 4)?) }),
        // 6.1: "An implementation SHOULD ignore incoming RTCP packets with types unknown to it."
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// The middle 32 bits of an NTP timestamp: 16.16 fixed point seconds.
pub(crate) fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// Round trip seen from a report block on us that arrives at `now` (RFC 3550, 6.4.1: A - LSR - DLSR), if it is plausible.
pub(crate) fn round_trip(now: u64, block: &ReportBlock) -> Option<Duration> {
    if block.lsr == 0 {
        return None;
    }
    let units = middle(now).wrapping_sub(block.lsr).wrapping_sub(block.dlsr);
    // A peer that overstates DLSR makes it negative, which reads as more than nine hours.
    (units < 1 << 31).then(|| Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16))
}

/// When to send: RFC 3550, 6.3 for a session of two.
///
/// With two members the bandwidth share of even the slowest codec allows far more than a report in five seconds, so the
/// minimum always rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// When the last report went out, or else when the session began (tp).
    last: Instant,
    /// How long after that to look again whether the next one is due (tn).
    wait_ms: u32,
    /// No report has gone out yet.
    initial: bool,
    random: u64,
}

impl Schedule {
    /// 6.2: "The RECOMMENDED value for a fixed minimum interval is 5 seconds."
    const MINIMUM_MS: u32 = 5_000;

    /// Starts with half the minimum (6.2), so that the peer is soon told of us.
    pub(crate) fn new(now: Instant, seed: u64) -> Self {
        let mut schedule = Self { last: now, wait_ms: 0, initial: true, random: seed };
        schedule.wait_ms = schedule.interval_ms();
        schedule
    }

    /// Whether a report is due; if so the next one is scheduled.
    ///
    /// When the time has come another interval is drawn, and if that is not over yet the report waits for it (6.3.6): this
    /// is what the division by e - 3/2 makes up for, though nobody joins that would have to be reckoned with.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        if now < self.due() {
            return false;
        }
        self.wait_ms = self.interval_ms();
        if now < self.due() {
            return false;
        }
        (self.last, self.initial) = (now, false);
        self.wait_ms = self.interval_ms();
        true
    }

    /// Whether a report has gone out.
    pub(crate) fn has_begun(&self) -> bool {
        !self.initial
    }

    fn due(&self) -> Instant {
        self.last + Duration::from_millis(self.wait_ms.into())
    }

    /// 6.3.1: a random number of 0.5 to 1.5 times the calculated interval, divided by e - 3/2.
    fn interval_ms(&mut self) -> u32 {
        // One step of SplitMix64: spreads the seed well enough to keep a thousand calls apart.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        let fraction = ((z ^ z >> 31) >> 40) as f64 / f64::from(1 << 24);
        let minimum = if self.initial { Self::MINIMUM_MS / 2 } else { Self::MINIMUM_MS };
        (f64::from(minimum) * (0.5 + fraction) / (std::f64::consts::E - 1.5)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCK: ReportBlock = ReportBlock {
        ssrc: Ssrc(0x0A0B_0C0D),
        fraction_lost: 25,
        cumulative_lost: -2,
        highest_seq: 0x0001_0009,
        jitter: 33,
        lsr: 0x1111_2222,
        dlsr: 0x3333_4444,
    };
    const INFO: SenderInfo =
        SenderInfo { ntp: 0x0102_0304_0506_0708, timestamp: MediaTime(0x1122_3344), packets: 5, octets: 800 };

    fn written(compound: &Compound<'_>) -> Vec<u8> {
        let mut out = [0xEE; 512];
        let len = compound.write(&mut out).unwrap();
        out[..len].to_vec()
    }

    #[test]
    fn sender_report_is_these_octets() {
        let compound = Compound {
            ssrc: Ssrc(0xAABB_CCDD),
            sender: Some(INFO),
            report: Some(BLOCK),
            cname: "ab",
            bye: true,
        };
        #[rustfmt::skip]
        let expected = [
            0x81, 200, 0, 12, 0xAA, 0xBB, 0xCC, 0xDD,
            1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 5, 0, 0, 3, 0x20,
            0x0A, 0x0B, 0x0C, 0x0D, 25, 0xFF, 0xFF, 0xFE, 0, 1, 0, 9, 0, 0, 0, 33,
            0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44,
            0x81, 202, 0, 3, 0xAA, 0xBB, 0xCC, 0xDD, 1, 2, b'a', b'b', 0, 0, 0, 0,
            0x81, 203, 0, 1, 0xAA, 0xBB, 0xCC, 0xDD,
        ];
        assert_eq!(written(&compound), expected);
    }

    #[test]
    fn what_is_written_is_read() {
        for cname in ["", "a", "ab", "abc", "abcd", &"x".repeat(255)] {
            for (sender, report) in [(Some(INFO), Some(BLOCK)), (None, Some(BLOCK)), (None, None)] {
                let compound = Compound { ssrc: Ssrc(9), sender, report, cname, bye: true };
                let bytes = written(&compound);
                let packets: Vec<Packet<'_>> = parse(&bytes).unwrap().collect();
                let [Packet::Report { ssrc, sender: info, blocks }, name, bye] = &packets[..] else {
                    panic!("{packets:?}")
                };
                assert_eq!((*ssrc, *info), (Ssrc(9), sender));
                assert_eq!(blocks.clone().collect::<Vec<_>>(), Vec::from_iter(report));
                assert_eq!(*name, Packet::Cname { ssrc: Ssrc(9), cname: cname.as_bytes() });
                assert_eq!(*bye, Packet::Bye { ssrc: Ssrc(9) });
            }
        }
    }

    #[test]
    fn long_names_are_cut_and_short_buffers_refused() {
        let long = "é".repeat(200);
        let compound = Compound { ssrc: Ssrc(1), sender: None, report: None, cname: &long, bye: false };
        let bytes = written(&compound);
        let Some(Packet::Cname { cname, .. }) = parse(&bytes).unwrap().nth(1) else { panic!("{bytes:?}") };
        assert_eq!(cname, "é".repeat(127).as_bytes(), "no character is torn");
        for room in 0..written(&compound).len() {
            assert_eq!(compound.write(&mut vec![0; room]), None);
        }
    }

    #[test]
    fn what_is_not_a_compound_is_refused() {
        let good =
            written(&Compound { ssrc: Ssrc(1), sender: None, report: Some(BLOCK), cname: "x", bye: false });
        assert!(parse(&good).is_some());
        assert!(parse(&good[..good.len() - 1]).is_none(), "lengths do not add up");
        assert!(parse(&good[32..]).is_none(), "begins with SDES");
        assert!(parse(&[]).is_none());
        let mut padded = good.clone();
        padded[0] |= 0x20;
        assert!(parse(&padded).is_none(), "padding on the first packet");
        let mut old = good.clone();
        old[32] = 0x41;
        assert!(parse(&old).is_none(), "version 1 in the second packet");
        let mut overstated = good.clone();
        overstated[0] = 0x82;
        assert!(parse(&overstated).unwrap().all(|packet| matches!(packet, Packet::Cname { .. })));
    }

    #[test]
    fn round_trip_of_the_rfcs_example() {
        // RFC 3550, figure 2: A = 0xb710:8000, DLSR = 5.25 s, LSR = 0xb705:2000, round trip 6.125 s.
        let block = ReportBlock { lsr: 0xB705_2000, dlsr: 0x0005_4000, ..BLOCK };
        assert_eq!(round_trip(0xB710_8000 << 16, &block), Some(Duration::from_millis(6125)));
        let overstated = ReportBlock { dlsr: 0x0010_0000, ..block };
        assert_eq!(round_trip(0xB710_8000 << 16, &overstated), None);
        assert_eq!(round_trip(0xB710_8000 << 16, &ReportBlock { lsr: 0, ..block }), None);
    }

    /// Polls at every moment that `schedule` names, and returns when it says yes.
    fn sent(schedule: &mut Schedule) -> Instant {
        loop {
            let due = schedule.due();
            assert!(!schedule.poll(due - Duration::from_nanos(1)));
            if schedule.poll(due) {
                return due;
            }
        }
    }

    #[test]
    fn intervals_keep_their_bounds_and_differ() {
        let start = crate::epoch();
        let (low, high) = (Duration::from_millis(2052), Duration::from_millis(6156));
        let mut seen = std::collections::BTreeSet::new();
        let mut mean = Duration::ZERO;
        for seed in 0..200 {
            let mut schedule = Schedule::new(start, seed);
            let first = sent(&mut schedule);
            assert!(low / 2 <= first - start && first - start <= high / 2, "{:?}", first - start);
            let second = sent(&mut schedule) - first;
            assert!(low <= second && second <= high, "{second:?}");
            seen.insert(second);
            mean += second / 200;
        }
        assert!(seen.len() > 180);
        // What 6.3.1 divides by is what 6.3.6 adds: without it the mean would be 4.1 s.
        assert!(mean.abs_diff(Duration::from_secs(5)) < Duration::from_millis(150), "{mean:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 199u8..206) {
            let mut bytes = bytes;
            if let [first, second, ..] = &mut bytes[..] {
                *first = *first & 0x1F | 0x80;
                *second = kind;
            }
            for packet in parse(&bytes).into_iter().flatten() {
                if let Packet::Report { blocks, .. } = packet {
                    prop_assert!(blocks.count() <= 31);
                }
            }
        }
    }
}
