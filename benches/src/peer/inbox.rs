//! A UDP socket read in batches, each datagram with the time at which the kernel took it.

use std::io::IoSliceMut;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt, sockopt,
};

const BATCH: usize = 64;
/// As long as a SIP message of ours gets.
const DATAGRAM: usize = 2048;
/// Two seconds of 5,000 calls must fit where the kernel lets it: it counts 768 octets for a small datagram.
const BUFFER: usize = 256 << 20;

/// One datagram.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) datagram: &'a [u8],
    pub(crate) from: SocketAddr,
    /// Unix ns.
    pub(crate) at: u64,
}

/// Stays on the thread that made it.
pub(crate) struct Inbox {
    socket: UdpSocket,
    headers: MultiHeaders<SockaddrIn>,
    buffers: Box<[[u8; DATAGRAM]; BATCH]>,
}

impl Inbox {
    pub(crate) fn new(socket: UdpSocket) -> anyhow::Result<Inbox> {
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        // Only a privileged process may go beyond the system's maximum; otherwise that must do.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
        }
        let headers = MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(nix::sys::time::TimeSpec)));
        Ok(Inbox { socket, headers, buffers: Box::new([[0; DATAGRAM]; BATCH]) })
    }

    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    pub(crate) fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    /// Hands over everything that has arrived.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(Arrival<'_>)) -> anyhow::Result<()> {
        loop {
            let mut slices = self.buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
            let fd = self.socket.as_raw_fd();
            let messages =
                match recvmmsg(fd, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
                    Ok(messages) => messages,
                    // Refused: a packet of ours met a closed port.
                    Err(Errno::EINTR | Errno::ECONNREFUSED) => continue,
                    Err(Errno::EAGAIN) => return Ok(()),
                    Err(error) => return Err(error).context("receiving"),
                };
            let mut received = 0;
            for message in messages {
                received += 1;
                let at = message.cmsgs()?.find_map(|control| unix_ns(&control));
                let from =
                    message.address.map(|from| SocketAddr::V4(SocketAddrV4::new(from.ip(), from.port())));
                let datagram = message.iovs().next();
                if let (Some(at), Some(from), Some(datagram)) = (at, from, datagram) {
                    take(Arrival { datagram, from, at });
                }
            }
            if received < BATCH {
                return Ok(());
            }
        }
    }
}

fn unix_ns(control: &ControlMessageOwned) -> Option<u64> {
    let ControlMessageOwned::ScmTimestampns(at) = control else { return None };
    Some(u64::try_from(at.tv_sec()).ok()? * 1_000_000_000 + u64::try_from(at.tv_nsec()).ok()?)
}

/// Datagrams that the kernel had no room for at the socket bound to `local`.
pub(crate) fn dropped(local: SocketAddr) -> anyhow::Result<u64> {
    let SocketAddr::V4(local) = local else { anyhow::bail!("{local} is not IPv4") };
    // The kernel prints the address as a number in its own order of octets.
    let name = format!("{:08X}:{:04X}", u32::from_ne_bytes(local.ip().octets()), local.port());
    // The kernel reads its table in pieces; a row is passed over when others go away between two of them.
    const ATTEMPTS: usize = 20;
    for _ in 0..ATTEMPTS {
        let table = std::fs::read_to_string("/proc/net/udp")?;
        let row = table.lines().find(|row| row.split_whitespace().nth(1) == Some(&name));
        if let Some(drops) = row.and_then(|row| row.split_whitespace().last()) {
            return Ok(drops.parse()?);
        }
    }
    anyhow::bail!("{local} is not in /proc/net/udp")
}
