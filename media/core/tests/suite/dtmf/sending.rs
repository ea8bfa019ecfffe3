//! Keys that a leg sends: the packets, octet by octet, and the tones, as our detector and another hear them.

use media_core::dtmf::{Dial, DialBy, DialEnd, DialString, Dialler};
use media_core::{Codec, Decoder, Direction, MediaEvent, Negotiated, PlayEnd, Ptime, TelephoneEvent};

use super::{Law, digits, peers::multimon};
use crate::rig::{EVENT_PT, Rig, Sent, negotiated, play, playing, prompt};

fn dialler(keys: &str, duration_ms: u16, by: DialBy, codec: Codec) -> Box<Dialler> {
    let keys = DialString::parse(keys).unwrap();
    Box::new(Dialler::new(Dial { id: 7, keys, duration_ms, by }, codec))
}

/// What a packet is: `seq` and `timestamp` from those of the first, and the event's code, flags and duration.
fn event(first: &Sent, sent: &Sent) -> (u16, u32, bool, [u8; 2], u16) {
    assert_eq!((sent.header.pt, sent.payload.len()), (EVENT_PT, 4), "{sent:?}");
    let [code, flags, d0, d1] = sent.payload[..] else { unreachable!() };
    let seq = sent.header.seq.0.wrapping_sub(first.header.seq.0);
    let timestamp = sent.header.timestamp.0.wrapping_sub(first.header.timestamp.0);
    (seq, timestamp, sent.header.marker, [code, flags], u16::from_be_bytes([d0, d1]))
}

/// The numbers of the audio packets among `sent`; their sequence and time follow the place.
fn audio(first: &Sent, sent: &[Sent]) -> Vec<usize> {
    let mut places = Vec::new();
    for (n, packet) in sent.iter().enumerate() {
        assert_eq!(packet.header.seq.0, first.header.seq.0.wrapping_add(n as u16), "without a gap");
        if packet.header.pt == 8 {
            let timestamp = first.header.timestamp.0.wrapping_add(n as u32 * 160);
            assert_eq!((packet.header.timestamp.0, packet.payload.len()), (timestamp, 160));
            places.push(n);
        }
    }
    places
}

const END: u8 = 0x80 | 10;

#[test]
fn a_key_is_an_event_with_its_marker_its_growth_and_three_ends() {
    let mut rig = Rig::new();
    rig.tick(2);
    rig.leg.dial(dialler("5", 100, DialBy::Events, Codec::Pcma));
    rig.tick(14);
    let first = rig.sent[0].clone();
    let events: Vec<_> = rig.sent[2..9].iter().map(|sent| event(&first, sent)).collect();
    assert_eq!(
        events,
        [
            (2, 320, true, [5, 10], 160),
            (3, 320, false, [5, 10], 320),
            (4, 320, false, [5, 10], 480),
            (5, 320, false, [5, 10], 640),
            (6, 320, false, [5, END], 800),
            (7, 320, false, [5, END], 800),
            (8, 320, false, [5, END], 800),
        ]
    );
    assert_eq!(audio(&first, &rig.sent), [0, 1, 9, 10, 11, 12, 13, 14, 15]);
    assert!(rig.sent[9..].iter().all(|sent| !sent.header.marker));
    assert_eq!(rig.events(), [MediaEvent::DialEnded { id: 7, reason: DialEnd::Completed, sent: 1 }]);
}

/// 100 ms between the keys, of which two packets are retransmitted ends; half a second and the gap at a pause.
#[test]
fn keys_follow_each_other_after_a_gap_and_pauses_are_kept() {
    let mut rig = Rig::new();
    rig.leg.dial(dialler("1w#", 40, DialBy::Events, Codec::Pcma));
    rig.tick(60);
    let first = rig.sent[0].clone();
    let begins: Vec<_> = rig.sent.iter().enumerate().filter(|(_, sent)| sent.header.pt == EVENT_PT).collect();
    let places: Vec<usize> = begins.iter().map(|(n, _)| *n).collect();
    // 2 updates and 2 repeats; 3 packets of silence; 25 of the pause.
    assert_eq!(places, [0, 1, 2, 3, 32, 33, 34, 35]);
    assert_eq!(event(&first, &rig.sent[32]), (32, 32 * 160, true, [11, 10], 160));
    assert_eq!(event(&first, &rig.sent[35]), (35, 32 * 160, false, [11, END], 320));
    assert_eq!(audio(&first, &rig.sent).len(), 52);
    assert_eq!(rig.events(), [MediaEvent::DialEnded { id: 7, reason: DialEnd::Completed, sent: 2 }]);
}

/// RFC 4733, 2.5.1.3: a key of 9 s does not fit into the duration.
#[test]
fn a_long_key_goes_on_in_further_segments() {
    let mut rig = Rig::new();
    rig.leg.dial(dialler("9", 18_000, DialBy::Events, Codec::Pcma));
    rig.tick(910);
    let first = rig.sent[0].clone();
    let at = |n: usize| event(&first, &rig.sent[n]);
    // 65,535 units are 8,191.875 ms: the 410th packet is the first that would say more.
    assert_eq!(at(408), (408, 0, false, [9, 10], 65_440));
    assert_eq!(at(409), (409, 0, false, [9, 10], 65_535));
    assert_eq!(at(410), (410, 65_535, false, [9, 10], 225));
    assert_eq!(at(819), (819, 65_535, false, [9, 10], 65_535));
    assert_eq!(at(820).1, 131_070);
    assert_eq!(at(899), (899, 131_070, false, [9, END], (144_000 - 131_070) as u16));
    assert_eq!(at(901), (901, 131_070, false, [9, END], 12_930));
    let markers = rig.sent.iter().filter(|sent| sent.header.marker).count();
    assert_eq!((markers, rig.sent[902].header.pt), (1, 8));
}

/// 60 ms packets: a key of 100 ms ends within its second packet, and the gap is no shorter for the repeats.
#[test]
fn keys_are_as_long_as_they_should_be_whatever_the_packet_time() {
    let mut rig = Rig::with(&Negotiated { ptime: Ptime::new(60).unwrap(), ..negotiated("192.0.2.1:4000") });
    rig.leg.dial(dialler("12", 100, DialBy::Events, Codec::Pcma));
    rig.tick(8);
    let first = rig.sent[0].clone();
    let events: Vec<_> = rig.sent[..8].iter().map(|sent| event(&first, sent)).collect();
    assert_eq!(events[0], (0, 0, true, [1, 10], 480));
    assert_eq!(events[1], (1, 0, false, [1, END], 800));
    assert_eq!(events[3], (3, 0, false, [1, END], 800));
    assert_eq!(events[4], (4, 4 * 480, true, [2, 10], 480));
}

#[test]
fn a_prompt_waits_for_the_keys_and_loses_nothing() {
    let mut rig = Rig::new();
    rig.run(playing(play(1, prompt(160 * 6))));
    rig.tick(2);
    rig.leg.dial(dialler("5", 40, DialBy::Events, Codec::Pcma));
    rig.tick(20);
    let heard: Vec<u8> =
        rig.sent.iter().filter(|sent| sent.header.pt == 8).flat_map(|sent| sent.payload.clone()).collect();
    let wanted: Vec<u8> = (0..960).map(|n| (n % 199) as u8).collect();
    assert_eq!(heard[..320], wanted[..320]);
    assert!(heard[320..320 + 480].iter().all(|octet| *octet == 0xD5), "silence in the gap");
    assert_eq!(heard[800..800 + 640], wanted[320..]);
    assert_eq!(
        rig.events(),
        [
            MediaEvent::PlayStarted { id: 1 },
            MediaEvent::DialEnded { id: 7, reason: DialEnd::Completed, sent: 1 },
            MediaEvent::PlayEnded { id: 1, reason: PlayEnd::Completed, played_ms: 120 },
        ]
    );
}

#[test]
fn keys_wait_while_the_call_is_held() {
    let mut rig = Rig::new();
    let live = negotiated("192.0.2.1:4000");
    rig.leg.start(rig.now, &Negotiated { direction: Direction::RecvOnly, ..live.clone() });
    rig.leg.dial(dialler("5", 40, DialBy::Events, Codec::Pcma));
    rig.tick(50);
    assert_eq!((rig.sent.len(), rig.events()), (0, vec![]));
    rig.leg.start(rig.now, &live);
    rig.tick(10);
    assert_eq!(rig.sent[0].payload[..2], [5, 10]);
    assert_eq!(rig.events(), [MediaEvent::DialEnded { id: 7, reason: DialEnd::Completed, sent: 1 }]);
}

#[test]
fn a_key_stays_one_key_across_a_hold_and_another_codec() {
    let live = negotiated("192.0.2.1:4000");
    let held = Negotiated { direction: Direction::RecvOnly, ..live.clone() };
    let pt = Codec::Opus.payload_type();
    let opus = Negotiated { codec: Codec::Opus, pt_send: pt, pt_recv: pt, ..live.clone() };
    for (meanwhile, then) in [(&held, &live), (&opus, &opus)] {
        let mut rig = Rig::with(&live);
        rig.leg.dial(dialler("5", 200, DialBy::Events, Codec::Pcma));
        rig.tick(5);
        rig.leg.start(rig.now, meanwhile);
        rig.tick(20);
        rig.leg.start(rig.now, then);
        rig.tick(20);
        assert_eq!(rig.events(), [MediaEvent::DialEnded { id: 7, reason: DialEnd::Completed, sent: 1 }]);
        // What the far side makes of it: RFC 4733, 2.2.1, the timestamp is the key's name.
        let keys = rig.sent.iter().filter(|sent| sent.header.pt == EVENT_PT);
        let mut times: Vec<u32> = keys.map(|sent| sent.header.timestamp.0).collect();
        assert_eq!(times.len(), 12, "ten, and the end twice more");
        times.dedup();
        assert_eq!(times.len(), 1, "{:?}", then.codec);
    }
}

#[test]
fn every_dialling_ends_once_whatever_ends_it() {
    let ended = |reason, sent| MediaEvent::DialEnded { id: 7, reason, sent };
    let mut rig = Rig::new();
    rig.leg.dial(dialler("1234", 40, DialBy::Events, Codec::Pcma));
    rig.tick(9);
    rig.leg.dial(dialler("5", 40, DialBy::Events, Codec::Pcma));
    rig.tick(1);
    assert_eq!(rig.events(), [ended(DialEnd::Stopped, 2)]);
    rig.leg.finish(rig.now);
    rig.leg.dial(dialler("5", 40, DialBy::Events, Codec::Pcma));
    rig.drain();
    assert_eq!(rig.events(), [ended(DialEnd::Hangup, 0)]);

    let mut rig = Rig::with(&Negotiated { telephone_event: None, ..negotiated("192.0.2.1:4000") });
    rig.leg.dial(dialler("5", 40, DialBy::Events, Codec::Pcma));
    rig.tick(2);
    assert_eq!(rig.events(), [ended(DialEnd::Impossible, 0)]);
    rig.leg.dial(dialler("5", 40, DialBy::Tones, Codec::Pcmu));
    rig.tick(2);
    assert_eq!(rig.events(), [ended(DialEnd::Impossible, 0)]);
    assert_eq!(rig.sent.len(), 4, "and silence goes on");
}

/// What a peer hears of what was sent in `codec`, at its sample rate.
fn heard(codec: Codec, sent: &[Sent]) -> Vec<i16> {
    let mut decoder = Decoder::new(codec);
    sent.iter()
        .flat_map(|packet| {
            let mut pcm = [0; 320];
            let samples = decoder.decode(&packet.payload, &mut pcm);
            pcm[..samples].to_vec()
        })
        .collect()
}

#[test]
fn tones_are_heard_in_every_codec_here_and_elsewhere() {
    const KEYS: &str = "0123456789*#ABCD";
    for codec in [Codec::Pcma, Codec::Pcmu, Codec::G722] {
        for duration_ms in [50, 100] {
            let agreed = Negotiated { codec, telephone_event: None, ..negotiated("192.0.2.1:4000") };
            let mut rig = Rig::with(&agreed);
            rig.leg.dial(dialler(KEYS, duration_ms, DialBy::Tones, codec));
            rig.tick(16 * (usize::from(duration_ms) + 100) / 20 + 10);
            assert_eq!(rig.events(), [MediaEvent::DialEnded { id: 7, reason: DialEnd::Completed, sent: 16 }]);
            let pcm = heard(codec, &rig.sent);
            let narrow: Vec<i16> = pcm.iter().step_by(codec.sample_rate() as usize / 8000).copied().collect();
            assert_eq!(digits(&narrow), KEYS, "{codec:?} {duration_ms}");
            assert_eq!(multimon(&super::peers::stretched(&narrow)), KEYS, "{codec:?} {duration_ms}");
        }
    }
}

/// The levels, the ramps and the length of a tone.
#[test]
fn tones_have_the_levels_of_telephones_and_do_not_click() {
    let agreed = Negotiated { codec: Codec::Pcmu, telephone_event: None, ..negotiated("192.0.2.1:4000") };
    let mut rig = Rig::with(&agreed);
    rig.leg.dial(dialler("1", 100, DialBy::Tones, Codec::Pcmu));
    rig.tick(12);
    let pcm = heard(Codec::Pcmu, &rig.sent);
    assert!(pcm[800..].iter().all(|sample| *sample == 0));
    assert!(pcm[..2].iter().chain(&pcm[798..800]).all(|sample| sample.abs() < 300), "{:?}", &pcm[..2]);
    let level = |hz: f64| {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in pcm[40..760].iter().enumerate() {
            let phase = std::f64::consts::TAU * hz * n as f64 / 8000.0;
            re += f64::from(*sample) * phase.cos();
            im += f64::from(*sample) * phase.sin();
        }
        20.0 * (f64::hypot(re, im) * 2.0 / 720.0 / Law::Mu.amplitude(0.0)).log10()
    };
    let (low, high) = (level(697.0), level(1209.0));
    assert!((low + 11.0).abs() < 0.3 && (high + 9.0).abs() < 0.3, "{low:.2} and {high:.2} dBm0");
}

#[test]
fn sending_keys_allocates_nothing() {
    for (by, codec) in
        [(DialBy::Events, Codec::Pcma), (DialBy::Tones, Codec::Pcma), (DialBy::Tones, Codec::G722)]
    {
        let mut rig = Rig::with(&Negotiated { codec, ..negotiated("192.0.2.1:4000") });
        rig.leg.dial(dialler("123W45", 100, by, codec));
        let mut out = [0; media_core::Leg::MAX_PACKET];
        let (mut packets, mut ended) = (0, 0);
        let counts = alloc_count::count(|| {
            for _ in 0..150 {
                packets += usize::from(rig.leg.tick(rig.now, &mut out).is_some());
                ended += std::iter::from_fn(|| rig.leg.poll_event()).count();
                rig.now += crate::rig::PTIME;
            }
        });
        assert_eq!((counts.allocs, packets, ended), (0, 150, 1), "{by:?} {codec:?}");
    }
}

/// Events whose number the peer has chosen, not we.
#[test]
fn events_go_out_under_the_number_that_the_peer_wants() {
    let event = TelephoneEvent { pt_send: 96, pt_recv: 101, clock: 8000 };
    let mut rig = Rig::with(&Negotiated { telephone_event: Some(event), ..negotiated("192.0.2.1:4000") });
    rig.leg.dial(dialler("D", 40, DialBy::Events, Codec::Pcma));
    rig.tick(1);
    assert_eq!((rig.sent[0].header.pt, rig.sent[0].payload[0]), (96, 15));
}

#[test]
fn strings_of_keys_are_read_or_refused() {
    let bad = |text: &str| DialString::parse(text).unwrap_err().to_string();
    let keys = |text: &str| -> String {
        DialString::parse(text).unwrap().keys(99).map(|digit| digit.as_char()).collect()
    };
    assert_eq!(keys("12w3W*,#d"), "123*#D");
    assert_eq!(DialString::parse("1w23").unwrap().keys(2).count(), 2);
    assert_eq!(bad(""), "must have at least one of the keys 0-9 * # A-D");
    assert_eq!(bad("ww,"), "must have at least one of the keys 0-9 * # A-D");
    assert_eq!(bad(&"1".repeat(65)), "must have at most 64 keys and pauses");
    assert_eq!(bad("12x"), "'x' is neither a key (0-9 * # A-D) nor a pause (w: 0.5 s, W: 1 s, comma: 2 s)");
    assert_eq!(keys(&"1".repeat(64)).len(), 64);
    assert_eq!(format!("{:?}", DialString::parse("1234").unwrap()), "DialString(4 items)");
}
