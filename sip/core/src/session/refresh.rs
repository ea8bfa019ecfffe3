//! Session timers (RFC 4028): a call that is not refreshed in time is over, so that none outlives its peer.
//!
//! ```text
//!            2xx with Session-Expires                 half of it: UPDATE or re-INVITE
//!   Untimed ──────────────────────────▶ Timed{ours} ─────────────────────────────────▶ 2xx: Timed anew
//!      ▲                     │                          │ failed: again, at half of what is left
//!      └─ 2xx without ───────┤                          └─▶ the end comes near: BYE
//!                            └────────▶ Timed{theirs} ── their UPDATE or re-INVITE ──▶ Timed anew
//!                                                       └─▶ none, the end comes near: BYE
//! ```

use std::time::Instant;

use smallvec::SmallVec;

use super::requests::{Errand, Request};
use super::*;
use crate::capability::{Extension, Extensions};
use crate::{Name, Refresher, SessionExpires};

/// RFC 4028 section 4: "The absolute minimum for the Session-Expires header field is 90 seconds", and so for Min-SE.
const LEAST: Duration = Duration::from_secs(90);

/// The longest interval that a Min-SE makes us ask for: a day; a peer that wants more wants no session timer.
const MOST: Duration = Duration::from_secs(86_400);

/// 422 responses to one request. Each comes from another element on the way, and wants more than the one before.
const MAX_RAISES: u8 = 4;

/// How calls are kept from outliving their peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRefresh {
    /// How long a call lasts without a refresh, which comes at half of it. At least `min`.
    pub interval: Duration,
    /// The shortest interval that is accepted, at least 90 seconds.
    pub min: Duration,
}

impl Default for SessionRefresh {
    /// RFC 4028 section 4 recommends 1800 seconds.
    fn default() -> Self {
        Self { interval: Duration::from_secs(1800), min: LEAST }
    }
}

/// The session timer of one call.
#[derive(Debug)]
pub(crate) struct Refresh {
    /// What we ask for, in whole seconds; `None` where we want none.
    wish: Option<SessionRefresh>,
    state: Timed,
    raises: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timed {
    No,
    Yes { interval: Duration, refresher: Side, ends: Instant },
}

impl Refresh {
    pub(crate) fn new(settings: Option<SessionRefresh>) -> Refresh {
        let whole = |time: Duration| Duration::from_secs(time.as_secs()).min(MOST);
        let wish = settings.map(|SessionRefresh { interval, min }| {
            let min = whole(min).max(LEAST);
            SessionRefresh { interval: whole(interval).max(min), min }
        });
        Refresh { wish, state: Timed::No, raises: 0 }
    }

    /// What we can: session timers only where we want them.
    pub(crate) fn extensions(&self) -> Extensions {
        match self.wish {
            Some(_) => Extensions::all(),
            None => Extensions::all().without(Extension::Timer),
        }
    }

    /// The header fields of an INVITE or UPDATE of ours.
    pub(super) fn lines(&self) -> SmallVec<[(Name<'static>, ByteString); 2]> {
        let Some(SessionRefresh { interval, min }) = self.wish else { return SmallVec::new() };
        // RFC 4028 section 7.4 wants the roles to stay as they are.
        let (interval, refresher) = match self.state {
            Timed::No => (interval, None),
            Timed::Yes { interval, refresher: Side::Local, .. } => (interval.max(min), Some(Refresher::Uac)),
            Timed::Yes { interval, refresher: Side::Remote, .. } => (interval.max(min), Some(Refresher::Uas)),
        };
        let mut lines: SmallVec<[_; 2]> = SmallVec::new();
        lines.push((Name::SessionExpires, SessionExpires { interval, refresher }.to_string().into()));
        if min > LEAST {
            lines.push((Name::MinSe, min.as_secs().to_string().into()));
        }
        lines
    }

    /// Whether a request that this 422 refuses is worth sending again, with what the peer wants.
    pub(super) fn raise(&mut self, response: &Message) -> bool {
        let Some(wish) = &mut self.wish else { return false };
        let Ok(Some(min)) = response.min_se() else { return false };
        if min <= wish.min && min <= wish.interval || min > MOST || self.raises == MAX_RAISES {
            return false;
        }
        self.raises += 1;
        // RFC 4028 section 7.3: Min-SE then carries the largest value of all the 422 responses.
        wish.min = wish.min.max(min);
        wish.interval = wish.interval.max(min);
        true
    }

    /// What a request of the peer's asks that is too short for us: the Min-SE to refuse it with.
    ///
    /// RFC 4028 section 9: an interval too small is refused with 422 only where the request has "timer" in Supported: else
    /// a proxy has put it in, and its caller could not ask for more.
    pub(crate) fn too_small(&self, request: &Message) -> Option<Duration> {
        let wish = self.wish?;
        let asked = request.session_expires().ok()??;
        (asked.interval < wish.min && supports_timer(request)).then_some(wish.min)
    }

    /// A 2xx of ours to an INVITE or UPDATE of the peer's is to go out: its header fields (RFC 4028 section 9, table 2).
    fn accept(&mut self, now: Instant, request: &Message) -> SmallVec<[(Name<'static>, ByteString); 2]> {
        let mut lines: SmallVec<[_; 2]> = SmallVec::new();
        let asked = request.session_expires().ok().flatten();
        let supported = supports_timer(request);
        let Some(wish) = self.wish.filter(|_| supported || asked.is_some()) else {
            self.state = Timed::No;
            return lines;
        };
        let floor = request.min_se().ok().flatten().unwrap_or(LEAST).max(wish.min).min(MOST);
        // The UAS "MUST NOT increase the value", nor lower it below the Min-SE; where there is none it is ours to say.
        let interval = match asked {
            Some(asked) => asked.interval.min(wish.interval.max(floor)),
            None => wish.interval.max(floor),
        };
        let refresher = match (supported, asked.map(|asked| asked.refresher)) {
            (true, Some(Some(refresher))) => refresher,
            // The peer has brought it up.
            (true, Some(None)) => Refresher::Uac,
            (true, None) | (false, _) => Refresher::Uas,
        };
        let side = match refresher {
            Refresher::Uac => Side::Remote,
            Refresher::Uas => Side::Local,
        };
        let interval = self.time(now, interval, side);
        let expires = SessionExpires { interval, refresher: Some(refresher) };
        lines.push((Name::SessionExpires, expires.to_string().into()));
        // "If the refresher parameter in the Session-Expires header field in the 2xx response has a value of 'uac', the UAS
        // MUST place a Require header field into the response with the value 'timer'."
        if refresher == Refresher::Uac {
            lines.push((Name::Require, Extension::Timer.tag().into()));
        }
        lines
    }

    /// Begins the interval. RFC 4028 section 4: "The absolute minimum for the Session-Expires header field is 90 seconds";
    /// what is shorter all the same, of a peer that cannot be told so by a 422, is taken for that, though section 9 has the
    /// value not increased: no storm of refreshes.
    fn time(&mut self, now: Instant, interval: Duration, refresher: Side) -> Duration {
        let interval = interval.clamp(LEAST, MOST);
        self.state = Timed::Yes { interval, refresher, ends: now + interval };
        interval
    }
}

fn supports_timer(request: &Message) -> bool {
    [Name::Supported, Name::Require]
        .into_iter()
        .any(|name| Extensions::named(request, name).has(Extension::Timer))
}

impl Session {
    /// The peer has answered an INVITE or UPDATE of ours with 2xx.
    pub(super) fn refreshed_by_us(&mut self, layer: &mut TransactionLayer, now: Instant, response: &Message) {
        self.refresh.raises = 0;
        let expires = response.session_expires().ok().flatten();
        match expires.filter(|_| self.refresh.wish.is_some()) {
            // RFC 4028 section 7.2: without it the session does not expire.
            None => self.refresh.state = Timed::No,
            Some(SessionExpires { interval, refresher }) => {
                let refresher = match refresher {
                    Some(Refresher::Uas) => Side::Remote,
                    // It must be there; where it is not, nobody else may feel bound.
                    Some(Refresher::Uac) | None => Side::Local,
                };
                self.refresh.time(now, interval, refresher);
            }
        }
        self.set_refresh_timers(layer, now);
    }

    /// A 2xx of ours to a request of the peer's is to go out: its header fields.
    pub(super) fn refreshed_by_them(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        server: ServerId,
    ) -> SmallVec<[(Name<'static>, ByteString); 2]> {
        let Some((_, request)) = layer.request(server) else { return SmallVec::new() };
        let counts = match (request.method(), &self.state) {
            (Some(Method::Invite), _) | (Some(Method::Update), State::Established(_)) => true,
            (_, _) => false,
        };
        if !counts {
            return SmallVec::new();
        }
        let lines = self.refresh.accept(now, request);
        self.set_refresh_timers(layer, now);
        lines
    }

    fn set_refresh_timers(&self, layer: &mut TransactionLayer, now: Instant) {
        match self.refresh.state {
            Timed::No => {
                self.cancel_timer(layer, SessionTimer::Refresh);
                self.cancel_timer(layer, SessionTimer::SessionExpiry);
            }
            Timed::Yes { interval, refresher, ends } => {
                match refresher {
                    // RFC 4028 section 7.2 recommends half of the session interval.
                    Side::Local => self.set_timer(layer, SessionTimer::Refresh, now + interval / 2),
                    Side::Remote => self.cancel_timer(layer, SessionTimer::Refresh),
                }
                // Section 10 has the BYE go out before the end, by "the minimum of 32 seconds and one third of the session
                // interval".
                let before = (interval / 3).min(Duration::from_secs(32));
                self.set_timer(layer, SessionTimer::SessionExpiry, ends - before);
            }
        }
    }

    /// Ours to refresh: by UPDATE where the peer takes it, since that leaves the offers alone, else by a re-INVITE with what
    /// is agreed.
    pub(super) fn refresh_due(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let Timed::Yes { refresher: Side::Local, ends, .. } = self.refresh.state else { return };
        // Should it fail.
        let left = ends.saturating_duration_since(now);
        self.set_timer(layer, SessionTimer::Refresh, now + (left / 2).max(Duration::from_secs(1)));
        let Ok(at) = self.call_dialog() else { return };
        let by_update = self.dialog(at).is_some_and(|dialog| dialog.peer.allows(&Method::Update));
        if by_update {
            let update =
                Request { method: Method::Update, headers: vec![], body: None, errand: Errand::Refresh };
            // Without room for it the next try comes in time.
            let _ = self.send_other(layer, now, at, update);
        } else {
            self.refresh_by_reinvite(layer, now);
        }
    }

    /// An UPDATE of ours that refreshes has a final response.
    pub(super) fn refresh_answered(
        &mut self,
        layer: &mut TransactionLayer,
        now: Instant,
        status: u16,
        response: Option<&Message>,
    ) {
        match (status, response) {
            (200..300, Some(response)) => {
                if let Ok(at) = self.call_dialog()
                    && let Some(dialog) = self.dialog(at)
                {
                    dialog.refresh_target(response);
                }
                self.refreshed_by_us(layer, now, response);
            }
            (422, Some(response)) if self.refresh.raise(response) => self.refresh_due(layer, now),
            // RFC 4028 section 10: "If the session refresh request transaction times out or generates a 408 or 481
            // response, then the UAC sends a BYE request".
            (408, _) => self.session_expired(layer, now),
            // Another try comes before the end.
            (_, _) => {}
        }
    }

    /// Nobody has refreshed, or nobody answers.
    pub(super) fn session_expired(&mut self, layer: &mut TransactionLayer, now: Instant) {
        let Ok(at) = self.call_dialog() else { return };
        let reason = Reason {
            protocol: ReasonProtocol::Sip,
            cause: 408,
            text: Some("Session timer expired".to_owned()),
        };
        self.send_bye(layer, now, at, Some(reason.to_string().into()));
        self.end(layer, now, Side::Local, None, EndCause::SessionExpired);
    }
}
