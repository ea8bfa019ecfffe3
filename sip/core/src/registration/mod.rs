//! Registrations of ours.

mod event;

pub use event::{Register, RegistrationEvent, RegistrationId};
