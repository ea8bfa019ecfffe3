//! PASSporTs seen lately (RFC 8224 section 12.1: a captured header is good for another call until it is stale).

use std::collections::{BTreeMap, VecDeque};

use aws_lc_rs::digest::{self, SHA256};

type Key = [u8; 32];

/// The PASSporTs that were accepted within the time that any of them can be fresh. The oldest go first when there are too
/// many; nothing gets in without a signature that holds.
#[derive(Debug)]
pub(crate) struct Replays {
    capacity: usize,
    /// What call each is of.
    seen: BTreeMap<Key, Key>,
    /// In the order in which they may be forgotten.
    order: VecDeque<(u64, Key)>,
}

impl Replays {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, seen: BTreeMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// Notes a PASSporT until `until`; `false` if another call had it. The same call may show it again: an INVITE is
    /// repeated with credentials, and proxies fork.
    pub(crate) fn note(
        &mut self,
        now: u64,
        until: u64,
        signed: &str,
        signature: &[u8; 64],
        call: &str,
    ) -> bool {
        while self.order.front().is_some_and(|&(until, _)| until < now)
            || self.order.len() >= self.capacity.max(1)
        {
            let Some((_, key)) = self.order.pop_front() else { break };
            self.seen.remove(&key);
        }
        // Of an ECDSA signature only `r` counts: whoever has (r, s) can make (r, -s), which verifies as well.
        let key = hash(&[signed.as_bytes(), &signature[..32]]);
        let call = hash(&[call.as_bytes()]);
        match self.seen.get(&key) {
            Some(known) => *known == call,
            None => {
                self.seen.insert(key, call);
                self.order.push_back((until, key));
                true
            }
        }
    }
}

fn hash(parts: &[&[u8]]) -> Key {
    let mut context = digest::Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_call_cannot_show_it_again() {
        let mut replays = Replays::new(3);
        let (mut r, other_r) = ([1; 64], [2; 64]);
        assert!(replays.note(0, 120, "a.b", &r, "call-1"));
        assert!(replays.note(9, 129, "a.b", &r, "call-1"));
        assert!(!replays.note(9, 129, "a.b", &r, "call-2"));
        r[40] = 9;
        assert!(!replays.note(9, 129, "a.b", &r, "call-2"), "s does not count");
        assert!(replays.note(9, 129, "a.b", &other_r, "call-2"), "the same claims, signed for another call");
        assert!(!replays.note(120, 240, "a.b", &r, "call-3"));
        assert!(replays.note(121, 241, "a.b", &r, "call-3"), "it is stale by then");
        for call in 0..100 {
            assert!(replays.note(122, 242, &call.to_string(), &r, "call"));
            assert!(replays.seen.len() <= 3 && replays.order.len() == replays.seen.len());
        }
    }
}
