//! A leg on record: what goes onto the tape, and when.

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::rig::{PTIME, Rig, addr, config, negotiated, play, playing};
use media_core::record::{Beep, Deck, Moment, Sent, Tape, Track};
use media_core::rtp::Header;
use media_core::{
    Codec, Decoder, Direction, Ear, EarConfig, Feed, Keys, Leg, MediaTime, Negotiated, Prompt, Ptime, SeqNo,
    Ssrc, g711,
};

/// One packet time on the tape: how loud it was, and what was sent.
#[derive(Debug, PartialEq)]
struct Taken {
    codec: Codec,
    heard: Vec<i16>,
    sent: What,
}

#[derive(Debug, PartialEq)]
enum What {
    Payload(Vec<u8>),
    Sound(Vec<i16>),
}

#[derive(Debug)]
struct Channel {
    tape: Sender<Taken>,
    left: usize,
}

impl Tape for Channel {
    fn take(&mut self, moment: &Moment<'_>) -> bool {
        let sent = match moment.sent {
            Sent::Payload(payload) => What::Payload(payload.to_vec()),
            Sent::Sound(sound) => What::Sound(sound.to_vec()),
        };
        let taken = Taken { codec: moment.codec, heard: moment.heard.to_vec(), sent };
        self.left = self.left.saturating_sub(1);
        self.tape.send(taken).is_ok() && self.left > 0
    }
}

fn record(leg: &mut Leg, track: Track, codec: Codec, beep: Option<Beep>, most: usize) -> Receiver<Taken> {
    let (tape, taken) = channel();
    let deck = Deck::new(Box::new(Channel { tape, left: most }), codec, beep);
    leg.record(track, Box::new(deck), Box::new(Ear::new(EarConfig::new(codec))));
    taken
}

const FOR_EVER: usize = usize::MAX;

fn loudness(samples: &[i16]) -> u32 {
    samples.iter().map(|sample| u32::from(sample.unsigned_abs())).sum::<u32>() / samples.len().max(1) as u32
}

/// A-law of 500 Hz.
fn tone() -> Vec<u8> {
    let sample = |n: usize| ((n as f32 / 16.0 * std::f32::consts::TAU).sin() * 8_000.0) as i16;
    (0..160).map(|n| g711::encode_alaw(sample(n))).collect()
}

#[test]
fn both_sides_of_a_packet_time_are_of_the_same_tick() {
    let mut rig = Rig::new();
    let taken = record(&mut rig.leg, Track::Call, Codec::Pcma, None, FOR_EVER);
    for tick in 0..100 {
        // The peer speaks from 1 s on, and from then on we play.
        if tick == 50 {
            rig.run(playing(play(1, std::sync::Arc::new(Prompt::new(Codec::Pcma, tone().repeat(50))))));
        }
        let audio = if tick < 50 { vec![0xD5; 160] } else { tone() };
        rig.hear_packet(8, rig.peer_time(), &audio);
        rig.tick(1);
    }
    let taken: Vec<Taken> = taken.try_iter().collect();
    assert_eq!(taken.len(), 100);
    assert!(taken.iter().all(|taken| taken.heard.len() == 160));
    let sent: Vec<Vec<u8>> = taken
        .iter()
        .map(|taken| match &taken.sent {
            What::Payload(payload) => payload.clone(),
            What::Sound(_) => panic!("nothing is sent on"),
        })
        .collect();
    let on_the_wire: Vec<_> = rig.sent.iter().map(|sent| sent.payload.clone()).collect();
    assert_eq!(sent, on_the_wire);
    let heard_from = taken.iter().position(|taken| loudness(&taken.heard) > 1_000).unwrap();
    // 40 ms in the ear, which the file makes up for.
    assert_eq!(heard_from, 52);
}

#[test]
fn a_pause_leaves_out_what_comes_meanwhile() {
    let mut rig = Rig::new();
    let taken = record(&mut rig.leg, Track::Call, Codec::Pcma, None, FOR_EVER);
    rig.tick(10);
    rig.leg.pause_recording(Track::Call, true);
    rig.tick(20);
    assert_eq!(taken.try_iter().count(), 10);
    rig.leg.pause_recording(Track::Call, false);
    rig.tick(5);
    assert_eq!(taken.try_iter().count(), 5);
}

#[test]
fn the_ear_goes_with_the_last_who_needs_it() {
    let mut rig = Rig::new();
    let hears = |rig: &mut Rig| {
        let before = rig.leg.stats().ear.map_or(0, |ear| ear.heard_ms);
        rig.tick(1);
        rig.leg.stats().ear.map_or(0, |ear| ear.heard_ms) > before
    };
    assert!(!hears(&mut rig));
    let call = record(&mut rig.leg, Track::Call, Codec::Pcma, None, FOR_EVER);
    let step = record(&mut rig.leg, Track::Step, Codec::Pcma, None, 3);
    rig.leg.listen(Box::new(Ear::new(EarConfig::new(Codec::Pcma))));
    assert!(rig.leg.deafen().is_none());
    assert!(hears(&mut rig));
    rig.leg.stop_recording(Track::Call);
    assert!(hears(&mut rig));
    assert_eq!(call.try_iter().count(), 1);
    // The tape of the other ends with its third packet time.
    rig.tick(1);
    assert_eq!(step.try_iter().count(), 3);
    assert!(!hears(&mut rig));
}

#[test]
fn the_end_of_the_leg_lets_go_of_the_tape() {
    let mut rig = Rig::new();
    let taken = record(&mut rig.leg, Track::Call, Codec::Pcma, None, FOR_EVER);
    rig.tick(3);
    rig.leg.finish(rig.now);
    assert_eq!(taken.iter().count(), 3, "the channel is closed");
    assert_eq!(record(&mut rig.leg, Track::Call, Codec::Pcma, None, FOR_EVER).iter().count(), 0);
}

#[test]
fn the_beep_is_sent_in_place_of_the_prompt_and_once() {
    let mut rig = Rig::new();
    let prompt = std::sync::Arc::new(Prompt::new(Codec::Pcma, vec![0x2A; 160 * 40]));
    rig.run(playing(play(1, prompt)));
    rig.tick(5);
    let beep = Beep::new(Codec::Pcma, Ptime::DEFAULT);
    let taken = record(&mut rig.leg, Track::Call, Codec::Pcma, Some(beep), FOR_EVER);
    rig.tick(20);
    let beeps = 12;
    let sent: Vec<_> = rig.sent.iter().map(|sent| &sent.payload).collect();
    assert!(sent[..5].iter().chain(&sent[5 + beeps..]).all(|payload| **payload == [0x2A; 160]));
    let pcm: Vec<i16> = sent[5..5 + beeps]
        .iter()
        .flat_map(|payload| payload.iter().map(|code| g711::decode_alaw(*code)))
        .collect();
    assert!((4_500..5_500).contains(&loudness(&pcm)), "{}", loudness(&pcm));
    let crossings = pcm.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
    assert!((470..490).contains(&crossings), "1000 Hz: {crossings} in 240 ms");
    let Taken { sent: What::Payload(first), .. } = taken.try_iter().next().unwrap() else { panic!() };
    assert_eq!(first, *sent[5], "and it is on the tape");

    // One that was made for another codec is not sent.
    let beep = Beep::new(Codec::Pcmu, Ptime::DEFAULT);
    let _taken = record(&mut rig.leg, Track::Call, Codec::Pcma, Some(beep), FOR_EVER);
    rig.tick(5);
    assert_eq!(rig.sent.last().unwrap().payload, [0x2A; 160]);
}

#[test]
fn the_beep_is_heard_in_every_codec() {
    for codec in Codec::ALL {
        let pt = codec.payload_type();
        let agreed = Negotiated { codec, pt_send: pt, pt_recv: pt, ..negotiated("192.0.2.1:4000") };
        let mut rig = Rig::with(&agreed);
        let beep = Beep::new(codec, Ptime::DEFAULT);
        let _taken = record(&mut rig.leg, Track::Call, codec, Some(beep), FOR_EVER);
        rig.tick(20);
        let (mut decoder, mut frame) = (Decoder::new(codec), [0; 960]);
        let pcm: Vec<i16> = rig
            .sent
            .iter()
            .flat_map(|sent| {
                let count = decoder.decode(&sent.payload, &mut frame);
                frame[..count].to_vec()
            })
            .collect();
        let loud = pcm.chunks(codec.sample_rate() as usize / 100).filter(|part| loudness(part) > 3_000);
        let loud: Vec<i16> = loud.flatten().copied().collect();
        let ms = loud.len() * 1_000 / codec.sample_rate() as usize;
        assert!((220..=260).contains(&ms), "{codec:?}: {ms} ms");
        let crossings = loud.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
        assert!(crossings.abs_diff(ms * 2) <= 20, "{codec:?}: {crossings} in {ms} ms");
    }
}

#[test]
fn nothing_is_sent_while_held_and_that_is_on_the_tape() {
    let mut rig = Rig::with(&Negotiated { direction: Direction::RecvOnly, ..negotiated("192.0.2.1:4000") });
    let taken = record(&mut rig.leg, Track::Call, Codec::Pcma, None, FOR_EVER);
    rig.tick(2);
    assert!(taken.try_iter().all(|taken| taken.sent == What::Payload(vec![])));
}

#[test]
fn what_is_sent_on_of_another_leg_is_on_the_tape_as_sound() {
    let mut rig = Rig::new();
    let mut near = Leg::new(config(rig.start, 2));
    near.start(rig.start, &negotiated("192.0.2.2:5000"));
    rig.leg.feed(rig.now, Feed::Relay { keys: Keys::Relayed }, false);
    let taken = record(&mut rig.leg, Track::Call, Codec::Pcma, None, FOR_EVER);
    for n in 0..50u16 {
        let header = Header {
            marker: false,
            pt: 8,
            seq: SeqNo(n),
            timestamp: MediaTime(u32::from(n) * 160),
            ssrc: Ssrc(9),
        };
        let mut datagram = [&header.to_bytes()[..], &tone()].concat();
        let heard = near.receive_rtp(rig.now, addr("192.0.2.2:5000"), &mut datagram).unwrap();
        // Every second packet comes with the next one, as networks do it.
        rig.now += if n % 2 == 0 { PTIME / 20 } else { PTIME / 2 };
        assert!(rig.leg.forward(rig.now, &heard, &mut datagram).is_some());
        rig.now -= if n % 2 == 0 { PTIME / 20 } else { PTIME / 2 };
        rig.tick(1);
    }
    let taken: Vec<Taken> = taken.try_iter().collect();
    assert_eq!(taken.len(), 50);
    for (n, taken) in taken.iter().enumerate().skip(5) {
        let What::Sound(sound) = &taken.sent else { panic!("{taken:?}") };
        assert_eq!(sound.len(), 160);
        assert!((4_500..5_500).contains(&loudness(sound)), "{n}: {}", loudness(sound));
    }
}

#[test]
fn the_tape_goes_on_with_another_codec() {
    let mut rig = Rig::new();
    let taken = record(&mut rig.leg, Track::Call, Codec::Pcma, None, FOR_EVER);
    rig.tick(2);
    rig.leg.start(
        rig.now,
        &Negotiated { codec: Codec::G722, pt_send: 9, pt_recv: 9, ..negotiated("192.0.2.1:4000") },
    );
    rig.tick(2);
    let taken: Vec<_> = taken.try_iter().map(|taken| (taken.codec, taken.heard.len())).collect();
    assert_eq!(taken, [(Codec::Pcma, 160), (Codec::Pcma, 160), (Codec::G722, 320), (Codec::G722, 320)]);
}
