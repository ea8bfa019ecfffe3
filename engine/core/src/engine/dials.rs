//! Others that are called for a call: all at once, until the first of them answers.
//!
//! ```text
//! a dial step ── a call is placed to each ──▶ they ring ── the first answers ──▶ the others are called off, the two are bridged
//!                  │ none can be                │ all end: busy, no-answer or failed, and the flow goes on
//!                  └──▶ failed                  └ the caller ends: all are called off
//! ```
//!
//! The same happens to a call that is transferred by whom it talks to; where nobody answers it goes back to him.
//!
//! Each is an outbound call like any other, with its own id, events and CDR, and under the rules of those that the API
//! places: trunk, number format, pacing, queue. What it is for is kept here, and so a call that has met its caller is in a
//! bridge and nothing more.

use control_api_types::flow::VerbName;
use control_api_types::{DialEnd, DialStep, EarlyMedia, OnEnd};
use media_core::{BridgeId, Keys, Member, MemberSet};

use sip_core::ReferId;

use super::*;
use crate::call::{CallOff, Parting, Standing};
use crate::io::BridgePlan;

/// Who is called for whom.
#[derive(Debug, Default)]
pub(super) struct Dials {
    by_caller: BTreeMap<LegId, Dialling>,
    callers: BTreeMap<LegId, LegId>,
    /// Those who have transferred a caller and do not know yet what comes of it.
    transferors: BTreeSet<LegId>,
}

/// The branches of one caller that are left.
#[derive(Debug)]
struct Dialling {
    caller: CallId,
    branches: BTreeMap<LegId, Standing>,
    /// What most that are over came to.
    best: DialEnd,
    /// Whether a branch is heard before it answers.
    early_media: EarlyMedia,
    /// Which is.
    early: Option<Early>,
    /// Whose wish it is.
    by: By,
}

/// Why others are called.
#[derive(Debug, Clone, Copy)]
enum By {
    /// The caller is at a `dial` step.
    Step,
    /// Whom he talked to has transferred him.
    Transfer(Transferring),
}

/// A transfer by the far side of a call that the caller was bridged with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transferring {
    pub(super) transferor: LegId,
    /// Where that is told how it goes.
    pub(super) session: SessionId,
    pub(super) refer: ReferId,
    /// What becomes of the transferor when a bridge with him ends,
    pub(super) part: OnEnd,
    /// and of the caller when one with anybody does.
    pub(super) back: OnEnd,
    /// The transferor knows that it rings.
    pub(super) rung: bool,
}

/// A branch that the caller hears before it is answered.
#[derive(Debug, Clone, Copy)]
struct Early {
    branch: LegId,
    /// What the media shell knows that by; no bridge that the API has to do with.
    bridge: BridgeId,
}

impl Dials {
    /// Whether the call has others called for it, or is called for another.
    pub(super) fn concern(&self, leg: LegId) -> bool {
        self.by_caller.contains_key(&leg) || self.callers.contains_key(&leg)
    }

    /// Whether others are being called for it.
    pub(super) fn is_caller(&self, leg: LegId) -> bool {
        self.by_caller.contains_key(&leg)
    }

    /// Whether it waits for what comes of its transfer: to take its call back, or to be hung up.
    pub(super) fn is_transferor(&self, leg: LegId) -> bool {
        self.transferors.contains(&leg)
    }

    /// Something has happened to a call.
    pub(super) fn note(&mut self, leg: LegId, call: &LiveCall) {
        let dialling = self.callers.get(&leg).and_then(|caller| self.by_caller.get_mut(caller));
        if let Some(standing) = dialling.and_then(|dialling| dialling.branches.get_mut(&leg)) {
            *standing = call.standing();
        }
    }

    fn begin(&mut self, caller: LegId, dialling: Dialling) {
        self.callers.extend(dialling.branches.keys().map(|branch| (*branch, caller)));
        if let By::Transfer(transfer) = dialling.by {
            self.transferors.insert(transfer.transferor);
        }
        self.by_caller.insert(caller, dialling);
    }

    fn end(&mut self, caller: LegId) -> Option<Dialling> {
        let dialling = self.by_caller.remove(&caller)?;
        for branch in dialling.branches.keys() {
            self.callers.remove(branch);
        }
        if let By::Transfer(transfer) = dialling.by {
            self.transferors.remove(&transfer.transferor);
        }
        Some(dialling)
    }
}

impl Engine {
    /// A call's flow wants others to be called.
    pub(super) fn dial(&mut self, now: Instant, caller: LegId, step: &DialStep) {
        self.call_for(now, caller, step, By::Step);
    }

    /// Whom a call was bridged with has transferred it.
    pub(super) fn dial_on_transfer(
        &mut self,
        now: Instant,
        caller: LegId,
        step: &DialStep,
        transfer: Transferring,
    ) {
        self.with_call(now, caller, |call, ctx| call.hear_meanwhile(ctx, step.play.clone()));
        self.call_for(now, caller, step, By::Transfer(transfer));
    }

    fn call_for(&mut self, now: Instant, caller: LegId, step: &DialStep, by: By) {
        let Some(call) = self.calls.get(&caller) else { return };
        let (id, far_side) = (call.record().id.clone(), call.far_side().to_owned());
        let mut branches = BTreeMap::new();
        for target in &step.to {
            let placed = step
                .call(target, Some(&far_side))
                .map_err(Refusal::Validation)
                .and_then(|create| self.place_for(now, caller, create));
            match placed {
                Ok(branch) => {
                    branches.insert(branch, Standing::Trying { heard: false });
                }
                Err(refusal) => {
                    let (to, error) = (target.to.clone(), in_words(refusal));
                    self.with_call(now, caller, |call, ctx| {
                        call.tell_failed(ctx, VerbName::Dial, to, error);
                    });
                }
            }
        }
        if branches.is_empty() {
            return self.nobody_reached(now, caller, DialEnd::Failed, by);
        }
        let early_media = step.early_media;
        let dialling = Dialling { caller: id, branches, best: DialEnd::Failed, early_media, early: None, by };
        self.dials.begin(caller, dialling);
    }

    /// Places a call for another.
    fn place_for(&mut self, now: Instant, caller: LegId, create: CreateCall) -> Result<LegId, Refusal> {
        let call = self.calls.get(&caller).ok_or(Refusal::NotFound)?;
        let max_duration_s = u32::try_from(call.max_duration().as_secs()).unwrap_or(u32::MAX);
        let parent = call.record().id.clone();
        let client_state = call.record().client_state.clone();
        let id = id::ulid(self.clock.unix_ms(now), &mut self.random);
        let create = CreateCall { max_duration_s, client_state, ..create };
        self.place(now, id.clone(), create, Some(parent))?;
        self.by_id.get(&id).copied().ok_or(Refusal::NotFound)
    }

    /// Brings in line with a call what it has to do with a dial.
    pub(super) fn dial_stirs(&mut self, now: Instant, leg: LegId) {
        if let Some(&caller) = self.dials.callers.get(&leg) {
            return self.branch_stirs(now, caller, leg);
        }
        if self.dials.is_caller(leg) && !self.calls.get(&leg).is_some_and(|call| call.is_conversing()) {
            self.call_off(now, leg);
        }
    }

    /// Ends what is being dialled for a call, if anything is.
    pub(super) fn call_off(&mut self, now: Instant, caller: LegId) {
        let Some(dialling) = self.dials.end(caller) else { return };
        self.unhear(&dialling);
        for branch in dialling.branches.into_keys() {
            let why = CallOff::CallerGone(dialling.caller.clone());
            self.with_call(now, branch, |call, ctx| call.call_off(ctx, why));
        }
        if let By::Transfer(transfer) = dialling.by {
            // RFC 3261 §21.4.25: what was asked for was taken back.
            self.tell_transferor(now, transfer, 487);
            self.with_call(now, transfer.transferor, LiveCall::takes_leave);
        }
    }

    fn branch_stirs(&mut self, now: Instant, caller: LegId, branch: LegId) {
        let Some(dialling) = self.dials.by_caller.get_mut(&caller) else { return };
        match dialling.branches.get(&branch) {
            Some(Standing::Answered) => self.meet_branch(now, caller, branch),
            Some(Standing::Lost(end)) => {
                dialling.best = dialling.best.min(*end);
                let best = dialling.best;
                dialling.branches.remove(&branch);
                let is_last = dialling.branches.is_empty();
                let heard = dialling.early.take_if(|early| early.branch == branch);
                self.dials.callers.remove(&branch);
                if let Some(Early { bridge, .. }) = heard {
                    self.outputs.push_back(Output::Bridge { bridge, plan: None });
                }
                if is_last {
                    let by = dialling.by;
                    self.dials.end(caller);
                    self.nobody_reached(now, caller, best, by);
                } else if heard.is_some() {
                    self.with_call(now, caller, LiveCall::play_meanwhile);
                }
            }
            Some(Standing::Trying { heard: true })
                if dialling.early.is_none() && dialling.early_media == EarlyMedia::Connect =>
            {
                let bridge = self.bridges.new_number();
                dialling.early = Some(Early { branch, bridge });
                let members = vec![
                    Member { leg: caller, hears: MemberSet::EMPTY.with(1) },
                    Member { leg: branch, hears: MemberSet::EMPTY },
                ];
                self.with_call(now, caller, LiveCall::hush);
                let plan = Some(BridgePlan { members, keys: Keys::Consumed });
                self.outputs.push_back(Output::Bridge { bridge, plan });
            }
            Some(Standing::Trying { .. }) => {
                let rings = self.calls.get(&branch).is_some_and(|call| call.record().ringing_at.is_some());
                if let By::Transfer(transfer) = &mut dialling.by
                    && rings
                    && !std::mem::replace(&mut transfer.rung, true)
                {
                    let transfer = *transfer;
                    self.tell_transferor(now, transfer, 180);
                }
            }
            None => {}
        }
    }

    fn tell_transferor(&mut self, now: Instant, transfer: Transferring, status: u16) {
        let Transferring { transferor, session, refer, .. } = transfer;
        self.with_call(now, transferor, |call, ctx| call.tell_transferor(ctx, session, refer, status));
    }

    /// Nobody has answered. A caller who was transferred goes back to where he came from, if that is still there.
    fn nobody_reached(&mut self, now: Instant, caller: LegId, end: DialEnd, by: By) {
        let transfer = match by {
            By::Step => return self.with_call(now, caller, |call, ctx| call.unreached(ctx, end)),
            By::Transfer(transfer) => transfer,
        };
        self.with_call(now, caller, LiveCall::hush);
        let status = match end {
            DialEnd::Busy => 486,
            DialEnd::NoAnswer => 480,
            DialEnd::Failed => 503,
        };
        self.tell_transferor(now, transfer, status);
        let Transferring { transferor, part, back, .. } = transfer;
        let is_there = self.calls.get(&transferor).is_some_and(|call| call.is_conversing())
            && self.bridges.of(transferor).is_none();
        match is_there {
            true => self.pair(now, [(caller, back), (transferor, part)], BridgeDtmf::Relay),
            false => self.with_call(now, caller, |call, ctx| {
                call.unbridged(ctx, back, Parting::of(EndedBy::Engine));
            }),
        }
    }

    /// A branch has answered: it and its caller hear each other, and the others are called off.
    fn meet_branch(&mut self, now: Instant, caller: LegId, branch: LegId) {
        let Some(dialling) = self.dials.end(caller) else { return };
        self.unhear(&dialling);
        self.with_call(now, caller, LiveCall::hush);
        for other in dialling.branches.into_keys().filter(|other| *other != branch) {
            self.with_call(now, other, |call, ctx| call.call_off(ctx, CallOff::Elsewhere));
        }
        let on_end = match dialling.by {
            By::Step => OnEnd::Continue,
            By::Transfer(transfer) => transfer.back,
        };
        self.pair(now, [(caller, on_end), (branch, OnEnd::Hangup)], BridgeDtmf::Relay);
        if let By::Transfer(transfer) = dialling.by {
            self.tell_transferor(now, transfer, 200);
            self.with_call(now, transfer.transferor, LiveCall::takes_leave);
        }
    }

    fn unhear(&mut self, dialling: &Dialling) {
        if let Some(Early { bridge, .. }) = dialling.early {
            self.outputs.push_back(Output::Bridge { bridge, plan: None });
        }
    }
}

/// Why a call could not be placed, for a person to read.
pub(super) fn in_words(refusal: Refusal) -> String {
    match refusal {
        Refusal::Validation(faults) => {
            faults.into_iter().map(|fault| fault.detail).collect::<Vec<_>>().join("; ")
        }
        Refusal::WrongState { need, .. } => need.to_owned(),
        other @ (Refusal::Conflict
        | Refusal::QueueFull { .. }
        | Refusal::NoRoom { .. }
        | Refusal::Draining
        | Refusal::Configured
        | Refusal::NotFound) => other.to_string(),
    }
}
