//! Zones as text, questions, and where they lead.

use std::collections::BTreeMap;

use super::*;

/// A zone: lines of a name, a kind and data. A name that is not there does not exist; `FAIL` in place of the data is a
/// server that does not answer.
fn zone(text: &str) -> BTreeMap<Key, Found> {
    let mut zone: BTreeMap<Key, Found> = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse().unwrap();
        let (kind, record) = match words[1] {
            "A" | "AAAA" if words[2] != "FAIL" => (
                if words[1] == "A" { Kind::A } else { Kind::Aaaa },
                Some(Record::Address(words[2].parse().unwrap())),
            ),
            "A" => (Kind::A, None),
            "AAAA" => (Kind::Aaaa, None),
            "SRV" if words[2] != "FAIL" => {
                let target = words[5].to_owned();
                let srv = Srv { priority: number(2), weight: number(3), port: number(4), target };
                (Kind::Srv, Some(Record::Srv(srv)))
            }
            "SRV" => (Kind::Srv, None),
            "NAPTR" if words[2] != "FAIL" => {
                let naptr = Naptr {
                    order: number(2),
                    preference: number(3),
                    flags: words[4].to_owned(),
                    service: words[5].to_owned(),
                    regexp: words[6] != "-",
                    replacement: words[7].to_owned(),
                };
                (Kind::Naptr, Some(Record::Naptr(naptr)))
            }
            "NAPTR" => (Kind::Naptr, None),
            other => panic!("{other}"),
        };
        let found = zone.entry(Key { name: words[0].to_owned(), kind }).or_insert(Found::Failed);
        match (found, record) {
            (Found::Records(records), Some(record)) => records.push(record),
            (found, Some(record)) => *found = Found::Records(vec![record]),
            (_, None) => {}
        }
    }
    zone
}

/// All transports over IPv4, UDP over IPv6 also.
fn reach() -> Reach {
    let mut ways: BTreeSet<_> = Transport::ALL.into_iter().map(|transport| (transport, true)).collect();
    ways.insert((Transport::Udp, false));
    Reach { ways }
}

/// `host`, `host:port`, `sips:host`, `host;transport`.
fn question(text: &str) -> Question {
    let (secure, text) = match text.strip_prefix("sips:") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (text, transport) = match text.split_once(';') {
        Some((text, transport)) => (text, Transport::from_token(transport)),
        None => (text, None),
    };
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().unwrap())),
        None => (text, None),
    };
    Question { host: host.to_owned(), port, transport, secure }
}

/// Looks up what is missing until there is an answer. The names asked for, round by round, and the answer as text.
fn follow(reach: &Reach, ask: &str, text: &str, draw: impl FnMut(u32) -> u32) -> (Vec<String>, String) {
    let (zone, mut draw) = (zone(text), draw);
    let (mut known, mut rounds): (BTreeMap<Key, Found>, _) = (BTreeMap::new(), Vec::new());
    loop {
        match locate(&question(ask), reach, |key| known.get(key), &mut draw) {
            Step::Ask(keys) => {
                let words: Vec<String> =
                    keys.iter().map(|key| format!("{:?} {}", key.kind, key.name)).collect();
                rounds.push(words.join(", "));
                for key in keys {
                    let found = zone.get(&key).cloned().unwrap_or(Found::Nothing);
                    assert!(known.insert(key, found).is_none(), "asked twice");
                }
            }
            Step::Done { result, .. } => {
                let answer = match result {
                    Ok(list) => list
                        .iter()
                        .map(|at| format!("{} {}", at.transport, at.address))
                        .collect::<Vec<_>>()
                        .join(", "),
                    Err(error) => error.to_string(),
                };
                return (rounds, answer);
            }
        }
    }
}

#[track_caller]
fn check(ask: &str, zone: &str, expected: &str) {
    assert_eq!(follow(&reach(), ask, zone, |_| 0).1, expected, "{ask}");
}

const CARRIER: &str = "
    c.example.           NAPTR 20 10 s SIP+D2U  - _sip._udp.c.example.
    c.example.           NAPTR 10 10 S sips+d2t - _sips._tcp.c.example.
    c.example.           NAPTR 10 20 s SIP+D2T  - tcp.c.example.
    _sip._udp.c.example. SRV 10 0 5060 a.c.example.
    _sip._udp.c.example. SRV 20 0 5062 b.c.example.
    _sips._tcp.c.example. SRV 10 0 5061 a.c.example.
    tcp.c.example.       SRV 10 0 5070 b.c.example.
    a.c.example.         A    192.0.2.1
    b.c.example.         A    192.0.2.2
    b.c.example.         AAAA 2001:db8::2
    c.example            A    192.0.2.9
";

#[test]
fn naptr_gives_the_transports_in_the_order_of_the_domain() {
    check(
        "c.example",
        CARRIER,
        "tls 192.0.2.1:5061, tcp 192.0.2.2:5070, udp 192.0.2.1:5060, udp [2001:db8::2]:5062, udp 192.0.2.2:5062",
    );
}

#[test]
fn a_sips_uri_takes_only_what_is_under_tls() {
    check("sips:c.example", CARRIER, "tls 192.0.2.1:5061");
    check("sips:c.example:5099", CARRIER, "tls 192.0.2.9:5099");
    check("sips:d.example", "_sip._udp.d.example. SRV 1 1 5060 a.\n a. A 192.0.2.1", "no such name");
    check("sips:d.example", "d.example A 192.0.2.1", "tls 192.0.2.1:5061");
}

#[test]
fn a_transport_that_is_given_asks_for_no_naptr() {
    let (rounds, answer) = follow(&reach(), "c.example;udp", CARRIER, |_| 0);
    assert_eq!(rounds[0], "Srv _sip._udp.c.example.");
    assert_eq!(answer, "udp 192.0.2.1:5060, udp [2001:db8::2]:5062, udp 192.0.2.2:5062");
    check("c.example;tls", CARRIER, "tls 192.0.2.1:5061");
    // No _sip._tcp there: the addresses of the name, and the default port.
    check("c.example;tcp", CARRIER, "tcp 192.0.2.9:5060");
}

#[test]
fn a_port_that_is_given_asks_for_addresses_only() {
    let (rounds, answer) = follow(&reach(), "C.example:5080", CARRIER, |_| 0);
    assert_eq!(rounds, ["Aaaa c.example, A c.example"]);
    assert_eq!(answer, "udp 192.0.2.9:5080");
    check("c.example:5080;tcp", CARRIER, "tcp 192.0.2.9:5080");
}

#[test]
fn without_naptr_every_transport_is_asked_for_and_without_srv_the_name_itself() {
    let zone = "
        _sip._tcp.d.example. SRV 1 1 5066 a.d.example.
        a.d.example.         A   192.0.2.4";
    let (rounds, answer) = follow(&reach(), "d.example", zone, |_| 0);
    let expected = [
        "Naptr d.example.",
        "Srv _sip._udp.d.example., Srv _sip._tcp.d.example., Srv _sips._tcp.d.example.",
        "A a.d.example.",
    ];
    assert_eq!((rounds, answer.as_str()), (expected.map(str::to_owned).to_vec(), "tcp 192.0.2.4:5066"));
    check("e.example", "e.example A 192.0.2.5", "udp 192.0.2.5:5060");
    check("e.example", "", "no such name");
}

#[test]
fn what_we_do_not_speak_is_passed_over() {
    let only_udp = Reach { ways: BTreeSet::from([(Transport::Udp, true)]) };
    let (_, answer) = follow(&only_udp, "c.example", CARRIER, |_| 0);
    assert_eq!(answer, "udp 192.0.2.1:5060, udp 192.0.2.2:5062");
    let only_tcp = Reach { ways: BTreeSet::from([(Transport::Tcp, true)]) };
    assert_eq!(follow(&only_tcp, "e.example", "e.example A 192.0.2.5", |_| 0).1, "tcp 192.0.2.5:5060");
    assert_eq!(follow(&only_tcp, "e.example;udp", "e.example A 192.0.2.5", |_| 0).1, "no such name");
}

#[test]
fn a_domain_that_names_its_transport_is_reached_by_it_also_without_srv_records() {
    let zone = "
        m.example. NAPTR 10 10 s SIPS+D2T - _sips._tcp.m.example.
        m.example. NAPTR 20 10 s SIP+D2U  - _sip._udp.m.example.
        m.example  A 192.0.2.9";
    check("m.example", zone, "tls 192.0.2.9:5061");
}

#[test]
fn records_that_cannot_be_followed_are_passed_over() {
    let zone = "
        f.example. NAPTR 1 1 u SIP+D2U    !x! .
        f.example. NAPTR 1 1 s SIP+D2S    -   _sip._sctp.f.example.
        f.example. NAPTR 1 1 a SIP+D2T    -   a.f.example.
        f.example. NAPTR 1 1 s E2U+sip    -   a.f.example.
        f.example. NAPTR 9 9 s SIP+D2W    -   ws.f.example.
        ws.f.example. SRV 1 1 8080 a.f.example.
        a.f.example. A 192.0.2.6";
    check("f.example", zone, "ws 192.0.2.6:8080");
}

#[test]
fn answers_that_cannot_be_meant_are_dropped() {
    let zone = "
        g.example A 0.0.0.0
        g.example A 224.0.0.1
        g.example A 255.255.255.255
        g.example AAAA ::
        g.example AAAA ff02::1
        g.example AAAA 192.0.2.8
        g.example A 2001:db8::8
        g.example A 192.0.2.7";
    check("g.example:5060", zone, "udp 192.0.2.7:5060");
    let zone = "
        _sip._udp.h.example. SRV 1 1 0 a.
        _sip._udp.h.example. SRV 2 1 5060 .
        a. A 192.0.2.1
        h.example A 192.0.2.2";
    // RFC 2782: with SRV records the name's own addresses do not count, not even where the service is "decidedly not
    // available".
    check("h.example;udp", zone, "no such name");
}

#[test]
fn servers_that_do_not_answer_are_told_from_names_that_are_not() {
    let unknown = "the name could not be looked up now";
    // RFC 3263 goes on to addresses where there are no SRV records, not where nobody could tell.
    check("i.example", "i.example. NAPTR FAIL\n i.example A 192.0.2.1", unknown);
    check("i.example", "_sip._udp.i.example. SRV FAIL\n i.example A 192.0.2.1", unknown);
    check("i.example;tls", "_sips._tcp.i.example. SRV FAIL\n i.example A 192.0.2.1", unknown);
    let some = "i.example. NAPTR FAIL\n _sip._tcp.i.example. SRV 1 1 5070 a.\n a. A 192.0.2.1";
    check("i.example", some, "tcp 192.0.2.1:5070");
    check("i.example", "i.example. NAPTR FAIL", unknown);
    check("i.example:1", "i.example A FAIL\n i.example AAAA 2001:db8::1", "udp [2001:db8::1]:1");
}

#[test]
fn many_servers_and_addresses_are_cut_to_what_can_be_tried() {
    let mut zone = String::new();
    for server in 0..100 {
        zone += &format!("_sip._udp.j.example. SRV {server} 0 5060 s{server}.\n");
        for address in 0..50 {
            zone += &format!("s{server}. A 10.0.{server}.{address}\n");
        }
    }
    let (rounds, answer) = follow(&reach(), "j.example;udp", &zone, |_| 0);
    assert_eq!(rounds[1].matches("A s").count(), SERVERS);
    let answer: Vec<_> = answer.split(", ").collect();
    assert_eq!(answer.len(), DESTINATIONS);
    assert_eq!(answer[ADDRESSES - 1..=ADDRESSES], ["udp 10.0.0.7:5060", "udp 10.0.1.0:5060"]);
}

/// A generator of a test: SplitMix64.
fn chance(mut state: u64) -> impl FnMut(u32) -> u32 {
    move |most| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % (u64::from(most) + 1)) as u32
    }
}

/// RFC 2782: "A larger weight is given a proportionately higher probability of being selected." Of a server with share
/// p, n draws see n·p give or take five standard deviations, which one seed in two million exceeds.
#[test]
fn weights_are_shares_of_the_calls() {
    let server = |weight, target: &str| Srv { priority: 1, weight, port: 5060, target: target.to_owned() };
    for weights in [&[1, 1][..], &[60, 30, 10], &[1, 0], &[0, 0, 0], &[65_535, 65_535, 1]] {
        let servers: Vec<_> =
            weights.iter().enumerate().map(|(at, weight)| server(*weight, &at.to_string())).collect();
        const DRAWS: u32 = 40_000;
        let (mut first, mut draw) = (vec![0u32; weights.len()], chance(7));
        for _ in 0..DRAWS {
            let ordered = in_order(servers.clone(), &mut draw);
            assert_eq!(ordered.len(), servers.len(), "none is lost");
            first[ordered[0].target.parse::<usize>().unwrap()] += 1;
        }
        // The draw counts from 0 to the sum, and a 0 is the first's: those of weight 0 come first.
        let sum: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
        let light = weights.iter().position(|weight| *weight == 0).unwrap_or(0);
        for (at, weight) in weights.iter().enumerate() {
            let share = f64::from(u32::from(*weight) + u32::from(at == light)) / f64::from(sum + 1);
            let (expected, spread) =
                (f64::from(DRAWS) * share, (f64::from(DRAWS) * share * (1.0 - share)).sqrt());
            let off = (f64::from(first[at]) - expected).abs();
            assert!(off <= 5.0 * spread, "{weights:?}[{at}]: {} of {expected} ± {spread}", first[at]);
        }
    }
}

#[test]
fn a_lower_priority_number_comes_first_whatever_the_weights() {
    let zone = "
        _sip._udp.k.example. SRV 20 65535 5060 b.
        _sip._udp.k.example. SRV 10 0 5060 a.
        a. A 192.0.2.1
        b. A 192.0.2.2";
    for seed in 0..50 {
        let (_, answer) = follow(&reach(), "k.example;udp", zone, chance(seed));
        assert_eq!(answer, "udp 192.0.2.1:5060, udp 192.0.2.2:5060");
    }
}

#[test]
fn several_addresses_of_one_name_take_turns() {
    let zone = "l.example A 192.0.2.1\n l.example A 192.0.2.2\n l.example A 192.0.2.3";
    let mut first = BTreeSet::new();
    let mut draw = chance(3);
    for _ in 0..50 {
        let (_, answer) = follow(&reach(), "l.example:5060", zone, &mut draw);
        assert_eq!(answer.split(", ").count(), 3);
        first.extend(answer.split(", ").next().map(str::to_owned));
    }
    assert_eq!(first.len(), 3);
}
