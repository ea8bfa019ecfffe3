//! The shell: sockets, clock and one task around the exchange.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;

use sip_core::Input;
use sip_io::{Inbox, Limits, Transports};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::CarrierConfig;
use crate::exchange::{Exchange, Output};
use crate::reception::Recorded;
use crate::registrar::Registration;
use crate::report::{CallReport, Totals};
use crate::voice::MAX_PACKET;

/// Receive buffer asked of the kernel: 10,000 calls at 50 packets a second of 768 octets (as the kernel counts a small
/// datagram) for 80 ms, longer than this task is ever kept from its socket.
const RTP_BUFFER: usize = 32 << 20;

/// Datagrams taken from a socket, or sent, before anything else has its turn: a few milliseconds of 10,000 calls.
const BUDGET: usize = 1024;

/// How often a pair of ports is tried for.
const PORT_ATTEMPTS: usize = 1000;

/// Why a carrier does not start, or is gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No listener.
    #[error("the carrier listens nowhere: `listen` is empty")]
    NoListener,
    /// A SIP address cannot be opened.
    #[error(transparent)]
    Sip(#[from] sip_io::Error),
    /// No pair of RTP and RTCP ports can be opened.
    #[error("no RTP ports on {ip}: {error}")]
    Media {
        /// Where they were to be.
        ip: IpAddr,
        /// Why not.
        error: io::Error,
    },
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
    /// The carrier has stopped.
    #[error("the carrier has stopped")]
    Stopped,
}

/// A running carrier. Dropping it stops it.
#[derive(Debug)]
pub struct Carrier {
    addrs: Vec<SocketAddr>,
    questions: mpsc::Sender<Question>,
    progress: watch::Receiver<Progress>,
    task: JoinHandle<Totals>,
}

/// What can be waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Calls ended, and recorded if that was asked for.
    pub ended: u64,
    /// Calls going on.
    pub live: usize,
    /// Addresses of record with a binding.
    pub registered: usize,
}

#[derive(Debug)]
enum Question {
    Calls(oneshot::Sender<Vec<CallReport>>),
    Registrations(oneshot::Sender<Vec<Registration>>),
    Totals(oneshot::Sender<Totals>),
}

impl Carrier {
    /// Opens the sockets and starts. Needs a tokio runtime with I/O and time.
    pub async fn start(config: CarrierConfig) -> Result<Self, Error> {
        let listen: Vec<_> = config.listen.iter().map(|listen| listen.0.clone()).collect();
        let (transports, inbox) = Transports::bind(&listen, Limits::default())?;
        let listeners = transports.listeners();
        let addrs: Vec<_> = listeners.iter().map(|listener| listener.bound).collect();
        if addrs.is_empty() {
            return Err(Error::NoListener);
        }
        let (rtp, rtcp) = media_sockets(config.media_ip)?;
        let media_addr = rtp.local_addr().map_err(|error| Error::Media { ip: config.media_ip, error })?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(Error::Random)?;
        let max_reports = config.max_reports;
        let (questions, asked) = mpsc::channel(16);
        let (progress, watched) = watch::channel(Progress::default());
        let shell = Shell {
            exchange: Exchange::new(Instant::now(), config, listeners, media_addr, seed),
            transports,
            inbox,
            rtp,
            rtcp,
            rtcp_received: 0,
            rtp_unsent: 0,
            reports: VecDeque::new(),
            max_reports,
            ended: 0,
            progress,
        };
        let task = tokio::spawn(shell.run(asked));
        Ok(Self { addrs, questions, progress: watched, task })
    }

    /// The address of the first listener.
    pub fn addr(&self) -> SocketAddr {
        self.addrs[0] // `start` refuses an empty list
    }

    /// The addresses of all listeners, in the order of the configuration.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The calls that ended, in that order.
    pub async fn calls(&self) -> Result<Vec<CallReport>, Error> {
        self.ask(Question::Calls).await
    }

    /// Who is registered.
    pub async fn registrations(&self) -> Result<Vec<Registration>, Error> {
        self.ask(Question::Registrations).await
    }

    /// Everything counted so far.
    pub async fn totals(&self) -> Result<Totals, Error> {
        self.ask(Question::Totals).await
    }

    /// Waits until `reached`.
    pub async fn wait_for(&self, reached: impl FnMut(&Progress) -> bool) -> Result<Progress, Error> {
        let mut progress = self.progress.clone();
        progress.wait_for(reached).await.map(|now| *now).map_err(|_| Error::Stopped)
    }

    /// Stops at once, without a word to anybody, and closes the sockets.
    pub async fn shutdown(self) -> Result<Totals, Error> {
        drop(self.questions);
        self.task.await.map_err(|_| Error::Stopped)
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.questions.send(question(reply)).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)
    }
}

#[derive(Debug)]
struct Shell {
    exchange: Exchange,
    transports: Transports,
    inbox: Inbox,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    rtcp_received: u64,
    rtp_unsent: u64,
    reports: VecDeque<CallReport>,
    max_reports: usize,
    ended: u64,
    progress: watch::Sender<Progress>,
}

impl Shell {
    /// Runs until nobody can ask any more.
    async fn run(mut self, mut questions: mpsc::Receiver<Question>) -> Totals {
        loop {
            self.speak();
            self.drain().await;
            let wake = self.exchange.poll_timeout();
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                input = self.inbox.recv() => match input {
                    Some(input) => self.take(input),
                    None => break,
                },
                _ = self.rtp.readable() => self.listen(),
                _ = self.rtcp.readable() => self.count_rtcp(),
                () = sleep => self.exchange.handle_timeout(Instant::now()),
                question = questions.recv() => match question {
                    Some(question) => self.answer(question),
                    None => break,
                },
            }
        }
        self.totals()
    }

    fn take(&mut self, first: Input) {
        let mut next = Some(first);
        for _ in 0..BUDGET {
            let Some(input) = next else { break };
            self.exchange.handle_sip(Instant::now(), input);
            next = self.inbox.try_recv();
        }
        if let Some(input) = next {
            self.exchange.handle_sip(Instant::now(), input);
        }
    }

    fn listen(&mut self) {
        let mut datagram = [0; 2048];
        for _ in 0..BUDGET {
            // An error is a peer that is gone (ICMP) or nothing to read; both end the turn.
            let Ok((len, from)) = self.rtp.try_recv_from(&mut datagram) else { break };
            self.exchange.handle_rtp(Instant::now(), from, &datagram[..len]);
        }
    }

    fn count_rtcp(&mut self) {
        let mut datagram = [0; 2048];
        for _ in 0..BUDGET {
            if self.rtcp.try_recv_from(&mut datagram).is_err() {
                break;
            }
            self.rtcp_received += 1;
        }
    }

    fn speak(&mut self) {
        let mut packet = [0; MAX_PACKET];
        for _ in 0..BUDGET {
            let Some((to, len)) = self.exchange.poll_rtp(Instant::now(), &mut packet) else { break };
            if self.rtp.try_send_to(&packet[..len], to).is_err() {
                self.rtp_unsent += 1;
            }
        }
    }

    async fn drain(&mut self) {
        while let Some(output) = self.exchange.poll_output() {
            let failed = match output {
                Output::Sip(sip_core::Output::Transmit(transmit)) => self.transports.transmit(transmit),
                Output::Sip(sip_core::Output::Resolve { query, question }) => {
                    self.transports.resolve(query, question)
                }
                // The exchange takes events itself.
                Output::Sip(sip_core::Output::Event(_)) => None,
                Output::Ended(report, recorded) => {
                    self.keep(report, recorded).await;
                    None
                }
            };
            if let Some(input) = failed {
                self.exchange.handle_sip(Instant::now(), input);
            }
        }
        let progress = Progress {
            ended: self.ended,
            live: self.exchange.live(),
            registered: self.exchange.registered(Instant::now()),
        };
        self.progress.send_if_modified(|old| std::mem::replace(old, progress) != progress);
    }

    async fn keep(&mut self, mut report: CallReport, recorded: Option<Recorded>) {
        if let (Some(path), Some(recorded)) = (report.recording.clone(), recorded) {
            let written = tokio::task::spawn_blocking(move || write_wav(&path, &recorded)).await;
            if let Ok(Err(error)) = written {
                tracing::warn!(%error, "recording lost");
                report.recording = None;
            }
        }
        if self.reports.len() >= self.max_reports {
            self.reports.pop_front();
        }
        self.reports.push_back(report);
        self.ended += 1;
    }

    fn answer(&self, question: Question) {
        // Who asked may be gone.
        match question {
            Question::Calls(reply) => _ = reply.send(self.reports.iter().cloned().collect()),
            Question::Registrations(reply) => _ = reply.send(self.exchange.registrations(Instant::now())),
            Question::Totals(reply) => _ = reply.send(self.totals()),
        }
    }

    fn totals(&self) -> Totals {
        Totals {
            rtcp_received: self.rtcp_received,
            rtp_unsent: self.rtp_unsent,
            rtp_overflow: self.rtp.local_addr().ok().and_then(socket_drops).unwrap_or(0),
            ..self.exchange.totals()
        }
    }
}

/// RTP on an even port and RTCP on the next (RFC 3550, 11).
fn media_sockets(ip: IpAddr) -> Result<(UdpSocket, UdpSocket), Error> {
    let bind = |port| std::net::UdpSocket::bind((ip, port));
    let pair = || {
        let rtp = bind(0)?;
        let port = rtp.local_addr()?.port();
        if port % 2 == 1 {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        Ok((rtp, bind(port + 1)?))
    };
    let mut result = pair();
    for _ in 0..PORT_ATTEMPTS {
        if result.is_ok() {
            break;
        }
        result = pair();
    }
    let tokio_socket = |socket: std::net::UdpSocket| {
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    };
    let opened = result.and_then(|(rtp, rtcp)| {
        // Beyond the system's limit only root may ask; the ordinary way gives what there is.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&rtp, RTP_BUFFER).is_err() {
            rustix::net::sockopt::set_socket_recv_buffer_size(&rtp, RTP_BUFFER)?;
        }
        Ok((tokio_socket(rtp)?, tokio_socket(rtcp)?))
    });
    opened.map_err(|error| Error::Media { ip, error })
}

/// The `drops` column of /proc/net/udp for this local port.
fn socket_drops(addr: SocketAddr) -> Option<u64> {
    let table = if addr.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
    let port = format!(":{:04X}", addr.port());
    let text = std::fs::read_to_string(table).ok()?;
    let row = text
        .lines()
        .skip(1)
        .find(|row| row.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port)))?;
    row.split_whitespace().last()?.parse().ok()
}

fn write_wav(path: &Path, recorded: &Recorded) -> Result<(), hound::Error> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: recorded.rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let folder: PathBuf = path.parent().map(Path::to_owned).unwrap_or_default();
    std::fs::create_dir_all(folder)?;
    let mut writer = hound::WavWriter::create(path, spec)?;
    for &sample in &recorded.samples {
        writer.write_sample(sample)?;
    }
    writer.finalize()
}
