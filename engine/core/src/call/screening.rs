//! What has to be known of an inbound call before it is offered to anybody: who calls, and what its route's webhook says.
//!
//! ```text
//! journalled → [certificate of the caller's network] → [answer of the webhook] → offered
//!                      └ not believed, and strict ┐            └ refused ┐
//!                                                 └──────────────────────┴──→ Ending
//! ```
//! The caller has a 100 Trying meanwhile, and may give up at any time.

use super::ask::usable;
use super::*;
use crate::config::{OnError, Webhook};
use crate::io::NoAnswer;
use crate::stir::{self, Unverified};
use control_api_types::RouteAnswer;
use sip_stir::{Chain, Failure as Disbelief, NoChain, Pending, Verified};

/// What is to be found out.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    pub(crate) identity: Option<Unverified>,
    pub(crate) webhook: Option<Webhook>,
}

/// A call that waits for an answer.
#[derive(Debug)]
pub(super) struct Screening {
    offer: Box<Offer>,
    awaited: Awaited,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "few calls are screened at a time")]
enum Awaited {
    Certificate { pending: Pending, strict: bool },
    Route { on_error: OnError },
}

impl LiveCall {
    /// Asks the first question.
    pub(super) fn screen(&mut self, ctx: &mut Context<'_>, mut offer: Box<Offer>) {
        match offer.questions.identity.take() {
            None => self.ask_route(ctx, offer),
            Some(Unverified { read: Ok(pending), strict }) => {
                let url = pending.x5u().to_owned();
                ctx.outputs.push_back(Output::FetchCertificate { leg: self.leg, url });
                let awaited = Awaited::Certificate { pending, strict };
                self.state = State::Screening(Screening { offer, awaited });
            }
            Some(Unverified { read: Err(failure), strict }) => {
                self.judged(ctx, offer, &Err(failure), None, strict);
            }
        }
    }

    /// The certificate is here, or will not come.
    pub(crate) fn on_certificate(&mut self, ctx: &mut Context<'_>, chain: Result<&Chain, NoChain>) {
        let Some((offer, Awaited::Certificate { pending, strict })) = self.take_screening() else { return };
        let claim = pending.claim();
        let verdict = ctx.identities.finish(ctx.clock.unix_ms(ctx.now), pending, chain);
        self.judged(ctx, offer, &verdict, Some(&claim), strict);
    }

    /// What is waited for, unless the call has ended since.
    fn take_screening(&mut self) -> Option<(Box<Offer>, Awaited)> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Screening(Screening { offer, awaited }) => Some((offer, awaited)),
            state @ (State::Accepting(_)
            | State::Queued(_)
            | State::Opening(_)
            | State::Inviting(_)
            | State::Offered(_)
            | State::Answering(_)
            | State::Connected(_)
            | State::Ending(_)
            | State::Over) => {
                self.state = state;
                None
            }
        }
    }

    fn judged(
        &mut self,
        ctx: &mut Context<'_>,
        offer: Box<Offer>,
        verdict: &Result<Verified, Disbelief>,
        claim: Option<&Verified>,
        strict: bool,
    ) {
        self.record.stir = Some(stir::view(verdict, claim));
        match verdict {
            Err(failure) if strict => {
                self.emit_initiated(ctx);
                // RFC 9410 section 3: the Reason says which failure it is where the status is another's too (403).
                let text = Some(failure.phrase().to_owned());
                let reason = Reason { protocol: ReasonProtocol::Stir, cause: failure.status(), text };
                self.refuse(ctx, failure.status(), Some(reason));
            }
            Ok(_) | Err(_) => self.ask_route(ctx, offer),
        }
    }

    /// Asks the second question.
    fn ask_route(&mut self, ctx: &mut Context<'_>, mut offer: Box<Offer>) {
        match offer.questions.webhook.take() {
            None => self.present(ctx, offer),
            Some(Webhook { url, timeout, on_error }) => {
                let call = Box::new(self.record.clone());
                ctx.outputs.push_back(Output::AskRoute { leg: self.leg, url, timeout, call });
                let awaited = Awaited::Route { on_error };
                self.state = State::Screening(Screening { offer, awaited });
            }
        }
    }

    /// The webhook has answered, or will not.
    pub(crate) fn on_route(&mut self, ctx: &mut Context<'_>, answer: Result<RouteAnswer, NoAnswer>) {
        let Some((offer, Awaited::Route { on_error })) = self.take_screening() else { return };
        let answer = answer.and_then(|answer| match answer {
            RouteAnswer::Reject { reject } => Ok(Err(reject)),
            RouteAnswer::Flow { flow, variables } => usable(ctx, flow).map(|flow| Ok((flow, variables))),
        });
        let decision = answer.unwrap_or_else(|why| {
            self.record.sip_reason = Some(why.to_string());
            match on_error {
                OnError::Reject(status) => Err(status),
                // 480, as for any route whose flow is not there.
                OnError::Flow(name) => {
                    ctx.flows.get(&name).cloned().map(|flow| (flow, BTreeMap::new())).ok_or(480)
                }
            }
        });
        match decision {
            Ok((flow, variables)) => {
                self.plan.flow = Some(flow);
                self.record.variables.extend(variables);
                self.present(ctx, offer);
            }
            Err(status) => {
                self.emit_initiated(ctx);
                self.refuse(ctx, status, None);
            }
        }
    }

    /// Everything is known: it rings, or waits for the API.
    fn present(&mut self, ctx: &mut Context<'_>, offer: Box<Offer>) {
        self.emit_initiated(ctx);
        let answer = offer.answer;
        // It would wait for an answer that cannot be given.
        if !answer && let Some(error) = setup::unusable(ctx, &offer) {
            return self.give_up(ctx, error);
        }
        self.state = State::Offered(offer);
        if answer {
            // Both are right: the call was just offered.
            let _ = self.ring(ctx);
            let _ = self.answer(ctx);
        }
    }

    fn refuse(&mut self, ctx: &mut Context<'_>, status: u16, reason: Option<Reason>) {
        self.release_sessions(ctx, Some(status), reason);
        self.end(ctx, Evidence::Response { status, q850: None }, EndedBy::Engine);
    }
}
