//! From the file to what the shells take; every value that is well-formed but wrong is reported where it stands.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control_api_types::{Limits, TrunkSettings};
use engine_core::{RegistrarConfig, Route, RouteAction, RouteMatch};
use engine_runtime::{HepConfig, HepSecret, HttpConfig, SoundConfig, TraceConfig};
use media_core::{Codec, RtpTimeout};
use sip_core::Network;
use sip_core::guard::{GuardConfig, Rate};
use sip_io::ServerTls;
use toml::Spanned;
use toml::de::DeValue;

use super::fault::SpanFault;
use super::{endpoints, file, listen, speech, stir, trunks, webhooks};

/// The configuration, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) api: Api,
    pub(crate) engine: engine_runtime::Config,
}

/// Where and how the control API is served.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) listen: SocketAddr,
    pub(crate) token_file: PathBuf,
    pub(crate) metrics_open: bool,
    pub(crate) rate_limit: u32,
    /// What clients are shown.
    pub(crate) tls: Option<ServerTls>,
}

/// Turns the file into the configuration, with its trunks as TOML has them; relative paths are beside the file, in `folder`.
pub(super) fn check(
    file: file::File,
    trunks: Option<Spanned<DeValue<'_>>>,
    folder: &Path,
) -> Result<Config, Vec<SpanFault>> {
    let mut faults = Checks::default();
    let api = Api {
        listen: faults
            .parse(&file.api.listen, "an address such as 127.0.0.1:8080")
            .unwrap_or_else(unspecified),
        token_file: folder.join(&file.api.token_file),
        metrics_open: file.api.metrics_open,
        rate_limit: at_least_one(&file.api.rate_limit, "rate_limit", &mut faults),
        tls: listen::api_tls(&file.api, folder, &mut faults),
    };
    let sip_listen = listen::listeners(&file.sip, folder, &mut faults);
    let sip_tls = listen::client_tls(&file.sip.tls, folder, &mut faults);
    let name_servers = listen::name_servers(&file.sip.dns, &mut faults);
    let guard = guard(&file.sip.guard, &mut faults);
    let trace = trace(&file.sip.trace, folder, &mut faults);
    let sounds = sounds(&file.media, &mut faults);
    let media = media(&file.media, &mut faults);
    let limits = limits(&file.limits, &mut faults);
    let http = stir::http(&file.http, folder, &mut faults);
    let webhooks = webhooks::webhooks(&file.webhooks, folder, &mut faults);
    let speech = speech::speech(&file.speech, &http, folder, &mut faults);
    let stir = stir::stir(&file.stir, &http, folder, &mut faults);
    stir::needs_anchors(&file.stir, file.stir.verify.as_ref(), &mut faults);
    let around = trunks::Around {
        served: sip_listen.iter().map(|listener| listener.transport).collect(),
        stir: &stir,
    };
    let trunks = trunks::read(trunks, &around, folder, &mut faults);
    let registrar = endpoints::registrar(&file.sip, file.endpoints, folder, &mut faults);
    let routes = routes(file.routes, &trunks, &registrar, &http, &mut faults);
    let config = engine_runtime::Config {
        node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        sip_listen,
        sip_tls,
        name_servers,
        guard,
        trace,
        user_agent: file.sip.user_agent,
        media,
        media_public_ip: file.media.public_ip,
        rtp_timeout: RtpTimeout {
            talking: seconds(file.media.rtp_timeout_s),
            held: seconds(file.media.rtp_timeout_held_s),
        },
        inbound_max_duration: inbound_max_duration(&file.limits, &mut faults),
        limits,
        cdr_retention: Duration::from_secs(u64::from(*file.limits.cdr_retention_days.get_ref()) * 24 * 3600),
        trunks,
        routes,
        stir,
        http,
        webhooks,
        sounds,
        speech,
        registrar,
        database: folder.join(database(&file.storage.database_url, &mut faults)),
        media_dir: folder.join(&file.storage.media_dir),
        recordings: recordings(&file.storage, &mut faults),
    };
    if faults.0.is_empty() { Ok(Config { api, engine: config }) } else { Err(faults.0) }
}

fn recordings(storage: &file::Storage, faults: &mut Checks) -> engine_runtime::RecordingSettings {
    let retention = storage.recording_retention_days.as_ref().map(|days| {
        let in_range = (1..=3650).contains(days.get_ref());
        faults.require(days, in_range, "recording_retention_days must be 1 to 3650");
        Duration::from_secs(u64::from(*days.get_ref()) * 24 * 3600)
    });
    engine_runtime::RecordingSettings { min_free: u64::from(storage.recording_min_free_mb) << 20, retention }
}

#[derive(Default)]
pub(super) struct Checks(pub(super) Vec<SpanFault>);

impl Checks {
    pub(super) fn fault<T>(&mut self, at: &Spanned<T>, reason: impl Into<String>) {
        self.0.push(SpanFault { span: at.span(), reason: reason.into() });
    }

    pub(super) fn parse<T: std::str::FromStr>(&mut self, text: &Spanned<String>, wanted: &str) -> Option<T> {
        let parsed = text.get_ref().parse().ok();
        if parsed.is_none() {
            self.fault(text, format!("{:?}: expected {wanted}", text.get_ref()));
        }
        parsed
    }

    pub(super) fn require<T>(&mut self, at: &Spanned<T>, holds: bool, reason: &str) {
        if !holds {
            self.fault(at, reason);
        }
    }
}

/// Stands in for an address that is reported as wrong anyway.
fn unspecified() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

fn guard(guard: &file::Guard, faults: &mut Checks) -> GuardConfig {
    let defaults = GuardConfig::default();
    let mut networks = |listed: &[Spanned<String>]| {
        let wanted = "an address or a network such as 10.0.0.0/8";
        listed.iter().filter_map(|network| faults.parse(network, wanted)).collect()
    };
    let (deny, allow) = (networks(&guard.deny), networks(&guard.allow));
    for scanner in &guard.scanners {
        // Shorter ones are in the names of honest telephones.
        faults.require(scanner, scanner.get_ref().len() >= 4, "a scanner's name has at least 4 characters");
    }
    let own = guard.scanners.iter().map(|scanner| scanner.get_ref().clone());
    let mut number = |value: &Option<Spanned<u32>>, name: &str, default: u32| {
        value.as_ref().map_or(default, |value| at_least_one(value, name, faults))
    };
    let known = number(&guard.known_rate, "known_rate", defaults.known.per_second);
    GuardConfig {
        deny,
        allow,
        unknown: Rate {
            per_second: number(&guard.rate, "rate", defaults.unknown.per_second),
            burst: number(&guard.burst, "burst", defaults.unknown.burst),
        },
        known: Rate { per_second: known, burst: known },
        ban_after: number(&guard.ban_after, "ban_after", defaults.ban_after),
        ban: guard.ban_s.as_ref().map_or(defaults.ban, |seconds| {
            Duration::from_secs(at_least_one(seconds, "ban_s", faults).into())
        }),
        scanners: defaults.scanners.into_iter().chain(own).collect(),
        ..GuardConfig::default()
    }
}

/// The number of a capture agent that has none of its own: any will do, 0 means none to some servers.
const HEP_ID: u32 = 1;

fn trace(trace: &file::Trace, folder: &Path, faults: &mut Checks) -> TraceConfig {
    let defaults = TraceConfig::default();
    let password = trace.hep_password_file.as_ref().and_then(|file| {
        let path = folder.join(file.get_ref());
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(HepSecret(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => {
                faults.fault(file, format!("hep_password_file {}: {error}", path.display()));
                None
            }
        }
    });
    for (key, at) in [
        ("hep_id", trace.hep_id.as_ref().map(Spanned::span)),
        ("hep_password_file", trace.hep_password_file.as_ref().map(Spanned::span)),
    ] {
        if let Some(span) = at.filter(|_| trace.hep.is_none()) {
            faults.0.push(SpanFault { span, reason: format!("{key} needs hep, the server that it is for") });
        }
    }
    let hep = trace.hep.as_ref().map(|server| {
        let port = server.get_ref().rsplit_once(':').filter(|(host, _)| !host.is_empty());
        let is_right = port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
        faults.require(
            server,
            is_right,
            "expected HOST:PORT of a capture server, such as \"homer.example:9060\"",
        );
        let id = trace.hep_id.as_ref().map_or(HEP_ID, |id| *id.get_ref());
        HepConfig { server: server.get_ref().clone(), id, password }
    });
    TraceConfig {
        per_call: trace.per_call.unwrap_or(defaults.per_call),
        total_bytes: trace.total_bytes.unwrap_or(defaults.total_bytes),
        hep,
    }
}

fn media(media: &file::Media, faults: &mut Checks) -> media_io::MediaConfig {
    let [first, last] = *media.port_range.get_ref();
    faults.require(
        &media.port_range,
        first >= 1024 && last > first,
        "expected [first, last] with 1024 <= first < last; each call takes an even port and the next",
    );
    if media.ip.get_ref().is_unspecified() && media.public_ip.is_none() {
        faults
            .fault(&media.ip, "[media] ip on every address needs public_ip: peers must be told one address");
    }
    media_io::MediaConfig {
        ip: *media.ip.get_ref(),
        port_range: first..=last,
        shards: media.shards,
        pin: true,
        realtime: media.realtime,
        max_legs: usize::from(last.saturating_sub(first)) / 2 + 1,
    }
}

fn sounds(media: &file::Media, faults: &mut Checks) -> SoundConfig {
    let file::Media { url_timeout_s: timeout, url_max_mb: max, .. } = media;
    faults.require(timeout, (1..=60).contains(timeout.get_ref()), "url_timeout_s must be 1 to 60");
    faults.require(
        max,
        (1..=32).contains(max.get_ref()),
        "url_max_mb must be 1 to 32, the most that a prompt may have",
    );
    SoundConfig {
        url_timeout: Duration::from_secs(u64::from(*timeout.get_ref())),
        url_max_bytes: (*max.get_ref() as usize) << 20,
        url_cache_bytes: u64::from(media.url_cache_mb) << 20,
        memory_bytes: (media.sound_cache_mb as usize) << 20,
    }
}

/// 0 is never.
fn seconds(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

fn limits(limits: &file::Limits, faults: &mut Checks) -> Limits {
    let days = &limits.cdr_retention_days;
    faults.require(days, (1..=3650).contains(days.get_ref()), "cdr_retention_days must be 1 to 3650");
    Limits {
        max_calls: at_least_one(&limits.max_calls, "max_calls", faults),
        max_cps: at_least_one(&limits.max_cps, "max_cps", faults),
        max_queued: at_least_one(&limits.max_queued, "max_queued", faults),
        queue_timeout_s: at_least_one(&limits.queue_timeout_s, "queue_timeout_s", faults),
        drain_timeout_s: limits.drain_timeout_s,
    }
}

/// The range of an outbound call's own `max_duration_s`.
fn inbound_max_duration(limits: &file::Limits, faults: &mut Checks) -> Duration {
    let longest = &limits.inbound_max_duration_s;
    let in_range = (1..=86_400).contains(longest.get_ref());
    faults.require(longest, in_range, "inbound_max_duration_s must be 1 to 86400");
    Duration::from_secs(u64::from(*longest.get_ref()))
}

fn at_least_one(value: &Spanned<u32>, name: &str, faults: &mut Checks) -> u32 {
    faults.require(value, *value.get_ref() > 0, &format!("{name} must be at least 1"));
    *value.get_ref()
}

fn database(url: &Spanned<String>, faults: &mut Checks) -> PathBuf {
    match url.get_ref().strip_prefix("sqlite://") {
        Some(path) if !path.is_empty() => path.into(),
        _ => {
            faults.fault(url, format!("{:?}: expected sqlite://FILE (the engine's journal)", url.get_ref()));
            PathBuf::new()
        }
    }
}

/// A password given outright or in a file; the outer `None`: neither, the inner: not to be had, which is reported.
pub(super) fn password(
    what: &str,
    password: Option<&Spanned<String>>,
    file: Option<&Spanned<PathBuf>>,
    folder: &Path,
    faults: &mut Checks,
) -> Option<Option<String>> {
    let mut bounded = |at: Range<usize>, password: String| {
        // An empty one would let everybody in.
        let is_sound = (1..=256).contains(&password.len());
        if !is_sound {
            faults
                .fault(&Spanned::new(at, ()), format!("{what}: the password must have 1 to 256 characters"));
        }
        is_sound.then_some(password)
    };
    match (password, file) {
        (Some(password), None) => Some(bounded(password.span(), password.get_ref().clone())),
        (None, Some(file)) => {
            let path = folder.join(file.get_ref());
            match std::fs::read_to_string(&path) {
                Ok(text) => Some(bounded(file.span(), text.trim_end_matches(['\r', '\n']).to_owned())),
                Err(error) => {
                    faults.fault(file, format!("{what}: password_file {}: {error}", path.display()));
                    Some(None)
                }
            }
        }
        (Some(_), Some(file)) => {
            faults.fault(file, format!("{what}: password and password_file exclude each other"));
            Some(None)
        }
        (None, None) => None,
    }
}

pub(super) fn codecs(what: &str, listed: &Spanned<Vec<Spanned<String>>>, faults: &mut Checks) -> Vec<Codec> {
    faults.require(listed, !listed.get_ref().is_empty(), "codecs must name at least one codec");
    let mut codecs = Vec::new();
    for entry in listed.get_ref() {
        match Codec::from_name(entry.get_ref()) {
            Some(codec) if !codecs.contains(&codec) => codecs.push(codec),
            Some(_) => faults.fault(entry, format!("{what}: codec {:?} is listed twice", entry.get_ref())),
            None => {
                let known = Codec::ALL.map(Codec::name).join(", ");
                faults
                    .fault(entry, format!("{what}: unknown codec {:?}; there are {known}", entry.get_ref()));
            }
        }
    }
    codecs
}

fn routes(
    routes: Vec<Spanned<file::Route>>,
    trunks: &[TrunkSettings],
    registrar: &RegistrarConfig,
    http: &HttpConfig,
    faults: &mut Checks,
) -> Vec<Route> {
    let mut checked = Vec::new();
    for route in routes {
        let span = route.span();
        let route = route.into_inner();
        let trunk = route.matches.trunk.as_ref().map(|name| {
            if trunks.iter().all(|trunk| trunk.name != *name.get_ref()) {
                faults.fault(name, format!("route: there is no trunk {:?}", name.get_ref()));
            }
            name.get_ref().clone()
        });
        let endpoint = route.matches.endpoint.as_ref().map(|name| {
            let known = registrar.accounts.iter().any(|account| account.name == *name.get_ref());
            if !known && name.get_ref() != "*" {
                let what = "\"*\" is any, those of the API too";
                faults.fault(name, format!("route: there is no endpoint {:?}; {what}", name.get_ref()));
            }
            name.get_ref().clone()
        });
        let source =
            route.matches.source.as_ref().and_then(|source| {
                faults.parse::<Network>(source, "an address or a network such as 10.0.0.0/8")
            });
        if let Some(at) =
            route.on_error.as_ref().map(Spanned::span).or(route.timeout_ms.as_ref().map(Spanned::span))
            && route.webhook.is_none()
        {
            faults.0.push(SpanFault { span: at, reason: "on_error and timeout_ms belong to webhook".into() });
        }
        let action = match (route.flow, route.park, route.reject, route.webhook) {
            (Some(flow), None, None, None) => RouteAction::Flow(flow.into_inner()),
            (None, Some(park), None, None) if *park.get_ref() => RouteAction::Park,
            (None, None, None, Some(url)) => RouteAction::Webhook(stir::webhook(
                url,
                route.timeout_ms.as_ref(),
                route.on_error,
                http,
                faults,
            )),
            (None, None, Some(status), None) if (300..700).contains(status.get_ref()) => {
                RouteAction::Reject(status.into_inner())
            }
            (None, None, Some(status), None) => {
                faults.fault(&status, "reject takes a SIP status from 300 to 699");
                continue;
            }
            _ => {
                faults.0.push(SpanFault {
                    span,
                    reason: "a route has exactly one of flow = \"name\", park = true, reject = STATUS, webhook = URL".into(),
                });
                continue;
            }
        };
        let called = route.matches.called;
        checked.push(Route { matches: RouteMatch { trunk, source, endpoint, called }, action });
    }
    checked
}
