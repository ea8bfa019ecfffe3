//! Packet indices: estimated from sequence numbers (RFC 3711, 3.3.1), and each taken once (3.3.2).

/// Indices below the highest that are still told apart. RFC 3711, 3.3.2 wants at least 64; twice that outlasts every jitter
/// buffer at 10 ms a packet.
const LEN: u64 = u128::BITS as u64;

/// Whether an index may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fresh,
    /// Taken before, or too old to know.
    Stale,
}

/// The indices of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    highest: u64,
    /// Bit n: whether index `highest - n` has been taken.
    taken: u128,
}

impl Window {
    /// The window of a source whose first packet has this index.
    pub(super) fn starting_at(index: u64) -> Self {
        Self { highest: index, taken: 1 }
    }

    /// The index nearest to the highest so far that ends in `seq`; `None` where the 48 bits of indices begin and end.
    pub(super) fn index(&self, seq: u16) -> Option<u64> {
        let step = seq.wrapping_sub(self.highest as u16) as i16;
        self.highest.checked_add_signed(i64::from(step)).filter(|index| index >> 48 == 0)
    }

    pub(super) fn judge(&self, index: u64) -> Verdict {
        match self.highest.checked_sub(index) {
            None => Verdict::Fresh,
            Some(age) if age < LEN && self.taken >> age & 1 == 0 => Verdict::Fresh,
            Some(_) => Verdict::Stale,
        }
    }

    /// Takes an index that is fresh.
    pub(super) fn take(&mut self, index: u64) {
        if let Some(age) = self.highest.checked_sub(index) {
            self.taken |= 1u128.checked_shl(age as u32).unwrap_or(0);
        } else {
            let step = index - self.highest;
            let moved = if step < LEN { self.taken << step } else { 0 };
            (self.highest, self.taken) = (index, moved | 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_rollover_counter_is_guessed_both_ways() {
        let mut window = Window::starting_at(65_534);
        assert_eq!(window.index(65_533), Some(65_533));
        assert_eq!(window.index(1), Some(65_537));
        window.take(65_537);
        assert_eq!(window.index(65_535), Some(65_535), "the one before the wrap, late");
        assert_eq!(window.index(2), Some(65_538));
        assert_eq!(window.index(1 + 0x7FFF), Some(65_537 + 0x7FFF));
        assert_eq!(Window::starting_at(5).index(65_535), None, "before the first");
        assert_eq!(Window::starting_at((1 << 48) - 1).index(0), None, "after the last");
    }

    proptest! {
        #[test]
        fn an_index_is_taken_once_and_the_recent_are_all_known(steps in prop::collection::vec(0u64..300, 1..400)) {
            let mut window = Window::starting_at(1000);
            let mut taken = BTreeSet::from([1000]);
            for step in steps {
                let highest = *taken.last().unwrap();
                let index = highest + step - 150;
                let expected = if index + LEN > highest && !taken.contains(&index) {
                    taken.insert(index);
                    Verdict::Fresh
                } else {
                    Verdict::Stale
                };
                prop_assert_eq!(window.judge(index), expected, "{} below {}", index, highest);
                if expected == Verdict::Fresh {
                    window.take(index);
                    prop_assert_eq!(window.judge(index), Verdict::Stale);
                }
            }
        }
    }
}
