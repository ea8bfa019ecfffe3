//! RFC 3263 section 4 as a function: from a question and the records known to the records that are missing, or the
//! destinations. It waits for nothing and keeps nothing; whoever looks records up calls it again when it has them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use sip_core::{Destination, Listener, Question, ResolveError, Transport, is_unicast};

use super::records::{Found, Key, Kind, Naptr, Record, Srv};

/// Services, servers and addresses of one target that are looked at, each. The largest carriers have a dozen of servers;
/// who is not reached by the eighth is not reached in time.
const SERVICES: usize = 5;
const SERVERS: usize = 12;
const ADDRESSES: usize = 8;

/// Destinations of one target.
const DESTINATIONS: usize = 32;

/// What we can send over: the transports and address families of the listeners.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    ways: BTreeSet<(Transport, bool)>,
}

impl Reach {
    pub(crate) fn of(listeners: &[Listener]) -> Reach {
        Reach { ways: listeners.iter().map(|at| (at.transport, at.bound.is_ipv4())).collect() }
    }

    fn speaks(&self, transport: Transport) -> bool {
        self.ways.iter().any(|(way, _)| *way == transport)
    }

    /// Whether an answer can be meant: records also lie, by mistake or to have us send to ourselves or to everybody.
    fn contains(&self, transport: Transport, ip: IpAddr) -> bool {
        is_unicast(ip) && self.ways.contains(&(transport, ip.is_ipv4()))
    }

    /// For a target that names no transport and has no records that do. RFC 3263 section 4.1: "UDP for a SIP URI, and TCP
    /// for a SIPS URI", which means TLS.
    fn usual(&self, secure: bool) -> Transport {
        let wanted = if secure {
            [Transport::Tls, Transport::Wss].as_slice()
        } else {
            [Transport::Udp, Transport::Tcp, Transport::Tls].as_slice()
        };
        wanted.iter().copied().find(|transport| self.speaks(*transport)).unwrap_or(wanted[0])
    }

    /// Without NAPTR records: "the client constructs SRV queries for those transport protocols it supports". UDP first,
    /// as the peer is used to that is found by a plain name.
    fn services(&self, host: &str, secure: bool) -> Vec<Service> {
        let transports = [Transport::Udp, Transport::Tcp, Transport::Tls];
        transports
            .into_iter()
            .filter(|transport| self.speaks(*transport) && (transport.is_secure() || !secure))
            .map(|transport| Service::usual(transport, host))
            .collect()
    }
}

/// One name with SRV records, and what they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    transport: Transport,
    name: String,
}

impl Service {
    fn usual(transport: Transport, host: &str) -> Service {
        let prefix = match transport {
            Transport::Udp => "_sip._udp",
            Transport::Tcp => "_sip._tcp",
            Transport::Tls => "_sips._tcp",
            Transport::Ws => "_sip._ws",
            Transport::Wss => "_sips._ws",
        };
        Service { transport, name: absolute(&format!("{prefix}.{host}")) }
    }
}

/// What is to be done about a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Look these up.
    Ask(Vec<Key>),
    /// Answer, from these records.
    Done { result: Result<Vec<Destination>, ResolveError>, used: Vec<Key> },
}

/// The records that a walk through the names has seen and missed.
struct Walk<'a, K, D> {
    reach: &'a Reach,
    known: K,
    draw: D,
    missing: Vec<Key>,
    used: Vec<Key>,
    failed: bool,
    destinations: Vec<Destination>,
}

/// Takes a question as far as the `known` records lead. `draw` gives a random number from 0 to its argument, which counts.
pub(super) fn locate<'a>(
    question: &Question,
    reach: &'a Reach,
    known: impl Fn(&Key) -> Option<&'a Found>,
    draw: impl FnMut(u32) -> u32,
) -> Step {
    let mut walk = Walk {
        reach,
        known,
        draw,
        missing: Vec::new(),
        used: Vec::new(),
        failed: false,
        destinations: Vec::new(),
    };
    walk.target(question);
    if !walk.missing.is_empty() {
        return Step::Ask(walk.missing);
    }
    let result = match (walk.destinations.is_empty(), walk.failed) {
        (false, _) => Ok(walk.destinations),
        (true, true) => Err(ResolveError::Unavailable),
        (true, false) => Err(ResolveError::NotFound),
    };
    Step::Done { result, used: walk.used }
}

/// Where a name is that the hosts file knows: who writes it there wants no records of it looked up.
pub(super) fn fixed(
    question: &Question,
    reach: &Reach,
    addresses: &[IpAddr],
) -> Result<Vec<Destination>, ResolveError> {
    let transport = question.transport.unwrap_or_else(|| reach.usual(question.secure));
    let port = question.port.unwrap_or(transport.default_port());
    let list: Vec<_> = addresses
        .iter()
        .filter(|ip| reach.contains(transport, **ip))
        .map(|ip| Destination { transport, address: SocketAddr::new(*ip, port) })
        .take(ADDRESSES)
        .collect();
    if list.is_empty() { Err(ResolveError::NotFound) } else { Ok(list) }
}

impl<'a, K, D> Walk<'a, K, D>
where
    K: Fn(&Key) -> Option<&'a Found>,
    D: FnMut(u32) -> u32,
{
    /// The records of a key; `None` when they are missing.
    fn records(&mut self, name: &str, kind: Kind) -> Option<&'a [Record]> {
        let key = Key { name: name.to_owned(), kind };
        let found = (self.known)(&key);
        match found {
            None if self.missing.contains(&key) => {}
            None => self.missing.push(key),
            Some(found) => {
                self.failed |= *found == Found::Failed;
                self.used.push(key);
            }
        }
        found.map(Found::records)
    }

    fn target(&mut self, question: &Question) {
        let host = question.host.to_ascii_lowercase();
        let usual = question.transport.unwrap_or_else(|| self.reach.usual(question.secure));
        // RFC 3263 section 4.2: "If the TARGET was not a numeric IP address, but a port is present in the URI, the client
        // performs an A or AAAA record lookup of the domain name."
        if let Some(port) = question.port {
            return self.server(usual, &host, port);
        }
        let (services, named) = match question.transport {
            Some(transport) => (vec![Service::usual(transport, &host)], None),
            None => match self.services(&host, question.secure) {
                Some(services) => services,
                None => return,
            },
        };
        let Some(servers) = self.servers(&services) else { return };
        if servers.is_empty() {
            // "If no SRV records were found, the client performs an A or AAAA record lookup of the domain name", "using the
            // transport protocol determined previously, at the default port for that transport". Where nobody could tell
            // whether there are any, they may lead to another host, and to TLS.
            if self.failed {
                return;
            }
            let transport = named.unwrap_or(usual);
            return self.server(transport, &host, transport.default_port());
        }
        // All at once: those that are missing are looked up together.
        for (transport, Srv { port, target, .. }) in servers {
            // RFC 2782: "A Target of "." means that the service is decidedly not available at this domain."
            if target != "." && port != 0 {
                self.server(transport, &absolute(&target), port);
            }
        }
    }

    /// The services of a domain in the order of its preference, and the transport that it prefers where it names any;
    /// `None` when that is not known yet.
    fn services(&mut self, host: &str, secure: bool) -> Option<(Vec<Service>, Option<Transport>)> {
        let reach = self.reach;
        let mut offers: Vec<(&Naptr, Transport)> = self
            .records(&absolute(host), Kind::Naptr)?
            .iter()
            .filter_map(|record| match record {
                Record::Naptr(naptr) => Some((naptr, transport_of(naptr)?)),
                Record::Srv(_) | Record::Address(_) => None,
            })
            // RFC 3263 section 4.1: "First, a client resolving a SIPS URI MUST discard any services that do not contain
            // "SIPS" as the protocol in the service field."
            .filter(|(_, transport)| reach.speaks(*transport) && (transport.is_secure() || !secure))
            .collect();
        offers.sort_by_key(|(naptr, _)| (naptr.order, naptr.preference));
        if offers.is_empty() {
            return Some((reach.services(host, secure), None));
        }
        let named = offers.first().map(|(_, transport)| *transport);
        let service = |(naptr, transport): (&Naptr, Transport)| Service {
            transport,
            name: absolute(&naptr.replacement.to_ascii_lowercase()),
        };
        Some((offers.into_iter().take(SERVICES).map(service).collect(), named))
    }

    /// The servers of the services, in the order to try them.
    fn servers(&mut self, services: &[Service]) -> Option<Vec<(Transport, Srv)>> {
        let found: Vec<_> = services
            .iter()
            .map(|service| Some((service.transport, self.records(&service.name, Kind::Srv)?)))
            .collect();
        let mut servers = Vec::new();
        for service in found {
            let (transport, records) = service?;
            let of_service = records.iter().filter_map(|record| match record {
                Record::Srv(srv) => Some(srv.clone()),
                Record::Naptr(_) | Record::Address(_) => None,
            });
            let ordered = in_order(of_service.collect(), &mut self.draw);
            servers.extend(ordered.into_iter().map(|srv| (transport, srv)));
        }
        servers.truncate(SERVERS);
        Some(servers)
    }

    /// The addresses of one server. IPv6 first, as RFC 6724 has it where both can be reached; of several of a family,
    /// one begins by chance, since what is kept here is not turned round by the name server.
    fn server(&mut self, transport: Transport, name: &str, port: u16) {
        for (v4, kind) in [(false, Kind::Aaaa), (true, Kind::A)] {
            if !self.reach.ways.contains(&(transport, v4)) {
                continue;
            }
            let Some(records) = self.records(name, kind) else { continue };
            let mut addresses: Vec<IpAddr> = records
                .iter()
                .filter_map(|record| match record {
                    Record::Address(ip) if ip.is_ipv4() == v4 => Some(*ip),
                    Record::Address(_) | Record::Naptr(_) | Record::Srv(_) => None,
                })
                .filter(|ip| self.reach.contains(transport, *ip))
                .take(ADDRESSES)
                .collect();
            if let Some(most) = addresses.len().checked_sub(1).filter(|most| *most > 0) {
                addresses.rotate_left((self.draw)(most as u32) as usize);
            }
            for ip in addresses {
                let destination = Destination { transport, address: SocketAddr::new(ip, port) };
                if self.destinations.len() < DESTINATIONS && !self.destinations.contains(&destination) {
                    self.destinations.push(destination);
                }
            }
        }
    }
}

/// The transport of a NAPTR record that can be followed: one that leads to SRV records (RFC 3263 section 4.1: "the "s"
/// flag"), by its replacement ("The resource record will contain an empty regular expression").
fn transport_of(naptr: &Naptr) -> Option<Transport> {
    let followed = naptr.flags.eq_ignore_ascii_case("s") && !naptr.regexp && naptr.replacement != ".";
    let services = [
        ("SIP+D2U", Transport::Udp),
        ("SIP+D2T", Transport::Tcp),
        ("SIPS+D2T", Transport::Tls),
        // RFC 7118 section 10.2.
        ("SIP+D2W", Transport::Ws),
        ("SIPS+D2W", Transport::Wss),
    ];
    let named = services.into_iter().find(|(service, _)| naptr.service.eq_ignore_ascii_case(service));
    named.map(|(_, transport)| transport).filter(|_| followed)
}

/// RFC 2782, "Usage rules": by priority, and within one by chance in proportion to the weights.
fn in_order(mut servers: Vec<Srv>, draw: &mut impl FnMut(u32) -> u32) -> Vec<Srv> {
    // "arrange all SRV RRs … in any order, except that all those with weight 0 are placed at the beginning of the list".
    servers.sort_by_key(|srv| (srv.priority, srv.weight != 0));
    let mut ordered = Vec::with_capacity(servers.len());
    while let Some(priority) = servers.first().map(|srv| srv.priority) {
        let mut group: Vec<Srv> = servers.extract_if(.., |srv| srv.priority == priority).collect();
        while !group.is_empty() {
            let sum = group.iter().map(|srv| u32::from(srv.weight)).sum();
            // "choose a uniform random number between 0 and the sum computed (inclusive), and select the RR whose running
            // sum value is the first in the selected order which is greater than or equal to the random number selected."
            let chosen = draw(sum);
            let mut running = 0;
            let at = group.iter().position(|srv| {
                running += u32::from(srv.weight);
                running >= chosen
            });
            ordered.push(group.remove(at.unwrap_or(0)));
        }
    }
    ordered
}

/// The name as one that no search list applies to.
fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

#[cfg(test)]
mod tests;
