//! The engine under test: `carillon serve` in a folder of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use control_api_client::Client;
use control_api_types::flow::Flow;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::{Child, Command};

use crate::process::{Usage, usage};
use crate::prompt;

const TOKEN: &str = "secret-of-a-bench";

/// How long it may take to start and to stop.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often it is asked whether it is ready.
const ASK: Duration = Duration::from_millis(20);

/// Where its legs are: a loopback address that nobody else uses, so that every port is free.
const MEDIA_IP: Ipv4Addr = Ipv4Addr::new(127, 0, 77, 1);

/// Plays for ever, listening for keys.
pub(crate) const LISTENS: &str = "listens";
/// Waits until it is bridged.
pub(crate) const WAITS: &str = "waits";
/// Stays for 100 ms and hangs up.
pub(crate) const PASSES: &str = "passes";
/// Hangs up after the first key.
pub(crate) const ONE_KEY: &str = "one-key";

/// A running engine; killed when dropped.
#[derive(Debug)]
pub(crate) struct Engine {
    child: Child,
    pid: u32,
    client: Client,
    folder: PathBuf,
}

impl Engine {
    /// Starts `program` with one trunk to `carrier`, and gives it its prompt and flows.
    pub(crate) async fn start(program: &Path, carrier: SocketAddr, wav: &[u8]) -> anyhow::Result<Engine> {
        let folder = std::env::temp_dir().join(format!("carillon-bench-{}", std::process::id()));
        // What a killed bench of the same id has left.
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        // The kernel gives each caller another port in turn: both are free a moment later too.
        let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let sip = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let config = format!(
            r#"
            api = {{ listen = "{api}", rate_limit = 100000 }}
            sip = {{ listen = ["udp:{sip}"] }}
            media = {{ ip = "{MEDIA_IP}", port_range = [10000, 32767] }}
            limits = {{ max_calls = 11000, max_cps = 5000, drain_timeout_s = 1 }}
            storage = {{ database_url = "sqlite://carillon.db", media_dir = "media" }}
            [[trunks]]
            name = "peer"
            uri = "sip:{carrier}"
            codecs = ["PCMA"]
            caller_ids = ["+622150009999"]
            "#
        );
        std::fs::write(folder.join("carillon.toml"), config)?;
        let log = std::fs::File::create(folder.join("engine.log"))?;
        let mut child = Command::new(std::path::absolute(program)?)
            .args(["serve", "--config", "carillon.toml"])
            .env("CARILLON_ADMIN_TOKEN", TOKEN)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{}", program.display()))?;
        let client = Client::new(&format!("http://{api}"), TOKEN)?;
        tokio::time::timeout(DEADLINE, until_ready(&mut child, &client, &folder))
            .await
            .context("the engine does not get ready")??;
        let pid = child.id().context("the engine has ended")?;
        let engine = Engine { child, pid, client, folder };
        engine.client.upload_prompt(prompt::NAME, wav.to_vec()).await?;
        for (name, flow) in flows() {
            let flow = Flow::from_json(&flow).map_err(|faults| anyhow::anyhow!("flow {name}: {faults:?}"))?;
            engine.client.put_flow(name, &flow).await?;
        }
        Ok(engine)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        usage(self.pid)
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid)?).context("a process id")?;
        kill_process(pid, Signal::TERM)?;
        let status =
            tokio::time::timeout(DEADLINE, self.child.wait()).await.context("the engine does not stop")??;
        anyhow::ensure!(status.success(), "the engine ended with {status}; see {}", self.folder.display());
        std::fs::remove_dir_all(&self.folder)?;
        Ok(())
    }
}

async fn until_ready(child: &mut Child, client: &Client, folder: &Path) -> anyhow::Result<()> {
    loop {
        if let Some(status) = child.try_wait()? {
            let log = std::fs::read_to_string(folder.join("engine.log")).unwrap_or_default();
            anyhow::bail!("the engine ended with {status}; its log:\n{log}");
        }
        // It refuses connections until it listens.
        if client.ready().await.is_ok_and(|readiness| readiness.ready) {
            return Ok(());
        }
        tokio::time::sleep(ASK).await;
    }
}

fn flows() -> [(&'static str, serde_json::Value); 4] {
    [
        (WAITS, json!({"start": "wait", "steps": {"wait": {"verb": "park"}}})),
        (
            LISTENS,
            json!({"start": "listen", "steps": {"listen":
                {"verb": "gather", "play": {"prompt": prompt::NAME, "loop": 0}, "max": 32, "barge_in": false}}}),
        ),
        (
            PASSES,
            json!({"start": "stay", "steps": {
                "stay": {"verb": "pause", "ms": 100, "next": "bye"}, "bye": {"verb": "hangup"}}}),
        ),
        (
            ONE_KEY,
            json!({"start": "listen", "steps": {"listen":
                {"verb": "gather", "max": 1, "on": {"1": "bye"}},
                "bye": {"verb": "hangup"}}}),
        ),
    ]
}
