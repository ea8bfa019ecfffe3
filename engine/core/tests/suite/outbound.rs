//! Outbound calls: every kind of customer, and what the engine tells of them.

use serde_json::json;

use crate::carrier::{Act::*, Answer::*};
use crate::world::World;

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
}
