//! One call's packets: every one that comes is checked, and those that go are made.

use std::net::SocketAddr;

use media_core::rtp::{HEADER_LEN, Header, Packet};
use media_core::{MediaTime, SeqNo, Ssrc};

use super::signalling::NewCall;
use super::{Manner, Sighting};
use crate::load::unix_ns;

/// Octets of G.711 in a packet.
const FRAME: usize = 160;
const PTIME_US: i64 = 20_000;
/// PCMA of silence.
const SILENCE: u8 = 0xD5;
const PCMA: u8 = 8;
/// Packets of a key before its first end packet, and packets in all (RFC 4733, 2.5.1.4: the end three times).
const KEY_DOWN: u8 = 3;
const KEY_PACKETS: u8 = 6;

/// What was heard of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) packets: u64,
    /// By sequence number.
    pub(crate) lost: u64,
    pub(crate) out_of_order: u64,
    /// Packets whose payload was not what the prompt has there.
    pub(crate) wrong: u64,
    /// When the first came, unix ns.
    pub(crate) first_at: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Stream {
    remote: SocketAddr,
    call: Option<Called>,
    heard: Heard,
    /// Sequence number and time of the last packet.
    last: Option<(u16, u64)>,
    /// The next octet of the prompt, once it has begun.
    at: Option<usize>,
    sent: u64,
    seq: SeqNo,
    timestamp: MediaTime,
    /// Packets of the key so far.
    key: u8,
    key_ended_at: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Called {
    number: u32,
    event_pt: u8,
    invite_at: u64,
    answered_at: u64,
}

impl Stream {
    /// The stream of a call answered now.
    pub(super) fn of_call(call: NewCall, invite_at: u64) -> Stream {
        let NewCall { number, remote, event_pt } = call;
        Stream {
            call: Some(Called { number, event_pt, invite_at, answered_at: unix_ns() }),
            ..Stream::bare(remote)
        }
    }

    /// A stream without a call, of which only the number of packets matters.
    pub(super) fn bare(remote: SocketAddr) -> Stream {
        Stream {
            remote,
            call: None,
            heard: Heard::default(),
            last: None,
            at: None,
            sent: 0,
            seq: SeqNo(0),
            timestamp: MediaTime(0),
            key: 0,
            key_ended_at: None,
        }
    }

    pub(super) fn sighting(&self) -> Option<(u32, Sighting)> {
        let Called { number, invite_at, answered_at, .. } = self.call?;
        let (key_ended_at, sent, heard) = (self.key_ended_at, self.sent, self.heard);
        Some((number, Sighting { invite_at, answered_at, key_ended_at, sent, heard }))
    }

    /// Takes a packet; returns by how many µs its distance from the one before is not the packet time.
    pub(super) fn receive(&mut self, datagram: &[u8], at: u64, prompt: &[u8]) -> Option<u32> {
        self.heard.packets += 1;
        self.heard.first_at = self.heard.first_at.or(Some(at));
        self.call?;
        let Some(packet) = Packet::parse(datagram) else {
            self.heard.wrong += 1;
            return None;
        };
        let seq = packet.header.seq.0;
        let before = self.last.replace((seq, at));
        let ahead = before.map_or(1, |(last, _)| seq.wrapping_sub(last));
        match ahead {
            1 => {}
            2..0x8000 => self.skip(usize::from(ahead) - 1, prompt),
            0 | 0x8000.. => {
                self.heard.out_of_order += 1;
                return None;
            }
        }
        self.check(packet.payload, prompt);
        let (_, last_at) = before.filter(|_| ahead == 1)?;
        let gap = i64::try_from(at.saturating_sub(last_at) / 1000).ok()?;
        u32::try_from((gap - PTIME_US).abs()).ok()
    }

    fn skip(&mut self, packets: usize, prompt: &[u8]) {
        self.heard.lost += packets as u64;
        self.at = self.at.map(|at| (at + packets * FRAME) % prompt.len());
    }

    /// The prompt is a whole number of frames long, so no frame holds its end and its start.
    fn check(&mut self, payload: &[u8], prompt: &[u8]) {
        let at = match self.at {
            // Before the program arrives, a leg sends silence.
            None if payload.iter().all(|&octet| octet == SILENCE) => return,
            None => 0,
            Some(at) => at,
        };
        self.heard.wrong += u64::from(prompt.get(at..at + FRAME) != Some(payload));
        self.at = Some((at + FRAME) % prompt.len());
    }

    /// One packet time has passed.
    pub(super) fn speak(&mut self, manner: Manner, mut send: impl FnMut(&[u8], SocketAddr)) {
        let key_due = manner.presses_after.zip(self.call).is_some_and(|(after, call)| {
            self.key < KEY_PACKETS && unix_ns() >= call.answered_at.saturating_add(after.as_nanos() as u64)
        });
        if key_due {
            self.press(&mut send);
        } else if manner.speaks {
            self.send(PCMA, self.timestamp, [SILENCE; FRAME], &mut send);
        }
        self.timestamp = self.timestamp.plus(FRAME as u32);
    }

    fn press(&mut self, send: &mut impl FnMut(&[u8], SocketAddr)) {
        let Some(call) = self.call else { return };
        let end = self.key >= KEY_DOWN;
        if self.key == KEY_DOWN {
            self.key_ended_at = Some(unix_ns());
        }
        // RFC 4733, 2.5.1.1: every packet of an event has the timestamp of its start, and the duration so far.
        let start = MediaTime(self.timestamp.0.wrapping_sub(u32::from(self.key) * FRAME as u32));
        let duration = (u16::from(self.key.min(KEY_DOWN)) + 1) * FRAME as u16;
        let [high, low] = duration.to_be_bytes();
        self.send(call.event_pt, start, [1, u8::from(end) << 7 | 10, high, low], send);
        self.key += 1;
    }

    fn send<const N: usize>(
        &mut self,
        pt: u8,
        timestamp: MediaTime,
        payload: [u8; N],
        send: &mut impl FnMut(&[u8], SocketAddr),
    ) {
        let marker = self.sent == 0 || pt != PCMA && self.key == 0;
        let header =
            Header { marker, pt, seq: self.seq, timestamp, ssrc: Ssrc(u32::from(self.remote.port())) };
        let mut packet = [0; HEADER_LEN + FRAME];
        packet[..HEADER_LEN].copy_from_slice(&header.to_bytes());
        packet[HEADER_LEN..HEADER_LEN + N].copy_from_slice(&payload);
        send(&packet[..HEADER_LEN + N], self.remote);
        self.seq = self.seq.next();
        self.sent += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(seq: u16, payload: &[u8]) -> Vec<u8> {
        let header =
            Header { marker: false, pt: PCMA, seq: SeqNo(seq), timestamp: MediaTime(0), ssrc: Ssrc(1) };
        [&header.to_bytes()[..], payload].concat()
    }

    fn prompt() -> Vec<u8> {
        (0..3).flat_map(|frame| [frame; FRAME]).collect()
    }

    fn stream() -> Stream {
        let remote = SocketAddr::from(([127, 0, 0, 1], 4000));
        Stream::of_call(NewCall { number: 1, remote, event_pt: 101 }, 0)
    }

    /// Frames of the prompt by their number, in packets of these sequence numbers, 20 ms apart.
    fn heard(packets: &[(u16, u8)]) -> Heard {
        let mut stream = stream();
        for (n, &(seq, frame)) in packets.iter().enumerate() {
            let gap = stream.receive(&packet(seq, &[frame; FRAME]), n as u64 * 20_000_000, &prompt());
            assert!(matches!(gap, None | Some(0)), "{gap:?}");
        }
        stream.heard
    }

    #[test]
    fn a_prompt_over_and_over_after_silence_is_right() {
        let right = heard(&[(65_534, SILENCE), (65_535, 0), (0, 1), (1, 2), (2, 0)]);
        assert_eq!((right.packets, right.lost, right.out_of_order, right.wrong), (5, 0, 0, 0));
    }

    #[test]
    fn what_is_missing_late_or_other_is_counted() {
        let lost = heard(&[(7, 0), (9, 2), (10, 0)]);
        assert_eq!(
            (lost.lost, lost.out_of_order, lost.wrong),
            (1, 0, 0),
            "and the content goes on behind the loss"
        );
        let twice = heard(&[(7, 0), (7, 0)]);
        assert_eq!((twice.lost, twice.out_of_order, twice.wrong), (0, 1, 0));
        let other = heard(&[(7, 0), (8, 2), (9, 2)]);
        assert_eq!((other.lost, other.wrong), (0, 1));
    }

    #[test]
    fn the_gap_is_measured_between_neighbours() {
        let mut stream = stream();
        let mut arrive = |seq, ms: u64| stream.receive(&packet(seq, &[0; FRAME]), ms * 1_000_000, &prompt());
        assert_eq!([arrive(1, 100), arrive(2, 121), arrive(3, 140)], [None, Some(1000), Some(1000)]);
        assert_eq!(arrive(5, 180), None, "one is missing between them");
    }

    #[test]
    fn a_key_is_six_packets_and_its_end_is_timed() {
        let mut stream = stream();
        let manner = Manner { speaks: false, presses_after: Some(std::time::Duration::ZERO) };
        let mut packets = Vec::new();
        for turn in 0..10 {
            stream.speak(manner, |packet, _| packets.push(packet.to_vec()));
            assert_eq!(stream.key_ended_at.is_some(), turn >= 3);
        }
        let ends: Vec<_> = packets.iter().map(|packet| packet[HEADER_LEN + 1] >> 7).collect();
        assert_eq!(ends, [0, 0, 0, 1, 1, 1]);
        let timestamps: Vec<_> = packets.iter().map(|packet| packet[4..8].to_vec()).collect();
        assert!(timestamps.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
