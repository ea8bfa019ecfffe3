//! Recordings of calls.

use crate::{
    CallId, Fault, RecordingId, Timestamp,
    action::is_digit,
    call::words,
    fault::{self, Faults, Fields, kind},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

words! {
    /// The format of a recording's file.
    RecordingFormat {
        /// WAV, linear samples of 16 bits.
        Wav = "wav",
        /// Opus in Ogg.
        Ogg = "ogg",
    }
}

words! {
    /// Whether a recording goes on.
    RecordingStatus {
        /// It records.
        Recording = "recording",
        /// It leaves out what comes meanwhile.
        Paused = "paused",
        /// It is over, and its file whole.
        Ended = "ended",
    }
}

words! {
    /// Why a recording is over.
    RecordingEnd {
        /// The API or the flow stopped it.
        Stopped = "stopped",
        /// The call ended.
        Hangup = "hangup",
        /// It is as long as it may be.
        MaxLength = "max-length",
        /// Nothing was heard for `silence_ms`.
        Silence = "silence",
        /// A terminator was pressed.
        Terminator = "terminator",
        /// The disk is full; what fitted is in the file.
        DiskFull = "disk-full",
        /// The file could not be written; what could is in it.
        Error = "error",
        /// The engine did not stop in order; the last second may be missing.
        Crash = "crash",
    }
}

words! {
    /// What to do with the recording of a call.
    RecordAction {
        /// Begin one.
        Start = "start",
        /// Leave out what comes from now on.
        Pause = "pause",
        /// Take in again what comes from now on.
        Resume = "resume",
        /// End it.
        Stop = "stop",
    }
}

/// How a call is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RecordOptions {
    /// The format of the file.
    #[schema(required = false, default = "wav")]
    pub format: RecordingFormat,
    /// 1: both sides mixed. 2: the far side in the first channel, what it is sent in the second.
    #[schema(required = false, default = 1, minimum = 1, maximum = 2)]
    pub channels: u8,
    /// Whether the far side hears a short tone when it begins, in place of what plays.
    #[schema(required = false, default = false)]
    pub beep: bool,
    /// The longest recording; pauses do not count.
    #[schema(required = false, default = 86_400, minimum = 1, maximum = 86_400)]
    pub max_s: u32,
    /// It is over when the far side has been silent for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 500, maximum = 600_000)]
    pub silence_ms: Option<u32>,
}

/// A day: longer than any call.
const MAX_S: u32 = 86_400;

impl Default for RecordOptions {
    fn default() -> Self {
        Self { format: RecordingFormat::Wav, channels: 1, beep: false, max_s: MAX_S, silence_ms: None }
    }
}

impl RecordOptions {
    /// `true`, `false` or an object; `false` is none.
    pub(crate) fn read_switch(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Option<Self>> {
        match value {
            Value::Bool(on) => Some(on.then(Self::default)),
            Value::Object(_) => {
                let mut fields = Fields::new(value, pointer, faults);
                let options = Self::read_fields(&mut fields);
                fields.finish();
                Some(Some(options))
            }
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                faults.push(pointer, format_args!("must be true, false or an object, not {}", kind(value)));
                None
            }
        }
    }

    fn read_fields(fields: &mut Fields<'_>) -> Self {
        let by_default = Self::default();
        let (format, channels) = read_file(fields);
        Self {
            format,
            channels,
            beep: fields.bool("beep").unwrap_or(by_default.beep),
            max_s: fields.u32_in("max_s", 1..=MAX_S).unwrap_or(by_default.max_s),
            silence_ms: read_silence(fields),
        }
    }
}

fn read_file(fields: &mut Fields<'_>) -> (RecordingFormat, u8) {
    let format = fields.word("format", RecordingFormat::ALL).unwrap_or(RecordingFormat::Wav);
    let channels = if fields.u32_in("channels", 1..=2) == Some(2) { 2 } else { 1 };
    (format, channels)
}

fn read_silence(fields: &mut Fields<'_>) -> Option<u32> {
    // Half a second is a breath; ten minutes are a call that was forgotten.
    fields.u32_in("silence_ms", 500..=600_000)
}

/// The body of `POST /v1/calls/{id}/record`. Everything but `action` belongs to `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Record {
    /// What to do.
    pub action: RecordAction,
    /// How it is recorded.
    #[serde(flatten)]
    pub options: RecordOptions,
}

impl Record {
    /// To begin a recording.
    pub fn start(options: RecordOptions) -> Self {
        Self { action: RecordAction::Start, options }
    }

    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, |value, pointer, faults| {
            let mut fields = Fields::new(value, pointer, faults);
            let action = fields.word("action", RecordAction::ALL);
            let action = fields.required("action", action);
            if action.is_some_and(|action| action != RecordAction::Start) {
                for key in ["format", "channels", "beep", "max_s", "silence_ms"] {
                    if fields.has(key) {
                        fields.fault(key, "belongs to the action start");
                    }
                }
            }
            let options = RecordOptions::read_fields(&mut fields);
            fields.finish();
            Some(Self { action: action?, options })
        })
    }
}

/// The answer to a request about a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecordAccepted {
    /// The recording.
    pub recording_id: RecordingId,
}

/// The flow verb `record`: records the caller until one of the ends that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RecordStep {
    /// The longest recording.
    #[schema(minimum = 1, maximum = 86_400)]
    pub max_s: u32,
    /// It is over when the far side has been silent for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 500, maximum = 600_000)]
    pub silence_ms: Option<u32>,
    /// Whether the far side hears a short tone when it begins.
    #[schema(required = false, default = false)]
    pub beep: bool,
    /// Digits that end it.
    #[schema(required = false, default = "#", pattern = "^[0-9*#A-D]*$")]
    pub terminators: String,
    /// The format of the file.
    #[schema(required = false, default = "wav")]
    pub format: RecordingFormat,
    /// 1: both sides mixed. 2: the far side in the first channel, what it is sent in the second.
    #[schema(required = false, default = 1, minimum = 1, maximum = 2)]
    pub channels: u8,
}

impl RecordStep {
    pub(crate) fn read_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let max_s = fields.u32_in("max_s", 1..=MAX_S);
        let max_s = fields.required("max_s", max_s);
        let terminators = fields.str("terminators", 0..=16).unwrap_or("#").to_owned();
        if !terminators.bytes().all(is_digit) {
            fields.fault("terminators", "digits are 0-9 * # A-D");
        }
        let silence_ms = read_silence(fields);
        let beep = fields.bool("beep").unwrap_or(false);
        let (format, channels) = read_file(fields);
        Some(Self { max_s: max_s?, silence_ms, beep, terminators, format, channels })
    }

    /// How it is recorded.
    #[must_use]
    pub fn options(&self) -> RecordOptions {
        let Self { max_s, silence_ms, beep, format, channels, .. } = *self;
        RecordOptions { format, channels, beep, max_s, silence_ms }
    }
}

/// A recording of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Recording {
    /// Its id.
    pub id: RecordingId,
    /// The call.
    pub call_id: CallId,
    /// The flow's step that recorded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Whether it goes on.
    pub status: RecordingStatus,
    /// The format of the file.
    pub format: RecordingFormat,
    /// 1: both sides mixed. 2: the far side in the first channel, what it was sent in the second.
    pub channels: u8,
    /// Samples a second in the file, or of what was encoded; 0 until it has ended, and when there is no file.
    pub sample_rate_hz: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The length of the file in time; 0 until it has ended.
    pub duration_ms: u64,
    /// What of that is silence in place of what could not be written in time.
    pub dropped_ms: u64,
    /// The length of the file; 0 until it has ended, and when there is none.
    pub size_bytes: u64,
    /// Why it ended; present once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<RecordingEnd>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(body: &Value) -> Vec<String> {
        Record::from_json(body).unwrap_err().into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn a_recording_is_mono_wav_unless_it_says_otherwise() {
        let record = Record::from_json(&json!({"action": "start"})).unwrap();
        assert_eq!(record, Record::start(RecordOptions::default()));
        let body = json!({
            "action": "start", "format": "ogg", "channels": 2, "beep": true, "max_s": 60, "silence_ms": 3000,
        });
        let record = Record::from_json(&body).unwrap();
        let options = RecordOptions {
            format: RecordingFormat::Ogg,
            channels: 2,
            beep: true,
            max_s: 60,
            silence_ms: Some(3_000),
        };
        assert_eq!(record, Record::start(options));
        assert_eq!(serde_json::to_value(record).unwrap(), body);
    }

    #[test]
    fn every_fault_is_told() {
        assert_eq!(faults(&json!({})), ["/action"]);
        assert_eq!(faults(&json!({"action": "go"})), ["/action"]);
        assert_eq!(faults(&json!({"action": "stop", "format": "wav"})), ["/format"]);
        let body =
            json!({"action": "start", "format": "mp3", "channels": 3, "max_s": 0, "silence_ms": 1, "x": 1});
        assert_eq!(faults(&body), ["/format", "/channels", "/max_s", "/silence_ms", "/x"]);
    }
}
