//! Errors as answers.

use axum::{
    Json,
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use control_api_types::{Code, Fault, Problem};
use engine_runtime::{Error, PromptError, RecordError, Refusal, SpeechError};
use std::{any::Any, time::Duration};

/// Back-off while the node drains: another node, or this one after its restart.
const DRAINING: Duration = Duration::from_secs(30);
/// Back-off while commands pile up: the engine works off thousands a second.
const OVERLOADED: Duration = Duration::from_secs(1);

/// A request that is answered with a problem.
#[derive(Debug)]
pub(crate) struct Failure {
    problem: Box<Problem>,
    retry_after: Option<Duration>,
}

impl Failure {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { problem: Box::new(Problem::new(code, detail)), retry_after: None }
    }

    pub(crate) fn not_found(kind: &str, name: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no {kind} {name:?}"))
    }

    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    pub(crate) fn into_problem(self) -> Problem {
        *self.problem
    }

    /// A fault of ours: the caller is told no more than that, the log says what.
    pub(crate) fn internal(error: &impl std::error::Error) -> Self {
        tracing::error!(%error, "request failed");
        Self::new(Code::Internal, "the engine could not do this; its log says why")
    }
}

impl From<Vec<Fault>> for Failure {
    fn from(faults: Vec<Fault>) -> Self {
        Self { problem: Box::new(Problem::validation(faults)), retry_after: None }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Validation(faults) => Self::from(faults),
            Refusal::Configured => Self::new(Code::InUse, detail),
            Refusal::Conflict => Self::new(Code::InUse, detail),
            Refusal::QueueFull { retry_after } => Self::new(Code::QueueFull, detail).retry_after(retry_after),
            Refusal::NoRoom { retry_after, .. } => {
                Self::new(Code::Overloaded, detail).retry_after(retry_after)
            }
            Refusal::Draining => Self::new(Code::Draining, detail).retry_after(DRAINING),
            Refusal::NotFound => Self::new(Code::NotFound, detail),
            Refusal::WrongState { .. } => Self::new(Code::WrongState, detail),
            other => Self::internal(&other),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Refused(refusal) => Self::from(refusal),
            Error::NoSuch { .. } => Self::new(Code::NotFound, detail),
            Error::Journal(error) => Self::internal(&error),
            Error::Prompt(error) => Self::from(error),
            Error::Record(error @ RecordError::NoSpace { .. }) => Self::new(Code::NoSpace, error.to_string()),
            Error::Record(error) => Self::internal(&error),
            Error::Random => Self::internal(&Error::Random),
            Error::Recording | Error::TooMany { .. } => Self::new(Code::WrongState, detail),
            Error::Speech(SpeechError::Busy) => Self::new(Code::Overloaded, detail).retry_after(OVERLOADED),
            Error::Speech(SpeechError::TooLong) => {
                Self::from(vec![Fault { pointer: "/say/text".to_owned(), detail }])
            }
            Error::Speech(_) => Self::new(Code::NoSpeech, detail).retry_after(OVERLOADED),
            Error::IdTaken | Error::NameTaken => Self::new(Code::InUse, detail),
            Error::BadCursor => Self::from(vec![Fault { pointer: "?cursor".to_owned(), detail }]),
            Error::Overloaded => Self::new(Code::Overloaded, detail).retry_after(OVERLOADED),
            Error::Stopping => Self::new(Code::Draining, detail).retry_after(DRAINING),
            other => Self::internal(&other),
        }
    }
}

impl From<PromptError> for Failure {
    fn from(error: PromptError) -> Self {
        let detail = error.to_string();
        match error {
            PromptError::Audio(_) => Self::new(Code::BadAudio, detail),
            PromptError::NameTaken { .. } => Self::new(Code::InUse, detail),
            PromptError::Store { .. } | PromptError::Journal(_) => Self::internal(&error),
            PromptError::Stopping => Self::new(Code::Draining, detail).retry_after(DRAINING),
            other => Self::internal(&other),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750 §3: the response MUST include the WWW-Authenticate field.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"carillon\""));
        }
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            // The rest of the body is not read. RFC 9112 §9.6: "A sender SHOULD send a Connection header field […]
            // containing the "close" connection option when it intends to close a connection", or else the next
            // request is sent into a closing one.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(wait) = self.retry_after {
            // RFC 9110 §10.2.3 counts whole seconds; rounded up, so that coming back then is not too early.
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            headers
                .insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
        }
        response
    }
}

/// The answer to a path that is nobody's.
pub(crate) async fn unknown_path(request: Request) -> Failure {
    Failure::new(Code::NotFound, format!("there is no {}; see /docs", request.uri().path()))
}

/// The answer to a method that a path does not know; the router adds `Allow`.
pub(crate) async fn unknown_method(request: Request) -> Failure {
    let detail = format!("{} does not know {}; see Allow", request.uri().path(), request.method());
    Failure::new(Code::MethodNotAllowed, detail)
}

/// The answer of a handler that panicked.
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Response<Body> {
    let words =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = words.unwrap_or("without words"), "a handler panicked");
    Failure::new(Code::Internal, "the engine failed while answering; its log says why").into_response()
}
