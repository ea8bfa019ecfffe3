//! The RTCP side of a leg: reports given and taken.

use std::time::{Duration, Instant};

use crate::reception::Reception;
use crate::rtcp::{self, Compound, Packet, ReportBlock, SenderInfo};
use crate::{LegConfig, Ssrc};

#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// The last sender report: whose, its NTP middle, and when it came.
    heard: Option<(Ssrc, u32, Instant)>,
    /// Packets sent when the last but one and the last of our reports went out.
    sent: [u32; 2],
    round_trip: Option<Duration>,
    remote: Option<Remote>,
    expected_loss: ExpectedLoss,
}

/// What the peer will lose, by what it has lost: in 1/256.
#[derive(Debug, Default, Clone, Copy)]
struct ExpectedLoss(u8);

/// What the peer said last of our stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remote {
    pub(crate) lost: u32,
    pub(crate) jitter_ms: f32,
}

impl Reports {
    /// Writes our report.
    pub(crate) fn write(
        &mut self,
        now: Instant,
        config: &LegConfig,
        sender: SenderInfo,
        reception: &mut Reception,
        bye: bool,
        out: &mut [u8],
    ) -> Option<usize> {
        // RFC 3550, 6.4: an SR "if a site has sent any data packets during the interval since issuing the last report or
        // the previous one", else an RR.
        let [before_last, last] = self.sent;
        self.sent = [last, sender.packets];
        let sender = (sender.packets != before_last).then_some(sender);
        let report = reception.report().map(|block| match self.heard {
            Some((ssrc, lsr, at)) if ssrc == block.ssrc => {
                let delay = now.saturating_duration_since(at).as_nanos() * 65_536 / 1_000_000_000;
                ReportBlock { lsr, dlsr: u32::try_from(delay).unwrap_or(u32::MAX), ..block }
            }
            Some(_) | None => block,
        });
        Compound { ssrc: config.ssrc, sender, report, cname: &config.cname, bye }.write(out)
    }

    /// Takes the peer's compound; `false` if it is none. `clock` is the rate of our stream's timestamps.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        config: &LegConfig,
        clock: u32,
        datagram: &[u8],
        reception: &mut Reception,
    ) -> bool {
        let Some(packets) = rtcp::parse(datagram) else { return false };
        for packet in packets {
            match packet {
                Packet::Report { ssrc, sender, blocks } => {
                    if let Some(sender) = sender {
                        self.heard = Some((ssrc, rtcp::middle(sender.ntp), now));
                    }
                    for block in blocks.filter(|block| block.ssrc == config.ssrc) {
                        self.round_trip = rtcp::round_trip(config.clock.ntp(now), &block).or(self.round_trip);
                        self.expected_loss.report(block.fraction_lost);
                        self.remote = Some(Remote {
                            lost: block.cumulative_lost.max(0).unsigned_abs(),
                            jitter_ms: block.jitter as f32 * 1000.0 / clock as f32,
                        });
                    }
                }
                // The call goes on: it ends in signalling, and peers change sources.
                Packet::Bye { ssrc } => {
                    reception.leave(ssrc);
                    self.heard = self.heard.filter(|(heard, ..)| *heard != ssrc);
                }
                // A name is of no use between two.
                Packet::Cname { .. } => {}
            }
        }
        true
    }

    pub(crate) fn rtt_ms(&self) -> Option<f32> {
        self.round_trip.map(|rtt| rtt.as_secs_f32() * 1000.0)
    }

    pub(crate) fn remote(&self) -> Option<Remote> {
        self.remote
    }

    /// How many packets of the hundred the peer will lose.
    pub(crate) fn expected_loss(&self) -> u8 {
        self.expected_loss.percent()
    }
}

impl ExpectedLoss {
    /// Protection takes its bits from the sound: what is worth it at a loss of 20 % is not worth more at a higher one.
    const MOST: u8 = 20;

    /// Losses come in bursts and reports every few seconds: what was lost in one is expected at once, and half as much after
    /// each that says less.
    fn report(&mut self, fraction_lost: u8) {
        self.0 = fraction_lost.max(self.0 / 2);
    }

    fn percent(self) -> u8 {
        let percent = u32::from(self.0) * 100 / 256;
        u8::try_from(percent).unwrap_or(Self::MOST).min(Self::MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protection_comes_at_once_goes_slowly_and_has_a_limit() {
        let mut expected = ExpectedLoss::default();
        let mut after = |fraction_lost| {
            expected.report(fraction_lost);
            expected.percent()
        };
        // A packet of the thousand is no reason.
        assert_eq!([0, 1, 13].map(&mut after), [0, 0, 5]);
        assert_eq!([0, 0, 0, 0].map(&mut after), [2, 1, 0, 0]);
        assert_eq!([255, 26, 0, 0].map(&mut after), [20, 20, 20, 12]);
    }
}
