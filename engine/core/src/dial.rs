//! From a request to place a call to the INVITE that places it.

use std::time::Duration;

use control_api_types::{Attestation, CreateCall, EarlyMedia, Faults, Identity, Srtp, TrunkAttest};
use media_core::Codec;
use sip_core::{Host, NameAddr, Reliable, Target, Transport, Uri};
use sip_stir::{Number, Party, origid};

use crate::call::{self, Branch, BranchMedia, Group, Search, Template};
use crate::config::TrunkConfig;
use crate::number;
use crate::registrar::Account;
use crate::stir::{self, Assertion, Identities};
use crate::trunk::Trunk;
use crate::variables::escape;

/// User part of our From when nobody says who calls.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// Everything that placing one call needs, checked.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) template: Template,
    pub(crate) called: Called,
    /// Where to, once its turn has come.
    pub(crate) ways: Vec<Group>,
    /// How many redirections it follows.
    pub(crate) redirects: u32,
    /// How long the branches of one group may all be silent while there is another group.
    pub(crate) failover: Duration,
    /// The caller id as the call shows it.
    pub(crate) from: String,
    pub(crate) codecs: Vec<Codec>,
    pub(crate) srtp: Srtp,
    /// Whether the callee is to offer.
    pub(crate) late_offer: bool,
    pub(crate) ring_timeout: Duration,
    pub(crate) early_media: EarlyMedia,
    /// What is signed of it.
    pub(crate) assertion: Option<Assertion>,
}

/// Who is called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Called {
    /// A number, as the trunk wants it.
    Number(String),
    Uri(Uri),
}

/// Who takes a call onwards.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Via<'a> {
    /// With the caller id whose turn it is.
    Trunk(&'a Trunk, Option<&'a str>),
    /// An endpoint takes it itself.
    Endpoint(&'a Account),
    /// Straight to the URI.
    Nobody,
}

impl<'a> Via<'a> {
    fn trunk(self) -> Option<&'a Trunk> {
        match self {
            Self::Trunk(trunk, _) => Some(trunk),
            Self::Endpoint(_) | Self::Nobody => None,
        }
    }

    fn codecs(self) -> &'a [Codec] {
        match self {
            Self::Trunk(trunk, _) => &trunk.config.codecs,
            Self::Endpoint(account) => &account.codecs,
            Self::Nobody => Codec::DEFAULT.as_slice(),
        }
    }

    fn srtp(self) -> Srtp {
        match self {
            Self::Trunk(trunk, _) => trunk.config.srtp,
            Self::Endpoint(account) => account.srtp,
            Self::Nobody => Srtp::Off,
        }
    }
}

/// Plans a call; `local` is the host of our own From when no trunk has another. Every fault is noted.
pub(crate) fn plan(create: &CreateCall, via: Via<'_>, local: &Host, faults: &mut Faults) -> Option<Dial> {
    let trunk = via.trunk();
    let called = match via {
        Via::Trunk(trunk, _) if create.to_is_uri() => uri_through(create, trunk, faults).map(Called::Uri),
        Via::Trunk(trunk, _) => number(create, trunk, faults).map(Called::Number),
        Via::Endpoint(account) => Some(Called::Uri(Uri::sip(Some(&account.name), local, None))),
        Via::Nobody => uri(&create.to, "/to", faults).map(Called::Uri),
    };
    if let Some(trunk) = trunk {
        check_identity(create, trunk, faults);
    }
    let caller = caller(create, via, local, faults);
    let codecs = codecs(create, via.codecs(), faults);
    let called = called?;
    let ways = match (&called, via) {
        (Called::Uri(uri), Via::Nobody) => vec![direct(uri, target(uri, faults)?)],
        // They depend on the state of its gateways and on its contacts, and so are chosen when the call begins.
        (Called::Number(_) | Called::Uri(_), _) => Vec::new(),
    };
    let Caller { text, from, mut headers } = caller?;
    if let Via::Endpoint(account) = via
        && account.auto_answer
    {
        // Nothing is standardised: most phones know one of the two.
        headers.push(("Call-Info".to_owned(), format!("<sip:{local}>;answer-after=0")));
        headers.push(("Alert-Info".to_owned(), format!("<http://{local}>;info=alert-autoanswer")));
    }
    let asked: Vec<_> = create.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    // What the request says comes before what is said of every call, and that before what is written unasked.
    for (name, value) in trunk.iter().flat_map(|trunk| &trunk.config.headers) {
        headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        headers.push((name.clone(), value.clone()));
    }
    headers.retain(|(name, _)| !asked.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
    Some(Dial {
        template: Template {
            from,
            headers,
            asked,
            reliable: trunk.map_or(Reliable::Supported, |trunk| trunk.config.reliable),
            session_interval: trunk.and_then(|trunk| trunk.config.session_interval),
        },
        called,
        ways,
        redirects: trunk.map_or(0, |trunk| trunk.config.redirects),
        failover: trunk.map_or(TrunkConfig::FAILOVER, |trunk| trunk.config.failover),
        from: text,
        codecs: codecs?,
        srtp: via.srtp(),
        late_offer: trunk.is_some_and(|trunk| trunk.config.late_offer),
        ring_timeout: Duration::from_secs(u64::from(create.timeout_s)),
        early_media: create.early_media,
        assertion: None,
    })
}

/// How well the caller is known, if the call is to be signed.
pub(crate) fn attest(
    create: &CreateCall,
    trunk: Option<&Trunk>,
    identities: &Identities,
    faults: &mut Faults,
) -> Option<Attestation> {
    let trunk = trunk.map(|trunk| &trunk.config);
    let Some(attest) = create.attest else { return identities.attest(trunk) };
    if trunk.is_some_and(|trunk| trunk.attest == Some(TrunkAttest::Off)) {
        faults.push("/attest", "calls through this trunk are not signed");
    } else if !identities.can_sign() {
        faults.push("/attest", "calls are not signed here: the configuration has no key in [stir]");
    }
    Some(attest)
}

/// What is said of a call that is signed: the number that the API was given, not how the trunk wants it written, for
/// whoever verifies knows nothing of that.
pub(crate) fn assertion(attest: Attestation, create: &CreateCall, dial: &Dial, node: &str) -> Assertion {
    let dest = match &dial.called {
        Called::Uri(uri) => stir::party(uri),
        Called::Number(user) => Number::canonical(&create.to)
            .or_else(|| Number::canonical(user))
            .map_or_else(|| Party::Uri(create.to.clone()), Party::Number),
    };
    Assertion {
        attest,
        orig: caller_of(&dial.template),
        dest,
        origid: origid(&[node, create.trunk.as_deref().unwrap_or_default()]).into(),
    }
}

/// Who is said to call: who is shown or, where nobody is, who the carrier is told of.
fn caller_of(template: &Template) -> Party {
    let shown = stir::party(template.from.uri());
    let told = || {
        let is_told = |name: &str| name.eq_ignore_ascii_case("P-Asserted-Identity");
        let mut headers = template.asked.iter().chain(&template.headers);
        let (_, value) = headers.find(|(name, _)| is_told(name))?;
        let told = value.parse::<NameAddr>().ok()?;
        Some(stir::party(told.uri())).filter(|told| told.number().is_some())
    };
    match shown {
        Party::Number(_) => shown,
        Party::Uri(_) => told().unwrap_or(shown),
    }
}

/// A number as the trunk wants it.
fn number(create: &CreateCall, trunk: &Trunk, faults: &mut Faults) -> Option<String> {
    match trunk.config.number_format.dial(&create.to) {
        Ok(user) => Some(user),
        Err(error) => {
            faults.push("/to", format_args!("{:?} {error}", create.to));
            None
        }
    }
}

/// A URI whose user the trunk may call: what may not be dialled as a number may not be as a URI either.
fn uri_through(create: &CreateCall, trunk: &Trunk, faults: &mut Faults) -> Option<Uri> {
    let uri = uri(&create.to, "/to", faults)?;
    if let Err(error) = trunk.config.number_format.check_user(uri.user().unwrap_or_default()) {
        faults.push("/to", format_args!("{:?} {error}", create.to));
    }
    Some(uri)
}

/// Where `caller_ids` says who may be shown, the headers of a request show nobody else.
fn check_identity(create: &CreateCall, trunk: &Trunk, faults: &mut Faults) {
    let allowed = &trunk.config.caller_ids;
    if allowed.is_empty() {
        return;
    }
    let is_allowed = |value: &str| {
        let Ok(told) = value.parse::<NameAddr>() else { return false };
        let user = told.uri().user().map(number::number_of).unwrap_or_default();
        let bare = |number: &str| number.strip_prefix('+').unwrap_or(number).to_owned();
        !user.is_empty() && allowed.iter().any(|id| bare(id) == bare(&user))
    };
    for (name, value) in create.headers.iter().filter(|(name, _)| call::tells_caller(name)) {
        if !is_allowed(value) {
            let fault = format_args!("{value:?} names none of the trunk's caller_ids").to_string();
            faults.push(format!("/headers/{}", escape(name)), fault);
        }
    }
}

fn uri(text: &str, pointer: &str, faults: &mut Faults) -> Option<Uri> {
    match text.parse::<Uri>() {
        Ok(uri) if uri.host().is_some() => Some(uri),
        Ok(_) | Err(_) => {
            faults.push(pointer, format_args!("{text:?} is no SIP URI (RFC 3261 section 19.1)"));
            None
        }
    }
}

/// Straight to the URI.
fn direct(uri: &Uri, target: Target) -> Group {
    let branch = Branch {
        request_uri: uri.clone(),
        to: NameAddr::new(uri.clone()),
        target,
        route: Vec::new(),
        credentials: None,
        gateway: None,
        is_foreign: false,
        media: BranchMedia::Usual,
    };
    Group { branches: vec![branch], search: Search::Gateways }
}

/// Where a call without a trunk goes: to the host of its URI.
fn target(uri: &Uri, faults: &mut Faults) -> Option<Target> {
    let transport = match uri.transport() {
        Ok(transport) => transport,
        Err(token) => {
            let known = Transport::ALL.map(Transport::name).join(", ");
            faults.push("/to", format_args!("transport {token:?} is not supported; supported: {known}"));
            return None;
        }
    };
    let host = uri.host()?.to_string();
    Some(Target { host, port: uri.port(), transport, ..Target::default() })
}

/// Who calls.
struct Caller {
    /// As the call shows it.
    text: String,
    from: NameAddr,
    /// What tells the carrier more.
    headers: Vec<(String, String)>,
}

/// A trunk shows only what it is allowed to show.
fn caller(create: &CreateCall, via: Via<'_>, local: &Host, faults: &mut Faults) -> Option<Caller> {
    let (trunk, shown) = match via {
        Via::Trunk(trunk, shown) => (Some(trunk), shown),
        Via::Endpoint(_) | Via::Nobody => (None, None),
    };
    let allowed = trunk.map(|trunk| trunk.config.caller_ids.as_slice()).unwrap_or_default();
    let domain = trunk.map_or(local, |trunk| &trunk.domain);
    let identity = trunk.map_or(Identity::None, |trunk| trunk.config.identity);
    let to_uri = |text: &str, faults: &mut Faults| {
        if text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sip:")) {
            uri(text, "/from", faults)
        } else {
            Some(Uri::sip(Some(text), domain, None))
        }
    };
    if create.from.as_deref() == Some(ANONYMOUS) {
        let known = shown.and_then(|shown| to_uri(shown, faults));
        // RFC 3323 §4.1.1.3: "a user agent should use a URI of 'anonymous@anonymous.invalid'" and the display name
        // "Anonymous".
        let from = Uri::sip(Some(ANONYMOUS), &Host::Name("anonymous.invalid".into()), None);
        let headers = known.map(|known| identity_of(identity, &known, true)).unwrap_or_default();
        return Some(Caller {
            text: ANONYMOUS.to_owned(),
            from: NameAddr::new(from).with_display("Anonymous"),
            headers,
        });
    }
    let text = match &create.from {
        Some(from) => {
            if !allowed.is_empty() && !allowed.contains(from) {
                faults.push("/from", format_args!("{from:?} is none of the trunk's caller_ids"));
            }
            from.as_str()
        }
        None => shown.unwrap_or(ANONYMOUS),
    };
    let uri = to_uri(text, faults)?;
    let headers = identity_of(identity, &uri, false);
    Some(Caller { text: text.to_owned(), from: NameAddr::new(uri), headers })
}

/// What tells the carrier who calls, beside From. A caller who is withheld is always told, with the wish to keep it from
/// the callee (RFC 3325 §9.3, `Privacy: id`): a call from nobody is carried by few.
fn identity_of(identity: Identity, caller: &Uri, withheld: bool) -> Vec<(String, String)> {
    let header = |name: &str, value: String| (name.to_owned(), value);
    let told = match identity {
        Identity::Pai => Some(header("P-Asserted-Identity", format!("<{caller}>"))),
        Identity::None if withheld => Some(header("P-Asserted-Identity", format!("<{caller}>"))),
        Identity::Ppi => Some(header("P-Preferred-Identity", format!("<{caller}>"))),
        Identity::Rpid => {
            let privacy = if withheld { "full" } else { "off" };
            Some(header("Remote-Party-ID", format!("<{caller}>;party=calling;screen=yes;privacy={privacy}")))
        }
        Identity::None => None,
    };
    let privacy = withheld.then(|| header("Privacy", "id".to_owned()));
    told.into_iter().chain(privacy).collect()
}

/// What is offered: the codecs asked for, as far as they are usable; else all of those.
fn codecs(create: &CreateCall, usable: &[Codec], faults: &mut Faults) -> Option<Vec<Codec>> {
    let Some(wanted) = &create.codecs else { return Some(usable.to_vec()) };
    let codecs: Vec<_> =
        wanted.iter().map(|&codec| from_api(codec)).filter(|codec| usable.contains(codec)).collect();
    if codecs.is_empty() {
        faults.push("/codecs", "the trunk or endpoint takes none of them");
        return None;
    }
    Some(codecs)
}

/// The codec that the API names.
pub fn from_api(codec: control_api_types::Codec) -> Codec {
    match codec {
        control_api_types::Codec::Pcmu => Codec::Pcmu,
        control_api_types::Codec::Pcma => Codec::Pcma,
        control_api_types::Codec::G722 => Codec::G722,
        control_api_types::Codec::Opus => Codec::Opus,
        control_api_types::Codec::L16 => Codec::L16,
    }
}

/// A codec as the API names it.
pub(crate) fn to_api(codec: Codec) -> control_api_types::Codec {
    match codec {
        Codec::Pcmu => control_api_types::Codec::Pcmu,
        Codec::Pcma => control_api_types::Codec::Pcma,
        Codec::G722 => control_api_types::Codec::G722,
        Codec::Opus => control_api_types::Codec::Opus,
        Codec::L16 => control_api_types::Codec::L16,
    }
}

#[cfg(test)]
mod tests {
    use control_api_types::Fault;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use serde_json::{Value, json};

    use super::*;
    use crate::config::TrunkConfig;
    use crate::number::NumberFormat;

    fn trunk() -> Trunk {
        let gateway =
            Target { host: "sip.example.com".into(), port: Some(5070), transport: None, ..Target::default() };
        let config = TrunkConfig {
            caller_ids: vec!["+62211".into(), "+62212".into()],
            codecs: vec![Codec::Pcma],
            from_domain: Some("pbx.example.net".into()),
            number_format: NumberFormat {
                strip: "+".into(),
                allow: vec!["62*".into()],
                ..Default::default()
            },
            ..TrunkConfig::new("jkt", gateway)
        };
        #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of a test")]
        let now = std::time::Instant::now();
        Trunk::new(now, config, &mut ChaCha20Rng::seed_from_u64(1)).unwrap()
    }

    fn plan(body: Value, trunk: Option<&Trunk>) -> Result<Dial, Vec<Fault>> {
        let mut faults = Faults::default();
        let create = CreateCall::from_json(&body).unwrap();
        let via = trunk.map_or(Via::Nobody, |trunk| Via::Trunk(trunk, Some("+62211")));
        let dial = super::plan(&create, via, &"192.0.2.1".parse().unwrap(), &mut faults);
        faults.into_result(dial)
    }

    /// The first way of a call through the trunk.
    fn branch(trunk: &Trunk, dial: &Dial) -> Branch {
        let mut random = ChaCha20Rng::seed_from_u64(1);
        trunk.ways(&dial.called, &mut random).unwrap()[0].branches[0].clone()
    }

    #[test]
    fn a_number_through_a_trunk() {
        let trunk = trunk();
        let body = json!({"to": "+62876", "trunk": "jkt", "headers": {"X-Job": "7"}, "timeout_s": 9});
        let dial = plan(body, Some(&trunk)).unwrap();
        let branch = branch(&trunk, &dial);
        assert_eq!(branch.request_uri.to_string(), "sip:62876@sip.example.com:5070");
        assert_eq!(branch.target.host, "sip.example.com");
        assert_eq!(dial.template.from.uri().to_string(), "sip:+62211@pbx.example.net");
        assert_eq!(dial.template.asked, [("X-Job".to_owned(), "7".to_owned())]);
        assert_eq!((dial.from.as_str(), dial.codecs), ("+62211", vec![Codec::Pcma]));
        assert_eq!(dial.ring_timeout, Duration::from_secs(9));
    }

    #[test]
    fn a_uri_with_and_without_a_trunk() {
        let trunk = trunk();
        let body = json!({"to": "sip:62@10.0.0.9:5099;transport=tcp", "from": "+62212", "trunk": "jkt"});
        let through = branch(&trunk, &plan(body, Some(&trunk)).unwrap());
        assert_eq!(through.target.host, "sip.example.com");
        assert_eq!(through.request_uri.to_string(), "sip:62@10.0.0.9:5099;transport=tcp");
        let direct = plan(json!({"to": "sip:bob@10.0.0.9:5099;transport=tcp"}), None).unwrap();
        let expected = Target {
            host: "10.0.0.9".into(),
            port: Some(5099),
            transport: Some(Transport::Tcp),
            ..Target::default()
        };
        assert_eq!(direct.ways[0].branches[0].target, expected);
        assert_eq!(direct.template.from.uri().to_string(), "sip:anonymous@192.0.2.1");
        assert_eq!(direct.codecs, Codec::DEFAULT);
    }

    #[test]
    fn who_calls_is_told_as_the_trunk_wants_it() {
        for (identity, from, expected) in [
            (Identity::None, "+62212", vec![]),
            (Identity::Pai, "+62212", vec![("P-Asserted-Identity", "<sip:+62212@pbx.example.net>")]),
            (Identity::Ppi, "+62212", vec![("P-Preferred-Identity", "<sip:+62212@pbx.example.net>")]),
            (
                Identity::Rpid,
                "+62212",
                vec![(
                    "Remote-Party-ID",
                    "<sip:+62212@pbx.example.net>;party=calling;screen=yes;privacy=off",
                )],
            ),
            (
                Identity::None,
                "anonymous",
                vec![("P-Asserted-Identity", "<sip:+62211@pbx.example.net>"), ("Privacy", "id")],
            ),
            (
                Identity::Rpid,
                "anonymous",
                vec![
                    ("Remote-Party-ID", "<sip:+62211@pbx.example.net>;party=calling;screen=yes;privacy=full"),
                    ("Privacy", "id"),
                ],
            ),
        ] {
            let mut trunk = trunk();
            trunk.config.identity = identity;
            let dial = plan(json!({"to": "+62876", "trunk": "jkt", "from": from}), Some(&trunk)).unwrap();
            let told: Vec<_> =
                dial.template.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(told, expected, "{identity} {from}");
            assert_eq!(dial.from, from);
            let shown = dial.template.from.to_string();
            match from {
                "anonymous" => assert_eq!(shown, "\"Anonymous\" <sip:anonymous@anonymous.invalid>"),
                _ => assert_eq!(shown, "<sip:+62212@pbx.example.net>"),
            }
        }
    }

    #[test]
    fn headers_of_the_request_come_before_those_of_the_trunk() {
        let mut trunk = trunk();
        trunk.config.identity = Identity::Pai;
        trunk.config.headers = vec![("X-Job".into(), "0".into()), ("X-Site".into(), "jkt".into())];
        let body = json!({"to": "+62876", "trunk": "jkt",
            "headers": {"x-job": "7", "p-asserted-identity": "<sip:+62212@example.net>"}});
        let template = plan(body, Some(&trunk)).unwrap().template;
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(template.headers, [header("X-Site", "jkt")]);
        let asked = [header("p-asserted-identity", "<sip:+62212@example.net>"), header("x-job", "7")];
        assert_eq!(template.asked, asked);
    }

    #[test]
    fn headers_show_no_caller_that_the_trunk_may_not_show() {
        let trunk = trunk();
        for name in ["P-Asserted-Identity", "p-preferred-identity", "Remote-Party-ID"] {
            for (value, may) in [
                ("<sip:+62212@x>", true),
                ("\"Sales\" <sip:%2B62212@x;user=phone>;party=calling", true),
                ("<tel:+62-212>", true),
                ("<sip:+12025550100@x>", false),
                ("<sip:+62212@x>, <tel:+12025550100>", false),
                ("<sip:x>", false),
                ("+62212", false),
            ] {
                let body =
                    json!({"to": "+62876", "trunk": "jkt", "from": "anonymous", "headers": {name: value}});
                let planned = plan(body, Some(&trunk));
                let faults = planned.err().unwrap_or_default();
                let at: Vec<_> = faults.iter().map(|fault| fault.pointer.clone()).collect();
                let expected = if may { vec![] } else { vec![format!("/headers/{name}")] };
                assert_eq!(at, expected, "{name}: {value}");
            }
        }
        let mut open = self::trunk();
        open.config.caller_ids.clear();
        let body = json!({"to": "+62876", "trunk": "jkt", "headers": {"P-Asserted-Identity": "<sip:a@b>"}});
        assert!(plan(body, Some(&open)).is_ok(), "without caller_ids any may be shown");
    }

    #[test]
    fn a_number_that_may_not_be_dialled_may_not_be_as_a_uri() {
        let trunk = trunk();
        for to in ["sip:+1900555@x", "sip:%31900555@x", "sip:1-900-555@x", "sip:1900555;a=b@x", "sip:bob@x"] {
            let faults = plan(json!({"to": to, "trunk": "jkt"}), Some(&trunk)).unwrap_err();
            assert_eq!(faults[0].pointer, "/to", "{to}");
            assert!(faults[0].detail.contains("number_format.allow"), "{}", faults[0].detail);
        }
        assert!(plan(json!({"to": "sip:62-876@x", "trunk": "jkt"}), Some(&trunk)).is_ok());
        assert!(plan(json!({"to": "sip:1900555@x"}), None).is_ok(), "without a trunk there is no rule");
    }

    #[test]
    fn a_request_sets_no_header_that_the_endpoint_writes_itself() {
        let letters = ('a'..='z').map(String::from);
        let compact = letters.filter(|letter| {
            let name = sip_core::Name::parse(letter);
            sip_core::own_in_invite().any(|own| own == name)
        });
        let names: Vec<_> =
            sip_core::own_in_invite().map(|name| name.as_str().to_owned()).chain(compact).collect();
        assert!(names.len() > 20 && names.contains(&"v".to_owned()), "{names:?}");
        for name in names {
            let faults =
                CreateCall::from_json(&json!({"to": "sip:a@b", "headers": {&name: "1"}})).unwrap_err();
            assert_eq!(faults[0].pointer, format!("/headers/{name}"));
        }
    }

    #[test]
    fn every_fault_at_once() {
        let trunk = trunk();
        let body = json!({"to": "+1555", "trunk": "jkt", "from": "+1", "codecs": ["PCMU"]});
        let faults = plan(body, Some(&trunk)).unwrap_err();
        let at: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(at, ["/to", "/from", "/codecs"]);
        for to in ["sip:bob@host;transport=carrier-pigeon", "sip:@", "sip:a b@c"] {
            if let Ok(create) = CreateCall::from_json(&json!({"to": to})) {
                let mut faults = Faults::default();
                super::plan(&create, Via::Nobody, &"192.0.2.1".parse().unwrap(), &mut faults);
                assert_eq!(faults.into_result(Some(())).unwrap_err()[0].pointer, "/to", "{to}");
            }
        }
    }
}
