//! One leg on a virtual clock: what it sends, what it reports.

use std::sync::Arc;
use std::time::Duration;

use crate::rig::{Rig, addr, collect, collecting, config, epoch, negotiated, payload, play, playing, prompt};
use media_core::dtmf::Method;
use media_core::rtcp::{self, Compound, Packet, SenderInfo};
use media_core::rtp::Header;
use media_core::{
    Codec, Collect, CollectEnd, Digit, Digits, Direction, Encoded, Leg, MediaEvent, MediaTime, Negotiated,
    Play, PlayEnd, Program, Prompt, Ptime, RtpTimeout, SeqNo, Ssrc, g722,
};

const SILENCE: u8 = 0xD5;

fn play_ended(id: u64, reason: PlayEnd, played_ms: u32) -> MediaEvent {
    MediaEvent::PlayEnded { id, reason, played_ms }
}

fn collect_ended(id: u64, digits: &str, reason: CollectEnd) -> MediaEvent {
    let digits: Digits = digits.chars().map(|c| Digit::from_char(c).unwrap()).collect();
    MediaEvent::CollectEnded { id, digits, reason }
}

fn digit(digit: Digit, duration_ms: u16) -> MediaEvent {
    MediaEvent::Digit { digit, duration_ms, method: Method::Events }
}

#[test]
fn a_leg_is_small_and_moves() {
    fn is_send<T: Send + 'static>() {}
    is_send::<Leg>();
    assert!(size_of::<Leg>() <= 2048, "{} octets", size_of::<Leg>());
}

#[test]
fn the_stream_is_continuous_and_the_prompt_exact() {
    let mut rig = Rig::new();
    rig.tick(3);
    let audio = prompt(160 * 10 + 37);
    rig.run(playing(play(1, Arc::clone(&audio))));
    rig.tick(20);

    assert_eq!(rig.sent.len(), 23);
    for (n, sent) in rig.sent.iter().enumerate() {
        let n = n as u32;
        assert_eq!(sent.header.seq, SeqNo(65_530_u16.wrapping_add(n as u16)));
        assert_eq!(sent.header.timestamp, MediaTime(u32::MAX - 1000).plus(n * 160));
        assert_eq!((sent.header.pt, sent.header.ssrc), (8, Ssrc(1)));
        assert_eq!(sent.header.marker, n == 0, "one talkspurt: silence is sent too");
        assert_eq!(sent.payload.len(), 160);
    }
    let heard: Vec<u8> = rig.sent.iter().flat_map(|sent| sent.payload.iter().copied()).collect();
    let (before, rest) = heard.split_at(3 * 160);
    let (spoken, after) = rest.split_at(payload(&audio).len());
    assert_eq!(spoken, payload(&audio));
    assert!(before.iter().chain(after).all(|octet| *octet == SILENCE));
    assert_eq!(
        rig.events(),
        [MediaEvent::PlayStarted { id: 1 }, play_ended(1, PlayEnd::Completed, 204)],
        "204.6 ms, whole milliseconds"
    );
}

#[test]
fn ulaw_silence_and_another_packet_time() {
    let ptime = Ptime::new(30).unwrap();
    let mut rig =
        Rig::with(&Negotiated { codec: Codec::Pcmu, pt_send: 0, ptime, ..negotiated("192.0.2.1:4000") });
    rig.tick(2);
    assert_eq!(rig.sent[1].payload, [0xFF; 240]);
    assert_eq!(rig.sent[1].header.timestamp.distance_from(rig.sent[0].header.timestamp), 240);
}

#[test]
fn a_wideband_prompt_and_the_silence_around_it() {
    let mut rig = Rig::with(&Negotiated { codec: Codec::G722, pt_send: 9, ..negotiated("192.0.2.1:4000") });
    // 200 ms and a bit of 3 kHz.
    let tone: Vec<i16> = (0..3_274)
        .map(|n| ((f64::from(n) * 3.0 / 16.0 * std::f64::consts::TAU).sin() * 9e3) as i16)
        .collect();
    let mut codes = vec![0; tone.len() / 2];
    g722::Encoder::new().encode(&tone, &mut codes);
    rig.tick(3);
    rig.run(playing(play(1, Arc::new(Prompt::new(Codec::G722, codes.clone())))));
    rig.tick(47);
    assert_eq!(rig.events(), [MediaEvent::PlayStarted { id: 1 }, play_ended(1, PlayEnd::Completed, 204)]);

    let first = rig.sent[0].header.timestamp;
    for (n, sent) in rig.sent.iter().enumerate() {
        assert_eq!((sent.header.pt, sent.payload.len()), (9, 160));
        assert_eq!(sent.header.timestamp.distance_from(first), n as i32 * 160, "it counts 8 kHz");
    }
    let heard: Vec<u8> = rig.sent.iter().flat_map(|sent| sent.payload.iter().copied()).collect();
    assert_eq!(heard[480..480 + codes.len()], codes);
    let samples = Encoded::new(Codec::G722, heard).decode();
    let loudest = |ms: std::ops::Range<usize>| {
        samples[ms.start * 16..ms.end * 16].iter().map(|sample| sample.unsigned_abs()).max().unwrap()
    };
    assert!(loudest(0..60) <= 12 && loudest(500..1000) <= 12, "{} {}", loudest(0..60), loudest(500..1000));
    assert!(loudest(80..260) > 8_000);
}

#[test]
fn plays_and_offset() {
    let mut rig = Rig::new();
    rig.run(playing(Play { plays: 3, offset_ms: 50, ..play(1, prompt(800)) }));
    rig.tick(20);
    assert_eq!(rig.events(), [MediaEvent::PlayStarted { id: 1 }, play_ended(1, PlayEnd::Completed, 250)]);

    rig.run(playing(Play { plays: 0, ..play(2, prompt(800)) }));
    rig.tick(500);
    rig.leg.stop_play(rig.now);
    rig.drain();
    assert_eq!(rig.events(), [MediaEvent::PlayStarted { id: 2 }, play_ended(2, PlayEnd::Stopped, 10_000)]);
}

#[test]
fn a_program_replaces_the_one_before() {
    let mut rig = Rig::new();
    rig.run(Program { play: Some(play(1, prompt(8000))), collect: Some(collect(2, 4)) });
    rig.tick(5);
    rig.run(playing(play(3, prompt(160))));
    rig.tick(2);
    assert_eq!(
        rig.events(),
        [
            MediaEvent::PlayStarted { id: 1 },
            play_ended(1, PlayEnd::Stopped, 100),
            collect_ended(2, "", CollectEnd::Stopped),
            MediaEvent::PlayStarted { id: 3 },
            play_ended(3, PlayEnd::Completed, 20),
        ]
    );
}

#[test]
fn a_prompt_of_another_codec_is_not_played() {
    let mut rig = Rig::new();
    rig.run(playing(play(1, Arc::new(Prompt::new(Codec::Pcmu, vec![1; 800])))));
    rig.tick(2);
    assert_eq!(rig.events(), [MediaEvent::PlayStarted { id: 1 }, play_ended(1, PlayEnd::WrongCodec, 0)]);
    assert!(rig.sent.iter().all(|sent| sent.payload == [SILENCE; 160]));
}

#[test]
fn barge_in_acts_on_the_first_packet_of_a_digit() {
    let mut rig = Rig::new();
    let program = Program {
        play: Some(Play { barge_in: true, ..play(1, prompt(80_000)) }),
        collect: Some(collect(2, 2)),
    };
    rig.run(program);
    rig.tick(7);
    rig.events();
    let pressed = rig.peer_time();
    rig.hear_event(pressed, Digit::D4, false, 160);
    assert_eq!(rig.events(), [play_ended(1, PlayEnd::BargeIn, 140)]);
    // A key held down is no reason for a timeout.
    for n in 2..400 {
        rig.hear_event(pressed, Digit::D4, false, n * 160);
        rig.tick(1);
    }
    assert_eq!(rig.events(), []);
    rig.hear_event(pressed, Digit::D4, true, 400 * 160);
    assert_eq!(rig.events(), [digit(Digit::D4, 8000)]);
    rig.tick(2);
    rig.press(Digit::D2, 5);
    assert_eq!(rig.events(), [digit(Digit::D2, 100), collect_ended(2, "42", CollectEnd::Max)]);
    assert_eq!(rig.sent[7].payload, [SILENCE; 160]);
}

#[test]
fn barge_in_without_a_collect() {
    let mut rig = Rig::new();
    rig.run(playing(Play { barge_in: true, ..play(1, prompt(80_000)) }));
    rig.tick(1);
    rig.press(Digit::Star, 2);
    assert_eq!(
        rig.events(),
        [MediaEvent::PlayStarted { id: 1 }, play_ended(1, PlayEnd::BargeIn, 20), digit(Digit::Star, 40)]
    );
}

#[test]
fn without_barge_in_digits_wait_for_the_end_of_the_prompt() {
    let mut rig = Rig::new();
    rig.run(Program { play: Some(play(1, prompt(160 * 20))), collect: Some(collect(2, 2)) });
    rig.press(Digit::D1, 3);
    rig.press(Digit::D2, 3);
    assert_eq!(rig.events(), [MediaEvent::PlayStarted { id: 1 }, digit(Digit::D1, 60), digit(Digit::D2, 60)]);
    rig.tick(10);
    assert_eq!(
        rig.events(),
        [play_ended(1, PlayEnd::Completed, 400), collect_ended(2, "12", CollectEnd::Max)]
    );
}

#[test]
fn digits_typed_ahead_serve_the_next_collects() {
    let mut rig = Rig::new();
    for key in [Digit::D1, Digit::D2, Digit::D3] {
        rig.press(key, 2);
    }
    rig.events();
    rig.run(Program {
        play: Some(Play { barge_in: true, ..play(1, prompt(8000)) }),
        collect: Some(collect(2, 2)),
    });
    assert_eq!(
        rig.events(),
        [
            MediaEvent::PlayStarted { id: 1 },
            play_ended(1, PlayEnd::BargeIn, 0),
            collect_ended(2, "12", CollectEnd::Max)
        ]
    );
    rig.run(collecting(collect(3, 1)));
    assert_eq!(rig.events(), [collect_ended(3, "3", CollectEnd::Max)]);
}

#[test]
fn the_type_ahead_buffer_is_bounded() {
    let mut rig = Rig::new();
    for n in 0..40_u8 {
        rig.press(Digit::from_event_code(n % 10).unwrap(), 1);
    }
    assert_eq!(rig.events().len(), 40, "every digit is reported");
    rig.run(collecting(collect(1, 32)));
    let expected = "01234567890123456789012345678901";
    assert_eq!(rig.events(), [collect_ended(1, expected, CollectEnd::Max)]);
    rig.run(collecting(Collect { timeout_ms: 20, ..collect(2, 1) }));
    rig.tick(2);
    assert_eq!(rig.events(), [collect_ended(2, "", CollectEnd::Timeout)]);
}

#[test]
fn terminators_end_a_collect_and_are_not_part_of_it() {
    let mut rig = Rig::new();
    rig.run(collecting(collect(1, 8)));
    rig.press(Digit::D7, 2);
    rig.press(Digit::Pound, 2);
    assert_eq!(
        rig.events(),
        [digit(Digit::D7, 40), digit(Digit::Pound, 40), collect_ended(1, "7", CollectEnd::Terminator)]
    );
    rig.run(collecting(collect(2, 8)));
    rig.press(Digit::Pound, 2);
    assert_eq!(rig.events()[1], collect_ended(2, "", CollectEnd::Terminator));
}

#[test]
fn timeouts_run_from_the_end_of_the_prompt_and_between_digits() {
    let mut rig = Rig::new();
    // The prompt takes 400 ms, so 5 s of patience end at 5.4 s: tick number 270 is at 5.4 s.
    rig.run(Program {
        play: Some(Play { barge_in: true, ..play(1, prompt(160 * 20)) }),
        collect: Some(collect(2, 4)),
    });
    rig.tick(270);
    assert_eq!(rig.events(), [MediaEvent::PlayStarted { id: 1 }, play_ended(1, PlayEnd::Completed, 400)]);
    rig.tick(1);
    assert_eq!(rig.events(), [collect_ended(2, "", CollectEnd::Timeout)]);

    // A digit that comes up now gives 2 s more.
    rig.run(collecting(collect(3, 4)));
    rig.press(Digit::D5, 1);
    let up = rig.now - 3 * crate::rig::PTIME;
    let patience = up + Duration::from_millis(2000);
    while rig.now < patience {
        rig.tick(1);
    }
    assert_eq!(rig.events(), [digit(Digit::D5, 20)]);
    rig.tick(1);
    assert_eq!(rig.events(), [collect_ended(3, "5", CollectEnd::InterDigit)]);

    // Fewer digits than the minimum are no answer.
    rig.run(collecting(Collect { min: 2, ..collect(4, 4) }));
    rig.press(Digit::D5, 1);
    rig.tick(200);
    assert_eq!(rig.events()[1], collect_ended(4, "5", CollectEnd::Timeout));
}

#[test]
fn a_digit_whose_end_is_lost_still_counts() {
    let mut rig = Rig::new();
    rig.run(collecting(collect(1, 1)));
    let pressed = rig.peer_time();
    rig.hear_event(pressed, Digit::D9, false, 480);
    rig.tick(7);
    assert_eq!(rig.events(), []);
    rig.tick(2);
    assert_eq!(rig.events(), [digit(Digit::D9, 60), collect_ended(1, "9", CollectEnd::Max)]);
}

#[test]
fn digits_on_the_payload_type_of_the_peers_own_sdp_are_heard() {
    let mut agreed = negotiated("192.0.2.1:4000");
    agreed.telephone_event.as_mut().unwrap().pt_send = 96;
    let mut rig = Rig::with(&agreed);
    rig.hear_packet(96, rig.peer_time(), &[3, 0x8A, 0, 160]);
    rig.hear_packet(97, MediaTime(1), &[4, 0x8A, 0, 160]);
    assert_eq!(rig.events(), [digit(Digit::D3, 20)]);
}

#[test]
fn a_held_leg_sends_nothing_and_its_program_goes_on() {
    let mut rig = Rig::new();
    rig.run(playing(play(1, prompt(160 * 10))));
    rig.tick(2);
    rig.leg.start(rig.now, &Negotiated { direction: Direction::RecvOnly, ..negotiated("192.0.2.1:4000") });
    rig.tick(3);
    assert_eq!(rig.sent.len(), 2);
    rig.leg.start(rig.now, &negotiated("192.0.2.1:4000"));
    rig.tick(6);
    let resumed = &rig.sent[2];
    assert_eq!(resumed.header.seq, rig.sent[1].header.seq.next(), "no packet is missing");
    assert_eq!(resumed.header.timestamp.distance_from(rig.sent[1].header.timestamp), 4 * 160);
    assert!(resumed.header.marker && !rig.sent[3].header.marker, "a new talkspurt");
    assert_eq!(rig.events(), [MediaEvent::PlayStarted { id: 1 }, play_ended(1, PlayEnd::Completed, 200)]);
}

#[test]
fn only_the_signalled_host_is_heard_and_its_port_is_learned() {
    let mut rig = Rig::new();
    rig.hear(addr("203.0.113.66:4000"), &[0x80; 40]);
    rig.hear(addr("192.0.2.1:9999"), b"not RTP at all");
    assert_eq!(rig.leg.rtp_remote(), Some(addr("192.0.2.1:4000")));
    for seq in 1..=4 {
        let header = Header { marker: false, pt: 8, seq: SeqNo(seq), timestamp: MediaTime(1), ssrc: Ssrc(5) };
        rig.hear(addr("192.0.2.1:5678"), &header.to_bytes());
    }
    assert_eq!(rig.leg.rtp_remote(), Some(addr("192.0.2.1:5678")), "not the first that comes, but the third");
    let stats = rig.leg.stats();
    assert_eq!((stats.packets_stranger, stats.packets_invalid, stats.packets_received), (3, 1, 2));
    rig.hear_audio();
    assert_eq!(rig.leg.rtp_remote(), Some(addr("192.0.2.1:4000")), "where it said it is");
}

#[test]
fn statistics_count_loss_duplicates_and_octets() {
    let mut rig = Rig::new();
    for n in 0..10_u16 {
        rig.tick(1);
        match n {
            3 | 4 => rig.lose(),
            6 => {
                rig.hear_audio();
                // The network doubles it.
                let seq = SeqNo(100 + n);
                let header = Header { marker: false, pt: 8, seq, timestamp: rig.peer_time(), ssrc: Ssrc(77) };
                rig.hear(addr("192.0.2.1:4000"), &[&header.to_bytes()[..], &[0x2A; 160]].concat());
            }
            8 => rig.hear_packet(8, rig.peer_time(), b""),
            _ => rig.hear_audio(),
        }
    }
    let stats = rig.leg.finish(rig.now);
    assert_eq!((stats.packets_sent, stats.octets_sent), (10, 1600));
    assert_eq!((stats.packets_received, stats.octets_received), (9, 8 * 160));
    assert_eq!((stats.packets_lost, stats.packets_duplicated, stats.packets_reordered), (2, 1, 0));
}

#[test]
fn finishing_ends_everything_once() {
    let mut rig = Rig::new();
    rig.run(Program { play: Some(play(1, prompt(8000))), collect: Some(collect(2, 4)) });
    rig.tick(3);
    rig.hear_event(rig.peer_time(), Digit::D8, false, 160);
    rig.events();
    rig.leg.finish(rig.now);
    rig.drain();
    assert_eq!(
        rig.events(),
        [digit(Digit::D8, 20), play_ended(1, PlayEnd::Hangup, 60), collect_ended(2, "", CollectEnd::Hangup)]
    );
    rig.leg.finish(rig.now);
    rig.run(playing(play(3, prompt(800))));
    rig.tick(5);
    assert_eq!((rig.events().len(), rig.sent.len()), (0, 3));
}

#[test]
fn before_the_start_nothing_is_sent_and_a_program_waits() {
    let start = crate::rig::epoch();
    let mut leg = Leg::new(crate::rig::config(start, 1));
    let mut out = [0; Leg::MAX_PACKET];
    leg.run(start, playing(play(1, prompt(160))));
    assert_eq!(leg.tick(start, &mut out), None);
    assert_eq!((leg.poll_rtcp(start, &mut out), leg.rtp_remote()), (None, None));
    leg.start(start, &negotiated("192.0.2.1:4000"));
    assert_eq!(leg.tick(start, &mut out), Some(172));
    assert_eq!(out[12..172], payload(&prompt(160))[..]);
}

#[test]
fn reports_come_on_schedule_and_end_with_one_goodbye() {
    let mut rig = Rig::new();
    let mut out = [0; Leg::MAX_PACKET];
    let mut reports = Vec::new();
    for n in 0..3000_u32 {
        rig.tick(1);
        rig.hear_audio();
        if let Some(len) = rig.leg.poll_rtcp(rig.now, &mut out) {
            reports.push((n, out[..len].to_vec()));
        }
    }
    // 60 s at 2.05 to 6.16 s each.
    assert!((9..=30).contains(&reports.len()), "{} reports", reports.len());
    for (n, report) in &reports {
        let packets: Vec<Packet<'_>> = rtcp::parse(report).unwrap().collect();
        let [
            Packet::Report { ssrc: Ssrc(1), sender: Some(info), blocks },
            Packet::Cname { cname: b"leg@test", .. },
        ] = &packets[..]
        else {
            panic!("{packets:?}")
        };
        let sent = n + 1;
        assert_eq!((info.packets, info.octets), (sent, sent * 160));
        assert_eq!(
            info.timestamp,
            MediaTime(u32::MAX - 1000).plus(sent * 160),
            "the clock runs on between frames"
        );
        let seconds = (info.ntp >> 32) - 2_208_988_800 - 1_700_000_000;
        assert_eq!(seconds, u64::from(sent) * 20 / 1000);
        let block = blocks.clone().next().unwrap();
        assert_eq!((block.ssrc, block.cumulative_lost, block.highest_seq), (Ssrc(77), 0, 100 + n));
    }
    rig.leg.finish(rig.now);
    let len = rig.leg.poll_rtcp(rig.now, &mut out).unwrap();
    assert_eq!(rtcp::parse(&out[..len]).unwrap().last(), Some(Packet::Bye { ssrc: Ssrc(1) }));
    assert_eq!(rig.leg.poll_rtcp(rig.now, &mut out), None);
}

#[test]
fn a_leg_that_only_receives_reports_as_a_receiver_and_says_goodbye_once_it_has() {
    let receiving = Negotiated { direction: Direction::RecvOnly, ..negotiated("192.0.2.1:4000") };
    let mut out = [0; Leg::MAX_PACKET];
    let mut rig = Rig::with(&receiving);
    rig.leg.finish(rig.now);
    assert_eq!(rig.leg.poll_rtcp(rig.now, &mut out), None, "nobody has heard of it");

    let mut rig = Rig::with(&receiving);
    let report = (0..600).find_map(|_| {
        rig.tick(1);
        rig.leg.poll_rtcp(rig.now, &mut out)
    });
    let first = rtcp::parse(&out[..report.unwrap()]).unwrap().next().unwrap();
    assert!(matches!(first, Packet::Report { sender: None, .. }), "{first:?}");
    rig.leg.finish(rig.now);
    let len = rig.leg.poll_rtcp(rig.now, &mut out).unwrap();
    assert_eq!(rtcp::parse(&out[..len]).unwrap().last(), Some(Packet::Bye { ssrc: Ssrc(1) }));
}

#[test]
fn rtcp_is_taken_from_the_peer_only_and_on_the_rtp_port_when_multiplexed() {
    let report = Compound {
        ssrc: Ssrc(77),
        sender: Some(SenderInfo { ntp: 1 << 40, timestamp: MediaTime(0), packets: 1, octets: 1 }),
        report: Some(rtcp::ReportBlock {
            ssrc: Ssrc(1),
            fraction_lost: 0,
            cumulative_lost: 12,
            highest_seq: 0,
            jitter: 80,
            lsr: 0,
            dlsr: 0,
        }),
        cname: "peer",
        bye: false,
    };
    let mut out = [0; 200];
    let len = report.write(&mut out).unwrap();
    let lost = |rig: &Rig| rig.leg.stats().remote_packets_lost;

    let mut rig = Rig::new();
    rig.leg.receive_rtcp(rig.now, addr("203.0.113.66:4001"), &mut out[..len]);
    assert_eq!(lost(&rig), None);
    rig.leg.receive_rtcp(rig.now, addr("192.0.2.1:7001"), &mut out[..len]);
    assert_eq!(lost(&rig), Some(12));
    assert_eq!(rig.leg.stats().remote_jitter_ms, Some(10.0));
    assert_eq!(rig.leg.rtcp_remote(), Some(addr("192.0.2.1:7001")), "its port is learned");
    rig.leg.receive_rtcp(rig.now, addr("192.0.2.1:7001"), &mut b"junk".to_owned());
    assert_eq!((rig.leg.stats().packets_stranger, rig.leg.stats().packets_invalid), (1, 1));

    let mut muxed = Rig::with(&Negotiated {
        rtcp_mux: true,
        rtcp: Some(addr("192.0.2.1:4000")),
        ..negotiated("192.0.2.1:4000")
    });
    muxed.hear(addr("192.0.2.1:4000"), &out[..len]);
    assert_eq!(lost(&muxed), Some(12));
    assert_eq!(muxed.leg.rtcp_remote(), Some(addr("192.0.2.1:4000")));
}

#[test]
fn a_peer_whose_port_changes_is_followed_once_the_old_port_is_silent() {
    let mut rig = Rig::new();
    let [old, new, other] = ["192.0.2.1:4000", "192.0.2.1:4600", "192.0.2.3:4000"].map(addr);
    let packet = |seq: u16, ssrc: u32| {
        let header =
            Header { marker: false, pt: 8, seq: SeqNo(seq), timestamp: MediaTime(0), ssrc: Ssrc(ssrc) };
        [&header.to_bytes()[..], &[0x2A; 160]].concat()
    };
    rig.hear(old, &packet(1, 77));
    rig.hear(new, &packet(500, 78));
    assert_eq!((rig.leg.rtp_remote(), rig.leg.stats().packets_stranger), (Some(old), 1));
    rig.tick(101);
    assert!(!rig.leg.peer_is_settled(rig.now));
    rig.hear(other, &packet(500, 78));
    assert_eq!((rig.leg.rtp_remote(), rig.leg.stats().packets_stranger), (Some(old), 2));
    // Another source, as a NAT makes of nothing, and a phone that restarts of everything. One of its packets is lost.
    for seq in (500..510).chain(511..515) {
        rig.hear(new, &packet(seq, 78));
    }
    assert_eq!(rig.leg.rtp_remote(), Some(new));
    let stats = rig.leg.stats();
    assert_eq!((stats.packets_received, stats.packets_lost, stats.packets_stranger), (13, 1, 4));
    // Where it said it is, it is at any time, and the other port has to prove itself again.
    assert!(!rig.leg.peer_is_settled(rig.now));
    rig.hear(old, &packet(2, 77));
    assert_eq!(rig.leg.rtp_remote(), Some(old));
    assert!(rig.leg.peer_is_settled(rig.now));
    for seq in 515..520 {
        rig.hear(new, &packet(seq, 78));
    }
    assert_eq!((rig.leg.rtp_remote(), rig.leg.stats().packets_stranger), (Some(old), 9));
}

#[test]
fn a_silent_peer_is_told_of_and_rtcp_is_no_silence() {
    let mut config = config(epoch(), 1);
    config.rtp_timeout = RtpTimeout { talking: Some(Duration::from_secs(10)), held: None };
    let mut rig = Rig::of(config, &negotiated("192.0.2.1:4000"));
    rig.tick(450);
    rig.hear_audio();
    rig.tick(490);
    let report = [0x80, 201, 0, 1, 0, 0, 0, 77];
    rig.leg.receive_rtcp(rig.now, addr("192.0.2.1:4001"), &mut report.clone());
    rig.tick(499);
    assert_eq!(rig.events(), []);
    rig.tick(3);
    assert_eq!(rig.events(), [MediaEvent::PeerSilent { seconds: 10 }]);
    let held = Negotiated { direction: Direction::SendOnly, ..negotiated("192.0.2.1:4000") };
    rig.leg.start(rig.now, &held);
    rig.tick(5_000);
    assert_eq!(rig.events(), []);
}

#[test]
fn the_quality_of_both_directions_is_told() {
    let mut rig = Rig::new();
    assert_eq!((rig.leg.stats().mos, rig.leg.stats().remote_mos), (None, None));
    for n in 0..500 {
        rig.tick(1);
        if n % 20 != 0 {
            rig.hear_audio();
        } else {
            rig.lose();
        }
    }
    let mos = rig.leg.stats().mos.unwrap();
    assert!((3.6..4.1).contains(&mos), "5 % lost: {mos}");
    let mut report = [0; 32];
    report[..8].copy_from_slice(&[0x81, 201, 0, 7, 0, 0, 0, 77]);
    report[8..12].copy_from_slice(&1_u32.to_be_bytes());
    report[12..16].copy_from_slice(&100_u32.to_be_bytes());
    rig.leg.receive_rtcp(rig.now, addr("192.0.2.1:4001"), &mut report);
    let remote = rig.leg.stats().remote_mos.unwrap();
    assert!((2.0..3.2).contains(&remote), "a fifth lost: {remote}");
    // A goodbye in RTCP ends the source, not the leg.
    let mut bye = [&[0x80, 201, 0, 1, 0, 0, 0, 77][..], &[0x81, 203, 0, 1, 0, 0, 0, 77]].concat();
    rig.leg.receive_rtcp(rig.now, addr("192.0.2.1:4001"), &mut bye);
    let lost = rig.leg.stats().packets_lost;
    (0..100).for_each(|_| rig.lose());
    rig.hear_audio();
    rig.tick(1);
    rig.hear_audio();
    assert_eq!(rig.leg.stats().packets_lost, lost);
}
