//! The exchange: registrar, lines and the SIP endpoint as one value without clock, socket or task.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use media_core::sdp::LocalMedia;
use media_core::{Codec, Direction, Ptime};
use netem::Link;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use sip_core::{
    Body, Endpoint, EndpointConfig, Event, FailureCause, Hangup, Hop, Input, Listener, Message,
    MessageBuilder, Method, Reason, ReasonProtocol, Reply, RequestId, SessionEvent, SessionId, Side,
    Transmit,
};

use crate::config::CarrierConfig;
use crate::customer::{Behaviour, Move, Refusal};
use crate::line::{Line, called};
use crate::quirks::{self, Quirk};
use crate::reception::Recorded;
use crate::registrar::{Admission, Registrar, Registration, Response};
use crate::report::{CallReport, Histogram, Outcome, Totals};
use crate::voice::MAX_PACKET;

/// How late a packet may be and those after it still follow at once: more than any scheduler takes in its stride.
const LATE: Duration = Duration::from_millis(500);

/// Something the exchange wants done or tells.
#[derive(Debug)]
pub(crate) enum Output {
    /// For the transports.
    Sip(sip_core::Output),
    /// A call is over.
    Ended(CallReport, Option<Recorded>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The customer does something.
    Customer,
    /// The next RTP packet.
    Voice,
}

/// What datagrams pass on their way to the callers.
#[derive(Debug)]
struct Way {
    sip: Link<Transmit>,
    rtp: Link<(SocketAddr, Vec<u8>)>,
}

impl Way {
    fn poll_timeout(&self) -> Option<Instant> {
        self.sip.poll_timeout().into_iter().chain(self.rtp.poll_timeout()).min()
    }
}

#[derive(Debug)]
pub(crate) struct Exchange {
    config: CarrierConfig,
    endpoint: Endpoint,
    registrar: Registrar,
    lines: BTreeMap<SessionId, Line>,
    /// Whose RTP comes from this address. Only looked up, never iterated.
    by_remote: HashMap<SocketAddr, SessionId>,
    /// Lines whose carriers have quirks, by Call-ID.
    quirky: BTreeMap<String, SessionId>,
    /// The way to the callers; `None` where it is perfect.
    way: Option<Way>,
    timers: BTreeSet<(Instant, SessionId, Timer)>,
    outputs: VecDeque<Output>,
    media_addr: SocketAddr,
    rng: ChaCha20Rng,
    gaps: Histogram,
    totals: Totals,
}

impl Exchange {
    pub(crate) fn new(
        now: Instant,
        config: CarrierConfig,
        listeners: Vec<Listener>,
        media_addr: SocketAddr,
        seed: [u8; 32],
    ) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let mut fresh = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let (nonces, sip) = (fresh(), fresh());
        let way = config.network.impairments().map(|impairments| Way {
            sip: Link::new(rng.next_u64(), impairments),
            rtp: Link::new(rng.next_u64(), impairments),
        });
        let mut endpoint = EndpointConfig::new(listeners);
        endpoint.user_agent = concat!("carillon-carrier/", env!("CARGO_PKG_VERSION")).to_owned();
        endpoint.max_sessions = config.max_calls;
        Self {
            registrar: Registrar::new(now, &config, nonces),
            endpoint: Endpoint::new(endpoint, sip),
            config,
            lines: BTreeMap::new(),
            by_remote: HashMap::new(),
            quirky: BTreeMap::new(),
            way,
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            media_addr,
            rng,
            gaps: Histogram::new(),
            totals: Totals::default(),
        }
    }

    pub(crate) fn handle_sip(&mut self, now: Instant, input: Input) {
        if let Some(input) = self.taken(now, input) {
            self.endpoint.handle_input(now, input);
        }
        self.drain(now);
    }

    /// What the endpoint gets to see of an input: the carrier of the number called may have its own way with it.
    fn taken(&mut self, now: Instant, input: Input) -> Option<Input> {
        let Input::Message { hop, message } = input else { return Some(input) };
        let (invites, cancels) =
            (message.method() == Some(&Method::Invite), message.method() == Some(&Method::Cancel));
        let subscriber = if invites || cancels { self.config.subscriber(&called(&message)) } else { None };
        let Some(subscriber) = subscriber else { return Some(Input::Message { hop, message }) };
        if invites && subscriber.does == Behaviour::NoResponse {
            self.totals.ignored += 1;
            return None;
        }
        if cancels && subscriber.quirks.contains(&Quirk::AnswersCancel) {
            let line = message.call_id().ok().and_then(|call_id| self.quirky.get(&*call_id));
            if let Some(id) = line.copied() {
                self.answer_cancel(now, id, hop, &message);
                return None;
            }
        }
        Some(Input::Message { hop, message: quirks::taken(&subscriber.quirks, message) })
    }

    /// The CANCEL is taken, and the call answered all the same.
    fn answer_cancel(&mut self, now: Instant, id: SessionId, hop: Hop, cancel: &Message) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let tag = line.tag();
        let reply = Reply { to_tag: tag.as_deref(), source: Some(hop.remote), ..Reply::new(200) };
        let payload = MessageBuilder::reply(&mut BytesMut::new(), cancel, reply).finish();
        line.customer.pick_up();
        let Hop { transport, local, remote } = hop;
        self.post(
            now,
            Transmit { transport, local, remote, payload, reply_on: Some(hop), server_name: None },
        );
        self.follow(now, id);
    }

    pub(crate) fn handle_rtp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.totals.rtp_received += 1;
        let id = self.by_remote.get(&from);
        let Some((id, line)) = id.and_then(|id| Some((*id, self.lines.get_mut(id)?))) else {
            self.totals.rtp_strangers += 1;
            return;
        };
        if let Some(deviation) = line.receive(now, datagram) {
            self.gaps.count(deviation);
        }
        self.follow(now, id);
        self.drain(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        // Voices wait for `poll_rtp`.
        let due: Vec<_> = self
            .timers
            .iter()
            .take_while(|(at, ..)| *at <= now)
            .filter(|(.., t)| *t == Timer::Customer)
            .copied()
            .collect();
        for timer in due {
            self.timers.remove(&timer);
            let (_, id, _) = timer;
            if let Some(line) = self.lines.get_mut(&id) {
                line.timeout(now);
                self.follow(now, id);
            }
        }
        self.drain(now);
    }

    /// When [`Exchange::handle_timeout`] and [`Exchange::poll_rtp`] are due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let sip = self.endpoint.poll_timeout().map(|(at, _)| at);
        let own = self.timers.first().map(|(at, ..)| *at);
        let way = self.way.as_ref().and_then(Way::poll_timeout);
        sip.into_iter().chain(own).chain(way).min()
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next RTP packet due: where to, and its length in `out`.
    pub(crate) fn poll_rtp(
        &mut self,
        now: Instant,
        out: &mut [u8; MAX_PACKET],
    ) -> Option<(SocketAddr, usize)> {
        loop {
            if let Some((remote, packet)) = self.way.as_mut().and_then(|way| way.rtp.recv(now)) {
                out[..packet.len()].copy_from_slice(&packet);
                return Some((remote, packet.len()));
            }
            let timer =
                self.timers.iter().take_while(|(at, ..)| *at <= now).find(|(.., t)| *t == Timer::Voice);
            let (at, id, _) = *timer?;
            self.timers.remove(&(at, id, Timer::Voice));
            let Some(line) = self.lines.get_mut(&id) else { continue };
            let Some((remote, ptime)) = line.negotiated().map(|n| (n.remote, n.ptime.duration())) else {
                continue;
            };
            let len = line.speak(now, out);
            // Never `now + ptime`: lateness must not add up. But who was kept from the processor for long is silent for
            // that time, and does not pour it all out later.
            let next = if now.duration_since(at) < LATE { at + ptime } else { now + ptime };
            self.timers.insert((next, id, Timer::Voice));
            self.follow(now, id);
            self.drain(now);
            if len > 0 {
                self.totals.rtp_sent += 1;
                match &mut self.way {
                    Some(way) => way.rtp.send(now, (remote, out[..len].to_vec())),
                    None => return Some((remote, len)),
                }
            }
        }
    }

    pub(crate) fn registrations(&self, now: Instant) -> Vec<Registration> {
        self.registrar.registrations(now)
    }

    pub(crate) fn registered(&self, now: Instant) -> usize {
        self.registrar.registered(now)
    }

    pub(crate) fn live(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals { live: self.live(), gap_deviation: self.gaps.spread(), ..self.totals.clone() }
    }

    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                sip_core::Output::Event(Event::Session { id, event }) => self.session(now, id, event),
                sip_core::Output::Event(Event::Request { id, hop, request }) => {
                    self.request(now, id, hop, &request)
                }
                // We register nowhere, and ask nobody anything.
                sip_core::Output::Event(
                    Event::Registration { .. } | Event::Response { .. } | Event::Located { .. },
                ) => {}
                sip_core::Output::Transmit(transmit) => self.send(now, transmit),
                output @ sip_core::Output::Resolve { .. } => self.outputs.push_back(Output::Sip(output)),
            }
        }
        while let Some(transmit) = self.way.as_mut().and_then(|way| way.sip.recv(now)) {
            self.outputs.push_back(Output::Sip(sip_core::Output::Transmit(transmit)));
        }
    }

    /// Sends what the endpoint wants sent, as the carrier of the number would.
    fn send(&mut self, now: Instant, transmit: Transmit) {
        let Some(line) = self.quirky_line(&transmit) else { return self.post(now, transmit) };
        for transmit in line.send(transmit) {
            self.post(now, transmit);
        }
    }

    fn quirky_line(&mut self, transmit: &Transmit) -> Option<&mut Line> {
        // Nothing is read twice where all keep to the rules.
        if self.quirky.is_empty() {
            return None;
        }
        let message = Message::parse(transmit.payload.clone()).ok()?;
        let id = self.quirky.get(&*message.call_id().ok()?)?;
        self.lines.get_mut(id)
    }

    /// Puts a message on its way. Only datagrams get lost or overtake each other.
    fn post(&mut self, now: Instant, transmit: Transmit) {
        match &mut self.way {
            Some(way) if !transmit.transport.is_reliable() => way.sip.send(now, transmit),
            Some(_) | None => self.outputs.push_back(Output::Sip(sip_core::Output::Transmit(transmit))),
        }
    }

    fn request(&mut self, now: Instant, id: RequestId, hop: Hop, request: &Message) {
        let (status, headers) = match request.method() {
            Some(Method::Register) => self.registrar.register(now, &self.config, hop.remote.ip(), request),
            Some(_) | None => {
                (405, vec![("Allow".to_owned(), "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER".to_owned())])
            }
        };
        self.totals.challenged += u64::from(status == 401);
        done(self.endpoint.respond(now, id, status, &headers, None));
    }

    fn session(&mut self, now: Instant, id: SessionId, event: SessionEvent) {
        match event {
            SessionEvent::Incoming { hop, request, .. } => self.incoming(now, id, hop, &request),
            SessionEvent::Confirmed { .. } => {
                if let Some(line) = self.lines.get_mut(&id) {
                    line.confirm(now);
                    self.follow(now, id);
                }
            }
            SessionEvent::Failed(failure) => self.end(
                now,
                id,
                match failure.cause {
                    FailureCause::Response(status) => Outcome::Refused(status),
                    FailureCause::Cancelled => Outcome::Cancelled,
                    FailureCause::Timeout | FailureCause::Transport | FailureCause::Resolve => Outcome::Lost,
                },
            ),
            SessionEvent::Ended { by, cause, .. } => self.end(
                now,
                id,
                match (cause, by) {
                    (sip_core::EndCause::Bye, Side::Remote) => Outcome::CallerHungUp,
                    (sip_core::EndCause::Bye, Side::Local) => Outcome::CustomerHungUp,
                    (
                        sip_core::EndCause::Timeout
                        | sip_core::EndCause::Transport
                        | sip_core::EndCause::AckTimeout
                        | sip_core::EndCause::OfferTimeout
                        | sip_core::EndCause::Forgotten
                        | sip_core::EndCause::SessionExpired
                        | sip_core::EndCause::Replaced,
                        Side::Local | Side::Remote,
                    ) => Outcome::Lost,
                },
            ),
            // Of calls that we would place.
            SessionEvent::Provisional { .. } | SessionEvent::Answered { .. } => {}
            SessionEvent::Offered { .. } => {
                // An error means that the offer is void already.
                done(self.endpoint.refuse_offer(now, id, 488));
            }
            SessionEvent::Referred(referred) => {
                done(self.endpoint.refuse_refer(now, id, referred.refer, 603));
            }
            SessionEvent::OfferAnswered { .. } => {
                if let Some(line) = self.lines.get_mut(&id) {
                    line.agree(now);
                    self.follow(now, id);
                }
            }
            SessionEvent::OfferWithdrawn
            | SessionEvent::OfferRefused { .. }
            | SessionEvent::ReferProgress { .. }
            | SessionEvent::Info { .. }
            | SessionEvent::InfoAnswered { .. } => {}
        }
    }

    fn incoming(&mut self, now: Instant, id: SessionId, hop: Hop, invite: &Message) {
        if self.config.challenge_calls
            && let Admission::Denied((status, headers)) =
                self.registrar.admit(now, &self.config, hop.remote.ip(), invite, 407)
        {
            self.totals.challenged += u64::from(status == 407);
            return done(self.endpoint.reject(now, id, status, &headers));
        }
        let Some(subscriber) = self.config.subscriber(&called(invite)) else {
            return done(self.endpoint.reject(now, id, 404, &[]));
        };
        let line = Line::new(now, subscriber, invite);
        if !subscriber.quirks.is_empty() {
            self.quirky.insert(line.call_id().to_owned(), id);
        }
        self.lines.insert(id, line);
        self.follow(now, id);
    }

    /// Does what the customer wants, and sets his timer.
    fn follow(&mut self, now: Instant, id: SessionId) {
        while let Some(line) = self.lines.get_mut(&id) {
            let Some(wanted) = line.customer.poll_move() else { break };
            match wanted {
                Move::Ring => {
                    let status = if line.has(Quirk::ProgressWithoutSdp) { 183 } else { 180 };
                    done(self.endpoint.ring(now, id, status, None));
                }
                Move::EarlyMedia => {
                    if let Some(body) = self.open(now, id, None) {
                        done(self.endpoint.ring(now, id, 183, Some(body)));
                    }
                }
                Move::Answer => {
                    let before = if line.has(Quirk::ChangedCodec) { line.close() } else { None };
                    if let Some(body) = self.open(now, id, before) {
                        done(self.endpoint.answer(now, id, Some(body)));
                    }
                }
                Move::Refuse(refusal) => {
                    let bye = if line.has(Quirk::EarlyBye) { line.early_bye() } else { None };
                    match bye {
                        Some(bye) => self.post(now, bye),
                        None => {
                            let (status, headers) = response(refusal);
                            done(self.endpoint.reject(now, id, status, &headers));
                        }
                    }
                }
                Move::Reinvite => {
                    if let Some(answer) = line.answer() {
                        done(self.endpoint.offer(now, id, Some(Body::sdp(answer))));
                    }
                }
                Move::Press(keys) => line.press(now, keys),
                Move::HangUp => {
                    // Q.850 16, normal call clearing.
                    let reason = Reason { protocol: ReasonProtocol::Q850, cause: 16, text: None };
                    done(self.endpoint.hangup(now, id, Hangup { reason: Some(reason), ..Hangup::default() }));
                }
            }
        }
        if let Some(at) = self.lines.get(&id).and_then(|line| line.customer.poll_timeout()) {
            self.timers.insert((at, id, Timer::Customer));
        }
    }

    /// The SDP answer of a line whose media are open now, in another codec than it had `before`; the call is refused with
    /// 488 when they cannot be.
    fn open(&mut self, now: Instant, id: SessionId, before: Option<Codec>) -> Option<Body> {
        let codecs = self.config.codecs.iter().map(|name| name.0).filter(|&codec| Some(codec) != before);
        let local = LocalMedia {
            addr: self.media_addr,
            codecs: codecs.collect(),
            ptime: Ptime::DEFAULT,
            telephone_event: true,
            rtcp_mux: false,
            srtp: None,
            direction: Direction::SendRecv,
            session_id: self.rng.next_u64() >> 1,
            session_version: 1,
        };
        let random = self.rng.next_u64();
        let line = self.lines.get_mut(&id)?;
        let fresh = line.negotiated().is_none();
        match line.open(now, &local, self.config.talk, self.config.record.is_some(), random) {
            Ok(answer) => {
                if let Some(negotiated) = line.negotiated().filter(|_| fresh) {
                    self.by_remote.insert(negotiated.remote, id);
                    if before.is_some() {
                        self.timers.retain(|(_, of, timer)| (*of, *timer) != (id, Timer::Voice));
                    }
                    self.timers.insert((now, id, Timer::Voice));
                }
                Some(Body::sdp(answer))
            }
            Err(error) => {
                tracing::info!(%error, "offer refused");
                done(self.endpoint.reject(now, id, 488, &[]));
                None
            }
        }
    }

    fn end(&mut self, now: Instant, id: SessionId, outcome: Outcome) {
        let Some(line) = self.lines.remove(&id) else { return };
        if let Some(negotiated) = line.negotiated()
            && self.by_remote.get(&negotiated.remote) == Some(&id)
        {
            self.by_remote.remove(&negotiated.remote);
        }
        self.quirky.remove(line.call_id());
        // Its timers find no line and go.
        self.totals.ended += 1;
        let (mut report, recorded) = line.end(now, outcome);
        self.totals.rtp_lost += report.heard.as_ref().map_or(0, |heard| heard.lost);
        if let (Some(folder), Some(_)) = (&self.config.record, &recorded) {
            let number: String = report.called.chars().filter(char::is_ascii_alphanumeric).collect();
            report.recording = Some(folder.join(format!("{number}-{}.wav", self.totals.ended)));
        }
        self.outputs.push_back(Output::Ended(report, recorded));
    }
}

/// A command that came too late: the call ended by itself, and its event is on the way.
fn done(result: Result<(), sip_core::Error>) {
    if let Err(error) = result {
        tracing::debug!(%error, "too late");
    }
}

fn response(refusal: Refusal) -> Response {
    let mut headers = Vec::new();
    if let Some(cause) = refusal.q850 {
        headers.push(("Reason".to_owned(), format!("Q.850;cause={cause}")));
    }
    if let Some(seconds) = refusal.retry_after_s {
        headers.push(("Retry-After".to_owned(), seconds.to_string()));
    }
    (refusal.status, headers)
}

#[cfg(test)]
mod tests;
