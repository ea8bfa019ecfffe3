//! Recording a leg: what it heard and what it sent, one packet time at a time, on the way into a file.
//!
//! A leg gives every packet time to its [`Tape`]: what it heard as samples, what it sent as it was sent. The shell carries
//! both to a thread that may wait for a disk, where a [`Recorder`] makes octets of a file of them. Both sides of a packet
//! time are of the same tick, so that they stay together in the file.
//!
//! A file is whole at any time, except for what has not been written yet: [`Recorder::flush`] brings out whatever waits
//! for its page, [`Recorder::header`] says what belongs to the file's beginning by then. A [`Mender`] makes a file
//! whole whose writer has died.

mod deck;
mod mend;
pub mod ogg;
mod opus;
pub mod wav;

pub use deck::{Beep, Deck};
pub use mend::{Mended, Mender};

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use self::opus::OpusFile;
use crate::resample::Resampler;
use crate::{Codec, Decoder, Ptime};

/// What a leg heard and sent in one packet time.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// What both sides speak.
    pub codec: Codec,
    /// How long it is.
    pub ptime: Ptime,
    /// What was heard, at [`Codec::sample_rate`]. What is missing of the packet time was silence.
    pub heard: &'a [i16],
    /// What was sent.
    pub sent: Sent<'a>,
}

/// What a leg sent in one packet time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent<'a> {
    /// A payload as it was sent; empty when nothing was.
    Payload(&'a [u8]),
    /// What the payloads of somebody else that it sent on sound like, at [`Codec::sample_rate`].
    Sound(&'a [i16]),
}

/// Which of the two recordings that a leg may be on at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track {
    /// What its owner records of the call.
    Call,
    /// What a step of its program records.
    Step,
}

/// Takes what a leg hears and sends while it is recorded. It never waits.
pub trait Tape: fmt::Debug + Send {
    /// Takes a packet time; `false` when it wants no more.
    fn take(&mut self, moment: &Moment<'_>) -> bool;
}

/// The file's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Linear samples of 16 bits.
    Wav,
    /// Opus in Ogg.
    Opus,
}

/// How the two sides come into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// Mixed into one channel.
    Mixed,
    /// What was heard in the first channel, what was sent in the second.
    Apart,
}

impl Sides {
    /// The channels of the file.
    pub const fn channels(self) -> u8 {
        match self {
            Self::Mixed => 1,
            Self::Apart => 2,
        }
    }
}

/// What is to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recording {
    /// The file's format.
    pub format: Format,
    /// Its channels.
    pub sides: Sides,
    /// The recording is over when it is this long.
    pub max: Duration,
    /// The recording is over when nothing has been heard for so long.
    pub silence: Option<Duration>,
}

/// Why a recording ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// It is [`Recording::max`] long, or as long as its format allows.
    MaxLength,
    /// Nothing was heard for [`Recording::silence`].
    Silence,
}

/// Below this mean magnitude a packet time is silent: 48 dB below full scale, above the noise of telephone lines (about
/// -65 dBm0, which is -68 dB) and their echo, below anybody who speaks (-36 dB and more).
const SILENT: u32 = 128;

/// How long what the leg sends of its own waits in the file. What is heard has waited in the ear, 20 ms and up to a packet
/// time more where the network is even: so both sides stand where they were at the peer, within half a packet time.
const LAG: Duration = Duration::from_millis(30);

/// The longest packet time at the highest rate, in samples.
const MAX_SAMPLES: usize = 60 * 48;

/// Makes the octets of a file from packet times.
///
/// The rate of the file is that of the first packet time's codec; if the codec changes, what follows is brought to it.
pub struct Recorder {
    recording: Recording,
    heard: Side,
    sent: Side,
    /// What was sent and waits, [`LAG`] of it at the file's rate.
    lagging: VecDeque<i16>,
    decoder: Option<(Codec, Decoder)>,
    /// From the first packet time on.
    file: Option<File>,
    output: Vec<u8>,
}

/// A file that has its rate.
struct File {
    rate: u32,
    encoding: Encoding,
    /// Samples a channel so far.
    samples: u64,
    /// Samples since anything was heard.
    silent: u64,
}

enum Encoding {
    Wav { data: u32 },
    Opus(Box<OpusFile>),
}

/// One side of a packet time on its way to the file's rate.
struct Side {
    resampler: Option<(u32, Resampler)>,
    samples: [i16; MAX_SAMPLES],
}

impl Recorder {
    /// A recorder whose file is empty.
    pub fn new(recording: Recording) -> Self {
        Self {
            recording,
            heard: Side::new(),
            sent: Side::new(),
            lagging: VecDeque::new(),
            decoder: None,
            file: None,
            output: Vec::new(),
        }
    }

    /// Takes the next packet time, which comes `gap` after the last one (in the file there is silence between them).
    /// When the recording is over, it says why; it takes nothing after that.
    pub fn record(&mut self, gap: Duration, moment: &Moment<'_>) -> Option<Full> {
        let Moment { codec, ptime, heard, sent } = *moment;
        let from = codec.sample_rate();
        let samples = (from / 1000) as usize * usize::from(ptime.ms());
        let mut pcm = [0; MAX_SAMPLES];
        match sent {
            Sent::Payload([]) => {}
            Sent::Payload(payload) => {
                let decoder = match &mut self.decoder {
                    Some((of, decoder)) if *of == codec => decoder,
                    other => &mut other.insert((codec, Decoder::new(codec))).1,
                };
                let decoded = decoder.decode(payload, &mut pcm[..samples]);
                pcm[decoded..].fill(0);
            }
            Sent::Sound(sound) => {
                let n = sound.len().min(samples);
                pcm[..n].copy_from_slice(&sound[..n]);
            }
        }
        let (recording, output, lagging) = (self.recording, &mut self.output, &mut self.lagging);
        let file = self.file.get_or_insert_with(|| {
            lagging.resize(LAG.as_millis() as usize * from as usize / 1_000, 0);
            File::new(recording, from, output)
        });
        let heard = self.heard.bring(from, file.rate, &heard[..heard.len().min(samples)], samples);
        let sent = self.sent.bring(from, file.rate, &pcm[..samples], samples);
        for sample in sent.iter_mut() {
            // What was sent on has waited in an ear of its own, and does not wait again.
            let (waits, comes) = match moment.sent {
                Sent::Payload(_) => (*sample, 0),
                Sent::Sound(_) => (0, *sample),
            };
            self.lagging.push_back(waits);
            *sample = comes.saturating_add(self.lagging.pop_front().unwrap_or_default());
        }

        let rate = u64::from(file.rate);
        let room = file.room(&self.recording);
        let gap = gap.as_millis().saturating_mul(u128::from(rate)) / 1000;
        let gap = u64::try_from(gap).unwrap_or(u64::MAX);
        for n in pieces(gap.min(room)) {
            let nothing = &[0; MAX_SAMPLES][..n];
            file.write(self.recording.sides, nothing, nothing, &mut self.output);
        }
        let n = usize::try_from(room.saturating_sub(gap)).unwrap_or(usize::MAX).min(heard.len());
        file.write(self.recording.sides, &heard[..n], &sent[..n], &mut self.output);

        if n == 0 || file.room(&self.recording) == 0 {
            return Some(Full::MaxLength);
        }
        let loudness = heard.iter().map(|sample| u32::from(sample.unsigned_abs())).sum::<u32>();
        let is_silent = loudness < SILENT * heard.len() as u32;
        file.silent = if is_silent { file.silent + gap + n as u64 } else { 0 };
        let limit = self.recording.silence?.as_millis() * u128::from(rate) / 1000;
        (u128::from(file.silent) >= limit).then_some(Full::Silence)
    }

    /// Brings out whatever waits for its page.
    pub fn flush(&mut self) {
        match self.file.as_mut().map(|file| &mut file.encoding) {
            Some(Encoding::Opus(opus)) => opus.flush(&mut self.output),
            Some(Encoding::Wav { .. }) | None => {}
        }
    }

    /// Brings out the end of the file. A recording without a packet time is an empty file at 8 kHz.
    pub fn finish(&mut self) {
        let (recording, output) = (self.recording, &mut self.output);
        let file = self.file.get_or_insert_with(|| File::new(recording, 8_000, output));
        match &mut file.encoding {
            Encoding::Opus(opus) => opus.finish(&mut self.output),
            Encoding::Wav { .. } => {}
        }
    }

    /// What follows in the file; take it out.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// What belongs to the beginning of the file once all output so far is in it; `None` when nothing has to change there.
    pub fn header(&self) -> Option<[u8; wav::HEADER_LEN]> {
        let file = self.file.as_ref()?;
        match file.encoding {
            Encoding::Wav { data } => {
                Some(wav::header(file.rate, u16::from(self.recording.sides.channels()), data))
            }
            Encoding::Opus(_) => None,
        }
    }

    /// The rate of the file, once it has one.
    pub fn rate(&self) -> Option<u32> {
        self.file.as_ref().map(|file| file.rate)
    }

    /// How long the recording is.
    pub fn duration(&self) -> Duration {
        self.file.as_ref().map_or(Duration::ZERO, |file| length(file.samples, file.rate))
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorder({:?}, {:?})", self.recording, self.duration())
    }
}

impl File {
    fn new(recording: Recording, rate: u32, output: &mut Vec<u8>) -> Self {
        let channels = recording.sides.channels();
        let encoding = match recording.format {
            Format::Wav => {
                output.extend_from_slice(&wav::header(rate, u16::from(channels), 0));
                Encoding::Wav { data: 0 }
            }
            Format::Opus => Encoding::Opus(Box::new(OpusFile::new(rate, channels, output))),
        };
        Self { rate, encoding, samples: 0, silent: 0 }
    }

    /// How many samples it may still take.
    fn room(&self, recording: &Recording) -> u64 {
        let max = recording.max.as_millis().saturating_mul(u128::from(self.rate)) / 1000;
        let max = u64::try_from(max).unwrap_or(u64::MAX);
        let most = match self.encoding {
            Encoding::Wav { .. } => u64::from(wav::MAX_DATA) / (2 * u64::from(recording.sides.channels())),
            Encoding::Opus(_) => u64::MAX,
        };
        max.min(most).saturating_sub(self.samples)
    }

    fn write(&mut self, sides: Sides, heard: &[i16], sent: &[i16], output: &mut Vec<u8>) {
        self.samples += heard.len() as u64;
        let mut both = [0; MAX_SAMPLES * 2];
        let both = match sides {
            Sides::Mixed => {
                for ((to, heard), sent) in both.iter_mut().zip(heard).zip(sent) {
                    *to = heard.saturating_add(*sent);
                }
                &both[..heard.len()]
            }
            Sides::Apart => {
                for ((to, heard), sent) in both.chunks_exact_mut(2).zip(heard).zip(sent) {
                    to.copy_from_slice(&[*heard, *sent]);
                }
                &both[..heard.len() * 2]
            }
        };
        match &mut self.encoding {
            Encoding::Wav { data } => {
                // Never more than the sizes can tell: see `room`.
                *data += both.len() as u32 * 2;
                output.extend(both.iter().flat_map(|sample| sample.to_le_bytes()));
            }
            Encoding::Opus(opus) => opus.write(both, output),
        }
    }
}

impl Side {
    fn new() -> Self {
        Self { resampler: None, samples: [0; MAX_SAMPLES] }
    }

    /// A packet time of `expected` samples at the rate `from`, at the rate `to`.
    fn bring(&mut self, from: u32, to: u32, samples: &[i16], expected: usize) -> &mut [i16] {
        let n = samples.len().min(expected);
        if from == to {
            self.resampler = None;
            self.samples[..n].copy_from_slice(&samples[..n]);
            self.samples[n..expected].fill(0);
            return &mut self.samples[..expected];
        }
        let resampler = match &mut self.resampler {
            Some((of, resampler)) if *of == from => Some(resampler),
            other => Resampler::new(from, to).map(|made| &mut other.insert((from, made)).1),
        };
        let mut whole = [0; MAX_SAMPLES];
        whole[..n].copy_from_slice(&samples[..n]);
        // Every rate of a codec is one of the resampler's; with another there would be silence.
        let whole = &whole[..expected];
        let expected = expected * to as usize / from as usize;
        let resampled =
            resampler.map_or(0, |resampler| resampler.process(whole, &mut self.samples[..expected]));
        self.samples[resampled..expected].fill(0);
        &mut self.samples[..expected]
    }
}

/// So many samples in pieces that fit into a packet time.
fn pieces(samples: u64) -> impl Iterator<Item = usize> {
    let longest = MAX_SAMPLES as u64;
    (0..samples.div_ceil(longest)).map(move |n| (samples - n * longest).min(longest) as usize)
}

fn length(samples: u64, rate: u32) -> Duration {
    Duration::from_micros(samples * 1_000_000 / u64::from(rate.max(1)))
}

#[cfg(test)]
mod tests;
