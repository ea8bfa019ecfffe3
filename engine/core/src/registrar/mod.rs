//! The registrar (RFC 3261 §10.3) for agents' phones and browsers: whom it knows, what they prove, where they are.

mod location;
mod request;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api_types::{EndpointContact, EndpointMedia, SipTransport, Srtp, Timestamp};
use media_core::Codec;
use sip_core::digest::{Authorization, Ha1, Verdict, Verifier};
use sip_core::{Hop, Host, Message, Method, Name, NameAddr, Transport, Uri};

pub(crate) use self::location::{Binding, Change};
use self::location::{Location, Refused};
use self::request::{Fault, MIN_LIFETIME};
use crate::call::{Branch, BranchMedia, Group, Search};
use crate::clock::Clock;

/// Within this time a client sends a sign of life over its stream (RFC 5626 §4.4: "Flow-Timer").
const FLOW_TIMER: &str = "120";

/// Somebody who registers here: an agent's phone or browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its unique name: the user of its address of record, beside its user name.
    pub name: String,
    /// Whom it authenticates as.
    pub username: String,
    /// Its password at our realm.
    pub ha1: Ha1,
    /// Who calls, when it calls; its name by default.
    pub caller_id: Option<String>,
    /// Most contacts at a time.
    pub max_contacts: usize,
    /// Codecs offered to it and accepted from it, most preferred first.
    pub codecs: Vec<Codec>,
    /// Whether its media is encrypted, unless it is a browser's.
    pub srtp: Srtp,
    /// Whether its media is a browser's; `None`: where it registers by WebSocket, and where it offers so.
    pub media: Option<EndpointMedia>,
    /// Whether its phone is asked to answer by itself.
    pub auto_answer: bool,
    /// The only transports that it may register and call by; empty: any.
    pub transports: Vec<Transport>,
    /// Whether the configuration has it: commands do not change it.
    pub configured: bool,
}

impl Account {
    /// Contacts by default.
    pub const MAX_CONTACTS: usize = 10;

    /// An endpoint of this name, which authenticates under the same at `realm`.
    pub fn new(name: impl Into<String>, realm: &str, password: &str) -> Self {
        let name = name.into();
        Self {
            ha1: Ha1::new(&name, realm, password),
            username: name.clone(),
            name,
            caller_id: None,
            max_contacts: Self::MAX_CONTACTS,
            codecs: Codec::DEFAULT.to_vec(),
            srtp: Srtp::Off,
            media: None,
            auto_answer: false,
            transports: Vec::new(),
            configured: false,
        }
    }

    /// Whether it may come by this transport.
    fn may_use(&self, transport: Transport) -> bool {
        self.transports.is_empty() || self.transports.contains(&transport)
    }
}

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Reply {
    fn new(status: u16) -> Self {
        Self { status, headers: Vec::new() }
    }

    fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// What a claim to be somebody came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    /// It is this endpoint.
    Proven(Arc<str>),
    /// Ask (again), with these header fields.
    Unproven { challenges: Vec<(String, String)> },
}

/// What the sender of a request has shown of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing.
    None,
    /// It knows one.
    Right,
    /// It has our challenge, and has guessed.
    Wrong,
}

/// Counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegistrarCounts {
    /// REGISTER requests that were carried out.
    pub accepted: u64,
    /// Requests with credentials that were wrong.
    pub unauthenticated: u64,
    /// Requests of known endpoints that were refused for another reason.
    pub refused: u64,
}

/// Two endpoints would be known by one name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("another endpoint has the name or user name {0:?}")]
pub struct NameTaken(pub String);

/// The endpoints, and where they are now.
#[derive(Debug)]
pub(crate) struct Registrar {
    realm: String,
    /// The one domain that is ours beside our addresses; `None`: whatever name the phones know us by.
    domain: Option<Host>,
    addresses: BTreeSet<IpAddr>,
    accounts: BTreeMap<Arc<str>, Account>,
    /// Endpoints by name and by user name.
    users: BTreeMap<String, Arc<str>>,
    location: Location,
    verifier: Verifier,
    counts: RegistrarCounts,
}

/// What a REGISTER came to.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) reply: Reply,
    pub(crate) changes: Vec<Change>,
    pub(crate) proof: Proof,
}

impl Registrar {
    /// How long a nonce is good for: a phone that registers every few minutes needs a new one now and then.
    pub(crate) const NONCE_LIFETIME: Duration = Duration::from_secs(300);

    /// `verifier` is of the same realm.
    pub(crate) fn new(
        realm: &str,
        domain: Option<Host>,
        addresses: BTreeSet<IpAddr>,
        verifier: Verifier,
    ) -> Self {
        Self {
            realm: realm.to_owned(),
            domain,
            addresses,
            accounts: BTreeMap::new(),
            users: BTreeMap::new(),
            location: Location::default(),
            verifier,
            counts: RegistrarCounts::default(),
        }
    }

    // Endpoints.

    /// Adds an endpoint or changes one; what it has registered stays, as far as it still may.
    pub(crate) fn put(&mut self, account: Account) -> Result<Vec<Change>, NameTaken> {
        self.check(&account)?;
        let name: Arc<str> = account.name.as_str().into();
        self.users.retain(|_, owner| *owner != name);
        self.users.insert(account.name.clone(), Arc::clone(&name));
        self.users.insert(account.username.clone(), Arc::clone(&name));
        Ok(self.settle(name, account))
    }

    /// Takes the endpoints of the configuration as they are now: those that it has no more go, those that were made
    /// otherwise stay. Where two would be known by one name nothing changes.
    pub(crate) fn configure(&mut self, accounts: Vec<Account>) -> Result<Vec<Change>, NameTaken> {
        let users = self.users_with(&accounts)?;
        let is_wanted = |known: &Account| accounts.iter().any(|account| account.name == known.name);
        let gone = self.accounts.values().filter(|known| known.configured && !is_wanted(known));
        let gone: Vec<_> = gone.map(|known| known.name.clone()).collect();
        let mut changes: Vec<_> = gone.iter().filter_map(|name| self.remove(name)).flatten().collect();
        self.users = users;
        for account in accounts {
            changes.extend(self.settle(account.name.as_str().into(), account));
        }
        Ok(changes)
    }

    /// Whose each name is once these are the endpoints of the configuration.
    pub(crate) fn users_with(&self, accounts: &[Account]) -> Result<BTreeMap<String, Arc<str>>, NameTaken> {
        let is_wanted = |known: &Account| accounts.iter().any(|account| account.name == known.name);
        let others = self.accounts.values().filter(|known| !known.configured && !is_wanted(known));
        let mut users: BTreeMap<String, Arc<str>> = BTreeMap::new();
        for account in accounts.iter().chain(others) {
            let name: Arc<str> = account.name.as_str().into();
            for user in [&account.name, &account.username] {
                let owner = users.entry(user.clone()).or_insert_with(|| Arc::clone(&name));
                if *owner != name {
                    return Err(NameTaken(user.clone()));
                }
            }
        }
        Ok(users)
    }

    /// The endpoint is this now; its names are [known](Self::users).
    fn settle(&mut self, name: Arc<str>, account: Account) -> Vec<Change> {
        let before = self.accounts.remove(&name);
        // Whoever knows only the old password is out.
        let keeps = before.is_none_or(|before| {
            (before.username, before.ha1) == (account.username.clone(), account.ha1.clone())
                && before.transports == account.transports
                && before.max_contacts <= account.max_contacts
        });
        let changes = if keeps { Vec::new() } else { self.location.forget(&name) };
        self.accounts.insert(name, account);
        changes
    }

    /// Whether [`put`](Self::put) would take it.
    pub(crate) fn check(&self, account: &Account) -> Result<(), NameTaken> {
        let taken = [&account.name, &account.username]
            .into_iter()
            .find(|user| self.users.get(*user).is_some_and(|owner| **owner != *account.name));
        taken.map_or(Ok(()), |user| Err(NameTaken(user.clone())))
    }

    /// Removes an endpoint with what it has registered; `None` when there is none.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Vec<Change>> {
        let (name, _) = self.accounts.remove_entry(name)?;
        self.users.retain(|_, owner| *owner != name);
        Some(self.location.forget(&name))
    }

    pub(crate) fn account(&self, name: &str) -> Option<&Account> {
        self.accounts.get(name)
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    pub(crate) fn counts(&self) -> RegistrarCounts {
        self.counts
    }

    /// The endpoint that a URI is the address of record of.
    pub(crate) fn owner(&self, uri: &Uri) -> Option<&Account> {
        let name = self.users.get(&sip_core::unescape(uri.user()?)).filter(|_| self.is_ours(uri))?;
        self.accounts.get(name)
    }

    /// Whether a URI's host is this registrar.
    pub(crate) fn is_here(&self, uri: &Uri) -> bool {
        match (uri.host(), &self.domain) {
            (Some(Host::Ip(ip)), _) => self.addresses.contains(&ip.to_canonical()),
            (Some(host @ Host::Name(_)), Some(domain)) => host.is_equivalent(domain),
            (Some(Host::Name(_)), None) | (None, _) => false,
        }
    }

    /// Whether a URI of somebody who asks for us means this registrar: without a domain by any name.
    fn is_ours(&self, uri: &Uri) -> bool {
        let named = || matches!((uri.host(), &self.domain), (Some(Host::Name(_)), None));
        self.is_here(uri) || named()
    }

    // Contacts.

    /// Where to ring an endpoint at `aor`, its contacts in groups by preference.
    pub(crate) fn ways(&self, now: Instant, name: &str, aor: &Uri) -> Vec<Group> {
        let kind = self.accounts.get(name).and_then(|account| account.media);
        let is_browser = |binding: &Binding| match kind {
            Some(EndpointMedia::Webrtc) => true,
            Some(EndpointMedia::Rtp) => false,
            None => binding.is_by_websocket(),
        };
        let branch = |binding: &Binding| {
            Some(Branch {
                request_uri: binding.contact.clone(),
                to: NameAddr::new(aor.clone()),
                target: binding.target()?,
                // RFC 3327 §5.3: the path vector is a preloaded Route.
                route: binding.path.iter().cloned().map(NameAddr::new).collect(),
                credentials: None,
                gateway: None,
                is_foreign: false,
                media: if is_browser(binding) { BranchMedia::WebRtc } else { BranchMedia::Usual },
            })
        };
        let groups = self.location.groups(now, name).into_iter();
        let group = |bindings: Vec<&Binding>| Group {
            branches: bindings.into_iter().filter_map(branch).collect(),
            search: Search::Contacts,
        };
        groups.map(group).filter(|group| !group.branches.is_empty()).collect()
    }

    pub(crate) fn contacts(&self, name: &str) -> &[Binding] {
        self.location.contacts(name)
    }

    /// All contacts of all endpoints.
    pub(crate) fn registered(&self) -> usize {
        self.location.len()
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.location.next_expiry()
    }

    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Change> {
        self.location.expire(now)
    }

    pub(crate) fn stream_failed(&mut self, transport: Transport, remote: SocketAddr) -> Vec<Change> {
        self.location.stream_failed(transport, remote)
    }

    /// The addresses that contacts were registered from; some more than once.
    pub(crate) fn sources(&self) -> impl Iterator<Item = IpAddr> {
        self.location.sources()
    }

    /// Whether a request comes from a place that an endpoint has registered from.
    pub(crate) fn is_flow(&self, hop: Hop) -> bool {
        self.location.at(hop.transport, hop.remote).next().is_some()
    }

    // Requests.

    /// The endpoint that a request outside dialogs is from, if it has to prove that it is one; what it is answered otherwise.
    pub(crate) fn caller(
        &mut self,
        now: Instant,
        hop: Hop,
        request: &Message,
    ) -> (Result<Arc<str>, Reply>, Proof) {
        let (identity, proof) = self.identify(now, hop, request);
        let name = match identity {
            Identity::Proven(name) => name,
            Identity::Unproven { challenges } => {
                return (Err(Reply { status: 401, headers: challenges }), proof);
            }
        };
        // Nobody calls under another's name.
        let owner = request.from().ok().and_then(|from| self.owner(from.uri()));
        let is_its_own = owner.is_some_and(|owner| *owner.name == *name && owner.may_use(hop.transport));
        (if is_its_own { Ok(name) } else { Err(Reply::new(403)) }, proof)
    }

    /// Whether a request says that it is from an endpoint: it comes from where one registered, has an answer to a challenge
    /// of ours, or has one's address of record in From.
    pub(crate) fn is_claimed(&self, hop: Hop, request: &Message) -> bool {
        let answers = || {
            let mut rows =
                request.rows_of(Name::Authorization).filter_map(|row| Authorization::parse(row).ok());
            rows.any(|answer| answer.realm == self.realm)
        };
        self.is_flow(hop) || answers() || request.from().is_ok_and(|from| self.owner(from.uri()).is_some())
    }

    /// Serves a REGISTER. What has expired is [expired](Self::expire) before.
    pub(crate) fn register(&mut self, now: Instant, clock: &Clock, hop: Hop, request: &Message) -> Outcome {
        let refused = |reply, proof| Outcome { reply, changes: Vec::new(), proof };
        let not_understood = request::not_understood(request);
        if !not_understood.is_empty() {
            return refused(Reply::new(420).with("Unsupported", not_understood), Proof::None);
        }
        let (identity, proof) = self.identify(now, hop, request);
        let name = match identity {
            Identity::Proven(name) => name,
            Identity::Unproven { challenges } => {
                return refused(Reply { status: 401, headers: challenges }, proof);
            }
        };
        match self.update(now, hop, request, &name) {
            Ok((changes, outbound)) => {
                self.counts.accepted += 1;
                let reply = self.listing(now, clock, hop, request, &name, outbound);
                Outcome { reply, changes, proof }
            }
            Err(reply) => {
                self.counts.refused += 1;
                refused(reply, proof)
            }
        }
    }

    /// Who sends a request. Users that do not exist are told the same as those with a wrong password, and no sooner.
    fn identify(&mut self, now: Instant, hop: Hop, request: &Message) -> (Identity, Proof) {
        let source = hop.remote.ip();
        let method = request.method().unwrap_or(&Method::Register);
        let answer = request
            .rows_of(Name::Authorization)
            .filter_map(|row| Authorization::parse(row).ok())
            .find(|answer| answer.realm == self.realm);
        let mut stale = false;
        let mut proof = Proof::None;
        if let Some(answer) = answer {
            // An endpoint's user name is one of its two names; the other is none to authenticate under.
            let name = self.users.get(&*answer.username).cloned();
            let account = name.as_ref().and_then(|name| self.accounts.get(name));
            let ha1 =
                account.filter(|account| account.username == *answer.username).map(|account| &account.ha1);
            match self.verifier.verify(now, source, &answer, method, request.body(), ha1) {
                Verdict::Accepted => {
                    proof = Proof::Right;
                    if let Some(name) = name.filter(|_| is_for(&answer, request)) {
                        return (Identity::Proven(name), proof);
                    }
                }
                Verdict::Stale => stale = true,
                Verdict::Foreign => {}
                Verdict::Refused => {
                    proof = Proof::Wrong;
                    self.counts.unauthenticated += 1;
                }
            }
        }
        let challenges = self.verifier.challenges(now, source, stale);
        let line = |challenge: &sip_core::digest::Challenge| {
            (Name::WwwAuthenticate.as_str().to_owned(), challenge.to_string())
        };
        (Identity::Unproven { challenges: challenges.iter().map(line).collect() }, proof)
    }

    /// RFC 3261 §10.3 from step 4 on, for an endpoint that is who it says.
    fn update(
        &mut self,
        now: Instant,
        hop: Hop,
        request: &Message,
        name: &Arc<str>,
    ) -> Result<(Vec<Change>, bool), Reply> {
        let account = self.accounts.get(name).ok_or_else(|| Reply::new(403))?;
        let bad_request = |_| Reply::new(400);
        let (from, to) = (request.from().map_err(bad_request)?, request.to().map_err(bad_request)?);
        let uri = request.request_uri().map_err(bad_request)?;
        // Steps 1 and 5: "If the address-of-record is not valid for the domain in the Request-URI, the registrar MUST send a
        // 404 (Not Found)".
        if !self.is_ours(&uri) || !self.is_ours(to.uri()) {
            return Err(Reply::new(404));
        }
        // Step 4: "the registrar SHOULD determine if the authenticated user is authorized to modify registrations for this
        // address-of-record." Endpoints register themselves and nobody else (§10.2: From "is equal to To unless the
        // request is a third-party registration").
        let is_its_own =
            |addr: &NameAddr| self.owner(addr.uri()).is_some_and(|owner| owner.name == account.name);
        if !is_its_own(&to) || !is_its_own(&from) {
            return Err(Reply::new(403));
        }
        if !account.may_use(hop.transport) {
            return Err(Reply::new(403));
        }
        let request = request::read(request, hop).map_err(|fault| match fault {
            Fault::Malformed => Reply::new(400),
            Fault::TooBrief => Reply::new(423).with("Min-Expires", MIN_LIFETIME.as_secs()),
            Fault::PathUnsupported => Reply::new(420).with("Unsupported", "path"),
            Fault::FirstHopLacksOutbound => Reply::new(439),
        })?;
        let limit = account.max_contacts;
        let changes =
            self.location.register(now, name, &request.update, limit).map_err(|refused| match refused {
                // Step 7 leaves the status open; §12.2.2 has 500 for a request out of order.
                Refused::OutOfOrder => Reply::new(500),
                Refused::TooMany => Reply::new(403),
            })?;
        Ok((changes, request.outbound))
    }

    /// The 200: RFC 3261 §10.3 step 8: "The response MUST contain Contact header field values enumerating all current
    /// bindings. Each Contact value MUST feature an 'expires' parameter".
    fn listing(
        &self,
        now: Instant,
        clock: &Clock,
        hop: Hop,
        request: &Message,
        name: &str,
        outbound: bool,
    ) -> Reply {
        let mut reply = Reply::new(200);
        for binding in self.location.contacts(name) {
            let left = binding.expires.saturating_duration_since(now);
            let mut contact = format!("<{}>;expires={}", binding.contact, left.as_millis().div_ceil(1000));
            if binding.q != 1000 {
                contact += &format!(";q=0.{:03}", binding.q);
            }
            if let Some(flow) = &binding.flow_id {
                contact +=
                    &format!(";+sip.instance={};reg-id={}", sip_core::quote(&flow.instance), flow.reg_id);
            }
            reply = reply.with("Contact", contact);
        }
        // RFC 3327 §5.3: "The registrar copies the Path header values into a Path header in the successful (200 OK)
        // REGISTER response."
        for node in request.rows_of(Name::Path) {
            reply = reply.with("Path", node);
        }
        reply = reply.with("Supported", "path, outbound");
        if outbound {
            // RFC 5626 §6: "the registrar MUST include the outbound option-tag in a Require header field value in the 200".
            reply = reply.with("Require", "outbound");
            if hop.transport.is_reliable() {
                reply = reply.with("Flow-Timer", FLOW_TIMER);
            }
        }
        // "The response SHOULD include a Date header field."
        reply.with("Date", clock.date(now))
    }
}

/// Whether credentials were made for what a request asks for: who calls somebody else with overheard ones must not get
/// through. Proxies may rewrite the host of a Request-URI, and a REGISTER has no user in it (RFC 3261 §22.4).
fn is_for(answer: &Authorization, request: &Message) -> bool {
    let user = |uri: &Uri| uri.user().map(str::to_owned);
    match (answer.uri.parse::<Uri>(), request.request_uri()) {
        (Ok(digest), Ok(uri)) => user(&digest) == user(&uri),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

impl Binding {
    /// As the API shows it.
    pub(crate) fn view(&self, clock: &Clock) -> EndpointContact {
        let time = |at| Timestamp::from_unix_ms(clock.unix_ms(at));
        EndpointContact {
            uri: self.contact.to_string(),
            transport: transport_to_api(self.source.transport),
            source: self.source.remote.to_string(),
            user_agent: self.user_agent.as_ref().map(ToString::to_string),
            q: f32::from(self.q) / 1000.0,
            registered_at: time(self.since),
            expires_at: time(self.expires),
            path: self.path.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A transport as the API names it.
pub(crate) fn transport_to_api(transport: Transport) -> SipTransport {
    match transport {
        Transport::Udp => SipTransport::Udp,
        Transport::Tcp => SipTransport::Tcp,
        Transport::Tls => SipTransport::Tls,
        Transport::Ws => SipTransport::Ws,
        Transport::Wss => SipTransport::Wss,
    }
}

/// A transport that the API names.
pub(crate) fn transport_from_api(transport: SipTransport) -> Transport {
    match transport {
        SipTransport::Udp => Transport::Udp,
        SipTransport::Tcp => Transport::Tcp,
        SipTransport::Tls => Transport::Tls,
        SipTransport::Ws => Transport::Ws,
        SipTransport::Wss => Transport::Wss,
    }
}

impl Change {
    /// As an event tells it.
    pub(crate) fn event(&self) -> control_api_types::EventData {
        let (name, contact) = (self.aor.to_string(), self.contact.to_string());
        match self.gone {
            None => control_api_types::EventData::EndpointRegistered { name, contact },
            Some(reason) => control_api_types::EventData::EndpointUnregistered { name, contact, reason },
        }
    }
}
