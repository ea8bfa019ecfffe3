//! The engine: owns the SIP endpoint and every call, and gives each input to the one it is for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api_types::flow::Flow;
use control_api_types::{
    Call, CallId, CreateCall, Direction, EndedBy, EventData, Fault, Faults, FlowRef, Gather, HangupReason,
    Limits, NodeCalls, Play, PlayId, Prompt, Timestamp, TrunkState,
};
use media_core::{Codec, LegId};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use sip_core::{
    Endpoint, Event, Hop, Host, Message, QueryId, RegistrationEvent, RegistrationId, SessionEvent, SessionId,
};

use crate::admission::{Admit, Capacity, Gate, Queue};
use crate::call::{Context, LiveCall, Offer, Plan, record};
use crate::clock::Clock;
use crate::config::{ConfigError, EngineConfig, Route, RouteAction};
use crate::dial;
use crate::disposition::Evidence;
use crate::flow;
use crate::id;
use crate::io::{Input, Output, Refusal};
use crate::prompt::Prompts;
use crate::route::{Verdict, route};
use crate::timers::{CallTimer, Timers};
use crate::trunk::{Outcome, Trunk, TrunkIndex};

/// Longest inbound call: as long as an outbound one by default.
const INBOUND_MAX_DURATION: Duration = Duration::from_secs(14_400);

/// What callers refused for want of room are told (RFC 3261 §20.33).
const RETRY_AFTER: &str = "5";

/// Every call of a node, with its SIP endpoint, trunks and flows, as one value. See the crate documentation.
pub struct Engine {
    node: Arc<str>,
    clock: Clock,
    /// Host of our From when a call uses no trunk.
    local: Host,
    endpoint: Endpoint,
    random: ChaCha20Rng,
    outputs: VecDeque<Output>,
    timers: Timers,

    calls: BTreeMap<LegId, LiveCall>,
    by_id: BTreeMap<CallId, LegId>,
    sessions: BTreeMap<SessionId, LegId>,
    last_leg: u64,
    /// The call that handles an input now.
    current: Option<CallId>,

    trunks: Vec<Trunk>,
    trunk_names: BTreeMap<String, TrunkIndex>,
    registrations: BTreeMap<RegistrationId, TrunkIndex>,
    /// Names of gateways that are being resolved.
    lookups: BTreeMap<QueryId, String>,
    routes: Vec<Route>,
    flows: BTreeMap<String, Arc<Flow>>,
    prompts: Prompts,

    limits: Limits,
    gate: Gate,
    queue: Queue,
    /// Outbound calls that have not begun: those in the queue and those that the journal does not have yet.
    waiting: BTreeSet<LegId>,
    drain: Drain,
}

/// Whether new calls are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    Off,
    /// Calls that are left then are hung up.
    Until(Instant),
    /// They were.
    Over,
}

/// Why [`Engine::poll_timeout`] wants to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerKind {
    /// A timer of the SIP endpoint.
    Sip(sip_core::TimerKind),
    /// A timer of a call.
    Call(CallTimer),
    /// A queued call is due by the rate limits.
    Pacing,
    /// The drain is over.
    Drain,
}

impl Engine {
    /// An engine that begins at `now`: trunks that register do so at once. `seed` must be unguessable: tags, branches,
    /// SSRCs and ids come from it.
    pub fn new(now: Instant, config: EngineConfig, seed: [u8; 32]) -> Result<Self, ConfigError> {
        let EngineConfig { node, clock, sip, trunks, routes, limits } = config;
        let advertised = sip.listeners.first().ok_or(ConfigError::NoListener)?.advertised;
        let mut random = ChaCha20Rng::from_seed(seed);
        let mut sip_seed = [0; 32];
        random.fill_bytes(&mut sip_seed);
        let mut engine = Self {
            node: node.into(),
            clock,
            local: Host::Ip(advertised.ip()),
            endpoint: Endpoint::new(sip, sip_seed),
            random,
            outputs: VecDeque::new(),
            timers: Timers::default(),
            calls: BTreeMap::new(),
            by_id: BTreeMap::new(),
            sessions: BTreeMap::new(),
            last_leg: 0,
            current: None,
            trunks: Vec::new(),
            trunk_names: BTreeMap::new(),
            registrations: BTreeMap::new(),
            lookups: BTreeMap::new(),
            routes: Vec::new(),
            flows: BTreeMap::new(),
            prompts: Prompts::default(),
            gate: Gate::new(capacity(&limits)),
            limits,
            queue: Queue::default(),
            waiting: BTreeSet::new(),
            drain: Drain::Off,
        };
        for config in trunks {
            engine.add_trunk(now, Trunk::new(config)?)?;
        }
        for Route { matches, .. } in &routes {
            if let Some(trunk) = matches.trunk.as_ref().filter(|&name| !engine.trunk_names.contains_key(name))
            {
                return Err(ConfigError::UnknownTrunk { trunk: trunk.clone() });
            }
        }
        engine.routes = routes;
        engine.run_endpoint(now);
        Ok(engine)
    }

    fn add_trunk(&mut self, now: Instant, mut trunk: Trunk) -> Result<(), ConfigError> {
        let index = self.trunks.len();
        if self.trunk_names.insert(trunk.config.name.clone(), index).is_some() {
            return Err(ConfigError::DuplicateTrunk { trunk: trunk.config.name });
        }
        if let Some(register) = trunk.register() {
            let id = self.endpoint.register(now, register);
            trunk.registering(id);
            self.registrations.insert(id, index);
        }
        self.trunks.push(trunk);
        Ok(())
    }

    // The run loop.

    /// Takes what the outside reports. Drain [`Engine::poll_output`] afterwards.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Sip(input) => {
                if let sip_core::Input::Resolved { query, result } = &input
                    && let Some(host) = self.lookups.remove(query)
                    && let Ok(addresses) = result
                {
                    let addresses: BTreeSet<_> =
                        addresses.iter().map(|addr| addr.ip().to_canonical()).collect();
                    for trunk in self.trunks.iter_mut().filter(|trunk| trunk.config.gateway.host == host) {
                        trunk.addresses.clone_from(&addresses);
                    }
                }
                self.endpoint.handle_input(now, input);
            }
            Input::Media { leg, input } => self.with_call(now, leg, |call, ctx| call.on_media(ctx, input)),
            Input::Accepted { call } => self.accepted(now, &call),
        }
        self.settle(now);
    }

    /// Runs every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        while let Some((leg, timer)) = self.timers.pop_due(now) {
            self.with_call(now, leg, |call, ctx| call.on_timer(ctx, timer));
        }
        if let Drain::Until(deadline) = self.drain
            && deadline <= now
        {
            self.drain = Drain::Over;
            self.hangup_all(now);
        }
        self.settle(now);
    }

    /// The next thing to do, in order, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Engine::handle_timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, TimerKind)> {
        let sip = self.endpoint.poll_timeout().map(|(at, kind)| (at, TimerKind::Sip(kind)));
        let call = self.timers.next().map(|(at, timer)| (at, TimerKind::Call(timer)));
        let pacing = self.queue.next_turn().map(|at| (at, TimerKind::Pacing));
        let drain = match self.drain {
            Drain::Until(at) => Some((at, TimerKind::Drain)),
            Drain::Off | Drain::Over => None,
        };
        [sip, call, pacing, drain].into_iter().flatten().min_by_key(|&(at, _)| at)
    }

    /// Does everything that follows from what was just done.
    fn settle(&mut self, now: Instant) {
        self.run_endpoint(now);
        self.pace(now);
        self.run_endpoint(now);
    }

    fn run_endpoint(&mut self, now: Instant) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                sip_core::Output::Transmit(transmit) => self.outputs.push_back(Output::Transmit(transmit)),
                sip_core::Output::Resolve { query, host, port, transport } => {
                    if self.trunks.iter().any(|trunk| trunk.config.gateway.host == host) {
                        self.lookups.insert(query, host.clone());
                    }
                    self.outputs.push_back(Output::Resolve { query, host, port, transport });
                }
                sip_core::Output::Event(Event::Session {
                    id,
                    event: SessionEvent::Incoming { hop, request },
                }) => {
                    self.incoming(now, id, hop, &request);
                }
                sip_core::Output::Event(Event::Session { id, event }) => {
                    if let Some(&leg) = self.sessions.get(&id) {
                        self.with_call(now, leg, |call, ctx| call.on_session(ctx, event));
                    }
                }
                sip_core::Output::Event(Event::Registration { id, event }) => {
                    self.on_registration(now, id, &event)
                }
                // RFC 3261 §8.2.1: "If the UAS recognizes but does not support the method of a request, it MUST
                // generate a 405 (Method Not Allowed) response", and "MUST also add an Allow header field".
                sip_core::Output::Event(Event::Request { id, .. }) => {
                    let allow = [("Allow".to_owned(), sip_core::ALLOW.to_owned())];
                    // An error means that the request is too old to be answered.
                    let _ = self.endpoint.respond(now, id, 405, &allow, None);
                }
            }
        }
    }

    /// Lets a call handle something, and cleans up after it when that was its end.
    fn with_call<R: Default>(
        &mut self,
        now: Instant,
        leg: LegId,
        handle: impl FnOnce(&mut LiveCall, &mut Context<'_>) -> R,
    ) -> R {
        let Some(call) = self.calls.get_mut(&leg) else { return R::default() };
        self.current = Some(call.record().id.clone());
        let mut ctx = Context {
            now,
            clock: &self.clock,
            endpoint: &mut self.endpoint,
            sessions: &mut self.sessions,
            outputs: &mut self.outputs,
            timers: &mut self.timers,
            random: &mut self.random,
            prompts: &self.prompts,
        };
        let result = handle(call, &mut ctx);
        self.current = None;
        if !call.is_waiting() && self.waiting.remove(&leg) {
            self.queue.remove(call.trunk(), leg);
        }
        if call.is_over() {
            self.forget(leg);
        }
        result
    }

    fn forget(&mut self, leg: LegId) {
        let Some(call) = self.calls.remove(&leg) else { return };
        self.by_id.remove(&call.record().id);
        let trunk = call.trunk().map(|index| &mut self.trunks[index]);
        if call.is_admitted() {
            self.gate.leave();
        }
        if let Some(trunk) = trunk {
            if call.is_admitted() {
                trunk.gate.leave();
            }
            if let (Direction::Outbound, Some(disposition)) =
                (call.record().direction, call.record().disposition)
            {
                trunk.record(Outcome { disposition, post_dial_delay: call.post_dial_delay() });
            }
        }
    }

    // Calls.

    /// Takes an outbound call. It is journalled first ([`Output::Accept`]); its INVITE leaves when the journal has it
    /// and the limits allow.
    pub fn originate(&mut self, now: Instant, id: CallId, create: CreateCall) -> Result<Call, Refusal> {
        if self.drain != Drain::Off {
            return Err(Refusal::Draining);
        }
        if self.by_id.contains_key(&id) {
            return Err(Refusal::Conflict);
        }
        if self.waiting.len() >= self.limits.max_queued.max(1) as usize {
            return Err(Refusal::QueueFull { retry_after: self.retry_after() });
        }
        let mut faults = Faults::default();
        let trunk = match &create.trunk {
            Some(name) => {
                let index = self.trunk_names.get(name).copied();
                if index.is_none() {
                    faults.push("/trunk", format_args!("there is no trunk {name:?}"));
                }
                index
            }
            None => None,
        };
        let flow = self.flow_of(create.flow.as_ref(), &mut faults);
        let dial = match (&create.trunk, trunk) {
            // Without its trunk nothing more can be said about the number.
            (Some(_), None) => None,
            (Some(_) | None, trunk) => {
                dial::plan(&create, trunk.map(|index| &self.trunks[index]), &self.local, &mut faults)
            }
        };
        let dial = faults.into_result(dial).map_err(Refusal::Validation)?;

        let at = self.timestamp(now);
        let call = Call {
            trunk: create.trunk,
            variables: create.variables,
            client_state: create.client_state,
            ..record(id, Direction::Outbound, create.to, dial.from.clone(), at, &self.node)
        };
        let plan = Plan { flow, max_duration: Duration::from_secs(u64::from(create.max_duration_s)) };
        let queue_timeout = Duration::from_secs(u64::from(self.limits.queue_timeout_s));
        let (leg, mut ctx) = self.new_leg(now);
        let live = LiveCall::outbound(&mut ctx, leg, call.clone(), trunk, dial, plan, queue_timeout);
        self.waiting.insert(leg);
        self.insert(leg, live);
        Ok(call)
    }

    /// When a refused originator may hope for a place: one queued call has begun by then.
    fn retry_after(&self) -> Duration {
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        Duration::from_secs(u64::from((waiting / self.limits.max_cps.max(1)).clamp(1, 60)))
    }

    fn flow_of(&self, flow: Option<&FlowRef>, faults: &mut Faults) -> Option<Arc<Flow>> {
        match flow? {
            FlowRef::Name(name) => {
                let flow = self.flows.get(name).cloned();
                if flow.is_none() {
                    faults.push("/flow", format_args!("there is no flow {name:?}"));
                }
                flow
            }
            FlowRef::Inline(flow) => {
                flow::check(flow, "/flow", &self.prompts, faults);
                Some(Arc::clone(flow))
            }
        }
    }

    fn accepted(&mut self, now: Instant, id: &CallId) {
        let Some(&leg) = self.by_id.get(id) else { return };
        self.with_call(now, leg, |call, ctx| call.accepted(ctx));
        if let Some(call) = self.calls.get(&leg).filter(|call| call.is_queued()) {
            self.queue.push(call.trunk(), leg);
            if self.drain != Drain::Off {
                self.hangup_leg(now, leg);
            }
        }
    }

    /// Begins queued calls for as long as the limits allow: trunks take turns, calls of one trunk keep their order.
    fn pace(&mut self, now: Instant) {
        self.queue.set_next_turn(None);
        while !self.queue.is_empty() {
            match self.gate.admit(now) {
                Admit::Now => {}
                Admit::At(turn) => return self.queue.set_next_turn(Some(turn)),
                Admit::Full => return,
            }
            let trunks = &self.trunks;
            let admit = |trunk: Option<TrunkIndex>| match trunk.map(|index| &trunks[index]) {
                Some(trunk) if !trunk.is_settled() => Admit::Full,
                Some(trunk) => trunk.gate.admit(now),
                None => Admit::Now,
            };
            let Some((trunk, leg)) = self.queue.pop(admit) else { return };
            self.gate.enter(now);
            let refusal = trunk.and_then(|index| {
                self.trunks[index].enter(now);
                self.trunks[index].refusal()
            });
            self.with_call(now, leg, |call, ctx| call.begin(ctx, refusal));
        }
    }

    /// Ends a call, whatever it does. A call that ends already goes on ending.
    pub fn hangup(&mut self, now: Instant, id: &CallId, reason: HangupReason) -> Result<Call, Refusal> {
        self.command(now, id, |call, ctx| {
            call.hangup(ctx, reason, EndedBy::Api, Evidence::Api);
            Ok(call.record().clone())
        })
    }

    /// Tells an unanswered inbound caller that it rings (180).
    pub fn ring(&mut self, now: Instant, id: &CallId) -> Result<(), Refusal> {
        self.command(now, id, |call, ctx| call.ring(ctx))
    }

    /// Answers an unanswered inbound call; it is parked then.
    pub fn answer(&mut self, now: Instant, id: &CallId) -> Result<(), Refusal> {
        self.command(now, id, |call, ctx| call.answer(ctx))
    }

    /// Refuses an unanswered inbound call with a final status, 300 to 699.
    pub fn reject(&mut self, now: Instant, id: &CallId, status: u16) -> Result<(), Refusal> {
        if !(300..=699).contains(&status) {
            let fault =
                Fault { pointer: "/status".into(), detail: "must be a final SIP status, 300 to 699".into() };
            return Err(Refusal::Validation(vec![fault]));
        }
        self.command(now, id, |call, ctx| call.reject(ctx, status))
    }

    /// Plays a prompt on an answered call whose flow, if any, leaves the media free (at `park` and `pause` steps). It
    /// replaces what plays and gathers.
    pub fn play(&mut self, now: Instant, id: &CallId, play: Play) -> Result<PlayId, Refusal> {
        self.check_prompt(id, "/prompt", Some(&play))?;
        self.command(now, id, |call, ctx| call.play(ctx, play))
    }

    /// Stops what plays; the flow goes on to its next step.
    pub fn stop_play(&mut self, now: Instant, id: &CallId) -> Result<(), Refusal> {
        self.command(now, id, |call, ctx| call.stop_play(ctx))
    }

    /// Gathers digits on an answered call; the rules of [`Engine::play`] hold.
    pub fn gather(&mut self, now: Instant, id: &CallId, gather: Gather) -> Result<(), Refusal> {
        self.check_prompt(id, "/play/prompt", gather.play.as_ref())?;
        self.command(now, id, |call, ctx| call.gather(ctx, gather))
    }

    fn check_prompt(&self, id: &CallId, pointer: &str, play: Option<&Play>) -> Result<(), Refusal> {
        if !self.by_id.contains_key(id) {
            return Err(Refusal::NotFound);
        }
        match play {
            Some(Play { prompt, .. }) if self.prompts.find(prompt).is_none() => {
                let fault =
                    Fault { pointer: pointer.into(), detail: format!("there is no prompt {prompt:?}") };
                Err(Refusal::Validation(vec![fault]))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn command<R>(
        &mut self,
        now: Instant,
        id: &CallId,
        command: impl FnOnce(&mut LiveCall, &mut Context<'_>) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        let leg = *self.by_id.get(id).ok_or(Refusal::NotFound)?;
        let result = self.with_call(now, leg, |call, ctx| Some(command(call, ctx)));
        self.settle(now);
        result.unwrap_or(Err(Refusal::NotFound))
    }

    /// A live call. Ended calls are in the journal.
    pub fn call(&self, id: &CallId) -> Option<&Call> {
        self.by_id.get(id).and_then(|leg| self.calls.get(leg)).map(LiveCall::record)
    }

    /// Every live call, oldest first.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.values().map(LiveCall::record)
    }

    /// How many calls there are.
    pub fn load(&self) -> NodeCalls {
        NodeCalls { live: self.gate.calls(), queued: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX) }
    }

    /// The call that is handling an input: where a panic came from.
    pub fn current_call(&self) -> Option<&CallId> {
        self.current.as_ref()
    }

    /// Ends a call as `internal-error` at once, after a panic in it. The other calls go on.
    pub fn abandon(&mut self, now: Instant, id: &CallId) {
        if let Some(&leg) = self.by_id.get(id) {
            self.with_call(now, leg, |call, ctx| call.abandon(ctx));
        }
        self.current = None;
        self.settle(now);
    }

    fn new_leg(&mut self, now: Instant) -> (LegId, Context<'_>) {
        self.last_leg += 1;
        let ctx = Context {
            now,
            clock: &self.clock,
            endpoint: &mut self.endpoint,
            sessions: &mut self.sessions,
            outputs: &mut self.outputs,
            timers: &mut self.timers,
            random: &mut self.random,
            prompts: &self.prompts,
        };
        (LegId(self.last_leg), ctx)
    }

    fn insert(&mut self, leg: LegId, call: LiveCall) {
        self.by_id.insert(call.record().id.clone(), leg);
        self.calls.insert(leg, call);
    }

    // Inbound calls.

    /// Somebody calls. What no route wants is refused before anything is kept of it.
    fn incoming(&mut self, now: Instant, session: SessionId, hop: Hop, request: &Message) {
        match self.take(now, session, hop, request) {
            Ok(()) => {}
            Err(refused) => {
                let retry_after = [("Retry-After".to_owned(), RETRY_AFTER.to_owned())];
                // The session is new and unanswered, so it can be refused; the endpoint forgets it by itself.
                let _ = match refused {
                    Refused::Stranger => self.endpoint.dismiss(now, session, 403, &[]),
                    Refused::Busy => self.endpoint.reject(now, session, 503, &retry_after),
                    Refused::With(status) => self.endpoint.reject(now, session, status, &[]),
                };
            }
        }
    }

    fn take(&mut self, now: Instant, session: SessionId, hop: Hop, request: &Message) -> Result<(), Refused> {
        let source = hop.remote.ip();
        let uri = request.request_uri().map_err(|_| Refused::With(400))?;
        let called = uri.user().unwrap_or_default().to_owned();
        let named = |name: &str| self.trunk_names.get(name).copied();
        let from_trunk = |name: &str| named(name).is_some_and(|index| self.trunks[index].sends_from(source));
        let route = match route(&self.routes, source, &called, from_trunk) {
            Verdict::Take(route) => route,
            Verdict::NotFound => return Err(Refused::With(404)),
            Verdict::Forbidden => return Err(Refused::Stranger),
        };
        let (flow, answer) = match &route.action {
            // 480: the route is right, but what it leads to is not there (any more).
            RouteAction::Flow(name) => (Some(self.flows.get(name).cloned().ok_or(Refused::With(480))?), true),
            RouteAction::Park => (None, false),
            &RouteAction::Reject(status) => return Err(Refused::With(status)),
        };
        // The trunk that the route names, else the first that has this address.
        let trunk = route
            .matches
            .trunk
            .as_deref()
            .and_then(named)
            .or_else(|| self.trunks.iter().position(|trunk| trunk.sends_from(source)));
        let has_room = trunk.is_none_or(|index| self.trunks[index].gate.has_room());
        if self.drain != Drain::Off || !self.gate.has_room() || !has_room {
            return Err(Refused::Busy);
        }
        // An INVITE without an offer wants ours in the 200; that comes with re-negotiation.
        if request.body().is_empty() {
            return Err(Refused::With(488));
        }
        let caller = request.from().map_err(|_| Refused::With(400))?;
        let caller_uri = caller.uri();
        let from = caller_uri.user().map_or_else(|| caller_uri.to_string(), str::to_owned);
        let at = self.timestamp(now);
        let id = id::ulid(at.unix_ms(), &mut self.random);
        let call = Call {
            trunk: trunk.map(|index| self.trunks[index].config.name.clone()),
            sip_call_id: request.call_id().ok().map(|id| id.to_string()),
            ..record(id, Direction::Inbound, called, from, at, &self.node)
        };
        let codecs = match trunk {
            Some(index) => self.trunks[index].config.codecs.clone(),
            None => Codec::ALL.to_vec(),
        };
        self.gate.enter_unpaced();
        if let Some(index) = trunk {
            self.trunks[index].gate.enter_unpaced();
        }
        let offer = Offer { sdp: request.body().clone(), codecs, answer };
        let plan = Plan { flow, max_duration: INBOUND_MAX_DURATION };
        let (leg, mut ctx) = self.new_leg(now);
        let live = LiveCall::inbound(&mut ctx, leg, call, trunk, session, offer, plan);
        self.insert(leg, live);
        Ok(())
    }

    // Trunks.

    fn on_registration(&mut self, now: Instant, id: RegistrationId, event: &RegistrationEvent) {
        let Some(&index) = self.registrations.get(&id) else { return };
        let trunk = &mut self.trunks[index];
        let Some(data) = trunk.on_registration(now, id, event) else { return };
        self.outputs.push_back(Output::NodeEvent { data, at_unix_ms: self.clock.unix_ms(now) });
    }

    /// Every trunk as the API shows it, in the order of the configuration.
    pub fn trunks(&self, now: Instant) -> impl Iterator<Item = control_api_types::Trunk> {
        self.trunks.iter().map(move |trunk| trunk.view(now, &self.clock))
    }

    // Flows and prompts.

    /// Checks a flow and keeps it under `name`. Calls that run the version before go on with that.
    pub fn put_flow(&mut self, name: &str, flow: Arc<Flow>) -> Result<(), Vec<Fault>> {
        self.check_flow(&flow)?;
        self.flows.insert(name.to_owned(), flow);
        Ok(())
    }

    /// Whether the flow could be put.
    pub fn check_flow(&self, flow: &Flow) -> Result<(), Vec<Fault>> {
        let mut faults = Faults::default();
        flow::check(flow, "", &self.prompts, &mut faults);
        faults.into_result(Some(()))
    }

    /// Whether it was there.
    pub fn delete_flow(&mut self, name: &str) -> bool {
        self.flows.remove(name).is_some()
    }

    /// A stored flow.
    pub fn flow(&self, name: &str) -> Option<&Arc<Flow>> {
        self.flows.get(name)
    }

    /// Every stored flow by name.
    pub fn flows(&self) -> impl Iterator<Item = (&str, &Arc<Flow>)> {
        self.flows.iter().map(|(name, flow)| (name.as_str(), flow))
    }

    /// Makes a prompt known by its id and name; the same audio may have several.
    pub fn put_prompt(&mut self, prompt: &Prompt) {
        self.prompts.put(prompt);
    }

    /// Forgets a prompt's name. Whether it was there; flows that use it go on without it.
    pub fn delete_prompt(&mut self, name: &str) -> bool {
        self.prompts.delete(name)
    }

    // Limits and drain.

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Changes the limits; live calls above a lower one go on.
    pub fn set_limits(&mut self, now: Instant, limits: Limits) {
        self.limits = limits;
        self.gate.set_capacity(capacity(&limits));
        self.settle(now);
    }

    /// Replaces the clock, when the machine's own was stepped.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Stops taking calls, or takes them again. Queued calls end as `limit-reached` at once, live ones by themselves or
    /// after `drain_timeout_s`.
    pub fn drain(&mut self, now: Instant, on: bool) {
        match (on, self.drain) {
            (true, Drain::Off) => {
                self.drain = Drain::Until(now + Duration::from_secs(u64::from(self.limits.drain_timeout_s)));
                let at_unix_ms = self.clock.unix_ms(now);
                self.outputs.push_back(Output::NodeEvent { data: EventData::EngineDraining {}, at_unix_ms });
                let queued: Vec<_> =
                    self.calls.iter().filter(|(_, call)| call.is_queued()).map(|(&leg, _)| leg).collect();
                for leg in queued {
                    self.hangup_leg(now, leg);
                }
            }
            (false, Drain::Until(_) | Drain::Over) => self.drain = Drain::Off,
            (true, Drain::Until(_) | Drain::Over) | (false, Drain::Off) => {}
        }
        self.settle(now);
    }

    /// Whether new calls are refused.
    pub fn is_draining(&self) -> bool {
        self.drain != Drain::Off
    }

    /// Whether it drains and the last CDR is out.
    pub fn is_drained(&self) -> bool {
        self.is_draining() && self.calls.is_empty()
    }

    /// Hangs up every call and takes back the registrations of all trunks: the last thing before the sockets close.
    pub fn stop(&mut self, now: Instant) {
        self.drain(now, true);
        self.drain = Drain::Over;
        self.hangup_all(now);
        for &id in self.registrations.keys() {
            // Unknown only if it is over, which is what we want.
            let _ = self.endpoint.unregister(now, id);
        }
        self.settle(now);
    }

    /// Whether no call is left, here or at the peer that has to hear of its end, and no registrar expects calls for us.
    pub fn is_stopped(&self) -> bool {
        self.calls.is_empty()
            && self.trunks.iter().all(|trunk| trunk.state() != TrunkState::Up)
            && self.endpoint.unanswered() == 0
    }

    fn hangup_all(&mut self, now: Instant) {
        let legs: Vec<_> = self.calls.keys().copied().collect();
        for leg in legs {
            self.hangup_leg(now, leg);
        }
    }

    fn hangup_leg(&mut self, now: Instant, leg: LegId) {
        self.with_call(now, leg, |call, ctx| {
            call.hangup(ctx, HangupReason::Normal, EndedBy::Engine, Evidence::Limit);
        });
    }

    fn timestamp(&self, now: Instant) -> Timestamp {
        Timestamp::from_unix_ms(self.clock.unix_ms(now))
    }
}

fn capacity(limits: &Limits) -> Capacity {
    Capacity { max_calls: Some(limits.max_calls), max_cps: Some(f64::from(limits.max_cps)) }
}

/// Why an inbound call is not taken.
enum Refused {
    /// No route is meant for its source, which may be forged: it is told once.
    Stranger,
    /// There is no room; it is worth trying again soon.
    Busy,
    /// This status says it all.
    With(u16),
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("node", &self.node)
            .field("calls", &self.calls.len())
            .finish_non_exhaustive()
    }
}
