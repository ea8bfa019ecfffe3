//! From a target to its destinations: literals at once, names through the outside; and which of them to try first.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::layer::{Path, TransactionLayer};
use crate::endpoint::{Output, QueryId, Question};
use crate::outgoing::OutgoingId;
use crate::registration::RegistrationId;
use crate::session::{DialogId, SessionId, Target};
use crate::transport::{Destination, Hop, Transport};
use crate::watch::WatchId;
use crate::{Host, Message, is_unicast};

/// How long a destination that failed is tried last. It is twice the half minute that finding out costs a call; when
/// it is over one request tries again, and until that has its answer the others still go elsewhere.
const AVOIDED: Duration = Duration::from_secs(60);

/// The longest that a Retry-After makes us avoid a destination.
const AVOIDED_MAX: Duration = Duration::from_secs(3600);

/// Destinations that are remembered as failed: many times what all trunks together have.
const MAX_AVOIDED: usize = 1_024;

/// Who waits for the destinations of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    Invite(SessionId),
    /// Requests in a dialog of the session.
    Dialog(SessionId, DialogId),
    Register(RegistrationId),
    Watch(WatchId),
    Outgoing(OutgoingId),
}

/// Where a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Located {
    At(Destination),
    Asked(QueryId),
}

impl TransactionLayer {
    /// Where a target is; `None` when its host is none. `secure`: only transports over TLS will do.
    pub(crate) fn locate_target(&mut self, asker: Asker, target: &Target, secure: bool) -> Option<Located> {
        match target.flow {
            Some(Hop { transport, remote: address, .. }) => {
                Some(Located::At(Destination { transport, address }))
            }
            None => self.locate(asker, &target.host.parse().ok()?, target.port, target.transport, secure),
        }
    }

    /// Where a host is, at once or by a question to the outside; `None` for an address that is nobody's or everybody's.
    pub(crate) fn locate(
        &mut self,
        asker: Asker,
        host: &Host,
        port: Option<u16>,
        transport: Option<Transport>,
        secure: bool,
    ) -> Option<Located> {
        match host {
            Host::Ip(ip) if !is_unicast(*ip) => None,
            // RFC 3263 section 4.1: "Otherwise, if no transport protocol is specified, but the TARGET is a numeric IP
            // address, the client SHOULD use UDP for a SIP URI, and TCP for a SIPS URI", which is TLS then.
            Host::Ip(ip) => {
                let usual = if secure { Transport::Tls } else { Transport::Udp };
                let transport = transport.unwrap_or(usual);
                let port = port.unwrap_or(transport.default_port());
                Some(Located::At(Destination { transport, address: SocketAddr::new(*ip, port) }))
            }
            Host::Name(name) => {
                let query = self.ask(asker);
                let question = Question { host: name.to_string(), port, transport, secure };
                self.output(Output::Resolve { query, question });
                Some(Located::Asked(query))
            }
        }
    }

    /// The destinations in the order to try them: those that failed lately come last.
    pub(crate) fn in_order(&mut self, now: Instant, list: Vec<Destination>) -> VecDeque<Destination> {
        let (bad, mut order): (Vec<_>, Vec<_>) =
            list.into_iter().partition(|destination| self.is_avoided(now, *destination));
        order.extend(bad);
        // Its time is over: this request finds out whether it works again, for all.
        if order.len() > 1
            && let Some(until) = order.first().and_then(|first| self.avoided.get_mut(first))
            && *until <= now
        {
            *until = now + AVOIDED;
        }
        order.into()
    }

    /// The way to the first of a target's destinations that can be reached from here; it and those before are taken
    /// away.
    pub(crate) fn next_path(&self, target: &Target, left: &mut VecDeque<Destination>) -> Option<Path> {
        std::iter::from_fn(|| left.pop_front()).find_map(|destination| self.path_to(target, destination))
    }

    fn path_to(&self, target: &Target, Destination { transport, address }: Destination) -> Option<Path> {
        let path = match target.flow {
            Some(flow) => self.path_back(flow)?,
            None => self.path(transport, address, target.listener, None)?,
        };
        let name = match target.host.parse() {
            Ok(Host::Name(name)) => Some(name),
            Ok(Host::Ip(_)) | Err(_) => None,
        };
        let ip = target.public_ip.unwrap_or(path.advertised.ip());
        let advertised = SocketAddr::new(ip, path.advertised.port());
        let is_open = target.transport.is_none() && target.flow.is_none();
        Some(Path { advertised, server_name: name, is_open, is_flow: target.flow.is_some(), ..path })
    }

    pub(super) fn is_avoided(&self, now: Instant, destination: Destination) -> bool {
        self.avoided.get(&destination).is_some_and(|until| now < *until)
    }

    /// A destination has failed; RFC 3261 section 21.5.4 of a 503 with Retry-After: a client "SHOULD NOT forward any
    /// other requests to that server for the duration specified".
    pub(crate) fn avoid(&mut self, now: Instant, destination: Destination, retry_after: Option<Duration>) {
        if self.avoided.len() >= MAX_AVOIDED {
            self.avoided.retain(|_, until| now < *until);
            let soonest = self.avoided.iter().min_by_key(|(_, until)| **until).map(|(at, _)| *at);
            if let Some(soonest) = soonest.filter(|_| self.avoided.len() >= MAX_AVOIDED) {
                self.avoided.remove(&soonest);
            }
        }
        self.avoided.insert(destination, now + retry_after.unwrap_or(AVOIDED).min(AVOIDED_MAX));
    }

    /// A destination has answered.
    pub(super) fn heard(&mut self, now: Instant, destination: Destination, response: &Message) {
        match response.status() {
            Some(503) => {
                if let Some(after) = response.retry_after().ok().flatten() {
                    self.avoid(now, destination, Some(after));
                }
            }
            Some(_) | None => {
                self.avoided.remove(&destination);
            }
        }
    }
}
