//! The callee's side up to the ACK: ringing, answering, refusing, CANCEL, a 2xx repeated until it is acknowledged.

use std::time::Instant;

use bytestring::ByteString;
use smallvec::SmallVec;

use super::*;
use crate::Name;
use crate::dialog::Waiting;
use crate::endpoint::{ALLOW, Answer};

/// An inbound call without a final response of ours.
#[derive(Debug)]
pub(super) struct Invited {
    server: ServerId,
    caller_tag: Option<ByteString>,
}

/// An inbound call whose 2xx is not acknowledged.
#[derive(Debug)]
pub(super) struct Answered {
    server: ServerId,
    interval: Duration,
    /// RFC 3261 section 15: "The callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK for
    /// its 2xx response or until the server transaction times out."
    hangup: Option<DeferredBye>,
}

/// Hung up already, the terminal event is out, and a BYE follows the ACK.
#[derive(Debug, Clone)]
pub(super) struct DeferredBye {
    reason: Option<ByteString>,
}

pub(super) fn begin(id: SessionId, tag: u64, server: ServerId, request: &Message) -> Session {
    Session {
        id,
        call_id: ByteString::from(&*request.call_id().unwrap_or_default()),
        tag,
        auth: Authenticator::new(None),
        state: State::Invited(Invited { server, caller_tag: request.from_tag() }),
        invite: None,
        dialogs: SmallVec::new(),
        transactions: 0,
    }
}

/// Commands.
impl Session {
    fn invited(&self) -> Result<ServerId, Error> {
        match &self.state {
            State::Invited(invited) => Ok(invited.server),
            State::Inviting(_) | State::Answered(_) | State::Established | State::Over => {
                Err(Error::WrongState)
            }
        }
    }

    /// Sends a provisional response, and repeats it every minute.
    pub(super) fn ring(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        status: u16,
        body: Option<&Body>,
    ) -> Result<(), Error> {
        let server = self.invited()?;
        if !(101..200).contains(&status) {
            return Err(Error::Status { status });
        }
        let contact = self.contact_for(layer, server);
        layer.respond(now, server, &Answer { to_tag: Some(self.tag), contact, body, ..Answer::new(status) });
        self.set_timer(layer, SessionTimer::RepeatProvisional, now + PROVISIONAL_INTERVAL);
        Ok(())
    }

    pub(super) fn repeat_provisional(&mut self, layer: &mut TransactionLayer, now: Instant) {
        if let Ok(server) = self.invited() {
            layer.repeat_provisional(now, server);
            self.set_timer(layer, SessionTimer::RepeatProvisional, now + PROVISIONAL_INTERVAL);
        }
    }

    /// Sends the 200 and waits for its ACK.
    pub(super) fn answer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        body: Option<&Body>,
    ) -> Result<(), Error> {
        let server = self.invited()?;
        let (hop, request) = layer.request(server).ok_or(Error::WrongState)?;
        let path = layer.path_back(hop).ok_or(Error::NoListener)?;
        let tag = format!("{:016x}", self.tag);
        let dialog = Dialog::of_invite(request, &tag, path).ok_or(Error::WrongState)?;
        let contact = self.contact_for(layer, server);
        let headers = [(Name::Allow, ALLOW)];
        let answer = Answer { to_tag: Some(self.tag), contact, headers: &headers, body, ..Answer::new(200) };
        layer.respond(now, server, &answer);
        self.dialogs.push(dialog);
        self.find_next_hop(layer, 0);
        let interval = layer.config.timers.t1;
        self.state = State::Answered(Answered { server, interval, hangup: None });
        self.cancel_timer(layer, SessionTimer::RepeatProvisional);
        self.set_timer(layer, SessionTimer::RepeatAnswer, now + interval);
        self.set_timer(layer, SessionTimer::AckTimeout, now + layer.config.timers.transaction_timeout());
        Ok(())
    }

    /// Refuses with 300 to 699.
    pub(super) fn reject(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        status: u16,
        headers: &[(String, String)],
    ) -> Result<(), Error> {
        let server = self.invited()?;
        if !(300..700).contains(&status) {
            return Err(Error::Status { status });
        }
        outbound::check_headers(headers)?;
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (Name::parse(name), value.as_str())).collect();
        self.refuse(layer, now, server, status, &headers, FailureCause::Response(status));
        Ok(())
    }

    /// Refuses as [`Self::reject`] does, and forgets the INVITE (RFC 3261 section 8.2.7: a stateless UAS).
    pub(super) fn dismiss(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        status: u16,
        headers: &[(String, String)],
    ) -> Result<(), Error> {
        let server = self.invited()?;
        self.reject(layer, now, status, headers)?;
        layer.forget(server);
        Ok(())
    }

    fn refuse(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        status: u16,
        headers: &[(Name<'_>, &str)],
        cause: FailureCause,
    ) {
        layer.respond(now, server, &Answer { to_tag: Some(self.tag), headers, ..Answer::new(status) });
        self.fail(layer, failure(cause));
    }

    /// The local end hangs up, in any state.
    pub(super) fn hangup(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        hangup: &Hangup,
    ) -> Result<(), Error> {
        let reason = hangup.reason.as_ref().map(|reason| ByteString::from(reason.to_string()));
        match &mut self.state {
            State::Inviting(_) => self.cancel(layer, now, reason),
            State::Invited(invited) => {
                let server = invited.server;
                let status = hangup.status.unwrap_or(603);
                if !(300..700).contains(&status) {
                    return Err(Error::Status { status });
                }
                let line = reason.as_deref().map(|reason| (Name::Reason, reason));
                self.refuse(layer, now, server, status, line.as_slice(), FailureCause::Response(status));
            }
            State::Answered(answered) => {
                if answered.hangup.is_none() {
                    answered.hangup = Some(DeferredBye { reason });
                    let ended = SessionEvent::Ended { by: Side::Local, q850: None, cause: EndCause::Bye };
                    self.emit(layer, ended);
                }
            }
            State::Established => {
                self.send_bye(layer, now, 0, reason);
                self.end(layer, Side::Local, None, EndCause::Bye);
            }
            State::Over => {}
        }
        Ok(())
    }

    /// The Contact of our responses to this INVITE: the user it was for, at the address it came to.
    fn contact_for(&self, layer: &TransactionLayer, server: ServerId) -> Option<ByteString> {
        let (hop, request) = layer.request(server)?;
        let path = layer.path_back(hop)?;
        let uri = request.request_uri().ok()?;
        Some(contact(uri.user(), &path).into())
    }
}

/// What the caller does before the call is established.
impl Session {
    /// RFC 3261 section 9.2: a UAS "SHOULD immediately respond to the INVITE with a 487 (Request Terminated)". A CANCEL
    /// after our final response has no effect.
    pub(super) fn receive_cancel(&mut self, layer: &mut TransactionLayer, now: Instant, cancel: &Message) {
        if let Ok(server) = self.invited() {
            layer.respond(now, server, &Answer { to_tag: Some(self.tag), ..Answer::new(487) });
            let q850 = cancel.q850_cause();
            self.fail(layer, Failure { q850, ..failure(FailureCause::Cancelled) });
        }
    }

    /// A BYE before our final response (RFC 3261 section 15: "the caller's UA MAY send a BYE for either confirmed or
    /// early dialogs"). Returns whether it was one for this call.
    pub(super) fn receive_early_bye(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        bye: &Message,
    ) -> bool {
        let State::Invited(invited) = &self.state else { return false };
        if invited.caller_tag != bye.from_tag() {
            return false;
        }
        self.receive_cancel(layer, now, bye);
        true
    }

    pub(super) fn receive_ack(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let State::Answered(answered) = &self.state else { return };
        let hangup = answered.hangup.clone();
        self.cancel_timer(layer, SessionTimer::RepeatAnswer);
        self.cancel_timer(layer, SessionTimer::AckTimeout);
        match hangup {
            None => {
                self.state = State::Established;
                self.emit(layer, SessionEvent::Confirmed);
            }
            Some(DeferredBye { reason }) => {
                self.send_bye(layer, now, 0, reason);
                self.state = State::Over;
            }
        }
    }

    pub(super) fn repeat_answer(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let State::Answered(answered) = &mut self.state else { return };
        layer.repeat_success(now, answered.server);
        answered.interval = layer.config.timers.back_off(answered.interval);
        let next = now + answered.interval;
        self.set_timer(layer, SessionTimer::RepeatAnswer, next);
    }

    /// RFC 3261 section 13.3.1.4: "If the server retransmits the 2xx response for 64*T1 seconds without receiving an ACK,
    /// the dialog is confirmed, but the session SHOULD be terminated. This is accomplished with a BYE".
    pub(super) fn ack_timeout(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let State::Answered(answered) = &self.state else { return };
        let hangup = answered.hangup.clone();
        let reason = hangup.as_ref().and_then(|deferred| deferred.reason.clone());
        self.send_in_dialog(layer, now, 0, Waiting::Bye { reason });
        match hangup {
            None => self.end(layer, Side::Local, None, EndCause::AckTimeout),
            Some(_) => self.state = State::Over,
        }
    }

    /// A BYE for a call that is answered. The terminal event is out already where we hung up first.
    pub(super) fn receive_bye(&mut self, layer: &mut TransactionLayer, bye: &Message) {
        match &self.state {
            State::Answered(Answered { hangup: Some(_), .. }) => self.state = State::Over,
            State::Answered(Answered { hangup: None, .. }) | State::Established => {
                self.end(layer, Side::Remote, bye.q850_cause(), EndCause::Bye);
            }
            State::Inviting(_) | State::Invited(_) | State::Over => {}
        }
    }
}
