//! A bad network between a peer and the engine: what the peer sends as RTP passes a seeded link.
//!
//! The engine tells the peer a public address, as one behind a router does. The relay is there in its place.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use netem::{Impairments, Link};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than any datagram of these tests.
const MTU: usize = 2_048;

pub(crate) struct Relay {
    stop: oneshot::Sender<()>,
    passing: JoinHandle<Vec<Passed>>,
}

/// A packet that the peer has sent.
pub(crate) struct Passed {
    pub(crate) packet: Vec<u8>,
    pub(crate) lost: bool,
}

impl Relay {
    /// Takes what is for `public` and hands it to the engine's `port`. What the engine sends to where that comes from goes
    /// back unharmed.
    pub(crate) async fn start(
        public: SocketAddr,
        engine: SocketAddr,
        seed: u64,
        network: Impairments,
    ) -> Self {
        let outside = UdpSocket::bind(public).await.unwrap();
        let inside = UdpSocket::bind((engine.ip(), 0)).await.unwrap();
        inside.connect(engine).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let passing = tokio::spawn(pass(outside, inside, Link::new(seed, network), stopped));
        Self { stop, passing }
    }

    /// Everything the peer has sent, in its order.
    pub(crate) async fn stop(self) -> Vec<Passed> {
        self.stop.send(()).expect("it passes packets until it is stopped");
        self.passing.await.unwrap()
    }
}

async fn pass(
    outside: UdpSocket,
    inside: UdpSocket,
    mut link: Link<Arc<[u8]>>,
    mut stopped: oneshot::Receiver<()>,
) -> Vec<Passed> {
    let mut passed = Vec::new();
    let mut peer = None;
    let (mut from_peer, mut from_engine) = ([0; MTU], [0; MTU]);
    loop {
        while let Some(packet) = link.recv(Instant::now()) {
            // The engine may be gone already.
            _ = inside.send(&packet).await;
        }
        let due = async {
            match link.poll_timeout() {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = &mut stopped => return passed,
            received = outside.recv_from(&mut from_peer) => {
                let (octets, from) = received.unwrap();
                peer = Some(from);
                let packet = &from_peer[..octets];
                let lost_before = link.stats().lost;
                link.send(Instant::now(), packet.into());
                let lost = link.stats().lost > lost_before;
                passed.push(Passed { packet: packet.to_vec(), lost });
            }
            received = inside.recv(&mut from_engine) => {
                if let (Ok(octets), Some(peer)) = (received, peer) {
                    outside.send_to(&from_engine[..octets], peer).await.unwrap();
                }
            }
            () = due => {}
        }
    }
}
