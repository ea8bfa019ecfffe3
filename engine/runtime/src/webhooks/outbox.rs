//! What waits for which web server: who is to be tried next, and what becomes of it. No clock, no I/O.
//!
//! A *receiver* is one of the webhooks of the API, or all the `webhook_url`s of calls on one server. The events of one call
//! are a *lane* of it, those of no call another: in a lane the second event waits until the first is delivered or given up,
//! the lanes of a receiver go on beside each other. Only places in the journal are kept here, never the events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use control_api_types::{CallId, EventTypes};

/// Attempts under way at once for one receiver, so that one that is slow holds up nobody else.
const PARALLEL: usize = 16;
/// Attempts under way at once in all.
const PARALLEL_IN_ALL: usize = 512;

/// When attempts are repeated, and how much may wait.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// From a failed attempt to the next; the last for all further ones.
    pub(super) retries: Vec<Duration>,
    /// Age at which an event is given up.
    pub(super) give_up: Duration,
    /// Most events that wait for one receiver.
    pub(super) max_pending: usize,
    /// Most octets of them.
    pub(super) max_octets: usize,
}

/// Whom events go to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Receiver {
    /// A webhook, by its id.
    Webhook(Arc<str>),
    /// The `webhook_url`s of calls on one server: `https://host:port`.
    Calls(Arc<str>),
}

/// Where to, and with what to sign.
#[derive(PartialEq, Eq)]
pub(super) struct Target {
    pub(super) url: String,
    pub(super) secret: Option<Vec<u8>>,
}

impl std::fmt::Debug for Target {
    /// Neither the secret nor what may be one in the URL.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Target")
    }
}

/// Whose events a lane has: those of a call, or those of none.
pub(super) type Lane = Option<CallId>;

/// An event in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) place: i64,
    pub(super) octets: usize,
    pub(super) created_at_ms: u64,
}

/// Something to try now.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) receiver: Receiver,
    pub(super) lane: Lane,
    pub(super) place: i64,
    pub(super) target: Arc<Target>,
}

/// How an attempt came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    Failed(String),
    /// 410: the server wants no more.
    Gone,
}

/// What the journal has to do after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Forget these events; and this call's `webhook_url`, if that was its last.
    Forget { places: Vec<i64>, call: Option<CallId> },
    /// Try again then.
    Postpone { place: i64, attempts: u32, due_at_ms: u64 },
    /// The webhook is disabled: forget all that waits for it.
    Disabled(Arc<str>),
    /// It was deleted meanwhile, and everything with it.
    Nothing,
}

/// An event for a receiver, as far as the journal has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) receiver: Receiver,
    /// So many events before this one had no room: the receiver is told first.
    pub(super) lost: Option<u64>,
}

/// What is shown of a receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) pending: u64,
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) dropped: u64,
    pub(crate) given_up: u64,
    pub(crate) last_delivered_ms: Option<u64>,
    /// Until an attempt succeeds.
    pub(crate) last_error: Option<(u64, String)>,
}

impl Figures {
    fn add(&mut self, other: &Figures) {
        self.pending += other.pending;
        self.delivered += other.delivered;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.given_up += other.given_up;
    }
}

#[derive(Debug)]
enum To {
    Webhook { target: Arc<Target>, events: EventTypes, enabled: bool, lost: u64 },
    Calls(BTreeMap<CallId, OfCall>),
}

/// A call with a `webhook_url`.
#[derive(Debug)]
struct OfCall {
    target: Arc<Target>,
    /// Its last event has been.
    ended: bool,
    lost: u64,
    /// On their way into the journal.
    unwritten: usize,
}

/// Events of a lane, in order.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Of the first, that have failed.
    attempts: u32,
}

#[derive(Debug)]
struct State {
    to: To,
    lanes: BTreeMap<Lane, Queue>,
    /// Lanes that are not being tried, by when they are to be.
    due: BTreeSet<(u64, Lane)>,
    in_flight: usize,
    /// Reserved for what is on its way into the journal, too.
    octets: usize,
    /// Nothing more is taken until there is some room again: else each event that finds a place would come with a report of
    /// those before it that found none.
    full: bool,
    figures: Figures,
}

impl State {
    fn new(to: To) -> State {
        State {
            to,
            lanes: BTreeMap::new(),
            due: BTreeSet::new(),
            in_flight: 0,
            octets: 0,
            full: false,
            figures: Figures::default(),
        }
    }

    fn release(&mut self, octets: usize) {
        self.figures.pending = self.figures.pending.saturating_sub(1);
        self.octets = self.octets.saturating_sub(octets);
    }

    /// The target of a lane, and whether it has one still.
    fn target(&self, lane: &Lane) -> Option<Arc<Target>> {
        match &self.to {
            To::Webhook { target, .. } => Some(Arc::clone(target)),
            To::Calls(calls) => calls.get(lane.as_ref()?).map(|call| Arc::clone(&call.target)),
        }
    }

    /// The call of a lane that needs its `webhook_url` no more, which is forgotten.
    fn forget_call(&mut self, lane: &Lane) -> Option<CallId> {
        let (To::Calls(calls), Some(id)) = (&mut self.to, lane) else { return None };
        let over = calls.get(id).is_some_and(|call| call.ended && call.unwritten == 0);
        if !over || self.lanes.contains_key(lane) {
            return None;
        }
        calls.remove(id).map(|_| id.clone())
    }
}

/// Everything that waits.
#[derive(Debug)]
pub(super) struct Outbox {
    rules: Rules,
    receivers: BTreeMap<Receiver, State>,
    /// Where the events of calls go besides.
    calls: BTreeMap<CallId, Arc<str>>,
    in_flight: usize,
    /// Who was tried last: the next in order is tried next.
    last: Option<Receiver>,
    /// Of receivers that are gone.
    past: Figures,
}

impl Outbox {
    pub(super) fn new(rules: Rules) -> Outbox {
        Outbox {
            rules,
            receivers: BTreeMap::new(),
            calls: BTreeMap::new(),
            in_flight: 0,
            last: None,
            past: Figures::default(),
        }
    }

    pub(super) fn add_webhook(&mut self, id: Arc<str>, target: Target, events: EventTypes, enabled: bool) {
        let to = To::Webhook { target: Arc::new(target), events, enabled, lost: 0 };
        self.receivers.insert(Receiver::Webhook(id), State::new(to));
    }

    /// Forgets a webhook and what waits for it.
    pub(super) fn remove_webhook(&mut self, id: &str) {
        if let Some(state) = self.receivers.remove(&Receiver::Webhook(id.into())) {
            self.past.add(&Figures { pending: 0, ..state.figures });
        }
    }

    /// The events of `call` go to `target` besides; `server` is that of its URL.
    pub(super) fn add_call(&mut self, call: CallId, server: Arc<str>, target: Target) {
        self.calls.insert(call.clone(), Arc::clone(&server));
        let state = self
            .receivers
            .entry(Receiver::Calls(server))
            .or_insert_with(|| State::new(To::Calls(BTreeMap::new())));
        if let To::Calls(calls) = &mut state.to {
            calls.insert(call, OfCall { target: Arc::new(target), ended: false, lost: 0, unwritten: 0 });
        }
    }

    /// A call of which nothing more will be heard. `true`: nothing waits either, it is forgotten.
    pub(super) fn end_call(&mut self, call: &CallId) -> bool {
        let Some(server) = self.calls.remove(call) else { return false };
        let receiver = Receiver::Calls(server);
        let Some(state) = self.receivers.get_mut(&receiver) else { return false };
        if let To::Calls(calls) = &mut state.to
            && let Some(call) = calls.get_mut(call)
        {
            call.ended = true;
        }
        let forgotten = state.forget_call(&Some(call.clone())).is_some();
        self.tidy(&receiver);
        forgotten
    }

    /// Calls whose `webhook_url` is known, and that are not over.
    pub(super) fn calls(&self) -> Vec<CallId> {
        self.calls.keys().cloned().collect()
    }

    /// Whether anybody wants this event.
    pub(super) fn is_wanted(&self, kind: &str, call: Option<&CallId>) -> bool {
        call.is_some_and(|call| self.calls.contains_key(call))
            || self.receivers.values().any(|state| match &state.to {
                To::Webhook { events, enabled, .. } => *enabled && events.contains(kind),
                To::Calls(_) => false,
            })
    }

    /// An event of `octets`: who is to have it, each with a place kept for it. Those without room lose it.
    pub(super) fn offer(&mut self, kind: &str, call: Option<&CallId>, octets: usize) -> Vec<Wanted> {
        let own =
            call.and_then(|call| self.calls.get(call)).map(|server| Receiver::Calls(Arc::clone(server)));
        let mut wanted = Vec::new();
        for (receiver, state) in &mut self.receivers {
            let lost = match &mut state.to {
                To::Webhook { events, enabled, lost, .. } if *enabled && events.contains(kind) => lost,
                To::Calls(calls) if own.as_ref() == Some(receiver) => {
                    let Some(of_call) = call.and_then(|call| calls.get_mut(call)) else { continue };
                    of_call.unwritten += 1;
                    &mut of_call.lost
                }
                To::Webhook { .. } | To::Calls(_) => continue,
            };
            // The report of a loss takes a place, too.
            let places = if *lost == 0 { 1 } else { 2 };
            let (pending, octets_then) = (state.figures.pending as usize + places, state.octets + octets);
            let (most, most_octets) = (self.rules.max_pending, self.rules.max_octets);
            state.full = match state.full {
                false => pending > most || octets_then > most_octets,
                true => pending > most - most / 10 || octets_then > most_octets - most_octets / 10,
            };
            if state.full {
                *lost += 1;
                state.figures.dropped += 1;
                if let (To::Calls(calls), Some(call)) = (&mut state.to, call)
                    && let Some(of_call) = calls.get_mut(call)
                {
                    of_call.unwritten -= 1;
                }
                continue;
            }
            let lost = Some(std::mem::take(lost)).filter(|lost| *lost > 0);
            state.figures.pending += places as u64;
            state.octets += octets;
            wanted.push(Wanted { receiver: receiver.clone(), lost });
        }
        wanted
    }

    /// What was offered is in the journal. `false`: nobody wants it any more.
    pub(super) fn written(
        &mut self,
        receiver: &Receiver,
        lane: &Lane,
        waiting: Waiting,
        is_report: bool,
    ) -> bool {
        let Some(state) = self.receivers.get_mut(receiver) else { return false };
        match &mut state.to {
            To::Webhook { enabled, .. } => {
                if !*enabled {
                    state.release(waiting.octets);
                    return false;
                }
            }
            To::Calls(calls) => match lane.as_ref().and_then(|call| calls.get_mut(call)) {
                Some(call) => call.unwritten -= usize::from(!is_report),
                None => {
                    state.release(waiting.octets);
                    return false;
                }
            },
        }
        push(state, lane, waiting, waiting.created_at_ms, 0);
        true
    }

    /// The journal has not taken it: an event, or the report of so many lost before it, which are still to be told. The call,
    /// if that was the last of it: its `webhook_url` is needed no more.
    pub(super) fn lost(
        &mut self,
        receiver: &Receiver,
        lane: &Lane,
        octets: usize,
        report: Option<u64>,
    ) -> Option<CallId> {
        let state = self.receivers.get_mut(receiver)?;
        state.release(octets);
        let untold = report.unwrap_or(1);
        state.figures.dropped += u64::from(report.is_none());
        match &mut state.to {
            To::Webhook { lost, .. } => *lost += untold,
            To::Calls(calls) => {
                if let Some(call) = lane.as_ref().and_then(|call| calls.get_mut(call)) {
                    call.lost += untold;
                    call.unwritten -= usize::from(report.is_none());
                }
            }
        }
        let over = state.forget_call(lane);
        self.tidy(receiver);
        over
    }

    /// Puts in what an earlier run has left. `false`: nobody wants it any more.
    pub(super) fn restore(
        &mut self,
        receiver: &Receiver,
        lane: &Lane,
        waiting: Waiting,
        attempts: u32,
        due_at_ms: u64,
    ) -> bool {
        let Some(state) = self.receivers.get_mut(receiver) else { return false };
        if state.target(lane).is_none() || matches!(state.to, To::Webhook { enabled: false, .. }) {
            return false;
        }
        state.figures.pending += 1;
        state.octets += waiting.octets;
        push(state, lane, waiting, due_at_ms, attempts);
        true
    }

    /// The server of a call's `webhook_url`.
    pub(super) fn receiver_of(&self, call: &CallId) -> Option<Receiver> {
        self.calls.get(call).map(|server| Receiver::Calls(Arc::clone(server)))
    }

    /// What is to be tried now, one after another.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<Attempt> {
        if self.in_flight >= PARALLEL_IN_ALL {
            return None;
        }
        let is_due = |state: &State| {
            state.in_flight < PARALLEL && state.due.first().is_some_and(|(at, _)| *at <= now_ms)
        };
        let after = self
            .receivers
            .iter()
            .find(|(receiver, state)| Some(*receiver) > self.last.as_ref() && is_due(state));
        let receiver = after.or_else(|| self.receivers.iter().find(|(_, state)| is_due(state)))?.0.clone();
        let state = self.receivers.get_mut(&receiver)?;
        let (_, lane) = state.due.pop_first()?;
        let target = state.target(&lane)?;
        let place = state.lanes.get(&lane)?.waiting.front()?.place;
        state.in_flight += 1;
        self.in_flight += 1;
        self.last = Some(receiver.clone());
        Some(Attempt { receiver, lane, place, target })
    }

    /// When there is something to be tried next, if nothing else happens.
    pub(super) fn next_at(&self) -> Option<u64> {
        let free = self.receivers.values().filter(|state| state.in_flight < PARALLEL);
        free.filter_map(|state| state.due.first().map(|(at, _)| *at)).min()
    }

    /// An attempt is over.
    pub(super) fn settle(
        &mut self,
        now_ms: u64,
        receiver: &Receiver,
        lane: &Lane,
        place: i64,
        outcome: Outcome,
    ) -> Settled {
        self.in_flight -= 1;
        let Some(state) = self.receivers.get_mut(receiver) else { return Settled::Nothing };
        state.in_flight = state.in_flight.saturating_sub(1);
        let Some(queue) = state.lanes.get_mut(lane) else { return Settled::Nothing };
        // A webhook that was deleted and made anew has another id, so this is the event that was tried.
        let Some(first) = queue.waiting.front().copied().filter(|first| first.place == place) else {
            return Settled::Nothing;
        };
        let age = Duration::from_millis(now_ms.saturating_sub(first.created_at_ms));
        match outcome {
            Outcome::Delivered => {
                state.figures.delivered += 1;
                state.figures.last_delivered_ms = Some(now_ms);
                state.figures.last_error = None;
            }
            Outcome::Failed(error) => {
                state.figures.failed += 1;
                state.figures.last_error = Some((now_ms, error));
                let delay = self.rules.retries.get(queue.attempts as usize).or(self.rules.retries.last());
                queue.attempts += 1;
                if let Some(delay) = delay
                    && age + *delay < self.rules.give_up
                {
                    let due_at_ms = now_ms + u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                    state.due.insert((due_at_ms, lane.clone()));
                    return Settled::Postpone { place, attempts: queue.attempts, due_at_ms };
                }
                state.figures.given_up += 1;
            }
            Outcome::Gone => return self.gone(now_ms, receiver, lane),
        }
        queue.waiting.pop_front();
        queue.attempts = 0;
        match queue.waiting.is_empty() {
            true => drop(state.lanes.remove(lane)),
            false => drop(state.due.insert((now_ms, lane.clone()))),
        }
        state.release(first.octets);
        let call = state.forget_call(lane);
        self.tidy(receiver);
        Settled::Forget { places: vec![place], call }
    }

    /// The server wants no more: neither what waits nor what comes.
    fn gone(&mut self, now_ms: u64, receiver: &Receiver, lane: &Lane) -> Settled {
        let Some(state) = self.receivers.get_mut(receiver) else { return Settled::Nothing };
        state.figures.failed += 1;
        state.figures.last_error = Some((now_ms, "HTTP status 410".to_owned()));
        let settled = match (&mut state.to, receiver) {
            (To::Webhook { enabled, .. }, Receiver::Webhook(id)) => {
                *enabled = false;
                state.lanes.clear();
                state.due.clear();
                state.figures.pending = 0;
                state.octets = 0;
                Settled::Disabled(Arc::clone(id))
            }
            (To::Calls(calls), _) => {
                let places = state.lanes.remove(lane).map(|queue| queue.waiting).unwrap_or_default();
                let call = lane.as_ref().and_then(|call| calls.remove(call).map(|_| call.clone()));
                for waiting in &places {
                    state.release(waiting.octets);
                }
                Settled::Forget { places: places.iter().map(|waiting| waiting.place).collect(), call }
            }
            (To::Webhook { .. }, Receiver::Calls(_)) => Settled::Nothing,
        };
        if let Settled::Forget { call: Some(call), .. } = &settled {
            self.calls.remove(call);
        }
        self.tidy(receiver);
        settled
    }

    /// Forgets a server that no call names any more.
    fn tidy(&mut self, receiver: &Receiver) {
        let is_over = |state: &State| match &state.to {
            To::Webhook { .. } => false,
            To::Calls(calls) => calls.is_empty() && state.lanes.is_empty() && state.in_flight == 0,
        };
        if self.receivers.get(receiver).is_some_and(is_over)
            && let Some(state) = self.receivers.remove(receiver)
        {
            self.past.add(&Figures { pending: 0, ..state.figures });
        }
    }

    /// Whether a webhook is at work, and its figures.
    pub(super) fn figures(&self, id: &str) -> Option<(bool, Figures)> {
        let state = self.receivers.get(&Receiver::Webhook(id.into()))?;
        let enabled = match &state.to {
            To::Webhook { enabled, .. } => *enabled,
            To::Calls(_) => return None,
        };
        Some((enabled, state.figures.clone()))
    }

    /// Of all receivers together, those that are gone included.
    pub(super) fn total(&self) -> Figures {
        let mut total = self.past.clone();
        for state in self.receivers.values() {
            total.add(&state.figures);
        }
        total
    }
}

fn push(state: &mut State, lane: &Lane, waiting: Waiting, due_at_ms: u64, attempts: u32) {
    let queue = state.lanes.entry(lane.clone()).or_default();
    if queue.waiting.is_empty() {
        queue.attempts = attempts;
        state.due.insert((due_at_ms, lane.clone()));
    }
    queue.waiting.push_back(waiting);
}
