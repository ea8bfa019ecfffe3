//! What can be done to an answered call; the same fields serve the flow verbs of the same name.

use crate::{
    CallId, Fault, Play,
    call::words,
    create::{is_number, is_sip_uri},
    event::DtmfMethod,
    fault::{self, Faults, Fields},
    variable::{NAME_RULE, is_name},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Sends digits to the far side. What plays waits meanwhile, and goes on afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Dtmf {
    /// `0`-`9`, `*`, `#`, `A`-`D` and pauses: `w` half a second, `W` one, a comma two; 64 at most.
    #[schema(min_length = 1, max_length = 64)]
    pub digits: String,
    /// How long each digit lasts.
    #[schema(required = false, default = 100, minimum = 40, maximum = 20_000)]
    pub duration_ms: u16,
    /// How they are sent; without it as the trunk says. Telephone events that the far side has not agreed to are sent as tones
    /// then, and are refused if they are asked for here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<DtmfMethod>,
}

impl Dtmf {
    /// Sends `digits` of 100 ms as the trunk wants them.
    pub fn of(digits: impl Into<String>) -> Self {
        Self { digits: digits.into(), duration_ms: 100, method: None }
    }

    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, |value, pointer, faults| {
            let mut fields = Fields::new(value, pointer, faults);
            let dtmf = Self::read_fields(&mut fields);
            if let Some(wrong) = dtmf.as_ref().and_then(|dtmf| dial_fault(&dtmf.digits)) {
                fields.fault("digits", wrong);
            }
            fields.finish();
            dtmf
        })
    }

    /// Reads the fields, without looking into the digits.
    pub(crate) fn read_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let digits = fields.str("digits", 1..=64);
        let digits = fields.required("digits", digits);
        // Q.24: 40 ms is what every receiver takes. 20 s are three segments of an RTP event.
        let duration_ms = fields.u32_in("duration_ms", 40..=20_000).unwrap_or(100);
        let method = fields.word("method", DtmfMethod::ALL);
        Some(Self { digits: digits?.to_owned(), duration_ms: u16::try_from(duration_ms).ok()?, method })
    }
}

/// Why `digits` cannot be sent.
pub(crate) fn dial_fault(digits: &str) -> Option<&'static str> {
    let is_key = |byte: u8| is_digit(byte.to_ascii_uppercase());
    if !digits.bytes().all(|byte| is_key(byte) || matches!(byte, b'w' | b'W' | b',')) {
        return Some("digits are 0-9 * # A-D, pauses w (0.5 s), W (1 s) and comma (2 s)");
    }
    (!digits.bytes().any(is_key)).then_some("must have a digit beside the pauses")
}

/// Refuses an inbound call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// The SIP status to refuse with.
    #[schema(required = false, default = 603, minimum = 400, maximum = 699)]
    pub status: u16,
}

impl Reject {
    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, |value, pointer, faults| {
            let mut fields = Fields::new(value, pointer, faults);
            let status = fields.u32_in("status", 400..=699).unwrap_or(603);
            fields.finish();
            Some(Self { status: u16::try_from(status).ok()? })
        })
    }
}

/// What a message says of one whom a blind transfer cannot be to.
pub(crate) const BLIND_RULE: &str =
    "must be a number (at most 32 digits, * and #, optionally + in front) or a sip: URI";

/// Has the far side call somebody else, and leaves the call to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// Blind: a number, as the trunk is given it, or a `sip:` URI. Attended: the id of another answered call, whose far
    /// side is to be called and to go on with this one instead of us.
    #[schema(min_length = 1, max_length = 256)]
    pub to: String,
    /// How.
    #[schema(required = false, default = "blind")]
    pub mode: TransferMode,
}

impl Transfer {
    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, |value, pointer, faults| {
            let mut fields = Fields::new(value, pointer, faults);
            let mode = fields.word("mode", TransferMode::ALL).unwrap_or(TransferMode::Blind);
            let to = fields.str("to", 1..=256);
            let to = fields.required("to", to);
            let need = match mode {
                TransferMode::Blind => BLIND_RULE,
                TransferMode::Attended => "must be the id of the call to hand over to",
            };
            let is_right = |to| match mode {
                TransferMode::Blind => is_number(to) || is_sip_uri(to),
                TransferMode::Attended => CallId::new(to).is_ok(),
            };
            if to.is_some_and(|to| !is_right(to)) {
                fields.fault("to", need);
            }
            fields.finish();
            Some(Self { to: to?.to_owned(), mode })
        })
    }

    /// Whether [`Transfer::to`] is a SIP URI; otherwise it is a number, or a call's id.
    #[must_use]
    pub fn to_is_uri(&self) -> bool {
        is_sip_uri(&self.to)
    }
}

words! {
    /// Ways to hand a call over.
    TransferMode {
        /// The far side is told whom to call.
        Blind = "blind",
        /// The far side is told to take the place of another call of ours.
        Attended = "attended",
    }
}

/// Collects digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Gather {
    /// What is played meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub play: Option<Play>,
    /// Fewest digits that count as an entry.
    #[schema(required = false, default = 1, minimum = 1, maximum = 32)]
    pub min: u8,
    /// Most digits; reaching it ends the collection.
    #[schema(minimum = 1, maximum = 32)]
    pub max: u8,
    /// Digits that end the collection; they are not part of the result.
    #[schema(required = false, default = "#", pattern = "^[0-9*#A-D]*$")]
    pub terminators: String,
    /// Longest wait for the first digit, from the end of the prompt.
    #[schema(required = false, default = 5000, minimum = 100, maximum = 600_000)]
    pub timeout_ms: u32,
    /// Longest wait between digits.
    #[schema(required = false, default = 2000, minimum = 100, maximum = 60_000)]
    pub inter_digit_ms: u32,
    /// Whether the first digit stops the prompt.
    #[schema(required = false, default = true)]
    pub barge_in: bool,
    /// How often the prompt is played again after a timeout or an entry that matches nothing.
    #[schema(required = false, default = 0, maximum = 10)]
    pub retries: u8,
    /// The variable that keeps the digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_as: Option<String>,
}

/// As many digits as the media side keeps typed ahead.
const MAX_DIGITS: u32 = 32;

impl Gather {
    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, Self::read)
    }

    fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults);
        let gather = Self::read_fields(&mut fields);
        fields.finish();
        gather
    }

    pub(crate) fn read_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let play = fields.nested("play", Play::read);
        let min = fields.u32_in("min", 1..=MAX_DIGITS).unwrap_or(1);
        let max = fields.u32_in("max", 1..=MAX_DIGITS);
        let max = fields.required("max", max);
        if max.is_some_and(|max| min > max) {
            fields.fault("min", "must not be greater than max");
        }
        let terminators = fields.str("terminators", 0..=16).unwrap_or("#").to_owned();
        if !terminators.bytes().all(is_digit) {
            fields.fault("terminators", "digits are 0-9 * # A-D");
        }
        let timeout_ms = fields.u32_in("timeout_ms", 100..=600_000).unwrap_or(5000);
        let inter_digit_ms = fields.u32_in("inter_digit_ms", 100..=60_000).unwrap_or(2000);
        let barge_in = fields.bool("barge_in").unwrap_or(true);
        let retries = fields.u32_in("retries", 0..=10).unwrap_or(0);
        let save_as = fields.str("save_as", 1..=64).map(str::to_owned);
        if save_as.as_ref().is_some_and(|name| !is_name(name)) {
            fields.fault("save_as", NAME_RULE);
        }
        Some(Self {
            play,
            min: u8::try_from(min).ok()?,
            max: u8::try_from(max?).ok()?,
            terminators,
            timeout_ms,
            inter_digit_ms,
            barge_in,
            retries: u8::try_from(retries).ok()?,
            save_as,
        })
    }
}

/// Whether `byte` is a DTMF digit (RFC 4733 §3.2).
pub(crate) fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D')
}

words! {
    /// Why the API or a flow ends a call; before the answer it chooses the SIP status of an inbound one.
    HangupReason {
        /// 480 before the answer, Q.850 cause 16 after it.
        Normal = "normal",
        /// 486, cause 17.
        Busy = "busy",
        /// 603, cause 21.
        Rejected = "rejected",
    }
}
