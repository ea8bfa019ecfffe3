//! Queues as the API shows them.

use control_api_types::{MAX_QUEUES, Queue, QueuedCall};

use super::*;
use crate::queue::Waiting;

/// How full a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueLoad {
    /// Calls that wait.
    pub waiting: u32,
    /// How long the first of them has waited.
    pub longest: Option<Duration>,
}

impl Engine {
    /// Whether the queue could be put: what it plays is there, and so is room for it.
    pub fn check_queue(&self, name: &str, queue: &Queue) -> Result<(), Vec<Fault>> {
        let mut faults = Faults::default();
        if !self.queues.has(name) && self.queues.len() >= MAX_QUEUES {
            faults
                .push("/name", format_args!("there are {MAX_QUEUES} queues, which is the most: delete one"));
        }
        for (at, play) in queue.plays() {
            flow::check_sounds(play.source.sounds_at(at), "", &self.prompts, &mut faults);
        }
        faults.into_result(Some(()))
    }

    /// Keeps a queue under `name`. Who waits in the one before goes on waiting as it was.
    pub fn put_queue(&mut self, name: &str, queue: Arc<Queue>) {
        self.queues.put(name, queue);
    }

    /// Forgets a queue; the flows of those who wait in it go on by `closed`. Whether it was there.
    pub fn delete_queue(&mut self, now: Instant, name: &str) -> bool {
        let Some(legs) = self.queues.delete(name) else { return false };
        for leg in legs {
            self.with_call(now, leg, |call, ctx| call.queue_closed(ctx));
        }
        self.settle(now);
        true
    }

    /// Who waits in a queue, in order of arrival, each with a number that grows with every arrival.
    pub fn queued_calls(&self, now: Instant, name: &str) -> impl Iterator<Item = (u64, QueuedCall)> {
        self.queues.list(name).iter().zip(1..).filter_map(move |((arrival, leg), position)| {
            let (call, waiting) = (self.calls.get(leg)?.record(), self.queues.of(*leg)?);
            let queued = QueuedCall {
                call_id: call.id.clone(),
                position,
                waited_ms: u64::try_from(waiting.waited(now).as_millis()).unwrap_or(u64::MAX),
                enqueued_at: self.timestamp(waiting.since),
                from: call.from.clone(),
                to: call.to.clone(),
                data: waiting.data.clone(),
                client_state: call.client_state.clone(),
            };
            Some((arrival.0, queued))
        })
    }

    /// Every queue, by name.
    pub fn queue_names(&self) -> impl Iterator<Item = &str> {
        self.queues.names()
    }

    /// How full a queue is.
    pub fn queue_load(&self, now: Instant, name: &str) -> QueueLoad {
        let list = self.queues.list(name);
        let first = list.first().and_then(|(_, leg)| self.queues.of(*leg));
        QueueLoad {
            waiting: u32::try_from(list.len()).unwrap_or(u32::MAX),
            longest: first.map(|waiting: &Waiting| waiting.waited(now)),
        }
    }
}
