//! Transfers: REFER out and in, and the subscription that each implies (RFC 3515, 4488, 3892, 6665).
//!
//! ```text
//!   ours     Sent ──2xx──▶ Accepted ──NOTIFY──▶ Watched ──final NOTIFY──▶ gone
//!             │ NOTIFY before the 2xx ─────────▶│ ▲ └┐ 1xx
//!             │                                     └──┘
//!             └── 300–699: refused, gone           64*T1 without the first NOTIFY, expiry: gone
//!
//!   theirs   Asked ──accepted: 202, NOTIFY 100──▶ Notifying ──final status: NOTIFY terminated──▶ gone
//!             │                                     │ expiry, SUBSCRIBE Expires: 0: NOTIFY terminated; NOTIFY refused
//!             └── refused, norefersub               └──────────────────────────────────────────▶ gone
//! ```
//!
//! The subscriptions end with the call: what a NOTIFY after the BYE would tell has nobody to go to.

use std::collections::BTreeMap;
use std::time::Instant;

use super::requests::{Errand, Request};
use super::*;
use crate::endpoint::Answer;
use crate::{Name, NameAddr, ReferTo, Scheme};

/// REFERs of one call under way at once, in each direction.
const MAX_REFERS: usize = 8;

/// How long the subscription of a REFER of theirs lasts: longer than any call rings.
const SUBSCRIPTION: Duration = Duration::from_secs(600);

/// The longest that a REFER of ours is watched.
const SUBSCRIPTION_MAX: Duration = Duration::from_secs(3600);

const EVENT: &str = "refer";
const SIPFRAG: &str = "message/sipfrag;version=2.0";

/// One REFER in a call, ours or the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReferId(pub u32);

/// A REFER to send: the peer is to call somebody.
#[derive(Debug, Clone)]
pub struct Refer {
    /// Whom, and in whose place: a [`Replaces`](crate::Replaces) makes it an attended transfer; see
    /// [`Endpoint::refer_to`](crate::Endpoint::refer_to). Only a sip or sips URI can carry one.
    pub to: ReferTo,
    /// Who asks for it (RFC 3892); the new call tells it to its callee.
    pub referred_by: Option<NameAddr>,
    /// Whether the peer is to tell what comes of it. Where not (RFC 4488), a peer that does not know how to do without tells
    /// it all the same.
    pub subscribe: bool,
    /// Further headers, name and value, sent as given.
    pub headers: Vec<(String, String)>,
}

impl Refer {
    /// A plain (blind) transfer, watched.
    pub fn new(to: ReferTo) -> Refer {
        Refer { to, referred_by: None, subscribe: true, headers: vec![] }
    }
}

/// A REFER of the peer's.
#[derive(Debug, Clone)]
pub struct Referred {
    /// For the answer.
    pub refer: ReferId,
    /// Whom to call, and in whose place.
    pub to: ReferTo,
    /// Who asks for it; to be told to the one who is called, as Referred-By.
    pub referred_by: Option<NameAddr>,
    /// The REFER.
    pub request: Message,
}

/// What comes of a REFER of ours. After a final one nothing more is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferProgress {
    /// The peer will try, and will tell how it goes.
    Accepted,
    /// The call to the target has this provisional status.
    Trying(u16),
    /// Final: the call to the target has this status; 2xx is success.
    Done(u16),
    /// Final: the peer refuses with this status; 408 where it does not answer, 503 where the transport failed.
    Refused(u16),
    /// Final: accepted, and nothing (more) will be told: as was asked for, or because the peer went silent.
    Unknown,
}

impl ReferProgress {
    /// Whether nothing comes after it.
    pub fn is_final(self) -> bool {
        match self {
            Self::Accepted | Self::Trying(_) => false,
            Self::Done(_) | Self::Refused(_) | Self::Unknown => true,
        }
    }
}

/// Those of one call.
#[derive(Debug, Default)]
pub(super) struct Refers {
    ours: BTreeMap<ReferId, OurRefer>,
    theirs: BTreeMap<ReferId, TheirRefer>,
    next: u32,
    /// Whether the peer has sent one, accepted or not.
    received: bool,
}

impl Refers {
    fn next_id(&mut self) -> ReferId {
        let id = ReferId(self.next);
        self.next += 1;
        id
    }

    /// A REFER of ours has been sent with this number: the id of its NOTIFYs (RFC 3515 section 2.4.6).
    pub(super) fn sent(&mut self, id: ReferId, cseq: u32) {
        if let Some(refer) = self.ours.get_mut(&id) {
            refer.cseq = Some(cseq);
        }
    }

    /// The REFER of ours that a NOTIFY with this id is about; without one, the oldest.
    fn of_notify(&self, id: Option<&str>) -> Option<ReferId> {
        let matches = |cseq: u32| id.is_none_or(|id| id.parse() == Ok(cseq));
        self.ours.iter().find(|(_, refer)| refer.cseq.is_some_and(matches)).map(|(id, _)| *id)
    }
}

#[derive(Debug)]
struct OurRefer {
    /// `None` while it waits for an address.
    cseq: Option<u32>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not answered yet.
    Sent,
    /// No NOTIFY yet.
    Accepted {
        until: Instant,
    },
    Watched {
        until: Instant,
    },
}

impl Phase {
    fn until(self) -> Option<Instant> {
        match self {
            Self::Sent => None,
            Self::Accepted { until } | Self::Watched { until } => Some(until),
        }
    }
}

/// What tells the NOTIFYs of one REFER of the peer's from those of another. RFC 3515 section 2.4.6: "for the second and
/// subsequent REFER requests a UA receives in a given dialog, it MUST include an id parameter"; the first may go without,
/// and old peers know none.
#[derive(Debug, Clone, Copy)]
struct EventId {
    cseq: u32,
    is_first: bool,
}

impl EventId {
    /// Whether a SUBSCRIBE with this id, or without one, means it.
    fn is_meant_by(self, id: Option<&str>) -> bool {
        match id {
            Some(id) => id.parse() == Ok(self.cseq),
            None => self.is_first,
        }
    }
}

#[derive(Debug)]
enum TheirRefer {
    Asked {
        server: ServerId,
        dialog: DialogId,
        id: EventId,
        /// Whether it is to be told what comes of it.
        subscribe: bool,
    },
    Notifying {
        dialog: DialogId,
        id: EventId,
        until: Instant,
        status: u16,
        reason: String,
    },
}

impl TheirRefer {
    fn until(&self) -> Option<Instant> {
        match self {
            Self::Asked { .. } => None,
            Self::Notifying { until, .. } => Some(*until),
        }
    }
}

/// What a NOTIFY says of the subscription (RFC 6665 section 8.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subscription {
    Active { expires: Duration },
    Terminated,
}

impl Subscription {
    fn of(notify: &Message) -> Subscription {
        let value = notify.header(Name::SubscriptionState).unwrap_or("active");
        let mut parts = value.split(';').map(str::trim);
        if parts.next().is_some_and(|state| state.eq_ignore_ascii_case("terminated")) {
            return Subscription::Terminated;
        }
        let seconds = parts.find_map(|part| part.strip_prefix("expires=")?.parse::<u64>().ok());
        let expires = seconds.map_or(SUBSCRIPTION, Duration::from_secs);
        Subscription::Active { expires: expires.min(SUBSCRIPTION_MAX) }
    }
}

/// The status of a message/sipfrag that begins with a status line (RFC 3515 section 2.4.5).
fn sipfrag_status(message: &Message) -> Option<u16> {
    let text = std::str::from_utf8(message.body()).ok()?;
    let line = text.trim_start().lines().next()?;
    let mut words = line.split(' ');
    if !words.next()?.eq_ignore_ascii_case("SIP/2.0") {
        return None;
    }
    words.next()?.parse().ok().filter(|status| (100..700).contains(status))
}

/// Ours.
impl Session {
    pub(crate) fn refer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        refer: Refer,
    ) -> Result<ReferId, Error> {
        let at = self.call_dialog()?;
        check_request_headers(&refer.headers)?;
        if self.refers.ours.len() >= MAX_REFERS {
            return Err(Error::TooManyRequests);
        }
        let id = self.refers.next_id();
        let mut headers = vec![("Refer-To".to_owned(), refer.to.to_string())];
        headers.extend(refer.referred_by.map(|by| ("Referred-By".to_owned(), by.to_string())));
        if !refer.subscribe {
            headers.push(("Refer-Sub".to_owned(), "false".to_owned()));
            headers.push(("Supported".to_owned(), "norefersub".to_owned()));
        }
        headers.extend(refer.headers);
        self.refers.ours.insert(id, OurRefer { cseq: None, phase: Phase::Sent });
        let request = Request { method: Method::Refer, headers, body: None, errand: Errand::Refer(id) };
        let result = self.send_other(layer, now, at, request);
        if result.is_err() {
            self.refers.ours.remove(&id);
        }
        result.map(|()| id)
    }

    fn tell_refer(&mut self, layer: &mut TransactionLayer, id: ReferId, progress: ReferProgress) {
        if progress.is_final() {
            self.refers.ours.remove(&id);
            self.watch_refers(layer);
        }
        self.emit(layer, SessionEvent::ReferProgress { refer: id, progress });
    }

    /// The final response to a REFER of ours.
    pub(super) fn refer_answered(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: ReferId,
        status: u16,
        response: Option<&Message>,
    ) {
        let limit = layer.config.timers.transaction_timeout();
        // Gone, where a NOTIFY has told the end already.
        let Some(refer) = self.refers.ours.get_mut(&id) else { return };
        if status >= 300 {
            return self.tell_refer(layer, id, ReferProgress::Refused(status));
        }
        // RFC 4488 section 4: "If the REFER-Recipient supports the extension and is willing to process the REFER transaction
        // without establishing an implicit subscription, it MUST insert the "Refer-Sub" header field set to "false" in the
        // 2xx response".
        let declined = response
            .and_then(|response| response.header(Name::ReferSub))
            .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("false"));
        match refer.phase {
            Phase::Watched { .. } => {}
            Phase::Sent | Phase::Accepted { .. } if declined => {
                self.tell_refer(layer, id, ReferProgress::Unknown);
            }
            Phase::Sent | Phase::Accepted { .. } => {
                // RFC 6665 section 4.1.2.4: timer N, 64*T1, bounds the wait for the first NOTIFY.
                refer.phase = Phase::Accepted { until: now + limit };
                self.tell_refer(layer, id, ReferProgress::Accepted);
                self.watch_refers(layer);
            }
        }
    }

    /// A NOTIFY of the peer's.
    pub(super) fn receive_notify(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        request: &Message,
    ) {
        let Some(event_id) = refer_event(layer, now, server, request) else { return };
        let Some(id) = self.refers.of_notify(event_id) else {
            return layer.respond(now, server, &Answer::new(481));
        };
        layer.respond(now, server, &Answer::new(200));
        let subscription = Subscription::of(request);
        let status = sipfrag_status(request);
        if let (Some(refer), Subscription::Active { expires }) = (self.refers.ours.get_mut(&id), subscription)
        {
            refer.phase = Phase::Watched { until: now + expires };
        }
        match (status, subscription) {
            // Peers forget to terminate the subscription with the final status, which says the same.
            (Some(status @ 200..), _) => self.tell_refer(layer, id, ReferProgress::Done(status)),
            (_, Subscription::Terminated) => self.tell_refer(layer, id, ReferProgress::Unknown),
            (Some(status), Subscription::Active { .. }) => {
                self.watch_refers(layer);
                self.tell_refer(layer, id, ReferProgress::Trying(status));
            }
            (None, Subscription::Active { .. }) => self.watch_refers(layer),
        }
    }
}

/// The id of the Event of a request about REFERs; others are refused.
fn refer_event<'r>(
    layer: &mut TransactionLayer,
    now: Instant,
    server: ServerId,
    request: &'r Message,
) -> Option<Option<&'r str>> {
    match request.event() {
        Some((package, id)) if package.eq_ignore_ascii_case(EVENT) => Some(id),
        Some(_) | None => {
            let headers = [(Name::AllowEvents, EVENT)];
            layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(489) });
            None
        }
    }
}

/// Theirs.
impl Session {
    pub(super) fn receive_refer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        at: DialogId,
        request: &Message,
    ) {
        let is_first = !std::mem::replace(&mut self.refers.received, true);
        let mut refuse =
            |status, reason| layer.respond(now, server, &Answer { reason, ..Answer::new(status) });
        if self.call_dialog() != Ok(at) {
            return refuse(403, "Call Not Answered");
        }
        // RFC 3515 section 2.4.2: "An agent responding to a REFER method MUST return a 400 (Bad Request) if the request
        // contained zero or more than one Refer-To header field values."
        let to = match (request.rows_of(Name::ReferTo).count(), request.refer_to()) {
            (1, Ok(Some(to))) => to,
            (0, _) => return refuse(400, "Missing Refer-To"),
            (1, _) => return refuse(400, "Malformed Refer-To"),
            (_, _) => return refuse(400, "Repeated Refer-To"),
        };
        match to.address.uri().scheme() {
            Scheme::Sip | Scheme::Sips | Scheme::Tel => {}
            Scheme::Other => return refuse(416, ""),
        }
        // What the user has left unanswered until the transaction ended is void.
        self.refers.theirs.retain(|_, refer| match refer {
            TheirRefer::Asked { server, .. } => layer.request(*server).is_some(),
            TheirRefer::Notifying { .. } => true,
        });
        if self.refers.theirs.len() >= MAX_REFERS {
            let headers = [(Name::RetryAfter, "10")];
            return layer.respond(now, server, &Answer { headers: &headers, ..Answer::new(500) });
        }
        let id = self.refers.next_id();
        let value = request.header(Name::ReferSub).unwrap_or("true");
        let subscribe = !value.trim_start().to_ascii_lowercase().starts_with("false");
        let event_id = EventId { cseq: request.cseq().map_or(0, |cseq| cseq.number), is_first };
        let asked = TheirRefer::Asked { server, dialog: at, id: event_id, subscribe };
        self.refers.theirs.insert(id, asked);
        let referred_by = request.addresses(Name::ReferredBy).next().and_then(Result::ok);
        let referred = Referred { refer: id, to, referred_by, request: request.clone() };
        self.emit(layer, SessionEvent::Referred(Box::new(referred)));
    }

    fn take_refer(&mut self, layer: &TransactionLayer, id: ReferId) -> Result<(ServerId, TheirRefer), Error> {
        let Some(TheirRefer::Asked { server, .. }) = self.refers.theirs.get(&id) else {
            return Err(Error::UnknownRequest);
        };
        let server = *server;
        let asked = self.refers.theirs.remove(&id).filter(|_| layer.request(server).is_some());
        asked.map(|asked| (server, asked)).ok_or(Error::UnknownRequest)
    }

    pub(crate) fn accept_refer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: ReferId,
    ) -> Result<(), Error> {
        let (server, TheirRefer::Asked { dialog, id: event_id, subscribe, .. }) =
            self.take_refer(layer, id)?
        else {
            return Err(Error::UnknownRequest);
        };
        let contact = layer.request(server).and_then(|(hop, _)| self.contact_back(layer, hop));
        let no_subscription = [(Name::ReferSub, "false")];
        let headers = if subscribe { &[][..] } else { &no_subscription[..] };
        layer.respond(now, server, &Answer { contact, headers, ..Answer::new(202) });
        if subscribe {
            let notifying = TheirRefer::Notifying {
                dialog,
                id: event_id,
                until: now + SUBSCRIPTION,
                status: 100,
                reason: String::new(),
            };
            self.refers.theirs.insert(id, notifying);
            self.watch_refers(layer);
            self.notify(layer, now, id, None)?;
        }
        Ok(())
    }

    pub(crate) fn refuse_refer(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: ReferId,
        status: u16,
    ) -> Result<(), Error> {
        if !(300..700).contains(&status) {
            return Err(Error::Status { status });
        }
        let (server, _) = self.take_refer(layer, id)?;
        layer.respond(now, server, &Answer::new(status));
        Ok(())
    }

    /// Tells the peer how the call that it asked for goes.
    pub(crate) fn refer_progress(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        id: ReferId,
        new_status: u16,
        new_reason: &str,
    ) -> Result<(), Error> {
        if !(100..700).contains(&new_status) {
            return Err(Error::Status { status: new_status });
        }
        match self.refers.theirs.get_mut(&id) {
            Some(TheirRefer::Notifying { status, reason, .. }) => {
                *status = new_status;
                new_reason.clone_into(reason);
            }
            Some(TheirRefer::Asked { .. }) => return Err(Error::WrongState),
            None => return Err(Error::UnknownRequest),
        }
        // RFC 3515 section 2.4.7: the final status ends the subscription.
        self.notify(layer, now, id, (new_status >= 200).then_some("noresource"))
    }

    /// Sends a NOTIFY with the last status, the last one where it says why.
    fn notify(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        refer: ReferId,
        last: Option<&str>,
    ) -> Result<(), Error> {
        let Some(TheirRefer::Notifying { dialog, id, until, status, reason }) =
            self.refers.theirs.get(&refer)
        else {
            return Err(Error::UnknownRequest);
        };
        let at = *dialog;
        let event = if id.is_first { EVENT.to_owned() } else { format!("{EVENT};id={}", id.cseq) };
        let state = match last {
            Some(why) => format!("terminated;reason={why}"),
            None => format!("active;expires={}", until.saturating_duration_since(now).as_secs()),
        };
        let reason = if reason.is_empty() { crate::reason_phrase(*status) } else { reason };
        let line = format!("SIP/2.0 {status} {}\r\n", reason.replace(['\r', '\n'], " "));
        let body = Body { content_type: SIPFRAG.into(), bytes: line.into() };
        let headers = vec![("Event".to_owned(), event), ("Subscription-State".to_owned(), state)];
        let errand = Errand::Notify(refer);
        let request = Request { method: Method::Notify, headers, body: Some(body), errand };
        if last.is_some() {
            self.refers.theirs.remove(&refer);
            self.watch_refers(layer);
        }
        self.send_other(layer, now, at, request)
    }

    /// RFC 6665 section 4.2.2: a subscription whose NOTIFY fails is over.
    pub(super) fn notify_answered(&mut self, layer: &mut TransactionLayer, id: ReferId, status: u16) {
        if status >= 300 {
            self.refers.theirs.remove(&id);
            self.watch_refers(layer);
        }
    }

    /// A SUBSCRIBE in the call: the subscription of a REFER is refreshed, or given up.
    pub(super) fn receive_subscribe(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
        request: &Message,
    ) {
        let Some(event_id) = refer_event(layer, now, server, request) else { return };
        let matches = |refer: &TheirRefer| match refer {
            TheirRefer::Asked { .. } => false,
            TheirRefer::Notifying { id, .. } => id.is_meant_by(event_id),
        };
        let found = self.refers.theirs.iter_mut().find(|(_, refer)| matches(refer));
        let Some((&id, TheirRefer::Notifying { until, .. })) = found else {
            // RFC 3515 section 2.4.4: only a REFER makes a subscription to this event.
            return layer.respond(now, server, &Answer::new(403));
        };
        let expires = request.expires().ok().flatten().unwrap_or(SUBSCRIPTION).min(SUBSCRIPTION);
        *until = now + expires;
        let seconds = expires.as_secs().to_string();
        let headers = [(Name::Expires, seconds.as_str())];
        let contact = layer.request(server).and_then(|(hop, _)| self.contact_back(layer, hop));
        layer.respond(now, server, &Answer { contact, headers: &headers, ..Answer::new(200) });
        self.watch_refers(layer);
        // RFC 6665 section 4.2.1.2 wants one at once; where there is no room for it, the next tells the same.
        let _ = self.notify(layer, now, id, expires.is_zero().then_some("timeout"));
    }
}

/// Time.
impl Session {
    /// Sets the timer to the next subscription that ends.
    fn watch_refers(&self, layer: &mut TransactionLayer) {
        let ours = self.refers.ours.values().filter_map(|refer| refer.phase.until());
        let theirs = self.refers.theirs.values().filter_map(TheirRefer::until);
        match ours.chain(theirs).min() {
            Some(next) => self.set_timer(layer, SessionTimer::Refer, next),
            None => self.cancel_timer(layer, SessionTimer::Refer),
        }
    }

    pub(super) fn refer_timeout(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let due = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        let ours: Vec<_> = self
            .refers
            .ours
            .iter()
            .filter(|(_, refer)| due(refer.phase.until()))
            .map(|(id, _)| *id)
            .collect();
        let theirs: Vec<_> =
            self.refers.theirs.iter().filter(|(_, refer)| due(refer.until())).map(|(id, _)| *id).collect();
        for id in ours {
            self.tell_refer(layer, id, ReferProgress::Unknown);
        }
        for id in theirs {
            // Over with or without the NOTIFY.
            let _ = self.notify(layer, now, id, Some("timeout"));
        }
        self.watch_refers(layer);
    }

    /// The call is over.
    pub(super) fn drop_refers(&mut self, layer: &mut TransactionLayer, now: Instant) {
        for refer in std::mem::take(&mut self.refers.theirs).into_values() {
            if let TheirRefer::Asked { server, .. } = refer {
                layer.respond(now, server, &Answer::new(487));
            }
        }
        self.refers.ours.clear();
        self.requests.clear();
    }
}
