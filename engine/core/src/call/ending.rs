//! Towards the end: hang-ups, deadlines, failures, and the one CDR.

use super::*;

impl LiveCall {
    /// Ends the call in any state; a call that ends already goes on ending.
    pub(crate) fn hangup(
        &mut self,
        ctx: &mut Context<'_>,
        reason: HangupReason,
        by: EndedBy,
        unanswered: Evidence,
    ) {
        let (status, cause) = match reason {
            HangupReason::Normal => (480, 16),
            HangupReason::Busy => (486, 17),
            HangupReason::Rejected => (603, 21),
        };
        let evidence = match &self.state {
            State::Connected(_) => Evidence::Answered,
            State::Accepting(_)
            | State::Queued(_)
            | State::Opening(_)
            | State::Inviting(_)
            | State::Screening(_)
            | State::Offered(_)
            | State::Answering(_) => unanswered,
            State::Ending(_) | State::Over => return,
        };
        let reason = Reason { protocol: ReasonProtocol::Q850, cause, text: None };
        self.release_sessions(ctx, Some(status), (evidence == Evidence::Answered).then_some(reason));
        self.end(ctx, evidence, by);
    }

    /// A deadline has come.
    pub(crate) fn on_timer(&mut self, ctx: &mut Context<'_>, timer: CallTimer) {
        match timer {
            CallTimer::Queue => self.end(ctx, Evidence::Limit, EndedBy::Engine),
            CallTimer::Ring => {
                let evidence = match self.state {
                    // The media shell owes us a port for the whole ring timeout.
                    State::Opening(_) => Evidence::Internal,
                    State::Accepting(_)
                    | State::Queued(_)
                    | State::Inviting(_)
                    | State::Screening(_)
                    | State::Offered(_)
                    | State::Answering(_) => Evidence::RingTimeout,
                    State::Connected(_) | State::Ending(_) | State::Over => return,
                };
                self.release_sessions(ctx, Some(480), None);
                self.end(ctx, evidence, EndedBy::Engine);
            }
            CallTimer::Duration => {
                self.hangup(ctx, HangupReason::Normal, EndedBy::Engine, Evidence::Internal);
            }
            CallTimer::Failover => self.fail_over(ctx),
            CallTimer::Offer => self.offer_again(ctx),
            CallTimer::Pause => self.wait_over(ctx),
            CallTimer::Wait => self.wait_timed_out(ctx),
            CallTimer::Announce => self.announce(ctx),
            CallTimer::Dial => self.dial_on(ctx),
            CallTimer::Release => {
                self.sessions_over(ctx);
                self.finish(ctx);
            }
        }
    }

    pub(super) fn failed(&mut self, ctx: &mut Context<'_>, failure: Failure) {
        let gave_up = matches!(self.state, State::Ending(_));
        if let (true, Some(gateway), Some(sign)) = (gave_up, &self.record.gateway, Sign::of_silence(&failure))
        {
            ctx.sign(self.trunk, gateway, sign);
        }
        let Failure { cause, reason_phrase, q850, message, .. } = failure;
        let (evidence, by) = match cause {
            FailureCause::Response(status) => {
                self.record.sip_status = Some(status);
                self.record.q850_cause = q850;
                (Evidence::Response { status, q850 }, EndedBy::Remote)
            }
            FailureCause::Timeout | FailureCause::Transport | FailureCause::Resolve => {
                (Evidence::Network, EndedBy::Engine)
            }
            // RFC 3261 §9.2: a canceled INVITE is answered 487, a caller's by us. What never left, or was answered before
            // anything else was said, has no status.
            FailureCause::Cancelled => {
                let is_caller = self.marks.invited.is_none();
                if is_caller || message.is_some() || self.record.sip_status.is_some() {
                    self.record.sip_status = Some(487);
                }
                (Evidence::CallerGaveUp, EndedBy::Remote)
            }
        };
        let words = match cause {
            FailureCause::Response(_) | FailureCause::Cancelled if reason_phrase.is_empty() => None,
            FailureCause::Response(_) | FailureCause::Cancelled => Some(reason_phrase),
            FailureCause::Timeout => Some("No Response".to_owned()),
            FailureCause::Transport => Some("Transport Failure".to_owned()),
            FailureCause::Resolve => Some("Name Not Resolved".to_owned()),
        };
        self.record.sip_reason = words.or(self.record.sip_reason.take());
        match (&mut self.state, evidence) {
            // What the peer or the network says about a call that rang out is better evidence than our own clock;
            // 487 only confirms our CANCEL.
            (State::Ending(decided @ Evidence::RingTimeout), better @ Evidence::Network) => {
                *decided = better;
                self.finish_if_released(ctx);
            }
            (State::Ending(decided @ Evidence::RingTimeout), better @ Evidence::Response { status, .. })
                if status != 487 && self.marks.invited.is_some() =>
            {
                *decided = better;
                self.record.ended_by = Some(EndedBy::Remote);
                self.finish_if_released(ctx);
            }
            (State::Ending(_), _) => self.finish_if_released(ctx),
            (_, evidence) => self.end(ctx, evidence, by),
        }
    }

    /// The session of an inbound or an answered call.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.sessions.first().copied()
    }

    /// Hangs up in the SIP sense; `status` is for an inbound call that is not answered.
    pub(super) fn release_sessions(
        &mut self,
        ctx: &mut Context<'_>,
        status: Option<u16>,
        reason: Option<Reason>,
    ) {
        for &session in &self.sessions {
            // Unknown only if it is over, which is what we want.
            let hangup = Hangup { status, reason: reason.clone(), headers: vec![] };
            let _ = ctx.endpoint.hangup(ctx.now, session, hangup);
        }
    }

    /// Decides how the call ended. The CDR follows when SIP and media are done with it.
    pub(super) fn end(&mut self, ctx: &mut Context<'_>, evidence: Evidence, by: EndedBy) {
        ctx.timers.cancel_all(self.leg);
        self.record.ended_at = Some(ctx.timestamp());
        self.record.ended_by = Some(by);
        self.tell_unbridged(ctx);
        // The CDR names the queue that it has waited in to its end.
        self.leave_queue(ctx);
        self.state = State::Ending(evidence);
        self.close_media(ctx);
        let silence = self.marks.tried.filter(|_| evidence == Evidence::RingTimeout).map(|at| at + SILENCE);
        let release = ctx.now + RELEASE_TIMEOUT;
        ctx.timers.set(self.leg, CallTimer::Release, silence.map_or(release, |silence| silence.max(release)));
        self.finish_if_released(ctx);
    }

    pub(super) fn finish_if_released(&mut self, ctx: &mut Context<'_>) {
        if self.sessions.is_empty() && self.media.is_gone() && self.recordings.are_over() {
            self.finish(ctx);
        }
    }

    /// Puts out the CDR, the last event of the call, if it has ended.
    pub(crate) fn finish(&mut self, ctx: &mut Context<'_>) {
        let State::Ending(evidence) = self.state else { return };
        ctx.timers.cancel_all(self.leg);
        cdr::close(&mut self.record, evidence, self.media.stats());
        self.state = State::Over;
        self.seq += 1;
        ctx.outputs.push_back(Output::Ended {
            call: Box::new(self.record.clone()),
            seq: self.seq,
            at_unix_ms: ctx.clock.unix_ms(ctx.now),
        });
    }

    /// Ends the call at once, whatever state a panic has left it in.
    pub(crate) fn abandon(&mut self, ctx: &mut Context<'_>) {
        if self.record.status.is_final() {
            self.state = State::Over;
            return;
        }
        self.release_sessions(ctx, Some(500), None);
        self.sessions_over(ctx);
        self.end(ctx, Evidence::Internal, EndedBy::Engine);
        self.finish(ctx);
    }

    pub(super) fn session_over(&mut self, ctx: &mut Context<'_>, session: SessionId) {
        self.sessions.remove(&session);
        ctx.sessions.remove(&session);
    }

    /// Whatever still comes of its sessions is of no interest.
    fn sessions_over(&mut self, ctx: &mut Context<'_>) {
        for session in std::mem::take(&mut self.sessions) {
            ctx.sessions.remove(&session);
        }
    }
}

/// What the CDR says of a call that has ended in another way than by a BYE of either side.
pub(super) fn words(cause: EndCause) -> Option<&'static str> {
    match cause {
        EndCause::Bye => None,
        EndCause::Timeout => Some("No Response"),
        EndCause::Transport => Some("Transport Failure"),
        EndCause::AckTimeout => Some("No ACK"),
        EndCause::OfferTimeout => Some("Offer Not Answered"),
        // RFC 3261 §21.4.19.
        EndCause::Forgotten => Some("Call Does Not Exist"),
        EndCause::SessionExpired => Some("Session Expired"),
        EndCause::Replaced => Some("Replaced"),
    }
}
