//! Customers and carriers that behave as real ones do: each scenario of `testbed/sipp/callee` is called once.

use std::time::Duration;

use carrier::sipp::Scenario;
use control_api_types::Disposition::{
    self, Answered, Blocked, Canceled, Congestion, Incompatible, InvalidNumber, NoAnswer, Rejected,
    Unreachable,
};
use control_api_types::EndedBy::{self, Api, Engine, Remote};
use control_api_types::HangupReason;
use serde_json::{Value, json};

use super::{passed, start};
use crate::lab::{Lab, Story};

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
async fn check(scenario: &str, more: Value, then: Then, disposition: Disposition, by: EndedBy) -> Story {
    Customer { scenario, calls: 1, trunk: "", more, then }.check(disposition, by).await
}

/// The same of a customer who is called several times for one call of ours.
async fn check_redirected(
    scenario: &str,
    calls: u32,
    then: Then,
    disposition: Disposition,
    by: EndedBy,
) -> Story {
    Customer { scenario, calls, trunk: "", more: json!({}), then }.check(disposition, by).await
}

/// The same by a trunk with this setting.
async fn check_with(trunk: &str, scenario: &str, then: Then, disposition: Disposition, by: EndedBy) -> Story {
    Customer { scenario, calls: 1, trunk, more: json!({}), then }.check(disposition, by).await
}

/// A customer, and what is done with the call to him.
struct Customer<'a> {
    scenario: &'a str,
    /// How often he is called: redirections and the like come with Call-IDs of their own.
    calls: u32,
    /// A further setting of the trunk.
    trunk: &'a str,
    /// Further fields of the request.
    more: Value,
    then: Then,
}

impl Customer<'_> {
    async fn check(self, disposition: Disposition, by: EndedBy) -> Story {
        let Self { scenario, calls, trunk, more, then } = self;
        let scenario_file = Scenario::new(&format!("callee/{scenario}")).calls(calls);
        let customer = start(scenario_file.key("user", "alice").key("password", "s3cret")).await;
        let mut lab = Lab::calling_with(
            customer.addr(),
            &format!("username = \"alice\"\npassword = \"s3cret\"\n{trunk}\n"),
        )
        .await;
        let call = lab.place(more).await;
        if let Then::HangupAt(event) = then {
            lab.reached(&call, event).await;
            lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
        }
        let story = lab.story(&call).await;
        let cdr = &story.cdr;
        assert_eq!((cdr.disposition, cdr.ended_by), (Some(disposition), Some(by)), "{scenario}: {cdr:?}");
        assert_eq!(cdr.answered_at.is_some(), disposition == Answered, "{scenario}");
        passed(customer).await;
        // Nothing goes on after the end: neither a session nor a transaction that would repeat itself.
        lab.stop().await;
        story
    }
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
    check("fork_answers_late", json!({}), Then::Wait, Answered, Remote).await;
    check("fork_several_early", json!({}), TALK, Answered, Api).await;
    check("changed_to_tag", json!({}), TALK, Answered, Api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_of_every_kind() {
    check("progress_without_sdp", json!({}), TALK, Answered, Api).await;
    check("queued", json!({}), TALK, Answered, Api).await;
    check("rings_then_unavailable", json!({}), Then::Wait, NoAnswer, Remote).await;
    check("no_response", json!({}), Then::Wait, NoAnswer, Remote).await;
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
    check("behind_alg", json!({}), TALK, Answered, Api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges() {
    check("stale_nonce", json!({}), TALK, Answered, Api).await;
    check("auth_int", json!({}), TALK, Answered, Api).await;
    check("two_challenges", json!({}), TALK, Answered, Api).await;
    check("two_proxy_challenges", json!({}), TALK, Answered, Api).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_has_failed_is_passed_over() {
    let (silent, customer) =
        (start(Scenario::new("callee/silent")).await, start(Scenario::new("callee/answer")).await);
    let gateways = format!(
        "failover_ms = 500\ngateways = [{{ uri = \"sip:{}\", priority = 1 }}, {{ uri = \"sip:{}\", priority = 2 }}]\n",
        silent.addr(),
        customer.addr()
    );
    let mut lab = Lab::calling_with(customer.addr(), &gateways).await;
    let call = lab.place(json!({})).await;
    lab.reached(&call, "call.answered").await;
    lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
    let story = lab.story(&call).await;
    assert_eq!(story.kinds(), ["call.initiated", "call.ringing", "call.answered", "call.ended"]);
    assert_eq!(tried(&story), (2, Some(200)));
    assert_eq!(story.cdr.gateway, Some(format!("sip:{}", customer.addr())));
    passed(silent).await;
    passed(customer).await;
    lab.stop().await;
}

/// How many places a call was sent to, and the status that it ended with.
fn tried(story: &Story) -> (u32, Option<u16>) {
    (story.cdr.attempts, story.cdr.sip_status)
}

#[tokio::test(flavor = "multi_thread")]
async fn redirections_are_followed() {
    let story = check_redirected("moved", 2, TALK, Answered, Api).await;
    assert_eq!(story.kinds(), ["call.initiated", "call.ringing", "call.answered", "call.ended"]);
    assert_eq!(tried(&story), (2, Some(200)));
    let story = check_redirected("several_choices", 3, TALK, Answered, Api).await;
    assert_eq!(
        story.kinds(),
        ["call.initiated", "call.answered", "call.ended"],
        "one busy phone of two is no end"
    );
    assert_eq!(tried(&story), (3, Some(200)));
    // The second redirection leads where the call has been.
    let story = check_redirected("redirects_in_circles", 2, Then::Wait, Incompatible, Remote).await;
    assert_eq!(story.kinds(), ["call.initiated", "call.ended"]);
    assert_eq!(tried(&story), (2, Some(302)));
}

#[tokio::test(flavor = "multi_thread")]
async fn reliable_responses_are_required_by_either_side() {
    // The trunk does not offer them, and does when it is told that it must.
    let story = check_with("reliable = \"off\"", "requires_100rel", TALK, Answered, Api).await;
    assert_eq!(story.kinds(), ["call.initiated", "call.ringing", "call.answered", "call.ended"]);
    assert_eq!(tried(&story), (1, Some(200)));
    let story = check_with("reliable = \"required\"", "lacks_100rel", Then::Wait, Incompatible, Remote).await;
    assert_eq!(story.kinds(), ["call.initiated", "call.ended"]);
    assert_eq!(tried(&story), (1, Some(420)));
}

/// A session timer of 90 seconds really runs, while other customers are called.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_refreshed_after_half_of_its_time() {
    let customer = Scenario::new("callee/session_timer").deadline(Duration::from_secs(70));
    let customer = start(customer).await;
    let mut lab = Lab::calling(customer.addr()).await;
    let call = lab.place(json!({})).await;
    passed(customer).await;
    let story = lab.story(&call).await;
    assert_eq!(story.kinds(), ["call.initiated", "call.answered", "call.ended"], "a refresh is no news");
    let ended = (story.cdr.disposition, story.cdr.ended_by);
    assert_eq!(ended, (Some(Answered), Some(Remote)));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn session_intervals_are_raised_to_what_the_callee_wants() {
    let story = check("interval_too_small", json!({}), TALK, Answered, Api).await;
    assert_eq!(story.kinds(), ["call.initiated", "call.answered", "call.ended"]);
    // The same place was asked again.
    assert_eq!(tried(&story), (1, Some(200)));
}
