//! The TCP connections: one task owns the table of them, and each has a task of its own.

mod connection;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sip_core::{Hop, Input, Source, Transmit, Transport, TransportErrorKind};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::{self, JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::counters::Counters;
use crate::inbox::Intake;
use crate::limits::Limits;
use connection::Connection;

/// Connections that the kernel completes before we accept them: more than a thousand at once are a flood.
const LISTEN_BACKLOG: i32 = 1_024;

/// Messages on their way from the endpoint's task to the table's task, which does nothing slow: as many as there are
/// calls to be hung up at once.
const COMMANDS: usize = 16_384;

/// Accepted connections on their way to the table.
const ACCEPTED: usize = 16;

/// How long accepting rests when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long queued messages (a last BYE, a last 200) may take to leave when the transports are dropped.
const FAREWELL: Duration = Duration::from_secs(1);

/// Opens a listener.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Otherwise a restart fails while connections of the previous process linger in TIME-WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What the tasks of the connections share.
#[derive(Debug, Clone)]
struct Context {
    limits: Arc<Limits>,
    intake: Intake,
    counters: Arc<Counters>,
}

/// The way to the table's task.
#[derive(Debug)]
pub(crate) struct Tcp {
    commands: mpsc::Sender<Transmit>,
    table: JoinHandle<()>,
    counters: Arc<Counters>,
}

impl Tcp {
    /// Starts accepting from `listeners` and owning the table. The task ends after this value is dropped.
    pub(crate) fn start(
        listeners: Vec<(TcpListener, SocketAddr)>,
        limits: Arc<Limits>,
        intake: Intake,
        counters: Arc<Counters>,
        tasks: &mut JoinSet<()>,
    ) -> Tcp {
        let (accepted, arriving) = mpsc::channel(ACCEPTED);
        for (listener, local) in listeners {
            tasks.spawn(accept(listener, local, accepted.clone()));
        }
        let (commands, wanted) = mpsc::channel(COMMANDS);
        let table = Table {
            context: Context { limits, intake, counters: counters.clone() },
            connections: BTreeMap::new(),
            peers: HashMap::new(),
            running: JoinSet::new(),
        };
        // Not among `tasks`, which end at once: the table takes leave of its peers first.
        let table = tokio::spawn(table.run(wanted, arriving));
        Tcp { commands, table, counters }
    }

    /// Hands a message to the table's task; one that finds no room is dropped and counted.
    pub(crate) fn send(&self, transmit: Transmit) {
        if self.commands.try_send(transmit).is_err() {
            self.counters.dropped_sends.increment();
        }
    }

    /// Waits until what is queued has left, for as long as [`FAREWELL`] at most.
    pub(crate) async fn close(self) {
        drop(self.commands);
        // A table that panicked has nothing left to send.
        let _ = self.table.await;
    }
}

struct Accepted {
    stream: TcpStream,
    hop: Hop,
}

async fn accept(listener: TcpListener, bound: SocketAddr, accepted: mpsc::Sender<Accepted>) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let local = stream.local_addr().unwrap_or(bound);
                let hop = Hop { transport: Transport::Tcp, local, remote };
                if accepted.send(Accepted { stream, hop }).await.is_err() {
                    return;
                }
            }
            // The peer gave up while waiting: nothing is wrong here.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%bound, %error, "cannot accept connections for now");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The peer first, so that all connections to it lie side by side; then the listener for connections we accepted,
/// `None` for the one we opened.
type Peer = (SocketAddr, Option<SocketAddr>);

struct Table {
    context: Context,
    connections: BTreeMap<Peer, Entry>,
    /// Whose task is whose, to clear up after one that ended.
    peers: HashMap<task::Id, Peer>,
    running: JoinSet<()>,
}

struct Entry {
    task: task::Id,
    outgoing: mpsc::Sender<Bytes>,
}

impl Table {
    async fn run(mut self, mut wanted: mpsc::Receiver<Transmit>, mut arriving: mpsc::Receiver<Accepted>) {
        loop {
            tokio::select! {
                transmit = wanted.recv() => match transmit {
                    Some(transmit) => self.send(transmit),
                    None => break,
                },
                Some(accepted) = arriving.recv() => self.admit(accepted),
                Some(ended) = self.running.join_next_with_id() => self.forget(match ended {
                    Ok((task, ())) => task,
                    Err(error) => error.id(),
                }),
            }
        }
        // Connections end when their queue is closed and empty.
        self.connections.clear();
        let all_ended = async { while self.running.join_next().await.is_some() {} };
        // Whoever does not take the rest in time does not get it: dropping the set ends the tasks.
        let _ = timeout(FAREWELL, all_ended).await;
    }

    fn admit(&mut self, Accepted { stream, hop }: Accepted) {
        if self.running.len() >= self.context.limits.connections {
            self.context.counters.refused_connections.increment();
            return;
        }
        if !self.has_room_for(hop.remote.ip()) {
            self.context.counters.refused_source_connections.increment();
            return;
        }
        let (outgoing, queue) = mpsc::channel(self.context.limits.send_queue);
        let connection = Connection::new(hop, outgoing.downgrade(), queue, self.context.clone());
        self.enter((hop.remote, Some(hop.local)), outgoing, connection.accepted(stream));
    }

    /// Unknown sources may have a few connections each, and half of all together.
    fn has_room_for(&self, address: IpAddr) -> bool {
        if !self.context.intake.admits(address) {
            return false;
        }
        if self.context.intake.knows(address) {
            return true;
        }
        let limits = &self.context.limits;
        let source = Source::of(address);
        let of_source = self.connections.keys().filter(|(peer, _)| Source::of(peer.ip()) == source).count();
        of_source < limits.source_connections && self.running.len() < limits.connections / 2
    }

    fn send(&mut self, transmit: Transmit) {
        let Transmit { transport: _, local, remote, mut payload, reply_on, server_name: _ } = transmit;
        for peer in self.candidates(reply_on, remote) {
            let Some(entry) = self.connections.get(&peer) else { continue };
            match entry.outgoing.try_send(payload) {
                Ok(()) => return,
                // Its transaction's timer will tell. A transport error would end every transaction with this peer,
                // which is for Limits::write to decide.
                Err(TrySendError::Full(_)) => return self.context.counters.dropped_sends.increment(),
                // The connection has just ended, and its task is still to be cleared up after.
                Err(TrySendError::Closed(unsent)) => payload = unsent,
            }
        }
        self.open(local, remote, payload);
    }

    /// The connections that could carry a message, best first. RFC 3261 section 18.2.2: a response is sent "using the
    /// existing connection to the source of the original request"; section 18 recommends that connections be reused.
    fn candidates(&self, reply_on: Option<Hop>, remote: SocketAddr) -> Vec<Peer> {
        let by_hop = reply_on.into_iter().flat_map(|hop| [(hop.remote, Some(hop.local)), (hop.remote, None)]);
        let by_remote = self
            .connections
            .range((remote, None)..)
            .map(|(peer, _)| *peer)
            .take_while(|(address, _)| *address == remote);
        by_hop.chain(by_remote).collect()
    }

    fn open(&mut self, local: SocketAddr, remote: SocketAddr, payload: Bytes) {
        if self.running.len() >= self.context.limits.connections {
            self.context.counters.refused_connections.increment();
            self.context.counters.dropped_sends.increment();
            let kind = TransportErrorKind::Local;
            // If the inbox has no room, the transaction's timer tells; without an inbox there is nobody to tell.
            let _ =
                self.context.intake.offer(Input::TransportError { transport: Transport::Tcp, remote, kind });
            return;
        }
        let hop = Hop { transport: Transport::Tcp, local, remote };
        let (outgoing, queue) = mpsc::channel(self.context.limits.trunk_send_queue);
        let connection = Connection::new(hop, outgoing.downgrade(), queue, self.context.clone());
        self.enter((remote, None), outgoing.clone(), connection.opened());
        if outgoing.try_send(payload).is_err() {
            self.context.counters.dropped_sends.increment();
        }
    }

    fn enter(
        &mut self,
        peer: Peer,
        outgoing: mpsc::Sender<Bytes>,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.running.spawn(connection).id();
        self.peers.insert(task, peer);
        self.connections.insert(peer, Entry { task, outgoing });
    }

    fn forget(&mut self, task: task::Id) {
        let Some(peer) = self.peers.remove(&task) else { return };
        // A newer connection of the same peer may have taken the place.
        if self.connections.get(&peer).is_some_and(|entry| entry.task == task) {
            self.connections.remove(&peer);
        }
    }
}
