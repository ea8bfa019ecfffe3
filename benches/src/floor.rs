//! The floor: what the kernel charges for the same datagrams in a bare loop.
//!
//! As many threads as the engine has media threads, on the same cores; a connected socket per call, a wheel of 1 ms
//! slots, 172 octets every 20 ms, epoll for what comes in; the same far end. The layout of the media threads without
//! anything of theirs. Everything else is divided by this, taken in the same run.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::{Timespec, epoll};
use rustix::time::{ClockId, clock_gettime};

use crate::peer::{Manner, Peer};
use crate::process;

/// 12 octets of RTP header and 20 ms of G.711.
const PACKET: [u8; 172] = [0x80; 172];
const TICK: Duration = Duration::from_millis(1);
/// Ticks in a packet time.
const SLOTS: usize = 20;

/// CPU milliseconds per call-second of a bare loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    /// Sending 50 packets.
    pub(crate) send: f64,
    /// Sending 50 packets and receiving 50.
    pub(crate) both: f64,
}

/// Runs the bare loops over `calls` sockets on these cores, twice for `length`.
pub(crate) fn measure(peer: &Peer, cores: &[usize], calls: usize, length: Duration) -> anyhow::Result<Floor> {
    Ok(Floor { send: run(peer, cores, calls, length, false)?, both: run(peer, cores, calls, length, true)? })
}

fn run(peer: &Peer, cores: &[usize], calls: usize, length: Duration, speaks: bool) -> anyhow::Result<f64> {
    peer.clear()?;
    let sockets: Vec<UdpSocket> =
        (0..calls).map(|_| connected(peer.rtp_addr())).collect::<anyhow::Result<_>>()?;
    peer.admit(sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?)?;
    peer.behave(Manner { speaks, ..Manner::default() })?;
    let share = calls.div_ceil(cores.len());
    let counts = std::thread::scope(|scope| {
        let chunks = cores.iter().zip(sockets.chunks(share));
        let loops: Vec<_> =
            chunks.map(|(&core, sockets)| scope.spawn(move || bare_loop(core, sockets, length))).collect();
        let join = |thread: ScopedJoinHandle<'_, anyhow::Result<Counts>>| {
            thread.join().map_err(|_| anyhow::anyhow!("the floor panicked"))?
        };
        loops.into_iter().map(join).collect::<anyhow::Result<Vec<Counts>>>()
    })?;
    let report = peer.report()?;
    peer.clear()?;
    let sum = counts.iter().fold(Counts::default(), |sum, counts| sum.plus(*counts));
    anyhow::ensure!(report.dropped == 0, "the far end lost {} packets of the floor", report.dropped);
    // The far end is in step only about: what counts is that as much came in as went out.
    anyhow::ensure!(
        !speaks || sum.received * 10 >= sum.sent * 9,
        "the far end is too slow for the floor: {sum:?}"
    );
    Ok(sum.cpu.as_secs_f64() * 1000.0 * 50.0 / sum.sent as f64)
}

fn connected(to: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    cpu: Duration,
    sent: u64,
    received: u64,
}

impl Counts {
    fn plus(self, other: Counts) -> Counts {
        Counts {
            cpu: self.cpu + other.cpu,
            sent: self.sent + other.sent,
            received: self.received + other.received,
        }
    }
}

fn bare_loop(core: usize, sockets: &[UdpSocket], length: Duration) -> anyhow::Result<Counts> {
    process::pin(core)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, socket) in sockets.iter().enumerate() {
        epoll::add(&poll, socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
    }
    let mut events =
        [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 256];
    let mut buffer = [0; 2048];
    let mut counts = Counts::default();
    let (begin, cpu) = (Instant::now(), thread_cpu());
    let (mut due, mut slot) = (begin, 0);
    loop {
        let now = Instant::now();
        if now >= begin + length {
            counts.cpu = thread_cpu() - cpu;
            return Ok(counts);
        }
        if now >= due {
            for socket in sockets.iter().skip(slot).step_by(SLOTS) {
                socket.send(&PACKET).context("the floor")?;
                counts.sent += 1;
            }
            slot = (slot + 1) % SLOTS;
            due += TICK;
            continue;
        }
        let patience = Timespec { tv_sec: 0, tv_nsec: (due - now).subsec_nanos().into() };
        let ready = epoll::wait(&poll, &mut events[..], Some(&patience))?;
        for event in &events[..ready] {
            let index = usize::try_from(event.data.u64())?;
            counts.received += u64::from(sockets[index].recv(&mut buffer).is_ok());
        }
    }
}

/// CPU time of the calling thread.
fn thread_cpu() -> Duration {
    let at = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(at.tv_sec).unwrap_or(0), u32::try_from(at.tv_nsec).unwrap_or(0))
}
