//! Sans-IO media: everything between a call's SDP and program and the packets on the wire.
//!
//! A [`Leg`] is one plain value. The shell that owns its sockets calls [`Leg::tick`] once every packet time, hands in what
//! arrives, and after each call takes the events out; the leg plays, detects digits, gathers and reports by itself.
//! Nothing here reads a clock, opens a socket, draws randomness, or allocates for a packet.
//!
//! ```
//! # use std::{sync::Arc, time::{Duration, Instant}};
//! use media_core::{Codec, Direction, Leg, LegConfig, LocalMedia, MediaEvent, NtpClock, Play, Program, Prompt, Ptime, sdp};
//!
//! # fn main() -> Result<(), media_core::SdpError> {
//! # let mut now = Instant::now();
//! let local = LocalMedia {
//!     addr: ([192, 0, 2, 10], 40_000).into(),
//!     codecs: vec![Codec::Pcma, Codec::Pcmu],
//!     ptime: Ptime::DEFAULT,
//!     telephone_event: true,
//!     rtcp_mux: false,
//!     srtp: None,
//!     direction: Direction::SendRecv,
//!     session_id: 1,
//!     session_version: 1,
//! };
//! let _invite_body = sdp::offer(&local);
//! let ok_body = b"v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\n";
//! let negotiated = sdp::accept_answer(&local, ok_body)?;
//!
//! let mut leg = Leg::new(LegConfig {
//!     ssrc: media_core::Ssrc(0x1234_5678),
//!     first_seq: media_core::SeqNo(100),
//!     first_timestamp: media_core::MediaTime(0),
//!     cname: "a-random-name".into(),
//!     clock: NtpClock::from_unix_ms(now, 1_767_225_600_000),
//!     rtcp_seed: 7,
//!     rtp_timeout: Default::default(),
//! });
//! leg.start(now, &negotiated);
//! let prompt = Arc::new(Prompt::new(negotiated.codec, vec![0x2A; 8 * 50]));
//! leg.run(now, Program { play: Some(Play { id: 1, playlist: prompt.into(), plays: 1, offset_ms: 0, barge_in: true }), collect: None });
//!
//! let mut packet = [0; Leg::MAX_PACKET];
//! let mut events = Vec::new();
//! for _ in 0..4 {
//!     if let Some(len) = leg.tick(now, &mut packet) {
//!         assert_eq!(len, 12 + 160); // to `leg.rtp_remote()`, from the RTP socket
//!     }
//!     if let Some(_len) = leg.poll_rtcp(now, &mut packet) { /* to `leg.rtcp_remote()` */ }
//!     events.extend(std::iter::from_fn(|| leg.poll_event()));
//!     now += negotiated.ptime.duration();
//! }
//! let ended = MediaEvent::PlayEnded { id: 1, reason: media_core::PlayEnd::Completed, played_ms: 50 };
//! assert_eq!(events, [MediaEvent::PlayStarted { id: 1 }, ended]);
//! assert_eq!(leg.finish(now).packets_sent, 4);
//! # Ok(())
//! # }
//! ```
//!
//! What is received is only counted unless the leg has an [`Ear`]: then it is decoded, evenly and with its gaps concealed.
//!
//! What it does not do: the handshake of DTLS, checks of ICE of its own, more than one stream a leg. Coverage by RFC section is in the crate's README.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod bridge;
pub mod classify;
mod codec;
mod config;
mod digit;
pub mod dtmf;
mod ear;
mod events;
mod gather;
pub mod ice;
mod leg;
mod peer;
mod player;
mod program;
mod quality;
mod reception;
pub mod record;
mod reports;
mod resample;
pub mod rtcp;
pub mod rtp;
mod runner;
pub mod sdp;
mod silence;
pub mod srtp;
mod stats;
mod taps;
mod telephone_event;
pub mod tone;
mod units;

pub use bridge::{Feed, Heard, Keys, Member, MemberSet, Mixer, Stream};
pub use codec::{Codec, Decoder, Encoder, g711, g722};
pub use config::{LegConfig, NtpClock};
pub use digit::{Digit, DigitSet, Digits};
pub use ear::{Ear, EarConfig, EarStats};
pub use leg::Leg;
pub use program::{Collect, CollectEnd, Encoded, MediaEvent, Play, PlayEnd, Playlist, Program, Prompt};
pub use quality::Path;
pub use resample::Resampler;
pub use sdp::{AgreedFormat, Direction, LocalMedia, Negotiated, SdpError, TelephoneEvent};
pub use silence::RtpTimeout;
pub use stats::MediaStats;
pub use units::{BridgeId, LegId, MediaTime, Ptime, SeqNo, Ssrc};

/// Where the virtual clock of a unit test starts.
#[cfg(test)]
fn epoch() -> std::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; nothing reads it again")]
    std::time::Instant::now()
}
