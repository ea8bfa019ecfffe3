//! Webhooks: events posted to a web server, signed as Standard Webhooks (standardwebhooks.com) has it.

use crate::{
    EventTypes, Fault, Secret, Timestamp,
    call::words,
    fault::{self, Faults, Fields},
};
use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// What a secret begins with.
pub const SECRET_PREFIX: &str = "whsec_";

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a secret must be, for whoever gave another.
const SECRET_RULE: &str = "must be whsec_ and 24 to 64 bytes in base64";

words! {
    /// Whether a webhook is at work.
    WebhookStatus {
        /// It is.
        Enabled = "enabled",
        /// Its server has answered 410: it wants no more. What waited for it is gone.
        Disabled = "disabled",
    }
}

/// The body of `POST /v1/webhooks`.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWebhook {
    /// Where to post to: `https://…`; `http://` and private addresses only where `[http]` of the configuration allows them.
    #[schema(max_length = 2048, examples("https://hooks.example.com/carillon"))]
    pub url: String,
    /// Which events.
    pub events: EventTypes,
    /// What to sign with: `whsec_` and 24 to 64 bytes in base64. Without one the engine makes one.
    #[serde(with = "shown", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^whsec_[A-Za-z0-9+/]{32,88}={0,2}$")]
    pub secret: Option<Secret>,
}

impl CreateWebhook {
    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, Self::read)
    }

    fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults);
        let url = read_url("url", &mut fields);
        let url = fields.required("url", url);
        let events = fields.nested("events", EventTypes::read);
        let events = fields.required("events", events);
        let secret = read_secret("secret", &mut fields);
        fields.finish();
        Some(Self { url: url?, events: events?, secret })
    }
}

/// A webhook, and how its deliveries go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Webhook {
    /// Its id: a ULID.
    pub id: String,
    /// Where events are posted to.
    pub url: String,
    /// Which events.
    pub events: EventTypes,
    /// Whether it is at work.
    pub status: WebhookStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// Events that wait for their delivery, or its repetition.
    pub pending: u64,
    /// Events that had no room among those that wait, since the engine started. Its server is told of them by `events.dropped`.
    pub dropped: u64,
    /// Events given up after 24 hours of attempts, since the engine started.
    pub given_up: u64,
    /// When its server took an event last, since the engine started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_delivered_at: Option<Timestamp>,
    /// Why the last failed attempt failed, if none has succeeded since the engine started or after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_at: Option<Timestamp>,
    /// What its deliveries are signed with: in the answer that made it, if the engine chose it, and nowhere else.
    #[serde(default, with = "shown", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, examples("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))]
    pub secret: Option<Secret>,
}

/// A secret in the one place where it is written out: for whoever must know it.
pub(crate) mod shown {
    use super::{Deserialize, Secret};
    use serde::{Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "the signature that serde asks for")]
    pub(crate) fn serialize<S: Serializer>(secret: &Option<Secret>, to: S) -> Result<S::Ok, S::Error> {
        match secret {
            Some(Secret(text)) => to.serialize_str(text),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Secret))
    }
}

/// The bytes of a secret in its written form.
#[must_use]
pub fn secret_bytes(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(text.strip_prefix(SECRET_PREFIX)?).ok()?;
    (24..=64).contains(&bytes.len()).then_some(bytes)
}

/// The written form of a secret.
#[must_use]
pub fn written_secret(bytes: &[u8]) -> String {
    format!("{SECRET_PREFIX}{}", BASE64.encode(bytes))
}

/// An absolute URL for HTTP; whether it may be asked is for the engine to say.
pub(crate) fn read_url(key: &'static str, fields: &mut Fields<'_>) -> Option<String> {
    let url = fields.str(key, 1..=2048)?;
    let is_http = ["https://", "http://"].iter().any(|scheme| {
        url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            && url.len() > scheme.len()
    });
    if !is_http || !url.bytes().all(|b| b.is_ascii_graphic()) {
        fields.fault(key, "must be a URL that begins with https:// or http://");
        return None;
    }
    Some(url.to_owned())
}

pub(crate) fn read_secret(key: &'static str, fields: &mut Fields<'_>) -> Option<Secret> {
    let text = fields.str(key, 0..=usize::MAX)?;
    if secret_bytes(text).is_none() {
        fields.fault(key, SECRET_RULE);
        return None;
    }
    Some(Secret(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_webhook_names_where_and_what() {
        let body = json!({"url": "https://h.example/x", "events": ["call.*", "trunk.up"], "secret": SECRET});
        let create = CreateWebhook::from_json(&body).unwrap();
        assert!(create.events.contains("call.ended") && !create.events.contains("trunk.down"));
        assert_eq!(create.secret, Some(Secret(SECRET.to_owned())));
        assert!(!format!("{create:?}").contains("MfKQ"), "secrets are not for logs");
    }

    #[test]
    fn each_fault_has_its_place() {
        for (body, pointers) in [
            (json!({}), vec!["/url", "/events"]),
            (json!({"url": "ftp://h/", "events": []}), vec!["/url", "/events"]),
            (json!({"url": "https://h/ x", "events": ["call.*", "call.dtfm"]}), vec!["/url", "/events/1"]),
            (
                json!({"url": "https://h/", "events": ["*", 1], "secret": "whsec_short"}),
                vec!["/events/1", "/secret"],
            ),
            (json!({"url": "https://h/", "events": "call.*", "colour": 1}), vec!["/events", "/colour"]),
            (json!(["https://h/"]), vec![""]),
        ] {
            let faults = CreateWebhook::from_json(&body).unwrap_err();
            let told: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
            assert_eq!(told, pointers, "{body}");
        }
    }

    #[test]
    fn secrets_are_written_as_the_standard_has_it() {
        let bytes = secret_bytes(SECRET).unwrap();
        assert_eq!((bytes.len(), written_secret(&bytes).as_str()), (24, SECRET));
        for bad in [
            "",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_",
            "whsec_!!!",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa",
        ] {
            assert_eq!(secret_bytes(bad), None, "{bad}");
        }
        assert_eq!(secret_bytes(&written_secret(&[7; 64])).unwrap(), [7; 64]);
        assert_eq!(secret_bytes(&written_secret(&[7; 65])), None);
    }
}
