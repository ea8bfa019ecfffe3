//! Random operations over a network that loses packets, beside a model that knows what must hold whatever happens.

use std::collections::BTreeMap;
use std::time::Duration;

use control_api_types::{Disposition, HangupReason, Limits, Play};
use engine_core::{Capacity, Probing, Refusal, Route, RouteAction, RouteMatch};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::json;

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::{BACKUP, CARRIER, ENGINE, World, limits, trunk_over};

const MAX_CALLS: u32 = 12;
const MAX_QUEUED: u32 = 10;
const TRUNK_CALLS: u32 = 8;

/// A customer of each kind as the trunk's first gateway has him, and how his calls may come out if nobody interferes.
const CUSTOMERS: &[(Script, &[Disposition])] = &[
    (&[(100, Ring), (900, Answer(Good)), (5_000, Hangup)], &[Disposition::Answered]),
    (
        &[(100, EarlyMedia), (900, Answer(Good)), (1_500, Press('1')), (2_500, Press('2'))],
        &[Disposition::Answered],
    ),
    (&[(100, Answer(Good)), (200, Hangup)], &[Disposition::Answered]),
    (&[(100, Answer(Missing))], &[Disposition::Incompatible]),
    (&[(500, Reject(486))], &[Disposition::Busy]),
    // Refused by the first gateway for its own reasons: what the other one says decides.
    (&[(0, Reject(503))], &[Disposition::Answered]),
    (&[(0, Reject(500))], &[Disposition::NoAnswer]),
    (&[(0, Reject(504))], &[Disposition::Congestion]),
    (&[(100, RejectBecause(480, 20))], &[Disposition::Unreachable]),
    (&[(100, Ring)], &[Disposition::NoAnswer]),
    (&[(100, Ring), (3_990, Answer(Good)), (9_000, Hangup)], &[Disposition::NoAnswer, Disposition::Answered]),
];

/// What must hold of a call that was accepted.
struct Expected {
    outcomes: &'static [Disposition],
    interfered: bool,
}

#[test]
fn whatever_happens_every_accepted_call_ends_once() {
    for seed in netem::seeds(40) {
        trial(seed, 0.0, 150);
    }
}

#[test]
fn even_when_every_fifth_packet_is_lost() {
    for seed in netem::seeds(20) {
        trial(seed, 0.2, 80);
    }
}

fn trial(seed: u64, loss: f64, operations: u32) {
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let mut world = World::with(|config| {
        config.limits = Limits {
            max_calls: MAX_CALLS,
            max_cps: 50,
            max_queued: MAX_QUEUED,
            queue_timeout_s: 8,
            ..limits()
        };
        config.trunks[0] = trunk_over("jkt", &[CARRIER, BACKUP]);
        // Never down, so that what a call comes to depends on nothing but its customer.
        let probing = Probing { interval: Duration::from_secs(5), down_after: 1_000, up_after: 1 };
        config.trunks[0].probing = Some(probing);
        config.trunks[0].capacity = Capacity { max_calls: Some(TRUNK_CALLS), max_cps: Some(20.0) };
        config.routes = vec![
            Route {
                matches: RouteMatch { called: Some("1*".into()), ..RouteMatch::default() },
                action: RouteAction::Flow("menu".into()),
            },
            Route { matches: RouteMatch::default(), action: RouteAction::Park },
        ];
    });
    world
        .put_flow(
            "menu",
            json!({"start": "ask", "steps": {
                "ask": {"verb": "gather", "play": {"prompt": "hello"}, "max": 1, "retries": 1, "timeout_ms": 700,
                        "on": {"1": "more", "timeout": "bye"}},
                "more": {"verb": "play", "prompt": "music", "next": "wait"},
                "wait": {"verb": "pause", "ms": 900, "next": "stay"},
                "stay": {"verb": "park"},
                "bye": {"verb": "hangup"}}}),
        )
        .unwrap();
    world.lose(loss);
    let mut model: BTreeMap<String, Expected> = BTreeMap::new();
    for (n, (script, _)) in CUSTOMERS.iter().enumerate() {
        world.carrier.customer(&format!("{n}"), script);
        world.backup.customer(&format!("{n}"), behind_the_backup(script));
    }

    for n in 0..operations {
        operate(&mut world, &mut random, &mut model, n);
        let load = world.engine.load();
        assert!(load.queued <= MAX_QUEUED, "{load:?}");
        let trunk = world.engine.trunks(world.now).next().unwrap();
        assert!(trunk.calls <= TRUNK_CALLS, "{trunk:?}");
        assert_eq!(
            usize::try_from(load.live + load.queued).unwrap(),
            world.engine.calls().count(),
            "every call is queued or live"
        );
        world.run_for(u64::from(random.next_u32() % 400));
    }
    // Answered calls that nobody ends last for hours: the engine is drained instead.
    let now = world.now;
    world.engine.drain(now, true);
    world.run();

    assert!(world.most_live <= MAX_CALLS, "{} calls at a time", world.most_live);
    assert_eq!((world.engine.load().live, world.engine.load().queued), (0, 0));
    assert!(world.engine.is_drained());
    assert_eq!(world.media.open_ports(), 0);
    world.run_for(200_000);
    let orphans = (world.carrier.live(), world.backup.live());
    assert_eq!(orphans, (0, 0), "seed {seed}: no orphan is left at the carrier");
    for (id, story) in &world.stories {
        let cdr = story.ended.as_ref().unwrap_or_else(|| panic!("seed {seed}: {id} has not ended"));
        assert_eq!(cdr.answered_at.is_some(), cdr.disposition == Some(Disposition::Answered), "{cdr:?}");
        if let Some(expected) = model.get(id.as_str())
            && !expected.interfered
            && loss == 0.0
        {
            let told = cdr.disposition.unwrap();
            let queued_too_long = told == Disposition::LimitReached;
            assert!(
                queued_too_long || expected.outcomes.contains(&told),
                "seed {seed}: {id} {told} {:?}",
                story.lines
            );
        }
    }
    let accepted = model.keys().filter(|id| world.stories.contains_key(&world.id(id))).count();
    assert_eq!(accepted, model.len(), "what was accepted is known, what was refused is not");
}

/// The customer as the other gateway has him: a call comes there only because the first gateway refused it.
fn behind_the_backup(script: Script) -> Script {
    match script {
        [(_, Reject(503))] => &[(100, Ring), (900, Answer(Good)), (5_000, Hangup)],
        [(_, Reject(500))] => &[(100, Ring)],
        [(_, Reject(504))] => &[(0, Reject(503))],
        same => same,
    }
}

fn operate(world: &mut World, random: &mut ChaCha20Rng, model: &mut BTreeMap<String, Expected>, n: u32) {
    let now = world.now;
    let live: Vec<_> = world.engine.calls().map(|call| call.id.clone()).collect();
    let some = (!live.is_empty()).then(|| live[random.next_u32() as usize % live.len()].clone());
    match random.next_u32() % 16 {
        0..=7 => {
            let kind = random.next_u32() as usize % CUSTOMERS.len();
            let id = format!("c{n}");
            let flow = if random.next_u32().is_multiple_of(2) { json!("menu") } else { json!(null) };
            let early = if random.next_u32().is_multiple_of(2) { "connect" } else { "ignore" };
            let body = json!({"to": format!("{kind}"), "trunk": "jkt", "timeout_s": 4, "flow": flow, "early_media": early});
            match world.originate(&id, body) {
                Ok(_) => {
                    model.insert(id, Expected { outcomes: CUSTOMERS[kind].1, interfered: false });
                }
                Err(Refusal::QueueFull { .. }) => {
                    assert!(world.engine.load().queued >= MAX_QUEUED, "refused only when full");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        8..=9 => {
            let number = format!("{}", random.next_u32() % 3);
            let script: Script = &[(1_500, Hangup)];
            world.carrier.call(now, ENGINE.parse().unwrap(), &number, None, script);
        }
        10 => {
            if let Some(id) = some {
                world.engine.hangup(now, &id, HangupReason::Normal).unwrap();
                if let Some(expected) = model.get_mut(id.as_str()) {
                    expected.interfered = true;
                }
            }
        }
        11 => {
            if let Some(id) = some {
                // Whatever state the call is in, this is done or refused.
                let _ = world.engine.play(now, &id, Play { plays: 0, ..Play::once("music") });
            }
        }
        12 => {
            if let Some(id) = some {
                let _ = world.engine.stop_play(now, &id);
            }
        }
        13 => {
            if let Some(id) = some {
                let _ = world.engine.answer(now, &id);
            }
        }
        14 => {
            if let Some(id) = some.filter(|_| random.next_u32().is_multiple_of(4)) {
                world.engine.abandon(now, &id);
                model.remove(id.as_str());
                assert!(world.engine.call(&id).is_none());
                // Its CDR is out, and told as what it is.
                world.pump();
                assert_eq!(world.cdr(id.as_str()).disposition, Some(Disposition::InternalError));
                world.stories.remove(&id);
            }
        }
        _ => world.media.has_ports = !random.next_u32().is_multiple_of(3),
    }
    world.pump();
}
