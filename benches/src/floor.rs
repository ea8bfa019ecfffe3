//! The floor: what the kernel charges for the same datagrams, sent and received by a bare loop.
//!
//! One thread, one connected socket per call, a wheel of 1 ms slots, 172 octets every 20 ms: the layout of the media
//! threads without anything of theirs. Everything else is divided by this, taken in the same run.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::epoll;
use rustix::time::{ClockId, clock_gettime};

/// 12 octets of RTP header and 20 ms of G.711.
const PACKET: [u8; 172] = [0x80; 172];
const PTIME: Duration = Duration::from_millis(20);
const SLOTS: usize = 20;

/// CPU milliseconds per call-second.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// Sending 50 packets.
    pub send: f64,
    /// Receiving 50 packets, a socket per call, woken by epoll.
    pub receive: f64,
}

/// Runs the bare loop over `calls` socket pairs for `length`.
pub fn measure(calls: usize, length: Duration) -> anyhow::Result<Floor> {
    let (senders, receivers) = pairs(calls)?;
    let stop = Arc::new(AtomicBool::new(false));
    let receiver = {
        let stop = Arc::clone(&stop);
        std::thread::Builder::new().name("floor-recv".into()).spawn(move || receive(&receivers, &stop))?
    };
    let (cpu, packets) = send(&senders, length)?;
    stop.store(true, Ordering::Relaxed);
    let (receive_cpu, received) = receiver.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))??;
    anyhow::ensure!(received * 100 >= packets * 99, "the floor lost packets: {received} of {packets}");
    let per_call_second = |cpu: Duration, packets: u64| cpu.as_secs_f64() * 1000.0 * 50.0 / packets as f64;
    Ok(Floor { send: per_call_second(cpu, packets), receive: per_call_second(receive_cpu, received) })
}

fn pairs(calls: usize) -> anyhow::Result<(Vec<UdpSocket>, Vec<UdpSocket>)> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut senders = Vec::with_capacity(calls);
    let mut receivers = Vec::with_capacity(calls);
    for _ in 0..calls {
        let (sender, receiver) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
        sender.connect(receiver.local_addr()?)?;
        receiver.connect(sender.local_addr()?)?;
        receiver.set_nonblocking(true)?;
        senders.push(sender);
        receivers.push(receiver);
    }
    Ok((senders, receivers))
}

fn send(senders: &[UdpSocket], length: Duration) -> anyhow::Result<(Duration, u64)> {
    let begin = Instant::now();
    let cpu = thread_cpu();
    let (mut packets, mut tick) = (0u64, 0u32);
    while begin.elapsed() < length {
        let slot = tick as usize % SLOTS;
        for sender in senders.iter().skip(slot).step_by(SLOTS) {
            sender.send(&PACKET).context("floor")?;
            packets += 1;
        }
        tick += 1;
        let due = begin + PTIME / SLOTS as u32 * tick;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok((thread_cpu() - cpu, packets))
}

fn receive(receivers: &[UdpSocket], stop: &AtomicBool) -> anyhow::Result<(Duration, u64)> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, receiver) in receivers.iter().enumerate() {
        epoll::add(&poll, receiver, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
    }
    let cpu = thread_cpu();
    let mut events = vec![epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 256];
    let (mut buffer, mut packets) = ([0u8; 2048], 0u64);
    let patience = rustix::time::Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    while !stop.load(Ordering::Relaxed) {
        let ready = epoll::wait(&poll, &mut events[..], Some(&patience))?;
        for event in &events[..ready] {
            let index = usize::try_from(event.data.u64())?;
            while receivers[index].recv(&mut buffer).is_ok() {
                packets += 1;
            }
        }
    }
    Ok((thread_cpu() - cpu, packets))
}

/// CPU time of the calling thread.
fn thread_cpu() -> Duration {
    let at = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(at.tv_sec).unwrap_or(0), u32::try_from(at.tv_nsec).unwrap_or(0))
}
