//! What a leg sends when it is bridged.

mod keys;
mod limit;
mod members;
mod mix;
mod relay;

use std::ops::Range;

pub(crate) use keys::{Clocks, DURATION, RelayedKeys, Told};
pub use members::{Member, MemberSet};
pub use mix::{Mixer, Stream};
pub(crate) use relay::Relay;

use crate::rtp::{Header, Packet};
use crate::sdp::Encoding;

/// Where a leg's audio comes from while it plays no prompt; a prompt always goes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Feed {
    /// The leg itself: silence.
    #[default]
    Own,
    /// Packets of another leg in the same codec, sent on as they come ([`crate::Leg::forward`]).
    Relay {
        /// What becomes of keys.
        keys: Keys,
    },
    /// A mixer, which hands over a packet when it has one ([`crate::Leg::speak`]).
    Mix {
        /// What becomes of keys.
        keys: Keys,
    },
}

/// What becomes of keys pressed on the other side of a bridge. They are reported where they were pressed in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keys {
    /// They are sent on.
    #[default]
    Relayed,
    /// They stay on their side.
    Consumed,
}

/// A packet that a leg has received from its peer, for others to send on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// What it carries; `None`: nothing that anybody is to have, and it counts all the same.
    pub(crate) encoding: Option<Encoding>,
    /// What it says, if it is of an event.
    pub(crate) told: Option<Told>,
    pub(crate) header: Header,
    /// Where in the datagram its payload is.
    pub(crate) payload: Range<usize>,
}

impl Heard {
    pub(crate) fn new(encoding: Option<Encoding>, packet: &Packet<'_>, at: usize) -> Self {
        let is_event = |encoding: &Encoding| matches!(encoding, Encoding::TelephoneEvent { .. });
        let told = encoding.filter(is_event).and_then(|_| Told::read(packet.payload));
        // What is no event is for nobody.
        let encoding = encoding.filter(|encoding| told.is_some() || !is_event(encoding));
        Self { encoding, told, header: packet.header, payload: at..at + packet.payload.len() }
    }
}
