//! Trunks as they are set up.

use crate::{
    Codec, Fault, TrunkAttest, Verify,
    call::words,
    create::{read_codecs, read_headers},
    event::DtmfMethod,
    fault::{self, Faults, Fields, Reader, join},
    id::is_id,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fmt, net::IpAddr};

/// A password: shown to nobody, neither in logs nor in answers.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

words! {
    /// Which of its caller ids a trunk shows when the request names none.
    CallerIdChoice {
        /// The first.
        First = "first",
        /// Each in turn, call by call.
        RoundRobin = "round-robin",
    }
}

words! {
    /// The header in which a trunk is told who calls, beside From.
    Identity {
        /// P-Asserted-Identity (RFC 3325).
        Pai = "pai",
        /// P-Preferred-Identity (RFC 3325).
        Ppi = "ppi",
        /// Remote-Party-ID, an old draft that some switches still want.
        Rpid = "rpid",
        /// None.
        None = "none",
    }
}

words! {
    /// Whether provisional responses are acknowledged (RFC 3262, 100rel).
    ReliableProvisionals {
        /// Not offered.
        Off = "off",
        /// Offered: the carrier decides.
        Supported = "supported",
        /// Demanded: a carrier that cannot do it refuses the call.
        Required = "required",
    }
}

words! {
    /// Whether media is encrypted, with keys in SDP (SRTP, RFC 4568).
    Srtp {
        /// Never: who wants nothing else is refused.
        Off = "off",
        /// If the peer can: offered beside plain RTP, and taken where it is offered.
        Optional = "optional",
        /// Always: who cannot is refused.
        Required = "required",
    }
}

words! {
    /// Where a redirected call goes.
    RedirectTo {
        /// To the address of the redirection, but through the trunk's own gateway, if the number may be dialled.
        Trunk = "trunk",
        /// To whatever host it names, without our credentials: whoever redirects chooses whom we call.
        Anywhere = "anywhere",
    }
}

impl Srtp {
    /// Whether it is off.
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

/// One gateway of a trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct GatewaySettings {
    /// `sip:HOST:PORT;transport=udp`.
    pub uri: String,
    /// The lowest is tried first, as in SRV records.
    #[schema(required = false, default = 0)]
    pub priority: u16,
    /// Its share of the calls among gateways of one priority; 0: only when the others have failed.
    #[schema(required = false, default = 1)]
    pub weight: u16,
}

/// How a trunk wants numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct NumberFormatSettings {
    /// Removed from the front of the number when it is there.
    #[schema(required = false)]
    pub strip: String,
    /// Put before it then.
    #[schema(required = false)]
    pub prefix: String,
    /// Patterns of the numbers that may be dialled, without their `+`: `*` any digits, `?` one; empty: all.
    #[schema(required = false)]
    pub allow: Vec<String>,
    /// Patterns of the numbers that may not be dialled, whatever `allow` says.
    #[schema(required = false)]
    pub deny: Vec<String>,
}

/// A trunk as it is set up: the body of `POST /v1/trunks`, and a `[[trunks]]` of the configuration file.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct TrunkSettings {
    /// Its unique name.
    #[schema(max_length = 64)]
    pub name: String,
    /// The registrar, and the gateway unless `gateways` names some: `sip:HOST:PORT;transport=udp`.
    pub uri: String,
    /// Answers the carrier's challenges; also the user of our address of record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Never shown again.
    #[serde(skip)]
    #[schema(value_type = Option<String>, write_only)]
    pub password: Option<Secret>,
    /// The file that the password stands in: in the configuration file only.
    #[serde(skip)]
    #[schema(ignore)]
    pub password_file: Option<String>,
    /// Whether to register; without it the carrier knows us by address.
    #[schema(required = false, default = false)]
    pub register: bool,
    /// The domain of our From; without it the registrar's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_domain: Option<String>,
    /// A proxy that every request goes to first: `sip:HOST:PORT;transport=udp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_proxy: Option<String>,
    /// Where calls go, when not to `uri`.
    #[schema(required = false)]
    pub gateways: Vec<GatewaySettings>,
    /// How long a gateway may be silent, without even 100 Trying, before the call goes to the next one.
    #[schema(required = false, default = 4_000, minimum = 500, maximum = 32_000)]
    pub failover_ms: u32,
    /// From one OPTIONS probe of a gateway to the next; without it gateways are not probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 5, maximum = 3600)]
    pub options_interval_s: Option<u32>,
    /// Failures in a row that take a probed gateway out.
    #[schema(required = false, default = 3, minimum = 1, maximum = 100)]
    pub options_down_after: u32,
    /// Answers in a row that bring it back.
    #[schema(required = false, default = 2, minimum = 1, maximum = 100)]
    pub options_up_after: u32,
    /// How many redirections (3xx) one call follows; 0: none.
    #[schema(required = false, default = 5, maximum = 20)]
    pub redirects: u32,
    /// Where it follows them to.
    #[schema(required = false, default = "trunk")]
    pub redirect_to: RedirectTo,
    /// Numbers that may be shown; empty: any.
    #[schema(required = false)]
    pub caller_ids: Vec<String>,
    /// Which of them is shown when the request names none.
    #[schema(required = false, default = "first")]
    pub caller_id: CallerIdChoice,
    /// The header in which the carrier is told who calls, beside From.
    #[schema(required = false, default = "none")]
    pub identity: Identity,
    /// Further SIP headers of each INVITE; those of a request come before them.
    #[schema(required = false)]
    pub headers: BTreeMap<String, String>,
    /// Whether provisional responses are acknowledged (RFC 3262).
    #[schema(required = false, default = "supported")]
    pub reliable: ReliableProvisionals,
    /// Whether calls are made without a session description, so that the callee offers (RFC 3261 §13.2.1).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false, default = false)]
    pub late_offer: bool,
    /// The session timer to ask for (RFC 4028); 0: none, absent: as the engine does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 86_400)]
    pub session_timer_s: Option<u32>,
    /// Codecs to offer, best first; without it all that there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codecs: Option<Vec<Codec>>,
    /// How digits are sent, where the call does not say. `rfc4733`: as telephone events, or as tones where the carrier does
    /// not agree to them. `inband`: as tones, and telephone events are neither offered nor accepted, so that the carrier's
    /// tones are listened for. `info`: by SIP INFO.
    #[schema(required = false, default = "rfc4733")]
    pub dtmf: DtmfMethod,
    /// Whether its media is encrypted. The keys stand in SDP, so its SIP should go over TLS.
    #[serde(skip_serializing_if = "Srtp::is_off")]
    #[schema(required = false, default = "off")]
    pub srtp: Srtp,
    /// Most live calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub max_calls: Option<u32>,
    /// Most calls begun per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub max_cps: Option<u32>,
    /// How it wants numbers.
    #[schema(required = false)]
    pub number_format: NumberFormatSettings,
    /// How its calls are signed (STIR/SHAKEN), if the engine has a key; without it as the engine's are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attest: Option<TrunkAttest>,
    /// What is done about the identity of calls from it; without it what the engine does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
    /// The address that this carrier is told in Via, Contact and SDP, when it is not the one we listen on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub public_ip: Option<IpAddr>,
}

/// Most gateways of a trunk, caller ids, patterns of a list.
const MAX_GATEWAYS: usize = 32;
const MAX_CALLER_IDS: usize = 10_000;
const MAX_PATTERNS: usize = 1_000;

impl TrunkSettings {
    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let settings = Self::read(body, "", &mut faults);
        if settings.as_ref().is_some_and(|settings| settings.password_file.is_some()) {
            faults.push("/password_file", "is for the configuration file: give the password itself here");
        }
        faults.into_result(settings)
    }

    /// Reads an entry of the configuration file, which may name a file with the password.
    pub fn from_file(entry: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(entry, Self::read)
    }

    /// The settings with the password, for a place that nobody else reads.
    #[must_use]
    pub fn to_json_with_password(&self) -> Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        if let (Value::Object(members), Some(Secret(password))) = (&mut json, &self.password) {
            members.insert("password".to_owned(), password.as_str().into());
        }
        json
    }

    fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults);
        let name = fields.str("name", 0..=usize::MAX);
        if name.is_some_and(|name| !is_id(name)) {
            fields.fault("name", crate::InvalidId);
        }
        let name = fields.required("name", name).map(str::to_owned);
        let uri = fields.str("uri", 1..=256).map(str::to_owned);
        let uri = fields.required("uri", uri);
        let username = fields.str("username", 1..=256).map(str::to_owned);
        let password = fields.str("password", 0..=1024).map(|text| Secret(text.to_owned()));
        let password_file = fields.str("password_file", 1..=4096).map(str::to_owned);
        if password.is_some() && password_file.is_some() {
            fields.fault("password_file", "password and password_file exclude each other");
        }
        let has_password = fields.has("password") || fields.has("password_file");
        if fields.has("username") && !has_password {
            fields.fault("username", "is of no use without password or password_file");
        }
        if has_password && !fields.has("username") {
            let key = if fields.has("password") { "password" } else { "password_file" };
            fields.fault(key, "is of no use without username");
        }
        let register = fields.bool("register").unwrap_or(false);
        if register && !(has_password && fields.has("username")) {
            fields.fault("register", "needs username and password (or password_file)");
        }
        let from_domain = fields.str("from_domain", 1..=256).map(str::to_owned);
        let outbound_proxy = fields.str("outbound_proxy", 1..=256).map(str::to_owned);
        let gateways = fields.nested("gateways", read_gateways).unwrap_or_default();
        let failover_ms = fields.u32_in("failover_ms", 500..=32_000).unwrap_or(4_000);
        let options_interval_s = fields.u32_in("options_interval_s", 5..=3600);
        let options_down_after = fields.u32_in("options_down_after", 1..=100).unwrap_or(3);
        let options_up_after = fields.u32_in("options_up_after", 1..=100).unwrap_or(2);
        let redirects = fields.u32_in("redirects", 0..=20).unwrap_or(5);
        let redirect_to = fields.word("redirect_to", RedirectTo::ALL).unwrap_or(RedirectTo::Trunk);
        let caller_ids = fields.nested("caller_ids", read_caller_ids).unwrap_or_default();
        let caller_id = fields.word("caller_id", CallerIdChoice::ALL).unwrap_or(CallerIdChoice::First);
        let identity = fields.word("identity", Identity::ALL).unwrap_or(Identity::None);
        let headers = fields.nested("headers", read_headers).unwrap_or_default();
        let reliable = fields.word("reliable", ReliableProvisionals::ALL);
        let reliable = reliable.unwrap_or(ReliableProvisionals::Supported);
        let late_offer = fields.bool("late_offer").unwrap_or(false);
        let session_timer_s = fields.u32_in("session_timer_s", 0..=86_400);
        if session_timer_s.is_some_and(|seconds| (1..90).contains(&seconds)) {
            // RFC 4028 §4: "The absolute minimum for the Session-Expires header field is 90 seconds."
            fields.fault("session_timer_s", "must be 0 or at least 90 (RFC 4028)");
        }
        let codecs = fields.nested("codecs", read_codecs);
        let dtmf = fields.word("dtmf", DtmfMethod::ALL).unwrap_or(DtmfMethod::Rfc4733);
        let srtp = fields.word("srtp", Srtp::ALL).unwrap_or(Srtp::Off);
        let max_calls = fields.u32_in("max_calls", 1..=1_000_000);
        let max_cps = fields.u32_in("max_cps", 1..=100_000);
        let number_format = fields.nested("number_format", read_number_format).unwrap_or_default();
        let attest = fields.word("attest", TrunkAttest::ALL);
        let verify = fields.word("verify", Verify::ALL);
        let public_ip = fields.str("public_ip", 1..=64).map(str::parse);
        let public_ip = match public_ip {
            Some(Err(_)) => {
                fields.fault("public_ip", "must be an IP address");
                None
            }
            Some(Ok(ip)) => Some(ip),
            None => None,
        };
        fields.finish();
        Some(Self {
            name: name?,
            uri: uri?,
            username,
            password,
            password_file,
            register,
            from_domain,
            outbound_proxy,
            gateways,
            failover_ms,
            options_interval_s,
            options_down_after,
            options_up_after,
            redirects,
            redirect_to,
            caller_ids,
            caller_id,
            identity,
            headers,
            reliable,
            late_offer,
            session_timer_s,
            codecs,
            dtmf,
            srtp,
            max_calls,
            max_cps,
            number_format,
            attest,
            verify,
            public_ip,
        })
    }
}

/// Reads a list of at most `max` items.
fn read_list<T>(
    value: &Value,
    pointer: &str,
    faults: &mut Faults,
    max: usize,
    reader: Reader<T>,
) -> Option<Vec<T>> {
    let Some(list) = value.as_array().filter(|list| list.len() <= max) else {
        faults.push(pointer, format_args!("must be a list of at most {max}"));
        return None;
    };
    let items = list.iter().enumerate();
    Some(items.filter_map(|(at, item)| reader(item, &join(pointer, &at.to_string()), faults)).collect())
}

fn read_gateways(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Vec<GatewaySettings>> {
    read_list(value, pointer, faults, MAX_GATEWAYS, |value, at, faults| {
        let mut fields = Fields::new(value, at, faults);
        let uri = fields.str("uri", 1..=256).map(str::to_owned);
        let uri = fields.required("uri", uri);
        let mut small = |key, default| {
            fields.u32_in(key, 0..=65_535).and_then(|n| u16::try_from(n).ok()).unwrap_or(default)
        };
        let (priority, weight) = (small("priority", 0), small("weight", 1));
        fields.finish();
        Some(GatewaySettings { uri: uri?, priority, weight })
    })
}

fn read_caller_ids(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Vec<String>> {
    read_list(value, pointer, faults, MAX_CALLER_IDS, |value, at, faults| {
        let text = value.as_str().filter(|text| crate::create::may_be_from(text));
        if text.is_none() {
            faults.push(at, "must be a number, a SIP user name (letters, digits, _ . -) or a sip: URI");
        }
        text.map(str::to_owned)
    })
}

fn read_number_format(value: &Value, pointer: &str, faults: &mut Faults) -> Option<NumberFormatSettings> {
    let mut fields = Fields::new(value, pointer, faults);
    let strip = fields.str("strip", 0..=32).unwrap_or_default().to_owned();
    let prefix = fields.str("prefix", 0..=32).unwrap_or_default().to_owned();
    if !strip.bytes().chain(prefix.bytes()).all(|b| b.is_ascii_digit() || b"+*#".contains(&b)) {
        let key = if prefix.is_empty() { "strip" } else { "prefix" };
        fields.fault(key, "strip and prefix consist of digits, +, * and #");
    }
    let allow = fields.nested("allow", read_patterns).unwrap_or_default();
    let deny = fields.nested("deny", read_patterns).unwrap_or_default();
    fields.finish();
    Some(NumberFormatSettings { strip, prefix, allow, deny })
}

fn read_patterns(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Vec<String>> {
    read_list(value, pointer, faults, MAX_PATTERNS, |value, at, faults| {
        let sound = |text: &&str| {
            (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || b"*?#".contains(&b))
        };
        let text = value.as_str().filter(sound);
        if text.is_none() {
            faults.push(at, "must be a pattern such as 62*: digits without +, * for any, ? for one");
        }
        text.map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_and_everything_read_back() {
        let least = TrunkSettings::from_json(&json!({"name": "t", "uri": "sip:192.0.2.1"})).unwrap();
        assert_eq!((least.failover_ms, least.redirects, least.options_interval_s), (4_000, 5, None));
        assert_eq!((least.caller_id, least.identity), (CallerIdChoice::First, Identity::None));
        let all = json!({
            "name": "t", "uri": "sip:a.example", "username": "u", "password": "geheim", "register": true,
            "from_domain": "b.example", "outbound_proxy": "sip:c.example;transport=tcp",
            "gateways": [{"uri": "sip:192.0.2.1", "priority": 1, "weight": 5}, {"uri": "sip:192.0.2.2"}],
            "failover_ms": 2500, "options_interval_s": 30, "options_down_after": 2, "options_up_after": 1,
            "redirects": 0, "redirect_to": "anywhere", "caller_ids": ["+6221", "sip:a@b.example"],
            "caller_id": "round-robin", "identity": "pai", "headers": {"X-A": "1"}, "reliable": "off", "late_offer": true, "session_timer_s": 1800, "codecs": ["PCMU"],
            "dtmf": "info", "srtp": "optional", "max_calls": 5, "max_cps": 6,
            "number_format": {"strip": "+", "prefix": "00", "allow": ["62*"], "deny": ["62900?"]},
            "public_ip": "198.51.100.7",
        });
        let settings = TrunkSettings::from_json(&all).unwrap();
        assert_eq!(TrunkSettings::from_json(&settings.to_json_with_password()).unwrap(), settings);
        let shown = serde_json::to_string(&settings).unwrap();
        assert!(!shown.contains("geheim") && !format!("{settings:?}").contains("geheim"), "{shown}");
    }

    #[test]
    fn every_fault_at_once_with_its_place() {
        let with = |more: Value| {
            let mut body = json!({"name": "t", "uri": "sip:192.0.2.1"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        for (body, pointers) in [
            (json!({}), vec!["/name", "/uri"]),
            (
                with(json!({"name": "a b", "colour": 1, "max_calls": 0})),
                vec!["/name", "/max_calls", "/colour"],
            ),
            (with(json!({"register": true})), vec!["/register"]),
            (with(json!({"username": "u"})), vec!["/username"]),
            (with(json!({"password": "p"})), vec!["/password"]),
            (with(json!({"username": "u", "password_file": "f"})), vec!["/password_file"]),
            (
                with(json!({"gateways": [{"uri": "sip:a"}, {"weight": -1}]})),
                vec!["/gateways/1/uri", "/gateways/1/weight"],
            ),
            (with(json!({"caller_ids": ["+62", "a b"]})), vec!["/caller_ids/1"]),
            (with(json!({"headers": {"Via": "x"}})), vec!["/headers/Via"]),
            (
                with(json!({"number_format": {"allow": ["+62"], "prefix": "x"}})),
                vec!["/number_format/prefix", "/number_format/allow/0"],
            ),
            (
                with(json!({"identity": "all", "redirects": 21, "public_ip": "here"})),
                vec!["/redirects", "/identity", "/public_ip"],
            ),
        ] {
            let faults = TrunkSettings::from_json(&body).unwrap_err();
            let told: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
            assert_eq!(told, pointers, "{body}");
        }
    }
}
