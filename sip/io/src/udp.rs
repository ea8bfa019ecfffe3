//! One datagram socket: a task that reads it, and sending that never waits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use sip_core::{Hop, Input, Listener, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use rustix::io::Errno;

use crate::counters::Counters;
use crate::error::kind;
use crate::inbox::{InboxGone, Intake, TurnedAway};
use crate::limits::Limits;

/// Asked of the kernel, which gives at most `net.core.rmem_max`: 4 MiB hold the messages of about a second at 3,000
/// calls a second while the endpoint's task is busy elsewhere.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The largest datagram there is.
const LARGEST: usize = 65_535;

/// Datagrams read in a row before other tasks of the thread get their turn: at a few microseconds each this is well
/// under a millisecond.
const READ_BUDGET: usize = 64;

/// The sending side of a bound socket.
#[derive(Debug)]
pub(crate) struct Udp {
    local: SocketAddr,
    socket: Arc<UdpSocket>,
    /// What the kernel had no room for, written by a task of its own.
    backlog: mpsc::Sender<Datagram>,
    counters: Arc<Counters>,
}

type Datagram = (Bytes, SocketAddr);

impl Udp {
    /// Opens a socket; nothing is read before [`Udp::start`].
    pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // 0.0.0.0 and [::] can be bound side by side, and no IPv4 peer appears as ::ffff:a.b.c.d.
            socket.set_only_v6(true)?;
        }
        if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER) {
            tracing::debug!(%address, %error, "the receive buffer keeps its default size");
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    }

    /// Starts reading, and gives the sending side.
    pub(crate) fn start(
        socket: UdpSocket,
        listener: Listener,
        limits: &Limits,
        intake: Intake,
        counters: Arc<Counters>,
        tasks: &mut JoinSet<()>,
    ) -> Udp {
        let socket = Arc::new(socket);
        let (backlog, waiting) = mpsc::channel(limits.send_queue);
        tasks.spawn(receive(socket.clone(), listener.bound, intake.clone(), counters.clone()));
        tasks.spawn(write_backlog(socket.clone(), waiting, intake, counters.clone()));
        Udp { local: listener.bound, socket, backlog, counters }
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends at once or by way of the backlog (also before tokio has first seen that the socket is writable); a
    /// datagram that fits nowhere is dropped and counted, for SIP sends it again. What comes back is a datagram that
    /// sending again would not help; behind the backlog it comes through the inbox.
    pub(crate) fn send(&self, payload: Bytes, remote: SocketAddr) -> Option<Input> {
        let backlog_is_empty = self.backlog.capacity() == self.backlog.max_capacity();
        let result = if backlog_is_empty {
            self.socket.try_send_to(&payload, remote)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        };
        match result {
            Ok(_) => self.counters.sent.increment(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.backlog.try_send((payload, remote)).is_err() {
                    self.counters.dropped_sends.increment();
                }
            }
            Err(error) => {
                self.counters.dropped_sends.increment();
                return unsent(payload, &error);
            }
        }
        None
    }
}

async fn receive(socket: Arc<UdpSocket>, local: SocketAddr, intake: Intake, counters: Arc<Counters>) {
    let mut buffer = vec![0; LARGEST];
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        for _ in 0..READ_BUDGET {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, remote)) => {
                    let hop = Hop { transport: Transport::Udp, local, remote };
                    let datagram = &buffer[..length];
                    if is_keepalive(datagram) || !intake.admits(remote.ip()) {
                        continue;
                    }
                    // Copied to a buffer of its own size: what the core keeps pins no more than itself.
                    match intake.take_datagram(hop, Bytes::copy_from_slice(datagram)) {
                        Ok(None) => {}
                        Ok(Some(refused)) => refuse(&socket, refused, &counters),
                        Err(InboxGone) => return,
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The kernel reports an earlier datagram's fate here; it says nothing about this socket.
                Err(_) => {}
            }
        }
        tokio::task::yield_now().await;
    }
}

/// CRLF from many phones, NULs from some.
fn is_keepalive(datagram: &[u8]) -> bool {
    datagram.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// Sends the one answer of a refusal, if the kernel takes it now: nobody's call hangs on it.
fn refuse(socket: &UdpSocket, refused: TurnedAway, counters: &Counters) {
    let Some(answer) = refused.answer else { return };
    match socket.try_send_to(&answer.payload, answer.remote) {
        Ok(_) => counters.sent.increment(),
        Err(_) => counters.dropped_sends.increment(),
    }
}

/// What the endpoint has to know of a datagram that the kernel refused. Where it has no memory for it now (a full queue of
/// the interface, a firewall's limit), the datagram is as lost as on the way, and SIP sends it again.
fn unsent(payload: Bytes, error: &io::Error) -> Option<Input> {
    let is_short_of_memory = error.kind() == io::ErrorKind::OutOfMemory
        || error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error());
    (!is_short_of_memory).then(|| Input::Unsent { payload, kind: kind(error) })
}

async fn write_backlog(
    socket: Arc<UdpSocket>,
    mut waiting: mpsc::Receiver<Datagram>,
    intake: Intake,
    counters: Arc<Counters>,
) {
    while let Some((payload, remote)) = waiting.recv().await {
        match socket.send_to(&payload, remote).await {
            Ok(_) => counters.sent.increment(),
            Err(error) => {
                counters.dropped_sends.increment();
                if let Some(input) = unsent(payload, &error)
                    && intake.offer(input).is_err()
                {
                    return;
                }
            }
        }
    }
}
