//! What a process has used, from `/proc`, and the machine it runs on.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::time::ClockId;
use nix::unistd::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A process's use of the machine so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Resident memory.
    pub(crate) resident_kib: u64,
}

/// Reads what the process `pid` has used so far, in nanoseconds, its ended threads included: `/proc/PID/stat` counts in
/// ticks of 10 ms, and the `schedstat` of its threads forgets those that have ended.
pub(crate) fn usage(pid: u32) -> anyhow::Result<Usage> {
    let clock =
        ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid)?)).context("the process is gone")?;
    let cpu = Duration::from(clock.now()?);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident_kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|line| line.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .context("VmRSS")?;
    Ok(Usage { cpu, resident_kib })
}

/// What the machine has lost so far, whoever was to blame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    /// Time that the host gave to other machines, of all cores together.
    pub(crate) stolen: Duration,
    /// Datagrams for which a socket's buffer had no room, of all processes.
    pub(crate) datagrams: u64,
}

impl Losses {
    /// Since the machine started.
    pub(crate) fn so_far() -> anyhow::Result<Losses> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        // The ninth word of the first line, in the fixed hundredths of a second of this interface.
        let stolen = stat.split_whitespace().nth(8).and_then(|ticks| ticks.parse::<u64>().ok());
        let stolen = Duration::from_millis(stolen.context("/proc/stat has no steal time")? * 10);
        let snmp = std::fs::read_to_string("/proc/net/snmp")?;
        let mut udp = snmp.lines().filter(|line| line.starts_with("Udp: "));
        let (names, values) = (udp.next().unwrap_or_default(), udp.next().unwrap_or_default());
        let datagrams = names
            .split_whitespace()
            .zip(values.split_whitespace())
            .filter(|(name, _)| matches!(*name, "RcvbufErrors" | "SndbufErrors"))
            .map(|(_, count)| count.parse::<u64>().context("/proc/net/snmp"))
            .sum::<anyhow::Result<u64>>()?;
        Ok(Losses { stolen, datagrams })
    }

    pub(crate) fn since(self, before: Losses) -> Losses {
        Losses { stolen: self.stolen - before.stolen, datagrams: self.datagrams - before.datagrams }
    }
}

/// The cores that this process may run on.
pub(crate) fn cores() -> anyhow::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Keeps the calling thread on one core.
pub(crate) fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("core {core}"))
}

/// Takes as many files as the system lets this process have.
pub(crate) fn raise_file_limit() -> anyhow::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("the limit on open files")
}

/// A loop of the lowest priority (`SCHED_IDLE`) on each core: no core halts or slows its clock between two packets,
/// which makes quiet machines dearer than busy ones. It gives way to everything else.
#[derive(Debug)]
pub(crate) struct Spinners(Vec<Child>);

impl Spinners {
    pub(crate) fn start(cores: &[usize]) -> anyhow::Result<Spinners> {
        let spin = |core: &usize| {
            Command::new("chrt")
                .args(["--idle", "0", "taskset", "--cpu-list", &core.to_string()])
                .args(["sh", "-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .spawn()
                .context("chrt and taskset (package util-linux)")
        };
        cores.iter().map(spin).collect::<anyhow::Result<_>>().map(Spinners)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It cannot have ended by itself, and if it has there is nothing left to do.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a figure depends on and a reader must know, as a list of markdown.
pub(crate) fn conditions(cores: &[usize], spinning: bool) -> anyhow::Result<String> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| path.to_owned());
    let cpuinfo = read("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let load = read("/proc/loadavg")?;
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let date = Command::new("date").args(["--utc", "+%Y-%m-%d %H:%M UTC"]).output().context("date")?;
    Ok(format!(
        "- {} cores: {}\n- Linux {}, loopback\n- {}, load average at the start: {load}\n- build: {}; clocks kept up by idle \
         loops: {}\n",
        cores.len(),
        model.trim_start_matches([':', '\t', ' ']),
        kernel.trim(),
        String::from_utf8_lossy(&date.stdout).trim(),
        if cfg!(debug_assertions) { "debug (figures mean nothing)" } else { "release" },
        if spinning { "yes" } else { "no" },
    ))
}
