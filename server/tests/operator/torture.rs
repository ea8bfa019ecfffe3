//! The messages of RFC 4475 and RFC 5118 over real sockets, from a source that is a trunk and from sources that are
//! nobody: what is answered, that the trunk is served after each, and that nothing is left of any.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::future::{join_all, select_all};
use sip_core::{Frame, Framer, FramerLimits, Message, Name};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};

use crate::support::{Carillon, DEAD, address};

/// What a trunk is answered: a status, any status of a class (4 for 4xx), or nothing.
#[derive(Clone, Copy, Debug)]
enum Told {
    Exactly(u16),
    Class(u16),
    Nothing,
}
use Told::{Class, Exactly, Nothing};

/// Every message of the two RFCs. What is valid gets what an engine without routes and registrar says to it (200 to OPTIONS,
/// 403 to calls, 405 to the rest); responses to nothing, and what has no Via to answer by, get nothing.
const TABLE: &[(&str, Told)] = &[
    ("rfc4475/valid/dblreq.dat", Class(4)),
    ("rfc4475/valid/esc01.dat", Class(4)),
    ("rfc4475/valid/esc02.dat", Exactly(501)),
    ("rfc4475/valid/escnull.dat", Class(4)),
    ("rfc4475/valid/intmeth.dat", Exactly(501)),
    ("rfc4475/valid/longreq.dat", Class(4)),
    ("rfc4475/valid/lwsdisp.dat", Exactly(200)),
    ("rfc4475/valid/mpart01.dat", Class(4)),
    ("rfc4475/valid/noreason.dat", Nothing),
    ("rfc4475/valid/semiuri.dat", Exactly(200)),
    ("rfc4475/valid/transports.dat", Exactly(200)),
    ("rfc4475/valid/unreason.dat", Nothing),
    ("rfc4475/valid/wsinv.dat", Exactly(481)),
    ("rfc4475/other/badaspec.dat", Exactly(400)),
    ("rfc4475/other/badbranch.dat", Exactly(400)),
    ("rfc4475/other/baddate.dat", Class(4)),
    ("rfc4475/other/baddn.dat", Exactly(400)),
    ("rfc4475/other/badinv01.dat", Exactly(400)),
    ("rfc4475/other/badvers.dat", Exactly(505)),
    ("rfc4475/other/bcast.dat", Nothing),
    ("rfc4475/other/bext01.dat", Exactly(420)),
    ("rfc4475/other/bigcode.dat", Nothing),
    ("rfc4475/other/clerr.dat", Exactly(400)),
    ("rfc4475/other/cparam01.dat", Class(4)),
    ("rfc4475/other/cparam02.dat", Class(4)),
    ("rfc4475/other/escruri.dat", Exactly(400)),
    ("rfc4475/other/insuf.dat", Exactly(400)),
    ("rfc4475/other/inv2543.dat", Exactly(400)),
    ("rfc4475/other/invut.dat", Class(4)),
    ("rfc4475/other/ltgtruri.dat", Exactly(400)),
    ("rfc4475/other/lwsruri.dat", Exactly(400)),
    ("rfc4475/other/lwsstart.dat", Exactly(400)),
    ("rfc4475/other/mcl01.dat", Exactly(400)),
    ("rfc4475/other/mismatch01.dat", Exactly(400)),
    ("rfc4475/other/mismatch02.dat", Exactly(400)),
    ("rfc4475/other/multi01.dat", Exactly(400)),
    ("rfc4475/other/ncl.dat", Exactly(400)),
    ("rfc4475/other/novelsc.dat", Exactly(416)),
    ("rfc4475/other/quotbal.dat", Exactly(400)),
    ("rfc4475/other/regaut01.dat", Class(4)),
    ("rfc4475/other/regbadct.dat", Exactly(400)),
    ("rfc4475/other/regescrt.dat", Class(4)),
    ("rfc4475/other/scalar02.dat", Exactly(400)),
    ("rfc4475/other/scalarlg.dat", Nothing),
    ("rfc4475/other/sdp01.dat", Class(4)),
    ("rfc4475/other/test.dat", Nothing),
    ("rfc4475/other/trws.dat", Exactly(400)),
    ("rfc4475/other/unkscm.dat", Exactly(416)),
    ("rfc4475/other/unksm2.dat", Class(4)),
    ("rfc4475/other/zeromf.dat", Exactly(200)),
    ("rfc5118/ipv4-mapped-ipv6", Class(4)),
    ("rfc5118/ipv6-bad", Exactly(400)),
    ("rfc5118/ipv6-bug-abnf-3-colons", Exactly(200)),
    ("rfc5118/ipv6-correct-abnf-2-colons", Exactly(200)),
    ("rfc5118/ipv6-good", Class(4)),
    ("rfc5118/ipv6-in-sdp", Class(4)),
    ("rfc5118/mult-ip-in-header", Exactly(481)),
    ("rfc5118/mult-ip-in-sdp", Class(4)),
    ("rfc5118/port-ambiguous", Class(4)),
    ("rfc5118/port-unambiguous", Class(4)),
    ("rfc5118/via-received-param-no-delim", Exactly(200)),
    ("rfc5118/via-received-param-with-delim", Exactly(481)),
];

struct Torture {
    file: &'static str,
    told: Told,
    bytes: Bytes,
}

fn messages() -> Vec<Torture> {
    let read = |&(file, told): &(&'static str, Told)| {
        let bytes = Bytes::from(std::fs::read(data().join(file)).unwrap());
        Torture { file, told, bytes }
    };
    TABLE.iter().map(read).collect()
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sip/core/tests/data")
}

#[test]
fn every_message_of_the_rfcs_has_its_row() {
    let mut files = BTreeSet::new();
    for folder in ["rfc4475/valid", "rfc4475/other", "rfc5118"] {
        for entry in std::fs::read_dir(data().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            files.insert(format!("{folder}/{name}"));
        }
    }
    files.retain(|file| !file.ends_with("LICENSE"));
    assert_eq!(files, TABLE.iter().map(|(file, _)| (*file).to_owned()).collect());
}

/// The port that answers go to when they do not go where the request came from (RFC 3261 section 18.2.2).
fn reply_port(bytes: &Bytes) -> u16 {
    let message = Message::parse(bytes.clone()).ok().or_else(|| Message::salvage(bytes.clone()));
    message.and_then(|message| message.top_via().ok()?.port()).unwrap_or(5060)
}

/// One host with every port that answers may go to; it sends from 5060.
struct Host {
    address: Ipv4Addr,
    sockets: Vec<UdpSocket>,
    engine: SocketAddr,
    probes: u32,
}

impl Host {
    async fn new(address: Ipv4Addr, ports: &BTreeSet<u16>, engine: SocketAddr) -> Host {
        let mut sockets = Vec::new();
        // 5060 comes last: when both that and another one have something, the other is read first.
        for port in ports.iter().filter(|port| **port != 5060).chain([&5060]) {
            sockets.push(UdpSocket::bind((address, *port)).await.unwrap());
        }
        Host { address, sockets, engine, probes: 0 }
    }

    async fn send(&self, bytes: &[u8]) {
        let socket = self.sockets.last().unwrap();
        socket.send_to(bytes, self.engine).await.unwrap();
    }

    async fn receive(&self) -> Message {
        let mut buffers = vec![vec![0; 65_535]; self.sockets.len()];
        let receiving = self.sockets.iter().zip(&mut buffers).map(|(socket, buffer)| {
            Box::pin(async move {
                let length = socket.recv(buffer).await.unwrap();
                Message::parse(Bytes::copy_from_slice(&buffer[..length])).unwrap()
            })
        });
        tokio::time::timeout(DEAD, select_all(receiving)).await.expect("an answer").0
    }

    fn probe(&mut self) -> (String, String) {
        self.probes += 1;
        let call = format!("probe{}", self.probes);
        (options(&call, self.address, "UDP"), call)
    }

    /// What is answered before an OPTIONS sent now is: all that was sent before has been decided on then.
    async fn answers(&mut self) -> Vec<Message> {
        let (probe, call) = self.probe();
        self.send(probe.as_bytes()).await;
        let mut answers = Vec::new();
        loop {
            let answer = self.receive().await;
            if answer.call_id().is_ok_and(|id| id == call) {
                assert_eq!(answer.status(), Some(200));
                return answers;
            }
            answers.push(answer);
        }
    }
}

fn options(call: &str, from: Ipv4Addr, transport: &str) -> String {
    format!(
        "OPTIONS sip:carillon SIP/2.0\r\nVia: SIP/2.0/{transport} {from}:5060;rport;branch=z9hG4bK{call}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:probe@{from}>;tag=1\r\nTo: <sip:carillon>\r\nCall-ID: {call}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

fn check(file: &str, told: Told, answers: &[Message]) {
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status().unwrap()).collect();
    let finals: Vec<_> = statuses.iter().copied().filter(|status| *status >= 200).collect();
    match (told, finals[..].first()) {
        (Exactly(status), Some(&got)) => assert_eq!(got, status, "{file}: {statuses:?}"),
        (Class(class), Some(got)) => assert_eq!(got / 100, class, "{file}: {statuses:?}"),
        (Nothing, None) => assert_eq!(statuses, [] as [u16; 0], "{file}"),
        (Exactly(_) | Class(_), None) | (Nothing, Some(_)) => panic!("{file}: {told:?}, but {statuses:?}"),
    }
    assert!(finals.len() <= 1, "{file}: one final response, not {statuses:?}");
}

fn trunk(address: Ipv4Addr) -> String {
    format!("[[trunks]]\nname = \"t\"\nuri = \"sip:{address}\"\n")
}

/// A figure of `/metrics`.
pub(crate) async fn figure(carillon: &Carillon, name: &str) -> u64 {
    let metrics = carillon.get("/metrics").await.ok(200);
    let line = metrics.as_str().unwrap().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is among the metrics")).parse().unwrap()
}

async fn until_figure(carillon: &Carillon, name: &str, wanted: u64) {
    let pattern = format!("\n{name} {wanted}\n");
    carillon.until("/metrics", |text| text.as_str().unwrap().contains(&pattern)).await;
}

#[tokio::test]
async fn a_trunk_is_answered_right_and_served_after_each_and_nothing_is_left() {
    let (known, messages) = (address(1), messages());
    let carillon = Carillon::start(&trunk(known)).await;
    let ports = messages.iter().map(|message| reply_port(&message.bytes)).collect();
    let mut host = Host::new(known, &ports, carillon.ports.sip).await;
    let mut held = Vec::new();
    for pass in 0..4 {
        for Torture { file, told, bytes } in &messages {
            host.send(bytes).await;
            let answers = host.answers().await;
            // Repetitions of an earlier pass are answered as then, or are merged requests.
            if pass == 0 {
                check(file, *told, &answers);
            }
        }
        held.push(carillon.resident_bytes());
    }
    let grown = held[3].saturating_sub(held[0]);
    assert!(grown < 8 << 20, "{held:?} bytes after each pass");
    until_figure(&carillon, "carillon_sip_sessions", 0).await;
    until_figure(&carillon, "carillon_sip_transactions", 0).await;
    until_figure(&carillon, "carillon_sip_waiting{queue=\"new-work\"}", 0).await;
    until_figure(&carillon, "carillon_sip_waiting{queue=\"calls\"}", 0).await;
    carillon.check_untouched().await;
}

#[tokio::test]
async fn strangers_get_one_small_answer_at_most_and_leave_nothing() {
    let (known, messages) = (address(2), messages());
    let carillon = Carillon::start(&trunk(known)).await;
    let mut host = Host::new(known, &BTreeSet::new(), carillon.ports.sip).await;
    let mut answered = 0;
    for (n, Torture { file, told: _, bytes }) in (0..).zip(&messages) {
        // Each from a source of its own, so that none is spared by the rate of the one before.
        let ports = BTreeSet::from([reply_port(bytes)]);
        let stranger = Host::new(address(20 + n), &ports, carillon.ports.sip).await;
        stranger.send(bytes).await;
        assert!(host.answers().await.is_empty());
        let mut buffer = [0; 65_535];
        let mut answers = Vec::new();
        for socket in stranger.sockets {
            // What is there is there: tokio would have to be told by the kernel first.
            let socket = socket.into_std().unwrap();
            while let Ok(length) = socket.recv(&mut buffer) {
                answers.push(Bytes::copy_from_slice(&buffer[..length]));
            }
        }
        assert!(answers.len() <= 1, "{file}");
        for answer in answers {
            assert!(answer.len() <= bytes.len(), "{file}: {} bytes for {}", answer.len(), bytes.len());
            let status = Message::parse(answer).unwrap().status().unwrap();
            assert!((400..600).contains(&status), "{file}: {status}");
            answered += 1;
        }
    }
    assert!(answered > 0);
    assert_eq!(figure(&carillon, "carillon_sip_sessions").await, 0);
    assert_eq!(figure(&carillon, "carillon_sip_refusals_answered_total").await, answered);
    // All again and again from one source: its rate ends what is looked at, and datagrams ban nobody.
    let stranger = Host::new(address(19), &BTreeSet::new(), carillon.ports.sip).await;
    for _ in 0..5 {
        for Torture { bytes, .. } in &messages {
            stranger.send(bytes).await;
        }
        assert!(host.answers().await.is_empty());
    }
    assert!(figure(&carillon, "carillon_sip_refused_rate_total").await > 0);
    assert_eq!(figure(&carillon, "carillon_sip_refused_banned_total").await, 0);
    until_figure(&carillon, "carillon_sip_transactions", 0).await;
    carillon.check_untouched().await;
}

/// Those that are one message of a stream, and nothing after it.
fn framed(messages: Vec<Torture>) -> Vec<Torture> {
    let is_framed = |message: &Torture| {
        let mut framer = Framer::new(FramerLimits { head: 65_535, body: 65_535 });
        framer.buffer().extend_from_slice(&message.bytes);
        let is_message = matches!(framer.next_frame(), Ok(Some(Frame::Message(_))));
        is_message && matches!(framer.next_frame(), Ok(None)) && framer.buffer().is_empty()
    };
    messages.into_iter().filter(is_framed).collect()
}

#[tokio::test]
async fn over_tcp_a_trunk_is_served_on_the_same_stream_and_strangers_are_turned_out() {
    let (known, messages) = (address(3), framed(messages()));
    assert!(messages.len() > 40, "{} can be framed", messages.len());
    let carillon = Carillon::start(&trunk(known)).await;
    let engine = carillon.ports.sip;
    let connect = |from: Ipv4Addr| async move {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(engine).await.unwrap()
    };
    for Torture { file, told, bytes } in &messages {
        let mut stream = connect(known).await;
        let call = file.replace('/', "-");
        stream.write_all(bytes).await.unwrap();
        stream.write_all(options(&call, known, "TCP").as_bytes()).await.unwrap();
        let mut framer = Framer::new(FramerLimits { head: 65_535, body: 65_535 });
        let mut answers = Vec::new();
        'stream: loop {
            while let Ok(Some(Frame::Message(frame))) = framer.next_frame() {
                let answer = Message::parse(frame).unwrap();
                if answer.header(Name::CallId) == Some(&call) {
                    assert_eq!(answer.status(), Some(200), "{file}");
                    break 'stream;
                }
                answers.push(answer);
            }
            let read = tokio::time::timeout(DEAD, stream.read_buf(framer.buffer()));
            assert!(read.await.expect("an answer").unwrap() > 0, "{file}: the stream of a trunk stays open");
        }
        check(file, *told, &answers);
    }
    let strangers = (0..).zip(&messages).map(|(n, Torture { file, bytes, .. })| async move {
        let mut stream = connect(address(20 + n)).await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A reset is a close as well: it comes when there was more to read.
        let closed = tokio::time::timeout(DEAD, stream.read_to_end(&mut answer)).await;
        drop(closed.unwrap_or_else(|_| panic!("{file}: the stream of a stranger is closed")));
        if let Ok(answer) = Message::parse(answer.into()) {
            assert!((400..600).contains(&answer.status().unwrap()), "{file}");
        }
    });
    join_all(strangers).await;
    assert_eq!(figure(&carillon, "carillon_sip_sessions").await, 0);
    carillon.check_untouched().await;
}
