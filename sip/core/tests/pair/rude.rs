//! Peers that send nonsense: no panic, nothing left behind, and what goes out is sound (the harness checks that).

use std::fs;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::net::*;
use sip_core::*;

fn below(rng: &mut ChaCha8Rng, limit: usize) -> usize {
    (rng.next_u64() % limit as u64) as usize
}

/// A few random faults: bytes changed, a piece cut out, a line doubled, a number made huge.
fn mangled(rng: &mut ChaCha8Rng, bytes: &Bytes) -> Bytes {
    let mut text = BytesMut::from(&bytes[..]);
    for _ in 0..=below(rng, 3) {
        let at = below(rng, text.len());
        match below(rng, 5) {
            0 => text[at] = rng.next_u64() as u8,
            1 => text[at] = b";,:@<>\"\r\n 0=?%"[below(rng, 14)],
            2 => {
                let end = (at + below(rng, 40)).min(text.len());
                let rest = text.split_off(end);
                text.truncate(at);
                text.extend_from_slice(&rest);
            }
            3 => {
                let mut lines: Vec<_> = text[..].split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
                let (from, to) = (below(rng, lines.len()), below(rng, lines.len()));
                let line = lines[from].clone();
                lines.insert(to, line);
                text = lines.join(&b'\n').as_slice().into();
            }
            _ => {
                if let Some(at) = text.iter().position(u8::is_ascii_digit) {
                    let rest = text.split_off(at);
                    text.extend_from_slice(b"18446744073709551615");
                    text.extend_from_slice(&rest);
                }
            }
        }
        if text.is_empty() {
            break;
        }
    }
    text.freeze()
}

/// Has an endpoint answer every call, hang it up after a while, and answer everything else.
fn obliging(net: &mut Net, at: &str) {
    net.react(at, |phone, now, event| match event {
        Event::Session { id, event: SessionEvent::Incoming { .. } } => {
            let id = *id;
            phone.endpoint.answer(now, id, None).unwrap();
            phone.plans.push((
                secs(100),
                Box::new(move |phone, now| {
                    let _ = phone.endpoint.hangup(now, id, Hangup::default());
                }),
            ));
        }
        Event::Request { id, .. } => {
            phone.endpoint.respond(now, *id, 200, &[("Expires".into(), "60".into())], None).unwrap();
        }
        Event::Session { .. }
        | Event::Registration { .. }
        | Event::Response { .. }
        | Event::Located { .. } => {}
    });
}

/// Runs on, with every question for a name answered in the negative.
fn run_without_names(net: &mut Net, secs_long: u64) {
    for _ in 0..secs_long {
        net.run_for(secs(1));
        for at in [A, B] {
            while !net.phone(at).queries.is_empty() {
                net.resolve(at, &[]);
            }
        }
    }
}

#[test]
fn messages_mangled_on_the_way_leave_nothing_behind() {
    for seed in netem::seeds(300) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut net = Net::pair();
        obliging(&mut net, B);
        net.mangle(move |bytes| if below(&mut rng, 3) == 0 { mangled(&mut rng, &bytes) } else { bytes });
        let register = Register {
            expires: secs(60),
            contact_user: "line1".into(),
            ..Register::new(target(B), uri("sip:trunk@example.com"))
        };
        let registration = net.act(A, |endpoint, now| endpoint.register(now, register));
        for _ in 0..3 {
            let id = net.call(A, B);
            net.later(A, secs(20), move |phone, now| {
                let _ = phone.endpoint.hangup(now, id, Hangup::default());
            });
        }
        run_without_names(&mut net, 200);
        let _ = net.act(A, |endpoint, now| endpoint.unregister(now, registration));
        run_without_names(&mut net, 40);
        net.run_until_quiet();
    }
}

#[test]
fn every_torture_message_is_survived() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut files = Vec::new();
    for part in ["rfc4475/valid", "rfc4475/other", "rfc5118"] {
        files.extend(fs::read_dir(folder.join(part)).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.sort();
    assert!(files.len() > 50, "{}", files.len());
    let mut net = Net::pair();
    obliging(&mut net, B);
    for file in files {
        let hop = Hop { transport: Transport::Udp, local: addr(B), remote: addr(R) };
        net.input(B, arrival(hop, fs::read(file).unwrap().into()));
        run_without_names(&mut net, 1);
    }
    assert!(net.story(B).contains(&"incoming".to_owned()));
    run_without_names(&mut net, 200);
    net.run_until_quiet();
}

#[test]
fn a_registrar_that_grants_eternity_is_refreshed_all_the_same() {
    for granted in ["18446744073709551615", "4294967295", "-1", "x", ""] {
        let mut net = Net::pair();
        let register = Register {
            expires: secs(3600),
            contact_user: "line1".into(),
            ..Register::new(target(R), uri("sip:trunk@example.com"))
        };
        net.act(A, |endpoint, now| endpoint.register(now, register));
        net.run_for(secs(0));
        let request = net.expect_raw(R, "REGISTER");
        let contact = format!("Contact: <sip:line1@{A}>;expires={granted}\n");
        net.send_raw(R, A, &response_to(&request, 200, "x", &contact));
        assert!(net.story(A)[0].starts_with("registered"), "{granted}");
    }
}

#[test]
fn a_200_without_contact_is_acknowledged_where_it_came_from() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 200, "r1", ""));
    net.expect_raw(R, "ACK");
    net.hangup(A, a);
    let bye = net.expect_raw(R, "BYE");
    net.send_raw(R, A, &response_to(&bye, 200, "", ""));
    net.run_until_quiet();
}

#[test]
fn addresses_of_nobody_and_of_everybody_are_not_sent_to() {
    for nobody in ["0.0.0.0", "224.0.1.75", "255.255.255.255", "[::]", "[ff02::1]", "x;maddr=224.0.1.75"] {
        let mut net = Net::pair();
        let a = net.call(A, R);
        net.run_for(secs(0));
        let invite = net.expect_raw(R, "INVITE");
        let contact = format!("Contact: <sip:r@{nobody}>\n");
        net.send_raw(R, A, &response_to(&invite, 200, "r1", &contact));
        net.expect_raw(R, "ACK");
        net.hangup(A, a);
        let bye = net.expect_raw(R, "BYE");
        net.send_raw(R, A, &response_to(&bye, 200, "", ""));
        net.run_until_quiet();
        // Nor where somebody has configured one.
        let mistaken = Target { host: nobody.split(';').next().unwrap().into(), ..Target::default() };
        if mistaken.host != "x" {
            let call = Invite { target: mistaken, ..crate::net::invite(R) };
            net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
            assert_eq!(net.story(A).last().unwrap(), "failed Resolve");
        }
    }
}

#[test]
fn a_target_that_moves_while_it_is_looked_up_is_looked_up_anew() {
    let mut net = Net::pair();
    let a = net.call(A, R);
    net.run_for(secs(0));
    let invite = net.expect_raw(R, "INVITE");
    net.send_raw(R, A, &response_to(&invite, 200, "r1", "Contact: <sip:r@one.example>\n"));
    let moved = of_callee(&invite, "r1", "UPDATE", 1, "", "");
    let moved = moved.replace(&format!("Contact: <sip:r@{R}>"), "Contact: <sip:r@two.example>");
    net.send_raw(R, A, &moved);
    net.expect_raw(R, "200 UPDATE");
    net.resolve(A, &["10.0.0.11:5060"]);
    assert_eq!(net.phone(A).queries[0].1, "two.example");
    net.resolve(A, &["10.0.0.12:5060"]);
    assert_eq!(net.expect_raw("10.0.0.12:5060", "ACK").request_uri_str(), "sip:r@two.example");
    net.hangup(A, a);
    net.expect_raw("10.0.0.12:5060", "BYE");
}

#[test]
fn a_broken_route_is_refused_at_once() {
    let mut net = Net::pair();
    let text = format!(
        "INVITE sip:bob@{B} SIP/2.0\nVia: SIP/2.0/UDP {R};branch=z9hG4bK1\nFrom: <sip:x@y>;tag=f\nTo: <sip:bob@{B}>\n\
         Call-ID: 1\nCSeq: 1 INVITE\nContact: <sip:x@{R}>\nRecord-Route: <sip:\n\n"
    );
    net.send_raw(R, B, &text);
    assert_eq!(net.expect_raw(R, "400 INVITE").reason(), "Malformed Record-Route");
    assert!(net.story(B).is_empty());
}

#[test]
fn any_bytes_at_all_are_survived() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut net = Net::pair();
    for _ in 0..2_000 {
        let bytes: Vec<u8> = (0..below(&mut rng, 200)).map(|_| rng.next_u64() as u8).collect();
        let hop = Hop { transport: Transport::Udp, local: addr(B), remote: addr(R) };
        net.input(B, arrival(hop, bytes.into()));
    }
    net.run_until_quiet();
    assert!(net.wire.is_empty());
}
