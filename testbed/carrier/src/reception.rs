//! What a line hears, measured: the instrument is our own and shares no arithmetic with the engine it measures.

use std::time::{Duration, Instant};

use media_core::rtp::Packet;
use media_core::{Codec, Encoded, Negotiated, g722};
use serde::Serialize;

/// How far behind the highest sequence number a packet is still told from its duplicate.
const WINDOW: i32 = 128;

/// The longest recording kept in memory: ten minutes.
const MAX_RECORDING: usize = 10 * 60 * 8000;

/// G.722 has no octet that is silence: samples up to here are, -60 dB of the overload point.
const SILENT: u16 = 32;

/// The measurements of one call.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Heard {
    /// Audio packets, duplicates included.
    pub packets: u64,
    /// Sequence numbers between the first and the last that never came.
    pub lost: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Consecutive packets whose timestamps are not consecutive, and changes of SSRC.
    pub breaks: u64,
    /// Packets of other payload types than the agreed one, and datagrams that are no RTP.
    pub invalid: u64,
    /// Sound that is not digital silence.
    pub audible_ms: u64,
    /// From the SDP answer to the first packet.
    pub first_ms: Option<f64>,
    /// The longest time between two packets.
    pub max_gap_ms: f64,
    /// Interarrival jitter (RFC 3550, 6.4.1).
    pub jitter_ms: f64,
}

/// Receives one RTP stream.
#[derive(Debug)]
pub(crate) struct Reception {
    heard: Heard,
    opened: Instant,
    codec: Codec,
    /// Tells sound from silence in G.722.
    decoder: g722::Decoder,
    pt: u8,
    event_pt: Option<u8>,
    stream: Option<Stream>,
    recording: Option<Recording>,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    first_seq: i32,
    /// Highest sequence number, extended over wraps; `first_seq` is in the same count.
    highest: i32,
    /// Bit n: `highest - n` was received.
    window: u128,
    /// Timestamp after the last sample of `highest`; unknown after an event, whose length its packets do not tell.
    next_timestamp: Option<u32>,
    arrived: Instant,
    /// Arrival minus timestamp, in timestamp units (RFC 3550, A.8).
    transit: f64,
    jitter: f64,
    unique: u64,
}

/// The codes received, in place by their timestamps.
#[derive(Debug)]
struct Recording {
    first_timestamp: Option<u32>,
    codes: Vec<u8>,
}

/// What was heard.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// Samples per second.
    pub(crate) rate: u32,
    pub(crate) samples: Vec<i16>,
}

impl Reception {
    pub(crate) fn new(now: Instant, negotiated: &Negotiated, record: bool) -> Self {
        Self {
            heard: Heard::default(),
            opened: now,
            codec: negotiated.codec,
            decoder: g722::Decoder::new(),
            pt: negotiated.pt_recv,
            event_pt: negotiated.telephone_event.map(|event| event.pt_recv),
            stream: None,
            recording: record.then(|| Recording { first_timestamp: None, codes: Vec::new() }),
        }
    }

    /// Takes a datagram; returns the time since the last one when both are audio, for the carrier's histogram.
    pub(crate) fn receive(&mut self, now: Instant, datagram: &[u8]) -> Option<Duration> {
        let Some(packet) = Packet::parse(datagram) else {
            self.heard.invalid += 1;
            return None;
        };
        let header = packet.header;
        if header.pt != self.pt {
            // Events share the stream's sequence numbers: they arrive, and say nothing.
            if Some(header.pt) == self.event_pt {
                self.note(now, &packet, None);
            } else {
                self.heard.invalid += 1;
            }
            return None;
        }
        self.heard.packets += 1;
        if is_audible(self.codec, &mut self.decoder, packet.payload) {
            self.heard.audible_ms += (packet.payload.len() / self.codec.octets_per_ms()) as u64;
        }
        if let Some(recording) = &mut self.recording {
            recording.write(header.timestamp.0, packet.payload, self.codec);
        }
        self.note(now, &packet, Some(header.timestamp.0.wrapping_add(packet.payload.len() as u32)))
    }

    fn note(&mut self, now: Instant, packet: &Packet<'_>, next_timestamp: Option<u32>) -> Option<Duration> {
        let header = packet.header;
        let units_per_s = f64::from(self.codec.clock_rate());
        let transit =
            now.duration_since(self.opened).as_secs_f64() * units_per_s - f64::from(header.timestamp.0);
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.ssrc == header.ssrc.0) else {
            if let Some(old) = &self.stream {
                self.heard.breaks += 1;
                self.heard.lost += old.lost();
            } else {
                self.heard.first_ms = Some(ms(now.duration_since(self.opened)));
            }
            let seq = i32::from(header.seq.0);
            self.stream = Some(Stream {
                ssrc: header.ssrc.0,
                first_seq: seq,
                highest: seq,
                window: 1,
                next_timestamp,
                arrived: now,
                transit,
                jitter: 0.0,
                unique: 1,
            });
            return None;
        };
        let ahead = i32::from(header.seq.0.wrapping_sub(stream.highest as u16) as i16);
        if ahead <= 0 {
            let bit = 1u128.checked_shl(ahead.unsigned_abs()).unwrap_or(0);
            if stream.window & bit != 0 {
                self.heard.duplicates += 1;
            } else {
                self.heard.reordered += 1;
                stream.unique += 1;
                stream.window |= bit;
                // The stream began before the first packet that we saw.
                stream.first_seq = stream.first_seq.min(stream.highest + ahead);
            }
            return None;
        }
        let expected = stream.next_timestamp.filter(|_| ahead == 1 && next_timestamp.is_some());
        if expected.is_some_and(|expected| expected != header.timestamp.0) {
            self.heard.breaks += 1;
        }
        stream.window = if ahead < WINDOW { stream.window << ahead | 1 } else { 1 };
        stream.highest += ahead;
        stream.unique += 1;
        stream.next_timestamp = next_timestamp;
        // RFC 3550, A.8; a timestamp that wraps leaves one outlier in 149 hours of a call.
        stream.jitter += ((transit - stream.transit).abs() - stream.jitter) / 16.0;
        stream.transit = transit;
        let gap = now.duration_since(stream.arrived);
        stream.arrived = now;
        self.heard.max_gap_ms = self.heard.max_gap_ms.max(ms(gap));
        (ahead == 1).then_some(gap)
    }

    pub(crate) fn audible_ms(&self) -> u64 {
        self.heard.audible_ms
    }

    pub(crate) fn report(&self) -> Heard {
        let mut heard = self.heard.clone();
        if let Some(stream) = &self.stream {
            heard.lost += stream.lost();
            heard.jitter_ms = stream.jitter * 1000.0 / f64::from(self.codec.clock_rate());
        }
        heard
    }

    /// What was recorded, decoded; `None` when nothing was to be.
    pub(crate) fn recorded(&self) -> Option<Recorded> {
        let codes = &self.recording.as_ref()?.codes;
        let samples = Encoded::new(self.codec, codes.as_slice()).decode();
        Some(Recorded { rate: self.codec.sample_rate(), samples })
    }
}

impl Stream {
    fn lost(&self) -> u64 {
        ((self.highest - self.first_seq) as u64 + 1).saturating_sub(self.unique)
    }
}

impl Recording {
    fn write(&mut self, timestamp: u32, payload: &[u8], codec: Codec) {
        let first = *self.first_timestamp.get_or_insert(timestamp);
        let at = timestamp.wrapping_sub(first) as usize;
        let end = at.saturating_add(payload.len());
        if end > MAX_RECORDING {
            return;
        }
        if self.codes.len() < end {
            match codec {
                Codec::Pcmu => self.codes.resize(end, ULAW_SILENCE),
                Codec::Pcma => self.codes.resize(end, ALAW_SILENCE),
                Codec::G722 => {
                    let missing = end - self.codes.len();
                    self.codes.extend(g722::SILENCE.iter().cycle().take(missing));
                }
            }
        }
        self.codes[at..end].copy_from_slice(payload);
    }
}

const ULAW_SILENCE: u8 = 0xFF;
const ALAW_SILENCE: u8 = 0xD5;

/// Whether there is more in a packet than silence.
fn is_audible(codec: Codec, decoder: &mut g722::Decoder, payload: &[u8]) -> bool {
    // Silence is the smallest amplitude of either sign.
    let other_than = |silence: u8| payload.iter().any(|code| code | 0x80 != silence | 0x80);
    match codec {
        Codec::Pcmu => other_than(ULAW_SILENCE),
        Codec::Pcma => other_than(ALAW_SILENCE),
        Codec::G722 => payload.iter().fold(false, |audible, code| {
            let mut pair = [0i16; 2];
            decoder.decode(std::slice::from_ref(code), &mut pair);
            audible || pair.iter().any(|sample| sample.unsigned_abs() > SILENT)
        }),
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use media_core::rtp::Header;
    use media_core::{Direction, MediaTime, Ptime, SeqNo, Ssrc};

    fn negotiated() -> Negotiated {
        Negotiated {
            remote: "127.0.0.1:4000".parse().unwrap(),
            rtcp: None,
            codec: Codec::Pcmu,
            pt_send: 0,
            pt_recv: 0,
            telephone_event: None,
            ptime: Ptime::DEFAULT,
            direction: Direction::SendRecv,
            rtcp_mux: false,
            srtp: None,
        }
    }

    /// Packets by index, each 20 ms after the one before.
    struct Line {
        start: Instant,
        count: u32,
        reception: Reception,
    }

    impl Line {
        fn new(record: bool) -> Self {
            let start = Instant::now();
            Self { start, count: 0, reception: Reception::new(start, &negotiated(), record) }
        }

        fn hear(&mut self, index: u16, fill: u8) {
            self.count += 1;
            let header = Header {
                marker: false,
                pt: 0,
                seq: SeqNo(index.wrapping_add(65_530)),
                timestamp: MediaTime(u32::from(index) * 160),
                ssrc: Ssrc(7),
            };
            let datagram = [&header.to_bytes()[..], &[fill; 160]].concat();
            self.reception.receive(self.start + Duration::from_millis(20) * self.count, &datagram);
        }
    }

    #[test]
    fn a_clean_stream_over_the_wrap() {
        let mut line = Line::new(false);
        (0..100).for_each(|n| line.hear(n, 0x10));
        let heard = line.reception.report();
        assert_eq!(
            (heard.packets, heard.lost, heard.reordered, heard.duplicates, heard.breaks),
            (100, 0, 0, 0, 0)
        );
        assert_eq!(heard.audible_ms, 2000);
        assert_eq!(heard.first_ms, Some(20.0));
        assert!((heard.max_gap_ms - 20.0).abs() < 1e-6 && heard.jitter_ms < 1e-6, "{heard:?}");
    }

    #[test]
    fn loss_reordering_and_duplicates_are_told_apart() {
        let mut line = Line::new(false);
        for n in [0, 1, 3, 2, 4, 4, 7, 8, 1] {
            line.hear(n, 0xFF);
        }
        let heard = line.reception.report();
        assert_eq!((heard.lost, heard.reordered, heard.duplicates), (2, 1, 2));
        assert_eq!(heard.audible_ms, 0, "silence");
        assert!(heard.jitter_ms > 0.0);
    }

    #[test]
    fn the_first_packet_may_be_late() {
        let mut line = Line::new(false);
        for n in [1, 0, 2] {
            line.hear(n, 0);
        }
        let heard = line.reception.report();
        assert_eq!((heard.lost, heard.reordered), (0, 1));
    }

    #[test]
    fn a_recording_has_silence_where_packets_are_missing() {
        let mut line = Line::new(true);
        for n in [0, 2] {
            line.hear(n, 0x80);
        }
        let samples = line.reception.recorded().unwrap().samples;
        assert_eq!(samples.len(), 480);
        assert!(samples[..160].iter().chain(&samples[320..]).all(|&s| s > 30_000));
        assert!(samples[160..320].iter().all(|&s| s == 0));
    }
}
