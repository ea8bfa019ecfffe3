//! What stands in the descriptions of browsers: where ICE finds who (RFC 8839), whose certificate the DTLS handshake has to
//! show (RFC 8122), and who begins it (RFC 5763, 5; RFC 8842).

use std::fmt;
use std::str::FromStr;

use sdp_types::{Media, RtcpMux, Session, Setup, TransportProto};

use super::{LocalMedia, SdpError};
use crate::ice::{Agreed, Credentials};

/// The SHA-256 of a certificate in DER (RFC 8122, 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// The one hash function that everybody has; RFC 8122, 5: "Implementations … MUST support SHA-256".
const HASH: &str = "sha-256";

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, octet) in self.0.iter().enumerate() {
            write!(f, "{}{octet:02X}", if n == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl Fingerprint {
    /// Reads the value of `a=fingerprint`, if its hash function is SHA-256.
    fn read(value: &str) -> Option<Self> {
        let (hash, digits) = value.trim().split_once(' ')?;
        let mut octets = [0; 32];
        let mut pairs = digits.trim().split(':');
        for octet in &mut octets {
            let pair = pairs.next().filter(|pair| pair.len() == 2 && pair.is_ascii())?;
            // Of two digits, and not of a sign and one.
            *octet = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'))?;
        }
        (hash.eq_ignore_ascii_case(HASH) && pairs.next().is_none()).then_some(Self(octets))
    }
}

/// Who begins the DTLS handshake, from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// We do: `a=setup:active`.
    Active,
    /// The peer does: `a=setup:passive`.
    Passive,
}

/// Our side of a browser's call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDtls {
    /// What the peer's checks are proven by.
    pub ice: Credentials,
    /// Of our certificate.
    pub fingerprint: Fingerprint,
    /// Which side of the handshake we have been, if there was one (RFC 8842, 5.3: what is there is kept).
    pub role: Option<DtlsRole>,
}

/// What is agreed with a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebRtc {
    /// How its checks are told from others.
    pub ice: Agreed,
    /// Which side of the handshake we are.
    pub role: DtlsRole,
    /// Of the certificate that the peer has to show.
    pub fingerprint: Fingerprint,
}

impl WebRtc {
    /// Whether the handshake that was made for `before` serves this, too. RFC 8842, 4: a new association is made when a
    /// fingerprint changes, or a role; not for other credentials of ICE.
    pub fn keeps_association(&self, before: &Self) -> bool {
        (self.role, self.fingerprint) == (before.role, before.fingerprint)
    }
}

/// Whether a line's media is SRTP with keys of a DTLS handshake.
pub(super) fn is_dtls(media: &Media) -> bool {
    matches!(media.parse_transport_proto(), TransportProto::UdpTlsRtpSavpf | TransportProto::UdpTlsRtpSavp)
}

/// What the peer's line says, `role_of` its `a=setup` being ours.
pub(super) fn read(
    session: &Session,
    media: &Media,
    local: &LocalDtls,
    role_of: impl FnOnce(Setup) -> Option<DtlsRole>,
) -> Result<WebRtc, SdpError> {
    // RFC 8445 has a component of its own for RTCP otherwise, which we do not have.
    if media.attributes_typed::<RtcpMux>().next().is_none() {
        return Err(SdpError::NoRtcpMux);
    }
    let ufrag = value(session, media, "ice-ufrag").filter(|ufrag| is_ufrag(ufrag)).ok_or(SdpError::NoIce)?;
    // RFC 8122, 5: what stands at the media is in place of what stands at the session.
    let place = if media.has_attribute("fingerprint") { &media.attributes } else { &session.attributes };
    let fingerprint = attributes(place, "fingerprint").find_map(Fingerprint::read);
    // RFC 4145, 4.1: "The default value of the setup attribute in an offer/answer exchange is 'active' in the offer and
    // 'passive' in the answer"; RFC 8842, 5.1 has it always, and who leaves it out begins, as every browser does.
    let setup = value(session, media, "setup").map_or(Ok(Setup::Active), Setup::from_str);
    Ok(WebRtc {
        ice: Agreed { local: local.ice.clone(), remote_ufrag: ufrag.to_owned() },
        role: setup.ok().and_then(role_of).ok_or(SdpError::NoDtlsRole)?,
        fingerprint: fingerprint.ok_or(SdpError::NoFingerprint)?,
    })
}

/// Our role, by what the peer's answer to our `actpass` says.
pub(super) fn role_of_answer(theirs: Setup) -> Option<DtlsRole> {
    match theirs {
        // RFC 5763, 5 has it not, and the peers that send it begin.
        Setup::Active | Setup::ActPass => Some(DtlsRole::Passive),
        Setup::Passive => Some(DtlsRole::Active),
        Setup::HoldConn => None,
    }
}

/// Our role, by what the peer's offer says, and by what it was before.
pub(super) fn role_of_offer(theirs: Setup, before: Option<DtlsRole>) -> Option<DtlsRole> {
    match theirs {
        Setup::Active => Some(DtlsRole::Passive),
        Setup::Passive => Some(DtlsRole::Active),
        Setup::ActPass => Some(before.unwrap_or(DtlsRole::Passive)),
        Setup::HoldConn => None,
    }
}

/// Makes `media` ours in an offer.
pub(super) fn offer(media: &mut Media, local: &LocalMedia, dtls: &LocalDtls) {
    media.proto = TransportProto::UdpTlsRtpSavpf.to_string();
    media.add_attribute_with_value("mid", "0");
    describe(media, local, dtls, "actpass");
}

/// Makes `media` our answer to the line `offered`.
pub(super) fn answer(
    media: &mut Media,
    offered: &Media,
    local: &LocalMedia,
    dtls: &LocalDtls,
    agreed: &WebRtc,
) {
    goes_on(media, offered);
    let setup = match agreed.role {
        DtlsRole::Active => "active",
        DtlsRole::Passive => "passive",
    };
    describe(media, local, dtls, setup);
}

/// Gives `media` the profile and the name of the line that it answers or follows (RFC 5888, 9.1 and 9.2).
pub(super) fn goes_on(media: &mut Media, before: &Media) {
    media.proto.clone_from(&before.proto);
    media.attributes.retain(|attribute| attribute.attribute != "mid");
    if let Some(Some(mid)) = before.get_first_attribute_value("mid") {
        media.add_attribute_with_value("mid", mid);
    }
}

fn describe(media: &mut Media, local: &LocalMedia, dtls: &LocalDtls, setup: &str) {
    media.add_attribute_with_value("ice-ufrag", &dtls.ice.ufrag);
    media.add_attribute_with_value("ice-pwd", dtls.ice.pwd());
    media.add_attribute_with_value("fingerprint", format!("{HASH} {}", dtls.fingerprint));
    media.add_attribute_with_value("setup", setup);
    // RFC 8445, 5.1.2.1 and 5.1.2.2: the priority of a host candidate of a component that is the only one, of an agent with
    // one address.
    let priority = (126 << 24) + (65_535 << 8) + 255;
    let (ip, port) = (local.addr.ip(), local.addr.port());
    media.add_attribute_with_value("candidate", format!("1 1 udp {priority} {ip} {port} typ host"));
    media.add_attribute_from_str("end-of-candidates");
}

/// The session's attributes beside the line `media`: RFC 8839, 5.3 says at the session that we are lite. Where `bundled`, the
/// line is a group of itself (RFC 9143, 7.2 and 7.3).
pub(super) fn describe_session(session: &mut Session, bundled: bool) {
    if bundled {
        let live = session.medias.iter().filter(|media| media.port != 0);
        let mids = live.filter_map(|media| media.get_first_attribute_value("mid").flatten());
        let tags = mids.collect::<Vec<_>>().join(" ");
        session.add_attribute_with_value("group", format!("BUNDLE {tags}").trim_end());
    }
    session.add_attribute_from_str("ice-lite");
}

/// Whether a description bundles.
pub(super) fn is_bundled(session: &Session) -> bool {
    attributes(&session.attributes, "group")
        .any(|group| group.split_ascii_whitespace().next() == Some("BUNDLE"))
}

/// RFC 8839, 5.4: 4 to 256 ice-chars.
fn is_ufrag(text: &str) -> bool {
    (4..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// An attribute's value at the media, or else at the session.
fn value<'a>(session: &'a Session, media: &'a Media, name: &'static str) -> Option<&'a str> {
    let found = attributes(&media.attributes, name).next();
    found.or_else(|| attributes(&session.attributes, name).next()).map(str::trim)
}

fn attributes<'a>(
    attributes: &'a [sdp_types::Attribute],
    name: &'static str,
) -> impl Iterator<Item = &'a str> {
    let named = attributes.iter().filter(move |attribute| attribute.attribute.eq_ignore_ascii_case(name));
    named.filter_map(|attribute| attribute.value.as_deref())
}
