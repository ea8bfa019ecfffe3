//! Calls: taken, begun by the limits, commanded.

use super::*;

use sip_core::Uri;

use control_api_types::{GiveFlow, Record, RecordingId};

use crate::dial::Via;
use crate::registrar::Account;
use crate::trunk::Trunk;

impl Engine {
    /// Takes an outbound call. It is journalled first ([`Output::Accept`]); its INVITE leaves when the journal has it
    /// and the limits allow.
    pub fn originate(&mut self, now: Instant, id: CallId, create: CreateCall) -> Result<Call, Refusal> {
        self.place(now, id, create, None)
    }

    /// The same for another call, if `parent` is one.
    pub(super) fn place(
        &mut self,
        now: Instant,
        id: CallId,
        create: CreateCall,
        parent: Option<CallId>,
    ) -> Result<Call, Refusal> {
        if self.drain != Drain::Off {
            return Err(Refusal::Draining);
        }
        if self.by_id.contains_key(&id) {
            return Err(Refusal::Conflict);
        }
        if self.waiting.len() >= self.limits.max_queued as usize {
            return Err(Refusal::QueueFull { retry_after: self.retry_after() });
        }
        let mut faults = Faults::default();
        let trunk = match &create.trunk {
            Some(name) => {
                let id = self.trunks.find(name);
                match id.and_then(|id| self.trunks.get(id)) {
                    None => faults.push("/trunk", format_args!("there is no trunk {name:?}")),
                    Some(trunk) if !trunk.config.enabled => {
                        faults.push("/trunk", format_args!("trunk {name:?} is disabled"));
                    }
                    Some(_) => {}
                }
                id
            }
            None => None,
        };
        let flow = self.flow_of(create.flow.as_ref(), &mut faults);
        let withheld_or_open = create.from.as_ref().is_none_or(|from| from == dial::ANONYMOUS);
        let shown =
            trunk.filter(|_| withheld_or_open).and_then(|id| self.trunks.get(id)).and_then(Trunk::caller_id);
        let its = trunk.and_then(|id| self.trunks.get(id));
        let attest = dial::attest(&create, its, &self.identities, &mut faults);
        let endpoint = self.endpoint_of(&create, &mut faults);
        let via = match (&create.trunk, endpoint) {
            (Some(_), _) => its.map(|trunk| Via::Trunk(trunk, shown.as_deref())),
            (None, Some(account)) => Some(Via::Endpoint(account)),
            (None, None) => create.to_endpoint().is_none().then_some(Via::Nobody),
        };
        // Without its trunk or endpoint nothing more can be said about who is called.
        let dial = via.and_then(|via| dial::plan(&create, via, &self.local, &mut faults));
        let endpoint = endpoint.map(|account| account.name.clone());
        let mut dial = faults.into_result(dial).map_err(Refusal::Validation)?;
        if let Some(trunk) = trunk.filter(|_| withheld_or_open).and_then(|id| self.trunks.get_mut(id)) {
            trunk.caller_id_shown();
        }
        dial.assertion = attest.map(|attest| dial::assertion(attest, &create, &dial, &self.node));

        let at = self.timestamp(now);
        let call = Call {
            trunk: create.trunk,
            endpoint,
            variables: create.variables,
            client_state: create.client_state,
            parent_call_id: parent,
            ..record(id, Direction::Outbound, create.to, dial.from.clone(), at, &self.node)
        };
        let plan = Plan {
            flow,
            record: create.record,
            max_duration: Duration::from_secs(u64::from(create.max_duration_s)),
            amd: create.amd.filter(|amd| amd.enabled).map(|amd| amd.parameters),
        };
        let queue_timeout = Duration::from_secs(u64::from(self.limits.queue_timeout_s));
        let (leg, mut ctx) = self.new_leg(now);
        let live = LiveCall::outbound(&mut ctx, leg, call.clone(), trunk, dial, plan, queue_timeout);
        self.waiting.insert(leg);
        self.insert(leg, live);
        Ok(call)
    }

    /// The endpoint that is called, by its name or by its address of record.
    fn endpoint_of(&self, create: &CreateCall, faults: &mut Faults) -> Option<&Account> {
        if let Some(name) = create.to_endpoint() {
            let account = self.registrar.account(name);
            if account.is_none() {
                faults.push("/to", format_args!("there is no endpoint {name:?}"));
            }
            return account;
        }
        // What is no URI is reported with the rest.
        let uri: Uri = create.to.parse().ok().filter(|_| create.trunk.is_none() && create.to_is_uri())?;
        self.registrar.owner(&uri).filter(|_| self.registrar.is_here(&uri))
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
                flow::check(flow, "/flow", &self.prompts, &self.queues, faults);
                Some(Arc::clone(flow))
            }
        }
    }

    pub(super) fn accepted(&mut self, now: Instant, id: &CallId) {
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
    pub(super) fn pace(&mut self, now: Instant) {
        self.queue.set_next_turn(None);
        while !self.queue.is_empty() {
            match self.gate.admit(now) {
                Admit::Now => {}
                Admit::At(turn) => return self.queue.set_next_turn(Some(turn)),
                Admit::Full => return,
            }
            let trunks = &self.trunks;
            let admit = |trunk: Option<TrunkId>| match trunk.and_then(|id| trunks.get(id)) {
                Some(trunk) if !trunk.is_settled() => Admit::Full,
                Some(trunk) => trunk.gate.admit(now),
                None => Admit::Now,
            };
            let Some((_, leg)) = self.queue.pop(admit) else { return };
            self.gate.enter(now);
            self.with_call(now, leg, LiveCall::begin);
        }
    }

    /// Ends a call, whatever it does. A call that ends already goes on ending.
    pub fn hangup(&mut self, now: Instant, id: &CallId, reason: HangupReason) -> Result<Call, Refusal> {
        self.command(now, id, |call, ctx| {
            call.hangup(ctx, reason, EndedBy::Api, Evidence::Api);
            Ok(call.record().clone())
        })
    }

    /// Gives an answered call that is in no bridge a flow, in the place of the one that it has.
    pub fn give_flow(&mut self, now: Instant, id: &CallId, given: GiveFlow) -> Result<Call, Refusal> {
        let leg = *self.by_id.get(id).ok_or(Refusal::NotFound)?;
        let GiveFlow { flow, variables } = given;
        let mut faults = Faults::default();
        let flow = self.flow_of(Some(&flow), &mut faults);
        let flow = faults.into_result(flow).map_err(Refusal::Validation)?;
        if let (Some(_), Some(call)) = (self.bridges.of(leg), self.calls.get(&leg)) {
            return Err(call.wrong_state("it is in a bridge; take it out first"));
        }
        if let (true, Some(call)) = (self.dials.is_transferor(leg), self.calls.get(&leg)) {
            return Err(call.wrong_state("it hands its call over, and may have to take it back"));
        }
        let given = self.with_call(now, leg, |call, ctx| Some(call.give_flow(ctx, flow, variables)));
        given.unwrap_or(Err(Refusal::NotFound))?;
        // Those whom the flow before has called, before this one calls others.
        self.call_off(now, leg);
        // As it is now: the flow may end it at once.
        let shown = self.calls.get(&leg).map(|call| call.record().clone());
        self.settle(now);
        shown.ok_or(Refusal::NotFound)
    }

    /// Tells an unanswered inbound caller that it rings (180).
    pub fn ring(&mut self, now: Instant, id: &CallId) -> Result<(), Refusal> {
        self.command(now, id, |call, ctx| call.ring(ctx))
    }

    /// Answers an unanswered inbound call; it is parked then.
    pub fn answer(&mut self, now: Instant, id: &CallId) -> Result<(), Refusal> {
        self.command(now, id, |call, ctx| call.answer(ctx))
    }

    /// Holds an answered call (its peer hears what is played and is not heard), or takes it back. The peer's answer is
    /// told by `call.held`, `call.resumed` or `call.hold_failed`.
    pub fn hold(&mut self, now: Instant, id: &CallId, on: bool) -> Result<(), Refusal> {
        self.command(now, id, |call, ctx| call.hold(ctx, on))
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

    /// Plays on an answered call whose flow, if any, leaves the media free (at `park`, `pause`, `bridge` and
    /// `amd` steps). It replaces what plays and gathers.
    pub fn play(&mut self, now: Instant, id: &CallId, play: Play) -> Result<PlayId, Refusal> {
        self.check_play(id, "", Some(&play))?;
        self.command(now, id, |call, ctx| call.play(ctx, play))
    }

    /// Stops what plays; the flow goes on to its next step.
    pub fn stop_play(&mut self, now: Instant, id: &CallId) -> Result<(), Refusal> {
        self.command(now, id, |call, ctx| call.stop_play(ctx))
    }

    /// Gathers digits on an answered call; the rules of [`Engine::play`] hold.
    pub fn gather(&mut self, now: Instant, id: &CallId, gather: Gather) -> Result<(), Refusal> {
        self.check_play(id, "/play", gather.play.as_ref())?;
        self.command(now, id, |call, ctx| call.gather(ctx, gather))
    }

    /// Begins, pauses, goes on with or ends the recording of an answered call; its id.
    pub fn record(&mut self, now: Instant, id: &CallId, record: Record) -> Result<RecordingId, Refusal> {
        self.command(now, id, |call, ctx| call.on_record(ctx, record))
    }

    /// Sends digits to the far side of an answered call; the rules of [`Engine::play`] hold, but what plays only waits.
    /// `call.dtmf.sent` follows.
    pub fn dtmf(&mut self, now: Instant, id: &CallId, dtmf: &Dtmf) -> Result<(), Refusal> {
        self.command(now, id, |call, ctx| call.dtmf(ctx, dtmf))
    }

    /// `pointer`: of the play in the request.
    fn check_play(&self, id: &CallId, pointer: &str, play: Option<&Play>) -> Result<(), Refusal> {
        if !self.by_id.contains_key(id) {
            return Err(Refusal::NotFound);
        }
        let mut faults = Faults::default();
        for (at, sound) in play.into_iter().flat_map(|play| play.source.sounds_at(pointer)) {
            self.prompts.check(sound, &at, &mut faults);
        }
        faults.into_result(Some(())).map_err(Refusal::Validation)
    }

    pub(super) fn command<R>(
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
        self.by_id.get(id).and_then(|leg| self.calls.get(leg)).map(|call| call.record())
    }

    /// Every live call, oldest first.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.values().map(|call| call.record())
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
}
