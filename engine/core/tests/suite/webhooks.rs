//! Routes that ask a web server what becomes of a call.

use std::time::Duration;

use control_api_types::{RouteAnswer, Variable};
use engine_core::{Input, NoRoute, OnError, Route, RouteAction, RouteMatch, Webhook};
use serde_json::{Value, json};
use sip_core::SessionId;

use crate::carrier::{Act::*, Script};
use crate::world::{ENGINE, World};

const URL: &str = "https://calls.example.org/route";

fn world(on_error: OnError) -> World {
    let webhook = Webhook { url: URL.into(), timeout: Duration::from_secs(3), on_error };
    let route = Route { matches: RouteMatch::default(), action: RouteAction::Webhook(webhook) };
    let mut world = World::with_routes(vec![route]);
    world.put_flow("menu", json!({"start": "bye", "steps": {"bye": {"verb": "hangup"}}})).unwrap();
    world
}

/// Somebody calls 100; the route asks.
fn ring(world: &mut World, script: Script) -> (SessionId, String) {
    let session = world.carrier.call(world.now, ENGINE.parse().unwrap(), "100", None, script);
    world.run_for(100);
    let (_, url, call) = &world.questions[0];
    assert_eq!((url.as_str(), call.to.as_str(), call.from.as_str()), (URL, "100", "+62811"));
    (session, call.id.to_string())
}

fn answer(world: &mut World, answer: Result<Value, NoRoute>) {
    let leg = world.questions[0].0;
    let answer = answer.map(|body| RouteAnswer::from_json(&body).unwrap());
    world.engine.handle_input(world.now, Input::RouteAnswered { leg, answer });
    world.run();
    assert_eq!((world.carrier.live(), world.media.open_ports(), world.engine.load().live), (0, 0, 0));
}

const ANSWERED: &str = "initiated
    ringing 180
    answered PCMU
    step bye hangup
    ended completed answered by engine 200";

#[track_caller]
fn check(on_error: OnError, answered: Result<Value, NoRoute>, status: u16, story: &str, why: Option<&str>) {
    let mut world = world(on_error);
    let (session, id) = ring(&mut world, &[]);
    assert_eq!(world.carrier.outcomes.get(&session), None, "nothing but 100 Trying yet");
    answer(&mut world, answered);
    assert_eq!(world.carrier.outcomes[&session], status);
    world.check(&id, story);
    if let Some(why) = why {
        assert_eq!(world.cdr(&id).sip_reason.as_deref(), Some(why));
    }
}

#[test]
fn the_answer_is_a_stored_flow_or_one_given_with_it() {
    check(OnError::Reject(480), Ok(json!({"flow": "menu"})), 200, ANSWERED, None);
    let flow = json!({"start": "who", "steps": {
        "who": {"verb": "branch", "cases": [{"if": {"var": "vip", "op": "eq", "value": "yes"}, "then": "bye"}]},
        "bye": {"verb": "hangup"}}});
    let mut world = world(OnError::Reject(480));
    let (_, id) = ring(&mut world, &[]);
    answer(&mut world, Ok(json!({"flow": flow, "variables": {"vip": "yes"}})));
    world.check(
        &id,
        "initiated
         ringing 180
         answered PCMU
         step who branch
         step bye hangup
         ended completed answered by engine 200",
    );
    assert_eq!(world.cdr(&id).variables.get("vip"), Some(&Variable::from("yes")));
}

#[test]
fn the_answer_is_a_refusal() {
    let story = "initiated\nended busy busy by engine 486";
    check(OnError::Flow("menu".into()), Ok(json!({"reject": 486})), 486, story, None);
}

#[test]
fn without_a_good_answer_the_route_says_what_to_do() {
    let faulty = json!({"flow": {"start": "a", "steps": {"a": {"verb": "play", "prompt": "nothing"}}}});
    for answered in [
        Err(NoRoute::Timeout),
        Err(NoRoute::Unreachable),
        Err(NoRoute::Status(500)),
        Err(NoRoute::Unreadable),
        Ok(json!({"flow": "none"})),
        Ok(faulty),
    ] {
        let story = "initiated\nended failed congestion by engine 503";
        check(OnError::Reject(503), answered.clone(), 503, story, None);
        check(OnError::Flow("menu".into()), answered.clone(), 200, ANSWERED, None);
        let story = "initiated\nended no-answer no-answer by engine 480";
        check(OnError::Flow("gone".into()), answered, 480, story, None);
    }
}

#[test]
fn a_caller_may_give_up_before_the_answer() {
    let mut world = world(OnError::Reject(480));
    let (_, id) = ring(&mut world, &[(2_000, Hangup)]);
    world.run_for(3_000);
    answer(&mut world, Ok(json!({"flow": "menu"})));
    world.check(&id, "ended no-answer no-answer by remote 487");
}
