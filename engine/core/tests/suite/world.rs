//! An engine, its media legs and a carrier in one thread on a virtual clock, and the one way to check a call.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api_types::event::DtmfMethod;
use control_api_types::{
    Call, CallId, CreateCall, EventData, Fault, Limits, Prompt as PromptInfo, Recording, RecordingEnd,
    RecordingStatus, Sound,
};
use engine_core::{
    Audio, Clock, DoorNews, Engine, EngineConfig, GatewayConfig, Input, MediaCommand, MediaInput, Output,
    Refusal, Route, StirConfig, TrunkConfig,
};
use media_core::classify::Classifier;
use media_core::dtmf::{DialBy, Dialler};
use media_core::record::Track;
use media_core::rtp::Header;
use media_core::sdp::Fingerprint;
use media_core::{
    Codec, Digit, Ear, EarConfig, Encoded, Leg, LegId, MediaEvent, MediaTime, Negotiated, Prompt, SeqNo,
    Ssrc, g711,
};
use netem::{Impairments, Link};
use serde_json::{Value, json};
use sip_core::guard::Known;
use sip_core::{Destination, Destinations, EndpointConfig, Listener, Message, Target, Transmit, Transport};
use sip_stir::{Chain, NoChain};

use crate::carrier::{Carrier, Errand, Script};
use crate::speech::{self, Speech};

pub(crate) const ENGINE: &str = "192.0.2.1:5060";
pub(crate) const CARRIER: &str = "192.0.2.2:5060";
/// The carrier's other gateway: an endpoint of its own, whose customers are other ones.
pub(crate) const BACKUP: &str = "192.0.2.3:5060";
/// A name for the carrier.
pub(crate) const NAME: &str = "sip.carrier.example";
/// A name that is never looked up to the end.
pub(crate) const PENDING: &str = "sip.pending.example";
/// Nobody answers there.
pub(crate) const DEAD: &str = "192.0.2.66:5060";
/// One way.
pub(crate) const DELAY: Duration = Duration::from_millis(10);
const TICK: Duration = Duration::from_millis(20);

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) engine: Engine,
    pub(crate) carrier: Carrier,
    pub(crate) backup: Carrier,
    /// Phones of endpoints; customers are found by the user of their contacts.
    pub(crate) phones: Vec<Carrier>,
    /// What was sent to addresses where nobody of this world is.
    pub(crate) strays: Vec<Transmit>,
    /// The CANCELs that the engine has sent.
    pub(crate) cancels: Vec<Message>,
    pub(crate) media: MediaShell,
    pub(crate) stories: BTreeMap<CallId, Story>,
    pub(crate) node_events: Vec<EventData>,
    /// Who hears whom: by bridge, for each leg those that it hears.
    pub(crate) bridges: BTreeMap<media_core::BridgeId, BTreeMap<u64, Vec<u64>>>,
    /// Whether the media shell makes bridges.
    pub(crate) makes_bridges: bool,
    /// The SIP Call-IDs of each call.
    pub(crate) dialogs: BTreeMap<CallId, Vec<String>>,
    /// What the door was told last.
    pub(crate) known: Known,
    /// Accepted ids that the journal was given, while it is held.
    pub(crate) journal: Option<Vec<CallId>>,
    /// What lies where, for calls to be verified. What is not there is awaited.
    pub(crate) certificates: BTreeMap<String, Result<Arc<Chain>, NoChain>>,
    /// Certificates that the engine wanted.
    pub(crate) fetches: Vec<(LegId, String)>,
    /// What routes have asked about.
    pub(crate) questions: Vec<(LegId, String, Call)>,
    /// What steps of flows ask: leg, question, URL, what is posted.
    pub(crate) step_questions: Vec<(LegId, u64, String, Call)>,
    /// What the engine has refused calls with.
    pub(crate) refusals: Vec<String>,
    /// The most live calls seen at any moment.
    pub(crate) most_live: u32,
    /// Addresses that nothing gets to.
    pub(crate) cut: Vec<&'static str>,
    to_engine: Link<Transmit>,
    to_carrier: Link<Transmit>,
}

/// What is known of a call.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) lines: Vec<String>,
    pub(crate) ended: Option<Call>,
}

/// Media legs without sockets.
pub(crate) struct MediaShell {
    ports: BTreeMap<LegId, Port>,
    prompts: BTreeMap<String, u32>,
    /// Whether ports can be opened.
    pub(crate) has_ports: bool,
    /// Whether closed legs tell their statistics.
    pub(crate) tells_end: bool,
    /// What is on record.
    tapes: Vec<OnRecord>,
    /// Pauses of recordings and their ends.
    pub(crate) pauses: Vec<bool>,
    /// The first key of what legs were told to send, and how.
    pub(crate) dials: Vec<(u64, char, DialBy)>,
    pub(crate) speech: Speech,
    /// Programs that were started.
    pub(crate) runs: u32,
    /// Where the plays that were started began.
    pub(crate) offsets: Vec<u32>,
    opened: u16,
    digits: u16,
}

struct OnRecord {
    leg: LegId,
    track: Track,
    recording: Box<Recording>,
    began: Instant,
    longest: Duration,
}

struct Port {
    addr: SocketAddr,
    leg: Option<Leg>,
    negotiated: Option<Negotiated>,
    /// Plays and collects that have not ended.
    outstanding: u32,
    /// Whether the leg has an eye on its peer, and so is ticked all the time.
    watchful: bool,
    next_tick: Instant,
    /// What the far end says, a packet for each tick, and who it is.
    sound: VecDeque<Vec<u8>>,
    speaker: Option<SocketAddr>,
    packets: u16,
}

pub(crate) fn trunk(name: &str, address: &str) -> TrunkConfig {
    let address: SocketAddr = address.parse().unwrap();
    let target = Target {
        host: address.ip().to_string(),
        port: Some(address.port()),
        transport: None,
        ..Target::default()
    };
    TrunkConfig::new(name, target)
}

/// A trunk with several gateways, first to last.
pub(crate) fn trunk_over(name: &str, gateways: &[&str]) -> TrunkConfig {
    let mut config = trunk(name, gateways[0]);
    config.gateways = gateways
        .iter()
        .zip(1..)
        .map(|(address, priority)| GatewayConfig { priority, ..trunk(name, address).gateways.swap_remove(0) })
        .collect();
    config
}

pub(crate) fn limits() -> Limits {
    Limits { max_calls: 1000, max_cps: 1000, max_queued: 1000, queue_timeout_s: 60, drain_timeout_s: 30 }
}

impl Port {
    fn is_ticking(&self) -> bool {
        self.outstanding > 0 || !self.sound.is_empty() || self.watchful
    }
}

impl World {
    /// A world with the trunk `jkt` to the carrier, the trunk `dead` to nobody, and the prompts `hello` (1 s) and
    /// `music` (5 s).
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(configure: impl FnOnce(&mut EngineConfig)) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the origin of the virtual clock; nothing reads it again"
        )]
        let now = Instant::now();
        let address: SocketAddr = ENGINE.parse().unwrap();
        let listener = Listener { transport: Transport::Udp, bound: address, advertised: address };
        let mut config = EngineConfig {
            node: "n1".into(),
            clock: Clock::new(now, 1_800_000_000_000),
            sip: EndpointConfig::new(vec![listener]),
            trunks: vec![trunk("jkt", CARRIER), trunk("dead", DEAD)],
            routes: Vec::new(),
            registrar: Default::default(),
            limits: limits(),
            stir: StirConfig::default(),
            rtp_timeout: Default::default(),
            fingerprint: Some(Fingerprint([0xF1; 32])),
            inbound_max_duration: EngineConfig::INBOUND_MAX_DURATION,
        };
        configure(&mut config);
        let link = Impairments { delay: DELAY, ..Impairments::NONE };
        let mut world = Self {
            now,
            engine: Engine::new(now, config, [1; 32]).unwrap(),
            carrier: Carrier::new(CARRIER.parse().unwrap()),
            phones: Vec::new(),
            strays: Vec::new(),
            cancels: Vec::new(),
            backup: Carrier::new(BACKUP.parse().unwrap()),
            media: MediaShell {
                ports: BTreeMap::new(),
                prompts: BTreeMap::new(),
                has_ports: true,
                tells_end: true,
                tapes: Vec::new(),
                pauses: Vec::new(),
                dials: Vec::new(),
                speech: Speech::default(),
                runs: 0,
                offsets: Vec::new(),
                opened: 0,
                digits: 0,
            },
            stories: BTreeMap::new(),
            node_events: Vec::new(),
            bridges: BTreeMap::new(),
            makes_bridges: true,
            dialogs: BTreeMap::new(),
            known: Known::default(),
            journal: None,
            certificates: BTreeMap::new(),
            fetches: Vec::new(),
            questions: Vec::new(),
            step_questions: Vec::new(),
            refusals: Vec::new(),
            most_live: 0,
            cut: Vec::new(),
            to_engine: Link::new(1, link),
            to_carrier: Link::new(2, link),
        };
        world.put_prompt("hello", 1_000);
        world.put_prompt("music", 5_000);
        world.engine.set_voices(speech::voices());
        world
    }

    pub(crate) fn with_routes(routes: Vec<Route>) -> Self {
        Self::with(|config| config.routes = routes)
    }

    /// Loses this share of the packets in both directions from now on.
    pub(crate) fn lose(&mut self, share: f64) {
        let link = Impairments { delay: DELAY, loss: share, ..Impairments::NONE };
        self.to_engine.set_impairments(link);
        self.to_carrier.set_impairments(link);
    }

    /// Whether what is sent to the engine is lost.
    pub(crate) fn deafen(&mut self, on: bool) {
        let loss = if on { 1.0 } else { 0.0 };
        self.to_engine.set_impairments(Impairments { delay: DELAY, loss, ..Impairments::NONE });
    }

    /// So much audio lies at this URL.
    pub(crate) fn media_has(&mut self, url: &str, ms: u32) {
        self.media.prompts.insert(url.to_owned(), ms);
    }

    pub(crate) fn put_prompt(&mut self, name: &str, ms: u32) {
        self.put_prompt_as(&format!("sha-{name}"), name, ms);
    }

    pub(crate) fn put_prompt_as(&mut self, id: &str, name: &str, ms: u32) {
        let prompt: PromptInfo = serde_json::from_value(json!({
            "id": id, "name": name, "duration_ms": ms, "sha256": "", "size_bytes": 1,
            "sample_rate_hz": 8000, "channels": 1, "created_at": "2026-01-01T00:00:00Z",
        }))
        .unwrap();
        self.media.prompts.insert(prompt.id.clone(), ms);
        self.engine.put_prompt(&prompt);
    }

    pub(crate) fn put_flow(&mut self, name: &str, flow: Value) -> Result<(), Vec<Fault>> {
        self.engine.put_flow(name, Arc::new(control_api_types::flow::Flow::from_json(&flow)?))
    }

    /// Places a call; the body's defaults are a trunk and an id.
    pub(crate) fn originate(&mut self, id: &str, body: Value) -> Result<Call, Refusal> {
        let create = CreateCall::from_json(&body).map_err(Refusal::Validation)?;
        let result = self.engine.originate(self.now, self.id(id), create);
        self.pump();
        result
    }

    /// Calls a customer of the carrier, who acts by `script`.
    pub(crate) fn call(&mut self, id: &str, script: Script, extra: Value) {
        let number = format!("{}", 1000 + self.stories.len());
        self.carrier.customer(&number, script);
        let mut body = json!({"to": number, "trunk": "jkt"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.originate(id, body).unwrap();
    }

    pub(crate) fn id(&self, id: &str) -> CallId {
        CallId::new(id).unwrap()
    }

    /// Lets this much time pass.
    pub(crate) fn run_for(&mut self, ms: u64) {
        let deadline = self.now + Duration::from_millis(ms);
        self.pump();
        while let Some(at) = self.next_time().filter(|&at| at <= deadline) {
            self.now = self.now.max(at);
            self.pump();
        }
        self.now = deadline;
    }

    /// Lets time pass until every call has ended.
    pub(crate) fn run(&mut self) {
        let patience = self.now + Duration::from_secs(24 * 3600);
        self.pump();
        while self.engine.calls().next().is_some() {
            let at = self.next_time().expect("something is always going to happen to a live call");
            assert!(at < patience, "calls never end: {:?}", self.engine.calls().collect::<Vec<_>>());
            self.now = self.now.max(at);
            self.pump();
        }
        // Whatever is still on its way must change nothing any more.
        self.run_for(40_000);
    }

    fn next_time(&self) -> Option<Instant> {
        let engine = self.engine.poll_timeout().map(|(at, _)| at);
        let ticks =
            self.media.ports.values().filter(|port| port.is_ticking()).map(|port| port.next_tick).min();
        [
            engine,
            ticks,
            self.media.tapes.iter().map(|tape| tape.began + tape.longest).min(),
            self.carrier.poll_timeout(),
            self.backup.poll_timeout(),
            self.phones.iter().filter_map(Carrier::poll_timeout).min(),
            self.to_engine.poll_timeout(),
            self.to_carrier.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does everything that is due now.
    pub(crate) fn pump(&mut self) {
        loop {
            self.drain_engine();
            while let Some(transmit) = self.to_carrier.recv(self.now) {
                for carrier in [&mut self.carrier, &mut self.backup].into_iter().chain(&mut self.phones) {
                    if carrier.address == transmit.remote
                        && let Some(input) = received(&transmit)
                    {
                        carrier.endpoint.handle_input(self.now, input);
                    }
                }
            }
            let others = [&mut self.carrier, &mut self.backup].into_iter().chain(&mut self.phones);
            let errands: Vec<_> = others.flat_map(|other| other.run(self.now)).collect();
            for errand in errands {
                match errand {
                    Errand::Transmit(transmit) => self.to_engine.send(self.now, transmit),
                    Errand::Press { to, from, pt, digit } => self.press(to, from, pt, digit),
                    Errand::Say { to, from, pieces } => self.say(to, from, pieces),
                }
            }
            while let Some(transmit) = self.to_engine.recv(self.now) {
                if let Some(input) = received(&transmit) {
                    self.engine.handle_input(self.now, Input::Sip(input));
                }
                self.drain_engine();
            }
            self.tick();
            if self.engine.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
                self.engine.handle_timeout(self.now);
            }
            self.drain_engine();
            if self.next_time().is_none_or(|at| at > self.now) {
                return;
            }
        }
    }

    fn drain_engine(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    if transmit.payload.starts_with(b"SIP/2.0 4") {
                        self.refusals.push(String::from_utf8(transmit.payload.to_vec()).unwrap());
                    }
                    if transmit.payload.starts_with(b"CANCEL ") {
                        self.cancels.push(Message::parse(transmit.payload.clone()).unwrap());
                    }
                    let is_cut = self.cut.iter().any(|cut| cut.parse() == Ok(transmit.remote));
                    let mut others = [&self.carrier, &self.backup].into_iter().chain(&self.phones);
                    let is_known = others.any(|other| other.address == transmit.remote);
                    // Phones register by hand.
                    let is_by_hand = transmit.payload.starts_with(b"SIP/2.0 ")
                        && transmit.payload.windows(9).any(|at| at == b" REGISTER");
                    if !is_known || is_by_hand {
                        self.strays.push(transmit);
                    } else if !is_cut {
                        self.to_carrier.send(self.now, transmit);
                    }
                }
                Output::Resolve { question, .. } if question.host == PENDING => {}
                Output::Resolve { query, question } => {
                    let destination =
                        Destination { transport: Transport::Udp, address: self.carrier.address };
                    let found = (question.host == NAME).then(|| Destinations {
                        list: vec![destination],
                        valid_for: Duration::from_secs(60),
                    });
                    let result = found.ok_or(sip_core::ResolveError::NotFound);
                    let input = sip_core::Input::Resolved { query, result };
                    self.engine.handle_input(self.now, Input::Sip(input));
                }
                Output::Media { leg, command } => self.command(leg, command),
                Output::Bridge { bridge, plan: None } => {
                    let was = self.bridges.remove(&bridge).is_some();
                    assert!(was || !self.makes_bridges, "what ends was there");
                }
                Output::Bridge { bridge, plan: Some(plan) } if self.makes_bridges => {
                    let leg = |place: usize| plan.members[place].leg.0;
                    let hears = plan.members.iter().map(|member| {
                        assert!(self.media.ports.contains_key(&member.leg), "only open legs are bridged");
                        (member.leg.0, member.hears.iter().map(leg).collect())
                    });
                    self.bridges.insert(bridge, hears.collect());
                }
                Output::Bridge { bridge, plan: Some(_) } => {
                    self.engine.handle_input(self.now, Input::BridgeFailed { bridge });
                }
                Output::Accept(call) => {
                    let id = call.id.clone();
                    let before = self.stories.insert(id.clone(), Story::default());
                    assert!(before.is_none(), "{id} is accepted twice");
                    match &mut self.journal {
                        Some(held) => held.push(id),
                        None => self.engine.handle_input(self.now, Input::Accepted { call: id }),
                    }
                }
                Output::Event(event) => {
                    let story = self.stories.get_mut(&event.call).expect("events follow the acceptance");
                    assert!(story.ended.is_none(), "{:?} after the end", event.data);
                    story.lines.push(line(&event.data));
                    assert_eq!(event.seq, story.lines.len() as u64, "{:?}", event.data);
                }
                Output::Ended { call, seq, .. } => {
                    let story = self.stories.get_mut(&call.id).expect("an end follows the acceptance");
                    story.lines.push(end_line(&call));
                    assert_eq!(seq, story.lines.len() as u64, "the end has the last number");
                    assert!(story.ended.replace(*call).is_none(), "a call ends once");
                }
                Output::FetchCertificate { leg, url } => {
                    if let Some(result) = self.certificates.get(&url).cloned() {
                        self.engine.handle_input(self.now, Input::Certificate { leg, result });
                    }
                    self.fetches.push((leg, url));
                }
                Output::AskRoute { leg, url, timeout: _, call } => self.questions.push((leg, url, *call)),
                Output::AskStep { leg, question, url, timeout: _, call } => {
                    self.step_questions.push((leg, question, url, *call));
                }
                Output::Dialog { call, sip_call_id } => {
                    self.dialogs.entry(call).or_default().push(sip_call_id);
                }
                Output::Door(DoorNews::Known(known)) => self.known = *known,
                Output::Door(DoorNews::Refused(_) | DoorNews::Proven(_)) => {}
                Output::NodeEvent { data, .. } => self.node_events.push(data),
            }
            self.most_live = self.most_live.max(self.engine.load().live);
        }
    }

    /// The journal has what it was given.
    pub(crate) fn journal_accepts(&mut self) {
        for call in self.journal.take().unwrap_or_default() {
            self.engine.handle_input(self.now, Input::Accepted { call });
        }
        self.pump();
    }

    /// Checks everything that a call has told, its end included, line by line.
    #[track_caller]
    pub(crate) fn check(&self, id: &str, expected: &str) {
        let expected: Vec<_> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let told = self.stories.get(&self.id(id)).map(|story| story.lines.clone()).unwrap_or_default();
        assert_eq!(told, expected, "the story of {id} is:\n{}\n", told.join("\n"));
    }

    #[track_caller]
    pub(crate) fn cdr(&self, id: &str) -> &Call {
        self.stories[&self.id(id)].ended.as_ref().expect("the call has ended")
    }

    fn command(&mut self, leg: LegId, command: MediaCommand) {
        let now = self.now;
        let shell = &mut self.media;
        match command {
            MediaCommand::Open if shell.has_ports => {
                shell.opened += 1;
                let addr = SocketAddr::new([192, 0, 2, 1].into(), 10_000 + 2 * (shell.opened % 20_000));
                let port = Port {
                    addr,
                    leg: None,
                    negotiated: None,
                    outstanding: 0,
                    watchful: false,
                    next_tick: now,
                    sound: VecDeque::new(),
                    speaker: None,
                    packets: 0,
                };
                shell.ports.insert(leg, port);
                self.tell(leg, MediaInput::Opened(addr));
            }
            MediaCommand::Open => self.tell(leg, MediaInput::OpenFailed),
            MediaCommand::Start { config, negotiated } => {
                let port = shell.ports.get_mut(&leg).expect("started legs are open");
                if !port.is_ticking() {
                    port.watchful = config.rtp_timeout != Default::default();
                    port.next_tick = now + TICK;
                }
                port.leg.get_or_insert_with(|| Leg::new(config)).start(now, &negotiated);
                port.negotiated = Some(negotiated);
            }
            MediaCommand::Run(program) => {
                shell.runs += 1;
                let play = program.play.as_ref().map(|play| play.id);
                let mut sound = |audio: &Audio| {
                    let ms = match audio {
                        Audio::Prompt(id) => *shell.prompts.get(&*id.0)?,
                        Audio::Url(url) => *shell.prompts.get(&**url)?,
                        Audio::Tone(signal) => signal.period().as_millis() as u32,
                        Audio::Say(said) => shell.speech.say(said),
                    };
                    let encoded = |codec: Codec| {
                        Encoded::new(
                            codec,
                            vec![0x2A; (ms as usize).next_multiple_of(20) * codec.octets_per_ms()],
                        )
                    };
                    Some(Arc::new(Prompt::in_codecs(Codec::ALL.map(encoded).to_vec())))
                };
                shell.offsets.extend(program.play.as_ref().map(|play| play.offset_ms));
                let program = program.try_map(|playlist| {
                    playlist.sounds.iter().map(&mut sound).collect::<Option<media_core::Playlist>>().ok_or(())
                });
                match program {
                    Ok(program) => {
                        let port = shell.ports.get_mut(&leg).unwrap();
                        port.outstanding +=
                            u32::from(program.play.is_some()) + u32::from(program.collect.is_some());
                        port.next_tick = now + TICK;
                        port.leg.as_mut().expect("programs run on started legs").run(now, program);
                        self.media_events(leg);
                    }
                    Err(()) => {
                        let why = "gone".into();
                        self.tell(leg, MediaInput::Unplayable { play: play.unwrap(), why });
                    }
                }
            }
            MediaCommand::Classify(parameters) => {
                let port = shell.ports.get_mut(&leg).unwrap();
                let ear = Box::new(Ear::new(EarConfig::new(port.negotiated.as_ref().unwrap().codec)));
                port.leg.as_mut().unwrap().classify(Box::new(Classifier::new(parameters)), ear);
            }
            MediaCommand::Answered => {
                shell.ports.get_mut(&leg).unwrap().leg.as_mut().unwrap().answered();
            }
            MediaCommand::StopPlay => {
                let port = shell.ports.get_mut(&leg).unwrap();
                port.leg.as_mut().unwrap().stop_play(now);
                self.media_events(leg);
            }
            MediaCommand::ForgetKeys => {
                shell.ports.get_mut(&leg).unwrap().leg.as_mut().unwrap().forget_keys();
            }
            MediaCommand::Press { digit, duration_ms } => {
                let port = shell.ports.get_mut(&leg).unwrap();
                port.leg.as_mut().unwrap().press(now, digit, duration_ms);
                self.media_events(leg);
            }
            MediaCommand::Record { track, recording, plan, .. } => {
                assert!(shell.tapes.iter().all(|tape| (tape.leg, tape.track) != (leg, track)));
                shell.tapes.push(OnRecord { leg, track, recording, began: now, longest: plan.max });
            }
            MediaCommand::PauseRecording(_, on) => shell.pauses.push(on),
            MediaCommand::StopRecording(track, reason) => self.stop_tapes(leg, Some(track), reason),
            MediaCommand::Dial(dial) => {
                let port = shell.ports.get_mut(&leg).unwrap();
                port.outstanding += 1;
                port.next_tick = now + TICK;
                let codec = port.negotiated.as_ref().unwrap().codec;
                let dialled = dial.keys.keys(1).map(|key| (leg.0, key.as_char(), dial.by));
                shell.dials.extend(dialled);
                port.leg.as_mut().unwrap().dial(Box::new(Dialler::new(dial, codec)));
            }
            MediaCommand::Close => {
                let stats = match shell.ports.get_mut(&leg).and_then(|port| port.leg.as_mut()) {
                    Some(leg) => leg.finish(now),
                    None => Default::default(),
                };
                self.media_events(leg);
                self.media.ports.remove(&leg);
                if self.media.tells_end {
                    self.tell(leg, MediaInput::Closed(stats));
                }
                // The writer takes its time, and comes last.
                self.stop_tapes(leg, None, RecordingEnd::Hangup);
            }
        }
    }

    /// A command does not reach the leg.
    pub(crate) fn lose_leg(&mut self, leg: u64) {
        self.tell(LegId(leg), MediaInput::Lost);
        self.pump();
    }

    /// Ends the recordings of a leg, on one track or on all.
    fn stop_tapes(&mut self, leg: LegId, track: Option<Track>, reason: RecordingEnd) {
        let is_over = |tape: &mut OnRecord| tape.leg == leg && track.is_none_or(|track| tape.track == track);
        let over: Vec<_> = self.media.tapes.extract_if(.., is_over).collect();
        for tape in over {
            let length = self.now.saturating_duration_since(tape.began).as_millis() as u64;
            let recording = Recording {
                status: RecordingStatus::Ended,
                duration_ms: length,
                size_bytes: 44 + length * 16,
                reason: Some(reason),
                ..*tape.recording
            };
            self.tell(leg, MediaInput::Recorded(Box::new(recording)));
        }
    }

    fn tell(&mut self, leg: LegId, input: MediaInput) {
        self.engine.handle_input(self.now, Input::Media { leg, input });
    }

    fn media_events(&mut self, leg: LegId) {
        while let Some(port) = self.media.ports.get_mut(&leg) {
            let Some(event) = port.leg.as_mut().and_then(Leg::poll_event) else { return };
            if matches!(
                event,
                MediaEvent::PlayEnded { .. } | MediaEvent::CollectEnded { .. } | MediaEvent::DialEnded { .. }
            ) {
                port.outstanding -= 1;
            }
            self.tell(leg, MediaInput::Event(event));
        }
    }

    fn tick(&mut self) {
        let now = self.now;
        let full = self.media.tapes.iter().find(|tape| tape.began + tape.longest <= now);
        if let Some((leg, track)) = full.map(|tape| (tape.leg, tape.track)) {
            self.stop_tapes(leg, Some(track), RecordingEnd::MaxLength);
        }
        let due: Vec<_> = self
            .media
            .ports
            .iter()
            .filter(|(_, port)| port.is_ticking() && port.next_tick <= self.now)
            .map(|(&leg, _)| leg)
            .collect();
        for id in due {
            let port = self.media.ports.get_mut(&id).unwrap();
            port.next_tick += TICK;
            port.speak(self.now);
            let _ = port.leg.as_mut().unwrap().tick(self.now, &mut [0; Leg::MAX_PACKET]);
            self.media_events(id);
        }
    }

    /// Pieces of (milliseconds, Hz): 0 Hz is silence, below it is something like speech.
    fn say(&mut self, to: SocketAddr, from: SocketAddr, pieces: &[(u32, f32)]) {
        let now = self.now;
        let Some(port) = self.media.ports.values_mut().find(|port| port.addr == to) else { return };
        if !port.is_ticking() {
            port.next_tick = now;
        }
        port.speaker = Some(from);
        let wave = |turns: f32| (turns * std::f32::consts::TAU).sin();
        for (ms, hz) in pieces {
            for frame in 0..ms / 20 {
                let sample = |n: u32| {
                    let t = (frame * 160 + n) as f32 / 8000.0;
                    let sound = match hz {
                        hz if *hz < 0.0 => {
                            let pitch = 120.0 * t + wave(t * 0.5);
                            let buzz: f32 =
                                (1..12u8).map(|k| wave(pitch * f32::from(k)) / f32::from(k)).sum();
                            buzz * (0.55 + 0.45 * wave(4.0 * t))
                        }
                        hz => wave(hz * t),
                    };
                    g711::encode_alaw((sound * 5000.0) as i16)
                };
                port.sound.push_back((0..160).map(sample).collect());
            }
        }
    }

    /// A key stroke as RFC 4733 has it: a packet at its start, one at its end.
    fn press(&mut self, to: SocketAddr, from: SocketAddr, pt: u8, digit: char) {
        let Some((&leg, _)) = self.media.ports.iter().find(|(_, port)| port.addr == to) else { return };
        let code = Digit::from_char(digit).unwrap().event_code();
        self.media.digits += 1;
        let stroke = self.media.digits;
        for (n, end, duration) in [(0, 0u8, 160u16), (1, 0x80, 800)] {
            let header = Header {
                marker: n == 0,
                pt,
                seq: SeqNo(stroke * 2 + n),
                timestamp: MediaTime(u32::from(stroke) * 8000),
                ssrc: Ssrc(u32::from(from.port())),
            };
            let mut packet = header.to_bytes().to_vec();
            packet.extend([code, end | 10]);
            packet.extend(duration.to_be_bytes());
            if let Some(leg) = self.media.ports.get_mut(&leg).and_then(|port| port.leg.as_mut()) {
                leg.receive_rtp(self.now, from, &mut packet);
            }
        }
        self.media_events(leg);
    }
}

impl Port {
    /// The far end says its next packet.
    fn speak(&mut self, now: Instant) {
        let (Some(payload), Some(from), Some(leg)) = (self.sound.pop_front(), self.speaker, &mut self.leg)
        else {
            return;
        };
        let header = Header {
            marker: false,
            pt: 8,
            seq: SeqNo(self.packets),
            timestamp: MediaTime(u32::from(self.packets) * 160),
            ssrc: Ssrc(u32::from(from.port())),
        };
        self.packets += 1;
        let mut packet = header.to_bytes().to_vec();
        packet.extend(payload);
        leg.receive_rtp(now, from, &mut packet);
    }
}

impl MediaShell {
    /// The codec and far address that a leg runs with.
    pub(crate) fn remote(&self, leg: u64) -> Option<(Codec, SocketAddr)> {
        let negotiated = self.ports.get(&LegId(leg))?.negotiated.as_ref()?;
        Some((negotiated.codec, negotiated.remote))
    }

    /// Which way audio goes, from the engine's side.
    pub(crate) fn direction(&self, leg: u64) -> Option<media_core::Direction> {
        Some(self.ports.get(&LegId(leg))?.negotiated.as_ref()?.direction)
    }

    /// The keys of SRTP, if it is.
    pub(crate) fn srtp(&self, leg: u64) -> Option<media_core::srtp::Keys> {
        self.ports.get(&LegId(leg))?.negotiated.as_ref()?.srtp.as_ref()?.described().cloned()
    }

    /// What is agreed with a browser.
    pub(crate) fn webrtc(&self, leg: u64) -> Option<media_core::sdp::WebRtc> {
        self.ports.get(&LegId(leg))?.negotiated.as_ref()?.webrtc().cloned()
    }

    /// Forgets a prompt that the engine still knows.
    pub(crate) fn lose_prompt(&mut self, name: &str) {
        self.prompts.remove(&format!("sha-{name}"));
    }

    pub(crate) fn open_ports(&self) -> usize {
        self.ports.len()
    }
}

/// What arrives of it: the empty lines that keep a NAT open are for nobody.
fn received(transmit: &Transmit) -> Option<sip_core::Input> {
    if transmit.payload.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
        return None;
    }
    let hop = sip_core::Hop { transport: transmit.transport, local: transmit.remote, remote: transmit.local };
    let message = Message::parse(transmit.payload.clone()).expect("endpoints write messages that parse");
    Some(sip_core::Input::Message { hop, message })
}

fn line(data: &EventData) -> String {
    match data {
        EventData::CallInitiated { .. } => "initiated".to_owned(),
        EventData::CallRinging { sip_status } => format!("ringing {sip_status}"),
        EventData::CallEarlyMedia {} => "early-media".to_owned(),
        EventData::CallAnswered { codec } => format!("answered {}", codec.unwrap()),
        EventData::CallHeld { by } => format!("held by {by}"),
        EventData::CallResumed { by } => format!("resumed by {by}"),
        EventData::CallHoldFailed { sip_status } => format!("hold failed {sip_status}"),
        EventData::CallTransferProgress { sip_status } => format!("transfer {sip_status}"),
        EventData::CallBridged { with, calls, .. } => {
            assert_eq!(with.as_ref(), calls.first());
            let others: Vec<&str> = calls.iter().map(CallId::as_str).collect();
            format!("bridged with {}", others.join(" "))
        }
        EventData::CallUnbridged { .. } => "unbridged".to_owned(),
        EventData::CallBridgeFailed { step, error } => format!("bridge failed {step} {error}"),
        EventData::CallRoleChanged { role, on_end, whisper_to, .. } => {
            let heard_by: String = whisper_to.iter().map(|call| format!(" {call}")).collect();
            format!("role {role} {on_end}{heard_by}")
        }
        EventData::CallEnqueued { queue, position, data } => {
            let data = data.as_ref().map(|data| format!(" {data}")).unwrap_or_default();
            format!("enqueued {queue} {position}{data}")
        }
        EventData::CallCallbackRequested { queue, key, waited_ms } => {
            format!("callback {queue} {key} after {waited_ms}")
        }
        EventData::CallMuted { direction } => format!("muted {direction}"),
        EventData::CallUnmuted {} => "unmuted".to_owned(),
        EventData::CallDtmf { digit, duration_ms, method: DtmfMethod::Rfc4733 } => {
            format!("dtmf {digit} {duration_ms}")
        }
        EventData::CallDtmf { digit, duration_ms, method } => format!("dtmf {digit} {duration_ms} {method}"),
        EventData::CallDtmfSent { digits, method, complete, error } => {
            let why = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            format!("sent {digits:?} {method}{}{why}", if *complete { "" } else { " only" })
        }
        EventData::CallGatherEnded { step, digits, reason, error } => {
            let why = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            format!("gathered {} {digits:?} {reason}{why}", step.as_deref().unwrap_or("-"))
        }
        EventData::CallPlayStarted { play_id, source } => {
            let sounds = source.sounds().iter().map(|sound| match sound {
                Sound::Prompt { prompt } => prompt.clone(),
                Sound::Url { url } => url.clone(),
                Sound::Tone { tone, country } => format!("{tone}/{}", country.as_deref().unwrap_or("itu")),
                Sound::Say { say } => format!("{}:{:?}", say.language, say.text),
            });
            format!("plays {play_id} {}", sounds.collect::<Vec<_>>().join(" "))
        }
        EventData::CallPlayEnded { play_id, reason, .. } => format!("played {play_id} {reason}"),
        EventData::CallAmd { result, ms, evidence, .. } => format!("amd {result} {evidence} {ms}"),
        EventData::CallAmdBeep { ms, duration_ms, hz } => format!("beep {ms} {duration_ms} {hz}"),
        EventData::CallRecordingStarted { step, format, channels, .. } => {
            format!("records {} {format} {channels}", step.as_deref().unwrap_or("-"))
        }
        EventData::CallRecordingEnded { step, reason, duration_ms, .. } => {
            format!("recorded {} {reason} {duration_ms}", step.as_deref().unwrap_or("-"))
        }
        EventData::CallFlowStep { step, verb } => format!("step {step} {verb}"),
        EventData::CallFlowFailed { step, verb, to, error } => format!("failed {step} {verb} {to}: {error}"),
        EventData::CallNotify(data) => format!("notify {data}"),
        EventData::CallEnded(_)
        | EventData::TrunkUp { .. }
        | EventData::TrunkDown { .. }
        | EventData::TrunkRejected { .. }
        | EventData::EndpointRegistered { .. }
        | EventData::EndpointUnregistered { .. }
        | EventData::EngineDraining {}
        | EventData::EventsDropped { .. } => panic!("{data:?} is no event of a call"),
    }
}

fn end_line(call: &Call) -> String {
    let sip = call.sip_status.map(|status| format!(" {status}")).unwrap_or_default();
    let cause = call.q850_cause.map(|cause| format!(" q850 {cause}")).unwrap_or_default();
    let (disposition, by) = (call.disposition.unwrap(), call.ended_by.unwrap());
    assert!(call.status.is_final() && call.ended_at.is_some());
    format!("ended {} {disposition} by {by}{sip}{cause}", call.status)
}
