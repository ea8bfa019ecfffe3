//! Keys that a leg hears in the audio, beside events and INFO, and that each stroke counts once.

use media_core::dtmf::{Listener, Method};
use media_core::{
    Codec, CollectEnd, Digit, Ear, EarConfig, Encoder, MediaEvent, MediaTime, Negotiated, Play, Program,
};

use super::{Law, Signal};
use crate::rig::{Rig, collect, negotiated, play, prompt};

fn listening(agreed: &Negotiated) -> Rig {
    let mut rig = Rig::with(agreed);
    rig.leg.hear_keys(Box::default(), Box::new(Ear::new(EarConfig::new(agreed.codec))));
    rig
}

fn without_events(codec: Codec) -> Negotiated {
    let pt = codec.payload_type();
    Negotiated { codec, pt_send: pt, pt_recv: pt, telephone_event: None, ..negotiated("192.0.2.1:4000") }
}

/// The peer's audio, packet by packet: `keys` of 80 ms, every 200 ms.
fn tones(codec: Codec, keys: &str) -> Vec<Vec<u8>> {
    let mut audio = vec![0.0; 8 * (keys.len() * 200 + 400)];
    for (n, key) in keys.chars().enumerate() {
        let signal = Signal::new(Digit::from_char(key).unwrap()).ms(80.0);
        signal.add_to(&mut audio, 100.0 + n as f64 * 200.0, Law::A, (0.3, 0.9));
    }
    let mut pcm = Vec::new();
    for pair in audio.windows(2) {
        pcm.push(pair[0] as i16);
        if codec.sample_rate() == 16_000 {
            pcm.push(((pair[0] + pair[1]) / 2.0) as i16);
        }
    }
    let mut encoder = Encoder::new(codec);
    pcm.chunks_exact(codec.sample_rate() as usize / 50)
        .map(|pcm| {
            let mut payload = vec![0; 160];
            encoder.encode(pcm, &mut payload);
            payload
        })
        .collect()
}

/// Digits and how they came.
fn digits(rig: &mut Rig) -> Vec<(char, Method, u16)> {
    let digit = |event| {
        let MediaEvent::Digit { digit, duration_ms, method } = event else { return None };
        Some((digit.as_char(), method, duration_ms))
    };
    rig.events().into_iter().filter_map(digit).collect()
}

#[test]
fn tones_are_keys_in_every_codec() {
    for codec in [Codec::Pcma, Codec::Pcmu, Codec::G722] {
        let mut rig = listening(&without_events(codec));
        for payload in tones(codec, "0123456789*#ABCD") {
            rig.hear_packet(codec.payload_type(), rig.peer_time(), &payload);
            rig.tick(1);
        }
        rig.tick(20);
        let digits = digits(&mut rig);
        let keys: String = digits.iter().map(|(key, _, _)| key).collect();
        assert_eq!(keys, "0123456789*#ABCD", "{codec:?}");
        for (_, method, ms) in digits {
            assert_eq!((method, ms.abs_diff(80) <= 5), (Method::Tones, true), "{ms} ms");
        }
    }
}

#[test]
fn a_tone_barges_in_and_is_gathered() {
    let mut rig = listening(&without_events(Codec::Pcma));
    let play = Some(Play { barge_in: true, ..play(1, prompt(160 * 100)) });
    rig.run(Program { play, collect: Some(collect(2, 4)) });
    for payload in tones(Codec::Pcma, "42#") {
        rig.hear_packet(8, rig.peer_time(), &payload);
        rig.tick(1);
    }
    let events = rig.events();
    let ended = events.iter().find_map(|event| {
        let MediaEvent::CollectEnded { digits, reason, .. } = event else { return None };
        Some((digits.to_string(), *reason))
    });
    assert_eq!(ended, Some(("42".into(), CollectEnd::Terminator)));
    let MediaEvent::PlayEnded { played_ms, .. } = events[1] else { panic!("{events:?}") };
    // It begins 100 ms in, waits for at most 40 ms in the ear, and is believed after 45 ms.
    assert!((140..=220).contains(&played_ms), "{played_ms} ms");
}

/// A gateway that sends events and leaves the tones in the audio before and after them.
#[test]
fn a_key_that_comes_as_event_and_tone_counts_once() {
    let mut rig = listening(&negotiated("192.0.2.1:4000"));
    rig.leg.hear_keys(Box::new(Listener::new()), Box::new(Ear::new(EarConfig::new(Codec::Pcma))));
    for (n, payload) in tones(Codec::Pcma, "1123").into_iter().enumerate() {
        rig.hear_packet(8, rig.peer_time(), &payload);
        let (digit, part) = (n.wrapping_sub(5) / 10, n.wrapping_sub(5) % 10);
        if let Some(key) = "1123".chars().nth(digit) {
            let key = Digit::from_char(key).unwrap();
            let begin = MediaTime(rig.peer_time().0 - part as u32 * 160);
            match part {
                0..=3 => rig.hear_event(begin, key, false, (part as u16 + 1) * 160),
                4 => rig.hear_event(begin, key, true, 640),
                _ => {}
            }
        }
        rig.tick(1);
    }
    rig.tick(20);
    let expected = ['1', '1', '2', '3'].map(|key| (key, Method::Events, 80));
    assert_eq!(digits(&mut rig), expected);
}

#[test]
fn info_counts_unless_the_key_has_been_heard() {
    let mut rig = Rig::new();
    // Events were agreed on, but only INFO comes.
    rig.leg.press(rig.now, Digit::D1, 160);
    rig.tick(10);
    // This one comes in both ways, the INFO last and then first.
    rig.press(Digit::D2, 4);
    rig.leg.press(rig.now, Digit::D2, 80);
    rig.tick(60);
    rig.leg.press(rig.now, Digit::D3, 80);
    rig.press(Digit::D3, 4);
    rig.tick(60);
    rig.leg.press(rig.now, Digit::D3, 80);
    rig.drain();
    let expected = [
        ('1', Method::Info, 160),
        ('2', Method::Events, 80),
        ('3', Method::Info, 80),
        ('3', Method::Info, 80),
    ];
    assert_eq!(digits(&mut rig), expected);
}

/// Who agrees on events sends events: nothing is decoded for tones any more.
#[test]
fn events_agreed_later_take_the_ear_away() {
    let mut rig = listening(&without_events(Codec::Pcma));
    let mut packets = tones(Codec::Pcma, "12").into_iter();
    for payload in packets.by_ref().take(14) {
        rig.hear_packet(8, rig.peer_time(), &payload);
        rig.tick(1);
    }
    assert_eq!(digits(&mut rig).len(), 1);
    rig.leg.start(rig.now, &negotiated("192.0.2.1:4000"));
    for payload in packets {
        rig.hear_packet(8, rig.peer_time(), &payload);
        rig.tick(1);
    }
    rig.tick(20);
    assert_eq!(digits(&mut rig), []);
    assert!(rig.leg.deafen().is_none(), "there is no ear");
    rig.press(Digit::D5, 3);
    assert_eq!(digits(&mut rig), [('5', Method::Events, 60)]);
}

#[test]
fn a_key_that_is_held_when_the_leg_ends_counts() {
    let mut rig = listening(&without_events(Codec::Pcmu));
    for payload in tones(Codec::Pcmu, "8").into_iter().take(11) {
        rig.hear_packet(0, rig.peer_time(), &payload);
        rig.tick(1);
    }
    rig.leg.finish(rig.now);
    rig.drain();
    let digits = digits(&mut rig);
    assert!(matches!(digits[..], [('8', Method::Tones, 35..=85)]), "{digits:?}");
}

#[test]
fn hearing_keys_on_a_leg_allocates_nothing() {
    for codec in [Codec::Pcma, Codec::G722] {
        let mut rig = listening(&without_events(codec));
        let mut packets: Vec<Vec<u8>> = tones(codec, "0123456789")
            .iter()
            .enumerate()
            .map(|(n, payload)| {
                let header = media_core::rtp::Header {
                    marker: false,
                    pt: codec.payload_type(),
                    seq: media_core::SeqNo(n as u16),
                    timestamp: MediaTime(n as u32 * 160),
                    ssrc: media_core::Ssrc(9),
                };
                [&header.to_bytes()[..], payload].concat()
            })
            .collect();
        let from = crate::rig::addr("192.0.2.1:4000");
        let mut out = [0; media_core::Leg::MAX_PACKET];
        let mut keys = 0;
        let counts = alloc_count::count(|| {
            for packet in &mut packets {
                rig.leg.receive_rtp(rig.now, from, packet);
                rig.leg.tick(rig.now, &mut out);
                keys += std::iter::from_fn(|| rig.leg.poll_event()).count();
                rig.now += crate::rig::PTIME;
            }
        });
        assert_eq!((counts.allocs, keys), (0, 10), "{codec:?}");
    }
}
