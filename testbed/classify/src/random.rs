//! Numbers that are the same on every run.

/// SplitMix64, seeded by the name of what it is for.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn of(name: &str) -> Self {
        Self(hash(name))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In `low..=high`.
    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + (self.next() % u64::from(high - low + 1)) as u32
    }

    pub(crate) fn decibels(&mut self, low: i32, high: i32) -> f32 {
        low as f32 + (high - low) as f32 * self.unit()
    }

    /// In 0..1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    pub(crate) fn one_in(&mut self, n: u32) -> bool {
        self.between(1, n) == 1
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[(self.next() % of.len() as u64) as usize]
    }
}

/// FNV-1a, and a last stir for its lowest bits.
pub(crate) fn hash(name: &str) -> u64 {
    let sum = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325, |sum: u64, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    (sum ^ (sum >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ (sum >> 29)
}
