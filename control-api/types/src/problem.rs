//! Errors as RFC 9457 problems.

use crate::{Fault, call::words};
use serde::{Deserialize, Serialize};
use std::fmt;

words! {
    /// What kind of problem; the list is part of the contract and only grows.
    Code {
        /// The body is not JSON, or not the multipart form that was announced.
        Unparsable = "unparsable",
        /// No token, or an unknown one.
        Unauthorized = "unauthorized",
        /// The token lacks the scope.
        Forbidden = "forbidden",
        /// No such resource or path.
        NotFound = "not-found",
        /// The path does not know this method.
        MethodNotAllowed = "method-not-allowed",
        /// The call's state does not allow this.
        WrongState = "wrong-state",
        /// The id or name is in use with other content.
        InUse = "in-use",
        /// A request with the same Idempotency-Key is still being answered.
        InProgress = "in-progress",
        /// The cursor is older than the buffer of events; resync.
        CursorExpired = "cursor-expired",
        /// The body is larger than allowed.
        TooLarge = "too-large",
        /// The body is neither JSON nor the form expected.
        UnsupportedMediaType = "unsupported-media-type",
        /// Faults in the request, all of them in `errors`.
        Validation = "validation",
        /// The Idempotency-Key was used with another body.
        KeyReused = "key-reused",
        /// The file is not audio that can be used.
        BadAudio = "bad-audio",
        /// Too many requests with this token.
        RateLimited = "rate-limited",
        /// Too many calls wait already.
        QueueFull = "queue-full",
        /// The node drains.
        Draining = "draining",
        /// The engine cannot keep up.
        Overloaded = "overloaded",
        /// No synthesiser could say the text.
        NoSpeech = "no-speech",
        /// The disk has too little room.
        NoSpace = "no-space",
        /// A fault of the engine.
        Internal = "internal",
    }
}

impl Code {
    /// The HTTP status it goes with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Unparsable => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::WrongState | Self::InUse | Self::InProgress => 409,
            Self::CursorExpired => 410,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Validation | Self::KeyReused | Self::BadAudio => 422,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::QueueFull | Self::Draining | Self::Overloaded | Self::NoSpeech => 503,
            Self::NoSpace => 507,
        }
    }

    /// A short summary, the same for every occurrence (RFC 9457 §3.1.3).
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Unparsable => "The body cannot be parsed",
            Self::Unauthorized => "A valid token is needed",
            Self::Forbidden => "The token does not allow this",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "The method is not allowed here",
            Self::WrongState => "The state does not allow this",
            Self::InUse => "The id or name is in use",
            Self::InProgress => "The same request is still being answered",
            Self::CursorExpired => "The cursor has expired",
            Self::TooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The content type is not supported",
            Self::Validation => "The request has faults",
            Self::KeyReused => "The idempotency key was used with another body",
            Self::BadAudio => "The audio cannot be used",
            Self::RateLimited => "Too many requests",
            Self::QueueFull => "The call queue is full",
            Self::Draining => "The node is draining",
            Self::Overloaded => "The engine is overloaded",
            Self::NoSpeech => "The text could not be spoken",
            Self::NoSpace => "There is too little room on the disk",
            Self::Internal => "The engine is at fault",
        }
    }

    /// Whether the same request may succeed later without being changed.
    #[must_use]
    pub const fn retryable(self) -> bool {
        match self {
            Self::InProgress | Self::RateLimited | Self::QueueFull | Self::Draining | Self::Overloaded => {
                true
            }
            Self::NoSpeech | Self::NoSpace => true,
            Self::Unparsable
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::MethodNotAllowed => false,
            Self::WrongState | Self::InUse | Self::CursorExpired | Self::TooLarge => false,
            Self::UnsupportedMediaType | Self::Validation | Self::KeyReused | Self::BadAudio => false,
            Self::Internal => false,
        }
    }
}

/// An error answer, `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, utoipa::ToSchema)]
#[error("{status} {code}: {detail}{}", errors.iter().map(|fault| format!("; {} {}", fault.pointer, fault.detail)).collect::<String>())]
pub struct Problem {
    /// Where this kind of problem is explained, relative to the API's address.
    #[serde(rename = "type")]
    #[schema(examples("/docs#validation"))]
    pub kind: String,
    /// A short summary, the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem, for programs.
    pub code: Code,
    /// What happened here, for a person.
    pub detail: String,
    /// Every fault of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/docs#{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retryable: code.retryable(),
        }
    }

    /// The faults of a request.
    #[must_use]
    pub fn validation(errors: Vec<Fault>) -> Self {
        let detail = match errors.len() {
            1 => "1 fault, listed in errors".to_owned(),
            n => format!("{n} faults, listed in errors"),
        };
        Self { errors, ..Self::new(Code::Validation, detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_back_and_says_everything_in_one_line() {
        let fault = Fault { pointer: "/to".to_owned(), detail: "is required".to_owned() };
        let problem = Problem::validation(vec![fault]);
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "/docs#validation");
        assert_eq!(json["status"], 422);
        assert_eq!(problem.to_string(), "422 validation: 1 fault, listed in errors; /to is required");
        assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
    }
}
