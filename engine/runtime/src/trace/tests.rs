//! What is kept, what goes first, and what leaves.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::*;

fn captured(call: &str, start: &str, n: u64) -> Captured {
    let text = format!(
        "{start}\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK{n}\r\ni : {call}\r\nCSeq: {n} INVITE\r\nFrom: <sip:a>;tag=1\r\n\
         To: <sip:b>\r\nContent-Length: 0\r\n\r\n"
    );
    Captured {
        at_us: 1_700_000_000_000_000 + n,
        sent: n.is_multiple_of(2),
        transport: Transport::Udp,
        local: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 5060)),
        remote: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 2), 5070)),
        bytes: text.into(),
    }
}

fn id(call: &str) -> CallId {
    CallId::new(call).unwrap()
}

fn trace(per_call: usize, total_bytes: usize) -> Trace {
    Trace::new(&TraceConfig { per_call, total_bytes, hep: None })
}

const INVITE: &str = "INVITE sip:b SIP/2.0";
const OK: &str = "SIP/2.0 200 OK";

#[test]
fn a_call_has_its_last_messages_and_tells_how_many_it_has_not() {
    let mut trace = trace(3, 1 << 20);
    trace.belongs("sip-1", &id("c"));
    for n in 0..5 {
        trace.capture(captured("sip-1", if n == 0 { INVITE } else { OK }, n));
    }
    let kept = trace.of(&id("c")).unwrap();
    assert_eq!(kept.messages.iter().map(|m| m.at_us % 10).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(kept.left_out, 2);
    assert!(trace.of(&id("other")).is_none());
}

#[test]
fn an_inbound_call_has_the_invite_that_came_before_it_was_one() {
    let mut trace = trace(8, 1 << 20);
    trace.capture(captured("sip-1", INVITE, 1));
    trace.capture(captured("sip-1", "SIP/2.0 100 Trying", 2));
    trace.belongs("sip-1", &id("c"));
    assert_eq!(trace.of(&id("c")).unwrap().messages.len(), 2);
}

#[test]
fn a_call_id_that_is_used_again_leaves_nothing_of_the_call_before() {
    let mut trace = trace(8, 1 << 20);
    for n in 0..100 {
        let call = id(&format!("c{n}"));
        trace.capture(captured("same", INVITE, n));
        trace.belongs("same", &call);
        trace.ended(&call);
    }
    assert_eq!((trace.calls.len(), trace.dialogs.len()), (1, 1));
    assert!(trace.of(&id("c98")).is_none() && trace.of(&id("c99")).is_some());
}

#[test]
fn what_is_of_no_call_is_not_kept() {
    let mut trace = trace(8, 1 << 20);
    trace.capture(captured("sip-1", "REGISTER sip:b SIP/2.0", 1));
    trace.capture(captured("sip-1", OK, 2));
    assert_eq!((trace.dialogs.len(), trace.bytes), (0, 0));
}

#[test]
fn all_dialogs_of_a_call_stand_together_in_order_of_time() {
    let mut trace = trace(8, 1 << 20);
    for (dialog, n) in [("second", 2), ("first", 1)] {
        trace.belongs(dialog, &id("c"));
        trace.capture(captured(dialog, INVITE, n));
    }
    trace.capture(captured("first", OK, 3));
    let ladder = ladder(&id("c"), trace.of(&id("c")).unwrap());
    let told: Vec<_> = ladder.messages.iter().map(|m| (m.sip_call_id.as_str(), m.summary.as_str())).collect();
    assert_eq!(told, [("first", "INVITE sip:b"), ("second", "INVITE sip:b"), ("first", "200 OK")]);
    let message = &ladder.messages[1];
    assert_eq!((message.from.as_str(), message.to.as_str()), ("192.0.2.1:5060", "192.0.2.2:5070"));
    assert_eq!(message.cseq.as_deref(), Some("2 INVITE"));
}

#[test]
fn strangers_make_room_before_ended_calls_and_those_before_live_ones() {
    let mut trace = trace(8, 40_000);
    for call in ["live", "ended"] {
        trace.belongs(call, &id(call));
        trace.capture(captured(call, INVITE, 1));
    }
    trace.ended(&id("ended"));
    // A flood of INVITEs that become no calls takes nothing from those that are.
    for n in 0..10_000 {
        trace.capture(captured(&format!("stranger-{n}"), INVITE, n));
        assert!(trace.bytes <= 40_000);
    }
    assert!(trace.of(&id("live")).is_some() && trace.of(&id("ended")).is_some());
    // Live calls take it from those that ended, and at last from those that began first.
    for n in 0..10_000 {
        let call = format!("call-{n}");
        trace.belongs(&call, &id(&call));
        trace.capture(captured(&call, INVITE, n));
        assert!(trace.bytes <= 40_000);
        assert_eq!(
            (trace.dialogs.len(), trace.calls.len() <= trace.dialogs.len()),
            (trace.order.len(), true)
        );
    }
    assert!(trace.of(&id("ended")).is_none() && trace.of(&id("live")).is_none());
    assert!(trace.of(&id("call-9999")).is_some());
    let sum: usize = trace
        .dialogs
        .iter()
        .map(|(key, d)| DIALOG_COST + key.len() + d.messages.iter().map(Captured::cost).sum::<usize>())
        .sum();
    assert_eq!(sum, trace.bytes, "what is counted is what is there");
}

/// Reads HEP version 3 as its specification has it: chunks by type.
fn read_hep(packet: &[u8]) -> BTreeMap<u16, Vec<u8>> {
    let half = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    assert_eq!((&packet[..4], usize::from(half(4))), (&b"HEP3"[..], packet.len()));
    let (mut chunks, mut at) = (BTreeMap::new(), 6);
    while at < packet.len() {
        let (vendor, kind, length) = (half(at), half(at + 2), usize::from(half(at + 4)));
        assert_eq!(vendor, 0);
        assert!(chunks.insert(kind, packet[at + 6..at + length].to_vec()).is_none(), "chunk {kind} twice");
        at += length;
    }
    assert_eq!(at, packet.len());
    chunks
}

#[test]
fn a_copy_says_who_sent_what_to_whom_and_when() {
    let config = HepConfig { server: "h:1".into(), id: 2001, password: Some(HepSecret("pass".into())) };
    let mut message = captured("sip-1", INVITE, 1);
    message.bytes = "INVITE sip:b SIP/2.0\r\nAuthorization: Digest response=\"ab\"\r\n\r\n".into();
    let chunks = read_hep(&hep::packet(&config, &message).unwrap());
    let wanted: [(u16, &[u8]); 12] = [
        (1, &[2]),
        (2, &[17]),
        (3, &[192, 0, 2, 2]),
        (4, &[192, 0, 2, 1]),
        (7, &5070_u16.to_be_bytes()),
        (8, &5060_u16.to_be_bytes()),
        (9, &1_700_000_000_u32.to_be_bytes()),
        (10, &1_u32.to_be_bytes()),
        (11, &[1]),
        (12, &2001_u32.to_be_bytes()),
        (14, b"pass"),
        (15, b"INVITE sip:b SIP/2.0\r\nAuthorization: Digest response=\"**\"\r\n\r\n"),
    ];
    assert_eq!(chunks, wanted.map(|(kind, value)| (kind, value.to_vec())).into());

    let v6 = |port| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], port));
    let config = HepConfig { password: None, ..config };
    let message = Captured { transport: Transport::Tls, local: v6(5061), remote: v6(6000), ..message };
    let chunks = read_hep(&hep::packet(&config, &message).unwrap());
    assert_eq!((&chunks[&1][..], &chunks[&2][..], chunks[&5].len()), (&[10][..], &[6][..], 16));
    assert!(!chunks.contains_key(&14) && !chunks.contains_key(&3));
    assert!(!format!("{:?}", HepSecret("pass".into())).contains("pass"));

    let long = Captured { bytes: vec![b'x'; 65_535].into(), ..message };
    assert!(hep::packet(&config, &long).is_none());
}

#[tokio::test]
async fn copies_reach_the_server_and_what_has_no_server_is_counted() {
    let server = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let start = |server: String| Hep::start(HepConfig { server, id: 1, password: None });
    let hep = start(server.local_addr().unwrap().to_string());
    hep.offer(captured("sip-1", INVITE, 1));
    let mut buffer = [0; 2_000];
    let dead = std::time::Duration::from_secs(20);
    let length = tokio::time::timeout(dead, server.recv(&mut buffer)).await.unwrap().unwrap();
    assert!(read_hep(&buffer[..length])[&15].starts_with(b"INVITE"));

    let nobody = start("nobody.invalid:9060".into());
    nobody.offer(captured("sip-1", INVITE, 1));
    let dropped = async {
        while nobody.counts() != (HepCounts { sent: 0, dropped: 1 }) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(dead, dropped).await.unwrap();
}

#[test]
fn a_long_message_of_a_stream_is_cut_into_segments_that_follow_each_other() {
    let long = Captured {
        transport: Transport::Tcp,
        bytes: Bytes::from(vec![b'x'; 70_001]),
        ..captured("sip-1", INVITE, 2)
    };
    let file = pcap(&Kept { messages: vec![long], left_out: 0 });
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(20)), (0xa1b2_c3d4, 101));
    let (mut at, mut next, mut bytes) = (24, 1_u32, 0);
    while at < file.len() {
        let length = word(at + 8) as usize;
        assert_eq!(length, word(at + 12) as usize);
        let packet = &file[at + 16..at + 16 + length];
        let sequence = u32::from_be_bytes(packet[24..28].try_into().unwrap());
        assert_eq!(sequence, next);
        next += (length - 40) as u32;
        bytes += length - 40;
        at += 16 + length;
    }
    assert_eq!(bytes, 70_001);
}
