//! What makes a thread one that wakes up in time: its core, its priority, its timers.

use std::io;
use std::num::NonZeroU64;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity, set_current_timer_slack};
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

/// How the media threads are scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduling {
    /// `SCHED_FIFO`: a packet that is due goes out before anything that is not real time runs. A thread that has too much to do
    /// is stopped by the kernel after 95 % of each second (`sched_rt_runtime_us`), so that signalling goes on.
    Realtime,
    /// Like every other thread.
    Usual,
    /// Real time was asked for, and the system does not allow it: it takes `CAP_SYS_NICE` or a limit (`RLIMIT_RTPRIO`) of 10.
    Refused,
}

impl Scheduling {
    /// What real time would come to here, tried by a thread of its own.
    pub fn probe() -> io::Result<Scheduling> {
        std::thread::Builder::new()
            .spawn(|| prepare(None, true))?
            .join()
            .map_err(|_| io::Error::other("the thread panicked"))?
    }
}

/// Above usual threads and below those of the kernel, which has its own at 50.
const PRIORITY: u8 = 10;

/// The cores that the process may use.
pub(crate) fn cores() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect())
}

/// Prepares the calling thread.
pub(crate) fn prepare(core: Option<usize>, realtime: bool) -> io::Result<Scheduling> {
    if let Some(core) = core {
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(None, &cores)?;
    }
    // By default the kernel may fire timers 50 us late to save wake-ups; a twentieth of a slot is too much.
    set_current_timer_slack(NonZeroU64::new(1))?;
    if !realtime {
        return Ok(Scheduling::Usual);
    }
    let priority = ThreadPriorityValue::try_from(PRIORITY).map_err(io::Error::other)?;
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let set =
        set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(priority), policy);
    Ok(if set.is_ok() { Scheduling::Realtime } else { Scheduling::Refused })
}
