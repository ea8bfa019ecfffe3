//! Gathers digits for one [`Collect`].

use std::time::{Duration, Instant};

use crate::{Collect, CollectEnd, Digit, Digits, MediaEvent};

/// A collect that runs.
#[derive(Debug)]
pub(crate) struct Gather {
    collect: Collect,
    digits: Digits,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The prompt plays and cannot be interrupted: no digit is taken yet.
    Closed,
    /// The prompt plays; a digit may come, and no time runs.
    Open,
    /// No prompt plays; over at this instant.
    Timed(Instant),
}

impl Gather {
    /// A collect beside a prompt that digits stop (`open`) or do not.
    pub(crate) fn beside_prompt(collect: Collect, open: bool) -> Self {
        let stage = if open { Stage::Open } else { Stage::Closed };
        Self { collect, digits: Digits::new(), stage }
    }

    /// A collect without a prompt.
    pub(crate) fn without_prompt(now: Instant, collect: Collect) -> Self {
        let mut gather = Self::beside_prompt(collect, true);
        gather.prompt_ended(now);
        gather
    }

    /// Starts the clock for the first digit.
    pub(crate) fn prompt_ended(&mut self, now: Instant) {
        self.stage = Stage::Timed(now + Duration::from_millis(self.collect.timeout_ms.into()));
    }

    /// Whether digits are taken.
    pub(crate) fn takes_digits(&self) -> bool {
        self.stage != Stage::Closed
    }

    /// Takes a digit; why the collect is over, if it is.
    pub(crate) fn digit(&mut self, now: Instant, digit: Digit) -> Option<CollectEnd> {
        if self.collect.terminators.contains(digit) {
            return Some(CollectEnd::Terminator);
        }
        let fits = self.digits.push(digit);
        if !fits || self.digits.len() >= usize::from(self.collect.max) {
            return Some(CollectEnd::Max);
        }
        self.stage = Stage::Timed(now + Duration::from_millis(self.collect.inter_digit_ms.into()));
        None
    }

    /// Why the collect is over at `now`, if time has run out.
    pub(crate) fn expired(&self, now: Instant) -> Option<CollectEnd> {
        match self.stage {
            Stage::Timed(deadline) if now >= deadline => {
                let enough = !self.digits.is_empty() && self.digits.len() >= usize::from(self.collect.min);
                Some(if enough { CollectEnd::InterDigit } else { CollectEnd::Timeout })
            }
            Stage::Closed | Stage::Open | Stage::Timed(_) => None,
        }
    }

    /// The event that says this collect is over.
    pub(crate) fn ended(&self, reason: CollectEnd) -> MediaEvent {
        MediaEvent::CollectEnded { id: self.collect.id, digits: self.digits, reason }
    }
}
