//! Placing a call.

use crate::{
    Amd, Attestation, CallId, Codec, Fault, RecordOptions, Secret, Variables,
    call::words,
    fault::{self, Faults, Fields, join, kind},
    flow::Flow,
    id::is_id,
    variable::read_variables,
    webhook::{read_secret, read_url, shown},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Most digits of a number: E.164 has 15; prefixes that choose a route or an account come before them.
pub const MAX_DIGITS: usize = 32;

/// What a message says of one who cannot be called.
pub(crate) const TARGET_RULE: &str =
    "must be a number (at most 32 digits, * and #, optionally + in front), a sip: URI or endpoint:NAME";

/// What a call does once it is answered.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum FlowRef {
    /// A stored flow by name.
    Name(String),
    /// A flow given with the request.
    #[schema(value_type = Flow)]
    Inline(Arc<Flow>),
}

words! {
    /// What is done with audio before the answer.
    EarlyMedia {
        /// Nothing: media begins with the answer.
        Ignore = "ignore",
        /// Media begins with it, so that it is received and counted, and heard by the call that a `dial` is for; the flow waits
        /// for the answer.
        Connect = "connect",
    }
}

/// The body of `POST /v1/calls`.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCall {
    /// The call's id; without one the engine makes a ULID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<CallId>,
    /// A number (digits, optionally with `+` in front), a `sip:` URI, or `endpoint:NAME`: an endpoint that has registered
    /// here, all of whose contacts ring.
    #[schema(examples("+628761234567", "sip:bob@192.0.2.7", "endpoint:agent-1"), max_length = 256)]
    pub to: String,
    /// The caller id; without one the trunk's first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub from: Option<String>,
    /// The trunk to call through; needed for numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub trunk: Option<String>,
    /// Longest ringing.
    #[schema(required = false, default = 30, minimum = 1, maximum = 600)]
    pub timeout_s: u32,
    /// Longest call after the answer.
    #[schema(required = false, default = 14_400, minimum = 1, maximum = 86_400)]
    pub max_duration_s: u32,
    /// Codecs to offer, best first; without them the trunk's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codecs: Option<Vec<Codec>>,
    /// Further SIP headers of the INVITE. Those that the engine writes itself are refused, and so are identity headers with
    /// a number that is none of the trunk's `caller_ids`, where it has any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What is done with audio before the answer.
    #[schema(required = false, default = "ignore")]
    pub early_media: EarlyMedia,
    /// Whether it is found out who answers: human, machine or fax. With `"early_media": "connect"` the tones and
    /// announcements before the answer are noted, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amd: Option<Amd>,
    /// How well the caller is known, as the call is signed (STIR/SHAKEN); without it the trunk's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attest: Option<Attestation>,
    /// Records the call from its answer on; `true`: as `{}` would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordOptions>,
    /// What the call does when answered; without one it is parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowRef>,
    /// Variables for the flow.
    #[serde(skip_serializing_if = "Variables::is_empty")]
    pub variables: Variables,
    /// The caller's own data, at most 4 KiB, repeated in the call and in each of its events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 4096)]
    pub client_state: Option<Arc<str>>,
    /// Where each event of the call is posted, beside the webhooks of `POST /v1/webhooks` and under the same rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2048)]
    pub webhook_url: Option<String>,
    /// What these are signed with: `whsec_` and 24 to 64 bytes in base64. Without one the secret of `[webhooks]` in the
    /// configuration does, and without that they are not signed.
    #[serde(with = "shown", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^whsec_[A-Za-z0-9+/]{32,88}={0,2}$")]
    pub webhook_secret: Option<Secret>,
}

/// Headers that are the engine's own: routing, dialog, transaction, authentication, body and session timer.
const RESERVED_HEADERS: &[&str] = &[
    "accept",
    "allow",
    "authorization",
    "b",
    "c",
    "call-id",
    "contact",
    "content-disposition",
    "content-encoding",
    "content-length",
    "content-type",
    "cseq",
    "d",
    "e",
    "expires",
    "f",
    "from",
    "i",
    "identity",
    "k",
    "l",
    "m",
    "max-forwards",
    "mime-version",
    "min-se",
    "proxy-authorization",
    "proxy-require",
    "rack",
    "record-route",
    "replaces",
    "require",
    "route",
    "rseq",
    "session-expires",
    "supported",
    "t",
    "to",
    "user-agent",
    "v",
    "via",
    "x",
    "y",
];

impl CreateCall {
    /// A call to `to` with every other field at its default.
    pub fn to(to: impl Into<String>) -> Self {
        Self {
            id: None,
            to: to.into(),
            from: None,
            trunk: None,
            timeout_s: 30,
            max_duration_s: 14_400,
            codecs: None,
            headers: BTreeMap::new(),
            early_media: EarlyMedia::Ignore,
            amd: None,
            attest: None,
            record: None,
            flow: None,
            variables: Variables::new(),
            client_state: None,
            webhook_url: None,
            webhook_secret: None,
        }
    }

    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, Self::read)
    }

    fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults);
        let id = fields.nested("id", |value, at, faults| {
            let id = value.as_str().and_then(|text| CallId::new(text).ok());
            if id.is_none() {
                faults.push(at, crate::InvalidId);
            }
            id
        });
        let to = fields.str("to", 1..=256);
        let to = fields.required("to", to);
        if to.is_some_and(|to| !is_number(to) && !is_sip_uri(to) && endpoint(to).is_none()) {
            fields.fault("to", TARGET_RULE);
        }
        let from = fields.str("from", 1..=256).map(str::to_owned);
        if from.as_ref().is_some_and(|from| !may_be_from(from)) {
            fields.fault("from", "must be a number, a SIP user name (letters, digits, _ . -) or a sip: URI");
        }
        let timeout_s = fields.u32_in("timeout_s", 1..=600).unwrap_or(30);
        let trunk = fields.str("trunk", 1..=64).map(str::to_owned);
        if trunk.is_none() && to.is_some_and(is_number) {
            fields.required("trunk", None::<()>);
        }
        if trunk.is_some() && to.is_some_and(|to| endpoint(to).is_some()) {
            fields.fault("trunk", "endpoints are not called through trunks");
        }
        let max_duration_s = fields.u32_in("max_duration_s", 1..=86_400).unwrap_or(14_400);
        let codecs = fields.nested("codecs", read_codecs);
        let headers = fields.nested("headers", read_headers).unwrap_or_default();
        let early_media = fields.word("early_media", EarlyMedia::ALL).unwrap_or(EarlyMedia::Ignore);
        let amd = fields.nested("amd", Amd::read);
        let attest = fields.word("attest", Attestation::ALL);
        let record = fields.nested("record", RecordOptions::read_switch).flatten();
        let flow = fields.nested("flow", read_flow_ref);
        let variables = fields.nested("variables", read_variables).unwrap_or_default();
        let client_state = fields.str("client_state", 0..=4096).map(Arc::from);
        let webhook_url = read_url("webhook_url", &mut fields);
        let webhook_secret = read_secret("webhook_secret", &mut fields);
        if webhook_secret.is_some() && !fields.has("webhook_url") {
            fields.fault("webhook_secret", "stands beside webhook_url");
        }
        fields.finish();
        let to = to?.to_owned();
        Some(Self {
            id,
            to,
            from,
            trunk,
            timeout_s,
            max_duration_s,
            codecs,
            headers,
            early_media,
            amd,
            attest,
            record,
            flow,
            variables,
            client_state,
            webhook_url,
            webhook_secret,
        })
    }

    /// Whether [`CreateCall::to`] is a SIP URI; otherwise it is a number.
    #[must_use]
    pub fn to_is_uri(&self) -> bool {
        is_sip_uri(&self.to)
    }

    /// The endpoint, if [`CreateCall::to`] names one.
    #[must_use]
    pub fn to_endpoint(&self) -> Option<&str> {
        endpoint(&self.to)
    }
}

/// The name in `endpoint:NAME`.
pub(crate) fn endpoint(text: &str) -> Option<&str> {
    text.strip_prefix("endpoint:").filter(|name| is_id(name))
}

pub(crate) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    (1..=MAX_DIGITS).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'*' | b'#'))
}

/// Whether `text` may be a caller id.
pub(crate) fn may_be_from(text: &str) -> bool {
    is_caller_id(text) || is_sip_uri(text)
}

pub(crate) fn is_caller_id(text: &str) -> bool {
    is_number(text) || is_id(text)
}

/// A first look: the scheme and nothing that could break out of a header; the SIP side parses the rest.
pub(crate) fn is_sip_uri(text: &str) -> bool {
    text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sip:"))
        && text.len() > 4
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"'))
}

pub(crate) fn read_codecs(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Vec<Codec>> {
    let known = Codec::ALL.iter().map(|codec| codec.as_str()).collect::<Vec<_>>().join(", ");
    let mut listed = Vec::new();
    let read = |item: &Value, at: &str, faults: &mut Faults| match item.as_str().and_then(Codec::named) {
        Some(codec) if listed.contains(&codec) => {
            faults.push(at, "is listed twice");
            None
        }
        Some(codec) => {
            listed.push(codec);
            Some(codec)
        }
        None => {
            faults.push(at, format_args!("must be one of: {known}"));
            None
        }
    };
    fault::list(value, pointer, 1..=8, &format!("codecs of {known}"), read, faults)
}

pub(crate) fn read_headers(
    value: &Value,
    pointer: &str,
    faults: &mut Faults,
) -> Option<BTreeMap<String, String>> {
    let Some(members) = value.as_object().filter(|members| members.len() <= 32) else {
        faults.push(pointer, "must be an object of at most 32 headers");
        return None;
    };
    let mut headers = BTreeMap::new();
    for (name, value) in members {
        let at = join(pointer, name);
        if name.len() > 64 || !is_token(name) {
            faults.push(at, "a header's name is at most 64 letters, digits and - . ! % * _ + ` ' ~");
        } else if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            faults.push(at, "is written by the engine and cannot be set");
        } else {
            match value.as_str() {
                Some(text) if text.len() <= 1024 && !text.chars().any(char::is_control) => {
                    headers.insert(name.clone(), text.to_owned());
                }
                Some(_) => faults.push(at, "must be one line of at most 1024 bytes"),
                None => faults.push(at, format_args!("must be a string, not {}", kind(value))),
            }
        }
    }
    Some(headers)
}

/// RFC 3261 §25.1: `token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~")`.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

pub(crate) fn read_flow_ref(value: &Value, pointer: &str, faults: &mut Faults) -> Option<FlowRef> {
    match value {
        Value::String(name) if is_id(name) => Some(FlowRef::Name(name.clone())),
        Value::String(_) => {
            faults.push(pointer, format_args!("a flow's name {}", crate::InvalidId));
            None
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Flow::read(value, pointer, faults).map(|flow| FlowRef::Inline(Arc::new(flow)))
        }
    }
}
