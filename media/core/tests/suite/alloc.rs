//! Nothing allocates between a packet's arrival or a tick and its end.

use std::hint::black_box;

use crate::rig::{PTIME, Rig, collect, play, prompt};
use media_core::record::{Beep, Deck, Moment, Tape, Track};
use media_core::{
    Codec, Decoder, Digit, Ear, EarConfig, Encoder, Leg, MemberSet, Mixer, Negotiated, Play, Playlist,
    Program, Ptime, Resampler, Stream, g722,
};

#[test]
fn a_minute_of_playing_receiving_and_reporting_allocates_nothing() {
    assert!(alloc_count::is_installed());
    let mut rig = Rig::new();
    // Datagrams are made before the counting: a minute of audio, and a key every second.
    let mut audio: Vec<Vec<u8>> = (0..3000).map(|n| datagram(n, 8, &[0x2A; 160])).collect();
    let from = crate::rig::addr("192.0.2.1:4000");
    // Two prompts that end within a packet, so that they join inside of one.
    let list: Playlist = [prompt(160 * 20 + 7), prompt(160 * 20 + 3)].into_iter().collect();
    let mut reports = 0;
    let mut digits = 0;
    let counts = alloc_count::count(|| {
        let mut out = [0; Leg::MAX_PACKET];
        for (n, datagram) in audio.iter_mut().enumerate() {
            if n % 50 == 0 {
                let play = Some(Play { barge_in: true, plays: 0, ..play(n as u64, list.clone()) });
                rig.leg.run(rig.now, Program { play, collect: Some(collect(n as u64, 4)) });
            }
            assert_eq!(rig.leg.tick(rig.now, &mut out), Some(172));
            reports += usize::from(black_box(rig.leg.poll_rtcp(rig.now, &mut out)).is_some());
            rig.leg.receive_rtp(rig.now, from, datagram);
            if n % 50 == 10 {
                rig.leg.receive_rtp(rig.now, from, &mut event(n as u16, n as u32));
            }
            while let Some(event) = rig.leg.poll_event() {
                digits += usize::from(matches!(event, media_core::MediaEvent::Digit { .. }));
            }
            rig.now += PTIME;
        }
    });
    assert_eq!(counts.allocs, 0);
    assert_eq!(digits, 60);
    assert!(reports > 5, "{reports}");
}

/// With everything that a network does to a stream, so that every part of the ear is at work.
#[test]
fn a_minute_of_listening_allocates_nothing() {
    for codec in Codec::ALL {
        let negotiated = Negotiated {
            codec,
            pt_send: codec.payload_type(),
            pt_recv: codec.payload_type(),
            ..crate::rig::negotiated("192.0.2.1:4000")
        };
        let mut rig = Rig::with(&negotiated);
        rig.leg.listen(Box::new(Ear::new(EarConfig::new(codec))));
        let from = crate::rig::addr("192.0.2.1:4000");
        let mut encoder = Encoder::new(codec);
        let timed = |n: u16, mut datagram: Vec<u8>| {
            datagram[4..8].copy_from_slice(&(u32::from(n) * codec.clock_rate() / 50).to_be_bytes());
            datagram
        };
        let audio: Vec<Vec<u8>> = (0..3000_u16)
            .map(|n| {
                let samples = codec.sample_rate() as usize / 50;
                let pcm: Vec<i16> =
                    (0..samples).map(|at| i16::from((n as u8).wrapping_mul(at as u8)) << 6).collect();
                let mut payload = [0; 640];
                let octets = encoder.encode(&pcm, &mut payload);
                timed(n, datagram(n, codec.payload_type(), &payload[..octets]))
            })
            .collect();
        let noise: Vec<Vec<u8>> = (0..3000).map(|n| timed(n, datagram(n, 13, &[60, 100]))).collect();
        let counts = alloc_count::count(|| {
            let mut out = [0; Leg::MAX_PACKET];
            for (n, datagram) in audio.iter().enumerate() {
                let jumbled = audio.get(n ^ 1).unwrap_or(datagram);
                let (arrives, times) = match n % 100 {
                    // Lost; late and out of order; twice; comfort noise and a pause.
                    3 | 20..24 => (datagram, 0),
                    30..40 => (jumbled, 1),
                    50 => (datagram, 2),
                    70 => (&noise[n], 1),
                    71..90 => (datagram, 0),
                    _ => (datagram, 1),
                };
                for _ in 0..times {
                    let mut received = [0; Leg::MAX_PACKET];
                    let received = &mut received[..arrives.len()];
                    received.copy_from_slice(arrives);
                    black_box(rig.leg.receive_rtp(rig.now, from, received));
                }
                black_box(rig.leg.tick(rig.now, &mut out));
                rig.now += PTIME;
            }
        });
        assert_eq!(counts.allocs, 0, "{codec:?}");
        let ear = rig.leg.stats().ear.unwrap();
        assert_eq!(ear.heard_ms, 60_000);
        assert!(
            ear.concealed_ms > 1_000 && ear.noise_ms > 5_000 && ear.stretched_ms + ear.compressed_ms > 0,
            "{codec:?} {ear:?}"
        );
    }
}

/// Onto a tape that keeps nothing: that of the shell has a test of its own.
#[test]
fn a_minute_on_record_allocates_nothing() {
    #[derive(Debug)]
    struct Counting(std::sync::Arc<std::sync::atomic::AtomicUsize>, usize);
    impl Tape for Counting {
        fn take(&mut self, moment: &Moment<'_>) -> bool {
            black_box(moment);
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.1 -= 1;
            self.1 > 0
        }
    }
    let taken = std::sync::Arc::default();
    let mut rig = Rig::new();
    // Both are full before the minute is over, and the ear goes with the second.
    for (track, room) in [(Track::Call, 1_000), (Track::Step, 2_000)] {
        let beep = Beep::new(Codec::Pcma, Ptime::DEFAULT);
        let tape = Box::new(Counting(std::sync::Arc::clone(&taken), room));
        let deck = Box::new(Deck::new(tape, Codec::Pcma, Some(beep)));
        rig.leg.record(track, deck, Box::new(Ear::new(EarConfig::new(Codec::Pcma))));
    }
    let from = crate::rig::addr("192.0.2.1:4000");
    let mut audio: Vec<Vec<u8>> = (0..3000).map(|n| datagram(n, 8, &[0x2A; 160])).collect();
    let counts = alloc_count::count(|| {
        let mut out = [0; Leg::MAX_PACKET];
        for datagram in &mut audio {
            rig.leg.receive_rtp(rig.now, from, datagram);
            assert_eq!(rig.leg.tick(rig.now, &mut out), Some(172));
            rig.now += PTIME;
        }
    });
    assert_eq!((counts.allocs, taken.load(std::sync::atomic::Ordering::Relaxed)), (0, 3_000));
    assert_eq!(rig.leg.stats().ear.unwrap().heard_ms, 40_000);
}

#[test]
fn an_ear_is_as_large_as_it_is_said_to_be() {
    for (codec, kib) in [(Codec::Pcma, 14), (Codec::G722, 21)] {
        let counts = alloc_count::count(|| Box::new(Ear::new(EarConfig::new(codec))));
        eprintln!("an ear for {codec:?}: {} octets", counts.bytes);
        assert!(counts.bytes <= kib * 1024, "{codec:?}: {}", counts.bytes);
    }
}

#[test]
fn coding_g722_allocates_nothing() {
    let (mut encoder, mut decoder) = (g722::Encoder::new(), g722::Decoder::new());
    let (mut samples, mut codes) = ([0i16; 320], [0; 160]);
    let counts = alloc_count::count(|| {
        for n in 0..3000 {
            samples[n % 320] ^= n as i16;
            encoder.encode(&samples, &mut codes);
            decoder.decode(&codes, &mut samples);
        }
    });
    assert_eq!(counts.allocs, 0);
}

#[test]
fn resampling_allocates_nothing() {
    let samples: Vec<i16> = (0..960).map(|n| (n * 37 % 2000) as i16).collect();
    let mut out = [0; 960 * 6];
    for (from, to) in [
        (8_000, 16_000),
        (8_000, 48_000),
        (16_000, 48_000),
        (16_000, 8_000),
        (48_000, 8_000),
        (48_000, 16_000),
    ] {
        let counts = alloc_count::count(|| {
            let mut resampler = Resampler::new(from, to).unwrap();
            for _ in 0..100 {
                black_box(resampler.process(black_box(&samples), &mut out));
            }
        });
        assert_eq!(counts.allocs, 0, "{from} to {to}");
    }
}

#[test]
fn classifying_allocates_nothing() {
    use media_core::classify::{Analyser, Parameters};
    // Tables that all analysers share are made for the first.
    let mut first = Analyser::new(Parameters::DEFAULT);
    first.push(&[1000, -1000].repeat(400));
    let mut analyser = Analyser::new(Parameters::DEFAULT);
    analyser.answered();
    let (mut random, mut findings) = (1u32, 0);
    let counts = alloc_count::count(|| {
        // Ten seconds: a buzz with pauses, then a tone.
        for frame in 0..500u32 {
            let pcm: [i16; 160] = std::array::from_fn(|n| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                match frame {
                    0..250 if frame % 20 < 15 => (random >> 18) as i16 - 8192,
                    300..320 => [0, 2828, 4000, 2828, 0, -2828, -4000, -2828][n % 8],
                    _ => 0,
                }
            });
            analyser.push(black_box(&pcm));
            while analyser.poll().is_some() {
                findings += 1;
            }
        }
    });
    assert_eq!(counts.allocs, 0);
    assert_eq!(findings, 2, "a verdict and a beep");
}

fn datagram(seq: u16, pt: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = event(seq, u32::from(seq) * 160).to_vec();
    bytes[1] = pt;
    bytes.truncate(12);
    bytes.extend_from_slice(payload);
    bytes
}

/// One packet that is a whole digit.
fn event(seq: u16, timestamp: u32) -> [u8; 16] {
    let header = media_core::rtp::Header {
        marker: false,
        pt: crate::rig::EVENT_PT,
        seq: media_core::SeqNo(seq),
        timestamp: media_core::MediaTime(timestamp),
        ssrc: media_core::Ssrc(77),
    };
    let mut bytes = [0; 16];
    bytes[..12].copy_from_slice(&header.to_bytes());
    bytes[12..].copy_from_slice(&[Digit::D5.event_code(), 0x80, 3, 0x20]);
    bytes
}

/// Everything that a coder does to a packet; what libopus itself might ask of the C library is not seen here, and was looked
/// for with valgrind (`docs/adr/0008`).
#[test]
fn coding_allocates_nothing() {
    for codec in Codec::ALL {
        let frame = codec.sample_rate() as usize / 50;
        let pcm: Vec<i16> = (0..frame * 50).map(|n| (((n * n) as f64 / 9e4).sin() * 9e3) as i16).collect();
        let (mut encoder, mut decoder) = (Encoder::new(codec), Decoder::new(codec));
        let (mut packet, mut heard) = ([0; 640], [0; 960]);
        let (mut concealed, mut recovered) = (0, 0);
        let counts = alloc_count::count(|| {
            for (n, frame) in pcm.chunks(frame).enumerate() {
                // From the second half on the peer loses packets.
                encoder.expect_loss(if n < 25 { 0 } else { 10 });
                let len = encoder.encode(black_box(frame), &mut packet);
                match n % 5 {
                    1 => concealed += decoder.conceal(&mut heard[..frame.len()]),
                    3 => recovered += decoder.recover(&packet[..len], &mut heard[..frame.len()]),
                    _ => {}
                }
                assert_eq!(decoder.decode(black_box(&packet[..len]), &mut heard), frame.len());
            }
        });
        assert_eq!(counts.allocs, 0, "{codec:?}");
        let made_up = if codec == Codec::Opus { frame * 10 } else { 0 };
        assert_eq!((concealed, recovered), (made_up, made_up), "{codec:?}");
    }
}

/// Everyone in another codec, so that all is transcoded: Opus to A-law, L16 to Opus and so on.
#[test]
fn mixing_and_transcoding_allocate_nothing() {
    let streams = Codec::ALL.map(|codec| Some(Stream { codec, ptime: Ptime::DEFAULT }));
    let everyone: MemberSet = (0..streams.len()).collect();
    let pair = |place: usize| MemberSet::EMPTY.with(place / 2 * 2).with(place / 2 * 2 + 1);
    let mut mixer = Mixer::new(&streams);
    let pcm: Vec<i16> = (0..320).map(|n: i32| ((f64::from(n * n) / 9e3).sin() * 9e3) as i16).collect();
    let (mut payload, mut octets) = ([0; 640], 0);
    let counts = alloc_count::count(|| {
        for turn in 0..100 {
            mixer.begin();
            for (place, codec) in Codec::ALL.into_iter().enumerate() {
                mixer.put(place, black_box(&pcm[..codec.sample_rate() as usize / 50]));
            }
            for place in 0..Codec::ALL.len() {
                let hears = if turn < 50 { everyone } else { pair(place) };
                assert!(mixer.mix(place, hears.without(place)));
                octets += black_box(mixer.encode(place, &mut payload));
            }
        }
    });
    assert_eq!(counts.allocs, 0);
    assert!(octets > 100 * (3 * 160 + 640), "{octets}");
}
