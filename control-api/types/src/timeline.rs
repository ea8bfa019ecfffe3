//! Everything that happened to a call, joined by time.

use crate::{Call, EventData, PlayId, Recording, Source, Timestamp, TraceMessage, event::PlayEnd};
use serde::{Deserialize, Serialize};

/// What happened to a call, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallTimeline {
    /// The call as it is now, or as it ended.
    pub call: Call,
    /// What happened, in order of time; of what happened in the same millisecond, messages come before the events that follow
    /// from them.
    pub entries: Vec<TimelineEntry>,
    /// Earlier events that had to make room; absent if none is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_left_out: Option<u64>,
    /// Earlier SIP messages that had to make room; absent if none is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_left_out: Option<u64>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TimelineEntry {
    /// When it happened, or began.
    pub at: Timestamp,
    /// The same, counted from the acceptance of the call.
    pub ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: TimelineItem,
}

/// What happened: one member of these names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimelineItem {
    /// A SIP message passed.
    Sip(TraceMessage),
    /// An event was told.
    Event(TimelineEvent),
    /// Something was played from then on.
    Play(TimelinePlay),
    /// It was recorded from then on.
    Recording(Box<Recording>),
}

/// An event of the call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TimelineEvent {
    /// Its number; absent of a call that a crash has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// `type` and `data`.
    #[serde(flatten)]
    pub data: EventData,
}

/// A playing, from its start to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TimelinePlay {
    /// Which.
    pub play_id: PlayId,
    /// What was played; absent if it never began, or its beginning is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// When it was over; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<PlayEnd>,
    /// How much was played.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub played_ms: Option<u64>,
}
