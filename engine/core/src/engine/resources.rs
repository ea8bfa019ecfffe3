//! Trunks as the API shows them, flows and prompts.

use super::*;

use crate::trunk::Trunk;
use speech_core::Voices;

impl Engine {
    /// Signs and verifies by these settings from now on. Calls whose certificate is being fetched are judged by them too.
    pub fn set_stir(&mut self, config: StirConfig) {
        self.identities.set(config);
    }

    /// Every trunk as the API shows it, in the order of the configuration.
    pub fn trunks(&self, now: Instant) -> impl Iterator<Item = control_api_types::Trunk> {
        self.trunks.iter().map(move |(_, trunk)| trunk.view(now, &self.clock))
    }

    /// Adds a trunk, or changes the one of this name; its calls go on. A trunk that its registrar has refused tries again;
    /// one that is not enabled takes no new calls and takes its registration back.
    pub fn put_trunk(&mut self, now: Instant, config: TrunkConfig) -> Result<(), ConfigError> {
        let result = self.trunks.put(now, config, &mut self.endpoint, &mut self.random);
        self.expectations_changed();
        self.settle(now);
        result
    }

    /// Whether [`put_trunk`](Self::put_trunk) would take it.
    pub fn check_trunk(&mut self, now: Instant, config: TrunkConfig) -> Result<(), ConfigError> {
        Trunk::new(now, config, &mut self.random).map(drop)
    }

    /// Forgets a trunk; its calls go on, those in the queue fail. Whether it was there.
    pub fn delete_trunk(&mut self, now: Instant, name: &str) -> bool {
        let found = self.trunks.remove(now, name, &mut self.endpoint);
        self.expectations_changed();
        self.settle(now);
        found
    }

    /// Replaces the rules for inbound calls.
    pub fn set_routes(&mut self, now: Instant, routes: Vec<Route>) {
        self.routes = routes;
        self.expectations_changed();
        self.settle(now);
    }

    // Flows and prompts.

    /// Keeps a flow under `name` as it was kept before, though something that it uses may have been deleted since.
    pub fn restore_flow(&mut self, name: &str, flow: Arc<Flow>) {
        self.flows.insert(name.to_owned(), flow);
    }

    /// Checks a flow and keeps it under `name`. Calls that run the version before go on with that.
    pub fn put_flow(&mut self, name: &str, flow: Arc<Flow>) -> Result<(), Vec<Fault>> {
        self.check_flow(&flow)?;
        self.flows.insert(name.to_owned(), flow);
        Ok(())
    }

    /// Whether the flow could be put.
    pub fn check_flow(&self, flow: &Flow) -> Result<(), Vec<Fault>> {
        let mut faults = Faults::default();
        flow::check(flow, "", &self.prompts, &self.queues, &mut faults);
        faults.into_result(Some(()))
    }

    /// Whether it was there.
    pub fn delete_flow(&mut self, name: &str) -> bool {
        self.flows.remove(name).is_some()
    }

    /// A stored flow.
    pub fn flow(&self, name: &str) -> Option<&Arc<Flow>> {
        self.flows.get(name)
    }

    /// Every stored flow by name.
    pub fn flows(&self) -> impl Iterator<Item = (&str, &Arc<Flow>)> {
        self.flows.iter().map(|(name, flow)| (name.as_str(), flow))
    }

    /// These voices are there from now on; what is asked of others from now on is refused.
    pub fn set_voices(&mut self, voices: Voices) {
        self.prompts.voices = voices;
    }

    /// Makes a prompt known by its id and name; the same audio may have several.
    pub fn put_prompt(&mut self, prompt: &Prompt) {
        self.prompts.put(prompt);
    }

    /// Forgets a prompt's name. Whether it was there; flows that use it go on without it.
    pub fn delete_prompt(&mut self, name: &str) -> bool {
        self.prompts.delete(name)
    }
}
