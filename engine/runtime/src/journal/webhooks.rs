//! Webhooks, and the events that wait for their servers.

use std::sync::Arc;

use control_api_types::CallId;
use rusqlite::{OptionalExtension, params};

use super::{Journal, JournalError};

/// A webhook's row.
#[derive(Clone)]
pub(crate) struct StoredWebhook {
    pub(crate) id: String,
    /// What it is, with its secret, as JSON.
    pub(crate) json: String,
}

/// Where a call's own events go.
#[derive(Clone)]
pub(crate) struct CallWebhook {
    pub(crate) call: CallId,
    pub(crate) url: String,
    pub(crate) secret: Option<String>,
}

/// An event to be delivered.
pub(crate) struct NewDelivery {
    /// `None`: to the call's own `webhook_url`.
    pub(crate) webhook: Option<Arc<str>>,
    pub(crate) call: Option<CallId>,
    pub(crate) created_at_ms: u64,
    pub(crate) event_id: String,
    pub(crate) event: Arc<str>,
}

/// A delivery without its event.
#[derive(Clone, Debug)]
pub(crate) struct StoredDelivery {
    pub(crate) place: i64,
    pub(crate) webhook: Option<String>,
    pub(crate) call: Option<String>,
    pub(crate) created_at_ms: u64,
    pub(crate) attempts: u32,
    pub(crate) due_at_ms: u64,
    /// Of the event as JSON.
    pub(crate) octets: usize,
}

impl Journal {
    pub(crate) async fn put_webhook(&self, webhook: StoredWebhook) -> Result<(), JournalError> {
        self.write(move |db| {
            db.execute(
                "INSERT INTO webhooks (id, webhook) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET webhook = ?2",
                params![webhook.id, webhook.json],
            )
        })
        .await
        .map(drop)
    }

    /// Forgets a webhook. What waits for it goes by [`Journal::delete_deliveries`].
    pub(crate) async fn delete_webhook(&self, id: String) -> Result<(), JournalError> {
        self.write(move |db| db.execute("DELETE FROM webhooks WHERE id = ?1", params![id])).await.map(drop)
    }

    /// Forgets what waits for a webhook, at most `most` at once so that no group waits long.
    pub(crate) async fn delete_deliveries(&self, webhook: String, most: u32) -> Result<usize, JournalError> {
        self.write(move |db| {
            db.execute(
                "DELETE FROM deliveries WHERE place IN (SELECT place FROM deliveries WHERE webhook = ?1 LIMIT ?2)",
                params![webhook, most],
            )
        })
        .await
    }

    /// Every webhook, by id; for start-up.
    pub(crate) fn webhooks(&self) -> Result<Vec<StoredWebhook>, JournalError> {
        self.read_now(|db| {
            let mut query = db.prepare("SELECT id, webhook FROM webhooks ORDER BY id")?;
            let rows = query.query_map([], |row| Ok(StoredWebhook { id: row.get(0)?, json: row.get(1)? }))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Notes where the events of a call go, before the call itself is written.
    pub(crate) fn put_call_webhook(
        &self,
        webhook: CallWebhook,
        done: impl FnOnce(Result<usize, JournalError>) + Send + 'static,
    ) -> Result<(), JournalError> {
        self.submit(
            Box::new(move |db| {
                db.prepare_cached(
                    "INSERT INTO call_webhooks (call_id, url, secret) VALUES (?1, ?2, ?3)
                     ON CONFLICT (call_id) DO NOTHING",
                )?
                .execute(params![webhook.call.as_str(), webhook.url, webhook.secret])
            }),
            Box::new(done),
        )
    }

    pub(crate) fn delete_call_webhook(
        &self,
        call: &CallId,
        done: impl FnOnce(Result<usize, JournalError>) + Send + 'static,
    ) -> Result<(), JournalError> {
        let call = call.to_string();
        self.submit(
            Box::new(move |db| {
                db.prepare_cached("DELETE FROM call_webhooks WHERE call_id = ?1")?.execute(params![call])
            }),
            Box::new(done),
        )
    }

    /// Every call's own webhook; for start-up.
    pub(crate) fn call_webhooks(&self) -> Result<Vec<CallWebhook>, JournalError> {
        self.read_now(|db| {
            let mut query = db.prepare("SELECT call_id, url, secret FROM call_webhooks ORDER BY call_id")?;
            let mut rows = query.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let id: String = row.get(0)?;
                let Ok(call) = CallId::new(&id) else { continue };
                found.push(CallWebhook { call, url: row.get(1)?, secret: row.get(2)? });
            }
            Ok(found)
        })
    }

    /// Writes an event that is to be delivered; `done` hears its place, which grows from one to the next.
    pub(crate) fn add_delivery(
        &self,
        delivery: NewDelivery,
        done: impl FnOnce(Result<i64, JournalError>) + Send + 'static,
    ) -> Result<(), JournalError> {
        let place = Arc::new(std::sync::atomic::AtomicI64::new(0));
        let written = Arc::clone(&place);
        self.submit(
            Box::new(move |db| {
                let rows = db
                    .prepare_cached(
                        "INSERT INTO deliveries (webhook, call_id, created_at, attempts, due_at, event_id, event)
                         VALUES (?1, ?2, ?3, 0, ?3, ?4, ?5)",
                    )?
                    .execute(params![
                        delivery.webhook,
                        delivery.call.as_ref().map(CallId::as_str),
                        delivery.created_at_ms,
                        delivery.event_id,
                        &*delivery.event,
                    ])?;
                written.store(db.last_insert_rowid(), std::sync::atomic::Ordering::Relaxed);
                Ok(rows)
            }),
            Box::new(move |result| {
                done(result.map(|_| place.load(std::sync::atomic::Ordering::Relaxed)));
            }),
        )
    }

    /// The id and JSON of an event that waits; `None`: it waits no more.
    pub(crate) async fn delivery(&self, place: i64) -> Result<Option<(String, String)>, JournalError> {
        self.read(move |db| {
            Ok(db
                .prepare_cached("SELECT event_id, event FROM deliveries WHERE place = ?1")?
                .query_row(params![place], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?)
        })
        .await
    }

    /// Notes that an attempt has failed, and when the next is due.
    pub(crate) fn postpone_delivery(
        &self,
        place: i64,
        attempts: u32,
        due_at_ms: u64,
        done: impl FnOnce(Result<usize, JournalError>) + Send + 'static,
    ) -> Result<(), JournalError> {
        self.submit(
            Box::new(move |db| {
                db.prepare_cached("UPDATE deliveries SET attempts = ?2, due_at = ?3 WHERE place = ?1")?
                    .execute(params![place, attempts, due_at_ms])
            }),
            Box::new(done),
        )
    }

    /// Forgets an event that was delivered or given up.
    pub(crate) fn delete_delivery(
        &self,
        place: i64,
        done: impl FnOnce(Result<usize, JournalError>) + Send + 'static,
    ) -> Result<(), JournalError> {
        self.submit(
            Box::new(move |db| {
                db.prepare_cached("DELETE FROM deliveries WHERE place = ?1")?.execute(params![place])
            }),
            Box::new(done),
        )
    }

    /// Everything that waits, in order; for start-up.
    pub(crate) fn deliveries(&self) -> Result<Vec<StoredDelivery>, JournalError> {
        self.read_now(|db| {
            let mut query = db.prepare(
                "SELECT place, webhook, call_id, created_at, attempts, due_at, octet_length(event)
                 FROM deliveries ORDER BY place",
            )?;
            let rows = query.query_map([], |row| {
                Ok(StoredDelivery {
                    place: row.get(0)?,
                    webhook: row.get(1)?,
                    call: row.get(2)?,
                    created_at_ms: row.get(3)?,
                    attempts: row.get(4)?,
                    due_at_ms: row.get(5)?,
                    octets: row.get(6)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}
