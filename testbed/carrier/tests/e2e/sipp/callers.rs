//! Callers of every kind: each scenario of `testbed/sipp/caller` calls an engine that answers at `100`, and at `200`
//! rings until the API says more.

use carrier::sipp::Scenario;
use control_api_types::{Disposition, EndedBy};

use super::{passed, start};
use crate::lab::Lab;

/// The scenario calls `called`; it must pass, and leave this many calls that ended so.
async fn check(scenario: &str, called: &str, calls: usize, disposition: Disposition, by: EndedBy) {
    let mut lab = Lab::answering().await;
    let caller = Scenario::new(&format!("caller/{scenario}")).towards(lab.engine.sip_addr());
    let caller = start(caller.argument("-s").argument(called)).await;
    if called == "200" {
        let call = lab.incoming().await;
        lab.engine.client().ring(&call).await.unwrap();
    }
    passed(caller).await;
    for story in lab.stories(calls).await {
        let ended = (story.cdr.disposition, story.cdr.ended_by);
        assert_eq!(ended, (Some(disposition), Some(by)), "{scenario}");
    }
    assert_eq!(lab.engine.client().node().await.unwrap().calls.live, 0, "{scenario}: none is left");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_answered() {
    for scenario in ["hangs_up", "ack_comes_late", "no_hops_left", "out_of_order", "double_bye", "options"] {
        check(scenario, "100", 1, Disposition::Answered, EndedBy::Remote).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_come_late_or_change() {
    for scenario in ["late_offer", "holds", "requires_100rel", "short_session_timer"] {
        check(scenario, "100", 1, Disposition::Answered, EndedBy::Remote).await;
    }
    check("late_offer_without_answer", "100", 1, Disposition::Incompatible, EndedBy::Engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_given_up_while_they_ring() {
    for scenario in ["cancels", "cancels_twice", "early_bye", "merged"] {
        check(scenario, "200", 1, Disposition::NoAnswer, EndedBy::Remote).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_cannot_be_talked_over() {
    for scenario in ["bad_sdp", "video_only"] {
        check(scenario, "100", 1, Disposition::Incompatible, EndedBy::Engine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_on_with_who_replaces_its_caller() {
    check("replaces", "100", 1, Disposition::Answered, EndedBy::Remote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_wants_us_to_call_somebody_is_declined() {
    check("refers", "100", 1, Disposition::Answered, EndedBy::Remote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_refused_leave_no_call() {
    check("replaces_nothing", "100", 0, Disposition::Answered, EndedBy::Remote).await;
    check("unknown_methods", "100", 0, Disposition::Answered, EndedBy::Remote).await;
    check("required_extension", "100", 0, Disposition::Answered, EndedBy::Remote).await;
    check("wrong_number", "300", 0, Disposition::Answered, EndedBy::Remote).await;
}
