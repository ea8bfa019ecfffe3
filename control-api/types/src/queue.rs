//! Queues: how callers wait for an agent.

use crate::{
    CallId, Fault, Play, Say, Sound, Timestamp,
    call::words,
    fault::{self, Faults, Fields, kind},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::{fmt, sync::Arc};

/// Most queues of a node: each is a label of its metrics.
pub const MAX_QUEUES: usize = 1000;
/// Largest `data` of a call that waits, bytes of JSON.
pub(crate) const MAX_DATA: usize = 4096;
/// Longest wait that can be asked for, seconds: a day.
const MAX_WAIT_S: u32 = 86_400;

/// How callers wait in a queue. Who picks them is not the engine's business: it keeps them waiting, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// What they hear, without end: the name of a prompt, or all that `play` takes. Keys do not interrupt it.
    #[schema(value_type = PlayOrPrompt)]
    pub hold_music: Play,
    /// What interrupts the music now and then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announce: Option<Announce>,
    /// Longest wait, from the arrival; then the outcome of the step is `timeout`.
    #[schema(minimum = 1, maximum = 86_400)]
    pub max_wait_s: u32,
    /// The key that asks to be called back. Without it no key does anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
}

/// An announcement to those who wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Announce {
    /// From one to the next; the first comes so long after the arrival.
    #[schema(minimum = 5, maximum = 3600)]
    pub every_s: u32,
    /// Whether it tells the caller's place in the queue, 1 being the next: as `{position}` in the texts of `play`.
    #[schema(required = false, default = false)]
    pub position: bool,
    /// What is played: the name of a prompt, or all that `play` takes, once. May be left out where `position` is true: then it
    /// says "You are number {position}" in English.
    #[schema(value_type = PlayOrPrompt, required = false)]
    pub play: Play,
}

/// How a caller asks to be called back instead of waiting on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    /// Which key.
    pub key: CallbackKey,
    /// How long a caller has to have waited; the key does nothing before.
    #[schema(required = false, default = 0, maximum = 86_400)]
    pub min_wait_s: u32,
    /// What is played after the key, once, before the flow goes on by `callback`: the name of a prompt, or all that `play`
    /// takes.
    #[schema(value_type = PlayOrPrompt)]
    pub notice: Play,
}

/// A prompt by its name or id, or whatever else can be played.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is of use: the fields are read into a Play")]
pub(crate) enum PlayOrPrompt {
    /// Its name or id.
    Prompt(String),
    /// Any sounds.
    Play(Play),
}

words! {
    /// The keys that may ask for a callback: all but 0, which callers press for an operator.
    CallbackKey {
        /// 1.
        One = "1",
        /// 2.
        Two = "2",
        /// 3.
        Three = "3",
        /// 4.
        Four = "4",
        /// 5.
        Five = "5",
        /// 6.
        Six = "6",
        /// 7.
        Seven = "7",
        /// 8.
        Eight = "8",
        /// 9.
        Nine = "9",
        /// Star.
        Star = "*",
        /// Pound.
        Pound = "#",
    }
}

impl Queue {
    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, |value, pointer, faults| {
            let mut fields = Fields::new(value, pointer, faults);
            let hold_music = fields.nested("hold_music", read_music);
            let hold_music = fields.required("hold_music", hold_music);
            let announce = fields.nested("announce", Announce::read);
            let max_wait_s = fields.u32_in("max_wait_s", 1..=MAX_WAIT_S);
            let max_wait_s = fields.required("max_wait_s", max_wait_s);
            let callback = fields.nested("callback", Callback::read);
            if let (Some(callback), Some(longest)) = (&callback, max_wait_s)
                && callback.min_wait_s > longest
            {
                let detail = format!("must not be longer than max_wait_s, {longest}: no key would ever do");
                fields.fault_in("callback", "min_wait_s", detail);
            }
            fields.finish();
            Some(Self { hold_music: hold_music?, announce, max_wait_s: max_wait_s?, callback })
        })
    }

    /// All that is played in it, with the pointer of each.
    pub fn plays(&self) -> impl Iterator<Item = (&'static str, &Play)> {
        let announcement = self.announce.as_ref().map(|announce| ("/announce/play", &announce.play));
        let notice = self.callback.as_ref().map(|callback| ("/callback/notice", &callback.notice));
        [Some(("/hold_music", &self.hold_music)), announcement, notice].into_iter().flatten()
    }
}

impl<'de> Deserialize<'de> for Queue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let body = Value::deserialize(deserializer)?;
        Self::from_json(&body).map_err(|faults| {
            let faults = faults.iter().map(|Fault { pointer, detail }| format!("{pointer}: {detail}"));
            serde::de::Error::custom(faults.collect::<Vec<_>>().join("; "))
        })
    }
}

impl Announce {
    fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults);
        // Closer together there would be no music between them.
        let every_s = fields.u32_in("every_s", 5..=3600);
        let every_s = fields.required("every_s", every_s);
        let position = fields.bool("position").unwrap_or(false);
        let play = fields.nested("play", read_once);
        let play = match play {
            None if position && !fields.has("play") => Some(Self::of_position()),
            play => fields.required("play", play),
        };
        fields.finish();
        Some(Self { every_s: every_s?, position, play: play? })
    }

    /// The caller's place and nothing else.
    fn of_position() -> Play {
        let (text, language) = ("You are number {position}.".to_owned(), "en".to_owned());
        Play::of(Sound::Say { say: Say { text, language, voice: None, rate: 100 } })
    }
}

impl Callback {
    fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults);
        let key = fields.word("key", CallbackKey::ALL);
        let key = fields.required("key", key);
        let min_wait_s = fields.u32_in("min_wait_s", 0..=MAX_WAIT_S).unwrap_or(0);
        let notice = fields.nested("notice", read_once);
        let notice = fields.required("notice", notice);
        fields.finish();
        Some(Self { key: key?, min_wait_s, notice: notice? })
    }
}

/// What is heard in a queue: a prompt by name, or a play that keys do not interrupt.
fn read_once(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Play> {
    if let Some(name) = value.as_str() {
        if !(1..=64).contains(&name.len()) {
            faults.push(pointer, "the name of a prompt is 1 to 64 bytes long");
        }
        return Some(Play::once(name));
    }
    if !value.is_object() {
        let detail = format!("must be the name of a prompt or an object of a play, not {}", kind(value));
        faults.push(pointer, detail);
        return None;
    }
    let play = Play::read(value, pointer, faults)?;
    if play.barge_in {
        faults
            .push(format!("{pointer}/barge_in"), "cannot be: a key that is not the callback's does nothing");
    }
    if play.plays == 0 {
        faults.push(format!("{pointer}/loop"), "must end: the music or the flow goes on after it");
    }
    Some(play)
}

/// As [`read_once`], played until somebody comes.
fn read_music(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Play> {
    let plays = value.get("loop").filter(|plays| !plays.is_null());
    if plays.is_some_and(|plays| plays.as_u64() != Some(0)) {
        faults.push(format!("{pointer}/loop"), "can only be 0: hold music has no end");
    }
    let mut bare = value.clone();
    if let Some(members) = bare.as_object_mut() {
        members.remove("loop");
    }
    read_once(&bare, pointer, faults).map(|play| Play { plays: 0, ..play })
}

/// A queue as it is stored, and who waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueResource {
    /// Its name.
    pub name: String,
    /// Counts its changes from 1; calls wait by the version that they came to.
    pub version: u64,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Calls that wait.
    pub waiting: u32,
    /// How long the one that came first has waited; absent if nobody waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_wait_ms: Option<u64>,
    /// How callers wait.
    #[serde(flatten)]
    #[schema(value_type = QueueShown)]
    pub queue: Arc<Queue>,
}

/// How callers wait in a queue, beside what else is told of it.
#[derive(utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "only its schema is of use: that of a queue is closed, and nothing can stand beside it"
)]
pub(crate) struct QueueShown {
    /// What they hear, without end.
    hold_music: Play,
    /// What interrupts the music now and then.
    announce: Option<Announce>,
    /// Longest wait, seconds.
    max_wait_s: u32,
    /// The key that asks to be called back.
    callback: Option<Callback>,
}

/// A call that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueuedCall {
    /// The call.
    pub call_id: CallId,
    /// Its place, from 1 in order of arrival.
    pub position: u32,
    /// For how long.
    pub waited_ms: u64,
    /// Since when.
    pub enqueued_at: Timestamp,
    /// Who calls.
    pub from: String,
    /// Who was called.
    pub to: String,
    /// What the flow's step said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// The call's `client_state`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_state: Option<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pointers(body: &Value) -> Vec<String> {
        Queue::from_json(body).unwrap_err().into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn the_least_and_the_most_read_back() {
        let least = Queue::from_json(&json!({"hold_music": "music", "max_wait_s": 60})).unwrap();
        assert_eq!(least.hold_music, Play { plays: 0, ..Play::once("music") });
        let most = Queue::from_json(&json!({
            "hold_music": {"playlist": [{"prompt": "a"}, {"tone": "ringback"}], "volume_db": -6},
            "announce": {"every_s": 30, "position": true, "play": {"prompt": "place-{position}"}},
            "max_wait_s": 600,
            "callback": {"key": "*", "min_wait_s": 600, "notice": "we-will-call"},
        }))
        .unwrap();
        assert_eq!(most.callback.as_ref().map(|callback| callback.key), Some(CallbackKey::Star));
        for queue in [least, most] {
            let written = serde_json::to_value(&queue).unwrap();
            assert_eq!(written["hold_music"]["loop"], 0);
            assert_eq!(Queue::from_json(&written).unwrap(), queue);
            assert_eq!(serde_json::from_value::<Queue>(written).unwrap(), queue);
        }
    }

    #[test]
    fn an_announcement_of_the_place_needs_no_words() {
        let with = |announce: Value| json!({"hold_music": "m", "max_wait_s": 60, "announce": announce});
        let queue = Queue::from_json(&with(json!({"every_s": 30, "position": true}))).unwrap();
        let play = queue.announce.map(|announce| serde_json::to_value(announce.play).unwrap());
        assert_eq!(play.unwrap()["say"], json!({"text": "You are number {position}.", "language": "en"}));
        for without in [json!({"every_s": 30, "position": false}), json!({"every_s": 30})] {
            assert_eq!(pointers(&with(without)), ["/announce/play"]);
        }
    }

    #[test]
    fn every_fault_is_told() {
        assert_eq!(pointers(&json!({})), ["/hold_music", "/max_wait_s"]);
        let body = json!({
            "hold_music": {"prompt": "a", "loop": 3, "barge_in": true},
            "announce": {"every_s": 4, "position": "yes", "colour": 1},
            "max_wait_s": 86_401,
            "callback": {"key": "0", "notice": {"prompt": "x", "loop": 0}},
        });
        assert_eq!(
            pointers(&body),
            [
                "/hold_music/loop",
                "/hold_music/barge_in",
                "/announce/every_s",
                "/announce/position",
                "/announce/play",
                "/announce/colour",
                "/max_wait_s",
                "/callback/key",
                "/callback/notice/loop",
            ]
        );
        let late = json!({"hold_music": 1, "max_wait_s": 10,
            "callback": {"key": "1", "min_wait_s": 11, "notice": "x"}});
        assert_eq!(pointers(&late), ["/hold_music", "/callback/min_wait_s"]);
    }

    #[test]
    fn every_key_but_0_and_letters_may_ask() {
        let with =
            |key: &str| json!({"hold_music": "m", "max_wait_s": 1, "callback": {"key": key, "notice": "n"}});
        for key in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#"] {
            assert!(Queue::from_json(&with(key)).is_ok(), "{key}");
        }
        for key in ["0", "A", "12", ""] {
            assert_eq!(pointers(&with(key)), ["/callback/key"], "{key}");
        }
    }
}
