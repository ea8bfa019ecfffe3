//! What the four transaction machines have in common: what goes in, what is to be done.

use std::time::Duration;

use smallvec::SmallVec;

use crate::timers::Timers;

/// The timers of RFC 3261 table 4 and RFC 6026, by their letters. (C belongs to proxies.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the letters are the names")]
pub enum Timer {
    A,
    B,
    D,
    E,
    F,
    G,
    H,
    I,
    J,
    K,
    L,
    M,
}

/// What a response means to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusClass {
    /// 1xx
    Provisional,
    /// 2xx
    Success,
    /// 300 to 699
    Failure,
}

impl StatusClass {
    pub(crate) fn of(status: u16) -> Self {
        match status {
            ..200 => Self::Provisional,
            200..300 => Self::Success,
            300.. => Self::Failure,
        }
    }
}

/// The values a machine depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) timers: Timers,
    pub(super) reliable: bool,
}

/// What happens to a client transaction.
#[derive(Debug, Clone, Copy)]
pub(super) enum ClientInput {
    Response(StatusClass),
    Timer(Timer),
    TransportError,
}

/// What happens to a server transaction.
#[derive(Debug, Clone, Copy)]
pub(super) enum ServerInput {
    /// The request again.
    Request,
    /// An ACK (INVITE transactions only).
    Ack,
    /// A response of the user's, stored as the transaction's last response already.
    Respond(StatusClass),
    Timer(Timer),
}

/// What a machine wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Send the request (client) or the last response (server).
    Send,
    /// Send the ACK for the 300–699 that came.
    Acknowledge,
    /// Hand what came to the user.
    Deliver,
    Start(Timer, Duration),
    Stop(Timer),
    /// Tell the user that no response came.
    TimedOut,
    /// Tell the user that the request could not be sent.
    TransportFailed,
}

/// No step wants more than four things.
pub(super) type Actions = SmallVec<[Action; 4]>;

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(in crate::transaction) const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const RFC: Timers = Timers { t1: ms(500), t2: ms(4_000), t4: ms(5_000) };
    pub(in crate::transaction) const UNRELIABLE: Settings = Settings { timers: RFC, reliable: false };
    pub(in crate::transaction) const RELIABLE: Settings = Settings { timers: RFC, reliable: true };
}
