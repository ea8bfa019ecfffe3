//! What a leg knows of the session that offer and answer settled.

use crate::peer::Peer;
use crate::rtcp::Schedule;
use crate::sdp::Negotiated;
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

/// What a payload type stands for.
pub(super) enum Payload {
    Audio,
    /// A description of comfort noise.
    Noise,
    Event {
        clock: u32,
    },
    Other,
}

impl Session {
    pub(super) fn is_secure(&self) -> bool {
        self.agreed.srtp.is_some()
    }

    pub(super) fn clock(&self) -> u32 {
        self.agreed.codec.clock_rate()
    }

    pub(super) fn payload(&self, pt: u8) -> Payload {
        let Negotiated { pt_send, pt_recv, telephone_event, .. } = &self.agreed;
        // Peers are known to send with the payload types of their own SDP instead of ours (RFC 3264, 5.1): both are taken.
        if pt == *pt_recv {
            return Payload::Audio;
        }
        match telephone_event {
            Some(event) if pt == event.pt_recv || pt == event.pt_send => {
                Payload::Event { clock: event.clock }
            }
            Some(_) | None if pt == *pt_send => Payload::Audio,
            Some(_) | None if pt == COMFORT_NOISE => Payload::Noise,
            Some(_) | None => Payload::Other,
        }
    }
}

/// What protects the packets of a session that is SRTP; [`Leg::start`] has made it.
pub(super) fn protection(is_secure: bool, srtp: &mut Option<Box<Srtp>>) -> Option<&mut Srtp> {
    srtp.as_deref_mut().filter(|_| is_secure)
}
