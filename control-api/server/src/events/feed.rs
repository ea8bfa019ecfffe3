//! The events that one receiver asked for.

use control_api_types::{CallId, Cursor, Event, EventData, EventTypes};
use engine_runtime::{Delivery, Subscription};
use std::sync::Arc;
use ulid::Ulid;

/// Which events are wanted.
#[derive(Debug)]
pub(crate) struct Filter {
    types: EventTypes,
    call: Option<CallId>,
}

impl Filter {
    pub(crate) fn new(types: EventTypes, call: Option<CallId>) -> Self {
        Self { types, call }
    }

    fn wants(&self, event: &Event) -> bool {
        self.types.contains(event.data.kind())
            && self.call.as_ref().is_none_or(|call| event.call_id.as_ref() == Some(call))
    }
}

/// A subscription with its filter.
#[derive(Debug)]
pub(crate) struct Feed {
    subscription: Subscription,
    filter: Filter,
    /// Events lost and not yet reported.
    dropped: u64,
    /// Read already, to follow a report of lost events.
    pending: Option<Arc<Event>>,
}

impl Feed {
    pub(crate) fn new(subscription: Subscription, filter: Filter) -> Self {
        Self { subscription, filter, dropped: 0, pending: None }
    }

    /// The next event wanted, or the report that some were lost, which is sent whatever the filter; `None` once the
    /// engine has stopped. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            // A filter may pass over the whole buffer without waiting once.
            tokio::task::consume_budget().await;
            let event = match self.pending.take() {
                Some(event) => event,
                None => match self.subscription.next().await? {
                    Delivery::Event(event) => event,
                    Delivery::Dropped(count) => {
                        self.dropped += count;
                        continue;
                    }
                },
            };
            if self.dropped > 0 {
                let report = lost(std::mem::take(&mut self.dropped), &event);
                self.pending = Some(event);
                return Some(Arc::new(report));
            }
            if self.filter.wants(&event) {
                return Some(event);
            }
        }
    }
}

/// The report that `count` events before `next` were lost.
fn lost(count: u64, next: &Event) -> Event {
    Event {
        id: Ulid::generate().to_string(),
        cursor: Cursor(next.cursor.0.saturating_sub(1)),
        seq: None,
        data: EventData::EventsDropped { count },
        occurred_at: next.occurred_at,
        node: Arc::clone(&next.node),
        call_id: None,
        client_state: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control_api_types::Timestamp;

    fn event(data: EventData, call: Option<&str>) -> Event {
        Event {
            id: String::new(),
            cursor: Cursor(8),
            seq: None,
            data,
            occurred_at: Timestamp::from_unix_ms(0),
            node: "n".into(),
            call_id: call.map(|id| CallId::new(id).unwrap()),
            client_state: None,
        }
    }

    #[test]
    fn filters_by_type_and_call() {
        let ringing = event(EventData::CallRinging { sip_status: 180 }, Some("a"));
        let draining = event(EventData::EngineDraining {}, None);
        let call = || Some(CallId::new("a").unwrap());
        for (types, call, wants_ringing, wants_draining) in [
            ("", None, true, true),
            ("call.*", None, true, false),
            ("call.ringing, engine.draining", None, true, true),
            ("call.dtmf", None, false, false),
            ("*", call(), true, false),
            ("", Some(CallId::new("b").unwrap()), false, false),
        ] {
            let filter = Filter::new(EventTypes::from_list(types).unwrap(), call);
            assert_eq!(filter.wants(&ringing), wants_ringing, "{filter:?}");
            assert_eq!(filter.wants(&draining), wants_draining, "{filter:?}");
        }
    }

    #[test]
    fn a_report_of_lost_events_resumes_at_the_next() {
        let report = lost(5, &event(EventData::EngineDraining {}, None));
        assert_eq!((report.cursor, report.data), (Cursor(7), EventData::EventsDropped { count: 5 }));
    }
}
