//! A flow at work: goes from step to step until the call has to wait for something.

use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api_types::flow::{Case, Condition, Flow, Outcome, Step, Verb};
use control_api_types::{
    AmdParameters, Call, DialStep, DialTarget, Dtmf, EventData, Gather, HangupReason, Play, RecordStep,
    Sound, Variable,
};
use serde_json::Value;

use crate::call::Partner;
use crate::variables;

/// Most steps in a row without waiting; a flow that takes more goes round in circles.
const MAX_RUSH: u32 = 1_000;

/// What gives one step back: a flow that hardly waits goes round in circles too.
const STEP_TIME: Duration = Duration::from_millis(10);

/// Work of conditions (characters compared, states of patterns visited) that counts as one more step: some 50 µs, so that a
/// rush takes no longer than a few packets.
const STEP_WORK: usize = 4096;

/// A flow of one call, standing at a step.
#[derive(Debug)]
pub(crate) struct Run {
    flow: Arc<Flow>,
    at: String,
    /// Steps taken, less those that waiting has given back.
    rush: u32,
    /// Since when it waits.
    since: Instant,
}

/// What the call has to do before the flow can go on.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Play to the end.
    Play(Play),
    /// Gather digits.
    Gather(Gather),
    /// Send digits.
    Dtmf(Dtmf),
    /// Record.
    Record(RecordStep),
    /// Let time pass.
    Pause(Duration),
    /// Find out who answered.
    Amd {
        /// By what.
        parameters: AmdParameters,
        /// How long to wait for the beep of a machine.
        wait_for_beep: Option<Duration>,
    },
    /// Wait for the API, with music if any.
    Park(Option<Play>),
    /// Be bridged.
    Bridge(Partner),
    /// Call others, and be bridged with the first that answers.
    Dial(Box<DialStep>),
    /// Have the far side call this one.
    Transfer(String),
    /// Ask a web server.
    Ask {
        /// Where.
        url: String,
        /// How long to wait for the answer.
        timeout: Duration,
    },
    /// Wait in a queue.
    Enqueue {
        /// Its name.
        queue: String,
        /// What is told of the call beside it.
        data: Option<Value>,
    },
    /// The flow is over.
    Hangup(HangupReason),
    /// The flow took more than [`MAX_RUSH`] steps without waiting, or sets more variables than a call may have.
    Limit,
}

/// Where a flow goes on that is not told by its own steps.
#[derive(Debug)]
pub(crate) enum Diversion {
    Step(String),
    Flow(Arc<Flow>),
}

impl Run {
    /// Begins `flow`. Variables are read from and set in `call`; what happens on the way goes to `emit`.
    pub(crate) fn start(
        flow: Arc<Flow>,
        now: Instant,
        call: &mut Call,
        emit: &mut dyn FnMut(EventData),
    ) -> (Self, Next) {
        let first = flow.start.clone();
        let mut run = Self { flow, at: String::new(), rush: 0, since: now };
        let next = run.go(Some(first), call, emit);
        (run, next)
    }

    /// Goes on after the awaited thing has happened.
    pub(crate) fn resume(
        &mut self,
        outcome: Outcome<'_>,
        now: Instant,
        call: &mut Call,
        emit: &mut dyn FnMut(EventData),
    ) -> Next {
        self.waited(now);
        let target = self.step().and_then(|step| step.follow(outcome)).map(str::to_owned);
        self.go(target, call, emit)
    }

    /// Goes on where somebody else says: at this step, or at the start of another flow. What has been rushed counts on: an
    /// answer that comes at once is no rest.
    pub(crate) fn divert(
        &mut self,
        to: Diversion,
        now: Instant,
        call: &mut Call,
        emit: &mut dyn FnMut(EventData),
    ) -> Next {
        self.waited(now);
        let target = match to {
            Diversion::Step(step) => step,
            Diversion::Flow(flow) => {
                self.flow = flow;
                self.flow.start.clone()
            }
        };
        self.go(Some(target), call, emit)
    }

    /// Whether its flow has this step.
    pub(crate) fn has_step(&self, name: &str) -> bool {
        self.flow.steps.contains_key(name)
    }

    fn waited(&mut self, now: Instant) {
        let waited = now.saturating_duration_since(std::mem::replace(&mut self.since, now));
        let given_back = waited.as_millis() / STEP_TIME.as_millis();
        self.rush = self.rush.saturating_sub(u32::try_from(given_back).unwrap_or(u32::MAX));
    }

    /// The name of the current step.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    /// Whether the API may play and gather: the flow itself does neither now.
    pub(crate) fn leaves_media_free(&self) -> bool {
        match self.step().map(|step| &step.verb) {
            Some(Verb::Park { .. } | Verb::Pause { .. }) | None => true,
            Some(Verb::Amd { .. } | Verb::Bridge { .. } | Verb::Dial(_) | Verb::Transfer { .. }) => true,
            Some(Verb::Enqueue { .. }) => true,
            Some(Verb::Say(_)) => false,
            Some(Verb::Play(_) | Verb::Gather(_) | Verb::Set { .. } | Verb::Branch { .. }) => false,
            Some(Verb::Dtmf(_) | Verb::Record(_) | Verb::Notify { .. } | Verb::Hangup { .. }) => false,
            Some(Verb::Webhook(_)) => false,
        }
    }

    /// Whether it waits for the API.
    pub(crate) fn is_parked(&self) -> bool {
        self.step().is_some_and(|step| matches!(step.verb, Verb::Park { .. }))
    }

    /// What is heard at a step that waits for the API.
    pub(crate) fn plays_while_parked(&self, call: &Call) -> Option<Play> {
        match &self.step()?.verb {
            Verb::Park { play } => play.as_ref().map(|play| insert(play, call)),
            Verb::Play(_) | Verb::Gather(_) | Verb::Pause { .. } | Verb::Bridge { .. } | Verb::Amd { .. } => {
                None
            }
            Verb::Set { .. } | Verb::Branch { .. } | Verb::Dtmf(_) | Verb::Record(_) => None,
            Verb::Dial(_) | Verb::Transfer { .. } | Verb::Enqueue { .. } => None,
            Verb::Notify { .. } | Verb::Webhook(_) | Verb::Hangup { .. } | Verb::Say(_) => None,
        }
    }

    /// Whether the end of a bridge is the end of its step.
    pub(crate) fn is_bridging(&self) -> bool {
        self.step().is_some_and(|step| {
            matches!(step.verb, Verb::Bridge { .. } | Verb::Dial(_) | Verb::Enqueue { .. })
        })
    }

    /// Whether it calls others, or is bridged with one of them.
    pub(crate) fn is_dialling(&self) -> bool {
        self.step().is_some_and(|step| matches!(step.verb, Verb::Dial(_)))
    }

    /// Whether it waits for what comes of a transfer.
    pub(crate) fn is_transferring(&self) -> bool {
        self.step().is_some_and(|step| matches!(step.verb, Verb::Transfer { .. }))
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
                return Next::Limit;
            }
            self.at.clone_from(name);
            emit(EventData::CallFlowStep { step: name.clone(), verb: step.verb.name() });
            let done = match &step.verb {
                Verb::Play(play) => return Next::Play(insert(play, call)),
                Verb::Say(say) => return Next::Play(Play::of(Sound::Say { say: say.clone() })),
                Verb::Gather(gather) => {
                    let play = gather.play.as_ref().map(|play| insert(play, call));
                    return Next::Gather(Gather { play, ..gather.clone() });
                }
                Verb::Record(record) => return Next::Record(record.clone()),
                Verb::Dtmf(dtmf) => {
                    let digits = variables::render(&dtmf.digits, call).into_owned();
                    return Next::Dtmf(Dtmf { digits, ..dtmf.clone() });
                }
                Verb::Pause { ms } => return Next::Pause(Duration::from_millis(u64::from(*ms))),
                Verb::Amd { parameters, wait_for_beep_ms } => {
                    let wait_for_beep = wait_for_beep_ms.map(|ms| Duration::from_millis(u64::from(ms)));
                    return Next::Amd { parameters: *parameters, wait_for_beep };
                }
                Verb::Park { play } => return Next::Park(play.as_ref().map(|play| insert(play, call))),
                Verb::Bridge { call_id, bridge_id } => {
                    let name = |text: &str| variables::render(text, call).into_owned();
                    let partner = match (call_id, bridge_id) {
                        (Some(other), _) => Partner::Call(name(other)),
                        (None, bridge) => Partner::Bridge(name(bridge.as_deref().unwrap_or_default())),
                    };
                    return Next::Bridge(partner);
                }
                Verb::Dial(dial) => return Next::Dial(Box::new(insert_into(dial, call))),
                Verb::Transfer { to } => return Next::Transfer(variables::render(to, call).into_owned()),
                Verb::Webhook(webhook) => {
                    let url = variables::render_url(&webhook.url, call).into_owned();
                    let timeout = Duration::from_millis(u64::from(webhook.timeout_ms));
                    return Next::Ask { url, timeout };
                }
                Verb::Enqueue { queue, data } => {
                    let queue = variables::render(queue, call).into_owned();
                    let data = data.as_ref().map(|data| variables::render_value(data, call));
                    return Next::Enqueue { queue, data };
                }
                Verb::Hangup { reason } => return Next::Hangup(reason.unwrap_or(HangupReason::Normal)),
                Verb::Set { variables } => {
                    // All values are taken before any is set, so that their order does not matter.
                    let values: Vec<_> =
                        variables.iter().map(|(name, value)| (name.clone(), value_of(value, call))).collect();
                    if variables::set(call, values).is_err() {
                        return Next::Limit;
                    }
                    step.follow(Outcome::Done)
                }
                Verb::Branch { cases } => {
                    let Some(holds) = self.choose(cases, call) else { return Next::Limit };
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

impl Run {
    /// The first case that holds, if any; `None` when finding it out is too much work.
    fn choose<'a>(&mut self, cases: &'a [Case], call: &Call) -> Option<Option<&'a Case>> {
        let mut work = 0;
        for case in cases {
            let Condition { var, test } = &case.condition;
            let variable = variables::lookup(call, var);
            work += test.work(variable.as_deref());
            let steps = u32::try_from(work / STEP_WORK).unwrap_or(u32::MAX);
            self.rush = self.rush.saturating_add(steps);
            work %= STEP_WORK;
            if self.rush > MAX_RUSH {
                return None;
            }
            if test.holds(variable.as_deref()) {
                return Some(Some(case));
            }
        }
        Some(None)
    }
}

/// A play with the variables of its texts inserted.
pub(crate) fn insert(play: &Play, call: &Call) -> Play {
    let source = play.source.map(|sound| match sound {
        Sound::Prompt { prompt } => Sound::Prompt { prompt: variables::render(prompt, call).into_owned() },
        Sound::Url { url } => Sound::Url { url: variables::render_url(url, call).into_owned() },
        // A text has marks of its own, and is put together when it is said.
        Sound::Say { .. } | Sound::Tone { .. } => sound.clone(),
    });
    Play { source, ..play.clone() }
}

fn insert_into(dial: &DialStep, call: &Call) -> DialStep {
    let text = |text: &String| variables::render(text, call).into_owned();
    let target =
        |target: &DialTarget| DialTarget { to: text(&target.to), trunk: target.trunk.as_ref().map(text) };
    DialStep {
        to: dial.to.iter().map(target).collect(),
        trunk: dial.trunk.as_ref().map(text),
        from: dial.from.as_ref().map(text),
        play: dial.play.as_ref().map(|play| insert(play, call)),
        ..*dial
    }
}

fn value_of(value: &Variable, call: &Call) -> Variable {
    match value {
        Variable::Text(text) => Variable::Text(variables::render(text, call).into_owned()),
        Variable::Number(_) | Variable::Flag(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call() -> Call {
        serde_json::from_value(json!({
            "id": "c1", "status": "in-progress", "direction": "outbound", "to": "+62", "from": "100", "node": "n",
            "created_at": "2026-01-01T00:00:00Z", "variables": {"lang": "id"},
        }))
        .unwrap()
    }

    struct Trial {
        now: Instant,
        call: Call,
        events: Vec<EventData>,
        run: Run,
        next: Next,
    }

    fn start(steps: Value) -> Trial {
        let flow = Flow::from_json(&json!({"start": "a", "steps": steps})).unwrap();
        let (mut call, mut events) = (call(), Vec::new());
        #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of a test")]
        let now = Instant::now();
        let (run, next) = Run::start(Arc::new(flow), now, &mut call, &mut |event| events.push(event));
        Trial { now, call, events, run, next }
    }

    impl Trial {
        fn resume(&mut self, outcome: Outcome<'_>) -> &Next {
            let events = &mut self.events;
            self.next = self.run.resume(outcome, self.now, &mut self.call, &mut |event| events.push(event));
            &self.next
        }

        /// How many pauses of this length the flow makes, up to `most`.
        fn pauses(&mut self, ms: u64, most: u32) -> u32 {
            (0..most)
                .find(|_| {
                    self.now += Duration::from_millis(ms);
                    *self.resume(Outcome::Done) == Next::Limit
                })
                .unwrap_or(most)
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
        assert_eq!(trial.next, Next::Limit);
        assert_eq!(trial.events.len(), MAX_RUSH as usize);
        let grown = trial.call.variables["x"].to_string().len();
        assert!(grown <= variables::MAX_TEXT, "doubling a text is bounded, not {grown} bytes");
    }

    #[test]
    fn waiting_gives_steps_back_as_long_as_it_is() {
        let circle = |ms: u64| start(json!({"a": {"verb": "pause", "ms": ms, "next": "a"}}));
        // 100 steps a second can go on for ever; beyond that a thousand are left.
        assert_eq!(circle(10).pauses(10, 5_000), 5_000);
        assert_eq!(circle(1).pauses(1, 5_000), MAX_RUSH - 1);
        assert_eq!(circle(5_000).pauses(5_000, 5_000), 5_000);
    }

    #[test]
    fn patterns_cost_steps_by_their_size_and_the_length_of_the_text() {
        let branch = |pattern: &str, length: usize| {
            let mut cases =
                vec![json!({"if": {"var": "x", "op": "matches", "value": pattern}, "then": "b"}); 100];
            cases.push(json!({"if": {"var": "x", "op": "exists"}, "then": "b"}));
            cases.remove(0);
            start(json!({
                "a": {"verb": "set", "variables": {"x": "x".repeat(length)}, "next": "b"},
                "b": {"verb": "branch", "cases": cases, "next": "c"},
                "c": {"verb": "hangup"},
            }))
        };
        // A hundred patterns for numbers are cheap; the last case leads round and round.
        let cheap = branch("^\\+62", 14);
        assert_eq!(cheap.next, Next::Limit);
        assert!(cheap.events.len() > 100, "{} steps", cheap.events.len());
        // Patterns that are made to take long get a few matches.
        let dear = branch("(y?){60}z", 4_000);
        assert_eq!((dear.next, dear.events.len()), (Next::Limit, 2));
    }

    #[test]
    fn a_call_has_only_so_many_variables() {
        let text = "x".repeat(4_000);
        let texts = |from: usize| {
            let texts = (from..from + 10).map(|n| (format!("v{n}"), json!(text)));
            json!(texts.collect::<serde_json::Map<_, _>>())
        };
        let trial = start(json!({
            "a": {"verb": "set", "variables": texts(0), "next": "b"},
            "b": {"verb": "set", "variables": texts(10), "next": "c"},
            "c": {"verb": "hangup"},
        }));
        assert_eq!((trial.next, trial.run.at()), (Next::Limit, "b"));
        assert_eq!(trial.call.variables.len(), 11, "lang and those of the first step");
    }
}
