//! What listens to a leg.

use std::time::Instant;

use crate::classify::{Classifier, Finding};
use crate::dtmf::{Key, Listener};
use crate::record::{Deck, Track};
use crate::rtp::Header;
use crate::sdp::{Encoding, Negotiated};
use crate::{Codec, Ptime};

/// Whoever wants the sound of a leg's peer. Each is optional, made by the owner of the leg, and hears every packet time once
/// and in order: decoded, with the gaps concealed.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    pub(crate) keys: Option<Box<Listener>>,
    /// These want what the leg sends, too.
    recordings: [Option<Box<Deck>>; 2],
    /// Until it is done.
    classifier: Option<Box<Classifier>>,
}

impl Taps {
    /// Hands on the next sound, at `rate`; keys that are heard in it go to `key`.
    pub(crate) fn hear(&mut self, rate: u32, sound: &[i16], key: impl FnMut(Key)) {
        // One line for each tap, in the order of its member.
        if let Some(listener) = &mut self.keys {
            listener.hear(rate, sound, key);
        }
        self.decks().for_each(|deck| deck.hear(sound));
        if let Some(classifier) = &mut self.classifier {
            classifier.hear(rate, sound);
        }
    }

    /// What the classifier has found, one by one; then a classifier that is done goes.
    pub(crate) fn finding(&mut self) -> Option<Finding> {
        let classifier = self.classifier.as_mut()?;
        let finding = classifier.poll();
        if finding.is_none() && classifier.is_done() {
            self.classifier = None;
        }
        finding
    }

    /// Begins to find out who answers.
    pub(crate) fn classify(&mut self, classifier: Box<Classifier>) {
        self.classifier = Some(classifier);
    }

    /// The call is answered.
    pub(crate) fn answered(&mut self) {
        if let Some(classifier) = &mut self.classifier {
            classifier.answered();
        }
    }

    pub(crate) fn stop_classifying(&mut self) {
        self.classifier = None;
    }

    /// Whether nobody listens.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_none() && !self.is_recording() && self.classifier.is_none()
    }

    /// Both sides speak as agreed from now on.
    pub(crate) fn retune(&mut self, agreed: &Negotiated) {
        self.decks().for_each(|deck| deck.retune(agreed));
    }

    /// Begins a recording, in place of the one on this track.
    pub(crate) fn record(&mut self, track: Track, deck: Box<Deck>) {
        *self.track(track) = Some(deck);
    }

    pub(crate) fn pause_recording(&mut self, track: Track, on: bool) {
        if let Some(deck) = self.track(track) {
            deck.pause(on);
        }
    }

    pub(crate) fn stop_recording(&mut self, track: Track) {
        *self.track(track) = None;
    }

    pub(crate) fn stop_recordings(&mut self) {
        self.recordings = [None, None];
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.recordings.iter().any(Option::is_some)
    }

    /// Whether a recording wants its beep to be sent.
    pub(crate) fn is_beeping(&self) -> bool {
        self.recordings.iter().flatten().any(|deck| deck.is_beeping())
    }

    /// Puts the beep of a recording that begins into `frame`, in place of what is there.
    pub(crate) fn beep(&mut self, codec: Codec, ptime: Ptime, frame: &mut [u8]) -> bool {
        let packet = self.decks().find_map(|deck| deck.beep(codec, ptime));
        let packet = packet.filter(|packet| packet.len() == frame.len());
        packet.map(|packet| frame.copy_from_slice(packet)).is_some()
    }

    /// What was sent on of another leg's, as it left.
    pub(crate) fn relayed(
        &mut self,
        now: Instant,
        encoding: Option<Encoding>,
        header: &Header,
        payload: &[u8],
    ) {
        self.decks().for_each(|deck| deck.relay(now, encoding, header, payload));
    }

    /// A packet time is over, in which this payload was sent; `None`: what was sent has been [`Taps::relayed`].
    pub(crate) fn sent(&mut self, now: Instant, codec: Codec, ptime: Ptime, payload: Option<&[u8]>) {
        for recording in &mut self.recordings {
            // A tape that wants no more is the end of its recording.
            if recording.as_mut().is_some_and(|deck| !deck.turn(now, codec, ptime, payload)) {
                *recording = None;
            }
        }
    }

    fn decks(&mut self) -> impl Iterator<Item = &mut Deck> {
        self.recordings.iter_mut().flatten().map(|deck| &mut **deck)
    }

    fn track(&mut self, track: Track) -> &mut Option<Box<Deck>> {
        match track {
            Track::Call => &mut self.recordings[0],
            Track::Step => &mut self.recordings[1],
        }
    }
}
