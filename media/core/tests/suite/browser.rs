//! A leg whose peer is a browser: found by ICE, heard once a handshake has brought keys.

use std::net::SocketAddr;

use media_core::ice::{Agreed, Credentials, Kind};
use media_core::rtp::Packet;
use media_core::sdp::{DtlsRole, Fingerprint, Keying, WebRtc};
use media_core::srtp::{Keys, MasterKey, Protector, Suite, Unprotector};
use media_core::{Direction, Leg, MediaEvent, Negotiated};

use crate::rig::{PTIME, Rig, addr, negotiated, play, playing, prompt};

const PEER: &str = "192.0.2.9:50000";

fn webrtc(seed: u8, fingerprint: u8) -> Negotiated {
    let ice = Agreed {
        local: Credentials::generate(|octets| octets.fill(seed)),
        remote_ufrag: "browser".to_owned(),
    };
    let agreed = WebRtc { ice, role: DtlsRole::Passive, fingerprint: Fingerprint([fingerprint; 32]) };
    let unknown: SocketAddr = addr("0.0.0.0:0");
    Negotiated {
        remote: unknown,
        rtcp: Some(unknown),
        rtcp_mux: true,
        srtp: Some(Keying::Dtls(Box::new(agreed))),
        ..negotiated("192.0.2.1:4000")
    }
}

fn keys(n: u8) -> Keys {
    let key = |n| MasterKey::generate(Suite::AesCm128HmacSha1_80, |octets: &mut [u8]| octets.fill(n));
    Keys { send: key(n), receive: key(n + 1) }
}

/// A check of the browser's, written by hand: the credentials of seed `n` are made of one letter each.
fn check(seed: u8, more: &[u8]) -> Vec<u8> {
    let letter = char::from(b'A' + seed);
    let (ufrag, pwd) = (letter.to_string().repeat(8), letter.to_string().repeat(24));
    let username = format!("{ufrag}:browser");
    assert_eq!(username.len(), 16);
    let mut datagram = b"\x00\x01\x00\x00\x21\x12\xA4\x42transaction!\x00\x06\x00\x10".to_vec();
    datagram.extend(username.bytes());
    datagram.extend(more);
    let length = |datagram: &mut Vec<u8>, more: usize| {
        let body = (datagram.len() - 20 + more) as u16;
        datagram[2..4].copy_from_slice(&body.to_be_bytes());
    };
    length(&mut datagram, 24);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd.as_bytes());
    let tag = aws_lc_rs::hmac::sign(&key, &datagram);
    datagram.extend(b"\x00\x08\x00\x14");
    datagram.extend(tag.as_ref());
    length(&mut datagram, 8);
    let mut crc = !0_u32;
    for octet in &datagram {
        crc ^= u32::from(*octet);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    datagram.extend(b"\x80\x28\x00\x04");
    datagram.extend((!crc ^ 0x5354_554E).to_be_bytes());
    datagram
}

const USE_CANDIDATE: &[u8] = b"\x00\x25\x00\x00";

/// The browser checks from `from`; whether it is answered.
fn checks(rig: &mut Rig, from: &str, datagram: &[u8]) -> bool {
    let mut buffer = [0; Leg::MAX_PACKET];
    buffer[..datagram.len()].copy_from_slice(datagram);
    assert_eq!(rig.leg.kind(datagram), Kind::Stun);
    let answer = rig.leg.answer_check(rig.now, addr(from), &mut buffer, datagram.len());
    answer.is_some_and(|_| buffer[..2] == [1, 1])
}

fn ticks(rig: &mut Rig, count: usize) -> Vec<Vec<u8>> {
    let mut out = [0; Leg::MAX_PACKET];
    let mut sent = Vec::new();
    for _ in 0..count {
        sent.extend(rig.leg.tick(rig.now, &mut out).map(|len| out[..len].to_vec()));
        sent.extend(rig.leg.poll_rtcp(rig.now, &mut out).map(|len| out[..len].to_vec()));
        rig.now += PTIME;
    }
    sent
}

#[test]
fn nothing_is_sent_before_the_keys_are_there_and_then_the_prompt_from_its_start() {
    let mut rig = Rig::with(&webrtc(1, 1));
    rig.leg.run(rig.now, playing(play(1, prompt(160 * 3))));
    assert_eq!(rig.leg.rtp_remote(), None);
    assert!(ticks(&mut rig, 400).is_empty(), "nobody knows where to");
    assert!(checks(&mut rig, PEER, &check(1, USE_CANDIDATE)));
    assert_eq!(rig.leg.rtp_remote(), Some(addr(PEER)));
    assert!(rig.leg.awaits_keys() && ticks(&mut rig, 10).is_empty(), "never in the clear");
    rig.leg.secure(&keys(1));
    let sent = ticks(&mut rig, 3);
    let mut unprotector = Unprotector::new(&keys(1).send);
    let payloads = sent.iter().filter(|it| it[1] & 0x7F == 8).map(|packet| {
        let mut packet = packet.clone();
        let len = unprotector.unprotect_rtp(&mut packet).unwrap();
        Packet::parse(&packet[..len]).unwrap().payload.to_vec()
    });
    let whole: Vec<u8> = payloads.flatten().collect();
    assert_eq!(whole, (0..480).map(|n| (n % 199) as u8).collect::<Vec<u8>>());
}

#[test]
fn only_who_has_checked_is_heard_and_only_with_the_keys() {
    let mut rig = Rig::with(&webrtc(1, 1));
    let mut protector = Protector::new(&keys(1).receive);
    let mut packet = |seq: u16| {
        let mut datagram = vec![0x80, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        datagram[2..4].copy_from_slice(&seq.to_be_bytes());
        datagram.extend([0x2A; 160]);
        datagram.resize(300, 0);
        let len = protector.protect_rtp(&mut datagram, 172).unwrap();
        datagram.truncate(len);
        datagram
    };
    let received = |rig: &mut Rig, from: &str, mut datagram: Vec<u8>| {
        rig.leg.receive_rtp(rig.now, addr(from), &mut datagram);
        let stats = rig.leg.stats();
        (stats.packets_received, stats.packets_stranger, stats.packets_unauthentic)
    };
    assert_eq!(received(&mut rig, PEER, packet(1)), (0, 1, 0));
    assert!(!checks(&mut rig, PEER, &check(2, USE_CANDIDATE)), "another's password");
    assert_eq!(received(&mut rig, PEER, packet(2)), (0, 3, 0), "the check counts, too");
    assert!(checks(&mut rig, PEER, &check(1, &[])));
    assert_eq!(received(&mut rig, PEER, packet(3)), (0, 3, 1), "no keys yet");
    rig.leg.secure(&keys(1));
    assert_eq!(received(&mut rig, PEER, packet(4)), (1, 3, 1));
    assert_eq!(received(&mut rig, "192.0.2.9:50001", packet(5)), (1, 4, 1));
    assert!(rig.leg.admits_handshake(rig.now, addr(PEER)));
    assert!(!rig.leg.admits_handshake(rig.now, addr("192.0.2.9:50001")));
}

#[test]
fn a_hold_keeps_the_keys_and_another_certificate_waits_for_new_ones() {
    let mut rig = Rig::with(&webrtc(1, 1));
    assert!(checks(&mut rig, PEER, &check(1, USE_CANDIDATE)));
    rig.leg.secure(&keys(1));
    assert!(!ticks(&mut rig, 5).is_empty());
    let held = Negotiated { direction: Direction::RecvOnly, ..webrtc(1, 1) };
    rig.leg.start(rig.now, &held);
    rig.leg.start(rig.now, &webrtc(1, 1));
    assert!(!rig.leg.awaits_keys() && !ticks(&mut rig, 5).is_empty());
    // ICE restarts: the way stays until another is chosen, and so do the keys.
    rig.leg.start(rig.now, &webrtc(2, 1));
    assert!(!checks(&mut rig, PEER, &check(1, USE_CANDIDATE)));
    assert_eq!((rig.leg.rtp_remote(), rig.leg.awaits_keys()), (Some(addr(PEER)), false));
    assert!(checks(&mut rig, "192.0.2.10:6000", &check(2, USE_CANDIDATE)));
    assert_eq!(rig.leg.rtp_remote(), Some(addr("192.0.2.10:6000")));
    rig.leg.start(rig.now, &webrtc(2, 2));
    assert!(rig.leg.awaits_keys() && ticks(&mut rig, 5).is_empty());
    rig.leg.secure(&keys(3));
    assert!(!ticks(&mut rig, 5).is_empty());
}

#[test]
fn a_browser_that_checks_no_more_is_silent() {
    let mut rig = Rig::with(&Negotiated { direction: Direction::SendOnly, ..webrtc(1, 1) });
    assert!(checks(&mut rig, PEER, &check(1, USE_CANDIDATE)));
    rig.leg.secure(&keys(1));
    let mut out = [0; Leg::MAX_PACKET];
    let mut told = Vec::new();
    for n in 0..50 * 45 {
        // It holds us, and sends nothing but checks, for ten seconds.
        if n < 500 && n % 100 == 0 {
            assert!(checks(&mut rig, PEER, &check(1, &[])));
        }
        rig.leg.tick(rig.now, &mut out);
        while let Some(event) = rig.leg.poll_event() {
            told.push((n / 50, event));
        }
        rig.now += PTIME;
    }
    assert_eq!(told, [(38, MediaEvent::PeerSilent { seconds: 30 })]);
}

#[test]
fn a_leg_without_ice_answers_no_checks() {
    let mut rig = Rig::new();
    assert_eq!(rig.leg.kind(&check(1, &[])), Kind::Media);
    let mut buffer = [0; Leg::MAX_PACKET];
    let datagram = check(1, USE_CANDIDATE);
    buffer[..datagram.len()].copy_from_slice(&datagram);
    assert_eq!(rig.leg.answer_check(rig.now, addr(PEER), &mut buffer, datagram.len()), None);
    rig.leg.secure(&keys(1));
    assert!(!ticks(&mut rig, 1).is_empty(), "in the clear, as agreed");
}

#[test]
fn a_minute_of_checks_and_handshake_keys_allocates_nothing() {
    assert!(alloc_count::is_installed());
    let mut rig = Rig::with(&webrtc(1, 1));
    let datagram = check(1, USE_CANDIDATE);
    assert!(checks(&mut rig, PEER, &datagram));
    rig.leg.secure(&keys(1));
    let mut protector = Protector::new(&keys(1).receive);
    let mut packets: Vec<Vec<u8>> = (0..3000_u16)
        .map(|seq| {
            let mut packet = vec![0x80, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
            packet[2..4].copy_from_slice(&seq.to_be_bytes());
            packet.resize(300, 0x2A);
            let len = protector.protect_rtp(&mut packet, 172).unwrap();
            packet.truncate(len);
            packet
        })
        .collect();
    let from = addr(PEER);
    let counts = alloc_count::count(|| {
        let mut out = [0; Leg::MAX_PACKET];
        for (n, packet) in packets.iter_mut().enumerate() {
            if n % 25 == 0 {
                out[..datagram.len()].copy_from_slice(&datagram);
                assert!(rig.leg.answer_check(rig.now, from, &mut out, datagram.len()).is_some());
            }
            assert!(rig.leg.tick(rig.now, &mut out).is_some());
            rig.leg.poll_rtcp(rig.now, &mut out);
            rig.leg.receive_rtp(rig.now, from, packet);
            while rig.leg.poll_event().is_some() {}
            rig.now += PTIME;
        }
    });
    assert_eq!(counts.allocs, 0);
    assert_eq!(rig.leg.stats().packets_received, 3000);
}
