//! What a leg is told to do (a [`Program`]) and what it reports back ([`MediaEvent`]).

use std::sync::Arc;
use std::time::Duration;

use crate::classify::Finding;
use crate::codec::Grain;
use crate::dtmf::{DialEnd, Method};
use crate::{Codec, Decoder, Digit, DigitSet, Digits, Encoder};

/// Audio to play, made once and shared by every leg that plays it, in whatever codecs those may speak.
///
/// A leg that changes its codec goes on at the same place of the other encoding.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt {
    encodings: Vec<Encoded>,
    length: usize,
}

impl Prompt {
    /// Audio in one codec only.
    pub fn new(codec: Codec, payload: impl Into<Box<[u8]>>) -> Self {
        Self::in_codecs(vec![Encoded::new(codec, payload)])
    }

    /// The same audio in several codecs. It is as long as the shortest of them: codecs of longer frames fill their last
    /// one up.
    pub fn in_codecs(encodings: Vec<Encoded>) -> Self {
        let length = encodings.iter().map(Encoded::eighths).min().unwrap_or(0);
        Self { encodings, length }
    }

    /// What is played to a leg of this codec.
    pub fn encoded(&self, codec: Codec) -> Option<&Encoded> {
        self.encodings.iter().find(|encoded| encoded.codec == codec)
    }

    /// Every encoding there is.
    pub fn encodings(&self) -> &[Encoded] {
        &self.encodings
    }

    /// How long one playing lasts.
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.length as u64 * 125)
    }

    /// The same in eighths of a millisecond.
    pub(crate) fn eighths(&self) -> usize {
        self.length
    }
}

impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let codecs: Vec<Codec> = self.encodings.iter().map(|encoded| encoded.codec).collect();
        write!(f, "Prompt({codecs:?}, {:?})", self.duration())
    }
}

/// Audio in one codec: its frames one after the other, which any [`crate::Ptime`] of whole frames slices.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded {
    codec: Codec,
    payload: Box<[u8]>,
}

impl Encoded {
    /// `payload` is [`Codec::octets_per_ms`] for every millisecond.
    pub fn new(codec: Codec, payload: impl Into<Box<[u8]>>) -> Self {
        Self { codec, payload: payload.into() }
    }

    /// Encodes `samples`, at [`Codec::sample_rate`]. The last frame is filled up with silence.
    pub fn of(codec: Codec, mut samples: Vec<i16>) -> Self {
        let mut encoder = Encoder::for_prompt(codec);
        let Grain { octets, eighths } = codec.grain();
        let grain = eighths * codec.sample_rate() as usize / 8_000;
        // Where a codec's own delay is within its frames, the silence that a leg sends after a prompt brings out the end.
        samples.resize((samples.len() + encoder.lookahead()).next_multiple_of(grain), 0);
        let mut payload = vec![0; samples.len() / grain * octets];
        let packet = codec.sample_rate() as usize / 50;
        for (samples, payload) in samples.chunks(packet).zip(payload.chunks_mut(codec.octets_per_ms() * 20)) {
            encoder.encode(samples, payload);
        }
        Self::new(codec, payload)
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
        let mut decoder = Decoder::new(self.codec);
        let mut pcm = [0; 960];
        let mut samples = Vec::new();
        for packet in self.payload.chunks(self.codec.octets_per_ms() * 20) {
            let count = decoder.decode(packet, &mut pcm);
            samples.extend_from_slice(&pcm[..count]);
        }
        samples
    }

    /// Its whole frames, in eighths of a millisecond.
    fn eighths(&self) -> usize {
        let Grain { octets, eighths } = self.codec.grain();
        self.payload.len() / octets * eighths
    }
}

impl std::fmt::Debug for Encoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encoded({:?}, {} octets)", self.codec, self.payload.len())
    }
}

/// Prompts that are played one after the other without a gap; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playlist(Arc<[Arc<Prompt>]>);

impl Playlist {
    /// The prompts in order.
    pub fn prompts(&self) -> &[Arc<Prompt>] {
        &self.0
    }
}

impl From<Arc<Prompt>> for Playlist {
    fn from(prompt: Arc<Prompt>) -> Self {
        Self(Arc::new([prompt]))
    }
}

impl FromIterator<Arc<Prompt>> for Playlist {
    fn from_iter<I: IntoIterator<Item = Arc<Prompt>>>(prompts: I) -> Self {
        Self(prompts.into_iter().collect())
    }
}

/// What a leg does next, without asking anyone: play, gather digits, or both.
///
/// `P` is what stands for the playlist; the engine writes programs with names and the shell resolves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program<P = Playlist> {
    /// What to play.
    pub play: Option<Play<P>>,
    /// The digits to gather.
    pub collect: Option<Collect>,
}

impl<P> Program<P> {
    /// The same program with what it plays replaced by what `resolve` makes of it.
    pub fn try_map<Q, E>(self, resolve: impl FnOnce(P) -> Result<Q, E>) -> Result<Program<Q>, E> {
        let Self { play, collect } = self;
        let play = match play {
            Some(Play { id, playlist, plays, offset_ms, barge_in }) => {
                Some(Play { id, playlist: resolve(playlist)?, plays, offset_ms, barge_in })
            }
            None => None,
        };
        Ok(Program { play, collect })
    }
}

/// Something to play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Play<P = Playlist> {
    /// Chosen by the caller, repeated in the events of this play.
    pub id: u64,
    /// What to play.
    pub playlist: P,
    /// How often in all, the whole list each time; 0 plays until stopped.
    pub plays: u32,
    /// Where in the list the first playing begins; later ones begin at the start.
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
        /// How it came.
        method: Method,
    },
    /// The peer has sent nothing for as long as [`crate::RtpTimeout`] says. Comes again after as long if it lasts.
    PeerSilent {
        /// For how long.
        seconds: u32,
    },
    /// The first frame of a play is on its way.
    PlayStarted {
        /// [`Play::id`].
        id: u64,
    },
    /// A play is over; follows every accepted [`Play`] exactly once.
    PlayEnded {
        /// [`Play::id`].
        id: u64,
        /// Why it ended.
        reason: PlayEnd,
        /// Milliseconds played, over all prompts and playings.
        played_ms: u32,
    },
    /// Something of who answers, or of the tones of the network, is clear.
    Classified(Finding),
    /// A dialling is over; follows every accepted [`Dial`](crate::dtmf::Dial) exactly once.
    DialEnded {
        /// [`Dial::id`](crate::dtmf::Dial::id).
        id: u64,
        /// Why it ended.
        reason: DialEnd,
        /// Keys sent.
        sent: u8,
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
    /// The prompt is not in the codec of the leg.
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
