//! Who listens to the peer: the ear comes with the first of them and goes with the last.

use std::time::Instant;

use super::{Leg, Stage};
use crate::classify::Classifier;
use crate::dtmf::{Listener, Method};
use crate::ear::Ear;
use crate::record::{Deck, Track};
use crate::{Codec, MediaEvent, Ptime};

impl Leg {
    /// Listens for keys in the audio of the peer from now on, with `ear` if the leg has none; of no effect on a leg that does
    /// already.
    pub fn hear_keys(&mut self, listener: Box<Listener>, ear: Box<Ear>) {
        if self.taps.keys.is_none() {
            self.taps.keys = Some(listener);
        }
        if self.ear.is_none() {
            self.put_ear(ear);
        }
    }

    /// Listens for keys in the audio no more.
    pub fn ignore_tones(&mut self, now: Instant) {
        if let Some(mut listener) = self.taps.keys.take() {
            if let Some(key) = listener.flush() {
                self.runner.key(now, key, Method::Tones, &mut self.events);
            }
            self.rest();
        }
    }

    /// Gives the leg an ear. From now on what the peer says is decoded, and heard by whoever listens.
    pub fn listen(&mut self, ear: Box<Ear>) {
        self.listens = true;
        // One that a tap hears by is not changed under way.
        if self.taps.is_empty() {
            self.take_ear();
            self.put_ear(ear);
        }
    }

    /// Takes the ear away, unless a tap needs it: nothing is decoded any more.
    pub fn deafen(&mut self) -> Option<Box<Ear>> {
        self.listens = false;
        self.rest()
    }

    /// Records what is heard and sent from now on, with `ear` if the leg has none, until [`Leg::stop_recording`], the end of
    /// the leg, or until the tape wants no more. A recording on the same track ends.
    pub fn record(&mut self, track: Track, mut deck: Box<Deck>, ear: Box<Ear>) {
        match &self.stage {
            Stage::Idle => {}
            Stage::Live(session) => deck.retune(&session.agreed),
            Stage::Leaving(_) | Stage::Finished => return,
        }
        self.taps.record(track, deck);
        if self.ear.is_none() {
            self.put_ear(ear);
        }
    }

    /// Leaves out of a recording what comes from now on, or takes it in again.
    pub fn pause_recording(&mut self, track: Track, on: bool) {
        self.taps.pause_recording(track, on);
    }

    /// Ends a recording.
    pub fn stop_recording(&mut self, track: Track) -> Option<Box<Ear>> {
        self.taps.stop_recording(track);
        self.rest()
    }

    /// Finds out from now on who answers, with `ear` if the leg has none; what is found comes as
    /// [`MediaEvent::Classified`]. A classification under way is replaced.
    pub fn classify(&mut self, classifier: Box<Classifier>, ear: Box<Ear>) {
        match &self.stage {
            Stage::Idle | Stage::Live(_) => {}
            Stage::Leaving(_) | Stage::Finished => return,
        }
        self.taps.classify(classifier);
        if self.ear.is_none() {
            self.put_ear(ear);
        }
    }

    /// What each turn decodes: `None` where nobody listens, and where a bridge pulls what the ear hears.
    pub fn decodes(&self) -> Option<Codec> {
        self.ear.as_ref().filter(|_| !self.pulled).map(|ear| ear.codec())
    }

    /// The call is answered, for the classification: what comes from now on is the answerer's.
    pub fn answered(&mut self) {
        self.taps.answered();
    }

    /// Pulls the next `time` of what the peer says into the front of `frame`, at the sample rate of the leg's codec, lets the
    /// taps hear it, and returns how many samples that is; 0 for a leg without an ear. [`Leg::tick`] does this by itself,
    /// unless a bridge does ([`Leg::feed`]).
    pub fn hear(&mut self, now: Instant, time: Ptime, frame: &mut [i16]) -> usize {
        let (Stage::Live(_), Some(ear)) = (&self.stage, &mut self.ear) else { return 0 };
        let rate = ear.codec().sample_rate();
        let count = (rate as usize / 1000 * usize::from(time.ms())).min(frame.len());
        ear.pull(now, &mut frame[..count]);
        let Self { taps, runner, events, .. } = self;
        taps.hear(rate, &frame[..count], |key| runner.key(now, key, Method::Tones, events));
        while let Some(finding) = taps.finding() {
            events.push(MediaEvent::Classified(finding));
        }
        self.rest();
        count
    }

    fn put_ear(&mut self, mut ear: Box<Ear>) {
        if let Stage::Live(session) = &self.stage {
            ear.retune(session.agreed.codec);
            ear.expect(session.agreed.other_codecs());
        }
        self.ear = Some(ear);
    }

    /// Takes the ear away if nobody needs it.
    pub(super) fn rest(&mut self) -> Option<Box<Ear>> {
        if self.listens || !self.taps.is_empty() { None } else { self.take_ear() }
    }

    fn take_ear(&mut self) -> Option<Box<Ear>> {
        let ear = self.ear.take();
        if let Some(ear) = &ear {
            self.ears_before = Some(ear.stats().after(self.ears_before));
        }
        ear
    }
}
