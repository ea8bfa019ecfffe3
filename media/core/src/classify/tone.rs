//! Tones in time: when one begins, how long it stays as it is, when it ends.

use super::level::decibels;
use super::spectrum::Tones;

/// Milliseconds of a hop.
const HOP_MS: u32 = 10;
/// A tone must be alone in most of its window to be seen: the first hops of it go unseen, by this much more than what is
/// seen of it after its end.
const UNSEEN_MS: u32 = 20;
/// Hops without the tone that do not end it: a phase reversal of ANSam, a lost packet half concealed.
const PATIENCE: u8 = 3;
/// A component may wander this far from its mean, in Hz.
const DRIFT_HZ: f32 = 16.0;
/// What has not stayed for this many hops is no tone, only a moment of one.
const ESTABLISHED: u32 = 5;

/// One tone from its beginning to its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tone {
    /// Mean Hz of the only component, or of the lower.
    pub(super) low: f32,
    /// Mean Hz of the upper component.
    pub(super) high: Option<f32>,
    /// When it began, in ms since the analysis did.
    pub(super) start_ms: u32,
    /// When it ended, or when it was heard last.
    pub(super) end_ms: u32,
    /// How far apart the lowest and the highest measured frequency of the lower component lie, in Hz, without the first
    /// and the last hops.
    pub(super) spread_hz: f32,
    /// The same for the level, in dB.
    pub(super) spread_db: f32,
}

impl Tone {
    pub(super) fn ms(&self) -> u32 {
        self.end_ms - self.start_ms
    }

    /// Whether it can be a tone of call progress: ringback, busy, congestion and dial tones lie between 330 and 500 Hz
    /// in every country, the upper one of North America's busy at 620 Hz.
    pub(super) fn is_call_progress(&self) -> bool {
        is_call_progress(self.low, self.high)
    }

    /// Whether it is one component within `tolerance` of `hz`.
    pub(super) fn is_single(&self, hz: f32, tolerance: f32) -> bool {
        self.high.is_none() && (self.low - hz).abs() <= tolerance
    }
}

fn is_call_progress(low: f32, high: Option<f32>) -> bool {
    let main = |hz: f32| (330.0..=510.0).contains(&hz);
    main(low) && high.is_none_or(|high| main(high) || (600.0..=640.0).contains(&high))
}

#[derive(Debug, Default)]
pub(super) struct Tracker {
    current: Option<Current>,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    tone: Tone,
    hops: u32,
    /// Of these hops how many had an upper component, and the sums that make the means.
    hops_with_high: u32,
    sum_low: f32,
    sum_high: f32,
    missing: u8,
    /// The last hop's measures, taken into the spreads when the next hop shows that the tone went on.
    last: (f32, f32),
    lowest: (f32, f32),
    highest: (f32, f32),
}

impl Tracker {
    /// Takes what the hop that ends at `now_ms` consists of; returns the tone that is over, if it was one.
    pub(super) fn hop(&mut self, now_ms: u32, tones: Option<Tones>, power: f32) -> Option<Tone> {
        match (&mut self.current, tones) {
            (None, None) => None,
            (None, Some(tones)) => {
                self.current = Some(Current::begin(now_ms, tones, power));
                None
            }
            (Some(current), Some(tones)) if current.matches(tones) => {
                current.go_on(now_ms, tones, power);
                None
            }
            (Some(current), tones) => {
                current.missing += 1;
                if current.missing < PATIENCE {
                    return None;
                }
                let over = current.established();
                self.current = tones.map(|tones| Current::begin(now_ms, tones, power));
                over
            }
        }
    }

    /// The tone that sounds now, once it is one.
    pub(super) fn sounding(&self) -> Option<Tone> {
        self.current.as_ref().and_then(Current::established)
    }
}

impl Current {
    fn begin(now_ms: u32, tones: Tones, power: f32) -> Self {
        let tone = Tone {
            low: tones.low,
            high: tones.high,
            start_ms: now_ms.saturating_sub(HOP_MS + UNSEEN_MS),
            end_ms: now_ms,
            spread_hz: 0.0,
            spread_db: 0.0,
        };
        let last = (tones.low, decibels(power));
        Self {
            tone,
            hops: 1,
            hops_with_high: u32::from(tones.high.is_some()),
            sum_low: tones.low,
            sum_high: tones.high.unwrap_or(0.0),
            missing: 0,
            last,
            lowest: (f32::MAX, f32::MAX),
            highest: (f32::MIN, f32::MIN),
        }
    }

    fn matches(&self, tones: Tones) -> bool {
        // The beat of two near tones makes them come and go as peaks of their own.
        if self.tone.is_call_progress() && is_call_progress(tones.low, tones.high) {
            return true;
        }
        let near = |a: f32, b: f32| (a - b).abs() <= DRIFT_HZ;
        match (self.tone.high, tones.high) {
            (None, None) => near(self.tone.low, tones.low),
            (Some(high), Some(heard)) => near(self.tone.low, tones.low) && near(high, heard),
            // One weak component more or less, of noise or of a vowel.
            (None, Some(heard)) => near(self.tone.low, tones.low) || near(self.tone.low, heard),
            (Some(_), None) => near(self.tone.low, tones.low),
        }
    }

    fn go_on(&mut self, now_ms: u32, tones: Tones, power: f32) {
        // The first two hops, in which the tone rises, and the last, in which it may fade, say nothing of steadiness.
        if self.hops > 2 {
            self.lowest = (self.lowest.0.min(self.last.0), self.lowest.1.min(self.last.1));
            self.highest = (self.highest.0.max(self.last.0), self.highest.1.max(self.last.1));
        }
        self.last = (tones.low, decibels(power));
        self.hops += 1;
        self.missing = 0;
        self.sum_low += tones.low;
        if let Some(high) = tones.high {
            self.hops_with_high += 1;
            self.sum_high += high;
        }
        self.tone.low = self.sum_low / self.hops as f32;
        // An upper component that comes and goes is a neighbour's beat or noise.
        let steady = self.hops_with_high * 2 > self.hops;
        self.tone.high = steady.then(|| self.sum_high / self.hops_with_high as f32);
        self.tone.end_ms = now_ms;
        if self.highest.0 > self.lowest.0 {
            self.tone.spread_hz = self.highest.0 - self.lowest.0;
            self.tone.spread_db = self.highest.1 - self.lowest.1;
        }
    }

    fn established(&self) -> Option<Tone> {
        (self.hops >= ESTABLISHED).then_some(self.tone)
    }
}
