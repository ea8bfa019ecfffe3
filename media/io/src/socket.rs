//! Datagram sockets, as the shards see them.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use rustix::net::sockopt;

/// What a shard needs of a socket. Plain connected sockets implement it; another way of moving packets would
/// stand beside them behind this trait.
pub(crate) trait Socket: AsFd + Send + 'static {
    /// Sends to the connected peer.
    fn send(&self, packet: &[u8]) -> io::Result<()>;
    /// Sends to `to`, connected or not.
    fn send_to(&self, packet: &[u8], to: SocketAddr) -> io::Result<()>;
    /// Takes one datagram, without waiting.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;
    /// From here on sends to and receives from `peer` alone: the kernel looks up its route once.
    fn connect(&self, peer: SocketAddr) -> io::Result<()>;
    /// From here on receives from anyone again.
    fn disconnect(&self) -> io::Result<()>;
}

impl Socket for UdpSocket {
    fn send(&self, packet: &[u8]) -> io::Result<()> {
        UdpSocket::send(self, packet).map(drop)
    }

    fn send_to(&self, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        UdpSocket::send_to(self, packet, to).map(drop)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from(buffer)
    }

    fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        UdpSocket::connect(self, peer)
    }

    fn disconnect(&self) -> io::Result<()> {
        Ok(rustix::net::connect_unspec(self)?)
    }
}

/// The two sockets of a leg.
#[derive(Debug)]
pub(crate) struct Pair<S> {
    pub(crate) rtp: S,
    pub(crate) rtcp: S,
}

/// Expedited Forwarding, DSCP 46 ([RFC 3246](https://www.rfc-editor.org/rfc/rfc3246)), the class that RFC
/// 4594 gives to telephony, in the upper six bits of the octet.
const EXPEDITED_FORWARDING: u8 = 46 << 2;

/// Binds RTP to `port` and RTCP to the next one.
pub(crate) fn bind_pair(ip: IpAddr, port: u16) -> Result<Pair<UdpSocket>, (SocketAddr, io::Error)> {
    let bind = |port| {
        let address = SocketAddr::new(ip, port);
        let socket = UdpSocket::bind(address).map_err(|error| (address, error))?;
        socket.set_nonblocking(true).map_err(|error| (address, error))?;
        Ok(socket)
    };
    Ok(Pair { rtp: bind(port)?, rtcp: bind(port + 1)? })
}

/// Marks what the socket sends as voice.
pub(crate) fn mark_as_voice(socket: &UdpSocket, ip: IpAddr) -> io::Result<()> {
    match ip {
        IpAddr::V4(_) => sockopt::set_ip_tos(socket, EXPEDITED_FORWARDING)?,
        IpAddr::V6(_) => sockopt::set_ipv6_tclass(socket, EXPEDITED_FORWARDING.into())?,
    }
    Ok(())
}
