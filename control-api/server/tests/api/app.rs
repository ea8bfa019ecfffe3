//! An engine with its API, started for one test.

use control_api_client::Client;
use control_api_server::{ApiConfig, Rate, Reloads, Tokens, add_token, serve};
use control_api_types::{Limits, Scopes};
use engine_core::{Route, RouteAction, RouteMatch};
use engine_runtime::{Config, Engine};
use media_io::MediaConfig;
use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;
use sip_io::ListenAddr;
use std::{
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    time::Duration,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// Longer than anything here takes; reached only when something is dead.
pub(crate) const DEAD: Duration = Duration::from_secs(60);
/// The bootstrap token.
pub(crate) const SECRET: &str = "the-first-secret";

/// A folder that goes with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let path = std::env::temp_dir().join(format!("carillon-api-{:016x}", u64::from_le_bytes(random)));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct TestApp {
    pub(crate) base: String,
    pub(crate) sip: SocketAddr,
    pub(crate) folder: Folder,
    engine: Engine,
    http: reqwest::Client,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// Checks that this is a problem of this kind, and gives its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!((self.status.as_u16(), &self.body["code"]), (status, &code.into()), "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        self.body["detail"].as_str().unwrap().to_owned()
    }

    /// The pointers of its faults.
    pub(crate) fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map_or(&[][..], Vec::as_slice);
        errors.iter().map(|fault| fault["pointer"].as_str().unwrap()).collect()
    }

    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> &Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        &self.body
    }
}

/// Settings that a test may change.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) rate: Rate,
    pub(crate) metrics_open: bool,
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings::default(), Folder::new()).await
    }

    /// Starts on what an earlier one left in its folder.
    pub(crate) async fn start_with(settings: Settings, folder: Folder) -> Self {
        let sip = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let engine = Engine::start(config(&folder, sip)).await.unwrap();
        let tokens = Tokens::open(Some(folder.0.join("tokens.toml")), Some(SECRET), settings.rate).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        // Nobody answers: the file is the program's business.
        let (reloads, _) = Reloads::channel();
        let config = ApiConfig { tokens, metrics_open: settings.metrics_open, reloads, tls: None };
        let shutdown = async { stopped.await.unwrap_or_default() };
        let server = tokio::spawn(serve(listener, engine.clone(), config, shutdown));
        Self { base, sip, folder, engine, http: reqwest::Client::new(), stop, server }
    }

    /// Stops everything and hands on what is left on disk.
    pub(crate) async fn stop(self) -> Folder {
        let Self { engine, stop, server, folder, .. } = self;
        stop.send(()).unwrap();
        tokio::time::timeout(DEAD, server).await.unwrap().unwrap().unwrap();
        tokio::time::timeout(DEAD, engine.shutdown()).await.unwrap();
        folder
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.base, SECRET).unwrap()
    }

    /// Makes a token with these scopes and waits until it is known.
    pub(crate) async fn token(&self, name: &str, scopes: &str) -> String {
        let secret =
            add_token(&self.folder.0.join("tokens.toml"), name, scopes.parse::<Scopes>().unwrap()).unwrap();
        let known = async {
            while self.send(self.anonymous(Method::GET, "/v1/node").bearer_auth(&secret)).await.status == 401
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEAD, known).await.unwrap();
        secret
    }

    /// A request without a token.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// A request with the bootstrap token.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(SECRET)
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }
}

fn config(folder: &Folder, sip: SocketAddr) -> Config {
    let park = Route { matches: RouteMatch::default(), action: RouteAction::Park };
    Config {
        node: "test".to_owned(),
        sip_listen: vec![ListenAddr::udp(sip)],
        sip_tls: sip_io::ClientTls::default(),
        name_servers: Vec::new(),
        user_agent: "carillon-test".to_owned(),
        media: MediaConfig {
            ip: [127, 0, 0, 1].into(),
            port_range: 20_000..=39_999,
            shards: 1,
            pin: false,
            realtime: false,
            max_legs: 16,
        },
        media_public_ip: None,
        rtp_timeout: Default::default(),
        inbound_max_duration: Duration::from_secs(60),
        limits: Limits { max_calls: 8, max_cps: 100, max_queued: 4, queue_timeout_s: 60, drain_timeout_s: 5 },
        guard: Default::default(),
        trace: Default::default(),
        cdr_retention: Duration::from_secs(3600),
        trunks: Vec::new(),
        routes: vec![park],
        stir: Default::default(),
        http: Default::default(),
        webhooks: Default::default(),
        sounds: Default::default(),
        speech: Default::default(),
        registrar: Default::default(),
        database: folder.0.join("carillon.db"),
        media_dir: folder.0.clone(),
        recordings: Default::default(),
    }
}

/// A second of a 440 Hz tone as a WAV file.
pub(crate) fn wav() -> Vec<u8> {
    let samples = (0..8000_u32).map(|n| (f64::from(n) * 440.0 / 8000.0 * std::f64::consts::TAU).sin());
    let data: Vec<u8> = samples.flat_map(|sample| ((sample * 8000.0) as i16).to_le_bytes()).collect();
    let length = u32::try_from(data.len()).unwrap();
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend([1, 0, 1, 0]);
    file.extend(8000_u32.to_le_bytes());
    file.extend(16_000_u32.to_le_bytes());
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend(length.to_le_bytes());
    file.extend(data);
    file
}
