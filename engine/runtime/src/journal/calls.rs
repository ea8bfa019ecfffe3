//! Calls: accepted once, ended once, kept as CDRs.

use control_api_types::{Call, CallId, CallStatus};
use rusqlite::{Row, params};

use super::{Journal, JournalError, from_json};

/// SHA-256 of an originate request, so that the same id with another body is told apart.
pub(crate) type BodyHash = [u8; 32];

/// A call as the journal has it.
#[derive(Clone, Debug)]
pub(crate) struct StoredCall {
    pub(crate) call: Call,
    pub(crate) body_hash: Option<BodyHash>,
}

/// A call to be ended in the journal.
#[derive(Clone, Debug)]
pub(crate) struct EndedCall {
    pub(crate) id: CallId,
    pub(crate) status: CallStatus,
    pub(crate) json: String,
    pub(crate) ended_at_ms: u64,
}

/// Which ended calls to list, in order of ending.
#[derive(Clone, Debug, Default)]
pub(crate) struct CdrQuery {
    /// Only those after this place.
    pub(crate) after: i64,
    /// Ended at or after, unix ms.
    pub(crate) from_ms: Option<u64>,
    /// Ended before, unix ms.
    pub(crate) to_ms: Option<u64>,
    pub(crate) limit: u32,
}

/// Which calls to list, newest first.
#[derive(Clone, Debug)]
pub(crate) struct CallQuery {
    /// Only calls that ended with this status.
    pub(crate) status: Option<CallStatus>,
    /// Only calls older than this (accepted at, id).
    pub(crate) before: Option<(u64, String)>,
    pub(crate) limit: u32,
}

/// Only with the index's own condition does SQLite look into it for the greatest place; without, it reads every call.
pub(super) const END: &str = "UPDATE calls SET call = ?2, status = ?3, ended_at = ?4, ended_seq =
        (SELECT coalesce(max(ended_seq), 0) + 1 FROM calls WHERE ended_seq IS NOT NULL)
    WHERE id = ?1 AND ended_seq IS NULL";

pub(super) const PRUNE: &str = "DELETE FROM calls WHERE id IN (
    SELECT id FROM calls WHERE ended_at < ?1
    AND ended_seq < (SELECT max(ended_seq) FROM calls WHERE ended_seq IS NOT NULL) LIMIT ?2)";

/// A page of calls, newest first.
pub(super) const CALLS: &str = "SELECT id, call FROM calls WHERE (accepted_at, id) < (?1, ?2)
    ORDER BY accepted_at DESC, id DESC LIMIT ?3";
/// The same of one final status; a statement of its own, for each has its index.
pub(super) const CALLS_BY_STATUS: &str = "SELECT id, call FROM calls
    WHERE status = ?4 AND (accepted_at, id) < (?1, ?2) ORDER BY accepted_at DESC, id DESC LIMIT ?3";

impl Journal {
    /// Writes an accepted call; `done` hears `false` when its id has been used before.
    pub(crate) fn accept(
        &self,
        call: &Call,
        body_hash: Option<BodyHash>,
        done: impl FnOnce(Result<bool, JournalError>) + Send + 'static,
    ) -> Result<(), JournalError> {
        let (id, accepted_at) = (call.id.to_string(), call.created_at.unix_ms());
        let json = to_json(call)?;
        self.submit(
            Box::new(move |db| {
                db.prepare_cached(
                    "INSERT INTO calls (id, body_hash, accepted_at, call) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (id) DO NOTHING",
                )?
                .execute(params![id, body_hash, accepted_at, json])
            }),
            Box::new(move |result| done(result.map(|rows| rows == 1))),
        )
    }

    /// Writes the end of a call. The order of ending is the order of these writes.
    pub(crate) fn end(
        &self,
        ended: EndedCall,
        done: impl FnOnce(Result<usize, JournalError>) + Send + 'static,
    ) -> Result<(), JournalError> {
        self.submit(
            Box::new(move |db| {
                db.prepare_cached(END)?.execute(params![
                    ended.id.as_str(),
                    ended.json,
                    ended.status.as_str(),
                    ended.ended_at_ms
                ])
            }),
            Box::new(done),
        )
    }

    /// Calls that were accepted and never ended: at start-up, what a crash left behind.
    pub(crate) fn open_calls(&self) -> Result<Vec<Call>, JournalError> {
        self.read_now(|db| {
            let mut query =
                db.prepare("SELECT id, call FROM calls WHERE ended_seq IS NULL ORDER BY accepted_at, id")?;
            list(query.query([])?)
        })
    }

    pub(crate) async fn call(&self, id: CallId) -> Result<Option<StoredCall>, JournalError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT id, call, body_hash FROM calls WHERE id = ?1")?;
            let mut rows = query.query(params![id.as_str()])?;
            rows.next()?
                .map(|row| Ok(StoredCall { call: call_of(row)?, body_hash: row.get("body_hash")? }))
                .transpose()
        })
        .await
    }

    /// Calls, newest first; open ones as they were when accepted.
    pub(crate) async fn calls(&self, query: CallQuery) -> Result<Vec<Call>, JournalError> {
        self.read(move |db| {
            let (at, id) = query.before.unwrap_or((i64::MAX as u64, String::new()));
            match query.status {
                None => list(db.prepare_cached(CALLS)?.query(params![at, id, query.limit])?),
                Some(status) => {
                    let mut select = db.prepare_cached(CALLS_BY_STATUS)?;
                    list(select.query(params![at, id, query.limit, status.as_str()])?)
                }
            }
        })
        .await
    }

    /// Ended calls in order of ending, and the place of the last one.
    pub(crate) async fn cdrs(&self, query: CdrQuery) -> Result<(Vec<Call>, Option<i64>), JournalError> {
        self.read(move |db| {
            let mut select = db.prepare_cached(
                "SELECT id, call, ended_seq FROM calls
                 WHERE ended_seq > ?1 AND (?2 IS NULL OR ended_at >= ?2) AND (?3 IS NULL OR ended_at < ?3)
                 ORDER BY ended_seq LIMIT ?4",
            )?;
            let mut rows = select.query(params![query.after, query.from_ms, query.to_ms, query.limit])?;
            let (mut calls, mut last) = (Vec::new(), None);
            while let Some(row) = rows.next()? {
                calls.push(call_of(row)?);
                last = Some(row.get("ended_seq")?);
            }
            Ok((calls, last))
        })
        .await
    }

    /// Forgets CDRs older than `before_ms`, at most `most` at once so that no group waits long. The newest is kept
    /// whatever its age: the next place in the order of ending is counted from it.
    pub(crate) async fn prune_cdrs(&self, before_ms: u64, most: u32) -> Result<usize, JournalError> {
        self.write(move |db| db.execute(PRUNE, params![before_ms, most])).await
    }
}

fn to_json(call: &Call) -> Result<String, JournalError> {
    serde_json::to_string(call).map_err(|source| JournalError::Record { key: call.id.to_string(), source })
}

fn call_of(row: &Row<'_>) -> Result<Call, JournalError> {
    let (id, json): (String, String) = (row.get("id")?, row.get("call")?);
    from_json(&id, &json)
}

fn list(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Call>, JournalError> {
    let mut calls = Vec::new();
    while let Some(row) = rows.next()? {
        calls.push(call_of(row)?);
    }
    Ok(calls)
}
