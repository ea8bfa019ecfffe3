//! Why the transports could not start, and how an I/O error reads in the core's words.

use std::io;
use std::net::SocketAddr;

use sip_core::{Transport, TransportErrorKind};

use crate::tls::TlsError;

/// Why the listeners could not be opened. All of it is configuration or the machine's state; nothing from the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is taken, not ours, or not permitted.
    #[error("cannot listen on {transport} {address}: {source}")]
    Listen {
        /// The protocol.
        transport: Transport,
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate, a key or a list of trusted issuers cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS and WSS need a certificate to show.
    #[error("listening on {transport} {address} needs a certificate and its key: set `cert` and `key`")]
    NoCertificate {
        /// The protocol.
        transport: Transport,
        /// The address asked for.
        address: SocketAddr,
    },
    /// Listening on every address needs to be told which one peers are to use.
    #[error(
        "listening on {transport} {address} takes in every address: set `public_ip` to the one that peers are told"
    )]
    NoPublicAddress {
        /// The protocol.
        transport: Transport,
        /// The unspecified address.
        address: SocketAddr,
    },
}

/// What an I/O error means to a transaction.
#[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's enum grows")]
pub(crate) fn kind(error: &io::Error) -> TransportErrorKind {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => TransportErrorKind::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => TransportErrorKind::Unreachable,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => TransportErrorKind::Closed,
        io::ErrorKind::TimedOut => TransportErrorKind::TimedOut,
        _ => TransportErrorKind::Local,
    }
}
