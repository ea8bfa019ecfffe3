//! What tones mean by their order and lengths: special information tones, fax, ringback, busy, congestion, dial tone.

use super::findings::{Evidence, Sit};
use super::tone::Tone;

/// A tone of call progress this long is a dial tone: the longest ringback bursts last 2 s, some exchanges' 2.5 s.
const DIAL_TONE_MS: u32 = 3000;
/// No ringback burst is shorter, alone in its cycle: 0.75 s to 2 s.
const RINGBACK_ON_MS: u32 = 650;
/// After a ringback burst at least this long is silent; every busy tone is on again by then.
const RINGBACK_OFF_MS: u32 = 900;
/// Where two bursts make a ring (United Kingdom, Australia, Hong Kong: 0.4 s on, 0.2 s off, 0.4 s on), each is so long.
const PAIR_ON_MS: std::ops::RangeInclusive<u32> = 330..=480;
/// And the gap between them.
const PAIR_OFF_MS: std::ops::RangeInclusive<u32> = 140..=270;
/// Busy: as long on as off, 0.3 s to 0.75 s by country. Congestion and reorder: the same, faster.
const BUSY_MS: std::ops::RangeInclusive<u32> = 290..=800;
const CONGESTION_MS: std::ops::RangeInclusive<u32> = 120..=289;
/// The uneven congestion tone of the United Kingdom: 0.40 s on, 0.35 s off, 0.225 s on, 0.525 s off.
const UNEVEN_MS: (u32, u32) = (180, 600);
/// How far on and off times of one cadence may differ.
const CADENCE_TOLERANCE_MS: u32 = 90;
/// Bursts that make a cadence sure: two whole cycles and the beginning of the third.
const CYCLES: usize = 3;
/// Tones of call progress further apart are not of one cadence, except ringback's, whose bursts are longer than beeps.
const CADENCE_GAP_MS: u32 = 2500;
/// T.30, 4.3.3.3: 1100 Hz ± 38 Hz, 0.5 s ± 15 %, with what the measure may be wrong by.
const CNG_MS: std::ops::RangeInclusive<u32> = 400..=600;
/// T.30, 4.3.3.2: 2100 Hz ± 15 Hz for 2.6 s to 4 s. Clear long before its end.
const CED_MS: u32 = 1000;
/// E.180, 9: each tone 330 ± 70 ms, gaps up to 30 ms; with what the measure may be wrong by.
const SIT_MS: std::ops::RangeInclusive<u32> = 220..=440;
const SIT_GAP_MS: u32 = 60;
/// Between the short (276 ms) and the long (380 ms) tones of North America.
const SIT_LONG_MS: u32 = 328;

#[derive(Debug, Default)]
pub(super) struct Cadence {
    /// The tones so far, the last one first.
    past: [Option<Tone>; CYCLES],
}

impl Cadence {
    /// A tone is over; what that makes clear.
    pub(super) fn ended(&mut self, tone: Tone) -> Option<Evidence> {
        match &mut self.past[0] {
            // A packet was lost in it.
            Some(last) if last.resumes_as(&tone) => last.end_ms = tone.end_ms,
            Some(_) | None => {
                self.past.rotate_right(1);
                self.past[0] = Some(tone);
            }
        }
        self.special_information()
    }

    /// The last tone that was over.
    pub(super) fn last(&self) -> Option<Tone> {
        self.past[0]
    }

    /// What is clear at `now_ms`, while `sounding` sounds or nothing does.
    pub(super) fn poll(&self, now_ms: u32, sounding: Option<Tone>) -> Option<Evidence> {
        match sounding {
            Some(tone) if tone.is_single(2100.0, 25.0) && tone.ms() >= CED_MS => Some(Evidence::Ced),
            Some(tone) if tone.is_call_progress() && tone.ms() >= DIAL_TONE_MS => Some(Evidence::DialTone),
            Some(tone) => self.busy(tone),
            None => self.silent_since(now_ms),
        }
    }

    /// Whether no tone of call progress came shortly before the last tone.
    pub(super) fn last_is_alone(&self) -> bool {
        let [Some(last), Some(before), _] = self.past else { return true };
        !before.is_call_progress() || last.start_ms.saturating_sub(before.end_ms) > CADENCE_GAP_MS
    }

    /// Two cycles are over and a third begins.
    fn busy(&self, third: Tone) -> Option<Evidence> {
        let [Some(second), Some(first), _] = self.past else { return None };
        if ![first, second, third].iter().all(Tone::is_call_progress) {
            return None;
        }
        let times = [
            first.ms(),
            second.start_ms - first.end_ms,
            second.ms(),
            third.start_ms.saturating_sub(second.end_ms),
        ];
        let (shortest, longest) = (*times.iter().min()?, *times.iter().max()?);
        let mean = times.iter().sum::<u32>() / 4;
        let even = longest - shortest <= CADENCE_TOLERANCE_MS;
        let same_periods = (times[0] + times[1]).abs_diff(times[2] + times[3]) <= CADENCE_TOLERANCE_MS;
        let uneven = same_periods && shortest >= UNEVEN_MS.0 && longest <= UNEVEN_MS.1;
        if even && BUSY_MS.contains(&mean) {
            Some(Evidence::Busy)
        } else {
            ((even && CONGESTION_MS.contains(&mean)) || uneven).then_some(Evidence::Congestion)
        }
    }

    fn silent_since(&self, now_ms: u32) -> Option<Evidence> {
        let last = self.past[0]?;
        let silence = now_ms.saturating_sub(last.end_ms);
        if last.is_single(1100.0, 40.0) && CNG_MS.contains(&last.ms()) && silence >= 100 {
            return Some(Evidence::Cng);
        }
        if !last.is_call_progress() || silence < RINGBACK_OFF_MS {
            return None;
        }
        if last.ms() >= RINGBACK_ON_MS {
            return Some(Evidence::Ringback);
        }
        let before = self.past[1].filter(Tone::is_call_progress)?;
        let pair = PAIR_ON_MS.contains(&last.ms())
            && PAIR_ON_MS.contains(&before.ms())
            && PAIR_OFF_MS.contains(&last.start_ms.saturating_sub(before.end_ms));
        pair.then_some(Evidence::Ringback)
    }

    fn special_information(&self) -> Option<Evidence> {
        let [Some(third), Some(second), Some(first)] = self.past else { return None };
        let tones = [first, second, third];
        let follows = |a: Tone, b: Tone| b.start_ms.saturating_sub(a.end_ms) <= SIT_GAP_MS;
        // E.180, 9: 950, 1400 and 1800 Hz, each ± 50 Hz.
        let right = tones.iter().zip([950.0, 1400.0, 1800.0]).all(|(tone, hz)| tone.is_single(hz, 55.0));
        let lengths = tones.iter().all(|tone| SIT_MS.contains(&tone.ms()));
        if !(right && lengths && follows(first, second) && follows(second, third)) {
            return None;
        }
        let near = |tone: Tone, hz: f32| tone.is_single(hz, 12.0);
        let low = |tone: Tone, low: f32, high: f32| match tone {
            tone if near(tone, low) => Some(true),
            tone if near(tone, high) => Some(false),
            _ => None,
        };
        let long = first.ms() >= SIT_LONG_MS;
        // Telcordia SR-2275: the code lies in the frequencies, where two codes share them in the length of the first.
        Some(Evidence::Sit(match (low(first, 913.8, 985.2), low(second, 1370.6, 1428.5)) {
            (Some(true), Some(true)) if long => Sit::NoCircuit,
            (Some(true), Some(true)) => Sit::Intercept,
            (Some(false), Some(true)) => Sit::Vacant,
            (Some(true), Some(false)) if long => Sit::Ineffective,
            (Some(true), Some(false)) => Sit::Reorder,
            (Some(false), Some(false)) if long => Sit::NoCircuit,
            (Some(false), Some(false)) => Sit::Reorder,
            (None, _) | (_, None) => Sit::Uncoded,
        }))
    }
}
