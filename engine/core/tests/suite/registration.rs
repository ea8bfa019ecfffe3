//! A day of a trunk whose registrar fails in every way that registrars do, and recovers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use control_api_types::{EventData, TrunkState};
use engine_core::{Clock, Engine, EngineConfig, Input, Output, StirConfig, TrunkConfig};
use netem::{Impairments, Link};
use sip_core::digest::Credentials;
use sip_core::{
    Destination, Destinations, EndpointConfig, Listener, Message, MessageBuilder, Name, Reply, ResolveError,
    Target, Transmit, Transport,
};

use crate::world::{CARRIER, DELAY, ENGINE, NAME, limits};

const HOUR: Duration = Duration::from_secs(3_600);
const GRANTED: Duration = Duration::from_secs(600);

/// How the registrar and the network behave.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Weather {
    Fair,
    /// Nothing comes back.
    Silent,
    /// It answers so, with this header field.
    Answers(u16, (Name<'static>, &'static str)),
    /// It grants no more than so many seconds.
    Grants(u32),
    /// No name server answers.
    NoNames,
    /// This share of the packets is lost, each way.
    Loses(f64),
    /// It has forgotten who was registered.
    Forgetful,
    /// Five minutes silent, five minutes fair.
    Unsteady,
}

use Weather::*;

struct Day {
    start: Instant,
    now: Instant,
    engine: Engine,
    weather: Weather,
    /// Until when the registrar has us.
    bound_until: Option<Instant>,
    there: Link<Transmit>,
    back: Link<Transmit>,
    /// Transactions that the registrar has seen, and all REGISTERs sent, since the last look.
    tries: BTreeSet<String>,
    sent: usize,
    told: Vec<String>,
}

impl Day {
    fn new() -> Day {
        #[expect(clippy::disallowed_methods, reason = "the origin of the virtual clock")]
        let now = Instant::now();
        let address: SocketAddr = ENGINE.parse().unwrap();
        let listener = Listener { transport: Transport::Udp, bound: address, advertised: address };
        let target = Target { host: NAME.into(), ..Target::default() };
        let trunk = TrunkConfig {
            register: Some(Duration::from_secs(3_600)),
            credentials: Some(Credentials::new("alice", "secret")),
            ..TrunkConfig::new("jkt", target)
        };
        let config = EngineConfig {
            node: "n1".into(),
            clock: Clock::new(now, 1_800_000_000_000),
            sip: EndpointConfig::new(vec![listener]),
            trunks: vec![trunk],
            routes: Vec::new(),
            registrar: Default::default(),
            limits: limits(),
            stir: StirConfig::default(),
            rtp_timeout: Default::default(),
            fingerprint: None,
            inbound_max_duration: EngineConfig::INBOUND_MAX_DURATION,
        };
        let link = Impairments { delay: DELAY, ..Impairments::NONE };
        Day {
            start: now,
            now,
            engine: Engine::new(now, config, [7; 32]).unwrap(),
            weather: Fair,
            bound_until: None,
            there: Link::new(11, link),
            back: Link::new(12, link),
            tries: BTreeSet::new(),
            sent: 0,
            told: Vec::new(),
        }
    }

    fn set(&mut self, weather: Weather) {
        let loss = if let Loses(share) = weather { share } else { 0.0 };
        let link = Impairments { delay: DELAY, loss, ..Impairments::NONE };
        self.there.set_impairments(link);
        self.back.set_impairments(link);
        if weather == Forgetful {
            self.bound_until = None;
        }
        self.weather = weather;
    }

    fn is_silent(&self) -> bool {
        match self.weather {
            Silent => true,
            Unsteady => ((self.now - self.start).as_secs() / 300).is_multiple_of(2),
            Fair | Answers(..) | Grants(_) | NoNames | Loses(_) | Forgetful => false,
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.step();
            let timers = self.engine.poll_timeout().map(|(at, _)| at);
            let next =
                [timers, self.there.poll_timeout(), self.back.poll_timeout()].into_iter().flatten().min();
            match next.filter(|next| *next <= end) {
                Some(next) => self.now = self.now.max(next),
                None => break self.now = end,
            }
        }
    }

    fn step(&mut self) {
        self.drain();
        while let Some(transmit) = self.there.recv(self.now) {
            if let Some(answer) = self.registrar(&transmit) {
                self.back.send(self.now, answer);
            }
        }
        while let Some(transmit) = self.back.recv(self.now) {
            let hop = sip_core::Hop {
                transport: transmit.transport,
                local: transmit.remote,
                remote: transmit.local,
            };
            let message = Message::parse(transmit.payload).unwrap();
            self.engine.handle_input(self.now, Input::Sip(sip_core::Input::Message { hop, message }));
            self.drain();
        }
        if self.engine.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.engine.handle_timeout(self.now);
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                // What keeps the way open says nothing.
                Output::Transmit(transmit) if transmit.payload.trim_ascii().is_empty() => {}
                Output::Transmit(transmit) => {
                    self.sent += 1;
                    self.there.send(self.now, transmit);
                }
                Output::Resolve { query, .. } => {
                    let address = CARRIER.parse().unwrap();
                    let result = match self.weather {
                        NoNames => Err(ResolveError::Unavailable),
                        Fair | Silent | Answers(..) | Grants(_) | Loses(_) | Forgetful | Unsteady => {
                            Ok(Destinations {
                                list: vec![Destination { transport: Transport::Udp, address }],
                                valid_for: Duration::from_secs(60),
                            })
                        }
                    };
                    let input = sip_core::Input::Resolved { query, result };
                    self.engine.handle_input(self.now, Input::Sip(input));
                }
                Output::NodeEvent { data, .. } => self.told.push(words(&data)),
                Output::Door(_) => {}
                Output::Media { .. }
                | Output::Bridge { .. }
                | Output::Accept(_)
                | Output::FetchCertificate { .. }
                | Output::AskRoute { .. }
                | Output::AskStep { .. }
                | Output::Dialog { .. }
                | Output::Event(_)
                | Output::Ended { .. } => panic!("there are no calls"),
            }
        }
    }

    /// What the registrar makes of a REGISTER.
    fn registrar(&mut self, transmit: &Transmit) -> Option<Transmit> {
        let request = Message::parse(transmit.payload.clone()).unwrap();
        self.tries.insert(request.top_via().unwrap().branch().unwrap().to_owned());
        if self.is_silent() {
            return None;
        }
        let (status, header) = match self.weather {
            Answers(status, (name, value)) => (status, (name, value.to_owned())),
            Grants(expires) => (200, (Name::Expires, expires.to_string())),
            Fair | Silent | NoNames | Loses(_) | Forgetful | Unsteady => {
                (200, (Name::Expires, GRANTED.as_secs().to_string()))
            }
        };
        if status == 200 {
            self.bound_until = Some(self.now + Duration::from_secs(header.1.parse().unwrap()));
        }
        let mut buffer = bytes::BytesMut::new();
        let reply = Reply { to_tag: Some("r"), ..Reply::new(status) };
        let payload = MessageBuilder::reply(&mut buffer, &request, reply).header(header.0, header.1).finish();
        Some(Transmit { local: transmit.remote, remote: transmit.local, payload, ..transmit.clone() })
    }

    fn state(&self) -> TrunkState {
        self.engine.trunks(self.now).last().unwrap().state
    }

    fn is_bound(&self) -> bool {
        self.bound_until.is_some_and(|until| self.now < until)
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "any other event is a failure")]
fn words(data: &EventData) -> String {
    match data {
        EventData::TrunkUp { .. } => "up".to_owned(),
        EventData::TrunkDown { reason, .. } => {
            format!("down: {}", reason.split(" from registrar").next().unwrap())
        }
        EventData::TrunkRejected { sip_status, .. } => format!("rejected: {}", sip_status.unwrap()),
        other => panic!("{other:?}"),
    }
}

/// Hour by hour: the weather, the state at the hour's end, what was told in it, and the most tries.
#[test]
fn a_day_of_failures_and_recoveries() {
    const STALE: &str = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", stale=true";
    // A refresh each 450 to 540 seconds.
    const QUIET: usize = 8;
    // Waits that double from 5 to 300 seconds, each shortened by chance to no less than its half: at most 7 in the first
    // 317 seconds, and then one each 150.
    const RETRIES: usize = 7 + 3_600 / 150;
    let after = |seconds| (Name::RetryAfter, seconds);
    let none = (Name::Server, "x");
    let hours: &[(Weather, TrunkState, &[&str], usize)] = &[
        (Fair, TrunkState::Up, &["up"], QUIET + 1),
        (Silent, TrunkState::Down, &["down: no answer"], RETRIES),
        (Fair, TrunkState::Up, &["up"], QUIET + 1),
        // What it asks for is honoured: three tries in an hour.
        (Answers(503, after("1200")), TrunkState::Down, &["down: 503 Service Unavailable"], 4),
        (Fair, TrunkState::Up, &["up"], QUIET),
        // Asking to be asked at once does not make it so.
        (Answers(503, after("0")), TrunkState::Down, &["down: 503 Service Unavailable"], RETRIES),
        (Fair, TrunkState::Up, &["up"], QUIET + 1),
        // Each try answers four challenges.
        (
            Answers(401, (Name::WwwAuthenticate, STALE)),
            TrunkState::Down,
            &["down: 401 Unauthorized"],
            5 * RETRIES,
        ),
        (Fair, TrunkState::Up, &["up"], QUIET + 1),
        (NoNames, TrunkState::Down, &["down: no answer"], 0),
        (Fair, TrunkState::Up, &["up"], QUIET + 1),
        (Loses(0.4), TrunkState::Up, &[], QUIET + 3),
        (Forgetful, TrunkState::Up, &[], QUIET),
        (Grants(30), TrunkState::Up, &[], 3_600 * 100 / (30 * 75) + 1),
        (Grants(1), TrunkState::Up, &[], 361),
        (Answers(500, none), TrunkState::Down, &["down: 500 Server Internal Error"], RETRIES),
        // Waits of up to five minutes meet the fair ones, and what was granted outlasts the silent ones.
        (Unsteady, TrunkState::Up, &["up"], RETRIES),
        (Fair, TrunkState::Up, &[], QUIET),
        (Fair, TrunkState::Up, &[], QUIET),
        (Fair, TrunkState::Up, &[], QUIET),
        (
            Answers(423, (Name::MinExpires, "60")),
            TrunkState::Down,
            &["down: 423 Interval Too Brief"],
            RETRIES,
        ),
        (Fair, TrunkState::Up, &["up"], QUIET + 1),
        // One refusal for good, one alarm, and silence.
        (Answers(403, none), TrunkState::Rejected, &["rejected: 403"], 1),
        (Fair, TrunkState::Rejected, &[], 0),
    ];
    assert_eq!(hours.len(), 24);
    let mut day = Day::new();
    for (hour, (weather, state, told, most)) in hours.iter().enumerate() {
        day.set(*weather);
        day.run_for(HOUR);
        let when = format!("hour {hour}, {weather:?}");
        assert_eq!(std::mem::take(&mut day.told), *told, "{when}");
        assert_eq!(day.state(), *state, "{when}");
        if *state == TrunkState::Down {
            assert!(!day.is_bound(), "{when}: the registrar does not know us");
        }
        // A second's lifetime is over before the next refresh.
        if *state == TrunkState::Up && *weather != Grants(1) {
            assert!(day.is_bound(), "{when}: the registrar knows us");
        }
        let (tries, sent) = (std::mem::take(&mut day.tries).len(), std::mem::take(&mut day.sent));
        assert!(tries <= *most, "{when}: {tries} tries, at most {most}");
        // RFC 3261 section 17.1.2.2: eleven times over UDP, where nothing comes back.
        assert!(sent <= 11 * most, "{when}: {sent} REGISTERs");
        if *weather == Fair && *state == TrunkState::Up {
            assert!(tries >= 6, "{when}: {tries} tries");
        }
    }
}
