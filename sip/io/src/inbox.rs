//! Where arrivals wait for the endpoint's task: two bounded queues, so that new work cannot push out the rest.

use std::sync::Arc;

use bytes::Bytes;
use sip_core::{Hop, Input, Message, Method};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::counters::Counters;
use crate::limits::Limits;

/// Yields what arrived; what concerns calls that exist comes before what asks for new ones.
#[derive(Debug)]
pub struct Inbox {
    rest: mpsc::Receiver<Input>,
    new_work: mpsc::Receiver<Input>,
}

impl Inbox {
    /// The next arrival; `None` when the [`Transports`](crate::Transports) are gone and everything is read. Cancel safe.
    pub async fn recv(&mut self) -> Option<Input> {
        tokio::select! {
            biased;
            Some(input) = self.rest.recv() => Some(input),
            Some(input) = self.new_work.recv() => Some(input),
            else => None,
        }
    }

    /// The next arrival if one waits, to take several per wake-up. Bound the loop: a flood never ends it.
    pub fn try_recv(&mut self) -> Option<Input> {
        self.rest.try_recv().or_else(|_| self.new_work.try_recv()).ok()
    }
}

/// The end of the inbox that the sockets' tasks hold.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    rest: mpsc::Sender<Input>,
    new_work: mpsc::Sender<Input>,
    counters: Arc<Counters>,
}

/// The [`Inbox`] was dropped: nobody will read any more.
#[derive(Debug)]
pub(crate) struct InboxGone;

pub(crate) fn channel(limits: &Limits, counters: Arc<Counters>) -> (Intake, Inbox) {
    let (rest, rest_out) = mpsc::channel(limits.rest);
    let (new_work, new_work_out) = mpsc::channel(limits.new_work);
    (Intake { rest, new_work, counters }, Inbox { rest: rest_out, new_work: new_work_out })
}

impl Intake {
    /// Hands over without waiting; what does not fit is dropped and counted.
    pub(crate) fn offer(&self, input: Input) -> Result<(), InboxGone> {
        let (queue, dropped) = match Class::of(&input) {
            Class::NewWork => (&self.new_work, &self.counters.dropped_new_work),
            Class::Rest => (&self.rest, &self.counters.dropped_rest),
        };
        match queue.try_send(input) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                dropped.increment();
                Ok(())
            }
            Err(TrySendError::Closed(_)) => Err(InboxGone),
        }
    }

    /// Hands over, waiting for room. New work does not wait: behind it on the same stream may be a BYE.
    pub(crate) async fn deliver(&self, input: Input) -> Result<(), InboxGone> {
        match Class::of(&input) {
            Class::NewWork => self.offer(input),
            Class::Rest => self.rest.send(input).await.map_err(|_| InboxGone),
        }
    }
}

/// What arrived in one datagram or frame, parsed here and nowhere else.
pub(crate) fn read_message(hop: Hop, bytes: Bytes, counters: &Counters) -> Input {
    match Message::parse(bytes.clone()) {
        Ok(message) => {
            counters.received.increment();
            Input::Message { hop, message }
        }
        Err(error) => {
            counters.malformed.increment();
            Input::Malformed { hop, bytes, error }
        }
    }
}

/// Which queue an input waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    NewWork,
    Rest,
}

impl Class {
    fn of(input: &Input) -> Class {
        match input {
            Input::Message { message, .. } if asks_for_new_work(message) => Class::NewWork,
            Input::Malformed { .. } => Class::NewWork,
            Input::Message { .. } | Input::TransportError { .. } | Input::Resolved { .. } => Class::Rest,
        }
    }
}

/// RFC 3261 section 12.2: a request within a dialog has a To tag. ACK and CANCEL belong to an INVITE we already know
/// even without one (sections 9.1 and 17.1.1.3).
fn asks_for_new_work(message: &Message) -> bool {
    match message.method() {
        None | Some(Method::Ack | Method::Cancel) => false,
        Some(_) => !message.to().is_ok_and(|to| to.tag().is_some()),
    }
}
