//! Who answered: what was asked for, what was found, and the flow that waits for it.

use std::time::{Duration, Instant};

use control_api_types::flow::Outcome;
use control_api_types::{AmdEvidence, AmdParameters, AmdResult, EventData};
use media_core::classify::{Answerer, Evidence, Finding, Parameters, Sit};

use super::media::{Activity, Awaits};
use super::{Context, LiveCall, State};
use crate::io::MediaCommand;
use crate::timers::CallTimer;

/// How far the analysis is.
#[derive(Debug)]
pub(super) enum Amd {
    /// Nobody wants it, or not yet.
    Off,
    /// To begin with the media.
    Wanted(Parameters),
    /// The leg listens, and has not told who answered; after that it listens for so long for a beep.
    Listening { beep_wait: Duration },
    /// It has told; for a machine's beep it listens until then.
    Told { until: Instant },
}

impl Amd {
    pub(super) fn of(parameters: Option<AmdParameters>) -> Self {
        parameters.map_or(Self::Off, |parameters| Self::Wanted(read(parameters)))
    }
}

impl LiveCall {
    /// Media runs.
    pub(super) fn begin_amd(&mut self, ctx: &mut Context<'_>) {
        if let Amd::Wanted(parameters) = self.amd {
            self.amd = Amd::Listening { beep_wait: Duration::from_millis(parameters.beep_wait_ms.into()) };
            ctx.media(self.leg, MediaCommand::Classify(parameters));
        }
    }

    /// The call is answered.
    pub(super) fn answer_amd(&mut self, ctx: &mut Context<'_>) {
        if let Amd::Listening { .. } = self.amd {
            ctx.media(self.leg, MediaCommand::Answered);
        }
    }

    /// The flow comes to an `amd` step. The result if it is there and nothing else is to be waited for.
    pub(super) fn amd_step(
        &mut self,
        ctx: &mut Context<'_>,
        parameters: AmdParameters,
        wait_for_beep: Option<Duration>,
    ) -> Option<AmdResult> {
        match self.amd {
            Amd::Told { .. } => {
                let result = self.record.amd.as_ref().and_then(|amd| amd.result)?;
                return self.unless_beep(ctx, result, wait_for_beep);
            }
            Amd::Listening { .. } => {}
            Amd::Off | Amd::Wanted(_) => {
                self.amd = Amd::Wanted(read(parameters));
                self.begin_amd(ctx);
                self.answer_amd(ctx);
            }
        }
        self.awaits(Awaits::Verdict { wait_for_beep });
        None
    }

    /// The result, unless the beep is to be waited for, which then begins. Nobody waits for longer than is listened for.
    fn unless_beep(
        &mut self,
        ctx: &mut Context<'_>,
        result: AmdResult,
        wait_for_beep: Option<Duration>,
    ) -> Option<AmdResult> {
        let beeped = self.record.amd.as_ref().is_some_and(|amd| amd.beep_ms.is_some());
        match (wait_for_beep, &self.amd) {
            (Some(time), Amd::Told { until })
                if result == AmdResult::Machine && !beeped && *until > ctx.now =>
            {
                let over = (*until).min(ctx.now + time);
                self.awaits(Awaits::Beep);
                ctx.timers.set(self.leg, CallTimer::Pause, over);
                None
            }
            _ => Some(result),
        }
    }

    pub(super) fn awaits(&mut self, what: Awaits) {
        if let State::Connected(Activity::Flow { awaits, .. }) = &mut self.state {
            *awaits = what;
        }
    }

    /// What the flow waits for.
    pub(super) fn awaited(&self) -> Option<Awaits> {
        match self.activity()? {
            Activity::Flow { awaits, .. } => Some(*awaits),
            Activity::Parked => None,
        }
    }

    /// The flow has waited long enough: for a beep, or for nothing in particular.
    pub(super) fn wait_over(&mut self, ctx: &mut Context<'_>) {
        let outcome = match self.awaited() {
            Some(Awaits::Beep) => Outcome::Answered(AmdResult::Machine),
            Some(Awaits::Nothing | Awaits::Program(_) | Awaits::Verdict { .. } | Awaits::Answer(_)) => {
                Outcome::Done
            }
            Some(Awaits::Queue | Awaits::Notice(_)) | None => Outcome::Done,
        };
        self.step_over(ctx, outcome);
    }

    pub(super) fn classified(&mut self, ctx: &mut Context<'_>, finding: Finding) {
        let report = self.record.amd.get_or_insert_default();
        match finding {
            Finding::Early { evidence, .. } => report.early_media.push(word(evidence)),
            Finding::Verdict(verdict) => {
                let (result, evidence) = (result(verdict.answerer), word(verdict.evidence));
                (report.result, report.ms, report.evidence) =
                    (Some(result), Some(verdict.ms), Some(evidence));
                let beep_wait = match self.amd {
                    Amd::Listening { beep_wait } => beep_wait,
                    Amd::Off | Amd::Wanted(_) | Amd::Told { .. } => Duration::ZERO,
                };
                self.amd = Amd::Told { until: ctx.now + beep_wait };
                let data = EventData::CallAmd {
                    result,
                    ms: verdict.ms,
                    evidence,
                    initial_silence_ms: verdict.initial_silence_ms,
                    greeting_ms: verdict.greeting_ms,
                };
                self.emit(ctx, data);
                if let Some(Awaits::Verdict { wait_for_beep }) = self.awaited()
                    && let Some(result) = self.unless_beep(ctx, result, wait_for_beep)
                {
                    self.step_over(ctx, Outcome::Answered(result));
                }
            }
            Finding::Beep { ms, duration_ms, hz } => {
                report.beep_ms = Some(ms);
                let (duration_ms, hz) = (u32::from(duration_ms), u32::from(hz));
                self.emit(ctx, EventData::CallAmdBeep { ms, duration_ms, hz });
                if let Some(Awaits::Beep) = self.awaited() {
                    ctx.timers.cancel(self.leg, CallTimer::Pause);
                    self.step_over(ctx, Outcome::Answered(AmdResult::Machine));
                }
            }
        }
    }
}

fn read(parameters: AmdParameters) -> Parameters {
    let AmdParameters {
        limit_ms,
        machine_greeting_ms,
        pause_ms,
        sentence_pause_ms,
        sentence_ms,
        above_floor_db,
        silence_db,
        beep_min_ms,
        beep_max_ms,
        beep_wait_ms,
    } = parameters;
    Parameters {
        limit_ms,
        machine_greeting_ms,
        pause_ms,
        sentence_pause_ms,
        sentence_ms,
        above_floor_db: above_floor_db as f32,
        silence_db: silence_db as f32,
        beep_min_ms,
        beep_max_ms,
        beep_wait_ms,
    }
}

fn result(answerer: Answerer) -> AmdResult {
    match answerer {
        Answerer::Human => AmdResult::Human,
        Answerer::Machine => AmdResult::Machine,
        Answerer::Fax => AmdResult::Fax,
        Answerer::Unknown => AmdResult::Unknown,
    }
}

fn word(evidence: Evidence) -> AmdEvidence {
    match evidence {
        Evidence::ShortGreeting => AmdEvidence::ShortGreeting,
        Evidence::LongGreeting => AmdEvidence::LongGreeting,
        Evidence::Beep => AmdEvidence::Beep,
        Evidence::Cng => AmdEvidence::Cng,
        Evidence::Ced => AmdEvidence::Ced,
        Evidence::Sit(Sit::Intercept) => AmdEvidence::SitIntercept,
        Evidence::Sit(Sit::Vacant) => AmdEvidence::SitVacant,
        Evidence::Sit(Sit::Reorder) => AmdEvidence::SitReorder,
        Evidence::Sit(Sit::NoCircuit) => AmdEvidence::SitNoCircuit,
        Evidence::Sit(Sit::Ineffective) => AmdEvidence::SitIneffective,
        Evidence::Sit(Sit::Uncoded) => AmdEvidence::Sit,
        Evidence::Busy => AmdEvidence::Busy,
        Evidence::Congestion => AmdEvidence::Congestion,
        Evidence::Ringback => AmdEvidence::Ringback,
        Evidence::DialTone => AmdEvidence::DialTone,
        Evidence::Announcement => AmdEvidence::Announcement,
        Evidence::Silence => AmdEvidence::Silence,
        Evidence::TimeLimit => AmdEvidence::TimeLimit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_api_are_those_of_the_analyser() {
        assert_eq!(read(AmdParameters::default()), Parameters::DEFAULT);
    }
}
