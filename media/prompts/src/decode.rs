//! Bytes to mono samples.

use std::fmt;
use std::time::Duration;

use crate::resample::Resampler;
use crate::source::{Block, Source};
use crate::{Error, MAX_CHANNELS};

/// How much a prompt may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub max_bytes: usize,
    /// Length of the audio. Encoded it takes 8 kB a second and codec in memory for as long as it is in use.
    pub max_duration: Duration,
}

impl Default for Limits {
    /// 32 MiB and 15 minutes: three minutes of CD quality WAV, or a quarter of an hour of MP3 as hold music.
    fn default() -> Limits {
        Limits { max_bytes: 32 << 20, max_duration: Duration::from_secs(15 * 60) }
    }
}

/// Mono audio.
#[derive(Clone, PartialEq)]
pub struct Speech {
    pub(crate) samples: Vec<f32>,
    pub(crate) rate: u32,
    pub(crate) source_rate: u32,
    pub(crate) source_channels: usize,
}

impl Speech {
    /// The samples; the overload point of linear PCM is 1.0, and before [`normalise`](crate::normalise) peaks
    /// may lie above it.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// The samples as 16-bit linear PCM. A 16-bit file of the same rate gives back the very samples it
    /// holds.
    pub fn pcm16(&self) -> impl ExactSizeIterator<Item = i16> + '_ {
        // `as` saturates, so a peak above 1.0 becomes the largest value.
        self.samples.iter().map(|sample| (sample * 32_768.0).round() as i16)
    }

    /// How long it lasts.
    pub fn duration(&self) -> Duration {
        duration(self.samples.len() as u64, self.rate)
    }

    /// Samples per second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Sample rate of the file.
    pub fn source_rate(&self) -> u32 {
        self.source_rate
    }

    /// Channels of the file.
    pub fn source_channels(&self) -> usize {
        self.source_channels
    }
}

impl fmt::Debug for Speech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Speech({:?})", self.duration())
    }
}

/// Most samples that an encoder appends to fill its last frames: 2 frames and the decoder's delay. What lies
/// further behind the end that the file's tag announces is audio, and the tag is wrong (files joined
/// together).
const MAX_PADDING: u64 = 2 * 1_152 + 529;

/// Most that is decoded and not heard, in seconds: delays and paddings take a tenth of that. A file that has more of it
/// than its limit of sound would keep a thread busy for nothing.
const MAX_UNHEARD: u64 = 2;

/// One frame in this many may be damaged before a file is refused. A few are found at every cut made by
/// editors that do not keep the bit reservoir.
const DAMAGED_SHARE: u64 = 10;

/// With less than this share (-13 dB) of the power that the mean of unrelated channels has, the channels are
/// taken to have cancelled each other out.
const CANCELLED: f64 = 0.05;

/// How channels become one.
#[derive(Debug, Clone, Copy)]
enum Mix {
    /// Their mean: it cannot clip.
    Mean,
    /// One alone, where the mean cancels out (a voice recorded with one channel's polarity reversed).
    One(usize),
}

/// Decodes the bytes of a file, once for all of `rates`.
pub fn decode<const N: usize>(bytes: &[u8], limits: &Limits, rates: [u32; N]) -> Result<[Speech; N], Error> {
    if bytes.len() > limits.max_bytes {
        return Err(Error::TooLarge { bytes: bytes.len(), max_bytes: limits.max_bytes });
    }
    let source = &Source::of(bytes)?;
    let mut trim = Trim::AsTagged;
    let mut pass = Pass::run(source, limits, rates, trim, Mix::Mean)?;
    if let Source::Mp3(_) = source
        && pass.trimmed_end > MAX_PADDING
    {
        trim = Trim::Nothing;
        pass = Pass::run(source, limits, rates, trim, Mix::Mean)?;
    }
    if let Some(loudest) = pass.cancelled() {
        pass = Pass::run(source, limits, rates, trim, Mix::One(loudest))?;
    }
    pass.finish(source)
}

/// Whether the delay and padding that the encoder wrote into the file's tag are cut away.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trim {
    AsTagged,
    Nothing,
}

/// One reading of a file from its start to its end.
struct Pass<const N: usize> {
    resamplers: [Resampler; N],
    rate: u32,
    channels: usize,
    /// Frames (one sample of every channel) kept.
    frames: u64,
    /// Frames promised by the file's tag.
    announced: Option<u64>,
    trimmed_end: u64,
    packets: u64,
    damaged: u64,
    reason: &'static str,
    mix_power: f64,
    channel_power: Vec<f64>,
}

impl<const N: usize> Pass<N> {
    fn run(
        source: &Source<'_>,
        limits: &Limits,
        rates: [u32; N],
        trim: Trim,
        mix: Mix,
    ) -> Result<Self, Error> {
        let mut blocks = source.open()?;
        let rate = blocks.rate();
        let max_frames = (limits.max_duration.as_secs_f64() * f64::from(rate)) as u64;
        let mut pass = Pass {
            resamplers: rates.map(|to| Resampler::new(rate, to)),
            rate,
            channels: 0,
            frames: 0,
            announced: blocks.announced(),
            trimmed_end: 0,
            packets: 0,
            damaged: 0,
            reason: "",
            mix_power: 0.0,
            channel_power: Vec::new(),
        };
        let (mut interleaved, mut mono) = (Vec::<f32>::new(), Vec::new());
        let mut unheard = 0;
        while let Some(block) = blocks.next(&mut interleaved)? {
            pass.packets += 1;
            let (channels, start, end) = match block {
                Block::Audio { channels, trim_start, trim_end } => match trim {
                    Trim::AsTagged => (channels, trim_start, trim_end),
                    Trim::Nothing => (channels, 0, 0),
                },
                Block::Damaged(reason) => {
                    pass.damaged += 1;
                    pass.reason = reason;
                    continue;
                }
            };
            if channels > MAX_CHANNELS {
                return Err(Error::UnsupportedChannels { channels });
            }
            let frames = interleaved.len() / channels;
            let start = start.min(frames);
            let end = end.min(frames - start);
            unheard += (start + end) as u64;
            pass.trimmed_end += end as u64;
            pass.channels = channels;
            pass.mix(&interleaved[start * channels..(frames - end) * channels], channels, mix, &mut mono);
            if pass.frames > max_frames || unheard > max_frames + MAX_UNHEARD * u64::from(rate) {
                return Err(Error::TooLong { max_duration: limits.max_duration });
            }
            pass.resamplers.iter_mut().for_each(|resampler| resampler.push(&mono));
        }
        Ok(pass)
    }

    /// One mono sample per frame of `interleaved`, into `mono`.
    fn mix(&mut self, interleaved: &[f32], channels: usize, mix: Mix, mono: &mut Vec<f32>) {
        self.channel_power.resize(channels.max(self.channel_power.len()), 0.0);
        mono.clear();
        for frame in interleaved.chunks_exact(channels) {
            // A float file may hold NaN or infinity, which would spread through the filter.
            let finite = |sample: f32| if sample.is_finite() { sample } else { 0.0 };
            for (power, sample) in self.channel_power.iter_mut().zip(frame) {
                *power += f64::from(finite(*sample)).powi(2);
            }
            let sample = match mix {
                Mix::Mean => frame.iter().copied().map(finite).sum::<f32>() / channels as f32,
                Mix::One(channel) => frame.get(channel).copied().map_or(0.0, finite),
            };
            self.mix_power += f64::from(sample).powi(2);
            mono.push(sample);
        }
        self.frames += mono.len() as u64;
    }

    /// The loudest channel, if the channels have cancelled each other out.
    fn cancelled(&self) -> Option<usize> {
        // What the mean of unrelated channels has, a voice in one of them included.
        let channels = self.channel_power.len().max(1) as f64;
        let unrelated = self.channel_power.iter().sum::<f64>() / (channels * channels);
        if self.mix_power >= CANCELLED * unrelated {
            return None;
        }
        (0..self.channel_power.len())
            .rev()
            .max_by(|a, b| self.channel_power[*a].total_cmp(&self.channel_power[*b]))
    }

    fn finish(self, source: &Source<'_>) -> Result<[Speech; N], Error> {
        let container = source.container();
        if self.damaged * DAMAGED_SHARE > self.packets {
            return Err(Error::Damaged { container, reason: self.reason });
        }
        if self.frames == 0 {
            return Err(Error::NoAudio { container });
        }
        if let (Some(frame), Some(announced)) = (source.frame(), self.announced) {
            // Damaged frames are lost to the count, and tags err by a frame.
            let tolerated = (self.damaged + 1) * frame;
            if self.frames + tolerated < announced {
                let [announced, found] = [announced, self.frames].map(|frames| duration(frames, self.rate));
                return Err(Error::Truncated { container, announced, found });
            }
        }
        Ok(self.resamplers.map(|resampler| Speech {
            rate: resampler.rate(),
            samples: resampler.finish(),
            source_rate: self.rate,
            source_channels: self.channels,
        }))
    }
}

fn duration(frames: u64, rate: u32) -> Duration {
    Duration::from_micros(frames.saturating_mul(1_000_000) / u64::from(rate))
}
