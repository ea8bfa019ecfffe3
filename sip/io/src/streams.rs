//! The connections of TCP, TLS and WebSocket: one task owns the table of them, and each has a task of its own.

mod connection;
mod handshake;
mod life;
mod sources;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use rustls::ClientConfig;
use sip_core::{Hop, Input, Source, Transmit, Transport, TransportErrorKind};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::counters::Counters;
use crate::inbox::Intake;
use crate::limits::Limits;
use connection::Connection;
use handshake::{Channel, Dial, Failure};
pub(crate) use handshake::{Gate, Welcome};
use sources::Sources;

/// Connections that the kernel completes before we accept them: more than a thousand at once are a flood.
const LISTEN_BACKLOG: i32 = 1_024;

/// Messages on their way from the endpoint's task to the table's task, which does nothing slow: as many as there are
/// calls to be hung up at once.
const COMMANDS: usize = 16_384;

/// Accepted connections on their way to the table.
const ACCEPTED: usize = 16;

/// How long accepting rests when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that fails us is complained of once in so long, however many calls try it, and so is a listener that cannot
/// accept.
const COMPLAINT: Duration = Duration::from_secs(60);

/// Servers complained of that are remembered.
const COMPLAINTS: usize = 1_024;

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

/// A socket that is listened on.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) socket: TcpListener,
    pub(crate) bound: SocketAddr,
    pub(crate) welcome: Welcome,
}

/// What the tasks of the connections share.
#[derive(Debug, Clone)]
struct Context {
    limits: Arc<Limits>,
    intake: Intake,
    counters: Arc<Counters>,
    /// How servers are verified now: anew after a reload.
    client_tls: watch::Receiver<Arc<ClientConfig>>,
}

/// What waits to leave on a connection.
#[derive(Debug)]
enum Queued {
    Message(Bytes),
    Ping,
    Pong,
}

/// The way to the table's task.
#[derive(Debug)]
pub(crate) struct Streams {
    commands: mpsc::Sender<Transmit>,
    table: JoinHandle<()>,
    counters: Arc<Counters>,
}

impl Streams {
    /// Starts accepting from `listeners` and owning the table. The task ends after this value is dropped.
    pub(crate) fn start(
        listeners: Vec<Listening>,
        client_tls: watch::Receiver<Arc<ClientConfig>>,
        limits: Arc<Limits>,
        intake: Intake,
        counters: Arc<Counters>,
        tasks: &mut JoinSet<()>,
    ) -> Streams {
        let (accepted, arriving) = mpsc::channel(ACCEPTED);
        let served =
            listeners.iter().map(|listening| (listening.welcome.transport(), listening.bound.port()));
        let served = served.collect();
        for listening in listeners {
            tasks.spawn(accept(listening, accepted.clone()));
        }
        let (commands, wanted) = mpsc::channel(COMMANDS);
        let table = Table {
            context: Context { limits, intake, counters: counters.clone(), client_tls },
            served,
            connections: BTreeMap::new(),
            sources: Sources::default(),
            guests: HashMap::new(),
            greeting: JoinSet::new(),
            peers: HashMap::new(),
            running: JoinSet::new(),
            complaints: BTreeMap::new(),
        };
        // Not among `tasks`, which end at once: the table takes leave of its peers first.
        let table = tokio::spawn(table.run(wanted, arriving));
        Streams { commands, table, counters }
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
    welcome: Welcome,
}

async fn accept(listening: Listening, accepted: mpsc::Sender<Accepted>) {
    let Listening { socket, bound, welcome } = listening;
    let transport = welcome.transport();
    let mut complained: Option<Instant> = None;
    loop {
        match socket.accept().await {
            Ok((stream, remote)) => {
                let local = stream.local_addr().unwrap_or(bound);
                let hop = Hop { transport, local, remote };
                if accepted.send(Accepted { stream, hop, welcome: welcome.clone() }).await.is_err() {
                    return;
                }
            }
            // The peer gave up while waiting: nothing is wrong here.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if complained.is_none_or(|last| last.elapsed() >= COMPLAINT) {
                    complained = Some(Instant::now());
                    tracing::warn!(%transport, %bound, %error, "cannot accept connections for now");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The peer first, so that all connections to it lie side by side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Peer {
    transport: Transport,
    remote: SocketAddr,
    way: Way,
}

/// Who opened a connection; in the order in which they are preferred.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// We, from this address, to the server of this name: what was verified of one name says nothing of another.
    Opened { from: IpAddr, server_name: Option<ByteString> },
    /// The peer, to this address of ours.
    Accepted { at: SocketAddr },
}

impl Peer {
    /// Before all others of the same transport and address.
    fn first(transport: Transport, remote: SocketAddr) -> Peer {
        let from = IpAddr::from([0, 0, 0, 0]);
        Peer { transport, remote, way: Way::Opened { from, server_name: None } }
    }
}

struct Table {
    context: Context,
    /// What is listened on: peers that came by it are no servers.
    served: Vec<(Transport, u16)>,
    connections: BTreeMap<Peer, Entry>,
    sources: Sources,
    /// Those at their handshake, and where they come from.
    guests: HashMap<task::Id, Hop>,
    greeting: JoinSet<Result<Channel, Failure>>,
    /// Whose task is whose, to clear up after one that ended.
    peers: HashMap<task::Id, (Peer, Option<Source>)>,
    running: JoinSet<Result<(), (Dial, Failure)>>,
    /// When a server was last complained of.
    complaints: BTreeMap<Peer, Instant>,
}

struct Entry {
    task: task::Id,
    outgoing: mpsc::Sender<Queued>,
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
                Some(greeted) = self.greeting.join_next_with_id() => self.greeted(greeted),
                Some(ended) = self.running.join_next_with_id() => match ended {
                    Ok((task, Ok(()))) => self.forget(task),
                    Ok((task, Err((dial, failure)))) => {
                        self.forget(task);
                        self.complain(&dial, &failure);
                    }
                    Err(error) => self.forget(error.id()),
                },
            }
        }
        // Connections end when their queue is closed and empty.
        self.connections.clear();
        let all_ended = async { while self.running.join_next().await.is_some() {} };
        // Whoever does not take the rest in time does not get it: dropping the set ends the tasks.
        let _ = timeout(FAREWELL, all_ended).await;
    }

    fn open(&self) -> usize {
        self.running.len() + self.greeting.len()
    }

    fn is_full(&self) -> bool {
        self.open() >= self.context.limits.connections
    }

    /// The last eighth is for those that we open, so that no crowd of phones keeps us from a trunk.
    fn is_full_for_peers(&self) -> bool {
        let most = self.context.limits.connections;
        self.open() >= most - most / 8
    }

    /// A peer has connected. Unless it is one too many it goes through its handshake first, in a task of its own.
    fn admit(&mut self, Accepted { stream, hop, welcome }: Accepted) {
        let limits = &self.context.limits;
        if self.is_full_for_peers() || self.greeting.len() >= limits.handshakes {
            self.context.counters.refused_connections.increment();
            return;
        }
        let source = Source::of(hop.remote.ip());
        if !self.has_room_for(hop.remote.ip())
            || self.sources.load(source).handshakes >= limits.source_handshakes
        {
            self.context.counters.refused_source_connections.increment();
            return;
        }
        match welcome {
            Welcome::Tcp => self.enter_accepted(hop, source, Channel::Tcp(stream)),
            Welcome::Tls(_) | Welcome::Ws(_) | Welcome::Wss(..) => {
                let limits = limits.clone();
                let greeting = async move { handshake::welcome(stream, welcome, &limits).await };
                let task = self.greeting.spawn(greeting).id();
                self.guests.insert(task, hop);
                self.sources.begin_handshake(source);
            }
        }
    }

    /// Unknown sources may have a few connections each, and half of all together; a known one may be a whole office behind
    /// one address, and has half of all to itself.
    fn has_room_for(&self, address: IpAddr) -> bool {
        if !self.context.intake.admits(address) {
            return false;
        }
        let limits = &self.context.limits;
        let load = self.sources.load(Source::of(address));
        let its = load.connections + load.handshakes;
        if self.context.intake.knows(address) {
            return its < limits.connections.div_ceil(2);
        }
        its < limits.source_connections && self.open() < limits.connections / 2
    }

    /// A handshake is over, one way or another.
    fn greeted(&mut self, greeted: Result<(task::Id, Result<Channel, Failure>), JoinError>) {
        let (task, channel) = match greeted {
            Ok((task, channel)) => (task, channel.map_err(|failure| failure.reason)),
            Err(error) => (error.id(), Err(error.to_string())),
        };
        let Some(hop) = self.guests.remove(&task) else { return };
        let source = Source::of(hop.remote.ip());
        self.sources.end_handshake(source);
        match channel {
            Ok(channel) => self.enter_accepted(hop, source, channel),
            // Strangers try all day long: a counter, and the reason for those who look for it.
            Err(reason) => {
                self.context.counters.failed_handshakes.increment();
                tracing::debug!(transport = %hop.transport, peer = %hop.remote, reason, "no handshake");
            }
        }
    }

    fn enter_accepted(&mut self, hop: Hop, source: Source, channel: Channel) {
        let (outgoing, queue) = mpsc::channel(self.context.limits.send_queue);
        let connection = Connection::new(hop, outgoing.downgrade(), queue, self.context.clone());
        let peer =
            Peer { transport: hop.transport, remote: hop.remote, way: Way::Accepted { at: hop.local } };
        self.sources.begin_connection(source);
        self.enter(peer, Some(source), outgoing, async move {
            connection.accepted(channel).await;
            Ok(())
        });
    }

    fn send(&mut self, transmit: Transmit) {
        let mut outgoing = Queued::Message(transmit.payload.clone());
        for peer in self.candidates(&transmit) {
            let Some(entry) = self.connections.get(&peer) else { continue };
            match entry.outgoing.try_send(outgoing) {
                Ok(()) => return,
                // Its transaction's timer will tell. A transport error would end every transaction with this peer,
                // which is for Limits::write to decide.
                Err(TrySendError::Full(_)) => return self.context.counters.dropped_sends.increment(),
                // The connection has just ended, and its task is still to be cleared up after.
                Err(TrySendError::Closed(unsent)) => outgoing = unsent,
            }
        }
        let Transmit { transport, local, remote, payload: _, reply_on, server_name } = transmit;
        if reply_on.is_some_and(|hop| self.is_client_of_ours(hop)) {
            return self.refuse(transport, remote, TransportErrorKind::Closed);
        }
        self.dial(Dial { transport, local, remote, server_name }, outgoing);
    }

    /// RFC 7118 section 5.1: nobody can connect to a WebSocket client; once its connection is gone it is out of reach.
    fn is_client_of_ours(&self, hop: Hop) -> bool {
        hop.transport.is_web_socket() && self.served.contains(&(hop.transport, hop.local.port()))
    }

    /// The connections that could carry a message, best first. RFC 3261 section 18.2.2: a response is sent "using the
    /// existing connection to the source of the original request"; section 18 recommends that connections be reused, as
    /// RFC 5923 does for TLS, where the peer has proven to be the one that the message is for.
    fn candidates(&self, transmit: &Transmit) -> Vec<Peer> {
        let Transmit { transport, local, remote, payload: _, reply_on, server_name } = transmit;
        let mut candidates = Vec::new();
        if let Some(hop) = *reply_on {
            let accepted = Way::Accepted { at: hop.local };
            candidates.push(Peer { transport: hop.transport, remote: hop.remote, way: accepted });
            let by_hop = self.towards(hop.transport, hop.remote).filter(|peer| match &peer.way {
                Way::Opened { from, .. } => from.is_unspecified() || *from == hop.local.ip(),
                Way::Accepted { .. } => false,
            });
            candidates.extend(by_hop.cloned());
        }
        let by_remote = self.towards(*transport, *remote).filter(|peer| match &peer.way {
            Way::Opened { from, server_name: proven } => {
                *from == local.ip() && (!transport.is_secure() || proven == server_name)
            }
            Way::Accepted { .. } => !transport.is_secure(),
        });
        candidates.extend(by_remote.cloned());
        candidates
    }

    fn towards(&self, transport: Transport, remote: SocketAddr) -> impl Iterator<Item = &Peer> {
        self.connections
            .range(Peer::first(transport, remote)..)
            .map(|(peer, _)| peer)
            .take_while(move |peer| (peer.transport, peer.remote) == (transport, remote))
    }

    fn dial(&mut self, dial: Dial, first: Queued) {
        if self.is_full() {
            self.context.counters.refused_connections.increment();
            return self.refuse(dial.transport, dial.remote, TransportErrorKind::Local);
        }
        let hop = Hop { transport: dial.transport, local: dial.local, remote: dial.remote };
        let (outgoing, queue) = mpsc::channel(self.context.limits.trunk_send_queue);
        let connection = Connection::new(hop, outgoing.downgrade(), queue, self.context.clone());
        self.enter(opened(&dial), None, outgoing.clone(), async move {
            connection.opened(&dial).await.map_err(|failure| (dial, failure))
        });
        if outgoing.try_send(first).is_err() {
            self.context.counters.dropped_sends.increment();
        }
    }

    /// Tells the core that a message cannot leave.
    fn refuse(&self, transport: Transport, remote: SocketAddr, kind: TransportErrorKind) {
        self.context.counters.dropped_sends.increment();
        // If the inbox has no room, the transaction's timer tells; without an inbox there is nobody to tell.
        let _ = self.context.intake.offer(Input::TransportError { transport, remote, kind });
    }

    fn enter(
        &mut self,
        peer: Peer,
        source: Option<Source>,
        outgoing: mpsc::Sender<Queued>,
        connection: impl Future<Output = Result<(), (Dial, Failure)>> + Send + 'static,
    ) {
        let task = self.running.spawn(connection).id();
        self.peers.insert(task, (peer.clone(), source));
        self.connections.insert(peer, Entry { task, outgoing });
    }

    fn forget(&mut self, task: task::Id) {
        let Some((peer, source)) = self.peers.remove(&task) else { return };
        if let Some(source) = source {
            self.sources.end_connection(source);
        }
        // A newer connection of the same peer may have taken the place.
        if self.connections.get(&peer).is_some_and(|entry| entry.task == task) {
            self.connections.remove(&peer);
        }
    }

    /// Somebody has to mend what keeps us from a server: a certificate, a port. Where nobody listens, or no packet comes
    /// back, the calls tell.
    fn complain(&mut self, dial: &Dial, failure: &Failure) {
        let (transport, remote, server, reason) =
            (dial.transport, dial.remote, dial.server(), failure.reason.as_str());
        if failure.kind != TransportErrorKind::Handshake {
            tracing::debug!(%transport, %remote, server, reason, "no connection");
            return;
        }
        let now = Instant::now();
        self.complaints.retain(|_, last| now.duration_since(*last) < COMPLAINT);
        let server_of = opened(dial);
        if self.complaints.contains_key(&server_of) || self.complaints.len() >= COMPLAINTS {
            return;
        }
        self.complaints.insert(server_of, now);
        tracing::warn!(%transport, %remote, server, "no connection to this server: {reason}");
    }
}

/// The connection of ours that `dial` leads to.
fn opened(dial: &Dial) -> Peer {
    let server_name = dial.server_name.clone().filter(|_| dial.transport.is_secure());
    let way = Way::Opened { from: dial.local.ip(), server_name };
    Peer { transport: dial.transport, remote: dial.remote, way }
}
