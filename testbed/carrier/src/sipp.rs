//! Runs SIPp (Debian `sip-tester`) with the scenarios of `testbed/sipp`. Exit 0 of SIPp is a pass.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::process::{self, Error};

/// One run of a scenario that is to be started.
#[derive(Debug, Clone)]
pub struct Scenario {
    name: String,
    arguments: Vec<String>,
    calls: u32,
    deadline: Duration,
    remote: Option<SocketAddr>,
    tcp: bool,
}

impl Scenario {
    /// The scenario `testbed/sipp/<name>.xml`, such as `callee/busy`, for one call, within 30 seconds.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            arguments: Vec::new(),
            calls: 1,
            deadline: Duration::from_secs(30),
            remote: None,
            tcp: false,
        }
    }

    /// Ends after so many calls.
    #[must_use]
    pub fn calls(self, calls: u32) -> Self {
        Self { calls, ..self }
    }

    /// Fails when it has not ended by then.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Calls this address instead of waiting to be called.
    #[must_use]
    pub fn towards(self, remote: SocketAddr) -> Self {
        Self { remote: Some(remote), ..self }
    }

    /// Over TCP, with one connection for all calls.
    #[must_use]
    pub fn tcp(self) -> Self {
        Self { tcp: true, ..self.argument("-t").argument("t1") }
    }

    /// A keyword of the scenario, `[name]`.
    #[must_use]
    pub fn key(self, name: &str, value: &str) -> Self {
        self.argument("-key").argument(name).argument(value)
    }

    /// A further argument of SIPp.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts SIPp on free ports of 127.0.0.1 and waits until it listens.
    pub async fn start(self) -> Result<Sipp, Error> {
        let scenario = folder().join(format!("{}.xml", self.name));
        let run = process::run_folder("sipp")?;
        let addr = process::free_addr()?;
        let media = free_media_port()?;
        let mut command = Command::new("sipp");
        command
            .args(self.remote.map(|remote| remote.to_string()))
            .arg("-sf")
            .arg(&scenario)
            .args([
                "-i",
                "127.0.0.1",
                "-mi",
                "127.0.0.1",
                "-nostdin",
                "-trace_err",
                "-error_file",
                "errors.log",
            ])
            .args(["-p", &addr.port().to_string(), "-mp", &media.to_string(), "-m", &self.calls.to_string()])
            .args(["-timeout", &self.deadline.as_secs().to_string(), "-timeout_error"])
            .args(&self.arguments)
            .current_dir(&run)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let child = process::spawn(&mut command, "sipp", "sip-tester")?;
        let mut sipp = Sipp { name: self.name, child, addr, run, deadline: self.deadline };
        if self.remote.is_none() {
            match self.tcp {
                true => process::until_listening(&mut sipp.child, "sipp", addr).await?,
                false => process::until_bound(&mut sipp.child, "sipp", addr).await?,
            }
        }
        Ok(sipp)
    }
}

/// A running SIPp; killed when dropped.
#[derive(Debug)]
pub struct Sipp {
    name: String,
    child: Child,
    addr: SocketAddr,
    run: PathBuf,
    deadline: Duration,
}

impl Sipp {
    /// Where it takes SIP.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for its end, and says what it had to complain of when it did not pass.
    pub async fn passed(mut self) -> Result<(), Error> {
        // SIPp ends itself at its deadline; what is beyond that hangs.
        let status = process::ended(&mut self.child, "sipp", self.deadline + Duration::from_secs(10)).await?;
        if status.success() {
            std::fs::remove_dir_all(&self.run)?;
            return Ok(());
        }
        let complaints = std::fs::read_to_string(self.run.join("errors.log")).unwrap_or_default();
        Err(Error::Scenario { name: self.name, status, complaints })
    }
}

/// The folder of the scenarios.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sipp")
}

/// SIPp takes RTP here, and video two ports higher whether there is any or not: both from a range that is neither the
/// engines' nor the kernel's for ports of its own choice, so that nobody takes one before SIPp does.
fn free_media_port() -> Result<u16, Error> {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 32_000;
    const PAIRS: u32 = 190; // to 32,759; the kernel's begin at 32,768
    let bind = |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
    for _ in 0..PAIRS {
        let taken = u32::from(TAKEN.fetch_add(1, Ordering::Relaxed));
        // Processes begin at different places.
        let pair = (std::process::id().wrapping_mul(7).wrapping_add(taken) % PAIRS) as u16;
        let port = FIRST + pair * 4;
        if bind(port).is_ok() && bind(port + 2).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Io(std::io::ErrorKind::AddrInUse.into()))
}
