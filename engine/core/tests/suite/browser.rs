//! Endpoints that are browsers: what they are offered, and what becomes of their calls.

use control_api_types::{EndpointMedia, Srtp};
use engine_core::{Account, Input, MediaInput, Route, RouteAction, RouteMatch};
use media_core::ice::Credentials;
use media_core::sdp::{DtlsRole, Fingerprint, LocalDtls, LocalSrtp};
use media_core::srtp::Suite;
use media_core::{Direction, LegId};
use serde_json::json;

use crate::carrier::{Act::*, Answer, Change, Script};
use crate::endpoints::{DESK, SOFT, at, world as endpoints};
use crate::world::{ENGINE, World};

const THEIRS: Fingerprint = Fingerprint([0xB0; 32]);

fn browser() -> LocalSrtp {
    let ice = Credentials::generate(|octets| octets.fill(7));
    // Browsers begin the handshake.
    LocalSrtp::Dtls(LocalDtls { ice, fingerprint: THEIRS, role: Some(DtlsRole::Active) })
}

/// A world in which alice's media is so, and whose first phone is a browser.
fn world(media: EndpointMedia, phones: &[(&str, Script)]) -> World {
    let mut world = endpoints(phones);
    let account = Account { media: Some(media), ..Account::new("alice", "carillon", "secret") };
    world.engine.put_account(world.now, account).unwrap();
    world.phones[0].srtp = Some(browser());
    world
}

fn happens(world: &mut World, input: MediaInput) {
    world.engine.handle_input(world.now, Input::Media { leg: LegId(1), input });
    world.run_for(100);
}

const ANSWERS: Script = &[(100, Answer(Answer::Good))];

#[test]
fn a_browser_is_offered_a_handshake_and_a_hold_keeps_it() {
    let held: Script = &[
        (100, Answer(Answer::Good)),
        (1_000, Offer(Change::Direction(Direction::SendOnly))),
        (2_000, Offer(Change::Direction(Direction::SendRecv))),
    ];
    let mut world = world(EndpointMedia::Webrtc, &[(DESK, held)]);
    at(&mut world, &[(DESK, "")]);
    world.originate("c", json!({"to": "endpoint:alice", "from": "100"})).unwrap();
    world.run_for(500);
    let first = world.media.webrtc(1).unwrap();
    assert_eq!((first.role, first.fingerprint), (DtlsRole::Passive, THEIRS));
    assert_eq!(world.engine.call(&world.id("c")).unwrap().srtp, None, "not yet");
    happens(&mut world, MediaInput::Secured(Suite::AeadAes128Gcm));
    let id = world.id("c");
    world.engine.hold(world.now, &id, true).unwrap();
    world.run_for(2_000);
    assert_eq!(world.media.webrtc(1), Some(first), "neither ICE nor the handshake begins anew");
    let call = world.engine.call(&id).unwrap();
    assert_eq!(call.srtp.as_deref(), Some("AEAD_AES_128_GCM"));
}

#[test]
fn a_browser_without_keys_is_hung_up_and_the_call_says_why() {
    let mut world = world(EndpointMedia::Webrtc, &[(DESK, ANSWERS)]);
    at(&mut world, &[(DESK, "")]);
    world.originate("c", json!({"to": "endpoint:alice", "from": "100"})).unwrap();
    world.run_for(500);
    happens(&mut world, MediaInput::Unsecured { why: "another certificate".into() });
    world.run();
    let cdr = world.cdr("c");
    assert_eq!(cdr.sip_reason.as_deref(), Some("another certificate"));
    assert_eq!(world.phones[0].byes, 1);
}

#[test]
fn who_is_no_browser_by_its_settings_is_not_offered_a_handshake() {
    let mut world = world(EndpointMedia::Rtp, &[(SOFT, ANSWERS)]);
    world.phones[0].srtp = None;
    at(&mut world, &[(SOFT, "")]);
    world.originate("c", json!({"to": "endpoint:alice", "from": "100"})).unwrap();
    world.run_for(500);
    assert!(world.media.webrtc(1).is_none());
    let offer = String::from_utf8_lossy(world.phones[0].requests[0].body()).into_owned();
    assert!(offer.contains(" RTP/AVP ") && !offer.contains("fingerprint"), "{offer}");
}

#[test]
fn a_trunk_that_offers_a_handshake_is_refused_at_once_wherever_it_calls() {
    let mut world = World::with(|config| {
        config.trunks.iter_mut().for_each(|trunk| trunk.srtp = Srtp::Optional);
        let matches = RouteMatch { called: Some("200".into()), ..RouteMatch::default() };
        config.routes = vec![Route { matches, action: RouteAction::Park }];
    });
    world.carrier.srtp = Some(browser());
    let session = world.carrier.call(world.now, ENGINE.parse().unwrap(), "200", None, &[(60_000, Hangup)]);
    world.run_for(500);
    assert_eq!(world.carrier.outcomes[&session], 488);
    world.run();
}
