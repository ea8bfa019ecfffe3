//! Trunks: registration state, limits, and how well their calls fare.

mod gateway;
mod health;
mod registration;
mod set;
mod statistics;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use control_api_types::{EventData, GatewayState, RedirectTo, Timestamp, TrunkState};
use rand_core::Rng;
use sip_core::{
    Endpoint, Host, NameAddr, OutgoingId, Register, RegistrationEvent, RegistrationId, Scheme, Target, Uri,
};

use self::gateway::Gateway;
pub(crate) use self::gateway::GatewayName;
pub(crate) use self::health::Sign;
use self::health::{Due, Fitness};
use self::registration::Registration;
pub(crate) use self::set::{TrunkId, Trunks};
pub(crate) use self::statistics::Outcome;
use self::statistics::Statistics;
use crate::admission::Gate;
use crate::call::{Branch, BranchMedia, Group, Search};
use crate::clock::Clock;
use crate::config::{ConfigError, TrunkConfig};
use crate::dial::Called;
use crate::disposition::Evidence;

#[derive(Debug)]
pub(crate) struct Trunk {
    pub(crate) config: TrunkConfig,
    /// At least one.
    gateways: Vec<Gateway>,
    /// The host of our From.
    pub(crate) domain: Host,
    pub(crate) gate: Gate,
    registration: Registration,
    /// RFC 3608: the route for requests of the address of record, as the registrar gave it.
    service_route: Vec<NameAddr>,
    /// The state that was told last.
    told: TrunkState,
    /// How many calls have left the choice of a caller id to us.
    caller_ids_shown: usize,
    statistics: Statistics,
}

/// Why a call cannot go out at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoWay {
    pub(crate) evidence: Evidence,
    /// For the CDR.
    pub(crate) reason: &'static str,
}

impl Trunk {
    pub(crate) fn new(now: Instant, config: TrunkConfig, random: &mut impl Rng) -> Result<Self, ConfigError> {
        let gateways = config
            .gateways
            .iter()
            .map(|gateway| Gateway::new(now, gateway.clone(), &config, random))
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
            service_route: Vec::new(),
            told: TrunkState::Unmonitored,
            caller_ids_shown: 0,
            statistics: Statistics::default(),
            gateways,
            domain,
            config,
        })
    }

    /// The same trunk with other settings: what is known of its calls stays, and of gateways that it still has.
    pub(crate) fn change(
        &mut self,
        now: Instant,
        config: TrunkConfig,
        random: &mut impl Rng,
    ) -> Result<(), ConfigError> {
        let mut new = Self::new(now, config, random)?;
        let is_probed_alike = new.config.probing == self.config.probing;
        for gateway in &mut new.gateways {
            if let Some(old) = self.gateways.iter_mut().find(|old| old.name == gateway.name) {
                gateway.addresses.append(&mut old.addresses);
                if is_probed_alike {
                    std::mem::swap(&mut gateway.health, &mut old.health);
                }
            }
        }
        self.gate.set_capacity(new.config.capacity);
        (self.config, self.gateways, self.domain) = (new.config, new.gateways, new.domain);
        Ok(())
    }

    /// The caller id whose turn it is: one of the trunk's, or else its user.
    pub(crate) fn caller_id(&self) -> Option<String> {
        let ids = &self.config.caller_ids;
        let turn = match self.config.caller_ids_in_turn {
            true => self.caller_ids_shown % ids.len().max(1),
            false => 0,
        };
        let user = || self.config.credentials.as_ref().map(|credentials| credentials.username.to_string());
        ids.get(turn).cloned().or_else(user)
    }

    /// A call shows it: the next one's turn.
    pub(crate) fn caller_id_shown(&mut self) {
        self.caller_ids_shown = self.caller_ids_shown.wrapping_add(1);
    }

    /// Whether a registrar has, or may have, a binding of ours.
    pub(crate) fn is_registered(&self) -> bool {
        matches!(self.registration, Registration::Up { .. })
    }

    /// Whether its registrar has refused it for good.
    pub(crate) fn is_rejected(&self) -> bool {
        matches!(self.registration, Registration::Rejected { .. })
    }

    /// Takes back its registration: which one that was.
    pub(crate) fn leave_registrar(&mut self) -> Option<RegistrationId> {
        self.service_route.clear();
        std::mem::replace(&mut self.registration, Registration::None).id()
    }

    /// The registration that it asks for.
    pub(crate) fn register(&self) -> Option<Register> {
        if !self.config.enabled {
            return None;
        }
        let credentials = self.config.credentials.clone()?;
        let user = credentials.username.to_string();
        let proxy = self.config.outbound_proxy.as_ref();
        let aor = Uri::sip(Some(&user), &self.domain, None);
        Some(Register {
            route: self.proxy_route(),
            credentials: Some(credentials),
            expires: self.config.register?,
            contact_user: user,
            ..Register::new(proxy.or(self.registrar())?.clone(), aor)
        })
    }

    fn registrar(&self) -> Option<&Target> {
        let gateway = self.config.gateways.first().map(|gateway| &gateway.target);
        self.config.registrar.as_ref().or(gateway)
    }

    /// The ways to call somebody, in the order in which this call tries them. Gateways that are down are a last resort;
    /// those that asked to be left alone are left alone.
    pub(crate) fn ways(&self, called: &Called, random: &mut impl Rng) -> Result<Vec<Group>, NoWay> {
        if !self.config.enabled {
            return Err(NoWay { evidence: Evidence::TrunkRejected, reason: "Trunk Disabled" });
        }
        match self.registration {
            Registration::None | Registration::Registering(_) | Registration::Up { .. } => {}
            Registration::Down { .. } => {
                return Err(NoWay { evidence: Evidence::Network, reason: "Trunk Not Registered" });
            }
            Registration::Rejected { .. } => {
                return Err(NoWay { evidence: Evidence::TrunkRejected, reason: "Trunk Not Registered" });
            }
        }
        let fit = |wanted: Fitness| {
            self.gateways.iter().filter(|gateway| gateway.health.fitness() == wanted).collect::<Vec<_>>()
        };
        let mut gateways = fit(Fitness::Usable);
        if gateways.is_empty() {
            gateways = fit(Fitness::Doubtful);
        }
        if gateways.is_empty() {
            return Err(NoWay { evidence: Evidence::TrunkBusy, reason: "Trunk Asked To Wait" });
        }
        let way = |gateway: &Gateway| {
            let uri = match called {
                Called::Number(user) => gateway.uri(user),
                Called::Uri(uri) => uri.clone(),
            };
            let branch = Branch {
                to: NameAddr::new(uri.clone()),
                request_uri: uri,
                target: self.next_hop(&gateway.config.target),
                route: self.route(),
                credentials: self.config.credentials.clone(),
                gateway: Some(gateway.name.clone()),
                is_foreign: false,
                media: BranchMedia::Usual,
            };
            Group { branches: vec![branch], search: Search::Gateways }
        };
        Ok(gateway::order(gateways, random).into_iter().map(way).collect())
    }

    /// Who has this number, as the trunk wants it, for the gateway of that name or the first.
    pub(crate) fn uri(&self, number: &str, gateway: Option<&str>) -> Uri {
        let named = self.gateways.iter().find(|known| Some(&*known.name) == gateway);
        let gateway = named.or(self.gateways.first());
        gateway.map_or_else(|| Uri::sip(Some(number), &self.domain, None), |gateway| gateway.uri(number))
    }

    /// Where a call that was redirected to `uri` goes on, if it may: by the gateway of that host, or else by the one that
    /// has redirected it, or to the host itself where the trunk trusts whoever redirects.
    pub(crate) fn redirect(&self, from: &Branch, uri: &Uri) -> Option<Branch> {
        let host = uri.host().filter(|_| matches!(uri.scheme(), Scheme::Sip | Scheme::Sips))?;
        // A number that may not be dialled may not be redirected to: that is how calls to costly numbers are made.
        self.config.number_format.check_user(uri.user().unwrap_or_default()).ok()?;
        let to = Branch { request_uri: uri.clone(), ..from.clone() };
        let is_there = |gateway: &&Gateway| gateway.host == host && gateway.config.target.port == uri.port();
        if let Some(gateway) = self.gateways.iter().find(is_there) {
            // Also from a host that is not the trunk's own.
            let (route, credentials) = (self.route(), self.config.credentials.clone());
            let (target, gateway) = (self.next_hop(&gateway.config.target), Some(gateway.name.clone()));
            return Some(Branch { target, route, credentials, gateway, is_foreign: false, ..to });
        }
        match self.config.redirect_to {
            RedirectTo::Trunk => Some(to),
            RedirectTo::Anywhere => {
                let transport = uri.transport().ok()?;
                let target = Target {
                    host: host.to_string(),
                    port: uri.port(),
                    transport,
                    public_ip: self.config.public_ip,
                    ..Target::default()
                };
                let (route, credentials, gateway) = (Vec::new(), None, None);
                Some(Branch { target, route, credentials, gateway, is_foreign: true, ..to })
            }
        }
    }

    /// Where requests for `target` are sent.
    fn next_hop(&self, target: &Target) -> Target {
        if let Some(proxy) = &self.config.outbound_proxy {
            return proxy.clone();
        }
        // RFC 3261 §8.1.2: to the topmost Route; by the same listener and public address as otherwise.
        let route = self.service_route.first().map(NameAddr::uri);
        let host = route.and_then(|uri| Some((uri.host()?.to_string(), uri.port(), uri.transport().ok()?)));
        match host {
            Some((host, port, transport)) => Target { host, port, transport, ..target.clone() },
            None => target.clone(),
        }
    }

    /// The way of its requests: through the outbound proxy, and as the registrar wants it (RFC 3608 §5).
    fn route(&self) -> Vec<NameAddr> {
        let mut route = self.proxy_route();
        route.extend(self.service_route.iter().cloned());
        route
    }

    /// RFC 3261 §8.1.2: an outbound proxy is a "pre-existing route set containing a single URI".
    fn proxy_route(&self) -> Vec<NameAddr> {
        let Some(proxy) = &self.config.outbound_proxy else { return Vec::new() };
        let Ok(host) = proxy.host.parse() else { return Vec::new() };
        let uri = format!("{};lr", gateway::name(&host, proxy)).parse().ok();
        uri.into_iter().map(NameAddr::new).collect()
    }

    /// The gateways that are given by name.
    pub(crate) fn named_gateways(&self) -> impl Iterator<Item = &Target> {
        self.gateways
            .iter()
            .filter(|gateway| gateway.host.ip().is_none())
            .map(|gateway| &gateway.config.target)
    }

    pub(crate) fn registering(&mut self, id: RegistrationId) {
        self.registration = Registration::Registering(id);
    }

    /// Whether calls come from this address.
    pub(crate) fn sends_from(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.gateways.iter().any(|gateway| gateway.addresses.contains(&address))
    }

    /// Where its calls come from.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.gateways.iter().flat_map(|gateway| gateway.addresses.iter().copied())
    }

    /// Where a gateway that is given by name is.
    pub(crate) fn learn_addresses(&mut self, target: &Target, addresses: &BTreeSet<IpAddr>) {
        for gateway in self.gateways.iter_mut().filter(|gateway| gateway.config.target == *target) {
            gateway.addresses.clone_from(addresses);
        }
    }

    /// Whether its calls may begin (if only to fail at once), or wait for the first registration.
    pub(crate) fn is_settled(&self) -> bool {
        !matches!(self.registration, Registration::Registering(_))
    }

    /// Registration and gateways together.
    pub(crate) fn state(&self) -> TrunkState {
        if !self.config.enabled {
            return TrunkState::Disabled;
        }
        let registered = match self.registration {
            Registration::Registering(_) => return TrunkState::Registering,
            Registration::Down { .. } => return TrunkState::Down,
            Registration::Rejected { .. } => return TrunkState::Rejected,
            Registration::Up { .. } => true,
            Registration::None => false,
        };
        let is_any = |state| self.gateways.iter().any(|gateway| gateway.health.view() == state);
        match (is_any(GatewayState::Up), is_any(GatewayState::Unmonitored)) {
            (false, false) => TrunkState::Down,
            (true, _) => TrunkState::Up,
            (false, true) if registered => TrunkState::Up,
            (false, true) => TrunkState::Unmonitored,
        }
    }

    /// What there is to tell since it was asked last: the state, if it is another one now.
    pub(crate) fn news(&mut self) -> Option<EventData> {
        let state = self.state();
        let before = std::mem::replace(&mut self.told, state);
        if state == before {
            return None;
        }
        let trunk = self.config.name.clone();
        match state {
            TrunkState::Up => Some(EventData::TrunkUp { trunk }),
            // Used as configured is no news, unless it could not be used before.
            TrunkState::Unmonitored => match before {
                TrunkState::Down | TrunkState::Rejected | TrunkState::Disabled => {
                    Some(EventData::TrunkUp { trunk })
                }
                TrunkState::Up | TrunkState::Registering | TrunkState::Unmonitored => None,
            },
            TrunkState::Down => Some(EventData::TrunkDown { trunk, reason: self.why_down() }),
            TrunkState::Rejected => {
                let sip_status = match self.registration {
                    Registration::Rejected { status, .. } => status,
                    Registration::None
                    | Registration::Registering(_)
                    | Registration::Up { .. }
                    | Registration::Down { .. } => None,
                };
                Some(EventData::TrunkRejected { trunk, sip_status })
            }
            TrunkState::Disabled => Some(EventData::TrunkDown { trunk, reason: "disabled".to_owned() }),
            TrunkState::Registering => None,
        }
    }

    fn why_down(&self) -> String {
        if let Registration::Down { reason, .. } = &self.registration {
            return reason.clone();
        }
        let each =
            self.gateways.iter().map(|gateway| format!("{}: {}", gateway.name, gateway.health.reason()));
        each.collect::<Vec<_>>().join("; ")
    }

    /// Takes what happened to its registration.
    pub(crate) fn on_registration(&mut self, now: Instant, event: &RegistrationEvent) {
        let registrar = self.registrar().map(|registrar| registrar.host.clone()).unwrap_or_default();
        if let RegistrationEvent::Registered { service_route, .. } = event {
            self.service_route.clone_from(service_route);
        }
        self.registration.take(now, event, &registrar);
    }

    /// When [`Trunk::handle_timeout`] has something to do.
    fn due(&self) -> Option<Instant> {
        self.gateways.iter().filter_map(|gateway| gateway.health.due()).min()
    }

    /// Sends the probes that are due, and ends rests that are over.
    fn handle_timeout(&mut self, now: Instant, endpoint: &mut Endpoint, random: &mut impl Rng) {
        let probing = self.config.probing.as_ref();
        let route = self.route();
        for gateway in &mut self.gateways {
            match gateway.health.timeout(now, probing, random) {
                Due::Nothing => {}
                Due::GiveUp(id) => endpoint.abandon(id),
                Due::Probe => {
                    let Some(probing) = probing else { continue };
                    // Too many requests of ours are under way: the next one in its time.
                    let id = endpoint
                        .request(
                            now,
                            gateway.probe(&self.domain, self.config.outbound_proxy.as_ref(), &route),
                        )
                        .ok();
                    gateway.health.probe_sent(now, probing, id, random);
                }
            }
        }
    }

    fn awaits(&self, probe: OutgoingId) -> bool {
        self.gateways.iter().any(|gateway| gateway.health.awaits(probe))
    }

    fn probed(&mut self, now: Instant, probe: OutgoingId, sign: Sign, random: &mut impl Rng) {
        let probing = self.config.probing.as_ref();
        for gateway in self.gateways.iter_mut().filter(|gateway| gateway.health.awaits(probe)) {
            gateway.health.probed(now, probing, sign.clone(), random);
        }
    }

    /// Takes what a call has told of a gateway.
    pub(crate) fn sign(&mut self, now: Instant, gateway: &str, sign: Sign, random: &mut impl Rng) {
        let probing = self.config.probing.as_ref();
        if let Some(gateway) = self.gateways.iter_mut().find(|known| &*known.name == gateway) {
            gateway.health.sign(now, probing, sign, random);
        }
    }

    /// Counts an outbound call that begins.
    pub(crate) fn enter(&mut self, now: Instant) {
        self.gate.enter(now);
        self.statistics.begun(now);
    }

    /// Notes how an outbound call came out.
    pub(crate) fn record(&mut self, outcome: Outcome) {
        self.statistics.ended(outcome);
    }

    /// The trunk as the API shows it.
    pub(crate) fn view(&self, now: Instant, clock: &Clock) -> control_api_types::Trunk {
        let gateways = self.gateways.iter().map(|gateway| control_api_types::Gateway {
            uri: gateway.name.to_string(),
            state: gateway.health.view(),
            rtt_ms: gateway.health.rtt_ms(),
        });
        control_api_types::Trunk {
            name: self.config.name.clone(),
            state: self.state(),
            registered_until: self
                .registration
                .until()
                .map(|until| Timestamp::from_unix_ms(clock.unix_ms(until))),
            calls: self.gate.calls(),
            cps: self.statistics.cps(now),
            asr: self.statistics.asr(),
            ner: self.statistics.ner(),
            pdd_ms: self.statistics.median_post_dial_delay_ms(),
            gateways: gateways.collect(),
            origin: None,
            settings: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::config::GatewayConfig;

    const SECOND: Duration = Duration::from_secs(1);

    fn origin() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of a test")]
        Instant::now()
    }

    fn trunk(now: Instant) -> Trunk {
        let target = Target { host: "10.0.0.1".into(), port: Some(5080), ..Target::default() };
        Trunk::new(now, TrunkConfig::new("t", target), &mut ChaCha20Rng::seed_from_u64(1)).unwrap()
    }

    fn registered(expires: Duration) -> RegistrationEvent {
        RegistrationEvent::Registered { expires, service_route: Vec::new(), seen_at: None }
    }

    #[test]
    fn one_change_per_new_state_and_calls_wait_for_the_first_answer() {
        let now = origin();
        let id = RegistrationId(1);
        let mut trunk = trunk(now);
        assert_eq!((trunk.state(), trunk.is_settled()), (TrunkState::Unmonitored, true));
        trunk.registering(id);
        assert_eq!((trunk.state(), trunk.is_settled()), (TrunkState::Registering, false));
        let up = registered(Duration::from_secs(60));
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
            trunk.on_registration(now + at_s * SECOND, event);
            assert_eq!(trunk.news().as_ref(), told, "at {at_s} s");
        }
        let called = Called::Number("1".to_owned());
        let no_way = trunk.ways(&called, &mut ChaCha20Rng::seed_from_u64(1)).unwrap_err();
        assert_eq!(no_way.evidence, Evidence::TrunkRejected);
    }

    #[test]
    fn gateways_of_one_name_are_each_where_they_are() {
        let now = origin();
        let target = |port| Target { host: "gw.example".into(), port, ..Target::default() };
        let mut config = TrunkConfig::new("t", target(None));
        config.gateways.push(GatewayConfig { target: target(Some(5080)), priority: 0, weight: 1 });
        let mut trunk = Trunk::new(now, config, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        let address = |n| IpAddr::from([192, 0, 2, n]);
        trunk.learn_addresses(&target(None), &BTreeSet::from([address(1)]));
        trunk.learn_addresses(&target(Some(5080)), &BTreeSet::from([address(2)]));
        assert!(trunk.sends_from(address(1)) && trunk.sends_from(address(2)));
        trunk.learn_addresses(&target(None), &BTreeSet::from([address(3)]));
        assert!(!trunk.sends_from(address(1)) && trunk.sends_from(address(2)));
    }

    #[test]
    fn requests_take_the_service_route_of_the_registrar() {
        let now = origin();
        let mut trunk = trunk(now);
        let way = |trunk: &Trunk| {
            let called = Called::Number("1".to_owned());
            let branch =
                trunk.ways(&called, &mut ChaCha20Rng::seed_from_u64(1)).unwrap().remove(0).branches.remove(0);
            let route: Vec<_> = branch.route.iter().map(ToString::to_string).collect();
            (branch.target.host, branch.target.port, route)
        };
        assert_eq!(way(&trunk), ("10.0.0.1".to_owned(), Some(5080), vec![]));
        trunk.registering(RegistrationId(1));
        let routes = ["<sip:edge.example.com:5070;lr>", "<sip:core.example.com;lr>"];
        let service_route = routes.iter().map(|route| route.parse().unwrap()).collect();
        let expires = Duration::from_secs(60);
        trunk.on_registration(now, &RegistrationEvent::Registered { expires, service_route, seen_at: None });
        let routes = routes.map(str::to_owned);
        assert_eq!(way(&trunk), ("edge.example.com".to_owned(), Some(5070), routes.to_vec()));
        // Through an outbound proxy: that comes first, and is where requests are sent.
        trunk.config.outbound_proxy = Some(Target { host: "10.0.0.9".into(), ..Target::default() });
        let through = [&["<sip:10.0.0.9;lr>".to_owned()], &routes[..]].concat();
        assert_eq!(way(&trunk), ("10.0.0.9".to_owned(), None, through));
        trunk.config.outbound_proxy = None;
        trunk.on_registration(now, &registered(expires));
        assert_eq!(way(&trunk).2, [""; 0]);
    }
}
