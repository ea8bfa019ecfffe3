//! Calls that are signed, and calls whose signatures are verified.

use std::sync::{Arc, LazyLock};

use control_api_types::{Attestation, HangupReason, RedirectTo, Stir, TrunkAttest, Verify, Verstat};
use engine_core::{
    EngineConfig, Input, Refusal, Route, RouteAction, RouteMatch, Signing, StirConfig, TrunkConfig,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use sip_stir::{
    Anchors, Chain, ChainError, Claims, NoChain, Number, Party, Request, Settings, Signer, Verifier,
};

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::{BACKUP, CARRIER, ENGINE, World, trunk, trunk_over};

const X5U: &str = "https://cert.example.org/c.pem";
/// What the clock of a new world shows, in Unix seconds.
const NOW: u64 = 1_800_000_000;
const GOOD: Script = &[(100, Ring), (500, Answer(Good)), (1_500, Hangup)];

struct Keys {
    signer: Arc<Signer>,
    chain: Arc<Chain>,
    anchors: Anchors,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut anchors = Anchors::default();
    anchors.add(root.self_signed(&root_key).unwrap().pem().as_bytes()).unwrap();
    let issuer = Issuer::new(root, root_key);
    let leaf = CertificateParams::default().signed_by(&key, &issuer).unwrap();
    Keys {
        signer: Arc::new(Signer::new(key.serialize_pem().as_bytes(), X5U).unwrap()),
        chain: Arc::new(Chain::read(leaf.pem().as_bytes()).unwrap()),
        anchors,
    }
});

fn settings() -> Settings {
    Settings { anchors: KEYS.anchors.clone(), ..Settings::default() }
}

// Outbound.

fn signing(attest: Attestation) -> StirConfig {
    let signing = Signing { signer: Arc::clone(&KEYS.signer), attest };
    StirConfig { signing: Some(signing), ..StirConfig::default() }
}

fn signing_world(configure: impl FnOnce(&mut EngineConfig)) -> World {
    let mut world = World::with(|config| {
        config.stir = signing(Attestation::Partial);
        configure(config);
    });
    world.carrier.customer("6281100", GOOD);
    world
}

/// Calls, and verifies what the carrier got: who calls whom, and the attestation.
#[track_caller]
fn check_signed(world: &mut World, id: &str, body: serde_json::Value, expected: Option<(&str, &str)>) {
    let before = world.carrier.identities.len();
    world.originate(id, body).unwrap();
    world.run();
    let told = world.carrier.identities.get(before).map(|value| {
        let number = |text| Party::Number(Number::canonical(text).unwrap());
        let request = Request {
            identities: &[value],
            from: Some(number("+62211")),
            asserted: None,
            to: number("6281100"),
            called: number("6281100"),
            call: id,
        };
        let mut verifier = Verifier::new(settings());
        let pending = verifier.read(NOW, &request).unwrap();
        let verified = verifier.finish(NOW, pending, Ok(&KEYS.chain)).unwrap();
        (verified.attest.as_str().to_owned(), verified.origid)
    });
    let told = told.as_ref().map(|(attest, origid)| (attest.as_str(), origid.as_str()));
    assert_eq!(told, expected, "{id}");
    assert!(world.cdr(id).answered_at.is_some(), "{id}");
}

#[test]
fn calls_are_signed_by_trunk_and_by_call() {
    let call = |extra: serde_json::Value| {
        let mut body = json!({"to": "+6281100", "from": "+62211", "trunk": "jkt"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    // The number that is signed is the one that was asked for, not how the trunk wants it written.
    let world = || {
        signing_world(|config| {
            config.trunks[0].number_format.strip = "+".into();
            for (name, attest) in [("off", TrunkAttest::Off), ("gateway", TrunkAttest::Gateway)] {
                let number_format = config.trunks[0].number_format.clone();
                config.trunks.push(TrunkConfig {
                    number_format,
                    attest: Some(attest),
                    ..trunk(name, CARRIER)
                });
            }
        })
    };
    let (jkt, gateway) = (sip_stir::origid(&["n1", "jkt"]), sip_stir::origid(&["n1", "gateway"]));
    for (id, extra, expected) in [
        ("a", json!({}), Some(("B", jkt.as_str()))),
        ("b", json!({"attest": "A"}), Some(("A", jkt.as_str()))),
        ("c", json!({"trunk": "gateway"}), Some(("C", gateway.as_str()))),
        ("d", json!({"trunk": "off"}), None),
    ] {
        check_signed(&mut world(), id, call(extra), expected);
    }
    let mut world = world();
    let refused = world.originate("e", call(json!({"trunk": "off", "attest": "A"}))).unwrap_err();
    let Refusal::Validation(faults) = refused else { panic!("{refused:?}") };
    assert_eq!(
        (faults[0].pointer.as_str(), &*faults[0].detail),
        ("/attest", "calls through this trunk are not signed")
    );
    // A new configuration without a key.
    world.engine.set_stir(StirConfig::default());
    check_signed(&mut world, "f", call(json!({})), None);
    let refused = world.originate("g", call(json!({"attest": "A"}))).unwrap_err();
    assert!(matches!(refused, Refusal::Validation(faults) if faults[0].pointer == "/attest"));
}

#[test]
fn a_host_that_a_redirection_chose_is_not_shown_who_is_withheld() {
    let mut world = signing_world(|config| {
        config.trunks[0].caller_ids = vec!["+62211".into()];
        config.trunks[0].redirect_to = RedirectTo::Anywhere;
    });
    world.carrier.customer("6281101", &[(50, Redirect("<sip:6281100@192.0.2.3:5060>"))]);
    world.backup.customer("6281100", GOOD);
    world.originate("a", json!({"to": "6281101", "from": "anonymous", "trunk": "jkt"})).unwrap();
    world.run();
    assert!(world.cdr("a").answered_at.is_some());
    assert_eq!((world.carrier.identities.len(), world.backup.identities.len()), (1, 0));
    let told = world.backup.requests[0].as_bytes();
    assert!(!String::from_utf8_lossy(told).contains("62211"), "{}", String::from_utf8_lossy(told));
}

#[test]
fn every_gateway_gets_a_token_of_its_own() {
    let mut world = signing_world(|config| config.trunks.push(trunk_over("two", &[CARRIER, BACKUP])));
    world.carrier.customer("1", &[(50, Reject(503))]);
    world.backup.customer("1", GOOD);
    world.originate("a", json!({"to": "1", "from": "2", "trunk": "two"})).unwrap();
    world.run();
    assert_eq!(world.cdr("a").attempts, 2);
    let (first, second) = (&world.carrier.identities[0], &world.backup.identities[0]);
    assert_ne!(first, second, "a token is believed in one call only");
}

// Inbound.

fn verifying_world(verify: Verify) -> World {
    let mut world = World::with(|config| {
        config.stir = StirConfig { verify, settings: settings(), ..StirConfig::default() };
        config.routes = vec![
            Route {
                matches: RouteMatch { called: Some("2*".into()), ..RouteMatch::default() },
                action: RouteAction::Park,
            },
            Route { matches: RouteMatch::default(), action: RouteAction::Flow("menu".into()) },
        ];
    });
    world.put_flow("menu", json!({"start": "bye", "steps": {"bye": {"verb": "hangup"}}})).unwrap();
    world.carrier.caller = "+62811".into();
    world.certificates.insert(X5U.into(), Ok(Arc::clone(&KEYS.chain)));
    world
}

fn identity(iat: u64, orig: &str) -> String {
    let number = |text| Party::Number(Number::canonical(text).unwrap());
    let claims = Claims {
        attest: sip_stir::Attestation::Full,
        dest: vec![number("100")],
        iat,
        orig: number(orig),
        origid: "x".into(),
    };
    KEYS.signer.identity(&claims).unwrap()
}

/// Calls the engine; how it came out, and what the CDR says about the caller.
fn receive(world: &mut World, identity: Option<String>) -> (u16, Option<Stir>) {
    world.carrier.headers = identity.map(|value| ("Identity".to_owned(), value)).into_iter().collect();
    let session = world.carrier.call(world.now, ENGINE.parse().unwrap(), "100", None, &[]);
    world.run_for(100);
    world.run();
    assert_eq!((world.carrier.live(), world.media.open_ports(), world.engine.load().live), (0, 0, 0));
    let ended =
        world.stories.values().filter_map(|story| story.ended.clone()).max_by_key(|call| call.created_at);
    (world.carrier.outcomes[&session], ended.and_then(|call| call.stir))
}

#[test]
fn a_call_shows_who_it_is_from() {
    let mut world = verifying_world(Verify::Permissive);
    let (status, stir) = receive(&mut world, Some(identity(NOW, "62811")));
    let expected = Stir {
        verstat: Verstat::Passed,
        attest: Some(Attestation::Full),
        orig: Some("62811".into()),
        x5u: Some(X5U.into()),
        reason: None,
    };
    assert_eq!((status, stir), (200, Some(expected)));
    let id = world.stories.keys().next().unwrap().to_string();
    world.check(
        &id,
        "initiated\nringing 180\nanswered PCMU\nstep bye hangup\nended completed answered by engine 200",
    );
}

#[test]
fn what_does_not_pass_is_told_or_refused() {
    let missing = "the INVITE has no Identity header of type shaken";
    let forged = "the PASSporT's orig is not the caller";
    let stale = "the PASSporT's iat is not within the freshness window";
    let unavailable = "the certificate could not be fetched";
    let unusable = "the certificate cannot be read";
    let good = || Some(identity(NOW, "62811"));
    for (value, certificate, status, verstat, reason) in [
        (None, None, 428, Verstat::None, missing),
        (Some(identity(NOW, "62812")), None, 438, Verstat::Failed, forged),
        (Some(identity(NOW - 100, "62811")), None, 403, Verstat::Failed, stale),
        (good(), Some(NoChain::Unavailable), 436, Verstat::None, unavailable),
        (good(), Some(NoChain::Unusable(ChainError::Malformed)), 437, Verstat::Failed, unusable),
    ] {
        for verify in [Verify::Permissive, Verify::Strict] {
            let mut world = verifying_world(verify);
            world
                .certificates
                .insert(X5U.into(), certificate.map_or_else(|| Ok(Arc::clone(&KEYS.chain)), Err));
            let (outcome, stir) = receive(&mut world, value.clone());
            let stir = stir.unwrap();
            assert_eq!((stir.verstat, stir.reason.as_deref()), (verstat, Some(reason)));
            let is_strict = verify == Verify::Strict;
            assert_eq!(outcome, if is_strict { status } else { 200 }, "{reason}");
            if is_strict {
                let id = world.stories.keys().next().unwrap().to_string();
                world.check(&id, &format!("initiated\nended failed blocked by engine {status}"));
                let refusal = &world.refusals[0];
                assert!(refusal.contains(&format!("\r\nReason: STIR;cause={status};text=")), "{refusal}");
            }
        }
    }
}

#[test]
fn a_trunk_has_the_last_word_and_without_a_trunk_nobody_signs() {
    let mut world = World::with(|config| {
        config.stir = StirConfig { verify: Verify::Strict, settings: settings(), ..StirConfig::default() };
        config.trunks[0].verify = Some(Verify::Off);
        config.routes = vec![Route { matches: RouteMatch::default(), action: RouteAction::Park }];
    });
    world.carrier.headers = vec![("Identity".into(), identity(NOW, "62811"))];
    for (carrier, address) in [("jkt", CARRIER), ("nobody's", BACKUP)] {
        let side = if address == CARRIER { &mut world.carrier } else { &mut world.backup };
        side.call(world.now, ENGINE.parse().unwrap(), "100", None, &[(1_000, Hangup)]);
        world.run_for(100);
        world.run();
        let call = world.stories.values().find_map(|story| story.ended.clone()).unwrap();
        assert_eq!((call.stir, world.fetches.len()), (None, 0), "{carrier}");
        world.stories.clear();
    }
}

#[test]
fn nobody_waits_for_another_calls_certificate() {
    let mut world = verifying_world(Verify::Strict);
    world.certificates.clear();
    world.carrier.headers = vec![("Identity".into(), identity(NOW, "62811"))];
    let engine = ENGINE.parse().unwrap();
    let waits = world.carrier.call(world.now, engine, "100", None, &[]);
    let gives_up = world.carrier.call(world.now, engine, "100", None, &[(3_000, Hangup)]);
    world.run_for(100);
    assert_eq!(world.fetches.len(), 2);
    let (first, second) = (world.fetches[0].0, world.fetches[1].0);
    let ids: Vec<_> = world.stories.keys().cloned().collect();
    for id in &ids {
        let now = world.now;
        assert!(
            matches!(world.engine.answer(now, id), Err(Refusal::WrongState { .. })),
            "it is not known who calls"
        );
    }
    world.certificates.insert(X5U.into(), Ok(Arc::clone(&KEYS.chain)));
    world.carrier.headers = vec![("Identity".into(), identity(NOW + 1, "62811"))];
    let served = world.carrier.call(world.now, engine, "100", None, &[]);
    world.run_for(5_000);
    assert_eq!(world.carrier.outcomes.get(&served), Some(&200));
    // The one who gave up is gone; the certificate comes too late for the call, and in time for the other.
    for leg in [second, first] {
        let result = Ok(Arc::clone(&KEYS.chain));
        world.engine.handle_input(world.now, Input::Certificate { leg, result });
    }
    world.run();
    assert_eq!(world.carrier.outcomes.get(&waits), Some(&200));
    assert_eq!(world.carrier.outcomes.get(&gives_up), None);
    let mut ends: Vec<_> =
        ids.iter().map(|id| world.cdr(id.as_str())).map(|cdr| (cdr.sip_status, cdr.stir.is_some())).collect();
    ends.sort();
    assert_eq!(ends, [(Some(200), true), (Some(487), false)]);
}

#[test]
fn a_certificate_that_never_comes_does_not_keep_a_call_for_ever() {
    let mut world = verifying_world(Verify::Strict);
    world.certificates.clear();
    let (status, _) = receive(&mut world, Some(identity(NOW, "62811")));
    assert_eq!(status, 480);
    world.certificates.clear();
    world.carrier.headers = vec![("Identity".into(), identity(NOW + 220, "62811"))];
    world.carrier.call(world.now, ENGINE.parse().unwrap(), "100", None, &[]);
    world.run_for(100);
    let id = world.engine.calls().next().unwrap().id.clone();
    let now = world.now;
    world.engine.hangup(now, &id, HangupReason::Rejected).unwrap();
    world.run();
    world.check(id.as_str(), "ended canceled canceled by api 603");
}
