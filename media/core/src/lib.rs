//! Sans-IO media: RTP, RTCP, codecs, SDP, digits, prompts and the legs that join them.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod codec;
mod digit;
pub mod g711;
mod leg;
mod program;
pub mod rtp;
pub mod sdp;
mod units;

pub use codec::Codec;
pub use digit::{Digit, DigitSet, Digits};
pub use leg::{Leg, LegConfig, MediaStats, NtpClock};
pub use program::{Collect, CollectEnd, MediaEvent, Play, PlayEnd, Program, Prompt};
pub use sdp::{Direction, LocalMedia, Negotiated, SdpError, TelephoneEvent};
pub use units::{LegId, MediaTime, Ptime, SeqNo, Ssrc};
