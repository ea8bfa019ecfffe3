//! `Idempotency-Key`: a POST that is repeated is answered as it was, not done again.
//!
//! Answers are kept by the engine's journal for 24 hours, per token. Those that say "not now" (429, 503) or "our
//! fault" (5xx) are not kept: repeating the request is what they ask for.

use crate::{app::App, failure::Failure, params::Whole, tokens::Token};
use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use control_api_types::Code;
use engine_runtime::StoredAnswer;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// The header.
pub(crate) const KEY: &str = "idempotency-key";
/// Marks an answer that was kept.
const REPLAYED: &str = "idempotent-replayed";
/// Longest key: a UUID is 36.
const MAX_KEY: usize = 255;
/// Largest answer read back to be kept; answers to POSTs are one resource.
const MAX_ANSWER: usize = 1024 * 1024;

/// The keys whose first request is being answered. At most one per open request.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<Mutex<BTreeSet<(String, String)>>>);

/// Holds a key until its answer is kept.
struct Held {
    keys: InFlight,
    key: (String, String),
}

impl InFlight {
    fn hold(&self, token: &Token, key: &str) -> Option<Held> {
        let key = (token.id.clone(), key.to_owned());
        self.0.lock().insert(key.clone()).then(|| Held { keys: self.clone(), key })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.keys.0.lock().remove(&self.key);
    }
}

/// The key of a request.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=MAX_KEY).contains(&key.len()) => Ok(Some(key.to_owned())),
        Ok(_) | Err(_) => {
            let fault = control_api_types::Fault {
                pointer: "#Idempotency-Key".to_owned(),
                detail: format!("must be 1 to {MAX_KEY} visible ASCII characters"),
            };
            Err(Failure::from(vec![fault]))
        }
    }
}

/// Answers a keyed request: from the store, or by doing it.
pub(crate) async fn answer(app: &App, token: &Token, key: &str, request: Request, next: Next) -> Response {
    let Some(_held) = app.in_flight.hold(token, key) else {
        let detail = "a request with this Idempotency-Key is being answered; repeat it in a moment";
        return Failure::new(Code::InProgress, detail).retry_after(Duration::from_secs(1)).into_response();
    };
    once(app, token, key, request, next).await.unwrap_or_else(Failure::into_response)
}

async fn once(
    app: &App,
    token: &Token,
    key: &str,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let headers = parts.headers.clone();
    let mut request = Request::from_parts(parts, body);
    let what = format!("{} {}", request.method(), request.uri().path());
    // The size limit of the path travels as an extension.
    let extensions = request.extensions().clone();
    let body = std::mem::take(request.body_mut());
    let mut whole = Request::new(body);
    *whole.extensions_mut() = extensions;
    let Whole(bytes) = Whole::from_request(whole, &()).await?;
    let body_hash = hash(&what, &headers, &bytes);

    let stored = app.engine.recall(&token.id, key).await?;
    if let Some(stored) = stored {
        return if stored.body_hash == body_hash { Ok(replay(stored)) } else { Err(reused()) };
    }
    *request.body_mut() = Body::from(bytes);
    let response = next.run(request).await;
    let status = response.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MAX_ANSWER).await.map_err(|_| {
        Failure::new(Code::Internal, "the answer could not be kept; the request was carried out")
    })?;
    let location =
        parts.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let answer = StoredAnswer { body_hash, status: status.as_u16(), location, body: body.to_vec() };
    app.engine.remember(&token.id, key, answer).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn reused() -> Failure {
    Failure::new(Code::KeyReused, "this Idempotency-Key was used for another request in the last 24 hours")
}

fn replay(stored: StoredAnswer) -> Response {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    let problem = status.is_client_error();
    let kind = if problem { "application/problem+json" } else { "application/json" };
    let mut response = (status, stored.body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(location) = stored.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// What was asked. The boundary of a multipart form is left out: clients choose a new one each time.
fn hash(what: &str, headers: &HeaderMap, body: &Bytes) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(what);
    hash.update([0]);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match kind.split_once("boundary=").map(|(_, boundary)| boundary.trim_matches('"')) {
        Some(boundary) if kind.starts_with("multipart/") && !boundary.is_empty() => {
            let mut rest = 0;
            for at in memchr::memmem::find_iter(body, boundary) {
                hash.update(&body[rest..at]);
                rest = at + boundary.len();
            }
            hash.update(&body[rest..]);
        }
        Some(_) | None => hash.update(body),
    }
    hash.finalize().into()
}

/// The id of the call that a keyed request makes, fixed before the call is placed: if the engine dies between placing
/// it and keeping the answer, the repeated request finds that call instead of placing another.
pub(crate) async fn reserve_call_id(
    app: &App,
    token: &Token,
    key: &str,
    fresh: String,
) -> Result<String, Failure> {
    // Longer than any key of a caller, so it cannot be one.
    let reservation = format!("{key}{}", " ".repeat(MAX_KEY + 1 - key.len()));
    let kept = app.engine.recall(&token.id, &reservation).await?;
    if let Some(kept) = kept.and_then(|kept| String::from_utf8(kept.body).ok()) {
        return Ok(kept);
    }
    let answer =
        StoredAnswer { body_hash: [0; 32], status: 0, location: None, body: fresh.clone().into_bytes() };
    app.engine.remember(&token.id, &reservation, answer).await?;
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(boundary: &str, content: &str) -> [u8; 32] {
        let mut headers = HeaderMap::new();
        let kind = format!("multipart/form-data; boundary={boundary}");
        headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        hash(
            "POST /v1/prompts",
            &headers,
            &Bytes::from(format!("--{boundary}\r\n{content}\r\n--{boundary}--")),
        )
    }

    #[test]
    fn the_boundary_of_a_form_does_not_count_its_content_does() {
        assert_eq!(form("abc", "one"), form("xyz123", "one"));
        assert_ne!(form("abc", "one"), form("abc", "two"));
    }

    #[test]
    fn a_key_is_held_once_and_let_go() {
        let keys = InFlight::default();
        let key = ("t".to_owned(), "k".to_owned());
        assert!(keys.0.lock().insert(key.clone()));
        drop(Held { keys: keys.clone(), key: key.clone() });
        assert!(keys.0.lock().insert(key));
    }
}
