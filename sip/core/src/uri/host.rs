//! Hosts: names, IPv4 addresses and IPv6 references.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use bytestring::ByteString;

use crate::ParseError;
use crate::grammar::{self, trim};

/// The host of a URI or of a Via value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address; IPv6 is written in brackets.
    Ip(IpAddr),
    /// A name to be looked up.
    Name(ByteString),
}

impl Host {
    /// Reads a host; IPv6 must stand in brackets.
    pub fn parse(text: &ByteString) -> Result<Host, ParseError> {
        Ok(match Host::parse_str(text)? {
            Some(ip) => Host::Ip(ip),
            None => Host::Name(text.clone()),
        })
    }

    /// The address that `text` is, or `None` for a sound name.
    pub(crate) fn parse_str(text: &str) -> Result<Option<IpAddr>, ParseError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(ParseError::Host)?;
            return ipv6(inner).map(|ip| Some(IpAddr::V6(ip))).ok_or(ParseError::Host);
        }
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Some(IpAddr::V4(ip)));
        }
        // "hostname" is letters, digits, "-" and "."; the underscore is against RFC 3261 but common in private DNS.
        let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if text.is_empty() || text.starts_with('.') || text.contains("..") || !text.bytes().all(sound) {
            return Err(ParseError::Host);
        }
        Ok(None)
    }

    /// The address, when the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Ip(ip) => Some(*ip),
            Host::Name(_) => None,
        }
    }

    /// Host equality: names in any case, addresses by value.
    pub fn is_equivalent(&self, other: &Host) -> bool {
        match (self, other) {
            (Host::Ip(a), Host::Ip(b)) => a == b,
            (Host::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
            (Host::Ip(_), Host::Name(_)) | (Host::Name(_), Host::Ip(_)) => false,
        }
    }
}

/// An IPv6 address without brackets.
pub(crate) fn ipv6(text: &str) -> Option<Ipv6Addr> {
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    // RFC 5118 section 4.10: the ABNF of RFC 3261 allowed "2001:db8:::192.0.2.1", three colons before an embedded
    // IPv4 address, and a lenient element reads it as if there were two.
    let (before, after) = text.split_once(":::")?;
    after.parse::<Ipv4Addr>().ok()?;
    format!("{before}::{after}").parse().ok()
}

/// Parts `host:port`, with spaces around the colon as Via allows.
pub(crate) fn host_port(text: &str) -> Result<(&str, Option<u16>), ParseError> {
    let after_host = match text.strip_prefix('[') {
        Some(_) => text.find(']').ok_or(ParseError::Host)? + 1,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(after_host);
    let port = match trim(port) {
        "" => None,
        port => {
            let digits = port.strip_prefix(':').ok_or(ParseError::Host)?;
            Some(grammar::number(trim(digits)).ok_or(ParseError::Host)?)
        }
    };
    Ok((trim(host), port))
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Host {
        Host::Ip(ip)
    }
}

impl From<SocketAddr> for Host {
    fn from(address: SocketAddr) -> Host {
        Host::Ip(address.ip())
    }
}

impl FromStr for Host {
    type Err = ParseError;

    /// Also takes a bare IPv6 address, as people write it in configuration.
    fn from_str(text: &str) -> Result<Host, ParseError> {
        match text.parse() {
            Ok(ip) => Ok(Host::Ip(ip)),
            Err(_) => Host::parse(&text.into()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Host::Name(name) => f.write_str(name),
        }
    }
}
