//! Runs Kamailio (Debian `kamailio`) with the configuration of `testbed/peers`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::process::{self, Error};

/// Whom the proxy stands between; each a URI such as `sip:127.0.0.1:5060;transport=tcp`.
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// Takes the calls of `100` and `200`.
    pub engine: String,
    /// Takes all others.
    pub customer: String,
    /// Takes those of numbers that end in 2, at the same time.
    pub second: String,
}

/// A running Kamailio.
#[derive(Debug)]
pub struct Kamailio {
    child: Child,
    addr: SocketAddr,
    run: PathBuf,
}

impl Kamailio {
    /// The account that it knows: user and password.
    pub const ACCOUNT: (&str, &str) = ("alice", "secret");

    /// Starts the registrar on a free port of 127.0.0.1 and waits until it listens.
    pub async fn start() -> Result<Self, Error> {
        let addr = process::free_addr()?;
        Self::run("kamailio.cfg", addr, &[format!("-ludp:{addr}")]).await
    }

    /// Starts the proxy at an address that is free, over UDP and TCP.
    pub async fn proxy(addr: SocketAddr, neighbours: &Neighbours) -> Result<Self, Error> {
        let Neighbours { engine, customer, second } = neighbours;
        let arguments = [
            format!("-ludp:{addr}"),
            format!("-ltcp:{addr}"),
            format!("-AENGINE=\"{engine}\""),
            format!("-ACUSTOMER=\"{customer}\""),
            format!("-ASECOND=\"{second}\""),
        ];
        let mut proxy = Self::run("proxy.cfg", addr, &arguments).await?;
        process::until_listening(&mut proxy.child, "kamailio", addr).await?;
        Ok(proxy)
    }

    async fn run(config: &str, addr: SocketAddr, arguments: &[String]) -> Result<Self, Error> {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers").join(config);
        let run = process::run_folder("kamailio")?;
        let mut command = Command::new("/usr/sbin/kamailio");
        command
            // In the foreground, logging to stderr, with little memory.
            .args(["-DD", "-E", "-m", "16", "-M", "4", "-f"])
            .arg(config)
            .arg("-Y")
            .arg(&run)
            .arg("-w")
            .arg(&run)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = process::spawn(&mut command, "kamailio", "kamailio")?;
        process::until_bound(&mut child, "kamailio", addr).await?;
        Ok(Self { child, addr, run })
    }

    /// Where it takes SIP.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Kamailio {
    /// SIGTERM lets the first process end the others, which SIGKILL would leave behind.
    fn drop(&mut self) {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id as i32)) {
            // It may have ended by itself; nobody is left to tell then.
            _ = kill_process(pid, Signal::TERM);
        }
        _ = std::fs::remove_dir_all(&self.run);
    }
}
