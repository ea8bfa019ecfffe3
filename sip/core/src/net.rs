//! Networks as they are configured, and what one peer is by its address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is counted as one peer: an IPv4 address, or an IPv6 /64, for a host has as many addresses in its own as it likes
/// (RFC 8981).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(u128);

impl Source {
    /// Whom this address belongs to; an IPv4 address in its IPv6-mapped form counts as itself.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped().into(),
            IpAddr::V6(address) => u128::from(address) & !u128::from(u64::MAX),
        })
    }

    pub(crate) fn octets(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match IpAddr::from(Ipv6Addr::from(self.0)).to_canonical() {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An IP network in prefix form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Neither an address nor `address/prefix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an IP address, nor a network such as 10.0.0.0/8")]
pub struct NotANetwork;

impl std::str::FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|&prefix| prefix <= bits).ok_or(NotANetwork)?,
            None => bits,
        };
        Ok(Self { address, prefix })
    }
}

impl Network {
    /// Whether `address` lies in this network; an IPv4 address in its IPv6-mapped form counts as itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                same_prefix(u32::from(net).into(), u32::from(ip).into(), self.prefix + 96)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => same_prefix(net.into(), ip.into(), self.prefix),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Whether an address can be that of one peer: neither unspecified, which is ourselves, nor everybody's.
pub fn is_unicast(address: IpAddr) -> bool {
    let address = address.to_canonical();
    !address.is_unspecified() && !address.is_multicast() && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// The network that an address belongs to which means something only within it.
pub fn private_network(address: IpAddr) -> Option<Network> {
    const fn v4(a: u8, b: u8, prefix: u8) -> Network {
        Network { address: IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)), prefix }
    }
    const fn v6(first: u16, prefix: u8) -> Network {
        Network { address: IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0)), prefix }
    }
    const PRIVATE: [Network; 10] = [
        // RFC 1918 section 3.
        v4(10, 0, 8),
        v4(172, 16, 12),
        v4(192, 168, 16),
        // RFC 6598: for carrier-grade NATs.
        v4(100, 64, 10),
        // Link-local, loopback and "this network".
        v4(169, 254, 16),
        v4(127, 0, 8),
        v4(0, 0, 8),
        // Unique local, link-local; loopback and the unspecified address.
        v6(0xfc00, 7),
        v6(0xfe80, 10),
        v6(0, 127),
    ];
    PRIVATE.into_iter().find(|network| network.contains(address))
}

fn same_prefix(a: u128, b: u128, bits: u8) -> bool {
    (a ^ b).leading_zeros() >= u32::from(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "::1", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network:?} {address}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "host", "10.0.0.0/"] {
            assert_eq!(bad.parse::<Network>(), Err(NotANetwork), "{bad}");
        }
    }

    #[test]
    fn networks_that_end_at_a_router() {
        for (address, network) in [
            ("10.1.2.3", Some("10.0.0.0/8")),
            ("::ffff:10.1.2.3", Some("10.0.0.0/8")),
            ("172.31.0.1", Some("172.16.0.0/12")),
            ("172.32.0.1", None),
            ("192.168.1.5", Some("192.168.0.0/16")),
            ("192.169.1.5", None),
            ("100.127.0.1", Some("100.64.0.0/10")),
            ("100.128.0.1", None),
            ("203.0.113.5", None),
            ("fd00::1", Some("fc00::/7")),
            ("fe80::1", Some("fe80::/10")),
            ("::1", Some("::/127")),
            ("::2", None),
            ("2001:db8::1", None),
        ] {
            let network = network.map(|network| network.parse().unwrap());
            assert_eq!(private_network(address.parse().unwrap()), network, "{address}");
        }
    }

    #[test]
    fn one_peer() {
        for (address, source) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:0:1:a:b:c:d", "2001:db8:0:1::/64"),
            ("::1", "::/64"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(Source::of(address).to_string(), source);
        }
    }
}
