//! Ogg/Opus (RFC 7845): packets out of pages, and what of them is heard.

use media_core::record::ogg::{OPUS_RATE, Page};
use opusic_c::{Channels, Decoder, SampleRate};

use crate::Error;
use crate::source::Block;

/// Samples of one channel in the longest packet: 120 ms.
const LONGEST: usize = OPUS_RATE as usize / 1000 * 120;

/// RFC 3533, 6: the granule position of a page on which no packet ends.
const NO_GRANULE: u64 = u64::MAX;

/// A file that is being read. Opus decodes to any of its rates; at 48 kHz nothing of it is lost, and it is what its
/// container counts in.
pub(crate) struct OpusBlocks<'a> {
    packets: Packets<'a>,
    decoder: Decoder,
    channels: usize,
    pre_skip: u64,
    /// Samples of each channel that are still to be left out, and that have been heard.
    skip: u64,
    heard: u64,
}

/// The packets of the one stream in a file.
struct Packets<'a> {
    rest: &'a [u8],
    page: Option<Page<'a>>,
    segments: &'a [u8],
    body: &'a [u8],
    /// The packet that was taken last, or the part of one that the page before began.
    packet: Vec<u8>,
}

impl<'a> OpusBlocks<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut packets = Packets { rest: bytes, page: None, segments: &[], body: &[], packet: Vec::new() };
        if packets.next()?.is_none() {
            return Err(Error::NoAudio { container: CONTAINER });
        }
        let head = Head::read(&packets.packet)?;
        let channels = match (head.family, head.channels) {
            (0, 1) => Channels::Mono,
            (0, 2) => Channels::Stereo,
            (_, channels) => return Err(Error::UnsupportedChannels { channels: channels.into() }),
        };
        // RFC 7845, 5.2: the second packet are the comments.
        if packets.next()?.is_none() || !packets.packet.starts_with(b"OpusTags") {
            return Err(damaged("its comment header is missing"));
        }
        let decoder = Decoder::new(channels, SampleRate::Hz48000).and_then(|mut decoder| {
            // RFC 7845, 5.1: "This is a gain to be applied when decoding", in 1/256 dB.
            decoder.set_gain(i32::from(head.gain))?;
            Ok(decoder)
        });
        let decoder = decoder.map_err(|error| damaged(error.message()))?;
        let pre_skip = u64::from(head.pre_skip);
        let channels = usize::from(head.channels);
        Ok(Self { packets, decoder, channels, pre_skip, skip: pre_skip, heard: 0 })
    }

    /// The next packet, decoded to `interleaved`.
    pub(crate) fn next(&mut self, interleaved: &mut Vec<f32>) -> Result<Option<Block>, Error> {
        let Some(granule) = self.packets.next()? else { return Ok(None) };
        if self.packets.packet.is_empty() {
            return Ok(Some(Block::Damaged("a packet is empty")));
        }
        let channels = self.channels;
        interleaved.resize(LONGEST * channels, 0.0);
        let frames = match self.decoder.decode_float_to_slice(&self.packets.packet, interleaved, false) {
            Ok(frames) => frames,
            Err(error) => return Ok(Some(Block::Damaged(error.message()))),
        };
        interleaved.truncate(frames * channels);
        let start = self.skip.min(frames as u64);
        self.skip -= start;
        let mut kept = frames as u64 - start;
        // RFC 7845, 4.4: a page's granule position that is less than its packets hold cuts their end off. Where it is more, the
        // beginning of the stream is missing.
        if granule != NO_GRANULE {
            let until = granule.saturating_sub(self.pre_skip);
            kept = kept.min(until.saturating_sub(self.heard));
        }
        self.heard += kept;
        let trim_end = frames - (start + kept) as usize;
        Ok(Some(Block::Audio { channels, trim_start: start as usize, trim_end }))
    }
}

impl Packets<'_> {
    /// Takes the next packet, and says where the stream stands at the end of the page on which it ends.
    fn next(&mut self) -> Result<Option<u64>, Error> {
        self.packet.clear();
        loop {
            while let Some((length, segments)) = self.segments.split_first() {
                let (segment, body) = self.body.split_at(usize::from(*length).min(self.body.len()));
                (self.segments, self.body) = (segments, body);
                self.packet.extend_from_slice(segment);
                if *length < 255 {
                    return Ok(Some(self.page.map_or(NO_GRANULE, Page::granule)));
                }
            }
            if self.page.is_some_and(Page::is_last) || self.rest.is_empty() {
                // A packet that the last page began and did not end is none.
                return Ok(None);
            }
            let page = Page::read(self.rest).ok_or(damaged("page CRC mismatch"))?;
            if page.is_continued() == self.packet.is_empty() {
                return Err(damaged("a page is missing"));
            }
            self.rest = self.rest.get(page.size()..).unwrap_or_default();
            (self.segments, self.body) = (page.segments(), page.body());
            self.page = Some(page);
        }
    }
}

/// The identification header (RFC 7845, 5.1).
struct Head {
    channels: u8,
    pre_skip: u16,
    gain: i16,
    family: u8,
}

impl Head {
    fn read(packet: &[u8]) -> Result<Self, Error> {
        let head: &[u8; 19] = packet
            .first_chunk()
            .filter(|head| head.starts_with(b"OpusHead"))
            .ok_or(damaged("its identification header is cut short"))?;
        // "The version number MUST be 1 [...] implementations SHOULD treat streams where the upper four bits of the version
        // number match that of a recognized specification as backwards compatible".
        if head[8] >> 4 != 0 {
            return Err(damaged("its version is unknown"));
        }
        Ok(Self {
            channels: head[9],
            pre_skip: u16::from_le_bytes([head[10], head[11]]),
            gain: i16::from_le_bytes([head[16], head[17]]),
            family: head[18],
        })
    }
}

const CONTAINER: &str = "Ogg/Opus";

fn damaged(reason: &'static str) -> Error {
    Error::Damaged { container: CONTAINER, reason }
}
