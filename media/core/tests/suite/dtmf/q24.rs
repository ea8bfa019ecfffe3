//! ITU-T Q.24 (11/88), table A-1, at its limits, in A-law and in µ-law, for every key at every alignment.
//!
//! Of the table the recommendation itself was not at hand. The limits of AT&T's column agree with those that spandsp and
//! Asterisk test by (frequencies 1.5 and 3.5 %, −8 and +4 dB, 40 ms); the others nobody was found to bear out.

use media_core::Digit;
use media_core::dtmf::Key;

use super::{Chance, Law, Signal, digits, keys};

/// What an administration wants. Levels are of each tone, in dBm.
#[derive(Debug)]
struct Column {
    name: &'static str,
    /// Off the nominal frequency: a part of it, and hertz.
    takes_off: (f64, f64),
    refuses_off: Option<f64>,
    takes_levels: (f64, f64),
    refuses_level: f64,
    /// How far the high tone may be below and above the low one.
    takes_twist: (f64, f64),
    refuses_ms: f64,
    takes_pause_ms: f64,
    bridges_break_ms: f64,
    /// From one digit to the next.
    velocity_ms: f64,
}

/// Of all columns.
const TAKES_MS: f64 = 40.0;

const COLUMNS: [Column; 5] = [
    Column {
        name: "NTT",
        takes_off: (0.018, 0.0),
        refuses_off: Some(0.03),
        takes_levels: (-24.0, -3.0),
        refuses_level: -29.0,
        takes_twist: (-5.0, 5.0),
        refuses_ms: 24.0,
        takes_pause_ms: 30.0,
        bridges_break_ms: 10.0,
        velocity_ms: 120.0,
    },
    Column {
        name: "AT&T",
        takes_off: (0.015, 0.0),
        refuses_off: Some(0.035),
        takes_levels: (-25.0, 0.0),
        refuses_level: -55.0,
        takes_twist: (-8.0, 4.0),
        refuses_ms: 23.0,
        takes_pause_ms: 40.0,
        bridges_break_ms: 10.0,
        velocity_ms: 93.0,
    },
    Column {
        name: "Denmark",
        takes_off: (0.015, 2.0),
        refuses_off: None,
        takes_levels: (-27.0, -2.0),
        refuses_level: -36.0,
        takes_twist: (-6.0, 6.0),
        refuses_ms: 20.0,
        takes_pause_ms: 40.0,
        bridges_break_ms: 20.0,
        velocity_ms: 100.0,
    },
    Column {
        name: "Australia",
        takes_off: (0.015, 4.0),
        refuses_off: Some(0.07),
        takes_levels: (-27.0, -5.0),
        refuses_level: -30.0,
        takes_twist: (-10.0, 10.0),
        refuses_ms: 25.0,
        takes_pause_ms: 70.0,
        bridges_break_ms: 12.0,
        velocity_ms: 125.0,
    },
    Column {
        name: "Brazil",
        takes_off: (0.018, 0.0),
        refuses_off: Some(0.03),
        takes_levels: (-25.0, -3.0),
        refuses_level: -50.0,
        takes_twist: (-9.0, 9.0),
        refuses_ms: 20.0,
        takes_pause_ms: 30.0,
        bridges_break_ms: 10.0,
        velocity_ms: 120.0,
    },
];

/// Quarters of a millisecond in the 5 ms of the detector's grid.
const ALIGNMENTS: u32 = 20;

/// Sends what `signal` makes of every key, at every alignment, and wants `wanted` of it.
#[track_caller]
fn check(what: &str, signal: impl Fn(Digit) -> Signal, wanted: impl Fn(Digit) -> String) {
    check_each(what, |digit| vec![(0.0, signal(digit))], wanted);
}

/// The same for several signals, each at a time in milliseconds.
#[track_caller]
fn check_each(what: &str, signals: impl Fn(Digit) -> Vec<(f64, Signal)>, wanted: impl Fn(Digit) -> String) {
    for law in Law::BOTH {
        let mut chance = Chance::new(24);
        for digit in Digit::ALL {
            for alignment in 0..ALIGNMENTS {
                let signals = signals(digit);
                let end = signals.iter().map(|(at, signal)| at + signal.ms).fold(0.0, f64::max);
                let mut audio = vec![0.0; (8.0 * (end + 200.0)) as usize];
                for (at, signal) in &signals {
                    let at = 100.0 + f64::from(alignment) * 0.25 + at;
                    signal.add_to(&mut audio, at, law, chance.phases());
                }
                let heard = digits(&law.pass(&audio));
                assert_eq!(heard, wanted(digit), "{what} {law:?}, {digit} {alignment}/4 ms: {signals:?}");
            }
        }
    }
}

fn taken(digit: Digit) -> String {
    digit.to_string()
}

fn refused(_: Digit) -> String {
    String::new()
}

/// A signal of the shortest duration.
fn shortest(digit: Digit) -> Signal {
    Signal::new(digit).ms(TAKES_MS)
}

impl Signal {
    /// With both tones off their frequencies by a part and by hertz; the signs say which way.
    fn off(self, (part, hertz): (f64, f64), low_sign: f64, high_sign: f64) -> Self {
        let (low, high) = self.digit.tones();
        Self {
            low_off: low_sign * (f64::from(low) * part + hertz),
            high_off: high_sign * (f64::from(high) * part + hertz),
            ..self
        }
    }
}

const SIGNS: [(f64, f64); 4] = [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)];

#[test]
fn frequencies() {
    for column in &COLUMNS {
        let name = column.name;
        for (low, high) in SIGNS {
            check(name, |digit| shortest(digit).off(column.takes_off, low, high), taken);
        }
        if let Some(part) = column.refuses_off {
            for (low, high) in [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)] {
                check(name, |digit| Signal::new(digit).ms(100.0).off((part, 0.0), low, high), refused);
            }
        }
    }
}

#[test]
fn levels() {
    for column in &COLUMNS {
        let (least, most) = column.takes_levels;
        check(column.name, |digit| shortest(digit).levels(least, least), taken);
        check(column.name, |digit| shortest(digit).levels(most, most), taken);
        let weak = column.refuses_level;
        check(column.name, |digit| Signal::new(digit).ms(100.0).levels(weak, weak), refused);
    }
}

#[test]
fn twist() {
    for column in &COLUMNS {
        let (below, above) = column.takes_twist;
        let (least, most) = column.takes_levels;
        for loud in [most, least - below] {
            check(column.name, |digit| shortest(digit).levels(loud, loud + below), taken);
        }
        for loud in [most, least + above] {
            check(column.name, |digit| shortest(digit).levels(loud - above, loud), taken);
        }
    }
}

#[test]
fn durations() {
    for column in &COLUMNS {
        check(column.name, shortest, taken);
        check(column.name, |digit| Signal::new(digit).ms(column.refuses_ms), refused);
    }
}

#[test]
fn pauses_and_breaks() {
    for column in &COLUMNS {
        let again = TAKES_MS + column.takes_pause_ms;
        check_each(
            column.name,
            |digit| vec![(0.0, shortest(digit)), (again, shortest(digit))],
            |digit| format!("{digit}{digit}"),
        );
        let after = 60.0 + column.bridges_break_ms;
        check_each(
            column.name,
            |digit| vec![(0.0, Signal::new(digit)), (after, Signal::new(digit).ms(30.0))],
            taken,
        );
    }
}

#[test]
fn velocity() {
    for column in &COLUMNS {
        let all = Digit::ALL.into_iter().enumerate();
        check_each(
            column.name,
            |_| all.clone().map(|(n, digit)| (n as f64 * column.velocity_ms, shortest(digit))).collect(),
            |_| "0123456789*#ABCD".into(),
        );
    }
}

/// All limits of a column at once: the shortest signal, off in both frequencies, twisted, the weaker tone at the least.
#[test]
fn everything_at_its_limit_together() {
    for column in &COLUMNS {
        let least = column.takes_levels.0;
        let (below, above) = column.takes_twist;
        for (low, high) in SIGNS {
            let off = |digit| shortest(digit).off(column.takes_off, low, high);
            check(column.name, |digit| off(digit).levels(least - below, least), taken);
            check(column.name, |digit| off(digit).levels(least, least + above), taken);
        }
    }
}

/// AT&T: echoes that come up to 20 ms later and are 10 dB weaker.
#[test]
fn echoes() {
    for delay in [1.0, 5.0, 10.0, 15.0, 20.0] {
        check_each(
            "echo",
            |digit| {
                let signal = Signal::new(digit);
                vec![(0.0, signal), (delay, signal.levels(-20.0, -20.0))]
            },
            taken,
        );
    }
}

/// Tells of every key how long it was down, to the grid of 5 ms.
#[test]
fn the_duration_is_that_of_the_tone() {
    let mut chance = Chance::new(5);
    for law in Law::BOTH {
        for ms in [40_u16, 52, 70, 100, 250, 1003] {
            for digit in Digit::ALL {
                let mut audio = vec![0.0; 8 * (usize::from(ms) + 300)];
                let at = 100.0 + chance.unit() * 5.0;
                Signal::new(digit).ms(ms.into()).add_to(&mut audio, at, law, chance.phases());
                let keys = keys(&law.pass(&audio));
                let [Key::Down(down), Key::Up { digit: up, duration_ms }] = keys[..] else {
                    panic!("{keys:?}")
                };
                assert_eq!((down, up), (digit, digit));
                assert!(duration_ms.abs_diff(ms) <= 5, "{digit}: {duration_ms} of {ms} ms");
            }
        }
    }
}

/// White noise of 0 to 4 kHz, 12 dB below the two tones together.
#[test]
fn every_key_is_heard_through_noise() {
    const SEEDS: u64 = 100;
    for law in Law::BOTH {
        for (low, high) in [(-10.0, -10.0), (-10.0, -18.0), (-14.0, -10.0), (-25.0, -25.0)] {
            for seed in 0..SEEDS {
                let mut chance = Chance::new(seed);
                let mut audio = vec![0.0; 8 * 93 * 16 + 1600];
                for (n, digit) in Digit::ALL.into_iter().enumerate() {
                    let at = 50.0 + n as f64 * 93.0 + chance.unit() * 5.0;
                    shortest(digit).levels(low, high).add_to(&mut audio, at, law, chance.phases());
                }
                let power = (law.amplitude(low).powi(2) + law.amplitude(high).powi(2)) / 2.0;
                let rms = (power / 10_f64.powf(1.2)).sqrt();
                for sample in &mut audio {
                    *sample += rms * chance.normal();
                }
                let heard = digits(&law.pass(&audio));
                assert_eq!(heard, "0123456789*#ABCD", "{law:?} {low} {high} dBm0, seed {seed}");
            }
        }
    }
}

/// Where taking turns into refusing, in steps finer than the table's.
#[test]
fn the_edges_are_where_they_are_documented() {
    let takes = |signal: &dyn Fn(Digit) -> Signal| {
        let mut chance = Chance::new(3);
        let mut taken = 0;
        for digit in Digit::ALL {
            for alignment in 0..ALIGNMENTS {
                let signal = signal(digit);
                let mut audio = vec![0.0; 8 * (signal.ms as usize + 300)];
                let at = 100.0 + f64::from(alignment) * 0.25;
                signal.add_to(&mut audio, at, Law::A, chance.phases());
                taken += usize::from(digits(&Law::A.pass(&audio)) == digit.to_string());
            }
        }
        match taken {
            0 => Some(false),
            320 => Some(true),
            _ => None,
        }
    };
    for sign in [1.0, -1.0] {
        for (percent, taken) in [(2.3, true), (2.7, false)] {
            let part = percent / 100.0;
            let long = |digit| Signal::new(digit).ms(100.0);
            assert_eq!(takes(&|digit| long(digit).off((part, 0.0), sign, 0.0)), Some(taken), "{percent} %");
            assert_eq!(takes(&|digit| long(digit).off((part, 0.0), 0.0, sign)), Some(taken), "{percent} %");
        }
    }
    for (db, taken) in [(10.2, true), (10.8, false)] {
        assert_eq!(takes(&|digit| Signal::new(digit).levels(-10.0, -10.0 - db)), Some(taken), "{db} dB");
        assert_eq!(takes(&|digit| Signal::new(digit).levels(-10.0 - db, -10.0)), Some(taken), "{db} dB");
    }
    for (dbm0, taken) in [(-27.7, true), (-28.4, false)] {
        assert_eq!(takes(&|digit| Signal::new(digit).levels(dbm0, dbm0)), Some(taken), "{dbm0} dBm0");
    }
    for (ms, taken) in [(28.0, false), (38.0, true)] {
        assert_eq!(takes(&|digit| Signal::new(digit).ms(ms)), Some(taken), "{ms} ms");
    }
}
