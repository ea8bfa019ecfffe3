//! A bridge in its shard: who sits in it, and what each of them sends.

use media_core::{Feed, MemberSet, Mixer};

use crate::line::Line;

/// A bridge. It is made whole by the owner and replaced whole when anything in it changes, so nothing in it grows here.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) seats: Vec<Seat>,
    /// Where somebody hears several others, or one of another codec.
    pub(crate) mixer: Option<Mixer>,
    /// Of a period ([`crate::cost`]).
    pub(crate) cost: u32,
}

/// A leg's place in a bridge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    /// The leg's slot; `None` once it is over.
    pub(crate) slot: Option<u32>,
    pub(crate) hears: MemberSet,
    pub(crate) feed: Feed,
    /// Whether what it hears is mixed.
    pub(crate) heard: bool,
}

impl Bridge {
    fn place(&self, slot: u32) -> Option<usize> {
        self.seats.iter().position(|seat| seat.slot == Some(slot))
    }

    /// The slot of the `n`th leg that may send on what the one in `slot` hears.
    pub(crate) fn hearing(&self, slot: u32, n: usize) -> Option<u32> {
        let place = self.place(slot)?;
        let takes = |seat: &&Seat| seat.hears.contains(place) && seat.feed != Feed::Own;
        self.seats.iter().filter(takes).filter_map(|seat| seat.slot).nth(n)
    }

    /// Goes on with what `before` has of those who are in both.
    pub(crate) fn inherit(&mut self, before: &mut Self) {
        let (Some(mixer), Some(other)) = (&mut self.mixer, &mut before.mixer) else { return };
        for (to, seat) in self.seats.iter().enumerate() {
            let from = before.seats.iter().position(|other| other.slot.is_some() && other.slot == seat.slot);
            if let Some(from) = from {
                mixer.inherit(to, other, from);
            }
        }
    }

    /// The leg in `slot` is over: nobody hears it any more, whoever gets its slot next.
    pub(crate) fn leave(&mut self, slot: u32) {
        if let Some(place) = self.place(slot) {
            self.seats[place].slot = None;
        }
    }
}

impl Seat {
    /// Its leg, of the shard's `lines`.
    pub(crate) fn line<'a, S>(&self, lines: &'a mut [Option<Box<Line<S>>>]) -> Option<&'a mut Line<S>> {
        lines[self.slot? as usize].as_deref_mut()
    }
}
