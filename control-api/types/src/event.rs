//! Events: what happened, in one envelope for every way of delivery.

use crate::{
    AmdEvidence, AmdResult, Call, CallId, CallbackKey, Codec, Cursor, MuteDirection, OnEnd, PlayId,
    RecordingEnd, RecordingFormat, RecordingId, Role, Source, Timestamp, call::words, flow::VerbName,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, sync::Arc};

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// A ULID.
    #[schema(examples("01JD3W8Z5T0Q9K4M7N2P6R8S1V"))]
    pub id: String,
    /// Its place in the node's stream; resume after it with `?cursor=` or `Last-Event-ID`.
    pub cursor: Cursor,
    /// Its number among the events of the call, from 1 without gaps; absent if it is not about a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What happened: `type` and `data`.
    #[serde(flatten)]
    pub data: EventData,
    /// When.
    pub occurred_at: Timestamp,
    /// On which engine node.
    #[schema(value_type = String)]
    pub node: Arc<str>,
    /// The call it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<CallId>,
    /// The call's `client_state`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_state: Option<Arc<str>>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", content = "data")]
pub enum EventData {
    /// The INVITE went out or came in.
    #[serde(rename = "call.initiated")]
    CallInitiated {
        /// The number or URI called.
        to: String,
        /// The caller id.
        from: String,
        /// The trunk.
        trunk: Option<String>,
        /// The call that it was made for, by its `dial` or by a transfer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent_call_id: Option<CallId>,
    },
    /// The far side rings, or makes progress without audio: each status is told once.
    #[serde(rename = "call.ringing")]
    CallRinging {
        /// 180; 181: the call is forwarded, 182: it is queued, 183: something else happens.
        sip_status: u16,
    },
    /// Audio before the answer.
    #[serde(rename = "call.early_media")]
    CallEarlyMedia {},
    /// Answered.
    #[serde(rename = "call.answered")]
    CallAnswered {
        /// The codec agreed; absent if none was.
        codec: Option<Codec>,
    },
    /// The audio is held: one side is not heard.
    #[serde(rename = "call.held")]
    CallHeld {
        /// Who holds the other.
        by: HoldBy,
    },
    /// A hold is over.
    #[serde(rename = "call.resumed")]
    CallResumed {
        /// Who held the other.
        by: HoldBy,
    },
    /// The far side does not take our hold, or its end: everything is as before.
    #[serde(rename = "call.hold_failed")]
    CallHoldFailed {
        /// How it refused.
        sip_status: u16,
    },
    /// A transfer goes on. 1xx: the far side tries. 2xx: it has reached whom it was sent to, and this call ends. Other
    /// statuses: it has not (408: it tells no outcome), and this call goes on.
    #[serde(rename = "call.transfer.progress")]
    CallTransferProgress {
        /// Of the call that the far side makes, or of its refusal to make one.
        sip_status: u16,
    },
    /// The call hears others, and they hear it.
    #[serde(rename = "call.bridged")]
    CallBridged {
        /// The bridge.
        bridge_id: String,
        /// The other call; of several, the one that is there longest.
        with: Option<CallId>,
        /// All others.
        calls: Vec<CallId>,
    },
    /// The call is on its own again, or ends; its bridge may go on without it.
    #[serde(rename = "call.unbridged")]
    CallUnbridged {
        /// The bridge.
        bridge_id: String,
    },
    /// A flow's `bridge` step has not found whom it was to bridge the call with, or the bridge could not be made.
    #[serde(rename = "call.bridge_failed")]
    CallBridgeFailed {
        /// The flow's step.
        step: String,
        /// Why, for a person to read.
        error: String,
    },
    /// The call waits in a queue.
    #[serde(rename = "call.enqueued")]
    CallEnqueued {
        /// Its name.
        queue: String,
        /// The call's place, from 1.
        position: u32,
        /// What the flow's step says of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<Value>,
    },
    /// Who waits in a queue has asked to be called back, and waits no longer.
    #[serde(rename = "call.callback_requested")]
    CallCallbackRequested {
        /// The queue's name.
        queue: String,
        /// The key that was pressed.
        key: CallbackKey,
        /// How long the call has waited.
        waited_ms: u64,
    },
    /// The call plays another part in its bridge.
    #[serde(rename = "call.role_changed")]
    CallRoleChanged {
        /// The bridge.
        bridge_id: String,
        /// What it may do from now on.
        role: Role,
        /// What becomes of it when the bridge ends.
        on_end: OnEnd,
        /// Who hears it when it whispers; absent: the agents.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        whisper_to: Vec<CallId>,
    },
    /// The call is muted, or muted in another way than before.
    #[serde(rename = "call.muted")]
    CallMuted {
        /// Which way it is muted now.
        direction: MuteDirection,
    },
    /// The call is not muted any more.
    #[serde(rename = "call.unmuted")]
    CallUnmuted {},
    /// A digit was pressed.
    #[serde(rename = "call.dtmf")]
    CallDtmf {
        /// 0-9, *, #, A-D.
        digit: char,
        /// How it came.
        method: DtmfMethod,
        /// How long it was held.
        duration_ms: u32,
    },
    /// Digits that were to be sent are sent, or cannot be.
    #[serde(rename = "call.dtmf.sent")]
    CallDtmfSent {
        /// Those that were sent, without the pauses.
        digits: String,
        /// How they were sent.
        method: DtmfMethod,
        /// Whether these are all.
        complete: bool,
        /// Why none were sent, for a person to read; there if the step of a flow could not begin.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A collection of digits is over.
    #[serde(rename = "call.gather.ended")]
    CallGatherEnded {
        /// The flow's step; absent for a gather of the API.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// The digits without the terminator.
        digits: String,
        /// Why it is over.
        reason: GatherEnd,
        /// Why the digits are not in the variable of `save_as`, for a person to read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Something began to play.
    #[serde(rename = "call.play.started")]
    CallPlayStarted {
        /// This playing.
        play_id: PlayId,
        /// What, as it was asked for: `prompt`, `url`, `tone` or `playlist`.
        #[serde(flatten)]
        source: Source,
    },
    /// What played is over.
    #[serde(rename = "call.play.ended")]
    CallPlayEnded {
        /// This playing.
        play_id: PlayId,
        /// Why it is over.
        reason: PlayEnd,
        /// How much was played, all repetitions together.
        played_ms: u64,
        /// What was wrong, for a person to read; there if the reason is `error` and it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// It is clear who answered.
    #[serde(rename = "call.amd")]
    CallAmd {
        /// Who.
        result: AmdResult,
        /// From the answer (for a step of a flow: from its beginning) to the result.
        ms: u32,
        /// What the result rests on.
        evidence: AmdEvidence,
        /// From the answer to the first speech; absent if there was none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        initial_silence_ms: Option<u32>,
        /// From the first speech to the last.
        greeting_ms: u32,
    },
    /// The beep of an answering machine is over: it records.
    #[serde(rename = "call.amd.beep")]
    CallAmdBeep {
        /// From the answer to the end of the beep.
        ms: u32,
        /// How long it was.
        duration_ms: u32,
        /// Its frequency; of two, the lower.
        hz: u32,
    },
    /// A recording began.
    #[serde(rename = "call.recording.started")]
    CallRecordingStarted {
        /// Which.
        recording_id: RecordingId,
        /// The flow's step; absent for a recording of the API.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// The format of the file.
        format: RecordingFormat,
        /// 1: both sides mixed. 2: a channel for each.
        channels: u8,
    },
    /// A recording is over, and its file whole.
    #[serde(rename = "call.recording.ended")]
    CallRecordingEnded {
        /// Which.
        recording_id: RecordingId,
        /// The flow's step; absent for a recording of the API.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// Why it is over.
        reason: RecordingEnd,
        /// The length of the file in time.
        duration_ms: u64,
        /// What of that is silence in place of what could not be written in time.
        dropped_ms: u64,
        /// The length of the file; 0: there is none.
        size_bytes: u64,
    },
    /// A flow came to a step.
    #[serde(rename = "call.flow.step")]
    CallFlowStep {
        /// The step's name.
        step: String,
        /// Its verb.
        verb: VerbName,
    },
    /// Something that a step asks for cannot be done: one whom a `dial` was to call, a `transfer`. What others it names go on.
    #[serde(rename = "call.flow.failed")]
    CallFlowFailed {
        /// The step's name.
        step: String,
        /// Its verb.
        verb: VerbName,
        /// Whom it was to reach.
        to: String,
        /// Why not, for a person to read.
        error: String,
    },
    /// A flow's `notify`: the data it gave.
    #[serde(rename = "call.notify")]
    CallNotify(Value),
    /// The call is over; the data is the whole call: its CDR.
    #[serde(rename = "call.ended")]
    CallEnded(Box<Call>),
    /// A trunk can be used.
    #[serde(rename = "trunk.up")]
    TrunkUp {
        /// Its name.
        trunk: String,
    },
    /// A trunk cannot be used for now.
    #[serde(rename = "trunk.down")]
    TrunkDown {
        /// Its name.
        trunk: String,
        /// Why, for a person to read.
        reason: String,
    },
    /// The registrar refused for good; nothing is tried until the trunk is changed.
    #[serde(rename = "trunk.rejected")]
    TrunkRejected {
        /// Its name.
        trunk: String,
        /// The refusal; absent if our credentials could not answer the challenge.
        sip_status: Option<u16>,
    },
    /// An endpoint can be reached at a contact.
    #[serde(rename = "endpoint.registered")]
    EndpointRegistered {
        /// The endpoint's name.
        name: String,
        /// The contact's URI.
        contact: String,
    },
    /// An endpoint cannot be reached at a contact any more.
    #[serde(rename = "endpoint.unregistered")]
    EndpointUnregistered {
        /// The endpoint's name.
        name: String,
        /// The contact's URI.
        contact: String,
        /// Why.
        reason: EndpointGone,
    },
    /// The node takes no new calls.
    #[serde(rename = "engine.draining")]
    EngineDraining {},
    /// The receiver was too slow and missed events; resume by cursor or resync.
    #[serde(rename = "events.dropped")]
    EventsDropped {
        /// How many.
        count: u64,
    },
}

impl EventData {
    /// Every type, for filters and documentation.
    pub const TYPES: &[&str] = &[
        "call.initiated",
        "call.ringing",
        "call.early_media",
        "call.answered",
        "call.held",
        "call.resumed",
        "call.hold_failed",
        "call.transfer.progress",
        "call.bridged",
        "call.unbridged",
        "call.bridge_failed",
        "call.enqueued",
        "call.callback_requested",
        "call.role_changed",
        "call.muted",
        "call.unmuted",
        "call.dtmf",
        "call.dtmf.sent",
        "call.gather.ended",
        "call.play.started",
        "call.play.ended",
        "call.amd",
        "call.amd.beep",
        "call.recording.started",
        "call.recording.ended",
        "call.flow.step",
        "call.flow.failed",
        "call.notify",
        "call.ended",
        "trunk.up",
        "trunk.down",
        "trunk.rejected",
        "endpoint.registered",
        "endpoint.unregistered",
        "engine.draining",
        "events.dropped",
    ];

    /// The event's `type`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::CallInitiated { .. } => "call.initiated",
            Self::CallRinging { .. } => "call.ringing",
            Self::CallEarlyMedia {} => "call.early_media",
            Self::CallAnswered { .. } => "call.answered",
            Self::CallHeld { .. } => "call.held",
            Self::CallResumed { .. } => "call.resumed",
            Self::CallHoldFailed { .. } => "call.hold_failed",
            Self::CallTransferProgress { .. } => "call.transfer.progress",
            Self::CallBridged { .. } => "call.bridged",
            Self::CallUnbridged { .. } => "call.unbridged",
            Self::CallBridgeFailed { .. } => "call.bridge_failed",
            Self::CallEnqueued { .. } => "call.enqueued",
            Self::CallCallbackRequested { .. } => "call.callback_requested",
            Self::CallRoleChanged { .. } => "call.role_changed",
            Self::CallMuted { .. } => "call.muted",
            Self::CallUnmuted {} => "call.unmuted",
            Self::CallDtmf { .. } => "call.dtmf",
            Self::CallDtmfSent { .. } => "call.dtmf.sent",
            Self::CallGatherEnded { .. } => "call.gather.ended",
            Self::CallPlayStarted { .. } => "call.play.started",
            Self::CallPlayEnded { .. } => "call.play.ended",
            Self::CallAmd { .. } => "call.amd",
            Self::CallAmdBeep { .. } => "call.amd.beep",
            Self::CallRecordingStarted { .. } => "call.recording.started",
            Self::CallRecordingEnded { .. } => "call.recording.ended",
            Self::CallFlowStep { .. } => "call.flow.step",
            Self::CallFlowFailed { .. } => "call.flow.failed",
            Self::CallNotify(_) => "call.notify",
            Self::CallEnded(_) => "call.ended",
            Self::TrunkUp { .. } => "trunk.up",
            Self::TrunkDown { .. } => "trunk.down",
            Self::TrunkRejected { .. } => "trunk.rejected",
            Self::EndpointRegistered { .. } => "endpoint.registered",
            Self::EndpointUnregistered { .. } => "endpoint.unregistered",
            Self::EngineDraining {} => "engine.draining",
            Self::EventsDropped { .. } => "events.dropped",
        }
    }
}

words! {
    /// One side of a call.
    HoldBy {
        /// We: the API held the call.
        Local = "local",
        /// The far side.
        Remote = "remote",
    }
}

words! {
    /// Why an endpoint cannot be reached at a contact any more.
    EndpointGone {
        /// It was not confirmed in time.
        Expired = "expired",
        /// The endpoint took it back.
        Unregistered = "unregistered",
        /// Another contact took its place.
        Replaced = "replaced",
        /// Its connection broke.
        FlowFailed = "flow-failed",
        /// The endpoint was deleted or has another password.
        Deleted = "deleted",
    }
}

words! {
    /// How a digit travels.
    DtmfMethod {
        /// RTP telephone events.
        Rfc4733 = "rfc4733",
        /// Tones in the audio.
        Inband = "inband",
        /// SIP INFO.
        Info = "info",
    }
}

words! {
    /// Why a collection of digits is over.
    GatherEnd {
        /// `max` digits came.
        Max = "max",
        /// A terminator came.
        Terminator = "terminator",
        /// No digit came in time.
        Timeout = "timeout",
        /// The next digit did not come in time.
        InterDigit = "inter-digit",
        /// Replaced or stopped.
        Stopped = "stopped",
        /// The call ended.
        Hangup = "hangup",
    }
}

words! {
    /// Why a prompt is over.
    PlayEnd {
        /// Played to its end.
        Completed = "completed",
        /// Replaced or stopped.
        Stopped = "stopped",
        /// A digit stopped it.
        BargeIn = "barge-in",
        /// The call ended.
        Hangup = "hangup",
        /// It could not be played.
        Error = "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(data: EventData) -> Event {
        Event {
            id: "01JD".to_owned(),
            cursor: Cursor(7),
            seq: Some(3),
            data,
            occurred_at: Timestamp::from_unix_ms(0),
            node: "n1".into(),
            call_id: Some(CallId::new("c1").unwrap()),
            client_state: Some("mine".into()),
        }
    }

    #[test]
    fn the_envelope_is_flat_and_reads_back() {
        let dtmf = EventData::CallDtmf { digit: '1', method: DtmfMethod::Rfc4733, duration_ms: 120 };
        let json = serde_json::to_value(event(dtmf.clone())).unwrap();
        let expected = json!({
            "id": "01JD", "cursor": "7", "seq": 3, "type": "call.dtmf",
            "data": {"digit": "1", "method": "rfc4733", "duration_ms": 120},
            "occurred_at": "1970-01-01T00:00:00.000Z", "node": "n1", "call_id": "c1", "client_state": "mine",
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event(dtmf));
    }

    #[test]
    fn every_type_is_listed_once_under_the_name_it_is_written_with() {
        let call = json!({
            "id": "c1", "status": "completed", "direction": "outbound", "to": "+62", "from": "100", "node": "n1",
            "attempts": 1, "created_at": "1970-01-01T00:00:00.000Z", "recording_ids": [], "variables": {},
        });
        // Data as it is written, in the order of the list.
        let all = [
            ("call.initiated", json!({"to": "+62", "from": "100", "trunk": "t"})),
            ("call.ringing", json!({"sip_status": 180})),
            ("call.early_media", json!({})),
            ("call.answered", json!({"codec": "PCMU"})),
            ("call.held", json!({"by": "remote"})),
            ("call.resumed", json!({"by": "local"})),
            ("call.hold_failed", json!({"sip_status": 488})),
            ("call.transfer.progress", json!({"sip_status": 180})),
            ("call.bridged", json!({"bridge_id": "x", "with": "b", "calls": ["b", "c"]})),
            ("call.unbridged", json!({"bridge_id": "x"})),
            ("call.bridge_failed", json!({"step": "ask", "error": "there is no bridge \"x\""})),
            ("call.enqueued", json!({"queue": "sales", "position": 2, "data": {"any": 1}})),
            ("call.callback_requested", json!({"queue": "sales", "key": "#", "waited_ms": 7})),
            (
                "call.role_changed",
                json!({"bridge_id": "x", "role": "whisper", "on_end": "park", "whisper_to": ["b"]}),
            ),
            ("call.muted", json!({"direction": "in"})),
            ("call.unmuted", json!({})),
            ("call.dtmf", json!({"digit": "1", "method": "info", "duration_ms": 100})),
            ("call.dtmf.sent", json!({"digits": "12", "method": "inband", "complete": false})),
            ("call.gather.ended", json!({"step": "ask", "digits": "12", "reason": "inter-digit"})),
            ("call.play.started", json!({"play_id": "p-1", "prompt": "hello"})),
            ("call.play.ended", json!({"play_id": "p-1", "reason": "barge-in", "played_ms": 7})),
            (
                "call.amd",
                json!({"result": "machine", "ms": 3900, "evidence": "long-greeting", "initial_silence_ms": 700, "greeting_ms": 3200}),
            ),
            ("call.amd.beep", json!({"ms": 9000, "duration_ms": 400, "hz": 1000})),
            (
                "call.recording.started",
                json!({"recording_id": "r1", "step": "voicemail", "format": "ogg", "channels": 2}),
            ),
            (
                "call.recording.ended",
                json!({
                    "recording_id": "r1", "reason": "max-length", "duration_ms": 7, "dropped_ms": 0, "size_bytes": 9,
                }),
            ),
            ("call.flow.step", json!({"step": "ask", "verb": "gather"})),
            (
                "call.flow.failed",
                json!({"step": "ask", "verb": "dial", "to": "endpoint:x", "error": "there is no endpoint \"x\""}),
            ),
            ("call.notify", json!({"any": 1})),
            ("call.ended", call),
            ("trunk.up", json!({"trunk": "t"})),
            ("trunk.down", json!({"trunk": "t", "reason": "why"})),
            ("trunk.rejected", json!({"trunk": "t", "sip_status": 403})),
            ("endpoint.registered", json!({"name": "e", "contact": "sip:e@h"})),
            ("endpoint.unregistered", json!({"name": "e", "contact": "sip:e@h", "reason": "flow-failed"})),
            ("engine.draining", json!({})),
            ("events.dropped", json!({"count": 2})),
        ];
        assert_eq!(all.each_ref().map(|(name, _)| *name), EventData::TYPES);
        for (name, data) in all {
            let read = |data: &Value| {
                let mut json = serde_json::to_value(event(EventData::EngineDraining {})).unwrap();
                (json["type"], json["data"]) = (name.into(), data.clone());
                serde_json::from_value::<Event>(json).unwrap()
            };
            let event = read(&data);
            assert_eq!(event.data.kind(), name);
            let written = serde_json::to_value(&event).unwrap();
            assert_eq!(written["type"], name);
            if name != "call.ended" {
                assert_eq!(written["data"], data, "{name}");
            }
            assert_eq!(read(&written["data"]), event, "{name}");
        }
    }
}
