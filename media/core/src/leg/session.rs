//! What a leg knows of the session that offer and answer settled.

use crate::peer::Peer;
use crate::rtcp::Schedule;
use crate::sdp::{Encoding, Negotiated};
use crate::silence::Silence;
use crate::srtp::Srtp;

/// What offer and answer settled.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) agreed: Negotiated,
    pub(super) rtp: Peer,
    /// Where RTCP goes, unless it is off or multiplexed.
    pub(super) rtcp: Option<Peer>,
    pub(super) schedule: Schedule,
    pub(super) silence: Silence,
}

/// The static payload type of comfort noise at 8000 Hz (RFC 3389, 4), which peers send whether or not it was agreed on.
const COMFORT_NOISE: u8 = 13;

impl Session {
    pub(super) fn is_secure(&self) -> bool {
        self.agreed.srtp.is_some()
    }

    pub(super) fn clock(&self) -> u32 {
        self.agreed.codec.clock_rate()
    }

    /// What a payload type stands for in packets of the peer's; `None`: nothing that was agreed on.
    pub(super) fn payload(&self, pt: u8) -> Option<Encoding> {
        // Peers are known to send with the payload types of their own SDP instead of ours (RFC 3264, 5.1): both are taken.
        let ours = self.agreed.formats().find(|format| format.pt_recv == pt);
        let theirs = || self.agreed.formats().find(|format| format.pt_send == pt);
        let noise = (pt == COMFORT_NOISE).then_some(Encoding::ComfortNoise);
        ours.or_else(theirs).map(|format| format.encoding).or(noise)
    }

    /// The number of `encoding` in packets that we send, if both sides list it.
    pub(super) fn number(&self, encoding: Encoding) -> Option<u8> {
        self.agreed.formats().find(|format| format.encoding == encoding).map(|format| format.pt_send)
    }
}

/// What protects the packets of a session.
pub(super) enum Shield<'a> {
    /// Nothing: it is RTP.
    None,
    /// It is to be SRTP, and the handshake that brings its keys is not over: nothing is sent, and nothing taken.
    Awaited,
    /// SRTP.
    Srtp(&'a mut Srtp),
}

/// What protects the packets of a session that is secure or not.
pub(super) fn shield(is_secure: bool, srtp: &mut Option<Box<Srtp>>) -> Shield<'_> {
    match (is_secure, srtp) {
        (false, _) => Shield::None,
        (true, None) => Shield::Awaited,
        (true, Some(srtp)) => Shield::Srtp(srtp),
    }
}
