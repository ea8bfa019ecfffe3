//! One leg: everything between a call's program and its packets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::sdp::Negotiated;
use crate::{MediaEvent, MediaTime, Program, SeqNo, Ssrc};

/// Maps the caller's [`Instant`]s to NTP time for RTCP sender reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NtpClock {
    at: Instant,
    ntp: u64,
}

impl NtpClock {
    /// Seconds from the NTP epoch (1900) to the Unix epoch (1970).
    const UNIX_EPOCH: u64 = 2_208_988_800;

    /// A clock that reads `unix_ms` milliseconds since 1970 at `at`.
    pub fn from_unix_ms(at: Instant, unix_ms: u64) -> Self {
        let seconds = unix_ms / 1000 + Self::UNIX_EPOCH;
        Self { at, ntp: (seconds << 32) | (unix_ms % 1000 << 32) / 1000 }
    }

    /// The 64-bit NTP timestamp (32.32 fixed point) of `now`; instants before `at` read as `at`.
    pub fn ntp(self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.at);
        let fraction = (u64::from(elapsed.subsec_nanos()) << 32) / 1_000_000_000;
        self.ntp.wrapping_add((elapsed.as_secs() << 32) | fraction)
    }
}

/// What a leg is made of. The random members must come from a CSPRNG in production (RFC 3550, 5.1 and 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegConfig {
    /// Our synchronisation source, random.
    pub ssrc: Ssrc,
    /// Sequence number of the first packet, random.
    pub first_seq: SeqNo,
    /// Timestamp of the first packet, random.
    pub first_timestamp: MediaTime,
    /// RTCP canonical name, at most 255 octets are sent (RFC 3550, 6.5.1).
    pub cname: Arc<str>,
    /// Wall clock for RTCP.
    pub clock: NtpClock,
    /// Seeds the randomness of the RTCP interval (RFC 3550, 6.3.1).
    pub rtcp_seed: u64,
}

/// Totals of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MediaStats {
    /// RTP packets sent.
    pub packets_sent: u64,
    /// Payload octets sent.
    pub octets_sent: u64,
    /// Valid RTP packets received from the peer.
    pub packets_received: u64,
    /// Payload octets received.
    pub octets_received: u64,
    /// Packets expected and never received.
    pub packets_lost: u64,
    /// Packets received more than once.
    pub packets_duplicated: u64,
    /// Packets received after a later one.
    pub packets_reordered: u64,
    /// Datagrams that were no RTP or RTCP of this session, or carried a payload type nobody agreed on.
    pub packets_invalid: u64,
    /// Datagrams from other addresses than the peer's.
    pub packets_stranger: u64,
    /// Interarrival jitter of what we receive (RFC 3550, 6.4.1).
    pub jitter_ms: f32,
    /// Loss that the peer reported of what we send, in percent, from its last report.
    pub remote_loss_percent: Option<f32>,
    /// Jitter that the peer reported of what we send.
    pub remote_jitter_ms: Option<f32>,
    /// Last round trip, from the peer's reports.
    pub rtt_ms: Option<f32>,
    /// Digit events lost because nobody took the events out.
    pub events_dropped: u32,
}

/// One leg of a call: sends a program's audio, receives digits, keeps the statistics.
#[derive(Debug)]
pub struct Leg {
    config: LegConfig,
    negotiated: Option<Negotiated>,
}

impl Leg {
    /// A buffer this long holds any packet a leg writes.
    pub const MAX_PACKET: usize = 512;

    /// A leg that neither sends nor receives before [`Leg::start`].
    pub fn new(config: LegConfig) -> Self {
        Self { config, negotiated: None }
    }

    /// Starts media, or changes it after a further offer and answer.
    pub fn start(&mut self, _now: Instant, negotiated: &Negotiated) {
        self.negotiated = Some(negotiated.clone());
    }

    /// Runs `program`; what ran before ends as stopped.
    pub fn run(&mut self, _now: Instant, _program: Program) {}

    /// Stops the prompt that plays, if any; a collect goes on as if the prompt had ended.
    pub fn stop_play(&mut self, _now: Instant) {}

    /// Once per packet time: writes the next RTP packet and returns its length; `None` when nothing is to be sent.
    pub fn tick(&mut self, _now: Instant, _out: &mut [u8]) -> Option<usize> {
        None
    }

    /// Takes a datagram from the RTP socket (RTP, or RTCP if multiplexed).
    pub fn receive_rtp(&mut self, _now: Instant, _from: SocketAddr, _packet: &[u8]) {}

    /// Takes a datagram from the RTCP socket.
    pub fn receive_rtcp(&mut self, _now: Instant, _from: SocketAddr, _packet: &[u8]) {}

    /// Writes an RTCP compound packet when one is due and returns its length; after [`Leg::finish`], once, the BYE.
    pub fn poll_rtcp(&mut self, _now: Instant, _out: &mut [u8]) -> Option<usize> {
        None
    }

    /// The next event, in order, until `None`.
    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        None
    }

    /// Where RTP goes: the signalled address, and from the first packet on the port the peer sends from.
    pub fn rtp_remote(&self) -> Option<SocketAddr> {
        self.negotiated.as_ref().map(|negotiated| negotiated.remote)
    }

    /// Where RTCP goes; over the RTP socket if [`Negotiated::rtcp_mux`].
    pub fn rtcp_remote(&self) -> Option<SocketAddr> {
        self.negotiated.as_ref().and_then(|negotiated| negotiated.rtcp)
    }

    /// The totals so far.
    pub fn stats(&self) -> MediaStats {
        MediaStats::default()
    }

    /// Ends the leg: what runs ends as hung up; the events and one BYE can still be polled.
    pub fn finish(&mut self, _now: Instant) -> MediaStats {
        let _ = &self.config;
        self.stats()
    }
}
