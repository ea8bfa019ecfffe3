//! The endpoint: everything SIP between the wire and the calls, as one value.

mod config;
mod io;

pub use config::{EndpointConfig, Listener};
pub use io::{
    Event, Input, Output, QueryId, RequestId, ResolveError, Transmit, TransportErrorKind,
};
