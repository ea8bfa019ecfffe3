//! The bytes of a call by hand: how messages lie in segments and how often they come must not matter.

use std::net::SocketAddr;
use std::time::Duration;

use control_api_types::{Disposition, EndedBy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::lab::Lab;

/// Longer than this no answer takes.
const DEADLINE: Duration = Duration::from_secs(20);

const SDP: &str =
    "v=0\r\no=wire 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";

/// A caller, with what its requests have in common.
struct Caller {
    transport: &'static str,
    local: SocketAddr,
    engine: SocketAddr,
}

impl Caller {
    fn request(&self, method: &str, cseq: u32, to_tag: &str, body: &str) -> String {
        let Self { transport, local, engine } = self;
        let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:100@{engine} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};rport;branch=z9hG4bK{method}{cseq}\r\n\
             From: <sip:wire@{local}>;tag=wire\r\nTo: <sip:100@{engine}>{to_tag}\r\nCall-ID: wire-{local}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:wire@{local};transport={transport}>\r\nMax-Forwards: 70\r\n\
             {content}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

fn status(message: &str) -> u16 {
    message
        .strip_prefix("SIP/2.0 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

fn to_tag(response: &str) -> String {
    let to = response.lines().find(|line| line.starts_with("To:")).unwrap_or_default();
    to.split_once(";tag=").map(|(_, tag)| tag.trim().to_owned()).unwrap_or_default()
}

struct Stream {
    caller: Caller,
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Stream {
    async fn open(engine: SocketAddr) -> Self {
        let socket = TcpStream::connect(engine).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let caller = Caller { transport: "TCP", local: socket.local_addr().unwrap(), engine };
        Self { caller, socket, buffer: Vec::new() }
    }

    /// Each byte is a segment of its own.
    async fn send_slowly(&mut self, message: &str) {
        for byte in message.as_bytes() {
            self.socket.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    }

    /// The next message, by its Content-Length.
    async fn receive(&mut self) -> String {
        loop {
            // A keepalive's answer (RFC 5626 section 3.5.1).
            while self.buffer.starts_with(b"\r\n") {
                self.buffer.drain(..2);
            }
            let text = String::from_utf8_lossy(&self.buffer).into_owned();
            if let Some((head, _)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                let end = head.len() + 4 + length.map_or(0, |length| length.parse().unwrap());
                if text.len() >= end {
                    self.buffer.drain(..end);
                    return text[..end].to_owned();
                }
            }
            let mut more = [0; 4096];
            let read = tokio::time::timeout(DEADLINE, self.socket.read(&mut more))
                .await
                .expect("no answer")
                .unwrap();
            assert!(read > 0, "the engine has closed the connection");
            self.buffer.extend_from_slice(&more[..read]);
        }
    }

    /// The next final response to this request.
    async fn answer(&mut self, cseq: &str) -> String {
        loop {
            let message = self.receive().await;
            if status(&message) >= 200 && message.contains(&format!("CSeq: {cseq}\r\n")) {
                return message;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_tcp_byte_by_byte() {
    let mut lab = Lab::answering().await;
    let mut stream = Stream::open(lab.engine.sip_addr()).await;
    stream.send_slowly(&stream.caller.request("INVITE", 1, "", SDP)).await;
    let answer = stream.answer("1 INVITE").await;
    assert_eq!(status(&answer), 200);
    let tag = to_tag(&answer);
    stream.send_slowly(&stream.caller.request("ACK", 1, &tag, "")).await;
    stream.send_slowly(&stream.caller.request("BYE", 2, &tag, "")).await;
    assert_eq!(status(&stream.answer("2 BYE").await), 200);
    let story = lab.stories(1).await.remove(0);
    assert_eq!(
        (story.cdr.disposition, story.cdr.ended_by),
        (Some(Disposition::Answered), Some(EndedBy::Remote))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_in_one_segment() {
    let mut lab = Lab::answering().await;
    let mut stream = Stream::open(lab.engine.sip_addr()).await;
    let mut segment = String::from("\r\n\r\n");
    for cseq in 1..=20 {
        segment += &stream.caller.request("OPTIONS", cseq, "", "");
    }
    segment += &stream.caller.request("INVITE", 21, "", SDP);
    stream.socket.write_all(segment.as_bytes()).await.unwrap();
    for cseq in 1..=20 {
        assert_eq!(status(&stream.answer(&format!("{cseq} OPTIONS")).await), 200);
    }
    let answer = stream.answer("21 INVITE").await;
    assert_eq!(status(&answer), 200);
    let tag = to_tag(&answer);
    let ends = [("ACK", 21), ("OPTIONS", 22), ("BYE", 23)];
    let segment: String =
        ends.iter().map(|(method, cseq)| stream.caller.request(method, *cseq, &tag, "")).collect();
    stream.socket.write_all(segment.as_bytes()).await.unwrap();
    assert_eq!(status(&stream.answer("22 OPTIONS").await), 200);
    assert_eq!(status(&stream.answer("23 BYE").await), 200);
    assert_eq!(lab.stories(1).await[0].cdr.disposition, Some(Disposition::Answered));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_repetitions_is_one_call() {
    let mut lab = Lab::answering().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let caller =
        Caller { transport: "UDP", local: socket.local_addr().unwrap(), engine: lab.engine.sip_addr() };
    let storm = async |message: String| {
        for _ in 0..50 {
            socket.send_to(message.as_bytes(), caller.engine).await.unwrap();
        }
    };
    let answer = async |cseq: &str| loop {
        let mut datagram = [0; 4096];
        let received = tokio::time::timeout(DEADLINE, socket.recv(&mut datagram)).await;
        let message =
            String::from_utf8_lossy(&datagram[..received.expect("no answer").unwrap()]).into_owned();
        if status(&message) >= 200 && message.contains(&format!("CSeq: {cseq}\r\n")) {
            return message;
        }
    };
    storm(caller.request("INVITE", 1, "", SDP)).await;
    let invited = answer("1 INVITE").await;
    assert_eq!(status(&invited), 200);
    let tag = to_tag(&invited);
    storm(caller.request("INVITE", 1, "", SDP)).await;
    storm(caller.request("ACK", 1, &tag, "")).await;
    storm(caller.request("BYE", 2, &tag, "")).await;
    assert_eq!(status(&answer("2 BYE").await), 200);
    storm(caller.request("ACK", 1, &tag, "")).await;
    let story = lab.stories(1).await.remove(0);
    assert_eq!(
        (story.cdr.disposition, story.cdr.ended_by),
        (Some(Disposition::Answered), Some(EndedBy::Remote))
    );
    assert_eq!(lab.engine.client().node().await.unwrap().calls.live, 0);
    assert_eq!(lab.calls_begun(), 1);
}
