//! Answers kept for `Idempotency-Key`: the same key and body replays them, across restarts.

use rusqlite::{OptionalExtension, params};

use super::{Journal, JournalError};

/// How long an answer is replayed (control API contract: 24 h).
const KEPT_MS: u64 = 24 * 3600 * 1000;

/// An HTTP answer kept under an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// SHA-256 of what the request asked for (method, path and body).
    pub body_hash: [u8; 32],
    /// HTTP status of the answer.
    pub status: u16,
    /// Its `Location`.
    pub location: Option<String>,
    /// Body of the answer.
    pub body: Vec<u8>,
}

impl Journal {
    /// Keeps an answer; the first one under a key stands.
    pub(crate) async fn remember(
        &self,
        token: String,
        key: String,
        answer: StoredAnswer,
        now_ms: u64,
    ) -> Result<(), JournalError> {
        self.write(move |db| {
            db.prepare_cached(
                "INSERT INTO answers (token, key, body_hash, status, body, stored_at, location)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?8)
                 ON CONFLICT (token, key) DO UPDATE
                 SET body_hash = ?3, status = ?4, body = ?5, stored_at = ?6, location = ?8
                 WHERE stored_at <= ?6 - ?7",
            )?
            .execute(params![
                token,
                key,
                answer.body_hash,
                answer.status,
                answer.body,
                now_ms,
                KEPT_MS,
                answer.location
            ])
        })
        .await
        .map(drop)
    }

    /// The answer kept under a key, if it is not too old.
    pub(crate) async fn recall(
        &self,
        token: String,
        key: String,
        now_ms: u64,
    ) -> Result<Option<StoredAnswer>, JournalError> {
        self.read(move |db| {
            let row = db
                .prepare_cached(
                    "SELECT body_hash, status, body, location FROM answers WHERE token = ?1 AND key = ?2 AND stored_at > ?3",
                )?
                .query_row(params![token, key, now_ms.saturating_sub(KEPT_MS)], |row| {
                    Ok(StoredAnswer {
                        body_hash: row.get(0)?,
                        status: row.get(1)?,
                        body: row.get(2)?,
                        location: row.get(3)?,
                    })
                })
                .optional()?;
            Ok(row)
        })
        .await
    }

    /// Forgets the `most` oldest of the answers that are too old.
    pub(crate) async fn prune_answers(&self, now_ms: u64, most: u32) -> Result<usize, JournalError> {
        self.write(move |db| {
            db.execute(
                "DELETE FROM answers WHERE (token, key) IN
                 (SELECT token, key FROM answers WHERE stored_at <= ?1 ORDER BY stored_at LIMIT ?2)",
                params![now_ms.saturating_sub(KEPT_MS), most],
            )
        })
        .await
    }
}
