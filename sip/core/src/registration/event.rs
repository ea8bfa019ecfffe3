//! What a registration is told to do, and what it tells.

use std::time::Duration;

use crate::Uri;
use crate::digest::Credentials;
use crate::session::Target;

/// One address of record kept registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationId(pub u64);

/// An address of record to keep registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// The next hop.
    pub registrar: Target,
    /// The address of record: From and To; its host is the Request-URI.
    pub aor: Uri,
    /// What to answer a 401 or 407 with.
    pub credentials: Option<Credentials>,
    /// The lifetime to ask for.
    pub expires: Duration,
    /// The user part of the Contact.
    pub contact_user: String,
}

/// What happens to a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationEvent {
    /// Registered, or refreshed.
    Registered {
        /// The lifetime the registrar granted; the refresh comes before it.
        expires: Duration,
    },
    /// Not registered.
    Failed {
        /// The final response; `None` for no answer, no address or no transport.
        status: Option<u16>,
        /// When it is tried again; `None` means never: 403, 404, or our credentials were refused.
        retry_in: Option<Duration>,
    },
    /// Over, after [`Endpoint::unregister`](crate::Endpoint::unregister). Terminal.
    Unregistered,
}
