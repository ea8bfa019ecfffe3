//! Several payload formats in one session: the peer may send any that both sides list.

use std::time::Duration;

use media_core::rtp::Header;
use media_core::sdp::Encoding;
use media_core::{
    AgreedFormat, Codec, Ear, EarConfig, Encoder, MediaEvent, MediaTime, Negotiated, RtpTimeout, SeqNo, Ssrc,
};

use crate::rig::{Rig, addr, config, epoch, negotiated};

const PEER: &str = "192.0.2.1:4000";

/// As after an answer that lists all of `codecs`, the first of which we send.
pub(crate) fn agreed(codecs: &[Codec]) -> Negotiated {
    let pt = |codec: Codec| codec.payload_type();
    let others = codecs[1..].iter().map(|codec| AgreedFormat {
        encoding: Encoding::Audio(*codec),
        pt_send: pt(*codec),
        pt_recv: pt(*codec),
    });
    Negotiated {
        codec: codecs[0],
        pt_send: pt(codecs[0]),
        pt_recv: pt(codecs[0]),
        others: others.collect(),
        ..negotiated(PEER)
    }
}

/// A peer that sends one tone, in whatever codec.
pub(crate) struct Singer {
    seq: SeqNo,
    time: MediaTime,
}

impl Singer {
    pub(crate) fn new() -> Self {
        Self { seq: SeqNo(65_500), time: MediaTime(u32::MAX - 9_000) }
    }

    /// `packets` in `codec`, each 20 ms, are handed to `receive`.
    pub(crate) fn sing(
        &mut self,
        rig: &mut Rig,
        codec: Codec,
        packets: usize,
        mut receive: impl FnMut(&mut Rig, &mut [u8]),
    ) {
        let mut encoder = Encoder::new(codec);
        let rate = codec.sample_rate();
        for n in 0..packets as u32 {
            let sample = |i: u32| {
                let turn = 400.0 * f64::from(n * rate / 50 + i) / f64::from(rate);
                ((turn * std::f64::consts::TAU).sin() * 10_000.0) as i16
            };
            let sound: Vec<i16> = (0..rate / 50).map(sample).collect();
            let header = Header {
                marker: false,
                pt: codec.payload_type(),
                seq: self.seq,
                timestamp: self.time,
                ssrc: Ssrc(77),
            };
            let mut datagram = [0; 700];
            datagram[..12].copy_from_slice(&header.to_bytes());
            let octets = encoder.encode(&sound, &mut datagram[12..]);
            receive(rig, &mut datagram[..12 + octets]);
            self.seq = self.seq.next();
            self.time = self.time.plus(codec.clock_rate() / 50);
        }
    }
}

/// Lets the leg hear a packet, and returns what its ear makes of the packet time after.
fn hear(rig: &mut Rig, datagram: &mut [u8]) -> Vec<i16> {
    rig.leg.receive_rtp(rig.now, addr(PEER), datagram);
    let mut frame = [0; media_core::Leg::MAX_FRAME];
    let count = rig.leg.hear(rig.now, media_core::Ptime::DEFAULT, &mut frame);
    rig.now += crate::rig::PTIME;
    frame[..count].to_vec()
}

/// How often a sound goes from below to above zero in a second.
fn hertz(sound: &[i16], rate: u32) -> f64 {
    let ups = sound.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    ups as f64 * f64::from(rate) / sound.len() as f64
}

#[test]
fn the_peer_is_heard_in_whatever_both_sides_list() {
    for ours in Codec::ALL {
        let mut codecs = vec![ours];
        codecs.extend(Codec::ALL.into_iter().filter(|codec| *codec != ours));
        let mut rig = Rig::with(&agreed(&codecs));
        rig.leg.listen(Box::new(Ear::new(EarConfig::new(ours))));
        let mut singer = Singer::new();
        // From the first packet on in another codec, and back to ours in the end.
        codecs.rotate_left(1);
        for codec in codecs {
            let before = rig.leg.stats();
            let mut heard = Vec::new();
            singer.sing(&mut rig, codec, 100, |rig, datagram| heard.extend(hear(rig, datagram)));
            assert_eq!(heard.len(), ours.sample_rate() as usize * 2, "{codec:?}: at the rate of {ours:?}");
            let last = &heard[heard.len() / 4..];
            let pitch = hertz(last, ours.sample_rate());
            assert!((395.0..405.0).contains(&pitch), "{codec:?} with {ours:?}: {pitch} Hz");
            let loudest = last.iter().map(|sample| sample.unsigned_abs()).max();
            assert!(loudest > Some(8_000), "{codec:?} with {ours:?}: {loudest:?}");
            let after = rig.leg.stats();
            assert_eq!(after.packets_received - before.packets_received, 100);
            assert_eq!((after.packets_lost, after.packets_unknown), (0, 0));
            assert!(after.jitter_ms < 1.0, "{codec:?} after another clock: {} ms", after.jitter_ms);
            let (ear, before) = (after.ear.unwrap(), before.ear.unwrap());
            assert!(ear.discarded - before.discarded < 10, "{codec:?} with {ours:?}: {ear:?}");
        }
        assert_eq!(rig.leg.rtp_remote(), Some(addr(PEER)));
    }
}

#[test]
fn going_over_to_another_codec_allocates_nothing() {
    assert!(alloc_count::is_installed());
    let codecs = Codec::ALL;
    let mut rig = Rig::with(&agreed(&codecs));
    rig.leg.listen(Box::new(Ear::new(EarConfig::new(Codec::Pcma))));
    let mut singer = Singer::new();
    for codec in codecs.into_iter().cycle().take(2 * codecs.len()) {
        singer.sing(&mut rig, codec, 20, |rig, datagram| {
            let counts = alloc_count::count(|| {
                rig.leg.receive_rtp(rig.now, addr(PEER), datagram);
                rig.leg.tick(rig.now, &mut [0; media_core::Leg::MAX_PACKET]);
            });
            assert_eq!(counts.allocs, 0, "{codec:?}");
            rig.now += crate::rig::PTIME;
        });
    }
}

#[test]
fn what_was_not_agreed_on_is_nobodys_voice() {
    let mut config = config(epoch(), 1);
    config.rtp_timeout = RtpTimeout { talking: Some(Duration::from_secs(5)), held: None };
    let mut rig = Rig::of(config, &agreed(&[Codec::Pcma]));
    let time = rig.peer_time();
    for n in 0..255 {
        rig.hear_packet(18, time.plus(n * 160), &[1; 20]);
        rig.tick(1);
    }
    let stats = rig.leg.stats();
    assert_eq!((stats.packets_received, stats.packets_unknown, stats.packets_lost), (255, 255, 0));
    assert_eq!(stats.mos, None, "of what nobody hears");
    assert_eq!(rig.events(), [MediaEvent::PeerSilent { seconds: 5 }]);
    rig.hear_audio();
    assert!(rig.leg.stats().mos.is_some());
}

#[test]
fn keys_with_a_source_of_their_own_do_not_cut_the_sound() {
    let mut rig = Rig::with(&agreed(&[Codec::Pcma]));
    rig.leg.listen(Box::new(Ear::new(EarConfig::new(Codec::Pcma))));
    let mut singer = Singer::new();
    let mut n = 0_u16;
    singer.sing(&mut rig, Codec::Pcma, 100, |rig, datagram| {
        hear(rig, datagram);
        n += 1;
        if (40..60).contains(&n) {
            let event = Header {
                marker: n == 40,
                pt: crate::rig::EVENT_PT,
                seq: SeqNo(n),
                timestamp: MediaTime(7_000),
                ssrc: Ssrc(78),
            };
            let [d0, d1] = (n * 160).to_be_bytes();
            rig.hear(addr(PEER), &[&event.to_bytes()[..], &[5, 10, d0, d1]].concat());
        }
    });
    let stats = rig.leg.stats();
    let ear = stats.ear.unwrap();
    assert_eq!((stats.packets_received, stats.packets_lost), (120, 0));
    assert_eq!((ear.discarded, ear.late, ear.concealed_ms), (0, 0, 0), "{ear:?}");
}
