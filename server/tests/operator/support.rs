//! One `carillon serve` in a folder of its own, and what tests ask of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use carrier::process::free_addr;
use carrier::{Act, Answers, Behaviour, Carrier, CarrierConfig, Subscriber};
use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// Longer than anything here takes; reached only when something is dead.
pub(crate) const DEAD: Duration = Duration::from_secs(60);
/// How often something is looked at that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(10);
/// The bootstrap token.
pub(crate) const SECRET: &str = "secret-of-a-test";
/// The path of the program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_carillon");

/// A folder that goes with the test.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("carillon-operator-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// Names of what is in it.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a finished command told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command line of the program, run in `folder` and free of the test's own environment.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs the program to its end.
pub(crate) async fn run(folder: &Folder, arguments: &[&str], environment: &[(&str, &str)]) -> Told {
    let output = command(folder.path(), arguments).envs(environment.iter().copied()).output();
    let output = tokio::time::timeout(DEAD, output).await.expect("the command ends").unwrap();
    Told {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn ok(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self.body
    }

    /// Checks that this is a whole problem of this kind, and gives its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> &str {
        assert_eq!((self.status.as_u16(), &self.body["code"]), (status, &json!(code)), "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(
            (&self.body["status"], &self.body["type"]),
            (&json!(status), &json!(format!("/docs#{code}")))
        );
        assert!(self.body["title"].is_string() && self.body["retryable"].is_boolean(), "{self:?}");
        self.body["detail"].as_str().unwrap()
    }

    /// Its faults as `pointer detail`.
    pub(crate) fn faults(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let errors = self.body["errors"].as_array().map_or(&[][..], Vec::as_slice);
        errors.iter().map(|fault| format!("{} {}", text(&fault["pointer"]), text(&fault["detail"]))).collect()
    }
}

/// The addresses that one engine has, across its lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) api: SocketAddr,
    pub(crate) sip: SocketAddr,
    pub(crate) media: u16,
}

impl Ports {
    /// Free ones.
    pub(crate) fn free() -> Self {
        /// RTP ports of one engine, two for each call.
        static ENGINES: AtomicU16 = AtomicU16::new(0);
        let block = std::process::id().wrapping_mul(7) + u32::from(ENGINES.fetch_add(1, Ordering::Relaxed));
        Self {
            api: free_addr().unwrap(),
            sip: free_addr().unwrap(),
            // Below the ephemeral ports; an engine passes over those that are taken.
            media: 10_000 + (block % 200) as u16 * 100,
        }
    }

    /// A configuration with these addresses and `rest`.
    pub(crate) fn config(&self, rest: &str) -> String {
        let Self { api, sip, media } = self;
        format!(
            "[api]\nlisten = \"{api}\"\n[sip]\nlisten = [\"udp:{sip}\", \"tcp:{sip}\"]\n\
             [media]\nport_range = [{media}, {}]\nshards = 1\n{rest}",
            media + 99
        )
    }
}

/// A running `carillon serve`; killed when dropped, and its log shown if the test fails.
#[derive(Debug)]
pub(crate) struct Carillon {
    child: Child,
    pub(crate) folder: Folder,
    pub(crate) ports: Ports,
    http: reqwest::Client,
}

impl Carillon {
    /// Starts one with `rest` in its configuration beside the addresses, and waits until it takes calls.
    pub(crate) async fn start(rest: &str) -> Self {
        let (folder, ports) = (Folder::new(), Ports::free());
        folder.write("carillon.toml", &ports.config(rest));
        Self::open(folder, ports).await
    }

    /// Starts one on what an earlier one left in its folder.
    pub(crate) async fn open(folder: Folder, ports: Ports) -> Self {
        Self::open_with(folder, ports, &[]).await
    }

    /// The same with more in its environment.
    pub(crate) async fn open_with(folder: Folder, ports: Ports, environment: &[(&str, &str)]) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
        let child = command(folder.path(), &["serve", "--config", "carillon.toml"])
            .env("CARILLON_ADMIN_TOKEN", SECRET)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut carillon = Self { child, folder, ports, http: reqwest::Client::new() };
        let ready = async {
            // It refuses connections until it listens.
            while !carillon
                .request(Method::GET, "/readyz")
                .send()
                .await
                .is_ok_and(|answer| answer.status() == 200)
            {
                assert_eq!(carillon.child.try_wait().unwrap(), None, "it ended instead of serving");
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(DEAD, ready).await.expect("it is ready");
        carillon
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(SECRET)
    }

    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.ports.api))
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let response = tokio::time::timeout(DEAD, request.send()).await.expect("an answer").unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Looks at `path` until what is there is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let looked = async {
            loop {
                let body = self.get(path).await.ok(200);
                if wanted(&body) {
                    return body;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(DEAD, looked).await.unwrap_or_else(|_| panic!("{path} is as wanted"))
    }

    /// Waits until the call has this status.
    pub(crate) async fn until_call(&self, id: &str, status: &str) -> Value {
        self.until(&format!("/v1/calls/{id}"), |call| call["status"] == status).await
    }

    /// Every CDR there is, once there are so many: a call shows its end a moment before the journal has it.
    pub(crate) async fn cdrs(&self, at_least: usize) -> Vec<Value> {
        items(self.until("/v1/cdrs", |page| page["items"].as_array().unwrap().len() >= at_least).await)
    }

    /// Uploads a second of a tone.
    pub(crate) async fn upload_tone(&self, name: &str) -> Value {
        self.send(self.upload(name, tone())).await.ok(201)
    }

    pub(crate) fn upload(&self, name: &str, file: Vec<u8>) -> RequestBuilder {
        let part = reqwest::multipart::Part::bytes(file).file_name(format!("{name}.mp3"));
        let form = reqwest::multipart::Form::new().text("name", name.to_owned()).part("file", part);
        self.request(Method::POST, "/v1/prompts").multipart(form)
    }

    /// Nothing is left of anything refused, and nothing panicked.
    pub(crate) async fn check_untouched(&self) {
        for path in ["/v1/calls", "/v1/cdrs", "/v1/prompts", "/v1/flows"] {
            assert_eq!(items(self.get(path).await.ok(200)), [] as [Value; 0], "{path}");
        }
        self.check_no_panic().await;
    }

    pub(crate) async fn check_no_panic(&self) {
        let metrics = self.get("/metrics").await.ok(200);
        assert!(metrics.as_str().unwrap().contains("\ncarillon_panics_total 0\n"), "{metrics}");
        let log = self.folder.read("log");
        assert!(!log.contains("panicked"), "{log}");
    }

    /// The memory that it takes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id().unwrap())).unwrap();
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size() as u64
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGHUP.
    pub(crate) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Waits until its log has this.
    pub(crate) async fn logged(&self, text: &str) {
        let logged = async {
            while !self.folder.read("log").contains(text) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEAD, logged).await.unwrap_or_else(|_| panic!("{text:?} is not in the log"));
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().unwrap() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// How it ended by itself.
    pub(crate) async fn ended(mut self) -> (ExitStatus, Folder, Ports) {
        let status = tokio::time::timeout(DEAD, self.child.wait()).await.expect("it ends").unwrap();
        (status, self.take_folder(), self.ports)
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) -> (Folder, Ports) {
        self.child.kill().await.unwrap();
        (self.take_folder(), self.ports)
    }

    fn take_folder(&mut self) -> Folder {
        std::mem::replace(&mut self.folder, Folder(PathBuf::new()))
    }
}

impl Drop for Carillon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("--- log of carillon\n{log}---");
        }
    }
}

pub(crate) fn items(page: Value) -> Vec<Value> {
    page["items"].as_array().unwrap().clone()
}

/// One of the 127/8 addresses of this machine that no other test process has.
pub(crate) fn address(host: u8) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    // 127.0 is what everybody uses.
    Ipv4Addr::new(127, high.max(1), low, host)
}

/// A carrier whose customers answer and stay until the caller hangs up; those whose number ends with 7 hang up when
/// they have heard half a second of sound; those with 9 never answer.
pub(crate) async fn carrier() -> (Carrier, String) {
    let answers =
        |then: &[Act]| Behaviour::Answers(Answers { ring_ms: 20, then: then.to_vec(), ..Answers::default() });
    let customers = [
        ("*7", answers(&[Act::HearMs(500), Act::HangUp])),
        ("*9", Behaviour::NeverAnswers),
        ("*", answers(&[])),
    ];
    let subscriber = |(number, does): (&str, Behaviour)| Subscriber::new(number, does);
    let config = CarrierConfig { customers: customers.map(subscriber).to_vec(), ..CarrierConfig::default() };
    let carrier = Carrier::start(config).await.unwrap();
    let trunk =
        format!("[[trunks]]\nname = \"t\"\nuri = \"sip:{}\"\ncaller_ids = [\"+6221\"]\n", carrier.addr());
    (carrier, trunk)
}

/// A second of 400 Hz as a WAV file.
pub(crate) fn tone() -> Vec<u8> {
    let samples = (0..8000).map(|n| ((n as f32 / 20.0 * std::f32::consts::TAU).sin() * 8000.0) as i16);
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    let mut file = Vec::new();
    for part in [
        &b"RIFF"[..],
        &length(36 + data.len()),
        b"WAVEfmt ",
        &length(16),
        // PCM, one channel, 8,000 samples and 16,000 bytes a second, 2 bytes and 16 bits a sample.
        &[1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0],
        b"data",
        &length(data.len()),
        &data,
    ] {
        file.extend_from_slice(part);
    }
    file
}

/// Server-sent events as they come.
#[derive(Debug)]
pub(crate) struct Stream {
    response: reqwest::Response,
    buffer: String,
}

impl Stream {
    pub(crate) async fn open(request: RequestBuilder) -> Self {
        let response = request.header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: String::new() }
    }

    /// The next event's data, whose cursor and type are checked against the lines beside it; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((message, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| {
                    message
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                        .map(str::to_owned)
                };
                let (id, kind, data) = (field("id"), field("event"), field("data"));
                self.buffer = rest.to_owned();
                if let Some(data) = data {
                    let event: Value = serde_json::from_str(&data).unwrap();
                    assert_eq!(
                        (event["cursor"].as_str(), event["type"].as_str()),
                        (id.as_deref(), kind.as_deref())
                    );
                    return Some(event);
                }
                continue;
            }
            let chunk =
                tokio::time::timeout(DEAD, self.response.chunk()).await.expect("an event").unwrap()?;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Reads on up to the event that is wanted.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if event["type"] == kind {
                return event;
            }
        }
    }
}
