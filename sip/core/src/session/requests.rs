//! Requests of ours in an answered call that change nothing about it: INFO, REFER, NOTIFY. And INFO of the peer's.

use std::collections::BTreeMap;
use std::time::Instant;

use super::refer::ReferId;
use super::*;
use crate::Name;
use crate::dialog::Waiting;
use crate::endpoint::Answer;
use crate::transaction::StatusClass;

/// Requests of one call under way at once: far more than a round trip takes of them.
const MAX_REQUESTS: usize = 16;

/// Those of one call.
#[derive(Debug, Default)]
pub(super) struct Requests {
    running: BTreeMap<u32, Request>,
    next: u32,
}

/// One request, until it has a final response.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Body>,
    pub(super) errand: Errand,
}

/// Who wants to know what becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    Info,
    Refer(ReferId),
    Notify(ReferId),
    /// An UPDATE that keeps the session from expiring.
    Refresh,
}

impl Requests {
    pub(super) fn get(&self, number: u32) -> Option<&Request> {
        self.running.get(&number)
    }

    pub(super) fn clear(&mut self) {
        self.running.clear();
    }
}

impl Session {
    /// The dialog of an answered call.
    pub(super) fn call_dialog(&self) -> Result<DialogId, Error> {
        match self.state {
            State::Established(at) => Ok(at),
            State::Inviting(_) | State::Invited(_) | State::Answered(_) | State::Over => {
                Err(Error::WrongState)
            }
        }
    }

    /// Sends a request in a dialog of the call.
    pub(super) fn send_other(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: DialogId,
        request: Request,
    ) -> Result<(), Error> {
        if self.requests.running.len() >= MAX_REQUESTS {
            return Err(Error::TooManyRequests);
        }
        let number = self.requests.next;
        self.requests.next += 1;
        self.requests.running.insert(number, request);
        self.auth.begin();
        self.send_in_dialog(layer, now, at, Waiting::Other(number));
        Ok(())
    }

    pub(super) fn other_outcome(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        at: DialogId,
        number: u32,
        outcome: Outcome,
    ) {
        // Gone where the call is over.
        let Some(errand) = self.requests.get(number).map(|request| request.errand) else { return };
        let (status, response) = match outcome {
            Outcome::Response { response, .. } => (response.status().unwrap_or_default(), Some(response)),
            // RFC 3261 section 8.1.3.1: "When a timeout error is received from the transaction layer, it MUST be treated as
            // if a 408 (Request Timeout) status code has been received. If a fatal transport error is reported … the
            // condition MUST be treated as a 503".
            Outcome::TimedOut => (408, None),
            Outcome::TransportFailed => (503, None),
        };
        match StatusClass::of(status) {
            StatusClass::Provisional => return,
            StatusClass::Success => {}
            StatusClass::Failure => {
                let challenged = response
                    .as_ref()
                    .is_some_and(|response| self.auth.accept_challenge(response, layer.random()));
                if challenged {
                    return self.send_in_dialog(layer, now, at, Waiting::Other(number));
                }
            }
        }
        self.requests.running.remove(&number);
        match errand {
            Errand::Notify(refer) => return self.notify_answered(layer, refer, status),
            Errand::Refer(refer) => self.refer_answered(layer, now, refer, status, response.as_ref()),
            Errand::Refresh => self.refresh_answered(layer, now, status, response.as_ref()),
            Errand::Info => self.emit(layer, SessionEvent::InfoAnswered { status }),
        }
        // RFC 3261 section 12.2.1.2 has a 481 end the dialog of the call: "For INVITE initiated dialogs, terminating the
        // dialog consists of sending a BYE." No answer would end it as well; but there are peers that leave methods
        // unanswered which they do not know, and a call that stands is worth more than an INFO.
        if status == 481 {
            self.send_bye(layer, now, at, None);
            self.end(layer, now, Side::Local, None, EndCause::Forgotten);
        }
    }

    pub(crate) fn info(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        body: Body,
    ) -> Result<(), Error> {
        let at = self.call_dialog()?;
        let request =
            Request { method: Method::Info, headers: vec![], body: Some(body), errand: Errand::Info };
        self.send_other(layer, now, at, request)
    }

    /// An INFO of the peer's. What is in it is between the applications.
    pub(super) fn receive_info(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        request: &Message,
    ) {
        // RFC 6086 section 4.2.2: "If a UA receives an INFO request associated with an Info Package that the UA has not
        // indicated willingness to receive, the UA MUST send a 469 (Bad Info Package) response …, which contains a Recv-Info
        // header field with Info Packages for which the UA is willing to receive INFO requests": for none.
        if request.header(Name::InfoPackage).is_some() {
            let headers = [(Name::RecvInfo, "")];
            return layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(469) });
        }
        let body = request.body();
        let is_known = if body.is_empty() { None } else { request.is_of_type(&layer.config.info_types) };
        if is_known == Some(false) {
            let accept = layer.config.info_types.join(", ");
            let headers = [(Name::Accept, accept.as_str()), (Name::AcceptEncoding, "identity")];
            return layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(415) });
        }
        layer.respond(now, server, &Answer::new(200));
        if is_known == Some(true)
            && let Some(content_type) = request.content_type()
        {
            let content_type = content_type.to_owned();
            self.emit(layer, SessionEvent::Info { content_type, body: body.clone() });
        }
    }
}
