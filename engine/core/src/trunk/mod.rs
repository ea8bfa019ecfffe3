//! Trunks: registration state, limits, and how well their calls fare.

mod gateway;
mod set;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use control_api_types::{Disposition, EventData, GatewayState, Timestamp, TrunkState};
use rand_core::Rng;
use sip_core::{Host, NameAddr, Register, RegistrationEvent, RegistrationId, Target, Uri};

use self::gateway::Gateway;
pub(crate) use self::gateway::GatewayName;
pub(crate) use self::set::{TrunkId, Trunks};
use crate::admission::Gate;
use crate::call::{Branch, Group, Search};
use crate::clock::{Clock, millis};
use crate::config::{ConfigError, TrunkConfig};
use crate::dial::Called;
use crate::disposition::Evidence;

/// How many ended calls the ratios of a trunk are taken over: enough for half a percent of resolution, few enough to
/// follow a change within minutes.
const RECENT: usize = 200;

#[derive(Debug)]
pub(crate) struct Trunk {
    pub(crate) config: TrunkConfig,
    /// At least one.
    gateways: Vec<Gateway>,
    /// The host of our From.
    pub(crate) domain: Host,
    pub(crate) gate: Gate,
    registration: Registration,
    recent: VecDeque<Outcome>,
    starts: Starts,
}

/// Whether a trunk can be used, as far as registration tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registration {
    /// It does not register: used as configured.
    None,
    /// No answer to the first REGISTER yet. Its calls wait.
    Registering(RegistrationId),
    Up {
        id: RegistrationId,
        until: Instant,
    },
    /// Tried again later. Its calls fail as `network-error`.
    Down(RegistrationId),
    /// Refused for good. Its calls fail as `blocked`.
    Rejected(RegistrationId),
}

/// How one outbound call fared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) disposition: Disposition,
    pub(crate) post_dial_delay: Option<Duration>,
}

impl Outcome {
    /// Whether the network did its part (ITU-T E.425): the far end answered, rang, was busy, or refused.
    fn is_effective(self) -> bool {
        match self.disposition {
            Disposition::Answered | Disposition::Busy | Disposition::NoAnswer => true,
            Disposition::Rejected | Disposition::Unreachable => true,
            Disposition::InvalidNumber | Disposition::Congestion | Disposition::Blocked => false,
            Disposition::NetworkError | Disposition::Incompatible | Disposition::Canceled => false,
            Disposition::LimitReached | Disposition::InternalError => false,
        }
    }

    /// Whether it tells anything about the trunk: what we took back or never sent does not.
    fn is_telling(self) -> bool {
        match self.disposition {
            Disposition::Canceled | Disposition::LimitReached | Disposition::InternalError => false,
            Disposition::Answered | Disposition::Busy | Disposition::NoAnswer | Disposition::Rejected => true,
            Disposition::Unreachable | Disposition::InvalidNumber | Disposition::Congestion => true,
            Disposition::Blocked | Disposition::NetworkError | Disposition::Incompatible => true,
        }
    }
}

impl Trunk {
    pub(crate) fn new(config: TrunkConfig) -> Result<Self, ConfigError> {
        let gateways = config
            .gateways
            .iter()
            .map(|gateway| Gateway::new(gateway.clone(), &config.name))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(first) = gateways.first() else {
            return Err(ConfigError::NoGateway { trunk: config.name });
        };
        let registrar =
            match &config.registrar {
                Some(Target { host, .. }) => Some(host.parse::<Host>().map_err(|_| {
                    ConfigError::GatewayHost { trunk: config.name.clone(), host: host.clone() }
                })?),
                None => None,
            };
        let domain = match &config.from_domain {
            Some(domain) => domain.parse().map_err(|_| ConfigError::FromDomain {
                trunk: config.name.clone(),
                domain: domain.clone(),
            })?,
            None => registrar.unwrap_or_else(|| first.host.clone()),
        };
        if config.codecs.is_empty() {
            return Err(ConfigError::NoCodec { trunk: config.name });
        }
        if config.register.is_some() && config.credentials.is_none() {
            return Err(ConfigError::NoCredentials { trunk: config.name });
        }
        Ok(Self {
            gate: Gate::new(config.capacity),
            registration: Registration::None,
            recent: VecDeque::new(),
            starts: Starts::default(),
            gateways,
            domain,
            config,
        })
    }

    /// The registration that it asks for.
    pub(crate) fn register(&self) -> Option<Register> {
        let credentials = self.config.credentials.clone()?;
        let user = credentials.username.to_string();
        Some(Register {
            registrar: self.registrar()?.clone(),
            aor: Uri::sip(Some(&user), &self.domain, None),
            credentials: Some(credentials),
            expires: self.config.register?,
            contact_user: user,
        })
    }

    fn registrar(&self) -> Option<&Target> {
        let gateway = self.config.gateways.first().map(|gateway| &gateway.target);
        self.config.registrar.as_ref().or(gateway)
    }

    /// The ways to call somebody, in the order in which this call tries them.
    pub(crate) fn ways(&self, called: &Called, random: &mut impl Rng) -> Vec<Group> {
        let way = |gateway: &Gateway| {
            let uri = match called {
                Called::Number(user) => Uri::sip(Some(user), &gateway.host, gateway.config.target.port),
                Called::Uri(uri) => uri.clone(),
            };
            let branch = Branch {
                to: NameAddr::new(uri.clone()),
                request_uri: uri,
                target: gateway.config.target.clone(),
                route: Vec::new(),
                credentials: self.config.credentials.clone(),
                gateway: Some(gateway.name.clone()),
            };
            Group { branches: vec![branch], search: Search::Gateways }
        };
        gateway::order(&self.gateways, random).into_iter().map(way).collect()
    }

    /// Whether a gateway is at this host.
    pub(crate) fn is_at(&self, host: &str) -> bool {
        self.config.gateways.iter().any(|gateway| gateway.target.host == host)
    }

    pub(crate) fn registering(&mut self, id: RegistrationId) {
        self.registration = Registration::Registering(id);
    }

    /// Whether calls come from this address.
    pub(crate) fn sends_from(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.gateways.iter().any(|gateway| gateway.addresses.contains(&address))
    }

    /// What the name of its gateways was resolved to.
    pub(crate) fn learn_addresses(&mut self, host: &str, addresses: &BTreeSet<IpAddr>) {
        for gateway in self.gateways.iter_mut().filter(|gateway| gateway.config.target.host == host) {
            gateway.addresses.clone_from(addresses);
        }
    }

    /// Whether its calls may begin (if only to fail at once), or wait for the first registration.
    pub(crate) fn is_settled(&self) -> bool {
        match self.registration {
            Registration::Registering(_) => false,
            Registration::None
            | Registration::Up { .. }
            | Registration::Down(_)
            | Registration::Rejected(_) => true,
        }
    }

    /// Why a call cannot go out at all.
    pub(crate) fn refusal(&self) -> Option<Evidence> {
        match self.registration {
            Registration::None | Registration::Registering(_) | Registration::Up { .. } => None,
            Registration::Down(_) => Some(Evidence::Network),
            Registration::Rejected(_) => Some(Evidence::TrunkRejected),
        }
    }

    pub(crate) fn state(&self) -> TrunkState {
        match self.registration {
            Registration::None => TrunkState::Unmonitored,
            Registration::Registering(_) => TrunkState::Registering,
            Registration::Up { .. } => TrunkState::Up,
            Registration::Down(_) => TrunkState::Down,
            Registration::Rejected(_) => TrunkState::Rejected,
        }
    }

    /// Takes a registration event; there is something to tell when the state is another one now.
    pub(crate) fn on_registration(
        &mut self,
        now: Instant,
        id: RegistrationId,
        event: &RegistrationEvent,
    ) -> Option<EventData> {
        let before = self.state();
        let trunk = self.config.name.clone();
        let (registration, data) = match *event {
            // A refresh that failed takes nothing away yet: the registrar keeps what it granted until it expires.
            RegistrationEvent::Failed { status: _, retry_in: Some(_) } if self.is_bound(now) => return None,
            RegistrationEvent::Registered { expires } => {
                (Registration::Up { id, until: now + expires }, EventData::TrunkUp { trunk })
            }
            RegistrationEvent::Failed { status, retry_in: Some(retry_in) } => {
                let what = status.map_or("no answer".to_owned(), |status| {
                    format!("{status} {}", sip_core::reason_phrase(status))
                });
                let registrar = self.registrar().map_or("", |registrar| registrar.host.as_str());
                let reason =
                    format!("{what} from registrar {registrar}; next try in {} s", retry_in.as_secs());
                (Registration::Down(id), EventData::TrunkDown { trunk, reason })
            }
            RegistrationEvent::Failed { status, retry_in: None } => {
                (Registration::Rejected(id), EventData::TrunkRejected { trunk, sip_status: status })
            }
            RegistrationEvent::Unregistered => {
                let reason = "unregistered by this node".to_owned();
                (Registration::Down(id), EventData::TrunkDown { trunk, reason })
            }
        };
        self.registration = registration;
        (self.state() != before).then_some(data)
    }

    /// Whether the registrar still has us.
    fn is_bound(&self, now: Instant) -> bool {
        match self.registration {
            Registration::Up { until, .. } => now < until,
            Registration::None
            | Registration::Registering(_)
            | Registration::Down(_)
            | Registration::Rejected(_) => false,
        }
    }

    /// Counts an outbound call that begins.
    pub(crate) fn enter(&mut self, now: Instant) {
        self.gate.enter(now);
        self.starts.count(now);
    }

    pub(crate) fn record(&mut self, outcome: Outcome) {
        if !outcome.is_telling() {
            return;
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(outcome);
    }

    /// The trunk as the API shows it.
    pub(crate) fn view(&self, now: Instant, clock: &Clock) -> control_api_types::Trunk {
        let state = self.state();
        control_api_types::Trunk {
            name: self.config.name.clone(),
            state,
            registered_until: match self.registration {
                Registration::Up { until, .. } => Some(Timestamp::from_unix_ms(clock.unix_ms(until))),
                Registration::None
                | Registration::Registering(_)
                | Registration::Down(_)
                | Registration::Rejected(_) => None,
            },
            calls: self.gate.calls(),
            cps: self.starts.per_second(now),
            asr: self.share(|outcome| outcome.disposition == Disposition::Answered),
            ner: self.share(Outcome::is_effective),
            pdd_ms: self.median_post_dial_delay_ms(),
            gateways: self
                .gateways
                .iter()
                .map(|gateway| control_api_types::Gateway {
                    uri: gateway.name.to_string(),
                    state: match state {
                        TrunkState::Up => GatewayState::Up,
                        TrunkState::Down | TrunkState::Rejected => GatewayState::Down,
                        TrunkState::Registering | TrunkState::Unmonitored => GatewayState::Unmonitored,
                    },
                    rtt_ms: None,
                })
                .collect(),
        }
    }

    fn share(&self, holds: impl Fn(Outcome) -> bool) -> Option<f32> {
        let held = self.recent.iter().filter(|&&outcome| holds(outcome)).count();
        (!self.recent.is_empty()).then(|| held as f32 / self.recent.len() as f32)
    }

    fn median_post_dial_delay_ms(&self) -> Option<u32> {
        let mut delays: Vec<_> = self.recent.iter().filter_map(|outcome| outcome.post_dial_delay).collect();
        if delays.is_empty() {
            return None;
        }
        let middle = delays.len() / 2;
        let (_, median, _) = delays.select_nth_unstable(middle);
        Some(u32::try_from(millis(*median)).unwrap_or(u32::MAX))
    }
}

/// Counts calls of this second and of the one before it.
#[derive(Debug, Default)]
struct Starts {
    window: Option<Instant>,
    this: u32,
    last: u32,
}

const SECOND: Duration = Duration::from_secs(1);

impl Starts {
    fn count(&mut self, now: Instant) {
        let elapsed = self.window.map(|start| now.saturating_duration_since(start));
        match elapsed {
            Some(elapsed) if elapsed < SECOND => {}
            Some(elapsed) if elapsed < 2 * SECOND => {
                self.window = self.window.map(|start| start + SECOND);
                self.last = self.this;
                self.this = 0;
            }
            Some(_) | None => *self = Self { window: Some(now), this: 0, last: 0 },
        }
        self.this += 1;
    }

    /// Calls of the last second, the older window weighted by its overlap.
    fn per_second(&self, now: Instant) -> f32 {
        let Some(start) = self.window else { return 0.0 };
        let into = now.saturating_duration_since(start).as_secs_f32();
        match into {
            into if into < 1.0 => self.this as f32 + self.last as f32 * (1.0 - into),
            into if into < 2.0 => self.this as f32 * (2.0 - into),
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use sip_core::Target;

    use super::*;

    fn origin() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of a test")]
        Instant::now()
    }

    fn trunk() -> Trunk {
        Trunk::new(TrunkConfig::new(
            "t",
            Target { host: "10.0.0.1".into(), port: Some(5080), transport: None, ..Target::default() },
        ))
        .unwrap()
    }

    #[test]
    fn one_change_per_new_state_and_calls_wait_for_the_first_answer() {
        let now = origin();
        let id = RegistrationId(1);
        let mut trunk = trunk();
        assert_eq!((trunk.state(), trunk.is_settled()), (TrunkState::Unmonitored, true));
        trunk.registering(id);
        assert_eq!((trunk.state(), trunk.is_settled()), (TrunkState::Registering, false));
        let up = RegistrationEvent::Registered { expires: Duration::from_secs(60) };
        let down = RegistrationEvent::Failed { status: Some(503), retry_in: Some(SECOND) };
        let rejected = RegistrationEvent::Failed { status: Some(403), retry_in: None };
        let told_up = EventData::TrunkUp { trunk: "t".into() };
        let reason = "503 Service Unavailable from registrar 10.0.0.1; next try in 1 s".into();
        let told_down = EventData::TrunkDown { trunk: "t".into(), reason };
        let told_rejected = EventData::TrunkRejected { trunk: "t".into(), sip_status: Some(403) };
        for (at_s, event, told) in [
            (0, &up, Some(&told_up)),
            (10, &up, None),
            // What was granted lasts until 70 s, whether refreshed or not.
            (69, &down, None),
            (70, &down, Some(&told_down)),
            (75, &down, None),
            (80, &up, Some(&told_up)),
            (90, &rejected, Some(&told_rejected)),
        ] {
            let told_now = trunk.on_registration(now + at_s * SECOND, id, event);
            assert_eq!(told_now.as_ref(), told, "at {at_s} s");
        }
        assert_eq!(trunk.refusal(), Some(Evidence::TrunkRejected));
    }

    #[test]
    fn ratios_over_recent_calls() {
        let now = origin();
        let clock = Clock::new(now, 0);
        let mut trunk = trunk();
        assert_eq!(trunk.view(now, &clock).asr, None);
        for (disposition, delay) in [
            (Disposition::Answered, Some(100)),
            (Disposition::Busy, Some(300)),
            (Disposition::Congestion, None),
            (Disposition::Canceled, None),
            (Disposition::NoAnswer, Some(200)),
        ] {
            trunk.record(Outcome { disposition, post_dial_delay: delay.map(Duration::from_millis) });
        }
        let view = trunk.view(now, &clock);
        assert_eq!((view.asr, view.ner, view.pdd_ms), (Some(0.25), Some(0.75), Some(200)));
        assert_eq!(view.gateways[0].uri, "sip:10.0.0.1:5080");
        for _ in 0..2 * RECENT {
            trunk.record(Outcome { disposition: Disposition::Congestion, post_dial_delay: None });
        }
        assert_eq!(trunk.recent.len(), RECENT);
        assert_eq!(trunk.view(now, &clock).ner, Some(0.0));
    }

    #[test]
    fn calls_of_the_last_second() {
        let t0 = origin();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut starts = Starts::default();
        for ms in 0..10 {
            starts.count(at(ms * 100));
        }
        assert_eq!(starts.per_second(at(999)), 10.0);
        assert_eq!(starts.per_second(at(1_500)), 5.0);
        starts.count(at(1_500));
        assert_eq!(starts.per_second(at(1_500)), 6.0);
        assert_eq!(starts.per_second(at(9_000)), 0.0);
    }
}
