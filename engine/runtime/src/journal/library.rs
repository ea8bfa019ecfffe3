//! Prompts, flows and trunks: what was put in by name.

use rusqlite::params;

use super::{Journal, JournalError};

/// A prompt's row.
#[derive(Clone, Debug)]
pub(crate) struct StoredPrompt {
    pub(crate) name: String,
    pub(crate) id: String,
    /// The resource as JSON.
    pub(crate) json: String,
}

/// A flow's row.
#[derive(Clone, Debug)]
pub(crate) struct StoredFlow {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) updated_at_ms: u64,
    /// The document as JSON.
    pub(crate) json: String,
}

/// A trunk's row.
#[derive(Clone)]
pub(crate) struct StoredTrunk {
    pub(crate) name: String,
    /// The settings as JSON, password and all; `None`: the configuration file has them.
    pub(crate) json: Option<String>,
    pub(crate) disabled: bool,
}

impl Journal {
    pub(crate) async fn put_trunk(&self, trunk: StoredTrunk) -> Result<(), JournalError> {
        self.write(move |db| {
            db.execute(
                "INSERT INTO trunks (name, settings, disabled) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET settings = ?2, disabled = ?3",
                params![trunk.name, trunk.json, trunk.disabled],
            )
        })
        .await
        .map(drop)
    }

    pub(crate) async fn delete_trunk(&self, name: String) -> Result<(), JournalError> {
        self.write(move |db| db.execute("DELETE FROM trunks WHERE name = ?1", params![name])).await.map(drop)
    }

    /// Every trunk that the API has made or disabled, by name; for start-up.
    pub(crate) fn trunks(&self) -> Result<Vec<StoredTrunk>, JournalError> {
        self.read_now(|db| {
            let mut query = db.prepare("SELECT name, settings, disabled FROM trunks ORDER BY name")?;
            let rows = query.query_map([], |row| {
                Ok(StoredTrunk { name: row.get(0)?, json: row.get(1)?, disabled: row.get(2)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Keeps a prompt; a row whose files were lost gives way to it.
    pub(crate) async fn put_prompt(&self, prompt: StoredPrompt) -> Result<(), JournalError> {
        self.write(move |db| {
            db.execute(
                "INSERT INTO prompts (name, id, prompt) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET id = ?2, prompt = ?3",
                params![prompt.name, prompt.id, prompt.json],
            )
        })
        .await
        .map(drop)
    }

    pub(crate) async fn delete_prompt(&self, name: String) -> Result<(), JournalError> {
        self.write(move |db| db.execute("DELETE FROM prompts WHERE name = ?1", params![name])).await.map(drop)
    }

    /// Every prompt, by name; for start-up.
    pub(crate) fn prompts(&self) -> Result<Vec<StoredPrompt>, JournalError> {
        self.read_now(|db| {
            let mut query = db.prepare("SELECT name, id, prompt FROM prompts ORDER BY name")?;
            let rows = query.query_map([], |row| {
                Ok(StoredPrompt { name: row.get(0)?, id: row.get(1)?, json: row.get(2)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    pub(crate) async fn put_flow(&self, flow: StoredFlow) -> Result<(), JournalError> {
        self.write(move |db| {
            db.execute(
                "INSERT INTO flows (name, version, updated_at, flow) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET version = ?2, updated_at = ?3, flow = ?4",
                params![flow.name, flow.version, flow.updated_at_ms, flow.json],
            )
        })
        .await
        .map(drop)
    }

    pub(crate) async fn delete_flow(&self, name: String) -> Result<(), JournalError> {
        self.write(move |db| db.execute("DELETE FROM flows WHERE name = ?1", params![name])).await.map(drop)
    }

    /// Every flow, by name; for start-up.
    pub(crate) fn flows(&self) -> Result<Vec<StoredFlow>, JournalError> {
        self.read_now(|db| {
            let mut query = db.prepare("SELECT name, version, updated_at, flow FROM flows ORDER BY name")?;
            let rows = query.query_map([], |row| {
                Ok(StoredFlow {
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
