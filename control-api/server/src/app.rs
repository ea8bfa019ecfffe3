//! What every handler works with, and the gate in front of it.

use crate::{
    connections::Tls,
    failure::Failure,
    idempotency::{self, InFlight},
    tokens::{Token, Tokens},
};
use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use control_api_types::{CallId, Code, Fault, Reloaded, Scope};
use engine_runtime::Engine;
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};

/// Settings of the API.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Who may call it.
    pub tokens: Tokens,
    /// Whether `/metrics` needs no token.
    pub metrics_open: bool,
    /// Who reads the configuration file again on demand.
    pub reloads: Reloads,
    /// What clients are shown; without it the API is served without TLS.
    pub tls: Option<Tls>,
}

/// Asks whoever owns the configuration file to read it again.
#[derive(Clone, Debug)]
pub struct Reloads(mpsc::Sender<ReloadOrder>);

/// An order to read the configuration file again, to be answered with what came of it: every fault with its place
/// (`file:line`) as the pointer, and then nothing has changed.
pub type ReloadOrder = oneshot::Sender<Result<Reloaded, Vec<Fault>>>;

impl Reloads {
    /// The asking end and the answering one. One order at a time; others wait.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<ReloadOrder>) {
        let (orders, taken) = mpsc::channel(1);
        (Self(orders), taken)
    }

    pub(crate) async fn ask(&self) -> Result<Reloaded, Failure> {
        let stopping = || Failure::from(engine_runtime::Error::Stopping);
        let (tell, told) = oneshot::channel();
        self.0.send(tell).await.map_err(|_| stopping())?;
        Ok(told.await.map_err(|_| stopping())??)
    }
}

/// What handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) tokens: Tokens,
    pub(crate) in_flight: InFlight,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) reloads: Reloads,
    /// Set when the server stops: streams end, which otherwise never would.
    pub(crate) stopping: Arc<watch::Sender<bool>>,
}

/// Refused requests a second that the audit log has: whoever has no token cannot fill a disk with lines.
const REFUSALS: u32 = 20;

/// Counts refused requests.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Refused>);

#[derive(Debug, Default)]
struct Refused {
    /// When this second began; `None`: nothing was refused yet.
    since: Option<Instant>,
    logged: u32,
    unlogged: u64,
}

impl Refusals {
    /// Whether one more may be logged, and how many before it were not.
    fn note(&self, now: Instant) -> Option<u64> {
        let mut refused = self.0.lock();
        if refused.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            (refused.since, refused.logged) = (Some(now), 0);
        }
        if refused.logged >= REFUSALS {
            refused.unlogged += 1;
            return None;
        }
        refused.logged += 1;
        Some(std::mem::take(&mut refused.unlogged))
    }
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anyone.
    Open,
    /// A token with this scope.
    Token(Scope),
    /// As [`Access::Token`]; the secret may also stand in the query, because a browser's WebSocket and EventSource
    /// cannot send headers.
    Stream(Scope),
}

/// The token that a request came with; only the gate puts it there.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Arc<Token>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Failure::new(Code::Unauthorized, "no token was given"))
    }
}

/// Which call a request turned out to be about, for the audit log.
#[derive(Clone, Debug)]
pub(crate) struct About(pub(crate) CallId);

/// Stands in front of every route: token, scope, rate, idempotency, audit.
pub(crate) async fn gate(
    State((app, access)): State<(App, Access)>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let token = match admit(&app, access, &request) {
        Ok(Some(token)) => token,
        Ok(None) => return next.run(request).await,
        Err((failure, token)) => {
            let response = failure.into_response();
            if let Some(unlogged) = app.refusals.note(Instant::now()) {
                let token = token.as_ref().map_or("", |token| &token.name);
                let (method, status) = (request.method(), response.status().as_u16());
                tracing::info!(target: "audit", token, %method, path = path.as_str(), status, unlogged, "refused");
            }
            return response;
        }
    };
    let method = request.method().clone();
    let id = request.uri().path().split('/').nth(3).and_then(|id| CallId::new(id).ok());
    let response = run(app, &token, request, next).await;
    if method != Method::GET && method != Method::HEAD {
        let about = response.extensions().get::<About>().map(|About(id)| id.clone()).or(id);
        let id = about.as_ref().map_or("", CallId::as_str);
        let status = response.status().as_u16();
        tracing::info!(target: "audit", token = token.name, %method, path = path.as_str(), id, status);
    }
    response
}

/// Why a request is refused, and whose it is, if that is known.
type Refusal = (Failure, Option<Arc<Token>>);

/// The token of a request, if the route wants one, when it may use the route now.
fn admit(app: &App, access: Access, request: &Request) -> Result<Option<Arc<Token>>, Refusal> {
    let (scope, query_counts) = match access {
        Access::Open => return Ok(None),
        Access::Token(scope) => (scope, false),
        Access::Stream(scope) => (scope, true),
    };
    let Some(secret) = secret(request, query_counts) else {
        return Err((Failure::new(Code::Unauthorized, "send Authorization: Bearer SECRET"), None));
    };
    let Some(token) = app.tokens.authenticate(&secret) else {
        let detail = "this token is not known (carillon token new makes one)";
        return Err((Failure::new(Code::Unauthorized, detail), None));
    };
    if !token.scopes.contains(scope) {
        let detail = format!("the token {:?} lacks the scope {scope}", token.name);
        return Err((Failure::new(Code::Forbidden, detail), Some(token)));
    }
    match app.tokens.spend(&token) {
        Ok(()) => Ok(Some(token)),
        Err(wait) => {
            let failure = Failure::new(Code::RateLimited, "this token makes more requests than it may");
            Err((failure.retry_after(wait), Some(token)))
        }
    }
}

/// The secret that a request brings.
pub(crate) fn secret(request: &Request, query_counts: bool) -> Option<String> {
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some((scheme, secret)) = bearer.and_then(|value| value.split_once(' ')) {
        // RFC 9110 §11.1: the scheme is case-insensitive.
        return scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim().to_owned());
    }
    let query = request.uri().query().filter(|_| query_counts)?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "access_token")
        .map(|(_, value)| value.into())
}

async fn run(app: App, token: &Arc<Token>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Caller(Arc::clone(token)));
    if request.method() == Method::GET || request.method() == Method::HEAD {
        return next.run(request).await;
    }
    let key = match request.method() == Method::POST {
        true => idempotency::key(request.headers()),
        false => Ok(None),
    };
    let token = Arc::clone(token);
    // On its own task: what a caller has begun is not left half done when it hangs up.
    let task = tokio::spawn(async move {
        match key {
            Ok(None) => next.run(request).await,
            Ok(Some(key)) => idempotency::answer(&app, &token, &key, request, next).await,
            Err(failure) => failure.into_response(),
        }
    });
    task.await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => crate::failure::panicked(panic),
        Err(cancelled) => Failure::internal(&cancelled).into_response(),
    })
}

/// The answer of a command that is carried out without waiting for the far side.
pub(crate) fn accepted(id: &CallId, body: impl IntoResponse) -> Response {
    about(id, (StatusCode::ACCEPTED, body))
}

/// An answer that the audit log ties to a call.
pub(crate) fn about(id: &CallId, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.extensions_mut().insert(About(id.clone()));
    response
}
