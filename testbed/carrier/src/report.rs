//! What the carrier tells of its calls.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::reception::Heard;

/// One ended call, as the customer's side saw it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallReport {
    /// The SIP Call-ID.
    pub call_id: String,
    /// The user part called.
    pub called: String,
    /// The user part of From.
    pub caller: String,
    /// The host of From.
    pub caller_host: String,
    /// How it ended.
    pub outcome: Outcome,
    /// From the INVITE to the end.
    pub duration_ms: u64,
    /// From the ACK to the end; 0 when there was none.
    pub talk_ms: u64,
    /// RTP packets sent.
    pub sent: u64,
    /// Whether the keys of the customer could not be sent: the caller takes no RFC 4733 events.
    pub keys_unsent: bool,
    /// What was heard, when there was media.
    pub heard: Option<Heard>,
    /// Where that is recorded.
    pub recording: Option<PathBuf>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// We sent this final response.
    Refused(u16),
    /// The caller gave up before the answer.
    Cancelled,
    /// Answered; the caller hung up.
    CallerHungUp,
    /// Answered; the customer hung up.
    CustomerHungUp,
    /// Answered; the ACK or a response to our BYE never came, or the peer went away.
    Lost,
}

/// Everything counted since the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Calls going on.
    pub live: usize,
    /// Calls ended.
    pub ended: u64,
    /// INVITEs dropped for customers who give no response, retransmissions included.
    pub ignored: u64,
    /// INVITEs and REGISTERs answered by 401 or 407.
    pub challenged: u64,
    /// RTP datagrams received.
    pub rtp_received: u64,
    /// RTP packets lost, over all ended calls.
    pub rtp_lost: u64,
    /// RTP datagrams from addresses of no call; a few come from callers who have just hung up.
    pub rtp_strangers: u64,
    /// RTP datagrams sent.
    pub rtp_sent: u64,
    /// RTP datagrams that the kernel did not take.
    pub rtp_unsent: u64,
    /// Datagrams that the kernel dropped because our RTP socket was full.
    pub rtp_overflow: u64,
    /// RTCP datagrams received.
    pub rtcp_received: u64,
    /// How far the times between consecutive packets were from the packet time, over all calls.
    pub gap_deviation: Spread,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Values counted.
    pub count: u64,
    /// Half are at most this.
    pub p50_ms: f64,
    /// 99 % are at most this.
    pub p99_ms: f64,
    /// 99.9 % are at most this.
    pub p999_ms: f64,
    /// The highest.
    pub max_ms: f64,
}

/// Counts durations in steps of 0.1 ms up to 200 ms: finer than what scheduling does to a packet.
#[derive(Debug)]
pub(crate) struct Histogram {
    steps: Vec<u64>,
    count: u64,
    max: Duration,
}

const STEP: Duration = Duration::from_micros(100);
const STEPS: usize = 2000;

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { steps: vec![0; STEPS + 1], count: 0, max: Duration::ZERO }
    }

    pub(crate) fn count(&mut self, value: Duration) {
        let step = (value.as_micros() / STEP.as_micros()) as usize;
        self.steps[step.min(STEPS)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    pub(crate) fn spread(&self) -> Spread {
        let max_ms = self.max.as_secs_f64() * 1000.0;
        let at_most = |share: f64| {
            let wanted = (self.count as f64 * share).ceil() as u64;
            let mut seen = 0;
            let step = self.steps.iter().position(|&n| {
                seen += n;
                seen >= wanted
            });
            // The upper end of the step; what lies beyond the last one is known by the maximum only.
            step.filter(|&step| step < STEPS).map_or(max_ms, |step| ((step + 1) as f64 / 10.0).min(max_ms))
        };
        Spread {
            count: self.count,
            p50_ms: at_most(0.5),
            p99_ms: at_most(0.99),
            p999_ms: at_most(0.999),
            max_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_upper_ends_of_steps() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.spread(), Spread::default());
        for _ in 0..990 {
            histogram.count(Duration::from_micros(150));
        }
        for _ in 0..9 {
            histogram.count(Duration::from_micros(1234));
        }
        histogram.count(Duration::from_millis(500));
        let spread = histogram.spread();
        assert_eq!((spread.p50_ms, spread.p99_ms, spread.p999_ms), (0.2, 0.2, 1.3));
        assert_eq!((spread.count, spread.max_ms), (1000, 500.0));
    }
}
