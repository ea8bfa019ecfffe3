//! A flow's step that asks a web server how the call goes on.

use std::sync::Arc;
use std::time::Duration;

use control_api_types::flow::{Flow, Outcome};
use control_api_types::{EventData, Faults, FlowRef, StepAnswer, Then, Variable};

use super::media::{Activity, Awaits};
use super::{Context, LiveCall, State};
use crate::flow::{self, Diversion};
use crate::io::{NoAnswer, Output};
use crate::variables;

impl LiveCall {
    /// Posts the call; the flow waits for the answer, which comes in any case.
    pub(super) fn ask_step(&mut self, ctx: &mut Context<'_>, url: String, timeout: Duration) {
        let question = self.next_program();
        let call = Box::new(self.record.clone());
        ctx.outputs.push_back(Output::AskStep { leg: self.leg, question, url, timeout, call });
        if let State::Connected(Activity::Flow { awaits, .. }) = &mut self.state {
            *awaits = Awaits::Answer(question);
        }
    }

    /// The web server has answered, or will not.
    pub(crate) fn step_answered(
        &mut self,
        ctx: &mut Context<'_>,
        question: u64,
        answer: Result<StepAnswer, NoAnswer>,
    ) {
        let State::Connected(Activity::Flow { run, awaits }) = &mut self.state else { return };
        if *awaits != Awaits::Answer(question) {
            return;
        }
        *awaits = Awaits::Nothing;
        let told = format!("{}.error", run.at());
        let then = answer.and_then(|StepAnswer { variables, then }| {
            let to = match then {
                Then::Next => None,
                Then::Step(step) if run.has_step(&step) => Some(Diversion::Step(step)),
                Then::Step(_) => return Err(NoAnswer::UnknownStep),
                Then::Flow(flow) => Some(Diversion::Flow(usable(ctx, flow)?)),
            };
            Ok((variables, to))
        });
        let (variables, to, outcome) = match then {
            Ok((variables, to)) => {
                self.record.variables.remove(&told);
                (variables.into_iter().collect(), to, Outcome::Done)
            }
            Err(why) => (vec![(told, Variable::from(why.to_string().as_str()))], None, Outcome::Unanswered),
        };
        if variables::set(&mut self.record, variables).is_err() {
            return self.flow_limit(ctx);
        }
        match to {
            None => self.step_over(ctx, outcome),
            Some(to) => self.divert(ctx, to),
        }
    }

    /// The flow goes on elsewhere than its steps say.
    fn divert(&mut self, ctx: &mut Context<'_>, to: Diversion) {
        let State::Connected(Activity::Flow { run, .. }) = &mut self.state else { return };
        let mut events: Vec<EventData> = Vec::new();
        let next = run.divert(to, ctx.now, &mut self.record, &mut |event| events.push(event));
        self.drive(ctx, events, next);
    }
}

/// A flow of an answer: stored under a name, or given with it.
pub(super) fn usable(ctx: &Context<'_>, flow: FlowRef) -> Result<Arc<Flow>, NoAnswer> {
    match flow {
        FlowRef::Name(name) => ctx.flows.get(&name).cloned().ok_or(NoAnswer::UnknownFlow),
        FlowRef::Inline(flow) => {
            let mut faults = Faults::default();
            flow::check(&flow, "/flow", ctx.prompts, ctx.queues, &mut faults);
            faults.into_result(Some(flow)).map_err(|_| NoAnswer::FaultyFlow)
        }
    }
}
