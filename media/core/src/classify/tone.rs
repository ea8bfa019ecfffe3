//! Tones in time: when one begins, how long it stays as it is, when it ends.

use super::level::decibels;
use super::spectrum::Tones;

/// Milliseconds of a hop.
const HOP_MS: u32 = 10;
/// A tone must be alone in most of its window to be seen: the first hops of it go unseen, by this much more than what is
/// seen of it after its end.
const UNSEEN_MS: u32 = 20;
/// Hops without any tone that do not end it: a lost packet and the edges of what conceals it, a phase reversal of ANSam.
const PATIENCE: u8 = 6;
/// Hops with another tone that do: the window holds both for two or three.
const CHANGE: u8 = 3;
/// A component may wander this far from its mean, in Hz.
const DRIFT_HZ: f32 = 16.0;
/// The longest gap that a lost packet makes in a tone.
const RESUMES_MS: u32 = 60;
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
    /// The mean square of its loudest hop.
    pub(super) power: f32,
    /// The standard deviation of the lower component in Hz, without the first and the last hops.
    pub(super) drift_hz: f32,
    /// The same of the upper component.
    pub(super) drift_high_hz: f32,
    /// The same of the level, in dB.
    pub(super) drift_db: f32,
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

    /// Whether `next` is the same tone after a gap that no cadence has.
    pub(super) fn resumes_as(&self, next: &Self) -> bool {
        let near = |a: f32, b: f32| (a - b).abs() <= DRIFT_HZ;
        let same = match (self.high, next.high) {
            (Some(a), Some(b)) => near(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same && near(self.low, next.low) && next.start_ms.saturating_sub(self.end_ms) <= RESUMES_MS
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
    changed: u8,
    /// The last hop's measures, taken into account when the next hop shows that the tone went on.
    last: (Tones, f32),
    low: Steadiness,
    high: Steadiness,
    level: Steadiness,
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
                current.changed = if tones.is_some() { current.changed + 1 } else { 0 };
                if current.missing < PATIENCE && current.changed < CHANGE {
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
            power,
            drift_hz: 0.0,
            drift_high_hz: 0.0,
            drift_db: 0.0,
        };
        let last = (tones, decibels(power));
        Self {
            tone,
            hops: 1,
            hops_with_high: u32::from(tones.high.is_some()),
            sum_low: tones.low,
            sum_high: tones.high.unwrap_or(0.0),
            missing: 0,
            changed: 0,
            last,
            low: Steadiness::default(),
            high: Steadiness::default(),
            level: Steadiness::default(),
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
            let (last, level) = self.last;
            self.low.add(last.low);
            self.level.add(level);
            if let Some(high) = last.high {
                self.high.add(high);
            }
        }
        self.last = (tones, decibels(power));
        self.hops += 1;
        (self.missing, self.changed) = (0, 0);
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
        self.tone.power = self.tone.power.max(power);
        (self.tone.drift_hz, self.tone.drift_high_hz) = (self.low.deviation(), self.high.deviation());
        self.tone.drift_db = self.level.deviation();
    }

    fn established(&self) -> Option<Tone> {
        (self.hops >= ESTABLISHED).then_some(self.tone)
    }
}

/// A standard deviation in the making.
#[derive(Debug, Clone, Copy, Default)]
struct Steadiness {
    /// The first value; sums are of differences to it, so that they stay small.
    first: f32,
    count: f32,
    sum: f32,
    sum_of_squares: f32,
}

impl Steadiness {
    fn add(&mut self, value: f32) {
        if self.count == 0.0 {
            self.first = value;
        }
        let difference = value - self.first;
        self.count += 1.0;
        self.sum += difference;
        self.sum_of_squares += difference * difference;
    }

    fn deviation(&self) -> f32 {
        if self.count == 0.0 {
            return 0.0;
        }
        let mean = self.sum / self.count;
        (self.sum_of_squares / self.count - mean * mean).max(0.0).sqrt()
    }
}
