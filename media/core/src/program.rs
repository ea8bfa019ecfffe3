//! What a leg is told to do (a [`Program`]) and what it reports back ([`MediaEvent`]).

use std::sync::Arc;
use std::time::Duration;

use crate::{Codec, Digit, DigitSet, Digits, g711, g722};

/// Encoded audio, made once and shared by every leg that plays it; any [`crate::Ptime`] slices it.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt {
    codec: Codec,
    payload: Arc<[u8]>,
}

impl Prompt {
    /// A prompt of `payload`, encoded in `codec` without any framing.
    pub fn new(codec: Codec, payload: impl Into<Arc<[u8]>>) -> Self {
        Self { codec, payload: payload.into() }
    }

    /// The codec of the payload.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The encoded audio.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What is heard of it: 16-bit linear PCM at [`Codec::sample_rate`].
    pub fn decode(&self) -> Vec<i16> {
        match self.codec {
            Codec::Pcmu => self.payload.iter().map(|code| g711::decode_ulaw(*code)).collect(),
            Codec::Pcma => self.payload.iter().map(|code| g711::decode_alaw(*code)).collect(),
            Codec::G722 => {
                let mut samples = vec![0; self.payload.len() * 2];
                g722::Decoder::new().decode(&self.payload, &mut samples);
                samples
            }
        }
    }

    /// How long one playing lasts.
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.payload.len() as u64 * 1000 / self.codec.octets_per_ms() as u64)
    }
}

impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prompt({:?}, {:?})", self.codec, self.duration())
    }
}

/// What a leg does next, without asking anyone: play a prompt, gather digits, or both.
///
/// `P` is what stands for the prompt; the engine writes programs with prompt ids and the shell resolves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program<P = Arc<Prompt>> {
    /// The prompt to play.
    pub play: Option<Play<P>>,
    /// The digits to gather.
    pub collect: Option<Collect>,
}

impl<P> Program<P> {
    /// The same program with every prompt replaced by what `resolve` makes of it.
    pub fn try_map<Q, E>(self, resolve: impl FnOnce(P) -> Result<Q, E>) -> Result<Program<Q>, E> {
        let Self { play, collect } = self;
        let play = match play {
            Some(Play { id, prompt, plays, offset_ms, barge_in }) => {
                Some(Play { id, prompt: resolve(prompt)?, plays, offset_ms, barge_in })
            }
            None => None,
        };
        Ok(Program { play, collect })
    }
}

/// A prompt to play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Play<P = Arc<Prompt>> {
    /// Chosen by the caller, repeated in the events of this play.
    pub id: u64,
    /// What to play.
    pub prompt: P,
    /// How often in all; 0 plays until stopped.
    pub plays: u32,
    /// Where in the prompt the first playing begins; later ones begin at the start.
    pub offset_ms: u32,
    /// Whether the first packet of a digit stops the prompt. Without it a [`Collect`] beside this play takes no digit
    /// before the prompt has ended; digits typed until then wait in the type-ahead buffer.
    pub barge_in: bool,
}

/// Digits to gather.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collect {
    /// Chosen by the caller, repeated in the event of this collect.
    pub id: u64,
    /// A terminator counts as such only after this many digits; before, it is an ordinary digit.
    pub min: u8,
    /// The collect ends at this many digits (at most [`Digits::CAPACITY`], at least 1).
    pub max: u8,
    /// Digits that end the collect and are no part of its result.
    pub terminators: DigitSet,
    /// How long to wait for the first digit, from the end of the prompt.
    pub timeout_ms: u32,
    /// How long to wait for each further digit.
    pub inter_digit_ms: u32,
}

/// What a leg reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaEvent {
    /// The far end pressed and released a key (one event for each key stroke).
    Digit {
        /// The key.
        digit: Digit,
        /// How long it was down, as far as received.
        duration_ms: u16,
    },
    /// The first frame of a prompt is on its way.
    PlayStarted {
        /// [`Play::id`].
        id: u64,
    },
    /// A prompt is over; follows every accepted [`Play`] exactly once.
    PlayEnded {
        /// [`Play::id`].
        id: u64,
        /// Why it ended.
        reason: PlayEnd,
        /// Milliseconds of the prompt played, over all playings.
        played_ms: u32,
    },
    /// A collect is over; follows every accepted [`Collect`] exactly once.
    CollectEnded {
        /// [`Collect::id`].
        id: u64,
        /// What was gathered.
        digits: Digits,
        /// Why it ended.
        reason: CollectEnd,
    },
}

/// Why a prompt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayEnd {
    /// Played to its end, as often as asked.
    Completed,
    /// Stopped by command, or replaced by another program.
    Stopped,
    /// A digit stopped it.
    BargeIn,
    /// The leg was finished.
    Hangup,
    /// The prompt is not in the codec of the leg: nothing was played.
    WrongCodec,
}

/// Why a collect ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectEnd {
    /// [`Collect::max`] digits are there.
    Max,
    /// A terminator was pressed.
    Terminator,
    /// No digit within [`Collect::timeout_ms`].
    Timeout,
    /// No further digit within [`Collect::inter_digit_ms`].
    InterDigit,
    /// Replaced by another program.
    Stopped,
    /// The leg was finished.
    Hangup,
}
