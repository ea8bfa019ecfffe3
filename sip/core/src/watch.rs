//! Where targets are, known before anything is sent to them: the peers of a trunk call from there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::endpoint::{Destinations, Event, QueryId, ResolveError};
use crate::session::Target;
use crate::transaction::{Asker, Located, TimerKey, TransactionLayer};

/// Least and longest times between two questions for one target.
const LEAST: Duration = Duration::from_secs(10);
const MOST: Duration = Duration::from_secs(3600);

/// The time to the next question after one that got no answer. What was known before stays.
const RETRY: Duration = Duration::from_secs(30);

/// One target that is kept located.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

#[derive(Debug)]
struct Watch {
    target: Target,
    told: BTreeSet<IpAddr>,
    state: State,
}

#[derive(Debug)]
enum State {
    Asked(QueryId),
    /// The timer is the next question; without one the target is a literal address.
    Known,
}

/// Every target that is kept located.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    watches: BTreeMap<WatchId, Watch>,
    next: u64,
}

impl Watches {
    pub(crate) fn watch(&mut self, layer: &mut TransactionLayer, target: Target) -> WatchId {
        let id = WatchId(self.next);
        self.next += 1;
        self.watches.insert(id, Watch { target, told: BTreeSet::new(), state: State::Known });
        self.ask(layer, id);
        id
    }

    /// Stops it. Stopping one that is stopped is no error.
    pub(crate) fn unwatch(&mut self, layer: &mut TransactionLayer, id: WatchId) {
        layer.timers.cancel(TimerKey::Watch(id));
        if let Some(Watch { state: State::Asked(query), .. }) = self.watches.remove(&id) {
            layer.take_query(query);
        }
    }

    /// Asks where the target is: at first, and whenever the answer has had its time.
    pub(crate) fn ask(&mut self, layer: &mut TransactionLayer, id: WatchId) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        // A target whose host is none is nowhere: whoever sends there is told.
        match layer.locate_target(Asker::Watch(id), &watch.target, false) {
            Some(Located::At(at)) => watch.tell(layer, id, BTreeSet::from([at.address.ip().to_canonical()])),
            Some(Located::Asked(query)) => watch.state = State::Asked(query),
            None => {}
        }
    }

    pub(crate) fn resolved(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: WatchId,
        result: Result<Destinations, ResolveError>,
    ) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        watch.state = State::Known;
        let wait = match result {
            Ok(found) => {
                let addresses = found.list.iter().map(|at| at.address.ip().to_canonical()).collect();
                watch.tell(layer, id, addresses);
                found.valid_for.clamp(LEAST, MOST)
            }
            Err(ResolveError::NotFound | ResolveError::Unavailable) => RETRY,
        };
        layer.timers.set(TimerKey::Watch(id), now + wait);
    }
}

impl Watch {
    fn tell(&mut self, layer: &mut TransactionLayer, id: WatchId, addresses: BTreeSet<IpAddr>) {
        if self.told != addresses {
            self.told.clone_from(&addresses);
            layer.event(Event::Located { id, addresses });
        }
    }
}
