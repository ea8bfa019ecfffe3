//! Who is in a bridge, and who hears whom.

use crate::LegId;

/// A leg in a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The leg.
    pub leg: LegId,
    /// The members that it hears; never itself.
    pub hears: MemberSet,
}

/// Members of a bridge, by their place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemberSet(u64);

impl MemberSet {
    /// Nobody.
    pub const EMPTY: Self = Self(0);
    /// Most members of a bridge.
    pub const CAPACITY: usize = u64::BITS as usize;

    /// The same with the member at `place`; a place beyond [`MemberSet::CAPACITY`] there is not.
    pub const fn with(self, place: usize) -> Self {
        if place < Self::CAPACITY { Self(self.0 | 1 << place) } else { self }
    }

    /// Whether the member at `place` is one of them.
    pub const fn contains(self, place: usize) -> bool {
        place < Self::CAPACITY && self.0 & 1 << place != 0
    }

    /// Those that are in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those of these that are not in `other`.
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The same without the member at `place`.
    pub const fn without(self, place: usize) -> Self {
        self.minus(Self::EMPTY.with(place))
    }

    /// How many they are.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their places, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let place = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (place < u64::BITS).then_some(place as usize)
        })
    }
}

impl FromIterator<usize> for MemberSet {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        places.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_to_the_last_and_none_beyond() {
        let set: MemberSet = [63, 0, 5, 64, 5].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 5, 63]);
        assert_eq!((set.len(), set.contains(63), set.contains(64), set.contains(1)), (3, true, false, false));
        assert_eq!(MemberSet::EMPTY.iter().next(), None);
        assert!(MemberSet::EMPTY.is_empty() && !set.is_empty());
    }
}
