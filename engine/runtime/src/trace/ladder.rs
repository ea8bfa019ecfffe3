//! A call's messages as the API shows them.

use control_api_types::{CallId, CallTrace, Timestamp, TraceDirection, TraceMessage};
use sip_core::Message;

use super::mask::mask;
use super::{Captured, Kept, call_id};

pub(crate) fn ladder(call: &CallId, kept: Kept) -> CallTrace {
    CallTrace {
        call_id: call.clone(),
        messages: kept.messages.iter().map(message).collect(),
        left_out: kept.left_out,
    }
}

fn message(captured: &Captured) -> TraceMessage {
    let (from, to) = captured.ends();
    let raw = mask(&captured.bytes);
    let parsed = Message::parse(captured.bytes.clone()).ok();
    let summary = parsed.as_ref().map(|message| match message.status() {
        Some(status) => format!("{status} {}", message.reason()).trim_end().to_owned(),
        None => {
            let method = message.method().map_or("", |method| method.as_str());
            format!("{method} {}", message.request_uri_str())
        }
    });
    TraceMessage {
        at: Timestamp::from_unix_ms(captured.at_us / 1_000),
        direction: if captured.sent { TraceDirection::Sent } else { TraceDirection::Received },
        transport: captured.transport.to_string(),
        from: from.to_string(),
        to: to.to_string(),
        summary: summary.unwrap_or_default(),
        cseq: parsed.and_then(|message| Some(message.cseq().ok()?.to_string())),
        sip_call_id: call_id(&captured.bytes)
            .map(|id| String::from_utf8_lossy(id).into_owned())
            .unwrap_or_default(),
        raw: String::from_utf8_lossy(&raw).into_owned(),
    }
}
