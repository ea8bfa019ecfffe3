//! Every trunk, by an id that never changes and by its name.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use control_api_types::EventData;
use rand_core::Rng;
use sip_core::{Endpoint, OutgoingId, RegistrationEvent, RegistrationId, Target, WatchId};

use super::{Sign, Trunk};
use crate::config::{ConfigError, TrunkConfig};

/// One trunk for as long as it exists, whatever else comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TrunkId(pub(crate) u64);

/// The trunks, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Trunks {
    trunks: BTreeMap<TrunkId, Trunk>,
    names: BTreeMap<String, TrunkId>,
    registrations: BTreeMap<RegistrationId, TrunkId>,
    /// The gateways that are kept located, and whose they are.
    watches: BTreeMap<WatchId, (TrunkId, Target)>,
    last: u64,
    /// When each trunk wants to be woken, in order, and the same by trunk.
    due: BTreeSet<(Instant, TrunkId)>,
    noted: BTreeMap<TrunkId, Instant>,
    news: VecDeque<EventData>,
}

impl Trunks {
    /// Adds a trunk, or changes the one of this name, and registers it anew where that is needed.
    pub(crate) fn put(
        &mut self,
        now: Instant,
        config: TrunkConfig,
        endpoint: &mut Endpoint,
        random: &mut impl Rng,
    ) -> Result<(), ConfigError> {
        let id = match self.find(&config.name) {
            Some(id) => {
                let Some(trunk) = self.trunks.get_mut(&id) else { return Ok(()) };
                // What was refused for good is tried again even as it was: the carrier may have mended it.
                if trunk.config == config && !trunk.is_rejected() {
                    return Ok(());
                }
                let before = trunk.register();
                trunk.change(now, config, random)?;
                self.watch(id, endpoint);
                let Some(trunk) = self.trunks.get(&id) else { return Ok(()) };
                if trunk.register() == before && !trunk.is_rejected() {
                    self.with(id, |_| {});
                    return Ok(());
                }
                self.leave_registrar(now, id, endpoint);
                id
            }
            None => {
                self.last += 1;
                let id = TrunkId(self.last);
                let trunk = Trunk::new(now, config, random)?;
                self.names.insert(trunk.config.name.clone(), id);
                self.trunks.insert(id, trunk);
                self.watch(id, endpoint);
                id
            }
        };
        self.register(now, id, endpoint);
        Ok(())
    }

    /// Forgets a trunk. Its calls go on.
    pub(crate) fn remove(&mut self, now: Instant, name: &str, endpoint: &mut Endpoint) -> bool {
        let Some(id) = self.names.remove(name) else { return false };
        self.leave_registrar(now, id, endpoint);
        self.trunks.remove(&id);
        self.watch(id, endpoint);
        self.with(id, |_| {});
        true
    }

    fn register(&mut self, now: Instant, id: TrunkId, endpoint: &mut Endpoint) {
        let asks = self.trunks.get(&id).and_then(Trunk::register);
        let registration = asks.map(|register| endpoint.register(now, register));
        self.registrations.extend(registration.map(|registration| (registration, id)));
        self.with(id, |trunk| {
            if let Some(registration) = registration {
                trunk.registering(registration);
            }
        });
    }

    /// Has the gateways that are given by name located from now on: calls come from there before any goes there.
    fn watch(&mut self, id: TrunkId, endpoint: &mut Endpoint) {
        for watch in self.watches.extract_if(.., |_, (of, _)| *of == id).map(|(watch, _)| watch) {
            endpoint.unwatch(watch);
        }
        for target in self.trunks.get(&id).into_iter().flat_map(Trunk::named_gateways) {
            self.watches.insert(endpoint.watch(target.clone()), (id, target.clone()));
        }
    }

    /// A gateway is located, or has moved.
    pub(crate) fn located(&mut self, watch: WatchId, addresses: &BTreeSet<IpAddr>) {
        let Some((id, target)) = self.watches.get(&watch) else { return };
        if let Some(trunk) = self.trunks.get_mut(id) {
            trunk.learn_addresses(target, addresses);
        }
    }

    fn leave_registrar(&mut self, now: Instant, id: TrunkId, endpoint: &mut Endpoint) {
        if let Some(registration) = self.trunks.get_mut(&id).and_then(Trunk::leave_registrar) {
            self.registrations.remove(&registration);
            // Unknown only if it is over, which is what we want.
            let _ = endpoint.unregister(now, registration);
        }
    }

    /// The trunk of this name.
    pub(crate) fn find(&self, name: &str) -> Option<TrunkId> {
        self.names.get(name).copied()
    }

    pub(crate) fn get(&self, id: TrunkId) -> Option<&Trunk> {
        self.trunks.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: TrunkId) -> Option<&mut Trunk> {
        self.trunks.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TrunkId, &Trunk)> {
        self.trunks.iter().map(|(&id, trunk)| (id, trunk))
    }

    // What happens to them.

    pub(crate) fn registrations(&self) -> impl Iterator<Item = RegistrationId> {
        self.registrations.keys().copied()
    }

    /// Something happened to a registration.
    pub(crate) fn on_registration(
        &mut self,
        now: Instant,
        registration: RegistrationId,
        event: &RegistrationEvent,
    ) {
        let Some(&id) = self.registrations.get(&registration) else { return };
        self.with(id, |trunk| trunk.on_registration(now, event));
    }

    /// A call tells something of a gateway.
    pub(crate) fn sign(
        &mut self,
        now: Instant,
        id: TrunkId,
        gateway: &str,
        sign: Sign,
        random: &mut impl Rng,
    ) {
        self.with(id, |trunk| trunk.sign(now, gateway, sign, random));
    }

    /// When [`Trunks::handle_timeout`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Sends the probes that are due, and ends rests that are over.
    pub(crate) fn handle_timeout(&mut self, now: Instant, endpoint: &mut Endpoint, random: &mut impl Rng) {
        let due: Vec<_> = self.due.iter().take_while(|(at, _)| *at <= now).map(|&(_, trunk)| trunk).collect();
        for id in due {
            self.with(id, |trunk| trunk.handle_timeout(now, endpoint, random));
        }
    }

    /// A probe has an outcome.
    pub(crate) fn probed(&mut self, now: Instant, probe: OutgoingId, sign: Sign, random: &mut impl Rng) {
        let of = self.trunks.iter().find(|(_, trunk)| trunk.awaits(probe)).map(|(&id, _)| id);
        if let Some(id) = of {
            self.with(id, |trunk| trunk.probed(now, probe, sign, random));
        }
    }

    /// What is new about trunks.
    pub(crate) fn poll_news(&mut self) -> Option<EventData> {
        self.news.pop_front()
    }

    fn with(&mut self, id: TrunkId, act: impl FnOnce(&mut Trunk)) {
        if let Some(trunk) = self.trunks.get_mut(&id) {
            act(trunk);
            self.news.extend(trunk.news());
        }
        // Every response of every call comes by here: only this trunk is looked at.
        let due = self.trunks.get(&id).and_then(Trunk::due);
        let before = match due {
            Some(at) => self.noted.insert(id, at),
            None => self.noted.remove(&id),
        };
        if before != due {
            self.due.extend(due.map(|at| (at, id)));
            if let Some(before) = before {
                self.due.remove(&(before, id));
            }
        }
    }
}
