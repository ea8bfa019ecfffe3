//! Everything that is kept of a call, joined by time.

use std::sync::Arc;

use control_api_types::{
    Call, CallId, CallTimeline, Event, EventData, PlayId, Recording, TimelineEntry, TimelineEvent,
    TimelineItem, TimelinePlay, Timestamp, TraceMessage,
};

use crate::engine::{Engine, Error};
use crate::journal::RecordingRows;

/// Most events in one timeline, the latest. A call with more has been at it for hours.
pub(crate) const MOST_EVENTS: usize = 10_000;
/// Most recordings: more than a call may make.
const MOST_RECORDINGS: u32 = 1_000;

/// # Timeline
impl Engine {
    /// What happened to a call, live or ended; `None` when neither events nor messages of it are kept.
    pub async fn timeline(&self, id: &CallId) -> Result<Option<CallTimeline>, Error> {
        let rows = RecordingRows { call: Some(id.clone()), before: None, limit: MOST_RECORDINGS };
        let recordings = self.shared.journal.recordings(rows).await?;
        let kept = self.trace(id).await?;
        let events = self.shared.events.of_call(id, MOST_EVENTS);
        // Last, so that it knows of everything that is shown.
        let call = self.call(id).await?;
        let call = call.ok_or_else(|| Error::NoSuch { kind: "call", name: id.to_string() })?;
        if events.is_empty() && kept.is_none() {
            return Ok(None);
        }
        let messages_left_out = kept.as_ref().map(|kept| kept.left_out);
        let messages = kept.map(|kept| kept.messages).unwrap_or_default();
        Ok(Some(CallTimeline {
            entries: join(&call, messages, &events, recordings),
            events_left_out: events.first().map(|first| first.seq.map_or(0, |seq| seq.saturating_sub(1))),
            messages_left_out,
            call,
        }))
    }
}

fn join(
    call: &Call,
    messages: Vec<TraceMessage>,
    events: &[Arc<Event>],
    recordings: Vec<Recording>,
) -> Vec<TimelineEntry> {
    let begun = call.created_at.unix_ms();
    let entry = |at: Timestamp, what| TimelineEntry { at, ms: at.unix_ms().saturating_sub(begun), what };
    let messages = messages.into_iter().map(|message| entry(message.at, TimelineItem::Sip(message)));
    let told = events.iter().map(|event| {
        let what = TimelineEvent { seq: event.seq, data: event.data.clone() };
        entry(event.occurred_at, TimelineItem::Event(what))
    });
    let plays = plays(events).into_iter().map(|(at, play)| entry(at, TimelineItem::Play(play)));
    let recordings = recordings.into_iter().map(|recording| {
        let at = recording.started_at;
        entry(at, TimelineItem::Recording(Box::new(recording)))
    });
    let mut entries: Vec<_> = messages.chain(told).chain(plays).chain(recordings).collect();
    // Stable: what was told in order stays in order.
    entries.sort_by_key(|entry| entry.at.unix_ms());
    entries
}

/// Each playing once, with the time of the first that is known of it.
fn plays(events: &[Arc<Event>]) -> Vec<(Timestamp, TimelinePlay)> {
    let mut plays: Vec<(Timestamp, TimelinePlay)> = Vec::new();
    let none = |play_id: &PlayId| TimelinePlay {
        play_id: play_id.clone(),
        source: None,
        ended_at: None,
        reason: None,
        played_ms: None,
    };
    for event in events {
        if let EventData::CallPlayStarted { play_id, source } = &event.data {
            plays.push((event.occurred_at, TimelinePlay { source: Some(source.clone()), ..none(play_id) }));
        }
        if let EventData::CallPlayEnded { play_id, reason, played_ms, .. } = &event.data {
            // It is among the last: each replaces the one before.
            let begun = plays.iter().rposition(|(_, play)| play.play_id == *play_id);
            let at = begun.unwrap_or_else(|| {
                plays.push((event.occurred_at, none(play_id)));
                plays.len() - 1
            });
            if let Some((_, play)) = plays.get_mut(at) {
                (play.ended_at, play.reason, play.played_ms) =
                    (Some(event.occurred_at), Some(*reason), Some(*played_ms));
            }
        }
    }
    plays
}
