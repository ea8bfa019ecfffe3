//! The callee's side up to the ACK: ringing, answering, refusing, CANCEL, a 2xx repeated until it is acknowledged.

use std::net::IpAddr;
use std::time::Instant;

use bytestring::ByteString;

use super::*;
use crate::endpoint::Answer;
use crate::headers::RAck;
use crate::{Name, NameAddr, Transport, private_network};
use reliable::Provisionals;

/// An inbound call without a final response of ours.
#[derive(Debug)]
pub(super) struct Invited {
    pub(super) server: ServerId,
    pub(super) cseq: u32,
    caller_tag: Option<ByteString>,
    pub(super) provisionals: Provisionals,
    /// The user's answer, while it waits for a PRACK.
    pub(super) answer: Option<Option<Body>>,
}

/// An inbound call whose 2xx is not acknowledged.
#[derive(Debug)]
pub(super) struct Answered {
    server: ServerId,
    cseq: u32,
    interval: Duration,
    /// The offer in the 2xx.
    offer: Option<Body>,
    /// The reliable provisional response whose PRACK may still come.
    pub(super) provisional: Option<RAck>,
    /// RFC 3261 section 15: "The callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK for
    /// its 2xx response or until the server transaction times out."
    hangup: Option<DeferredBye>,
}

/// Hung up already, the terminal event is out, and a BYE follows the ACK.
#[derive(Debug, Clone)]
pub(super) struct DeferredBye {
    reason: Option<ByteString>,
}

pub(super) fn begin(
    layer: &mut TransactionLayer,
    id: SessionId,
    tag: u64,
    server: ServerId,
    request: &Message,
    replaces: Option<SessionId>,
) -> Session {
    let invited = Invited {
        server,
        cseq: request.cseq().map_or(0, |cseq| cseq.number),
        caller_tag: request.from_tag(),
        provisionals: Provisionals::default(),
        answer: None,
    };
    let uri = request.request_uri().ok();
    Session {
        id,
        call_id: ByteString::from(&*request.call_id().unwrap_or_default()),
        tag,
        uuid: layer.uuid(),
        caller: Side::Remote,
        user: uri.and_then(|uri| uri.user().map(ByteString::from)),
        public_ip: None,
        secure: is_secure(request),
        auth: Authenticator::new(None),
        state: State::Invited(Box::new(invited)),
        invite: None,
        dialogs: Vec::new(),
        gone: Vec::new(),
        next_dialog: 0,
        ours: Ours::Idle,
        theirs: Theirs::Idle,
        requests: Requests::default(),
        refers: Refers::default(),
        refresh: Refresh::new(layer.config.session_refresh),
        replaces,
        bye_headers: Vec::new(),
        transactions: 0,
    }
}

/// Commands.
impl Session {
    pub(super) fn invited(&mut self) -> Result<&mut Invited, Error> {
        match &mut self.state {
            State::Invited(invited) => Ok(invited),
            State::Inviting(_) | State::Answered(_) | State::Established(_) | State::Over => {
                Err(Error::WrongState)
            }
        }
    }

    /// Before any response of ours that has a Contact.
    pub(crate) fn set_public_ip(&mut self, public_ip: IpAddr) -> Result<(), Error> {
        self.invited()?;
        if !self.dialogs.is_empty() {
            return Err(Error::WrongState);
        }
        self.public_ip = Some(public_ip);
        Ok(())
    }

    /// Tells of the call, and watches how long it is meant to be valid.
    pub(super) fn arrive(&mut self, layer: &mut TransactionLayer, now: Instant, hop: Hop, request: Message) {
        // RFC 3261 section 13.3.1: "the UAS core sets a timer for the number of seconds indicated in the header field value.
        // When the timer fires, the invitation is considered to be expired."
        if let Ok(Some(expires)) = request.expires() {
            self.set_timer(layer, SessionTimer::Expires, now + expires);
        }
        self.emit(layer, SessionEvent::Incoming { hop, request, replaces: self.replaces });
    }

    /// The dialog of the INVITE, made with the first response that has our tag.
    pub(super) fn ensure_dialog(&mut self, layer: &TransactionLayer) -> Result<DialogId, Error> {
        let server = self.invited()?.server;
        if let Some(dialog) = self.dialogs.first() {
            return Ok(dialog.id);
        }
        let (hop, request) = layer.request(server).ok_or(Error::WrongState)?;
        let path = self.path_back(layer, hop).ok_or(Error::NoListener)?;
        let path = Path { is_flow: is_behind_nat(request, hop), ..path };
        let turn = if request.sdp().is_some() { Turn::Theirs(Carrier::Invite) } else { Turn::Open };
        let tag = format!("{:016x}", self.tag);
        let dialog = Dialog::of_invite(request, &tag, turn, path).ok_or(Error::WrongState)?;
        let id = dialog.id;
        self.add_dialog(dialog);
        Ok(id)
    }

    /// Sends the 200, perhaps after a PRACK, and waits for its ACK.
    pub(crate) fn answer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        body: Option<&Body>,
    ) -> Result<(), Error> {
        if !self.theirs.is_idle() {
            return Err(Error::OfferPending);
        }
        let invited = self.invited()?;
        if invited.answer.is_some() {
            return Err(Error::WrongState);
        }
        if invited.provisionals.holds_answer() {
            invited.provisionals.clear_queue();
            invited.answer = Some(body.cloned());
            return Ok(());
        }
        self.send_answer(layer, now, body)
    }

    pub(super) fn send_answer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        body: Option<&Body>,
    ) -> Result<(), Error> {
        let at = self.ensure_dialog(layer)?;
        let invited = self.invited()?;
        let (server, cseq, provisional) = (invited.server, invited.cseq, invited.provisionals.pending());
        let (hop, request) = layer.request(server).ok_or(Error::WrongState)?;
        let theirs = request.sdp();
        let Some(dialog) = self.dialog(at) else { return Err(Error::WrongState) };
        let (body, offer) = match (dialog.exchange.turn(), body) {
            (Turn::Theirs(Carrier::Invite), body) => {
                dialog.exchange.agree(body.cloned(), theirs);
                (body, None)
            }
            (Turn::Open, Some(body)) => {
                dialog.exchange.offer(Carrier::Success);
                (Some(body), Some(body.clone()))
            }
            (Turn::Open, None) => {
                dialog.exchange.agree(None, None);
                (None, None)
            }
            // RFC 3261 section 13.2.1: "Once the UAS has sent or received an answer to the initial offer, it MUST NOT
            // generate subsequent offers in any responses to the initial INVITE."
            (Turn::Agreed | Turn::Ours(_) | Turn::Theirs(_), _) => (None, None),
        };
        self.agree_to(layer, now, server, hop, body);
        self.find_next_hop(layer, at);
        let interval = layer.config.timers.t1;
        let answered = Answered { server, cseq, interval, offer, provisional, hangup: None };
        self.state = State::Answered(answered);
        if let Some(replaced) = self.replaces.take() {
            layer.displace(now, replaced);
        }
        for timer in [
            SessionTimer::Expires,
            SessionTimer::RepeatProvisional,
            SessionTimer::RepeatReliable,
            SessionTimer::PrackTimeout,
        ] {
            self.cancel_timer(layer, timer);
        }
        self.set_timer(layer, SessionTimer::RepeatAnswer, now + interval);
        self.set_timer(layer, SessionTimer::AckTimeout, now + layer.config.timers.transaction_timeout());
        Ok(())
    }

    /// Refuses with 300 to 699.
    pub(crate) fn reject(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        status: u16,
        headers: &[(String, String)],
    ) -> Result<(), Error> {
        let server = self.invited()?.server;
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
    pub(crate) fn dismiss(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        status: u16,
        headers: &[(String, String)],
    ) -> Result<(), Error> {
        let server = self.invited()?.server;
        layer.unsay(server);
        self.reject(layer, now, status, headers)?;
        layer.forget(server);
        Ok(())
    }

    pub(super) fn refuse(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        status: u16,
        headers: &[(Name<'_>, &str)],
        cause: FailureCause,
    ) {
        layer.respond(now, server, &Answer { to_tag: Some(self.tag), headers, ..Answer::new(status) });
        self.fail(layer, now, Failure::new(cause));
    }

    /// The local end hangs up, in any state.
    pub(crate) fn hangup(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        hangup: &Hangup,
    ) -> Result<(), Error> {
        check_request_headers(&hangup.headers)?;
        let reason = hangup.reason.as_ref().map(|reason| ByteString::from(reason.to_string()));
        if !self.is_over() {
            self.bye_headers.clone_from(&hangup.headers);
        }
        match &mut self.state {
            State::Inviting(_) => self.cancel(layer, now, reason),
            State::Invited(invited) => {
                let server = invited.server;
                let status = hangup.status.unwrap_or(603);
                if !(300..700).contains(&status) {
                    return Err(Error::Status { status });
                }
                let line = reason.as_deref().map(|reason| (Name::Reason, reason));
                let others = hangup.headers.iter().map(|(name, value)| (Name::parse(name), value.as_str()));
                let headers: Vec<_> = line.into_iter().chain(others).collect();
                self.refuse(layer, now, server, status, &headers, FailureCause::Response(status));
            }
            State::Answered(answered) => {
                if answered.hangup.is_none() {
                    answered.hangup = Some(DeferredBye { reason });
                    let (by, cause) = (Side::Local, EndCause::Bye);
                    let ended = SessionEvent::Ended { by, q850: None, cause, bye: None };
                    self.emit(layer, ended);
                }
            }
            State::Established(at) => {
                let at = *at;
                // Before the BYE: what waits for an answer of ours gets it, and a re-INVITE of ours its CANCEL.
                self.close(layer, now);
                self.send_bye(layer, now, at, reason);
                self.end(layer, now, Side::Local, None, EndCause::Bye);
            }
            State::Over => {}
        }
        Ok(())
    }
}

/// What the caller does before the call is established.
impl Session {
    /// RFC 3261 section 9.2: a UAS "SHOULD immediately respond to the INVITE with a 487 (Request Terminated)". A CANCEL
    /// after our final response has no effect.
    pub(super) fn receive_cancel(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        invite: ServerId,
        cancel: &Message,
    ) {
        if self.invited().is_ok_and(|invited| invited.server == invite) {
            self.terminate(layer, now, Some(cancel));
        } else {
            self.cancel_theirs(layer, now, invite);
        }
    }

    /// The caller has given the call up.
    fn terminate(&mut self, layer: &mut TransactionLayer, now: Instant, message: Option<&Message>) {
        if let Ok(invited) = self.invited() {
            let server = invited.server;
            layer.respond(now, server, &Answer { to_tag: Some(self.tag), ..Answer::new(487) });
            let q850 = message.and_then(Message::q850_cause);
            let message = message.cloned().map(Box::new);
            self.fail(layer, now, Failure { q850, message, ..Failure::new(FailureCause::Cancelled) });
        }
    }

    /// The INVITE is valid no longer: theirs is refused, "the UAS core MUST generate a 487 (Request Terminated) response";
    /// ours is CANCELled (section 13.2.1).
    pub(super) fn expire(&mut self, layer: &mut TransactionLayer, now: Instant) {
        self.terminate(layer, now, None);
        self.cancel(layer, now, None);
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
        self.terminate(layer, now, Some(bye));
        true
    }

    pub(super) fn receive_ack(&mut self, layer: &mut TransactionLayer, now: Instant, ack: &Message) {
        let number = ack.cseq().map_or(0, |cseq| cseq.number);
        let State::Answered(answered) = &mut self.state else {
            return self.reinvite_acknowledged(layer, ack);
        };
        if answered.cseq != number {
            return;
        }
        let (hangup, offer) = (answered.hangup.take(), answered.offer.take());
        self.cancel_timer(layer, SessionTimer::RepeatAnswer);
        self.cancel_timer(layer, SessionTimer::AckTimeout);
        let Some(dialog) = self.dialogs.first_mut() else { return };
        let at = dialog.id;
        let body = ack.sdp().filter(|_| offer.is_some());
        if offer.is_some() {
            dialog.exchange.fall_back();
            dialog.exchange.agree(offer, body.clone());
        }
        match hangup {
            None => {
                self.state = State::Established(at);
                self.emit(layer, SessionEvent::Confirmed { body });
            }
            Some(DeferredBye { reason }) => {
                self.close(layer, now);
                self.send_bye(layer, now, at, reason);
            }
        }
    }

    pub(super) fn repeat_answer(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let (server, interval) = match &mut self.state {
            State::Answered(answered) => {
                answered.interval = layer.config.timers.back_off(answered.interval);
                (answered.server, answered.interval)
            }
            State::Inviting(_) | State::Invited(_) | State::Established(_) | State::Over => {
                let Some(repeat) = self.repeat_reinvite_answer(layer) else { return };
                repeat
            }
        };
        layer.repeat_success(now, server);
        self.set_timer(layer, SessionTimer::RepeatAnswer, now + interval);
    }

    /// RFC 3261 section 13.3.1.4: "If the server retransmits the 2xx response for 64*T1 seconds without receiving an ACK,
    /// the dialog is confirmed, but the session SHOULD be terminated. This is accomplished with a BYE", and section 14.2
    /// says the same of a re-INVITE.
    pub(super) fn ack_timeout(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let (at, hangup) = match &mut self.state {
            State::Answered(answered) => {
                let Some(dialog) = self.dialogs.first() else { return };
                (dialog.id, answered.hangup.take())
            }
            State::Established(at) => (*at, None),
            State::Inviting(_) | State::Invited(_) | State::Over => return,
        };
        match hangup {
            None => {
                self.send_bye(layer, now, at, None);
                self.end(layer, now, Side::Local, None, EndCause::AckTimeout);
            }
            Some(DeferredBye { reason }) => {
                self.close(layer, now);
                self.send_bye(layer, now, at, reason);
            }
        }
    }

    /// Whether the terminal event is out, though an ACK may still be waited for.
    pub(super) fn is_told_over(&self) -> bool {
        match &self.state {
            State::Over | State::Answered(Answered { hangup: Some(_), .. }) => true,
            State::Answered(Answered { hangup: None, .. })
            | State::Inviting(_)
            | State::Invited(_)
            | State::Established(_) => false,
        }
    }

    /// A BYE; it is answered. The terminal event is out already where we hung up first.
    pub(super) fn receive_bye(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        from: DialogId,
        bye: &Message,
    ) {
        match &self.state {
            State::Answered(Answered { hangup: Some(_), .. }) => self.close(layer, now),
            State::Answered(Answered { hangup: None, .. }) => {
                self.end(layer, now, Side::Remote, Some(bye), EndCause::Bye);
            }
            // A fork that lost is being taken down anyway.
            State::Established(at) if *at == from => {
                self.end(layer, now, Side::Remote, Some(bye), EndCause::Bye);
            }
            State::Inviting(_) => self.early_bye(layer, now, from, bye),
            State::Established(_) | State::Invited(_) | State::Over => {}
        }
        self.retire(from);
    }
}

/// RFC 3261 section 12.1.1: "If the request that initiated the dialog contained a SIPS URI in the Request-URI or in the top
/// Record-Route header field value, if there was any, or the Contact header field if there was no Record-Route header
/// field, the Contact header field in the response MUST be a SIPS URI."
fn is_secure(request: &Message) -> bool {
    let is_sips = |addr: &NameAddr| addr.uri().scheme() == Scheme::Sips;
    let back = match request.addresses(Name::RecordRoute).next() {
        Some(route) => route.is_ok_and(|route| is_sips(&route)),
        None => matches!(request.contacts().next(), Some(Ok(contact)) if contact.addr().is_some_and(is_sips)),
    };
    back || request.request_uri().is_ok_and(|uri| uri.scheme() == Scheme::Sips)
}

/// Whether a NAT stands between us and a caller who has not noticed: the request has come straight from it, not from where
/// its Via says, and its Contact says the same as its Via.
fn is_behind_nat(request: &Message, Hop { transport, remote, .. }: Hop) -> bool {
    let mut vias = request.vias();
    let (Some(Ok(via)), None) = (vias.next(), vias.next()) else { return false };
    let Some(ip) = via.host().ip().map(|ip| ip.to_canonical()) else { return false };
    let source = remote.ip().to_canonical();
    let port = via.port().unwrap_or(transport.default_port());
    // RFC 3581 section 3: who asks for rport over UDP receives at the address and port that it sends from. Who does not,
    // and has an address that is good everywhere, may send by another than it receives by.
    let receives_there = transport == Transport::Udp && via.rport().is_some();
    let is_hidden = match receives_there {
        true => (ip, port) != (source, remote.port()),
        false => private_network(ip).is_some_and(|network| !network.contains(source)),
    };
    let contact = crate::dialog::contact(request);
    let contact = contact.and_then(|contact| contact.host()).and_then(|host| host.ip());
    is_hidden && contact.map(|ip| ip.to_canonical()) == Some(ip)
}
