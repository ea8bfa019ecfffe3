//! Stored queues: settings by name, with a version that counts their changes; and who waits in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use control_api_types::{Page, Queue, QueueResource, QueuedCall, Timestamp};
use engine_core::{QueueLoad, Refusal};
use parking_lot::RwLock;

use crate::engine::{Engine, Error, now};
use crate::journal::{Journal, JournalError, StoredQueue, from_json};

/// A queue as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    version: u64,
    updated_at: Timestamp,
    pub(crate) queue: Arc<Queue>,
}

/// Every queue of this node; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct QueueStore {
    journal: Journal,
    by_name: Arc<RwLock<BTreeMap<String, Kept>>>,
    /// Changes one at a time, so that engine, journal and map agree.
    changing: Arc<tokio::sync::Mutex<()>>,
}

impl QueueStore {
    /// Loads what the journal has. Settings that this version refuses are left out and logged.
    pub(crate) fn open(journal: Journal) -> Result<QueueStore, JournalError> {
        let mut by_name = BTreeMap::new();
        for stored in journal.queues()? {
            match Queue::from_json(&from_json(&stored.name, &stored.json)?) {
                Ok(queue) => {
                    let updated_at = Timestamp::from_unix_ms(stored.updated_at_ms);
                    let kept = Kept { version: stored.version, updated_at, queue: Arc::new(queue) };
                    by_name.insert(stored.name, kept);
                }
                Err(faults) => {
                    tracing::error!(queue = stored.name, ?faults, "stored queue refused: put it again")
                }
            }
        }
        Ok(QueueStore { journal, by_name: Arc::new(RwLock::new(by_name)), changing: Arc::default() })
    }

    pub(crate) fn all(&self) -> Vec<(String, Kept)> {
        self.by_name.read().iter().map(|(name, kept)| (name.clone(), kept.clone())).collect()
    }

    fn find(&self, name: &str) -> Option<Kept> {
        self.by_name.read().get(name).cloned()
    }

    async fn put(&self, name: &str, queue: Arc<Queue>) -> Result<Kept, JournalError> {
        let version = self.find(name).map_or(1, |old| old.version + 1);
        let json = serde_json::to_string(&*queue)
            .map_err(|source| JournalError::Record { key: name.to_owned(), source })?;
        let updated_at = now();
        let stored =
            StoredQueue { name: name.to_owned(), version, updated_at_ms: updated_at.unix_ms(), json };
        self.journal.put_queue(stored).await?;
        let kept = Kept { version, updated_at, queue };
        self.by_name.write().insert(name.to_owned(), kept.clone());
        Ok(kept)
    }

    async fn delete(&self, name: &str) -> Result<(), JournalError> {
        self.journal.delete_queue(name.to_owned()).await?;
        self.by_name.write().remove(name);
        Ok(())
    }
}

/// # Queues
impl Engine {
    /// Stores a queue; calls that wait in it go on as they began.
    pub async fn put_queue(&self, name: String, queue: Queue) -> Result<QueueResource, Error> {
        let store = &self.shared.queues;
        let _changing = store.changing.lock().await;
        for (at, play) in queue.plays() {
            self.check_urls("", play.source.sounds_at(at))?;
        }
        let queue = Arc::new(queue);
        let (asked, settings) = (name.clone(), Arc::clone(&queue));
        self.ask(move |task, _| task.core.check_queue(&asked, &settings))
            .await?
            .map_err(Refusal::Validation)?;
        let kept = store.put(&name, Arc::clone(&queue)).await?;
        let known = name.clone();
        let load = self.ask(move |task, now| {
            task.core.put_queue(&known, queue);
            task.core.queue_load(now, &known)
        });
        Ok(resource(name, kept, load.await?))
    }

    /// A stored queue.
    pub async fn queue(&self, name: &str) -> Result<Option<QueueResource>, Error> {
        let Some(kept) = self.shared.queues.find(name) else { return Ok(None) };
        let asked = name.to_owned();
        let load = self.ask(move |task, now| task.core.queue_load(now, &asked)).await?;
        Ok(Some(resource(name.to_owned(), kept, load)))
    }

    /// Every stored queue, by name.
    pub async fn queues(&self) -> Result<Vec<QueueResource>, Error> {
        let all = self.shared.queues.all();
        let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
        let loads = self.ask(move |task, now| {
            names.iter().map(|name| task.core.queue_load(now, name)).collect::<Vec<_>>()
        });
        let loads = loads.await?;
        Ok(all.into_iter().zip(loads).map(|((name, kept), load)| resource(name, kept, load)).collect())
    }

    /// Forgets a queue; `false` when there is none. The flows of those who wait in it go on by `closed`.
    pub async fn delete_queue(&self, name: &str) -> Result<bool, Error> {
        let store = &self.shared.queues;
        let _changing = store.changing.lock().await;
        if store.find(name).is_none() {
            return Ok(false);
        }
        store.delete(name).await?;
        let name = name.to_owned();
        self.ask(move |task, now| task.core.delete_queue(now, &name)).await?;
        Ok(true)
    }

    /// Who waits in a queue, in order of arrival; `None` when there is no such queue. The cursor is the place among all
    /// arrivals of the last one shown, so that a page goes on behind it though others have left.
    pub async fn queued_calls(
        &self,
        name: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Option<Page<QueuedCall>>, Error> {
        let after = match cursor {
            Some(cursor) => cursor.parse::<u64>().map_err(|_| Error::BadCursor)?,
            None => 0,
        };
        if self.shared.queues.find(name).is_none() {
            return Ok(None);
        }
        let (name, limit) = (name.to_owned(), limit as usize);
        let calls = self.ask(move |task, now| {
            let behind = task.core.queued_calls(now, &name).filter(|(arrival, _)| *arrival > after);
            behind.take(limit + 1).collect::<Vec<_>>()
        });
        let mut calls = calls.await?;
        let more = calls.len() > limit;
        calls.truncate(limit);
        let next_cursor = calls.last().filter(|_| more).map(|(arrival, _)| arrival.to_string());
        Ok(Some(Page { items: calls.into_iter().map(|(_, call)| call).collect(), next_cursor }))
    }
}

fn resource(name: String, kept: Kept, load: QueueLoad) -> QueueResource {
    let Kept { version, updated_at, queue } = kept;
    let longest_wait_ms = load.longest.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    QueueResource { name, version, updated_at, waiting: load.waiting, longest_wait_ms, queue }
}
