//! A leg under test on a virtual clock.
#![allow(
    dead_code,
    reason = "each test file uses a part; what is unused differs, so `expect` cannot be kept"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media_core::rtp::{Header, Packet};
use media_core::{
    Codec, Collect, Digit, DigitSet, Direction, Leg, LegConfig, MediaEvent, MediaTime, Negotiated, NtpClock,
    Play, Playlist, Program, Prompt, Ptime, SeqNo, Ssrc, TelephoneEvent,
};

pub(crate) const PTIME: Duration = Duration::from_millis(20);
pub(crate) const EVENT_PT: u8 = 101;

/// Where the virtual clock starts.
pub(crate) fn epoch() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; nothing reads it again")]
    Instant::now()
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn config(start: Instant, ssrc: u32) -> LegConfig {
    LegConfig {
        ssrc: Ssrc(ssrc),
        first_seq: SeqNo(65_530),
        first_timestamp: MediaTime(u32::MAX - 1000),
        cname: "leg@test".into(),
        clock: NtpClock::from_unix_ms(start, 1_700_000_000_000),
        rtcp_seed: ssrc.into(),
        rtp_timeout: Default::default(),
    }
}

pub(crate) fn negotiated(remote: &str) -> Negotiated {
    let remote = addr(remote);
    Negotiated {
        remote,
        rtcp: Some(SocketAddr::new(remote.ip(), remote.port() + 1)),
        codec: Codec::Pcma,
        pt_send: 8,
        pt_recv: 8,
        telephone_event: Some(TelephoneEvent { pt_send: EVENT_PT, pt_recv: EVENT_PT, clock: 8000 }),
        others: Vec::new(),
        ptime: Ptime::DEFAULT,
        direction: Direction::SendRecv,
        rtcp_mux: false,
        srtp: None,
    }
}

/// A prompt of `octets` octets, none of which is silence.
pub(crate) fn prompt(octets: usize) -> Arc<Prompt> {
    Arc::new(Prompt::new(Codec::Pcma, (0..octets).map(|n| (n % 199) as u8).collect::<Vec<u8>>()))
}

pub(crate) fn play(id: u64, playlist: impl Into<Playlist>) -> Play {
    Play { id, playlist: playlist.into(), plays: 1, offset_ms: 0, barge_in: false }
}

pub(crate) fn collect(id: u64, max: u8) -> Collect {
    let terminators = DigitSet::EMPTY.with(Digit::Pound);
    Collect { id, min: 1, max, terminators, timeout_ms: 5000, inter_digit_ms: 2000 }
}

pub(crate) fn playing(play: Play) -> Program {
    Program { play: Some(play), collect: None }
}

pub(crate) fn collecting(collect: Collect) -> Program {
    Program { play: None, collect: Some(collect) }
}

/// A packet that the leg sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
}

pub(crate) struct Rig {
    pub(crate) leg: Leg,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) sent: Vec<Sent>,
    events: Vec<MediaEvent>,
    peer: SocketAddr,
    peer_seq: SeqNo,
    peer_time: MediaTime,
}

impl Rig {
    /// A started leg whose peer is at 192.0.2.1:4000.
    pub(crate) fn new() -> Self {
        Self::with(&negotiated("192.0.2.1:4000"))
    }

    pub(crate) fn with(negotiated: &Negotiated) -> Self {
        Self::of(config(epoch(), 1), negotiated)
    }

    pub(crate) fn of(config: LegConfig, negotiated: &Negotiated) -> Self {
        let start = epoch();
        let mut leg = Leg::new(config);
        leg.start(start, negotiated);
        Self {
            leg,
            start,
            now: start,
            sent: Vec::new(),
            events: Vec::new(),
            peer: negotiated.remote,
            peer_seq: SeqNo(100),
            peer_time: MediaTime(5000),
        }
    }

    pub(crate) fn run(&mut self, program: Program) {
        self.leg.run(self.now, program);
        self.drain();
    }

    /// Lets `ticks` packet times pass.
    pub(crate) fn tick(&mut self, ticks: usize) {
        for _ in 0..ticks {
            let mut out = [0xEE; Leg::MAX_PACKET];
            if let Some(len) = self.leg.tick(self.now, &mut out) {
                let packet = Packet::parse(&out[..len]).unwrap();
                self.sent.push(Sent { header: packet.header, payload: packet.payload.to_vec() });
            }
            self.drain();
            self.now += PTIME;
            self.peer_time = self.peer_time.plus(160);
        }
    }

    /// Receives `datagram` from `from`.
    pub(crate) fn hear(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.leg.receive_rtp(self.now, from, &mut datagram.to_vec());
        self.drain();
    }

    /// Receives one packet of the peer's stream.
    pub(crate) fn hear_packet(&mut self, pt: u8, timestamp: MediaTime, payload: &[u8]) {
        let header = Header { marker: false, pt, seq: self.peer_seq, timestamp, ssrc: Ssrc(77) };
        self.peer_seq = self.peer_seq.next();
        self.hear(self.peer, &[&header.to_bytes()[..], payload].concat());
    }

    /// Receives one frame of audio.
    pub(crate) fn hear_audio(&mut self) {
        self.hear_packet(8, self.peer_time, &[0x2A; 160]);
    }

    /// A packet of the peer's stream is lost.
    pub(crate) fn lose(&mut self) {
        self.peer_seq = self.peer_seq.next();
    }

    /// The peer presses a key for `ticks` packet times.
    pub(crate) fn press(&mut self, digit: Digit, ticks: u16) {
        let timestamp = self.peer_time;
        for n in 1..=ticks {
            self.hear_event(timestamp, digit, false, n * 160);
            self.tick(1);
        }
        for _ in 0..3 {
            self.hear_event(timestamp, digit, true, ticks * 160);
        }
        // A pause, so that the next key has another timestamp.
        self.tick(3);
    }

    pub(crate) fn hear_event(&mut self, timestamp: MediaTime, digit: Digit, end: bool, duration: u16) {
        let [d0, d1] = duration.to_be_bytes();
        self.hear_packet(EVENT_PT, timestamp, &[digit.event_code(), if end { 0x8A } else { 0x0A }, d0, d1]);
    }

    pub(crate) fn peer_time(&self) -> MediaTime {
        self.peer_time
    }

    /// The events since last asked.
    pub(crate) fn events(&mut self) -> Vec<MediaEvent> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn drain(&mut self) {
        self.events.extend(std::iter::from_fn(|| self.leg.poll_event()));
    }
}

/// The octets of a prompt in A-law.
pub(crate) fn payload(prompt: &Prompt) -> &[u8] {
    prompt.encoded(Codec::Pcma).unwrap().payload()
}
