//! What may be played: prompts by id and name, without their audio, and the tones that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control_api_types::{Call, Faults, Play, Prompt, Say, Sound, Tone};
use media_core::tone::{self, Signal};
use speech_core::Voices;

use crate::say::{self, Utterance};

/// The id of an uploaded prompt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromptId(pub Arc<str>);

/// What a program plays, in order: for the shell to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playlist {
    /// At least one.
    pub sounds: Vec<Audio>,
    /// How much louder or softer than they are, in dB.
    pub volume_db: i8,
}

/// One thing that can be heard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audio {
    /// An uploaded prompt.
    Prompt(PromptId),
    /// What lies at this URL.
    Url(Arc<str>),
    /// A tone.
    Tone(&'static Signal),
    /// What a voice says.
    Say(Arc<Utterance>),
}

/// Prompts by id and by name. Audio uploaded under several names is one prompt with all of them.
#[derive(Debug, Default)]
pub(crate) struct Prompts {
    names: BTreeMap<PromptId, BTreeSet<String>>,
    ids: BTreeMap<String, PromptId>,
    pub(crate) voices: Voices,
}

impl Prompts {
    /// Makes a prompt known under its name.
    pub(crate) fn put(&mut self, prompt: &Prompt) {
        self.delete(&prompt.name);
        let id = PromptId(prompt.id.as_str().into());
        self.names.entry(id.clone()).or_default().insert(prompt.name.clone());
        self.ids.insert(prompt.name.clone(), id);
    }

    /// Forgets a name, and with its last name the prompt. Whether it was there.
    pub(crate) fn delete(&mut self, name: &str) -> bool {
        let Some(id) = self.ids.remove(name) else { return false };
        if let Some(names) = self.names.get_mut(&id) {
            names.remove(name);
            if names.is_empty() {
                self.names.remove(&id);
            }
        }
        true
    }

    /// What a request or a step plays, with the variables of its call in what is said; or why nothing can be played.
    pub(crate) fn playlist(&self, play: &Play, call: &Call) -> Result<Playlist, String> {
        let audio = |sound: &Sound| match sound {
            Sound::Prompt { prompt } => {
                let deleted = || "a prompt of it has been deleted".to_owned();
                self.find(prompt).map(|id| Some(Audio::Prompt(id))).ok_or_else(deleted)
            }
            Sound::Url { url } => Ok(Some(Audio::Url(url.as_str().into()))),
            Sound::Tone { tone, country } => Ok(signal(*tone, country.as_deref()).map(Audio::Tone)),
            Sound::Say { say } => {
                Ok(say::in_call(say, call, &self.voices)?.map(|said| Audio::Say(Arc::new(said))))
            }
        };
        let sounds = play.source.sounds().iter().map(audio).collect::<Result<Vec<_>, _>>()?;
        let sounds: Vec<_> = sounds.into_iter().flatten().collect();
        if sounds.is_empty() {
            return Err("there is nothing to say: its text is empty with these variables".to_owned());
        }
        Ok(Playlist { sounds, volume_db: play.volume_db })
    }

    /// Notes what of a text, whose object is at `at`, cannot be said.
    pub(crate) fn check_say(&self, say: &Say, at: &str, faults: &mut Faults) {
        say::check(say, at, &self.voices, faults);
    }

    /// Notes it when a sound, whose object is at `at`, is not there.
    pub(crate) fn check(&self, sound: &Sound, at: &str, faults: &mut Faults) {
        match sound {
            Sound::Prompt { prompt } if self.find(prompt).is_none() => {
                faults.push(format!("{at}/prompt"), format_args!("there is no prompt {prompt:?}"));
            }
            Sound::Tone { tone, country: Some(country) } if signal(*tone, Some(country)).is_none() => {
                let known = tone::Tone::countries().collect::<Vec<_>>().join(", ");
                let detail =
                    format!("the tones of {country:?} are not known; leave it out, or take one of: {known}");
                faults.push(format!("{at}/country"), detail);
            }
            Sound::Say { say } => self.check_say(say, &format!("{at}/say"), faults),
            Sound::Prompt { .. } | Sound::Url { .. } | Sound::Tone { .. } => {}
        }
    }

    /// The prompt that a request or a step means: by name, else by id.
    pub(crate) fn find(&self, name_or_id: &str) -> Option<PromptId> {
        if let Some(id) = self.ids.get(name_or_id) {
            return Some(id.clone());
        }
        let id = PromptId(name_or_id.into());
        self.names.contains_key(&id).then_some(id)
    }
}

fn signal(tone: Tone, country: Option<&str>) -> Option<&'static Signal> {
    match tone {
        Tone::Dial => tone::Tone::Dial,
        Tone::Ringback => tone::Tone::Ringback,
        Tone::Busy => tone::Tone::Busy,
        Tone::Congestion => tone::Tone::Congestion,
        Tone::SpecialInformation => tone::Tone::SpecialInformation,
        Tone::Beep => tone::Tone::Beep,
    }
    .signal(country)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(id: &str, name: &str) -> Prompt {
        serde_json::from_value(serde_json::json!({
            "id": id, "name": name, "duration_ms": 1, "sha256": "", "size_bytes": 1, "sample_rate_hz": 8000,
            "channels": 1, "created_at": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    #[test]
    fn found_by_each_name_and_by_id_until_the_last_name_is_deleted() {
        let mut prompts = Prompts::default();
        prompts.put(&prompt("p1", "welcome"));
        prompts.put(&prompt("p1", "greeting"));
        let id = PromptId("p1".into());
        for name in ["welcome", "greeting", "p1"] {
            assert_eq!(prompts.find(name), Some(id.clone()), "{name}");
        }
        assert!(prompts.delete("welcome"));
        assert!(!prompts.delete("welcome"));
        assert_eq!((prompts.find("welcome"), prompts.find("p1")), (None, Some(id)));
        prompts.put(&prompt("p2", "greeting"));
        assert_eq!((prompts.find("p1"), prompts.find("greeting")), (None, Some(PromptId("p2".into()))));
        assert!(prompts.delete("greeting"));
        assert!(prompts.names.is_empty() && prompts.ids.is_empty());
    }
}
