//! The other side: a carrier on a second SIP endpoint, whose customers act by a script.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::sdp::LocalSrtp;
use media_core::{Codec, Direction, LocalMedia, Ptime, sdp};
use sip_core::digest::Credentials;
use sip_core::{
    Body, ByteString, Endpoint, EndpointConfig, Event, Hangup, Invite, Listener, Message, Output, Refer,
    ReferId, ReferProgress, ReferTo, Reliable, Replaces, SessionEvent, SessionId, Transmit, Transport, Uri,
};

/// What a customer does, at a time after the INVITE reached him.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Act {
    Ring,
    /// 183 with a session description.
    EarlyMedia,
    /// 183 without one.
    Progress,
    Answer(Answer),
    Reject(u16),
    /// Rejects with 302 and these contacts.
    Redirect(&'static str),
    /// Rejects with a Retry-After.
    RejectFor(u16, u16),
    /// Rejects with a Q.850 cause.
    RejectBecause(u16, u8),
    Press(char),
    /// Says pieces of (milliseconds, Hz): 0 Hz is silence, below it is something like speech.
    Say(&'static [(u32, f32)]),
    /// Sends an INFO of this type.
    Info(&'static str, &'static str),
    /// Tells what has come of a transfer.
    Notify(ReferId, u16),
    /// Wants the engine's side to call this URI.
    Refer(&'static str),
    /// Offers anew in mid-call.
    Offer(Change),
    Hangup,
}

/// What the engine's wish for a transfer is answered with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Transfers {
    Refused(u16),
    /// Accepted, and what comes of it by NOTIFY, as long as it takes.
    Taken(&'static [(u64, u16)]),
    /// Not answered at all.
    Ignored,
}

/// What an offer in mid-call changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    /// The direction, from the customer's side.
    Direction(Direction),
    /// The address, as RFC 2543 held.
    Zero,
    /// The codec.
    Codec(Codec),
    /// Nothing that can be understood.
    Garbage,
    /// Nothing: it asks for an offer.
    Ask,
    /// The same with another key for SRTP, of these octets.
    Rekey(u8),
}

/// The session description of a 200.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Answer {
    /// As it should be; the same as that of the early media, if any.
    Good,
    /// Without telephone-event: his keys come by INFO.
    Keyless,
    /// Another port than that of the early media.
    Moved,
    /// Without SRTP, whatever was offered.
    Plain,
    Missing,
    Garbage,
}

pub(crate) type Script = &'static [(u64, Act)];

/// What the test world has to do for a customer.
#[derive(Debug)]
pub(crate) enum Errand {
    Transmit(Transmit),
    /// Send a digit to this media address of the engine, from the customer's.
    Press {
        to: SocketAddr,
        from: SocketAddr,
        pt: u8,
        digit: char,
    },
    /// Send sound to this media address of the engine, from the customer's.
    Say {
        to: SocketAddr,
        from: SocketAddr,
        pieces: &'static [(u32, f32)],
    },
}

#[derive(Debug)]
struct Customer {
    media: SocketAddr,
    /// The engine's side of the media, once known: address, and payload type of telephone-event.
    engine: Option<(SocketAddr, u8)>,
    offer: Bytes,
    version: u64,
    /// Who may send, as far as he is concerned.
    direction: Direction,
    /// It has asked for an offer.
    asks: bool,
    srtp: Option<LocalSrtp>,
}

#[derive(Debug)]
pub(crate) struct Carrier {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    customers: BTreeMap<String, Script>,
    live: BTreeMap<SessionId, Customer>,
    agenda: BTreeMap<(Instant, u64), (SessionId, Act)>,
    steps: u64,
    calls: u16,
    /// What REGISTER is answered with.
    pub(crate) registrar: u16,
    /// How the engine's answers to calls from here came out: the status, or 200.
    pub(crate) outcomes: BTreeMap<SessionId, u16>,
    /// Calls that the engine has ended with a BYE, and those that the customer has.
    pub(crate) byes: u32,
    /// The reasons that those name.
    pub(crate) bye_reasons: Vec<String>,
    /// Most calls at a time.
    pub(crate) most_live: usize,
    /// When INVITEs came.
    pub(crate) invites: Vec<Instant>,
    /// And the INVITEs themselves.
    pub(crate) requests: Vec<Message>,
    /// The answers to its calls.
    pub(crate) answers: Vec<Message>,
    /// REGISTERs that came, refreshes and all.
    pub(crate) registers: u32,
    /// Contacts that are registered now.
    contacts: BTreeSet<String>,
    /// Calls of ours without an offer that are not answered.
    unoffered: BTreeSet<SessionId>,
    /// Calls that the engine has given up with a CANCEL.
    pub(crate) cancels: u32,
    /// What offers of the engine's in mid-call are refused with.
    pub(crate) refuses_offers: Option<u16>,
    /// Whether an offer in the engine's 200 is left without an answer.
    pub(crate) owes_answers: bool,
    /// How offers came out: the status, or 200 with the direction that the answer or the offer of the engine's says.
    pub(crate) offers: Vec<String>,
    /// What is done about transfers, and whom customers were asked to call.
    pub(crate) transfers: Transfers,
    pub(crate) referred: Vec<ReferTo>,
    /// What came of the transfers that its customers wanted.
    pub(crate) progress: Vec<ReferProgress>,
    /// How its INFOs were answered.
    pub(crate) infos: Vec<u16>,
    /// What the engine's INFOs said, and when.
    pub(crate) told: Vec<(Instant, String)>,
    /// Its customers' side of SRTP.
    pub(crate) srtp: Option<LocalSrtp>,
    /// The status by which customers refuse an offer of anything but SRTP alone.
    pub(crate) insists: Option<u16>,
    /// The Identity headers of its INVITEs.
    pub(crate) identities: Vec<String>,
    /// Whom calls from here are from.
    pub(crate) caller: String,
    /// Headers of calls from here.
    pub(crate) headers: Vec<(String, String)>,
    /// The dialog that the next call from here is to take the place of.
    pub(crate) replaces: Option<Replaces>,
    /// The tags of its customers who ring.
    pub(crate) ringing: Vec<ByteString>,
    /// As whom calls from here are made, and what proves it; a customer by default.
    pub(crate) account: Option<(String, Credentials)>,
}

impl Carrier {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let listener = Listener { transport: Transport::Udp, bound: address, advertised: address };
        // Tags and Call-IDs of its own.
        let mut seed = [9; 32];
        if let std::net::IpAddr::V4(ip) = address.ip() {
            seed[..4].copy_from_slice(&ip.octets());
        }
        Self {
            // Most carriers send provisional responses once, so that a 200 may differ from an early answer.
            endpoint: Endpoint::new(
                EndpointConfig {
                    reliable: Reliable::Off,
                    info_types: vec!["application/dtmf-relay".to_owned()],
                    ..EndpointConfig::new(vec![listener])
                },
                seed,
            ),
            address,
            customers: BTreeMap::new(),
            live: BTreeMap::new(),
            agenda: BTreeMap::new(),
            steps: 0,
            calls: 0,
            registrar: 200,
            outcomes: BTreeMap::new(),
            byes: 0,
            bye_reasons: Vec::new(),
            most_live: 0,
            invites: Vec::new(),
            requests: Vec::new(),
            answers: Vec::new(),
            registers: 0,
            contacts: BTreeSet::new(),
            unoffered: BTreeSet::new(),
            cancels: 0,
            refuses_offers: None,
            owes_answers: false,
            offers: Vec::new(),
            transfers: Transfers::Refused(603),
            referred: Vec::new(),
            progress: Vec::new(),
            infos: Vec::new(),
            told: Vec::new(),
            srtp: None,
            insists: None,
            identities: Vec::new(),
            caller: "+62811".to_owned(),
            headers: Vec::new(),
            replaces: None,
            ringing: Vec::new(),
            account: None,
        }
    }

    pub(crate) fn customer(&mut self, number: &str, script: Script) {
        self.customers.insert(number.to_owned(), script);
    }

    pub(crate) fn bindings(&self) -> usize {
        self.contacts.len()
    }

    /// The last of the calls that stand.
    pub(crate) fn session(&self) -> SessionId {
        *self.live.last_key_value().expect("a call stands").0
    }

    /// How somebody takes the place of this customer in his call.
    pub(crate) fn place_of(&self, session: SessionId) -> Option<Replaces> {
        self.endpoint.refer_to(session)?.replaces
    }

    pub(crate) fn live(&self) -> usize {
        self.live.len()
    }

    /// A customer calls the engine. His script begins with his own INVITE.
    pub(crate) fn call(
        &mut self,
        now: Instant,
        engine: SocketAddr,
        number: &str,
        body: Option<Vec<u8>>,
        script: Script,
    ) -> SessionId {
        let uri: sip_core::Uri = format!("sip:{number}@{engine}").parse().unwrap();
        let media = self.next_media();
        let body_is_empty = body.as_ref().is_some_and(Vec::is_empty);
        let account = self.account.clone();
        let customer = || format!("sip:{}@{}", self.caller, self.address);
        let from = account.as_ref().map_or_else(customer, |account| account.0.clone());
        let session = self
            .endpoint
            .invite(
                now,
                Invite {
                    request_uri: uri.clone(),
                    to: sip_core::NameAddr::new(uri),
                    from: sip_core::NameAddr::new(from.parse().unwrap()),
                    target: sip_core::Target {
                        host: engine.ip().to_string(),
                        port: Some(engine.port()),
                        transport: Some(Transport::Udp),
                        ..sip_core::Target::default()
                    },
                    route: Vec::new(),
                    headers: self.headers.clone(),
                    body: Some(Body::sdp(
                        body.unwrap_or_else(|| sdp::offer(&with(self.srtp.clone(), media))),
                    ))
                    .filter(|b| !b.bytes.is_empty()),
                    reliable: Reliable::Supported,
                    replaces: self.replaces.take(),
                    session_interval: None,
                    expires: None,
                    credentials: account.map(|account| account.1),
                },
            )
            .unwrap();
        if body_is_empty {
            self.unoffered.insert(session);
        }
        let customer = Customer {
            media,
            engine: None,
            offer: Bytes::new(),
            version: 1,
            direction: Direction::SendRecv,
            asks: false,
            srtp: self.srtp.clone(),
        };
        self.live.insert(session, customer);
        self.schedule(now, session, script);
        session
    }

    fn next_media(&mut self) -> SocketAddr {
        self.calls += 1;
        SocketAddr::new(self.address.ip(), 20_000 + 2 * (self.calls % 20_000))
    }

    fn schedule(&mut self, now: Instant, session: SessionId, script: Script) {
        for &(ms, act) in script {
            self.plan(now, session, ms, act);
        }
    }

    fn plan(&mut self, now: Instant, session: SessionId, ms: u64, act: Act) {
        self.steps += 1;
        self.agenda.insert((now + Duration::from_millis(ms), self.steps), (session, act));
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let agenda = self.agenda.first_key_value().map(|(&(at, _), _)| at);
        let sip = self.endpoint.poll_timeout().map(|(at, _)| at);
        agenda.into_iter().chain(sip).min()
    }

    /// Does what is due, and everything that follows.
    pub(crate) fn run(&mut self, now: Instant) -> Vec<Errand> {
        let mut errands = Vec::new();
        while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= now) {
            let (session, act) = entry.remove();
            errands.extend(self.act(now, session, act));
        }
        self.endpoint.handle_timeout(now);
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    if transmit.payload.starts_with(b"SIP/2.0 180") {
                        let ringing = Message::parse(transmit.payload.clone()).unwrap();
                        self.ringing.extend(ringing.to_tag());
                    }
                    errands.push(Errand::Transmit(transmit));
                }
                Output::Resolve { question, .. } => {
                    panic!("the carrier uses addresses only, not {question:?}")
                }
                Output::Event(Event::Session { id, event }) => self.on_session(now, id, event),
                Output::Event(
                    Event::Registration { .. } | Event::Response { .. } | Event::Located { .. },
                ) => {}
                Output::Event(Event::Request { id, request, .. }) => {
                    let contact = request.header(sip_core::Name::Contact).unwrap_or_default().to_owned();
                    self.registers += 1;
                    let expires = request.header(sip_core::Name::Expires);
                    match expires == Some("0") || contact.contains("expires=0") {
                        true => self.contacts.clear(),
                        false if self.registrar == 200 => drop(self.contacts.insert(contact.clone())),
                        false => {}
                    }
                    let headers = [("Contact".to_owned(), contact), ("Expires".to_owned(), "60".to_owned())];
                    let headers = if self.registrar == 200 { &headers[..] } else { &[] };
                    let _ = self.endpoint.respond(now, id, self.registrar, headers, None);
                }
            }
        }
        errands
    }

    fn on_session(&mut self, now: Instant, id: SessionId, event: SessionEvent) {
        match event {
            SessionEvent::Incoming { request, .. } => {
                let number = request.request_uri().unwrap().user().unwrap_or_default().to_owned();
                let Some(&script) = self.customers.get(&number) else {
                    let _ = self.endpoint.reject(now, id, 404, &[]);
                    return;
                };
                let media = self.next_media();
                let offer = request.body().clone();
                self.invites.push(now);
                self.identities.extend(request.header(sip_core::Name::Identity).map(str::to_owned));
                self.requests.push(request.clone());
                let is_secure = String::from_utf8_lossy(request.body()).contains(" RTP/SAVP ");
                if let Some(status) = self.insists.filter(|_| !is_secure) {
                    self.endpoint.reject(now, id, status, &[]).unwrap();
                    return;
                }
                self.live.insert(
                    id,
                    Customer {
                        media,
                        engine: None,
                        offer,
                        version: 1,
                        direction: Direction::SendRecv,
                        asks: false,
                        srtp: self.srtp.clone(),
                    },
                );
                self.most_live = self.most_live.max(self.live.len());
                self.schedule(now, id, script);
            }
            SessionEvent::Answered { body, response, .. } => {
                self.answers.push(response);
                self.outcomes.insert(id, 200);
                if self.unoffered.remove(&id) {
                    // The engine offers; the answer goes into the ACK, if any.
                    let customer = self.live.get_mut(&id).unwrap();
                    customer.offer = body.unwrap();
                    let answer = customer.description(false);
                    let answer = if self.owes_answers { Body::sdp("") } else { answer };
                    self.endpoint.acknowledge(now, id, answer).unwrap();
                } else if let Some(customer) = self.live.get_mut(&id) {
                    let answer = sdp::accept_answer(&customer.side(), &body.unwrap()).unwrap();
                    let event = answer.telephone_event.unwrap();
                    customer.engine = Some((answer.remote, event.pt_send));
                }
            }
            SessionEvent::Provisional { status, .. } => {
                self.outcomes.insert(id, status);
            }
            SessionEvent::Confirmed { body: Some(body) } => {
                // The engine had left the offer to the customer.
                let customer = self.live.get_mut(&id).unwrap();
                let answer = sdp::accept_answer(&customer.side(), &body).unwrap();
                customer.engine = Some((answer.remote, answer.telephone_event.unwrap().pt_send));
            }
            SessionEvent::Confirmed { body: None } | SessionEvent::OfferWithdrawn => {}
            SessionEvent::Offered { body, .. } => {
                let body = body.expect("the engine never asks for an offer");
                self.offers.push(format!("offered {}", direction(&body)));
                let Some(customer) = self.live.get_mut(&id) else { return };
                match self.refuses_offers {
                    Some(status) => self.endpoint.refuse_offer(now, id, status).unwrap(),
                    None => {
                        let (answer, _) = sdp::answer(&body, &customer.local()).unwrap();
                        // The customer may have hung up at the same moment.
                        let _ = self.endpoint.accept_offer(now, id, Body::sdp(answer));
                    }
                }
            }
            SessionEvent::OfferAnswered { body } => {
                let body = body.unwrap();
                self.offers.push(format!("200 {}", direction(&body)));
                if let Some(customer) = self.live.get_mut(&id).filter(|customer| customer.asks) {
                    customer.asks = false;
                    let (answer, _) = sdp::answer(&body, &customer.local()).unwrap();
                    self.endpoint.acknowledge(now, id, Body::sdp(answer)).unwrap();
                }
            }
            SessionEvent::Referred(referred) => {
                let refer = referred.refer;
                self.referred.push(referred.to);
                match self.transfers {
                    Transfers::Refused(status) => {
                        self.endpoint.refuse_refer(now, id, refer, status).unwrap();
                    }
                    Transfers::Taken(progress) => {
                        self.endpoint.accept_refer(now, id, refer).unwrap();
                        for &(ms, status) in progress {
                            self.plan(now, id, ms, Act::Notify(refer, status));
                        }
                    }
                    Transfers::Ignored => {}
                }
            }
            SessionEvent::InfoAnswered { status } => self.infos.push(status),
            SessionEvent::Info { body, .. } => {
                self.told.push((now, String::from_utf8(body.to_vec()).unwrap()));
            }
            SessionEvent::ReferProgress { progress, .. } => self.progress.push(progress),
            SessionEvent::OfferRefused { status } => self.offers.push(status.to_string()),
            SessionEvent::Failed(failure) => {
                self.cancels += u32::from(failure.cause == sip_core::FailureCause::Cancelled);
                if let sip_core::FailureCause::Response(status) = failure.cause {
                    self.outcomes.insert(id, status);
                }
                self.live.remove(&id);
            }
            SessionEvent::Ended { bye, .. } => {
                self.byes += 1;
                let reason =
                    bye.as_ref().and_then(|bye| bye.header(sip_core::Name::Reason).map(str::to_owned));
                self.bye_reasons.extend(reason);
                self.live.remove(&id);
            }
        }
    }

    fn act(&mut self, now: Instant, session: SessionId, act: Act) -> Option<Errand> {
        let customer = self.live.get_mut(&session)?;
        let endpoint = &mut self.endpoint;
        // Acts that come too late for the call fail, as they would for a person.
        match act {
            Act::Ring => {
                let _ = endpoint.ring(now, session, 180, None);
            }
            Act::Progress => {
                let _ = endpoint.ring(now, session, 183, None);
            }
            Act::EarlyMedia => {
                let body = customer.description(false);
                {
                    let _ = endpoint.ring(now, session, 183, Some(body));
                };
            }
            Act::Answer(answer) => {
                let body = match answer {
                    Answer::Good => Some(customer.description(false)),
                    Answer::Keyless => {
                        let local = LocalMedia { telephone_event: false, ..customer.side() };
                        Some(Body::sdp(sdp::answer(&customer.offer, &local).unwrap().0))
                    }
                    Answer::Moved => Some(customer.description(true)),
                    Answer::Plain => {
                        let media = customer.media;
                        let origin = format!("v=0\r\no=- 1 1 IN IP4 {}\r\ns=-\r\n", media.ip());
                        let rest = format!(
                            "c=IN IP4 {}\r\nt=0 0\r\nm=audio {} RTP/AVP 8\r\n",
                            media.ip(),
                            media.port()
                        );
                        Some(Body::sdp(origin + &rest))
                    }
                    Answer::Missing => None,
                    Answer::Garbage => Some(Body::sdp("v=0\r\nnonsense")),
                };
                {
                    let _ = endpoint.answer(now, session, body);
                };
            }
            Act::Reject(status) => {
                let _ = endpoint.reject(now, session, status, &[]);
            }
            Act::Redirect(contacts) => {
                let contact = ("Contact".to_owned(), contacts.to_owned());
                let _ = endpoint.reject(now, session, 302, &[contact]);
            }
            Act::RejectFor(status, seconds) => {
                let after = ("Retry-After".to_owned(), seconds.to_string());
                let _ = endpoint.reject(now, session, status, &[after]);
            }
            Act::RejectBecause(status, cause) => {
                let reason = ("Reason".to_owned(), format!("Q.850;cause={cause};text=\"x\""));
                {
                    let _ = endpoint.reject(now, session, status, &[reason]);
                };
            }
            Act::Press(digit) => {
                let (to, pt) = customer.engine.expect("digits are pressed after the answer");
                return Some(Errand::Press { to, from: customer.media, pt, digit });
            }
            Act::Say(pieces) => {
                let (to, _) = customer.engine.expect("there is media");
                return Some(Errand::Say { to, from: customer.media, pieces });
            }
            Act::Info(content_type, body) => {
                let body = Body { content_type: content_type.into(), bytes: body.into() };
                let _ = endpoint.info(now, session, body);
            }
            Act::Notify(refer, status) => {
                let _ = endpoint.refer_progress(now, session, refer, status, "");
            }
            Act::Refer(uri) => {
                let to = ReferTo::new(uri.parse::<Uri>().unwrap());
                endpoint.refer(now, session, Refer::new(to)).unwrap();
            }
            Act::Offer(change) => {
                let offer = customer.change(change);
                customer.asks = offer.is_none();
                // Refused at once where one of the engine's is under way.
                if endpoint.offer(now, session, offer).is_err() {
                    self.offers.push("not now".to_owned());
                }
            }
            Act::Hangup => {
                let _ = endpoint.hangup(now, session, Hangup::default());
            }
        }
        None
    }
}

/// The direction that a description says.
fn direction(sdp: &[u8]) -> String {
    let text = String::from_utf8_lossy(sdp).into_owned();
    let all = ["sendrecv", "sendonly", "recvonly", "inactive"];
    (*all.iter().find(|name| text.contains(&format!("a={name}\r\n"))).expect("it says one")).to_owned()
}

impl Customer {
    /// His side as an offer or answer of his is written from it.
    fn local(&mut self) -> LocalMedia {
        self.version += 1;
        LocalMedia { direction: self.direction, session_version: self.version, ..self.side() }
    }

    fn side(&self) -> LocalMedia {
        with(self.srtp.clone(), self.media)
    }

    fn change(&mut self, change: Change) -> Option<Body> {
        if let Change::Direction(direction) = change {
            self.direction = direction;
        }
        if let (Change::Rekey(n), Some(LocalSrtp::Sdes(sdes))) = (change, &mut self.srtp) {
            self.srtp = Some(LocalSrtp::new(sdes.policy, |octets| octets.fill(n)));
        }
        let mut local = self.local();
        match change {
            Change::Direction(_) | Change::Rekey(_) => {}
            Change::Zero => local.addr.set_ip([0, 0, 0, 0].into()),
            Change::Codec(codec) => local.codecs = vec![codec],
            Change::Garbage => return Some(Body::sdp("v=0\r\nnonsense")),
            Change::Ask => return None,
        }
        Some(Body::sdp(sdp::offer(&local)))
    }

    fn description(&mut self, moved: bool) -> Body {
        if moved {
            self.media.set_port(self.media.port() ^ 0x4000);
        }
        if self.offer.is_empty() {
            return Body::sdp(sdp::offer(&self.side()));
        }
        let (answer, negotiated) = sdp::answer(&self.offer, &self.side()).unwrap();
        self.engine = Some((negotiated.remote, negotiated.telephone_event.map_or(0, |event| event.pt_send)));
        Body::sdp(answer)
    }
}

/// Browsers multiplex RTCP, others here do not.
fn with(srtp: Option<LocalSrtp>, addr: SocketAddr) -> LocalMedia {
    let rtcp_mux = matches!(srtp, Some(LocalSrtp::Dtls(_)));
    LocalMedia { srtp, rtcp_mux, ..local(addr) }
}

fn local(addr: SocketAddr) -> LocalMedia {
    LocalMedia {
        addr,
        codecs: vec![Codec::Pcmu, Codec::Pcma, Codec::G722],
        ptime: Ptime::DEFAULT,
        telephone_event: true,
        rtcp_mux: false,
        srtp: None,
        direction: Direction::SendRecv,
        session_id: 7,
        session_version: 1,
    }
}
