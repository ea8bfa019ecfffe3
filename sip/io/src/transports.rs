//! The handle on all listeners: what the endpoint wants sent goes in here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use rustls::{ClientConfig, ServerConfig};
use sip_core::guard::{Guard, Known, Seal};
use sip_core::{Input, Listener, QueryId, Question, ResolveError, Transmit, Transport, TransportErrorKind};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::counters::{Counters, Counts};
use crate::error::Error;
use crate::inbox::{self, Inbox, Intake, Waiting};
use crate::limits::Limits;
use crate::resolver::{self, Asked, Reach};
use crate::streams::{self, Gate, Listening, Streams, Welcome};
use crate::tls::{ClientTls, ServerTls, TlsError};
use crate::udp::Udp;

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddr {
    /// The protocol.
    pub transport: Transport,
    /// The address to bind; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The address that peers are told, when it is not the bound one (static NAT, or bound to every address).
    pub public_ip: Option<IpAddr>,
    /// The certificate to show. TLS and WSS need one; others have no use for it.
    pub tls: Option<ServerTls>,
    /// WebSocket: the pages that may connect, as browsers name them in `Origin`; without any, every page and every program
    /// may.
    pub origins: Vec<String>,
    /// WebSocket: the only path to connect to; `None` takes any.
    pub path: Option<String>,
}

impl ListenAddr {
    /// Any transport on this address.
    pub const fn new(transport: Transport, bind: SocketAddr) -> ListenAddr {
        ListenAddr { transport, bind, public_ip: None, tls: None, origins: Vec::new(), path: None }
    }

    /// Datagrams on this address.
    pub const fn udp(bind: SocketAddr) -> ListenAddr {
        ListenAddr::new(Transport::Udp, bind)
    }

    /// Connections on this address.
    pub const fn tcp(bind: SocketAddr) -> ListenAddr {
        ListenAddr::new(Transport::Tcp, bind)
    }

    /// The same address, of which peers are told another.
    #[must_use]
    pub fn public(self, ip: IpAddr) -> ListenAddr {
        ListenAddr { public_ip: Some(ip), ..self }
    }

    /// The same address with a certificate to show.
    #[must_use]
    pub fn tls(self, tls: ServerTls) -> ListenAddr {
        ListenAddr { tls: Some(tls), ..self }
    }

    fn listener(&self, bound: SocketAddr) -> Result<Listener, Error> {
        let ip = self.public_ip.unwrap_or(bound.ip());
        if ip.is_unspecified() {
            return Err(Error::NoPublicAddress { transport: self.transport, address: self.bind });
        }
        Ok(Listener { transport: self.transport, bound, advertised: SocketAddr::new(ip, bound.port()) })
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Listen { transport: self.transport, address: self.bind, source }
    }

    fn gate(&self) -> Gate {
        Gate { path: self.path.clone(), origins: self.origins.clone() }
    }

    fn server_tls(&self) -> Result<&ServerTls, Error> {
        let missing = Error::NoCertificate { transport: self.transport, address: self.bind };
        self.tls.as_ref().ok_or(missing)
    }
}

/// All listeners and connections. Dropping it closes the listeners at once and the connections once their queues are
/// empty, or after a second.
#[derive(Debug)]
pub struct Transports {
    listeners: Vec<Listener>,
    udp: Vec<Udp>,
    streams: Streams,
    tls: TlsFiles,
    questions: mpsc::Sender<Asked>,
    name_servers: watch::Sender<Vec<SocketAddr>>,
    counters: Arc<Counters>,
    intake: Intake,
    /// Readers, acceptors and the resolver; they end with this value.
    _tasks: JoinSet<()>,
}

/// The files that TLS was set up from.
#[derive(Debug, Clone)]
pub struct TlsFiles(Arc<Certificates>);

impl TlsFiles {
    /// Reads every certificate, key and list of trusted issuers anew. What is connected stays so; handshakes from now on
    /// have the new ones. Reads files: not for a task that must not wait.
    ///
    /// # Errors
    /// When a file cannot be used; then all stays as it is.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.0.reload()
    }
}

/// The files, and where to put what they hold after a change.
#[derive(Debug)]
struct Certificates {
    listeners: Vec<(ServerTls, watch::Sender<Arc<ServerConfig>>)>,
    client: (ClientTls, watch::Sender<Arc<ClientConfig>>),
}

impl Certificates {
    fn of_client(client: ClientTls) -> Result<Certificates, Error> {
        let (sender, _) = watch::channel(client.load()?);
        Ok(Certificates { listeners: Vec::new(), client: (client, sender) })
    }

    /// Loads what a listener shows, and gives where to find it from then on.
    fn add(&mut self, tls: &ServerTls) -> Result<watch::Receiver<Arc<ServerConfig>>, Error> {
        let (sender, receiver) = watch::channel(tls.load()?);
        self.listeners.push((tls.clone(), sender));
        Ok(receiver)
    }

    fn reload(&self) -> Result<(), TlsError> {
        let listeners: Vec<_> = self.listeners.iter().map(|(tls, _)| tls.load()).collect::<Result<_, _>>()?;
        let client = self.client.0.load()?;
        for ((_, sender), config) in self.listeners.iter().zip(listeners) {
            sender.send_replace(config);
        }
        self.client.1.send_replace(client);
        Ok(())
    }
}

impl Transports {
    /// Opens every address, then starts reading from all. Needs a tokio runtime with I/O and time. Servers that we connect
    /// to over TLS are verified by what the system trusts.
    ///
    /// # Errors
    /// When one address cannot be opened, or a certificate not be read; then none stays open.
    pub fn bind(listen: &[ListenAddr], limits: Limits) -> Result<(Transports, Inbox), Error> {
        Self::bind_with(listen, ClientTls::default(), limits)
    }

    /// As [`Self::bind`], with another way to verify servers.
    ///
    /// # Errors
    /// As those of [`Self::bind`].
    pub fn bind_with(
        listen: &[ListenAddr],
        client: ClientTls,
        limits: Limits,
    ) -> Result<(Transports, Inbox), Error> {
        let mut listeners = Vec::with_capacity(listen.len());
        let (mut sockets, mut acceptors) = (Vec::new(), Vec::new());
        let mut certificates = Certificates::of_client(client)?;
        for address in listen {
            let failed = |error| address.failed(error);
            let welcome = match address.transport {
                Transport::Udp => {
                    let socket = Udp::bind(address.bind).map_err(failed)?;
                    let listener = address.listener(socket.local_addr().map_err(failed)?)?;
                    listeners.push(listener);
                    sockets.push((socket, listener));
                    continue;
                }
                Transport::Tcp => Welcome::Tcp,
                Transport::Tls => Welcome::Tls(certificates.add(address.server_tls()?)?),
                Transport::Ws => Welcome::Ws(address.gate()),
                Transport::Wss => Welcome::Wss(certificates.add(address.server_tls()?)?, address.gate()),
            };
            let socket = streams::bind(address.bind).map_err(failed)?;
            let listener = address.listener(socket.local_addr().map_err(failed)?)?;
            listeners.push(listener);
            acceptors.push(Listening { socket, bound: listener.bound, welcome });
        }

        let limits = Arc::new(limits);
        let counters = Arc::new(Counters::default());
        let (intake, inbox) = inbox::channel(&limits, counters.clone());
        let mut tasks = JoinSet::new();
        let udp = sockets
            .into_iter()
            .map(|(socket, listener)| {
                Udp::start(socket, listener, &limits, intake.clone(), counters.clone(), &mut tasks)
            })
            .collect();
        let client_tls = certificates.client.1.subscribe();
        let streams = Streams::start(
            acceptors,
            client_tls,
            limits.clone(),
            intake.clone(),
            counters.clone(),
            &mut tasks,
        );
        let (name_servers, asked) = watch::channel(Vec::new());
        let reach = Reach::of(&listeners);
        let questions = resolver::start(reach, asked, &limits, intake.clone(), counters.clone(), &mut tasks);
        let transports = Transports {
            listeners,
            udp,
            streams,
            tls: TlsFiles(Arc::new(certificates)),
            questions,
            name_servers,
            counters,
            intake,
            _tasks: tasks,
        };
        Ok((transports, inbox))
    }

    /// To take up new certificates without cutting anybody off.
    pub fn tls_files(&self) -> TlsFiles {
        self.tls.clone()
    }

    /// The listeners in the order given, with the ports they got, for
    /// [`EndpointConfig::listeners`](sip_core::EndpointConfig).
    pub fn listeners(&self) -> Vec<Listener> {
        self.listeners.clone()
    }

    /// Has `guard` decide from now on what comes in. Without one everything does.
    pub fn set_guard(&self, guard: Guard) {
        self.intake.door().set_guard(guard);
    }

    /// Has these name servers asked from now on; without any, those of `/etc/resolv.conf` are.
    pub fn set_name_servers(&self, servers: Vec<SocketAddr>) {
        self.name_servers.send_replace(servers);
    }

    /// Tells the guard what marks the endpoint's tags and branches.
    pub fn set_seal(&self, seal: Seal) {
        self.intake.door().with_guard(|guard| guard.set_seal(seal));
    }

    /// Tells the guard who is expected from now on.
    pub fn set_known(&self, known: Known) {
        self.intake.door().with_guard(|guard| guard.set_known(known));
    }

    /// Tells the guard of an offence that was found out behind it: see [`Guard::offence`].
    pub fn offence(&self, now: Instant, source: IpAddr) {
        self.intake.door().with_guard(|guard| guard.offence(now, source));
    }

    /// Tells the guard that this source has shown that it knows a password.
    pub fn trust(&self, source: IpAddr) {
        self.intake.door().with_guard(|guard| guard.trust(source));
    }

    /// Sends a message without waiting. When it is clear at once that it will not leave, the answer is the input that
    /// says so, to be handed to the endpoint; later failures come through the [`Inbox`].
    #[must_use = "the endpoint has to learn of a failure"]
    pub fn transmit(&self, transmit: Transmit) -> Option<Input> {
        let remote = transmit.remote;
        match transmit.transport {
            Transport::Udp => match self.udp(transmit.local, remote) {
                Some(udp) => udp.send(transmit.payload, remote),
                None => Some(Input::Unsent { payload: transmit.payload, kind: TransportErrorKind::Local }),
            },
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                self.streams.send(transmit);
                None
            }
        }
    }

    /// Finds out where a target is (RFC 3263) and answers with [`Input::Resolved`] through the [`Inbox`], or, when too
    /// many questions wait, at once. Only what the listeners can send to is given.
    #[must_use = "the endpoint has to learn of a failure"]
    pub fn resolve(&self, query: QueryId, question: Question) -> Option<Input> {
        let question = Asked { query, question };
        let refused = self.questions.try_send(question).is_err();
        refused.then_some(Input::Resolved { query, result: Err(ResolveError::Unavailable) })
    }

    /// Closes everything, and waits until the messages queued on streams (a last BYE, a last 200) have left: a second
    /// at most.
    pub async fn close(self) {
        let Transports { streams, .. } = self;
        streams.close().await;
    }

    /// What was received, sent and dropped so far.
    pub fn counts(&self) -> Counts {
        self.counters.snapshot()
    }

    /// What waits in the [`Inbox`].
    pub fn waiting(&self) -> Waiting {
        self.intake.waiting()
    }

    /// The socket bound to `local`; else any that can reach the remote's family.
    fn udp(&self, local: SocketAddr, remote: SocketAddr) -> Option<&Udp> {
        let exact = self.udp.iter().find(|udp| udp.local() == local);
        exact.or_else(|| self.udp.iter().find(|udp| udp.local().is_ipv4() == remote.is_ipv4()))
    }
}
