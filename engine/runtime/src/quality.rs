//! How the media of ended calls were, for the metrics.

use control_api_types::MediaSummary;

/// Shares of packets lost: what nobody hears, what concealment hides, and what is a bad call.
const LOSS: [f64; 7] = [0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2];
/// Seconds of jitter, up to what no buffer bears.
const JITTER: [f64; 7] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1];
/// Seconds of round trip: twice what G.114 says of one way is among them.
const ROUND_TRIP: [f64; 8] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8];
/// Opinion scores; 4.41 is the best that G.107 knows.
const MOS: [f64; 9] = [1.5, 2.0, 2.5, 3.0, 3.5, 3.8, 4.0, 4.2, 4.4];

/// Distributions over the calls that have ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quality {
    loss: Distribution<8>,
    jitter: Distribution<8>,
    round_trip: Distribution<9>,
    mos: Distribution<10>,
    remote_mos: Distribution<10>,
}

/// How often values fell below each bound.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Distribution<const BUCKETS: usize> {
    bounds: &'static [f64],
    /// The last is of what lies above every bound.
    counts: [u64; BUCKETS],
    sum: f64,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            loss: Distribution::new(&LOSS),
            jitter: Distribution::new(&JITTER),
            round_trip: Distribution::new(&ROUND_TRIP),
            mos: Distribution::new(&MOS),
            remote_mos: Distribution::new(&MOS),
        }
    }
}

/// A distribution as a metric shows it.
#[derive(Debug)]
pub(crate) struct Histogram {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    /// A bound, and how many lie below it.
    pub(crate) buckets: Vec<(f64, u64)>,
    pub(crate) sum: f64,
}

impl Quality {
    /// A call has ended. What it knows nothing of it is not counted in.
    pub(crate) fn record(&mut self, media: &MediaSummary) {
        if media.packets_received > 0 {
            let expected = media.packets_received + media.packets_lost;
            self.loss.record(media.packets_lost as f64 / expected as f64);
            self.jitter.record(f64::from(media.jitter_ms) / 1e3);
            self.mos.record(media.mos.into());
        }
        if let Some(rtt_ms) = media.rtt_ms {
            self.round_trip.record(f64::from(rtt_ms) / 1e3);
        }
        if let Some(mos) = media.remote_mos {
            self.remote_mos.record(mos.into());
        }
    }

    /// Each distribution, to be shown.
    pub(crate) fn named(&self) -> [Histogram; 5] {
        [
            self.loss.named("loss_ratio", "Share of the RTP packets of a call that did not arrive."),
            self.jitter.named("jitter_seconds", "Interarrival jitter at the end of a call."),
            self.round_trip.named("round_trip_seconds", "Round trip of a call by RTCP."),
            self.mos.named("mos", "Estimated opinion score (E-model) of what was received in a call."),
            self.remote_mos
                .named("remote_mos", "Estimated opinion score (E-model) at the far side of a call."),
        ]
    }
}

impl<const BUCKETS: usize> Distribution<BUCKETS> {
    fn new<const BOUNDS: usize>(bounds: &'static [f64; BOUNDS]) -> Self {
        const { assert!(BOUNDS + 1 == BUCKETS) };
        Self { bounds, counts: [0; BUCKETS], sum: 0.0 }
    }

    fn record(&mut self, value: f64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum += value;
    }

    fn named(&self, name: &'static str, help: &'static str) -> Histogram {
        let mut below = 0;
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets = bounds
            .zip(self.counts)
            .map(|(bound, count)| {
                below += count;
                (bound, below)
            })
            .collect();
        Histogram { name, help, buckets, sum: self.sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_fall_into_their_buckets_and_unknowns_into_none() {
        let mut quality = Quality::default();
        let silent = MediaSummary {
            packets_sent: 100,
            packets_received: 0,
            packets_lost: 0,
            jitter_ms: 0.0,
            rtt_ms: None,
            mos: 1.0,
            packets_late: None,
            concealed_ms: None,
            buffer_ms: None,
            remote_packets_lost: None,
            remote_jitter_ms: None,
            remote_mos: None,
        };
        quality.record(&silent);
        assert_eq!(quality, Quality::default());
        quality.record(&MediaSummary {
            packets_received: 99,
            packets_lost: 1,
            mos: 4.3,
            rtt_ms: Some(40.0),
            ..silent
        });
        let [loss, jitter, round_trip, mos, remote] = quality.named();
        assert_eq!(
            loss.buckets,
            [(0.001, 0), (0.003, 0), (0.01, 1), (0.02, 1), (0.05, 1), (0.1, 1), (0.2, 1), (f64::INFINITY, 1)]
        );
        assert_eq!((jitter.buckets[0].1, round_trip.buckets[1].1, round_trip.buckets[2].1), (1, 0, 1));
        assert_eq!((mos.buckets[7].1, mos.buckets[8].1, remote.buckets[9].1), (0, 1, 0));
        assert!((mos.sum - 4.3).abs() < 1e-6);
    }
}
