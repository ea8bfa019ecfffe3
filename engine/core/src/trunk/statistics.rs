//! How well the calls of a trunk fare, and how often they begin.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use control_api_types::Disposition;

use crate::clock::millis;

/// How many ended calls the ratios of a trunk are taken over: enough for half a percent of resolution, few enough to
/// follow a change within minutes.
const RECENT: usize = 200;

/// How one outbound call fared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) disposition: Disposition,
    pub(crate) post_dial_delay: Option<Duration>,
}

impl Outcome {
    /// Whether the network did its part (ITU-T E.425): the far end answered, rang, was busy, or refused.
    fn is_effective(self) -> bool {
        match self.disposition {
            Disposition::Answered | Disposition::Busy | Disposition::NoAnswer => true,
            Disposition::Rejected | Disposition::Unreachable => true,
            Disposition::InvalidNumber | Disposition::Congestion | Disposition::Blocked => false,
            Disposition::NetworkError | Disposition::Incompatible | Disposition::Canceled => false,
            Disposition::LimitReached | Disposition::InternalError => false,
        }
    }

    /// Whether it tells anything about the trunk: what we took back or never sent does not.
    fn is_telling(self) -> bool {
        match self.disposition {
            Disposition::Canceled | Disposition::LimitReached | Disposition::InternalError => false,
            Disposition::Answered | Disposition::Busy | Disposition::NoAnswer | Disposition::Rejected => true,
            Disposition::Unreachable | Disposition::InvalidNumber | Disposition::Congestion => true,
            Disposition::Blocked | Disposition::NetworkError | Disposition::Incompatible => true,
        }
    }
}

/// Recent calls of a trunk.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    recent: VecDeque<Outcome>,
    starts: Starts,
}

impl Statistics {
    pub(super) fn begun(&mut self, now: Instant) {
        self.starts.count(now);
    }

    pub(super) fn ended(&mut self, outcome: Outcome) {
        if !outcome.is_telling() {
            return;
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(outcome);
    }

    /// Calls begun in the last second.
    pub(super) fn cps(&self, now: Instant) -> f32 {
        self.starts.per_second(now)
    }

    /// Answer-seizure ratio.
    pub(super) fn asr(&self) -> Option<f32> {
        self.share(|outcome| outcome.disposition == Disposition::Answered)
    }

    /// Network effectiveness ratio.
    pub(super) fn ner(&self) -> Option<f32> {
        self.share(Outcome::is_effective)
    }

    fn share(&self, holds: impl Fn(Outcome) -> bool) -> Option<f32> {
        let held = self.recent.iter().filter(|&&outcome| holds(outcome)).count();
        (!self.recent.is_empty()).then(|| held as f32 / self.recent.len() as f32)
    }

    pub(super) fn median_post_dial_delay_ms(&self) -> Option<u32> {
        let mut delays: Vec<_> = self.recent.iter().filter_map(|outcome| outcome.post_dial_delay).collect();
        if delays.is_empty() {
            return None;
        }
        let middle = delays.len() / 2;
        let (_, median, _) = delays.select_nth_unstable(middle);
        Some(u32::try_from(millis(*median)).unwrap_or(u32::MAX))
    }
}

/// Counts calls of this second and of the one before it.
#[derive(Debug, Default)]
struct Starts {
    window: Option<Instant>,
    this: u32,
    last: u32,
}

const SECOND: Duration = Duration::from_secs(1);

impl Starts {
    fn count(&mut self, now: Instant) {
        let elapsed = self.window.map(|start| now.saturating_duration_since(start));
        match elapsed {
            Some(elapsed) if elapsed < SECOND => {}
            Some(elapsed) if elapsed < 2 * SECOND => {
                self.window = self.window.map(|start| start + SECOND);
                self.last = self.this;
                self.this = 0;
            }
            Some(_) | None => *self = Self { window: Some(now), this: 0, last: 0 },
        }
        self.this += 1;
    }

    /// Calls of the last second, the older window weighted by its overlap.
    fn per_second(&self, now: Instant) -> f32 {
        let Some(start) = self.window else { return 0.0 };
        let into = now.saturating_duration_since(start).as_secs_f32();
        match into {
            into if into < 1.0 => self.this as f32 + self.last as f32 * (1.0 - into),
            into if into < 2.0 => self.this as f32 * (2.0 - into),
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of a test")]
        Instant::now()
    }

    #[test]
    fn ratios_over_recent_calls() {
        let mut statistics = Statistics::default();
        assert_eq!(statistics.asr(), None);
        for (disposition, delay) in [
            (Disposition::Answered, Some(100)),
            (Disposition::Busy, Some(300)),
            (Disposition::Congestion, None),
            (Disposition::Canceled, None),
            (Disposition::NoAnswer, Some(200)),
        ] {
            statistics.ended(Outcome { disposition, post_dial_delay: delay.map(Duration::from_millis) });
        }
        let told = (statistics.asr(), statistics.ner(), statistics.median_post_dial_delay_ms());
        assert_eq!(told, (Some(0.25), Some(0.75), Some(200)));
        for _ in 0..2 * RECENT {
            statistics.ended(Outcome { disposition: Disposition::Congestion, post_dial_delay: None });
        }
        assert_eq!((statistics.recent.len(), statistics.ner()), (RECENT, Some(0.0)));
    }

    #[test]
    fn calls_of_the_last_second() {
        let t0 = origin();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut starts = Starts::default();
        for ms in 0..10 {
            starts.count(at(ms * 100));
        }
        assert_eq!(starts.per_second(at(999)), 10.0);
        assert_eq!(starts.per_second(at(1_500)), 5.0);
        starts.count(at(1_500));
        assert_eq!(starts.per_second(at(1_500)), 6.0);
        assert_eq!(starts.per_second(at(9_000)), 0.0);
    }
}
