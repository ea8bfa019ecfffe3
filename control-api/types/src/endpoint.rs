//! Endpoints: agents' phones and browsers that register here.

use crate::{
    Codec, Fault, Srtp, Timestamp,
    call::words,
    create::read_codecs,
    fault::{self, Faults, Fields, join},
    id::is_id,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

words! {
    /// A protocol that SIP runs over.
    SipTransport {
        /// UDP.
        Udp = "udp",
        /// TCP.
        Tcp = "tcp",
        /// TLS.
        Tls = "tls",
        /// WebSocket.
        Ws = "ws",
        /// WebSocket over TLS.
        Wss = "wss",
    }
}

words! {
    /// How an endpoint's media comes.
    EndpointMedia {
        /// As that of a browser (WebRTC): ICE, and SRTP with keys of a DTLS handshake.
        Webrtc = "webrtc",
        /// As that of a phone: RTP, or SRTP with keys in SDP.
        Rtp = "rtp",
    }
}

/// Where an endpoint can be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndpointContact {
    /// Its contact's URI.
    pub uri: String,
    /// The transport it registered by.
    pub transport: SipTransport,
    /// The address it registered from.
    #[schema(examples("192.0.2.7:5060"))]
    pub source: String,
    /// What it says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Its preference, 0 to 1; those of one value ring together, higher ones first.
    pub q: f32,
    /// Since when it can be reached there.
    pub registered_at: Timestamp,
    /// Until when, unless it registers again.
    pub expires_at: Timestamp,
    /// Proxies on the way to it, the first first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
}

/// An agent's phone or browser. Its password is never shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Endpoint {
    /// Its name; `endpoint:NAME` calls it.
    pub name: String,
    /// Whom it authenticates as.
    pub username: String,
    /// Who calls, when it calls; without one its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,
    /// Most contacts at a time.
    pub max_contacts: u32,
    /// Codecs offered to it and accepted from it, best first.
    pub codecs: Vec<Codec>,
    /// Whether its media is encrypted.
    #[serde(default = "srtp_off", skip_serializing_if = "Srtp::is_off")]
    pub srtp: Srtp,
    /// How its media comes; without one as a browser's where it registers by WebSocket, and where it offers so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<EndpointMedia>,
    /// Whether its phone is asked to answer by itself (`Call-Info: …;answer-after=0`, `Alert-Info: …;info=alert-autoanswer`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_answer: bool,
    /// The only transports that it may register by; empty: any.
    pub transports: Vec<SipTransport>,
    /// Whether the configuration file has it: it is changed there, and not by the API.
    pub configured: bool,
    /// Where it can be reached now.
    pub contacts: Vec<EndpointContact>,
}

fn srtp_off() -> Srtp {
    Srtp::Off
}

/// The body of `POST /v1/endpoints` and, without its name, of `PUT /v1/endpoints/{name}`.
#[derive(Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutEndpoint {
    /// Its name: letters, digits, `_`, `.`, `-`. In the path of a PUT.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub name: Option<String>,
    /// Whom it authenticates as; without one its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub username: Option<String>,
    /// Its password. A PUT without one keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub password: Option<String>,
    /// Who calls, when it calls; without one its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub caller_id: Option<String>,
    /// Most contacts at a time; to make room for one more, the one confirmed longest ago goes.
    #[schema(required = false, default = 10, minimum = 1, maximum = 100)]
    pub max_contacts: u32,
    /// Codecs offered to it and accepted from it, best first; without them all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codecs: Option<Vec<Codec>>,
    /// Whether its media is encrypted. The keys stand in SDP, so it should register over TLS.
    #[serde(skip_serializing_if = "Srtp::is_off")]
    #[schema(required = false, default = "off")]
    pub srtp: Srtp,
    /// How its media comes; without one as a browser's where it registers by WebSocket, and where it offers so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<EndpointMedia>,
    /// Whether its phone is asked to answer by itself (`Call-Info: …;answer-after=0`, `Alert-Info: …;info=alert-autoanswer`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false, default = false)]
    pub auto_answer: bool,
    /// The only transports that it may register by; without them any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transports: Vec<SipTransport>,
}

impl PutEndpoint {
    /// An endpoint with this password and every other field at its default.
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            username: None,
            password: Some(password.into()),
            caller_id: None,
            max_contacts: 10,
            codecs: None,
            srtp: Srtp::Off,
            media: None,
            auto_answer: false,
            transports: Vec::new(),
        }
    }

    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, Self::read)
    }

    fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults);
        let id = |fields: &mut Fields<'_>, key| {
            let text = fields.str(key, 1..=64).map(str::to_owned);
            if text.as_ref().is_some_and(|text| !is_id(text)) {
                fields.fault(key, "must be letters, digits, _ . and - only");
            }
            text
        };
        let name = id(&mut fields, "name");
        let username = id(&mut fields, "username");
        let password = fields.str("password", 1..=256).map(str::to_owned);
        let caller_id = fields.str("caller_id", 1..=64).map(str::to_owned);
        if caller_id.as_ref().is_some_and(|id| !crate::create::is_caller_id(id)) {
            fields.fault("caller_id", "must be a number or a SIP user name (letters, digits, _ . -)");
        }
        let max_contacts = fields.u32_in("max_contacts", 1..=100).unwrap_or(10);
        let codecs = fields.nested("codecs", read_codecs);
        let srtp = fields.word("srtp", Srtp::ALL).unwrap_or(Srtp::Off);
        let media = fields.word("media", EndpointMedia::ALL);
        let auto_answer = fields.bool("auto_answer").unwrap_or(false);
        let transports = fields.nested("transports", read_transports).unwrap_or_default();
        fields.finish();
        Some(Self {
            name,
            username,
            password,
            caller_id,
            max_contacts,
            codecs,
            srtp,
            media,
            auto_answer,
            transports,
        })
    }
}

/// Without the password.
impl fmt::Debug for PutEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutEndpoint")
            .field("name", &self.name)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

fn read_transports(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Vec<SipTransport>> {
    let known = SipTransport::ALL.iter().map(|transport| transport.as_str()).collect::<Vec<_>>().join(", ");
    let Some(list) = value.as_array().filter(|list| list.len() <= SipTransport::ALL.len()) else {
        faults.push(pointer, format_args!("must be a list of transports of: {known}"));
        return None;
    };
    let mut transports = Vec::new();
    for (index, item) in list.iter().enumerate() {
        match item.as_str().and_then(SipTransport::from_word) {
            Some(transport) => transports.push(transport),
            None => faults.push(join(pointer, &index.to_string()), format_args!("must be one of: {known}")),
        }
    }
    Some(transports)
}
