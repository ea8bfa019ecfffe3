//! Makes sounds ready to play, away from the engine's task and from the shards.

use std::sync::Arc;

use engine_core::Audio;
use media_core::Codec;
use media_core::tone::Signal;

use super::cache::{Key, Lifetime, Outcome, Ready};
use super::web::{File, Web};
use crate::prompts::PromptStore;

#[derive(Debug)]
pub(super) struct Loader {
    pub(super) prompts: PromptStore,
    pub(super) web: Web,
}

impl Loader {
    /// Makes `key` ready; `before` is what it was.
    pub(super) async fn load(&self, key: &Key, before: Option<Ready>) -> Outcome {
        let made = match &key.audio {
            Audio::Tone(signal) => self.tone(signal, key.volume_db).await,
            Audio::Prompt(id) => self.prompt(&id.0, key.volume_db).await,
            Audio::Url(url) => self.url(url, key.volume_db, before).await,
        };
        made.map_or_else(
            |why| Outcome::Failed(why.into()),
            |(ready, lifetime)| Outcome::Ready(ready, lifetime),
        )
    }

    async fn tone(&self, signal: &'static Signal, volume_db: i8) -> Result<(Ready, Lifetime), String> {
        let make = move || media_prompts::tone(signal, volume_db, &Codec::ALL);
        let prompt = tokio::task::spawn_blocking(make).await.map_err(|error| error.to_string())?;
        Ok((Ready { prompt: Arc::new(prompt), content: None }, Lifetime::Always))
    }

    async fn prompt(&self, id: &str, volume_db: i8) -> Result<(Ready, Lifetime), String> {
        let original = self.prompts.original(id).await.map_err(|error| error.to_string())?;
        let prepared = self.prompts.prepare(original, volume_db).await.map_err(|error| error.to_string())?;
        Ok((Ready { prompt: prepared.prompt, content: Some(prepared.sha256) }, Lifetime::Always))
    }

    async fn url(
        &self,
        url: &str,
        volume_db: i8,
        before: Option<Ready>,
    ) -> Result<(Ready, Lifetime), String> {
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
