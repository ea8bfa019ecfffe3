//! Misuse and limits.

/// Why a command was refused; nothing has been done then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// As many sessions as [`EndpointConfig::max_sessions`](super::EndpointConfig::max_sessions) are live.
    #[error("no room for another session")]
    TooManySessions,
    /// As many transactions as [`EndpointConfig::max_transactions`](super::EndpointConfig::max_transactions) run.
    #[error("no room for another transaction")]
    TooManyTransactions,
    /// As many requests outside dialogs as [`EndpointConfig::max_requests`](super::EndpointConfig::max_requests) wait
    /// for their outcome.
    #[error("no room for another request")]
    TooManyRequests,
    /// A method that begins a dialog, belongs in one, or has a command of its own.
    #[error("not a method of requests outside dialogs")]
    Method,
    /// No such session, or one that is over.
    #[error("no such session")]
    UnknownSession,
    /// No such registration, or one that is over.
    #[error("no such registration")]
    UnknownRegistration,
    /// No such request, or one that is answered or too old to be.
    #[error("no such request waits for an answer")]
    UnknownRequest,
    /// The call is in a state where this cannot be done: answering an outbound call, or an answered one.
    #[error("not possible in this state of the call")]
    WrongState,
    /// An offer of either side waits for its answer, or the peer takes none here; try again when it is answered.
    #[error("an offer is under way already")]
    OfferPending,
    /// A status code outside the range that this command takes.
    #[error("status {status} does not fit the command")]
    Status {
        /// The one given.
        status: u16,
    },
    /// A header field that is malformed, or that the endpoint writes itself.
    #[error("header field number {index} is malformed or not the user's to set")]
    Header {
        /// Its place in the list given.
        index: usize,
    },
    /// No listener suits the transport and address family.
    #[error("no listener of that transport and address family")]
    NoListener,
}
