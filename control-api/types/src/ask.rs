//! A step that asks a web server how the flow goes on, and what the server answers.

use crate::{
    Fault, Variables,
    create::{FlowRef, read_flow_ref},
    fault::{self, Faults, Fields},
    variable::read_variables,
};
use serde::Serialize;
use serde_json::Value;

/// The fields of the verb `webhook`.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct WebhookStep {
    /// Where the call is posted to, as JSON: `https://…`, in which `{name}` is replaced.
    #[schema(max_length = 2048)]
    pub url: String,
    /// The longest wait for the answer.
    #[schema(required = false, default = 3_000, minimum = 100, maximum = 30_000)]
    pub timeout_ms: u32,
    /// The step to go to without a usable answer; without it `next`. `{step.error}` tells what was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_error: Option<String>,
}

impl WebhookStep {
    pub(crate) fn read_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let url = fields.str("url", 1..=2048);
        let url = fields.required("url", url).map(str::to_owned);
        if url.as_ref().is_some_and(|url| url.bytes().any(|b| b.is_ascii_control() || b == b' ')) {
            fields.fault("url", "must be a URL, without blanks");
        }
        let timeout_ms = fields.u32_in("timeout_ms", 100..=30_000).unwrap_or(3_000);
        let on_error = fields.str("on_error", 1..=64).map(str::to_owned);
        Some(Self { url: url?, timeout_ms, on_error })
    }
}

/// The answer to a `webhook` step: `{"variables"?: {…}, "flow"?: "name" | {…}, "next"?: "step"}`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepAnswer {
    /// Set before the flow goes on.
    pub variables: Variables,
    /// Where it goes on.
    pub then: Then,
}

/// Where a flow goes on after a `webhook` step.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Then {
    /// Where the step's `next` says.
    #[default]
    Next,
    /// At this step of the same flow.
    Step(String),
    /// At the start of another flow, which takes its place.
    Flow(FlowRef),
}

impl StepAnswer {
    /// Reads the body of an answer.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, Self::read)
    }

    fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults);
        let variables = fields.nested("variables", read_variables).unwrap_or_default();
        if fields.has("flow") && fields.has("next") {
            fields.fault("next", "stands without flow");
        }
        let flow = fields.nested("flow", read_flow_ref);
        let next = fields.str("next", 1..=64).map(str::to_owned);
        fields.finish();
        let then = flow.map(Then::Flow).or(next.map(Then::Step)).unwrap_or_default();
        Some(Self { variables, then })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_may_set_variables_and_say_where_to_go() {
        let read = |body: Value| StepAnswer::from_json(&body).unwrap();
        assert_eq!(read(json!({})), StepAnswer::default());
        let answer = read(json!({"variables": {"tier": "gold"}, "next": "vip"}));
        assert_eq!(answer.then, Then::Step("vip".into()));
        assert_eq!(answer.variables["tier"], "gold".into());
        assert_eq!(read(json!({"flow": "menu"})).then, Then::Flow(FlowRef::Name("menu".into())));
        for (body, pointer) in [
            (json!({"flow": "menu", "next": "a"}), "/next"),
            (json!({"flow": {"start": "a"}}), "/flow/steps"),
            (json!({"variables": []}), "/variables"),
            (json!({"colour": "red"}), "/colour"),
            (json!("menu"), ""),
        ] {
            assert_eq!(StepAnswer::from_json(&body).unwrap_err()[0].pointer, pointer, "{body}");
        }
    }
}
