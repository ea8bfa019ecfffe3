//! What has been made ready to play, by what it was made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_core::Audio;
use media_core::{LegId, Prompt};
use media_prompts::Sha256;

/// Most sounds that are being made ready. Each belongs to a call that waits for it, so more is a flood of commands.
const LOADING: usize = 256;
/// What an entry takes besides its audio, roughly: so that small ones do not count as nothing.
const OVERHEAD: usize = 1024;
/// How long what could not be had is not tried again.
const NEGATIVE: Duration = Duration::from_secs(5);

/// One sound at one volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) audio: Audio,
    pub(super) volume_db: i8,
}

/// A sound that is ready.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) prompt: Arc<Prompt>,
    /// The file that it was made of; a tone has none.
    pub(super) content: Option<Sha256>,
}

/// What came of making a sound ready.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// Ready, and how long it may be played without asking again.
    Ready(Ready, Lifetime),
    /// Not to be had: why, for a person to read.
    Failed(Arc<str>),
}

/// How long something may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// It never changes.
    Always,
    /// So long; then it is asked whether it has changed.
    For(Duration),
    /// By those who wait for it now.
    Once,
}

/// What is known of a sound that is asked for.
#[derive(Debug)]
pub(super) enum Asked {
    Ready(Arc<Prompt>),
    Failed(Arc<str>),
    /// Somebody else has asked for it.
    Wait,
    /// It has to be made ready; there is what it was before, if it was.
    Load(Option<Ready>),
}

/// Sounds by what they are made of; those that were not used for the longest time make room.
#[derive(Debug)]
pub(super) struct Cache {
    entries: BTreeMap<Key, Entry>,
    loading: usize,
    bytes: usize,
    max_bytes: usize,
    /// Counts uses.
    clock: u64,
    /// What has made room and is still played: it is freed here and not by the media thread that plays it last, which has
    /// no time for that.
    retired: Vec<Arc<Prompt>>,
}

#[derive(Debug)]
enum Entry {
    Loading {
        legs: BTreeSet<LegId>,
    },
    /// `until`: when to ask again; `None`: never.
    Ready {
        ready: Ready,
        until: Option<Instant>,
        used: u64,
    },
    Failed {
        why: Arc<str>,
        until: Instant,
        used: u64,
    },
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Loading { .. } => 0,
            Self::Ready { ready, .. } => size(&ready.prompt) + OVERHEAD,
            Self::Failed { .. } => OVERHEAD,
        }
    }

    fn used(&self) -> Option<u64> {
        match self {
            Self::Loading { .. } => None,
            Self::Ready { used, .. } | Self::Failed { used, .. } => Some(*used),
        }
    }
}

fn size(prompt: &Prompt) -> usize {
    prompt.encodings().iter().map(|encoded| encoded.payload().len()).sum()
}

impl Cache {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { entries: BTreeMap::new(), loading: 0, bytes: 0, max_bytes, clock: 0, retired: Vec::new() }
    }

    /// Octets of audio that are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.retired.iter().map(|prompt| size(prompt)).sum::<usize>()
    }

    /// Asks for a sound on behalf of a leg.
    pub(super) fn ask(&mut self, now: Instant, leg: LegId, key: &Key) -> Asked {
        self.clock += 1;
        let before = match self.entries.get_mut(key) {
            Some(Entry::Loading { legs }) => {
                legs.insert(leg);
                return Asked::Wait;
            }
            Some(Entry::Failed { why, until, used }) if now < *until => {
                *used = self.clock;
                return Asked::Failed(Arc::clone(why));
            }
            Some(Entry::Ready { ready, until, used }) if until.is_none_or(|until| now < until) => {
                *used = self.clock;
                return Asked::Ready(Arc::clone(&ready.prompt));
            }
            Some(Entry::Ready { ready, .. }) => Some(ready.clone()),
            Some(Entry::Failed { .. }) | None => None,
        };
        if self.loading >= LOADING {
            return Asked::Failed("too many sounds are being made ready at a time: try again".into());
        }
        self.put(key.clone(), Entry::Loading { legs: BTreeSet::from([leg]) });
        self.loading += 1;
        Asked::Load(before)
    }

    /// Keeps what came of it, and tells which legs have asked.
    pub(super) fn keep(&mut self, now: Instant, key: &Key, outcome: &Outcome) -> BTreeSet<LegId> {
        self.retired.retain(|prompt| Arc::strong_count(prompt) > 1);
        let Some(Entry::Loading { legs }) = self.entries.remove(key) else { return BTreeSet::new() };
        self.loading -= 1;
        let used = self.clock;
        let entry = match outcome {
            Outcome::Ready(_, Lifetime::Once) => return legs,
            Outcome::Ready(ready, Lifetime::Always) => {
                Entry::Ready { ready: ready.clone(), until: None, used }
            }
            Outcome::Ready(ready, Lifetime::For(time)) => {
                Entry::Ready { ready: ready.clone(), until: Some(now + *time), used }
            }
            Outcome::Failed(why) => Entry::Failed { why: Arc::clone(why), until: now + NEGATIVE, used },
        };
        self.put(key.clone(), entry);
        self.make_room();
        legs
    }

    fn put(&mut self, key: Key, entry: Entry) {
        self.bytes += entry.bytes();
        if let Some(before) = self.entries.insert(key, entry) {
            self.retire(before);
        }
    }

    fn retire(&mut self, entry: Entry) {
        self.bytes -= entry.bytes();
        if let Entry::Ready { ready, .. } = entry
            && Arc::strong_count(&ready.prompt) > 1
        {
            self.retired.push(ready.prompt);
        }
    }

    fn make_room(&mut self) {
        while self.bytes > self.max_bytes {
            let oldest = self.entries.iter().filter_map(|(key, entry)| Some((entry.used()?, key))).min();
            let Some(key) = oldest.map(|(_, key)| key.clone()) else { return };
            if let Some(entry) = self.entries.remove(&key) {
                self.retire(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use media_core::Codec;

    use super::*;

    const LEG: LegId = LegId(1);

    fn key(url: &str) -> Key {
        Key { audio: Audio::Url(url.into()), volume_db: 0 }
    }

    fn ready(bytes: usize) -> Ready {
        Ready { prompt: Arc::new(Prompt::new(Codec::Pcma, vec![0; bytes])), content: None }
    }

    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn one_load_serves_all_and_is_kept_for_its_time() {
        let (now, mut cache) = (now(), Cache::new(1 << 20));
        assert!(matches!(cache.ask(now, LEG, &key("a")), Asked::Load(None)));
        assert!(matches!(cache.ask(now, LegId(2), &key("a")), Asked::Wait));
        assert!(matches!(cache.ask(now, LEG, &Key { volume_db: 3, ..key("a") }), Asked::Load(None)));
        let lifetime = Lifetime::For(Duration::from_secs(60));
        let legs = cache.keep(now, &key("a"), &Outcome::Ready(ready(8_000), lifetime));
        assert_eq!(legs, BTreeSet::from([LEG, LegId(2)]));
        let later = now + Duration::from_secs(59);
        assert!(matches!(cache.ask(later, LEG, &key("a")), Asked::Ready(_)));
        let later = now + Duration::from_secs(60);
        assert!(
            matches!(cache.ask(later, LEG, &key("a")), Asked::Load(Some(_))),
            "it is asked whether it changed"
        );
        cache.keep(later, &key("a"), &Outcome::Ready(ready(8_000), Lifetime::Once));
        assert!(matches!(cache.ask(later, LEG, &key("a")), Asked::Load(None)), "no-store is not stored");
    }

    #[test]
    fn failures_are_not_tried_again_at_once() {
        let (now, mut cache) = (now(), Cache::new(1 << 20));
        assert!(matches!(cache.ask(now, LEG, &key("a")), Asked::Load(None)));
        cache.keep(now, &key("a"), &Outcome::Failed("HTTP status 404".into()));
        assert!(matches!(cache.ask(now, LEG, &key("a")), Asked::Failed(why) if &*why == "HTTP status 404"));
        assert!(matches!(cache.ask(now + NEGATIVE, LEG, &key("a")), Asked::Load(None)));
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_makes_room() {
        let (now, mut cache) = (now(), Cache::new(3 * (8_000 + OVERHEAD)));
        for url in ["a", "b", "c"] {
            cache.ask(now, LEG, &key(url));
            cache.keep(now, &key(url), &Outcome::Ready(ready(8_000), Lifetime::Always));
        }
        assert!(matches!(cache.ask(now, LEG, &key("a")), Asked::Ready(_)));
        cache.ask(now, LEG, &key("d"));
        cache.keep(now, &key("d"), &Outcome::Ready(ready(8_000), Lifetime::Always));
        assert_eq!(cache.bytes(), 3 * (8_000 + OVERHEAD));
        assert!(matches!(cache.ask(now, LEG, &key("b")), Asked::Load(None)), "b was the one");
        assert!(matches!(cache.ask(now, LEG, &key("a")), Asked::Ready(_)));
        // What is still played is held until it is not.
        let Asked::Ready(played) = cache.ask(now, LEG, &key("a")) else { panic!("it was") };
        // One that is larger than all room is played by those who wait for it, and not kept.
        cache.keep(now, &key("b"), &Outcome::Ready(ready(100_000), Lifetime::Always));
        assert_eq!((cache.bytes(), cache.retired.len()), (108_000, 2));
        drop(played);
        cache.keep(now, &key("b"), &Outcome::Failed("no".into()));
        assert_eq!((cache.bytes(), cache.retired.len()), (0, 0));
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let (now, mut cache) = (now(), Cache::new(100 * OVERHEAD));
        for n in 0..2 * LOADING {
            let asked = cache.ask(now, LEG, &key(&n.to_string()));
            assert_eq!(matches!(asked, Asked::Load(None)), n < LOADING);
        }
        for n in 0..LOADING {
            cache.keep(now, &key(&n.to_string()), &Outcome::Failed("no".into()));
        }
        assert_eq!((cache.entries.len(), cache.loading), (100, 0));
    }
}
