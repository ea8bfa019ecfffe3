use super::*;

/// Sound made of pieces: (milliseconds, frequencies of equal amplitude); none are silence.
type Piece<'a> = (u32, &'a [f32]);

/// -16 dB per tone over noise at -60 dB.
fn sound(pieces: &[Piece<'_>]) -> Vec<i16> {
    let mut noise = 12_345u32;
    let mut n = 0u32;
    let mut pcm = Vec::new();
    for (ms, tones) in pieces {
        for _ in 0..ms * 8 {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = ((noise >> 16) as f32 / 32_768.0 - 1.0) * 40.0;
            let tone: f32 =
                tones.iter().map(|hz| (std::f32::consts::TAU * hz * n as f32 / 8000.0).sin()).sum();
            pcm.push((tone * 5000.0 + hiss) as i16);
            n += 1;
        }
    }
    pcm
}

/// Like speech in what matters here: a buzz of 120 Hz whose harmonics come and go with the syllables.
fn speech(ms: u32) -> Vec<i16> {
    (0..ms * 8)
        .map(|n| {
            let t = n as f32 / 8000.0;
            let pitch = std::f32::consts::TAU * (120.0 * t + 6.0 * (t * 3.0).sin());
            let syllable = (std::f32::consts::TAU * 4.0 * t).sin().mul_add(0.45, 0.55);
            let buzz: f32 = (1..16).map(|k| (pitch * k as f32).sin() / (k as f32).sqrt()).sum();
            (buzz * syllable * 2500.0) as i16
        })
        .collect()
}

fn repeat<'a>(times: usize, cycle: &[Piece<'a>]) -> Vec<Piece<'a>> {
    std::iter::repeat_n(cycle, times).flatten().copied().collect()
}

fn findings(answered: bool, pcm: &[i16]) -> Vec<Finding> {
    let mut analyser = Analyser::new(Parameters::DEFAULT);
    if answered {
        analyser.answered();
    }
    let mut found = Vec::new();
    for chunk in pcm.chunks(160) {
        analyser.push(chunk);
        found.extend(std::iter::from_fn(|| analyser.poll()));
    }
    found
}

fn early(pieces: &[Piece<'_>]) -> Vec<Evidence> {
    let found = findings(false, &sound(pieces));
    let early = found.iter().map(|finding| match finding {
        Finding::Early { evidence, .. } => *evidence,
        Finding::Verdict(_) | Finding::Beep { .. } => panic!("{finding:?} before the answer"),
    });
    early.collect()
}

fn verdict(pcm: &[i16]) -> (Answerer, Evidence) {
    match findings(true, pcm).first() {
        Some(Finding::Verdict(verdict)) => (verdict.answerer, verdict.evidence),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ringback_of_many_countries() {
    let cadences: [(&str, &[Piece<'_>]); 12] = [
        ("North America", &[(2000, &[440.0, 480.0]), (4000, &[])]),
        ("Germany", &[(1000, &[425.0]), (4000, &[])]),
        ("France", &[(1500, &[440.0]), (3500, &[])]),
        ("Indonesia", &[(1000, &[425.0]), (4000, &[])]),
        ("Vietnam", &[(1000, &[425.0]), (4000, &[])]),
        ("China", &[(1000, &[450.0]), (4000, &[])]),
        ("Sweden", &[(1000, &[425.0]), (5000, &[])]),
        ("Russia", &[(800, &[425.0]), (3200, &[])]),
        ("United Kingdom", &[(400, &[400.0, 450.0]), (200, &[]), (400, &[400.0, 450.0]), (2000, &[])]),
        ("Australia", &[(400, &[413.0, 438.0]), (200, &[]), (400, &[413.0, 438.0]), (2000, &[])]),
        ("Japan", &[(1000, &[384.0, 416.0]), (2000, &[])]),
        ("Hong Kong", &[(400, &[440.0, 480.0]), (200, &[]), (400, &[440.0, 480.0]), (3000, &[])]),
    ];
    for (country, cycle) in cadences {
        assert_eq!(early(&repeat(4, cycle)), [Evidence::Ringback], "{country}");
        assert_eq!(early(&repeat(1, cycle)), [Evidence::Ringback], "{country}, one ring");
    }
}

#[test]
fn busy_and_congestion_of_many_countries() {
    let cadences: [(&str, &[Piece<'_>], Evidence); 9] = [
        ("North America", &[(500, &[480.0, 620.0]), (500, &[])], Evidence::Busy),
        ("North America, reorder", &[(250, &[480.0, 620.0]), (250, &[])], Evidence::Congestion),
        ("Germany", &[(480, &[425.0]), (480, &[])], Evidence::Busy),
        ("Germany, congestion", &[(240, &[425.0]), (240, &[])], Evidence::Congestion),
        ("United Kingdom", &[(375, &[400.0]), (375, &[])], Evidence::Busy),
        (
            "United Kingdom, congestion",
            &[(400, &[400.0]), (350, &[]), (225, &[400.0]), (525, &[])],
            Evidence::Congestion,
        ),
        ("China", &[(350, &[450.0]), (350, &[])], Evidence::Busy),
        ("India", &[(750, &[400.0]), (750, &[])], Evidence::Busy),
        ("Italy, congestion", &[(200, &[425.0]), (200, &[])], Evidence::Congestion),
    ];
    for (country, cycle, evidence) in cadences {
        assert_eq!(early(&repeat(6, cycle)), [evidence], "{country}");
        let answered = sound(&repeat(6, cycle));
        assert_eq!(verdict(&answered), (Answerer::Unknown, evidence), "{country}");
    }
}

#[test]
fn dial_tones() {
    for tones in [&[350.0, 440.0][..], &[425.0]] {
        assert_eq!(early(&[(300, &[]), (5000, tones)]), [Evidence::DialTone], "{tones:?}");
    }
}

#[test]
fn special_information_tones_tell_their_code() {
    let codes = [
        (913.8, 276, 1370.6, 276, Sit::Intercept),
        (985.2, 380, 1370.6, 276, Sit::Vacant),
        (913.8, 276, 1428.5, 380, Sit::Reorder),
        (985.2, 276, 1428.5, 380, Sit::Reorder),
        (985.2, 380, 1428.5, 380, Sit::NoCircuit),
        (913.8, 380, 1370.6, 380, Sit::NoCircuit),
        (913.8, 380, 1428.5, 276, Sit::Ineffective),
        (950.0, 330, 1400.0, 330, Sit::Uncoded),
    ];
    for (first, first_ms, second, second_ms, sit) in codes {
        for gap in [0, 4, 30] {
            let third: f32 = if sit == Sit::Uncoded { 1800.0 } else { 1776.7 };
            let (first, second, third) = (&[first][..], &[second][..], &[third][..]);
            let pieces = [
                (200, &[][..]),
                (first_ms, first),
                (gap, &[]),
                (second_ms, second),
                (gap, &[]),
                (380, third),
                (800, &[]),
            ];
            assert_eq!(early(&pieces), [Evidence::Sit(sit)], "gap {gap}");
            assert_eq!(verdict(&sound(&pieces)), (Answerer::Machine, Evidence::Sit(sit)), "gap {gap}");
        }
    }
}

#[test]
fn fax_tones() {
    let cng = sound(&repeat(2, &[(700, &[]), (500, &[1100.0]), (2300, &[])]));
    assert_eq!(verdict(&cng), (Answerer::Fax, Evidence::Cng));
    assert_eq!(verdict(&sound(&[(500, &[]), (3000, &[2100.0])])), (Answerer::Fax, Evidence::Ced));
    // 1100 Hz for as long as no fax sends it.
    let long = sound(&[(500, &[]), (900, &[1100.0]), (2300, &[])]);
    assert_eq!(verdict(&long), (Answerer::Machine, Evidence::Beep));
}

#[test]
fn a_word_and_a_pause_is_a_human_and_a_long_greeting_a_machine() {
    let hello = [sound(&[(600, &[])]), speech(500), sound(&[(2000, &[])])].concat();
    assert_eq!(verdict(&hello), (Answerer::Human, Evidence::ShortGreeting));
    let greeting = [sound(&[(600, &[])]), speech(5000), sound(&[(2000, &[])])].concat();
    assert_eq!(verdict(&greeting), (Answerer::Machine, Evidence::LongGreeting));
    assert_eq!(verdict(&sound(&[(6000, &[])])), (Answerer::Unknown, Evidence::Silence));
    assert_eq!(verdict(&vec![0; 48_000]), (Answerer::Unknown, Evidence::Silence));
}

/// After a machine's greeting; the beep and what follows are given.
fn after_greeting(pieces: &[Piece<'_>]) -> Option<(u32, u16, u16)> {
    let pcm = [speech(4000), sound(&[(400, &[])]), sound(pieces)].concat();
    let beeps: Vec<_> = findings(true, &pcm)
        .into_iter()
        .filter_map(|finding| match finding {
            Finding::Beep { ms, duration_ms, hz } => Some((ms, duration_ms, hz)),
            Finding::Early { .. } | Finding::Verdict(_) => None,
        })
        .collect();
    assert!(beeps.len() <= 1, "{beeps:?}");
    beeps.first().copied()
}

#[test]
fn beeps_of_every_kind() {
    for hz in [360.0, 440.0, 620.0, 850.0, 1000.0, 1400.0, 2000.0, 2200.0] {
        let (ms, duration, heard) =
            after_greeting(&[(250, &[hz]), (1500, &[])]).unwrap_or_else(|| panic!("{hz}"));
        assert!(ms.abs_diff(4650) <= 30, "{hz} ended at {ms}");
        assert!(duration.abs_diff(250) <= 30, "{hz} lasted {duration}");
        assert!((f32::from(heard) - hz).abs() <= 2.0, "{hz} is {heard}");
    }
    for ms in [100, 150, 500, 1000, 2000] {
        let (_, duration, _) =
            after_greeting(&[(ms, &[1000.0]), (500, &[])]).unwrap_or_else(|| panic!("{ms} ms"));
        assert!(u32::from(duration).abs_diff(ms) <= 30, "{ms} ms lasted {duration}");
    }
    assert!(after_greeting(&[(300, &[850.0, 1400.0]), (500, &[])]).is_some());
}

#[test]
fn what_is_no_beep() {
    let none: [(&str, &[Piece<'_>]); 8] = [
        ("too short", &[(50, &[1000.0]), (1500, &[])]),
        ("too high", &[(300, &[2600.0]), (1500, &[])]),
        ("no end", &[(6000, &[1000.0])]),
        ("ringback", &repeat(3, &[(1000, &[425.0]), (4000, &[])])),
        (
            "double ringback",
            &repeat(3, &[(400, &[400.0, 450.0]), (200, &[]), (400, &[400.0, 450.0]), (2000, &[])]),
        ),
        ("busy", &repeat(6, &[(500, &[425.0]), (500, &[])])),
        ("North American busy", &repeat(6, &[(500, &[480.0, 620.0]), (500, &[])])),
        ("congestion", &repeat(9, &[(200, &[425.0]), (200, &[])])),
    ];
    for (what, pieces) in none {
        assert_eq!(after_greeting(pieces), None, "{what}");
    }
    assert_eq!(after_greeting(&[(276, &[913.8]), (276, &[1370.6])]), None, "the beginning of SIT");
}

#[test]
fn ringback_after_the_answer_stops_the_clock() {
    let ring = sound(&repeat(3, &[(1000, &[425.0]), (4000, &[])]));
    let hello = [ring.clone(), speech(500), sound(&[(2000, &[])])].concat();
    assert_eq!(verdict(&hello), (Answerer::Human, Evidence::ShortGreeting));
    let nobody = [ring, sound(&[(3000, &[])])].concat();
    assert_eq!(verdict(&nobody), (Answerer::Unknown, Evidence::Ringback));
}

#[test]
fn what_is_found_does_not_hang_on_the_chunks() {
    let pcm = [speech(4000), sound(&[(400, &[]), (300, &[1000.0]), (900, &[])])].concat();
    let by = |chunk: usize| {
        let mut analyser = Analyser::new(Parameters::DEFAULT);
        analyser.answered();
        pcm.chunks(chunk).for_each(|chunk| analyser.push(chunk));
        std::iter::from_fn(|| analyser.poll()).collect::<Vec<_>>()
    };
    let whole = by(pcm.len());
    assert_eq!(whole.len(), 2, "{whole:?}");
    for chunk in [1, 7, 80, 160, 161, 480] {
        assert_eq!(by(chunk), whole, "chunks of {chunk}");
    }
}

/// `pcm` with white noise of this amplitude over it.
fn in_noise(mut pcm: Vec<i16>, amplitude: f32) -> Vec<i16> {
    let mut noise = 99u32;
    for sample in &mut pcm {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *sample = sample.saturating_add((((noise >> 16) as f32 / 32_768.0 - 1.0) * amplitude) as i16);
    }
    pcm
}

#[test]
fn noise_that_sets_in_after_digital_silence_is_not_taken_for_speech() {
    // -41 dB.
    let noise = |ms: u32| in_noise(vec![0; ms as usize * 8], 350.0);
    let nobody = [vec![0; 1200], noise(6000)].concat();
    assert_eq!(verdict(&nobody), (Answerer::Unknown, Evidence::Silence));
    let ring = in_noise(sound(&repeat(2, &[(1000, &[425.0]), (4000, &[])])), 350.0);
    let ringing = [vec![0; 1200], ring, noise(7000)].concat();
    assert_eq!(verdict(&ringing), (Answerer::Unknown, Evidence::Ringback));
}

#[test]
fn voices_far_behind_the_speaker_are_no_part_of_the_greeting() {
    let behind = |ms: u32| speech(ms).into_iter().map(|sample| sample / 16).collect::<Vec<_>>();
    let hello = [behind(900), speech(500), behind(4000)].concat();
    assert_eq!(verdict(&hello), (Answerer::Human, Evidence::ShortGreeting));
}

#[test]
fn a_beep_is_found_with_a_room_behind_it_and_none_is_where_speech_follows_at_once() {
    let after = |rest: Vec<i16>| {
        let pcm = [speech(4000), sound(&[(400, &[]), (300, &[1000.0])]), rest].concat();
        findings(true, &pcm).iter().any(|finding| matches!(finding, Finding::Beep { .. }))
    };
    assert!(after(speech(1500).into_iter().map(|sample| sample / 8).collect()));
    assert!(!after(speech(1500)));
}

#[test]
fn a_tone_before_the_answer_is_no_beep_of_the_answerer() {
    let mut analyser = Analyser::new(Parameters::DEFAULT);
    analyser.push(&sound(&[(400, &[1000.0]), (2000, &[])]));
    analyser.answered();
    analyser.push(&[sound(&[(300, &[])]), speech(500), sound(&[(2000, &[])])].concat());
    let found: Vec<_> = std::iter::from_fn(|| analyser.poll()).collect();
    let [Finding::Verdict(verdict)] = found[..] else { panic!("{found:?}") };
    assert_eq!((verdict.answerer, verdict.evidence), (Answerer::Human, Evidence::ShortGreeting));
}
