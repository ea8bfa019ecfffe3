//! Makes sounds ready to play, away from the engine's task and from the shards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine_core::{Audio, Utterance};
use media_core::tone::Signal;
use media_core::{Codec, Prompt};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::SoundConfig;
use super::cache::{Key, Lifetime, Outcome, Ready};
use super::web::{File, Web};
use crate::prompts::PromptStore;
use crate::speech::Speech;

/// Most files that are fetched, held and decoded at a time: their octets are in memory meanwhile. Others wait their turn.
const FILES: usize = 16;
/// Most of them from one host: one that does not answer keeps nobody else's waiting.
const OF_HOST: usize = 4;
/// Longest that a sound may take beyond a fetch. A quarter of an hour of audio takes seconds, and calls stand in silence
/// until it is ready.
const DECODING: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Loader {
    pub(super) prompts: PromptStore,
    web: Web,
    speech: Arc<Speech>,
    turns: Semaphore,
    /// By host, those that are being asked.
    of_host: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    /// Longest load.
    patience: Duration,
}

impl Loader {
    pub(super) fn new(prompts: PromptStore, web: Web, speech: Arc<Speech>, config: &SoundConfig) -> Self {
        let (turns, of_host) = (Semaphore::new(FILES), Mutex::default());
        Self { prompts, web, speech, turns, of_host, patience: config.url_timeout + DECODING }
    }

    /// What is played of an uploaded prompt.
    pub(super) fn played(&self, id: &str) -> Option<Arc<Prompt>> {
        self.prompts.played(id)
    }

    /// Octets on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.web.bytes()
    }

    /// Makes `key` ready; `before` is what it was.
    pub(super) async fn load(&self, key: &Key, before: Option<Ready>) -> Outcome {
        let making = async {
            match &key.audio {
                Audio::Tone(signal) => self.tone(signal, key.volume_db).await,
                Audio::Prompt(id) => self.prompt(&id.0, key.volume_db).await,
                Audio::Say(utterance) => self.say(utterance, key.volume_db).await,
                Audio::Url(url) => self.url(url, key.volume_db, before).await,
            }
        };
        let late = || Err("it was not ready in time: too many sounds are being made ready".to_owned());
        let made = tokio::time::timeout(self.patience, making).await.unwrap_or_else(|_| late());
        made.map_or_else(
            |why| Outcome::Failed(why.into()),
            |(ready, lifetime)| Outcome::Ready(ready, lifetime),
        )
    }

    fn turns_of_host(&self, url: &str) -> Arc<Semaphore> {
        let host = reqwest::Url::parse(url).ok().map(|url| url.authority().to_owned()).unwrap_or_default();
        let mut hosts = self.of_host.lock();
        hosts.retain(|_, turns| Arc::strong_count(turns) > 1);
        Arc::clone(hosts.entry(host).or_insert_with(|| Arc::new(Semaphore::new(OF_HOST))))
    }

    async fn tone(&self, signal: &'static Signal, volume_db: i8) -> Result<(Ready, Lifetime), String> {
        let make = move || media_prompts::tone(signal, volume_db, &Codec::ALL);
        let prompt = tokio::task::spawn_blocking(make).await.map_err(|error| error.to_string())?;
        Ok((Ready { prompt: Arc::new(prompt), content: None }, Lifetime::Always))
    }

    async fn prompt(&self, id: &str, volume_db: i8) -> Result<(Ready, Lifetime), String> {
        // Neither semaphore is ever closed.
        let _turn = self.turns.acquire().await;
        let original = self.prompts.original(id).await.map_err(|error| error.to_string())?;
        let prepared = self.prompts.prepare(original, volume_db).await.map_err(|error| error.to_string())?;
        Ok((Ready { prompt: prepared.prompt, content: Some(prepared.sha256) }, Lifetime::Always))
    }

    async fn say(&self, utterance: &Utterance, volume_db: i8) -> Result<(Ready, Lifetime), String> {
        let file = self.speech.say(utterance).await.map_err(|error| error.to_string())?;
        let _turn = self.turns.acquire().await;
        let prepared = self.prompts.prepare(file, volume_db).await.map_err(|error| error.to_string())?;
        Ok((Ready { prompt: prepared.prompt, content: None }, Lifetime::Always))
    }

    async fn url(
        &self,
        url: &str,
        volume_db: i8,
        before: Option<Ready>,
    ) -> Result<(Ready, Lifetime), String> {
        let of_host = self.turns_of_host(url);
        let _turn_of_host = of_host.acquire().await;
        let _turn = self.turns.acquire().await;
        let known = before.as_ref().and_then(|before| before.content);
        let File { content, bytes, lifetime } = self.web.get(url, known).await?;
        let ready = match (bytes, before) {
            (None, Some(before)) => before,
            (None, None) => return Err("it is lost here: try again".into()),
            (Some(bytes), _) => {
                let prepared =
                    self.prompts.prepare(bytes, volume_db).await.map_err(|error| error.to_string())?;
                Ready { prompt: prepared.prompt, content: Some(content) }
            }
        };
        Ok((ready, lifetime))
    }
}
