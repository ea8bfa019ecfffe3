//! Queues: their settings by name.

use rusqlite::params;

use super::{Journal, JournalError};

/// A queue's row.
#[derive(Clone, Debug)]
pub(crate) struct StoredQueue {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) updated_at_ms: u64,
    /// The settings as JSON.
    pub(crate) json: String,
}

impl Journal {
    pub(crate) async fn put_queue(&self, queue: StoredQueue) -> Result<(), JournalError> {
        self.write(move |db| {
            db.execute(
                "INSERT INTO queues (name, version, updated_at, queue) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET version = ?2, updated_at = ?3, queue = ?4",
                params![queue.name, queue.version, queue.updated_at_ms, queue.json],
            )
        })
        .await
        .map(drop)
    }

    pub(crate) async fn delete_queue(&self, name: String) -> Result<(), JournalError> {
        self.write(move |db| db.execute("DELETE FROM queues WHERE name = ?1", params![name])).await.map(drop)
    }

    /// Every queue, by name; for start-up.
    pub(crate) fn queues(&self) -> Result<Vec<StoredQueue>, JournalError> {
        self.read_now(|db| {
            let mut query =
                db.prepare("SELECT name, version, updated_at, queue FROM queues ORDER BY name")?;
            let rows = query.query_map([], |row| {
                Ok(StoredQueue {
                    name: row.get(0)?,
                    version: row.get(1)?,
                    updated_at_ms: row.get(2)?,
                    json: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}
