//! SDP offer and answer (RFC 3264 over RFC 8866) for one audio stream.

use std::net::SocketAddr;

use crate::{Codec, Ptime};

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
    /// `o=` session id, unguessable and unique.
    pub session_id: u64,
    /// `o=` session version; one more in each further offer or answer of the session.
    pub session_version: u64,
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
}

/// RFC 4733 events agreed for both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// Payload type the peer wants to receive.
    pub pt_send: u8,
    /// Payload type we told the peer to send.
    pub pt_recv: u8,
    /// Timestamp units per second: the audio codec's clock.
    pub clock: u32,
}

/// What offer and answer agreed on; all a leg needs to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Where the peer receives RTP.
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
    /// Packet time we send.
    pub ptime: Ptime,
    /// Who sends, from our side.
    pub direction: Direction,
    /// Whether RTCP shares the RTP port.
    pub rtcp_mux: bool,
}
