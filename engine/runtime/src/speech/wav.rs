//! Sound files of synthesisers: 16-bit mono WAV, whatever came.

use std::time::Duration;

use bytes::Bytes;
use media_core::record::wav;
use media_prompts::Limits;

/// The rate of what is not 16-bit mono already: as much as any codec of a call keeps.
const RATE: u32 = 16_000;

/// Mono samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pcm {
    pub(super) rate: u32,
    pub(super) samples: Vec<i16>,
}

impl Pcm {
    /// Whatever a synthesiser gave: WAV of 16 bits and one channel as it is, any other sound decoded.
    pub(super) fn of(file: &[u8]) -> Result<Self, String> {
        let pcm = match Self::read(file) {
            Some(pcm) => pcm,
            None => {
                let [speech] = media_prompts::decode(file, &Limits::default(), [RATE])
                    .map_err(|error| format!("the synthesiser gave no sound: {error}"))?;
                Self { rate: RATE, samples: speech.pcm16().collect() }
            }
        };
        if pcm.samples.is_empty() { Err("the synthesiser gave an empty sound".to_owned()) } else { Ok(pcm) }
    }

    /// A WAV file of 16 bits and one channel. What is written to a pipe has no true lengths in its header: the data is
    /// then what is there.
    pub(super) fn read(file: &[u8]) -> Option<Self> {
        let mut rest = file.strip_prefix(b"RIFF")?.get(4..)?.strip_prefix(b"WAVE")?;
        let mut rate = None;
        loop {
            let (id, length) = (rest.get(..4)?, rest.get(4..8)?);
            let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
            let body = &rest[8..];
            match id {
                b"fmt " => {
                    let number = |at: usize| Some(u16::from_le_bytes(body.get(at..at + 2)?.try_into().ok()?));
                    // Linear PCM, one channel, 16 bits.
                    if (number(0)?, number(2)?, number(14)?) != (1, 1, 16) {
                        return None;
                    }
                    rate = Some(u32::from_le_bytes(body.get(4..8)?.try_into().ok()?));
                }
                b"data" => {
                    let data = &body[..length.min(body.len())];
                    let samples = data
                        .chunks_exact(2)
                        .map(|octets| i16::from_le_bytes([octets[0], octets[1]]))
                        .collect();
                    let rate = rate.filter(|rate| (8_000..=48_000).contains(rate))?;
                    return Some(Self { rate, samples });
                }
                _ => {}
            }
            // Chunks are padded to an even length.
            rest = body.get(length.checked_next_multiple_of(2)?..)?;
        }
    }

    /// Silence at the end.
    pub(super) fn pause(&mut self, time: Duration) {
        let samples = u128::from(self.rate) * time.as_millis() / 1000;
        let samples = usize::try_from(samples).unwrap_or(0);
        self.samples.resize(self.samples.len() + samples, 0);
    }

    pub(super) fn duration(&self) -> Duration {
        Duration::from_millis(self.samples.len() as u64 * 1000 / u64::from(self.rate))
    }

    /// As a file.
    pub(super) fn wav(&self) -> Bytes {
        let data = u32::try_from(self.samples.len() * 2).unwrap_or(wav::MAX_DATA);
        let mut file = Vec::with_capacity(wav::HEADER_LEN + self.samples.len() * 2);
        file.extend_from_slice(&wav::header(self.rate, 1, data));
        file.extend(self.samples.iter().flat_map(|sample| sample.to_le_bytes()));
        file.into()
    }
}
