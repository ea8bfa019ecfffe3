//! Legs on real sockets against real peers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{
    DEAD, LOCALHOST, Owner, Packet, Peer, config, leg_config, negotiated, prompt, rtp, wait_until,
};
use media_core::{Codec, Collect, CollectEnd, Digit, DigitSet, LegId, MediaEvent, PlayEnd, Program, SeqNo};
use media_io::{Command, Error, LATENESS_BOUNDS_US, LegEvent, Media};

/// Checks that packets follow one another without a gap, and returns their payloads.
fn continuous(packets: &[Packet], id: u64) -> Vec<u8> {
    let mut expected = leg_config(id).first_seq;
    let mut timestamp = leg_config(id).first_timestamp.0;
    let mut audio = Vec::new();
    for packet in packets {
        assert_eq!(u64::from(packet.ssrc), id);
        assert_eq!(packet.pt, 0);
        assert_eq!(SeqNo(packet.seq), expected, "sequence of leg {id}");
        assert_eq!(packet.timestamp, timestamp, "timestamp of leg {id}");
        assert_eq!(packet.payload.len(), 160);
        expected = expected.next();
        timestamp = timestamp.wrapping_add(160);
        audio.extend_from_slice(&packet.payload);
    }
    audio
}

#[test]
fn a_hundred_legs_play_every_octet_in_order() {
    let mut owner = Owner::start(config(20_000..=20_999));
    let prompt = prompt(1_010);
    let peers: Vec<Peer> = (0..100).map(|_| Peer::new(LOCALHOST)).collect();
    for (id, peer) in peers.iter().enumerate() {
        owner.start_leg(id as u64, peer.address);
        owner.play(id as u64, &prompt, 1);
    }
    let mut ended = BTreeSet::new();
    while ended.len() < 100 {
        let (id, event) = owner.next_media();
        if event != (MediaEvent::PlayStarted { id }) {
            assert_eq!(event, MediaEvent::PlayEnded { id, reason: PlayEnd::Completed, played_ms: 1_010 });
            ended.insert(id);
        }
    }
    for id in ended {
        owner.command(id, Command::Close);
    }
    let mut sent = 0;
    for _ in 0..100 {
        let (id, stats) = owner.next_closed();
        let packets = peers[id as usize].received();
        assert_eq!(packets.len() as u64, stats.packets_sent, "leg {id}");
        let audio = continuous(&packets, id);
        // The program may have come a frame or two after the start: silence stands before it, and after it.
        let start = audio.iter().position(|octet| *octet != 0xff).unwrap();
        assert_eq!(start % 160, 0);
        let payload = prompt.encoded(Codec::Pcmu).unwrap().payload();
        assert_eq!(&audio[start..start + payload.len()], payload, "leg {id}");
        assert!(audio[start + payload.len()..].iter().all(|octet| *octet == 0xff));
        sent += stats.packets_sent;
    }
    let total = owner.media.stats().total();
    assert_eq!((total.rtp_packets_sent, total.lateness.packets()), (sent, sent));
    assert_eq!((total.legs, total.panics, total.send_other, total.send_would_block), (0, 0, 0, 0));
}

#[test]
fn digits_come_out_as_events_and_end_a_collect() {
    let mut owner = Owner::start(config(21_000..=21_199));
    let peer = Peer::new(LOCALHOST);
    let local = owner.start_leg(7, peer.address);
    let collect = Collect {
        id: 9,
        min: 1,
        max: 2,
        terminators: DigitSet::default(),
        timeout_ms: 20_000,
        inter_digit_ms: 20_000,
    };
    owner.command(7, Command::Run(Program { play: None, collect: Some(collect) }));
    peer.receive();
    for (n, event) in [(0u16, 4u8), (1, 2)] {
        let start = 8_000 + u32::from(n) * 1_600;
        peer.send(local, &rtp(101, true, 100 + n * 10, start, &[event, 10, 1, 64]));
        for repeat in 1..=3 {
            peer.send(local, &rtp(101, false, 100 + n * 10 + repeat, start, &[event, 0x8a, 3, 32]));
        }
    }
    let digit = |digit: char| {
        (
            7,
            MediaEvent::Digit {
                digit: Digit::from_char(digit).unwrap(),
                duration_ms: 100,
                method: media_core::dtmf::Method::Events,
            },
        )
    };
    assert_eq!(owner.next_media(), digit('4'));
    assert_eq!(owner.next_media(), digit('2'));
    let (_, MediaEvent::CollectEnded { id: 9, digits, reason: CollectEnd::Max }) = owner.next_media() else {
        panic!("no end of the collect")
    };
    assert_eq!(digits.to_string(), "42");
}

#[test]
fn the_peer_is_followed_to_the_port_it_sends_from() {
    let mut owner = Owner::start(config(21_200..=21_399));
    let (signalled, behind_nat) = (Peer::new(LOCALHOST), Peer::new(LOCALHOST));
    let local = owner.start_leg(1, signalled.address);
    assert_eq!(signalled.receive().from, local);
    let speak = |peer: &Peer, seq: u16| {
        peer.send(local, &rtp(0, false, seq, u32::from(seq) * 160, &[0xff; 160]));
    };
    (1..=3).for_each(|seq| speak(&behind_nat, seq));
    assert_eq!(behind_nat.receive().from, local);
    // Where it said it is, it is at once. The socket is connected then: the kernel keeps everybody else out.
    speak(&signalled, 4);
    assert_eq!(signalled.receive_next().from, local);
    let received = |owner: &Owner| owner.media.stats().total().rtp_packets_received;
    (5..10).for_each(|seq| speak(&behind_nat, seq));
    speak(&signalled, 5);
    wait_until("the fifth packet", || received(&owner) == 5);
    owner.command(1, Command::Close);
    let (_, stats) = owner.next_closed();
    assert_eq!((stats.packets_received, stats.packets_lost, stats.packets_stranger), (3, 0, 2));
}

#[test]
fn a_peer_whose_nat_gives_it_another_port_is_found_again() {
    let mut owner = Owner::start(config(19_000..=19_099));
    let (before, after) = (Peer::new(LOCALHOST), Peer::new(LOCALHOST));
    let local = owner.start_leg(1, before.address);
    before.receive();
    before.send(local, &rtp(0, false, 1, 160, &[0xff; 160]));
    wait_until("the first packet", || owner.media.stats().total().rtp_packets_received == 1);
    before.receive_next();
    // As a phone does: it sends all the time, and hears nothing until the leg has noticed.
    after.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut seq = 2;
    wait_until("audio at the new port", || {
        after.send(local, &rtp(0, false, seq, u32::from(seq) * 160, &[0xff; 160]));
        seq += 1;
        after.socket.recv_from(&mut [0; 2048]).is_ok()
    });
    owner.command(1, Command::Close);
    let (_, stats) = owner.next_closed();
    assert!(stats.packets_received >= 2 && stats.packets_stranger == 2, "{stats:?}");
}

#[test]
fn a_peer_that_rings_for_long_is_heard_from_whatever_port() {
    let mut owner = Owner::start(config(19_200..=19_299));
    let (signalled, behind_nat) = (Peer::new(LOCALHOST), Peer::new(LOCALHOST));
    let local = owner.start_leg(1, signalled.address);
    // Media begins with the 183. This is more than five seconds of ringing, in which nothing comes.
    (0..270).for_each(|_| drop(signalled.receive()));
    (1..=3).for_each(|seq| behind_nat.send(local, &rtp(0, false, seq, u32::from(seq) * 160, &[0xff; 160])));
    assert_eq!(behind_nat.receive().from, local);
}

#[test]
fn what_is_not_the_peers_does_not_keep_the_peer_out() {
    let mut owner = Owner::start(config(19_300..=19_399));
    let (signalled, behind_nat) = (Peer::new(LOCALHOST), Peer::new(LOCALHOST));
    let local = owner.start_leg(1, signalled.address);
    signalled.receive();
    let received = |owner: &Owner| owner.media.stats().total().rtp_packets_received;
    signalled.send(local, b"no RTP at all");
    wait_until("the rubbish", || received(&owner) == 1);
    (1..=3).for_each(|seq| behind_nat.send(local, &rtp(0, false, seq, u32::from(seq) * 160, &[0xff; 160])));
    assert_eq!(behind_nat.receive().from, local);
}

#[test]
fn the_next_leg_on_a_port_does_not_hear_the_last_ones_peer() {
    // Two pairs, so that the third leg comes to a port of before.
    let mut owner = Owner::start(config(19_100..=19_103));
    let (last, next) = (Peer::new(LOCALHOST), Peer::new("127.0.0.2".parse().unwrap()));
    let mut seq: u16 = 0;
    let mut speak = |to| {
        last.send(to, &rtp(0, false, seq, u32::from(seq) * 160, &[0xff; 160]));
        seq = seq.wrapping_add(1);
    };
    let used = [1, 2].map(|id| owner.start_leg(id, last.address));
    for id in [1, 2] {
        owner.command(id, Command::Close);
        owner.next_closed();
    }
    // It has not got the BYE yet, and goes on.
    let mut local = None;
    wait_until("a port that has rested", || {
        used.iter().for_each(|address| speak(*address));
        local = owner.media.open(LegId(3)).ok();
        local.is_some()
    });
    let local = local.unwrap();
    assert!(used.contains(&local));
    owner.command(3, Command::Start { config: leg_config(3), negotiated: negotiated(next.address) });
    next.receive();
    (0..10).for_each(|_| speak(local));
    next.send(local, &rtp(0, false, 1, 160, &[0xff; 160]));
    wait_until("the packets", || owner.media.stats().total().rtp_packets_received >= 11);
    assert_eq!(next.receive().from, local, "and it is not drawn away");
    owner.command(3, Command::Close);
    let (_, stats) = owner.next_closed();
    assert_eq!((stats.packets_received, stats.packets_stranger), (1, 10));
}

#[test]
fn a_new_answer_moves_the_stream_without_a_break() {
    let mut owner = Owner::start(config(21_400..=21_599));
    let (first, second) = (Peer::new(LOCALHOST), Peer::new(LOCALHOST));
    let local = owner.start_leg(1, first.address);
    // What comes before the leg has started is not counted.
    let mut last = first.receive();
    first.send(local, &rtp(0, false, 1, 160, &[0xff; 160]));
    wait_until("a packet", || owner.media.stats().total().rtp_packets_received == 1);
    owner.command(1, Command::Start { config: leg_config(99), negotiated: negotiated(second.address) });
    let moved = second.receive();
    while last.seq.wrapping_add(1) != moved.seq {
        last = first.receive();
    }
    // The new peer is heard as well.
    second.send(local, &rtp(0, false, 1, 160, &[0xff; 160]));
    wait_until("a packet", || owner.media.stats().total().rtp_packets_received == 2);
    owner.command(1, Command::Close);
    assert_eq!(owner.next_closed().1.packets_received, 2);
}

#[test]
fn ipv6_works() {
    let ip = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let mut owner = Owner::start(media_io::MediaConfig { ip, ..config(21_600..=21_799) });
    let peer = Peer::new(ip);
    let local = owner.start_leg(1, peer.address);
    assert!(local.is_ipv6() && local.port().is_multiple_of(2));
    assert_eq!(peer.receive().from, local);
    peer.send(local, &rtp(0, false, 1, 160, &[0xff; 160]));
    wait_until("a packet", || owner.media.stats().total().rtp_packets_received == 1);
    assert_eq!(owner.media.stats().sockets_unmarked, 0);
}

#[test]
fn a_closed_port_at_the_peer_is_counted_and_costs_no_packet_of_another_leg() {
    let mut owner = Owner::start(config(21_800..=21_999));
    // Not where another test's peer may get its port.
    let gone = Peer::new("127.0.0.3".parse().unwrap());
    let local = owner.start_leg(1, gone.address);
    // What comes before media has begun is not heard.
    gone.receive();
    gone.send(local, &rtp(0, false, 1, 160, &[0xff; 160]));
    wait_until("a packet", || owner.media.stats().total().rtp_packets_received == 1);
    drop(gone);
    wait_until("a refusal", || {
        let total = owner.media.stats().total();
        total.send_refused + total.receive_errors > 2
    });
    owner.command(1, Command::Close);
    assert_eq!(owner.next_closed().0, 1);
}

#[test]
fn running_out_of_ports_says_so_and_ports_come_back() {
    let mut owner = Owner::start(config(22_000..=22_003));
    for id in 0..2 {
        owner.media.open(LegId(id)).unwrap();
    }
    let error = owner.media.open(LegId(2)).unwrap_err();
    assert!(matches!(error, Error::NoPorts { pairs: 2, resting: 0, .. }));
    assert!(error.to_string().starts_with("no free media ports: none of the 2 pairs in 22000-22003 is free"));
    assert!(matches!(owner.media.open(LegId(1)), Err(Error::AlreadyOpen(LegId(1)))));
    owner.command(1, Command::Close);
    assert_eq!(owner.next_closed().0, 1);
    assert!(matches!(owner.media.command(LegId(1), Command::Close), Err(Error::NotOpen(LegId(1)))));
    let start = Instant::now();
    while let Err(error) = owner.media.open(LegId(3)) {
        assert!(matches!(error, Error::NoPorts { .. }));
        assert!(start.elapsed() < DEAD);
    }
}

#[test]
fn ports_taken_by_others_are_passed_over() {
    let mut owner = Owner::start(config(22_100..=22_105));
    let _taken = std::net::UdpSocket::bind((LOCALHOST, 22_103)).unwrap();
    let mut ports: Vec<u16> = (0..2).map(|id| owner.media.open(LegId(id)).unwrap().port()).collect();
    ports.sort();
    assert_eq!(ports, [22_100, 22_104]);
    assert!(owner.media.open(LegId(3)).is_err());
}

#[test]
fn the_number_of_legs_is_limited() {
    let mut owner = Owner::start(media_io::MediaConfig { max_legs: 3, ..config(22_200..=22_299) });
    for id in 0..3 {
        owner.media.open(LegId(id)).unwrap();
    }
    assert!(matches!(owner.media.open(LegId(3)), Err(Error::TooManyLegs { max_legs: 3 })));
}

#[test]
fn an_address_that_is_not_ours_is_refused_at_the_start() {
    let config = media_io::MediaConfig { ip: "192.0.2.1".parse().unwrap(), ..config(22_300..=22_399) };
    assert!(Media::start(config, |_, _| true).is_err());
}

#[test]
fn a_sink_without_room_gets_every_event_later_and_in_order() {
    let mut owner = Owner::with_room(config(22_400..=22_499), 1);
    let peer = Peer::new(LOCALHOST);
    for id in 0..20 {
        owner.start_leg(id, peer.address);
        owner.play(id, &prompt(40), 1);
    }
    wait_until("all have ended", || owner.media.stats().total().events_deferred >= 19);
    for id in 0..20 {
        owner.command(id, Command::Close);
    }
    let mut events: BTreeMap<u64, Vec<LegEvent>> = BTreeMap::new();
    while events
        .values()
        .map(|events| events.iter().filter(|e| matches!(e, LegEvent::Closed(_))).count())
        .sum::<usize>()
        < 20
    {
        let (id, event) = owner.next();
        events.entry(id).or_default().push(event);
    }
    for (id, events) in events {
        // Which of completion and hang-up came first is a race; that each comes once, and in order, is not.
        assert!(matches!(events[0], LegEvent::Media(MediaEvent::PlayStarted { .. })), "leg {id}: {events:?}");
        assert!(matches!(events[1], LegEvent::Media(MediaEvent::PlayEnded { .. })), "leg {id}: {events:?}");
        assert!(matches!(events[2], LegEvent::Closed(_)), "leg {id}: {events:?}");
        assert_eq!(events.len(), 3);
    }
}

#[test]
fn a_panic_ends_one_leg_only() {
    let (sender, events) = channel();
    let sender = Mutex::new(sender);
    let config = media_io::MediaConfig { shards: 1, ..config(22_500..=22_599) };
    let media = Media::start(config, move |leg, event| {
        if leg == LegId(1) && matches!(event, LegEvent::Media(MediaEvent::PlayStarted { .. })) {
            panic!("as the test wants it");
        }
        sender.lock().is_ok_and(|sender| sender.send((leg, event)).is_ok())
    });
    let peer = Peer::new(LOCALHOST);
    let (_unused, nothing) = sync_channel(1);
    let mut owner = Owner { media: media.unwrap(), events: nothing };
    for id in [1, 2] {
        owner.start_leg(id, peer.address);
        owner.play(id, &prompt(200), 1);
    }
    owner.events = {
        let (forward, receiver) = sync_channel(100);
        std::thread::spawn(move || events.into_iter().try_for_each(|event| forward.send(event).ok()));
        receiver
    };
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(owner.next());
    }
    assert!(seen.iter().any(|(id, event)| *id == 1 && matches!(event, LegEvent::Closed(_))), "{seen:?}");
    let completed = |event: &LegEvent| {
        matches!(event, LegEvent::Media(MediaEvent::PlayEnded { reason: PlayEnd::Completed, .. }))
    };
    assert!(seen.iter().any(|(id, event)| *id == 2 && completed(event)), "{seen:?}");
    let total = owner.media.stats().total();
    assert_eq!((total.panics, total.legs), (1, 1));
    // Its id and its place are free again.
    owner.media.open(LegId(3)).unwrap();
    owner.start_leg(1, peer.address);
}

/// A sink that holds its thread from the first event on until it is let go.
fn held(port_range: std::ops::RangeInclusive<u16>) -> (Owner, Arc<AtomicBool>, Arc<AtomicBool>) {
    let (holding, hold) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
    let (sender, events) = sync_channel(10_000);
    let (held, held_now) = (Arc::clone(&hold), Arc::clone(&holding));
    let config = media_io::MediaConfig { shards: 1, max_legs: 50, ..config(port_range) };
    let media = Media::start(config, move |leg, event| {
        held_now.store(true, Ordering::SeqCst);
        while held.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        sender.try_send((leg, event)).is_ok()
    });
    (Owner { media: media.unwrap(), events }, holding, hold)
}

#[test]
fn a_close_gets_through_when_nothing_else_does() {
    let (mut owner, holding, hold) = held(22_600..=22_799);
    let peer = Peer::new(LOCALHOST);
    for id in 0..50 {
        owner.start_leg(id, peer.address);
    }
    owner.play(0, &prompt(20), 1);
    wait_until("the thread is held", || holding.load(Ordering::SeqCst));
    let busy = (0..10_000).find_map(|_| owner.media.command(LegId(1), Command::StopPlay).err());
    assert!(matches!(busy, Some(Error::Busy { shard: 0 })), "{busy:?}");
    for id in 0..50 {
        owner.command(id, Command::Close);
    }
    hold.store(false, Ordering::SeqCst);
    let mut closed: Vec<u64> = (0..50).map(|_| owner.next_closed().0).collect();
    closed.sort();
    assert_eq!(closed, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_thread_that_was_held_too_long_goes_on_without_a_burst_or_a_gap() {
    let (mut owner, holding, hold) = held(22_800..=22_899);
    let peer = Peer::new(LOCALHOST);
    owner.start_leg(3, peer.address);
    let prompt = prompt(2_000);
    owner.play(3, &prompt, 1);
    wait_until("the thread is held", || holding.load(Ordering::SeqCst));
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        std::thread::yield_now();
    }
    let before = peer.received().len();
    hold.store(false, Ordering::SeqCst);
    wait_until("the wheel has been stopped", || owner.media.stats().total().skipped_ms > 0);
    peer.socket.set_nonblocking(false).unwrap();
    let after: Vec<Packet> = (0..20).map(|_| peer.receive()).collect();
    assert!(before < 10);
    assert!(after.windows(2).all(|pair| pair[1].seq == pair[0].seq.wrapping_add(1)));
    assert!(after.windows(2).all(|pair| pair[1].timestamp == pair[0].timestamp.wrapping_add(160)));
    let total = owner.media.stats().total();
    assert!(total.skipped_ms >= 300, "{total:?}");
    // 400 ms beyond the bound would be 20 packets in a burst; one is sent, and the wheel goes on from there.
    assert!(total.lateness.counts[LATENESS_BOUNDS_US.len()] < 5, "{total:?}");
}
