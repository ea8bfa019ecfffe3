//! The recordings of a call: one that the API asks for, and one that a step of its flow makes.

use std::collections::BTreeMap;

use control_api_types::{
    Record, RecordAction, RecordOptions, RecordStep, Recording, RecordingEnd, RecordingFormat, RecordingId,
    RecordingStatus, Variable,
};
use media_core::record::{self, Format, Sides, Track};
use media_core::{Collect, CollectEnd, Digit, Program};

use super::*;
use crate::id::recording_ulid;
use crate::variables;
use control_api_types::flow::Outcome;

/// Most recordings of one call: more are a flow or a client that goes round in circles.
pub(super) const MAX_RECORDINGS: usize = 100;

/// What a call has on record.
#[derive(Debug, Default)]
pub(super) struct Recordings {
    /// That of the API.
    call: Option<RecordingId>,
    /// That of the flow's step.
    step: Option<StepRecording>,
    /// Those whose end has not been told, the two above among them, each with the step that it is of.
    live: BTreeMap<RecordingId, Option<String>>,
}

/// A step that records.
#[derive(Debug)]
struct StepRecording {
    id: RecordingId,
    /// What the flow waits for, and the collect that waits for a terminator.
    token: u64,
    collect: Collect,
}

impl Recordings {
    pub(super) fn are_over(&self) -> bool {
        self.live.is_empty()
    }

    /// Nobody waits for the recording of the step any more. `false`: none was at work.
    pub(super) fn abandon_step(&mut self) -> bool {
        self.step.take().is_some()
    }

    /// Whether this collect is that of a step that records.
    pub(super) fn collects(&self, id: u64) -> bool {
        self.step.as_ref().is_some_and(|step| step.token == id)
    }
}

impl LiveCall {
    /// A command of the API; the recording that it is about.
    pub(crate) fn on_record(
        &mut self,
        ctx: &mut Context<'_>,
        record: Record,
    ) -> Result<RecordingId, Refusal> {
        if !self.is_conversing() {
            return Err(self.wrong_state("only an answered call is recorded"));
        }
        match (record.action, self.recordings.call.clone()) {
            (RecordAction::Start, Some(_)) => {
                Err(self.wrong_state("it is on record already: stop that first"))
            }
            (RecordAction::Start, None) if self.record.recording_ids.len() >= MAX_RECORDINGS => {
                Err(self.wrong_state("it has as many recordings as a call may have"))
            }
            (RecordAction::Start, None) => Ok(self.start_recording(ctx, record.options)),
            (_, None) => Err(self.wrong_state("it is not on record: start that first")),
            (RecordAction::Pause, Some(id)) => {
                ctx.media(self.leg, MediaCommand::PauseRecording(Track::Call, true));
                Ok(id)
            }
            (RecordAction::Resume, Some(id)) => {
                ctx.media(self.leg, MediaCommand::PauseRecording(Track::Call, false));
                Ok(id)
            }
            (RecordAction::Stop, Some(id)) => {
                self.recordings.call = None;
                ctx.media(self.leg, MediaCommand::StopRecording(Track::Call, RecordingEnd::Stopped));
                Ok(id)
            }
        }
    }

    /// Records an answered call from now on.
    pub(super) fn start_recording(&mut self, ctx: &mut Context<'_>, options: RecordOptions) -> RecordingId {
        let id = self.begin_recording(ctx, Track::Call, options, None);
        self.recordings.call = Some(id.clone());
        id
    }

    /// A step records; what the flow waits for.
    pub(super) fn record_step(&mut self, ctx: &mut Context<'_>, record: &RecordStep, step: String) -> u64 {
        let token = self.next_program();
        self.programs.given = token;
        let collect = Collect {
            id: token,
            min: 0,
            max: media_core::Digits::CAPACITY as u8,
            terminators: record.terminators.chars().filter_map(Digit::from_char).collect(),
            // It ends with the recording.
            timeout_ms: u32::MAX,
            inter_digit_ms: u32::MAX,
        };
        ctx.media(self.leg, MediaCommand::Run(Program { play: None, collect: Some(collect) }));
        let id = self.begin_recording(ctx, Track::Step, record.options(), Some(step));
        self.recordings.step = Some(StepRecording { id, token, collect });
        token
    }

    fn begin_recording(
        &mut self,
        ctx: &mut Context<'_>,
        track: Track,
        options: RecordOptions,
        step: Option<String>,
    ) -> RecordingId {
        let RecordOptions { format, channels, beep, max_s, silence_ms } = options;
        let id = recording_ulid(ctx.clock.unix_ms(ctx.now), ctx.random);
        let recording = Box::new(Recording {
            id: id.clone(),
            call_id: self.record.id.clone(),
            step: step.clone(),
            status: RecordingStatus::Recording,
            format,
            channels,
            sample_rate_hz: 0,
            started_at: ctx.timestamp(),
            ended_at: None,
            duration_ms: 0,
            dropped_ms: 0,
            size_bytes: 0,
            reason: None,
        });
        let plan = record::Recording {
            format: match format {
                RecordingFormat::Wav => Format::Wav,
                RecordingFormat::Ogg => Format::Opus,
            },
            sides: if channels == 2 { Sides::Apart } else { Sides::Mixed },
            max: Duration::from_secs(u64::from(max_s)),
            silence: silence_ms.map(|ms| Duration::from_millis(u64::from(ms))),
        };
        self.record.recording_ids.push(id.to_string());
        self.recordings.live.insert(id.clone(), step.clone());
        ctx.media(self.leg, MediaCommand::Record { track, recording, plan, beep });
        let data = EventData::CallRecordingStarted { recording_id: id.clone(), step, format, channels };
        self.emit(ctx, data);
        id
    }

    /// A digit has ended what waits for terminators while a step records.
    pub(super) fn recording_collect_ended(&mut self, ctx: &mut Context<'_>, id: u64, reason: CollectEnd) {
        let Some(step) = &self.recordings.step else { return };
        match reason {
            CollectEnd::Terminator => {
                let stop = MediaCommand::StopRecording(Track::Step, RecordingEnd::Terminator);
                ctx.media(self.leg, stop);
            }
            // Digits that mean nothing here: it goes on waiting.
            CollectEnd::Max | CollectEnd::Timeout | CollectEnd::InterDigit => {
                let collect = Some(Collect { id, ..step.collect });
                ctx.media(self.leg, MediaCommand::Run(Program { play: None, collect }));
            }
            CollectEnd::Stopped | CollectEnd::Hangup => {}
        }
    }

    /// A recording is over.
    pub(super) fn recorded(&mut self, ctx: &mut Context<'_>, recording: Recording) {
        // Twice the same is not told twice.
        let Some(step) = self.recordings.live.remove(&recording.id) else { return };
        if self.recordings.call.as_ref() == Some(&recording.id) {
            self.recordings.call = None;
        }
        let reason = recording.reason.unwrap_or(RecordingEnd::Error);
        self.emit(
            ctx,
            EventData::CallRecordingEnded {
                recording_id: recording.id.clone(),
                step: step.clone(),
                reason,
                duration_ms: recording.duration_ms,
                dropped_ms: recording.dropped_ms,
                size_bytes: recording.size_bytes,
            },
        );
        if let Some(of) = self.recordings.step.take_if(|step| step.id == recording.id) {
            self.step_recorded(ctx, of.token, &recording, reason, step.as_deref());
        }
        self.finish_if_released(ctx);
    }

    fn step_recorded(
        &mut self,
        ctx: &mut Context<'_>,
        token: u64,
        recording: &Recording,
        reason: RecordingEnd,
        step: Option<&str>,
    ) {
        if !self.is_conversing() {
            return;
        }
        if let Some(step) = step {
            let values = vec![
                (format!("{step}.recording_id"), Variable::from(recording.id.as_str())),
                (format!("{step}.duration_ms"), Variable::from(recording.duration_ms.to_string().as_str())),
                (format!("{step}.reason"), Variable::from(reason.as_str())),
            ];
            if let Err(variables::TooMany) = variables::set(&mut self.record, values) {
                return self.flow_limit(ctx);
            }
        }
        // What waits for a terminator would take the digits of the next steps.
        ctx.media(self.leg, MediaCommand::Run(Program { play: None, collect: None }));
        self.flow_goes_on(ctx, token, Outcome::Done);
    }
}
