//! The numbers of the stream that a leg sends, whoever its packets are made by.

use std::time::Instant;

use crate::bridge::{Clocks, Relay, RelayedKeys, Told};
use crate::rtcp::SenderInfo;
use crate::rtp::Header;
use crate::{MediaTime, SeqNo};

/// Our stream.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) seq: SeqNo,
    /// Of the next frame.
    pub(super) timestamp: MediaTime,
    /// When the last frame was due, and its timestamp.
    pub(super) last: Option<(Instant, MediaTime)>,
    pub(super) packets: u64,
    pub(super) octets: u64,
    /// Whether the frame before was not sent.
    pub(super) paused: bool,
    /// When the key that is being sent began.
    pub(super) key_began: MediaTime,
    /// Who sent last.
    pub(super) voice: Voice,
}

/// Whose packets a stream is made of. One stream has many voices one after the other; its numbers go on.
#[derive(Debug)]
pub(super) enum Voice {
    /// The leg's own: prompts and silence, one frame each packet time.
    Own,
    /// Another leg's.
    Relayed(Relay),
    /// A mixer's, and the keys among them.
    Mixed(RelayedKeys),
}

impl Sender {
    /// A stream of which nothing has been sent, and whose first packet has these numbers.
    pub(super) fn new(seq: SeqNo, timestamp: MediaTime) -> Self {
        Self {
            seq,
            timestamp,
            last: None,
            packets: 0,
            octets: 0,
            paused: true,
            key_began: timestamp,
            voice: Voice::Own,
        }
    }

    /// The numbers under which the packet with `header` of another leg goes out.
    pub(super) fn relay(&mut self, now: Instant, header: &Header, clock: u32) -> Option<(SeqNo, MediaTime)> {
        if let Voice::Relayed(relay) = &mut self.voice
            && relay.continues(header)
        {
            return relay.stamp(header);
        }
        self.catch_up(now, clock);
        self.paused = true;
        self.voice = Voice::Relayed(Relay::new(header, self.seq, self.timestamp));
        Some((self.seq, self.timestamp))
    }

    /// The packet with `header` of another leg stays out.
    pub(super) fn leave_out(&mut self, header: &Header) {
        match &mut self.voice {
            Voice::Relayed(relay) if relay.continues(header) => relay.leave_out(header),
            Voice::Relayed(_) | Voice::Own | Voice::Mixed(_) => {}
        }
    }

    /// Our time and duration of a packet of another leg's event in a stream that is mixed; `None` if it is not sent.
    pub(super) fn relay_key(
        &mut self,
        now: Instant,
        header: &Header,
        told: Told,
        clocks: Clocks,
        clock: u32,
    ) -> Option<(MediaTime, u16)> {
        if !matches!(self.voice, Voice::Mixed(_)) {
            self.speaks(now, clock, Voice::Mixed(RelayedKeys::default()));
        }
        let present = self.timestamp_at(now, clock);
        let Voice::Mixed(keys) = &mut self.voice else { return None };
        keys.stamp(header, told, clocks, present, clock)
    }

    /// Whose packets come from now on. If that is another's than before, the stream goes on at the present time.
    pub(super) fn speaks(&mut self, now: Instant, clock: u32, voice: Voice) {
        if let (Voice::Own, Voice::Own) = (&self.voice, &voice) {
            return;
        }
        self.catch_up(now, clock);
        self.paused = true;
        self.voice = voice;
    }

    /// Lets the timestamp go on by the time in which nothing was sent (RFC 3550, 5.1: it reflects the sampling instant).
    fn catch_up(&mut self, now: Instant, clock: u32) {
        let present = self.timestamp_at(now, clock);
        if present.distance_from(self.timestamp) > 0 {
            self.timestamp = present;
        }
    }

    pub(super) fn count(&mut self, octets: usize) {
        self.packets += 1;
        self.octets += octets as u64;
    }

    /// What a sender report says at `now`, which is `ntp`.
    pub(super) fn info(&self, now: Instant, ntp: u64, clock: u32) -> SenderInfo {
        // RFC 3550, 6.4.1: the RTP timestamp of the same instant as the NTP timestamp, so between frames.
        let timestamp = self.timestamp_at(now, clock);
        SenderInfo { ntp, timestamp, packets: self.packets as u32, octets: self.octets as u32 }
    }

    fn timestamp_at(&self, now: Instant, clock: u32) -> MediaTime {
        self.last.map_or(self.timestamp, |(at, timestamp)| {
            let elapsed = now.saturating_duration_since(at).as_nanos() * u128::from(clock) / 1_000_000_000;
            timestamp.plus(elapsed as u32)
        })
    }
}
