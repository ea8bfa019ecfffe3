//! Phones that register here: each scenario of `testbed/sipp/phone` is one, or what one is called by.

use std::net::SocketAddr;

use carrier::sipp::{Scenario, Sipp};
use control_api_types::{
    CallId, Disposition, EndedBy, Endpoint, EndpointContact, EndpointGone, EventData, HangupReason,
    SipTransport,
};
use serde_json::json;

use super::{passed, start};
use crate::lab::{Lab, Story};

const SETTINGS: &str = r#"
    [[endpoints]]
    name = "alice"
    password = "s3cret"

    [[endpoints]]
    name = "bob"
    password = "of bob"
"#;

async fn lab() -> Lab {
    Lab::new(SETTINGS).await
}

/// The phone of alice that plays this.
fn phone(lab: &Lab, scenario: &str) -> Scenario {
    let scenario = Scenario::new(&format!("phone/{scenario}")).towards(lab.engine.sip_addr());
    ["-au", "alice", "-ap", "s3cret"].into_iter().fold(scenario.key("user", "alice"), Scenario::argument)
}

async fn alice(lab: &Lab) -> Endpoint {
    lab.engine.client().endpoint("alice").await.unwrap()
}

/// The user parts of the contacts that alice has, in order.
async fn users(lab: &Lab) -> Vec<String> {
    let user = |contact: &EndpointContact| {
        contact.uri.trim_start_matches("sip:").split('@').next().unwrap_or_default().to_owned()
    };
    let mut users: Vec<_> = alice(lab).await.contacts.iter().map(user).collect();
    users.sort();
    users
}

/// A phone plays a scenario over this transport of SIPp (`u1`, `t1`), and leaves these contacts.
async fn check(scenario: &str, transport: &str, left: &[&str]) {
    let mut lab = lab().await;
    let phone = phone(&lab, scenario).key("other", "bob").argument("-t").argument(transport);
    passed(start(phone).await).await;
    assert_eq!(users(&lab).await, left, "{scenario}");
    let bob = lab.engine.client().endpoint("bob").await.unwrap();
    assert!(bob.contacts.is_empty(), "{scenario}: {bob:?}");
    // What was told of contacts comes to what is there, if the connection of one is not over by now.
    let told = lab.contacts_told().await;
    assert_eq!(told, left.len(), "{scenario}");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_come_and_go() {
    check("registers", "u1", &["alice"]).await;
    check("updates", "u1", &["alice", "second"]).await;
    check("asks", "u1", &["alice"]).await;
    check("unregisters", "u1", &[]).await;
    check("unregisters", "t1", &[]).await;
    check("removes_all", "u1", &[]).await;
    check("removes_all", "t1", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_that_are_refused_change_nothing() {
    check("star_misused", "u1", &["alice"]).await;
    check("too_brief", "u1", &["alice"]).await;
    check("malformed", "u1", &[]).await;
    check("another_endpoint", "u1", &[]).await;
    let lab = lab().await;
    let stranger = phone(&lab, "wrong_password").argument("-ap").argument("guess");
    passed(start(stranger).await).await;
    assert!(users(&lab).await.is_empty());
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_overheard_is_good_for_nothing() {
    let lab = lab().await;
    let messages = std::env::temp_dir().join(format!("overheard-{}.log", std::process::id()));
    let path = messages.to_string_lossy();
    let first = phone(&lab, "registers");
    let first = ["-trace_msg", "-message_file", &path].into_iter().fold(first, Scenario::argument);
    passed(start(first).await).await;
    let sent = std::fs::read_to_string(&messages).unwrap();
    std::fs::remove_file(&messages).unwrap();
    let overheard = sent.lines().find(|line| line.starts_with("Authorization:")).expect("an answer");
    let before = alice(&lab).await;
    passed(start(phone(&lab, "replays").key("overheard", overheard.trim_end())).await).await;
    assert_eq!(before.contacts.len() + 1, alice(&lab).await.contacts.len(), "by its own answer");
    lab.stop().await;
}

/// Calls alice, who has registered; she is hung up when she answers, if she does.
async fn call_alice(lab: &mut Lab, is_answered: bool) -> Story {
    let body = json!({ "to": "endpoint:alice" });
    let create = control_api_types::CreateCall::from_json(&body).unwrap();
    let call: CallId = lab.engine.client().originate(&create).await.unwrap().id;
    if is_answered {
        lab.reached(&call, "call.answered").await;
        lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
    }
    lab.story(&call).await
}

/// Alice has two phones, which are called at once and do this; the story of the call.
async fn two_phones(scenarios: [&str; 2], is_answered: bool) -> Story {
    let mut lab = lab().await;
    let [first, second] = scenarios.map(Scenario::new);
    let (first, second): (Sipp, Sipp) = (start(first).await, start(second).await);
    let address = |addr: SocketAddr| addr.to_string();
    let registers = phone(&lab, "registers_two").key("first", &address(first.addr()));
    passed(start(registers.key("second", &address(second.addr()))).await).await;
    let story = call_alice(&mut lab, is_answered).await;
    passed(first).await;
    passed(second).await;
    assert_eq!((story.cdr.endpoint.as_deref(), story.cdr.attempts), (Some("alice"), 2));
    lab.stop().await;
    story
}

#[tokio::test(flavor = "multi_thread")]
async fn all_phones_of_an_endpoint_ring_and_one_answers() {
    for scenarios in [["phone/loses", "callee/answer"], ["callee/answer", "callee/busy"]] {
        let story = two_phones(scenarios, true).await;
        assert_eq!(story.kinds(), ["call.initiated", "call.ringing", "call.answered", "call.ended"]);
        let ended = (story.cdr.disposition, story.cdr.ended_by, story.cdr.sip_status);
        assert_eq!(ended, (Some(Disposition::Answered), Some(EndedBy::Api), Some(200)), "{scenarios:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_all_phones_refuse_ends_with_the_best_refusal() {
    let story = two_phones(["callee/not_found", "callee/busy"], false).await;
    assert_eq!(story.kinds(), ["call.initiated", "call.ended"]);
    let ended = (story.cdr.disposition, story.cdr.ended_by, story.cdr.sip_status);
    assert_eq!(ended, (Some(Disposition::Busy), Some(EndedBy::Remote), Some(486)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_is_called_by_its_path() {
    let mut lab = lab().await;
    let edge = start(Scenario::new("phone/through_path")).await;
    let registers = phone(&lab, "registers_by_path").key("edge", &edge.addr().to_string());
    passed(start(registers).await).await;
    assert_eq!(alice(&lab).await.contacts[0].path, [format!("sip:edge@{};lr", edge.addr())]);
    let story = call_alice(&mut lab, true).await;
    assert_eq!(story.cdr.disposition, Some(Disposition::Answered));
    passed(edge).await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_is_called_by_the_connection_that_it_has_made_and_leaves_with_it() {
    let mut lab = lab().await;
    let called = carrier::sipp::folder().join("phone/flow_is_called").with_extension("xml");
    let called = called.to_string_lossy();
    let phone = phone(&lab, "flow");
    let phone = ["-t", "t1", "-oocsf", &called].into_iter().fold(phone, Scenario::argument);
    let phone = start(phone).await;
    lab.happened("endpoint.registered", 1).await;
    let [contact] = &alice(&lab).await.contacts[..] else { panic!("one contact") };
    assert_eq!(contact.transport, SipTransport::Tcp);
    let story = call_alice(&mut lab, true).await;
    assert_eq!(story.kinds(), ["call.initiated", "call.ringing", "call.answered", "call.ended"]);
    assert_eq!(story.cdr.disposition, Some(Disposition::Answered));
    passed(phone).await;
    lab.happened("endpoint.unregistered", 1).await;
    let gone = lab.first("endpoint.unregistered");
    let EventData::EndpointUnregistered { name, reason, .. } = gone else { panic!("{gone:?}") };
    assert_eq!((name.as_str(), reason), ("alice", EndpointGone::FlowFailed));
    assert!(users(&lab).await.is_empty());
    lab.stop().await;
}
