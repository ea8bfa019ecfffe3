//! Events over WebSocket and SSE.

mod feed;
mod socket;
mod sse;

use crate::{
    app::{App, Caller, secret},
    calls,
    failure::Failure,
    params::{Element, Params, call_id},
};
use axum::{
    Extension,
    extract::{FromRequestParts, Request, State, ws::WebSocketUpgrade},
    http::header,
    response::{IntoResponse, Response},
};
use control_api_types::{CallId, Code, Cursor, EventTypes};
use feed::{Feed, Filter};
pub(crate) use socket::Commands;

/// What the API's description says about the stream.
pub(crate) const DESCRIPTION: &str = "The last 100,000 events are kept: a stream that broke goes on after its last \
    cursor. A receiver that is too slow is told `events.dropped`. A WebSocket also takes commands, one per text message: \
    `{\"id\": \"c1\", \"method\": \"POST\", \"path\": \"/v1/calls\", \"body\": {}}` is answered with \
    `{\"reply_to\": \"c1\", \"status\": 202, \"body\": {}}`. Commands are carried out side by side: where the order \
    matters, wait for the reply.";

/// Streams what the filters ask for: a WebSocket if the request is an upgrade, otherwise SSE.
pub(crate) async fn stream(
    State(app): State<App>,
    Caller(token): Caller,
    commands: Option<Extension<Commands>>,
    request: Request,
) -> Result<Response, Failure> {
    let secret = secret(&request, true).unwrap_or_default();
    let (mut parts, _) = request.into_parts();
    let feed = subscribe(&app, &parts, None)?;
    if !parts.headers.contains_key(header::UPGRADE) {
        return Ok(sse::respond(app, token, feed, None));
    }
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|error| Failure::new(Code::Unparsable, format!("not a WebSocket handshake: {error}")))?;
    let Some(Extension(commands)) = commands else {
        return Err(Failure::new(Code::Unparsable, "a WebSocket cannot be opened inside another"));
    };
    Ok(socket::respond(upgrade, app, token, feed, commands.with_secret(secret)).into_response())
}

/// Streams the events of one call as SSE, up to its end.
pub(crate) async fn of_call(
    State(app): State<App>,
    Caller(token): Caller,
    Element(id): Element,
    request: Request,
) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    let (parts, _) = request.into_parts();
    let feed = subscribe(&app, &parts, Some(&id))?;
    calls::current(&app, &id).await?;
    Ok(sse::respond(app, token, feed, Some(id)))
}

fn subscribe(app: &App, parts: &axum::http::request::Parts, call: Option<&CallId>) -> Result<Feed, Failure> {
    let mut params = Params::of(&parts.uri);
    params.text("access_token");
    let types = match EventTypes::from_list(params.text("types").unwrap_or_default()) {
        Ok(types) => types,
        Err(wrong) => {
            for no_such in wrong {
                params.fault("types", no_such);
            }
            EventTypes::all()
        }
    };
    let call = match call {
        Some(id) => Some(id.clone()),
        None => params.parse::<CallId>("call_id"),
    };
    let mut cursor = params.parse::<Cursor>("cursor");
    if cursor.is_none() {
        let last = parts.headers.get("last-event-id").and_then(|value| value.to_str().ok());
        match last.map(str::parse) {
            Some(Ok(last)) => cursor = Some(last),
            // Not one of ours: nothing can be resumed from it.
            Some(Err(_)) => return Err(expired()),
            None => {}
        }
    }
    let filter = params.finish(Filter::new(types, call))?;
    let subscription = app.engine.subscribe(cursor).map_err(|_| expired())?;
    Ok(Feed::new(subscription, filter))
}

fn expired() -> Failure {
    let detail = "this cursor is not in the buffer any more: resync from /v1/cdrs and /v1/calls, then start without one";
    Failure::new(Code::CursorExpired, detail)
}
