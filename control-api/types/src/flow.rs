//! Flows: what a call does by itself, as a graph of named steps.

use crate::{
    AmdParameters, AmdResult, DialEnd, DialStep, Dtmf, Fault, Gather, HangupReason, Play, RecordStep, Say,
    Sound, TransferEnd, Variable, Variables, WebhookStep,
    action::{dial_fault, is_digit},
    call::words,
    dial::read_transfer_to,
    fault::{self, Faults, Fields, join, kind},
    queue::MAX_DATA,
    variable::{NAME_RULE, is_name, read_variable, read_variables},
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// Most steps in one flow.
pub const MAX_STEPS: usize = 1000;
/// Most cases in one `branch`.
const MAX_CASES: usize = 100;
/// Longest pattern of `matches`, bytes; with [`PROGRAMS`] and [`MAX_MATCHED`] it bounds what one match can cost.
const MAX_PATTERN: usize = 256;
/// Sizes of compiled patterns, bytes. The largest is enough for any pattern of that length without counted repetition of
/// more than a few dozen.
const PROGRAMS: [usize; 6] = [512, 1024, 2048, 4096, 8192, 16_384];
/// Bytes of a compiled pattern that one state of it takes, roughly.
const STATE: usize = 32;
/// How much of a text is matched, bytes: many times what a number, a name or an address has.
const MAX_MATCHED: usize = 1024;
/// Largest `data` of `notify`, bytes of JSON.
const MAX_NOTIFY: usize = 4096;

/// A flow that has been checked: `start` and every target exist.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// The first step.
    pub start: String,
    /// Steps by name, 1 to 1,000.
    pub steps: BTreeMap<String, Step>,
}

/// One step: a verb and where to go from it. Without a matching target the call is hung up.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Step {
    /// What is done.
    #[serde(flatten)]
    pub verb: Verb,
    /// The step after this one, whatever the outcome unless `on` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Steps by outcome: digits, `timeout` or `else` for `gather`; `else` for `branch`; `human`, `machine`, `fax`
    /// or `unknown` for `amd`; `ended` and `failed` for `bridge`; `ended`, `busy`, `no-answer` and `failed` for `dial`; `ok`
    /// and `failed` for `transfer`; `failed` for `dtmf`; `ended`, `callback`, `timeout` and
    /// `closed` for `enqueue`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub on: BTreeMap<String, String>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It is done.
    Done,
    /// A `gather` collected these digits.
    Digits(&'a str),
    /// A `gather` collected too few digits in time.
    Timeout,
    /// No case of a `branch` held.
    Else,
    /// A bridge is over.
    Ended,
    /// The step could not do what it is for: nobody to be bridged with, digits that cannot be sent.
    Failed,
    /// An `amd` has found out who answered.
    Answered(AmdResult),
    /// A `dial` has reached nobody.
    Unreached(DialEnd),
    /// A `transfer` is over.
    Transferred(TransferEnd),
    /// A `webhook` got no usable answer.
    Unanswered,
    /// A caller in a queue asked to be called back.
    Callback,
    /// There is no such queue, or not any more.
    Closed,
}

impl Step {
    /// The step to go to after `outcome`; `None` hangs up. Digits fall back to `else`, what fails to `ended`, everything to
    /// `next`.
    #[must_use]
    pub fn follow(&self, outcome: Outcome<'_>) -> Option<&str> {
        let on = |name: &str| self.on.get(name);
        match outcome {
            Outcome::Done => None,
            Outcome::Digits(digits) => on(digits).or_else(|| on("else")),
            Outcome::Timeout => on("timeout"),
            Outcome::Else => on("else"),
            Outcome::Ended => on("ended"),
            Outcome::Failed => on("failed").or_else(|| on("ended")),
            Outcome::Answered(result) => on(result.as_str()),
            Outcome::Unreached(end) => on(end.as_str()),
            Outcome::Transferred(end) => on(end.as_str()),
            Outcome::Unanswered => self.verb.on_error(),
            Outcome::Callback => on("callback"),
            Outcome::Closed => on("closed"),
        }
        .or(self.next.as_ref())
        .map(String::as_str)
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Verb {
    /// Plays a prompt to its end.
    Play(Play),
    /// Says a text to its end.
    Say(Say),
    /// Collects digits.
    Gather(Gather),
    /// Records the call until one of the ends it names. `{step.recording_id}`, `{step.duration_ms}` and `{step.reason}` tell
    /// what came of it.
    Record(RecordStep),
    /// Sends digits; goes on when they are sent, or, by `failed`, when not all of them can be.
    Dtmf(Dtmf),
    /// Waits.
    Pause {
        /// How long, 1 ms to 1 hour.
        #[schema(minimum = 1, maximum = 3_600_000)]
        ms: u32,
    },
    /// Waits until the API acts.
    Park {
        /// Music meanwhile.
        #[serde(skip_serializing_if = "Option::is_none")]
        play: Option<Play>,
    },
    /// Sets variables.
    Set {
        /// Names and values; `{name}` in a text is replaced.
        variables: Variables,
    },
    /// Chooses by variables: the first case that holds.
    Branch {
        /// The cases in order, 1 to 100.
        cases: Vec<Case>,
    },
    /// Emits `call.notify`.
    Notify {
        /// The event's data, at most 4 KiB of JSON; with its variables inserted, all texts together are cut at 8 KiB.
        data: Value,
    },
    /// Finds out who answered. What the call found out already holds: a result that is there is taken at once, and one
    /// that is on its way is waited for.
    Amd {
        /// By what; of effect only if the call did not ask for `amd` itself.
        #[serde(flatten)]
        parameters: AmdParameters,
        /// After the result `machine`, how long the beep is waited for before the flow goes on, 1 ms to 2 minutes;
        /// without it the flow goes on at the result.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(minimum = 1, maximum = 120_000)]
        wait_for_beep_ms: Option<u32>,
    },
    /// Bridges the call with another one, or takes it into a bridge. The next step comes when it is out of it: by `ended`, or
    /// by `failed` (without that as after `ended`) when there is nobody or no such bridge; `call.bridge_failed` tells why.
    Bridge {
        /// The other call: its id, in which `{name}` is replaced.
        #[serde(skip_serializing_if = "Option::is_none")]
        call_id: Option<String>,
        /// The bridge, in the place of a call.
        #[serde(skip_serializing_if = "Option::is_none")]
        bridge_id: Option<String>,
    },
    /// Calls others and bridges the call with the first that answers. The next step comes by `ended` when that bridge is over;
    /// by `busy`, `no-answer` or `failed` when nobody answers. `call.flow.failed` tells of whom it could not call at all.
    Dial(DialStep),
    /// Has the far side call somebody else (REFER). The next step comes by `ok` when it has reached him, for what is still to
    /// be done before the call ends; by `failed` when it has not.
    Transfer {
        /// A number, as the trunk is given it, or a `sip:` URI; `{name}` is replaced.
        #[schema(min_length = 1, max_length = 256)]
        to: String,
    },
    /// Asks a web server how to go on: the call is posted, and the answer,
    /// `{"variables"?: {…}, "flow"?: "name" | {…}, "next"?: "step"}`, sets variables and says where the call goes; an empty
    /// object goes on at `next`.
    Webhook(WebhookStep),
    /// Has the caller wait in a queue, whose settings rule what is heard, for how long, and the key for a callback. Goes on by
    /// `ended` after a bridge with somebody, by `callback` after the key and its notice, by `timeout` after the longest wait,
    /// by `closed` when the queue is not there or is deleted.
    Enqueue {
        /// The queue's name; `{name}` is replaced.
        #[schema(min_length = 1, max_length = 128)]
        queue: String,
        /// Shown beside the call to whoever owns the queue, at most 4 KiB of JSON; variables are inserted.
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<Value>,
    },
    /// Ends the call.
    Hangup {
        /// Why.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<HangupReason>,
    },
}

words! {
    /// The verbs by name.
    VerbName {
        /// [`Verb::Play`].
        Play = "play",
        /// [`Verb::Say`].
        Say = "say",
        /// [`Verb::Gather`].
        Gather = "gather",
        /// [`Verb::Record`].
        Record = "record",
        /// [`Verb::Dtmf`].
        Dtmf = "dtmf",
        /// [`Verb::Pause`].
        Pause = "pause",
        /// [`Verb::Park`].
        Park = "park",
        /// [`Verb::Set`].
        Set = "set",
        /// [`Verb::Branch`].
        Branch = "branch",
        /// [`Verb::Notify`].
        Notify = "notify",
        /// [`Verb::Amd`].
        Amd = "amd",
        /// [`Verb::Bridge`].
        Bridge = "bridge",
        /// [`Verb::Dial`].
        Dial = "dial",
        /// [`Verb::Transfer`].
        Transfer = "transfer",
        /// [`Verb::Webhook`].
        Webhook = "webhook",
        /// [`Verb::Enqueue`].
        Enqueue = "enqueue",
        /// [`Verb::Hangup`].
        Hangup = "hangup",
    }
}

impl Verb {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> VerbName {
        match self {
            Self::Play(_) => VerbName::Play,
            Self::Say(_) => VerbName::Say,
            Self::Gather(_) => VerbName::Gather,
            Self::Record(_) => VerbName::Record,
            Self::Dtmf(_) => VerbName::Dtmf,
            Self::Pause { .. } => VerbName::Pause,
            Self::Park { .. } => VerbName::Park,
            Self::Set { .. } => VerbName::Set,
            Self::Branch { .. } => VerbName::Branch,
            Self::Notify { .. } => VerbName::Notify,
            Self::Amd { .. } => VerbName::Amd,
            Self::Bridge { .. } => VerbName::Bridge,
            Self::Dial(_) => VerbName::Dial,
            Self::Transfer { .. } => VerbName::Transfer,
            Self::Webhook(_) => VerbName::Webhook,
            Self::Enqueue { .. } => VerbName::Enqueue,
            Self::Hangup { .. } => VerbName::Hangup,
        }
    }

    /// The step after a `webhook` that got no usable answer.
    fn on_error(&self) -> Option<&String> {
        match self {
            Self::Webhook(webhook) => webhook.on_error.as_ref(),
            Self::Play(_) | Self::Gather(_) | Self::Record(_) | Self::Dtmf(_) | Self::Pause { .. } => None,
            Self::Park { .. } | Self::Set { .. } | Self::Branch { .. } | Self::Notify { .. } => None,
            Self::Amd { .. } | Self::Bridge { .. } | Self::Dial(_) | Self::Transfer { .. } => None,
            Self::Enqueue { .. } | Self::Hangup { .. } | Self::Say(_) => None,
        }
    }
}

/// One case of a `branch`.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Case {
    /// The condition.
    #[serde(rename = "if")]
    pub condition: Condition,
    /// The step to go to if it holds.
    pub then: String,
}

/// A test of one variable.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Condition {
    /// The variable's name, a call field, or `step.digits`.
    pub var: String,
    /// How it is compared, and with what.
    #[serde(flatten)]
    pub test: Test,
}

/// A comparison. A variable that is not set fails every test but `ne`.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(tag = "op", content = "value", rename_all = "lowercase")]
pub enum Test {
    /// Equal as text.
    Eq(Variable),
    /// Not equal as text, or not set.
    Ne(Variable),
    /// A number less than this.
    Lt(f64),
    /// A number greater than this.
    Gt(f64),
    /// Equal as text to one of these.
    In(Vec<Variable>),
    /// Matched by a regular expression, anywhere unless anchored, in the first 1,024 bytes.
    Matches(Pattern),
    /// Set at all.
    Exists,
}

impl Test {
    /// How much work [`Test::holds`] is at most: characters compared, and states of patterns visited.
    #[must_use]
    pub fn work(&self, variable: Option<&Variable>) -> usize {
        let length = match variable {
            Some(Variable::Text(text)) => text.len(),
            Some(Variable::Number(_) | Variable::Flag(_)) => 32,
            None => return 1,
        };
        match self {
            Self::Eq(_) | Self::Ne(_) | Self::Lt(_) | Self::Gt(_) | Self::Exists => 1 + length,
            Self::In(others) => 1 + length * others.len(),
            Self::Matches(pattern) => 1 + pattern.0.states.saturating_mul(length.min(MAX_MATCHED)),
        }
    }

    /// Whether it holds for `variable`.
    #[must_use]
    pub fn holds(&self, variable: Option<&Variable>) -> bool {
        let Some(variable) = variable else {
            return match self {
                Self::Ne(_) => true,
                Self::Eq(_) | Self::Lt(_) | Self::Gt(_) | Self::In(_) | Self::Matches(_) | Self::Exists => {
                    false
                }
            };
        };
        let text = variable.to_string();
        let number = || text.parse::<f64>().ok();
        match self {
            Self::Eq(other) => text == other.to_string(),
            Self::Ne(other) => text != other.to_string(),
            Self::Lt(bound) => number().is_some_and(|number| number < *bound),
            Self::Gt(bound) => number().is_some_and(|number| number > *bound),
            Self::In(others) => others.iter().any(|other| text == other.to_string()),
            Self::Matches(pattern) => pattern.is_match(&text),
            Self::Exists => true,
        }
    }
}

/// A compiled regular expression; matching takes time linear in the text.
#[derive(Clone, utoipa::ToSchema)]
#[schema(value_type = String, format = Regex, max_length = 256)]
pub struct Pattern(Compiled);

#[derive(Clone)]
struct Compiled {
    regex: regex_lite::Regex,
    /// How many states it has at most, roughly.
    states: usize,
}

impl Pattern {
    /// Compiles `source`, at most 256 bytes.
    pub fn new(source: &str) -> Result<Self, regex_lite::Error> {
        let build = |program| regex_lite::RegexBuilder::new(source).size_limit(program).build();
        // The smallest size that it fits into tells what matching it costs.
        let fitting = PROGRAMS.into_iter().filter(|_| source.len() <= MAX_PATTERN).find_map(|program| {
            let regex = build(program).ok()?;
            Some(Self(Compiled { regex, states: program / STATE }))
        });
        fitting.map_or_else(|| build(0).map(|regex| Self(Compiled { regex, states: 0 })), Ok)
    }

    /// Whether it matches somewhere in the first 1,024 bytes of `text`.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.0.regex.is_match(&text[..text.floor_char_boundary(MAX_MATCHED)])
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0.regex.as_str(), f)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.regex.as_str() == other.0.regex.as_str()
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.regex.as_str())
    }
}

impl Flow {
    /// Reads and checks a flow. Steps that nothing leads to are allowed.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, Self::read)
    }

    pub(crate) fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults);
        let start = fields.str("start", 1..=64);
        let start = fields.required("start", start).map(str::to_owned);
        let names = value.get("steps").and_then(Value::as_object);
        if let (Some(start), Some(names)) = (&start, names)
            && !names.contains_key(start)
        {
            fields.fault("start", unknown_step(start));
        }
        let steps = fields.nested("steps", read_steps);
        let steps = fields.required("steps", steps);
        fields.finish();
        Some(Self { start: start?, steps: steps? })
    }

    /// Whether it makes calls, has others make them, or asks somebody who may answer a flow that does.
    #[must_use]
    pub fn calls_out(&self) -> bool {
        let calls = |verb: &Verb| matches!(verb, Verb::Dial(_) | Verb::Transfer { .. } | Verb::Webhook(_));
        self.steps.values().any(|step| calls(&step.verb))
    }

    /// What the steps play, with the pointer of each sound, so that the engine can check that it is to be had.
    pub fn sounds(&self) -> impl Iterator<Item = (String, &Sound)> {
        self.steps.iter().flat_map(|(name, step)| {
            let (play, member) = match &step.verb {
                Verb::Play(play) => (Some(play), ""),
                Verb::Gather(gather) => (gather.play.as_ref(), "/play"),
                Verb::Park { play } => (play.as_ref(), "/play"),
                Verb::Record(_) | Verb::Pause { .. } | Verb::Set { .. } | Verb::Branch { .. } => (None, ""),
                // What it says is checked by itself.
                Verb::Say(_) => (None, ""),
                Verb::Dtmf(_) | Verb::Notify { .. } | Verb::Amd { .. } => (None, ""),
                Verb::Dial(dial) => (dial.play.as_ref(), "/play"),
                Verb::Bridge { .. } | Verb::Transfer { .. } | Verb::Webhook(_) => (None, ""),
                Verb::Enqueue { .. } | Verb::Hangup { .. } => (None, ""),
            };
            let at = format!("{}{member}", join("/steps", name));
            play.into_iter().flat_map(move |play| play.source.sounds_at(&at).collect::<Vec<_>>())
        })
    }
}

fn unknown_step(name: &str) -> String {
    format!("there is no step {name:?}")
}

fn is_step_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn read_steps(value: &Value, pointer: &str, faults: &mut Faults) -> Option<BTreeMap<String, Step>> {
    let Some(members) = value.as_object() else {
        faults.push(pointer, format_args!("must be an object of steps by name, not {}", kind(value)));
        return None;
    };
    if members.is_empty() || members.len() > MAX_STEPS {
        faults.push(pointer, format_args!("must hold 1 to {MAX_STEPS} steps, not {}", members.len()));
        return None;
    }
    let mut steps = BTreeMap::new();
    for (name, value) in members {
        let at = join(pointer, name);
        if !is_step_name(name) {
            faults.push(&at, "a step's name is 1 to 64 letters, digits, _ and -");
        }
        if let Some(step) = read_step(value, &at, faults) {
            steps.insert(name.clone(), step);
        }
        check_targets(value, &at, |target| members.contains_key(target), faults);
    }
    Some(steps)
}

/// Reads the targets from the JSON itself, so that those of a step with other faults are checked in the same pass.
fn check_targets(step: &Value, at: &str, exists: impl Fn(&str) -> bool, faults: &mut Faults) {
    let mut check = |pointer: String, target: Option<&Value>| {
        if let Some(target) = target.and_then(Value::as_str)
            && !exists(target)
        {
            faults.push(pointer, unknown_step(target));
        }
    };
    check(join(at, "next"), step.get("next"));
    check(join(at, "on_error"), step.get("on_error"));
    for (outcome, target) in step.get("on").and_then(Value::as_object).into_iter().flatten() {
        check(join(&join(at, "on"), outcome), Some(target));
    }
    for (index, case) in step.get("cases").and_then(Value::as_array).into_iter().flatten().enumerate() {
        check(format!("{at}/cases/{index}/then"), case.get("then"));
    }
}

fn read_step(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Step> {
    let mut fields = Fields::new(value, pointer, faults);
    let name = fields.str("verb", 1..=64);
    let name = fields.required("verb", name)?;
    let Some(name) = VerbName::from_word(name) else {
        let known = VerbName::ALL.iter().map(|verb| verb.as_str()).collect::<Vec<_>>().join(", ");
        fields.fault("verb", format_args!("unknown verb {name:?}; known: {known}"));
        return None;
    };
    let verb = read_verb(name, &mut fields);
    let goes_on = match name {
        VerbName::Play | VerbName::Record | VerbName::Pause | VerbName::Set | VerbName::Notify => true,
        VerbName::Say => true,
        VerbName::Gather | VerbName::Dtmf | VerbName::Branch | VerbName::Bridge | VerbName::Amd => true,
        VerbName::Dial | VerbName::Transfer | VerbName::Webhook | VerbName::Enqueue => true,
        VerbName::Park | VerbName::Hangup => false,
    };
    let next = if goes_on { fields.str("next", 1..=64).map(str::to_owned) } else { None };
    let has_outcomes = match name {
        VerbName::Gather | VerbName::Dtmf | VerbName::Branch | VerbName::Bridge | VerbName::Amd => true,
        VerbName::Dial | VerbName::Transfer | VerbName::Enqueue => true,
        VerbName::Play | VerbName::Record | VerbName::Pause | VerbName::Set | VerbName::Notify => false,
        VerbName::Say => false,
        VerbName::Webhook | VerbName::Park | VerbName::Hangup => false,
    };
    let on = if has_outcomes { fields.nested("on", read_on) } else { None }.unwrap_or_default();
    for outcome in on.keys() {
        let wrong = match &verb {
            Some(Verb::Gather(gather)) => gather_outcome_fault(gather, outcome),
            Some(Verb::Branch { .. }) if outcome != "else" => {
                Some("the only outcome of branch is else".to_owned())
            }
            Some(Verb::Amd { .. }) if AmdResult::from_word(outcome).is_none() => {
                Some("the outcomes of amd are human, machine, fax and unknown".to_owned())
            }
            Some(Verb::Bridge { .. }) if !matches!(outcome.as_str(), "ended" | "failed") => {
                Some("the outcomes of bridge are ended and failed".to_owned())
            }
            Some(Verb::Dial(_)) if outcome != "ended" && DialEnd::from_word(outcome).is_none() => {
                Some("the outcomes of dial are ended, busy, no-answer and failed".to_owned())
            }
            Some(Verb::Transfer { .. }) if TransferEnd::from_word(outcome).is_none() => {
                Some("the outcomes of transfer are ok and failed".to_owned())
            }
            Some(Verb::Enqueue { .. })
                if !matches!(outcome.as_str(), "ended" | "callback" | "timeout" | "closed") =>
            {
                Some("the outcomes of enqueue are ended, callback, timeout and closed".to_owned())
            }
            Some(Verb::Dtmf(_)) if outcome != "failed" => {
                Some("the only outcome of dtmf is failed".to_owned())
            }
            Some(_) | None => None,
        };
        if let Some(wrong) = wrong {
            fields.fault_in("on", outcome, wrong);
        }
    }
    fields.finish();
    Some(Step { verb: verb?, next, on })
}

/// Why `outcome` can never be the outcome of `gather`.
fn gather_outcome_fault(gather: &Gather, outcome: &str) -> Option<String> {
    if matches!(outcome, "timeout" | "else") {
        return None;
    }
    if outcome.is_empty() || !outcome.bytes().all(is_digit) {
        return Some("outcomes of gather are digits (0-9 * # A-D), timeout and else".to_owned());
    }
    if !(usize::from(gather.min)..=usize::from(gather.max)).contains(&outcome.len()) {
        return Some(format!("can never match: {} to {} digits are collected", gather.min, gather.max));
    }
    let terminator = outcome.chars().find(|digit| gather.terminators.contains(*digit))?;
    Some(format!("can never match: {terminator} is a terminator"))
}

fn read_on(value: &Value, pointer: &str, faults: &mut Faults) -> Option<BTreeMap<String, String>> {
    let Some(members) = value.as_object() else {
        faults.push(pointer, format_args!("must be an object of steps by outcome, not {}", kind(value)));
        return None;
    };
    let mut on = BTreeMap::new();
    for (outcome, target) in members {
        match target.as_str() {
            Some(target) => {
                on.insert(outcome.clone(), target.to_owned());
            }
            None => faults.push(join(pointer, outcome), "must be the name of a step"),
        }
    }
    Some(on)
}

fn read_verb(name: VerbName, fields: &mut Fields<'_>) -> Option<Verb> {
    Some(match name {
        VerbName::Play => Verb::Play(Play::read_fields(fields)?),
        VerbName::Say => Verb::Say(Say::read_fields(fields)?),
        VerbName::Gather => Verb::Gather(Gather::read_fields(fields)?),
        VerbName::Record => Verb::Record(RecordStep::read_fields(fields)?),
        VerbName::Dtmf => {
            let dtmf = Dtmf::read_fields(fields)?;
            // What variables bring is known when the step is reached.
            if !dtmf.digits.contains('{')
                && let Some(wrong) = dial_fault(&dtmf.digits)
            {
                fields.fault("digits", wrong);
            }
            Verb::Dtmf(dtmf)
        }
        VerbName::Pause => {
            let ms = fields.u32_in("ms", 1..=3_600_000);
            Verb::Pause { ms: fields.required("ms", ms)? }
        }
        VerbName::Bridge => {
            // Longer than an id: it may be a variable.
            let call_id = fields.str("call_id", 1..=128).map(str::to_owned);
            let bridge_id = fields.str("bridge_id", 1..=128).map(str::to_owned);
            if call_id.is_some() == bridge_id.is_some() {
                fields.fault("call_id", "either call_id or bridge_id says with whom");
            }
            Verb::Bridge { call_id, bridge_id }
        }
        VerbName::Dial => Verb::Dial(DialStep::read_fields(fields)?),
        VerbName::Transfer => Verb::Transfer { to: read_transfer_to(fields)? },
        VerbName::Enqueue => {
            // Longer than a name: it may be a variable.
            let queue = fields.str("queue", 1..=128);
            let queue = fields.required("queue", queue);
            let data = fields.value("data").cloned();
            let length = data.as_ref().map_or(0, |data| data.to_string().len());
            if length > MAX_DATA {
                fields.fault("data", format_args!("must be at most {MAX_DATA} bytes of JSON, not {length}"));
            }
            Verb::Enqueue { queue: queue?.to_owned(), data }
        }
        VerbName::Park => Verb::Park { play: fields.nested("play", Play::read) },
        VerbName::Set => {
            let variables = fields.nested("variables", read_variables);
            Verb::Set { variables: fields.required("variables", variables)? }
        }
        VerbName::Branch => {
            let cases = fields.nested("cases", read_cases);
            Verb::Branch { cases: fields.required("cases", cases)? }
        }
        VerbName::Notify => {
            let data = fields.value("data").cloned();
            let data = fields.required("data", data)?;
            let length = data.to_string().len();
            if length > MAX_NOTIFY {
                fields
                    .fault("data", format_args!("must be at most {MAX_NOTIFY} bytes of JSON, not {length}"));
            }
            Verb::Notify { data }
        }
        VerbName::Amd => Verb::Amd {
            wait_for_beep_ms: fields.u32_in("wait_for_beep_ms", 1..=120_000),
            parameters: AmdParameters::read_fields(fields),
        },
        VerbName::Webhook => Verb::Webhook(WebhookStep::read_fields(fields)?),
        VerbName::Hangup => Verb::Hangup { reason: fields.word("reason", HangupReason::ALL) },
    })
}

fn read_cases(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Vec<Case>> {
    let read = |item: &Value, at: &str, faults: &mut Faults| {
        let mut fields = Fields::new(item, at, faults);
        let condition = fields.nested("if", read_condition);
        let condition = fields.required("if", condition);
        let then = fields.str("then", 1..=64);
        let then = fields.required("then", then);
        fields.finish();
        Some(Case { condition: condition?, then: then?.to_owned() })
    };
    fault::list(value, pointer, 1..=MAX_CASES, "cases", read, faults)
}

fn read_condition(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Condition> {
    let mut fields = Fields::new(value, pointer, faults);
    let var = fields.str("var", 1..=129);
    let var = fields.required("var", var);
    if var.is_some_and(|var| !is_path(var)) {
        fields.fault("var", format_args!("must be a variable or step.variable; {NAME_RULE}"));
    }
    let op = fields.str("op", 1..=16);
    let op = fields.required("op", op);
    let test = op.and_then(|op| read_test(op, &mut fields));
    fields.finish();
    Some(Condition { var: var?.to_owned(), test: test? })
}

/// `name`, or `step.name`.
fn is_path(var: &str) -> bool {
    match var.split_once('.') {
        Some((step, name)) => is_step_name(step) && is_name(name),
        None => is_name(var),
    }
}

fn read_test(op: &str, fields: &mut Fields<'_>) -> Option<Test> {
    let test = match op {
        "eq" => fields.nested("value", read_variable).map(Test::Eq),
        "ne" => fields.nested("value", read_variable).map(Test::Ne),
        "lt" => fields.nested("value", read_number).map(Test::Lt),
        "gt" => fields.nested("value", read_number).map(Test::Gt),
        "in" => fields.nested("value", read_alternatives).map(Test::In),
        "matches" => fields.nested("value", read_pattern).map(Test::Matches),
        "exists" => return Some(Test::Exists),
        other => {
            fields.fault("op", format_args!("unknown {other:?}; known: eq, ne, lt, gt, in, matches, exists"));
            fields.value("value");
            return None;
        }
    };
    fields.required("value", test)
}

fn read_number(value: &Value, pointer: &str, faults: &mut Faults) -> Option<f64> {
    if !value.is_number() {
        faults.push(pointer, format_args!("must be a number, not {}", kind(value)));
    }
    value.as_f64()
}

fn read_alternatives(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Vec<Variable>> {
    fault::list(value, pointer, 1..=MAX_CASES, "values", read_variable, faults)
}

fn read_pattern(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Pattern> {
    let Some(source) = value.as_str().filter(|source| source.len() <= MAX_PATTERN) else {
        faults.push(pointer, format_args!("must be a regular expression of at most {MAX_PATTERN} bytes"));
        return None;
    };
    Pattern::new(source)
        .map_err(|error| faults.push(pointer, format_args!("not a regular expression: {error}")))
        .ok()
}
