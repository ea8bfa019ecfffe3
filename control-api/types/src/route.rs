//! What a web server answers when a route asks it about an inbound call.

use crate::{
    Fault, Variables,
    create::{FlowRef, read_flow_ref},
    fault::{self, Faults, Fields},
    variable::read_variables,
};
use serde::Serialize;
use serde_json::Value;

/// The answer of a route's webhook.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RouteAnswer {
    /// `{"flow": "name" | {…}, "variables"?: {…}}`: answer the call and run this flow.
    Flow {
        /// The flow.
        flow: FlowRef,
        /// Variables for it.
        variables: Variables,
    },
    /// `{"reject": 486}`: refuse the call.
    Reject {
        /// The SIP status, 300 to 699.
        reject: u16,
    },
}

impl RouteAnswer {
    /// Reads the body of an answer.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, Self::read)
    }

    fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults);
        let rejects = fields.has("reject");
        let reject = fields.u32_in("reject", 300..=699).and_then(|status| u16::try_from(status).ok());
        let flow = fields.nested("flow", read_flow_ref);
        let variables = fields.nested("variables", read_variables).unwrap_or_default();
        if rejects && fields.has("flow") {
            fields.fault("reject", "stands without flow");
        }
        if !rejects {
            fields.required("flow", flow.as_ref());
        }
        fields.finish();
        match reject {
            Some(reject) => Some(Self::Reject { reject }),
            None => Some(Self::Flow { flow: flow?, variables }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_a_flow_or_a_refusal() {
        let flow = json!({"start": "bye", "steps": {"bye": {"verb": "hangup"}}});
        for body in [
            json!({"flow": "menu", "variables": {}}),
            json!({"flow": "menu", "variables": {"who": "Ann"}}),
            json!({"flow": flow, "variables": {}}),
            json!({"reject": 486}),
        ] {
            let answer = RouteAnswer::from_json(&body).unwrap();
            assert_eq!(RouteAnswer::from_json(&serde_json::to_value(&answer).unwrap()).unwrap(), answer);
        }
        for (body, pointer) in [
            (json!([]), ""),
            (json!({}), "/flow"),
            (json!({"flow": "a b"}), "/flow"),
            (json!({"flow": {"start": "x", "steps": {}}}), "/flow"),
            (json!({"reject": 200}), "/reject"),
            (json!({"reject": 486, "flow": "menu"}), "/reject"),
            (json!({"flow": "menu", "colour": 1}), "/colour"),
            (json!({"flow": "menu", "variables": 1}), "/variables"),
        ] {
            let faults = RouteAnswer::from_json(&body).unwrap_err();
            assert!(faults[0].pointer.starts_with(pointer), "{body}: {faults:?}");
        }
    }
}
