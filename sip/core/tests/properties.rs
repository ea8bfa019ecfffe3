//! Properties of parser, writer and framer over generated and mutated messages, from a fixed seed.
#![expect(clippy::unwrap_used, reason = "test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sip_core::{
    Contact, Diversion, Frame, Framer, FramerLimits, HistoryInfo, Message, MessageBuilder, Method, Name,
    NameAddr, Privacy, Reason, ReferTo, Replaces, Reply, SessionExpires, SessionIdentifier, Uri, UserToUser,
    Via, Warning, digest,
};

/// Enough for the mutations to reach every branch, few enough for a debug build.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(4475),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Every torture message.
fn corpus() -> &'static [Vec<u8>] {
    static CORPUS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { collect(&path, into) } else { into.push(path) }
            }
        }
        let mut paths = Vec::new();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"), &mut paths);
        paths.sort();
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    })
}

/// One change to a message.
#[derive(Clone, Debug)]
enum Mutation {
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
    Cut(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // What the grammar turns on, more often than chance would have it.
    let special = prop::sample::select(b"\r\n \t:;,<>\"\\%@?=&[]/*\0\x80\xff0".to_vec());
    let byte = prop_oneof![special, any::<u8>()];
    let at = any::<usize>();
    prop_oneof![
        (at, byte.clone()).prop_map(|(at, b)| Mutation::Set(at, b)),
        (at, prop::collection::vec(byte, 1..6)).prop_map(|(at, b)| Mutation::Insert(at, b)),
        (at, 1..40usize).prop_map(|(at, n)| Mutation::Remove(at, n)),
        (at, 1..200usize).prop_map(|(at, n)| Mutation::Repeat(at, n)),
        at.prop_map(Mutation::Cut),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let place = |at: usize| at % (bytes.len() + 1);
    match mutation {
        Mutation::Set(at, b) => {
            let at = place(*at);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = *b;
            }
        }
        Mutation::Insert(at, what) => {
            let at = place(*at);
            bytes.splice(at..at, what.iter().copied());
        }
        Mutation::Remove(at, n) => {
            let at = place(*at);
            bytes.drain(at..(at + n).min(bytes.len()));
        }
        Mutation::Repeat(at, n) => {
            let at = place(*at);
            let piece = bytes[at..(at + n).min(bytes.len())].to_vec();
            bytes.splice(at..at, piece);
        }
        Mutation::Cut(at) => bytes.truncate(place(*at)),
    }
}

/// Every header field of the extensions, read from any value: what can be written reads as the same again.
fn read_headers(value: &str) {
    if let Ok(reason) = Reason::parse(value) {
        assert_eq!(Reason::parse(&reason.to_string()), Ok(reason));
    }
    if let Ok(warning) = Warning::parse(value) {
        assert_eq!(Warning::parse(&warning.to_string()), Ok(warning));
    }
    if let Ok(replaces) = Replaces::parse(value.into()) {
        assert_eq!(Replaces::parse(replaces.to_string().into()), Ok(replaces));
    }
    if let Ok(refer_to) = ReferTo::parse(value.into()) {
        assert_eq!(ReferTo::parse(refer_to.to_string().into()), Ok(refer_to));
    }
    if let Ok(uui) = UserToUser::parse(value) {
        assert_eq!(UserToUser::parse(&uui.to_string()).map(|uui| uui.data), Ok(uui.data));
    }
    if let Ok(expires) = SessionExpires::parse(value) {
        assert_eq!(SessionExpires::parse(&expires.to_string()), Ok(expires));
    }
    if let Ok(identifier) = SessionIdentifier::parse(value) {
        assert_eq!(SessionIdentifier::parse(&identifier.to_string()), Ok(identifier));
    }
    let privacy = Privacy::parse(value);
    assert_eq!(Privacy::parse(&privacy.to_string()), privacy);
    let _ = (Diversion::parse(value.into()), HistoryInfo::parse(value.into()));
}

/// Values of the extensions' header fields, for the mutations.
const VALUES: &[&str] = &[
    r#"Q.850;cause=16;text="Terminated; \"x\"""#,
    r#"399 gw.example.com "No \"more\" circuits""#,
    "98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff;early-only",
    "\"B\" <sip:b@h;method=INVITE?X=1&Replaces=c%40d%3Bto-tag%3D1%3Bfrom-tag%3D2>;p=1",
    "00c81031;purpose=isdn-uui;encoding=hex",
    "1800;refresher=uac",
    "ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2",
    "id;critical",
    r#"<sip:+6221500@example.com>;reason="user-busy";counter=2"#,
    "<sip:bob@h;cause=486?Reason=SIP%3Bcause%3D302&Privacy=history>;index=1.1;mp=1",
];

/// Everything that reads a message, for its panics.
fn read_all(message: &Message) {
    let _ = (message.validate(), message.request_uri(), message.reason(), message.q850_cause());
    let _ = (message.max_forwards(), message.expires(), message.min_expires(), message.retry_after());
    let _ = (message.from(), message.to(), message.cseq(), message.call_id(), message.top_via());
    let _ = (message.privacy(), message.session_identifier(), message.session_expires(), message.min_se());
    let _ = (message.redirects(), message.event(), message.diversions().count());
    for entry in message.history().flatten() {
        let _ = (entry.reason(), entry.cause(), entry.privacy(), entry.index());
    }
    for (name, value) in message.rows() {
        read_headers(value);
        let _ = (value.parse::<Uri>(), value.parse::<NameAddr>(), value.parse::<Via>());
        let _ = (digest::Challenge::parse(value), digest::Authorization::parse(value));
        let _ = message.headers(name).count();
    }
    for contact in message.contacts().flatten() {
        if let Contact::Addr(addr) = contact {
            let written: NameAddr = addr.to_string().parse().unwrap();
            assert_eq!((written.uri(), written.params()), (addr.uri(), addr.params()));
            assert!(addr.uri().is_equivalent(addr.uri()), "{addr}");
            assert_eq!(addr.uri().to_request_uri().headers().count(), 0);
        }
    }
    for via in message.vias().flatten() {
        assert_eq!(via.to_string().parse(), Ok(via));
    }
}

proptest! {
    #![proptest_config(config(6000))]

    #[test]
    fn mutated_header_values_never_panic_and_survive_being_written(
        at in 0..VALUES.len(),
        mutations in prop::collection::vec(mutation(), 0..4),
    ) {
        let mut bytes = VALUES[at].as_bytes().to_vec();
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        // A header field value has no line breaks and is UTF-8, or is made so by the parser.
        bytes.retain(|b| !matches!(b, b'\r' | b'\n' | 0));
        read_headers(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn mutated_messages_never_panic(
        which in any::<prop::sample::Index>(),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let mut bytes = which.get(corpus()).clone();
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        let bytes = Bytes::from(bytes);
        match Message::parse(bytes.clone()) {
            Ok(message) => {
                prop_assert!(message.rows().all(|(_, value)| !value.contains(['\r', '\n'])));
                read_all(&message);
            }
            Err(error) => {
                let (status, reason) = error.status();
                if let Some(request) = Message::salvage(bytes) {
                    read_all(&request);
                    let mut out = BytesMut::new();
                    let reply = Reply { status, reason, to_tag: Some("t"), source: None };
                    let answer = MessageBuilder::reply(&mut out, &request, reply).finish();
                    prop_assert!(Message::parse(answer).is_ok(), "an answer must be sound whatever it answers");
                }
            }
        }
    }
}

/// A request or response of all kinds of parts.
fn message() -> impl Strategy<Value = Bytes> {
    let token = "[A-Za-z0-9.!%*_+`'~-]{1,12}";
    let start = prop_oneof![
        (token, "sips?:[a-z0-9&=+$,;?/%]{0}[a-z0-9;?/&]{1,8}@[a-z0-9]{1,9}(:[1-9][0-9]{0,3})?(;[a-z]{1,4}=[a-z]{1,4})?")
            .prop_map(|(method, uri)| (Some((method, uri)), 0, String::new())),
        (100..700u16, "[ -~äß]{0,20}").prop_map(|(status, reason)| (None, status, reason.trim().to_owned())),
    ];
    let name = prop_oneof![
        prop::sample::select(vec![
            "Via",
            "f",
            "To",
            "i",
            "CSeq",
            "m",
            "Route",
            "Date",
            "Subject",
            "k",
            "WWW-Authenticate"
        ])
        .prop_map(str::to_owned),
        "X-[A-Za-z]{1,9}",
    ];
    let rows = prop::collection::vec((name, "[!-~ä]([ -~ß]{0,30}[!-~])?"), 0..12);
    (start, rows, prop::collection::vec(any::<u8>(), 0..60)).prop_map(
        |((request, status, reason), rows, body)| {
            let mut out = BytesMut::new();
            let mut builder = match &request {
                Some((method, uri)) => {
                    let method = Method::parse(method.as_str().into()).unwrap();
                    MessageBuilder::request(&mut out, &method, &uri.parse().unwrap())
                }
                None => MessageBuilder::response(&mut out, status, &reason),
            };
            for (name, value) in &rows {
                builder = builder.header(Name::parse(name), value);
            }
            if body.is_empty() { builder.finish() } else { builder.body("application/octet-stream", &body) }
        },
    )
}

/// Writes a message again from what was read of it.
fn rewrite(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    let mut builder = match (message.method(), message.status()) {
        (Some(method), _) => MessageBuilder::request(&mut out, method, &message.request_uri().unwrap()),
        (None, status) => MessageBuilder::response(&mut out, status.unwrap(), message.reason()),
    };
    for (name, value) in message.rows().filter(|(n, _)| ![Name::ContentLength, Name::ContentType].contains(n))
    {
        builder = builder.header(name, value);
    }
    match message.content_type() {
        Some(content_type) => builder.body(content_type, message.body()),
        None => builder.finish(),
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn what_is_written_is_read_and_written_the_same(bytes in message()) {
        let message = Message::parse(bytes.clone()).unwrap();
        prop_assert_eq!(message.as_bytes(), &bytes);
        prop_assert_eq!(rewrite(&message), bytes);
    }

    #[test]
    fn the_framer_does_not_care_how_bytes_arrive(
        messages in prop::collection::vec(message(), 1..5),
        breaks in prop::collection::vec(0..3usize, 5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream = Vec::new();
        for (message, breaks) in messages.iter().zip(&breaks) {
            stream.extend(b"\r\n".repeat(*breaks));
            stream.extend_from_slice(message);
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        let whole = frames([stream.as_slice()].into_iter());
        prop_assert_eq!(&frames(pieces), &whole);
        prop_assert_eq!(&frames(stream.chunks(1)), &whole);
        let framed: Vec<_> = whole.into_iter().filter_map(|frame| match frame {
            Frame::Message(bytes) => Some(bytes),
            Frame::Ping | Frame::Pong => None,
        }).collect();
        prop_assert_eq!(framed, messages);
    }
}

fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Frame> {
    let mut framer = Framer::new(FramerLimits::default());
    let mut frames = Vec::new();
    for piece in pieces {
        framer.push(piece);
        while let Some(frame) = framer.next_frame().unwrap() {
            frames.push(frame);
        }
    }
    frames
}
