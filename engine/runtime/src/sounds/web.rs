//! Audio of web servers: fetched, kept on disk with what its server says of it, asked for again when that is over.
//!
//! RFC 9111 in the parts that matter to a cache of one reader: freshness (section 4.2), validation (4.3), `no-store`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media_prompts::Sha256;
use parking_lot::Mutex;
use reqwest::header::{
    CACHE_CONTROL, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use serde::{Deserialize, Serialize};

use super::SoundConfig;
use super::cache::Lifetime;
use crate::engine::now;
use crate::http::{Client, Failure, lifetime};

/// How long a file is fresh whose server says nothing about it: it is cheap to ask whether it has changed.
const UNSAID: Duration = Duration::from_secs(300);
/// How long a file that is no longer fresh is played on when its server does not answer.
const STALE: Duration = Duration::from_secs(30);

/// Fetches and keeps.
#[derive(Debug)]
pub(super) struct Web {
    client: Client,
    timeout: Duration,
    max_bytes: usize,
    shelf: Arc<Shelf>,
    /// One fetch of a URL at a time.
    fetching: Mutex<BTreeMap<Name, Arc<tokio::sync::Mutex<()>>>>,
}

/// What was fetched.
#[derive(Debug)]
pub(super) struct File {
    pub(super) content: Sha256,
    /// `None`: it is what the asker has.
    pub(super) bytes: Option<Bytes>,
    pub(super) lifetime: Lifetime,
}

impl Web {
    pub(super) fn open(client: Client, folder: &Path, config: &SoundConfig) -> std::io::Result<Self> {
        Ok(Self {
            client,
            timeout: config.url_timeout,
            max_bytes: config.url_max_bytes,
            shelf: Arc::new(Shelf::open(folder.to_owned(), config.url_cache_bytes)?),
            fetching: Mutex::default(),
        })
    }

    /// Octets on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.shelf.bytes()
    }

    /// What lies at `url`; `known` is what the asker has of it.
    pub(super) async fn get(&self, url: &str, known: Option<Sha256>) -> Result<File, String> {
        let name = Name::of(url);
        let turn = Arc::clone(self.fetching.lock().entry(name).or_default());
        let file = match tokio::time::timeout(self.timeout, self.get_alone(url, name, known, &turn)).await {
            Ok(file) => file,
            Err(_) => self.stale(name, known, &Failure::Timeout).await,
        };
        drop(turn);
        let mut fetching = self.fetching.lock();
        if fetching.get(&name).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            fetching.remove(&name);
        }
        file
    }

    async fn get_alone(
        &self,
        url: &str,
        name: Name,
        known: Option<Sha256>,
        alone: &tokio::sync::Mutex<()>,
    ) -> Result<File, String> {
        let _alone = alone.lock().await;
        let kept = self.shelf.find(name);
        if let Some(fresh) = kept.as_ref().and_then(Kept::fresh_for)
            && let Some(file) = self.take(name, known, Lifetime::For(fresh)).await
        {
            return Ok(file);
        }
        let conditions = kept.as_ref().map(Kept::conditions).unwrap_or_default();
        let reply = match self.client.get(url, conditions, self.max_bytes).await {
            Ok(reply) => reply,
            Err(failure) => return self.stale(name, known, &failure).await,
        };
        let (headers, body) = (reply.headers, reply.body);
        let Some(body) = body else {
            let fresh = self.shelf.confirmed(name, &headers).await;
            return match self.take(name, known, Lifetime::For(fresh)).await {
                Some(file) => Ok(file),
                None => Err("its server says that it has not changed, and it is lost here: try again".into()),
            };
        };
        let body = Bytes::from(body);
        let content = Sha256::of(&body);
        let bytes = (known != Some(content)).then(|| body.clone());
        if says(&headers, "no-store") {
            self.shelf.remove(name).await;
            return Ok(File { content, bytes, lifetime: Lifetime::Once });
        }
        let kept = Kept::new(content, body.len(), &headers);
        let fresh = kept.fresh_for().unwrap_or_default();
        self.shelf.put(name, kept, body).await;
        Ok(File { content, bytes, lifetime: Lifetime::For(fresh) })
    }

    /// What is on the shelf.
    async fn take(&self, name: Name, known: Option<Sha256>, lifetime: Lifetime) -> Option<File> {
        let content = self.shelf.find(name)?.content()?;
        if known == Some(content) {
            return Some(File { content, bytes: None, lifetime });
        }
        let bytes = self.shelf.read(name, content).await?;
        Some(File { content, bytes: Some(bytes), lifetime })
    }

    /// RFC 9111 section 4.2.4: what is stale may be used when its server cannot be reached, unless it has said otherwise. A
    /// server that says that it has nothing is believed.
    async fn stale(&self, name: Name, known: Option<Sha256>, failure: &Failure) -> Result<File, String> {
        let unreachable = match failure {
            Failure::Timeout | Failure::Transport(_) => true,
            Failure::Status(status) => (500..600).contains(status),
            Failure::Refused(_) | Failure::TooLarge(_) => false,
        };
        let usable = self.shelf.find(name).is_some_and(|kept| unreachable && !kept.must_revalidate);
        if usable && let Some(file) = self.take(name, known, Lifetime::For(STALE)).await {
            return Ok(file);
        }
        if let Failure::Status(404 | 410) = failure {
            self.shelf.remove(name).await;
        }
        Err(failure.to_string())
    }
}

/// A URL's place on the shelf: its hash, for it may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name(Sha256);

impl Name {
    fn of(url: &str) -> Self {
        Self(Sha256::of(url.as_bytes()))
    }
}

/// What is known of a file, written beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    /// Its SHA-256.
    sha256: String,
    bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
    fresh_until_ms: u64,
    /// How long it is fresh after its server was asked.
    #[serde(default)]
    lifetime_ms: Option<u64>,
    must_revalidate: bool,
}

impl Kept {
    fn new(content: Sha256, bytes: usize, headers: &HeaderMap) -> Self {
        let text =
            |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut kept = Self {
            sha256: content.to_string(),
            bytes: bytes as u64,
            etag: text(ETAG),
            last_modified: text(LAST_MODIFIED),
            fresh_until_ms: 0,
            lifetime_ms: None,
            must_revalidate: false,
        };
        kept.refresh(headers);
        kept
    }

    /// The server has said these headers of it. What a 304 does not say again stays as it was (RFC 9111 section 4.3.4).
    fn refresh(&mut self, headers: &HeaderMap) {
        let says_nothing = !headers.contains_key(CACHE_CONTROL) && !headers.contains_key(EXPIRES);
        let said = || u64::try_from(lifetime(headers, UNSAID).as_millis()).unwrap_or(u64::MAX);
        let fresh = self.lifetime_ms.filter(|_| says_nothing).unwrap_or_else(said);
        self.lifetime_ms = Some(fresh);
        self.fresh_until_ms = now().unix_ms().saturating_add(fresh);
        if !says_nothing {
            // Section 5.2.2.4: what is not to be used without asking is not to be used when nobody answers either.
            self.must_revalidate = says(headers, "must-revalidate") || says(headers, "no-cache");
        }
    }

    fn fresh_for(&self) -> Option<Duration> {
        self.fresh_until_ms.checked_sub(now().unix_ms()).filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    fn content(&self) -> Option<Sha256> {
        self.sha256.parse().ok()
    }

    fn conditions(&self) -> HeaderMap {
        let pairs = [(IF_NONE_MATCH, &self.etag), (IF_MODIFIED_SINCE, &self.last_modified)];
        let value = |text: &Option<String>| text.as_ref().and_then(|text| HeaderValue::from_str(text).ok());
        pairs.into_iter().filter_map(|(name, text)| Some((name, value(text)?))).collect()
    }
}

fn says(headers: &HeaderMap, directive: &str) -> bool {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(directive))
}

/// The files on disk: `NAME.audio`, and `NAME.json` with what is known of it.
#[derive(Debug)]
struct Shelf {
    folder: PathBuf,
    max_bytes: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    files: BTreeMap<Name, (Kept, u64)>,
    bytes: u64,
    /// Counts uses.
    clock: u64,
}

impl Known {
    fn put(&mut self, name: Name, kept: Kept) {
        self.clock += 1;
        self.bytes += kept.bytes;
        if let Some((before, _)) = self.files.insert(name, (kept, self.clock)) {
            self.bytes -= before.bytes;
        }
    }

    fn remove(&mut self, name: Name) {
        if let Some((before, _)) = self.files.remove(&name) {
            self.bytes -= before.bytes;
        }
    }

    /// Forgets what was not used for the longest time until the rest fits.
    fn make_room(&mut self, max_bytes: u64) -> Vec<Name> {
        let mut gone = Vec::new();
        while self.bytes > max_bytes {
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used).map(|(name, _)| *name);
            let Some(name) = oldest else { break };
            self.remove(name);
            gone.push(name);
        }
        gone
    }
}

impl Shelf {
    /// Takes up what an earlier run has left, the last written last.
    fn open(folder: PathBuf, max_bytes: u64) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name =
                path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok()).map(Name);
            let kept = name.and_then(|name| {
                let kept: Kept =
                    serde_json::from_slice(&std::fs::read(path.with_extension("json")).ok()?).ok()?;
                let there = std::fs::metadata(path.with_extension("audio")).ok()?;
                (there.len() == kept.bytes).then_some((there.modified().ok()?, name, kept))
            });
            match kept {
                Some(kept) if path.extension().is_some_and(|kind| kind == "json") => found.push(kept),
                Some(_) if path.extension().is_some_and(|kind| kind == "audio") => {}
                // Half written, or half removed.
                Some(_) | None => drop(std::fs::remove_file(&path)),
            }
        }
        found.sort_by_key(|(written, name, _)| (*written, *name));
        let mut known = Known::default();
        found.into_iter().for_each(|(_, name, kept)| known.put(name, kept));
        let shelf = Self { folder, max_bytes, known: Mutex::new(known) };
        let gone = shelf.known.lock().make_room(max_bytes);
        gone.into_iter().for_each(|name| shelf.delete(name));
        Ok(shelf)
    }

    fn bytes(&self) -> u64 {
        self.known.lock().bytes
    }

    fn path(&self, name: Name, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", name.0))
    }

    fn find(&self, name: Name) -> Option<Kept> {
        let mut known = self.known.lock();
        known.clock += 1;
        let clock = known.clock;
        let (kept, used) = known.files.get_mut(&name)?;
        *used = clock;
        Some(kept.clone())
    }

    /// The file's bytes, if they are still what they were.
    async fn read(self: &Arc<Self>, name: Name, content: Sha256) -> Option<Bytes> {
        let path = self.path(name, "audio");
        let read = move || std::fs::read(path).ok().filter(|bytes| Sha256::of(bytes) == content);
        let bytes = tokio::task::spawn_blocking(read).await.ok().flatten();
        if bytes.is_none() {
            self.remove(name).await;
        }
        bytes.map(Bytes::from)
    }

    /// Keeps a file. One that cannot be written is played all the same.
    async fn put(self: &Arc<Self>, name: Name, kept: Kept, body: Bytes) {
        self.write(name, kept, Some(body)).await;
    }

    /// The server says that it has not changed; how long it is fresh from now on.
    async fn confirmed(self: &Arc<Self>, name: Name, headers: &HeaderMap) -> Duration {
        let Some(mut kept) = self.find(name) else { return Duration::ZERO };
        kept.refresh(headers);
        let fresh = kept.fresh_for().unwrap_or_default();
        self.write(name, kept, None).await;
        fresh
    }

    async fn write(self: &Arc<Self>, name: Name, kept: Kept, body: Option<Bytes>) {
        let shelf = Arc::clone(self);
        let writing = tokio::task::spawn_blocking(move || {
            let whole = |kind: &str, bytes: &[u8]| {
                let part = shelf.path(name, "part");
                std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, shelf.path(name, kind)))
            };
            let audio = body.map_or(Ok(()), |body| whole("audio", &body));
            let written = audio.and_then(|()| {
                let json = serde_json::to_vec(&kept).map_err(std::io::Error::other)?;
                whole("json", &json)
            });
            let gone = {
                let mut known = shelf.known.lock();
                match &written {
                    Ok(()) => known.put(name, kept),
                    Err(_) => known.remove(name),
                }
                known.make_room(shelf.max_bytes)
            };
            gone.into_iter().for_each(|name| shelf.delete(name));
            if let Err(error) = written {
                tracing::warn!(%error, folder = %shelf.folder.display(), "audio from the web is not kept on disk");
                shelf.delete(name);
            }
        });
        // It is cancelled only with the engine.
        let _ = writing.await;
    }

    async fn remove(self: &Arc<Self>, name: Name) {
        self.known.lock().remove(name);
        let shelf = Arc::clone(self);
        let _ = tokio::task::spawn_blocking(move || shelf.delete(name)).await;
    }

    fn delete(&self, name: Name) {
        for kind in ["json", "audio"] {
            match std::fs::remove_file(self.path(name, kind)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(%error, folder = %self.folder.display(), "audio from the web is not removed");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
}
