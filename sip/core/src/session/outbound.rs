//! The caller's side up to the final answer: provisional responses, challenges, fail-over, CANCEL, forks.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use super::*;
use crate::dialog::{Caller, Waiting};
use crate::endpoint::{ALLOW, QueryId};
use crate::grammar::is_token;
use crate::transaction::{Asker, Located, StatusClass, compose};
use crate::transport::Destination;
use crate::{Name, Scheme};

/// An outbound call without a final answer.
#[derive(Debug)]
pub(super) struct Inviting {
    invite: Invite,
    /// Our From, tag included.
    from: ByteString,
    cseq: u32,
    /// Where the target is, as far as not tried yet.
    destinations: VecDeque<Destination>,
    /// The last provisional response told, to leave out its repetitions.
    told: Option<Progress>,
    /// Whether the network has answered anything yet, if only 100 or a challenge.
    pub(super) heard: bool,
    phase: Phase,
}

#[derive(Debug, PartialEq, Eq)]
struct Progress {
    status: u16,
    to_tag: Option<ByteString>,
    body: Bytes,
}

#[derive(Debug)]
enum Phase {
    /// The target's name is being looked up.
    Resolving(QueryId),
    /// No response yet.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// Hung up before a provisional response: "the client MUST wait for the arrival of a provisional response before
    /// sending the CANCEL request" (RFC 3261 section 9.1).
    CancelLater { reason: Option<ByteString> },
    /// CANCEL is sent.
    Cancelling,
}

/// Header fields of every message that the endpoint writes itself.
const OWN: [Name<'static>; 7] =
    [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq, Name::ContentLength, Name::ContentType];

/// And those of a request.
const OWN_IN_REQUEST: [Name<'static>; 8] = [
    Name::Contact,
    Name::MaxForwards,
    Name::Route,
    Name::RecordRoute,
    Name::Allow,
    Name::UserAgent,
    Name::Authorization,
    Name::ProxyAuthorization,
];

/// Whether header fields of the user's can be sent as they are: in a response, Contact is the user's, for the bindings
/// of a registrar or where else to ask (RFC 3261 sections 10.3 and 21.3).
pub(crate) fn check_headers(headers: &[(String, String)]) -> Result<(), Error> {
    check_against(headers, &OWN)
}

/// The same for a request.
pub(crate) fn check_request_headers(headers: &[(String, String)]) -> Result<(), Error> {
    check_headers(headers)?;
    check_against(headers, &OWN_IN_REQUEST)
}

fn check_against(headers: &[(String, String)], own: &[Name<'static>]) -> Result<(), Error> {
    let sound = |(name, value): &(String, String)| {
        is_token(name) && !value.contains(['\r', '\n', '\0']) && !own.contains(&Name::parse(name))
    };
    match headers.iter().position(|header| !sound(header)) {
        Some(index) => Err(Error::Header { index }),
        None => Ok(()),
    }
}

pub(super) fn begin(
    layer: &mut TransactionLayer,
    id: SessionId,
    mut invite: Invite,
) -> Result<Session, Error> {
    check_request_headers(&invite.headers)?;
    invite.request_uri = invite.request_uri.to_request_uri();
    let tag = layer.tag();
    let call_id = ByteString::from(format!("{:016x}{:016x}", layer.random(), layer.random()));
    let inviting = Inviting {
        from: invite.from.clone().with_tag(&format!("{tag:016x}")).to_string().into(),
        cseq: 1,
        destinations: VecDeque::new(),
        told: None,
        heard: false,
        phase: Phase::Calling,
        invite,
    };
    Ok(Session {
        id,
        call_id,
        tag,
        auth: Authenticator::new(inviting.invite.credentials.clone()),
        state: State::Inviting(Box::new(inviting)),
        invite: None,
        dialogs: SmallVec::new(),
        transactions: 0,
    })
}

impl Session {
    /// Finds the target, and sends the INVITE when that needs no question.
    pub(super) fn start(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let State::Inviting(inviting) = &mut self.state else { return };
        let secure = inviting.invite.request_uri.scheme() == Scheme::Sips;
        match layer.locate_target(Asker::Invite(self.id), &inviting.invite.target, secure) {
            None => self.fail(layer, failure(FailureCause::Resolve)),
            Some(Located::At(destination)) => {
                inviting.destinations.push_back(destination);
                self.try_next(layer, now, failure(FailureCause::Transport));
            }
            Some(Located::Asked(query)) => inviting.phase = Phase::Resolving(query),
        }
    }

    pub(super) fn target_resolved(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        result: Result<Destinations, ResolveError>,
    ) {
        let State::Inviting(inviting) = &mut self.state else { return };
        inviting.phase = Phase::Calling;
        inviting.destinations = result.map(|found| layer.in_order(now, found.list)).unwrap_or_default();
        self.try_next(layer, now, failure(FailureCause::Resolve));
    }

    /// Sends the INVITE to the next destination of the target; without one the call fails.
    fn try_next(&mut self, layer: &mut TransactionLayer, now: Instant, without: Failure) {
        let State::Inviting(inviting) = &mut self.state else { return };
        match layer.next_path(&inviting.invite.target, &mut inviting.destinations) {
            Some(path) => {
                self.auth.begin();
                self.send_invite(layer, now, path);
            }
            None => self.fail(layer, without),
        }
    }

    fn send_invite(&mut self, layer: &mut TransactionLayer, now: Instant, path: Path) {
        let State::Inviting(inviting) = &mut self.state else { return };
        let invite = &inviting.invite;
        let body = invite.body.as_ref().map_or(&[][..], |body| &body.bytes);
        let authorization = self.auth.lines(&Method::Invite, invite.request_uri.as_str(), body);
        let branch = layer.branch();
        let mut out = compose::buffer();
        let mut builder = compose::request(&mut out, &Method::Invite, &invite.request_uri, &path, branch);
        for route in &invite.route {
            builder = builder.header(Name::Route, format_args!("<{}>", route.uri()));
        }
        builder = builder
            .header(Name::From, &inviting.from)
            .header(Name::To, invite.to.clone().without_param("tag"))
            .header(Name::CallId, &self.call_id)
            .header(Name::CSeq, format_args!("{} INVITE", inviting.cseq))
            .header(Name::Contact, contact(invite.from.uri().user(), &path))
            .header(Name::Allow, ALLOW)
            .header(Name::UserAgent, &layer.config.user_agent);
        for (name, value) in &authorization {
            builder = builder.header(*name, value);
        }
        for (name, value) in &invite.headers {
            builder = builder.header(Name::parse(name), value);
        }
        let request = match &invite.body {
            Some(body) => builder.body(&body.content_type, &body.bytes),
            None => builder.finish(),
        };
        inviting.phase = Phase::Calling;
        let user = User::Invite(self.id);
        let key = layer.send_request(now, branch, Method::Invite, path.clone(), request, user);
        self.transactions += 1;
        let (from, cseq) = (inviting.from.clone(), inviting.cseq);
        self.invite = Some(SentInvite { key, path, from, cseq, authorization });
    }

    /// Gives up an outbound call.
    pub(super) fn cancel(&mut self, layer: &mut TransactionLayer, now: Instant, reason: Option<ByteString>) {
        let State::Inviting(inviting) = &mut self.state else { return };
        match inviting.phase {
            Phase::Resolving(query) => {
                layer.take_query(query);
                self.fail(layer, failure(FailureCause::Cancelled));
            }
            Phase::Calling => inviting.phase = Phase::CancelLater { reason },
            Phase::Proceeding => self.send_cancel(layer, now, reason),
            Phase::CancelLater { .. } | Phase::Cancelling => {}
        }
    }

    fn send_cancel(&mut self, layer: &mut TransactionLayer, now: Instant, reason: Option<ByteString>) {
        let (State::Inviting(inviting), Some(sent)) = (&mut self.state, &self.invite) else { return };
        inviting.phase = Phase::Cancelling;
        if layer.send_cancel(now, sent.key, self.id, reason.as_deref()) {
            self.transactions += 1;
        }
        self.set_timer(layer, SessionTimer::CancelTimeout, now + layer.config.timers.transaction_timeout());
    }

    pub(super) fn cancel_timeout(&mut self, layer: &mut TransactionLayer) {
        if let Some(sent) = &self.invite {
            layer.abandon(sent.key);
        }
        self.fail(layer, failure(FailureCause::Cancelled));
    }

    /// What the INVITE's transaction tells.
    pub(super) fn invite_outcome(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        key: ClientKey,
        outcome: Outcome,
    ) {
        if self.invite.as_ref().is_none_or(|sent| sent.key != key) {
            return;
        }
        match outcome {
            Outcome::Response { hop, response } => {
                let status = response.status().unwrap_or_default();
                if let State::Inviting(inviting) = &mut self.state {
                    inviting.heard = true;
                }
                match StatusClass::of(status) {
                    StatusClass::Provisional => self.provisional(layer, now, status, &response),
                    StatusClass::Success => self.success(layer, now, hop, &response),
                    StatusClass::Failure => self.rejected(layer, now, status, &response),
                }
            }
            Outcome::TimedOut => self.unreached(layer, now, FailureCause::Timeout),
            Outcome::TransportFailed => self.unreached(layer, now, FailureCause::Transport),
        }
    }

    fn provisional(&mut self, layer: &mut TransactionLayer, now: Instant, status: u16, response: &Message) {
        let State::Inviting(inviting) = &mut self.state else { return };
        match &mut inviting.phase {
            Phase::Resolving(_) | Phase::Cancelling => {}
            Phase::CancelLater { reason } => {
                let reason = reason.take();
                self.send_cancel(layer, now, reason);
            }
            Phase::Calling | Phase::Proceeding => {
                inviting.phase = Phase::Proceeding;
                let progress = Progress { status, to_tag: response.to_tag(), body: response.body().clone() };
                if status == 100 || inviting.told.as_ref() == Some(&progress) {
                    return;
                }
                let body = Some(progress.body.clone()).filter(|body| !body.is_empty());
                inviting.told = Some(progress);
                self.emit(layer, SessionEvent::Provisional { status, body });
            }
        }
    }

    /// Any 2xx: the first, its repetitions, those of other forks.
    fn success(&mut self, layer: &mut TransactionLayer, now: Instant, hop: Hop, response: &Message) {
        let tag = response.to_tag();
        if let Some(dialog) = self.dialogs.iter().find(|dialog| dialog.remote_tag() == tag.as_deref()) {
            if let Some(ack) = dialog.ack.clone() {
                layer.transmit(ack);
            }
            return;
        }
        let State::Inviting(inviting) = &self.state else {
            // "the UAC core considers the INVITE transaction completed 64*T1 seconds after the reception of the first
            // 2xx"; until then another fork may answer, and must not be left off the hook.
            if let Some(fork) = self.add_dialog(layer, now, hop, response) {
                self.send_bye(layer, now, fork, None);
            }
            return;
        };
        let wanted = match inviting.phase {
            Phase::Calling | Phase::Proceeding => true,
            Phase::Resolving(_) | Phase::CancelLater { .. } | Phase::Cancelling => false,
        };
        let Some(dialog) = self.add_dialog(layer, now, hop, response) else {
            // Without a tag, a target or a sound route there is no dialog to send an ACK or a BYE in.
            let cause = FailureCause::Response(response.status().unwrap_or_default());
            return self.fail(layer, failure(cause));
        };
        if wanted {
            self.state = State::Established;
            let body = Some(response.body().clone()).filter(|body| !body.is_empty());
            self.emit(layer, SessionEvent::Answered { call_id: self.call_id.to_string(), body });
        } else {
            // The 2xx crossed our CANCEL: the call exists now, and only a BYE ends it.
            self.send_bye(layer, now, dialog, None);
            self.fail(layer, failure(FailureCause::Cancelled));
        }
    }

    /// Makes the dialog of a 2xx and acknowledges it.
    fn add_dialog(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        hop: Hop,
        response: &Message,
    ) -> Option<usize> {
        let sent = self.invite.as_ref()?;
        if self.dialogs.len() >= MAX_FORKS {
            return None;
        }
        let path = Path { stream: sent.path.transport.is_reliable().then_some(hop), ..sent.path.clone() };
        let (cseq, authorization) = (sent.cseq, sent.authorization.clone());
        let caller = Caller { call_id: &self.call_id, from: &sent.from, cseq };
        let at = self.dialogs.len();
        self.dialogs.push(Dialog::of_answer(caller, response, path)?);
        self.find_next_hop(layer, at);
        self.send_in_dialog(layer, now, at, Waiting::Ack { cseq, authorization });
        Some(at)
    }

    fn rejected(&mut self, layer: &mut TransactionLayer, now: Instant, status: u16, response: &Message) {
        let (State::Inviting(inviting), Some(sent)) = (&mut self.state, &self.invite) else { return };
        let path = sent.path.clone();
        let failure = Failure {
            cause: FailureCause::Response(status),
            reason_phrase: response.reason().to_owned(),
            q850: response.q850_cause(),
            retry_after: response.retry_after().ok().flatten(),
        };
        match inviting.phase {
            // RFC 3261 section 22.1: "it MUST increment the CSeq header field value"; Call-ID, From and To stay.
            Phase::Calling | Phase::Proceeding
                if matches!(status, 401 | 407) && self.auth.accept_challenge(response, layer.random()) =>
            {
                inviting.cseq += 1;
                self.send_invite(layer, now, path);
            }
            // RFC 3263 section 4.3: a 503 is a failure of the server, and the next address is tried.
            Phase::Calling | Phase::Proceeding if status == 503 => {
                inviting.cseq += 1;
                self.try_next(layer, now, failure);
            }
            Phase::CancelLater { .. } | Phase::Cancelling if matches!(status, 401 | 407 | 487) => {
                self.fail(layer, Failure { cause: FailureCause::Cancelled, ..failure });
            }
            Phase::Resolving(_)
            | Phase::Calling
            | Phase::Proceeding
            | Phase::CancelLater { .. }
            | Phase::Cancelling => self.fail(layer, failure),
        }
    }

    /// No response, or no way to the target.
    fn unreached(&mut self, layer: &mut TransactionLayer, now: Instant, cause: FailureCause) {
        let State::Inviting(inviting) = &mut self.state else { return };
        match inviting.phase {
            Phase::Calling | Phase::Proceeding | Phase::Resolving(_) => {
                inviting.cseq += 1;
                self.try_next(layer, now, failure(cause));
            }
            Phase::CancelLater { .. } | Phase::Cancelling => {
                self.fail(layer, failure(FailureCause::Cancelled));
            }
        }
    }
}
