//! Customers and carriers that behave as real ones do: each scenario of `testbed/sipp/callee` is called once.

use carrier::sipp::Scenario;
use control_api_types::Disposition::{
    self, Answered, Blocked, Canceled, Congestion, Incompatible, InvalidNumber, NoAnswer, Rejected,
    Unreachable,
};
use control_api_types::EndedBy::{self, Api, Engine, Remote};
use control_api_types::HangupReason;
use serde_json::{Value, json};

use super::{passed, start};
use crate::lab::Lab;

/// What is done with the call once it got that far.
#[derive(Clone, Copy)]
enum Then {
    /// Nothing: it ends by itself.
    Wait,
    /// It is hung up by the API when this event came.
    HangupAt(&'static str),
}

const TALK: Then = Then::HangupAt("call.answered");
const GIVE_UP: Then = Then::HangupAt("call.ringing");

/// Calls the customer of a scenario, and says how the call must end; SIPp says whether our side of it was right.
async fn check(scenario: &str, more: Value, then: Then, disposition: Disposition, by: EndedBy) {
    let scenario_file = Scenario::new(&format!("callee/{scenario}"));
    let customer = start(scenario_file.key("user", "alice").key("password", "s3cret")).await;
    let mut lab = Lab::calling_as(customer.addr(), "alice", "s3cret").await;
    let call = lab.place(more).await;
    if let Then::HangupAt(event) = then {
        lab.reached(&call, event).await;
        lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
    }
    let cdr = lab.story(&call).await.cdr;
    assert_eq!((cdr.disposition, cdr.ended_by), (Some(disposition), Some(by)), "{scenario}: {cdr:?}");
    assert_eq!(cdr.answered_at.is_some(), disposition == Answered, "{scenario}");
    passed(customer).await;
    // Nothing goes on after the end: neither a session nor a transaction that would repeat itself.
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_are_lost_or_come_too_often() {
    let flow = json!({ "start": "talk", "steps": {
        "talk": { "verb": "pause", "ms": 1000, "next": "bye" }, "bye": { "verb": "hangup" } } });
    for scenario in ["lost_ack", "retransmission_storm"] {
        check(scenario, json!({ "flow": flow }), Then::Wait, Answered, Engine).await;
    }
    check("lost_answer_to_bye", json!({}), TALK, Answered, Api).await;
    check("double_bye", json!({}), Then::Wait, Answered, Remote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forks() {
    check("fork_answers_late", json!({}), TALK, Answered, Api).await;
    check("fork_several_early", json!({}), TALK, Answered, Api).await;
    check("changed_to_tag", json!({}), TALK, Answered, Api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_of_every_kind() {
    check("progress_without_sdp", json!({}), TALK, Answered, Api).await;
    check("queued", json!({}), TALK, Answered, Api).await;
    check("rings_then_refuses", json!({}), Then::Wait, Rejected, Remote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_cannot_be_talked_over_are_hung_up() {
    for scenario in ["bad_sdp", "no_sdp", "other_codec"] {
        check(scenario, json!({}), Then::Wait, Incompatible, Engine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_odd_are_understood() {
    for scenario in ["private_address", "missing_contact", "compact_forms"] {
        check(scenario, json!({}), TALK, Answered, Api).await;
    }
    check("hangs_up_with_reason", json!({}), Then::Wait, Answered, Remote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_followed() {
    check("record_route", json!({}), TALK, Answered, Api).await;
    check("strict_route", json!({}), TALK, Answered, Api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges() {
    check("stale_nonce", json!({}), TALK, Answered, Api).await;
    check("auth_int", json!({}), TALK, Answered, Api).await;
    check("two_challenges", json!({}), TALK, Answered, Api).await;
    check("wrong_password", json!({}), Then::Wait, Blocked, Remote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_given_up() {
    check("trying_for_ever", json!({ "timeout_s": 1 }), Then::Wait, NoAnswer, Engine).await;
    check("late_487", json!({}), GIVE_UP, Canceled, Api).await;
    check("cancel_lost", json!({}), GIVE_UP, Canceled, Api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_disposition() {
    for (scenario, disposition) in [
        ("forbidden", Blocked),
        ("gone", InvalidNumber),
        // The cause says more than the status: 480 alone would be no-answer, 500 a network error.
        ("temporarily_unavailable", Unreachable),
        ("not_acceptable", Incompatible),
        ("server_error", Congestion),
    ] {
        check(scenario, json!({}), Then::Wait, disposition, Remote).await;
    }
}
