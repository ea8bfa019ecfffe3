//! Name servers on loopback: BIND with a zone of a test, and one that answers as a test says.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket as StdUdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// BIND 9, which nobody here wrote. It ends with this value.
pub(crate) struct Named {
    process: Child,
    directory: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Named {
    /// A server of the zone `test.`, whose records these are.
    pub(crate) fn start(test: &str, records: &str) -> Named {
        let address = free_port();
        let directory = std::env::temp_dir().join(format!("carillon-named-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let zone = format!(
            "$TTL 60\n@ IN SOA ns.test. hostmaster.test. 1 3600 600 86400 20\n@ IN NS ns.test.\n\
             ns IN A 127.0.0.1\n{records}\n"
        );
        std::fs::write(directory.join("zone"), zone).unwrap();
        let config = format!(
            "options {{ directory \"{0}\"; listen-on port {1} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; \
             recursion no; dnssec-validation no; pid-file none; session-keyfile none; }};\ncontrols {{ }};\n\
             zone \"test\" {{ type primary; file \"zone\"; }};\n",
            directory.display(),
            address.port()
        );
        let conf = directory.join("named.conf");
        std::fs::write(&conf, config).unwrap();
        let mut process = Command::new("named")
            .env("PATH", "/usr/sbin:/usr/bin:/bin")
            .args(["-g", "-n", "1", "-c"])
            .arg(&conf)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("BIND is installed: scripts/packages.sh");
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        loop {
            let line = log.next().unwrap_or_else(|| panic!("named ended: {said:#?}")).unwrap();
            if line.ends_with(" running") {
                break;
            }
            said.push(line);
        }
        // Whoever does not read what it says has it stop.
        std::thread::spawn(move || log.for_each(drop));
        Named { process, directory, address }
    }

    /// Ends it, as a test wants to see.
    pub(crate) fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // It may have been stopped, and the system clears what is left behind.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A port that is free for datagrams and for streams.
fn free_port() -> SocketAddr {
    loop {
        let datagrams = StdUdpSocket::bind("127.0.0.1:0").unwrap();
        let address = datagrams.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// One datagram's answers from the question's name in lower case and its type; each is sent as it is, after the
/// question's id and question have been put in front.
pub(crate) type Answer = Vec<Vec<u8>>;

/// A name server that does as a test says.
pub(crate) struct Liar {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Liar {
    pub(crate) async fn start(mut answer: impl FnMut(&str, u16) -> Answer + Send + 'static) -> Liar {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4_096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let query = &buffer[..length];
                let (name, kind, end) = question(query);
                for rest in answer(&name, kind) {
                    let mut datagram = query[..2].to_vec();
                    datagram.extend(&rest[..2.min(rest.len())]);
                    datagram.extend([0, 1]);
                    datagram.extend(rest.get(2..8).unwrap_or_default());
                    datagram.extend(&query[12..end]);
                    datagram.extend(rest.get(8..).unwrap_or_default());
                    socket.send_to(&datagram, from).await.unwrap();
                }
            }
        });
        Liar { address, task }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Name, type, and where the question ends.
fn question(query: &[u8]) -> (String, u16, usize) {
    let (mut at, mut name) = (12, String::new());
    while query[at] != 0 {
        let length = usize::from(query[at]);
        name += &String::from_utf8_lossy(&query[at + 1..=at + length]).to_lowercase();
        name.push('.');
        at += length + 1;
    }
    (name, u16::from_be_bytes([query[at + 1], query[at + 2]]), at + 5)
}

/// An answer without error that has these records, each by its owner, type and data.
pub(crate) fn records(records: &[(&str, u16, &[u8])]) -> Vec<u8> {
    let mut rest = vec![0x84, 0x00];
    rest.extend((records.len() as u16).to_be_bytes());
    rest.extend([0, 0, 0, 0]);
    for (owner, kind, data) in records {
        rest.extend(wire_name(owner));
        rest.extend(kind.to_be_bytes());
        rest.extend([0, 1, 0, 0, 0, 60]);
        rest.extend((data.len() as u16).to_be_bytes());
        rest.extend(*data);
    }
    rest
}

/// An answer that says no more than its code.
pub(crate) fn code(code: u8) -> Vec<u8> {
    vec![0x84, code, 0, 0, 0, 0, 0, 0]
}

pub(crate) fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}
