//! The ear at the end of an emulated network, on a virtual clock.

use std::time::{Duration, Instant};

use media_core::rtp::Header;
use media_core::{Codec, Ear, EarConfig, EarStats, Encoder, MediaTime, SeqNo, Ssrc};
use netem::{Impairments, Link, seeds};
use proptest::prelude::*;

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
    /// Packets sent, milliseconds of the peer's clock, and ticks of ours since the start.
    packets: u32,
    sent_ms: u32,
    ticks: u32,
    peer_ptime_ms: u32,
    /// How much faster than ours the peer's clock is.
    drift_ppm: i64,
    ssrc: u32,
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
            packets: 0,
            sent_ms: 0,
            ticks: 0,
            peer_ptime_ms: 20,
            drift_ppm: 0,
            ssrc: 77,
            heard: Vec::new(),
        }
    }

    pub(crate) fn frame(&self) -> usize {
        self.codec.sample_rate() as usize / 50
    }

    /// The peer has heard that so many packets of the hundred are lost.
    pub(crate) fn expect_loss(&mut self, percent: u8) {
        self.encoder.expect_loss(percent);
    }

    fn sent_at(&self, ms: u32) -> Instant {
        let micros = i64::from(ms) * 1_000;
        self.start + Duration::from_micros((micros - micros * self.drift_ppm / 1_000_000) as u64)
    }

    /// The peer sends `sound`, and all that time the ear is pulled.
    pub(crate) fn speak(&mut self, sound: &[i16]) {
        let packet = self.codec.sample_rate() / 1_000 * self.peer_ptime_ms;
        for sound in sound.chunks_exact(packet as usize) {
            let mut payload = vec![0; 1_500];
            let octets = self.encoder.encode(sound, &mut payload);
            payload.truncate(octets);
            let units = self.codec.clock_rate() / 1_000 * self.sent_ms;
            let header = Header {
                marker: self.packets == 0,
                pt: self.codec.payload_type(),
                // Both wrap soon.
                seq: SeqNo((self.packets as u16).wrapping_add(65_500)),
                timestamp: MediaTime(units.wrapping_add(u32::MAX - 50_000)),
                ssrc: Ssrc(self.ssrc),
            };
            let at = self.sent_at(self.sent_ms);
            self.pull_until(at);
            self.link.send(at, (header, payload));
            self.packets += 1;
            self.sent_ms += self.peer_ptime_ms;
        }
        self.pull_until(self.sent_at(self.sent_ms));
    }

    /// The peer sends nothing.
    fn pause(&mut self, ms: u32) {
        self.sent_ms += ms;
        self.pull_until(self.sent_at(self.sent_ms));
    }

    /// The peer speaks for `seconds`; what that did to the ear.
    fn talk(&mut self, seconds: u32) -> EarStats {
        let before = self.stats();
        let rate = self.codec.sample_rate();
        let from = self.sent_ms * (rate / 1_000);
        let sound: Vec<i16> = (from..from + rate * seconds).map(|n| voice(n, rate)).collect();
        self.speak(&sound);
        let after = self.stats();
        EarStats {
            heard_ms: after.heard_ms - before.heard_ms,
            concealed_ms: after.concealed_ms - before.concealed_ms,
            noise_ms: after.noise_ms - before.noise_ms,
            stretched_ms: after.stretched_ms - before.stretched_ms,
            compressed_ms: after.compressed_ms - before.compressed_ms,
            late: after.late - before.late,
            discarded: after.discarded - before.discarded,
            ..after
        }
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

/// A vowel in syllables of a quarter of a second: what can be stretched and what cannot.
fn voice(n: u32, rate: u32) -> i16 {
    let seconds = f64::from(n) / f64::from(rate);
    let hz = 120.0 + 20.0 * (seconds * 3.0).sin();
    let phase = seconds * hz * std::f64::consts::TAU;
    let loudness = (seconds * 4.0 * std::f64::consts::PI).sin().abs();
    let harmonics: f64 = (1..6).map(|k| (phase * f64::from(k)).sin() / f64::from(k)).sum();
    (harmonics * loudness * 6_000.0) as i16
}

fn jitter(ms: u64) -> Impairments {
    Impairments { delay: Duration::from_millis(30), jitter: Duration::from_millis(ms), ..Impairments::NONE }
}

#[test]
fn a_clean_network_is_heard_bit_for_bit_after_the_least_delay() {
    for codec in Codec::ALL {
        let mut listening = Listening::new(codec, 1, jitter(0));
        // The first guess of the delay is a cautious one; it has been taken back after some seconds.
        listening.talk(15);
        let stats = listening.talk(5);
        let untouched = EarStats {
            heard_ms: 5_000,
            delay_ms: stats.delay_ms,
            mean_delay_ms: stats.mean_delay_ms,
            target_ms: 20,
            ..EarStats::default()
        };
        assert_eq!(stats, untouched);
        assert!((20..=60).contains(&stats.delay_ms), "{stats:?}");
        let (mut encoder, mut decoder) = (Encoder::new(codec), media_core::Decoder::new(codec));
        let rate = codec.sample_rate();
        let sound: Vec<i16> = (0..rate * 20).map(|n| voice(n, rate)).collect();
        let mut wanted = vec![0; sound.len()];
        for (sound, wanted) in sound.chunks(listening.frame()).zip(wanted.chunks_mut(listening.frame())) {
            let mut payload = [0; 1_500];
            let octets = encoder.encode(sound, &mut payload);
            decoder.decode(&payload[..octets], wanted);
        }
        let heard = &listening.heard[listening.heard.len() - rate as usize * 4..];
        assert!(wanted.windows(heard.len()).any(|wanted| wanted == heard), "{codec:?}");
    }
}

#[test]
fn the_delay_follows_the_jitter_up_and_down() {
    for seed in seeds(5) {
        let mut listening = Listening::new(Codec::Pcma, seed, jitter(5));
        let calm = listening.talk(15);
        assert_eq!(calm.target_ms, 20, "{seed}: {calm:?}");
        listening.link.set_impairments(jitter(100));
        listening.talk(5);
        let rough = listening.talk(20);
        assert!((60..=110).contains(&rough.target_ms), "{seed}: {rough:?}");
        assert!((60..=160).contains(&rough.delay_ms), "{seed}: {rough:?}");
        assert!(rough.concealed_ms < 400, "{seed}: 2 % of it: {rough:?}");
        listening.link.set_impairments(jitter(5));
        listening.talk(40);
        let calm = listening.talk(5);
        assert!(calm.target_ms <= 25 && calm.delay_ms <= 70, "{seed}: {calm:?}");
        assert_eq!(calm.concealed_ms, 0, "{seed}");
    }
}

#[test]
fn clocks_that_differ_do_not_let_the_delay_grow() {
    for codec in [Codec::Pcma, Codec::G722] {
        for drift_ppm in [-200, 200] {
            let mut listening = Listening { drift_ppm, ..Listening::new(codec, 3, jitter(10)) };
            listening.talk(20);
            let mut changed = 0;
            for minute in 1..=10 {
                let stats = listening.talk(60);
                listening.heard.clear();
                assert!((14..=70).contains(&stats.delay_ms), "{drift_ppm} ppm, minute {minute}: {stats:?}");
                assert!(stats.concealed_ms < 60 && stats.late + stats.discarded == 0, "{stats:?}");
                changed += i64::from(stats.compressed_ms)
                    - i64::from(stats.stretched_ms)
                    - i64::from(stats.concealed_ms);
            }
            // 200 ppm of ten minutes are 120 ms.
            assert!((changed * drift_ppm.signum() - 120).abs() <= 45, "{drift_ppm} ppm: {changed} ms");
        }
    }
}

#[test]
fn bursts_of_loss_are_filled_and_the_delay_recovers() {
    for seed in seeds(5) {
        let network = Impairments { loss: 0.1, mean_burst: Some(5.0), ..jitter(20) };
        let mut listening = Listening::new(Codec::Pcma, seed, network);
        let stats = listening.talk(60);
        let made_up = stats.concealed_ms + stats.noise_ms;
        assert!((3_000..9_500).contains(&made_up), "{seed}: {stats:?}");
        assert!(stats.delay_ms < 150 && stats.late < 5, "{seed}: {stats:?}");
    }
}

#[test]
fn what_was_overtaken_within_the_delay_is_heard_in_order() {
    let network = Impairments { reorder: 0.1, hold: Duration::from_millis(45), ..jitter(0) };
    let mut listening = Listening::new(Codec::Pcma, 2, network);
    listening.talk(5);
    let stats = listening.talk(30);
    assert_eq!((stats.concealed_ms, stats.late, stats.discarded), (0, 0, 0), "{stats:?}");
    assert!((45..=50).contains(&stats.target_ms), "{stats:?}");
    // Twice is once.
    listening.link.set_impairments(Impairments { duplicate: 0.3, ..network });
    let stats = listening.talk(10);
    assert_eq!((stats.concealed_ms, stats.late, stats.discarded), (0, 0, 0), "{stats:?}");
}

#[test]
fn talkspurts_begin_whole_and_pauses_are_no_loss() {
    for seed in seeds(5) {
        let mut listening = Listening::new(Codec::Pcma, seed, jitter(30));
        listening.talk(10);
        for _ in 0..20 {
            let before = listening.stats();
            listening.pause(800);
            listening.talk(2);
            let after = listening.stats();
            // Nobody can know a pause before it is over: the first 60 ms of it are taken for loss.
            assert!(after.concealed_ms - before.concealed_ms <= 120, "{seed}: {before:?} {after:?}");
            assert!(after.noise_ms - before.noise_ms >= 600, "{seed}: {before:?} {after:?}");
            assert_eq!(after.discarded, 0, "{seed}");
            assert!(after.delay_ms < 110, "{seed}: {after:?}");
        }
    }
}

#[test]
fn the_peers_packet_time_may_be_another() {
    for peer_ptime_ms in [10, 30, 40, 60, 120] {
        let mut listening = Listening { peer_ptime_ms, ..Listening::new(Codec::Pcma, 4, jitter(10)) };
        listening.talk(12);
        let stats = listening.talk(12);
        assert_eq!(
            (stats.concealed_ms, stats.late, stats.discarded),
            (0, 0, 0),
            "{peer_ptime_ms}: {stats:?}"
        );
        assert!(stats.delay_ms <= 80 + peer_ptime_ms, "{peer_ptime_ms}: {stats:?}");
    }
}

#[test]
fn another_source_is_heard_at_its_second_packet() {
    let mut listening = Listening::new(Codec::Pcma, 5, jitter(0));
    listening.talk(10);
    for ssrc in [78, 79] {
        listening.ssrc = ssrc;
        // Another clock, too.
        listening.sent_ms += 1_000_000;
        listening.start -= Duration::from_millis(1_000_000);
        listening.ticks += 50_000;
        let stats = listening.talk(5);
        assert_eq!(stats.discarded, 1, "{stats:?}");
        assert!(stats.concealed_ms + stats.noise_ms <= 120 && stats.delay_ms <= 60, "{stats:?}");
    }
}

#[test]
fn a_network_that_stands_still_and_lets_go_is_caught_up_with() {
    for stall_ms in [300, 900, 5_000] {
        let mut listening = Listening::new(Codec::Pcma, 6, jitter(0));
        listening.talk(10);
        listening
            .link
            .set_impairments(Impairments { delay: Duration::from_millis(stall_ms), ..Impairments::NONE });
        listening.talk(stall_ms as u32 / 1_000 + 1);
        listening.link.set_impairments(jitter(0));
        listening.talk(20);
        let stats = listening.talk(5);
        assert!(stats.delay_ms <= 90, "{stall_ms}: {stats:?}");
        assert!(stats.concealed_ms + stats.noise_ms == 0, "{stall_ms}: {stats:?}");
    }
}

/// The longest delay is no cliff: what exceeds it costs what it must, and the rest is heard.
#[test]
fn at_the_longest_delay_most_is_heard() {
    let slow = |ms: u64| Impairments { delay: Duration::from_millis(ms), ..Impairments::NONE };
    let missed = |stats: EarStats| stats.concealed_ms + stats.noise_ms;
    for (later, missed_at_most) in [(190, 700), (250, 1_200), (300, 1_500)] {
        let mut listening = Listening::new(Codec::Pcma, 7, slow(30));
        listening.talk(10);
        listening.link.set_impairments(slow(30 + later));
        let stats = listening.talk(5);
        assert!(missed(stats) <= missed_at_most && stats.discarded <= 20, "+{later} ms: {stats:?}");
        let stats = listening.talk(10);
        assert_eq!((missed(stats), stats.discarded), (0, 0), "+{later} ms, later: {stats:?}");
    }
    for seed in seeds(3) {
        let mut listening = Listening::new(Codec::Pcma, seed, jitter(250));
        listening.talk(10);
        let stats = listening.talk(20);
        assert!(missed(stats) <= 8_000, "jitter of 250 ms, {seed}: {stats:?}");
    }
}

/// A timestamp may be anything, again and again.
#[test]
fn timestamps_that_run_away_are_borne() {
    for noise in [false, true] {
        let mut ear = Ear::new(EarConfig::new(Codec::Pcma));
        let mut header =
            Header { marker: false, pt: 8, seq: SeqNo(0), timestamp: MediaTime(0), ssrc: Ssrc(1) };
        let mut frame = [0; 160];
        for n in 0..300_000_u64 {
            let now = epoch() + Duration::from_millis(20) * (n / 100) as u32;
            header.seq = header.seq.next();
            header.timestamp = header.timestamp.plus(0x7FFF_FFFF);
            if noise {
                ear.push_noise(now, &header, &[60]);
            } else {
                ear.push(now, &header, &[0xD5; 160]);
            }
            if n % 100 == 0 {
                ear.pull(now, &mut frame);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    /// Whatever comes, and whenever it is pulled: every frame is filled, and the delay stays within reason.
    #[test]
    fn anything_may_come(
        codec in proptest::sample::select(Codec::ALL.to_vec()),
        steps in proptest::collection::vec(
            (0_u8..8, 0_u32..80, any::<u16>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..600)),
            1..200,
        ),
    ) {
        let mut ear = Ear::new(EarConfig::new(codec));
        let mut now = epoch();
        let mut header =
            Header { marker: false, pt: 8, seq: SeqNo(65_530), timestamp: MediaTime(u32::MAX - 500), ssrc: Ssrc(1) };
        for (kind, ms, seq, units, payload) in steps {
            now += Duration::from_millis(ms.into());
            header.seq = header.seq.next();
            header.timestamp = header.timestamp.plus(160);
            match kind {
                0 => header.seq = SeqNo(seq),
                1 => header.timestamp = MediaTime(units),
                2 => header.ssrc = Ssrc(units % 2),
                3 => header.timestamp = header.timestamp.plus(units % 20_000),
                4 => ear.push_noise(now, &header, &payload),
                5 => ear.pass_over(now, &header),
                _ => {}
            }
            ear.push(now, &header, &payload);
            const UNTOUCHED: i16 = 12_345;
            let mut frame = vec![UNTOUCHED; codec.sample_rate() as usize / 1_000 * (10 + seq as usize % 51)];
            ear.pull(now, &mut frame);
            // No sound stands still there.
            prop_assert!(!frame.windows(20).any(|part| part.iter().all(|sample| *sample == UNTOUCHED)));
            prop_assert!(ear.stats().delay_ms < 1_500, "{:?}", ear.stats());
        }
    }
}
