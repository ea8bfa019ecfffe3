//! A flow at work: goes from step to step until the call has to wait for something.

use std::sync::Arc;
use std::time::Duration;

use control_api_types::flow::{Flow, Outcome, Step, Verb};
use control_api_types::{Call, EventData, Gather, HangupReason, Play, Variable};

use crate::variables;

/// Most steps in a row without waiting; a flow that takes more goes round in circles.
const MAX_RUSH: u16 = 1_000;

/// A flow of one call, standing at a step.
#[derive(Debug)]
pub(crate) struct Run {
    flow: Arc<Flow>,
    at: String,
    rush: u16,
}

/// What the call has to do before the flow can go on.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Play to the end.
    Play(Play),
    /// Gather digits.
    Gather(Gather),
    /// Let time pass.
    Pause(Duration),
    /// Wait for the API, with music if any.
    Park(Option<Play>),
    /// The flow is over.
    Hangup(HangupReason),
    /// The flow took [`MAX_RUSH`] steps without waiting.
    StepLimit,
}

impl Run {
    /// Begins `flow`. Variables are read from and set in `call`; what happens on the way goes to `emit`.
    pub(crate) fn start(flow: Arc<Flow>, call: &mut Call, emit: &mut dyn FnMut(EventData)) -> (Self, Next) {
        let first = flow.start.clone();
        let mut run = Self { flow, at: String::new(), rush: 0 };
        let next = run.go(Some(first), call, emit);
        (run, next)
    }

    /// Goes on after the awaited thing has happened. `waited` tells whether it took any time.
    pub(crate) fn resume(
        &mut self,
        outcome: Outcome<'_>,
        waited: bool,
        call: &mut Call,
        emit: &mut dyn FnMut(EventData),
    ) -> Next {
        if waited {
            self.rush = 0;
        }
        let target = self.step().and_then(|step| step.follow(outcome)).map(str::to_owned);
        self.go(target, call, emit)
    }

    /// The name of the current step.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    /// Whether the API may play and gather: the flow itself does neither now.
    pub(crate) fn leaves_media_free(&self) -> bool {
        match self.step().map(|step| &step.verb) {
            Some(Verb::Park { .. } | Verb::Pause { .. }) | None => true,
            Some(Verb::Play(_) | Verb::Gather(_) | Verb::Set { .. } | Verb::Branch { .. }) => false,
            Some(Verb::Notify { .. } | Verb::Hangup { .. }) => false,
        }
    }

    /// Whether the current gather has a use for `digits`: they are named in `on`, or none are.
    pub(crate) fn expects(&self, digits: &str) -> bool {
        self.step().is_none_or(|step| {
            step.on.contains_key(digits)
                || !step.on.keys().any(|outcome| !matches!(outcome.as_str(), "timeout" | "else"))
        })
    }

    fn step(&self) -> Option<&Step> {
        self.flow.steps.get(&self.at)
    }

    fn go(&mut self, target: Option<String>, call: &mut Call, emit: &mut dyn FnMut(EventData)) -> Next {
        let flow = Arc::clone(&self.flow);
        let mut target = target;
        loop {
            // A step without a next one ends the call; a target that does not exist cannot pass the reader.
            let Some((name, step)) = target.and_then(|name| flow.steps.get_key_value(&name)) else {
                return Next::Hangup(HangupReason::Normal);
            };
            self.rush += 1;
            if self.rush > MAX_RUSH {
                return Next::StepLimit;
            }
            self.at.clone_from(name);
            emit(EventData::CallFlowStep { step: name.clone(), verb: step.verb.name() });
            let done = match &step.verb {
                Verb::Play(play) => return Next::Play(insert(play, call)),
                Verb::Gather(gather) => {
                    let play = gather.play.as_ref().map(|play| insert(play, call));
                    return Next::Gather(Gather { play, ..gather.clone() });
                }
                Verb::Pause { ms } => return Next::Pause(Duration::from_millis(u64::from(*ms))),
                Verb::Park { play } => return Next::Park(play.as_ref().map(|play| insert(play, call))),
                Verb::Hangup { reason } => return Next::Hangup(reason.unwrap_or(HangupReason::Normal)),
                Verb::Set { variables } => {
                    // All values are taken before any is set, so that their order does not matter.
                    let values: Vec<_> =
                        variables.iter().map(|(name, value)| (name.clone(), value_of(value, call))).collect();
                    call.variables.extend(values);
                    step.follow(Outcome::Done)
                }
                Verb::Branch { cases } => {
                    let holds = cases.iter().find(|case| {
                        let variable = variables::lookup(call, &case.condition.var);
                        case.condition.test.holds(variable.as_deref())
                    });
                    match holds {
                        Some(case) => Some(case.then.as_str()),
                        None => step.follow(Outcome::Else),
                    }
                }
                Verb::Notify { data } => {
                    emit(EventData::CallNotify(variables::render_value(data, call)));
                    step.follow(Outcome::Done)
                }
            };
            target = done.map(str::to_owned);
        }
    }
}

fn insert(play: &Play, call: &Call) -> Play {
    Play { prompt: variables::render(&play.prompt, call).into_owned(), ..play.clone() }
}

fn value_of(value: &Variable, call: &Call) -> Variable {
    match value {
        Variable::Text(text) => Variable::Text(variables::render(text, call).into_owned()),
        Variable::Number(_) | Variable::Flag(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn call() -> Call {
        serde_json::from_value(json!({
            "id": "c1", "status": "in-progress", "direction": "outbound", "to": "+62", "from": "100", "node": "n",
            "created_at": "2026-01-01T00:00:00Z", "variables": {"lang": "id"},
        }))
        .unwrap()
    }

    struct Trial {
        call: Call,
        events: Vec<EventData>,
        run: Run,
        next: Next,
    }

    fn start(steps: Value) -> Trial {
        let flow = Flow::from_json(&json!({"start": "a", "steps": steps})).unwrap();
        let (mut call, mut events) = (call(), Vec::new());
        let (run, next) = Run::start(Arc::new(flow), &mut call, &mut |event| events.push(event));
        Trial { call, events, run, next }
    }

    impl Trial {
        fn resume(&mut self, outcome: Outcome<'_>) -> &Next {
            let events = &mut self.events;
            self.next = self.run.resume(outcome, true, &mut self.call, &mut |event| events.push(event));
            &self.next
        }
    }

    #[test]
    fn sets_branches_and_notifies_without_waiting() {
        let trial = start(json!({
            "a": {"verb": "set", "variables": {"greeting": "hi-{lang}", "lang": "en", "n": 3}, "next": "b"},
            "b": {"verb": "branch", "next": "no", "cases": [
                {"if": {"var": "n", "op": "gt", "value": 5}, "then": "no"},
                {"if": {"var": "to", "op": "matches", "value": "^\\+62"}, "then": "c"}]},
            "c": {"verb": "notify", "data": {"said": "{greeting}", "n": "{n}"}, "next": "d"},
            "d": {"verb": "play", "prompt": "{greeting}", "loop": 2},
            "no": {"verb": "hangup"},
        }));
        assert_eq!(trial.next, Next::Play(Play { plays: 2, ..Play::once("hi-id") }));
        assert_eq!(trial.run.at(), "d");
        let notes: Vec<_> =
            trial.events.iter().filter(|event| matches!(event, EventData::CallNotify(_))).collect();
        assert_eq!(notes, [&EventData::CallNotify(json!({"said": "hi-id", "n": "3"}))]);
        assert_eq!(trial.events.len(), 5);
    }

    #[test]
    fn outcomes_choose_the_step_and_a_missing_one_hangs_up() {
        let mut trial = start(json!({
            "a": {"verb": "gather", "max": 1, "on": {"1": "b", "else": "a", "timeout": "c"}},
            "b": {"verb": "pause", "ms": 50},
            "c": {"verb": "hangup", "reason": "busy"},
        }));
        assert!(trial.run.expects("1") && !trial.run.expects("2"));
        assert!(!trial.run.leaves_media_free());
        assert!(matches!(trial.resume(Outcome::Digits("7")), Next::Gather(_)));
        assert_eq!(*trial.resume(Outcome::Timeout), Next::Hangup(HangupReason::Busy));
        trial.run.at = "a".into();
        assert_eq!(*trial.resume(Outcome::Digits("1")), Next::Pause(Duration::from_millis(50)));
        assert!(trial.run.leaves_media_free());
        assert_eq!(*trial.resume(Outcome::Done), Next::Hangup(HangupReason::Normal));
    }

    #[test]
    fn a_gather_without_named_digits_takes_any() {
        let trial = start(json!({"a": {"verb": "gather", "max": 4, "on": {"timeout": "a"}, "next": "a"}}));
        assert!(trial.run.expects("1234"));
    }

    #[test]
    fn circles_are_cut_but_waiting_starts_the_count_anew() {
        let trial = start(json!({"a": {"verb": "set", "variables": {"x": "{x}{x}."}, "next": "a"}}));
        assert_eq!(trial.next, Next::StepLimit);
        assert_eq!(trial.events.len(), usize::from(MAX_RUSH));
        let grown = trial.call.variables["x"].to_string().len();
        assert!(grown <= variables::MAX_TEXT, "doubling a text is bounded, not {grown} bytes");

        let mut trial = start(json!({"a": {"verb": "pause", "ms": 1, "next": "a"}}));
        for _ in 0..3 * MAX_RUSH {
            assert!(matches!(trial.resume(Outcome::Done), Next::Pause(_)));
        }
    }
}
