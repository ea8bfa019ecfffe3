//! A call that others are called for, and a call that was made for another: its branch.

use control_api_types::flow::{Outcome, VerbName};
use control_api_types::{DialEnd, Play};

use super::media::Owner;
use super::*;

/// How a branch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is not answered yet.
    Trying {
        /// Whether its callee is heard already.
        heard: bool,
    },
    Answered,
    /// It has ended, or is about to.
    Lost(DialEnd),
}

/// Why a branch is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallOff {
    /// Another one has answered.
    Elsewhere,
    /// This call has ended, or does something else now.
    CallerGone(CallId),
}

impl LiveCall {
    // The caller's side.

    /// Plays what its `dial` step plays until somebody answers, if it plays anything.
    pub(crate) fn play_meanwhile(&mut self, ctx: &mut Context<'_>) {
        let Some(play) = self.meanwhile.clone() else { return };
        let owner = match self.activity() {
            Some(Activity::Flow { run, .. }) => Owner::Step(run.at().to_owned()),
            Some(Activity::Parked) => Owner::Api,
            None => return,
        };
        self.heard_meanwhile = self.launch(ctx, Some(play), None, owner);
    }

    /// The same, for a call that is not at such a step.
    pub(crate) fn hear_meanwhile(&mut self, ctx: &mut Context<'_>, play: Option<Play>) {
        self.meanwhile = play;
        self.play_meanwhile(ctx);
    }

    /// Stops it, unless something else plays by now.
    pub(crate) fn hush(&mut self, ctx: &mut Context<'_>) {
        if self.heard_meanwhile.take().is_some_and(|program| self.is_newest(program)) {
            ctx.media(self.leg, MediaCommand::StopPlay);
        }
    }

    /// One whom its step names cannot be called.
    pub(crate) fn tell_failed(&mut self, ctx: &mut Context<'_>, verb: VerbName, to: String, error: String) {
        if let Some(Activity::Flow { run, .. }) = self.activity() {
            let step = run.at().to_owned();
            self.emit(ctx, EventData::CallFlowFailed { step, verb, to, error });
        }
    }

    /// Nobody has answered: its flow goes on.
    pub(crate) fn unreached(&mut self, ctx: &mut Context<'_>, end: DialEnd) {
        if let Some(Activity::Flow { run, .. }) = self.activity()
            && run.is_dialling()
        {
            self.hush(ctx);
            self.step_over(ctx, Outcome::Unreached(end));
        }
    }

    /// Who the far side is: whom those are shown who are called for it.
    pub(crate) fn far_side(&self) -> &str {
        match self.record.direction {
            control_api_types::Direction::Inbound => &self.record.from,
            control_api_types::Direction::Outbound => &self.record.to,
        }
    }

    /// How long it may last at most.
    pub(crate) fn max_duration(&self) -> Duration {
        self.plan.max_duration
    }

    // The branch's side.

    /// How it stands, as a branch.
    pub(crate) fn standing(&self) -> Standing {
        match &self.state {
            State::Connected(_) => Standing::Answered,
            State::Inviting(inviting) => {
                Standing::Trying { heard: inviting.early.as_ref().is_some_and(|early| early.runs) }
            }
            State::Accepting(_)
            | State::Queued(_)
            | State::Opening(_)
            | State::Screening(_)
            | State::Offered(_)
            | State::Answering(_) => Standing::Trying { heard: false },
            State::Ending(evidence) => Standing::Lost(end_of(final_status(evidence.disposition()))),
            State::Over => Standing::Lost(end_of(self.record.status)),
        }
    }

    /// Ends it, for it is not needed any more.
    pub(crate) fn call_off(&mut self, ctx: &mut Context<'_>, why: CallOff) {
        let (evidence, answered) = match self.state {
            State::Connected(_) => (Evidence::Answered, true),
            State::Accepting(_)
            | State::Queued(_)
            | State::Opening(_)
            | State::Inviting(_)
            | State::Screening(_)
            | State::Offered(_)
            | State::Answering(_) => (Evidence::Api, false),
            State::Ending(_) | State::Over => return,
        };
        let reason = match why {
            CallOff::Elsewhere => {
                // RFC 3326 §1: without it phones that did not answer would tell of a missed call.
                let text = "Call completed elsewhere".to_owned();
                self.record.sip_reason = Some(text.clone());
                Some(Reason { protocol: ReasonProtocol::Sip, cause: 200, text: Some(text) })
            }
            CallOff::CallerGone(caller) => {
                self.record.cause_call_id = Some(caller);
                answered.then_some(Reason { protocol: ReasonProtocol::Q850, cause: 16, text: None })
            }
        };
        self.release_sessions(ctx, None, reason);
        self.end(ctx, evidence, EndedBy::Engine);
    }
}

fn end_of(status: CallStatus) -> DialEnd {
    match status {
        CallStatus::Busy => DialEnd::Busy,
        CallStatus::NoAnswer => DialEnd::NoAnswer,
        CallStatus::Queued
        | CallStatus::Initiated
        | CallStatus::Ringing
        | CallStatus::EarlyMedia
        | CallStatus::InProgress
        | CallStatus::Completed
        | CallStatus::Failed
        | CallStatus::Canceled => DialEnd::Failed,
    }
}
