//! Counters: written by one shard each, read by anybody without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A counter with one writer: a plain load and store, no bus lock.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
            pub(crate) lateness: LatenessCounters,
        }

        /// What one shard, or all of them together, have done so far.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct ShardStats {
            $($(#[doc = $doc])* pub $name: u64,)*
            /// How late packets were handed to the kernel, against the wheel's time.
            pub lateness: Lateness,
        }

        impl Counters {
            pub(crate) fn read(&self) -> ShardStats {
                ShardStats { $($name: self.$name.get(),)* lateness: self.lateness.read() }
            }
        }

        impl ShardStats {
            /// Every counter with its name and what it counts.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),*).trim_ascii(), self.$name),)*].into_iter()
            }

            /// Adds another shard's numbers.
            pub fn add(&mut self, other: &ShardStats) {
                $(self.$name += other.$name;)*
                self.lateness.add(&other.lateness);
            }
        }
    };
}

counters! {
    /// Legs with open ports now.
    legs,
    /// What a turn of each leg and bridge that has its turn costs together, in nanoseconds by the figures of [`crate::cost`].
    turn_ns,
    /// Legs that have come from another media thread, to be bridged.
    legs_moved,
    /// Times that a leg in a bridge had nothing to do of its own any more, so that it has its turn only now and then.
    legs_rested,
    /// RTP packets sent on from one leg to another as they came.
    rtp_packets_relayed,
    /// RTP packets sent that a bridge has decoded, mixed and encoded.
    rtp_packets_mixed,
    /// RTP packets sent.
    rtp_packets_sent,
    /// Octets of RTP sent, headers of RTP included.
    rtp_octets_sent,
    /// RTCP packets sent.
    rtcp_packets_sent,
    /// Datagrams received on RTP ports.
    rtp_packets_received,
    /// Octets received on RTP ports.
    rtp_octets_received,
    /// Datagrams received on RTCP ports.
    rtcp_packets_received,
    /// Checks of ICE answered.
    checks_answered,
    /// Datagrams of handshakes sent.
    handshakes_sent,
    /// Datagrams of handshakes received and handed on.
    handshakes_received,
    /// Datagrams of handshakes for which there was no room: the peer sends them again.
    handshakes_dropped,
    /// Datagrams from another address than the peer's, summed up when a leg closes. Once the peer is heard
    /// the kernel drops them uncounted.
    strangers,
    /// Datagrams that were no RTP or RTCP of their session, summed up when a leg closes.
    invalid,
    /// SRTP packets that were forged or altered, or in the clear, summed up when a leg closes.
    unauthentic,
    /// SRTP packets that had been received before, summed up when a leg closes.
    replayed,
    /// Datagrams that came before their leg was started.
    early,
    /// Sends refused because the socket's buffer was full: the packet is lost.
    send_would_block,
    /// Sends that met "connection refused": the peer's port was closed when an earlier packet arrived. The
    /// packet is sent again at once.
    send_refused,
    /// Sends without a route to the peer: the packet is lost.
    send_unreachable,
    /// Sends without memory in the kernel: the packet is lost.
    send_no_buffer,
    /// Sends that failed otherwise: the packet is lost.
    send_other,
    /// Receives that failed (a closed port at the peer, mostly).
    receive_errors,
    /// Ticks begun 1 ms or more after their time.
    late_ticks,
    /// Times that catching up was interrupted to receive.
    catch_up_interrupted,
    /// Milliseconds by which the wheel was stopped, having been later than can be caught up with.
    skipped_ms,
    /// Wakes in which more sockets were ready than are served in one go.
    receive_budget_exceeded,
    /// Events that the sink had no room for at first.
    events_deferred,
    /// Commands for legs that were not in a state for them.
    commands_ignored,
    /// Legs closed because handling them panicked.
    panics,
    /// Sockets that could not be marked, watched or connected.
    socket_errors,
}

/// Upper bounds of the buckets of [`Lateness`] in microseconds; one bucket more has none. Fine around the
/// width of a slot, where the targets lie.
pub const LATENESS_BOUNDS_US: [u64; 18] = [
    10, 20, 50, 100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 7_500, 10_000, 20_000, 50_000,
    100_000,
];

const BUCKETS: usize = LATENESS_BOUNDS_US.len() + 1;

#[derive(Debug, Default)]
pub(crate) struct LatenessCounters {
    counts: [Counter; BUCKETS],
    sum_us: Counter,
    max_us: Counter,
}

impl LatenessCounters {
    pub(crate) fn record(&self, lateness: Duration, packets: u64) {
        let us = lateness.as_micros() as u64;
        self.counts[LATENESS_BOUNDS_US.partition_point(|bound| *bound < us)].add(packets);
        self.sum_us.add(us.saturating_mul(packets));
        if us > self.max_us.get() {
            self.max_us.set(us);
        }
    }

    fn read(&self) -> Lateness {
        Lateness {
            counts: std::array::from_fn(|bucket| self.counts[bucket].get()),
            sum_us: self.sum_us.get(),
            max_us: self.max_us.get(),
        }
    }
}

/// A histogram over the buckets of [`LATENESS_BOUNDS_US`], one entry per RTP packet sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lateness {
    /// Packets per bucket.
    pub counts: [u64; BUCKETS],
    /// Sum of all in microseconds.
    pub sum_us: u64,
    /// The largest in microseconds.
    pub max_us: u64,
}

impl Lateness {
    /// All packets.
    pub fn packets(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bound in microseconds below which the share `q` (0 to 1) of the packets lies; never above the
    /// largest.
    pub fn quantile_us(&self, q: f64) -> u64 {
        let wanted = (self.packets() as f64 * q).ceil() as u64;
        let mut seen = 0;
        for (count, bound) in self.counts.iter().zip(LATENESS_BOUNDS_US) {
            seen += count;
            if seen >= wanted {
                return bound.min(self.max_us);
            }
        }
        self.max_us
    }

    fn add(&mut self, other: &Lateness) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum_us += other.sum_us;
        self.max_us = self.max_us.max(other.max_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_bucket_bounds() {
        let counters = LatenessCounters::default();
        assert_eq!(counters.read().quantile_us(0.99), 0);
        counters.record(Duration::from_micros(7), 900);
        counters.record(Duration::from_micros(50), 90);
        counters.record(Duration::from_micros(51), 9);
        counters.record(Duration::from_micros(123_456), 1);
        let lateness = counters.read();
        assert_eq!(lateness.packets(), 1_000);
        for (q, us) in [(0.5, 10), (0.9, 10), (0.901, 50), (0.99, 50), (0.999, 100), (1.0, 123_456)] {
            assert_eq!(lateness.quantile_us(q), us, "{q}");
        }
        let mut sum = lateness.clone();
        sum.add(&lateness);
        assert_eq!((sum.packets(), sum.quantile_us(0.999), sum.max_us), (2_000, 100, 123_456));
    }
}
