//! A file of Opus in Ogg (RFC 7845), one channel or two.
//!
//! Two channels are two streams of their own in one packet (channel mapping family 1), not a coupled pair: as a pair a
//! side that speaks would be heard in the other 20 dB down.

use bytemuck::cast_slice;
use opusic_c::{Application, Bitrate, Channels, Encoder, ErrorCode, SampleRate};

use super::ogg::{OPUS_RATE, Pages, opus_head, opus_tags};

/// Packets a second: 20 ms each.
const PACKETS: u32 = 50;

/// Work that the encoder puts into a packet, 0 to 10: hundreds of recordings may be encoded at a time.
const COMPLEXITY: u8 = 5;

/// Octets of a packet of one frame (RFC 6716, 3.2.1 and 3.4, R2): its first octet, and 1275.
const MAX_PACKET: usize = 1276;

/// The streams of a file and what waits to be encoded.
pub(super) struct OpusFile {
    /// One for each channel.
    encoders: Vec<Encoder>,
    pages: Pages,
    /// Samples of the channels in turns, fewer than a packet's.
    waiting: Vec<i16>,
    /// Samples of one channel in a packet.
    frame: usize,
    channels: usize,
    /// 48 kHz samples for each one of ours.
    ticks: u64,
    pre_skip: u64,
    /// Samples a channel taken, and packets made of them.
    samples: u64,
    packets: u64,
    channel: Vec<i16>,
    buffer: Box<[u8; MAX_PACKET]>,
    packet: Vec<u8>,
}

impl OpusFile {
    /// Begins a file at `rate` (8, 16 or 48 kHz); its headers go to `out`, each on a page of its own (RFC 7845, 3).
    pub(super) fn new(rate: u32, channels: u8, out: &mut Vec<u8>) -> Self {
        // Refused for other rates only, and no codec has one: such a file would be silence.
        let mut encoders: Vec<_> = (0..channels).filter_map(|_| encoder(rate).ok()).collect();
        let ticks = u64::from(OPUS_RATE / rate.max(1));
        let pre_skip = encoders.first_mut().and_then(|encoder| encoder.get_look_ahead().ok());
        let pre_skip = u64::from(pre_skip.unwrap_or(0)) * ticks;
        let mut pages = Pages::new(SERIAL);
        pages.push(&opus_head(channels, pre_skip as u16, rate), 0, out);
        pages.flush(out);
        pages.push(&opus_tags("carillon"), 0, out);
        pages.flush(out);
        Self {
            encoders,
            pages,
            waiting: Vec::new(),
            frame: (rate / PACKETS) as usize,
            channels: usize::from(channels),
            ticks,
            pre_skip,
            samples: 0,
            packets: 0,
            channel: Vec::new(),
            buffer: Box::new([0; MAX_PACKET]),
            packet: Vec::new(),
        }
    }

    /// Takes further samples, those of the channels in turns.
    pub(super) fn write(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        self.samples += (samples.len() / self.channels) as u64;
        self.waiting.extend_from_slice(samples);
        let packet = self.frame * self.channels;
        let whole = self.waiting.len() / packet * packet;
        for at in (0..whole).step_by(packet) {
            self.encode(at, out);
        }
        self.waiting.drain(..whole);
    }

    /// Writes the page that is being filled.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        self.pages.flush(out);
    }

    /// Writes the end: what waits, what the encoders still hold, and how much of it counts.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        // RFC 7845, 4.4: the last page's granule position tells where the audio stops within its packets.
        let end = self.pre_skip + self.samples * self.ticks;
        let per_packet = u64::from(OPUS_RATE / PACKETS);
        while self.packets * per_packet < end {
            self.waiting.resize(self.frame * self.channels, 0);
            self.encode(0, out);
            self.waiting.clear();
        }
        self.pages.finish(end, out);
    }

    fn encode(&mut self, at: usize, out: &mut Vec<u8>) {
        self.packet.clear();
        for channel in 0..self.channels {
            let samples = self.waiting[at + channel..].iter().step_by(self.channels).take(self.frame);
            self.channel.clear();
            self.channel.extend(samples);
            let encoder = self.encoders.get_mut(channel);
            let encoded = encoder.and_then(|encoder| {
                encoder.encode_to_slice(cast_slice(&self.channel), &mut self.buffer[..]).ok()
            });
            let packet = match encoded.and_then(|length| self.buffer.get(..length)) {
                // RFC 6716, 3.2.2, code 0: "one frame in the packet", as every frame of 20 ms is.
                Some(packet) if packet.first().is_some_and(|toc| toc & 3 == 0) => packet,
                Some(_) | None => &NOTHING,
            };
            let is_last = channel + 1 == self.channels;
            if is_last {
                self.packet.extend_from_slice(packet);
            } else {
                // RFC 7845, 3: all streams of a packet but the last tell their length (RFC 6716, B).
                self.packet.push(packet[0]);
                push_length(packet.len() - 1, &mut self.packet);
                self.packet.extend_from_slice(&packet[1..]);
            }
        }
        self.packets += 1;
        self.pages.push(&self.packet, self.packets * u64::from(OPUS_RATE / PACKETS), out);
    }
}

/// An encoder of one channel.
fn encoder(rate: u32) -> Result<Encoder, ErrorCode> {
    let sample_rate = match rate {
        8_000 => SampleRate::Hz8000,
        16_000 => SampleRate::Hz16000,
        48_000 => SampleRate::Hz48000,
        _ => return Err(ErrorCode::BadArg),
    };
    let mut encoder = Encoder::new(Channels::Mono, sample_rate, Application::Voip)?;
    encoder.set_bitrate(Bitrate::Value(bitrate(rate)))?;
    encoder.set_complexity(COMPLEXITY)?;
    Ok(encoder)
}

/// 20 ms without a frame, which a decoder conceals (RFC 6716, 3.2.1).
const NOTHING: [u8; 1] = [1 << 3];

/// The length of a frame (RFC 6716, 3.2.1).
fn push_length(length: usize, out: &mut Vec<u8>) {
    if length < 252 {
        out.push(length as u8);
    } else {
        let first = 252 + (length & 3);
        out.extend_from_slice(&[first as u8, ((length - first) >> 2) as u8]);
    }
}

/// There is one stream in a file, so its number tells it from none.
const SERIAL: u32 = 1;

/// Bits a second for one channel of speech: what RFC 7587, 3.1.1 calls its sweet spots (8-12 for narrowband, 16-20 for
/// wideband, 28-40 for fullband speech), and a little more, for what is recorded may have been encoded before.
fn bitrate(rate: u32) -> u32 {
    match rate {
        0..=8_000 => 16_000,
        8_001..=16_000 => 24_000,
        16_001.. => 40_000,
    }
}
