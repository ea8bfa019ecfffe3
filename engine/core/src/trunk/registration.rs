//! The registration of a trunk, as far as its calls are concerned.

use std::time::Instant;

use sip_core::{RegistrationEvent, RegistrationId};

/// Whether the registrar knows us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Registration {
    /// The trunk does not register: it is used as configured.
    None,
    /// No answer to the first REGISTER yet. Calls wait.
    Registering(RegistrationId),
    Up {
        id: RegistrationId,
        until: Instant,
    },
    /// Tried again later. Calls fail as `network-error`.
    Down {
        id: RegistrationId,
        reason: String,
    },
    /// Refused for good. Calls fail as `blocked`.
    Rejected {
        id: RegistrationId,
        status: Option<u16>,
    },
}

impl Registration {
    pub(super) fn id(&self) -> Option<RegistrationId> {
        match *self {
            Self::None => None,
            Self::Registering(id)
            | Self::Up { id, .. }
            | Self::Down { id, .. }
            | Self::Rejected { id, .. } => Some(id),
        }
    }

    /// When the registrar forgets us.
    pub(super) fn until(&self) -> Option<Instant> {
        match *self {
            Self::Up { until, .. } => Some(until),
            Self::None | Self::Registering(_) | Self::Down { .. } | Self::Rejected { .. } => None,
        }
    }

    /// Takes what happened to it; `registrar` is for people.
    pub(super) fn take(&mut self, now: Instant, event: &RegistrationEvent, registrar: &str) {
        let Some(id) = self.id() else { return };
        let next = match *event {
            // A refresh that failed takes nothing away yet: the registrar keeps what it granted until it expires.
            RegistrationEvent::Failed { retry_in: Some(_), .. }
                if self.until().is_some_and(|until| now < until) =>
            {
                return;
            }
            RegistrationEvent::Registered { expires, .. } => Self::Up { id, until: now + expires },
            RegistrationEvent::Failed { status, retry_in: Some(retry_in) } => {
                let what = status.map_or("no answer".to_owned(), |status| {
                    format!("{status} {}", sip_core::reason_phrase(status))
                });
                let next = retry_in.as_secs();
                Self::Down { id, reason: format!("{what} from registrar {registrar}; next try in {next} s") }
            }
            RegistrationEvent::Failed { status, retry_in: None } => Self::Rejected { id, status },
            RegistrationEvent::Unregistered => {
                Self::Down { id, reason: "unregistered by this node".to_owned() }
            }
        };
        *self = next;
    }
}
