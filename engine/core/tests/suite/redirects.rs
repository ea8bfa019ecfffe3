//! Redirections: where a call goes on, where it never does, and how often.

use control_api_types::{Identity, RedirectTo};
use engine_core::TrunkConfig;
use serde_json::json;
use sip_core::Name;

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::{BACKUP, CARRIER, World, trunk_over};

const GOOD: Script = &[(100, Ring), (500, Answer(Good)), (1_500, Hangup)];
const ANSWERED: &str = "initiated
    ringing 180
    answered PCMA
    ended completed answered by remote 200";
const REFUSED: &str = "initiated\nended failed incompatible by remote 302";

/// The trunk `two` with these settings; customer 1 of the carrier is redirected to these contacts.
fn world(contacts: &'static str, configure: impl FnOnce(&mut TrunkConfig)) -> World {
    let mut world = World::with(|config| {
        let mut trunk = trunk_over("two", &[CARRIER, BACKUP]);
        trunk.identity = Identity::Pai;
        configure(&mut trunk);
        config.trunks = vec![trunk];
    });
    world.carrier.customer("1", Box::leak(Box::new([(50, Redirect(contacts))])));
    world
}

#[track_caller]
fn check(world: &mut World, story: &str, attempts: u32) {
    world.originate("c1", json!({"to": "1", "trunk": "two"})).unwrap();
    world.run();
    world.check("c1", story);
    assert_eq!(world.cdr("c1").attempts, attempts);
    assert_eq!((world.carrier.live(), world.backup.live(), world.media.open_ports()), (0, 0, 0));
}

#[test]
fn a_redirected_call_goes_on_through_the_gateway_that_redirected_it() {
    let mut world = world("<sip:2@198.51.100.66>", |_| {});
    world.carrier.customer("2", GOOD);
    check(&mut world, ANSWERED, 2);
    let invite = &world.carrier.requests[1];
    assert_eq!(invite.request_uri_str(), "sip:2@198.51.100.66");
    assert_eq!(invite.header(Name::To), Some("<sip:1@192.0.2.2:5060>"), "RFC 3261 8.1.3.4: To stays");
    assert!(world.backup.requests.is_empty());
}

#[test]
fn the_best_contact_is_tried_first_and_the_next_when_it_fails() {
    let mut world = world("<sip:2@h>;q=0.1, <sip:3@h>;q=0.9, <tel:4>", |_| {});
    world.carrier.customer("2", GOOD);
    world.carrier.customer("3", &[(50, Ring), (500, Reject(486))]);
    check(&mut world, ANSWERED, 3);
    let users: Vec<_> =
        world.carrier.requests.iter().map(|request| request.request_uri_str().to_owned()).collect();
    assert_eq!(users[1..], ["sip:3@h", "sip:2@h"]);
}

#[test]
fn a_contact_that_rings_is_left_to_ring_and_a_silent_one_is_not_waited_for() {
    // Longer than a gateway may be silent.
    let mut world = world("<sip:2@h>;q=0.9, <sip:3@h>;q=0.1", |_| {});
    world.carrier.customer("2", &[(100, Ring), (6_000, Answer(Good)), (7_000, Hangup)]);
    world.carrier.customer("3", GOOD);
    check(&mut world, ANSWERED, 2);
    assert_eq!(world.cancels.len(), 0);

    let mut silent = self::world("<sip:2@192.0.2.66:5060>;q=0.9, <sip:3@h>;q=0.1", |trunk| {
        trunk.redirect_to = RedirectTo::Anywhere;
    });
    silent.backup.customer("3", GOOD);
    silent.carrier.customer("3", GOOD);
    silent.originate("c1", json!({"to": "1", "trunk": "two"})).unwrap();
    silent.run_for(3_900);
    assert_eq!(silent.carrier.requests.len(), 1);
    silent.run_for(200);
    assert_eq!(silent.strays.iter().filter(|sent| sent.payload.starts_with(b"INVITE sip:2@")).count(), 4);
    silent.run();
}

#[test]
fn a_contact_that_names_a_gateway_of_the_trunk_goes_there() {
    let mut world = world("<sip:2@192.0.2.3:5060>", |_| {});
    world.backup.customer("2", GOOD);
    check(&mut world, ANSWERED, 2);
    assert_eq!(world.cdr("c1").gateway.as_deref(), Some("sip:192.0.2.3:5060"));
}

#[test]
fn another_host_is_called_only_if_the_trunk_says_so_and_is_told_nothing() {
    let only_first = |trunk: &mut TrunkConfig| trunk.gateways.truncate(1);
    let mut anywhere = world("<sip:2@192.0.2.3:5060>", |trunk| {
        only_first(trunk);
        trunk.redirect_to = RedirectTo::Anywhere;
    });
    anywhere.backup.customer("2", GOOD);
    check(&mut anywhere, ANSWERED, 2);
    let identity = Name::parse("P-Asserted-Identity");
    assert!(anywhere.carrier.requests[0].header(identity).is_some());
    assert!(anywhere.backup.requests[0].header(identity).is_none());

    let mut trunk = world("<sip:2@192.0.2.3:5060>", only_first);
    trunk.backup.customer("2", GOOD);
    trunk.carrier.customer("2", &[(50, Reject(404))]);
    check(&mut trunk, "initiated\nended failed invalid-number by remote 404", 2);
    assert!(trunk.backup.requests.is_empty());
}

#[test]
fn a_number_that_may_not_be_dialled_may_not_be_redirected_to() {
    for (contact, user) in [
        ("<sip:900123@h>", "900123"),
        ("<sip:%39%30%30123@h>", "%39%30%30123"),
        ("<sip:9-00-123@h>", "9-00-123"),
        ("<sip:+900.123;npdi@h>", "+900.123;npdi"),
    ] {
        let mut world = world(contact, |trunk| trunk.number_format.deny = vec!["900*".into()]);
        world.carrier.customer(user, GOOD);
        check(&mut world, REFUSED, 1);
    }
}

#[test]
fn a_redirection_back_to_the_trunk_has_what_its_gateways_are_given() {
    let mut world = world("<sip:2@192.0.2.3:5060>", |trunk| {
        trunk.gateways.truncate(1);
        trunk.redirect_to = RedirectTo::Anywhere;
        trunk.headers = vec![("X-Account".into(), "secret".into())];
    });
    world.backup.customer("2", &[(50, Redirect("<sip:3@192.0.2.2:5060>"))]);
    world.carrier.customer("3", GOOD);
    check(&mut world, ANSWERED, 3);
    let identity = Name::parse("P-Asserted-Identity");
    let has = |request: &sip_core::Message| {
        (request.header(identity).is_some(), request.header(Name::parse("X-Account")).is_some())
    };
    assert_eq!(world.carrier.requests.iter().map(has).collect::<Vec<_>>(), [(true, true); 2]);
    assert_eq!(has(&world.backup.requests[0]), (false, false));
    assert_eq!(world.cdr("c1").gateway.as_deref(), Some("sip:192.0.2.2:5060"));
}

#[test]
fn loops_and_chains_end() {
    let mut looping = world("<sip:1@192.0.2.2:5060>", |_| {});
    check(&mut looping, REFUSED, 1);

    let mut chain = world("<sip:2@h>", |trunk| trunk.redirects = 3);
    for (number, contact) in [("2", "<sip:3@h>"), ("3", "<sip:4@h>"), ("4", "<sip:5@h>"), ("5", "<sip:6@h>")]
    {
        chain.carrier.customer(number, Box::leak(Box::new([(50, Redirect(contact))])));
    }
    check(&mut chain, REFUSED, 4);

    let mut none = world("<sip:2@h>", |trunk| trunk.redirects = 0);
    check(&mut none, REFUSED, 1);
}

#[test]
fn a_forwarding_that_comes_after_the_ring_is_followed() {
    let mut world = world("", |_| {});
    world.carrier.customer("1", &[(50, Ring), (2_000, Redirect("<sip:2@h>"))]);
    world.carrier.customer("2", &[(50, Answer(Good)), (500, Hangup)]);
    check(&mut world, ANSWERED, 2);
}
