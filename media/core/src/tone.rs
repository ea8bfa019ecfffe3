//! The tones by which telephone networks tell how a call stands, country by country.
//!
//! What a tone is made of and how its parts follow each other is the list of *Various tones used in national networks*
//! (ITU-T E.180, supplement 2, and its annex to the Operational Bulletin 781, 2003); without a country it is what E.180/Q.35
//! recommends. Levels are of E.180 (-10 dBm0) except where the North American plan (E.300, supplement 3) or the list
//! states others.
//!
//! The list itself was not at hand. Two that were made of it were: the indications of Asterisk, after the edition of 2003,
//! and the tones of spandsp, after one of the nineties. Where they differ, the newer counts, or the one that says by which
//! document. Neither bears out Vietnam, congestion in Ireland, or the cadences of Romania.
//!
//! A tone is a [`Signal`]: a table entry that [`Signal::pcm`] turns into samples, made to be repeated without a seam.

use std::f64::consts::TAU;
use std::time::Duration;

/// What a tone says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tone {
    /// Ready to dial.
    Dial,
    /// The far end rings.
    Ringback,
    /// The far end is busy.
    Busy,
    /// The network has no way to the far end.
    Congestion,
    /// Three rising tones before an announcement that the call cannot be completed.
    SpecialInformation,
    /// Speak now.
    Beep,
}

impl Tone {
    /// What it is made of in `country`, an ISO 3166-1 code in small letters; without one as E.180 recommends. `None` for a
    /// country that is not in the list.
    pub fn signal(self, country: Option<&str>) -> Option<&'static Signal> {
        let of_country = match country {
            None => &RECOMMENDED,
            Some(code) => &COUNTRIES[COUNTRIES.binary_search_by(|(this, _)| (*this).cmp(code)).ok()?].1,
        };
        Some(match self {
            Self::Dial => &of_country.dial,
            Self::Ringback => &of_country.ringback,
            Self::Busy => &of_country.busy,
            Self::Congestion => &of_country.congestion,
            Self::SpecialInformation => &SPECIAL_INFORMATION,
            Self::Beep => &BEEP,
        })
    }

    /// The countries that are in the list, in order.
    pub fn countries() -> impl Iterator<Item = &'static str> {
        COUNTRIES.iter().map(|(code, _)| *code)
    }
}

/// One part of a tone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sound {
    /// Nothing.
    Silence,
    /// One frequency, in Hz.
    One(u16),
    /// Two frequencies together.
    Two(u16, u16),
    /// The first frequency, its amplitude modulated wholly by the second.
    Modulated(u16, u16),
}

/// A tone's makeup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signal {
    /// dBm0 of each frequency.
    level: i8,
    /// What follows what, and for how many ms; a single part of 0 ms is without end.
    parts: &'static [(Sound, u16)],
}

/// Peak of a sine of 0 dBm0 on the scale of 16 bits: the overload point of A-law lies at +3.14 dBm0 (ITU-T G.711, table 5),
/// that of µ-law 0.03 dB above.
const PEAK_0_DBM0: f64 = 32_768.0 * 0.696_627; // 10^(-3.14 / 20)

/// A tone begins and ends within this many ms, at a silence: a sine that is cut off anywhere clicks.
const EDGE_MS: u32 = 2;

/// Lengths are multiples of this, the packet time of coders that have frames.
const FRAME_MS: u32 = 20;

/// A tone without end repeats after this long. Whole Hz have whole periods in it.
const ENDLESS_MS: u32 = 1_000;

impl Signal {
    /// How long it takes until it begins anew; a tone without end is repeated every second.
    pub fn period(&self) -> Duration {
        Duration::from_millis(u64::from(self.period_ms()))
    }

    /// dBm0 of each frequency.
    pub fn level(&self) -> i8 {
        self.level
    }

    /// What follows what, and for how many ms; a single part of 0 ms is without end.
    pub fn parts(&self) -> &'static [(Sound, u16)] {
        self.parts
    }

    fn period_ms(&self) -> u32 {
        match self.parts.iter().map(|(_, ms)| u32::from(*ms)).sum() {
            0 => ENDLESS_MS,
            ms => ms,
        }
    }

    /// Samples at `rate`, a multiple of 1,000 Hz: as many periods as it takes to fill frames of 20 ms. The end goes on at the
    /// start: phases are continuous over the seam of a tone without end, and any other ends in silence or has been faded.
    pub fn pcm(&self, rate: u32, gain_db: f64) -> Vec<i16> {
        let per_ms = (rate / 1_000) as usize;
        let edge = EDGE_MS as usize * per_ms;
        let peak = PEAK_0_DBM0 * 10f64.powf((f64::from(self.level) + gain_db) / 20.0);
        let mut period = Vec::with_capacity(self.period_ms() as usize * per_ms);
        // Where each of the two oscillators stands, in cycles: parts that follow each other at once go on in phase.
        let mut cycles = [0.0f64; 2];
        for (n, (sound, ms)) in self.parts.iter().enumerate() {
            let endless = *ms == 0;
            let samples = if endless { ENDLESS_MS as usize } else { usize::from(*ms) } * per_ms;
            let silent = |part: usize| matches!(self.parts[part % self.parts.len()].0, Sound::Silence);
            let before = n.checked_sub(1).unwrap_or(self.parts.len() - 1);
            let (rises, falls) = (!endless && silent(before), !endless && silent(n + 1));
            let hz = match *sound {
                Sound::Silence => {
                    period.resize(period.len() + samples, 0);
                    cycles = [0.0; 2];
                    continue;
                }
                Sound::One(hz) => [hz, 0],
                Sound::Two(one, other) | Sound::Modulated(one, other) => [one, other],
            };
            let step = hz.map(|hz| f64::from(hz) / f64::from(rate));
            for at in 0..samples {
                let [one, other] = [0, 1].map(|n| (TAU * (cycles[n] + step[n] * at as f64)).sin());
                let wave = match sound {
                    Sound::Silence => 0.0,
                    Sound::One(_) => one,
                    Sound::Two(..) => one + other,
                    // The sidebands have half of the carrier's power between them: in all it is the level.
                    Sound::Modulated(..) => one * (1.0 + other) / 1.5f64.sqrt(),
                };
                let fade = |is: bool, from: usize| match is && from < edge {
                    true => (TAU / 4.0 * from as f64 / edge as f64).sin().powi(2),
                    false => 1.0,
                };
                let sample = peak * wave * fade(rises, at) * fade(falls, samples - 1 - at);
                // `as` saturates: a gain may be asked for that does not fit.
                period.push(sample.round() as i16);
            }
            cycles = [0, 1].map(|n| (cycles[n] + step[n] * samples as f64).fract());
        }
        let times = FRAME_MS / gcd(self.period_ms(), FRAME_MS);
        period.repeat(times as usize)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The tones of a country.
#[derive(Debug)]
struct National {
    dial: Signal,
    ringback: Signal,
    busy: Signal,
    congestion: Signal,
}

use Sound::{Modulated, One, Silence, Two};

/// The nominal level of E.180/Q.35, for one frequency; two are 3 dB less each.
const LEVEL: i8 = -10;
const LEVEL_OF_TWO: i8 = -13;

/// At the level of E.180: one frequency or a modulated one at all of it, two at half of it each.
const fn signal(parts: &'static [(Sound, u16)]) -> Signal {
    let level = match parts[0].0 {
        Two(..) => LEVEL_OF_TWO,
        Silence | One(_) | Modulated(..) => LEVEL,
    };
    Signal { level, parts }
}

/// What E.180/Q.35 recommends.
const RECOMMENDED: National = National {
    dial: signal(&[(One(425), 0)]),
    ringback: signal(&[(One(425), 1_000), (Silence, 4_000)]),
    busy: signal(&[(One(425), 500), (Silence, 500)]),
    congestion: signal(&[(One(425), 250), (Silence, 250)]),
};

/// The same in every country (E.180/Q.35): three tones of 330 ms, and a second of silence, which may be a quarter longer or
/// shorter and is here so long that the period is a multiple of 20 ms.
const SPECIAL_INFORMATION: Signal =
    signal(&[(One(950), 330), (One(1_400), 330), (One(1_800), 330), (Silence, 1_010)]);

/// No recommendation: what answering machines do (half a second of 1 kHz and a moment to take breath).
const BEEP: Signal = signal(&[(One(1_000), 500), (Silence, 100)]);

/// The precise audible tone plan of North America (E.300, supplement 3).
const PRECISE: National = National {
    dial: Signal { level: -13, parts: &[(Two(350, 440), 0)] },
    ringback: Signal { level: -19, parts: &[(Two(440, 480), 2_000), (Silence, 4_000)] },
    busy: Signal { level: -24, parts: &[(Two(480, 620), 500), (Silence, 500)] },
    congestion: Signal { level: -24, parts: &[(Two(480, 620), 250), (Silence, 250)] },
};

/// By ISO 3166-1 code.
const COUNTRIES: &[(&str, National)] = &[
    (
        "ar",
        National {
            ringback: signal(&[(One(425), 1_000), (Silence, 4_500)]),
            busy: signal(&[(One(425), 300), (Silence, 200)]),
            congestion: signal(&[(One(425), 300), (Silence, 400)]),
            ..RECOMMENDED
        },
    ),
    (
        "at",
        National {
            dial: signal(&[(One(420), 0)]),
            ringback: signal(&[(One(420), 1_000), (Silence, 5_000)]),
            busy: signal(&[(One(420), 400), (Silence, 400)]),
            congestion: signal(&[(One(420), 200), (Silence, 200)]),
        },
    ),
    (
        "au",
        National {
            dial: signal(&[(Two(413, 438), 0)]),
            ringback: signal(&[(Two(413, 438), 400), (Silence, 200), (Two(413, 438), 400), (Silence, 2_000)]),
            busy: signal(&[(One(425), 375), (Silence, 375)]),
            // Every other tone should be 10 dB weaker, which a signal of one level is not.
            congestion: signal(&[(One(425), 375), (Silence, 375)]),
        },
    ),
    (
        "be",
        National {
            ringback: signal(&[(One(425), 1_000), (Silence, 3_000)]),
            congestion: signal(&[(One(425), 167), (Silence, 167)]),
            ..RECOMMENDED
        },
    ),
    ("bg", RECOMMENDED),
    (
        "br",
        National {
            busy: signal(&[(One(425), 250), (Silence, 250)]),
            congestion: signal(&[(One(425), 250), (Silence, 250), (One(425), 750), (Silence, 250)]),
            ..RECOMMENDED
        },
    ),
    ("ca", PRECISE),
    ("ch", National { congestion: signal(&[(One(425), 200), (Silence, 200)]), ..RECOMMENDED }),
    (
        "cl",
        National {
            dial: signal(&[(One(400), 0)]),
            ringback: signal(&[(One(400), 1_000), (Silence, 3_000)]),
            busy: signal(&[(One(400), 500), (Silence, 500)]),
            congestion: signal(&[(One(400), 200), (Silence, 200)]),
        },
    ),
    (
        "cn",
        National {
            dial: signal(&[(One(450), 0)]),
            ringback: signal(&[(One(450), 1_000), (Silence, 4_000)]),
            busy: signal(&[(One(450), 350), (Silence, 350)]),
            congestion: signal(&[(One(450), 700), (Silence, 700)]),
        },
    ),
    (
        "cz",
        National {
            dial: signal(&[(One(425), 330), (Silence, 330), (One(425), 660), (Silence, 660)]),
            busy: signal(&[(One(425), 330), (Silence, 330)]),
            congestion: signal(&[(One(425), 165), (Silence, 165)]),
            ..RECOMMENDED
        },
    ),
    (
        "de",
        National {
            busy: signal(&[(One(425), 480), (Silence, 480)]),
            congestion: signal(&[(One(425), 240), (Silence, 240)]),
            ..RECOMMENDED
        },
    ),
    ("dk", National { congestion: signal(&[(One(425), 200), (Silence, 200)]), ..RECOMMENDED }),
    (
        "ee",
        National {
            busy: signal(&[(One(425), 300), (Silence, 300)]),
            congestion: signal(&[(One(425), 200), (Silence, 200)]),
            ..RECOMMENDED
        },
    ),
    (
        "es",
        National {
            ringback: signal(&[(One(425), 1_500), (Silence, 3_000)]),
            busy: signal(&[(One(425), 200), (Silence, 200)]),
            congestion: signal(&[
                (One(425), 200),
                (Silence, 200),
                (One(425), 200),
                (Silence, 200),
                (One(425), 200),
                (Silence, 600),
            ]),
            ..RECOMMENDED
        },
    ),
    (
        "fi",
        National {
            busy: signal(&[(One(425), 300), (Silence, 300)]),
            congestion: signal(&[(One(425), 200), (Silence, 200)]),
            ..RECOMMENDED
        },
    ),
    (
        "fr",
        National {
            dial: signal(&[(One(440), 0)]),
            ringback: signal(&[(One(440), 1_500), (Silence, 3_500)]),
            busy: signal(&[(One(440), 500), (Silence, 500)]),
            congestion: signal(&[(One(440), 250), (Silence, 250)]),
        },
    ),
    (
        "gb",
        National {
            dial: signal(&[(Two(350, 440), 0)]),
            ringback: signal(&[(Two(400, 450), 400), (Silence, 200), (Two(400, 450), 400), (Silence, 2_000)]),
            busy: signal(&[(One(400), 375), (Silence, 375)]),
            congestion: signal(&[(One(400), 400), (Silence, 350), (One(400), 225), (Silence, 525)]),
        },
    ),
    (
        "gr",
        National {
            dial: signal(&[(One(425), 200), (Silence, 300), (One(425), 700), (Silence, 800)]),
            busy: signal(&[(One(425), 300), (Silence, 300)]),
            congestion: signal(&[(One(425), 200), (Silence, 200)]),
            ..RECOMMENDED
        },
    ),
    (
        "hk",
        // At -13 dBm0 throughout, as the list states.
        National {
            dial: signal(&[(Two(350, 440), 0)]),
            ringback: signal(&[(Two(440, 480), 400), (Silence, 200), (Two(440, 480), 400), (Silence, 3_000)]),
            busy: signal(&[(Two(480, 620), 500), (Silence, 500)]),
            congestion: signal(&[(Two(480, 620), 250), (Silence, 250)]),
        },
    ),
    (
        "hu",
        National {
            ringback: signal(&[(One(425), 1_250), (Silence, 3_750)]),
            busy: signal(&[(One(425), 300), (Silence, 300)]),
            congestion: signal(&[(One(425), 300), (Silence, 300)]),
            ..RECOMMENDED
        },
    ),
    ("id", RECOMMENDED),
    (
        "ie",
        National {
            ringback: signal(&[(Two(400, 450), 400), (Silence, 200), (Two(400, 450), 400), (Silence, 2_000)]),
            ..RECOMMENDED
        },
    ),
    (
        "il",
        National {
            dial: signal(&[(One(414), 0)]),
            ringback: signal(&[(One(414), 1_000), (Silence, 3_000)]),
            busy: signal(&[(One(414), 500), (Silence, 500)]),
            congestion: signal(&[(One(414), 250), (Silence, 250)]),
        },
    ),
    (
        "in",
        National {
            dial: signal(&[(Modulated(400, 25), 0)]),
            ringback: signal(&[
                (Modulated(400, 25), 400),
                (Silence, 200),
                (Modulated(400, 25), 400),
                (Silence, 2_000),
            ]),
            busy: signal(&[(One(400), 750), (Silence, 750)]),
            congestion: signal(&[(One(400), 250), (Silence, 250)]),
        },
    ),
    (
        "it",
        National {
            dial: signal(&[(One(425), 200), (Silence, 200), (One(425), 600), (Silence, 1_000)]),
            congestion: signal(&[(One(425), 200), (Silence, 200)]),
            ..RECOMMENDED
        },
    ),
    (
        "jp",
        National {
            dial: signal(&[(One(400), 0)]),
            ringback: signal(&[(Modulated(400, 16), 1_000), (Silence, 2_000)]),
            busy: signal(&[(One(400), 500), (Silence, 500)]),
            congestion: signal(&[(One(400), 500), (Silence, 500)]),
        },
    ),
    (
        "kr",
        National {
            dial: signal(&[(Two(350, 440), 0)]),
            ringback: signal(&[(Two(440, 480), 1_000), (Silence, 2_000)]),
            busy: signal(&[(Two(480, 620), 500), (Silence, 500)]),
            congestion: signal(&[(Two(480, 620), 300), (Silence, 200)]),
        },
    ),
    (
        "lt",
        National {
            busy: signal(&[(One(425), 350), (Silence, 350)]),
            congestion: signal(&[(One(425), 200), (Silence, 200)]),
            ..RECOMMENDED
        },
    ),
    ("mx", National { busy: signal(&[(One(425), 250), (Silence, 250)]), ..RECOMMENDED }),
    (
        "my",
        National {
            ringback: signal(&[(One(425), 400), (Silence, 200), (One(425), 400), (Silence, 2_000)]),
            ..RECOMMENDED
        },
    ),
    ("nl", RECOMMENDED),
    ("no", National { congestion: signal(&[(One(425), 200), (Silence, 200)]), ..RECOMMENDED }),
    (
        "nz",
        National {
            dial: signal(&[(One(400), 0)]),
            ringback: signal(&[(Two(400, 450), 400), (Silence, 200), (Two(400, 450), 400), (Silence, 2_000)]),
            busy: signal(&[(One(400), 500), (Silence, 500)]),
            congestion: signal(&[(One(400), 250), (Silence, 250)]),
        },
    ),
    (
        "ph",
        National {
            dial: signal(&[(One(425), 0)]),
            ringback: signal(&[(Two(425, 480), 1_000), (Silence, 4_000)]),
            busy: signal(&[(Two(480, 620), 500), (Silence, 500)]),
            congestion: signal(&[(Two(480, 620), 250), (Silence, 250)]),
        },
    ),
    ("pl", National { congestion: signal(&[(One(425), 500), (Silence, 500)]), ..RECOMMENDED }),
    (
        "pt",
        National {
            ringback: signal(&[(One(425), 1_000), (Silence, 5_000)]),
            congestion: signal(&[(One(425), 200), (Silence, 200)]),
            ..RECOMMENDED
        },
    ),
    (
        "ro",
        National {
            dial: signal(&[(One(450), 0)]),
            ringback: signal(&[(One(450), 1_850), (Silence, 4_150)]),
            busy: signal(&[(One(450), 167), (Silence, 167)]),
            congestion: signal(&[(One(450), 500), (Silence, 500)]),
        },
    ),
    (
        "ru",
        National {
            ringback: signal(&[(One(425), 800), (Silence, 3_200)]),
            busy: signal(&[(One(425), 350), (Silence, 350)]),
            congestion: signal(&[(One(425), 175), (Silence, 175)]),
            ..RECOMMENDED
        },
    ),
    (
        "se",
        National {
            ringback: signal(&[(One(425), 1_000), (Silence, 5_000)]),
            busy: signal(&[(One(425), 250), (Silence, 250)]),
            congestion: signal(&[(One(425), 250), (Silence, 750)]),
            ..RECOMMENDED
        },
    ),
    (
        "sg",
        National {
            ringback: signal(&[
                (Modulated(425, 24), 400),
                (Silence, 200),
                (Modulated(425, 24), 400),
                (Silence, 2_000),
            ]),
            busy: signal(&[(One(425), 750), (Silence, 750)]),
            ..RECOMMENDED
        },
    ),
    (
        "th",
        National {
            dial: signal(&[(Modulated(400, 50), 0)]),
            ringback: signal(&[(One(400), 1_000), (Silence, 4_000)]),
            busy: signal(&[(One(400), 500), (Silence, 500)]),
            congestion: signal(&[(One(400), 300), (Silence, 300)]),
        },
    ),
    (
        "tr",
        National {
            dial: signal(&[(One(450), 0)]),
            ringback: signal(&[(One(450), 2_000), (Silence, 4_000)]),
            busy: signal(&[(One(450), 500), (Silence, 500)]),
            congestion: signal(&[
                (One(450), 200),
                (Silence, 200),
                (One(450), 200),
                (Silence, 200),
                (One(450), 200),
                (Silence, 200),
                (One(450), 600),
                (Silence, 200),
            ]),
        },
    ),
    (
        "tw",
        National {
            ringback: Signal { level: -19, parts: &[(Two(440, 480), 1_000), (Silence, 2_000)] },
            ..PRECISE
        },
    ),
    ("us", PRECISE),
    ("vn", RECOMMENDED),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Codec, Decoder, Encoder};

    const TONES: [Tone; 6] =
        [Tone::Dial, Tone::Ringback, Tone::Busy, Tone::Congestion, Tone::SpecialInformation, Tone::Beep];

    fn all() -> impl Iterator<Item = (Option<&'static str>, Tone, &'static Signal)> {
        std::iter::once(None)
            .chain(Tone::countries().map(Some))
            .flat_map(|country| TONES.map(move |tone| (country, tone, tone.signal(country).unwrap())))
    }

    /// dBm0 of one frequency in `pcm` (Goertzel).
    fn level(pcm: &[i16], hz: u16, rate: u32) -> f64 {
        let turn = TAU * f64::from(hz) / f64::from(rate);
        let (mut one, mut two) = (0.0, 0.0);
        for sample in pcm {
            (one, two) = (f64::from(*sample) + 2.0 * turn.cos() * one - two, one);
        }
        let power = one * one + two * two - 2.0 * turn.cos() * one * two;
        20.0 * (2.0 * power.sqrt() / pcm.len() as f64 / PEAK_0_DBM0).log10()
    }

    /// The middle of a part, in whole periods of its frequencies where it is long enough.
    fn middle(pcm: &[i16], at: usize, samples: usize, rate: u32) -> &[i16] {
        let margin = rate as usize / 100;
        let room = samples - 2 * margin;
        // 40 ms hold whole periods of all multiples of 25 Hz.
        let whole = rate as usize / 25;
        let taken = if room >= whole { room / whole * whole } else { room };
        &pcm[at + margin..at + margin + taken]
    }

    #[test]
    fn the_list_is_in_order_and_every_entry_is_sound() {
        assert!(COUNTRIES.is_sorted_by(|(a, _), (b, _)| a < b));
        assert!(COUNTRIES.len() >= 40);
        for (country, tone, signal) in all() {
            let endless = signal.parts.len() == 1;
            for (n, (sound, ms)) in signal.parts.iter().enumerate() {
                assert_eq!(endless, *ms == 0, "{country:?} {tone:?}");
                let last = n + 1 == signal.parts.len();
                assert_eq!(
                    *sound == Silence,
                    last && !endless || n % 2 == 1 && tone != Tone::SpecialInformation
                );
            }
        }
        assert!(Tone::Busy.signal(Some("xx")).is_none() && Tone::Busy.signal(Some("")).is_none());
    }

    #[test]
    fn cadences_are_exact() {
        for rate in [8_000, 16_000, 48_000] {
            let per_ms = rate as usize / 1_000;
            for (country, tone, signal) in all() {
                let pcm = signal.pcm(rate, 0.0);
                assert_eq!(pcm.len() % (FRAME_MS as usize * per_ms), 0, "{country:?} {tone:?}");
                let period = signal.period().as_millis() as usize * per_ms;
                assert_eq!(pcm.len() % period, 0);
                let mut at = 0;
                for (sound, ms) in signal.parts {
                    let samples = if *ms == 0 { period } else { usize::from(*ms) * per_ms };
                    let part = &pcm[at..at + samples];
                    if *sound == Silence {
                        assert!(part.iter().all(|sample| *sample == 0), "{country:?} {tone:?}");
                    } else {
                        // Heard from the first to the last ms.
                        let sounds = |part: &[i16]| part.iter().any(|sample| *sample != 0);
                        assert!(sounds(&part[..per_ms]) && sounds(&part[samples - per_ms..]));
                    }
                    at += samples;
                }
            }
        }
    }

    #[test]
    fn levels_are_met_in_every_codec() {
        for codec in Codec::ALL {
            let rate = codec.sample_rate();
            let per_ms = rate as usize / 1_000;
            for (country, tone, signal) in all() {
                let pcm = signal.pcm(rate, 0.0);
                let mut heard = Vec::with_capacity(pcm.len());
                let (mut encoder, mut decoder) = (Encoder::new(codec), Decoder::new(codec));
                for frame in pcm.chunks(20 * per_ms) {
                    let (mut payload, mut samples) = ([0; 1_920], [0; 960]);
                    let octets = encoder.encode(frame, &mut payload);
                    let n = decoder.decode(&payload[..octets], &mut samples);
                    heard.extend_from_slice(&samples[..n]);
                }
                let mut at = 0;
                for (sound, ms) in signal.parts {
                    let samples = if *ms == 0 { pcm.len() } else { usize::from(*ms) * per_ms };
                    let part = middle(&heard, at, samples, rate);
                    let (hz, expected) = match *sound {
                        Silence => (vec![], 0.0),
                        One(hz) => (vec![hz], f64::from(signal.level)),
                        Two(one, other) => (vec![one, other], f64::from(signal.level)),
                        Modulated(hz, _) => (vec![hz], f64::from(signal.level) - 1.76),
                    };
                    for hz in hz {
                        let level = level(part, hz, rate);
                        // Opus keeps what is heard, not the wave.
                        let margin = if codec == Codec::Opus { 2.0 } else { 0.5 };
                        // Two frequencies some 30 Hz apart are not told apart in 360 ms to the last tenth.
                        assert!(
                            (level - expected).abs() < margin,
                            "{codec:?} {country:?} {tone:?} {hz}: {level:.2}"
                        );
                    }
                    at += samples;
                }
            }
        }
    }

    #[test]
    fn nothing_clicks_at_the_seam_or_at_an_edge() {
        for (country, tone, signal) in all() {
            let rate = 16_000;
            let twice = signal.pcm(rate, 0.0).repeat(2);
            // A sine of this amplitude cannot step further than this from one sample to the next.
            let mut steepest = 0f64;
            for (sound, _) in signal.parts {
                let hz = match *sound {
                    Silence => 0.0,
                    One(hz) => f64::from(hz),
                    Two(one, other) => f64::from(one) + f64::from(other),
                    Modulated(hz, by) => 1.64 * (f64::from(hz) + f64::from(by)),
                };
                steepest = steepest.max(hz);
            }
            let peak = PEAK_0_DBM0 * 10f64.powf(f64::from(signal.level) / 20.0);
            let allowed = peak * TAU * steepest / f64::from(rate) + 2.0;
            for pair in twice.windows(2) {
                let step = f64::from((i32::from(pair[1]) - i32::from(pair[0])).abs());
                assert!(step <= allowed, "{country:?} {tone:?}: {step} of {allowed:.0}");
            }
        }
    }

    #[test]
    fn gain_is_applied_and_saturates() {
        let signal = Tone::Dial.signal(None).unwrap();
        assert!((level(&signal.pcm(8_000, -6.0), 425, 8_000) - -16.0).abs() < 0.01);
        let loud = signal.pcm(8_000, 40.0);
        assert_eq!(loud.iter().max(), Some(&i16::MAX));
    }
}
