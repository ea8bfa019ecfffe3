//! What legs and bridges cost their thread, about: by this they are spread over the slots of the wheel and over the threads.
//!
//! Nanoseconds for 20 ms, rounded from what `carillon-bench` measures; only their proportions matter. A leg is weighed again
//! at each of its turns, so what it is given or loses counts from there on.

use media_core::Codec;

/// A packet sent or received, the kernel's part included.
pub const PACKET: u32 = 2_500;

/// The turn of a leg that has nothing to do in it.
pub const REST: u32 = 100;

/// The jitter buffer of a leg that is listened to.
pub const EAR: u32 = 250;

/// A member's part in a conference: summing up what it hears.
pub const MIX: u32 = 300;

/// Decoding one packet.
pub const fn decode(codec: Codec) -> u32 {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::L16 => 100,
        Codec::G722 => 6_000,
        Codec::Opus => 10_000,
    }
}

/// Encoding one packet.
pub const fn encode(codec: Codec) -> u32 {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::L16 => 200,
        Codec::G722 => 8_000,
        Codec::Opus => 100_000,
    }
}
