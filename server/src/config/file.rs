//! The file as TOML has it. Defaults stand here, each with its reason; meaning is checked in [`super::check`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) api: Api,
    #[serde(default)]
    pub(super) sip: Sip,
    #[serde(default)]
    pub(super) media: Media,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) storage: Storage,
    #[serde(default)]
    pub(super) stir: Stir,
    #[serde(default)]
    pub(super) http: Http,
    #[serde(default)]
    pub(super) webhooks: Webhooks,
    #[serde(default)]
    pub(super) speech: Speech,
    #[serde(default)]
    /// Read by [`super::trunks`].
    #[expect(dead_code, reason = "known here, so that unknown sections are told from it")]
    trunks: Vec<BTreeMap<String, IgnoredAny>>,
    #[serde(default)]
    pub(super) routes: Vec<Spanned<Route>>,
    #[serde(default)]
    pub(super) endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Api {
    pub(super) listen: Spanned<String>,
    pub(super) token_file: PathBuf,
    pub(super) metrics_open: bool,
    pub(super) tls_cert: Option<Spanned<PathBuf>>,
    pub(super) tls_key: Option<Spanned<PathBuf>>,
    /// HTTP requests a second and token; a control plane that places 3,000 calls a second still fits.
    pub(super) rate_limit: Spanned<u32>,
}

impl Default for Api {
    fn default() -> Api {
        Api {
            listen: spanned("127.0.0.1:8080"),
            token_file: "tokens.toml".into(),
            metrics_open: false,
            tls_cert: None,
            tls_key: None,
            rate_limit: Spanned::new(0..0, 4000),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sip {
    pub(super) listen: Spanned<Vec<Spanned<Listen>>>,
    /// What Via and Contact say when a listener is bound to every address or stands behind NAT.
    pub(super) public_ip: Option<IpAddr>,
    pub(super) user_agent: String,
    /// The domain of endpoints, and the realm of their passwords.
    pub(super) domain: Option<Spanned<String>>,
    /// What endpoints are challenged with.
    pub(super) digest_algorithms: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) tls: Tls,
    /// Name servers; empty: those of /etc/resolv.conf.
    pub(super) dns: Vec<Spanned<String>>,
    pub(super) guard: Guard,
    pub(super) trace: Trace,
}

/// What is not here has the defaults of `engine_runtime::TraceConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Trace {
    pub(super) per_call: Option<usize>,
    pub(super) total_bytes: Option<usize>,
    pub(super) hep: Option<Spanned<String>>,
    pub(super) hep_id: Option<Spanned<u32>>,
    pub(super) hep_password_file: Option<Spanned<PathBuf>>,
}

/// What listeners show that have nothing of their own, and how servers are verified.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) cert: Option<Spanned<PathBuf>>,
    pub(super) key: Option<Spanned<PathBuf>>,
    pub(super) client_ca: Option<Spanned<PathBuf>>,
    /// Whose certificates are trusted instead of those that the system trusts.
    pub(super) ca: Option<Spanned<PathBuf>>,
    pub(super) verify: bool,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls { cert: None, key: None, client_ca: None, ca: None, verify: true }
    }
}

/// One listener: its address alone, or a table with the address and what else it has.
#[derive(Debug)]
pub(super) struct Listen {
    pub(super) addr: String,
    pub(super) more: ListenTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListenTable {
    addr: Option<String>,
    pub(super) public_ip: Option<IpAddr>,
    pub(super) cert: Option<Spanned<PathBuf>>,
    pub(super) key: Option<Spanned<PathBuf>>,
    pub(super) client_ca: Option<Spanned<PathBuf>>,
    pub(super) origins: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) path: Option<Spanned<String>>,
}

impl Listen {
    fn spanned(addr: &str) -> Spanned<Listen> {
        Spanned::new(0..0, Listen { addr: addr.to_owned(), more: ListenTable::default() })
    }
}

impl<'de> Deserialize<'de> for Listen {
    /// By hand, because an untagged enum would lose the lines that faults are told with.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Listen, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Listen;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string such as \"udp:127.0.0.1:5060\", or a table with addr")
            }

            fn visit_str<E: de::Error>(self, addr: &str) -> Result<Listen, E> {
                Ok(Listen { addr: addr.to_owned(), more: ListenTable::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Listen, A::Error> {
                let more = ListenTable::deserialize(MapAccessDeserializer::new(table))?;
                let addr = more.addr.clone().ok_or_else(|| de::Error::missing_field("addr"))?;
                Ok(Listen { addr, more })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// What is not here has the defaults of `sip_core::guard::GuardConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Guard {
    pub(super) deny: Vec<Spanned<String>>,
    pub(super) allow: Vec<Spanned<String>>,
    /// Beside those that are known to everybody.
    pub(super) scanners: Vec<Spanned<String>>,
    pub(super) rate: Option<Spanned<u32>>,
    pub(super) burst: Option<Spanned<u32>>,
    pub(super) known_rate: Option<Spanned<u32>>,
    pub(super) ban_after: Option<Spanned<u32>>,
    pub(super) ban_s: Option<Spanned<u32>>,
}

impl Default for Sip {
    fn default() -> Sip {
        Sip {
            listen: Spanned::new(
                0..0,
                ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"].map(Listen::spanned).into(),
            ),
            public_ip: None,
            user_agent: concat!("Carillon/", env!("CARGO_PKG_VERSION")).into(),
            domain: None,
            digest_algorithms: None,
            tls: Tls::default(),
            dns: Vec::new(),
            guard: Guard::default(),
            trace: Trace::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Media {
    pub(super) ip: Spanned<IpAddr>,
    /// First and last port; two for each call (RTP and RTCP). Below the usual range of ephemeral ports.
    pub(super) port_range: Spanned<[u16; 2]>,
    /// Media threads; 0: one per core.
    pub(super) shards: usize,
    /// Whether media threads ask for real-time scheduling.
    pub(super) realtime: bool,
    pub(super) public_ip: Option<IpAddr>,
    /// Longest fetch of a URL that is to be played.
    pub(super) url_timeout_s: Spanned<u32>,
    /// Largest file that is fetched.
    pub(super) url_max_mb: Spanned<u32>,
    /// Fetched files on disk.
    pub(super) url_cache_mb: u32,
    /// Tones, volumes and fetched files in memory, ready to play.
    pub(super) sound_cache_mb: u32,
    /// How long the peer of an answered call may send nothing, 0: for ever. Phones that suppress silence still send RTCP every
    /// few seconds, so a minute of nothing at all is a call that nobody is on any more.
    pub(super) rtp_timeout_s: u32,
    /// The same for a call on hold, in which one side does not send.
    pub(super) rtp_timeout_held_s: u32,
}

impl Default for Media {
    fn default() -> Media {
        Media {
            ip: Spanned::new(0..0, IpAddr::from([127, 0, 0, 1])),
            port_range: Spanned::new(0..0, [10_000, 32_767]),
            shards: 0,
            realtime: true,
            public_ip: None,
            url_timeout_s: Spanned::new(0..0, 10),
            url_max_mb: Spanned::new(0..0, 32),
            url_cache_mb: 1024,
            sound_cache_mb: 256,
            rtp_timeout_s: 60,
            rtp_timeout_held_s: 1_800,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) max_calls: Spanned<u32>,
    pub(super) max_cps: Spanned<u32>,
    pub(super) max_queued: Spanned<u32>,
    pub(super) queue_timeout_s: Spanned<u32>,
    pub(super) inbound_max_duration_s: Spanned<u32>,
    pub(super) drain_timeout_s: u32,
    pub(super) cdr_retention_days: Spanned<u32>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_calls: Spanned::new(0..0, 2000),
            max_cps: Spanned::new(0..0, 200),
            max_queued: Spanned::new(0..0, 10_000),
            queue_timeout_s: Spanned::new(0..0, 60),
            inbound_max_duration_s: Spanned::new(0..0, 14_400),
            drain_timeout_s: 300,
            cdr_retention_days: Spanned::new(0..0, 30),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Storage {
    pub(super) database_url: Spanned<String>,
    pub(super) media_dir: PathBuf,
    /// An hour of two channels at 8 kHz.
    pub(super) recording_min_free_mb: u32,
    /// Recordings are somebody's words: whoever wants them to go says when.
    pub(super) recording_retention_days: Option<Spanned<u32>>,
}

impl Default for Storage {
    fn default() -> Storage {
        Storage {
            database_url: spanned("sqlite://carillon.db"),
            media_dir: "media".into(),
            recording_min_free_mb: 256,
            recording_retention_days: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Stir {
    pub(super) key: Option<Spanned<PathBuf>>,
    pub(super) x5u: Option<Spanned<String>>,
    /// No default: it is a statement about one's customers.
    pub(super) attest: Option<Spanned<String>>,
    pub(super) verify: Option<Spanned<String>>,
    pub(super) trust_anchors: Vec<Spanned<PathBuf>>,
    /// RFC 8224, 12.1.
    pub(super) freshness_s: Spanned<u32>,
}

impl Default for Stir {
    fn default() -> Stir {
        Stir {
            key: None,
            x5u: None,
            attest: None,
            verify: None,
            trust_anchors: Vec::new(),
            freshness_s: Spanned::new(0..0, 60),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Http {
    pub(super) allow_private: Vec<Spanned<String>>,
    pub(super) allow_plain: bool,
    pub(super) ca_file: Option<Spanned<PathBuf>>,
}

/// What is not here has the defaults of `engine_runtime::WebhookConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Webhooks {
    pub(super) secret: Option<Spanned<String>>,
    pub(super) secret_file: Option<Spanned<PathBuf>>,
    pub(super) timeout_s: Option<Spanned<u32>>,
    pub(super) retry_s: Option<Spanned<Vec<Spanned<u32>>>>,
    pub(super) max_pending: Option<Spanned<u32>>,
    pub(super) max_pending_mb: Option<Spanned<u32>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Speech {
    /// The program; empty: none.
    pub(super) espeak: PathBuf,
    /// Texts that are made at a time: a tenth of a second of one core each.
    pub(super) workers: Spanned<u32>,
    /// Texts that wait for that.
    pub(super) queue: Spanned<u32>,
    pub(super) timeout_s: Spanned<u32>,
    /// Made speech on disk.
    pub(super) cache_mb: u32,
    pub(super) voices: Vec<Voice>,
}

impl Default for Speech {
    fn default() -> Speech {
        Speech {
            espeak: "espeak-ng".into(),
            workers: Spanned::new(0..0, 2),
            queue: Spanned::new(0..0, 256),
            timeout_s: Spanned::new(0..0, 10),
            cache_mb: 1024,
            voices: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Voice {
    pub(super) name: Spanned<String>,
    pub(super) languages: Spanned<Vec<Spanned<String>>>,
    /// Without it a voice of espeak-ng.
    pub(super) url: Option<Spanned<String>>,
    pub(super) model: Option<Spanned<String>>,
    /// Its name there.
    pub(super) voice: Option<Spanned<String>>,
    pub(super) key_file: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    pub(super) name: Spanned<String>,
    pub(super) username: Option<Spanned<String>>,
    pub(super) password: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
    pub(super) caller_id: Option<String>,
    pub(super) max_contacts: Option<Spanned<u32>>,
    pub(super) codecs: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) srtp: Option<Spanned<String>>,
    pub(super) media: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) auto_answer: bool,
    #[serde(default)]
    pub(super) transports: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    #[serde(rename = "match", default)]
    pub(super) matches: RouteMatch,
    pub(super) flow: Option<Spanned<String>>,
    pub(super) park: Option<Spanned<bool>>,
    pub(super) reject: Option<Spanned<u16>>,
    pub(super) webhook: Option<Spanned<String>>,
    pub(super) timeout_ms: Option<Spanned<u32>>,
    pub(super) on_error: Option<Spanned<OnError>>,
}

/// A SIP status, or the name of a flow.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OnError {
    Reject(u16),
    Flow(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RouteMatch {
    pub(super) trunk: Option<Spanned<String>>,
    pub(super) source: Option<Spanned<String>>,
    pub(super) endpoint: Option<Spanned<String>>,
    pub(super) called: Option<String>,
}

fn spanned(value: &str) -> Spanned<String> {
    Spanned::new(0..0, value.to_owned())
}
