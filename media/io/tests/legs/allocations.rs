//! No allocation per packet, sent or received, nor per tick: counted on the media thread itself.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::bridges::everyone;
use crate::support::{DEAD, LOCALHOST, Owner, Peer, config, leg_config, negotiated, prompt, rtp, wait_until};
use alloc_count::ThreadCounter;
use media_core::record::{Format, Recording, Sides, Track};
use media_core::{BridgeId, Codec, LegId, Negotiated, Prompt};
use media_io::record::{Over, RecordConfig, Recorders};
use media_io::{Command, Media, MediaConfig};

static MEDIA_THREAD: OnceLock<ThreadCounter> = OnceLock::new();

#[test]
fn packets_and_ticks_do_not_allocate() {
    assert!(alloc_count::is_installed());
    let (sender, events) = sync_channel(10_000);
    let config = MediaConfig { shards: 1, ..config(31_000..=31_499) };
    let media = Media::start(config, move |leg, event| {
        MEDIA_THREAD.get_or_init(alloc_count::thread_counter);
        sender.try_send((leg, event)).is_ok()
    });
    let mut owner = Owner { media: media.unwrap(), events };
    let peers: Vec<Peer> = (0..50).map(|_| Peer::new(LOCALHOST)).collect();
    let prompt = prompt(500);
    let mut locals = Vec::new();
    for (id, peer) in peers.iter().enumerate() {
        locals.push(owner.start_leg(id as u64, peer.address));
        owner.play(id as u64, &prompt, 0);
    }
    let total = || owner.media.stats().total();
    // Once round, so that everything has happened once: sockets connected, prompts begun.
    let send = |round: u16| {
        for (peer, local) in peers.iter().zip(&locals) {
            // Now and then a digit in the place of audio.
            let packet = match round % 10 {
                0 => rtp(101, true, round, u32::from(round) * 160, &[round as u8 % 10, 0x8a, 3, 32]),
                _ => rtp(0, false, round, u32::from(round) * 160, &[0xff; 160]),
            };
            peer.send(*local, &packet);
        }
    };
    send(1);
    wait_until("all are heard", || total().rtp_packets_received >= 50 && total().rtp_packets_sent >= 50);

    let counter = MEDIA_THREAD.get().unwrap();
    let (before, start) = (counter.counts(), total());
    for round in 2..102 {
        send(round);
        let wanted = start.rtp_packets_received + u64::from(round - 1) * 50;
        wait_until("this round is received", || total().rtp_packets_received >= wanted);
    }
    wait_until("thousands are sent", || total().rtp_packets_sent >= start.rtp_packets_sent + 5_000);
    let counts = counter.counts() - before;
    assert_eq!(counts.allocs, 0, "{} packets sent and 5,000 received", total().rtp_packets_sent);
    assert_eq!(total().panics, 0);
}

#[test]
fn relayed_packets_do_not_allocate() {
    static THREAD: OnceLock<ThreadCounter> = OnceLock::new();
    let (sender, events) = sync_channel(10_000);
    let config = MediaConfig { shards: 1, ..config(31_500..=31_999) };
    let media = Media::start(config, move |leg, event| {
        THREAD.get_or_init(alloc_count::thread_counter);
        sender.try_send((leg, event)).is_ok()
    });
    let mut owner = Owner { media: media.unwrap(), events };
    let peers: Vec<Peer> = (0..50).map(|_| Peer::new(LOCALHOST)).collect();
    let prompt = prompt(20);
    let mut locals = Vec::new();
    for (id, peer) in peers.iter().enumerate() {
        locals.push(owner.start_leg(id as u64, peer.address));
        owner.play(id as u64, &prompt, 1);
    }
    for id in 0..25 {
        owner.media.bridge(BridgeId(id), everyone([id, 49 - id])).unwrap();
    }
    // Every prompt has begun and ended.
    for _ in 0..100 {
        owner.next_media();
    }
    let total = || owner.media.stats().total();
    let send = |round: u16| {
        for (peer, local) in peers.iter().zip(&locals) {
            let packet = match round % 10 {
                0 => rtp(101, true, round, u32::from(round) * 160, &[round as u8 % 10, 0x8a, 3, 32]),
                _ => rtp(0, false, round, u32::from(round) * 160, &[0x33; 160]),
            };
            peer.send(*local, &packet);
        }
        wait_until("this round is relayed", || total().rtp_packets_relayed >= u64::from(round) * 50);
    };
    send(1);
    let counter = THREAD.get().unwrap();
    let before = counter.counts();
    (2..102).for_each(send);
    let counts = counter.counts() - before;
    assert_eq!(counts.allocs, 0, "{} packets relayed", total().rtp_packets_relayed);
    assert_eq!(total().panics, 0);
}

#[test]
fn what_is_transcoded_and_mixed_does_not_allocate() {
    static THREAD: OnceLock<ThreadCounter> = OnceLock::new();
    let (sender, events) = sync_channel(10_000);
    let config = MediaConfig { shards: 1, ..config(16_800..=16_999) };
    let media = Media::start(config, move |leg, event| {
        THREAD.get_or_init(alloc_count::thread_counter);
        sender.try_send((leg, event)).is_ok()
    });
    let mut owner = Owner { media: media.unwrap(), events };
    let peers: Vec<Peer> = (0..24).map(|_| Peer::new(LOCALHOST)).collect();
    let codec = |id: usize| Codec::ALL[id % Codec::ALL.len()];
    let payloads = Codec::ALL.map(|codec| {
        let pcm: Vec<i16> = (0..codec.sample_rate() as i16 / 50).map(|n| n % 40 * 200).collect();
        let mut payload = [0; 640];
        let octets = media_core::Encoder::new(codec).encode(&pcm, &mut payload);
        payload[..octets].to_vec()
    });
    let mut locals = Vec::new();
    for (id, peer) in peers.iter().enumerate() {
        let pt = codec(id).payload_type();
        let agreed = Negotiated { codec: codec(id), pt_send: pt, pt_recv: pt, ..negotiated(peer.address) };
        locals.push(owner.media.open(LegId(id as u64)).unwrap());
        owner.command(id as u64, Command::Start { config: leg_config(id as u64), negotiated: agreed });
        owner.play(id as u64, &Arc::new(Prompt::new(codec(id), vec![0; codec(id).octets_per_ms() * 20])), 1);
    }
    // Pairs of unlike codecs, and a conference of all kinds.
    for id in 0..9 {
        owner.media.bridge(BridgeId(id), everyone([2 * id, 2 * id + 1])).unwrap();
    }
    owner.media.bridge(BridgeId(9), everyone(18..24)).unwrap();
    // Every prompt has begun and ended.
    for _ in 0..48 {
        owner.next_media();
    }
    let total = || owner.media.stats().total();
    let round = |round: u16| {
        let mixed = total().rtp_packets_mixed;
        for (id, (peer, local)) in peers.iter().zip(&locals).enumerate() {
            let timestamp = u32::from(round) * codec(id).clock_rate() / 50;
            let packet = match round % 10 {
                0 => rtp(101, true, round, timestamp, &[round as u8 % 10, 0x8a, 3, 32]),
                // Lost, and concealed.
                5 => continue,
                _ => rtp(codec(id).payload_type(), false, round, timestamp, &payloads[id % payloads.len()]),
            };
            peer.send(*local, &packet);
        }
        wait_until("this round is mixed", || total().rtp_packets_mixed >= mixed + 24);
    };
    (1..20).for_each(round);
    let counter = THREAD.get().unwrap();
    let before = counter.counts();
    (20..120).for_each(round);
    let counts = counter.counts() - before;
    assert_eq!(counts.allocs, 0, "{} packets mixed", total().rtp_packets_mixed);
    assert_eq!((total().panics, total().rtp_packets_relayed > 100), (0, true), "keys are relayed");
}

#[test]
fn recorded_packets_do_not_allocate() {
    static THREAD: OnceLock<ThreadCounter> = OnceLock::new();
    let (sender, events) = sync_channel(10_000);
    let config = MediaConfig { shards: 1, ..config(33_000..=33_499) };
    let media = Media::start(config, move |leg, event| {
        THREAD.get_or_init(alloc_count::thread_counter);
        sender.try_send((leg, event)).is_ok()
    });
    let mut owner = Owner { media: media.unwrap(), events };
    let folder = std::env::temp_dir().join(format!("carillon-allocations-{}", std::process::id()));
    let record = RecordConfig { folder: folder.clone(), threads: 1, min_free: 0 };
    let (told, ended) = sync_channel(100);
    let (recorders, _) =
        Recorders::start(record, move |recorded| told.try_send(Arc::clone(recorded)).is_ok()).unwrap();
    let peers: Vec<Peer> = (0..50).map(|_| Peer::new(LOCALHOST)).collect();
    let prompt = prompt(500);
    let mut locals = Vec::new();
    for (id, peer) in peers.iter().enumerate() {
        locals.push(owner.start_leg(id as u64, peer.address));
        owner.play(id as u64, &prompt, 0);
        let recording = Recording { format: Format::Wav, sides: Sides::Apart, max: DEAD * 10, silence: None };
        let tape = recorders.record(format!("r{id}").into(), recording, Codec::Pcmu).unwrap();
        owner.command(id as u64, Command::Record { track: Track::Call, tape, beep: id % 2 == 0 });
    }
    let total = || owner.media.stats().total();
    let send = |round: u16| {
        for (peer, local) in peers.iter().zip(&locals) {
            peer.send(*local, &rtp(0, false, round, u32::from(round) * 160, &[0x33; 160]));
        }
        wait_until("this round is received", || total().rtp_packets_received >= u64::from(round) * 50);
    };
    send(1);
    wait_until("all have sent", || total().rtp_packets_sent >= 500);
    let counter = THREAD.get().unwrap();
    let (before, start) = (counter.counts(), total());
    (2..102).for_each(send);
    wait_until("thousands are sent", || total().rtp_packets_sent >= start.rtp_packets_sent + 5_000);
    let counts = counter.counts() - before;
    assert_eq!(counts.allocs, 0, "{} packets sent and 5,000 received", total().rtp_packets_sent);
    assert_eq!(total().panics, 0);

    // Whatever ends the leg ends its recording, and every packet time is in the file.
    for id in 0..50 {
        owner.command(id, Command::Close);
    }
    for _ in 0..50 {
        let recorded = ended.recv_timeout(DEAD).unwrap();
        assert!(matches!(recorded.over, Over::Stopped), "{recorded:?}");
        assert!(recorded.duration >= Duration::from_secs(2), "{recorded:?}");
        assert_eq!(recorded.dropped, Duration::ZERO);
        assert_eq!(recorded.size, 44 + recorded.duration.as_millis() as u64 * 32);
    }
    std::fs::remove_dir_all(folder).unwrap();
}
