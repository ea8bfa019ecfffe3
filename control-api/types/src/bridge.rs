//! Calls that hear each other.

use crate::{
    CallId, Fault, Timestamp,
    call::words,
    fault::{self, Faults, Fields},
    id::is_id,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeSet, fmt};

/// Most calls in one bridge.
pub const MAX_BRIDGED: usize = 64;

const ID_RULE: &str = "must be 1 to 64 characters of A-Z a-z 0-9 _ . -";

words! {
    /// What a call may do in a bridge.
    Role {
        /// It talks with all.
        Talk = "talk",
        /// It hears all and nobody hears it.
        Listen = "listen",
        /// It hears all, and only those of `whisper_to` hear it; left out, the agents: calls of endpoints that talk.
        Whisper = "whisper",
        /// A listener who has begun to talk: the same as `talk`, said of a supervisor.
        Barge = "barge",
    }
}

impl Role {
    /// Whether the bridge is there for it: one with fewer than two of these ends.
    #[must_use]
    pub const fn talks(self) -> bool {
        match self {
            Self::Talk | Self::Barge => true,
            Self::Listen | Self::Whisper => false,
        }
    }
}

words! {
    /// What becomes of a call when its bridge ends.
    OnEnd {
        /// It is hung up.
        Hangup = "hangup",
        /// It goes on: by its flow after a `bridge` step, otherwise parked as it was.
        Continue = "continue",
        /// It is parked, whatever its flow.
        Park = "park",
    }
}

words! {
    /// What a bridge does with the keys that are pressed in it. `call.dtmf` tells them in any case.
    BridgeDtmf {
        /// The others get them.
        Relay = "relay",
        /// The others do not.
        Consume = "consume",
    }
}

words! {
    /// A way of the sound of a call.
    MuteDirection {
        /// What the far side says is heard by nobody.
        In = "in",
        /// The far side hears nobody.
        Out = "out",
        /// Neither way.
        Both = "both",
    }
}

impl MuteDirection {
    /// What is muted when these ways are: what the far side says, and what it hears.
    #[must_use]
    pub const fn of(inward: bool, outward: bool) -> Option<Self> {
        match (inward, outward) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::In),
            (false, true) => Some(Self::Out),
            (false, false) => None,
        }
    }

    /// Whether what the far side says is heard by nobody.
    #[must_use]
    pub const fn is_inward(self) -> bool {
        match self {
            Self::In | Self::Both => true,
            Self::Out => false,
        }
    }

    /// Whether the far side hears nobody.
    #[must_use]
    pub const fn is_outward(self) -> bool {
        match self {
            Self::Out | Self::Both => true,
            Self::In => false,
        }
    }
}

/// Bridges a call with another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BridgeCall {
    /// The other call.
    pub with: CallId,
    /// What becomes of this call when the bridge ends. Left out: `hangup`, or `continue` of one that waited in a queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_end: Option<OnEnd>,
    /// What becomes of the other; left out as above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_on_end: Option<OnEnd>,
    /// What is done with keys.
    #[schema(required = false, default = "relay")]
    pub dtmf: BridgeDtmf,
}

impl BridgeCall {
    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, |value, pointer, faults| {
            let mut fields = Fields::new(value, pointer, faults);
            let with = call_id(&mut fields, "with");
            let on_end = fields.word("on_end", OnEnd::ALL);
            let with_on_end = fields.word("with_on_end", OnEnd::ALL);
            let dtmf = fields.word("dtmf", BridgeDtmf::ALL).unwrap_or(BridgeDtmf::Relay);
            fields.finish();
            Some(Self { with: with?, on_end, with_on_end, dtmf })
        })
    }
}

/// Makes a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBridge {
    /// Chosen by the caller; left out, the engine chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9_.-]{1,64}$")]
    pub id: Option<String>,
    /// The calls that talk in it from the beginning.
    #[schema(required = false, max_items = 64)]
    pub calls: Vec<CallId>,
    /// A prompt that is played again and again to who waits for a second talker, is held, or has only partners who are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub hold_music: Option<String>,
    /// What is done with keys.
    #[schema(required = false, default = "relay")]
    pub dtmf: BridgeDtmf,
}

impl CreateBridge {
    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, |value, pointer, faults| {
            let mut fields = Fields::new(value, pointer, faults);
            let id = fields.str("id", 1..=64).map(str::to_owned);
            if id.as_deref().is_some_and(|id| !is_id(id)) {
                fields.fault("id", ID_RULE);
            }
            let calls = fields.nested("calls", read_calls).unwrap_or_default();
            let hold_music = fields.str("hold_music", 1..=64).map(str::to_owned);
            let dtmf = fields.word("dtmf", BridgeDtmf::ALL).unwrap_or(BridgeDtmf::Relay);
            fields.finish();
            Some(Self { id, calls, hold_music, dtmf })
        })
    }
}

/// Takes a call into a bridge, or gives one that is in it another role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinBridge {
    /// The call.
    pub call_id: CallId,
    /// What it may do.
    #[schema(required = false, default = "talk")]
    pub role: Role,
    /// What becomes of it when the bridge ends. Left out: `hangup`, or `continue` of one that waited in a queue; of one that is
    /// in the bridge already, as before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_end: Option<OnEnd>,
    /// Who of the bridge hears it when it whispers; left out, the agents, of whom one must be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 64)]
    pub whisper_to: Vec<CallId>,
}

impl JoinBridge {
    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, |value, pointer, faults| {
            let mut fields = Fields::new(value, pointer, faults);
            let call_id = call_id(&mut fields, "call_id");
            let role = fields.word("role", Role::ALL).unwrap_or(Role::Talk);
            let on_end = fields.word("on_end", OnEnd::ALL);
            let whisper_to = fields.nested("whisper_to", read_calls).unwrap_or_default();
            if !whisper_to.is_empty() && role != Role::Whisper {
                fields.fault("whisper_to", "only who whispers is heard by some alone: set role to whisper");
            }
            fields.finish();
            Some(Self { call_id: call_id?, role, on_end, whisper_to })
        })
    }
}

/// Mutes a call, or ends that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mute {
    /// Which way.
    #[schema(required = false, default = "in")]
    pub direction: MuteDirection,
}

impl Mute {
    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, |value, pointer, faults| {
            let mut fields = Fields::new(value, pointer, faults);
            let direction = fields.word("direction", MuteDirection::ALL).unwrap_or(MuteDirection::In);
            fields.finish();
            Some(Self { direction })
        })
    }
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Bridge {
    /// Its id.
    pub id: String,
    /// Who is in it, in the order in which they came.
    pub calls: Vec<BridgeMember>,
    /// What is played to who waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_music: Option<String>,
    /// What is done with keys.
    pub dtmf: BridgeDtmf,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A call in a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BridgeMember {
    /// The call.
    pub call_id: CallId,
    /// What it may do.
    pub role: Role,
    /// What becomes of it when the bridge ends.
    pub on_end: OnEnd,
    /// Who hears it when it whispers; absent: the agents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub whisper_to: Vec<CallId>,
}

fn call_id(fields: &mut Fields<'_>, key: &'static str) -> Option<CallId> {
    let text = fields.str(key, 1..=64);
    let text = fields.required(key, text)?;
    let id = CallId::new(text);
    if id.is_err() {
        fields.fault(key, ID_RULE);
    }
    id.ok()
}

fn read_calls(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Vec<CallId>> {
    let mut known = BTreeSet::new();
    let read = |item: &Value, at: &str, faults: &mut Faults| match item.as_str().map(CallId::new) {
        Some(Ok(id)) if !known.insert(id.clone()) => {
            faults.push(at, format_args!("{id} is there twice"));
            None
        }
        Some(Ok(id)) => Some(id),
        Some(Err(_)) | None => {
            faults.push(at, ID_RULE);
            None
        }
    };
    fault::list(value, pointer, 0..=MAX_BRIDGED, "calls' ids", read, faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pointers<T: fmt::Debug>(result: Result<T, Vec<Fault>>) -> Vec<String> {
        result.unwrap_err().into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn bodies_have_defaults_and_read_back() {
        let body = BridgeCall::from_json(&json!({"with": "b"})).unwrap();
        assert_eq!((body.on_end, body.with_on_end, body.dtmf), (None, None, BridgeDtmf::Relay));
        assert_eq!(BridgeCall::from_json(&serde_json::to_value(&body).unwrap()).unwrap(), body);
        let body =
            CreateBridge::from_json(&json!({"id": "x", "calls": ["a", "b"], "hold_music": "m"})).unwrap();
        assert_eq!(CreateBridge::from_json(&serde_json::to_value(&body).unwrap()).unwrap(), body);
        assert_eq!(CreateBridge::from_json(&json!({})).unwrap().calls, []);
        let body = json!({"call_id": "a", "role": "whisper", "whisper_to": ["b"], "on_end": "park"});
        let body = JoinBridge::from_json(&body).unwrap();
        assert_eq!(JoinBridge::from_json(&serde_json::to_value(&body).unwrap()).unwrap(), body);
        assert_eq!(Mute::from_json(&json!({})).unwrap().direction, MuteDirection::In);
    }

    #[test]
    fn every_fault_is_told() {
        assert_eq!(pointers(BridgeCall::from_json(&json!({}))), ["/with"]);
        let body = json!({"with": "a b", "on_end": "stay", "dtmf": 1, "x": 1});
        assert_eq!(pointers(BridgeCall::from_json(&body)), ["/with", "/on_end", "/dtmf", "/x"]);
        let body = json!({"id": "a b", "calls": ["a", "a", 1, "b c"], "hold_music": ""});
        assert_eq!(
            pointers(CreateBridge::from_json(&body)),
            ["/id", "/calls/1", "/calls/2", "/calls/3", "/hold_music"]
        );
        let many: Vec<String> = (0..65).map(|n| n.to_string()).collect();
        assert_eq!(pointers(CreateBridge::from_json(&json!({"calls": many}))), ["/calls"]);
        assert_eq!(pointers(CreateBridge::from_json(&json!({"calls": "a"}))), ["/calls"]);
        let body = json!({"call_id": "a", "role": "talk", "whisper_to": ["b"]});
        assert_eq!(pointers(JoinBridge::from_json(&body)), ["/whisper_to"]);
        assert_eq!(pointers(Mute::from_json(&json!({"direction": "up"}))), ["/direction"]);
    }
}
