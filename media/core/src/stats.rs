//! The totals of a leg.

use crate::EarStats;

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
    /// Datagrams from the peer that were neither RTP nor RTCP.
    pub packets_invalid: u64,
    /// RTP packets received of payload types that were not agreed on: nobody hears them.
    pub packets_unknown: u64,
    /// Datagrams from other addresses than the peer's.
    pub packets_stranger: u64,
    /// SRTP packets that were not made with the agreed key, or altered on the way, or not SRTP at all.
    pub packets_unauthentic: u64,
    /// SRTP packets received before, or too old to know.
    pub packets_replayed: u64,
    /// Interarrival jitter of what we receive (RFC 3550, 6.4.1).
    pub jitter_ms: f32,
    /// Packets of ours that the peer has lost, by its last report.
    pub remote_packets_lost: Option<u32>,
    /// Jitter of what we send, by the peer's last report.
    pub remote_jitter_ms: Option<f32>,
    /// Last round trip, from the peer's reports.
    pub rtt_ms: Option<f32>,
    /// How well the peer is heard, 1.0 to 4.5 (E-model, see [`crate::Path`]); `None` when nothing came that could be heard.
    pub mos: Option<f32>,
    /// How well the peer hears us, likewise, by its reports.
    pub remote_mos: Option<f32>,
    /// What the ear has gone through, if the leg ever had one.
    pub ear: Option<EarStats>,
    /// Events lost because nobody took them out.
    pub events_dropped: u32,
}
