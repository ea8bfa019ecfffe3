//! Datagrams of DTLS handshakes on their way from the media threads to whoever shakes hands.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use media_core::LegId;
use ringbuf::traits::{Consumer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// Longest datagram that is handed on: what an Ethernet frame holds. DTLS fragments what is longer (RFC 6347, 4.1.1.1).
const MAX_LEN: usize = 1_500;

/// Datagrams that may wait of each media thread: flights of some ten handshakes.
const PARCELS: usize = 64;

/// One datagram, and whose it is.
#[derive(Clone, Copy)]
pub(crate) struct Parcel {
    leg: LegId,
    len: u16,
    octets: [u8; MAX_LEN],
}

impl Parcel {
    /// `None` if it is too long for one.
    pub(crate) fn new(leg: LegId, datagram: &[u8]) -> Option<Self> {
        let mut octets = [0; MAX_LEN];
        octets.get_mut(..datagram.len())?.copy_from_slice(datagram);
        Some(Self { leg, len: datagram.len() as u16, octets })
    }
}

pub(crate) fn ring() -> (HeapProd<Parcel>, HeapCons<Parcel>) {
    HeapRb::new(PARCELS).split()
}

/// Ends a wait for parcels.
#[derive(Debug)]
pub struct Wake(OwnedFd);

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Ends the wait that is under way or, if there is none, the next one.
    pub fn wake(&self) {
        // Fails only when the counter is full, and then nobody sleeps.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

/// The datagrams of all media threads, as they come from peers that ICE has found. Whoever does not take them out in time
/// loses them, and the peers send them again.
pub struct Parcels {
    rings: Vec<HeapCons<Parcel>>,
    wake: Arc<Wake>,
}

impl std::fmt::Debug for Parcels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parcels").field("rings", &self.rings.len()).finish_non_exhaustive()
    }
}

impl Parcels {
    pub(crate) fn new(rings: Vec<HeapCons<Parcel>>, wake: Arc<Wake>) -> Self {
        Self { rings, wake }
    }

    /// Ends [`Self::wait`] from another thread.
    pub fn waker(&self) -> Arc<Wake> {
        Arc::clone(&self.wake)
    }

    /// Waits until there is one, or somebody wakes it, or `timeout` is over.
    pub fn wait(&self, timeout: Option<Duration>) {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs() as _,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut on = [PollFd::new(&self.wake.0, PollFlags::IN)];
        // A signal ends the wait early, which whoever waits does not mind.
        let _ = poll(&mut on, timeout.as_ref());
        let _ = rustix::io::read(&self.wake.0, &mut [0; 8]);
    }

    /// Hands out those that are there, at most as many as may wait.
    pub fn take(&mut self, mut each: impl FnMut(LegId, &[u8])) {
        for ring in &mut self.rings {
            for Parcel { leg, len, octets } in ring.pop_iter().take(PARCELS) {
                each(leg, &octets[..usize::from(len)]);
            }
        }
    }
}
