//! G.711 µ-law and A-law, 16-bit linear PCM at the open end.
//!
//! Decoding is the tables of ITU-T G.711 scaled to 16 bits; encoding follows the reference of the ITU-T software tool
//! library (G.191): µ-law works on the upper 14 bits, A-law on the upper 13, of the magnitude in one's complement.

use super::Codec;

/// µ-law code to linear.
pub fn decode_ulaw(code: u8) -> i16 {
    ULAW[usize::from(code)]
}

/// A-law code to linear.
pub fn decode_alaw(code: u8) -> i16 {
    ALAW[usize::from(code)]
}

/// Linear to µ-law.
pub fn encode_ulaw(sample: i16) -> u8 {
    // 33 in 14 bits: moves every segment's start to a power of two (G.711, table 2a, note 2).
    const BIAS: u16 = 33;
    const CLIP: u16 = 0x1FFF;
    let magnitude = (magnitude(sample) >> 2) + BIAS;
    let magnitude = magnitude.min(CLIP);
    // 33 <= magnitude <= 0x1FFF: the highest bit is bit 5 (segment 0) to bit 12 (segment 7).
    let segment = (magnitude.ilog2() - 5) as u8;
    let step = (magnitude >> (segment + 1)) as u8 & 0x0F;
    // All bits are inverted on the line.
    !(sign(sample, 0x80) | segment << 4 | step)
}

/// Linear to A-law.
pub fn encode_alaw(sample: i16) -> u8 {
    let magnitude = magnitude(sample) >> 4;
    let code = if magnitude < 32 {
        // Segments 0 and 1 share one step size.
        magnitude as u8
    } else {
        // 32 <= magnitude <= 0x7FF: the highest bit is bit 5 (segment 2) to bit 10 (segment 7).
        let segment = (magnitude.ilog2() - 3) as u8;
        segment << 4 | ((magnitude >> (segment - 1)) as u8 & 0x0F)
    };
    code ^ 0x55 ^ (sign(sample, 0x80) ^ 0x80)
}

/// The magnitude in one's complement, so that -32768 has one.
fn magnitude(sample: i16) -> u16 {
    (if sample < 0 { !sample } else { sample }).unsigned_abs()
}

fn sign(sample: i16, bit: u8) -> u8 {
    if sample < 0 { bit } else { 0 }
}

static ULAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = !(code as u8);
        let step = (bits & 0x0F) as i16;
        let segment = bits >> 4 & 7;
        let magnitude = (((step << 1 | 33) << segment) - 33) << 2;
        table[code] = if bits & 0x80 != 0 { -magnitude } else { magnitude };
        code += 1;
    }
    table
};

static ALAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = code as u8 ^ 0x55;
        let step = ((bits & 0x0F) as i16) << 1 | 1;
        let segment = bits >> 4 & 7;
        let magnitude = if segment == 0 { step } else { (step + 32) << (segment - 1) };
        let magnitude = magnitude << 3;
        table[code] = if bits & 0x80 != 0 { magnitude } else { -magnitude };
        code += 1;
    }
    table
};

/// Of the two laws, the one that `codec` is not.
pub(crate) fn other_law(codec: Codec) -> Option<Codec> {
    match codec {
        Codec::Pcmu => Some(Codec::Pcma),
        Codec::Pcma => Some(Codec::Pcmu),
        Codec::G722 | Codec::Opus | Codec::L16 => None,
    }
}

/// Brings sound of the other law over to the one of `codec`.
pub(crate) fn go_over(codec: Codec, sound: &mut [u8]) {
    let convert: fn(u8) -> u8 = match codec {
        Codec::Pcma => |octet| encode_alaw(decode_ulaw(octet)),
        Codec::Pcmu => |octet| encode_ulaw(decode_alaw(octet)),
        Codec::G722 | Codec::Opus | Codec::L16 => return,
    };
    sound.iter_mut().for_each(|octet| *octet = convert(*octet));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Widths of the 128 quantisation intervals of one polarity, from zero outwards, in 16-bit units: segments of
    /// sixteen, each twice as wide as the one before (G.711, tables 1a and 2a).
    fn widths(law: Law) -> Vec<i32> {
        (0..128)
            .map(|n| match law {
                // Table 2a: 0, 1, 3, 5 … in 14 bits: the first interval is half as wide as its fellows.
                Law::Mu if n == 0 => 4,
                Law::Mu => 8 << (n / 16),
                // Table 1a: the two lowest segments share one width.
                Law::A => 16 << (n / 16).max(1) >> 1,
            })
            .collect()
    }

    #[derive(Clone, Copy, Debug)]
    enum Law {
        Mu,
        A,
    }

    /// The code of interval `n`: µ-law inverts all bits, A-law every other; the sign bit is set for positive values.
    fn code(law: Law, n: usize, negative: bool) -> u8 {
        let plain = n as u8 | if negative { 0 } else { 0x80 };
        match law {
            Law::Mu => plain ^ 0x7F,
            Law::A => plain ^ 0x55,
        }
    }

    #[test]
    fn every_code_decodes_to_the_middle_of_its_interval() {
        for (law, decode) in [(Law::Mu, decode_ulaw as fn(u8) -> i16), (Law::A, decode_alaw)] {
            let mut low = 0;
            for (n, width) in widths(law).into_iter().enumerate() {
                // G.711: the value of a code is the mean of its decision values; µ-law's first is zero itself.
                let value = match (law, n) {
                    (Law::Mu, 0) => 0,
                    (Law::Mu | Law::A, _) => low + width / 2,
                };
                assert_eq!(i32::from(decode(code(law, n, false))), value, "{law:?} +{n}");
                assert_eq!(i32::from(decode(code(law, n, true))), -value, "{law:?} -{n}");
                low += width;
            }
        }
    }

    #[test]
    fn known_values() {
        assert_eq!([0x00, 0x80, 0x7F, 0xFF].map(decode_ulaw), [-32124, 32124, 0, 0]);
        assert_eq!([0x2A, 0xAA, 0x55, 0xD5].map(decode_alaw), [-32256, 32256, -8, 8]);
        assert_eq!([0, -1, i16::MAX, i16::MIN].map(encode_ulaw), [0xFF, 0x7F, 0x80, 0x00]);
        assert_eq!([0, -1, i16::MAX, i16::MIN].map(encode_alaw), [0xD5, 0x55, 0xAA, 0x2A]);
    }

    #[test]
    fn every_sample_encodes_to_the_interval_it_lies_in() {
        for (law, encode) in [(Law::Mu, encode_ulaw as fn(i16) -> u8), (Law::A, encode_alaw)] {
            let widths = widths(law);
            for sample in i16::MIN..=i16::MAX {
                let negative = sample < 0;
                // One's complement, as the reference of G.191 has it.
                let mut rest = if negative { -1 - i32::from(sample) } else { i32::from(sample) };
                let interval = widths.iter().position(|width| {
                    rest -= width;
                    rest < 0
                });
                let expected = code(law, interval.unwrap_or(127), negative);
                assert_eq!(encode(sample), expected, "{law:?} {sample}");
            }
        }
    }

    #[test]
    fn decoding_then_encoding_gives_the_code_back() {
        for code in 0..=255 {
            assert_eq!(encode_alaw(decode_alaw(code)), code);
            // µ-law has two zeros; negative zero decodes to 0 and comes back positive.
            let expected = if code == 0x7F { 0xFF } else { code };
            assert_eq!(encode_ulaw(decode_ulaw(code)), expected);
        }
    }
}
