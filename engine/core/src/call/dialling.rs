//! Sending digits: in the media, which the leg does by itself, or one INFO after the other.

use control_api_types::flow::Outcome;
use control_api_types::{Dtmf, Fault};
use media_core::Digit;
use media_core::dtmf::{Dial, DialBy, DialItem, DialString, GAP_MS, Method};

use super::*;

/// How long a key of another's is down when it is sent anew: it is told when it has come up, so that it is over before the
/// next one can be.
const RELAYED_MS: u16 = 80;

/// Digits that are being sent.
#[derive(Debug)]
pub(super) struct Dialling {
    id: u64,
    digits: DialString,
    method: DtmfMethod,
    duration_ms: u16,
    course: Course,
}

#[derive(Debug)]
enum Course {
    /// The leg sends them and tells when it has.
    Media,
    Info {
        /// The item at work.
        at: usize,
        /// Digits that the far side has taken.
        sent: usize,
        wait: Wait,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// For the answer to an INFO; the next item has to wait until then at least.
    Answer { until: Instant },
    /// For time to pass: the digit's and the gap after it, or a pause.
    Time,
}

impl LiveCall {
    /// How the trunk wants digits; endpoints get events.
    pub(super) fn dtmf_method(&self, ctx: &Context<'_>) -> DtmfMethod {
        let trunk = self.trunk.and_then(|trunk| ctx.trunks.get(trunk));
        trunk.map_or(DtmfMethod::Rfc4733, |trunk| trunk.config.dtmf)
    }

    /// The API sends digits.
    pub(crate) fn dtmf(&mut self, ctx: &mut Context<'_>, dtmf: &Dtmf) -> Result<(), Refusal> {
        self.media_is_free()?;
        self.dial(ctx, dtmf).map(drop)
    }

    /// Begins to send digits; its number.
    pub(super) fn dial(&mut self, ctx: &mut Context<'_>, dtmf: &Dtmf) -> Result<u64, Refusal> {
        let Dtmf { digits, duration_ms, method } = dtmf;
        let digits = DialString::parse(digits).map_err(|wrong| {
            let fault = Fault { pointer: "/digits".into(), detail: wrong.to_string() };
            Refusal::Validation(vec![fault])
        })?;
        if self.dialling.is_some() {
            return Err(self.wrong_state("digits are being sent; call.dtmf.sent tells when they are"));
        }
        let negotiated = self.exchange.as_ref().map(|exchange| exchange.negotiated());
        let events = negotiated.is_some_and(|negotiated| negotiated.telephone_event.is_some());
        let method = match (method, self.dtmf_method(ctx)) {
            (Some(DtmfMethod::Rfc4733), _) if !events => {
                return Err(
                    self.wrong_state("the far side has not agreed to telephone events: use inband or info")
                );
            }
            (Some(method), _) => *method,
            (None, DtmfMethod::Rfc4733) if !events => DtmfMethod::Inband,
            (None, method) => method,
        };
        let id = self.next_program();
        let by = match method {
            DtmfMethod::Rfc4733 => Some(DialBy::Events),
            DtmfMethod::Inband => Some(DialBy::Tones),
            DtmfMethod::Info => None,
        };
        let course = match by {
            Some(by) => {
                let dial = Dial { id, keys: digits.clone(), duration_ms: *duration_ms, by };
                ctx.media(self.leg, MediaCommand::Dial(dial));
                Course::Media
            }
            None => {
                // At once, but after the caller knows the number.
                ctx.timers.set(self.leg, CallTimer::Dial, ctx.now);
                Course::Info { at: 0, sent: 0, wait: Wait::Time }
            }
        };
        self.dialling = Some(Dialling { id, digits, method, duration_ms: *duration_ms, course });
        Ok(id)
    }

    /// Somebody in its bridge has pressed a key. Tones are in what is heard, and events are sent on packet by packet; to whom
    /// that does not reach it is sent anew. What the API sends goes before.
    pub(crate) fn hear_key(&mut self, ctx: &mut Context<'_>, digit: Digit, method: Method) {
        let events = self.exchange.as_ref().map(|exchange| exchange.negotiated().telephone_event.is_some());
        let by = match (method, events) {
            (_, None) | (Method::Tones, Some(_)) | (Method::Events, Some(true)) => return,
            (Method::Events | Method::Info, Some(false)) => DialBy::Tones,
            (Method::Info, Some(true)) => DialBy::Events,
        };
        if self.dialling.is_none() && self.is_conversing() {
            let dial = Dial { id: self.next_program(), keys: digit.into(), duration_ms: RELAYED_MS, by };
            ctx.media(self.leg, MediaCommand::Dial(dial));
        }
    }

    /// [`LiveCall::dtmf`] for a step of the flow, which goes on at once when there is nothing to wait for.
    pub(super) fn dial_for_flow(&mut self, ctx: &mut Context<'_>, dtmf: &Dtmf) -> Option<u64> {
        let refusal = match self.dial(ctx, dtmf) {
            Ok(dialling) => return Some(dialling),
            Err(refusal) => refusal,
        };
        let error = match refusal {
            Refusal::Validation(faults) => faults.into_iter().map(|fault| fault.detail).next(),
            Refusal::WrongState { need, .. } => Some(need.to_owned()),
            other @ (Refusal::Conflict
            | Refusal::QueueFull { .. }
            | Refusal::NoRoom { .. }
            | Refusal::Draining
            | Refusal::Configured
            | Refusal::NotFound) => Some(other.to_string()),
        };
        let method = dtmf.method.unwrap_or_else(|| self.dtmf_method(ctx));
        self.emit(ctx, EventData::CallDtmfSent { digits: String::new(), method, complete: false, error });
        None
    }

    /// The next digit may be sent by INFO.
    pub(super) fn dial_on(&mut self, ctx: &mut Context<'_>) {
        let session = self.session();
        let Some(Dialling { id, digits, duration_ms, course: Course::Info { at, sent, wait }, .. }) =
            &mut self.dialling
        else {
            return;
        };
        let (id, sent) = (*id, *sent);
        match digits.items().get(*at) {
            Some(DialItem::Pause { ms }) => {
                *at += 1;
                ctx.timers.set(self.leg, CallTimer::Dial, ctx.now + Duration::from_millis((*ms).into()));
            }
            Some(DialItem::Key(digit)) => {
                let text = format!("Signal={digit}\r\nDuration={duration_ms}\r\n");
                let body = Body { content_type: Keypress::RELAY.into(), bytes: text.into() };
                let until = ctx.now + Duration::from_millis(u64::from(*duration_ms) + u64::from(GAP_MS));
                *wait = Wait::Answer { until };
                // A dialog that takes no request just now is as good as one that refuses it.
                let taken = session.is_some_and(|session| ctx.endpoint.info(ctx.now, session, body).is_ok());
                if !taken {
                    self.dial_ended(ctx, id, sent, false);
                }
            }
            None => self.dial_ended(ctx, id, sent, true),
        }
    }

    /// The far side has taken an INFO of ours, or has not.
    pub(super) fn info_answered(&mut self, ctx: &mut Context<'_>, status: u16) {
        let Some(Dialling { id, digits, course: Course::Info { at, sent, wait }, .. }) = &mut self.dialling
        else {
            return;
        };
        let Wait::Answer { until } = *wait else { return };
        if !(200..=299).contains(&status) {
            let (id, sent) = (*id, *sent);
            return self.dial_ended(ctx, id, sent, false);
        }
        *at += 1;
        *sent += 1;
        *wait = Wait::Time;
        if *at == digits.items().len() {
            let (id, sent) = (*id, *sent);
            return self.dial_ended(ctx, id, sent, true);
        }
        ctx.timers.set(self.leg, CallTimer::Dial, until.max(ctx.now));
    }

    /// The first `sent` digits of the dialling `id` are sent, and no more are.
    pub(super) fn dial_ended(&mut self, ctx: &mut Context<'_>, id: u64, sent: usize, complete: bool) {
        let Some(Dialling { digits, method, .. }) = self.dialling.take_if(|dialling| dialling.id == id)
        else {
            return;
        };
        ctx.timers.cancel(self.leg, CallTimer::Dial);
        let digits = digits.keys(sent).map(|digit| digit.as_char()).collect();
        self.emit(ctx, EventData::CallDtmfSent { digits, method, complete, error: None });
        let outcome = if complete { Outcome::Done } else { Outcome::Failed };
        self.flow_goes_on(ctx, id, outcome);
    }

    /// The call ends. What the media sends it ends by itself.
    pub(super) fn stop_dialling(&mut self, ctx: &mut Context<'_>) {
        if let Some(Dialling { id, course: Course::Info { sent, .. }, .. }) = self.dialling {
            self.dial_ended(ctx, id, sent, false);
        }
    }
}
