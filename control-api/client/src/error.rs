//! Why a request failed.

use control_api_types::{Code, Problem};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The engine refused.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The address is not one of HTTP.
    #[error("not an HTTP address: {address:?}")]
    Address {
        /// What was given.
        address: String,
    },
    /// No answer, or only part of one.
    #[error("no answer: {0}")]
    Transport(#[from] reqwest::Error),
    /// The answer is not the API's: somebody else listens there, or a proxy stands between.
    #[error("HTTP {status} without the API's answer: {text:?}")]
    Foreign {
        /// Its status.
        status: u16,
        /// Its beginning.
        text: String,
    },
    /// The answer has another shape than this client knows.
    #[error("the answer cannot be read: {0}")]
    Shape(#[from] serde_json::Error),
    /// The stream of events sent something that is not an event stream.
    #[error("the stream of events is broken")]
    Stream,
    /// The stream broke before its first event, so there is no place to go on from: resync from CDRs and calls.
    #[error("the stream of events broke before its first event: resync")]
    Resync,
}

impl ClientError {
    /// The kind of problem, if the engine refused.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Problem(problem) => Some(problem.code),
            Self::Address { .. } | Self::Transport(_) | Self::Foreign { .. } => None,
            Self::Shape(_) | Self::Stream | Self::Resync => None,
        }
    }
}
