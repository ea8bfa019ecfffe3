//! A call in the middle is given another flow.

use control_api_types::{Fault, Variables};
use media_core::Program;
use media_core::record::Track;

use super::*;
use crate::variables;

impl LiveCall {
    /// Begins `flow` in the place of whatever the call does; it is on its own.
    pub(crate) fn give_flow(
        &mut self,
        ctx: &mut Context<'_>,
        flow: Arc<Flow>,
        variables: Variables,
    ) -> Result<(), Refusal> {
        if !self.is_conversing() {
            return Err(self.wrong_state("only an answered call can be given a flow"));
        }
        variables::set(&mut self.record, variables.into_iter().collect()).map_err(|variables::TooMany| {
            let detail = "with those that it has the call would have too many (256, 64 KiB)".to_owned();
            Refusal::Validation(vec![Fault { pointer: "/variables".into(), detail }])
        })?;
        // What the flow before plays, gathers, records or waits for is nothing to this one. An end of it that is on its way
        // already finds a newer program in its place.
        ctx.timers.cancel(self.leg, CallTimer::Pause);
        self.picked(ctx);
        self.wish = None;
        self.leave_queue(ctx);
        if self.recordings.abandon_step() {
            ctx.media(self.leg, MediaCommand::StopRecording(Track::Step, RecordingEnd::Stopped));
        }
        self.programs.given = self.next_program();
        ctx.media(self.leg, MediaCommand::Run(Program { play: None, collect: None }));
        self.start_flow(ctx, flow);
        Ok(())
    }
}
