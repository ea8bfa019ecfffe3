//! Endpoints that the API has made.

use rusqlite::params;

use super::{Journal, JournalError};

/// An endpoint's row.
#[derive(Clone)]
pub(crate) struct StoredEndpoint {
    pub(crate) name: String,
    /// What it is, with H(A1) in place of its password, as JSON.
    pub(crate) json: String,
}

impl Journal {
    pub(crate) async fn put_endpoint(&self, endpoint: StoredEndpoint) -> Result<(), JournalError> {
        self.write(move |db| {
            db.execute(
                "INSERT INTO endpoints (name, endpoint) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET endpoint = ?2",
                params![endpoint.name, endpoint.json],
            )
        })
        .await
        .map(drop)
    }

    pub(crate) async fn delete_endpoint(&self, name: String) -> Result<(), JournalError> {
        self.write(move |db| db.execute("DELETE FROM endpoints WHERE name = ?1", params![name]))
            .await
            .map(drop)
    }

    /// Every endpoint, by name; for start-up.
    pub(crate) fn endpoints(&self) -> Result<Vec<StoredEndpoint>, JournalError> {
        self.read_now(|db| {
            let mut query = db.prepare("SELECT name, endpoint FROM endpoints ORDER BY name")?;
            let rows =
                query.query_map([], |row| Ok(StoredEndpoint { name: row.get(0)?, json: row.get(1)? }))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}
