//! The offer/answer exchange of one dialog (RFC 3264; which messages carry what: RFC 6337 section 2.1).
//!
//! ```text
//!             description of ours goes out            description of theirs comes in
//!   Open ───────────────────────────▶ Ours(carrier)   ┌───────────▶ Theirs(carrier)
//!    └────────────────────────────────────────────────┘
//!   Ours ──answer in, refused──▶ Agreed ◀──answer out, refused── Theirs
//!   Agreed ──offer out──▶ Ours        Agreed ──offer in──▶ Theirs
//! ```
//!
//! A refusal falls back to what was agreed before: Open where that is nothing.

use bytes::Bytes;

use super::Body;

/// The message that carried an offer; the answer comes in the one that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// An INVITE; answered by a reliable provisional response or the 2xx.
    Invite,
    /// A reliable provisional response; answered by the PRACK.
    Provisional,
    /// The 2xx of an INVITE; answered by the ACK.
    Success,
    /// A PRACK; answered by its 2xx.
    Prack,
    /// An UPDATE; answered by its 2xx.
    Update,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing is agreed yet, and whoever describes first offers.
    Open,
    /// An offer of ours waits for its answer.
    Ours(Carrier),
    /// An offer of the peer's waits for its answer.
    Theirs(Carrier),
    /// Both have described; either may offer anew.
    Agreed,
}

/// Why an offer of the peer's cannot be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collision {
    /// One of ours waits for its answer: 491.
    Glare,
    /// One of theirs does: 500 with Retry-After.
    Busy,
}

/// The exchange and what it came to.
#[derive(Debug)]
pub(crate) struct Exchange {
    turn: Turn,
    /// Both descriptions in force; either may be unknown, where the peer broke the rules or speaks no SDP.
    local: Option<Body>,
    remote: Option<Bytes>,
    agreed: bool,
}

impl Exchange {
    pub(crate) fn new(turn: Turn) -> Self {
        Self { turn, local: None, remote: None, agreed: false }
    }

    pub(crate) fn turn(&self) -> Turn {
        self.turn
    }

    pub(crate) fn remote(&self) -> Option<&Bytes> {
        self.remote.as_ref()
    }

    /// Our description in force.
    pub(crate) fn local(&self) -> Option<&Body> {
        self.local.as_ref()
    }

    /// Whether we may offer.
    pub(crate) fn is_agreed(&self) -> bool {
        self.turn == Turn::Agreed
    }

    /// An offer of ours goes out.
    pub(crate) fn offer(&mut self, carrier: Carrier) {
        self.turn = Turn::Ours(carrier);
    }

    /// An offer of the peer's comes in, or a request for ours.
    pub(crate) fn take_offer(&mut self, carrier: Carrier) -> Result<(), Collision> {
        self.turn = match self.turn {
            Turn::Open | Turn::Agreed => Turn::Theirs(carrier),
            Turn::Ours(_) => return Err(Collision::Glare),
            Turn::Theirs(_) => return Err(Collision::Busy),
        };
        Ok(())
    }

    /// The answer has come or gone.
    pub(crate) fn agree(&mut self, local: Option<Body>, remote: Option<Bytes>) {
        self.turn = Turn::Agreed;
        self.agreed = true;
        self.local = local;
        // A copy: the description outlives the buffer of its message.
        self.remote = remote.map(|remote| Bytes::copy_from_slice(&remote));
    }

    /// The offer was refused or taken back. RFC 3261 section 14.1: "the session parameters MUST remain unchanged, as if no
    /// re-INVITE had been issued".
    pub(crate) fn fall_back(&mut self) {
        self.turn = if self.agreed { Turn::Agreed } else { Turn::Open };
    }

    /// What to answer an offer with that says nothing new: our description, unchanged.
    pub(crate) fn refresh(&self, offer: &Bytes) -> Option<&Body> {
        let same = self.is_agreed() && self.remote.as_ref() == Some(offer);
        if same { self.local.as_ref() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed() -> Exchange {
        let mut exchange = Exchange::new(Turn::Ours(Carrier::Invite));
        exchange.agree(Some(Body::sdp("ours")), Some("theirs".into()));
        exchange
    }

    #[test]
    fn only_one_offer_is_on_its_way() {
        let mut exchange = agreed();
        assert!(exchange.is_agreed());
        exchange.offer(Carrier::Update);
        assert_eq!(exchange.take_offer(Carrier::Invite), Err(Collision::Glare));
        exchange.fall_back();
        assert_eq!(exchange.take_offer(Carrier::Invite), Ok(()));
        assert_eq!(exchange.take_offer(Carrier::Update), Err(Collision::Busy));
        assert_eq!(exchange.turn(), Turn::Theirs(Carrier::Invite));
    }

    #[test]
    fn a_refusal_leaves_what_was_agreed() {
        let mut exchange = agreed();
        exchange.offer(Carrier::Invite);
        exchange.fall_back();
        assert_eq!(
            (exchange.turn(), exchange.remote().map(|r| &r[..])),
            (Turn::Agreed, Some(&b"theirs"[..]))
        );
        let mut fresh = Exchange::new(Turn::Open);
        fresh.offer(Carrier::Provisional);
        fresh.fall_back();
        assert_eq!(fresh.turn(), Turn::Open);
    }

    #[test]
    fn only_the_same_description_is_a_refresh() {
        let mut exchange = agreed();
        assert_eq!(exchange.refresh(&"theirs".into()), Some(&Body::sdp("ours")));
        assert_eq!(exchange.refresh(&"theirs ".into()), None);
        exchange.offer(Carrier::Update);
        assert_eq!(exchange.refresh(&"theirs".into()), None);
    }
}
