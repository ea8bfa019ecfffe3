//! Reads any bytes as an Identity header of an INVITE, as a certificate chain, and as trust anchors.
//!
//! `make fuzz`, or `cargo fuzz run identity` with a nightly compiler.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_stir::{Anchors, Chain, NoChain, Party, Request, Settings, Verifier};

fuzz_target!(|data: &[u8]| {
    let chain = Chain::read(data);
    let mut anchors = Anchors::default();
    let _ = anchors.add(data);
    let mut verifier = Verifier::new(Settings { anchors, ..Settings::default() });
    let Ok(value) = std::str::from_utf8(data) else { return };
    let caller = || Party::of_sip(Some("12155551212"), "a.example");
    let request = Request {
        identities: &[value],
        from: Some(caller()),
        asserted: None,
        to: Party::of_sip(Some(value), value),
        called: Party::of_sip(Some("12125551213"), "a.example"),
        call: "call",
    };
    if let Ok(pending) = verifier.read(1_443_208_345, &request) {
        let chain = chain.as_ref().map_err(|&error| NoChain::Unusable(error));
        assert!(verifier.finish(1_443_208_345, pending, chain).is_err(), "nobody can sign here");
    }
});
