//! Every trunk, by an id that never changes and by its name.

use std::collections::BTreeMap;

use sip_core::RegistrationId;

use super::Trunk;
use crate::config::ConfigError;

/// One trunk for as long as it exists, whatever else comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TrunkId(pub(crate) u64);

/// The trunks, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Trunks {
    trunks: BTreeMap<TrunkId, Trunk>,
    names: BTreeMap<String, TrunkId>,
    registrations: BTreeMap<RegistrationId, TrunkId>,
    last: u64,
}

impl Trunks {
    pub(crate) fn add(&mut self, trunk: Trunk) -> Result<TrunkId, ConfigError> {
        let name = &trunk.config.name;
        if self.names.contains_key(name) {
            return Err(ConfigError::DuplicateTrunk { trunk: name.clone() });
        }
        self.last += 1;
        let id = TrunkId(self.last);
        self.names.insert(name.clone(), id);
        self.trunks.insert(id, trunk);
        Ok(id)
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

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Trunk> {
        self.trunks.values_mut()
    }

    pub(crate) fn registers(&mut self, trunk: TrunkId, registration: RegistrationId) {
        self.registrations.insert(registration, trunk);
        if let Some(trunk) = self.get_mut(trunk) {
            trunk.registering(registration);
        }
    }

    pub(crate) fn registrations(&self) -> impl Iterator<Item = RegistrationId> {
        self.registrations.keys().copied()
    }

    /// Whose registration it is.
    pub(crate) fn registered(&mut self, registration: RegistrationId) -> Option<&mut Trunk> {
        self.trunks.get_mut(self.registrations.get(&registration)?)
    }
}
