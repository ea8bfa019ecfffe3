//! The prompts that may be played: ids and names, without their audio.

use std::collections::BTreeMap;
use std::sync::Arc;

use control_api_types::Prompt;

/// The id of an uploaded prompt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromptId(pub Arc<str>);

/// Prompts by id and by name.
#[derive(Debug, Default)]
pub(crate) struct Prompts {
    names: BTreeMap<PromptId, String>,
    ids: BTreeMap<String, PromptId>,
}

impl Prompts {
    /// Adds a prompt, or gives a known one its new name.
    pub(crate) fn put(&mut self, prompt: &Prompt) {
        let id = PromptId(prompt.id.as_str().into());
        if let Some(old) = self.names.insert(id.clone(), prompt.name.clone()) {
            self.ids.remove(&old);
        }
        self.ids.insert(prompt.name.clone(), id);
    }

    /// Whether it was there.
    pub(crate) fn delete(&mut self, id: &str) -> bool {
        match self.names.remove(&PromptId(id.into())) {
            Some(name) => self.ids.remove(&name).is_some(),
            None => false,
        }
    }

    /// The prompt that a request or a step means: by name, else by id.
    pub(crate) fn find(&self, name_or_id: &str) -> Option<PromptId> {
        if let Some(id) = self.ids.get(name_or_id) {
            return Some(id.clone());
        }
        let id = PromptId(name_or_id.into());
        self.names.contains_key(&id).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(id: &str, name: &str) -> Prompt {
        serde_json::from_value(serde_json::json!({
            "id": id, "name": name, "duration_ms": 1, "sha256": "", "size_bytes": 1, "sample_rate_hz": 8000,
            "channels": 1, "created_at": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    #[test]
    fn found_by_name_and_id_until_deleted() {
        let mut prompts = Prompts::default();
        prompts.put(&prompt("p1", "welcome"));
        prompts.put(&prompt("p1", "greeting"));
        let id = PromptId("p1".into());
        assert_eq!(prompts.find("greeting"), Some(id.clone()));
        assert_eq!(prompts.find("p1"), Some(id));
        assert_eq!(prompts.find("welcome"), None);
        assert!(prompts.delete("p1"));
        assert!(!prompts.delete("p1"));
        assert_eq!(prompts.find("greeting"), None);
    }
}
