//! Web servers that say what becomes of calls: where inbound ones go, and how a flow goes on.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use control_api_types::{Call, RouteAnswer, StepAnswer};
use engine_core::NoAnswer;
use media_core::LegId;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use ulid::Ulid;

use super::{Client, Failure};
use crate::engine::now;
use crate::task::Answer;
use crate::webhooks::sign;

/// Largest answer, in bytes: as large as a flow may be that is put over the API.
const MAX_ANSWER: usize = 256 * 1024;
/// Most questions under way; further ones wait their turn, within their time. Each takes a socket.
const QUESTIONS: usize = 256;
/// Most to one server: the share that one which hangs can take.
const TO_ONE_SERVER: usize = 16;
/// Servers that are remembered before those that nobody asks are forgotten.
const SERVERS: usize = 64;

/// Whose turn it is to ask.
#[derive(Clone, Debug)]
struct Turns {
    all: Arc<Semaphore>,
    /// By scheme, host and port.
    servers: Arc<Mutex<BTreeMap<String, Arc<Semaphore>>>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(QUESTIONS)), servers: Arc::default() }
    }
}

impl Turns {
    /// Waits for a turn at the server of this URL, and only then for one among all. The semaphores are never closed.
    async fn take(&self, url: &str) -> [Option<OwnedSemaphorePermit>; 2] {
        let server = self.of_server(url);
        let at_server = server.acquire_owned().await.ok();
        [at_server, Arc::clone(&self.all).acquire_owned().await.ok()]
    }

    fn of_server(&self, url: &str) -> Arc<Semaphore> {
        let server = url
            .parse::<reqwest::Url>()
            .map_or_else(|_| url.to_owned(), |url| url.origin().ascii_serialization());
        let mut servers = self.servers.lock();
        if servers.len() >= SERVERS {
            // Whoever waits or asks holds it, too.
            servers
                .retain(|_, turns| Arc::strong_count(turns) > 1 || turns.available_permits() < TO_ONE_SERVER);
        }
        Arc::clone(servers.entry(server).or_insert_with(|| Arc::new(Semaphore::new(TO_ONE_SERVER))))
    }
}

/// Asks.
#[derive(Clone)]
pub(crate) struct Questions {
    client: Client,
    turns: Turns,
    tell: mpsc::Sender<Answer>,
    /// Signs what is asked, as events are signed.
    secret: Option<Arc<[u8]>>,
}

impl Questions {
    pub(crate) fn new(client: Client, tell: mpsc::Sender<Answer>, secret: Option<Vec<u8>>) -> Self {
        Self { client, turns: Turns::default(), tell, secret: secret.map(Into::into) }
    }

    /// Where a call goes; the answer comes as [`Answer::Route`], in any case. Calls are few enough to bound the questions.
    pub(crate) fn ask_route(&self, leg: LegId, url: String, timeout: Duration, call: Box<Call>) {
        let this = self.clone();
        tokio::spawn(async move {
            let read = |body: &Value| RouteAnswer::from_json(body);
            let asking = tokio::spawn(this.clone().ask(url, timeout, call, read));
            let answer = asking.await.unwrap_or(Err(NoAnswer::Unreachable));
            // Only a stopped engine does not listen.
            let _ = this.tell.send(Answer::Route(leg, answer)).await;
        });
    }

    /// How a flow goes on; the answer comes as [`Answer::Step`], in any case. A call asks one question at a time.
    pub(crate) fn ask_step(
        &self,
        leg: LegId,
        question: u64,
        url: String,
        timeout: Duration,
        call: Box<Call>,
    ) {
        let this = self.clone();
        tokio::spawn(async move {
            let read = |body: &Value| StepAnswer::from_json(body);
            let asking = tokio::spawn(this.clone().ask(url, timeout, call, read));
            let answer = asking.await.unwrap_or(Err(NoAnswer::Unreachable));
            // Only a stopped engine does not listen.
            let _ = this.tell.send(Answer::Step(leg, question, answer)).await;
        });
    }

    async fn ask<T, F: Debug>(
        self,
        url: String,
        timeout: Duration,
        call: Box<Call>,
        read: fn(&Value) -> Result<T, F>,
    ) -> Result<T, NoAnswer> {
        let asking = async {
            let _turn = self.turns.take(&url).await;
            let body = serde_json::to_vec(&call).map_err(|error| Failure::Transport(error.to_string()))?;
            let id = Ulid::generate().to_string();
            let headers = sign::headers(self.secret.as_deref(), &id, now().unix_ms() / 1000, &body);
            self.client.ask(&url, headers, body, MAX_ANSWER).await
        };
        let answer = tokio::time::timeout(timeout, asking).await.unwrap_or(Err(Failure::Timeout));
        // Of the URL no more than the host: the rest may hold a secret.
        let host = url.parse::<reqwest::Url>().ok().and_then(|url| url.host_str().map(str::to_owned));
        let body = answer.map_err(|error| {
            tracing::warn!(call_id = %call.id, host, %error, "a webhook that was asked about a call has not answered");
            match error {
                Failure::Timeout => NoAnswer::Timeout,
                Failure::Status(status) => NoAnswer::Status(status),
                Failure::TooLarge(_) => NoAnswer::Unreadable,
                Failure::Refused(_) | Failure::Transport(_) => NoAnswer::Unreachable,
            }
        })?;
        let answer = serde_json::from_slice(&body)
            .map_err(|error| error.to_string())
            .and_then(|body| read(&body).map_err(|faults| format!("{faults:?}")));
        answer.map_err(|error| {
            tracing::warn!(call_id = %call.id, host, error, "a webhook has answered what is no answer");
            NoAnswer::Unreadable
        })
    }
}

impl Debug for Questions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Questions").field("turns", &self.turns).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether there is a turn now; it is given back at once.
    async fn is_free(turns: &Turns, url: &str) -> bool {
        tokio::select! {
            biased;
            _ = turns.take(url) => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn a_server_that_hangs_takes_its_share_and_no_more() {
        let turns = Turns::default();
        let mut held = Vec::new();
        for n in 0..TO_ONE_SERVER {
            held.push(turns.take(&format!("https://hangs.example.com/{n}")).await);
        }
        assert!(!is_free(&turns, "https://hangs.example.com:443/more").await, "the same server");
        assert!(is_free(&turns, "https://answers.example.com/").await);
        held.pop();
        assert!(is_free(&turns, "https://hangs.example.com/more").await);
    }

    #[tokio::test]
    async fn servers_that_nobody_asks_are_forgotten() {
        let turns = Turns::default();
        let asked = turns.take("https://asked.example.com/").await;
        for n in 0..10 * SERVERS {
            let _ = turns.take(&format!("https://{n}.example.com/")).await;
        }
        assert!(turns.servers.lock().len() <= SERVERS);
        assert!(turns.servers.lock().contains_key("https://asked.example.com"));
        drop(asked);
    }
}
