//! What a line hears, measured: the instrument is our own and shares no arithmetic with the engine it measures.

use std::time::{Duration, Instant};

use media_core::rtp::Packet;
use media_core::{Codec, Decoder, Negotiated};
use serde::Serialize;

/// How far behind the highest sequence number a packet is still told from its duplicate.
const WINDOW: i32 = 128;

/// The longest recording kept in memory: ten minutes.
const MAX_RECORDING: usize = 10 * 60 * 16_000;

/// 120 ms at 16 kHz: the longest packet of Opus.
const MAX_SAMPLES: usize = 1_920;

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
    decoder: Decoder,
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

/// What was received, in place by its timestamps.
#[derive(Debug)]
struct Recording {
    first_timestamp: Option<u32>,
    samples: Vec<i16>,
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
            decoder: Decoder::new(negotiated.codec),
            pt: negotiated.pt_recv,
            event_pt: negotiated.telephone_event.map(|event| event.pt_recv),
            stream: None,
            recording: record.then(|| Recording { first_timestamp: None, samples: Vec::new() }),
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
        let (rate, clock) = (self.codec.sample_rate(), self.codec.clock_rate());
        let mut samples = [0; MAX_SAMPLES];
        let count = self.decoder.decode(packet.payload, &mut samples);
        let samples = &samples[..count];
        if samples.iter().any(|sample| sample.unsigned_abs() > silence(self.codec)) {
            self.heard.audible_ms += count as u64 * 1000 / u64::from(rate);
        }
        if let Some(recording) = &mut self.recording {
            recording.write(header.timestamp.0, samples, self.codec);
        }
        let units = count as u64 * u64::from(clock) / u64::from(rate);
        self.note(now, &packet, Some(header.timestamp.0.wrapping_add(units as u32)))
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

    /// What was recorded; `None` when nothing was to be.
    pub(crate) fn recorded(&self) -> Option<Recorded> {
        let samples = self.recording.as_ref()?.samples.clone();
        Some(Recorded { rate: self.codec.sample_rate(), samples })
    }
}

impl Stream {
    fn lost(&self) -> u64 {
        ((self.highest - self.first_seq) as u64 + 1).saturating_sub(self.unique)
    }
}

impl Recording {
    fn write(&mut self, timestamp: u32, samples: &[i16], codec: Codec) {
        let first = *self.first_timestamp.get_or_insert(timestamp);
        let units = u64::from(timestamp.wrapping_sub(first));
        let at = (units * u64::from(codec.sample_rate()) / u64::from(codec.clock_rate())) as usize;
        let end = at + samples.len();
        if end > MAX_RECORDING {
            return;
        }
        if self.samples.len() < end {
            self.samples.resize(end, 0);
        }
        self.samples[at..end].copy_from_slice(samples);
    }
}

/// The largest sample of silence.
fn silence(codec: Codec) -> u16 {
    match codec {
        Codec::Pcmu | Codec::L16 => 0,
        // The smallest amplitude there is.
        Codec::Pcma => 8,
        // Neither has a code for silence: -60 dB of the overload point.
        Codec::G722 | Codec::Opus => 32,
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
            others: Vec::new(),
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
