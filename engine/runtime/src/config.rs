//! What the runtime is started with.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use control_api_types::{Limits, TrunkSettings};
use engine_core::{RegistrarConfig, Route, StirConfig};
use media_core::RtpTimeout;

use crate::http::HttpConfig;
use sip_core::guard::GuardConfig;

use crate::recordings::RecordingSettings;
use crate::sounds::SoundConfig;
use crate::speech::SpeechConfig;
use crate::trace::TraceConfig;
use crate::webhooks::WebhookConfig;

/// The settings of an [`Engine`](crate::Engine).
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this node, told in every call and event.
    pub node: String,
    /// SIP listeners.
    pub sip_listen: Vec<sip_io::ListenAddr>,
    /// How TLS servers of SIP are verified, and what we show them.
    pub sip_tls: sip_io::ClientTls,
    /// Name servers to ask where trunks are; none: those of `/etc/resolv.conf`.
    pub name_servers: Vec<SocketAddr>,
    /// Who may send how much, and who nothing.
    pub guard: GuardConfig,
    /// What is kept of the SIP messages of calls, and where copies go.
    pub trace: TraceConfig,
    /// `User-Agent` and `Server` of our messages.
    pub user_agent: String,
    /// Media threads, addresses and ports.
    pub media: media_io::MediaConfig,
    /// The address that SDP tells, when it is not the one media is received at (static NAT).
    pub media_public_ip: Option<IpAddr>,
    /// How long the peer of an answered call may send nothing.
    pub rtp_timeout: RtpTimeout,
    /// Longest inbound call after its answer; an outbound one brings its own.
    pub inbound_max_duration: Duration,
    /// Limits of the whole engine.
    pub limits: Limits,
    /// How long ended calls are kept.
    pub cdr_retention: Duration,
    /// Trunks, by unique name. Those that the API made, in the journal, come beside them.
    pub trunks: Vec<TrunkSettings>,
    /// Where inbound calls go; the first match wins.
    pub routes: Vec<Route>,
    /// How calls are signed and verified.
    pub stir: StirConfig,
    /// Where certificates and routes may be asked for.
    pub http: HttpConfig,
    /// How events are posted to web servers.
    pub webhooks: WebhookConfig,
    /// Bounds of what is played besides uploaded prompts.
    pub sounds: SoundConfig,
    /// Who speaks.
    pub speech: SpeechConfig,
    /// Phones and browsers that register here.
    pub registrar: RegistrarConfig,
    /// The journal's file.
    pub database: PathBuf,
    /// Where prompts, audio of web servers and recordings are kept.
    pub media_dir: PathBuf,
    /// What recordings may take.
    pub recordings: RecordingSettings,
}

/// What can change while calls are up: the parts of a [`Config`] that [`Engine::reload`](crate::Engine::reload) takes.
#[derive(Clone, Debug)]
pub struct Reload {
    /// Trunks, by unique name.
    pub trunks: Vec<TrunkSettings>,
    /// Where inbound calls go; the first match wins.
    pub routes: Vec<Route>,
    /// Limits of the whole engine.
    pub limits: Limits,
    /// How calls are signed and verified.
    pub stir: StirConfig,
    /// Who registers here. Another realm needs a restart, and the endpoints with it.
    pub registrar: RegistrarConfig,
}
