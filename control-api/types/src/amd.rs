//! Who or what answered: what is asked for, and what was found.

use crate::{
    call::words,
    fault::{Faults, Fields, kind},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, ops::RangeInclusive};

words! {
    /// Who answered.
    AmdResult {
        /// A person who waits for the caller to speak.
        Human = "human",
        /// An answering machine, a voice mailbox or an announcement.
        Machine = "machine",
        /// A fax machine.
        Fax = "fax",
        /// It cannot be told in time.
        Unknown = "unknown",
    }
}

words! {
    /// What a result rests on, and what was heard before the answer.
    AmdEvidence {
        /// A few words, then a pause.
        ShortGreeting = "short-greeting",
        /// A greeting that goes on.
        LongGreeting = "long-greeting",
        /// A beep.
        Beep = "beep",
        /// The calling tone of a fax.
        Cng = "cng",
        /// The answering tone of a fax or modem.
        Ced = "ced",
        /// Special information tones: the number was changed or is out of service.
        SitIntercept = "sit-intercept",
        /// Special information tones: no such number.
        SitVacant = "sit-vacant",
        /// Special information tones: misdialled, or failed in the network.
        SitReorder = "sit-reorder",
        /// Special information tones: all circuits busy.
        SitNoCircuit = "sit-no-circuit",
        /// Special information tones: anything else.
        SitIneffective = "sit-ineffective",
        /// Special information tones without a code.
        Sit = "sit",
        /// Busy tone.
        Busy = "busy",
        /// Congestion (fast busy, reorder) tone.
        Congestion = "congestion",
        /// Ringback tone.
        Ringback = "ringback",
        /// Dial tone.
        DialTone = "dial-tone",
        /// Speech, or music that sounds like it, before the answer.
        Announcement = "announcement",
        /// Nothing at all.
        Silence = "silence",
        /// The time was over, with something heard that nothing fits.
        TimeLimit = "time-limit",
    }
}

/// What `amd` decides by; `docs/classification.md` tells what each number does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AmdParameters {
    /// Nothing said for so long after the answer makes the result `unknown`, ms.
    #[schema(required = false, default = 4000, minimum = 1000, maximum = 30_000)]
    pub limit_ms: u32,
    /// A greeting this long without a long pause is a machine's, ms.
    #[schema(required = false, default = 3500, minimum = 1000, maximum = 10_000)]
    pub machine_greeting_ms: u32,
    /// A pause this long after a word or two is a human's, ms.
    #[schema(required = false, default = 850, minimum = 200, maximum = 3000)]
    pub pause_ms: u32,
    /// A pause this long after a whole sentence is a human's, ms.
    #[schema(required = false, default = 1350, minimum = 200, maximum = 3000)]
    pub sentence_pause_ms: u32,
    /// A greeting is a whole sentence from this length on, ms.
    #[schema(required = false, default = 850, minimum = 200, maximum = 3000)]
    pub sentence_ms: u32,
    /// How far speech is above the noise, dB.
    #[schema(required = false, default = 9, minimum = 3, maximum = 30)]
    pub above_floor_db: u32,
    /// Below this level is silence, dB relative to a sine at full scale.
    #[schema(required = false, default = -46, minimum = -70, maximum = -20)]
    pub silence_db: i32,
    /// The shortest beep, ms.
    #[schema(required = false, default = 100, minimum = 60, maximum = 1000)]
    pub beep_min_ms: u32,
    /// The longest beep, ms.
    #[schema(required = false, default = 3000, minimum = 200, maximum = 10_000)]
    pub beep_max_ms: u32,
    /// How long a beep is listened for after the result, ms.
    #[schema(required = false, default = 60_000, minimum = 1000, maximum = 120_000)]
    pub beep_wait_ms: u32,
}

impl Default for AmdParameters {
    fn default() -> Self {
        Self {
            limit_ms: 4000,
            machine_greeting_ms: 3500,
            pause_ms: 850,
            sentence_pause_ms: 1350,
            sentence_ms: 850,
            above_floor_db: 9,
            silence_db: -46,
            beep_min_ms: 100,
            beep_max_ms: 3000,
            beep_wait_ms: 60_000,
        }
    }
}

impl AmdParameters {
    pub(crate) fn read_fields(fields: &mut Fields<'_>) -> Self {
        let default = Self::default();
        let mut ms = |key, range: RangeInclusive<u32>, default| fields.u32_in(key, range).unwrap_or(default);
        let read = Self {
            limit_ms: ms("limit_ms", 1000..=30_000, default.limit_ms),
            machine_greeting_ms: ms("machine_greeting_ms", 1000..=10_000, default.machine_greeting_ms),
            pause_ms: ms("pause_ms", 200..=3000, default.pause_ms),
            sentence_pause_ms: ms("sentence_pause_ms", 200..=3000, default.sentence_pause_ms),
            sentence_ms: ms("sentence_ms", 200..=3000, default.sentence_ms),
            above_floor_db: ms("above_floor_db", 3..=30, default.above_floor_db),
            silence_db: default.silence_db,
            beep_min_ms: ms("beep_min_ms", 60..=1000, default.beep_min_ms),
            beep_max_ms: ms("beep_max_ms", 200..=10_000, default.beep_max_ms),
            beep_wait_ms: ms("beep_wait_ms", 1000..=120_000, default.beep_wait_ms),
        };
        if read.beep_max_ms < read.beep_min_ms {
            fields.fault("beep_max_ms", format_args!("must be at least beep_min_ms ({})", read.beep_min_ms));
        }
        Self { silence_db: read_silence(fields).unwrap_or(read.silence_db), ..read }
    }
}

fn read_silence(fields: &mut Fields<'_>) -> Option<i32> {
    let value = fields.value("silence_db")?;
    let level = value.as_i64().and_then(|level| i32::try_from(level).ok());
    let level = level.filter(|level| (-70..=-20).contains(level));
    if level.is_none() {
        fields.fault("silence_db", format_args!("must be a whole number from -70 to -20, not {value}"));
    }
    level
}

/// Whether and how it is found out who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Amd {
    /// Whether it is.
    #[schema(required = false, default = true)]
    pub enabled: bool,
    /// By what.
    #[serde(flatten)]
    pub parameters: AmdParameters,
}

impl Amd {
    pub(crate) fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        if !value.is_object() {
            faults.push(pointer, format_args!("must be an object, not {}", kind(value)));
            return None;
        }
        let mut fields = Fields::new(value, pointer, faults);
        let enabled = fields.bool("enabled").unwrap_or(true);
        let parameters = AmdParameters::read_fields(&mut fields);
        fields.finish();
        Some(Self { enabled, parameters })
    }
}

/// What was found out about who answers; grows while the call goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AmdReport {
    /// Who answered; absent until that is clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<AmdResult>,
    /// From the answer (for a step of a flow: from its beginning) to the result, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u32>,
    /// What the result rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<AmdEvidence>,
    /// From the answer to the end of the beep, ms; absent unless one was heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beep_ms: Option<u32>,
    /// What was heard before the answer, each kind once, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub early_media: Vec<AmdEvidence>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: &Value) -> Result<Option<Amd>, Vec<String>> {
        let mut faults = Faults::default();
        let amd = Amd::read(body, "/amd", &mut faults);
        match faults.into_result(Some(())) {
            Ok(()) => Ok(amd),
            Err(faults) => Err(faults.into_iter().map(|fault| fault.pointer).collect()),
        }
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let parameters = AmdParameters::default();
        assert_eq!(read(&json!({})), Ok(Some(Amd { enabled: true, parameters })));
        let asked = json!({"enabled": false, "limit_ms": 2500, "silence_db": -50});
        let parameters = AmdParameters { limit_ms: 2500, silence_db: -50, ..parameters };
        assert_eq!(read(&asked), Ok(Some(Amd { enabled: false, parameters })));
        let written = serde_json::to_value(Amd { enabled: false, parameters }).unwrap();
        assert_eq!(read(&written), Ok(Some(Amd { enabled: false, parameters })), "it reads what it writes");
    }

    #[test]
    fn every_fault_has_its_place() {
        let body = json!({
            "enabled": "yes", "limit_ms": 10, "pause_ms": 5000, "above_floor_db": 2, "silence_db": -46.5,
            "beep_min_ms": 900, "beep_max_ms": 300, "colour": "red",
        });
        let mut faults = read(&body).unwrap_err();
        faults.sort();
        let pointers =
            ["above_floor_db", "beep_max_ms", "colour", "enabled", "limit_ms", "pause_ms", "silence_db"];
        assert_eq!(faults, pointers.map(|name| format!("/amd/{name}")));
        assert_eq!(read(&json!(true)), Err(vec!["/amd".to_owned()]));
    }
}
