//! Trunks with several gateways: what leads to the next one, what never does, and what the CDR says of it.

use std::time::Duration;

use serde_json::json;

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::{BACKUP, CARRIER, DEAD, World, trunk_over};

const ANSWERED: &str = "initiated
    ringing 180
    answered PCMA
    ended completed answered by remote 200";
const GOOD: Script = &[(100, Ring), (500, Answer(Good)), (1_500, Hangup)];

/// The trunk `two` over the carrier and its backup; customer 1 acts so at the one and so at the other.
fn two(first: Script, second: Script) -> World {
    over(&[CARRIER, BACKUP], first, second)
}

fn over(gateways: &[&str], first: Script, second: Script) -> World {
    let mut world = World::with(|config| config.trunks.push(trunk_over("two", gateways)));
    world.carrier.customer("1", first);
    world.backup.customer("1", second);
    world
}

fn call(world: &mut World) {
    world.originate("c1", json!({"to": "1", "trunk": "two"})).unwrap();
}

/// The story of the call, how many INVITEs it took, and the gateway that it ended at.
#[track_caller]
fn check(world: &World, story: &str, attempts: u32, gateway: &str) {
    world.check("c1", story);
    let cdr = world.cdr("c1");
    assert_eq!((cdr.attempts, cdr.gateway.as_deref()), (attempts, Some(&*format!("sip:{gateway}"))));
    assert_eq!((world.carrier.live(), world.backup.live(), world.media.open_ports()), (0, 0, 0));
}

#[test]
fn what_a_gateway_does_leads_to_the_next_one_and_the_customer_hears_one_call() {
    for status in [408, 430, 500, 502, 503, 504] {
        let script: Script = Box::leak(Box::new([(50, Reject(status))]));
        let mut world = two(script, GOOD);
        call(&mut world);
        world.run();
        check(&world, ANSWERED, 2, BACKUP);
        assert_eq!(world.cdr("c1").sip_reason, None, "nothing is left of the {status}");
        let call_id = world.cdr("c1").sip_call_id.clone();
        let sent: Vec<_> = world.backup.requests.iter().map(|request| request.call_id().unwrap()).collect();
        assert_eq!(sent, [call_id.unwrap().as_str()]);
    }
}

#[test]
fn what_the_customer_does_is_final() {
    let cases: [(Script, &str); 6] = [
        (&[(50, Reject(486))], "busy busy by remote 486"),
        (&[(50, Reject(404))], "failed invalid-number by remote 404"),
        (&[(50, Reject(403))], "failed blocked by remote 403"),
        (&[(50, Reject(480))], "no-answer no-answer by remote 480"),
        (&[(50, Reject(603))], "failed rejected by remote 603"),
        (&[(50, RejectBecause(503, 17))], "busy busy by remote 503 q850 17"),
    ];
    for (script, end) in cases {
        let mut world = two(script, GOOD);
        call(&mut world);
        world.run();
        check(&world, &format!("initiated\nended {end}"), 1, CARRIER);
        assert!(world.backup.invites.is_empty());
    }
}

#[test]
fn nothing_leads_on_once_the_customer_may_have_been_disturbed() {
    let cases: [(Script, &str, &str); 4] = [
        (&[(50, Ring), (500, Reject(503))], "ringing 180", "failed congestion by remote 503"),
        (&[(50, Ring), (500, Reject(408))], "ringing 180", "no-answer no-answer by remote 408"),
        (&[(50, EarlyMedia), (500, Reject(500))], "early-media", "failed congestion by remote 500"),
        (&[(50, Progress), (500, Reject(503))], "ringing 183", "failed congestion by remote 503"),
    ];
    for (script, told, end) in cases {
        let mut world = two(script, GOOD);
        call(&mut world);
        world.run();
        check(&world, &format!("initiated\n{told}\nended {end}"), 1, CARRIER);
        assert!(world.backup.invites.is_empty());
    }
}

#[test]
fn a_silent_gateway_is_given_up_after_its_own_time() {
    let mut world = over(&[DEAD, CARRIER], GOOD, &[]);
    call(&mut world);
    let began = world.now;
    world.run();
    check(&world, ANSWERED, 2, CARRIER);
    assert_eq!(world.carrier.invites, [began + Duration::from_millis(4_010)]);
}

#[test]
fn a_gateway_that_is_at_work_is_waited_for() {
    // 100 Trying comes at once, and nothing else for longer than a silent gateway is given.
    let mut world = two(&[(9_000, Ring), (9_500, Answer(Good)), (10_000, Hangup)], GOOD);
    call(&mut world);
    world.run();
    check(&world, ANSWERED, 1, CARRIER);
}

#[test]
fn an_answer_that_comes_too_late_leaves_no_orphan() {
    let mut world = two(GOOD, GOOD);
    // The first gateway gets the INVITE, but its answers are lost until the engine has gone on.
    world.deafen(true);
    call(&mut world);
    world.run_for(4_500);
    world.deafen(false);
    world.run();
    world.run_for(60_000);
    check(&world, ANSWERED, 2, BACKUP);
    assert_eq!(world.carrier.byes + world.carrier.cancels, 1, "the first gateway was told");
}

#[test]
fn when_no_gateway_helps_the_failure_that_is_true_of_all_is_told() {
    let cases: [(Script, Script, &str); 5] = [
        (&[(50, Reject(503))], &[(50, Reject(500))], "failed congestion by remote 500"),
        (&[(50, Reject(504))], &[(50, Reject(503))], "failed congestion by remote 503"),
        (&[(50, Reject(503))], &[(50, Reject(502))], "failed network-error by remote 502"),
        (&[(50, Reject(502))], &[(50, Reject(503))], "failed network-error by remote 502"),
        (&[(50, Reject(503))], &[(50, Reject(486))], "busy busy by remote 486"),
    ];
    for (first, second, story) in cases {
        let mut world = two(first, second);
        call(&mut world);
        world.run();
        let told_by_first = *first == [(50, Reject(502))];
        check(&world, &format!("initiated\nended {story}"), 2, if told_by_first { CARRIER } else { BACKUP });
        let dialogs = &world.dialogs[&world.id("c1")];
        assert_eq!(world.cdr("c1").sip_call_id.as_ref(), Some(&dialogs[usize::from(!told_by_first)]));
    }
    for gateways in [[CARRIER, DEAD], [DEAD, CARRIER]] {
        let mut world = over(&gateways, &[(50, Reject(503))], &[]);
        call(&mut world);
        world.run();
        // Its gateway is the one that the failure is of, whichever was tried last.
        check(&world, "initiated\nended failed network-error by engine", 2, DEAD);
        assert_eq!(world.cdr("c1").sip_reason.as_deref(), Some("No Response"));
    }
}

#[test]
fn the_ring_timeout_spans_the_hunt() {
    let mut world = over(&[DEAD, CARRIER], &[(50, Ring)], &[]);
    world.originate("c1", json!({"to": "1", "trunk": "two", "timeout_s": 10})).unwrap();
    world.run();
    check(&world, "initiated\nringing 180\nended no-answer no-answer by engine 487", 2, CARRIER);
    let cdr = world.cdr("c1");
    assert_eq!(cdr.ended_at.unwrap().unix_ms() - cdr.created_at.unix_ms(), 10_000);
}

#[test]
fn taken_back_between_two_gateways() {
    let mut world = over(&[DEAD, CARRIER], &[(50, Ring)], &[]);
    call(&mut world);
    world.run_for(2_000);
    let (now, id) = (world.now, world.id("c1"));
    world.engine.hangup(now, &id, control_api_types::HangupReason::Normal).unwrap();
    world.run();
    check(&world, "initiated\nended canceled canceled by api", 1, DEAD);
    assert!(world.carrier.invites.is_empty());
}
