//! What a leg tells of itself: RTCP to the peer, the totals and the quality to its owner.

use std::net::SocketAddr;
use std::time::Instant;

use super::session::{Shield, shield};
use super::{Leg, Stage};
use crate::MediaStats;
use crate::ear::EarStats;
use crate::quality::Path;
use crate::reception::Totals;
use crate::sdp::Negotiated;

impl Leg {
    /// Writes an RTCP compound packet into `out` (at least [`Leg::MAX_PACKET`] long) when one is due, and returns its
    /// length. After [`Leg::finish`], once, the goodbye. Call it after every tick.
    pub fn poll_rtcp(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        self.rtcp_remote()?;
        if self.awaits_keys() {
            return None;
        }
        let session = self.session()?;
        let (clock, is_secure) = (session.clock(), session.is_secure());
        let has_reported = session.schedule.has_begun();
        let bye = match &mut self.stage {
            Stage::Live(session) => {
                if !session.schedule.poll(now) {
                    return None;
                }
                false
            }
            Stage::Leaving(_) => {
                self.stage = Stage::Finished;
                // RFC 3550, 6.3.7: "A participant which never sent an RTP or RTCP packet MUST NOT send a BYE packet".
                if self.sender.packets == 0 && !has_reported {
                    return None;
                }
                true
            }
            Stage::Idle | Stage::Finished => return None,
        };
        let info = self.sender.info(now, self.config.clock.ntp(now), clock);
        let len = self.reports.write(now, &self.config, info, &mut self.reception, bye, out)?;
        match shield(is_secure, &mut self.srtp) {
            Shield::None => Some(len),
            Shield::Awaited => None,
            Shield::Srtp(srtp) => srtp.protector.protect_rtcp(out, len),
        }
    }

    /// Where RTCP goes, over the RTP socket if [`Negotiated::rtcp_mux`]; `None` if RTCP is off.
    pub fn rtcp_remote(&self) -> Option<SocketAddr> {
        let session = self.session()?;
        match session.rtcp {
            Some(peer) => Some(peer.addr()),
            None => session.agreed.rtcp.and(self.rtp_remote()),
        }
    }

    /// How many packets of the hundred the peer is expected to lose, by its reports: for [`crate::Encoder::expect_loss`].
    pub fn expected_loss(&self) -> u8 {
        self.reports.expected_loss()
    }

    /// The totals so far.
    pub fn stats(&self) -> MediaStats {
        let received = self.reception.totals();
        let remote = self.reports.remote();
        let ear = match &self.ear {
            Some(ear) => Some(ear.stats().after(self.ears_before)),
            None => self.ears_before,
        };
        let (mos, remote_mos) = self.quality(&received, ear);
        MediaStats {
            packets_sent: self.sender.packets,
            octets_sent: self.sender.octets,
            packets_received: received.received,
            octets_received: self.octets_received,
            packets_lost: received.lost,
            packets_duplicated: received.duplicated,
            packets_reordered: received.reordered,
            packets_invalid: self.packets_invalid,
            packets_unknown: self.packets_unknown,
            packets_stranger: self.packets_stranger,
            packets_unauthentic: self.packets_unauthentic,
            packets_replayed: self.packets_replayed,
            jitter_ms: received.jitter_ms,
            remote_packets_lost: remote.map(|remote| remote.lost),
            remote_jitter_ms: remote.map(|remote| remote.jitter_ms),
            rtt_ms: self.reports.rtt_ms(),
            mos,
            remote_mos,
            ear,
            events_dropped: self.events.dropped,
        }
    }

    /// How well the peer is heard, and how well it hears, by the E-model.
    fn quality(&self, received: &Totals, ear: Option<EarStats>) -> (Option<f32>, Option<f32>) {
        let Some(session) = self.session() else { return (None, None) };
        let Negotiated { codec, ptime, .. } = session.agreed;
        let packet_ms = f32::from(ptime.ms());
        let network_ms = self.reports.rtt_ms().unwrap_or_default() / 2.0;
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f32 / whole as f32 };
        // Without an ear of our own the listener's is not known; it will wait for about twice the jitter.
        let buffer = |jitter_ms: f32| 2.0 * jitter_ms;
        let heard = (received.received > self.packets_unknown).then(|| {
            let missed = received.lost + ear.map_or(0, |ear| u64::from(ear.late) + u64::from(ear.discarded));
            let expected = received.received + received.lost;
            let burst = if received.gaps == 0 { 1.0 } else { received.lost as f32 / received.gaps as f32 };
            let loss = share(missed.min(expected), expected);
            Path {
                codec,
                delay_ms: packet_ms
                    + network_ms
                    + ear.map_or(buffer(received.jitter_ms), |ear| ear.mean_delay_ms as f32),
                loss,
                // G.107, 3.5: by how much longer the bursts are than those of random loss would be.
                burst_ratio: (burst * (1.0 - loss)).max(1.0),
            }
            .mos()
        });
        let hears = self.reports.remote().map(|remote| {
            let loss = share(u64::from(remote.lost).min(self.sender.packets), self.sender.packets);
            let delay_ms = packet_ms + network_ms + buffer(remote.jitter_ms);
            Path { codec, delay_ms, loss, burst_ratio: 1.0 }.mos()
        });
        (heard, hears)
    }
}
