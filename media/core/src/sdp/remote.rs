//! The typed reading of one audio line of the peer's SDP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sdp_types::{Bandwidth, Connection, Media, MediaType, Rtcp, RtcpMux, Session, TransportProto};

use super::formats::{self, Encoding, Format};
use super::{Direction, SdpError, webrtc};
use crate::{Codec, Ptime};

/// What the peer's audio line says.
pub(super) struct Stream {
    pub(super) rtp: SocketAddr,
    pub(super) rtcp: Option<SocketAddr>,
    pub(super) rtcp_mux: bool,
    /// Whether ICE finds the peer, wherever the line says that it is.
    pub(super) by_ice: bool,
    /// Those formats of the line that we know, in the peer's order.
    formats: Vec<Format>,
    ptime_ms: Option<u32>,
    maxptime_ms: Option<u32>,
    /// As written, from the peer's side.
    direction: Direction,
}

/// Whether `media` is audio over RTP, or over SRTP.
pub(super) fn is_audio(media: &Media) -> bool {
    media.try_parse_mediatype() == Ok(MediaType::Audio)
        && (is_secure(media)
            || webrtc::is_dtls(media)
            || media.parse_transport_proto() == TransportProto::RtpAvp)
}

/// Whether its profile is that of SRTP with keys in SDP.
pub(super) fn is_secure(media: &Media) -> bool {
    media.parse_transport_proto() == TransportProto::RtpSavp
}

impl Stream {
    /// Reads the audio line `media` of `session`.
    pub(super) fn read(session: &Session, media: &Media) -> Result<Self, SdpError> {
        // RFC 8866, 5.7: a media-level "c=" overrides the session's.
        let connection = media.connections.first().or(session.connection.as_ref());
        let by_ice = webrtc::is_dtls(media);
        let rtp = match by_ice {
            // RFC 8839, 4.2.1: it may be any address of the peer's, or none.
            true => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            false => SocketAddr::new(connection.and_then(unicast).ok_or(SdpError::Address)?, media.port),
        };
        Ok(Self {
            rtp,
            rtcp: rtcp_address(session, media, rtp, by_ice),
            by_ice,
            rtcp_mux: media.attributes_typed::<RtcpMux>().next().is_some(),
            formats: formats::read(media),
            ptime_ms: milliseconds(media, "ptime"),
            maxptime_ms: milliseconds(media, "maxptime"),
            direction: direction(|name| media.has_attribute(name))
                .or_else(|| direction(|name| session.has_attribute(name)))
                .unwrap_or_default(),
        })
    }

    /// The peer's most preferred codec among `ours`, with its payload type.
    pub(super) fn first_codec(&self, ours: &[Codec]) -> Option<(Codec, u8)> {
        self.formats.iter().find_map(|format| match format.encoding {
            Encoding::Audio(codec) => ours.contains(&codec).then_some((codec, format.pt)),
            Encoding::TelephoneEvent { .. } | Encoding::ComfortNoise => None,
        })
    }

    /// The payload type and the clock of RFC 4733 events beside audio of this clock. Peers are common that know events at
    /// 8000 Hz only, beside whatever audio: better so than not at all.
    pub(super) fn telephone_event(&self, audio_clock: u32) -> Option<(u8, u32)> {
        [audio_clock, 8_000].into_iter().find_map(|clock| {
            formats::number(&self.formats, Encoding::TelephoneEvent { clock }).map(|pt| (pt, clock))
        })
    }

    /// Those formats of the line that we know, in the peer's order.
    pub(super) fn formats(&self) -> &[Format] {
        &self.formats
    }

    /// Comfort noise, if the peer knows it.
    pub(super) fn comfort_noise(&self) -> Option<Format> {
        self.formats.iter().find(|format| format.encoding == Encoding::ComfortNoise).copied()
    }

    /// The packet time to send: what the peer asks for, else `ours`, and no more than the peer takes.
    pub(super) fn packet_time(&self, ours: Ptime) -> Ptime {
        let wish = self.ptime_ms.unwrap_or(u32::from(ours.ms()));
        let ms = wish.min(self.maxptime_ms.unwrap_or(u32::MAX));
        u8::try_from(ms).map_or(Ptime::MAX, |ms| {
            Ptime::new(ms).unwrap_or(if ms < Ptime::MIN.ms() { Ptime::MIN } else { Ptime::MAX })
        })
    }

    /// The direction seen from our side.
    pub(super) fn our_direction(&self) -> Direction {
        // RFC 3264, 8.4: a peer of RFC 2543 puts us on hold with c=0.0.0.0: nothing may be sent there.
        let held = !self.by_ice && self.rtp.ip().is_unspecified();
        match (self.direction, held) {
            (Direction::SendRecv, false) => Direction::SendRecv,
            (Direction::RecvOnly, false) => Direction::SendOnly,
            (Direction::SendRecv, true) | (Direction::SendOnly, _) => Direction::RecvOnly,
            (Direction::RecvOnly, true) | (Direction::Inactive, _) => Direction::Inactive,
        }
    }
}

fn unicast(connection: &Connection) -> Option<IpAddr> {
    let ip = connection.try_address().ok()?.ip.to_canonical();
    (!ip.is_multicast()).then_some(ip)
}

/// Where the peer takes RTCP when it is not multiplexed; `None` when it takes none.
fn rtcp_address(session: &Session, media: &Media, rtp: SocketAddr, by_ice: bool) -> Option<SocketAddr> {
    // RFC 3556, 2: zero for both senders and receivers switches RTCP off.
    let off = |bwtype: &str| {
        let given = |list: &[Bandwidth]| {
            list.iter().find(|b| b.bwtype.eq_ignore_ascii_case(bwtype)).map(|b| b.bandwidth)
        };
        given(&media.bandwidths).or_else(|| given(&session.bandwidths)) == Some(0)
    };
    // RFC 3264, 8.4: c=0.0.0.0 "means that neither RTP nor RTCP should be sent to the peer".
    if off("RS") && off("RR") || rtp.ip().is_unspecified() && !by_ice {
        return None;
    }
    if by_ice {
        // Where RTP goes.
        return Some(rtp);
    }
    // RFC 3605: a=rtcp names the port, and the address if it is another; else RFC 3550, 11: the next higher port.
    match media.attributes_typed::<Rtcp>().flatten().next() {
        Some(rtcp) => {
            let other = rtcp.connection_address.and_then(|address| address.parse::<IpAddr>().ok());
            let ip = other.map_or(rtp.ip(), |ip| ip.to_canonical());
            (rtcp.port != 0 && !ip.is_multicast() && !ip.is_unspecified())
                .then(|| SocketAddr::new(ip, rtcp.port))
        }
        None => rtp.port().checked_add(1).map(|port| SocketAddr::new(rtp.ip(), port)),
    }
}

fn milliseconds(media: &Media, attribute: &str) -> Option<u32> {
    media.get_first_attribute_value(attribute)??.trim().parse().ok().filter(|ms| *ms > 0)
}

fn direction(has: impl Fn(&str) -> bool) -> Option<Direction> {
    [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive]
        .into_iter()
        .find(|direction| has(direction.name()))
}
