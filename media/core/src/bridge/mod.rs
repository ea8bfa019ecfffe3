//! What a leg sends when it is bridged.

mod limit;
mod members;
mod mix;
mod relay;

use std::ops::Range;

pub use members::{Member, MemberSet};
pub use mix::{Mixer, Stream};
pub(crate) use relay::{Relay, RelayedKey};

use crate::rtp::{Header, Packet};

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
    pub(crate) kind: HeardKind,
    pub(crate) header: Header,
    /// Where in the datagram its payload is.
    pub(crate) payload: Range<usize>,
}

/// What there is in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeardKind {
    Audio,
    /// An RFC 4733 event whose timestamps run at this clock.
    Event {
        clock: u32,
    },
}

impl Heard {
    pub(crate) fn new(kind: HeardKind, packet: &Packet<'_>, at: usize) -> Self {
        Self { kind, header: packet.header, payload: at..at + packet.payload.len() }
    }
}
