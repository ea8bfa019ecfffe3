//! The thread that shakes hands with browsers: takes their datagrams from the media threads, and tells the task what to send
//! and which keys a leg has.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Instant;

use media_core::LegId;
use media_core::sdp::{DtlsRole, Fingerprint, WebRtc};
use media_dtls::{Handshakes, Output};
use media_io::{Parcels, Wake};
use tokio::sync::mpsc;

use crate::task::Answer;

/// What may wait for the thread, each call bringing two; it is there for nothing else.
const ORDERS: usize = 4_096;

/// What the task tells the thread.
enum Order {
    Begin { of: Of, role: DtlsRole, expected: Fingerprint },
    End(LegId),
}

/// A handshake: whose, and which of its handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Of {
    pub(crate) leg: LegId,
    number: u64,
}

/// The task's end.
#[derive(Debug)]
pub(crate) struct Shaker {
    orders: SyncSender<Order>,
    wake: Arc<Wake>,
    /// The legs of browsers, what was agreed on last with each, and its handshake; bounded by the legs there may be.
    legs: HashMap<LegId, (WebRtc, Of)>,
    last: u64,
}

/// The thread does not keep up.
#[derive(Debug, thiserror::Error)]
#[error("the thread of DTLS handshakes does not keep up")]
pub(crate) struct Busy;

impl Shaker {
    /// Starts the thread, which ends with this value.
    pub(crate) fn start(
        handshakes: Handshakes,
        parcels: Parcels,
        answers: mpsc::Sender<Answer>,
    ) -> io::Result<Self> {
        let (orders, given) = sync_channel(ORDERS);
        let wake = parcels.waker();
        thread::Builder::new()
            .name("media-dtls".to_owned())
            .spawn(move || run(handshakes, parcels, &given, &answers))?;
        Ok(Self { orders, wake, legs: HashMap::new(), last: 0 })
    }

    /// The leg's media begins, or changes: begins the handshake that it needs, unless it has had it.
    pub(crate) fn starts(&mut self, leg: LegId, agreed: Option<&WebRtc>) -> Result<(), Busy> {
        let Some(agreed) = agreed else { return Ok(()) };
        if let Some((before, _)) = self.legs.get_mut(&leg)
            && agreed.keeps_association(before)
        {
            before.clone_from(agreed);
            return Ok(());
        }
        self.last += 1;
        let of = Of { leg, number: self.last };
        self.legs.insert(leg, (agreed.clone(), of));
        self.tell(Order::Begin { of, role: agreed.role, expected: agreed.fingerprint })
    }

    /// The leg is over.
    pub(crate) fn ends(&mut self, leg: LegId) {
        if self.legs.remove(&leg).is_some() && self.tell(Order::End(leg)).is_err() {
            tracing::debug!("the end of a DTLS handshake is left to its timeout");
        }
    }

    /// Whether this is the leg's handshake still.
    pub(crate) fn awaits(&self, of: Of) -> bool {
        self.legs.get(&of.leg).is_some_and(|(_, current)| *current == of)
    }

    fn tell(&self, order: Order) -> Result<(), Busy> {
        self.orders.try_send(order).map_err(|_| Busy)?;
        self.wake.wake();
        Ok(())
    }
}

impl Drop for Shaker {
    fn drop(&mut self) {
        // The thread wakes, finds nobody to give it orders, and ends.
        let (nobody, _) = sync_channel(0);
        self.orders = nobody;
        self.wake.wake();
    }
}

fn run(
    mut handshakes: Handshakes,
    mut parcels: Parcels,
    orders: &Receiver<Order>,
    answers: &mpsc::Sender<Answer>,
) {
    let mut current: HashMap<LegId, Of> = HashMap::new();
    loop {
        let timeout = handshakes.poll_timeout().map(|at| at.saturating_duration_since(Instant::now()));
        parcels.wait(timeout);
        let now = Instant::now();
        // Before the datagrams: a handshake is begun before the first of its own can come.
        loop {
            match orders.try_recv() {
                Ok(Order::Begin { of, role, expected }) => {
                    current.insert(of.leg, of);
                    handshakes.begin(now, of.leg, role, expected);
                }
                Ok(Order::End(leg)) => {
                    current.remove(&leg);
                    handshakes.end(leg);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        parcels.take(|leg, datagram| handshakes.receive(now, leg, datagram));
        handshakes.handle_timeout(now);
        while let Some((leg, output)) = handshakes.poll_output() {
            let Some(&of) = current.get(&leg) else { continue };
            if let Output::Failed(_) = output {
                current.remove(&leg);
            }
            // The task is slower only for a moment, and gone only when the engine is.
            if answers.blocking_send(Answer::Handshake(of, output)).is_err() {
                return;
            }
        }
    }
}
