//! Which way a message leaves, and what it says of its origin.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_core::{
    Destination, Destinations, Endpoint, EndpointConfig, Event, Hangup, Hop, Input, Invite, Listener,
    Message, Name, Output, SessionEvent, SessionId, Target, Transmit, Transport, TransportErrorKind,
};

use crate::net::{addr, invite, response_to};

const A: &str = "10.0.0.1:5060";
const TRUNK: &str = "10.0.0.2:5061";
const BROWSER: &str = "10.0.0.9:50123";

/// One endpoint and its outputs; the peer is the test itself.
struct Bench {
    endpoint: Endpoint,
    now: Instant,
}

impl Bench {
    fn config(listeners: &[(Transport, &str)]) -> EndpointConfig {
        let listener = |&(transport, at): &(Transport, &str)| Listener {
            transport,
            bound: addr(at),
            advertised: addr(at),
        };
        EndpointConfig::new(listeners.iter().map(listener).collect())
    }

    fn new(listeners: &[(Transport, &str)]) -> Bench {
        Bench::with(Bench::config(listeners))
    }

    #[expect(clippy::disallowed_methods, reason = "tests need one instant to count from")]
    fn with(config: EndpointConfig) -> Bench {
        Bench { endpoint: Endpoint::new(config, [7; 32]), now: Instant::now() }
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.endpoint.poll_output()).collect()
    }

    fn input(&mut self, hop: Hop, text: &str) -> Vec<Output> {
        let message = Message::parse(text.replace('\n', "\r\n").into()).unwrap();
        self.endpoint.handle_input(self.now, Input::Message { hop, message });
        self.outputs()
    }

    fn call(&mut self, target: Target) -> Vec<Output> {
        let call = Invite { target, ..invite(TRUNK) };
        self.endpoint.invite(self.now, call).unwrap();
        self.outputs()
    }
}

fn sent(outputs: Vec<Output>) -> Transmit {
    let transmit = |output| match output {
        Output::Transmit(transmit) => Some(transmit),
        Output::Resolve { .. } | Output::Event(_) => None,
    };
    outputs.into_iter().find_map(transmit).expect("nothing was sent")
}

fn header(payload: &Bytes, name: Name<'static>) -> String {
    Message::parse(payload.clone()).unwrap().header(name).unwrap().to_owned()
}

fn incoming(outputs: &[Output]) -> SessionId {
    let id = |output: &Output| match output {
        Output::Event(Event::Session { id, event: SessionEvent::Incoming { .. } }) => Some(*id),
        Output::Event(_) | Output::Transmit(_) | Output::Resolve { .. } => None,
    };
    outputs.iter().find_map(id).expect("no call came")
}

/// A browser writes `.invalid` hosts, for it does not know its own (RFC 7118 section 5.1).
fn invite_of_a_browser(contact: &str, more: &str) -> String {
    format!(
        "INVITE sip:bob@10.0.0.1 SIP/2.0\n\
         Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks\n\
         Max-Forwards: 70\n\
         To: <sip:bob@10.0.0.1>\n\
         From: <sip:alice@10.0.0.1>;tag=asdyka899\n\
         Call-ID: asidkj3ss\n\
         CSeq: 1 INVITE\n\
         {more}Contact: <{contact}>\n\
         Content-Length: 0\n\n"
    )
}

#[test]
fn a_browser_is_reached_by_the_connection_it_came_on() {
    let hop = Hop { transport: Transport::Wss, local: addr("10.0.0.1:443"), remote: addr(BROWSER) };
    let names = [
        "sip:alice@df7jal23ls0d.invalid;transport=ws",
        "sip:alice@df7jal23ls0d.invalid;transport=wss;ob",
        "sips:alice@df7jal23ls0d.INVALID",
        "sip:alice@203.0.113.5:4711;transport=ws",
        "sip:alice@browser.example.com",
    ];
    for contact in names {
        let listeners =
            [(Transport::Udp, A), (Transport::Ws, "10.0.0.1:80"), (Transport::Wss, "10.0.0.1:443")];
        let mut bench = Bench::new(&listeners);
        let id = incoming(&bench.input(hop, &invite_of_a_browser(contact, "")));
        bench.endpoint.answer(bench.now, id, None).unwrap();
        let outputs = bench.outputs();
        assert!(!outputs.iter().any(|output| matches!(output, Output::Resolve { .. })), "{contact}");
        let answer = sent(outputs);
        assert_eq!((answer.transport, answer.reply_on), (Transport::Wss, Some(hop)), "{contact}");
        // RFC 7118 section 5.2.2 has a name for one transport: there is no "transport=wss". The scheme is the caller's.
        let scheme = if contact.starts_with("sips:") { "sips" } else { "sip" };
        let ours = format!("<{scheme}:bob@10.0.0.1:443;transport=ws>");
        assert_eq!(header(&answer.payload, Name::Contact), ours);
        let to = header(&answer.payload, Name::To);
        let ack = invite_of_a_browser(contact, "")
            .replace("INVITE", "ACK")
            .replace("z9hG4bK56sdasks", "z9hG4bK2")
            .replace("To: <sip:bob@10.0.0.1>", &format!("To: {to}"));
        bench.input(hop, &ack);
        bench.endpoint.hangup(bench.now, id, Hangup::default()).unwrap();
        let bye = sent(bench.outputs());
        assert_eq!((bye.transport, bye.remote, bye.reply_on), (Transport::Wss, addr(BROWSER), Some(hop)));
        assert!(header(&bye.payload, Name::Via).starts_with("SIP/2.0/WSS 10.0.0.1:443;"), "{contact}");
    }
}

#[test]
fn a_browser_behind_a_proxy_is_reached_by_the_proxy() {
    let hop = Hop { transport: Transport::Udp, local: addr(A), remote: addr("10.0.0.5:5060") };
    let mut bench = Bench::new(&[(Transport::Udp, A)]);
    let route = "Record-Route: <sip:10.0.0.5;lr>, <sip:edge.invalid;transport=ws;lr>\n";
    let contact = "sip:alice@df7jal23ls0d.invalid;transport=ws";
    let id = incoming(&bench.input(hop, &invite_of_a_browser(contact, route)));
    bench.endpoint.answer(bench.now, id, None).unwrap();
    bench.outputs();
    bench.now += Duration::from_secs(40);
    bench.endpoint.handle_timeout(bench.now);
    let bye = bench.outputs().into_iter().rfind(|output| matches!(output, Output::Transmit(_)));
    assert_eq!(sent(bye.into_iter().collect()).remote, addr("10.0.0.5:5060"));
}

#[test]
fn the_name_of_a_tls_server_goes_with_every_message_to_it() {
    let mut bench = Bench::new(&[(Transport::Udp, A), (Transport::Tls, "10.0.0.1:5061")]);
    let named =
        Target { host: "trunk.example.com".into(), transport: Some(Transport::Tls), ..Target::default() };
    let outputs = bench.call(named);
    let Some(Output::Resolve { query, .. }) = outputs.first() else { panic!("{outputs:?}") };
    let list = vec![Destination { transport: Transport::Tls, address: addr(TRUNK) }];
    let result = Ok(Destinations { list, valid_for: Duration::from_secs(60) });
    bench.endpoint.handle_input(bench.now, Input::Resolved { query: *query, result });
    let invite = sent(bench.outputs());
    assert_eq!(
        (invite.transport, invite.server_name.as_deref()),
        (Transport::Tls, Some("trunk.example.com"))
    );
    assert!(header(&invite.payload, Name::Via).starts_with("SIP/2.0/TLS 10.0.0.1:5061;"));
    assert_eq!(header(&invite.payload, Name::Contact), "<sip:alice@10.0.0.1:5061;transport=tls>");

    // Its ACK goes to the Contact, an address that the same connection leads to.
    let hop = Hop { transport: Transport::Tls, local: addr("10.0.0.1:40000"), remote: addr(TRUNK) };
    let copied = [Name::Via, Name::From, Name::CallId, Name::CSeq]
        .map(|name| format!("{}: {}\n", name.as_str(), header(&invite.payload, name)))
        .concat();
    let to = header(&invite.payload, Name::To);
    let ok = format!(
        "SIP/2.0 200 OK\n{copied}To: {to};tag=b\nContact: <sip:10.0.0.2:5061;transport=tls>\nContent-Length: 0\n\n"
    );
    let ack = sent(bench.input(hop, &ok));
    assert_eq!((ack.remote, ack.reply_on), (addr(TRUNK), Some(hop)));
    assert_eq!(ack.server_name.as_deref(), Some("trunk.example.com"));

    let literal = Target { host: "10.0.0.3".into(), transport: Some(Transport::Tls), ..Target::default() };
    let invite = sent(bench.call(literal));
    assert_eq!((invite.remote, invite.server_name), (addr("10.0.0.3:5061"), None));
}

#[test]
fn a_target_chooses_listener_address_and_flow() {
    let listeners = [(Transport::Udp, A), (Transport::Udp, "10.0.0.1:5070"), (Transport::Tcp, A)];
    let mut bench = Bench::new(&listeners);
    let plain = Target { host: "10.0.0.2".into(), ..Target::default() };
    assert_eq!(sent(bench.call(plain.clone())).local, addr(A));

    let second: SocketAddr = addr("10.0.0.1:5070");
    let chosen = Target { listener: Some(second), public_ip: "198.51.100.1".parse().ok(), ..plain.clone() };
    let invite = sent(bench.call(chosen));
    assert_eq!((invite.local, invite.remote), (second, addr("10.0.0.2:5060")));
    assert!(header(&invite.payload, Name::Via).starts_with("SIP/2.0/UDP 198.51.100.1:5070;"));
    assert_eq!(header(&invite.payload, Name::Contact), "<sip:alice@198.51.100.1:5070>");

    let flow = Hop { transport: Transport::Tcp, local: addr(A), remote: addr("10.0.0.8:40000") };
    let behind_nat = Target { host: "phone.invalid".into(), flow: Some(flow), ..plain };
    let invite = sent(bench.call(behind_nat));
    assert_eq!((invite.transport, invite.remote, invite.reply_on), (Transport::Tcp, flow.remote, Some(flow)));
}

/// More than 1,300 bytes.
fn large(target: Target) -> Invite {
    Invite { target, headers: vec![("X-Large".into(), "x".repeat(1_300))], ..invite(TRUNK) }
}

fn open_target() -> Target {
    Target { host: "10.0.0.2".into(), ..Target::default() }
}

impl Bench {
    fn call_large(&mut self, target: Target) -> Transmit {
        self.endpoint.invite(self.now, large(target)).unwrap();
        sent(self.outputs())
    }
}

#[test]
fn a_request_too_large_for_a_datagram_leaves_over_tcp_and_by_udp_where_that_fails() {
    let mut bench = Bench::new(&[(Transport::Udp, A), (Transport::Tcp, "10.0.0.1:5062")]);
    let target = Target { public_ip: "198.51.100.1".parse().ok(), ..open_target() };
    let first = bench.call_large(target.clone());
    assert_eq!((first.transport, first.local), (Transport::Tcp, addr("10.0.0.1:5062")));
    let via = header(&first.payload, Name::Via);
    assert!(via.starts_with("SIP/2.0/TCP 198.51.100.1:5062;rport;branch="), "{via}");

    let remote = first.remote;
    let kind = TransportErrorKind::Refused;
    let error = Input::TransportError { transport: Transport::Tcp, remote, kind };
    bench.endpoint.handle_input(bench.now, error);
    let again = sent(bench.outputs());
    assert_eq!((again.transport, again.local, again.remote), (Transport::Udp, addr(A), remote));
    let branch = |via: &str| via.split_once("branch=").unwrap().1.to_owned();
    let by_udp = header(&again.payload, Name::Via);
    assert!(by_udp.starts_with("SIP/2.0/UDP 198.51.100.1:5060;"), "{by_udp}");
    assert_eq!(branch(&by_udp), branch(&via), "one transaction");
    // As any datagram it is sent again, and not for longer than any.
    bench.now += std::time::Duration::from_millis(500);
    bench.endpoint.handle_timeout(bench.now);
    assert_eq!(sent(bench.outputs()), again);
    let busy = response_to(&Message::parse(again.payload).unwrap(), 486, "b", "");
    let hop = Hop { transport: Transport::Udp, local: addr(A), remote };
    let ack = sent(bench.input(hop, &busy));
    assert_eq!((ack.transport, header(&ack.payload, Name::Via)), (Transport::Udp, by_udp));

    // For a while nobody finds out again,
    assert_eq!(bench.call_large(target.clone()).transport, Transport::Udp);
    // and then somebody does.
    bench.now += std::time::Duration::from_secs(61);
    assert_eq!(bench.call_large(target).transport, Transport::Tcp);
}

#[test]
fn what_follows_a_large_request_takes_its_way() {
    let mut bench = Bench::new(&[(Transport::Udp, A), (Transport::Tcp, A)]);
    let id = bench.endpoint.invite(bench.now, large(open_target())).unwrap();
    let first = sent(bench.outputs());
    let hop = Hop { transport: Transport::Tcp, local: addr("10.0.0.1:40000"), remote: first.remote };
    let request = Message::parse(first.payload.clone()).unwrap();
    bench.input(hop, &response_to(&request, 180, "b", ""));
    bench.endpoint.hangup(bench.now, id, Hangup::default()).unwrap();
    let cancel = sent(bench.outputs());
    assert_eq!(cancel.transport, Transport::Tcp);
    assert_eq!(header(&cancel.payload, Name::Via), header(&first.payload, Name::Via));
    // A stream that breaks after the first answer has failed the call, which UDP would begin anew.
    let error = Input::TransportError {
        transport: Transport::Tcp,
        remote: first.remote,
        kind: TransportErrorKind::Closed,
    };
    bench.endpoint.handle_input(bench.now, error);
    let outputs = bench.outputs();
    assert!(!outputs.iter().any(|output| matches!(output, Output::Transmit(_))), "{outputs:?}");
}

#[test]
fn a_large_request_stays_a_datagram_where_that_is_wanted() {
    let both = [(Transport::Udp, A), (Transport::Tcp, A)];
    let named = Target { transport: Some(Transport::Udp), ..open_target() };
    assert_eq!(Bench::new(&both).call_large(named).transport, Transport::Udp);
    assert_eq!(Bench::new(&both[..1]).call_large(open_target()).transport, Transport::Udp);
    assert_eq!(sent(Bench::new(&both).call(open_target())).transport, Transport::Udp, "it is small");
    let mut config = Bench::config(&both);
    config.largest_datagram = None;
    assert_eq!(Bench::with(config).call_large(open_target()).transport, Transport::Udp);
}

#[test]
fn of_several_listeners_the_one_that_was_connected_to_is_told() {
    let listeners = [
        (Transport::Tls, "0.0.0.0:5061"),
        (Transport::Tls, "0.0.0.0:5071"),
        (Transport::Tls, "10.0.0.1:5081"),
        (Transport::Tls, "10.0.0.3:5091"),
    ];
    // Connected to, and connected from.
    let streams = [
        ("10.0.0.1:5061", "5061"),
        ("10.0.0.1:5071", "5071"),
        ("10.0.0.1:5081", "5081"),
        ("10.0.0.3:5091", "5091"),
        ("10.0.0.3:40000", "5091"),
        ("10.0.0.9:40000", "5061"),
    ];
    for (local, port) in streams {
        let mut bench = Bench::new(&listeners);
        let hop = Hop { transport: Transport::Tls, local: addr(local), remote: addr(TRUNK) };
        let call = invite_of_a_browser("sip:alice@10.0.0.2;transport=tls", "").replace("WSS", "TLS");
        let id = incoming(&bench.input(hop, &call));
        bench.endpoint.answer(bench.now, id, None).unwrap();
        let contact = header(&sent(bench.outputs()).payload, Name::Contact);
        assert!(contact.contains(&format!(":{port};")), "{local}: {contact}");
    }
}

#[test]
fn under_sips_the_contact_is_under_sips() {
    for (uri_text, transport, contact) in [
        ("sips:bob@10.0.0.2", Transport::Tls, "<sips:alice@10.0.0.1:5060>"),
        ("sip:bob@10.0.0.2", Transport::Tls, "<sip:alice@10.0.0.1:5060;transport=tls>"),
        ("sips:bob@10.0.0.2", Transport::Wss, "<sips:alice@10.0.0.1:5060;transport=ws>"),
    ] {
        let mut bench = Bench::new(&[(transport, A)]);
        let target = Target { host: "10.0.0.2".into(), transport: Some(transport), ..Target::default() };
        let call = Invite { request_uri: uri_text.parse().unwrap(), target, ..invite("10.0.0.2:5061") };
        bench.endpoint.invite(bench.now, call).unwrap();
        assert_eq!(header(&sent(bench.outputs()).payload, Name::Contact), contact);
    }
}
