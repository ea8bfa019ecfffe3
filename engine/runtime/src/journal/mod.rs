//! The journal: what must survive a crash, in one SQLite file.
//!
//! Accepted calls are written before their INVITE leaves and ended calls before `call.ended` is published, so an
//! accepted call ends exactly once whatever happens to the process. One writer thread groups everything that waits
//! into one transaction (group commit); readers use a connection of their own and never wait for it (WAL).
//!
//! Durability: `synchronous = NORMAL` in WAL mode. A killed process loses nothing that was acknowledged; a power
//! cut may lose the last commits but never corrupts the file.

mod calls;
mod endpoints;
mod idempotency;
mod library;
mod queues;
mod recordings;
mod schema;
mod webhooks;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;

pub(crate) use calls::{CallQuery, CdrQuery, EndedCall};
pub(crate) use endpoints::StoredEndpoint;
pub use idempotency::StoredAnswer;
pub(crate) use library::{StoredFlow, StoredPrompt, StoredTrunk};
pub(crate) use queues::StoredQueue;
pub(crate) use recordings::RecordingRows;
pub(crate) use webhooks::{CallWebhook, NewDelivery, StoredWebhook};
use writer::{Done, Write, Writer};

/// Why the journal could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file could not be opened or created.
    #[error("cannot open the journal {}: {source} (check that the folder exists, is writable and has space)", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// SQLite refused a read or write.
    #[error("journal: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A stored record is not what this version writes.
    #[error("journal: record {key:?} is unreadable: {source}")]
    Record {
        /// Primary key of the record.
        key: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A whole group could not be committed; every write in it failed alike.
    #[error("journal: commit failed: {0}")]
    Commit(Arc<rusqlite::Error>),
    /// More writes wait than the journal may hold.
    #[error("journal: the write queue is full")]
    Full,
    /// The writer has stopped.
    #[error("journal: closed")]
    Closed,
}

/// Handle on the journal; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    writer: Arc<Writer>,
    reader: Arc<Mutex<Connection>>,
}

impl Journal {
    /// Opens or creates the file and starts the writer.
    pub(crate) fn open(path: &Path) -> Result<Journal, JournalError> {
        let at = |source| JournalError::Open { path: path.to_owned(), source };
        let writer = schema::open(path).map_err(at)?;
        let reader = schema::open(path).map_err(at)?;
        Ok(Journal { writer: Arc::new(Writer::start(writer)), reader: Arc::new(Mutex::new(reader)) })
    }

    /// Queues a write; `done` runs on the writer thread once its group is committed or has failed.
    fn submit(&self, write: Write, done: Done) -> Result<(), JournalError> {
        self.writer.submit(write, done)
    }

    /// Queues a write and waits for the commit.
    async fn write(
        &self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<usize> + Send + 'static,
    ) -> Result<usize, JournalError> {
        let (tell, told) = tokio::sync::oneshot::channel();
        // The waiter may be gone (its HTTP client hung up); the write stands all the same.
        self.submit(Box::new(write), Box::new(move |result| drop(tell.send(result))))?;
        told.await.map_err(|_| JournalError::Closed)?
    }

    /// Runs a read on the blocking pool.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let reader = Arc::clone(&self.reader);
        tokio::task::spawn_blocking(move || read(&reader.lock())).await.map_err(|_| JournalError::Closed)?
    }

    /// Runs a read on this thread: for start-up, before anything else runs.
    fn read_now<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        read(&self.reader.lock())
    }
}

pub(crate) fn from_json<T: serde::de::DeserializeOwned>(key: &str, text: &str) -> Result<T, JournalError> {
    serde_json::from_str(text).map_err(|source| JournalError::Record { key: key.to_owned(), source })
}

#[cfg(test)]
mod tests;
