//! Keys that are pressed into a dial tone.

use media_core::Digit;

use super::{Chance, Law, Signal, digits};

/// Dial tones of the world, with how far frequencies may be off.
const DIAL_TONES: [&[f64]; 9] = [
    &[350.0, 440.0],
    &[350.0 * 1.02, 440.0 * 1.02],
    &[350.0 * 0.98, 440.0 * 0.98],
    &[425.0],
    &[425.0 * 1.04],
    &[400.0],
    &[450.0],
    &[330.0, 440.0],
    &[413.0, 438.0],
];

fn add_tone(audio: &mut [f64], hz: &[f64], law: Law, dbm0: f64) {
    for (n, sample) in audio.iter_mut().enumerate() {
        for hz in hz {
            *sample += law.amplitude(dbm0) * (hz * n as f64 / 8000.0 * std::f64::consts::TAU).sin();
        }
    }
}

/// All keys, 50 ms each, into half a second of dial tone at -10 dBm0 a frequency that goes on under them; or with it ending
/// `until_ms` after the beginning.
fn heard(dial: &[f64], law: Law, level: f64, until_ms: Option<usize>) -> String {
    let mut chance = Chance::new(7);
    let mut audio = vec![0.0; 8 * 2500];
    let until = until_ms.map_or(audio.len(), |ms| 8 * ms);
    add_tone(&mut audio[..until], dial, law, -10.0);
    for (n, digit) in Digit::ALL.into_iter().enumerate() {
        let at = 500.0 + n as f64 * 113.3;
        Signal::new(digit).ms(50.0).levels(level, level).add_to(&mut audio, at, law, chance.phases());
    }
    digits(&law.pass(&audio))
}

const ALL: &str = "0123456789*#ABCD";

#[test]
fn keys_are_heard_over_a_dial_tone_15_db_above_each_of_their_tones() {
    for law in Law::BOTH {
        for dial in DIAL_TONES {
            for level in [-3.0, -10.0, -18.0, -25.0] {
                assert_eq!(heard(dial, law, level, None), ALL, "{law:?} {dial:?} {level} dBm0");
            }
        }
    }
}

#[test]
fn keys_are_heard_when_the_first_of_them_ends_the_dial_tone() {
    for law in Law::BOTH {
        for dial in DIAL_TONES {
            for level in [-3.0, -10.0, -25.0] {
                // The exchange takes the tone away after the first key.
                assert_eq!(heard(dial, law, level, Some(570)), ALL, "{law:?} {dial:?} {level} dBm0");
            }
        }
    }
}

/// A key that is held for long keeps what is known of the dial tone under it.
#[test]
fn a_key_may_be_held_into_a_dial_tone_for_as_long_as_one_likes() {
    let mut audio = vec![0.0; 8 * 6000];
    add_tone(&mut audio, &[425.0], Law::A, -10.0);
    Signal::new(Digit::D5).ms(4000.0).levels(-20.0, -20.0).add_to(&mut audio, 500.0, Law::A, (0.0, 1.0));
    Signal::new(Digit::D6).ms(50.0).levels(-20.0, -20.0).add_to(&mut audio, 4600.0, Law::A, (0.0, 1.0));
    assert_eq!(digits(&Law::A.pass(&audio)), "56");
}

/// What only begins with a dial tone is judged like anything else a second later.
#[test]
fn a_dial_tone_is_forgotten() {
    let with = |at_ms: f64| {
        let mut audio = vec![0.0; 8 * 4000];
        add_tone(&mut audio[..8 * 500], &[425.0], Law::A, -10.0);
        Signal::new(Digit::D5).ms(60.0).add_to(&mut audio, at_ms, Law::A, (0.0, 1.0));
        // What is low mostly, and does not stand alone.
        for (n, sample) in audio[8 * 500..].iter_mut().enumerate() {
            let t = n as f64 / 8000.0 * std::f64::consts::TAU;
            *sample +=
                Law::A.amplitude(-8.0) * (310.0 * t).sin() + Law::A.amplitude(-17.0) * (640.0 * t).sin();
        }
        digits(&Law::A.pass(&audio))
    };
    assert_eq!(with(700.0), "5", "still known");
    assert_eq!(with(3000.0), "", "forgotten: not pure");
}
