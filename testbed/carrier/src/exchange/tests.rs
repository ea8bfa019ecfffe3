//! A caller and the exchange in one thread on a virtual clock, with real SIP and real RTP between them.

use media_core::sdp::{accept_answer, offer};
use media_core::{Codec, Direction, Negotiated};
use sip_core::digest::Credentials;
use sip_core::{Hop, Invite, Register, RegistrationEvent, Target, Transport};

use super::*;
use crate::config::{Account, CodecName, DigestAlgorithm, Subscriber};
use crate::customer::{Act, Answers};
use crate::reception::{Reception, Recorded};
use crate::voice::{Talk, Voice};

const CALLER: &str = "127.0.0.1:5061";
const CARRIER: &str = "127.0.0.1:5060";
const CALLER_RTP: &str = "127.0.0.1:20000";
const CARRIER_RTP: &str = "127.0.0.1:30000";

/// The whole world.
struct Town {
    now: Instant,
    exchange: Exchange,
    caller: Endpoint,
    local: LocalMedia,
    leg: Option<(Voice, Reception, Instant)>,
    events: Vec<SessionEvent>,
    registered: Vec<RegistrationEvent>,
    reports: Vec<(CallReport, Option<Recorded>)>,
}

fn listener(addr: &str) -> Listener {
    let addr = addr.parse().unwrap();
    Listener { transport: Transport::Udp, bound: addr, advertised: addr }
}

impl Town {
    fn new(config: CarrierConfig) -> Self {
        let now = Instant::now();
        let carrier_rtp = CARRIER_RTP.parse().unwrap();
        Self {
            now,
            exchange: Exchange::new(now, config, vec![listener(CARRIER)], carrier_rtp, [1; 32]),
            caller: Endpoint::new(EndpointConfig::new(vec![listener(CALLER)]), [2; 32]),
            local: LocalMedia {
                addr: CALLER_RTP.parse().unwrap(),
                codecs: vec![Codec::Pcmu, Codec::G722],
                ptime: Ptime::DEFAULT,
                telephone_event: true,
                rtcp_mux: false,
                srtp: None,
                direction: Direction::SendRecv,
                session_id: 1,
                session_version: 1,
            },
            leg: None,
            events: Vec::new(),
            registered: Vec::new(),
            reports: Vec::new(),
        }
    }

    fn with(does: Behaviour) -> Self {
        let customers = vec![Subscriber::new("*", does)];
        Self::new(CarrierConfig { customers, ..CarrierConfig::default() })
    }

    fn call(&mut self, number: &str, credentials: Option<Credentials>) -> SessionId {
        let uri: sip_core::Uri = format!("sip:{number}@{CARRIER}").parse().unwrap();
        let invite = Invite {
            request_uri: uri.clone(),
            to: uri.into(),
            from: format!("<sip:caller@{CALLER}>").parse().unwrap(),
            target: target(),
            route: Vec::new(),
            headers: Vec::new(),
            body: Some(Body::sdp(offer(&self.local))),
            reliable: sip_core::Reliable::Supported,
            replaces: None,
            session_interval: None,
            expires: None,
            credentials,
        };
        let id = self.caller.invite(self.now, invite).unwrap();
        self.settle();
        id
    }

    /// Runs `ms` milliseconds in steps of one.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            self.caller.handle_timeout(self.now);
            self.exchange.handle_timeout(self.now);
            self.settle();
            let mut packet = [0; MAX_PACKET];
            while let Some((to, len)) = self.exchange.poll_rtp(self.now, &mut packet) {
                assert_eq!(to, self.local.addr);
                if let Some((_, reception, _)) = &mut self.leg {
                    reception.receive(self.now, &packet[..len]);
                }
            }
            self.settle();
            if let Some((voice, _, due)) = self.leg.as_mut().filter(|(.., due)| *due <= self.now) {
                *due += Duration::from_millis(20);
                let len = voice.next(&mut packet).len;
                self.exchange.handle_rtp(self.now, self.local.addr, &packet[..len]);
                self.settle();
            }
        }
    }

    /// Carries messages to and fro until there are none.
    fn settle(&mut self) {
        loop {
            if let Some(output) = self.caller.poll_output() {
                match output {
                    sip_core::Output::Transmit(transmit) => {
                        let input = arrived(CALLER, CARRIER, transmit);
                        self.exchange.handle_sip(self.now, input);
                    }
                    sip_core::Output::Event(event) => self.note(event),
                    sip_core::Output::Resolve { .. } => panic!("no names here"),
                }
            } else if let Some(output) = self.exchange.poll_output() {
                match output {
                    Output::Sip(sip_core::Output::Transmit(transmit)) => {
                        let input = arrived(CARRIER, CALLER, transmit);
                        self.caller.handle_input(self.now, input);
                    }
                    Output::Sip(output) => panic!("{output:?}"),
                    Output::Ended(report, recorded) => self.reports.push((report, recorded)),
                }
            } else {
                return;
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Session { event, .. } => {
                if let SessionEvent::Provisional { body: Some(body), .. }
                | SessionEvent::Answered { body: Some(body), .. } = &event
                    && self.leg.is_none()
                {
                    let agreed: Negotiated = accept_answer(&self.local, body).unwrap();
                    assert_eq!(agreed.remote, self.exchange.media_addr);
                    let voice = Voice::new(&agreed, Talk::Tone, 99);
                    self.leg = Some((voice, Reception::new(self.now, &agreed, true), self.now));
                }
                self.events.push(event);
            }
            Event::Registration { event, .. } => self.registered.push(event),
            Event::Request { .. } | Event::Response { .. } | Event::Located { .. } => panic!("{event:?}"),
        }
    }

    fn statuses(&self) -> Vec<u16> {
        let status = |event: &SessionEvent| match event {
            SessionEvent::Provisional { status, .. } => Some(*status),
            SessionEvent::Answered { .. } => Some(200),
            SessionEvent::Failed(failure) => match failure.cause {
                FailureCause::Response(status) => Some(status),
                FailureCause::Cancelled => Some(487),
                FailureCause::Timeout | FailureCause::Transport | FailureCause::Resolve => None,
            },
            SessionEvent::Incoming { .. }
            | SessionEvent::Confirmed { .. }
            | SessionEvent::Offered { .. }
            | SessionEvent::OfferWithdrawn
            | SessionEvent::OfferAnswered { .. }
            | SessionEvent::OfferRefused { .. }
            | SessionEvent::Info { .. }
            | SessionEvent::InfoAnswered { .. }
            | SessionEvent::Referred(_)
            | SessionEvent::ReferProgress { .. }
            | SessionEvent::Ended { .. } => None,
        };
        self.events.iter().filter_map(status).collect()
    }

    fn report(&self) -> &CallReport {
        assert_eq!(self.reports.len(), 1, "one report");
        &self.reports[0].0
    }
}

fn target() -> Target {
    Target {
        host: "127.0.0.1".to_owned(),
        port: Some(5060),
        transport: Some(Transport::Udp),
        ..Target::default()
    }
}

fn arrived(from: &str, to: &str, transmit: sip_core::Transmit) -> Input {
    let hop = Hop { transport: Transport::Udp, local: to.parse().unwrap(), remote: from.parse().unwrap() };
    assert_eq!(transmit.remote, hop.local);
    Input::Message { hop, message: Message::parse(transmit.payload).unwrap() }
}

#[test]
fn a_customer_listens_presses_keys_and_is_hung_up() {
    let then =
        vec![Act::HearMs(200), Act::Press("1#".chars().filter_map(media_core::Digit::from_char).collect())];
    let mut town = Town::with(Behaviour::Answers(Answers { then, ..Answers::default() }));
    let call = town.call("100", None);
    town.run(1000);
    assert_eq!(town.statuses(), [180, 200]);
    let (_, reception, _) = town.leg.take().unwrap();
    town.caller.hangup(town.now, call, Hangup::default()).unwrap();
    town.run(100);
    let report = town.report();
    assert_eq!(report.outcome, Outcome::CallerHungUp);
    assert_eq!(
        (report.called.as_str(), report.caller.as_str(), report.keys_unsent),
        ("100", "caller", false)
    );
    let heard = report.heard.clone().unwrap();
    assert_eq!((heard.lost, heard.breaks, heard.duplicates, heard.invalid), (0, 0, 0, 0));
    assert!((44..=46).contains(&heard.packets), "{heard:?}");
    assert_eq!(heard.max_gap_ms, 20.0);
    // The caller heard 14 packets of keys: their payload type is the agreed one, so nothing is out of place.
    let caller = reception.report();
    assert_eq!((caller.lost, caller.breaks, caller.invalid), (0, 0, 0));
    assert_eq!(report.sent, caller.packets + 14);
    assert_eq!(town.exchange.totals().rtp_strangers, 0);
}

#[test]
fn refusals_carry_their_cause() {
    for (does, status, cause) in [
        (Behaviour::Busy, 486, Some(17)),
        (Behaviour::Rejects, 603, Some(21)),
        (Behaviour::SwitchedOff, 480, Some(20)),
        (Behaviour::InvalidNumber, 404, Some(1)),
        (Behaviour::Congested, 503, Some(34)),
    ] {
        let mut town = Town::with(does);
        town.call("1", None);
        town.run(10);
        let Some(SessionEvent::Failed(failure)) = town.events.last() else { panic!("{:?}", town.events) };
        assert_eq!((failure.cause, failure.q850), (FailureCause::Response(status), cause));
        assert_eq!(town.report().outcome, Outcome::Refused(status));
    }
}

#[test]
fn a_customer_who_never_answers_is_given_up() {
    let mut town = Town::with(Behaviour::NeverAnswers);
    let call = town.call("1", None);
    town.run(5000);
    assert_eq!(town.statuses(), [180]);
    town.caller.hangup(town.now, call, Hangup::default()).unwrap();
    town.run(10);
    assert_eq!(town.statuses(), [180, 487]);
    assert_eq!(town.report().outcome, Outcome::Cancelled);
}

#[test]
fn no_response_is_none_at_all() {
    let mut town = Town::with(Behaviour::NoResponse);
    town.call("1", None);
    town.run(40_000);
    assert_eq!(town.statuses(), [0u16; 0]);
    let Some(SessionEvent::Failed(failure)) = town.events.last() else { panic!("{:?}", town.events) };
    assert_eq!(failure.cause, FailureCause::Timeout);
    // RFC 3261 17.1.1.2: timer A sends the INVITE again 6 times within 64*T1.
    assert_eq!(town.exchange.totals().ignored, 7);
}

#[test]
fn early_media_sounds_before_the_answer() {
    let answers = Answers { ring_ms: 400, early_media: true, then: vec![Act::WaitMs(500), Act::HangUp] };
    let mut config = CarrierConfig { talk: Talk::Tone, ..CarrierConfig::default() };
    config.customers = vec![Subscriber::new("*", Behaviour::Answers(answers))];
    let mut town = Town::new(config);
    town.call("1", None);
    town.run(200);
    assert_eq!(town.statuses(), [183]);
    assert!(town.leg.as_ref().is_some_and(|(_, reception, _)| reception.report().audible_ms >= 160));
    town.run(1000);
    assert_eq!(town.statuses(), [183, 200]);
    let report = town.report();
    assert_eq!((report.outcome, report.talk_ms), (Outcome::CustomerHungUp, 500));
    assert_eq!(town.leg.unwrap().1.report().breaks, 0, "one stream from the 183 on");
}

#[test]
fn what_is_heard_is_recorded() {
    let mut config = CarrierConfig { record: Some("/nowhere".into()), ..CarrierConfig::default() };
    config.customers = vec![Subscriber::new(
        "*",
        Behaviour::Answers(Answers { then: vec![Act::HearMs(100), Act::HangUp], ..Answers::default() }),
    )];
    let mut town = Town::new(config);
    town.call("+621", None);
    town.run(500);
    let (report, recorded) = &town.reports[0];
    let Recorded { rate, samples } = recorded.as_ref().unwrap();
    assert_eq!(*rate, 8000);
    assert_eq!(samples.len(), 5 * 160);
    assert!(samples.iter().any(|sample| *sample > 7000), "the tone");
    assert!(report.recording.as_ref().unwrap().starts_with("/nowhere"));
}

#[test]
fn a_wideband_line_is_heard_and_speaks() {
    let mut config =
        CarrierConfig { talk: Talk::Tone, codecs: vec![CodecName(Codec::G722)], ..CarrierConfig::default() };
    config.customers = vec![Subscriber::new(
        "*",
        Behaviour::Answers(Answers { then: vec![Act::HearMs(100), Act::HangUp], ..Answers::default() }),
    )];
    config.record = Some("/nowhere".into());
    let mut town = Town::new(config);
    town.call("+621", None);
    town.run(500);
    let (report, recorded) = &town.reports[0];
    assert_eq!(report.outcome, Outcome::CustomerHungUp);
    let Recorded { rate, samples } = recorded.as_ref().unwrap();
    assert_eq!((*rate, samples.len()), (16_000, 5 * 320));
    assert!(samples.iter().any(|sample| *sample > 7000), "the tone");
    let theirs = town.leg.unwrap().1.report();
    assert!(theirs.audible_ms >= 80 && theirs.breaks == 0, "{theirs:?}");
}

#[test]
fn registering_takes_the_right_password() {
    for algorithm in [DigestAlgorithm::Md5, DigestAlgorithm::Sha256, DigestAlgorithm::Sha512_256] {
        for (password, good) in [("secret", true), ("wrong", false)] {
            let account = Account { username: "trunk".to_owned(), password: "secret".to_owned() };
            let config = CarrierConfig {
                accounts: vec![account],
                algorithms: vec![algorithm],
                ..CarrierConfig::default()
            };
            let mut town = Town::new(config);
            let register = Register {
                credentials: Some(Credentials::new("trunk", password)),
                expires: Duration::from_secs(60),
                ..Register::new(target(), format!("sip:trunk@{CARRIER}").parse().unwrap())
            };
            let id = town.caller.register(town.now, register);
            town.run(10);
            let registrations = town.exchange.registrations(town.now);
            if good {
                let expires = Duration::from_secs(60);
                let registered =
                    RegistrationEvent::Registered { expires, service_route: vec![], seen_at: None };
                assert_eq!(town.registered, [registered], "{algorithm:?}");
                assert_eq!(registrations.len(), 1);
                assert_eq!(
                    (registrations[0].user.as_str(), town.exchange.registered(town.now)),
                    ("trunk", 1)
                );
                town.caller.unregister(town.now, id).unwrap();
                town.run(10);
                assert_eq!(town.registered.last(), Some(&RegistrationEvent::Unregistered));
            } else {
                let refused = RegistrationEvent::Failed { status: Some(403), retry_in: None };
                assert_eq!(town.registered, [refused], "{algorithm:?}");
            }
            assert_eq!(town.exchange.registered(town.now), 0);
            assert_eq!(town.exchange.totals().challenged, 1 + u64::from(good && town.registered.len() > 2));
        }
    }
}

#[test]
fn calls_can_be_challenged() {
    let account = Account { username: "trunk".to_owned(), password: "secret".to_owned() };
    let config = CarrierConfig { accounts: vec![account], challenge_calls: true, ..CarrierConfig::default() };
    let mut town = Town::new(config);
    town.call("203", Some(Credentials::new("trunk", "secret")));
    town.run(10);
    assert_eq!(town.statuses(), [486]);
    assert_eq!(town.report().outcome, Outcome::Refused(486));
    assert_eq!(town.exchange.totals().challenged, 1);
}

#[test]
fn packets_of_nobody_are_counted() {
    let mut town = Town::new(CarrierConfig::default());
    town.exchange.handle_rtp(town.now, CALLER_RTP.parse().unwrap(), b"hello");
    assert_eq!(town.exchange.totals().rtp_strangers, 1);
}

#[test]
fn a_pause_of_the_machine_is_not_poured_out_later() {
    let mut town = Town::with(Behaviour::Answers(Answers { ring_ms: 0, ..Answers::default() }));
    town.call("1", None);
    town.run(100);
    let mut packet = [0; MAX_PACKET];
    let mut burst = |town: &mut Town, pause: u64| {
        town.now += Duration::from_millis(pause);
        std::iter::from_fn(|| town.exchange.poll_rtp(town.now, &mut packet)).count()
    };
    assert_eq!(burst(&mut town, 200), 10, "late ones follow");
    assert_eq!(burst(&mut town, 10_000), 1);
    assert_eq!(burst(&mut town, 20), 1);
}

#[test]
fn a_network_that_reorders_loses_nothing() {
    let answers = Answers { ring_ms: 300, then: vec![Act::WaitMs(1500), Act::HangUp], ..Answers::default() };
    let customers = vec![Subscriber::new("*", Behaviour::Answers(answers))];
    let network = crate::Network { reorder: 0.3, ..Default::default() };
    let mut town = Town::new(CarrierConfig { customers, network, ..CarrierConfig::default() });
    town.call("1", None);
    town.run(3000);
    assert_eq!(town.report().outcome, Outcome::CustomerHungUp);
    let (_, reception, _) = town.leg.take().unwrap();
    let heard = reception.report();
    assert!(heard.reordered >= 5, "{heard:?}");
    assert_eq!((heard.lost, heard.duplicates, heard.invalid), (0, 0, 0), "{heard:?}");
}
