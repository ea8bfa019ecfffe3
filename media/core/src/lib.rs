//! Sans-IO media: RTP, RTCP, codecs, SDP, digits, prompts and the legs that join them.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod codec;
mod config;
mod digit;
mod events;
pub mod g711;
mod gather;
mod leg;
mod peer;
mod player;
mod program;
mod reception;
mod reports;
pub mod rtcp;
pub mod rtp;
mod runner;
pub mod sdp;
mod stats;
mod telephone_event;
mod units;

pub use codec::Codec;
pub use config::{LegConfig, NtpClock};
pub use digit::{Digit, DigitSet, Digits};
pub use leg::Leg;
pub use program::{Collect, CollectEnd, MediaEvent, Play, PlayEnd, Program, Prompt};
pub use sdp::{Direction, LocalMedia, Negotiated, SdpError, TelephoneEvent};
pub use stats::MediaStats;
pub use units::{LegId, MediaTime, Ptime, SeqNo, Ssrc};

/// Where the virtual clock of a unit test starts.
#[cfg(test)]
fn epoch() -> std::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; nothing reads it again")]
    std::time::Instant::now()
}
