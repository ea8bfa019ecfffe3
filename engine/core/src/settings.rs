//! From a trunk's settings, as the API and the configuration file have them, to what the engine runs.

use std::time::Duration;

use control_api_types::{CallerIdChoice, Fault, Faults, ReliableProvisionals, Secret, TrunkSettings};
use media_core::Codec;
use sip_core::digest::Credentials;
use sip_core::{Host, Reliable, Scheme, Target, Transport, Uri};

use crate::admission::Capacity;
use crate::config::{GatewayConfig, Probing, TrunkConfig};
use crate::dial::from_api;
use crate::number::NumberFormat;

/// How long a registration asks to last; carriers shorten it as they like (RFC 3261 §10.2.1.1).
const REGISTRATION: Duration = Duration::from_secs(3600);

impl TrunkConfig {
    /// The trunk that these settings describe, or every fault with its place in them. `served` are the transports that
    /// there are listeners of.
    pub fn from_settings(settings: &TrunkSettings, served: &[Transport]) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let target = |text: &str, pointer: &str, faults: &mut Faults| {
            let target = target(text, pointer, faults)?;
            // Requests name the address where the peer's own are to come.
            if let Some(transport) = target.transport.filter(|transport| !served.contains(transport)) {
                let mend = format!("add \"{transport}:IP:PORT\" to listen in [sip]");
                faults.push(
                    pointer,
                    format_args!("a trunk over {transport} needs a listener to be called back at: {mend}"),
                );
            }
            Some(Target { public_ip: settings.public_ip, ..target })
        };
        let registrar = target(&settings.uri, "/uri", &mut faults);
        let outbound_proxy =
            settings.outbound_proxy.as_ref().and_then(|uri| target(uri, "/outbound_proxy", &mut faults));
        if let Some(domain) = &settings.from_domain
            && domain.parse::<Host>().is_err()
        {
            faults.push("/from_domain", format_args!("{domain:?} is neither a host name nor an IP address"));
        }
        let mut gateways: Vec<GatewayConfig> = Vec::new();
        for (index, gateway) in settings.gateways.iter().enumerate() {
            let pointer = format!("/gateways/{index}/uri");
            let Some(target) = target(&gateway.uri, &pointer, &mut faults) else { continue };
            if gateways.iter().any(|known| known.target == target) {
                faults.push(&pointer, format_args!("gateway {:?} is there twice", gateway.uri));
            }
            let (priority, weight) = (gateway.priority, gateway.weight);
            gateways.push(GatewayConfig { target, priority, weight });
        }
        let credentials = match (&settings.username, &settings.password) {
            (Some(username), Some(Secret(password))) => {
                Some(Credentials::new(username.as_str(), password.as_str()))
            }
            (Some(_) | None, None) | (None, Some(_)) => None,
        };
        let registrar = faults.into_result(registrar)?;
        if gateways.is_empty() {
            gateways.push(GatewayConfig { target: registrar.clone(), priority: 0, weight: 1 });
        }
        Ok(Self {
            name: settings.name.clone(),
            enabled: true,
            gateways,
            failover: Duration::from_millis(settings.failover_ms.into()),
            probing: settings.options_interval_s.map(|seconds| Probing {
                interval: Duration::from_secs(seconds.into()),
                down_after: settings.options_down_after,
                up_after: settings.options_up_after,
            }),
            registrar: Some(registrar),
            outbound_proxy,
            credentials,
            register: settings.register.then_some(REGISTRATION),
            from_domain: settings.from_domain.clone(),
            caller_ids: settings.caller_ids.clone(),
            caller_ids_in_turn: match settings.caller_id {
                CallerIdChoice::First => false,
                CallerIdChoice::RoundRobin => true,
            },
            identity: settings.identity,
            headers: settings.headers.clone().into_iter().collect(),
            redirects: settings.redirects,
            redirect_to: settings.redirect_to,
            late_offer: settings.late_offer,
            session_interval: settings.session_timer_s.map(|seconds| Duration::from_secs(seconds.into())),
            reliable: match settings.reliable {
                ReliableProvisionals::Off => Reliable::Off,
                ReliableProvisionals::Supported => Reliable::Supported,
                ReliableProvisionals::Required => Reliable::Required,
            },
            codecs: match &settings.codecs {
                Some(codecs) => codecs.iter().map(|&codec| from_api(codec)).collect(),
                None => Codec::DEFAULT.to_vec(),
            },
            dtmf: settings.dtmf,
            srtp: settings.srtp,
            capacity: Capacity { max_calls: settings.max_calls, max_cps: settings.max_cps.map(f64::from) },
            number_format: NumberFormat {
                strip: settings.number_format.strip.clone(),
                prefix: settings.number_format.prefix.clone(),
                allow: settings.number_format.allow.clone(),
                deny: settings.number_format.deny.clone(),
            },
            attest: settings.attest,
            verify: settings.verify,
            public_ip: settings.public_ip,
        })
    }
}

/// `sip:host:port;transport=tcp` as a next hop.
fn target(text: &str, pointer: &str, faults: &mut Faults) -> Option<Target> {
    let uri = text.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme(), Scheme::Sip | Scheme::Sips));
    let Some((uri, host)) = uri.and_then(|uri| Some((uri.clone(), uri.host()?))) else {
        let wanted = "expected a URI such as sip:sip.example.net:5060;transport=udp";
        faults.push(pointer, format_args!("{text:?}: {wanted}"));
        return None;
    };
    match uri.transport() {
        Ok(transport) => {
            Some(Target { host: host.to_string(), port: uri.port(), transport, ..Target::default() })
        }
        Err(other) => {
            let known = Transport::ALL.map(Transport::name).join(", ");
            faults.push(pointer, format_args!("transport {other:?} is not supported; there are {known}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(body: serde_json::Value) -> Result<TrunkConfig, Vec<Fault>> {
        let served = [Transport::Udp, Transport::Tcp];
        TrunkConfig::from_settings(&TrunkSettings::from_json(&body).unwrap(), &served)
    }

    #[test]
    fn the_registrar_is_the_gateway_unless_others_are_named() {
        let alone = config(json!({"name": "t", "uri": "sip:192.0.2.1:5070"})).unwrap();
        assert_eq!(alone.gateways[0].target.port, Some(5070));
        assert_eq!((alone.codecs.as_slice(), alone.probing), (&Codec::DEFAULT[..], None));
        let several = config(json!({
            "name": "t", "uri": "sip:a.example", "options_interval_s": 30, "public_ip": "198.51.100.1",
            "gateways": [{"uri": "sip:192.0.2.1", "weight": 3}, {"uri": "sip:192.0.2.2;transport=tcp"}],
        }))
        .unwrap();
        let hosts: Vec<_> = several.gateways.iter().map(|gateway| gateway.target.host.as_str()).collect();
        assert_eq!(hosts, ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(several.gateways[0].weight, 3);
        assert_eq!(several.gateways[0].target.public_ip, several.public_ip);
        assert_eq!(several.probing.map(|probing| probing.down_after), Some(3));
    }

    #[test]
    fn what_is_no_address_is_told_with_its_place() {
        let faults = config(json!({
            "name": "t", "uri": "192.0.2.1", "from_domain": "a b", "outbound_proxy": "sip:p;transport=sctp",
            "gateways": [{"uri": "sip:192.0.2.1"}, {"uri": "tel:1"}, {"uri": "sip:192.0.2.1"}, {"uri": "sips:192.0.2.2"}],
        }))
        .unwrap_err();
        let told: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(
            told,
            [
                "/uri",
                "/outbound_proxy",
                "/from_domain",
                "/gateways/1/uri",
                "/gateways/2/uri",
                "/gateways/3/uri"
            ]
        );
    }
}
