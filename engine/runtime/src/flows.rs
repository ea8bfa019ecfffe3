//! Stored flows: documents by name, with a version that counts their changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use control_api_types::flow::Flow;
use control_api_types::{FlowResource, FlowSummary, Timestamp};
use parking_lot::RwLock;

use crate::journal::{Journal, JournalError, StoredFlow, from_json};

/// Every flow of this node; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct FlowStore {
    journal: Journal,
    by_name: Arc<RwLock<BTreeMap<String, FlowResource>>>,
    /// Changes one at a time, so that engine, journal and map agree.
    pub(crate) changing: Arc<tokio::sync::Mutex<()>>,
}

impl FlowStore {
    /// Loads what the journal has. A document that this version refuses is left out and logged.
    pub(crate) fn open(journal: Journal) -> Result<FlowStore, JournalError> {
        let mut by_name = BTreeMap::new();
        for stored in journal.flows()? {
            let document = from_json(&stored.name, &stored.json)?;
            match Flow::from_json(&document) {
                Ok(flow) => {
                    let resource = FlowResource {
                        name: stored.name.clone(),
                        version: stored.version,
                        updated_at: Timestamp::from_unix_ms(stored.updated_at_ms),
                        flow: Arc::new(flow),
                    };
                    by_name.insert(stored.name, resource);
                }
                Err(faults) => {
                    tracing::error!(flow = stored.name, ?faults, "stored flow refused: put it again")
                }
            }
        }
        Ok(FlowStore { journal, by_name: Arc::new(RwLock::new(by_name)), changing: Arc::default() })
    }

    pub(crate) fn find(&self, name: &str) -> Option<FlowResource> {
        self.by_name.read().get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<FlowResource> {
        self.by_name.read().values().cloned().collect()
    }

    pub(crate) fn list(&self) -> Vec<FlowSummary> {
        let summary = |flow: &FlowResource| FlowSummary {
            name: flow.name.clone(),
            version: flow.version,
            updated_at: flow.updated_at,
            steps: u32::try_from(flow.flow.steps.len()).unwrap_or(u32::MAX),
        };
        self.by_name.read().values().map(summary).collect()
    }

    /// Keeps a flow that the engine has taken. The caller holds [`Self::changing`].
    pub(crate) async fn put(
        &self,
        name: &str,
        flow: Arc<Flow>,
        now: Timestamp,
    ) -> Result<FlowResource, JournalError> {
        let version = self.find(name).map_or(1, |old| old.version + 1);
        let json = serde_json::to_string(&*flow)
            .map_err(|source| JournalError::Record { key: name.to_owned(), source })?;
        let stored = StoredFlow { name: name.to_owned(), version, updated_at_ms: now.unix_ms(), json };
        self.journal.put_flow(stored).await?;
        let resource = FlowResource { name: name.to_owned(), version, updated_at: now, flow };
        self.by_name.write().insert(name.to_owned(), resource.clone());
        Ok(resource)
    }

    /// Forgets a flow. The caller holds [`Self::changing`].
    pub(crate) async fn delete(&self, name: &str) -> Result<(), JournalError> {
        self.journal.delete_flow(name.to_owned()).await?;
        self.by_name.write().remove(name);
        Ok(())
    }
}
