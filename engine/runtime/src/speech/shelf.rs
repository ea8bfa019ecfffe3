//! Made speech on disk: a file for each text, and those that were not used for the longest time make room.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use media_prompts::Sha256;
use parking_lot::Mutex;

/// Files of one node; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    folder: Arc<Path>,
    max_bytes: u64,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// By name: octets, and the last use.
    files: BTreeMap<Sha256, (u64, u64)>,
    bytes: u64,
    /// Counts uses.
    clock: u64,
}

impl Known {
    fn put(&mut self, name: Sha256, bytes: u64) {
        self.remove(name);
        self.clock += 1;
        self.bytes += bytes;
        self.files.insert(name, (bytes, self.clock));
    }

    fn remove(&mut self, name: Sha256) {
        if let Some((bytes, _)) = self.files.remove(&name) {
            self.bytes -= bytes;
        }
    }

    fn make_room(&mut self, max_bytes: u64) -> Vec<Sha256> {
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
    /// Looks what is there, in the order in which it was used; what a crash has left half written goes.
    pub(super) fn open(folder: PathBuf, max_bytes: u64) -> std::io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            let metadata = entry.metadata()?;
            match (name, path.extension().and_then(|extension| extension.to_str())) {
                (Some(name), Some("wav")) => {
                    let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    found.push((used, name, metadata.len()));
                }
                (Some(_), Some("part")) => fs::remove_file(&path)?,
                // Somebody else's.
                (_, _) => {}
            }
        }
        found.sort_unstable_by_key(|(used, ..)| *used);
        let mut known = Known::default();
        found.into_iter().for_each(|(_, name, bytes)| known.put(name, bytes));
        let gone = known.make_room(max_bytes);
        let shelf = Self { folder: folder.into(), max_bytes, known: Arc::new(Mutex::new(known)) };
        gone.into_iter().for_each(|name| shelf.unlink(name));
        Ok(shelf)
    }

    /// Octets that are there.
    pub(super) fn bytes(&self) -> u64 {
        self.known.lock().bytes
    }

    /// A file, if it is there.
    pub(super) async fn read(&self, name: Sha256) -> Option<Bytes> {
        {
            let mut known = self.known.lock();
            known.clock += 1;
            let clock = known.clock;
            known.files.get_mut(&name)?.1 = clock;
        }
        let shelf = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let path = shelf.path(name);
            let read = fs::read(&path);
            // The time of the last use outlives us. One that cannot be written costs no more than a file that goes early.
            if let Ok(file) = File::open(&path) {
                let _ = file.set_modified(SystemTime::now());
            }
            if read.is_err() {
                shelf.known.lock().remove(name);
            }
            read.ok().map(Bytes::from)
        });
        reading.await.ok().flatten()
    }

    /// Keeps a file. One that cannot be written is made again the next time.
    pub(super) async fn put(&self, name: Sha256, file: Bytes) {
        let shelf = self.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let write = || {
                let part = shelf.folder.join(format!("{name}.part"));
                let mut opened = File::create(&part)?;
                opened.write_all(&file)?;
                fs::rename(&part, shelf.path(name))
            };
            if let Err(error) = write() {
                tracing::warn!(%error, folder = %shelf.folder.display(), "speech is not kept");
                return;
            }
            let gone = {
                let mut known = shelf.known.lock();
                known.put(name, file.len() as u64);
                known.make_room(shelf.max_bytes)
            };
            gone.into_iter().for_each(|name| shelf.unlink(name));
        });
        if writing.await.is_err() {
            tracing::error!("the writing of speech has failed");
        }
    }

    fn unlink(&self, name: Sha256) {
        match fs::remove_file(self.path(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "old speech cannot be removed"),
        }
    }

    fn path(&self, name: Sha256) -> PathBuf {
        self.folder.join(format!("{name}.wav"))
    }
}
