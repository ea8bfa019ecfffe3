//! The engine: owns the SIP endpoint and every call, and gives each input to the one it is for.

mod bridges;
mod calls;
mod dials;
mod drain;
mod endpoints;
mod expected;
mod inbound;
mod queues;
mod resources;
mod transfers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api_types::flow::Flow;
use control_api_types::{
    BridgeDtmf, Call, CallId, CreateCall, Direction, Dtmf, EndedBy, EventData, Fault, Faults, FlowRef,
    Gather, HangupReason, Limits, NodeCalls, Play, PlayId, Prompt, Srtp, Timestamp,
};
use media_core::sdp::Fingerprint;
use media_core::{Codec, LegId, MediaEvent, RtpTimeout};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use sip_core::digest::Verifier;
use sip_core::{
    Endpoint, EndpointConfig, Event, Hop, Host, Message, Method, RequestId, SessionEvent, SessionId,
};

use self::dials::Dials;
use self::expected::Expectations;
pub use self::queues::QueueLoad;
use crate::admission::{Admit, Capacity, Gate, Queue};
use crate::bridge::Bridges;
use crate::call::{Context, LiveCall, Offer, Plan, Questions, record};
use crate::clock::Clock;
use crate::config::{ConfigError, EngineConfig, RegistrarConfig, Route, RouteAction, TrunkConfig};
use crate::dial;
use crate::disposition::Evidence;
use crate::flow;
use crate::id;
use crate::io::{Input, MediaInput, Output, Refusal};
use crate::keypress::Keypress;
use crate::prompt::Prompts;
use crate::queue::Queues;
use crate::registrar::{NameTaken, Registrar, RegistrarCounts};
use crate::route::{Verdict, route};
use crate::stir::{Identities, StirConfig};
use crate::timers::{CallTimer, Timers};
use crate::trunk::{Outcome, Sign, TrunkId, Trunks};

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

    /// Boxed: nodes of the map that are half full would waste half of so large a value.
    calls: BTreeMap<LegId, Box<LiveCall>>,
    by_id: BTreeMap<CallId, LegId>,
    sessions: BTreeMap<SessionId, LegId>,
    last_leg: u64,
    bridges: Bridges,
    dials: Dials,
    /// Calls that something has happened to and that have to do with others: in bridges, dialled or dialling, or with a wish.
    stirred: VecDeque<LegId>,
    /// The call that handles an input now.
    current: Option<CallId>,

    trunks: Trunks,
    routes: Vec<Route>,
    registrar: Registrar,
    flows: BTreeMap<String, Arc<Flow>>,
    prompts: Prompts,
    queues: Queues,
    identities: Identities,

    limits: Limits,
    rtp_timeout: RtpTimeout,
    /// Of the certificate of handshakes with browsers.
    fingerprint: Option<Fingerprint>,
    inbound_max_duration: Duration,
    gate: Gate,
    queue: Queue,
    /// Outbound calls that have not begun: those in the queue and those that the journal does not have yet.
    waiting: BTreeSet<LegId>,
    drain: Drain,
    expectations: Expectations,
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
    /// A gateway is to be probed, or has rested enough.
    Trunk,
    /// A queued call is due by the rate limits.
    Pacing,
    /// A contact of an endpoint expires.
    Contact,
    /// The drain is over.
    Drain,
}

impl Engine {
    /// An engine that begins at `now`: trunks that register do so at once. `seed` must be unguessable: tags, branches,
    /// SSRCs and ids come from it.
    pub fn new(now: Instant, config: EngineConfig, seed: [u8; 32]) -> Result<Self, ConfigError> {
        let EngineConfig { node, clock, sip, trunks, routes, registrar, limits, stir, .. } = config;
        let EngineConfig { rtp_timeout, fingerprint, inbound_max_duration, .. } = config;
        let info_types = Keypress::TYPES.map(str::to_owned).to_vec();
        let sip = EndpointConfig { info_types, ..sip };
        let advertised = sip.listeners.first().ok_or(ConfigError::NoListener)?.advertised;
        let mut random = ChaCha20Rng::from_seed(seed);
        let mut sip_seed = [0; 32];
        random.fill_bytes(&mut sip_seed);
        let registrar = self::registrar(now, registrar, &sip, &mut random)?;
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
            bridges: Bridges::default(),
            dials: Dials::default(),
            stirred: VecDeque::new(),
            current: None,
            trunks: Trunks::default(),
            routes: Vec::new(),
            registrar,
            flows: BTreeMap::new(),
            prompts: Prompts::default(),
            queues: Queues::default(),
            identities: Identities::new(stir),
            gate: Gate::new(capacity(&limits)),
            rtp_timeout,
            fingerprint,
            inbound_max_duration,
            limits,
            queue: Queue::default(),
            waiting: BTreeSet::new(),
            drain: Drain::Off,
            expectations: Expectations::Changed,
        };
        for config in trunks {
            if engine.trunks.find(&config.name).is_some() {
                return Err(ConfigError::DuplicateTrunk { trunk: config.name });
            }
            engine.trunks.put(now, config, &mut engine.endpoint, &mut engine.random)?;
        }
        for Route { matches, .. } in &routes {
            if let Some(trunk) = matches.trunk.as_ref().filter(|name| engine.trunks.find(name).is_none()) {
                return Err(ConfigError::UnknownTrunk { trunk: trunk.clone() });
            }
            if let Some(endpoint) = matches
                .endpoint
                .as_ref()
                .filter(|&name| name != "*" && engine.registrar.account(name).is_none())
            {
                return Err(ConfigError::UnknownEndpoint { endpoint: endpoint.clone() });
            }
        }
        engine.routes = routes;
        engine.run_endpoint(now);
        engine.tell_expectations();
        Ok(engine)
    }

    // The run loop.

    /// Takes what the outside reports. Drain [`Engine::poll_output`] afterwards.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Sip(input) => {
                if let sip_core::Input::StreamEnded { hop } = &input {
                    let changes = self.registrar.stream_failed(hop.transport, hop.remote);
                    self.publish_contacts(now, &changes);
                }
                self.endpoint.handle_input(now, input);
            }
            Input::Media { leg, input } => {
                if let MediaInput::Event(MediaEvent::Digit { digit, method, .. }) = &input {
                    self.key_pressed(now, leg, *digit, *method);
                }
                self.with_call(now, leg, |call, ctx| call.on_media(ctx, input));
            }
            Input::BridgeFailed { bridge } => self.bridge_failed(now, bridge),
            Input::Accepted { call } => self.accepted(now, &call),
            Input::Certificate { leg, result } => {
                let chain = result.as_deref().map_err(|&why| why);
                self.with_call(now, leg, |call, ctx| call.on_certificate(ctx, chain));
            }
            Input::RouteAnswered { leg, answer } => {
                self.with_call(now, leg, |call, ctx| call.on_route(ctx, answer))
            }
            Input::StepAnswered { leg, question, answer } => {
                self.with_call(now, leg, |call, ctx| call.step_answered(ctx, question, answer));
            }
        }
        self.settle(now);
    }

    /// Runs every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.trunks.handle_timeout(now, &mut self.endpoint, &mut self.random);
        while let Some((leg, timer)) = self.timers.pop_due(now) {
            self.with_call(now, leg, |call, ctx| call.on_timer(ctx, timer));
        }
        self.expire_contacts(now);
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
        let trunk = self.trunks.due().map(|at| (at, TimerKind::Trunk));
        let contact = self.registrar.next_expiry().map(|at| (at, TimerKind::Contact));
        [sip, call, pacing, trunk, contact, drain].into_iter().flatten().min_by_key(|&(at, _)| at)
    }

    /// Does everything that follows from what was just done.
    fn settle(&mut self, now: Instant) {
        loop {
            self.run_endpoint(now);
            self.pace(now);
            self.run_endpoint(now);
            if !self.run_bridges(now) {
                break;
            }
        }
        self.tell_expectations();
        while let Some(data) = self.trunks.poll_news() {
            let at_unix_ms = self.clock.unix_ms(now);
            self.outputs.push_back(Output::NodeEvent { data, at_unix_ms });
        }
    }

    fn run_endpoint(&mut self, now: Instant) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                sip_core::Output::Transmit(transmit) => self.outputs.push_back(Output::Transmit(transmit)),
                sip_core::Output::Resolve { query, question } => {
                    self.outputs.push_back(Output::Resolve { query, question });
                }
                sip_core::Output::Event(Event::Session {
                    id,
                    event: SessionEvent::Incoming { hop, request, replaces },
                }) => {
                    self.incoming(now, id, hop, &request, replaces);
                }
                sip_core::Output::Event(Event::Session { id, event }) => {
                    if let Some(&leg) = self.sessions.get(&id) {
                        self.with_call(now, leg, |call, ctx| call.on_session(ctx, id, event));
                    }
                }
                sip_core::Output::Event(Event::Located { id, addresses }) => {
                    self.trunks.located(id, &addresses);
                    self.expectations_changed();
                }
                sip_core::Output::Event(Event::Registration { id, event }) => {
                    self.trunks.on_registration(now, id, &event);
                }
                // The only requests outside dialogs that are sent are probes.
                sip_core::Output::Event(Event::Response { id, outcome }) => {
                    self.trunks.probed(now, id, Sign::of_probe(&outcome), &mut self.random);
                }
                sip_core::Output::Event(Event::Request { id, hop, request }) => {
                    self.on_request(now, id, hop, &request);
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
        let Some(call) = self.calls.get(&leg) else { return R::default() };
        self.current = Some(call.record().id.clone());
        let (calls, mut ctx) = self.context(now);
        let result = calls.get_mut(&leg).map(|call| handle(call, &mut ctx)).unwrap_or_default();
        self.current = None;
        let Some(call) = self.calls.get(&leg) else { return result };
        self.dials.note(leg, call);
        if call.has_wish() || self.bridges.of(leg).is_some() || self.dials.concern(leg) {
            self.stirred.push_back(leg);
        }
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
        let trunk = call.trunk().and_then(|id| self.trunks.get_mut(id));
        if call.is_admitted() {
            self.gate.leave();
        }
        if let Some(trunk) = trunk {
            if call.is_admitted() {
                trunk.gate.leave();
            }
            if let (true, Some(disposition)) = (call.is_telling(), call.record().disposition) {
                trunk.record(Outcome { disposition, post_dial_delay: call.post_dial_delay() });
            }
        }
    }

    fn new_leg(&mut self, now: Instant) -> (LegId, Context<'_>) {
        self.last_leg += 1;
        (LegId(self.last_leg), self.context(now).1)
    }

    /// The calls, and what a call touches outside itself.
    fn context(&mut self, now: Instant) -> (&mut BTreeMap<LegId, Box<LiveCall>>, Context<'_>) {
        let ctx = Context {
            now,
            clock: &self.clock,
            endpoint: &mut self.endpoint,
            sessions: &mut self.sessions,
            outputs: &mut self.outputs,
            timers: &mut self.timers,
            trunks: &mut self.trunks,
            registrar: &self.registrar,
            random: &mut self.random,
            flows: &self.flows,
            prompts: &self.prompts,
            queues: &mut self.queues,
            identities: &mut self.identities,
            rtp_timeout: self.rtp_timeout,
            fingerprint: self.fingerprint,
        };
        (&mut self.calls, ctx)
    }

    fn insert(&mut self, leg: LegId, call: LiveCall) {
        self.by_id.insert(call.record().id.clone(), leg);
        self.calls.insert(leg, Box::new(call));
    }

    fn timestamp(&self, now: Instant) -> Timestamp {
        Timestamp::from_unix_ms(self.clock.unix_ms(now))
    }
}

/// The registrar with the configured endpoints.
fn registrar(
    now: Instant,
    config: RegistrarConfig,
    sip: &EndpointConfig,
    random: &mut ChaCha20Rng,
) -> Result<Registrar, ConfigError> {
    let mut secret = [0; 32];
    random.fill_bytes(&mut secret);
    let addresses = sip.listeners.iter().flat_map(|listener| [listener.bound.ip(), listener.advertised.ip()]);
    let addresses = addresses.map(|ip| ip.to_canonical()).collect();
    let verifier = Verifier::new(
        config.realm.as_str(),
        secret,
        now,
        Registrar::NONCE_LIFETIME,
        config.digest_algorithms,
    );
    let mut registrar = Registrar::new(&config.realm, config.domain, addresses, verifier);
    for account in config.accounts {
        let endpoint = account.name.clone();
        // Twice the same name would be taken for a change.
        if registrar.account(&endpoint).is_some() {
            return Err(ConfigError::DuplicateEndpoint { user: endpoint.clone(), endpoint });
        }
        // Nothing is registered yet, so nothing has changed.
        let put = registrar.put(account).map(drop);
        put.map_err(|NameTaken(user)| ConfigError::DuplicateEndpoint { endpoint, user })?;
    }
    Ok(registrar)
}

fn capacity(limits: &Limits) -> Capacity {
    Capacity { max_calls: Some(limits.max_calls), max_cps: Some(f64::from(limits.max_cps)) }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("node", &self.node)
            .field("calls", &self.calls.len())
            .finish_non_exhaustive()
    }
}
