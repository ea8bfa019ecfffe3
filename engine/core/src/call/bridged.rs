//! A call's part in a bridge: what it tells, and how it goes on afterwards.

use control_api_types::flow::Outcome;
use control_api_types::{DialStep, MuteDirection, OnEnd};

use super::*;
use crate::bridge::{Part, Sound};

/// What a bridge has done to a call.
#[derive(Debug, Clone, Default)]
pub(super) struct InBridge {
    /// `call.bridged` was told.
    told: bool,
    /// Its music: the program, and what is played.
    music: Option<(u64, String)>,
}

/// What a call's flow or its far side wants that only the engine can do.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// To be bridged.
    Bridge(Partner),
    /// To be bridged with the first of these that answers.
    Dial(Box<DialStep>),
    /// To be sent to this one.
    Transfer(String),
    /// The far side hands over whom it talks to (REFER).
    HandOver(Box<HandOver>),
}

/// With whom a flow wants its call bridged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Partner {
    /// With this call.
    Call(String),
    /// With those in this bridge.
    Bridge(String),
}

/// Why a call is on its own again.
#[derive(Debug, Clone)]
pub(crate) struct Parting {
    /// The call whose end ended the bridge.
    pub(crate) cause: Option<CallId>,
    /// Who wanted it so.
    pub(crate) by: EndedBy,
    /// Why the bridge could not be, for a person to read.
    pub(crate) error: Option<&'static str>,
}

impl Parting {
    pub(crate) fn of(by: EndedBy) -> Self {
        Self { cause: None, by, error: None }
    }
}

impl LiveCall {
    /// Whether a bridge may have it: an answered call that waits, for the API or by its flow.
    pub(crate) fn may_be_bridged(&self) -> Result<(), Refusal> {
        match self.activity() {
            Some(Activity::Parked) => Ok(()),
            Some(Activity::Flow { run, .. }) if run.is_parked() || self.is_enqueued() => Ok(()),
            Some(Activity::Flow { .. }) => {
                Err(self
                    .wrong_state("its flow is busy; a call is bridged when it is parked or waits in a queue"))
            }
            None => Err(self.wrong_state("only an answered call can be bridged")),
        }
    }

    /// What its flow wants, once.
    pub(crate) fn take_wish(&mut self) -> Option<Wish> {
        self.wish.take()
    }

    pub(crate) fn has_wish(&self) -> bool {
        self.wish.is_some()
    }

    pub(crate) fn sound(&self) -> Sound {
        let exchange = self.exchange.as_ref();
        let held = exchange.is_some_and(|exchange| exchange.holds());
        let holds = exchange.is_some_and(|exchange| exchange.is_held());
        let (inward, outward) = self.ways_muted();
        Sound { heard: !inward && !held, hears: !outward && !held, held, holds }
    }

    fn ways_muted(&self) -> (bool, bool) {
        let muted = self.record.muted;
        (muted.is_some_and(MuteDirection::is_inward), muted.is_some_and(MuteDirection::is_outward))
    }

    /// Mutes it, or ends that.
    pub(crate) fn mute(
        &mut self,
        ctx: &mut Context<'_>,
        direction: MuteDirection,
        on: bool,
    ) -> Result<(), Refusal> {
        if !self.is_conversing() {
            return Err(self.wrong_state("only an answered call can be muted"));
        }
        let (inward, outward) = self.ways_muted();
        let inward = if direction.is_inward() { on } else { inward };
        let outward = if direction.is_outward() { on } else { outward };
        let muted = MuteDirection::of(inward, outward);
        if std::mem::replace(&mut self.record.muted, muted) != muted {
            let told =
                muted.map_or(EventData::CallUnmuted {}, |direction| EventData::CallMuted { direction });
            self.emit(ctx, told);
        }
        Ok(())
    }

    /// It is in a bridge, if only to wait for others.
    pub(crate) fn joins(&mut self, ctx: &mut Context<'_>, bridge: &str) {
        self.picked(ctx);
        self.record.bridge_id = Some(bridge.to_owned());
    }

    /// It plays another part in its bridge.
    pub(crate) fn plays(&mut self, ctx: &mut Context<'_>, bridge: &str, part: Part) {
        let Part { role, on_end, whisper_to } = part;
        let bridge_id = bridge.to_owned();
        self.emit(ctx, EventData::CallRoleChanged { bridge_id, role, on_end, whisper_to });
    }

    /// It hears the others now.
    pub(crate) fn bridged(&mut self, ctx: &mut Context<'_>, bridge: &str, others: Vec<CallId>) {
        // What was played while it waited would be heard in their place.
        ctx.media(self.leg, MediaCommand::StopPlay);
        self.in_bridge = InBridge { told: true, music: None };
        let with = others.first().cloned();
        self.emit(ctx, EventData::CallBridged { bridge_id: bridge.to_owned(), with, calls: others });
    }

    /// Plays music without end to who waits or is held, or stops it.
    pub(crate) fn music(&mut self, ctx: &mut Context<'_>, prompt: Option<&str>) {
        match prompt {
            // An ended one has no media to play to.
            Some(_) if !self.is_conversing() => {}
            Some(prompt) => {
                let program = self.play_endlessly(ctx, prompt);
                self.in_bridge.music = program.map(|program| (program, prompt.to_owned()));
            }
            None => self.stop_music(ctx),
        }
    }

    fn stop_music(&mut self, ctx: &mut Context<'_>) {
        // Another program may have taken its place.
        if self.in_bridge.music.take().is_some_and(|(music, _)| self.is_newest(music)) {
            ctx.media(self.leg, MediaCommand::StopPlay);
        }
    }

    /// What the API has played is over: the music goes on that it has played over.
    pub(super) fn music_again(&mut self, ctx: &mut Context<'_>, after: u64) {
        if let Some((music, prompt)) = self.in_bridge.music.take_if(|(music, _)| *music < after) {
            match self.is_newest(after) {
                true => self.music(ctx, Some(&prompt)),
                false => self.in_bridge.music = Some((music, prompt)),
            }
        }
    }

    /// It is out of its bridge, and goes on as the engine says next.
    pub(crate) fn set_aside(&mut self, ctx: &mut Context<'_>) {
        self.tell_unbridged(ctx);
        self.stop_music(ctx);
        self.record.bridge_id = None;
    }

    /// It is on its own again, and goes on as was agreed.
    pub(crate) fn unbridged(&mut self, ctx: &mut Context<'_>, on_end: OnEnd, parting: Parting) {
        if !self.is_conversing() {
            return;
        }
        self.tell_unbridged(ctx);
        self.stop_music(ctx);
        if on_end != OnEnd::Hangup {
            // The CDR names the bridge that a call has ended in.
            self.record.bridge_id = None;
        }
        match on_end {
            OnEnd::Hangup => {
                self.record.cause_call_id = parting.cause;
                if parting.error.is_some() {
                    self.record.sip_reason = Some("bridge-failed".to_owned());
                }
                self.hangup(ctx, HangupReason::Normal, parting.by, Evidence::Internal);
            }
            OnEnd::Continue => match parting.error {
                Some(error) => self.bridge_refused(ctx, error.to_owned()),
                None => self.bridge_over(ctx, Outcome::Ended),
            },
            OnEnd::Park => self.state = State::Connected(Activity::Parked),
        }
    }

    /// Tells the end of its part in a bridge, if it had one.
    pub(super) fn tell_unbridged(&mut self, ctx: &mut Context<'_>) {
        if std::mem::take(&mut self.in_bridge.told)
            && let Some(bridge_id) = self.record.bridge_id.clone()
        {
            self.emit(ctx, EventData::CallUnbridged { bridge_id });
        }
    }
}
