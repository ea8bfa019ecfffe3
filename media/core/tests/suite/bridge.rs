//! Two legs on a virtual clock, one sending on what the other hears.

use std::time::Duration;

use crate::rig::{EVENT_PT, PTIME, Rig, Sent, addr, collect, collecting, negotiated, play, playing, prompt};
use media_core::dtmf::Method;
use media_core::rtp::{HEADER_LEN, Header, Packet};
use media_core::sdp::Encoding;
use media_core::{
    AgreedFormat, Codec, Collect, Digit, Direction, Ear, EarConfig, Feed, Keys, Leg, MediaEvent, MediaTime,
    Negotiated, PlayEnd, SeqNo, Ssrc, TelephoneEvent, g711,
};

const RELAY: Feed = Feed::Relay { keys: Keys::Relayed };

/// A codec that both sides list, under its usual number.
fn as_usual(codec: Codec) -> AgreedFormat {
    let pt = codec.payload_type();
    AgreedFormat { encoding: Encoding::Audio(codec), pt_send: pt, pt_recv: pt }
}

/// The one who speaks and the one who is to hear it.
struct Relayed {
    near: Leg,
    far: Rig,
    seq: SeqNo,
    timestamp: MediaTime,
    ssrc: Ssrc,
    near_events: Vec<MediaEvent>,
}

impl Relayed {
    fn new() -> Self {
        Self::with(&negotiated("192.0.2.1:4000"), RELAY)
    }

    fn with(agreed: &Negotiated, feed: Feed) -> Self {
        let mut far = Rig::with(agreed);
        far.tick(5);
        let mut near = Leg::new(crate::rig::config(far.start, 2));
        near.start(far.start, &negotiated("192.0.2.2:5000"));
        far.leg.feed(far.now, feed, false);
        let (seq, timestamp) = (SeqNo(65_533), MediaTime(u32::MAX - 200));
        Self { near, far, seq, timestamp, ssrc: Ssrc(0xABCD), near_events: Vec::new() }
    }

    /// The speaker's next packet arrives now and is sent on.
    fn packet(&mut self, pt: u8, marker: bool, payload: &[u8]) -> Option<Sent> {
        let header = Header { marker, pt, seq: self.seq, timestamp: self.timestamp, ssrc: self.ssrc };
        self.seq = self.seq.next();
        self.arrives(header, payload)
    }

    fn arrives(&mut self, header: Header, payload: &[u8]) -> Option<Sent> {
        let len = HEADER_LEN + payload.len();
        let mut datagram = [&header.to_bytes()[..], payload].concat();
        datagram.resize(2 * len, 0);
        let heard = self.near.receive_rtp(self.far.now, addr("192.0.2.2:5000"), &mut datagram[..len]);
        self.near_events.extend(std::iter::from_fn(|| self.near.poll_event()));
        let part = self.far.leg.forward(self.far.now, &heard?, &mut datagram)?;
        assert_eq!(&datagram[HEADER_LEN..len], payload, "others are to have it, too");
        let packet = Packet::parse(&datagram[part]).unwrap();
        let sent = Sent { header: packet.header, payload: packet.payload.to_vec() };
        self.far.sent.push(sent.clone());
        Some(sent)
    }

    fn unbridge(&mut self) {
        self.far.leg.feed(self.far.now, Feed::Own, false);
    }

    /// One packet time with speech in it.
    fn speak(&mut self) -> Option<Sent> {
        let sent = self.packet(8, false, &[0x33; 160]);
        self.pass();
        sent
    }

    /// One packet time without.
    fn pass(&mut self) {
        self.far.tick(1);
        self.timestamp = self.timestamp.plus(160);
    }

    fn key(&mut self, end: bool, duration: u16) -> Option<Sent> {
        let [d0, d1] = duration.to_be_bytes();
        self.packet(EVENT_PT, false, &[5, if end { 0x8A } else { 0x0A }, d0, d1])
    }

    /// What the far peer got, from its first packet on: sequence numbers and timestamps, and who had the marker.
    fn numbers(&self) -> (Vec<u16>, Vec<u32>, Vec<usize>) {
        let first = self.far.sent[0].header;
        let seqs = self.far.sent.iter().map(|sent| sent.header.seq.0.wrapping_sub(first.seq.0));
        let times =
            self.far.sent.iter().map(|sent| sent.header.timestamp.distance_from(first.timestamp) as u32);
        let marked = self.far.sent.iter().enumerate().filter(|(_, sent)| sent.header.marker);
        (seqs.collect(), times.collect(), marked.map(|(n, _)| n).collect())
    }
}

#[test]
fn the_stream_goes_on_through_the_bridge_and_after_it() {
    let mut relayed = Relayed::new();
    for _ in 0..10 {
        let sent = relayed.speak().unwrap();
        assert_eq!((sent.header.ssrc, sent.header.pt), (Ssrc(1), 8), "our stream, our payload type");
        assert_eq!(sent.payload, [0x33; 160]);
    }
    relayed.unbridge();
    relayed.far.tick(5);
    let (seqs, times, marked) = relayed.numbers();
    assert_eq!(seqs, (0..20).collect::<Vec<u16>>());
    assert_eq!(times, (0..20).map(|n| n * 160).collect::<Vec<u32>>());
    assert_eq!(marked, [0, 5, 15], "the first, and where the voice changes");
    let stats = relayed.far.leg.finish(relayed.far.now);
    assert_eq!((stats.packets_sent, stats.octets_sent), (20, 3_200));
}

#[test]
fn silence_of_the_speaker_is_silence_and_time_passes() {
    let mut relayed = Relayed::new();
    relayed.speak();
    for _ in 0..50 {
        relayed.pass();
    }
    relayed.speak();
    for _ in 0..10 {
        relayed.pass();
    }
    relayed.unbridge();
    relayed.far.tick(1);
    let (seqs, times, _) = relayed.numbers();
    assert_eq!(seqs, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(times[5..], [5 * 160, 56 * 160, 67 * 160]);
}

#[test]
fn loss_and_disorder_are_handed_on_as_they_are() {
    let mut relayed = Relayed::new();
    relayed.speak();
    let late =
        Header { marker: false, pt: 8, seq: relayed.seq, timestamp: relayed.timestamp, ssrc: relayed.ssrc };
    (relayed.seq, relayed.timestamp) = (relayed.seq.next(), relayed.timestamp.plus(160));
    relayed.far.tick(1);
    relayed.speak();
    relayed.arrives(late, &[1; 160]);
    relayed.speak();
    let (seqs, times, _) = relayed.numbers();
    assert_eq!(seqs[5..], [5, 7, 6, 8]);
    assert_eq!(times[5..], [800, 1_120, 960, 1_280]);
}

#[test]
fn another_source_begins_where_the_last_one_stopped() {
    let mut relayed = Relayed::new();
    relayed.speak();
    relayed.speak();
    (relayed.ssrc, relayed.seq, relayed.timestamp) = (Ssrc(7), SeqNo(9), MediaTime(77));
    relayed.speak();
    // The same source begins anew, without another SSRC.
    (relayed.seq, relayed.timestamp) = (SeqNo(40_000), MediaTime(1));
    relayed.speak();
    let (seqs, times, marked) = relayed.numbers();
    assert_eq!(seqs, (0..9).collect::<Vec<u16>>());
    assert_eq!(times, (0..9).map(|n| n * 160).collect::<Vec<u32>>());
    assert_eq!(marked, [0, 5, 7, 8]);
}

#[test]
fn what_was_said_between_two_bridges_is_no_loss() {
    let mut relayed = Relayed::new();
    relayed.speak();
    relayed.unbridge();
    for _ in 0..3 {
        assert_eq!(relayed.packet(8, false, &[0x33; 160]), None);
    }
    relayed.far.leg.feed(relayed.far.now, RELAY, false);
    relayed.speak();
    assert_eq!(relayed.numbers().0, (0..7).collect::<Vec<u16>>());
}

#[test]
fn keys_are_relayed_in_the_far_sides_payload_type_or_consumed() {
    let event = TelephoneEvent { pt_send: 110, pt_recv: 111, clock: 8_000 };
    let agreed = |telephone_event| Negotiated { telephone_event, ..negotiated("192.0.2.1:4000") };
    let cases = [
        (Some(event), Keys::Relayed, Some(1)),
        (Some(event), Keys::Consumed, None),
        (None, Keys::Relayed, None),
        (Some(TelephoneEvent { clock: 48_000, ..event }), Keys::Relayed, Some(6)),
    ];
    // By how much its clock is faster than ours.
    for (event, keys, arrives) in cases {
        let mut relayed = Relayed::with(&agreed(event), Feed::Relay { keys });
        relayed.speak();
        for n in 1..=4 {
            let sent = relayed.key(n == 4, n * 160);
            assert_eq!(sent.is_some(), arrives.is_some());
            if let Some(Sent { header, payload }) = sent {
                assert_eq!(header.pt, 110);
                let [d0, d1] = (n * 160 * arrives.unwrap()).to_be_bytes();
                assert_eq!(payload, [5, if n == 4 { 0x8A } else { 0x0A }, d0, d1]);
            }
            // All packets of an event carry the time of its start (RFC 4733, 2.2.1), while time goes on.
            relayed.far.tick(1);
        }
        relayed.timestamp = relayed.timestamp.plus(640);
        relayed.speak();
        let (seqs, times, _) = relayed.numbers();
        if arrives.is_some() {
            assert_eq!(seqs, (0..11).collect::<Vec<u16>>());
            assert_eq!(times[5..], [800, 960, 960, 960, 960, 1_600]);
        } else {
            assert_eq!(seqs, (0..7).collect::<Vec<u16>>(), "no gap in the numbers");
            assert_eq!(times[5..], [800, 1_600], "and one in time");
        }
        let digits: Vec<&MediaEvent> = relayed.near_events.iter().collect();
        assert_eq!(
            digits,
            [&MediaEvent::Digit {
                digit: Digit::from_char('5').unwrap(),
                duration_ms: 80,
                method: Method::Events
            }]
        );
    }
}

#[test]
fn a_prompt_has_the_line_while_it_plays() {
    let mut relayed = Relayed::new();
    relayed.speak();
    relayed.far.run(playing(play(1, prompt(480))));
    for _ in 0..5 {
        relayed.speak();
    }
    let (seqs, times, marked) = relayed.numbers();
    assert_eq!(seqs, (0..10).collect::<Vec<u16>>());
    // The end of a prompt is found when there is nothing left of it to send; what comes before that is not heard.
    assert_eq!(times, [0, 160, 320, 480, 640, 800, 960, 1_120, 1_280, 1_600]);
    assert_eq!(marked, [0, 5, 6, 9]);
    let ended = MediaEvent::PlayEnded { id: 1, reason: PlayEnd::Completed, played_ms: 60 };
    assert_eq!(relayed.far.events(), [MediaEvent::PlayStarted { id: 1 }, ended]);
}

#[test]
fn who_is_held_neither_hears_nor_is_heard_and_nothing_of_that_is_missed() {
    let agreed = |direction| Negotiated { direction, ..negotiated("192.0.2.1:4000") };
    let heard = |direction| Negotiated { direction, ..negotiated("192.0.2.2:5000") };
    // The far side holds us, and the near side is held by us.
    for near_is_held in [false, true] {
        let mut relayed = Relayed::new();
        let turn = |relayed: &mut Relayed, on| {
            let now = relayed.far.now;
            match (near_is_held, on) {
                (true, true) => relayed.near.start(now, &heard(Direction::SendOnly)),
                (true, false) => relayed.near.start(now, &heard(Direction::SendRecv)),
                (false, true) => relayed.far.leg.start(now, &agreed(Direction::RecvOnly)),
                (false, false) => relayed.far.leg.start(now, &agreed(Direction::SendRecv)),
            }
        };
        relayed.speak();
        turn(&mut relayed, true);
        for _ in 0..1_500 {
            assert_eq!(relayed.speak(), None);
        }
        turn(&mut relayed, false);
        relayed.speak();
        relayed.speak();
        let (seqs, times, _) = relayed.numbers();
        // RFC 3550, 5.1: the number "increments by one for each RTP data packet sent".
        assert_eq!(seqs[5..], [5, 6, 7], "near held: {near_is_held}");
        assert_eq!(times[5..], [5 * 160, 1_506 * 160, 1_507 * 160], "and time has passed");
    }
}

#[test]
fn noise_is_sent_on_to_whom_it_says_something() {
    let number = |pt_send| AgreedFormat { encoding: Encoding::ComfortNoise, pt_send, pt_recv: 13 };
    for others in [vec![], vec![number(13)], vec![number(97)]] {
        let known = others.first().map(|format| format.pt_send);
        let mut relayed = Relayed::with(&Negotiated { others, ..negotiated("192.0.2.1:4000") }, RELAY);
        relayed.speak();
        for _ in 0..5 {
            let sent = relayed.packet(13, false, &[60, 10, 20]);
            assert_eq!(sent.as_ref().map(|sent| sent.header.pt), known);
            assert!(sent.is_none_or(|sent| sent.payload == [60, 10, 20]));
            relayed.pass();
        }
        relayed.speak();
        let (seqs, times, _) = relayed.numbers();
        assert_eq!(seqs, (0..seqs.len() as u16).collect::<Vec<u16>>());
        assert_eq!(times.last(), Some(&(11 * 160)));
        assert_eq!(seqs.len(), if known.is_some() { 12 } else { 7 });
    }
}

#[test]
fn one_law_goes_over_into_the_other() {
    let near = Negotiated { others: vec![as_usual(Codec::Pcmu)], ..negotiated("192.0.2.2:5000") };
    let mut relayed = Relayed::new();
    relayed.near.start(relayed.far.now, &near);
    relayed.speak();
    let loud: Vec<u8> = (0..160).map(|n| n as u8).collect();
    let sent = relayed.packet(0, false, &loud).unwrap();
    assert_eq!(sent.header.pt, 8, "the far side lists nothing else");
    for (sent, came) in sent.payload.iter().zip(&loud) {
        let (sent, came) = (g711::decode_alaw(*sent), g711::decode_ulaw(*came));
        let off = (i32::from(sent) - i32::from(came)).abs();
        assert!(off <= 16 + i32::from(came.unsigned_abs()) / 16, "{came} became {sent}");
    }
}

#[test]
fn what_is_sent_on_is_what_the_other_side_has_agreed_to_take() {
    let near = Negotiated {
        others: [Codec::Pcmu, Codec::G722, Codec::Opus].map(as_usual).to_vec(),
        ..negotiated("192.0.2.2:5000")
    };
    let far = Negotiated {
        others: [Codec::Opus, Codec::Pcmu].map(as_usual).to_vec(),
        ..negotiated("192.0.2.1:4000")
    };
    let mut relayed = Relayed::with(&far, RELAY);
    relayed.near.start(relayed.far.now, &near);
    let pts = [8, 0, 9, 18, 96, 0, 8].map(|pt| {
        let sent = relayed.packet(pt, false, &[0x33; 160]);
        relayed.pass();
        sent.map(|sent| sent.header.pt)
    });
    // Opus counts time in another clock, which cannot go on in the same stream.
    assert_eq!(pts, [Some(8), Some(0), None, None, None, Some(0), Some(8)]);
    let (seqs, _, _) = relayed.numbers();
    assert_eq!(seqs, (0..9).collect::<Vec<u16>>());
}

#[test]
fn a_sender_report_in_a_bridge_tells_the_time_of_the_stream() {
    let mut relayed = Relayed::new();
    let mut report = None;
    while report.is_none() {
        relayed.speak();
        let mut out = [0; Leg::MAX_PACKET];
        let now = relayed.far.now;
        report = relayed.far.leg.poll_rtcp(now, &mut out).map(|len| out[..len].to_vec());
    }
    let report = report.unwrap();
    let timestamp = u32::from_be_bytes(report[16..20].try_into().unwrap());
    let last = relayed.far.sent.last().unwrap().header.timestamp;
    assert_eq!(MediaTime(timestamp).distance_from(last), 160, "one packet time after the last packet");
    assert_eq!(PTIME, Duration::from_millis(20));
}

#[test]
fn a_mixers_packets_and_the_keys_among_them_are_one_stream() {
    let mut relayed = Relayed::with(&negotiated("192.0.2.1:4000"), Feed::Mix { keys: Keys::Relayed });
    let speak = |relayed: &mut Relayed| {
        assert_eq!(relayed.packet(8, false, &[0x33; 160]), None, "what is mixed comes by the mixer");
        let mut out = [0; Leg::MAX_PACKET];
        let encode = |payload: &mut [u8]| {
            payload[..160].fill(0x44);
            160
        };
        let length = relayed.far.leg.speak(relayed.far.now, &mut out, encode);
        if let Some(length) = length {
            let packet = Packet::parse(&out[..length]).unwrap();
            relayed.far.sent.push(Sent { header: packet.header, payload: packet.payload.to_vec() });
        }
        relayed.pass();
        length
    };
    assert_eq!(speak(&mut relayed), Some(172));
    for n in 1..=3 {
        let sent = relayed.key(n == 3, n * 160).unwrap();
        assert_eq!(sent.header.pt, EVENT_PT);
        speak(&mut relayed);
        // The packets of an event carry the time of its beginning.
        relayed.timestamp = MediaTime(relayed.timestamp.0.wrapping_sub(160));
    }
    relayed.far.run(playing(play(1, prompt(160))));
    assert_eq!(speak(&mut relayed), None, "a prompt has the line");
    assert_eq!(speak(&mut relayed), None);
    assert_eq!(speak(&mut relayed), Some(172));
    relayed.unbridge();
    relayed.far.tick(1);
    let (seqs, times, marked) = relayed.numbers();
    assert_eq!(seqs, (0..15).collect::<Vec<u16>>());
    let key = 6 * 160;
    assert_eq!(
        times[5..],
        [800, key, 960, key, 1_120, key, 1_280, 1_440, 1_760, 1_920],
        "five of our own before"
    );
    assert_eq!(marked, [0, 5, 12, 13, 14]);
}

#[test]
fn a_leg_rests_while_it_only_passes_on_what_others_say() {
    let mut relayed = Relayed::new();
    assert!(relayed.far.leg.rests());
    assert!(!relayed.near.rests(), "it is in no bridge");
    relayed.speak();
    assert!(relayed.far.leg.rests());
    // A prompt, and then time to wait for keys.
    relayed.far.run(playing(play(1, prompt(20))));
    assert!(!relayed.far.leg.rests());
    relayed.far.tick(2);
    assert!(relayed.far.leg.rests());
    relayed.far.run(collecting(Collect { timeout_ms: 40, ..collect(2, 1) }));
    assert!(!relayed.far.leg.rests());
    relayed.far.tick(3);
    assert!(relayed.far.leg.rests(), "nobody waits for keys any more");
    // A key whose end gets lost ends by itself, in a turn.
    let mut key = [&header(EVENT_PT, 7).to_bytes()[..], &[5, 0x0A, 0, 160]].concat();
    relayed.far.leg.receive_rtp(relayed.far.now, addr("192.0.2.1:4000"), &mut key);
    assert!(!relayed.far.leg.rests());
    relayed.far.tick(50);
    assert!(relayed.far.leg.rests());
    // Who hears for himself hears each packet time; what a bridge pulls is heard in the bridge's turns.
    relayed.far.leg.listen(Box::new(Ear::new(EarConfig::new(Codec::Pcma))));
    assert!(!relayed.far.leg.rests());
    relayed.far.leg.feed(relayed.far.now, Feed::Mix { keys: Keys::Relayed }, true);
    assert!(relayed.far.leg.rests());
    relayed.unbridge();
    assert!(!relayed.far.leg.rests());
}

fn header(pt: u8, seq: u16) -> Header {
    Header { marker: true, pt, seq: SeqNo(seq), timestamp: MediaTime(9), ssrc: Ssrc(3) }
}
