//! Recordings: from the legs to the disk without a shard ever waiting for it.
//!
//! A recorded leg gives each packet time to its tape, the writing end of a ring of about two seconds. **Writer
//! threads** (`record-0`, …) read the rings every 50 ms, encode, and write at least once a second; nothing else opens
//! these files. When a disk keeps a writer busy for longer than its rings last, packet times are dropped and counted,
//! and silence stands in the file in their place, so that what follows is still in its time.
//!
//! A file is `ID.wav.part` or `ID.ogg.part` until it is whole, and then loses the `.part`. Between two writes it is
//! whole up to the last one: of a killed process at most a second is lost, and [`Recorders::start`] finishes what an
//! earlier process has left behind. A disk that is full ends the recording, with what fitted, and not the call; so does one
//! that has come down to half of what must be free for a recording to begin, because others need room on it too.

mod file;
mod tape;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fs, io};

use media_core::Codec;
use media_core::record::{Format, Recording, Tape};
use rustix::fs::statvfs;

pub use file::Left;
use writer::{Job, Writer};

/// Recordings that may wait for one writer to begin them. They wait for as long as it writes, which is not long.
const ORDERS: usize = 1_024;

/// What the recordings are made with.
#[derive(Debug, Clone)]
pub struct RecordConfig {
    /// Where the files are.
    pub folder: PathBuf,
    /// Writer threads.
    pub threads: usize,
    /// No recording begins while fewer octets than this are free; those that run end at half of it.
    pub min_free: u64,
}

/// Why a recording cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Too little room on the disk.
    #[error(
        "{} MiB are free for recordings in {}, fewer than the {} MiB that must be (delete recordings or lower \
         recording_min_free_mb)",
        free >> 20, folder.display(), floor >> 20
    )]
    NoSpace {
        /// Where.
        folder: PathBuf,
        /// Octets free.
        free: u64,
        /// Octets that must be.
        floor: u64,
    },
    /// The folder cannot be used.
    #[error("recordings cannot be written to {}: {source}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More recordings begin than the writers take in.
    #[error("the writers of recordings are too busy to begin another")]
    Busy,
}

/// Why a recording is over.
#[derive(Debug)]
pub enum Over {
    /// Its tape is gone: it was stopped, or its leg is over.
    Stopped,
    /// It is as long as it may be.
    MaxLength,
    /// Nothing was heard for long enough.
    Silence,
    /// The disk is full; the file has what fitted. If it was so from the start, there is no file.
    NoSpace(RecordError),
    /// The file could not be written; it has what could.
    Failed(io::Error),
}

/// A recording that is over, and its file.
#[derive(Debug)]
pub struct Recorded {
    /// As it was given to [`Recorders::record`].
    pub id: Arc<str>,
    /// Why.
    pub over: Over,
    /// The file's length in time.
    pub duration: Duration,
    /// What of it is silence in place of what could not be written in time.
    pub dropped: Duration,
    /// The file's length in octets; 0 when there is none.
    pub size: u64,
    /// The file's samples a second; 0 when there is none.
    pub rate: u32,
}

/// Takes what is over, or says `false` when there is no room now.
pub(crate) type RecordSink = Arc<dyn Fn(&Arc<Recorded>) -> bool + Send + Sync>;

/// The writers. Dropping it ends every recording and waits until their files are whole.
#[derive(Debug)]
pub struct Recorders {
    config: RecordConfig,
    writers: Vec<Handle>,
}

#[derive(Debug)]
struct Handle {
    orders: Option<SyncSender<Job>>,
    /// Recordings that it has been given and has not finished.
    load: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Recorders {
    /// Finishes what an earlier process has left in the folder, which is made if it is not there, and starts the writers. A
    /// file that cannot be finished stays as it is.
    /// `sink` is told of every recording that is over; while it has no room, the writer asks again.
    pub fn start(
        config: RecordConfig,
        sink: impl Fn(&Arc<Recorded>) -> bool + Send + Sync + 'static,
    ) -> io::Result<(Self, Vec<Left>)> {
        make_folder(&config.folder)?;
        let left = file::adopt(&config.folder)?;
        let sink: RecordSink = Arc::new(sink);
        let mut writers = Vec::with_capacity(config.threads.max(1));
        for number in 0..config.threads.max(1) {
            let (orders, jobs) = sync_channel(ORDERS);
            let load = Arc::new(AtomicUsize::new(0));
            let writer = Writer::new(config.clone(), jobs, Arc::clone(&sink), Arc::clone(&load));
            let thread = std::thread::Builder::new().name(format!("record-{number}"));
            let thread = Some(thread.spawn(move || writer.run())?);
            writers.push(Handle { orders: Some(orders), load, thread });
        }
        Ok((Self { config, writers }, left))
    }

    /// Begins a recording of a leg that speaks `codec`: gives back the tape for the leg. The file is made meanwhile; if
    /// that does not succeed, the sink is told.
    pub fn record(
        &self,
        id: Arc<str>,
        recording: Recording,
        codec: Codec,
    ) -> Result<Box<dyn Tape>, RecordError> {
        let writer = self.writers.iter().min_by_key(|writer| writer.load.load(Ordering::Relaxed));
        let writer = writer.ok_or(RecordError::Busy)?;
        let orders = writer.orders.as_ref().ok_or(RecordError::Busy)?;
        let (tape, reel) = tape::new(codec);
        // Before the writer can take it off again.
        writer.load.fetch_add(1, Ordering::Relaxed);
        match orders.try_send(Job::new(id, recording, reel)) {
            Ok(()) => Ok(Box::new(tape)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                writer.load.fetch_sub(1, Ordering::Relaxed);
                Err(RecordError::Busy)
            }
        }
    }

    /// Whether there is room for another recording now. It asks the file system, which may take its time.
    pub fn check_space(config: &RecordConfig) -> Result<(), RecordError> {
        check_free(config, config.min_free)
    }

    /// How the writers were made.
    pub fn config(&self) -> &RecordConfig {
        &self.config
    }

    /// Where the file of a finished recording is.
    pub fn path(folder: &Path, id: &str, format: Format) -> PathBuf {
        folder.join(format!("{id}.{}", extension(format)))
    }
}

impl Drop for Recorders {
    fn drop(&mut self) {
        // All at once; then each is waited for.
        for writer in &mut self.writers {
            writer.orders = None;
        }
        for writer in &mut self.writers {
            if let Some(thread) = writer.thread.take() {
                // A thread that panicked has said so; its files are finished at the next start.
                let _ = thread.join();
            }
        }
    }
}

/// Whether at least `floor` octets are free.
fn check_free(RecordConfig { folder, .. }: &RecordConfig, floor: u64) -> Result<(), RecordError> {
    let of_folder = |source| RecordError::Folder { folder: folder.clone(), source };
    let room = statvfs(folder).map_err(|error| of_folder(error.into()))?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if free < floor {
        return Err(RecordError::NoSpace { folder: folder.clone(), free, floor });
    }
    Ok(())
}

fn extension(format: Format) -> &'static str {
    match format {
        Format::Wav => "wav",
        Format::Opus => "ogg",
    }
}

/// What people say is nobody else's: the folder is for its owner alone.
fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests;
