//! Reads any bytes as a SIP message, and answers what can be answered.
//!
//! `make fuzz`, or `cargo fuzz run sip_message fuzz/corpus/sip_message sip/core/tests/data` with a nightly compiler.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use sip_core::{Framer, FramerLimits, Message, MessageBuilder, Reply};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let request = match Message::parse(bytes.clone()) {
        Ok(message) => {
            let _ = message.validate();
            message.contacts().for_each(drop);
            message.vias().for_each(drop);
            message.is_answerable().then_some(message)
        }
        Err(_) => Message::salvage(bytes),
    };
    if let Some(request) = request {
        let mut out = BytesMut::new();
        let answer = MessageBuilder::reply(&mut out, &request, Reply::new(400)).finish();
        assert!(Message::parse(answer).is_ok());
    }
    let mut framer = Framer::new(FramerLimits { head: 4096, body: 4096 });
    framer.push(data);
    while let Ok(Some(_)) = framer.next_frame() {}
});
