//! Recordings: begun and ended by the engine's task, kept as files beside the prompts, listed from the journal.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api_types::{
    CallId, Page, Record, RecordAction, Recording, RecordingEnd, RecordingFormat, RecordingId,
    RecordingStatus, Timestamp,
};
use engine_core::{Input, MediaInput, Refusal};
use media_core::LegId;
use media_core::record::{self, Format, Track};
use media_io::record::{Left, Over, RecordConfig, RecordError, Recorded, Recorders};
use tokio::sync::oneshot;

use crate::engine::{Engine, Error, now, parse_place};
use crate::journal::{Journal, JournalError, RecordingRows};
use crate::task::{Journalled, Task, Unwritten};

/// Writer threads: one can wait for a disk while the other encodes.
const WRITERS: usize = 2;

/// What recordings may take.
#[derive(Clone, Debug)]
pub struct RecordingSettings {
    /// No recording begins while fewer octets than this are free in the folder.
    pub min_free: u64,
    /// How long ended recordings are kept; `None`: until they are deleted.
    pub retention: Option<Duration>,
}

impl Default for RecordingSettings {
    fn default() -> Self {
        Self { min_free: 256 << 20, retention: None }
    }
}

/// Which recordings to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct RecordingQuery {
    /// Only those of this call.
    pub call: Option<CallId>,
    /// Only those after this place, as [`Page::next_cursor`] told it.
    pub cursor: Option<String>,
    /// Most recordings in the page.
    pub limit: u32,
}

/// Recordings that are not over, or whose end is not in the journal yet.
#[derive(Debug, Default)]
pub(crate) struct Live(HashMap<Arc<str>, OnTape>);

#[derive(Debug)]
struct OnTape {
    leg: LegId,
    track: Track,
    recording: Recording,
    /// Why it was told to end.
    reason: Option<RecordingEnd>,
    /// The journal would not have its end, which is offered again; the call knows it already.
    unwritten: bool,
}

impl Live {
    /// Deleted while its end was to be offered to the journal again: it is not to come back.
    fn forget_unwritten(&mut self, id: &str) {
        if self.0.get(id).is_some_and(|tape| tape.unwritten) {
            self.0.remove(id);
        }
    }
}

pub(crate) fn writers(media_dir: &Path, settings: &RecordingSettings) -> RecordConfig {
    let folder = media_dir.join("recordings");
    RecordConfig { folder, threads: WRITERS, min_free: settings.min_free }
}

impl Task {
    /// Begins a recording.
    pub(crate) fn begin_recording(
        &mut self,
        at: Instant,
        leg: LegId,
        track: Track,
        recording: Recording,
        plan: record::Recording,
        beep: bool,
    ) -> Result<(), media_io::Error> {
        let id: Arc<str> = recording.id.as_str().into();
        // Without a codec there is no media, and the leg is not there any more.
        let codec = self.media.codec(leg).unwrap_or(media_core::Codec::Pcma);
        let written = self.journal.put_recording(&recording, |result| {
            if let Err(error) = result {
                tracing::error!(%error, "the beginning of a recording is not in the journal");
            }
        });
        if let Err(error) = written {
            tracing::error!(%error, "the beginning of a recording is not in the journal");
        }
        let tape = self.recorders.record(Arc::clone(&id), plan, codec);
        let on_tape = OnTape { leg, track, recording, reason: None, unwritten: false };
        self.state.recordings.0.insert(Arc::clone(&id), on_tape);
        match tape {
            Ok(tape) => self.media.command(leg, media_io::Command::Record { track, tape, beep }),
            Err(error) => {
                let over = Over::Failed(std::io::Error::other(error));
                let nothing = Duration::ZERO;
                self.recorded(
                    at,
                    &Recorded { id, over, duration: nothing, dropped: nothing, size: 0, rate: 0 },
                );
                Ok(())
            }
        }
    }

    pub(crate) fn pause_recording(
        &mut self,
        leg: LegId,
        track: Track,
        on: bool,
    ) -> Result<(), media_io::Error> {
        if let Some(tape) = self.tape(leg, track) {
            tape.recording.status = if on { RecordingStatus::Paused } else { RecordingStatus::Recording };
        }
        self.media.command(leg, media_io::Command::PauseRecording(track, on))
    }

    pub(crate) fn stop_recording(
        &mut self,
        leg: LegId,
        track: Track,
        reason: RecordingEnd,
    ) -> Result<(), media_io::Error> {
        if let Some(tape) = self.tape(leg, track) {
            tape.reason = Some(reason);
        }
        self.media.command(leg, media_io::Command::StopRecording(track))
    }

    /// The recording on this track that has not been told to end.
    fn tape(&mut self, leg: LegId, track: Track) -> Option<&mut OnTape> {
        let mut tapes = self.state.recordings.0.values_mut();
        tapes.find(|tape| {
            let is_over = tape.reason.is_some() || tape.recording.status == RecordingStatus::Ended;
            tape.leg == leg && tape.track == track && !is_over
        })
    }

    /// A writer has finished a recording: the journal has it next, then the call.
    pub(crate) fn recorded(&mut self, at: Instant, recorded: &Recorded) {
        let Some(tape) = self.state.recordings.0.get_mut(&recorded.id) else { return };
        let recording = &mut tape.recording;
        recording.status = RecordingStatus::Ended;
        recording.ended_at = Some(now());
        recording.sample_rate_hz = recorded.rate;
        recording.duration_ms = ms(recorded.duration);
        recording.dropped_ms = ms(recorded.dropped);
        recording.size_bytes = recorded.size;
        recording.reason = Some(match &recorded.over {
            // What ended without a word has ended with its leg.
            Over::Stopped => tape.reason.unwrap_or(RecordingEnd::Hangup),
            Over::MaxLength => RecordingEnd::MaxLength,
            Over::Silence => RecordingEnd::Silence,
            Over::NoSpace(error) => {
                tracing::warn!(recording = %recording.id, %error, "a recording has ended: the disk is full");
                RecordingEnd::DiskFull
            }
            Over::Failed(error) => {
                tracing::error!(recording = %recording.id, %error, "a recording could not be written");
                RecordingEnd::Error
            }
        });
        if recorded.dropped > Duration::ZERO {
            let dropped_ms = recording.dropped_ms;
            tracing::warn!(recording = %recording.id, dropped_ms, "the disk was too slow for a recording");
        }
        self.write_recording(at, &recorded.id);
    }

    /// Offers the end of a recording to the journal.
    pub(crate) fn write_recording(&mut self, at: Instant, id: &Arc<str>) {
        let Some(tape) = self.state.recordings.0.get(id) else { return };
        let (told, of_end) = (self.journalled.clone(), Arc::clone(id));
        let submitted = self.journal.put_recording(&tape.recording, move |result| {
            // Only a stopped engine does not listen.
            drop(told.blocking_send(Journalled::Recorded(of_end, result.map(drop))));
        });
        if let Err(error) = submitted {
            self.recording_journalled(at, id, Err(error));
        }
    }

    /// The journal has the end of a recording, or will not have it now; the call goes on either way.
    pub(crate) fn recording_journalled(
        &mut self,
        at: Instant,
        id: &Arc<str>,
        result: Result<(), JournalError>,
    ) {
        let Some(tape) = self.state.recordings.0.get_mut(id) else { return };
        let is_told = std::mem::replace(&mut tape.unwritten, result.is_err());
        let (leg, recording) = (tape.leg, tape.recording.clone());
        match result {
            Ok(()) => drop(self.state.recordings.0.remove(id)),
            Err(error) => {
                tracing::error!(%error, recording = &**id, "the end of a recording is not in the journal; trying again");
                self.offer_again(Unwritten::Recording(Arc::clone(id)));
            }
        }
        if !is_told {
            self.input(at, Input::Media { leg, input: MediaInput::Recorded(Box::new(recording)) });
        }
    }

    fn live_recording(&self, id: &str) -> Option<Recording> {
        self.state.recordings.0.get(id).map(|tape| tape.recording.clone())
    }
}

/// # Recordings
impl Engine {
    /// Begins, pauses, goes on with or ends the recording of an answered call; its id.
    pub async fn record(&self, id: &CallId, record: Record) -> Result<RecordingId, Error> {
        if record.action == RecordAction::Start {
            // A call that is not there is what is wrong, whatever the disk has.
            self.command(id, |task, _, id| task.core.call(id).map(drop).ok_or(Refusal::NotFound)).await?;
            let config = self.shared.recordings.clone();
            let room = tokio::task::spawn_blocking(move || Recorders::check_space(&config)).await;
            room.map_err(|_| Error::Stopping)??;
        }
        self.command(id, move |task, now, id| task.core.record(now, id, record)).await
    }

    /// Recordings, newest first; one that goes on is as it is now.
    pub async fn recordings(&self, query: RecordingQuery) -> Result<Page<Recording>, Error> {
        let before = query.cursor.as_deref().map(parse_place).transpose()?;
        let limit = query.limit.saturating_add(1);
        let mut items =
            self.shared.journal.recordings(RecordingRows { call: query.call, before, limit }).await?;
        let more = items.len() > query.limit as usize;
        items.truncate(query.limit as usize);
        let place = |item: &Recording| format!("{}-{}", item.started_at.unix_ms(), item.id);
        let next_cursor = items.last().filter(|_| more).map(place);
        let open: Vec<RecordingId> =
            items.iter().filter(|item| item.ended_at.is_none()).map(|item| item.id.clone()).collect();
        if !open.is_empty() {
            let live = self.ask(move |task, _| {
                open.iter().filter_map(|id| task.live_recording(id.as_str())).collect::<Vec<_>>()
            });
            for live in live.await? {
                if let Some(item) = items.iter_mut().find(|item| item.id == live.id) {
                    *item = live;
                }
            }
        }
        Ok(Page { items, next_cursor })
    }

    /// A recording.
    pub async fn recording(&self, id: &str) -> Result<Option<Recording>, Error> {
        let live = id.to_owned();
        if let Some(live) = self.ask(move |task, _| task.live_recording(&live)).await? {
            return Ok(Some(live));
        }
        Ok(self.shared.journal.recording(id.to_owned()).await?)
    }

    /// The file of a recording that has ended; `None` if it has none.
    pub fn recording_file(&self, recording: &Recording) -> Result<Option<PathBuf>, Error> {
        if recording.status != RecordingStatus::Ended {
            return Err(Error::Recording);
        }
        let file = || file(&self.shared.recordings.folder, recording);
        Ok((recording.size_bytes > 0).then(file))
    }

    /// Forgets a recording that has ended, and its file; `false` when there is none.
    pub async fn delete_recording(&self, id: &str) -> Result<bool, Error> {
        let Some(recording) = self.recording(id).await? else { return Ok(false) };
        if recording.status != RecordingStatus::Ended {
            return Err(Error::Recording);
        }
        let of_live = id.to_owned();
        self.ask(move |task, _| task.state.recordings.forget_unwritten(&of_live)).await?;
        delete(&self.shared.journal, &self.shared.recordings.folder, &recording).await?;
        Ok(true)
    }
}

/// The file first: a row without one can be deleted again, a file without a row would stay.
async fn delete(journal: &Journal, folder: &Path, recording: &Recording) -> Result<(), Error> {
    let (folder, id, format) = (folder.to_owned(), recording.id.to_string(), to_media(recording.format));
    let of_folder = folder.clone();
    let removed = tokio::task::spawn_blocking(move || Recorders::remove(&folder, &id, format)).await;
    let removed = removed.map_err(|_| Error::Stopping)?;
    removed.map_err(|source| RecordError::Folder { folder: of_folder, source })?;
    Ok(journal.delete_recording(recording.id.to_string()).await?)
}

/// Deletes what is past its retention, a few at a time.
pub(crate) async fn prune(
    journal: &Journal,
    folder: &Path,
    retention: Duration,
    most: u32,
) -> Result<(), Error> {
    let before = now().unix_ms().saturating_sub(ms(retention));
    let mut after = None;
    loop {
        let old = journal.old_recordings(before, after, most).await?;
        for recording in &old {
            // One that cannot be deleted now is tried again next time, and does not keep the others.
            if let Err(error) = delete(journal, folder, recording).await {
                tracing::error!(%error, recording = %recording.id, "a recording past its retention is still there");
            }
        }
        if old.len() < most as usize {
            return Ok(());
        }
        after = old.last().and_then(|last| Some((last.ended_at?.unix_ms(), last.id.to_string())));
    }
}

/// Before the writers start: files that got their name without the journal's knowing are looked at once more.
pub(crate) fn reopen(folder: &Path, open: &[Recording]) {
    for recording in open {
        let file = file(folder, recording);
        let mut part = file.clone().into_os_string();
        part.push(".part");
        // One that is not there has its `.part`, or was never made.
        let _ = std::fs::rename(file, part);
    }
}

/// Every recording ends: those that a crash left open end now, with what their files have.
pub(crate) async fn end_crashed(
    journal: &Journal,
    open: Vec<Recording>,
    left: &[Left],
    at: Timestamp,
) -> Result<(), JournalError> {
    for left in left {
        if open.iter().all(|recording| recording.id.as_str() != left.id) {
            tracing::warn!(file = left.id, "the file of a recording that the journal does not know");
        }
    }
    for mut recording in open {
        let left = left.iter().find(|left| left.id == recording.id.as_str());
        recording.status = RecordingStatus::Ended;
        recording.reason = Some(RecordingEnd::Crash);
        recording.ended_at = Some(at);
        if let Some(left) = left {
            recording.duration_ms = ms(left.duration);
            recording.size_bytes = left.size;
            recording.sample_rate_hz = left.rate;
            let written = left.written.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            recording.ended_at = Some(Timestamp::from_unix_ms(ms(written)));
        }
        tracing::warn!(recording = %recording.id, duration_ms = recording.duration_ms, "a recording ended in a crash");
        let (tell, told) = oneshot::channel();
        journal.put_recording(&recording, move |result| drop(tell.send(result)))?;
        told.await.map_err(|_| JournalError::Closed)??;
    }
    Ok(())
}

fn file(folder: &Path, recording: &Recording) -> PathBuf {
    Recorders::path(folder, recording.id.as_str(), to_media(recording.format))
}

fn to_media(format: RecordingFormat) -> Format {
    match format {
        RecordingFormat::Wav => Format::Wav,
        RecordingFormat::Ogg => Format::Opus,
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
