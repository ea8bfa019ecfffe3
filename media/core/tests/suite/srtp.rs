//! Two legs that agree on SRTP in their descriptions, and what is on the line between them.

use std::net::SocketAddr;
use std::time::Instant;

use media_core::rtp::{Header, Packet};
use media_core::sdp::{Keying, LocalSrtp, SrtpPolicy};
use media_core::srtp::{Keys, MAX_OVERHEAD, MasterKey, Protector, Suite, Unprotector};
use media_core::{Leg, MediaEvent, MediaTime, Negotiated, SeqNo};

use crate::rig::{PTIME, addr, collect, collecting, config, epoch, negotiated, play, playing, prompt};

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:4000";

fn keys(suite: Suite) -> [Keys; 2] {
    let [a, b] = [7, 9].map(|n| MasterKey::generate(suite, |octets| octets.fill(n)));
    [Keys { send: a.clone(), receive: b.clone() }, Keys { send: b, receive: a }]
}

fn secure(remote: &str, keys: &Keys) -> Negotiated {
    Negotiated { srtp: Some(Keying::Sdes(Box::new(keys.clone()))), ..negotiated(remote) }
}

/// Two legs on one clock, and everything that went from the first to the second.
struct Pair {
    now: Instant,
    a: Leg,
    b: Leg,
    wire: Vec<Vec<u8>>,
}

impl Pair {
    fn new(suite: Suite) -> Self {
        let now = epoch();
        let [of_a, of_b] = keys(suite);
        let (mut a, mut b) = (Leg::new(config(now, 1)), Leg::new(config(now, 2)));
        a.start(now, &secure(B, &of_a));
        b.start(now, &secure(A, &of_b));
        Self { now, a, b, wire: Vec::new() }
    }

    fn tick(&mut self, ticks: usize) {
        let mut out = [0; Leg::MAX_PACKET];
        for _ in 0..ticks {
            if let Some(len) = self.a.tick(self.now, &mut out) {
                self.wire.push(out[..len].to_vec());
                self.b.receive_rtp(self.now, addr(A), &mut out[..len]);
            }
            if let Some(len) = self.b.tick(self.now, &mut out) {
                self.a.receive_rtp(self.now, addr(B), &mut out[..len]);
            }
            self.reports();
            self.now += PTIME;
        }
    }

    fn reports(&mut self) {
        let mut out = [0; Leg::MAX_PACKET];
        let rtcp = |of: &str| SocketAddr::new(addr(of).ip(), 4001);
        if let Some(len) = self.a.poll_rtcp(self.now, &mut out) {
            assert!(!out[..len].windows(8).any(|part| part == b"leg@test"), "the name is not to be read");
            self.b.receive_rtcp(self.now, rtcp(A), &mut out[..len]);
        }
        if let Some(len) = self.b.poll_rtcp(self.now, &mut out) {
            self.a.receive_rtcp(self.now, rtcp(B), &mut out[..len]);
        }
    }
}

#[test]
fn a_call_in_every_suite_over_a_wrap_of_the_sequence_number() {
    for suite in Suite::ALL {
        let mut pair = Pair::new(suite);
        let sound = prompt(160 * 50);
        pair.a.run(pair.now, playing(play(1, sound.clone())));
        // The first number is 65,530.
        pair.tick(1000);
        let (a, b) = (pair.a.finish(pair.now), pair.b.finish(pair.now));
        for stats in [a, b] {
            assert_eq!((stats.packets_received, stats.octets_received), (1000, 160_000), "{suite:?}");
            assert_eq!((stats.packets_invalid, stats.packets_unauthentic, stats.packets_replayed), (0, 0, 0));
            assert!(stats.rtt_ms.is_some(), "reports are understood");
        }
        for sealed in &pair.wire[..50] {
            let payload = Packet::parse(sealed).unwrap().payload;
            let overhead = payload.len() - 160;
            assert!((4..=MAX_OVERHEAD).contains(&overhead), "{suite:?}");
        }
        // It is the prompt, and it is not.
        let first = Packet::parse(&pair.wire[0]).unwrap().payload;
        let expected: Vec<u8> = (0..160).map(|n| (n % 199) as u8).collect();
        assert_ne!(first[..160], expected[..], "{suite:?}");
    }
}

#[test]
fn what_is_heard_is_what_was_said() {
    let mut pair = Pair::new(Suite::AeadAes256Gcm);
    pair.b.run(pair.now, collecting(collect(1, 4)));
    pair.tick(3);
    // A key goes through decryption to where keys are read.
    let now = pair.now;
    let [of_a, _] = keys(Suite::AeadAes256Gcm);
    let mut caller = Protector::new(&of_a.send);
    let mut packet = [0; 64];
    let header = Header {
        marker: true,
        pt: crate::rig::EVENT_PT,
        seq: SeqNo(65_534),
        timestamp: MediaTime(5000),
        ssrc: media_core::Ssrc(99),
    };
    packet[..12].copy_from_slice(&header.to_bytes());
    packet[12..16].copy_from_slice(&[5, 0x8A, 3, 0x20]);
    let len = caller.protect_rtp(&mut packet, 16).unwrap();
    pair.b.receive_rtp(now, addr(A), &mut packet[..len]);
    let events: Vec<_> = std::iter::from_fn(|| pair.b.poll_event()).collect();
    assert!(matches!(events[..], [MediaEvent::Digit { .. }, ..]), "{events:?}");
}

#[test]
fn forged_replayed_and_plain_packets_are_counted_and_have_no_effect() {
    for suite in Suite::ALL {
        let mut pair = Pair::new(suite);
        pair.tick(10);
        let heard = pair.b.stats();
        let mut replayed = pair.wire[4].clone();
        pair.b.receive_rtp(pair.now, addr(A), &mut replayed);
        let mut forged = pair.wire[9].clone();
        forged[3] = forged[3].wrapping_add(1);
        pair.b.receive_rtp(pair.now, addr(A), &mut forged);
        let mut plain = pair.wire[9][..172].to_vec();
        plain[3] = plain[3].wrapping_add(2);
        pair.b.receive_rtp(pair.now, addr(A), &mut plain);
        pair.b.receive_rtp(pair.now, addr(A), &mut plain.clone()[..13]);
        // A goodbye that anyone could send.
        pair.b.receive_rtcp(pair.now, addr("192.0.2.1:4001"), &mut b"\x81\xCB\0\x01\0\0\0\x01".to_owned());
        let stats = pair.b.stats();
        assert_eq!(
            (stats.packets_replayed, stats.packets_unauthentic, stats.packets_invalid),
            (1, 3, 1),
            "{suite:?}"
        );
        assert_eq!(
            (stats.packets_received, stats.octets_received),
            (heard.packets_received, heard.octets_received)
        );
        pair.tick(10);
        assert_eq!(pair.b.stats().packets_received, heard.packets_received + 10);
    }
}

#[test]
fn a_forged_packet_does_not_draw_the_stream_to_itself() {
    let mut pair = Pair::new(Suite::AesCm128HmacSha1_80);
    let mut plain = [0x80; 172];
    pair.b.receive_rtp(pair.now, addr("192.0.2.1:9999"), &mut plain);
    assert_eq!(pair.b.rtp_remote(), Some(addr(A)));
    pair.tick(1);
    assert_eq!(pair.b.stats().packets_received, 1);
}

#[test]
fn a_further_exchange_with_the_same_keys_goes_on_and_with_new_ones_begins_anew() {
    let suite = Suite::AeadAes128Gcm;
    let mut pair = Pair::new(suite);
    pair.tick(20);
    let [of_a, of_b] = keys(suite);
    pair.a.start(pair.now, &secure(B, &of_a));
    pair.b.start(pair.now, &secure(A, &of_b));
    pair.tick(20);
    // Into the clear and back: what was sent before cannot be played again.
    pair.a.start(pair.now, &negotiated(B));
    pair.b.start(pair.now, &negotiated(A));
    pair.tick(5);
    pair.a.start(pair.now, &secure(B, &of_a));
    pair.b.start(pair.now, &secure(A, &of_b));
    let mut old = pair.wire[30].clone();
    pair.b.receive_rtp(pair.now, addr(A), &mut old);
    assert_eq!(pair.b.stats().packets_replayed, 1);
    pair.tick(5);

    let [new_a, new_b] = keys(Suite::AesCm128HmacSha1_32);
    pair.a.start(pair.now, &secure(B, &new_a));
    pair.b.start(pair.now, &secure(A, &new_b));
    pair.tick(20);
    let stats = pair.b.finish(pair.now);
    assert_eq!((stats.packets_received, stats.packets_lost, stats.packets_unauthentic), (70, 0, 0));
}

#[test]
fn the_goodbye_is_protected() {
    let mut pair = Pair::new(Suite::AesCm128HmacSha1_80);
    pair.tick(2);
    pair.a.finish(pair.now);
    let mut out = [0; Leg::MAX_PACKET];
    let len = pair.a.poll_rtcp(pair.now, &mut out).unwrap();
    let [_, of_b] = keys(Suite::AesCm128HmacSha1_80);
    let mut unprotector = Unprotector::new(&of_b.receive);
    let plain = unprotector.unprotect_rtcp(&mut out[..len]).unwrap();
    assert_eq!(plain, len - 14);
    assert!(out[..plain].windows(2).any(|pair| pair == [0x81, 203]));
}

#[test]
fn protecting_and_unprotecting_allocates_nothing() {
    for suite in Suite::ALL {
        let mut pair = Pair::new(suite);
        pair.wire.reserve(3000);
        let sound = prompt(160 * 40);
        let mut out = [0; Leg::MAX_PACKET];
        pair.a.run(pair.now, playing(play(1, sound.clone())));
        let counts = alloc_count::count(|| {
            for _ in 0..1000 {
                let len = pair.a.tick(pair.now, &mut out).unwrap();
                pair.b.receive_rtp(pair.now, addr(A), &mut out[..len]);
                // Again, and something else.
                pair.b.receive_rtp(pair.now, addr(A), &mut out[..len]);
                pair.reports();
                pair.now += PTIME;
            }
        });
        assert_eq!(counts.allocs, 0, "{suite:?}");
        let stats = pair.b.stats();
        assert_eq!(stats.packets_received, 1000);
        assert_eq!(stats.packets_replayed + stats.packets_unauthentic, 1000);
    }
}

#[test]
fn a_relayed_packet_is_sealed_for_one_and_clear_for_the_other() {
    let now = epoch();
    let [of_a, of_b] = keys(Suite::AeadAes128Gcm);
    let mut speaker = Leg::new(config(now, 1));
    speaker.start(now, &secure(A, &of_b));
    let mut fars = [Leg::new(config(now, 2)), Leg::new(config(now, 3))];
    fars[0].start(now, &secure(B, &of_b));
    fars[1].start(now, &negotiated(B));
    fars.iter_mut()
        .for_each(|far| far.feed(now, media_core::Feed::Relay { keys: media_core::Keys::Relayed }, false));
    let (mut said, mut heard) = (Protector::new(&of_a.send), Unprotector::new(&of_b.send));
    for seq in 100..110 {
        let mut buffer = [0; 1000];
        let header = Header {
            marker: false,
            pt: 8,
            seq: SeqNo(seq),
            timestamp: MediaTime(u32::from(seq) * 160),
            ssrc: media_core::Ssrc(99),
        };
        buffer[..12].copy_from_slice(&header.to_bytes());
        buffer[12..172].fill(seq as u8);
        let len = said.protect_rtp(&mut buffer, 172).unwrap();
        let at = speaker.receive_rtp(now, addr(A), &mut buffer[..len]).unwrap();
        let sealed = fars[0].forward(now, &at, &mut buffer).unwrap();
        let mut sealed = buffer[sealed].to_vec();
        let clear = fars[1].forward(now, &at, &mut buffer).unwrap();
        assert_eq!(sealed.len(), 172 + 16);
        let len = heard.unprotect_rtp(&mut sealed).unwrap();
        for packet in [&sealed[..len], &buffer[clear]] {
            assert_eq!(Packet::parse(packet).unwrap().payload, [seq as u8; 160]);
        }
        // Without room it is not sent, least of all as it is.
        assert_eq!(fars[0].forward(now, &at, &mut buffer[..180]), None);
    }
}

#[test]
fn descriptions_of_two_of_us_agree_on_the_first_suite() {
    let local = |ip: &str, policy, n: u8| media_core::LocalMedia {
        addr: addr(ip),
        codecs: media_core::Codec::ALL.to_vec(),
        ptime: media_core::Ptime::DEFAULT,
        telephone_event: true,
        rtcp_mux: true,
        srtp: Some(LocalSrtp::new(policy, |octets| octets.fill(n))),
        direction: media_core::Direction::SendRecv,
        session_id: 1,
        session_version: 1,
    };
    for policies in [
        [SrtpPolicy::Required, SrtpPolicy::Required],
        [SrtpPolicy::Required, SrtpPolicy::Optional],
        [SrtpPolicy::Optional, SrtpPolicy::Required],
        [SrtpPolicy::Optional, SrtpPolicy::Optional],
    ] {
        let (a, b) = (local(A, policies[0], 1), local(B, policies[1], 2));
        let (answer, theirs) = media_core::sdp::answer(&media_core::sdp::offer(&a), &b).unwrap();
        let ours = media_core::sdp::accept_answer(&a, &answer).unwrap();
        let (ours, theirs) = (ours.srtp.unwrap(), theirs.srtp.unwrap());
        let (ours, theirs) = (ours.described().unwrap(), theirs.described().unwrap());
        assert_eq!((&ours.send, &ours.receive), (&theirs.receive, &theirs.send), "{policies:?}");
        assert_eq!(ours.suite(), Suite::AeadAes256Gcm);
    }
}
