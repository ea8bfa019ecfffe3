//! SIPp as registrar, as customers of every kind, and as a caller. A scenario passes only when our side of it is right.

mod callers;
mod customers;
mod offers;
mod phones;
mod transfers;

use carrier::sipp::{Scenario, Sipp};
use control_api_types::{Disposition, EndedBy, EventData, HangupReason, TrunkState};
use serde_json::json;

use crate::lab::Lab;

pub(crate) async fn start(scenario: Scenario) -> Sipp {
    scenario.start().await.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn passed(sipp: Sipp) {
    sipp.passed().await.unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_with_digest_md5_and_calls_the_gateway() {
    let account = |scenario: Scenario| scenario.key("user", "alice").key("password", "s3cret");
    let registrar = start(account(Scenario::new("registrar/registrar"))).await;
    let customer = start(Scenario::new("callee/busy")).await;
    let mut lab = Lab::new(&format!(
        r#"
        [[trunks]]
        name = "t"
        uri = "sip:{}"
        username = "alice"
        password = "s3cret"
        register = true
        gateways = [{{ uri = "sip:{}" }}]
        "#,
        registrar.addr(),
        customer.addr(),
    ))
    .await;
    lab.trunk_is(TrunkState::Up).await;
    let call = lab.place(json!({})).await;
    assert_eq!(lab.story(&call).await.cdr.disposition, Some(Disposition::Busy));
    passed(customer).await;
    // The binding is removed at the end.
    lab.stop().await;
    passed(registrar).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_call_ends_by_our_bye() {
    let scenarios =
        [("callee/answer", "PCMU"), ("callee/answer_pcma", "PCMA"), ("callee/answer_g722", "G722")];
    for (scenario, codec) in scenarios {
        let customer = start(Scenario::new(scenario).argument("-rtp_echo")).await;
        let mut lab = Lab::calling(customer.addr()).await;
        let call = lab.place(json!({})).await;
        lab.reached(&call, "call.answered").await;
        // Our own silence comes back.
        lab.engine.client().gather(&call, &gather(300)).await.unwrap();
        lab.reached(&call, "call.gather.ended").await;
        lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
        let story = lab.story(&call).await;
        let kinds = ["call.initiated", "call.ringing", "call.answered", "call.gather.ended", "call.ended"];
        assert_eq!(story.kinds(), kinds);
        let cdr = story.cdr;
        assert_eq!((cdr.disposition, cdr.ended_by), (Some(Disposition::Answered), Some(EndedBy::Api)));
        assert_eq!(cdr.codec.map(|codec| codec.as_str()), Some(codec));
        let media = cdr.media.unwrap();
        assert!(media.packets_sent >= 15 && media.packets_received >= 10, "{media:?}");
        assert_eq!(media.packets_lost, 0);
        passed(customer).await;
    }
}

fn gather(timeout_ms: u32) -> control_api_types::Gather {
    control_api_types::Gather::from_json(&json!({ "max": 1, "timeout_ms": timeout_ms })).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_apart() {
    for (scenario, status, cause, disposition) in [
        ("callee/busy", 486, 17, Disposition::Busy),
        ("callee/not_found", 404, 1, Disposition::InvalidNumber),
        ("callee/unavailable", 503, 34, Disposition::Congestion),
    ] {
        let customer = start(Scenario::new(scenario)).await;
        let mut lab = Lab::calling(customer.addr()).await;
        let call = lab.place(json!({})).await;
        let story = lab.story(&call).await;
        assert_eq!(story.kinds(), ["call.initiated", "call.ended"], "{scenario}");
        let cdr = story.cdr;
        assert_eq!((cdr.disposition, cdr.sip_status), (Some(disposition), Some(status)));
        assert_eq!((cdr.q850_cause, cdr.ended_by), (Some(cause), Some(EndedBy::Remote)));
        assert_eq!((cdr.answered_at, cdr.media), (None, None));
        passed(customer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ringing_for_ever_is_cancelled() {
    let customer = start(Scenario::new("callee/ring_forever")).await;
    let mut lab = Lab::calling(customer.addr()).await;
    let call = lab.place(json!({ "timeout_s": 1 })).await;
    let story = lab.story(&call).await;
    assert_eq!(story.kinds(), ["call.initiated", "call.ringing", "call.ended"]);
    assert_eq!(
        (story.cdr.disposition, story.cdr.ended_by),
        (Some(Disposition::NoAnswer), Some(EndedBy::Engine))
    );
    passed(customer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_crosses_our_cancel_leaves_no_orphan() {
    let customer = start(Scenario::new("callee/answer_crosses_cancel")).await;
    let mut lab = Lab::calling(customer.addr()).await;
    let call = lab.place(json!({})).await;
    lab.reached(&call, "call.ringing").await;
    lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
    let story = lab.story(&call).await;
    assert_eq!(story.kinds().iter().filter(|kind| **kind == "call.ended").count(), 1);
    assert_eq!(
        (story.cdr.disposition, story.cdr.ended_by),
        (Some(Disposition::Canceled), Some(EndedBy::Api))
    );
    passed(customer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn early_media_comes_before_the_answer() {
    let customer = start(Scenario::new("callee/early_media")).await;
    let mut lab = Lab::calling(customer.addr()).await;
    let call = lab.place(json!({ "early_media": "connect" })).await;
    lab.reached(&call, "call.answered").await;
    lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
    let story = lab.story(&call).await;
    assert_eq!(story.kinds(), ["call.initiated", "call.early_media", "call.answered", "call.ended"]);
    assert_eq!(story.cdr.disposition, Some(Disposition::Answered));
    // A second of sound in packets of 30 ms, before the answer.
    assert!(story.cdr.media.unwrap().packets_received >= 25, "{:?}", story.cdr.media);
    passed(customer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_customer_may_hang_up_first() {
    let customer = start(Scenario::new("callee/hangs_up_first")).await;
    let mut lab = Lab::calling(customer.addr()).await;
    let call = lab.place(json!({})).await;
    let story = lab.story(&call).await;
    assert_eq!(story.kinds(), ["call.initiated", "call.ringing", "call.answered", "call.ended"]);
    assert_eq!(
        (story.cdr.disposition, story.cdr.ended_by),
        (Some(Disposition::Answered), Some(EndedBy::Remote))
    );
    assert_eq!(story.cdr.q850_cause, Some(16));
    passed(customer).await;
}

/// A flow that takes keys up to `#` and hangs up.
fn counting_keys() -> serde_json::Value {
    json!({ "start": "keys", "steps": {
        "keys": { "verb": "gather", "max": 8, "timeout_ms": 10_000, "inter_digit_ms": 10_000, "on": { "else": "bye" } },
        "bye": { "verb": "hangup" },
    } })
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_from_the_files_of_sipp_are_counted_once() {
    let customer = start(Scenario::new("callee/presses_keys")).await;
    let mut lab = Lab::calling(customer.addr()).await;
    let call = lab.place(json!({ "flow": counting_keys() })).await;
    let story = lab.story(&call).await;
    check_keys(&story);
    assert_eq!(story.cdr.ended_by, Some(EndedBy::Engine));
    passed(customer).await;
}

fn check_keys(story: &crate::lab::Story) {
    assert_eq!(story.digits(), "19#", "one event for each key");
    let gathered = story.events.iter().find_map(|event| {
        let EventData::CallGatherEnded { digits, reason, .. } = &event.data else { return None };
        Some((digits.as_str(), reason.as_str()))
    });
    assert_eq!(gathered, Some(("19", "terminator")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenged_call_goes_on() {
    for scenario in ["callee/proxy_challenge", "callee/challenge"] {
        let customer = start(Scenario::new(scenario).key("user", "alice").key("password", "s3cret")).await;
        let mut lab = Lab::calling_as(customer.addr(), "alice", "s3cret").await;
        let call = lab.place(json!({})).await;
        lab.reached(&call, "call.answered").await;
        lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
        assert_eq!(lab.story(&call).await.cdr.disposition, Some(Disposition::Answered), "{scenario}");
        passed(customer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_tester_calls_a_flow_that_counts_keys() {
    const CALLS: u32 = 20;
    let config = r#"
        [[routes]]
        match = { called = "100" }
        flow = "keys"
    "#;
    let mut lab = Lab::new(config).await;
    let flow = control_api_types::flow::Flow::from_json(&counting_keys()).unwrap();
    lab.engine.client().put_flow("keys", &flow).await.unwrap();
    let caller = Scenario::new("caller/call_and_press").towards(lab.engine.sip_addr()).calls(CALLS);
    let caller = ["-s", "100", "-r", "20"].into_iter().fold(caller, Scenario::argument);
    passed(start(caller).await).await;
    let stories = lab.stories(CALLS as usize).await;
    stories.iter().for_each(check_keys);
    assert_eq!(stories.len(), CALLS as usize);
}
