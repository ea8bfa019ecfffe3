//! Who is expected: what the door before the endpoint is told, and what it hears of passwords.

use super::*;
use sip_core::guard::{Known, Seal};

use crate::config::RouteMatch;
use crate::io::DoorNews;

impl Engine {
    /// What tells tags and branches of ours from others.
    pub fn seal(&self) -> Seal {
        self.endpoint.seal()
    }

    /// SIP sessions that take memory, live or lingering, and transactions.
    pub fn sip_load(&self) -> (usize, usize) {
        (self.endpoint.sessions(), self.endpoint.transactions())
    }

    /// Whoever adds, changes or removes what inbound messages are expected from (trunks and their addresses, routes,
    /// contacts of phones) says so here; the door learns it when the input or command is done.
    pub(super) fn expectations_changed(&mut self) {
        self.expectations = Expectations::Changed;
    }

    /// Tells the door, where it would learn anything new.
    pub(super) fn tell_expectations(&mut self) {
        let known = match &self.expectations {
            Expectations::Changed => self.known(),
            Expectations::Told => return,
        };
        self.expectations = Expectations::Told;
        self.outputs.push_back(Output::Door(DoorNews::Known(Box::new(known))));
    }

    fn known(&self) -> Known {
        let matches = || self.routes.iter().map(|route| &route.matches);
        Known {
            addresses: self
                .trunks
                .iter()
                .flat_map(|(_, trunk)| trunk.addresses())
                .chain(self.registrar.sources())
                .collect(),
            networks: matches().filter_map(|matches| matches.source).collect(),
            // Endpoints register before they call.
            calls_from_anywhere: matches().any(RouteMatch::is_for_anybody),
            registrar: !self.registrar.is_empty(),
        }
    }
}

/// Whether the door knows who is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expectations {
    Changed,
    Told,
}
