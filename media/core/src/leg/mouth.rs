//! The mouth of a leg: what it sends.

use std::ops::Range;
use std::time::Instant;

use super::sender::Voice;
use super::session::{Shield, shield};
use super::{Leg, Stage};
use crate::MediaEvent;
use crate::bridge::{Clocks, DURATION, Feed, Heard, Keys, RelayedKeys};
use crate::codec::g711;
use crate::dtmf::{Method, Turn};
use crate::rtp::{HEADER_LEN, Header};
use crate::sdp::{Encoding, Negotiated};

impl Leg {
    /// Whether the leg has something of its own to send, before whatever a bridge has.
    pub(super) fn speaks(&self) -> bool {
        self.dialler.is_some() || self.runner.is_playing() || self.taps.is_beeping()
    }

    /// Whether there is nothing to do each packet time: what the leg sends comes from a bridge, and nobody waits for
    /// what it hears. [`Leg::tick`] may be called less often then, for [`Leg::poll_rtcp`] and to notice a peer that falls
    /// silent, until the leg is told something or hears a key.
    pub fn rests(&self) -> bool {
        let bridged = match self.feed {
            Feed::Own => false,
            Feed::Relay { .. } | Feed::Mix { .. } => true,
        };
        let deaf = self.pulled || self.ear.is_none();
        let live = matches!(self.stage, Stage::Live(_));
        let waits = self.dialler.is_some() || self.taps.is_recording() || self.keys.is_down();
        live && bridged && deaf && !waits && self.runner.is_idle()
    }

    /// Once every packet time: writes the next RTP packet into `out` (at least [`Leg::MAX_PACKET`] long) and returns its
    /// length; `None` when the direction forbids sending, while the program goes on all the same, and when the packets come
    /// from a bridge. Also ends digits and collects whose time has run out.
    pub fn tick(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let Stage::Live(session) = &mut self.stage else { return None };
        let Negotiated { codec, ptime, direction, telephone_event, .. } = session.agreed;
        if let Some(lasted) = session.silence.poll(now, self.config.rtp_timeout) {
            let seconds = u32::try_from(lasted.as_secs()).unwrap_or(u32::MAX);
            self.events.push(MediaEvent::PeerSilent { seconds });
        }
        if let Some(lasted) = self.ice.as_mut().and_then(|agent| agent.is_lost(now)) {
            // RFC 7675: who checks no more is gone, whether or not it owes us packets.
            let seconds = u32::try_from(lasted.as_secs()).unwrap_or(u32::MAX);
            self.events.push(MediaEvent::PeerSilent { seconds });
        }
        if let Some(key) = self.keys.handle_timeout(now, ptime) {
            self.runner.key(now, key, Method::Events, &mut self.events);
        }
        if !self.keys.is_down() && self.taps.keys.as_ref().is_none_or(|tones| !tones.key_is_down()) {
            self.runner.handle_timeout(now, &mut self.events);
        }
        if self.ear.is_some() && !self.pulled {
            self.hear(now, ptime, &mut [0; Self::MAX_FRAME]);
        }
        if self.awaits_keys() {
            // Nothing could be heard of it yet: what plays waits.
            self.record_sent(now, Some(&[]));
            return None;
        }

        let frame_len = codec.octets_per_ms() * usize::from(ptime.ms());
        let (header, frame) = out.get_mut(..HEADER_LEN + frame_len)?.split_at_mut(HEADER_LEN);
        let dialling = self.dialler.as_mut().filter(|_| direction.sends());
        let mut turn = dialling.map(|dialler| dialler.turn(codec, ptime, telephone_event.as_ref(), frame));
        if let Some(Turn::Over(reason)) = turn {
            self.end_dialling(reason);
            turn = None;
        }
        // What plays waits for the keys.
        let played = match (&turn, &self.dialler) {
            (Some(_), _) => true,
            (None, Some(_)) => {
                codec.fill_silence(frame);
                true
            }
            (None, None) => {
                let played = self.runner.fill(now, codec, frame, &mut self.events);
                self.taps.beep(codec, ptime, frame) || played
            }
        };
        match self.feed {
            Feed::Own => {}
            Feed::Relay { .. } | Feed::Mix { .. } if played => {}
            Feed::Relay { .. } => {
                self.record_sent(now, None);
                return None;
            }
            Feed::Mix { .. } => return None,
        }
        let is_audio = !matches!(turn, Some(Turn::Event { .. }));
        self.record_sent(now, Some(if direction.sends() && is_audio { frame } else { &[] }));
        self.sender.speaks(now, codec.clock_rate(), Voice::Own);
        let audio = self.frame(now)?;
        let (fields, octets) = match (turn, telephone_event) {
            // RFC 4733, 2.2.1 and 2.2.2: all packets of an event carry the time of its beginning, the first the marker bit.
            // It is kept and not reckoned back to: between the packets there may be a hold, or another clock.
            (Some(Turn::Event { len, begins, past_units }), Some(event)) => {
                if begins {
                    self.sender.key_began = audio.timestamp;
                }
                let timestamp = self.sender.key_began.plus(past_units);
                (Header { marker: begins, pt: event.pt_send, timestamp, ..audio }, len)
            }
            (Some(_) | None, _) => (audio, frame_len),
        };
        header.copy_from_slice(&fields.to_bytes());
        self.seal(out, octets)
    }

    /// When a mixer has a packet for the leg: writes it into `out` (at least [`Leg::MAX_PACKET`] long) with what `encode`
    /// writes as its payload, and returns its length. `None` when a prompt plays or the direction forbids sending.
    pub fn speak(
        &mut self,
        now: Instant,
        out: &mut [u8],
        encode: impl FnOnce(&mut [u8]) -> usize,
    ) -> Option<usize> {
        let Stage::Live(session) = &self.stage else { return None };
        if !matches!(self.feed, Feed::Mix { .. }) || self.speaks() || self.awaits_keys() {
            return None;
        }
        let clock = session.clock();
        if !matches!(self.sender.voice, Voice::Mixed(_)) {
            self.sender.speaks(now, clock, Voice::Mixed(RelayedKeys::default()));
        }
        let (header, payload) = out.split_at_mut_checked(HEADER_LEN)?;
        let Some(fields) = self.frame(now) else {
            self.record_sent(now, Some(&[]));
            return None;
        };
        let octets = encode(payload);
        self.record_sent(now, payload.get(..octets));
        header.copy_from_slice(&fields.to_bytes());
        self.seal(out, octets)
    }

    /// Counts a packet with a payload of so many octets, and encrypts it where that was agreed; returns its length.
    fn seal(&mut self, out: &mut [u8], octets: usize) -> Option<usize> {
        let Stage::Live(session) = &self.stage else { return None };
        self.sender.count(octets);
        match shield(session.is_secure(), &mut self.srtp) {
            Shield::None => Some(HEADER_LEN + octets),
            Shield::Awaited => None,
            Shield::Srtp(srtp) => srtp.protector.protect_rtp(out, HEADER_LEN + octets),
        }
    }

    /// The header of the next frame, whose time is now; `None` when the direction forbids sending, and then its time passes
    /// all the same.
    fn frame(&mut self, now: Instant) -> Option<Header> {
        let Stage::Live(session) = &self.stage else { return None };
        let Negotiated { codec, ptime, direction, pt_send, .. } = session.agreed;
        let sender = &mut self.sender;
        let timestamp = sender.timestamp;
        sender.last = Some((now, timestamp));
        sender.timestamp = timestamp.plus(codec.units(ptime));
        if !direction.sends() {
            sender.paused = true;
            return None;
        }
        // RFC 3551, 4.1: "the first packet after a silence period during which packets have not been transmitted
        // contiguously, SHOULD be distinguished by setting the marker bit". Our silence is transmitted.
        let marker = std::mem::replace(&mut sender.paused, false);
        let seq = sender.seq;
        sender.seq = seq.next();
        Some(Header { marker, pt: pt_send, seq, timestamp, ssrc: self.config.ssrc })
    }

    /// Sends on what another leg has heard: writes our header before the payload in `datagram`, and returns the part of it
    /// that is our packet. As SRTP, in the other law of G.711, or as an event of another clock, it stands behind the payload,
    /// which may go to others too, so there must be room for it. `None` when it is not for our peer: a prompt plays, the
    /// direction forbids sending, our peer does not know the format or is not to have it, or it is too late.
    pub fn forward(&mut self, now: Instant, heard: &Heard, datagram: &mut [u8]) -> Option<Range<usize>> {
        let Stage::Live(session) = &self.stage else { return None };
        let (keys, mixed) = match self.feed {
            Feed::Relay { keys } => (keys, false),
            Feed::Mix { keys } => (keys, true),
            Feed::Own => return None,
        };
        let agreed = &session.agreed;
        let clock = session.clock();
        // As our peer knows the same, and under its number.
        let encoding = match heard.encoding {
            // What is mixed comes as sound.
            Some(Encoding::Audio(_) | Encoding::ComfortNoise) if mixed => None,
            // A stream has one clock; another is to have a source of its own (RFC 7160).
            Some(Encoding::Audio(codec)) if codec.clock_rate() != clock => None,
            // One law goes over into the other octet by octet.
            Some(Encoding::Audio(codec)) if session.number(Encoding::Audio(codec)).is_none() => {
                g711::other_law(codec).map(Encoding::Audio)
            }
            Some(Encoding::TelephoneEvent { .. }) if keys == Keys::Consumed => None,
            Some(Encoding::TelephoneEvent { .. }) => {
                agreed.telephone_event.map(|event| Encoding::TelephoneEvent { clock: event.clock })
            }
            encoding => encoding,
        };
        // The durations in an event's packets are in its clock.
        let key = match (heard.encoding, encoding) {
            (
                Some(Encoding::TelephoneEvent { clock: theirs }),
                Some(Encoding::TelephoneEvent { clock: ours }),
            ) => heard.told.map(|told| (told, Clocks { theirs, ours })),
            (_, _) => None,
        };
        let pt = encoding.and_then(|encoding| session.number(encoding));
        let pt = pt.filter(|_| agreed.direction.sends() && !self.speaks() && !self.awaits_keys());
        let sender = &mut self.sender;
        sender.paused |= !agreed.direction.sends();
        let Some(pt) = pt else {
            sender.leave_out(&heard.header);
            return None;
        };
        let begin = heard.payload.start.checked_sub(HEADER_LEN)?;
        let header = &heard.header;
        let (seq, timestamp, duration) = match (key, mixed) {
            (Some((told, clocks)), true) => {
                let (timestamp, duration) = sender.relay_key(now, header, told, clocks, clock)?;
                (sender.seq, timestamp, Some(duration))
            }
            (key, _) => {
                let (seq, timestamp) = sender.relay(now, header, clock)?;
                (seq, timestamp, key.map(|(told, clocks)| clocks.duration(told.duration)))
            }
        };
        let packet = datagram.get_mut(begin..heard.payload.end)?;
        let resumed = std::mem::replace(&mut sender.paused, false);
        let fields = Header { marker: header.marker || resumed, pt, seq, timestamp, ssrc: self.config.ssrc };
        packet.get_mut(..HEADER_LEN)?.copy_from_slice(&fields.to_bytes());
        let mut part = begin..heard.payload.end;
        if encoding != heard.encoding || session.is_secure() {
            let (before, behind) = datagram.split_at_mut_checked(part.end)?;
            let packet = &before[part.start..];
            let copy = behind.get_mut(..packet.len())?;
            copy.copy_from_slice(packet);
            if encoding != heard.encoding
                && let Some(Encoding::Audio(codec)) = encoding
            {
                g711::go_over(codec, &mut copy[HEADER_LEN..]);
            }
            if encoding != heard.encoding
                && let Some(duration) = duration
            {
                copy.get_mut(HEADER_LEN..)?.get_mut(DURATION)?.copy_from_slice(&duration.to_be_bytes());
            }
            part = part.end..part.end + part.len();
        }
        self.taps.relayed(now, encoding, &fields, &datagram[part.start + HEADER_LEN..part.end]);
        if seq.distance_from(sender.seq) >= 0 {
            sender.seq = seq.next();
        }
        if let (Some(Encoding::Audio(_)), true) = (heard.encoding, seq.next() == sender.seq) {
            sender.last = Some((now, timestamp));
            let end = timestamp.plus(agreed.codec.units(agreed.ptime));
            if end.distance_from(sender.timestamp) > 0 {
                sender.timestamp = end;
            }
        }
        sender.count(heard.payload.len());
        match shield(session.is_secure(), &mut self.srtp) {
            Shield::None => Some(part),
            Shield::Awaited => None,
            Shield::Srtp(srtp) => {
                let len = srtp.protector.protect_rtp(&mut datagram[part.start..], part.len())?;
                Some(part.start..part.start + len)
            }
        }
    }

    /// A packet time is over for the recordings: see [`Taps::sent`].
    pub(super) fn record_sent(&mut self, now: Instant, payload: Option<&[u8]>) {
        let Stage::Live(session) = &self.stage else { return };
        let Negotiated { codec, ptime, .. } = session.agreed;
        if self.taps.is_recording() {
            self.taps.sent(now, codec, ptime, payload);
            self.rest();
        }
    }
}
