//! Two legs in one thread, on a virtual clock, over an emulated network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::rig::{PTIME, addr, config, epoch, negotiated, payload, play, playing, prompt};
use media_core::rtp::Packet;
use media_core::{Leg, MediaEvent, MediaStats, PlayEnd};
use netem::{Impairments, Link};

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:5000";

struct Side {
    leg: Leg,
    /// Towards the other side.
    rtp: Link<Vec<u8>>,
    rtcp: Link<Vec<u8>>,
    events: Vec<MediaEvent>,
    /// Payloads received, as they came.
    heard: Vec<u8>,
}

impl Side {
    fn new(start: Instant, ssrc: u32, remote: &str, impairments: Impairments) -> Self {
        let mut leg = Leg::new(config(start, ssrc));
        leg.start(start, &negotiated(remote));
        Self {
            leg,
            rtp: Link::new(ssrc.into(), impairments),
            rtcp: Link::new(ssrc.into(), impairments),
            events: Vec::new(),
            heard: Vec::new(),
        }
    }

    fn send(&mut self, now: Instant) {
        let mut out = [0; Leg::MAX_PACKET];
        if let Some(len) = self.leg.tick(now, &mut out) {
            self.rtp.send(now, out[..len].to_vec());
        }
        if let Some(len) = self.leg.poll_rtcp(now, &mut out) {
            self.rtcp.send(now, out[..len].to_vec());
        }
        self.events.extend(std::iter::from_fn(|| self.leg.poll_event()));
    }

    /// Takes what has arrived from `other`, which is at `from`.
    fn receive(&mut self, now: Instant, other: &mut Side, from: &str) {
        let from = addr(from);
        while let Some(mut datagram) = other.rtp.recv(now) {
            self.heard.extend_from_slice(Packet::parse(&datagram).unwrap().payload);
            self.leg.receive_rtp(now, from, &mut datagram);
        }
        while let Some(mut datagram) = other.rtcp.recv(now) {
            self.leg.receive_rtcp(now, SocketAddr::new(from.ip(), from.port() + 1), &mut datagram);
        }
        self.events.extend(std::iter::from_fn(|| self.leg.poll_event()));
    }
}

struct Pair {
    now: Instant,
    a: Side,
    b: Side,
}

impl Pair {
    fn new(impairments: Impairments) -> Self {
        let now = epoch();
        Self { now, a: Side::new(now, 1, B, impairments), b: Side::new(now, 2, A, impairments) }
    }

    /// Lets `time` pass, in steps of a millisecond; each side ticks every packet time.
    fn pass(&mut self, time: Duration) {
        for ms in 0..time.as_millis() {
            if ms % PTIME.as_millis() == 0 {
                self.a.send(self.now);
                self.b.send(self.now);
            }
            self.now += Duration::from_millis(1);
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        self.b.receive(self.now, &mut self.a, A);
        self.a.receive(self.now, &mut self.b, B);
    }

    fn finish(mut self) -> (MediaStats, MediaStats) {
        // What is under way arrives before the end.
        for _ in 0..1000 {
            self.now += Duration::from_millis(1);
            self.deliver();
        }
        (self.a.leg.finish(self.now), self.b.leg.finish(self.now))
    }
}

#[test]
fn a_prompt_arrives_octet_by_octet() {
    let mut pair = Pair::new(Impairments { delay: Duration::from_millis(30), ..Impairments::NONE });
    let audio = prompt(16_000);
    pair.a.leg.run(pair.now, playing(play(1, Arc::clone(&audio))));
    pair.pass(Duration::from_secs(3));
    assert_eq!(pair.b.heard[..16_000], *payload(&audio));
    assert!(pair.b.heard[16_000..].iter().all(|octet| *octet == 0xD5));
    let ended = MediaEvent::PlayEnded { id: 1, reason: PlayEnd::Completed, played_ms: 2000 };
    assert_eq!(pair.a.events, [MediaEvent::PlayStarted { id: 1 }, ended]);
}

#[test]
fn both_learn_the_round_trip_and_a_clean_line_has_no_jitter() {
    let mut pair = Pair::new(Impairments { delay: Duration::from_millis(35), ..Impairments::NONE });
    pair.pass(Duration::from_secs(20));
    let (a, b) = pair.finish();
    for stats in [a, b] {
        assert!((stats.rtt_ms.unwrap() - 70.0).abs() < 0.1, "{stats:?}");
        assert_eq!((stats.packets_sent, stats.packets_received, stats.packets_lost), (1000, 1000, 0));
        assert_eq!(
            (stats.jitter_ms, stats.remote_jitter_ms, stats.remote_packets_lost),
            (0.0, Some(0.0), Some(0))
        );
    }
}

#[test]
fn loss_duplication_and_reordering_are_counted_as_the_network_made_them() {
    let clean = Impairments { delay: Duration::from_millis(20), ..Impairments::NONE };
    for seed in 0..8 {
        let mut pair = Pair::new(clean);
        pair.a.rtp = Link::new(seed, clean);
        // Beginning and end are clean, for nobody can know of a first or last packet that was lost.
        pair.pass(Duration::from_secs(1));
        pair.a.rtp.set_impairments(Impairments {
            loss: 0.05,
            duplicate: 0.03,
            reorder: 0.02,
            hold: Duration::from_millis(45),
            ..clean
        });
        pair.pass(Duration::from_secs(40));
        pair.a.rtp.set_impairments(clean);
        pair.pass(Duration::from_secs(1));
        let network = pair.a.rtp.stats();
        let (_, stats) = pair.finish();
        assert_eq!(
            (stats.packets_received, stats.packets_lost, stats.packets_duplicated),
            (network.sent - network.lost + network.duplicated, network.lost, network.duplicated),
            "seed {seed}"
        );
        assert!(network.lost > 50 && network.duplicated > 20, "{network:?}");
        assert!((10..=network.sent / 20).contains(&stats.packets_reordered), "{stats:?}");
    }
}
