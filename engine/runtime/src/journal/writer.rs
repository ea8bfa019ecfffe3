//! The one writer: takes everything that waits into one transaction.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rusqlite::Connection;

use super::JournalError;

/// One statement (a failing statement undoes itself and leaves the rest of the group alone).
pub(super) type Write = Box<dyn FnOnce(&Connection) -> rusqlite::Result<usize> + Send>;
/// Told after the commit how many rows the write changed.
pub(super) type Done = Box<dyn FnOnce(Result<usize, JournalError>) + Send>;

/// Writes that may wait: several seconds of the highest set-up rate, two writes a call.
const QUEUE: usize = 32_768;
/// Writes in one transaction: bounds how long the first of a group waits (a write takes about 10 µs).
const GROUP: usize = 512;

#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once the writer is being dropped.
    queue: Option<SyncSender<(Write, Done)>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(db: Connection) -> Writer {
        let (queue, orders) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || run(&db, &orders))
            .inspect_err(|error| tracing::error!(%error, "cannot start the journal's writer thread"))
            .ok();
        Writer { queue: Some(queue), thread: Mutex::new(thread) }
    }

    pub(super) fn submit(&self, write: Write, done: Done) -> Result<(), JournalError> {
        let queue = self.queue.as_ref().ok_or(JournalError::Closed)?;
        queue.try_send((write, done)).map_err(|error| match error {
            TrySendError::Full(_) => JournalError::Full,
            TrySendError::Disconnected(_) => JournalError::Closed,
        })
    }
}

impl Drop for Writer {
    /// Closes the queue and waits until what is in it has been written.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the journal's writer thread panicked");
        }
    }
}

fn run(db: &Connection, orders: &Receiver<(Write, Done)>) {
    let mut group = Vec::with_capacity(GROUP);
    while let Ok(first) = orders.recv() {
        group.push(first);
        group.extend(orders.try_iter().take(GROUP - 1));
        commit(db, &mut group);
    }
}

fn commit(db: &Connection, group: &mut Vec<(Write, Done)>) {
    let mut told = Vec::with_capacity(group.len());
    let committed = db.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
        for (write, done) in group.drain(..) {
            // A full disk can make SQLite roll the transaction back by itself: what came after would commit alone.
            let undone = db.is_autocommit();
            told.push((if undone { Ok(0) } else { write(db) }, done));
        }
        db.execute_batch("COMMIT")
    });
    match committed {
        Ok(()) => {
            for (result, done) in told {
                done(result.map_err(JournalError::Sqlite));
            }
        }
        Err(error) => {
            tracing::error!(%error, writes = told.len() + group.len(), "journal commit failed (is the disk full?)");
            if !db.is_autocommit()
                && let Err(error) = db.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "journal rollback failed");
            }
            let error = Arc::new(error);
            for done in told.into_iter().map(|(_, done)| done).chain(group.drain(..).map(|(_, done)| done)) {
                done(Err(JournalError::Commit(Arc::clone(&error))));
            }
        }
    }
}
