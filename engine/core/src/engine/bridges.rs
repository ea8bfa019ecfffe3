//! Bridges: made, joined and left by the API and by flows, and ended with their calls.

use control_api_types::{
    Bridge, BridgeCall, CreateBridge, JoinBridge, MAX_BRIDGED, MuteDirection, OnEnd, Role,
};

use media_core::dtmf::Method;
use media_core::{Digit, Keys};

use super::*;
use crate::bridge::{Part, Party, Standing};
use crate::call::{Parting, Partner, Wish};
use crate::io::BridgePlan;

/// When a bridge that nobody is in may be asked for again: a room waits for its people about so long.
const EMPTY_BRIDGE_RETRY: Duration = Duration::from_secs(30);

impl Engine {
    /// Bridges an answered call with another.
    pub fn bridge(&mut self, now: Instant, id: &CallId, request: &BridgeCall) -> Result<(), Refusal> {
        let BridgeCall { with, on_end, with_on_end, dtmf } = request;
        let leg = *self.by_id.get(id).ok_or(Refusal::NotFound)?;
        let other = *self.by_id.get(with).ok_or_else(|| no_call("/with", with))?;
        if leg == other {
            return Err(fault("/with", "a call cannot be bridged with itself".to_owned()));
        }
        self.is_free(leg)?;
        self.is_free(other)?;
        let ends = [(leg, self.on_end(leg, *on_end)), (other, self.on_end(other, *with_on_end))];
        self.pair(now, ends, *dtmf);
        self.settle(now);
        Ok(())
    }

    /// Makes a bridge. One that was made by the same request is answered as it is.
    pub fn create_bridge(&mut self, now: Instant, request: CreateBridge) -> Result<Bridge, Refusal> {
        let id = request.id.clone().unwrap_or_else(|| self.new_bridge_id(now));
        if let Some(there) = self.bridges.get(&id) {
            return if there.request == request { Ok(there.show()) } else { Err(Refusal::Conflict) };
        }
        let mut faults = Faults::default();
        if let Some(music) = request.hold_music.as_ref().filter(|music| self.prompts.find(music).is_none()) {
            faults.push("/hold_music", format_args!("there is no prompt {music:?}"));
        }
        for (index, call) in request.calls.iter().enumerate() {
            if !self.by_id.contains_key(call) {
                faults.push(format!("/calls/{index}"), format_args!("there is no live call {call}"));
            }
        }
        faults.into_result(Some(())).map_err(Refusal::Validation)?;
        let legs: Vec<LegId> =
            request.calls.iter().filter_map(|call| self.by_id.get(call).copied()).collect();
        legs.iter().try_for_each(|leg| self.is_free(*leg))?;
        if legs.is_empty() {
            self.has_room_for_empty_one()?;
        }
        self.bridges.make(id.clone(), request, self.timestamp(now));
        for leg in legs {
            self.join(now, &id, leg, Part::talk(self.on_end(leg, None)));
        }
        self.arrange(now, &id);
        // As it was made: what follows may end it at once.
        let shown = self.bridges.get(&id).map(|bridge| bridge.show());
        self.settle(now);
        shown.ok_or(Refusal::NotFound)
    }

    /// Takes a call into a bridge; one that is in it plays another part from now on.
    pub fn join_bridge(&mut self, now: Instant, id: &str, request: JoinBridge) -> Result<Bridge, Refusal> {
        let JoinBridge { call_id, role, on_end, whisper_to } = request;
        let bridge = self.bridges.get(id).ok_or(Refusal::NotFound)?;
        let leg = *self.by_id.get(&call_id).ok_or_else(|| no_call("/call_id", &call_id))?;
        let is_there = self.bridges.of(leg) == Some(id);
        if !is_there {
            if bridge.is_full() {
                return Err(fault("/call_id", format!("a bridge takes at most {MAX_BRIDGED} calls")));
            }
            self.is_free(leg)?;
        }
        if role == Role::Whisper {
            whispers_to_somebody(bridge, leg, &whisper_to)?;
        }
        let there = bridge.parties.iter().find(|party| party.leg == leg).map(|party| party.part.on_end);
        let on_end = self.on_end(leg, on_end.or(there));
        let part = Part { role, on_end, whisper_to };
        if is_there {
            self.play_part(now, id, leg, part);
        } else {
            self.join(now, id, leg, part);
        }
        // As it is with the change, which may end it at once: of two talkers one only listens from now on.
        let shown = self.bridges.get(id).map(|bridge| bridge.show());
        self.arrange(now, id);
        self.settle(now);
        shown.ok_or(Refusal::NotFound)
    }

    /// Takes a call out of a bridge; it goes on by itself, and is not hung up. `false`: it is not in it.
    pub fn leave_bridge(&mut self, now: Instant, id: &str, call: &CallId) -> Result<bool, Refusal> {
        self.bridges.get(id).ok_or(Refusal::NotFound)?;
        let Some(&leg) = self.by_id.get(call).filter(|leg| self.bridges.of(**leg) == Some(id)) else {
            return Ok(false);
        };
        self.bridges.leave(leg);
        let parting = Parting::of(EndedBy::Api);
        self.arrange_after(now, id, &parting);
        self.with_call(now, leg, |call, ctx| call.unbridged(ctx, OnEnd::Continue, parting));
        self.settle(now);
        Ok(true)
    }

    /// Ends a bridge; its calls go on as each has agreed. `false`: there is none.
    pub fn delete_bridge(&mut self, now: Instant, id: &str) -> bool {
        let was = self.end_bridge(now, id, &Parting::of(EndedBy::Api));
        self.settle(now);
        was
    }

    /// Every bridge, by id.
    pub fn bridges(&self) -> impl Iterator<Item = Bridge> {
        self.bridges.all().map(|bridge| bridge.show())
    }

    /// A bridge.
    pub fn bridge_by_id(&self, id: &str) -> Option<Bridge> {
        self.bridges.get(id).map(|bridge| bridge.show())
    }

    /// The bridge that an [`Output::Bridge`] is about, unless that ends it.
    pub fn bridge_by_number(&self, number: media_core::BridgeId) -> Option<Bridge> {
        self.bridges.find(number).map(|bridge| bridge.show())
    }

    /// Mutes an answered call in one direction or both, or ends that. It counts in bridges.
    pub fn mute(
        &mut self,
        now: Instant,
        id: &CallId,
        direction: MuteDirection,
        on: bool,
    ) -> Result<(), Refusal> {
        self.command(now, id, |call, ctx| call.mute(ctx, direction, on))
    }

    /// The media shell could not make this bridge, or change it.
    pub(super) fn bridge_failed(&mut self, now: Instant, number: media_core::BridgeId) {
        if let Some(id) = self.bridges.find(number).map(|bridge| bridge.id().to_owned()) {
            let error = Some("the media threads have no room for the bridge");
            self.end_bridge(now, &id, &Parting { cause: None, by: EndedBy::Engine, error });
        }
    }

    /// Brings bridges in line with the calls that something has happened to. `false`: there was nothing to do.
    pub(super) fn run_bridges(&mut self, now: Instant) -> bool {
        let any = !self.stirred.is_empty();
        while !self.stirred.is_empty() {
            let stirred = std::mem::take(&mut self.stirred);
            let is_conversing = |leg: &LegId| self.calls.get(leg).is_some_and(|call| call.is_conversing());
            let (conversing, ended): (Vec<_>, Vec<_>) = stirred.into_iter().partition(is_conversing);
            self.gone(now, &ended);
            for leg in ended {
                self.dial_stirs(now, leg);
            }
            for leg in conversing {
                self.dial_stirs(now, leg);
                self.stirs(now, leg);
            }
        }
        any
    }

    /// Calls have ended: their bridges go on without them, or end. All of them leave before a bridge is looked at, for the
    /// legs of all are closed already.
    fn gone(&mut self, now: Instant, ended: &[LegId]) {
        let mut left: BTreeMap<String, Parting> = BTreeMap::new();
        for leg in ended {
            if let Some((id, party)) = self.bridges.leave(*leg) {
                let parting = Parting { cause: Some(party.call), ..Parting::of(EndedBy::Engine) };
                left.entry(id).or_insert(parting);
            }
        }
        for (id, parting) in &left {
            self.arrange_after(now, id, parting);
        }
    }

    /// Something has happened to a call that goes on.
    fn stirs(&mut self, now: Instant, leg: LegId) {
        let Some(call) = self.calls.get_mut(&leg) else { return };
        let (wish, sound) = (call.take_wish(), call.sound());
        if let Some(wish) = wish {
            self.grant(now, leg, wish);
        }
        self.sounds(now, leg, sound);
    }

    /// What a flow wants its call to do with others. Where that cannot be, its next step comes at once.
    fn grant(&mut self, now: Instant, leg: LegId, wish: Wish) {
        match wish {
            Wish::Dial(step) => self.dial(now, leg, &step),
            Wish::Transfer(to) => self.transfer_by_flow(now, leg, to),
            Wish::HandOver(asked) => self.hand_over(now, leg, *asked),
            Wish::Bridge(partner) => {
                if let Err(why) = self.meet(now, leg, &partner) {
                    self.with_call(now, leg, |call, ctx| call.bridge_refused(ctx, why));
                }
            }
        }
    }

    fn meet(&mut self, now: Instant, leg: LegId, partner: &Partner) -> Result<(), String> {
        if self.bridges.of(leg).is_some() {
            return Err("the call is in a bridge already".to_owned());
        }
        match partner {
            Partner::Call(name) => {
                let found = CallId::new(name).ok().and_then(|id| self.by_id.get(&id).copied());
                let other = found.ok_or_else(|| format!("there is no live call {name:?}"))?;
                if other == leg {
                    return Err("a call cannot be bridged with itself".to_owned());
                }
                self.is_free(other).map_err(|refusal| refusal.to_string())?;
                let ends = [(leg, OnEnd::Continue), (other, self.on_end(other, None))];
                self.pair(now, ends, BridgeDtmf::Relay);
            }
            Partner::Bridge(id) => {
                let bridge = self.bridges.get(id).ok_or_else(|| format!("there is no bridge {id:?}"))?;
                if bridge.is_full() {
                    return Err(format!("the bridge {id:?} has the {MAX_BRIDGED} calls that a bridge takes"));
                }
                self.join(now, id, leg, Part::talk(OnEnd::Continue));
                self.arrange(now, id);
            }
        }
        Ok(())
    }

    /// A call was muted or held, or that is over.
    fn sounds(&mut self, now: Instant, leg: LegId, sound: crate::bridge::Sound) {
        let Some(id) = self.bridges.of(leg).map(str::to_owned) else { return };
        let Some(bridge) = self.bridges.get_mut(&id) else { return };
        let Some(party) = bridge.parties.iter_mut().find(|party| party.leg == leg) else { return };
        let before = std::mem::replace(&mut party.sound, sound);
        if before == sound {
            return;
        }
        self.arrange(now, &id);
    }

    /// What becomes of a call when its bridge ends: what was asked for; otherwise one that waits in a queue goes on by its
    /// flow, which knows of the end, and any other is hung up.
    fn on_end(&self, leg: LegId, asked: Option<OnEnd>) -> OnEnd {
        let waits = self.calls.get(&leg).is_some_and(|call| call.is_enqueued());
        asked.unwrap_or(if waits { OnEnd::Continue } else { OnEnd::Hangup })
    }

    fn new_bridge_id(&mut self, now: Instant) -> String {
        id::ulid(self.clock.unix_ms(now), &mut self.random).to_string()
    }

    pub(super) fn pair(&mut self, now: Instant, legs: [(LegId, OnEnd); 2], dtmf: BridgeDtmf) {
        let id = self.new_bridge_id(now);
        let calls = legs.iter().filter_map(|(leg, _)| Some(self.calls.get(leg)?.record().id.clone()));
        let request = CreateBridge { id: Some(id.clone()), calls: calls.collect(), hold_music: None, dtmf };
        self.bridges.make(id.clone(), request, self.timestamp(now));
        for (leg, on_end) in legs {
            self.join(now, &id, leg, Part::talk(on_end));
        }
        self.arrange(now, &id);
    }

    fn join(&mut self, now: Instant, id: &str, leg: LegId, part: Part) {
        let Some(call) = self.calls.get(&leg) else { return };
        let record = call.record();
        let agent = record.endpoint.is_some();
        let (call_id, sound) = (record.id.clone(), call.sound());
        let party = Party { leg, call: call_id, part, agent, sound, told: false, music: false };
        self.bridges.join(id, party);
        self.with_call(now, leg, |call, ctx| call.joins(ctx, id));
    }

    /// A call that is in the bridge plays this part from now on.
    fn play_part(&mut self, now: Instant, id: &str, leg: LegId, part: Part) {
        let Some(bridge) = self.bridges.get_mut(id) else { return };
        let Some(party) = bridge.parties.iter_mut().find(|party| party.leg == leg) else { return };
        if party.part != part {
            party.part = part.clone();
            self.with_call(now, leg, |call, ctx| call.plays(ctx, id, part));
        }
    }

    fn arrange(&mut self, now: Instant, id: &str) {
        self.arrange_after(now, id, &Parting::of(EndedBy::Engine));
    }

    /// Does what follows from a change in a bridge, which ends for this reason if it ends.
    fn arrange_after(&mut self, now: Instant, id: &str, parting: &Parting) {
        let Some(bridge) = self.bridges.get_mut(id) else { return };
        match bridge.stand() {
            Standing::Waiting => self.turn_music(now, id),
            Standing::Over => {
                self.end_bridge(now, id, parting);
            }
            Standing::Met => {
                let calls: Vec<CallId> = bridge.parties.iter().map(|party| party.call.clone()).collect();
                let untold = bridge.parties.iter_mut().filter(|party| !party.told);
                let untold: Vec<LegId> = untold
                    .map(|party| {
                        // What it heard while it waited ends.
                        (party.told, party.music) = (true, false);
                        party.leg
                    })
                    .collect();
                let plan = BridgePlan { members: bridge.members(), keys: bridge.keys() };
                let output = Output::Bridge { bridge: bridge.number, plan: Some(plan) };
                for leg in untold {
                    self.with_call(now, leg, |call, ctx| {
                        let own = call.record().id.clone();
                        let others = calls.iter().filter(|other| **other != own).cloned().collect();
                        call.bridged(ctx, id, others);
                    });
                }
                self.outputs.push_back(output);
                self.turn_music(now, id);
            }
        }
    }

    /// Plays music to those in a bridge who wait, and to no others.
    fn turn_music(&mut self, now: Instant, id: &str) {
        let Some(bridge) = self.bridges.get_mut(id) else { return };
        let turned = bridge.turn_music();
        let music = bridge.music().map(str::to_owned);
        for (leg, waits) in turned {
            let music = music.as_deref().filter(|_| waits);
            self.with_call(now, leg, |call, ctx| call.music(ctx, music));
        }
    }

    /// A key was pressed in a bridge. Those who are to have it and have not got its packets get it.
    pub(super) fn key_pressed(&mut self, now: Instant, leg: LegId, digit: Digit, method: Method) {
        let Some(bridge) = self.bridges.of(leg).and_then(|id| self.bridges.get(id)) else { return };
        if !bridge.has_met() || bridge.keys() == Keys::Consumed {
            return;
        }
        for listener in bridge.listeners(leg) {
            self.with_call(now, listener, |call, ctx| call.hear_key(ctx, digit, method));
        }
    }

    fn end_bridge(&mut self, now: Instant, id: &str, parting: &Parting) -> bool {
        let Some(bridge) = self.bridges.end(id) else { return false };
        if bridge.has_met() {
            self.outputs.push_back(Output::Bridge { bridge: bridge.number, plan: None });
        }
        for party in bridge.parties {
            let parting = parting.clone();
            self.with_call(now, party.leg, |call, ctx| call.unbridged(ctx, party.part.on_end, parting));
        }
        true
    }

    fn is_free(&self, leg: LegId) -> Result<(), Refusal> {
        let call = self.calls.get(&leg).ok_or(Refusal::NotFound)?;
        call.may_be_bridged()?;
        if self.dials.is_caller(leg) {
            return Err(call.wrong_state("it is being transferred"));
        }
        if self.dials.is_transferor(leg) {
            return Err(call.wrong_state("it hands its call over, and may have to take it back"));
        }
        match self.bridges.of(leg) {
            None => Ok(()),
            Some(_) => Err(call.wrong_state("it is in a bridge already; take it out first")),
        }
    }

    /// Bridges that nobody has come into yet are kept until they are deleted, so they are as many as calls may be at most.
    /// The others need no bound: each has a call of its own.
    fn has_room_for_empty_one(&self) -> Result<(), Refusal> {
        let most = self.limits.max_calls as usize;
        if self.bridges.empty() < most {
            return Ok(());
        }
        let what = format!(
            "{most} bridges wait for their first call, as many as calls may be (max_calls): delete some, or name a call"
        );
        Err(Refusal::NoRoom { what, retry_after: EMPTY_BRIDGE_RETRY })
    }
}

/// Who whispers must have said to whom, or an agent must be there: nobody else may hear it.
fn whispers_to_somebody(
    bridge: &crate::bridge::Bridge,
    leg: LegId,
    whisper_to: &[CallId],
) -> Result<(), Refusal> {
    let others = || bridge.parties.iter().filter(|party| party.leg != leg);
    if whisper_to.is_empty() && !others().any(Party::is_agent) {
        let detail = "name the calls that are to hear it: no call of an endpoint talks in this bridge";
        return Err(fault("/whisper_to", detail.to_owned()));
    }
    let mut faults = Faults::default();
    for (index, call) in whisper_to.iter().enumerate() {
        if !others().any(|party| party.call == *call) {
            faults.push(
                format!("/whisper_to/{index}"),
                format_args!("{call} is not another call of this bridge"),
            );
        }
    }
    faults.into_result(Some(())).map_err(Refusal::Validation)
}

fn no_call(pointer: &str, call: &CallId) -> Refusal {
    fault(pointer, format!("there is no live call {call}"))
}

fn fault(pointer: &str, detail: String) -> Refusal {
    Refusal::Validation(vec![Fault { pointer: pointer.into(), detail }])
}
