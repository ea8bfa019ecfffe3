//! The media threads: they own every leg's sockets and send and receive its packets in time.
//!
//! [`Media`] is the handle of one owner (the task that owns the calls). [`Media::open`] binds a leg's ports,
//! [`Media::command`] tells it what to do, the sink given to [`Media::start`] hears what happened. Per leg
//! that is a handful of messages for a whole call: a [`Program`] is carried out by the
//! leg itself, and no message per packet ever crosses a thread.
//!
//! **Threads.** `shards` pinned threads named `media-0`, `media-1`, … without any async runtime. Each owns
//! its legs, an epoll instance and a wheel of 1 ms slots. A leg stays in the slot that had the least to do ([`cost`]) when it
//! started, its next packet is due one packet time after the last was *due*, and a thread without legs sleeps
//! until it is told something. A leg that only passes on what another hears has a turn now and then (for RTCP, and for a
//! peer that falls silent). A new leg goes to the thread that has the least to do.
//!
//! **Bounds.** Commands wait in a ring per shard whose last places are kept for [`Command::Close`], one per
//! leg, so a hang-up always gets through; everything else is refused with [`Error::Busy`] when it is full. A
//! sink that has no room says so, and the shard keeps the event and tries again; a leg's own queue is
//! bounded, and digits beyond it are counted as lost. Catching up and receiving have budgets, and exceeding
//! one is counted.
//!
//! **Bridges.** [`Media::bridge`] joins legs. They share a thread: a leg is one value with its sockets, and moves. Where a
//! leg hears one other in the same codec, it sends what comes from that one as it comes, with its own numbers. Otherwise the
//! bridge has a place in the wheel: once a period it pulls what everybody says, mixes, and sends to each what he hears.
//!
//! **Handshakes.** Checks of ICE are answered where they come in. What belongs to a DTLS handshake goes, from whom ICE has found,
//! over a bounded ring to whoever takes it out ([`Media::parcels`]), and what that has to say comes back as commands.
//!
//! **Faults.** Errors of sockets are counted ([`ShardStats`]), not logged and not fatal. A panic while one
//! leg is handled (the sink's included) closes that leg only: it is reported as [`LegEvent::Closed`] without
//! having been asked to.
//!
//! **Not here:** choosing the local address, prompts from files, DTLS. Linux 5.11 or newer is
//! needed.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod bridge;
mod bridges;
pub mod cost;
mod crossing;
mod handshake;
mod line;
mod media;
mod ports;
pub mod record;
mod shard;
mod socket;
mod stats;
mod thread;
mod wheel;

use std::sync::Arc;

use media_core::classify::Parameters;
use media_core::dtmf::Dial;
use media_core::record::{Tape, Track};
use media_core::{
    Digit, Ear, Keys, LegConfig, LegId, MediaEvent, MediaStats, Member, Negotiated, Program, srtp,
};

pub use handshake::{Parcels, Wake};
pub use media::{Error, Media, MediaConfig, Observer, Stats};
pub use stats::{LATENESS_BOUNDS_US, Lateness, ShardStats};
pub use thread::Scheduling;

/// What an owner tells a leg.
#[derive(Debug)]
pub enum Command {
    /// Media begins, or changes after a further offer and answer (then `config` is ignored, and numbering
    /// goes on).
    Start {
        /// What the leg is made of.
        config: LegConfig,
        /// What was agreed with the peer.
        negotiated: Negotiated,
    },
    /// Runs a program in place of the one that runs. Only after [`Command::Start`].
    Run(Program),
    /// Stops the prompt.
    StopPlay,
    /// Forgets the keys that no collect has taken.
    ForgetKeys,
    /// A key that the peer pressed, as signalling tells.
    Press {
        /// Which.
        digit: Digit,
        /// How long.
        duration_ms: u16,
    },
    /// Sends keys in the media. Only after [`Command::Start`].
    Dial(Dial),
    /// Sends a datagram of a DTLS handshake to the peer.
    Handshake(Box<[u8]>),
    /// The handshake is over: these are the keys.
    Secure(Box<srtp::Keys>),
    /// What the peer says is decoded from now on, for whoever listens. Made by the owner, so that the shard does not allocate.
    Listen(Box<Ear>),
    /// Nobody listens any more.
    Deafen,
    /// Finds out from now on who answers, before the answer: then only tones and announcements are told. Only after
    /// [`Command::Start`]. One under way is replaced.
    Classify(Parameters),
    /// The call is answered, for the one that is classified.
    Answered,
    /// Records what is heard and sent from now on; a recording on the same track ends. Only after [`Command::Start`]: of a
    /// leg that has none the recording is over at once.
    Record {
        /// Which of its recordings.
        track: Track,
        /// Where it goes: see [`record::Recorders::record`].
        tape: Box<dyn Tape>,
        /// Whether a tone tells the peer that it begins.
        beep: bool,
    },
    /// Leaves out of a recording what comes from now on (`true`), or takes it in again.
    PauseRecording(Track, bool),
    /// Ends a recording.
    StopRecording(Track),
    /// Ends the leg: its sockets are closed, the last events come, then [`LegEvent::Closed`].
    Close,
}

/// What an owner wants a bridge to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeConfig {
    /// The legs, at most [`media_core::MemberSet::CAPACITY`], and who hears whom.
    pub members: Vec<Member>,
    /// What becomes of the keys that they press.
    pub keys: Keys,
}

/// What a leg tells its owner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LegEvent {
    /// Something happened in the media.
    Media(MediaEvent),
    /// The leg is over; nothing follows. Its ports are used again after a rest.
    Closed(MediaStats),
}

/// Takes an event, or says `false` when there is no room now.
type Sink = Arc<dyn Fn(LegId, LegEvent) -> bool + Send + Sync>;
