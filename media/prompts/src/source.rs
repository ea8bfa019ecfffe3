//! What a file is decoded with: one block of samples after the other, whatever the container.

use std::io::Read;

use media_core::record::ogg::OPUS_RATE;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Symphonia;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions, ReadOnlySource};
use symphonia::default::formats::{FlacReader, MpaReader, OggReader, WavReader};

use crate::ogg;
use crate::opus::OpusBlocks;
use crate::sniff::{self, Container};
use crate::wav::{self, Wav};
use crate::{Error, MAX_RATE, MIN_RATE};

/// How far into a file without any signature an MP3 frame is looked for.
const SYNC_SEARCH: usize = 64 << 10;

/// A file that has been recognised.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    Wav(Wav<'a>),
    Mp3(&'a [u8]),
    Flac(&'a [u8]),
    /// Vorbis or FLAC in Ogg.
    Ogg(&'a [u8]),
    OggOpus(&'a [u8]),
}

/// What one packet has become.
#[derive(Debug)]
pub(crate) enum Block {
    /// Samples, interleaved; so many of each channel at the start and at the end are no audio.
    Audio { channels: usize, trim_start: usize, trim_end: usize },
    /// Nothing.
    Damaged(&'static str),
}

/// A file that is being read.
pub(crate) enum Blocks<'a> {
    Symphonia {
        source: &'a Source<'a>,
        reader: Box<dyn FormatReader + 'a>,
        decoder: Box<dyn AudioDecoder>,
        rate: u32,
    },
    Opus(Box<OpusBlocks<'a>>),
}

impl<'a> Source<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Result<Source<'a>, Error> {
        Ok(match sniff::container(bytes)? {
            Container::Wav => Source::Wav(wav::read(bytes)?),
            Container::Mp3 { audio } => Source::Mp3(&bytes[audio..]),
            Container::Flac { audio } => Source::Flac(&bytes[audio..]),
            Container::Ogg => {
                ogg::check(bytes)?;
                Source::Ogg(bytes)
            }
            Container::OggOpus => {
                ogg::check(bytes)?;
                Source::OggOpus(bytes)
            }
            Container::Unknown => {
                let start = Source::Mp3(&bytes[..bytes.len().min(SYNC_SEARCH)]);
                if start.open().is_err() {
                    return Err(Error::NotAudio { looks_like: "unknown binary data" });
                }
                Source::Mp3(bytes)
            }
        })
    }

    pub(crate) fn container(&self) -> &'static str {
        match self {
            Source::Wav(_) => "WAV",
            Source::Mp3(_) => "MP3",
            Source::Flac(_) => "FLAC",
            Source::Ogg(_) => "Ogg",
            Source::OggOpus(_) => "Ogg/Opus",
        }
    }

    /// Samples of the longest frame, where the container says how many samples there are in all.
    pub(crate) fn frame(&self) -> Option<u64> {
        match self {
            Source::Mp3(_) => Some(1_152),
            Source::Flac(_) => Some(65_535),
            // The lengths of WAV and Ogg have been checked by their own readers.
            Source::Wav(_) | Source::Ogg(_) | Source::OggOpus(_) => None,
        }
    }

    pub(crate) fn open(&self) -> Result<Blocks<'_>, Error> {
        let options = FormatOptions::default();
        let reader: Result<Box<dyn FormatReader + '_>, Symphonia> = match self {
            Source::Wav(Wav { header, samples }) => {
                WavReader::try_new(stream(header.chain(*samples)), options)
                    .map(|reader| Box::new(reader) as _)
            }
            Source::Mp3(bytes) => {
                MpaReader::try_new(stream(*bytes), options).map(|reader| Box::new(reader) as _)
            }
            Source::Flac(bytes) => {
                FlacReader::try_new(stream(*bytes), options).map(|reader| Box::new(reader) as _)
            }
            Source::Ogg(bytes) => {
                OggReader::try_new(stream(*bytes), options).map(|reader| Box::new(reader) as _)
            }
            Source::OggOpus(bytes) => {
                return OpusBlocks::open(bytes).map(|blocks| Blocks::Opus(Box::new(blocks)));
            }
        };
        let reader = reader.map_err(|error| self.error(error))?;
        let track = reader.tracks().first();
        let (decoder, rate) = self.decoder(track.and_then(|track| track.codec_params.as_ref()))?;
        Ok(Blocks::Symphonia { source: self, reader, decoder, rate })
    }

    fn error(&self, error: Symphonia) -> Error {
        let container = self.container();
        let reason = match error {
            // Memory has no other input error than its end.
            Symphonia::IoError(_) => return Error::NoAudio { container },
            Symphonia::DecodeError(reason)
            | Symphonia::Unsupported(reason)
            | Symphonia::LimitError(reason) => reason,
            Symphonia::SeekError(_) => "it cannot be read from its start",
            Symphonia::ResetRequired => "its format changes half-way",
            _ => "its decoder fails",
        };
        Error::Damaged { container, reason }
    }

    fn decoder(&self, parameters: Option<&CodecParameters>) -> Result<(Box<dyn AudioDecoder>, u32), Error> {
        let damaged = |reason| Error::Damaged { container: self.container(), reason };
        let audio = parameters.and_then(CodecParameters::audio).ok_or(damaged("it has no audio track"))?;
        let hz = audio.sample_rate.ok_or(damaged("it does not say its sample rate"))?;
        if !(MIN_RATE..=MAX_RATE).contains(&hz) {
            return Err(Error::UnsupportedRate { hz });
        }
        let options = AudioDecoderOptions::default().gapless(false);
        let decoder =
            symphonia::default::get_codecs().make_audio_decoder(audio, &options).map_err(|_| match self {
                Source::Wav(_) => damaged("its sample format is unknown"),
                Source::Mp3(_) => Error::UnsupportedFormat { format: "MPEG layer I or II" },
                Source::Flac(_) | Source::Ogg(_) | Source::OggOpus(_) => damaged("its coding is unknown"),
            })?;
        Ok((decoder, hz))
    }
}

impl Blocks<'_> {
    /// Samples per second and channel.
    pub(crate) fn rate(&self) -> u32 {
        match self {
            Blocks::Symphonia { rate, .. } => *rate,
            Blocks::Opus(_) => OPUS_RATE,
        }
    }

    /// Samples of each channel that the file says it has.
    pub(crate) fn announced(&self) -> Option<u64> {
        match self {
            Blocks::Symphonia { reader, .. } => reader.tracks().first().and_then(|track| track.num_frames),
            Blocks::Opus(_) => None,
        }
    }

    /// Decodes the next packet into `interleaved`, in place of what is there; `None` at the end.
    pub(crate) fn next(&mut self, interleaved: &mut Vec<f32>) -> Result<Option<Block>, Error> {
        let (source, reader, decoder) = match self {
            Blocks::Symphonia { source, reader, decoder, .. } => (source, reader, decoder),
            Blocks::Opus(opus) => return opus.next(interleaved),
        };
        let Some(packet) = reader.next_packet().map_err(|error| source.error(error))? else {
            return Ok(None);
        };
        let audio = match decoder.decode(&packet) {
            Ok(audio) => audio,
            Err(Symphonia::DecodeError(reason)) => return Ok(Some(Block::Damaged(reason))),
            Err(error) => return Err(source.error(error)),
        };
        interleaved.clear();
        audio.copy_to_vec_interleaved(interleaved);
        Ok(Some(Block::Audio {
            channels: audio.num_planes().max(1),
            trim_start: packet.trim_start.get() as usize,
            trim_end: packet.trim_end.get() as usize,
        }))
    }
}

/// A stream that is not seekable: of a seekable one the MP3 reader estimates the length from the first
/// frame's bit rate where there is no tag, and cuts a file of variable rate off there.
fn stream<'a>(bytes: impl Read + Send + Sync + 'a) -> MediaSourceStream<'a> {
    MediaSourceStream::new(Box::new(ReadOnlySource::new(bytes)), MediaSourceStreamOptions::default())
}
