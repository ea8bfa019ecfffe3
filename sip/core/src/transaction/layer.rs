//! The running transactions, and what the transaction users above share with them: timers, outputs, randomness.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::ops::Bound;
use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use super::client::NonInviteClient;
use super::client_invite::InviteClient;
use super::compose;
use super::key::{Branch, ClientKey, MergeKey, ServerKey};
use super::locate::Asker;
use super::machine::{Action, Actions, ClientInput, ServerInput, Settings, StatusClass, Timer};
use super::server::NonInviteServer;
use super::server_invite::InviteServer;
use super::size::Sending;
use crate::endpoint::{EndpointConfig, Event, Listener, Output, QueryId, Transmit};
use crate::guard::Seal;
use crate::outgoing::OutgoingId;
use crate::registration::RegistrationId;
use crate::session::{DialogId, Purpose, SessionId, SessionTimer};
use crate::timers::TimerQueue;
use crate::transport::{Destination, Hop, Transport};
use crate::watch::WatchId;
use crate::{Host, Message, Method, SessionIdentifier};

/// One server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServerId(pub(crate) u64);

/// Everything in the endpoint that a timer can wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    Client(ClientKey, Timer),
    Server(ServerId, Timer),
    Session(SessionId, SessionTimer),
    Registration(RegistrationId),
    Keepalive(RegistrationId),
    Watch(WatchId),
}

/// Whose request a client transaction carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    Invite(SessionId),
    /// A CANCEL: its response tells nothing, the INVITE's does.
    Cancel(SessionId),
    /// A request in a dialog of the session.
    Dialog(SessionId, DialogId, Purpose),
    Register(RegistrationId),
    Outgoing(OutgoingId),
}

/// What a client transaction tells its user.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) user: User,
    pub(crate) key: ClientKey,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one call of a function; a box would cost an allocation"
)]
pub(crate) enum Outcome {
    Response {
        hop: Hop,
        response: Message,
    },
    /// Timer B or F.
    TimedOut,
    TransportFailed,
}

/// Where a request goes and what it names as its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) transport: Transport,
    pub(crate) remote: SocketAddr,
    /// The listener's bound address.
    pub(crate) local: SocketAddr,
    /// The listener's advertised address: Via and Contact.
    pub(crate) advertised: SocketAddr,
    /// The open stream to use.
    pub(crate) stream: Option<Hop>,
    /// The name that `remote` was found by.
    pub(crate) server_name: Option<ByteString>,
    /// Whether nobody has chosen the transport, so that a large request may take another.
    pub(crate) is_open: bool,
    /// Whether it leads back to where a peer's request came from because the address that the peer knows itself by does
    /// not lead there: behind a NAT.
    pub(crate) is_flow: bool,
}

impl Path {
    pub(crate) fn destination(&self) -> Destination {
        Destination { transport: self.transport, address: self.remote }
    }

    pub(crate) fn transmit(&self, payload: Bytes) -> Transmit {
        Transmit {
            transport: self.transport,
            local: self.local,
            remote: self.remote,
            payload,
            reply_on: self.stream,
            server_name: self.server_name.clone(),
        }
    }

    /// Whether requests to a next hop so written can only go back the way that this path goes: a WebSocket client cannot
    /// be connected to, and writes `.invalid` for a host where it does not know its own (RFC 7118 section 5.1 and its
    /// appendix A).
    pub(crate) fn is_only_way_to(&self, host: &Host, transport: Option<Transport>) -> bool {
        let invalid = match host {
            Host::Name(name) => {
                let label = name.rsplit('.').next().unwrap_or_default();
                label.eq_ignore_ascii_case("invalid")
            }
            Host::Ip(_) => false,
        };
        let same_web_socket =
            self.transport.is_web_socket() && transport.is_none_or(Transport::is_web_socket);
        invalid || same_web_socket
    }
}

/// How well a listener suits a message by its local address; the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    Itself,
    Wildcard,
    Address,
    Other,
}

/// What a request turned out to be.
#[derive(Debug)]
pub(crate) enum Received {
    /// A new request; it waits for an answer.
    New(ServerId),
    /// A repetition, or the ACK of a negative answer; dealt with.
    Absorbed,
    /// An ACK that is no part of a known transaction: the one for a 2xx.
    Ack,
    /// A copy of a request that is being served already, come by another way.
    Merged,
    /// There is no room for another transaction.
    Full,
    /// A header field that identifies the transaction is missing or malformed.
    Malformed,
}

#[derive(Debug)]
enum ClientMachine {
    Invite(InviteClient),
    Other(NonInviteClient),
}

#[derive(Debug)]
struct ClientTransaction {
    machine: ClientMachine,
    method: Method,
    user: User,
    path: Path,
    request: Bytes,
    /// What the request was before it was found too large for a datagram.
    as_datagram: Option<Box<Sending>>,
}

#[derive(Debug)]
enum ServerMachine {
    Invite(InviteServer),
    Other(NonInviteServer),
}

#[derive(Debug)]
struct ServerTransaction {
    machine: ServerMachine,
    key: ServerKey,
    merge_key: Option<MergeKey>,
    /// The request, until it has a final response.
    request: Option<Message>,
    hop: Hop,
    reply_to: SocketAddr,
    response: Option<Bytes>,
    /// The session an INVITE began.
    session: Option<SessionId>,
    /// Our half of the Session-ID of the call it belongs to.
    uuid: Option<u128>,
}

/// Everything below the transaction users.
#[derive(Debug)]
pub(crate) struct TransactionLayer {
    pub(crate) config: EndpointConfig,
    pub(crate) timers: TimerQueue<TimerKey>,
    rng: ChaCha12Rng,
    pub(crate) seal: Seal,
    /// For responses without a transaction.
    pub(crate) stateless_tag: u64,
    outputs: VecDeque<Output>,
    clients: BTreeMap<ClientKey, ClientTransaction>,
    clients_by_remote: BTreeSet<(Transport, SocketAddr, ClientKey)>,
    servers: BTreeMap<ServerId, ServerTransaction>,
    server_ids: BTreeMap<ServerKey, ServerId>,
    merge_keys: BTreeSet<MergeKey>,
    next_server: u64,
    /// Users whose client transaction is over, for [`Self::pop_ended`].
    ended: Vec<(User, ClientKey)>,
    /// Calls whose place another has taken (RFC 3891), for [`Self::pop_displaced`].
    displaced: Vec<(Instant, SessionId)>,
    queries: BTreeMap<QueryId, Asker>,
    next_query: u64,
    /// Destinations that failed, and until when they are tried last.
    pub(super) avoided: BTreeMap<Destination, Instant>,
}

impl TransactionLayer {
    pub(crate) fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let seal = Seal::new(&seed);
        Self {
            config,
            timers: TimerQueue::new(),
            stateless_tag: seal.token(rng.next_u64()),
            seal,
            rng,
            outputs: VecDeque::new(),
            clients: BTreeMap::new(),
            clients_by_remote: BTreeSet::new(),
            servers: BTreeMap::new(),
            server_ids: BTreeMap::new(),
            merge_keys: BTreeSet::new(),
            next_server: 0,
            ended: Vec::new(),
            displaced: Vec::new(),
            queries: BTreeMap::new(),
            next_query: 0,
            avoided: BTreeMap::new(),
        }
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// A tag of ours: the shell can tell it from others without asking us.
    pub(crate) fn tag(&mut self) -> u64 {
        let random = self.random();
        self.seal.token(random)
    }

    /// Our half of the Session-ID of a new call.
    pub(crate) fn uuid(&mut self) -> Option<u128> {
        let wanted = self.config.session_ids;
        wanted.then(|| SessionIdentifier::random(self.random(), self.random()).local)
    }

    /// A branch of ours, sealed as [`Self::tag`] is, that no running transaction has.
    pub(crate) fn branch(&mut self) -> Branch {
        loop {
            let branch = Branch(self.tag());
            if self.clients.range(ClientKey::all_of(branch)).next().is_none() {
                return branch;
            }
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(crate) fn transmit(&mut self, transmit: Transmit) {
        self.outputs.push_back(Output::Transmit(transmit));
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Client and server transactions running.
    pub(crate) fn len(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// Client transactions without a final response.
    pub(crate) fn unanswered(&self) -> usize {
        let is_open = |transaction: &&ClientTransaction| match transaction.machine {
            ClientMachine::Invite(InviteClient::Calling { .. } | InviteClient::Proceeding)
            | ClientMachine::Other(NonInviteClient::Trying { .. } | NonInviteClient::Proceeding) => true,
            ClientMachine::Invite(
                InviteClient::Completed | InviteClient::Accepted | InviteClient::Terminated,
            )
            | ClientMachine::Other(NonInviteClient::Completed | NonInviteClient::Terminated) => false,
        };
        self.clients.values().filter(is_open).count()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.config.max_transactions
    }

    /// The way to `remote` from the listener that `local` is of, or else from the first one of its transport and address
    /// family. `stream` is used where it is one of that transport.
    pub(crate) fn path(
        &self,
        transport: Transport,
        remote: SocketAddr,
        local: Option<SocketAddr>,
        stream: Option<Hop>,
    ) -> Option<Path> {
        let suitable = self.config.listeners.iter().filter(|listener| {
            listener.transport == transport && listener.bound.is_ipv4() == remote.is_ipv4()
        });
        // A stream has an address of its own where its listener is bound to all; one that we opened, a port of its own.
        let match_with = |listener: &&Listener| match local {
            Some(local) if listener.bound == local => Match::Itself,
            Some(local) if listener.bound.ip().is_unspecified() && listener.bound.port() == local.port() => {
                Match::Wildcard
            }
            Some(local) if listener.bound.ip() == local.ip() => Match::Address,
            Some(_) | None => Match::Other,
        };
        let listener = suitable.min_by_key(match_with)?;
        Some(Path {
            transport,
            remote,
            local: listener.bound,
            advertised: listener.advertised,
            stream: stream.filter(|hop| transport.is_reliable() && hop.transport == transport),
            server_name: None,
            is_open: false,
            is_flow: false,
        })
    }

    /// The way back to where a message came from.
    pub(crate) fn path_back(&self, hop: Hop) -> Option<Path> {
        self.path(hop.transport, hop.remote, Some(hop.local), Some(hop))
    }

    /// A client transaction that is over, so that a session that lingers for its transactions can go.
    pub(crate) fn pop_ended(&mut self) -> Option<(User, ClientKey)> {
        self.ended.pop()
    }

    /// A call is answered that takes the place of this one.
    pub(crate) fn displace(&mut self, now: Instant, replaced: SessionId) {
        self.displaced.push((now, replaced));
    }

    /// A call that has been displaced, and when.
    pub(crate) fn pop_displaced(&mut self) -> Option<(Instant, SessionId)> {
        self.displaced.pop()
    }

    pub(super) fn ask(&mut self, asker: Asker) -> QueryId {
        let query = QueryId(self.next_query);
        self.next_query += 1;
        self.queries.insert(query, asker);
        query
    }

    /// Who asked this; `None` when nobody waits for the answer any more.
    pub(crate) fn take_query(&mut self, query: QueryId) -> Option<Asker> {
        self.queries.remove(&query)
    }

    fn settings(&self, transport: Transport) -> Settings {
        Settings { timers: self.config.timers, reliable: transport.is_reliable() }
    }
}

/// Client transactions.
impl TransactionLayer {
    /// Sends `request`, whose top Via carries `branch`, in a transaction of its own.
    pub(crate) fn send_request(
        &mut self,
        now: Instant,
        branch: Branch,
        method: Method,
        path: Path,
        request: Bytes,
        user: User,
    ) -> ClientKey {
        let key = ClientKey::new(branch, &method);
        let (sending, as_datagram) = self.choose_transport(now, Sending { path, request });
        self.start_client(now, key, method, user, sending, as_datagram);
        key
    }

    fn start_client(
        &mut self,
        now: Instant,
        key: ClientKey,
        method: Method,
        user: User,
        Sending { path, request }: Sending,
        as_datagram: Option<Box<Sending>>,
    ) {
        let settings = self.settings(path.transport);
        let mut actions = Actions::new();
        let machine = if method == Method::Invite {
            ClientMachine::Invite(InviteClient::start(settings, &mut actions))
        } else {
            ClientMachine::Other(NonInviteClient::start(settings, &mut actions))
        };
        self.clients_by_remote.insert((path.transport, path.remote, key));
        let transaction = ClientTransaction { machine, method, user, path, request, as_datagram };
        self.clients.insert(key, transaction);
        self.perform_client(now, key, &actions, None);
    }

    /// Whether the transaction, which a stream has failed, goes on with the datagram that its request was at first.
    fn go_on_as_datagram(&mut self, now: Instant, key: ClientKey) -> bool {
        let Some(transaction) = self.clients.get_mut(&key) else { return false };
        let is_unheard = match transaction.machine {
            ClientMachine::Invite(InviteClient::Calling { .. })
            | ClientMachine::Other(NonInviteClient::Trying { .. }) => true,
            ClientMachine::Invite(
                InviteClient::Proceeding
                | InviteClient::Completed
                | InviteClient::Accepted
                | InviteClient::Terminated,
            )
            | ClientMachine::Other(
                NonInviteClient::Proceeding | NonInviteClient::Completed | NonInviteClient::Terminated,
            ) => false,
        };
        let Some(sending) = transaction.as_datagram.take().filter(|_| is_unheard) else { return false };
        let (method, user, failed) =
            (transaction.method.clone(), transaction.user, transaction.path.destination());
        self.clients_by_remote.remove(&(failed.transport, failed.address, key));
        // The next large requests to it need not find out.
        self.avoid(now, failed, None);
        self.start_client(now, key, method, user, *sending, None);
        true
    }

    /// Sends a CANCEL for the INVITE of `invite` (RFC 3261 section 9.1); false when that is no longer running.
    pub(crate) fn send_cancel(
        &mut self,
        now: Instant,
        invite: ClientKey,
        session: SessionId,
        reason: Option<&str>,
    ) -> bool {
        let Some(transaction) = self.clients.get(&invite) else { return false };
        let path = transaction.path.clone();
        let Some(cancel) = compose::cancel(&transaction.request, reason) else { return false };
        self.send_request(now, invite.branch, Method::Cancel, path, cancel, User::Cancel(session));
        true
    }

    /// Ends a client transaction without a report.
    pub(crate) fn abandon(&mut self, key: ClientKey) {
        self.remove_client(key);
    }

    /// A response from the network.
    pub(crate) fn receive_response(&mut self, now: Instant, hop: Hop, response: Message) -> Option<Report> {
        response.validate().ok()?;
        let via = response.top_via().ok()?;
        let method = response.cseq().ok()?.method;
        let key = ClientKey::of_response(&via, &method)?;
        let transaction = self.clients.get(&key)?;
        // RFC 3261 section 18.1.2: a response whose sent-by is not ours "MUST be silently discarded".
        let advertised = transaction.path.advertised;
        let port = via.port().unwrap_or(transaction.path.transport.default_port());
        let ours = via.host().ip() == Some(advertised.ip()) && port == advertised.port();
        if method != transaction.method || !ours {
            return None;
        }
        let destination = transaction.path.destination();
        let class = StatusClass::of(response.status()?);
        self.heard(now, destination, &response);
        let actions = self.step_client(key, ClientInput::Response(class));
        self.perform_client(now, key, &actions, Some((hop, response)))
    }

    pub(crate) fn client_timer(&mut self, now: Instant, key: ClientKey, timer: Timer) -> Option<Report> {
        let actions = self.step_client(key, ClientInput::Timer(timer));
        self.perform_client(now, key, &actions, None)
    }

    /// The transactions that a failure to reach `remote` concerns; each is to be told by [`Self::client_failed`].
    pub(crate) fn clients_towards(&self, transport: Transport, remote: SocketAddr) -> Vec<ClientKey> {
        let lowest = (transport, remote, ClientKey::LOWEST);
        self.clients_by_remote
            .range((Bound::Included(lowest), Bound::Unbounded))
            .take_while(|(t, r, _)| (*t, *r) == (transport, remote))
            .map(|(_, _, key)| *key)
            .collect()
    }

    /// A message of ours could not be sent: its transaction fails, and no other.
    pub(crate) fn unsent(&mut self, now: Instant, payload: Bytes) -> Option<Report> {
        let message = Message::parse(payload).ok()?;
        let method = message.method()?.clone();
        let key = ClientKey::of_response(&message.top_via().ok()?, &method)?;
        self.client_failed(now, key)
    }

    pub(crate) fn client_failed(&mut self, now: Instant, key: ClientKey) -> Option<Report> {
        if self.go_on_as_datagram(now, key) {
            return None;
        }
        let actions = self.step_client(key, ClientInput::TransportError);
        self.perform_client(now, key, &actions, None)
    }

    fn step_client(&mut self, key: ClientKey, input: ClientInput) -> Actions {
        let mut actions = Actions::new();
        if let Some(transaction) = self.clients.get_mut(&key) {
            let settings =
                Settings { timers: self.config.timers, reliable: transaction.path.transport.is_reliable() };
            match &mut transaction.machine {
                ClientMachine::Invite(machine) => machine.step(input, settings, &mut actions),
                ClientMachine::Other(machine) => machine.step(input, settings, &mut actions),
            }
        }
        actions
    }

    fn perform_client(
        &mut self,
        now: Instant,
        key: ClientKey,
        actions: &Actions,
        mut response: Option<(Hop, Message)>,
    ) -> Option<Report> {
        let transaction = self.clients.get_mut(&key)?;
        let user = transaction.user;
        let destination = transaction.path.destination();
        let mut outcome = None;
        for action in actions {
            match *action {
                Action::Send => {
                    let transmit = transaction.path.transmit(transaction.request.clone());
                    self.outputs.push_back(Output::Transmit(transmit));
                }
                Action::Acknowledge => {
                    let ack = response
                        .as_ref()
                        .and_then(|(_, response)| compose::ack(&transaction.request, response));
                    if let Some(ack) = ack {
                        self.outputs.push_back(Output::Transmit(transaction.path.transmit(ack)));
                    }
                }
                Action::Start(timer, after) => self.timers.set(TimerKey::Client(key, timer), now + after),
                Action::Stop(timer) => self.timers.cancel(TimerKey::Client(key, timer)),
                Action::Deliver => {
                    outcome = response.take().map(|(hop, response)| Outcome::Response { hop, response });
                }
                Action::TimedOut => outcome = Some(Outcome::TimedOut),
                Action::TransportFailed => outcome = Some(Outcome::TransportFailed),
            }
        }
        // What else goes there may be left unanswered by a peer in good health, which does not know the method.
        let says_all = match user {
            User::Invite(_) | User::Register(_) | User::Outgoing(_) => true,
            User::Cancel(_) | User::Dialog(..) => false,
        };
        if says_all && matches!(outcome, Some(Outcome::TimedOut)) {
            self.avoid(now, destination, None);
        }
        let transaction = self.clients.get_mut(&key)?;
        match transaction.machine {
            // The user has its own copy of what it needs to acknowledge a 2xx; the INVITE is never sent again.
            ClientMachine::Invite(InviteClient::Accepted) => transaction.request = Bytes::new(),
            ClientMachine::Invite(InviteClient::Terminated)
            | ClientMachine::Other(NonInviteClient::Terminated) => self.remove_client(key),
            ClientMachine::Invite(
                InviteClient::Calling { .. } | InviteClient::Proceeding | InviteClient::Completed,
            )
            | ClientMachine::Other(
                NonInviteClient::Trying { .. } | NonInviteClient::Proceeding | NonInviteClient::Completed,
            ) => {}
        }
        Some(Report { user, key, outcome: outcome? })
    }

    fn remove_client(&mut self, key: ClientKey) {
        if let Some(transaction) = self.clients.remove(&key) {
            self.clients_by_remote.remove(&(transaction.path.transport, transaction.path.remote, key));
            for timer in [Timer::A, Timer::B, Timer::D, Timer::E, Timer::F, Timer::K, Timer::M] {
                self.timers.cancel(TimerKey::Client(key, timer));
            }
            self.ended.push((transaction.user, key));
        }
    }
}

/// Server transactions.
impl TransactionLayer {
    /// A request from the network. `known`: it belongs to a call that we know, and may use the last eighth of the room,
    /// so that new calls cannot keep a BYE out.
    pub(crate) fn receive_request(
        &mut self,
        now: Instant,
        hop: Hop,
        request: &Message,
        known: bool,
    ) -> Received {
        let (Some(method), Ok(via)) = (request.method(), request.top_via()) else {
            return Received::Malformed;
        };
        let is_ack = *method == Method::Ack;
        let key_method = if is_ack { &Method::Invite } else { method };
        let Some(key) = ServerKey::of(request, &via, key_method) else { return Received::Malformed };
        if let Some(&id) = self.server_ids.get(&key) {
            let input = if is_ack { ServerInput::Ack } else { ServerInput::Request };
            let delivered = self.step_server(now, id, input);
            // Only the ACK of an RFC 2543 element gets here for a 2xx.
            return if delivered { Received::Ack } else { Received::Absorbed };
        }
        if is_ack {
            return Received::Ack;
        }
        let merge_key = MergeKey::of(request);
        if merge_key.as_ref().is_some_and(|key| self.merge_keys.contains(key)) {
            return Received::Merged;
        }
        let reserve = if known { 0 } else { self.config.max_transactions / 8 };
        if self.len() + reserve >= self.config.max_transactions {
            return Received::Full;
        }
        let id = ServerId(self.next_server);
        self.next_server += 1;
        let mut actions = Actions::new();
        let machine = if *method == Method::Invite {
            ServerMachine::Invite(InviteServer::start())
        } else {
            ServerMachine::Other(NonInviteServer::start(self.settings(hop.transport), &mut actions))
        };
        self.server_ids.insert(key.clone(), id);
        self.merge_keys.extend(merge_key.clone());
        let transaction = ServerTransaction {
            machine,
            key,
            merge_key,
            request: Some(request.clone()),
            hop,
            reply_to: compose::reply_address(hop, &via),
            response: None,
            session: None,
            uuid: None,
        };
        self.servers.insert(id, transaction);
        self.perform_server(now, id, &actions);
        Received::New(id)
    }

    /// The request of a transaction that has no final response yet, and the way it came.
    pub(crate) fn request(&self, id: ServerId) -> Option<(Hop, &Message)> {
        let transaction = self.servers.get(&id)?;
        Some((transaction.hop, transaction.request.as_ref()?))
    }

    /// The INVITE transaction that a CANCEL is for (RFC 3261 section 9.2), and its session.
    pub(crate) fn cancelled_by(&self, cancel: &Message) -> Option<(ServerId, Option<SessionId>)> {
        let key = ServerKey::of(cancel, &cancel.top_via().ok()?, &Method::Invite)?;
        let id = *self.server_ids.get(&key)?;
        Some((id, self.servers.get(&id)?.session))
    }

    /// Remembers the session that an INVITE began.
    pub(crate) fn attach(&mut self, id: ServerId, session: SessionId) {
        if let Some(transaction) = self.servers.get_mut(&id) {
            transaction.session = Some(session);
        }
    }

    /// Remembers our half of the Session-ID of the call that a request belongs to.
    pub(crate) fn identify(&mut self, id: ServerId, uuid: Option<u128>) {
        if let Some(transaction) = self.servers.get_mut(&id) {
            transaction.uuid = uuid;
        }
    }

    /// What [`Self::identify`] was told, and the other half, as the request has it.
    pub(crate) fn identifier(&self, id: ServerId) -> Option<SessionIdentifier> {
        let transaction = self.servers.get(&id)?;
        let theirs = transaction.request.as_ref()?.session_identifier().ok().flatten();
        let remote = theirs.map_or(0, |identifier| identifier.local);
        Some(SessionIdentifier { local: transaction.uuid?, remote })
    }

    /// Sends a response in its transaction; nothing happens when there is a final one already.
    pub(crate) fn send_response(&mut self, now: Instant, id: ServerId, status: u16, response: Bytes) {
        let class = StatusClass::of(status);
        let Some(transaction) = self.servers.get_mut(&id) else { return };
        if transaction.request.is_none() {
            return;
        }
        if class != StatusClass::Provisional {
            transaction.request = None;
        }
        transaction.response = Some(response);
        self.step_server(now, id, ServerInput::Respond(class));
    }

    /// Sends the 2xx of an INVITE again, as RFC 3261 section 13.3.1.4 has the user do until the ACK comes.
    pub(crate) fn repeat_success(&mut self, now: Instant, id: ServerId) {
        self.step_server(now, id, ServerInput::Respond(StatusClass::Success));
    }

    /// Sends the last provisional response again.
    pub(crate) fn repeat_provisional(&mut self, now: Instant, id: ServerId) {
        self.step_server(now, id, ServerInput::Respond(StatusClass::Provisional));
    }

    pub(crate) fn server_timer(&mut self, now: Instant, id: ServerId, timer: Timer) {
        self.step_server(now, id, ServerInput::Timer(timer));
    }

    /// Returns whether what came is to be delivered to the user.
    fn step_server(&mut self, now: Instant, id: ServerId, input: ServerInput) -> bool {
        let Some(transaction) = self.servers.get_mut(&id) else { return false };
        let settings =
            Settings { timers: self.config.timers, reliable: transaction.hop.transport.is_reliable() };
        let mut actions = Actions::new();
        match &mut transaction.machine {
            ServerMachine::Invite(machine) => machine.step(input, settings, &mut actions),
            ServerMachine::Other(machine) => machine.step(input, settings, &mut actions),
        }
        self.perform_server(now, id, &actions)
    }

    fn perform_server(&mut self, now: Instant, id: ServerId, actions: &Actions) -> bool {
        let Some(transaction) = self.servers.get(&id) else { return false };
        let mut deliver = false;
        for action in actions {
            match *action {
                Action::Send => {
                    if let Some(payload) = transaction.response.clone() {
                        let transmit = compose::reply(transaction.hop, transaction.reply_to, payload);
                        self.outputs.push_back(Output::Transmit(transmit));
                    }
                }
                Action::Start(timer, after) => self.timers.set(TimerKey::Server(id, timer), now + after),
                Action::Stop(timer) => self.timers.cancel(TimerKey::Server(id, timer)),
                Action::Deliver => deliver = true,
                // Only client machines ask for these.
                Action::Acknowledge | Action::TimedOut | Action::TransportFailed => {}
            }
        }
        let over = match transaction.machine {
            ServerMachine::Invite(machine) => machine == InviteServer::Terminated,
            ServerMachine::Other(machine) => machine == NonInviteServer::Terminated,
        };
        if over {
            self.forget(id);
        }
        deliver
    }

    /// Takes the last response back, where it has not been polled yet.
    pub(crate) fn unsay(&mut self, id: ServerId) {
        let Some(said) = self.servers.get(&id).and_then(|transaction| transaction.response.clone()) else {
            return;
        };
        self.outputs.retain(|output| match output {
            Output::Transmit(transmit) => transmit.payload.as_ptr() != said.as_ptr(),
            Output::Event(_) | Output::Resolve { .. } => true,
        });
    }

    /// Ends a server transaction: nothing is repeated any more.
    pub(crate) fn forget(&mut self, id: ServerId) {
        if let Some(transaction) = self.servers.remove(&id) {
            self.server_ids.remove(&transaction.key);
            if let Some(key) = &transaction.merge_key {
                self.merge_keys.remove(key);
            }
            for timer in [Timer::G, Timer::H, Timer::I, Timer::J, Timer::L] {
                self.timers.cancel(TimerKey::Server(id, timer));
            }
        }
    }
}
