//! INVITE sessions (RFC 3261 sections 9, 13, 14, 15): calls from the INVITE to their one terminal event.
//!
//! ```text
//!   outbound   Inviting ──2xx: ACK──────────────────▶ Established ──BYE──▶ Over
//!              │  300–699, timeout, CANCEL                                  ▲
//!              └────────────────────────────────────────────────────────────┤
//!   inbound    Invited ──answer: 2xx──▶ Answered ──ACK──▶ Established ──BYE─┤
//!              │ reject, CANCEL             │ no ACK: BYE                   │
//!              └────────────────────────────┴───────────────────────────────┘
//! ```
//!
//! Beside it run, each in a file of its own: [`exchange`], whose turn it is to describe; [`ours`], the offer that we make;
//! [`theirs`], the one that waits for the user; [`reliable`], provisional responses that are acknowledged.
//!
//! A session that is over stays while its client transactions run: a 2xx may still come, from the same callee (it is
//! acknowledged again) or from another fork (it is acknowledged and hung up).

mod established;
mod event;
mod exchange;
mod inbound;
mod ours;
mod outbound;
mod refer;
mod refresh;
mod reliable;
mod replace;
mod requests;
mod sessions;
mod theirs;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytestring::ByteString;

pub use event::{
    Body, DialogId, EndCause, Failure, FailureCause, Hangup, Invite, Reliable, SessionEvent, SessionId, Side,
    Target,
};
pub(crate) use exchange::{Exchange, Turn};
pub use refer::{Refer, ReferId, ReferProgress, Referred};
pub(crate) use refresh::Refresh;
pub use refresh::SessionRefresh;
pub(crate) use sessions::Sessions;

use crate::authenticator::{Authenticator, Lines};
use crate::dialog::Dialog;
use crate::endpoint::{Destinations, Error, Event, ResolveError, Transmit};
use crate::transaction::{ClientKey, Outcome, Path, ServerId, TimerKey, TransactionLayer};
use crate::transport::{Hop, Transport};
use crate::{Message, Method, Reason, ReasonProtocol, Scheme};
use exchange::Carrier;
use inbound::{Answered, Invited};
use ours::Ours;
use outbound::Inviting;
pub use outbound::own_in_invite;
pub(crate) use outbound::{check_headers, check_request_headers};
use refer::Refers;
use requests::Requests;
use theirs::Theirs;

/// The timers of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionTimer {
    /// Outbound: 64*T1 after the CANCEL "the client SHOULD then consider the original transaction cancelled"
    /// (RFC 3261 section 9.1).
    CancelTimeout,
    /// The INVITE has been valid for as long as its Expires says (section 13.3.1).
    Expires,
    /// Inbound: a provisional response is repeated every minute, so that proxies do not give up (section 13.3.1.1).
    RepeatProvisional,
    /// Inbound: a reliable provisional response is repeated until its PRACK comes (RFC 3262 section 3).
    RepeatReliable,
    /// Inbound: 64*T1 without a PRACK.
    PrackTimeout,
    /// The 2xx to an INVITE is repeated until its ACK comes (RFC 3261 section 13.3.1.4).
    RepeatAnswer,
    /// 64*T1 without an ACK.
    AckTimeout,
    /// The user has not answered an offer of the peer's.
    OfferTimeout,
    /// After a 491 our offer is made again (section 14.1).
    OfferAgain,
    /// A re-INVITE of ours has no final response.
    ReinviteTimeout,
    /// The subscription of a REFER ends, or its first NOTIFY has not come.
    Refer,
    /// Half of the session interval is over, and the refresh is ours (RFC 4028 section 7.2).
    Refresh,
    /// The session interval is nearly over, and nobody has refreshed.
    SessionExpiry,
}

impl SessionTimer {
    const ALL: [Self; 13] = [
        Self::CancelTimeout,
        Self::Expires,
        Self::RepeatProvisional,
        Self::RepeatReliable,
        Self::PrackTimeout,
        Self::RepeatAnswer,
        Self::AckTimeout,
        Self::OfferTimeout,
        Self::OfferAgain,
        Self::ReinviteTimeout,
        Self::Refer,
        Self::Refresh,
        Self::SessionExpiry,
    ];

    /// Whether it runs on when the session is over: a re-INVITE that is not answered keeps its transaction.
    fn outlives(self) -> bool {
        self == Self::ReinviteTimeout
    }
}

/// RFC 3261 section 13.3.1.1: "the UAS MUST send a non-100 provisional response at every minute".
const PROVISIONAL_INTERVAL: Duration = Duration::from_secs(60);

/// Dialogs that are kept of those that one INVITE makes by forking. Beyond it a provisional response makes none, and a 2xx
/// is hung up at once.
const MAX_FORKS: usize = 16;

/// Transactions of one call beyond which a 2xx of still another fork is left to its sender's own timeout.
const MAX_HANGING_UP: u32 = 64;

#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    call_id: ByteString,
    /// The tag of our From or To: finds the session, and cannot be guessed.
    tag: u64,
    /// Our half of the Session-ID (RFC 7989).
    uuid: Option<u128>,
    /// Who called.
    caller: Side,
    /// The user of our Contact.
    user: Option<ByteString>,
    /// The address that the peer is told in Via and Contact, where it is not the one that the listener advertises.
    public_ip: Option<IpAddr>,
    /// Whether our Contact is a SIPS URI.
    secure: bool,
    auth: Authenticator,
    state: State,
    /// What answers to the first INVITE need, where it is ours, as long as they may come.
    invite: Option<Box<SentInvite>>,
    /// Early ones, the dialog of the call, and those of forks that answered too late.
    dialogs: Vec<Dialog>,
    /// What is left of those that are over.
    gone: Vec<Gone>,
    next_dialog: u32,
    ours: Ours,
    theirs: Theirs,
    requests: Requests,
    refers: Refers,
    refresh: Refresh,
    /// The call that this one takes the place of when it is answered.
    replaces: Option<SessionId>,
    /// The user's header fields for our BYE.
    bye_headers: Vec<(String, String)>,
    /// Client transactions running.
    transactions: u32,
}

#[derive(Debug)]
enum State {
    /// Outbound, no final response yet.
    Inviting(Box<Inviting>),
    /// Inbound, no final response yet.
    Invited(Box<Invited>),
    /// Inbound, the 2xx is not acknowledged yet.
    Answered(Answered),
    /// The call's dialog.
    Established(DialogId),
    /// The terminal event is out.
    Over,
}

/// The first INVITE, under way or answered.
#[derive(Debug)]
struct SentInvite {
    key: ClientKey,
    path: Path,
    /// Our From, tag included.
    from: ByteString,
    cseq: u32,
    authorization: Lines,
    /// Whether it carried an offer.
    offered: bool,
}

/// A dialog whose BYE is answered: a 2xx that comes again gets its ACK, and nothing else of it is kept.
#[derive(Debug)]
struct Gone {
    tag: Option<ByteString>,
    invite: ClientKey,
    ack: Transmit,
}

/// What a client transaction in a dialog is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Bye,
    Prack,
    /// A re-INVITE or UPDATE.
    Offer,
    /// The one of this number of those that change nothing.
    Other(u32),
}

impl Session {
    fn emit(&self, layer: &mut TransactionLayer, event: SessionEvent) {
        layer.event(Event::Session { id: self.id, event });
    }

    /// The terminal event of a call that was not answered.
    fn fail(&mut self, layer: &mut TransactionLayer, now: Instant, failure: Failure) {
        self.close(layer, now);
        self.emit(layer, SessionEvent::Failed(failure));
    }

    /// The terminal event of a call that was.
    fn end(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        by: Side,
        bye: Option<&Message>,
        cause: EndCause,
    ) {
        self.close(layer, now);
        let q850 = bye.and_then(Message::q850_cause);
        self.emit(layer, SessionEvent::Ended { by, q850, cause, bye: bye.cloned() });
    }

    /// Nothing of it goes on but transactions.
    fn close(&mut self, layer: &mut TransactionLayer, now: Instant) {
        self.state = State::Over;
        self.drop_theirs(layer, now);
        self.drop_ours(layer, now);
        self.drop_refers(layer, now);
    }

    /// The way back to where a message of the peer's came from, with the address that it is told.
    fn path_back(&self, layer: &TransactionLayer, hop: Hop) -> Option<Path> {
        let path = layer.path_back(hop)?;
        Some(told(path, self.public_ip))
    }

    fn set_timer(&self, layer: &mut TransactionLayer, timer: SessionTimer, deadline: Instant) {
        layer.timers.set(TimerKey::Session(self.id, timer), deadline);
    }

    fn cancel_timer(&self, layer: &mut TransactionLayer, timer: SessionTimer) {
        layer.timers.cancel(TimerKey::Session(self.id, timer));
    }

    fn is_over(&self) -> bool {
        match self.state {
            State::Over => true,
            State::Inviting(_) | State::Invited(_) | State::Answered(_) | State::Established(_) => false,
        }
    }

    /// Nothing more can come for it.
    fn is_finished(&self) -> bool {
        self.is_over() && self.transactions == 0 && self.dialogs.iter().all(Dialog::is_located)
    }

    fn dialog(&mut self, id: DialogId) -> Option<&mut Dialog> {
        self.dialogs.iter_mut().find(|dialog| dialog.id == id)
    }

    /// Whether this is the dialog of the call, or may become it.
    fn is_live(&self, id: DialogId) -> bool {
        match self.state {
            State::Established(at) => at == id,
            State::Over => false,
            State::Inviting(_) | State::Invited(_) | State::Answered(_) => true,
        }
    }

    /// Lets go of a dialog that is over, but for its ACKs.
    fn retire(&mut self, id: DialogId) {
        // A re-INVITE may still be answered.
        if self.is_live(id) || self.ours.is_sent() {
            return;
        }
        let Some(at) = self.dialogs.iter().position(|dialog| dialog.id == id && dialog.is_located()) else {
            return;
        };
        let dialog = self.dialogs.swap_remove(at);
        self.dialogs.shrink_to_fit();
        let tag = dialog.remote_tag().map(ByteString::from);
        for ack in dialog.acks {
            if let Some(transmit) = ack.transmit {
                self.gone.reserve_exact(1);
                self.gone.push(Gone { tag: tag.clone(), invite: ack.invite, ack: transmit });
            }
        }
    }

    /// Calls have one dialog as a rule: room for more is not taken in advance.
    fn add_dialog(&mut self, dialog: Dialog) {
        self.dialogs.reserve_exact(1);
        self.dialogs.push(dialog);
    }

    fn fire(&mut self, layer: &mut TransactionLayer, now: Instant, timer: SessionTimer) {
        match timer {
            SessionTimer::CancelTimeout => self.cancel_timeout(layer, now),
            SessionTimer::Expires => self.expire(layer, now),
            SessionTimer::RepeatProvisional => self.repeat_provisional(layer, now),
            SessionTimer::RepeatReliable => self.repeat_reliable(layer, now),
            SessionTimer::PrackTimeout => self.prack_timeout(layer, now),
            SessionTimer::RepeatAnswer => self.repeat_answer(layer, now),
            SessionTimer::AckTimeout => self.ack_timeout(layer, now),
            SessionTimer::OfferTimeout => self.offer_timeout(layer, now),
            SessionTimer::OfferAgain => self.offer_again(layer, now),
            SessionTimer::ReinviteTimeout => self.reinvite_timeout(layer, now),
            SessionTimer::Refer => self.refer_timeout(layer, now),
            SessionTimer::Refresh => self.refresh_due(layer, now),
            SessionTimer::SessionExpiry => self.session_expired(layer, now),
        }
    }
}

/// The path with this address in its Via and Contact.
fn told(path: Path, public_ip: Option<IpAddr>) -> Path {
    let ip = public_ip.unwrap_or(path.advertised.ip());
    Path { advertised: SocketAddr::new(ip, path.advertised.port()), ..path }
}

/// The Contact of this end of `path`. RFC 3261 section 8.1.1.8: "If the Request-URI or top Route header field value contains
/// a SIPS URI, the Contact header field MUST contain a SIPS URI as well", which is `secure`.
pub(crate) fn contact(user: Option<&str>, path: &Path, secure: bool) -> String {
    let at = if user.is_some() { "@" } else { "" };
    let user = user.unwrap_or_default();
    let (scheme, transport) = reached_by(path, secure);
    let scheme = if scheme == Scheme::Sips { "sips" } else { "sip" };
    match transport {
        None => format!("<{scheme}:{user}{at}{}>", path.advertised),
        Some(transport) => format!("<{scheme}:{user}{at}{};transport={transport}>", path.advertised),
    }
}

/// The scheme of a URI of ours that leads back by `path`, and its `transport` parameter. A SIPS URI says TLS already; a
/// listener without it is not named by one.
pub(crate) fn reached_by(path: &Path, secure: bool) -> (Scheme, Option<&'static str>) {
    match (secure && path.transport.is_secure(), path.transport) {
        (true, Transport::Tls) => (Scheme::Sips, None),
        (true, transport) => (Scheme::Sips, transport.uri_parameter()),
        (false, transport) => (Scheme::Sip, transport.uri_parameter()),
    }
}
