//! A leg's way from one shard to another.
//!
//! The owner tells the one shard to let the leg go and the other to take it in, in this order, and hands each an end of a
//! ring for one. The taker waits with its further orders until the leg is there, for they may be for it. As the owner gives
//! its orders one after the other, whom a shard waits for has an earlier order to carry out: no circle of waiting shards
//! can come about. What the peer sends meanwhile waits in the leg's sockets.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use media_core::LegId;
use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use crate::line::Line;

/// The end of the shard that lets the leg go. Dropping it without one tells that the leg was over already.
pub(crate) struct Departure<S> {
    ring: Option<HeapProd<Box<Line<S>>>>,
    /// Of the shard that takes it in.
    wake: Arc<OwnedFd>,
}

/// The end of the shard that takes the leg in.
pub(crate) struct Arrival<S> {
    pub(crate) slot: u32,
    pub(crate) id: LegId,
    ring: HeapCons<Box<Line<S>>>,
}

/// What has come.
pub(crate) enum Arrived<S> {
    NotYet,
    Line(Box<Line<S>>),
    /// The leg was over before it could leave.
    Never,
}

/// Both ends, for the leg `id`, which gets `slot` in the shard that `wake` wakes.
pub(crate) fn crossing<S>(id: LegId, slot: u32, wake: Arc<OwnedFd>) -> (Departure<S>, Arrival<S>) {
    let (from, to) = HeapRb::new(1).split();
    (Departure { ring: Some(from), wake }, Arrival { slot, id, ring: to })
}

impl<S> Departure<S> {
    pub(crate) fn send(mut self, line: Box<Line<S>>) {
        if let Some(ring) = &mut self.ring {
            // It is made for one, and empty. When the taker's thread has ended, the leg ends with it.
            let _ = ring.try_push(line);
        }
    }
}

impl<S> Drop for Departure<S> {
    fn drop(&mut self) {
        // The taker looks whether this end is still held, so first let it go, then wake it.
        self.ring = None;
        // Fails only when the counter is full, and then the shard is awake.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

impl<S> Arrival<S> {
    pub(crate) fn poll(&mut self) -> Arrived<S> {
        // In this order: the other end is let go after the leg was put in.
        let gone = !self.ring.write_is_held();
        match self.ring.try_pop() {
            Some(line) => Arrived::Line(line),
            None if gone => Arrived::Never,
            None => Arrived::NotYet,
        }
    }
}
