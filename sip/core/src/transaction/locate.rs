//! From a host to an address: literals at once, names through the outside.

use std::net::SocketAddr;

use super::layer::TransactionLayer;
use crate::Host;
use crate::endpoint::{Output, QueryId};
use crate::outgoing::OutgoingId;
use crate::registration::RegistrationId;
use crate::session::{SessionId, Target};
use crate::transport::Transport;

/// Who waits for the addresses of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    Invite(SessionId),
    /// Requests in the session's dialog with this index.
    Dialog(SessionId, usize),
    Register(RegistrationId),
    Outgoing(OutgoingId),
}

/// Where a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Located {
    At(SocketAddr),
    Asked(QueryId),
}

impl TransactionLayer {
    /// Where a target is; `None` when its host is none.
    pub(crate) fn locate_target(&mut self, asker: Asker, target: &Target) -> Option<Located> {
        match target.flow {
            Some(flow) => Some(Located::At(flow.remote)),
            None => Some(self.locate(asker, &target.host.parse().ok()?, target.port, target.transport)),
        }
    }

    pub(crate) fn locate(
        &mut self,
        asker: Asker,
        host: &Host,
        port: Option<u16>,
        transport: Option<Transport>,
    ) -> Located {
        match host {
            Host::Ip(ip) => {
                let default = transport.unwrap_or(Transport::Udp).default_port();
                Located::At(SocketAddr::new(*ip, port.unwrap_or(default)))
            }
            Host::Name(name) => {
                let query = self.ask(asker);
                self.output(Output::Resolve { query, host: name.to_string(), port, transport });
                Located::Asked(query)
            }
        }
    }
}
