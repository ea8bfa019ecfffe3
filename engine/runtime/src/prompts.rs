//! Prompts: uploaded once, encoded once per codec, shared by every call.
//!
//! A prompt's id is the SHA-256 of the uploaded file, so nodes agree on it. The folder keeps the file as it came
//! and one file of encoded audio per codec; the journal keeps the names.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control_api_types::{Prompt, Timestamp};
use media_core::{Codec, Encoded, record};
use media_prompts::{Limits, Prepared};
use parking_lot::RwLock;
use tokio::sync::Semaphore;

use crate::journal::{Journal, JournalError, StoredPrompt};

/// By how much the encodings of a prompt may be shorter than its file.
const ROUNDING: Duration = Duration::from_millis(20);

/// Why a prompt could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// The bytes are not usable audio.
    #[error(transparent)]
    Audio(#[from] media_prompts::Error),
    /// The name belongs to other audio.
    #[error("a prompt named {name:?} with other audio exists (delete it first or choose another name)")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The files could not be written or read.
    #[error("prompt store: {}: {source}", path.display())]
    Store {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal could not keep it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The engine is stopping.
    #[error("the engine is stopping")]
    Stopping,
}

#[derive(Debug, Default)]
struct Catalogue {
    by_name: BTreeMap<String, Prompt>,
    /// Two names may share one id.
    audio: BTreeMap<String, Arc<media_core::Prompt>>,
}

impl Catalogue {
    /// A prompt by name, or else by id.
    fn find(&self, id_or_name: &str) -> Option<&Prompt> {
        self.by_name.get(id_or_name).or_else(|| self.by_name.values().find(|prompt| prompt.id == id_or_name))
    }

    fn insert(&mut self, prompt: Prompt, audio: Arc<media_core::Prompt>) {
        self.audio.insert(prompt.id.clone(), audio);
        self.by_name.insert(prompt.name.clone(), prompt);
    }
}

/// Every prompt of this node; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PromptStore {
    folder: Arc<Path>,
    journal: Journal,
    catalogue: Arc<RwLock<Catalogue>>,
    /// Uploads and deletions one at a time, so that files, journal and map agree.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// Files that are decoded at a time: each takes a core, and those are for calls.
    decoding: Arc<Semaphore>,
}

impl PromptStore {
    /// Loads what the journal lists. A prompt whose files are lost is left out and logged.
    pub(crate) fn open(media_dir: &Path, journal: Journal) -> Result<PromptStore, PromptError> {
        let folder = media_dir.join("prompts");
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        let mut catalogue = Catalogue::default();
        for stored in journal.prompts()? {
            match load(&folder, &stored) {
                Ok((prompt, audio)) => catalogue.insert(prompt, audio),
                Err(error) => {
                    tracing::error!(prompt = stored.name, %error, "prompt not loaded: upload it again")
                }
            }
        }
        Ok(PromptStore {
            folder: folder.into(),
            journal,
            catalogue: Arc::new(RwLock::new(catalogue)),
            changing: Arc::default(),
            decoding: Arc::new(Semaphore::new(
                std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2)),
            )),
        })
    }

    /// Takes a file under a name. The same file under the same name is no change.
    pub(crate) async fn add(
        &self,
        name: String,
        bytes: Bytes,
        now: Timestamp,
    ) -> Result<Prompt, PromptError> {
        let size_bytes = bytes.len() as u64;
        let original = bytes.clone();
        let prepared = self.prepare(bytes, 0).await?;
        let _changing = self.changing.lock().await;
        let id = prepared.sha256.to_string();
        let existing = self.catalogue.read().by_name.get(&name).cloned();
        if let Some(existing) = existing {
            return if existing.id == id { Ok(existing) } else { Err(PromptError::NameTaken { name }) };
        }
        let resource = Prompt {
            id: id.clone(),
            name: name.clone(),
            duration_ms: u64::try_from(prepared.duration.as_millis()).unwrap_or(u64::MAX),
            sha256: id.clone(),
            size_bytes,
            sample_rate_hz: prepared.source_rate,
            channels: u8::try_from(prepared.source_channels).unwrap_or(u8::MAX),
            created_at: now,
        };
        let audio = Arc::clone(&prepared.prompt);
        self.write_files(prepared, original).await?;
        let json = serde_json::to_string(&resource)
            .map_err(|source| JournalError::Record { key: name.clone(), source })?;
        self.journal.put_prompt(StoredPrompt { name: name.clone(), id, json }).await?;
        self.catalogue.write().insert(resource.clone(), audio);
        Ok(resource)
    }

    /// Forgets a prompt, by id or name. Calls that play it go on.
    pub(crate) async fn delete(&self, id_or_name: &str) -> Result<Option<Prompt>, PromptError> {
        let _changing = self.changing.lock().await;
        let Some(prompt) = self.find(id_or_name) else { return Ok(None) };
        self.journal.delete_prompt(prompt.name.clone()).await?;
        let last_name = {
            let mut catalogue = self.catalogue.write();
            catalogue.by_name.remove(&prompt.name);
            let last_name = catalogue.by_name.values().all(|other| other.id != prompt.id);
            if last_name {
                catalogue.audio.remove(&prompt.id);
            }
            last_name
        };
        if last_name {
            for path in files(&self.folder, &prompt.id) {
                match tokio::fs::remove_file(&path).await {
                    // Somebody was faster, and it is gone all the same.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    result => result.map_err(at(&path))?,
                }
            }
        }
        Ok(Some(prompt))
    }

    pub(crate) fn list(&self) -> Vec<Prompt> {
        self.catalogue.read().by_name.values().cloned().collect()
    }

    /// A prompt by name, or else by id.
    pub(crate) fn find(&self, id_or_name: &str) -> Option<Prompt> {
        self.catalogue.read().find(id_or_name).cloned()
    }

    /// Makes a file ready to play, so many dB louder or softer than prompts are. That takes seconds for long ones.
    pub(crate) async fn prepare(&self, bytes: Bytes, volume_db: i8) -> Result<Prepared, PromptError> {
        let turn = Arc::clone(&self.decoding).acquire_owned().await.map_err(|_| PromptError::Stopping)?;
        let preparing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            media_prompts::prepare_at(&bytes, &Limits::default(), &Codec::ALL, volume_db)
        });
        match preparing.await {
            Ok(prepared) => Ok(prepared?),
            Err(error) if error.is_panic() => {
                let reason = "its decoder fails";
                Err(media_prompts::Error::Damaged { container: "audio", reason }.into())
            }
            Err(_) => Err(PromptError::Stopping),
        }
    }

    /// The file of a prompt, by id, as it was uploaded.
    pub(crate) async fn original(&self, id: &str) -> Result<Bytes, PromptError> {
        let path = original_file(&self.folder, id);
        tokio::fs::read(&path).await.map(Bytes::from).map_err(at(&path))
    }

    /// What is played of a prompt, by id.
    pub(crate) fn played(&self, id: &str) -> Option<Arc<media_core::Prompt>> {
        self.catalogue.read().audio.get(id).cloned()
    }

    /// What a customer hears in `codec`, as a WAV file (linear 16 bit, mono, at the codec's rate).
    pub(crate) async fn audio(&self, id_or_name: &str, codec: Codec) -> Result<Option<Bytes>, PromptError> {
        let Some(prompt) = self.find(id_or_name) else { return Ok(None) };
        let Some(played) = self.played(&prompt.id) else { return Ok(None) };
        // A quarter of an hour of G.722 takes a quarter of a second.
        let decoded = tokio::task::spawn_blocking(move || {
            played.encoded(codec).map(|encoded| wav(&encoded.decode(), codec.sample_rate()))
        });
        decoded.await.map_err(|_| PromptError::Stopping)
    }

    async fn write_files(&self, prepared: Prepared, original: Bytes) -> Result<(), PromptError> {
        let folder = Arc::clone(&self.folder);
        tokio::task::spawn_blocking(move || {
            let id = prepared.sha256.to_string();
            write(&original_file(&folder, &id), &original)?;
            write_encodings(&folder, &id, &prepared.prompt)?;
            sync(&folder)
        })
        .await
        .map_err(|_| PromptError::Stopping)?
    }
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> PromptError {
    move |source| PromptError::Store { path: path.to_owned(), source }
}

fn original_file(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.original"))
}

fn encoded_file(folder: &Path, id: &str, codec: Codec) -> PathBuf {
    folder.join(format!("{id}.{}", codec.name().to_ascii_lowercase()))
}

fn files(folder: &Path, id: &str) -> Vec<PathBuf> {
    let encoded = Codec::ALL.into_iter().map(|codec| encoded_file(folder, id, codec));
    std::iter::once(original_file(folder, id)).chain(encoded).collect()
}

/// Whole or not at all, a power cut included: a `.part` file is all that it leaves, which the next upload replaces.
fn write(path: &Path, bytes: &[u8]) -> Result<(), PromptError> {
    let part = path.with_extension("part");
    let write = || {
        let mut file = std::fs::File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(at(path))
}

/// The names of files, which are not in the files.
fn sync(folder: &Path) -> Result<(), PromptError> {
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

fn write_encodings(folder: &Path, id: &str, prompt: &media_core::Prompt) -> Result<(), PromptError> {
    let mut encodings = prompt.encodings().iter();
    encodings.try_for_each(|encoded| write(&encoded_file(folder, id, encoded.codec()), encoded.payload()))
}

/// Reads the encodings, or makes them again from the original: when a codec is newer than the upload, or a file has come to
/// harm.
fn load(folder: &Path, stored: &StoredPrompt) -> Result<(Prompt, Arc<media_core::Prompt>), PromptError> {
    let resource: Prompt = crate::journal::from_json(&stored.name, &stored.json)?;
    let read = |codec| {
        let path = encoded_file(folder, &stored.id, codec);
        std::fs::read(&path).map(|payload| Encoded::new(codec, payload)).map_err(at(&path))
    };
    if let Ok(encodings) = Codec::ALL.into_iter().map(read).collect() {
        let prompt = media_core::Prompt::in_codecs(encodings);
        // Resampling may round its end off.
        if prompt.duration() + ROUNDING >= Duration::from_millis(resource.duration_ms) {
            return Ok((resource, Arc::new(prompt)));
        }
    }
    let path = original_file(folder, &stored.id);
    let original = std::fs::read(&path).map_err(at(&path))?;
    let prepared = media_prompts::prepare(&original, &Limits::default(), &Codec::ALL)?;
    if prepared.sha256.to_string() != stored.id {
        let reason = "its file is not the one that was uploaded";
        return Err(media_prompts::Error::Damaged { container: "audio", reason }.into());
    }
    write_encodings(folder, &stored.id, &prepared.prompt)?;
    sync(folder)?;
    Ok((resource, prepared.prompt))
}

/// A WAV file of mono audio.
fn wav(samples: &[i16], rate: u32) -> Bytes {
    let data = u32::try_from(samples.len() * 2).unwrap_or(record::wav::MAX_DATA);
    let mut file = Vec::with_capacity(samples.len() * 2 + record::wav::HEADER_LEN);
    file.extend_from_slice(&record::wav::header(rate, 1, data));
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THANKS: &[u8] = include_bytes!("../../../testbed/prompts/thanks.mp3");

    #[tokio::test]
    async fn what_a_power_cut_has_left_is_made_again_or_left_out() {
        let folder = std::env::temp_dir().join(format!("carillon-prompts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let journal = Journal::open(&folder.join("carillon.db")).unwrap();
        let open = || PromptStore::open(&folder, journal.clone()).unwrap();
        let prompt =
            open().add("thanks".into(), Bytes::from_static(THANKS), crate::engine::now()).await.unwrap();
        let whole = open().played(&prompt.id).unwrap();
        assert!(whole.duration() >= Duration::from_millis(prompt.duration_ms));
        let [pcma, original] = [
            encoded_file(&folder.join("prompts"), &prompt.id, Codec::Pcma),
            original_file(&folder.join("prompts"), &prompt.id),
        ];
        for left in [0, 100] {
            std::fs::write(&pcma, vec![0; left]).unwrap();
            assert_eq!(open().played(&prompt.id).unwrap().duration(), whole.duration());
            let mended = std::fs::read(&pcma).unwrap();
            assert_eq!(mended, whole.encoded(Codec::Pcma).unwrap().payload(), "with {left} octets left");
        }
        std::fs::remove_file(&pcma).unwrap();
        std::fs::write(&original, &THANKS[..THANKS.len() / 2]).unwrap();
        let store = open();
        assert!(store.find("thanks").is_none(), "half of it is not it");
        store.add("thanks".into(), Bytes::from_static(THANKS), crate::engine::now()).await.unwrap();
        assert_eq!(open().played(&prompt.id).unwrap().duration(), whole.duration());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
