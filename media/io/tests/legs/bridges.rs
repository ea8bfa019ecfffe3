//! Legs that are bridged: on one thread, or brought to one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use crate::support::{
    DEAD, LOCALHOST, Owner, Packet, Peer, config, leg_config, negotiated, prompt, rtp, wait_until,
};
use media_core::{
    BridgeId, Codec, Decoder, Encoder, Keys, LegId, MediaEvent, Member, MemberSet, Negotiated, Prompt, Ptime,
};
use media_io::{BridgeConfig, Command, Error, LegEvent, MediaConfig, cost};

/// All hear each other.
pub(crate) fn everyone(legs: impl IntoIterator<Item = u64>) -> BridgeConfig {
    let legs: Vec<u64> = legs.into_iter().collect();
    let all: MemberSet = (0..legs.len()).collect();
    let hears = |own: usize| all.iter().filter(|place| *place != own).collect();
    let members = legs.iter().enumerate().map(|(n, leg)| Member { leg: LegId(*leg), hears: hears(n) });
    BridgeConfig { members: members.collect(), keys: Keys::Relayed }
}

/// Peers with their legs.
struct Party {
    owner: Owner,
    peers: Vec<Peer>,
    locals: Vec<std::net::SocketAddr>,
}

impl Party {
    fn new(config: MediaConfig, legs: u64) -> Party {
        let mut owner = Owner::start(config);
        let peers: Vec<Peer> = (0..legs).map(|_| Peer::new(LOCALHOST)).collect();
        let locals =
            peers.iter().enumerate().map(|(id, peer)| owner.start_leg(id as u64, peer.address)).collect();
        Party { owner, peers, locals }
    }

    fn bridge(&mut self, id: u64, legs: impl IntoIterator<Item = u64>) {
        let legs: Vec<u64> = legs.into_iter().collect();
        self.owner.media.bridge(BridgeId(id), everyone(legs.iter().copied())).unwrap();
        self.settle(legs[0]);
    }

    /// Waits until the thread of a leg has obeyed all that it was told.
    fn settle(&mut self, leg: u64) {
        let nothing = Arc::new(Prompt::new(Codec::Pcmu, Vec::new()));
        self.owner.play(leg, &nothing, 1);
        while self.owner.next() != (leg, LegEvent::Media(MediaEvent::PlayStarted { id: leg })) {}
        while !matches!(self.owner.next(), (id, LegEvent::Media(MediaEvent::PlayEnded { .. })) if id == leg) {
        }
    }

    /// One packet of speech that tells who spoke, and when.
    fn speak(&self, who: usize, round: u16) {
        let packet = rtp(0, false, round, u32::from(round) * 160, &spoken(who, round));
        self.peers[who].send(self.locals[who], &packet);
    }

    /// Packets of speech that `who` has heard until now.
    fn heard(&self, who: usize) -> Vec<Packet> {
        self.peers[who].received().into_iter().filter(|packet| packet.payload[0] != 0xff).collect()
    }
}

fn spoken(who: usize, round: u16) -> Vec<u8> {
    let mut payload = vec![0x11; 160];
    payload[0] = who as u8;
    payload[1..3].copy_from_slice(&round.to_be_bytes());
    payload
}

/// Checks one leg's stream over a change of voice: the numbers go on.
fn in_sequence(packets: &[Packet], id: u64) {
    let mut seq = leg_config(id).first_seq;
    for packet in packets {
        assert_eq!(u64::from(packet.ssrc), id);
        assert_eq!(packet.seq, seq.0, "sequence of leg {id}");
        seq = seq.next();
    }
    let ahead = |pair: &[Packet]| pair[1].timestamp.wrapping_sub(pair[0].timestamp);
    for pair in packets.windows(2) {
        assert!((1..80_000).contains(&ahead(pair)), "timestamps of leg {id}: {}", ahead(pair));
    }
}

#[test]
fn a_hundred_pairs_hear_each_other_whole_and_in_order() {
    let mut party = Party::new(config(12_000..=12_999), 200);
    // Far enough apart in their opening that many pairs lie on two threads.
    for pair in 0..100 {
        party.bridge(pair, [pair, 199 - pair]);
    }
    let total = || party.owner.media.stats().total();
    for round in 0..50 {
        for who in 0..200 {
            party.speak(who, round);
        }
        wait_until("all is relayed", || total().rtp_packets_relayed >= 200 * (u64::from(round) + 1));
    }
    for who in 0..200 {
        let packets = party.peers[who].received();
        in_sequence(&packets, who as u64);
        let heard: Vec<&Packet> = packets.iter().filter(|packet| packet.payload[0] != 0xff).collect();
        assert_eq!(heard.len(), 50);
        for (round, packet) in heard.iter().enumerate() {
            assert_eq!(packet.payload, spoken(199 - who, round as u16));
        }
    }
    let total = total();
    assert_eq!((total.rtp_packets_relayed, total.panics, total.legs), (10_000, 0, 200));
    assert!(total.legs_moved > 0, "some pairs lay on two threads");
}

#[test]
fn nothing_is_lost_while_a_leg_moves() {
    let mut party = Party::new(config(13_000..=13_199), 2);
    wait_until("both run", || party.owner.media.stats().total().rtp_packets_sent > 2);
    let mut round = 0;
    let mut said = 0;
    let mut moved = 0;
    // A third leg draws one of them to and fro.
    let third = Peer::new(LOCALHOST);
    for turn in 0..20 {
        for _ in 0..5 {
            party.speak(0, round);
            party.speak(1, round);
            round += 1;
        }
        party.bridge(turn, [0, 1]);
        said += 5;
        let extra = 10 + turn;
        party.owner.start_leg(extra, third.address);
        for _ in 0..5 {
            party.speak(0, round);
            party.speak(1, round);
            round += 1;
        }
        said += 5;
        let received = |party: &Party| party.owner.media.stats().total().rtp_packets_received;
        wait_until("all is received", || received(&party) >= said * 2);
        party.owner.media.unbridge(BridgeId(turn)).unwrap();
        party.bridge(100 + turn, [1, extra]);
        party.owner.media.unbridge(BridgeId(100 + turn)).unwrap();
        party.owner.command(extra, Command::Close);
        moved = party.owner.media.stats().total().legs_moved;
    }
    assert!(moved > 0);
    for id in [0, 1] {
        party.owner.command(id, Command::Close);
    }
    let mut stats = Vec::new();
    while stats.len() < 2 {
        let (id, closed) = party.owner.next_closed();
        if id < 2 {
            stats.push((closed.packets_received, closed.packets_lost));
        }
    }
    assert_eq!(stats, [(said, 0), (said, 0)], "what came during a move waited in the socket");
    in_sequence(&party.peers[0].received(), 0);
    in_sequence(&party.peers[1].received(), 1);
}

#[test]
fn whoever_leaves_is_heard_no_more_nor_is_who_gets_his_place() {
    let mut party = Party::new(MediaConfig { shards: 1, max_legs: 3, ..config(13_200..=13_399) }, 3);
    party.bridge(1, [0, 1]);
    party.speak(0, 0);
    wait_until("it is relayed", || party.owner.media.stats().total().rtp_packets_relayed == 1);
    // The bridge still names leg 1 when another leg takes its slot.
    party.owner.command(1, Command::Close);
    assert_eq!(party.owner.next_closed().0, 1);
    let stranger = Peer::new(LOCALHOST);
    let begun = Instant::now();
    while let Err(error) = party.owner.media.open(LegId(9)) {
        assert!(matches!(error, Error::TooManyLegs { .. }) && begun.elapsed() < DEAD);
    }
    let start = Command::Start { config: leg_config(9), negotiated: negotiated(stranger.address) };
    party.owner.command(9, start);
    party.speak(0, 1);
    party.bridge(1, [0, 2]);
    party.speak(0, 2);
    wait_until("it is relayed", || party.owner.media.stats().total().rtp_packets_relayed == 2);
    for _ in 0..5 {
        assert_eq!(stranger.receive().payload, [0xff; 160]);
    }
    assert_eq!(party.heard(2).len(), 1);
}

#[test]
fn rubbish_and_strangers_are_not_relayed() {
    let mut party = Party::new(config(13_400..=13_599), 2);
    party.bridge(1, [0, 1]);
    let stranger = Peer::new("127.0.0.2".parse().unwrap());
    let to = party.locals[0];
    stranger.send(to, &rtp(0, false, 1, 1, &[1; 160]));
    for rubbish in [&[][..], &[0x80], &[0x80; 11], &[0xff; 400], &[0x9f, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]] {
        party.peers[0].send(to, rubbish);
    }
    // Comfort noise and an unknown payload type are nobody's audio, and a packet may be as long as it likes.
    party.peers[0].send(to, &rtp(13, false, 1, 1, &[0x50]));
    party.peers[0].send(to, &rtp(96, false, 2, 1, &[0x50; 160]));
    party.peers[0].send(to, &rtp(0, false, 3, 1, &[7; 1_400]));
    party.peers[0].send(to, &rtp(0, false, 4, 1, &[]));
    party.speak(0, 5);
    wait_until("the good ones are relayed", || party.owner.media.stats().total().rtp_packets_relayed == 3);
    let total = party.owner.media.stats().total();
    assert_eq!((total.panics, total.rtp_packets_relayed), (0, 3));
}

#[test]
fn a_codec_of_another_kind_is_not_passed_through() {
    let mut party = Party::new(config(13_600..=13_799), 2);
    party.bridge(1, [0, 1]);
    let other =
        Negotiated { codec: Codec::Pcma, pt_send: 8, pt_recv: 8, ..negotiated(party.peers[1].address) };
    party.owner.command(1, Command::Start { config: leg_config(1), negotiated: other });
    party.settle(1);
    party.speak(0, 1);
    wait_until("it came", || party.owner.media.stats().total().rtp_packets_received == 1);
    party.settle(1);
    assert_eq!(party.owner.media.stats().total().rtp_packets_relayed, 0);
    let again = negotiated(party.peers[1].address);
    party.owner.command(1, Command::Start { config: leg_config(1), negotiated: again });
    party.settle(1);
    party.speak(0, 2);
    wait_until("it is relayed", || party.owner.media.stats().total().rtp_packets_relayed == 1);
    party.settle(1);
    // In between it was transcoded, so that of the first packet something may have been heard, but never as it came.
    let whole = |packet: &&Packet| packet.pt == 0 && [1, 2].map(|n| spoken(0, n)).contains(&packet.payload);
    let whole: Vec<Vec<u8>> =
        party.peers[1].received().iter().filter(whole).map(|packet| packet.payload.clone()).collect();
    assert_eq!(whole, [spoken(0, 2)]);
}

#[test]
fn what_cannot_be_bridged_is_told() {
    let mut party = Party::new(config(13_800..=13_999), 4);
    let media = &mut party.owner.media;
    let refused = |media: &mut media_io::Media, id, legs: &[u64]| {
        media.bridge(BridgeId(id), everyone(legs.iter().copied())).unwrap_err().to_string()
    };
    assert_eq!(refused(media, 1, &[0, 9]), "leg 9 is not open");
    assert_eq!(refused(media, 1, &[0, 0]), "leg 0 is in a bridge already");
    media.bridge(BridgeId(1), everyone([0, 1])).unwrap();
    assert_eq!(refused(media, 2, &[1, 2]), "leg 1 is in a bridge already");
    let many: Vec<u64> = (0..65).collect();
    assert_eq!(refused(media, 2, &many), "a bridge takes at most 64 legs");
    assert_eq!(media.unbridge(BridgeId(2)).unwrap_err().to_string(), "there is no bridge 2");
    // One goes, one comes, and who went is free for another bridge.
    media.bridge(BridgeId(1), everyone([0, 2])).unwrap();
    media.bridge(BridgeId(2), everyone([1, 3])).unwrap();
    media.unbridge(BridgeId(1)).unwrap();
    media.unbridge(BridgeId(2)).unwrap();
}

/// Bridges come and go, legs end in the middle of a move, and in the end there is room for all again.
#[test]
fn places_are_accounted_for_whatever_happens() {
    const LEGS: u64 = 40;
    let config = MediaConfig { max_legs: LEGS as usize, shards: 3, ..config(14_000..=14_999) };
    let mut owner = Owner::start(config);
    let peer = Peer::new(LOCALHOST);
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut below = |n: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % n
    };
    let (mut next, mut live) = (0, BTreeSet::new());
    let mut closed = 0_usize;
    for _ in 0..5_000 {
        match below(12) {
            0..=3 => {
                if owner.media.open(LegId(next)).is_ok() {
                    let negotiated = negotiated(peer.address);
                    owner.command(next, Command::Start { config: leg_config(next), negotiated });
                    live.insert(next);
                    next += 1;
                }
            }
            4 | 5 => {
                if let Some(id) = live.iter().nth(below(LEGS) as usize).copied() {
                    owner.command(id, Command::Close);
                    live.remove(&id);
                    closed += 1;
                }
                // Now and then the threads are given the time to keep up.
                if below(4) == 0 {
                    std::iter::repeat_with(|| owner.next_closed()).take(std::mem::take(&mut closed)).count();
                }
            }
            6..=8 => {
                let bridge = BridgeId(below(8));
                let legs: BTreeSet<u64> = (0..2 + below(3))
                    .filter_map(|_| live.iter().nth(below(LEGS) as usize).copied())
                    .collect();
                // Some are in another bridge, and then it is refused.
                let _ = owner.media.bridge(bridge, everyone(legs));
            }
            _ => {
                let _ = owner.media.unbridge(BridgeId(below(8)));
            }
        }
    }
    for id in std::mem::take(&mut live) {
        owner.command(id, Command::Close);
        closed += 1;
    }
    for _ in 0..closed {
        owner.next_closed();
    }
    wait_until("all are gone", || owner.media.stats().total().legs == 0);
    let total = owner.media.stats().total();
    assert_eq!((total.panics, total.socket_errors), (0, 0));
    assert!(total.legs_moved > 50, "{}", total.legs_moved);
    for id in 0..LEGS {
        let begun = Instant::now();
        while owner.media.open(LegId(100_000 + id)).is_err() {
            assert!(begun.elapsed() < DEAD, "no room for leg {id}");
        }
    }
    assert!(matches!(owner.media.open(LegId(1)), Err(Error::TooManyLegs { .. })));
}

/// The place that a leg leaves where it was is used again, also while no call comes.
#[test]
fn legs_move_to_and_fro_without_another_being_opened() {
    let mut owner = Owner::start(MediaConfig { max_legs: 8, ..config(15_400..=15_499) });
    // By turns on the one thread and the other.
    for id in 0..6 {
        owner.media.open(LegId(id)).unwrap();
    }
    let begun = Instant::now();
    let (mut one, mut other) = (0, 1);
    for turn in 0..20 {
        // Each goes to where the two of the other thread are.
        for legs in [[one, 3, 5], [other, 2, 4]] {
            while let Err(error) = owner.media.bridge(BridgeId(turn), everyone(legs)) {
                assert!(begun.elapsed() < DEAD, "turn {turn}: {error}");
            }
            owner.media.unbridge(BridgeId(turn)).unwrap();
        }
        (one, other) = (other, one);
    }
    wait_until("all have moved", || owner.media.stats().total().legs_moved == 40);
}

#[test]
fn a_prompt_is_heard_instead_of_the_other_side() {
    let mut party = Party::new(config(15_000..=15_199), 2);
    party.bridge(1, [0, 1]);
    party.owner.play(1, &prompt(60), 0);
    assert_eq!(party.owner.next_media(), (1, MediaEvent::PlayStarted { id: 1 }));
    party.speak(0, 0);
    wait_until("it came", || party.owner.media.stats().total().rtp_packets_received == 1);
    party.owner.command(1, Command::StopPlay);
    assert!(matches!(party.owner.next_media(), (1, MediaEvent::PlayEnded { .. })));
    assert_eq!(party.owner.media.stats().total().rtp_packets_relayed, 0);
    party.speak(0, 1);
    wait_until("it is relayed", || party.owner.media.stats().total().rtp_packets_relayed == 1);
    let packets = party.peers[1].received();
    in_sequence(&packets, 1);
    let relayed = |n| packets.iter().filter(|packet| packet.payload == spoken(0, n)).count();
    assert_eq!((relayed(0), relayed(1)), (0, 1));
}

#[test]
fn a_leg_that_rests_has_its_turns_again_when_there_is_something_to_do() {
    let mut party = Party::new(config(15_200..=15_399), 2);
    let rested = |party: &Party| party.owner.media.stats().total().legs_rested;
    party.bridge(1, [0, 1]);
    wait_until("both rest", || rested(&party) >= 2);
    let before = rested(&party);
    // The whole prompt, with one packet each packet time.
    party.peers[1].received();
    party.owner.play(1, &prompt(200), 1);
    assert_eq!(party.owner.next_media(), (1, MediaEvent::PlayStarted { id: 1 }));
    assert!(matches!(party.owner.next_media(), (1, MediaEvent::PlayEnded { played_ms: 200, .. })));
    wait_until("it rests again", || rested(&party) > before);
    // The end of this key is lost; that time has passed is noticed in a turn.
    party.peers[0].send(party.locals[0], &rtp(101, true, 1, 160, &[5, 0x0A, 0, 160]));
    assert!(matches!(party.owner.next_media(), (0, MediaEvent::Digit { .. })));
    // On their own they speak again, silence.
    let sent = party.owner.media.stats().total().rtp_packets_sent;
    party.owner.media.unbridge(BridgeId(1)).unwrap();
    wait_until("both speak", || party.owner.media.stats().total().rtp_packets_sent >= sent + 20);
    let heard: Vec<Packet> = party.peers[1].received();
    in_sequence(&heard, 1);
    assert!(heard.iter().filter(|packet| packet.payload[0] == 0xff).count() > 5, "{}", heard.len());
}

#[test]
fn a_thread_with_much_to_do_gets_fewer_new_legs() {
    let mut owner = Owner::start(config(15_400..=15_799));
    let peer = Peer::new(LOCALHOST);
    for id in 0..4 {
        owner.media.open(LegId(id)).unwrap();
        let codec = Codec::Opus;
        let negotiated = Negotiated { codec, pt_send: 96, pt_recv: 96, ..negotiated(peer.address) };
        owner.command(id, Command::Start { config: leg_config(id), negotiated });
    }
    owner.media.bridge(BridgeId(1), everyone(0..4)).unwrap();
    let shards = |owner: &Owner| owner.media.stats().shards;
    let dear = u64::from(4 * cost::encode(Codec::Opus));
    wait_until("the conference weighs", || shards(&owner).iter().any(|shard| shard.turn_ns > dear));
    let with = shards(&owner).iter().position(|shard| shard.turn_ns > dear).unwrap();
    for id in 10..30 {
        owner.start_leg(id, peer.address);
    }
    wait_until("all are there", || owner.media.stats().total().legs == 24);
    assert_eq!((shards(&owner)[with].legs, shards(&owner)[1 - with].legs), (4, 20));
    // Without the conference the two are filled evenly again.
    owner.media.unbridge(BridgeId(1)).unwrap();
    wait_until("it weighs no more", || shards(&owner)[with].turn_ns < dear);
    for id in 30..38 {
        owner.start_leg(id, peer.address);
    }
    wait_until("all are there", || owner.media.stats().total().legs == 32);
    assert_eq!(shards(&owner)[with].legs, 12);
}

/// Legs whose peers say a tone each, in these codecs and packet times, all in one bridge; how loud each hears each.
fn levels(config: MediaConfig, streams: &[(Codec, u8)], bridge: &BridgeConfig) -> Vec<Vec<f64>> {
    let mut owner = Owner::start(config);
    let peers: Vec<Peer> = streams.iter().map(|_| Peer::new(LOCALHOST)).collect();
    let mut locals = Vec::new();
    for (id, ((codec, ms), peer)) in streams.iter().zip(&peers).enumerate() {
        locals.push(owner.media.open(LegId(id as u64)).unwrap());
        let (pt_send, pt_recv) = (codec.payload_type(), codec.payload_type());
        let ptime = Ptime::new(*ms).unwrap();
        let negotiated = Negotiated { codec: *codec, ptime, pt_send, pt_recv, ..negotiated(peer.address) };
        owner.command(id as u64, Command::Start { config: leg_config(id as u64), negotiated });
    }
    owner.media.bridge(BridgeId(1), bridge.clone()).unwrap();
    let hz = |who: usize| 350.0 + 270.0 * who as f64;
    let mut mouths: Vec<(Encoder, usize, u16)> =
        streams.iter().map(|(codec, _)| (Encoder::new(*codec), 0, 0)).collect();
    let mut heard: Vec<Vec<i16>> = vec![Vec::new(); streams.len()];
    let mut ears: Vec<Decoder> = streams.iter().map(|(codec, _)| Decoder::new(*codec)).collect();
    let start = Instant::now();
    // In real time, for the jitter buffers go by it.
    while heard.iter().zip(streams).any(|(heard, (codec, _))| heard.len() < 2 * codec.sample_rate() as usize)
    {
        let elapsed = start.elapsed();
        assert!(elapsed < DEAD);
        for (who, (codec, ms)) in streams.iter().enumerate() {
            let (encoder, said, seq) = &mut mouths[who];
            let (rate, count) =
                (codec.sample_rate() as usize, codec.sample_rate() as usize / 1000 * usize::from(*ms));
            while (*said as f64) < elapsed.as_secs_f64() * rate as f64 {
                let tone =
                    |n: usize| (n as f64 * hz(who) / rate as f64 * std::f64::consts::TAU).sin() * 4_000.0;
                let sound: Vec<i16> = (*said..*said + count).map(|n| tone(n) as i16).collect();
                let mut payload = [0; 1_000];
                let octets = encoder.encode(&sound, &mut payload);
                let timestamp = u32::from(*seq) * u32::from(*ms) * 8;
                peers[who].send(
                    locals[who],
                    &rtp(codec.payload_type(), false, *seq, timestamp, &payload[..octets]),
                );
                (*said, *seq) = (*said + count, *seq + 1);
            }
            for packet in peers[who].received() {
                let mut sound = [0; 4_000];
                let count = ears[who].decode(&packet.payload, &mut sound);
                heard[who].extend_from_slice(&sound[..count]);
            }
        }
        std::thread::yield_now();
    }
    let total = owner.media.stats().total();
    assert_eq!((total.panics, total.commands_ignored), (0, 0));
    heard
        .iter()
        .zip(streams)
        .map(|(heard, (codec, _))| {
            let rate = codec.sample_rate() as usize;
            let sound = &heard[rate..2 * rate];
            (0..streams.len()).map(|who| level(sound, rate, hz(who))).collect()
        })
        .collect()
}

/// How much of `hz` is in `sound`, as an amplitude, whatever its phase does from one tenth of a second to the next.
fn level(sound: &[i16], rate: usize, hz: f64) -> f64 {
    let parts = sound.chunks_exact(rate / 10).map(|part| {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in part.iter().enumerate() {
            let angle = n as f64 * hz / rate as f64 * std::f64::consts::TAU;
            re += f64::from(*sample) * angle.cos();
            im += f64::from(*sample) * angle.sin();
        }
        2.0 * re.hypot(im) / part.len() as f64
    });
    let mut parts: Vec<f64> = parts.collect();
    parts.sort_by(f64::total_cmp);
    // The middle one: a machine that stands still for a moment is not what is looked at.
    parts[parts.len() / 2]
}

fn all_but_oneself(levels: &[Vec<f64>]) {
    for (who, heard) in levels.iter().enumerate() {
        for (other, level) in heard.iter().enumerate() {
            if who == other {
                assert!(*level < 400.0, "{who} hears himself at {level}: {levels:?}");
            } else {
                assert!((3_000.0..4_600.0).contains(level), "{who} hears {other} at {level}: {levels:?}");
            }
        }
    }
}

#[test]
fn two_of_different_codecs_are_transcoded() {
    all_but_oneself(&levels(
        config(16_000..=16_199),
        &[(Codec::Pcmu, 20), (Codec::Pcma, 20)],
        &everyone([0, 1]),
    ));
    all_but_oneself(&levels(
        config(16_200..=16_399),
        &[(Codec::G722, 20), (Codec::Pcma, 30)],
        &everyone([0, 1]),
    ));
}

#[test]
fn a_conference_hears_everyone_but_oneself() {
    all_but_oneself(&levels(
        config(16_400..=16_599),
        &[(Codec::Pcmu, 20), (Codec::Pcma, 20), (Codec::G722, 20), (Codec::Pcma, 40), (Codec::G722, 10)],
        &everyone(0..5),
    ));
}

#[test]
fn a_supervisor_whispers_to_the_agent_alone() {
    let member = |leg, hears: &[usize]| Member { leg: LegId(leg), hears: hears.iter().copied().collect() };
    // The customer hears the agent as it comes, the agent hears both, the supervisor, too.
    let members = vec![member(0, &[1]), member(1, &[0, 2]), member(2, &[0, 1])];
    let bridge = BridgeConfig { members, keys: Keys::Relayed };
    let levels = levels(config(16_600..=16_799), &[(Codec::Pcma, 20); 3], &bridge);
    let hears: Vec<Vec<bool>> =
        levels.iter().map(|of| of.iter().map(|level| *level > 3_000.0).collect()).collect();
    assert_eq!(hears, [[false, true, false], [true, false, true], [true, true, false]], "{levels:?}");
    assert!(levels.iter().flatten().all(|level| !(400.0..3_000.0).contains(level)), "{levels:?}");
}
