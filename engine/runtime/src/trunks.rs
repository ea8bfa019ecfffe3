//! Trunks of this node: those of the configuration file, and those that the API made, which the journal keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control_api_types::{Fault, Trunk, TrunkOrigin, TrunkSettings};
use engine_core::{StirConfig, TrunkConfig};
use parking_lot::RwLock;
use sip_core::Transport;

use crate::config::Reload;
use crate::journal::{Journal, JournalError, StoredTrunk, from_json};

/// Every trunk of this node; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct TrunkStore {
    journal: Journal,
    known: Arc<RwLock<Known>>,
    /// Transports that there are listeners of.
    served: Arc<[Transport]>,
    /// What calls are signed with and whose signatures are believed.
    stir: Arc<RwLock<StirConfig>>,
    /// Changes one at a time, so that engine, journal and map agree.
    pub(crate) changing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Known {
    trunks: BTreeMap<String, (TrunkOrigin, TrunkSettings)>,
    /// Names of trunks that take no new calls; also of such as are not there.
    disabled: BTreeSet<String>,
}

impl TrunkStore {
    /// Joins the trunks of the file with those that the journal has. A name that both have is the file's.
    pub(crate) fn open(
        journal: Journal,
        file: Vec<TrunkSettings>,
        served: Arc<[Transport]>,
        stir: StirConfig,
    ) -> Result<TrunkStore, JournalError> {
        let mut known = Known::default();
        for settings in file {
            known.trunks.insert(settings.name.clone(), (TrunkOrigin::File, settings));
        }
        for StoredTrunk { name, json, disabled } in journal.trunks()? {
            if disabled {
                known.disabled.insert(name.clone());
            }
            let Some(json) = json else { continue };
            if known.trunks.contains_key(&name) {
                tracing::warn!(
                    trunk = name,
                    "made by the API and configured in the file: the file's settings count"
                );
                continue;
            }
            match TrunkSettings::from_json(&from_json(&name, &json)?) {
                Ok(settings) => drop(known.trunks.insert(name, (TrunkOrigin::Api, settings))),
                Err(faults) => tracing::error!(trunk = name, ?faults, "stored trunk refused: put it again"),
            }
        }
        Ok(TrunkStore {
            journal,
            known: Arc::new(RwLock::new(known)),
            served,
            stir: Arc::new(RwLock::new(stir)),
            changing: Arc::default(),
        })
    }

    /// What the engine is to run.
    pub(crate) fn configs(&self) -> Vec<Result<TrunkConfig, (String, Vec<Fault>)>> {
        let known = self.known.read();
        let config = |(_, settings): &(TrunkOrigin, TrunkSettings)| {
            self.config_of(&known, settings).map_err(|faults| (settings.name.clone(), faults))
        };
        known.trunks.values().map(config).collect()
    }

    /// The settings of a trunk that is there already, whatever has become of `[stir]` since: it can always be disabled.
    pub(crate) fn config_as_it_is(&self, settings: &TrunkSettings) -> Result<TrunkConfig, Vec<Fault>> {
        self.config_of(&self.known.read(), settings)
    }

    /// The settings as the engine takes them.
    pub(crate) fn config(&self, settings: &TrunkSettings) -> Result<TrunkConfig, Vec<Fault>> {
        let config = self.config_as_it_is(settings)?;
        let lacks = self.stir.read().lacks(&config);
        if lacks.is_empty() { Ok(config) } else { Err(lacks) }
    }

    /// The trunks of a file that is to be taken, where those that the API has made can go on beside it.
    pub(crate) fn configs_of(&self, reload: &Reload) -> Result<Vec<TrunkConfig>, Vec<Fault>> {
        let known = self.known.read();
        let mut faults = Vec::new();
        let mut check = |settings: &TrunkSettings| {
            let checked = self.config_of(&known, settings).and_then(|config| {
                let lacks = reload.stir.lacks(&config);
                if lacks.is_empty() { Ok(config) } else { Err(lacks) }
            });
            let about = |Fault { pointer, detail }| Fault {
                pointer: format!("trunks/{}{pointer}", settings.name),
                detail,
            };
            checked.map_err(|found| faults.extend(found.into_iter().map(about))).ok()
        };
        let configs: Vec<_> = reload.trunks.iter().filter_map(&mut check).collect();
        let stay = known.trunks.values().filter(|(origin, settings)| {
            *origin == TrunkOrigin::Api && reload.trunks.iter().all(|trunk| trunk.name != settings.name)
        });
        stay.for_each(|(_, settings)| drop(check(settings)));
        if faults.is_empty() { Ok(configs) } else { Err(faults) }
    }

    /// What trunks may want of STIR from now on.
    pub(crate) fn set_stir(&self, stir: StirConfig) {
        *self.stir.write() = stir;
    }

    fn config_of(&self, known: &Known, settings: &TrunkSettings) -> Result<TrunkConfig, Vec<Fault>> {
        let enabled = !known.disabled.contains(&settings.name);
        Ok(TrunkConfig { enabled, ..TrunkConfig::from_settings(settings, &self.served)? })
    }

    pub(crate) fn find(&self, name: &str) -> Option<(TrunkOrigin, TrunkSettings)> {
        self.known.read().trunks.get(name).cloned()
    }

    /// Names of the trunks that the file had when it was read last.
    pub(crate) fn names_of_file(&self) -> BTreeSet<String> {
        let known = self.known.read();
        let of_file = known.trunks.iter().filter(|(_, (origin, _))| *origin == TrunkOrigin::File);
        of_file.map(|(name, _)| name.clone()).collect()
    }

    /// The trunk with what the engine does not know of it.
    pub(crate) fn complete(&self, trunk: Trunk) -> Trunk {
        match self.find(&trunk.name) {
            Some((origin, settings)) => {
                Trunk { origin: Some(origin), settings: serde_json::to_value(settings).ok(), ..trunk }
            }
            None => trunk,
        }
    }

    // Changes: the caller holds `changing`, and the engine has agreed to take them.

    /// Keeps what the API made, or changed: a trunk of the file only until the file is read again.
    pub(crate) async fn put(&self, settings: TrunkSettings) -> Result<(), JournalError> {
        let name = settings.name.clone();
        let origin = self.find(&name).map_or(TrunkOrigin::Api, |(origin, _)| origin);
        if origin == TrunkOrigin::Api {
            self.store(&name, Some(&settings)).await?;
        }
        self.known.write().trunks.insert(name, (origin, settings));
        Ok(())
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), JournalError> {
        self.journal.delete_trunk(name.to_owned()).await?;
        let mut known = self.known.write();
        known.trunks.remove(name);
        known.disabled.remove(name);
        Ok(())
    }

    pub(crate) async fn enable(&self, name: &str, on: bool) -> Result<(), JournalError> {
        match on {
            true => self.known.write().disabled.remove(name),
            false => self.known.write().disabled.insert(name.to_owned()),
        };
        let made = self.find(name).filter(|(origin, _)| *origin == TrunkOrigin::Api);
        self.store(name, made.as_ref().map(|(_, settings)| settings)).await
    }

    /// The file was read again.
    pub(crate) async fn put_file(&self, trunks: Vec<TrunkSettings>) -> Result<(), JournalError> {
        let mut replaced = Vec::new();
        {
            let mut known = self.known.write();
            known.trunks.retain(|_, (origin, _)| *origin == TrunkOrigin::Api);
            for settings in trunks {
                let name = settings.name.clone();
                if known.trunks.insert(name.clone(), (TrunkOrigin::File, settings)).is_some() {
                    replaced.push(name);
                }
            }
        }
        for name in replaced {
            tracing::warn!(
                trunk = name,
                "made by the API and now configured in the file: the file's settings count"
            );
            self.store(&name, None).await?;
        }
        Ok(())
    }

    async fn store(&self, name: &str, settings: Option<&TrunkSettings>) -> Result<(), JournalError> {
        let json = settings.map(|settings| settings.to_json_with_password().to_string());
        let disabled = self.known.read().disabled.contains(name);
        self.journal.put_trunk(StoredTrunk { name: name.to_owned(), json, disabled }).await
    }
}
