//! What a registration is told to do, and what it tells.

use std::net::SocketAddr;
use std::time::Duration;

use crate::digest::Credentials;
use crate::session::Target;
use crate::{NameAddr, Uri};

/// One address of record kept registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationId(pub u64);

/// An address of record to keep registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// The next hop: the registrar, or an outbound proxy.
    pub registrar: Target,
    /// A preloaded route set (RFC 3261 section 8.1.2), outermost proxy first; `registrar` is still the next hop.
    pub route: Vec<NameAddr>,
    /// The address of record: From and To; its host is the Request-URI.
    pub aor: Uri,
    /// What to answer a 401 or 407 with.
    pub credentials: Option<Credentials>,
    /// The lifetime to ask for.
    pub expires: Duration,
    /// The user part of the Contact.
    pub contact_user: String,
    /// Whether to ask that calls come by the connection, or the NAT binding, that the REGISTER went by.
    pub outbound: Option<Outbound>,
    /// Whether the Contact is the address that the registrar sees us at (`received` and `rport` of Via), where that is
    /// another one than ours: for a NAT whose address nobody configured.
    pub contact_as_seen: bool,
}

impl Register {
    /// An hour at a time, of the same user, and nothing else.
    pub fn new(registrar: Target, aor: Uri) -> Self {
        Self {
            registrar,
            route: Vec::new(),
            credentials: None,
            expires: Duration::from_secs(3600),
            contact_user: aor.user().unwrap_or_default().to_owned(),
            outbound: None,
            contact_as_seen: false,
            aor,
        }
    }
}

/// One flow of one instance (RFC 5626 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// The instance: a URN that stays the same over restarts, such as `urn:uuid:…` (RFC 5626 section 4.1).
    pub instance: String,
    /// Which of its flows, from 1: "each one of these registrations will use a different reg-id value".
    pub reg_id: u32,
}

/// What happens to a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationEvent {
    /// Registered, or refreshed.
    Registered {
        /// The lifetime the registrar granted; the refresh comes before it.
        expires: Duration,
        /// Service-Route (RFC 3608): the route set for requests of the address of record, in order, until the next event
        /// says otherwise.
        service_route: Vec<NameAddr>,
        /// Where the registrar sees us, when that is not where we say we are.
        seen_at: Option<SocketAddr>,
    },
    /// Not registered.
    Failed {
        /// The final response; `None` for no answer, no address or no transport.
        status: Option<u16>,
        /// When it is tried again. `None` means never: the registrar said that asking again is of no use (403, 404, 405,
        /// 410, 416, 501, 604), or refused our credentials. Told once; a new [`Register`] begins anew.
        retry_in: Option<Duration>,
    },
    /// Over, after [`Endpoint::unregister`](crate::Endpoint::unregister). Terminal.
    Unregistered,
}
