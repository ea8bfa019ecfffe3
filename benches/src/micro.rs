//! P10: what the SIP parser and writer cost, and the codecs, in nanoseconds and allocations.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use media_core::classify::{Analyser, Parameters};
use media_core::dtmf::Detector;
use media_core::rtp::Header;
use media_core::{Codec, Ear, EarConfig, Encoder, MediaTime, SeqNo, Ssrc, g711, g722};
use sip_core::{Message, MessageBuilder, Name, Reply};

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

/// What one repetition costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// The fastest batch: the rest is what else the machine did.
    pub(crate) ns: f64,
    pub(crate) allocations: f64,
}

/// The figures of P10.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Micro {
    pub(crate) parse: Cost,
    pub(crate) validate: Cost,
    pub(crate) respond: Cost,
    /// Messages of RFC 4475 and 5118, and the cost of parsing one, right or wrong. `None` away from the sources.
    pub(crate) torture: Option<(usize, Cost)>,
    /// Finding out who answers, for 20 ms.
    pub(crate) classify: Cost,
    /// Codecs, by name.
    pub(crate) codecs: [(&'static str, Coding); 3],
    /// What an ear does for a packet of 20 ms, pushed and pulled, by what is heard.
    pub(crate) ears: [(&'static str, Cost); 3],
    /// Hearing keys in 20 ms of speech-like sound.
    pub(crate) keys: Cost,
}

/// What 20 ms of speech-like sound cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coding {
    pub(crate) encode: Cost,
    pub(crate) decode: Cost,
}

pub(crate) fn measure(length: Duration) -> anyhow::Result<Micro> {
    let received = shared(INVITE.as_bytes());
    let invite = Message::parse(received.clone())?;
    let mut out = BytesMut::with_capacity(1 << 20);
    drop(out.split());
    let messages = torture_messages();
    Ok(Micro {
        parse: cost(length, 1, || drop(black_box(Message::parse(received.clone())))),
        validate: cost(length, 1, || assert!(black_box(&invite).validate().is_ok())),
        respond: cost(length, 1, || respond(&mut out, &invite)),
        torture: (!messages.is_empty()).then(|| {
            let all = || messages.iter().for_each(|message| drop(black_box(Message::parse(message.clone()))));
            (messages.len(), cost(length, messages.len(), all))
        }),
        classify: classify(length),
        codecs: [
            ("PCMU", g711(length, g711::encode_ulaw, g711::decode_ulaw)),
            ("PCMA", g711(length, g711::encode_alaw, g711::decode_alaw)),
            ("G722", g722(length)),
        ],
        ears: [
            ("PCMA", ear(length, Codec::Pcma, |_| false)),
            ("PCMA, every 20th lost", ear(length, Codec::Pcma, |n| n % 20 == 7)),
            ("G722, every 20th lost", ear(length, Codec::G722, |n| n % 20 == 7)),
        ],
        keys: keys(length),
    })
}

/// A second of sound in frames of 20 ms, over and over.
fn frames<const SAMPLES: usize>() -> impl Iterator<Item = [i16; SAMPLES]> + Clone {
    let rate = u32::try_from(SAMPLES * 50).unwrap_or(u32::MAX);
    let samples = crate::prompt::sound(rate, rate).collect::<Vec<i16>>();
    samples.as_chunks::<SAMPLES>().0.to_vec().into_iter().cycle()
}

fn keys(length: Duration) -> Cost {
    let mut sound = frames::<160>();
    let mut detector = Detector::new();
    cost(length, 1, || {
        let frame = sound.next().unwrap_or([0; 160]);
        detector.push(black_box(&frame), |key| _ = black_box(key));
    })
}

fn g711(length: Duration, encode: fn(i16) -> u8, decode: fn(u8) -> i16) -> Coding {
    let mut sound = frames::<160>();
    let mut codes = [0; 160];
    let encoding = cost(length, 1, || {
        let frame = sound.next().unwrap_or([0; 160]);
        codes.iter_mut().zip(&frame).for_each(|(code, sample)| *code = encode(*sample));
        black_box(&mut codes);
    });
    let mut samples = [0; 160];
    let decoding = cost(length, 1, || {
        samples.iter_mut().zip(black_box(&codes)).for_each(|(sample, code)| *sample = decode(*code));
        black_box(&mut samples);
    });
    Coding { encode: encoding, decode: decoding }
}

fn g722(length: Duration) -> Coding {
    let mut sound = frames::<320>();
    let (mut encoder, mut decoder) = (g722::Encoder::new(), g722::Decoder::new());
    let mut codes = [0; 160];
    let encoding = cost(length, 1, || {
        encoder.encode(&sound.next().unwrap_or([0; 320]), &mut codes);
        black_box(&mut codes);
    });
    let mut sound = frames::<320>();
    let mut coded = [[0; 160]; 50];
    coded.iter_mut().for_each(|codes| encoder.encode(&sound.next().unwrap_or([0; 320]), codes));
    let mut coded = coded.iter().cycle();
    let mut samples = [0; 320];
    let decoding = cost(length, 1, || {
        decoder.decode(coded.next().unwrap_or(&[0; 160]), &mut samples);
        black_box(&mut samples);
    });
    Coding { encode: encoding, decode: decoding }
}

fn ear(length: Duration, codec: Codec, lost: fn(u32) -> bool) -> Cost {
    let mut encoder = Encoder::new(codec);
    let sound: Vec<i16> = crate::prompt::sound(codec.sample_rate(), codec.sample_rate()).collect();
    let frame_len = codec.sample_rate() as usize / 50;
    let payloads: Vec<Vec<u8>> = sound
        .chunks_exact(frame_len)
        .map(|sound| {
            let mut payload = vec![0; 1_500];
            let octets = encoder.encode(sound, &mut payload);
            payload.truncate(octets);
            payload
        })
        .collect();
    let mut ear = Ear::new(EarConfig::new(codec));
    let mut frame = vec![0; frame_len];
    let (mut n, mut now) = (0_u32, Instant::now());
    cost(length, 1, || {
        let header = Header {
            marker: false,
            pt: codec.payload_type(),
            seq: SeqNo(n as u16),
            timestamp: MediaTime(n.wrapping_mul(160)),
            ssrc: Ssrc(1),
        };
        if !lost(n) {
            ear.push(now, &header, &payloads[n as usize % payloads.len()]);
        }
        ear.pull(now, &mut frame);
        black_box(&mut frame);
        n = n.wrapping_add(1);
        now += Duration::from_millis(20);
    })
}

fn classify(length: Duration) -> Cost {
    // Before the answer it never comes to an end.
    let mut analyser = Analyser::new(Parameters::DEFAULT);
    let mut sound = frames::<160>();
    cost(length, 1, || {
        analyser.push(&sound.next().unwrap_or([0; 160]));
        black_box(analyser.poll());
    })
}

fn respond(out: &mut BytesMut, invite: &Message) {
    let source = Some(([198, 51, 100, 4], 5060).into());
    let reply = Reply { to_tag: Some("8f1c2e"), source, ..Reply::new(200) };
    let response = MessageBuilder::reply(out, invite, reply)
        .copy(invite, Name::RecordRoute)
        .header(Name::Contact, "<sip:203.0.113.9:5060>")
        .body("application/sdp", invite.body());
    black_box(response);
    // The response is gone, so this takes its room again instead of asking for more.
    out.reserve(4096);
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
fn cost(length: Duration, things: usize, mut work: impl FnMut()) -> Cost {
    const BATCH: u32 = 200;
    let begin = Instant::now();
    let mut fastest = Duration::MAX;
    while begin.elapsed() < length {
        let start = Instant::now();
        for _ in 0..BATCH {
            work();
        }
        fastest = fastest.min(start.elapsed());
    }
    let allocs = alloc_count::count(|| (0..BATCH).for_each(|_| work())).allocs;
    let per_thing = f64::from(BATCH) * things as f64;
    Cost { ns: fastest.as_nanos() as f64 / per_thing, allocations: allocs as f64 / per_thing }
}
