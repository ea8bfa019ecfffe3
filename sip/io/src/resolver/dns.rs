//! Questions to name servers, by hickory-resolver, and the system's hosts file.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use tokio::time::{Instant, timeout};

use super::records::{Key, Kind, Naptr, Record, Srv};

/// How long one server may take to answer before it, or another, is asked again.
const ATTEMPT: Duration = Duration::from_millis(1_000);

/// Attempts after the first one.
const ATTEMPTS: usize = 2;

/// Longest time for one name and kind: the first attempt and those after it.
const LOOKUP: Duration = Duration::from_millis(3_000);

/// Records of one name and kind that are kept.
const RECORDS: usize = 64;

/// How often it is looked whether the system's files have changed.
const FILES: Duration = Duration::from_secs(5);

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// Never empty. With the TTL.
    Records(Vec<Record>, Duration),
    /// With the TTL of that, zero when the server did not say.
    Nothing(Duration),
    Failed,
}

/// Where records come from.
pub(super) trait Source {
    /// Has these servers asked from now on.
    fn ask_servers(&mut self, servers: Vec<SocketAddr>);

    /// The addresses that the hosts file has for a name.
    fn fixed(&mut self, host: &str) -> Option<Vec<IpAddr>>;

    /// Asks for the records of a key.
    fn look_up(&self, key: &Key) -> impl Future<Output = Told> + Send + 'static;
}

/// Name servers, and the system's files, whose changes are noticed.
pub(super) struct Dns {
    servers: Vec<SocketAddr>,
    resolver: Option<Arc<TokioResolver>>,
    hosts: Hosts,
    checked: Option<Instant>,
    changed: [Option<SystemTime>; 2],
}

impl Dns {
    /// Asks these servers, those of `/etc/resolv.conf` when there are none.
    pub(super) fn new(servers: Vec<SocketAddr>) -> Dns {
        let mut dns =
            Dns { servers, resolver: None, hosts: Hosts::default(), checked: None, changed: [None; 2] };
        dns.refresh();
        dns
    }

    /// Reads the system's files again when they have changed.
    fn refresh(&mut self) {
        let now = Instant::now();
        if self.checked.is_some_and(|checked| now < checked + FILES) {
            return;
        }
        let changed = [RESOLV_CONF, HOSTS].map(changed_at);
        if self.checked.replace(now).is_some() && changed == self.changed {
            return;
        }
        self.changed = changed;
        self.hosts = Hosts::from_system().unwrap_or_else(|error| {
            tracing::warn!(%error, "{HOSTS} is not used");
            Hosts::default()
        });
        self.resolver = match resolver(&self.servers) {
            Ok(resolver) => Some(Arc::new(resolver)),
            Err(error) => {
                tracing::warn!(%error, "no name can be looked up: no name server in {RESOLV_CONF}, nor in `dns` of [sip]");
                None
            }
        };
    }
}

impl Source for Dns {
    fn ask_servers(&mut self, servers: Vec<SocketAddr>) {
        *self = Dns::new(servers);
    }

    /// `localhost` is known whether the hosts file has it or not (RFC 6761 section 6.3).
    fn fixed(&mut self, host: &str) -> Option<Vec<IpAddr>> {
        self.refresh();
        let name = Name::from_ascii(host).ok()?;
        let of = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let records: Vec<_> = [RecordType::AAAA, RecordType::A]
            .into_iter()
            .filter_map(of)
            .flat_map(|lookup| lookup.answers().to_vec())
            .filter_map(|record| record.data.ip_addr())
            .collect();
        if records.is_empty() && name.is_localhost() {
            return Some(vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]);
        }
        (!records.is_empty()).then_some(records)
    }

    fn look_up(&self, key: &Key) -> impl Future<Output = Told> + Send + 'static {
        let (resolver, key) = (self.resolver.clone(), key.clone());
        async move {
            let Some(resolver) = resolver else { return Told::Failed };
            // Too long, or with a label that is: there is no such name.
            let Ok(name) = Name::from_ascii(&key.name) else { return Told::Nothing(Duration::ZERO) };
            let kind = match key.kind {
                Kind::Naptr => RecordType::NAPTR,
                Kind::Srv => RecordType::SRV,
                Kind::A => RecordType::A,
                Kind::Aaaa => RecordType::AAAA,
            };
            match timeout(LOOKUP, resolver.lookup(name, kind)).await {
                Ok(Ok(lookup)) => {
                    let of_kind = lookup.answers().iter().filter(|record| record.record_type() == kind);
                    let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
                    let records: Vec<_> =
                        of_kind.filter_map(|record| read(&record.data)).take(RECORDS).collect();
                    let ttl = Duration::from_secs(u64::from(ttl));
                    if records.is_empty() { Told::Nothing(ttl) } else { Told::Records(records, ttl) }
                }
                Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none))))
                    if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
                {
                    Told::Nothing(Duration::from_secs(u64::from(none.negative_ttl.unwrap_or(0))))
                }
                Ok(Err(_)) | Err(_) => Told::Failed,
            }
        }
    }
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if servers.is_empty() {
        TokioResolver::builder(provider)?
    } else {
        let servers = servers.iter().map(|server| {
            let at_port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let connections = vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())];
            NameServerConfig::new(server.ip(), true, connections)
        });
        TokioResolver::builder_with_config(ResolverConfig::from_name_servers(servers.collect()), provider)
    };
    let options = builder.options_mut();
    options.timeout = ATTEMPT;
    options.attempts = ATTEMPTS;
    // Both are ours: the cache knows what to do when the servers are down, and files change.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    // More than are under way at once: a server that hangs must not make the others' questions be refused.
    options.max_active_requests = 1_024;
    builder.build()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum grows")]
fn read(data: &RData) -> Option<Record> {
    match data {
        RData::A(a) => Some(Record::Address(IpAddr::V4(a.0))),
        RData::AAAA(aaaa) => Some(Record::Address(IpAddr::V6(aaaa.0).to_canonical())),
        RData::SRV(srv) => Some(Record::Srv(Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.to_ascii().to_ascii_lowercase(),
        })),
        RData::NAPTR(naptr) => Some(Record::Naptr(Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: String::from_utf8_lossy(&naptr.flags).into_owned(),
            service: String::from_utf8_lossy(&naptr.services).into_owned(),
            regexp: !naptr.regexp.is_empty(),
            replacement: naptr.replacement.to_ascii().to_ascii_lowercase(),
        })),
        _ => None,
    }
}

/// When a file changed last; `None` when there is none.
fn changed_at(file: &str) -> Option<SystemTime> {
    fs::metadata(Path::new(file)).and_then(|metadata| metadata.modified()).ok()
}
