//! The SIP messages of a call.

use crate::{CallId, Timestamp, call::words};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The SIP messages of a call, in the order in which they passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallTrace {
    /// The call.
    pub call_id: CallId,
    /// Those that are kept.
    pub messages: Vec<TraceMessage>,
    /// Earlier ones that had to make room.
    pub left_out: u64,
}

/// One SIP message, seen by the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TraceMessage {
    /// When it passed.
    pub at: Timestamp,
    /// Which way.
    pub direction: TraceDirection,
    /// `udp`, `tcp`, `tls`, `ws` or `wss`.
    pub transport: String,
    /// The sender's address and port.
    pub from: String,
    /// The receiver's address and port.
    pub to: String,
    /// Method and Request-URI, or status and reason phrase.
    pub summary: String,
    /// CSeq; absent where it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cseq: Option<String>,
    /// Call-ID. A call that was tried at several gateways has several.
    pub sip_call_id: String,
    /// The whole message. What proves a password and the keys of media are asterisks.
    pub raw: String,
}

words! {
    /// Which way a message passed.
    TraceDirection {
        /// From the engine.
        Sent = "sent",
        /// To the engine.
        Received = "received",
    }
}
