//! Signing and verifying calls, and what may be asked of web servers: `[stir]`, `[http]`, and webhooks of routes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use control_api_types::{Attestation, Verify};
use engine_core::{OnError, Signing, StirConfig, Webhook};
use engine_runtime::HttpConfig;
use sip_stir::{Anchors, Settings, Signer};
use toml::Spanned;

use super::check::Checks;
use super::file;

/// How long a caller waits for a route's webhook, unless the route says otherwise.
const WEBHOOK_TIMEOUT_MS: u32 = 3_000;

pub(super) fn stir(stir: &file::Stir, http: &HttpConfig, folder: &Path, faults: &mut Checks) -> StirConfig {
    let verify = stir.verify.as_ref().and_then(|word| verify(word, faults)).unwrap_or(Verify::Off);
    let mut anchors = Anchors::default();
    for file in &stir.trust_anchors {
        match read(file, folder, faults) {
            Some(pem) if anchors.add(&pem).is_err() => {
                let path = file.get_ref().display();
                faults
                    .fault(file, format!("trust_anchors: {path}: there is no certificate in PEM form in it"));
            }
            Some(_) | None => {}
        }
    }
    let freshness = &stir.freshness_s;
    faults.require(freshness, (1..=600).contains(freshness.get_ref()), "freshness_s must be 1 to 600");
    let settings = Settings {
        anchors,
        freshness: Duration::from_secs(u64::from(*freshness.get_ref())),
        allow_http: http.allow_plain,
        ..Settings::default()
    };
    StirConfig { signing: signing(stir, folder, faults), verify, settings }
}

/// Whether nobody's signature could be believed.
pub(super) fn needs_anchors(stir: &file::Stir, at: Option<&Spanned<String>>, faults: &mut Checks) {
    if let Some(at) = at.filter(|at| *at.get_ref() != "off" && stir.trust_anchors.is_empty()) {
        faults.fault(at, "verify needs trust_anchors = [\"ca.pem\"] in [stir]: nobody is believed without");
    }
}

fn signing(stir: &file::Stir, folder: &Path, faults: &mut Checks) -> Option<Signing> {
    match (&stir.key, &stir.x5u, &stir.attest) {
        (None, None, None) => None,
        (Some(key), Some(x5u), Some(attest)) => {
            let pem = read(key, folder, faults);
            let attest = attestation(attest, faults);
            match Signer::new(&pem?, x5u.get_ref()) {
                Ok(signer) => Some(Signing { signer: Arc::new(signer), attest: attest? }),
                Err(error @ sip_stir::SignerError::Url) => {
                    faults.fault(x5u, error.to_string());
                    None
                }
                Err(error) => {
                    faults.fault(key, format!("key {}: {error}", key.get_ref().display()));
                    None
                }
            }
        }
        (key, x5u, attest) => {
            let spans = [key.as_ref().map(Spanned::span), x5u.as_ref().map(Spanned::span)];
            let span = spans.into_iter().flatten().next().or(attest.as_ref().map(Spanned::span));
            let reason =
                "calls are signed with key, x5u and attest = \"A\" | \"B\" | \"C\": all three or none";
            faults.fault(&Spanned::new(span.unwrap_or_default(), ()), reason);
            None
        }
    }
}

fn attestation(word: &Spanned<String>, faults: &mut Checks) -> Option<Attestation> {
    let found = Attestation::from_word(word.get_ref());
    if found.is_none() {
        faults.fault(word, format!("attest {:?}: there are {}", word.get_ref(), words(Attestation::ALL)));
    }
    found
}

fn verify(word: &Spanned<String>, faults: &mut Checks) -> Option<Verify> {
    let found = Verify::from_word(word.get_ref());
    if found.is_none() {
        faults.fault(word, format!("verify {:?}: there are {}", word.get_ref(), words(Verify::ALL)));
    }
    found
}

fn words<T: std::fmt::Display>(all: &[T]) -> String {
    all.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

pub(super) fn http(http: &file::Http, folder: &Path, faults: &mut Checks) -> HttpConfig {
    let networks = http.allow_private.iter();
    HttpConfig {
        allow_private: networks
            .filter_map(|network| faults.parse(network, "an address or a network such as 10.0.0.0/8"))
            .collect(),
        allow_plain: http.allow_plain,
        ca: http.ca_file.as_ref().and_then(|file| read(file, folder, faults)),
    }
}

/// Whether a URL may be asked for by its scheme; where it leads is known when it is asked.
pub(super) fn check_url(what: &str, url: &Spanned<String>, http: &HttpConfig, faults: &mut Checks) {
    let is_url = |scheme| url.get_ref().strip_prefix(scheme).is_some_and(|rest: &str| !rest.is_empty());
    if is_url("http://") && !http.allow_plain {
        faults.fault(url, format!("{what}: http:// needs allow_plain = true in [http]"));
    } else if !is_url("https://") && !is_url("http://") {
        faults.fault(url, format!("{what} {:?}: expected a URL such as https://host/path", url.get_ref()));
    }
}

pub(super) fn webhook(
    url: Spanned<String>,
    timeout_ms: Option<&Spanned<u32>>,
    on_error: Option<Spanned<file::OnError>>,
    http: &HttpConfig,
    faults: &mut Checks,
) -> Webhook {
    check_url("webhook", &url, http, faults);
    if let Some(ms) = timeout_ms {
        faults.require(ms, (100..=30_000).contains(ms.get_ref()), "timeout_ms must be 100 to 30000");
    }
    let timeout_ms = timeout_ms.map_or(WEBHOOK_TIMEOUT_MS, |ms| *ms.get_ref());
    let on_error = match on_error.as_ref().map(Spanned::get_ref) {
        None => OnError::Reject(480),
        Some(file::OnError::Flow(name)) => OnError::Flow(name.clone()),
        Some(&file::OnError::Reject(status)) => {
            if let Some(at) = on_error.as_ref().filter(|_| !(300..700).contains(&status)) {
                faults.fault(at, "on_error takes a SIP status from 300 to 699, or the name of a flow");
            }
            OnError::Reject(status)
        }
    };
    Webhook { url: url.into_inner(), timeout: Duration::from_millis(u64::from(timeout_ms)), on_error }
}

fn read(file: &Spanned<std::path::PathBuf>, folder: &Path, faults: &mut Checks) -> Option<Vec<u8>> {
    let path = folder.join(file.get_ref());
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            faults.fault(file, format!("{}: {error}", path.display()));
            None
        }
    }
}
