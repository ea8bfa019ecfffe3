//! Runs baresip (Debian `baresip-core`), a phone nobody here wrote, by its control socket: netstrings of JSON.

use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::process::{self, Error};

const PROGRAM: &str = "baresip";

/// Samples a second of its tones.
const TONE_RATE: u32 = 8_000;

/// Longer than this nothing takes that it is told or waited for.
const DEADLINE: Duration = Duration::from_secs(20);

/// Something that happened to the phone, as it tells of it.
#[derive(Debug, Clone)]
pub struct Event(Value);

impl Event {
    /// Its name, such as `CALL_ESTABLISHED`.
    pub fn kind(&self) -> &str {
        self.field("type")
    }

    /// One of its fields; empty without it.
    pub fn field(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// What it is started with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// A WAV file in place of a microphone, from the answer on.
    pub says: Vec<u8>,
    /// Samples a second in it.
    pub rate: u32,
    /// Where it takes SIP over UDP and TCP, and over TLS at the next port; port 0: any, for who only registers.
    pub listen: SocketAddr,
    /// A PEM file with a certificate and its key, which it shows over TLS.
    pub certificate: Option<PathBuf>,
}

impl Setup {
    /// It says a tone for a minute.
    pub fn saying(hertz: u32) -> Result<Self, Error> {
        let says = tone(hertz, 60.0)?;
        Ok(Self { says, rate: TONE_RATE, listen: (Ipv4Addr::LOCALHOST, 0).into(), certificate: None })
    }

    /// It can be called without having registered: where others look for it.
    pub fn listening(self) -> Result<Self, Error> {
        loop {
            let (listen, next) = (process::free_addr()?, process::free_addr()?);
            if next.port() == listen.port() + 1 {
                return Ok(Self { listen, ..self });
            }
        }
    }
}

/// A running baresip with a file in place of a microphone and others in place of a loudspeaker; killed when dropped.
#[derive(Debug)]
pub struct Baresip {
    child: Child,
    control: TcpStream,
    buffer: Vec<u8>,
    /// Events that came before the answer to a command.
    events: Vec<Event>,
    run: PathBuf,
}

impl Baresip {
    /// Hertz of the tone that it says.
    pub const TONE: u32 = 440;

    /// Starts it; it knows nobody and registers nowhere until it is told.
    ///
    /// Over TLS it talks to everybody: version 1 does not verify certificates.
    pub async fn start() -> Result<Self, Error> {
        Self::saying(Self::TONE).await
    }

    /// The same with another tone, in hertz.
    pub async fn saying(hertz: u32) -> Result<Self, Error> {
        Self::with(Setup::saying(hertz)?).await
    }

    /// The same as it is set up.
    pub async fn with(setup: Setup) -> Result<Self, Error> {
        let Setup { says, rate, listen, certificate } = setup;
        let certificate =
            certificate.map(|file| format!("sip_certificate {}\n", file.display())).unwrap_or_default();
        let run = process::run_folder("baresip")?;
        let control = process::free_addr()?;
        let config = format!(
            "sip_listen {listen}\n{certificate}net_interface 127.0.0.1\nctrl_tcp_listen {control}\ncall_max_calls 4\n\
             rtp_ports 32768-60998\nrtp_stats yes\nmenu_bell no\nringback_disabled yes\n\
             audio_source aufile,{run}/says.wav\naudio_player aubridge,none\naudio_alert aubridge,none\nsnd_path {run}\n\
             ausrc_srate {rate}\nausrc_channels 1\nmodule_path /usr/lib/baresip/modules\nmodule g711.so\nmodule g722.so\n\
             module opus.so\nmodule l16.so\nmodule srtp.so\nmodule aufile.so\nmodule aubridge.so\n\
             module sndfile.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n",
            run = run.display(),
        );
        std::fs::write(run.join("config"), config)?;
        std::fs::write(run.join("says.wav"), says)?;
        let output = std::fs::File::create(run.join("output.log"))?;
        let mut command = Command::new(PROGRAM);
        command
            .args(["-4", "-v", "-s", "-f"])
            .arg(&run)
            .current_dir(&run)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        let mut child = process::spawn(&mut command, PROGRAM, "baresip-core")?;
        let control = process::until_connected(&mut child, PROGRAM, control).await?;
        Ok(Self { child, control, buffer: Vec::new(), events: Vec::new(), run })
    }

    /// Makes it the phone of this account, `<sip:alice@host:port;transport=tls>;auth_pass=…`, in its own notation, which
    /// registers at once.
    pub async fn register(&mut self, account: &str) -> Result<(), Error> {
        self.tell("uanew", account).await.map(drop)
    }

    /// Gives it a command, such as `dial`, and takes what it says.
    pub async fn tell(&mut self, command: &str, params: &str) -> Result<String, Error> {
        let text = json!({ "command": command, "params": params, "token": command }).to_string();
        self.control.write_all(format!("{}:{text},", text.len()).as_bytes()).await?;
        loop {
            let message = self.receive(command).await?;
            if message.get("response").is_none() {
                self.events.push(Event(message));
                continue;
            }
            let said = message.get("data").and_then(Value::as_str).unwrap_or_default().to_owned();
            if message.get("ok") == Some(&Value::Bool(true)) {
                return Ok(said);
            }
            return Err(self.complaint(format!("{command} {params} was refused: {said}")));
        }
    }

    /// Waits for an event of this kind; those before it are of no interest any more.
    pub async fn until(&mut self, kind: &str) -> Result<Event, Error> {
        loop {
            let event = match self.events.is_empty() {
                true => Event(self.receive(kind).await?),
                false => self.events.remove(0),
            };
            if event.kind() == kind {
                return Ok(event);
            }
        }
    }

    /// The file with what it has heard in its last call, once that is over.
    pub fn heard(&self) -> Result<PathBuf, Error> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.run)? {
            files.push(entry?.path());
        }
        files
            .retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-dec.wav")));
        files.sort();
        files.pop().ok_or_else(|| self.complaint("it has recorded nothing".to_owned()))
    }

    /// What it has said so far, with every SIP message.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.run.join("output.log")).unwrap_or_default()
    }

    /// Ends it as its user would: it hangs up and unregisters.
    pub async fn quit(mut self) -> Result<(), Error> {
        // It answers, or is gone before.
        let quit = json!({ "command": "quit" }).to_string();
        self.control.write_all(format!("{}:{quit},", quit.len()).as_bytes()).await?;
        let status = process::ended(&mut self.child, PROGRAM, DEADLINE).await?;
        if status.success() { Ok(()) } else { Err(Error::Ended { program: PROGRAM, status }) }
    }

    /// The next message, which is waited for because of `what`.
    async fn receive(&mut self, what: &str) -> Result<Value, Error> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            if let Some((end, start)) = netstring(&self.buffer) {
                let message = serde_json::from_slice(&self.buffer[start..end]);
                self.buffer.drain(..=end);
                return message.map_err(|error| self.complaint(error.to_string()));
            }
            match tokio::time::timeout_at(deadline, self.control.read_buf(&mut self.buffer)).await {
                Ok(Ok(read)) if read > 0 => {}
                Ok(Ok(_)) => return Err(self.complaint(format!("it ended instead of {what}"))),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(self.complaint(format!("{what} never came"))),
            }
        }
    }

    fn complaint(&self, complaint: String) -> Error {
        Error::Peer { program: PROGRAM, complaint, output: self.output() }
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Nothing is left to tell anybody; what cannot be removed stays among the temporary files.
            _ = self.child.start_kill();
            _ = std::fs::remove_dir_all(&self.run);
        }
    }
}

/// End and start of the text of a whole netstring, `5:hello,`; none yet in a part of one.
fn netstring(bytes: &[u8]) -> Option<(usize, usize)> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
    let (start, end) = (colon + 1, colon + 1 + length);
    (bytes.len() > end).then_some((end, start))
}

/// A WAV file of a tone.
pub fn tone(hertz: u32, seconds: f64) -> Result<Vec<u8>, Error> {
    let sample = |at: u32| {
        let phase = f64::from(at) * f64::from(hertz) / f64::from(TONE_RATE) * std::f64::consts::TAU;
        (phase.sin() * 10_000.0) as i16
    };
    wav(TONE_RATE, &(0..(seconds * f64::from(TONE_RATE)) as u32).map(sample).collect::<Vec<_>>())
}

/// A WAV file of these samples, so many a second.
pub fn wav(rate: u32, samples: &[i16]) -> Result<Vec<u8>, Error> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = Cursor::new(Vec::new());
    let mut write = || {
        let mut writer = hound::WavWriter::new(&mut file, spec)?;
        samples.iter().try_for_each(|sample| writer.write_sample(*sample))?;
        writer.finalize()
    };
    write().map_err(std::io::Error::other)?;
    Ok(file.into_inner())
}
