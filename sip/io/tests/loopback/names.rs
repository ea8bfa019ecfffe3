//! Where targets are, by real name servers, through the transports' own door.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use sip_core::{Destination, Destinations, Input, QueryId, Question, ResolveError, Transport};
use sip_io::{Inbox, Limits, ListenAddr, Transports};

use crate::name_servers::{Answer, Liar, Named, code, records, wire_name};
use crate::support::{local, next};

const A: u16 = 1;
const CNAME: u16 = 5;
const SRV: u16 = 33;

/// Transports over UDP and TCP that ask certain name servers.
struct Bench {
    transports: Transports,
    inbox: Inbox,
    next: u64,
}

impl Bench {
    fn new(servers: &[SocketAddr]) -> Bench {
        let listen = [ListenAddr::udp(local(0)), ListenAddr::tcp(local(0))];
        let (transports, inbox) = Transports::bind(&listen, Limits::default()).unwrap();
        transports.set_name_servers(servers.to_vec());
        Bench { transports, inbox, next: 0 }
    }

    fn ask(&mut self, host: &str, port: Option<u16>, transport: Option<Transport>) -> QueryId {
        self.next += 1;
        let question = Question { host: host.to_owned(), port, transport, secure: false };
        assert!(self.transports.resolve(QueryId(self.next), question).is_none());
        QueryId(self.next)
    }

    async fn answer(&mut self) -> (QueryId, Result<Destinations, ResolveError>) {
        match next(&mut self.inbox).await {
            Input::Resolved { query, result } => (query, result),
            other => panic!("an answer, not {other:?}"),
        }
    }

    /// Where a target is, as text; only one question at a time.
    async fn find(&mut self, host: &str, port: Option<u16>, transport: Option<Transport>) -> String {
        self.ask(host, port, transport);
        self.answer().await.1.map_or_else(|error| error.to_string(), |found| text(&found.list))
    }
}

fn text(list: &[Destination]) -> String {
    list.iter().map(|at| format!("{} {}", at.transport, at.address)).collect::<Vec<_>>().join(", ")
}

const ZONE: &str = r#"
carrier       IN NAPTR 10 10 "s" "SIP+D2T" "" _sip._tcp.carrier
carrier       IN NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp.carrier
carrier       IN NAPTR  5 10 "s" "SIPS+D2T" "" _sips._tcp.carrier
_sip._tcp.carrier  IN SRV 10 0 5070 a
_sip._udp.carrier  IN SRV 10 70 5060 a
_sip._udp.carrier  IN SRV 10 30 5061 b
_sip._udp.carrier  IN SRV 20 0  5062 alias
_sips._tcp.carrier IN SRV 10 0 5061 a
a             IN A 192.0.2.1
b             IN A 192.0.2.2
b         120 IN AAAA 2001:db8::2
alias     30  IN CNAME other
other         IN A 192.0.2.3
loop1         IN CNAME loop2
loop2         IN CNAME loop1
empty         IN TXT "nothing of use"
many          IN A 192.0.2.1
many          IN A 192.0.2.2
many          IN A 192.0.2.3
wrong         IN A 0.0.0.0
wrong         IN A 224.0.0.5
wrong         IN AAAA 2001:db8::9
"#;

/// Everything that one running server is enough for.
#[tokio::test]
async fn targets_are_located_by_a_name_server_that_nobody_here_wrote() {
    let named = Named::start("locate", ZONE);
    let mut bench = Bench::new(&[named.address]);
    // TLS, which is not listened on, is passed over, and so is IPv6.
    let found = bench.find("carrier.test", None, None).await;
    let (first, rest) = found.split_once(", ").unwrap();
    assert_eq!(first, "tcp 192.0.2.1:5070");
    let weighted = ["udp 192.0.2.1:5060, udp 192.0.2.2:5061, ", "udp 192.0.2.2:5061, udp 192.0.2.1:5060, "];
    assert!(weighted.iter().any(|order| rest == format!("{order}udp 192.0.2.3:5062")), "{rest}");

    let (udp, tcp) = (Some(Transport::Udp), Some(Transport::Tcp));
    for (host, port, transport, expected) in [
        ("CARRIER.test", None, tcp, "tcp 192.0.2.1:5070"),
        ("b.test", Some(5080), tcp, "tcp 192.0.2.2:5080"),
        ("b.test", None, None, "udp 192.0.2.2:5060"),
        ("alias.test", None, udp, "udp 192.0.2.3:5060"),
        ("loop1.test", Some(5060), None, "the name could not be looked up now"),
        ("empty.test", None, None, "no such name"),
        ("nowhere.test", None, None, "no such name"),
        ("wrong.test", Some(5060), None, "no such name"),
        // A zone that this server knows nothing of: refused.
        ("elsewhere.example", Some(5060), None, "the name could not be looked up now"),
    ] {
        assert_eq!(bench.find(host, port, transport).await, expected, "{host}");
    }

    // The TTL is the least of the way: the alias has 30 seconds, a has 60.
    bench.ask("alias.test", Some(5060), None);
    let valid_for = bench.answer().await.1.unwrap().valid_for.as_secs();
    assert!((25..=30).contains(&valid_for), "{valid_for}");

    // Shares of the load, over the whole way: 70 to 30, give or take five standard deviations of 1,000 draws.
    let lookups = bench.transports.counts().lookups;
    let mut heavy = 0;
    for _ in 0..1_000 {
        heavy += i32::from(bench.find("carrier.test", None, udp).await.starts_with("udp 192.0.2.1:5060"));
    }
    assert!((heavy - 700).abs() <= 5 * 15, "{heavy} of 1000");
    assert_eq!(bench.transports.counts().lookups, lookups, "all of it from the cache");
    // And of the addresses of one name.
    let mut first = std::collections::BTreeSet::new();
    for _ in 0..100 {
        first.insert(bench.find("many.test", Some(5060), None).await);
    }
    assert_eq!(first.len(), 3, "{first:?}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_replaced_by_the_next_and_what_is_known_stays() {
    let mut gone = Named::start("gone", ZONE);
    let there = Named::start("there", ZONE);
    gone.stop();
    let mut bench = Bench::new(&[gone.address, there.address]);
    assert_eq!(bench.find("a.test", Some(5060), None).await, "udp 192.0.2.1:5060");
    drop(there);
    assert_eq!(bench.find("a.test", Some(5060), None).await, "udp 192.0.2.1:5060");
    assert_eq!(bench.find("b.test", Some(5060), None).await, "the name could not be looked up now");
}

#[tokio::test]
async fn a_name_server_that_is_changed_is_asked_from_then_on() {
    let named = Named::start("changed", ZONE);
    let silent = Liar::start(|_, _| Vec::new()).await;
    let mut bench = Bench::new(&[silent.address]);
    bench.transports.set_name_servers(vec![named.address]);
    assert_eq!(bench.find("a.test", Some(5060), None).await, "udp 192.0.2.1:5060");
}

/// What a liar says of each name, and what is made of it.
fn lie(name: &str, kind: u16) -> Answer {
    let good = || records(&[(name, A, &[192, 0, 2, 1])]);
    match (name, kind) {
        ("garbage.test.", A) => vec![vec![], vec![0xFF; 30]],
        // An answer about somebody else.
        ("other.test.", A) => vec![records(&[("carrier.test.", A, &[203, 0, 113, 1])])],
        // It says that it has more answers than there are.
        ("short.test.", A) => vec![vec![0x84, 0, 0, 9, 0, 0, 0, 0, 1, b'x']],
        // A name that points into itself.
        ("pointer.test.", A) => {
            vec![
                [
                    vec![0x84, 0, 0, 1, 0, 0, 0, 0],
                    vec![0xC0, 0x1E, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4],
                ]
                .concat(),
            ]
        }
        ("broken.test.", A) => vec![code(2)],
        ("refused.test.", A) => vec![code(5)],
        ("many.test.", A) => {
            let addresses: Vec<[u8; 4]> = (0..40).map(|n| [198, 51, 100, n]).collect();
            let all: Vec<_> = addresses.iter().map(|address| (name, A, address.as_slice())).collect();
            vec![records(&all)]
        }
        ("zero.test.", A) => vec![records(&[(name, A, &[0, 0, 0, 0]), (name, A, &[239, 1, 1, 1])])],
        ("_sip._udp.ports.test.", SRV) => {
            let srv = |port: u16| [&[0, 1, 0, 1][..], &port.to_be_bytes(), &wire_name("good.test.")].concat();
            vec![records(&[(name, SRV, &srv(0)), (name, SRV, &srv(5066))])]
        }
        ("good.test.", A) => vec![good()],
        (chain, A) if chain.starts_with('c') => {
            // Each name is another's alias, without end.
            vec![records(&[(chain, CNAME, &wire_name(&format!("c{chain}")))])]
        }
        (hang, _) if hang.starts_with("hang") => vec![],
        _ => vec![code(3)],
    }
}

#[tokio::test]
async fn a_name_server_that_lies_does_no_harm() {
    let liar = Liar::start(lie).await;
    let mut bench = Bench::new(&[liar.address]);
    let unavailable = ["the name could not be looked up now", "no such name"];
    for (host, expected) in [
        ("garbage.test", Some(unavailable[0])),
        ("other.test", None),
        ("short.test", None),
        ("pointer.test", None),
        ("broken.test", Some(unavailable[0])),
        ("refused.test", Some(unavailable[0])),
        ("zero.test", Some(unavailable[1])),
        ("c.test", None),
    ] {
        let found = bench.find(host, Some(5060), None).await;
        match expected {
            Some(expected) => assert_eq!(found, expected, "{host}"),
            None => assert!(unavailable.contains(&found.as_str()), "{host}: {found}"),
        }
    }
    bench.ask("many.test", Some(5060), None);
    assert_eq!(bench.answer().await.1.unwrap().list.len(), 8);
    assert_eq!(bench.find("ports.test", None, Some(Transport::Udp)).await, "udp 192.0.2.1:5066");
}

#[tokio::test]
async fn a_name_server_that_hangs_keeps_only_those_waiting_who_ask_for_its_names() {
    let asked = Arc::new(AtomicUsize::new(0));
    let liar = {
        let asked = asked.clone();
        Liar::start(move |name, kind| {
            asked.fetch_add(1, SeqCst);
            lie(name, kind)
        })
    };
    let liar = liar.await;
    let mut bench = Bench::new(&[liar.address]);
    let hanging: Vec<_> = (0..64).map(|n| bench.ask(&format!("hang{n}.test"), Some(5060), None)).collect();
    // The same server answers another name, and that answer is the first to come.
    let good = bench.ask("good.test", Some(5060), None);
    let (first, found) = bench.answer().await;
    assert_eq!((first, found.map(|found| text(&found.list))), (good, Ok("udp 192.0.2.1:5060".to_owned())));
    for _ in &hanging {
        assert_eq!(bench.answer().await.1, Err(ResolveError::Unavailable));
    }
    assert!(asked.load(SeqCst) > hanging.len(), "each is asked for more than once");
}

#[tokio::test]
async fn names_are_resolved_through_the_inbox() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.find("localhost", Some(5099), None).await, "udp 127.0.0.1:5099");
}

#[tokio::test]
async fn a_name_that_cannot_be_is_refused_without_asking_anybody() {
    let mut bench = Bench::new(&[Liar::start(|_, _| panic!("nobody is asked")).await.address]);
    assert_eq!(bench.find(&"x".repeat(70), None, None).await, "no such name");
}
