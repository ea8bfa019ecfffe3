//! The bounds of everything that the network can fill.

use std::time::Duration;

/// How much the transports hold, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Messages waiting that ask for new work. 1,024 is a third of a second at 3,000 INVITEs a second: what waits
    /// longer than T1 (500 ms) is being retransmitted already.
    pub new_work: usize,
    /// Other messages waiting: eight times as many, for each call brings several.
    pub rest: usize,
    /// New work that waited for longer means that we are behind: T1, when its sender repeats it.
    pub behind: Duration,
    /// Largest message on a stream, in bytes; the largest that fits a datagram.
    pub message_size: usize,
    /// Open connections, both ways together, and with those whose handshake is not finished. An eighth is kept for those
    /// that we open.
    pub connections: usize,
    /// Open connections of one source that is not known: the phones of an office behind one address.
    pub source_connections: usize,
    /// Peers at their TLS or WebSocket handshake at once: each costs a few tens of kilobytes and, at its worst, a
    /// signature.
    pub handshakes: usize,
    /// And of one source, so that one that never finishes leaves the others room.
    pub source_handshakes: usize,
    /// Longest time for a peer's handshake, and for ours with a server once connected.
    pub handshake: Duration,
    /// Messages waiting to leave on one connection that a peer opened, or on one datagram socket whose buffer is full.
    pub send_queue: usize,
    /// Messages waiting to leave on one connection that we opened: a trunk may carry every call, and all may be hung
    /// up at once.
    pub trunk_send_queue: usize,
    /// Longest time to connect: well within timer B (32 s), so that another address can be tried.
    pub connect: Duration,
    /// Longest time for a peer to take one message off us: timer B.
    pub write: Duration,
    /// How long an accepted connection may take to its first message: timer B.
    pub first_message: Duration,
    /// How long a connection that a peer opened stays without a message or keepalive from it. Peers that keep one open
    /// for inbound calls send a keepalive every two minutes or so (RFC 5626 section 4.4.1: 95 to 120 seconds).
    pub idle: Duration,
    /// How long one that we opened stays: a trunk's registration is refreshed once an hour at the least, and until then
    /// calls come in by this connection.
    pub idle_opened: Duration,
    /// Longest interval between our pings on a connection that we opened (RFC 5626 section 4.4.1: 120 seconds for
    /// streams; each is sent after 80 to 100 % of it).
    pub ping: Duration,
    /// The same over WebSocket, either way. HTTP proxies close what was silent for a minute.
    pub ping_web_socket: Duration,
    /// How long a pong may take (RFC 5626 section 4.4.1: 10 seconds).
    pub pong: Duration,
    /// Longest time for a target to be located, from NAPTR records to addresses.
    pub lookup: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            new_work: 1_024,
            rest: 8_192,
            behind: Duration::from_millis(500),
            message_size: 65_535,
            connections: 4_096,
            source_connections: 64,
            handshakes: 512,
            source_handshakes: 128,
            handshake: Duration::from_secs(5),
            send_queue: 256,
            trunk_send_queue: 16_384,
            connect: Duration::from_secs(5),
            write: Duration::from_secs(32),
            first_message: Duration::from_secs(32),
            idle: Duration::from_secs(600),
            idle_opened: Duration::from_secs(3_900),
            ping: Duration::from_secs(120),
            ping_web_socket: Duration::from_secs(30),
            pong: Duration::from_secs(10),
            lookup: Duration::from_secs(5),
        }
    }
}
