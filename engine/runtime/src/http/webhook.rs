//! Web servers that say what becomes of inbound calls.

use std::sync::Arc;
use std::time::Duration;

use control_api_types::{Call, RouteAnswer};
use engine_core::NoRoute;
use media_core::LegId;
use tokio::sync::{Semaphore, mpsc};

use super::{Client, Failure};
use crate::task::Answer;

/// Largest answer, in bytes: as large as a flow may be that is put over the API.
const MAX_ANSWER: usize = 256 * 1024;
/// Most questions under way; further ones wait their turn, within their time.
const QUESTIONS: usize = 64;

/// Asks for routes.
#[derive(Debug)]
pub(crate) struct Webhooks {
    client: Client,
    turns: Arc<Semaphore>,
    tell: mpsc::Sender<Answer>,
}

impl Webhooks {
    pub(crate) fn new(client: Client, tell: mpsc::Sender<Answer>) -> Self {
        Self { client, turns: Arc::new(Semaphore::new(QUESTIONS)), tell }
    }

    /// Posts the call; the answer comes as [`Answer::Route`], in any case. Calls are few enough to bound the questions.
    pub(crate) fn ask(&self, leg: LegId, url: String, timeout: Duration, call: Box<Call>) {
        let (client, turns, tell) = (self.client.clone(), Arc::clone(&self.turns), self.tell.clone());
        tokio::spawn(async move {
            let asking = tokio::spawn(question(client, turns, url, timeout, call));
            let answer = asking.await.unwrap_or(Err(NoRoute::Unreachable));
            // Only a stopped engine does not listen.
            let _ = tell.send(Answer::Route(leg, answer)).await;
        });
    }
}

async fn question(
    client: Client,
    turns: Arc<Semaphore>,
    url: String,
    timeout: Duration,
    call: Box<Call>,
) -> Result<RouteAnswer, NoRoute> {
    let asking = async {
        // The semaphore is never closed.
        let _turn = turns.acquire().await;
        let body = serde_json::to_vec(&call).map_err(|error| Failure::Transport(error.to_string()))?;
        client.send(&url, Some(body), MAX_ANSWER).await
    };
    let answer = tokio::time::timeout(timeout, asking).await.unwrap_or(Err(Failure::Timeout));
    // Of the URL no more than the host: the rest may hold a secret.
    let host = url.parse::<reqwest::Url>().ok().and_then(|url| url.host_str().map(str::to_owned));
    let (_, body) = answer.map_err(|error| {
        tracing::warn!(call_id = %call.id, host, %error, "a route's webhook has not answered");
        match error {
            Failure::Timeout => NoRoute::Timeout,
            Failure::Status(status) => NoRoute::Status(status),
            Failure::TooLarge(_) => NoRoute::Unreadable,
            Failure::Refused(_) | Failure::Transport(_) => NoRoute::Unreachable,
        }
    })?;
    let answer = serde_json::from_slice(&body)
        .map_err(|error| error.to_string())
        .and_then(|body| RouteAnswer::from_json(&body).map_err(|faults| format!("{faults:?}")));
    answer.map_err(|error| {
        tracing::warn!(call_id = %call.id, host, error, "a route's webhook has answered what is no answer");
        NoRoute::Unreadable
    })
}
