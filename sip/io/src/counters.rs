//! What the transports did and what they dropped.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// A snapshot of the transports' counters since the start.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Counts {
            /// Every counter with its name and what it counts.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),*).trim_ascii(), self.$name),)*].into_iter()
            }
        }

        /// The live counters, shared by the tasks of the transports.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Counts {
                Counts { $($name: self.$name.0.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Messages that arrived and could be parsed.
    received,
    /// Datagrams or frames that are no SIP message.
    malformed,
    /// Arrivals dropped because the queue for new work was full.
    dropped_new_work,
    /// Other arrivals and reports dropped because their queue was full.
    dropped_rest,
    /// Datagrams and connections of networks that are denied.
    refused_denied,
    /// Datagrams and connections of sources that are banned for their offences.
    refused_banned,
    /// Messages with a scanner's signature.
    refused_scanner,
    /// Messages above the rate of their source, or of all unknown sources.
    refused_rate,
    /// Messages that claim to belong to a call of ours and show nothing of it.
    refused_stray,
    /// Messages of unknown sources that are not valid SIP.
    refused_rubbish,
    /// Requests of unknown sources that nothing here is meant for.
    refused_stranger,
    /// Requests for new work while what waits is too old.
    refused_overload,
    /// Refused messages that were answered.
    refusals_answered,
    /// Connections refused because their source, or all unknown ones, has too many.
    refused_source_connections,
    /// Messages handed to the kernel.
    sent,
    /// Messages dropped because the kernel and the queue before it were full, or the kernel refused them.
    dropped_sends,
    /// Connections accepted or opened.
    connections,
    /// Connections refused or not opened because there were too many.
    refused_connections,
    /// TLS and WebSocket handshakes that failed or took too long, both ways.
    failed_handshakes,
    /// Connections closed because the peer stopped answering our pings.
    dead_connections,
    /// Connections closed because their bytes could not be divided into messages.
    broken_streams,
    /// Connections closed because the peer was silent for too long.
    idle_closed,
    /// Records looked up (answers from the cache do not count).
    lookups,
    /// Of them, those that no name server answered in time, or could not answer.
    failed_lookups,
    /// Records used beyond their time because no name server could be asked.
    stale_answers,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Relaxed);
    }
}
