//! Outbound calls: every kind of customer, and what the engine tells of them.

use std::time::Duration;

use control_api_types::CallStatus;
use engine_core::{Input, MediaInput};
use media_core::{Direction, LegId, RtpTimeout};
use serde_json::json;

use crate::carrier::{Act::*, Answer::*, Change};
use crate::world::{DEAD, World};

#[test]
fn answered_and_hung_up_by_the_customer() {
    let mut world = World::new();
    world.call("c1", &[(100, Ring), (2_000, Answer(Good)), (7_000, Hangup)], json!({"client_state": "mine"}));
    world.run();
    world.check(
        "c1",
        "initiated
         ringing 180
         answered PCMA
         ended completed answered by remote 200",
    );
    let cdr = world.cdr("c1");
    let at = |time: Option<control_api_types::Timestamp>| time.unwrap().unix_ms() - cdr.created_at.unix_ms();
    assert_eq!((at(cdr.ringing_at), at(cdr.answered_at), at(cdr.ended_at)), (120, 2_020, 7_020));
    assert!(cdr.sip_call_id.is_some() && cdr.media.is_some());
    assert_eq!(cdr.client_state.as_deref(), Some("mine"));
    assert_eq!(cdr.trunk.as_deref(), Some("jkt"));
}

#[test]
fn refusals_are_classified_by_status_and_cause() {
    let mut world = World::new();
    world.call("busy", &[(0, Ring), (500, Reject(486))], json!({}));
    world.call("rejected", &[(0, Ring), (500, Reject(603))], json!({}));
    world.call("unknown", &[(0, Reject(404))], json!({}));
    world.call("congested", &[(0, Reject(503))], json!({}));
    world.call("forbidden", &[(0, Reject(403))], json!({}));
    world.call("codec", &[(0, Reject(488))], json!({}));
    world.call("off", &[(0, RejectBecause(480, 20))], json!({}));
    world.call("clear", &[(0, RejectBecause(486, 16))], json!({}));
    world.run();
    world.check("busy", "initiated\nringing 180\nended busy busy by remote 486");
    world.check("rejected", "initiated\nringing 180\nended failed rejected by remote 603");
    world.check("unknown", "initiated\nended failed invalid-number by remote 404");
    world.check("congested", "initiated\nended failed congestion by remote 503");
    world.check("forbidden", "initiated\nended failed blocked by remote 403");
    world.check("codec", "initiated\nended failed incompatible by remote 488");
    world.check("off", "initiated\nended failed unreachable by remote 480 q850 20");
    world.check("clear", "initiated\nended busy busy by remote 486 q850 16");
    assert_eq!(world.cdr("busy").sip_reason.as_deref(), Some("Busy Here"));
    assert_eq!(world.cdr("busy").media, None, "no media has run");
    assert_eq!(world.media.open_ports(), 0);
}

#[test]
fn ringing_for_ever_is_canceled_at_the_ring_timeout() {
    let mut world = World::new();
    world.call("c1", &[(50, Ring), (60, Ring)], json!({"timeout_s": 20}));
    world.run();
    world.check("c1", "initiated\nringing 180\nended no-answer no-answer by engine 487");
    assert_eq!(world.carrier.live(), 0, "the carrier's call was canceled");
    let cdr = world.cdr("c1");
    assert_eq!(cdr.ended_at.unwrap().unix_ms() - cdr.created_at.unix_ms(), 20_000);
}

#[test]
fn a_silent_gateway_is_a_network_error_whatever_the_ring_timeout() {
    for timeout in [5, 30, 60] {
        let mut world = World::new();
        world.originate("c1", json!({"to": "1", "trunk": "dead", "timeout_s": timeout})).unwrap();
        world.run();
        world.check("c1", "initiated\nended failed network-error by engine");
        assert_eq!(world.cdr("c1").sip_reason.as_deref(), Some("No Response"), "{DEAD} with {timeout} s");
    }
}

#[test]
fn an_answer_that_crosses_the_cancel_leaves_no_orphan() {
    let mut world = World::new();
    // The 200 leaves the carrier while our CANCEL is on its way there: the INVITE arrives at 10 ms.
    world.call("c1", &[(50, Ring), (9_995, Answer(Good))], json!({"timeout_s": 10}));
    world.run();
    world.check("c1", "initiated\nringing 180\nended no-answer no-answer by engine 487");
    assert_eq!((world.carrier.live(), world.carrier.byes), (0, 1), "acknowledged and ended by BYE");
    assert_eq!(world.media.open_ports(), 0);
}

#[test]
fn canceled_by_the_api_in_every_state_before_the_answer() {
    let mut world = World::new();
    world.journal = Some(Vec::new());
    world.call("unjournalled", &[(50, Ring)], json!({}));
    hangup(&mut world, "unjournalled");
    world.check("unjournalled", "ended canceled canceled by api");
    assert!(world.carrier.invites.is_empty(), "no INVITE leaves before the journal has the call");
    world.journal_accepts();

    world.call("calling", &[(50, Ring)], json!({}));
    hangup(&mut world, "calling");
    world.call("ringing", &[(50, Ring)], json!({}));
    world.run_for(1_000);
    hangup(&mut world, "ringing");
    hangup(&mut world, "ringing");
    world.run();
    world.check("calling", "initiated\nended canceled canceled by api 487");
    world.check("ringing", "initiated\nringing 180\nended canceled canceled by api 487");
    assert_eq!(world.carrier.live(), 0);
}

#[test]
fn ringing_after_early_media_does_not_take_it_back() {
    let mut world = World::new();
    world.call("c1", &[(50, EarlyMedia), (100, Ring), (150, Progress), (900, Reject(486))], json!({}));
    world.run_for(300);
    let call = world.engine.call(&world.id("c1")).unwrap();
    assert_eq!((call.status, call.ringing_at.is_some()), (CallStatus::EarlyMedia, true));
    world.run();
    world.check("c1", "initiated\nearly-media\nringing 180\nringing 183\nended busy busy by remote 486");
}

#[test]
fn early_media_is_told_once_and_connected_on_demand() {
    let mut world = World::new();
    // Each response differs from the one before, so that none is a repetition to the SIP side.
    let script = &[
        (50, Ring),
        (100, EarlyMedia),
        (150, Ring),
        (200, EarlyMedia),
        (2_000, Answer(Good)),
        (3_000, Hangup),
    ];
    world.call("ignored", script, json!({}));
    world.call("connected", script, json!({"early_media": "connect", "flow": play_once()}));
    world.run_for(1_000);
    assert_eq!(world.media.remote(1), None, "early media is ignored unless asked for");
    assert!(world.media.remote(2).is_some());
    assert_eq!(world.media.runs, 0, "the flow waits for the answer");
    world.run();
    world.check(
        "ignored",
        "initiated\nringing 180\nearly-media\nanswered PCMA\nended completed answered by remote 200",
    );
    world.check(
        "connected",
        "initiated
         ringing 180
         early-media
         answered PCMA
         step a play
         plays p-1 hello
         played p-1 hangup
         ended completed answered by remote 200",
    );
}

#[test]
fn progress_without_audio_is_told_with_its_status_and_ends_the_post_dial_delay() {
    let mut world = World::new();
    world.call("c1", &[(300, Progress), (900, Reject(486))], json!({}));
    world.run();
    world.check("c1", "initiated\nringing 183\nended busy busy by remote 486");
    assert_eq!(world.engine.trunks(world.now).next().unwrap().pdd_ms, Some(320));
}

#[test]
fn the_final_answer_decides_over_the_early_one() {
    let mut world = World::new();
    let early = json!({"early_media": "connect"});
    world.call("moved", &[(100, EarlyMedia), (500, Answer(Moved))], early.clone());
    world.call("silent", &[(100, EarlyMedia), (500, Answer(Missing))], early);
    world.run_for(300);
    let before = world.media.remote(1).unwrap();
    world.run_for(1_000);
    let after = world.media.remote(1).unwrap();
    assert_ne!(before.1.port(), after.1.port(), "media goes where the 200 says");
    assert_eq!(world.engine.calls().count(), 2, "a 200 without SDP repeats the early answer");
    hangup(&mut world, "moved");
    hangup(&mut world, "silent");
    world.run();
    for id in ["moved", "silent"] {
        world.check(id, "initiated\nearly-media\nanswered PCMA\nended completed answered by api 200");
    }
}

#[test]
fn an_unusable_answer_is_acknowledged_ended_and_incompatible() {
    let mut world = World::new();
    world.call("none", &[(100, Ring), (200, Answer(Missing))], json!({}));
    world.call("garbage", &[(200, Answer(Garbage))], json!({}));
    world.run();
    world.check("none", "initiated\nringing 180\nended failed incompatible by engine 200");
    world.check("garbage", "initiated\nended failed incompatible by engine 200");
    assert_eq!((world.carrier.live(), world.carrier.byes), (0, 2));
}

#[test]
fn the_longest_call_is_ended_by_the_engine() {
    let mut world = World::new();
    world.call("c1", &[(100, Answer(Good))], json!({"max_duration_s": 3600}));
    world.run();
    world.check("c1", "initiated\nanswered PCMA\nended completed answered by engine 200");
    let cdr = world.cdr("c1");
    assert_eq!(cdr.ended_at.unwrap().unix_ms() - cdr.answered_at.unwrap().unix_ms(), 3_600_000);
}

#[test]
fn a_call_whose_peer_sends_nothing_is_ended_by_the_engine() {
    let timeout = RtpTimeout { talking: Some(Duration::from_secs(60)), held: Some(Duration::from_secs(600)) };
    let mut world = World::with(|config| config.rtp_timeout = timeout);
    const HOLD: Change = Change::Direction(Direction::SendOnly);
    // Rings for longer than that, with early media: only an answered call owes anything.
    world.call("silent", &[(100, EarlyMedia), (80_000, Answer(Good))], json!({"timeout_s": 120}));
    world.call("keys", &[(100, Answer(Good)), (30_000, Press('1')), (70_000, Press('2'))], json!({}));
    world.call("held", &[(100, Answer(Good)), (10_000, Offer(HOLD))], json!({}));
    world.run();
    let ended = "ended completed answered by engine 200";
    world.check("silent", &format!("initiated\nearly-media\nanswered PCMA\n{ended}"));
    for (call, seconds) in [("silent", 60), ("keys", 130), ("held", 610)] {
        let cdr = world.cdr(call);
        assert_eq!(cdr.sip_reason.as_deref(), Some("rtp-timeout"), "{call}");
        let lasted = cdr.ended_at.unwrap().unix_ms() - cdr.answered_at.unwrap().unix_ms();
        assert_eq!((lasted + 500) / 1_000, seconds, "{call}");
    }
    let reason = "Q.850;cause=102;text=\"no RTP for 60 s\"";
    assert_eq!(world.carrier.bye_reasons[0], reason);
}

#[test]
fn no_media_port_is_a_limit() {
    let mut world = World::new();
    world.media.has_ports = false;
    world.call("c1", &[(100, Answer(Good))], json!({}));
    world.run();
    world.check("c1", "ended failed limit-reached by engine");
}

#[test]
fn a_media_shell_that_tells_nothing_does_not_hold_back_the_cdr() {
    let mut world = World::new();
    world.media.tells_end = false;
    world.call("c1", &[(100, Answer(Good)), (500, Hangup)], json!({}));
    world.run();
    world.check("c1", "initiated\nanswered PCMA\nended completed answered by remote 200");
    assert_eq!(world.cdr("c1").media, None);
}

#[test]
fn a_leg_that_misses_a_command_ends_its_call() {
    let mut world = World::new();
    world.call("c1", &[(100, Answer(Good))], json!({}));
    world.run_for(1_000);
    for _ in 0..2 {
        let input = Input::Media { leg: LegId(1), input: MediaInput::Lost };
        let now = world.now;
        world.engine.handle_input(now, input);
    }
    world.run();
    world.check("c1", "initiated\nanswered PCMA\nended failed internal-error by engine 200");
    assert_eq!((world.carrier.live(), world.media.open_ports()), (0, 0));
}

#[test]
fn a_panic_in_one_call_ends_that_call_only() {
    let mut world = World::new();
    world.call("broken", &[(100, Ring), (300, Answer(Good))], json!({}));
    world.call("sound", &[(100, Ring), (300, Answer(Good)), (900, Hangup)], json!({}));
    world.run_for(500);
    let (now, id) = (world.now, world.id("broken"));
    world.engine.abandon(now, &id);
    world.engine.abandon(now, &id);
    world.run();
    world.check("broken", "initiated\nringing 180\nanswered PCMA\nended failed internal-error by engine 200");
    world.check("sound", "initiated\nringing 180\nanswered PCMA\nended completed answered by remote 200");
    assert_eq!((world.carrier.live(), world.media.open_ports()), (0, 0));
}

#[test]
fn a_uri_is_called_without_a_trunk() {
    let mut world = World::new();
    world.carrier.customer("bob", &[(100, Answer(Good)), (500, Hangup)]);
    let call = world.originate("c1", json!({"to": "sip:bob@192.0.2.2:5060", "from": "alice"})).unwrap();
    assert_eq!((call.from.as_str(), call.trunk), ("alice", None));
    world.run();
    world.check("c1", "initiated\nanswered PCMA\nended completed answered by remote 200");
}

fn play_once() -> serde_json::Value {
    json!({"start": "a", "steps": {"a": {"verb": "play", "prompt": "hello"}}})
}

#[track_caller]
fn hangup(world: &mut World, id: &str) {
    let (now, id) = (world.now, world.id(id));
    world.engine.hangup(now, &id, control_api_types::HangupReason::Normal).unwrap();
    world.pump();
}
