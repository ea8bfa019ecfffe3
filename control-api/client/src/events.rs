//! Events, across broken connections.

use crate::{
    Client, ClientError,
    client::accept,
    sse::{Message, Parser},
};
use control_api_types::{CallId, Cursor, Event, EventData};
use futures_util::stream::{self, Stream};
use reqwest::{Method, Response};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The server shows every 15 s that it lives; three times that is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// First and longest wait before connecting again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Type names, or their beginnings with `*`; none: every type.
    pub types: Vec<String>,
    /// Only those of this call.
    pub call_id: Option<CallId>,
    /// Those after this one; without it from now.
    pub cursor: Option<Cursor>,
}

/// A stream of events. When its connection breaks it connects again and goes on after the last cursor.
#[derive(Debug)]
pub struct Events {
    client: Client,
    filter: EventFilter,
    connection: Connection,
}

#[derive(Debug)]
enum Connection {
    Open {
        response: Box<Response>,
        parser: Parser,
    },
    /// Broken; the next try after this wait.
    Broken {
        wait: Duration,
    },
    /// Over for good.
    Over,
}

/// What is looked at before an event is read whole: types of a later version are passed over.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

impl Events {
    pub(crate) async fn open(client: Client, filter: EventFilter) -> Result<Self, ClientError> {
        let connection = connect(&client, &filter).await?;
        Ok(Self { client, filter, connection })
    }

    /// The cursor of the last event, to go on from in another process.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.filter.cursor
    }

    /// The next event. An error ends the stream: the engine refused to go on (an expired cursor, a token taken away)
    /// or there was no place to go on from. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Event, ClientError>> {
        loop {
            match self.step().await {
                Ok(Some(event)) => return Some(Ok(event)),
                Ok(None) if matches!(self.connection, Connection::Over) => return None,
                Ok(None) => {}
                Err(error) => {
                    self.connection = Connection::Over;
                    return Some(Err(error));
                }
            }
        }
    }

    /// The same as a `Stream`.
    pub fn into_stream(self) -> impl Stream<Item = Result<Event, ClientError>> + Send {
        stream::unfold(self, |mut events| async move {
            let event = events.next().await?;
            Some((event, events))
        })
    }

    /// One message, one piece of the response or one try to connect.
    async fn step(&mut self) -> Result<Option<Event>, ClientError> {
        match &mut self.connection {
            Connection::Over => Ok(None),
            Connection::Open { response, parser } => {
                if let Some(message) = parser.next().map_err(|_| ClientError::Stream)? {
                    return self.take(message);
                }
                match timeout(SILENCE, response.chunk()).await {
                    Ok(Ok(Some(bytes))) => parser.push(&bytes),
                    Ok(Ok(None) | Err(_)) | Err(_) => self.connection = Connection::Broken { wait: RETRY.0 },
                }
                Ok(None)
            }
            Connection::Broken { .. } if self.filter.cursor.is_none() => Err(ClientError::Resync),
            Connection::Broken { wait } => {
                sleep(*wait).await;
                match connect(&self.client, &self.filter).await {
                    Ok(connection) => self.connection = connection,
                    Err(ClientError::Transport(_)) => *wait = (*wait * 2).min(RETRY.1),
                    Err(ClientError::Problem(problem)) if problem.retryable => {
                        *wait = (*wait * 2).min(RETRY.1)
                    }
                    Err(error) => return Err(error),
                }
                Ok(None)
            }
        }
    }

    fn take(&mut self, message: Message) -> Result<Option<Event>, ClientError> {
        if let Some(cursor) = message.id.as_deref().and_then(|id| id.parse().ok()) {
            self.filter.cursor = Some(cursor);
        }
        if message.data.is_empty() {
            return Ok(None);
        }
        let Kind { kind } = serde_json::from_str(&message.data)?;
        if !EventData::TYPES.contains(&kind.as_str()) {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&message.data)?))
    }
}

async fn connect(client: &Client, filter: &EventFilter) -> Result<Connection, ClientError> {
    let mut request = client.open(Method::GET, &["v1", "events"])?.header("accept", "text/event-stream");
    if !filter.types.is_empty() {
        request = request.query(&[("types", filter.types.join(","))]);
    }
    if let Some(call) = &filter.call_id {
        request = request.query(&[("call_id", call.as_str())]);
    }
    if let Some(cursor) = filter.cursor {
        request = request.query(&[("cursor", cursor.to_string())]);
    }
    let response = accept(request.send().await?).await?;
    Ok(Connection::Open { response: Box::new(response), parser: Parser::default() })
}
