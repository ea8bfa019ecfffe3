//! A writer thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use media_core::record::{Full, Recorder, Recording};

use super::file::Part;
use super::tape::Reel;
use super::{Over, RecordConfig, RecordError, RecordSink, Recorded, Recorders, check_free};

/// How often rings are read: seldom enough to cost nothing, often enough that the end of a call does not wait for it.
const TURN: Duration = Duration::from_millis(50);

/// How long what is recorded may stay in memory: what a killed process loses.
const FLUSH: Duration = Duration::from_secs(1);

/// How often the file system is asked for its room: the largest format writes a third of a megabyte a second at most.
const LOOK: Duration = Duration::from_secs(1);

/// Whatever its age, this much is written: a third of a second of the largest format.
const MUCH: usize = 64 * 1024;

/// Packet times of one recording in one turn: a full ring. The others wait for less than that takes, a few milliseconds.
const MOST: usize = 200;

pub(super) struct Writer {
    config: RecordConfig,
    orders: Receiver<Job>,
    sink: RecordSink,
    load: Arc<AtomicUsize>,
    jobs: Vec<Job>,
    /// When the file system is asked for its room again.
    look_at: Instant,
    /// What is over and the sink had no room for; bounded by the recordings there may be.
    untold: Vec<Arc<Recorded>>,
}

/// One recording.
pub(super) struct Job {
    id: Arc<str>,
    recording: Recording,
    reel: Reel,
    recorder: Recorder,
    stage: Stage,
}

enum Stage {
    /// Its file is not made yet.
    New,
    Writing {
        part: Part,
        /// When the file is due to be written to.
        due: Instant,
    },
}

impl Job {
    pub(super) fn new(id: Arc<str>, recording: Recording, reel: Reel) -> Self {
        Self { id, recording, reel, recorder: Recorder::new(recording), stage: Stage::New }
    }
}

impl Writer {
    pub(super) fn new(
        config: RecordConfig,
        orders: Receiver<Job>,
        sink: RecordSink,
        load: Arc<AtomicUsize>,
    ) -> Self {
        Self { config, orders, sink, load, jobs: Vec::new(), look_at: Instant::now(), untold: Vec::new() }
    }

    /// Runs until nobody can give it orders any more and every file is whole.
    pub(super) fn run(mut self) {
        let mut is_last = false;
        while !is_last {
            is_last = !self.wait();
            let now = Instant::now();
            let scarce = self.is_scarce(now);
            let mut at = 0;
            while let Some(job) = self.jobs.get_mut(at) {
                // A panic ends the one recording; its file is finished at the next start.
                let config = &self.config;
                let turn = catch_unwind(AssertUnwindSafe(|| job.turn(now, config, is_last, scarce)));
                let panicked =
                    |_| Some((Over::Failed(io::Error::other("the writer panicked")), Facts::default()));
                match turn.unwrap_or_else(panicked) {
                    None => at += 1,
                    Some((over, file)) => {
                        let job = self.jobs.swap_remove(at);
                        self.load.fetch_sub(1, Ordering::Relaxed);
                        self.untold.push(Arc::new(job.recorded(over, file)));
                    }
                }
            }
            self.untold.retain(|recorded| !(self.sink)(recorded));
        }
    }

    /// Whether the disk has so little room left that what is written on it by others would not fit soon.
    fn is_scarce(&mut self, now: Instant) -> bool {
        if self.jobs.is_empty() || now < self.look_at {
            return false;
        }
        self.look_at = now + LOOK;
        // What cannot be asked is found out by writing.
        matches!(check_free(&self.config, self.config.min_free / 2), Err(RecordError::NoSpace { .. }))
    }

    /// Waits for an order or the next turn; `false` when there will be no more orders.
    fn wait(&mut self) -> bool {
        let first = if self.jobs.is_empty() && self.untold.is_empty() {
            self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            self.orders.recv_timeout(TURN)
        };
        match first {
            Ok(job) => self.jobs.push(job),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        loop {
            match self.orders.try_recv() {
                Ok(job) => self.jobs.push(job),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }
}

/// What there is of a file in the end: octets, samples a second, length in time.
type Facts = (u64, u32, Duration);

impl Job {
    /// Reads its ring and writes its file, if that is due; when it is over, why, and the file. `scarce`: it is over now, for
    /// the disk is needed for other things.
    fn turn(
        &mut self,
        now: Instant,
        config: &RecordConfig,
        is_last: bool,
        scarce: bool,
    ) -> Option<(Over, Facts)> {
        if let Stage::New = self.stage {
            match self.begin(config) {
                Ok(part) => self.stage = Stage::Writing { part, due: now + FLUSH },
                Err(over) => return Some((over, Facts::default())),
            }
        }
        // Before the ring is read, so that nothing is in it afterwards.
        let is_closed = self.reel.is_closed() || is_last;
        let mut full = None;
        let mut taken = 0;
        while full.is_none() && (is_closed || taken < MOST) {
            let Some((gap, moment)) = self.reel.next() else { break };
            full = self.recorder.record(gap, &moment);
            taken += 1;
        }
        let over = match full {
            Some(Full::MaxLength) => Some(Over::MaxLength),
            Some(Full::Silence) => Some(Over::Silence),
            None if is_closed => Some(Over::Stopped),
            None => scarce.then(|| no_space(config)),
        };
        let Stage::Writing { part, due } = &mut self.stage else { return None };
        if over.is_none() && now < *due && self.recorder.output().len() < MUCH {
            return None;
        }
        if over.is_some() {
            self.recorder.finish();
        } else {
            self.recorder.flush();
        }
        *due = now + FLUSH;
        let header = self.recorder.header();
        let output = self.recorder.output();
        let written = part.write(output, header.as_ref().map(|header| &header[..]));
        output.clear();
        match (written, over) {
            (Err(error), _) => Some(self.fail(error, config)),
            (Ok(()), Some(over)) => Some(self.finish(over, config)),
            (Ok(()), None) => None,
        }
    }

    fn begin(&self, config: &RecordConfig) -> Result<Part, Over> {
        Recorders::check_space(config).map_err(|error| match error {
            RecordError::Folder { source, .. } => Over::Failed(source),
            error @ (RecordError::NoSpace { .. } | RecordError::Busy) => Over::NoSpace(error),
        })?;
        let made = Part::create(&config.folder, &self.id, self.recording.format);
        made.map_err(|error| failure(error, config))
    }

    fn finish(&mut self, over: Over, config: &RecordConfig) -> (Over, Facts) {
        let Stage::Writing { part, .. } = std::mem::replace(&mut self.stage, Stage::New) else {
            return (over, Facts::default());
        };
        let facts = |size| (size, self.recorder.rate().unwrap_or_default(), self.recorder.duration());
        match part.finish() {
            Ok(size) => (over, facts(size)),
            Err(error) => (failure(error, config), Facts::default()),
        }
    }

    fn fail(&mut self, error: io::Error, config: &RecordConfig) -> (Over, Facts) {
        let over = failure(error, config);
        let Stage::Writing { part, .. } = std::mem::replace(&mut self.stage, Stage::New) else {
            return (over, Facts::default());
        };
        match part.rescue(self.recording.format) {
            Ok(mended) => {
                let facts = mended.map(|mended| (mended.len, mended.rate, mended.duration));
                (over, facts.unwrap_or_default())
            }
            // It stays as it is, and is tried again at the next start.
            Err(_) => (over, Facts::default()),
        }
    }

    fn recorded(self, over: Over, (size, rate, duration): Facts) -> Recorded {
        Recorded { id: self.id, over, duration, dropped: self.reel.dropped(), size, rate }
    }
}

fn failure(error: io::Error, config: &RecordConfig) -> Over {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return no_space(config);
    }
    Over::Failed(error)
}

/// The disk is full, or as good as full, as it is told.
fn no_space(config: &RecordConfig) -> Over {
    let free = match check_free(config, u64::MAX) {
        Err(RecordError::NoSpace { free, .. }) => free,
        Ok(()) | Err(RecordError::Folder { .. } | RecordError::Busy) => 0,
    };
    Over::NoSpace(RecordError::NoSpace { folder: config.folder.clone(), free, floor: config.min_free })
}
