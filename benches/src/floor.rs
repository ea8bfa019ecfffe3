//! The floor: what the kernel charges for the same datagrams in a bare loop.
//!
//! As many threads as the engine has media threads, on the same cores; a wheel of 1 ms slots, 172 octets every 20 ms, epoll
//! for what comes in; the same far end. The layout of the media threads without anything of theirs. Everything else is
//! divided by this, taken in the same run. [`Layout::Shared`] is the other way to lay out sockets, for `--layouts`.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use rustix::event::{Timespec, epoll};
use rustix::time::{ClockId, clock_gettime};

use crate::peer::{Manner, Peer};
use crate::process;

/// 12 octets of RTP header and 20 ms of G.711.
const PACKET: [u8; 172] = [0x80; 172];
const TICK: Duration = Duration::from_millis(1);
/// Ticks in a packet time.
const SLOTS: usize = 20;
/// Datagrams in one system call where several go into one.
const BATCH: usize = 64;

/// What a bare loop needs.
#[derive(Clone, Debug)]
pub(crate) struct Floor {
    /// CPU milliseconds per call-second.
    pub(crate) cost: f64,
    /// How late each tick began; µs.
    pub(crate) lateness: Vec<u32>,
}

/// What goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// 50 packets a second from each call.
    Sending,
    /// The same, and 50 to it.
    Both,
}

/// How a thread's calls share sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A connected socket per call: what the engine does.
    PerCall,
    /// One socket per thread: a system call sends all packets of a slot, another takes all that have come, and the remote
    /// address tells whose each is.
    Shared,
}

/// Runs the bare loops for `calls` calls on these cores for `length`.
pub(crate) fn measure(
    peer: &Peer,
    cores: &[usize],
    calls: usize,
    length: Duration,
    layout: Layout,
    traffic: Traffic,
) -> anyhow::Result<Floor> {
    let speaks = traffic == Traffic::Both;
    peer.clear()?;
    let share = calls.div_ceil(cores.len());
    let shares: Vec<usize> = (0..calls).step_by(share).map(|first| share.min(calls - first)).collect();
    let mut locals = Vec::with_capacity(calls);
    let mut sockets = Vec::with_capacity(shares.len());
    for &share in &shares {
        let of_thread = match layout {
            Layout::PerCall => {
                (0..share).map(|_| connected(peer.rtp_addr())).collect::<anyhow::Result<_>>()?
            }
            Layout::Shared => vec![bound()?],
        };
        for call in 0..share {
            locals.push(of_thread[call % of_thread.len()].local_addr()?);
        }
        sockets.push(of_thread);
    }
    peer.admit(locals)?;
    peer.behave(Manner { speaks, ..Manner::default() })?;
    let counts = std::thread::scope(|scope| {
        let loops: Vec<_> = cores
            .iter()
            .zip(sockets.into_iter().zip(&shares))
            .map(|(&core, (sockets, &calls))| {
                scope.spawn(move || {
                    let wire = match layout {
                        Layout::PerCall => Wire::PerCall { sockets, buffer: Box::new([0; 2048]) },
                        Layout::Shared => Wire::Shared(Shared::new(sockets, peer.rtp_addr(), calls)?),
                    };
                    bare_loop(core, wire, length)
                })
            })
            .collect();
        let join = |thread: ScopedJoinHandle<'_, anyhow::Result<Counts>>| {
            thread.join().map_err(|_| anyhow::anyhow!("the floor panicked"))?
        };
        loops.into_iter().map(join).collect::<anyhow::Result<Vec<Counts>>>()
    })?;
    let report = peer.report()?;
    peer.clear()?;
    let sum = counts.into_iter().fold(Counts::default(), Counts::plus);
    anyhow::ensure!(report.dropped == 0, "the far end lost {} packets of the floor", report.dropped);
    // The far end is in step only about: what counts is that as much came in as went out.
    anyhow::ensure!(
        !speaks || sum.received * 10 >= sum.sent * 9,
        "the far end is too slow for the floor: {} packets went out, {} came in",
        sum.sent,
        sum.received
    );
    // Each call-second is 50 packets.
    let cost = sum.cpu.as_secs_f64() * 1000.0 * 50.0 / sum.sent as f64;
    Ok(Floor { cost, lateness: sum.lateness })
}

#[derive(Clone, Debug, Default)]
struct Counts {
    cpu: Duration,
    sent: u64,
    received: u64,
    lateness: Vec<u32>,
}

impl Counts {
    fn plus(mut self, other: Counts) -> Counts {
        self.lateness.extend(other.lateness);
        Counts {
            cpu: self.cpu + other.cpu,
            sent: self.sent + other.sent,
            received: self.received + other.received,
            lateness: self.lateness,
        }
    }
}

fn connected(to: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = bound()?;
    socket.connect(to)?;
    Ok(socket)
}

fn bound() -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The sockets of one thread.
enum Wire {
    PerCall { sockets: Vec<UdpSocket>, buffer: Box<[u8; 2048]> },
    Shared(Shared),
}

impl Wire {
    fn watch(&self, poll: &impl std::os::fd::AsFd) -> anyhow::Result<()> {
        let sockets = match self {
            Wire::PerCall { sockets, .. } => &sockets[..],
            Wire::Shared(wire) => std::slice::from_ref(&wire.socket),
        };
        for (index, socket) in sockets.iter().enumerate() {
            epoll::add(poll, socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    /// Sends a packet for every call of the slot; how many.
    fn send(&mut self, slot: usize) -> anyhow::Result<u64> {
        match self {
            Wire::PerCall { sockets, .. } => {
                let mut sent = 0;
                for socket in sockets.iter().skip(slot).step_by(SLOTS) {
                    socket.send(&PACKET).context("the floor")?;
                    sent += 1;
                }
                Ok(sent)
            }
            Wire::Shared(wire) => wire.send(slot),
        }
    }

    /// Takes what has come to a socket that is ready; how many packets.
    fn receive(&mut self, index: usize) -> anyhow::Result<u64> {
        match self {
            Wire::PerCall { sockets, buffer } => Ok(u64::from(sockets[index].recv(&mut buffer[..]).is_ok())),
            Wire::Shared(wire) => wire.receive(),
        }
    }
}

struct Shared {
    socket: UdpSocket,
    to: SockaddrIn,
    calls: usize,
    headers: MultiHeaders<SockaddrIn>,
    buffers: Box<[[u8; 2048]; BATCH]>,
    /// Whose packet it is: as many entries as calls, looked up once for each packet.
    by_remote: HashMap<SocketAddrV4, usize>,
    next: u16,
}

impl Shared {
    fn new(sockets: Vec<UdpSocket>, to: SocketAddr, calls: usize) -> anyhow::Result<Shared> {
        let SocketAddr::V4(to) = to else { anyhow::bail!("{to} is not IPv4") };
        let socket = sockets.into_iter().next().context("a socket")?;
        let remote = |port| SocketAddrV4::new(*to.ip(), port);
        Ok(Shared {
            socket,
            to: to.into(),
            calls,
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: Box::new([[0; 2048]; BATCH]),
            by_remote: (0..calls)
                .map(|call| Ok((remote(u16::try_from(call)?), call)))
                .collect::<anyhow::Result<_>>()?,
            next: 0,
        })
    }

    fn send(&mut self, slot: usize) -> anyhow::Result<u64> {
        let mut left = (slot..self.calls).step_by(SLOTS).len();
        let all = left as u64;
        while left > 0 {
            let packet = [[IoSlice::new(&PACKET)]; BATCH];
            let to = [Some(self.to); BATCH];
            let batch = left.min(BATCH);
            let results = sendmmsg(
                self.socket.as_raw_fd(),
                &mut self.headers,
                &packet[..batch],
                &to[..batch],
                [],
                MsgFlags::empty(),
            )
            .context("the floor")?;
            let sent = results.count();
            anyhow::ensure!(sent > 0, "the floor: nothing was sent");
            left -= sent;
        }
        Ok(all)
    }

    fn receive(&mut self) -> anyhow::Result<u64> {
        let mut slices = self.buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let fd = self.socket.as_raw_fd();
        let messages = match recvmmsg(fd, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)
        {
            Ok(messages) => messages,
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(0),
            Err(error) => return Err(error).context("the floor"),
        };
        let mut received = 0;
        for message in messages {
            // All come from one port of the far end: that of each call stands for it, in no order that a cache likes.
            if let Some(from) = message.address {
                let port = usize::from(self.next) * 7919 % self.calls;
                let remote = SocketAddrV4::new(from.ip(), port as u16);
                black_box(self.by_remote.get(&remote));
                self.next = self.next.wrapping_add(1);
            }
            received += 1;
        }
        Ok(received)
    }
}

fn bare_loop(core: usize, mut wire: Wire, length: Duration) -> anyhow::Result<Counts> {
    process::pin(core)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    wire.watch(&poll)?;
    let mut events =
        [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 256];
    let ticks = usize::try_from(length.as_nanos() / TICK.as_nanos())? + 1;
    let mut counts = Counts { lateness: Vec::with_capacity(ticks), ..Counts::default() };
    let (begin, cpu) = (Instant::now(), thread_cpu());
    let (mut due, mut slot) = (begin, 0);
    loop {
        let now = Instant::now();
        if now >= begin + length {
            counts.cpu = thread_cpu() - cpu;
            return Ok(counts);
        }
        if now >= due {
            counts.lateness.push(u32::try_from((now - due).as_micros()).unwrap_or(u32::MAX));
            counts.sent += wire.send(slot)?;
            slot = (slot + 1) % SLOTS;
            due += TICK;
            continue;
        }
        let patience = Timespec { tv_sec: 0, tv_nsec: (due - now).subsec_nanos().into() };
        let ready = epoll::wait(&poll, &mut events[..], Some(&patience))?;
        for event in &events[..ready] {
            counts.received += wire.receive(usize::try_from(event.data.u64())?)?;
        }
    }
}

/// CPU time of the calling thread.
fn thread_cpu() -> Duration {
    let at = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(at.tv_sec).unwrap_or(0), u32::try_from(at.tv_nsec).unwrap_or(0))
}
