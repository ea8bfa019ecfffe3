//! Reliable provisional responses (RFC 3262).
//!
//! ```text
//!   callee   Ready ──send: RSeq──▶ Pending ──PRACK──▶ Ready: the next of the queue, or the 2xx that waits
//!                                   │ └┐ T1, doubling: again
//!                                   │  └┘
//!                                   └ 64*T1: the INVITE is refused
//!   caller   a reliable response in order gets a PRACK; one that comes again or too early gets none
//! ```

use std::collections::VecDeque;
use std::time::Instant;

use super::*;
use crate::Name;
use crate::capability::{Extension, Extensions};
use crate::dialog::Waiting;
use crate::endpoint::{ALLOW, Answer};
use crate::headers::RAck;

/// Provisional responses that may wait for the PRACK of the one before.
const MAX_QUEUED: usize = 8;

/// The callee's half.
#[derive(Debug, Default)]
pub(super) struct Provisionals {
    /// The RSeq of the last one sent.
    last: Option<u32>,
    pending: Option<Pending>,
    /// The status of the last response, where it was a reliable one.
    reliable: Option<u16>,
    queue: VecDeque<(u16, Option<Body>)>,
}

/// Sent and not acknowledged.
#[derive(Debug)]
struct Pending {
    rack: RAck,
    interval: Duration,
    /// Whether it carried a description.
    described: bool,
    /// The offer in it.
    offer: Option<Body>,
}

impl Provisionals {
    /// RFC 3262 section 3: "The value of the header field for the first reliable provisional response in a transaction MUST
    /// be between 1 and 2**31 - 1. It is RECOMMENDED that it be chosen uniformly in this range." Each next one is one
    /// higher.
    fn next(&mut self, random: u64) -> u32 {
        let next = match self.last {
            Some(last) => last.wrapping_add(1).max(1),
            // The remainder is below 2^31.
            None => 1 + (random % ((1 << 31) - 1)) as u32,
        };
        self.last = Some(next);
        next
    }

    /// Whether the 2xx has to wait, where one of "the unacknowledged reliable provisional responses contained a session
    /// description. In that case, it MUST NOT send a final response until those provisional responses are acknowledged."
    pub(super) fn holds_answer(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.described)
    }

    /// The one that a PRACK may still come for after the final response.
    pub(super) fn pending(&self) -> Option<RAck> {
        self.pending.as_ref().map(|pending| pending.rack)
    }

    pub(super) fn clear_queue(&mut self) {
        self.queue.clear();
    }

    fn acknowledge(&mut self, rack: RAck) -> Option<Pending> {
        self.pending.take_if(|pending| pending.rack == rack)
    }
}

/// The callee.
impl Session {
    /// Sends a provisional response, and repeats it: every minute, or until its PRACK where it is a reliable one. While one
    /// waits for its PRACK, further ones wait.
    pub(crate) fn ring(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        status: u16,
        body: Option<&Body>,
    ) -> Result<(), Error> {
        if !(101..200).contains(&status) {
            return Err(Error::Status { status });
        }
        let invited = self.invited()?;
        if invited.answer.is_some() {
            return Err(Error::WrongState);
        }
        let provisionals = &mut invited.provisionals;
        if provisionals.pending.is_none() {
            return self.send_provisional(layer, now, status, body);
        }
        if provisionals.queue.len() >= MAX_QUEUED {
            return Err(Error::WrongState);
        }
        provisionals.queue.push_back((status, body.cloned()));
        Ok(())
    }

    fn send_provisional(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        status: u16,
        body: Option<&Body>,
    ) -> Result<(), Error> {
        let at = self.ensure_dialog(layer)?;
        let server = self.invited()?.server;
        let (hop, request) = layer.request(server).ok_or(Error::WrongState)?;
        let required = Extensions::named(request, Name::Require).has(Extension::Reliable);
        let theirs = request.sdp();
        let contact = self.contact_back(layer, hop);
        let Some(dialog) = self.dialogs.iter_mut().find(|dialog| dialog.id == at) else {
            return Err(Error::WrongState);
        };
        let wanted = match layer.config.reliable {
            Reliable::Off => false,
            Reliable::Supported => body.is_some(),
            Reliable::Required => true,
        };
        let turn = dialog.exchange.turn();
        // RFC 3262 section 5: if "the INVITE did not contain an offer, one MUST appear in that reliable provisional
        // response" which is the first.
        let owes_offer = turn == Turn::Open && body.is_none();
        if required && owes_offer {
            return Err(Error::WrongState);
        }
        let reliable = required || wanted && !owes_offer && dialog.peer.supports(Extension::Reliable);
        // What a description means depends on whose turn it is. In an unreliable response it is a foretaste of the answer,
        // and cannot be an offer: RFC 3261 section 13.2.1 wants that "in the first reliable non-failure message".
        let (body, offer) = match (turn, body) {
            (Turn::Theirs(Carrier::Invite), Some(body)) => {
                if reliable {
                    dialog.exchange.agree(Some(body.clone()), theirs);
                }
                (Some(body), None)
            }
            (Turn::Open, Some(body)) if reliable => {
                dialog.exchange.offer(Carrier::Provisional);
                (Some(body), Some(body.clone()))
            }
            (Turn::Open | Turn::Agreed | Turn::Ours(_) | Turn::Theirs(_), _) => (None, None),
        };
        let mut answer = Answer { to_tag: Some(self.tag), contact, body, ..Answer::new(status) };
        if !reliable {
            layer.respond(now, server, &answer);
            self.invited()?.provisionals.reliable = None;
            self.set_timer(layer, SessionTimer::RepeatProvisional, now + PROVISIONAL_INTERVAL);
            return Ok(());
        }
        let random = layer.random();
        let invited = self.invited()?;
        let rack = RAck { rseq: invited.provisionals.next(random), cseq: invited.cseq };
        let interval = layer.config.timers.t1;
        let pending = Pending { rack, interval, described: body.is_some(), offer };
        invited.provisionals.pending = Some(pending);
        invited.provisionals.reliable = Some(status);
        let (rseq, supported) = (rack.rseq.to_string(), self.refresh.extensions().value());
        let headers = [
            (Name::Require, Extension::Reliable.tag()),
            (Name::RSeq, rseq.as_str()),
            (Name::Allow, ALLOW),
            (Name::Supported, supported.as_str()),
        ];
        answer.headers = &headers;
        layer.respond(now, server, &answer);
        self.set_timer(layer, SessionTimer::RepeatReliable, now + interval);
        self.set_timer(layer, SessionTimer::PrackTimeout, now + layer.config.timers.transaction_timeout());
        self.set_timer(layer, SessionTimer::RepeatProvisional, now + PROVISIONAL_INTERVAL);
        Ok(())
    }

    /// The call still rings. An acknowledged response says nothing when it comes again: its RSeq is known.
    pub(super) fn repeat_provisional(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let Ok(invited) = self.invited() else { return };
        let server = invited.server;
        match (&invited.provisionals.pending, invited.provisionals.reliable) {
            // It is repeated as it is.
            (Some(_), _) => {}
            (None, Some(status)) => {
                // What could be wrong was looked at when the user gave it.
                let _ = self.send_provisional(layer, now, status, None);
            }
            (None, None) => layer.repeat_provisional(now, server),
        }
        self.set_timer(layer, SessionTimer::RepeatProvisional, now + PROVISIONAL_INTERVAL);
    }

    /// RFC 3262 section 3: "the reliable provisional response is passed to the transaction layer periodically with an
    /// interval that starts at T1 seconds and doubles for each retransmission".
    pub(super) fn repeat_reliable(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let Ok(invited) = self.invited() else { return };
        let server = invited.server;
        let Some(pending) = &mut invited.provisionals.pending else { return };
        pending.interval *= 2;
        let next = now + pending.interval;
        layer.repeat_provisional(now, server);
        self.set_timer(layer, SessionTimer::RepeatReliable, next);
    }

    /// "If a reliable provisional response is retransmitted for 64*T1 seconds without reception of a corresponding PRACK,
    /// the UAS SHOULD reject the original request with a 5xx response."
    pub(super) fn prack_timeout(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let Ok(invited) = self.invited() else { return };
        let server = invited.server;
        self.refuse(layer, now, server, 504, &[], FailureCause::Response(504));
    }

    pub(super) fn receive_prack(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        at: DialogId,
        hop: Hop,
        request: &Message,
    ) {
        let Ok(Some(rack)) = request.rack() else {
            let reason = "Missing or Malformed RAck";
            return layer.respond(now, server, &Answer { reason, ..Answer::new(400) });
        };
        let pending = match &mut self.state {
            State::Invited(invited) => invited.provisionals.acknowledge(rack),
            // "The UAS MAY send a final response … before having received PRACKs", "but it MUST be prepared to process
            // PRACK requests for those outstanding responses".
            State::Answered(answered) if answered.provisional == Some(rack) => {
                answered.provisional = None;
                return layer.respond(now, server, &Answer::new(200));
            }
            State::Answered(_) | State::Inviting(_) | State::Established(_) | State::Over => None,
        };
        // For one that "does not match any unacknowledged reliable provisional response, the UAS MUST respond to the PRACK
        // with a 481 response".
        let Some(pending) = pending else { return layer.respond(now, server, &Answer::new(481)) };
        self.cancel_timer(layer, SessionTimer::RepeatReliable);
        self.cancel_timer(layer, SessionTimer::PrackTimeout);
        let body = request.sdp();
        match (pending.offer, body) {
            (Some(offer), body) => {
                if let Some(dialog) = self.dialog(at) {
                    dialog.exchange.fall_back();
                    dialog.exchange.agree(Some(offer), body.clone());
                }
                layer.respond(now, server, &Answer::new(200));
                self.emit(layer, SessionEvent::OfferAnswered { body });
            }
            (None, Some(offer)) => {
                self.receive_offer(layer, now, server, at, Carrier::Prack, hop, request, offer);
            }
            (None, None) => layer.respond(now, server, &Answer::new(200)),
        }
        self.go_on_ringing(layer, now);
    }

    /// Nothing waits for a PRACK any more: what has waited for that goes out.
    pub(super) fn go_on_ringing(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let is_asked = !self.theirs.is_idle();
        loop {
            let Ok(invited) = self.invited() else { return };
            if invited.provisionals.pending.is_some() {
                return;
            }
            if let Some(body) = invited.answer.clone() {
                if !is_asked {
                    // It was accepted when the user gave it; what could be wrong was looked at then.
                    let _ = self.send_answer(layer, now, body.as_ref());
                }
                return;
            }
            let Some((status, body)) = invited.provisionals.queue.pop_front() else { return };
            if self.send_provisional(layer, now, status, body.as_ref()).is_err() {
                return;
            }
        }
    }
}

/// The caller.
impl Session {
    pub(super) fn send_prack(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: DialogId,
        rack: RAck,
        body: Option<Body>,
    ) {
        self.auth.begin();
        if let Some(dialog) = self.dialog(at) {
            dialog.prack = Some((rack, body.clone()));
            self.send_in_dialog(layer, now, at, Waiting::Prack { rack, body });
        }
    }

    /// A challenge wants the last PRACK again. What else comes of it changes nothing: the callee repeats its response, or
    /// gives the call up.
    pub(super) fn prack_outcome(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: DialogId,
        outcome: Outcome,
    ) {
        let Outcome::Response { response, .. } = outcome else { return };
        let challenged = self.auth.accept_challenge(&response, layer.random());
        let is_over = self.is_over();
        let Some(dialog) = self.dialog(at) else { return };
        if challenged && !is_over {
            if let Some((rack, body)) = dialog.prack.clone() {
                self.send_in_dialog(layer, now, at, Waiting::Prack { rack, body });
            }
        } else if response.status().is_some_and(|status| status >= 200) {
            dialog.prack = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_anywhere_below_2_to_the_31_and_rise_by_one() {
        for random in [0, 1, (1 << 31) - 2, (1 << 31) - 1, u64::MAX] {
            let mut provisionals = Provisionals::default();
            let first = provisionals.next(random);
            assert!((1..1 << 31).contains(&first), "{first}");
            assert_eq!(provisionals.next(0), first + 1);
        }
    }

    #[test]
    fn only_the_pending_one_is_acknowledged_and_once() {
        let rack = RAck { rseq: 5, cseq: 1 };
        let pending = Pending { rack, interval: Duration::ZERO, described: true, offer: None };
        let mut provisionals = Provisionals { pending: Some(pending), ..Provisionals::default() };
        assert!(provisionals.holds_answer());
        assert!(provisionals.acknowledge(RAck { rseq: 5, cseq: 2 }).is_none());
        assert!(provisionals.acknowledge(RAck { rseq: 4, cseq: 1 }).is_none());
        assert!(provisionals.acknowledge(rack).is_some());
        assert!(provisionals.acknowledge(rack).is_none() && !provisionals.holds_answer());
    }
}
