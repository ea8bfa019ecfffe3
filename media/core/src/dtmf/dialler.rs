//! Sending keys, as RTP events or as tones.
//!
//! A dialler takes the leg's mouth for as long as it works: what plays waits and goes on afterwards where it was, so that
//! the far side misses no word, and what a bridge would send is left out.

use std::f64::consts::{PI, TAU};
use std::fmt;

use crate::sdp::TelephoneEvent;
use crate::{Codec, Digit, Encoder, Leg, Ptime};

/// The longest string of keys and pauses.
const MAX_KEYS: usize = 64;

/// Between two keys, milliseconds: Q.24 asks for 70 ms at most (Australia), so every receiver notices it.
pub const GAP_MS: u32 = 100;

/// RFC 4733, 2.5.1.4: the last packet "SHOULD be sent a total of three times".
const REPEATS: u8 = 2;

/// The longest duration a packet can express (RFC 4733, 2.5.1.3).
const SEGMENT: u32 = 0xFFFF;

/// −10 dBm0 (RFC 4733, 2.3.4), what telephones send.
const VOLUME: u8 = 10;

/// The amplitudes of the low tone at −11 dBm0 and the high one at −9 dBm0: high tones suffer more on lines, so telephones
/// send them 2 dB louder (Q.23 leaves it to national rules; ETSI ES 201 235-2 says 1 to 4 dB).
const LOW: f64 = 22_750.0 * 0.281_838;
const HIGH: f64 = 22_750.0 * 0.354_813;

/// Tones begin and end in 2 ms, without a click.
const RAMP_MS: u32 = 2;

/// Keys to be sent one after the other, and pauses.
#[derive(Clone, PartialEq, Eq)]
pub struct DialString(Box<[DialItem]>);

/// A part of a [`DialString`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialItem {
    /// A key to send.
    Key(Digit),
    /// A time in which nothing is sent.
    Pause {
        /// How long.
        ms: u16,
    },
}

/// What is wrong with a string of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadDialString {
    /// It has no key.
    #[error("must have at least one of the keys 0-9 * # A-D")]
    NoKey,
    /// It is too long.
    #[error("must have at most {MAX_KEYS} keys and pauses")]
    TooLong,
    /// A character is neither a key nor a pause.
    #[error("{0:?} is neither a key (0-9 * # A-D) nor a pause (w: 0.5 s, W: 1 s, comma: 2 s)")]
    Unknown(char),
}

impl DialString {
    /// Reads keys (`0`–`9`, `*`, `#`, `A`–`D` in either case) and pauses (`w` is half a second, `W` one, `,` two).
    pub fn parse(text: &str) -> Result<Self, BadDialString> {
        let item = |c| match c {
            'w' => Ok(DialItem::Pause { ms: 500 }),
            'W' => Ok(DialItem::Pause { ms: 1_000 }),
            ',' => Ok(DialItem::Pause { ms: 2_000 }),
            key => Digit::from_char(key).map(DialItem::Key).ok_or(BadDialString::Unknown(key)),
        };
        let items: Box<[DialItem]> = text.chars().take(MAX_KEYS + 1).map(item).collect::<Result<_, _>>()?;
        if items.len() > MAX_KEYS {
            return Err(BadDialString::TooLong);
        }
        if !items.iter().any(|item| matches!(item, DialItem::Key(_))) {
            return Err(BadDialString::NoKey);
        }
        Ok(Self(items))
    }

    /// Its parts in order.
    pub fn items(&self) -> &[DialItem] {
        &self.0
    }

    /// The first keys that are sent, without the pauses; all of them unless `most` are fewer.
    pub fn keys(&self, most: usize) -> impl Iterator<Item = Digit> {
        self.0
            .iter()
            .filter_map(|item| match item {
                DialItem::Key(digit) => Some(*digit),
                DialItem::Pause { .. } => None,
            })
            .take(most)
    }
}

impl From<Digit> for DialString {
    fn from(key: Digit) -> Self {
        Self(Box::new([DialItem::Key(key)]))
    }
}

impl fmt::Debug for DialString {
    /// The keys may be somebody's number or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DialString({} items)", self.0.len())
    }
}

/// Keys for a leg to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// Chosen by the caller, repeated in the event of this dialling.
    pub id: u64,
    /// What to send.
    pub keys: DialString,
    /// How long each key is down.
    pub duration_ms: u16,
    /// How they travel.
    pub by: DialBy,
}

/// How a leg sends keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialBy {
    /// As RTP events; they must have been agreed.
    Events,
    /// As tones in the audio.
    Tones,
}

/// Why a dialling ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialEnd {
    /// Everything is sent.
    Completed,
    /// Another one took its place.
    Stopped,
    /// The leg was finished.
    Hangup,
    /// The agreed media cannot carry it (any more): no events agreed, or another codec than when it began.
    Impossible,
}

/// A [`Dial`] at work. Made by the owner of the leg, so that the leg does not allocate.
#[derive(Debug)]
pub struct Dialler {
    dial: Dial,
    /// The item at work.
    at: usize,
    /// Keys sent.
    sent: u8,
    voice: Voice,
}

#[derive(Debug)]
enum Voice {
    Events(EventStage),
    Tones { codec: Codec, encoder: Encoder, stage: ToneStage },
}

/// Where in an item an event sender is; times in milliseconds.
#[derive(Debug, Clone, Copy)]
enum EventStage {
    Begin,
    /// The key is down since `elapsed`; `segments` of its event are over.
    Down {
        elapsed: u32,
        segments: u32,
    },
    /// It came up; its end is still to be said this often.
    Up {
        elapsed: u32,
        segments: u32,
        repeats: u8,
    },
    Quiet {
        left: u32,
    },
}

/// Where in an item a tone sender is; times in samples.
#[derive(Debug, Clone, Copy)]
enum ToneStage {
    Begin,
    Down { done: u32, low: Oscillator, high: Oscillator },
    Quiet { left: u32 },
}

/// What a dialler has put into a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Encoded audio, all of the frame.
    Audio,
    /// An event: this many octets of it.
    Event {
        len: usize,
        /// Whether it is the first packet of the event.
        begins: bool,
        /// How long after the event its segment begins.
        past_units: u32,
    },
    /// Nothing: there is no more to send.
    Over(DialEnd),
}

impl Dialler {
    /// For a leg that sends in `codec`.
    pub fn new(dial: Dial, codec: Codec) -> Self {
        let voice = match dial.by {
            DialBy::Events => Voice::Events(EventStage::Begin),
            DialBy::Tones => {
                Voice::Tones { codec, encoder: Encoder::for_prompt(codec), stage: ToneStage::Begin }
            }
        };
        Self { dial, at: 0, sent: 0, voice }
    }

    pub(crate) fn id(&self) -> u64 {
        self.dial.id
    }

    /// Keys sent so far.
    pub(crate) fn sent(&self) -> u8 {
        self.sent
    }

    /// Fills `frame` with the next packet's payload.
    pub(crate) fn turn(
        &mut self,
        codec: Codec,
        ptime: Ptime,
        events: Option<&TelephoneEvent>,
        frame: &mut [u8],
    ) -> Turn {
        let Self { dial, at, sent, voice } = self;
        match voice {
            Voice::Events(stage) => {
                let Some(events) = events else { return Turn::Over(DialEnd::Impossible) };
                let mut items = Items { dial, at, sent };
                event_turn(&mut items, stage, codec, ptime, events.clock, frame)
            }
            Voice::Tones { codec: begun, .. } if *begun != codec => Turn::Over(DialEnd::Impossible),
            Voice::Tones { encoder, stage, .. } => {
                if dial.keys.0.len() == *at {
                    return Turn::Over(DialEnd::Completed);
                }
                let rate = codec.sample_rate();
                let mut pcm = [0; Leg::MAX_FRAME];
                let pcm = &mut pcm[..(rate / 1000 * u32::from(ptime.ms())) as usize];
                tones(&mut Items { dial, at, sent }, stage, rate, pcm);
                let octets = encoder.encode(pcm, frame);
                codec.fill_silence(&mut frame[octets..]);
                Turn::Audio
            }
        }
    }
}

/// The items still to be sent.
struct Items<'a> {
    dial: &'a Dial,
    at: &'a mut usize,
    sent: &'a mut u8,
}

impl Items<'_> {
    fn current(&self) -> Option<DialItem> {
        self.dial.keys.0.get(*self.at).copied()
    }

    fn key_sent(&mut self) {
        *self.sent += 1;
    }

    fn next(&mut self) {
        *self.at += 1;
    }
}

fn event_turn(
    items: &mut Items<'_>,
    stage: &mut EventStage,
    codec: Codec,
    ptime: Ptime,
    clock: u32,
    frame: &mut [u8],
) -> Turn {
    let ptime = u32::from(ptime.ms());
    let whole = u32::from(items.dial.duration_ms);
    loop {
        let Some(item) = items.current() else { return Turn::Over(DialEnd::Completed) };
        let digit = match (item, *stage) {
            (DialItem::Pause { ms }, EventStage::Begin) => {
                *stage = EventStage::Quiet { left: ms.into() };
                continue;
            }
            (DialItem::Key(_), EventStage::Begin) => {
                *stage = EventStage::Down { elapsed: 0, segments: 0 };
                continue;
            }
            (_, EventStage::Quiet { left: 0 }) => {
                items.next();
                *stage = EventStage::Begin;
                continue;
            }
            (_, EventStage::Quiet { left }) => {
                *stage = EventStage::Quiet { left: left.saturating_sub(ptime) };
                codec.fill_silence(frame);
                return Turn::Audio;
            }
            (DialItem::Pause { .. }, EventStage::Down { .. } | EventStage::Up { .. }) => {
                *stage = EventStage::Quiet { left: 0 };
                continue;
            }
            (DialItem::Key(digit), EventStage::Down { .. } | EventStage::Up { .. }) => digit,
        };
        let (elapsed, segments) = match *stage {
            EventStage::Down { elapsed, segments } | EventStage::Up { elapsed, segments, .. } => {
                (elapsed, segments)
            }
            EventStage::Begin | EventStage::Quiet { .. } => (0, 0),
        };
        let past_units = segments * SEGMENT;
        let units = (elapsed + ptime).min(whole) * (clock / 1000) - past_units;
        // 2.5.1.3: "the sender MUST send a packet reporting this maximum duration but MUST NOT set the E bit in this
        // packet. The sender MUST then begin reporting a new 'segment' with the RTP timestamp set to the time at which the
        // previous segment ended".
        let full = units > SEGMENT;
        let end = !full && elapsed + ptime >= whole;
        let begins = elapsed == 0;
        *stage = match *stage {
            EventStage::Up { repeats: 1, .. } => {
                EventStage::Quiet { left: GAP_MS.saturating_sub(u32::from(REPEATS) * ptime) }
            }
            EventStage::Up { repeats, .. } => {
                EventStage::Up { elapsed: elapsed + ptime, segments, repeats: repeats - 1 }
            }
            EventStage::Down { .. } | EventStage::Begin | EventStage::Quiet { .. } if end => {
                items.key_sent();
                EventStage::Up { elapsed: elapsed + ptime, segments, repeats: REPEATS }
            }
            EventStage::Down { .. } | EventStage::Begin | EventStage::Quiet { .. } => {
                EventStage::Down { elapsed: elapsed + ptime, segments: segments + u32::from(full) }
            }
        };
        let [d0, d1] = (units.min(SEGMENT) as u16).to_be_bytes();
        let payload = [digit.event_code(), if end { 0x80 } else { 0 } | VOLUME, d0, d1];
        frame[..payload.len()].copy_from_slice(&payload);
        return Turn::Event { len: payload.len(), begins, past_units };
    }
}

/// Fills `pcm`, with silence where nothing is left to send.
fn tones(items: &mut Items<'_>, stage: &mut ToneStage, rate: u32, pcm: &mut [i16]) {
    let per_ms = rate / 1000;
    let whole = u32::from(items.dial.duration_ms) * per_ms;
    let ramp = f64::from(RAMP_MS * per_ms);
    let mut pcm = pcm.iter_mut();
    while let Some(item) = items.current() {
        match (item, &mut *stage) {
            (DialItem::Pause { ms }, ToneStage::Begin) => {
                *stage = ToneStage::Quiet { left: u32::from(ms) * per_ms }
            }
            (DialItem::Key(digit), ToneStage::Begin) => {
                let (low, high) = digit.tones();
                let (low, high) = (Oscillator::new(low, rate), Oscillator::new(high, rate));
                *stage = ToneStage::Down { done: 0, low, high };
            }
            (_, ToneStage::Down { done, .. }) if *done == whole => {
                items.key_sent();
                *stage = ToneStage::Quiet { left: GAP_MS * per_ms };
            }
            (_, ToneStage::Down { done, low, high }) => {
                let Some(sample) = pcm.next() else { return };
                let edge = f64::from((*done).min(whole - 1 - *done)) + 0.5;
                let level = if edge < ramp { 0.5 - 0.5 * (PI * edge / ramp).cos() } else { 1.0 };
                *sample = (level * (LOW * low.next() + HIGH * high.next())) as i16;
                *done += 1;
            }
            (_, ToneStage::Quiet { left: 0 }) => {
                items.next();
                *stage = ToneStage::Begin;
            }
            (_, ToneStage::Quiet { left }) => {
                if pcm.next().is_none() {
                    return;
                }
                *left -= 1;
            }
        }
    }
}

/// A sine: a point that goes round the unit circle.
#[derive(Debug, Clone, Copy)]
struct Oscillator {
    at: [f64; 2],
    step: [f64; 2],
}

impl Oscillator {
    fn new(hz: f32, rate: u32) -> Self {
        let (sin, cos) = (TAU * f64::from(hz) / f64::from(rate)).sin_cos();
        Self { at: [1.0, 0.0], step: [cos, sin] }
    }

    fn next(&mut self) -> f64 {
        let ([x, y], [cos, sin]) = (self.at, self.step);
        self.at = [x * cos - y * sin, x * sin + y * cos];
        y
    }
}
