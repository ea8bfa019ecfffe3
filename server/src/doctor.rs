//! `carillon doctor`: what the engine needs of this machine, each with the mend.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime};

use engine_core::TrunkConfig;
use media_core::{Codec, g711};
use media_io::Scheduling;
use rustix::process::{Resource, getrlimit};
use sip_core::Transport;

use crate::config::Config;

/// Files a process holds besides its calls: journal, listeners, epoll, API clients.
const FILES_BESIDE_CALLS: u64 = 256;
/// Kernel receive buffer under which a burst of SIP messages is lost before it is read.
const WANTED_RMEM: u64 = 1 << 20;
/// Free space under which a day's CDRs may not fit.
const WANTED_DISK: u64 = 1 << 30;
const DAY: u64 = 24 * 3600;
/// A certificate that ends sooner should have been renewed: the usual tools do it a month before.
const WANTED_VALIDITY: Duration = Duration::from_secs(14 * DAY);
/// A clock before this (2026-01-01) was never set.
const PLAUSIBLE_UNIX_S: u64 = 1_767_225_600;

enum Verdict {
    Fine,
    Worth,
    Bad,
}

struct Finding {
    what: &'static str,
    verdict: Verdict,
    detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Fine => "ok  ",
            Verdict::Worth => "warn",
            Verdict::Bad => "FAIL",
        };
        write!(f, "{mark}  {:<10} {}", self.what, self.detail)
    }
}

/// Prints every finding; an error when one of them keeps the engine from working.
#[expect(clippy::print_stdout, reason = "the findings are the command's output")]
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    let mut findings = Findings(Vec::new());
    findings.ports(config);
    findings.certificates(config);
    findings.files(config);
    findings.buffers();
    findings.scheduling(config);
    findings.clock();
    findings.disk(config);
    findings.names(config);
    findings.codecs();
    findings.speech(config);
    for finding in &findings.0 {
        println!("{finding}");
    }
    let bad = findings.0.iter().filter(|finding| matches!(finding.verdict, Verdict::Bad)).count();
    if bad == 0 { Ok(()) } else { anyhow::bail!("{bad} finding(s) keep the engine from working") }
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: &'static str, verdict: Verdict, detail: impl Into<String>) {
        self.0.push(Finding { what, verdict, detail: detail.into() });
    }

    fn ports(&mut self, config: &Config) {
        let mut wanted = vec![("api", Transport::Tcp, config.api.listen)];
        wanted.extend(config.engine.sip_listen.iter().map(|listen| ("sip", listen.transport, listen.bind)));
        for (what, transport, address) in wanted {
            match bind(transport, address) {
                Ok(()) => self.add(what, Verdict::Fine, format!("{address} ({transport:?}) is free")),
                Err(error) => {
                    let mend = "is another process, or carillon itself, running there?";
                    self.add(what, Verdict::Bad, format!("{address} ({transport:?}): {error} ({mend})"));
                }
            }
        }
        let media = &config.engine.media;
        let calls = (media.port_range.end() - media.port_range.start()).div_ceil(2);
        let limit = config.engine.limits.max_calls;
        if u32::from(calls) < limit {
            let detail =
                format!("port_range has room for {calls} calls, max_calls is {limit} (widen the range)");
            self.add("media", Verdict::Worth, detail);
        } else {
            self.add("media", Verdict::Fine, format!("port_range has room for {calls} calls"));
        }
        if let Err(error) = bind(Transport::Udp, SocketAddr::new(media.ip, 0)) {
            self.add(
                "media",
                Verdict::Bad,
                format!("{}: {error} (is it an address of this machine?)", media.ip),
            );
        }
    }

    fn speech(&mut self, config: &Config) {
        let Some(program) = &config.engine.speech.espeak else { return };
        let listed = std::process::Command::new(program).arg("--voices").output();
        let (verdict, detail) = match listed {
            Ok(output) if output.status.success() => {
                let voices = String::from_utf8_lossy(&output.stdout).lines().skip(1).count();
                (Verdict::Fine, format!("{} has {voices} voices", program.display()))
            }
            Ok(output) => (Verdict::Worth, format!("{} --voices: {}", program.display(), output.status)),
            Err(error) => {
                let mend =
                    "install espeak-ng, or set espeak = \"\" in [speech]; nothing can be said without it";
                (Verdict::Worth, format!("{}: {error} ({mend})", program.display()))
            }
        };
        self.add("speech", verdict, detail);
    }

    fn certificates(&mut self, config: &Config) {
        let listeners = config.engine.sip_listen.iter().filter_map(|listen| listen.tls.as_ref());
        let shown = listeners.map(|tls| &tls.identity).chain(&config.engine.sip_tls.identity);
        let mut seen = BTreeSet::new();
        for identity in shown.filter(|identity| seen.insert(&identity.cert)) {
            let file = identity.cert.display();
            let (verdict, detail) = match identity.expires() {
                Err(error) => (Verdict::Bad, error.to_string()),
                Ok(end) => match end.duration_since(SystemTime::now()) {
                    Err(past) => {
                        let days = past.duration().as_secs() / DAY;
                        (
                            Verdict::Bad,
                            format!("{file}: expired {days} days ago (renew it, then send SIGHUP)"),
                        )
                    }
                    Ok(left) if left < WANTED_VALIDITY => {
                        let days = left.as_secs() / DAY;
                        (
                            Verdict::Worth,
                            format!("{file}: expires in {days} days (renew it, then send SIGHUP)"),
                        )
                    }
                    Ok(left) => (Verdict::Fine, format!("{file}: expires in {} days", left.as_secs() / DAY)),
                },
            };
            self.add("certificate", verdict, detail);
        }
        if !config.engine.sip_tls.verify {
            let detail = "verify = false in [sip.tls]: whoever answers for a trunk over TLS is believed";
            self.add("certificate", Verdict::Worth, detail);
        }
    }

    fn files(&mut self, config: &Config) {
        let needed = u64::from(config.engine.limits.max_calls) * 2 + FILES_BESIDE_CALLS;
        // The engine raises its own limit as far as it may.
        match getrlimit(Resource::Nofile).maximum {
            Some(limit) if limit < needed => {
                let mend = "raise LimitNOFILE or ulimit -Hn";
                let detail = format!("{limit} open files, {needed} are needed at max_calls ({mend})");
                self.add("files", Verdict::Bad, detail);
            }
            Some(limit) => self.add("files", Verdict::Fine, format!("{limit} open files, {needed} needed")),
            None => self.add("files", Verdict::Fine, "no limit on open files"),
        }
    }

    fn buffers(&mut self) {
        let path = "/proc/sys/net/core/rmem_max";
        match std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok()) {
            Some(bytes) if bytes < WANTED_RMEM => {
                let detail = format!("net.core.rmem_max is {bytes} (set it to {WANTED_RMEM} or more)");
                self.add("buffers", Verdict::Worth, detail);
            }
            Some(bytes) => self.add("buffers", Verdict::Fine, format!("net.core.rmem_max is {bytes}")),
            None => self.add("buffers", Verdict::Worth, format!("{path} cannot be read")),
        }
    }

    fn scheduling(&mut self, config: &Config) {
        if !config.engine.media.realtime {
            self.add("realtime", Verdict::Fine, "not asked for ([media] realtime = false)");
            return;
        }
        match Scheduling::probe() {
            Ok(Scheduling::Realtime) => {
                self.add("realtime", Verdict::Fine, "media threads may run in real time")
            }
            Ok(Scheduling::Usual | Scheduling::Refused) => {
                let mend = "give the process CAP_SYS_NICE or LimitRTPRIO=10";
                let detail = format!("not allowed: packets leave late while the machine is busy ({mend})");
                self.add("realtime", Verdict::Worth, detail);
            }
            Err(error) => self.add("realtime", Verdict::Worth, format!("cannot be tried: {error}")),
        }
    }

    fn clock(&mut self) {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        if unix.as_secs() < PLAUSIBLE_UNIX_S {
            self.add("clock", Verdict::Bad, "the clock is years behind: CDRs would be wrong (run NTP)");
        } else {
            self.add("clock", Verdict::Fine, "the clock is plausible");
        }
    }

    fn disk(&mut self, config: &Config) {
        let database = config.engine.database.parent().unwrap_or(Path::new("."));
        for folder in [database, &config.engine.media_dir] {
            match space(folder) {
                Ok(free) if free < WANTED_DISK => {
                    let detail = format!("{}: {} MiB free", folder.display(), free >> 20);
                    self.add("disk", Verdict::Worth, detail);
                }
                Ok(free) => {
                    self.add("disk", Verdict::Fine, format!("{}: {} GiB free", folder.display(), free >> 30));
                }
                Err(error) => self.add("disk", Verdict::Bad, format!("{}: {error}", folder.display())),
            }
        }
    }

    fn names(&mut self, config: &Config) {
        // Checked with the file; a trunk that is none has no names.
        let served: Vec<_> = config.engine.sip_listen.iter().map(|listener| listener.transport).collect();
        let configs = config.engine.trunks.iter();
        let trunks: Vec<_> = configs.flat_map(|trunk| TrunkConfig::from_settings(trunk, &served)).collect();
        let hosts = trunks.iter().flat_map(|trunk| {
            trunk.gateways.iter().map(move |gateway| (trunk.name.as_str(), gateway.target.host.as_str()))
        });
        for (trunk, host) in hosts.collect::<BTreeSet<_>>() {
            // The port does not matter for a look-up.
            match (host.trim_matches(['[', ']']), 0).to_socket_addrs() {
                Ok(addresses) => {
                    let count = addresses.count();
                    self.add(
                        "dns",
                        Verdict::Fine,
                        format!("trunk {trunk:?}: {host} has {count} address(es)"),
                    );
                }
                Err(error) => {
                    // The engine finds also what has no address of its own, by NAPTR and SRV and the servers of [sip] dns.
                    let detail =
                        format!("trunk {trunk:?}: {host} has no address here: {error} (has it SRV records?)");
                    self.add("dns", Verdict::Worth, detail);
                }
            }
        }
    }

    fn codecs(&mut self) {
        // Coding is exact where the codec has a level: G.711 returns its own levels unchanged.
        let exact = (0..=u8::MAX).all(|code| {
            g711::decode_ulaw(g711::encode_ulaw(g711::decode_ulaw(code))) == g711::decode_ulaw(code)
                && g711::encode_alaw(g711::decode_alaw(code)) == code
        });
        let names = Codec::ALL.map(Codec::name).join(", ");
        let verdict = if exact { Verdict::Fine } else { Verdict::Bad };
        self.add("codecs", verdict, names);
    }
}

fn bind(transport: Transport, address: SocketAddr) -> std::io::Result<()> {
    match transport {
        Transport::Udp => UdpSocket::bind(address).map(drop),
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
            TcpListener::bind(address).map(drop)
        }
    }
}

/// Free bytes where `folder` is or will be, after checking that something can be written there.
fn space(folder: &Path) -> std::io::Result<u64> {
    std::fs::create_dir_all(folder)?;
    let probe = folder.join(".carillon-doctor");
    std::fs::write(&probe, b"probe")?;
    std::fs::remove_file(&probe)?;
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
