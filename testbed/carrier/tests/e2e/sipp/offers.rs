//! Offers in calls that stand, and answers that come by other ways than the 200 (RFC 3261, 3262, 3264, 3311).

use carrier::sipp::Scenario;
use control_api_types::{CallId, Disposition, EndedBy, HangupReason};
use serde_json::json;

use super::{passed, start};
use crate::lab::{Lab, Story};

/// Calls the customer of a scenario, who hangs up by himself.
async fn check(scenario: &str) -> Story {
    let customer = start(Scenario::new(&format!("callee/{scenario}"))).await;
    let mut lab = Lab::calling(customer.addr()).await;
    let call = lab.place(json!({})).await;
    let story = lab.story(&call).await;
    let ended = (story.cdr.disposition, story.cdr.ended_by);
    assert_eq!(ended, (Some(Disposition::Answered), Some(EndedBy::Remote)), "{scenario}: {:?}", story.cdr);
    passed(customer).await;
    story
}

/// Calls the customer of a scenario, and hangs up when it is answered.
async fn talk(scenario: &str) {
    let customer = start(Scenario::new(&format!("callee/{scenario}"))).await;
    let mut lab = Lab::calling(customer.addr()).await;
    let call = lab.place(json!({})).await;
    lab.reached(&call, "call.answered").await;
    end(&mut lab, &call).await;
    passed(customer).await;
}

async fn end(lab: &mut Lab, call: &CallId) {
    lab.engine.client().hangup(call, HangupReason::Normal).await.unwrap();
    let story = lab.story(call).await;
    assert_eq!(
        (story.cdr.disposition, story.cdr.ended_by),
        (Some(Disposition::Answered), Some(EndedBy::Api))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_customer_holds_and_goes_on() {
    let story = check("hold").await;
    let holds: Vec<_> =
        story.kinds().into_iter().filter(|kind| ["call.held", "call.resumed"].contains(kind)).collect();
    assert_eq!(holds, ["call.held", "call.resumed"].repeat(3));
    let story = check("update").await;
    assert!(story.kinds().contains(&"call.held"), "{:?}", story.kinds());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_customer_changes_address_and_codec() {
    let customer = start(Scenario::new("callee/moves")).await;
    let mut lab = Lab::calling(customer.addr()).await;
    let flow = json!({ "start": "talk", "steps": {
        "talk": { "verb": "pause", "ms": 1000, "next": "bye" }, "bye": { "verb": "hangup" } } });
    let call = lab.place(json!({ "flow": flow })).await;
    assert_eq!(lab.story(&call).await.cdr.ended_by, Some(EndedBy::Engine));
    passed(customer).await;
    let story = check("changes_codec").await;
    assert_eq!(story.cdr.codec.map(|codec| codec.as_str()), Some("PCMA"));
    let story = check("changes_codec_badly").await;
    assert_eq!(story.cdr.codec.map(|codec| codec.as_str()), Some("PCMU"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reinvite_may_say_nothing_new_or_ask() {
    check("silent_reinvite").await;
    check("reinvite_without_offer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn provisional_responses_may_be_reliable() {
    for scenario in ["reliable_progress", "reliable_twice"] {
        talk(scenario).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_cross_are_made_again() {
    let customer = start(Scenario::new("callee/glare")).await;
    let mut lab = Lab::calling(customer.addr()).await;
    let call = lab.place(json!({})).await;
    lab.reached(&call, "call.answered").await;
    lab.engine.client().hold(&call).await.unwrap();
    lab.reached(&call, "call.held").await;
    end(&mut lab, &call).await;
    passed(customer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_may_leave_the_offer_to_the_customer() {
    let customer = start(Scenario::new("callee/late_offer")).await;
    let peer = customer.addr();
    let mut lab =
        Lab::new(&format!("[[trunks]]\nname = \"t\"\nuri = \"sip:{peer}\"\nlate_offer = true\n")).await;
    let call = lab.place(json!({})).await;
    lab.reached(&call, "call.answered").await;
    end(&mut lab, &call).await;
    passed(customer).await;
}
