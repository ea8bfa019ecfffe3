//! How events are posted to web servers: `[webhooks]`.

use std::path::Path;
use std::time::Duration;

use control_api_types::Secret;
use control_api_types::webhook::secret_bytes;
use engine_runtime::WebhookConfig;
use toml::Spanned;

use super::check::Checks;
use super::file;

/// Most pauses in `retry_s`: with the last they reach beyond the day after which an event is given up anyway.
const MAX_RETRIES: usize = 20;

pub(super) fn webhooks(webhooks: &file::Webhooks, folder: &Path, faults: &mut Checks) -> WebhookConfig {
    let defaults = WebhookConfig::default();
    let mut number = |value: &Option<Spanned<u32>>, range: std::ops::RangeInclusive<u32>, name: &str| {
        let value = value.as_ref()?;
        let reason = format!("{name} must be {} to {}", range.start(), range.end());
        faults.require(value, range.contains(value.get_ref()), &reason);
        Some(*value.get_ref())
    };
    let timeout = number(&webhooks.timeout_s, 1..=60, "timeout_s");
    let max_pending = number(&webhooks.max_pending, 10..=10_000_000, "max_pending");
    let max_pending_mb = number(&webhooks.max_pending_mb, 1..=16_384, "max_pending_mb");
    let retries = webhooks.retry_s.as_ref().map(|listed| {
        let pauses = listed.get_ref();
        let is_right = (1..=MAX_RETRIES).contains(&pauses.len())
            && pauses.iter().all(|pause| (1..=86_400).contains(pause.get_ref()));
        faults.require(listed, is_right, "retry_s takes 1 to 20 pauses of 1 to 86400 seconds");
        pauses.iter().map(|pause| Duration::from_secs(u64::from(*pause.get_ref()))).collect()
    });
    WebhookConfig {
        secret: secret(webhooks, folder, faults),
        timeout: timeout.map_or(defaults.timeout, |seconds| Duration::from_secs(u64::from(seconds))),
        retries: retries.unwrap_or(defaults.retries),
        max_pending: max_pending.map_or(defaults.max_pending, |most| most as usize),
        max_pending_bytes: max_pending_mb.map_or(defaults.max_pending_bytes, |most| (most as usize) << 20),
        give_up: defaults.give_up,
    }
}

/// What is wrong with it is told without it.
fn secret(webhooks: &file::Webhooks, folder: &Path, faults: &mut Checks) -> Option<Secret> {
    let rule = "must be whsec_ and 24 to 64 bytes in base64";
    match (&webhooks.secret, &webhooks.secret_file) {
        (None, None) => None,
        (Some(secret), None) => {
            faults.require(secret, secret_bytes(secret.get_ref()).is_some(), &format!("secret {rule}"));
            Some(Secret(secret.get_ref().clone()))
        }
        (None, Some(file)) => {
            let path = folder.join(file.get_ref());
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text.trim_end_matches(['\r', '\n']).to_owned(),
                Err(error) => {
                    faults.fault(file, format!("secret_file {}: {error}", path.display()));
                    return None;
                }
            };
            let is_right = secret_bytes(&text).is_some();
            faults.require(file, is_right, &format!("secret_file {}: {rule}", path.display()));
            Some(Secret(text))
        }
        (Some(_), Some(file)) => {
            faults.fault(file, "secret and secret_file exclude each other");
            None
        }
    }
}
