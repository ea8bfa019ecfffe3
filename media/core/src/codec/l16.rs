//! L16 (RFC 3551, 4.5.11): linear samples of 16 bits, the most significant octet first.
//!
//! At 16 kHz, mono. Of the rates in use it is the one that a bridge to G.722 and Opus needs no resampling for, and both
//! baresip and Asterisk know it; 44.1 kHz, which the static payload types stand for, is music's.

/// Samples per second of what is coded.
pub(crate) const SAMPLE_RATE: u32 = 16_000;

/// Codes `samples` into `octets`, as far as both reach, and returns how many octets that were.
pub(crate) fn encode(samples: &[i16], octets: &mut [u8]) -> usize {
    let (pairs, _) = octets.as_chunks_mut();
    for (pair, sample) in pairs.iter_mut().zip(samples) {
        *pair = sample.to_be_bytes();
    }
    pairs.len().min(samples.len()) * 2
}

/// Decodes `octets` into `samples`, as far as both reach, and returns how many samples that were.
pub(crate) fn decode(octets: &[u8], samples: &mut [i16]) -> usize {
    let (pairs, _) = octets.as_chunks();
    for (pair, sample) in pairs.iter().zip(samples.iter_mut()) {
        *sample = i16::from_be_bytes(*pair);
    }
    pairs.len().min(samples.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_significant_octet_comes_first_and_half_a_sample_is_none() {
        let mut octets = [7; 7];
        assert_eq!(encode(&[0x1234, -2, 5, 6], &mut octets), 6);
        assert_eq!(octets, [0x12, 0x34, 0xFF, 0xFE, 0, 5, 7]);
        let mut samples = [9; 4];
        assert_eq!(decode(&octets, &mut samples), 3);
        assert_eq!(samples, [0x1234, -2, 5, 9]);
        assert_eq!(decode(&octets, &mut samples[..1]), 1);
    }
}
