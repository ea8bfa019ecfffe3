//! Registrations of ours (RFC 3261 section 10.2): one address of record each, refreshed until it is given up.
//!
//! ```text
//!               ┌───── refresh ──────┐
//!               ▼                    │
//!   start ─▶ Resolving ─▶ Sent ──2xx──▶ Registered
//!               ▲          │ ▲ └┐ 401, 407, 423, 439: again   │
//!     retry time│          │ └──┘                             │ its stream broke
//!             Waiting ◀────┤ other failures                   │
//!               ▲          └──403, 404, …: refused──▶ Stopped │
//!               └─────────────────────────────────────────────┘
//! ```

mod event;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use bytestring::ByteString;

pub use event::{Outbound, Register, RegistrationEvent, RegistrationId};

use crate::authenticator::Authenticator;
use crate::endpoint::{Destinations, Error, Event, ResolveError};
use crate::headers::expires;
use crate::session::reached_by;
use crate::transaction::{
    Asker, ClientKey, Located, Outcome, Path, StatusClass, TimerKey, TransactionLayer, User, compose,
};
use crate::transport::{Destination, Hop};
use crate::{Contact, Host, Message, Method, Name, NameAddr, Rport, Scheme, Uri};

/// The wait after the first failure: short, since most are a registrar's restart.
const RETRY_BASE: Duration = Duration::from_secs(5);

/// The longest wait between tries: a trunk that comes back is used again within five minutes.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// The longest wait that a Retry-After can impose.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The longest silence towards the registrar over UDP (RFC 5626 section 4.4.2: "the time between each keepalive request
/// SHOULD be a random number between 24 and 29 seconds"): NATs forget a flow of datagrams after half a minute.
const KEEPALIVE: Duration = Duration::from_secs(29);

/// What is sent then. RFC 5626 has STUN here, which asks the registrar to answer; this it ignores, as RFC 3261 section 7.5
/// wants of empty lines, and the NAT is content with it.
const KEEPALIVE_PAYLOAD: &[u8] = b"\r\n\r\n";

/// The shortest time between two refreshes, however short a lifetime is granted: below half a minute it is a mistake,
/// or a way to have us send.
const REFRESH_LEAST: Duration = Duration::from_secs(10);

/// How many times one try is sent again because the registrar wants something else of it: a longer lifetime, the Contact
/// that it sees, no outbound.
const ADJUSTMENTS: u8 = 3;

/// A stream that breaks is replaced within this time, by chance, so that all who lost theirs do not come back at once.
const REPLACE: Duration = Duration::from_secs(1);

/// A stream that broke within this time after it was made is a failure like others (RFC 5626 section 4.5 counts a
/// registration as good once its flow was up for as long).
const STABLE: Duration = Duration::from_secs(120);

/// Service-Route entries that are kept.
const SERVICE_ROUTES: usize = 8;

/// The longest lifetime that can be asked for: 32 bits of seconds (RFC 3261 section 20.19).
const EXPIRES_MAX: Duration = Duration::from_secs(u32::MAX as u64);

#[derive(Debug)]
struct Registration {
    id: RegistrationId,
    register: Register,
    /// RFC 3261 section 10.2: "All registrations from a UAC SHOULD use the same Call-ID header field value for
    /// registrations sent to a particular registrar."
    call_id: ByteString,
    tag: u64,
    /// "A UA MUST increment the CSeq value by one for each REGISTER request with the same Call-ID."
    cseq: u32,
    auth: Authenticator,
    /// The lifetime to ask for: what the user wants, or more where the registrar insists.
    expires: Duration,
    /// Failures since the last success.
    failures: u32,
    /// Streams in a row that broke soon after they were made.
    broken: u32,
    /// How many times this try was sent again otherwise.
    adjustments: u8,
    /// RFC 5626 is asked for, and the first hop has not refused.
    outbound: bool,
    /// Where the registrar sees us, when that is not where we say we are.
    seen_at: Option<SocketAddr>,
    /// The Contact that the registrar has of us.
    bound: Option<Uri>,
    /// The destination that answered as the first one tried: the next try begins with it, for it has our binding.
    home: Option<Destination>,
    /// Where the registrar is, as far as not tried yet.
    destinations: VecDeque<Destination>,
    /// The way to the registrar, if it is one of datagrams, that calls come back by and that is kept open.
    kept_open: Option<Path>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The registrar's name is being looked up.
    Resolving(Goal),
    /// A REGISTER is under way.
    Sent { key: ClientKey, path: Path, goal: Goal },
    /// Registered since then; the timer is the refresh.
    Registered { path: Path, since: Instant },
    /// The timer is the next try.
    Waiting,
    /// Failed for good.
    Stopped,
    /// The binding is removed, or was given up.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Register,
    /// RFC 3261 section 10.2: "UAs MUST NOT send a new registration … until they have received a final response from the
    /// registrar for the previous one": the removal waits for it.
    RegisterThenLeave,
    Leave,
}

/// Every registration.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    registrations: BTreeMap<RegistrationId, Registration>,
    next: u64,
}

impl Registrations {
    pub(crate) fn register(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        register: Register,
    ) -> RegistrationId {
        let id = RegistrationId(self.next);
        self.next += 1;
        let registration = Registration {
            id,
            call_id: format!("{:016x}{:016x}", layer.random(), layer.random()).into(),
            tag: layer.tag(),
            cseq: 0,
            auth: Authenticator::new(register.credentials.clone()),
            expires: register.expires.min(EXPIRES_MAX),
            failures: 0,
            broken: 0,
            adjustments: 0,
            outbound: register.outbound.is_some(),
            seen_at: None,
            bound: None,
            home: None,
            destinations: VecDeque::new(),
            kept_open: None,
            state: State::Waiting,
            register,
        };
        self.registrations.insert(id, registration);
        self.with(layer, id, |registration, layer| registration.begin(layer, now, Goal::Register));
        id
    }

    pub(crate) fn unregister(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: RegistrationId,
    ) -> Result<(), Error> {
        self.with(layer, id, |registration, layer| registration.leave(layer, now))
            .ok_or(Error::UnknownRegistration)
    }

    pub(crate) fn resolved(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: RegistrationId,
        result: Result<Destinations, ResolveError>,
    ) {
        self.with(layer, id, |registration, layer| registration.resolved(layer, now, result));
    }

    pub(crate) fn timer(&mut self, layer: &mut TransactionLayer, now: Instant, id: RegistrationId) {
        self.with(layer, id, |registration, layer| registration.begin(layer, now, Goal::Register));
    }

    pub(crate) fn keep_open(&mut self, layer: &mut TransactionLayer, now: Instant, id: RegistrationId) {
        self.with(layer, id, |registration, layer| registration.keep_open(layer, now));
    }

    pub(crate) fn outcome(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: RegistrationId,
        key: ClientKey,
        outcome: Outcome,
    ) {
        self.with(layer, id, |registration, layer| registration.outcome(layer, now, key, outcome));
    }

    /// A stream that was open to there is gone: calls that were to come by it do not.
    pub(crate) fn stream_broke(&mut self, layer: &mut TransactionLayer, now: Instant, to: Destination) {
        for registration in self.registrations.values_mut() {
            registration.stream_broke(layer, now, to);
        }
    }

    fn with(
        &mut self,
        layer: &mut TransactionLayer,
        id: RegistrationId,
        act: impl FnOnce(&mut Registration, &mut TransactionLayer),
    ) -> Option<()> {
        let registration = self.registrations.get_mut(&id)?;
        act(registration, layer);
        if matches!(registration.state, State::Over) {
            layer.timers.cancel(TimerKey::Registration(id));
            layer.timers.cancel(TimerKey::Keepalive(id));
            self.registrations.remove(&id);
        }
        Some(())
    }
}

impl Registration {
    fn emit(&self, layer: &mut TransactionLayer, event: RegistrationEvent) {
        layer.event(Event::Registration { id: self.id, event });
    }

    /// Looks for the registrar, anew each time: its addresses may have changed.
    fn begin(&mut self, layer: &mut TransactionLayer, now: Instant, goal: Goal) {
        layer.timers.cancel(TimerKey::Registration(self.id));
        self.auth.begin();
        self.adjustments = 0;
        self.destinations.clear();
        let secure = self.is_secure();
        match layer.locate_target(Asker::Register(self.id), &self.register.registrar, secure) {
            None => self.failed(layer, now, goal, None, None),
            Some(Located::At(destination)) => {
                self.destinations.push_back(destination);
                self.try_next(layer, now, goal, None, None);
            }
            Some(Located::Asked(_)) => self.state = State::Resolving(goal),
        }
    }

    fn resolved(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        result: Result<Destinations, ResolveError>,
    ) {
        let State::Resolving(goal) = self.state else { return };
        let mut list = result.map(|found| found.list).unwrap_or_default();
        if let Some(at) = self.home.and_then(|home| list.iter().position(|to| *to == home)) {
            list[..=at].rotate_right(1);
        }
        self.destinations = layer.in_order(now, list);
        self.home = self.destinations.front().copied();
        self.try_next(layer, now, goal, None, None);
    }

    /// Sends to the next destination of the registrar; without one, this try has failed.
    fn try_next(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        goal: Goal,
        status: Option<u16>,
        retry_after: Option<Duration>,
    ) {
        match layer.next_path(&self.register.registrar, &mut self.destinations) {
            Some(path) => {
                // Reached by detour: the next try begins where the records say.
                self.home = self.home.filter(|home| *home == path.destination());
                self.send(layer, now, path, goal);
            }
            None => self.failed(layer, now, goal, status, retry_after),
        }
    }

    fn send(&mut self, layer: &mut TransactionLayer, now: Instant, path: Path, goal: Goal) {
        let aor = NameAddr::new(self.register.aor.clone());
        let uri = self.request_uri();
        let expires = match goal {
            Goal::Register | Goal::RegisterThenLeave => self.expires.as_secs(),
            Goal::Leave => 0,
        };
        self.cseq += 1;
        let branch = layer.branch();
        let mut out = compose::buffer(0);
        let mut builder = compose::request(&mut out, &Method::Register, &uri, &path, branch);
        for route in &self.register.route {
            builder = builder.header(Name::Route, format_args!("<{}>", route.uri()));
        }
        builder = builder
            .header(Name::From, aor.clone().with_tag(&format!("{:016x}", self.tag)))
            .header(Name::To, aor)
            .header(Name::CallId, &self.call_id)
            .header(Name::CSeq, format_args!("{} REGISTER", self.cseq));
        let ours = self.contact(&path);
        let misleading = self.bound.as_ref().filter(|bound| **bound != ours);
        let contact = NameAddr::new(ours.clone());
        builder = match self.register.outbound.as_ref().filter(|_| self.outbound) {
            // RFC 5626 section 4.2.1: REGISTER "MUST include an instance-id media feature tag" and, in the Contact, "a
            // "reg-id" parameter that is distinct from other "reg-id" parameters".
            Some(Outbound { instance, reg_id }) => builder
                .header(
                    Name::Contact,
                    format_args!("{contact};reg-id={reg_id};+sip.instance=\"<{instance}>\""),
                )
                // "MUST include the outbound option tag in a Supported header field", and "path" (RFC 5626 section 4.2.1).
                .header(Name::Supported, "path, outbound"),
            None => builder.header(Name::Contact, contact).header(Name::Supported, "path"),
        };
        if let Some(misleading) = misleading {
            builder = builder.header(Name::Contact, format_args!("<{misleading}>;expires=0"));
        }
        builder = builder.header(Name::Expires, expires).header(Name::UserAgent, &layer.config.user_agent);
        for (name, value) in self.auth.lines(&Method::Register, uri.as_str(), b"") {
            builder = builder.header(name, value);
        }
        let request = builder.finish();
        let user = User::Register(self.id);
        let key = layer.send_request(now, branch, Method::Register, path.clone(), request, user);
        self.state = State::Sent { key, path, goal };
    }

    /// RFC 3261 section 10.2: "The Request-URI names the domain of the location service … The "userinfo" and "@"
    /// components of the SIP URI MUST NOT be present."
    fn request_uri(&self) -> Uri {
        let aor = &self.register.aor;
        let host = aor.host().or_else(|| self.register.registrar.host.parse().ok());
        // A registrar whose host does not parse was refused by `begin`.
        let uri = if self.is_secure() { Uri::sips } else { Uri::sip };
        host.map_or_else(|| aor.clone(), |host| uri(None, &host, aor.port()))
    }

    fn is_secure(&self) -> bool {
        self.register.aor.scheme() == Scheme::Sips
    }

    fn contact(&self, path: &Path) -> Uri {
        let seen_at = self.seen_at.filter(|_| self.register.contact_as_seen);
        let at = seen_at.unwrap_or(path.advertised);
        // RFC 3261 section 10.2.1: where the To has a SIPS URI, "any Contact header field values in the request SHOULD also
        // be SIPS URIs".
        let (scheme, transport) = reached_by(path, self.is_secure());
        let uri = if scheme == Scheme::Sips { Uri::sips } else { Uri::sip };
        let contact = uri(Some(&self.register.contact_user), &Host::from(at), Some(at.port()));
        match transport {
            None => contact,
            Some(transport) => contact.with_param("transport", transport),
        }
    }

    fn outcome(&mut self, layer: &mut TransactionLayer, now: Instant, key: ClientKey, outcome: Outcome) {
        let State::Sent { key: sent, path, goal } = &self.state else { return };
        if *sent != key {
            return;
        }
        let (path, goal) = (path.clone(), *goal);
        match outcome {
            Outcome::Response { hop, response } => {
                let status = response.status().unwrap_or_default();
                match StatusClass::of(status) {
                    StatusClass::Provisional => {}
                    StatusClass::Success => self.succeeded(layer, now, hop, path, goal, &response),
                    StatusClass::Failure => {
                        self.notice_where_seen(&path, hop, &response);
                        self.rejected(layer, now, path, goal, status, &response);
                    }
                }
            }
            Outcome::TimedOut | Outcome::TransportFailed => {
                self.try_next(layer, now, goal, None, None);
            }
        }
    }

    fn succeeded(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        hop: Hop,
        path: Path,
        goal: Goal,
        response: &Message,
    ) {
        match goal {
            Goal::Leave => self.over(layer),
            Goal::RegisterThenLeave => self.begin(layer, now, Goal::Leave),
            Goal::Register => {
                let expires = self.granted(&path, response);
                if expires.is_zero() {
                    return self.failed(layer, now, goal, response.status(), None);
                }
                let sent = self.contact(&path);
                self.notice_where_seen(&path, hop, response);
                let misleads = sent != self.contact(&path);
                self.bound = Some(sent);
                if misleads && self.may_adjust() {
                    return self.send(layer, now, path, goal);
                }
                self.failures = 0;
                // Streams are kept open by those who own them.
                self.kept_open = Some(path.clone()).filter(|path| !path.transport.is_reliable());
                self.schedule_keepalive(layer, now);
                self.state = State::Registered { path, since: now };
                // Spread over a range, so that registrations that began together do not stay together; a tenth of
                // the lifetime is left for retransmissions.
                let refresh = portion(expires, 75, 90, layer.random()).max(REFRESH_LEAST);
                layer.timers.set(TimerKey::Registration(self.id), now + refresh);
                let (service_route, seen_at) = (service_route(response), self.seen_at);
                self.emit(layer, RegistrationEvent::Registered { expires, service_route, seen_at });
            }
        }
    }

    fn schedule_keepalive(&self, layer: &mut TransactionLayer, now: Instant) {
        let key = TimerKey::Keepalive(self.id);
        if self.kept_open.is_some() {
            let wait = portion(KEEPALIVE, 83, 100, layer.random());
            layer.timers.set(key, now + wait);
        } else {
            layer.timers.cancel(key);
        }
    }

    fn keep_open(&self, layer: &mut TransactionLayer, now: Instant) {
        if let Some(path) = &self.kept_open {
            layer.transmit(path.transmit(Bytes::from_static(KEEPALIVE_PAYLOAD)));
        }
        self.schedule_keepalive(layer, now);
    }

    /// Takes the address that a response says it was sent to (RFC 3581 section 4: `received` and `rport`). That of a stream
    /// has a port of its own, which nobody can connect to; and a large REGISTER may have taken one instead of a datagram.
    fn notice_where_seen(&mut self, path: &Path, hop: Hop, response: &Message) {
        let Ok(via) = response.top_via() else { return };
        let ip = via.received().unwrap_or(path.advertised.ip());
        let port = match via.rport() {
            Some(Rport::Port(port)) if !hop.transport.is_reliable() => port,
            Some(Rport::Port(_) | Rport::Asked) | None => path.advertised.port(),
        };
        self.seen_at = Some(SocketAddr::new(ip, port)).filter(|seen| *seen != path.advertised);
    }

    /// Whether this try may be sent again otherwise: a registrar that never has enough is not followed without end.
    fn may_adjust(&mut self) -> bool {
        self.adjustments += 1;
        self.adjustments <= ADJUSTMENTS
    }

    /// The lifetime of our binding: RFC 3261 section 10.2.4, "expires" of our Contact, else Expires, else what we asked.
    fn granted(&self, path: &Path, response: &Message) -> Duration {
        let ours = self.contact(path);
        let contacts = || response.contacts().filter_map(Result::ok);
        let addr = |contact: Contact| contact.addr().cloned();
        let binding =
            contacts().filter_map(addr).find(|addr| addr.uri().is_equivalent(&ours)).or_else(|| {
                // A registrar that rewrites our address behind a NAT, with nobody else registered.
                let mut all = contacts().filter_map(addr);
                all.next().filter(|_| all.next().is_none())
            });
        let of_contact = binding.and_then(|addr| expires(addr.params().get("expires")?).ok());
        of_contact.or_else(|| response.expires().ok().flatten()).unwrap_or(self.expires)
    }

    fn rejected(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        path: Path,
        goal: Goal,
        status: u16,
        response: &Message,
    ) {
        let retry_after = response.retry_after().ok().flatten();
        match status {
            401 | 407 => {
                if self.auth.accept_challenge(response, layer.random()) {
                    self.send(layer, now, path, goal);
                } else if Authenticator::is_stale(response) {
                    // Nothing is wrong with our password: its servers do not know each other's nonces.
                    self.failed(layer, now, goal, Some(status), retry_after);
                } else {
                    self.refused(layer, now, goal, status);
                }
            }
            // What RFC 3261 section 21 has no hope for: "the request SHOULD NOT be repeated" (403), "has definitive
            // information that the user does not exist" (404, 604), the method is "not allowed for the address" (405), gone
            // and "expected to be considered permanent" (410), a scheme that is not understood (416), and no REGISTER at
            // all (501).
            403 | 404 | 405 | 410 | 416 | 501 | 604 => self.refused(layer, now, goal, status),
            // RFC 5626 section 11.6, "First Hop Lacks Outbound Support": it will be registered without.
            439 if self.outbound && self.may_adjust() => {
                self.outbound = false;
                self.send(layer, now, path, goal);
            }
            // RFC 3261 section 10.2.8: "it MAY retry the registration after making the expiration interval of all
            // contact addresses … equal to or greater than the expiration interval within the Min-Expires header field".
            423 => match response.min_expires().ok().flatten().filter(|least| *least > self.expires) {
                Some(least) if self.may_adjust() => {
                    self.expires = least;
                    self.send(layer, now, path, goal);
                }
                Some(_) | None => self.failed(layer, now, goal, Some(status), retry_after),
            },
            503 => self.try_next(layer, now, goal, Some(status), retry_after),
            _ => self.failed(layer, now, goal, Some(status), retry_after),
        }
    }

    /// The registrar will not have us: trying again with the same data would only lock the account.
    fn refused(&mut self, layer: &mut TransactionLayer, now: Instant, goal: Goal, status: u16) {
        match goal {
            Goal::Register => {
                self.state = State::Stopped;
                self.kept_open = None;
                self.schedule_keepalive(layer, now);
                self.emit(layer, RegistrationEvent::Failed { status: Some(status), retry_in: None });
            }
            Goal::RegisterThenLeave | Goal::Leave => self.over(layer),
        }
    }

    /// A failure that may pass.
    fn failed(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        goal: Goal,
        status: Option<u16>,
        retry_after: Option<Duration>,
    ) {
        match goal {
            Goal::Register => {
                let random = layer.random();
                // As RFC 5626 section 4.5 has it: doubling up to a limit, and then 50 to 100 % of that.
                let own = portion(back_off(self.failures), 50, 100, random);
                // Not before it is asked for, and not all at once.
                let asked = retry_after.map(|after| portion(after.min(RETRY_AFTER_MAX), 100, 110, random));
                let wait = own.max(asked.unwrap_or_default());
                self.failures = self.failures.saturating_add(1);
                self.state = State::Waiting;
                layer.timers.set(TimerKey::Registration(self.id), now + wait);
                self.emit(layer, RegistrationEvent::Failed { status, retry_in: Some(wait) });
            }
            // The binding, if there is one, expires by itself.
            Goal::RegisterThenLeave | Goal::Leave => self.over(layer),
        }
    }

    /// RFC 5626 section 4.5: "When a flow used for registration … fails, the UA needs to form a new flow to replace the old
    /// flow".
    fn stream_broke(&mut self, layer: &mut TransactionLayer, now: Instant, to: Destination) {
        let State::Registered { path, since } = &self.state else { return };
        if !path.transport.is_reliable() || path.destination() != to {
            return;
        }
        let lasted = now.saturating_duration_since(*since);
        let wait = if lasted < STABLE {
            self.broken = self.broken.saturating_add(1);
            portion(back_off(self.broken - 1), 50, 100, layer.random())
        } else {
            self.broken = 0;
            portion(REPLACE, 0, 100, layer.random())
        };
        self.state = State::Waiting;
        layer.timers.set(TimerKey::Registration(self.id), now + wait);
        // Until then no call comes; that of a moment is not worth telling.
        if wait > REPLACE {
            self.emit(layer, RegistrationEvent::Failed { status: None, retry_in: Some(wait) });
        }
    }

    fn leave(&mut self, layer: &mut TransactionLayer, now: Instant) {
        match &mut self.state {
            State::Sent { goal, .. } if *goal == Goal::Register => *goal = Goal::RegisterThenLeave,
            State::Resolving(goal) => *goal = Goal::Leave,
            State::Registered { .. } | State::Waiting => self.begin(layer, now, Goal::Leave),
            State::Stopped => self.over(layer),
            State::Sent { .. } | State::Over => {}
        }
    }

    fn over(&mut self, layer: &mut TransactionLayer) {
        self.state = State::Over;
        self.emit(layer, RegistrationEvent::Unregistered);
    }
}

/// RFC 3608 section 6.3: the route set "exactly as" it was received; without the header field there is none.
fn service_route(response: &Message) -> Vec<NameAddr> {
    // A copy: it outlives the buffer that the response came in.
    let own = |route: Result<NameAddr, _>| route.ok()?.to_string().parse::<NameAddr>().ok();
    let routes = response.addresses(Name::ServiceRoute).map(own).take(SERVICE_ROUTES);
    // A route with a hole in it leads elsewhere.
    routes.collect::<Option<_>>().unwrap_or_default()
}

/// The longest wait after this many failures in a row.
fn back_off(failures: u32) -> Duration {
    2u32.checked_pow(failures).map_or(RETRY_MAX, |factor| RETRY_BASE.saturating_mul(factor)).min(RETRY_MAX)
}

/// From `least` to `most` percent of `whole`, as chance wills.
fn portion(whole: Duration, least: u32, most: u32, random: u64) -> Duration {
    const STEPS: u32 = 1 << 16;
    // Sixteen bits of the random number: `step` is below `STEPS`.
    let step = (random & u64::from(STEPS - 1)) as u32;
    whole * least / 100 + whole * (most - least) / 100 * step / STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let waits: Vec<u64> = (0..8).map(|failures| back_off(failures).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(back_off(u32::MAX), RETRY_MAX);
    }

    #[test]
    fn portions_stay_in_their_range() {
        let whole = Duration::from_secs(3600);
        assert_eq!(portion(whole, 75, 90, 0), whole * 75 / 100);
        assert!(portion(whole, 75, 90, u64::MAX) < whole * 90 / 100);
        assert!(portion(whole, 75, 90, u64::MAX) > whole * 89 / 100);
    }
}
