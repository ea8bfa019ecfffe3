//! Webhooks: events posted to web servers, at least once and in the order of each call, for a day.
//!
//! An event that a webhook wants is written to the journal before it is tried, and forgotten when it was delivered or given
//! up; so a restart goes on where the last run was. Calls never wait for any of this: what has no room is dropped, counted,
//! and told to the receiver by an `events.dropped` before the next event that has. See [`outbox`] for who is tried when.

mod outbox;
pub(crate) mod sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use control_api_types::webhook::{secret_bytes, written_secret};
use control_api_types::{
    CallId, CreateWebhook, Cursor, Event, EventData, EventTypes, Fault, Secret, Timestamp, Webhook,
    WebhookStatus,
};
use engine_core::Refusal;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use ulid::Ulid;

use crate::engine::{Engine, Error, now};
use crate::http::{Client, Failure};
use crate::journal::{CallWebhook, Journal, JournalError, NewDelivery, StoredWebhook, from_json};
pub(crate) use outbox::Figures;
use outbox::{Attempt, Outbox, Outcome, Receiver, Rules, Settled, Target, Waiting, Wanted};

/// Most webhooks: each has its own room for what waits.
const MAX_WEBHOOKS: usize = 100;
/// Events on their way into the journal: a quarter of what may wait there, the rest is for calls.
const MAX_UNWRITTEN: usize = 8_192;
/// Rows forgotten in one write, so that calls do not wait for it.
const FORGET_AT_ONCE: u32 = 1_000;
/// How long an attempt that the journal could not serve waits.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);
/// Octets of random secrets: as many as the signature's hash has.
const SECRET_OCTETS: usize = 32;

/// How events are posted.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// Signs events to the `webhook_url` of calls that bring no secret, and questions of flows and routes.
    pub secret: Option<Secret>,
    /// Longest attempt.
    pub timeout: Duration,
    /// From a failed attempt to the next one; the last for all further ones.
    pub retries: Vec<Duration>,
    /// Age at which an event is given up.
    pub give_up: Duration,
    /// Most events that wait for one webhook, or for the `webhook_url`s of calls on one server.
    pub max_pending: usize,
    /// Most octets of them.
    pub max_pending_bytes: usize,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        WebhookConfig {
            secret: None,
            timeout: Duration::from_secs(15),
            retries: [5, 30, 120, 300, 900, 1_800, 3_600, 7_200, 14_400].map(Duration::from_secs).into(),
            give_up: Duration::from_secs(24 * 3_600),
            max_pending: 100_000,
            max_pending_bytes: 256 << 20,
        }
    }
}

/// What the journal keeps of a webhook.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    url: String,
    events: EventTypes,
    secret: String,
    created_at: Timestamp,
    disabled: bool,
}

impl Kept {
    fn target(&self) -> Target {
        Target { url: self.url.clone(), secret: secret_bytes(&self.secret) }
    }
}

/// The webhooks; cheap to clone.
#[derive(Clone)]
pub(crate) struct Webhooks(Arc<Inner>);

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Webhooks")
    }
}

struct Inner {
    outbox: Mutex<Outbox>,
    /// By id.
    kept: Mutex<std::collections::BTreeMap<Arc<str>, Kept>>,
    journal: Journal,
    client: Client,
    timeout: Duration,
    secret: Option<Vec<u8>>,
    /// Events on their way into the journal.
    unwritten: AtomicUsize,
    wake: Notify,
}

impl Webhooks {
    /// Takes up what an earlier run has left. Nothing is sent before [`Webhooks::run`].
    pub(crate) fn open(
        journal: Journal,
        client: Client,
        config: WebhookConfig,
    ) -> Result<Webhooks, JournalError> {
        let WebhookConfig { secret, timeout, retries, give_up, max_pending, max_pending_bytes } = config;
        let mut outbox = Outbox::new(Rules { retries, give_up, max_pending, max_octets: max_pending_bytes });
        let mut webhooks = std::collections::BTreeMap::new();
        for StoredWebhook { id, json } in journal.webhooks()? {
            let kept: Kept = from_json(&id, &json)?;
            let id: Arc<str> = id.into();
            outbox.add_webhook(Arc::clone(&id), kept.target(), kept.events.clone(), !kept.disabled);
            webhooks.insert(id, kept);
        }
        let secret = secret.and_then(|Secret(text)| secret_bytes(&text));
        for CallWebhook { call, url, secret: own } in journal.call_webhooks()? {
            let secret = own.and_then(|text| secret_bytes(&text)).or_else(|| secret.clone());
            outbox.add_call(call, server(&url), Target { url, secret });
        }
        let mut orphans = Vec::new();
        for row in journal.deliveries()? {
            let call = row.call.as_deref().and_then(|id| CallId::new(id).ok());
            let receiver = match row.webhook {
                Some(id) => Some(Receiver::Webhook(id.into())),
                None => call.as_ref().and_then(|call| outbox.receiver_of(call)),
            };
            let waiting = Waiting { place: row.place, octets: row.octets, created_at_ms: row.created_at_ms };
            let taken = receiver.is_some_and(|receiver| {
                outbox.restore(&receiver, &call, waiting, row.attempts, row.due_at_ms)
            });
            if !taken {
                orphans.push(row.place);
            }
        }
        let inner = Inner {
            outbox: Mutex::new(outbox),
            kept: Mutex::new(webhooks),
            journal,
            client,
            timeout,
            secret,
            unwritten: AtomicUsize::new(0),
            wake: Notify::new(),
        };
        let webhooks = Webhooks(Arc::new(inner));
        webhooks.forget(&orphans);
        Ok(webhooks)
    }

    /// No call of an earlier run lives on: their `webhook_url`s are needed for what waits, and no longer.
    pub(crate) fn earlier_calls_are_over(&self) {
        let calls = self.0.outbox.lock().calls();
        for call in calls {
            self.call_is_over(&call);
        }
    }

    /// The events of a call go to this URL, too. It goes to the journal before the call does.
    pub(crate) fn of_call(&self, call: &CallId, url: String, secret: Option<Secret>) {
        let own = secret.map(|Secret(text)| text);
        let bytes = own.as_deref().and_then(secret_bytes).or_else(|| self.0.secret.clone());
        let target = Target { url: url.clone(), secret: bytes };
        self.0.outbox.lock().add_call(call.clone(), server(&url), target);
        let row = CallWebhook { call: call.clone(), url, secret: own };
        let id = call.clone();
        let told = move |result: Result<usize, JournalError>| {
            if let Err(error) = result {
                tracing::error!(call_id = %id, %error, "a call's webhook_url is not in the journal: a restart forgets it");
            }
        };
        if let Err(error) = self.0.journal.put_call_webhook(row, told) {
            tracing::error!(call_id = %call, %error, "a call's webhook_url is not in the journal: a restart forgets it");
        }
    }

    /// Nothing more will be heard of this call.
    pub(crate) fn call_is_over(&self, call: &CallId) {
        let forgotten = self.0.outbox.lock().end_call(call);
        if forgotten {
            self.forget_call(call);
        }
    }

    /// Takes an event for those who want it; never waits.
    pub(crate) fn offer(&self, event: &Event) {
        let (kind, call) = (event.data.kind(), event.call_id.as_ref());
        if !self.0.outbox.lock().is_wanted(kind, call) {
            return;
        }
        let json: Arc<str> = match serde_json::to_string(event) {
            Ok(json) => json.into(),
            Err(error) => return tracing::error!(%error, kind, "an event does not serialise"),
        };
        let wanted = self.0.outbox.lock().offer(kind, call, json.len());
        for Wanted { receiver, lost } in wanted {
            if let Some(count) = lost {
                let report = report(count, event);
                if let Ok(json) = serde_json::to_string(&report) {
                    // It takes a place; its few octets are not counted.
                    self.write(&receiver, call, report.id, json.into(), 0, Some(count), event.occurred_at);
                }
            }
            let (id, octets) = (event.id.clone(), json.len());
            self.write(&receiver, call, id, Arc::clone(&json), octets, None, event.occurred_at);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one row of a table")]
    fn write(
        &self,
        receiver: &Receiver,
        call: Option<&CallId>,
        event_id: String,
        event: Arc<str>,
        octets: usize,
        report: Option<u64>,
        at: Timestamp,
    ) {
        let webhook = match receiver {
            Receiver::Webhook(id) => Some(Arc::clone(id)),
            Receiver::Calls(_) => None,
        };
        let created_at_ms = at.unix_ms();
        let row = NewDelivery { webhook, call: call.cloned(), created_at_ms, event_id, event };
        let (inner, receiver, lane) = (Arc::clone(&self.0), receiver.clone(), call.cloned());
        let lost = (self.clone(), receiver.clone(), lane.clone());
        let submitted = match inner.unwritten.fetch_add(1, Ordering::Relaxed) < MAX_UNWRITTEN {
            false => Err(JournalError::Full),
            true => self.0.journal.add_delivery(row, move |result| {
                let webhooks = Webhooks(inner);
                webhooks.0.unwritten.fetch_sub(1, Ordering::Relaxed);
                match result {
                    Ok(place) => {
                        let waiting = Waiting { place, octets, created_at_ms };
                        let taken =
                            webhooks.0.outbox.lock().written(&receiver, &lane, waiting, report.is_some());
                        match taken {
                            true => webhooks.0.wake.notify_one(),
                            false => webhooks.forget(&[place]),
                        }
                    }
                    Err(error) => webhooks.unwritten(&receiver, &lane, octets, report, &error),
                }
            }),
        };
        if let Err(error) = submitted {
            let (webhooks, receiver, lane) = lost;
            webhooks.0.unwritten.fetch_sub(1, Ordering::Relaxed);
            webhooks.unwritten(&receiver, &lane, octets, report, &error);
        }
    }

    fn unwritten(
        &self,
        receiver: &Receiver,
        lane: &outbox::Lane,
        octets: usize,
        report: Option<u64>,
        error: &JournalError,
    ) {
        tracing::debug!(%error, "an event for a webhook has no place in the journal");
        let over = self.0.outbox.lock().lost(receiver, lane, octets, report);
        if let Some(call) = over {
            self.forget_call(&call);
        }
    }

    fn forget(&self, places: &[i64]) {
        for &place in places {
            let told = move |result: Result<usize, JournalError>| {
                if let Err(error) = result {
                    tracing::warn!(place, %error, "a delivered event stays in the journal: a restart repeats it");
                }
            };
            if let Err(error) = self.0.journal.delete_delivery(place, told) {
                tracing::warn!(place, %error, "a delivered event stays in the journal: a restart repeats it");
            }
        }
    }

    fn forget_call(&self, call: &CallId) {
        let id = call.clone();
        let told = move |result: Result<usize, JournalError>| {
            if let Err(error) = result {
                tracing::debug!(call_id = %id, %error, "a call's webhook_url stays in the journal until a restart");
            }
        };
        if let Err(error) = self.0.journal.delete_call_webhook(call, told) {
            tracing::debug!(call_id = %call, %error, "a call's webhook_url stays in the journal until a restart");
        }
    }

    /// Delivers until the engine has stopped.
    pub(crate) async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut attempts = JoinSet::new();
        loop {
            let next_at = {
                let mut outbox = self.0.outbox.lock();
                while let Some(attempt) = outbox.next(now().unix_ms()) {
                    attempts.spawn(self.clone().attempt(attempt));
                }
                outbox.next_at()
            };
            let wait = async {
                match next_at {
                    // Looked at again now and then, should the clock be set.
                    Some(at) => {
                        let until = at.saturating_sub(now().unix_ms()).clamp(1, 60_000);
                        tokio::time::sleep(Duration::from_millis(until)).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = attempts.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a delivery to a webhook panicked");
                    }
                }
                () = self.0.wake.notified() => {}
                () = wait => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    }

    async fn attempt(self, attempt: Attempt) {
        let Attempt { receiver, lane, place, target } = attempt;
        let outcome = match self.0.journal.delivery(place).await {
            Ok(Some((id, event))) => {
                let posting = self.post(&target, &id, event);
                match tokio::time::timeout(self.0.timeout, posting).await {
                    Ok(outcome) => outcome,
                    Err(_) => Outcome::Failed(Failure::Timeout.to_string()),
                }
            }
            // Somebody has forgotten it.
            Ok(None) => Outcome::Delivered,
            Err(error) => {
                tracing::error!(%error, "an event for a webhook cannot be read");
                tokio::time::sleep(JOURNAL_RETRY).await;
                Outcome::Failed("the journal cannot be read".to_owned())
            }
        };
        let host = host(&target.url);
        let call_id = lane.as_ref().map(CallId::as_str);
        match &outcome {
            Outcome::Delivered => tracing::debug!(host, call_id, "an event is delivered to a webhook"),
            Outcome::Failed(error) => {
                tracing::debug!(host, call_id, error, "an event is not delivered to a webhook")
            }
            Outcome::Gone => {
                tracing::warn!(host, call_id, "a webhook's server wants no more (410): it is disabled")
            }
        }
        let settled = self.0.outbox.lock().settle(now().unix_ms(), &receiver, &lane, place, outcome);
        match settled {
            Settled::Forget { places, call } => {
                self.forget(&places);
                if let Some(call) = call {
                    self.forget_call(&call);
                }
            }
            Settled::Postpone { place, attempts, due_at_ms } => {
                let told = move |result: Result<usize, JournalError>| {
                    if let Err(error) = result {
                        tracing::debug!(place, %error, "a failed attempt is not in the journal");
                    }
                };
                if let Err(error) = self.0.journal.postpone_delivery(place, attempts, due_at_ms, told) {
                    tracing::debug!(place, %error, "a failed attempt is not in the journal");
                }
            }
            Settled::Disabled(id) => self.disable(id).await,
            Settled::Nothing => {}
        }
        self.0.wake.notify_one();
    }

    async fn post(&self, target: &Target, id: &str, event: String) -> Outcome {
        let body = event.into_bytes();
        let headers = sign::headers(target.secret.as_deref(), id, now().unix_ms() / 1000, &body);
        match self.0.client.post(&target.url, headers, body).await {
            Ok(()) => Outcome::Delivered,
            Err(Failure::Status(410)) => Outcome::Gone,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    async fn disable(&self, id: Arc<str>) {
        let kept = self.0.kept.lock().get_mut(&id).map(|kept| {
            kept.disabled = true;
            kept.clone()
        });
        let Some(kept) = kept else { return };
        let written = async {
            let json = serde_json::to_string(&kept)
                .map_err(|source| JournalError::Record { key: id.to_string(), source })?;
            self.0.journal.put_webhook(StoredWebhook { id: id.to_string(), json }).await?;
            self.forget_all(&id).await
        };
        if let Err(error) = written.await {
            tracing::error!(webhook = &*id, %error, "a disabled webhook stays enabled in the journal");
        }
    }

    async fn forget_all(&self, id: &str) -> Result<(), JournalError> {
        while self.0.journal.delete_deliveries(id.to_owned(), FORGET_AT_ONCE).await?
            == FORGET_AT_ONCE as usize
        {}
        Ok(())
    }

    /// Of all together.
    pub(crate) fn figures(&self) -> Figures {
        self.0.outbox.lock().total()
    }

    /// The secret that questions are signed with.
    pub(crate) fn secret(&self) -> Option<Vec<u8>> {
        self.0.secret.clone()
    }

    fn show(&self, id: &str, kept: &Kept) -> Option<Webhook> {
        let (enabled, figures) = self.0.outbox.lock().figures(id)?;
        let error = figures.last_error;
        Some(Webhook {
            id: id.to_owned(),
            url: kept.url.clone(),
            events: kept.events.clone(),
            status: if enabled { WebhookStatus::Enabled } else { WebhookStatus::Disabled },
            created_at: kept.created_at,
            pending: figures.pending,
            dropped: figures.dropped,
            given_up: figures.given_up,
            last_delivered_at: figures.last_delivered_ms.map(Timestamp::from_unix_ms),
            last_error_at: error.as_ref().map(|(at, _)| Timestamp::from_unix_ms(*at)),
            last_error: error.map(|(_, error)| error),
            secret: None,
        })
    }
}

/// # Webhooks
impl Engine {
    /// Makes a webhook. Its secret is in this answer if the engine has chosen it, and nowhere after.
    pub async fn create_webhook(&self, create: CreateWebhook) -> Result<Webhook, Error> {
        self.check_url("/url", &create.url)?;
        let webhooks = &self.shared.webhooks;
        let id: Arc<str> = Ulid::generate().to_string().into();
        let (secret, shown) = match create.secret {
            Some(Secret(secret)) => (secret, None),
            None => {
                let mut random = [0; SECRET_OCTETS];
                getrandom::fill(&mut random).map_err(|_| Error::Random)?;
                let secret = written_secret(&random);
                (secret.clone(), Some(Secret(secret)))
            }
        };
        let kept =
            Kept { url: create.url, events: create.events, secret, created_at: now(), disabled: false };
        let json = serde_json::to_string(&kept)
            .map_err(|source| JournalError::Record { key: id.to_string(), source })?;
        {
            let mut all = webhooks.0.kept.lock();
            if all.len() >= MAX_WEBHOOKS {
                return Err(Error::TooMany { kind: "webhooks", most: MAX_WEBHOOKS });
            }
            all.insert(Arc::clone(&id), kept.clone());
        }
        if let Err(error) = webhooks.0.journal.put_webhook(StoredWebhook { id: id.to_string(), json }).await {
            webhooks.0.kept.lock().remove(&id);
            return Err(error.into());
        }
        webhooks.0.outbox.lock().add_webhook(Arc::clone(&id), kept.target(), kept.events.clone(), true);
        let webhook = webhooks
            .show(&id, &kept)
            .ok_or_else(|| Error::NoSuch { kind: "webhook", name: id.to_string() })?;
        Ok(Webhook { secret: shown, ..webhook })
    }

    /// Every webhook, the oldest first.
    #[must_use]
    pub fn webhooks(&self) -> Vec<Webhook> {
        let all = self.shared.webhooks.0.kept.lock().clone();
        all.iter().filter_map(|(id, kept)| self.shared.webhooks.show(id, kept)).collect()
    }

    /// One webhook.
    #[must_use]
    pub fn webhook(&self, id: &str) -> Option<Webhook> {
        let kept = self.shared.webhooks.0.kept.lock().get(id).cloned()?;
        self.shared.webhooks.show(id, &kept)
    }

    /// Forgets a webhook and what waits for it. `false` when there is none.
    pub async fn delete_webhook(&self, id: &str) -> Result<bool, Error> {
        let webhooks = &self.shared.webhooks;
        if webhooks.0.kept.lock().remove(id).is_none() {
            return Ok(false);
        }
        webhooks.0.outbox.lock().remove_webhook(id);
        webhooks.0.journal.delete_webhook(id.to_owned()).await?;
        webhooks.forget_all(id).await?;
        Ok(true)
    }

    /// Whether a URL may be asked for, as far as that can be told now.
    pub(crate) fn check_url(&self, pointer: &str, url: &str) -> Result<(), Error> {
        match self.shared.web.check(url) {
            Ok(_) => Ok(()),
            Err(refused) => {
                let fault = Fault { pointer: pointer.to_owned(), detail: refused.to_string() };
                Err(Refusal::Validation(vec![fault]).into())
            }
        }
    }
}

/// The report that `count` events before `next` had no room.
fn report(count: u64, next: &Event) -> Event {
    Event {
        id: Ulid::generate().to_string(),
        cursor: Cursor(next.cursor.0.saturating_sub(1)),
        seq: None,
        data: EventData::EventsDropped { count },
        occurred_at: next.occurred_at,
        node: Arc::clone(&next.node),
        call_id: None,
        client_state: None,
    }
}

/// `https://host:port` of a URL; a URL that is none is a server of its own, which will never answer.
fn server(url: &str) -> Arc<str> {
    match reqwest::Url::parse(url) {
        Ok(url) => url.origin().ascii_serialization().into(),
        Err(_) => url.into(),
    }
}

/// Of a URL no more than the host: the rest may hold a secret.
fn host(url: &str) -> Option<String> {
    reqwest::Url::parse(url).ok()?.host_str().map(str::to_owned)
}
