//! The typed reading of one audio line of the peer's SDP.

use std::net::{IpAddr, SocketAddr};

use sdp_types::{Bandwidth, Connection, Media, MediaType, Rtcp, RtcpMux, RtpMap, Session, TransportProto};

use super::{Direction, SdpError};
use crate::{Codec, Ptime};

/// What the peer's audio line says.
pub(super) struct Stream {
    pub(super) rtp: SocketAddr,
    pub(super) rtcp: Option<SocketAddr>,
    pub(super) rtcp_mux: bool,
    /// Those formats of the line that we know, in the peer's order.
    formats: Vec<Format>,
    ptime_ms: Option<u32>,
    maxptime_ms: Option<u32>,
    /// As written, from the peer's side.
    direction: Direction,
}

/// One payload format: its number and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) pt: u8,
    pub(super) encoding: Encoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Audio(Codec),
    TelephoneEvent { clock: u32 },
}

impl Format {
    pub(super) fn audio(pt: u8, codec: Codec) -> Self {
        Self { pt, encoding: Encoding::Audio(codec) }
    }

    pub(super) fn telephone_event(pt: u8, clock: u32) -> Self {
        Self { pt, encoding: Encoding::TelephoneEvent { clock } }
    }

    /// Value of this format's `a=rtpmap`.
    pub(super) fn rtpmap(self) -> RtpMap {
        match self.encoding {
            Encoding::Audio(codec) => RtpMap::new(self.pt, codec.name(), codec.clock_rate()),
            Encoding::TelephoneEvent { clock } => RtpMap::new(self.pt, "telephone-event", clock),
        }
    }

    /// The format `pt` of `media`, if it is one we know.
    fn read(media: &Media, pt: u8) -> Option<Self> {
        // Attributes we cannot read are ignored: RFC 8866, 5.13: "If an attribute is received that is not understood,
        // it MUST be ignored by the receiver."
        let rtpmap = media.attributes_typed::<RtpMap>().flatten().find(|map| map.payload_type == pt);
        match rtpmap {
            Some(map) if map.encoding_name.eq_ignore_ascii_case("telephone-event") => {
                Some(Self::telephone_event(pt, map.clock_rate))
            }
            Some(map) => Codec::from_name(&map.encoding_name)
                .filter(|codec| codec.clock_rate() == map.clock_rate)
                .filter(|_| map.encoding_params.as_deref().is_none_or(|channels| channels == "1"))
                .map(|codec| Self::audio(pt, codec)),
            // RFC 3551, 6: static payload types need no mapping.
            None => Codec::ALL
                .into_iter()
                .find(|codec| codec.static_pt() == pt)
                .map(|codec| Self::audio(pt, codec)),
        }
    }
}

/// Whether `media` is audio over RTP, or over SRTP with keys in SDP.
pub(super) fn is_audio(media: &Media) -> bool {
    media.try_parse_mediatype() == Ok(MediaType::Audio)
        && (is_secure(media) || media.parse_transport_proto() == TransportProto::RtpAvp)
}

/// Whether its profile is that of SRTP.
pub(super) fn is_secure(media: &Media) -> bool {
    media.parse_transport_proto() == TransportProto::RtpSavp
}

impl Stream {
    /// Reads the audio line `media` of `session`.
    pub(super) fn read(session: &Session, media: &Media) -> Result<Self, SdpError> {
        // RFC 8866, 5.7: a media-level "c=" overrides the session's.
        let connection = media.connections.first().or(session.connection.as_ref());
        let ip = connection.and_then(unicast).ok_or(SdpError::Address)?;
        let rtp = SocketAddr::new(ip, media.port);
        Ok(Self {
            rtp,
            rtcp: rtcp_address(session, media, rtp),
            rtcp_mux: media.attributes_typed::<RtcpMux>().next().is_some(),
            formats: media
                .fmt
                .split_ascii_whitespace()
                .filter_map(|pt| pt.parse().ok().filter(|pt| *pt < 128))
                .filter_map(|pt| Format::read(media, pt))
                .collect(),
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
            Encoding::TelephoneEvent { .. } => None,
        })
    }

    /// Payload type of RFC 4733 events that run on the audio codec's clock.
    pub(super) fn telephone_event_pt(&self, audio_clock: u32) -> Option<u8> {
        let wanted = Encoding::TelephoneEvent { clock: audio_clock };
        self.formats.iter().find(|format| format.encoding == wanted).map(|format| format.pt)
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
        let held = self.rtp.ip().is_unspecified();
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
fn rtcp_address(session: &Session, media: &Media, rtp: SocketAddr) -> Option<SocketAddr> {
    // RFC 3556, 2: zero for both senders and receivers switches RTCP off.
    let off = |bwtype: &str| {
        let given = |list: &[Bandwidth]| {
            list.iter().find(|b| b.bwtype.eq_ignore_ascii_case(bwtype)).map(|b| b.bandwidth)
        };
        given(&media.bandwidths).or_else(|| given(&session.bandwidths)) == Some(0)
    };
    // RFC 3264, 8.4: c=0.0.0.0 "means that neither RTP nor RTCP should be sent to the peer".
    if off("RS") && off("RR") || rtp.ip().is_unspecified() {
        return None;
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
