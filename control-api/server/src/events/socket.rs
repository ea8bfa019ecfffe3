//! WebSocket: events out, commands in.

use super::{
    feed::Feed,
    sse::{KEEP_ALIVE, keep_alive, stopped},
};
use crate::{app::App, failure::Failure, tokens::Token};
use axum::{
    Router,
    body::Body,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    http::{Method, Request, header},
    response::{IntoResponse, Response},
};
use control_api_types::{Code, Event, Fault, Faults, Fields};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{task::unconstrained, time::timeout};
use tower::ServiceExt as _;

/// Commands carried out at once for one socket; more wait in the socket.
const MAX_COMMANDS: usize = 64;
/// Longest wait for the receiver to take a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer passed on: the largest page.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// The routes that commands go to, with the secret of the connection, so that a command is admitted exactly as the
/// same request over HTTP would be.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    router: Router,
    secret: Arc<str>,
}

impl Commands {
    pub(crate) fn new(router: Router) -> Self {
        Self { router, secret: "".into() }
    }

    pub(crate) fn with_secret(self, secret: String) -> Self {
        Self { secret: secret.into(), ..self }
    }
}

pub(crate) fn respond(
    upgrade: WebSocketUpgrade,
    app: App,
    token: Arc<Token>,
    feed: Feed,
    commands: Commands,
) -> Response {
    upgrade
        .max_message_size(crate::route::MAX_JSON)
        .on_upgrade(move |socket| async move { serve(socket, app, token, feed, commands).await })
}

/// Serves one socket until either side ends it.
async fn serve(mut socket: WebSocket, app: App, token: Arc<Token>, mut feed: Feed, commands: Commands) {
    let mut stopping = app.stopping.subscribe();
    let mut running: FuturesUnordered<BoxFuture<'static, Value>> = FuturesUnordered::new();
    let mut tick = keep_alive();
    // Pings sent since anything was heard.
    let mut unanswered = 0;
    loop {
        let message = tokio::select! {
            event = feed.next() => {
                match event.as_deref().and_then(text) {
                    Some(message) => message,
                    None => break,
                }
            }
            Some(reply) = running.next() => Message::text(reply.to_string()),
            received = socket.recv(), if running.len() < MAX_COMMANDS => {
                unanswered = 0;
                match received {
                    Some(Ok(Message::Text(text))) => running.push(run(commands.clone(), text.to_string()).boxed()),
                    Some(Ok(Message::Binary(bytes))) => match String::from_utf8(bytes.to_vec()) {
                        Ok(text) => running.push(run(commands.clone(), text).boxed()),
                        Err(_) => break,
                    },
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                }
                continue;
            }
            _ = tick.tick() => {
                if unanswered == 2 || !app.tokens.is_current(&token) {
                    break;
                }
                unanswered += 1;
                Message::Ping(axum::body::Bytes::new())
            }
            // What happened before the server stopped is still told: the ends of its last calls.
            () = stopped(&mut stopping) => {
                match unconstrained(feed.next()).now_or_never().flatten().as_deref().and_then(text) {
                    Some(message) => message,
                    None => break,
                }
            }
        };
        if !matches!(timeout(SEND_TIMEOUT, socket.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
    // The other side may be gone.
    let _ = timeout(KEEP_ALIVE, socket.send(Message::Close(None))).await;
}

fn text(event: &Event) -> Option<Message> {
    // Every event can be written as JSON: its maps have text as keys.
    serde_json::to_string(event).ok().map(Message::text)
}

struct Command {
    method: Method,
    path: String,
    body: Option<Value>,
}

/// Carries out one command and makes its reply.
async fn run(commands: Commands, text: String) -> Value {
    let (id, command) = read(&text);
    let response = match command {
        Ok(command) => dispatch(&commands, command).await,
        Err(failure) => failure.into_response(),
    };
    let (status, body) = settle(response).await;
    json!({ "reply_to": id, "status": status, "body": body })
}

/// The id to answer to and what to do.
fn read(text: &str) -> (Value, Result<Command, Failure>) {
    let value = match crate::params::json(text.as_bytes()) {
        Ok(value) => value,
        Err(failure) => return (Value::Null, Err(failure)),
    };
    let mut faults = Faults::default();
    let mut fields = Fields::new(&value, "", &mut faults);
    let id = fields.str("id", 1..=64);
    let id = fields.required("id", id);
    let method = fields.str("method", 1..=16);
    let method = fields.required("method", method).and_then(|method| method.parse::<Method>().ok());
    let path = fields.str("path", 1..=4096);
    let path = fields.required("path", path);
    if path.is_some_and(|path| !path.starts_with("/v1/")) {
        fields.fault("path", "must start with /v1/");
    }
    let body = fields.value("body").cloned();
    fields.finish();
    let command = method.zip(path).map(|(method, path)| Command { method, path: path.to_owned(), body });
    (id.map_or(Value::Null, Value::from), faults.into_result(command).map_err(Failure::from))
}

async fn dispatch(commands: &Commands, command: Command) -> Response {
    let request = Request::builder()
        .method(command.method)
        .uri(&command.path)
        .header(header::AUTHORIZATION, format!("Bearer {}", commands.secret))
        .body(command.body.map_or_else(Body::empty, |body| Body::from(body.to_string())));
    match request {
        Ok(request) => match commands.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        Err(error) => fault("/path", format!("not a path: {error}")).into_response(),
    }
}

/// Status and body of a response; a stream has no end to wait for and is refused.
async fn settle(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let kind =
        response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("text/event-stream") {
        return refused(fault("/path", "a command cannot open a stream".to_owned()));
    }
    let is_json = kind.ends_with("json");
    match axum::body::to_bytes(response.into_body(), MAX_ANSWER).await {
        Ok(bytes) if bytes.is_empty() => (status, Value::Null),
        Ok(bytes) if is_json => (status, serde_json::from_slice(&bytes).unwrap_or_default()),
        Ok(bytes) => match String::from_utf8(bytes.into()) {
            Ok(text) => (status, Value::String(text)),
            Err(_) => refused(fault("/path", "a command cannot fetch binary data".to_owned())),
        },
        Err(_) => refused(Failure::new(Code::Internal, "the answer is too large for a reply")),
    }
}

fn refused(failure: Failure) -> (u16, Value) {
    let problem = failure.into_problem();
    (problem.status, serde_json::to_value(problem).unwrap_or_default())
}

fn fault(pointer: &str, detail: String) -> Failure {
    Failure::from(vec![Fault { pointer: pointer.to_owned(), detail }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_every_fault_and_the_id_to_answer_to() {
        let (id, command) =
            read(r#"{"id": "c1", "method": "POST", "path": "/v1/calls", "body": {"to": "x"}}"#);
        let command = command.unwrap();
        assert_eq!((id, command.method, command.path.as_str()), (json!("c1"), Method::POST, "/v1/calls"));
        assert_eq!(command.body, Some(json!({"to": "x"})));

        let (id, refused) = read(r#"{"id": "c2", "path": "/metrics", "verb": 1}"#);
        assert_eq!(id, json!("c2"));
        let problem = refused.err().unwrap().into_problem();
        let pointers: Vec<_> = problem.errors.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/method", "/path", "/verb"]);

        let (id, refused) = read("{");
        assert_eq!(id, Value::Null);
        assert_eq!(refused.err().unwrap().into_problem().code, Code::Unparsable);
    }
}
