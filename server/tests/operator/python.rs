//! The Python programs of `testbed/api`: a receiver of webhooks, and what else outside judges the API.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use crate::support::DEAD;

/// Where these programs are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testbed/api")
}

/// The interpreter with what `requirements.txt` names.
pub(crate) async fn interpreter() -> &'static Path {
    static INTERPRETER: OnceCell<PathBuf> = OnceCell::const_new();
    let made = INTERPRETER.get_or_init(|| async {
        let setup = Command::new(folder().join("setup.sh")).output().await.unwrap();
        assert!(setup.status.success(), "setup.sh: {}", String::from_utf8_lossy(&setup.stderr));
        String::from_utf8(setup.stdout).unwrap().trim().into()
    });
    made.await
}

/// A running `receiver.py`; it ends with the test.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// Killed when this is dropped.
    _child: Child,
    pub(crate) port: u16,
    http: reqwest::Client,
}

impl Receiver {
    /// At this port, or at a free one (0).
    pub(crate) async fn start(port: u16) -> Self {
        let mut child = Command::new(interpreter().await)
            .arg(folder().join("receiver.py"))
            .args(["--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(DEAD, lines.next_line()).await.expect("a port").unwrap();
        let port = line.expect("the receiver listens").parse().unwrap();
        Self { _child: child, port, http: reqwest::Client::new() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What signatures of a path are checked with.
    pub(crate) async fn expect(&self, path: &str, secret: &str) {
        let told = self.http.put(self.url("/secrets")).json(&json!({ path: secret })).send().await.unwrap();
        assert_eq!(told.status(), 204);
    }

    /// Every POST that came to a path, in order, once it is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let looked = async {
            loop {
                let all: Vec<Value> =
                    self.http.get(self.url("/seen")).send().await.unwrap().json().await.unwrap();
                let here: Vec<Value> = all.into_iter().filter(|one| one["path"] == path).collect();
                if wanted(&here) {
                    return here;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEAD, looked).await.unwrap_or_else(|_| panic!("{path} got what is wanted"))
    }
}
