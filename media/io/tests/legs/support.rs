//! A peer on loopback, and the owner's side of a test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use media_core::{
    Codec, Direction, LegConfig, LegId, MediaEvent, MediaStats, MediaTime, Negotiated, NtpClock, Play,
    Program, Prompt, Ptime, SeqNo, Ssrc, TelephoneEvent,
};
use media_io::{Command, LegEvent, Media, MediaConfig};

pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Longer than anything here takes: reaching it means that something never comes.
pub(crate) const DEAD: Duration = Duration::from_secs(30);

pub(crate) fn config(port_range: RangeInclusive<u16>) -> MediaConfig {
    MediaConfig { ip: LOCALHOST, port_range, shards: 2, pin: true, realtime: false, max_legs: 4_000 }
}

/// The media threads and what they said.
pub(crate) struct Owner {
    pub(crate) media: Media,
    pub(crate) events: Receiver<(LegId, LegEvent)>,
}

impl Owner {
    pub(crate) fn start(config: MediaConfig) -> Owner {
        Owner::with_room(config, 100_000)
    }

    /// With a sink that has room for this many events.
    pub(crate) fn with_room(config: MediaConfig, room: usize) -> Owner {
        let (sender, events): (SyncSender<(LegId, LegEvent)>, _) = sync_channel(room);
        let media = Media::start(config, move |leg, event| sender.try_send((leg, event)).is_ok()).unwrap();
        Owner { media, events }
    }

    /// Opens and starts a leg towards `peer`.
    pub(crate) fn start_leg(&mut self, id: u64, peer: SocketAddr) -> SocketAddr {
        let local = self.media.open(LegId(id)).unwrap();
        self.command(id, Command::Start { config: leg_config(id), negotiated: negotiated(peer) });
        local
    }

    pub(crate) fn play(&mut self, id: u64, prompt: &Arc<Prompt>, plays: u32) {
        let play = Play { id, playlist: Arc::clone(prompt).into(), plays, offset_ms: 0, barge_in: false };
        self.command(id, Command::Run(Program { play: Some(play), collect: None }));
    }

    pub(crate) fn command(&mut self, id: u64, command: Command) {
        self.media.command(LegId(id), command).unwrap();
    }

    pub(crate) fn next(&self) -> (u64, LegEvent) {
        let (id, event) = self.events.recv_timeout(DEAD).expect("an event");
        (id.0, event)
    }

    /// The next media event of any leg.
    pub(crate) fn next_media(&self) -> (u64, MediaEvent) {
        match self.next() {
            (id, LegEvent::Media(event)) => (id, event),
            (id, LegEvent::Closed(_)) => panic!("leg {id} closed"),
        }
    }

    /// Throws media events away until a leg has closed.
    pub(crate) fn next_closed(&self) -> (u64, MediaStats) {
        loop {
            if let (id, LegEvent::Closed(stats)) = self.next() {
                return (id, stats);
            }
        }
    }
}

pub(crate) fn leg_config(id: u64) -> LegConfig {
    LegConfig {
        ssrc: Ssrc(id as u32),
        first_seq: SeqNo(65_530),
        first_timestamp: MediaTime(u32::MAX - 1_000),
        cname: "test".into(),
        clock: NtpClock::from_unix_ms(Instant::now(), 1_800_000_000_000),
        rtcp_seed: id,
        rtp_timeout: Default::default(),
    }
}

pub(crate) fn negotiated(peer: SocketAddr) -> Negotiated {
    Negotiated {
        remote: peer,
        rtcp: None,
        codec: Codec::Pcmu,
        pt_send: 0,
        pt_recv: 0,
        telephone_event: Some(TelephoneEvent { pt_send: 101, pt_recv: 101, clock: 8_000 }),
        others: Vec::new(),
        ptime: Ptime::DEFAULT,
        direction: Direction::SendRecv,
        rtcp_mux: false,
        srtp: None,
    }
}

/// A prompt in which every frame differs.
pub(crate) fn prompt(ms: usize) -> Arc<Prompt> {
    let payload: Vec<u8> = (0..ms * 8).map(|n| (n % 251) as u8).collect();
    Arc::new(Prompt::new(Codec::Pcmu, payload))
}

/// The far end of a leg.
pub(crate) struct Peer {
    pub(crate) socket: UdpSocket,
    pub(crate) address: SocketAddr,
}

impl Peer {
    pub(crate) fn new(ip: IpAddr) -> Peer {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(DEAD)).unwrap();
        Peer { address: socket.local_addr().unwrap(), socket }
    }

    pub(crate) fn receive(&self) -> Packet {
        let mut buffer = [0; 2048];
        let (length, from) = self.socket.recv_from(&mut buffer).expect("a packet");
        Packet::new(from, &buffer[..length])
    }

    /// What has arrived by now.
    pub(crate) fn received(&self) -> Vec<Packet> {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2048];
        std::iter::from_fn(|| {
            let (length, from) = self.socket.recv_from(&mut buffer).ok()?;
            Some(Packet::new(from, &buffer[..length]))
        })
        .collect()
    }

    /// The next packet that is sent to it, whatever has arrived before: its leg has done with what it had received by now.
    pub(crate) fn receive_next(&self) -> Packet {
        self.received();
        self.socket.set_nonblocking(false).unwrap();
        self.receive()
    }

    pub(crate) fn send(&self, to: SocketAddr, packet: &[u8]) {
        self.socket.send_to(packet, to).unwrap();
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Packet {
    pub(crate) from: SocketAddr,
    pub(crate) pt: u8,
    pub(crate) seq: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    fn new(from: SocketAddr, datagram: &[u8]) -> Packet {
        assert_eq!(datagram[0], 0x80, "RTP version 2 without extras");
        Packet {
            from,
            pt: datagram[1] & 0x7f,
            seq: u16::from_be_bytes([datagram[2], datagram[3]]),
            timestamp: u32::from_be_bytes(datagram[4..8].try_into().unwrap()),
            ssrc: u32::from_be_bytes(datagram[8..12].try_into().unwrap()),
            payload: datagram[12..].to_vec(),
        }
    }
}

/// An RTP packet as a peer sends it.
pub(crate) fn rtp(pt: u8, marker: bool, seq: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, pt | if marker { 0x80 } else { 0 }];
    packet.extend(seq.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(0x1234_5678u32.to_be_bytes());
    packet.extend(payload);
    packet
}

/// Waits for something that only counters show.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEAD, "never happened: {what}");
        std::thread::yield_now();
    }
}
