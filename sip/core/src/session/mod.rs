//! INVITE sessions.

mod event;

pub use event::{
    Body, EndCause, Failure, FailureCause, Hangup, Invite, Reason, ReasonProtocol, SessionEvent,
    SessionId, Side, Target,
};
