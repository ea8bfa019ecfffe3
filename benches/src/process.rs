//! What a process has used, from `/proc`.

use std::time::Duration;

use anyhow::Context;

/// A process's use of the machine so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// Resident memory in KiB.
    pub resident_kib: u64,
}

/// Reads what the process `pid` has used so far.
pub fn usage(pid: u32) -> anyhow::Result<Usage> {
    let mut cpu = Duration::ZERO;
    // `schedstat` counts in nanoseconds where `stat` counts in ticks of 10 ms.
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).context("the process is gone")? {
        let path = thread?.path().join("schedstat");
        // A thread may end between the listing and here.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let ns = text.split_whitespace().next().and_then(|ns| ns.parse().ok()).context("schedstat")?;
        cpu += Duration::from_nanos(ns);
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident_kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|line| line.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .context("VmRSS")?;
    Ok(Usage { cpu, resident_kib })
}
