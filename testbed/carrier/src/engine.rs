//! Runs `carillon serve` as tests and demonstrations need it: on free ports, in a folder of its own, until told.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use control_api_client::Client;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::process::{self, Error};

/// The bootstrap token.
const TOKEN: &str = "secret-of-a-test";

/// RTP ports of one engine, two for each call.
const PORTS: u16 = 400;

/// How long it may take to start and to stop.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often it is asked whether it is ready.
const ASK: Duration = Duration::from_millis(20);

/// A running `carillon serve`; killed when dropped, and its folder removed unless a test has failed.
#[derive(Debug)]
pub struct Engine {
    child: Child,
    client: Client,
    sip: SocketAddr,
    secure: Option<Secure>,
    folder: PathBuf,
}

/// Where an engine takes SIP over TLS.
#[derive(Debug, Clone, Copy)]
pub struct Secure {
    /// TLS.
    pub tls: SocketAddr,
    /// Secure WebSocket.
    pub wss: SocketAddr,
}

impl Engine {
    /// Starts it with the trunks and routes (and whatever else) of `config`, and waits until it takes calls.
    ///
    /// `config` is TOML and must not have the sections `api`, `sip`, `media`, `limits` and `storage`.
    pub async fn start(config: &str) -> Result<Self, Error> {
        Self::start_at(config, None).await
    }

    /// The same with listeners over TLS and secure WebSocket, which show this certificate; both are paths of PEM files. It
    /// believes every server.
    pub async fn start_secure(config: &str, certificate: &Path, key: &Path) -> Result<Self, Error> {
        let secure = Secure { tls: process::free_addr()?, wss: process::free_addr()? };
        Self::start_at(config, Some((secure, certificate, key))).await
    }

    async fn start_at(config: &str, secure: Option<(Secure, &Path, &Path)>) -> Result<Self, Error> {
        let folder = process::run_folder("engine")?;
        let (api, sip) = (process::free_addr()?, process::free_addr()?);
        let mut listen = format!(r#"listen = ["udp:{sip}", "tcp:{sip}"]"#);
        if let Some((Secure { tls, wss }, certificate, key)) = secure {
            let (certificate, key) = (certificate.display(), key.display());
            listen = format!(
                r#"listen = ["udp:{sip}", "tcp:{sip}", "tls:{tls}", "wss:{wss}"],
                tls = {{ cert = "{certificate}", key = "{key}", verify = false }}"#
            );
        }
        let (first, last) = media_ports();
        let text = format!(
            r#"
            api = {{ listen = "{api}" }}
            sip = {{ {listen} }}
            media = {{ ip = "127.0.0.1", port_range = [{first}, {last}], shards = 1 }}
            limits = {{ drain_timeout_s = 5 }}
            storage = {{ database_url = "sqlite://{db}", media_dir = "{media}" }}
            {config}
            "#,
            db = folder.join("carillon.db").display(),
            media = folder.join("media").display(),
        );
        std::fs::write(folder.join("carillon.toml"), text)?;
        Self::open(folder, api, sip, secure.map(|(secure, ..)| secure)).await
    }

    /// Where it takes SIP, over UDP and TCP.
    pub fn sip_addr(&self) -> SocketAddr {
        self.sip
    }

    /// Where it takes SIP over TLS, if it was started so.
    pub fn secure(&self) -> Option<Secure> {
        self.secure
    }

    /// A client of its API with every scope.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its process.
    ///
    /// # Panics
    /// When it has ended.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the engine has ended")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("engine.log")).unwrap_or_default()
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(mut self) -> Result<ExitStatus, Error> {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id as i32)) {
            kill_process(pid, Signal::TERM).map_err(std::io::Error::from)?;
        }
        process::ended(&mut self.child, "carillon", DEADLINE).await
    }

    async fn open(
        folder: PathBuf,
        api: SocketAddr,
        sip: SocketAddr,
        secure: Option<Secure>,
    ) -> Result<Self, Error> {
        let program = program()?;
        let log = std::fs::File::options().create(true).append(true).open(folder.join("engine.log"))?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--config", "carillon.toml"])
            .env("CARILLON_ADMIN_TOKEN", TOKEN)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let client = Client::new(&format!("http://{api}"), TOKEN).map_err(Box::new)?;
        let ready = async {
            loop {
                if let Some(status) = child.try_wait()? {
                    let log = std::fs::read_to_string(folder.join("engine.log")).unwrap_or_default();
                    return Err(Error::EngineEnded { status, log });
                }
                // It refuses connections until it listens.
                if client.ready().await.is_ok_and(|readiness| readiness.ready) {
                    return Ok(());
                }
                tokio::time::sleep(ASK).await;
            }
        };
        tokio::time::timeout(DEADLINE, ready)
            .await
            .unwrap_or(Err(Error::Late { program: "carillon", deadline: DEADLINE }))?;
        Ok(Self { child, client, sip, secure, folder })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Nothing is left to tell anybody; what cannot be removed stays among the temporary files.
            _ = self.child.start_kill();
            _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// `CARILLON_BIN`, or the `carillon` that cargo built beside this program.
fn program() -> Result<PathBuf, Error> {
    let path = match std::env::var_os("CARILLON_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            // target/<profile>/deps/<test> or target/<profile>/<program>
            let here = std::env::current_exe()?;
            let folder = here.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
            folder.unwrap_or(Path::new(".")).join("carillon")
        }
    };
    if path.is_file() { Ok(path) } else { Err(Error::NoEngine(path)) }
}

/// First and last port: below the ephemeral ones, others for each engine of this process and likely others for each
/// process. An engine passes over ports that are taken.
fn media_ports() -> (u16, u16) {
    static ENGINES: AtomicU16 = AtomicU16::new(0);
    const BLOCKS: u32 = 55; // 10,000 to 31,999
    let block =
        std::process::id().wrapping_mul(7).wrapping_add(u32::from(ENGINES.fetch_add(1, Ordering::Relaxed)));
    let first = 10_000 + (block % BLOCKS) as u16 * PORTS;
    (first, first + PORTS - 1)
}
