//! A leg that finds out who answers.

use crate::rig::{PTIME, Rig, addr, negotiated};
use media_core::classify::{Answerer, Classifier, Evidence, Finding, Parameters};
use media_core::rtp::Header;
use media_core::{Codec, Ear, EarConfig, Encoder, Leg, MediaEvent, MediaTime, SeqNo, Ssrc};

/// Pieces of (milliseconds, Hz), 0 Hz is silence, in `codec`, to the leg; what it finds.
fn hears(codec: Codec, early: usize, pieces: &[(usize, f32)]) -> (Vec<Finding>, bool) {
    let mut rig = Rig::new();
    let agreed = media_core::Negotiated { codec, ..negotiated("192.0.2.1:4000") };
    rig.leg.start(rig.now, &agreed);
    let ear = Ear::new(EarConfig::new(codec));
    rig.leg.classify(Box::new(Classifier::new(Parameters::DEFAULT)), Box::new(ear));
    let rate = codec.sample_rate() as usize;
    let sound: Vec<i16> = pieces
        .iter()
        .flat_map(|(ms, hz)| {
            (0..ms * rate / 1000)
                .map(move |n| ((n as f32 / rate as f32 * hz * std::f32::consts::TAU).sin() * 6000.0) as i16)
        })
        .collect();
    let mut encoder = Encoder::new(codec);
    let mut out = [0; Leg::MAX_PACKET];
    let mut found = Vec::new();
    for (n, frame) in sound.chunks_exact(rate / 50).enumerate() {
        if n == early {
            rig.leg.answered();
        }
        let header = Header {
            marker: n == 0,
            pt: 8,
            seq: SeqNo(n as u16),
            timestamp: MediaTime(n as u32 * codec.clock_rate() / 50),
            ssrc: Ssrc(7),
        };
        let mut datagram = header.to_bytes().to_vec();
        let mut payload = [0; 400];
        let octets = encoder.encode(frame, &mut payload);
        datagram.extend_from_slice(&payload[..octets]);
        rig.leg.receive_rtp(rig.now, addr("192.0.2.1:4000"), &mut datagram);
        rig.leg.tick(rig.now, &mut out);
        while let Some(event) = rig.leg.poll_event() {
            let MediaEvent::Classified(finding) = event else { panic!("{event:?}") };
            found.push(finding);
        }
        rig.now += PTIME;
    }
    (found, rig.leg.deafen().is_none())
}

#[test]
fn a_beep_and_the_tones_before_the_answer_are_found_in_every_codec_and_the_ear_is_let_go() {
    for codec in [Codec::Pcma, Codec::Pcmu, Codec::G722] {
        let (found, deaf) = hears(
            codec,
            300,
            &[(1000, 425.0), (4000, 0.0), (1000, 425.0), (600, 0.0), (500, 1000.0), (1000, 0.0)],
        );
        let [
            Finding::Early { evidence: Evidence::Ringback, .. },
            Finding::Verdict(verdict),
            Finding::Beep { ms, duration_ms, hz },
        ] = found[..]
        else {
            panic!("{codec:?}: {found:?}")
        };
        assert_eq!((verdict.answerer, verdict.evidence), (Answerer::Machine, Evidence::Beep), "{codec:?}");
        // The answer falls at 6000 ms; the ear delays by 20 to 60.
        assert!((1100..=1200).contains(&ms), "{codec:?}: {ms}");
        assert!(
            (470..=530).contains(&duration_ms) && (998..=1002).contains(&hz),
            "{codec:?}: {duration_ms} {hz}"
        );
        assert!(deaf, "{codec:?}: nobody listens any more");
    }
}

#[test]
fn a_leg_that_is_still_classified_keeps_its_ear_when_its_owner_does_not_need_it() {
    let mut rig = Rig::new();
    rig.leg.start(rig.now, &negotiated("192.0.2.1:4000"));
    let ear = || Box::new(Ear::new(EarConfig::new(Codec::Pcma)));
    rig.leg.classify(Box::new(Classifier::new(Parameters::DEFAULT)), ear());
    rig.leg.listen(ear());
    assert!(rig.leg.deafen().is_none(), "the classifier hears by it");
    rig.leg.finish(rig.now);
    assert!(rig.leg.deafen().is_some());
}
