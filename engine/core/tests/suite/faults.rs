//! What goes wrong outside the engine, or is not as peers usually do it.

use engine_core::{Input, MediaInput, Output, Route, RouteAction, RouteMatch, TrunkConfig};
use media_core::{LegId, MediaStats};
use serde_json::json;
use sip_core::{Hop, Message, Target, Transport};

use crate::carrier::{Act::*, Answer::*};
use crate::world::{ENGINE, NAME, World};

#[test]
fn a_leg_that_closes_by_itself_ends_its_call() {
    let mut world = World::new();
    world.call("ringing", &[(100, Ring), (60_000, Answer(Good))], json!({"timeout_s": 90}));
    world.call("talking", &[(100, Answer(Good))], json!({}));
    world.run_for(1_000);
    for leg in [1, 2] {
        let (now, input) = (world.now, MediaInput::Closed(MediaStats::default()));
        world.engine.handle_input(now, Input::Media { leg: LegId(leg), input });
    }
    world.run_for(1_000);
    world.check("ringing", "initiated\nringing 180\nended failed internal-error by engine 487");
    world.check("talking", "initiated\nanswered PCMA\nended failed internal-error by engine 200");
    assert_eq!(world.carrier.live(), 0);
}

#[test]
fn a_prompt_of_two_names_goes_by_both_until_each_is_deleted() {
    let mut world = World::new();
    for name in ["welcome", "greeting"] {
        world.put_prompt_as("sha-shared", name, 1_000);
    }
    let flow = |prompt: &str| json!({"start": "a", "steps": {"a": {"verb": "play", "prompt": prompt}}});
    for name in ["welcome", "greeting", "sha-shared"] {
        assert_eq!(world.put_flow("f", flow(name)), Ok(()), "{name}");
    }
    assert!(world.engine.delete_prompt("welcome"));
    assert!(!world.engine.delete_prompt("welcome"));
    assert!(world.put_flow("f", flow("welcome")).is_err());
    for name in ["greeting", "sha-shared"] {
        assert_eq!(world.put_flow("f", flow(name)), Ok(()), "{name}");
    }
    assert!(world.engine.delete_prompt("greeting"));
    for name in ["greeting", "sha-shared"] {
        assert!(world.put_flow("f", flow(name)).is_err(), "{name}");
    }
}

#[test]
fn early_media_that_was_ignored_still_answers_for_a_200_without_sdp() {
    let mut world = World::new();
    world.call("c1", &[(100, EarlyMedia), (500, Answer(Missing)), (900, Hangup)], json!({}));
    world.run();
    world.check("c1", "initiated\nearly-media\nanswered PCMA\nended completed answered by remote 200");
}

#[test]
fn trunks_of_one_gateway_all_learn_where_its_name_leads() {
    let named = |name: &str| {
        TrunkConfig::new(
            name,
            Target { host: NAME.into(), port: Some(5060), transport: None, ..Target::default() },
        )
    };
    let mut world = World::with(|config| {
        config.trunks = vec![named("first"), named("second")];
        let matches = RouteMatch { trunk: Some("second".into()), ..RouteMatch::default() };
        config.routes = vec![Route { matches, action: RouteAction::Park }];
    });
    world.call("c1", &[(100, Answer(Good)), (500, Hangup)], json!({"trunk": "second"}));
    world.run();
    let session = world.carrier.call(world.now, ENGINE.parse().unwrap(), "1", None, &[(500, Hangup)]);
    world.run_for(100);
    assert_eq!(world.carrier.outcomes.get(&session), None, "it waits for the API");
}

#[test]
fn a_stranger_is_told_once_and_a_wrong_number_until_it_listens() {
    for (called, expected) in [("1", 1), ("2", 11)] {
        let mut world = World::with(|config| {
            let source = Some("203.0.113.0/24".parse().unwrap());
            let matches = RouteMatch { called: Some("9*".into()), source, ..RouteMatch::default() };
            config.routes = vec![Route { matches, action: RouteAction::Park }];
        });
        let from = if called == "1" { "198.51.100.1:5060" } else { "203.0.113.1:5060" };
        let invite = format!(
            "INVITE sip:{called}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK1\r\n\
             Max-Forwards: 70\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:{called}@192.0.2.1>\r\nCall-ID: 1\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:x@{from}>\r\n\r\n"
        );
        let hop =
            Hop { transport: Transport::Udp, local: ENGINE.parse().unwrap(), remote: from.parse().unwrap() };
        let message = Message::parse(invite.into()).unwrap();
        let now = world.now;
        world.engine.handle_input(now, Input::Sip(sip_core::Input::Message { hop, message }));
        let mut refusals = 0;
        loop {
            while let Some(output) = world.engine.poll_output() {
                if let Output::Transmit(transmit) = output {
                    refusals += u32::from(!transmit.payload.starts_with(b"SIP/2.0 100"));
                }
            }
            let Some((at, _)) = world.engine.poll_timeout() else { break };
            world.engine.handle_timeout(at);
        }
        assert_eq!(refusals, expected, "{from}");
    }
}

#[test]
fn an_engine_that_stops_waits_for_the_answer_to_its_bye() {
    let mut world = World::new();
    world.call("c1", &[(100, Answer(Good))], json!({}));
    world.run_for(1_000);
    world.lose(1.0);
    let now = world.now;
    world.engine.stop(now);
    world.run_for(100);
    assert!(world.cdr("c1").status.is_final());
    assert!(!world.engine.is_stopped(), "the BYE is lost");
    world.lose(0.0);
    world.run_for(1_000);
    assert!(world.engine.is_stopped());
    assert_eq!(world.carrier.live(), 0);
}

#[test]
fn a_call_whose_peer_falls_silent_ends_when_its_session_expires() {
    let route = Route { matches: RouteMatch::default(), action: RouteAction::Flow("wait".into()) };
    let mut world = World::with_routes(vec![route]);
    world.put_flow("wait", json!({"start": "wait", "steps": {"wait": {"verb": "park"}}})).unwrap();
    world.call("outbound", &[(100, Answer(Good))], json!({}));
    world.carrier.call(world.now, ENGINE.parse().unwrap(), "100", None, &[]);
    // Both are refreshed as long as they are heard of.
    world.run_for(4_000_000);
    assert_eq!(world.engine.calls().count(), 2);
    world.lose(1.0);
    world.run();
    for story in world.stories.values() {
        let cdr = story.ended.as_ref().unwrap();
        assert_eq!(cdr.sip_reason.as_deref(), Some("Session Expired"), "{:?}", cdr.direction);
        assert_eq!(story.lines.last().unwrap(), "ended completed answered by engine 200");
        let lasted = cdr.ended_at.unwrap().unix_ms() - cdr.answered_at.unwrap().unix_ms();
        assert!((4_000_000..4_000_000 + 1_800_000).contains(&lasted), "{lasted}");
    }
}
