//! Via (RFC 3261 section 20.42, rport of RFC 3581).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use bytestring::ByteString;

use crate::grammar::{self, is_token, share, trim};
use crate::params::Params;
use crate::uri::{self, Host};
use crate::{ParseError, Transport};

/// One hop of the way a request came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Via {
    /// `UDP`, or the name of a transport unknown here.
    protocol: ByteString,
    host: Host,
    port: Option<u16>,
    params: Params,
}

/// The `rport` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rport {
    /// `;rport`: the client asks to be answered on the port it sent from (RFC 3581 section 3).
    Asked,
    /// `;rport=5060`: the server saw this port.
    Port(u16),
}

impl Via {
    /// The branch prefix of RFC 3261: "the branch ID … MUST always begin with the characters 'z9hG4bK'".
    pub const COOKIE: &'static str = "z9hG4bK";

    /// `SIP/2.0/transport host:port;branch=…`
    pub fn new(transport: Transport, host: Host, port: Option<u16>, branch: &str) -> Via {
        let params = Params::new().with("branch", branch);
        Via { protocol: ByteString::from_static(transport.via_token()), host, port, params }
    }

    /// Reads one Via value; spaces may stand around every separator.
    pub fn parse(text: ByteString) -> Result<Via, ParseError> {
        let semicolon = grammar::find_outside(&text, |b| b == b';').unwrap_or(text.len());
        let (sent, params) = str::split_at(&text, semicolon);
        // "sent-protocol = protocol-name SLASH protocol-version SLASH transport"; another version is read as well, so
        // that a request with it can be answered 505.
        let (name, rest) = sent.split_once('/').ok_or(ParseError::Via)?;
        let (version, rest) = rest.split_once('/').ok_or(ParseError::Via)?;
        let rest = trim(rest);
        let (protocol, by) = rest.split_once(grammar::is_space).ok_or(ParseError::Via)?;
        if !trim(name).eq_ignore_ascii_case("SIP") || !is_token(trim(version)) || !is_token(protocol) {
            return Err(ParseError::Via);
        }
        let (host, port) = uri::host_port(trim(by)).map_err(|_| ParseError::Via)?;
        let via = Via {
            protocol: share(&text, protocol),
            host: Host::parse(&share(&text, host)).map_err(|_| ParseError::Via)?,
            port,
            params: Params::parse(share(&text, params)).map_err(|_| ParseError::Via)?,
        };
        let sound = |name| via.params.get(name).is_none_or(|value| ip(value).is_some());
        if !sound("received") || via.rport_text().is_some_and(|port| grammar::number::<u16>(port).is_none()) {
            return Err(ParseError::Via);
        }
        Ok(via)
    }

    fn rport_text(&self) -> Option<&str> {
        self.params.get("rport").filter(|text| !text.is_empty())
    }

    /// The transport, when it is one that this engine speaks.
    pub fn transport(&self) -> Option<Transport> {
        Transport::from_token(&self.protocol)
    }

    /// The transport as written: `TLS`, `SCTP`, `UNKNOWN`…
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// The host of sent-by.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port of sent-by, where one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// All parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The branch, the transaction's name.
    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch").filter(|branch| !branch.is_empty())
    }

    /// The address a server saw. RFC 5118 section 4.5: IPv6 is read with and without brackets.
    pub fn received(&self) -> Option<IpAddr> {
        self.params.get("received").and_then(ip)
    }

    /// The port a server saw, or the wish to be told.
    pub fn rport(&self) -> Option<Rport> {
        self.params.get("rport").and_then(|text| match text {
            "" => Some(Rport::Asked),
            text => grammar::number(text).map(Rport::Port),
        })
    }

    /// The same value with a parameter added or replaced; an empty value writes a flag.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: &str) -> Via {
        self.params = self.params.with(name, value);
        self
    }
}

fn ip(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(inner) => uri::ipv6(inner).map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

impl FromStr for Via {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Via, ParseError> {
        Via::parse(trim(text).into())
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.protocol, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(text: &str) -> Via {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn spaces_around_every_separator() {
        let v = via("SIP / 2.0 / UDP  first.example.com : 4000 ;ttl=16 ; branch = z9hG4bKa7c6a8dlze.1");
        assert_eq!(
            (v.transport(), v.port(), v.branch()),
            (Some(Transport::Udp), Some(4000), Some("z9hG4bKa7c6a8dlze.1"))
        );
        assert_eq!(v.to_string(), "SIP/2.0/UDP first.example.com:4000;ttl=16 ; branch = z9hG4bKa7c6a8dlze.1");
    }

    #[test]
    fn received_and_rport() {
        let v = via("SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;rport;branch=z9hG4bKas3");
        assert_eq!((v.received(), v.rport()), ("2001:db8::9:255".parse().ok(), Some(Rport::Asked)));
        let v = via("SIP/2.0/TLS h;received=[2001:db8::9:255];rport=5061;maddr=224.2.0.1");
        assert_eq!((v.received(), v.rport()), ("2001:db8::9:255".parse().ok(), Some(Rport::Port(5061))));
        assert_eq!((v.transport(), v.protocol()), (Some(Transport::Tls), "TLS"));
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0 UDP h",
            "HTTP/1.1/TCP h",
            "SIP/2.0/UDP h;;",
            "SIP/2.0/UDP h:x",
            "SIP/2.0/UDP a b",
            "SIP/2.0/UDP h;received=nowhere",
            "SIP/2.0/UDP h;rport=99999",
            "SIP/2.0/UDP 2001:db8::1",
        ] {
            assert_eq!(text.parse::<Via>(), Err(ParseError::Via), "{text}");
        }
    }
}
