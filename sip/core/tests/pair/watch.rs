//! Targets that are kept located.

use crate::net::*;
use sip_core::*;

fn watch(net: &mut Net, host: &str) -> WatchId {
    net.act(A, |endpoint, _| endpoint.watch(Target { host: host.into(), ..Target::default() }))
}

#[test]
fn a_name_is_asked_for_at_once_and_whenever_its_answer_has_had_its_time() {
    let mut net = Net::pair();
    watch(&mut net, "gw.example.com");
    net.resolve(A, &["192.0.2.1:5060", "192.0.2.1:5062", "[::ffff:192.0.2.2]:5060"]);
    assert_eq!(net.story(A), ["located {192.0.2.1, 192.0.2.2}"]);
    // The harness has answers hold for a minute.
    net.run_for(secs(59));
    assert!(net.phone(A).queries.is_empty());
    net.run_for(secs(1));
    net.resolve(A, &["192.0.2.2:5060", "192.0.2.1:5060"]);
    assert_eq!(net.story(A).len(), 1, "nothing new");
    net.run_for(secs(60));
    net.resolve(A, &["192.0.2.3:5060"]);
    assert_eq!(net.story(A).last().unwrap(), "located {192.0.2.3}");
}

#[test]
fn what_is_known_stays_while_nobody_can_tell() {
    let mut net = Net::pair();
    watch(&mut net, "gw.example.com");
    net.resolve(A, &["192.0.2.1:5060"]);
    for wait in [60, 30, 30] {
        net.run_for(secs(wait));
        net.resolve(A, &[]);
    }
    assert_eq!(net.story(A), ["located {192.0.2.1}"]);
}

#[test]
fn a_literal_address_is_told_once_and_a_host_that_is_none_never() {
    let mut net = Net::pair();
    watch(&mut net, "192.0.2.7");
    watch(&mut net, "not a host");
    net.run_until_quiet();
    assert_eq!(net.story(A), ["located {192.0.2.7}"]);
}

#[test]
fn one_that_is_stopped_asks_and_tells_no_more() {
    let mut net = Net::pair();
    let (asked, waiting) = (watch(&mut net, "a.example.com"), watch(&mut net, "b.example.com"));
    let (query, _) = net.phone(A).queries.remove(0);
    net.resolve(A, &["192.0.2.1:5060"]);
    for id in [asked, waiting, waiting] {
        net.act(A, |endpoint, _| endpoint.unwatch(id));
    }
    net.input(A, Input::Resolved { query, result: Err(ResolveError::NotFound) });
    net.run_until_quiet();
    assert_eq!(net.phone(A).endpoint.poll_timeout(), None);
    assert_eq!(net.story(A), ["located {192.0.2.1}"]);
}
