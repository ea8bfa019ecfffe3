//! A recording at its leg: brings what the leg hears and what it sends together, packet time by packet time.

use std::time::Instant;

use super::{Moment, Sent, Tape};
use crate::ear::{Ear, EarConfig};
use crate::rtp::Header;
use crate::sdp::{Encoding, Negotiated};
use crate::{Codec, Encoder, Ptime};

/// Samples that may wait for their packet time: two of the longest, at the highest rate.
const WAITING: usize = 2 * 60 * 48;

/// A recording of a leg. Its owner makes it, so that the leg does not allocate.
#[derive(Debug)]
pub struct Deck {
    tape: Box<dyn Tape>,
    is_paused: bool,
    beep: Option<Beep>,
    /// What was heard and has no packet time yet.
    heard: [i16; WAITING],
    waiting: usize,
    /// Hears what another leg's packets say that ours sends on, as our peer would.
    relayed: Box<Ear>,
}

impl Deck {
    /// A recording of a leg that speaks `codec` now, onto `tape`; `beep` is sent once, in place of what the leg would send.
    pub fn new(tape: Box<dyn Tape>, codec: Codec, beep: Option<Beep>) -> Self {
        let relayed = Box::new(Ear::new(EarConfig::new(codec)));
        Self { tape, is_paused: false, beep, heard: [0; WAITING], waiting: 0, relayed }
    }

    /// What a paused recording hears is left out.
    pub(crate) fn pause(&mut self, on: bool) {
        self.is_paused = on;
        self.waiting = 0;
    }

    /// Whether the next packet is one of the beep, or the last one was.
    pub(crate) fn is_beeping(&self) -> bool {
        self.beep.is_some()
    }

    /// The next packet of the beep, if there is one for this codec and packet time.
    pub(crate) fn beep(&mut self, codec: Codec, ptime: Ptime) -> Option<&[u8]> {
        // If they have changed since the beep was made, it is of no use any more.
        self.beep
            .take_if(|beep| (beep.codec, beep.ptime) != (codec, ptime) || beep.next == beep.packets.len());
        let beep = self.beep.as_mut()?;
        let packet = beep.packets.get(beep.next)?;
        beep.next += 1;
        Some(packet)
    }

    /// Both sides speak as agreed from now on.
    pub(crate) fn retune(&mut self, agreed: &Negotiated) {
        self.relayed.retune(agreed.codec);
        self.relayed.expect(agreed.other_codecs());
        self.waiting = 0;
    }

    /// Takes what was heard.
    pub(crate) fn hear(&mut self, sound: &[i16]) {
        if self.is_paused {
            return;
        }
        // More than two packet times wait only when the leg's ticks stand still: the oldest are of no use then.
        let sound = &sound[sound.len().saturating_sub(WAITING)..];
        let surplus = (self.waiting + sound.len()).saturating_sub(WAITING);
        self.heard.copy_within(surplus..self.waiting, 0);
        self.waiting -= surplus.min(self.waiting);
        self.heard[self.waiting..self.waiting + sound.len()].copy_from_slice(sound);
        self.waiting += sound.len();
    }

    /// Takes what was sent on of another leg's, as it left.
    pub(crate) fn relay(
        &mut self,
        now: Instant,
        encoding: Option<Encoding>,
        header: &Header,
        payload: &[u8],
    ) {
        match encoding {
            Some(Encoding::Audio(codec)) => self.relayed.push_in(codec, now, header, payload),
            Some(Encoding::ComfortNoise) => self.relayed.push_noise(now, header, payload),
            Some(Encoding::TelephoneEvent { .. }) | None => self.relayed.pass_over(now, header),
        }
    }

    /// A packet time is over in which the leg has sent `sent` of its own; `None`: it only sends on. `false`: the tape
    /// wants no more.
    pub(crate) fn turn(&mut self, now: Instant, codec: Codec, ptime: Ptime, sent: Option<&[u8]>) -> bool {
        let samples = codec.sample_rate() as usize / 1000 * usize::from(ptime.ms());
        let mut relayed = [0; WAITING];
        let relayed = &mut relayed[..samples.min(WAITING)];
        let sent = match sent {
            Some(payload) => Sent::Payload(payload),
            None => {
                self.relayed.pull(now, relayed);
                Sent::Sound(relayed)
            }
        };
        if self.is_paused {
            return true;
        }
        let n = self.waiting.min(samples);
        let goes_on = self.tape.take(&Moment { codec, ptime, heard: &self.heard[..n], sent });
        self.heard.copy_within(n..self.waiting, 0);
        self.waiting -= n;
        goes_on
    }
}

/// The tone that tells that a recording begins, in packets.
#[derive(Debug, Clone)]
pub struct Beep {
    codec: Codec,
    ptime: Ptime,
    packets: Vec<Vec<u8>>,
    next: usize,
}

impl Beep {
    /// Hertz of the tone: within every telephone band, and what answering machines have made everybody used to.
    pub const FREQUENCY: f32 = 1_000.0;
    /// Its length, in milliseconds.
    pub const LENGTH_MS: u32 = 240;
    /// Its peak: 12 dB below the loudest.
    const PEAK: f32 = 8_200.0;
    /// Milliseconds over which it comes and goes, so that it does not click.
    const RAMP_MS: f32 = 5.0;

    /// For a leg that speaks so.
    pub fn new(codec: Codec, ptime: Ptime) -> Self {
        let rate = codec.sample_rate();
        let length = Self::LENGTH_MS as f32;
        let sample = |n: u32| {
            let ms = n as f32 * 1_000.0 / rate as f32;
            let swell = (ms.min(length - ms) / Self::RAMP_MS).clamp(0.0, 1.0);
            let turn = ms / 1_000.0 * Self::FREQUENCY * std::f32::consts::TAU;
            (turn.sin() * swell * Self::PEAK) as i16
        };
        let per_packet = rate / 1_000 * u32::from(ptime.ms());
        // Packets of one length, as the leg's own are: each takes the place of one.
        let mut encoder = Encoder::for_prompt(codec);
        let packets = (0..Self::LENGTH_MS.div_ceil(ptime.ms().into())).map(|packet| {
            let pcm: Vec<i16> = (packet * per_packet..(packet + 1) * per_packet).map(sample).collect();
            let mut payload = vec![0; pcm.len() * 2];
            let octets = encoder.encode(&pcm, &mut payload);
            payload.truncate(octets);
            payload
        });
        Self { codec, ptime, packets: packets.collect(), next: 0 }
    }
}
