//! What legs and threads leave behind: nothing.

use std::fs;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Instant;

use media_core::LegId;
use media_io::Command;

use crate::support::{DEAD, LOCALHOST, Owner, Peer, config};

/// UDP sockets of this machine that are bound to a port in the range of this test.
fn sockets() -> usize {
    let table = fs::read_to_string("/proc/net/udp").unwrap();
    let ports = table.lines().skip(1).filter_map(|line| {
        let local = line.split_whitespace().nth(1)?;
        u16::from_str_radix(local.rsplit(':').next()?, 16).ok()
    });
    ports.filter(|port| (23_000..31_000).contains(port)).count()
}

#[test]
fn thousands_of_legs_leave_nothing_behind() {
    assert_eq!(sockets(), 0, "nobody else may use this range while the test runs");
    let peer = Peer::new(LOCALHOST);
    let mut owner = Owner::start(config(23_000..=30_999));
    for wave in 0..30 {
        for id in wave * 100..(wave + 1) * 100 {
            // Every third never starts.
            if id % 3 == 0 {
                owner.media.open(LegId(id)).unwrap();
            } else {
                owner.start_leg(id, peer.address);
            }
        }
        assert_eq!(sockets(), 200);
        for id in wave * 100..(wave + 1) * 100 {
            owner.command(id, Command::Close);
        }
        for _ in 0..100 {
            owner.next_closed();
        }
    }
    assert_eq!(sockets(), 0);
    // The shard tells the end of a leg first and counts it then.
    let begun = Instant::now();
    while owner.media.stats().total().legs != 0 {
        assert!(begun.elapsed() < DEAD, "a leg is still counted");
        std::thread::yield_now();
    }

    // Legs that are still open end with the threads.
    for id in 0..100 {
        owner.start_leg(id, peer.address);
    }
    let Owner { media, events } = owner;
    drop(media);
    // Of the legs that had not been opened yet when the threads ended nothing is told.
    events.try_iter().for_each(drop);
    assert_eq!(sockets(), 0);
    // Only the threads held the sink, and with it the sending end.
    assert_eq!(events.recv_timeout(DEAD), Err(RecvTimeoutError::Disconnected));
}
