//! Synthesisers: words in, a sound file out, once for all who ask and kept on disk.
//!
//! A synthesiser is asked for the words between two silences; the silences are put between here. So a text whose one part
//! changes from call to call is made in that part alone, and every synthesiser is as silent as the next. How many are asked at
//! a time, how many wait for that, how long one takes and how much it tells are all bounded.

mod espeak;
mod openai;
mod shelf;
#[cfg(test)]
mod tests;
mod wav;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use engine_core::Utterance;
use media_prompts::Sha256;
use parking_lot::Mutex;
use speech_core::{Piece, Voice, Voices};
use tokio::sync::Semaphore;

use self::espeak::Espeak;
use self::openai::Openai;
use self::shelf::Shelf;
use self::wav::Pcm;
use crate::http::Client;

/// Longest sound of one text. Four thousand characters are five minutes of slow speech.
const MAX_SPEECH: Duration = Duration::from_secs(900);
/// Samples a second of silence alone: what a telephone has.
const SILENCE_RATE: u32 = 8_000;

/// Who speaks, and within which bounds.
#[derive(Clone, Debug)]
pub struct SpeechConfig {
    /// The program espeak-ng, by name or path; `None`: not used.
    pub espeak: Option<PathBuf>,
    /// Most texts that are being made at a time.
    pub workers: usize,
    /// Most texts that wait for that.
    pub queue: usize,
    /// Longest making of one text, after its wait.
    pub timeout: Duration,
    /// Most octets of made speech that are kept on disk.
    pub cache_bytes: u64,
    /// Voices that go before those that espeak-ng has.
    pub voices: Vec<VoiceConfig>,
}

impl Default for SpeechConfig {
    fn default() -> Self {
        Self {
            espeak: Some("espeak-ng".into()),
            workers: 2,
            queue: 256,
            timeout: Duration::from_secs(10),
            cache_bytes: 1 << 30,
            voices: Vec::new(),
        }
    }
}

/// One voice by its name, in one language.
#[derive(Clone, Debug)]
pub struct VoiceConfig {
    /// Name and language.
    pub voice: Voice,
    /// Whose it is.
    pub synthesiser: Synthesiser,
}

/// What makes speech.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Synthesiser {
    /// espeak-ng, with the voice that it knows by this name.
    Espeak(String),
    /// A server that speaks as OpenAI's does.
    Openai(Arc<OpenaiConfig>),
}

/// A server with `POST {base}/audio/speech`.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenaiConfig {
    /// Its URL, without `/audio/speech`.
    pub base: String,
    /// The model.
    pub model: String,
    /// Its name for the voice.
    pub voice: String,
    /// The bearer token, if it wants one.
    pub key: Option<String>,
}

impl std::fmt::Debug for OpenaiConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { base, model, voice, key: _ } = self;
        write!(f, "Openai({base}, {model}, {voice})")
    }
}

/// Everything that speaks.
#[derive(Debug)]
pub(crate) struct Speech {
    voices: Voices,
    synthesisers: BTreeMap<Voice, Synthesiser>,
    espeak: Option<Espeak>,
    openai: Openai,
    shelf: Shelf,
    workers: Semaphore,
    /// Places of those that are made and those that wait.
    places: Arc<Semaphore>,
    timeout: Duration,
    /// One making of the same words at a time.
    making: Mutex<BTreeMap<Sha256, Arc<tokio::sync::Mutex<()>>>>,
    made: AtomicU64,
    kept: AtomicU64,
    failed: AtomicU64,
}

/// Texts that a synthesiser made, that were on disk, and that came to nothing; octets on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) made: u64,
    pub(crate) kept: u64,
    pub(crate) failed: u64,
    pub(crate) bytes: u64,
}

/// Why nothing is said. For a person to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpeechError {
    /// Too many texts wait.
    #[error("too many texts wait to be spoken: try again, or raise workers or queue in [speech]")]
    Busy,
    /// The voice is not there any more.
    #[error("the voice {0} is gone")]
    Gone(Arc<str>),
    /// It took too long.
    #[error("the synthesiser was not ready within {} s (timeout_s in [speech])", .0.as_secs())]
    Timeout(Duration),
    /// The synthesiser said no, or nothing that is sound.
    #[error("{0}")]
    Synthesiser(String),
    /// The sound is longer than it may be.
    #[error("the text takes longer than {} minutes to say", MAX_SPEECH.as_secs() / 60)]
    TooLong,
}

impl Speech {
    /// Asks espeak-ng which voices it has, and looks what is on disk. A program that does not answer is not used, and logged.
    pub(crate) async fn open(
        config: SpeechConfig,
        client: Client,
        media_dir: &Path,
    ) -> std::io::Result<Self> {
        let folder = media_dir.join("speech");
        let shelf = tokio::task::spawn_blocking(move || Shelf::open(folder, config.cache_bytes)).await??;
        let mut synthesisers = BTreeMap::new();
        let mut voices = Vec::new();
        for VoiceConfig { voice, synthesiser } in config.voices {
            voices.push(voice.clone());
            synthesisers.entry(voice).or_insert(synthesiser);
        }
        let espeak = match config.espeak {
            Some(program) => {
                let espeak = Espeak::new(program, config.timeout);
                match espeak.voices().await {
                    Ok(its) => {
                        for (voice, id) in its {
                            voices.push(voice.clone());
                            synthesisers.entry(voice).or_insert(Synthesiser::Espeak(id));
                        }
                        Some(espeak)
                    }
                    Err(why) => {
                        tracing::warn!(%why, "espeak-ng is not used: install it, or set espeak = \"\" in [speech]");
                        None
                    }
                }
            }
            None => None,
        };
        Ok(Self {
            voices: Voices::new(voices),
            synthesisers,
            espeak,
            openai: Openai::new(client),
            shelf,
            workers: Semaphore::new(config.workers),
            places: Arc::new(Semaphore::new(config.workers + config.queue)),
            timeout: config.timeout,
            making: Mutex::default(),
            made: AtomicU64::default(),
            kept: AtomicU64::default(),
            failed: AtomicU64::default(),
        })
    }

    /// Without voices.
    #[cfg(test)]
    pub(crate) fn of_nobody(client: Client, media_dir: &Path) -> Self {
        let config = SpeechConfig::default();
        Self {
            voices: Voices::default(),
            synthesisers: BTreeMap::new(),
            espeak: None,
            openai: Openai::new(client),
            shelf: Shelf::open(media_dir.join("speech"), 0).unwrap(),
            workers: Semaphore::new(config.workers),
            places: Arc::new(Semaphore::new(config.workers)),
            timeout: config.timeout,
            making: Mutex::default(),
            made: AtomicU64::default(),
            kept: AtomicU64::default(),
            failed: AtomicU64::default(),
        }
    }

    /// Who can say what.
    pub(crate) fn voices(&self) -> &Voices {
        &self.voices
    }

    /// What was said so far.
    pub(crate) fn figures(&self) -> Figures {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures {
            made: read(&self.made),
            kept: read(&self.kept),
            failed: read(&self.failed),
            bytes: self.shelf.bytes(),
        }
    }

    /// What is said, as a WAV file.
    pub(crate) async fn say(&self, utterance: &Utterance) -> Result<Bytes, SpeechError> {
        let Some(synthesiser) = self.synthesisers.get(&utterance.voice) else {
            return Err(SpeechError::Gone(utterance.voice.name.clone()));
        };
        let mut sounds = Vec::new();
        for piece in utterance.pieces.iter() {
            sounds.push(match piece {
                Piece::Words { text, rate } => {
                    let rate = u32::from(*rate) * u32::from(utterance.rate) / 100;
                    Ok(self.words(synthesiser, rate, text).await?)
                }
                Piece::Silence(time) => Err(*time),
            });
        }
        // One voice has one rate.
        let rate = sounds.iter().find_map(|sound| sound.as_ref().ok()).map_or(SILENCE_RATE, |pcm| pcm.rate);
        let mut joined = Pcm { rate, samples: Vec::new() };
        for sound in sounds {
            match sound {
                Ok(pcm) if pcm.rate == rate => joined.samples.extend(pcm.samples),
                Ok(_) => return Err(SpeechError::Synthesiser("its sound changes its rate".to_owned())),
                Err(time) => joined.pause(time),
            }
            if joined.duration() > MAX_SPEECH {
                return Err(SpeechError::TooLong);
            }
        }
        Ok(joined.wav())
    }

    /// The sound of some words: from disk, or made.
    async fn words(&self, synthesiser: &Synthesiser, rate: u32, text: &str) -> Result<Pcm, SpeechError> {
        let name = name(synthesiser, rate, text);
        let turn = Arc::clone(self.making.lock().entry(name).or_default());
        let made = self.words_alone(name, synthesiser, rate, text, &turn).await;
        if made.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        drop(turn);
        let mut making = self.making.lock();
        if making.get(&name).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            making.remove(&name);
        }
        made
    }

    async fn words_alone(
        &self,
        name: Sha256,
        synthesiser: &Synthesiser,
        rate: u32,
        text: &str,
        alone: &tokio::sync::Mutex<()>,
    ) -> Result<Pcm, SpeechError> {
        let _alone = alone.lock().await;
        if let Some(pcm) = self.shelf.read(name).await.as_deref().and_then(Pcm::read) {
            self.kept.fetch_add(1, Ordering::Relaxed);
            return Ok(pcm);
        }
        let _place = self.places.try_acquire().map_err(|_| SpeechError::Busy)?;
        // Never closed.
        let _worker = self.workers.acquire().await;
        let making = async {
            match (synthesiser, &self.espeak) {
                (Synthesiser::Espeak(voice), Some(espeak)) => espeak.speak(voice, rate, text).await,
                (Synthesiser::Espeak(_), None) => Err("espeak-ng is not there".to_owned()),
                (Synthesiser::Openai(server), _) => self.openai.speak(server, rate, text).await,
            }
        };
        let file = tokio::time::timeout(self.timeout, making)
            .await
            .map_err(|_| SpeechError::Timeout(self.timeout))?
            .map_err(SpeechError::Synthesiser)?;
        let pcm = tokio::task::spawn_blocking(move || Pcm::of(&file))
            .await
            .map_err(|_| {
                SpeechError::Synthesiser("the synthesiser gave no sound: its decoder fails".to_owned())
            })?
            .map_err(SpeechError::Synthesiser)?;
        self.made.fetch_add(1, Ordering::Relaxed);
        self.shelf.put(name, pcm.wav()).await;
        Ok(pcm)
    }
}

/// The name of a sound: what it is made of and by whom.
fn name(synthesiser: &Synthesiser, rate: u32, text: &str) -> Sha256 {
    let who = match synthesiser {
        Synthesiser::Espeak(voice) => format!("espeak\0{voice}"),
        Synthesiser::Openai(server) => format!("openai\0{}\0{}\0{}", server.base, server.model, server.voice),
    };
    Sha256::of(format!("{who}\0{rate}\0{text}").as_bytes())
}
