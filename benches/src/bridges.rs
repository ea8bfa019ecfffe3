//! `--bridges`: what a media thread takes for a packet that it carries from one leg of a bridge to the other, against a bare
//! loop that receives and sends.
//!
//! The media threads run in this process: one shard on the first core, and nothing of SIP. The far end is one socket on the
//! last core for all legs; it sends to each 50 packets a second and takes from the kernel when they came back.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use media_core::rtp::{HEADER_LEN, Header};
use media_core::{
    BridgeId, Codec, Direction, Encoder, Keys, LegConfig, LegId, MediaTime, Member, MemberSet, Negotiated,
    NtpClock, Ptime, SeqNo, Ssrc, TelephoneEvent,
};
use media_io::{BridgeConfig, Command, Media, MediaConfig};
use rustix::event::{Timespec, epoll};
use rustix::thread::gettid;

use crate::peer::inbox::{Inbox, dropped};
use crate::process;
use crate::spread::{Spread, median};

const IP: Ipv4Addr = Ipv4Addr::new(127, 0, 77, 3);
const TICK: Duration = Duration::from_millis(1);
/// Ticks in a packet time.
const SLOTS: usize = 20;
/// What the ears need to fill, and the sockets to be connected.
const SETTLE: Duration = Duration::from_secs(2);
/// Longer than a media thread is ever busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// A kind of bridge.
#[derive(Clone, Copy, Debug)]
struct Kind {
    id: &'static str,
    /// Of its two legs.
    codecs: [Codec; 2],
    /// How the far end says that it sends keys: where not as events, the engine listens for them in the audio.
    keys: KeysAs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeysAs {
    Events,
    Tones,
}

const fn kind(id: &'static str, a: Codec, b: Codec, keys: KeysAs) -> Kind {
    Kind { id, codecs: [a, b], keys }
}

const KINDS: [Kind; 6] = [
    kind("P4", Codec::Pcma, Codec::Pcma, KeysAs::Events),
    kind("", Codec::Pcma, Codec::Pcma, KeysAs::Tones),
    kind("P5", Codec::Pcma, Codec::Pcmu, KeysAs::Events),
    kind("P5", Codec::Pcma, Codec::G722, KeysAs::Events),
    kind("P5", Codec::Pcma, Codec::Opus, KeysAs::Events),
    kind("P5", Codec::G722, Codec::Opus, KeysAs::Events),
];

/// What its keys are called in SDP.
const EVENTS: u8 = 101;

/// What carrying packets took.
#[derive(Clone, Debug, Default)]
struct Carried {
    /// Of the thread that carries, ns for each packet that came back.
    ns: f64,
    sent: u64,
    returned: u64,
    /// From the far end and back to it, µs; where the payload stays what it is.
    latency: Vec<u32>,
}

/// The table, for so many bridges.
pub(crate) fn measure(
    cores: &[usize],
    bridges: usize,
    repetitions: usize,
    length: Duration,
) -> anyhow::Result<String> {
    let mut text = format!(
        "\n| id | {bridges} bridges | µs CPU per carried packet | ÷ bare loop | ms CPU per call-second | there and back, ms | lost |\n\
         |---|---|--:|--:|--:|--:|--:|\n"
    );
    let mut bare = Vec::new();
    let mut kinds = vec![Vec::new(); KINDS.len()];
    for _ in 0..repetitions {
        bare.push(bare_relay(cores, bridges, length)?);
        for (kind, rounds) in KINDS.iter().zip(&mut kinds) {
            rounds.push(bridged(cores, bridges, *kind, length)?);
        }
    }
    let ns = |rounds: &[Carried]| median(rounds.iter().map(|round| round.ns)).context("no repetition");
    let floor = ns(&bare)?;
    let mut row = |id: &str, what: &str, rounds: &[Carried]| -> anyhow::Result<()> {
        let us = ns(rounds)? / 1000.0;
        let sum = |of: fn(&Carried) -> u64| rounds.iter().map(of).sum::<u64>();
        let (sent, returned) = (sum(|round| round.sent), sum(|round| round.returned));
        let latency = Spread::of(rounds.iter().flat_map(|round| &round.latency).copied().collect());
        let latency = latency.map_or_else(|| "–".into(), |latency| latency.to_string());
        writeln!(
            text,
            "| {id} | {what} | {us:.2} | {:.2} | {:.3} | {latency} | {} of {sent} |",
            us * 1000.0 / floor,
            us * 0.05,
            sent.saturating_sub(returned),
        )?;
        Ok(())
    };
    row("", "bare loop: receive, send", &bare)?;
    for (Kind { id, codecs: [a, b], keys }, rounds) in KINDS.iter().zip(&kinds) {
        let keys = match keys {
            KeysAs::Events => "",
            KeysAs::Tones => ", listening for keys in the audio",
        };
        row(id, &format!("{}, {}{keys}", a.name(), b.name()), rounds)?;
    }
    Ok(text)
}

/// Two legs each, of this kind, on one media thread.
fn bridged(cores: &[usize], bridges: usize, kind: Kind, length: Duration) -> anyhow::Result<Carried> {
    let far = UdpSocket::bind((IP, 0))?;
    let remote = far.local_addr()?;
    let config = MediaConfig {
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port_range: 20_000..=31_999,
        shards: 1,
        pin: true,
        realtime: false,
        max_legs: 2 * bridges,
    };
    let mut media = Media::start(config, |_, _| true)?;
    let mut streams = Vec::new();
    for bridge in 0..bridges as u64 {
        for (side, codec) in kind.codecs.into_iter().enumerate() {
            let id = LegId(2 * bridge + side as u64);
            let local = insist(|| media.open(id))?;
            let start =
                || Command::Start { config: leg(id), negotiated: negotiated(remote, codec, kind.keys) };
            insist(|| media.command(id, start()))?;
            streams.push(Stream::new(local, codec));
        }
        let legs = [LegId(2 * bridge), LegId(2 * bridge + 1)];
        let hears = |place| MemberSet::EMPTY.with(place);
        let members: Vec<Member> = legs
            .iter()
            .enumerate()
            .map(|(place, leg)| Member { leg: *leg, hears: hears(1 - place) })
            .collect();
        let config = || BridgeConfig { members: members.clone(), keys: Keys::Relayed };
        insist(|| media.bridge(BridgeId(bridge), config()))?;
    }
    let carrier = thread_named("media-0")?;
    let same = kind.codecs[0] == kind.codecs[1];
    carry(cores, far, streams, same, length, carrier)
}

/// Gives an order until the media thread takes it: its ring is for a second's worth of calls, and these come all at once.
fn insist<T>(mut order: impl FnMut() -> Result<T, media_io::Error>) -> anyhow::Result<T> {
    let begin = Instant::now();
    loop {
        match order() {
            Err(media_io::Error::Busy { .. }) if begin.elapsed() < PATIENCE => std::thread::yield_now(),
            result => return Ok(result?),
        }
    }
}

/// The same with a bare loop on the core of the media thread.
fn bare_relay(cores: &[usize], bridges: usize, length: Duration) -> anyhow::Result<Carried> {
    let far = UdpSocket::bind((IP, 0))?;
    let remote = far.local_addr()?;
    let sockets: Vec<UdpSocket> = (0..2 * bridges)
        .map(|_| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(remote)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
        .collect::<anyhow::Result<_>>()?;
    let streams: Vec<Stream> = sockets
        .iter()
        .map(|socket| Ok(Stream::new(socket.local_addr()?, Codec::Pcma)))
        .collect::<anyhow::Result<_>>()?;
    let stop = Arc::new(AtomicBool::new(false));
    let first = *cores.first().context("a core")?;
    let stopping = Arc::clone(&stop);
    let (tell, told) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("bare-relay".into()).spawn(move || {
        tell.send(u32::try_from(gettid().as_raw_nonzero().get())?)?;
        relay(first, &sockets, &stopping)
    })?;
    let carrier = told.recv().context("the bare loop did not begin")?;
    let carried = carry(cores, far, streams, true, length, carrier);
    stop.store(true, Ordering::Release);
    thread.join().map_err(|_| anyhow::anyhow!("the bare loop panicked"))??;
    carried
}

fn relay(core: usize, sockets: &[UdpSocket], stop: &AtomicBool) -> anyhow::Result<()> {
    process::pin(core)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, socket) in sockets.iter().enumerate() {
        epoll::add(&poll, socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
    }
    let mut events =
        [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 256];
    let mut buffer = [0; 2048];
    let patience = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    while !stop.load(Ordering::Acquire) {
        let ready = epoll::wait(&poll, &mut events[..], Some(&patience))?;
        for event in &events[..ready] {
            let index = usize::try_from(event.data.u64())?;
            if let Ok(len) = sockets[index].recv(&mut buffer) {
                sockets[index ^ 1].send(&buffer[..len]).context("the bare loop")?;
            }
        }
    }
    Ok(())
}

/// What is sent to one leg.
struct Stream {
    to: SocketAddr,
    packet: Vec<u8>,
    seq: SeqNo,
    timestamp: MediaTime,
    units: u32,
}

impl Stream {
    fn new(to: SocketAddr, codec: Codec) -> Stream {
        let samples = codec.sample_rate() / 50;
        let tone: Vec<i16> = (0..samples).map(|n| ((n as f32 / 5.0).sin() * 8_000.0) as i16).collect();
        let mut payload = vec![0; 2_000];
        let octets = Encoder::new(codec).encode(&tone, &mut payload);
        let mut packet = vec![0; HEADER_LEN];
        packet.extend_from_slice(&payload[..octets]);
        let header = Header {
            marker: false,
            pt: codec.payload_type(),
            seq: SeqNo(0),
            timestamp: MediaTime(0),
            ssrc: Ssrc(u32::from(to.port())),
        };
        packet[..HEADER_LEN].copy_from_slice(&header.to_bytes());
        Stream { to, packet, seq: SeqNo(0), timestamp: MediaTime(0), units: codec.clock_rate() / 50 }
    }

    /// The next packet, with the time at the front of its payload if `timed`.
    fn next(&mut self, timed: bool) -> anyhow::Result<&[u8]> {
        self.packet[2..4].copy_from_slice(&self.seq.0.to_be_bytes());
        self.packet[4..8].copy_from_slice(&self.timestamp.0.to_be_bytes());
        if timed {
            self.packet[HEADER_LEN..HEADER_LEN + 8].copy_from_slice(&unix_ns()?.to_be_bytes());
        }
        self.seq = self.seq.next();
        self.timestamp = self.timestamp.plus(self.units);
        Ok(&self.packet)
    }
}

/// Runs the far end on a thread of its own, so that those that are started later may run on every core.
fn carry(
    cores: &[usize],
    far: UdpSocket,
    streams: Vec<Stream>,
    timed: bool,
    length: Duration,
    carrier: u32,
) -> anyhow::Result<Carried> {
    let core = *cores.last().context("a core")?;
    let far_end = std::thread::Builder::new().name("far-end".into()).spawn(move || {
        process::pin(core)?;
        FarEnd { inbox: Inbox::new(far)?, streams, timed }.run(length, || cpu_of(carrier))
    })?;
    far_end.join().map_err(|_| anyhow::anyhow!("the far end panicked"))?
}

struct FarEnd {
    inbox: Inbox,
    streams: Vec<Stream>,
    /// Whether the time is sent along.
    timed: bool,
}

impl FarEnd {
    /// Sends and receives for `length` after all has settled; `cpu` is what the carrying thread has used.
    fn run(
        mut self,
        length: Duration,
        cpu: impl Fn() -> anyhow::Result<Duration>,
    ) -> anyhow::Result<Carried> {
        let mut carried = Carried::default();
        let begin = Instant::now();
        let (mut due, mut slot) = (begin, 0);
        let (mut cpu_before, mut dropped_before) = (None, 0);
        let mut heard: HashMap<SocketAddr, u64> = HashMap::new();
        loop {
            let now = Instant::now();
            let measured = now >= begin + SETTLE;
            if measured && cpu_before.is_none() {
                self.take(|_, _| ())?;
                // What the legs said before anybody listened is no matter.
                dropped_before = dropped(self.inbox.local_addr()?)?;
                cpu_before = Some(cpu()?);
            }
            if now >= begin + SETTLE + length {
                break;
            }
            for stream in self.streams.iter_mut().skip(slot).step_by(SLOTS) {
                let to = stream.to;
                self.inbox.socket().send_to(stream.next(self.timed)?, to).context("the far end")?;
                carried.sent += u64::from(measured);
            }
            slot = (slot + 1) % SLOTS;
            let timed = self.timed;
            self.take(|from, latency| {
                if measured {
                    *heard.entry(from).or_default() += 1;
                    carried.returned += 1;
                    if timed {
                        carried.latency.push(u32::try_from(latency / 1000).unwrap_or(u32::MAX));
                    }
                }
            })?;
            due += TICK;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let used = cpu()?.checked_sub(cpu_before.context("too short")?).context("a clock went back")?;
        let dropped = dropped(self.inbox.local_addr()?)? - dropped_before;
        anyhow::ensure!(dropped == 0, "the far end lost {dropped} packets of {}", carried.returned);
        anyhow::ensure!(
            heard.len() == self.streams.len(),
            "{} legs were heard of {}",
            heard.len(),
            self.streams.len()
        );
        carried.ns = used.as_nanos() as f64 / carried.returned as f64;
        Ok(carried)
    }

    /// Takes what has come: from where, and how long it was under way, ns.
    fn take(&mut self, mut take: impl FnMut(SocketAddr, u64)) -> anyhow::Result<()> {
        self.inbox.receive(|arrival| {
            let sent = arrival.datagram.get(HEADER_LEN..HEADER_LEN + 8).and_then(<[u8]>::first_chunk);
            let latency = sent.map_or(0, |sent| arrival.at.saturating_sub(u64::from_be_bytes(*sent)));
            take(arrival.from, latency);
        })
    }
}

pub(crate) fn leg(id: LegId) -> LegConfig {
    LegConfig {
        ssrc: Ssrc(0x1000_0000 + id.0 as u32),
        first_seq: SeqNo(1),
        first_timestamp: MediaTime(1),
        cname: "bench".into(),
        clock: NtpClock::from_unix_ms(Instant::now(), 1_800_000_000_000),
        rtcp_seed: id.0,
        rtp_timeout: Default::default(),
    }
}

pub(crate) fn negotiated(remote: SocketAddr, codec: Codec, keys: KeysAs) -> Negotiated {
    let clock = codec.clock_rate();
    let events = TelephoneEvent { pt_send: EVENTS, pt_recv: EVENTS, clock };
    Negotiated {
        remote,
        rtcp: None,
        codec,
        pt_send: codec.payload_type(),
        pt_recv: codec.payload_type(),
        telephone_event: (keys == KeysAs::Events).then_some(events),
        others: Vec::new(),
        ptime: Ptime::DEFAULT,
        direction: Direction::SendRecv,
        rtcp_mux: false,
        srtp: None,
    }
}

fn unix_ns() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

/// The number of the thread of this process with this name.
fn thread_named(name: &str) -> anyhow::Result<u32> {
    for thread in std::fs::read_dir("/proc/self/task")? {
        let path = thread?.path();
        if std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name) {
            let number = path.file_name().and_then(|number| number.to_str()).context("a thread")?;
            return Ok(number.parse()?);
        }
    }
    anyhow::bail!("there is no thread {name}")
}

/// What a thread of this process has used.
fn cpu_of(thread: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/self/task/{thread}/schedstat");
    let text = std::fs::read_to_string(&path).context(path)?;
    Ok(Duration::from_nanos(text.split_whitespace().next().context("schedstat")?.parse()?))
}
