//! The event hub: one ring of the latest events, read by any number of subscribers at their own pace.
//!
//! A subscriber holds only a place in the ring. One that falls behind by more than the ring is told how many events
//! it lost and goes on at the oldest; nobody ever waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use control_api_types::{CallId, Cursor, Event};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Events kept for replay (control API contract).
const RING: usize = 100_000;
/// Octets of them as JSON: usual events have some 400. Where they are large, there are fewer.
const RING_OCTETS: usize = 256 << 20;

/// The cursor is older than the ring, from another run, or not one of ours: resync from `/v1/cdrs` and `/v1/calls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor has expired: resync from /v1/cdrs and /v1/calls, then subscribe without a cursor")]
pub struct Expired;

/// What a subscriber receives.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// The next event.
    Event(Arc<Event>),
    /// So many events were overwritten before this subscriber read them.
    Dropped(u64),
}

/// Cursors a run may use for each millisecond of its life: more events than the engine can make in one, so that the
/// cursors of a later run are always greater and those of an earlier one are known to have expired.
const PER_MS: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub(crate) struct EventHub {
    ring: Arc<Mutex<Ring>>,
    /// Carries the newest cursor, so that subscribers wake.
    newest: watch::Sender<Cursor>,
}

#[derive(Debug)]
struct Ring {
    /// Each with its octets.
    events: VecDeque<(Arc<Event>, usize)>,
    octets: usize,
    /// The cursor of the newest event, kept or not.
    newest: Cursor,
    /// The cursors of those that are about a call, by call; only calls that have any.
    by_call: HashMap<CallId, VecDeque<Cursor>>,
}

impl Ring {
    /// The cursor before the oldest event kept.
    fn floor(&self) -> Cursor {
        Cursor(self.newest.0 - self.events.len() as u64)
    }

    fn push(&mut self, event: Arc<Event>) {
        let octets = octets(&event);
        self.octets += octets;
        // The newest is kept, however large.
        while self.events.len() == RING || (self.octets > RING_OCTETS && !self.events.is_empty()) {
            self.pop();
        }
        if let Some(call) = &event.call_id {
            self.by_call.entry(call.clone()).or_default().push_back(event.cursor);
        }
        self.events.push_back((event, octets));
    }

    fn pop(&mut self) {
        let Some((oldest, octets)) = self.events.pop_front() else { return };
        self.octets -= octets;
        if let Some(call) = &oldest.call_id
            && let Some(cursors) = self.by_call.get_mut(call)
        {
            // It is its call's oldest as well.
            cursors.pop_front();
            if cursors.is_empty() {
                self.by_call.remove(call);
            }
        }
    }

    fn get(&self, cursor: Cursor) -> Option<&Arc<Event>> {
        let behind = cursor.0.checked_sub(self.floor().0 + 1)?;
        self.events.get(usize::try_from(behind).ok()?).map(|(event, _)| event)
    }
}

impl EventHub {
    /// A hub for the run that started at this wall-clock time.
    pub(crate) fn new(started_unix_ms: u64) -> EventHub {
        let newest = Cursor(started_unix_ms.saturating_mul(PER_MS));
        EventHub {
            ring: Arc::new(Mutex::new(Ring {
                events: VecDeque::new(),
                octets: 0,
                newest,
                by_call: HashMap::new(),
            })),
            newest: watch::Sender::new(newest),
        }
    }

    /// Gives the event its cursor and hands it to every subscriber.
    pub(crate) fn publish(&self, build: impl FnOnce(Cursor) -> Event) -> Arc<Event> {
        let (newest, event) = {
            let mut ring = self.ring.lock();
            ring.newest.0 += 1;
            let newest = ring.newest;
            let event = Arc::new(build(newest));
            ring.push(Arc::clone(&event));
            (newest, event)
        };
        self.newest.send_replace(newest);
        event
    }

    /// The latest events of a call that are kept, at most so many, in order.
    pub(crate) fn of_call(&self, call: &CallId, most: usize) -> Vec<Arc<Event>> {
        let ring = self.ring.lock();
        let Some(cursors) = ring.by_call.get(call) else { return Vec::new() };
        let late = cursors.len().saturating_sub(most);
        cursors.iter().skip(late).filter_map(|cursor| ring.get(*cursor).cloned()).collect()
    }

    /// Reads on after `cursor`, or from now.
    pub(crate) fn subscribe(&self, after: Option<Cursor>) -> Result<Subscription, Expired> {
        let ring = self.ring.lock();
        let last = after.unwrap_or(ring.newest);
        if last > ring.newest || last < ring.floor() {
            return Err(Expired);
        }
        Ok(Subscription { ring: Arc::clone(&self.ring), newest: self.newest.subscribe(), last })
    }
}

/// The length of an event as JSON.
fn octets(event: &Event) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail, and an event that does not serialise is read by nobody.
    drop(serde_json::to_writer(&mut count, event));
    count.0
}

/// One reader of the event stream.
#[derive(Debug)]
pub struct Subscription {
    ring: Arc<Mutex<Ring>>,
    newest: watch::Receiver<Cursor>,
    /// The event read last.
    last: Cursor,
}

impl Subscription {
    /// The next event; `None` once the engine is gone and everything has been read.
    ///
    /// Cancel-safe: an event is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            if let Some(delivery) = self.try_next() {
                return Some(delivery);
            }
            if self.newest.wait_for(|newest| *newest > self.last).await.is_err() {
                return self.try_next();
            }
        }
    }

    fn try_next(&mut self) -> Option<Delivery> {
        let ring = self.ring.lock();
        let floor = ring.floor();
        if self.last < floor {
            let lost = floor.0 - self.last.0;
            self.last = floor;
            return Some(Delivery::Dropped(lost));
        }
        let (event, _) = ring.events.get(usize::try_from(self.last.0 - floor.0).ok()?)?;
        self.last.0 += 1;
        Some(Delivery::Event(Arc::clone(event)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control_api_types::{EventData, Timestamp};

    fn publish(hub: &EventHub, count: u64) {
        publish_of(hub, count, None);
    }

    fn publish_of(hub: &EventHub, count: u64, call_id: Option<CallId>) {
        hub.publish(|cursor| Event {
            id: String::new(),
            cursor,
            seq: None,
            data: EventData::EventsDropped { count },
            occurred_at: Timestamp::from_unix_ms(0),
            node: "n".into(),
            call_id,
            client_state: None,
        });
    }

    fn read(subscription: &mut Subscription) -> Option<Result<u64, u64>> {
        subscription.try_next().map(|delivery| match delivery {
            Delivery::Event(event) => {
                let EventData::EventsDropped { count } = event.data else { panic!("{event:?}") };
                Ok(count)
            }
            Delivery::Dropped(count) => Err(count),
        })
    }

    #[test]
    fn a_cursor_resumes_after_its_event_and_other_runs_have_expired() {
        let hub = EventHub::new(5);
        for n in 1..=3 {
            publish(&hub, n);
        }
        let first = Cursor(5 * PER_MS + 1);
        let mut resumed = hub.subscribe(Some(first)).unwrap();
        assert_eq!(
            [read(&mut resumed), read(&mut resumed), read(&mut resumed)],
            [Some(Ok(2)), Some(Ok(3)), None]
        );
        assert_eq!(read(&mut hub.subscribe(None).unwrap()), None);
        assert_eq!(hub.subscribe(Some(Cursor(4 * PER_MS + 1))).unwrap_err(), Expired);
        assert_eq!(hub.subscribe(Some(Cursor(5 * PER_MS + 4))).unwrap_err(), Expired);
    }

    #[test]
    fn a_reader_that_falls_behind_is_told_how_much_it_lost() {
        let hub = EventHub::new(1);
        let mut slow = hub.subscribe(None).unwrap();
        for n in 0..RING as u64 + 7 {
            publish(&hub, n);
        }
        assert_eq!(read(&mut slow), Some(Err(7)));
        assert_eq!(read(&mut slow), Some(Ok(7)));
    }

    #[test]
    fn the_events_of_a_call_are_found_as_long_as_they_are_kept() {
        let hub = EventHub::new(1);
        let [a, b] = ["a", "b"].map(|id| CallId::new(id).unwrap());
        let counts = |call: &CallId, most| {
            let count = |event: Arc<Event>| {
                let EventData::EventsDropped { count } = event.data else { panic!("{event:?}") };
                count
            };
            hub.of_call(call, most).into_iter().map(count).collect::<Vec<_>>()
        };
        for n in 0..6 {
            publish_of(&hub, n, Some(if n % 2 == 0 { a.clone() } else { b.clone() }));
        }
        assert_eq!((counts(&a, 9), counts(&b, 2)), (vec![0, 2, 4], vec![3, 5]));
        for n in 6..RING as u64 + 3 {
            publish(&hub, n);
        }
        assert_eq!((counts(&a, 9), counts(&b, 9)), (vec![4], vec![3, 5]));
        for n in 0..3 {
            publish(&hub, n);
        }
        assert_eq!((counts(&a, 9), counts(&b, 9)), (vec![], vec![]));
        assert!(hub.ring.lock().by_call.is_empty(), "nothing is left of them");
    }

    #[test]
    fn large_events_make_the_ring_shorter() {
        let hub = EventHub::new(1);
        let mut slow = hub.subscribe(None).unwrap();
        let text: std::sync::Arc<str> = "x".repeat(1 << 20).into();
        for _ in 0..300 {
            hub.publish(|cursor| Event {
                id: String::new(),
                cursor,
                seq: None,
                data: EventData::EngineDraining {},
                occurred_at: Timestamp::from_unix_ms(0),
                node: "n".into(),
                call_id: None,
                client_state: Some(std::sync::Arc::clone(&text)),
            });
        }
        let Some(Delivery::Dropped(lost)) = slow.try_next() else { panic!("it has fallen behind") };
        assert!((45..60).contains(&lost), "{lost}: a mebibyte each, and 256 are kept");
        assert_eq!(std::iter::from_fn(|| slow.try_next()).count() as u64, 300 - lost);
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes_and_ends_with_the_engine() {
        let hub = EventHub::new(1);
        let mut waiting = hub.subscribe(None).unwrap();
        let reader =
            tokio::spawn(async move { (waiting.next().await.is_some(), waiting.next().await.is_none()) });
        publish(&hub, 1);
        drop(hub);
        assert_eq!(reader.await.unwrap(), (true, true));
    }
}
