//! P10 and P12: what the SIP parser and writer, codecs and whatever else handles 20 ms of sound cost by themselves.
//!
//! Each case is taken in nanoseconds and allocations here, and in instructions by [`crate::instructions`].

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use media_core::classify::{Analyser, Parameters};
use media_core::dtmf::Detector;
use media_core::record::{Deck, Format, Moment, Recorder, Recording, Sent, Sides, Tape, Track};
use media_core::rtp::Header;
use media_core::{
    Codec, Decoder, Ear, EarConfig, Encoder, Feed, Keys, Leg, LegId, MediaTime, MemberSet, Mixer, Play,
    Program, Prompt, Ptime, Resampler, SeqNo, Ssrc, Stream,
};
use sip_core::{Message, MessageBuilder, Name, Reply};

use crate::bridges::{self, KeysAs};

const INVITE: &str = "INVITE sip:+622150001234@203.0.113.9:5060;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 198.51.100.4:5060;rport;branch=z9hG4bKPjFz7y1.k3\r\n\
    Via: SIP/2.0/UDP 198.51.100.77:5060;branch=z9hG4bK-524287-1---a9\r\n\
    Record-Route: <sip:198.51.100.4;lr>\r\n\
    Max-Forwards: 69\r\n\
    Contact: <sip:caller@198.51.100.77:5060>\r\n\
    To: <sip:+622150001234@203.0.113.9>\r\n\
    From: \"A Caller\" <sip:+622150009999@198.51.100.4>;tag=6d3fe41a\r\n\
    Call-ID: 81182NzU5YzFkOGU3ZGE1NTJhNmM2ZDY\r\n\
    CSeq: 1 INVITE\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, UPDATE\r\n\
    Supported: replaces, timer\r\n\
    User-Agent: carrier\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 129\r\n\r\n\
    v=0\r\no=- 1 1 IN IP4 198.51.100.77\r\ns=-\r\nc=IN IP4 198.51.100.77\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 101\r\n\
    a=rtpmap:101 telephone-event/8000\r\n";

const FRAME: Duration = Duration::from_millis(20);
/// Longer than a packet of any codec.
const MAX_PACKET: usize = 2_000;

/// What one repetition costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// The fastest batch: the rest is what else the machine did.
    pub(crate) ns: f64,
    pub(crate) allocations: f64,
}

/// Something small that is done again and again.
pub(crate) struct Case {
    pub(crate) id: &'static str,
    pub(crate) what: String,
    /// Nanoseconds and allocations.
    pub(crate) target: &'static str,
    /// How many of what is named a piece of work does.
    pub(crate) things: usize,
    make: Box<dyn Fn() -> Work>,
}

/// Does it once.
pub(crate) type Work = Box<dyn FnMut()>;

impl Case {
    fn new<W: FnMut() + 'static>(
        id: &'static str,
        what: impl Into<String>,
        target: &'static str,
        make: impl Fn() -> W + 'static,
    ) -> Case {
        let make = Box::new(move || -> Work { Box::new(make()) });
        Case { id, what: what.into(), target, things: 1, make }
    }

    /// 20 ms of something.
    fn frame<W: FnMut() + 'static>(what: impl Into<String>, make: impl Fn() -> W + 'static) -> Case {
        Case::new("P12", what, "–; 0", make)
    }

    /// The work from its beginning.
    pub(crate) fn work(&self) -> Work {
        (self.make)()
    }
}

/// A case and what it costs.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) id: &'static str,
    pub(crate) what: String,
    pub(crate) target: &'static str,
    pub(crate) cost: Cost,
}

pub(crate) fn measure(length: Duration) -> Vec<Measured> {
    let measured = |case: Case| {
        let cost = cost(length, case.things, case.work());
        Measured { id: case.id, what: case.what, target: case.target, cost }
    };
    cases().into_iter().map(measured).collect()
}

/// Every case, in the order of the table.
pub(crate) fn cases() -> Vec<Case> {
    let messages = torture_messages();
    let torture = Case {
        things: messages.len(),
        ..Case::new(
            "P10",
            format!("parse one of {} messages of RFC 4475 and 5118", messages.len()),
            "–",
            move || {
                let messages = messages.clone();
                move || messages.iter().for_each(|message| drop(black_box(Message::parse(message.clone()))))
            },
        )
    };
    let mut cases = vec![
        Case::new("P10", "parse one INVITE", "1000; 2", || {
            let received = shared(INVITE.as_bytes());
            move || drop(black_box(Message::parse(received.clone())))
        }),
        Case::new("P10", "validate it", "–", || {
            let invite = Message::parse(shared(INVITE.as_bytes()));
            move || assert!(black_box(&invite).as_ref().is_ok_and(|invite| invite.validate().is_ok()))
        }),
        Case::new("P10", "write one 200 with SDP", "1000; 0", respond),
    ];
    // There are none away from the sources.
    cases.extend(Some(torture).filter(|torture| torture.things > 0));
    for codec in Codec::ALL {
        cases.push(Case::frame(format!("{}: encode 20 ms", codec.name()), move || encode(codec)));
        cases.push(Case::frame(format!("{}: decode 20 ms", codec.name()), move || decode(codec)));
    }
    for (from, to) in [(8, 16), (16, 48), (48, 16), (16, 8)] {
        let what = format!("bring 20 ms from {from} to {to} kHz");
        cases.push(Case::frame(what, move || resample(from * 1_000, to * 1_000)));
    }
    cases.extend([
        Case::frame("ear: 20 ms of PCMA", || ear(Codec::Pcma, |_| false)),
        Case::frame("ear: 20 ms of PCMA, every 20th lost", || ear(Codec::Pcma, |n| n % 20 == 7)),
        Case::frame("ear: 20 ms of G722, every 20th lost", || ear(Codec::G722, |n| n % 20 == 7)),
        Case::frame("keys in 20 ms of sound", keys),
        Case::frame("who answers, in 20 ms of sound", classify),
    ]);
    for members in [3, 10, 50] {
        let what = format!("20 ms of a conference of {members} in PCMA, for all of them");
        cases.push(Case::frame(what, move || conference(members)));
    }
    cases.extend([
        Case::frame("recording: 20 ms of both sides, at the leg", deck),
        Case::frame("recording: 20 ms of both sides in PCMA into WAV", || record(Format::Wav)),
        Case::frame("recording: 20 ms of both sides in PCMA into Opus", || record(Format::Opus)),
        Case::frame("leg: a packet of a prompt", play),
        Case::frame("leg: a packet received", || receive(false)),
        Case::frame("leg: a packet received and passed through", || receive(true)),
    ]);
    cases
}

/// A second of sound in frames of 20 ms at `rate`, over and over.
fn frames(rate: u32) -> impl Iterator<Item = Vec<i16>> + Clone {
    let samples: Vec<i16> = crate::prompt::sound(rate, rate).collect();
    let frames: Vec<Vec<i16>> = samples.chunks_exact(rate as usize / 50).map(<[i16]>::to_vec).collect();
    frames.into_iter().cycle()
}

/// The same as payloads.
fn payloads(codec: Codec) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec);
    let encode = |sound: Vec<i16>| {
        let mut payload = vec![0; MAX_PACKET];
        let octets = encoder.encode(&sound, &mut payload);
        payload.truncate(octets);
        payload
    };
    frames(codec.sample_rate()).take(50).map(encode).collect()
}

/// Goes through `things` over and over, without making anything.
fn round<T, R>(things: Vec<T>, mut work: impl FnMut(&T) -> R) -> impl FnMut() {
    let mut n = 0;
    move || {
        black_box(work(black_box(&things[n % things.len()])));
        n += 1;
    }
}

fn second(rate: u32) -> Vec<Vec<i16>> {
    frames(rate).take(50).collect()
}

fn keys() -> impl FnMut() {
    let mut detector = Detector::new();
    round(second(8_000), move |frame| detector.push(frame, |key| _ = black_box(key)))
}

fn classify() -> impl FnMut() {
    // Before the answer it never comes to an end.
    let mut analyser = Analyser::new(Parameters::DEFAULT);
    round(second(8_000), move |frame| {
        analyser.push(frame);
        analyser.poll()
    })
}

fn encode(codec: Codec) -> impl FnMut() {
    let (mut encoder, mut payload) = (Encoder::new(codec), vec![0; MAX_PACKET]);
    round(second(codec.sample_rate()), move |frame| encoder.encode(frame, black_box(&mut payload)))
}

fn decode(codec: Codec) -> impl FnMut() {
    let mut decoder = Decoder::new(codec);
    let mut frame = vec![0; codec.sample_rate() as usize / 50];
    round(payloads(codec), move |payload| decoder.decode(payload, black_box(&mut frame)))
}

fn resample(from: u32, to: u32) -> impl FnMut() {
    let mut resampler = Resampler::new(from, to);
    let mut out = vec![0; to as usize / 50];
    round(second(from), move |frame| {
        resampler.as_mut().map(|resampler| resampler.process(frame, black_box(&mut out)))
    })
}

fn header(codec: Codec, n: u32) -> Header {
    Header {
        marker: false,
        pt: codec.payload_type(),
        seq: SeqNo(n as u16),
        timestamp: MediaTime(n.wrapping_mul(codec.clock_rate() / 50)),
        ssrc: Ssrc(1),
    }
}

fn ear(codec: Codec, lost: fn(u32) -> bool) -> impl FnMut() {
    let mut ear = Ear::new(EarConfig::new(codec));
    let mut frame = vec![0; codec.sample_rate() as usize / 50];
    let (mut n, mut now) = (0_u32, Instant::now());
    round(payloads(codec), move |payload| {
        if !lost(n) {
            ear.push(now, &header(codec, n), payload);
        }
        ear.pull(now, black_box(&mut frame));
        n = n.wrapping_add(1);
        now += FRAME;
    })
}

/// What a bridge does each packet time, but for the ears and the sockets of its legs.
fn conference(members: usize) -> impl FnMut() {
    let stream = Stream { codec: Codec::Pcma, ptime: Ptime::DEFAULT };
    let mut mixer = Mixer::new(&vec![Some(stream); members]);
    let all: MemberSet = (0..members).collect();
    let mut payload = vec![0; MAX_PACKET];
    round(second(8_000), move |frame| {
        mixer.begin();
        (0..members).for_each(|place| mixer.put(place, frame));
        for place in 0..members {
            if mixer.mix(place, all.without(place)) {
                mixer.encode(place, black_box(&mut payload));
            }
        }
    })
}

/// The end of a recording at its leg; the shell copies what it gets into a ring.
#[derive(Debug)]
struct Taken;

impl Tape for Taken {
    fn take(&mut self, moment: &Moment<'_>) -> bool {
        black_box(moment);
        true
    }
}

fn deck() -> impl FnMut() {
    let codec = Codec::Pcma;
    let mut leg = leg(codec);
    let ear = Box::new(Ear::new(EarConfig::new(codec)));
    leg.record(Track::Call, Box::new(Deck::new(Box::new(Taken), codec, None)), ear);
    let mut out = [0; Leg::MAX_PACKET];
    let mut arrive = arrive(codec);
    round(payloads(codec), move |payload| {
        let now = arrive(&mut leg, payload).0;
        leg.tick(now, black_box(&mut out))
    })
}

fn record(format: Format) -> impl FnMut() {
    let max = Duration::from_secs(3_600 * 24);
    let mut recorder = Recorder::new(Recording { format, sides: Sides::Apart, max, silence: None });
    let sides: Vec<(Vec<i16>, Vec<u8>)> = second(8_000).into_iter().zip(payloads(Codec::Pcma)).collect();
    round(sides, move |(heard, sent)| {
        let moment = Moment { codec: Codec::Pcma, ptime: Ptime::DEFAULT, heard, sent: Sent::Payload(sent) };
        let full = recorder.record(Duration::ZERO, &moment);
        black_box(recorder.output()).clear();
        full
    })
}

/// A leg that runs, towards [`FROM`].
fn leg(codec: Codec) -> Leg {
    let mut leg = Leg::new(bridges::leg(LegId(1)));
    leg.start(Instant::now(), &bridges::negotiated(FROM, codec, KeysAs::Events));
    leg
}

const FROM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4_000);

/// Brings a leg its peer's packets, 20 ms apart: the time then, and what it heard, with the datagram.
fn arrive(codec: Codec) -> impl FnMut(&mut Leg, &[u8]) -> (Instant, Option<media_core::Heard>, [u8; 256]) {
    let (mut n, mut now) = (0_u32, Instant::now());
    move |leg, payload| {
        let mut datagram = [0; 256];
        let header = header(codec, n).to_bytes();
        datagram[..header.len()].copy_from_slice(&header);
        let length = header.len() + payload.len();
        datagram[header.len()..length].copy_from_slice(payload);
        n = n.wrapping_add(1);
        now += FRAME;
        let heard = leg.receive_rtp(now, FROM, &mut datagram[..length]);
        (now, heard, datagram)
    }
}

fn play() -> impl FnMut() {
    let mut leg = leg(Codec::Pcma);
    let mut now = Instant::now();
    let prompt = std::sync::Arc::new(Prompt::new(Codec::Pcma, payloads(Codec::Pcma).concat()));
    let play = Play { id: 1, playlist: prompt.into(), plays: 0, offset_ms: 0, barge_in: false };
    leg.run(now, Program { play: Some(play), collect: None });
    let mut out = [0; Leg::MAX_PACKET];
    move || {
        now += FRAME;
        black_box(leg.tick(now, black_box(&mut out)));
        black_box(leg.poll_rtcp(now, &mut out));
    }
}

fn receive(passed_through: bool) -> impl FnMut() {
    let codec = Codec::Pcma;
    let (mut near, mut far) = (leg(codec), leg(codec));
    far.feed(Instant::now(), Feed::Relay { keys: Keys::Relayed }, false);
    let mut arrive = arrive(codec);
    round(payloads(codec), move |payload| {
        let (now, heard, mut datagram) = arrive(&mut near, payload);
        let heard = heard.filter(|_| passed_through)?;
        far.forward(now, &heard, black_box(&mut datagram))
    })
}

fn respond() -> impl FnMut() {
    let invite = Message::parse(shared(INVITE.as_bytes()));
    let mut out = BytesMut::with_capacity(1 << 20);
    drop(out.split());
    move || {
        let Ok(invite) = &invite else { return };
        let source = Some(([198, 51, 100, 4], 5060).into());
        let reply = Reply { to_tag: Some("8f1c2e"), source, ..Reply::new(200) };
        let response = MessageBuilder::reply(&mut out, invite, reply)
            .copy(invite, Name::RecordRoute)
            .header(Name::Contact, "<sip:203.0.113.9:5060>")
            .body("application/sdp", invite.body());
        black_box(response);
        // The response is gone, so this takes its room again instead of asking for more.
        out.reserve(4096);
    }
}

/// As sockets deliver it: shared already, so that the parser pays for nothing but itself.
fn shared(message: &[u8]) -> Bytes {
    BytesMut::from(message).split().freeze()
}

fn torture_messages() -> Vec<Bytes> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sip/core/tests/data");
    let folders = ["rfc4475/valid", "rfc4475/other", "rfc5118/valid", "rfc5118/other", "rfc5118"];
    let entries =
        folders.iter().filter_map(|folder| std::fs::read_dir(data.join(folder)).ok()).flatten().flatten();
    let files =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "dat"));
    files.filter_map(|path| std::fs::read(path).ok()).map(|message| shared(&message)).collect()
}

/// Repeats `work`, which does `things` at once, for about `length`.
fn cost(length: Duration, things: usize, mut work: Work) -> Cost {
    /// Whole rounds of the frames; few enough of what takes long that some batches are left alone by everybody else.
    const BATCH: u32 = 200;
    const LONG_BATCH: u32 = 50;
    const LONG: Duration = Duration::from_micros(20);
    let mut batch = |count: u32| {
        let start = Instant::now();
        (0..count).for_each(|_| work());
        start.elapsed()
    };
    let size = if batch(LONG_BATCH) > LONG * LONG_BATCH { LONG_BATCH } else { BATCH };
    let begin = Instant::now();
    let mut fastest = batch(size);
    while begin.elapsed() < length {
        fastest = fastest.min(batch(size));
    }
    let allocs = alloc_count::count(|| _ = batch(size)).allocs;
    let per_thing = f64::from(size) * things as f64;
    Cost { ns: fastest.as_nanos() as f64 / per_thing, allocations: allocs as f64 / per_thing }
}
