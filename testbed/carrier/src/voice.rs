//! What a line says: a steady RTP stream of silence or a tone, with keys as RFC 4733 events in between.

use media_core::rtp::{HEADER_LEN, Header};
use media_core::{Codec, Digit, Digits, Encoder, MediaTime, Negotiated, SeqNo, Ssrc, TelephoneEvent};
use serde::Deserialize;

/// The longest packet: 40 ms of L16.
pub(crate) const MAX_PACKET: usize = HEADER_LEN + 1280;

/// 60 ms at 16 kHz.
const MAX_SAMPLES: usize = 960;

/// How long a key is down; people press 60 to 200 ms.
const KEY_MS: u16 = 100;

/// Pause between two keys, at least 40 ms by ITU-T Q.24.
const PAUSE_MS: u16 = 60;

/// RFC 4733, 2.5.1.4: "The final packet for each event [...] SHOULD be sent a total of three times".
const END_PACKETS: u8 = 3;

/// -10 dBm0, RFC 4733, 2.3: volume is "the power level of the digit, expressed in dBm0 after dropping the sign".
const VOLUME: u8 = 10;

/// What customers say all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Talk {
    /// Packets of silence.
    #[default]
    Silence,
    /// 400 Hz.
    Tone,
    /// No packets but those of keys.
    Nothing,
}

/// One outgoing RTP stream; [`Voice::next`] once per packet time.
#[derive(Debug)]
pub(crate) struct Voice {
    ssrc: Ssrc,
    seq: SeqNo,
    timestamp: MediaTime,
    codec: Codec,
    encoder: Encoder,
    pt: u8,
    event: Option<TelephoneEvent>,
    ptime_ms: u16,
    talk: Talk,
    begun: bool,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    None,
    /// `down_ms` of the key's time are told; `ends` of its end packets are sent.
    Down {
        rest: Digits,
        key: Digit,
        down_ms: u16,
        ends: u8,
    },
    Pause {
        rest: Digits,
        left_ms: u16,
    },
}

/// What one turn of a voice gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Octets written; 0 when nothing is sent.
    pub(crate) len: usize,
    /// Whether the last key was sent with this turn.
    pub(crate) keys_done: bool,
}

impl Voice {
    /// `random` gives SSRC, first sequence number and first timestamp.
    pub(crate) fn new(negotiated: &Negotiated, talk: Talk, random: u64) -> Self {
        Self {
            ssrc: Ssrc(random as u32),
            seq: SeqNo((random >> 32) as u16),
            timestamp: MediaTime((random >> 24) as u32),
            codec: negotiated.codec,
            encoder: Encoder::new(negotiated.codec),
            pt: negotiated.pt_send,
            event: negotiated.telephone_event,
            ptime_ms: u16::from(negotiated.ptime.ms()),
            talk,
            begun: false,
            keys: Keys::None,
        }
    }

    /// Presses these keys, after those being pressed; `false` when the peer takes no events.
    pub(crate) fn press(&mut self, digits: Digits) -> bool {
        if self.event.is_none() {
            return false;
        }
        let before = match &self.keys {
            Keys::None => Digits::new(),
            Keys::Down { rest, .. } | Keys::Pause { rest, .. } => *rest,
        };
        let all: Digits = before.iter().chain(digits.iter()).collect();
        match &mut self.keys {
            Keys::None => self.keys = Keys::down(all),
            Keys::Down { rest, .. } | Keys::Pause { rest, .. } => *rest = all,
        }
        true
    }

    /// The packet of this packet time.
    pub(crate) fn next(&mut self, out: &mut [u8; MAX_PACKET]) -> Turn {
        let units = self.units(self.ptime_ms);
        let (Keys::Down { rest, key, down_ms, ends }, Some(event)) = (&mut self.keys, self.event) else {
            let keys_done = self.pause();
            let len = self.audio(out);
            self.timestamp = self.timestamp.plus(units);
            return Turn { len, keys_done };
        };
        // RFC 4733, 2.5.1.1: all packets of an event carry its start as timestamp and its duration so far.
        let marker = *down_ms == 0;
        *down_ms = (*down_ms + self.ptime_ms).min(KEY_MS);
        let end = *down_ms == KEY_MS;
        let (rest, key, told) = (*rest, *key, *down_ms);
        if end {
            *ends += 1;
        }
        let last = *ends == END_PACKETS;
        let duration = (event.clock / 1000 * u32::from(told)) as u16; // KEY_MS fits
        out[HEADER_LEN..HEADER_LEN + 4].copy_from_slice(&[
            key.event_code(),
            u8::from(end) << 7 | VOLUME,
            duration.to_be_bytes()[0],
            duration.to_be_bytes()[1],
        ]);
        let len = self.stamp(out, event.pt_send, marker, 4);
        if last {
            // Media time went on: the key itself, and the packet times of the repeated end.
            let spent = KEY_MS.next_multiple_of(self.ptime_ms) + u16::from(END_PACKETS - 1) * self.ptime_ms;
            self.timestamp = self.timestamp.plus(self.units(spent));
            self.keys = Keys::Pause { rest, left_ms: PAUSE_MS };
        }
        Turn { len, keys_done: false }
    }

    /// One packet time of pause; whether it was the last one after the last key.
    fn pause(&mut self) -> bool {
        let Keys::Pause { rest, left_ms } = &mut self.keys else { return false };
        *left_ms = left_ms.saturating_sub(self.ptime_ms);
        if *left_ms > 0 {
            return false;
        }
        self.keys = Keys::down(*rest);
        matches!(self.keys, Keys::None)
    }

    fn audio(&mut self, out: &mut [u8; MAX_PACKET]) -> usize {
        let rate = self.codec.sample_rate() as usize;
        let mut samples = [0i16; MAX_SAMPLES];
        let samples = &mut samples[..rate / 1000 * usize::from(self.ptime_ms)];
        match self.talk {
            Talk::Nothing => return 0,
            Talk::Silence => {}
            Talk::Tone => {
                // 400 Hz: a period is 20 samples, or 40, so every packet is whole periods.
                let period = rate / 400;
                for (at, sample) in samples.iter_mut().enumerate() {
                    let phase = (at % period) as f32 / period as f32 * std::f32::consts::TAU;
                    *sample = (phase.sin() * 8000.0) as i16;
                }
            }
        }
        let len = self.encoder.encode(samples, &mut out[HEADER_LEN..]);
        // RFC 3551, 4.1: the marker bit distinguishes the first packet of a talkspurt.
        let marker = !std::mem::replace(&mut self.begun, true);
        self.stamp(out, self.pt, marker, len)
    }

    fn stamp(&mut self, out: &mut [u8; MAX_PACKET], pt: u8, marker: bool, payload: usize) -> usize {
        let header = Header { marker, pt, seq: self.seq, timestamp: self.timestamp, ssrc: self.ssrc };
        self.seq = self.seq.next();
        out[..HEADER_LEN].copy_from_slice(&header.to_bytes());
        HEADER_LEN + payload
    }

    fn units(&self, ms: u16) -> u32 {
        self.codec.clock_rate() / 1000 * u32::from(ms)
    }
}

impl Keys {
    fn down(digits: Digits) -> Self {
        match digits.iter().next() {
            Some(key) => Self::Down { rest: digits.iter().skip(1).collect(), key, down_ms: 0, ends: 0 },
            None => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media_core::rtp::Packet;
    use media_core::{Direction, Ptime};

    fn voice(talk: Talk) -> Voice {
        let negotiated = Negotiated {
            remote: "127.0.0.1:4000".parse().unwrap(),
            rtcp: None,
            codec: Codec::Pcma,
            pt_send: 8,
            pt_recv: 8,
            telephone_event: Some(TelephoneEvent { pt_send: 101, pt_recv: 101, clock: 8000 }),
            others: Vec::new(),
            ptime: Ptime::DEFAULT,
            direction: Direction::SendRecv,
            rtcp_mux: false,
            srtp: None,
        };
        Voice::new(&negotiated, talk, 0xFFFF_0000_0007)
    }

    /// Payload type, marker, timestamp since the first packet, payload.
    type Sent = (u8, bool, u32, Vec<u8>);

    /// The packets of so many turns, and in which of them the keys were done.
    fn turns(voice: &mut Voice, count: usize) -> (Vec<Sent>, Vec<usize>) {
        let first = voice.timestamp.0;
        let seq = voice.seq.0;
        let mut out = [0; MAX_PACKET];
        let mut done = Vec::new();
        let mut packets = Vec::new();
        for turn in 0..count {
            let Turn { len, keys_done } = voice.next(&mut out);
            if keys_done {
                done.push(turn);
            }
            if len == 0 {
                continue;
            }
            let packet = Packet::parse(&out[..len]).unwrap();
            assert_eq!(packet.header.seq.0, seq.wrapping_add(packets.len() as u16), "consecutive");
            let timestamp = packet.header.timestamp.0.wrapping_sub(first);
            packets.push((packet.header.pt, packet.header.marker, timestamp, packet.payload.to_vec()));
        }
        (packets, done)
    }

    #[test]
    fn silence_goes_on_and_on() {
        let (packets, done) = turns(&mut voice(Talk::Silence), 3);
        for (n, packet) in packets.iter().enumerate() {
            assert_eq!(*packet, (8, n == 0, 160 * n as u32, vec![0xD5; 160]));
        }
        assert!(done.is_empty());
    }

    #[test]
    fn a_key_is_five_updates_with_three_ends() {
        let mut voice = voice(Talk::Silence);
        assert!(voice.press([Digit::D1, Digit::Pound].into_iter().collect()));
        let (packets, done) = turns(&mut voice, 20);
        let event =
            |key: u8, end: u8, duration: u16| vec![key, end << 7 | 10, (duration >> 8) as u8, duration as u8];
        for (n, (duration, end)) in
            [(160, 0), (320, 0), (480, 0), (640, 0), (800, 1), (800, 1), (800, 1)].into_iter().enumerate()
        {
            assert_eq!(packets[n], (101, n == 0, 0, event(1, end, duration)), "packet {n} of the first key");
            assert_eq!(
                packets[n + 10],
                (101, n == 0, 1600, event(11, end, duration)),
                "packet {n} of the second"
            );
        }
        for n in [7, 8, 9, 17, 18, 19] {
            assert_eq!((packets[n].0, packets[n].2), (8, 160 * n as u32), "packet {n} is audio at its time");
        }
        assert_eq!(done, [19]);
    }

    #[test]
    fn who_says_nothing_still_presses_keys() {
        let mut voice = voice(Talk::Nothing);
        voice.press([Digit::Star].into_iter().collect());
        let (packets, done) = turns(&mut voice, 12);
        assert_eq!(packets.len(), 7);
        assert_eq!(done, [9]);
    }

    #[test]
    fn a_peer_without_events_gets_none() {
        let mut voice = voice(Talk::Tone);
        voice.event = None;
        assert!(!voice.press([Digit::D1].into_iter().collect()));
        let (packets, _) = turns(&mut voice, 1);
        assert!(packets[0].3.iter().any(|&code| code != 0xD5));
    }
}
