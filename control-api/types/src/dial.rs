//! Calling others for a call: the flow verbs `dial` and `transfer`, and the flow that an answered call is given.

use crate::{
    CreateCall, EarlyMedia, Fault, FlowRef, Play, Variables,
    action::BLIND_RULE,
    call::words,
    create::{TARGET_RULE, endpoint, is_number, is_sip_uri, may_be_from, read_flow_ref},
    fault::{self, Faults, Fields, join, kind},
    variable::read_variables,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// Most targets of one `dial`: more phones than these do not ring for one caller.
pub const MAX_TARGETS: usize = 16;

/// Longest text that is dialled; variables in it count as they are written.
const MAX_TEXT: usize = 256;

/// Calls others, all at once, and bridges the call with the first that answers.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DialStep {
    /// Who is called: one, or a list of 1 to 16.
    #[schema(value_type = DialTo)]
    pub to: Vec<DialTarget>,
    /// The trunk for numbers that name none themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub trunk: Option<String>,
    /// The caller id. Without one a trunk shows its own, and an endpoint or a URI is shown who the far side of this call is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub from: Option<String>,
    /// Longest ringing of each.
    #[schema(required = false, default = 30, minimum = 1, maximum = 600)]
    pub timeout_s: u32,
    /// `connect`: the call hears the first of them that sends audio before it answers, in the place of `play`.
    #[schema(required = false, default = "ignore")]
    pub early_media: EarlyMedia,
    /// What the call hears until somebody answers: `{"tone": "ringback", "loop": 0}`, or music.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub play: Option<Play>,
}

/// One whom a `dial` calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DialTarget {
    /// A number, a `sip:` URI or `endpoint:NAME`, as when a call is placed; `{name}` is replaced.
    #[schema(min_length = 1, max_length = 256)]
    pub to: String,
    /// The trunk to call through.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub trunk: Option<String>,
}

/// The forms that `to` of a `dial` may have.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum DialTo {
    /// Several, called at once.
    List(Vec<DialToOne>),
    /// One.
    One(DialToOne),
}

/// One of them.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum DialToOne {
    /// Through the step's trunk, if it is a number.
    Text(String),
    /// With a trunk of its own.
    Target(DialTarget),
}

words! {
    /// Why a `dial` has reached nobody, as the calls that it made have ended: the first of these that any of them came to.
    DialEnd {
        /// Somebody was busy.
        Busy = "busy",
        /// It rang, and nobody answered.
        NoAnswer = "no-answer",
        /// Nobody could be called at all.
        Failed = "failed",
    }
}

words! {
    /// What came of a `transfer`.
    TransferEnd {
        /// The far side has reached whom it was sent to.
        Ok = "ok",
        /// It has not.
        Failed = "failed",
    }
}

impl DialStep {
    pub(crate) fn read_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let trunk = fields.str("trunk", 1..=64).map(str::to_owned);
        let to = fields.nested("to", read_targets);
        let to = fields.required("to", to);
        let needs_trunk = |target: &DialTarget| target.trunk.is_none() && is_number(&target.to);
        if trunk.is_none() && to.iter().flatten().any(needs_trunk) {
            fields.fault("trunk", "is required for numbers, here or beside each of them");
        }
        let from = fields.str("from", 1..=MAX_TEXT).map(str::to_owned);
        if from.as_ref().is_some_and(|from| !from.contains('{') && !may_be_from(from)) {
            fields.fault("from", "must be a number, a SIP user name (letters, digits, _ . -) or a sip: URI");
        }
        let timeout_s = fields.u32_in("timeout_s", 1..=600).unwrap_or(30);
        let early_media = fields.word("early_media", EarlyMedia::ALL).unwrap_or(EarlyMedia::Ignore);
        let play = fields.nested("play", Play::read);
        Some(Self { to: to?, trunk, from, timeout_s, early_media, play })
    }

    /// The call to `target`, one of this step's; `from` is the caller id where the step has none and no trunk has one.
    pub fn call(&self, target: &DialTarget, from: Option<&str>) -> Result<CreateCall, Vec<Fault>> {
        let trunk = target.trunk.as_ref().or(self.trunk.as_ref().filter(|_| is_number(&target.to)));
        let from = match (&self.from, trunk) {
            (Some(from), _) => Some(from.as_str()),
            (None, Some(_)) => None,
            (None, None) => from.filter(|from| may_be_from(from)),
        };
        CreateCall::from_json(&json!({
            "to": target.to, "trunk": trunk, "from": from, "timeout_s": self.timeout_s, "early_media": self.early_media,
        }))
    }
}

fn read_targets(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Vec<DialTarget>> {
    let Value::Array(items) = value else { return Some(vec![read_target(value, pointer, faults)?]) };
    if items.is_empty() || items.len() > MAX_TARGETS {
        faults.push(pointer, format_args!("must hold 1 to {MAX_TARGETS} targets, not {}", items.len()));
        return None;
    }
    let read = |(index, item): (usize, &Value)| read_target(item, &join(pointer, &index.to_string()), faults);
    let targets: Vec<Option<DialTarget>> = items.iter().enumerate().map(read).collect();
    targets.into_iter().collect()
}

fn read_target(value: &Value, pointer: &str, faults: &mut Faults) -> Option<DialTarget> {
    match value {
        Value::String(text) => {
            let fault = Some(text).filter(|text| text.len() > MAX_TEXT || is_wrong(text));
            if fault.is_some() {
                faults.push(pointer, TARGET_RULE);
            }
            Some(DialTarget { to: text.clone(), trunk: None })
        }
        Value::Object(_) => {
            let mut fields = Fields::new(value, pointer, faults);
            let to = fields.str("to", 1..=MAX_TEXT);
            let to = fields.required("to", to);
            if to.is_some_and(is_wrong) {
                fields.fault("to", TARGET_RULE);
            }
            let trunk = fields.str("trunk", 1..=64).map(str::to_owned);
            if trunk.is_some() && to.is_some_and(|to| endpoint(to).is_some()) {
                fields.fault("trunk", "endpoints are not called through trunks");
            }
            fields.finish();
            Some(DialTarget { to: to?.to_owned(), trunk })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            faults.push(pointer, format_args!("{TARGET_RULE}, or an object, not {}", kind(value)));
            None
        }
    }
}

/// Whether nobody can be called by it. What variables bring is known when the step is reached.
fn is_wrong(to: &str) -> bool {
    !to.contains('{') && !is_number(to) && !is_sip_uri(to) && endpoint(to).is_none()
}

/// The body of `POST /v1/calls/{id}/flow`.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveFlow {
    /// What the call does from now on.
    pub flow: FlowRef,
    /// Variables that are set before it begins, beside those that the call has.
    #[serde(skip_serializing_if = "Variables::is_empty")]
    #[schema(required = false)]
    pub variables: Variables,
}

impl GiveFlow {
    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, |value, pointer, faults| {
            let mut fields = Fields::new(value, pointer, faults);
            let flow = fields.nested("flow", read_flow_ref);
            let flow = fields.required("flow", flow);
            let variables = fields.nested("variables", read_variables).unwrap_or_default();
            fields.finish();
            Some(Self { flow: flow?, variables })
        })
    }
}

/// Reads `to` of a `transfer` step: whom a blind transfer may be to.
pub(crate) fn read_transfer_to(fields: &mut Fields<'_>) -> Option<String> {
    let to = fields.str("to", 1..=MAX_TEXT);
    let to = fields.required("to", to)?;
    if !to.contains('{') && !is_number(to) && !is_sip_uri(to) {
        fields.fault("to", BLIND_RULE);
    }
    Some(to.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Flow, Verb};

    fn dial(step: Value) -> Result<DialStep, Vec<String>> {
        let mut step = step;
        step["verb"] = json!("dial");
        let flow = Flow::from_json(&json!({"start": "a", "steps": {"a": step}}))
            .map_err(|faults| faults.into_iter().map(|fault| fault.pointer).collect::<Vec<_>>())?;
        let Verb::Dial(dial) = &flow.steps["a"].verb else { panic!("{flow:?}") };
        Ok(dial.clone())
    }

    fn at(pointers: &[&str]) -> Result<DialStep, Vec<String>> {
        Err(pointers.iter().map(|pointer| format!("/steps/a{pointer}")).collect())
    }

    #[test]
    fn one_or_several_are_dialled_and_read_back() {
        let one = dial(json!({"to": "endpoint:a"})).unwrap();
        assert_eq!((one.to.len(), one.timeout_s, one.early_media), (1, 30, EarlyMedia::Ignore));
        assert_eq!(dial(serde_json::to_value(&one).unwrap()).unwrap(), one);
        let several = json!({"to": ["+62811", {"to": "62812", "trunk": "b"}, "sip:x@y", "{who}"], "trunk": "a",
            "timeout_s": 5, "early_media": "connect", "from": "{from}", "play": {"tone": "ringback", "loop": 0},
            "on": {"ended": "a", "busy": "a", "no-answer": "a", "failed": "a"}, "next": "a"});
        let several = dial(several).unwrap();
        assert_eq!(dial(serde_json::to_value(&several).unwrap()).unwrap(), several);
        assert_eq!(dial(json!({"to": {"to": "62812", "trunk": "b"}})).unwrap().to.len(), 1);
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        assert_eq!(dial(json!({})), at(&["/to"]));
        assert_eq!(dial(json!({"to": []})), at(&["/to"]));
        assert_eq!(dial(json!({"to": vec!["endpoint:a"; 17]})), at(&["/to"]));
        assert_eq!(dial(json!({"to": 7})), at(&["/to"]));
        assert_eq!(dial(json!({"to": "x y"})), at(&["/to"]));
        assert_eq!(dial(json!({"to": "62811"})), at(&["/trunk"]));
        let list = json!(["endpoint:a", "", {"to": "x y"}, {"to": "endpoint:a", "trunk": "t"}, {}, {"x": 1, "to": "sip:x"}]);
        let places = ["/to/1", "/to/2/to", "/to/3/trunk", "/to/4/to", "/to/5/x"];
        assert_eq!(dial(json!({"to": list})), at(&places));
        let rest =
            json!({"to": "endpoint:a", "timeout_s": 0, "from": "x y", "early_media": 1, "play": {}, "z": 1});
        let told = dial(rest).unwrap_err();
        assert_eq!(told[..3], at(&["/from", "/timeout_s", "/early_media"]).unwrap_err());
        assert_eq!(dial(json!({"to": "endpoint:a", "on": {"answered": "a"}})), at(&["/on/answered"]));
    }

    #[test]
    fn a_branch_is_a_call_with_the_caller_id_that_suits_it() {
        let step = dial(
            json!({"to": ["endpoint:a", {"to": "62812", "trunk": "b"}, "62813"], "trunk": "c", "timeout_s": 7}),
        );
        let step = step.unwrap();
        let calls: Vec<_> = step.to.iter().map(|to| step.call(to, Some("62899")).unwrap()).collect();
        let of = |n: usize| (calls[n].trunk.as_deref(), calls[n].from.as_deref(), calls[n].timeout_s);
        assert_eq!(
            [of(0), of(1), of(2)],
            [(None, Some("62899"), 7), (Some("b"), None, 7), (Some("c"), None, 7)]
        );
        // A caller that no From can be made of is not shown.
        assert_eq!(step.call(&step.to[0], Some("a b")).unwrap().from, None);
        let own = DialStep { from: Some("100".into()), ..step };
        assert_eq!(own.call(&own.to[1], Some("62899")).unwrap().from.as_deref(), Some("100"));
        // What variables have brought is checked as any request is.
        let odd = DialTarget { to: "6 2".into(), trunk: None };
        assert!(own.call(&odd, None).is_err());
    }

    #[test]
    fn a_flow_is_given_with_variables() {
        let body = GiveFlow::from_json(&json!({"flow": "menu", "variables": {"x": 1}})).unwrap();
        assert_eq!(GiveFlow::from_json(&serde_json::to_value(&body).unwrap()).unwrap(), body);
        let wrong = GiveFlow::from_json(&json!({"variables": [], "x": 1})).unwrap_err();
        let pointers: Vec<_> = wrong.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/flow", "/variables", "/x"]);
    }
}
