//! Received packets in the order of their numbers, in storage made once.

use crate::{MediaTime, SeqNo};

/// Packets at once: what the longest delay holds of the shortest packets, twice.
const MAX_PACKETS: usize = 64;

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// Encoded sound.
    Audio,
    /// A description of comfort noise (RFC 3389).
    Noise,
    /// Something that is not for the ear, and has its place in the numbering all the same.
    Other,
}

/// One packet that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) sort: Sort,
    pub(super) seq: SeqNo,
    pub(super) timestamp: MediaTime,
    start: usize,
    len: usize,
}

/// What became of a packet that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Kept,
    /// It is there already.
    Duplicate,
    /// There is no room for it.
    Full,
}

/// The packets that wait, sorted by number. Payloads lie in one ring of octets.
#[derive(Debug)]
pub(super) struct Store {
    octets: Box<[u8]>,
    /// Where the next payload goes, if it fits there.
    head: usize,
    entries: [Entry; MAX_PACKETS],
    len: usize,
}

impl Store {
    pub(super) fn new(octets: usize) -> Self {
        let none = Entry { sort: Sort::Other, seq: SeqNo(0), timestamp: MediaTime(0), start: 0, len: 0 };
        Self { octets: vec![0; octets].into(), head: 0, entries: [none; MAX_PACKETS], len: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.head = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Octets that payloads may take.
    pub(super) fn capacity(&self) -> usize {
        self.octets.len()
    }

    pub(super) fn front(&self) -> Option<Entry> {
        self.entries[..self.len].first().copied()
    }

    /// The one behind the front.
    pub(super) fn second(&self) -> Option<Entry> {
        self.entries[..self.len].get(1).copied()
    }

    pub(super) fn payload(&self, entry: Entry) -> &[u8] {
        self.octets.get(entry.start..entry.start + entry.len).unwrap_or_default()
    }

    pub(super) fn pop_front(&mut self) {
        if self.len > 0 {
            self.entries.copy_within(1..self.len, 0);
            self.len -= 1;
        }
    }

    pub(super) fn insert(&mut self, sort: Sort, seq: SeqNo, timestamp: MediaTime, payload: &[u8]) -> Stored {
        let live = &self.entries[..self.len];
        // Packets come in order, but for a few: the place is looked for from the end.
        let at =
            live.iter().rposition(|entry| entry.seq.distance_from(seq) <= 0).map_or(0, |found| found + 1);
        if at > 0 && live[at - 1].seq == seq {
            return Stored::Duplicate;
        }
        let Some(start) = self.room(payload.len()).filter(|_| self.len < MAX_PACKETS) else {
            return Stored::Full;
        };
        self.octets[start..start + payload.len()].copy_from_slice(payload);
        self.head = start + payload.len();
        self.entries.copy_within(at..self.len, at + 1);
        self.entries[at] = Entry { sort, seq, timestamp, start, len: payload.len() };
        self.len += 1;
        Stored::Kept
    }

    /// Where `len` octets are free: at the head, or at the beginning again.
    fn room(&self, len: usize) -> Option<usize> {
        let free = |start: usize| {
            start + len <= self.octets.len()
                && self.entries[..self.len]
                    .iter()
                    .all(|entry| start + len <= entry.start || entry.start + entry.len <= start)
        };
        [self.head, 0].into_iter().find(|start| free(*start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(store: &mut Store, seq: u16, payload: &[u8]) -> Stored {
        store.insert(Sort::Audio, SeqNo(seq), MediaTime(u32::from(seq)), payload)
    }

    fn drain(store: &mut Store) -> Vec<(u16, Vec<u8>)> {
        std::iter::from_fn(|| {
            let entry = store.front()?;
            let taken = (entry.seq.0, store.payload(entry).to_vec());
            store.pop_front();
            Some(taken)
        })
        .collect()
    }

    #[test]
    fn packets_leave_in_order_across_the_wrap() {
        let mut store = Store::new(100);
        for seq in [65534, 1, 65535, 0, 2] {
            assert_eq!(insert(&mut store, seq, &[seq as u8; 3]), Stored::Kept);
        }
        assert_eq!(insert(&mut store, 0, &[9; 3]), Stored::Duplicate);
        let seqs: Vec<u16> = drain(&mut store).iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, [65534, 65535, 0, 1, 2]);
    }

    #[test]
    fn the_ring_of_octets_holds_what_it_says_and_no_payload_is_overwritten() {
        let mut store = Store::new(10);
        let mut next = 0_u16;
        for round in 0..100_usize {
            let len = 1 + round % 4;
            while insert(&mut store, next, &vec![next as u8; len]) == Stored::Kept {
                next += 1;
            }
            let kept = drain(&mut store);
            assert!(!kept.is_empty());
            assert!(
                kept.iter().all(|(seq, payload)| payload.iter().all(|octet| *octet == *seq as u8)),
                "{kept:?}"
            );
            assert!(kept.iter().map(|(_, payload)| payload.len()).sum::<usize>() <= 10);
        }
        assert_eq!(insert(&mut store, next, &[0; 11]), Stored::Full, "longer than everything");
        assert_eq!(insert(&mut store, next, &[]), Stored::Kept);
    }

    #[test]
    fn no_more_packets_than_there_are_places() {
        let mut store = Store::new(10);
        for seq in 0..MAX_PACKETS as u16 {
            assert_eq!(insert(&mut store, seq, &[]), Stored::Kept);
        }
        assert_eq!(insert(&mut store, 1000, &[]), Stored::Full);
    }
}
