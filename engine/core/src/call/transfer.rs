//! Handing an answered call over by REFER (RFC 3515, RFC 5589): the peer calls somebody else, and tells how that goes.

use control_api_types::TransferEnd;
use control_api_types::flow::Outcome;

use super::*;

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Transfer {
    refer: ReferId,
    /// What was told of it last.
    told: Option<u16>,
}

/// How long who has handed over his call may take to hang up himself: a phone does when it is told that it has succeeded.
const FAREWELL: Duration = Duration::from_secs(2);

/// The far side wants the one it talks to, to talk to somebody else.
#[derive(Debug, Clone)]
pub(crate) struct HandOver {
    pub(crate) session: SessionId,
    pub(crate) refer: ReferId,
    pub(crate) to: ReferTo,
}

impl LiveCall {
    /// The far side sends a REFER. It is for the engine to say what comes of it, but a carrier's customers send nobody
    /// anywhere.
    pub(super) fn referred(
        &mut self,
        ctx: &mut Context<'_>,
        session: SessionId,
        refer: ReferId,
        to: ReferTo,
    ) {
        match (&self.state, &self.record.endpoint) {
            (State::Connected(_), Some(_)) if self.wish.is_none() => {
                self.wish = Some(Wish::HandOver(Box::new(HandOver { session, refer, to })));
            }
            (_, _) => {
                // An error means that it is void already.
                let _ = ctx.endpoint.refuse_refer(ctx.now, session, refer, 603);
            }
        }
    }

    /// Tells the far side how its transfer goes.
    pub(crate) fn tell_transferor(
        &mut self,
        ctx: &mut Context<'_>,
        session: SessionId,
        refer: ReferId,
        status: u16,
    ) {
        // An error means that it does not want to know.
        let _ = ctx.endpoint.refer_progress(ctx.now, session, refer, status, "");
        if self.is_conversing() {
            self.emit(ctx, EventData::CallTransferProgress { sip_status: status });
        }
    }

    /// It has handed its call over, and is of no use any more: RFC 5589 section 6.1 has the transferor hang up.
    pub(crate) fn takes_leave(&mut self, ctx: &mut Context<'_>) {
        if self.is_conversing() {
            self.wish = None;
            self.state = State::Connected(Activity::Parked);
            ctx.timers.set(self.leg, CallTimer::Duration, ctx.now + FAREWELL);
        }
    }

    /// Asks the peer to call somebody, perhaps in our place in another call.
    pub(crate) fn transfer(&mut self, ctx: &mut Context<'_>, to: ReferTo) -> Result<(), Refusal> {
        let (State::Connected(_), Some(session)) = (&self.state, self.session()) else {
            return Err(self.wrong_state("only an answered call can be transferred"));
        };
        if self.transfer.is_some() {
            return Err(self.wrong_state("a transfer of it is under way"));
        }
        // The dialog takes requests once the caller has acknowledged our answer.
        let refer = ctx.endpoint.refer(ctx.now, session, Refer::new(to));
        let refer = refer.map_err(|_| self.wrong_state("the far side takes no requests just now"))?;
        self.transfer = Some(Transfer { refer, told: None });
        Ok(())
    }

    /// How somebody is told to take our place in this call.
    pub(crate) fn refer_to(&self, endpoint: &Endpoint) -> Option<ReferTo> {
        let State::Connected(_) = self.state else { return None };
        endpoint.refer_to(self.session()?)
    }

    /// The peer tells what has come of it so far.
    pub(super) fn transfer_progress(
        &mut self,
        ctx: &mut Context<'_>,
        refer: ReferId,
        progress: ReferProgress,
    ) {
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.refer == refer) else {
            return;
        };
        let status = match progress {
            // It will tell.
            ReferProgress::Accepted => return,
            ReferProgress::Trying(status) | ReferProgress::Done(status) | ReferProgress::Refused(status) => {
                status
            }
            // It may have succeeded; a customer who is still there is worth more than one hung up on in error.
            ReferProgress::Unknown => 408,
        };
        let is_new = transfer.told.replace(status) != Some(status);
        if progress.is_final() {
            self.transfer = None;
        }
        if is_new || progress.is_final() {
            self.emit(ctx, EventData::CallTransferProgress { sip_status: status });
        }
        // RFC 5589 section 6.1: the transferor has nothing more to do with who has found somebody else to talk to, and
        // hangs up.
        let end = match progress {
            ReferProgress::Accepted | ReferProgress::Trying(_) => return,
            ReferProgress::Done(200..=299) => TransferEnd::Ok,
            ReferProgress::Done(_) | ReferProgress::Refused(_) | ReferProgress::Unknown => {
                TransferEnd::Failed
            }
        };
        if !self.transferred(ctx, end) && end == TransferEnd::Ok {
            self.hangup(ctx, HangupReason::Normal, EndedBy::Api, Evidence::Api);
        }
    }

    /// A transfer is over: the flow goes on whose step it was. `false`: it was the API's.
    pub(crate) fn transferred(&mut self, ctx: &mut Context<'_>, end: TransferEnd) -> bool {
        let of_flow = matches!(self.activity(), Some(Activity::Flow { run, .. }) if run.is_transferring());
        if of_flow {
            self.step_over(ctx, Outcome::Transferred(end));
        }
        of_flow
    }
}
