//! espeak-ng: a process for each text, which gets it on its standard input and leaves a WAV file on its standard output.
//!
//! No shell is in between, its environment is empty, and the kernel bounds its memory and its time before it is given the
//! text.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use speech_core::Voice;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// The usual speed, words a minute; as its manual has it.
const WORDS_A_MINUTE: u32 = 175;
/// What it takes (its manual: from 80 to 450).
const SPEEDS: std::ops::RangeInclusive<u32> = 80..=450;
/// Most memory: it takes some 30 MB with all its data.
const MEMORY: u64 = 256 << 20;
/// Most octets of sound: twelve minutes at its 22,050 Hz.
const MAX_SOUND: usize = 32 << 20;
/// Most octets of complaints that are looked at.
const MAX_COMPLAINT: usize = 512;
/// Longest list of voices.
const MAX_VOICES: usize = 256 << 10;

/// The voices that go before all others of their language. Plain `cmn` takes Chinese characters for Latin letters to be read
/// in English; the other one reads both.
const PREFERRED: [(&str, &str); 5] =
    [("en", "en-us"), ("id", "id"), ("vi", "vi"), ("zh", "cmn-latn-pinyin"), ("cmn", "cmn-latn-pinyin")];

#[derive(Debug)]
pub(super) struct Espeak {
    program: PathBuf,
    timeout: Duration,
}

impl Espeak {
    pub(super) fn new(program: PathBuf, timeout: Duration) -> Self {
        Self { program, timeout }
    }

    /// The voices that it has, with its names for them; the preferred first.
    pub(super) async fn voices(&self) -> Result<Vec<(Voice, String)>, String> {
        let listing = self.run(&["--voices"], "", MAX_VOICES);
        let listed = tokio::time::timeout(self.timeout, listing).await.map_err(|_| "no answer in time")??;
        let listed = String::from_utf8_lossy(&listed);
        // `Pty Language Age/Gender VoiceName File Other`
        let ids: Vec<&str> = listed
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().nth(1))
            .filter(|id| is_id(id))
            .collect();
        if ids.is_empty() {
            return Err("it lists no voices".to_owned());
        }
        let voice = |language: &str, id: &str| {
            (Voice { name: id.into(), language: language.to_ascii_lowercase().into() }, id.to_owned())
        };
        let preferred =
            PREFERRED.iter().filter(|(_, id)| ids.contains(id)).map(|(language, id)| voice(language, id));
        Ok(preferred.chain(ids.iter().map(|id| voice(id, id))).collect())
    }

    /// A WAV file of `text`, at so many per cent of the usual speed.
    pub(super) async fn speak(&self, voice: &str, rate: u32, text: &str) -> Result<Bytes, String> {
        let speed = (WORDS_A_MINUTE * rate / 100).clamp(*SPEEDS.start(), *SPEEDS.end()).to_string();
        // UTF-8 from standard input to standard output.
        let arguments = ["-v", voice, "-s", &speed, "-b", "1", "--stdin", "--stdout"];
        // Without SSML switched on, double brackets are the only marks that it knows: they begin phonemes.
        self.run(&arguments, &text.replace("[[", "[ ["), MAX_SOUND).await
    }

    async fn run(&self, arguments: &[&str], text: &str, most: usize) -> Result<Bytes, String> {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        self.bound(&child)?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("its pipes are not there".to_owned());
        };
        let write = async {
            // It may end without reading all; its status tells.
            let _ = stdin.write_all(text.as_bytes()).await;
            drop(stdin);
        };
        let ((), sound, complaint) =
            tokio::join!(write, bounded(stdout, most), bounded(stderr, MAX_COMPLAINT));
        let status = match sound {
            Some(_) => child.wait().await.map_err(|error| error.to_string())?,
            // It would wait for somebody to read the rest.
            None => return Err(format!("espeak-ng tells more than {} MiB", most >> 20)),
        };
        let complaint = complaint.unwrap_or_default();
        sound.filter(|_| status.success()).map(Bytes::from).ok_or_else(|| failed(status, &complaint))
    }

    /// It has read nothing yet, so nothing was done beyond these bounds.
    fn bound(&self, child: &Child) -> Result<(), String> {
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or("it has no process id")?;
        let seconds = self.timeout.as_secs() + 1;
        for (resource, most) in
            [(Resource::As, MEMORY), (Resource::Cpu, seconds), (Resource::Core, 0), (Resource::Nofile, 64)]
        {
            match prlimit(Some(pid), resource, Rlimit { current: Some(most), maximum: Some(most) }) {
                // One that is over already needs no bounds.
                Ok(_) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(format!("its limits cannot be set: {error}")),
            }
        }
        Ok(())
    }
}

/// Whether a voice's name can be an argument.
fn is_id(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'+'))
}

/// All of a pipe; `None` when it is more than it may be.
async fn bounded(pipe: impl AsyncRead + Unpin, most: usize) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    // A pipe that breaks is one that ends.
    let _ = pipe.take(most as u64 + 1).read_to_end(&mut read).await;
    (read.len() <= most).then_some(read)
}

fn failed(status: ExitStatus, complaint: &[u8]) -> String {
    let complaint = String::from_utf8_lossy(complaint);
    let first = complaint.lines().next().unwrap_or_default().trim();
    format!("espeak-ng failed ({status}) {first}").trim_end().to_owned()
}
