//! The handle on all listeners: what the endpoint wants sent goes in here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use sip_core::guard::{Guard, Known, Seal};
use sip_core::{Input, Listener, QueryId, Question, ResolveError, Transmit, Transport, TransportErrorKind};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::counters::{Counters, Counts};
use crate::error::Error;
use crate::inbox::{self, Door, Inbox};
use crate::limits::Limits;
use crate::resolver::{self, Asked, Families};
use crate::tcp::{self, Tcp};
use crate::udp::Udp;

/// One address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddr {
    /// The protocol.
    pub transport: Transport,
    /// The address to bind; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The address that peers are told, when it is not the bound one (static NAT, or bound to every address).
    pub public_ip: Option<IpAddr>,
}

impl ListenAddr {
    /// Datagrams on this address.
    pub const fn udp(bind: SocketAddr) -> ListenAddr {
        ListenAddr { transport: Transport::Udp, bind, public_ip: None }
    }

    /// Connections on this address.
    pub const fn tcp(bind: SocketAddr) -> ListenAddr {
        ListenAddr { transport: Transport::Tcp, bind, public_ip: None }
    }

    /// The same address, of which peers are told another.
    pub const fn public(self, ip: IpAddr) -> ListenAddr {
        ListenAddr { public_ip: Some(ip), ..self }
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
}

/// All listeners and connections. Dropping it closes the listeners at once and the connections once their queues are
/// empty, or after a second.
#[derive(Debug)]
pub struct Transports {
    listeners: Vec<Listener>,
    udp: Vec<Udp>,
    tcp: Tcp,
    questions: mpsc::Sender<Asked>,
    counters: Arc<Counters>,
    door: Arc<Door>,
    /// Readers, acceptors and the resolver; they end with this value.
    _tasks: JoinSet<()>,
}

impl Transports {
    /// Opens every address, then starts reading from all. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// When one address cannot be opened; then none stays open.
    pub fn bind(listen: &[ListenAddr], limits: Limits) -> Result<(Transports, Inbox), Error> {
        let mut listeners = Vec::with_capacity(listen.len());
        let (mut sockets, mut acceptors) = (Vec::new(), Vec::new());
        for address in listen {
            let failed = |error| address.failed(error);
            match address.transport {
                Transport::Udp => {
                    let socket = Udp::bind(address.bind).map_err(failed)?;
                    let listener = address.listener(socket.local_addr().map_err(failed)?)?;
                    listeners.push(listener);
                    sockets.push((socket, listener));
                }
                Transport::Tcp => {
                    let socket = tcp::bind(address.bind).map_err(failed)?;
                    let listener = address.listener(socket.local_addr().map_err(failed)?)?;
                    listeners.push(listener);
                    acceptors.push((socket, listener.bound));
                }
                Transport::Tls | Transport::Ws | Transport::Wss => {
                    return Err(failed(std::io::ErrorKind::Unsupported.into()));
                }
            }
        }

        let limits = Arc::new(limits);
        let counters = Arc::new(Counters::default());
        let (intake, inbox) = inbox::channel(&limits, counters.clone());
        let door = Arc::clone(intake.door());
        let mut tasks = JoinSet::new();
        let udp = sockets
            .into_iter()
            .map(|(socket, listener)| {
                Udp::start(socket, listener, &limits, intake.clone(), counters.clone(), &mut tasks)
            })
            .collect();
        let tcp = Tcp::start(acceptors, limits.clone(), intake.clone(), counters.clone(), &mut tasks);
        let families = Families {
            v4: listeners.iter().any(|listener| listener.bound.is_ipv4()),
            v6: listeners.iter().any(|listener| listener.bound.is_ipv6()),
        };
        let questions = resolver::start(families, &limits, intake, counters.clone(), &mut tasks);
        Ok((Transports { listeners, udp, tcp, questions, counters, door, _tasks: tasks }, inbox))
    }

    /// The listeners in the order given, with the ports they got, for
    /// [`EndpointConfig::listeners`](sip_core::EndpointConfig).
    pub fn listeners(&self) -> Vec<Listener> {
        self.listeners.clone()
    }

    /// Has `guard` decide from now on what comes in. Without one everything does.
    pub fn set_guard(&self, guard: Guard) {
        self.door.set_guard(guard);
    }

    /// Tells the guard what marks the endpoint's tags and branches.
    pub fn set_seal(&self, seal: Seal) {
        self.door.with_guard(|guard| guard.set_seal(seal));
    }

    /// Tells the guard who is expected from now on.
    pub fn set_known(&self, known: Known) {
        self.door.with_guard(|guard| guard.set_known(known));
    }

    /// Tells the guard of an offence that was found out behind it: see [`Guard::offence`].
    pub fn offence(&self, now: Instant, source: IpAddr) {
        self.door.with_guard(|guard| guard.offence(now, source));
    }

    /// Tells the guard that this source has shown that it knows a password.
    pub fn trust(&self, source: IpAddr) {
        self.door.with_guard(|guard| guard.trust(source));
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
            Transport::Tcp => {
                self.tcp.send(transmit);
                None
            }
            Transport::Tls | Transport::Ws | Transport::Wss => {
                Some(Input::Unsent { payload: transmit.payload, kind: TransportErrorKind::Local })
            }
        }
    }

    /// Looks up a host's addresses and answers with [`Input::Resolved`] through the [`Inbox`], or, when too many
    /// questions wait, at once. Only addresses of families that we listen on are given. The system's resolver answers,
    /// so `/etc/hosts` counts; SRV records do not yet.
    #[must_use = "the endpoint has to learn of a failure"]
    pub fn resolve(&self, query: QueryId, question: Question) -> Option<Input> {
        let question = Asked { query, question };
        let refused = self.questions.try_send(question).is_err();
        refused.then_some(Input::Resolved { query, result: Err(ResolveError::Unavailable) })
    }

    /// Closes everything, and waits until the messages queued on streams (a last BYE, a last 200) have left: a second
    /// at most.
    pub async fn close(self) {
        let Transports { tcp, .. } = self;
        tcp.close().await;
    }

    /// What was received, sent and dropped so far.
    pub fn counts(&self) -> Counts {
        self.counters.snapshot()
    }

    /// The socket bound to `local`; else any that can reach the remote's family.
    fn udp(&self, local: SocketAddr, remote: SocketAddr) -> Option<&Udp> {
        let exact = self.udp.iter().find(|udp| udp.local() == local);
        exact.or_else(|| self.udp.iter().find(|udp| udp.local().is_ipv4() == remote.is_ipv4()))
    }
}
