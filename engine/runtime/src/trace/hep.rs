//! A copy of every SIP message for a capture server (Homer and others): HEP version 3 over UDP, sent off the task that owns
//! the engine. What the queue has no room for is dropped and counted: a capture server that is slow or gone disturbs nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Captured;
use super::mask::mask;

/// Messages that may wait to be sent: a third of a second at 3,000 calls a second.
const QUEUE: usize = 8_192;

/// How often the server's name is looked up: it may move.
const LOOK_UP_EVERY: Duration = Duration::from_secs(60);

/// Where copies go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HepConfig {
    /// `host:port`.
    pub server: String,
    /// The number of this capture agent.
    pub id: u32,
    /// What the server knows it by.
    pub password: Option<HepSecret>,
}

/// A password that is in no log.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HepSecret(pub String);

impl std::fmt::Debug for HepSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HepSecret")
    }
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    dropped: AtomicU64,
}

/// How many copies left, and how many did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HepCounts {
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
}

/// The way to the task that sends.
#[derive(Debug)]
pub(crate) struct Hep {
    queue: mpsc::Sender<Captured>,
    counters: Arc<Counters>,
}

impl Hep {
    /// Starts the task; it ends with this value.
    pub(crate) fn start(config: HepConfig) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let counters = Arc::new(Counters::default());
        tokio::spawn(export(config, waiting, Arc::clone(&counters)));
        Self { queue, counters }
    }

    pub(crate) fn offer(&self, captured: Captured) {
        if self.queue.try_send(captured).is_err() {
            self.counters.dropped.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> HepCounts {
        HepCounts { sent: self.counters.sent.load(Relaxed), dropped: self.counters.dropped.load(Relaxed) }
    }
}

async fn export(config: HepConfig, mut waiting: mpsc::Receiver<Captured>, counters: Arc<Counters>) {
    let mut socket = None;
    let mut look_up_at = Instant::now();
    while let Some(captured) = waiting.recv().await {
        if Instant::now() >= look_up_at {
            look_up_at = Instant::now() + LOOK_UP_EVERY;
            match connect(&config.server).await {
                Ok(connected) => socket = Some(connected),
                Err(error) => {
                    tracing::warn!(server = config.server, %error, "no capture server: copies are dropped for a minute");
                    socket = None;
                }
            }
        }
        let packet = packet(&config, &captured);
        let sent = match (&socket, &packet) {
            // Refused (a port that nobody listens on) or too long: as lost as any other datagram.
            (Some(socket), Some(packet)) => socket.send(packet).await.is_ok(),
            (None, _) | (_, None) => false,
        };
        let counter = if sent { &counters.sent } else { &counters.dropped };
        counter.fetch_add(1, Relaxed);
    }
}

async fn connect(server: &str) -> std::io::Result<UdpSocket> {
    let address = lookup_host(server).await?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(address).await?;
    Ok(socket)
}

/// One message in HEP version 3: chunks of vendor (0: none), type, length and value, all in network byte order. `None` for
/// one that its lengths of 16 bits cannot tell.
pub(super) fn packet(config: &HepConfig, captured: &Captured) -> Option<Vec<u8>> {
    let (from, to) = captured.ends();
    let mut packet = b"HEP3\0\0".to_vec();
    let mut chunk = |kind: u16, value: &[u8]| {
        let length = u16::try_from(6 + value.len()).ok()?;
        packet.extend(0_u16.to_be_bytes());
        packet.extend(kind.to_be_bytes());
        packet.extend(length.to_be_bytes());
        packet.extend(value);
        Some(())
    };
    // The numbers of Linux's AF_INET and AF_INET6, of IP's protocols, and 1 for SIP.
    chunk(1, &[if from.is_ipv4() { 2 } else { 10 }])?;
    chunk(2, &[if captured.transport.is_reliable() { 6 } else { 17 }])?;
    for (of_v4, of_v6, address) in [(3, 5, from), (4, 6, to)] {
        match address.ip() {
            IpAddr::V4(ip) => chunk(of_v4, &ip.octets())?,
            IpAddr::V6(ip) => chunk(of_v6, &ip.octets())?,
        }
    }
    chunk(7, &from.port().to_be_bytes())?;
    chunk(8, &to.port().to_be_bytes())?;
    chunk(9, &((captured.at_us / 1_000_000) as u32).to_be_bytes())?;
    chunk(10, &((captured.at_us % 1_000_000) as u32).to_be_bytes())?;
    chunk(11, &[1])?;
    chunk(12, &config.id.to_be_bytes())?;
    if let Some(HepSecret(password)) = &config.password {
        chunk(14, password.as_bytes())?;
    }
    chunk(15, &mask(&captured.bytes))?;
    let length = u16::try_from(packet.len()).ok()?;
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    Some(packet)
}
