//! A telephone that calls the engine: our SIP core over a socket, RTP by hand.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use media_core::rtp::{Header, Packet};
use media_core::sdp::{self, LocalMedia};
use media_core::{Codec, Digit, Direction, MediaTime, Negotiated, Ptime, SeqNo, Ssrc};
use sip_core::{
    Body, Endpoint, EndpointConfig, Event, FailureCause, Hangup, Invite, NameAddr, Output, SessionEvent,
    SessionId, Target, Uri,
};
use sip_io::{Inbox, Limits, ListenAddr, Transports};
use tokio::net::UdpSocket;

use crate::support::DEAD;

/// A telephone with one call at most.
#[derive(Debug)]
pub(crate) struct Phone {
    endpoint: Endpoint,
    transports: Transports,
    inbox: Inbox,
    rtp: UdpSocket,
    local: LocalMedia,
    call: Option<SessionId>,
    /// Of the RTP stream that it sends.
    seq: SeqNo,
}

impl Phone {
    pub(crate) async fn new() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (transports, inbox) = Transports::bind(&[ListenAddr::udp(any)], Limits::default()).unwrap();
        let endpoint = Endpoint::new(EndpointConfig::new(transports.listeners()), [7; 32]);
        let rtp = UdpSocket::bind(any).await.unwrap();
        let local = LocalMedia {
            addr: rtp.local_addr().unwrap(),
            codecs: vec![Codec::Pcmu],
            ptime: Ptime::DEFAULT,
            telephone_event: true,
            rtcp_mux: false,
            srtp: None,
            direction: Direction::SendRecv,
            session_id: 1,
            session_version: 1,
        };
        Self { endpoint, transports, inbox, rtp, local, call: None, seq: SeqNo(1) }
    }

    /// Calls `user` at this address.
    pub(crate) fn call(&mut self, user: &str, at: SocketAddr) {
        let uri: Uri = format!("sip:{user}@{at}").parse().unwrap();
        let from: Uri = "sip:alice@127.0.0.1".parse().unwrap();
        let invite = Invite {
            request_uri: uri.clone(),
            to: NameAddr::new(uri),
            from: NameAddr::new(from),
            target: Target {
                host: at.ip().to_string(),
                port: Some(at.port()),
                transport: None,
                ..Target::default()
            },
            route: Vec::new(),
            headers: Vec::new(),
            body: Some(Body::sdp(sdp::offer(&self.local))),
            reliable: sip_core::Reliable::Supported,
            replaces: None,
            session_interval: None,
            expires: None,
            credentials: None,
        };
        self.call = Some(self.endpoint.invite(now(), invite).unwrap());
        self.flush();
    }

    pub(crate) fn hang_up(&mut self) {
        self.endpoint.hangup(now(), self.call.unwrap(), Hangup::default()).unwrap();
        self.flush();
    }

    /// What happens next to the call.
    pub(crate) async fn next(&mut self) -> SessionEvent {
        let next = async {
            loop {
                if let Some(event) = self.flush() {
                    return event;
                }
                let wake = self.endpoint.poll_timeout().map(|(at, _)| at);
                tokio::select! {
                    input = self.inbox.recv() => self.endpoint.handle_input(now(), input.unwrap()),
                    () = tokio::time::sleep_until(wake.unwrap_or_else(|| now() + DEAD).into()) => {
                        self.endpoint.handle_timeout(now());
                    }
                }
            }
        };
        tokio::time::timeout(DEAD, next).await.expect("something happens to the call")
    }

    /// The media agreed on, once the call is answered.
    pub(crate) async fn answered(&mut self) -> Negotiated {
        loop {
            match self.next().await {
                SessionEvent::Provisional { .. } => {}
                SessionEvent::Answered { body, .. } => {
                    return sdp::accept_answer(&self.local, &body.unwrap()).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The status that the call is refused with.
    pub(crate) async fn refused(&mut self) -> u16 {
        loop {
            match self.next().await {
                SessionEvent::Provisional { .. } => {}
                SessionEvent::Failed(failure) => match failure.cause {
                    FailureCause::Response(status) => return status,
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
    }

    /// The caller's own end of a call that was not answered.
    pub(crate) async fn cancelled(&mut self) {
        let end = self.next().await;
        let cancelled =
            matches!(&end, SessionEvent::Failed(failure) if failure.cause == FailureCause::Cancelled);
        assert!(cancelled, "{end:?}");
    }

    /// Listens until so many packets of sound have come that are not silence.
    pub(crate) async fn hear(&self, packets: usize) {
        let mut datagram = [0; 2048];
        let mut heard = 0;
        while heard < packets {
            let received = tokio::time::timeout(DEAD, self.rtp.recv(&mut datagram)).await.expect("RTP");
            let packet = Packet::parse(&datagram[..received.unwrap()]).unwrap();
            assert_eq!(packet.header.pt, Codec::Pcmu.payload_type());
            // µ-law has two codes for zero.
            heard += usize::from(packet.payload.iter().any(|code| !matches!(code, 0xff | 0x7f)));
        }
    }

    /// Says back what it hears, packet by packet, as long as so many come that are not silence.
    pub(crate) async fn echo(&mut self, media: &Negotiated, packets: usize) {
        let mut datagram = [0; 2048];
        let mut heard = 0;
        while heard < packets {
            let received = tokio::time::timeout(DEAD, self.rtp.recv(&mut datagram)).await.expect("RTP");
            let packet = Packet::parse(&datagram[..received.unwrap()]).unwrap();
            heard += usize::from(packet.payload.iter().any(|code| !matches!(code, 0xff | 0x7f)));
            let timestamp = MediaTime(u32::from(self.seq.0) * 160);
            let header = Header { marker: false, pt: media.pt_send, seq: self.seq, timestamp, ssrc: Ssrc(9) };
            let back = [&header.to_bytes()[..], packet.payload].concat();
            self.rtp.send_to(&back, media.remote).await.unwrap();
            self.seq = self.seq.next();
        }
    }

    /// Presses a key for 100 ms of media time, as RFC 4733 tells it: at its start and, three times, at its end.
    pub(crate) async fn press(&mut self, key: char, media: &Negotiated) {
        let event = media.telephone_event.expect("the engine takes events");
        let code = Digit::from_char(key).unwrap().event_code();
        let timestamp = MediaTime(u32::from(self.seq.0) * 1600);
        for (end, duration) in [(0, 160_u16), (0x80, 800), (0x80, 800), (0x80, 800)] {
            let header =
                Header { marker: end == 0, pt: event.pt_send, seq: self.seq, timestamp, ssrc: Ssrc(9) };
            let [high, low] = duration.to_be_bytes();
            let packet = [&header.to_bytes()[..], &[code, end | 10, high, low]].concat();
            self.rtp.send_to(&packet, media.remote).await.unwrap();
            self.seq = self.seq.next();
        }
    }

    /// Sends what the endpoint wants sent, up to the first event of the call.
    fn flush(&mut self) -> Option<SessionEvent> {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    if let Some(failed) = self.transports.transmit(transmit) {
                        self.endpoint.handle_input(now(), failed);
                    }
                }
                Output::Event(Event::Session { id, event }) if Some(id) == self.call => return Some(event),
                Output::Event(_) => {}
                Output::Resolve { .. } => unreachable!("addresses need no look-up"),
            }
        }
        None
    }
}

fn now() -> Instant {
    Instant::now()
}
