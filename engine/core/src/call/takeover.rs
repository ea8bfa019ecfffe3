//! Somebody else takes the place of a call's peer (RFC 3891): the call goes on in another dialog, with the same flow,
//! media leg and CDR.

use super::*;

impl LiveCall {
    /// Answers `session` in the place of `replaced`, which the endpoint then hangs up; or the status to refuse it with. A
    /// call that is not answered is not picked up.
    pub(crate) fn take_over(
        &mut self,
        ctx: &mut Context<'_>,
        session: SessionId,
        replaced: SessionId,
        offer: Option<Bytes>,
    ) -> Result<(), u16> {
        let (State::Connected(_), Some(exchange)) = (&self.state, &mut self.exchange) else {
            return Err(603);
        };
        let body = exchange.begin_anew(offer.as_deref(), ctx.random).map_err(|_| 488_u16)?;
        ctx.endpoint.answer(ctx.now, session, Some(body)).map_err(|_| 500_u16)?;
        self.session_over(ctx, replaced);
        self.sessions.insert(session);
        ctx.attach(session, self.leg, &self.record.id);
        self.record.sip_call_id = ctx.endpoint.session_call_id(session).map(|id| id.to_string());
        // What the one before was asked for has come to nothing.
        self.transfer = None;
        ctx.timers.cancel(self.leg, CallTimer::Offer);
        self.apply(ctx);
        Ok(())
    }
}
