//! Gateways of a trunk: which is tried first.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use rand_core::Rng;
use sip_core::{Host, Method, NameAddr, Outgoing, Target, Uri};

use super::health::Health;
use crate::config::{ConfigError, GatewayConfig, TrunkConfig};

/// A gateway's SIP URI: how it is told in the API and known inside its trunk.
pub(crate) type GatewayName = Arc<str>;

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) config: GatewayConfig,
    pub(crate) name: GatewayName,
    /// The host of Request-URIs.
    pub(crate) host: Host,
    /// Where its calls come from: the literal address, or what its name was last resolved to.
    pub(crate) addresses: BTreeSet<IpAddr>,
    pub(crate) health: Health,
}

impl Gateway {
    pub(crate) fn new(
        now: Instant,
        config: GatewayConfig,
        trunk: &TrunkConfig,
        random: &mut impl Rng,
    ) -> Result<Self, ConfigError> {
        let host: Host = config.target.host.parse().map_err(|_| ConfigError::GatewayHost {
            trunk: trunk.name.clone(),
            host: config.target.host.clone(),
        })?;
        let addresses = host.ip().map(|ip| ip.to_canonical()).into_iter().collect();
        let health = Health::new(now, trunk.probing.as_ref(), random);
        Ok(Self { name: name(&host, &config.target).into(), host, addresses, health, config })
    }
}

impl Gateway {
    /// Who has this number.
    pub(super) fn uri(&self, number: &str) -> Uri {
        Uri::sip(Some(number), &self.host, self.config.target.port)
    }

    /// The request that asks if it is there.
    pub(super) fn probe(&self, domain: &Host, proxy: Option<&Target>, route: &[NameAddr]) -> Outgoing {
        let uri = Uri::sip(None, &self.host, self.config.target.port);
        Outgoing {
            method: Method::Options,
            to: NameAddr::new(uri.clone()),
            request_uri: uri,
            from: NameAddr::new(Uri::sip(None, domain, None)),
            target: proxy.unwrap_or(&self.config.target).clone(),
            route: route.to_vec(),
            headers: Vec::new(),
            body: None,
            // A challenge is a sign of life too.
            credentials: None,
        }
    }
}

/// The URI of a next hop.
pub(super) fn name(host: &Host, target: &Target) -> String {
    let port = target.port.map(|port| format!(":{port}")).unwrap_or_default();
    let transport = target.transport.map(|transport| format!(";transport={transport}")).unwrap_or_default();
    format!("sip:{host}{port}{transport}")
}

/// The order in which one call tries gateways: by priority; inside a priority at random, as often first as the weight
/// says (RFC 2782 selects servers so). Weight 0 is for when the others have failed.
pub(super) fn order<'a>(mut gateways: Vec<&'a Gateway>, random: &mut impl Rng) -> Vec<&'a Gateway> {
    gateways.sort_by_key(|gateway| gateway.config.priority);
    let mut left = VecDeque::from(gateways);
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(first) = left.front() {
        let peers = left.iter().take_while(|gateway| gateway.config.priority == first.config.priority);
        let total: u64 = peers.clone().map(|gateway| u64::from(gateway.config.weight)).sum();
        let at = match total {
            0 => 0,
            total => {
                let mut ticket = random.next_u64() % total;
                peers
                    .take_while(|gateway| {
                        let weight = u64::from(gateway.config.weight);
                        let passes = ticket >= weight;
                        ticket = ticket.saturating_sub(weight);
                        passes
                    })
                    .count()
            }
        };
        ordered.extend(left.remove(at));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn new(target: Target, priority: u16, weight: u16) -> Gateway {
        #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of a test")]
        let now = Instant::now();
        let trunk = TrunkConfig::new("t", target.clone());
        let config = GatewayConfig { target, priority, weight };
        Gateway::new(now, config, &trunk, &mut ChaCha20Rng::seed_from_u64(1)).unwrap()
    }

    fn gateway(host: &str, priority: u16, weight: u16) -> Gateway {
        new(Target { host: host.into(), port: Some(5060), ..Target::default() }, priority, weight)
    }

    #[test]
    fn priority_rules_and_weight_shares() {
        let gateways = [
            gateway("spare", 2, 100),
            gateway("third", 1, 10),
            gateway("never", 1, 0),
            gateway("most", 1, 30),
        ];
        let mut random = ChaCha20Rng::seed_from_u64(1);
        let mut first = BTreeMap::new();
        for _ in 0..4_000 {
            let order: Vec<_> = order(gateways.iter().collect(), &mut random)
                .iter()
                .map(|gateway| gateway.config.target.host.as_str())
                .collect();
            assert_eq!(order[2..], ["never", "spare"]);
            *first.entry(order[0].to_owned()).or_insert(0) += 1;
        }
        assert_eq!(first.len(), 2);
        // 3 : 1, within four standard deviations of the binomial distribution (27).
        assert!((2_890..=3_110).contains(&first["most"]), "{first:?}");
    }

    #[test]
    fn names_are_uris() {
        for (host, port, transport, name) in [
            ("sip.example", None, None, "sip:sip.example"),
            ("192.0.2.1", Some(5070), Some(sip_core::Transport::Tcp), "sip:192.0.2.1:5070;transport=tcp"),
            ("2001:db8::1", Some(5060), None, "sip:[2001:db8::1]:5060"),
        ] {
            let target = Target { host: host.into(), port, transport, ..Target::default() };
            assert_eq!(&*new(target, 0, 1).name, name);
        }
    }
}
