//! Runs a leg's program: the prompt, the digits, and how one acts on the other.

use std::time::Instant;

use crate::dtmf::{Key, Keypad, Method};
use crate::events::Events;
use crate::gather::Gather;
use crate::player::Player;
use crate::{Codec, CollectEnd, Digit, Digits, MediaEvent, PlayEnd, Program};

#[derive(Debug, Default)]
pub(crate) struct Runner {
    player: Option<Player>,
    gather: Option<Gather>,
    keypad: Keypad,
    /// Digits that nothing has taken yet, for the next collect.
    type_ahead: Digits,
}

impl Runner {
    /// Replaces what runs.
    pub(crate) fn run(&mut self, now: Instant, program: Program, events: &mut Events) {
        self.abandon(PlayEnd::Stopped, CollectEnd::Stopped, events);
        let Program { play, collect } = program;
        let barge_in = play.as_ref().map(|play| play.barge_in);
        self.gather = collect.map(|collect| match barge_in {
            Some(open) => Gather::beside_prompt(collect, open),
            None => Gather::without_prompt(now, collect),
        });
        if let Some(play) = play {
            let player = Player::new(play);
            events.push(player.started());
            self.player = Some(player);
        }
        if !self.type_ahead.is_empty() && self.gather.as_ref().is_some_and(Gather::takes_digits) {
            self.end_play(now, PlayEnd::BargeIn, events);
            self.take_type_ahead(now, events);
        }
    }

    /// Ends the prompt, if one plays; a collect beside it goes on.
    pub(crate) fn end_play(&mut self, now: Instant, reason: PlayEnd, events: &mut Events) {
        let Some(player) = self.player.take() else { return };
        events.push(player.ended(reason));
        if let Some(gather) = &mut self.gather {
            gather.prompt_ended(now);
            self.take_type_ahead(now, events);
        }
    }

    /// Ends whatever runs.
    pub(crate) fn abandon(&mut self, play: PlayEnd, collect: CollectEnd, events: &mut Events) {
        if let Some(player) = self.player.take() {
            events.push(player.ended(play));
        }
        self.end_collect(collect, events);
    }

    /// A key did something, as `method` tells; what another method has told already is passed over.
    pub(crate) fn key(&mut self, now: Instant, key: Key, method: Method, events: &mut Events) {
        match key {
            Key::Down(digit) => {
                if self.keypad.down(now, digit, method) {
                    self.key_down(now, events);
                }
            }
            Key::Up { digit, duration_ms } => {
                if self.keypad.up(now, digit, method) {
                    events.push(MediaEvent::Digit { digit, duration_ms, method });
                    self.digit(now, digit, events);
                }
            }
        }
    }

    /// A key was pressed and released, as `method` tells afterwards.
    pub(crate) fn pressed(
        &mut self,
        now: Instant,
        digit: Digit,
        duration_ms: u16,
        method: Method,
        events: &mut Events,
    ) {
        if self.keypad.pressed(now, digit, method) {
            self.key_down(now, events);
            events.push(MediaEvent::Digit { digit, duration_ms, method });
            self.digit(now, digit, events);
        }
    }

    /// Barge-in acts when a key goes down; the digit itself counts when it comes up.
    fn key_down(&mut self, now: Instant, events: &mut Events) {
        if self.player.as_ref().is_some_and(Player::barge_in) {
            self.end_play(now, PlayEnd::BargeIn, events);
        }
    }

    /// What the type-ahead buffer cannot hold is forgotten; it was reported.
    fn digit(&mut self, now: Instant, digit: Digit, events: &mut Events) {
        self.type_ahead.push(digit);
        self.take_type_ahead(now, events);
    }

    /// Ends a collect whose time has run out.
    pub(crate) fn handle_timeout(&mut self, now: Instant, events: &mut Events) {
        if let Some(reason) = self.gather.as_ref().and_then(|gather| gather.expired(now)) {
            self.end_collect(reason, events);
        }
    }

    /// Whether time alone changes nothing here.
    pub(crate) fn is_idle(&self) -> bool {
        self.player.is_none() && self.gather.is_none()
    }

    /// Whether a prompt has the line.
    pub(crate) fn is_playing(&self) -> bool {
        self.player.is_some()
    }

    /// Fills `frame` with the next audio of the prompt, and silence after it; tells whether there is any of a prompt in it.
    /// A prompt is over when the frame after its last is due.
    pub(crate) fn fill(&mut self, now: Instant, codec: Codec, frame: &mut [u8], events: &mut Events) -> bool {
        let filled = match &mut self.player {
            None => 0,
            Some(player) => match player.fill(codec, frame) {
                None => {
                    self.end_play(now, PlayEnd::WrongCodec, events);
                    0
                }
                Some(0) => {
                    self.end_play(now, PlayEnd::Completed, events);
                    0
                }
                Some(filled) => filled,
            },
        };
        codec.fill_silence(&mut frame[filled..]);
        filled > 0
    }

    /// Forgets keys that no collect has taken.
    pub(crate) fn forget_typed(&mut self) {
        self.type_ahead = Digits::new();
    }

    fn take_type_ahead(&mut self, now: Instant, events: &mut Events) {
        while let Some(gather) = self.gather.as_mut().filter(|gather| gather.takes_digits()) {
            let Some(digit) = self.type_ahead.pop_front() else { break };
            if let Some(reason) = gather.digit(now, digit) {
                self.end_collect(reason, events);
            }
        }
    }

    fn end_collect(&mut self, reason: CollectEnd, events: &mut Events) {
        if let Some(gather) = self.gather.take() {
            events.push(gather.ended(reason));
        }
    }
}
