//! Processes that tests start: found, awaited, killed by their id.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How long a program may take until it listens, on a machine that has other things to do.
const START: Duration = Duration::from_secs(30);

/// How often a program is asked whether it listens yet.
const ASK: Duration = Duration::from_millis(10);

/// Why a process did not do what it was started for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is not installed.
    #[error("`{program}` is not installed: `apt-get install {package}`, or `make test`, which does it")]
    Missing {
        /// Its name.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// There is no `carillon` to test.
    #[error("no carillon at {}: `cargo build -p carillon` first, or name one in CARILLON_BIN", .0.display())]
    NoEngine(PathBuf),
    /// `carillon serve` ended before it was ready.
    #[error("carillon ended with {status} instead of serving; its log:\n{log}")]
    EngineEnded {
        /// How it ended.
        status: ExitStatus,
        /// What it logged.
        log: String,
    },
    /// The API of the engine does not answer as it should.
    #[error(transparent)]
    Api(#[from] Box<control_api_client::ClientError>),
    /// It ended before it listened.
    #[error("`{program}` ended with {status} instead of listening")]
    Ended {
        /// Its name.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
    },
    /// It does not listen, or does not end.
    #[error("`{program}` took longer than {deadline:?}")]
    Late {
        /// Its name.
        program: &'static str,
        /// The limit.
        deadline: Duration,
    },
    /// A SIPp scenario did not pass.
    #[error("scenario {name}: {status}\n{complaints}")]
    Scenario {
        /// Its name.
        name: String,
        /// How SIPp ended.
        status: ExitStatus,
        /// What SIPp wrote.
        complaints: String,
    },
    /// It does not do as it is told, or what was waited for never came.
    #[error("`{program}`: {complaint}; its output:\n{output}")]
    Peer {
        /// Its name.
        program: &'static str,
        /// What is wrong.
        complaint: String,
        /// What it wrote.
        output: String,
    },
    /// The operating system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A fresh folder for one run, under the one for temporary files.
pub(crate) fn run_folder(program: &str) -> io::Result<PathBuf> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("carillon-test-{program}-{}-{run}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// An address on loopback whose port is free, TCP and UDP alike.
pub fn free_addr() -> io::Result<SocketAddr> {
    free_addr_of(Ipv4Addr::LOCALHOST.into())
}

/// The same on another address of this machine. The port is above those that the kernel gives to whoever asks for any, so
/// that nobody's connection takes it meanwhile, and it is none that browsers refuse to connect to. Each is given once in
/// 4,536, and processes begin at different ones.
pub fn free_addr_of(ip: IpAddr) -> io::Result<SocketAddr> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 61_000;
    const PORTS: u32 = 65_536 - FIRST;
    let begin = std::process::id().wrapping_mul(97);
    for _ in 0..PORTS {
        let next = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let addr = SocketAddr::new(ip, u16::try_from(FIRST + next).unwrap_or(u16::MAX));
        // SIP takes the same port of both protocols.
        match TcpListener::bind(addr).and_then(|_| UdpSocket::bind(addr)) {
            Ok(_) => return Ok(addr),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

pub(crate) fn spawn(
    command: &mut Command,
    program: &'static str,
    package: &'static str,
) -> Result<Child, Error> {
    command.spawn().map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Error::Missing { program, package }
        } else {
            Error::Io(error)
        }
    })
}

/// Waits until somebody is bound to this UDP address; programs that say nothing when they are ready leave only that.
pub(crate) async fn until_bound(
    child: &mut Child,
    program: &'static str,
    addr: SocketAddr,
) -> Result<(), Error> {
    until_listed(child, program, "/proc/net/udp", format!(":{:04X} ", addr.port())).await
}

/// Waits until somebody listens at this TCP address, without a connection, which might be taken for a caller.
pub(crate) async fn until_listening(
    child: &mut Child,
    program: &'static str,
    addr: SocketAddr,
) -> Result<(), Error> {
    // Local address, no remote one, the state LISTEN.
    let local = format!(":{:04X} 00000000:0000 0A ", addr.port());
    until_listed(child, program, "/proc/net/tcp", local).await
}

async fn until_listed(
    child: &mut Child,
    program: &'static str,
    table: &str,
    local: String,
) -> Result<(), Error> {
    let bound = async {
        loop {
            if let Some(status) = child.try_wait()? {
                return Err(Error::Ended { program, status });
            }
            if std::fs::read_to_string(table)?.contains(&local) {
                return Ok(());
            }
            tokio::time::sleep(ASK).await;
        }
    };
    tokio::time::timeout(START, bound).await.unwrap_or(Err(Error::Late { program, deadline: START }))
}

/// Connects to where a program listens, as soon as it does.
pub(crate) async fn until_connected(
    child: &mut Child,
    program: &'static str,
    addr: SocketAddr,
) -> Result<TcpStream, Error> {
    let connected = async {
        loop {
            if let Some(status) = child.try_wait()? {
                return Err(Error::Ended { program, status });
            }
            match TcpStream::connect(addr).await {
                Ok(stream) => return Ok(stream),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    tokio::time::sleep(ASK).await
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    tokio::time::timeout(START, connected).await.unwrap_or(Err(Error::Late { program, deadline: START }))
}

pub(crate) async fn ended(
    child: &mut Child,
    program: &'static str,
    deadline: Duration,
) -> Result<ExitStatus, Error> {
    match tokio::time::timeout(deadline, child.wait()).await {
        Ok(status) => Ok(status?),
        Err(_) => {
            child.kill().await?;
            Err(Error::Late { program, deadline })
        }
    }
}
