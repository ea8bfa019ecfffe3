//! The two chunks of a WAV file that count: `fmt ` and `data`.

use std::time::Duration;

use crate::Error;

/// `wFormatTag` values of the registry in RFC 2361 that are decoded.
const PCM: u16 = 0x0001;
const IEEE_FLOAT: u16 = 0x0003;
const ALAW: u16 = 0x0006;
const MULAW: u16 = 0x0007;
const EXTENSIBLE: u16 = 0xfffe;

/// A data length from here on is what programs write that do not know it yet (a pipe): 0x7ffff000,
/// 0xffffffff.
const LENGTH_UNKNOWN: u32 = 0x7fff_0000;

/// A common name for a format tag.
pub(crate) fn codec_name(tag: u16) -> &'static str {
    match tag {
        0x0002 => "Microsoft ADPCM",
        0x0011 => "IMA ADPCM",
        0x0031 => "GSM 6.10",
        0x0045 => "G.726",
        0x0050 => "MPEG audio",
        0x0055 => "MP3",
        0x0083 => "G.729",
        0x00ff => "AAC",
        0x0160..=0x0163 => "Windows Media",
        _ => "an unknown codec",
    }
}

/// A WAV file reduced to what its decoding needs.
#[derive(Debug)]
pub(crate) struct Wav<'a> {
    /// `RIFF`, `fmt ` and the head of `data`, with lengths that are true whatever the file says.
    pub(crate) header: Vec<u8>,
    /// The coded samples.
    pub(crate) samples: &'a [u8],
}

/// Finds format and samples; refuses codecs that are not decoded and files that hold less than they announce.
pub(crate) fn read(bytes: &[u8]) -> Result<Wav<'_>, Error> {
    let damaged = |reason| Error::Damaged { container: "WAV", reason };
    let mut format = None;
    let mut at = 12; // behind "RIFF", its length, "WAVE"
    while let Some(&[a, b, c, d, l0, l1, l2, l3]) = bytes.get(at..at + 8) {
        let announced = u32::from_le_bytes([l0, l1, l2, l3]);
        let length = announced as usize;
        let rest = &bytes[at + 8..];
        match &[a, b, c, d] {
            b"fmt " => {
                let body = rest.get(..length).ok_or(damaged("its fmt chunk is cut off"))?;
                format = Some((body, bytes_per_second(body)?));
            }
            b"data" => {
                let (format, bytes_per_second) =
                    format.ok_or(damaged("its data chunk comes before its fmt chunk"))?;
                let samples = match rest.get(..length) {
                    Some(samples) => samples,
                    None if announced >= LENGTH_UNKNOWN => rest,
                    None => {
                        let [announced, found] = [length, rest.len()].map(|bytes| {
                            Duration::from_millis(bytes as u64 * 1000 / u64::from(bytes_per_second.max(1)))
                        });
                        return Err(Error::Truncated { container: "WAV", announced, found });
                    }
                };
                return Ok(Wav { header: header(format, samples.len() as u32), samples });
            }
            _ => {}
        }
        // Chunks are padded to even lengths.
        at = at.saturating_add(8 + (length & 1)).saturating_add(length);
    }
    Err(damaged("it has no data chunk"))
}

/// Checks the codec of a `fmt ` chunk.
fn bytes_per_second(body: &[u8]) -> Result<u32, Error> {
    let short = Error::Damaged { container: "WAV", reason: "its fmt chunk is too short" };
    let u16_at = |at: usize| match body.get(at..at + 2) {
        Some(&[low, high]) => Ok(u16::from_le_bytes([low, high])),
        Some(_) | None => Err(short.clone()),
    };
    let tag = match u16_at(0)? {
        // The first two bytes of the SubFormat GUID are the tag proper.
        EXTENSIBLE => u16_at(24)?,
        tag => tag,
    };
    if !matches!(tag, PCM | IEEE_FLOAT | ALAW | MULAW) {
        return Err(Error::UnsupportedWavCodec { tag });
    }
    let rate = u32::from(u16_at(4)?) | u32::from(u16_at(6)?) << 16;
    Ok(rate.saturating_mul(u16_at(12)?.into()))
}

fn header(format: &[u8], samples: u32) -> Vec<u8> {
    let padding = &[0][..format.len() & 1];
    let riff = 4 + 8 + (format.len() + padding.len()) as u32 + 8;
    let mut header = Vec::with_capacity(64);
    header.extend(b"RIFF");
    header.extend(riff.saturating_add(samples).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend((format.len() as u32).to_le_bytes());
    header.extend(format);
    header.extend(padding);
    header.extend(b"data");
    header.extend(samples.to_le_bytes());
    header
}
