//! `[speech]`: who speaks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine_runtime::speech_core::Voice;
use engine_runtime::{HttpConfig, OpenaiConfig, SpeechConfig, Synthesiser, VoiceConfig};
use toml::Spanned;

use super::check::Checks;
use super::{file, stir};

/// Most texts made at a time: each is a process.
const MAX_WORKERS: u32 = 64;

pub(super) fn speech(
    speech: &file::Speech,
    http: &HttpConfig,
    folder: &Path,
    faults: &mut Checks,
) -> SpeechConfig {
    let file::Speech { espeak, workers, queue, timeout_s, cache_mb, voices } = speech;
    faults.require(workers, (1..=MAX_WORKERS).contains(workers.get_ref()), "workers must be 1 to 64");
    faults.require(queue, (1..=10_000).contains(queue.get_ref()), "queue must be 1 to 10000");
    faults.require(timeout_s, (1..=60).contains(timeout_s.get_ref()), "timeout_s must be 1 to 60");
    SpeechConfig {
        espeak: Some(espeak).filter(|program| !program.as_os_str().is_empty()).cloned(),
        workers: *workers.get_ref() as usize,
        queue: *queue.get_ref() as usize,
        timeout: Duration::from_secs(u64::from(*timeout_s.get_ref())),
        cache_bytes: u64::from(*cache_mb) << 20,
        voices: voices.iter().flat_map(|its| voice(its, espeak, http, folder, faults)).collect(),
    }
}

/// One voice in each of its languages.
fn voice(
    voice: &file::Voice,
    espeak: &Path,
    http: &HttpConfig,
    folder: &Path,
    faults: &mut Checks,
) -> Vec<VoiceConfig> {
    let file::Voice { name, languages, url, model, voice, key_file } = voice;
    let is_name = |name: &str| {
        (1..=64).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+'))
    };
    let rule = "a voice's name is 1 to 64 letters, digits, _, -, . and +, the first a letter or digit";
    faults.require(name, is_name(name.get_ref()), rule);
    faults.require(
        languages,
        !languages.get_ref().is_empty(),
        "languages names at least one, such as \"en\"",
    );
    for language in languages.get_ref() {
        let is_tag = |tag: &str| {
            (2..=35).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        faults.require(
            language,
            is_tag(language.get_ref()),
            "a language is a tag such as \"en\" or \"en-gb\"",
        );
    }
    let synthesiser = match url {
        None => {
            for (at, key) in [
                (model.as_ref().map(Spanned::span), "model"),
                (key_file.as_ref().map(Spanned::span), "key_file"),
            ] {
                if let Some(span) = at {
                    let reason = format!("{key} needs url, the server that it is for");
                    faults.0.push(super::fault::SpanFault { span, reason });
                }
            }
            if espeak.as_os_str().is_empty() {
                faults.fault(
                    name,
                    "a voice without url is one of espeak-ng, and espeak = \"\" leaves that out",
                );
            }
            // It is an argument of a program.
            if let Some(voice) = voice {
                faults.require(voice, is_name(voice.get_ref()), rule);
            }
            Synthesiser::Espeak(voice.as_ref().unwrap_or(name).get_ref().clone())
        }
        Some(url) => {
            stir::check_url("url", url, http, faults);
            let key = key_file.as_ref().and_then(|file| {
                let path = folder.join(file.get_ref());
                match std::fs::read_to_string(&path) {
                    Ok(key) => Some(key.trim().to_owned()),
                    Err(error) => {
                        faults.fault(file, format!("key_file {}: {error}", path.display()));
                        None
                    }
                }
            });
            Synthesiser::Openai(Arc::new(OpenaiConfig {
                base: url.get_ref().clone(),
                model: model.as_ref().map_or("tts-1", |model| model.get_ref()).to_owned(),
                voice: voice.as_ref().unwrap_or(name).get_ref().clone(),
                key,
            }))
        }
    };
    let of = |language: &Spanned<String>| VoiceConfig {
        voice: Voice {
            name: name.get_ref().as_str().into(),
            language: language.get_ref().to_ascii_lowercase().into(),
        },
        synthesiser: synthesiser.clone(),
    };
    languages.get_ref().iter().map(of).collect()
}
