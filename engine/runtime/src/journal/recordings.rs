//! Recordings: a row when one begins, the same row when it is over.

use control_api_types::{CallId, Recording};
use rusqlite::{Rows, params};

use super::{Journal, JournalError, from_json};

/// Which recordings to list, newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordingRows {
    /// Only those of this call.
    pub(crate) call: Option<CallId>,
    /// Only those before this place: when they began, and their id.
    pub(crate) before: Option<(u64, String)>,
    pub(crate) limit: u32,
}

const PUT: &str =
    "INSERT INTO recordings (id, call_id, started_at, ended_at, recording) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (id) DO UPDATE SET ended_at = ?4, recording = ?5";

impl Journal {
    /// Writes a recording as it is now; `done` hears of it.
    pub(crate) fn put_recording(
        &self,
        recording: &Recording,
        done: impl FnOnce(Result<usize, JournalError>) + Send + 'static,
    ) -> Result<(), JournalError> {
        let json = serde_json::to_string(recording)
            .map_err(|source| JournalError::Record { key: recording.id.to_string(), source })?;
        let (id, call) = (recording.id.to_string(), recording.call_id.to_string());
        let started_at = recording.started_at.unix_ms();
        let ended_at = recording.ended_at.map(|at| at.unix_ms());
        self.submit(
            Box::new(move |db| {
                db.prepare_cached(PUT)?.execute(params![id, call, started_at, ended_at, json])
            }),
            Box::new(done),
        )
    }

    /// Recordings that began and never ended: at start-up, what a crash left behind.
    pub(crate) fn open_recordings(&self) -> Result<Vec<Recording>, JournalError> {
        self.read_now(|db| {
            let mut query = db.prepare(
                "SELECT id, recording FROM recordings WHERE ended_at IS NULL ORDER BY started_at, id",
            )?;
            list(query.query([])?)
        })
    }

    /// The recordings of a call, in the order in which they began; for start-up.
    pub(crate) fn recordings_of(&self, call: &CallId) -> Result<Vec<Recording>, JournalError> {
        self.read_now(|db| {
            let mut query = db
                .prepare("SELECT id, recording FROM recordings WHERE call_id = ?1 ORDER BY started_at, id")?;
            list(query.query(params![call.as_str()])?)
        })
    }

    pub(crate) async fn recording(&self, id: String) -> Result<Option<Recording>, JournalError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT id, recording FROM recordings WHERE id = ?1")?;
            Ok(list(query.query(params![id])?)?.pop())
        })
        .await
    }

    /// Recordings, newest first.
    pub(crate) async fn recordings(&self, query: RecordingRows) -> Result<Vec<Recording>, JournalError> {
        self.read(move |db| {
            let (at, id) = query.before.unwrap_or((i64::MAX as u64, String::new()));
            match query.call {
                None => {
                    let mut select = db.prepare_cached(
                        "SELECT id, recording FROM recordings WHERE (started_at, id) < (?1, ?2)
                         ORDER BY started_at DESC, id DESC LIMIT ?3",
                    )?;
                    list(select.query(params![at, id, query.limit])?)
                }
                Some(call) => {
                    let mut select = db.prepare_cached(
                        "SELECT id, recording FROM recordings WHERE call_id = ?4 AND (started_at, id) < (?1, ?2)
                         ORDER BY started_at DESC, id DESC LIMIT ?3",
                    )?;
                    list(select.query(params![at, id, query.limit, call.as_str()])?)
                }
            }
        })
        .await
    }

    /// Recordings that ended before `before_ms`, oldest first, from behind the end and id of `after`.
    pub(crate) async fn old_recordings(
        &self,
        before_ms: u64,
        after: Option<(u64, String)>,
        most: u32,
    ) -> Result<Vec<Recording>, JournalError> {
        self.read(move |db| {
            let (at, id) = after.unwrap_or_default();
            let mut select = db.prepare_cached(
                "SELECT id, recording FROM recordings WHERE ended_at < ?1 AND (ended_at, id) > (?2, ?3)
                 ORDER BY ended_at, id LIMIT ?4",
            )?;
            list(select.query(params![before_ms, at, id, most])?)
        })
        .await
    }

    pub(crate) async fn delete_recording(&self, id: String) -> Result<(), JournalError> {
        self.write(move |db| db.execute("DELETE FROM recordings WHERE id = ?1", params![id])).await.map(drop)
    }
}

fn list(mut rows: Rows<'_>) -> Result<Vec<Recording>, JournalError> {
    let mut recordings = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, json): (String, String) = (row.get("id")?, row.get("recording")?);
        recordings.push(from_json(&id, &json)?);
    }
    Ok(recordings)
}
