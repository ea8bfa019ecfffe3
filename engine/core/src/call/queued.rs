//! A call that waits in a queue: what it hears, the key that it may press, and how its flow goes on.

use control_api_types::Variable;
use control_api_types::flow::Outcome;
use serde_json::Value;

use super::media::Awaits;
use super::*;
use crate::flow;
use crate::queue::Waiting;

/// The variable that an announcement tells the place by.
const POSITION: &str = "position";

impl LiveCall {
    /// The flow comes to an `enqueue` step. The outcome if there is no such queue; otherwise the call waits.
    pub(super) fn enqueue(
        &mut self,
        ctx: &mut Context<'_>,
        queue: &str,
        data: Option<Value>,
    ) -> Option<Outcome<'static>> {
        let Some(position) = ctx.queues.join(ctx.now, self.leg, queue, data.clone()) else {
            return Some(Outcome::Closed);
        };
        self.record.queue = Some(queue.to_owned());
        self.awaits(Awaits::Queue);
        if let Some(waiting) = ctx.queues.of(self.leg) {
            let (until, every) = (waiting.until(), waiting.announce_every());
            ctx.timers.set(self.leg, CallTimer::Wait, until);
            if let Some(every) = every {
                ctx.timers.set(self.leg, CallTimer::Announce, ctx.now + every);
            }
        }
        self.emit(ctx, EventData::CallEnqueued { queue: queue.to_owned(), position, data });
        self.queue_music(ctx);
        None
    }

    /// Whether it waits in a queue now.
    pub(crate) fn is_enqueued(&self) -> bool {
        self.awaited() == Some(Awaits::Queue)
    }

    /// It waits no longer, for whatever reason.
    pub(crate) fn leave_queue(&mut self, ctx: &mut Context<'_>) -> Option<Waiting> {
        let waiting = ctx.queues.leave(self.leg)?;
        ctx.timers.cancel(self.leg, CallTimer::Wait);
        ctx.timers.cancel(self.leg, CallTimer::Announce);
        self.awaits(Awaits::Nothing);
        Some(waiting)
    }

    /// It is taken out of its queue and goes on otherwise.
    pub(crate) fn picked(&mut self, ctx: &mut Context<'_>) {
        if self.leave_queue(ctx).is_some() {
            self.record.queue = None;
            // A room in which nobody is yet has music of its own, or none.
            ctx.media(self.leg, MediaCommand::StopPlay);
            ctx.media(self.leg, MediaCommand::ForgetKeys);
        }
    }

    /// It has waited long enough.
    pub(super) fn wait_timed_out(&mut self, ctx: &mut Context<'_>) {
        self.waited_in_vain(ctx, Outcome::Timeout);
    }

    /// Its queue is no more.
    pub(crate) fn queue_closed(&mut self, ctx: &mut Context<'_>) {
        self.waited_in_vain(ctx, Outcome::Closed);
    }

    fn waited_in_vain(&mut self, ctx: &mut Context<'_>, outcome: Outcome<'_>) {
        if self.leave_queue(ctx).is_none() {
            return;
        }
        self.record.queue = None;
        ctx.media(self.leg, MediaCommand::StopPlay);
        // What was pressed while it waited answers nothing that comes after.
        ctx.media(self.leg, MediaCommand::ForgetKeys);
        self.step_over(ctx, outcome);
    }

    /// A key was pressed.
    pub(super) fn queue_key(&mut self, ctx: &mut Context<'_>, key: char) {
        let Some(waiting) = ctx.queues.of(self.leg) else { return };
        let Some((key, notice)) = waiting.notice(ctx.now, key) else { return };
        let notice = notice.clone();
        let waited = waiting.waited(ctx.now);
        let Some(Waiting { queue, .. }) = self.leave_queue(ctx) else { return };
        self.record.queue = None;
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.emit(ctx, EventData::CallCallbackRequested { queue, key, waited_ms });
        ctx.media(self.leg, MediaCommand::ForgetKeys);
        let notice = flow::insert(&notice, &self.record);
        match self.launch_for_step(ctx, notice) {
            Some(program) => self.awaits(Awaits::Notice(program)),
            None => self.step_over(ctx, Outcome::Callback),
        }
    }

    /// It is time for an announcement; one that is still heard is not cut off by the next.
    pub(super) fn announce(&mut self, ctx: &mut Context<'_>) {
        let Some(waiting) = ctx.queues.of(self.leg) else { return };
        let (Some(every), Some(announce)) = (waiting.announce_every(), &waiting.settings.announce) else {
            return;
        };
        let (announce, may) = (announce.clone(), waiting.may_announce());
        ctx.timers.set(self.leg, CallTimer::Announce, ctx.now + every);
        if !may {
            return;
        }
        // What is said is put together with the variables that the call has when it is launched.
        let place = ctx.queues.place(self.leg).filter(|_| announce.position);
        let hidden = place
            .map(|place| self.record.variables.insert(POSITION.to_owned(), Variable::Number(place.into())));
        let play = flow::insert(&announce.play, &self.record);
        let program = self.launch_for_step(ctx, play);
        match hidden {
            // The call has one of its own.
            Some(Some(own)) => drop(self.record.variables.insert(POSITION.to_owned(), own)),
            Some(None) => drop(self.record.variables.remove(POSITION)),
            None => {}
        }
        if let (Some(program), Some(waiting)) = (program, ctx.queues.of_mut(self.leg)) {
            waiting.hears_announcement(program);
        }
    }

    fn queue_music(&mut self, ctx: &mut Context<'_>) {
        let Some(music) = ctx.queues.of(self.leg).map(Waiting::music) else { return };
        let music = flow::insert(&music, &self.record);
        let program = self.launch_for_step(ctx, music);
        if let Some(waiting) = ctx.queues.of_mut(self.leg) {
            waiting.hears_music(program);
        }
    }

    /// A program that played something for so long is over.
    pub(super) fn queue_played(&mut self, ctx: &mut Context<'_>, program: u64, ms: u64) {
        if self.awaited() == Some(Awaits::Notice(program)) {
            return self.step_over(ctx, Outcome::Callback);
        }
        if ctx.queues.of_mut(self.leg).is_some_and(|waiting| waiting.played(program, ms)) {
            self.queue_music(ctx);
        }
    }
}
