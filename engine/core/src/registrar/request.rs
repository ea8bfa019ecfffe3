//! Reading a REGISTER (RFC 3261 §10.2 and §10.3, RFC 3327, RFC 5626 §6).

use std::time::Duration;

use sip_core::{
    ByteString, Contact, Hop, Host, Message, Name, NameAddr, Transport, Uri, private_network, unquote,
};

use super::location::{Contacts, FlowId, Update, Wanted, Way};

/// RFC 3261 §10.3 step 7: "the registrar MUST … assign a locally-configured default value"; what §10.2 suggests.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// Shorter ones are refused (423): a phone that refreshes more often than once a minute is a load and no use.
pub(super) const MIN_LIFETIME: Duration = Duration::from_secs(60);

/// RFC 3261 §10.3 step 7: "The registrar MAY choose an expiration less than the requested expiration interval."
const MAX_LIFETIME: Duration = Duration::from_secs(7200);

/// Longest URI, instance or Call-ID that is kept of a phone; those of the field have fewer than 200 characters.
const MAX_TEXT: usize = 512;

/// Longest User-Agent that is kept; the rest is cut off.
const MAX_USER_AGENT: usize = 128;

/// Most proxies between a phone and us.
const MAX_PATH: usize = 8;

/// The extensions of REGISTER that are understood.
const EXTENSIONS: [&str; 2] = ["path", "outbound"];

/// A REGISTER, read.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) update: Update,
    /// Whether RFC 5626 applies: its contact is one flow of a phone.
    pub(super) outbound: bool,
}

/// What is wrong with a REGISTER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// A header field is malformed, or several contradict one another.
    Malformed,
    /// An expiry is too short.
    TooBrief,
    /// Proxies have added Path, which the phone does not know.
    PathUnsupported,
    /// The proxy next to the phone does not keep flows.
    FirstHopLacksOutbound,
}

/// RFC 3261 §8.2.2.3: what is required and not understood, to be listed in Unsupported; empty when all is.
pub(super) fn not_understood(request: &Message) -> String {
    let unknown = |tag: &&str| !EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(tag));
    request.headers(Name::Require).filter(unknown).collect::<Vec<_>>().join(", ")
}

/// Reads what a REGISTER that came by `hop` asks for.
pub(super) fn read(request: &Message, hop: Hop) -> Result<Request, Fault> {
    let call_id = request.call_id().map_err(|_| Fault::Malformed)?;
    let cseq = request.cseq().map_err(|_| Fault::Malformed)?.number;
    // RFC 3261 §10.2.1.1: "Malformed values SHOULD be treated as equivalent to 3600."
    let expires = match request.expires() {
        Ok(expires) => expires,
        Err(_) => Some(DEFAULT_LIFETIME),
    };
    let path = path(request)?;
    let says = |tag: &str| {
        let tags = request.headers(Name::Supported).chain(request.headers(Name::Require));
        tags.into_iter().any(|known| known.eq_ignore_ascii_case(tag))
    };
    // RFC 3327 §5.3, of a Path without support for it: "The recommended policy is for the registrar to reject the request
    // with a 420 'Bad Extension' response indicating the Path extension."
    if !path.is_empty() && !says("path") {
        return Err(Fault::PathUnsupported);
    }
    let listed: Vec<_> = request.contacts().collect::<Result<_, _>>().map_err(|_| Fault::Malformed)?;
    let contacts = if listed.contains(&Contact::All) {
        // RFC 3261 §10.3 step 6: "If the request has additional Contact fields or an expiration time other than zero, the
        // request is invalid, and the server MUST return a 400 (Invalid Request)".
        if listed.len() != 1 || request.expires() != Ok(Some(Duration::ZERO)) {
            return Err(Fault::Malformed);
        }
        Contacts::RemoveAll
    } else {
        let reader = Reader { hop, expires, has_path: !path.is_empty(), outbound: says("outbound"), request };
        Contacts::Each(
            listed
                .iter()
                .filter_map(Contact::addr)
                .map(|addr| reader.wanted(addr))
                .collect::<Result<_, _>>()?,
        )
    };
    let outbound = is_outbound(&contacts)?;
    if outbound {
        // RFC 5626 §6: a phone is next to us, or next to a proxy that keeps its flow, which says so by "ob" in its Path.
        let next_to_phone = path.last().map(|uri| uri.param("ob").is_some());
        if next_to_phone == Some(false) || next_to_phone.is_none() && request.vias().count() > 1 {
            return Err(Fault::FirstHopLacksOutbound);
        }
    }
    let user_agent = request.header(Name::UserAgent).map(|text| cut(text).into());
    Ok(Request {
        update: Update { call_id: own(&call_id)?, cseq, contacts, path, source: hop, user_agent },
        outbound,
    })
}

/// RFC 5626 §6: "if the Contact header field contains more than one header field value with a non-zero expiration and any of
/// these header field values contain a 'reg-id' Contact header field parameter, the entire registration SHOULD be rejected
/// with a 400".
fn is_outbound(contacts: &Contacts) -> Result<bool, Fault> {
    let Contacts::Each(wanted) = contacts else { return Ok(false) };
    let kept: Vec<_> = wanted.iter().filter(|wanted| !wanted.lifetime.is_zero()).collect();
    let outbound = kept.iter().any(|wanted| wanted.flow_id.is_some());
    if outbound && kept.len() > 1 { Err(Fault::Malformed) } else { Ok(outbound) }
}

/// RFC 3327 §5.3: "the registrar constructs an ordered list of route elements (a path vector) from the nodes listed in the
/// Path header values".
fn path(request: &Message) -> Result<Vec<Uri>, Fault> {
    let nodes: Vec<_> = request
        .addresses(Name::Path)
        .map(|node| node.map_err(|_| Fault::Malformed).and_then(|node| uri(&node)))
        .collect::<Result<_, _>>()?;
    if nodes.len() > MAX_PATH { Err(Fault::Malformed) } else { Ok(nodes) }
}

struct Reader<'a> {
    hop: Hop,
    /// Of the header field, for contacts without their own.
    expires: Option<Duration>,
    has_path: bool,
    outbound: bool,
    request: &'a Message,
}

impl Reader<'_> {
    fn wanted(&self, addr: &NameAddr) -> Result<Wanted, Fault> {
        let contact = uri(addr)?;
        let lifetime = self.lifetime(addr)?;
        let flow_id = self.flow_id(addr)?;
        Ok(Wanted {
            way: if self.has_path {
                Way::Uri
            } else if flow_id.is_some() {
                Way::Flow
            } else {
                self.way(&contact)
            },
            q: quality(addr)?,
            contact,
            lifetime,
            flow_id,
        })
    }

    fn lifetime(&self, addr: &NameAddr) -> Result<Duration, Fault> {
        let lifetime = match addr.params().get("expires") {
            Some(text) => text.parse::<u32>().map_or(DEFAULT_LIFETIME, |s| Duration::from_secs(s.into())),
            None => self.expires.unwrap_or(DEFAULT_LIFETIME),
        };
        // RFC 3261 §10.3 step 7: "If and only if the requested expiration interval is greater than zero AND smaller than
        // one hour AND less than a registrar-configured minimum, the registrar MAY reject the registration with a
        // response of 423 (Interval Too Brief)."
        if !lifetime.is_zero() && lifetime < MIN_LIFETIME {
            return Err(Fault::TooBrief);
        }
        Ok(lifetime.min(MAX_LIFETIME))
    }

    /// RFC 5626 §6: "If the registrar processes a Contact header field value with a 'reg-id' but no instance-id, it simply
    /// ignores the reg-id parameter"; and so it does where the phone does not say that it supports outbound.
    fn flow_id(&self, addr: &NameAddr) -> Result<Option<FlowId>, Fault> {
        let (Some(reg_id), Some(instance), true) =
            (addr.params().get("reg-id"), addr.params().get("+sip.instance"), self.outbound)
        else {
            return Ok(None);
        };
        // RFC 5626 §9: "reg-id = 1*DIGIT ; 1 to (2^31 - 1)".
        let reg_id = reg_id.parse().ok().filter(|id| (1..1 << 31).contains(id)).ok_or(Fault::Malformed)?;
        Ok(Some(FlowId { instance: own(&unquote(instance))?, reg_id }))
    }

    /// Whether the contact can be reached by what it says. Phones behind NATs write the address that they know of
    /// themselves, browsers none at all.
    fn way(&self, contact: &Uri) -> Way {
        let Hop { transport, remote, .. } = self.hop;
        let ip = contact.host().and_then(|host| host.ip()).map(|ip| ip.to_canonical());
        let same_host = ip == Some(remote.ip().to_canonical());
        let by_uri = match transport {
            // Over a stream of its own making a phone that is where it says can be reached by another; but not where the
            // stream authenticates us, and a WebSocket only a server accepts.
            Transport::Tcp => same_host,
            Transport::Udp => {
                let port = contact.port().unwrap_or(transport.default_port());
                let same_place = same_host && port == remote.port();
                // RFC 3581: who asks for rport sends and receives by the same port, and expects a NAT.
                let asks_for_rport = self.request.top_via().is_ok_and(|via| via.rport().is_some());
                let elsewhere = ip.is_some_and(|ip| !same_host && private_network(ip).is_some());
                same_place || !(asks_for_rport || elsewhere || is_invalid(contact))
            }
            Transport::Tls | Transport::Ws | Transport::Wss => false,
        };
        if by_uri { Way::Uri } else { Way::Flow }
    }
}

/// Names under `.invalid` stand for no host (RFC 2606 §2); RFC 7118 has browsers use them.
fn is_invalid(contact: &Uri) -> bool {
    match contact.host() {
        Some(Host::Name(name)) => {
            name.rsplit('.').next().is_some_and(|top| top.eq_ignore_ascii_case("invalid"))
        }
        Some(Host::Ip(_)) | None => false,
    }
}

/// The `q` of a contact in thousandths; without one it is preferred.
fn quality(addr: &NameAddr) -> Result<u16, Fault> {
    let Some(text) = addr.params().get("q") else { return Ok(1000) };
    // RFC 3261 §25.1: qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] ).
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    let thousandths = format!("{part:0<3}").parse::<u16>().ok().filter(|_| digits);
    match (whole, thousandths) {
        ("0", Some(thousandths)) => Ok(thousandths),
        ("1", Some(0)) => Ok(1000),
        (_, Some(_) | None) => Err(Fault::Malformed),
    }
}

/// A copy of a SIP URI that does not hold the buffer of the message.
fn uri(addr: &NameAddr) -> Result<Uri, Fault> {
    let uri: Uri = own(addr.uri().as_str())?.parse().map_err(|_| Fault::Malformed)?;
    if uri.host().is_some() { Ok(uri) } else { Err(Fault::Malformed) }
}

fn own(text: &str) -> Result<ByteString, Fault> {
    if text.len() <= MAX_TEXT { Ok(text.into()) } else { Err(Fault::Malformed) }
}

fn cut(text: &str) -> &str {
    let end = (0..=MAX_USER_AGENT.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}
