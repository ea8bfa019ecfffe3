//! Reads any bytes as a session description (the offer of a call that comes in, the answer to ours) and as what may come
//! to its ports, G.722 among it.
//!
//! `make fuzz`, or `cargo fuzz run media` with a nightly compiler.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media_core::rtp::Packet;
use media_core::sdp::{LocalMedia, accept_answer, answer, offer_again};
use media_core::{Codec, Direction, Encoded, Ptime, rtcp};

fuzz_target!(|data: &[u8]| {
    let local = LocalMedia {
        addr: ([192, 0, 2, 1], 4000).into(),
        codecs: Codec::ALL.to_vec(),
        ptime: Ptime::DEFAULT,
        telephone_event: true,
        rtcp_mux: true,
        srtp: None,
        direction: Direction::SendRecv,
        session_id: 1,
        session_version: 1,
    };
    if let Ok((answer, _)) = answer(data, &local) {
        assert!(offer_again(&local, &answer).is_ok(), "what we have written we can read");
    }
    let _ = accept_answer(&local, data);
    let _ = Packet::parse(data);
    let _ = rtcp::parse(data).map(|packets| packets.for_each(drop));
    let _ = Encoded::new(Codec::G722, data).decode();
});
