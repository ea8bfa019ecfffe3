//! SDP offer and answer (RFC 3264 over RFC 8866) for one audio stream.
//!
//! [`offer`] and then [`accept_answer`] for a call we place, [`answer`] for one we receive; [`offer_again`] in mid-call.
//! Covered: several media lines (the first acceptable audio line is taken, the others are refused), static and mapped
//! payload types, by direction, kept in later offers, RFC 4733 events at the clock of the audio, comfort noise at 8000 Hz, ptime and maxptime, direction and hold, RTCP port, RTCP multiplexing and RTCP switched
//! off by bandwidth; SRTP with keys in `a=crypto` (RFC 4568), over `RTP/SAVP` or, as an option, over `RTP/AVP`; SRTP with keys
//! of a DTLS handshake over `UDP/TLS/RTP/SAVPF`, with ICE-lite, for browsers. Not covered: bundling of several lines, host
//! names in `c=`.

mod crypto;
mod formats;
mod remote;
mod webrtc;

use std::net::{IpAddr, SocketAddr};

use sdp_types::{Connection, Media, MediaType, Origin, Session, Time, TransportProto};

pub use self::crypto::{LocalSdes, SrtpPolicy};
pub use self::formats::Encoding;
use self::formats::Format;
use self::remote::Stream;
pub use self::webrtc::{DtlsRole, Fingerprint, LocalDtls, WebRtc};
use crate::srtp::{Keys, MasterKey};
use crate::{Codec, Ptime};

/// Why an offer or answer is of no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// Not SDP.
    #[error("malformed SDP: {0}")]
    Malformed(#[from] sdp_types::ParserError),
    /// No `m=audio` line over RTP or, where we take it, SRTP.
    #[error("no audio over RTP/AVP in the SDP")]
    NoAudio,
    /// Audio over SRTP alone, and we take none.
    #[error("the peer wants SRTP (RTP/SAVP), and srtp is off here")]
    SrtpOff,
    /// Audio in the clear alone, and we take none.
    #[error("the peer has no SRTP, and srtp is required here")]
    SrtpRequired,
    /// SRTP, without a line of `a=crypto` that fits.
    #[error("no common crypto suite and key in the a=crypto lines")]
    NoCommonCrypto,
    /// Audio with keys of DTLS alone, and we take none.
    #[error("the peer wants DTLS-SRTP (UDP/TLS/RTP/SAVPF), as browsers do, and it is not taken here")]
    DtlsOff,
    /// Audio without keys of DTLS alone, and we take no other.
    #[error("the peer has no DTLS-SRTP (UDP/TLS/RTP/SAVPF), and no other media is taken here")]
    DtlsRequired,
    /// DTLS-SRTP, but no `a=fingerprint` of SHA-256.
    #[error("no sha-256 a=fingerprint for DTLS-SRTP in the SDP")]
    NoFingerprint,
    /// DTLS-SRTP, but no `a=ice-ufrag`.
    #[error("no a=ice-ufrag for DTLS-SRTP in the SDP")]
    NoIce,
    /// DTLS-SRTP, but a port of its own for RTCP.
    #[error("no a=rtcp-mux for DTLS-SRTP in the SDP")]
    NoRtcpMux,
    /// DTLS-SRTP, but an `a=setup` of no use.
    #[error("no a=setup for DTLS-SRTP in the SDP that leads to a handshake")]
    NoDtlsRole,
    /// The peer refused the audio (port 0).
    #[error("the peer refused the audio stream (port 0)")]
    Rejected,
    /// Audio, but in no codec of ours.
    #[error("no common codec")]
    NoCommonCodec,
    /// `c=` is missing or no unicast IP address.
    #[error("no usable connection address (c=) in the SDP")]
    Address,
    /// The peer's address is of the other IP version.
    #[error("the peer's media address {remote} cannot be reached from {local}")]
    AddressFamily {
        /// Our media address.
        local: IpAddr,
        /// The peer's.
        remote: IpAddr,
    },
}

/// Our side of the media session: what an offer or answer is written from.
///
/// An offer is a pure function of this value, so keeping it is keeping the offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMedia {
    /// Where we receive RTP; RTCP is received one port higher (RFC 3550, 11).
    pub addr: SocketAddr,
    /// Codecs we accept, most preferred first.
    pub codecs: Vec<Codec>,
    /// The packet time we would like to receive.
    pub ptime: Ptime,
    /// Whether digits may come as RFC 4733 events.
    pub telephone_event: bool,
    /// Whether we receive RTCP on the RTP port if the peer can send it there (RFC 5761).
    pub rtcp_mux: bool,
    /// Who may send, as far as we are concerned; the peer may allow less.
    pub direction: Direction,
    /// SRTP, if it is not off.
    pub srtp: Option<LocalSrtp>,
    /// `o=` session id, unguessable and unique.
    pub session_id: u64,
    /// `o=` session version; one more in each further offer or answer of the session.
    pub session_version: u64,
}

/// How our side of SRTP comes to its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalSrtp {
    /// They stand in the descriptions (RFC 4568).
    Sdes(LocalSdes),
    /// By a DTLS handshake, between addresses that ICE finds: a browser (RFC 8827).
    Dtls(LocalDtls),
}

impl LocalSrtp {
    /// Every suite, with keys that `fill` makes from unguessable bytes and that stand in the descriptions.
    pub fn new(policy: SrtpPolicy, fill: impl FnMut(&mut [u8])) -> Self {
        Self::Sdes(LocalSdes::new(policy, fill))
    }
}

/// How the keys of an agreed session come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keying {
    /// They were in the descriptions.
    Sdes(Box<Keys>),
    /// By a handshake that is still to be made.
    Dtls(Box<WebRtc>),
}

impl Keying {
    /// The keys, if they were in the descriptions.
    pub fn described(&self) -> Option<&Keys> {
        match self {
            Self::Sdes(keys) => Some(keys),
            Self::Dtls(_) => None,
        }
    }

    /// What is agreed with a browser.
    pub fn webrtc(&self) -> Option<&WebRtc> {
        match self {
            Self::Sdes(_) => None,
            Self::Dtls(webrtc) => Some(webrtc),
        }
    }
}

/// Who sends, from our side (RFC 3264, 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Both.
    #[default]
    SendRecv,
    /// Only we send.
    SendOnly,
    /// Only the peer sends: we are held.
    RecvOnly,
    /// Nobody sends.
    Inactive,
}

impl Direction {
    /// Whether we may send RTP.
    pub const fn sends(self) -> bool {
        match self {
            Self::SendRecv | Self::SendOnly => true,
            Self::RecvOnly | Self::Inactive => false,
        }
    }

    /// Whether we take RTP.
    pub const fn receives(self) -> bool {
        match self {
            Self::SendRecv | Self::RecvOnly => true,
            Self::SendOnly | Self::Inactive => false,
        }
    }

    /// What both allow.
    pub const fn and(self, other: Self) -> Self {
        match (self.sends() && other.sends(), self.receives() && other.receives()) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// The attribute that says so.
    const fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// RFC 4733 events agreed for both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// Payload type the peer wants to receive.
    pub pt_send: u8,
    /// Payload type we told the peer to send.
    pub pt_recv: u8,
    /// Timestamp units per second, in which durations are told: the audio codec's clock, if the peer knows that.
    pub clock: u32,
}

/// A payload format that both sides list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgreedFormat {
    /// What it is.
    pub encoding: Encoding,
    /// Its payload type in packets we send.
    pub pt_send: u8,
    /// Its payload type in packets we receive.
    pub pt_recv: u8,
}

/// What offer and answer agreed on; all a leg needs to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Where the peer receives RTP; unspecified where ICE finds it.
    pub remote: SocketAddr,
    /// Where the peer receives RTCP; `None` when it takes none (RFC 3556).
    pub rtcp: Option<SocketAddr>,
    /// The codec we send.
    pub codec: Codec,
    /// Payload type of `codec` in packets we send.
    pub pt_send: u8,
    /// Payload type of `codec` in packets we receive.
    pub pt_recv: u8,
    /// RFC 4733 events, if both sides take them.
    pub telephone_event: Option<TelephoneEvent>,
    /// What both list beside `codec` and `telephone_event`, each encoding once. The peer may send any of it at any time
    /// (RFC 3264, 5.1 and 7).
    pub others: Vec<AgreedFormat>,
    /// Packet time we send.
    pub ptime: Ptime,
    /// Who sends, from our side.
    pub direction: Direction,
    /// Whether RTCP shares the RTP port.
    pub rtcp_mux: bool,
    /// Where its keys come from, if it is SRTP.
    pub srtp: Option<Keying>,
}

impl Negotiated {
    /// What is agreed with a browser.
    pub fn webrtc(&self) -> Option<&WebRtc> {
        self.srtp.as_ref()?.webrtc()
    }

    /// Everything that both list: what is sent first.
    pub(crate) fn formats(&self) -> impl Iterator<Item = AgreedFormat> {
        let Self { codec, pt_send, pt_recv, .. } = *self;
        let codec = AgreedFormat { encoding: Encoding::Audio(codec), pt_send, pt_recv };
        let event = self.telephone_event.map(|TelephoneEvent { pt_send, pt_recv, clock }| AgreedFormat {
            encoding: Encoding::TelephoneEvent { clock },
            pt_send,
            pt_recv,
        });
        [codec].into_iter().chain(event).chain(self.others.iter().copied())
    }

    /// The codecs that the peer may send beside [`Negotiated::codec`].
    pub fn other_codecs(&self) -> impl Iterator<Item = Codec> {
        self.others.iter().filter_map(|format| match format.encoding {
            Encoding::Audio(codec) => Some(codec),
            Encoding::TelephoneEvent { .. } | Encoding::ComfortNoise => None,
        })
    }
}

/// The body that offers `local`.
pub fn offer(local: &LocalMedia) -> Vec<u8> {
    write(local, vec![offered(local, &formats::offered(local, &[]))], true)
}

/// Whether `offer` has audio with keys of a DTLS handshake, and none without: it comes from a browser.
pub fn is_webrtc(offer: &[u8]) -> bool {
    Session::parse(offer).is_ok_and(|session| {
        let mut live = session.medias.iter().filter(|media| is_live(media)).peekable();
        live.peek().is_some() && live.all(webrtc::is_dtls)
    })
}

/// The body that offers `local` in a session whose last description of ours is `last`.
///
/// # Errors
/// When `last` is no description.
pub fn offer_again(local: &LocalMedia, last: &[u8]) -> Result<Vec<u8>, SdpError> {
    // RFC 3264, 8: "the new SDP MUST have a matching media stream for each media stream in the previous SDP", in its order;
    // what was refused stays refused.
    let last = Session::parse(last)?;
    let is_bundled = webrtc::is_bundled(&last);
    let mut medias = last.medias;
    let live = medias.iter().position(is_live).ok_or(SdpError::NoAudio)?;
    let is_secure = remote::is_secure(&medias[live]);
    let mut media = offered(local, &formats::offered(local, &formats::read(&medias[live])));
    match &local.srtp {
        // What has become SRTP by the peer's wish stays so.
        Some(LocalSrtp::Sdes(_)) if is_secure => secure(&mut media),
        Some(LocalSrtp::Sdes(_)) | None => {}
        Some(LocalSrtp::Dtls(_)) => webrtc::goes_on(&mut media, &medias[live]),
    }
    medias[live] = media;
    Ok(write(local, medias, is_bundled))
}

/// Whether it is an audio line that is not refused.
fn is_live(media: &Media) -> bool {
    media.port != 0 && remote::is_audio(media)
}

/// The audio line that offers `local`.
fn offered(local: &LocalMedia, formats: &[Format]) -> Media {
    let mut media = audio(local, formats, local.direction, local.rtcp_mux);
    match &local.srtp {
        None => {}
        Some(LocalSrtp::Sdes(sdes)) => {
            crypto::offer(&mut media, sdes);
            match sdes.policy {
                SrtpPolicy::Optional => {}
                SrtpPolicy::Required => secure(&mut media),
            }
        }
        Some(LocalSrtp::Dtls(dtls)) => webrtc::offer(&mut media, local, dtls),
    }
    media
}

/// Makes it a line for SRTP alone.
fn secure(media: &mut Media) {
    media.proto = TransportProto::RtpSavp.to_string();
}

/// What `answer` makes of the [`offer`] written from `local`.
pub fn accept_answer(local: &LocalMedia, answer: &[u8]) -> Result<Negotiated, SdpError> {
    accept(local, &formats::offered(local, &[]), answer)
}

/// What `answer` makes of the [`offer_again`] written from `local`: its payload types are those of the body `offer`.
pub fn accept_answer_to(local: &LocalMedia, offer: &[u8], answer: &[u8]) -> Result<Negotiated, SdpError> {
    let offer = Session::parse(offer)?;
    let ours = offer.medias.iter().find(|media| is_live(media)).ok_or(SdpError::NoAudio)?;
    accept(local, &formats::read(ours), answer)
}

fn accept(local: &LocalMedia, ours: &[Format], answer: &[u8]) -> Result<Negotiated, SdpError> {
    let session = Session::parse(answer)?;
    // RFC 3264, 6: the answer's media lines match the offer's one by one. We offered one that lives; a peer that adds
    // lines is forgiven as long as one of them is our audio.
    let audio = match session.medias.iter().find(|media| is_live(media)) {
        Some(audio) => audio,
        None if session.medias.iter().any(remote::is_audio) => return Err(SdpError::Rejected),
        None => return Err(SdpError::NoAudio),
    };
    let stream = Stream::read(&session, audio)?;
    let (codec, pt_send) = stream.first_codec(&local.codecs).ok_or(SdpError::NoCommonCodec)?;
    let number = |encoding| formats::number(ours, encoding);
    let telephone_event = stream.telephone_event(codec.clock_rate()).and_then(|(pt_send, clock)| {
        let pt_recv = number(Encoding::TelephoneEvent { clock })?;
        Some(TelephoneEvent { pt_send, pt_recv, clock })
    });
    let pt_recv = number(Encoding::Audio(codec)).ok_or(SdpError::NoCommonCodec)?;
    let rtcp_mux = local.rtcp_mux && stream.rtcp_mux;
    let srtp = answered_keys(&session, audio, local.srtp.as_ref())?;
    let agreed = negotiated(local, &stream, codec, [pt_send, pt_recv], telephone_event, rtcp_mux)?;
    let others = others(stream.formats(), ours, codec, telephone_event);
    Ok(Negotiated { others, srtp, ..agreed })
}

/// What both `theirs` and `ours` list beside the codec and the events that are sent.
fn others(
    theirs: &[Format],
    ours: &[Format],
    codec: Codec,
    event: Option<TelephoneEvent>,
) -> Vec<AgreedFormat> {
    let event = event.map(|event| Encoding::TelephoneEvent { clock: event.clock });
    let is_other = |encoding| encoding != Encoding::Audio(codec) && Some(encoding) != event;
    let agreed = ours.iter().filter(|format| is_other(format.encoding)).filter_map(|format| {
        let pt_send = formats::number(theirs, format.encoding)?;
        Some(AgreedFormat { encoding: format.encoding, pt_send, pt_recv: format.pt })
    });
    agreed.collect()
}

/// How the answering line comes to its keys; not at all if it is in the clear.
fn answered_keys(
    session: &Session,
    media: &Media,
    local: Option<&LocalSrtp>,
) -> Result<Option<Keying>, SdpError> {
    let is_secure = remote::is_secure(media);
    match local {
        Some(LocalSrtp::Dtls(dtls)) if webrtc::is_dtls(media) => {
            let agreed = webrtc::read(session, media, dtls, webrtc::role_of_answer)?;
            Ok(Some(Keying::Dtls(Box::new(agreed))))
        }
        Some(LocalSrtp::Dtls(_)) => Err(SdpError::DtlsRequired),
        None | Some(LocalSrtp::Sdes(_)) if webrtc::is_dtls(media) => Err(SdpError::DtlsOff),
        None if is_secure => Err(SdpError::SrtpOff),
        None => Ok(None),
        // Answers of some peers have keys, and the profile of an offer without.
        Some(LocalSrtp::Sdes(local)) if is_secure || crypto::is_offered(media) => {
            let (theirs, ours) = crypto::chosen(media, local).ok_or(SdpError::NoCommonCrypto)?;
            Ok(Some(Keying::Sdes(Box::new(Keys { send: ours.clone(), receive: theirs.key }))))
        }
        Some(LocalSrtp::Sdes(LocalSdes { policy: SrtpPolicy::Optional, .. })) => Ok(None),
        Some(LocalSrtp::Sdes(LocalSdes { policy: SrtpPolicy::Required, .. })) => Err(SdpError::SrtpRequired),
    }
}

/// Our answer to `offer`, in the offerer's order of preference, and what it agrees on.
pub fn answer(offer: &[u8], local: &LocalMedia) -> Result<(Vec<u8>, Negotiated), SdpError> {
    let session = Session::parse(offer)?;
    let is_bundled = webrtc::is_bundled(&session);
    let mut refusal = SdpError::NoAudio;
    let mut accepted: Option<(usize, (Media, Negotiated))> = None;
    for (index, media) in session.medias.iter().enumerate().filter(|(_, media)| is_live(media)) {
        match accept_line(&session, media, local) {
            // Where the peer offers the same audio with and without SRTP, in whatever order, it is taken with.
            Ok(line) if accepted.is_none() || line.1.srtp.is_some() => {
                let is_final = line.1.srtp.is_some() || local.srtp.is_none();
                accepted = Some((index, line));
                if is_final {
                    break;
                }
            }
            Ok(_) => {}
            Err(error) => refusal = error,
        }
    }
    let (accepted_index, (accepted_media, negotiated)) = accepted.ok_or(refusal)?;
    // RFC 3264, 6: "For each "m=" line in the offer, there MUST be a corresponding "m=" line in the answer" and
    // "To reject an offered stream, the port number in the corresponding stream in the answer MUST be set to zero."
    let mut medias: Vec<Media> = session.medias.into_iter().map(refused).collect();
    medias[accepted_index] = accepted_media;
    Ok((write(local, medias, is_bundled), negotiated))
}

/// The answering media line for one offered audio line.
fn accept_line(
    session: &Session,
    media: &Media,
    local: &LocalMedia,
) -> Result<(Media, Negotiated), SdpError> {
    let stream = Stream::read(session, media)?;
    let (codec, pt) = stream.first_codec(&local.codecs).ok_or(SdpError::NoCommonCodec)?;
    // RFC 3264, 6.1: the same payload type numbers as in the offer, in both directions.
    let telephone_event = stream
        .telephone_event(codec.clock_rate())
        .filter(|_| local.telephone_event)
        .map(|(pt, clock)| TelephoneEvent { pt_send: pt, pt_recv: pt, clock });
    let rtcp_mux = local.rtcp_mux && stream.rtcp_mux;
    let keys = offered_keys(session, media, local.srtp.as_ref())?;
    let agreed = negotiated(local, &stream, codec, [pt, pt], telephone_event, rtcp_mux)?;
    let mut formats = vec![Format { pt, encoding: Encoding::Audio(codec) }];
    formats.extend(stream.comfort_noise().filter(|_| codec.clock_rate() == 8_000));
    let others = others(&formats, &formats, codec, telephone_event);
    formats.extend(telephone_event.map(|TelephoneEvent { pt_recv: pt, clock, .. }| Format {
        pt,
        encoding: Encoding::TelephoneEvent { clock },
    }));
    let mut answer = audio(local, &formats, agreed.direction, rtcp_mux);
    let srtp = match keys {
        OfferedKeys::None => None,
        OfferedKeys::Sdes(theirs, ours) => {
            if remote::is_secure(media) {
                secure(&mut answer);
            }
            // RFC 4568, 5.1.2: the tag and the suite of the line that is taken, with a key of our own.
            crypto::add(&mut answer, theirs.tag, ours);
            Some(Keying::Sdes(Box::new(Keys { send: ours.clone(), receive: theirs.key })))
        }
        OfferedKeys::Dtls(dtls, agreed) => {
            webrtc::answer(&mut answer, media, local, dtls, &agreed);
            Some(Keying::Dtls(Box::new(agreed)))
        }
    };
    Ok((answer, Negotiated { others, srtp, ..agreed }))
}

/// What is taken of the keys of an offered line.
enum OfferedKeys<'a> {
    /// It is in the clear.
    None,
    /// A line of the peer's, and our key.
    Sdes(crypto::Crypto, &'a MasterKey),
    /// A handshake.
    Dtls(&'a LocalDtls, WebRtc),
}

fn offered_keys<'a>(
    session: &Session,
    media: &Media,
    local: Option<&'a LocalSrtp>,
) -> Result<OfferedKeys<'a>, SdpError> {
    let is_secure = remote::is_secure(media);
    let local = match local {
        Some(LocalSrtp::Dtls(dtls)) if webrtc::is_dtls(media) => {
            let role = |theirs| webrtc::role_of_offer(theirs, dtls.role);
            return Ok(OfferedKeys::Dtls(dtls, webrtc::read(session, media, dtls, role)?));
        }
        Some(LocalSrtp::Dtls(_)) => return Err(SdpError::DtlsRequired),
        None | Some(LocalSrtp::Sdes(_)) if webrtc::is_dtls(media) => return Err(SdpError::DtlsOff),
        None if is_secure => return Err(SdpError::SrtpOff),
        None => return Ok(OfferedKeys::None),
        Some(LocalSrtp::Sdes(local)) => local,
    };
    match (crypto::choose(media, local), local.policy) {
        (Some((theirs, ours)), _) => Ok(OfferedKeys::Sdes(theirs, ours)),
        (None, SrtpPolicy::Optional) if !is_secure => Ok(OfferedKeys::None),
        (None, SrtpPolicy::Required) if !is_secure && !crypto::is_offered(media) => {
            Err(SdpError::SrtpRequired)
        }
        (None, SrtpPolicy::Optional | SrtpPolicy::Required) => Err(SdpError::NoCommonCrypto),
    }
}

fn negotiated(
    local: &LocalMedia,
    stream: &Stream,
    codec: Codec,
    [pt_send, pt_recv]: [u8; 2],
    telephone_event: Option<TelephoneEvent>,
    rtcp_mux: bool,
) -> Result<Negotiated, SdpError> {
    if !stream.by_ice && stream.rtp.is_ipv4() != local.addr.is_ipv4() {
        return Err(SdpError::AddressFamily { local: local.addr.ip(), remote: stream.rtp.ip() });
    }
    Ok(Negotiated {
        remote: stream.rtp,
        rtcp: if rtcp_mux { stream.rtcp.map(|_| stream.rtp) } else { stream.rtcp },
        codec,
        pt_send,
        pt_recv,
        telephone_event,
        others: Vec::new(),
        ptime: formats::packet_time(codec, stream.packet_time(local.ptime)),
        direction: stream.our_direction().and(local.direction),
        rtcp_mux,
        srtp: None,
    })
}

/// Our audio line.
fn audio(local: &LocalMedia, formats: &[Format], direction: Direction, rtcp_mux: bool) -> Media {
    let pts: Vec<String> = formats.iter().map(|format| format.pt.to_string()).collect();
    let mut media = Media::new(MediaType::Audio, local.addr.port(), TransportProto::RtpAvp, pts.join(" "));
    for format in formats {
        format.describe(&mut media);
    }
    media.add_attribute_with_value("ptime", local.ptime.ms());
    media.add_attribute_with_value("maxptime", Ptime::MAX.ms());
    if rtcp_mux {
        media.add_attribute_from_str("rtcp-mux");
    }
    media.add_attribute_from_str(direction.name());
    media
}

/// The refusal of an offered line.
fn refused(offered: Media) -> Media {
    Media {
        port: 0,
        num_ports: None,
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
        ..offered
    }
}

fn write(local: &LocalMedia, medias: Vec<Media>, bundled: bool) -> Vec<u8> {
    let ip = local.addr.ip();
    let mut origin = Origin::with_ip_addr(local.session_id, local.session_version, ip);
    origin.set_username("-");
    // RFC 8866, 5.3: "If a session has no meaningful name, then "s= " or "s=-" ... is RECOMMENDED".
    let mut session = Session::new(origin, "-");
    session.set_connection(Connection::from_ip_addr(ip));
    session.add_time(Time::new(0, 0));
    session.add_medias(medias);
    match &local.srtp {
        Some(LocalSrtp::Dtls(_)) => webrtc::describe_session(&mut session, bundled),
        Some(LocalSrtp::Sdes(_)) | None => {}
    }
    let mut body = Vec::with_capacity(512);
    // Writing into a Vec cannot fail, and Session::write has no error of its own.
    let written = session.write(&mut body);
    debug_assert!(written.is_ok());
    body
}

#[cfg(test)]
mod tests;
