//! Requests of ours outside any dialog (RFC 3261 section 8.1): the OPTIONS that asks whether a trunk is alive, and its kin.
//!
//! ```text
//!   start ─▶ Resolving ─▶ Sent ──final response──▶ over
//!               ▲          │ ▲ └┐ 401, 407: again
//!               │          │ └──┘
//!               │          └── no answer, 503: the next destination; after the last one over
//!               └ a name only
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytestring::ByteString;

use crate::authenticator::Authenticator;
use crate::digest::Credentials;
use crate::endpoint::{Destinations, Error, Event, QueryId, ResolveError};
use crate::session::{Body, Target, check_request_headers, contact};
use crate::transaction::{
    Asker, ClientKey, Located, Outcome, Path, StatusClass, TransactionLayer, User, compose,
};
use crate::transport::{Destination, Hop};
use crate::{Message, Method, Name, NameAddr, Scheme, Uri};

/// One request of ours outside any dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutgoingId(pub u64);

/// A request to send outside any dialog.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// OPTIONS, MESSAGE, PUBLISH or an extension; methods that begin a dialog or belong in one are refused.
    pub method: Method,
    /// The Request-URI.
    pub request_uri: Uri,
    /// The To header; its tag, if any, is ignored.
    pub to: NameAddr,
    /// The From header; the endpoint sets its tag.
    pub from: NameAddr,
    /// Where the request is sent.
    pub target: Target,
    /// A preloaded route set (RFC 3261 section 8.1.2), outermost proxy first; `target` is still the next hop.
    pub route: Vec<NameAddr>,
    /// Further headers, name and value, sent as given. Names the endpoint writes itself are refused.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Body>,
    /// What to answer a 401 or 407 with.
    pub credentials: Option<Credentials>,
}

/// What became of an [`Outgoing`] request.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "read and dropped; a box would cost an allocation")]
pub enum OutgoingOutcome {
    /// A final response: any, also a 401 that our credentials do not satisfy. Any response, even a refusal, says that the
    /// peer is there.
    Response {
        /// The way it came.
        hop: Hop,
        /// The response.
        response: Message,
    },
    /// No final response in time from the last address of the target (timer F).
    Timeout,
    /// The last address of the target could not be reached, or no listener suits it.
    Transport,
    /// The target's name has no address.
    Resolve,
}

#[derive(Debug)]
struct Running {
    id: OutgoingId,
    outgoing: Outgoing,
    call_id: ByteString,
    /// Our From, tag included.
    from: ByteString,
    cseq: u32,
    auth: Authenticator,
    /// Where the target is, as far as not tried yet.
    destinations: VecDeque<Destination>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The target's name is being looked up.
    Resolving(QueryId),
    /// The request is under way.
    Sent { key: ClientKey, path: Box<Path> },
    /// The outcome is told.
    Over,
}

/// Every request of ours outside dialogs that has no outcome yet.
#[derive(Debug, Default)]
pub(crate) struct Outgoings {
    running: BTreeMap<OutgoingId, Running>,
    next: u64,
}

impl Outgoings {
    pub(crate) fn request(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        mut outgoing: Outgoing,
    ) -> Result<OutgoingId, Error> {
        match outgoing.method {
            Method::Options | Method::Message | Method::Publish | Method::Extension(_) => {}
            Method::Invite
            | Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Register
            | Method::Prack
            | Method::Subscribe
            | Method::Notify
            | Method::Info
            | Method::Refer
            | Method::Update => return Err(Error::Method),
        }
        check_request_headers(&outgoing.headers)?;
        if self.running.len() >= layer.config.max_requests {
            return Err(Error::TooManyRequests);
        }
        if layer.is_full() {
            return Err(Error::TooManyTransactions);
        }
        outgoing.request_uri = outgoing.request_uri.to_request_uri();
        let id = OutgoingId(self.next);
        self.next += 1;
        let tag = layer.tag();
        let running = Running {
            id,
            call_id: format!("{:016x}{:016x}", layer.random(), layer.random()).into(),
            from: outgoing.from.clone().with_tag(&format!("{tag:016x}")).to_string().into(),
            cseq: 0,
            auth: Authenticator::new(outgoing.credentials.clone()),
            destinations: VecDeque::new(),
            state: State::Over,
            outgoing,
        };
        self.running.insert(id, running);
        self.with(layer, id, |running, layer| running.start(layer, now));
        Ok(id)
    }

    /// Gives a request up: no outcome is told. One that is over already is no error.
    pub(crate) fn abandon(&mut self, layer: &mut TransactionLayer, id: OutgoingId) {
        match self.running.remove(&id).map(|running| running.state) {
            Some(State::Resolving(query)) => {
                layer.take_query(query);
            }
            Some(State::Sent { key, .. }) => layer.abandon(key),
            Some(State::Over) | None => {}
        }
    }

    pub(crate) fn resolved(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: OutgoingId,
        result: Result<Destinations, ResolveError>,
    ) {
        self.with(layer, id, |running, layer| {
            running.destinations = result.map(|found| layer.in_order(now, found.list)).unwrap_or_default();
            let without = match running.destinations.is_empty() {
                true => OutgoingOutcome::Resolve,
                false => OutgoingOutcome::Transport,
            };
            running.try_next(layer, now, without);
        });
    }

    pub(crate) fn outcome(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: OutgoingId,
        key: ClientKey,
        outcome: Outcome,
    ) {
        self.with(layer, id, |running, layer| running.outcome(layer, now, key, outcome));
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    fn with(
        &mut self,
        layer: &mut TransactionLayer,
        id: OutgoingId,
        act: impl FnOnce(&mut Running, &mut TransactionLayer),
    ) {
        let Some(running) = self.running.get_mut(&id) else { return };
        act(running, layer);
        if matches!(running.state, State::Over) {
            self.running.remove(&id);
        }
    }
}

impl Running {
    fn finish(&mut self, layer: &mut TransactionLayer, outcome: OutgoingOutcome) {
        self.state = State::Over;
        layer.event(Event::Response { id: self.id, outcome });
    }

    fn start(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let secure = self.outgoing.request_uri.scheme() == Scheme::Sips;
        match layer.locate_target(Asker::Outgoing(self.id), &self.outgoing.target, secure) {
            None => self.finish(layer, OutgoingOutcome::Resolve),
            Some(Located::At(destination)) => {
                self.destinations.push_back(destination);
                self.try_next(layer, now, OutgoingOutcome::Transport);
            }
            Some(Located::Asked(query)) => self.state = State::Resolving(query),
        }
    }

    /// Sends to the next destination of the target; without one, `without` is the outcome.
    fn try_next(&mut self, layer: &mut TransactionLayer, now: Instant, without: OutgoingOutcome) {
        match layer.next_path(&self.outgoing.target, &mut self.destinations) {
            Some(path) => {
                self.auth.begin();
                self.send(layer, now, path);
            }
            None => self.finish(layer, without),
        }
    }

    fn send(&mut self, layer: &mut TransactionLayer, now: Instant, path: Path) {
        let Outgoing { method, request_uri, to, from, route, headers, body, .. } = &self.outgoing;
        let secure = request_uri.scheme() == Scheme::Sips;
        let octets = body.as_ref().map_or(&[][..], |body| &body.bytes);
        let authorization = self.auth.lines(method, request_uri.as_str(), octets);
        self.cseq += 1;
        let branch = layer.branch();
        let mut out = compose::buffer(octets.len());
        let mut builder = compose::request(&mut out, method, request_uri, &path, branch);
        for route in route {
            builder = builder.header(Name::Route, format_args!("<{}>", route.uri()));
        }
        builder = builder
            .header(Name::From, &self.from)
            .header(Name::To, to.clone().without_param("tag"))
            .header(Name::CallId, &self.call_id)
            .header(Name::CSeq, format_args!("{} {method}", self.cseq))
            .header(Name::Contact, contact(from.uri().user(), &path, secure))
            .header(Name::UserAgent, &layer.config.user_agent);
        // RFC 3261 section 11.1: "An Accept header field SHOULD be included to indicate the type of message body the UAC
        // wishes to receive in the response."
        if *method == Method::Options && !headers.iter().any(|(name, _)| Name::parse(name) == Name::Accept) {
            builder = builder.header(Name::Accept, "application/sdp");
        }
        for (name, value) in &authorization {
            builder = builder.header(*name, value);
        }
        for (name, value) in headers {
            builder = builder.header(Name::parse(name), value);
        }
        let request = match body {
            Some(body) => builder.body(&body.content_type, &body.bytes),
            None => builder.finish(),
        };
        let user = User::Outgoing(self.id);
        let key = layer.send_request(now, branch, method.clone(), path.clone(), request, user);
        self.state = State::Sent { key, path: Box::new(path) };
    }

    fn outcome(&mut self, layer: &mut TransactionLayer, now: Instant, key: ClientKey, outcome: Outcome) {
        let State::Sent { key: sent, path } = &self.state else { return };
        if *sent != key {
            return;
        }
        let path = Path::clone(path);
        match outcome {
            Outcome::Response { hop, response } => {
                match StatusClass::of(response.status().unwrap_or_default()) {
                    StatusClass::Provisional => {}
                    StatusClass::Success => self.finish(layer, OutgoingOutcome::Response { hop, response }),
                    StatusClass::Failure => self.rejected(layer, now, path, hop, response),
                }
            }
            Outcome::TimedOut => self.try_next(layer, now, OutgoingOutcome::Timeout),
            Outcome::TransportFailed => self.try_next(layer, now, OutgoingOutcome::Transport),
        }
    }

    fn rejected(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        path: Path,
        hop: Hop,
        response: Message,
    ) {
        match response.status() {
            // RFC 3261 section 8.1.3.5: "This new request … SHOULD have the same value of the Call-ID, To, and From of the
            // previous request, but the CSeq should contain a new sequence number that is one higher than the previous."
            Some(401 | 407) if self.auth.accept_challenge(&response, layer.random()) => {
                self.send(layer, now, path);
            }
            // RFC 3263 section 4.3: a 503 is a failure of the server, and the next address is tried.
            Some(503) => self.try_next(layer, now, OutgoingOutcome::Response { hop, response }),
            Some(_) | None => self.finish(layer, OutgoingOutcome::Response { hop, response }),
        }
    }
}
