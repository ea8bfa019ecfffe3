//! What programs play: finds it, or has it made ready while the call goes on in silence.
//!
//! Uploaded prompts as loud as they are lie ready in their store. Everything else (tones, prompts at another volume, audio of
//! web servers, speech) is made when it is first asked for, once for all who ask meanwhile, and then kept in memory within bounds.
//! A program whose sounds are not all there waits; what ran on its leg before ends at once.

mod cache;
mod load;
#[cfg(test)]
mod tests;
mod waiting;
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_core::{Audio, Playlist};
use media_core::{CollectEnd, LegId, PlayEnd, Program};
use tokio::sync::mpsc;

use self::cache::{Asked, Cache, Key, Outcome};
use self::load::Loader;
pub(crate) use self::waiting::Step;
use self::waiting::{Room, keys, unplayable};
use self::web::Web;
use crate::http::Client;
use crate::prompts::PromptStore;
use crate::speech::Speech;
use crate::task::Answer;

/// Bounds of what is played besides uploaded prompts.
#[derive(Clone, Debug)]
pub struct SoundConfig {
    /// Longest fetch of a URL, its wait for a turn included.
    pub url_timeout: Duration,
    /// Largest file that is fetched.
    pub url_max_bytes: usize,
    /// Most octets of fetched files that are kept on disk.
    pub url_cache_bytes: u64,
    /// Most octets of encoded audio that are kept in memory.
    pub memory_bytes: usize,
}

impl Default for SoundConfig {
    fn default() -> Self {
        Self {
            url_timeout: Duration::from_secs(10),
            url_max_bytes: 32 << 20,
            url_cache_bytes: 1 << 30,
            memory_bytes: 256 << 20,
        }
    }
}

/// A sound that was made ready, or not.
#[derive(Debug)]
pub(crate) struct Loaded {
    key: Key,
    outcome: Outcome,
}

/// Everything that is played.
#[derive(Debug)]
pub(crate) struct Sounds {
    loader: Arc<Loader>,
    tell: mpsc::Sender<Answer>,
    cache: Cache,
    room: Room,
    counts: Counts,
}

/// What was made ready.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) loaded: u64,
    pub(crate) failed: u64,
}

impl Sounds {
    pub(crate) fn open(
        prompts: PromptStore,
        client: Client,
        speech: Arc<Speech>,
        media_dir: &Path,
        config: &SoundConfig,
        tell: mpsc::Sender<Answer>,
    ) -> std::io::Result<Self> {
        let web = Web::open(client, &media_dir.join("web"), config)?;
        Ok(Self {
            loader: Arc::new(Loader::new(prompts, web, speech, config)),
            tell,
            cache: Cache::new(config.memory_bytes),
            room: Room::default(),
            counts: Counts::default(),
        })
    }

    /// A leg is to run a program; what ran before ends.
    pub(crate) fn run(&mut self, now: Instant, leg: LegId, program: Program<Playlist>) -> Vec<Step> {
        let mut steps = self.room.leave(leg, PlayEnd::Stopped, CollectEnd::Stopped);
        let (mut there, mut missing) = (BTreeMap::new(), BTreeSet::new());
        for key in program.play.iter().flat_map(|play| keys(&play.playlist)) {
            if there.contains_key(&key) || missing.contains(&key) {
                continue;
            }
            match self.ask(now, leg, &key) {
                Asked::Ready(prompt) => drop(there.insert(key, prompt)),
                Asked::Wait | Asked::Load(_) => drop(missing.insert(key)),
                Asked::Failed(why) => {
                    steps.push(Step::Run(Program { play: None, collect: None }));
                    steps.extend(unplayable(&program, &why));
                    return steps;
                }
            }
        }
        steps.push(self.room.enter(leg, program, there, missing));
        steps
    }

    /// Asks the cache, and has made ready what is in nobody's hands.
    fn ask(&mut self, now: Instant, leg: LegId, key: &Key) -> Asked {
        if let Key { audio: Audio::Prompt(id), volume_db: 0 } = key {
            return match self.loader.played(&id.0) {
                Some(prompt) => Asked::Ready(prompt),
                None => Asked::Failed("the prompt has been deleted".into()),
            };
        }
        let asked = self.cache.ask(now, leg, key);
        if let Asked::Load(before) = &asked {
            let (loader, tell) = (Arc::clone(&self.loader), self.tell.clone());
            let (key, before) = (key.clone(), before.clone());
            tokio::spawn(async move {
                let loading = {
                    let key = key.clone();
                    tokio::spawn(async move { loader.load(&key, before).await })
                };
                let outcome = loading.await.unwrap_or_else(|_| Outcome::Failed("internal error".into()));
                // Only a stopped engine does not listen.
                let _ = tell.send(Answer::Sound(Box::new(Loaded { key, outcome }))).await;
            });
        }
        asked
    }

    /// A sound is ready, or will never be: those that wait for it go on.
    pub(crate) fn loaded(&mut self, now: Instant, loaded: Loaded) -> Vec<(LegId, Step)> {
        let Loaded { key, outcome } = loaded;
        let sound = match &outcome {
            Outcome::Ready(ready, _) => {
                self.counts.loaded += 1;
                Ok(&ready.prompt)
            }
            Outcome::Failed(why) => {
                self.counts.failed += 1;
                // A URL may hold a secret.
                tracing::debug!(sound = ?key.audio, why = &**why, "a sound is not to be had");
                Err(why)
            }
        };
        let legs = self.cache.keep(now, &key, &outcome);
        legs.into_iter().filter_map(|leg| Some((leg, self.room.came(leg, &key, sound)?))).collect()
    }

    /// What plays is to stop. `None`: it is on the leg.
    pub(crate) fn stop(&mut self, leg: LegId) -> Option<Vec<Step>> {
        self.room.stop(leg)
    }

    /// The leg goes.
    pub(crate) fn close(&mut self, leg: LegId) -> Vec<Step> {
        self.room.leave(leg, PlayEnd::Hangup, CollectEnd::Hangup)
    }

    /// What was made ready, octets in memory and on disk, and how many programs wait.
    pub(crate) fn figures(&self) -> (Counts, usize, u64, usize) {
        (self.counts, self.cache.bytes(), self.loader.bytes(), self.room.len())
    }
}
