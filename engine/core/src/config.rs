//! What an engine is made of.

use std::net::IpAddr;
use std::time::Duration;

use control_api_types::event::DtmfMethod;
use control_api_types::{Identity, Limits, RedirectTo, Srtp, TrunkAttest, Verify};
use media_core::sdp::Fingerprint;
use media_core::{Codec, RtpTimeout};
use sip_core::digest::{Credentials, Hash};
use sip_core::{EndpointConfig, Host, Network, Reliable, Target};

use crate::admission::Capacity;
use crate::clock::Clock;
use crate::number::NumberFormat;
use crate::registrar::Account;
use crate::stir::StirConfig;

/// The settings of an [`Engine`](crate::Engine).
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The name of this node, told in every call.
    pub node: String,
    /// Wall clock, for the times in calls and events.
    pub clock: Clock,
    /// SIP listeners and timers.
    pub sip: EndpointConfig,
    /// Trunks, by unique name.
    pub trunks: Vec<TrunkConfig>,
    /// Where inbound calls go; the first match wins.
    pub routes: Vec<Route>,
    /// Phones and browsers that register here.
    pub registrar: RegistrarConfig,
    /// Limits of the whole engine. `max_calls` counts live calls in both directions, queued ones not; `max_cps` paces
    /// outbound calls only: inbound ones come when they come.
    pub limits: Limits,
    /// How calls are signed and verified.
    pub stir: StirConfig,
    /// How long the peer of an answered call may send nothing before the call is ended.
    pub rtp_timeout: RtpTimeout,
    /// Of the certificate that the media shell shows in handshakes with browsers; `None`: there are none, and browsers are
    /// refused.
    pub fingerprint: Option<Fingerprint>,
    /// Longest inbound call after its answer; an outbound one brings its own.
    pub inbound_max_duration: Duration,
}

impl EngineConfig {
    /// As long as an outbound call that does not say how long.
    pub const INBOUND_MAX_DURATION: Duration = Duration::from_secs(14_400);
}

/// The registrar and whom it knows.
#[derive(Debug, Clone)]
pub struct RegistrarConfig {
    /// The realm of its challenges. Passwords are kept hashed with it.
    pub realm: String,
    /// The domain that is ours in addresses of record, beside the listeners' addresses; `None`: whatever name the endpoints
    /// know us by.
    pub domain: Option<Host>,
    /// What endpoints are challenged with, the most preferred first (RFC 8760 §2.4); each is a challenge of its own.
    pub digest_algorithms: Vec<Hash>,
    /// The endpoints.
    pub accounts: Vec<Account>,
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        Self {
            realm: "carillon".to_owned(),
            domain: None,
            // RFC 8760 §2.4 has a client pick among several, and phones of before cannot: JsSIP reads the first challenge
            // only, and baresip 1 gives up at one that it does not know.
            digest_algorithms: vec![Hash::Md5],
            accounts: Vec::new(),
        }
    }
}

/// A trunk: a carrier's SIP service.
#[derive(Debug, Clone, PartialEq)]
pub struct TrunkConfig {
    /// Its unique name.
    pub name: String,
    /// Whether it takes new calls and registers.
    pub enabled: bool,
    /// Where its calls go, at least one.
    pub gateways: Vec<GatewayConfig>,
    /// How long a gateway may be silent, without even 100 Trying, before the call goes to the next one.
    pub failover: Duration,
    /// Whether the gateways are asked by OPTIONS if they are there.
    pub probing: Option<Probing>,
    /// Where to register, when that is not the first gateway; also the domain of our From by default.
    pub registrar: Option<Target>,
    /// The proxy that every request goes to first.
    pub outbound_proxy: Option<Target>,
    /// What to answer its challenges with; the user name is also the user part of our address of record.
    pub credentials: Option<Credentials>,
    /// `Some`: register there, for this long at a time. `None`: the carrier knows us by address.
    pub register: Option<Duration>,
    /// The domain of our From; `None`: the registrar's or gateway's host.
    pub from_domain: Option<String>,
    /// Caller ids that may be shown; empty: any.
    pub caller_ids: Vec<String>,
    /// Whether they are shown in turn when nobody says which; otherwise the first is.
    pub caller_ids_in_turn: bool,
    /// The header in which the carrier is told who calls, beside From.
    pub identity: Identity,
    /// Further headers of each INVITE.
    pub headers: Vec<(String, String)>,
    /// How many redirections (3xx) one call follows.
    pub redirects: u32,
    /// Where it follows them to.
    pub redirect_to: RedirectTo,
    /// Whether our INVITEs go without an offer: the callee makes it, and our ACK answers.
    pub late_offer: bool,
    /// The session interval to ask for (RFC 4028); zero: none, `None`: as the endpoint does.
    pub session_interval: Option<Duration>,
    /// Whether its provisional responses are acknowledged (RFC 3262).
    pub reliable: Reliable,
    /// Codecs to offer, most preferred first.
    pub codecs: Vec<Codec>,
    /// How digits are sent; with [`DtmfMethod::Inband`] telephone events are neither offered nor accepted.
    pub dtmf: DtmfMethod,
    /// Whether its media is encrypted.
    pub srtp: Srtp,
    /// Its own limits, beside the engine's.
    pub capacity: Capacity,
    /// How it wants numbers.
    pub number_format: NumberFormat,
    /// The address that SDP tells this carrier, when it is not the one media is received at; that of Via and Contact is
    /// in each [`Target`].
    pub public_ip: Option<IpAddr>,
    /// How its calls are signed; `None`: as the engine's are.
    pub attest: Option<TrunkAttest>,
    /// What is done about the identity of calls from it; `None`: as the engine does.
    pub verify: Option<Verify>,
}

/// One gateway of a trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Where it is.
    pub target: Target,
    /// The lowest is tried first, as in SRV records (RFC 2782).
    pub priority: u16,
    /// Its share of the calls among gateways of one priority; 0: only when the others have failed.
    pub weight: u16,
}

/// How gateways are probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probing {
    /// From one OPTIONS to the next, give or take a tenth.
    pub interval: Duration,
    /// Failures in a row that take a gateway out: probes without a sign of life, and calls that it failed.
    pub down_after: u32,
    /// Signs of life in a row that bring it back.
    pub up_after: u32,
}

impl TrunkConfig {
    /// How long a gateway may be silent by default: over UDP an INVITE is sent at 0, 0.5, 1.5 and 3.5 s (RFC 3261
    /// §17.1.1.2), so that three may be lost.
    pub const FAILOVER: Duration = Duration::from_secs(4);

    /// A trunk with one gateway, without registration, credentials, limits or rules.
    pub fn new(name: impl Into<String>, gateway: Target) -> Self {
        Self {
            name: name.into(),
            enabled: true,
            gateways: vec![GatewayConfig { target: gateway, priority: 0, weight: 1 }],
            failover: Self::FAILOVER,
            probing: None,
            registrar: None,
            credentials: None,
            register: None,
            from_domain: None,
            outbound_proxy: None,
            caller_ids: Vec::new(),
            caller_ids_in_turn: false,
            identity: Identity::None,
            headers: Vec::new(),
            redirects: 5,
            redirect_to: RedirectTo::Trunk,
            late_offer: false,
            session_interval: None,
            reliable: Reliable::Supported,
            codecs: Codec::DEFAULT.to_vec(),
            dtmf: DtmfMethod::Rfc4733,
            srtp: Srtp::Off,
            capacity: Capacity::default(),
            number_format: NumberFormat::default(),
            public_ip: None,
            attest: None,
            verify: None,
        }
    }
}

/// Settings that no engine can run with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Two trunks of one name.
    #[error("trunk {trunk:?} is defined twice")]
    DuplicateTrunk {
        /// The name.
        trunk: String,
    },
    /// A trunk has no gateway.
    #[error("trunk {trunk:?} has no gateway")]
    NoGateway {
        /// The trunk.
        trunk: String,
    },
    /// A gateway is no host.
    #[error("trunk {trunk:?}: {host:?} is neither a host name nor an IP address")]
    GatewayHost {
        /// The trunk.
        trunk: String,
        /// What stands there.
        host: String,
    },
    /// The domain of From is no host.
    #[error("trunk {trunk:?}: from_domain {domain:?} is neither a host name nor an IP address")]
    FromDomain {
        /// The trunk.
        trunk: String,
        /// What stands there.
        domain: String,
    },
    /// A trunk registers, but has no user name and password.
    #[error("trunk {trunk:?} registers, but has no username and password")]
    NoCredentials {
        /// The trunk.
        trunk: String,
    },
    /// A trunk has no codec that we speak.
    #[error("trunk {trunk:?} has no codec that is supported")]
    NoCodec {
        /// The trunk.
        trunk: String,
    },
    /// A route names a trunk that does not exist.
    #[error("a route names trunk {trunk:?}, which is not defined")]
    UnknownTrunk {
        /// The name.
        trunk: String,
    },
    /// A route names an endpoint that does not exist.
    #[error("a route names endpoint {endpoint:?}, which is not defined")]
    UnknownEndpoint {
        /// The name.
        endpoint: String,
    },
    /// Two endpoints are known by one name.
    #[error("endpoint {endpoint:?}: another endpoint has the name or user name {user:?}")]
    DuplicateEndpoint {
        /// Its name.
        endpoint: String,
        /// What they share.
        user: String,
    },
    /// There is nothing to listen on.
    #[error("there is no SIP listener")]
    NoListener,
}

/// One rule for inbound calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Which calls; a missing criterion matches every call.
    pub matches: RouteMatch,
    /// What becomes of them.
    pub action: RouteAction,
}

/// The criteria of a [`Route`]; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteMatch {
    /// The call comes from an address of this trunk.
    pub trunk: Option<String>,
    /// The call comes from this network.
    pub source: Option<Network>,
    /// The call comes from this endpoint; `*`: from any endpoint.
    pub endpoint: Option<String>,
    /// The user part of the Request-URI matches this pattern (`*` any run, `?` any one character).
    pub called: Option<String>,
}

impl RouteMatch {
    /// Whether calls of strangers can match.
    pub(crate) fn is_for_anybody(&self) -> bool {
        self.source.is_none() && self.trunk.is_none() && self.endpoint.is_none()
    }
}

/// What becomes of an inbound call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteAction {
    /// Ring, answer, and run this flow.
    Flow(String),
    /// Leave it unanswered for the API.
    Park,
    /// Refuse it with this status, without a trace.
    Reject(u16),
    /// Ask a web server, which answers with a flow or a refusal.
    Webhook(Webhook),
}

/// A web server that knows what becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where the call is posted to.
    pub url: String,
    /// How long the caller may wait for its answer.
    pub timeout: Duration,
    /// What becomes of the call without one.
    pub on_error: OnError,
}

/// What becomes of a call that nobody decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnError {
    /// It is refused with this status.
    Reject(u16),
    /// It runs this flow.
    Flow(String),
}
