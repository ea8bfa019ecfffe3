//! The far end: answers every call and checks every packet.
//!
//! One thread on one core. It answers INVITE and BYE without transactions: on loopback a lost message is repeated by the
//! engine and answered again. All calls share one RTP port and are told apart by the address they come from, because a
//! port per call costs the sender more than the rest of a packet; what the engine sends from is a port per call as ever.
//! The thread never waits on the RTP port: it looks there every millisecond, so no packet pays for waking it, and the
//! time of arrival is the kernel's.

pub(crate) mod inbox;
mod signalling;
mod stream;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::process;
use inbox::Inbox;
use signalling::Signalling;
use stream::Stream;

pub(crate) use stream::Heard;

/// Not the address of the engine's legs nor of anything else.
const IP: Ipv4Addr = Ipv4Addr::new(127, 0, 77, 2);

const TICK: Duration = Duration::from_millis(1);
/// Ticks in a packet time: a stream sends in one of them.
const SLOTS: usize = 20;

/// How the far end behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Sends silence, 50 packets a second, to everybody.
    pub(crate) speaks: bool,
    /// Presses a key so long after the answer.
    pub(crate) presses_after: Option<Duration>,
}

/// When things happened to a call, unix ns, and what was heard of it.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) invite_at: u64,
    pub(crate) answered_at: u64,
    /// When the first end packet of the key left.
    pub(crate) key_ended_at: Option<u64>,
    /// Packets sent to the call.
    pub(crate) sent: u64,
    pub(crate) heard: Heard,
}

/// What the far end has seen since it was last cleared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Calls by number.
    pub(crate) calls: HashMap<u32, Sighting>,
    /// Deviation of the time between two packets of a stream from the packet time, µs, while it was recorded.
    pub(crate) gaps: Vec<u32>,
    /// Packets from nobody known.
    pub(crate) strangers: u64,
    /// Messages that could not be answered.
    pub(crate) unanswerable: u64,
    /// Datagrams that the kernel dropped at our own sockets.
    pub(crate) dropped: u64,
}

enum Command {
    Clear,
    /// Streams without calls: those of the floor.
    Admit(Vec<SocketAddr>),
    Behave(Manner),
    RecordGaps(bool),
    Report(mpsc::Sender<Report>),
}

/// A handle of the far end's thread, which ends with it.
#[derive(Debug)]
pub(crate) struct Peer {
    commands: Option<mpsc::Sender<Command>>,
    sip: SocketAddr,
    rtp: SocketAddr,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Peer {
    /// Starts it on `core`; every stream must be `prompt`, from its start, over and over.
    pub(crate) fn start(core: usize, prompt: Vec<u8>) -> anyhow::Result<Peer> {
        let sip = UdpSocket::bind((IP, 0))?;
        // The engine's reports arrive at the port above: nobody reads them, but a closed port would answer each one.
        let (rtp, rtcp) = port_pair()?;
        let (sip_addr, rtp_addr) = (sip.local_addr()?, rtp.local_addr()?);
        let (commands, orders) = mpsc::channel();
        let thread = std::thread::Builder::new().name("peer".into()).spawn(move || {
            process::pin(core)?;
            let _keep_open = rtcp;
            let signalling = Signalling::new(sip_addr, rtp_addr);
            let mut worker = Worker {
                sip: Inbox::new(sip)?,
                rtp: Inbox::new(rtp)?,
                signalling,
                prompt,
                streams: Vec::new(),
                by_remote: HashMap::new(),
                manner: Manner::default(),
                recording: false,
                gaps: Vec::new(),
                strangers: 0,
                dropped_before: 0,
            };
            worker.run(&orders)
        })?;
        Ok(Peer { commands: Some(commands), sip: sip_addr, rtp: rtp_addr, thread: Some(thread) })
    }

    /// Where it takes calls.
    pub(crate) fn sip_addr(&self) -> SocketAddr {
        self.sip
    }

    /// Where it takes packets.
    pub(crate) fn rtp_addr(&self) -> SocketAddr {
        self.rtp
    }

    /// Forgets every call, stream and figure, and behaves as at first.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        self.order(Command::Clear)
    }

    /// Takes streams from these addresses as if they had called; what they send is only counted.
    pub(crate) fn admit(&self, remotes: Vec<SocketAddr>) -> anyhow::Result<()> {
        self.order(Command::Admit(remotes))
    }

    pub(crate) fn behave(&self, manner: Manner) -> anyhow::Result<()> {
        self.order(Command::Behave(manner))
    }

    pub(crate) fn record_gaps(&self, on: bool) -> anyhow::Result<()> {
        self.order(Command::RecordGaps(on))
    }

    pub(crate) fn report(&self) -> anyhow::Result<Report> {
        let (tell, told) = mpsc::channel();
        self.order(Command::Report(tell))?;
        told.recv().context("the far end has stopped")
    }

    fn order(&self, command: Command) -> anyhow::Result<()> {
        let sent = self.commands.as_ref().is_some_and(|commands| commands.send(command).is_ok());
        anyhow::ensure!(sent, "the far end has stopped");
        Ok(())
    }

    /// Ends the thread; says why it ended before.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        drop(self.commands.take());
        let thread = self.thread.take().context("the thread of a peer")?;
        thread.join().map_err(|_| anyhow::anyhow!("the far end panicked"))?
    }
}

/// An even port and the one above.
fn port_pair() -> anyhow::Result<(UdpSocket, UdpSocket)> {
    const FIRST: u16 = 20_000;
    for port in (FIRST..FIRST + 200).step_by(2) {
        if let (Ok(rtp), Ok(rtcp)) = (UdpSocket::bind((IP, port)), UdpSocket::bind((IP, port + 1))) {
            return Ok((rtp, rtcp));
        }
    }
    anyhow::bail!("no free pair of ports on {IP}")
}

struct Worker {
    sip: Inbox,
    rtp: Inbox,
    signalling: Signalling,
    prompt: Vec<u8>,
    streams: Vec<Stream>,
    by_remote: HashMap<SocketAddr, usize>,
    manner: Manner,
    recording: bool,
    gaps: Vec<u32>,
    strangers: u64,
    dropped_before: u64,
}

impl Worker {
    fn run(&mut self, orders: &mpsc::Receiver<Command>) -> anyhow::Result<()> {
        let mut tick_at = Instant::now();
        let mut slot = 0;
        loop {
            self.wait_for_sip(tick_at.saturating_duration_since(Instant::now()))?;
            self.answer()?;
            let now = Instant::now();
            if now < tick_at {
                continue;
            }
            self.listen()?;
            self.speak(slot)?;
            slot = (slot + 1) % SLOTS;
            // A thread that was kept away goes on from now: what it missed is missed, not sent in a burst.
            tick_at = (tick_at + TICK).max(now);
            loop {
                match orders.try_recv() {
                    Ok(command) => self.obey(command)?,
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
                }
            }
        }
    }

    fn wait_for_sip(&self, patience: Duration) -> anyhow::Result<()> {
        let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        match poll(&mut [PollFd::new(self.sip.socket(), PollFlags::IN)], Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("poll"),
        }
    }

    fn answer(&mut self) -> anyhow::Result<()> {
        let Worker { sip, signalling, streams, by_remote, .. } = self;
        let mut answers = Vec::new();
        sip.receive(|arrival| {
            if let Some(answer) = signalling.handle(arrival.datagram) {
                answers.push((answer, arrival.from, arrival.at));
            }
        })?;
        for (answer, to, at) in answers {
            sip.socket().send_to(&answer.bytes, to).context("answering")?;
            if let Some(call) = answer.new_call {
                by_remote.insert(call.remote, streams.len());
                streams.push(Stream::of_call(call, at));
            }
        }
        Ok(())
    }

    fn listen(&mut self) -> anyhow::Result<()> {
        let Worker { rtp, streams, by_remote, prompt, recording, gaps, strangers, .. } = self;
        rtp.receive(|arrival| {
            let Some(&stream) = by_remote.get(&arrival.from) else {
                *strangers += 1;
                return;
            };
            let gap = streams[stream].receive(arrival.datagram, arrival.at, prompt);
            gaps.extend(gap.filter(|_| *recording));
        })
    }

    fn speak(&mut self, slot: usize) -> anyhow::Result<()> {
        let Worker { rtp, streams, manner, .. } = self;
        if !manner.speaks && manner.presses_after.is_none() {
            return Ok(());
        }
        for stream in streams.iter_mut().skip(slot).step_by(SLOTS) {
            stream.speak(*manner, |packet, to| {
                // A leg that has just closed its port is no failure of ours.
                let _ = rtp.socket().send_to(packet, to);
            });
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Clear => {
                self.signalling.clear();
                self.streams.clear();
                self.by_remote.clear();
                self.manner = Manner::default();
                (self.recording, self.strangers) = (false, 0);
                self.gaps = Vec::new();
                self.dropped_before = self.dropped()?;
            }
            Command::Admit(remotes) => {
                for remote in remotes {
                    self.by_remote.insert(remote, self.streams.len());
                    self.streams.push(Stream::bare(remote));
                }
            }
            Command::Behave(manner) => self.manner = manner,
            Command::RecordGaps(on) => self.recording = on,
            Command::Report(tell) => {
                let report = Report {
                    calls: self.streams.iter().filter_map(Stream::sighting).collect(),
                    gaps: self.gaps.clone(),
                    strangers: self.strangers,
                    unanswerable: self.signalling.unanswerable(),
                    dropped: self.dropped()? - self.dropped_before,
                };
                // Whoever asked may have given up.
                let _ = tell.send(report);
            }
        }
        Ok(())
    }

    fn dropped(&self) -> anyhow::Result<u64> {
        Ok(inbox::dropped(self.sip.local_addr()?)? + inbox::dropped(self.rtp.local_addr()?)?)
    }
}
