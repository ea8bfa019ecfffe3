//! The ear at the end of an emulated network, on a virtual clock.

use std::time::{Duration, Instant};

use media_core::rtp::Header;
use media_core::{Codec, Ear, EarConfig, EarStats, Encoder, MediaTime, SeqNo, Ssrc};
use netem::{Impairments, Link};

use crate::rig::epoch;

/// How far our ticks lie behind the peer's.
const OFFSET: Duration = Duration::from_millis(7);

/// A peer that speaks, a network, and an ear.
pub(crate) struct Listening {
    pub(crate) ear: Ear,
    codec: Codec,
    encoder: Encoder,
    link: Link<(Header, Vec<u8>)>,
    start: Instant,
    /// Packets sent, and ticks since the start.
    sent: u32,
    ticks: u32,
    /// The peer's packet time in microseconds of our clock: its own clock may drift.
    peer_ptime_us: u64,
    pub(crate) heard: Vec<i16>,
}

impl Listening {
    pub(crate) fn new(codec: Codec, seed: u64, impairments: Impairments) -> Self {
        Self {
            ear: Ear::new(EarConfig::new(codec)),
            codec,
            encoder: Encoder::new(codec),
            link: Link::new(seed, impairments),
            start: epoch(),
            sent: 0,
            ticks: 0,
            peer_ptime_us: 20_000,
            heard: Vec::new(),
        }
    }

    pub(crate) fn frame(&self) -> usize {
        self.codec.sample_rate() as usize / 50
    }

    fn sent_at(&self, packet: u32) -> Instant {
        self.start + Duration::from_micros(self.peer_ptime_us) * packet
    }

    /// The peer sends `sound` in packets of 20 ms, and all that time the ear is pulled.
    pub(crate) fn speak(&mut self, sound: &[i16]) {
        let frame = self.frame();
        let pt = self.codec.static_pt();
        for sound in sound.chunks_exact(frame) {
            let mut payload = vec![0; 1_500];
            let octets = self.encoder.encode(sound, &mut payload);
            payload.truncate(octets);
            let units = self.codec.clock_rate() / 50;
            let header = Header {
                marker: self.sent == 0,
                pt,
                seq: SeqNo((self.sent as u16).wrapping_add(65_000)),
                timestamp: MediaTime((self.sent * units).wrapping_add(u32::MAX - 50_000)),
                ssrc: Ssrc(77),
            };
            let at = self.sent_at(self.sent);
            self.pull_until(at);
            self.link.send(at, (header, payload));
            self.sent += 1;
        }
        self.pull_until(self.sent_at(self.sent));
    }

    /// The peer sends nothing for `packets` packet times.
    pub(crate) fn pause(&mut self, packets: u32) {
        self.sent += packets;
        self.pull_until(self.sent_at(self.sent));
    }

    fn pull_until(&mut self, until: Instant) {
        loop {
            let tick = self.start + OFFSET + Duration::from_millis(20) * self.ticks;
            if tick > until {
                break;
            }
            self.arrive(tick);
            let mut frame = vec![i16::MAX; self.frame()];
            self.ear.pull(tick, &mut frame);
            self.heard.extend_from_slice(&frame);
            self.ticks += 1;
        }
        self.arrive(until);
    }

    fn arrive(&mut self, now: Instant) {
        while let Some(due) = self.link.poll_timeout().filter(|due| *due <= now) {
            while let Some((header, payload)) = self.link.recv(due) {
                self.ear.push(due, &header, &payload);
            }
        }
    }

    pub(crate) fn stats(&self) -> EarStats {
        self.ear.stats()
    }
}
