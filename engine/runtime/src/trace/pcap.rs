//! A call's messages as a capture file (libpcap's classic format, LINKTYPE_RAW) with the headers below SIP made up, for
//! Wireshark and its kin.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use sip_core::Transport;

use super::mask::mask;
use super::{Captured, Kept};

/// Packets begin with the IP header: version 4 or 6 tells which.
const LINKTYPE_RAW: u32 = 101;

/// Largest packet that readers take from a file with microseconds.
const SNAPLEN: u32 = 262_144;

/// Bytes of a stream in one made-up segment, so that its IP length fits.
const SEGMENT: usize = 32_768;

const UDP: u8 = 17;
const TCP: u8 = 6;

/// Where SIP is looked for. What was encrypted or framed by WebSocket is written as plain SIP over TCP, with this port at
/// our end: on its own port readers would try to decrypt it.
const SIP_PORT: u16 = 5_060;

pub(crate) fn pcap(kept: &Kept) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_le_bytes());
    for half in [2_u16, 4] {
        file.extend(half.to_le_bytes());
    }
    for word in [0, 0, SNAPLEN, LINKTYPE_RAW] {
        file.extend(word.to_le_bytes());
    }
    // What each end of each stream has sent.
    let mut sent: HashMap<(SocketAddr, SocketAddr), u32> = HashMap::new();
    for captured in &kept.messages {
        let (from, to) = ends(captured);
        let payload = mask(&captured.bytes);
        if captured.transport.is_reliable() {
            for segment in payload.chunks(SEGMENT) {
                // Streams begin at 1, as if a handshake had been seen.
                let acknowledged = *sent.entry((to, from)).or_insert(1);
                let sequence = sent.entry((from, to)).or_insert(1);
                let header = tcp_header(from, to, *sequence, acknowledged);
                *sequence = sequence.wrapping_add(segment.len() as u32); // at most SEGMENT
                write(&mut file, captured.at_us, &packet(TCP, from, to, header, segment));
            }
        } else {
            // No datagram was longer.
            let payload = &payload[..payload.len().min(65_000)];
            write(&mut file, captured.at_us, &packet(UDP, from, to, udp_header(from, to, payload), payload));
        }
    }
    file
}

fn ends(captured: &Captured) -> (SocketAddr, SocketAddr) {
    let (mut local, mut remote) = (captured.local, captured.remote);
    match captured.transport {
        Transport::Udp | Transport::Tcp => {}
        Transport::Tls | Transport::Ws | Transport::Wss => local.set_port(SIP_PORT),
    }
    // A listener on every address does not say which one it was.
    if local.is_ipv4() != remote.is_ipv4() {
        remote.set_ip(remote.ip().to_canonical());
    }
    if captured.sent { (local, remote) } else { (remote, local) }
}

fn write(file: &mut Vec<u8>, at_us: u64, packet: &[u8]) {
    let length = packet.len() as u32; // at most SNAPLEN
    for word in [(at_us / 1_000_000) as u32, (at_us % 1_000_000) as u32, length, length] {
        file.extend(word.to_le_bytes());
    }
    file.extend(packet);
}

/// Its checksum is 0 so far.
fn udp_header(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16; // at most 65,000
    [from.port(), to.port(), length, 0].iter().flat_map(|half| half.to_be_bytes()).collect()
}

/// Its checksum is 0 so far.
fn tcp_header(from: SocketAddr, to: SocketAddr, sequence: u32, acknowledged: u32) -> Vec<u8> {
    let mut header = Vec::with_capacity(20);
    header.extend(from.port().to_be_bytes());
    header.extend(to.port().to_be_bytes());
    header.extend(sequence.to_be_bytes());
    header.extend(acknowledged.to_be_bytes());
    // Five words of header; PSH and ACK; a full window; no checksum, nothing urgent.
    header.extend([5 << 4, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    header
}

fn packet(protocol: u8, from: SocketAddr, to: SocketAddr, mut header: Vec<u8>, payload: &[u8]) -> Vec<u8> {
    let length = (header.len() + payload.len()) as u32; // at most 65,008
    let mut pseudo = Vec::new();
    let ip = match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            pseudo.extend(source.octets());
            pseudo.extend(destination.octets());
            pseudo.extend([0, protocol]);
            pseudo.extend((length as u16).to_be_bytes());
            let total = 20 + length as u16;
            let mut ip = vec![0x45, 0];
            ip.extend(total.to_be_bytes());
            // Not fragmented, 64 hops.
            ip.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            ip.extend(source.octets());
            ip.extend(destination.octets());
            let sum = checksum(&[&ip]);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            ip
        }
        (source, destination) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            pseudo.extend(octets(source));
            pseudo.extend(octets(destination));
            pseudo.extend(length.to_be_bytes());
            pseudo.extend([0, 0, 0, protocol]);
            let mut ip = vec![0x60, 0, 0, 0];
            ip.extend((length as u16).to_be_bytes());
            ip.extend([protocol, 64]);
            ip.extend(octets(source));
            ip.extend(octets(destination));
            ip
        }
    };
    let at = if protocol == UDP { 6 } else { 16 };
    // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
    let sum = match checksum(&[&pseudo, &header, payload]) {
        0 if protocol == UDP => 0xffff,
        sum => sum,
    };
    header[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    [&ip[..], &header, payload].concat()
}

/// RFC 1071, over parts of which all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let halves = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u64 = halves.map(|half| u64::from(half[0]) << 8 | u64::from(*half.get(1).unwrap_or(&0))).sum();
    let folded = (0..4).fold(sum, |sum, _| (sum & 0xffff) + (sum >> 16));
    !(folded as u16)
}
