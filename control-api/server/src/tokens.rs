//! Tokens: who may call the API, and what for.
//!
//! A secret is `car_<prefix>_<256 random bits>`. The token file keeps the prefix, to find the entry, and the SHA-256
//! of the whole secret: with that many random bits a slow hash would add nothing (A4 of the requirements).

use crate::rate::{Bucket, Rate};
use control_api_types::{Scopes, Timestamp};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use subtle::ConstantTimeEq;

/// How often the token file is looked at: a token taken away should be gone before anyone wonders.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// The id and name of the token given by environment.
const BOOTSTRAP: &str = "bootstrap";

/// What is wrong with tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("token file {}: {source}", path.display())]
    File {
        /// The token file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be; the message holds line and column.
    #[error("token file {}: {source}", path.display())]
    Syntax {
        /// The token file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// The file cannot be put into words again.
    #[error("token file: {0}")]
    Write(#[from] toml::ser::Error),
    /// Two tokens of one name or prefix.
    #[error("token file: {0:?} is there twice")]
    Twice(String),
    /// A name that cannot be told apart in a log.
    #[error("a token's name must be 1 to 64 printable characters")]
    Name,
    /// A token without any scope could do nothing.
    #[error("a token needs at least one scope of read, control, originate, admin")]
    NoScopes,
    /// The token given by environment is empty or cannot stand in a header.
    #[error("the bootstrap token must be visible ASCII characters, at least one")]
    Bootstrap,
    /// The operating system has no randomness.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

/// The token file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    tokens: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    prefix: String,
    sha256: Hash,
    scopes: Scopes,
    created: Timestamp,
}

/// A SHA-256, in the file as hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hash([u8; 32]);

impl Hash {
    fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Compares in a time that does not depend on where they differ.
    fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit =
            |index: usize| text.get(index..index + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte =
                digit(index * 2).ok_or_else(|| serde::de::Error::custom("sha256 must be 64 hex digits"))?;
        }
        if text.len() == 64 {
            Ok(Self(bytes))
        } else {
            Err(serde::de::Error::custom("sha256 must be 64 hex digits"))
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// One token that may call the API.
#[derive(Debug)]
pub(crate) struct Token {
    /// Its prefix: what it is known by in the store of idempotency keys.
    pub(crate) id: String,
    /// Its name, for the audit log.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) scopes: Scopes,
    sha256: Hash,
    /// How much of its rate is used up.
    pub(crate) bucket: Bucket,
}

/// Every token. Cheap to clone.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    path: Option<PathBuf>,
    bootstrap: Option<Arc<Token>>,
    by_prefix: RwLock<BTreeMap<String, Arc<Token>>>,
    seen: Mutex<Option<Stamp>>,
    rate: Rate,
    start: Instant,
}

/// Tells two versions of the file apart.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    /// When the file or its permissions changed last: seconds and nanoseconds since 1970.
    changed: (i64, i64),
    length: u64,
}

impl Stamp {
    /// `None`: there is no file.
    fn of(path: &Path) -> Result<Option<Stamp>, TokenError> {
        match std::fs::metadata(path) {
            Ok(file) => {
                use std::os::unix::fs::MetadataExt as _;
                Ok(Some(Stamp { changed: (file.ctime(), file.ctime_nsec()), length: file.len() }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TokenError::File { path: path.to_owned(), source }),
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Reads the token file, which may not exist yet, and takes the bootstrap token, which has every scope.
    /// Each token may make `rate` requests.
    pub fn open(path: Option<PathBuf>, bootstrap: Option<&str>, rate: Rate) -> Result<Self, TokenError> {
        if bootstrap.is_some_and(|secret| secret.is_empty() || !secret.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(TokenError::Bootstrap);
        }
        let bootstrap = bootstrap.map(|secret| {
            Arc::new(Token {
                id: BOOTSTRAP.to_owned(),
                name: BOOTSTRAP.to_owned(),
                scopes: Scopes::all(),
                sha256: Hash::of(secret),
                bucket: Bucket::default(),
            })
        });
        let tokens = Self(Arc::new(Inner {
            path,
            bootstrap,
            by_prefix: RwLock::default(),
            seen: Mutex::new(None),
            rate,
            start: Instant::now(),
        }));
        tokens.reload()?;
        Ok(tokens)
    }

    /// Whether nobody could call the API.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.bootstrap.is_none() && self.0.by_prefix.read().is_empty()
    }

    /// Whether the token file could be taken now.
    pub fn check(&self) -> Result<(), TokenError> {
        self.0.path.as_deref().map_or(Ok(()), |path| read(path).map(drop))
    }

    /// Reads the token file. Kept as it was if the file is faulty.
    pub fn reload(&self) -> Result<(), TokenError> {
        let Some(path) = &self.0.path else { return Ok(()) };
        let mut seen = self.0.seen.lock();
        *seen = Stamp::of(path)?;
        self.take(read(path)?.tokens);
        Ok(())
    }

    /// Reads the token file if it has changed and says whether it had. A faulty file is reported once, not each time it is
    /// looked at.
    fn follow(&self) -> Result<bool, TokenError> {
        let Some(path) = &self.0.path else { return Ok(false) };
        let mut seen = self.0.seen.lock();
        let stamp = Stamp::of(path)?;
        if std::mem::replace(&mut *seen, stamp) == stamp {
            return Ok(false);
        }
        self.take(read(path)?.tokens);
        Ok(true)
    }

    fn take(&self, entries: Vec<Entry>) {
        let mut by_prefix = self.0.by_prefix.write();
        let old = std::mem::take(&mut *by_prefix);
        for entry in entries {
            let unchanged = old.get(&entry.prefix).filter(|token| {
                token.sha256 == entry.sha256 && token.scopes == entry.scopes && token.name == entry.name
            });
            let token = unchanged.cloned().unwrap_or_else(|| {
                Arc::new(Token {
                    id: entry.prefix.clone(),
                    name: entry.name,
                    scopes: entry.scopes,
                    sha256: entry.sha256,
                    bucket: Bucket::default(),
                })
            });
            by_prefix.insert(entry.prefix, token);
        }
    }

    /// Follows the token file for ever.
    pub async fn watch(self) {
        let mut tick = tokio::time::interval(WATCH_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tick.tick().await;
            match self.follow() {
                Ok(true) => tracing::info!(target: "audit", "tokens reloaded"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "tokens stay as they were"),
            }
        }
    }

    /// The token that `secret` is.
    pub(crate) fn authenticate(&self, secret: &str) -> Option<Arc<Token>> {
        let hash = Hash::of(secret);
        let prefix =
            secret.strip_prefix("car_").and_then(|rest| rest.split_once('_')).map(|(prefix, _)| prefix);
        let found = prefix.and_then(|prefix| self.0.by_prefix.read().get(prefix).cloned());
        [found, self.0.bootstrap.clone()].into_iter().flatten().find(|token| token.sha256.matches(&hash))
    }

    /// Whether `token` still counts: long-lived streams ask now and then.
    pub(crate) fn is_current(&self, token: &Token) -> bool {
        self.0.bootstrap.as_ref().is_some_and(|bootstrap| std::ptr::eq(bootstrap.as_ref(), token))
            || self
                .0
                .by_prefix
                .read()
                .get(&token.id)
                .is_some_and(|current| current.sha256 == token.sha256 && current.scopes == token.scopes)
    }

    /// Takes one request from the token's rate, or says how long to wait.
    pub(crate) fn spend(&self, token: &Token) -> Result<(), Duration> {
        token.bucket.take(self.0.start.elapsed(), self.0.rate)
    }
}

/// Reads and checks the token file; without one there are no tokens.
fn read(path: &Path) -> Result<File, TokenError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(File::default()),
        Err(source) => return Err(TokenError::File { path: path.to_owned(), source }),
    };
    let file: File = toml::from_str(&text)
        .map_err(|source| TokenError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
    for (index, entry) in file.tokens.iter().enumerate() {
        for earlier in &file.tokens[..index] {
            for (mine, other) in [(&entry.prefix, &earlier.prefix), (&entry.name, &earlier.name)] {
                if mine == other {
                    return Err(TokenError::Twice(mine.clone()));
                }
            }
        }
    }
    Ok(file)
}

/// Makes a token, adds its hash to the token file and returns its secret, which is kept nowhere.
///
/// The file is replaced whole and readable by its owner only. Two programs adding tokens at the same moment may lose
/// one of them; the loser's secret is then refused.
pub fn add_token(path: &Path, name: &str, scopes: Scopes) -> Result<String, TokenError> {
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        return Err(TokenError::Name);
    }
    if scopes.is_empty() {
        return Err(TokenError::NoScopes);
    }
    let mut file = read(path)?;
    if file.tokens.iter().any(|entry| entry.name == name) {
        return Err(TokenError::Twice(name.to_owned()));
    }
    let mut random = [0; 36];
    getrandom::fill(&mut random).map_err(TokenError::Random)?;
    let prefix = hex(&random[..4]);
    if file.tokens.iter().any(|entry| entry.prefix == prefix) {
        return Err(TokenError::Twice(prefix));
    }
    let secret = format!("car_{prefix}_{}", hex(&random[4..]));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let created = Timestamp::from_unix_ms(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    file.tokens.push(Entry { name: name.to_owned(), prefix, sha256: Hash::of(&secret), scopes, created });
    let text = toml::to_string_pretty(&file)?;
    replace(path, text.as_bytes()).map_err(|source| TokenError::File { path: path.to_owned(), source })?;
    Ok(secret)
}

/// Replaces a file so that a reader, or a crash, sees the old or the new one, never half.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use io::Write as _;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = folder.join(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    // The name, too, must survive a power cut.
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use control_api_types::Scope;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let mut random = [0; 8];
            getrandom::fill(&mut random).unwrap();
            let path = std::env::temp_dir().join(format!("carillon-tokens-{}", hex(&random)));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("tokens.toml")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn open(folder: &Folder, bootstrap: Option<&str>) -> Tokens {
        Tokens::open(Some(folder.file()), bootstrap, Rate::default()).unwrap()
    }

    #[test]
    fn a_new_token_is_known_by_its_secret_only() {
        let folder = Folder::new();
        let secret = add_token(&folder.file(), "campaign", "read,originate".parse().unwrap()).unwrap();
        let tokens = open(&folder, None);
        let token = tokens.authenticate(&secret).unwrap();
        assert_eq!(token.name, "campaign");
        assert!(token.scopes.contains(Scope::Originate) && !token.scopes.contains(Scope::Admin));
        let mut wrong = secret.clone();
        wrong.pop();
        assert!(tokens.authenticate(&wrong).is_none());
        assert!(tokens.authenticate("car__").is_none());
        let text = std::fs::read_to_string(folder.file()).unwrap();
        assert!(!text.contains(&secret), "the file keeps no secret");
    }

    #[cfg(unix)]
    #[test]
    fn the_token_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = Folder::new();
        add_token(&folder.file(), "a", Scopes::all()).unwrap();
        assert_eq!(std::fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_token_taken_away_counts_no_longer() {
        let folder = Folder::new();
        let secret = add_token(&folder.file(), "a", Scopes::all()).unwrap();
        let tokens = open(&folder, Some("first-secret"));
        let token = tokens.authenticate(&secret).unwrap();
        assert!(tokens.is_current(&token));
        std::fs::remove_file(folder.file()).unwrap();
        tokens.reload().unwrap();
        assert!(!tokens.is_current(&token) && tokens.authenticate(&secret).is_none());
        let bootstrap = tokens.authenticate("first-secret").unwrap();
        assert!(tokens.is_current(&bootstrap));
    }

    #[test]
    fn a_faulty_file_changes_nothing() {
        let folder = Folder::new();
        let secret = add_token(&folder.file(), "a", Scopes::all()).unwrap();
        let tokens = open(&folder, None);
        std::fs::write(folder.file(), "[[tokens]]\nname = 7\n").unwrap();
        let error = tokens.reload().unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert_eq!(tokens.reload().unwrap_err().to_string(), error, "also when it has been looked at before");
        assert!(tokens.follow().is_ok_and(|changed| !changed), "told once to whoever only watches");
        assert!(tokens.authenticate(&secret).is_some());
    }

    #[test]
    fn what_is_refused() {
        let folder = Folder::new();
        let all = Scopes::all;
        assert!(open(&folder, None).is_empty());
        assert!(matches!(Tokens::open(None, Some(""), Rate::default()), Err(TokenError::Bootstrap)));
        assert!(matches!(add_token(&folder.file(), "", all()), Err(TokenError::Name)));
        assert!(matches!(add_token(&folder.file(), "a", Scopes::default()), Err(TokenError::NoScopes)));
        add_token(&folder.file(), "a", all()).unwrap();
        assert!(matches!(add_token(&folder.file(), "a", all()), Err(TokenError::Twice(name)) if name == "a"));
    }
}
