//! The harness: nodes, a virtual clock, links that lose what a test names, and a log of the wire.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use netem::{Impairments, Link};
use sip_core::digest::Credentials;
use sip_core::*;

/// Where a call is told to go: `a` and `b` are endpoints, `r` is played by the test.
pub(crate) const A: &str = "10.0.0.1:5060";
pub(crate) const B: &str = "10.0.0.2:5060";
pub(crate) const R: &str = "10.0.0.3:5060";

pub(crate) const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Something a test has an endpoint do later.
pub(crate) type Act = Box<dyn FnOnce(&mut Phone, Instant)>;

/// How an endpoint reacts to what it is told, besides noting it.
pub(crate) type Reaction = Box<dyn FnMut(&mut Phone, Instant, &Event)>;

/// One endpoint and everything it told.
pub(crate) struct Phone {
    pub(crate) endpoint: Endpoint,
    pub(crate) events: Vec<(Duration, Event)>,
    pub(crate) queries: Vec<(QueryId, String)>,
    /// What to do later, by delay from the moment it is put here.
    pub(crate) plans: Vec<(Duration, Act)>,
    reaction: Option<Reaction>,
    /// How much of the story was told as news.
    told: usize,
}

/// One message on the wire.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) message: Message,
}

impl Seen {
    /// `INVITE`, or `200 INVITE` for its answer.
    pub(crate) fn label(&self) -> String {
        label(&self.message)
    }
}

/// What a transport makes of bytes.
pub(crate) fn arrival(hop: Hop, bytes: Bytes) -> Input {
    match Message::parse(bytes.clone()) {
        Ok(message) => Input::Message { hop, message },
        Err(error) => Input::Malformed { hop, bytes, error },
    }
}

pub(crate) fn label(message: &Message) -> String {
    match message.status() {
        Some(status) => {
            let method = message.cseq().map_or_else(|_| "?".to_owned(), |cseq| cseq.method.to_string());
            format!("{status} {method}")
        }
        None => message.method().unwrap().to_string(),
    }
}

#[derive(Clone)]
struct Packet {
    hop: Hop,
    bytes: Bytes,
}

/// Changes what is sent, on its way.
pub(crate) type Mangler = Box<dyn FnMut(Bytes) -> Bytes>;

pub(crate) struct Net {
    start: Instant,
    pub(crate) now: Instant,
    phones: BTreeMap<SocketAddr, Phone>,
    /// What came to addresses that no endpoint has.
    inboxes: BTreeMap<SocketAddr, VecDeque<Message>>,
    links: BTreeMap<(SocketAddr, SocketAddr), Link<Packet>>,
    impairments: Impairments,
    seed: u64,
    acts: BTreeMap<(Instant, u64), (SocketAddr, Act)>,
    act: u64,
    losses: Vec<(String, u32)>,
    mangler: Option<Mangler>,
    /// Every message sent, also those that are lost.
    pub(crate) wire: Vec<Seen>,
    /// Every message that reached an endpoint, and when.
    pub(crate) arrived: Vec<Seen>,
    /// Empty lines, which are no messages: when, from, to.
    pub(crate) keepalives: Vec<(Duration, SocketAddr, SocketAddr)>,
}

impl Net {
    /// A perfect network without delay.
    pub(crate) fn new() -> Net {
        Net::impaired(1, Impairments::NONE)
    }

    #[expect(clippy::disallowed_methods, reason = "tests need one instant to count from")]
    pub(crate) fn impaired(seed: u64, impairments: Impairments) -> Net {
        let start = Instant::now();
        Net {
            start,
            now: start,
            phones: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            links: BTreeMap::new(),
            impairments,
            seed,
            acts: BTreeMap::new(),
            act: 0,
            losses: Vec::new(),
            mangler: None,
            wire: Vec::new(),
            arrived: Vec::new(),
            keepalives: Vec::new(),
        }
    }

    /// A net with the endpoints `a` and `b`.
    pub(crate) fn pair() -> Net {
        let mut net = Net::new();
        net.add(A, Transport::Udp);
        net.add(B, Transport::Udp);
        net
    }

    pub(crate) fn add(&mut self, at: &str, transport: Transport) {
        self.add_with(at, transport, |_| {});
    }

    pub(crate) fn add_with(
        &mut self,
        at: &str,
        transport: Transport,
        change: impl FnOnce(&mut EndpointConfig),
    ) {
        let address = addr(at);
        let mut config =
            EndpointConfig::new(vec![Listener { transport, bound: address, advertised: address }]);
        config.info_types = vec!["application/dtmf-relay".to_owned()];
        change(&mut config);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        seed[8..10].copy_from_slice(&address.port().to_be_bytes());
        seed[10..].copy_from_slice(&[at.as_bytes()[7]; 22]);
        let endpoint = Endpoint::new(config, seed);
        let phone = Phone {
            endpoint,
            events: Vec::new(),
            queries: Vec::new(),
            plans: Vec::new(),
            reaction: None,
            told: 0,
        };
        self.phones.insert(address, phone);
    }

    pub(crate) fn react(&mut self, at: &str, reaction: impl FnMut(&mut Phone, Instant, &Event) + 'static) {
        self.phone(at).reaction = Some(Box::new(reaction));
    }

    pub(crate) fn phone(&mut self, at: &str) -> &mut Phone {
        self.phones.get_mut(&addr(at)).unwrap()
    }

    /// Time since the start.
    pub(crate) fn time(&self) -> Duration {
        self.now - self.start
    }

    /// The next `count` messages with this label are lost.
    pub(crate) fn lose(&mut self, label: &str, count: u32) {
        self.losses.push((label.to_owned(), count));
    }

    /// Everything sent from now on is changed by this.
    pub(crate) fn mangle(&mut self, mangler: impl FnMut(Bytes) -> Bytes + 'static) {
        self.mangler = Some(Box::new(mangler));
    }

    /// Has an endpoint do something now.
    pub(crate) fn act<T>(&mut self, at: &str, act: impl FnOnce(&mut Endpoint, Instant) -> T) -> T {
        let now = self.now;
        let result = act(&mut self.phone(at).endpoint, now);
        self.drain(addr(at));
        result
    }

    /// Has an endpoint do something later.
    pub(crate) fn later(
        &mut self,
        at: &str,
        after: Duration,
        act: impl FnOnce(&mut Phone, Instant) + 'static,
    ) {
        self.schedule(addr(at), after, Box::new(act));
    }

    fn schedule(&mut self, at: SocketAddr, after: Duration, act: Act) {
        self.acts.insert((self.now + after, self.act), (at, act));
        self.act += 1;
    }

    /// Sends a text as it is; lines end in LF here.
    pub(crate) fn send_raw(&mut self, from: &str, to: &str, text: &str) {
        let bytes = text.replace('\n', "\r\n").into();
        self.input(
            to,
            arrival(Hop { transport: Transport::Udp, local: addr(to), remote: addr(from) }, bytes),
        );
    }

    /// Hands something to an endpoint.
    pub(crate) fn input(&mut self, to: &str, input: Input) {
        let now = self.now;
        self.phone(to).endpoint.handle_input(now, input);
        self.drain(addr(to));
        self.run_for(Duration::ZERO);
    }

    /// What came to an address without an endpoint.
    pub(crate) fn receive_raw(&mut self, at: &str) -> Option<Message> {
        self.inboxes.get_mut(&addr(at))?.pop_front()
    }

    /// The next message with this label that came to an address without an endpoint; others before it are dropped.
    pub(crate) fn expect_raw(&mut self, at: &str, wanted: &str) -> Message {
        let mut passed = Vec::new();
        while let Some(message) = self.receive_raw(at) {
            if label(&message) == wanted {
                return message;
            }
            passed.push(label(&message));
        }
        panic!("no {wanted} came, but {passed:?}");
    }

    fn drain(&mut self, at: SocketAddr) {
        let (now, time) = (self.now, self.now - self.start);
        let Some(phone) = self.phones.get_mut(&at) else { return };
        let mut sent = Vec::new();
        let mut reaction = phone.reaction.take();
        while let Some(output) = phone.endpoint.poll_output() {
            match output {
                Output::Transmit(transmit) => sent.push(transmit),
                Output::Resolve { query, question } => phone.queries.push((query, question.host)),
                Output::Event(event) => {
                    if let Some(reaction) = &mut reaction {
                        reaction(phone, now, &event);
                    }
                    phone.events.push((time, event));
                }
            }
        }
        phone.reaction = reaction;
        let plans = std::mem::take(&mut phone.plans);
        for (after, act) in plans {
            self.schedule(at, after, act);
        }
        for transmit in sent {
            self.transmit(at, transmit);
        }
    }

    fn transmit(&mut self, from: SocketAddr, transmit: Transmit) {
        if transmit.payload.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            self.keepalives.push((self.time(), from, transmit.remote));
            return;
        }
        let message = Message::parse(transmit.payload).unwrap();
        // Refusals of malformed requests copy what they refuse, and responses to proxies have more than one Via.
        if message.is_request() {
            message.validate().unwrap();
        }
        let to = transmit.remote;
        self.wire.push(Seen { at: self.time(), from, to, message: message.clone() });
        let label = label(&message);
        if let Some((_, count)) = self.losses.iter_mut().find(|(lost, count)| *lost == label && *count > 0) {
            *count -= 1;
            return;
        }
        let hop = Hop { transport: transmit.transport, local: to, remote: from };
        let impairments = if transmit.transport.is_reliable() { Impairments::NONE } else { self.impairments };
        let number = self.links.len() as u64;
        let seed = self.seed.wrapping_mul(1_000).wrapping_add(number);
        let link = self.links.entry((from, to)).or_insert_with(|| Link::new(seed, impairments));
        let bytes = message.as_bytes().clone();
        let bytes = match &mut self.mangler {
            Some(mangler) => mangler(bytes),
            None => bytes,
        };
        link.send(self.now, Packet { hop, bytes });
    }

    /// The next moment at which something happens.
    fn next(&self) -> Option<Instant> {
        let timers = self.phones.values().filter_map(|phone| phone.endpoint.poll_timeout()).map(|(at, _)| at);
        let packets = self.links.values().filter_map(Link::poll_timeout);
        let acts = self.acts.keys().map(|(at, _)| *at).take(1);
        timers.chain(packets).chain(acts).min()
    }

    fn step(&mut self, now: Instant) {
        self.now = now;
        while let Some(entry) = self.acts.first_entry().filter(|entry| entry.key().0 <= now) {
            let (at, act) = entry.remove();
            if let Some(phone) = self.phones.get_mut(&at) {
                act(phone, now);
            }
            self.drain(at);
        }
        let ways: Vec<_> = self.links.keys().copied().collect();
        for way in ways {
            while let Some(packet) = self.links.get_mut(&way).and_then(|link| link.recv(now)) {
                match self.phones.get_mut(&way.1) {
                    Some(phone) => {
                        let input = arrival(packet.hop, packet.bytes);
                        if let Input::Message { message, .. } = &input {
                            let (at, message) = (now - self.start, message.clone());
                            self.arrived.push(Seen { at, from: way.0, to: way.1, message });
                        }
                        phone.endpoint.handle_input(now, input);
                        self.drain(way.1);
                    }
                    None => self.inboxes.entry(way.1).or_default().extend(Message::parse(packet.bytes)),
                }
            }
        }
        let addresses: Vec<_> = self.phones.keys().copied().collect();
        for at in addresses {
            let phone = self.phones.get_mut(&at).unwrap();
            if phone.endpoint.poll_timeout().is_some_and(|(deadline, _)| deadline <= now) {
                phone.endpoint.handle_timeout(now);
                self.drain(at);
            }
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.step(next.max(self.now));
        }
        self.now = end;
    }

    /// Runs until nothing is left to happen, and checks that nothing is left over.
    pub(crate) fn run_until_quiet(&mut self) {
        // A day: only an endpoint that never rests gets there.
        let limit = self.now + secs(86_400);
        while let Some(next) = self.next() {
            assert!(next < limit, "something never ends");
            self.step(next.max(self.now));
        }
        for (at, phone) in &self.phones {
            assert_eq!(phone.endpoint.sessions(), 0, "sessions left at {at}");
            assert_eq!(phone.endpoint.transactions(), 0, "transactions left at {at}");
            assert_eq!(phone.endpoint.live_sessions(), 0, "sessions counted at {at}");
            assert_eq!(phone.endpoint.outgoing_requests(), 0, "requests left at {at}");
        }
        self.check_terminal_events();
    }

    /// Every session that was told of has exactly one terminal event, and it is the last.
    fn check_terminal_events(&self) {
        for (at, phone) in &self.phones {
            let mut over: BTreeMap<SessionId, bool> = BTreeMap::new();
            for (time, event) in &phone.events {
                if let Event::Session { id, event } = event {
                    let was_over = over.entry(*id).or_default();
                    assert!(!*was_over, "{at} {id:?} at {time:?}: {event:?} after the terminal event");
                    *was_over = matches!(event, SessionEvent::Failed(_) | SessionEvent::Ended { .. });
                }
            }
            let open: Vec<_> = over.iter().filter(|(_, over)| !**over).collect();
            assert!(open.is_empty(), "{at}: no terminal event for {open:?}");
        }
    }

    /// The labels on the wire, `>` from `a` and `<` to it.
    pub(crate) fn ladder(&self) -> Vec<String> {
        self.wire
            .iter()
            .map(|seen| format!("{} {}", if seen.from == addr(A) { '>' } else { '<' }, seen.label()))
            .collect()
    }

    /// When messages with this label were sent.
    pub(crate) fn times(&self, label: &str) -> Vec<Duration> {
        self.wire.iter().filter(|seen| seen.label() == label).map(|seen| seen.at).collect()
    }

    /// The last message sent with this label.
    pub(crate) fn last(&self, label: &str) -> Message {
        let seen = self.wire.iter().rev().find(|seen| seen.label() == label);
        seen.unwrap_or_else(|| panic!("no {label} in {:?}", self.ladder())).message.clone()
    }

    pub(crate) fn count(&self, label: &str) -> usize {
        self.times(label).len()
    }

    /// What an endpoint told of its calls, in words.
    pub(crate) fn story(&mut self, at: &str) -> Vec<String> {
        self.phone(at).events.iter().map(|(_, event)| words(event)).collect()
    }

    /// The session of the first call at this endpoint.
    pub(crate) fn session(&mut self, at: &str) -> SessionId {
        let session = |(_, event): &(Duration, Event)| match event {
            Event::Session { id, .. } => Some(*id),
            Event::Registration { .. }
            | Event::Request { .. }
            | Event::Response { .. }
            | Event::Located { .. } => None,
        };
        self.phone(at).events.iter().find_map(session).unwrap()
    }

    /// Answers a question with addresses that are reached over UDP.
    pub(crate) fn resolve(&mut self, at: &str, answer: &[&str]) {
        let destination = |at: &&str| Destination { transport: Transport::Udp, address: addr(at) };
        self.resolve_to(at, answer.iter().map(destination).collect());
    }

    /// Answers a question.
    pub(crate) fn resolve_to(&mut self, at: &str, list: Vec<Destination>) {
        let (query, _) = self.phone(at).queries.remove(0);
        let result = if list.is_empty() {
            Err(ResolveError::NotFound)
        } else {
            Ok(Destinations { list, valid_for: secs(60) })
        };
        self.input(at, Input::Resolved { query, result });
    }

    pub(crate) fn call(&mut self, from: &str, to: &str) -> SessionId {
        self.act(from, |endpoint, now| endpoint.invite(now, invite(to)).unwrap())
    }

    pub(crate) fn hangup(&mut self, at: &str, id: SessionId) {
        self.act(at, |endpoint, now| endpoint.hangup(now, id, Hangup::default()).unwrap());
        self.run_for(Duration::ZERO);
    }

    /// Has an endpoint offer in a call; `""` asks for the peer's.
    pub(crate) fn offer(&mut self, at: &str, id: SessionId, text: &str) {
        let body = (!text.is_empty()).then(|| sdp(text));
        self.act(at, |endpoint, now| endpoint.offer(now, id, body).unwrap());
        self.run_for(Duration::ZERO);
    }

    /// A call from `a` to a scripted callee at `r`, answered. Returns its INVITE.
    pub(crate) fn answered_by_r(&mut self, more: &str) -> (SessionId, Message) {
        let a = self.call(A, R);
        self.run_for(Duration::ZERO);
        let invite = self.expect_raw(R, "INVITE");
        let more = format!("Contact: <sip:{R}>\n{more}");
        self.send_raw(R, A, &response_with(&invite, 200, "r1", &more, "r answer"));
        self.expect_raw(R, "ACK");
        (a, invite)
    }

    /// A call of the scripted `r` to `b`, answered and acknowledged. Returns the session and the 200.
    pub(crate) fn called_by_r(&mut self, more: &str) -> (SessionId, Message) {
        answer_calls(self, B);
        self.send_raw(R, B, &invite_of_caller(more, "r offer"));
        let ok = self.expect_raw(R, "200 INVITE");
        self.send_raw(R, B, &of_caller(&ok, "ACK", 1, "", ""));
        let b = self.session(B);
        assert_eq!(self.story(B), ["incoming", "confirmed"]);
        (b, ok)
    }

    /// What an endpoint told of its calls since this was asked last.
    pub(crate) fn news(&mut self, at: &str) -> Vec<String> {
        let story = self.story(at);
        let told = std::mem::replace(&mut self.phone(at).told, story.len());
        story[told..].to_vec()
    }

    /// A call from `a` to `b` that is answered.
    pub(crate) fn established(&mut self) -> (SessionId, SessionId) {
        answer_calls(self, B);
        let a = self.call(A, B);
        self.run_for(Duration::ZERO);
        let b = self.session(B);
        assert!(self.story(B).contains(&"confirmed".to_owned()), "{:?}", self.ladder());
        (a, b)
    }
}

/// A word, and the description that came with it.
fn with(word: &str, body: Option<&Bytes>) -> String {
    match body {
        Some(body) => format!("{word}: {}", String::from_utf8_lossy(body)),
        None => word.into(),
    }
}

fn words(event: &Event) -> String {
    match event {
        Event::Session { event, .. } => match event {
            SessionEvent::Incoming { .. } => "incoming".into(),
            SessionEvent::Provisional { status, body, .. } => {
                format!("{status}{}", if body.is_some() { " with body" } else { "" })
            }
            SessionEvent::Answered { .. } => "answered".into(),
            SessionEvent::Confirmed { body } => with("confirmed", body.as_ref()),
            SessionEvent::Offered { body, .. } => with("offered", body.as_ref()),
            SessionEvent::OfferWithdrawn => "withdrawn".into(),
            SessionEvent::OfferAnswered { body } => with("offer answered", body.as_ref()),
            SessionEvent::OfferRefused { status } => format!("offer refused {status}"),
            SessionEvent::Info { .. } => "info".into(),
            SessionEvent::InfoAnswered { status } => format!("info answered {status}"),
            SessionEvent::Referred(_) => "referred".into(),
            SessionEvent::ReferProgress { progress, .. } => format!("refer {progress:?}"),
            SessionEvent::Failed(failure) => format!("failed {:?}", failure.cause),
            SessionEvent::Ended { by, cause, .. } => format!("ended {by:?} {cause:?}"),
        },
        Event::Located { addresses, .. } => format!("located {addresses:?}"),
        Event::Registration { event, .. } => match event {
            RegistrationEvent::Registered { expires, .. } => format!("registered {expires:?}"),
            RegistrationEvent::Failed { status, retry_in: Some(_) } => {
                format!("failed {status:?}, again later")
            }
            RegistrationEvent::Failed { status, retry_in: None } => format!("failed {status:?} for good"),
            RegistrationEvent::Unregistered => "unregistered".into(),
        },
        Event::Request { request, .. } => format!("request {}", request.method().unwrap()),
        Event::Response { outcome, .. } => match outcome {
            OutgoingOutcome::Response { response, .. } => format!("response {}", response.status().unwrap()),
            OutgoingOutcome::Timeout => "no response".into(),
            OutgoingOutcome::Transport => "unreachable".into(),
            OutgoingOutcome::Resolve => "no address".into(),
        },
    }
}

pub(crate) fn target(to: &str) -> Target {
    let address = addr(to);
    Target {
        host: address.ip().to_string(),
        port: Some(address.port()),
        transport: Some(Transport::Udp),
        ..Target::default()
    }
}

pub(crate) fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

pub(crate) fn invite(to: &str) -> Invite {
    Invite {
        request_uri: uri(&format!("sip:bob@{to}")),
        to: NameAddr::new(uri(&format!("sip:bob@{to}"))),
        from: NameAddr::new(uri("sip:alice@example.com")),
        target: target(to),
        route: Vec::new(),
        headers: vec![("X-Campaign".into(), "7".into())],
        body: Some(Body::sdp(&b"v=0 offer"[..])),
        reliable: Reliable::Supported,
        replaces: None,
        session_interval: None,
        expires: None,
        credentials: Some(Credentials::new("alice", "secret")),
    }
}

/// Has an endpoint ring and answer every call at once.
pub(crate) fn answer_calls(net: &mut Net, at: &str) {
    net.react(at, |phone, now, event| {
        if let Event::Session { id, event: SessionEvent::Incoming { .. } } = event {
            phone.endpoint.ring(now, *id, 180, None).unwrap();
            phone.endpoint.answer(now, *id, Some(Body::sdp(&b"v=0 answer"[..]))).unwrap();
        }
    });
}

/// Has an endpoint ring, and no more.
pub(crate) fn ring_only(net: &mut Net, at: &str) {
    net.react(at, |phone, now, event| {
        if let Event::Session { id, event: SessionEvent::Incoming { .. } } = event {
            phone.endpoint.ring(now, *id, 180, None).unwrap();
        }
    });
}

/// A response of a scripted peer to a request it got; `more` are header lines ending in LF.
pub(crate) fn response_to(request: &Message, status: u16, to_tag: &str, more: &str) -> String {
    let mut text = format!("SIP/2.0 {status} Whatever\n");
    for name in [Name::Via, Name::From] {
        for value in request.headers(name) {
            text += &format!("{name}: {value}\n");
        }
    }
    let to = request.header(Name::To).unwrap();
    let tag =
        if to.contains(";tag=") || to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    text += &format!("To: {to}{tag}\n");
    for name in [Name::CallId, Name::CSeq] {
        text += &format!("{name}: {}\n", request.header(name).unwrap());
    }
    text + more + "Content-Length: 0\n\n"
}

/// A response as [`response_to`] makes it, with a session description.
pub(crate) fn response_with(request: &Message, status: u16, to_tag: &str, more: &str, sdp: &str) -> String {
    let text = response_to(request, status, to_tag, more);
    let head = text.strip_suffix("Content-Length: 0\n\n").unwrap();
    format!("{head}Content-Type: application/sdp\nContent-Length: {}\n\n{sdp}", sdp.len())
}

/// A request of a scripted callee at `r` with this tag, in the dialog of an INVITE it got.
pub(crate) fn of_callee(
    invite: &Message,
    tag: &str,
    method: &str,
    cseq: u32,
    more: &str,
    sdp: &str,
) -> String {
    let (from, to) = (invite.header(Name::To).unwrap(), invite.header(Name::From).unwrap());
    in_dialog(&format!("{from};tag={tag}"), to, A, invite, method, cseq, more, sdp)
}

/// A request of a scripted caller at `r`, in the dialog that this response to its INVITE made.
pub(crate) fn of_caller(response: &Message, method: &str, cseq: u32, more: &str, sdp: &str) -> String {
    let (from, to) = (response.header(Name::From).unwrap(), response.header(Name::To).unwrap());
    in_dialog(from, to, B, response, method, cseq, more, sdp)
}

#[expect(clippy::too_many_arguments, reason = "a request has as many parts")]
fn in_dialog(
    from: &str,
    to: &str,
    at: &str,
    of: &Message,
    method: &str,
    cseq: u32,
    more: &str,
    sdp: &str,
) -> String {
    let call_id = of.header(Name::CallId).unwrap();
    let content_type = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\n" };
    // An ACK of a refusal is of its INVITE's transaction; that of a 2xx is not, and nothing minds.
    let of_branch = if matches!(method, "ACK" | "CANCEL") { "INVITE" } else { method };
    format!(
        "{method} sip:x@{at} SIP/2.0\nVia: SIP/2.0/UDP {R};branch=z9hG4bK-{of_branch}-{cseq}\nMax-Forwards: 70\n\
         From: {from}\nTo: {to}\nCall-ID: {call_id}\nCSeq: {cseq} {method}\nContact: <sip:r@{R}>\n{more}{content_type}\
         Content-Length: {}\n\n{sdp}",
        sdp.len(),
    )
}

/// An INVITE of a scripted caller at `r` to `b`.
pub(crate) fn invite_of_caller(more: &str, sdp: &str) -> String {
    let content_type = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\n" };
    format!(
        "INVITE sip:bob@{B} SIP/2.0\nVia: SIP/2.0/UDP {R};branch=z9hG4bK-INVITE-1\nMax-Forwards: 70\n\
         From: <sip:r@y>;tag=f\nTo: <sip:bob@{B}>\nCall-ID: 1@r\nCSeq: 1 INVITE\nContact: <sip:r@{R}>\n{more}\
         {content_type}Content-Length: {}\n\n{sdp}",
        sdp.len()
    )
}

/// A session description, as far as the endpoint is concerned.
pub(crate) fn sdp(text: &str) -> Body {
    Body::sdp(text.to_owned())
}
