//! Queues: their settings, who waits in which, and what each caller hears.
//!
//! ```text
//!              ┌─ announcement over ─┐
//!              ▼                     │
//! arrival → Music ── every_s ──→ Announcement
//!              └────────┬────────────┘
//!                       ├── bridged, hung up ──→ (left)
//!                       ├── max_wait_s, deleted → (left)
//!                       └── the key ────────────→ (left) → notice
//! ```
//!
//! Nothing here touches a call; the call does what follows, and leaves the queue before it does anything else. Callers wait by
//! the settings that they came to: a change counts for those who come after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api_types::{CallbackKey, Play, Queue};
use media_core::LegId;
use serde_json::Value;

/// The queues of a node, and who waits.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    by_name: BTreeMap<String, Arc<Queue>>,
    /// Who waits in each, in order of arrival; only those in which somebody does.
    lists: BTreeMap<String, Vec<(Arrival, LegId)>>,
    waiting: BTreeMap<LegId, Waiting>,
    last: u64,
}

/// Counts those who came to any queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival(pub(crate) u64);

/// A caller who waits.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) queue: String,
    pub(crate) settings: Arc<Queue>,
    pub(crate) since: Instant,
    /// What the step of the flow says of the call.
    pub(crate) data: Option<Value>,
    arrival: Arrival,
    heard: Heard,
    /// How much of the music has been heard, ms.
    music_ms: u32,
}

/// What a caller hears, by the number of its program; `None` when it could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Music(Option<u64>),
    /// The music that was interrupted by it tells how far it was when the media side has stopped it.
    Announcement {
        program: u64,
        music: Option<u64>,
    },
}

impl Queues {
    /// Keeps a queue under this name.
    pub(crate) fn put(&mut self, name: &str, queue: Arc<Queue>) {
        self.by_name.insert(name.to_owned(), queue);
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Forgets a queue; who waits in it is to be told. `None`: it was not there.
    pub(crate) fn delete(&mut self, name: &str) -> Option<Vec<LegId>> {
        self.by_name.remove(name)?;
        Some(self.list(name).iter().map(|(_, leg)| *leg).collect())
    }

    /// A caller comes to the end of a queue; its place. `None`: there is no such queue.
    pub(crate) fn join(&mut self, now: Instant, leg: LegId, queue: &str, data: Option<Value>) -> Option<u32> {
        let settings = Arc::clone(self.by_name.get(queue)?);
        self.leave(leg);
        self.last += 1;
        let arrival = Arrival(self.last);
        let (queue, heard) = (queue.to_owned(), Heard::Music(None));
        let list = self.lists.entry(queue.clone()).or_default();
        list.push((arrival, leg));
        let place = list.len();
        let waiting = Waiting { queue, settings, since: now, data, arrival, heard, music_ms: 0 };
        self.waiting.insert(leg, waiting);
        Some(u32::try_from(place).unwrap_or(u32::MAX))
    }

    /// A caller waits no longer.
    pub(crate) fn leave(&mut self, leg: LegId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&leg)?;
        if let Some(list) = self.lists.get_mut(&waiting.queue) {
            if let Ok(place) = list.binary_search_by_key(&waiting.arrival, |(arrival, _)| *arrival) {
                list.remove(place);
            }
            if list.is_empty() {
                self.lists.remove(&waiting.queue);
            }
        }
        Some(waiting)
    }

    pub(crate) fn of(&self, leg: LegId) -> Option<&Waiting> {
        self.waiting.get(&leg)
    }

    pub(crate) fn of_mut(&mut self, leg: LegId) -> Option<&mut Waiting> {
        self.waiting.get_mut(&leg)
    }

    /// The place of a caller who waits, from 1.
    pub(crate) fn place(&self, leg: LegId) -> Option<u32> {
        let waiting = self.waiting.get(&leg)?;
        let list = self.list(&waiting.queue);
        let before = list.binary_search_by_key(&waiting.arrival, |(arrival, _)| *arrival).ok()?;
        u32::try_from(before + 1).ok()
    }

    /// Who waits in a queue, in order of arrival.
    pub(crate) fn list(&self, queue: &str) -> &[(Arrival, LegId)] {
        self.lists.get(queue).map_or(&[], Vec::as_slice)
    }
}

impl Waiting {
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// When it has waited long enough.
    pub(crate) fn until(&self) -> Instant {
        self.since + Duration::from_secs(u64::from(self.settings.max_wait_s))
    }

    /// From one announcement to the next.
    pub(crate) fn announce_every(&self) -> Option<Duration> {
        self.settings.announce.as_ref().map(|announce| Duration::from_secs(u64::from(announce.every_s)))
    }

    /// What is played after `key`, if that asks for a callback now.
    pub(crate) fn notice(&self, now: Instant, key: char) -> Option<(CallbackKey, &Play)> {
        let callback = self.settings.callback.as_ref()?;
        let is_it = callback.key.as_str().chars().eq([key]);
        let long_enough = self.waited(now) >= Duration::from_secs(u64::from(callback.min_wait_s));
        (is_it && long_enough).then_some((callback.key, &callback.notice))
    }

    /// The music, from where it was interrupted.
    pub(crate) fn music(&self) -> Play {
        let music = &self.settings.hold_music;
        Play { offset_ms: music.offset_ms.saturating_add(self.music_ms), ..music.clone() }
    }

    /// Music is played by this program.
    pub(crate) fn hears_music(&mut self, program: Option<u64>) {
        self.heard = Heard::Music(program);
    }

    /// Whether an announcement may interrupt what is heard: not another one.
    pub(crate) fn may_announce(&self) -> bool {
        matches!(self.heard, Heard::Music(_))
    }

    /// An announcement is played by this program.
    pub(crate) fn hears_announcement(&mut self, program: u64) {
        if let Heard::Music(music) = self.heard {
            self.heard = Heard::Announcement { program, music };
        }
    }

    /// A program that played something is over. Whether the music is to go on now.
    pub(crate) fn played(&mut self, program: u64, ms: u64) -> bool {
        match self.heard {
            Heard::Announcement { program: announcement, .. } if announcement == program => true,
            Heard::Music(Some(music)) | Heard::Announcement { music: Some(music), .. }
                if music == program =>
            {
                self.music_ms = self.music_ms.saturating_add(u32::try_from(ms).unwrap_or(u32::MAX));
                false
            }
            Heard::Music(_) | Heard::Announcement { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn queues() -> (Queues, Instant) {
        let queue = Queue::from_json(&json!({
            "hold_music": {"prompt": "music", "offset_ms": 500}, "max_wait_s": 60,
            "announce": {"every_s": 20, "play": "hello"},
            "callback": {"key": "1", "min_wait_s": 10, "notice": "bye"},
        }));
        let mut queues = Queues::default();
        queues.put("q", Arc::new(queue.unwrap()));
        #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of a test")]
        let now = Instant::now();
        (queues, now)
    }

    #[test]
    fn places_are_by_arrival_and_close_up() {
        let (mut queues, now) = queues();
        assert_eq!(queues.join(now, LegId(9), "p", None), None);
        for (leg, place) in [(5, 1), (2, 2), (7, 3)] {
            assert_eq!(queues.join(now, LegId(leg), "q", None), Some(place));
        }
        assert!(queues.leave(LegId(5)).is_some());
        assert!(queues.leave(LegId(5)).is_none());
        assert_eq!([2, 7, 5].map(|leg| queues.place(LegId(leg))), [Some(1), Some(2), None]);
        assert_eq!(queues.join(now, LegId(2), "q", None), Some(2), "who comes again comes last");
        let legs = |queues: &Queues| queues.list("q").iter().map(|(_, leg)| leg.0).collect::<Vec<_>>();
        assert_eq!(legs(&queues), [7, 2]);
        assert_eq!(queues.delete("q"), Some(vec![LegId(7), LegId(2)]));
        assert_eq!(queues.delete("q"), None);
        queues.leave(LegId(7));
        queues.leave(LegId(2));
        assert!(queues.lists.is_empty() && queues.waiting.is_empty());
    }

    #[test]
    fn who_waits_keeps_the_settings_that_he_came_to() {
        let (mut queues, now) = queues();
        queues.join(now, LegId(1), "q", None);
        let changed = Queue::from_json(&json!({"hold_music": "other", "max_wait_s": 5})).unwrap();
        queues.put("q", Arc::new(changed));
        queues.join(now, LegId(2), "q", None);
        let longest = |leg| queues.of(LegId(leg)).unwrap().settings.max_wait_s;
        assert_eq!([longest(1), longest(2)], [60, 5]);
    }

    #[test]
    fn music_goes_on_where_it_was() {
        let (mut queues, now) = queues();
        queues.join(now, LegId(1), "q", None);
        let waiting = queues.of_mut(LegId(1)).unwrap();
        assert_eq!(waiting.music().offset_ms, 500);
        waiting.hears_music(Some(1));
        assert!(waiting.may_announce());
        waiting.hears_announcement(2);
        assert!(!waiting.may_announce());
        assert!(!waiting.played(1, 20_000), "the music was stopped by the announcement");
        assert!(!waiting.played(9, 1), "somebody else's");
        assert!(waiting.played(2, 3_000));
        assert_eq!(waiting.music().offset_ms, 20_500);
        waiting.hears_music(Some(3));
        waiting.hears_announcement(4);
        assert!(waiting.played(4, 10), "the announcement was over before the music was told of");
        waiting.hears_music(None);
        assert_eq!(waiting.music().offset_ms, 20_500);
    }

    #[test]
    fn only_the_key_and_only_after_the_least_wait() {
        let (mut queues, now) = queues();
        queues.join(now, LegId(1), "q", None);
        let waiting = queues.of(LegId(1)).unwrap();
        let at = |ms| now + Duration::from_millis(ms);
        assert!(waiting.notice(at(9_999), '1').is_none());
        assert!(waiting.notice(at(10_000), '2').is_none());
        assert_eq!(waiting.notice(at(10_000), '1').map(|(key, _)| key), Some(CallbackKey::One));
        assert_eq!(waiting.until(), at(60_000));
    }
}
