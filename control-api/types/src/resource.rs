//! The other resources.

use crate::{
    Fault, Timestamp, TrunkSettings,
    call::words,
    fault::{self, Fields},
    flow::Flow,
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to give as `?cursor=` for the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// Stored audio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Prompt {
    /// Its id: from its content, so the same audio has the same id on every node.
    pub id: String,
    /// Its name, unique.
    pub name: String,
    /// How long it plays.
    pub duration_ms: u64,
    /// SHA-256 of the file as uploaded, hex.
    pub sha256: String,
    /// Size of the file as uploaded.
    pub size_bytes: u64,
    /// Sampling rate of the file.
    pub sample_rate_hz: u32,
    /// Channels of the file; they are mixed to one.
    pub channels: u8,
    /// When it was uploaded.
    pub created_at: Timestamp,
}

/// A stored flow.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct FlowResource {
    /// Its name.
    pub name: String,
    /// Counts its changes from 1; calls keep the version they started with.
    pub version: u64,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The flow.
    #[schema(value_type = Flow)]
    pub flow: Arc<Flow>,
}

/// A stored flow in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FlowSummary {
    /// Its name.
    pub name: String,
    /// Counts its changes from 1.
    pub version: u64,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// How many steps it has.
    pub steps: u32,
}

words! {
    /// Whether a trunk can be used.
    TrunkState {
        /// Registered, or probed and answering.
        Up = "up",
        /// Registration or probes fail.
        Down = "down",
        /// First registration under way.
        Registering = "registering",
        /// The registrar refused for good.
        Rejected = "rejected",
        /// Neither registers nor is probed: used as configured.
        Unmonitored = "unmonitored",
        /// Takes no new calls, as the API has said.
        Disabled = "disabled",
    }
}

words! {
    /// Whether a gateway can be used.
    GatewayState {
        /// Answers.
        Up = "up",
        /// Does not answer.
        Down = "down",
        /// Not probed.
        Unmonitored = "unmonitored",
    }
}

/// One address of a trunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Gateway {
    /// Its SIP URI.
    pub uri: String,
    /// Whether it can be used.
    pub state: GatewayState,
    /// Round trip of the last request, ms.
    pub rtt_ms: Option<f32>,
}

/// A trunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Trunk {
    /// Its name.
    pub name: String,
    /// Whether it can be used.
    pub state: TrunkState,
    /// When its registration ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_until: Option<Timestamp>,
    /// Live calls.
    pub calls: u32,
    /// Calls begun in the last second.
    pub cps: f32,
    /// Answer-seizure ratio of recent calls, 0 to 1; null without any.
    pub asr: Option<f32>,
    /// Network effectiveness ratio of recent calls (ITU-T E.425), 0 to 1; null without any.
    pub ner: Option<f32>,
    /// Median post-dial delay of recent calls, ms; null without any.
    pub pdd_ms: Option<u32>,
    /// Its addresses.
    pub gateways: Vec<Gateway>,
    /// Where it was set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<TrunkOrigin>,
    /// How it is set up, without the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TrunkSettings>)]
    pub settings: Option<serde_json::Value>,
}

words! {
    /// Where a trunk was set up.
    TrunkOrigin {
        /// In the configuration file. What the API changes of it lasts until the file is read again.
        File = "file",
        /// By the API; kept across restarts.
        Api = "api",
    }
}

/// What the node may take on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Limits {
    /// Most live calls.
    pub max_calls: u32,
    /// Most calls begun in a second.
    pub max_cps: u32,
    /// Most calls waiting for their turn.
    pub max_queued: u32,
    /// Longest wait for a turn; then the call ends as `limit-reached`.
    pub queue_timeout_s: u32,
    /// How long a drain waits for live calls.
    pub drain_timeout_s: u32,
}

/// The body of `PATCH /v1/limits`: what is to change, until the configuration file is read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsPatch {
    /// Most live calls.
    #[schema(minimum = 1)]
    pub max_calls: Option<u32>,
    /// Most calls begun in a second.
    #[schema(minimum = 1)]
    pub max_cps: Option<u32>,
    /// Most calls waiting for their turn; every outbound call waits at least for the journal.
    #[schema(minimum = 1)]
    pub max_queued: Option<u32>,
    /// Longest wait for a turn.
    #[schema(minimum = 1)]
    pub queue_timeout_s: Option<u32>,
    /// How long a drain waits for live calls.
    pub drain_timeout_s: Option<u32>,
}

impl LimitsPatch {
    /// Reads a request body.
    pub fn from_json(body: &serde_json::Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, |value, pointer, faults| {
            let mut fields = Fields::new(value, pointer, faults);
            let patch = Self {
                max_calls: fields.u32_in("max_calls", 1..=1_000_000),
                max_cps: fields.u32_in("max_cps", 1..=100_000),
                max_queued: fields.u32_in("max_queued", 1..=1_000_000),
                queue_timeout_s: fields.u32_in("queue_timeout_s", 1..=86_400),
                drain_timeout_s: fields.u32_in("drain_timeout_s", 0..=86_400),
            };
            fields.finish();
            Some(patch)
        })
    }

    /// The limits with the change.
    #[must_use]
    pub fn apply(self, limits: Limits) -> Limits {
        Limits {
            max_calls: self.max_calls.unwrap_or(limits.max_calls),
            max_cps: self.max_cps.unwrap_or(limits.max_cps),
            max_queued: self.max_queued.unwrap_or(limits.max_queued),
            queue_timeout_s: self.queue_timeout_s.unwrap_or(limits.queue_timeout_s),
            drain_timeout_s: self.drain_timeout_s.unwrap_or(limits.drain_timeout_s),
        }
    }
}

/// What a reload of the configuration has taken up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reloaded {
    /// Trunks that the configuration file has now.
    pub trunks: u32,
    /// Rules for inbound calls.
    pub routes: u32,
    /// What the file has changed that a restart is needed for.
    pub needs_restart: Vec<String>,
}

/// Whether the node drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Drain {
    /// Whether new calls are refused.
    pub draining: bool,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Live calls.
    pub live_calls: u32,
}

/// Calls of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeCalls {
    /// Begun and not ended.
    pub live: u32,
    /// Waiting for their turn.
    pub queued: u32,
}

/// How late packets leave, in microseconds, since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Lateness {
    /// Median.
    pub p50: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// The worst.
    pub max: u64,
}

/// Media of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeMedia {
    /// Media threads.
    pub shards: u32,
    /// Open legs.
    pub legs: u32,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets received.
    pub packets_received: u64,
    /// Packets the kernel refused to send.
    pub send_errors: u64,
    /// How late packets leave.
    pub wheel_lateness_us: Lateness,
}

/// An engine node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Node {
    /// Its name.
    pub node: String,
    /// Version of the program.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Whether it refuses new calls.
    pub draining: bool,
    /// Live calls as a share of `max_calls`, 0 to 1.
    pub load: f32,
    /// Its calls.
    pub calls: NodeCalls,
    /// Its media.
    pub media: NodeMedia,
}

/// The process runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: String,
}

/// Whether the node takes calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Readiness {
    /// Whether it does.
    pub ready: bool,
    /// Why it does not.
    pub reasons: Vec<String>,
}
