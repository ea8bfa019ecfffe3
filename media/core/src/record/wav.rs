//! The WAV container (RIFF, `fmt ` with PCM, `data`): 16 bits a sample.

/// Octets before the first sample.
pub const HEADER_LEN: usize = 44;

/// What the size of the RIFF chunk counts beside the samples: all of the header but its first eight octets.
const AROUND: u32 = 36;

/// Most octets of samples that the sizes can tell.
pub const MAX_DATA: u32 = u32::MAX - AROUND;

/// The header of a file with `data` octets of samples.
pub fn header(rate: u32, channels: u16, data: u32) -> [u8; HEADER_LEN] {
    let frame = channels * 2;
    let mut header = [0; HEADER_LEN];
    let mut at = 0;
    let mut put = |octets: &[u8]| {
        header[at..at + octets.len()].copy_from_slice(octets);
        at += octets.len();
    };
    put(b"RIFF");
    put(&AROUND.saturating_add(data).to_le_bytes());
    put(b"WAVEfmt ");
    put(&16u32.to_le_bytes());
    put(&1u16.to_le_bytes()); // PCM
    put(&channels.to_le_bytes());
    put(&rate.to_le_bytes());
    put(&(rate * u32::from(frame)).to_le_bytes());
    put(&frame.to_le_bytes());
    put(&16u16.to_le_bytes());
    put(b"data");
    put(&data.to_le_bytes());
    header
}

/// What the header of a file says about its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Samples a second.
    pub rate: u32,
    /// Samples at a time.
    pub channels: u16,
}

impl Format {
    /// Reads a header that [`header`] has written; `None` for any other.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let octets: &[u8; HEADER_LEN] = octets.first_chunk()?;
        let channels = u16::from_le_bytes([octets[22], octets[23]]);
        let rate = u32::from_le_bytes([octets[24], octets[25], octets[26], octets[27]]);
        let data = u32::from_le_bytes([octets[40], octets[41], octets[42], octets[43]]);
        let is_ours = matches!(channels, 1 | 2) && (1..=MAX_RATE).contains(&rate);
        (is_ours && *octets == header(rate, channels, data)).then_some(Self { rate, channels })
    }

    /// How many octets of a file this long are the header and whole samples.
    pub fn whole(self, file_len: u64) -> u64 {
        let data = file_len.saturating_sub(HEADER_LEN as u64).min(u64::from(MAX_DATA));
        HEADER_LEN as u64 + data - data % (u64::from(self.channels) * 2)
    }
}

/// The highest rate that a recording has.
const MAX_RATE: u32 = 48_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_and_says_what_is_whole() {
        for (rate, channels) in [(8_000, 1), (16_000, 2), (48_000, 2)] {
            let octets = header(rate, channels, 1_234);
            assert_eq!(Format::read(&octets), Some(Format { rate, channels }));
            assert_eq!(&octets[4..8], &(36 + 1_234u32).to_le_bytes());
        }
        let stereo = Format { rate: 8_000, channels: 2 };
        assert_eq!([0, 44, 47, 48, 51, 52].map(|len| stereo.whole(len)), [44, 44, 44, 48, 48, 52]);
        assert_eq!(stereo.whole(u64::MAX), 44 + u64::from(MAX_DATA) / 4 * 4);
    }

    #[test]
    fn what_is_no_header_is_not_taken_for_one() {
        assert_eq!(Format::read(&[]), None);
        assert_eq!(Format::read(&[0xFF; 44]), None);
        let octets = header(8_000, 1, 0);
        assert_eq!(Format::read(&octets[..43]), None);
        for at in 0..HEADER_LEN {
            let mut bad = octets;
            bad[at] ^= 0x80;
            let sizes = (4..8).contains(&at) || (40..44).contains(&at);
            assert!(Format::read(&bad).is_none() || sizes, "octet {at}");
        }
    }
}
