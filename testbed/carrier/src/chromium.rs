//! Runs Chromium (Debian `chromium`) without a window, with a file in place of a microphone, in a profile of its own.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::process::{self, Error};

/// A running Chromium; killed when dropped.
#[derive(Debug)]
pub struct Chromium {
    child: Child,
    run: PathBuf,
}

impl Chromium {
    /// Opens a page. A certificate that the system does not trust is trusted when the SHA-256 of its public key, in
    /// Base64, is `fingerprint`, and no other one. What its microphone hears is the WAV file `says`, over and over.
    pub fn open(url: &str, fingerprint: &str, says: &[u8]) -> Result<Self, Error> {
        let run = process::run_folder("chromium")?;
        std::fs::write(run.join("says.wav"), says)?;
        let output = std::fs::File::create(run.join("output.log"))?;
        let mut command = Command::new("chromium");
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                // Its media runs over loopback here, which pages of others must not reach.
                "--allow-loopback-in-peer-connection",
                "--autoplay-policy=no-user-gesture-required",
            ])
            .arg(format!("--use-file-for-fake-audio-capture={}", run.join("says.wav").display()))
            .arg(format!("--user-data-dir={}", run.join("profile").display()))
            .arg(format!("--ignore-certificate-errors-spki-list={fingerprint}"))
            .arg(url)
            .env("HOME", &run)
            .current_dir(&run)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        let child = process::spawn(&mut command, "chromium", "chromium")?;
        Ok(Self { child, run })
    }

    /// What it has written.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.run.join("output.log")).unwrap_or_default()
    }

    /// Closes it, with every page.
    pub async fn close(mut self) -> Result<(), Error> {
        Ok(self.child.kill().await?)
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Nothing is left to tell anybody; what cannot be removed stays among the temporary files.
            _ = self.child.start_kill();
            _ = std::fs::remove_dir_all(&self.run);
        }
    }
}
