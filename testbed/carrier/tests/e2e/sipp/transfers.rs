//! What the peer of a call that stands asks or is asked beside its media: INFO (RFC 6086), REFER (RFC 3515), Replaces
//! (RFC 3891).

use carrier::sipp::Scenario;
use control_api_types::{Disposition, EndedBy, Event, EventData, HangupReason, Transfer, event::DtmfMethod};
use serde_json::json;

use super::{passed, start};
use crate::lab::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn keys_by_info_reach_the_flow() {
    let customer = start(Scenario::new("callee/sends_info")).await;
    let mut lab = Lab::calling(customer.addr()).await;
    let flow = json!({ "start": "key", "steps": {
        "key": { "verb": "gather", "max": 1, "timeout_ms": 10_000, "on": { "5": "wait" } },
        "wait": { "verb": "park" },
    } });
    let call = lab.place(json!({ "flow": flow })).await;
    let story = lab.story(&call).await;
    let key = |event: &Event| {
        let EventData::CallDtmf { digit, method, duration_ms } = event.data else { return None };
        Some((digit, method, duration_ms))
    };
    assert_eq!(story.events.iter().find_map(key), Some(('5', DtmfMethod::Info, 160)));
    let is_gathered =
        |event: &Event| matches!(&event.data, EventData::CallGatherEnded { digits, .. } if digits == "5");
    assert!(story.events.iter().any(is_gathered), "{:?}", story.kinds());
    assert_eq!(story.cdr.ended_by, Some(EndedBy::Remote));
    passed(customer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_sends_keys_by_info() {
    let customer = start(Scenario::new("callee/takes_info")).await;
    let mut lab = Lab::calling_with(customer.addr(), "dtmf = \"info\"").await;
    let flow = json!({ "start": "keys", "steps": {
        "keys": { "verb": "dtmf", "digits": "1#w5", "duration_ms": 160, "next": "bye" },
        "bye": { "verb": "hangup" },
    } });
    let call = lab.place(json!({ "flow": flow })).await;
    let story = lab.story(&call).await;
    let sent = EventData::CallDtmfSent {
        digits: "1#5".into(),
        method: DtmfMethod::Info,
        complete: true,
        error: None,
    };
    assert!(story.events.iter().any(|event| event.data == sent), "{:?}", story.kinds());
    passed(customer).await;
}

fn progress(data: &EventData) -> Option<u16> {
    if let EventData::CallTransferProgress { sip_status } = data { Some(*sip_status) } else { None }
}

/// Has the customer of this scenario call somebody else; it tells these statuses.
async fn transfer(scenario: &str, statuses: &[u16]) {
    let customer = start(Scenario::new(&format!("callee/{scenario}"))).await;
    let mut lab = Lab::calling(customer.addr()).await;
    let call = lab.place(json!({})).await;
    lab.reached(&call, "call.answered").await;
    let transfer = Transfer::from_json(&json!({ "to": "+62815" })).unwrap();
    lab.engine.client().transfer(&call, &transfer).await.unwrap();
    // Whoever has reached the other is hung up on by the engine itself.
    if statuses.last() != Some(&200) {
        lab.told(&call, |data| progress(data).as_ref() == statuses.last()).await;
        lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
    }
    let story = lab.story(&call).await;
    let told: Vec<_> = story.events.iter().filter_map(|event| progress(&event.data)).collect();
    assert_eq!(told, statuses, "{scenario}");
    let ended = (story.cdr.disposition, story.cdr.ended_by);
    assert_eq!(ended, (Some(Disposition::Answered), Some(EndedBy::Api)), "{scenario}");
    passed(customer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_transferred() {
    transfer("transferred", &[100, 180, 200]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_comes_to_nothing_leaves_the_call() {
    transfer("transfer_declined", &[603]).await;
    transfer("transfer_fails", &[100, 486]).await;
}
