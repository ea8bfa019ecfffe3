//! Routes and steps of flows that ask a web server what becomes of a call.

use std::time::Duration;

use control_api_types::{RouteAnswer, StepAnswer, Variable};
use engine_core::{Input, NoAnswer, OnError, Route, RouteAction, RouteMatch, Webhook};
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

fn answer(world: &mut World, answer: Result<Value, NoAnswer>) {
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
fn check(on_error: OnError, answered: Result<Value, NoAnswer>, status: u16, story: &str, why: Option<&str>) {
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
        Err(NoAnswer::Timeout),
        Err(NoAnswer::Unreachable),
        Err(NoAnswer::Status(500)),
        Err(NoAnswer::Unreadable),
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

/// A parked caller's flow asks at `ask`; `next` and `on_error` lead elsewhere.
fn asking() -> Value {
    json!({"start": "ask", "steps": {
        "ask": {"verb": "webhook", "url": "https://h.example/{to}?n={from}", "timeout_ms": 500, "on_error": "sorry", "next": "tell"},
        "tell": {"verb": "notify", "data": {"tier": "{tier}"}, "next": "bye"},
        "vip": {"verb": "set", "variables": {"seen": "vip"}, "next": "tell"},
        "sorry": {"verb": "notify", "data": {"why": "{ask.error}"}, "next": "bye"},
        "bye": {"verb": "hangup"}}})
}

/// The steps after the answer, and what was notified.
fn steps_after(answered: Result<Value, NoAnswer>) -> Vec<String> {
    let mut world = World::with_routes(vec![Route {
        matches: RouteMatch::default(),
        action: RouteAction::Flow("asking".into()),
    }]);
    world.put_flow("asking", asking()).unwrap();
    world.put_flow("other", json!({"start": "bye", "steps": {"bye": {"verb": "hangup"}}})).unwrap();
    world.carrier.call(world.now, ENGINE.parse().unwrap(), "100", None, &[]);
    world.run_for(100);
    let (leg, question, url, call) = world.step_questions.pop().expect("the step asks");
    assert_eq!((url.as_str(), call.from.as_str()), ("https://h.example/100?n=%2B62811", "+62811"));
    let answer = answered.map(|body| StepAnswer::from_json(&body).unwrap());
    // Another question's answer changes nothing.
    let stale = Input::StepAnswered { leg, question: question + 1, answer: Ok(StepAnswer::default()) };
    world.engine.handle_input(world.now, stale);
    world.run_for(100);
    assert_eq!(world.engine.load().live, 1);
    world.engine.handle_input(world.now, Input::StepAnswered { leg, question, answer });
    world.run();
    assert_eq!((world.carrier.live(), world.media.open_ports(), world.engine.load().live), (0, 0, 0));
    let lines = world.stories[&call.id].lines.clone();
    lines.into_iter().filter(|line| line.starts_with("step ") || line.starts_with("notify")).skip(1).collect()
}

#[test]
fn a_step_goes_on_as_the_web_server_says() {
    for (answered, expected) in [
        (Ok(json!({})), &["step tell notify", r#"notify {"tier":""}"#, "step bye hangup"][..]),
        (
            Ok(json!({"variables": {"tier": "gold"}, "next": "vip"})),
            &["step vip set", "step tell notify", r#"notify {"tier":"gold"}"#, "step bye hangup"],
        ),
        (Ok(json!({"flow": "other"})), &["step bye hangup"]),
        (Ok(json!({"flow": {"start": "a", "steps": {"a": {"verb": "hangup"}}}})), &["step a hangup"]),
        (
            Ok(json!({"next": "nowhere"})),
            &[
                "step sorry notify",
                r#"notify {"why":"the webhook names a step that does not exist"}"#,
                "step bye hangup",
            ],
        ),
        (
            Ok(json!({"flow": "none"})),
            &[
                "step sorry notify",
                r#"notify {"why":"the webhook names a flow that does not exist"}"#,
                "step bye hangup",
            ],
        ),
        (
            Err(NoAnswer::Timeout),
            &[
                "step sorry notify",
                r#"notify {"why":"the webhook did not answer in time"}"#,
                "step bye hangup",
            ],
        ),
    ] {
        assert_eq!(steps_after(answered.clone()), expected, "{answered:?}");
    }
}
